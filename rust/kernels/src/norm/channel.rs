//! Batch norm and group norm: a scale and a shift per channel of `[n, c, s]`.
//!
//! Forward, each element is `x * a + b` with one fused multiply-add: `a = weight / sqrt(var + eps)` and `b = bias - mean * a`
//! ([`scale_and_shift`]), computed in float64 per channel and rounded once each. What is folded into other kernels relies on
//! that.
//!
//! Where a channel's elements are contiguous per image, one thread takes a channel through statistics and scaling while
//! it lies in the cache.

use super::by_float;
use super::sweep::{Across, Blend, HasSweeps, Rows, Runs, Sweeps, variance};
use crate::dtype::Element;
use crate::parallel;
use crate::reduce::real::Real;
use crate::reduce::walk::{Share, Walk, collect, grain, view_mut, view_of};
use crate::reduce::{sum_and_dot, var_of};
use crate::view::{AnyDst, AnySrc, Dst, Src};

/// Per channel: `y = slope * x + shift`, or `y = gain * g + slope * (x - center) + shift`.
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

    fn set(&mut self, i: usize, k: Blend<T>) {
        (self.gain[i], self.slope[i], self.center[i], self.shift[i]) = (k.gain, k.slope, k.center, k.shift);
    }
}

/// What batch norm by given statistics does to the elements of a channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine<T> {
    slope: T,
    shift: T,
}

#[allow(private_bounds, reason = "the trait lists what kernels need of f32 and f64")]
impl<T: Real> Affine<T> {
    #[inline(always)]
    pub(crate) fn of(self, x: T) -> T {
        self.slope.fma(x, self.shift)
    }
}

/// The functions that [`batch_norm_eval`] applies to the bit, one per channel: for kernels that it is folded into.
#[allow(private_bounds, reason = "as above")]
pub fn batch_norm_affine<T: Real>(
    weight: Option<AnySrc>,
    bias: Option<AnySrc>,
    mean: AnySrc,
    var: AnySrc,
    eps: f64,
) -> Vec<Affine<T>> {
    let (w, b) = (list::<T>(weight), list::<T>(bias));
    let (mean, var) = (collect(&mean.typed::<T>()), collect(&var.typed::<T>()));
    let one = |i: usize| {
        let rstd = inverse(var[i], eps);
        let (slope, shift) = scale_and_shift(w.as_deref(), b.as_deref(), i, mean[i].to_f64(), rstd);
        Affine { slope, shift }
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
        let (x, y) = (x.typed::<T>(), y.typed::<T>());
        let c = x.shape()[1];
        let (mut m, mut v, mut inv) = (vec![T::ZERO; c], vec![T::ZERO; c], vec![T::ZERO; c]);
        let (w, b) = (list::<T>(weight), list::<T>(bias));
        if lines(x.shape(), &[x.strides(), y.strides()]) {
            let (m, v, inv) = (Share::new(m.as_mut_ptr()), Share::new(v.as_mut_ptr()), Share::new(inv.as_mut_ptr()));
            let (sweeps, count) = (T::sweeps(), (x.shape()[0] * x.shape()[2]) as f64);
            parallel::for_range(c, grain(4 * count as usize), |range| {
                for i in range {
                    let runs = channel(&x, None, &y, i);
                    // SAFETY: channel i of the views, and element i of the lists.
                    unsafe {
                        let [mean, var, rstd] = moments(sweeps, &runs, count, eps);
                        let (a, b) = scale_and_shift(w.as_deref(), b.as_deref(), i, mean, rstd);
                        (sweeps.scale)(&runs, a, b);
                        *m.at(i) = T::from_f64(mean);
                        *v.at(i) = T::from_f64(var);
                        *inv.at(i) = T::from_f64(rstd);
                    }
                }
            });
        } else {
            let shape = [1, c, 1];
            let (to_m, to_v) = (view_mut(&mut m, &shape), view_mut(&mut v, &shape));
            var_of(&x, &[true, false, true], 0.0, false, Some(&to_m), &to_v);
            for i in 0..c {
                inv[i] = T::from_f64(inverse(v[i], eps));
            }
            normalise(&x, w, b, &m, &v, eps, &y);
        }
        if let Some(var) = var {
            put(&v, &var.typed());
        }
        put(&m, &mean.typed());
        put(&inv, &invstd.typed());
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
        let (mean, var) = (collect(&mean.typed::<T>()), collect(&var.typed::<T>()));
        normalise(&x.typed(), list(weight), list(bias), &mean, &var, eps, &y.typed())
    });
}

