//! Elementwise ops of two or three operands, a file for each kind, and what the files share: the macros that make their
//! records, and the shape rules.

use super::def::{Builder, Call, Metas};
use super::infer;
use super::support::{float_only, not_for};
use crate::args::Args;
use crate::device::cpu::{dst, operand};
use crate::dtype::DType;
use crate::error::Result;
use firesteel_kernels::elementwise::{self, Binary, Ternary};

/// The record of an op that is one function of the kernels over two operands; its rule's name is that of a quick rule too.
macro_rules! binary {
    ($sig:literal, $kind:ident, $rule:ident, $doc:literal) => {
        $crate::ops::def::op($sig, $doc)
            .compute($rule, |c| {
                $crate::ops::binary::run(firesteel_kernels::elementwise::Binary::$kind, c)
            })
            .elementwise()
            .quick($crate::ops::infer::quick::$rule)
    };
}

/// As `binary!`, of three operands; without a quick rule.
macro_rules! ternary {
    ($sig:literal, $kind:ident, $rule:path, $doc:literal) => {
        $crate::ops::def::op($sig, $doc)
            .compute($rule, |c| {
                $crate::ops::binary::run3(firesteel_kernels::elementwise::Ternary::$kind, c)
            })
            .elementwise()
    };
}

mod activation;
mod arithmetic;
mod bits;
mod choice;
mod compare;
mod functions;

pub fn ops() -> Vec<Builder> {
    let families = [
        arithmetic::ops(),
        functions::ops(),
        bits::ops(),
        compare::ops(),
        choice::ops(),
        activation::ops(),
    ];
    families.into_iter().flatten().collect()
}

fn run(kind: Binary, c: &Call) -> Result<()> {
    let out = &c.outs[0];
    let shape = out.shape();
    elementwise::binary(
        kind,
        c.compute,
        operand(c.args, 0, shape),
        operand(c.args, 1, shape),
        dst(out),
    );
    Ok(())
}

fn run3(kind: Ternary, c: &Call) -> Result<()> {
    let out = &c.outs[0];
    let s = out.shape();
    let [a, b, d] = [0, 1, 2].map(|i| operand(c.args, i, s));
    elementwise::ternary(kind, c.compute, a, b, d, dst(out));
    Ok(())
}

/// Refuses truth values as a result.
fn not_bool(m: Metas) -> Result<Metas> {
    match m[0].dtype {
        DType::Bool => not_for(DType::Bool),
        _ => Ok(m),
    }
}

fn no_bool(a: &Args) -> Result<Metas> {
    not_bool(infer::promoted(a, 0..2)?)
}

fn promoted(a: &Args) -> Result<Metas> {
    infer::promoted(a, 0..2)
}

fn promoted_float(a: &Args) -> Result<Metas> {
    infer::promoted_float(a, 0..2)
}

fn integral(a: &Args) -> Result<Metas> {
    infer::integral(a, 0..2)
}

fn float_same(a: &Args) -> Result<Metas> {
    let m = infer::promoted(a, 0..2)?;
    float_only(m[0].dtype)?;
    Ok(m)
}
