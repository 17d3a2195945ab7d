//! The gpu as a machine: an adapter, one device per process, memory, a queue of work. No tensors and no ops here:
//! `device::gpu` makes shaders of ops and hands them over as [`Job`]s.
//!
//! Nothing happens before the first use: importing loads no driver; [`adapters`] loads it and makes no device.
//!
//! Every element is one 32-bit word (f32, i32, or a truth value as 0 and 1; an int64 is stored as i32), so that a
//! tensor's layout means the same in words as in elements.

mod adapter;
pub(crate) mod pool;
mod queue;

pub use adapter::adapters;
pub use pool::Memory;
pub use queue::{Binding, Job};

use crate::error::{Error, ErrorKind, Result};
use pool::Pool;
use queue::State;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::{Context, Poll, Waker};

/// The process's one device.
pub struct Gpu {
    device: ::wgpu::Device,
    queue: ::wgpu::Queue,
    info: ::wgpu::AdapterInfo,
    limits: ::wgpu::Limits,
    /// The process that made it: a forked child has no use of its parent's driver.
    process: u32,
    /// Wait for each dispatch, so that an error names its op (`FIRESTEEL_GPU_SYNC=1`).
    sync: bool,
    broken: Arc<Broken>,
    state: Mutex<State>,
    pool: Mutex<Pool>,
}

/// What the driver reports from wherever it notices.
#[derive(Default)]
struct Broken {
    lost: AtomicBool,
    /// Why the device was lost, or the latest error that no one waits for.
    message: Mutex<Option<(bool, String)>>,
}

static DEVICE: OnceLock<Result<Gpu>> = OnceLock::new();

/// The device, made at the first call.
pub fn get() -> Result<&'static Gpu> {
    let gpu = DEVICE.get_or_init(adapter::open).as_ref().map_err(Error::clone)?;
    gpu.check()?;
    Ok(gpu)
}

/// The device if there is one that this process may use.
fn existing() -> Option<&'static Gpu> {
    DEVICE
        .get()
        .and_then(|d| d.as_ref().ok())
        .filter(|d| d.process == std::process::id())
}

/// Whether a device was made (a test of lazy beginnings).
pub fn is_open() -> bool {
    existing().is_some()
}

/// Waits until all work is done; without a device there is none.
pub fn synchronize() -> Result<()> {
    match existing() {
        Some(gpu) => gpu.finish(),
        None => Ok(()),
    }
}

/// Gives unused memory back to the driver.
pub fn empty_cache() -> Result<()> {
    if let Some(gpu) = existing() {
        gpu.finish()?;
        gpu.pool().empty();
    }
    Ok(())
}

/// Takes the device away, as a driver's reset does; for tests of what follows.
pub fn lose() {
    if let Some(gpu) = existing() {
        gpu.device.destroy();
    }
}

/// (bytes in tensors, bytes kept for reuse).
pub fn memory() -> (u64, u64) {
    existing().map_or((0, 0), |gpu| gpu.pool().stats())
}

#[cold]
pub(super) fn forked<T>() -> Result<T> {
    Error::runtime(
        "the gpu device cannot be used in a forked child process; start workers with the 'spawn' method, or use the cpu \
         in them",
    )
}

impl Gpu {
    /// Refuses what cannot work: another process's device, a lost one, one with an error that nobody was told of.
    fn check(&self) -> Result<()> {
        if self.process != std::process::id() {
            return forked();
        }
        let mut message = lock(&self.broken.message);
        if self.broken.lost.load(Ordering::Acquire) {
            let why = message.as_ref().map_or("", |(_, m)| m);
            return Error::runtime(format!(
                "the gpu device was lost; tensors on it are gone, and the process must be started again to use it: {why}"
            ));
        }
        match message.take() {
            None => Ok(()),
            Some((true, m)) => Err(Error::new(ErrorKind::OutOfMemory, format!("gpu out of memory: {m}"))),
            Some((false, m)) => Error::runtime(format!("the gpu device failed: {m}")),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        lock(&self.pool)
    }

    pub fn name(&self) -> &str {
        &self.info.name
    }

    /// Bytes that one tensor can have.
    pub fn largest(&self) -> u64 {
        self.limits
            .max_storage_buffer_binding_size
            .min(self.limits.max_buffer_size)
    }

    /// Workgroups along one dim of a dispatch.
    pub fn most_groups(&self) -> u32 {
        self.limits.max_compute_workgroups_per_dimension
    }
}

/// A lock that a panic elsewhere does not take away.
fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(|e| e.into_inner())
}

/// The value of a future that is ready, as those of native wgpu are.
fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(v) => Some(v),
        Poll::Pending => None,
    }
}
