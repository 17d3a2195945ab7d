//! Pooling against a definition in padded coordinates.

use firesteel_kernels::pool::*;
use firesteel_kernels::view::{Dst, Src};

const NAN: f64 = f64::NAN;

fn fill(n: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * 7919) % 97) as f64 - 48.0).collect()
}

fn strides(shape: &[usize; 5], order: [usize; 5]) -> [isize; 5] {
    let (mut strides, mut next) = ([0; 5], 1);
    for d in order.into_iter().rev() {
        strides[d] = next;
        next *= shape[d] as isize;
    }
    strides
}

fn src<'a, T>(v: &'a [T], shape: &[usize; 5], strides: &[isize; 5]) -> Src<'a, T> {
    // SAFETY: strides made for the vector's size.
    unsafe { Src::new(v.as_ptr(), shape, strides) }
}

fn dst<'a, T>(v: &'a mut [T], shape: &[usize; 5], strides: &[isize; 5]) -> Dst<'a, T> {
    // SAFETY: as above.
    unsafe { Dst::new(v.as_mut_ptr(), shape, strides) }
}

fn space(n: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    (0..n.iter().product()).map(move |i| [i / (n[1] * n[2]), i / n[2] % n[1], i % n[2]])
}

/// Output size; the last window may be cut off but starts inside the input or its left padding.
fn output(s: &PoolShape, input: [usize; 3], ceil: bool) -> [usize; 3] {
    std::array::from_fn(|d| {
        let span = input[d] + 2 * s.padding[d] - s.dilation[d] * (s.kernel[d] - 1) - 1;
        let n = if ceil {
            span.div_ceil(s.stride[d])
        } else {
            span / s.stride[d]
        } + 1;
        if ceil && (n - 1) * s.stride[d] >= input[d] + s.padding[d] {
            n - 1
        } else {
            n
        }
    })
}

/// The input positions of an output's window, and the count of positions inside the padded input.
fn window(s: &PoolShape, input: [usize; 3], o: [usize; 3]) -> (Vec<[usize; 3]>, usize) {
    let (mut inside, mut padded) = (Vec::new(), 0);
    for t in space(s.kernel) {
        let at: [usize; 3] = std::array::from_fn(|d| o[d] * s.stride[d] + t[d] * s.dilation[d]);
        padded += (0..3).all(|d| at[d] < input[d] + 2 * s.padding[d]) as usize;
        if (0..3).all(|d| at[d] >= s.padding[d] && at[d] < input[d] + s.padding[d]) {
            inside.push(std::array::from_fn(|d| at[d] - s.padding[d]));
        }
    }
    (inside, padded)
}

const TWO: PoolShape = PoolShape {
    kernel: [1, 2, 2],
    stride: [1, 2, 2],
    padding: [0; 3],
    dilation: [1; 3],
};

fn cases() -> Vec<(PoolShape, [usize; 3], bool)> {
    let three = PoolShape {
        kernel: [1, 3, 3],
        stride: [1, 2, 2],
        padding: [0, 1, 1],
        dilation: [1; 3],
    };
    vec![
        (TWO, [1, 6, 8], false),
        (TWO, [1, 7, 9], false),
        (TWO, [1, 7, 9], true),
        (TWO, [2, 5, 37], false),
        (TWO, [1, 4, 64], false),
        (TWO, [2, 6, 70], false),
        (three, [1, 9, 75], true),
        (PoolShape { stride: [1; 3], ..TWO }, [2, 3, 40], false),
        (three, [1, 8, 7], false),
        (three, [1, 8, 7], true),
        (
            PoolShape {
                stride: [1, 1, 1],
                ..three
            },
            [2, 4, 5],
            false,
        ),
        (
            PoolShape {
                kernel: [2, 3, 2],
                stride: [2, 1, 3],
                padding: [1, 1, 0],
                dilation: [1; 3],
            },
            [4, 5, 6],
            true,
        ),
        (
            PoolShape {
                kernel: [1, 1, 4],
                stride: [1, 1, 3],
                padding: [0, 0, 2],
                dilation: [1; 3],
            },
            [1, 1, 11],
            true,
        ),
    ]
}

const ORDERS: [[usize; 5]; 2] = [[0, 1, 2, 3, 4], [0, 2, 3, 4, 1]];

