//! Taps of which many see nothing but padding, which is left out, against the definition.

use super::{CHANNELS_LAST, F32, F64, NCHW, PLAIN, With, check, output};
use firesteel_kernels::conv::ConvShape;
use firesteel_kernels::internals::bands::taken;

const BASE: ConvShape = ConvShape {
    n: 3,
    c_in: 17,
    c_out: 19,
    input: [1, 12, 11],
    padding: [0, 5, 5],
    dilation: [1, 5, 5],
    ..PLAIN
};

fn shape(s: ConvShape) -> ConvShape {
    ConvShape {
        output: output(&s),
        ..s
    }
}

#[test]
fn taps_that_see_little_agree_with_the_definition() {
    let both = [true, true];
    let far = BASE.dilation([1, 9, 9]).input([1, 8, 10]);
    let line = BASE.kernel([1, 1, 3]).padding([0, 0, 80]).dilation([1, 1, 80]);
    for (s, here) in [
        (BASE, both),
        // Of one such image vectors would be half empty.
        (BASE.n(1), [false, true]),
        (BASE.n(20).c_in(16).c_out(16), both),
        // Lines that are passed over; columns, which only the weights' gradient passes over.
        (BASE.padding([0, 6, 5]).dilation([1, 6, 5]).stride([1, 2, 1]), both),
        (
            BASE.padding([0, 6, 6]).dilation([1, 6, 6]).stride([1, 2, 2]),
            [false, true],
        ),
        // Of the lines only the middle tap sees anything; and beyond the input none does.
        (far.padding([0, 9, 9]), both),
        (far.padding([0, 12, 13]), both),
        // Some taps see it from a part of the positions, the others from none.
        (far.padding([0, 12, 0]).input([1, 8, 20]), both),
        // Both sides of the window differ.
        (BASE.kernel([1, 4, 2]).dilation([1, 3, 7]).padding([0, 4, 6]), both),
        // One line, long enough for several chains; one column.
        (line.input([1, 1, 200]), both),
        (
            line.input([1, 1, 1100]).dilation([1, 1, 500]).padding([0, 0, 500]),
            both,
        ),
        (BASE.kernel([1, 3, 1]).padding([0, 8, 0]).dilation([1, 8, 1]), both),
        // Several chains of lines.
        (
            BASE.n(1).input([1, 40, 33]).padding([0, 19, 16]).dilation([1, 19, 16]),
            both,
        ),
        // Depth.
        (
            BASE.input([5, 6, 7])
                .kernel([3, 3, 2])
                .padding([4, 4, 2])
                .dilation([4, 4, 3]),
            both,
        ),
        (
            BASE.input([7, 6, 5])
                .kernel([3, 1, 3])
                .padding([5, 0, 3])
                .dilation([5, 1, 3])
                .stride([2, 1, 1]),
            both,
        ),
        // Groups, of too few channels as well.
        (BASE.grouped(3).c_in(48).c_out(51), both),
        (BASE.grouped(3).c_in(45).c_out(51), [false, false]),
        // Several stretches of channels, several tiles of rows and panels of columns.
        (BASE.n(2).c_in(130).c_out(33), both),
        (BASE.n(2).c_in(40).c_out(130), both),
        // Weights that are packed once for all threads.
        (
            BASE.n(1)
                .c_in(230)
                .c_out(520)
                .input([1, 6, 6])
                .padding([0, 3, 3])
                .dilation([1, 3, 3]),
            both,
        ),
        // Most taps see something.
        (
            BASE.input([1, 40, 40]).padding([0, 2, 2]).dilation([1, 2, 2]),
            [false, false],
        ),
    ] {
        let s = shape(s);
        assert_eq!(taken(&s), here, "{s:?}");
        check::<f32>(&s, NCHW, s.n.is_multiple_of(2), F32);
        if s.c_in * s.c_out < 2000 {
            check::<f64>(&s, NCHW, !s.n.is_multiple_of(2), F64);
        }
        // Neither columns nor positions side by side.
        if s.n == 3 {
            check::<f32>(&s, CHANNELS_LAST, true, F32);
            check::<f32>(&s, [0, 1, 2, 4, 3], false, F32);
        }
    }
}
