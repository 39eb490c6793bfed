//! Measures how long files and functions are, and how many fields structs have.
//!
//! Only the length of files is checked; the other figures are for the report. The end of a function
//! or struct is the closing brace at the indentation of its first line, because rustfmt and the
//! formatter of the scripts put it there.

use serde_json::{Value, json};

use super::Finding;
use super::tree::{File, Language, Tree};

const FILE_LINES_MAX: usize = 800;
/// How many of the largest items the report names.
const NAMED: usize = 5;

/// A file, function or struct: its size, its name and its place.
#[derive(Debug, PartialEq, Eq)]
struct Sized {
    size: usize,
    name: String,
}

pub fn check(tree: &Tree) -> Vec<Finding> {
    let long = code(tree).filter(|file| file.text.lines().count() > FILE_LINES_MAX);
    let finding = |file: &File| {
        let lines = file.text.lines().count();
        let advice =
            format!("{lines} lines, above {FILE_LINES_MAX}: look for the second concept in it, and move it out");
        Finding { file: file.path.clone(), line: 0, advice }
    };
    long.map(finding).collect()
}

pub fn figures(tree: &Tree) -> Value {
    let files = code(tree).map(|file| Sized { size: file.text.lines().count(), name: file.path.clone() });
    let functions: Vec<Sized> = code(tree).flat_map(|file| items(file, is_function, |block| block.len())).collect();
    let above = functions.iter().filter(|function| function.size > 70).count();
    let structs = code(tree).filter(|file| file.language == Language::Rust);
    json!({
        "largest_files": largest(files),
        "functions": functions.len(),
        "functions_above_70_lines": above,
        "largest_functions": largest(functions.into_iter()),
        "structs_with_most_fields": largest(structs.flat_map(|file| items(file, is_struct, fields))),
    })
}

fn code(tree: &Tree) -> impl Iterator<Item = &File> {
    tree.files.iter().filter(|file| file.language != Language::Markdown)
}

fn largest(all: impl Iterator<Item = Sized>) -> Vec<Value> {
    let mut all: Vec<Sized> = all.collect();
    all.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.name.cmp(&b.name)));
    all.iter().take(NAMED).map(|item| json!({ "size": item.size, "name": item.name })).collect()
}

/// Returns the items of a file with their sizes. An item begins with a line that `begins` accepts,
/// and `measure` gets its lines up to the closing brace.
fn items(file: &File, begins: fn(&str) -> Option<&str>, measure: fn(&[&str]) -> usize) -> Vec<Sized> {
    let lines: Vec<&str> = file.text.lines().collect();
    let mut found = Vec::new();
    for (first, line) in lines.iter().enumerate() {
        let Some(name) = begins(line.trim_start()) else { continue };
        let indentation = line.len() - line.trim_start().len();
        let is_end = |line: &&str| {
            line.len() > indentation
                && line[..indentation] == " ".repeat(indentation)
                && line[indentation..].starts_with('}')
        };
        // A signature without a body, as in a trait, has no closing brace of its own.
        let Some(length) = lines[first..].iter().position(is_end) else { continue };
        let block = &lines[first..=first + length];
        if block.iter().any(|line| line.trim_end().ends_with('{')) {
            found.push(Sized { size: measure(block), name: format!("{} {name}", file.path) });
        }
    }
    found
}

fn is_function(line: &str) -> Option<&str> {
    let mut rest = line;
    for word in ["export ", "default ", "pub ", "pub(crate) ", "pub(super) ", "const ", "async ", "unsafe "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let name = rest.strip_prefix("fn ").or_else(|| rest.strip_prefix("function "))?;
    let is_bodiless = line.ends_with(';') || line.ends_with('}');
    (!is_bodiless).then(|| &name[..name.find(['(', '<']).unwrap_or(name.len())])
}

fn is_struct(line: &str) -> Option<&str> {
    let rest =
        ["pub ", "pub(crate) ", "pub(super) "].iter().fold(line, |rest, word| rest.strip_prefix(word).unwrap_or(rest));
    let name = rest.strip_prefix("struct ")?;
    line.ends_with('{').then(|| &name[..name.find(['<', ' ']).unwrap_or(name.len())])
}

fn fields(block: &[&str]) -> usize {
    let inner = block.iter().skip(1).map(|line| line.trim_start());
    inner.filter(|line| !line.starts_with("//") && !line.starts_with('#') && line.ends_with(',')).count()
}

#[cfg(test)]
mod tests {
    use super::super::tree::file;
    use super::*;

    const CODE: &str = "\
pub struct Pair<T> {
    /// The first, of two.
    first: T,
    #[serde(default)]
    second: T,
}

impl Pair {
    pub(crate) async fn swap(&mut self) {
        if true {
            call();
        }
    }

    fn short(&self) -> u8;
}
";

    #[test]
    fn functions_and_structs_are_measured_to_their_closing_brace() {
        let file = file("a.rs", CODE);
        let functions = items(&file, is_function, |block| block.len());
        assert_eq!(functions, [Sized { size: 5, name: "a.rs swap".into() }]);
        assert_eq!(items(&file, is_struct, fields), [Sized { size: 2, name: "a.rs Pair".into() }]);
    }

    #[test]
    fn a_long_file_is_a_finding_and_a_long_document_is_not() {
        let text = "x\n".repeat(FILE_LINES_MAX + 1);
        let files = vec![file("a.rs", &text), file("a.md", &text)];
        let findings = check(&Tree { files, paths: Vec::new() });
        assert_eq!(findings.iter().map(|finding| finding.file.as_str()).collect::<Vec<_>>(), ["a.rs"]);
    }
}
