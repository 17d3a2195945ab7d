//! Where tensors live. A device allocates and runs records; it does not grow with the ops.

pub mod cpu;

/// A device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Device {
    Cpu,
    /// Shapes and dtypes without memory.
    Meta,
}

impl Device {
    pub fn name(self) -> &'static str {
        match self {
            Device::Cpu => "cpu",
            Device::Meta => "meta",
        }
    }
}
