//! Comments and Markdown: how blocks open, vague actors, and width.
//!
//! A comment that opens with a pronoun needs the file in the reader's head. A sentence about
//! "whoever" hides who acts. The check counts openings per block and vague actors per line. A few
//! may stay, but a habit may not.

use serde_json::{Value, json};

use super::Finding;
use super::tree::{File, Language, Tree};

/// Limit of a line of prose, in columns.
const WIDTH_MAX: usize = 100;
/// Limit of the share of blocks that open with a word of [`OPENINGS`], in percent.
const OPENINGS_PERCENT_MAX: f64 = 2.0;
/// Limit of the number of lines with a word of [`VAGUE`], per thousand lines.
const VAGUE_PER_THOUSAND_MAX: f64 = 2.0;

const OPENINGS: [&str; 17] = [
    "it", "they", "one", "who", "whoever", "what", "that", "those", "these", "of", "nobody", "its", "with", "else",
    "so", "such", "whose",
];
const VAGUE: [&str; 5] = ["nobody", "whoever", "somebody", "anybody", "whom"];

/// A line of prose.
#[derive(Debug)]
pub struct Line<'a> {
    pub file: &'a File,
    /// The line number, counted from 1.
    pub number: usize,
    /// The line's text without the comment's marks.
    pub words: &'a str,
    /// The line exactly as in the file.
    raw: &'a str,
    /// True if the line above is prose too.
    is_continued: bool,
    /// True if the line is part of a code block.
    pub is_code: bool,
}

#[derive(Default)]
struct Counts {
    blocks: usize,
    lines: usize,
    openings: Vec<Finding>,
    vague: Vec<Finding>,
    wide: Vec<Finding>,
}

pub fn check(tree: &Tree) -> Vec<Finding> {
    let counts = Counts::of(tree);
    let is_vague = counts.vague_per_thousand() > VAGUE_PER_THOUSAND_MAX;
    let mut findings = Vec::new();
    if counts.openings_percent() > OPENINGS_PERCENT_MAX {
        findings.extend(counts.openings);
    }
    if is_vague {
        findings.extend(counts.vague);
    }
    findings.extend(counts.wide);
    findings
}

pub fn figures(tree: &Tree) -> Value {
    let counts = Counts::of(tree);
    let tenths = |value: f64| (value * 10.0).round() / 10.0;
    json!({
        "blocks": counts.blocks,
        "lines": counts.lines,
        "blocks_opening_with_a_pronoun": counts.openings.len(),
        "blocks_opening_with_a_pronoun_percent": tenths(counts.openings_percent()),
        "vague_actors_per_1000_lines": tenths(counts.vague_per_thousand()),
        "lines_above_100_columns": counts.wide.len(),
    })
}

impl Counts {
    fn of(tree: &Tree) -> Self {
        let mut counts = Self::default();
        for line in tree.files.iter().flat_map(lines) {
            counts.lines += 1;
            let finding = |advice: String| Finding { file: line.file.path.clone(), line: line.number, advice };
            if !line.is_continued {
                counts.blocks += 1;
                if let Some(word) = line.opening() {
                    counts.openings.push(finding(format!("opens with {word:?}: name the subject")));
                }
            }
            if let Some(word) = line.vague_actor() {
                counts.vague.push(finding(format!("says {word:?}: name the component or the person")));
            }
            if line.is_wide() {
                let width = line.raw.chars().count();
                counts.wide.push(finding(format!("{width} columns of prose: wrap it at {WIDTH_MAX}")));
            }
        }
        counts
    }

    fn openings_percent(&self) -> f64 {
        self.openings.len() as f64 * 100.0 / self.blocks.max(1) as f64
    }

    fn vague_per_thousand(&self) -> f64 {
        self.vague.len() as f64 * 1000.0 / self.lines.max(1) as f64
    }
}

