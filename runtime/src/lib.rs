//! What the three services share: the log seam and its implementations (work in progress).

pub mod log;

pub mod shutdown;
