//! The program that the test attacks: `driftless` itself.

fn main() -> std::process::ExitCode {
    driftless::main()
}
