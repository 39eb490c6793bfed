//! `cargo xtask wasm`: `client/wasm` as WebAssembly, with and without SIMD, and the glue to JavaScript, into `client/js/core`.
//!
//! What it makes is committed, as generated code is, so that `cargo build`, `driftless dev` and whoever works on the SDK need no
//! compiler for WebAssembly. `BUILT.json` beside it says out of which sources it was made; CI compares.

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::{Value, json};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use driftless_testbed::cache_dir;

use crate::prerequisites;
use crate::process;
use crate::step::Screen;
use crate::workspace::{Workspace, files};

const TARGET: &str = "wasm32-unknown-unknown";
const CRATE: &str = "driftless-client-wasm";
const NAME: &str = "driftless_core";
/// Where it goes.
const CORE: &str = "client/js/core";
/// What it is made of, beside the packages that Cargo.lock names.
const SOURCES: [&str; 7] = [
    "schemas/Cargo.toml",
    "schemas/src",
    "chunk/Cargo.toml",
    "chunk/src",
    "client/core/Cargo.toml",
    "client/core/src",
    "client/wasm",
];
/// Without what formats panics and names places: a third of the size is that. An invariant that breaks is a trap, as ever.
const FLAGS: &str = "-Zunstable-options -Cpanic=immediate-abort -Zlocation-detail=none -Zfmt-debug=none";
/// Debian's compiler for the web and what it needs; its version is whatever the distribution has.
const DEBIAN: [&str; 4] = ["rustc-web", "rust-web-src", "rust-web-llvm", "libstd-rust-web-dev"];

const EXAMPLES: &str = "\
The compiler is rustup's, where it can make WebAssembly (rustup target add wasm32-unknown-unknown;
rustup component add rust-src); else Debian's, which is downloaded into the cache once (about
150 MB) and does not touch the system.

Examples:
  cargo xtask wasm              after a change in schemas, chunk, client/core or client/wasm
  cargo xtask wasm --check      builds nothing; fails if client/js/core is stale
  cargo xtask wasm --package driftless-example-stock --out my-core";

/// Options of `cargo xtask wasm`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Build nothing; fail if what is committed was made of other sources
    #[arg(long, conflicts_with_all = ["package", "out"])]
    check: bool,
    /// Another core, with models of its own: a package of this workspace that builds on driftless-client-wasm
    #[arg(long, value_name = "NAME", requires = "out")]
    package: Option<String>,
    /// Where it goes
    #[arg(long, value_name = "FOLDER", requires = "package")]
    out: Option<PathBuf>,
    /// One JSON object on standard output; everything else goes to standard error
    #[arg(long)]
    json: bool,
}

pub fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let screen = Screen { is_stderr: options.json };
    if options.check {
        screen.say(&check(workspace)?);
        return Ok(ExitCode::SUCCESS);
    }
    let built = match (&options.package, &options.out) {
        (Some(package), Some(out)) => build(workspace, screen, package, out)?,
        _ => build(workspace, screen, CRATE, &workspace.root.join(CORE))?,
    };
    screen.say(&format!("made: {built}"));
    if options.json {
        println!("{built}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the core again, and compares it with the committed one byte by byte, where the same compiler made that.
pub fn reproduce(workspace: &Workspace, screen: Screen) -> Result<String> {
    let again = workspace.target_dir.join("wasm/again");
    let built = build(workspace, screen, CRATE, &again)?;
    let core = workspace.root.join(CORE);
    let committed: Value = serde_json::from_slice(&fs::read(core.join("BUILT.json"))?)?;
    if committed["compiler"] != built["compiler"] {
        return Ok(format!("{CORE} was made by {}, and this is {}", committed["compiler"], built["compiler"]));
    }
    for file in built["bytes"].as_object().into_iter().flatten().map(|(name, _)| name) {
        let same = fs::read(again.join(file))? == fs::read(core.join(file))?;
        ensure!(same, "{CORE}/{file} is not what its sources make: run `cargo xtask wasm`, and commit what it makes");
    }
    Ok(format!("{CORE} is what its sources make, byte by byte"))
}

/// Whether the committed core is of these sources.
pub fn check(workspace: &Workspace) -> Result<String> {
    let file = workspace.root.join(CORE).join("BUILT.json");
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}: run `cargo xtask wasm`", file.display()))?;
    let built: Value = serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))?;
    let sources = sources(workspace)?;
    let stale = built["sources"].as_str() != Some(&sources);
    ensure!(!stale, "{CORE} was made of other sources than these: run `cargo xtask wasm`, and commit what it makes");
    Ok(format!("{CORE} is of these sources"))
}

