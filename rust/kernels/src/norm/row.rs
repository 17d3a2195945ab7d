//! Layer norm and RMS norm: each row of a matrix by its own statistics.

use super::by_float;
use crate::multiversion;
use crate::parallel;
use crate::reduce::lanes::lane_sum;
use crate::reduce::real::Real;
use crate::reduce::walk::{Share, collect, grain, line, view_of};
use crate::reduce::{Fold, fold, sum_fold};
use crate::view::{AnyDst, AnySrc, Dst, Src};
use std::ops::Range;

/// Rows whose share of a weight's gradient is added up in one go.
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
        backward::<T>(&gy, &x.typed(), Some(mean), &rstd.typed(), w, gx.map(|g| g.typed()), gweight.map(|g| g.typed()));
        if let Some(gb) = gbias {
            columns(sum_fold(), &gy, &gb.typed());
        }
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
        backward::<T>(&gy, &x.typed(), None, &rstd.typed(), w, gx.map(|g| g.typed()), gweight.map(|g| g.typed()))
    });
}

/// Sums the rows of `[outer, inner]` into `[inner]`.
fn columns<T: Real, F: Fold<In = T, Out = T>>(f: F, src: &Src<T>, dst: &Dst<T>) {
    // SAFETY: the same memory with a dim of size 1 in front.
    let dst = unsafe { Dst::new(dst.ptr(), &[1, dst.shape()[0]], &[0, dst.strides()[0]]) };
    fold(f, src, src, &[true, false], None, &dst);
}

fn forward<T: Real>(
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
    let eps = T::from_f64(eps);
    parallel::for_range(outer, grain(4 * inner), |range| {
        let mut keep = Vec::new();
        let mut scratch = if yc == 1 { Vec::new() } else { vec![T::ZERO; inner] };
        for r in range {
            let i = r as isize;
            // SAFETY: row r of each view.
            unsafe {
                let row = line(x.ptr().offset(i * sr), inner, sc, &mut keep);
                let to = out.get().offset(i * yr);
                let target = if yc == 1 {
                    std::slice::from_raw_parts_mut(to, inner)
                } else {
                    &mut scratch[..]
                };
                let (m, s) = norm_row(row, weight.as_deref(), bias.as_deref(), eps, m_out.is_some(), target);
                *r_out.get().offset(i * rs) = s;
                if let Some((p, step)) = &m_out {
                    *p.get().offset(i * step) = m;
                }
                if yc != 1 {
                    for (j, &v) in scratch.iter().enumerate() {
                        *to.offset(j as isize * yc) = v;
                    }
                }
            }
        }
    });
}

multiversion! {
    /// Normalises one row; returns its mean (0 where it is not centred) and the reciprocal of its deviation.
    fn norm_row<T: Real>(x: &[T], w: Option<&[T]>, b: Option<&[T]>, eps: T, center: bool, y: &mut [T]) -> (T, T) {
        let n = y.len();
        let x = &x[..n];
        let count = T::from_f64(n as f64);
        let m = if center { lane_sum(x, x, |x, _| x) / count } else { T::ZERO };
        let square = lane_sum(x, x, |x, _| (x - m) * (x - m)) / count;
        let s = T::ONE / (square + eps).root();
        match (w, b) {
            (Some(w), Some(b)) => {
                let (w, b) = (&w[..n], &b[..n]);
                for i in 0..n {
                    y[i] = ((x[i] - m) * s).fma(w[i], b[i]);
                }
            }
            (Some(w), None) => {
                let w = &w[..n];
                for i in 0..n {
                    y[i] = (x[i] - m) * s * w[i];
                }
            }
            (None, b) => {
                for i in 0..n {
                    y[i] = (x[i] - m) * s;
                }
                if let Some(b) = b {
                    for i in 0..n {
                        y[i] = y[i] + b[i];
                    }
                }
            }
        }
        (m, s)
    }
}

