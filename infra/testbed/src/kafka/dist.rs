//! Apache Kafka's jars, fetched by Maven, and the `java` that runs them.
//!
//! Kafka's published packages bring no log backend; log4j comes along. After the first installation one server is run for a
//! moment to make an archive of its loaded classes (class data sharing), which takes about a second off every later start.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Kafka, KafkaOptions};
use crate::cache;
use crate::process;
use crate::shared::RunDir;

/// Where Kafka is installed.
#[derive(Clone, Debug)]
pub struct KafkaDist {
    home: PathBuf,
    classpath: String,
}

const LOG4J_VERSION: &str = "2.25.3";
const COPY_DEPENDENCIES: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";
const OLDEST_JAVA: u32 = 17;

/// Fetches Apache Kafka into the cache, once (45 MB, about half a minute).
pub fn install() -> Result<KafkaDist> {
    let pom = pom();
    let name = format!("kafka-{}", KafkaDist::VERSION);
    let home = cache::install_once(&name, &pom, |dir| fetch(dir, &pom))?;
    let dist = KafkaDist::at(home)?;
    if !dist.class_archive().exists() && !dist.has_no_class_archive().exists() {
        dist.archive_classes();
    }
    Ok(dist)
}

fn fetch(dir: &Path, pom: &str) -> Result<()> {
    check_java(dir)?;
    eprintln!("testbed: fetching Apache Kafka {} with Maven (45 MB, once)", KafkaDist::VERSION);
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

/// `java` of `JAVA_HOME`, else of the path.
fn java_path() -> PathBuf {
    match env::var_os("JAVA_HOME").filter(|home| !home.is_empty()) {
        Some(home) => PathBuf::from(home).join("bin").join("java"),
        None => PathBuf::from("java"),
    }
}

impl KafkaDist {
    /// Of Apache Kafka.
    pub const VERSION: &'static str = "4.4.0";

    fn at(home: PathBuf) -> Result<Self> {
        let dir = home.join("jars");
        let mut jars = fs::read_dir(&dir)
            .with_context(|| format!("cannot read {}", dir.display()))?
            .map(|entry| Ok(entry?.path().to_string_lossy().into_owned()))
            .collect::<Result<Vec<_>>>()?;
        // The class archive is bound to the order.
        jars.sort();
        Ok(Self { home, classpath: jars.join(":") })
    }

    /// All jars, joined by `:`; server and clients.
    pub fn classpath(&self) -> &str {
        &self.classpath
    }

    /// `java` with Kafka's class path and class archive; add flags and a main class.
    pub fn java(&self) -> Command {
        let mut command = Command::new(java_path());
        command.args(["-cp", &self.classpath]);
        let archive = self.class_archive();
        if archive.exists() {
            // An archive of another JVM is passed over, with a warning in the log.
            command.arg(format!("-XX:SharedArchiveFile={}", archive.display()));
        }
        command
    }

    fn class_archive(&self) -> PathBuf {
        self.home.join("classes.jsa")
    }

    /// Says that this JVM cannot make one, so that not every start tries.
    fn has_no_class_archive(&self) -> PathBuf {
        self.home.join("no-classes")
    }

    /// Only makes starts faster, so a failure is told once and remembered.
    fn archive_classes(&self) {
        let made = || -> Result<()> {
            let _lock = cache::lock(&self.home, "classes")?;
            if self.class_archive().exists() {
                return Ok(());
            }
            let partial = self.home.join("classes.partial");
            let dir = RunDir::new("classes")?;
            let mut kafka = Kafka::prepare(self.clone(), &KafkaOptions::new(dir.path()))?;
            kafka.launch(&[format!("-XX:ArchiveClassesAtExit={}", partial.display())])?;
            kafka.stop(1)?;
            fs::rename(&partial, self.class_archive()).context("the JVM made no class archive")
        };
        if let Err(error) = made() {
            eprintln!("testbed: no class archive, Kafka will start more slowly: {error:#}");
            let _ = fs::write(self.has_no_class_archive(), format!("{error:#}"));
        }
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