/// Builds a core, and puts it into the folder `core`. Says what it made.
pub fn build(workspace: &Workspace, screen: Screen, package: &str, core: &Path) -> Result<Value> {
    let compiler = Compiler::find(screen)?;
    let bindgen = bindgen(workspace, screen)?;
    let made = workspace.target_dir.join("wasm/made");
    if made.exists() {
        fs::remove_dir_all(&made)?;
    }
    for (folder, is_simd) in [("plain", false), ("simd", true)] {
        let wasm = compiler.build(workspace, screen, package, is_simd)?;
        let mut glue = Command::new(&bindgen);
        glue.arg(wasm).arg(made.join(folder)).arg(NAME).stdout(screen.stdio());
        process::check("wasm-bindgen", glue)?;
    }
    let read = |name: &str| fs::read(made.join(name)).with_context(|| format!("wasm-bindgen made no {name}"));
    let glue = |folder: &str| read(&format!("{folder}/{NAME}.js"));
    ensure!(glue("plain")? == glue("simd")?, "the glue of the two builds differs: one is to serve both");
    let mut bytes = serde_json::Map::new();
    // Whoever names a folder keeps what else is in it.
    fs::create_dir_all(core)?;
    for (from, to) in [
        (format!("plain/{NAME}.js"), format!("{NAME}.js")),
        (format!("plain/{NAME}.d.ts"), format!("{NAME}.d.ts")),
        (format!("plain/{NAME}_bg.wasm"), format!("{NAME}.wasm")),
        (format!("simd/{NAME}_bg.wasm"), format!("{NAME}_simd.wasm")),
    ] {
        let file = read(&from)?;
        bytes.insert(to.clone(), file.len().into());
        fs::write(core.join(to), file)?;
    }
    let built = json!({ "sources": sources(workspace)?, "compiler": compiler.version()?, "bytes": bytes });
    fs::write(core.join("BUILT.json"), format!("{built:#}\n"))?;
    Ok(built)
}

/// A number for the content of all sources and the names of all packages with their versions.
fn sources(workspace: &Workspace) -> Result<String> {
    let mut sum = Sum::new();
    sum.add(FLAGS.as_bytes());
    for source in SOURCES {
        sum.add(source.as_bytes());
        for (name, bytes) in files(&workspace.root.join(source))? {
            sum.add(name.as_bytes());
            sum.add(&bytes);
        }
    }
    let mut tree = workspace.cargo();
    tree.args([
        "tree",
        "--package",
        CRATE,
        "--target",
        TARGET,
        "--edges",
        "normal,build,no-proc-macro",
        "--prefix",
        "none",
    ]);
    tree.args(["--format", "{p} {f}", "--locked"]);
    let tree = process::ask(tree)?;
    // Without the folders of our own.
    let mut packages: Vec<&str> = tree.lines().filter(|line| !line.contains('/')).collect();
    packages.sort_unstable();
    packages.dedup();
    for package in packages {
        sum.add(package.as_bytes());
    }
    Ok(format!("{:016x}", sum.0))
}

/// FNV-1a, 64 bits, of parts with their lengths: it has to tell one state of the sources from another, not to resist anybody.
struct Sum(u64);

impl Sum {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, part: &[u8]) {
        for byte in (part.len() as u64).to_le_bytes().iter().chain(part) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

/// Builds the glue's maker, with our Cargo.
fn bindgen(workspace: &Workspace, screen: Screen) -> Result<PathBuf> {
    let target = workspace.target_dir.join("wasm/bindgen");
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--locked", "--manifest-path", "client/wasm/bindgen/Cargo.toml", "--target-dir"]);
    build.arg(&target).stdout(screen.stdio());
    process::check("building the maker of the glue", build)?;
    Ok(target.join("release/driftless-wasm-bindgen"))
}

/// Who makes WebAssembly.
enum Compiler {
    /// With the target and the sources of the standard library.
    Rustup,
    /// In a folder of ours.
    Debian(PathBuf),
}

impl Compiler {
    fn find(screen: Screen) -> Result<Self> {
        let mut ask = Command::new("rustc");
        ask.args(["--print", "sysroot"]);
        // It needs a linker for the target and the library's sources.
        let has_all = |sysroot: &Path| {
            let lib = sysroot.join("lib/rustlib");
            lib.join(TARGET).is_dir() && lib.join("src/rust/library/std").is_dir()
        };
        if process::ask(ask).is_ok_and(|sysroot| has_all(Path::new(&sysroot))) {
            return Ok(Self::Rustup);
        }
        debian(screen).map(Self::Debian)
    }

    fn version(&self) -> Result<String> {
        let mut version = match self {
            Self::Rustup => Command::new("rustc"),
            Self::Debian(folder) => {
                let mut rustc = Command::new(folder.join("usr/bin/rustc"));
                rustc.env("LD_LIBRARY_PATH", folder.join("usr/lib/x86_64-linux-gnu"));
                rustc
            }
        };
        version.arg("--version");
        process::ask(version)
    }

