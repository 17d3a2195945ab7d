//! Elements chosen from operands: by a condition, by a mask, by bounds.

use super::not_bool;
use crate::args::{Arg, Args};
use crate::device::cpu::{dst, operand};
use crate::device::gpu::{self, float};
use crate::dtype::{DType, Scalar, legacy_name};
use crate::error::{Error, Result};
use crate::ops::def::{Builder, Call, Metas, op};
use crate::ops::infer;
use crate::ops::support::{float_only, shade};
use firesteel_kernels::elementwise::{self, Operand, Ternary};

/// condition, then two operands.
fn where_infer(a: &Args) -> Result<Metas> {
    if !matches!(a.tensor(0).dtype, DType::Bool | DType::U8) {
        return Error::runtime(format!(
            "where expected condition to be a boolean tensor, but got a tensor with dtype {}",
            legacy_name(a.tensor(0).dtype)
        ));
    }
    let d = infer::result_type(a.items[1..3].iter())?;
    a.items[1..3].iter().try_for_each(|v| infer::check_fits(v, d))?;
    infer::elementwise(a, 0..3, d, d)
}

fn clamp_infer(a: &Args) -> Result<Metas> {
    if matches!((&a[1], &a[2]), (Arg::None, Arg::None)) {
        return Error::runtime("At least one of 'min' or 'max' must not be None");
    }
    not_bool(infer::promoted(a, 0..3)?)
}

fn clamp_run(c: &Call) -> Result<()> {
    let out = &c.outs[0];
    let s = out.shape();
    let bound = |i: usize, open: f64| match &c.args[i] {
        Arg::None => Operand::Scalar(Scalar::Float(open)),
        _ => operand(c.args, i, s),
    };
    let (lo, hi) = (bound(1, f64::NEG_INFINITY), bound(2, f64::INFINITY));
    elementwise::ternary(Ternary::Clamp, c.compute, operand(c.args, 0, s), lo, hi, dst(out));
    Ok(())
}

/// Condition, what is taken where it holds, what else; by their positions.
fn shade_where(c: &Call, order: [usize; 3]) -> Result<()> {
    let out = &c.outs[0];
    let seen = gpu::Input::core(out)?.seen;
    let input = |at: usize, seen| match &c.args[at] {
        Arg::Tensor(t) => gpu::Input {
            value: gpu::Value::Core(t),
            seen,
        },
        Arg::Scalar(s) => gpu::Input {
            value: gpu::Value::Number(*s),
            seen,
        },
        _ => gpu::Input::number(0.0),
    };
    let operands = [
        input(order[0], gpu::Word::Bool),
        input(order[1], seen),
        input(order[2], seen),
    ];
    gpu::elementwise(out, seen, "select(c, b, a)", &operands)
}

fn shade_clamp(c: &Call) -> Result<()> {
    match (&c.args[1], &c.args[2]) {
        // A bound that is not there leaves the other as the second operand.
        (Arg::None, _) => shade(c, &float("fs_min(a, b)").int("min(a, b)").long()),
        (_, Arg::None) => shade(c, &float("fs_max(a, b)").int("max(a, b)").long()),
        _ => shade(c, &float("fs_clamp(a, b, c)").int("min(max(a, b), c)").long()),
    }
}

fn nan_to_num_infer(a: &Args) -> Result<Metas> {
    let d = float_only(a.tensor(0).dtype)?;
    a.items[1..4].iter().try_for_each(|v| infer::check_fits(v, d))?;
    infer::elementwise(a, 0..1, d, d)
}

fn nan_to_num_run(c: &Call) -> Result<()> {
    let out = &c.outs[0];
    let numbers = [1, 2, 3].map(|i| c.args.scalar(i));
    elementwise::nan_to_num(c.compute, operand(c.args, 0, out.shape()), numbers, dst(out));
    Ok(())
}

pub fn ops() -> Vec<Builder> {
    vec![
        op("_nan_to_num(input, nan: Scalar, posinf: Scalar, neginf: Scalar)", "Elements of floats, with numbers in the place of NaN and of both infinities.")
            .compute(nan_to_num_infer, nan_to_num_run)
            .elementwise()
            .gpu(|c| shade(c, &float("select(select(a, select(c, d, fs_negative(a)), fs_isinf(a)), b, fs_isnan(a))")))
            .no_inplace()
            .function_only(),
        ternary!("where(condition, input: Operand, other: Operand)", Where, where_infer, "Elements of input where the condition holds, else of other.\n\n>>> firesteel.where(firesteel.tensor([True, False]), 1., 0.)\ntensor([1., 0.])")
            .gpu(|c| shade_where(c, [0, 1, 2]))
            .no_inplace()
            .function_only(),
        op("clamp(input, min: Operand? = None, max: Operand? = None)", "Elements moved into [min, max].")
            .compute(clamp_infer, clamp_run)
            .elementwise()
            .gpu(shade_clamp)
            .quick(|a| match (&a[1], &a[2]) {
                (Arg::None, Arg::None) => None,
                _ => infer::quick::same(a),
            }),
        op("hardtanh(input, min_val: Scalar = -1.0, max_val: Scalar = 1.0)", "`clamp` to [min_val, max_val], whose gradient is zero at both ends too.")
            .compute(clamp_infer, clamp_run)
            .elementwise()
            .gpu(shade_clamp)
            .function_only(),
        op("masked_fill(input, mask, value: Operand)", "input with `value` where the mask is true.")
            .compute(
                |a| {
                    if a.tensor(1).dtype != DType::Bool {
                        return Error::runtime("masked_fill_ only supports boolean masks");
                    }
                    if let Arg::Tensor(v) = &a[2]
                        && v.rank() > 0
                    {
                        return Error::runtime(format!(
                            "masked_fill_ only supports a 0-dimensional value tensor, but got tensor with {} dimension(s).",
                            v.rank()
                        ));
                    }
                    let d = a.tensor(0).dtype;
                    infer::check_fits(&a[2], d)?;
                    infer::elementwise(a, 0..2, d, d)
                },
                |c| {
                    let out = &c.outs[0];
                    let s = out.shape();
                    let [x, m, v] = [0, 1, 2].map(|i| operand(c.args, i, s));
                    elementwise::ternary(Ternary::Where, c.compute, m, v, x, dst(out));
                    Ok(())
                },
            )
            .elementwise()
            .gpu(|c| shade_where(c, [1, 2, 0])),
    ]
}
