//! The crowd of clients: many sockets in one thread, on bare readiness events, so that the clients
//! cost less CPU than the measured server.

use super::dialect::Dialect;
use anyhow::{Context, Result, bail, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Time limit for answers and updates. A server closes a socket after this long without a message.
const PATIENCE: Duration = Duration::from_secs(30);
/// Limit of sockets that are being opened at the same time.
const OPENING_MAX: usize = 64;
const READ_BYTES: usize = 256 * 1024;
/// Number of updates that a server holds ready, already encoded, after the request `prepare`.
pub(super) const PREPARED: usize = 8 * 1024;

/// The sockets of all clients, each subscribed to one channel.
pub(super) struct Crowd<'d> {
    dialect: &'d dyn Dialect,
    poll: Poll,
    events: Events,
    sockets: Vec<Socket>,
    buffer: Vec<u8>,
    /// Number of received updates, over all sockets.
    pub updates: usize,
    subscribed: usize,
}

struct Socket {
    stream: TcpStream,
    is_upgraded: bool,
    is_subscribed: bool,
    /// Number of the chunk or channel to which the socket subscribes.
    channel: usize,
    /// The beginning of an incomplete message.
    partial: Vec<u8>,
}

/// The control connection, which makes a server publish.
pub(super) struct Control {
    stream: std::net::TcpStream,
    answers: BufReader<std::net::TcpStream>,
}

impl Control {
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { answers: BufReader::new(stream.try_clone()?), stream })
    }

    /// Makes the server publish the next `count` updates, over the channels in turn.
    pub fn publish(&mut self, count: usize) -> Result<()> {
        Ok(self.stream.write_all(format!("publish {count}\n").as_bytes())?)
    }

    /// Lets the server encode its next updates in advance, so that a measurement includes only
    /// publishing. Returns the time that the encoding took.
    pub fn prepare(&mut self) -> Result<Duration> {
        let began = Instant::now();
        self.stream.write_all(b"prepare\n")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        ensure!(line == "prepared\n", "the server answered {line:?}");
        Ok(began.elapsed())
    }

    /// Returns the server's resident memory, in bytes.
    pub fn resident(&mut self) -> Result<u64> {
        self.stream.write_all(b"resident\n")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        line.trim().parse().with_context(|| format!("the server answered {line:?}"))
    }
}

impl<'d> Crowd<'d> {
    /// Opens sockets, spread over `channels` channels, and waits until all are subscribed.
    pub fn open(dialect: &'d dyn Dialect, address: SocketAddr, count: usize, channels: usize) -> Result<Self> {
        let mut crowd = Self {
            dialect,
            poll: Poll::new()?,
            events: Events::with_capacity(4096),
            sockets: Vec::with_capacity(count),
            buffer: vec![0; READ_BYTES],
            updates: 0,
            subscribed: 0,
        };
        let deadline = Instant::now() + PATIENCE + Duration::from_millis(count as u64 * 4);
        while crowd.subscribed < count {
            ensure!(Instant::now() < deadline, "{} of {count} sockets are subscribed in time", crowd.subscribed);
            while crowd.sockets.len() < count && crowd.sockets.len() - crowd.subscribed < OPENING_MAX {
                crowd.begin(address, crowd.sockets.len() % channels)?;
            }
            crowd.poll_once(Duration::from_millis(100))?;
        }
        crowd.updates = 0;
        Ok(crowd)
    }

