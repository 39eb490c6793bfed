//! The program that the tests run: `driftless` itself.

fn main() -> std::process::ExitCode {
    driftless::main()
}
