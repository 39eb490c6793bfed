//! `driftless init`: creates a world, or adds to one.

use crate::config::ConfigArgs;
use crate::deployment::{DeploymentArgs, StrayTopics, compare, create_topics, create_world, update_world};
use anyhow::{Context, Result, bail};
use driftless_auth::audience_of;
use driftless_chunk::world::World;
use driftless_log::Log;
use driftless_schemas::world::{FamilySpec, StoredWorld, WorldSpec};
use driftless_store::Store;

/// Arguments of `driftless init`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  driftless init --print > world.toml             an example world to start with
  driftless init --world world.toml --brokers kafka:9092 --store s3://my-bucket
  driftless init --world world.toml --brokers kafka:9092 --store s3://my-bucket --update")]
pub(crate) struct Args {
    #[command(flatten)]
    deployment: DeploymentArgs,
    #[command(flatten)]
    config: ConfigArgs,
    /// Add to an existing world: more families, larger palettes, wider bounds. Upgrade gateways
    /// first. A world that version 0.1.0 made also gets an id, and with it format 2: upgrade all
    /// processes first, because version 0.1.0 cannot read the world after that.
    #[arg(long)]
    update: bool,
    /// Use topics that were made by hand for this world before it was stored; they must never have
    /// held a record.
    #[arg(long)]
    take_empty_topics: bool,
    /// Print an example world.toml and end.
    #[arg(long)]
    print: bool,
}

/// Creates or updates a world.
pub(crate) async fn run(args: Args) -> Result<()> {
    if args.print {
        println!("{}", toml::to_string_pretty(&example())?);
        return Ok(());
    }
    let mut config = args.config.read()?;
    if args.config.print(&config)? {
        return Ok(());
    }
    let (log, store) = args.deployment.parts(&mut config)?;
    let (file, spec) =
        args.deployment.spec()?.context("name the world: --world world.toml (see `driftless init --print`)")?;
    World::new(&file, spec.clone(), &crate::models())?;
    let remedy = format!(
        "Name the store that the world was made with; or give the world in {file} another name or generation; or, if the \
         topics were made by hand for this world and are empty, add --take-empty-topics"
    );
    let stray = match args.take_empty_topics {
        true => StrayTopics::TakenIfEmpty,
        false => StrayTopics::Refused { remedy: &remedy },
    };
    let is_new = store.world().await?.is_none();
    let stored = make(&*log, &store, &file, &spec, args.update, stray).await?;
    println!(
        "world {} revision {}, {}: {} partitions, {} families, topics in {}, snapshots in {}",
        spec.name,
        stored.revision,
        stored.id.map_or_else(|| "format 1 (see --update)".into(), |id| format!("id {id}")),
        spec.partitions,
        spec.families.len(),
        log.describe(),
        store.url()
    );
    if is_new {
        println!("\n{}", about_tokens(&stored));
    }
    Ok(())
}

/// Says how the services of a new world check tokens, and how to make one.
fn about_tokens(stored: &StoredWorld) -> String {
    let audience = audience_of(&stored.spec.name);
    let world = stored.id.map(|id| format!(" --world-id {id}")).unwrap_or_default();
    let family = stored.spec.families.first().map_or("canvas", |family| family.name.as_str());
    format!(
        "Give ingest and gateway an audience, so that they refuse tokens that the same key signs for other worlds. Start \
         them with\n\
         --audience {audience}, or have in the file of --config:\n\n    \
         [auth]\n    key_file = \"driftless.key\"\n    audience = \"{audience}\"\n\n\
         A token for them{}:\n\n    \
         driftless token --key-file driftless.key --audience {audience}{world} --sub ann --write {family}/",
        if world.is_empty() { "" } else { ", which is valid for this world only" },
    )
}

/// The world of `driftless dev`, under a name that the user should change.
fn example() -> WorldSpec {
    WorldSpec { name: "my-world".into(), ..WorldSpec::dev() }
}

/// Creates a world, completes an interrupted creation, or adds to the world if `is_update` is true.
/// An update also gives an id to a world without one. Returns the stored world.
async fn make(
    log: &dyn Log,
    store: &Store,
    file: &str,
    spec: &WorldSpec,
    is_update: bool,
    stray: StrayTopics<'_>,
) -> Result<StoredWorld> {
    let Some(stored) = store.world().await? else { return create_world(log, store, spec, stray).await };
    let is_complete = stored.spec == *spec && (stored.id.is_some() || !is_update);
    if is_complete {
        create_topics(log, spec).await?;
        return Ok(stored);
    }
    if !is_update {
        compare(file, spec, &stored, store)?;
        return Ok(stored);
    }
    check_update(&stored.spec, spec)?;
    create_topics(log, spec).await?;
    update_world(store, stored, spec).await
}

