//! Special functions in double precision: rare, so accuracy and clarity come before speed.
//!
//! Series, continued fractions and asymptotic expansions as in Abramowitz and Stegun (A&S) and the NIST handbook (DLMF);
//! where PyTorch has a convention of its own (poles, negative arguments), it is followed.

use super::math64;
use crate::multiversion;
use std::f64::consts::{FRAC_1_SQRT_2, PI, SQRT_2};

/// The functions of `math64` for one number at a time, compiled with the instructions that they need.
macro_rules! alone {
    ($($name:ident($($x:ident),*))*) => {
        $(multiversion! {
            fn $name($($x: f64),*) -> f64 {
                math64::$name($($x),*)
            }
        })*
    };
}
alone! { exp(x) log(x) log1p(x) sin(x) tan(x) erfc(x) pow(x, y) }

multiversion! {
    fn ndtri_inner(p: f64) -> f64 {
        math64::ndtri(p)
    }
}

/// exp(x²) erfc(x) for x >= 0.
fn erfcx(x: f64) -> f64 {
    if x < 6.0 {
        return exp(x * x) * erfc(x);
    }
    // Continued fraction, DLMF 7.9.1.
    let mut t = x;
    for k in (1..40).rev() {
        t = x + 0.5 * k as f64 / t;
    }
    1.0 / (PI.sqrt() * t)
}

/// Bernoulli numbers B_2, B_4, …
const BERNOULLI: [f64; 10] = [
    1.0 / 6.0,
    -1.0 / 30.0,
    1.0 / 42.0,
    -1.0 / 30.0,
    5.0 / 66.0,
    -691.0 / 2730.0,
    7.0 / 6.0,
    -3617.0 / 510.0,
    43867.0 / 798.0,
    -174611.0 / 330.0,
];

/// log |Γ(x)|.
pub fn lgamma(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x.is_infinite() {
        return f64::INFINITY;
    }
    if x < 0.5 {
        if x == x.floor() {
            return if x <= 0.0 { f64::INFINITY } else { 0.0 };
        }
        if x.abs() < 1e-17 {
            return -log(x.abs());
        }
        // Reflection, A&S 6.1.17; the sine of the distance to the nearest integer keeps its digits.
        let s = sin(PI * (x - x.round())).abs();
        return log(PI / s) - lgamma(1.0 - x);
    }
    for base in [1.0, 2.0] {
        let z = x - base;
        if z.abs() <= 0.25 {
            let one = lgamma_near_one(z);
            return if base == 1.0 { one } else { one + log1p(z) };
        }
    }
    // Stirling's series (A&S 6.1.40) after shifting up.
    let (mut y, mut product) = (x, 1.0);
    while y < 12.0 {
        product *= y;
        y += 1.0;
    }
    let w = 1.0 / (y * y);
    let mut term = 1.0 / y;
    let mut sum = 0.0;
    for (k, b) in BERNOULLI.iter().enumerate() {
        let n = 2.0 * (k + 1) as f64;
        sum += b / (n * (n - 1.0)) * term;
        term *= w;
    }
    (y - 0.5) * log(y) - y + 0.5 * log(2.0 * PI) + sum - log(product)
}

