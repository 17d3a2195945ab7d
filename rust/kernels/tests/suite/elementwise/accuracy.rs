//! Functions against the C library's in double precision, and derivatives against differences.

use super::*;

unsafe extern "C" {
    #[link_name = "erf"]
    safe fn c_erf(x: f64) -> f64;
    #[link_name = "erfc"]
    safe fn c_erfc(x: f64) -> f64;
    #[link_name = "lgamma"]
    safe fn c_lgamma(x: f64) -> f64;
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
        firesteel_kernels::parallel::for_range(1 << 16, 1, |blocks| {
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

/// Values of float64 functions from mpmath, at 40 digits; in units of the last place.
#[test]
fn functions_of_f64_at_points() {
    use Unary::*;
    let points: &[(Unary, f64, &[(f64, f64)])] = &[
        (
            Lgamma,
            4.0,
            &[
                (1e-310, 713.8013788281542),
                (1e-09, 20.723265836369194),
                (0.3, 1.0957979948180756),
                (0.5, 0.5723649429247001),
                (0.75, 0.20328095143129538),
                (1.0000001, -5.772155829918507e-08),
                (1.3, -0.10817480950786047),
                (1.7, -0.09580769740706588),
                (1.999, -0.0004224618006921073),
                (2.3, 0.15418945495963046),
                (2.7, 0.4348205536551047),
                (3.6, 1.3129233085764163),
                (4.4999, 2.453597684993442),
                (20.5, 40.8315009745308),
                (1e10, 220258509288.81058),
                (-1e-09, 20.723265837523627),
            ],
        ),
        (
            Digamma,
            4.0,
            &[
                (1e-09, -1000000000.5772156),
                (0.3, -3.502524222200133),
                (1.0, -0.5772156649015329),
                (2.5, 0.7031566406452432),
                (7.9, 2.002238487563571),
                (8.1, 2.0288674570805814),
                (1e10, 23.025850929890456),
                (-0.3, 2.113309779635399),
            ],
        ),
        (
            Erfinv,
            3.0,
            &[
                (1e-300, 8.86226925452758e-301),
                (0.001, 0.0008862271574665521),
                (0.5, 0.4769362762044699),
                (0.9, 1.1630871536766743),
                (0.995, 1.984872612615532),
                (0.997, 2.0985076117936705),
                (0.99999, 3.123413274341571),
                (0.9999999999999999, 5.8635847487551676),
            ],
        ),
        (
            Ndtri,
            4.0,
            &[
                (1e-300, -37.0470962993612),
                (1e-17, -8.493793224109599),
                (1e-12, -7.034483825301132),
                (0.001, -3.0902323061678136),
                (0.3, -0.5244005127080408),
                (0.9, 1.2815515655446006),
                (0.999, 3.090232306167813),
                (0.9999999999999999, 8.209536151601387),
            ],
        ),
        (
            LogNdtr,
            4.0,
            &[
                (-100.0, -5005.524208694205),
                (-38.5, -745.695270290411),
                (-20.0, -203.91715537109727),
                (-1.5, -2.7059444008238898),
                (-0.29, -0.9521559720459242),
                (0.3, -0.4814101615884812),
                (5.0, -2.866516129637636e-07),
            ],
        ),
    ];
    for (op, limit, points) in points {
        let (xs, wanted): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
        for ((x, want), y) in xs.iter().zip(&wanted).zip(apply1::<f64, f64>(*op, &xs)) {
            let unit = want.abs() * f64::EPSILON;
            assert!((y - want).abs() <= limit * unit, "{op:?}({x:e}) = {y:e}, not {want:e}");
        }
    }
}

/// Elsewhere than at points: in absolute error, which near a zero is all that they have.
#[test]
fn gamma_functions() {
    let mut xs: Vec<f64> = (-30_000..60_000).map(|i| i as f64 * 0.000_531 + 0.000_17).collect();
    xs.extend((-300..300).map(|i| 10f64.powi(i)));
    for (x, y) in xs.iter().zip(apply1::<f64, f64>(Unary::Lgamma, &xs)) {
        let want = c_lgamma(*x);
        let near = if (0.5..2.5).contains(x) {
            want.abs() * 1e-15
        } else {
            1e-14 * (1.0 + want.abs())
        };
        assert!((y - want).abs() <= near, "lgamma({x:e}) = {y:e}, not {want:e}");
    }
    // ψ from far up, where the series needs no more than its first terms.
    fn psi(x: f64) -> f64 {
        if x < 0.0 {
            return psi(1.0 - x) - std::f64::consts::PI / (std::f64::consts::PI * (x - x.round())).tan();
        }
        let (mut y, mut steps) = (x, 0.0);
        while y < 60.0 {
            steps += 1.0 / y;
            y += 1.0;
        }
        let w = 1.0 / (y * y);
        y.ln() - 0.5 / y - w * (1.0 / 12.0 - w * (1.0 / 120.0 - w / 252.0)) - steps
    }
    for (x, y) in xs.iter().zip(apply1::<f64, f64>(Unary::Digamma, &xs)) {
        let want = psi(*x);
        assert!(
            (y - want).abs() <= 3e-14 * (1.0 + want.abs()),
            "digamma({x:e}) = {y:e}, not {want:e}"
        );
    }
    let singles: Vec<f32> = xs.iter().map(|x| *x as f32).filter(|x| x.abs() > 1e-30).collect();
    for (x, y) in singles.iter().zip(apply1::<f32, f32>(Unary::Digamma, &singles)) {
        let want = psi(*x as f64);
        assert!(
            ulps(y, want) <= 0.6 || (y as f64 - want).abs() < 1e-9,
            "digamma({x:e}) = {y:e}, not {want:e}"
        );
    }
    let edges = [
        0.0,
        -0.0,
        -1.0,
        -7.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        2.0,
        1.0,
    ];
    let y: Vec<f64> = apply1(Unary::Lgamma, &edges);
    assert!(y[..6].iter().all(|y| *y == f64::INFINITY) && y[6].is_nan() && y[7] == 0.0 && y[8] == 0.0);
    let y: Vec<f64> = apply1(Unary::Digamma, &edges);
    assert_eq!(y[..2], [f64::NEG_INFINITY, f64::INFINITY]);
    assert!(y[2].is_nan() && y[3].is_nan() && y[4] == f64::INFINITY && y[5].is_nan() && y[6].is_nan());
    let probabilities = [0.0, 1.0, 0.5, -0.1, 1.1, f64::NAN];
    let y: Vec<f64> = apply1(Unary::Ndtri, &probabilities);
    assert!(y[..3] == [f64::NEG_INFINITY, f64::INFINITY, 0.0] && y[3..].iter().all(|y| y.is_nan()));
    let y: Vec<f64> = apply1(Unary::LogNdtr, &[f64::NEG_INFINITY, f64::INFINITY, f64::NAN]);
    assert!(y[0] == f64::NEG_INFINITY && y[1] == 0.0 && y[2].is_nan());
}

#[test]
fn functions_of_two() {
    let edges = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        3.5,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        1e30,
        -1e-30,
    ];
    let (mut a, mut b) = (vec![], vec![]);
    for x in edges {
        for y in edges {
            a.push(x);
            b.push(y);
        }
    }
    for i in 0..40_000 {
        a.push((i % 211) as f64 * 0.173 - 18.0);
        b.push((i % 199) as f64 * 0.181 - 18.0);
    }
    type Case = (Binary, fn(f64, f64) -> f64);
    let cases: [Case; 3] = [
        (Binary::Logaddexp, |a, b| {
            let (most, fall) = (a.max(b), if a == b { 0.0 } else { (a - b).abs() });
            if a.is_nan() || b.is_nan() {
                f64::NAN
            } else {
                most + (-fall).exp().ln_1p()
            }
        }),
        (Binary::Logaddexp2, |a, b| {
            let (most, fall) = (a.max(b), if a == b { 0.0 } else { (a - b).abs() });
            if a.is_nan() || b.is_nan() {
                f64::NAN
            } else {
                most + (-fall).exp2().ln_1p() * std::f64::consts::LOG2_E
            }
        }),
        (Binary::Atan2, f64::atan2),
    ];
    let singles = |v: &[f64]| -> Vec<f32> { v.iter().map(|x| *x as f32).collect() };
    let (c, d) = (singles(&a), singles(&b));
    for (op, f) in cases {
        for ((x, y), got) in a.iter().zip(&b).zip(apply2::<f64, f64>(op, &a, &b)) {
            let want = f(*x, *y);
            // Sums near 0 keep the error of their terms.
            let least = if op == Binary::Atan2 { 0.0 } else { 1.0 };
            let same = got == want && got.is_sign_negative() == want.is_sign_negative();
            assert!(
                same || got.is_nan() && want.is_nan() || (got - want).abs() <= 5e-16 * want.abs().max(least),
                "{op:?}({x:e}, {y:e}) = {got:e}, not {want:e}"
            );
        }
        for ((x, y), got) in c.iter().zip(&d).zip(apply2::<f32, f32>(op, &c, &d)) {
            let want = f(*x as f64, *y as f64);
            assert!(ulps(got, want) <= 0.6, "{op:?}({x:e}, {y:e}) = {got:e}, not {want:e}");
        }
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
