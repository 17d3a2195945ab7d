//! Elementwise kernels against plain loops in double precision, on every kind of layout.

use super::*;
use crate::dtype::{Bool, Element, bf16, f16};

unsafe extern "C" {
    #[link_name = "erf"]
    safe fn c_erf(x: f64) -> f64;
    #[link_name = "erfc"]
    safe fn c_erfc(x: f64) -> f64;
}

fn src<'a, T: Element>(data: &'a [T], offset: usize, shape: &[usize], strides: &[isize]) -> AnySrc<'a> {
    // SAFETY: the tests' strides stay inside their data.
    unsafe { AnySrc::new(data.as_ptr().add(offset).cast(), T::DTYPE, shape, strides) }
}

fn dst<'a, T: Element>(data: &'a mut [T], shape: &[usize], strides: &[isize]) -> AnyDst<'a> {
    // SAFETY: as above.
    unsafe { AnyDst::new(data.as_mut_ptr().cast(), T::DTYPE, shape, strides) }
}

fn flat<T: Element>(data: &[T]) -> AnySrc<'_> {
    src(data, 0, &[data.len()], &[1])
}

fn flat_mut<T: Element>(data: &mut [T]) -> AnyDst<'_> {
    let n = data.len();
    dst(data, &[n], &[1])
}

fn apply1<T: Element, R: Element>(op: Unary, data: &[T]) -> Vec<R> {
    let mut out = vec![R::default(); data.len()];
    unary(op, T::DTYPE.compute(), Operand::View(flat(data)), flat_mut(&mut out));
    out
}

fn apply2<T: Element, R: Element>(op: Binary, a: &[T], b: &[T]) -> Vec<R> {
    let mut out = vec![R::default(); a.len()];
    binary(
        op,
        T::DTYPE.compute(),
        Operand::View(flat(a)),
        Operand::View(flat(b)),
        flat_mut(&mut out),
    );
    out
}

