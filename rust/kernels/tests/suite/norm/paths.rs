//! Every way through memory, in float32, against loops in float64.

use crate::testing::LAST_CACHE;
use firesteel_kernels::dtype::DType;
use firesteel_kernels::internals::cache::{assume_last, exceeds};
use firesteel_kernels::internals::dense;
use firesteel_kernels::norm::*;
use firesteel_kernels::view::{AnyDst, AnySrc};

fn any<'a>(v: &'a [f32], shape: &[usize], strides: &[isize]) -> AnySrc<'a> {
    // SAFETY: the slices below hold what the strides reach.
    unsafe { AnySrc::new(v.as_ptr().cast(), DType::F32, shape, strides) }
}

fn any_mut<'a>(v: &'a mut [f32], shape: &[usize], strides: &[isize]) -> AnyDst<'a> {
    // SAFETY: as above.
    unsafe { AnyDst::new(v.as_mut_ptr().cast(), DType::F32, shape, strides) }
}

fn numbers(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..n).map(|_| next() + next() + next()).collect()
}

#[track_caller]
fn close(what: &str, got: &[f32], want: &[f64], tolerance: f64) {
    let most = want.iter().fold(0.0f64, |m, w| m.max(w.abs())).max(1e-3);
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((*g as f64 - w).abs() <= tolerance * most, "{what} [{i}]: {g} {w}");
    }
}

/// Where the numbers lie: moved far away, or with a first element that says nothing about the others.
#[derive(Clone, Copy, Debug)]
enum Data {
    Plain,
    Moved,
    Misleading,
}
const ALL: [Data; 3] = [Data::Plain, Data::Moved, Data::Misleading];

/// `firsts` are the beginnings of what is normalised together.
fn data(kind: Data, n: usize, firsts: impl Iterator<Item = usize>) -> Vec<f32> {
    let mut x = numbers(n, n as u64);
    match kind {
        Data::Plain => (),
        Data::Moved => x.iter_mut().for_each(|v| *v += 300.0),
        Data::Misleading => firsts.for_each(|i| x[i] = 1e3),
    }
    x
}

/// Mean, variance and reciprocal deviation.
fn moments(x: impl Iterator<Item = f64> + Clone, eps: f64) -> [f64; 3] {
    let n = x.clone().count() as f64;
    let mean = x.clone().sum::<f64>() / n;
    let var = x.map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
    [mean, var, 1.0 / (var + eps).sqrt()]
}

/// The gradient by x of one line of normalised numbers, from g times the weight.
fn gradient(x: &[f64], g: &[f64], mean: f64, rstd: f64) -> Vec<f64> {
    let n = x.len() as f64;
    let sum = g.iter().sum::<f64>() / n;
    let dot = x.iter().zip(g).map(|(x, g)| (x - mean) * g).sum::<f64>() / n * rstd * rstd;
    x.iter()
        .zip(g)
        .map(|(x, g)| (g - sum - (x - mean) * dot) * rstd)
        .collect()
}

