//! Where the largest or smallest element along a dim is, and its value: the first of equals, NaN above all.

use super::map::Walk;
use super::shader::{EACH, ROW, Word, header, linked};
use super::{Buffers, GROUP, groups, run, size32, word};
use crate::core::Core;
use crate::device::wgpu::{self, Job};
use crate::error::{Error, Result};
use crate::layout::{Dims, Layout};

/// Elements along the dim at most: one workgroup goes through them.
const LONGEST: usize = 1 << 23;

/// As [`arg_reduce`] over all elements in row-major order.
pub fn arg_flat(max: bool, x: &Core, places: &Core) -> Result<()> {
    let flat = super::contiguous(x)?;
    let mut l = Layout::contiguous(Dims::new(&[x.numel()])?);
    l.offset = flat.layout.offset;
    let at = Layout::strided(Dims::new(&[1])?, &[0], places.layout.offset);
    arg_reduce(max, &flat.with_layout(l), 0, None, &places.with_layout(at))
}

/// `places` (and `values`) have the shape of `x` with size 1 along `dim`.
pub fn arg_reduce(max: bool, x: &Core, dim: usize, values: Option<&Core>, places: &Core) -> Result<()> {
    if places.numel() == 0 {
        return Ok(());
    }
    let n = x.shape()[dim];
    if n > LONGEST {
        return Error::unsupported(format!(
            "over {n} elements is not implemented on device 'gpu' (at most {LONGEST})"
        ));
    }
    let gpu = wgpu::get()?;
    let mut buffers = Buffers::default();
    let to = buffers.add(places, true)?;
    let from = buffers.add(x, false)?;
    let both = values.map(|v| buffers.add(v, true)).transpose()?;
    let mut layouts = vec![x.layout.remove(dim), places.layout.remove(dim)];
    layouts.extend(values.map(|v| v.layout.remove(dim)));
    let walk = Walk::strided(&layouts)?;
    let rows = layouts[1].numel();
    let mut params = [0u32; 64];
    params[0] = size32(rows)?;
    params[1] = walk.rank as u32;
    params[2] = size32(n)?;
    params[3] = size32(x.layout.strides()[dim] as usize)?;
    walk.write(&mut params, 8);
    let seen = word(x.dtype)?;
    // Truth values are compared as numbers.
    let as_number = if seen == Word::Bool { Word::Int } else { seen };
    let alone = n <= 128;
    let key = format!(
        "arg {} {from}{both:?} {}{} {max} {alone}",
        buffers.pattern(),
        seen.letter(),
        if walk.rank == 0 { '0' } else { 'n' }
    );
    let source = || {
        let t = as_number.name();
        let better = match (as_number, max) {
            (Word::Float, true) => "(v > best || fs_isnan(v)) && !fs_isnan(best)",
            (Word::Float, false) => "(v < best || fs_isnan(v)) && !fs_isnan(best)",
            (_, true) => "v > best",
            (_, false) => "v < best",
        };
        let mut body = header(&buffers, false);
        body.push_str(&format!(
            "fn better(v: {t}, best: {t}) -> bool {{ return {better}; }}\n"
        ));
        if !alone {
            body.push_str(&format!(
                "var<workgroup> vs: array<{t}, 256>;\nvar<workgroup> ks: array<u32, 256>;\n"
            ));
        }
        body.push_str(if alone { EACH } else { ROW });
        body.push_str(&walk.text(8, layouts.len(), if alone { "i" } else { "row" }));
        let load = |k: &str| seen.load(&format!("m{from}[o0 + ({k}) * word(3u)]"), as_number);
        let (start, by) = if alone {
            ("0u", "1u")
        } else {
            ("min(lane, word(2u) - 1u)", "256u")
        };
        body.push_str(&format!(
            "var k = {start};\nvar best = {};\nvar where_ = k;\nfor (k += {by}; k < word(2u); k += {by}) {{\nlet v = {};\n\
             if (better(v, best)) {{ best = v; where_ = k; }}\n}}\n",
            load("k"),
            load("k")
        ));
        if !alone {
            body.push_str(
                "vs[lane] = best;\nks[lane] = where_;\nworkgroupBarrier();\nfor (var s = 128u; s > 0u; s /= 2u) {\n\
                 if (lane < s) {\nlet v = vs[lane + s];\nlet q = ks[lane + s];\nlet worse = better(vs[lane], v);\n\
                 if (better(v, vs[lane]) || (!worse && q < ks[lane])) { vs[lane] = v; ks[lane] = q; }\n}\n\
                 workgroupBarrier();\n}\nif (lane != 0u) { return; }\nbest = vs[0];\nwhere_ = ks[0];\n",
            );
        }
        body.push_str(&format!("m{to}[o1] = where_;\n"));
        if let Some(b) = both {
            let value = as_number.convert("best", seen);
            body.push_str(&format!("m{b}[o2] = {};\n", seen.store(&value)));
        }
        body.push_str("}\n");
        linked(body)
    };
    run(&Job {
        op: "arg_reduce",
        key: &key,
        source: &source,
        bindings: &buffers.list,
        params: &params,
        groups: groups(gpu, rows, if alone { GROUP } else { 1 })?,
        faults: false,
    })
}