/// `1 / sqrt(var + eps)`
fn inverse<T: Real>(var: T, eps: f64) -> f64 {
    1.0 / (var.to_f64() + eps).sqrt()
}

/// The factor and the summand of channel `i`.
fn scale_and_shift<T: Real>(weight: Option<&[T]>, bias: Option<&[T]>, i: usize, mean: f64, rstd: f64) -> (T, T) {
    let a = T::from_f64(rstd * weight.map_or(1.0, |w| w[i].to_f64()));
    let b = bias.map_or(0.0, |b| b[i].to_f64()) - mean * a.to_f64();
    (a, T::from_f64(b))
}

/// The last dim of all views is contiguous, and not of size 1.
fn lines(shape: &[usize], strides: &[&[isize]]) -> bool {
    let last = shape.len() - 1;
    shape[last] > 1 && strides.iter().all(|s| s[last] == 1)
}

/// Channel `i` of views `[n, c, s]`.
fn channel<T>(x: &Src<T>, g: Option<&Src<T>>, y: &Dst<T>, i: usize) -> Runs<T> {
    let i = i as isize;
    let g = g.unwrap_or(x);
    Runs {
        x: x.ptr().wrapping_offset(i * x.strides()[1]),
        g: g.ptr().wrapping_offset(i * g.strides()[1]),
        y: y.ptr().wrapping_offset(i * y.strides()[1]),
        steps: [x.strides()[0], g.strides()[0], y.strides()[0]],
        count: x.shape()[0],
        len: x.shape()[2],
    }
}

/// Mean, variance, and the reciprocal of the deviation.
///
/// # Safety
/// The runs of x lie in live memory.
unsafe fn moments<T: HasSweeps>(sweeps: &Sweeps<T>, runs: &Runs<T>, count: f64, eps: f64) -> [f64; 3] {
    // SAFETY: the caller's promise.
    unsafe {
        let near = T::from_f64((sweeps.sum)(runs) / count);
        let [rest, squares] = (sweeps.squares)(runs, near).map(|v| v / count);
        let (mean, var) = (near.to_f64() + rest, variance(squares, rest));
        [mean, var, 1.0 / (var + eps).sqrt()]
    }
}

fn normalise<T: HasSweeps>(
    x: &Src<T>,
    w: Option<Vec<T>>,
    b: Option<Vec<T>>,
    mean: &[T],
    var: &[T],
    eps: f64,
    y: &Dst<T>,
) {
    apply(x, None, y, &coefficients(w, b, mean, var, eps));
}

