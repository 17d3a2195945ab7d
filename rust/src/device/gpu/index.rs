//! Elements by index: taking them, and putting or adding them.
//!
//! An index out of range touches nothing: what would be read is 0, what would be written is not, and the next time that
//! values are read back an `IndexError` says so.

use super::Each;
use crate::core::Core;
use crate::error::Result;
use crate::layout::Layout;

/// Rounds of a loop in one dispatch.
const ROUNDS: usize = 1 << 14;

/// Indices into one dim, laid out over the result's shape.
pub struct Source<'a> {
    pub indices: &'a Core,
    pub layout: Layout,
    /// Stride and size of the dim that is indexed.
    pub stride: usize,
    pub size: usize,
}

/// `out[..] = x[.., indices[..], ..]`: `from` is `x`'s layout over the result's shape, with stride 0 for the indices' dims.
pub fn take(op: &'static str, x: &Core, from: Layout, sources: &[Source], wrap: bool, out: &Core) -> Result<()> {
    const NAMES: [&str; 3] = ["p", "q", "r"];
    let mut program = Each::new(op)
        .tensor("to", out, out.layout, true)?
        .tensor("x", x, from, false)?
        .faults();
    let mut text = String::from("var source = o_x;\nvar fine = true;\n");
    for (k, s) in sources.iter().enumerate() {
        let name = NAMES[k];
        program = program
            .tensor(name, s.indices, s.layout, false)?
            .bits(s.stride as u32)
            .bits(s.size as u32);
        let (stride, size) = (2 * k, 2 * k + 1);
        let negative = if wrap {
            format!("select(v, v + i32(u{size}), v < 0)")
        } else {
            "v".into()
        };
        text.push_str(&format!(
            "{{\nlet v = load_{name}(o_{name});\nlet j = {negative};\nif (j < 0 || u32(j) >= u{size}) {{ fine = false; fault(v); }} \
             else {{ source += u32(j) * u{stride}; }}\n}}\n"
        ));
    }
    let zero = super::word(x.dtype)?.zero();
    text.push_str(&format!(
        "if (fine) {{ store_to(o_to, load_x(source)); }} else {{ store_to(o_to, {zero}); }}"
    ));
    program.run(&text)
}

/// Puts (`add`: adds, times `alpha`) values into the lines of `out` along `dim`, in the order of the indices: line element
/// o gets the values at those places j where `indices[.., j, ..]` is o. `indices` and `values` are layouts over `out`'s
/// shape whose stride along `dim` is 0; the strides along j and their count come beside. `skip`: an index to leave out;
/// `wrap`: negative ones count from the end. The least i32 is no index, and was told of already.
///
/// Each element of the result looks at all indices of its line: no order is left to chance.
pub fn put_lines(
    op: &'static str,
    out: &Core,
    place: Layout,
    dim: usize,
    count: usize,
    indices: (&Core, Layout, usize),
    values: std::result::Result<(&Core, Layout, usize), f64>,
    add: Option<f64>,
    skip: Option<u32>,
    wrap: bool,
) -> Result<()> {
    let size = place.shape[dim];
    // The number of an element along the dim.
    let below: usize = place.shape[dim + 1..].iter().product();
    let mut start = 0;
    while start < count {
        let end = (start + ROUNDS).min(count);
        let mut program = Each::new(op)
            .tensor("to", out, place, true)?
            .tensor("p", indices.0, indices.1, false)?
            .faults();
        let mut value = "n0".to_owned();
        let mut step = 0;
        if let Ok((v, l, stride)) = &values {
            program = program.tensor("v", v, *l, false)?;
            value = "load_v(o_v + j * u1)".into();
            step = *stride;
        }
        let number = *values.as_ref().err().unwrap_or(&0.0);
        program = match super::word(out.dtype)? {
            super::Word::Float => program.number(number),
            _ => program.bits(number as i64 as i32 as u32),
        };
        program = program
            .bits(step as u32)
            .bits(indices.2 as u32)
            .bits(size as u32)
            .bits(below.max(1) as u32)
            .bits(start as u32)
            .bits(end as u32)
            .bits(skip.unwrap_or(u32::MAX))
            .number(add.unwrap_or(1.0));
        if values.is_err() {
            value = match super::word(out.dtype)? {
                super::Word::Float => "n0".into(),
                super::Word::Int => "bitcast<i32>(u0)".into(),
                super::Word::Bool => "(u0 != 0u)".into(),
            };
        }
        let wrapped = if wrap {
            "let p = select(given, given + i32(u3), given < 0);\n"
        } else {
            "let p = given;\n"
        };
        let change = match add {
            None => format!("kept = {value};"),
            Some(1.0) => format!("kept = kept + {value};"),
            Some(_) => format!("kept = kept + n8 * {value};"),
        };
        program.run(&format!(
            "let mine = (i / u4) % u3;\nvar kept = load_to(o_to);\nvar hit = false;\nfor (var j = u5; j < u6; j++) {{\n\
             let given = load_p(o_p + j * u2);\n{wrapped}if (p < 0 || u32(p) >= u3) {{ if (mine == 0u && given != -2147483647 - 1) {{ fault(given); }} }} \
             else if (u32(p) == mine && u32(p) != u7) {{ hit = true; {change} }}\n}}\nif (hit) {{ store_to(o_to, kept); }}"
        ))?;
        start = end;
    }
    Ok(())
}
