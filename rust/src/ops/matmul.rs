//! Matrix products of tensors of one to eight dims, and the linear layer.

use super::def::{Builder, Call, Metas, op};
use super::infer::arithmetic;
use super::support::{by, c_name, not_for, one, packed};
use crate::args::Args;
use crate::core::Core;
use crate::device::{Device, cpu, gpu};
use crate::dtype::{DType, legacy_name};
use crate::ensure;
use crate::error::{Error, Result};
use crate::layout::{Dims, Layout, broadcast, expands_to};
use firesteel_kernels::dtype::{Element, bf16, f16};
use firesteel_kernels::gemm::{self, Epilogue};

/// Operands and result as stacks of matrices of one rank, and the shape that a program sees.
pub(crate) struct Plan {
    a: Layout,
    pub b: Layout,
    pub c: Dims,
    pub shape: Dims,
}

/// `[.., m, k] @ [.., k, n]`; vectors are a row on the left, a column on the right, and leave no dim of their own.
pub(crate) fn plan(a: &Layout, b: &Layout) -> Result<Plan> {
    let (ra, rb) = (a.rank(), b.rank());
    let (m, k) = if ra == 1 {
        (1, a.shape[0])
    } else {
        (a.shape[ra - 2], a.shape[ra - 1])
    };
    let n = if rb == 1 { 1 } else { b.shape[rb - 1] };
    if k != b.shape[rb.max(2) - 2] {
        return mismatch(a, b);
    }
    let left = match ra {
        1 => Layout::strided(Dims::new(&[1, k])?, &[0, a.strides()[0]], a.offset),
        _ => *a,
    };
    let right = match rb {
        1 => Layout::strided(Dims::new(&[k, 1])?, &[b.strides()[0], 0], b.offset),
        _ => *b,
    };
    let batch = match (ra > 2, rb > 2) {
        (false, false) => Dims::EMPTY,
        (true, false) => Dims::new(&a.shape[..ra - 2])?,
        (false, true) => Dims::new(&b.shape[..rb - 2])?,
        (true, true) => broadcast(&Dims::new(&a.shape[..ra - 2])?, &Dims::new(&b.shape[..rb - 2])?)?,
    };
    let mut shape = batch;
    if ra > 1 {
        shape.push(m)?;
    }
    if rb > 1 {
        shape.push(n)?;
    }
    shape.check()?;
    if ra > 2 && rb <= 2 {
        // One matrix on the right: the rows of the whole stack make one product, if they follow each other.
        let rows = batch.numel() * m;
        if let Some(a) = left.view(&Dims::new(&[rows, k])?) {
            return Ok(Plan {
                a,
                b: right,
                c: Dims::new(&[rows, n])?,
                shape,
            });
        }
    }
    let stack = |rows: usize, cols: usize| {
        let mut d = batch;
        d.push(rows)?;
        d.push(cols)?;
        Ok(d)
    };
    let (a, b) = (left.broadcast_to(&stack(m, k)?), right.broadcast_to(&stack(k, n)?));
    Ok(Plan {
        a,
        b,
        c: stack(m, n)?,
        shape,
    })
}

#[cold]
fn mismatch<T>(a: &Layout, b: &Layout) -> Result<T> {
    let (a, b) = (&a.shape, &b.shape);
    Error::runtime(match (a.len(), b.len()) {
        (1, 1) => format!(
            "inconsistent tensor size, expected tensor {a} and src {b} to have the same number of elements, but got {} and \
             {} elements respectively",
            a[0], b[0]
        ),
        (ra, 1) => {
            let rows: usize = a[..ra - 1].iter().product();
            format!(
                "size mismatch, got input ({rows}), mat ({rows}x{}), vec ({})",
                a[ra - 1],
                b[0]
            )
        }
        (ra, 2) => {
            let rows: usize = a[..ra - 1].iter().product();
            format!(
                "mat1 and mat2 shapes cannot be multiplied ({rows}x{} and {})",
                a[ra - 1],
                by(b)
            )
        }
        (ra, rb) => {
            let batch: usize = if ra > rb {
                a[..ra - 2].iter().product()
            } else {
                b[..rb - 2].iter().product()
            };
            format!(
                "Expected size for first two dimensions of batch2 tensor to be: [{batch}, {}] but got: [{batch}, {}].",
                a[ra - 1],
                b[rb - 2]
            )
        }
    })
}

