//! The topic `updates` is deleted and made anew while the services run. This is the last fault of a
//! run, because it destroys a history.
//!
//! The painters rest before and after, so that every outcome belongs to exactly one history. The
//! run keeps a copy of the topics as they are just before the deletion. The checker reads the copy
//! as the lost history, and the topics as the new one. The store is away for the last edits, so no
//! snapshot contains them: their commits are destroyed, and their commands are decided again in the
//! new history.

use crate::checker::LOST;
use crate::cluster::{Cluster, WELL_WITHIN};
use crate::environment::start;
use crate::journal::Journal;
use crate::plan::{Fault, Kind};
use crate::report::Report;
use crate::story::Studio;
use crate::verdict;
use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use driftless_e2e_tests::history::read_all;
use driftless_e2e_tests::stack::kafka_log;
use driftless_log::Log as _;
use driftless_schemas::{Partition, limits};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The shortest run, in minutes of faults, at whose end the topic is made anew. Shorter runs keep
/// their length.
pub const MINUTES_MIN: f64 = 5.0;

/// The deadline for replayers and gateways to say what is wrong.
const SAID_WITHIN: Duration = Duration::from_secs(5);
/// How long painters edit before the topic is deleted, while the store is away.
const LAST_EDITS: Duration = Duration::from_millis(1_500);
/// How long painters edit in the new history.
const NEW_EDITS: Duration = Duration::from_secs(20);
const GONE_WITHIN: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Makes the topic anew, measures how soon the services say so, accepts the loss as an operator
/// does, and lets the painters edit in the new history.
///
/// # Errors
/// If a step fails. What the services do wrong is no error, because journal and report have it.
pub async fn run(cluster: &Cluster, studio: &Studio, dir: &Path, report: &mut Report) -> Result<()> {
    cluster.all_ready().await?;
    cluster.all_shared_out(None, WELL_WITHIN).await?;
    studio.rest().await?;
    // Our own code reads only whole histories, so it reads this one before it is lost.
    let ends = studio.ends(cluster).await?;
    let found = verdict::against_the_log(cluster, &studio.lines(), &ends, report).await?;
    report.failures.extend(found);
    // Without the store, no snapshot contains the last edits.
    cluster.store.refuse();
    cluster.journal.note("s3 refuses connections, so that the last commits are in no snapshot");
    studio.paint();
    sleep(LAST_EDITS).await;
    studio.rest().await?;
    copy_topics(cluster, &dir.join(LOST)).await?;
    cluster.journal.fault("environment", "the topic updates", Fault::TopicRemade, "while all services run");
    let deleted = make_anew(cluster).await?;
    cluster.store.open();
    said(cluster, deleted).await?;

    let mut replayers = cluster.all_replayers().await;
    for replayer in &mut replayers {
        replayer.terminate(&cluster.journal).await?;
    }
    let histories = accept(cluster).await?;
    start(cluster, &mut replayers).await?;
    drop(replayers);
    cluster.all_ready().await?;
    let ready = Instant::now();
    studio.enter(cluster, &histories).await?;
    studio.paint();
    studio.moves_on(1).await?;
    cluster.journal.recovered(Fault::TopicRemade, ready.elapsed());
    sleep(NEW_EDITS).await;
    report.is_remade = true;
    Ok(())
}

/// Copies all records of the topics `commands` and `updates` into a folder.
async fn copy_topics(cluster: &Cluster, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let log = kafka_log(&cluster.brokers);
    let topics = cluster.world.topics();
    let one = async |topic: &str, partition: Partition| {
        let file = File::create(folder.join(format!("{topic}-{partition}.jsonl")))?;
        let mut file = BufWriter::new(file);
        for record in read_all(&log, topic, partition).await {
            let line = json!({
                "topic": topic,
                "partition": partition.0,
                "offset": record.offset.0,
                "key": BASE64_STANDARD.encode(&record.key),
                "value": BASE64_STANDARD.encode(&record.value),
            });
            writeln!(file, "{line}")?;
        }
        Ok(file.flush()?)
    };
    let all = cluster
        .world
        .partitions()
        .flat_map(|partition| [(&*topics.commands, partition), (&*topics.updates, partition)]);
    let copies = all.map(|(topic, partition)| one(topic, partition));
    futures_util::future::try_join_all(copies).await.map(drop)
}

