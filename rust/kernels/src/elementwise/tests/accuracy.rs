//! Functions against the C library's in double precision, and derivatives against differences.

use super::*;

unsafe extern "C" {
    #[link_name = "erf"]
    safe fn c_erf(x: f64) -> f64;
    #[link_name = "erfc"]
    safe fn c_erfc(x: f64) -> f64;
}

fn sweep() -> Vec<f32> {
    let mut v: Vec<f32> = (-40_000..40_000).map(|i| i as f32 * 0.00271).collect();
    let mut x = 1e-44f32;
    while x < 3e38 {
        v.extend([x, -x]);
        x *= 1.09;
    }
    v.extend([
        0.0,
        -0.0,
        1.0,
        -1.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::MAX,
        f32::MIN_POSITIVE,
    ]);
    v
}

#[test]
fn functions_are_accurate() {
    type Case = (Unary, f64, fn(f64) -> f64);
    let cases: &[Case] = &[
        (Unary::Exp, 1.5, f64::exp),
        (Unary::Exp2, 1.5, f64::exp2),
        (Unary::Expm1, 2.0, f64::exp_m1),
        (Unary::Log, 1.6, f64::ln),
        (Unary::Log2, 1.4, f64::log2),
        (Unary::Log10, 1.0, f64::log10),
        (Unary::Log1p, 1.0, f64::ln_1p),
        (Unary::Sin, 2.0, f64::sin),
        (Unary::Cos, 2.0, f64::cos),
        (Unary::Tan, 2.0, f64::tan),
        (Unary::Atan, 2.0, f64::atan),
        (Unary::Asinh, 1.0, |x| {
            if x.abs() < 1e-4 { x - x * x * x / 6.0 } else { x.asinh() }
        }),
        (Unary::Atanh, 2.0, |x| {
            if x.abs() < 1e-4 { x + x * x * x / 3.0 } else { x.atanh() }
        }),
        (Unary::Tanh, 2.0, f64::tanh),
        (Unary::Sigmoid, 2.0, |x| {
            let e = (-x.abs()).exp();
            if x < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
        }),
        (Unary::LogSigmoid, 2.0, |x| x.min(0.0) - (-x.abs()).exp().ln_1p()),
        (Unary::Erf, 2.0, |x| c_erf(x)),
        (Unary::Sinh, 2.0, |x| {
            if x.abs() < 1e-4 { x + x * x * x / 6.0 } else { x.sinh() }
        }),
        (Unary::Cosh, 2.0, f64::cosh),
        (Unary::Asin, 2.0, f64::asin),
        (Unary::Acos, 2.0, f64::acos),
        (Unary::Acosh, 1.0, f64::acosh),
        (Unary::Erfc, 2.0, |x| c_erfc(x)),
        (Unary::Gelu, 2.3, |x| {
            if x == f64::NEG_INFINITY {
                f64::NAN
            } else {
                0.5 * x * c_erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
            }
        }),
        (Unary::GeluTanh, 1.0, |x| {
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            x / (1.0 + (-2.0 * u).exp())
        }),
        (Unary::Silu, 3.0, |x| x / (1.0 + (-x).exp())),
        (Unary::Mish, 4.0, |x| {
            if x < -80.0 {
                f64::NAN
            } else {
                x * x.exp().ln_1p().tanh()
            }
        }),
        (Unary::Rsqrt, 1.5, |x| 1.0 / x.sqrt()),
    ];
    let xs = sweep();
    for (op, limit, reference) in cases {
        let got: Vec<f32> = apply1(*op, &xs);
        for (x, y) in xs.iter().zip(&got) {
            let want = reference(*x as f64);
            let skip = want.is_nan() && !x.is_nan() && *op == Unary::Mish;
            assert!(
                skip || ulps(*y, want) <= *limit,
                "{op:?}({x:e}) = {y:e}, not {want:e}: {} ulp",
                ulps(*y, want)
            );
        }
    }
}

/// All 2^32 floats against the functions of f64, as documented in docs/performance.md; prints the worst.
#[test]
#[ignore = "some ten seconds a function: run by hand after a change to math"]
fn every_float() {
    use Unary::*;
    let cases = [
        (
            2.0,
            &[
                Exp, Exp2, Expm1, Log, Log2, Log10, Log1p, Sin, Cos, Tan, Asin, Acos, Atan,
            ][..],
        ),
        (
            2.0,
            &[Sinh, Cosh, Tanh, Asinh, Acosh, Atanh, Erf, Erfc, Sigmoid, LogSigmoid],
        ),
        (2.0, &[Silu]),
        (2.3, &[Gelu]),
    ];
    // `FUNCTIONS=Sigmoid,Gelu` for some alone.
    let only = std::env::var("FUNCTIONS").unwrap_or_default();
    let asked = |op: Unary| only.is_empty() || only.split(',').any(|name| name == format!("{op:?}"));
    for (limit, op) in cases.iter().flat_map(|(limit, ops)| ops.iter().map(|op| (*limit, *op))) {
        if !asked(op) {
            continue;
        }
        let worst = std::sync::Mutex::new((0.0, 0.0f32));
        crate::parallel::for_range(1 << 16, 1, |blocks| {
            for block in blocks {
                let xs: Vec<f32> = (0..1u32 << 16)
                    .map(|i| f32::from_bits((block as u32) << 16 | i))
                    .collect();
                let wide: Vec<f64> = xs.iter().map(|x| *x as f64).collect();
                let mut here = (0.0, 0.0f32);
                let (got, want) = (apply1::<f32, f32>(op, &xs), apply1::<f64, f64>(op, &wide));
                for ((x, y), want) in xs.iter().zip(&got).zip(&want) {
                    let off = ulps(*y, *want);
                    if off > here.0 {
                        here = (off, *x);
                    }
                }
                let mut worst = worst.lock().unwrap();
                if here.0 > worst.0 {
                    *worst = here;
                }
            }
        });
        let (off, x) = *worst.lock().unwrap();
        println!("{op:?}: at most {off:.3} ulp, at {x:e}");
        assert!(off <= limit, "{op:?}({x:e}): {off} ulp");
    }
}