/// One dtype for both, which has a product.
fn product_dtype(a: &Core, b: &Core) -> Result<DType> {
    if a.dtype != b.dtype {
        return Error::runtime(format!(
            "expected m1 and m2 to have the same dtype, but got: {} != {}",
            c_name(a.dtype),
            c_name(b.dtype)
        ));
    }
    if a.dtype == DType::Bool {
        not_for(a.dtype)
    } else {
        arithmetic(a.dtype)
    }
}

/// The dtype whose kernels make the product. Integers wrap, so narrow ones may as well do so in 32 bits.
fn worked(d: DType) -> DType {
    match d.compute() {
        DType::I64 if !matches!(d, DType::I64 | DType::U64) => DType::I32,
        wide => wide,
    }
}

/// The values in that dtype, dims in the same order in memory: turning them would cost more than widening.
fn computed(c: &Core) -> Result<Core> {
    let dtype = worked(c.dtype);
    if c.dtype == dtype {
        return Ok(c.clone());
    }
    let layout = Layout::dense_like(*c.shape(), &c.layout);
    let out = Core::empty_with(layout, dtype, Device::Cpu)?;
    cpu::copy(c, &out);
    Ok(out)
}

/// What is added to the product.
enum Bias {
    None,
    /// A vector (or one number), in the epilogue.
    Row(Core),
    /// The output holds it already.
    Written,
}

/// `beta * of + alpha *` the product; `of` has the result's shape and dtype.
struct Plus {
    of: Core,
    beta: f64,
    alpha: f64,
}

/// What is done to a product besides its bias; `relu`: zero where it is negative.
#[derive(Default)]
struct After {
    plus: Option<Plus>,
    relu: bool,
}

/// `out = a @ b`, for inputs and an output of a dtype that has kernels.
fn multiply(p: &Plan, a: &Core, b: &Core, bias: &Bias, after: &After, out: &Core) {
    let c = packed(p.c, out.layout.offset);
    let (x, y, z) = (cpu::src_as(a, &p.a), cpu::src_as(b, &p.b), cpu::dst_as(out, &c));
    macro_rules! typed {
        ($t:ty) => {{
            let ep = Epilogue {
                accumulate: matches!(bias, Bias::Written),
                bias: match bias {
                    Bias::Row(v) => gemm::Bias::Columns(cpu::typed::<$t>(v)),
                    _ => gemm::Bias::None,
                },
                plus: after.plus.as_ref().map(|p| gemm::Plus {
                    alpha: <$t>::from_f64(p.alpha),
                    beta: <$t>::from_f64(p.beta),
                    of: cpu::typed::<$t>(&p.of),
                }),
                relu: after.relu,
            };
            gemm::matmul::<$t>(x.typed(), y.typed(), z.typed(), ep)
        }};
    }
    match out.dtype {
        DType::F32 => typed!(f32),
        DType::F64 => typed!(f64),
        DType::I32 => typed!(i32),
        _ => typed!(i64),
    }
}

