//! Logarithms, and the inverse hyperbolic functions that are logarithms.

use super::{LN2_HI, LN2_LO, MAGIC, Pack, exp, exp2, fast_sum, poly, two_product, two_sum};

/// (2 artanh s / s - 2) / s² in z = s², s = f / (2 + f) for √½ <= 1 + f < √2
const LOG: [f64; 7] = [
    0.666666666666667,
    0.3999999999989889,
    0.28571428626253836,
    0.22222211089379496,
    0.1818289243253687,
    0.15331611722055008,
    0.14617807153417325,
];

pub(in super::super) const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;

/// `(e, f)` with x = (1 + f)·2^e and √½ <= 1 + f < √2, for a positive x, subnormal ones too.
#[inline(always)]
pub(in super::super) fn split(x: f64) -> (f64, f64) {
    let tiny = x < f64::MIN_POSITIVE;
    let scaled = if tiny { x * 18_014_398_509_481_984.0 } else { x };
    let bits = scaled.to_bits().wrapping_sub(SQRT_HALF).wrapping_add(1023 << 52);
    // The biased exponent becomes a float by the low bits of 2^52.
    let bias = if tiny { 1023.0 + 54.0 } else { 1023.0 };
    let e = f64::from_bits((bits >> 52) | 0x4330_0000_0000_0000) - (4_503_599_627_370_496.0 + bias);
    let m = f64::from_bits((bits & 0x000f_ffff_ffff_ffff).wrapping_add(SQRT_HALF));
    (e, m - 1.0)
}

/// `(e, m)` with x = m·2^e and 1 <= m < 2, for a positive x, subnormal ones too.
#[inline(always)]
pub(in super::super) fn octave(x: f64) -> (f64, f64) {
    let tiny = x < f64::MIN_POSITIVE;
    let bits = (if tiny { x * 18_014_398_509_481_984.0 } else { x }).to_bits();
    let bias = if tiny { 1023.0 + 54.0 } else { 1023.0 };
    // The biased exponent becomes a float by the low bits of 2^52.
    let e = f64::from_bits((bits >> 52) | 0x4330_0000_0000_0000) - (4_503_599_627_370_496.0 + bias);
    (e, f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | (1023 << 52)))
}

/// `(f²/2, t)` with log(1 + f) = f - (f²/2 - t).
#[inline(always)]
fn tail<P: Pack<f64>>(f: P) -> (P, P) {
    tail_by(f, f / (P::splat(2.0) + f))
}

#[inline(always)]
fn tail_by<P: Pack<f64>>(f: P, s: P) -> (P, P) {
    let z = s * s;
    let half = P::splat(0.5) * f * f;
    (half, s * z.mul_add(poly(z, &LOG), half))
}

/// e·ln 2 + log(1 + f) + c, where c is below the last place of f.
#[inline(always)]
fn join<P: Pack<f64>>(e: P, f: P, c: P) -> P {
    let (half, t) = tail(f);
    e.mul_add(P::splat(LN2_HI), f - (half - (t + e.mul_add(P::splat(LN2_LO), c))))
}

/// The logarithms of two normal positive numbers below 1e300, and the inverse of the first, by one division.
#[inline(always)]
pub(super) fn two_logs<P: Pack<f64>>(x: P, y: P) -> (P, P, P) {
    let ((e, f), (d, g)) = (x.split(), y.split());
    let two = P::splat(2.0);
    let (p, q) = (two + f, two + g);
    let both = p * q;
    let inverse = P::splat(1.0) / (both * x);
    let rest = inverse * x;
    let inverse = both * inverse;
    (
        log_of_parts(e, f, f * (q * rest)),
        log_of_parts(d, g, g * (p * rest)),
        inverse,
    )
}

/// e·ln 2 + log(1 + f), s = f / (2 + f).
#[inline(always)]
fn log_of_parts<P: Pack<f64>>(e: P, f: P, s: P) -> P {
    let (half, t) = tail_by(f, s);
    e.mul_add(P::splat(LN2_HI), f - (half - e.mul_add(P::splat(LN2_LO), t)))
}

