//! Addresses of sockets as the kernel writes them into the SOCKADDR lines of the audit log: `struct sockaddr`, its bytes in
//! hexadecimal, `saddr=020001BBC6336407…`.
//!
//! Their parts have the names that `ausearch --interpret` and auditd's enriched lines give them.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The family of an address and its parts; `None` where the digits are none, or the address is cut off.
pub fn parts(digits: &str) -> Option<Vec<(&'static str, String)>> {
    let bytes = bytes(digits)?;
    // The family is in the order of the machine, and no known one is larger than a byte.
    let family = if *bytes.first()? == 0 { *bytes.get(1)? } else { bytes[0] };
    let port = || Some(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?).to_string());
    Some(match family {
        1 => vec![("saddr_fam", "local".to_owned()), ("saddr_path", path(&bytes[2..]))],
        2 => {
            let address: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            vec![
                ("saddr_fam", "inet".to_owned()),
                ("laddr", Ipv4Addr::from(address).to_string()),
                ("lport", port()?),
            ]
        }
        10 => {
            // Behind the port stand four bytes of the flow.
            let address: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            // What speaks IPv4 through a socket for both is known by its IPv4 address.
            let address = Ipv6Addr::from(address).to_canonical();
            vec![("saddr_fam", "inet6".to_owned()), ("laddr", address.to_string()), ("lport", port()?)]
        }
        16 => vec![("saddr_fam", "netlink".to_owned())],
        other => vec![("saddr_fam", other.to_string())],
    })
}

/// A name in the file system, or after a NUL one that is only a name.
fn path(bytes: &[u8]) -> String {
    let (mark, name) = match bytes.split_first() {
        Some((0, name)) => ("@", name),
        _ => ("", bytes),
    };
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    format!("{mark}{}", String::from_utf8_lossy(name))
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    if digits.len() < 4 || !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return None;
    }
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_its_parts_and_what_is_cut_off_has_none() {
        for (digits, expected) in [
            ("020001BBC63364070000000000000000", Some("saddr_fam=inet laddr=198.51.100.7 lport=443")),
            (
                "0A0000350000000020010DB800000000000000000000000100000000",
                Some("saddr_fam=inet6 laddr=2001:db8::1 lport=53"),
            ),
            (
                "0A0001BB0000000000000000000000000000FFFFC633640700000000",
                Some("saddr_fam=inet6 laddr=198.51.100.7 lport=443"),
            ),
            ("01002F72756E2F782E736F636B00", Some("saddr_fam=local saddr_path=/run/x.sock")),
            ("010000746D702F78", Some("saddr_fam=local saddr_path=@tmp/x")),
            ("0100", Some("saddr_fam=local saddr_path=")),
            ("0002003510000001", Some("saddr_fam=inet laddr=16.0.0.1 lport=53")),
            ("100000000000000000000000", Some("saddr_fam=netlink")),
            ("1100", Some("saddr_fam=17")),
            ("020001BB", None),
            ("0A0001BB00000000", None),
            ("02000", None),
            ("zz00", None),
            ("", None),
            ("é00", None),
        ] {
            let found = parts(digits).map(|parts| {
                parts.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
            });
            assert_eq!(found.as_deref(), expected, "{digits}");
        }
    }
}