/// Products of float16 and bfloat16 that are worth the processor's own instruction, or widening while they are packed;
/// false when they are not. `bias` is float32.
fn multiply_narrow(p: &Plan, a: &Core, b: &Core, bias: &Bias, out: &Core) -> Result<bool> {
    const LEAST: usize = 1 << 15;
    let rank = p.c.len();
    let (m, n, k) = (p.c[rank - 2], p.c[rank - 1], p.a.shape[rank - 1]);
    let row = match bias {
        Bias::None => gemm::Bias::None,
        Bias::Row(v) if v.dtype == DType::F32 => gemm::Bias::Columns(cpu::typed::<f32>(v)),
        _ => return Ok(false),
    };
    let words =
        a.dtype == DType::BF16 && gemm::has_bf16() && m.min(n) >= 2 && m.saturating_mul(n).saturating_mul(k) >= LEAST;
    let widened = matches!(a.dtype, DType::F16 | DType::BF16) && gemm::widens([m, n, k]);
    if !words && !widened {
        return Ok(false);
    }
    let (x, y) = (cpu::src_as(a, &p.a), cpu::src_as(b, &p.b));
    let ep = Epilogue {
        bias: row,
        ..Epilogue::default()
    };
    let wide = cpu::output(out, DType::F32)?;
    let z = cpu::dst_as(&wide.core, &packed(p.c, wide.core.layout.offset));
    match a.dtype {
        _ if words => gemm::matmul_bf16(x.typed(), y.typed(), z.typed(), ep),
        DType::F16 => gemm::matmul_widened::<f16>(x.typed(), y.typed(), z.typed(), ep),
        _ => gemm::matmul_widened::<bf16>(x.typed(), y.typed(), z.typed(), ep),
    }
    wide.store();
    Ok(true)
}

fn int_mm_infer(a: &Args) -> Result<Metas> {
    for (i, name) in [(0, "self"), (1, "mat2")] {
        let t = a.tensor(i);
        ensure!(
            t.rank() == 2,
            "Expected {name} to be of dimension 2 but got {}",
            t.rank()
        );
        ensure!(
            t.dtype == DType::I8,
            "expected {name} dtype to be of type int8 but got {}",
            c_name(t.dtype)
        );
    }
    one(matmul_infer(a)?[0].shape, DType::I32)
}

fn int_mm_run(c: &Call) -> Result<()> {
    let (a, b) = (c.args.tensor(0), c.args.tensor(1));
    let out = cpu::output(&c.outs[0], DType::I32)?;
    gemm::matmul_i8(cpu::typed(a), cpu::typed(b), cpu::typed_mut(&out.core));
    out.store();
    Ok(())
}

fn run(c: &Call) -> Result<()> {
    let (a, b) = (c.args.tensor(0), c.args.tensor(1));
    let vectors = a.rank() == 1 && b.rank() == 1 && a.shape() == b.shape();
    if vectors && gemm::dot_narrow(cpu::src(a), cpu::src(b), cpu::dst(&c.outs[0])) {
        return Ok(());
    }
    let p = plan(&a.layout, &b.layout)?;
    if multiply_narrow(&p, a, b, &Bias::None, &c.outs[0])? {
        return Ok(());
    }
    let out = cpu::output(&c.outs[0], worked(a.dtype))?;
    if out.core.dtype == a.dtype {
        multiply(&p, a, b, &Bias::None, &After::default(), &out.core);
    } else {
        // The layouts are those of the copies.
        let (a, b) = (computed(a)?, computed(b)?);
        let p = plan(&a.layout, &b.layout)?;
        multiply(&p, &a, &b, &Bias::None, &After::default(), &out.core);
    }
    out.store();
    Ok(())
}

/// The product and its summand; both factors are numbers, `input` broadcasts.
fn addmm_infer(a: &Args) -> Result<Metas> {
    let (of, x, y) = (a.tensor(0), a.tensor(1), a.tensor(2));
    let dtype = product_dtype(x, y)?;
    ensure!(
        x.rank() >= 2 && x.rank() == y.rank() && of.dtype == dtype && dtype.is_float(),
        "expected matrices and a summand of one floating point dtype"
    );
    let shape = plan(&x.layout, &y.layout)?.shape;
    ensure!(
        expands_to(of.shape(), &shape),
        "the input of shape {} cannot be expanded to {shape}",
        of.shape()
    );
    one(shape, dtype)
}

/// Whether `_addmm` takes the case: matrices of this rank and the processor's memory, and a summand of the result's shape or
/// of one row.
pub fn sums_in_one([of, a, b]: [&Core; 3], rank: usize) -> bool {
    let (s, t, sum) = (a.shape(), b.shape(), of.shape());
    let alike = |x: &Core| x.dtype == a.dtype && x.device() == Device::Cpu;
    if !matches!(a.dtype, DType::F32 | DType::F64) || ![of, a, b].into_iter().all(alike) {
        return false;
    }
    if s.len() != rank || t.len() != rank || s[rank - 1] != t[rank - 2] || s[..rank - 2] != t[..rank - 2] {
        return false;
    }
    let n = t[rank - 1];
    match sum.len() {
        1 => sum[0] == n,
        r => r == rank && sum[..rank - 1] == s[..rank - 1] && sum[rank - 1] == n,
    }
}

