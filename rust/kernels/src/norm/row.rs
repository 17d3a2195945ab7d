//! Layer norm and RMS norm: each row of a matrix by its own statistics.

use super::by_float;
use super::sweep::{HasSweeps, RowGrad, RowNorm, row_ahead};
use crate::parallel;
use crate::reduce::real::Real;
use crate::reduce::walk::{Share, collect, grain, line, view_of};
use crate::reduce::{Fold, fold, sum_fold};
use crate::scratch;
use crate::view::{AnyDst, AnySrc, Dst, Src};
use std::ops::Range;

/// Rows that one call takes, and whose share of a weight's gradient is added up in one go.
const ROWS: usize = 32;

/// `y = (x - mean) * rstd * weight + bias` by rows of `x` `[outer, inner]`; `weight` and `bias` are `[inner]`, `mean` and
/// `rstd` `[outer]`.
pub fn layer_norm_forward(
    x: AnySrc,
    weight: Option<AnySrc>,
    bias: Option<AnySrc>,
    eps: f64,
    y: AnyDst,
    mean: AnyDst,
    rstd: AnyDst,
) {
    by_float!(x.dtype(), T => {
        let (w, b) = (weight.map(|w| collect(&w.typed::<T>())), bias.map(|b| collect(&b.typed::<T>())));
        forward::<T>(&x.typed(), w, b, eps, &y.typed(), Some(&mean.typed()), &rstd.typed())
    });
}

/// `y = x * rstd * weight` with rstd = 1 / sqrt(mean of x^2 + eps), by rows.
pub fn rms_norm_forward(x: AnySrc, weight: Option<AnySrc>, eps: f64, y: AnyDst, rstd: AnyDst) {
    by_float!(x.dtype(), T => {
        let w = weight.map(|w| collect(&w.typed::<T>()));
        forward::<T>(&x.typed(), w, None, eps, &y.typed(), None, &rstd.typed())
    });
}

/// The gradients of [`layer_norm_forward`] that are asked for.
pub fn layer_norm_backward(
    gy: AnySrc,
    x: AnySrc,
    mean: AnySrc,
    rstd: AnySrc,
    weight: Option<AnySrc>,
    gx: Option<AnyDst>,
    gweight: Option<AnyDst>,
    gbias: Option<AnyDst>,
) {
    by_float!(x.dtype(), T => {
        let w = weight.map(|w| collect(&w.typed::<T>()));
        let (gy, mean) = (gy.typed::<T>(), collect(&mean.typed::<T>()));
        let [gx, gw, gb] = [gx, gweight, gbias].map(|g| g.map(|g| g.typed()));
        backward::<T>(&gy, &x.typed(), Some(mean), &rstd.typed(), w, gx, gw, gb);
    });
}

/// The gradients of [`rms_norm_forward`] that are asked for.
pub fn rms_norm_backward(
    gy: AnySrc,
    x: AnySrc,
    rstd: AnySrc,
    weight: Option<AnySrc>,
    gx: Option<AnyDst>,
    gweight: Option<AnyDst>,
) {
    by_float!(x.dtype(), T => {
        let w = weight.map(|w| collect(&w.typed::<T>()));
        let gy = gy.typed::<T>();
        backward::<T>(&gy, &x.typed(), None, &rstd.typed(), w, gx.map(|g| g.typed()), gweight.map(|g| g.typed()), None)
    });
}

/// Sums the rows of `[outer, inner]` into `[inner]`.
fn columns<T: Real, F: Fold<In = T, Out = T>>(f: F, src: &Src<T>, dst: &Dst<T>) {
    // SAFETY: the same memory with a dim of size 1 in front.
    let dst = unsafe { Dst::new(dst.ptr(), &[1, dst.shape()[0]], &[0, dst.strides()[0]]) };
    fold(f, src, src, &[true, false], None, &dst);
}

fn forward<T: HasSweeps>(
    x: &Src<T>,
    weight: Option<Vec<T>>,
    bias: Option<Vec<T>>,
    eps: f64,
    y: &Dst<T>,
    mean: Option<&Dst<T>>,
    rstd: &Dst<T>,
) {
    let (outer, inner) = (x.shape()[0], x.shape()[1]);
    let [sr, sc] = [x.strides()[0], x.strides()[1]];
    let [yr, yc] = [y.strides()[0], y.strides()[1]];
    let (out, r_out) = (Share::new(y.ptr()), Share::new(rstd.ptr()));
    let m_out = mean.map(|m| (Share::new(m.ptr()), m.strides()[0]));
    let rs = rstd.strides()[0];
    let kernel = T::sweeps().norm_rows;
    let null = std::ptr::null();
    let list = |v: &Option<Vec<T>>| Share::new(v.as_ref().map_or(null, |v| v.as_ptr()).cast_mut());
    let (weight, bias) = (list(&weight), list(&bias));
    parallel::for_range(outer, grain(4 * inner), |range| {
        let mut keep = Vec::new();
        let mut scratch = if yc == 1 { Vec::new() } else { vec![T::ZERO; inner] };
        let (mut means, mut rstds) = ([T::ZERO; ROWS], [T::ZERO; ROWS]);
        // Rows that must be copied go one by one.
        let count = if sc == 1 && yc == 1 { ROWS } else { 1 };
        for first in range.clone().step_by(count) {
            let (i, rows) = (first as isize, count.min(range.end - first));
            // SAFETY: rows from `first` on of each view.
            unsafe {
                let to = out.get().offset(i * yr);
                kernel(&RowNorm {
                    x: line(x.ptr().offset(i * sr), inner, sc, &mut keep).as_ptr(),
                    y: if yc == 1 { to } else { scratch.as_mut_ptr() },
                    weight: weight.get(),
                    bias: bias.get(),
                    eps,
                    center: m_out.is_some(),
                    rows,
                    len: inner,
                    steps: [sr, yr],
                    mean: means.as_mut_ptr(),
                    rstd: rstds.as_mut_ptr(),
                });
                for k in 0..rows {
                    let at = (first + k) as isize;
                    *r_out.get().offset(at * rs) = rstds[k];
                    if let Some((p, step)) = &m_out {
                        *p.get().offset(at * step) = means[k];
                    }
                }
                for (j, &v) in scratch.iter().enumerate() {
                    *to.offset(j as isize * yc) = v;
                }
            }
        }
    });
}

