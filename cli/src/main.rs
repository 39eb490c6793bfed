//! The `driftless` program; see the library.

fn main() -> std::process::ExitCode {
    driftless::main()
}
