//! For this crate's own tests and benchmarks alone: nothing else may use it, and it changes as the crate does.
//!
//! The tests are a crate of their own (`rust/tests/suite`), so that the library is compiled once, for the wheel and for them:
//! as unit tests they would have it compiled again with the tests inside. What they ask of private modules comes through
//! here, by the name of the module.

pub mod buffer {
    use crate::buffer;

    /// How many classes of blocks there are.
    pub const CLASSES: usize = buffer::CLASSES;

    /// Bytes of a class's blocks.
    pub fn class_bytes(class: usize) -> usize {
        buffer::class_bytes(class)
    }

    /// The class of blocks for so many bytes.
    pub fn class_of(bytes: usize) -> usize {
        buffer::class_of(bytes)
    }
}

pub mod conv {
    pub use crate::ops::spatial::five;
}

pub mod matmul {
    use crate::error::Result;
    use crate::layout::{Dims, Layout};
    use crate::ops::matmul;

    /// How a product is computed.
    pub struct Plan {
        pub b: Layout,
        pub c: Dims,
        pub shape: Dims,
    }

    /// The right operand and the result as stacks of matrices, and the shape that a program sees.
    pub fn plan(a: &Layout, b: &Layout) -> Result<Plan> {
        let matmul::Plan { b, c, shape, .. } = matmul::plan(a, b)?;
        Ok(Plan { b, c, shape })
    }
}

pub mod shader {
    /// A shader's text with the library functions that it names, and those that they name.
    pub fn linked(body: String) -> String {
        crate::device::gpu::linked(body)
    }
}

pub mod wgpu {
    pub use crate::device::wgpu::pool::{LEAST, class_of};
}
