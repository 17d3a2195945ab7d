//! Running sums and extrema against values written out.

mod extremum;

use firesteel_kernels::dtype::DType;
use firesteel_kernels::internals::dense;
use firesteel_kernels::scan::{Scan, scan, scan_extremum};
use firesteel_kernels::{AnyDst, AnySrc};

fn run(op: Scan, x: &[f32], shape: &[usize], strides: &[isize], axis: usize) -> Vec<f32> {
    let mut y = vec![0f32; shape.iter().product()];
    // SAFETY: the tests' strides stay inside the slices.
    unsafe {
        let dst = AnyDst::new(y.as_mut_ptr().cast(), DType::F32, shape, &dense(shape)[..shape.len()]);
        scan(
            op,
            AnySrc::new(x.as_ptr().cast(), DType::F32, shape, strides),
            axis,
            dst,
        );
    }
    y
}

#[test]
fn running_sums() {
    let x: Vec<f32> = (0..420).map(|i| ((i * 37) % 11) as f32 - 5.0).collect();
    for (shape, strides) in [([6usize, 70], [70isize, 1]), ([70, 6], [1, 70]), ([6, 70], [1, 6])] {
        for axis in 0..2 {
            let y = run(Scan::Sum, &x, &shape, &strides, axis);
            let l = run(Scan::LogSumExp, &x, &shape, &strides, axis);
            for r in 0..shape[1 - axis] {
                let (mut sum, mut exps) = (0.0f32, 0.0f64);
                for k in 0..shape[axis] {
                    let (i, j) = if axis == 0 { (k, r) } else { (r, k) };
                    let v = x[i * strides[0] as usize + j * strides[1] as usize];
                    sum += v;
                    exps += (v as f64).exp();
                    assert_eq!(y[i * shape[1] + j], sum, "{shape:?} {strides:?} {axis}");
                    assert!((l[i * shape[1] + j] as f64 - exps.ln()).abs() < 1e-5);
                }
            }
        }
    }
    assert_eq!(run(Scan::Prod, &[2.0, 3.0, -4.0], &[3], &[1], 0), [2.0, 6.0, -24.0]);
    assert_eq!(run(Scan::Sum, &[2.0], &[], &[], 0), [2.0]);
    assert!(run(Scan::Sum, &[], &[0, 3], &[3, 1], 1).is_empty());
    let inf = f32::INFINITY;
    let l = run(Scan::LogSumExp, &[-inf, 1.0, 2.0, inf, 1.0], &[5], &[1], 0);
    assert_eq!((l[0], l[1], l[3], l[4]), (-inf, 1.0, inf, inf));
    assert!((l[2] - 2.3132617).abs() < 1e-6);
}

#[test]
fn running_extrema() {
    let nan = f32::NAN;
    let x = [1.0, 1.0, 0.0, nan, 2.0, nan];
    let (mut v, mut i) = ([0f32; 6], [0i64; 6]);
    // SAFETY: six elements each.
    unsafe {
        let values = AnyDst::new(v.as_mut_ptr().cast(), DType::F32, &[6], &[1]);
        let indices = AnyDst::new(i.as_mut_ptr().cast(), DType::I64, &[6], &[1]);
        scan_extremum(
            true,
            AnySrc::new(x.as_ptr().cast(), DType::F32, &[6], &[1]),
            0,
            values,
            indices,
        );
    }
    assert_eq!(i, [0, 1, 1, 3, 3, 5]);
    assert_eq!(v[..3], [1.0; 3]);
    assert!(v[3..].iter().all(|v| v.is_nan()));
    let x = [3i64, 1, 2, 1, 5, 0];
    let mut v = [0i64; 6];
    // SAFETY: as above, seen as three rows.
    unsafe {
        let values = AnyDst::new(v.as_mut_ptr().cast(), DType::I64, &[3, 2], &[2, 1]);
        let indices = AnyDst::new(i.as_mut_ptr().cast(), DType::I64, &[3, 2], &[2, 1]);
        let src = AnySrc::new(x.as_ptr().cast(), DType::I64, &[3, 2], &[2, 1]);
        scan_extremum(false, src, 0, values, indices);
    }
    assert_eq!((v, i), ([3, 1, 2, 1, 2, 0], [0, 0, 1, 1, 1, 2]));
}
