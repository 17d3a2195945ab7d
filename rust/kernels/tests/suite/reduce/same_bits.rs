//! One test over the reducing modules: instruction set and thread count do not change a bit of any result.

use super::{in_own, layouts, numbers};
use crate::testing::{self, Digest};
use firesteel_kernels::dtype::{Bool, DType, Scalar};
use firesteel_kernels::internals::{collect, dense, keepdim, view_of};
use firesteel_kernels::random::{self, Philox};
use firesteel_kernels::reduce::{Reduce, arg_reduce, mean, var};
use firesteel_kernels::scan::{Scan, scan, scan_extremum};
use firesteel_kernels::view::{AnyDst, AnySrc, Src};
use firesteel_kernels::{index, loss, norm, softmax, sort};

/// Memory for one result of `shape`, and its digest after `f` wrote it.
fn into(d: &mut Digest, shape: &[usize], f: impl FnOnce(AnyDst)) -> Vec<f32> {
    let mut out = vec![0f32; shape.iter().product()];
    // SAFETY: the vector has the shape's elements.
    f(unsafe { AnyDst::new(out.as_mut_ptr().cast(), DType::F32, shape, &dense(shape)[..shape.len()]) });
    d.floats(&out);
    out
}

fn any<'a>(v: &'a [f32], shape: &[usize]) -> AnySrc<'a> {
    assert!(v.len() >= shape.iter().product());
    // SAFETY: the slice holds the shape's elements.
    unsafe { AnySrc::new(v.as_ptr().cast(), DType::F32, shape, &dense(shape)[..shape.len()]) }
}

fn reductions(d: &mut Digest) {
    for (shape, axes) in [
        (&[70_001usize][..], &[true][..]),
        (&[300, 1500], &[true, false]),
        (&[300, 1500], &[false, true]),
        (&[9000, 10], &[true, false]),
        (&[9000, 10], &[false, true]),
        (&[6, 40, 7, 41], &[true, false, true, true]),
        (&[90, 33, 20], &[false, true, false]),
    ] {
        for (shape, strides, offset, room) in layouts(shape) {
            let data = numbers(room);
            // SAFETY: `layouts` says how much room the strides need.
            let src = unsafe { AnySrc::new(data.as_ptr().offset(offset).cast(), DType::F32, &shape, &strides) };
            let out = keepdim(&shape, axes);
            for op in [
                Reduce::Sum,
                Reduce::Prod,
                Reduce::Max,
                Reduce::LogSumExp,
                Reduce::Norm(2.0),
                Reduce::Norm(2.5),
            ] {
                into(d, &out, |dst| in_own(op, src, axes, dst));
            }
            into(d, &out, |dst| mean(src, axes, dst));
            into(d, &out, |dst| var(src, axes, 1.0, true, dst));
        }
    }
}

fn lines(d: &mut Digest) {
    let shape = [60usize, 70, 33];
    let data = numbers(60 * 70 * 33);
    let x = any(&data, &shape);
    for axis in 0..3 {
        for log in [false, true] {
            let y = into(d, &shape, |dst| softmax::softmax(x, axis, dst, log));
            into(d, &shape, |dst| {
                softmax::softmax_backward(x, any(&y, &shape), axis, dst, log)
            });
        }
        for op in [Scan::Sum, Scan::Prod, Scan::LogSumExp] {
            into(d, &shape, |dst| scan(op, x, axis, dst));
        }
        let mut places = vec![0i64; data.len()];
        let strides = dense(&shape);
        // SAFETY: one element per element of the shape.
        let indices = unsafe { AnyDst::new(places.as_mut_ptr().cast(), DType::I64, &shape, &strides[..3]) };
        into(d, &shape, |dst| scan_extremum(true, x, axis, dst, indices));
        into(d, &shape, |dst| sort::sort(x, axis, true, true, dst, indices));
        let mut out = shape;
        out[axis] = 1;
        // SAFETY: as above, for fewer elements.
        let indices = unsafe { AnyDst::new(places.as_mut_ptr().cast(), DType::I64, &out, &dense(&out)[..3]) };
        into(d, &out, |dst| arg_reduce(false, x, axis, Some(dst), indices));
        places.iter().for_each(|&p| d.add(p as u64));
    }
}

