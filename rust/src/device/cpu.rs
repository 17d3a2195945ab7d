//! Kernel views of tensors on the CPU, and conversions to the dtypes that kernels are compiled for.

use crate::core::Core;
use crate::device::Device;
use crate::dtype::{DType, Scalar};
use crate::error::Result;
use crate::layout::{Dims, Layout};
use crate::{Arg, Args};
use firesteel_kernels::dtype::Element;
use firesteel_kernels::elementwise::{self, Operand};
use firesteel_kernels::parallel;
use firesteel_kernels::{AnyDst, AnySrc, Dst, Src};

fn pointer(c: &Core, offset: usize) -> *mut u8 {
    assert!(c.device() == Device::Cpu, "the values of a tensor on another device");
    c.buffer.ptr().wrapping_add(offset * c.dtype.size())
}

/// The elements under another layout, which must lie inside the buffer.
pub fn src_as<'a>(c: &'a Core, layout: &Layout) -> AnySrc<'a> {
    // SAFETY: cores are only made with layouts inside their buffer (`Core::over`, `empty`, view rules).
    unsafe { AnySrc::new(pointer(c, layout.offset), c.dtype, &layout.shape, layout.strides()) }
}

pub fn src(c: &Core) -> AnySrc<'_> {
    src_as(c, &c.layout)
}

pub fn dst(c: &Core) -> AnyDst<'_> {
    dst_as(c, &c.layout)
}

pub fn dst_as<'a>(c: &'a Core, layout: &Layout) -> AnyDst<'a> {
    // SAFETY: as in `src_as`; dispatch sees to it that no other kernel writes these elements at the same time.
    unsafe { AnyDst::new(pointer(c, layout.offset), c.dtype, &layout.shape, layout.strides()) }
}

/// A typed view; the core's dtype must be `T`'s.
pub fn typed<T: Element>(c: &Core) -> Src<'_, T> {
    typed_as(c, &c.layout)
}

/// The same under another layout, which must lie inside the buffer.
pub fn typed_as<'a, T: Element>(c: &'a Core, layout: &Layout) -> Src<'a, T> {
    assert!(
        c.dtype == T::DTYPE,
        "a {} tensor read as {}",
        c.dtype.name(),
        T::DTYPE.name()
    );
    // SAFETY: as in `src_as`.
    unsafe { Src::new(pointer(c, layout.offset).cast(), &layout.shape, layout.strides()) }
}

pub fn typed_mut<T: Element>(c: &Core) -> Dst<'_, T> {
    assert!(
        c.dtype == T::DTYPE,
        "a {} tensor written as {}",
        c.dtype.name(),
        T::DTYPE.name()
    );
    // SAFETY: as in `dst_as`.
    unsafe { Dst::new(pointer(c, c.layout.offset).cast(), &c.layout.shape, c.layout.strides()) }
}

/// An argument as an operand of an elementwise kernel, broadcast to `shape`.
pub fn operand<'a>(args: &'a Args, i: usize, shape: &Dims) -> Operand<'a> {
    match &args[i] {
        Arg::Tensor(c) if c.layout.shape == *shape => Operand::View(src(c)),
        Arg::Tensor(c) => Operand::View(src_as(c, &c.layout.broadcast_to(shape))),
        Arg::Scalar(s) => Operand::Scalar(*s),
        // Binding let nothing else through: the kernel's call names a wrong parameter.
        _ => panic!("argument {i} is not an operand"),
    }
}

/// Copies elements, converting dtypes; the shapes are equal.
pub fn copy(from: &Core, to: &Core) {
    elementwise::copy(src(from), dst(to));
}

/// Parts of a result that are large together and no work for several threads each.
pub fn worth_sharing(parts: &[Core], whole: &Core) -> bool {
    const LARGE: usize = 1 << 16;
    let n = whole.numel();
    n >= LARGE && parts.len() > 1 && n / parts.len() <= 2 * LARGE
}

/// As [`copy`] for parts of one result, which threads share.
pub fn copy_all(parts: &[(&Core, Core)]) {
    parallel::for_range(parts.len(), 1, |range| {
        parts[range].iter().for_each(|(from, to)| copy(from, to))
    });
}

