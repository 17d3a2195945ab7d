//! The error function of f32 and its kin.

use super::normal::{EXP2, power_of_square};
use super::pieces::{ERF, Pieces, QUARTERS};
use super::{MAGIC, MAGIC_D, Pack, poly, poly_d};
use std::f32::consts::LOG2_E;

/// e^(t²) erfc(t) (t + 3) in u = (t - 3) / (t + 3), 0 <= t <= 10.3
const ERFC_D: [f64; 10] = [
    1.074006908,
    -0.8833944878,
    0.5902282922,
    -0.3104659707,
    0.1195291726,
    -0.02684006136,
    -0.001227045787,
    0.00308057803,
    -0.0004819947994,
    -0.0003247195594,
];

/// erfc in double precision, for results of f32 that are made of it.
#[inline(always)]
pub(crate) fn erfc_d<P: Pack<f64>>(x: P) -> P {
    // Beyond it the result is less than half of the smallest number.
    let a = x.abs().at_most(10.3);
    let inverse = P::splat(1.0) / (a + P::splat(3.0));
    let scale = P::splat(-std::f64::consts::LOG2_E);
    let square = a * a;
    let t = square.mul_add(scale, P::splat(MAGIC_D));
    let r = square.mul_add(scale, P::splat(MAGIC_D) - t);
    let p = poly_d(
        r,
        [
            1.0000000006,
            0.69314720574,
            0.24022646891,
            0.05550328777,
            0.0096184889582,
            0.0013399931216,
            0.00015345811701,
        ],
    );
    let e = p * t.power(P::splat(1.0));
    let q = poly_d(inverse.mul_add(P::splat(-6.0), P::splat(1.0)), ERFC_D);
    let y = q * (inverse * e);
    x.below(0.0, P::splat(2.0) - y, y)
}

#[inline(always)]
pub(crate) fn erf<P: Pack>(x: P) -> P {
    let a = x.abs().at_most(4.0);
    let (r, q, c) = ERF.at(a.at_least(0.03125).shifted::<QUARTERS>(), a);
    q.mul_add(r, a.below(0.0390625, a, c)).copysign(x)
}

/// Pieces of erfc per unit of length, and a number just before the 32nd ends.
const PER_UNIT: f32 = 10.0;
const NEAR: f32 = 31.49 / PER_UNIT;
/// 1/√π and what is left of it, as a share.
const FRAC_1_SQRT_PI: f32 = 0.56418961;
const LOST_OF_SQRT: f32 = -5.1964257e-08;
/// What is left of log2(e).
const LOST_OF_LOG2_E: f32 = 1.9259630e-08;
/// √π a e^(a²) erfc(a) = 1 + z · this, in z = 1/a² beyond [`NEAR`]
const FAR_ERFC: [f32; 6] = [
    -0.49999818205833435,
    0.7496799230575562,
    -1.854422926902771,
    5.905740261077881,
    -17.69609260559082,
    30.441648483276367,
];

#[inline(always)]
pub(crate) fn erfc<P: Pack>(x: P) -> P {
    let (a, one) = (x.abs(), P::splat(1.0));
    let (r, q, c) = ERFC.at(a.mul_add(P::splat(PER_UNIT), P::splat(MAGIC)), a);
    let mut y = q.mul_add(r, c);
    if a.any_above(NEAR) {
        // Beyond 10.3 the result is less than half of the smallest number.
        let far = a.at_most(10.3);
        let scale = P::splat(-LOG2_E);
        let (square, low, rest, t) = power_of_square(far, scale);
        let r = rest + low.mul_add(scale, square * P::splat(-LOST_OF_LOG2_E));
        let power = poly(r, EXP2);
        let inverse = one / far;
        // What the quotient and the constant lost comes back with the terms that are added to one.
        let lost = (-far).mul_add(inverse, one) + P::splat(LOST_OF_SQRT);
        let z = inverse * inverse;
        let s = poly(z, FAR_ERFC).mul_add(z, lost);
        let m = inverse * P::splat(FRAC_1_SQRT_PI);
        let low = inverse.mul_add(P::splat(FRAC_1_SQRT_PI), -m);
        let tail = m + power.mul_add(r, s.mul_add(r * power, s)).mul_add(m, low);
        y = a.above(NEAR, tail.scaled_down(t), y);
    }
    x.below(0.0, P::splat(2.0) - y, y)
}

/// Two polynomials in w = -log(1 - x²), as in M. Giles, "Approximating the erfinv function" (2010).
#[inline(always)]
pub(crate) fn erfinv<P: Pack>(x: P) -> P {
    let w = -super::log((-x).mul_add(x, P::splat(1.0)));
    let u = w - P::splat(2.5);
    let near = poly(
        u,
        [
            0.2466402799,
            -0.004177383147,
            -0.001252733753,
            0.0002183415345,
            -4.966871074e-06,
            -3.461993174e-06,
            4.667947167e-07,
            2.317799108e-08,
            -8.829941223e-09,
        ],
    );
    // The constant term in two parts.
    let near = P::splat(1.501409411) + near.mul_add(u, P::splat(-5.217271e-08));
    // At ±1 a polynomial of infinity.
    let far = poly(
        w.sqrt() - P::splat(3.125),
        [
            2.958320141,
            1.003718495,
            0.007049502339,
            -0.005296319723,
            0.003777710255,
            -0.002545476891,
            0.001319444738,
            -0.0002787480771,
            -0.0001794604323,
            0.0001031619831,
        ],
    );
    x * w.below(5.0, near, far)
}

