//! Minimal filtering against the definition on ugly shapes.

use super::{Bound, CHANNELS_LAST, NCHW, PLAIN, check, output};
use firesteel_kernels::conv::ConvShape;
use firesteel_kernels::internals::winograd::{across, apart, dilated, doubled, taken};

const BASE: ConvShape = ConvShape {
    n: 2,
    c_in: 16,
    c_out: 17,
    ..PLAIN
};

/// A quarter of the last place, but of the plane's largest sum.
const TILES: Bound = Bound::Plane(f32::EPSILON as f64 / 4.0);

/// Lines and columns around multiples of the tiles' sides and of vectors' lengths.
const SIZES: [(usize, usize); 11] = [
    (1, 64),
    (7, 7),
    (8, 65),
    (15, 16),
    (16, 8),
    (17, 63),
    (63, 17),
    (64, 15),
    (65, 7),
    (5, 6),
    (30, 31),
];

/// As images usually lie, images innermost but for lines, lines of all channels together; and channels last, which no form
/// takes.
const ORDERS: [[usize; 5]; 4] = [NCHW, [2, 1, 0, 3, 4], [0, 3, 2, 1, 4], CHANNELS_LAST];

#[test]
fn all_sizes_and_paddings_agree_with_the_definition() {
    let mut count = 0;
    for (h, w) in SIZES {
        for padding in [[0, 0, 0], [0, 1, 1], [0, 2, 2], [0, 1, 0], [0, 0, 2]] {
            if h + 2 * padding[1] < 3 || w + 2 * padding[2] < 3 {
                continue;
            }
            let s = ConvShape {
                input: [1, h, w],
                padding,
                ..BASE
            };
            count += taken(&ConvShape {
                output: output(&s),
                ..s
            }) as usize;
            check::<f32>(&s, NCHW, w % 2 == 0, TILES);
        }
    }
    assert!(count > 30, "only {count} of these shapes are taken");
}

#[test]
fn other_numbers_of_taps_agree_with_the_definition() {
    let five = ConvShape {
        kernel: [1, 5, 5],
        ..BASE
    };
    for taps in [
        [2_usize, 2],
        [4, 4],
        [5, 5],
        [1, 3],
        [1, 4],
        [1, 5],
        [3, 1],
        [4, 1],
        [5, 1],
    ] {
        let mut count = 0;
        // In two lines some taps see nothing but padding.
        for (h, w) in SIZES.into_iter().chain([(2, 30)]) {
            let [most, half] = [taps.map(|t| t - 1), taps.map(|t| t / 2)];
            for padding in [[0, 0], half, [most[0], most[1].min(1)], [0, most[1].saturating_sub(1)]] {
                if h + 2 * padding[0] < taps[0] || w + 2 * padding[1] < taps[1] {
                    continue;
                }
                let mut s = ConvShape {
                    input: [1, h, w],
                    kernel: [1, taps[0], taps[1]],
                    padding: [0, padding[0], padding[1]],
                    ..five
                };
                s.output = output(&s);
                count += taken(&s) as usize;
                check::<f32>(&s, NCHW, w % 2 == 0, TILES);
            }
        }
        assert!(count > 15, "only {count} of these shapes of {taps:?} taps are taken");
    }
    // A line that sees nothing but padding, lines that lie apart, one line, columns that lie apart.
    let flat = ConvShape {
        kernel: [1, 1, 3],
        input: [1, 9, 40],
        padding: [0, 0, 1],
        ..five
    };
    for s in [
        ConvShape {
            padding: [0, 1, 1],
            ..flat
        },
        ConvShape {
            dilation: [1, 1, 3],
            ..flat
        },
        ConvShape {
            input: [1, 1, 500],
            groups: 2,
            c_in: 40,
            c_out: 36,
            ..flat
        },
        ConvShape {
            kernel: [1, 3, 1],
            input: [1, 300, 1],
            padding: [0, 1, 0],
            ..flat
        },
    ] {
        for order in ORDERS {
            check::<f32>(&s, order, true, TILES);
        }
    }
    let wide = ConvShape {
        input: [1, 9, 14],
        padding: [0, 2, 2],
        ..five
    };
    for s in [
        ConvShape {
            n: 3,
            c_in: 150,
            c_out: 35,
            ..wide
        },
        ConvShape {
            n: 5,
            c_in: 40,
            c_out: 66,
            groups: 2,
            ..wide
        },
        // Other taps, depth and padding that a position may see alone have no form; taps that lie apart are taken otherwise.
        ConvShape {
            kernel: [1, 5, 3],
            ..wide
        },
        ConvShape {
            dilation: [1, 2, 2],
            ..wide
        },
        ConvShape {
            kernel: [2, 5, 5],
            input: [3, 9, 14],
            ..wide
        },
        ConvShape {
            padding: [0, 5, 2],
            ..wide
        },
    ] {
        for order in ORDERS {
            check::<f32>(&s, order, true, TILES);
        }
    }
    check::<f64>(&wide, NCHW, true, f64::EPSILON);
}

