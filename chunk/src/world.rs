//! A world spec with its models. Every service finds the family, the model, the Kafka key and the
//! partition of a chunk id through this module (R1).

use crate::model::{AnyModel, Models};
use driftless_schemas::topics::Topics;
use driftless_schemas::world::{FamilySpec, SpecError, Unplaced, WorldSpec};
use driftless_schemas::{ChunkId, Partition, WorldId, proto};
use std::sync::Arc;

/// A family with its model.
#[derive(Clone)]
pub struct Family {
    /// The family's spec.
    pub spec: FamilySpec,
    /// The model's revision in this process.
    pub revision: u32,
    /// The model, with the family's parameters.
    pub model: Arc<dyn AnyModel>,
}

/// A world whose spec was checked, with the models of its families.
#[derive(Clone)]
pub struct World {
    spec: WorldSpec,
    families: Vec<Arc<Family>>,
    topics: Topics,
    id: Option<WorldId>,
}

/// The family, key and partition of a chunk.
#[derive(Clone)]
pub struct Place {
    /// The chunk's family.
    pub family: Arc<Family>,
    /// The key of the chunk's records in Kafka.
    pub key: String,
    /// The partition of `commands` and `updates`.
    pub partition: Partition,
}

impl World {
    /// Checks a spec, including the parameters of its families, and makes the families' models.
    /// `file` is the name of the spec's file, for error messages.
    ///
    /// # Errors
    /// [`SpecError`] names the file, the key and the value.
    pub fn new(file: &str, spec: WorldSpec, models: &Models) -> Result<Self, SpecError> {
        spec.check(file)?;
        let mut families = Vec::new();
        for family in &spec.families {
            let Some((revision, make)) = models.get(&family.model) else {
                let known: Vec<_> = models.list().map(|(id, _)| id).collect();
                return Err(SpecError {
                    file: file.into(),
                    key: format!("family.{}.model", family.name),
                    value: format!("{:?}", family.model),
                    problem: format!("no such model is registered; there are {}", known.join(", ")),
                });
            };
            let model = make(&family.parameters).map_err(|e| SpecError {
                file: file.into(),
                key: format!("family.{}.parameters.{}", family.name, e.key),
                value: shown(&family.parameters, &e.key),
                problem: e.problem,
            })?;
            families.push(Arc::new(Family { spec: family.clone(), revision, model }));
        }
        let topics = spec.topics();
        Ok(Self { spec, families, topics, id: None })
    }

    /// Gives the world its id. A world with an id has format 2, so its processes may write records
    /// that version 0.1.0 cannot read.
    #[must_use]
    pub fn with_id(self, id: Option<WorldId>) -> Self {
        Self { id, ..self }
    }

    /// The world's id for people; says so if there is none.
    #[must_use]
    pub fn id_text(&self) -> String {
        self.id.map_or_else(|| "nothing of an id".into(), |id| id.to_string())
    }

    /// The world's id as a protobuf field carries it: 16 bytes, or none in a world of format 1.
    #[must_use]
    pub fn id_field(&self) -> bytes::Bytes {
        self.id.map(WorldId::to_bytes).unwrap_or_default()
    }

    /// The world's id; `None` in a world of format 1.
    #[must_use]
    pub fn id(&self) -> Option<WorldId> {
        self.id
    }

    /// The spec.
    #[must_use]
    pub fn spec(&self) -> &WorldSpec {
        &self.spec
    }

    /// The topics of the world's generation.
    #[must_use]
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// All partitions of the world.
    pub fn partitions(&self) -> impl Iterator<Item = Partition> + use<> {
        (0..self.spec.partitions).map(Partition)
    }

    /// The families, in the spec's order.
    #[must_use]
    pub fn families(&self) -> &[Arc<Family>] {
        &self.families
    }

    /// The family, key and partition of a chunk.
    ///
    /// # Errors
    /// [`Unplaced`] if the id does not belong to this world.
    pub fn place(&self, chunk: &ChunkId) -> Result<Place, Unplaced> {
        let spec = self.spec.family_of(chunk)?;
        let family = self
            .families
            .iter()
            .find(|f| f.spec.name == spec.name)
            .ok_or_else(|| Unplaced::UnknownFamily { family: spec.name.clone(), known: String::new() })?;
        let (key, partition) = self.spec.place(chunk, spec);
        Ok(Place { family: Arc::clone(family), key, partition })
    }

    /// The families in the form in which `Welcome` announces them to clients.
    #[must_use]
    pub fn announced(&self) -> Vec<proto::Family> {
        self.families
            .iter()
            .map(|family| proto::Family {
                name: family.spec.name.clone(),
                model: family.spec.model.clone(),
                model_revision: family.revision,
                parameters: serde_json::Value::Object(family.spec.parameters.clone()).to_string(),
                coordinates: family.spec.coordinates,
                coordinate_min: -family.spec.bounds,
                coordinate_max: family.spec.bounds,
                region: family.spec.region,
            })
            .collect()
    }
}

/// Shows the value of a parameter in an error message. `place` is the path of the fault: for both
/// `size` and `size[1]` the message shows the whole value of `size`.
fn shown(parameters: &serde_json::Map<String, serde_json::Value>, place: &str) -> String {
    let key = place.split(['.', '[']).next().unwrap_or_default();
    parameters.get(key).map_or_else(|| "(absent)".into(), serde_json::Value::to_string)
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("World").field(&self.spec).finish()
    }
}