#[inline(always)]
pub(in super::super) fn edges(x: f64, y: f64) -> f64 {
    // Compared as integers: LLVM would make a longer test of classes of the float comparisons.
    let y = if x < f64::INFINITY { y } else { x };
    let low = if x.to_bits() << 1 == 0 {
        f64::NEG_INFINITY
    } else {
        f64::NAN
    };
    if (x.to_bits() as i64) <= 0 { low } else { y }
}

/// For each of 16 equal parts of 1 to 2 the inverse of a number in it; 1 and ½ for those beside 1 and 2, where a logarithm may
/// be near 0. They are those of their neighbourhood whose logarithm is very nearly a double.
const INVERSE: [f64; 16] = [
    1.0,
    0.914268693753556,
    0.8648488134947313,
    0.8204977199051182,
    0.7804733434833693,
    0.7441722480364138,
    0.7110980636540534,
    0.6808383655044836,
    0.6530491776614806,
    0.6274393773542292,
    0.6037625811008396,
    0.5818088374357575,
    0.5613933116719674,
    0.542363324407786,
    0.5245806867964349,
    0.5,
];

/// The logarithms of their inverses, and what the last one has beyond that.
const LOG_OF: [f64; 16] = [
    0.0,
    0.08963077507001897,
    0.14520056941344256,
    0.19784414736491027,
    0.24785469273817215,
    0.2954827547668043,
    0.340944935125407,
    0.38443034974954754,
    0.4261028421869004,
    0.46610822243728195,
    0.504574235970208,
    0.5416133432190099,
    0.5773335287840916,
    0.6118191618843825,
    0.6451560273310691,
    LN2_HI,
];
const LOG_OF_LOW: [f64; 16] = [
    0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, LN2_LO,
];

/// (log(1 + r) - r + r²/2) / r³ for -1/32 <= r <= 1/16
const LOG_NEAR: [f64; 9] = [
    0.3333333333333333,
    -0.25000000000006367,
    0.20000000000085377,
    -0.16666666623882906,
    0.14285713556435542,
    -0.12500070605404237,
    0.11112796808946702,
    -0.09973268871285426,
    0.080317871749449,
];

#[inline(always)]
pub fn log<P: Pack<f64>>(x: P) -> P {
    let (e, m) = x.octave();
    let i = m.shifted::<48>();
    let r = m.mul_add(i.look_up(&INVERSE), P::splat(-1.0));
    // The product is exact.
    let (h, l) = fast_sum(e * P::splat(LN2_HI), i.look_up(&LOG_OF));
    let low = e.mul_add(P::splat(LN2_LO), l + i.look_up(&LOG_OF_LOW));
    let z = r * r;
    let tail = (r * z).mul_add(poly(r, &LOG_NEAR), z.mul_add(P::splat(-0.5), low));
    (h + (r + tail)).log_edges(x)
}

/// [`log`] by a quotient instead of tables, for where a compiler makes vectors of it.
#[inline(always)]
pub(crate) fn log_plain<P: Pack<f64>>(x: P) -> P {
    let (e, f) = x.split();
    join(e, f, P::splat(0.0)).log_edges(x)
}

