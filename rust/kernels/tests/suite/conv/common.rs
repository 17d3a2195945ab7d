//! Shapes of all kinds: paddings, strides, dilations, groups, depth, one tap, copies made in parts.

use super::{CHANNELS_LAST, F32, F64, NCHW, PLAIN, With, check, few_planes, fill, output, strides};
use crate::testing::with_threads;
use firesteel_kernels::conv::{ConvShape, forward};
use firesteel_kernels::{Dst, Src};

#[test]
fn shapes_agree_with_the_definition() {
    let cases = [
        PLAIN,
        PLAIN.padding([0, 1, 1]),
        PLAIN.padding([0, 2, 1]).stride([1, 2, 2]),
        PLAIN.padding([0, 3, 4]).stride([1, 3, 2]).dilation([1, 2, 3]),
        PLAIN.kernel([1, 1, 1]).padding([0, 1, 0]),
        PLAIN.kernel([1, 1, 1]).stride([1, 3, 3]),
        PLAIN.kernel([1, 2, 2]).stride([1, 4, 3]),
        PLAIN.grouped(3).c_out(6).padding([0, 1, 1]),
        PLAIN.grouped(4).c_in(8).c_out(4).stride([1, 2, 1]).padding([0, 1, 1]),
        PLAIN
            .input([1, 1, 40])
            .kernel([1, 1, 5])
            .stride([1, 1, 2])
            .padding([0, 0, 4]),
        PLAIN
            .input([4, 5, 6])
            .kernel([2, 3, 2])
            .stride([2, 1, 2])
            .padding([1, 1, 0]),
        PLAIN.input([1, 3, 3]).kernel([1, 3, 3]),
        PLAIN.c_in(40).c_out(33).input([1, 6, 5]).padding([0, 1, 1]),
        PLAIN.n(5).c_in(1).c_out(32).input([1, 28, 28]),
        PLAIN.n(0),
        PLAIN.grouped(6).c_in(6).c_out(12).input([1, 21, 19]).padding([0, 1, 1]),
        PLAIN
            .grouped(6)
            .c_in(6)
            .c_out(6)
            .input([3, 9, 40])
            .kernel([3, 5, 3])
            .padding([1, 2, 0]),
        PLAIN.c_in(7).c_out(6).input([1, 12, 37]).padding([0, 2, 2]),
    ];
    for s in &cases {
        check::<f32>(s, NCHW, true, F32);
        check::<f64>(s, NCHW, false, F64);
        // Channels last, and dims in no useful order.
        check::<f32>(s, CHANNELS_LAST, true, F32);
        check::<f64>(s, [4, 3, 1, 0, 2], true, F64);
    }
}

/// Columns far apart are brought together by permutations, by blocks that are turned or one by one; borders on all sides, lines
/// of less than a vector and of many, one line, and depth, which are copied in one go.
#[test]
fn wide_strides_agree() {
    let base = PLAIN.n(2).c_in(5).c_out(3);
    for by in 2..10 {
        let line = base.kernel([1, 1, 6]).input([1, 1, 150]).padding([0, 0, 5]);
        let cases = [
            base.kernel([1, 5, 4])
                .stride([1, 3, by])
                .input([1, 9, 19])
                .padding([0, 3, 3]),
            base.kernel([1, 2, 7])
                .stride([1, 1, by])
                .input([1, 3, 70])
                .dilation([1, 1, 2]),
            line.stride([1, 1, by]),
            line.stride([1, 1, by]).input([1, 1, 600]).c_out(12),
            base.kernel([1, 1, 1]).stride([1, 2, by]).input([1, 5, 40]),
            base.kernel([2, 3, 3])
                .stride([2, 2, by])
                .input([5, 6, 23])
                .padding([2, 1, 2])
                .c_out(7),
        ];
        for s in &cases {
            check::<f32>(s, NCHW, true, F32);
            check::<f64>(s, NCHW, false, F64);
        }
    }
}

