//! The static graph: op records in the order in which they ran, and how they are run again without Python.
//!
//! [`record`] listens to dispatch while a function runs and writes down each op with the values it read and made;
//! [`ir`] is what is written down, [`fuse`] puts steps together, [`run`] the loop that carries it out, [`text`] prints it. What a program's state is
//! (arguments, parameters, gradients, optimizer state) is the binding's business: here it comes as *slots*, tensors that
//! are handed in anew before every run.

pub mod fuse;
pub mod ir;
pub mod record;
pub mod run;
pub mod text;

pub use fuse::fuse;
pub use ir::{Action, Graph, Id, Number, Operand, Source, Step};
