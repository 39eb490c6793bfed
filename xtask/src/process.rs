//! Runs other programs.

use anyhow::{Context, Result, ensure};
use std::env;
use std::io::{self, BufRead, BufReader, PipeReader};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// Runs a command to its end; its output goes to this program's output. Fails if the command fails,
/// and the error calls the command `what`.
pub fn check(what: &str, mut command: Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot run {program} for {what}"))?;
    ensure!(status.success(), "{what} failed ({status})");
    Ok(())
}

/// Runs a command. Returns its standard output without white space at the end.
pub fn ask(mut command: Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stderr(Stdio::piped()).output().with_context(|| format!("cannot run {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} failed ({}): {}", output.status, said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// Replaces this process by the command, which then receives the signals and determines the exit
/// code. Returns only if the command cannot start.
pub fn replace_this_process(mut command: Command) -> io::Error {
    use std::os::unix::process::CommandExt;
    command.exec()
}

/// Runs a command. Passes each line of its standard output and standard error to `each_line`, in
/// the order in which the command wrote them.
pub fn lines(mut command: Command, mut each_line: impl FnMut(&str)) -> Result<ExitStatus> {
    let (output, writer) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    // `command` holds copies of the pipe's writing end. The reader sees the end of the output only
    // when the last copy is closed.
    drop(command);
    let (sender, lines) = channel();
    thread::spawn(move || read_lines(output, &sender));
    loop {
        match lines.recv_timeout(Duration::from_millis(500)) {
            Ok(line) => each_line(&line),
            Err(RecvTimeoutError::Disconnected) => return Ok(child.wait()?),
            // A process that the command left behind may hold the output open forever, so the end
            // of the command also ends the loop.
            Err(RecvTimeoutError::Timeout) => {
                if let Some(status) = child.try_wait()? {
                    return Ok(status);
                }
            }
        }
    }
}

fn read_lines(output: PipeReader, lines: &Sender<String>) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
        let text = String::from_utf8_lossy(&line);
        if lines.send(text.trim_end_matches('\n').to_owned()).is_err() {
            return;
        }
        line.clear();
    }
}

/// Returns the path of a program, if a folder of PATH contains the program.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn sh(script: &str) -> Command {
        let mut sh = Command::new("sh");
        sh.args(["-c", script]);
        sh
    }

    #[test]
    fn lines_of_both_outputs_come_in_their_order() {
        let mut seen = Vec::new();
        let status = lines(sh("echo one; echo two >&2; printf three; exit 3"), |line| seen.push(line.to_owned()));
        assert_eq!(seen, ["one", "two", "three"]);
        assert_eq!(status.unwrap().code(), Some(3));
    }

    #[test]
    fn a_process_that_a_program_leaves_behind_does_not_delay_the_end() {
        let start = Instant::now();
        let mut seen = Vec::new();
        lines(sh("sleep 20 & echo done"), |line| seen.push(line.to_owned())).unwrap();
        assert_eq!(seen, ["done"]);
        assert!(start.elapsed() < Duration::from_secs(15), "took {:?}", start.elapsed());
    }

    #[test]
    fn errors_name_what_failed_and_quote_its_output() {
        assert_eq!(ask(sh("echo yes")).unwrap(), "yes");
        let error = ask(sh("echo no >&2; false")).unwrap_err().to_string();
        assert!(error.contains("no"), "{error}");
        let error = check("counting", sh("exit 4")).unwrap_err().to_string();
        assert!(error.contains("counting") && error.contains('4'), "{error}");
    }
}
