//! Kernels of narrow elements against the long way: operands converted to the type that computes, its kernel, and back.

use crate::testing::numbers;
use firesteel_kernels::dtype::{Bool, DType, Element, Scalar, bf16, f16};
use firesteel_kernels::elementwise::*;
use firesteel_kernels::{AnyDst, AnySrc};

const SIZES: [usize; 16] = [0, 1, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 127, 1000, 4097, 70_001];

fn view<'a, T: Element>(data: &'a [T], step: usize) -> AnySrc<'a> {
    // SAFETY: every `step`-th element of the slice.
    unsafe { AnySrc::new(data.as_ptr().cast(), T::DTYPE, &[data.len() / step], &[step as isize]) }
}

fn place<T: Element>(data: &mut [T], step: usize) -> AnyDst<'_> {
    let n = data.len() / step;
    // SAFETY: as above.
    unsafe { AnyDst::new(data.as_mut_ptr().cast(), T::DTYPE, &[n], &[step as isize]) }
}

/// `f` over tensors as they are (every `step`-th element) and over tensors of the type that computes; the first `result`
/// is what the kernels of narrow elements gave, the second the long way's.
fn both<T: Element, C: Element, R: Element, W: Element>(
    inputs: &[&[T]],
    step: usize,
    f: impl Fn(&[Operand], AnyDst),
) -> [Vec<R>; 2] {
    let n = inputs[0].len();
    let mut near = vec![R::default(); n * step];
    let spread: Vec<Vec<T>> = inputs
        .iter()
        .map(|a| a.iter().flat_map(|v| std::iter::repeat_n(*v, step)).collect())
        .collect();
    let operands: Vec<Operand> = spread.iter().map(|a| Operand::View(view(a, step))).collect();
    f(&operands, place(&mut near, step));
    let wide: Vec<Vec<C>> = inputs
        .iter()
        .map(|a| {
            let mut w = vec![C::default(); n];
            copy(view(a, 1), place(&mut w, 1));
            w
        })
        .collect();
    let operands: Vec<Operand> = wide.iter().map(|a| Operand::View(view(a, 1))).collect();
    let mut far = vec![W::default(); n];
    f(&operands, place(&mut far, 1));
    let mut back = vec![R::default(); n];
    copy(view(&far, 1), place(&mut back, 1));
    [near.into_iter().step_by(step).collect(), back]
}

trait Same: Element {
    fn same(self, other: Self) -> bool;
}
macro_rules! same {
    ($($t:ty)*) => {$(impl Same for $t { fn same(self, other: Self) -> bool { self == other } })*};
}
same!(u8 i8 i16 i32 Bool);
impl Same for bf16 {
    fn same(self, other: Self) -> bool {
        self.to_bits() == other.to_bits() || self.is_nan() && other.is_nan()
    }
}
impl Same for f16 {
    fn same(self, other: Self) -> bool {
        self.to_bits() == other.to_bits() || self.is_nan() && other.is_nan()
    }
}

fn check<R: Same + std::fmt::Debug>([near, far]: [Vec<R>; 2], what: impl std::fmt::Debug) {
    for (i, (a, b)) in near.iter().zip(&far).enumerate() {
        assert!(a.same(*b), "{what:?} at {i} of {}: {a:?}, not {b:?}", near.len());
    }
}

const INT_UNARY: [Unary; 19] = {
    use Unary::*;
    [
        Neg, Abs, Sign, Square, Cube, Relu, Relu6, Floor, Ceil, Round, Trunc, BitwiseNot, IsNan, IsInf, IsFinite,
        IsPosInf, IsNegInf, Signbit, LogicalNot,
    ]
};
const INT_BINARY: [Binary; 23] = {
    use Binary::*;
    [
        Add,
        Sub,
        Mul,
        FloorDivide,
        Remainder,
        Fmod,
        TruncDivide,
        Maximum,
        Minimum,
        Fmax,
        Fmin,
        BitwiseAnd,
        BitwiseOr,
        BitwiseXor,
        Eq,
        Ne,
        Lt,
        Le,
        Gt,
        Ge,
        LogicalAnd,
        LogicalOr,
        LogicalXor,
    ]
};

