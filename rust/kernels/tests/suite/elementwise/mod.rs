//! Elementwise kernels against plain loops in double precision: how near functions come, what edges give, and every kind of
//! layout.

mod accuracy;
mod convert;
mod division;
mod edges;
mod layouts;
#[cfg(target_arch = "x86_64")]
mod math;
mod narrow;
mod ramp;
mod rows;
mod same_bits;
mod special;

use firesteel_kernels::dtype::{DType, Element, Scalar};
use firesteel_kernels::elementwise::*;
use firesteel_kernels::{AnyDst, AnySrc};

fn src<'a, T: Element>(data: &'a [T], offset: usize, shape: &[usize], strides: &[isize]) -> AnySrc<'a> {
    // SAFETY: the tests' strides stay inside their data.
    unsafe { AnySrc::new(data.as_ptr().add(offset).cast(), T::DTYPE, shape, strides) }
}

fn dst<'a, T: Element>(data: &'a mut [T], shape: &[usize], strides: &[isize]) -> AnyDst<'a> {
    // SAFETY: as above.
    unsafe { AnyDst::new(data.as_mut_ptr().cast(), T::DTYPE, shape, strides) }
}

fn flat<T: Element>(data: &[T]) -> AnySrc<'_> {
    src(data, 0, &[data.len()], &[1])
}

fn flat_mut<T: Element>(data: &mut [T]) -> AnyDst<'_> {
    let n = data.len();
    dst(data, &[n], &[1])
}

fn apply1<T: Element, R: Element>(op: Unary, data: &[T]) -> Vec<R> {
    let mut out = vec![R::default(); data.len()];
    unary(op, T::DTYPE.compute(), Operand::View(flat(data)), flat_mut(&mut out));
    out
}

fn apply2<T: Element, R: Element>(op: Binary, a: &[T], b: &[T]) -> Vec<R> {
    let mut out = vec![R::default(); a.len()];
    binary(
        op,
        T::DTYPE.compute(),
        Operand::View(flat(a)),
        Operand::View(flat(b)),
        flat_mut(&mut out),
    );
    out
}

/// Distance in units of the last place of f32, the reference in double precision.
fn ulps(got: f32, want: f64) -> f64 {
    let w = want as f32;
    if got == w || (got.is_nan() && w.is_nan()) {
        return 0.0;
    }
    if !got.is_finite() || !w.is_finite() {
        return f64::INFINITY;
    }
    let unit = (w.abs().max(f32::MIN_POSITIVE).to_bits() & 0x7f80_0000).max(0x0080_0000);
    (got as f64 - want).abs() / (f32::from_bits(unit) as f64 / 8_388_608.0)
}
