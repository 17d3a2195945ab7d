//! Attention (forward and backward) and the recurrent layers.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use firesteel_benches::Array;
use firesteel_kernels::attention::{Attention, backward, forward};
use firesteel_kernels::parallel::set_threads;
use firesteel_kernels::rnn::{Gates, RnnShape, gru_forward, lstm_forward};
use std::time::Duration;

fn attention(c: &mut Criterion) {
    let mut group = c.benchmark_group("attention");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1));
    for [heads, tokens, size] in [[32, 64, 32], [32, 128, 32], [32, 512, 64], [12, 1024, 64]] {
        let make = || Array::new(&[heads, tokens, size]);
        let (q, k, v, grad) = (make(), make(), make(), make());
        let [mut out, mut gq, mut gk, mut gv] = [make(), make(), make(), make()];
        let mut sums = Array::new(&[heads, tokens]);
        group.throughput(Throughput::Elements((4 * heads * tokens * tokens * size) as u64));
        for causal in [false, true] {
            let a = Attention {
                query: q.any_src(),
                key: k.any_src(),
                value: v.any_src(),
                mask: None,
                dropout: None,
                causal,
                scale: 0.2,
            };
            for threads in [1, 2] {
                set_threads(threads);
                let name = format!("{heads} x {tokens} x {size}{}", if causal { " causal" } else { "" });
                group.bench_function(BenchmarkId::new(format!("forward x{threads}"), &name), |b| {
                    b.iter(|| forward(&a, out.any_dst(), sums.any_dst()));
                });
                group.bench_function(BenchmarkId::new(format!("backward x{threads}"), &name), |b| {
                    b.iter(|| {
                        let grads = [gq.any_dst(), gk.any_dst(), gv.any_dst()];
                        backward(&a, grad.any_src(), out.any_src(), sums.any_src(), grads)
                    });
                });
            }
        }
    }
    group.finish();
}

fn recurrent(c: &mut Criterion) {
    let mut group = c.benchmark_group("recurrent");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1));
    let hidden = 128;
    for [steps, rows] in [[50, 16], [100, 16], [50, 64]] {
        let shape = RnnShape {
            steps,
            rows,
            hidden,
            state: hidden,
            reverse: false,
        };
        let numbers = |n: usize| {
            (0..n)
                .map(|i| ((i * 37 % 101) as f32 - 50.0) / 500.0)
                .collect::<Vec<f32>>()
        };
        let (gates, weight) = (numbers(steps * rows * 4 * hidden), numbers(4 * hidden * hidden));
        let zeros = vec![0.0f32; rows * hidden];
        let [mut out, mut cells] = [0, 0].map(|_| vec![0.0f32; steps * rows * hidden]);
        let mut acts = vec![0.0f32; steps * rows * 4 * hidden];
        let id =
            |what: &str, threads: usize| BenchmarkId::new(format!("{what} x{threads}"), format!("{steps} x {rows}"));
        for threads in [1, 2] {
            set_threads(threads);
            group.bench_function(id("LSTM", threads), |b| {
                b.iter(|| {
                    lstm_forward(
                        shape,
                        Gates::Made(&gates),
                        [&zeros, &zeros],
                        &weight,
                        [&mut out, &mut cells, &mut acts],
                    )
                });
            });
            let (gates, weight) = (&gates[..steps * rows * 3 * hidden], &weight[..3 * hidden * hidden]);
            group.bench_function(id("GRU", threads), |b| {
                b.iter(|| gru_forward(shape, gates, &zeros, weight, None, [&mut out, &mut acts]));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, attention, recurrent);
criterion_main!(benches);
