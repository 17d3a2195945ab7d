//! Values on their way: from one dtype to another, to the gpu and back.

use super::map::{Input, Value, elementwise, number_word};
use super::shader::Word;
use super::{memory, not_for, word};
use crate::core::Core;
use crate::device::wgpu;
use crate::device::{Device, cpu};
use crate::dtype::{DType, Scalar};
use crate::error::{Error, Result};
use crate::layout::{Dims, Layout};

/// Copies elements, converting dtypes; the shapes are equal. Both are on the gpu.
pub fn copy(from: &Core, to: &Core) -> Result<()> {
    let seen = word(to.dtype)?;
    if to.dtype == DType::I64 && word(from.dtype)? == Word::Float {
        // A float may be larger than what an int64 holds here, and nobody would notice.
        return not_for(DType::I64);
    }
    let value = Value::Core(from);
    elementwise(to, seen, "a", &[Input { value, seen }])
}

/// One value everywhere.
pub fn fill(to: &Core, value: Scalar) -> Result<()> {
    let seen = word(to.dtype)?;
    number_word(value, seen)?;
    let value = Value::Number(value);
    elementwise(to, seen, "a", &[Input { value, seen }])
}

fn flat(n: usize) -> Result<Layout> {
    Ok(Layout::contiguous(Dims::new(&[n])?))
}

/// The elements of a dense tensor of the CPU, in memory order, as words.
fn words(c: &Core) -> Result<Vec<u32>> {
    let mut layout = flat(c.numel())?;
    layout.offset = c.layout.offset;
    let c = c.with_layout(layout);
    Ok(match c.dtype {
        DType::F32 => cpu::slice::<f32>(&c).iter().map(|v| v.to_bits()).collect(),
        DType::I32 => cpu::slice::<i32>(&c).iter().map(|v| *v as u32).collect(),
        DType::Bool => cpu::slice::<firesteel_kernels::dtype::Bool>(&c)
            .iter()
            .map(|v| v.get() as u32)
            .collect(),
        DType::I64 => {
            let mut words = Vec::with_capacity(c.numel());
            for &v in cpu::slice::<i64>(&c) {
                words.push(match i32::try_from(v) {
                    Ok(v) => v as u32,
                    Err(_) => {
                        return Error::runtime(format!(
                            "int64 values are stored in 32 bits on device 'gpu', where {v} does not fit"
                        ));
                    }
                });
            }
            words
        }
        other => return not_for(other),
    })
}

/// A tensor of the CPU on the gpu, its strides kept where they are dense.
pub fn send(c: &Core) -> Result<Core> {
    let layout = Layout::dense_like(*c.shape(), &c.layout);
    // First: a dtype that the gpu does not take.
    let out = Core::empty_with(layout, c.dtype, Device::Gpu)?;
    let dense = if c.layout.is_dense() {
        c.clone()
    } else {
        let made = Core::empty_with(layout, c.dtype, Device::Cpu)?;
        cpu::copy(c, &made);
        made
    };
    wgpu::get()?.upload(memory(&out)?, &words(&dense)?)?;
    Ok(out)
}

/// A tensor of the gpu on the CPU, its strides kept where they are dense.
pub fn receive(c: &Core) -> Result<Core> {
    let layout = Layout::dense_like(*c.shape(), &c.layout);
    let dense = if c.layout.is_dense() {
        c.clone()
    } else {
        let made = Core::empty_with(layout, c.dtype, Device::Gpu)?;
        copy(c, &made)?;
        made
    };
    let n = c.numel();
    let words = wgpu::get()?.download(memory(&dense)?, dense.layout.offset, n)?;
    let shape = flat(n)?.shape;
    let made = match c.dtype {
        DType::F32 => cpu::from_slice(&words.iter().map(|w| f32::from_bits(*w)).collect::<Vec<_>>(), shape)?,
        DType::I32 => cpu::from_slice(&words.iter().map(|w| *w as i32).collect::<Vec<_>>(), shape)?,
        DType::I64 => cpu::from_slice(&words.iter().map(|w| *w as i32 as i64).collect::<Vec<_>>(), shape)?,
        DType::Bool => {
            let values: Vec<_> = words
                .iter()
                .map(|w| firesteel_kernels::dtype::Bool::from(*w != 0))
                .collect();
            cpu::from_slice(&values, shape)?
        }
        other => return not_for(other),
    };
    Ok(made.with_layout(layout))
}

/// A tensor on another device.
pub fn transfer(c: &Core, to: Device) -> Result<Core> {
    match (c.device(), to) {
        (a, b) if a == b => Ok(c.clone()),
        (Device::Meta, Device::Cpu | Device::Gpu) => Error::unsupported("Cannot copy out of meta tensor; no data!"),
        (Device::Cpu, Device::Gpu) => send(c),
        (Device::Gpu, Device::Cpu) => receive(c),
        _ => Core::empty_with(Layout::dense_like(*c.shape(), &c.layout), c.dtype, to),
    }
}

/// The tensor itself, or its copy on the CPU.
pub fn to_host(c: &Core) -> Result<Core> {
    match c.device() {
        Device::Cpu => Ok(c.clone()),
        _ => transfer(c, Device::Cpu),
    }
}

/// Values made on the CPU, for ops that read no tensor of the gpu (a permutation, evenly spaced numbers).
pub fn from_host(out: &Core, make: impl FnOnce(&Core) -> Result<()>) -> Result<()> {
    let host = Core::empty(*out.shape(), out.dtype, Device::Cpu)?;
    make(&host)?;
    copy(&send(&host)?, out)
}

/// One element as a number.
pub fn item(c: &Core) -> Result<Scalar> {
    let word = wgpu::get()?.download(memory(c)?, c.layout.offset, 1)?[0];
    Ok(match c.dtype {
        DType::F32 => Scalar::Float(f32::from_bits(word) as f64),
        DType::Bool => Scalar::Bool(word != 0),
        _ => Scalar::Int(word as i32 as i64),
    })
}
