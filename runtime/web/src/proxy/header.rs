//! The header of the PROXY protocol, versions 1 and 2: the bytes with which a proxy begins a
//! connection to name its client.
//!
//! The format is that of <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>, sections
//! 2.1 and 2.2. The parser is total and holds no bytes. It does not ask who sent the header:
//! [`super::Proxies`] decides whether the sender is believed.

use driftless_schemas::limits::{PROXY_HEADER_BYTES_MAX, PROXY_LINE_BYTES_MAX};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The first bytes of version 1.
const TEXT: &[u8] = b"PROXY ";
/// The first bytes of version 2.
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The length of version 2 before its addresses: signature, version and command, family and
/// transport, length of the rest.
const FIXED_BYTES: usize = 16;
/// The number of first bytes that an error shows.
const SHOWN_BYTES: usize = 24;

/// A header whose client is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The length of the whole header, in bytes. In version 2, fields that are skipped may still be
    /// on their way.
    pub bytes: usize,
    /// The client's address and port. `None` if the connection is the proxy's own, such as a health
    /// check, or if its client has no IP address: the connection then keeps the proxy's address.
    pub client: Option<SocketAddr>,
}

/// The reason why bytes are not a header of the PROXY protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the connection begins with \"{0}\" instead of a header of the PROXY protocol")]
    Signature(String),
    #[error("the line of version 1 does not end within {PROXY_LINE_BYTES_MAX} bytes; it begins with \"{0}\"")]
    Length(String),
    #[error("\"{0}\" is no line of version 1; a good one is \"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\"")]
    Line(String),
    #[error("version and command are {0:#04x}; only version 2 with LOCAL (0x20) or PROXY (0x21) is known")]
    Command(u8),
    #[error("family and transport are {0:#04x}, which the protocol does not know")]
    Family(u8),
    #[error("the header has {0} bytes; the limit is {PROXY_HEADER_BYTES_MAX}")]
    TooLarge(usize),
    #[error("the header announces {bytes} bytes of addresses; family and transport {family:#04x} need more")]
    Addresses { family: u8, bytes: usize },
}

/// Reads the header at the front of `bytes`. Returns `None` if more bytes are needed; never if
/// `bytes` has [`PROXY_LINE_BYTES_MAX`] bytes.
///
/// # Errors
/// [`Fault`] as soon as no further bytes could make a header of these.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Header>, Fault> {
    let begins = |signature: &[u8]| {
        let shared = bytes.len().min(signature.len());
        bytes[..shared] == signature[..shared]
    };
    match (begins(TEXT), begins(BINARY)) {
        (true, _) => line(bytes),
        (_, true) => binary(bytes),
        _ => Err(Fault::Signature(shown(bytes))),
    }
}

/// Version 1: `PROXY TCP4 <source> <destination> <port> <port>`, and the end of the line.
fn line(bytes: &[u8]) -> Result<Option<Header>, Fault> {
    let within = &bytes[..bytes.len().min(PROXY_LINE_BYTES_MAX)];
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return match bytes.len() < PROXY_LINE_BYTES_MAX {
            true => Ok(None),
            false => Err(Fault::Length(shown(bytes))),
        };
    };
    let line = &within[..end];
    let client = match line.strip_prefix(TEXT) {
        // The protocol asks receivers to ignore the rest of this line.
        Some(rest) if rest == b"UNKNOWN" || rest.starts_with(b"UNKNOWN ") => None,
        rest => {
            let client = rest.and_then(|rest| client_of_line(std::str::from_utf8(rest).ok()?));
            Some(client.ok_or_else(|| Fault::Line(line.escape_ascii().to_string()))?)
        }
    };
    Ok(Some(Header { bytes: end + 2, client }))
}

fn client_of_line(rest: &str) -> Option<SocketAddr> {
    let mut fields = rest.split(' ');
    let [family, source, destination, port, other_port] = std::array::from_fn(|_| fields.next().unwrap_or_default());
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (ip, _, _) = (address(source)?, address(destination)?, port_number(other_port)?);
    let client = SocketAddr::new(ip, port_number(port)?);
    fields.next().is_none().then_some(client)
}