#[test]
fn stride_two_agrees_with_the_definition() {
    let (mut forward, mut input) = (0, 0);
    for (h, w) in SIZES {
        for (taps, pad) in [
            (3, [1, 1]),
            (3, [0, 2]),
            (3, [1, 3]),
            (4, [1, 1]),
            (4, [3, 1]),
            (4, [2, 2]),
        ] {
            if h + 2 * pad[0] < taps || w + 2 * pad[1] < taps {
                continue;
            }
            let mut s = ConvShape {
                kernel: [1, taps, taps],
                stride: [1, 2, 2],
                input: [1, h, w],
                padding: [0, pad[0], pad[1]],
                ..BASE
            };
            s.output = output(&s);
            forward += taken(&s) as usize;
            input += doubled(&s) as usize;
            check::<f32>(&s, NCHW, w % 2 == 0, TILES);
        }
    }
    assert!(
        forward > 8 && input > 20,
        "only {forward} and {input} of these shapes are taken"
    );
    let wide = ConvShape {
        kernel: [1, 3, 3],
        stride: [1, 2, 2],
        input: [1, 17, 33],
        padding: [0, 1, 1],
        ..BASE
    };
    for s in [
        ConvShape {
            n: 3,
            c_in: 150,
            c_out: 70,
            ..wide
        },
        ConvShape {
            n: 2,
            c_in: 132,
            c_out: 140,
            ..wide
        },
        ConvShape {
            n: 5,
            c_in: 40,
            c_out: 66,
            groups: 2,
            ..wide
        },
        ConvShape {
            n: 4,
            c_in: 31,
            c_out: 64,
            kernel: [1, 4, 4],
            ..wide
        },
        // Other strides, dilation and depth have no form.
        ConvShape {
            stride: [1, 2, 1],
            ..wide
        },
        ConvShape {
            dilation: [1, 2, 2],
            ..wide
        },
        ConvShape {
            kernel: [2, 3, 3],
            input: [3, 17, 33],
            ..wide
        },
    ] {
        for order in ORDERS {
            check::<f32>(&s, order, true, TILES);
        }
    }
    check::<f64>(&wide, NCHW, true, f64::EPSILON);
}

