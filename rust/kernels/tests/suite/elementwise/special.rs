//! Special functions.

use firesteel_kernels::internals::special::*;

/// Values from mpmath at 30 digits.
#[test]
fn known_values() {
    let table: &[(&str, f64, f64)] = &[
        ("lgamma(0.1)", lgamma(0.1), 2.252_712_651_734_206),
        ("lgamma(1.0001)", lgamma(1.0001), -5.771_334_222_047_762_3e-5),
        ("lgamma(2.2)", lgamma(2.2), 0.096_947_466_790_638_78),
        ("lgamma(-1.5)", lgamma(-1.5), 0.860_047_015_376_481),
        ("lgamma(100.5)", lgamma(100.5), 361.435_540_467_777_6),
        ("digamma(0.3)", digamma(0.3), -3.502_524_222_200_133),
        ("digamma(-1.3)", digamma(-1.3), 2.882_540_548_866_167),
        ("zeta(2, 1)", zeta(2.0, 1.0), 1.644_934_066_848_226_4),
        ("zeta(1.1, 0.2)", zeta(1.1, 0.2), 16.160_383_240_260_41),
        ("polygamma(1, 0.5)", polygamma(1.0, 0.5), 4.934_802_200_544_679),
        ("polygamma(2, 3.1)", polygamma(2.0, 3.1), -0.142_868_376_907_981_77),
        ("i0(1)", i0(1.0), 1.266_065_877_752_008_4),
        ("i1e(40)", i1e(40.0), 0.062_482_229_074_442_06),
        ("log_ndtr(-20)", log_ndtr(-20.0), -203.917_155_371_097_26),
        ("ndtri(1e-10)", ndtri(1e-10), -6.361_340_902_404_056),
        ("ndtri(0.3)", ndtri(0.3), -0.524_400_512_708_041),
        ("igamma(2.5, 1.5)", igamma(2.5, 1.5), 0.300_014_164_121_372_5),
        ("igammac(50, 60)", igammac(50.0, 60.0), 0.084_406_681_093_691_83),
    ];
    for (name, got, want) in table {
        assert!((got - want).abs() < want.abs() * 1e-11, "{name}: {got:?}, not {want:?}");
    }
}
