//! Convolutions of one channel per group, on the shapes at which their kernels change.

use super::ConvShape;
use super::tests::{NCHW, PLAIN, check};

fn both(s: &ConvShape, with_bias: bool) {
    check::<f32>(s, NCHW, with_bias, f32::EPSILON as f64);
    check::<f64>(s, NCHW, !with_bias, f64::EPSILON);
}

/// Square windows read where they lie: lines of all lengths around a vector's, fewer lines than the window has, paddings
/// beyond the window, several planes and several results of one.
#[test]
fn square_windows_in_place_agree() {
    let base = ConvShape {
        n: 3,
        c_in: 4,
        c_out: 4,
        groups: 4,
        ..PLAIN
    };
    for (side, stride) in [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (7, 2)] {
        for w in [1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 65] {
            for padding in [[side / 2; 2], [0, side], [side + 1, side - 1]] {
                let h = [1, 2, 6, 13][w % 4];
                if h + 2 * padding[0] < side || w + 2 * padding[1] < side {
                    continue;
                }
                let s = ConvShape {
                    input: [1, h, w],
                    kernel: [1, side, side],
                    stride: [1, stride, stride],
                    padding: [0, padding[0], padding[1]],
                    ..base
                };
                check::<f32>(&s, NCHW, w % 2 == 0, f32::EPSILON as f64);
                if w % 3 == 0 {
                    check::<f64>(&ConvShape { c_out: 8, ..s }, NCHW, w % 2 == 1, f64::EPSILON);
                }
            }
        }
    }
    // Planes in parts, lines that do not follow each other, channels enough for several batches of sums.
    let large = ConvShape {
        n: 1,
        c_in: 2,
        c_out: 2,
        groups: 2,
        input: [1, 171, 190],
        padding: [0, 1, 1],
        ..PLAIN
    };
    both(&large, true);
    check::<f32>(&large, [0, 3, 1, 2, 4], true, f32::EPSILON as f64);
    let many = ConvShape {
        n: 2,
        c_in: 45,
        c_out: 45,
        groups: 45,
        input: [1, 5, 9],
        padding: [0, 1, 1],
        ..PLAIN
    };
    both(&many, false);
}

/// The gradient by the input of windows of three with stride two: odd and even sizes, every phase, single lines.
#[test]
fn doubled_planes_agree() {
    for [h, w] in [
        [2, 2],
        [3, 9],
        [8, 31],
        [5, 32],
        [6, 33],
        [7, 34],
        [1, 63],
        [4, 64],
        [9, 65],
        [10, 70],
    ] {
        for padding in [[0, 0], [1, 1], [0, 1], [1, 2], [2, 3], [5, 4]] {
            if h + 2 * padding[0] < 3 || w + 2 * padding[1] < 3 {
                continue;
            }
            let s = ConvShape {
                c_in: 5,
                c_out: 5,
                groups: 5,
                input: [1, h, w],
                stride: [1, 2, 2],
                padding: [0, padding[0], padding[1]],
                ..PLAIN
            };
            check::<f32>(&s, NCHW, false, f32::EPSILON as f64);
            if w % 2 == 0 {
                check::<f64>(&s, NCHW, true, f64::EPSILON);
            }
        }
    }
    // Dilated taps, another stride of one dim, a gradient whose columns lie apart.
    let s = ConvShape {
        c_in: 5,
        c_out: 5,
        groups: 5,
        input: [1, 12, 35],
        stride: [1, 2, 2],
        padding: [0, 1, 1],
        ..PLAIN
    };
    for s in [
        ConvShape {
            dilation: [1, 3, 3],
            ..s
        },
        ConvShape {
            dilation: [1, 2, 1],
            ..s
        },
        ConvShape { stride: [1, 1, 2], ..s },
        ConvShape { stride: [1, 3, 2], ..s },
    ] {
        check::<f32>(&s, NCHW, false, f32::EPSILON as f64);
    }
    check::<f32>(&s, [0, 1, 4, 3, 2], false, f32::EPSILON as f64);
}

/// One input channel: numbers of output channels around those taken together, all kinds of taps, planes in blocks of lines.
#[test]
fn one_channel_agrees() {
    let base = ConvShape {
        n: 5,
        c_in: 1,
        c_out: 9,
        input: [1, 11, 19],
        ..PLAIN
    };
    for (kernel, stride, dilation, padding) in [
        ([3, 3], [1, 1], [1, 1], [1, 1]),
        ([3, 3], [2, 2], [1, 1], [1, 0]),
        ([5, 5], [1, 1], [1, 1], [2, 2]),
        ([5, 5], [1, 2], [1, 1], [7, 6]),
        ([7, 7], [2, 1], [1, 1], [3, 3]),
        ([2, 4], [1, 1], [3, 2], [0, 5]),
        ([1, 6], [1, 3], [1, 1], [0, 0]),
        ([4, 1], [2, 1], [1, 1], [3, 0]),
        ([3, 17], [1, 1], [1, 1], [0, 0]),
    ] {
        for c_out in [4, 9, 15, 32] {
            let s = ConvShape {
                c_out,
                kernel: [1, kernel[0], kernel[1]],
                stride: [1, stride[0], stride[1]],
                dilation: [1, dilation[0], dilation[1]],
                padding: [0, padding[0], padding[1]],
                ..base
            };
            both(&s, c_out % 2 == 0);
            check::<f32>(&s, [0, 2, 3, 4, 1], true, f32::EPSILON as f64);
            // Several groups, one channel out.
            let groups = ConvShape {
                c_in: 3,
                c_out: 3 * c_out,
                groups: 3,
                n: 2,
                ..s
            };
            check::<f32>(&groups, NCHW, true, f32::EPSILON as f64);
            let back = ConvShape {
                c_in: c_out,
                c_out: 1,
                ..s
            };
            check::<f32>(&back, NCHW, true, f32::EPSILON as f64);
        }
    }
    let large = ConvShape {
        n: 2,
        c_out: 10,
        input: [1, 150, 123],
        padding: [0, 1, 1],
        ..base
    };
    both(&large, true);
    both(
        &ConvShape {
            stride: [1, 2, 2],
            input: [1, 290, 251],
            ..large
        },
        false,
    );
}
