//! Claims about a partition's index. Both SlateDB on a real store and the simulator's index keep
//! them.

use crate::harness::soon;
use crate::place::Place;
use async_trait::async_trait;
use driftless_schemas::stored::{Checkpoint, IndexEntry, Location, StoredRef};
use driftless_schemas::{ChunkId, Epoch, Hash, Offset, Partition, Version};
use driftless_store::index::{self, Error, Index, IndexView};
use futures_util::future::{join, join_all};

/// A set of indexes under test, one for each partition.
#[async_trait(?Send)]
pub trait Indexes {
    /// Opens a partition's index as its owner.
    async fn claim(&self, partition: Partition) -> Result<(Box<dyn Writer>, Checkpoint), Error>;
    /// Opens a read-only view of a partition's index.
    async fn view(&self, partition: Partition) -> Box<dyn View>;
}

/// A partition's index, opened by its owner.
#[async_trait(?Send)]
pub trait Writer {
    /// Writes a batch of a checkpoint and entries.
    async fn write(&self, checkpoint: &Checkpoint, entries: &[(ChunkId, IndexEntry)]) -> Result<(), Error>;
    /// The stored checkpoint.
    async fn checkpoint(&self) -> Checkpoint;
    /// A chunk's entry.
    async fn entry(&self, chunk: &ChunkId) -> Option<IndexEntry>;
}

/// A read-only view of the index.
#[async_trait(?Send)]
pub trait View {
    /// The checkpoint.
    async fn checkpoint(&self) -> Checkpoint;
    /// A chunk's entry.
    async fn entry(&self, chunk: &ChunkId) -> Option<IndexEntry>;
}

/// The index of the services, on the store of a [`Place`].
pub struct Real {
    indexes: index::Indexes,
    _place: Place,
}

impl Real {
    /// The indexes in a place that belongs to this test alone.
    pub fn new(place: Place) -> Self {
        Self { indexes: index::Indexes::new(place.store.object_store(), 1), _place: place }
    }
}

#[async_trait(?Send)]
impl Indexes for Real {
    async fn claim(&self, partition: Partition) -> Result<(Box<dyn Writer>, Checkpoint), Error> {
        let (index, checkpoint) = self.indexes.claim(partition).await?;
        Ok((Box::new(index), checkpoint))
    }

    async fn view(&self, partition: Partition) -> Box<dyn View> {
        Box::new(self.indexes.view(partition).await.expect("the view can be opened"))
    }
}

#[async_trait(?Send)]
impl Writer for Index {
    async fn write(&self, checkpoint: &Checkpoint, entries: &[(ChunkId, IndexEntry)]) -> Result<(), Error> {
        self.write(checkpoint, entries).await
    }

    async fn checkpoint(&self) -> Checkpoint {
        self.checkpoint().await.expect("the checkpoint can be read")
    }

    async fn entry(&self, chunk: &ChunkId) -> Option<IndexEntry> {
        self.entry(chunk).await.expect("the entry can be read")
    }
}

#[async_trait(?Send)]
impl View for IndexView {
    async fn checkpoint(&self) -> Checkpoint {
        self.checkpoint().await.expect("the checkpoint can be read")
    }

    async fn entry(&self, chunk: &ChunkId) -> Option<IndexEntry> {
        self.entry(chunk).await.expect("the entry can be read")
    }
}

const P: Partition = Partition(0);

/// A chunk id that contains this number.
pub fn chunk(number: i32) -> ChunkId {
    ChunkId::new("canvas", &[number, 0]).expect("the id is valid")
}

/// An index entry whose newest ref has that version.
pub fn entry(version: u64) -> IndexEntry {
    let newest = StoredRef {
        version: Version(version),
        hash: Hash::of(&version.to_le_bytes()),
        location: Location::Object,
        through_offset: Offset(0),
        model_revision: 1,
        bytes: 0,
        ledger: None,
    };
    IndexEntry { newest, older: vec![] }
}

