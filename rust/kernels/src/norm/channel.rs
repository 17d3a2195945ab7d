//! What batch norm and group norm share: a scale and a shift per channel.
//!
//! Forward, each element is `x * a + b` with one fused multiply-add: `a = weight / sqrt(var + eps)` and `b = bias - mean * a`
//! ([`scale_and_shift`]), computed in float64 per channel and rounded once each. What is folded into other kernels relies on
//! that.

use super::sweep::{Across, Blend, HasSweeps, Rows, Runs, Sweeps};
use crate::parallel;
use crate::reduce::real::Real;
use crate::reduce::walk::{Share, Walk, collect, grain};
use crate::simd::cache::exceeds;
use crate::simd::sweep::fence;
use crate::view::{AnySrc, Dst, Src};

/// Per channel: `y = slope * x + shift`, or `y = gain * g + slope * (x - center) + shift`.
pub(super) struct Coefficients<T> {
    pub gain: Vec<T>,
    pub slope: Vec<T>,
    pub center: Vec<T>,
    pub shift: Vec<T>,
}

impl<T: Real> Coefficients<T> {
    pub(super) fn new(channels: usize) -> Self {
        let zeros = || vec![T::ZERO; channels];
        Self {
            gain: zeros(),
            slope: zeros(),
            center: zeros(),
            shift: zeros(),
        }
    }

    pub(super) fn set(&mut self, i: usize, k: Blend<T>) {
        (self.gain[i], self.slope[i], self.center[i], self.shift[i]) = (k.gain, k.slope, k.center, k.shift);
    }
}

pub(super) fn list<T: Real>(src: Option<AnySrc>) -> Option<Vec<T>> {
    src.map(|s| collect(&s.typed()))
}

pub(super) fn put<T: Copy>(values: &[T], dst: &Dst<T>) {
    let walk = Walk::<1>::of(dst.shape(), [dst.strides()]);
    // SAFETY: the walk stays inside the view.
    walk.each(0..walk.count().min(values.len()), |i, [at]| unsafe {
        *dst.ptr().offset(at) = values[i]
    });
}

/// `1 / sqrt(var + eps)`
pub(super) fn inverse<T: Real>(var: T, eps: f64) -> f64 {
    1.0 / (var.to_f64() + eps).sqrt()
}

/// The factor and the summand of channel `i`.
pub(super) fn scale_and_shift<T: Real>(
    weight: Option<&[T]>,
    bias: Option<&[T]>,
    i: usize,
    mean: f64,
    rstd: f64,
) -> (T, T) {
    let a = T::from_f64(rstd * weight.map_or(1.0, |w| w[i].to_f64()));
    let b = bias.map_or(0.0, |b| b[i].to_f64()) - mean * a.to_f64();
    (a, T::from_f64(b))
}

/// The last dim of all views is contiguous, and not of size 1.
pub(super) fn lines(shape: &[usize], strides: &[&[isize]]) -> bool {
    let last = shape.len() - 1;
    shape[last] > 1 && strides.iter().all(|s| s[last] == 1)
}

/// Channel `i` of views `[n, c, s]`.
pub(super) fn channel<T>(x: &Src<T>, g: Option<&Src<T>>, y: &Dst<T>, i: usize) -> Runs<T> {
    let i = i as isize;
    let g = g.unwrap_or(x);
    Runs {
        x: x.ptr().wrapping_offset(i * x.strides()[1]),
        g: g.ptr().wrapping_offset(i * g.strides()[1]),
        y: y.ptr().wrapping_offset(i * y.strides()[1]),
        steps: [x.strides()[0], g.strides()[0], y.strides()[0]],
        count: x.shape()[0],
        len: x.shape()[2],
        past: past(y),
    }
}

/// Whether a result is stored past the caches: where it would not stay in them.
pub(super) fn past<T>(y: &Dst<T>) -> bool {
    exceeds(y.numel() * size_of::<T>())
}

