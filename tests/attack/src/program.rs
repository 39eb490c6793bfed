//! The program that is attacked: `driftless` itself.

fn main() -> std::process::ExitCode {
    driftless::main()
}
