//! The deny list: users and single tokens that services refuse although the tokens have not
//! expired.
//!
//! A line is `sub <name>` or `jti <id>`. Empty lines and lines that begin with `#` are ignored. A
//! name that begins or ends with white space, or begins with a quote, is written as a JSON string:
//! `sub " ann"`. Any other line makes the whole list unusable, because a guess must never decide
//! which user is denied. The error names the number of that line.

use super::TokenError;
use driftless_runtime::files::read_bounded;
use driftless_schemas::access::Claims;
use driftless_schemas::limits;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// A problem with a deny file.
#[derive(Debug, thiserror::Error)]
#[error("deny file {path}: {problem}")]
pub struct DenyError {
    /// The path of the file.
    pub path: PathBuf,
    /// The problem, and what would work.
    pub problem: String,
}

/// A problem with the text of a deny list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct Unreadable {
    /// The number of the first wrong line, starting at 1.
    pub line: usize,
    /// The problem, and what would work.
    pub problem: String,
}

/// The denied users and tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DenyList {
    // The standard hasher has random keys, so an attacker who chooses names cannot make them
    // collide.
    subs: HashSet<String>,
    jtis: HashSet<String>,
}

impl DenyList {
    /// Reads a deny file.
    ///
    /// # Errors
    /// [`DenyError`] if the file cannot be read, is too large, or has a wrong line.
    pub fn read(path: &Path) -> Result<Self, DenyError> {
        let error = |problem| DenyError { path: path.to_owned(), problem };
        let bytes = read_bounded(path, limits::DENY_FILE_BYTES_MAX).map_err(error)?;
        Self::parse(&bytes).map_err(|e| error(e.to_string()))
    }

    /// Parses the text of a deny list. No bytes panic: the result is a list, or the number of the
    /// first wrong line.
    ///
    /// # Errors
    /// [`Unreadable`] for the first line that is not understood.
    pub fn parse(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut list = Self::default();
        for (i, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let unreadable = |problem: String| Unreadable { line: i + 1, problem };
            let line = std::str::from_utf8(line).map_err(|_| unreadable("the line is not UTF-8".into()))?.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (kind, name) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let (set, bytes_max) = match kind {
                "sub" => (&mut list.subs, limits::AUTHOR_BYTES_MAX),
                "jti" => (&mut list.jtis, limits::TOKEN_ID_BYTES_MAX),
                _ => {
                    let kind: String = kind.chars().take(20).collect();
                    return Err(unreadable(format!(
                        "the line begins with {kind:?}; a line is `sub <name>` or `jti <id>`"
                    )));
                }
            };
            set.insert(name_of(name.trim(), bytes_max).map_err(unreadable)?);
            if list.subs.len() + list.jtis.len() > limits::DENY_ENTRIES_MAX {
                let problem = format!(
                    "the list has more than {} entries, which is the limit; remove tokens that have expired",
                    limits::DENY_ENTRIES_MAX
                );
                return Err(unreadable(problem));
            }
        }
        Ok(list)
    }

    /// Checks that a token is not denied.
    ///
    /// # Errors
    /// [`TokenError::Denied`] if the list names the token or its user.
    pub fn check(&self, claims: &Claims) -> Result<(), TokenError> {
        let denied = |claim, value: &str| Err(TokenError::Denied { claim, value: value.to_owned() });
        match &claims.jti {
            _ if self.subs.contains(&claims.sub) => denied("sub", &claims.sub),
            Some(jti) if self.jtis.contains(jti) => denied("jti", jti),
            _ => Ok(()),
        }
    }

    /// The number of denied users.
    #[must_use]
    pub fn users(&self) -> usize {
        self.subs.len()
    }

    /// The number of denied tokens.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.jtis.len()
    }
}

fn name_of(text: &str, bytes_max: usize) -> Result<String, String> {
    let name = match text.starts_with('"') {
        true => serde_json::from_str(text)
            .map_err(|e| format!("a name that begins with a quote must be a JSON string: {e}"))?,
        false => text.to_owned(),
    };
    match name.len() {
        0 => Err("the name is missing; a line is `sub <name>` or `jti <id>`".into()),
        bytes if bytes > bytes_max => Err(format!("the name has {bytes} bytes; tokens have at most {bytes_max}")),
        _ => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claims(sub: &str, jti: Option<&str>) -> Claims {
        Claims {
            sub: sub.into(),
            jti: jti.map(Into::into),
            expires_at: 0,
            access: Default::default(),
            key: Default::default(),
        }
    }

    #[test]
    fn a_list_names_users_and_tokens() {
        let text = "# Who is out\n\nsub mallory\r\nsub  Eve of the Garden \nsub \" ann\"\n\tjti 3f-7\njti \"\\\"q\"";
        let list = DenyList::parse(text.as_bytes()).unwrap();
        assert_eq!((list.users(), list.tokens()), (3, 2));
        for (sub, jti, is_denied) in [
            ("mallory", None, true),
            ("Mallory", None, false),
            ("Eve of the Garden", Some("x"), true),
            (" ann", None, true),
            ("ann", None, false),
            ("ann", Some("3f-7"), true),
            ("ann", Some("\"q"), true),
            ("3f-7", Some("mallory"), false),
        ] {
            assert_eq!(list.check(&claims(sub, jti)).is_err(), is_denied, "{sub:?} {jti:?}");
        }
    }

    #[test]
    fn an_unreadable_line_is_named_and_nothing_is_guessed() {
        let long = format!("sub {}", "x".repeat(limits::AUTHOR_BYTES_MAX + 1));
        let many: String = (0..=limits::DENY_ENTRIES_MAX).map(|i| format!("jti {i}\n")).collect();
        for (text, line, hint) in [
            (&b"sub a\nmallory\n"[..], 2, "sub <name>"),
            (b"\n\nsub\n", 3, "missing"),
            (b"sub \"\"", 1, "missing"),
            (b"sub \"open", 1, "JSON"),
            (b"sub a\njti \xff\n", 2, "UTF-8"),
            (b"users = []", 1, "users"),
            (long.as_bytes(), 1, "257 bytes"),
            (many.as_bytes(), limits::DENY_ENTRIES_MAX + 1, "expired"),
        ] {
            let e = DenyList::parse(text).unwrap_err();
            assert!(e.line == line && e.to_string().contains(hint), "{e}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_list_or_a_line(bytes: Vec<u8>) {
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
            match DenyList::parse(&bytes) {
                Ok(list) => prop_assert!(list.users() + list.tokens() <= lines),
                Err(e) => prop_assert!(e.line >= 1 && e.line <= lines),
            }
        }

        #[test]
        fn a_name_in_quotes_is_taken_as_it_is(name in ".{1,40}") {
            let text = format!("sub {}", serde_json::to_string(&name).unwrap());
            let list = DenyList::parse(text.as_bytes()).unwrap();
            prop_assert!(list.check(&claims(&name, None)).is_err());
        }
    }
}
