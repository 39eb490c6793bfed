//! The headers in which an HTTP proxy names its client: `X-Forwarded-For`, and `Forwarded` of RFC
//! 7239.
//!
//! Each proxy appends the address from which it got the request, and a client may begin the list
//! with anything. So the list is read from its end, and only as far as trusted proxies wrote it. An
//! entry that a client wrote is not even parsed.

use driftless_schemas::limits::{FORWARDED_ENTRY_BYTES_MAX, FORWARDED_HOPS_MAX};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use warp::http::{HeaderMap, HeaderName, header};

/// The header in which trusted proxies name their client. The other header is never read: a proxy
/// that sets one of them may pass on the other one as its client sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For: 192.0.2.7, 10.0.0.1`.
    #[default]
    XForwardedFor,
    /// `Forwarded: for=192.0.2.7, for="[2001:db8::1]:4711";proto=https` (RFC 7239).
    Forwarded,
}

impl ForwardedHeader {
    fn name(self) -> HeaderName {
        match self {
            Self::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
            Self::Forwarded => header::FORWARDED,
        }
    }

    /// Returns the client of a request that came from the trusted proxy `peer`: the last address of
    /// the list that is not trusted, or the first one if all are. An entry without an address ends
    /// the walk at the address after it, which is `peer` for the last entry.
    pub(super) fn client(self, peer: IpAddr, headers: &HeaderMap, is_trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
        let mut client = peer;
        let lists = headers.get_all(self.name()).iter().rev();
        let entries = lists.flat_map(|list| Entries { rest: Some(list.as_bytes()), header: self });
        for entry in entries.take(FORWARDED_HOPS_MAX) {
            match self.address(entry) {
                Entry::Empty => {}
                Entry::Address(address) if is_trusted(address) => client = address,
                Entry::Address(address) => return address,
                Entry::Unknown => return client,
            }
        }
        client
    }

    fn address(self, entry: &[u8]) -> Entry {
        if entry.trim_ascii().is_empty() {
            return Entry::Empty;
        }
        let text = std::str::from_utf8(entry).ok().map(str::trim);
        let address = text.and_then(|text| match self {
            Self::XForwardedFor => node(text),
            Self::Forwarded => node(&forwarded_for(text)?),
        });
        address.map_or(Entry::Unknown, |address| Entry::Address(address.to_canonical()))
    }
}

/// The meaning of an entry of a list.
enum Entry {
    /// Lists may have empty entries (RFC 9110, section 5.6.1).
    Empty,
    Address(IpAddr),
    /// An entry that is malformed, or that hides the address.
    Unknown,
}

/// The entries of a list, from the last one on. In place of an entry that is too long, the iterator
/// returns a malformed one and ends.
struct Entries<'a> {
    rest: Option<&'a [u8]>,
    header: ForwardedHeader,
}

impl<'a> Iterator for Entries<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let list = self.rest.take()?;
        let mut is_quoted = false;
        for (at, byte) in list.iter().enumerate().rev() {
            if list.len() - at > FORWARDED_ENTRY_BYTES_MAX {
                // No address contains a NUL.
                return Some(b"\0");
            }
            match byte {
                b'"' if self.header == ForwardedHeader::Forwarded && !is_escaped(&list[..at]) => is_quoted = !is_quoted,
                b',' if !is_quoted => {
                    self.rest = Some(&list[..at]);
                    return Some(&list[at + 1..]);
                }
                _ => {}
            }
        }
        Some(list)
    }
}

/// True if the byte behind `front` is escaped by a backslash that is not itself escaped.
fn is_escaped(front: &[u8]) -> bool {
    front.iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1
}

/// The value of the parameter `for` of an entry of `Forwarded`, unquoted. `None` if the entry is
/// malformed or has none or several.
fn forwarded_for(entry: &str) -> Option<String> {
    let mut found = None;
    for pair in pairs(entry).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        if name.eq_ignore_ascii_case("for") && found.replace(unquoted(value)?).is_some() {
            return None;
        }
    }
    found
}