#[test]
fn channels() {
    // Blocks of short runs, with and without whole vectors; single channels; side by side, in parts and strips; images with
    // channels last (the last number: 1).
    let cases = [
        [9, 40, 49, 0],
        [40, 37, 16, 0],
        [130, 19, 50, 0],
        [5, 18, 196, 0],
        [3, 5, 700, 0],
        [2, 3, 5000, 0],
        [70, 40, 1, 0],
        [1100, 530, 1, 0],
        [5, 21, 30, 1],
        [1, 16, 40, 1],
        [6, 3, 7, 1],
    ];
    for ([n, c, s, last], kind) in cases.into_iter().flat_map(|c| ALL.map(|k| (c, k))) {
        let name = format!("{n}x{c}x{s} {last} {kind:?}");
        let (shape, all, eps) = ([n, c, s], n * c * s, 1e-5);
        let strides = if last == 1 { [c * s, 1, c] } else { [c * s, s, 1] }.map(|v| v as isize);
        let at = |i: usize, j: usize, k: usize| {
            let [a, b, d] = strides;
            i * a as usize + j * b as usize + k * d as usize
        };
        let x = data(kind, all, (0..c).map(|j| at(0, j, 0)));
        let (g, w, b) = (numbers(all, 5), numbers(c, 6), numbers(c, 7));
        let (one, dim) = ([1], [c]);
        let (wv, bv) = (Some(any(&w, &dim, &one)), Some(any(&b, &dim, &one)));
        let (mut y, mut m, mut i, mut v) = (vec![0.0; all], vec![0.0; c], vec![0.0; c], vec![0.0; c]);
        batch_norm_train(
            any(&x, &shape, &strides),
            wv,
            bv,
            eps,
            any_mut(&mut y, &shape, &strides),
            any_mut(&mut m, &dim, &one),
            any_mut(&mut i, &dim, &one),
            Some(any_mut(&mut v, &dim, &one)),
        );
        let mut eval = vec![0.0; all];
        batch_norm_eval(
            any(&x, &shape, &strides),
            wv,
            bv,
            any(&m, &dim, &one),
            any(&v, &dim, &one),
            eps,
            any_mut(&mut eval, &shape, &strides),
        );
        let (mut gx, mut gw, mut gb) = (vec![0.0; all], vec![0.0; c], vec![0.0; c]);
        batch_norm_backward(
            any(&g, &shape, &strides),
            any(&x, &shape, &strides),
            wv,
            any(&m, &dim, &one),
            any(&i, &dim, &one),
            true,
            Some(any_mut(&mut gx, &shape, &strides)),
            Some(any_mut(&mut gw, &dim, &one)),
            Some(any_mut(&mut gb, &dim, &one)),
        );
        for j in 0..c {
            let places: Vec<usize> = (0..n)
                .flat_map(|i| (0..s).map(move |k| (i, k)))
                .map(|(i, k)| at(i, j, k))
                .collect();
            let of = |v: &[f32]| places.iter().map(|&p| v[p] as f64).collect::<Vec<_>>();
            let (xs, gs) = (of(&x), of(&g));
            let [mean, var, rstd] = moments(xs.iter().copied(), eps);
            let (wj, bj) = (w[j] as f64, b[j] as f64);
            let tell = |part: &str| format!("{name} channel {j}: {part}");
            // A sum's roundings are small beside its terms.
            let error = (m[j] as f64 - mean).abs();
            assert!(
                error <= 3e-7 * (mean.abs() + var.sqrt()),
                "{} {} {mean}",
                tell("mean"),
                m[j]
            );
            close(&tell("var"), &v[j..=j], &[var], 2e-6);
            let want: Vec<f64> = xs.iter().map(|x| (x - mean) * rstd * wj + bj).collect();
            // The shift, bias - mean * a, is rounded once.
            let wide = 1.0 + (mean * rstd).abs();
            let floats = |v: &[f32]| places.iter().map(|&p| v[p]).collect::<Vec<_>>();
            close(&tell("y"), &floats(&y), &want, 2e-6 * wide);
            close(&tell("eval"), &floats(&eval), &want, 2e-6 * wide);
            let weighted: Vec<f64> = gs.iter().map(|g| g * wj).collect();
            close(
                &tell("gx"),
                &floats(&gx),
                &gradient(&xs, &weighted, mean, rstd),
                1e-5 * wide,
            );
            let dot: f64 = xs.iter().zip(&gs).map(|(x, g)| (x - mean) * rstd * g).sum();
            let size: f64 = xs.iter().zip(&gs).map(|(x, g)| ((x - mean) * rstd * g).abs()).sum();
            assert!(
                (gw[j] as f64 - dot).abs() <= 1e-6 * wide * size,
                "{} {} {dot}",
                tell("gw"),
                gw[j]
            );
            let sum: f64 = gs.iter().sum();
            assert!(
                (gb[j] as f64 - sum).abs() <= 1e-6 * gs.iter().map(|g| g.abs()).sum::<f64>(),
                "{}",
                tell("gb")
            );
        }
    }
}

