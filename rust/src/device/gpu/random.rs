//! Random numbers on the gpu: the CPU's words, by the element's row-major number.

use super::map::{Input, Value, elementwise};
use super::shader::Word;
use super::{copy, fill};
use crate::core::Core;
use crate::dtype::Scalar;
use crate::error::Result;

/// A word of the stream, from the first four operands.
macro_rules! draw {
    () => {
        "fs_philox(i, vec2<u32>(bitcast<u32>(a), bitcast<u32>(b)), vec2<u32>(bitcast<u32>(c), bitcast<u32>(d)))"
    };
}

fn bits<'a>(v: u32) -> Input<'a> {
    Input {
        value: Value::Number(Scalar::Int(v as i32 as i64)),
        seen: Word::Int,
    }
}

/// Seed and offset as operands.
fn stream<'a>((seed, offset): (u64, u64)) -> Vec<Input<'a>> {
    [seed, seed >> 32, offset, offset >> 32].map(|v| bits(v as u32)).into()
}

/// Uniform in [lo, hi).
pub fn uniform(out: &Core, at: (u64, u64), lo: f64, hi: f64) -> Result<()> {
    let mut operands = stream(at);
    let (low, range) = (lo as f32, hi as f32 - lo as f32);
    operands.push(Input::number(low as f64));
    operands.push(Input::number(range as f64));
    let text = concat!("fma(f32(", draw!(), " >> 8u) * 5.9604645e-08, f, e)");
    elementwise(out, Word::Float, text, &operands)?;
    let last = (hi as f32).next_down();
    if lo == 0.0 && hi == 1.0 || last <= low {
        return Ok(());
    }
    // Rounding may reach the upper end.
    let operands = [Input::core(out)?, Input::number(last as f64)];
    elementwise(out, Word::Float, "min(a, b)", &operands)
}

/// The numbers below which a word, of 2^32, is a hit of probability `p`; `None`: all are.
fn limit(p: f64) -> Option<u32> {
    u32::try_from((p * 4_294_967_296.0).ceil() as u64).ok()
}

/// 1 with probability `p`, else 0.
pub fn bernoulli(out: &Core, at: (u64, u64), p: std::result::Result<&Core, f64>) -> Result<()> {
    let mut operands = stream(at);
    match p {
        Err(p) => match limit(p) {
            None => fill(out, Scalar::Int(1)),
            Some(l) => {
                operands.push(bits(l));
                elementwise(out, Word::Bool, concat!(draw!(), " < bitcast<u32>(e)"), &operands)
            }
        },
        Ok(p) => {
            operands.push(Input {
                value: Value::Core(p),
                seen: Word::Float,
            });
            // p 2^32 is exact, and so is what is compared.
            let text = concat!(
                "e >= 1.0 || (e > 0.0 && ",
                draw!(),
                " < u32(ceil(min(e, 0.99999994) * 4294967296.0)))"
            );
            elementwise(out, Word::Bool, text, &operands)
        }
    }
}

/// Zeros elements with probability `p` and scales the others; `mask` says which were kept.
pub fn dropout(x: &Core, at: (u64, u64), p: f64, out: &Core, mask: &Core) -> Result<()> {
    let kept = 1.0 - p;
    let scale = if kept > 0.0 { 1.0 / kept } else { 0.0 };
    match limit(kept) {
        None => fill(mask, Scalar::Bool(true))?,
        Some(l) => {
            let mut operands = stream(at);
            operands.push(bits(l));
            elementwise(mask, Word::Bool, concat!(draw!(), " < bitcast<u32>(e)"), &operands)?;
        }
    }
    if scale == 1.0 {
        return copy(x, out);
    }
    let operands = [Input::core(x)?, Input::core(mask)?, Input::number(scale as f32 as f64)];
    elementwise(out, Word::Float, "a * select(0.0, c, b)", &operands)
}
