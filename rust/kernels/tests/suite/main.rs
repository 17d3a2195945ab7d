//! The tests of the kernels: one binary, linked to the library as the wheel has it, so that nothing is compiled twice.
//!
//! Modules are named as those whose code they test. What they need of the crate's inside comes by its `internals`.

mod attention;
mod conv;
mod elementwise;
mod gemm;
mod index;
mod limits;
mod loss;
mod norm;
mod optim;
mod parallel;
mod pool;
mod random;
mod reduce;
mod rnn;
mod scan;
mod scratch;
mod simd;
mod softmax;
mod sort;
mod testing;
