//! What is bound by memory rather than arithmetic: pools, copies, gathers, masks, scans, random numbers, order; one thread.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use firesteel_benches::Array;
use firesteel_kernels::dtype::Bool;
use firesteel_kernels::index::{gather, index_select, masked_select};
use firesteel_kernels::parallel::set_threads;
use firesteel_kernels::pool::{PoolShape, avg_pool, max_pool};
use firesteel_kernels::random::{Philox, normal, uniform};
use firesteel_kernels::scan::{Scan, scan};
use firesteel_kernels::sort::{sort, topk};
use firesteel_kernels::{AnyDst, AnySrc, DType, Dst, Src, elementwise};
use std::time::Duration;

/// A square's side.
const SIDE: usize = 1000;

fn kernels(c: &mut Criterion) {
    set_threads(1);
    let mut group = c.benchmark_group("memory");
    group
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1));

    let x = Array::new(&[8, 64, 1, 112, 112]);
    let mut y = Array::new(&[8, 64, 1, 56, 56]);
    let mut places = vec![0i64; y.numel()];
    let shape = PoolShape {
        kernel: [1, 3, 3],
        stride: [1, 2, 2],
        padding: [0, 1, 1],
        dilation: [1; 3],
    };
    let strides = [64 * 56 * 56, 56 * 56, 56 * 56, 56, 1];
    group.throughput(Throughput::Elements(x.numel() as u64));
    group.bench_function("max_pool 3x3 by 2, indices", |b| {
        b.iter(|| {
            // SAFETY: as many elements as the output has.
            let places = unsafe { Dst::new(places.as_mut_ptr(), &[8, 64, 1, 56, 56], &strides) };
            max_pool(&shape, x.src(), y.dst(), Some(places));
        });
    });
    group.bench_function("max_pool 3x3 by 2, no indices", |b| {
        b.iter(|| max_pool(&shape, x.src(), y.dst(), None));
    });
    group.bench_function("avg_pool 3x3 by 2", |b| {
        b.iter(|| avg_pool(&shape, x.src(), y.dst(), true, None));
    });

    let a = Array::new(&[SIDE, SIDE]);
    let mut out = Array::new(&[SIDE, SIDE]);
    group.throughput(Throughput::Elements((SIDE * SIDE) as u64));
    group.bench_function("transpose", |b| {
        b.iter(|| {
            // SAFETY: the array's own memory, its dims exchanged.
            let turned = unsafe { AnySrc::new(a.as_ptr().cast(), DType::F32, &[SIDE, SIDE], &[1, SIDE as isize]) };
            elementwise::copy(turned, out.any_dst());
        });
    });
    let index: Vec<i64> = (0..(SIDE * SIDE) as i64).map(|i| i * 7919 % SIDE as i64).collect();
    group.bench_function("gather", |b| {
        b.iter(|| {
            // SAFETY: as many indices as the shape has.
            let index = unsafe { Src::new(index.as_ptr(), &[SIDE, SIDE], &[SIDE as isize, 1]) };
            gather(a.any_src(), 1, index, out.any_dst(), true).is_ok()
        });
    });
    group.bench_function("rows of 128", |b| {
        let rows = SIDE * SIDE / 128;
        b.iter(|| {
            // SAFETY: as many indices, and elements, as the shapes have.
            unsafe {
                let index = Src::new(index.as_ptr(), &[rows], &[1]);
                let from = AnySrc::new(a.as_ptr().cast(), DType::F32, &[rows, 128], &[128, 1]);
                let to = AnyDst::new(out.any_dst().ptr(), DType::F32, &[rows, 128], &[128, 1]);
                index_select(from, 0, index, to, false).is_ok()
            }
        });
    });
    group.bench_function("heads 0213", |b| {
        b.iter(|| {
            // SAFETY: 15 * 128 * 8 * 64 elements on both sides.
            unsafe {
                let shape = [15, 8, 128, 64];
                let from = AnySrc::new(a.as_ptr().cast(), DType::F32, &shape, &[65536, 64, 512, 1]);
                let to = AnyDst::new(out.any_dst().ptr(), DType::F32, &shape, &[65536, 8192, 64, 1]);
                elementwise::copy(from, to);
            }
        });
    });
    group.bench_function("running sum", |b| {
        b.iter(|| scan(Scan::Sum, a.any_src(), 1, out.any_dst()))
    });
    let mask: Vec<Bool> = index.iter().map(|i| Bool((i % 2) as u8)).collect();
    group.bench_function("masked_select", |b| {
        b.iter(|| {
            // SAFETY: as many elements as the mask is true.
            unsafe {
                let mask = Src::new(mask.as_ptr(), &[SIDE, SIDE], &[SIDE as isize, 1]);
                let to = AnyDst::new(out.any_dst().ptr(), DType::F32, &[SIDE * SIDE / 2], &[1]);
                masked_select(a.any_src(), mask, to)
            }
        });
    });
    let mut order = vec![0i64; SIDE * SIDE];
    group.bench_function("sort rows", |b| {
        b.iter(|| {
            // SAFETY: as many places as elements.
            let places = unsafe {
                AnyDst::new(
                    order.as_mut_ptr().cast(),
                    DType::I64,
                    &[SIDE, SIDE],
                    &[SIDE as isize, 1],
                )
            };
            sort(a.any_src(), 1, false, true, out.any_dst(), places);
        });
    });
    let philox = Philox { seed: 1, offset: 0 };
    group.bench_function("uniform", |b| b.iter(|| uniform(out.any_dst(), philox, 0.0, 1.0)));
    group.bench_function("normal", |b| b.iter(|| normal(out.any_dst(), philox, 0.0, 1.0)));

    let line = Array::new(&[SIDE * SIDE]);
    let (mut values, mut at) = ([0f32; 10], [0i64; 10]);
    group.bench_function("topk 10", |b| {
        b.iter(|| {
            // SAFETY: ten elements each.
            let (values, at) = unsafe {
                (
                    AnyDst::new(values.as_mut_ptr().cast(), DType::F32, &[10], &[1]),
                    AnyDst::new(at.as_mut_ptr().cast(), DType::I64, &[10], &[1]),
                )
            };
            topk(line.any_src(), 10, 0, true, true, values, at);
        });
    });
    group.finish();
}

criterion_group!(benches, kernels);
criterion_main!(benches);
