//! Attacks, each as its victims' sensors see it. Every shipped rule has one that fires it.

use sightline_producers::Draft;
use sightline_schemas::{EventTime, Severity};

use crate::chance::Chance;

/// An attack that can be played.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    /// What it is called on the command line.
    pub name: &'static str,
    /// The shipped rules that fire on it.
    pub rules: &'static [&'static str],
    play: fn(&mut Scene),
}

/// Every attack.
pub const ATTACKS: [Attack; 12] = [
    Attack { name: "drop-and-run", rules: &["drop_and_run"], play: drop_and_run },
    Attack { name: "credential-dump", rules: &["drop_and_run", "drop_run_dump"], play: credential_dump },
    Attack { name: "phishing-visit", rules: &["phish_host_visited"], play: phishing_visit },
    Attack { name: "shared-c2", rules: &["shared_c2"], play: shared_c2 },
    Attack {
        name: "spray-roast-fan-out",
        rules: &["password_spray", "kerberoast", "winrm_fan_out", "spray_roast_fan_out"],
        play: spray_roast_fan_out,
    },
    Attack { name: "shared-tool", rules: &["shared_dropped_file"], play: shared_tool },
    Attack { name: "remote-shell", rules: &["remote_logon_then_shell"], play: remote_shell },
    Attack { name: "powershell-combo", rules: &["powershell_fim_http_combo"], play: powershell_combo },
    Attack { name: "exfiltration", rules: &["data_exfiltration"], play: exfiltration },
    Attack { name: "brute-force", rules: &["brute_force_success"], play: brute_force },
    Attack { name: "bad-deploy", rules: &["bad_deploy"], play: bad_deploy },
    Attack {
        name: "listed-values",
        rules: &["cr_ioc_to_finding", "cr_anomaly_to_ioc", "cr_phishkit_url_to_ioc"],
        play: listed_values,
    },
];

impl Attack {
    /// The attack of that name.
    pub fn named(name: &str) -> Option<&'static Attack> {
        ATTACKS.iter().find(|attack| attack.name == name)
    }

    /// Its events, in the order in which they happened. `round` tells several plays of it apart.
    pub fn events(&self, seed: u64, round: u64, start: EventTime) -> Vec<(EventTime, Draft)> {
        let name = self.name.bytes().fold(0, |sum: u64, byte| sum.wrapping_mul(31) + u64::from(byte));
        let chance = Chance::new(seed, name ^ (round << 32));
        let mut scene = Scene { name: self.name, round, chance, now: start, events: Vec::new() };
        (self.play)(&mut scene);
        scene.events
    }
}

/// Where an attack is played.
struct Scene {
    name: &'static str,
    round: u64,
    chance: Chance,
    now: EventTime,
    events: Vec<(EventTime, Draft)>,
}

impl Scene {
    /// A victim's host: other hosts than the background's, so that what is found is the attack's.
    fn host(&self, n: u64) -> String {
        format!("{}-{}-{n}", self.name.to_uppercase(), self.round)
    }

    fn user(&self) -> String {
        format!("{}.{}", self.name, self.round)
    }

    /// Something happens, one to three seconds after what was before.
    fn then(&mut self, draft: Draft) {
        let pause = 1_000_000 + self.chance.below(2_000_000);
        self.now = self.now.plus(pause as i64);
        let key = format!("{}-{}-{}", self.name, self.round, self.events.len());
        self.events.push((self.now, draft.occurred_at(self.now).key(key).tag("generated-attack")));
    }

    fn drop_and_run_on(&mut self, host: &str) {
        let (sha256, user) = (self.chance.hex(64), self.user());
        let path = format!(r"C:\Users\{user}\Downloads\invoice-{}.exe", self.chance.below(1_000));
        self.then(
            Draft::new("fim", "file_change")
                .host(host.to_owned())
                .field("action", "executable_create")
                .field("path", path.clone())
                .field("sha256", sha256.clone()),
        );
        self.then(
            Draft::new("edr", "process_start")
                .host(host.to_owned())
                .severity(Severity::Medium)
                .field("image", path)
                .field("command_line", "invoice.exe /q")
                .field("sha256", sha256)
                .field("user", format!("CORP\\{user}")),
        );
    }
}

fn drop_and_run(scene: &mut Scene) {
    let host = scene.host(1);
    scene.drop_and_run_on(&host);
}

fn credential_dump(scene: &mut Scene) {
    let host = scene.host(1);
    scene.drop_and_run_on(&host);
    scene.then(
        Draft::new("edr", "process_access")
            .host(host)
            .field("source_image", r"C:\Users\Public\procdump.exe")
            .field("target_image", r"C:\Windows\System32\lsass.exe")
            .field("granted_access", "0x1410"),
    );
}

