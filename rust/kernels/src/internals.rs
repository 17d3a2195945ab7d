//! For this crate's own tests and benchmarks alone: nothing else may use it, and it changes as the kernels do.
//!
//! The tests are a crate of their own (`tests/suite`), so that the library is compiled once, for the wheel and for them: as
//! unit tests they would have it compiled again with the tests inside. What they ask of private modules comes through here,
//! by the name of the module.

use crate::simd::{self, Isa};

pub use crate::reduce::walk::{collect, dense, view_mut, view_of};

/// The instruction sets that this CPU has.
pub fn available() -> Vec<Isa> {
    [Isa::Avx512, Isa::Avx2, Isa::Scalar, Isa::Portable]
        .into_iter()
        .filter(|&isa| isa <= simd::detect())
        .collect()
}

/// The shape of a reduction's result.
pub fn keepdim(shape: &[usize], axes: &[bool]) -> Vec<usize> {
    crate::reduce::keepdim(shape, axes)
}

pub mod ahead {
    pub use crate::gemm::ahead::{LINE, Runs};
}

pub mod attention {
    use crate::attention::Dropout;
    use crate::attention::block::{KEYS, Weight};

    /// What the weights of query row `row` are multiplied by.
    pub fn factors(dropout: &Dropout, row: usize, keys: usize) -> Vec<f64> {
        let mut all = vec![1.0; keys];
        for (i, some) in all.chunks_mut(KEYS).enumerate() {
            dropout.factors(row, keys, i * KEYS, some.len(), some, 1);
        }
        all
    }

    /// The exponential of what is not positive.
    pub fn weight(x: f32) -> f32 {
        x.weight()
    }
}

pub mod cache {
    pub use crate::simd::cache::{assume_last, exceeds, last, size_of_level};
}

pub mod convert {
    #[cfg(target_arch = "x86_64")]
    pub use crate::elementwise::convert::halves;
    pub use crate::elementwise::convert::{Rect, loader, narrow_bf16, narrow_f16, storer, whole, widen_f16};
}

pub mod division {
    pub use crate::elementwise::division::{FloorDivide, Fmod, Remainder};
    pub use crate::elementwise::division::{IntFloorDivide, IntFmod, IntRemainder, IntTruncDivide};
    pub use crate::elementwise::float::Float;
    pub use crate::elementwise::map::Map2;
}

pub mod every {
    pub use crate::simd::every::every;
}

pub mod gemm {
    pub use crate::gemm::narrow::bytes;
    #[cfg(target_arch = "x86_64")]
    use crate::{Dst, Src, gemm};

    /// `c = a @ b` by each of the two tables for AVX-512, of which the processor's caches choose one.
    ///
    /// # Safety
    /// The CPU has the set; the shapes fit.
    #[cfg(target_arch = "x86_64")]
    pub unsafe fn avx512_product(table: usize, a: Src<f32>, b: Src<f32>, c: Dst<f32>) {
        let product = gemm::Gemm {
            m: a.shape()[0],
            n: b.shape()[1],
            k: a.shape()[1],
            a: a.ptr(),
            a_rs: a.strides()[0],
            a_cs: a.strides()[1],
            b: b.ptr(),
            b_rs: b.strides()[0],
            b_cs: b.strides()[1],
            c: c.ptr(),
            c_rs: c.strides()[0],
            c_cs: c.strides()[1],
            ..gemm::Gemm::empty()
        };
        // SAFETY: the caller's promise.
        unsafe { product.run(gemm::tables::avx512_tables()[table]) }
    }
}

pub mod gru {
    pub use crate::rnn::gru::{StepFn, step};
}

pub mod loss {
    /// Losses that are summed at a time.
    pub const PIECE: usize = crate::loss::PIECE;
}

pub mod lstm {
    pub use crate::rnn::lstm::{BackFn, StepFn, step, step_back};
}

/// Functions of f32 one number at a time, and those of vectors.
pub mod math {
    #[cfg(target_arch = "x86_64")]
    pub use crate::elementwise::math::wide::{kernel, kernel2};
    pub use crate::elementwise::math::*;
    pub use crate::elementwise::walk::Kernel;
}

/// Functions of f64 one number at a time.
pub mod math64 {
    pub use crate::elementwise::math64::*;
}

pub mod norm {
    /// An affine function's value.
    pub fn affine(f: crate::norm::Affine<f64>, x: f64) -> f64 {
        f.of(x)
    }
}

pub mod parallel {
    use crate::parallel;
    use std::time::Duration;

    /// How long an idle worker spins before it sleeps.
    pub const SPIN: Duration = parallel::SPIN;

    /// Workers started so far.
    pub fn workers() -> usize {
        parallel::workers()
    }
}

pub mod philox {
    use crate::random::Philox;
    pub use crate::random::philox::{LANES, lanes};

    /// Words `4 * first ..` of a stream; the length is a multiple of 4.
    pub fn words(philox: Philox, first: u64, stream: u32, out: &mut [u32]) {
        philox.words(first, stream, out);
    }
}

pub mod random {
    use crate::random;

    /// ln u of normal positive u.
    pub fn log(u: f32) -> f32 {
        random::log(u)
    }

    /// Of the angle that 2^-32 of a turn, `turn` times, makes.
    pub fn sin_cos(turn: u32) -> (f32, f32) {
        random::sin_cos(turn)
    }
}

pub mod real {
    pub use crate::reduce::real::{exp_f64, ln_f64};
}

