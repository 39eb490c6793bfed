//! Finds import circles, direct or indirect, between sibling files.
//!
//! A parent and its children may refer to each other. A reference between two files also counts as
//! one between those ancestors that are siblings: if `hub/log.rs` uses `ring.rs`, then `hub` uses
//! `ring`. A re-exported name counts for the child that defines it. Tests inside a file do not
//! count.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Finding;
use super::tree::{File, Language, Tree};

/// Allowed circles. Each is identified by its folder and its alphabetically first file, and has a
/// reason.
const EXCEPTIONS: [(&str, &str); 0] = [];

/// The path of a module below its package's `src`, such as `["hub", "log"]`.
type Module = Vec<String>;

/// Sibling modules that use each other, directly or through other siblings.
#[derive(Debug, PartialEq, Eq)]
pub struct Circle {
    /// The folder of the package, or of the siblings' parent.
    folder: String,
    siblings: Vec<String>,
}

impl fmt::Display for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.folder, self.siblings.join(", "))
    }
}

/// The modules of one package, and the names that each of them re-exports from its children.
struct Package<'a> {
    folder: &'a str,
    modules: BTreeMap<Module, &'a File>,
    exports: BTreeMap<Module, BTreeMap<String, Module>>,
}

pub fn check(tree: &Tree) -> Vec<Finding> {
    let is_excepted = |circle: &Circle| {
        EXCEPTIONS.iter().any(|(name, _)| *name == format!("{}/{}", circle.folder, circle.siblings[0]))
    };
    let circles = all(tree).into_iter().filter(|circle| !is_excepted(circle));
    let finding = |circle: Circle| Finding {
        advice: format!(
            "{} use each other: move what both need to a file of its own, or list the circle with its \
             reason in EXCEPTIONS of xtask/src/tidy/circles.rs",
            circle.siblings.join(", ")
        ),
        file: circle.folder,
        line: 0,
    };
    circles.map(finding).collect()
}

pub fn all(tree: &Tree) -> Vec<Circle> {
    let mut circles = Vec::new();
    for package in packages(tree) {
        circles.extend(among_siblings(package.folder, &package.uses()));
    }
    circles.extend(among_siblings("", &script_uses(tree)));
    circles
}

// ---- Rust ---------------------------------------------------------------------------------------

/// Returns the packages of the tree: every `src` folder with a `lib.rs` or `main.rs`.
fn packages(tree: &Tree) -> Vec<Package<'_>> {
    let rust = || tree.files.iter().filter(|file| file.language == Language::Rust);
    let roots: BTreeSet<&str> = rust()
        .filter_map(|file| file.path.strip_suffix("/lib.rs").or_else(|| file.path.strip_suffix("/main.rs")))
        .filter(|folder| folder.ends_with("src"))
        .collect();
    let package = |folder| {
        let in_it =
            rust().filter_map(|file| Some((module_of(file.path.strip_prefix(folder)?.strip_prefix('/')?)?, file)));
        let mut package = Package { folder, modules: in_it.collect(), exports: BTreeMap::new() };
        let tests: Vec<Module> =
            package.modules.iter().flat_map(|(module, file)| test_modules(module, &file.text)).collect();
        package.modules.retain(|module, _| !tests.iter().any(|test| module.starts_with(test)));
        package.exports = package.modules.keys().map(|module| (module.clone(), package.exports_of(module))).collect();
        package
    };
    roots.into_iter().map(package).collect()
}

/// Returns the module of a file below `src`. Both `hub/log.rs` and `hub/log/mod.rs` are `hub::log`,
/// and the root is the empty path. Programs in `bin` are no modules.
fn module_of(path: &str) -> Option<Module> {
    let path = path.strip_suffix(".rs")?;
    let path = path.strip_suffix("/mod").unwrap_or(path);
    match path {
        "lib" | "main" => Some(Module::new()),
        _ if path.starts_with("bin/") => None,
        _ => Some(path.split('/').map(str::to_owned).collect()),
    }
}