/// Mean, variance, and the reciprocal of the deviation.
///
/// # Safety
/// The runs of x lie in live memory.
pub(super) unsafe fn moments<T: HasSweeps>(sweeps: &Sweeps<T>, runs: &Runs<T>, eps: f64) -> [f64; 3] {
    // SAFETY: the caller's promise.
    let [mean, var] = unsafe { (sweeps.moments)(runs) };
    [mean, var, 1.0 / (var + eps).sqrt()]
}

/// What [`Coefficients`] says, with those of row r modulo their number, a row being all dims but the last.
pub(super) fn apply<T: HasSweeps>(x: &Src<T>, g: Option<&Src<T>>, y: &Dst<T>, k: &Coefficients<T>) {
    let rank = x.rank();
    let s = x.shape()[rank - 1];
    let g_view = g.unwrap_or(x);
    if x.numel() == 0 {
        return;
    }
    let strides = [x.strides(), g_view.strides(), y.strides()];
    let step = strides.map(|t| t[rank - 1]);
    let (wide, channels, two) = (x.shape()[rank - 2], k.slope.len(), g.is_some());
    let (from, grad, to) = (
        Share::new(x.ptr().cast_mut()),
        Share::new(g_view.ptr().cast_mut()),
        Share::new(y.ptr()),
    );
    let (sweeps, past) = (T::sweeps(), past(y));
    if s == 1 && strides.map(|t| t[rank - 2]) == [1; 3] && channels.is_multiple_of(wide) {
        // One element per channel: rows run over the channels.
        let rows = Walk::of(&x.shape()[..rank - 2], strides.map(|t| &t[..rank - 2]));
        return parallel::for_range(rows.count(), grain(wide), |range| {
            for r in range {
                let at = rows.at(r);
                let list = |v: &[T]| v[r * wide % channels..][..wide].as_ptr();
                let row = Across {
                    x: from.get().wrapping_offset(at[0]),
                    g: grad.get().wrapping_offset(at[1]),
                    y: to.get().wrapping_offset(at[2]),
                    k: [
                        if two { list(&k.gain) } else { std::ptr::null() },
                        list(&k.slope),
                        list(&k.center),
                        list(&k.shift),
                    ],
                    len: wide,
                };
                // SAFETY: a row of the walk, contiguous in all views.
                unsafe { (sweeps.across)(&row) };
            }
        });
    }
    let rows = Walk::of(&x.shape()[..rank - 1], strides.map(|t| &t[..rank - 1]));
    if !two && x.is_contiguous() && y.is_contiguous() {
        return parallel::for_range(rows.count(), grain(s), |range| {
            let part = Rows {
                x: from.get().wrapping_add(range.start * s),
                y: to.get().wrapping_add(range.start * s),
                rows: range.len(),
                len: s,
                a: k.slope.as_ptr(),
                b: k.shift.as_ptr(),
                channels,
                first: range.start % channels,
                past,
            };
            // SAFETY: a part of both, which is this thread's.
            unsafe { (sweeps.scale_rows)(&part) };
            fence(past);
        });
    }
    parallel::for_range(rows.count(), grain(s), |range| {
        for r in range {
            let (at, c) = (rows.at(r), r % channels);
            let runs = Runs {
                x: from.get().wrapping_offset(at[0]),
                g: grad.get().wrapping_offset(at[1]),
                y: to.get().wrapping_offset(at[2]),
                steps: step,
                // Elements that do not follow each other are runs of one.
                count: if step == [1; 3] { 1 } else { s },
                len: if step == [1; 3] { s } else { 1 },
                past: past && step == [1; 3],
            };
            let blend = Blend {
                gain: k.gain[c],
                slope: k.slope[c],
                center: k.center[c],
                shift: k.shift[c],
            };
            // SAFETY: a row of the walk.
            unsafe {
                if two {
                    (sweeps.blend)(&runs, &blend);
                } else {
                    (sweeps.scale)(&runs, blend.slope, blend.shift);
                }
            }
        }
        fence(past);
    });
}
