//! Matrix products of float32 beside the `gemm` crate, on one thread: squares, and the products of the MNIST networks.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use firesteel_benches::Array;
use firesteel_kernels::gemm::{Epilogue, matmul};
use firesteel_kernels::parallel::set_threads;
use std::time::Duration;

/// Rows, depth and columns of a product.
const SIZES: [[usize; 3]; 8] = [
    [4, 4, 4],
    [64, 64, 64],
    [256, 256, 256],
    [512, 512, 512],
    [1024, 1024, 1024],
    // The CNN's first linear layer and the MLP's, for a batch of 64.
    [64, 9216, 128],
    [64, 784, 128],
    [64, 128, 10],
];

fn products(c: &mut Criterion) {
    set_threads(1);
    let mut group = c.benchmark_group("gemm");
    group
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    for [m, k, n] in SIZES {
        let (a, b) = (Array::new(&[m, k]), Array::new(&[k, n]));
        let mut out = Array::new(&[m, n]);
        let name = format!("{m}x{k}x{n}");
        // Two operations per element: the report's "elements per second" are FLOP/s.
        group.throughput(Throughput::Elements((2 * m * k * n) as u64));
        group.bench_function(BenchmarkId::new("firesteel", &name), |bench| {
            bench.iter(|| matmul(a.src(), b.src(), out.dst(), Epilogue::default()));
        });
        group.bench_function(BenchmarkId::new("gemm", &name), |bench| {
            let (k_stride, n_stride) = (k as isize, n as isize);
            bench.iter(|| {
                // SAFETY: three live row-major matrices of these sizes; the result shares no memory with the others.
                unsafe {
                    gemm::gemm(
                        m,
                        n,
                        k,
                        out.as_mut_ptr(),
                        1,
                        n_stride,
                        false,
                        a.as_ptr(),
                        1,
                        k_stride,
                        b.as_ptr(),
                        1,
                        n_stride,
                        0.0f32,
                        1.0f32,
                        false,
                        false,
                        false,
                        gemm::Parallelism::None,
                    );
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, products);
criterion_main!(benches);
