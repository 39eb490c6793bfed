//! What a run did: a number that stands for all of it, and the last lines for people.

use std::collections::VecDeque;

/// Lines that are kept.
const LINES_MAX: usize = 4_000;

/// Takes notes.
#[derive(Clone, Debug)]
pub struct Trace {
    number: u64,
    lines: Option<VecDeque<String>>,
}

impl Trace {
    /// `with_lines`: keep them for people, which is slow.
    #[must_use]
    pub fn new(with_lines: bool) -> Self {
        Self { number: 0xcbf2_9ce4_8422_2325, lines: with_lines.then(VecDeque::new) }
    }

    /// Something happened.
    pub fn note(&mut self, what: &'static str, a: u64, b: u64) {
        // FNV-1a over words: cheap, and any difference shows.
        for word in [what.len() as u64, u64::from(what.as_bytes()[0]), a, b] {
            self.number = (self.number ^ word).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(lines) = &mut self.lines {
            if lines.len() >= LINES_MAX {
                lines.pop_front();
            }
            lines.push_back(format!("{what} {a} {b}"));
        }
    }

    /// Stands for everything that was noted.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The last lines.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().flatten().map(String::as_str)
    }
}