    fn begin(&mut self, address: SocketAddr, channel: usize) -> Result<()> {
        // A connect on loopback takes no time, and a blocking connect has no half-open state.
        let mut stream = std::net::TcpStream::connect(address).context("a socket of the crowd")?;
        stream.set_nodelay(true)?;
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {}\r\n\r\n",
            self.dialect.path(),
            self.dialect.subprotocol(),
        );
        stream.write_all(request.as_bytes())?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        self.poll.registry().register(&mut stream, Token(self.sockets.len()), Interest::READABLE)?;
        let partial = Vec::new();
        self.sockets.push(Socket { stream, is_upgraded: false, is_subscribed: false, channel, partial });
        Ok(())
    }

    /// Waits for events for at most `wait`, and reads from the sockets that have bytes.
    pub fn poll_once(&mut self, wait: Duration) -> Result<()> {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        match self.poll.poll(&mut events, Some(wait)) {
            Err(e) if e.kind() != std::io::ErrorKind::Interrupted => return Err(e.into()),
            _ => {}
        }
        for event in &events {
            self.read(event.token().0)?;
        }
        self.events = events;
        Ok(())
    }

    fn read(&mut self, at: usize) -> Result<()> {
        let Self { sockets, buffer, dialect, .. } = self;
        let socket = &mut sockets[at];
        loop {
            let kept = socket.partial.len();
            buffer[..kept].copy_from_slice(&socket.partial);
            let count = match socket.stream.read(&mut buffer[kept..]) {
                Ok(0) => bail!("the server has closed socket {at}"),
                Ok(count) => kept + count,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e).context("a socket of the crowd"),
            };
            let room = buffer.len() - count;
            let mut rest = &buffer[..count];
            if !socket.is_upgraded {
                let Some(end) = rest.windows(4).position(|four| four == b"\r\n\r\n") else {
                    socket.partial = rest.to_vec();
                    continue;
                };
                let head = String::from_utf8_lossy(&rest[..end]);
                ensure!(head.starts_with("HTTP/1.1 101"), "no websocket: {head}");
                socket.is_upgraded = true;
                rest = &rest[end + 4..];
                for message in dialect.subscribe(socket.channel) {
                    socket.stream.write_all(&masked(&message))?;
                }
            }
            while let Some((opcode, message, after)) = message(rest) {
                rest = after;
                ensure!(opcode == 2, "the server sent a message of kind {opcode} to socket {at}: {message:?}");
                let counts = dialect.read(message);
                ensure!(!counts.is_error, "the server refuses socket {at}: {:?}", String::from_utf8_lossy(message));
                self.updates += counts.updates;
                if counts.is_subscribed && !std::mem::replace(&mut socket.is_subscribed, true) {
                    self.subscribed += 1;
                }
                if counts.is_ping {
                    socket.stream.write_all(&masked(&dialect.pong()))?;
                }
            }
            ensure!(rest.len() < READ_BYTES / 2, "a message of more than {} bytes", READ_BYTES / 2);
            socket.partial = rest.to_vec();
            if room > 0 {
                // The read did not fill the buffer, so the socket is drained. The next bytes cause
                // a new event.
                return Ok(());
            }
        }
    }

    /// Measures the received updates per second, with `in_flight` updates in flight. Each update
    /// reaches `per_update` sockets.
    pub fn deliveries(
        &mut self,
        control: &mut Control,
        in_flight: usize,
        per_update: usize,
        time: Duration,
    ) -> Result<f64> {
        let mut count = |crowd: &mut Self, time: Duration| -> Result<f64> {
            let (mut began, before) = (Instant::now(), crowd.updates);
            let mut prepared = 0;
            while began.elapsed() < time {
                if prepared < in_flight {
                    began += control.prepare()?;
                    prepared = PREPARED;
                }
                prepared -= in_flight;
                control.publish(in_flight)?;
                let wanted = crowd.updates + in_flight * per_update;
                let deadline = Instant::now() + PATIENCE;
                while crowd.updates < wanted {
                    // The crowd polls without sleeping. Otherwise the server's write would wake
                    // this thread, and the wake-up would count as the server's work.
                    crowd.poll_once(Duration::ZERO)?;
                    ensure!(Instant::now() < deadline, "{} of {wanted} updates came", crowd.updates);
                }
                ensure!(crowd.updates == wanted, "{} updates came, {wanted} were sent", crowd.updates);
            }
            Ok((crowd.updates - before) as f64 / began.elapsed().as_secs_f64())
        };
        count(self, time / 5)?;
        count(self, time)
    }

    /// Publishes `per_second` updates a second. Measures the time from each request to publish
    /// until each socket has the update.
    pub fn latencies(&mut self, control: &mut Control, per_second: u32, time: Duration) -> Result<Vec<Duration>> {
        let sockets = self.sockets.len();
        let mut latencies = Vec::new();
        let began = Instant::now();
        let mut due = began;
        while began.elapsed() < time {
            while let Some(wait) = due.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero()) {
                self.poll_once(wait)?;
            }
            let sent = Instant::now();
            control.publish(1)?;
            let wanted = self.updates + sockets;
            while self.updates < wanted {
                let before = self.updates;
                self.poll_once(Duration::ZERO)?;
                ensure!(sent.elapsed() < PATIENCE, "{} of {wanted} updates came", self.updates);
                // The updates of one poll count as received at the same time.
                latencies.extend(std::iter::repeat_n(sent.elapsed(), self.updates - before));
            }
            due += Duration::from_secs(1) / per_second;
        }
        Ok(latencies)
    }

    /// Keeps the sockets open for this time, and only answers pings.
    pub fn idle(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.poll_once(Duration::from_millis(100))?;
        }
        Ok(())
    }
}

/// Encodes a client's binary websocket message, masked with zeros.
fn masked(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// Splits the first message off `bytes`. Returns its opcode, its payload, and the bytes after it;
/// `None` if the message is incomplete.
fn message(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (opcode, length) = (bytes.first()? & 0x0f, usize::from(bytes.get(1)? & 0x7f));
    let (begin, length) = match length {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        length => (2, length),
    };
    Some((opcode, bytes.get(begin..begin + length)?, &bytes[begin + length..]))
}