/// Numbers of the whole range, its ends, zero and ±1 among them.
fn whole<T: Element>(n: usize, seed: u32) -> Vec<T> {
    let (lo, hi) = match T::DTYPE {
        DType::U8 => (0, u8::MAX as i64),
        d => (-1 << (8 * d.size() - 1), (1 << (8 * d.size() - 1)) - 1),
    };
    let ends = [lo, hi, 0, 1, -1, 2, lo + 1, hi - 1, 0, 3];
    numbers(n, seed)
        .iter()
        .enumerate()
        .map(|(i, v)| match i % 3 {
            0 => T::from_i64(ends[(i / 3 + seed as usize) % ends.len()]),
            1 => T::from_i64((v * 9.0) as i64),
            _ => T::from_i64((v * hi as f64) as i64),
        })
        .collect()
}

fn ints<T: Same + std::fmt::Debug>() {
    for n in SIZES {
        let [a, b, c] = [1, 2, 3].map(|seed| whole::<T>(n, seed));
        for step in [1, 2] {
            for op in INT_UNARY {
                let f = |x: &[Operand], out: AnyDst| unary(op, DType::I64, x[0], out);
                match op.is_predicate() {
                    true => check(both::<T, i64, Bool, Bool>(&[&a], step, f), (op, T::DTYPE)),
                    false => check(both::<T, i64, T, i64>(&[&a], step, f), (op, T::DTYPE)),
                }
            }
            for op in INT_BINARY {
                let with = |f: &dyn Fn(&[Operand], AnyDst), inputs: &[&[T]], what: &str| match op.is_predicate() {
                    true => check(both::<T, i64, Bool, Bool>(inputs, step, f), (op, T::DTYPE, what)),
                    false => check(both::<T, i64, T, i64>(inputs, step, f), (op, T::DTYPE, what)),
                };
                with(&|x, out| binary(op, DType::I64, x[0], x[1], out), &[&a, &b], "two");
                // Numbers that fit and that do not.
                for number in [0, 1, -1, 3, 100, 255, 300, -129, 1 << 33, i64::MIN] {
                    let number = Operand::Scalar(Scalar::Int(number));
                    with(&|x, out| binary(op, DType::I64, x[0], number, out), &[&a], "a number");
                    with(
                        &|x, out| binary(op, DType::I64, number, x[0], out),
                        &[&a],
                        "a number first",
                    );
                }
            }
            for alpha in [2, -1, 300] {
                let alpha = Scalar::Int(alpha);
                let f = |x: &[Operand], out: AnyDst| {
                    ternary(Ternary::AddScaled, DType::I64, x[0], x[1], Operand::Scalar(alpha), out)
                };
                check(both::<T, i64, T, i64>(&[&a, &b], step, f), "a + alpha b");
                let f = |x: &[Operand], out: AnyDst| addcmul(DType::I64, x[0], x[1], x[2], alpha, out);
                check(both::<T, i64, T, i64>(&[&a, &b, &c], step, f), "a + value b c");
            }
            let f = |x: &[Operand], out: AnyDst| ternary(Ternary::Clamp, DType::I64, x[0], x[1], x[2], out);
            check(both::<T, i64, T, i64>(&[&a, &b, &c], step, f), "clamp");
            for (lo, hi) in [
                (0.0, 1.0),
                (-300.0, 300.0),
                (300.0, 400.0),
                (-400.0, -300.0),
                (5.0, f64::INFINITY),
                (4.0, 2.0),
            ] {
                let [lo, hi] = [lo, hi].map(|v| Operand::Scalar(Scalar::Float(v)));
                let f = |x: &[Operand], out: AnyDst| ternary(Ternary::Clamp, DType::I64, x[0], lo, hi, out);
                check(both::<T, i64, T, i64>(&[&a], step, f), "clamp by numbers");
            }
        }
        let mask: Vec<Bool> = numbers(n, 7).iter().map(|v| Bool((*v > 0.0) as u8)).collect();
        let mask = Operand::View(view(&mask, 1));
        let f = |x: &[Operand], out: AnyDst| ternary(Ternary::Where, DType::I64, mask, x[0], x[1], out);
        check(both::<T, i64, T, i64>(&[&a, &b], 1, f), "where");
        let f = |x: &[Operand], out: AnyDst| {
            ternary(
                Ternary::Where,
                DType::I64,
                mask,
                Operand::Scalar(Scalar::Int(7)),
                x[0],
                out,
            )
        };
        check(both::<T, i64, T, i64>(&[&a], 1, f), "where of a number");
    }
}

