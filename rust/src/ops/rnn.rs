//! LSTM and GRU: all steps of one direction of one layer.

use super::def::{Builder, Call, Meta, Metas, op};
use super::support::{float_only, row, with_float};
use crate::args::Args;
use crate::core::Core;
use crate::device::cpu;
use crate::dtype::{DType, legacy_name};
use crate::ensure;
use crate::error::Result;
use firesteel_kernels::rnn::{self, Gates, RnnShape};
use smallvec::smallvec;

/// Sizes from the input's part of the gates `[t, n, count * h]` and the first state `[n, state]`.
fn shape(gates: &Core, h: &Core, weight: &Core, count: usize, reverse: bool) -> Result<RnnShape> {
    shape_of(gates.shape(), gates.dtype, h, weight, count, reverse)
}

/// The same of gates that are still to be made.
fn shape_of(g: &[usize], dtype: DType, h: &Core, weight: &Core, count: usize, reverse: bool) -> Result<RnnShape> {
    let (s, w) = (h.shape(), weight.shape());
    let fits = g.len() == 3 && s.len() == 2 && w.len() == 2 && g[2].is_multiple_of(count);
    ensure!(
        fits && s[0] == g[1] && w[0] == g[2] && w[1] == s[1] && (g[0] <= 1 || s[1] == g[2] / count),
        "gates of shape {g:?}, state of shape {s} and weight of shape {w} do not fit together"
    );
    ensure!(
        dtype == h.dtype && dtype == weight.dtype,
        "gates, state and weight must have one dtype, but got {}, {} and {}",
        legacy_name(dtype),
        legacy_name(h.dtype),
        legacy_name(weight.dtype)
    );
    float_only(dtype)?;
    Ok(RnnShape {
        steps: g[0],
        rows: g[1],
        hidden: g[2] / count,
        state: s[1],
        reverse,
    })
}

fn expect(c: Option<&Core>, want: &[usize], dtype: DType, name: &str) -> Result<()> {
    if let Some(c) = c {
        let want = row(want);
        ensure!(
            *c.shape() == want && c.dtype == dtype,
            "{name} must be of shape {want} and {}, but is of shape {} and {}",
            legacy_name(dtype),
            c.shape(),
            legacy_name(c.dtype)
        );
    }
    Ok(())
}

/// Shapes of a layer's arrays.
struct Sizes(RnnShape);

impl Sizes {
    fn of(s: RnnShape) -> Sizes {
        Sizes(s)
    }
    fn all(&self, count: usize) -> [usize; 3] {
        [self.0.steps, self.0.rows, count * self.0.hidden]
    }
    fn one(&self) -> [usize; 2] {
        [self.0.rows, self.0.hidden]
    }
    fn state(&self) -> [usize; 2] {
        [self.0.rows, self.0.state]
    }
}

fn inputs<const N: usize>(c: &Call, places: [usize; N], work: DType) -> Result<Vec<Core>> {
    places
        .iter()
        .map(|&i| cpu::contiguous(c.args.tensor(i), work))
        .collect()
}

fn optional(c: &Call, i: usize, work: DType) -> Result<Option<Core>> {
    c.args.opt_tensor(i).map(|t| cpu::contiguous(t, work)).transpose()
}

/// Room for the outputs in the dtype of the kernels.
fn outputs(c: &Call, work: DType) -> Result<Vec<cpu::Output>> {
    c.outs.iter().map(|o| cpu::contiguous_output(o, work)).collect()
}

/// Calls `f` with the outputs' elements and stores them.
macro_rules! write {
    ($c:expr, $work:expr, $t:ident, [$($name:ident),*] => $body:expr) => {{
        let made = outputs($c, $work)?;
        let cores: Vec<&Core> = made.iter().map(|o| &o.core).collect();
        cpu::with_slices_mut::<$t, _>(&cores, |parts| {
            let mut parts = parts.into_iter();
            $(let $name = parts.next().expect("an output");)*
            $body
        })?;
        made.into_iter().for_each(cpu::Output::store);
    }};
}

// ---- LSTM ---------------------------------------------------------------------------------------------------------------

/// Sizes of `_lstm`; the input is that of the layer if there is a weight for it, else the gates.
fn lstm_shape(a: &Args) -> Result<RnnShape> {
    let input = a.tensor(0);
    let s = match a.opt_tensor(5) {
        None => shape(input, a.tensor(1), a.tensor(3), 4, a.bool(4))?,
        Some(map) => {
            let (x, w) = (input.shape(), map.shape());
            ensure!(
                x.len() == 3 && w.len() == 2 && w[1] == x[2] && map.dtype == input.dtype,
                "input of shape {x} and {} and its weight of shape {w} and {} do not fit together",
                legacy_name(input.dtype),
                legacy_name(map.dtype)
            );
            let gates = Meta::new(row(&[x[0], x[1], w[0]]), input.dtype);
            expect(a.opt_tensor(6), &[w[0]], input.dtype, "the bias")?;
            shape_of(&gates.shape, gates.dtype, a.tensor(1), a.tensor(3), 4, a.bool(4))?
        }
    };
    expect(Some(a.tensor(2)), &[s.rows, s.hidden], input.dtype, "the cell")?;
    Ok(s)
}