/// Fails unless an update only adds to the world. A change after which stored bytes would read
/// differently, or belong to another chunk, needs a new family or a new generation.
fn check_update(old: &WorldSpec, new: &WorldSpec) -> Result<()> {
    if (&old.name, old.generation, old.partitions) != (&new.name, new.generation, new.partitions) {
        bail!("--update cannot change name, generation or partitions: start a new generation");
    }
    for family in &old.families {
        let Some(now) = new.families.iter().find(|f| f.name == family.name) else {
            bail!("--update cannot remove family {}", family.name);
        };
        let frozen = |f: &FamilySpec| {
            let size = f.parameters.get("size").cloned();
            (f.model.clone(), f.coordinates, f.region, size)
        };
        if frozen(family) != frozen(now) || now.bounds < family.bounds {
            bail!(
                "--update cannot change model, coordinates, region or size of family {}, nor narrow its bounds: \
                 old chunks would read differently. Add a new family instead",
                family.name
            );
        }
        let palette = |f: &FamilySpec| f.parameters.get("palette").and_then(serde_json::Value::as_u64);
        if palette(now) < palette(family) {
            bail!("--update cannot shrink the palette of family {}: old cells may hold the values", family.name);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use driftless_log::memory::MemoryLog;
    use driftless_schemas::WorldId;

    #[tokio::test]
    async fn the_next_run_completes_an_interrupted_creation() {
        let (log, store, mut spec) = (MemoryLog::new(), Store::memory(), example());
        let init = async |spec: &WorldSpec, is_update| {
            make(&log, &store, "w.toml", spec, is_update, StrayTopics::Refused { remedy: "" }).await
        };
        // The state of a run that stopped before its first topic.
        let id = Some(WorldId([7; 16]));
        store.put_world(&StoredWorld { revision: 1, spec: spec.clone(), id }).await.unwrap();
        for _ in 0..2 {
            assert_eq!(init(&spec, false).await.unwrap().revision, 1);
            assert_eq!(log.partitions("my-world.1.dead-letter").await.unwrap(), Some(1));
        }
        spec.families[0].bounds = 2048;
        assert!(init(&spec, false).await.unwrap_err().to_string().contains("family[0].bounds"));
        for is_update in [true, false] {
            let stored = init(&spec, is_update).await.unwrap();
            assert_eq!((stored.revision, stored.id), (2, id));
        }
    }

    /// Processes of version 0.1.0 may run until the update, so nothing else may change the format.
    #[tokio::test]
    async fn only_an_update_gives_an_id_to_a_world_of_format_1() {
        let (log, store, spec) = (MemoryLog::new(), Store::memory(), example());
        let init = async |is_update| {
            make(&log, &store, "w.toml", &spec, is_update, StrayTopics::Refused { remedy: "" }).await.unwrap()
        };
        store.put_world(&StoredWorld { revision: 1, spec: spec.clone(), id: None }).await.unwrap();
        let kept = init(false).await;
        assert_eq!((kept.revision, kept.id), (1, None));
        let raised = init(true).await;
        assert!(raised.revision == 2 && raised.id.is_some(), "{raised:?}");
        for is_update in [true, false] {
            assert_eq!(init(is_update).await, raised, "a world keeps its id");
        }
        assert_eq!(store.world().await.unwrap(), Some(raised));
    }

    #[test]
    fn the_suggested_settings_and_the_suggested_token_fit_each_other() {
        use clap::Parser as _;
        let stored = StoredWorld { revision: 1, spec: example(), id: Some(WorldId([7; 16])) };
        let said = about_tokens(&stored);
        let settings = said.lines().filter_map(|line| line.strip_prefix("    ").filter(|line| !line.contains("--")));
        let config: crate::config::Config = toml::from_str(&settings.collect::<Vec<_>>().join("\n")).unwrap();
        assert_eq!(config.auth.and_then(|auth| auth.audience).as_deref(), Some("driftless:my-world"));
        let command = said.lines().find_map(|line| line.strip_prefix("    driftless ")).unwrap();
        assert!(command.contains("--audience driftless:my-world ") && command.contains(&"07".repeat(16)), "{command}");
        crate::Cli::try_parse_from(std::iter::once("driftless").chain(command.split(' '))).unwrap();
        assert!(!about_tokens(&StoredWorld { id: None, ..stored }).contains("--world-id"));
    }

    #[test]
    fn the_example_is_a_world() {
        let text = toml::to_string_pretty(&example()).unwrap();
        let spec = WorldSpec::from_toml("printed", &text).unwrap();
        assert_eq!(spec.name, "my-world");
        World::new("printed", spec, &crate::models()).unwrap();
    }

    #[test]
    fn an_update_only_adds() {
        let old = WorldSpec::dev();
        let changed = |change: &dyn Fn(&mut WorldSpec)| {
            let mut new = old.clone();
            change(&mut new);
            check_update(&old, &new)
        };
        assert!(changed(&|w| w.families[0].bounds = 4096).is_ok());
        assert!(
            changed(&|w| {
                w.families[0].parameters.insert("palette".into(), 300.into());
            })
            .is_ok()
        );
        assert!(changed(&|w| w.families.push(FamilySpec { name: "more".into(), ..w.families[0].clone() })).is_ok());
        assert!(changed(&|w| w.partitions = 13).is_err());
        assert!(changed(&|w| w.families[0].bounds = 5).is_err());
        assert!(
            changed(&|w| {
                w.families[0].parameters.insert("palette".into(), 20.into());
            })
            .is_err()
        );
        assert!(
            changed(&|w| {
                w.families[0].parameters.insert("size".into(), vec![64, 64].into());
            })
            .is_err()
        );
        assert!(changed(&|w| drop(w.families.remove(0))).is_err());
    }
}
