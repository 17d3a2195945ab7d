//! The error of minimal filtering beside that of the plain sum.

use super::{NCHW, PLAIN, few_planes, output, strides};
use firesteel_kernels::conv::{ConvElement, ConvShape, backward_data, backward_weight, forward};
use firesteel_kernels::internals::winograd::{apart, dilated, doubled, taken};
use firesteel_kernels::{Dst, Src};

#[derive(Clone, Copy, Debug)]
enum Values {
    Normal,
    Uniform,
    Positive,
    Rectified,
}

fn values(n: usize, kind: Values, seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut next = move || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 40) as f64 / (1 << 23) as f64 - 1.0
    };
    let mut one = || match kind {
        Values::Normal => (0..6).map(|_| next()).sum::<f64>(),
        Values::Uniform => next(),
        Values::Positive => next().abs(),
        Values::Rectified => (0..6).map(|_| next()).sum::<f64>().max(0.0),
    };
    (0..n).map(|_| one() as f32 as f64).collect()
}

/// All three passes on the same numbers; in `order` memory, from which the results are read in the usual order.
fn passes<T: ConvElement + Into<f64>>(s: &ConvShape, order: [usize; 5], kind: Values) -> [Vec<f64>; 3] {
    few_planes();
    let shape = |n: usize, c: usize, d: [usize; 3]| [n, c, d[0], d[1], d[2]];
    let shapes = [
        shape(s.n, s.c_in, s.input),
        shape(s.c_out, s.c_in, s.kernel),
        shape(s.n, s.c_out, s.output),
    ];
    let places = |of: &[usize; 5]| -> Vec<usize> {
        let strides = strides(of, order);
        (0..of.iter().product())
            .map(|mut i| {
                let mut at = 0;
                for d in (0..5).rev() {
                    at += i % of[d] * strides[d] as usize;
                    i /= of[d];
                }
                at
            })
            .collect()
    };
    let make = |which: usize, kind: Values| -> Vec<T> {
        let places = places(&shapes[which]);
        let mut all = vec![T::from_f64(0.0); places.len()];
        for (&at, v) in places.iter().zip(values(places.len(), kind, which as u64 + 1)) {
            all[at] = T::from_f64(v);
        }
        all
    };
    let signed = if matches!(kind, Values::Rectified) {
        Values::Normal
    } else {
        kind
    };
    let (x, w, gy) = (make(0, kind), make(1, signed), make(2, signed));
    let mut results = [2, 0, 1].map(|which| make(which, kind));
    let [sx, sw, sy] = shapes.map(|v| strides(&v, order));
    // SAFETY: strides made for the vectors' sizes.
    unsafe {
        let x = Src::new(x.as_ptr(), &shapes[0], &sx);
        let w = Src::new(w.as_ptr(), &shapes[1], &sw);
        let gy = Src::new(gy.as_ptr(), &shapes[2], &sy);
        let [y, gx, gw] = &mut results;
        forward(s, x, w, None, Dst::new(y.as_mut_ptr(), &shapes[2], &sy));
        backward_data(s, gy, w, Dst::new(gx.as_mut_ptr(), &shapes[0], &sx));
        backward_weight(s, x, gy, Dst::new(gw.as_mut_ptr(), &shapes[1], &sw));
    }
    let mut which = [2, 0, 1].into_iter();
    results.map(|r| {
        places(&shapes[which.next().unwrap()])
            .iter()
            .map(|&at| r[at].into())
            .collect()
    })
}

/// Root of the mean square, and largest, of the differences.
fn error(got: &[f64], want: &[f64]) -> [f64; 2] {
    let square = |(g, w): (&f64, &f64)| (g - w).powi(2);
    let sum: f64 = got.iter().zip(want).map(square).sum();
    let most = got.iter().zip(want).map(square).fold(0.0, f64::max);
    [(sum / want.len() as f64).sqrt(), most.sqrt()]
}

/// All three passes of a shape, of all kinds of values; `here` are those that a form takes.
fn held(s: &ConvShape, here: [bool; 3]) {
    for kind in [Values::Normal, Values::Uniform, Values::Positive, Values::Rectified] {
        let want = passes::<f64>(s, NCHW, kind);
        let got = passes::<f32>(s, NCHW, kind);
        // Lines that are no neighbours in memory leave the plain sum in place.
        let plain = passes::<f32>(s, [0, 1, 2, 4, 3], kind);
        for (i, name) in ["forward", "input", "weight"].into_iter().enumerate() {
            if got[i] == plain[i] {
                assert!(!here[i], "{s:?} {name}: not taken");
                continue;
            }
            let (ours, theirs) = (error(&got[i], &want[i]), error(&plain[i], &want[i]));
            let ratios = [ours[0] / theirs[0], ours[1] / theirs[1]];
            println!("{s:?} {kind:?} {name}: {:.2} {:.2}", ratios[0], ratios[1]);
            assert!(
                ratios[0] < 4.0 && ratios[1] < 4.0,
                "{s:?} {kind:?} {name}: {ours:?} beside {theirs:?}"
            );
        }
    }
}

