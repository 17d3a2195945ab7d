//! Reading and writing by index, masks and counting, against values written out.

mod sweep;

use firesteel_kernels::dtype::{Bool, Element, Scalar};
use firesteel_kernels::index::*;
use firesteel_kernels::internals::{collect, dense, view_mut, view_of};
use firesteel_kernels::{AnyDst, AnySrc};

fn src<'a, T: Element>(v: &'a [T], shape: &[usize]) -> AnySrc<'a> {
    assert_eq!(v.len(), shape.iter().product());
    // SAFETY: the slice holds the shape's elements.
    unsafe { AnySrc::new(v.as_ptr().cast(), T::DTYPE, shape, &dense(shape)[..shape.len()]) }
}

fn dst<'a, T: Element>(v: &'a mut [T], shape: &[usize]) -> AnyDst<'a> {
    assert_eq!(v.len(), shape.iter().product());
    // SAFETY: as above.
    unsafe { AnyDst::new(v.as_mut_ptr().cast(), T::DTYPE, shape, &dense(shape)[..shape.len()]) }
}

fn counting(n: usize) -> Vec<f32> {
    (0..n).map(|i| i as f32).collect()
}

#[test]
fn gather_and_scatter() {
    let x = counting(12);
    let index = [2i64, 0, 1, 3, 3, 1];
    let mut out = vec![0f32; 6];
    gather(
        src(&x, &[3, 4]),
        1,
        view_of(&index, &[3, 2]),
        dst(&mut out, &[3, 2]),
        false,
    )
    .unwrap();
    assert_eq!(out, [2.0, 0.0, 5.0, 7.0, 11.0, 9.0]);
    let index = [2i64, 0, 1, 2];
    let mut out = vec![0f32; 4];
    gather(
        src(&x, &[3, 4]),
        0,
        view_of(&index, &[1, 4]),
        dst(&mut out, &[1, 4]),
        true,
    )
    .unwrap();
    assert_eq!(out, [8.0, 1.0, 6.0, 11.0]);

    let mut y = vec![0f32; 12];
    scatter(
        dst(&mut y, &[3, 4]),
        0,
        view_of(&index, &[1, 4]),
        Source::View(src(&out, &[1, 4])),
        false,
    )
    .unwrap();
    assert_eq!(
        (y[8], y[1], y[6], y[11], y.iter().sum::<f32>()),
        (8.0, 1.0, 6.0, 11.0, 26.0)
    );
    let mut z = vec![0i64; 4];
    scatter(
        dst(&mut z, &[4]),
        0,
        view_of(&[3, 1], &[2]),
        Source::Scalar(Scalar::Float(2.5)),
        true,
    )
    .unwrap();
    assert_eq!(z, [0, 2, 0, 2]);

    let before = y.clone();
    let bad = scatter(
        dst(&mut y, &[3, 4]),
        0,
        view_of(&[0, 3], &[1, 2]),
        Source::Scalar(Scalar::Int(9)),
        false,
    );
    assert_eq!(
        bad,
        Err(IndexError {
            index: 3,
            size: 3,
            dim: 0
        })
    );
    assert_eq!(y, before);
}

#[test]
fn scatter_reductions() {
    let values = [1f32, 2.0, 3.0, 4.0];
    let index = [0i64, 0, 2, 0];
    let cases = [
        (ScatterReduce::Sum, true, [17.0, 10.0, 13.0]),
        (ScatterReduce::Sum, false, [7.0, 10.0, 3.0]),
        (ScatterReduce::Prod, false, [8.0, 10.0, 3.0]),
        (ScatterReduce::Max, false, [4.0, 10.0, 3.0]),
        (ScatterReduce::Min, true, [1.0, 10.0, 3.0]),
        (ScatterReduce::Mean, true, [17.0 / 4.0, 10.0, 13.0 / 2.0]),
        (ScatterReduce::Mean, false, [7.0 / 3.0, 10.0, 3.0]),
    ];
    for (op, include_self, want) in cases {
        let mut out = [10f32; 3];
        scatter_reduce(
            dst(&mut out, &[3]),
            0,
            view_of(&index, &[4]),
            src(&values, &[4]),
            op,
            include_self,
            include_self,
        )
        .unwrap();
        assert_eq!(out, want, "{op:?} {include_self}");
    }
}

