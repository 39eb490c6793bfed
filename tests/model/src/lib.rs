pub mod explore;
pub mod ownership;
pub mod writer;
