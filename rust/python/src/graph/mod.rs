//! The static graph seen from Python: recording a call, and running the recording.

pub mod active;
mod guards;
pub mod recording;
mod tree;