fn coefficients<T: Real>(w: Option<Vec<T>>, b: Option<Vec<T>>, mean: &[T], var: &[T], eps: f64) -> Coefficients<T> {
    let mut k = Coefficients::new(mean.len());
    for i in 0..mean.len() {
        let (m, rstd) = (mean[i].to_f64(), inverse(var[i], eps));
        (k.slope[i], k.shift[i]) = scale_and_shift(w.as_deref(), b.as_deref(), i, m, rstd);
    }
    k
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
        let w = list::<T>(weight);
        let n = (x.shape()[0] * x.shape()[2]) as f64;
        let sums = training || gweight.is_some() || gbias.is_some();
        let coefficients = |i: usize, sum: f64, dot: f64| {
            let rstd = inv[i].to_f64();
            let gain = rstd * w.as_ref().map_or(1.0, |w| w[i].to_f64());
            let (slope, shift) = if training {
                (-(gain * (dot / n) * rstd * rstd), -(gain * (sum / n)))
            } else {
                (0.0, 0.0)
            };
            Blend {
                gain: T::from_f64(gain),
                slope: T::from_f64(slope),
                center: mean[i],
                shift: T::from_f64(shift),
            }
        };
        let (mut gw, mut gb) = (vec![T::ZERO; c], vec![T::ZERO; c]);
        let gx = gx.map(|g| g.typed::<T>());
        let to = gx.unwrap_or(view_mut(&mut [], &[0, 0, 0]));
        let mut all = vec![x.strides(), gy.strides()];
        all.extend(gx.as_ref().map(|g| g.strides()));
        if lines(x.shape(), &all) {
            let (to_gw, to_gb) = (Share::new(gw.as_mut_ptr()), Share::new(gb.as_mut_ptr()));
            let sweeps = T::sweeps();
            parallel::for_range(c, grain(8 * n as usize), |range| {
                for i in range {
                    let runs = channel(&x, Some(&gy), &to, i);
                    // SAFETY: channel i of the views, and element i of the lists.
                    unsafe {
                        let [sum, dot] = if sums { (sweeps.dots)(&runs, mean[i]) } else { [0.0; 2] };
                        *to_gw.at(i) = T::from_f64(dot * inv[i].to_f64());
                        *to_gb.at(i) = T::from_f64(sum);
                        if gx.is_some() {
                            (sweeps.blend)(&runs, &coefficients(i, sum, dot));
                        }
                    }
                }
            });
        } else {
            let (mut sum, mut dot) = (vec![T::ZERO; c], vec![T::ZERO; c]);
            let shape = [1, c, 1];
            if sums {
                let (s, d) = (view_mut(&mut sum, &shape), view_mut(&mut dot, &shape));
                sum_and_dot(&gy, &x, &[true, false, true], &view_of(&mean, &shape), &s, &d);
            }
            let mut k = Coefficients::new(c);
            for i in 0..c {
                k.set(i, coefficients(i, sum[i].to_f64(), dot[i].to_f64()));
                gw[i] = dot[i] * inv[i];
            }
            gb = sum;
            if let Some(gx) = gx {
                apply(&x, Some(&gy), &gx, &k);
            }
        }
        if let Some(to) = gweight {
            put(&gw, &to.typed());
        }
        if let Some(to) = gbias {
            put(&gb, &to.typed());
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
        let (x, y) = (x.typed::<T>(), y.typed::<T>());
        let [n, g, d, s] = four(x.shape());
        let (mut m, mut inv) = (vec![T::ZERO; n * g], vec![T::ZERO; n * g]);
        let (w, b) = (list::<T>(weight), list::<T>(bias));
        if lines(x.shape(), &[x.strides(), y.strides()]) {
            let (to_m, to_inv) = (Share::new(m.as_mut_ptr()), Share::new(inv.as_mut_ptr()));
            let sweeps = T::sweeps();
            parallel::for_range(n * g, grain(4 * d * s), |range| {
                for r in range {
                    let runs = group(&x, None, &y, r);
                    // SAFETY: group r of the views, and element r of the lists.
                    unsafe {
                        let [mean, _, rstd] = moments(sweeps, &joined(runs), (d * s) as f64, eps);
                        for j in 0..d {
                            let (a, b) = scale_and_shift(w.as_deref(), b.as_deref(), r % g * d + j, mean, rstd);
                            (sweeps.scale)(&one(&runs, j), a, b);
                        }
                        *to_m.at(r) = T::from_f64(mean);
                        *to_inv.at(r) = T::from_f64(rstd);
                    }
                }
            });
        } else {
            let mut v = vec![T::ZERO; n * g];
            let shape = [n, g, 1, 1];
            let (to_m, to_v) = (view_mut(&mut m, &shape), view_mut(&mut v, &shape));
            var_of(&x, &[false, false, true, true], 0.0, false, Some(&to_m), &to_v);
            let mut k = Coefficients::<T>::new(n * g * d);
            for r in 0..n * g * d {
                let (group, channel) = (r / d, r % (g * d));
                let rstd = inverse(v[group], eps);
                inv[group] = T::from_f64(rstd);
                let (w, b) = (w.as_deref(), b.as_deref());
                (k.slope[r], k.shift[r]) = scale_and_shift(w, b, channel, m[group].to_f64(), rstd);
            }
            apply(&x, None, &y, &k);
        }
        put(&m, &mean.typed());
        put(&inv, &rstd.typed());
    });
}

/// The channels of group `r` of views `[n, g, d, s]`, one run each.
fn group<T>(x: &Src<T>, g: Option<&Src<T>>, y: &Dst<T>, r: usize) -> Runs<T> {
    let groups = x.shape()[1];
    let (n, i) = ((r / groups) as isize, (r % groups) as isize);
    let g = g.unwrap_or(x);
    let at = |s: &[isize]| n * s[0] + i * s[1];
    Runs {
        x: x.ptr().wrapping_offset(at(x.strides())),
        g: g.ptr().wrapping_offset(at(g.strides())),
        y: y.ptr().wrapping_offset(at(y.strides())),
        steps: [x.strides()[2], g.strides()[2], y.strides()[2]],
        count: x.shape()[2],
        len: x.shape()[3],
    }
}

/// Run `j` alone.
fn one<T>(runs: &Runs<T>, j: usize) -> Runs<T> {
    let j = j as isize;
    Runs {
        x: runs.x.wrapping_offset(j * runs.steps[0]),
        g: runs.g.wrapping_offset(j * runs.steps[1]),
        y: runs.y.wrapping_offset(j * runs.steps[2]),
        count: 1,
        ..*runs
    }
}

