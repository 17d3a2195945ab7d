//! Group norm: each group of channels of an image by its own statistics.

use super::by_float;
use super::channel::{Coefficients, apply, inverse, lines, list, moments, past, put, scale_and_shift};
use super::sweep::{Blend, HasSweeps, Runs};
use crate::dtype::Element;
use crate::parallel;
use crate::reduce::real::Real;
use crate::reduce::walk::{Share, collect, grain, view_mut};
use crate::reduce::{sum_and_dot, var_of};
use crate::simd::sweep::fence;
use crate::view::{AnyDst, AnySrc, Dst, Src};

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
                        let [mean, _, rstd] = moments(sweeps, &joined(runs), eps);
                        for j in 0..d {
                            let (a, b) = scale_and_shift(w.as_deref(), b.as_deref(), r % g * d + j, mean, rstd);
                            (sweeps.scale)(&one(&runs, j), a, b);
                        }
                        *to_m.at(r) = T::from_f64(mean);
                        *to_inv.at(r) = T::from_f64(rstd);
                    }
                }
                fence(past(&y));
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
        past: past(y),
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
                fence(past(&to));
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