/// A decimal port without a sign and without leading zeros.
fn port_number(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

/// Version 2: the fixed part, the addresses of the family, and fields that are skipped.
fn binary(bytes: &[u8]) -> Result<Option<Header>, Fault> {
    // A wrong byte is refused before the rest of the fixed part has arrived.
    let command = match bytes.get(12) {
        Some(byte @ (0x20 | 0x21)) => *byte,
        Some(byte) => return Err(Fault::Command(*byte)),
        None => return Ok(None),
    };
    let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() else { return Ok(None) };
    let family = fixed[13];
    let announced = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let length = FIXED_BYTES + announced;
    if length > PROXY_HEADER_BYTES_MAX {
        return Err(Fault::TooLarge(length));
    }
    if command == 0x20 {
        // LOCAL: the proxy's own connection. The protocol asks receivers to ignore the family.
        return Ok(Some(Header { bytes: length, client: None }));
    }
    let needed = match (family >> 4, family & 0xf) {
        (1, 1 | 2) => 12,
        (2, 1 | 2) => 36,
        // The client has no IP address, or the proxy does not know it: a UNIX socket, or
        // "unspecified".
        (0..=3, 0..=2) => 0,
        _ => return Err(Fault::Family(family)),
    };
    if announced < needed {
        return Err(Fault::Addresses { family, bytes: announced });
    }
    let Some(addresses) = bytes.get(FIXED_BYTES..FIXED_BYTES + needed) else { return Ok(None) };
    Ok(Some(Header { bytes: length, client: source(addresses) }))
}

/// The source of an address block: source, destination, port of the source, port of the
/// destination. `None` if the block is empty.
fn source(block: &[u8]) -> Option<SocketAddr> {
    let (ip, ports): (IpAddr, _) = match block.len() {
        12 => (Ipv4Addr::from(*block.first_chunk::<4>()?).into(), &block[8..]),
        36 => (Ipv6Addr::from(*block.first_chunk::<16>()?).into(), &block[32..]),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*ports.first_chunk()?)))
}