fn backward<T: HasSweeps>(
    gy: &Src<T>,
    x: &Src<T>,
    mean: Option<Vec<T>>,
    rstd: &Src<T>,
    weight: Option<Vec<T>>,
    gx: Option<Dst<T>>,
    gweight: Option<Dst<T>>,
    gbias: Option<Dst<T>>,
) {
    let (outer, inner) = (x.shape()[0], x.shape()[1]);
    let rstd = collect(rstd);
    let blocks = outer.div_ceil(ROWS);
    let job = Job {
        gy,
        x,
        mean: mean.as_deref(),
        rstd: &rstd,
        weight: weight.as_deref(),
    };
    // Shares of the weight's gradient, then of the bias'.
    let room = [gweight.is_some(), gbias.is_some()].map(|wanted| if wanted { blocks * inner } else { 0 });
    scratch::with::<T, _>(room[0] + room[1], |sums| {
        let (weights, biases) = sums.split_at_mut(room[0]);
        let shares = [weights, biases].map(|s| (!s.is_empty()).then_some(Share::new(s.as_mut_ptr())));
        parallel::for_range(blocks, grain(8 * ROWS * inner), |range| {
            for b in range {
                let rows = b * ROWS..outer.min(b * ROWS + ROWS);
                let parts = shares.map(|s| {
                    s.map_or(std::ptr::null_mut(), |s| {
                        // SAFETY: part b is this thread's own.
                        let part = unsafe { std::slice::from_raw_parts_mut(s.at(b * inner), inner) };
                        part.fill(T::ZERO);
                        part.as_mut_ptr()
                    })
                });
                job.block(rows, inner, gx.as_ref(), parts);
            }
        });
        let (weights, biases) = sums.split_at(room[0]);
        for (parts, to) in [(weights, gweight), (biases, gbias)] {
            if let Some(to) = to {
                columns(sum_fold(), &view_of(parts, &[blocks, inner]), &to);
            }
        }
    });
}

struct Job<'a, T> {
    gy: &'a Src<'a, T>,
    x: &'a Src<'a, T>,
    mean: Option<&'a [T]>,
    rstd: &'a [T],
    weight: Option<&'a [T]>,
}

impl<T: HasSweeps> Job<'_, T> {
    /// The gradients of some rows; their shares of the weight's and the bias' are added to `parts`, if these are not null.
    fn block(&self, rows: Range<usize>, inner: usize, gx: Option<&Dst<T>>, [gweight, gbias]: [*mut T; 2]) {
        let (mut keep_g, mut keep_x) = (Vec::new(), Vec::new());
        let dense = gx.is_none_or(|g| g.strides()[1] == 1);
        // Rows that must be copied go one by one.
        let straight = dense && self.gy.strides()[1] == 1 && self.x.strides()[1] == 1;
        let count = if straight { rows.len() } else { 1 };
        let mut scratch = vec![T::ZERO; if dense { 0 } else { inner }];
        for r in rows.step_by(count.max(1)) {
            let i = r as isize;
            let to = gx.map_or(std::ptr::null_mut(), |g| g.ptr().wrapping_offset(i * g.strides()[0]));
            // SAFETY: rows from r on of each view.
            unsafe {
                let view =
                    |v: &Src<T>, keep| line(v.ptr().offset(i * v.strides()[0]), inner, v.strides()[1], keep).as_ptr();
                (T::sweeps().grad_rows)(&RowGrad {
                    g: view(self.gy, &mut keep_g),
                    x: view(self.x, &mut keep_x),
                    weight: self.weight.map_or(std::ptr::null(), |w| w.as_ptr()),
                    mean: self.mean.map_or(std::ptr::null(), |m| m[r..].as_ptr()),
                    rstd: self.rstd[r..].as_ptr(),
                    rows: count,
                    len: inner,
                    steps: [
                        self.gy.strides()[0],
                        self.x.strides()[0],
                        gx.map_or(0, |g| g.strides()[0]),
                    ],
                    gx: if dense { to } else { scratch.as_mut_ptr() },
                    gweight,
                    gbias,
                    ahead: row_ahead(),
                });
                if let Some(gx) = gx {
                    for (j, &v) in scratch.iter().enumerate() {
                        *to.offset(j as isize * gx.strides()[1]) = v;
                    }
                }
            }
        }
    }
}