#[test]
fn max_pool_agrees_with_the_definition() {
    let mut all = cases();
    all.push((
        PoolShape {
            dilation: [1, 2, 3],
            padding: [0, 1, 1],
            ..TWO
        },
        [1, 8, 9],
        false,
    ));
    all.push((
        PoolShape {
            kernel: [1, 3, 3],
            dilation: [1, 2, 2],
            stride: [1; 3],
            padding: [0, 1, 1],
        },
        [1, 7, 6],
        true,
    ));
    for (s, input, ceil) in all {
        let out = output(&s, input, ceil);
        let (xs, ys) = ([2, 3, input[0], input[1], input[2]], [2, 3, out[0], out[1], out[2]]);
        for order in ORDERS {
            let (sx, sy) = (strides(&xs, order), strides(&ys, order));
            let mut x = fill(xs.iter().product());
            x[5] = NAN;
            let size: usize = ys.iter().product();
            let (mut y, mut places, mut gx) = (vec![0.0; size], vec![0i64; size], vec![9.0; x.len()]);
            let (values, at) = (dst(&mut y, &ys, &sy), dst(&mut places, &ys, &sy));
            max_pool(&s, src(&x, &xs, &sx), values, Some(at));
            let mut alone = vec![0.0; size];
            max_pool(&s, src(&x, &xs, &sx), dst(&mut alone, &ys, &sy), None);
            let bits = |v: &[f64]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&alone), bits(&y), "{s:?} {input:?}");
            let gy = fill(size);
            let mut found = vec![7.0; x.len()];
            let (to, from) = (dst(&mut found, &xs, &sx), src(&x, &xs, &sx));
            max_pool_input(&s, src(&gy, &ys, &sy), from, to);
            max_pool_backward(src(&gy, &ys, &sy), src(&places, &ys, &sy), dst(&mut gx, &xs, &sx));
            let mut want_gx = vec![0.0; x.len()];
            for plane in 0..6 {
                let at = |p: [usize; 3], s: [isize; 5]| {
                    let i = [plane / 3, plane % 3, p[0], p[1], p[2]];
                    i.iter().zip(s).map(|(&i, s)| i * s as usize).sum::<usize>()
                };
                for o in space(out) {
                    let (mut best, mut place) = (f64::NEG_INFINITY, None);
                    for p in window(&s, input, o).0 {
                        let v = x[at(p, sx)];
                        if place.is_none() || v > best || v.is_nan() {
                            (best, place) = (v, Some(p));
                        }
                    }
                    let place = place.unwrap();
                    let flat = (place[0] * input[1] + place[1]) * input[2] + place[2];
                    assert_eq!(y[at(o, sy)].to_bits(), best.to_bits(), "{s:?} {input:?} {o:?}");
                    assert_eq!(places[at(o, sy)], flat as i64, "{s:?} {input:?} {o:?}");
                    want_gx[at(place, sx)] += gy[at(o, sy)];
                }
            }
            assert_eq!(gx, want_gx, "{s:?} {input:?}");
            assert_eq!(found, want_gx, "{s:?} {input:?}");
        }
    }
}

#[test]
fn max_of_integers_and_bad_indices() {
    let (x, shape) = ([i64::MIN, i64::MIN, i64::MIN, i64::MIN, 3, 1, 2, 3], [1, 1, 1, 2, 4]);
    let (mut y, mut places) = ([0i64; 2], [9i64; 2]);
    let (out, s) = ([1, 1, 1, 1, 2], [2, 2, 2, 2, 1]);
    max_pool(
        &TWO,
        src(&x, &shape, &[8, 8, 8, 4, 1]),
        dst(&mut y, &out, &s),
        Some(dst(&mut places, &out, &s)),
    );
    assert_eq!((y, places), ([3, 3], [4, 7]));
    let mut gx = [0i64; 8];
    max_pool_backward(
        src(&[1, 2], &out, &s),
        src(&[-1, 8], &out, &s),
        dst(&mut gx, &shape, &[8, 8, 8, 4, 1]),
    );
    assert_eq!(gx, [0; 8]);
}

