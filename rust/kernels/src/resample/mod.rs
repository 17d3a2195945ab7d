//! Images read at other places: borders copied from inside ([`pad`]), sizes changed by interpolation ([`lines`]), and
//! values between the grid's points ([`grid_sample`]); each with its transpose, which is its derivative.
//!
//! Where several places lead to one element, they are added in their row-major order, at any thread count.

mod grid;
mod lines;
mod pad;

pub use grid::{Outside, Sampling, grid_sample, grid_sample_backward};
pub use lines::{Taps, lines};
pub use pad::{Border, Side, pad, pad_backward};

/// f32 and f64.
pub trait Real: crate::elementwise::float::Float + crate::dtype::Element {
    fn to_i32(self) -> i32;
}
impl Real for f32 {
    #[inline(always)]
    fn to_i32(self) -> i32 {
        self as i32
    }
}
impl Real for f64 {
    #[inline(always)]
    fn to_i32(self) -> i32 {
        self as i32
    }
}
