//! A tensor without Python: a buffer, a layout, a dtype and a version counter.

use crate::buffer::{Buffer, Version};
use crate::device::Device;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::layout::{Dims, Layout};
use crate::shared::Shared;
use std::ops::Deref;
use std::sync::Arc;

/// Elements of one dtype, laid out in a shared buffer.
///
/// One pointer to immutable facts: a clone costs one atomic increment, wherever arguments, saved values and tensors hold
/// the same core. (Measured: as a 170-byte value, moving cores took a third of `a + b`.)
#[derive(Clone)]
pub struct Core(Shared<Inner>);

/// What a [`Core`] shares.
pub struct Inner {
    pub buffer: Shared<Buffer>,
    pub layout: Layout,
    pub dtype: DType,
    /// Counter of its own, for what `x.data` returns; `None`: the buffer's.
    own_version: Option<Arc<Version>>,
}

impl Deref for Core {
    type Target = Inner;
    #[inline(always)]
    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// Memory on another device than the CPU.
#[cold]
fn elsewhere(device: Device, bytes: usize, dtype: DType) -> Result<Shared<Buffer>> {
    match device {
        Device::Meta => Ok(Buffer::meta(bytes)),
        _ if !device.takes(dtype) => Error::unsupported(format!(
            "{} is not supported on device '{}': it takes float32, int32, int64 (stored in 32 bits) and bool",
            dtype.name(),
            device.name()
        )),
        _ => Buffer::gpu(bytes / dtype.size(), bytes),
    }
}

impl Core {
    #[inline]
    fn make(buffer: Shared<Buffer>, layout: &Layout, dtype: DType, own_version: Option<Arc<Version>>) -> Core {
        Core(Shared::new(|| Inner {
            buffer,
            layout: *layout,
            dtype,
            own_version,
        }))
    }

    /// Uninitialised and row-major; `sizes` of at most `MAX_RANK` dims, which fit in memory.
    #[inline]
    fn packed(sizes: &[usize], dtype: DType, device: Device) -> Result<Core> {
        let bytes = sizes.iter().product::<usize>() * dtype.size();
        let buffer = match device {
            Device::Cpu => Buffer::new(bytes)?,
            other => elsewhere(other, bytes, dtype)?,
        };
        let bare = || Inner {
            buffer,
            layout: Layout::SCALAR,
            dtype,
            own_version: None,
        };
        Ok(Core(Shared::filled(bare, |inner| inner.layout.become_packed(sizes))))
    }

    /// Uninitialised and contiguous.
    pub fn empty(shape: Dims, dtype: DType, device: Device) -> Result<Core> {
        shape.check()?;
        Core::packed(&shape, dtype, device)
    }

    /// Uninitialised, row-major, on the CPU, of a shape made of parts of a tensor's.
    pub fn small(sizes: &[usize], dtype: DType) -> Result<Core> {
        debug_assert!(Dims::new(sizes).is_ok_and(|d| d.check().is_ok()));
        Core::packed(sizes, dtype, Device::Cpu)
    }

    /// The same memory under a layout (inside the old one) that `change` makes of the old one in its place.
    #[inline]
    pub fn seen_as(&self, change: impl FnOnce(&mut Layout) -> Result<()>) -> Result<Core> {
        let mut changed = Ok(());
        let make = || Inner {
            buffer: self.buffer.clone(),
            layout: self.layout,
            dtype: self.dtype,
            own_version: self.own_version.clone(),
        };
        let seen = Core(Shared::filled(make, |inner| changed = change(&mut inner.layout)));
        changed?;
        debug_assert!(seen.layout.end() * seen.dtype.size() <= seen.buffer.bytes());
        Ok(seen)
    }

    /// Uninitialised memory for a dense layout with offset 0.
    pub fn empty_with(layout: Layout, dtype: DType, device: Device) -> Result<Core> {
        layout.shape.check()?;
        let bytes = layout.numel() * dtype.size();
        let buffer = match device {
            Device::Cpu => Buffer::new(bytes)?,
            other => elsewhere(other, bytes, dtype)?,
        };
        Ok(Core::make(buffer, &layout, dtype, None))
    }