#[test]
fn avg_pool_agrees_with_the_definition() {
    for (s, input, ceil) in cases() {
        let out = output(&s, input, ceil);
        let (xs, ys) = ([2, 3, input[0], input[1], input[2]], [2, 3, out[0], out[1], out[2]]);
        for (order, include, given) in [
            (0, true, None),
            (1, false, None),
            (1, true, Some(5)),
            (0, false, Some(-2)),
        ] {
            let (sx, sy) = (strides(&xs, ORDERS[order]), strides(&ys, ORDERS[order]));
            let (x, gy) = (fill(xs.iter().product()), fill(ys.iter().product()));
            let (mut y, mut gx) = (vec![0.0; gy.len()], vec![9.0; x.len()]);
            avg_pool(&s, src(&x, &xs, &sx), dst(&mut y, &ys, &sy), include, given);
            avg_pool_backward(&s, src(&gy, &ys, &sy), dst(&mut gx, &xs, &sx), include, given);
            let mut want_gx = vec![0.0; x.len()];
            for plane in 0..6 {
                let at = |p: [usize; 3], s: [isize; 5]| {
                    let i = [plane / 3, plane % 3, p[0], p[1], p[2]];
                    i.iter().zip(s).map(|(&i, s)| i * s as usize).sum::<usize>()
                };
                for o in space(out) {
                    let (inside, padded) = window(&s, input, o);
                    let divisor = given.map_or(if include { padded } else { inside.len() } as f64, |v| v as f64);
                    let sum: f64 = inside.iter().map(|&p| x[at(p, sx)]).sum();
                    assert_eq!(y[at(o, sy)], sum / divisor, "{s:?} {input:?} {o:?} {include} {given:?}");
                    inside
                        .iter()
                        .for_each(|&p| want_gx[at(p, sx)] += gy[at(o, sy)] / divisor);
                }
            }
            assert_eq!(gx, want_gx, "{s:?} {input:?} {include} {given:?}");
        }
    }
}

#[test]
fn adaptive_windows_cover_their_share() {
    for (n, m) in [(7, 3), (3, 7), (8, 8), (10, 1), (5, 2)] {
        let (xs, ys) = ([1, 2, 1, 1, n], [1, 2, 1, 1, m]);
        let (sx, sy) = (strides(&xs, ORDERS[0]), strides(&ys, ORDERS[0]));
        let (x, gy) = (fill(2 * n), fill(2 * m));
        let (mut y, mut top, mut places, mut gx) =
            (vec![0.0; 2 * m], vec![0.0; 2 * m], vec![0; 2 * m], vec![0.0; 2 * n]);
        adaptive_avg_pool(src(&x, &xs, &sx), dst(&mut y, &ys, &sy));
        adaptive_max_pool(src(&x, &xs, &sx), dst(&mut top, &ys, &sy), dst(&mut places, &ys, &sy));
        adaptive_avg_pool_backward(src(&gy, &ys, &sy), dst(&mut gx, &xs, &sx));
        let mut want_gx = vec![0.0; 2 * n];
        for (c, o) in (0..2 * m).map(|i| (i / m, i % m)) {
            let (start, end) = (o * n / m, ((o + 1) * n).div_ceil(m));
            let part = &x[c * n + start..c * n + end];
            assert_eq!(y[c * m + o], part.iter().sum::<f64>() / part.len() as f64);
            assert_eq!(top[c * m + o], part.iter().copied().fold(f64::MIN, f64::max));
            assert_eq!(x[c * n + places[c * m + o] as usize], top[c * m + o]);
            (start..end).for_each(|i| want_gx[c * n + i] += gy[c * m + o] / part.len() as f64);
        }
        assert_eq!(gx, want_gx);
    }
    // A batch of none, and outputs of none.
    let (none, shape) = ([0.0f32; 0], [0, 2, 1, 3, 3]);
    let (mut y, mut places) = ([0.0f32; 0], [0i64; 0]);
    adaptive_max_pool(
        src(&none, &shape, &[18, 9, 9, 3, 1]),
        dst(&mut y, &[0, 2, 1, 1, 1], &[2, 1, 1, 1, 1]),
        dst(&mut places, &[0, 2, 1, 1, 1], &[2, 1, 1, 1, 1]),
    );
    let x = [1.0f32; 9];
    adaptive_avg_pool(
        src(&x, &[1, 1, 1, 3, 3], &[9, 9, 9, 3, 1]),
        dst(&mut y, &[1, 1, 1, 0, 2], &[0, 0, 0, 2, 1]),
    );
    assert!(y.is_empty() && places.is_empty());
}

