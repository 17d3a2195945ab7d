//! What work costs besides arithmetic, without Python: an op on four floats through dispatch, and starting threads.

use criterion::{Criterion, criterion_group, criterion_main};
use firesteel::dispatch;
use firesteel::layout::Dims;
use firesteel::{Arg, Core, DType, Device, Scalar};
use firesteel_kernels::parallel::{for_range, set_threads};
use std::hint::black_box;
use std::time::Duration;

fn dispatched(c: &mut Criterion) {
    set_threads(1);
    let mut group = c.benchmark_group("dispatch");
    group
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    let shape = Dims::new(&[4]).expect("one dim");
    let zero = firesteel::ops::get("zero").expect("zero is in the table");
    let zeros = || {
        let core = Core::empty(shape, DType::F32, Device::Cpu).expect("sixteen bytes");
        dispatch::call_inplace(zero, &dispatch::args([Arg::Tensor(core.clone())])).expect("memory of its own");
        core
    };
    let (a, b) = (zeros(), zeros());
    let (add, exp) = (
        firesteel::ops::get("add").expect("a record"),
        firesteel::ops::get("exp").expect("a record"),
    );
    group.bench_function("add", |bench| {
        bench.iter(|| {
            let args = [
                Arg::Tensor(a.clone()),
                Arg::Tensor(b.clone()),
                Arg::Scalar(Scalar::Int(1)),
            ];
            black_box(dispatch::call(add, &dispatch::args(args)))
        });
    });
    group.bench_function("exp", |bench| {
        bench.iter(|| black_box(dispatch::call(exp, &dispatch::args([Arg::Tensor(a.clone())]))));
    });
    group.finish();
}

fn threads(c: &mut Criterion) {
    let mut group = c.benchmark_group("threads");
    group
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    set_threads(2);
    group.bench_function("two chunks of nothing", |bench| {
        bench.iter(|| {
            for_range(2, 1, |range| {
                black_box(range);
            })
        });
    });
    group.finish();
}

criterion_group!(benches, dispatched, threads);
criterion_main!(benches);
