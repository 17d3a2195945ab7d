//! Comparisons, and truth joined by and, or, exclusive or.

use crate::args::Args;
use crate::device::gpu::{Map, float};
use crate::error::Result;
use crate::ops::def::{Builder, Metas};
use crate::ops::infer;
use crate::ops::support::shade;

fn compared(a: &Args) -> Result<Metas> {
    infer::compared(a, 0..2)
}

fn ordered(a: &Args) -> Result<Metas> {
    infer::arithmetic(infer::result_type(a.items[0..2].iter())?)?;
    infer::compared(a, 0..2)
}

/// A comparison of floats (NaN told by its bits), integers and truth values.
const fn compare(real: &'static str, int: &'static str, bools: &'static str) -> Map {
    Map {
        truth: true,
        ..float(real).int(int).bools(bools)
    }
}

/// Whether a float is not zero; NaN is not.
macro_rules! t {
    ($name:literal) => {
        concat!("((bitcast<u32>(", $name, ") & 0x7fffffffu) != 0u)")
    };
}

pub fn ops() -> Vec<Builder> {
    vec![
        binary!(
            "eq(input, other: Operand)",
            Eq,
            compared,
            "True where elements are equal."
        )
        .gpu(|c| shade(c, &compare("fs_eq(a, b)", "a == b", "a == b"))),
        binary!("ne(input, other: Operand)", Ne, compared, "True where elements differ.")
            .gpu(|c| shade(c, &compare("fs_ne(a, b)", "a != b", "a != b"))),
        binary!("lt(input, other: Operand)", Lt, ordered, "True where input is less.")
            .gpu(|c| shade(c, &compare("fs_lt(a, b)", "a < b", "!a && b"))),
        binary!(
            "le(input, other: Operand)",
            Le,
            ordered,
            "True where input is less or equal."
        )
        .gpu(|c| shade(c, &compare("fs_le(a, b)", "a <= b", "!a || b"))),
        binary!("gt(input, other: Operand)", Gt, ordered, "True where input is greater.")
            .gpu(|c| shade(c, &compare("fs_lt(b, a)", "a > b", "a && !b"))),
        binary!(
            "ge(input, other: Operand)",
            Ge,
            ordered,
            "True where input is greater or equal."
        )
        .gpu(|c| shade(c, &compare("fs_le(b, a)", "a >= b", "a || !b"))),
        binary!(
            "logical_and(input, other)",
            LogicalAnd,
            compared,
            "True where both are non-zero."
        )
        .gpu(|c| {
            shade(
                c,
                &compare(concat!(t!("a"), " && ", t!("b")), "a != 0 && b != 0", "a && b"),
            )
        }),
        binary!(
            "logical_or(input, other)",
            LogicalOr,
            compared,
            "True where either is non-zero."
        )
        .gpu(|c| {
            shade(
                c,
                &compare(concat!(t!("a"), " || ", t!("b")), "a != 0 || b != 0", "a || b"),
            )
        }),
        binary!(
            "logical_xor(input, other)",
            LogicalXor,
            compared,
            "True where just one is non-zero."
        )
        .gpu(|c| {
            shade(
                c,
                &compare(concat!(t!("a"), " != ", t!("b")), "(a != 0) != (b != 0)", "a != b"),
            )
        }),
    ]
}