fn addmm_run(c: &Call) -> Result<()> {
    let (of, a, b) = (
        computed(c.args.tensor(0))?,
        computed(c.args.tensor(1))?,
        computed(c.args.tensor(2))?,
    );
    let p = plan(&a.layout, &b.layout)?;
    let out = cpu::output(&c.outs[0], worked(a.dtype))?;
    let wide = of.layout.broadcast_to(out.core.shape());
    let Some(layout) = wide.view(&p.c) else {
        return Error::runtime(format!("no summand of shape {} for {}", of.shape(), p.shape));
    };
    let plus = Plus {
        of: of.with_layout(layout),
        beta: c.args.float(3),
        alpha: c.args.float(4),
    };
    let after = After {
        plus: Some(plus),
        relu: false,
    };
    multiply(&p, &a, &b, &Bias::None, &after, &out.core);
    out.store();
    Ok(())
}

/// A matrix of the processor's memory whose products need no plan and no other dtype.
fn plain(c: &Core) -> Option<[usize; 2]> {
    match (&**c.shape(), c.dtype, c.device()) {
        (&[rows, cols], DType::F32 | DType::F64, Device::Cpu) => Some([rows, cols]),
        _ => None,
    }
}

/// A plain matrix times another, `right`, under the layout `seen`; plus a vector.
fn product(left: &Core, right: &Core, seen: &Layout, bias: Option<&Core>) -> Option<Core> {
    let out = Core::empty(
        Dims::new(&[left.shape()[0], seen.shape[1]]).ok()?,
        left.dtype,
        Device::Cpu,
    );
    let out = out.ok()?;
    macro_rules! typed {
        ($t:ty) => {{
            let ep = Epilogue {
                bias: bias.map_or(gemm::Bias::None, |v| gemm::Bias::Columns(cpu::typed::<$t>(v))),
                ..Epilogue::default()
            };
            let right = cpu::typed_as(right, seen);
            gemm::matmul::<$t>(cpu::typed(left), right, cpu::typed_mut(&out), ep)
        }};
    }
    match left.dtype {
        DType::F64 => typed!(f64),
        _ => typed!(f32),
    }
    Some(out)
}

/// Two plain matrices.
fn whole(a: &Args) -> Option<Core> {
    let (x, y) = (a.tensor(0), a.tensor(1));
    let ([m, k], [l, n]) = (plain(x)?, plain(y)?);
    if k != l || x.dtype != y.dtype {
        return None;
    }
    // Row-major and small: no views either.
    if m > 1
        && n > 1
        && m.saturating_mul(n) <= cpu::SMALL
        && let (Some(p), Some(q)) = (cpu::small(x), cpu::small(y))
    {
        let mut done = false;
        let out = cpu::made(&[m, n], |out| done = gemm::small_product(p, q, [m, k, n], out));
        return out.filter(|_| done);
    }
    product(x, y, &y.layout, None)
}

/// A plain matrix times the rows of another, plus a vector.
fn whole_linear(a: &Args) -> Option<Core> {
    let (x, w, bias) = (a.tensor(0), a.tensor(1), a.opt_tensor(2));
    let ([_, k], [n, l]) = (plain(x)?, plain(w)?);
    let fits = |b: &Core| **b.shape() == [n] && b.dtype == x.dtype && b.device() == Device::Cpu;
    (k == l && x.dtype == w.dtype && bias.is_none_or(fits))
        .then(|| product(x, w, &turned(&w.layout), bias))
        .flatten()
}

