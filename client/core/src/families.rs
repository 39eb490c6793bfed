//! The families that a gateway announces in Welcome, each with its model.

use crate::settings::Settings;
use driftless_chunk::model::AnyModel;
use driftless_schemas::{ChunkId, Quoted, limits, proto};
use std::sync::Arc;

/// A family of chunks.
pub(crate) struct Family {
    announced: proto::Family,
    /// The model, or a text for people that says why this client cannot make the model.
    pub model: Result<Arc<dyn AnyModel>, String>,
}

/// All announced families, in the order of their names.
#[derive(Default)]
pub(crate) struct Families(Vec<Family>);

impl Families {
    /// Adopts the families of a Welcome. Returns the names of the families that are new or changed.
    /// The caller must restore the replicas of these families with the new model.
    pub fn welcome(&mut self, settings: &Settings, announced: Vec<proto::Family>) -> Vec<String> {
        let mut changed = Vec::new();
        for family in announced {
            let name = family.name.clone();
            match self.0.binary_search_by(|known| known.announced.name.cmp(&name)) {
                Ok(at) if self.0[at].announced == family => continue,
                Ok(at) => self.0[at] = Family::new(settings, family),
                // Ignore further families: no world has more. A model takes far more memory than
                // its announcement, so a faulty server could use up the client's memory.
                Err(_) if self.0.len() >= limits::FAMILIES_MAX => continue,
                Err(at) => self.0.insert(at, Family::new(settings, family)),
            }
            changed.push(name);
        }
        changed
    }

    pub fn announced(&self) -> impl Iterator<Item = &proto::Family> {
        self.0.iter().map(|family| &family.announced)
    }

    pub fn model(&self, family: &str) -> Option<Result<&Arc<dyn AnyModel>, &str>> {
        self.named(family).map(|family| family.model.as_ref().map_err(String::as_str))
    }

    pub fn of(&self, chunk: &ChunkId) -> Option<&Family> {
        self.named(chunk.family())
    }

    fn named(&self, name: &str) -> Option<&Family> {
        let at = self.0.binary_search_by(|family| family.announced.name.as_str().cmp(name)).ok()?;
        self.0.get(at)
    }
}

impl Family {
    fn new(settings: &Settings, announced: proto::Family) -> Self {
        Self { model: make(settings, &announced), announced }
    }

    /// Whether a Chunk message was made by this family's model and revision.
    pub fn is_of(&self, model: &str, revision: u32) -> bool {
        self.announced.model == model && self.announced.model_revision == revision
    }
}

fn make(settings: &Settings, family: &proto::Family) -> Result<Arc<dyn AnyModel>, String> {
    let (revision, constructor) = settings
        .models
        .get(&family.model)
        .ok_or_else(|| format!("this client has no model {}", Quoted(&family.model)))?;
    if revision != family.model_revision {
        return Err(format!(
            "this client has revision {revision} of the model {}, the world needs {}: upgrade the older one",
            Quoted(&family.model),
            family.model_revision
        ));
    }
    let parameters = match (settings.host.read_json)(&family.parameters) {
        Ok(serde_json::Value::Object(parameters)) => parameters,
        _ if family.parameters.is_empty() => serde_json::Map::new(),
        _ => return Err(format!("the parameters of family {} are not a JSON object", Quoted(&family.name))),
    };
    constructor(&parameters).map_err(|e| e.to_string())
}