    /// Uninitialised, row-major, of the shape of a tensor that is row-major itself.
    pub fn empty_like(like: &Core, dtype: DType) -> Result<Core> {
        let bytes = like.numel() * dtype.size();
        let buffer = match like.device() {
            Device::Cpu => Buffer::new(bytes)?,
            other => elsewhere(other, bytes, dtype)?,
        };
        let bare = || Inner {
            buffer,
            layout: like.layout,
            dtype,
            own_version: None,
        };
        Ok(Core(Shared::filled(bare, |inner| inner.layout.offset = 0)))
    }

    /// Elements of an existing buffer; refused when the layout reaches outside it.
    pub fn over(buffer: Shared<Buffer>, layout: Layout, dtype: DType) -> Result<Core> {
        let reach = layout.end().checked_mul(dtype.size());
        if layout.strides().iter().any(|&s| s < 0) || reach.is_none_or(|r| r > buffer.bytes()) {
            return Error::runtime(format!(
                "setStorage: sizes {}, strides {:?}, storage offset {} require a storage of {} bytes, but it has {}",
                layout.shape,
                layout.strides(),
                layout.offset,
                reach.unwrap_or(usize::MAX),
                buffer.bytes()
            ));
        }
        Ok(Core::make(buffer, &layout, dtype, None))
    }

    /// The same memory under a layout that a view rule made (inside the old one).
    pub fn with_layout(&self, layout: Layout) -> Core {
        debug_assert!(layout.end() * self.dtype.size() <= self.buffer.bytes());
        Core::make(self.buffer.clone(), &layout, self.dtype, self.own_version.clone())
    }

    /// The same memory with a version counter of its own (`x.data`).
    pub fn unversioned(&self) -> Core {
        Core::make(self.buffer.clone(), &self.layout, self.dtype, Some(Arc::default()))
    }

    #[inline(always)]
    pub fn version(&self) -> &Version {
        match &self.own_version {
            Some(v) => v,
            None => &self.buffer.version,
        }
    }

    #[inline(always)]
    pub fn device(&self) -> Device {
        self.buffer.device()
    }

    #[inline(always)]
    pub fn shape(&self) -> &Dims {
        &self.layout.shape
    }

    pub fn rank(&self) -> usize {
        self.layout.rank()
    }

    pub fn numel(&self) -> usize {
        self.layout.numel()
    }

    /// Both use some of the same bytes (their address ranges meet).
    pub fn overlaps(&self, other: &Core) -> bool {
        if !Shared::ptr_eq(&self.buffer, &other.buffer) || self.numel() == 0 || other.numel() == 0 {
            return false;
        }
        let range = |c: &Core| (c.layout.offset * c.dtype.size(), c.layout.end() * c.dtype.size());
        let ((a, b), (c, d)) = (range(self), range(other));
        a < d && c < b
    }

    /// Refuses to write where elements share memory, or where the memory was handed over read-only.
    pub fn check_writable(&self) -> Result<()> {
        if self.layout.self_overlaps() {
            return Error::runtime(
                "unsupported operation: more than one element of the written-to tensor refers to a single memory \
                 location. Please clone() the tensor before performing the operation.",
            );
        }
        if !self.buffer.is_writable() {
            return Error::runtime(
                "the tensor's memory is read-only (it came from a read-only array); clone() it first",
            );
        }
        Ok(())
    }

    /// How many hold this core; `None` when other cores use its buffer too.
    pub fn holders(&self) -> Option<usize> {
        (self.buffer.holders() == 1).then(|| self.0.holders())
    }

    /// One and the same core.
    pub fn is(&self, other: &Core) -> bool {
        Shared::ptr_eq(&self.0, &other.0)
    }

    /// Exactly the same elements in the same order.
    pub fn same_elements(&self, other: &Core) -> bool {
        Shared::ptr_eq(&self.buffer, &other.buffer) && self.layout == other.layout && self.dtype == other.dtype
    }
}
