//! Batch norm and group norm: a scale and a shift per channel of `[n, c, s]`.

use super::by_float;
use crate::dtype::Element;
use crate::multiversion;
use crate::parallel;
use crate::reduce::real::Real;
use crate::reduce::walk::{Walk, collect, grain, view_mut, view_of};
use crate::reduce::{sum_and_dot, var_of};
use crate::view::{AnyDst, AnySrc, Dst, Src};
use std::ops::Range;

/// Per channel: `y = gain * g + slope * (x - center) + shift`.
struct Coefficients<T> {
    gain: Vec<T>,
    slope: Vec<T>,
    center: Vec<T>,
    shift: Vec<T>,
}

impl<T: Real> Coefficients<T> {
    fn new(channels: usize) -> Self {
        let zeros = || vec![T::ZERO; channels];
        Self {
            gain: zeros(),
            slope: zeros(),
            center: zeros(),
            shift: zeros(),
        }
    }
}

/// What batch norm outside training does to the elements of a channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine<T> {
    slope: T,
    center: T,
    shift: T,
}

#[allow(private_bounds, reason = "the trait lists what kernels need of f32 and f64")]
impl<T: Real> Affine<T> {
    #[inline(always)]
    pub(crate) fn of(self, x: T) -> T {
        self.slope.fma(x - self.center, self.shift)
    }
}

/// The functions that [`batch_norm_eval`] applies, one per channel.
#[allow(private_bounds, reason = "as above")]
pub fn batch_norm_affine<T: Real>(
    weight: Option<AnySrc>,
    bias: Option<AnySrc>,
    mean: AnySrc,
    var: AnySrc,
    eps: f64,
) -> Vec<Affine<T>> {
    let (w, b) = (list::<T>(weight), list::<T>(bias));
    let (mean, inv) = (collect(&mean.typed::<T>()), inverse(&collect(&var.typed::<T>()), eps));
    let one = |c: usize| Affine {
        slope: w.as_ref().map_or(inv[c], |w| inv[c] * w[c]),
        center: mean[c],
        shift: b.as_ref().map_or(T::ZERO, |b| b[c]),
    };
    (0..mean.len()).map(one).collect()
}

fn list<T: Real>(src: Option<AnySrc>) -> Option<Vec<T>> {
    src.map(|s| collect(&s.typed()))
}

fn put<T: Copy>(values: &[T], dst: &Dst<T>) {
    let walk = Walk::<1>::of(dst.shape(), [dst.strides()]);
    // SAFETY: the walk stays inside the view.
    walk.each(0..walk.count().min(values.len()), |i, [at]| unsafe {
        *dst.ptr().offset(at) = values[i]
    });
}

/// Normalises `x` `[n, c, s]` by its own mean and biased variance per channel; gives both and `invstd`
/// = 1 / sqrt(var + eps), `[c]` each, for the backward pass and [`running_stats`].
pub fn batch_norm_train(
    x: AnySrc,
    weight: Option<AnySrc>,
    bias: Option<AnySrc>,
    eps: f64,
    y: AnyDst,
    mean: AnyDst,
    invstd: AnyDst,
    var: Option<AnyDst>,
) {
    by_float!(x.dtype(), T => {
        let x = x.typed::<T>();
        let c = x.shape()[1];
        let (mut m, mut v) = (vec![T::ZERO; c], vec![T::ZERO; c]);
        let shape = [1, c, 1];
        var_of(&x, &[true, false, true], 0.0, false, Some(&view_mut(&mut m, &shape)), &view_mut(&mut v, &shape));
        if let Some(var) = var {
            put(&v, &var.typed());
        }
        let inv = inverse(&v, eps);
        put(&m, &mean.typed());
        put(&inv, &invstd.typed());
        normalise::<T>(&x, list(weight), list(bias), m, inv, &y.typed());
    });
}

/// Normalises by given statistics, such as the running ones.
pub fn batch_norm_eval(
    x: AnySrc,
    weight: Option<AnySrc>,
    bias: Option<AnySrc>,
    mean: AnySrc,
    var: AnySrc,
    eps: f64,
    y: AnyDst,
) {
    by_float!(x.dtype(), T => {
        let inv = inverse(&collect(&var.typed::<T>()), eps);
        normalise::<T>(&x.typed(), list(weight), list(bias), collect(&mean.typed()), inv, &y.typed())
    });
}

