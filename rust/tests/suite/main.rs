//! The tests of the crate: one binary, linked to the library as the wheel has it, so that nothing is compiled twice.
//!
//! Modules are named as those whose code they test. What they need of the crate's inside comes by its `internals`. (Ops are
//! tested in Python.)

mod buffer;
mod device;
mod ops;
mod shared;
