//! `driftless init`: creates a world, or adds to one.

use crate::config::ConfigArgs;
use crate::deployment::{DeploymentArgs, compare, create_topics};
use anyhow::{Context, Result, bail};
use driftless_chunk::model::Models;
use driftless_chunk::world::World;
use driftless_schemas::world::{FamilySpec, StoredWorld, WorldSpec};

/// Arguments of `driftless init`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  driftless init --print > world.toml             a world to begin with
  driftless init --world world.toml --brokers kafka:9092 --store s3://my-bucket
  driftless init --world world.toml --brokers kafka:9092 --store s3://my-bucket --update")]
pub(crate) struct Args {
    #[command(flatten)]
    deployment: Option<DeploymentArgs>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Add to a world that exists: more families, larger palettes, wider bounds. Upgrade gateways first.
    #[arg(long)]
    update: bool,
    /// Print an example world.toml and end.
    #[arg(long)]
    print: bool,
}

/// Creates or updates.
pub(crate) async fn run(args: Args) -> Result<()> {
    if args.print {
        println!("{}", toml::to_string_pretty(&WorldSpec::dev())?);
        return Ok(());
    }
    let mut config = args.config.read()?;
    if args.config.print(&config)? {
        return Ok(());
    }
    let deployment = args.deployment.context("name the deployment: --store URL --brokers LIST --world FILE")?;
    let (log, store) = deployment.parts(&mut config)?;
    let (file, spec) =
        deployment.spec()?.context("name the world: --world world.toml (see `driftless init --print`)")?;
    World::new(&file, spec.clone(), &Models::builtin())?;
    let stored = store.world().await?;
    let revision = match &stored {
        None => 1,
        Some(stored) if stored.spec == spec => stored.revision,
        Some(stored) if args.update => {
            check_update(&stored.spec, &spec)?;
            stored.revision + 1
        }
        Some(stored) => return compare(&file, &spec, stored, &store),
    };
    create_topics(&*log, &spec).await?;
    if stored.is_none_or(|stored| stored.revision != revision) {
        store.put_world(&StoredWorld { revision, spec: spec.clone() }).await?;
    }
    println!(
        "world {} revision {revision}: {} partitions, {} families, topics in {}, snapshots in {}",
        spec.name,
        spec.partitions,
        spec.families.len(),
        log.describe(),
        store.url()
    );
    Ok(())
}

/// What would change old bytes, or where they lie, needs a new family or a new generation.
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
