//! The view: the confirmed content with the own pending commands on top, decided again in order.
//!
//! Nothing is copied where nothing is pending. A command that comes behind the others is decided alone; any other change
//! starts over from the confirmed content. What a model would discard, or fails on, leaves no trace.

use crate::pending::PendingCommand;
use crate::settings::Settings;
use driftless_chunk::model::{AnyModel, Content, Context, Decision};
use driftless_chunk::replica::Replica;
use driftless_schemas::ChunkId;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[derive(Default)]
pub(crate) struct View {
    /// Confirmed content with the first `predicted` commands.
    content: Option<Content>,
    predicted: usize,
}

impl View {
    /// Something other than one more command at the end has changed.
    pub fn invalidate(&mut self) {
        *self = Self::default();
    }

    /// The content to show.
    pub fn content<'a>(
        &'a mut self,
        chunk: &ChunkId,
        replica: &'a Replica,
        entries: impl Iterator<Item = &'a PendingCommand>,
        settings: &Settings,
    ) -> &'a Content {
        let mut predicted = 0;
        for entry in entries.filter(|entry| entry.is_predicted()) {
            predicted += 1;
            if predicted <= self.predicted {
                continue;
            }
            self.predicted = predicted;
            let content = self.content.get_or_insert_with(|| replica.content().clone());
            let context = Context {
                chunk,
                author: &settings.author,
                roles: &settings.roles,
                received_at_ms: entry.submitted_at.0,
                seed: 0,
            };
            predict(replica.model().as_ref(), content, &context, &entry.command);
        }
        self.content.as_ref().unwrap_or(replica.content())
    }
}

fn predict(model: &dyn AnyModel, content: &mut Content, context: &Context<'_>, command: &[u8]) {
    let before = (!model.fold_is_atomic()).then(|| content.clone());
    let is_shown = catch_unwind(AssertUnwindSafe(|| match model.decide(content, context, command) {
        Decision::Committed(effect) => model.fold(content, &effect).is_ok(),
        Decision::Discarded { .. } => true,
    }));
    if let (Some(before), Ok(false) | Err(_)) = (before, is_shown) {
        *content = before;
    }
}
