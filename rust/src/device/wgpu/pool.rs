//! Memory on the gpu: whole buffers in size classes, kept for reuse when a tensor dies.
//!
//! A tensor has a buffer to itself, because the same buffer may not be read and written by two bindings of one dispatch,
//! not even in different places. Work is carried out in the order in which it is queued, so a buffer may be handed out
//! again while the work of its former owner is still to come.

use super::{Gpu, existing, ready};
use crate::error::{Error, ErrorKind, Result};
use ::wgpu::{Buffer, BufferDescriptor, BufferUsages, ErrorFilter};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that the pool keeps at most.
const KEEP: u64 = 1 << 30;
/// The smallest buffer, in bytes.
pub const LEAST: u64 = 256;

/// A buffer that one tensor (with its views) owns.
pub struct Memory {
    pub(super) buffer: Option<Buffer>,
    class: u64,
    process: u32,
    /// The submission that used it last.
    pub(super) last: AtomicU64,
}

#[derive(Default)]
pub(super) struct Pool {
    /// With the submission that used each last: an upload must not overtake work that is queued still.
    free: HashMap<u64, Vec<(Buffer, u64)>>,
    kept: u64,
    live: u64,
}

impl Pool {
    pub fn empty(&mut self) {
        self.free.clear();
        self.kept = 0;
    }

    pub fn stats(&self) -> (u64, u64) {
        (self.live, self.kept)
    }
}

/// Powers of two in quarters, so that at most a quarter is wasted.
pub fn class_of(bytes: u64) -> u64 {
    if bytes <= LEAST {
        return LEAST;
    }
    let quarter = (1u64 << (u64::BITS - 1 - (bytes - 1).leading_zeros())) / 4;
    bytes.div_ceil(quarter) * quarter
}

impl Memory {
    pub(super) fn buffer(&self) -> &Buffer {
        self.buffer.as_ref().expect("taken only by drop")
    }

    /// Bytes of the buffer, more than were asked for.
    pub fn bytes(&self) -> u64 {
        self.class
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let Some(buffer) = self.buffer.take() else { return };
        if self.process != std::process::id() {
            // The parent's: the child must not touch the driver.
            std::mem::forget(buffer);
            return;
        }
        let Some(gpu) = existing() else { return };
        let mut pool = gpu.pool();
        pool.live -= self.class;
        if pool.kept + self.class <= KEEP {
            pool.kept += self.class;
            pool.free
                .entry(self.class)
                .or_default()
                .push((buffer, self.last.load(Ordering::Relaxed)));
        }
    }
}

impl Gpu {
    /// Uninitialised memory for `words` words.
    pub fn allocate(&self, words: usize) -> Result<Memory> {
        let bytes = words as u64 * 4;
        if bytes > self.largest() {
            return Err(Error::new(
                ErrorKind::OutOfMemory,
                format!(
                    "a tensor of {bytes} bytes on device 'gpu': the adapter '{}' takes at most {} bytes in one tensor",
                    self.name(),
                    self.largest()
                ),
            ));
        }
        let class = class_of(bytes).min(self.largest()).next_multiple_of(4);
        let reused = {
            let mut pool = self.pool();
            let found = pool.free.get_mut(&class).and_then(Vec::pop);
            if found.is_some() {
                pool.kept -= class;
                pool.live += class;
            }
            found
        };
        let (buffer, last) = match reused {
            Some(found) => found,
            None => {
                let made = match self.create(class) {
                    Ok(b) => b,
                    Err(_) => {
                        // What is queued may hold freed buffers: let it end, give all back, and try once more.
                        self.finish()?;
                        self.pool().empty();
                        self.create(class).map_err(|e| {
                            Error::new(
                                ErrorKind::OutOfMemory,
                                format!("gpu out of memory: tried to allocate {bytes} bytes ({e})"),
                            )
                        })?
                    }
                };
                self.pool().live += class;
                (made, 0)
            }
        };
        Ok(Memory {
            buffer: Some(buffer),
            class,
            process: self.process,
            last: AtomicU64::new(last),
        })
    }

    fn create(&self, bytes: u64) -> std::result::Result<Buffer, String> {
        let scopes = [
            self.device.push_error_scope(ErrorFilter::OutOfMemory),
            self.device.push_error_scope(ErrorFilter::Validation),
        ];
        let buffer = self.device.create_buffer(&BufferDescriptor {
            label: None,
            size: bytes,
            usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut failed = None;
        for scope in scopes.into_iter().rev() {
            failed = ready(scope.pop()).flatten().or(failed);
        }
        match failed {
            None => Ok(buffer),
            Some(e) => Err(e.to_string()),
        }
    }
}

impl Memory {
    pub(super) fn used(&self, serial: u64) {
        self.last.store(serial, Ordering::Relaxed);
    }
}
