//! The `driftless` program. All of its code is in the library of this package.

fn main() -> std::process::ExitCode {
    driftless::main()
}
