//! Reading and writing at given indices.
//!
//! Indices are checked before anything is written, so a bad index changes nothing. Where they are read again they are
//! brought into range again: an index that another thread overwrites meanwhile is never out of bounds. What only moves elements takes any dtype and
//! moves them by size. Where an element is written several times the order is that of the index, at any thread count.

mod advanced;
mod along;
mod count;
mod masks;
mod place;
mod slices;

use crate::dtype::{DType, Scalar};
use crate::reduce::walk::Walk;
use crate::view::{AnyDst, AnySrc, Dst, Src};
use crate::with_element;

pub use crate::reduce::count_nonzero;
pub use advanced::{index_get, index_put, tril, triu};
pub use along::{ScatterReduce, Source, gather, scatter, scatter_reduce};
pub use count::{bincount, bincount_weighted, bounds, histc, repeated, searchsorted};
pub use masks::{masked_scatter, masked_select, nonzero};
pub use slices::{embedding_backward, index_add, index_copy, index_fill, index_select};

/// An index outside `0..size` (or `-size..size` where PyTorch wraps) of dim `dim`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexError {
    pub index: i64,
    pub size: usize,
    pub dim: usize,
}

impl std::fmt::Display for IndexError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "index {} is out of bounds for dimension {} with size {}",
            self.index, self.dim, self.size
        )
    }
}

impl std::error::Error for IndexError {}

/// A copy of the indices in row-major order, each of them inside `0..size`.
pub(crate) fn checked(index: &Src<i64>, size: usize, wrap: bool, dim: usize) -> Result<Vec<usize>, IndexError> {
    let place = place::check(index, size, wrap, dim)?;
    let mut all = Vec::with_capacity(index.numel());
    let walk = Walk::of(index.shape(), [index.strides()]).coalesce();
    // SAFETY: the walk stays inside the view.
    walk.each(0..walk.count(), |_, [at]| {
        all.push(place.of(unsafe { *index.ptr().offset(at) }))
    });
    Ok(all)
}

/// Size and stride of a dim; a view of rank 0 has one of size 1.
pub(crate) fn axis_of(shape: &[usize], strides: &[isize], axis: usize) -> (usize, isize) {
    if shape.is_empty() {
        (1, 0)
    } else {
        (shape[axis], strides[axis])
    }
}

/// Runs `$body` with `$t` an unsigned integer of the dtype's size.
macro_rules! by_size {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype.size() {
            1 => {
                type $t = u8;
                $body
            }
            2 => {
                type $t = u16;
                $body
            }
            4 => {
                type $t = u32;
                $body
            }
            _ => {
                type $t = u64;
                $body
            }
        }
    };
}
pub(crate) use by_size;

/// The view with elements of `T`, which has the dtype's size.
pub(crate) fn raw<'a, T>(src: &AnySrc<'a>) -> Src<'a, T> {
    assert!(src.dtype().size() == size_of::<T>());
    // SAFETY: the same memory; `T` is an unsigned integer of the element's size and alignment.
    unsafe { Src::new(src.ptr().cast(), src.shape(), src.strides()) }
}

/// As [`raw`], to write to.
pub(crate) fn raw_mut<'a, T>(dst: &AnyDst<'a>) -> Dst<'a, T> {
    assert!(dst.dtype().size() == size_of::<T>());
    // SAFETY: as above; what is written was an element, or made by `bits`.
    unsafe { Dst::new(dst.ptr().cast(), dst.shape(), dst.strides()) }
}

/// The bytes of `value` as an element of `dtype`, in the low bytes.
pub(crate) fn bits(value: Scalar, dtype: DType) -> u64 {
    with_element!(dtype, T => {
        let element: T = value.to();
        let mut bytes = [0u8; 8];
        // SAFETY: an element has at most 8 bytes.
        unsafe { bytes.as_mut_ptr().cast::<T>().write_unaligned(element) };
        u64::from_le_bytes(bytes)
    })
}

/// Numbers that are added and compared in memory.
pub(crate) trait Number: crate::dtype::Element {
    const LOWEST: Self;
    const HIGHEST: Self;
    fn plus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    fn over(self, count: i64) -> Self;
    /// NaN wins.
    fn larger(self, other: Self) -> Self;
    fn smaller(self, other: Self) -> Self;
}

macro_rules! float_number {
    ($($t:ty),*) => {$(
        impl Number for $t {
            const LOWEST: Self = <$t>::NEG_INFINITY;
            const HIGHEST: Self = <$t>::INFINITY;
            #[inline(always)]
            fn plus(self, other: Self) -> Self { self + other }
            #[inline(always)]
            fn times(self, other: Self) -> Self { self * other }
            #[inline(always)]
            fn over(self, count: i64) -> Self { self / count as $t }
            #[inline(always)]
            fn larger(self, other: Self) -> Self { if other > self || other.is_nan() { other } else { self } }
            #[inline(always)]
            fn smaller(self, other: Self) -> Self { if other < self || other.is_nan() { other } else { self } }
        }
    )*};
}
float_number!(f32, f64);

impl Number for i64 {
    const LOWEST: i64 = i64::MIN;
    const HIGHEST: i64 = i64::MAX;
    #[inline(always)]
    fn plus(self, other: i64) -> i64 {
        self.wrapping_add(other)
    }
    #[inline(always)]
    fn times(self, other: i64) -> i64 {
        self.wrapping_mul(other)
    }
    #[inline(always)]
    fn over(self, count: i64) -> i64 {
        // As PyTorch: the mean of integers rounds down.
        self.div_euclid(count)
    }
    #[inline(always)]
    fn larger(self, other: i64) -> i64 {
        self.max(other)
    }
    #[inline(always)]
    fn smaller(self, other: i64) -> i64 {
        self.min(other)
    }
}

impl Number for crate::dtype::Bool {
    const LOWEST: Self = crate::dtype::Bool(0);
    const HIGHEST: Self = crate::dtype::Bool(1);
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        (self.get() | other.get()).into()
    }
    #[inline(always)]
    fn times(self, other: Self) -> Self {
        (self.get() & other.get()).into()
    }
    #[inline(always)]
    fn over(self, _: i64) -> Self {
        self
    }
    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        self.plus(other)
    }
    #[inline(always)]
    fn smaller(self, other: Self) -> Self {
        self.times(other)
    }
}
