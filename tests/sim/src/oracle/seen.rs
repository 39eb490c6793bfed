//! Counts of the events that the oracles judged, so that a test can see that each kind occurs.

/// Counts of the events that the oracles judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// The number of committed commands.
    pub committed: u64,
    /// Discarded commands, including each `Settle`.
    pub discarded: u64,
    /// Marks with the outcome `OutOfOrder`.
    pub out_of_order: u64,
    /// Marks with the outcome `SessionExpired`.
    pub expired: u64,
    /// Resends: commands whose `seq` was resolved before.
    pub resends: u64,
    /// Records of `updates` that R4 makes readers ignore.
    pub invalid: u64,
    /// Refs that were compared with the log.
    pub refs: u64,
    /// Durable checkpoints that were compared with the log.
    pub checkpoints: u64,
    /// Frames to clients that were compared with the log.
    pub frames: u64,
}

impl Seen {
    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Self) {
        self.committed += other.committed;
        self.discarded += other.discarded;
        self.out_of_order += other.out_of_order;
        self.expired += other.expired;
        self.resends += other.resends;
        self.invalid += other.invalid;
        self.refs += other.refs;
        self.checkpoints += other.checkpoints;
        self.frames += other.frames;
    }

    /// The counts with their names.
    #[must_use]
    pub fn list(&self) -> [(&'static str, u64); 9] {
        [
            ("committed", self.committed),
            ("discarded", self.discarded),
            ("out_of_order", self.out_of_order),
            ("session_expired", self.expired),
            ("resends", self.resends),
            ("invalid_records", self.invalid),
            ("refs_compared", self.refs),
            ("checkpoints_compared", self.checkpoints),
            ("events_to_clients_compared", self.frames),
        ]
    }
}
