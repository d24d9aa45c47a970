//! Events and rules for the load: about 400 bytes an event, as an endpoint sensor sends them, and rules that one event in
//! ten concerns.

use std::fmt::Write;

use sightline_benches::Chance;
use sightline_schemas::EventTime;
use sightline_schemas::control::{EngineSettings, RuleFile, RulesMessage};

/// The subject that all of them are published on.
pub const SUBJECT: &str = "events.default.edr";

/// Event `number` of an endless stream over so many hosts, a millisecond of event time apart.
pub fn event(number: u64, hosts: u64, began: EventTime) -> String {
    let mut chance = Chance::new(number.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let at = began.plus(number as i64 * 1_000);
    let host = chance.below(hosts);
    let mut text = String::with_capacity(448);
    let _ = write!(
        text,
        r#"{{"v":1,"source":"edr","source_event_id":"{number:012x}","occurred_at":"{at}","host_id":"ws-{host:06}.corp.example","#
    );
    let user = chance.below(500);
    let tool = chance.below(200);
    let guid = chance.draw();
    // Two in ten are of a kind that rules ask for, and half of those have what rules ask of it.
    let _ = match number % 10 {
        0 => write!(
            text,
            r#""kind":"process_start","user":"CORP\\user{user}","severity":"low","fields":{{"image":"C:\\Windows\\System32\\tool{tool:03}.exe","command_line":"C:\\Windows\\System32\\tool{tool:03}.exe -k netsvcs -p -s Schedule --id {guid:016x}","parent_image":"C:\\Windows\\explorer.exe","integrity":"High","pid":{},"logon_id":"0x{guid:x}"}}}}"#,
            chance.below(65_536),
        ),
        1 => write!(
            text,
            r#""kind":"logon","user":"CORP\\user{user}","severity":"info","fields":{{"outcome":"{}","logon_type":{},"workstation":"ws-{:06}","src_ip":"10.{}.{}.{}","package":"NTLM","process":"C:\\Windows\\System32\\svchost.exe","elevated":false}}}}"#,
            if chance.below(8) == 0 { "failure" } else { "success" },
            chance.below(11),
            chance.below(hosts),
            chance.below(256),
            chance.below(256),
            chance.below(256),
        ),
        _ => write!(
            text,
            r#""kind":"image_load","user":"CORP\\user{user}","severity":"info","fields":{{"image":"C:\\Program Files\\Vendor\\Agent\\agent{}.exe","image_loaded":"C:\\Windows\\System32\\module{:03}.dll","signed":true,"signature":"Microsoft Windows","sha256":"{guid:016x}{guid:016x}{guid:016x}{guid:016x}","pid":{}}}}}"#,
            chance.below(8),
            chance.below(500),
            chance.below(65_536),
        ),
    };
    text
}

const RULES_PER_FILE: usize = 1_000;

/// So many rules: sequences, counts and distinct counts over the events above, each asking for a text of its own.
pub fn rules(count: usize) -> RulesMessage {
    // No more in a file than its bounds allow.
    let mut files: Vec<RuleFile> = Vec::new();
    for number in 0..count {
        if number % RULES_PER_FILE == 0 {
            let name = format!("load_{}.yaml", files.len());
            files.push(RuleFile { name, text: String::from("rules:\n") });
        }
        let text = &mut files.last_mut().expect("one was begun").text;
        let tool = number % 1_000;
        let _ = match number % 4 {
            0 => write!(
                text,
                "  - id: tool_{number}\n    title: Tool {number}, then a failed logon\n    severity: medium\n    window: 5m\n    ordered: true\n    by: host_id\n    steps:\n      - name: tool\n        match: {{source: edr, kind: process_start, field_contains: {{command_line: 'tool{tool:03}.exe -k'}}}}\n      - name: logon\n        match: {{source: edr, kind: logon, field_equals: {{outcome: failure, logon_type: {}}}}}\n",
                number % 11,
            ),
            1 => write!(
                text,
                "  - id: often_{number}\n    title: Tool {number} again and again\n    severity: low\n    window: 10m\n    by: host_id\n    steps:\n      - name: start\n        match: {{source: edr, kind: process_start, field_ends_with: {{image: '\\tool{tool:03}.exe'}}}}\n        min_count: 3\n",
            ),
            2 => write!(
                text,
                "  - id: spread_{number}\n    title: Tool {number} on many hosts\n    severity: low\n    window: 10m\n    by: user\n    steps:\n      - name: start\n        match: {{source: edr, kind: process_start, field_contains: {{command_line: 'tool{tool:03}.exe'}}}}\n        distinct: {{field: host_id, at_least: 5}}\n",
            ),
            _ => write!(
                text,
                "  - id: both_{number}\n    title: Module of tool {number}, and the tool\n    severity: low\n    window: 5m\n    by: host_id\n    steps:\n      - name: load\n        match: {{source: edr, kind: image_load, field_equals: {{signed: 'false'}}, field_contains: {{image_loaded: 'module{tool:03}'}}}}\n      - name: start\n        match: {{source: edr, kind: process_start, field_contains: {{command_line: 'tool{tool:03}'}}}}\n",
            ),
        };
    }
    RulesMessage { files, settings: EngineSettings::default(), ..RulesMessage::default() }
}
