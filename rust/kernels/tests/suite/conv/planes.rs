//! Convolutions of one channel per group, on the shapes at which their kernels change.

use super::{CHANNELS_LAST, F32, F64, NCHW, PLAIN, With, check};
use firesteel_kernels::conv::ConvShape;

fn both(s: &ConvShape, with_bias: bool) {
    check::<f32>(s, NCHW, with_bias, F32);
    check::<f64>(s, NCHW, !with_bias, F64);
}

#[test]
fn planes_in_place_agree() {
    let base = PLAIN
        .n(3)
        .c_in(5)
        .c_out(5)
        .grouped(5)
        .input([1, 17, 33])
        .padding([0, 1, 1]);
    for (stride, kernel, dilation) in [
        ([1, 1, 1], [1, 3, 3], [1, 1, 1]),
        ([1, 2, 2], [1, 3, 3], [1, 1, 1]),
        ([1, 1, 2], [1, 5, 5], [1, 1, 1]),
        ([1, 3, 3], [1, 3, 3], [1, 1, 1]),
        ([1, 1, 1], [1, 3, 3], [1, 2, 3]),
        ([1, 2, 1], [1, 1, 17], [1, 1, 1]),
    ] {
        for input in [[1, 17, 33], [1, 4, 16], [1, 8, 64], [1, 56, 7], [1, 63, 65]] {
            let s = base
                .stride(stride)
                .kernel(kernel)
                .dilation(dilation)
                .input(input)
                .padding([0, kernel[1] / 2 * dilation[1], kernel[2] / 2 * dilation[2]]);
            check::<f32>(&s, NCHW, true, F32);
            check::<f64>(&s.c_out(10), NCHW, true, F64);
        }
    }
    // One channel in or out, without groups.
    for (c_in, c_out) in [(1, 9), (9, 1), (1, 34)] {
        let s = base.c_in(c_in).c_out(c_out).grouped(1);
        check::<f32>(&s, NCHW, true, F32);
        check::<f32>(&s, CHANNELS_LAST, false, F32);
    }
}

/// Square windows over copies with a border: all sides, strides of each dim, dilations, paddings wider than the window,
/// planes of all widths from less than half a vector on, several planes at a time, and parts of planes.
#[test]
fn bordered_planes_agree() {
    let base = PLAIN.n(2).c_in(5).c_out(5).grouped(5);
    for (side, stride, dilation, padding) in [
        (3, [1, 1], [1, 1], [1, 1]),
        (3, [1, 1], [1, 1], [0, 0]),
        (3, [1, 1], [2, 3], [2, 3]),
        (3, [2, 2], [1, 1], [1, 1]),
        (3, [2, 1], [1, 2], [0, 2]),
        (3, [1, 2], [3, 1], [4, 5]),
        (5, [1, 1], [1, 1], [2, 2]),
        (5, [2, 2], [1, 1], [2, 1]),
        (5, [1, 1], [1, 1], [9, 18]),
        (7, [1, 1], [1, 1], [3, 3]),
        (7, [2, 2], [1, 1], [3, 3]),
        (7, [1, 1], [2, 1], [6, 0]),
    ] {
        for [h, w] in [[7, 7], [1, 5], [6, 3], [14, 14], [9, 16], [4, 33], [29, 41]] {
            let reach = |d: usize, size: usize| size + 2 * padding[d] > dilation[d] * (side - 1);
            if !reach(0, h) || !reach(1, w) {
                continue;
            }
            let s = base
                .input([1, h, w])
                .kernel([1, side, side])
                .stride([1, stride[0], stride[1]])
                .dilation([1, dilation[0], dilation[1]])
                .padding([0, padding[0], padding[1]]);
            check::<f32>(&s, NCHW, h % 2 == 0, F32);
            check::<f64>(&s.c_out(10), NCHW, h % 2 == 1, F64);
        }
    }
    // Planes of which a part is copied at a time; images whose columns do not follow each other.
    for (side, stride) in [(3, 1), (3, 2), (5, 1), (7, 2)] {
        let s = PLAIN
            .n(1)
            .c_in(2)
            .c_out(2)
            .grouped(2)
            .input([1, 75, 230])
            .kernel([1, side, side])
            .stride([1, stride, stride])
            .padding([0, side / 2, side / 2]);
        check::<f32>(&s, NCHW, true, F32);
        check::<f32>(&s, [0, 1, 4, 3, 2], false, F32);
    }
    check::<f32>(&base.n(0), NCHW, true, F32);
}

