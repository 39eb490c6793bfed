//! Finds references that lead nowhere: Markdown links and their anchors, names of files and
//! decisions in prose, and mentions of papers that are not in the repository.

use std::collections::BTreeSet;

use super::Finding;
use super::prose::{self, Line};
use super::tree::{File, Language, Tree};

/// Endings of file names. If prose names such a file with a folder, the file must be in the tree.
const FILE_ENDINGS: [&str; 9] = ["rs", "md", "proto", "ts", "mjs", "py", "toml", "json", "css"];

/// Papers of the founders. They are not in the repository, so prose must not refer to them.
const ELSEWHERE: [(&str, &str); 2] =
    [("DESIGN.md", "name the section in docs/design.md"), ("FACTS", "state the fact here, or in a decision")];

pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        // The checks' own sources name what the checks look for, so they are left out.
        if file.path.starts_with("xtask/src/tidy") {
            continue;
        }
        for line in prose::lines(file) {
            let mut add = |advice: String| {
                findings.push(Finding { file: file.path.clone(), line: line.number, advice });
            };
            papers(&line, &mut add);
            decisions(tree, &line, &mut add);
            files(tree, &line, &mut add);
            if file.language == Language::Markdown && !line.is_code {
                links(tree, &line, &mut add);
            }
        }
    }
    findings
}

fn papers(line: &Line<'_>, add: &mut dyn FnMut(String)) {
    for (paper, advice) in ELSEWHERE {
        if line.words.split(|c: char| !c.is_alphanumeric() && c != '.').any(|word| word.trim_end_matches('.') == paper)
        {
            add(format!("{paper} is not in the repository: {advice}"));
        }
    }
    let section = line.words.find("(section ").map(|at| &line.words[at + "(section ".len()..]);
    if section.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()) && !line.words.contains("RFC")) {
        add("(section N) does not say of which document: name file and anchor".into());
    }
}

/// Checks references such as `decision 0012`, `(0012)` and `docs/decisions/0012`.
fn decisions(tree: &Tree, line: &Line<'_>, add: &mut dyn FnMut(String)) {
    for before in ["decision ", "decisions/", "("] {
        for (at, _) in line.words.match_indices(before) {
            let rest = &line.words[at + before.len()..];
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let is_number = digits == 4 && rest.starts_with('0') && (before != "(" || rest[4..].starts_with(')'));
            let start = format!("docs/decisions/{}", &rest[..digits]);
            if is_number && !tree.paths.iter().any(|path| path.starts_with(&start)) {
                add(format!("there is no decision {}: see docs/decisions", &rest[..digits]));
            }
        }
    }
}

/// Checks names like `schemas/src/limits.rs` and `docs/design.md#topics`. A name may count from the
/// root or from the file's folder, or may be the end of a path.
fn files(tree: &Tree, line: &Line<'_>, add: &mut dyn FnMut(String)) {
    let is_part = |c: char| c.is_alphanumeric() || "/._-{,}#@*".contains(c);
    for token in line.words.split(|c| !is_part(c)) {
        let (name, anchor) = token.split_once('#').map_or((token, None), |(name, anchor)| (name, Some(anchor)));
        let name = name.trim_matches(['.', ',', '{', '}']);
        let Some((_, ending)) = name.rsplit_once('.') else { continue };
        let is_name =
            FILE_ENDINGS.contains(&ending) && name.contains('/') && !name.starts_with('/') && !name.contains('*');
        // An address, an import of a package, or a path with a variable part is no reference to a
        // file.
        let is_address = [':', '/'].iter().any(|before| line.words.contains(&format!("{before}{name}")));
        if !is_name || is_address || name.starts_with('@') || name.contains("..") {
            continue;
        }
        for path in braces(name) {
            match find(tree, &line.file.path, &path) {
                None => add(format!("there is no file {path}")),
                Some(found) => check_anchor(tree, found, anchor, add),
            }
        }
    }
}

fn check_anchor(tree: &Tree, path: &str, anchor: Option<&str>, add: &mut dyn FnMut(String)) {
    let anchor = anchor.map(|anchor| anchor.trim_matches(['.', ',', '{', '}'])).filter(|anchor| !anchor.is_empty());
    let file = tree.files.iter().find(|file| file.path == path && file.language == Language::Markdown);
    if let (Some(anchor), Some(file)) = (anchor, file)
        && !anchors(file).contains(anchor)
    {
        add(format!("{path} has no heading #{anchor}"));
    }
}

/// Returns the path of the file that `name` means in the file `from`.
fn find<'t>(tree: &'t Tree, from: &str, name: &str) -> Option<&'t str> {
    let name = name.strip_prefix("./").unwrap_or(name);
    let beside = from.rsplit_once('/').map(|(folder, _)| format!("{folder}/{name}"));
    let is_it = |path: &&String| *path == name || Some(*path) == beside.as_ref();
    let at_end = format!("/{name}");
    let found = tree.paths.iter().find(is_it).or_else(|| tree.paths.iter().find(|path| path.ends_with(&at_end)));
    found.map(String::as_str)
}