fn inverse<T: Real>(var: &[T], eps: f64) -> Vec<T> {
    let eps = T::from_f64(eps);
    var.iter().map(|&v| T::ONE / (v + eps).root()).collect()
}

fn normalise<T: Real>(x: &Src<T>, w: Option<Vec<T>>, b: Option<Vec<T>>, mean: Vec<T>, inv: Vec<T>, y: &Dst<T>) {
    let c = mean.len();
    let mut k = Coefficients::new(c);
    k.center = mean;
    k.slope = match w {
        Some(w) => inv.iter().zip(w).map(|(&i, w)| i * w).collect(),
        None => inv,
    };
    if let Some(b) = b {
        k.shift = b;
    }
    apply(x, None, y, &k);
}

/// `running = (1 - momentum) * running + momentum * batch`, the variance made unbiased with `count` = n * s.
pub fn running_stats(
    mean: AnySrc,
    var: AnySrc,
    count: usize,
    momentum: f64,
    running_mean: AnyDst,
    running_var: AnyDst,
) {
    let unbias = count as f64 / (count as f64 - 1.0);
    by_float!(mean.dtype(), T => {
        for (batch, running, factor) in [(mean, running_mean, 1.0), (var, running_var, unbias)] {
            let old = collect(&running.as_src().typed::<T>());
            let new: Vec<T> = collect(&batch.typed::<T>())
                .into_iter()
                .zip(old)
                .map(|(b, o)| T::from_f64((1.0 - momentum) * o.to_f64() + momentum * (b.to_f64() * factor)))
                .collect();
            put(&new, &running.typed());
        }
    });
}

/// The gradients that are asked for; `mean` and `invstd` are those the forward pass used. When not `training` they are
/// constants.
pub fn batch_norm_backward(
    gy: AnySrc,
    x: AnySrc,
    weight: Option<AnySrc>,
    mean: AnySrc,
    invstd: AnySrc,
    training: bool,
    gx: Option<AnyDst>,
    gweight: Option<AnyDst>,
    gbias: Option<AnyDst>,
) {
    by_float!(x.dtype(), T => {
        let (gy, x) = (gy.typed::<T>(), x.typed::<T>());
        let c = x.shape()[1];
        let (mean, inv) = (collect(&mean.typed::<T>()), collect(&invstd.typed::<T>()));
        let (mut sum, mut dot) = (vec![T::ZERO; c], vec![T::ZERO; c]);
        let shape = [1, c, 1];
        if training || gweight.is_some() || gbias.is_some() {
            let (s, d) = (view_mut(&mut sum, &shape), view_mut(&mut dot, &shape));
            sum_and_dot(&gy, &x, &[true, false, true], &view_of(&mean, &shape), &s, &d);
        }
        if let Some(gb) = gbias {
            put(&sum, &gb.typed());
        }
        if let Some(gw) = gweight {
            let scaled: Vec<T> = dot.iter().zip(&inv).map(|(&d, &i)| d * i).collect();
            put(&scaled, &gw.typed());
        }
        if let Some(gx) = gx {
            let w = list::<T>(weight);
            let n = T::from_f64((x.shape()[0] * x.shape()[2]) as f64);
            let mut k = Coefficients::new(c);
            for i in 0..c {
                k.gain[i] = inv[i] * w.as_ref().map_or(1.0, |w| w[i]);
                if training {
                    k.slope[i] = -(k.gain[i] * (dot[i] / n) * inv[i] * inv[i]);
                    k.shift[i] = -(k.gain[i] * (sum[i] / n));
                }
            }
            k.center = mean;
            apply(&x, Some(&gy), &gx.typed(), &k);
        }
    });
}