fn lstm_infer(a: &Args) -> Result<Metas> {
    let s = Sizes::of(lstm_shape(a)?);
    let d = a.tensor(0).dtype;
    let (out, kept) = (row(&s.all(1)), d.compute());
    Ok(smallvec![
        Meta::new(out, d),
        Meta::new(row(&s.one()), d),
        Meta::new(out, kept),
        Meta::new(row(&s.all(4)), kept)
    ])
}

fn lstm_run(c: &Call) -> Result<()> {
    let s = lstm_shape(c.args)?;
    let work = c.args.tensor(0).dtype.compute();
    let x = inputs(c, [0, 1, 2, 3], work)?;
    let (map, bias) = (optional(c, 5, work)?, optional(c, 6, work)?);
    with_float!(work, T => {
        let [input, h, cell, weight] = [0, 1, 2, 3].map(|i| cpu::slice::<T>(&x[i]));
        let gates = match &map {
            None => Gates::Made(input),
            Some(map) => Gates::Of {
                input,
                weight: cpu::slice::<T>(map),
                bias: bias.as_ref().map(cpu::slice::<T>),
                size: x[0].shape()[2],
            },
        };
        write!(c, work, T, [out, last, cells, acts] => {
            rnn::lstm_forward(s, gates, [h, cell], weight, [out, &mut *cells, acts]);
            match if s.reverse { Some(0) } else { s.steps.checked_sub(1) } {
                Some(t) if s.steps > 0 => last.copy_from_slice(&cells[t * last.len()..][..last.len()]),
                _ => last.copy_from_slice(cell),
            }
        });
    });
    Ok(())
}

/// grad, grad_cell, h, c, weight, cells, acts, reverse
fn lstm_backward_shape(a: &Args) -> Result<RnnShape> {
    let s = shape(a.tensor(6), a.tensor(2), a.tensor(4), 4, a.bool(7))?;
    let (sizes, d) = (Sizes::of(s), a.tensor(2).dtype);
    expect(a.opt_tensor(0), &sizes.all(1), d, "the gradient")?;
    expect(a.opt_tensor(1), &sizes.one(), d, "the cell's gradient")?;
    expect(Some(a.tensor(3)), &sizes.one(), d, "the cell")?;
    expect(Some(a.tensor(5)), &sizes.all(1), d.compute(), "the cells")?;
    Ok(s)
}

fn lstm_backward_infer(a: &Args) -> Result<Metas> {
    let s = Sizes::of(lstm_backward_shape(a)?);
    let d = a.tensor(2).dtype;
    Ok(smallvec![
        Meta::new(row(&s.all(4)), d),
        Meta::new(row(&s.state()), d),
        Meta::new(row(&s.one()), d)
    ])
}

fn lstm_backward_run(c: &Call) -> Result<()> {
    let s = lstm_backward_shape(c.args)?;
    let work = c.args.tensor(2).dtype.compute();
    let (grad, grad_cell) = (optional(c, 0, work)?, optional(c, 1, work)?);
    let x = inputs(c, [3, 4, 5, 6], work)?;
    with_float!(work, T => {
        let [cell, weight, cells, acts] = [0, 1, 2, 3].map(|i| cpu::slice::<T>(&x[i]));
        let grads = [grad.as_ref(), grad_cell.as_ref()].map(|g| g.map(cpu::slice::<T>));
        write!(c, work, T, [gates, h, last] => {
            rnn::lstm_backward(s, grads, cell, weight, [cells, acts], [gates, h, last])
        });
    });
    Ok(())
}

// ---- GRU ----------------------------------------------------------------------------------------------------------------

fn gru_shape(a: &Args) -> Result<RnnShape> {
    let s = shape(a.tensor(0), a.tensor(1), a.tensor(2), 3, a.bool(4))?;
    expect(Some(a.tensor(1)), &[s.rows, s.hidden], a.tensor(0).dtype, "the state")?;
    expect(a.opt_tensor(3), &[3 * s.hidden], a.tensor(0).dtype, "the bias")?;
    Ok(s)
}

