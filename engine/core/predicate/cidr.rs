//! Addresses in networks.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::field::Scalar;

/// One of several networks holds the address. Text only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Any of `networks`, each `10.0.0.0/8`, `2001:db8::/32` or one address.
    ///
    /// # Errors
    /// With the text that is none.
    pub fn new(networks: &[String]) -> Result<Self, String> {
        let parse = |text: &String| {
            let text = text.trim();
            let whole = || text.parse::<IpAddr>().ok().map(IpNet::from);
            text.parse::<IpNet>()
                .ok()
                .or_else(whole)
                .ok_or_else(|| format!("{text:?} is no network such as 10.0.0.0/8"))
        };
        networks.iter().map(parse).collect::<Result<_, _>>().map(Networks)
    }

    /// Whether one of them holds the address.
    pub fn hold(&self, value: Scalar<'_>) -> bool {
        let Scalar::Text(text) = value else { return false };
        let Ok(address) = text.trim().parse::<IpAddr>() else { return false };
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// For people: `an address in 10.0.0.0/8`.
    pub fn expectation(&self) -> String {
        format!("an address in {}", crate::predicate::alternatives(self.0.iter().map(IpNet::to_string)))
    }
}
