pub mod explore;
pub mod ownership;