/// log Γ(1 + z) for |z| <= 1/4: A&S 6.1.33, with ζ(k) - 1 summed and the ones as a logarithm.
fn lgamma_near_one(z: f64) -> f64 {
    const EULER_MINUS_1: f64 = 0.577_215_664_901_532_9 - 1.0;
    const ZETA_MINUS_1: [f64; 22] = [
        0.644_934_066_848_226_4,
        0.202_056_903_159_594_3,
        0.082_323_233_711_138_19,
        0.036_927_755_143_369_93,
        0.017_343_061_984_449_14,
        0.008_349_277_381_922_827,
        0.004_077_356_197_944_339,
        0.002_008_392_826_082_214,
        0.000_994_575_127_818_085_3,
        0.000_494_188_604_119_464_6,
        0.000_246_086_553_308_048_3,
        0.000_122_713_347_578_489_1,
        6.124_813_505_870_483e-5,
        3.058_823_630_702_049e-5,
        1.528_225_940_865_187e-5,
        7.637_197_637_899_762e-6,
        3.817_293_264_999_84e-6,
        1.908_212_716_553_939e-6,
        9.539_620_338_727_962e-7,
        4.769_329_867_878_064e-7,
        2.384_505_027_277_33e-7,
        1.192_199_259_653_11e-7,
    ];
    // Σ_{k≥2} ζ(k)(-z)^k/k - γz = -log(1+z) + z(1-γ) + Σ (ζ(k)-1)(-z)^k/k
    let mut power = -z;
    let mut sum = 0.0;
    for (i, zeta) in ZETA_MINUS_1.iter().enumerate() {
        power *= -z;
        sum += zeta * power / (i + 2) as f64;
    }
    sum - z * EULER_MINUS_1 - log1p(z)
}

/// ψ(x): recurrence up, then the asymptotic series (A&S 6.3.18).
pub fn digamma(x: f64) -> f64 {
    if x == 0.0 {
        return f64::INFINITY.copysign(-x);
    }
    if x < 0.0 {
        if x == x.trunc() {
            return f64::NAN;
        }
        let r = x - x.round();
        return digamma(1.0 - x) - PI / tan(PI * r);
    }
    let (mut y, mut shift) = (x, 0.0);
    while y < 12.0 {
        shift += 1.0 / y;
        y += 1.0;
    }
    let w = 1.0 / (y * y);
    let (mut power, mut sum) = (w, 0.0);
    for (k, b) in BERNOULLI.iter().take(8).enumerate() {
        sum += b / (2.0 * (k + 1) as f64) * power;
        power *= w;
    }
    log(y) - 0.5 / y - sum - shift
}

/// Hurwitz zeta ζ(s, q) by Euler-Maclaurin (DLMF 25.11.5).
pub fn zeta(s: f64, q: f64) -> f64 {
    if s == 1.0 {
        return f64::INFINITY;
    }
    if s < 1.0 || s.is_nan() || q.is_nan() {
        return f64::NAN;
    }
    if q <= 0.0 {
        if q == q.floor() {
            return f64::INFINITY;
        }
        if s != s.floor() {
            return f64::NAN;
        }
    }
    // Shift far enough that the corrections fall off.
    let (mut a, mut sum, mut steps) = (q, 0.0f64, 0);
    while steps < 12 || a < 12.0 {
        let term = pow(a, -s);
        sum += term;
        a += 1.0;
        steps += 1;
        if a > 1.0 && term.abs() < sum.abs() * 1e-17 {
            return sum;
        }
        if steps > 10_000_000 {
            break;
        }
    }
    let top = pow(a, -s);
    sum += a * top / (s - 1.0) + 0.5 * top;
    let (mut rising, mut power, mut factorial) = (s, top / a, 2.0);
    for (k, b) in BERNOULLI.iter().enumerate() {
        let term = b / factorial * rising * power;
        sum += term;
        if term.abs() < sum.abs() * 1e-17 {
            break;
        }
        let n = 2.0 * (k + 1) as f64;
        rising *= (s + n - 1.0) * (s + n);
        power /= a * a;
        factorial *= (n + 1.0) * (n + 2.0);
    }
    sum
}

/// ψ⁽ⁿ⁾(x) for a whole n >= 0 (A&S 6.4.10).
pub fn polygamma(n: f64, x: f64) -> f64 {
    if n == 0.0 {
        return digamma(x);
    }
    let sign = if n % 2.0 == 0.0 { -1.0 } else { 1.0 };
    sign * exp(lgamma(n + 1.0)) * zeta(n + 1.0, x)
}