fn backward<T: Real>(
    gy: &Src<T>,
    x: &Src<T>,
    mean: Option<Vec<T>>,
    rstd: &Src<T>,
    weight: Option<Vec<T>>,
    gx: Option<Dst<T>>,
    gweight: Option<Dst<T>>,
) {
    let (outer, inner) = (x.shape()[0], x.shape()[1]);
    let rstd = collect(rstd);
    let blocks = outer.div_ceil(ROWS);
    let mut parts = vec![T::ZERO; if gweight.is_some() { blocks * inner } else { 0 }];
    let share = Share::new(parts.as_mut_ptr());
    let job = Job {
        gy,
        x,
        mean: mean.as_deref(),
        rstd: &rstd,
        weight: weight.as_deref(),
    };
    parallel::for_range(blocks, grain(8 * ROWS * inner), |range| {
        for b in range {
            let rows = b * ROWS..outer.min(b * ROWS + ROWS);
            // SAFETY: part b is this thread's own.
            let part = gweight
                .as_ref()
                .map(|_| unsafe { std::slice::from_raw_parts_mut(share.at(b * inner), inner) });
            job.block(rows, inner, gx.as_ref(), part);
        }
    });
    if let Some(gw) = gweight {
        columns(sum_fold(), &view_of(&parts, &[blocks, inner]), &gw);
    }
}

struct Job<'a, T> {
    gy: &'a Src<'a, T>,
    x: &'a Src<'a, T>,
    mean: Option<&'a [T]>,
    rstd: &'a [T],
    weight: Option<&'a [T]>,
}

impl<T: Real> Job<'_, T> {
    /// The gradients of some rows; their share of the weight's gradient is added to `part`.
    fn block(&self, rows: Range<usize>, inner: usize, gx: Option<&Dst<T>>, mut part: Option<&mut [T]>) {
        let (mut keep_g, mut keep_x) = (Vec::new(), Vec::new());
        let mut scratch = vec![T::ZERO; inner];
        for r in rows {
            let i = r as isize;
            let (m, s) = (self.mean.map_or(T::ZERO, |m| m[r]), self.rstd[r]);
            // SAFETY: row r of each view.
            let (g, x) = unsafe {
                (
                    line(
                        self.gy.ptr().offset(i * self.gy.strides()[0]),
                        inner,
                        self.gy.strides()[1],
                        &mut keep_g,
                    ),
                    line(
                        self.x.ptr().offset(i * self.x.strides()[0]),
                        inner,
                        self.x.strides()[1],
                        &mut keep_x,
                    ),
                )
            };
            if let Some(part) = &mut part {
                add_weight(g, x, m, s, part);
            }
            if let Some(gx) = gx {
                let (to, step) = (gx.ptr().wrapping_offset(i * gx.strides()[0]), gx.strides()[1]);
                grad_row(g, x, m, s, self.weight, self.mean.is_some(), &mut scratch);
                for (j, &v) in scratch.iter().enumerate() {
                    // SAFETY: row r of `gx`.
                    unsafe { *to.offset(j as isize * step) = v };
                }
            }
        }
    }
}

multiversion! {
    fn add_weight<T: Real>(g: &[T], x: &[T], m: T, s: T, part: &mut [T]) {
        let n = part.len();
        let (g, x) = (&g[..n], &x[..n]);
        for i in 0..n {
            part[i] = g[i].fma((x[i] - m) * s, part[i]);
        }
    }
}

multiversion! {
    fn grad_row<T: Real>(g: &[T], x: &[T], m: T, s: T, w: Option<&[T]>, center: bool, y: &mut [T]) {
        let n = y.len();
        let (g, x) = (&g[..n], &x[..n]);
        match w {
            Some(w) => {
                let w = &w[..n];
                for i in 0..n {
                    y[i] = g[i] * w[i];
                }
            }
            None => y.copy_from_slice(g),
        }
        let count = T::from_f64(n as f64);
        let a = if center { lane_sum(y, y, |y, _| y) / count } else { T::ZERO };
        // y minus its mean minus its share along the normalised row.
        let b = lane_sum(y, x, |y, x| y * (x - m)) / count * s * s;
        for i in 0..n {
            y[i] = ((y[i] - a) - (x[i] - m) * b) * s;
        }
    }
}
