//! Elementary functions of f32 that vectorize: no branches, no tables, fused multiply-add.
//!
//! Two kinds. The hot ones (`exp`, `log`, `tanh`, …) are single precision throughout. The others are evaluated in double
//! precision by short polynomials (the names that end in `_d`, good to about 1e-12) and rounded once. Polynomials were
//! fitted for this file by interpolation at Chebyshev nodes in 40-digit arithmetic.

#![allow(clippy::excessive_precision)]

/// Adding it rounds a small f32 to an integer, which then lies in the low bits.
const MAGIC: f32 = 12_582_912.0;
/// The same for f64.
const MAGIC_D: f64 = 6_755_399_441_055_744.0;
const LN2_HI: f32 = 6.9314718246e-01;
const LN2_LO: f32 = -1.9046543e-09;

/// Horner's rule, lowest coefficient first.
#[inline(always)]
fn poly<const N: usize>(x: f32, c: [f32; N]) -> f32 {
    let mut y = c[N - 1];
    for i in (0..N - 1).rev() {
        y = y.mul_add(x, c[i]);
    }
    y
}

#[inline(always)]
fn poly_d<const N: usize>(x: f64, c: [f64; N]) -> f64 {
    let mut y = c[N - 1];
    for i in (0..N - 1).rev() {
        y = y.mul_add(x, c[i]);
    }
    y
}

#[inline(always)]
fn clamp(x: f32, lo: f32, hi: f32) -> f32 {
    // Comparisons that NaN passes through.
    let x = if x > hi { hi } else { x };
    if x < lo { lo } else { x }
}

#[inline(always)]
fn clamp_d(x: f64, lo: f64, hi: f64) -> f64 {
    let x = if x > hi { hi } else { x };
    if x < lo { lo } else { x }
}

#[inline(always)]
fn pow2i(k: i32) -> f32 {
    f32::from_bits((k.wrapping_add(127) as u32) << 23)
}

#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    exp_of_two(x, 0.0)
}

/// exp(x + low), where `low` is less than the last place of x.
#[inline(always)]
fn exp_of_two(x: f32, low: f32) -> f32 {
    let x = clamp(x, -105.0, 89.5);
    let t = x.mul_add(std::f32::consts::LOG2_E, MAGIC);
    let n = t - MAGIC;
    let r = n.mul_add(-LN2_LO, n.mul_add(-LN2_HI, x)) + low;
    let p = poly(
        r,
        [
            1.0,
            1.0,
            5.0e-01,
            1.666657627e-01,
            4.166655242e-02,
            8.363232948e-03,
            1.392625039e-03,
        ],
    );
    // Two steps, so that neither factor leaves the range when the result is subnormal.
    let k = t.to_bits().wrapping_sub(MAGIC.to_bits()) as i32;
    p * pow2i(k >> 1) * pow2i(k.wrapping_sub(k >> 1))
}

#[inline(always)]
pub(crate) fn exp2(x: f32) -> f32 {
    let x = clamp(x, -151.0, 129.0);
    let t = x + MAGIC;
    let r = x - (t - MAGIC);
    let q = poly(
        r,
        [
            6.931471825e-01,
            2.402265072e-01,
            5.550356582e-02,
            9.618082084e-03,
            1.339109382e-03,
            1.545336127e-04,
        ],
    );
    let k = t.to_bits().wrapping_sub(MAGIC.to_bits()) as i32;
    q.mul_add(r, 1.0) * pow2i(k >> 1) * pow2i(k.wrapping_sub(k >> 1))
}

#[inline(always)]
pub(crate) fn expm1(x: f32) -> f32 {
    let c = clamp(x, -20.0, 88.9);
    let t = c.mul_add(std::f32::consts::LOG2_E, MAGIC);
    let n = t - MAGIC;
    let r = n.mul_add(-LN2_LO, n.mul_add(-LN2_HI, c));
    let q = poly(
        r,
        [
            5.0e-01,
            1.666666716e-01,
            4.166646302e-02,
            8.333310485e-03,
            1.393373124e-03,
            1.989107986e-04,
        ],
    );
    let p = (r * r).mul_add(q, r);
    // Half the scale, so that 2^128 is not needed.
    let k = t.to_bits().wrapping_sub(MAGIC.to_bits()) as i32;
    let half = pow2i(k.wrapping_sub(1));
    let y = half.mul_add(p, half - 0.5) * 2.0;
    if x == 0.0 { x } else { y }
}

