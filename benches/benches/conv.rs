//! The convolutions of the MNIST CNN (batch 64): forward, gradient of the input, gradient of the weights.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use firesteel_benches::Array;
use firesteel_kernels::conv::{ConvShape, backward_data, backward_weight, forward};
use firesteel_kernels::parallel::set_threads;
use std::time::Duration;

/// A 2-D convolution: a kernel of k x k, no padding.
fn shape(n: usize, c_in: usize, c_out: usize, size: usize, k: usize) -> ConvShape {
    let out = size - k + 1;
    ConvShape {
        n,
        c_in,
        c_out,
        groups: 1,
        input: [1, size, size],
        kernel: [1, k, k],
        stride: [1; 3],
        padding: [0; 3],
        dilation: [1; 3],
        output: [1, out, out],
    }
}

fn convolutions(c: &mut Criterion) {
    let mut group = c.benchmark_group("conv");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    for (name, s) in [
        ("1 to 32", shape(64, 1, 32, 28, 3)),
        ("32 to 64", shape(64, 32, 64, 26, 3)),
    ] {
        let [_, size, _] = s.input;
        let [_, out, _] = s.output;
        let x = Array::new(&[s.n, s.c_in, 1, size, size]);
        let w = Array::new(&[s.c_out, s.c_in, 1, 3, 3]);
        let bias = Array::new(&[s.c_out]);
        let y = Array::new(&[s.n, s.c_out, 1, out, out]);
        let flops = 2 * s.n * s.c_out * out * out * s.c_in * 9;
        group.throughput(Throughput::Elements(flops as u64));
        for threads in [1, 2] {
            set_threads(threads);
            let id = |what: &str| BenchmarkId::new(format!("{what} x{threads}"), name);
            let mut result = Array::new(&[s.n, s.c_out, 1, out, out]);
            group.bench_function(id("forward"), |b| {
                b.iter(|| forward(&s, x.src(), w.src(), Some(bias.src()), result.dst()));
            });
            let mut result = Array::new(&[s.n, s.c_in, 1, size, size]);
            group.bench_function(id("input's gradient"), |b| {
                b.iter(|| backward_data(&s, y.src(), w.src(), result.dst()));
            });
            let mut result = Array::new(&[s.c_out, s.c_in, 1, 3, 3]);
            group.bench_function(id("weights' gradient"), |b| {
                b.iter(|| backward_weight(&s, x.src(), y.src(), result.dst()));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, convolutions);
criterion_main!(benches);