#[test]
fn integers() {
    ints::<u8>();
    ints::<i8>();
    ints::<i16>();
    ints::<i32>();
}

const HALF_UNARY: [Unary; 18] = {
    use Unary::*;
    [
        Neg, Abs, Sign, Reciprocal, Sqrt, Rsqrt, Square, Relu, Floor, Ceil, Round, Trunc, Frac, Hardswish, IsNan,
        IsInf, IsFinite, LogicalNot,
    ]
};
const HALF_BINARY: [Binary; 15] = {
    use Binary::*;
    [
        Add,
        Sub,
        Mul,
        Div,
        Maximum,
        Minimum,
        ReluBackward,
        LeakyRelu,
        Copysign,
        Eq,
        Ne,
        Lt,
        Le,
        Gt,
        Ge,
    ]
};

fn halves<T: Same + std::fmt::Debug>(of: fn(u16) -> T) {
    for n in SIZES {
        let n = if n == 70_001 { 65_536 } else { n };
        // Every half, in three orders.
        let [a, b, c] = [1u32, 40_503, 9_973].map(|by| {
            (0..n as u32)
                .map(|i| of(i.wrapping_mul(by) as u16 ^ (i / 3) as u16 & 0x80))
                .collect::<Vec<_>>()
        });
        for step in [1, 2] {
            for op in HALF_UNARY {
                let f = |x: &[Operand], out: AnyDst| unary(op, DType::F32, x[0], out);
                match op.is_predicate() {
                    true => check(both::<T, f32, Bool, Bool>(&[&a], step, f), (op, T::DTYPE)),
                    false => check(both::<T, f32, T, f32>(&[&a], step, f), (op, T::DTYPE)),
                }
            }
            for op in HALF_BINARY {
                let with = |f: &dyn Fn(&[Operand], AnyDst), inputs: &[&[T]], what: &str| match op.is_predicate() {
                    true => check(both::<T, f32, Bool, Bool>(inputs, step, f), (op, T::DTYPE, what)),
                    false => check(both::<T, f32, T, f32>(inputs, step, f), (op, T::DTYPE, what)),
                };
                with(&|x, out| binary(op, DType::F32, x[0], x[1], out), &[&a, &b], "two");
                for number in [0.0, -0.0, 1.0, 0.3, -3.1, 1e30, f64::NAN] {
                    let number = Operand::Scalar(Scalar::Float(number));
                    with(&|x, out| binary(op, DType::F32, x[0], number, out), &[&a], "a number");
                    with(
                        &|x, out| binary(op, DType::F32, number, x[0], out),
                        &[&a],
                        "a number first",
                    );
                }
            }
            for number in [1.0, 0.3, f64::NAN] {
                for op in [Ternary::AddScaled, Ternary::Lerp] {
                    let number = Operand::Scalar(Scalar::Float(number));
                    let f = |x: &[Operand], out: AnyDst| ternary(op, DType::F32, x[0], x[1], number, out);
                    check(both::<T, f32, T, f32>(&[&a, &b], step, f), (op, T::DTYPE));
                    let f = |x: &[Operand], out: AnyDst| ternary(op, DType::F32, x[0], x[1], x[2], out);
                    check(both::<T, f32, T, f32>(&[&a, &b, &c], step, f), (op, T::DTYPE));
                }
                let [lo, hi] = [-0.3, number].map(|v| Operand::Scalar(Scalar::Float(v)));
                let f = |x: &[Operand], out: AnyDst| ternary(Ternary::Clamp, DType::F32, x[0], lo, hi, out);
                check(both::<T, f32, T, f32>(&[&a], step, f), "clamp");
                let value = Scalar::Float(number);
                let f = |x: &[Operand], out: AnyDst| addcmul(DType::F32, x[0], x[1], x[2], value, out);
                check(both::<T, f32, T, f32>(&[&a, &b, &c], step, f), "a + value b c");
                let f = |x: &[Operand], out: AnyDst| addcdiv(DType::F32, x[0], x[1], x[2], value, out);
                check(both::<T, f32, T, f32>(&[&a, &b, &c], step, f), "a + value b / c");
                let f = |x: &[Operand], out: AnyDst| {
                    nan_to_num(DType::F32, x[0], [value, Scalar::Float(0.3), Scalar::Int(-4)], out)
                };
                check(both::<T, f32, T, f32>(&[&a], step, f), "nan_to_num");
            }
        }
        let mask: Vec<Bool> = numbers(n, 7).iter().map(|v| Bool((*v > 0.0) as u8)).collect();
        let mask = Operand::View(view(&mask, 1));
        for number in [0.0, 0.3, 65504.0] {
            let number = Operand::Scalar(Scalar::Float(number));
            let f = |x: &[Operand], out: AnyDst| ternary(Ternary::Where, DType::F32, mask, x[0], number, out);
            check(both::<T, f32, T, f32>(&[&a], 1, f), "where");
        }
    }
}