pub fn fill(to: &Core, value: Scalar) {
    elementwise::fill(dst(to), value);
}

/// `c` itself when it has this dtype, else a converted contiguous copy.
pub fn cast(c: &Core, dtype: DType) -> Result<Core> {
    if c.dtype == dtype {
        return Ok(c.clone());
    }
    let out = Core::empty(*c.shape(), dtype, Device::Cpu)?;
    copy(c, &out);
    Ok(out)
}

/// Row-major elements in the given dtype: `c` itself where it is so already.
pub fn contiguous(c: &Core, dtype: DType) -> Result<Core> {
    if c.dtype == dtype && c.layout.is_contiguous() {
        return Ok(c.clone());
    }
    let out = Core::empty(*c.shape(), dtype, Device::Cpu)?;
    copy(c, &out);
    Ok(out)
}

/// `c` itself where some dim is dense, else a copy whose dims have strides in the same order: for kernels that pass over their
/// input more than once, or line by line.
pub fn dense(c: &Core) -> Result<Core> {
    let dims = || {
        (0..c.rank())
            .filter(|&d| c.shape()[d] != 1)
            .map(|d| c.layout.strides()[d])
    };
    if c.numel() <= 1 || dims().any(|s| (0..=1).contains(&s)) {
        return Ok(c.clone());
    }
    let out = Core::empty_with(c.layout.packed_alike(), c.dtype, Device::Cpu)?;
    copy(c, &out);
    Ok(out)
}

/// `c` itself where some dim is dense in it and in `out`, else a copy that lies as `out` does: for kernels that go from line to
/// line of both.
pub fn dense_with(c: &Core, out: &Core) -> Result<Core> {
    let both = |d: usize| c.shape()[d] != 1 && c.layout.strides()[d] == 1 && out.layout.strides()[d] == 1;
    if c.numel() <= 1 || (0..c.rank()).any(both) {
        return Ok(c.clone());
    }
    let copied = Core::empty_with(out.layout.packed_alike(), c.dtype, Device::Cpu)?;
    copy(c, &copied);
    Ok(copied)
}

/// An output of the dtype that kernels write: the output itself, or a temporary that [`Output::store`] converts.
pub struct Output {
    pub core: Core,
    to: Option<Core>,
}

/// Where a kernel compiled for `dtype` may write `out`.
pub fn output(out: &Core, dtype: DType) -> Result<Output> {
    if out.dtype == dtype {
        return Ok(Output {
            core: out.clone(),
            to: None,
        });
    }
    Ok(Output {
        core: Core::empty(*out.shape(), dtype, Device::Cpu)?,
        to: Some(out.clone()),
    })
}

/// As [`output`], and row-major.
pub fn contiguous_output(out: &Core, dtype: DType) -> Result<Output> {
    if out.layout.is_contiguous() {
        return output(out, dtype);
    }
    Ok(Output {
        core: Core::empty(*out.shape(), dtype, Device::Cpu)?,
        to: Some(out.clone()),
    })
}

impl Output {
    pub fn dst(&self) -> AnyDst<'_> {
        dst(&self.core)
    }
    pub fn store(self) {
        if let Some(to) = self.to {
            copy(&self.core, &to);
        }
    }
}

/// One element as a number.
pub fn item(c: &Core) -> Scalar {
    let at = |p: *mut u8| p;
    let p = at(pointer(c, c.layout.offset));
    firesteel_kernels::with_element!(c.dtype, T => {
        // SAFETY: the caller has a tensor with at least one element; its first lies at the offset.
        let v: T = unsafe { p.cast::<T>().read() };
        match c.dtype {
            DType::Bool => Scalar::Bool(v.to_i64() != 0),
            d if d.is_float() => Scalar::Float(v.to_f64()),
            _ => Scalar::Int(v.to_i64()),
        }
    })
}

/// All elements in row-major order, as f64.
pub fn to_f64(c: &Core) -> Result<Vec<f64>> {
    let t = contiguous(c, DType::F64)?;
    let n = t.numel();
    // SAFETY: contiguous float64 elements, alive with `t`.
    Ok(unsafe { std::slice::from_raw_parts(pointer(&t, t.layout.offset).cast::<f64>(), n) }.to_vec())
}

