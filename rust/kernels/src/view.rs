//! Strided views of memory: what kernels read ([`Src`]) and write ([`Dst`]).
//!
//! A view is a pointer, a shape and strides in elements (zero for broadcast dims, never negative where written). It is
//! made by an `unsafe` constructor whose caller promises that every index inside the shape lies inside the allocation;
//! kernels then only form such indices.

use crate::dtype::{DType, Element};
use std::marker::PhantomData;

/// Most dims a view can have.
pub const MAX_RANK: usize = 8;

macro_rules! view_common {
    () => {
        #[inline(always)]
        pub fn rank(&self) -> usize {
            self.rank
        }
        #[inline(always)]
        pub fn shape(&self) -> &[usize] {
            &self.shape[..self.rank]
        }
        /// Strides in elements.
        #[inline(always)]
        pub fn strides(&self) -> &[isize] {
            &self.strides[..self.rank]
        }
        pub fn numel(&self) -> usize {
            self.shape().iter().product()
        }
        /// Elements lie one after another in row-major order.
        pub fn is_contiguous(&self) -> bool {
            let mut expect = 1isize;
            for i in (0..self.rank()).rev() {
                if self.shape[i] == 0 {
                    return true;
                }
                if self.shape[i] != 1 {
                    if self.strides[i] != expect {
                        return false;
                    }
                    expect *= self.shape[i] as isize;
                }
            }
            true
        }
    };
}

fn dims(shape: &[usize], strides: &[isize]) -> (usize, [usize; MAX_RANK], [isize; MAX_RANK]) {
    assert!(shape.len() <= MAX_RANK && shape.len() == strides.len());
    let (mut s, mut t) = ([1; MAX_RANK], [0; MAX_RANK]);
    // A plain loop: `copy_from_slice` of a few words costs a call.
    for (i, (&n, &step)) in shape.iter().zip(strides).enumerate() {
        s[i] = n;
        t[i] = step;
    }
    (shape.len(), s, t)
}

macro_rules! typed_view {
    ($(#[$doc:meta])* $name:ident, $ptr:ty, $life:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name<'a, T> {
            ptr: $ptr,
            rank: usize,
            shape: [usize; MAX_RANK],
            strides: [isize; MAX_RANK],
            life: PhantomData<$life>,
        }

        // SAFETY: a view is plain data; its constructor's contract covers use from several threads.
        unsafe impl<T: Send> Send for $name<'_, T> {}
        // SAFETY: as above.
        unsafe impl<T: Sync> Sync for $name<'_, T> {}

        impl<T> $name<'_, T> {
            /// # Safety
            /// Every index inside `shape` must address an element of a live allocation for as long as the view is used,
            /// and nothing else may write there meanwhile (for a `Dst`: nothing else may access it, the kernel's own
            /// inputs with exactly the same layout apart).
            pub unsafe fn new(ptr: $ptr, shape: &[usize], strides: &[isize]) -> Self {
                let (rank, shape, strides) = dims(shape, strides);
                Self { ptr, rank, shape, strides, life: PhantomData }
            }
            #[inline(always)]
            pub fn ptr(&self) -> $ptr {
                self.ptr
            }
            view_common!();
        }
    };
}

typed_view!(
    /// Memory that a kernel reads.
    Src, *const T, &'a T
);
typed_view!(
    /// Memory that a kernel writes (and may read). `Copy`, so that threads can share it; chunks they write are disjoint.
    Dst, *mut T, &'a mut T
);

macro_rules! any_view {
    ($(#[$doc:meta])* $name:ident, $ptr:ty, $life:ty, $typed:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name<'a> {
            ptr: $ptr,
            dtype: DType,
            rank: usize,
            shape: [usize; MAX_RANK],
            strides: [isize; MAX_RANK],
            life: PhantomData<$life>,
        }

        // SAFETY: a view is plain data; its constructor's contract covers use from several threads.
        unsafe impl Send for $name<'_> {}
        // SAFETY: as above.
        unsafe impl Sync for $name<'_> {}

        impl<'a> $name<'a> {
            /// # Safety
            /// As for the typed view of `dtype`'s storage type; `ptr` must be aligned for it.
            pub unsafe fn new(ptr: $ptr, dtype: DType, shape: &[usize], strides: &[isize]) -> Self {
                let (rank, shape, strides) = dims(shape, strides);
                Self { ptr, dtype, rank, shape, strides, life: PhantomData }
            }
            #[inline(always)]
            pub fn ptr(&self) -> $ptr {
                self.ptr
            }
            #[inline(always)]
            pub fn dtype(&self) -> DType {
                self.dtype
            }
            /// The same view with its static type; panics when `T` is not the dtype's storage type.
            pub fn typed<T: Element>(&self) -> $typed<'a, T> {
                assert!(T::DTYPE == self.dtype, "a {} view read as {}", self.dtype.name(), T::DTYPE.name());
                // SAFETY: same memory, same shape, and the element type is the one promised to `new`.
                unsafe { $typed::new(self.ptr.cast(), self.shape(), self.strides()) }
            }
            view_common!();
        }
    };
}

any_view!(
    /// [`Src`] with a run-time dtype.
    AnySrc, *const u8, &'a u8, Src
);
any_view!(
    /// [`Dst`] with a run-time dtype.
    AnyDst, *mut u8, &'a mut u8, Dst
);

impl<'a> AnyDst<'a> {
    /// The memory as an input, for kernels that update in place.
    pub fn as_src(&self) -> AnySrc<'a> {
        // SAFETY: reading what one may write; the contract of `new` covers it.
        unsafe { AnySrc::new(self.ptr, self.dtype, self.shape(), self.strides()) }
    }
}