/// The same for the logarithms to base 2 and 10.
const INVERSE_2: [f64; 16] = [
    1.0,
    0.9151379529002164,
    0.8643531174500233,
    0.8203393626818904,
    0.7802633737111121,
    0.7434756583983563,
    0.711761646185011,
    0.6801856597127625,
    0.6526513243568736,
    0.6279086479225664,
    0.6040507382410499,
    0.5822676354002558,
    0.5611281522076363,
    0.542482050258391,
    0.5245231075412705,
    0.5,
];
const LOG2_OF: [f64; 16] = [
    0.0,
    0.12793885535594554,
    0.210307272408412,
    0.28570723933390485,
    0.3579669147437129,
    0.4276425860768519,
    0.4905339006593373,
    0.5559995047183636,
    0.6156156497750765,
    0.6713734128017852,
    0.7272583586906661,
    0.7802456642396365,
    0.8335977992037911,
    0.8823526926880805,
    0.9309217636465661,
    1.0,
];
const INVERSE_10: [f64; 16] = [
    1.0,
    0.9134264229213289,
    0.8652204350887694,
    0.820712777137457,
    0.7803588079683045,
    0.7444712723297604,
    0.7108092903862543,
    0.6814020956389876,
    0.6534644845246279,
    0.6269152390050743,
    0.6035366699602859,
    0.5814584875033547,
    0.5617723705043521,
    0.5422697661287703,
    0.524177886036105,
    0.5,
];
const LOG10_OF: [f64; 16] = [
    0.0,
    0.0393264295990068,
    0.0628732317878649,
    0.08580880527896251,
    0.10770566334749956,
    0.12815205615139824,
    0.1482469045342693,
    0.16659653510179442,
    0.18477801113487816,
    0.20279117323748827,
    0.2192963376998753,
    0.23548128573652002,
    0.25043962439498335,
    0.2657846086743975,
    0.2805213049748351,
    LOG10_2_HIGH,
];
const LOG10_OF_LOW: [f64; 16] = [
    0.0,
    0.0,
    0.0,
    0.0,
    0.0,
    0.0,
    0.0,
    0.0,
    0.0,
    0.0,
    0.0,
    0.0,
    0.0,
    0.0,
    0.0,
    LOG10_2_LOW,
];

/// log10 2 in two parts; the first one's product with an exponent is exact (fdlibm).
const LOG10_2_HIGH: f64 = 3.01029995663611771306e-01;
const LOG10_2_LOW: f64 = 3.69423907715893078616e-13;

/// (log2(1 + r) - r log2 e) / r² for -1/32 <= r <= 1/16
const LOG2_NEAR: [f64; 10] = [
    -0.7213475204444817,
    0.4808983469629884,
    -0.3606737602225031,
    0.2885390081750448,
    -0.2404491723773118,
    0.20609928516353598,
    -0.1803383890507062,
    0.16032479740983285,
    -0.14371793050939438,
    0.11429104744602901,
];

/// (log10(1 + r) - r log10 e) / r² there.
const LOG10_NEAR: [f64; 10] = [
    -0.2171472409516259,
    0.14476482730108411,
    -0.10857362047589189,
    0.08685889637982316,
    -0.07238241331815004,
    0.06204206691912886,
    -0.054287264473983445,
    0.04826257306911065,
    -0.043263407998079345,
    0.03440503351710998,
];

/// h + log(1 + r) + low in the base of which `unit`, in two parts, is the logarithm of e.
#[inline(always)]
fn join_near<P: Pack<f64>>(h: P, r: P, low: P, unit: (f64, f64), near: &[f64; 10]) -> P {
    let (p, q) = two_product(r, P::splat(unit.0));
    let rest = (r * r).mul_add(poly(r, near), r.mul_add(P::splat(unit.1), q + low));
    h + (p + rest)
}

#[inline(always)]
pub fn log2<P: Pack<f64>>(x: P) -> P {
    let (e, m) = x.octave();
    let i = m.shifted::<48>();
    let r = m.mul_add(i.look_up(&INVERSE_2), P::splat(-1.0));
    let (h, low) = fast_sum(e, i.look_up(&LOG2_OF));
    join_near(
        h,
        r,
        low,
        (std::f64::consts::LOG2_E, 2.0355273740931033e-17),
        &LOG2_NEAR,
    )
    .log_edges(x)
}

#[inline(always)]
pub fn log10<P: Pack<f64>>(x: P) -> P {
    let (e, m) = x.octave();
    let i = m.shifted::<48>();
    let r = m.mul_add(i.look_up(&INVERSE_10), P::splat(-1.0));
    let (h, l) = fast_sum(e * P::splat(LOG10_2_HIGH), i.look_up(&LOG10_OF));
    let low = e.mul_add(P::splat(LOG10_2_LOW), l + i.look_up(&LOG10_OF_LOW));
    join_near(
        h,
        r,
        low,
        (std::f64::consts::LOG10_E, 1.098319650216765e-17),
        &LOG10_NEAR,
    )
    .log_edges(x)
}