#[test]
fn rows() {
    let cases = [
        (1, 1),
        (9, 7),
        (6, 64),
        (35, 128),
        (70, 129),
        (7, 512),
        (6, 513),
        (3, 5000),
    ];
    for ((outer, inner), kind) in cases.into_iter().flat_map(|c| ALL.map(|k| (c, k))) {
        let name = format!("{outer}x{inner} {kind:?}");
        let (all, eps, shape) = (outer * inner, 1e-5, [outer, inner]);
        let strides = dense(&shape);
        let strides = &strides[..2];
        let x = data(kind, all, (0..outer).map(|r| r * inner));
        let (g, w, b) = (numbers(all, 5), numbers(inner, 6), numbers(inner, 7));
        let (one, dim, list) = ([1], [inner], [outer]);
        for (weight, bias) in [(true, true), (true, false), (false, true), (false, false)] {
            let (wv, bv) = (weight.then(|| any(&w, &dim, &one)), bias.then(|| any(&b, &dim, &one)));
            let (mut y, mut m, mut r) = (vec![0.0; all], vec![0.0; outer], vec![0.0; outer]);
            layer_norm_forward(
                any(&x, &shape, strides),
                wv,
                bv,
                eps,
                any_mut(&mut y, &shape, strides),
                any_mut(&mut m, &list, &one),
                any_mut(&mut r, &list, &one),
            );
            let (mut gx, mut gw, mut gb) = (vec![0.0; all], vec![0.0; inner], vec![0.0; inner]);
            layer_norm_backward(
                any(&g, &shape, strides),
                any(&x, &shape, strides),
                any(&m, &list, &one),
                any(&r, &list, &one),
                wv,
                Some(any_mut(&mut gx, &shape, strides)),
                weight.then(|| any_mut(&mut gw, &dim, &one)),
                bias.then(|| any_mut(&mut gb, &dim, &one)),
            );
            let (mut want_w, mut want_b, mut size) = (vec![0.0; inner], vec![0.0; inner], vec![1e-6; inner]);
            let mut wide = 1.0f64;
            for row in 0..outer {
                let of = |v: &[f32]| v[row * inner..][..inner].iter().map(|&v| v as f64).collect::<Vec<_>>();
                let (xs, gs) = (of(&x), of(&g));
                let [mean, var, rstd] = moments(xs.iter().copied(), eps);
                let tell = |part: &str| format!("{name} {weight} {bias} row {row}: {part}");
                // The mean is rounded, which moves all that are far from zero.
                let far = 1.0 + (mean * rstd).abs();
                wide = wide.max(far);
                let error = (m[row] as f64 - mean).abs();
                assert!(
                    error <= 3e-7 * (mean.abs() + var.sqrt()),
                    "{} {} {mean}",
                    tell("mean"),
                    m[row]
                );
                close(&tell("rstd"), &r[row..=row], &[rstd], 2e-6);
                let factor = |j: usize| if weight { w[j] as f64 } else { 1.0 };
                let term = |j: usize| if bias { b[j] as f64 } else { 0.0 };
                let want: Vec<f64> = (0..inner)
                    .map(|j| (xs[j] - mean) * rstd * factor(j) + term(j))
                    .collect();
                close(&tell("y"), &y[row * inner..][..inner], &want, 2e-6 * far);
                let weighted: Vec<f64> = (0..inner).map(|j| gs[j] * factor(j)).collect();
                let want = gradient(&xs, &weighted, mean, rstd);
                // One element's gradient is zero but for roundings of what cancels.
                let room = weighted.iter().fold(0.0f64, |m, v| m.max(v.abs())) * rstd;
                for (got, want) in gx[row * inner..][..inner].iter().zip(&want) {
                    assert!(
                        (*got as f64 - want).abs() <= 4e-6 * far * room,
                        "{} {got} {want}",
                        tell("gx")
                    );
                }
                for j in 0..inner {
                    let part = gs[j] * (xs[j] - mean) * rstd;
                    want_w[j] += part;
                    want_b[j] += gs[j];
                    size[j] += part.abs() + gs[j].abs();
                }
            }
            for j in 0..inner {
                let near = |got: f32, want: f64| (got as f64 - want).abs() <= 2e-6 * wide * size[j];
                assert!(
                    !weight || near(gw[j], want_w[j]),
                    "{name} gw {j}: {} {}",
                    gw[j],
                    want_w[j]
                );
                assert!(
                    !bias || near(gb[j], want_b[j]),
                    "{name} gb {j}: {} {}",
                    gb[j],
                    want_b[j]
                );
            }
        }
    }
}