/// Expands braces: `a/{b,c}.rs` is two names.
fn braces(name: &str) -> Vec<String> {
    match name.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
        Some((before, (choices, after))) => {
            choices.split(',').flat_map(|choice| braces(&format!("{before}{choice}{after}"))).collect()
        }
        None => vec![name.to_owned()],
    }
}

/// Checks links `[text](target)` whose target is no web address.
fn links(tree: &Tree, line: &Line<'_>, add: &mut dyn FnMut(String)) {
    for rest in line.words.split("](").skip(1) {
        let Some(target) = rest.split([')', ' ']).next() else { continue };
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (name, anchor) = target.split_once('#').map_or((target, None), |(name, anchor)| (name, Some(anchor)));
        let path = if name.is_empty() { line.file.path.clone() } else { beside(&line.file.path, name) };
        let is_folder = tree.paths.iter().any(|known| known.starts_with(&format!("{}/", path.trim_end_matches('/'))));
        if !is_folder && !tree.paths.contains(&path) {
            add(format!("the link to {target} leads nowhere"));
        }
        check_anchor(tree, &path, anchor, add);
    }
}

/// Resolves the relative path `name` from the folder of `file`.
fn beside(file: &str, name: &str) -> String {
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in name.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Returns the anchors that GitHub gives to the headings of a document.
fn anchors(file: &File) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut is_code = false;
    for line in file.text.lines() {
        is_code ^= line.starts_with("```");
        let Some(heading) = line.strip_prefix('#').filter(|_| !is_code) else { continue };
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let slug: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        // A second heading with the same words gets a number in its anchor.
        let repeated = (1..).map(|n| format!("{slug}-{n}")).find(|name| !anchors.contains(name));
        let is_new = !anchors.contains(&slug);
        anchors.insert(if is_new { slug } else { repeated.unwrap_or_default() });
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::super::tree::file;
    use super::*;

    const DESIGN: &str = "# Design\n\n## The way of an edit\n\n```\n# no heading\n```\n\n## Rules\n\n## Rules\n";

    fn advice(path: &str, text: &str) -> Vec<String> {
        let files = vec![file(path, text), file("docs/design.md", DESIGN), file("gateway/src/hub.rs", "")];
        let mut paths: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
        paths.push("docs/decisions/0012-records.md".into());
        let findings = check(&Tree { files, paths });
        findings.into_iter().map(|finding| finding.advice).collect()
    }

    #[test]
    fn links_and_anchors_lead_somewhere() {
        let good = "[a](design.md#the-way-of-an-edit) [b](#here) [c](../gateway) [d](https://x.org/y.md) [e](design.md#rules-1)\n# Here\n";
        assert_eq!(advice("docs/a.md", good), [""; 0]);
        let bad = advice("docs/a.md", "[a](design.md#topics) and [b](nowhere.md)\n");
        assert_eq!(
            bad,
            ["the link to nowhere.md leads nowhere", "docs/design.md has no heading #topics"]
                .iter()
                .rev()
                .map(|s| (*s).to_owned())
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn files_that_comments_name_are_there() {
        assert_eq!(advice("chunk/a.rs", "// See gateway/src/hub.rs, src/hub.rs and docs/design.md#rules.\n"), [""; 0]);
        assert_eq!(
            advice("chunk/a.rs", "// See gateway/src/{hub,gone}.rs.\n"),
            ["there is no file gateway/src/gone.rs"]
        );
        assert_eq!(advice("chunk/a.rs", "// See docs/design.md#topics.\n"), ["docs/design.md has no heading #topics"]);
    }

    #[test]
    fn papers_that_are_elsewhere_and_bare_sections_dangle() {
        assert_eq!(advice("a.rs", "// One open, one epoch (DESIGN.md section 6).\n").len(), 1);
        assert_eq!(advice("a.rs", "// Measured (FACTS: 30 times).\n").len(), 1);
        assert_eq!(advice("a.rs", "// One open, one epoch (section 6).\n").len(), 1);
        assert_eq!(advice("a.rs", "// The largest block (RFC 8878, section 3.1), and ARTIFACTS.\n"), [""; 0]);
    }

    #[test]
    fn decisions_that_are_named_exist() {
        assert_eq!(advice("a.rs", "// See decision 0012, (0012) and docs/decisions/0012.\n"), [""; 0]);
        assert_eq!(advice("a.rs", "// See decision 0099.\n"), ["there is no decision 0099: see docs/decisions"]);
    }
}
