//! The program that the test runs: `driftless` itself.

fn main() -> std::process::ExitCode {
    driftless::main()
}
