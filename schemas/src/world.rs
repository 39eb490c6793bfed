//! The world spec: the families of chunks with their models, and the number of partitions.
//!
//! People write the spec as `world.toml`. `driftless init` checks it and stores it as `world.json`
//! with a revision. Every service reads it. Every error names the file, the key and the value, and
//! says what would be right. The model of a family checks the family's parameters (crate
//! `driftless-chunk`).

use crate::{ChunkId, Partition, WorldId, chunk_id, limits, partitioner, topics::Topics};
use serde::{Deserialize, Serialize};

/// A world, as `world.toml` describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorldSpec {
    /// The world's name: a-z, then a-z, 0-9, `_` and `-`. Topic names start with it.
    pub name: String,
    /// The generation of the topics, from 1. Another partition count needs a new generation.
    #[serde(default = "one")]
    pub generation: u32,
    /// The number of partitions of `commands`, and of `updates`. It cannot change within a
    /// generation (R1).
    pub partitions: i32,
    /// The time for which Kafka keeps commands, in hours. It must exceed the longest time without a
    /// running replayer.
    #[serde(default = "three_days")]
    pub commands_retention_hours: u32,
    /// The time for which Kafka keeps updates, in hours. If absent, updates are kept for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updates_retention_hours: Option<u32>,
    /// The families of chunks.
    #[serde(rename = "family")]
    pub families: Vec<FamilySpec>,
}

/// The chunks that share an id prefix, a model and its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FamilySpec {
    /// The part of the chunk id before the first slash.
    pub name: String,
    /// The model's registered name.
    pub model: String,
    /// Parameters of the model, which only the model understands.
    #[serde(default)]
    pub parameters: serde_json::Map<String, serde_json::Value>,
    /// The number of coordinates in an id, 1 to 3.
    #[serde(default = "two")]
    pub coordinates: u32,
    /// Every coordinate lies within `-bounds..=bounds`.
    pub bounds: i32,
    /// Chunks share a partition if their coordinates differ only in the lowest `region` bits (R1).
    #[serde(default)]
    pub region: u32,
}

fn one() -> u32 {
    1
}
fn two() -> u32 {
    2
}
fn three_days() -> u32 {
    72
}

/// The content of `world.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredJson", into = "StoredJson")]
pub struct StoredWorld {
    /// The revision, from 1. `driftless init --update` increments it.
    pub revision: u32,
    /// The spec.
    pub spec: WorldSpec,
    /// The world's id. A world with an id has format 2. A world of format 1 has none: version 0.1.0
    /// made it, and processes of that version may run beside this one.
    pub id: Option<WorldId>,
}

/// `world.json` as its JSON holds it. `format` and `id` stand within `spec`, because version 0.1.0
/// refuses unknown keys there and nowhere else. So it does not start on a world whose records it
/// cannot read.
#[derive(Serialize, Deserialize)]
struct StoredJson {
    revision: u32,
    spec: serde_json::Map<String, serde_json::Value>,
}

/// The format of a world with an id.
const FORMAT: u64 = 2;

impl TryFrom<StoredJson> for StoredWorld {
    type Error = String;

    fn try_from(StoredJson { revision, mut spec }: StoredJson) -> Result<Self, String> {
        let format = spec.remove("format");
        let id = match format.as_ref().map(|format| format.as_u64().ok_or(format)) {
            None => None,
            Some(Ok(FORMAT)) => {
                let id = spec.remove("id").ok_or("spec.id is missing, but a world of format 2 has an id")?;
                Some(serde_json::from_value(id).map_err(|e| format!("spec.id: {e}"))?)
            }
            Some(Ok(format)) => {
                return Err(format!(
                    "spec.format is {format}, but this version reads 1 and {FORMAT}; upgrade this process"
                ));
            }
            Some(Err(format)) => return Err(format!("spec.format is {format}, which is no number")),
        };
        let spec = serde_json::from_value(spec.into()).map_err(|e| format!("spec: {e}"))?;
        Ok(Self { revision, spec, id })
    }
}