/// Returns the modules that `module` declares for tests only and that have files of their own.
fn test_modules(module: &Module, text: &str) -> Vec<Module> {
    let lines: Vec<&str> = text.lines().collect();
    let declared = lines
        .windows(2)
        .filter(|pair| pair[0].trim() == "#[cfg(test)]")
        .filter_map(|pair| pair[1].trim().trim_start_matches("pub(crate) ").strip_prefix("mod ")?.strip_suffix(';'));
    declared.map(|name| [&module[..], &[name.to_owned()]].concat()).collect()
}

impl Package<'_> {
    fn exports_of(&self, module: &Module) -> BTreeMap<String, Module> {
        let mut exports = BTreeMap::new();
        for (is_public, path) in paths(&self.modules[module].text) {
            let mut names = path.iter().map(String::as_str);
            let from = match names.next() {
                Some("self") => self.resolve_below(module, names.clone()),
                Some(_) => self.resolve_below(module, path.iter().map(String::as_str)),
                None => continue,
            };
            if is_public && from.len() > module.len() {
                exports.insert(path[path.len() - 1].clone(), from);
            }
        }
        exports
    }

    /// Returns the deepest module that the path `names` below `base` names, following re-exports.
    fn resolve<'n>(&self, base: &Module, mut names: impl Iterator<Item = &'n str> + Clone) -> Module {
        let found = self.resolve_below(base, names.clone());
        let next = names.nth(found.len() - base.len());
        let exported = next.and_then(|name| self.exports.get(&found)?.get(name));
        exported.cloned().unwrap_or(found)
    }

    fn resolve_below<'n>(&self, base: &Module, names: impl Iterator<Item = &'n str>) -> Module {
        let mut found = base.clone();
        for name in names {
            found.push(name.to_owned());
            if !self.modules.contains_key(&found) {
                found.pop();
                break;
            }
        }
        found
    }

    /// Returns the uses between modules, as pairs (user, used).
    fn uses(&self) -> BTreeSet<(Module, Module)> {
        let mut uses = BTreeSet::new();
        for (module, file) in &self.modules {
            for (_, path) in paths(&file.text) {
                let ups = path.iter().take_while(|name| *name == "super").count();
                let (base, skipped) = match path[0].as_str() {
                    "crate" => (Module::new(), 1),
                    "super" if ups <= module.len() => (module[..module.len() - ups].to_vec(), ups),
                    _ => continue,
                };
                let target = self.resolve(&base, path[skipped..].iter().map(String::as_str));
                uses.insert((module.clone(), target));
            }
        }
        uses
    }
}

/// Returns all paths in a file that start with `crate`, `super` or `self`, or that a `use` names,
/// with groups in braces expanded. The boolean is true if a `pub use` names the path. Comments and
/// tests do not count.
fn paths(text: &str) -> Vec<(bool, Vec<String>)> {
    let mut found = Vec::new();
    let code = without_tests(text);
    for statement in code.split(';') {
        let statement = statement.trim_start();
        let imported = statement.rfind("use ").filter(|at| is_use(&statement[..*at]));
        if let Some(at) = imported {
            let is_public = statement[..at].contains("pub");
            expand(&[], &statement[at + 4..], &mut |path| found.push((is_public, path)));
            continue;
        }
        for start in ["crate::", "super::"] {
            for (at, _) in statement.match_indices(start) {
                let is_inside = statement[..at].ends_with(|c: char| c.is_alphanumeric() || "_:$".contains(c));
                let rest: String =
                    statement[at..].chars().take_while(|c| c.is_alphanumeric() || "_:".contains(*c)).collect();
                let path: Vec<String> = rest.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect();
                if !is_inside && path.len() > 1 {
                    found.push((false, path));
                }
            }
        }
    }
    found
}

