//! Functions on vectors against the same ones on numbers.

use firesteel_kernels::DType;
use firesteel_kernels::elementwise::{Binary, Unary};
use firesteel_kernels::internals::division::Float;
use firesteel_kernels::internals::math::*;
use firesteel_kernels::internals::math64;
use firesteel_kernels::simd::{Isa, isa};

/// The functions one number at a time, where they are made at all.
const SINGLES: [(Unary, fn(f32) -> f32); 27] = [
    (Unary::Lgamma, |x| math64::lgamma_f32(x as f64, true) as f32),
    (Unary::Digamma, |x| math64::digamma(x as f64, true) as f32),
    (Unary::Exp, exp),
    (Unary::Exp2, exp2),
    (Unary::Expm1, expm1),
    (Unary::Log, log),
    (Unary::Log2, log2),
    (Unary::Log10, log10),
    (Unary::Log1p, log1p),
    (Unary::Sin, |x| limited(x, sin, math64::huge::sin)),
    (Unary::Cos, |x| limited(x, cos, math64::huge::cos)),
    (Unary::Tan, |x| limited(x, tan, math64::huge::tan)),
    (Unary::Asin, asin),
    (Unary::Acos, acos),
    (Unary::Atan, atan),
    (Unary::Sinh, sinh),
    (Unary::Cosh, cosh),
    (Unary::Tanh, tanh),
    (Unary::Tanhshrink, tanhshrink),
    (Unary::Atanh, atanh),
    (Unary::LogSigmoid, log_sigmoid),
    (Unary::Sigmoid, sigmoid),
    (Unary::Silu, silu),
    (Unary::Erf, erf),
    (Unary::Erfc, erfc),
    (Unary::Erfinv, erfinv),
    (Unary::Gelu, gelu),
];
const DOUBLES: [(Unary, fn(f64) -> f64); 20] = [
    (Unary::Lgamma, |x| math64::lgamma(x, true)),
    (Unary::Digamma, |x| math64::digamma(x, true)),
    (Unary::Atan, math64::atan),
    (Unary::Erfinv, math64::erfinv),
    (Unary::Exp, math64::exp),
    (Unary::Exp2, math64::exp2),
    (Unary::Expm1, math64::expm1),
    (Unary::Log, math64::log),
    (Unary::Log2, math64::log2),
    (Unary::Log10, math64::log10),
    (Unary::Log1p, math64::log1p),
    (Unary::Sin, |x| limited_d(x, math64::sin, math64::huge::sin)),
    (Unary::Cos, |x| limited_d(x, math64::cos, math64::huge::cos)),
    (Unary::Tan, |x| limited_d(x, math64::tan, math64::huge::tan)),
    (Unary::Tanh, math64::tanh),
    (Unary::Sigmoid, math64::sigmoid),
    (Unary::Silu, math64::silu),
    (Unary::Erf, math64::erf),
    (Unary::Erfc, math64::erfc),
    (Unary::Gelu, math64::gelu),
];

fn limited(x: f32, near: fn(f32) -> f32, beyond: fn(f64) -> f64) -> f32 {
    if x.abs() > TRIG_LIMIT {
        beyond(x as f64) as f32
    } else {
        near(x)
    }
}

fn limited_d(x: f64, near: fn(f64) -> f64, beyond: fn(f64) -> f64) -> f64 {
    if x.abs() > math64::TRIG_LIMIT {
        beyond(x)
    } else {
        near(x)
    }
}

/// All functions of a type on the edges, on numbers of every exponent and on `near` ones.
fn compare<T: Float + PartialEq + std::fmt::LowerExp>(
    all: &[(Unary, fn(T) -> T)],
    kernel: fn(Unary) -> Option<Kernel>,
    bits: fn(T) -> u64,
    edges: &[T],
    spread: &[T],
) {
    let near: Vec<T> = (0..20_000).map(|i| T::c((i as f64 - 1e4) * 0.00137)).collect();
    for &(op, f) in all {
        let compare = |xs: &[T]| {
            // One element more, which stays.
            let mut got = vec![T::c(77.0); xs.len() + 1];
            let Some(kernel) = kernel(op) else {
                assert!(isa() != Isa::Avx512, "{op:?}");
                return;
            };
            // SAFETY: the set was found; room for all elements.
            unsafe { kernel(&[xs.as_ptr().cast(); 4], got.as_mut_ptr().cast(), xs.len()) };
            assert!(got.pop() == Some(T::c(77.0)), "{op:?}, {}", xs.len());
            for (x, y) in xs.iter().zip(got) {
                let want = f(*x);
                let same = bits(y) == bits(want) || y.nan() && want.nan();
                assert!(same, "{op:?}({x:e}) = {y:e}, {want:e} alone");
            }
        };
        for n in [0, 1, 7, 8, 15, 16, 17, 63, 64, 65, 127, 128, 129, 1000, 4096, 5000] {
            let xs: Vec<T> = edges.iter().cycle().skip(n % 5).take(n).copied().collect();
            compare(&xs);
            compare(&near[7000..7000 + n]);
        }
        compare(spread);
        compare(&near);
    }
}

