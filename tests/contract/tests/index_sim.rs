//! The index contract against the simulator's index.

use async_trait::async_trait;
use driftless_contract_tests::suite::index::{Indexes, View, Writer, chunk, entry};
use driftless_schemas::stored::{Checkpoint, IndexEntry};
use driftless_schemas::{ChunkId, Offset, Partition};
use driftless_sim::store::{Fenced, IndexState, Store, WriterToken};
use driftless_store::index::Error;
use std::cell::RefCell;
use std::rc::Rc;

struct Sim(Rc<RefCell<Store>>);

impl Sim {
    fn new() -> Self {
        Self(Rc::new(RefCell::new(Store::new(12))))
    }
}

struct SimWriter {
    store: Rc<RefCell<Store>>,
    partition: Partition,
    token: WriterToken,
}

#[async_trait(?Send)]
impl Indexes for Sim {
    /// Claims the index as a replayer of the simulation does.
    async fn claim(&self, partition: Partition) -> Result<(Box<dyn Writer>, Checkpoint), Error> {
        let (token, state) = self.0.borrow_mut().open(partition);
        let checkpoint = Checkpoint { epoch: state.checkpoint.epoch.next(), ..state.checkpoint };
        let writer = SimWriter { store: Rc::clone(&self.0), partition, token };
        writer.write(&checkpoint, &[]).await?;
        Ok((Box::new(writer), checkpoint))
    }

    async fn view(&self, partition: Partition) -> Box<dyn View> {
        Box::new(SimView(self.0.borrow().view(partition, 0)))
    }
}

#[async_trait(?Send)]
impl Writer for SimWriter {
    async fn write(&self, checkpoint: &Checkpoint, entries: &[(ChunkId, IndexEntry)]) -> Result<(), Error> {
        let written = self.store.borrow_mut().write(self.partition, self.token, *checkpoint, entries);
        written.map_err(|Fenced| Error::Fenced)
    }

    async fn checkpoint(&self) -> Checkpoint {
        self.store.borrow().view(self.partition, 0).checkpoint
    }

    async fn entry(&self, chunk: &ChunkId) -> Option<IndexEntry> {
        self.store.borrow().view(self.partition, 0).entries.get(chunk).cloned()
    }
}

/// A view of the index. It shows the state at the time when it was opened.
struct SimView(Rc<IndexState>);

#[async_trait(?Send)]
impl View for SimView {
    async fn checkpoint(&self) -> Checkpoint {
        self.0.checkpoint
    }

    async fn entry(&self, chunk: &ChunkId) -> Option<IndexEntry> {
        self.0.entries.get(chunk).cloned()
    }
}

driftless_contract_tests::index_contract!(Sim::new());

/// A stale view, which the simulation opens, shows a state that was once durable, as a whole.
#[tokio::test]
async fn a_stale_view_is_an_older_state_as_a_whole() {
    let sim = Sim::new();
    let partition = Partition(0);
    assert_eq!(sim.0.borrow().view(partition, 3).checkpoint, Checkpoint::default());
    let (owner, first) = sim.claim(partition).await.unwrap();
    for n in 1..=9 {
        let entries = [(chunk(0), entry(n as u64)), (chunk(1), entry(n as u64))];
        owner.write(&Checkpoint { commands_next: Offset(n), ..first }, &entries).await.unwrap();
    }
    for staleness in 0..15 {
        let view = sim.0.borrow().view(partition, staleness);
        let expected = 9_i64.saturating_sub(staleness as i64).max(0);
        assert_eq!(view.checkpoint, Checkpoint { commands_next: Offset(expected), ..first });
        for number in [0, 1] {
            assert_eq!(view.entries.get(&chunk(number)).cloned(), (expected > 0).then(|| entry(expected as u64)));
        }
    }
}