/// The parts of an entry between semicolons that are not quoted.
fn pairs(entry: &str) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let split = move |sign: char| {
        if sign == '"' && !is_escaped {
            is_quoted = !is_quoted;
        }
        is_escaped = is_quoted && sign == '\\' && !is_escaped;
        sign == ';' && !is_quoted
    };
    entry.split(split).map(str::trim)
}

/// A token as it is, or the content of a quoted string.
fn unquoted(value: &str) -> Option<String> {
    let Some(rest) = value.strip_prefix('"') else { return Some(value.to_owned()) };
    let (mut text, mut signs) = (String::new(), rest.chars());
    loop {
        match signs.next()? {
            '"' => return signs.next().is_none().then_some(text),
            '\\' => text.push(signs.next()?),
            sign => text.push(sign),
        }
    }
}

/// The address of a node: `192.0.2.7`, `192.0.2.7:4711`, `2001:db8::1`, `[2001:db8::1]`,
/// `[2001:db8::1]:4711`. `None` for `unknown`, obfuscated identifiers (`_hidden`), and what is
/// malformed.
fn node(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (address, port): (IpAddr, &str) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, behind) = rest.split_once(']')?;
            let address = address.parse::<Ipv6Addr>().ok()?.into();
            if behind.is_empty() {
                return Some(address);
            }
            (address, behind.strip_prefix(':')?)
        }
        None => {
            let (address, port) = text.split_once(':')?;
            (address.parse::<Ipv4Addr>().ok()?.into(), port)
        }
    };
    let is_number = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_obfuscated = port.strip_prefix('_').is_some_and(|name| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    });
    (is_number || is_obfuscated).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use warp::http::HeaderValue;

    const PROXY: [u8; 4] = [10, 0, 0, 1];

    fn is_trusted(address: IpAddr) -> bool {
        matches!(address, IpAddr::V4(address) if address.octets()[0] == 10)
    }

    /// The client that a request with these lines of the header has.
    fn client(header: ForwardedHeader, lines: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header.name(), HeaderValue::from_bytes(line).unwrap());
        }
        header.client(PROXY.into(), &headers, is_trusted).to_string()
    }

    #[test]
    fn the_client_is_the_last_address_that_is_not_a_trusted_proxy() {
        let long = [&[b'x'; FORWARDED_ENTRY_BYTES_MAX][..], b"192.0.2.1"].concat();
        let behind = |proxies: usize| format!("192.0.2.1{}", ", 10.0.0.2".repeat(proxies));
        let (few, many) = (behind(FORWARDED_HOPS_MAX - 1), behind(FORWARDED_HOPS_MAX));
        for (lines, expected) in [
            (&[][..], "10.0.0.1"),
            (&[&b""[..]], "10.0.0.1"),
            (&[b"192.0.2.1"], "192.0.2.1"),
            // A client may begin the list with anything.
            (&[b"203.0.113.9, 192.0.2.1"], "192.0.2.1"),
            (&[b"10.0.0.9, 192.0.2.1"], "192.0.2.1"),
            (&[b"\xff\"', 192.0.2.1"], "192.0.2.1"),
            (&[b"203.0.113.9, 192.0.2.1, 10.0.0.2,10.0.0.3"], "192.0.2.1"),
            (&[b"203.0.113.9", b"192.0.2.1", b"10.0.0.2"], "192.0.2.1"),
            (&[b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&[b"192.0.2.1, , 10.0.0.2 ,,"], "192.0.2.1"),
            (&[b"192.0.2.1:4711"], "192.0.2.1"),
            (&[b"2001:db8::1"], "2001:db8::1"),
            (&[b"[2001:db8::1]:4711"], "2001:db8::1"),
            (&[b"::ffff:192.0.2.1, ::ffff:10.0.0.2"], "192.0.2.1"),
            // An entry without an address ends the walk.
            (&[b"192.0.2.1, unknown, 10.0.0.2"], "10.0.0.2"),
            (&[b"192.0.2.1, 192.0.2.256"], "10.0.0.1"),
            (&[b"192.0.2.1:"], "10.0.0.1"),
            (&[b"192.0.2.1:+5"], "10.0.0.1"),
            (&[b"[2001:db8::1"], "10.0.0.1"),
            (&[b"[192.0.2.1]"], "10.0.0.1"),
            (&[b"\"192.0.2.1\""], "10.0.0.1"),
            (&[&long], "10.0.0.1"),
            (&[b"192.0.2.1", &long, b"10.0.0.2"], "10.0.0.2"),
            (&[few.as_bytes()], "192.0.2.1"),
            (&[many.as_bytes()], "10.0.0.2"),
        ] {
            assert_eq!(client(ForwardedHeader::XForwardedFor, lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn forwarded_names_the_client_in_every_form_of_rfc_7239() {
        let long = format!("for=192.0.2.1;host={}", "x".repeat(FORWARDED_ENTRY_BYTES_MAX));
        for (lines, expected) in [
            (&[&b"for=192.0.2.43, for=198.51.100.17"[..]][..], "198.51.100.17"),
            (&[b"For=\"[2001:db8:cafe::17]:4711\""], "2001:db8:cafe::17"),
            (&[b"for=192.0.2.60;proto=http;by=203.0.113.43"], "192.0.2.60"),
            (&[b"proto=http ; FOR=192.0.2.60;"], "192.0.2.60"),
            (&[b"for=192.0.2.43", b"for=\"10.0.0.2:80\""], "192.0.2.43"),
            (&[b"for=\"192.0.2.43:_gazonk\""], "192.0.2.43"),
            (&[b"for=\"192.0.2.\\4\\3\""], "192.0.2.43"),
            (&[b"host=\"a;for=203.0.113.9,\\\"\";for=192.0.2.43"], "192.0.2.43"),
            // A client may begin the list with anything, also with an open quote.
            (&[b"for=\"203.0.113.9, for=192.0.2.43"], "192.0.2.43"),
            (&[b"for=203.0.113.9;x=\"\\, for=192.0.2.43, for=10.0.0.2"], "192.0.2.43"),
            // An entry that hides its address, or has none, ends the walk.
            (&[b"for=192.0.2.43, for=_hidden, for=10.0.0.2"], "10.0.0.2"),
            (&[b"for=192.0.2.43, for=unknown"], "10.0.0.1"),
            (&[b"for=192.0.2.43, proto=https"], "10.0.0.1"),
            (&[b"for=192.0.2.43, for=192.0.2.44;for=192.0.2.45"], "10.0.0.1"),
            (&[b"for=192.0.2.43;nothing"], "10.0.0.1"),
            (&[b"for=\"192.0.2.43"], "10.0.0.1"),
            (&[b"for=\"192.0.2.43\"x"], "10.0.0.1"),
            (&[b"for=\"192.0.2.43:_\""], "10.0.0.1"),
            (&[b"192.0.2.43"], "10.0.0.1"),
            (&[long.as_bytes()], "10.0.0.1"),
        ] {
            assert_eq!(client(ForwardedHeader::Forwarded, lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn only_the_chosen_header_is_read() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", HeaderValue::from_static("192.0.2.1"));
        headers.insert("forwarded", HeaderValue::from_static("for=192.0.2.2"));
        let client = |header: ForwardedHeader| header.client(PROXY.into(), &headers, is_trusted).to_string();
        assert_eq!(client(ForwardedHeader::XForwardedFor), "192.0.2.1");
        assert_eq!(client(ForwardedHeader::Forwarded), "192.0.2.2");
    }

    proptest! {
        /// Whatever a client sends in front, the address that the proxy appends is the client.
        #[test]
        fn no_text_of_a_client_changes_the_address_that_its_proxy_appends(
            sent in proptest::collection::vec("[ -~\u{80}-\u{ff}]{0,40}|(for=|\"|,|;|\\\\|10[.]0[.]0[.]1){0,12}", 0..3),
            is_joined in any::<bool>(),
        ) {
            let each = [
                (ForwardedHeader::XForwardedFor, "192.0.2.1"),
                (ForwardedHeader::Forwarded, "for=192.0.2.1;proto=http"),
            ];
            for (header, appended) in each {
                let mut lines = sent.clone();
                match lines.last_mut() {
                    Some(last) if is_joined => last.push_str(&format!(", {appended}")),
                    _ => lines.push(appended.to_owned()),
                }
                let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
                prop_assert_eq!(client(header, &lines), "192.0.2.1");
            }
        }
    }
}
