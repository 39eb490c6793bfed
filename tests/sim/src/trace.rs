//! The trace of a run: a digest of everything that happened, and the last steps as text.

use std::collections::VecDeque;

/// The limit on the lines of text that a trace keeps; older lines are dropped.
const LINES_MAX: usize = 4_000;

/// The trace of a run.
#[derive(Clone, Debug)]
pub struct Trace {
    number: u64,
    lines: Option<VecDeque<String>>,
}

impl Trace {
    /// An empty trace. `with_lines` keeps the steps as text, which is slow.
    #[must_use]
    pub fn new(with_lines: bool) -> Self {
        Self { number: 0xcbf2_9ce4_8422_2325, lines: with_lines.then(VecDeque::new) }
    }

    /// Adds an event to the trace: a name and two values.
    pub fn note(&mut self, what: &'static str, a: u64, b: u64) {
        // FNV-1a over words is fast, and any difference in the events changes it.
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

    /// The digest of all events.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The last events as lines of text.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().flatten().map(String::as_str)
    }
}