async fn claim(subject: &dyn Indexes, partition: Partition) -> (Box<dyn Writer>, Checkpoint) {
    soon("a claim", subject.claim(partition)).await.expect("no other owner claims at the same time")
}

fn is_fenced(result: &Result<(), Error>) -> bool {
    match result {
        Ok(()) => false,
        Err(Error::Fenced) => true,
        Err(other) => panic!("the write failed, and not because the writer is fenced: {other}"),
    }
}

pub async fn r4_a_claim_gives_a_new_epoch_and_fences_the_writer_before(subject: &dyn Indexes) {
    let mut owners = Vec::new();
    for epoch in 1..=8 {
        let (owner, checkpoint) = claim(subject, P).await;
        assert_eq!(checkpoint, Checkpoint { epoch: Epoch(epoch), ..Checkpoint::default() });
        // The new epoch must be durable before the owner writes anything else.
        assert_eq!(subject.view(P).await.checkpoint().await, checkpoint);
        owners.push((owner, checkpoint));
    }
    for (owner, checkpoint) in &owners[..7] {
        assert!(is_fenced(&owner.write(checkpoint, &[]).await), "the owner of epoch {} can write", checkpoint.epoch);
    }
    let (newest, checkpoint) = &owners[7];
    newest.write(checkpoint, &[(chunk(1), entry(1))]).await.unwrap();
    assert_eq!(newest.entry(&chunk(1)).await, Some(entry(1)));
}

pub async fn r4_a_fenced_writer_is_refused_and_its_writes_are_never_visible(subject: &dyn Indexes) {
    let (old, first) = claim(subject, P).await;
    let before = Checkpoint { commands_next: Offset(7), updates_low: Offset(5), ..first };
    old.write(&before, &[(chunk(0), entry(3))]).await.unwrap();
    let (new, second) = claim(subject, P).await;
    assert_eq!(second, Checkpoint { epoch: Epoch(2), ..before });
    let late = Checkpoint { commands_next: Offset(99), ..before };
    for round in 0..3 {
        let written = old.write(&late, &[(chunk(0), entry(9)), (chunk(1), entry(9))]).await;
        assert!(is_fenced(&written), "the old owner can write in round {round}");
        assert_eq!((new.checkpoint().await, new.entry(&chunk(0)).await), (second, Some(entry(3))));
    }
    new.write(&Checkpoint { commands_next: Offset(8), ..second }, &[(chunk(2), entry(4))]).await.unwrap();
    let written = old.write(&late, &[(chunk(2), entry(9))]).await;
    assert!(is_fenced(&written), "the old owner can write after the new owner has written");
    let (third, checkpoint) = claim(subject, P).await;
    assert_eq!(checkpoint, Checkpoint { epoch: Epoch(3), commands_next: Offset(8), ..second });
    let view = subject.view(P).await;
    for (number, expected) in [(0, Some(entry(3))), (1, None), (2, Some(entry(4)))] {
        assert_eq!(third.entry(&chunk(number)).await, expected);
        assert_eq!(view.entry(&chunk(number)).await, expected);
    }
}

pub async fn r4_one_of_many_simultaneous_claims_can_write(subject: &dyn Indexes) {
    let claims = soon("all claims", join_all((0..8).map(|_| subject.claim(P)))).await;
    let mut epochs = Vec::new();
    let mut owners = Vec::new();
    for claimed in claims {
        match claimed {
            Ok((owner, checkpoint)) => {
                epochs.push(checkpoint.epoch);
                owners.push((owner, checkpoint));
            }
            Err(Error::Fenced) => {}
            Err(other) => panic!("a claim failed, and not because another one came first: {other}"),
        }
    }
    epochs.sort_unstable();
    assert!(epochs.windows(2).all(|two| two[0] < two[1]), "an epoch was given out twice: {epochs:?}");
    let mut writers = 0;
    for (owner, checkpoint) in &owners {
        let is_last = checkpoint.epoch == *epochs.last().unwrap();
        let is_refused = is_fenced(&owner.write(&Checkpoint { commands_next: Offset(1), ..*checkpoint }, &[]).await);
        assert!(is_last || is_refused, "the owner of epoch {} of {epochs:?} can write", checkpoint.epoch);
        writers += u32::from(!is_refused);
    }
    assert!(writers <= 1, "{writers} owners can write");
    // The next claim gets an epoch above all of these epochs, whichever of the claims won.
    let (_, next) = claim(subject, P).await;
    assert!(epochs.iter().all(|epoch| *epoch < next.epoch), "{epochs:?}, {next:?}");
    assert_eq!(next.commands_next, Offset(i64::from(writers)));
}