impl Line<'_> {
    fn opening(&self) -> Option<String> {
        let letters = |word: &str| word.chars().filter(char::is_ascii_alphabetic).collect::<String>();
        let first = letters(self.words.split_whitespace().next()?).to_lowercase();
        (!self.is_code && OPENINGS.contains(&first.as_str())).then_some(first)
    }

    fn vague_actor(&self) -> Option<&'static str> {
        let words: Vec<String> = self.words.split(|c: char| !c.is_ascii_alphabetic()).map(str::to_lowercase).collect();
        VAGUE.into_iter().find(|vague| !self.is_code && words.iter().any(|word| word == vague))
    }

    /// Returns true if the line is too wide and could be wrapped. Table rows, code, and a single
    /// long word (a link) cannot be wrapped.
    fn is_wide(&self) -> bool {
        let can_wrap = !self.is_code && !self.raw.trim_start().starts_with('|') && self.words.contains(' ');
        can_wrap && self.raw.chars().count() > WIDTH_MAX
    }
}

/// Returns the lines of a file that are prose: whole-line comments, or everything in a Markdown
/// file.
pub fn lines(file: &File) -> Vec<Line<'_>> {
    let mut found = Vec::new();
    let (mut is_continued, mut is_code) = (false, false);
    for (index, raw) in file.text.lines().enumerate() {
        let words = match file.language {
            Language::Markdown => Some(raw.trim_start_matches(|c: char| " \t*-#.|>".contains(c) || c.is_ascii_digit())),
            language => comment(language, raw),
        };
        let words = words.map(str::trim).filter(|words| !words.is_empty());
        let is_fence = raw.trim_start_matches([' ', '/', '!', '*', '>']).starts_with("```");
        if let Some(words) = words {
            let is_code = is_code || is_fence;
            found.push(Line { file, number: index + 1, words, raw, is_continued, is_code });
        }
        is_code ^= is_fence;
        is_continued = words.is_some();
    }
    found
}

/// Returns the text of a whole-line comment; `None` if the line is none.
fn comment(language: Language, line: &str) -> Option<&str> {
    let line = line.trim_start();
    match language {
        Language::Hash => line.strip_prefix('#').filter(|words| !words.starts_with(['[', '!'])),
        Language::Rust => line.strip_prefix("//").map(|words| words.trim_start_matches(['/', '!'])),
        _ => ["//", "/**", "/*", "*/", "*"].iter().find_map(|mark| line.strip_prefix(mark)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::file;
    use super::*;

    fn tree(path: &str, text: &str) -> Tree {
        Tree { files: vec![file(path, text)], paths: vec![path.into()] }
    }

    #[test]
    fn only_the_first_word_of_a_block_is_an_opening() {
        let counts =
            Counts::of(&tree("a.rs", "/// Reads a file.\n/// It may be empty.\nlet x = 1;\n// It is read again.\n"));
        assert_eq!((counts.blocks, counts.lines), (2, 3));
        assert_eq!(counts.openings.iter().map(|finding| finding.line).collect::<Vec<_>>(), [4]);
    }

    #[test]
    fn one_bad_opening_of_many_is_left_alone_and_a_habit_is_not() {
        let good = "// The hub reads.\nlet x = 1;\n".repeat(60);
        assert!(check(&tree("a.rs", &format!("{good}// It reads.\n"))).is_empty());
        assert_eq!(check(&tree("a.rs", "// It reads.\n")).len(), 1);
    }

    #[test]
    fn vague_actors_are_words_and_not_parts_of_words() {
        assert_eq!(Counts::of(&tree("a.md", "Whoever reads this, and nobody else.\n")).vague.len(), 1);
        assert!(Counts::of(&tree("a.md", "`is_nobodys` is a name.\n")).vague.is_empty());
    }

    #[test]
    fn prose_wraps_and_tables_links_and_code_do_not() {
        let long = "word ".repeat(30);
        let wide = |path, text: String| Counts::of(&tree(path, &text)).wide.len();
        assert_eq!(wide("a.rs", format!("    // {long}\n")), 1);
        assert_eq!(wide("a.rs", format!("    call(\"{long}\");\n")), 0);
        assert_eq!(wide("a.md", format!("{long}\n| {long} |\n```sh\n{long}\n```\n{}\n", "x".repeat(120))), 1);
    }

    #[test]
    fn attributes_and_dereferences_are_not_prose() {
        assert!(lines(&file("a.toml", "#![x]\n#[x]\n")).is_empty());
        assert!(lines(&file("a.rs", "*next = 1;\n#[test]\n")).is_empty());
    }
}