/// A row has the same bits alone and beside others, whose sums are joined together.
#[test]
fn rows_alone_and_together() {
    for len in [1usize, 7, 8, 15, 16, 17, 63, 64, 65, 127, 128, 256, 511, 512, 513, 1000] {
        let rows = 39;
        let (mut x, g) = (numbers(rows * len, len as u64), numbers(rows * len, 5));
        // One row whose first elements are far from its mean.
        x[5 * len..5 * len + len.div_ceil(2)].fill(300.0);
        let (w, b) = (numbers(len, 6), numbers(len, 7));
        let (one, dim) = ([1], [len]);
        let (wv, bv) = (any(&w, &dim, &one), any(&b, &dim, &one));
        let run = |x: &[f32], g: &[f32]| {
            let count = x.len() / len;
            let (shape, strides, list) = ([count, len], [len as isize, 1], [count]);
            let (mut y, mut gx) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            let (mut m, mut r) = (vec![0.0; count], vec![0.0; count]);
            let xv = any(x, &shape, &strides);
            let to = any_mut(&mut y, &shape, &strides);
            let (to_mean, to_rstd) = (any_mut(&mut m, &list, &one), any_mut(&mut r, &list, &one));
            layer_norm_forward(xv, Some(wv), Some(bv), 1e-5, to, to_mean, to_rstd);
            let (mean, rstd) = (any(&m, &list, &one), any(&r, &list, &one));
            let to = any_mut(&mut gx, &shape, &strides);
            layer_norm_backward(any(g, &shape, &strides), xv, mean, rstd, Some(wv), Some(to), None, None);
            [y, gx, m, r]
        };
        let all = run(&x, &g);
        for row in 0..rows {
            let part = row * len..row * len + len;
            let alone = run(&x[part.clone()], &g[part.clone()]);
            for (i, (alone, all)) in alone.iter().zip(&all).enumerate() {
                let all = if i < 2 { &all[part.clone()] } else { &all[row..=row] };
                let same = alone.iter().zip(all).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{len} row {row} result {i}");
            }
        }
    }
}

/// What is stored past the caches, rows that begin anywhere among it, has the bits of what is not.
#[test]
fn larger_than_the_cache() {
    let [n, c, s] = [33, 64, 3249];
    let all = n * c * s;
    assume_last(LAST_CACHE);
    assert!(exceeds(4 * all));
    let (x, g) = (numbers(all, 1), numbers(all, 2));
    let (w, b, m, v) = (numbers(c, 3), numbers(c, 4), numbers(c, 5), vec![0.5; c]);
    let (one, dim) = ([1], [c]);
    let (wv, bv) = (Some(any(&w, &dim, &one)), Some(any(&b, &dim, &one)));
    // The results for images from `first` on: of batch norm by given statistics, and of group norm, with gradients.
    let run = |first: usize| {
        let (x, g, count) = (&x[first * c * s..], &g[first * c * s..], n - first);
        let (shape, strides) = ([count, c, s], [c * s, s, 1].map(|v| v as isize));
        let (mean, var) = (any(&m, &dim, &one), any(&v, &dim, &one));
        let mut outs = [(); 4].map(|()| vec![0.0f32; x.len()]);
        let [eval, gx, group, ggx] = &mut outs;
        let (x3, g3) = (any(x, &shape, &strides), any(g, &shape, &strides));
        batch_norm_eval(x3, wv, bv, mean, var, 1e-5, any_mut(eval, &shape, &strides));
        batch_norm_backward(
            g3,
            x3,
            wv,
            mean,
            var,
            false,
            Some(any_mut(gx, &shape, &strides)),
            None,
            None,
        );
        let (four, steps) = ([count, 8, c / 8, s], [c * s, c / 8 * s, s, 1].map(|v| v as isize));
        let (x4, g4) = (any(x, &four, &steps), any(g, &four, &steps));
        let (of, by) = ([count, 8], [8, 1]);
        let (mut mean, mut rstd) = (vec![0.0; 8 * count], vec![0.0; 8 * count]);
        let (to_mean, to_rstd) = (any_mut(&mut mean, &of, &by), any_mut(&mut rstd, &of, &by));
        group_norm_forward(x4, wv, bv, 1e-5, any_mut(group, &four, &steps), to_mean, to_rstd);
        let (mean, rstd) = (any(&mean, &of, &by), any(&rstd, &of, &by));
        group_norm_backward(g4, x4, wv, mean, rstd, Some(any_mut(ggx, &four, &steps)), None, None);
        outs
    };
    let (large, small) = (run(0), run(n - 1));
    for (i, (large, small)) in large.iter().zip(&small).enumerate() {
        let last = &large[(n - 1) * c * s..];
        assert!(last.iter().zip(small).all(|(a, b)| a.to_bits() == b.to_bits()), "{i}");
    }
}