#[test]
fn the_error_stays_within_four_times_that_of_the_plain_sum() {
    for (n, c_in, c_out, size, padding, taps, stride, by) in [
        (1, 16, 16, 30, 1, 3, 1, 1),
        (4, 17, 24, 20, 1, 3, 1, 1),
        (3, 32, 64, 26, 0, 3, 1, 1),
        (1, 64, 64, 56, 1, 3, 1, 1),
        (1, 128, 48, 28, 1, 3, 1, 1),
        (1, 256, 64, 14, 1, 3, 1, 1),
        (4, 256, 32, 14, 1, 3, 1, 1),
        (8, 512, 32, 7, 1, 3, 1, 1),
        (1, 16, 16, 30, 2, 5, 1, 1),
        (4, 17, 24, 20, 0, 5, 1, 1),
        (2, 64, 48, 27, 2, 5, 1, 1),
        (8, 192, 32, 7, 2, 5, 1, 1),
        (4, 16, 16, 32, 1, 3, 2, 1),
        (2, 64, 72, 56, 1, 3, 2, 1),
        (4, 256, 64, 14, 1, 3, 2, 1),
        (8, 48, 512, 14, 1, 3, 2, 1),
        (4, 17, 16, 32, 1, 4, 2, 1),
        (2, 48, 128, 28, 1, 4, 2, 1),
        (2, 3, 64, 64, 3, 7, 2, 1),
        (1, 4, 16, 60, 2, 6, 2, 1),
        (1, 3, 24, 80, 2, 5, 2, 1),
        (2, 16, 32, 40, 0, 8, 2, 1),
        (1, 64, 64, 16, 1, 4, 2, 1),
        (4, 16, 64, 32, 1, 4, 2, 1),
        (2, 64, 48, 32, 1, 4, 2, 1),
        (1, 64, 32, 34, 1, 4, 2, 1),
        (1, 16, 16, 30, 0, 2, 1, 1),
        (4, 64, 48, 28, 1, 2, 1, 1),
        (1, 16, 16, 30, 1, 4, 1, 1),
        (4, 64, 48, 28, 2, 4, 1, 1),
        (1, 256, 32, 31, 1, 4, 1, 1),
        (1, 64, 64, 30, 2, 3, 1, 2),
        (1, 65, 64, 33, 4, 3, 1, 3),
        (1, 128, 64, 28, 2, 3, 1, 2),
        (1, 64, 72, 40, 0, 3, 1, 4),
        (1, 64, 64, 27, 4, 5, 1, 2),
    ] {
        let mut s = ConvShape {
            n,
            c_in,
            c_out,
            input: [1, size, size],
            padding: [0, padding, padding],
            kernel: [1, taps, taps],
            stride: [1, stride, stride],
            dilation: [1, by, by],
            ..PLAIN
        };
        s.output = output(&s);
        let phases = apart(&s);
        let forward = taken(&s) || phases || dilated(&s);
        let input = stride == 1 || doubled(&s);
        assert!(
            forward && input == (stride == 1 || taps < 5),
            "{s:?}: {forward} {input}"
        );
        // The gradient of few positions has too few tiles.
        // With a stride only many channels on whole tiles.
        let halved = [stride, taps] == [2, 3] && c_in.min(c_out) >= 64 && s.output[1].is_multiple_of(4);
        let weight = phases || halved || stride == 1 && n * size * size >= 400;
        held(&s, [forward, input, weight]);
    }
}

#[test]
fn so_does_that_of_single_lines() {
    for (n, channels, taps, size) in [
        (2, [16, 24], [1, 3], [10, 64]),
        (4, [128, 64], [1, 3], [2, 64]),
        (1, [64, 48], [3, 1], [17, 17]),
        (2, [48, 64], [1, 5], [7, 40]),
        (3, [32, 32], [5, 1], [40, 8]),
        (2, [64, 16], [4, 1], [33, 9]),
        (1, [64, 32], [1, 7], [4, 80]),
        (2, [32, 64], [9, 1], [48, 6]),
        (1, [16, 32], [7, 7], [24, 24]),
        (1, [32, 16], [6, 6], [29, 29]),
    ] {
        let mut s = ConvShape {
            n,
            c_in: channels[0],
            c_out: channels[1],
            input: [1, size[0], size[1]],
            kernel: [1, taps[0], taps[1]],
            padding: [0, (taps[0] - 1) / 2, (taps[1] - 1) / 2],
            ..PLAIN
        };
        s.output = output(&s);
        assert!(taken(&s), "{s:?}");
        held(&s, [true; 3]);
    }
}