#[test]
fn stride_two_of_four_to_eight_taps_agrees_with_the_definition() {
    let mut count = 0;
    for (h, w) in [(8, 65), (15, 16), (17, 63), (33, 15), (30, 31), (20, 129)] {
        for (taps, pad) in [
            ([4, 4], [1, 3]),
            ([4, 4], [0, 2]),
            ([5, 5], [2, 2]),
            ([6, 5], [0, 5]),
            ([7, 7], [3, 3]),
            ([7, 8], [6, 0]),
            ([8, 8], [1, 4]),
            ([8, 7], [0, 2]),
        ] {
            if h + 2 * pad[0] < taps[0] || w + 2 * pad[1] < taps[1] {
                continue;
            }
            let mut s = ConvShape {
                kernel: [1, taps[0], taps[1]],
                stride: [1, 2, 2],
                input: [1, h, w],
                padding: [0, pad[0], pad[1]],
                c_in: 3,
                ..BASE
            };
            s.output = output(&s);
            count += apart(&s) as usize;
            check::<f32>(&s, NCHW, w % 2 == 0, TILES);
        }
    }
    assert!(count > 20, "only {count} of these shapes are taken");
    let wide = ConvShape {
        kernel: [1, 7, 7],
        stride: [1, 2, 2],
        input: [1, 21, 37],
        padding: [0, 3, 3],
        c_in: 5,
        ..BASE
    };
    for s in [
        // More images than are split at once.
        ConvShape { n: 7, c_in: 4, ..wide },
        ConvShape {
            n: 3,
            c_in: 12,
            c_out: 38,
            groups: 2,
            ..wide
        },
        ConvShape {
            n: 1,
            c_in: 70,
            c_out: 66,
            kernel: [1, 5, 5],
            padding: [0, 2, 2],
            ..wide
        },
        // One channel, depth, dilation, too few outputs, padding that a position may see alone: no form.
        ConvShape { c_in: 1, ..wide },
        ConvShape { c_out: 15, ..wide },
        ConvShape {
            dilation: [1, 2, 2],
            ..wide
        },
        ConvShape {
            kernel: [2, 7, 7],
            input: [3, 21, 37],
            ..wide
        },
        ConvShape {
            padding: [0, 7, 3],
            ..wide
        },
    ] {
        for order in ORDERS {
            check::<f32>(&s, order, true, TILES);
        }
    }
    check::<f64>(&wide, NCHW, true, f64::EPSILON);
}

#[test]
fn taps_that_lie_apart_agree_with_the_definition() {
    for (i, (size, taps, by, padding)) in [
        ([17, 63], 3, [2, 2], [2, 2]),
        ([30, 31], 3, [2, 3], [0, 6]),
        ([33, 34], 3, [4, 4], [5, 4]),
        ([15, 26], 3, [1, 2], [1, 1]),
        ([20, 41], 5, [2, 2], [4, 4]),
        ([27, 28], 5, [3, 2], [7, 2]),
    ]
    .into_iter()
    .enumerate()
    {
        let mut s = ConvShape {
            n: 1 + i % 2,
            c_in: 64,
            c_out: 65,
            input: [1, size[0], size[1]],
            kernel: [1, taps, taps],
            dilation: [1, by[0], by[1]],
            padding: [0, padding[0], padding[1]],
            ..BASE
        };
        s.output = output(&s);
        assert!(dilated(&s), "{s:?}");
        check::<f32>(&s, NCHW, i % 2 == 0, TILES);
    }
    let wide = ConvShape {
        c_in: 64,
        c_out: 65,
        input: [1, 19, 22],
        dilation: [1, 2, 2],
        padding: [0, 2, 2],
        ..BASE
    };
    for (s, here) in [
        // More images than are split at once, groups, more channels than one part.
        (ConvShape { n: 3, ..wide }, true),
        (
            ConvShape {
                n: 1,
                c_in: 128,
                c_out: 130,
                groups: 2,
                ..wide
            },
            true,
        ),
        (
            ConvShape {
                n: 1,
                c_in: 150,
                c_out: 64,
                ..wide
            },
            true,
        ),
        // A stride, depth, few channels, positions that see nothing but padding, and taps that reach across: no form.
        (
            ConvShape {
                stride: [1, 2, 2],
                ..wide
            },
            false,
        ),
        (
            ConvShape {
                kernel: [2, 3, 3],
                input: [3, 19, 22],
                ..wide
            },
            false,
        ),
        (ConvShape { c_in: 63, ..wide }, true),
        (
            ConvShape {
                c_in: 63,
                input: [1, 30, 31],
                dilation: [1, 2, 3],
                ..wide
            },
            false,
        ),
        (
            ConvShape {
                padding: [0, 5, 2],
                ..wide
            },
            false,
        ),
        (
            ConvShape {
                dilation: [1, 30, 2],
                padding: [0, 50, 2],
                ..wide
            },
            false,
        ),
    ] {
        let s = ConvShape {
            output: output(&s),
            ..s
        };
        assert_eq!(dilated(&s), here, "{s:?}");
        for order in ORDERS {
            check::<f32>(&s, order, true, TILES);
        }
    }
    check::<f64>(&wide, NCHW, true, f64::EPSILON);
}

