//! Reads libFuzzer's output: lines like `#4096 pulse cov: 1 ft: 2 corp: 3/4b …` and
//! `stat::number_of_executed_units: 5`, and the names of files with crashes.

/// The newest figures that libFuzzer printed for a target.
#[derive(Debug, Default)]
pub struct Progress {
    pub executions: u64,
    /// Number of places in the code that inputs have reached.
    pub edges: u64,
    /// Number of edges with distinctions: an edge counts again for other numbers of visits and for
    /// other values compared there.
    pub features: u64,
    /// Number of inputs that libFuzzer keeps, because each reached something new.
    pub corpus: u64,
    /// Names of files with an input that failed.
    pub written: Vec<String>,
}

impl Progress {
    /// Reads a line of output. Returns false if people should see the line.
    pub fn line(&mut self, line: &str) -> bool {
        if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
            self.executions = count.trim().parse().unwrap_or(self.executions);
            return true;
        }
        if let Some((_, file)) = line.split_once("Test unit written to ") {
            // libFuzzer also writes slow inputs to files, but they are no failures.
            if !file.contains("slow-unit-") {
                self.written.push(file.trim().to_owned());
            }
            return false;
        }
        let Some((count, figures)) = line.strip_prefix('#').and_then(|rest| rest.split_once('\t')) else {
            return line.starts_with("stat::") || line.starts_with("\tNEW_FUNC") || line.starts_with("INFO:");
        };
        let Ok(count) = count.parse() else { return false };
        self.executions = count;
        let mut words = figures.split_whitespace();
        while let Some(word) = words.next() {
            let of = match word {
                "cov:" => &mut self.edges,
                "ft:" => &mut self.features,
                "corp:" => &mut self.corpus,
                _ => continue,
            };
            let number = words.next().and_then(|figure| figure.split('/').next()?.parse().ok());
            *of = number.unwrap_or(*of);
        }
        true
    }

    pub fn summary(&self) -> String {
        let Self { executions, edges, features, corpus, .. } = self;
        format!("{executions} executions, {edges} edges, {features} features, {corpus} inputs kept")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_and_the_newest_counts() {
        let mut progress = Progress::default();
        assert!(progress.line("#2\tINITED cov: 10 ft: 20 corp: 1/1b exec/s: 0 rss: 29Mb"));
        assert!(progress.line("#4096\tpulse  cov: 4720 ft: 21324 corp: 688/428Kb lim: 2048 exec/s: 432 rss: 43Mb"));
        assert_eq!(progress.summary(), "4096 executions, 4720 edges, 21324 features, 688 inputs kept");
        assert!(progress.line("stat::number_of_executed_units: 5000"));
        assert!(!progress.line("###### End of recommended dictionary. ######"));
        assert!(!progress.line("thread '<unnamed>' panicked at checks/src/decode.rs:102:9:"));
        assert_eq!(progress.executions, 5000);
    }

    #[test]
    fn a_crash_is_named_and_a_slow_input_is_none() {
        let mut progress = Progress::default();
        progress.line("artifact_prefix='/w/'; Test unit written to /w/crash-580e84b9");
        progress.line("artifact_prefix='/w/'; Test unit written to /w/slow-unit-580e84b9");
        assert_eq!(progress.written, ["/w/crash-580e84b9"]);
    }
}