#[inline(always)]
pub(crate) fn log(x: f32) -> f32 {
    let tiny = x < f32::MIN_POSITIVE;
    let scaled = if tiny { x * 8_388_608.0 } else { x };
    let bits = scaled.to_bits().wrapping_sub(0x3f35_04f3);
    let e = (bits as i32 >> 23) as f32 - if tiny { 23.0 } else { 0.0 };
    let f = f32::from_bits((bits & 0x007f_ffff).wrapping_add(0x3f35_04f3)) - 1.0;
    let p = poly(
        f,
        [
            3.333333135e-01,
            -2.499999702e-01,
            2.000071555e-01,
            -1.666780263e-01,
            1.424905807e-01,
            -1.242568716e-01,
            1.168541983e-01,
            -1.147973388e-01,
            6.971611828e-02,
        ],
    );
    let z = f * f;
    // e·ln 2 in two parts, the first exact.
    let tail = e.mul_add(-2.12194440e-4, (p * f).mul_add(z, -0.5 * z));
    let y = e.mul_add(0.693359375, f + tail);
    log_edges(x, y)
}

#[inline(always)]
fn log_edges(x: f32, y: f32) -> f32 {
    let y = if x < f32::INFINITY { y } else { x };
    let y = if x < 0.0 { f32::NAN } else { y };
    if x == 0.0 { f32::NEG_INFINITY } else { y }
}

/// `(e, log m)` with `x = m·2^e` and m near 1; `x` is positive and normal. Where e = 0, `near` replaces m - 1.
#[inline(always)]
fn log_parts(x: f64, near: Option<f64>) -> (f64, f64) {
    const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    let bits = x.to_bits().wrapping_sub(SQRT_HALF).wrapping_add(1023 << 52);
    // The biased exponent becomes a float by the low bits of 2^52.
    let e = f64::from_bits((bits >> 52) | 0x4330_0000_0000_0000) - (4_503_599_627_370_496.0 + 1023.0);
    let m = f64::from_bits((bits & 0x000f_ffff_ffff_ffff).wrapping_add(SQRT_HALF));
    let f = m - 1.0;
    let f = if let Some(near) = near {
        if e == 0.0 { near } else { f }
    } else {
        f
    };
    let s = f / (2.0 + f);
    let z = s * s;
    let q = poly_d(
        z,
        [
            0.666666666666667,
            0.3999999999989924,
            0.2857142862609589,
            0.22222211115144158,
            0.18182890556695763,
            0.15331674030163508,
            0.1461703754883715,
        ],
    );
    (e, (s * z).mul_add(q, 2.0 * s))
}

#[inline(always)]
pub(crate) fn log2(x: f32) -> f32 {
    let (e, l) = log_parts(x as f64, None);
    log_edges(x, l.mul_add(std::f64::consts::LOG2_E, e) as f32)
}

#[inline(always)]
pub(crate) fn log10(x: f32) -> f32 {
    let (e, l) = log_parts(x as f64, None);
    log_edges(
        x,
        e.mul_add(std::f64::consts::LOG10_2, l * std::f64::consts::LOG10_E) as f32,
    )
}

#[inline(always)]
pub(crate) fn log1p(x: f32) -> f32 {
    let d = x as f64;
    let (e, l) = log_parts(1.0 + d, Some(d));
    let y = e.mul_add(std::f64::consts::LN_2, l) as f32;
    let y = if x < f32::INFINITY { y } else { x };
    let y = if x < -1.0 { f32::NAN } else { y };
    let y = if x == -1.0 { f32::NEG_INFINITY } else { y };
    if x == 0.0 { x } else { y }
}

/// exp in double precision, for arguments that f32 results come from; 1e-308 and infinity beyond ±710.
#[inline(always)]
pub(crate) fn exp_d(x: f64) -> f64 {
    let c = clamp_d(x, -708.0, 710.0);
    let t = c.mul_add(std::f64::consts::LOG2_E, MAGIC_D);
    let n = t - MAGIC_D;
    let r = n.mul_add(-std::f64::consts::LN_2, c);
    let p = poly_d(
        r,
        [
            1.0,
            1.0,
            0.4999999999995475,
            0.16666666666662555,
            0.04166666678698556,
            0.008333333344268395,
            0.0013888838910996056,
            0.00019841224418291943,
            2.4868002978056962e-05,
            2.7617685465165067e-06,
        ],
    );
    p * f64::from_bits((t.to_bits() << 52).wrapping_add(1023 << 52))
}