    fn build(&self, workspace: &Workspace, screen: Screen, package: &str, is_simd: bool) -> Result<PathBuf> {
        let target = workspace.target_dir.join(if is_simd { "wasm/simd" } else { "wasm/plain" });
        let mut build = workspace.cargo();
        // As a cdylib alone: Cargo does not optimise across crates where a library for Rust is made, too.
        build.args(["rustc", "--crate-type", "cdylib", "--profile", "wasm", "--package", package, "--lib", "--locked"]);
        // The standard library is built along, with the same flags.
        build.args(["--target", TARGET, "-Zbuild-std=std,panic_abort", "-Zbuild-std-features=optimize_for_size"]);
        build.arg("--target-dir").arg(&target).stdout(screen.stdio());
        let mut flags = FLAGS.to_owned();
        if is_simd {
            flags.push_str(" -Ctarget-feature=+simd128");
            build.args(["--features", "simd"]);
        }
        if let Self::Debian(folder) = self {
            let mut path = env::var_os("PATH").unwrap_or_default();
            path.push(":");
            path.push(folder.join("usr/bin"));
            build.env("RUSTC", folder.join("usr/bin/rustc")).env("PATH", path);
            build.env("LD_LIBRARY_PATH", folder.join("usr/lib/x86_64-linux-gnu"));
        }
        build.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", flags).env_remove("RUSTC_WORKSPACE_WRAPPER");
        process::check("the core's build", build)?;
        Ok(target.join(TARGET).join("wasm").join(format!("{}.wasm", package.replace('-', "_"))))
    }
}

/// Debian's compiler, unpacked into the cache.
fn debian(screen: Screen) -> Result<PathBuf> {
    let missing =
        "no compiler for WebAssembly: `rustup target add wasm32-unknown-unknown` and `rustup component add rust-src`";
    if process::find("apt-get").is_none() || process::find("dpkg").is_none() {
        bail!("{missing}");
    }
    let folder = cache_dir()?.join("rustc-web");
    if folder.join("unpacked").is_file() {
        return Ok(folder);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let downloads = folder.join("downloads");
    fs::create_dir_all(&downloads)?;
    screen.say("downloading Debian's compiler for WebAssembly, once …");
    let packages = match download(&downloads, screen) {
        Ok(packages) => packages,
        // The lists of what there is may be missing, or older than what the servers have.
        Err(_) if prerequisites::may_install() => {
            prerequisites::update_lists(screen)?;
            // What was fetched by the old ones must not be mixed with the rest.
            fs::remove_dir_all(&downloads)?;
            fs::create_dir(&downloads)?;
            download(&downloads, screen).context(missing)?
        }
        Err(e) => return Err(e.context(missing)),
    };
    for package in fs::read_dir(&downloads)?.flatten() {
        let mut unpack = Command::new("dpkg");
        unpack.arg("-x").arg(package.path()).arg(&folder);
        process::check("dpkg -x", unpack)?;
    }
    fs::remove_dir_all(&downloads)?;
    fs::write(folder.join("unpacked"), packages.join("\n"))?;
    Ok(folder)
}

/// Debian's packages into a folder; their names.
fn download(folder: &Path, screen: Screen) -> Result<Vec<String>> {
    let packages = dependencies()?;
    let mut download = Command::new("apt-get");
    // Who downloads as root drops its rights for that, and could not write here.
    download.args(["download", "--quiet=2", "--option", "APT::Sandbox::User=root"]).args(&packages);
    download.current_dir(folder).stdout(screen.stdio());
    process::check("apt-get download", download)?;
    Ok(packages)
}

/// What Debian's compiler names as its own: the standard library, LLVM and the linker, by their version.
fn dependencies() -> Result<Vec<String>> {
    let mut packages: Vec<String> = DEBIAN.map(str::to_owned).into();
    let mut at = 0;
    while let Some(package) = packages.get(at) {
        let mut ask = Command::new("apt-cache");
        ask.args(["depends", "--important", package]);
        for line in process::ask(ask)?.lines() {
            let Some(name) = line.trim().strip_prefix("Depends: ") else { continue };
            let is_ours = ["libstd-rust-web-", "libllvm"].iter().any(|start| name.starts_with(start));
            if is_ours && !packages.iter().any(|known| known == name) {
                packages.push(name.to_owned());
            }
        }
        at += 1;
    }
    // Nobody names the linker; it is of LLVM's version.
    let llvm =
        packages.iter().find_map(|name| name.strip_prefix("libllvm")).context("Debian's rustc-web without LLVM")?;
    packages.push(format!("lld-{llvm}"));
    Ok(packages)
}