pub async fn r4_the_next_owner_finds_every_acknowledged_write_and_nothing_else(subject: &dyn Indexes) {
    let (mut owner, mut checkpoint) = claim(subject, P).await;
    for round in 1..=10 {
        let written = Checkpoint { commands_next: Offset(round), ..checkpoint };
        let entries: Vec<_> = (0..20).map(|n| (chunk(n), entry(round as u64))).collect();
        // The new owner claims while the old owner writes.
        let (result, claimed) = join(owner.write(&written, &entries), subject.claim(P)).await;
        let (next, found) = claimed.expect("no third owner claims at the same time");
        let is_there = found.commands_next == Offset(round);
        // The index may refuse a write and store it nevertheless, as long as it stores the whole
        // batch. In both cases the stored epoch is the new owner's.
        assert!(is_there || is_fenced(&result), "the write of round {round} was acknowledged and is lost");
        assert_eq!(found.epoch, checkpoint.epoch.next());
        let newest = next.entry(&chunk(0)).await;
        assert_eq!(is_there, newest == Some(entry(round as u64)));
        for n in 0..20 {
            assert_eq!(next.entry(&chunk(n)).await, newest, "the batch is stored in part: chunk {n}");
        }
        assert!(is_fenced(&owner.write(&written, &entries).await));
        assert_eq!(next.entry(&chunk(0)).await, newest);
        (owner, checkpoint) = (next, found);
    }
}

/// Reads a view and asserts that all its entries have `commands_next` as their version. Returns
/// this number, or `None` if the view changed during the read.
async fn whole(view: &dyn View, chunks: i32) -> Option<i64> {
    let checkpoint = view.checkpoint().await;
    let mut versions = Vec::new();
    for n in 0..chunks {
        let version = |entry: IndexEntry| entry.newest.version.0 as i64;
        versions.push(view.entry(&chunk(n)).await.map_or(0, version));
    }
    if view.checkpoint().await != checkpoint {
        return None;
    }
    let is_whole = versions.iter().all(|version| *version == checkpoint.commands_next.0);
    assert!(is_whole, "the view shows a part of a batch: {checkpoint:?} with versions {versions:?}");
    Some(checkpoint.commands_next.0)
}