fn phishing_visit(scene: &mut Scene) {
    let site = format!("203.0.113.{}", scene.chance.below(99) + 1);
    scene.then(Draft::new("network", "network_http").host(scene.host(1)).field("dst_ip", site.clone()));
    scene.then(
        Draft::new("phishkit", "phishing_report")
            .severity(Severity::High)
            .field("phishScore", "confirmed_phishing")
            .field("domain", site.clone())
            .field("url", format!("http://{site}/login")),
    );
}

fn shared_c2(scene: &mut Scene) {
    for n in 1..=3 {
        let host = scene.host(n);
        scene.then(
            Draft::new("edr", "network_conn")
                .host(host)
                .field("dst_ip", "10.0.5.13")
                .field("dst_port", 8_443),
        );
    }
}

fn spray_roast_fan_out(scene: &mut Scene) {
    let (host, user) = (scene.host(1), scene.user());
    for n in 0..6 {
        let logon = Draft::new("edr", "logon")
            .host(host.clone())
            .field("outcome", "failure")
            .field("user", format!("victim{n}"))
            .field("subject_user", user.clone());
        scene.then(logon);
    }
    for service in ["MSSQLSvc/db01", "HTTP/web01", "cifs/files02"] {
        let ticket = Draft::new("edr", "kerberos_tgs")
            .host(host.clone())
            .field("encryption", "0x17")
            .field("service", service)
            .field("user", user.clone());
        scene.then(ticket);
    }
    for n in 2..=4 {
        let session = Draft::new("edr", "process_start")
            .host(scene.host(n))
            .field("image", r"C:\Windows\System32\wsmprovhost.exe")
            .field("user", user.clone());
        scene.then(session);
    }
}

fn shared_tool(scene: &mut Scene) {
    let sha256 = scene.chance.hex(64);
    for n in 1..=2 {
        let change = Draft::new("fim", "file_change")
            .host(scene.host(n))
            .field("action", "executable_create")
            .field("path", r"C:\Windows\tool.exe")
            .field("sha256", sha256.clone());
        scene.then(change);
    }
}

fn remote_shell(scene: &mut Scene) {
    let (host, user) = (scene.host(1), scene.user());
    scene.then(
        Draft::new("edr", "logon")
            .host(host.clone())
            .field("outcome", "success")
            .field("logon_type", 3)
            .field("user", user)
            .field("src_ip", "192.0.2.66"),
    );
    scene.then(
        Draft::new("edr", "process_start")
            .host(host)
            .field("image", r"C:\Windows\System32\cmd.exe")
            .field("parent_image", r"C:\Windows\System32\services.exe")
            .field("command_line", "cmd.exe /c whoami"),
    );
}

fn powershell_combo(scene: &mut Scene) {
    let host = scene.host(1);
    scene.then(
        Draft::new("powershell-hunt", "process_start").host(host.clone()).tag("suspicious").tag("encoded"),
    );
    scene.then(
        Draft::new("sentrafim", "file_change")
            .host(host.clone())
            .field("path", r"C:\Users\a\AppData\Roaming\updater.dll"),
    );
    scene.then(
        Draft::new("stealershield", "network_http")
            .host(host)
            .tag("unknown_domain")
            .field("url", "http://drop.example.test/x"),
    );
}

fn of_actor(scene: &mut Scene, kind: &'static str) {
    let actor = scene.user();
    scene.then(Draft::new("agent", kind).member("actor", "id", actor));
}

fn exfiltration(scene: &mut Scene) {
    for kind in ["auth.login.success", "file.access", "data.export"] {
        of_actor(scene, kind);
    }
}

fn brute_force(scene: &mut Scene) {
    for kind in ["auth.login_failed", "auth.login_failed", "auth.login_failed", "auth.login"] {
        of_actor(scene, kind);
    }
}

fn bad_deploy(scene: &mut Scene) {
    for kind in ["deploy.finished", "error.http", "error.database"] {
        scene.then(Draft::new("agent", kind).host(scene.host(1)));
    }
}

fn listed_values(scene: &mut Scene) {
    let name = |scene: &mut Scene, what: &str| format!("{what}-{}.example.test", scene.chance.hex(8));
    let listed = |value: String| Draft::new("iris", "ioc").severity(Severity::High).field("value", value);
    let domain = name(scene, "finding");
    scene.then(listed(domain.clone()));
    scene.then(Draft::new("sentry", "finding").severity(Severity::High).field("ioc_value", domain));
    let peer = name(scene, "peer");
    scene.then(Draft::new("packetwatch", "anomaly").host(scene.host(1)).field("peer", peer.clone()));
    scene.then(listed(peer));
    let url = format!("https://{}/login", name(scene, "page"));
    scene.then(Draft::new("phishkit", "phishing_report").field("url", url.clone()));
    scene.then(listed(url));
}