fn gru_infer(a: &Args) -> Result<Metas> {
    let s = Sizes::of(gru_shape(a)?);
    let d = a.tensor(0).dtype;
    Ok(smallvec![
        Meta::new(row(&s.all(1)), d),
        Meta::new(row(&s.all(4)), d.compute())
    ])
}

fn gru_run(c: &Call) -> Result<()> {
    let s = gru_shape(c.args)?;
    let work = c.args.tensor(0).dtype.compute();
    let x = inputs(c, [0, 1, 2], work)?;
    let bias = optional(c, 3, work)?;
    with_float!(work, T => {
        let [gates, h, weight] = [0, 1, 2].map(|i| cpu::slice::<T>(&x[i]));
        let bias = bias.as_ref().map(cpu::slice::<T>);
        write!(c, work, T, [out, acts] => rnn::gru_forward(s, gates, h, weight, bias, [out, acts]));
    });
    Ok(())
}

/// grad, h, weight, result, acts, reverse
fn gru_backward_shape(a: &Args) -> Result<RnnShape> {
    let kept = a.tensor(4).shape();
    ensure!(
        kept.len() == 3 && kept[2].is_multiple_of(4),
        "what the derivative needs has the wrong shape {kept}"
    );
    let s = RnnShape {
        steps: kept[0],
        rows: kept[1],
        hidden: kept[2] / 4,
        state: kept[2] / 4,
        reverse: a.bool(5),
    };
    float_only(a.tensor(1).dtype)?;
    let (sizes, d) = (Sizes::of(s), a.tensor(1).dtype);
    expect(Some(a.tensor(0)), &sizes.all(1), d, "the gradient")?;
    expect(Some(a.tensor(1)), &sizes.one(), d, "the state")?;
    expect(Some(a.tensor(2)), &[3 * s.hidden, s.hidden], d, "the weight")?;
    expect(Some(a.tensor(3)), &sizes.all(1), d, "the result")?;
    Ok(s)
}

fn gru_backward_infer(a: &Args) -> Result<Metas> {
    let s = Sizes::of(gru_backward_shape(a)?);
    let d = a.tensor(1).dtype;
    let gates = Meta::new(row(&s.all(3)), d);
    Ok(smallvec![gates.clone(), gates, Meta::new(row(&s.state()), d)])
}

fn gru_backward_run(c: &Call) -> Result<()> {
    let s = gru_backward_shape(c.args)?;
    let work = c.args.tensor(1).dtype.compute();
    let x = inputs(c, [0, 1, 2, 3, 4], work)?;
    with_float!(work, T => {
        let [grad, h, weight, out, acts] = [0, 1, 2, 3, 4].map(|i| cpu::slice::<T>(&x[i]));
        write!(c, work, T, [gates, mapped, first] => {
            rnn::gru_backward(s, grad, h, weight, [out, acts], [gates, mapped, first])
        });
    });
    Ok(())
}

pub fn ops() -> Vec<Builder> {
    vec![
        op("_lstm(input, h, c, weight, reverse: bool = False, weight_ih: Tensor? = None, bias: Tensor? = None) -> (result, cell, cells, acts)", "All steps of an LSTM's direction: input [T, N, I] is mapped to gates by weight_ih [4H, I] and bias [4H], or, without weight_ih, it is the gates [T, N, 4H] with the input's part and the biases; h [N, H] and c [N, H] are the first state, weight is [4H, H]. Gives the outputs [T, N, H], the last cell, and what the derivative needs. With one step the state may be of another size.")
            .compute(lstm_infer, lstm_run)
            .nondiff_output(2)
            .nondiff_output(3)
            .no_out()
            .function_only(),
        op("_lstm_backward(grad: Tensor?, grad_cell: Tensor?, h, c, weight, cells, acts, reverse: bool = False) -> (grad_gates, grad_h, grad_c)", "Gradients of `_lstm` with respect to gates and first state.")
            .compute(lstm_backward_infer, lstm_backward_run)
            .no_out()
            .function_only(),
        op("_gru(gates, h, weight, bias: Tensor? = None, reverse: bool = False) -> (result, acts)", "All steps of a GRU's direction: gates [T, N, 3H] hold the input's part and its bias, h [N, H] the first state, weight [3H, H] and bias [3H] make the state's part. Gives the outputs [T, N, H], and what the derivative needs.")
            .compute(gru_infer, gru_run)
            .hide_others()
            .function_only(),
        op("_gru_backward(grad, h, weight, result, acts, reverse: bool = False) -> (grad_gates, grad_mapped, grad_h)", "Gradients of `_gru` with respect to the input's part of the gates, the state's part, and the first state.")
            .compute(gru_backward_infer, gru_backward_run)
            .no_out()
            .function_only(),
    ]
}
