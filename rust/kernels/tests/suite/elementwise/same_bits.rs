//! One test over several modules: instruction set and thread count do not change a bit of any result.

use crate::testing::{self, Digest};
use firesteel_kernels::dtype::{Bool, DType, Scalar, f16};
use firesteel_kernels::elementwise::*;
use firesteel_kernels::optim::{Adam, Param, adam, sum_of_squares};
use firesteel_kernels::random::{Philox, dropout, normal, randint, uniform};
use firesteel_kernels::view::{AnyDst, AnySrc};

const N: usize = 70_001;

fn src<T>(data: &[T], dtype: DType) -> AnySrc<'_> {
    // SAFETY: the slice's own memory.
    unsafe { AnySrc::new(data.as_ptr().cast(), dtype, &[data.len()], &[1]) }
}

fn dst<T>(data: &mut [T], dtype: DType) -> AnyDst<'_> {
    // SAFETY: the slice's own memory.
    unsafe { AnyDst::new(data.as_mut_ptr().cast(), dtype, &[data.len()], &[1]) }
}

fn digest() -> String {
    let mut d = Digest::new();
    let philox = Philox { seed: 11, offset: 3 };
    let (mut a, mut b, mut out) = (vec![0f32; N], vec![0f32; N], vec![0f32; N]);
    normal(dst(&mut a, DType::F32), philox, 0.0, 3.0);
    uniform(dst(&mut b, DType::F32), philox, -5.0, 20.0);
    (a[5], a[6], a[7], a[8]) = (0.0, -0.0, f32::INFINITY, f32::NAN);
    d.floats(&a);
    d.floats(&b);
    for op in UNARY {
        unary(
            *op,
            DType::F32,
            Operand::View(src(&a, DType::F32)),
            dst(&mut out, DType::F32),
        );
        d.add(*op as u64);
        d.floats(&out);
    }
    for op in BINARY {
        let (x, y) = (Operand::View(src(&a, DType::F32)), Operand::View(src(&b, DType::F32)));
        binary(*op, DType::F32, x, y, dst(&mut out, DType::F32));
        d.add(*op as u64);
        d.floats(&out);
    }
    let wide = |v: &[f32]| -> Vec<f64> { v.iter().map(|x| *x as f64).collect() };
    let (c, e, mut out64) = (wide(&a), wide(&b), vec![0f64; N]);
    let doubles = |d: &mut Digest, v: &[f64]| v.iter().for_each(|x| d.add(if x.is_nan() { 1 } else { x.to_bits() }));
    for op in UNARY {
        unary(
            *op,
            DType::F64,
            Operand::View(src(&c, DType::F64)),
            dst(&mut out64, DType::F64),
        );
        doubles(&mut d, &out64);
    }
    for op in BINARY {
        let (x, y) = (Operand::View(src(&c, DType::F64)), Operand::View(src(&e, DType::F64)));
        binary(*op, DType::F64, x, y, dst(&mut out64, DType::F64));
        doubles(&mut d, &out64);
    }
    let whole = |v: &[f64]| -> Vec<i64> { v.iter().map(|x| (x * 1e6) as i64 | 1).collect() };
    let (i, j, mut out_ints) = (whole(&c), whole(&e), vec![0i64; N]);
    for op in [
        Binary::FloorDivide,
        Binary::Remainder,
        Binary::Fmod,
        Binary::TruncDivide,
    ] {
        let (x, y) = (Operand::View(src(&i, DType::I64)), Operand::View(src(&j, DType::I64)));
        binary(op, DType::I64, x, y, dst(&mut out_ints, DType::I64));
        out_ints.iter().for_each(|v| d.add(*v as u64));
    }
    for op in [
        Ternary::Softplus,
        Ternary::AddScaled,
        Ternary::Lerp,
        Ternary::Elu,
        Ternary::EluBackward,
        Ternary::SoftplusBackward,
    ] {
        let (x, y) = (Operand::View(src(&a, DType::F32)), Operand::View(src(&b, DType::F32)));
        ternary(
            op,
            DType::F32,
            x,
            y,
            Operand::Scalar(Scalar::Float(0.3)),
            dst(&mut out, DType::F32),
        );
        d.floats(&out);
    }
    let mut half = vec![f16::ZERO; N];
    copy(src(&a, DType::F32), dst(&mut half, DType::F16));
    half.iter()
        .for_each(|h| d.add(if h.is_nan() { 1 } else { h.to_bits() as u64 }));
    let (mut mask, mut ints) = (vec![Bool(0); N], vec![0i64; N]);
    dropout(
        src(&b, DType::F32),
        philox,
        0.3,
        dst(&mut out, DType::F32),
        dst(&mut mask, DType::Bool),
    );
    randint(dst(&mut ints, DType::I64), philox, -7, 1 << 40);
    d.floats(&out);
    ints.iter().for_each(|v| d.add(*v as u64));
    a.iter_mut().filter(|v| !v.is_finite()).for_each(|v| *v = 1.0);
    let (mut m, mut v) = (vec![0.1f32; N], vec![0.2f32; N]);
    let h = Adam {
        lr: 0.01,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weight_decay: 0.1,
        ..Adam::default()
    };
    adam(
        &mut [Param {
            value: &mut a,
            grad: &b,
            state: [&mut m, &mut v, &mut []],
            step: 2.0,
        }],
        &h,
    );
    d.floats(&a);
    d.add(sum_of_squares(&[&a[..], &b[..7]]).to_bits());
    d.text()
}

const UNARY: &[Unary] = {
    use Unary::*;
    &[
        Reciprocal,
        Sqrt,
        Rsqrt,
        Exp,
        Exp2,
        Expm1,
        Log,
        Log2,
        Log10,
        Log1p,
        Sin,
        Cos,
        Tan,
        Asin,
        Acos,
        Atan,
        Sinh,
        Cosh,
        Asinh,
        Acosh,
        Atanh,
        Erfinv,
        Lgamma,
        Digamma,
        Tanh,
        Erf,
        Erfc,
        Sigmoid,
        LogSigmoid,
        Gelu,
        GeluTanh,
        Silu,
        Mish,
        Hardswish,
        Hardsigmoid,
        Softsign,
        Tanhshrink,
        Round,
        Frac,
        Sign,
        IsNan,
        Relu,
        I0e,
        Ndtri,
        LogNdtr,
        Sinc,
    ]
};

const BINARY: &[Binary] = {
    use Binary::*;
    &[
        Div,
        FloorDivide,
        Remainder,
        Fmod,
        Pow,
        Maximum,
        Fmin,
        Xlogy,
        Ldexp,
        Logaddexp,
        Logaddexp2,
        Celu,
        Atan2,
        Hypot,
        GeluBackward,
        GeluTanhBackward,
        SiluBackward,
        MishBackward,
        HardswishBackward,
        LogSigmoidBackward,
        TanhBackward,
        Lt,
    ]
};

/// Not a test: what the child processes of the test below run.
#[test]
#[ignore = "prints a digest for same_bits_everywhere"]
fn print_digest() {
    println!("{}", digest());
}

#[test]
fn same_bits_everywhere() {
    testing::same_bits_everywhere(digest, "elementwise::same_bits::print_digest");
}