/// Float32 has code of its own where there are vectors: results are those of float64, rounded.
#[test]
fn float32_agrees_with_float64() {
    let mut all = cases();
    all.extend([
        (
            PoolShape {
                dilation: [1, 2, 3],
                padding: [0, 1, 1],
                ..TWO
            },
            [1, 8, 9],
            false,
        ),
        (
            PoolShape {
                dilation: [1, 1, 4],
                padding: [0, 0, 2],
                ..TWO
            },
            [1, 4, 1],
            false,
        ),
        (
            PoolShape {
                kernel: [1, 5, 5],
                stride: [1, 1, 1],
                padding: [0, 2, 2],
                ..TWO
            },
            [1, 20, 33],
            false,
        ),
        (
            PoolShape {
                kernel: [2, 2, 2],
                stride: [2, 2, 2],
                ..TWO
            },
            [4, 6, 50],
            false,
        ),
    ]);
    for (s, input, ceil) in all {
        let out = output(&s, input, ceil);
        let (xs, ys) = ([2, 3, input[0], input[1], input[2]], [2, 3, out[0], out[1], out[2]]);
        let (sx, sy) = (strides(&xs, ORDERS[0]), strides(&ys, ORDERS[0]));
        let (mut x, g) = (fill(xs.iter().product()), fill(ys.iter().product()));
        let at = x.len() / 2;
        (x[5], x[at], x[at + 1]) = (NAN, f64::NEG_INFINITY, f64::INFINITY);
        let narrow = |v: &[f64]| v.iter().map(|&v| v as f32).collect::<Vec<f32>>();
        let (x32, g32) = (narrow(&x), narrow(&g));
        let bits = |v: &[f32]| {
            v.iter()
                .map(|v| if v.is_nan() { 1 } else { v.to_bits() })
                .collect::<Vec<_>>()
        };
        let (mut y, mut y32, mut alone) = (vec![0.0; g.len()], vec![0f32; g.len()], vec![0f32; g.len()]);
        let (mut gx, mut gx32) = (vec![7.0; x.len()], vec![7f32; x.len()]);
        let (mut p, mut p32) = (vec![0i64; g.len()], vec![0i64; g.len()]);
        max_pool(
            &s,
            src(&x, &xs, &sx),
            dst(&mut y, &ys, &sy),
            Some(dst(&mut p, &ys, &sy)),
        );
        max_pool(
            &s,
            src(&x32, &xs, &sx),
            dst(&mut y32, &ys, &sy),
            Some(dst(&mut p32, &ys, &sy)),
        );
        max_pool(&s, src(&x32, &xs, &sx), dst(&mut alone, &ys, &sy), None);
        assert_eq!((bits(&y32), &p32), (bits(&narrow(&y)), &p), "{s:?} {input:?}");
        assert_eq!(bits(&alone), bits(&y32), "{s:?} {input:?}");
        max_pool_input(&s, src(&g, &ys, &sy), src(&x, &xs, &sx), dst(&mut gx, &xs, &sx));
        max_pool_input(&s, src(&g32, &ys, &sy), src(&x32, &xs, &sx), dst(&mut gx32, &xs, &sx));
        assert_eq!(bits(&gx32), bits(&narrow(&gx)), "{s:?} {input:?}");
        x[5] = 1.5;
        let x32 = narrow(&x);
        for include in [true, false] {
            avg_pool(&s, src(&x, &xs, &sx), dst(&mut y, &ys, &sy), include, None);
            avg_pool(&s, src(&x32, &xs, &sx), dst(&mut y32, &ys, &sy), include, None);
            assert_eq!(bits(&y32), bits(&narrow(&y)), "{s:?} {input:?}");
        }
    }
}

