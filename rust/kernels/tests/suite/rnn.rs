//! LSTM and GRU against the definition, gradients against differences, the same bits at any number of threads.

use crate::testing::{self, with_threads};
use firesteel_kernels::internals::{gru, lstm};
use firesteel_kernels::rnn::*;
use firesteel_kernels::simd::isa;

fn numbers<T: RnnElement>(n: usize, seed: u32) -> Vec<T> {
    testing::numbers(n, seed).into_iter().map(T::c).collect()
}

const SIZES: [[usize; 3]; 8] = [
    [1, 1, 1],
    [2, 3, 7],
    [5, 9, 16],
    [3, 17, 33],
    [4, 1, 64],
    [0, 2, 3],
    [3, 0, 4],
    [2, 40, 65],
];

trait Steps {
    /// Steps in the order in which they are computed.
    fn order(self) -> impl Iterator<Item = usize>;
    /// Elements of an array with `width` numbers per row and step.
    fn all(self, width: usize) -> usize;
}

impl Steps for RnnShape {
    fn order(self) -> impl Iterator<Item = usize> {
        (0..self.steps).map(move |i| if self.reverse { self.steps - 1 - i } else { i })
    }
    fn all(self, width: usize) -> usize {
        self.steps * self.rows * width
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The sum of all outputs and last cells with weights, by the definition.
fn lstm_loss(s: RnnShape, x: &[f64], h: &[f64], c: &[f64], w: &[f64], weights: &[f64]) -> f64 {
    let n = s.hidden;
    let mut loss = 0.0;
    for r in 0..s.rows {
        let (mut state, mut cell) = (h[r * n..][..n].to_vec(), c[r * n..][..n].to_vec());
        for t in s.order() {
            let gate = |g: usize, j: usize| {
                let at = g * n + j;
                let sum: f64 = (0..n).map(|p| w[at * n + p] * state[p]).sum();
                x[((t * s.rows + r) * 4 * n) + at] + sum
            };
            let new: Vec<(f64, f64)> = (0..n)
                .map(|j| {
                    let c = sigmoid(gate(1, j)) * cell[j] + sigmoid(gate(0, j)) * gate(2, j).tanh();
                    (sigmoid(gate(3, j)) * c.tanh(), c)
                })
                .collect();
            (state, cell) = new.into_iter().unzip();
            for j in 0..n {
                loss += state[j] * weights[(t * s.rows + r) * n + j];
            }
        }
        loss += cell
            .iter()
            .enumerate()
            .map(|(j, c)| c * weights[r * n + j])
            .sum::<f64>();
    }
    loss
}

fn gru_loss(s: RnnShape, x: &[f64], h: &[f64], w: &[f64], bias: &[f64], weights: &[f64]) -> f64 {
    let n = s.hidden;
    let mut loss = 0.0;
    for r in 0..s.rows {
        let mut state = h[r * n..][..n].to_vec();
        for t in s.order() {
            let input = |g: usize, j: usize| x[(t * s.rows + r) * 3 * n + g * n + j];
            let mapped = |g: usize, j: usize| {
                let at = g * n + j;
                bias[at] + (0..n).map(|p| w[at * n + p] * state[p]).sum::<f64>()
            };
            state = (0..n)
                .map(|j| {
                    let reset = sigmoid(input(0, j) + mapped(0, j));
                    let update = sigmoid(input(1, j) + mapped(1, j));
                    let new = (input(2, j) + reset * mapped(2, j)).tanh();
                    new + update * (state[j] - new)
                })
                .collect();
            for j in 0..n {
                loss += state[j] * weights[(t * s.rows + r) * n + j];
            }
        }
    }
    loss
}

/// Compares a gradient with central differences of `f` at a few places.
fn check(got: &[f64], at: &[f64], f: impl Fn(&[f64]) -> f64, what: &str) {
    for i in (0..at.len()).step_by(at.len() / 5 + 1) {
        let moved = |by: f64| {
            let mut x = at.to_vec();
            x[i] += by;
            f(&x)
        };
        let want = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert!(
            (got[i] - want).abs() < 1e-7 * (1.0 + want.abs()),
            "{what}[{i}]: {} {want}",
            got[i]
        );
    }
}

#[test]
fn lstm_by_the_definition() {
    for [steps, rows, hidden] in SIZES {
        for reverse in [false, true] {
            let s = RnnShape {
                steps,
                rows,
                hidden,
                state: hidden,
                reverse,
            };
            let (x, w) = (numbers(s.all(4 * hidden), 1), numbers(4 * hidden * hidden, 2));
            let (h, c): (Vec<f64>, Vec<f64>) = (numbers(rows * hidden, 3), numbers(rows * hidden, 4));
            let weights: Vec<f64> = numbers(s.all(hidden).max(rows * hidden), 5);
            let [mut out, mut cells] = [0, 0].map(|_| vec![0.0; s.all(hidden)]);
            let mut acts = vec![0.0; s.all(4 * hidden)];
            lstm_forward(s, Gates::Made(&x), [&h, &c], &w, [&mut out, &mut cells, &mut acts]);
            let last = if reverse { 0 } else { steps.saturating_sub(1) };
            let last_cell = if steps == 0 {
                &c[..]
            } else {
                &cells[last * rows * hidden..][..rows * hidden]
            };
            let sum = |a: &[f64]| a.iter().zip(&weights).map(|(a, b)| a * b).sum::<f64>();
            let (got, want) = (sum(&out) + sum(last_cell), lstm_loss(s, &x, &h, &c, &w, &weights));
            assert!((got - want).abs() < 1e-11 * (1.0 + want.abs()), "{s:?}: {got} {want}");
            let mut gates = vec![0.0; s.all(4 * hidden)];
            let [mut gh, mut gc] = [0, 0].map(|_| vec![7.0; rows * hidden]);
            let grads = [Some(&weights[..s.all(hidden)]), Some(&weights[..rows * hidden])];
            lstm_backward(s, grads, &c, &w, [&cells, &acts], [&mut gates, &mut gh, &mut gc]);
            check(&gates, &x, |x| lstm_loss(s, x, &h, &c, &w, &weights), "gates");
            check(&gh, &h, |h| lstm_loss(s, &x, h, &c, &w, &weights), "h");
            check(&gc, &c, |c| lstm_loss(s, &x, &h, c, &w, &weights), "c");
        }
    }
}

#[test]
fn gru_by_the_definition() {
    for [steps, rows, hidden] in SIZES {
        for reverse in [false, true] {
            let s = RnnShape {
                steps,
                rows,
                hidden,
                state: hidden,
                reverse,
            };
            let (x, w) = (numbers(s.all(3 * hidden), 1), numbers(3 * hidden * hidden, 2));
            let (h, bias): (Vec<f64>, Vec<f64>) = (numbers(rows * hidden, 3), numbers(3 * hidden, 4));
            let weights: Vec<f64> = numbers(s.all(hidden), 5);
            let (mut out, mut acts) = (vec![0.0; s.all(hidden)], vec![0.0; s.all(4 * hidden)]);
            gru_forward(s, &x, &h, &w, Some(&bias), [&mut out, &mut acts]);
            let got: f64 = out.iter().zip(&weights).map(|(a, b)| a * b).sum();
            let want = gru_loss(s, &x, &h, &w, &bias, &weights);
            assert!((got - want).abs() < 1e-11 * (1.0 + want.abs()), "{s:?}: {got} {want}");
            let [mut gates, mut mapped] = [0, 0].map(|_| vec![0.0; s.all(3 * hidden)]);
            let mut gh = vec![7.0; rows * hidden];
            gru_backward(s, &weights, &h, &w, [&out, &acts], [&mut gates, &mut mapped, &mut gh]);
            check(&gates, &x, |x| gru_loss(s, x, &h, &w, &bias, &weights), "gates");
            check(&gh, &h, |h| gru_loss(s, &x, h, &w, &bias, &weights), "h");
            let total: Vec<f64> = (0..3 * hidden)
                .map(|j| mapped.iter().skip(j).step_by(3 * hidden).sum())
                .collect();
            check(&total, &bias, |b| gru_loss(s, &x, &h, &w, b, &weights), "bias");
        }
    }
}

#[test]
fn threads_change_no_bit() {
    let s = RnnShape {
        steps: 6,
        rows: 37,
        hidden: 70,
        state: 70,
        reverse: false,
    };
    let (x, w) = (numbers::<f32>(s.all(280), 1), numbers(280 * 70, 2));
    let zeros = vec![0.0; 37 * 70];
    let run = |threads| {
        let _turn = with_threads(threads);
        let [mut out, mut cells] = [0, 0].map(|_| vec![0.0; s.all(70)]);
        let mut acts = vec![0.0; s.all(280)];
        lstm_forward(
            s,
            Gates::Made(&x),
            [&zeros, &zeros],
            &w,
            [&mut out, &mut cells, &mut acts],
        );
        (out, cells, acts)
    };
    assert!(run(1) == run(2) && run(1) == run(3), "{:?}", isa());
}

#[test]
fn an_input_is_mapped_like_any_product() {
    for [steps, rows, hidden] in SIZES.into_iter().chain([[20, 16, 20], [3, 70, 9]]) {
        for (size, reverse) in [(0, false), (1, true), (7, false), (33, true), (64, false)] {
            let s = RnnShape {
                steps,
                rows,
                hidden,
                state: hidden,
                reverse,
            };
            let (x, map) = (numbers::<f32>(s.all(size), 1), numbers::<f32>(4 * hidden * size, 2));
            let (bias, w) = (numbers::<f32>(4 * hidden, 3), numbers(4 * hidden * hidden, 4));
            let (h, c) = (numbers(rows * hidden, 5), numbers(rows * hidden, 6));
            for bias in [None, Some(&bias[..])] {
                let mut gates = Vec::new();
                for (row, j) in (0..steps * rows).flat_map(|row| (0..4 * hidden).map(move |j| (row, j))) {
                    let of = x[row * size..][..size].iter().zip(&map[j * size..]);
                    let sum = of.fold(0.0, |sum, (x, w)| x.mul_add(*w, sum));
                    gates.push(bias.map_or(sum, |b| sum + b[j]));
                }
                let run = |gates: Gates<f32>| {
                    let [mut out, mut cells] = [0, 0].map(|_| vec![0.0; s.all(hidden)]);
                    let mut acts = vec![0.0; s.all(4 * hidden)];
                    lstm_forward(s, gates, [&h, &c], &w, [&mut out, &mut cells, &mut acts]);
                    (out, cells, acts)
                };
                let given = run(Gates::Made(&gates));
                let made = run(Gates::Of {
                    input: &x,
                    weight: &map,
                    bias,
                    size,
                });
                assert!(given == made, "{s:?} of {size}");
            }
        }
    }
}

#[test]
fn vectors_give_the_bits_of_numbers() {
    for size in [1, 7, 8, 15, 16, 17, 63, 64, 65, 127, 128, 200] {
        let rows = 3;
        let (gates, mapped) = (
            numbers::<f32>(rows * (4 * size + 5), 1),
            numbers::<f32>(rows * 3 * size, 2),
        );
        let large: Vec<f32> = gates.iter().map(|x| 9.0 * x).collect();
        let before = numbers::<f32>(rows * size, 3);
        let lstm = |step: lstm::StepFn<f32>| {
            let [mut cell, mut out] = [0, 0].map(|_| vec![0.0; rows * size]);
            let mut acts = vec![0.0; rows * 4 * size];
            step(size, (&large, 4 * size + 5), &before, [&mut acts, &mut cell, &mut out]);
            (acts, cell, out)
        };
        assert!(lstm(f32::lstm_step()) == lstm(lstm::step), "{size}");
        let acts = &large[..rows * 4 * size];
        let back = |step: lstm::BackFn<f32>| {
            let (mut cell, mut to) = (mapped[..rows * size].to_vec(), vec![0.0; rows * 4 * size]);
            step(
                size,
                acts,
                &[&gates[..rows * size], &before],
                &large[..rows * size],
                [&mut cell, &mut to],
            );
            (cell, to)
        };
        assert!(back(f32::lstm_step_back()) == back(lstm::step_back), "{size}");
        let gru = |step: gru::StepFn<f32>| {
            let (mut acts, mut out) = (vec![0.0; rows * 4 * size], vec![0.0; rows * size]);
            step(size, &large[..rows * 3 * size], &mapped, &before, [&mut acts, &mut out]);
            (acts, out)
        };
        assert!(gru(f32::gru_step()) == gru(gru::step), "{size}");
    }
}