impl From<StoredWorld> for StoredJson {
    fn from(StoredWorld { revision, spec, id }: StoredWorld) -> Self {
        let mut keys = match serde_json::to_value(spec) {
            Ok(serde_json::Value::Object(keys)) => keys,
            // A spec has string keys and finite numbers only, so it always becomes an object.
            _ => serde_json::Map::new(),
        };
        if let Some(id) = id {
            keys.insert("format".into(), FORMAT.into());
            keys.insert("id".into(), id.to_string().into());
        }
        Self { revision, spec: keys }
    }
}

/// A fault in a world spec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {key} = {value}: {problem}")]
pub struct SpecError {
    /// The file that the spec came from.
    pub file: String,
    /// The key, such as `family.canvas.bounds`.
    pub key: String,
    /// The value in the file.
    pub value: String,
    /// The fault, and what would be right.
    pub problem: String,
}

/// The reason why a chunk id does not belong to a world.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unplaced {
    /// No family has that name.
    #[error("no family is called {family:?}; this world has {known}")]
    UnknownFamily {
        /// The name in the id.
        family: String,
        /// The names of the world's families.
        known: String,
    },
    /// The number of coordinates, or one of them, is out of range.
    #[error("{id} is out of bounds: chunks of {family} have {coordinates} coordinates within {min}..={max}")]
    OutOfBounds {
        /// The id.
        id: ChunkId,
        /// The family of the id.
        family: String,
        /// The number of coordinates in an id of the family.
        coordinates: u32,
        /// The smallest coordinate.
        min: i32,
        /// The largest coordinate.
        max: i32,
    },
}

