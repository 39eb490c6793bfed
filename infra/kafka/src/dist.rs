//! Apache Kafka's jars, fetched by Maven, and the `java` that runs them.
//!
//! Kafka's published packages contain no log backend, so log4j is fetched too.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cache;
use crate::process;

/// An installation of Apache Kafka.
#[derive(Clone, Debug)]
pub struct KafkaDist {
    home: PathBuf,
    classpath: String,
}

const LOG4J_VERSION: &str = "2.25.3";
const COPY_DEPENDENCIES: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";
const OLDEST_JAVA: u32 = 17;

/// Fetches the jars into the cache unless they are there.
pub(crate) fn fetch_once() -> Result<KafkaDist> {
    let pom = pom();
    let name = format!("kafka-{}", KafkaDist::VERSION);
    KafkaDist::at(cache::install_once(&name, &pom, |dir| fetch(dir, &pom))?)
}

fn fetch(dir: &Path, pom: &str) -> Result<()> {
    check_java(dir)?;
    eprintln!("fetching Apache Kafka {} with Maven (45 MB, once)", KafkaDist::VERSION);
    fs::write(dir.join("pom.xml"), pom)?;
    let mut maven = Command::new("mvn");
    maven
        .current_dir(dir)
        .args(["--batch-mode", COPY_DEPENDENCIES])
        .arg(format!("-DoutputDirectory={}", dir.join("jars").display()));
    process::run("fetching Apache Kafka with Maven", maven, &dir.join("mvn.log"))
}

fn check_java(dir: &Path) -> Result<()> {
    let log = dir.join("java-version.log");
    let mut java = Command::new(java_path());
    java.arg("-version");
    process::run("java -version", java, &log)?;
    let said = fs::read_to_string(&log)?;
    // openjdk version "17.0.15" 2025-04-15
    let major = said.split('"').nth(1).and_then(|version| version.split(['.', '-', '+']).next()?.parse::<u32>().ok());
    ensure!(
        major.is_none_or(|major| major >= OLDEST_JAVA),
        "Apache Kafka needs Java {OLDEST_JAVA} or newer, but `{}` is {said}\
         Install one (Debian: apt-get install openjdk-17-jdk-headless) or point JAVA_HOME to it",
        java_path().display(),
    );
    Ok(())
}

/// Returns the `java` of `JAVA_HOME` or, without that variable, the `java` on the path.
fn java_path() -> PathBuf {
    match env::var_os("JAVA_HOME").filter(|home| !home.is_empty()) {
        Some(home) => PathBuf::from(home).join("bin").join("java"),
        None => PathBuf::from("java"),
    }
}

impl KafkaDist {
    /// The version of Apache Kafka.
    pub const VERSION: &'static str = "4.4.0";

    fn at(home: PathBuf) -> Result<Self> {
        let dir = home.join("jars");
        let mut jars = fs::read_dir(&dir)
            .with_context(|| format!("cannot read {}", dir.display()))?
            .map(|entry| Ok(entry?.path().to_string_lossy().into_owned()))
            .collect::<Result<Vec<_>>>()?;
        // The class archive is valid for one order of the jars, so the order must stay the same.
        jars.sort();
        Ok(Self { home, classpath: jars.join(":") })
    }

    /// The jars of server and clients, joined by `:`.
    pub fn classpath(&self) -> &str {
        &self.classpath
    }

    /// A `java` command with Kafka's class path and class archive. The caller adds flags and a main
    /// class.
    pub fn java(&self) -> Command {
        let mut command = Command::new(java_path());
        command.args(["-cp", &self.classpath]);
        let archive = self.class_archive();
        if archive.exists() {
            // If another JVM made the archive, this JVM ignores it, with a warning in its log.
            command.arg(format!("-XX:SharedArchiveFile={}", archive.display()));
        }
        command
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    pub(crate) fn class_archive(&self) -> PathBuf {
        self.home.join("classes.jsa")
    }

    /// Path of the file that marks that this JVM cannot make a class archive.
    fn no_class_archive(&self) -> PathBuf {
        self.home.join("no-classes")
    }

    /// Returns true if an earlier start has made the class archive, or has failed to make it.
    pub(crate) fn is_archive_decided(&self) -> bool {
        self.class_archive().exists() || self.no_class_archive().exists()
    }

    /// Marks that this JVM cannot make an archive, so that later starts do not try.
    pub(crate) fn note_no_archive(&self, reason: &str) {
        let _ = fs::write(self.no_class_archive(), reason);
    }
}

fn pom() -> String {
    let kafka = KafkaDist::VERSION;
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "    <dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>\n"
        )
    };
    let dependencies = [
        dependency("org.apache.kafka", "kafka_2.13", kafka),
        dependency("org.apache.logging.log4j", "log4j-slf4j-impl", LOG4J_VERSION),
        dependency("org.apache.logging.log4j", "log4j-core", LOG4J_VERSION),
    ]
    .concat();
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>driftless</groupId>
  <artifactId>testbed-kafka</artifactId>
  <version>{kafka}</version>
  <packaging>pom</packaging>
  <dependencies>
{dependencies}  </dependencies>
</project>
"#
    )
}