/// exp(-|x|) I_ν(x) for ν = 0 or 1: the power series (A&S 9.6.10), whose terms are all positive, then Hankel's expansion
/// (9.7.1).
fn bessel_ie(nu: f64, x: f64) -> f64 {
    let a = x.abs();
    let value = if a.is_infinite() {
        0.0
    } else if a <= 30.0 {
        let q = 0.25 * a * a;
        let (mut term, mut sum, mut k) = (1.0, 1.0, 1.0);
        while term > sum * 1e-17 {
            term *= q / (k * (k + nu));
            sum += term;
            k += 1.0;
        }
        sum * exp(-a) * if nu == 1.0 { 0.5 * a } else { 1.0 }
    } else {
        let (mut term, mut sum) = (1.0, 1.0);
        for k in 1..=40 {
            let odd = (2 * k - 1) as f64;
            let next = term * (odd * odd - 4.0 * nu * nu) / (8.0 * k as f64 * a);
            if f64::abs(next) < 1e-17 {
                break;
            }
            term = next;
            sum += term;
        }
        sum / (2.0 * PI * a).sqrt()
    };
    if nu == 1.0 { value.copysign(x) } else { value }
}

pub(super) fn i0e(x: f64) -> f64 {
    if x.is_nan() { x } else { bessel_ie(0.0, x) }
}

pub fn i1e(x: f64) -> f64 {
    if x.is_nan() { x } else { bessel_ie(1.0, x) }
}

/// exp|x| in two factors, so that the product with a small number overflows only if it must.
fn unscale(scaled: f64, x: f64) -> f64 {
    if x.is_infinite() {
        return f64::INFINITY.copysign(scaled);
    }
    let half = exp(0.5 * x.abs());
    scaled * half * half
}

pub fn i0(x: f64) -> f64 {
    if x.is_nan() { x } else { unscale(bessel_ie(0.0, x), x) }
}

pub(super) fn i1(x: f64) -> f64 {
    if x.is_nan() { x } else { unscale(bessel_ie(1.0, x), x) }
}

/// log Φ(x), by erfcx where Φ is small.
pub fn log_ndtr(x: f64) -> f64 {
    if x < -1.0 {
        log(0.5 * erfcx(-x * FRAC_1_SQRT_2)) - 0.5 * x * x
    } else {
        log1p(-0.5 * erfc(x * FRAC_1_SQRT_2))
    }
}

/// Φ⁻¹(p), by Newton steps on log Φ in the lower half (log Φ is concave, so they converge).
pub fn ndtri(p: f64) -> f64 {
    if p > math64::NDTRI_FAR && p < 1.0 - math64::NDTRI_FAR {
        return ndtri_inner(p);
    }
    if p.is_nan() || !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    if p > 0.5 {
        // 1 - p is exact here.
        return -ndtri(1.0 - p);
    }
    if p == 0.0 {
        return f64::NEG_INFINITY;
    }
    if p == 0.5 {
        return 0.0;
    }
    let target = log(p);
    let mut x = if p > 0.02 {
        SQRT_2 * giles(2.0 * p - 1.0, -log(4.0 * p * (1.0 - p)))
    } else {
        let t = -2.0 * target;
        -(t - log(2.0 * PI * t)).max(1.0).sqrt()
    };
    for _ in 0..30 {
        let lp = log_ndtr(x);
        let slope = exp(-0.5 * x * x - 0.5 * log(2.0 * PI) - lp);
        let step = (lp - target) / slope;
        x -= step;
        if step.abs() <= 1e-16 * x.abs() {
            break;
        }
    }
    x
}

