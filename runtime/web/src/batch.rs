//! Sends messages to many sockets with one system call, on kernels with io_uring.
//!
//! In a measurement on two shared cores, with the server on one of them, this made 11–32% more
//! deliveries per second than one `send` per socket. Containers often forbid io_uring, and other
//! systems do not have it. Each socket then gets a `send` of its own, with the same results
//! (docs/decisions/0013-what-we-write-by-hand-on-sockets.md).

use std::io;
use std::os::fd::BorrowedFd;

/// The largest number of sends in one system call.
pub const BATCH_MAX: usize = 256;
/// The smallest number of sends in a batch: for fewer sends, one call per socket is as fast.
const BATCH_MIN: usize = 4;

/// Sends to many sockets, with io_uring or one by one.
#[derive(Debug, Default)]
pub struct Batches {
    #[cfg(target_os = "linux")]
    ring: Option<ring::Ring>,
}

impl Batches {
    /// Creates a sender with io_uring.
    ///
    /// # Errors
    /// The reason why io_uring is not available. [`Batches::default`] works without it.
    pub fn with_io_uring() -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        return Ok(Self { ring: Some(ring::Ring::new()?) });
        #[cfg(not(target_os = "linux"))]
        Err(io::Error::new(io::ErrorKind::Unsupported, "only Linux has it"))
    }

    /// Returns true if sending this many messages in one batch costs less than sending them one by
    /// one.
    #[must_use]
    pub fn is_worth_it(&self, sends: usize) -> bool {
        #[cfg(target_os = "linux")]
        return sends >= BATCH_MIN && self.ring.is_some();
        #[cfg(not(target_os = "linux"))]
        {
            let _ = sends;
            false
        }
    }

    /// Sends each socket its bytes without waiting. `results` gets, in the same order, the number
    /// of bytes that each socket accepted, or its error. A socket may occur only once in `sends`:
    /// if it accepted only a part of its first message, the second one would follow that part.
    pub fn send(&mut self, sends: &[(BorrowedFd<'_>, &[u8])], results: &mut Vec<io::Result<usize>>) {
        results.clear();
        for batch in sends.chunks(BATCH_MAX) {
            #[cfg(target_os = "linux")]
            if self.is_worth_it(batch.len())
                && let Some(ring) = &mut self.ring
            {
                if let Err(e) = ring.send(batch, results) {
                    tracing::warn!("io_uring failed ({e}): from now on each socket gets a send of its own");
                    self.ring = None;
                }
                continue;
            }
            results.extend(batch.iter().map(|(socket, bytes)| one(*socket, bytes)));
        }
    }
}

fn one(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    socket2::SockRef::from(&socket).send(bytes)
}

#[cfg(target_os = "linux")]
mod ring {
    use super::{BATCH_MAX, one};
    use io_uring::{IoUring, Probe, opcode, types::Fd};
    use std::io;
    use std::os::fd::{AsRawFd as _, BorrowedFd};

    pub struct Ring(IoUring);

    impl std::fmt::Debug for Ring {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Ring")
        }
    }

    impl Ring {
        pub fn new() -> io::Result<Self> {
            let ring = IoUring::new(BATCH_MAX as u32)?;
            let mut probe = Probe::new();
            ring.submitter().register_probe(&mut probe)?;
            match probe.is_supported(opcode::Send::CODE) {
                true => Ok(Self(ring)),
                false => Err(io::Error::new(io::ErrorKind::Unsupported, "this kernel's io_uring has no send")),
            }
        }

        /// Performs the sends of a batch, at most [`BATCH_MAX`]. After an error the ring must not
        /// be used again; `results` has a result for each send even then.
        pub fn send(
            &mut self,
            batch: &[(BorrowedFd<'_>, &[u8])],
            results: &mut Vec<io::Result<usize>>,
        ) -> io::Result<()> {
            let mut done: [Option<i32>; BATCH_MAX] = [None; BATCH_MAX];
            let mut queue = self.0.submission();
            for (index, (socket, bytes)) in (0..).zip(batch) {
                let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                let send = opcode::Send::new(Fd(socket.as_raw_fd()), bytes.as_ptr(), length)
                    .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
                    .build()
                    .user_data(index);
                // SAFETY: sockets and bytes are borrowed until this function returns. By then the
                // kernel has completed each entry that it took, or the caller drops the ring: a
                // send with MSG_DONTWAIT is never executed later.
                if unsafe { queue.push(&send) }.is_err() {
                    break;
                }
            }
            let pushed = queue.len();
            drop(queue);
            let mut failed = None;
            let mut answered = 0;
            while answered < pushed && failed.is_none() {
                match self.0.submit_and_wait(pushed - answered) {
                    Err(e) if e.kind() != io::ErrorKind::Interrupted => failed = Some(e),
                    _ => {}
                }
                for answer in self.0.completion() {
                    let result = usize::try_from(answer.user_data()).ok().and_then(|index| done.get_mut(index));
                    if let Some(result) = result {
                        *result = Some(answer.result());
                    }
                    answered += 1;
                }
            }
            let taken = pushed - self.0.submission().len();
            results.extend(batch.iter().zip(done).enumerate().map(|(index, ((socket, bytes), answer))| match answer {
                Some(count) if count >= 0 => Ok(count as usize),
                Some(error) => Err(io::Error::from_raw_os_error(-error)),
                // The kernel never received this entry, so the socket gets a send of its own.
                None if index >= taken => one(*socket, bytes),
                None => Err(io::Error::other("the kernel accepted a send and did not report its result")),
            }));
            failed.map_or(Ok(()), Err)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Read as _};
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    /// Returns both ways of sending, or only the way without io_uring if the kernel does not have
    /// it.
    fn ways() -> Vec<(&'static str, Batches)> {
        let with = Batches::with_io_uring().inspect_err(|e| println!("only one by one: no io_uring ({e})"));
        with.into_iter().map(|with| ("together", with)).chain([("one by one", Batches::default())]).collect()
    }

    fn pairs(count: usize) -> Vec<(UnixStream, UnixStream)> {
        let pair = |_| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            (ours, theirs)
        };
        (0..count).map(pair).collect()
    }

    #[test]
    fn every_socket_gets_its_own_bytes() {
        for (way, mut batches) in ways() {
            // More than one batch, then too few for a batch.
            for count in [2 * BATCH_MAX + 3, 2, 0] {
                let mut pairs = pairs(count);
                let texts: Vec<String> = (0..count).map(|i| format!("for {i}")).collect();
                let sends: Vec<_> =
                    pairs.iter().zip(&texts).map(|((ours, _), text)| (ours.as_fd(), text.as_bytes())).collect();
                let mut results = vec![Ok(7)];
                batches.send(&sends, &mut results);
                assert_eq!(results.len(), count, "{way}");
                for ((result, text), (_, theirs)) in results.into_iter().zip(&texts).zip(&mut pairs) {
                    assert_eq!(result.unwrap(), text.len(), "{way}");
                    let mut found = vec![0; text.len()];
                    theirs.read_exact(&mut found).unwrap();
                    assert_eq!(found, text.as_bytes(), "{way}");
                }
            }
        }
    }

    #[test]
    fn a_full_socket_accepts_a_part_or_nothing_and_a_closed_one_is_an_error() {
        for (way, mut batches) in ways() {
            let mut pairs = pairs(8);
            let large = vec![7; 1 << 20];
            drop(pairs.remove(3).1);
            let (gone, _) = UnixStream::pair().unwrap();
            let sockets: Vec<_> = pairs.iter().map(|(ours, _)| ours).chain([&gone]).collect();
            let send = |batches: &mut Batches, bytes: &[u8]| {
                let sends: Vec<_> = sockets.iter().map(|socket| (socket.as_fd(), bytes)).collect();
                let mut results = Vec::new();
                batches.send(&sends, &mut results);
                results
            };
            let first = send(&mut batches, &large);
            let is_full = |result: &io::Result<usize>| matches!(result, Err(e) if e.kind() == ErrorKind::WouldBlock);
            assert!(first[..7].iter().all(|r| matches!(r, Ok(1..1_048_576)) || is_full(r)), "{way}: {first:?}");
            assert!(matches!(&first[7], Err(e) if e.kind() == ErrorKind::BrokenPipe), "{way}: {:?}", first[7]);
            let again = send(&mut batches, &large);
            assert!(again[..7].iter().all(is_full), "{way}: {again:?}");
            // A socket whose peer reads gets the next message, although the other sockets are full.
            let (_, theirs) = &mut pairs[0];
            let mut taken = vec![0; 64 * 1024];
            theirs.read_exact(&mut taken).unwrap();
            let sends: Vec<_> = pairs.iter().map(|(ours, _)| (ours.as_fd(), &b"more"[..])).collect();
            let mut results = Vec::new();
            batches.send(&sends, &mut results);
            assert_eq!(*results[0].as_ref().unwrap(), 4, "{way}");
            assert!(results[1..].iter().all(is_full), "{way}: {results:?}");
        }
    }
}
