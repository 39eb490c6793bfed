//! The addresses and networks of the setting `trusted_proxies`.

use driftless_schemas::limits::TRUSTED_PROXIES_MAX;
use ipnet::{IpNet, Ipv4Net};
use std::net::IpAddr;
use std::sync::Arc;

/// A list of networks. Clones are cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Networks(Arc<[IpNet]>);

impl Networks {
    /// Reads addresses (`192.0.2.7`) and networks (`10.0.0.0/8`) of IPv4 and IPv6.
    ///
    /// # Errors
    /// An entry that is not usable, and what would be.
    pub(super) fn new(entries: &[String]) -> Result<Self, (String, String)> {
        if entries.len() > TRUSTED_PROXIES_MAX {
            let problem = format!("the limit is {TRUSTED_PROXIES_MAX} entries; name larger networks instead");
            return Err((format!("{} entries", entries.len()), problem));
        }
        let networks = entries.iter().map(|entry| network(entry).map_err(|problem| (format!("{entry:?}"), problem)));
        Ok(Self(networks.collect::<Result<_, _>>()?))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if one of the networks contains the address. An IPv4 address within IPv6
    /// (`::ffff:192.0.2.7`) is the IPv4 address.
    pub(super) fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

fn network(entry: &str) -> Result<IpNet, String> {
    let network = match (entry.parse::<IpAddr>(), entry.parse::<IpNet>()) {
        (Ok(address), _) => IpNet::from(address),
        (_, Ok(network)) => network,
        _ => {
            let problem = "this is neither an address nor a network; write 192.0.2.7, 10.0.0.0/8, 2001:db8::7 or \
                           2001:db8::/32 (names are not looked up)";
            return Err(problem.into());
        }
    };
    if network.prefix_len() == 0 {
        return Err("this network contains every address, so that every client could choose its address; name the \
                    proxies' networks"
            .into());
    }
    if network.addr() != network.network() {
        let (whole, one) = (network.trunc(), network.addr());
        return Err(format!("this address has bits behind its prefix; write {whole} for the network, or {one}"));
    }
    Ok(canonical(network))
}

/// Addresses are compared in their canonical form, so that IPv4 networks within IPv6 must have it
/// too.
fn canonical(network: IpNet) -> IpNet {
    match (network.addr().to_canonical(), network.prefix_len()) {
        (IpAddr::V4(address), length @ 96..) if matches!(network, IpNet::V6(_)) => {
            Ipv4Net::new(address, length - 96).map_or(network, IpNet::V4)
        }
        _ => network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(entries: &[&str]) -> Result<Networks, (String, String)> {
        Networks::new(&entries.iter().map(|&entry| entry.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn addresses_and_networks_of_both_kinds_contain_their_addresses() {
        let list = networks(&["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1", "::ffff:172.16.0.0/108"]).unwrap();
        let contains = |address: &str| list.contain(address.parse().unwrap());
        for inside in ["10.255.0.1", "192.0.2.7", "::ffff:10.1.2.3", "2001:db8:ffff::1", "::1", "172.31.0.1"] {
            assert!(contains(inside), "{inside}");
        }
        for outside in ["11.0.0.0", "192.0.2.8", "2001:db9::", "::2", "::", "::ffff:192.0.2.8", "172.32.0.1"] {
            assert!(!contains(outside), "{outside}");
        }
        assert!(!networks(&[]).unwrap().contain([127, 0, 0, 1].into()));
    }

    #[test]
    fn an_entry_that_is_no_network_names_itself_and_the_right_form() {
        for (entry, part) in [
            ("", "10.0.0.0/8"),
            ("proxy.example", "names are not looked up"),
            ("10.0.0.0/33", "10.0.0.0/8"),
            ("10.0.0/8", "10.0.0.0/8"),
            ("10.0.0.0/", "10.0.0.0/8"),
            ("10.0.0.0/+8", "10.0.0.0/8"),
            (" 10.0.0.1", "192.0.2.7"),
            ("2001:db8::/129", "2001:db8::/32"),
            ("10.1.2.3/8", "write 10.0.0.0/8 for the network, or 10.1.2.3"),
            ("2001:db8::1/64", "write 2001:db8::/64 for the network, or 2001:db8::1"),
            ("0.0.0.0/0", "every address"),
            ("::/0", "every address"),
        ] {
            let (value, problem) = networks(&["192.0.2.1", entry]).unwrap_err();
            assert_eq!(value, format!("{entry:?}"));
            assert!(problem.contains(part), "{entry:?}: {part:?} is not in {problem:?}");
        }
        let many = vec!["192.0.2.1".to_owned(); TRUSTED_PROXIES_MAX + 1];
        assert!(Networks::new(&many).unwrap_err().1.contains("256"));
        assert!(Networks::new(&many[1..]).is_ok());
    }
}
