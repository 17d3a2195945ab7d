//! Arrays for the benchmarks: memory of their own, lent to kernels as views.

use firesteel_kernels::{AnyDst, AnySrc, DType, Dst, Src};

/// Floats in row-major order.
pub struct Array {
    values: Vec<f32>,
    shape: Vec<usize>,
    strides: Vec<isize>,
}

impl Array {
    /// Small values that look random and are the same in each run.
    pub fn new(shape: &[usize]) -> Array {
        let mut state = 0x9e37_79b9u32;
        let numel = shape.iter().product();
        let values = (0..numel)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect();
        let mut strides = vec![1isize; shape.len()];
        for d in (1..shape.len()).rev() {
            strides[d - 1] = strides[d] * shape[d] as isize;
        }
        Array {
            values,
            shape: shape.to_vec(),
            strides,
        }
    }

    pub fn numel(&self) -> usize {
        self.values.len()
    }

    pub fn as_ptr(&self) -> *const f32 {
        self.values.as_ptr()
    }

    pub fn as_mut_ptr(&mut self) -> *mut f32 {
        self.values.as_mut_ptr()
    }

    pub fn src(&self) -> Src<'_, f32> {
        // SAFETY: shape and strides address exactly the vector, which the borrow keeps alive and unwritten.
        unsafe { Src::new(self.values.as_ptr(), &self.shape, &self.strides) }
    }

    pub fn dst(&mut self) -> Dst<'_, f32> {
        // SAFETY: as above; the borrow is exclusive.
        unsafe { Dst::new(self.values.as_mut_ptr(), &self.shape, &self.strides) }
    }

    pub fn any_src(&self) -> AnySrc<'_> {
        // SAFETY: as for `src`; a vector of f32 is aligned for f32.
        unsafe { AnySrc::new(self.values.as_ptr().cast(), DType::F32, &self.shape, &self.strides) }
    }

    pub fn any_dst(&mut self) -> AnyDst<'_> {
        // SAFETY: as for `dst`.
        unsafe { AnyDst::new(self.values.as_mut_ptr().cast(), DType::F32, &self.shape, &self.strides) }
    }
}
