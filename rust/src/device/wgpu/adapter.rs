//! Finding an adapter and opening its device.

use super::pool::Pool;
use super::queue::State;
use super::{Broken, Gpu, forked, lock, ready};
use crate::error::{Error, Result};
use ::wgpu::{Adapter, Backends, DeviceType, Instance, InstanceDescriptor};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock};

/// The driver's loader, and the process that loaded it.
static INSTANCE: OnceLock<(u32, Instance)> = OnceLock::new();

fn instance() -> Result<&'static Instance> {
    let (process, instance) = INSTANCE.get_or_init(|| {
        let mut description = InstanceDescriptor::new_without_display_handle();
        description.backends = Backends::VULKAN | Backends::METAL | Backends::DX12;
        // Validation layers are the driver developer's; ours are wgpu's own checks.
        description.flags = ::wgpu::InstanceFlags::empty();
        (std::process::id(), Instance::new(description))
    });
    if *process != std::process::id() {
        return forked();
    }
    Ok(instance)
}

/// How good a choice an adapter is: real cards before software.
fn rank(adapter: &Adapter) -> u8 {
    match adapter.get_info().device_type {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    }
}

/// Looked for once: asking again makes some drivers talk.
fn found() -> Result<&'static [Adapter]> {
    static FOUND: OnceLock<Vec<Adapter>> = OnceLock::new();
    let instance = instance()?;
    Ok(FOUND.get_or_init(|| search(instance)))
}

fn search(instance: &Instance) -> Vec<Adapter> {
    let all = ready(instance.enumerate_adapters(Backends::all())).unwrap_or_default();
    let mut fit: Vec<Adapter> = all
        .into_iter()
        .filter(|a| {
            a.limits().max_compute_workgroup_size_x >= 256 && a.limits().max_storage_buffers_per_shader_stage >= 8
        })
        .collect();
    fit.sort_by_key(rank);
    fit
}

/// The names of the adapters that can be used, the one that is used first. Makes no device.
pub fn adapters() -> Result<Vec<String>> {
    Ok(found()?.iter().map(|a| a.get_info().name).collect())
}

/// Opens the best adapter's device.
pub(super) fn open() -> Result<Gpu> {
    let Some(adapter) = found()?.first() else {
        return Error::runtime(
            "no gpu was found: neither a driver for Vulkan, Metal or DirectX 12 nor a software one (on Debian and Ubuntu: \
             apt install mesa-vulkan-drivers); use device='cpu'",
        );
    };
    let limits = adapter.limits();
    let description = ::wgpu::DeviceDescriptor {
        label: Some("firesteel"),
        // None is needed; asking for all that an adapter names fails on some.
        required_features: ::wgpu::Features::empty(),
        required_limits: limits.clone(),
        memory_hints: ::wgpu::MemoryHints::Performance,
        ..Default::default()
    };
    let (device, queue) = match ready(adapter.request_device(&description)) {
        Some(Ok(pair)) => pair,
        Some(Err(e)) => {
            return Error::runtime(format!(
                "the gpu '{}' could not be opened: {e}",
                adapter.get_info().name
            ));
        }
        None => return Error::runtime("the gpu's driver did not answer"),
    };
    let broken = Arc::new(Broken::default());
    let told = broken.clone();
    device.set_device_lost_callback(move |_, why| {
        *lock(&told.message) = Some((false, why));
        told.lost.store(true, Ordering::Release);
    });
    let told = broken.clone();
    device.on_uncaptured_error(Arc::new(move |e: ::wgpu::Error| {
        let memory = matches!(e, ::wgpu::Error::OutOfMemory { .. });
        lock(&told.message).get_or_insert((memory, e.to_string()));
    }));
    let state = State::new(&device)?;
    Ok(Gpu {
        device,
        queue,
        info: adapter.get_info(),
        limits,
        process: std::process::id(),
        sync: std::env::var("FIRESTEEL_GPU_SYNC").is_ok_and(|v| v != "0" && !v.is_empty()),
        broken,
        state: Mutex::new(state),
        pool: Mutex::new(Pool::default()),
    })
}
