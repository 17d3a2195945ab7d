//! Softmax and its logarithm along one dim, forwards and backwards: a thread or a workgroup per row.

use super::map::Walk;
use super::shader::{EACH, ROW, header, linked};
use super::{Buffers, GROUP, groups, run, size32};
use crate::core::Core;
use crate::device::wgpu::{self, Job};
use crate::error::Result;

/// Elements of a row that one thread goes through.
const SHORT: usize = 64;

/// A row's program: `{max}` rounds of joins with `join`, then a value for each element.
struct Program<'a> {
    name: &'static str,
    /// (element's term, join, start, name) of each total over the row, in turn.
    totals: &'a [(&'a str, &'a str, &'a str, &'a str)],
    value: &'a str,
}

/// exp(x - max) / sum, or its logarithm.
pub fn softmax(x: &Core, dim: usize, log: bool, out: &Core) -> Result<()> {
    let program = Program {
        name: if log { "log_softmax" } else { "softmax" },
        totals: &[
            ("a", "fs_max(t, u)", "-fs_inf()", "top"),
            ("fs_exp(a - top)", "t + u", "0.0", "sum"),
        ],
        value: if log {
            "(a - top) - fs_log(sum)"
        } else {
            "fs_exp(a - top) / sum"
        },
    };
    rows(&program, &[x], dim, out)
}

/// From the gradient and the result.
pub fn softmax_backward(g: &Core, y: &Core, dim: usize, log: bool, out: &Core) -> Result<()> {
    let program = Program {
        name: if log {
            "_log_softmax_backward"
        } else {
            "_softmax_backward"
        },
        totals: &[(if log { "a" } else { "a * b" }, "t + u", "0.0", "sum")],
        value: if log { "a - fs_exp(b) * sum" } else { "(a - sum) * b" },
    };
    rows(&program, &[g, y], dim, out)
}

fn rows(program: &Program, inputs: &[&Core], dim: usize, out: &Core) -> Result<()> {
    if out.numel() == 0 {
        return Ok(());
    }
    let gpu = wgpu::get()?;
    // A 0-d tensor is a row of one element.
    let scalar = out.rank() == 0;
    let n = if scalar { 1 } else { out.shape()[dim] };
    let mut buffers = Buffers::default();
    let to = buffers.add(out, true)?;
    let mut places = vec![];
    for c in inputs {
        places.push(buffers.add(c, false)?);
    }
    let mut params = [0u32; 64];
    let mut layouts = vec![];
    for (k, c) in std::iter::once(&out).chain(inputs).enumerate() {
        layouts.push(if scalar { c.layout } else { c.layout.remove(dim) });
        params[3 + k] = if scalar {
            0
        } else {
            size32(c.layout.strides()[dim] as usize)?
        };
    }
    let walk = Walk::strided(&layouts)?;
    let count = layouts[0].numel();
    params[0] = size32(count)?;
    params[1] = walk.rank as u32;
    params[2] = size32(n)?;
    walk.write(&mut params, 8);
    let alone = n <= SHORT;
    let key = format!(
        "rows {} {} {places:?} {alone} {}",
        program.name,
        buffers.pattern(),
        if walk.rank == 0 { '0' } else { 'n' }
    );
    let source = || {
        let mut body = header(&buffers, false);
        if !alone {
            body.push_str("var<workgroup> parts: array<f32, 256>;\n");
        }
        for (k, (_, join, ..)) in program.totals.iter().enumerate() {
            body.push_str(&format!("fn join{k}(t: f32, u: f32) -> f32 {{ return {join}; }}\n"));
        }
        body.push_str(if alone { EACH } else { ROW });
        body.push_str(&walk.text(8, layouts.len(), if alone { "i" } else { "row" }));
        let (start, by) = if alone { ("0u", "1u") } else { ("lane", "256u") };
        let values: String = ["a", "b"]
            .iter()
            .zip(&places)
            .enumerate()
            .map(|(k, (name, at))| format!("let {name} = bitcast<f32>(m{at}[o{} + k * word({}u)]);\n", k + 1, k + 4))
            .collect();
        for (k, (term, _, init, name)) in program.totals.iter().enumerate() {
            body.push_str(&format!(
                "var t{k} = {init};\nfor (var k = {start}; k < word(2u); k += {by}) {{\n{values}t{k} = join{k}(t{k}, {term});\n}}\n"
            ));
            if !alone {
                // The next total overwrites the parts: all must have read the last one.
                body.push_str(&format!(
                    "parts[lane] = t{k};\nworkgroupBarrier();\nfor (var s = 128u; s > 0u; s /= 2u) {{\nif (lane < s) {{ parts[lane] = \
                     join{k}(parts[lane], parts[lane + s]); }}\nworkgroupBarrier();\n}}\nt{k} = parts[0];\nworkgroupBarrier();\n"
                ));
            }
            body.push_str(&format!("let {name} = t{k};\n"));
        }
        body.push_str(&format!(
            "for (var k = {start}; k < word(2u); k += {by}) {{\n{values}m{to}[o0 + k * word(3u)] = bitcast<u32>({});\n}}\n}}\n",
            program.value
        ));
        linked(body)
    };
    run(&Job {
        op: program.name,
        key: &key,
        source: &source,
        bindings: &buffers.list,
        params: &params,
        groups: groups(gpu, count, if alone { GROUP } else { 1 })?,
        faults: false,
    })
}
