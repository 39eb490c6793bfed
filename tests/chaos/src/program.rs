//! Finds the program under test: `driftless` itself.

fn main() -> std::process::ExitCode {
    driftless::main()
}