#[test]
fn slices() {
    let x = counting(24);
    let mut out = vec![0f32; 16];
    index_select(
        src(&x, &[2, 3, 4]),
        1,
        view_of(&[2, 0], &[2]),
        dst(&mut out, &[2, 2, 4]),
        false,
    )
    .unwrap();
    assert_eq!(out[..8], [8.0, 9.0, 10.0, 11.0, 0.0, 1.0, 2.0, 3.0]);
    assert_eq!(out[8..12], [20.0, 21.0, 22.0, 23.0]);
    let mut half = vec![0u16; 2];
    index_select(
        src(&[7u16, 8, 9], &[3]),
        0,
        view_of(&[2, 2], &[2]),
        dst(&mut half, &[2]),
        false,
    )
    .unwrap();
    assert_eq!(half, [9, 9]);

    let mut sum = vec![1f32; 8];
    index_add(
        dst(&mut sum, &[4, 2]),
        0,
        view_of(&[3, 0, 3], &[3]),
        src(&counting(6), &[3, 2]),
        Scalar::Int(2),
    )
    .unwrap();
    assert_eq!(sum, [5.0, 7.0, 1.0, 1.0, 1.0, 1.0, 9.0, 13.0]);
    index_copy(
        dst(&mut sum, &[4, 2]),
        0,
        view_of(&[1], &[1]),
        src(&[5f32, 6.0], &[1, 2]),
    )
    .unwrap();
    index_fill(dst(&mut sum, &[4, 2]), 1, view_of(&[-1], &[1]), Scalar::Int(0)).unwrap();
    assert_eq!(sum, [5.0, 0.0, 5.0, 0.0, 1.0, 0.0, 9.0, 0.0]);

    let mut gw = vec![9f32; 6];
    let grad = counting(8);
    embedding_backward(
        src(&grad, &[4, 2]),
        view_of(&[2, 1, 2, 1], &[4]),
        dst(&mut gw, &[3, 2]),
        Some(1),
    )
    .unwrap();
    assert_eq!(gw, [0.0, 0.0, 0.0, 0.0, 4.0, 6.0]);
}

#[test]
fn several_indices() {
    let x = counting(24);
    let (a, b) = ([0i64, 1, -1], [2i64, 0, 1]);
    let indices = [view_of(&a, &[3]), view_of(&b, &[3])];
    let mut out = vec![0f32; 12];
    index_get(src(&x, &[2, 3, 4]), &indices, dst(&mut out, &[3, 4]), false).unwrap();
    assert_eq!((out[0], out[4], out[8]), (8.0, 12.0, 16.0));
    let mut y = vec![0f32; 24];
    index_put(dst(&mut y, &[2, 3, 4]), &indices, src(&out, &[3, 4]), false).unwrap();
    index_put(dst(&mut y, &[2, 3, 4]), &indices, src(&out, &[3, 4]), true).unwrap();
    assert_eq!((y[8], y[15], y[19], y[0]), (16.0, 30.0, 38.0, 0.0));
    let bad = index_put(
        dst(&mut y, &[2, 3, 4]),
        &[view_of(&[-3], &[1])],
        src(&[0f32; 12], &[1, 3, 4]),
        false,
    );
    assert_eq!(
        bad,
        Err(IndexError {
            index: -3,
            size: 2,
            dim: 0
        })
    );
    // Rank 0 indices.
    let mut row = vec![0f32; 4];
    let zero = [view_of(&[1], &[]), view_of(&[2], &[])];
    index_get(src(&x, &[2, 3, 4]), &zero, dst(&mut row, &[4]), true).unwrap();
    assert_eq!(row, [20.0, 21.0, 22.0, 23.0]);
}