#[inline(always)]
fn exp2_d(x: f64) -> f64 {
    let c = clamp_d(x, -1000.0, 1000.0);
    let t = c + MAGIC_D;
    let r = c - (t - MAGIC_D);
    let q = poly_d(
        r,
        [
            std::f64::consts::LN_2,
            0.2402265069581221,
            0.05550410866475993,
            0.009618129159714186,
            0.00133335581792394,
            0.00015403455553573818,
            1.5252686658011347e-05,
            1.3255304503367413e-06,
            1.0203171216524443e-07,
        ],
    );
    q.mul_add(r, 1.0) * f64::from_bits((t.to_bits() << 52).wrapping_add(1023 << 52))
}

#[inline(always)]
pub(crate) fn pow(x: f32, y: f32) -> f32 {
    let (e, l) = log_parts(x.abs() as f64, None);
    let log2 = l.mul_add(std::f64::consts::LOG2_E, e);
    let magnitude = x.abs();
    let log2 = if magnitude < f32::INFINITY {
        log2
    } else {
        magnitude as f64
    };
    let log2 = if magnitude == 0.0 { f64::NEG_INFINITY } else { log2 };
    let power = exp2_d(log2 * y as f64) as f32;
    // 1000 twice over: beyond it exp2_d saturates, and so does f32.
    let power = if magnitude == 1.0 && !y.is_nan() { 1.0 } else { power };
    let whole = y.trunc() == y;
    let odd = whole && (y * 0.5).trunc() != y * 0.5;
    let signed = if odd { power.copysign(x) } else { power };
    let signed = if x < 0.0 && magnitude < f32::INFINITY && !whole {
        f32::NAN
    } else {
        signed
    };
    if x == 1.0 || y == 0.0 { 1.0 } else { signed }
}

/// Largest argument that `sin` and `cos` reduce by two constants; beyond it the library's own reduction is used.
pub(super) const TRIG_LIMIT: f32 = 1e8;

/// `(sin x, cos x)` before rounding, for |x| up to [`TRIG_LIMIT`].
#[inline(always)]
fn sin_cos_d(x: f64) -> (f64, f64) {
    let t = x.mul_add(std::f64::consts::FRAC_2_PI, MAGIC_D);
    let n = t - MAGIC_D;
    let r = n.mul_add(-6.123233995736766e-17, n.mul_add(-std::f64::consts::FRAC_PI_2, x));
    let z = r * r;
    let s = poly_d(
        z,
        [
            -0.16666666666666666,
            0.008333333333330827,
            -0.0001984126983657571,
            2.755731600817155e-06,
            -2.505111227257324e-08,
        ],
    );
    let c = poly_d(
        z,
        [
            0.041666666666664576,
            -0.0013888888887212015,
            2.4801585147774786e-05,
            -2.755635066336875e-07,
            2.069884633979859e-09,
        ],
    );
    let s = (r * z).mul_add(s, r);
    let c = (z * z).mul_add(c, z.mul_add(-0.5, 1.0));
    let q = t.to_bits();
    let (a, b) = if q & 1 == 0 { (s, c) } else { (c, s) };
    let sign_s = (q & 2) << 62;
    let sign_c = (q.wrapping_add(1) & 2) << 62;
    (
        f64::from_bits(a.to_bits() ^ sign_s),
        f64::from_bits(b.to_bits() ^ sign_c),
    )
}

#[inline(always)]
pub(crate) fn sin(x: f32) -> f32 {
    let y = sin_cos_d(x as f64).0 as f32;
    if x == 0.0 { x } else { y }
}

#[inline(always)]
pub(crate) fn cos(x: f32) -> f32 {
    sin_cos_d(x as f64).1 as f32
}

#[inline(always)]
pub(crate) fn tan(x: f32) -> f32 {
    let (s, c) = sin_cos_d(x as f64);
    let y = (s / c) as f32;
    if x == 0.0 { x } else { y }
}