/// Returns true if a statement is a `use`; `before` is the text in front of that word. It may
/// contain only attributes, a visibility, or the end of the previous item.
fn is_use(before: &str) -> bool {
    let before = before.trim_end();
    let last = before.lines().next_back().unwrap_or_default().trim();
    last.is_empty() || last.starts_with("pub") || last.ends_with([']', '}', '{'])
}

/// Calls `each` with every path in a tree such as `a::{b, c::d as e}`.
fn expand(before: &[String], tree: &str, each: &mut dyn FnMut(Vec<String>)) {
    let tree = tree.trim();
    let Some((names, inner)) = tree.split_once('{') else {
        let tree = tree.split(" as ").next().unwrap_or_default();
        let names = tree.split("::").map(str::trim).filter(|name| !name.is_empty() && *name != "self");
        let path: Vec<String> = before.iter().cloned().chain(names.map(str::to_owned)).collect();
        if !path.is_empty() {
            each(path);
        }
        return;
    };
    let names = names.split("::").map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
    let before: Vec<String> = before.iter().cloned().chain(names).collect();
    let inner = inner.rsplit_once('}').map_or(inner, |(inner, _)| inner);
    let (mut depth, mut start) = (0, 0);
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&before, &inner[start..at], each);
                start = at + 1;
            }
            _ => {}
        }
    }
    if !inner[start..].trim().is_empty() {
        expand(&before, &inner[start..], each);
    }
}

/// Returns the source without comments and without items under `#[cfg(test)]`.
fn without_tests(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            // The item's further attributes are left out, too. An item with a block ends at the
            // closing brace that has the indentation of its first line.
            let end = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
            let item = lines.by_ref().find(|line| !line.trim_start().starts_with("#[")).unwrap_or_default();
            if item.trim_end().ends_with('{') {
                lines.by_ref().find(|line| *line == end);
            }
            continue;
        }
        kept.push_str(line.split("//").next().unwrap_or_default());
        kept.push('\n');
    }
    kept
}

// ---- TypeScript and JavaScript ------------------------------------------------------------------

/// Returns the imports between files, found by `from "./x.js"`. A module is a path without its
/// extension.
fn script_uses(tree: &Tree) -> BTreeSet<(Module, Module)> {
    let scripts: Vec<&File> = tree.files.iter().filter(|file| file.language == Language::Script).collect();
    let module = |path: &str| -> Module {
        let stem = path.rsplit_once('.').map_or(path, |(stem, _)| stem);
        stem.split('/').map(str::to_owned).collect()
    };
    let known: BTreeSet<Module> = scripts.iter().map(|file| module(&file.path)).collect();
    let mut uses = BTreeSet::new();
    for file in &scripts {
        let from = module(&file.path);
        for quoted in file.text.split("from \"").skip(1).filter_map(|rest| rest.split('"').next()) {
            if !quoted.starts_with('.') {
                continue;
            }
            let mut target = from[..from.len() - 1].to_vec();
            for name in quoted.split('/') {
                match name {
                    "." => {}
                    ".." => drop(target.pop()),
                    name => target.push(name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned()),
                }
            }
            if known.contains(&target) {
                uses.insert((from.clone(), target));
            }
        }
    }
    uses
}

// ---- Circles ------------------------------------------------------------------------------------

/// Returns the circles among the children of each parent.
fn among_siblings(folder: &str, uses: &BTreeSet<(Module, Module)>) -> Vec<Circle> {
    let mut by_parent: BTreeMap<Module, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (from, to) in uses {
        let shared = from.iter().zip(to).take_while(|(a, b)| a == b).count();
        if shared < from.len() && shared < to.len() {
            let siblings = by_parent.entry(from[..shared].to_vec()).or_default();
            siblings.entry(from[shared].clone()).or_default().insert(to[shared].clone());
        }
    }
    let mut circles = Vec::new();
    for (parent, uses) in by_parent {
        let reached: BTreeMap<&String, BTreeSet<&String>> =
            uses.keys().map(|name| (name, reach(&uses, name))).collect();
        let mut seen = BTreeSet::new();
        for (name, others) in &reached {
            let circle: Vec<String> = others
                .iter()
                .filter(|other| reached.get(**other).is_some_and(|back| back.contains(*name)))
                .map(|other| (*other).clone())
                .collect();
            if circle.len() > 1 && seen.insert(circle.clone()) {
                let folder = [&[folder.to_owned()], &parent[..]].concat();
                let folder = folder.iter().filter(|name| !name.is_empty()).cloned().collect::<Vec<_>>().join("/");
                circles.push(Circle { folder, siblings: circle });
            }
        }
    }
    circles
}