/// First guess for erf⁻¹(y), `w` = -log(1 - y²): M. Giles, "Approximating the erfinv function" (2010).
fn giles(y: f64, w: f64) -> f64 {
    let horner = |x: f64, c: &[f64]| c.iter().fold(0.0, |p, c| p * x + c);
    let p = if w < 5.0 {
        let c = [
            2.81022636e-08,
            3.43273939e-07,
            -3.5233877e-06,
            -4.39150654e-06,
            0.00021858087,
            -0.00125372503,
            -0.00417768164,
            0.246640727,
            1.50140941,
        ];
        horner(w - 2.5, &c)
    } else {
        let c = [
            -0.000200214257,
            0.000100950558,
            0.00134934322,
            -0.00367342844,
            0.00573950773,
            -0.0076224613,
            0.00943887047,
            1.00167406,
            2.83297682,
        ];
        horner(w.sqrt() - 3.0, &c)
    };
    p * y
}

/// x^a e^-x / Γ(a+1), through logarithms of quotients near 1 where a is large.
fn gamma_prefactor(a: f64, x: f64) -> f64 {
    if a < 20.0 {
        return exp(a * log(x) - x - lgamma(a + 1.0));
    }
    // a^a e^-a / Γ(a+1) by Stirling, times exp(a (log(x/a) + 1 - x/a)).
    let d = (x - a) / a;
    let log_term = if d.abs() < 0.4 { log1p_minus(d) } else { log(x / a) - d };
    let w = 1.0 / (a * a);
    let stirling = (1.0 / 12.0 - w * (1.0 / 360.0 - w * (1.0 / 1260.0 - w / 1680.0))) / a;
    exp(a * log_term - stirling) / (2.0 * PI * a).sqrt()
}

/// log(1 + d) - d without cancellation.
fn log1p_minus(d: f64) -> f64 {
    let (mut power, mut sum, mut k) = (d, 0.0, 2.0);
    while k < 200.0 {
        power *= -d;
        let term = power / k;
        sum += term;
        if term.abs() < 1e-18 * f64::abs(sum) {
            break;
        }
        k += 1.0;
    }
    sum
}

/// The regularized incomplete gamma functions (P, Q): DLMF 8.7.1 and 8.9.2.
fn incomplete_gamma(a: f64, x: f64) -> (f64, f64) {
    if a.is_nan() || x.is_nan() || x < 0.0 || a < 0.0 {
        return (f64::NAN, f64::NAN);
    }
    if a == 0.0 {
        return if x > 0.0 { (1.0, 0.0) } else { (f64::NAN, f64::NAN) };
    }
    if x == 0.0 {
        return (0.0, 1.0);
    }
    if a.is_infinite() {
        return if x.is_infinite() {
            (f64::NAN, f64::NAN)
        } else {
            (0.0, 1.0)
        };
    }
    if x.is_infinite() {
        return (1.0, 0.0);
    }
    let front = gamma_prefactor(a, x);
    if x <= 1.0 || x < a {
        let (mut term, mut sum, mut n) = (1.0, 1.0, a + 1.0);
        while term > sum * 1e-17 && n < a + 1e6 {
            term *= x / n;
            sum += term;
            n += 1.0;
        }
        let p = (front * sum).min(1.0);
        return (p, 1.0 - p);
    }
    // Lentz's method on the continued fraction of Q.
    let floor = 1e-300;
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / floor;
    let mut d = 1.0 / if b.abs() < floor { floor } else { b };
    let mut h = d;
    for i in 1..1_000_000 {
        let i = i as f64;
        let an = -i * (i - a);
        b += 2.0;
        d = an * d + b;
        d = 1.0 / if d.abs() < floor { floor } else { d };
        c = b + an / c;
        c = if c.abs() < floor { floor } else { c };
        let delta = d * c;
        h *= delta;
        if (delta - 1.0).abs() < 1e-16 {
            break;
        }
    }
    let q = (front * a * h).min(1.0);
    (1.0 - q, q)
}

pub fn igamma(a: f64, x: f64) -> f64 {
    incomplete_gamma(a, x).0
}

pub fn igammac(a: f64, x: f64) -> f64 {
    incomplete_gamma(a, x).1
}