fn norms(d: &mut Digest) {
    let (n, c) = (40usize, 50usize);
    let data = numbers(n * c * 81);
    let w = numbers(c * 81);
    // Side by side, in blocks of short runs, and channel by channel.
    for (n, s) in [(n, 1), (n, 81), (2, 1620)] {
        let shape = [n, c, s];
        let (x, weight) = (any(&data, &shape), any(&w, &[c]));
        let (mut m, mut i) = (vec![0f32; c], vec![0f32; c]);
        // SAFETY: one element per channel.
        let stats = |v: &mut Vec<f32>| unsafe { AnyDst::new(v.as_mut_ptr().cast(), DType::F32, &[c], &[1]) };
        let (md, id) = (stats(&mut m), stats(&mut i));
        into(d, &shape, |y| {
            norm::batch_norm_train(x, Some(weight), Some(weight), 1e-5, y, md, id, None)
        });
        d.floats(&m);
        d.floats(&i);
        let (ms, is) = (any(&m, &[c]), any(&i, &[c]));
        into(d, &shape, |gx| {
            norm::batch_norm_backward(x, x, Some(weight), ms, is, true, Some(gx), None, None)
        });
    }
    let shape = [n * 9, c * 9];
    let (x, weight) = (any(&data, &shape), any(&w, &[c * 9]));
    let (mut m, mut r) = (vec![0f32; n * 9], vec![0f32; n * 9]);
    // SAFETY: one element per row.
    let stats = |v: &mut Vec<f32>| unsafe { AnyDst::new(v.as_mut_ptr().cast(), DType::F32, &[n * 9], &[1]) };
    let (md, rd) = (stats(&mut m), stats(&mut r));
    into(d, &shape, |y| {
        norm::layer_norm_forward(x, Some(weight), Some(weight), 1e-5, y, md, rd)
    });
    let (ms, rs) = (any(&m, &[n * 9]), any(&r, &[n * 9]));
    into(d, &shape, |gx| {
        norm::layer_norm_backward(x, x, ms, rs, Some(weight), Some(gx), None, None)
    });
    into(d, &[c * 9], |gw| {
        norm::layer_norm_backward(x, x, ms, rs, Some(weight), None, Some(gw), None)
    });
}

fn indexed(d: &mut Digest) {
    let data = numbers(5000 * 600);
    let index: Vec<i64> = (0..5000).map(|i| i * 7919 % 37).collect();
    let (grad, at) = (any(&data, &[5000, 600]), view_of(&index, &[5000]));
    into(d, &[37, 600], |gw| {
        index::embedding_backward(grad, at, gw, None).unwrap()
    });
    into(d, &[37, 600], |to| {
        index::index_add(to, 0, at, grad, Scalar::Float(0.3)).unwrap()
    });
    // SAFETY: the same index for each column.
    let each = unsafe { Src::new(index.as_ptr(), &[5000, 600], &[1, 0]) };
    into(d, &[37, 600], |to| {
        index::scatter_reduce(to, 0, each, grad, index::ScatterReduce::Mean, true, false).unwrap()
    });
    let logits = view_of(&data, &[4000, 40, 1]);
    let lines = loss::Lines {
        logits,
        expected: loss::Expected::Classes {
            target: &index[..4000],
            ignore: 3,
        },
        weight: None,
        smoothing: 0.1,
    };
    let [mut top, mut sum] = [vec![0f32; 4000], vec![0f32; 4000]];
    let mut one = [0f32];
    loss::cross_entropy_forward(&lines, loss::Reduction::Mean, &mut one, [&mut top, &mut sum]).unwrap();
    d.floats(&one);
    let mut gx = vec![0f32; 4000 * 40];
    loss::cross_entropy_backward(&lines, loss::Reduction::Sum, &one, 1.0, [&top, &sum], &mut gx).unwrap();
    d.floats(&gx);
    let (x, t) = data.split_at(200_000);
    for kind in [loss::Pair::Square, loss::Pair::Huber(0.7), loss::Pair::BinaryOfLogits] {
        let sum = loss::pair_sum(kind, &x[..199_999], &t[..199_999]).unwrap();
        d.floats(&[sum as f32]);
    }
    assert_eq!(collect(&at), index);
}

