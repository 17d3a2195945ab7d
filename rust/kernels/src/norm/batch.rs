//! Batch norm: each channel of `[n, c, s]` by its own statistics, or by given ones.
//!
//! Where a channel's elements are contiguous per image, one thread takes a channel through statistics and values while it
//! lies in the cache; channels of short runs go in blocks. Where channels lie side by side, sums go down the rows.

use super::by_float;
use super::channel::{Coefficients, apply, channel, inverse, lines, list, moments, past, put, scale_and_shift};
use super::sides::{self, Sides};
use super::sweep::{BLOCK, Blend, Block, HasSweeps, Runs, Sweeps, far, variance};
use crate::dtype::Element;
use crate::parallel;
use crate::reduce::real::Real;
use crate::reduce::walk::{Share, collect, grain, view_mut, view_of};
use crate::reduce::{sum_and_dot, var_of};
use crate::simd::sweep::fence;
use crate::view::{AnyDst, AnySrc, Dst, Src};

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

/// Bytes of a block of channels, in all views, so that it stays in the second-level cache.
const HELD: usize = 384 << 10;
/// Runs of more elements than this are taken channel by channel.
const SHORT: usize = 512;

/// Channels of `x` that go together, if more than one, when a channel is read or written in `views` views.
fn together<T>(x: &Src<T>, views: usize) -> usize {
    let [n, c, s] = [x.shape()[0], x.shape()[1], x.shape()[2]];
    if s > SHORT || n < 2 {
        return 1;
    }
    let room = HELD / (n * s * size_of::<T>() * views).max(1);
    room.min(BLOCK).min(c.div_ceil(2 * parallel::threads())).max(1)
}

/// Channels `i..i + channels` of views `[n, c, s]`.
fn block<T>(x: &Src<T>, g: Option<&Src<T>>, y: &Dst<T>, i: usize, channels: usize) -> Block<T> {
    let one = channel(x, g, y, i);
    Block {
        x: one.x,
        g: one.g,
        y: one.y,
        steps: one.steps,
        across: [x.strides()[1], g.unwrap_or(x).strides()[1], y.strides()[1]],
        channels,
        count: one.count,
        len: one.len,
    }
}