/// Distance in units of the last place of f32, the reference in double precision.
fn ulps(got: f32, want: f64) -> f64 {
    let w = want as f32;
    if got == w || (got.is_nan() && w.is_nan()) {
        return 0.0;
    }
    if !got.is_finite() || !w.is_finite() {
        return f64::INFINITY;
    }
    let unit = (w.abs().max(f32::MIN_POSITIVE).to_bits() & 0x7f80_0000).max(0x0080_0000);
    (got as f64 - want).abs() / (f32::from_bits(unit) as f64 / 8_388_608.0)
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
        (Unary::Log, 1.5, f64::ln),
        (Unary::Log2, 1.0, f64::log2),
        (Unary::Log10, 1.0, f64::log10),
        (Unary::Log1p, 1.0, f64::ln_1p),
        (Unary::Sin, 2.0, f64::sin),
        (Unary::Cos, 2.0, f64::cos),
        (Unary::Tan, 1.0, f64::tan),
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
        (Unary::Sinh, 1.0, |x| {
            if x.abs() < 1e-4 { x + x * x * x / 6.0 } else { x.sinh() }
        }),
        (Unary::Cosh, 1.0, f64::cosh),
        (Unary::Asin, 2.0, f64::asin),
        (Unary::Acos, 2.0, f64::acos),
        (Unary::Acosh, 1.0, f64::acosh),
        (Unary::Erfc, 1.0, |x| c_erfc(x)),
        (Unary::Gelu, 4.0, |x| {
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
        (4.0, &[Gelu]),
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
        (Unary::Log, 2.0, f64::ln),
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

/// In place gives what another output does, whichever input is the output.
#[test]
fn in_place_is_the_same() {
    for n in [3usize, 500, 513, 70_001] {
        let a: Vec<f32> = (0..n).map(|i| i as f32 * 0.37 - 9.0).collect();
        let b: Vec<f32> = (0..n).map(|i| (i * 31 % 97) as f32 + 0.5).collect();
        for op in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Maximum] {
            let want: Vec<f32> = apply2(op, &a, &b);
            let (mut first, mut second) = (a.clone(), b.clone());
            let out = flat_mut(&mut first);
            binary(
                op,
                DType::F32,
                Operand::View(out.as_src()),
                Operand::View(flat(&b)),
                out,
            );
            let out = flat_mut(&mut second);
            binary(
                op,
                DType::F32,
                Operand::View(flat(&a)),
                Operand::View(out.as_src()),
                out,
            );
            assert!(first == want && second == want, "{op:?} of {n}");
            let want: Vec<f32> = apply2(op, &a, &a);
            let mut both = a.clone();
            let out = flat_mut(&mut both);
            binary(
                op,
                DType::F32,
                Operand::View(out.as_src()),
                Operand::View(out.as_src()),
                out,
            );
            assert_eq!(both, want, "{op:?} of {n} with itself");
        }
        for op in [Unary::Neg, Unary::Abs, Unary::Relu, Unary::Square, Unary::Exp] {
            let want: Vec<f32> = apply1(op, &a);
            let mut got = a.clone();
            let out = flat_mut(&mut got);
            unary(op, DType::F32, Operand::View(out.as_src()), out);
            assert_eq!(got, want, "{op:?} of {n}");
        }
    }
    // Every second element, and turned round: the output is the input there too.
    let shape = [40, 50];
    for strides in [[100isize, 2], [1, 40]] {
        let mut x: Vec<f64> = (0..4000).map(|i| i as f64).collect();
        let out = dst(&mut x, &shape, &strides);
        binary(
            Binary::Mul,
            DType::F64,
            Operand::View(out.as_src()),
            Operand::Scalar(Scalar::Float(2.0)),
            out,
        );
        for i in indices(&shape) {
            let k = at(&i, 0, &strides);
            assert_eq!(x[k], 2.0 * k as f64);
        }
    }
}

#[test]
fn power_and_division_edges() {
    let values = [
        0.0f32,
        -0.0,
        1.0,
        -1.0,
        2.0,
        -2.0,
        0.5,
        3.0,
        -3.0,
        1e30,
        1e-30,
        7.25,
        33.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        1e-44,
        16777216.0,
        -0.3,
    ];
    let (mut a, mut b) = (vec![], vec![]);
    for x in values {
        for y in values {
            a.push(x);
            b.push(y);
        }
    }
    let pow: Vec<f32> = apply2(Binary::Pow, &a, &b);
    for ((x, y), got) in a.iter().zip(&b).zip(&pow) {
        let want = (*x as f64).powf(*y as f64);
        assert!(ulps(*got, want) <= 1.0, "{x:e} ** {y:e} = {got:e}, not {want:e}");
    }
    let floor: Vec<f32> = apply2(
        Binary::FloorDivide,
        &[7.0f32, -7.0, 7.0, -7.0, 1.0, -1.0, 0.0, 6.0],
        &[2.0, 2.0, -2.0, -2.0, 0.0, 0.0, 0.0, 0.1],
    );
    assert_eq!(floor[..6], [3.0, -4.0, -4.0, 3.0, f32::INFINITY, f32::NEG_INFINITY]);
    assert!(floor[6].is_nan() && floor[7] == 59.0);
    let ints = [7i64, -7, 7, -7, i64::MIN, 5];
    let by = [2i64, 2, -2, -2, -1, 0];
    assert_eq!(
        apply2::<i64, i64>(Binary::FloorDivide, &ints, &by),
        [3, -4, -4, 3, i64::MIN, 0]
    );
    assert_eq!(apply2::<i64, i64>(Binary::Remainder, &ints, &by), [1, 1, -1, -1, 0, 0]);
    assert_eq!(apply2::<i64, i64>(Binary::Fmod, &ints, &by), [1, -1, 1, -1, 0, 0]);
    assert_eq!(
        apply2::<i64, i64>(Binary::Pow, &[2, -1, 1, 3, 2], &[-1, -3, -5, 4, 64]),
        [0, -1, 1, 81, 0]
    );
    assert_eq!(
        apply2::<i64, i64>(Binary::LeftShift, &[1, 1, 1], &[3, 64, -1]),
        [8, 0, 0]
    );
    assert_eq!(
        apply2::<i64, i64>(Binary::RightShift, &[-8, -8, 8], &[1, 64, -1]),
        [-4, -1, 0]
    );
    assert!(any_zero(flat(&by)) && !any_zero(flat(&ints)));
}

#[test]
fn nan_rules() {
    let (a, b) = ([1.0f32, f32::NAN, 2.0, -0.0], [f32::NAN, 1.0, 3.0, 0.0]);
    let max: Vec<f32> = apply2(Binary::Maximum, &a, &b);
    assert!(max[0].is_nan() && max[1].is_nan() && max[2] == 3.0 && max[3].is_sign_negative());
    let fmax: Vec<f32> = apply2(Binary::Fmax, &a, &b);
    assert_eq!(fmax[..3], [1.0, 1.0, 3.0]);
    let relu: Vec<f32> = apply1(Unary::Relu, &[f32::NAN, -1.0, 2.0]);
    assert!(relu[0].is_nan() && relu[1] == 0.0 && relu[2] == 2.0);
    let mut out = [0f32; 4];
    let x = [f32::NAN, -5.0, 5.0, 0.5];
    let (lo, hi) = (Operand::Scalar(Scalar::Float(-1.0)), Operand::Scalar(Scalar::Int(1)));
    ternary(
        Ternary::Clamp,
        DType::F32,
        Operand::View(flat(&x)),
        lo,
        hi,
        flat_mut(&mut out),
    );
    assert!(out[0].is_nan() && out[1..] == [-1.0, 1.0, 0.5]);
    let is: Vec<Bool> = apply1(Unary::IsNan, &x);
    assert_eq!(is, [Bool(1), Bool(0), Bool(0), Bool(0)]);
}

/// Layouts of a shape: (offset, strides, elements needed), contiguous, transposed, padded, reversed, broadcast.
fn layouts(shape: &[usize], written: bool) -> Vec<(usize, Vec<isize>, usize)> {
    let rank = shape.len();
    let dense = |order: &[usize], pad: usize| {
        let mut strides = vec![0isize; rank];
        let mut step = 1;
        for &d in order.iter().rev() {
            strides[d] = step as isize;
            step *= shape[d] + pad;
        }
        (0, strides, step.max(1))
    };
    let forward: Vec<usize> = (0..rank).collect();
    let backward: Vec<usize> = (0..rank).rev().collect();
    let mut all = vec![
        dense(&forward, 0),
        dense(&backward, 0),
        dense(&forward, 3),
        dense(&backward, 1),
    ];
    if rank > 2 {
        all.push(dense(&[0, 2, 1], 0));
    }
    if !written {
        for d in 0..rank {
            let (_, mut strides, size) = dense(&forward, 0);
            strides[d] = 0;
            all.push((0, strides, size));
        }
        if rank > 0 && shape.iter().all(|&s| s > 0) {
            let (_, strides, size) = dense(&forward, 0);
            let offset = shape.iter().zip(&strides).map(|(s, t)| (s - 1) * *t as usize).sum();
            all.push((offset, strides.iter().map(|s| -s).collect(), size));
        }
    }
    all
}

/// Every index of a shape.
fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    shape.iter().fold(vec![vec![]], |all, &s| {
        all.iter()
            .flat_map(|p| (0..s).map(move |i| [p.as_slice(), &[i]].concat()))
            .collect()
    })
}

fn at(index: &[usize], offset: usize, strides: &[isize]) -> usize {
    (offset as isize + index.iter().zip(strides).map(|(i, s)| *i as isize * s).sum::<isize>()) as usize
}

const SHAPES: &[&[usize]] = &[
    &[],
    &[0, 3],
    &[1],
    &[5],
    &[700],
    &[3, 200],
    &[130, 5],
    &[40, 3, 33],
    &[2, 17, 140],
    &[131, 141],
];

#[test]
fn every_layout() {
    for shape in SHAPES {
        for (ao, astr, an) in layouts(shape, false) {
            let a: Vec<f32> = (0..an).map(|i| i as f32 * 0.5 - 7.0).collect();
            for (bo, bstr, bn) in layouts(shape, false) {
                let b: Vec<i16> = (0..bn).map(|i| (i * 37 % 1001) as i16).collect();
                for (_, ostr, on) in layouts(shape, true) {
                    let name = format!("{shape:?} {astr:?} {bstr:?} {ostr:?}");
                    let (va, vb) = (src(&a, ao, shape, &astr), src(&b, bo, shape, &bstr));
                    let mut out = vec![-1f32; on];
                    binary(
                        Binary::Sub,
                        DType::F32,
                        Operand::View(va),
                        Operand::View(vb),
                        dst(&mut out, shape, &ostr),
                    );
                    let mut less = vec![Bool(9); on];
                    binary(
                        Binary::Lt,
                        DType::F32,
                        Operand::View(va),
                        Operand::View(vb),
                        dst(&mut less, shape, &ostr),
                    );
                    for i in indices(shape) {
                        let (x, y) = (a[at(&i, ao, &astr)], b[at(&i, bo, &bstr)] as f32);
                        assert_eq!(out[at(&i, 0, &ostr)], x - y, "{name} at {i:?}");
                        assert_eq!(less[at(&i, 0, &ostr)], Bool::from(x < y), "{name} at {i:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn copies_and_fills() {
    for shape in SHAPES {
        for (ao, astr, an) in layouts(shape, false) {
            let a: Vec<u16> = (0..an).map(|i| i as u16).collect();
            for (_, ostr, on) in layouts(shape, true) {
                let view = src(&a, ao, shape, &astr);
                let (mut same, mut wide, mut filled) = (vec![9u16; on], vec![9f64; on], vec![9i8; on]);
                copy(view, dst(&mut same, shape, &ostr));
                copy(view, dst(&mut wide, shape, &ostr));
                fill(dst(&mut filled, shape, &ostr), Scalar::Int(-2));
                for i in indices(shape) {
                    let want = a[at(&i, ao, &astr)];
                    let o = at(&i, 0, &ostr);
                    assert_eq!(
                        (same[o], wide[o], filled[o]),
                        (want, want as f64, -2),
                        "{shape:?} {astr:?} {ostr:?}"
                    );
                }
                let touched = indices(shape).len();
                assert_eq!(
                    filled.iter().filter(|&&v| v == -2).count(),
                    touched,
                    "{shape:?} {ostr:?}"
                );
            }
        }
    }
}

#[test]
fn conversions() {
    fn convert<S: Element, D: Element>(from: &[S]) -> Vec<D> {
        let mut out = vec![D::default(); from.len()];
        copy(flat(from), flat_mut(&mut out));
        out
    }
    let big = (1i64 << 53) + 1;
    assert_eq!(convert::<i64, i64>(&[big]), [big]);
    assert_eq!(convert::<i64, i32>(&[(1 << 40) + 5, -1]), [5, -1]);
    assert_eq!(convert::<u64, f32>(&[u64::MAX]), [u64::MAX as f32]);
    assert_eq!(convert::<u64, f64>(&[u64::MAX]), [u64::MAX as f64]);
    assert_eq!(convert::<f32, u8>(&[300.7, -1.0, f32::NAN]), [44, 255, 0]);
    assert_eq!(convert::<f64, u64>(&[1.8e19]), [18_000_000_000_000_000_000]);
    assert_eq!(
        convert::<f64, Bool>(&[1e-310, 0.0, f64::NAN]),
        [Bool(1), Bool(0), Bool(1)]
    );
    assert_eq!(convert::<Bool, i8>(&[Bool(7), Bool(0)]), [1, 0]);
    // As PyTorch: doubles become halves by way of f32.
    assert_eq!(
        convert::<f64, f16>(&[1.0 + 2f64.powi(-11) + 2f64.powi(-40)])[0].to_f32(),
        1.0
    );
    assert_eq!(
        convert::<f16, bf16>(&[f16::from_f32(0.1)])[0],
        bf16::from_f32(f16::from_f32(0.1).to_f32())
    );
    assert_eq!(convert::<i64, f16>(&[70_000])[0], f16::INFINITY);
}

#[test]
fn in_place_large_and_mixed() {
    let n = 100_003;
    let mut x: Vec<f32> = (0..n).map(|i| i as f32).collect();
    let out = flat_mut(&mut x);
    binary(
        Binary::Add,
        DType::F32,
        Operand::View(out.as_src()),
        Operand::Scalar(Scalar::Int(1)),
        out,
    );
    binary(
        Binary::Mul,
        DType::F32,
        Operand::View(out.as_src()),
        Operand::View(out.as_src()),
        out,
    );
    assert!(
        x.iter()
            .enumerate()
            .all(|(i, v)| *v == (i as f32 + 1.0) * (i as f32 + 1.0))
    );

    let cond = [2u8, 0, 1, 0];
    let (a, b) = ([1i32, 2, 3, 4], [10i8, 20, 30, 40]);
    let mut chosen = [0i16; 4];
    let views = [
        Operand::View(flat(&cond)),
        Operand::View(flat(&a)),
        Operand::View(flat(&b)),
    ];
    ternary(
        Ternary::Where,
        DType::I64,
        views[0],
        views[1],
        views[2],
        flat_mut(&mut chosen),
    );
    assert_eq!(chosen, [1, 20, 3, 40]);

    let mut sum = [0f64; 4];
    addcmul(
        DType::F64,
        views[1],
        views[2],
        views[1],
        Scalar::Float(0.5),
        flat_mut(&mut sum),
    );
    assert_eq!(sum, [6.0, 22.0, 48.0, 84.0]);
    addcdiv(
        DType::F64,
        views[1],
        views[2],
        views[1],
        Scalar::Float(0.5),
        flat_mut(&mut sum),
    );
    assert_eq!(sum, [6.0, 7.0, 8.0, 9.0]);
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
