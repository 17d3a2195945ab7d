//! Where tensors live. A device allocates and runs records; it does not grow with the ops.
//!
//! `wgpu` is the gpu as a machine (memory and a queue of work); `cpu` and `gpu` lend ops their ways to a tensor's elements:
//! views for kernels there, shaders here.

pub mod cpu;
pub mod gpu;
pub mod wgpu;

use crate::dtype::DType;

/// A device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Device {
    Cpu,
    /// Any adapter of Vulkan, Metal or DirectX 12; the best one.
    Gpu,
    /// Shapes and dtypes without memory.
    Meta,
}

impl Device {
    pub fn name(self) -> &'static str {
        match self {
            Device::Cpu => "cpu",
            Device::Gpu => "gpu",
            Device::Meta => "meta",
        }
    }

    /// Whether tensors of a dtype can be there.
    pub fn takes(self, dtype: DType) -> bool {
        self != Device::Gpu || matches!(dtype, DType::F32 | DType::I32 | DType::I64 | DType::Bool)
    }
}
