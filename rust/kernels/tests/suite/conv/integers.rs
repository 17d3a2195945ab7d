//! Integers are exact.

use super::{CHANNELS_LAST, NCHW, PLAIN, With, each, output, strides};
use firesteel_kernels::conv::{ConvShape, backward_data, backward_weight, forward};
use firesteel_kernels::{Dst, Src};

/// With numbers of this size, products wrap.
#[test]
fn integers_wrap() {
    let numbers = |n: usize, seed: i64| -> Vec<i64> {
        (0..n as i64)
            .map(|i| (i + seed).wrapping_mul(0x9E37_79B9_7F4A_7C15u64 as i64))
            .collect()
    };
    let base = PLAIN.c_in(4).c_out(6).grouped(2);
    let cases = [
        base,
        base.stride([1, 2, 3]).padding([0, 2, 1]).dilation([1, 2, 1]),
        base.input([3, 4, 5]).kernel([2, 1, 3]).padding([1, 0, 4]),
        base.n(0),
    ];
    for s in cases {
        let s = &ConvShape {
            output: output(&s),
            ..s
        };
        let xs = [s.n, s.c_in, s.input[0], s.input[1], s.input[2]];
        let ys = [s.n, s.c_out, s.output[0], s.output[1], s.output[2]];
        let ws = [s.c_out, s.c_in / s.groups, s.kernel[0], s.kernel[1], s.kernel[2]];
        for order in [NCHW, CHANNELS_LAST] {
            let [sx, sy, sw] = [xs, ys, ws].map(|v| strides(&v, order));
            let at = |i: [usize; 5], s: [isize; 5]| i.iter().zip(s).map(|(&i, s)| i * s as usize).sum::<usize>();
            let [nx, ny, nw] = [xs, ys, ws].map(|v| v.iter().product::<usize>());
            let (x, w, gy, bias) = (numbers(nx, 1), numbers(nw, 5), numbers(ny, 9), numbers(s.c_out, 3));
            let mut want = [vec![0i64; ny], vec![0i64; nx], vec![0i64; nw]];
            (0..ny).for_each(|i| want[0][i] = bias[i / sy[1] as usize % s.c_out]);
            each(s, |o, i, t| {
                let (o, i, t) = (at(o, sy), at(i, sx), at(t, sw));
                want[0][o] = want[0][o].wrapping_add(x[i].wrapping_mul(w[t]));
                want[1][i] = want[1][i].wrapping_add(gy[o].wrapping_mul(w[t]));
                want[2][t] = want[2][t].wrapping_add(gy[o].wrapping_mul(x[i]));
            });
            let mut got = [vec![1i64; ny], vec![1i64; nx], vec![1i64; nw]];
            let [y, gx, gw] = &mut got;
            // SAFETY: strides made for the vectors' sizes.
            unsafe {
                let (x, w) = (Src::new(x.as_ptr(), &xs, &sx), Src::new(w.as_ptr(), &ws, &sw));
                let (gy, b) = (
                    Src::new(gy.as_ptr(), &ys, &sy),
                    Src::new(bias.as_ptr(), &[s.c_out], &[1]),
                );
                forward(s, x, w, Some(b), Dst::new(y.as_mut_ptr(), &ys, &sy));
                backward_data(s, gy, w, Dst::new(gx.as_mut_ptr(), &xs, &sx));
                backward_weight(s, x, gy, Dst::new(gw.as_mut_ptr(), &ws, &sw));
            }
            assert_eq!(got, want, "{s:?} {order:?}");
        }
    }
}
