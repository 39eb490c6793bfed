//! The model `stock`: an amount of goods that never goes below zero.
//!
//! The same code decides commands on the server, predicts them in the browser, and applies their
//! effects in every replica.

use driftless_chunk::model::{Context, Decision, Fault, Model, Models, ParameterError, Refusal};
use driftless_schemas::ChunkId;
use driftless_schemas::proto::DiscardReason;
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// The model, made from the parameters of one family.
struct Stock {
    /// The amount in a new chunk.
    start: i64,
}

/// Registers the model under its name and revision. All processes of a world must use the same two.
pub fn register(models: &mut Models) {
    models.register("stock", 1, Stock::from_parameters);
}

/// Runs in the browser when the core is loaded, before any world is opened.
#[cfg(target_arch = "wasm32")]
#[wasm_bindgen::prelude::wasm_bindgen(start)]
fn start() {
    driftless_client_wasm::register(register);
}

/// Reads a command, an effect or an encoded state. Each is one number: 8 bytes, little-endian.
fn read(bytes: &[u8]) -> Option<i64> {
    bytes.try_into().ok().map(i64::from_le_bytes)
}

impl Stock {
    fn from_parameters(parameters: &Map<String, Value>) -> Result<Self, ParameterError> {
        let start = parameters.get("start").and_then(Value::as_i64).filter(|start| *start >= 0);
        start
            .map(|start| Self { start })
            .ok_or_else(|| ParameterError { key: "start".into(), problem: "must be a whole number, 0 or more".into() })
    }
}

impl Model for Stock {
    type State = i64;

    fn initial(&self, _chunk: &ChunkId) -> i64 {
        self.start
    }

    fn check(&self, command: &[u8]) -> Result<(), Refusal> {
        read(command).map(|_| ()).ok_or_else(|| Refusal(format!("a command has 8 bytes, not {}", command.len())))
    }

    fn decide<'c>(&self, stock: &i64, _context: &Context<'_>, command: &'c [u8]) -> Decision<'c> {
        match read(command).map(|change| stock.checked_add(change)) {
            Some(Some(0..)) => Decision::Committed(Cow::Borrowed(command)),
            Some(_) => Decision::Discarded { reason: DiscardReason::Conflict, detail: format!("there are {stock}") },
            None => Decision::Discarded { reason: DiscardReason::Invalid, detail: "a command has 8 bytes".into() },
        }
    }

    fn fold(&self, stock: &mut i64, effect: &[u8]) -> Result<(), Fault> {
        let sum = read(effect).and_then(|change| stock.checked_add(change));
        *stock = sum.ok_or_else(|| Fault("`decide` did not make this effect".into()))?;
        Ok(())
    }

    fn fold_is_atomic(&self) -> bool {
        true
    }

    fn inverse(&self, _before: &i64, effect: &[u8]) -> Vec<Vec<u8>> {
        let back = read(effect).and_then(i64::checked_neg).filter(|change| *change != 0);
        back.map(|change| change.to_le_bytes().to_vec()).into_iter().collect()
    }

    fn encode<'s>(&self, stock: &'s i64) -> Cow<'s, [u8]> {
        Cow::Owned(stock.to_le_bytes().to_vec())
    }

    fn decode(&self, bytes: &[u8]) -> Result<i64, Fault> {
        read(bytes)
            .filter(|stock| *stock >= 0)
            .ok_or_else(|| Fault(format!("{} bytes are not a stock of 0 or more", bytes.len())))
    }

    fn command_from_json(&self, json: &Value) -> Result<Vec<u8>, Refusal> {
        let change = json.get("change").and_then(Value::as_i64);
        let change = change.ok_or_else(|| Refusal("`change` must be a whole number".into()))?;
        Ok(change.to_le_bytes().to_vec())
    }

    fn command_to_json(&self, command: &[u8]) -> Result<Value, Refusal> {
        read(command).map(|change| json!({ "change": change })).ok_or_else(|| Refusal("a command has 8 bytes".into()))
    }

    fn content_to_json(&self, stock: &i64) -> Value {
        json!({ "stock": stock })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sale_below_zero_is_discarded_and_an_inverse_restores_the_stock() {
        let mut models = Models::builtin();
        register(&mut models);
        let model = models.get("stock").unwrap().1(&Map::from_iter([("start".to_owned(), json!(10))])).unwrap();
        let chunk: ChunkId = "shop/1".parse().unwrap();
        let mut content = model.initial(&chunk);
        let mut stocks = Vec::new();
        for change in [-4, -7, 20, -26] {
            let command = model.command_from_json(&json!({ "change": change })).unwrap();
            let context = Context { chunk: &chunk, author: "ann", roles: &[], received_at_ms: 0, seed: 0 };
            if let Decision::Committed(effect) = model.decide(&content, &context, &command) {
                let back = model.inverse(&content, &effect);
                assert_eq!(model.command_to_json(&back[0]).unwrap(), json!({ "change": -change }));
                model.fold(&mut content, &effect).unwrap();
            }
            stocks.push(model.content_to_json(&content)["stock"].as_i64().unwrap());
        }
        assert_eq!(stocks, [6, 6, 26, 0]);
        assert!(model.decode(&(-1i64).to_le_bytes()).is_err());
    }
}