/// In units of the last place of f64; the references are the C library's, below one ulp themselves.
#[test]
fn functions_of_f64_are_accurate() {
    type Case = (Unary, f64, fn(f64) -> f64);
    let cases: &[Case] = &[
        (Unary::Exp, 2.0, f64::exp),
        (Unary::Exp2, 2.0, f64::exp2),
        (Unary::Expm1, 2.0, f64::exp_m1),
        (Unary::Log, 1.6, f64::ln),
        (Unary::Log2, 2.0, f64::log2),
        (Unary::Log10, 2.0, f64::log10),
        (Unary::Log1p, 2.0, f64::ln_1p),
        (Unary::Sin, 2.0, f64::sin),
        (Unary::Cos, 2.0, f64::cos),
        (Unary::Tan, 2.0, f64::tan),
        (Unary::Asin, 2.0, f64::asin),
        (Unary::Acos, 2.0, f64::acos),
        (Unary::Atan, 2.0, f64::atan),
        (Unary::Sinh, 3.0, f64::sinh),
        (Unary::Cosh, 3.0, f64::cosh),
        (Unary::Tanh, 3.0, f64::tanh),
        (Unary::Erf, 2.0, |x| c_erf(x)),
        (Unary::Erfc, 3.0, |x| c_erfc(x)),
        (Unary::Sigmoid, 3.0, |x| {
            let e = (-x.abs()).exp();
            if x < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
        }),
    ];
    let mut xs: Vec<f64> = (-40_000..40_000).map(|i| i as f64 * 0.001_234_567).collect();
    xs.extend((-7500..7500).map(|i| i as f64 * 0.1));
    let mut x = 4e-323f64;
    while x < 1e308 {
        xs.extend([x, -x]);
        x *= 1.37;
    }
    let edges = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        f64::MAX,
        1e22,
        f64::MIN_POSITIVE,
    ];
    xs.extend(edges);
    xs.extend([5e-324, -5e-324]);
    for (op, limit, reference) in cases {
        for (x, y) in xs.iter().zip(apply1::<f64, f64>(*op, &xs)) {
            let want = reference(*x);
            let unit =
                f64::from_bits(want.abs().max(f64::MIN_POSITIVE).to_bits() & 0x7ff0_0000_0000_0000) * 2f64.powi(-52);
            let same = y == want && y.is_sign_negative() == want.is_sign_negative() || y.is_nan() && want.is_nan();
            assert!(
                same || (y - want).abs() <= *limit * unit,
                "{op:?}({x:e}) = {y:e}, not {want:e}"
            );
        }
    }
    let powers: Vec<f64> = xs.iter().map(|x| x * 0.37 + 1.5).collect();
    for ((x, p), y) in xs
        .iter()
        .zip(&powers)
        .zip(apply2::<f64, f64>(Binary::Pow, &xs, &powers))
    {
        let want = x.powf(*p);
        let close = (y - want).abs() <= want.abs() * 4e-16 + 5e-324;
        assert!(
            close || y == want || y.is_nan() && want.is_nan(),
            "{x:e} ** {p:e} = {y:e}, not {want:e}"
        );
    }
}

/// Every derivative against a central difference of the function it belongs to.
#[test]
fn backward_helpers() {
    let xs: Vec<f64> = (-60..60).map(|i| i as f64 * 0.111 + 0.013).collect();
    let ones = vec![1.0; xs.len()];
    let pairs = [
        (Unary::Gelu, Binary::GeluBackward, false),
        (Unary::GeluTanh, Binary::GeluTanhBackward, false),
        (Unary::Silu, Binary::SiluBackward, false),
        (Unary::Mish, Binary::MishBackward, false),
        (Unary::Hardswish, Binary::HardswishBackward, false),
        (Unary::Hardsigmoid, Binary::HardsigmoidBackward, false),
        (Unary::LogSigmoid, Binary::LogSigmoidBackward, false),
        (Unary::Sigmoid, Binary::SigmoidBackward, true),
        (Unary::Tanh, Binary::TanhBackward, true),
        (Unary::Relu, Binary::ReluBackward, true),
    ];
    let h = 1e-6;
    for (forward, backward, of_output) in pairs {
        let shifted = |d: f64| -> Vec<f64> { apply1(forward, &xs.iter().map(|x| x + d).collect::<Vec<_>>()) };
        let (up, down) = (shifted(h), shifted(-h));
        let saved = if of_output { apply1(forward, &xs) } else { xs.clone() };
        let got: Vec<f64> = apply2(backward, &ones, &saved);
        let single: Vec<f32> = apply2(
            backward,
            &vec![1f32; xs.len()],
            &saved.iter().map(|v| *v as f32).collect::<Vec<_>>(),
        );
        for i in 0..xs.len() {
            let want = (up[i] - down[i]) / (2.0 * h);
            assert!(
                (got[i] - want).abs() < 1e-8,
                "{backward:?} at {}: {} not {want}",
                xs[i],
                got[i]
            );
            assert!(
                (single[i] as f64 - want).abs() < 1e-6,
                "{backward:?} in f32 at {}",
                xs[i]
            );
        }
    }
}