/// Float32 in dense planes, which vectors walk down by columns, and gradients into such, which it writes in whole
/// lines; and planes that lie apart, which nothing but the walk over positions takes: the same bits.
#[test]
fn dense_planes_and_others_agree() {
    let three = |h: usize, w: usize| PoolShape {
        kernel: [1, 3, 3],
        stride: [1, 2, 2],
        padding: [0, h, w],
        dilation: [1; 3],
    };
    let mut all = vec![(TWO, [2, 6, 70]), (TWO, [1, 7, 33]), (TWO, [1, 4, 4])];
    for (h, w) in [(1, 1), (0, 0), (0, 1), (1, 0)] {
        all.extend(
            [
                [1, 3, 4],
                [2, 4, 31],
                [1, 5, 32],
                [1, 6, 33],
                [1, 7, 34],
                [1, 8, 65],
                [1, 11, 112],
            ]
            .map(|i| (three(h, w), i)),
        );
    }
    for ((s, input), ceil) in all.into_iter().flat_map(|c| [(c, false), (c, true)]) {
        let out = output(&s, input, ceil);
        let (xs, ys) = ([2, 2, input[0], input[1], input[2]], [2, 2, out[0], out[1], out[2]]);
        let (sx, sy) = (strides(&xs, ORDERS[0]), strides(&ys, ORDERS[0]));
        let n: usize = xs.iter().product();
        let apart = sx.map(|s| 2 * s);
        let mut g: Vec<f32> = (0..ys.iter().product())
            .map(|i: usize| ((i * 7919 + 13) % 1009) as f32 / 77.0 - 6.0)
            .collect();
        g.iter_mut().step_by(3).for_each(|v| *v = -0.0);
        let bits = |v: &[f32], step: usize| v.iter().step_by(step).map(|v| v.to_bits()).collect::<Vec<_>>();
        for kind in 0..4 {
            let value = |i: usize| match (kind, i % 17, i % 3) {
                (1, 4, _) => f32::NAN,
                (1, _, 0) | (2, _, _) => f32::NEG_INFINITY,
                (3, _, t) => [0.0, -0.0, -0.0][t],
                _ => ((i * 7919) % 97) as f32 - 48.0,
            };
            let x: Vec<f32> = (0..n).map(value).collect();
            let spread: Vec<f32> = x.iter().flat_map(|&v| [v, 5.0]).collect();
            for average in [false, true] {
                let (mut near, mut far) = (vec![9f32; g.len()], vec![9f32; g.len()]);
                for (x, strides, y) in [(&x, &sx, &mut near), (&spread, &apart, &mut far)] {
                    let (x, y) = (src(x, &xs, strides), dst(y, &ys, &sy));
                    if average {
                        avg_pool(&s, x, y, false, None);
                    } else {
                        max_pool(&s, x, y, None);
                    }
                }
                let bits = |v: &[f32]| {
                    bits(
                        &v.iter().map(|v| if v.is_nan() { 1.5 } else { *v }).collect::<Vec<_>>(),
                        1,
                    )
                };
                assert_eq!(bits(&near), bits(&far), "{s:?} {input:?} {ceil} {kind} {average}");
            }
            let (mut near, mut far) = (vec![9f32; n], vec![9f32; 2 * n]);
            max_pool_input(&s, src(&g, &ys, &sy), src(&x, &xs, &sx), dst(&mut near, &xs, &sx));
            max_pool_input(&s, src(&g, &ys, &sy), src(&x, &xs, &sx), dst(&mut far, &xs, &apart));
            assert_eq!(bits(&near, 1), bits(&far, 2), "{s:?} {input:?} {ceil} {kind}");
        }
        for include in [true, false] {
            let (mut near, mut far) = (vec![9f32; n], vec![9f32; 2 * n]);
            avg_pool_backward(&s, src(&g, &ys, &sy), dst(&mut near, &xs, &sx), include, None);
            avg_pool_backward(&s, src(&g, &ys, &sy), dst(&mut far, &xs, &apart), include, None);
            assert_eq!(bits(&near, 1), bits(&far, 2), "{s:?} {input:?} {ceil} {include}");
        }
    }
}

