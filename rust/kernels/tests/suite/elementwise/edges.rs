//! Zeros, infinities, NaN, overflow: powers, divisions, shifts, extrema, conversions.

use super::*;
use firesteel_kernels::dtype::{Bool, bf16, f16};

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
