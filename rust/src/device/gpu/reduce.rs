//! Reductions over any dims: a thread, or a workgroup, for each element of the result.
//!
//! The order of additions is a function of shapes alone. Runs longer than [`CHUNK`] are cut: old versions of Mesa end a
//! shader's loops after 65,535 rounds.

use super::map::Walk;
use super::shader::{EACH, ROW, Word, header, linked};
use super::{Buffers, GROUP, fill, groups, run, size32, word};
use crate::core::Core;
use crate::device::Device;
use crate::device::wgpu::{self, Job};
use crate::dtype::{DType, Scalar};
use crate::error::Result;
use crate::layout::{Dims, Layout};

/// Elements that one thread goes through at most where a thread makes an element of the result.
const SHORT: usize = 128;
/// Elements that one workgroup joins.
const CHUNK: usize = 1 << 16;

/// A reduction's texts.
#[derive(Clone, Copy)]
pub struct Fold {
    /// What the elements are seen as, and what `acc` is.
    pub seen: Word,
    pub acc: Word,
    pub init: &'static str,
    /// From `acc`, the element `v` and, if there is one, that of the second operand, `b`.
    pub step: &'static str,
    /// Of two accumulators, `acc` and `v`.
    pub join: &'static str,
    /// From `acc` and two numbers, `n0` and `n1`.
    pub finish: &'static str,
    pub numbers: [f32; 2],
    /// The result of nothing.
    pub empty: f64,
}

impl Fold {
    pub const fn floats(init: &'static str, step: &'static str, join: &'static str) -> Fold {
        Fold {
            seen: Word::Float,
            acc: Word::Float,
            init,
            step,
            join,
            finish: "acc",
            numbers: [0.0; 2],
            empty: 0.0,
        }
    }
    pub const fn ints(seen: Word, init: &'static str, step: &'static str, join: &'static str) -> Fold {
        Fold {
            seen,
            acc: Word::Int,
            ..Fold::floats(init, step, join)
        }
    }
    pub const fn finish(mut self, text: &'static str, numbers: [f32; 2]) -> Fold {
        self.finish = text;
        self.numbers = numbers;
        self
    }
    pub const fn empty(mut self, value: f64) -> Fold {
        self.empty = value;
        self
    }
}

/// A layout's dims that `mask` names, and the others; both with its offset.
fn apart(l: &Layout, mask: &[bool]) -> (Layout, Layout) {
    let (mut reduced, mut kept) = (*l, *l);
    for d in (0..l.rank()).rev() {
        if mask[d] {
            kept = kept.remove(d);
        } else {
            reduced = reduced.remove(d);
        }
    }
    (reduced, kept)
}

/// Joins the elements of `x` over the dims in `mask` into `out`, whose layout `place` has those dims with size 1. `with` is
/// a second operand, of a shape that broadcasts to `x`'s.
pub fn reduce(fold: &Fold, x: &Core, mask: &[bool], with: Option<&Core>, out: &Core, place: &Layout) -> Result<()> {
    if out.numel() == 0 {
        return Ok(());
    }
    let n: usize = (0..x.rank()).filter(|&d| mask[d]).map(|d| x.shape()[d]).product();
    if n == 0 {
        return fill(out, Scalar::Float(fold.empty));
    }
    let chunks = n.div_ceil(CHUNK);
    if chunks == 1 {
        return stage(fold, x, mask, with, out, place, n, 1);
    }
    // In two stages: pieces of the run, then their joint.
    let kept = out.numel();
    let acc = if fold.acc == Word::Int { DType::I32 } else { DType::F32 };
    let parts = Core::empty(Dims::new(&[kept, chunks])?, acc, Device::Gpu)?;
    let first = Fold { finish: "acc", ..*fold };
    stage(&first, x, mask, with, &parts, &parts.layout, n, chunks)?;
    let second = Fold {
        seen: fold.acc,
        step: fold.join,
        ..*fold
    };
    let (flat, whole) = (place_of(out, place, mask)?, [false, true]);
    if flat.is_contiguous() {
        let rows = Layout::strided(Dims::new(&[kept, 1])?, &[1, 0], flat.offset);
        return reduce(&second, &parts, &whole, None, out, &rows);
    }
    let temp = Core::empty(Dims::new(&[kept])?, out.dtype, Device::Gpu)?;
    let rows = Layout::strided(Dims::new(&[kept, 1])?, &[1, 0], 0);
    reduce(&second, &parts, &whole, None, &temp, &rows)?;
    super::copy(
        &temp.with_layout(Layout::contiguous(flat.shape)),
        &out.with_layout(flat),
    )
}

/// The output's dims that are kept.
fn place_of(_: &Core, place: &Layout, mask: &[bool]) -> Result<Layout> {
    Ok(apart(place, mask).1)
}