/// Planes of rows of few outputs, of windows far apart and of adaptive pools are taken sixteen together where they are dense
/// float32: the bits of planes that lie apart.
#[test]
fn planes_together_and_apart_agree() {
    let shape = |kernel, stride, padding, dilation| PoolShape {
        kernel,
        stride,
        padding,
        dilation,
    };
    let one = [1; 3];
    // A shape, or the outputs of an adaptive pool.
    let cases = [
        (Ok(TWO), [1, 4, 8], 8),
        (Ok(shape([1, 3, 3], [1, 2, 2], [0, 1, 1], one)), [1, 7, 8], 17),
        (Ok(shape([1, 5, 5], [1, 3, 3], [0, 2, 1], one)), [1, 31, 47], 33),
        (Ok(shape([3, 3, 3], [3, 3, 3], [1, 1, 1], one)), [5, 11, 10], 24),
        (Ok(shape([2, 3, 3], [1, 2, 4], [1, 0, 1], [2, 3, 2])), [6, 40, 30], 9),
        (Ok(shape([1, 1, 4], [1, 1, 4], [0; 3], one)), [1, 1, 1000], 16),
        (Ok(shape([1, 3, 3], one, [0, 1, 1], one)), [1, 6, 6], 15),
        (Err([1, 5, 3]), [1, 12, 10], 16),
        (Err([2, 1, 7]), [5, 9, 7], 31),
        (Err([1, 3, 3]), [1, 80, 81], 10),
        (Err([3, 2, 2]), [2, 3, 1], 20),
    ];
    let bits = |v: &[f32], step: usize| {
        let one = |v: &f32| if v.is_nan() { 1 } else { v.to_bits() };
        v.iter().step_by(step).map(one).collect::<Vec<_>>()
    };
    for ((pool, input, planes), ceil) in cases.into_iter().flat_map(|c| [(c, false), (c, true)]) {
        let out = match &pool {
            Ok(s) => output(s, input, ceil),
            Err(out) => *out,
        };
        let (xs, ys) = (
            [1, planes, input[0], input[1], input[2]],
            [1, planes, out[0], out[1], out[2]],
        );
        let (sx, sy) = (strides(&xs, ORDERS[0]), strides(&ys, ORDERS[0]));
        let (n, m): (usize, usize) = (xs.iter().product(), ys.iter().product());
        let apart = sx.map(|s| 2 * s);
        let mut g: Vec<f32> = (0..m).map(|i| ((i * 7919 + 13) % 1009) as f32 / 77.0 - 6.0).collect();
        g.iter_mut().step_by(3).for_each(|v| *v = -0.0);
        for kind in 0..3 {
            let value = |i: usize| match (kind, i % 17, i % 3) {
                (1, 4, _) => f32::NAN,
                (1, _, 0) | (2, _, _) => f32::NEG_INFINITY,
                _ => ((i * 7919) % 97) as f32 / 7.0 - 6.0,
            };
            let x: Vec<f32> = (0..n).map(value).collect();
            let spread: Vec<f32> = x.iter().flat_map(|&v| [v, 50.0]).collect();
            let what = format!("{pool:?} {input:?} {planes} {ceil} {kind}");
            let mut both = Vec::new();
            for (x, s) in [(&x, &sx), (&spread, &apart)] {
                let (mut top, mut same, mut mean, mut at) = (vec![9f32; m], vec![9f32; m], vec![9f32; m], vec![9; m]);
                let x = || src(x, &xs, s);
                match &pool {
                    Ok(s) => {
                        max_pool(s, x(), dst(&mut top, &ys, &sy), Some(dst(&mut at, &ys, &sy)));
                        max_pool(s, x(), dst(&mut same, &ys, &sy), None);
                        avg_pool(s, x(), dst(&mut mean, &ys, &sy), ceil, None);
                    }
                    Err(_) => {
                        adaptive_max_pool(x(), dst(&mut top, &ys, &sy), dst(&mut at, &ys, &sy));
                        same.copy_from_slice(&top);
                        adaptive_avg_pool(x(), dst(&mut mean, &ys, &sy));
                    }
                }
                both.push(([&top, &same, &mean].map(|v| bits(v, 1)), at));
            }
            assert!(both[0] == both[1], "{what}");
            let (mut near, mut far) = (vec![9f32; n], vec![9f32; 2 * n]);
            for (gx, strides, step) in [(&mut near, &sx, 1), (&mut far, &apart, 2)] {
                let x = src(if step == 1 { &x } else { &spread }, &xs, strides);
                let (g, gx) = (src(&g, &ys, &sy), dst(gx, &xs, strides));
                match &pool {
                    Ok(s) if kind > 0 => max_pool_input(s, g, x, gx),
                    Ok(s) => avg_pool_backward(s, g, gx, ceil, None),
                    Err(_) => adaptive_avg_pool_backward(g, gx),
                }
            }
            assert_eq!(bits(&near, 1), bits(&far, 2), "{what}");
        }
    }
}