/// Returns everything that `name` uses, directly or through others.
fn reach<'a>(uses: &'a BTreeMap<String, BTreeSet<String>>, name: &String) -> BTreeSet<&'a String> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&String> = uses.get(name).into_iter().flatten().collect();
    while let Some(next) = open.pop() {
        if reached.insert(next) {
            open.extend(uses.get(next).into_iter().flatten());
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::super::tree::file;
    use super::*;

    fn circles(files: &[(&str, &str)]) -> Vec<String> {
        let files = files.iter().map(|(path, text)| file(path, text)).collect();
        all(&Tree { files, paths: Vec::new() }).iter().map(Circle::to_string).collect()
    }

    #[test]
    fn siblings_that_use_each_other_are_a_circle() {
        let root = ("a/src/lib.rs", "mod hub;\nmod shard;\n");
        let one_way = ("a/src/shard.rs", "struct Shard;\n");
        assert!(circles(&[root, ("a/src/hub.rs", "use crate::shard::Shard;\n"), one_way]).is_empty());
        let back = ("a/src/shard.rs", "use std::fmt;\nuse crate::{hub::Hub, x};\n");
        assert_eq!(
            circles(&[root, ("a/src/hub.rs", "fn f() -> crate::shard::Shard {}\n"), back]),
            ["a/src: hub, shard"]
        );
    }

    #[test]
    fn a_circle_through_a_third_file_and_through_re_exports_is_found() {
        let root = ("a/src/lib.rs", "mod a;\nmod b;\nmod c;\npub use c::{Third, x};\n");
        let files = [
            root,
            ("a/src/a.rs", "use crate::b;\n"),
            ("a/src/b.rs", "use crate::Third;\n"),
            ("a/src/c.rs", "use crate::a;\n"),
        ];
        assert_eq!(circles(&files), ["a/src: a, b, c"]);
    }

    #[test]
    fn parents_children_and_tests_are_free() {
        let files = [
            ("a/src/lib.rs", "mod hub;\n#[cfg(test)]\nmod scene;\n"),
            ("a/src/hub.rs", "mod log;\nuse log::Log;\n#[cfg(test)]\nmod tests {\n    use crate::scene;\n}\n"),
            ("a/src/hub/log.rs", "use super::Hub;\nuse crate::hub;\n#[cfg(test)]\nmod tests;\n"),
            ("a/src/hub/log/tests.rs", "use crate::scene::Scene;\n"),
            ("a/src/scene.rs", "use crate::hub::Hub;\n// crate::nothing\n"),
        ];
        assert!(circles(&files).is_empty());
    }

    #[test]
    fn what_a_child_uses_counts_for_its_parent_among_its_siblings() {
        let files = [
            ("a/src/main.rs", "mod hub;\nmod ring;\n"),
            ("a/src/hub.rs", "mod log;\n"),
            ("a/src/hub/log.rs", "use super::super::ring::Ring;\n"),
            ("a/src/ring.rs", "use crate::hub::log::Log;\n"),
        ];
        assert_eq!(circles(&files), ["a/src: hub, ring"]);
    }

    #[test]
    fn scripts_are_looked_at_too_also_type_imports() {
        let files =
            [("web/src/a.ts", "import type { B } from \"./b.js\";\n"), ("web/src/b.ts", "export * from \"./a.js\";\n")];
        assert_eq!(circles(&files), ["web/src: a, b"]);
    }
}
