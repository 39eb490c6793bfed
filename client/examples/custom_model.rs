//! A model of one's own: a stock of goods that never goes below zero. It runs here without any server.
//!
//! The same `Stock` goes into every process that touches such chunks. A server's `main` registers it by name, and the
//! world spec names it (`model = "stock"`, `parameters = { start = 10 }`):
//!
//! ```text
//! fn main() -> anyhow::Result<()> {
//!     let mut models = Models::builtin();
//!     models.register("stock", 1, Stock::from_parameters);
//!     driftless::run(models)
//! }
//! ```

use driftless_chunk::model::{Context, Decision, Fault, Model, ParameterError, Refusal};
use driftless_client::{ChunkId, Models};
use driftless_schemas::proto::DiscardReason;
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// The rules: how much there is at first.
struct Stock {
    start: i64,
}

/// Commands, effects and the encoding are one number: 8 bytes, little-endian.
fn read(bytes: &[u8]) -> Option<i64> {
    bytes.try_into().ok().map(i64::from_le_bytes)
}

impl Stock {
    fn from_parameters(parameters: &Map<String, Value>) -> Result<Self, ParameterError> {
        let start = parameters.get("start").and_then(Value::as_i64).filter(|start| *start >= 0);
        start.map(|start| Self { start }).ok_or_else(|| ParameterError {
            key: "start".into(),
            value: format!("{:?}", parameters.get("start")),
            problem: "must be a whole number, 0 or more".into(),
        })
    }
}

impl Model for Stock {
    type State = i64;

    fn initial(&self, _chunk: &ChunkId) -> i64 {
        self.start
    }

    fn check(&self, command: &[u8]) -> Result<(), Refusal> {
        read(command).map(|_| ()).ok_or_else(|| Refusal(format!("{} bytes instead of 8", command.len())))
    }

    fn decide<'c>(&self, stock: &i64, _context: &Context<'_>, command: &'c [u8]) -> Decision<'c> {
        match read(command).map(|change| stock.checked_add(change)) {
            Some(Some(0..)) => Decision::Committed(Cow::Borrowed(command)),
            Some(_) => Decision::Discarded { reason: DiscardReason::Conflict, detail: format!("there are {stock}") },
            None => Decision::Discarded { reason: DiscardReason::Invalid, detail: "no number".into() },
        }
    }

    fn fold(&self, stock: &mut i64, effect: &[u8]) -> Result<(), Fault> {
        let sum = read(effect).and_then(|change| stock.checked_add(change));
        *stock = sum.ok_or_else(|| Fault("an effect that `decide` did not make".into()))?;
        Ok(())
    }

    fn fold_is_atomic(&self) -> bool {
        true
    }

    fn encode<'s>(&self, stock: &'s i64) -> Cow<'s, [u8]> {
        Cow::Owned(stock.to_le_bytes().to_vec())
    }

    fn decode(&self, bytes: &[u8]) -> Result<i64, Fault> {
        read(bytes).ok_or_else(|| Fault(format!("{} bytes are no stock", bytes.len())))
    }

    fn command_from_json(&self, json: &Value) -> Result<Vec<u8>, Refusal> {
        let change = json.get("change").and_then(Value::as_i64);
        change
            .map(|change| change.to_le_bytes().to_vec())
            .ok_or_else(|| Refusal("`change` must be a whole number".into()))
    }

    fn command_to_json(&self, command: &[u8]) -> Result<Value, Refusal> {
        read(command).map(|change| json!({ "change": change })).ok_or_else(|| Refusal("no number".into()))
    }

    fn content_to_json(&self, stock: &i64) -> Value {
        json!({ "stock": stock })
    }
}

fn main() -> anyhow::Result<()> {
    let mut models = Models::builtin();
    models.register("stock", 1, Stock::from_parameters);

    // What the processes do with it: make it from a family's parameters, decide each command once, fold its effect.
    let (_, make) = models.get("stock").ok_or_else(|| anyhow::anyhow!("it was registered above"))?;
    let model = make(&Map::from_iter([("start".to_owned(), json!(10))]))?;
    let chunk: ChunkId = "shop/1".parse()?;
    let mut content = model.initial(&chunk);
    for change in [-4, -7, 20, -26] {
        let command = model.command_from_json(&json!({ "change": change }))?;
        let context = Context { chunk: &chunk, author: "ann", roles: &[], received_at_ms: 0, seed: 0 };
        match model.decide(&content, &context, &command) {
            Decision::Committed(effect) => {
                model.fold(&mut content, &effect)?;
                println!("{change:+}: committed, {}", model.content_to_json(&content));
            }
            Decision::Discarded { reason, detail } => println!("{change:+}: discarded, {reason:?}, {detail}"),
        }
    }
    // A client gets it through its settings: `Settings { models, ..Settings::new(ingest, gateway, token) }`.
    Ok(())
}
