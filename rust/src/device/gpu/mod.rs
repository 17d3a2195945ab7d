//! What ops are carried out with on the gpu: shaders made from an expression and the operands' layouts, and the ways of
//! values to the gpu and back.
//!
//! An elementwise op's record holds its WGSL: `.gpu(|c| gpu::map(c, &float("fs_exp(a)")))`. Operands are `a`, `b`, `c`,
//! `d` by position, already converted to what is computed in; numbers arrive as immediates, views by their strides.
//! `shaders/math.wgsl` has the functions that WGSL lacks or has too coarsely; a shader gets those that it names.

mod arg;
mod convert;
mod each;
mod index;
mod map;
mod matmul;
mod random;
mod reduce;
mod rows;
mod shader;

pub use arg::{arg_flat, arg_reduce};
pub use convert::{copy, fill, from_host, item, receive, send, to_host, transfer};
pub use each::Each;
pub use index::{Source, put_lines, take};
pub use map::{Input, Map, Value, bools, elementwise, float, inputs, map, truth};
pub use matmul::{Product, matmul};
pub use random::{bernoulli, dropout, uniform};
pub use reduce::{Fold, reduce};
pub use rows::{softmax, softmax_backward};
pub(crate) use shader::linked;

use super::Device;
use super::wgpu::{self, Binding, Gpu, Job, Memory};
use crate::core::Core;
use crate::dtype::{DType, legacy_name};
use crate::error::{Error, Result};
use crate::layout::Dims;
pub use shader::Word;

/// What shaders compute in, and how an element lies in its word.
fn word(dtype: DType) -> Result<Word> {
    match dtype {
        DType::F32 => Ok(Word::Float),
        DType::I32 | DType::I64 => Ok(Word::Int),
        DType::Bool => Ok(Word::Bool),
        other => not_for(other),
    }
}

/// The error for a dtype that an op does not take on the gpu.
pub fn not_for<T>(dtype: DType) -> Result<T> {
    let hint = if dtype == DType::I64 {
        ": int64 holds indices and labels there; convert to int32 to compute"
    } else {
        ""
    };
    Error::unsupported(format!(
        "not implemented for '{}' on device 'gpu'{hint}",
        legacy_name(dtype)
    ))
}

/// Refuses operands that are not float32.
pub fn floats_only<'a>(cores: impl IntoIterator<Item = &'a Core>) -> Result<()> {
    match cores.into_iter().find(|c| c.dtype != DType::F32) {
        None => Ok(()),
        Some(c) => not_for(c.dtype),
    }
}

fn memory(c: &Core) -> Result<&Memory> {
    match c.buffer.on_gpu() {
        Some(m) => Ok(m),
        None => Error::runtime(format!(
            "Expected all tensors to be on the same device, but found at least two devices, gpu and {}!",
            c.device().name()
        )),
    }
}

/// A count or size as the 32 bits that shaders have.
fn size32(n: usize) -> Result<u32> {
    match u32::try_from(n) {
        Ok(v) => Ok(v),
        Err(_) => Error::runtime(format!("{n} elements are more than the gpu device can count")),
    }
}

/// Invocations of a workgroup in the shaders that take one element, or one row, each.
const GROUP: u32 = 256;

/// Workgroups for `n` invocations: shaders find theirs as `x + y * width`.
fn groups(gpu: &Gpu, n: usize, each: u32) -> Result<[u32; 3]> {
    let count = size32(n.div_ceil(each as usize).max(1))?;
    let x = count.min(gpu.most_groups());
    Ok([x, count.div_ceil(x), 1])
}

/// Buffers of a dispatch without repetition: a binding per buffer, written if any of its uses is a write.
#[derive(Default)]
struct Buffers<'a> {
    list: Vec<Binding<'a>>,
}

impl<'a> Buffers<'a> {
    /// The binding of a tensor's buffer.
    fn add(&mut self, c: &'a Core, write: bool) -> Result<usize> {
        let memory = memory(c)?;
        if let Some(i) = self.list.iter().position(|b| std::ptr::eq(b.memory, memory)) {
            self.list[i].write |= write;
            return Ok(i);
        }
        self.list.push(Binding { memory, write });
        Ok(self.list.len() - 1)
    }

    /// How the bindings lie, for the pipeline's key: `1` for those that are written.
    fn pattern(&self) -> String {
        self.list.iter().map(|b| if b.write { '1' } else { '0' }).collect()
    }
}

/// A tensor's elements row-major in memory: the tensor itself, or a copy.
pub fn contiguous(c: &Core) -> Result<Core> {
    if c.layout.is_contiguous() {
        return Ok(c.clone());
    }
    let out = Core::empty(*c.shape(), c.dtype, Device::Gpu)?;
    copy(c, &out)?;
    Ok(out)
}

/// As [`contiguous`], on the gpu even if it is a 0-d tensor of the CPU that went along.
pub fn brought(c: &Core) -> Result<Core> {
    match c.device() {
        Device::Gpu => contiguous(c),
        _ => transfer(c, Device::Gpu),
    }
}

/// Row-major elements in the given dtype.
pub fn cast(c: &Core, dtype: DType) -> Result<Core> {
    let c = brought(c)?;
    if c.dtype == dtype {
        return Ok(c);
    }
    let out = Core::empty(*c.shape(), dtype, Device::Gpu)?;
    copy(&c, &out)?;
    Ok(out)
}

/// New float32 memory for intermediate values.
pub fn temporary(shape: Dims) -> Result<Core> {
    Core::empty(shape, DType::F32, Device::Gpu)
}

/// A kernel's output, row-major: the given one, or a temporary that [`Output::store`] copies.
pub struct Output {
    pub core: Core,
    to: Option<Core>,
}

/// Where a shader that writes row-major elements of `dtype` may write.
pub fn output(out: &Core, dtype: DType) -> Result<Output> {
    if out.layout.is_contiguous() && out.dtype == dtype {
        return Ok(Output {
            core: out.clone(),
            to: None,
        });
    }
    Ok(Output {
        core: Core::empty(*out.shape(), dtype, Device::Gpu)?,
        to: Some(out.clone()),
    })
}

impl Output {
    pub fn store(self) -> Result<()> {
        match self.to {
            Some(to) => copy(&self.core, &to),
            None => Ok(()),
        }
    }
}

/// Queues a job of the device.
fn run(job: &Job) -> Result<()> {
    wgpu::get()?.run(job)
}

/// A layout's offset, as a shader's number.
fn offset(c: &Core) -> Result<u32> {
    size32(c.layout.offset)
}