#[test]
fn floats_of_two_bytes() {
    halves::<bf16>(bf16::from_bits);
    halves::<f16>(f16::from_bits);
}

/// The output may be an operand.
#[test]
fn in_place() {
    for n in [5, 500, 5000, 70_001] {
        let (a, b) = (whole::<i16>(n, 1), whole::<i16>(n, 2));
        for op in [Binary::Add, Binary::Maximum, Binary::BitwiseAnd, Binary::FloorDivide] {
            let mut want = vec![0i16; n];
            binary(
                op,
                DType::I64,
                Operand::View(view(&a, 1)),
                Operand::View(view(&b, 1)),
                place(&mut want, 1),
            );
            for first in [true, false] {
                let mut got = if first { a.clone() } else { b.clone() };
                let out = place(&mut got, 1);
                let (x, y) = match first {
                    true => (out.as_src(), view(&b, 1)),
                    false => (view(&a, 1), out.as_src()),
                };
                binary(op, DType::I64, Operand::View(x), Operand::View(y), out);
                assert_eq!(got, want, "{op:?} {n}");
            }
        }
    }
}

/// Rows, columns, tiles and single numbers of bytes.
#[test]
fn layouts() {
    let a = whole::<u8>(200 * 300, 5);
    let shape = [200, 300];
    let of = |strides: [isize; 2]| {
        // SAFETY: the strides stay inside the data, for the shape below.
        unsafe { AnySrc::new(a.as_ptr().cast(), DType::U8, &shape, &strides) }
    };
    let all = [[300, 1], [1, 200], [0, 1], [1, 0], [0, 0]];
    for x in all {
        for y in all {
            let mut got = vec![0u8; 200 * 300];
            // SAFETY: dense in the shape.
            let out = unsafe { AnyDst::new(got.as_mut_ptr().cast(), DType::U8, &shape, &[300, 1]) };
            binary(Binary::Sub, DType::I64, Operand::View(of(x)), Operand::View(of(y)), out);
            for i in 0..200 {
                for j in 0..300 {
                    let at = |s: [isize; 2]| a[i * s[0] as usize + j * s[1] as usize];
                    assert_eq!(got[i * 300 + j], at(x).wrapping_sub(at(y)), "{x:?} {y:?} {i} {j}");
                }
            }
        }
    }
}