pub mod rows {
    use crate::elementwise::rows;

    /// Copies `rows` rows of `n` bytes that lie `steps` apart, of the source and of the result.
    ///
    /// # Safety
    /// The rows lie in live memory, and overlap none of the others.
    pub unsafe fn copy_rows(from: *const u8, to: *mut u8, rows: usize, n: usize, steps: [isize; 2]) {
        rows::copy_rows(from, to, rows, n, steps);
    }

    /// Copies the rows of `n` bytes that begin at `offsets` to rows `step` apart; may ask for the lines of the result.
    ///
    /// # Safety
    /// As for [`copy_rows`].
    pub unsafe fn copy_rows_at(from: *const u8, offsets: &[isize], to: *mut u8, step: isize, n: usize, asks: bool) {
        rows::copy_rows_at(from, offsets, to, step, n, asks);
    }
}

pub mod scratch {
    pub use crate::scratch::with;
}

pub mod softmax {
    use crate::softmax::row::{self, Soft};
    use crate::softmax::wave::in_waves;

    in_waves! {
        fn of<T: Soft>(l: L; x: &[T]) -> [T; 2] {
            [row::sum(l, x, x), row::top(l, x)]
        }
    }

    /// The sum and the maximum of a row.
    pub fn sum_and_top(x: &[f32]) -> [f32; 2] {
        of(x)
    }
}

pub mod special {
    pub use crate::elementwise::special::{digamma, i0, i1e, igamma, igammac, lgamma};
    pub use crate::elementwise::special::{log_ndtr, ndtri, polygamma, zeta};
}

/// Strides of dense images: of the input and of the output.
fn dense_images(s: &crate::conv::ConvShape) -> [[isize; 5]; 2] {
    [(s.c_in, s.input), (s.c_out, s.output)].map(|(channels, size)| {
        let [depth, high, wide] = size.map(|n| n as isize);
        let plane = high * wide;
        [channels as isize * depth * plane, depth * plane, plane, wide, 1]
    })
}

/// Which convolutions leave out what taps see of the padding.
pub mod bands {
    use crate::conv::ConvShape;
    use crate::conv::bands::Bands;
    use crate::conv::rectangles::Rectangles;
    use crate::conv::weight::Problem;

    /// Whether the forward pass, and whether the gradient of the weights, for dense images of f32 and but for what comes before.
    pub fn taken(s: &ConvShape) -> [bool; 2] {
        let ([input, output], channels) = (super::dense_images(s), [s.c_in, s.c_out].map(|c| c / s.groups));
        let problem = Problem::<f32> {
            count: s.n,
            groups: s.groups,
            rows: channels[1],
            channels: channels[0],
            x: std::ptr::null(),
            x_strides: input,
            gy: std::ptr::null(),
            gy_strides: output,
        };
        [
            Bands::of(&s.patches(), s.n, channels, input, output).is_some(),
            Rectangles::of(&s.patches(), &problem).is_some(),
        ]
    }
}

/// Which convolutions of small images are products for each tap and position.
pub mod small {
    use crate::conv::ConvShape;
    use crate::conv::small::Small;

    /// Whether the gradient of the input (from 16 images on the forward pass, too), and whether that of the weights, is made of
    /// such products, for dense images and but for what minimal filtering takes.
    pub fn taken(s: &ConvShape) -> [bool; 2] {
        let [input, output] = super::dense_images(s);
        [Small::of(s, input, output, true), Small::of_gradient(s, input, output)].map(|small| small.is_some())
    }
}

/// Which passes of f32 in dense memory have a form of minimal filtering.
pub mod winograd {
    use crate::conv::ConvShape;
    use crate::conv::winograd::{Dilated, Phases, Plan};

    const DENSE: [isize; 5] = [1; 5];

    fn phases(s: &ConvShape) -> Option<Phases> {
        Phases::of::<f32>(s, DENSE, DENSE)
    }

    /// Whether the forward pass is computed by a form.
    pub fn taken(s: &ConvShape) -> bool {
        let channels = [s.c_in, s.c_out].map(|c| c / s.groups);
        Plan::of(&s.patches()).is_some_and(|p| p.fills(channels[0]) && p.takes::<f32>(s.n, channels, DENSE, DENSE))
    }

    /// Whether the gradient of the input with stride two is computed by a form.
    pub fn doubled(s: &ConvShape) -> bool {
        let channels = [s.c_out, s.c_in].map(|c| c / s.groups);
        Plan::doubling(s).is_some_and(|p| p.fills(channels[0]) && p.takes::<f32>(s.n, channels, DENSE, DENSE))
    }

    /// Whether a stride of two is computed as four times the channels.
    pub fn apart(s: &ConvShape) -> bool {
        phases(s).is_some()
    }

    /// Whether taps that lie apart are computed as smaller images.
    pub fn dilated(s: &ConvShape) -> bool {
        let channels = [s.c_in, s.c_out].map(|c| c / s.groups);
        Dilated::of::<f32>(&s.patches(), s.n, channels, DENSE, DENSE).is_some()
    }

    /// Whether a stride of two is computed with vectors across tiles.
    pub fn across(s: &ConvShape) -> bool {
        phases(s).is_some_and(|p| p.across(s))
    }

    /// So many bytes of planes at a time, before anything is computed that has several: how sums fall apart depends on it.
    pub fn planes_at_a_time(bytes: usize) {
        crate::conv::winograd::set_some(bytes);
    }
}