/// Few channels out for the stride, that fill vectors, and sums long enough: rows of the product are positions.
#[test]
fn positions_as_rows_agree() {
    let base = PLAIN.c_in(7).c_out(16).kernel([1, 4, 3]).input([1, 9, 24]);
    let cases = [
        base,
        // Columns around whole vectors, lines around whole tiles, and lines that are not turned in one piece.
        base.c_out(15).input([1, 6, 31]),
        base.c_out(32).input([1, 5, 6]),
        base.c_out(47).stride([1, 2, 2]).input([1, 13, 34]),
        base.c_out(64).stride([1, 4, 4]).kernel([1, 8, 8]).input([1, 41, 60]),
        base.c_out(96).stride([1, 5, 7]).input([1, 23, 61]),
        // Borders, dilation, groups; depth, in parts and not; one line.
        base.padding([0, 3, 2]).stride([1, 1, 2]),
        base.padding([0, 1, 6]).dilation([1, 2, 3]).stride([1, 3, 2]),
        base.c_in(20).grouped(2).c_out(32).padding([0, 1, 1]),
        base.kernel([2, 3, 3])
            .input([4, 5, 17])
            .padding([1, 0, 1])
            .stride([2, 1, 1]),
        base.kernel([3, 1, 4]).input([5, 3, 12]).dilation([2, 1, 1]),
        base.c_in(40).kernel([1, 1, 5]).input([1, 1, 70]).padding([0, 0, 2]),
        base.c_in(40).kernel([1, 5, 1]).input([1, 30, 5]).padding([0, 2, 0]),
        // More lines than one task has, and a copy of them in parts.
        base.n(1).padding([0, 2, 2]).input([1, 90, 70]),
    ];
    for s in &cases {
        check::<f32>(s, NCHW, true, F32);
        check::<f64>(s, NCHW, false, F64);
        check::<f32>(s, CHANNELS_LAST, true, F32);
        check::<f32>(s, [1, 0, 2, 3, 4], false, F32);
    }
}

/// Threads that call at the same time share the pool's threads, and those their buffers: what one call left there must not be
/// taken for another's.
#[test]
fn calls_from_several_threads_agree() {
    few_planes();
    let _turn = with_threads(2);
    let shapes = [
        // Filters that each thread keeps for a whole call, in several batches of images.
        PLAIN
            .n(6)
            .c_out(32)
            .kernel([1, 7, 7])
            .input([1, 40, 60])
            .stride([1, 2, 2])
            .padding([0, 3, 3]),
        PLAIN.n(6).c_in(24).c_out(40).input([1, 14, 15]).padding([0, 1, 1]),
        PLAIN.n(6).c_in(24).c_out(40).input([1, 9, 16]).kernel([1, 3, 4]),
        PLAIN.n(6).c_in(7).c_out(16).input([1, 9, 24]).kernel([1, 4, 3]),
    ];
    let run = |s: &ConvShape| {
        let s = &ConvShape {
            output: output(s),
            ..*s
        };
        let shape = |n: usize, c: usize, d: [usize; 3]| [n, c, d[0], d[1], d[2]];
        let (xs, ws) = (shape(s.n, s.c_in, s.input), shape(s.c_out, s.c_in, s.kernel));
        let ys = shape(s.n, s.c_out, s.output);
        let [sx, sw, sy] = [xs, ws, ys].map(|v| strides(&v, NCHW));
        let make = |v: [usize; 5], seed| -> Vec<f32> {
            let values = fill(v.iter().product(), seed).into_iter();
            values.map(|v| v as f32).collect()
        };
        let (x, w, mut y) = (make(xs, 1), make(ws, 2), make(ys, 3));
        // SAFETY: strides made for the vectors' sizes.
        unsafe {
            let (x, w) = (Src::new(x.as_ptr(), &xs, &sx), Src::new(w.as_ptr(), &ws, &sw));
            forward(s, x, w, None, Dst::new(y.as_mut_ptr(), &ys, &sy));
        }
        y
    };
    let want: Vec<Vec<f32>> = shapes.iter().map(run).collect();
    std::thread::scope(|scope| {
        for (s, want) in shapes.iter().zip(&want) {
            let run = &run;
            scope.spawn(move || {
                for _ in 0..150 {
                    assert!(&run(s) == want, "{s:?}");
                }
            });
        }
    });
}