#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let a = x.abs();
    let z = x * x;
    let p = poly(
        z,
        [
            -3.333333433e-01,
            1.333329082e-01,
            -5.395634845e-02,
            2.174618654e-02,
            -8.272456937e-03,
            2.214902779e-03,
        ],
    );
    let small = (x * z).mul_add(p, x);
    let big = (1.0 - 2.0 / (exp(2.0 * a) + 1.0)).copysign(x);
    if a < 0.65 { small } else { big }
}

#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    // From e^-|x|, which does not overflow: small results are then subnormal and not 0.
    let e = exp(-x.abs());
    let part = if x < 0.0 { e } else { 1.0 };
    part / (1.0 + e)
}

#[inline(always)]
fn atan_d(x: f64) -> f64 {
    let a = x.abs();
    let far = a > 1.0;
    let t = if far { 1.0 / a } else { a };
    let z = t * t;
    let p = poly_d(
        z,
        [
            -0.3333333333316827,
            0.19999999935142282,
            -0.14285710020067355,
            0.11110999508742123,
            -0.09089368031943401,
            0.07679381276430067,
            -0.06595124596279416,
            0.05606687035288793,
            -0.044949951625371215,
            0.031658037961875614,
            -0.017983693245158954,
            0.007457247330395751,
            -0.0019608268978289433,
            0.00024203213294799952,
        ],
    );
    let y = (t * z).mul_add(p, t);
    (if far { std::f64::consts::FRAC_PI_2 - y } else { y }).copysign(x)
}

#[inline(always)]
pub(crate) fn atan(x: f32) -> f32 {
    atan_d(x as f64) as f32
}

/// erfc for t >= 0: exp(-t²) times a polynomial in (t - 3) / (t + 3), divided by 1 + 2t; 0 beyond f32's range.
#[inline(always)]
fn erfc_tail(t: f64) -> f64 {
    let c = if t > 10.6 { 10.6 } else { t };
    let u = (c - 3.0) / (c + 3.0);
    let p = poly_d(
        u,
        [
            1.253008058281673,
            -0.13562110639412678,
            -0.047562296471370384,
            0.12964517374774606,
            -0.11927359602403852,
            0.06830780799279416,
            -0.0237713639393288,
            0.0025305156718848235,
            0.0018937613259225328,
            -0.0007808913198560202,
            -0.00011942483264961557,
            0.00011817135032596106,
            1.9924390515035447e-05,
            -4.608336056254351e-06,
        ],
    );
    let y = exp_d(-c * c) * p / (1.0 + 2.0 * c);
    if t > 10.6 { 0.0 } else { y }
}

#[inline(always)]
pub(crate) fn erfc_d(x: f64) -> f64 {
    let y = erfc_tail(x.abs());
    if x < 0.0 { 2.0 - y } else { y }
}

/// `(p, w, e)` with w = a / (a + 4), e = exp(-a²/2) and p·w·e = ½ a erfc(a/√2), where ½ erfc(a/√2) is the upper tail of
/// the normal distribution; a >= 0, single precision. p is a polynomial in (a - 4) / (a + 4) = 2w - 1.
#[inline(always)]
fn normal_tail(a: f32) -> (f32, f32, f32) {
    let a = if a > 14.5 { 14.5 } else { a };
    // The square in two parts: the exponential would magnify what rounding it loses.
    let square = a * a;
    let rest = a.mul_add(a, -square);
    let e = exp_of_two(-0.5 * square, -0.5 * rest);
    let w = a / (a + 4.0);
    let u = 2.0f32.mul_add(w, -1.0);
    let p = poly(
        u,
        [
            0.7552851439,
            -0.607896626,
            0.387136668,
            -0.186523065,
            0.06040641665,
            -0.007526833098,
            -0.003523051972,
            0.001568784821,
            0.0001935910695,
            -0.0001235153613,
        ],
    );
    (p, w, e)
}

#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    let z = x * x;
    let q = poly(
        z,
        [
            0.1283791671,
            -0.3761262596,
            0.1128359437,
            -0.02685421146,
            0.005189087242,
            -0.0008016864303,
            7.875874871e-05,
        ],
    );
    let (p, w, e) = normal_tail(x.abs() * std::f32::consts::SQRT_2);
    // 1 / (a + 4) = (1 - w) / 4
    let far = (p * 0.5f32.mul_add(w, -0.5)).mul_add(e, 1.0).copysign(x);
    if x.abs() < 1.0 { x.mul_add(q, x) } else { far }
}