/// As [`moments`], of the channels from `i` on, one for each element of `to`.
///
/// # Safety
/// The views hold these channels.
unsafe fn block_moments<T: HasSweeps>(
    sweeps: &Sweeps<T>,
    block: &Block<T>,
    runs: impl Fn(usize) -> Runs<T>,
    eps: f64,
    to: &mut [[f64; 3]],
) {
    let (mut centers, mut sums) = ([T::ZERO; BLOCK], [[0.0; 2]; BLOCK]);
    let count = (block.count * block.len) as f64;
    // SAFETY: the caller's promise.
    unsafe {
        for (c, center) in centers[..block.channels].iter_mut().enumerate() {
            *center = (sweeps.near)(&runs(c));
        }
        (sweeps.block_squares)(block, &centers, &mut sums);
        for (c, to) in to.iter_mut().enumerate() {
            let sums = sums[c].map(|v| v / count);
            *to = if far(sums) {
                moments(sweeps, &runs(c), eps)
            } else {
                let var = variance(sums[1], sums[0]);
                [centers[c].to_f64() + sums[0], var, 1.0 / (var + eps).sqrt()]
            };
        }
    }
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
            let (sweeps, wide) = (T::sweeps(), together(&x, 2));
            let work = 4 * wide * x.shape()[0] * x.shape()[2];
            let (w, b) = (w.as_deref(), b.as_deref());
            // SAFETY: element i of the lists.
            let keep = |i: usize, [mean, var, rstd]: [f64; 3]| unsafe {
                *m.at(i) = T::from_f64(mean);
                *v.at(i) = T::from_f64(var);
                *inv.at(i) = T::from_f64(rstd);
            };
            parallel::for_range(c.div_ceil(wide), grain(work), |range| {
                for i in range.map(|i| i * wide) {
                    let runs = |j: usize| channel(&x, None, &y, i + j);
                    // SAFETY: channels of the views from i on.
                    unsafe {
                        if wide == 1 {
                            let all = moments(sweeps, &runs(0), eps);
                            let (scale, shift) = scale_and_shift(w, b, i, all[0], all[2]);
                            (sweeps.scale)(&runs(0), scale, shift);
                            keep(i, all);
                            continue;
                        }
                        let channels = wide.min(c - i);
                        let (mut all, mut k) = ([[0.0; 3]; BLOCK], [Blend::of(T::ZERO, T::ZERO); BLOCK]);
                        let block = block(&x, None, &y, i, channels);
                        block_moments(sweeps, &block, runs, eps, &mut all[..channels]);
                        for j in 0..channels {
                            let (scale, shift) = scale_and_shift(w, b, i + j, all[j][0], all[j][2]);
                            k[j] = Blend::of(scale, shift);
                            keep(i + j, all[j]);
                        }
                        (sweeps.block_scale)(&block, &k);
                    }
                }
                fence(past(&y));
            });
        } else if let Some(rows) = Sides::of(x.shape(), [x.strides(), x.strides(), y.strides()]) {
            let all = sides::moments(&rows, &x);
            let mut k = Coefficients::new(c);
            for (i, [mean, var]) in all.into_iter().enumerate() {
                let rstd = 1.0 / (var + eps).sqrt();
                (k.slope[i], k.shift[i]) = scale_and_shift(w.as_deref(), b.as_deref(), i, mean, rstd);
                (m[i], v[i], inv[i]) = (T::from_f64(mean), T::from_f64(var), T::from_f64(rstd));
            }
            rows.apply(&x, None, &y, &k);
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

fn normalise<T: HasSweeps>(
    x: &Src<T>,
    w: Option<Vec<T>>,
    b: Option<Vec<T>>,
    mean: &[T],
    var: &[T],
    eps: f64,
    y: &Dst<T>,
) {
    let k = coefficients(w, b, mean, var, eps);
    match Sides::of(x.shape(), [x.strides(), x.strides(), y.strides()]) {
        Some(rows) => rows.apply(x, None, y, &k),
        None => apply(x, None, y, &k),
    }
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
            let (sweeps, wide) = (T::sweeps(), together(&x, 3));
            let keep = |i: usize, [sum, dot]: [f64; 2]| {
                // SAFETY: element i of the lists.
                unsafe {
                    *to_gw.at(i) = T::from_f64(dot * inv[i].to_f64());
                    *to_gb.at(i) = T::from_f64(sum);
                }
            };
            parallel::for_range(c.div_ceil(wide), grain(8 * wide * n as usize), |range| {
                for i in range.map(|i| i * wide) {
                    // SAFETY: channels of the views from i on.
                    unsafe {
                        if wide == 1 {
                            let runs = channel(&x, Some(&gy), &to, i);
                            let all = if sums { (sweeps.dots)(&runs, mean[i]) } else { [0.0; 2] };
                            keep(i, all);
                            if gx.is_some() {
                                (sweeps.blend)(&runs, &coefficients(i, all[0], all[1]));
                            }
                            continue;
                        }
                        let channels = wide.min(c - i);
                        let (mut all, mut k) = ([[0.0; 2]; BLOCK], [Blend::of(T::ZERO, T::ZERO); BLOCK]);
                        let block = block(&x, Some(&gy), &to, i, channels);
                        if sums {
                            (sweeps.block_dots)(&block, &mean[i..i + channels], &mut all);
                        }
                        for j in 0..channels {
                            keep(i + j, all[j]);
                            k[j] = coefficients(i + j, all[j][0], all[j][1]);
                        }
                        if gx.is_some() {
                            (sweeps.block_blend)(&block, &k);
                        }
                    }
                }
                fence(past(&to));
            });
        } else if let Some(rows) =
            Sides::of(x.shape(), [x.strides(), gy.strides(), gx.as_ref().map_or(x.strides(), |g| g.strides())])
        {
            let mut k = Coefficients::new(c);
            let all = if sums { sides::dots(&rows, &x, &gy, &mean) } else { vec![[0.0; 2]; c] };
            for (i, [sum, dot]) in all.into_iter().enumerate() {
                k.set(i, coefficients(i, sum, dot));
                (gw[i], gb[i]) = (T::from_f64(dot * inv[i].to_f64()), T::from_f64(sum));
            }
            if let Some(gx) = gx {
                rows.apply(&x, Some(&gy), &gx, &k);
            }
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
