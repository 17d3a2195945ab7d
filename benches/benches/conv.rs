//! The convolutions of the MNIST CNN (batch 64) and some of ResNet's: forward, gradient of the input, gradient of the
//! weights.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use firesteel_benches::Array;
use firesteel_kernels::conv::{ConvShape, backward_data, backward_weight, forward};
use firesteel_kernels::parallel::set_threads;
use std::time::Duration;

/// A 2-D convolution: a kernel of k x k, the same padding and stride in both dims.
fn shape([n, c_in, c_out, size, k]: [usize; 5], [stride, padding, groups]: [usize; 3]) -> ConvShape {
    let out = (size + 2 * padding - k) / stride + 1;
    ConvShape {
        n,
        c_in,
        c_out,
        groups,
        input: [1, size, size],
        kernel: [1, k, k],
        stride: [1, stride, stride],
        padding: [0, padding, padding],
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
        ("1 to 32", shape([64, 1, 32, 28, 3], [1, 0, 1])),
        ("32 to 64", shape([64, 32, 64, 26, 3], [1, 0, 1])),
        ("stem, 7x7", shape([1, 3, 64, 224, 7], [2, 3, 1])),
        ("64 to 64", shape([8, 64, 64, 56, 3], [1, 1, 1])),
        ("64 to 128, stride 2", shape([8, 64, 128, 56, 3], [2, 1, 1])),
        ("1x1", shape([8, 256, 64, 56, 1], [1, 0, 1])),
        ("1x1, stride 2", shape([8, 256, 512, 28, 1], [2, 0, 1])),
        ("one channel, 5x5", shape([16, 1, 16, 64, 5], [1, 2, 1])),
        ("depthwise", shape([8, 64, 64, 56, 3], [1, 1, 64])),
        ("depthwise, 14x14", shape([8, 256, 256, 14, 3], [1, 1, 256])),
        ("depthwise, stride 2", shape([8, 64, 64, 56, 3], [2, 1, 64])),
    ] {
        let [_, size, _] = s.input;
        let [_, out, _] = s.output;
        let x = Array::new(&[s.n, s.c_in, 1, size, size]);
        let (channels, [_, _, k]) = (s.c_in / s.groups, s.kernel);
        let w = Array::new(&[s.c_out, channels, 1, k, k]);
        let bias = Array::new(&[s.c_out]);
        let y = Array::new(&[s.n, s.c_out, 1, out, out]);
        let flops = 2 * s.n * s.c_out * out * out * channels * k * k;
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
            let mut result = Array::new(&[s.c_out, channels, 1, k, k]);
            group.bench_function(id("weights' gradient"), |b| {
                b.iter(|| backward_weight(&s, x.src(), y.src(), result.dst()));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, convolutions);
criterion_main!(benches);
