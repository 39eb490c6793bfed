//! `cargo xtask wasm`: builds `client/wasm` as WebAssembly, with and without SIMD, and the glue to
//! JavaScript, into `client/js/core`.
//!
//! The result is committed like generated code, so that neither `cargo build` nor work on the SDK
//! needs a compiler for WebAssembly. The file `BUILT.json` in the same folder holds a checksum of
//! the sources. CI fails if the present sources have another checksum.

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::{Value, json};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use driftless_testbed::cache_dir;

use crate::apt;
use crate::process;
use crate::step::Screen;
use crate::workspace::{Workspace, files};

const TARGET: &str = "wasm32-unknown-unknown";
const CRATE: &str = "driftless-client-wasm";
const NAME: &str = "driftless_core";
/// The folder of the committed core.
const CORE: &str = "client/js/core";
/// The folders and files from which the core is built. The packages that Cargo.lock names come in
/// addition.
const SOURCES: [&str; 7] = [
    "schemas/Cargo.toml",
    "schemas/src",
    "chunk/Cargo.toml",
    "chunk/src",
    "client/core/Cargo.toml",
    "client/core/src",
    "client/wasm",
];
/// Compiler flags that leave out source locations and the formatting of panics, which are a third
/// of the size. A broken invariant still traps.
const FLAGS: &str = "-Zunstable-options -Cpanic=immediate-abort -Zlocation-detail=none -Zfmt-debug=none";
/// Debian's compiler for the web and its dependencies, in the version of the distribution.
const DEBIAN: [&str; 4] = ["rustc-web", "rust-web-src", "rust-web-llvm", "libstd-rust-web-dev"];

const EXAMPLES: &str = "\
The compiler is rustup's if it can build WebAssembly (rustup target add wasm32-unknown-unknown;
rustup component add rust-src). Otherwise Debian's compiler is downloaded into the cache once (about
150 MB), without a change to the system.

Examples:
  cargo xtask wasm              after a change in schemas, chunk, client/core or client/wasm
  cargo xtask wasm --check      build nothing, and fail if client/js/core is stale
  cargo xtask wasm --package driftless-example-stock --out my-core";

/// Options of `cargo xtask wasm`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Build nothing, and fail if the committed core was built from other sources
    #[arg(long, conflicts_with_all = ["package", "out"])]
    check: bool,
    /// Build another core, with custom models: a package of this workspace that depends on
    /// driftless-client-wasm
    #[arg(long, value_name = "NAME", requires = "out")]
    package: Option<String>,
    /// The folder of that core
    #[arg(long, value_name = "FOLDER", requires = "package")]
    out: Option<PathBuf>,
    /// Print one JSON object on standard output, and everything else on standard error
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

/// Builds the core again. If the same compiler made the committed core, compares both byte by byte.
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
        ensure!(
            same,
            "{CORE}/{file} differs from a build of its sources: run `cargo xtask wasm`, and commit the result"
        );
    }
    Ok(format!("{CORE} equals a build of its sources, byte by byte"))
}

/// Checks that the committed core was built from the present sources.
pub fn check(workspace: &Workspace) -> Result<String> {
    let file = workspace.root.join(CORE).join("BUILT.json");
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}: run `cargo xtask wasm`", file.display()))?;
    let built: Value = serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))?;
    let sources = sources(workspace)?;
    let stale = built["sources"].as_str() != Some(&sources);
    ensure!(!stale, "{CORE} was built from other sources than these: run `cargo xtask wasm`, and commit the result");
    Ok(format!("{CORE} was built from these sources"))
}

/// Builds a core from `package` into the folder `core`. Returns the content of its `BUILT.json`.
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
    ensure!(glue("plain")? == glue("simd")?, "the glue of the two builds differs, but one file must serve both");
    let mut bytes = serde_json::Map::new();
    // Other files in the folder are left alone.
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

/// Returns a checksum of the content of all sources, and of the names and versions of all packages.
fn sources(workspace: &Workspace) -> Result<String> {
    let mut checksum = Checksum::new();
    checksum.add(FLAGS.as_bytes());
    for source in SOURCES {
        checksum.add(source.as_bytes());
        for (name, bytes) in files(&workspace.root.join(source))? {
            checksum.add(name.as_bytes());
            checksum.add(&bytes);
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
    // A line with a path is a package of this workspace, and the checksum has its sources already.
    let mut packages: Vec<&str> = tree.lines().filter(|line| !line.contains('/')).collect();
    packages.sort_unstable();
    packages.dedup();
    for package in packages {
        checksum.add(package.as_bytes());
    }
    Ok(format!("{:016x}", checksum.0))
}

/// FNV-1a with 64 bits, over parts with their lengths. The checksum only has to tell states of the
/// sources apart, so it need not resist an attacker.
struct Checksum(u64);

impl Checksum {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, part: &[u8]) {
        for byte in (part.len() as u64).to_le_bytes().iter().chain(part) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

/// Builds the program that makes the glue to JavaScript, with the Cargo that runs this program.
fn bindgen(workspace: &Workspace, screen: Screen) -> Result<PathBuf> {
    let target = workspace.target_dir.join("wasm/bindgen");
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--locked", "--manifest-path", "client/wasm/bindgen/Cargo.toml", "--target-dir"]);
    build.arg(&target).stdout(screen.stdio());
    process::check("the build of the program that makes the glue", build)?;
    Ok(target.join("release/driftless-wasm-bindgen"))
}

/// A compiler for WebAssembly.
enum Compiler {
    /// The compiler of rustup, with the target and the sources of the standard library installed.
    Rustup,
    /// Debian's compiler, unpacked into a folder of the cache.
    Debian(PathBuf),
}

impl Compiler {
    fn find(screen: Screen) -> Result<Self> {
        let mut ask = Command::new("rustc");
        ask.args(["--print", "sysroot"]);
        // The build needs a linker for the target and the sources of the standard library.
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
        // The build makes only a `cdylib`, because Cargo does not optimise across crates if it also
        // builds a Rust library.
        build.args(["rustc", "--crate-type", "cdylib", "--profile", "wasm", "--package", package, "--lib", "--locked"]);
        // The standard library is built again, with the same flags.
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

/// Unpacks Debian's compiler into the cache, and returns its folder.
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
        // The machine's lists of packages may be missing, or older than the packages on the
        // servers.
        Err(_) if apt::may_install() => {
            apt::update_lists(screen)?;
            // Packages of the old lists must not mix with packages of the new ones.
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

/// Downloads Debian's packages into a folder. Returns their names.
fn download(folder: &Path, screen: Screen) -> Result<Vec<String>> {
    let packages = dependencies()?;
    let mut download = Command::new("apt-get");
    // As root, apt-get would drop its rights for the download, and could not write to this folder.
    download.args(["download", "--quiet=2", "--option", "APT::Sandbox::User=root"]).args(&packages);
    download.current_dir(folder).stdout(screen.stdio());
    process::check("apt-get download", download)?;
    Ok(packages)
}

/// Returns the packages to download: those in `DEBIAN`, and the standard library, LLVM and the
/// linker of the compiler's version.
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
    // No package depends on the linker, so it is added here. It has LLVM's version.
    let llvm =
        packages.iter().find_map(|name| name.strip_prefix("libllvm")).context("Debian's rustc-web without LLVM")?;
    packages.push(format!("lld-{llvm}"));
    Ok(packages)
}
