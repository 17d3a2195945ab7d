//! Matrix products of float32 beside the `gemm` crate, on one thread: squares, and the products of the MNIST networks;
//! before them the machine's limit, a loop of independent fused multiply-adds.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use firesteel_benches::Array;
use firesteel_kernels::gemm::{Epilogue, matmul};
use firesteel_kernels::parallel::set_threads;
use std::time::Duration;

/// Rows, depth and columns of a product.
const SIZES: [[usize; 3]; 11] = [
    [4, 4, 4],
    [64, 64, 64],
    [256, 256, 256],
    [512, 512, 512],
    [1024, 1024, 1024],
    // The CNN's first linear layer and the MLP's, for a batch of 64.
    [64, 9216, 128],
    [64, 784, 128],
    [64, 128, 10],
    // One head of attention, forward and back; a vector.
    [128, 32, 128],
    [128, 128, 32],
    [1, 4096, 4096],
];

/// Ten chains of fused multiply-adds on whole vectors: what no product can exceed.
fn limit(c: &mut Criterion) {
    const STEPS: usize = 100_000;
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    fn chains(steps: usize) -> f32 {
        use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_reduce_add_ps, _mm512_set1_ps};
        let (by, plus) = (_mm512_set1_ps(0.999), _mm512_set1_ps(0.001));
        // Values of their own, so that no chain stands for another.
        let mut sums = std::array::from_fn::<_, 10, _>(|i| _mm512_set1_ps(std::hint::black_box(i as f32)));
        for _ in 0..steps {
            for s in &mut sums {
                *s = _mm512_fmadd_ps(*s, by, plus);
            }
        }
        sums.into_iter().map(|s| _mm512_reduce_add_ps(s)).sum()
    }
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        let mut group = c.benchmark_group("limit");
        group.throughput(Throughput::Elements((STEPS * 10 * 16 * 2) as u64));
        group.bench_function("float32, one thread", |bench| {
            // SAFETY: the CPU has the instructions.
            bench.iter(|| unsafe { chains(std::hint::black_box(STEPS)) });
        });
        group.finish();
    }
    let _ = (STEPS, c);
}

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

criterion_group!(benches, limit, products);
criterion_main!(benches);
