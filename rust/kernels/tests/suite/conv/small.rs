//! Small images, whose positions are products over images, against the definition.

use super::{CHANNELS_LAST, F32, F64, NCHW, PLAIN, check, output};
use firesteel_kernels::conv::ConvShape;
use firesteel_kernels::internals::small::taken;

const BASE: ConvShape = ConvShape {
    n: 16,
    c_in: 17,
    c_out: 19,
    ..PLAIN
};

fn shape(s: ConvShape) -> ConvShape {
    ConvShape {
        output: output(&s),
        ..s
    }
}

/// Taps, stride, padding, dilation of lines and columns.
const KINDS: [[[usize; 2]; 4]; 8] = [
    [[3, 3], [1, 1], [1, 1], [1, 1]],
    [[3, 3], [2, 2], [1, 1], [1, 1]],
    [[3, 2], [1, 2], [2, 0], [1, 1]],
    [[5, 5], [1, 1], [2, 2], [1, 1]],
    [[3, 3], [2, 1], [2, 2], [2, 2]],
    [[1, 1], [2, 2], [0, 0], [1, 1]],
    [[1, 3], [1, 1], [1, 1], [1, 1]],
    [[4, 4], [3, 3], [3, 2], [1, 1]],
];

/// Which passes of these sizes, of so many images each, are computed so; all agree with the definition.
fn taken_of_kinds(images: [usize; 4]) -> [usize; 2] {
    let mut count = [0; 2];
    for (i, size) in [[1, 1], [2, 2], [1, 5], [3, 2], [4, 4], [7, 5], [8, 8]]
        .into_iter()
        .enumerate()
    {
        for (j, [taps, stride, padding, dilation]) in KINDS.into_iter().enumerate() {
            if (0..2).any(|d| size[d] + 2 * padding[d] <= dilation[d] * (taps[d] - 1)) {
                continue;
            }
            let s = shape(ConvShape {
                n: images[(i + j) % 4],
                input: [1, size[0], size[1]],
                kernel: [1, taps[0], taps[1]],
                stride: [1, stride[0], stride[1]],
                padding: [0, padding[0], padding[1]],
                dilation: [1, dilation[0], dilation[1]],
                ..BASE
            });
            for (count, here) in count.iter_mut().zip(taken(&s)) {
                *count += here as usize;
            }
            check::<f32>(&s, NCHW, j % 2 == 0, F32);
            if i + j < 4 {
                check::<f64>(&s, NCHW, j % 2 == 1, F64);
            }
        }
    }
    count
}

#[test]
fn few_positions_agree_with_the_definition() {
    let count = taken_of_kinds([16, 17, 33, 23]);
    assert!(
        count[0] > 25 && count[1] > 40,
        "only {count:?} of these shapes are taken"
    );
}

#[test]
fn few_images_of_few_positions_agree_with_the_definition() {
    // Products turned over: rows are images, or positions of one.
    let count = taken_of_kinds([2, 3, 7, 15]);
    assert!(count[0] > 25, "only {count:?} of these shapes are taken");
}

#[test]
fn images_groups_and_depths_of_any_number_agree() {
    let two = ConvShape {
        input: [1, 2, 2],
        padding: [0, 1, 1],
        ..BASE
    };
    for (s, here) in [
        // One position: any number of images.
        (
            ConvShape {
                n: 1,
                input: [1, 1, 1],
                ..two
            },
            [true, false],
        ),
        (
            ConvShape {
                n: 5,
                input: [1, 1, 1],
                ..two
            },
            [true, true],
        ),
        (ConvShape { n: 3, ..two }, [true, false]),
        (ConvShape { n: 4, ..two }, [true, true]),
        (
            ConvShape {
                n: 4,
                input: [1, 3, 3],
                ..two
            },
            [true, true],
        ),
        // Fewer images than a vector holds: more channels than stay near at once, rows of images and of positions, groups.
        (
            ConvShape {
                n: 9,
                c_in: 150,
                c_out: 35,
                input: [1, 3, 3],
                ..two
            },
            [true, true],
        ),
        (
            ConvShape {
                n: 2,
                c_in: 150,
                c_out: 35,
                input: [1, 5, 5],
                ..two
            },
            [true, false],
        ),
        (
            ConvShape {
                n: 7,
                c_in: 48,
                c_out: 102,
                groups: 3,
                ..two
            },
            [true, true],
        ),
        (ConvShape { n: 8, ..two }, [true, true]),
        (
            ConvShape {
                n: 300,
                c_in: 70,
                ..two
            },
            [true, true],
        ),
        // Rows and channels of several tiles, and of more than one block.
        (
            ConvShape {
                n: 50,
                c_in: 70,
                c_out: 90,
                ..two
            },
            [true, true],
        ),
        (
            ConvShape {
                c_in: 130,
                c_out: 16,
                ..two
            },
            [true, true],
        ),
        (
            ConvShape {
                c_in: 48,
                c_out: 51,
                groups: 3,
                ..two
            },
            [true, true],
        ),
        (
            ConvShape {
                c_in: 24,
                c_out: 27,
                groups: 3,
                ..two
            },
            [true, true],
        ),
        (
            ConvShape {
                c_in: 21,
                c_out: 27,
                groups: 3,
                ..two
            },
            [false, false],
        ),
        // Depth.
        (
            ConvShape {
                input: [2, 3, 2],
                kernel: [3, 3, 3],
                padding: [1, 1, 1],
                ..BASE
            },
            [true, true],
        ),
        // Padding that no tap bridges: some positions see nothing, some taps as well.
        (
            ConvShape {
                input: [1, 2, 2],
                padding: [0, 2, 3],
                dilation: [1, 1, 3],
                ..BASE
            },
            [true, true],
        ),
        // No tap sees anything at all.
        (
            ConvShape {
                input: [1, 1, 1],
                kernel: [1, 2, 2],
                padding: [0, 1, 1],
                dilation: [1, 2, 2],
                ..BASE
            },
            [true, true],
        ),
        // More positions than that.
        (
            ConvShape {
                input: [1, 8, 9],
                ..two
            },
            [false, false],
        ),
        // One tap without a stride.
        (
            ConvShape {
                input: [1, 2, 2],
                kernel: [1; 3],
                ..BASE
            },
            [true, true],
        ),
        (
            ConvShape {
                input: [1, 4, 4],
                kernel: [1; 3],
                ..BASE
            },
            [false, false],
        ),
    ] {
        let s = shape(s);
        assert_eq!(taken(&s), here, "{s:?}");
        // Only images that lie one channel after another are taken, and some apart from each other.
        for order in [NCHW, CHANNELS_LAST] {
            check::<f32>(&s, order, s.n.is_multiple_of(2), F32);
        }
    }
}