/// Runs of x that follow each other, as one.
fn joined<T: Copy>(runs: Runs<T>) -> Runs<T> {
    if runs.steps[0] == runs.len as isize {
        Runs {
            count: 1,
            len: runs.count * runs.len,
            ..runs
        }
    } else {
        runs
    }
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
        let (mut sum, mut dot) = (vec![0.0; rows], vec![0.0; rows]);
        let w = list::<T>(weight);
        let gx = gx.map(|g| g.typed::<T>());
        // The coefficients of a group's channels, from their sums.
        let coefficients = |group: usize, sum: &[f64], dot: &[f64], set: &mut dyn FnMut(usize, Blend<T>)| {
            let weight = |j: usize| w.as_ref().map_or(1.0, |w| w[(group * d + j) % (g * d)].to_f64());
            let (i, count) = (inv[group].to_f64(), (d * s) as f64);
            let (mut a, mut b) = (0.0, 0.0);
            for j in 0..d {
                a += weight(j) * sum[j];
                b += weight(j) * dot[j];
            }
            for j in 0..d {
                let k = Blend {
                    gain: T::from_f64(weight(j) * i),
                    slope: T::from_f64(-(b / count * i * i * i)),
                    center: mean[group],
                    shift: T::from_f64(-(a / count * i)),
                };
                set(j, k);
            }
        };
        let to = gx.unwrap_or(view_mut(&mut [], &[0, 0, 0, 0]));
        let mut all = vec![x.strides(), gy.strides()];
        all.extend(gx.as_ref().map(|g| g.strides()));
        if lines(x.shape(), &all) {
            let (to_sum, to_dot) = (Share::new(sum.as_mut_ptr()), Share::new(dot.as_mut_ptr()));
            let sweeps = T::sweeps();
            parallel::for_range(n * g, grain(8 * d * s), |range| {
                for r in range {
                    let runs = group(&x, Some(&gy), &to, r);
                    // SAFETY: group r of the views, and its part of the lists.
                    unsafe {
                        let [sum, dot] = [to_sum, to_dot].map(|p| std::slice::from_raw_parts_mut(p.at(r * d), d));
                        for j in 0..d {
                            [sum[j], dot[j]] = (sweeps.dots)(&one(&runs, j), mean[r]);
                        }
                        if gx.is_some() {
                            coefficients(r, sum, dot, &mut |j, k| (sweeps.blend)(&one(&runs, j), &k));
                        }
                    }
                }
            });
        } else {
            // SAFETY: one mean per group, repeated over its channels.
            let center = unsafe { Src::new(mean.as_ptr(), &[n, g, d, 1], &[g as isize, 1, 0, 0]) };
            let shape = [n, g, d, 1];
            let axes = [false, false, false, true];
            let (mut s, mut t) = (vec![T::ZERO; rows], vec![T::ZERO; rows]);
            sum_and_dot(&gy, &x, &axes, &center, &view_mut(&mut s, &shape), &view_mut(&mut t, &shape));
            for r in 0..rows {
                (sum[r], dot[r]) = (s[r].to_f64(), t[r].to_f64());
            }
            if let Some(gx) = gx {
                let mut k = Coefficients::<T>::new(rows);
                for r in 0..n * g {
                    let part = r * d..r * d + d;
                    coefficients(r, &sum[part.clone()], &dot[part], &mut |j, v| k.set(r * d + j, v));
                }
                apply(&x, Some(&gy), &gx, &k);
            }
        }
        let (mut gw, mut gb) = (vec![0.0; g * d], vec![0.0; g * d]);
        for r in 0..rows {
            gw[r % (g * d)] += dot[r] * inv[r / d].to_f64();
            gb[r % (g * d)] += sum[r];
        }
        for (values, to) in [(gw, gweight), (gb, gbias)] {
            if let Some(to) = to {
                let values: Vec<T> = values.into_iter().map(T::from_f64).collect();
                put(&values, &to.typed::<T>());
            }
        }
    });
}

fn four(shape: &[usize]) -> [usize; 4] {
    [shape[0], shape[1], shape[2], shape[3]]
}

/// What [`Coefficients`] says, with those of row r modulo their number, a row being all dims but the last.
fn apply<T: HasSweeps>(x: &Src<T>, g: Option<&Src<T>>, y: &Dst<T>, k: &Coefficients<T>) {
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
    let sweeps = T::sweeps();
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
            };
            // SAFETY: a part of both, which is this thread's.
            unsafe { (sweeps.scale_rows)(&part) };
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
    });
}
