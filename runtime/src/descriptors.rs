//! The limit on open files. Each connection takes a file descriptor. A process without a free one
//! can neither accept connections nor reach the log or the object store, so a server accepts only
//! as many connections as leave a reserve.

use driftless_schemas::limits::{CONNECTIONS_MAX_DEFAULT, DESCRIPTORS_RESERVED};

/// Raises the process's limit on open files as far as the system allows, and returns the limit.
/// `None`: there is no limit, or the system does not tell it.
#[cfg(unix)]
#[must_use]
pub fn raise() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: maximum, maximum };
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => maximum,
        Err(error) => {
            // Some systems state no maximum, but refuse to have none.
            tracing::debug!(%error, "cannot raise the limit of open files");
            current
        }
    }
}

/// The system has no limit that this function knows.
#[cfg(not(unix))]
#[must_use]
pub fn raise() -> Option<u64> {
    None
}

/// Returns how many connections a server accepts: `wanted`, or, if that is 0, as many as the limit
/// on open files allows, up to [`CONNECTIONS_MAX_DEFAULT`]. A connection takes `each` descriptors.
///
/// # Errors
/// The wanted connections do not fit. The text has the numbers, and what to do.
pub fn connections(wanted: usize, each: usize, limit: Option<u64>) -> Result<usize, String> {
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let room = limit.saturating_sub(DESCRIPTORS_RESERVED) / each.max(1);
    match wanted {
        0 if room > 0 => Ok(room.min(CONNECTIONS_MAX_DEFAULT)),
        1.. if wanted <= room => Ok(wanted),
        _ => {
            let needed = wanted.max(1).saturating_mul(each).saturating_add(DESCRIPTORS_RESERVED);
            Err(format!(
                "{} connections need {needed} file descriptors: {each} each, and {DESCRIPTORS_RESERVED} for the log, the \
                 object store and files. The process may open {limit}. Raise that limit (ulimit -n, LimitNOFILE of \
                 systemd), or allow at most {room} connections",
                wanted.max(1)
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_a_reserve_or_do_not_fit() {
        assert_eq!(connections(0, 1, None), Ok(CONNECTIONS_MAX_DEFAULT));
        assert_eq!(connections(0, 1, Some(1024)), Ok(512));
        assert_eq!(connections(0, 3, Some(1024)), Ok(170), "TLS takes more");
        assert_eq!(connections(512, 1, Some(1024)), Ok(512));
        let said = connections(513, 1, Some(1024)).unwrap_err();
        assert!(said.starts_with("513 connections need 1025 file descriptors"), "{said}");
        assert!(said.ends_with("or allow at most 512 connections"), "{said}");
        assert!(connections(0, 1, Some(512)).is_err(), "not even one fits");
        assert_eq!(connections(100_000, 1, None), Ok(100_000));
    }

    #[cfg(unix)]
    #[test]
    fn the_limit_is_raised_to_its_maximum() {
        let limits = || rustix::process::getrlimit(rustix::process::Resource::Nofile);
        assert_eq!(raise(), raise());
        assert!(limits().current == limits().maximum || limits().current == raise());
    }
}
