//! Addresses in networks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::field::Scalar;

/// One of several networks holds the address. Text only.
///
/// Looked up once for each length of prefix that there is, whatever the number of networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Networks(BTreeMap<u8, BTreeSet<IpNet>>);

impl Networks {
    /// Any of `networks`, each `10.0.0.0/8`, `2001:db8::/32` or one address.
    ///
    /// # Errors
    /// With the text that is none.
    pub fn new(networks: &[String]) -> Result<Self, String> {
        let mut by_length: BTreeMap<u8, BTreeSet<IpNet>> = BTreeMap::new();
        for text in networks {
            let text = text.trim();
            let whole = || text.parse::<IpAddr>().ok().map(IpNet::from);
            let network = text.parse::<IpNet>().ok().or_else(whole);
            let network = network.ok_or_else(|| format!("{text:?} is no network such as 10.0.0.0/8"))?;
            by_length.entry(network.prefix_len()).or_default().insert(network.trunc());
        }
        Ok(Networks(by_length))
    }

    /// Whether one of them holds the address.
    pub fn hold(&self, value: Scalar<'_>) -> bool {
        let Scalar::Text(text) = value else { return false };
        let Ok(address) = text.trim().parse::<IpAddr>() else { return false };
        let address = address.to_canonical();
        self.0.iter().any(|(length, networks)| {
            IpNet::new(address, *length).is_ok_and(|around| networks.contains(&around.trunc()))
        })
    }

    /// For people: `an address in 10.0.0.0/8`.
    pub fn expectation(&self) -> String {
        let all: Vec<String> = self.0.values().flatten().map(IpNet::to_string).collect();
        format!("an address in {}", crate::predicate::alternatives(all.into_iter()))
    }
}