#[test]
fn more_taps_than_a_form_has_agree_with_the_definition() {
    let mut count = 0;
    for (taps, size, padding, channels) in [
        ([6, 6], [15, 22], [2, 3], [16, 32]),
        ([7, 7], [14, 17], [3, 3], [16, 16]),
        ([9, 9], [16, 13], [4, 8], [32, 16]),
        ([7, 1], [17, 9], [3, 0], [48, 17]),
        ([1, 7], [5, 33], [0, 3], [16, 80]),
        ([1, 8], [1, 130], [0, 0], [32, 48]),
        ([11, 1], [70, 2], [5, 0], [16, 32]),
        ([1, 16], [2, 80], [0, 15], [64, 16]),
        // Channels that fill no vector, and more taps still, are left to the plain sum.
        ([1, 7], [5, 33], [0, 3], [18, 16]),
        ([1, 17], [2, 60], [0, 8], [16, 16]),
    ] {
        for (groups, by) in [(1, 1), (2, 1), (1, 2)] {
            let mut s = ConvShape {
                groups,
                c_in: groups * channels[0],
                c_out: groups * channels[1],
                input: [1, by * size[0], by * size[1]],
                kernel: [1, taps[0], taps[1]],
                dilation: [1, by, by],
                padding: [0, by * padding[0], by * padding[1]],
                ..BASE
            };
            s.output = output(&s);
            count += if by == 1 { taken(&s) } else { dilated(&s) } as usize;
            check::<f32>(&s, ORDERS[count % 3], by == 1, TILES);
        }
    }
    // Taps in one line that lie apart are left to the plain sum.
    assert_eq!(count, 19);
}

#[test]
fn few_channels_agree_with_the_definition() {
    let mut count = 0;
    for (i, (h, w)) in [
        (7, 49),
        (8, 64),
        (9, 65),
        (15, 63),
        (17, 127),
        (65, 50),
        (2, 200),
        (33, 96),
    ]
    .into_iter()
    .enumerate()
    {
        for (j, (taps, pad)) in [([7, 7], [3, 3]), ([7, 8], [6, 0]), ([8, 8], [4, 1]), ([8, 7], [5, 6])]
            .into_iter()
            .enumerate()
        {
            // Outputs around a block of eight, groups, both numbers of channels, images in several pieces.
            let groups = 1 + (i + j) % 2;
            let mut s = ConvShape {
                n: 1 + (i + j) % 3,
                c_in: groups * (3 + j % 2),
                c_out: groups * [16, 17, 24, 33, 63][(i + j) % 5],
                groups,
                kernel: [1, taps[0], taps[1]],
                stride: [1, 2, 2],
                input: [1, h, w],
                padding: [0, pad[0], pad[1]],
                ..BASE
            };
            if h + 2 * pad[0] < taps[0] {
                continue;
            }
            s.output = output(&s);
            count += across(&s) as usize;
            let order = ORDERS[(i + j) % 3];
            check::<f32>(&s, order, i % 2 == 0, TILES);
        }
    }
    assert!(count > 20, "only {count} of these shapes are taken");
}

#[test]
fn groups_many_channels_and_strided_memory_agree() {
    let cases = [
        // More channels than one part, and filters that are not all kept.
        ConvShape {
            n: 1,
            c_in: 150,
            c_out: 70,
            input: [1, 13, 9],
            padding: [0, 1, 1],
            ..BASE
        },
        ConvShape {
            n: 5,
            c_in: 132,
            c_out: 33,
            groups: 1,
            input: [1, 31, 8],
            padding: [0, 1, 1],
            ..BASE
        },
        ConvShape {
            n: 6,
            c_in: 40,
            c_out: 66,
            groups: 2,
            input: [1, 9, 8],
            padding: [0, 1, 1],
            ..BASE
        },
        ConvShape {
            n: 1,
            c_in: 31,
            c_out: 29,
            input: [1, 40, 41],
            ..BASE
        },
    ];
    for s in &cases {
        for order in ORDERS {
            check::<f32>(s, order, true, TILES);
        }
    }
    check::<f64>(&cases[2], NCHW, true, f64::EPSILON);
}
