//! Scaled dot-product attention and its gradients.

use super::def::{Builder, Call, Meta, Metas, op};
use super::support::{computed, float_only, output_as, row, rows_of};
use crate::args::Args;
use crate::core::Core;
use crate::device::{Device, cpu};
use crate::dtype::{DType, Scalar, legacy_name};
use crate::ensure;
use crate::error::{Error, Result};
use crate::layout::{Dims, Layout, broadcast, expands_to};
use firesteel_kernels::attention::{self, Attention, Dropout};
use firesteel_kernels::elementwise::{self, Operand, Ternary};
use firesteel_kernels::random::Philox;
use smallvec::smallvec;

/// Places of the arguments; the backward op has `grad` in front and two results after them.
#[derive(Clone, Copy)]
struct Places {
    query: usize,
    state: usize,
}

const FORWARD: Places = Places { query: 0, state: 4 };
const BACKWARD: Places = Places { query: 1, state: 5 };

/// Leading dims of all, and the sizes l, s, e, v.
struct Sizes {
    batch: Dims,
    l: usize,
    s: usize,
    e: usize,
    v: usize,
}

impl Sizes {
    /// The leading dims followed by two.
    fn shape(&self, rows: usize, cols: usize) -> Result<Dims> {
        let mut shape = self.batch;
        shape.push(rows)?;
        shape.push(cols)?;
        Ok(shape)
    }
}

fn check(a: &Args, at: Places) -> Result<Sizes> {
    let [q, k, v] = [0, 1, 2].map(|i| a.tensor(at.query + i));
    ensure!(
        q.dtype == k.dtype && q.dtype == v.dtype,
        "Expected query, key, and value to have the same dtype, but got query.dtype: {} key.dtype: {} and value.dtype: {} \
         instead.",
        legacy_name(q.dtype),
        legacy_name(k.dtype),
        legacy_name(v.dtype)
    );
    ensure!(
        q.rank() >= 2 && k.rank() >= 2 && v.rank() >= 2,
        "Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: {} key.dim: {} and value.dim: \
         {} instead.",
        q.rank(),
        k.rank(),
        v.rank()
    );
    float_only(q.dtype)?;
    let ends = [q, k, v].map(|t| {
        let d = t.rank() - 2;
        (Dims::new(&t.shape()[..d]), t.shape()[d], t.shape()[d + 1])
    });
    let [(bq, l, e), (bk, s, ek), (bv, sv, v_size)] = ends;
    ensure!(
        e == ek && s == sv,
        "query of shape {}, key of shape {} and value of shape {} do not fit together",
        q.shape(),
        k.shape(),
        v.shape()
    );
    let batch = broadcast(&broadcast(&bq?, &bk?)?, &bv?)?;
    let sizes = Sizes {
        batch,
        l,
        s,
        e,
        v: v_size,
    };
    if let Some(m) = a.opt_tensor(at.query + 3) {
        ensure!(
            m.dtype == DType::Bool || m.dtype == q.dtype,
            "Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: {} and  \
             query.dtype: {} instead.",
            legacy_name(m.dtype),
            legacy_name(q.dtype)
        );
        let want = sizes.shape(l, s)?;
        ensure!(
            expands_to(m.shape(), &want),
            "attn_mask of shape {} cannot be broadcast to {want}",
            m.shape()
        );
    }
    let p = a.float(at.state + 1);
    ensure!(
        (0.0..=1.0).contains(&p),
        "dropout probability has to be between 0 and 1, but got {p}"
    );
    if let Some(state) = a.opt_tensor(at.state) {
        ensure!(
            state.dtype == DType::I64 && state.numel() == 2,
            "the state of dropout must be two int64 numbers"
        );
    }
    Ok(sizes)
}

/// Row-major memory with the leading dims in the order of `like`'s: a tensor that was split into heads gives one whose
/// heads lie side by side, so that putting them together again copies nothing.
fn ordered_like(meta: Meta, like: &Layout) -> Meta {
    let shape = meta.shape;
    let (n, strides) = (shape.len(), like.strides());
    let plain = n != like.rank() || n < 3 || (0..n).any(|i| like.shape[i] != 1 && strides[i] <= 0);
    let mut order: Vec<usize> = (0..n - 1).collect();
    if plain || !order.iter().all(|&i| like.shape[i] == shape[i]) {
        return meta;
    }
    order.sort_by_key(|&i| std::cmp::Reverse(strides[i]));
    order.push(n - 1);
    let mut made = [0isize; firesteel_kernels::MAX_RANK];
    let mut step = 1;
    for &i in order.iter().rev() {
        made[i] = step;
        step *= shape[i].max(1) as isize;
    }
    let layout = Layout::strided(shape, &made[..n], 0);
    Meta {
        layout: (!layout.is_contiguous()).then(|| Box::new(layout)),
        ..meta
    }
}

