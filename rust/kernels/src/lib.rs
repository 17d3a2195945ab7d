//! CPU kernels of firesteel: strided views in, strided views out.
//!
//! This crate knows no tensors, no Python and no GPU. A caller describes memory by [`Src`] and [`Dst`] (typed) or
//! [`AnySrc`] and [`AnyDst`] (a run-time dtype); shapes and dtypes were checked by the caller.
//!
//! Rules that every kernel keeps:
//! * **Same bits.** The order of additions and the choice of algorithm depend on op, shape, dtype and on which operand
//!   dims are contiguous; never on the thread count or the instruction set. Fused multiply-add everywhere.
//! * **No panics for data.** Indices are checked before use; sizes of zero are fine.
//! * **Overlap** between an output and an input is either none or exact (same layout); the caller sees to that.

pub mod attention;
pub mod conv;
pub mod dtype;
pub mod elementwise;
pub mod gemm;
pub mod index;
#[doc(hidden)]
pub mod internals;
pub mod limits;
pub mod loss;
pub mod norm;
pub mod optim;
pub mod parallel;
pub mod pool;
pub mod random;
pub mod reduce;
pub mod resample;
pub mod rnn;
pub mod scan;
mod scratch;
pub mod simd;
pub mod softmax;
pub mod sort;
pub mod view;

pub use dtype::DType;
pub use view::{AnyDst, AnySrc, Dst, MAX_RANK, Src};