/// `(e, f, c)` with u + low = 2^e (1 + f + c).
#[inline(always)]
fn split_sum<P: Pack<f64>>(u: P, low: P) -> (P, P, P) {
    let (e, f) = u.split();
    // 2^-e; where that is out of range, `low` is nothing beside u.
    let inverse = (P::splat(MAGIC) - e).power(P::splat(1.0));
    let low = u.below(1e300, low * inverse, P::splat(0.0));
    let (f, c) = two_sum(f, low);
    (e, f, c)
}

/// log(u + low) with `low` below the last place of u >= 0.
#[inline(always)]
fn log_of_sum<P: Pack<f64>>(u: P, low: P) -> P {
    let (e, f, c) = split_sum(u, low);
    // The derivative of log(1 + f) is nearly 1 - f.
    join(e, f, (-c).mul_add(f, c))
}

#[inline(always)]
pub fn log1p<P: Pack<f64>>(x: P) -> P {
    let (u, low) = two_sum(P::splat(1.0), x);
    // Where u is 0 or less, and where it is infinite, it has x's logarithm.
    log_of_sum(u, low).log_edges(u).zero_of(x)
}

/// The larger of two numbers and how far below it the other lies; 0 for equals, infinite ones too. NaN in one of the two
/// where one of them is NaN.
#[inline(always)]
pub(in super::super) fn larger_and_fall<P: Pack<f64>>(a: P, b: P) -> (P, P) {
    let fall = a.same(b, P::splat(0.0), (a - b).abs());
    (a.less(b, b, a), fall)
}

/// log(e^a + e^b)
#[inline(always)]
pub fn log_add_exp<P: Pack<f64>>(a: P, b: P) -> P {
    let (large, fall) = larger_and_fall(a, b);
    large + log1p(exp(-fall))
}

/// log2(2^a + 2^b)
#[inline(always)]
pub fn log_add_exp2<P: Pack<f64>>(a: P, b: P) -> P {
    let (large, fall) = larger_and_fall(a, b);
    large + log1p(exp2(-fall)) * P::splat(std::f64::consts::LOG2_E)
}

/// log(1 + h + l), h >= 0.
#[inline(always)]
fn log1p_sum(h: f64, l: f64) -> f64 {
    let (u, low) = two_sum(1.0, h);
    log_of_sum(u, low + l)
}

#[inline(always)]
pub(crate) fn asinh(x: f64) -> f64 {
    let a = x.abs();
    let far = a > 1e150;
    let b = if far { 1.0 } else { a };
    // a + √(a² + 1) - 1 = a + a² / (1 + √(a² + 1))
    let (h, l) = two_sum(b, b * b / (1.0 + b.mul_add(b, 1.0).sqrt()));
    let near = log1p_sum(h, l);
    let (e, f) = split(a);
    let y = if far { join(e + 1.0, f, 0.0) } else { near };
    let y = if a < f64::INFINITY { y } else { a };
    let y = y.copysign(x);
    if x == 0.0 { x } else { y }
}

#[inline(always)]
pub(crate) fn acosh(x: f64) -> f64 {
    let far = x > 1e150;
    let t = if far { 1.0 } else { x - 1.0 };
    let root = t.mul_add(t, 2.0 * t).sqrt();
    let (h, l) = two_sum(t, root);
    let near = log1p_sum(h, l);
    let (e, f) = split(x);
    let y = if far { join(e + 1.0, f, 0.0) } else { near };
    let y = if x < f64::INFINITY { y } else { x };
    let y = if x == 1.0 { 0.0 } else { y };
    if x < 1.0 { f64::NAN } else { y }
}

#[inline(always)]
pub(crate) fn atanh(x: f64) -> f64 {
    let a = x.abs();
    // 2a / (1 - a) = 2a + 2a² / (1 - a)
    let (h, l) = two_sum(2.0 * a, 2.0 * a * a / (1.0 - a));
    let y = 0.5 * log1p_sum(h, l);
    let y = if a == 1.0 { f64::INFINITY } else { y };
    let y = if a > 1.0 { f64::NAN } else { y };
    let y = y.copysign(x);
    if x == 0.0 || x.is_nan() { x } else { y }
}