/// erfc in tenths.
static ERFC: Pieces = Pieces::new(
    [
        0.0, 0.10000087, 0.19999877, 0.29999653, 0.4000026, 0.499997, 0.5999962, 0.70000064, 0.7999976, 0.8999996,
        0.9999991, 1.0999889, 1.2000092, 1.2999982, 1.3999857, 1.5000138, 1.6000049, 1.700006, 1.8000007, 1.9000007,
        1.9999858, 2.0999866, 2.2000186, 2.300007, 2.3999958, 2.5000155, 2.5999906, 2.7000222, 2.8000102, 2.8999894,
        2.9999917, 3.0999982,
    ],
    [
        [
            1.0,
            0.8875361,
            0.77729875,
            0.6713768,
            0.57160515,
            0.47950277,
            0.3961469,
            0.32219836,
            0.25790045,
            0.20309198,
            0.15729958,
            0.11979865,
            0.089683555,
            0.06599244,
            0.047717158,
            0.03389321,
            0.023651188,
            0.016209165,
            0.010909469,
            0.0072095497,
            0.004678028,
            0.002979651,
            0.00186268,
            0.0011431362,
            0.0006885288,
            0.00040691826,
            0.0002360467,
            0.00013431563,
            7.500866e-05,
            4.110055e-05,
            2.2091659e-05,
            1.1648791e-05,
        ],
        [
            -std::f32::consts::FRAC_2_SQRT_PI,
            -1.1171514,
            -1.0841353,
            -1.0312631,
            -0.9615393,
            -0.87878525,
            -0.787247,
            -0.6912742,
            -0.59498805,
            -0.5019689,
            -0.41510823,
            -0.3364878,
            -0.26733842,
            -0.20820898,
            -0.15894808,
            -0.118925355,
            -0.08722769,
            -0.062709756,
            -0.044191618,
            -0.03052466,
            -0.020668158,
            -0.013716425,
            -0.008921423,
            -0.005688831,
            -0.0035557202,
            -0.0021781153,
            -0.0013081139,
            -0.00076983235,
            -0.00044418254,
            -0.00025122636,
            -0.00013926001,
            -7.566409e-05,
        ],
        [
            1.1309125e-05,
            0.111715995,
            0.21682532,
            0.30937427,
            0.38461894,
            0.43939012,
            0.4723451,
            0.4838924,
            0.4759893,
            0.45177194,
            0.41510785,
            0.37013283,
            0.3208086,
            0.27067128,
            0.22252505,
            0.17838974,
            0.13956477,
            0.10660697,
            0.07954495,
            0.05799688,
            0.041336022,
            0.028804306,
            0.019627292,
            0.0130843455,
            0.008533707,
            0.005445317,
            0.0034010778,
            0.0020785597,
            0.0012437119,
            0.0007285513,
            0.00041777705,
            0.00023455723,
        ],
        [
            0.3754471,
            0.36488578,
            0.3324269,
            0.28195837,
            0.21798174,
            0.14650483,
            0.0734626,
            0.00459103,
            -0.05552721,
            -0.10373865,
            -0.13837758,
            -0.15924501,
            -0.16753793,
            -0.16518083,
            -0.15471275,
            -0.13874975,
            -0.11979418,
            -0.09992256,
            -0.08072292,
            -0.0632882,
            -0.048224594,
            -0.035753455,
            -0.025813362,
            -0.018166604,
            -0.012468805,
            -0.008349731,
            -0.005459201,
            -0.0034848887,
            -0.0021735795,
            -0.0013248262,
            -0.00078915665,
            -0.00045954442,
        ],
        [
            0.016097125,
            -0.05538329,
            -0.10525242,
            -0.14482486,
            -0.1719876,
            -0.18306163,
            -0.17935513,
            -0.16284268,
            -0.13651648,
            -0.103934914,
            -0.0691803,
            -0.0358101,
            -0.0064624823,
            0.017097527,
            0.034071635,
            0.044528604,
            0.04926174,
            0.049373858,
            0.04611699,
            0.04078214,
            0.034445044,
            0.02794341,
            0.021860544,
            0.016540138,
            0.012127949,
            0.008630703,
            0.0059713144,
            0.0040181675,
            0.0026333774,
            0.0016816164,
            0.001046953,
            0.0006358247,
        ],
        [
            -0.24436708,
            -0.09148136,
            -0.07889784,
            -0.09034498,
            -0.04691746,
            -0.018246004,
            0.025873724,
            0.049235053,
            0.059471477,
            0.06816664,
            0.07167245,
            0.057000194,
            0.053756278,
            0.041174743,
            0.029348837,
            0.014934511,
            0.0045411373,
            -0.002481521,
            -0.009132868,
            -0.011920777,
            -0.013185201,
            -0.012776747,
            -0.011419247,
            -0.00971378,
            -0.007855081,
            -0.006069459,
            -0.004549359,
            -0.0032723295,
            -0.0022834698,
            -0.0015394648,
            -0.0010109241,
            -0.0006452376,
        ],
    ],
);