#[inline(always)]
pub(crate) fn gelu(x: f32) -> f32 {
    let (p, w, e) = normal_tail(x.abs());
    // The exponential, which may be subnormal, comes last.
    let t = p * w * e;
    let y = if x >= 0.0 { x - t } else { -t };
    // Near 0 Φ as ½ and an odd polynomial loses less.
    let q = poly(
        x * x,
        [
            0.3989422804,
            -0.06649035719,
            0.009973382619,
            -0.001186799689,
            0.0001146637118,
            -8.857467363e-06,
            4.350847288e-07,
        ],
    );
    let y = if x.abs() < 0.75 { x * x.mul_add(q, 0.5) } else { y };
    if x == f32::NEG_INFINITY { f32::NAN } else { y }
}

/// The derivative of [`gelu`]: Φ(x) + x φ(x).
#[inline(always)]
pub(crate) fn gelu_slope(x: f32) -> f32 {
    let (p, w, e) = normal_tail(x.abs());
    let tail = p * 0.25f32.mul_add(-w, 0.25) * e;
    let below = if x >= 0.0 { 1.0 - tail } else { tail };
    (e * 0.39894228).mul_add(x, below)
}

/// Σ z^i / (2i + 1)! for sinh x / x, z = x² below 1.
#[inline(always)]
fn sinh_series(z: f64) -> f64 {
    poly_d(
        z,
        [
            1.0,
            1.0 / 6.0,
            1.0 / 120.0,
            1.0 / 5040.0,
            1.0 / 362_880.0,
            1.0 / 39_916_800.0,
            1.0 / 6_227_020_800.0,
        ],
    )
}

#[inline(always)]
pub(crate) fn sinh(x: f32) -> f32 {
    let d = x as f64;
    let e = exp_d(d.abs());
    let far = (0.5 * (e - 1.0 / e)).copysign(d);
    let y = if d.abs() < 1.0 { d * sinh_series(d * d) } else { far };
    y as f32
}

#[inline(always)]
pub(crate) fn cosh(x: f32) -> f32 {
    let e = exp_d((x as f64).abs());
    (0.5 * (e + 1.0 / e)) as f32
}

#[inline(always)]
pub(crate) fn asin(x: f32) -> f32 {
    let d = x as f64;
    let y = atan_d(d / ((1.0 - d) * (1.0 + d)).sqrt()) as f32;
    if x == 0.0 { x } else { y }
}

#[inline(always)]
pub(crate) fn acos(x: f32) -> f32 {
    let d = x as f64;
    (2.0 * atan_d(((1.0 - d) / (1.0 + d)).sqrt())) as f32
}

/// log(1 + u) for u >= 0 that is finite.
#[inline(always)]
fn log1p_d(u: f64) -> f64 {
    let (e, l) = log_parts(1.0 + u, Some(u));
    e.mul_add(std::f64::consts::LN_2, l)
}

#[inline(always)]
pub(crate) fn asinh(x: f32) -> f32 {
    let a = (x as f64).abs();
    let y = log1p_d(a + a * a / (1.0 + a.mul_add(a, 1.0).sqrt())) as f32;
    let y = if a < f64::INFINITY { y } else { x.abs() };
    y.copysign(x)
}

#[inline(always)]
pub(crate) fn acosh(x: f32) -> f32 {
    let t = x as f64 - 1.0;
    let y = log1p_d(t + (t * (t + 2.0)).sqrt()) as f32;
    let y = if x < f32::INFINITY { y } else { x };
    if x < 1.0 { f32::NAN } else { y }
}

#[inline(always)]
pub(crate) fn atanh(x: f32) -> f32 {
    let a = (x as f64).abs();
    let y = (0.5 * log1p_d(2.0 * a / (1.0 - a))) as f32;
    let y = if a == 1.0 { f32::INFINITY } else { y };
    let y = if a > 1.0 { f32::NAN } else { y };
    let y = if x.is_nan() { x } else { y };
    y.copysign(x)
}
