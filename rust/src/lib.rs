//! What a tensor is and what can be done to it: types, buffers, the op table, devices and dispatch. No Python here.
//!
//! Modules depend on each other in one direction:
//! `dtype, layout, error, shared` ← `buffer` ← `core` ← `ops` ← `device` ← `dispatch` ← `graph`.

#![deny(unsafe_code)]

pub mod args;
#[allow(unsafe_code)] // owns raw memory
pub mod buffer;
pub mod core;
#[allow(unsafe_code)] // makes kernel views of buffers
pub mod device;
pub mod dispatch;
pub mod dtype;
pub mod error;
pub mod generator;
pub mod graph;
#[doc(hidden)]
pub mod internals;
pub mod layout;
pub mod ops;
#[allow(unsafe_code)] // a pointer that counts its holders
pub mod shared;

pub use crate::core::Core;
pub use args::{Arg, Args};
pub use device::Device;
pub use dtype::{DType, Scalar};
pub use error::{Error, Result};
pub use layout::{Dims, Layout};
