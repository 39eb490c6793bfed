//! Finds the program under attack: `driftless` itself.

fn main() -> std::process::ExitCode {
    driftless::main()
}