/// Square windows read where they lie: lines of all lengths around a vector's, fewer lines than the window has, paddings
/// beyond the window, several planes and several results of one.
#[test]
fn square_windows_in_place_agree() {
    let base = PLAIN.n(3).c_in(4).c_out(4).grouped(4);
    for (side, stride) in [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (7, 2)] {
        for w in [1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 65] {
            for padding in [[side / 2; 2], [0, side], [side + 1, side - 1]] {
                let h = [1, 2, 6, 13][w % 4];
                if h + 2 * padding[0] < side || w + 2 * padding[1] < side {
                    continue;
                }
                let s = base
                    .input([1, h, w])
                    .kernel([1, side, side])
                    .stride([1, stride, stride])
                    .padding([0, padding[0], padding[1]]);
                check::<f32>(&s, NCHW, w % 2 == 0, F32);
                if w % 3 == 0 {
                    check::<f64>(&s.c_out(8), NCHW, w % 2 == 1, F64);
                }
            }
        }
    }
    // Planes in parts, lines that do not follow each other, channels enough for several batches of sums.
    let large = PLAIN
        .n(1)
        .c_in(2)
        .c_out(2)
        .grouped(2)
        .input([1, 171, 190])
        .padding([0, 1, 1]);
    both(&large, true);
    check::<f32>(&large, [0, 3, 1, 2, 4], true, F32);
    let many = PLAIN
        .n(2)
        .c_in(45)
        .c_out(45)
        .grouped(45)
        .input([1, 5, 9])
        .padding([0, 1, 1]);
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
            let s = PLAIN
                .c_in(5)
                .c_out(5)
                .grouped(5)
                .input([1, h, w])
                .stride([1, 2, 2])
                .padding([0, padding[0], padding[1]]);
            check::<f32>(&s, NCHW, false, F32);
            if w % 2 == 0 {
                check::<f64>(&s, NCHW, true, F64);
            }
        }
    }
    // Dilated taps, another stride of one dim, a gradient whose columns lie apart.
    let s = PLAIN
        .c_in(5)
        .c_out(5)
        .grouped(5)
        .input([1, 12, 35])
        .stride([1, 2, 2])
        .padding([0, 1, 1]);
    for s in [
        s.dilation([1, 3, 3]),
        s.dilation([1, 2, 1]),
        s.stride([1, 1, 2]),
        s.stride([1, 3, 2]),
    ] {
        check::<f32>(&s, NCHW, false, F32);
    }
    check::<f32>(&s, [0, 1, 4, 3, 2], false, F32);
}

/// One input channel: numbers of output channels around those taken together, all kinds of taps, planes in blocks of lines.
#[test]
fn one_channel_agrees() {
    let base = PLAIN.n(5).c_in(1).c_out(9).input([1, 11, 19]);
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
            let s = base
                .c_out(c_out)
                .kernel([1, kernel[0], kernel[1]])
                .stride([1, stride[0], stride[1]])
                .dilation([1, dilation[0], dilation[1]])
                .padding([0, padding[0], padding[1]]);
            both(&s, c_out % 2 == 0);
            check::<f32>(&s, CHANNELS_LAST, true, F32);
            // Several groups, one channel out.
            let groups = s.c_in(3).c_out(3 * c_out).grouped(3).n(2);
            check::<f32>(&groups, NCHW, true, F32);
            let back = s.c_in(c_out).c_out(1);
            check::<f32>(&back, NCHW, true, F32);
        }
    }
    let large = base.n(2).c_out(10).input([1, 150, 123]).padding([0, 1, 1]);
    both(&large, true);
    both(&large.stride([1, 2, 2]).input([1, 290, 251]), false);
}
