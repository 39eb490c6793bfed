//! The view of a chunk: the confirmed content, with this client's pending commands decided and
//! folded into it in order.
//!
//! Without pending commands the view is the confirmed content itself, and nothing is copied. If a
//! command is added at the end, only that command is decided. Any other change starts over from the
//! confirmed content. A command that the model discards, or on which it fails, leaves no trace in
//! the view.

use crate::pending::PendingCommand;
use crate::settings::Settings;
use driftless_chunk::model::{AnyModel, Content, Context, Decision};
use driftless_chunk::replica::Replica;
use driftless_schemas::ChunkId;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The predicted content of one chunk. It is kept between reads, so that a read decides only new
/// commands.
#[derive(Default)]
pub(crate) struct View {
    /// The confirmed content with the first `predicted` commands applied; `None` if no command was
    /// predicted.
    content: Option<Content>,
    /// The number of pending commands that `content` includes.
    predicted: usize,
}

impl View {
    /// Drops the prediction. Callers do this after every change except a new command at the end.
    pub fn invalidate(&mut self) {
        *self = Self::default();
    }

    /// The content of the view. Decides the commands in `entries` that were not predicted yet.
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

/// Decides one command on `content` and folds its effect. If the model fails, `content` stays
/// unchanged.
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
