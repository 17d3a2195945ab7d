//! Matrix products: tiles in workgroup memory, strided operands read where they lie.
//!
//! Each element is one chain of additions in k order. Long k is cut into [`CHUNK`]s whose sums are added in turn, because
//! old versions of Mesa end a shader's loops after 65,535 rounds.

use super::shader::{header, linked};
use super::{Buffers, offset, run, size32};
use crate::core::Core;
use crate::device::wgpu::{self, Job};
use crate::error::{Error, Result};
use crate::layout::Layout;

const CHUNK: usize = 1 << 13;

/// `out = a @ b`, plus a bias row, or plus what `out` holds.
pub struct Product<'a> {
    pub a: &'a Core,
    pub b: &'a Core,
    /// `[.., m, k]` and `[.., k, n]`, of one rank and equal leading dims.
    pub left: Layout,
    pub right: Layout,
    /// Row-major `[.., m, n]`.
    pub out: &'a Core,
    /// One number per column, or one for all.
    pub bias: Option<&'a Core>,
    pub accumulate: bool,
}

/// Side of the tiles of large products, whose threads have 8 by 8 elements each, and of small ones, with one each.
const LARGE: u32 = 64;
const SMALL: u32 = 16;

pub fn matmul(p: &Product) -> Result<()> {
    let rank = p.left.rank();
    let (m, k, n) = (p.left.shape[rank - 2], p.left.shape[rank - 1], p.right.shape[rank - 1]);
    let batch: usize = p.left.shape[..rank - 2].iter().product();
    if batch * m * n == 0 {
        return Ok(());
    }
    if rank > 8 {
        return Error::unsupported("a stack of so many dims is not implemented on device 'gpu'");
    }
    let tile = if m >= 48 && n >= 48 { LARGE } else { SMALL };
    // No k at all is a product of zeros.
    let mut start = 0;
    loop {
        let end = (start + CHUNK).min(k);
        let last = end == k;
        part(p, tile, [m, n, batch], start, end, last)?;
        if last {
            return Ok(());
        }
        start = end;
    }
}

fn part(p: &Product, tile: u32, [m, n, batch]: [usize; 3], start: usize, end: usize, last: bool) -> Result<()> {
    let gpu = wgpu::get()?;
    let rank = p.left.rank();
    let mut buffers = Buffers::default();
    let c = buffers.add(p.out, true)?;
    let a = buffers.add(p.a, false)?;
    let b = buffers.add(p.b, false)?;
    let bias = match p.bias.filter(|_| last) {
        Some(v) => Some((buffers.add(v, false)?, v)),
        None => None,
    };
    let accumulate = p.accumulate || start > 0;
    let stride = |l: &Layout, d: usize| size32(l.strides()[d] as usize);
    let mut params = [0u32; 64];
    params[0] = size32(m)?;
    params[1] = size32(n)?;
    params[2] = size32(start)?;
    params[3] = size32(end)?;
    params[4] = size32(p.left.offset)?;
    params[5] = stride(&p.left, rank - 2)?;
    params[6] = stride(&p.left, rank - 1)?;
    params[7] = size32(p.right.offset)?;
    params[8] = stride(&p.right, rank - 2)?;
    params[9] = stride(&p.right, rank - 1)?;
    params[10] = offset(p.out)?;
    if let Some((_, v)) = bias {
        params[11] = offset(v)?;
        params[12] = if v.numel() == 1 { 0 } else { stride(&v.layout, 0)? };
    }
    params[13] = (rank - 2) as u32;
    for d in 0..rank - 2 {
        params[16 + d] = size32(p.left.shape[d])?;
        params[24 + d] = stride(&p.left, d)?;
        params[32 + d] = stride(&p.right, d)?;
    }
    let key = format!(
        "matmul {} {a}{b} {} {accumulate} {:?}",
        buffers.pattern(),
        tile,
        bias.map(|v| v.0)
    );
    let source = || {
        let extra = bias.map_or(String::new(), |(at, _)| {
            format!(" + bitcast<f32>(m{at}[word(11u) + column * word(12u)])")
        });
        let old = if accumulate {
            format!("bitcast<f32>(m{c}[at]) + ")
        } else {
            String::new()
        };
        let store = format!(
            "fn keep(line: u32, column: u32, sheet: u32, v: f32) {{\nif (line >= word(0u) || column >= word(1u)) {{ return; }}\n\
             let at = word(10u) + (sheet * word(0u) + line) * word(1u) + column;\nm{c}[at] = bitcast<u32>({old}v{extra});\n}}\n"
        );
        let text = if tile == LARGE {
            include_str!("../shaders/matmul_tile.wgsl")
        } else {
            include_str!("../shaders/matmul_small.wgsl")
        };
        linked(
            header(&buffers, false)
                + &store
                + &text
                    .replace("LEFT", &format!("m{a}"))
                    .replace("RIGHT", &format!("m{b}")),
        )
    };
    let most = gpu.most_groups();
    let (x, y) = (size32(n)?.div_ceil(tile), size32(m)?.div_ceil(tile));
    if x > most || y > most {
        return Error::unsupported(format!("a product of {m} by {n} is not implemented on device 'gpu'"));
    }
    let mut sheet = 0;
    while sheet < batch {
        let count = (batch - sheet).min(most as usize);
        params[14] = size32(sheet)?;
        run(&Job {
            op: "matmul",
            key: &key,
            source: &source,
            bindings: &buffers.list,
            params: &params,
            groups: [x, y, size32(count)?],
            faults: false,
        })?;
        sheet += count;
    }
    Ok(())
}