const SINGLES2: [(Binary, fn(f32, f32) -> f32); 10] = [
    (Binary::Pow, |x, y| pow_d(x as f64, y as f64) as f32),
    (Binary::Atan2, |y, x| atan2_d(y as f64, x as f64) as f32),
    (Binary::Logaddexp, |a, b| log_add_exp_d(a as f64, b as f64) as f32),
    (Binary::Logaddexp2, |a, b| log_add_exp2_d(a as f64, b as f64) as f32),
    (Binary::Xlogy, xlogy),
    (Binary::SigmoidBackward, |g, y| g * (1.0 - y) * y),
    (Binary::TanhBackward, |g, y| g * (-y).mul_add(y, 1.0)),
    (Binary::GeluBackward, |g, x| g * gelu_slope(x)),
    (Binary::SiluBackward, |g, x| g * silu_slope(x)),
    (Binary::LogSigmoidBackward, |g, x| g * sigmoid(-x)),
];

const DOUBLES2: [(Binary, fn(f64, f64) -> f64); 4] = [
    (Binary::Pow, math64::pow),
    (Binary::Atan2, math64::atan2),
    (Binary::Logaddexp, math64::log_add_exp),
    (Binary::Logaddexp2, math64::log_add_exp2),
];

/// All functions of two operands of a type, on pairs of edges and on numbers of every exponent.
fn compare2<T: Float + PartialEq + std::fmt::LowerExp>(
    all: &[(Binary, fn(T, T) -> T)],
    kernel: fn(Binary) -> Option<Kernel>,
    bits: fn(T) -> u64,
    edges: &[T],
    spread: &[T],
) {
    let pairs = edges.iter().flat_map(|a| edges.iter().map(|b| (*a, *b)));
    let pairs = pairs.chain(spread.iter().copied().zip(spread.iter().rev().copied()));
    let (mut a, mut b): (Vec<T>, Vec<T>) = pairs.unzip();
    // Whole numbers, and numbers near 1, to moderate powers.
    for i in 0..4000 {
        a.push(T::c((i % 61) as f64 * if i % 2 == 0 { 0.5 } else { -0.03125 }));
        b.push(T::c((i % 37) as f64 - 17.0 + if i % 3 == 0 { 0.25 } else { 0.0 }));
    }
    for &(op, f) in all {
        let Some(kernel) = kernel(op) else {
            assert!(isa() != Isa::Avx512, "{op:?}");
            continue;
        };
        for n in [0, 1, 7, 8, 15, 16, 17, 63, 64, 65, 127, 1000, a.len()] {
            let mut got = vec![T::c(77.0); n + 1];
            let ins = [
                a.as_ptr().cast(),
                b.as_ptr().cast(),
                a.as_ptr().cast(),
                a.as_ptr().cast(),
            ];
            // SAFETY: the set was found; room for all elements.
            unsafe { kernel(&ins, got.as_mut_ptr().cast(), n) };
            assert!(got.pop() == Some(T::c(77.0)), "{op:?}, {n}");
            for ((x, y), z) in a.iter().zip(&b).zip(got) {
                let want = f(*x, *y);
                let same = bits(z) == bits(want) || z.nan() && want.nan();
                assert!(same, "{op:?}({x:e}, {y:e}) = {z:e}, {want:e} alone");
            }
        }
    }
}

#[test]
fn vectors_give_the_bits_of_numbers() {
    let edges = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::MAX,
        f32::MIN,
        1e-45,
        -1e-45,
        1.1e-38,
        f32::from_bits(0x3f35_04f2),
        f32::from_bits(0x3f35_04f3),
        f32::from_bits(0x3fb5_04f3),
        f32::from_bits(0x3fb5_04f4),
        0.95,
        0.65,
        0.5,
        2e5,
        2.1e5,
        -2.1e5,
        88.7,
        -87.4,
        -103.9,
        -104.1,
        14.5,
        -14.6,
        4.665_185,
        -4.665_185,
        4.665_186,
        4.67,
        -4.67,
        3.149,
        3.149_001,
        3.15,
        3.151,
    ];
    // Numbers of every exponent and sign.
    let spread: Vec<f32> = (0..600_011u32).map(|i| f32::from_bits(i.wrapping_mul(7159))).collect();
    compare(
        &SINGLES,
        |op| kernel(op, DType::F32),
        |y| y.to_bits() as u64,
        &edges,
        &spread,
    );
    compare2(
        &SINGLES2,
        |op| kernel2(op, DType::F32),
        |y| y.to_bits() as u64,
        &edges,
        &spread,
    );
    let edges = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        f64::MAX,
        f64::MIN,
        5e-324,
        -5e-324,
        2.3e-308,
        f64::from_bits(0x3fe6_a09e_667f_3bcc),
        f64::from_bits(0x3fe6_a09e_667f_3bcd),
        f64::from_bits(0x3ff6_a09e_667f_3bcd),
        f64::from_bits(0x3ff6_a09e_667f_3bce),
        1e9,
        1.1e9,
        -1.1e9,
        1e300,
        -0.999_999_999_999_999_9,
        -1.000_000_000_000_000_2,
        709.8,
        -708.4,
        -745.1,
        -745.2,
        -780.1,
        27.3,
        -28.1,
        -38.5,
        39.1,
    ];
    let spread: Vec<f64> = (0..600_011u64)
        .map(|i| f64::from_bits(i.wrapping_mul(30_744_573_456_182_586)))
        .collect();
    compare(&DOUBLES, |op| kernel(op, DType::F64), f64::to_bits, &edges, &spread);
    compare2(&DOUBLES2, |op| kernel2(op, DType::F64), f64::to_bits, &edges, &spread);
}