/// The product on the gpu, plus a bias: float32 only.
fn shade(c: &Call, plan: &Plan, a: &Core, b: &Core, bias: Option<&Core>) -> Result<()> {
    gpu::floats_only([a, b])?;
    let out = gpu::output(&c.outs[0], DType::F32)?;
    let row = match bias {
        Some(v) if v.rank() <= 1 => Some(gpu::brought(v)?),
        _ => None,
    };
    let written = match bias {
        Some(v) if v.rank() > 1 => {
            gpu::copy(&v.with_layout(v.layout.broadcast_to(out.core.shape())), &out.core)?;
            true
        }
        _ => false,
    };
    gpu::matmul(&gpu::Product {
        a,
        b,
        left: plan.a,
        right: plan.b,
        out: &out.core,
        bias: row.as_ref(),
        accumulate: written,
    })?;
    out.store()
}

fn run_on_gpu(c: &Call) -> Result<()> {
    let (a, b) = (c.args.tensor(0), c.args.tensor(1));
    shade(c, &plan(&a.layout, &b.layout)?, a, b, None)
}

fn linear_on_gpu(c: &Call) -> Result<()> {
    let (x, w) = (c.args.tensor(0), c.args.tensor(1));
    shade(c, &plan(&x.layout, &turned(&w.layout))?, x, w, c.args.opt_tensor(2))
}

fn matmul_infer(a: &Args) -> Result<Metas> {
    let (x, y) = (a.tensor(0), a.tensor(1));
    if x.rank() == 0 || y.rank() == 0 {
        return Error::runtime(format!(
            "both arguments to matmul need to be at least 1D, but they are {}D and {}D",
            x.rank(),
            y.rank()
        ));
    }
    let p = plan(&x.layout, &y.layout)?;
    one(p.shape, product_dtype(x, y)?)
}

fn mm_infer(a: &Args) -> Result<Metas> {
    for (i, name) in [(0, "self"), (1, "mat2")] {
        if a.tensor(i).rank() != 2 {
            return Error::runtime(format!("{name} must be a matrix"));
        }
    }
    matmul_infer(a)
}

fn bmm_infer(a: &Args) -> Result<Metas> {
    let (x, y) = (a.tensor(0), a.tensor(1));
    for (t, name) in [(x, "batch1"), (y, "batch2")] {
        if t.rank() != 3 {
            return Error::runtime(format!("{name} must be a 3D tensor"));
        }
    }
    let (s, t) = (x.shape(), y.shape());
    if s[0] != t[0] || s[2] != t[1] {
        return Error::runtime(format!(
            "Expected size for first two dimensions of batch2 tensor to be: [{}, {}] but got: [{}, {}].",
            s[0], s[2], t[0], t[1]
        ));
    }
    matmul_infer(a)
}

fn mv_infer(a: &Args) -> Result<Metas> {
    let (x, y) = (a.tensor(0), a.tensor(1));
    if x.rank() != 2 || y.rank() != 1 {
        return Error::runtime(format!(
            "vector + matrix @ vector expected, got 1, {}, {}",
            x.rank(),
            y.rank()
        ));
    }
    matmul_infer(a)
}

fn dot_infer(a: &Args) -> Result<Metas> {
    let (x, y) = (a.tensor(0), a.tensor(1));
    if x.rank() != 1 || y.rank() != 1 {
        return Error::runtime(format!(
            "1D tensors expected, but got {}D and {}D tensors",
            x.rank(),
            y.rank()
        ));
    }
    if x.dtype != y.dtype {
        return Error::runtime(format!(
            "dot : expected both vectors to have same dtype, but found {} and {}",
            legacy_name(x.dtype),
            legacy_name(y.dtype)
        ));
    }
    matmul_infer(a)
}

/// The weight as the right-hand side.
fn turned(w: &Layout) -> Layout {
    if w.rank() == 2 { w.transpose(0, 1) } else { *w }
}