#[test]
fn masks_and_triangles() {
    let x = [1f32, 0.0, f32::NAN, -0.0, 3.0, 4.0];
    let mut rows = [9; 8];
    assert_eq!(nonzero(src(&x, &[2, 3]), &mut rows), 4);
    assert_eq!(rows, [0, 0, 0, 2, 1, 1, 1, 2]);
    let mask: Vec<Bool> = [1u8, 0, 0, 7, 0, 1].map(Bool).to_vec();
    let mut out = vec![9f32; 3];
    assert_eq!(
        masked_select(src(&x, &[2, 3]), view_of(&mask, &[2, 3]), dst(&mut out, &[3])),
        3
    );
    assert_eq!(out, [1.0, 0.0, 4.0]);
    let mut y = counting(6);
    assert!(!masked_scatter(
        dst(&mut y, &[2, 3]),
        view_of(&mask, &[2, 3]),
        src(&[1f32; 2], &[2])
    ));
    assert!(masked_scatter(
        dst(&mut y, &[2, 3]),
        view_of(&mask, &[2, 3]),
        src(&[7f32, 8.0, 9.0], &[3])
    ));
    assert_eq!(y, [7.0, 1.0, 2.0, 8.0, 4.0, 9.0]);
    let x = [1i64, 2, 3, 4, 5, 6];
    let mut t = [0i64; 6];
    tril(src(&x, &[2, 3]), 0, dst(&mut t, &[2, 3]));
    assert_eq!(t, [1, 0, 0, 4, 5, 0]);
    triu(src(&x, &[2, 3]), 1, dst(&mut t, &[2, 3]));
    assert_eq!(t, [0, 2, 3, 0, 0, 6]);
}

#[test]
fn counting_and_searching() {
    assert_eq!(bincount(view_of(&[1, 3, 1], &[3]), 6).unwrap(), [0, 2, 0, 1, 0, 0]);
    assert_eq!(bincount(view_of(&[], &[0]), 0).unwrap(), [0i64; 0]);
    assert_eq!(bincount(view_of(&[1, -3, 7], &[3]), 3).unwrap(), [0, 1, 0]);
    let many: Vec<i64> = (0..300_000).map(|i| i * i % 1009).collect();
    let mut want = [0; 1009];
    many.iter().for_each(|&v| want[v as usize] += 1);
    assert_eq!(bincount(view_of(&many, &[300_000]), 1009).unwrap(), want);
    assert!(bincount_weighted(view_of(&[1, -3], &[2]), src(&[0.5f32, 2.0], &[2]), 6).is_err());
    let w = bincount_weighted(view_of(&[1, 3, 1], &[3]), src(&[0.5f32, 2.0, 1.0], &[3]), 0).unwrap();
    assert_eq!(w, [0.0, 1.5, 0.0, 2.0]);
    let h = histc(src(&[0.0f32, 1.0, 2.0, 4.0, 5.0, f32::NAN], &[6]), 4, 0.0, 4.0);
    assert_eq!(h, [1, 1, 1, 1]);
    let sorted = [1f32, 3.0, 3.0, 5.0];
    let values = [0f32, 3.0, 6.0, f32::NAN];
    let mut out = [0i64; 4];
    searchsorted(src(&sorted, &[4]), src(&values, &[4]), false, view_mut(&mut out, &[4]));
    assert_eq!(out, [0, 1, 4, 4]);
    searchsorted(
        src(&sorted, &[2, 2]),
        src(&values, &[2, 2]),
        true,
        view_mut(&mut out, &[2, 2]),
    );
    assert_eq!(out, [0, 2, 2, 2]);
    assert_eq!(collect(&view_of(&out, &[4])), out);
}
