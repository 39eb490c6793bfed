//! A hand-written request of Kafka's protocol: which brokers are in the cluster?
//!
//! An open port says little about a broker. An answer to `Metadata` proves that the broker serves
//! requests, and names the brokers that the controller has admitted. Version 2 is the oldest
//! version with the cluster id; every broker since 0.10.1 understands it, Kafka 4 and Redpanda
//! included (protocol guide: <https://kafka.apache.org/protocol>).

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// The request `Metadata` of Kafka's protocol, in version 2.
const API_KEY: i16 = 3;
const API_VERSION: i16 = 2;
/// An arbitrary number that the answer must repeat.
const CORRELATION_ID: i32 = 0x6472_6674;

/// Limit of an answer's length. A longer answer cannot belong to a request without topics.
const ANSWER_BYTES_MAX: usize = 1 << 20;
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// A broker's answer about its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The live brokers, sorted by id.
    pub brokers: Vec<Broker>,
    pub cluster_id: Option<String>,
    /// The id of the broker that is the controller; -1 while the cluster has none.
    pub controller_id: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    pub id: i32,
    pub host: String,
    pub port: i32,
}

/// Asks the broker at `addr` (`host:port`, plaintext) once. The connection, and each read and
/// write, may take 2 s.
pub fn ask_metadata(addr: &str) -> Result<Metadata> {
    let address = addr.to_socket_addrs()?.next().with_context(|| format!("{addr} has no address"))?;
    let mut socket =
        TcpStream::connect_timeout(&address, ANSWER_WITHIN).with_context(|| format!("cannot connect to {addr}"))?;
    socket.set_read_timeout(Some(ANSWER_WITHIN))?;
    socket.set_write_timeout(Some(ANSWER_WITHIN))?;
    let mut answer = || -> Result<Vec<u8>> {
        socket.write_all(&request())?;
        let mut size = [0; 4];
        socket.read_exact(&mut size)?;
        let size = usize::try_from(i32::from_be_bytes(size))?;
        ensure!(size <= ANSWER_BYTES_MAX, "an answer of {size} bytes");
        let mut body = vec![0; size];
        socket.read_exact(&mut body)?;
        Ok(body)
    };
    answer().and_then(|body| decode(&body)).with_context(|| format!("{addr} does not answer as a Kafka broker"))
}

/// Encodes the request: size, API key, version, correlation id and client id, then an empty list of
/// topics.
fn request() -> Vec<u8> {
    let client_id = b"driftless";
    let mut body = Vec::new();
    body.extend(API_KEY.to_be_bytes());
    body.extend(API_VERSION.to_be_bytes());
    body.extend(CORRELATION_ID.to_be_bytes());
    body.extend((client_id.len() as i16).to_be_bytes());
    body.extend(client_id);
    body.extend(0i32.to_be_bytes());
    let mut frame = (body.len() as i32).to_be_bytes().to_vec();
    frame.extend(body);
    frame
}

fn decode(body: &[u8]) -> Result<Metadata> {
    let mut rest = Reader(body);
    let correlation_id = rest.int32()?;
    ensure!(correlation_id == CORRELATION_ID, "the answer has correlation id {correlation_id}, not {CORRELATION_ID}");
    let mut brokers = Vec::new();
    for _ in 0..rest.int32()? {
        let broker =
            Broker { id: rest.int32()?, host: rest.string()?.context("a broker without a host")?, port: rest.int32()? };
        let _rack = rest.string()?;
        brokers.push(broker);
    }
    brokers.sort_by_key(|broker| broker.id);
    Ok(Metadata { brokers, cluster_id: rest.string()?, controller_id: rest.int32()? })
}

/// Reads Kafka's primitive types off the front of a slice.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count).context("the answer is cut off")?;
        self.0 = tail;
        Ok(head)
    }

    fn int32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into()?))
    }

    /// Reads a NULLABLE_STRING: an int16 length, then the bytes. The length -1 means null.
    fn string(&mut self) -> Result<Option<String>> {
        let length = i16::from_be_bytes(self.take(2)?.try_into()?);
        match usize::try_from(length) {
            Ok(length) => Ok(Some(String::from_utf8(self.take(length)?.to_vec())?)),
            Err(_) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_the_protocol_guide_says() {
        let mut body = CORRELATION_ID.to_be_bytes().to_vec();
        body.extend([0, 0, 0, 1]); // one broker
        body.extend([0, 0, 0, 7, 0, 1, b'h', 0, 0, 0x23, 0x84, 0xff, 0xff]); // 7, "h", 9092, no rack
        body.extend([0, 2, b'i', b'd']); // cluster id
        body.extend([0, 0, 0, 7, 0, 0, 0, 0]); // controller, no topics
        let expected = Metadata {
            brokers: vec![Broker { id: 7, host: "h".to_owned(), port: 9092 }],
            cluster_id: Some("id".to_owned()),
            controller_id: 7,
        };
        assert_eq!(decode(&body).unwrap(), expected);
        for cut in 0..body.len() - 4 {
            assert!(decode(&body[..cut]).is_err(), "cut at {cut}");
        }
    }
}