#[test]
fn turned_operands_agree() {
    let many = PLAIN.c_in(19).c_out(17);
    let cases = [
        // The image turned: several taps, all strides and borders, groups, depth, more channels than are turned at once.
        many.padding([0, 1, 2]),
        many.input([1, 13, 15]).stride([1, 2, 2]).padding([0, 1, 1]),
        many.input([1, 17, 16])
            .stride([1, 1, 3])
            .dilation([1, 3, 2])
            .padding([0, 0, 5]),
        PLAIN
            .n(3)
            .c_in(34)
            .c_out(8)
            .grouped(2)
            .input([3, 4, 5])
            .kernel([2, 2, 3])
            .padding([1, 0, 1]),
        PLAIN.c_in(140).c_out(5).input([1, 5, 40]).kernel([1, 2, 3]),
        // One column, whose stride says nothing.
        many.input([1, 9, 1]).padding([0, 1, 1]),
        // One tap, either turned; in place and not.
        many.kernel([1; 3]).c_out(33),
        many.kernel([1; 3]).c_in(50),
        many.kernel([1; 3]).c_in(50).stride([1, 2, 2]).padding([0, 1, 0]),
        PLAIN
            .kernel([1; 3])
            .stride([1, 3, 2])
            .input([1, 16, 16])
            .c_in(20)
            .c_out(40),
        many.kernel([1; 3]).input([1, 32, 32]).c_in(20),
        // Few channels.
        many.input([1, 30, 27])
            .kernel([1, 7, 7])
            .stride([1, 2, 2])
            .padding([0, 3, 3])
            .c_in(3),
        PLAIN
            .input([2, 14, 33])
            .kernel([2, 3, 4])
            .dilation([1, 2, 2])
            .padding([1, 0, 7])
            .c_in(4)
            .c_out(40)
            .grouped(2),
    ];
    for s in &cases {
        check::<f32>(s, NCHW, true, F32);
        check::<f64>(s, NCHW, false, F64);
        check::<f32>(s, CHANNELS_LAST, false, F32);
    }
    // Units that end inside a line.
    let long = PLAIN
        .n(1)
        .c_in(2)
        .c_out(16)
        .input([1, 97, 103])
        .kernel([1, 1, 5])
        .padding([0, 0, 2]);
    check::<f32>(&long, NCHW, false, F32);
    let long = long.c_in(16).c_out(4).kernel([1, 2, 1]).padding([0, 1, 0]);
    check::<f32>(&long, NCHW, false, F32);
}

#[test]
fn pairs_of_columns_and_long_lines_agree() {
    let plane = PLAIN.n(2).c_in(1).c_out(9).stride([1, 2, 2]);
    for (h, w) in [(1, 2), (2, 1), (3, 64), (15, 33), (16, 31), (17, 66), (40, 7)] {
        for (k, padding) in [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (7, 3)] {
            let s = plane
                .input([1, h, w])
                .kernel([1, k.min(h + 2 * padding), k.min(w + 2 * padding)])
                .padding([0, padding, padding]);
            for (c_in, c_out, groups) in [(6, 6, 6), (3, 5, 1), (2, 4, 2), (8, 3, 1), (4, 3, 1)] {
                let s = s.c_in(c_in).c_out(c_out).grouped(groups);
                check::<f32>(&s, NCHW, w % 2 == 0, F32);
            }
        }
    }
    let s = plane.c_in(3).input([1, 19, 21]).padding([0, 2, 1]);
    for s in [
        s,
        s.dilation([1, 2, 3]),
        s.stride([1, 1, 2]),
        s.stride([1, 3, 2]),
        s.stride([1, 2, 3]),
        s.input([1, 3, 700]),
        s.c_in(20)
            .c_out(17)
            .input([1, 1, 600])
            .kernel([1, 1, 5])
            .stride([1; 3])
            .padding([0, 0, 2]),
        s.c_in(1).c_out(19).kernel([1, 5, 5]).stride([1; 3]).padding([0, 2, 2]),
    ] {
        for order in [NCHW, [2, 1, 0, 3, 4], CHANNELS_LAST] {
            check::<f32>(&s, order, false, F32);
            check::<f64>(&s, order, true, F64);
        }
    }
}

/// Images whose copies are made part by part.
#[test]
fn large_copies_agree() {
    let s = PLAIN
        .n(1)
        .c_in(64)
        .c_out(9)
        .input([1, 70, 31])
        .stride([1, 2, 2])
        .padding([0, 1, 1]);
    check::<f32>(&s, NCHW, true, F32);
    check::<f32>(&s.kernel([1; 3]), NCHW, true, F32);
    let s = s
        .input([1, 90, 41])
        .stride([1, 1, 2])
        .padding([0, 0, 1])
        .kernel([1, 2, 2]);
    check::<f64>(&s, NCHW, true, F64);
}

/// Several images with a stride, the next one fetched while one is computed.
#[test]
fn several_strided_images_agree() {
    let s = PLAIN
        .n(5)
        .c_in(3)
        .c_out(9)
        .input([1, 91, 90])
        .stride([1, 2, 2])
        .padding([0, 1, 1]);
    check::<f32>(&s, NCHW, true, F32);
    check::<f32>(&s, CHANNELS_LAST, false, F32);
    let depthwise = s.c_in(4).c_out(4).grouped(4);
    check::<f32>(&depthwise, NCHW, true, F32);
    // One tap: three of the four phases have none.
    let one = s.kernel([1; 3]).padding([0; 3]);
    check::<f32>(&one, NCHW, true, F32);
}