/// Single long lines, dense and not, in f32, f64 and i64; random numbers; masks.
fn moves(d: &mut Digest) {
    let n = 150_003;
    let data: Vec<f32> = numbers(2 * n).iter().map(|v| v * 1.1 + 0.01).collect();
    let wide: Vec<f64> = data.iter().map(|v| *v as f64 * 1.7).collect();
    let ints: Vec<i64> = data.iter().map(|v| (*v * 1e6) as i64).collect();
    for (len, step) in [(n, 1isize), (n, 2), (1000, 1), (13, 2)] {
        // SAFETY: `len` elements at the step lie inside the vectors.
        let (x, y, z) = unsafe {
            (
                AnySrc::new(data.as_ptr().cast(), DType::F32, &[len], &[step]),
                AnySrc::new(wide.as_ptr().cast(), DType::F64, &[len], &[step]),
                AnySrc::new(ints.as_ptr().cast(), DType::I64, &[len], &[step]),
            )
        };
        let mut eight = vec![0u64; len];
        for op in [Scan::Sum, Scan::Prod, Scan::LogSumExp] {
            into(d, &[len], |dst| scan(op, x, 0, dst));
            // SAFETY: the vector's own memory; any bits are a number.
            let out = |t| unsafe { AnyDst::new(eight.as_ptr().cast_mut().cast(), t, &[len], &[1]) };
            scan(op, y, 0, out(DType::F64));
            eight
                .iter()
                .for_each(|v| d.add(if f64::from_bits(*v).is_nan() { 1 } else { *v }));
            if op != Scan::LogSumExp {
                scan(op, z, 0, out(DType::I64));
                eight.iter().for_each(|v| d.add(*v));
            }
        }
        // SAFETY: as above.
        let places = unsafe { AnyDst::new(eight.as_mut_ptr().cast(), DType::I64, &[len], &[1]) };
        into(d, &[len], |dst| scan_extremum(false, x, 0, dst, places));
        into(d, &[len], |dst| sort::sort(x, 0, false, true, dst, places));
        eight.iter().for_each(|v| d.add(*v));
    }
    let philox = Philox { seed: 2, offset: 1 };
    into(d, &[n], |dst| random::normal(dst, philox, 0.5, 2.0));
    into(d, &[n], |dst| random::uniform(dst, philox, -1.0, 1.0));
    let mut order = vec![0i64; 5000];
    random::randperm(&mut order, philox);
    order.iter().for_each(|v| d.add(*v as u64));
    let mask: Vec<Bool> = data[..n].iter().map(|v| Bool((*v > 0.3) as u8)).collect();
    let count = mask.iter().filter(|m| m.get()).count();
    into(d, &[count], |dst| {
        assert_eq!(index::masked_select(any(&data, &[n]), view_of(&mask, &[n]), dst), count)
    });
}

fn digest() -> String {
    let mut d = Digest::new();
    reductions(&mut d);
    lines(&mut d);
    norms(&mut d);
    indexed(&mut d);
    moves(&mut d);
    d.text()
}

/// Not a test: what the child processes of the test below run.
#[test]
#[ignore = "prints a digest for same_bits_everywhere"]
fn print_digest() {
    println!("{}", digest());
}

#[test]
fn same_bits_everywhere() {
    testing::same_bits_everywhere(digest, "reduce::same_bits::print_digest");
}