/// Deletes the topic `updates` and creates it with as many partitions. Returns the time of the
/// deletion.
async fn make_anew(cluster: &Cluster) -> Result<Instant> {
    let topic = &*cluster.world.topics().updates;
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &cluster.brokers).create()?;
    let options = AdminOptions::new();
    for deleted in admin.delete_topics(&[topic], &options).await? {
        deleted.map_err(|(name, code)| anyhow::anyhow!("cannot delete {name}: {code}"))?;
    }
    let deleted = Instant::now();
    let log = kafka_log(&cluster.brokers);
    while log.partitions(topic).await?.is_some() {
        ensure!(deleted.elapsed() < GONE_WITHIN, "{topic} is not gone {GONE_WITHIN:?} after its deletion");
        sleep(BETWEEN_LOOKS).await;
    }
    let bytes_max = (2 * limits::RECORD_BYTES_MAX).to_string();
    let partitions = cluster.world.spec().partitions;
    let anew = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1))
        .set("retention.ms", "-1")
        .set("max.message.bytes", &bytes_max);
    for created in admin.create_topics([&anew], &options).await? {
        created.map_err(|(name, code)| anyhow::anyhow!("cannot create {name}: {code}"))?;
    }
    cluster.journal.note(&format!("{topic} is made anew {} ms after its deletion", deleted.elapsed().as_millis()));
    Ok(deleted)
}

/// Waits until every replayer and every gateway says that something is wrong with a partition.
async fn said(cluster: &Cluster, deleted: Instant) -> Result<()> {
    let one = async |(kind, number): (Kind, usize)| {
        let name = format!("{}-{number}", kind.name());
        loop {
            let (status, text) = cluster.readiness(kind, number).await?;
            let after = deleted.elapsed();
            if text.contains("partition") && (kind == Kind::Gateway || status == 503) {
                cluster.journal.said(&name, after, &text);
                if after > SAID_WITHIN {
                    let late = format!("{name} said it only {:.1} s after the deletion", after.as_secs_f64());
                    cluster.journal.late(Fault::TopicRemade, &late);
                }
                return Ok(());
            }
            if after > GONE_WITHIN {
                cluster.journal.late(Fault::TopicRemade, &format!("{name} says nothing: {status} {text}"));
                return Ok(());
            }
            sleep(BETWEEN_LOOKS).await;
        }
    };
    let all = cluster.kinds().filter(|(kind, _)| *kind != Kind::Ingest).map(one);
    futures_util::future::try_join_all(all).await.map(drop)
}

/// Accepts the loss as an operator does. Returns the new history of each partition.
async fn accept(cluster: &Cluster) -> Result<BTreeMap<Partition, String>> {
    let journal = &cluster.journal;
    let (is_sound, planned) = recover(cluster, "plan").await?;
    ensure!(!is_sound, "`driftless recover plan` says that nothing is lost: {planned:?}");
    let unsound = planned.iter().filter(|partition| partition["sound"] == false).count();
    journal.note(&format!("recover plan: {unsound} of {} partitions have lost something", planned.len()));
    let (is_applied, applied) = recover(cluster, "apply").await?;
    ensure!(is_applied, "`driftless recover apply` fails: {applied:?}");
    let mut histories = BTreeMap::new();
    for partition in &applied {
        let number = partition["partition"].as_i64().and_then(|number| i32::try_from(number).ok());
        let history = partition["history"].as_str().filter(|_| partition["new_history"] == true);
        let number = number.with_context(|| format!("recover apply says {partition}"))?;
        histories.extend(history.map(|history| (Partition(number), history.to_owned())));
    }
    journal.note(&format!("recover apply: {} histories begin", histories.len()));
    if histories.len() != cluster.world.partitions().count() {
        bail!("recover apply begins no history in some partitions: {applied:?}");
    }
    Ok(histories)
}

/// Runs `driftless recover`. Returns whether it succeeded, and its lines of JSON.
async fn recover(cluster: &Cluster, what: &str) -> Result<(bool, Vec<Value>)> {
    let ended = cluster.command(&["recover", what, "--json"]).await?;
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    let lines = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    let lines = lines.with_context(|| format!("recover {what} prints no JSON: {text} {said}"))?;
    log_of(&cluster.journal, what, &said);
    Ok((ended.status.success(), lines))
}

fn log_of(journal: &Journal, what: &str, said: &str) {
    if let Some(line) = said.lines().rfind(|line| line.starts_with("error")) {
        journal.note(&format!("recover {what}: {line}"));
    }
}