#[test]
fn sums_over_many_positions_agree() {
    let wide = PLAIN.n(1).c_in(1).c_out(2).input([1, 100, 103]).kernel([1, 2, 2]);
    check::<f32>(&wide, NCHW, false, F32);
}

#[test]
fn one_tap_with_stride_two_is_spread_among_zeros() {
    let one = PLAIN.kernel([1, 1, 1]).stride([1, 2, 2]).c_in(17).c_out(18);
    // Even and odd lines and columns, one line, too few columns, a result computed in parts.
    for (height, width) in [(1, 7), (2, 3), (7, 8), (8, 15), (16, 2), (17, 1), (5, 64), (33, 65)] {
        check::<f32>(&one.input([1, height, width]), NCHW, false, F32);
    }
    let cases = [
        one.input([3, 6, 9]),
        one.input([1, 8, 9]).grouped(2).c_in(40).c_out(36),
        one.input([1, 8, 8]).padding([0, 1, 1]),
        one.input([2, 5, 5]).stride([2, 2, 2]),
        one.input([1, 31, 40]).n(3),
    ];
    for s in &cases {
        check::<f32>(s, NCHW, true, F32);
        check::<f64>(s, NCHW, false, F64);
        check::<f32>(s, CHANNELS_LAST, false, F32);
    }
}

/// Sums over so many channels are cut into parts where a panel would fill the first-level cache.
#[test]
fn many_channels_agree() {
    let one = PLAIN.kernel([1, 1, 1]).n(3);
    for (c_in, c_out, size) in [(127, 16, 8), (129, 63, 9), (257, 65, 6), (600, 127, 5)] {
        check::<f32>(&one.c_in(c_in).c_out(c_out).input([1, size, size]), NCHW, true, F32);
    }
    check::<f64>(&one.c_in(300).c_out(33).grouped(1).input([1, 17, 16]), NCHW, true, F64);
}

/// Images as operands of products, as they lie: a single one, or the positions of several for the gradient of the weights.
#[test]
fn images_as_operands_agree() {
    let one = PLAIN.kernel([1, 1, 1]);
    for n in [1, 2, 3, 5] {
        for (c_in, c_out, size) in [(16, 17, 1), (17, 16, 4), (63, 65, 7), (130, 40, 5), (20, 127, 8)] {
            check::<f32>(
                &one.n(n).c_in(c_in).c_out(c_out).input([1, size, size]),
                NCHW,
                true,
                F32,
            );
        }
    }
    let many = one.n(1).c_in(40).c_out(36).input([1, 9, 8]);
    let cases = [
        many,
        many.grouped(2),
        many.n(3).grouped(2),
        many.stride([1, 2, 2]),
        many.stride([1, 1, 2]).grouped(2),
        many.padding([0, 1, 1]),
        many.input([3, 4, 5]).stride([2, 1, 1]),
        many.n(2).input([3, 4, 5]),
        // Images of one position.
        many.n(7).input([1, 1, 1]),
        many.n(18).input([1, 1, 1]).grouped(2),
        many.n(3).input([1, 2, 2]).stride([1, 2, 2]),
        // Large images, of which a few channels become many: one after another, on one thread or more.
        one.c_in(16).c_out(34).input([1, 27, 29]).n(5),
        one.c_in(34).c_out(68).input([3, 16, 17]).n(2).grouped(2),
        // Parts that begin in the midst of an image, and sums in several parts.
        one.c_in(16).c_out(18).input([1, 91, 97]),
        one.c_in(18).c_out(16).input([1, 91, 97]).n(3),
    ];
    for s in &cases {
        check::<f32>(s, NCHW, true, F32);
        check::<f64>(s, NCHW, false, F64);
        check::<f32>(s, CHANNELS_LAST, true, F32);
        check::<f32>(s, [4, 3, 1, 0, 2], false, F32);
    }
}

/// The gradient of the weights between few channels, of long lines, is dot products: of images around a block of them, in
/// several parts, of channels next to each other or not.
#[test]
fn few_channels_of_many_positions_agree() {
    let one = PLAIN.kernel([1, 1, 1]).c_in(5).c_out(3);
    let cases = [
        one.n(1).input([1, 16, 32]),
        one.n(3).input([1, 19, 27]),
        one.n(2).input([3, 13, 15]).c_in(4).c_out(17),
        one.n(1).input([1, 45, 46]).c_in(35).c_out(2),
        one.n(5).input([1, 64, 71]).c_in(1).c_out(4),
        one.n(3).input([1, 23, 29]).grouped(2).c_in(6).c_out(8),
        one.n(1).input([1, 91, 97]).grouped(2).c_in(6).c_out(34),
        one.n(2).input([1, 25, 26]).padding([0, 1, 0]),
        one.n(3).input([1, 32, 32]).c_in(7).c_out(8),
        one.n(1).input([1, 32, 64]).c_in(35).c_out(6),
    ];
    for s in &cases {
        check::<f32>(s, NCHW, true, F32);
        check::<f64>(s, NCHW, false, F64);
        check::<f32>(s, CHANNELS_LAST, true, F32);
        check::<f32>(s, [1, 0, 2, 3, 4], false, F32);
    }
}