/// All elements in row-major order, as i64.
pub fn to_i64(c: &Core) -> Result<Vec<i64>> {
    let t = contiguous(c, DType::I64)?;
    let n = t.numel();
    // SAFETY: contiguous int64 elements, alive with `t`.
    Ok(unsafe { std::slice::from_raw_parts(pointer(&t, t.layout.offset).cast::<i64>(), n) }.to_vec())
}

/// A contiguous tensor from values in row-major order.
pub fn from_slice<T: Element>(values: &[T], shape: Dims) -> Result<Core> {
    assert_eq!(values.len(), shape.numel());
    let out = Core::empty(shape, T::DTYPE, Device::Cpu)?;
    // SAFETY: a fresh buffer of exactly this many elements.
    unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), out.buffer.ptr().cast::<T>(), values.len()) };
    Ok(out)
}

/// The elements of a contiguous tensor.
pub fn slice<T: Element>(c: &Core) -> &[T] {
    assert!(c.dtype == T::DTYPE && c.layout.is_contiguous());
    // SAFETY: the core's layout lies inside its buffer, and contiguous elements are a slice.
    unsafe { std::slice::from_raw_parts(pointer(c, c.layout.offset).cast::<T>(), c.numel()) }
}

/// The elements of a new contiguous tensor, to be written.
// A core is a handle, as the pointers behind `dst` are: who writes when is dispatch's business, not the borrow's.
#[allow(clippy::mut_from_ref)]
pub fn slice_mut<T: Element>(c: &Core) -> &mut [T] {
    assert!(c.dtype == T::DTYPE && c.layout.is_contiguous());
    // SAFETY: as in `slice`; dispatch, or the caller who made it, sees to it that nothing else uses these elements.
    unsafe { std::slice::from_raw_parts_mut(pointer(c, c.layout.offset).cast::<T>(), c.numel()) }
}

/// Elements of the operands that ops carry out whole, at most.
pub const SMALL: usize = 1024;

/// The elements of a small row-major float32 tensor on the CPU.
#[inline]
pub fn small(c: &Core) -> Option<&[f32]> {
    if c.dtype != DType::F32 || c.device() != Device::Cpu || !c.layout.is_contiguous() {
        return None;
    }
    let n = c.numel();
    if n == 0 || n > SMALL {
        return None;
    }
    // SAFETY: as in `slice`.
    Some(unsafe { std::slice::from_raw_parts(pointer(c, c.layout.offset).cast(), n) })
}

/// A new float32 tensor of up to [`MAX_RANK`](firesteel_kernels::MAX_RANK) dims, written by `f`.
#[inline]
pub fn made(sizes: &[usize], f: impl FnOnce(&mut [f32])) -> Option<Core> {
    let out = Core::small(sizes, DType::F32).ok()?;
    let n = sizes.iter().product();
    // SAFETY: a fresh buffer of this many elements, which nobody else has seen; f32 has no invalid bits.
    f(unsafe { std::slice::from_raw_parts_mut(out.buffer.ptr().cast(), n) });
    Some(out)
}

/// Calls `f` with the elements of contiguous tensors, of which no two may overlap, for writing.
pub fn with_slices_mut<T: Element, R>(list: &[&Core], f: impl FnOnce(Vec<&mut [T]>) -> R) -> Result<R> {
    let mut ranges: Vec<(usize, usize)> = list
        .iter()
        .map(|c| {
            let start = c.buffer.ptr() as usize + c.layout.offset * c.dtype.size();
            (start, start + c.numel() * c.dtype.size())
        })
        .filter(|(a, b)| a < b)
        .collect();
    ranges.sort_unstable();
    if ranges.windows(2).any(|w| w[1].0 < w[0].1) {
        return crate::Error::runtime("two of the tensors to be written share memory");
    }
    let slice = |c: &&Core| {
        assert!(c.dtype == T::DTYPE && c.layout.is_contiguous());
        // SAFETY: as in `slice`; the ranges are disjoint, so each element is reachable through one slice only.
        unsafe { std::slice::from_raw_parts_mut(pointer(c, c.layout.offset).cast::<T>(), c.numel()) }
    };
    Ok(f(list.iter().map(slice).collect()))
}
