//! `cargo xtask tidy`: checks that a stranger can read the code. The step `tidy` of `cargo xtask
//! test` runs the same checks.
//!
//! Each check is a function from [`Tree`] to findings. A finding names a place and says what to do.
//! The checks read files as text: they rely on rustfmt's layout instead of parsing Rust.

mod tree;
mod prose;
mod references;
mod circles;
mod sizes;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};
use std::fmt;
use std::path::Path;

use crate::workspace::Workspace;
use tree::Tree;

const EXAMPLES: &str = "\
Checked: openings of comments and vague actors in prose, width of prose, references and Markdown
links, circles between sibling files, length of files.

Examples:
  cargo xtask tidy             say what to mend, and where; exit code 1 if there is anything
  cargo xtask tidy --report    only the figures
  cargo xtask tidy --report --json --root ../older-tree";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Print figures instead of findings, and succeed
    #[arg(long)]
    report: bool,
    /// Print the figures as one JSON object
    #[arg(long, requires = "report")]
    json: bool,
    /// Look at the Git work tree in this folder instead of this one
    #[arg(long, value_name = "FOLDER")]
    root: Option<std::path::PathBuf>,
}

/// A place that someone should change, and advice for the change.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, from the root of the repository.
    pub file: String,
    /// The line number, counted from 1; 0 if the finding is about the whole file.
    pub line: usize,
    pub advice: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.advice),
            line => write!(f, "{}:{line}: {}", self.file, self.advice),
        }
    }
}

pub fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let tree = Tree::read(options.root.as_deref().unwrap_or(&workspace.root))?;
    if options.report {
        let report = report(&tree);
        match options.json {
            true => println!("{report}"),
            false => println!("{report:#}"),
        }
        return Ok(());
    }
    println!("{}", verdict(&tree)?);
    Ok(())
}

/// Runs all checks, as a step of `cargo xtask test`. The error lists every finding.
pub fn check(root: &Path) -> Result<String> {
    verdict(&Tree::read(root)?)
}

fn verdict(tree: &Tree) -> Result<String> {
    let findings: Vec<Finding> =
        [prose::check(tree), references::check(tree), circles::check(tree), sizes::check(tree)]
            .into_iter()
            .flatten()
            .collect();
    if !findings.is_empty() {
        let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
        bail!("{}\n{} places to mend", lines.join("\n"), lines.len());
    }
    Ok(format!("{} files: prose, references, circles and lengths are in order", tree.files.len()))
}

fn report(tree: &Tree) -> Value {
    json!({
        "files": tree.files.len(),
        "prose": prose::figures(tree),
        "dangling_references": references::check(tree).len(),
        "circles": circles::all(tree).iter().map(ToString::to_string).collect::<Vec<_>>(),
        "sizes": sizes::figures(tree),
    })
}