/// One pass. With more than one chunk, `out` is row-major `[kept, chunks]`.
fn stage(
    fold: &Fold,
    x: &Core,
    mask: &[bool],
    with: Option<&Core>,
    out: &Core,
    place: &Layout,
    n: usize,
    chunks: usize,
) -> Result<()> {
    let gpu = wgpu::get()?;
    let (xr, xk) = apart(&x.layout, mask);
    let kept = xk.numel();
    let ok = if chunks > 1 {
        // Its places follow from the row's number; the walk has to have something.
        Layout::strided(xk.shape, &[0; 8][..xk.rank()], 0)
    } else {
        apart(place, mask).1
    };
    let mut buffers = Buffers::default();
    let to = buffers.add(out, true)?;
    let from = buffers.add(x, false)?;
    let (mut keep, mut along) = (vec![xk, ok], vec![xr]);
    let mut other = None;
    if let Some(b) = with {
        let (br, bk) = apart(&b.layout.broadcast_to(x.shape()), mask);
        keep.push(bk);
        along.push(br);
        other = Some((buffers.add(b, false)?, word(b.dtype)?));
    }
    let (keep, along) = (Walk::strided(&keep)?, Walk::strided(&along)?);
    let (kr, ar) = (keep.rank, along.rank);
    let mut params = [0u32; 64];
    let rows = kept * chunks;
    params[0] = size32(rows)?;
    params[1] = kr as u32;
    params[2] = ar as u32;
    params[3] = size32(n)?;
    params[4] = size32(n.div_ceil(chunks))?;
    params[5] = size32(chunks)?;
    params[6] = fold.numbers[0].to_bits();
    params[7] = fold.numbers[1].to_bits();
    // Kept dims, then reduced ones: eight in all, since they come from one tensor.
    params[8..8 + kr].copy_from_slice(&keep.shape[..kr]);
    params[8 + kr..8 + kr + ar].copy_from_slice(&along.shape[..ar]);
    for k in 0..keep.offsets.len() {
        let at = 16 + 9 * k;
        params[at] = keep.offsets[k];
        params[at + 1..at + 1 + kr].copy_from_slice(&keep.strides[k][..kr]);
        // Operand 1 is the output, which has no reduced dims.
        if k != 1 {
            let a = &along.strides[k / 2];
            params[at + 1 + kr..at + 1 + kr + ar].copy_from_slice(&a[..ar]);
        }
    }
    let alone = n.div_ceil(chunks) <= SHORT;
    let (xw, ow) = (word(x.dtype)?, word(out.dtype)?);
    let shape = format!(
        "{}{}{}",
        if alone { 't' } else { 'g' },
        if ar <= 1 { '1' } else { 'n' },
        if chunks > 1 { 'c' } else { 'w' }
    );
    let key = format!(
        "reduce {} {shape} {}{}{}{} {:?} {from}{:?} {} {} {}",
        buffers.pattern(),
        xw.letter(),
        fold.seen.letter(),
        fold.acc.letter(),
        ow.letter(),
        fold.init,
        other,
        fold.step,
        fold.join,
        fold.finish
    );
    let source = || {
        let acc = fold.acc.name();
        let mut body = header(&buffers, false);
        if !alone {
            body.push_str(&format!("var<workgroup> parts: array<{acc}, 256>;\n"));
        }
        body.push_str(&format!(
            "fn step(acc: {acc}, v: {}, b: f32) -> {acc} {{ return {}; }}\n",
            fold.seen.name(),
            fold.step
        ));
        body.push_str(&format!(
            "fn join(acc: {acc}, v: {acc}) -> {acc} {{ return {}; }}\n",
            fold.join
        ));
        body.push_str(if alone { EACH } else { ROW });
        let row = if alone { "i" } else { "row" };
        body.push_str(&format!(
            "let first = {row} / word(5u);\nlet chunk = {row} - first * word(5u);\n"
        ));
        body.push_str("var ox = word(16u);\nvar oo = word(25u);\nvar ob = word(34u);\nvar rest = first;\n");
        body.push_str(
            "for (var d = word(1u); d > 0u; d--) {\nlet n = word(7u + d);\nlet up = rest / n;\nlet p = rest - up * n;\n\
             rest = up;\nox += p * word(16u + d);\noo += p * word(25u + d);\nob += p * word(34u + d);\n}\n",
        );
        body.push_str(&format!("var acc: {acc} = {};\n", fold.init));
        let (start, by) = if alone { ("", "1u") } else { (" + lane", "256u") };
        body.push_str(&format!(
            "let end = min((chunk + 1u) * word(4u), word(3u));\nfor (var k = chunk * word(4u){start}; k < end; k += {by}) {{\n"
        ));
        if ar <= 1 {
            body.push_str("let s = word(1u);\nlet px = ox + k * word(17u + s);\nlet pb = ob + k * word(35u + s);\n");
        } else {
            body.push_str(
                "var px = ox;\nvar pb = ob;\nvar left = k;\nfor (var d = word(1u) + word(2u); d > word(1u); d--) {\n\
                 let n = word(7u + d);\nlet up = left / n;\nlet p = left - up * n;\nleft = up;\npx += p * word(16u + d);\n\
                 pb += p * word(34u + d);\n}\n",
            );
        }
        let v = xw.load(&format!("m{from}[px]"), fold.seen);
        let b = other.map_or("0.0".into(), |(at, w)| w.load(&format!("m{at}[pb]"), Word::Float));
        body.push_str(&format!("acc = step(acc, {v}, {b});\n}}\n"));
        if !alone {
            body.push_str(
                "parts[lane] = acc;\nworkgroupBarrier();\nfor (var s = 128u; s > 0u; s /= 2u) {\nif (lane < s) { parts[lane] = \
                 join(parts[lane], parts[lane + s]); }\nworkgroupBarrier();\n}\nif (lane != 0u) { return; }\nacc = parts[0];\n",
            );
        }
        body.push_str("let n0 = number(6u);\nlet n1 = number(7u);\n");
        let at = if chunks > 1 { row } else { "oo" };
        let value = fold.acc.convert(&format!("({})", fold.finish), ow);
        body.push_str(&format!("m{to}[{at}] = {};\n}}\n", ow.store(&value)));
        linked(body)
    };
    run(&Job {
        op: "reduce",
        key: &key,
        source: &source,
        bindings: &buffers.list,
        params: &params,
        groups: groups(gpu, rows, if alone { GROUP } else { 1 })?,
        faults: false,
    })
}