/// Normalises `x` `[n, g, d, s]` over the last two dims; `weight` and `bias` are `[g * d]`, `mean` and `rstd` `[n, g]`.
pub fn group_norm_forward(
    x: AnySrc,
    weight: Option<AnySrc>,
    bias: Option<AnySrc>,
    eps: f64,
    y: AnyDst,
    mean: AnyDst,
    rstd: AnyDst,
) {
    by_float!(x.dtype(), T => {
        let x = x.typed::<T>();
        let [n, g, d, _] = four(x.shape());
        let (mut m, mut v) = (vec![T::ZERO; n * g], vec![T::ZERO; n * g]);
        let shape = [n, g, 1, 1];
        var_of(&x, &[false, false, true, true], 0.0, false, Some(&view_mut(&mut m, &shape)), &view_mut(&mut v, &shape));
        let inv = inverse(&v, eps);
        put(&m, &mean.typed());
        put(&inv, &rstd.typed());
        let (w, b) = (list::<T>(weight), list::<T>(bias));
        let mut k = Coefficients::<T>::new(n * g * d);
        for r in 0..n * g * d {
            let (group, channel) = (r / d, r % (g * d));
            k.center[r] = m[group];
            k.slope[r] = inv[group] * w.as_ref().map_or(1.0, |w| w[channel]);
            k.shift[r] = b.as_ref().map_or(0.0, |b| b[channel]);
        }
        apply(&x, None, &y.typed(), &k);
    });
}

/// The gradients of [`group_norm_forward`] that are asked for.
pub fn group_norm_backward(
    gy: AnySrc,
    x: AnySrc,
    weight: Option<AnySrc>,
    mean: AnySrc,
    rstd: AnySrc,
    gx: Option<AnyDst>,
    gweight: Option<AnyDst>,
    gbias: Option<AnyDst>,
) {
    by_float!(x.dtype(), T => {
        let (gy, x) = (gy.typed::<T>(), x.typed::<T>());
        let [n, g, d, s] = four(x.shape());
        let (mean, inv) = (collect(&mean.typed::<T>()), collect(&rstd.typed::<T>()));
        let rows = n * g * d;
        let (mut sum, mut dot) = (vec![T::ZERO; rows], vec![T::ZERO; rows]);
        // SAFETY: one mean per group, repeated over its channels.
        let center = unsafe { Src::new(mean.as_ptr(), &[n, g, d, 1], &[g as isize, 1, 0, 0]) };
        let shape = [n, g, d, 1];
        let axes = [false, false, false, true];
        sum_and_dot(&gy, &x, &axes, &center, &view_mut(&mut sum, &shape), &view_mut(&mut dot, &shape));
        let (mut gw, mut gb) = (vec![0.0; g * d], vec![0.0; g * d]);
        for r in 0..rows {
            gw[r % (g * d)] += dot[r] * inv[r / d];
            gb[r % (g * d)] += sum[r];
        }
        if let Some(to) = gweight {
            put(&gw, &to.typed::<T>());
        }
        if let Some(to) = gbias {
            put(&gb, &to.typed::<T>());
        }
        if let Some(gx) = gx {
            let w = list::<T>(weight);
            let count = (d * s) as T;
            let mut k = Coefficients::<T>::new(rows);
            for group in 0..n * g {
                let weight = |j: usize| w.as_ref().map_or(1.0, |w| w[(group * d + j) % (g * d)]);
                let i = inv[group];
                let (mut a, mut b) = (0.0, 0.0);
                for j in 0..d {
                    a += weight(j) * sum[group * d + j];
                    b += weight(j) * dot[group * d + j];
                }
                for j in 0..d {
                    let r = group * d + j;
                    k.gain[r] = weight(j) * i;
                    k.slope[r] = -(b / count * i * i * i);
                    k.shift[r] = -(a / count * i);
                    k.center[r] = mean[group];
                }
            }
            apply(&x, Some(&gy), &gx.typed(), &k);
        }
    });
}

fn four(shape: &[usize]) -> [usize; 4] {
    [shape[0], shape[1], shape[2], shape[3]]
}

