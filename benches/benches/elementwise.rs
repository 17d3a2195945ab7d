//! Addition (bound by memory) and exp (bound by arithmetic), from what fits a core's first cache to what fits none.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use firesteel_benches::Array;
use firesteel_kernels::DType;
use firesteel_kernels::elementwise::{Binary, Operand, Unary, binary, unary};
use firesteel_kernels::parallel::set_threads;
use std::time::Duration;

fn functions(c: &mut Criterion) {
    set_threads(1);
    let mut group = c.benchmark_group("elementwise");
    group
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1));
    for numel in [4, 1 << 10, 1 << 16, 1 << 22] {
        let (a, b) = (Array::new(&[numel]), Array::new(&[numel]));
        let mut out = Array::new(&[numel]);
        group.throughput(Throughput::Elements(numel as u64));
        group.bench_function(BenchmarkId::new("add", numel), |bench| {
            bench.iter(|| {
                let (a, b) = (Operand::View(a.any_src()), Operand::View(b.any_src()));
                binary(Binary::Add, DType::F32, a, b, out.any_dst());
            });
        });
        group.bench_function(BenchmarkId::new("exp", numel), |bench| {
            bench.iter(|| unary(Unary::Exp, DType::F32, Operand::View(a.any_src()), out.any_dst()));
        });
    }
    group.finish();
}

criterion_group!(benches, functions);
criterion_main!(benches);