fn forward_infer(a: &Args) -> Result<Metas> {
    let s = check(a, FORWARD)?;
    let q = a.tensor(0);
    let out = ordered_like(Meta::new(s.shape(s.l, s.v)?, q.dtype), &q.layout);
    let mut stats = s.batch;
    stats.push(s.l)?;
    Ok(smallvec![out, Meta::new(stats, q.dtype.compute())])
}

/// The mask as numbers to add.
fn added(mask: &Core, work: DType) -> Result<Core> {
    if mask.dtype != DType::Bool {
        return cpu::cast(mask, work);
    }
    let out = Core::empty(*mask.shape(), work, Device::Cpu)?;
    elementwise::ternary(
        Ternary::Where,
        work,
        Operand::View(cpu::src(mask)),
        Operand::Scalar(Scalar::Float(0.0)),
        Operand::Scalar(Scalar::Float(f64::NEG_INFINITY)),
        cpu::dst(&out),
    );
    Ok(out)
}

fn dropout(state: Option<&Core>, p: f64) -> Result<Option<Dropout>> {
    let Some(state) = state else { return Ok(None) };
    let words = cpu::to_i64(state)?;
    let philox = Philox {
        seed: words[0] as u64,
        offset: words[1] as u64,
    };
    Ok(Some(Dropout { philox, p }))
}

/// The inputs of a call, broadcast to each other, given to `f` with the sizes.
fn with_attention(c: &Call, at: Places, f: impl FnOnce(&Attention, &Sizes) -> Result<()>) -> Result<()> {
    let sizes = check(c.args, at)?;
    let [q, k, v] = [0, 1, 2].map(|i| computed(c.args.tensor(at.query + i)));
    let (q, k, v) = (q?, k?, v?);
    let mask = c.args.opt_tensor(at.query + 3).map(|m| added(m, q.dtype)).transpose()?;
    let wide =
        |c: &Core, rows, cols| -> Result<Core> { Ok(c.with_layout(c.layout.broadcast_to(&sizes.shape(rows, cols)?))) };
    let (q, k, v) = (
        wide(&q, sizes.l, sizes.e)?,
        wide(&k, sizes.s, sizes.e)?,
        wide(&v, sizes.s, sizes.v)?,
    );
    let mask = mask.map(|m| wide(&m, sizes.l, sizes.s)).transpose()?;
    let a = Attention {
        query: cpu::src(&q),
        key: cpu::src(&k),
        value: cpu::src(&v),
        mask: mask.as_ref().map(cpu::src),
        dropout: dropout(c.args.opt_tensor(at.state), c.args.float(at.state + 1))?,
        causal: c.args.bool(at.state + 2),
        scale: c.args.float(at.state + 3),
    };
    f(&a, &sizes)
}

fn forward_run(c: &Call) -> Result<()> {
    with_attention(c, FORWARD, |a, _| {
        let out = cpu::output(&c.outs[0], a.query.dtype())?;
        attention::forward(a, out.dst(), cpu::dst(&c.outs[1]));
        out.store();
        Ok(())
    })
}

fn backward_infer(a: &Args) -> Result<Metas> {
    let s = check(a, BACKWARD)?;
    let [g, q, k, v, result, lse] = [0, 1, 2, 3, 9, 10].map(|i| a.tensor(i));
    let want = s.shape(s.l, s.v)?;
    let fits = *g.shape() == want && *result.shape() == want && lse.numel() == s.shape(s.l, 1)?.numel();
    ensure!(
        fits,
        "gradient of shape {}, result of shape {} and logsumexp of shape {} where {want} was expected",
        g.shape(),
        result.shape(),
        lse.shape()
    );
    let meta = |c: &Core, rows, cols| -> Result<Meta> {
        Ok(ordered_like(Meta::new(s.shape(rows, cols)?, c.dtype), &c.layout))
    };
    Ok(smallvec![meta(q, s.l, s.e)?, meta(k, s.s, s.e)?, meta(v, s.s, s.v)?])
}