/// Weights packed from where they lie for the gradient of the input, once for all threads where they are large; each tap's
/// share as one product, for few positions.
#[test]
fn weights_of_strided_gradients_agree() {
    let strided = PLAIN.n(1).stride([1, 2, 2]).padding([0, 1, 1]);
    for (c_in, c_out, size) in [(40, 37, 6), (130, 33, 5), (360, 352, 3)] {
        check::<f32>(
            &strided.c_in(c_in).c_out(c_out).input([1, size, size]),
            NCHW,
            false,
            F32,
        );
    }
    check::<f32>(
        &strided.c_in(41).c_out(36).input([1, 7, 6]),
        [4, 3, 1, 0, 2],
        false,
        F32,
    );
    check::<f32>(
        &strided.c_in(48).c_out(40).grouped(2).stride([1, 3, 2]).input([1, 7, 9]),
        NCHW,
        false,
        F32,
    );
    check::<f64>(&strided.c_in(40).c_out(37).input([1, 6, 7]), NCHW, false, F64);
}

#[test]
fn windows_as_large_as_the_image_agree() {
    for (n, c_in, c_out, groups, kernel) in [
        (1, 3, 70, 1, [1, 4, 4]),
        (1, 40, 3, 1, [1, 7, 5]),
        (5, 17, 33, 1, [2, 3, 4]),
        (9, 18, 20, 2, [1, 4, 4]),
        (20, 64, 1, 1, [1, 4, 4]),
        (3, 2, 2, 2, [1, 6, 1]),
    ] {
        let s = ConvShape {
            n,
            c_in,
            c_out,
            groups,
            input: kernel,
            kernel,
            ..PLAIN
        };
        for order in [NCHW, CHANNELS_LAST, [2, 1, 0, 3, 4]] {
            check::<f32>(&s, order, n % 2 == 1, F32);
        }
        check::<f64>(&s, NCHW, false, F64);
    }
}

/// One image under weights that do not stay near: with one position, with a last column or a few, with runs shorter than
/// a vector's parts.
#[test]
fn single_images_under_large_weights_agree() {
    for (channels, size, kernel, stride, padding) in [
        ([64, 120], [1, 13, 14], [1, 3, 3], 2, 1),
        ([33, 90], [1, 7, 7], [1, 7, 4], 1, 3),
        ([70, 65], [1, 6, 6], [1, 4, 4], 1, 0),
        ([41, 130], [3, 6, 5], [1, 4, 4], 1, 1),
        ([16, 260], [1, 17, 17], [1, 4, 5], 3, 1),
    ] {
        let s = ConvShape {
            n: 1,
            c_in: channels[0],
            c_out: channels[1],
            input: size,
            kernel,
            stride: [1, stride, stride],
            padding: [0, padding, padding],
            ..PLAIN
        };
        for order in [NCHW, CHANNELS_LAST] {
            check::<f32>(&s, order, true, F32);
        }
    }
    let s = ConvShape {
        n: 1,
        c_in: 30,
        c_out: 80,
        input: [1, 9, 9],
        kernel: [1, 3, 5],
        ..PLAIN
    };
    check::<f64>(&s, NCHW, true, F64);
}

#[test]
fn large_strides_agree() {
    for (w, kernel, stride, padding) in [
        (75, 11, 4, 2),
        (96, 8, 8, 0),
        (67, 3, 3, 1),
        (200, 16, 16, 5),
        (41, 7, 5, 6),
        (130, 5, 20, 0),
    ] {
        let s = ConvShape {
            n: 2,
            c_in: 3,
            c_out: 20,
            input: [1, 2 * kernel, w],
            kernel: [1, kernel, kernel],
            stride: [1, stride, stride],
            padding: [0, padding, padding],
            ..PLAIN
        };
        for order in [NCHW, CHANNELS_LAST] {
            check::<f32>(&s, order, true, F32);
        }
        check::<f64>(&s, NCHW, false, F64);
    }
}