pub(super) fn linear_infer(a: &Args) -> Result<Metas> {
    let (x, w) = (a.tensor(0), a.tensor(1));
    if x.rank() == 0 || w.rank() == 0 {
        return Error::runtime(format!(
            "both arguments to linear need to be at least 1D, but they are {}D and {}D",
            x.rank(),
            w.rank()
        ));
    }
    if w.rank() > 2 {
        return Error::runtime(format!("weight must have one or two dims, got shape {}", w.shape()));
    }
    let shape = plan(&x.layout, &turned(&w.layout))?.shape;
    let d = product_dtype(x, w)?;
    if let Some(b) = a.opt_tensor(2) {
        if b.dtype != d {
            return Error::runtime(format!(
                "self and mat2 must have the same dtype, but got {} and {}",
                legacy_name(b.dtype),
                legacy_name(d)
            ));
        }
        if !expands_to(b.shape(), &shape) {
            return Error::runtime(format!(
                "The expanded size of the tensor ({}) must match the existing size ({}) at non-singleton dimension {}.  \
                 Target sizes: {shape}.  Tensor sizes: {}",
                shape.last().copied().unwrap_or(1),
                b.shape().last().copied().unwrap_or(1),
                shape.len().max(1) - 1,
                b.shape()
            ));
        }
    }
    one(shape, d)
}

fn linear_run(c: &Call) -> Result<()> {
    linear_with(c, false)
}

/// The linear layer; `relu`, for float32 and float64 only: and zero where that is negative.
pub(super) fn linear_with(c: &Call, relu: bool) -> Result<()> {
    let (x, w) = (c.args.tensor(0), c.args.tensor(1));
    let p = plan(&x.layout, &turned(&w.layout))?;
    let out = cpu::output(&c.outs[0], worked(x.dtype))?;
    let bias = match c.args.opt_tensor(2) {
        None => Bias::None,
        Some(b) if b.rank() <= 1 && (w.rank() == 2 || b.numel() == 1) => Bias::Row(computed(b)?),
        Some(b) => {
            let wide = b.with_layout(b.layout.broadcast_to(out.core.shape()));
            cpu::copy(&wide, &out.core);
            Bias::Written
        }
    };
    if !relu && multiply_narrow(&p, x, w, &bias, &c.outs[0])? {
        return Ok(());
    }
    let (x, w) = (computed(x)?, computed(w)?);
    // The layouts are those of the copies.
    let after = After { plus: None, relu };
    multiply(&plan(&x.layout, &turned(&w.layout))?, &x, &w, &bias, &after, &out.core);
    out.store();
    Ok(())
}

pub fn ops() -> Vec<Builder> {
    vec![
        op("matmul(input, other)", "The matrix product over the last two dims, the others broadcast; a vector counts as a row on the left, a column on the right. Sizes that do not fit and unequal dtypes raise RuntimeError.\n\n>>> firesteel.matmul(firesteel.tensor([[1., 2.]]), firesteel.tensor([3., 4.]))\ntensor([11.])")
            .compute(matmul_infer, run)
            .gpu(run_on_gpu)
            .whole(whole),
        op("mm(input, mat2)", "The product of two matrices; anything else raises RuntimeError.").compute(mm_infer, run).gpu(run_on_gpu).whole(whole),
        op("_int_mm(input, mat2)", "The product of two matrices of int8, as int32; anything else raises RuntimeError.")
            .compute(int_mm_infer, int_mm_run)
            .function_only(),
        op("bmm(input, mat2)", "The products of two stacks of matrices, pair by pair; unequal stacks raise RuntimeError.").compute(bmm_infer, run).gpu(run_on_gpu),
        op("_addmm(input, mat1, mat2, beta: float = 1.0, alpha: float = 1.0)", "beta * input + alpha * (mat1 @ mat2) for matrices or stacks of them.").compute(addmm_infer, addmm_run).function_only(),
        op("mv(input, vec)", "The product of a matrix and a vector.").compute(mv_infer, run).gpu(run_on_gpu),
        op("dot(input, tensor)", "The sum of the products of two vectors' elements; unequal lengths raise RuntimeError.").compute(dot_infer, run).gpu(run_on_gpu),
        op("linear(input, weight, bias: Tensor? = None)", "input @ weight.T + bias over the last dim; weight is [out, in], or [in] for a result without that dim. Sizes that do not fit and unequal dtypes raise RuntimeError.")
            .compute(linear_infer, linear_run)
            .gpu(linear_on_gpu)
            .whole(whole_linear)
            .function_only(),
    ]
}