fn backward_run(c: &Call) -> Result<()> {
    with_attention(c, BACKWARD, |a, _| {
        let work = a.query.dtype();
        let [g, result] = [0, 9].map(|i| rows_of(c.args.tensor(i), work));
        let (g, result) = (g?, result?);
        let lse = cpu::contiguous(c.args.tensor(10), work)?;
        let outs = [0, 1, 2].map(|i| cpu::output(&c.outs[i], work));
        let [gq, gk, gv] = outs;
        let (gq, gk, gv) = (gq?, gk?, gv?);
        attention::backward(
            a,
            cpu::src(&g),
            cpu::src(&result),
            cpu::src(&lse),
            [gq.dst(), gk.dst(), gv.dst()],
        );
        gq.store();
        gk.store();
        gv.store();
        Ok(())
    })
}

fn factors_infer(a: &Args) -> Result<Metas> {
    let (shape, p) = (Dims::from_ints(a.ints(1))?, a.float(2));
    ensure!(!shape.is_empty(), "the weights must have a dim of keys");
    ensure!(
        (0.0..=1.0).contains(&p),
        "dropout probability has to be between 0 and 1, but got {p}"
    );
    ensure!(
        a.tensor(0).dtype == DType::I64 && a.tensor(0).numel() == 2,
        "the state of dropout must be two int64 numbers"
    );
    let d = float_only(a.dtype(3).unwrap_or(DType::F32))?;
    Ok(smallvec![Meta::new(shape, d)])
}

fn factors_run(c: &Call) -> Result<()> {
    let Some(dropout) = dropout(Some(c.args.tensor(0)), c.args.float(2))? else {
        return Err(Error::new(crate::error::ErrorKind::Runtime, "no state"));
    };
    let out = cpu::output(&c.outs[0], c.outs[0].dtype.compute())?;
    let shape = out.core.shape();
    let keys = shape[shape.len() - 1];
    let rows = shape[..shape.len() - 1].iter().product();
    attention::dropout_factors(&dropout, cpu::dst(&output_as(&out.core, row(&[rows, keys]))));
    out.store();
    Ok(())
}

/// Counters that dropout of so many weights takes.
fn state_infer(a: &Args) -> Result<Metas> {
    ensure!(a.int(0) >= 0 && a.int(1) >= 0, "sizes must not be negative");
    Ok(smallvec![Meta::new(row(&[2]), DType::I64)])
}

fn state_run(c: &Call) -> Result<()> {
    let words = Dropout::words(c.args.int(0) as usize, c.args.int(1) as usize);
    let (seed, offset) = c.args.generator(2).take(Philox::counters(words));
    cpu::with_slices_mut::<i64, _>(&[&c.outs[0]], |s| {
        for part in s {
            part.copy_from_slice(&[seed as i64, offset as i64]);
        }
    })
}

pub fn ops() -> Vec<Builder> {
    vec![
        op("_attention(query, key, value, attn_mask: Tensor? = None, state: Tensor? = None, dropout_p: float = 0, is_causal: bool = False, scale: float = 1) -> (result, logsumexp)", "softmax(query @ key^T * scale + mask) @ value without the matrix of scores; a query that may see no key gives zeros. `state` (of `_attention_state`) says which weights dropout leaves out.")
            .compute(forward_infer, forward_run)
            .hide_others()
            .function_only(),
        op("_attention_backward(grad, query, key, value, attn_mask: Tensor?, state: Tensor?, dropout_p: float, is_causal: bool, scale: float, result, logsumexp) -> (grad_query, grad_key, grad_value)", "Gradients of `_attention` with respect to query, key and value, of which none is broadcast.")
            .compute(backward_infer, backward_run)
            .no_out()
            .function_only(),
        op("_attention_state(rows: int, keys: int, *, generator: Generator? = None)", "Takes the random numbers that dropout of rows * keys weights needs: seed and first counter.")
            .compute(state_infer, state_run)
            .no_out()
            .function_only()
            .random(),
        op("_attention_factors(state, size: int[], p: float, *, dtype: dtype? = None)", "The factors by which dropout multiplies weights of this size: 0 or 1 / (1 - p).")
            .compute(factors_infer, factors_run)
            .no_out()
            .function_only(),
    ]
}