/// `y = gain * g + slope * (x - center) + shift` with the coefficients of row r modulo their number, a row being all dims
/// but the last.
fn apply<T: Real>(x: &Src<T>, g: Option<&Src<T>>, y: &Dst<T>, k: &Coefficients<T>) {
    let rank = x.rank();
    let s = x.shape()[rank - 1];
    let g_view = g.unwrap_or(x);
    if x.numel() == 0 {
        return;
    }
    let strides = [x.strides(), g_view.strides(), y.strides()];
    let last = strides.map(|t| t[rank - 1]);
    let job = Job {
        x: x.ptr(),
        g: g_view.ptr(),
        y: y.ptr(),
        two: g.is_some(),
        k,
    };
    let wide = x.shape()[rank - 2];
    if s == 1 && strides.map(|t| t[rank - 2]) == [1; 3] && k.gain.len().is_multiple_of(wide) {
        // One element per channel: rows run over the channels.
        let rows = Walk::of(&x.shape()[..rank - 2], strides.map(|t| &t[..rank - 2]));
        parallel::for_range(rows.count(), grain(wide), |range| across(&job, &rows, range, wide));
        return;
    }
    let rows = Walk::of(&x.shape()[..rank - 1], strides.map(|t| &t[..rank - 1]));
    if last == [1; 3] {
        parallel::for_range(rows.count(), grain(s), |range| within(&job, &rows, range, s));
    } else {
        parallel::for_range(rows.count(), grain(s), |range| strided(&job, &rows, range, s, last));
    }
}

struct Job<'a, T> {
    x: *const T,
    g: *const T,
    y: *mut T,
    two: bool,
    k: &'a Coefficients<T>,
}

// SAFETY: threads read the inputs and write different rows.
unsafe impl<T: Sync> Sync for Job<'_, T> {}

impl<T: Real> Job<'_, T> {
    /// # Safety
    /// The offsets address `n` contiguous elements in each view.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    unsafe fn slices(&self, [x, g, y]: [isize; 3], n: usize) -> (&[T], &[T], &mut [T]) {
        // SAFETY: the caller's promise; outputs do not overlap inputs.
        unsafe {
            (
                std::slice::from_raw_parts(self.x.offset(x), n),
                std::slice::from_raw_parts(self.g.offset(g), n),
                std::slice::from_raw_parts_mut(self.y.offset(y), n),
            )
        }
    }
}

multiversion! {
    fn within<T: Real>(job: &Job<T>, rows: &Walk<3>, range: Range<usize>, s: usize) {
        let k = job.k;
        let channels = k.gain.len();
        for r in range {
            let at = rows.at(r);
            let c = r % channels;
            let (gain, slope, center, shift) = (k.gain[c], k.slope[c], k.center[c], k.shift[c]);
            // SAFETY: a row of the walk, contiguous in all views.
            let (x, g, y) = unsafe { job.slices(at, s) };
            if job.two {
                for i in 0..s {
                    y[i] = gain.fma(g[i], slope.fma(x[i] - center, shift));
                }
            } else {
                for i in 0..s {
                    y[i] = slope.fma(x[i] - center, shift);
                }
            }
        }
    }
}

multiversion! {
    fn across<T: Real>(job: &Job<T>, rows: &Walk<3>, range: Range<usize>, wide: usize) {
        let k = job.k;
        let channels = k.gain.len();
        for r in range {
            let at = rows.at(r);
            let c = r * wide % channels;
            let (gain, slope) = (&k.gain[c..][..wide], &k.slope[c..][..wide]);
            let (center, shift) = (&k.center[c..][..wide], &k.shift[c..][..wide]);
            // SAFETY: a row of the walk, contiguous in all views.
            let (x, g, y) = unsafe { job.slices(at, wide) };
            if job.two {
                for i in 0..wide {
                    y[i] = gain[i].fma(g[i], slope[i].fma(x[i] - center[i], shift[i]));
                }
            } else {
                for i in 0..wide {
                    y[i] = slope[i].fma(x[i] - center[i], shift[i]);
                }
            }
        }
    }
}

multiversion! {
    fn strided<T: Real>(job: &Job<T>, rows: &Walk<3>, range: Range<usize>, s: usize, step: [isize; 3]) {
        let k = job.k;
        let channels = k.gain.len();
        for r in range {
            let at = rows.at(r);
            let c = r % channels;
            for i in 0..s as isize {
                // SAFETY: element i of a row of the walk.
                unsafe {
                    let x = *job.x.offset(at[0] + i * step[0]);
                    let mut v = k.slope[c].fma(x - k.center[c], k.shift[c]);
                    if job.two {
                        v = k.gain[c].fma(*job.g.offset(at[1] + i * step[1]), v);
                    }
                    *job.y.offset(at[2] + i * step[2]) = v;
                }
            }
        }
    }
}
