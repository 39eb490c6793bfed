//! Reads the files that people write: tracked by Git, and not generated.

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::process;

/// Parts of the paths of generated files.
const GENERATED: [&str; 4] = ["/generated/", "/dist/", "client/js/core/", "package-lock.json"];

#[derive(Debug, Default)]
pub struct Tree {
    /// Files with prose in them, sorted by path.
    pub files: Vec<File>,
    /// Paths of all tracked files, including generated files and pictures.
    pub paths: Vec<String>,
}

#[derive(Debug)]
pub struct File {
    /// The path from the root of the repository, with `/` between folders.
    pub path: String,
    pub language: Language,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Rust,
    /// TypeScript and JavaScript.
    Script,
    /// A language whose comments begin with `#`.
    Hash,
    /// A language with comments like those of C: protobuf and CSS.
    Slash,
    Markdown,
}

impl Tree {
    pub fn read(root: &Path) -> Result<Self> {
        let mut git = Command::new("git");
        git.arg("-C").arg(root).args(["ls-files", "-z"]);
        let paths: Vec<String> = process::ask(git)?.split_terminator('\0').map(str::to_owned).collect();
        let mut files = Vec::new();
        for path in &paths {
            let Some(language) = Language::of(path) else { continue };
            // Git also lists a file whose deletion is not committed yet.
            if GENERATED.iter().any(|part| path.contains(part)) || !root.join(path).is_file() {
                continue;
            }
            let text = fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"))?;
            files.push(File { path: path.clone(), language, text });
        }
        Ok(Self { files, paths })
    }
}

impl Language {
    fn of(path: &str) -> Option<Self> {
        Some(match path.rsplit_once('.')?.1 {
            "rs" => Self::Rust,
            "ts" | "mts" | "mjs" | "js" => Self::Script,
            "py" | "toml" | "sh" => Self::Hash,
            "proto" | "css" => Self::Slash,
            "md" => Self::Markdown,
            _ => return None,
        })
    }
}

#[cfg(test)]
pub fn file(path: &str, text: &str) -> File {
    File { path: path.into(), language: Language::of(path).unwrap(), text: text.into() }
}