pub async fn a_batch_is_visible_as_a_whole_or_not_at_all(subject: &dyn Indexes) {
    const BATCHES: i64 = 40;
    let (owner, first) = claim(subject, P).await;
    let writing = async {
        for n in 1..=BATCHES {
            let entries: Vec<_> = (0..50).map(|chunk_number| (chunk(chunk_number), entry(n as u64))).collect();
            owner.write(&Checkpoint { commands_next: Offset(n), ..first }, &entries).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let looking = async {
        let mut newest = 0;
        while newest < BATCHES {
            let seen = whole(&*subject.view(P).await, 50).await;
            assert!(seen.is_none_or(|seen| seen >= newest), "a view shows {seen:?}, an earlier one showed {newest}");
            newest = seen.unwrap_or(newest);
            tokio::task::yield_now().await;
        }
    };
    soon("all batches", join(writing, looking)).await;
}

pub async fn a_view_shows_durable_batches_and_never_goes_back(subject: &dyn Indexes) {
    let (owner, first) = claim(subject, P).await;
    let mut views: Vec<(Box<dyn View>, i64)> = Vec::new();
    for n in 1..=12 {
        // A durable batch must be in every view that is opened later. No view may be ahead of the
        // newest durable batch.
        let entries = [(chunk(0), entry(n as u64)), (chunk(1), entry(n as u64))];
        owner.write(&Checkpoint { commands_next: Offset(n), ..first }, &entries).await.unwrap();
        views.push((subject.view(P).await, n));
        for (view, seen) in &mut views {
            let Some(now) = whole(&**view, 2).await else { continue };
            assert!((*seen..=n).contains(&now), "a view that showed {seen} shows {now}; the newest batch is {n}");
            *seen = now;
        }
    }
    assert_eq!(views.last().map(|(_, seen)| *seen), Some(12));
    // A change of owner does not make a view go back either.
    let (_next, _) = claim(subject, P).await;
    for (view, seen) in &views {
        assert!(whole(&**view, 2).await.is_none_or(|now| now >= *seen));
    }
}

pub async fn entries_and_checkpoint_survive_reopening(subject: &dyn Indexes) {
    let mut expected = Checkpoint::default();
    for round in 1..=5_u64 {
        let (owner, found) = claim(subject, P).await;
        expected.epoch = Epoch(round);
        assert_eq!(found, expected);
        for n in 0..30 {
            // Each chunk keeps the entry of the last owner that wrote one for it.
            let last = (1..round).rev().find(|earlier| n % *earlier == 0);
            assert_eq!(owner.entry(&chunk(n as i32)).await, last.map(entry), "chunk {n} in round {round}");
        }
        assert_eq!(owner.entry(&chunk(-1)).await, None);
        expected = Checkpoint {
            epoch: Epoch(round),
            commands_next: Offset(100 * round as i64),
            updates_low: Offset(90 * round as i64),
            updates_low_epoch: Epoch(round),
            updates_low_n: round * 7,
            ..Checkpoint::default()
        };
        let entries: Vec<_> = (0..30).filter(|n| n % round == 0).map(|n| (chunk(n as i32), entry(round))).collect();
        owner.write(&expected, &entries).await.unwrap();
        assert_eq!(owner.checkpoint().await, expected);
    }
}

pub async fn an_index_with_two_hundred_checkpoints_can_be_reopened(subject: &dyn Indexes) {
    let (owner, first) = claim(subject, P).await;
    for n in 1..=200 {
        let entries = [(chunk(n as i32), entry(n as u64)), (chunk(0), entry(n as u64))];
        owner.write(&Checkpoint { commands_next: Offset(n), ..first }, &entries).await.unwrap();
    }
    drop(owner);
    let (next, found) = claim(subject, P).await;
    assert_eq!(found, Checkpoint { epoch: Epoch(2), commands_next: Offset(200), ..first });
    let view = subject.view(P).await;
    assert_eq!((next.entry(&chunk(0)).await, view.entry(&chunk(0)).await), (Some(entry(200)), Some(entry(200))));
    for n in 1..=200 {
        assert_eq!(next.entry(&chunk(n)).await, Some(entry(n as u64)));
        assert_eq!(view.entry(&chunk(n)).await, Some(entry(n as u64)));
    }
}

pub async fn partitions_are_independent(subject: &dyn Indexes) {
    let mut owners = Vec::new();
    // Some of the names of these partitions are prefixes of others.
    for partition in [1, 11, 0, 10].map(Partition) {
        let (owner, first) = claim(subject, partition).await;
        assert_eq!(first, Checkpoint { epoch: Epoch(1), ..Checkpoint::default() });
        let written = Checkpoint { commands_next: Offset(i64::from(partition.0) + 1), ..first };
        owner.write(&written, &[(chunk(0), entry(partition.0 as u64 + 1))]).await.unwrap();
        owners.push((partition, owner, written));
    }
    for (partition, owner, written) in &owners {
        owner.write(written, &[]).await.expect("no later owner has claimed this partition");
        let view = subject.view(*partition).await;
        assert_eq!(view.checkpoint().await, *written);
        assert_eq!(view.entry(&chunk(0)).await, Some(entry(partition.0 as u64 + 1)));
    }
}