impl WorldSpec {
    /// Reads and checks a `world.toml`. `file` is the file's name, for messages.
    ///
    /// # Errors
    /// [`SpecError`] for the first fault.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, SpecError> {
        let spec: Self = toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count().max(1));
            SpecError {
                file: file.to_owned(),
                key: format!("line {line}"),
                value: text.lines().nth(line.saturating_sub(1)).unwrap_or_default().trim().to_owned(),
                problem: e.message().to_owned(),
            }
        })?;
        spec.check(file)?;
        Ok(spec)
    }

    /// Checks the whole spec except the families' parameters, which only the models can check.
    /// `file` is the spec's name, for messages.
    ///
    /// # Errors
    /// [`SpecError`] for the first fault.
    pub fn check(&self, file: &str) -> Result<(), SpecError> {
        let refuse = |key: &str, value: String, problem: &str| {
            Err(SpecError { file: file.to_owned(), key: key.to_owned(), value, problem: problem.to_owned() })
        };
        let name_rule = "must be a lower-case letter, then a-z, 0-9, _ or -";
        if !chunk_id::is_name(&self.name, limits::WORLD_NAME_BYTES_MAX) {
            return refuse(
                "name",
                format!("{:?}", self.name),
                &format!("{name_rule}, {} at most", limits::WORLD_NAME_BYTES_MAX),
            );
        }
        if self.generation == 0 {
            return refuse("generation", "0".into(), "generations count from 1");
        }
        if !(1..=limits::PARTITIONS_MAX).contains(&self.partitions) {
            return refuse(
                "partitions",
                self.partitions.to_string(),
                &format!("must be 1 to {}", limits::PARTITIONS_MAX),
            );
        }
        if self.commands_retention_hours == 0 {
            return refuse(
                "commands_retention_hours",
                "0".into(),
                "must be at least 1, and longer than any time without a replayer",
            );
        }
        if self.updates_retention_hours.is_some_and(|hours| hours < self.commands_retention_hours) {
            return refuse(
                "updates_retention_hours",
                self.updates_retention_hours.unwrap_or_default().to_string(),
                "must not be below commands_retention_hours: a restart reads both",
            );
        }
        if self.families.is_empty() || self.families.len() > limits::FAMILIES_MAX {
            return refuse(
                "family",
                format!("{} families", self.families.len()),
                &format!("must be 1 to {} families", limits::FAMILIES_MAX),
            );
        }
        for (i, family) in self.families.iter().enumerate() {
            let key = |name: &str| format!("family.{}.{name}", family.name);
            if !chunk_id::is_name(&family.name, limits::FAMILY_NAME_BYTES_MAX) {
                return refuse(
                    &format!("family[{i}].name"),
                    format!("{:?}", family.name),
                    &format!("{name_rule}, {} at most", limits::FAMILY_NAME_BYTES_MAX),
                );
            }
            if self.families[..i].iter().any(|other| other.name == family.name) {
                return refuse(
                    &format!("family[{i}].name"),
                    format!("{:?}", family.name),
                    "two families have this name",
                );
            }
            if !(1..=limits::COORDINATES_MAX).contains(&(family.coordinates as usize)) {
                return refuse(&key("coordinates"), family.coordinates.to_string(), "must be 1, 2 or 3");
            }
            if family.bounds < 0 || family.bounds == i32::MAX {
                return refuse(
                    &key("bounds"),
                    family.bounds.to_string(),
                    "must be 0 to 2147483646: coordinates lie within -bounds..=bounds",
                );
            }
            if family.region > 31 {
                return refuse(&key("region"), family.region.to_string(), "must be 0 to 31 bits");
            }
        }
        Ok(())
    }

    /// The family of a chunk id.
    ///
    /// # Errors
    /// [`Unplaced`] if the id does not belong to this world.
    pub fn family_of(&self, id: &ChunkId) -> Result<&FamilySpec, Unplaced> {
        let family = self.families.iter().find(|f| f.name == id.family()).ok_or_else(|| Unplaced::UnknownFamily {
            family: id.family().to_owned(),
            known: self.families.iter().map(|f| f.name.as_str()).collect::<Vec<_>>().join(", "),
        })?;
        let mut count = 0;
        let within = id.coordinates().all(|c| {
            count += 1;
            (-family.bounds..=family.bounds).contains(&c)
        });
        if within && count == family.coordinates {
            return Ok(family);
        }
        Err(Unplaced::OutOfBounds {
            id: id.clone(),
            family: family.name.clone(),
            coordinates: family.coordinates,
            min: -family.bounds,
            max: family.bounds,
        })
    }

    /// The Kafka key and the partition of a chunk of this family (R1).
    #[must_use]
    pub fn place(&self, id: &ChunkId, family: &FamilySpec) -> (String, Partition) {
        let key = id.partition_key(family.region);
        let partition = partitioner::partition_for(key.as_bytes(), self.partitions);
        (key, partition)
    }

    /// The topics of the world's generation.
    #[must_use]
    pub fn topics(&self) -> Topics {
        Topics::new(&self.name, self.generation)
    }

    /// The world of `driftless dev`: a canvas with 128×128 cells per chunk, and things to put on
    /// it.
    #[must_use]
    pub fn dev() -> Self {
        let parameters = |json: serde_json::Value| json.as_object().cloned().unwrap_or_default();
        Self {
            name: "dev".into(),
            generation: 1,
            partitions: 12,
            commands_retention_hours: three_days(),
            updates_retention_hours: None,
            families: vec![
                FamilySpec {
                    name: "canvas".into(),
                    model: "grid".into(),
                    parameters: parameters(serde_json::json!({"size": [128, 128, 1], "palette": 256})),
                    coordinates: 2,
                    bounds: 1024,
                    region: 0,
                },
                FamilySpec {
                    name: "things".into(),
                    model: "map".into(),
                    parameters: serde_json::Map::new(),
                    coordinates: 2,
                    bounds: 1024,
                    region: 0,
                },
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        name = "town"
        partitions = 4
        [[family]]
        name = "canvas"
        model = "grid"
        bounds = 10
        parameters = { size = [16, 16], palette = 8 }
    "#;

    #[test]
    fn a_spec_survives_toml_and_json() {
        let spec = WorldSpec::from_toml("world.toml", GOOD).unwrap();
        assert_eq!(spec.families[0].coordinates, 2);
        for id in [None, Some(WorldId([7; 16]))] {
            let stored = StoredWorld { revision: 1, spec: spec.clone(), id };
            let json = serde_json::to_string(&stored).unwrap();
            assert_eq!(serde_json::from_str::<StoredWorld>(&json).unwrap(), stored);
        }
        assert_eq!(WorldSpec::dev().check("dev"), Ok(()));
    }

    #[test]
    fn version_0_1_0_reads_a_world_of_format_1_and_refuses_one_with_an_id() {
        /// `world.json` as version 0.1.0 reads it.
        #[derive(Debug, Deserialize)]
        struct Old {
            revision: u32,
            spec: WorldSpec,
        }
        let json = |id| serde_json::to_string(&StoredWorld { revision: 3, spec: WorldSpec::dev(), id }).unwrap();
        let old: Old = serde_json::from_str(&json(None)).unwrap();
        assert_eq!((old.revision, old.spec), (3, WorldSpec::dev()));
        let refused = serde_json::from_str::<Old>(&json(Some(WorldId([7; 16])))).unwrap_err().to_string();
        assert!(refused.contains("unknown field `format`"), "{refused}");
    }

    #[test]
    fn a_world_of_an_unknown_format_is_refused_with_the_way_out() {
        let json = |spec: &str| format!(r#"{{"revision": 1, "spec": {{{spec}}}}}"#);
        for (spec, expected) in [
            (r#""format": 3"#, "spec.format is 3, but this version reads 1 and 2; upgrade this process"),
            (r#""format": "new""#, r#"spec.format is "new", which is no number"#),
            (r#""format": 2"#, "spec.id is missing"),
            (r#""format": 2, "id": "07""#, r#"spec.id: "07" is not 32 hex digits"#),
            (r#""name": "town""#, "spec: missing field `partitions`"),
        ] {
            let error = serde_json::from_str::<StoredWorld>(&json(spec)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn every_error_names_file_key_and_value() {
        for (from, to, expected) in [
            ("\"town\"", "\"Town\"", "world.toml: name = \"Town\": must be a lower-case letter"),
            ("partitions = 4", "partitions = 0", "world.toml: partitions = 0: must be 1 to 4096"),
            ("partitions = 4", "partition = 4", "unknown field `partition`"),
            ("bounds = 10", "bounds = -1", "world.toml: family.canvas.bounds = -1: must be 0 to"),
            ("bounds = 10", "bounds = 10\nregion = 32", "family.canvas.region = 32"),
            ("bounds = 10", "bounds = \"far\"", "line 7"),
        ] {
            let error = WorldSpec::from_toml("world.toml", &GOOD.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_chunk_is_placed_by_family_bounds_and_key() {
        let spec = WorldSpec::from_toml("world.toml", GOOD).unwrap();
        let id = |text: &str| text.parse::<ChunkId>().unwrap();
        let family = spec.family_of(&id("canvas/10/-10")).unwrap();
        let (key, partition) = spec.place(&id("canvas/10/-10"), family);
        assert_eq!(key, "canvas/10/-10");
        assert_eq!(partition, partitioner::partition_for(key.as_bytes(), 4));
        assert!(matches!(spec.family_of(&id("canvas/11/0")), Err(Unplaced::OutOfBounds { .. })));
        assert!(matches!(spec.family_of(&id("canvas/1")), Err(Unplaced::OutOfBounds { .. })));
        assert!(matches!(spec.family_of(&id("town/1/1")), Err(Unplaced::UnknownFamily { .. })));
    }
}