/// The first bytes, in a form that is safe to log.
fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(SHOWN_BYTES)].escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Version 2 with this command and family, and a block of this length that begins with `block`.
    fn v2(command: u8, family: u8, block: &[u8], length: u16) -> Vec<u8> {
        let mut bytes = [BINARY, &[command, family], &length.to_be_bytes(), block].concat();
        bytes.resize(FIXED_BYTES + usize::from(length), 0);
        bytes
    }

    const V4: &[u8] = &[192, 168, 0, 1, 192, 168, 0, 11, 0xdc, 0x04, 0x01, 0xbb];
    const V6: &[u8] = &[
        0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, // the source
        0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, // the destination
        0xdc, 0x04, 0x01, 0xbb,
    ];

    /// Headers as the specification shows them, with the client that they name.
    fn golden() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let most = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let [worst, long] = ["UNKNOWN", "TCP6"].map(|family| format!("PROXY {family} {most} {most} 65535 65535\r\n"));
        assert_eq!((worst.len(), long.len()), (PROXY_LINE_BYTES_MAX, 104));
        let (v4, v6) = (Some("192.168.0.1:56324"), Some("[2001:db8::1]:56324"));
        vec![
            (b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n".to_vec(), v4),
            (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n".to_vec(), Some("255.255.255.255:65535")),
            (b"PROXY TCP6 2001:DB8::1 2001:db8::2 56324 0\r\n".to_vec(), v6),
            (long.into(), Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN \xff anything\n\r\r\n".to_vec(), None),
            (worst.into(), None),
            (b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x20\x00\x00\x00".to_vec(), None),
            (v2(0x21, 0x11, V4, 12), v4),
            (v2(0x21, 0x12, V4, 12), v4),
            (v2(0x21, 0x21, V6, 36), v6),
            (v2(0x21, 0x22, V6, 36), v6),
            // Fields behind the addresses: PP2_TYPE_NOOP with two bytes.
            (v2(0x21, 0x11, &[V4, &[4, 0, 2, 9, 9]].concat(), 17), v4),
            (v2(0x21, 0x00, &[], 0), None),
            (v2(0x21, 0x10, V4, 12), None),
            (v2(0x21, 0x31, b"/run/proxy", 216), None),
            // LOCAL ignores family and block, also unknown ones.
            (v2(0x20, 0x11, V4, 12), None),
            (v2(0x20, 0xff, &[], 3), None),
        ]
    }

    #[test]
    fn headers_of_the_proxy_protocol_are_read_at_every_length_that_arrives() {
        for (bytes, client) in golden() {
            let client = client.map(|client| client.parse().unwrap());
            let whole = Header { bytes: bytes.len(), client };
            assert_eq!(parse(&bytes), Ok(Some(whole)), "{bytes:?}");
            let with_request = [&bytes[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
            assert_eq!(parse(&with_request), Ok(Some(whole)), "{bytes:?}");
            for length in 0..bytes.len() {
                let part = parse(&bytes[..length]);
                // Once the addresses are there, the fields behind them need not be.
                let is_known = part == Ok(Some(whole)) && length >= FIXED_BYTES && bytes.starts_with(BINARY);
                assert!(part == Ok(None) || is_known, "{length} of {bytes:?}: {part:?}");
            }
        }
    }

    #[test]
    fn a_header_of_another_form_is_refused_as_soon_as_it_differs() {
        for (bytes, part) in [
            (b"GET / HTTP/1.1\r\n".to_vec(), "\"GET / HTTP/1.1\\r\\n\""),
            (b"\x16\x03\x01".to_vec(), "\\x16\\x03\\x01"),
            (b"PROXI".to_vec(), "PROXI"),
            (b"proxy TCP4".to_vec(), "proxy"),
            (b"\r\n\r\n\0\r\nQUIX".to_vec(), "QUIX"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n".to_vec(), "no line"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n".to_vec(), "no line"),
            (b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n".to_vec(), "no line"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n".to_vec(), "no line"),
            (b"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n".to_vec(), "no line"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n".to_vec(), "no line"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n".to_vec(), "no line"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n".to_vec(), "no line"),
            (b"PROXY TCP4 2001:db8::1 192.0.2.2 1 2\r\n".to_vec(), "no line"),
            (b"PROXY TCP6 192.0.2.1 2001:db8::1 1 2\r\n".to_vec(), "no line"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\nGET / HTTP/1.1\r\n".to_vec(), "\\nGET"),
            (b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(), "no line"),
            (b"PROXY \xff\xff\r\n".to_vec(), "\\xff"),
            (b"PROXY UNKNOWNS\r\n".to_vec(), "no line"),
            ([b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 93]].concat(), "within 107 bytes"),
            ([b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 92], b"\r\n".to_vec()].concat(), "within 107 bytes"),
            (v2(0x11, 0x11, V4, 12)[..13].to_vec(), "0x11"),
            (v2(0x22, 0x11, V4, 12), "0x22"),
            (v2(0x21, 0x41, V4, 12), "0x41"),
            (v2(0x21, 0x13, V4, 12), "0x13"),
            (v2(0x21, 0x11, V4, 11), "11 bytes of addresses"),
            (v2(0x21, 0x21, V6, 35), "35 bytes of addresses"),
            (v2(0x21, 0x11, V4, 4081), "4097 bytes"),
            (v2(0x20, 0x00, &[], u16::MAX), "65551 bytes"),
        ] {
            let fault = parse(&bytes).unwrap_err().to_string();
            assert!(fault.contains(part), "{part:?} is not in {fault:?}");
        }
        assert!(parse(&v2(0x21, 0x11, V4, 4080)).unwrap().is_some(), "the largest header");
        let lone = [b"PROXY UNKNOWN ".to_vec(), vec![b'\n'; 92]].concat();
        assert_eq!(parse(&lone), Ok(None), "the line may end within one more byte");
    }

    proptest! {
        /// No bytes panic. A decision never changes when further bytes arrive, and is there once
        /// the buffer is full.
        #[test]
        fn any_bytes_are_a_header_or_a_fault_and_stay_so(
            signature in prop_oneof![Just(TEXT), Just(BINARY), Just(&b""[..])],
            rest in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let bytes = [signature, &rest].concat();
            let mut decided = None;
            for length in 0..=bytes.len() {
                let parsed = parse(&bytes[..length]);
                if let Ok(None) = parsed {
                    prop_assert!(decided.is_none() && length < PROXY_LINE_BYTES_MAX);
                    continue;
                }
                let header = parsed.as_ref().ok().copied().flatten();
                if let Some(header) = header {
                    prop_assert!(header.bytes <= PROXY_HEADER_BYTES_MAX);
                }
                prop_assert_eq!(decided.get_or_insert(header), &header);
            }
        }
    }
}
