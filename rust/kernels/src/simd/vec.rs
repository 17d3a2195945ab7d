//! Vectors of lanes for kernels written by hand: one trait, one token per instruction set.
//!
//! A token ([`Avx512`], [`Avx2`], [`Neon`], [`Scalar`]) stands for the promise that the CPU has the instructions; its
//! constructor is unsafe and is called only inside `#[target_feature]` functions that were picked after detection.
//! Kernels are `#[inline(always)]` functions generic over [`Lanes`], and become real code in such functions.

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

use std::ops::Range;

/// Elements of memory equally far apart that make a vector: lane i is the element `i * step`.
#[derive(Clone, Copy)]
pub struct Every {
    step: u8,
    /// Lanes that are loaded.
    lanes: [u8; 2],
    /// Where in its vector of memory each lane's element lies.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only AVX-512 permutes"))]
    places: [i32; 16],
    /// The vectors of memory that have elements of lanes: to load another, even under an empty mask, may take a long time.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "as above"))]
    parts: [Part; Every::MOST],
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "as above"))]
    count: u8,
}

/// Where a vector of memory begins, which of its elements are loaded, and into which lanes.
#[derive(Clone, Copy)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only AVX-512 permutes"))]
struct Part {
    at: u16,
    touched: u16,
    lanes: u16,
}

impl Every {
    /// The largest step.
    pub const MOST: usize = 8;
    /// No lanes.
    pub const NONE: Self = Self {
        step: 1,
        lanes: [0; 2],
        places: [0; 16],
        parts: [Part {
            at: 0,
            touched: 0,
            lanes: 0,
        }; Self::MOST],
        count: 0,
    };

    /// Lanes `lanes` of `n`, at most 16, `step` apart, at most [`Every::MOST`].
    #[inline(always)]
    pub fn new(n: usize, step: usize, lanes: Range<usize>) -> Self {
        assert!(n <= 16 && lanes.end <= n && (1..=Self::MOST).contains(&step));
        let mut all = Self {
            step: step as u8,
            lanes: [lanes.start as u8, lanes.end as u8],
            ..Self::NONE
        };
        let (mut count, mut at) = (0, usize::MAX);
        for i in lanes {
            let place = i * step % n;
            if i * step - place != at {
                at = i * step - place;
                all.parts[count % Self::MOST].at = at as u16;
                count += 1;
            }
            let part = &mut all.parts[(count - 1) % Self::MOST];
            part.touched |= 1 << place;
            part.lanes |= 1 << i;
            all.places[i] = place as i32;
        }
        all.count = count as u8;
        all
    }

    /// The lanes that are loaded.
    pub fn lanes(&self) -> Range<usize> {
        self.lanes[0].into()..self.lanes[1].into()
    }

    #[cfg(target_arch = "x86_64")]
    fn parts(&self) -> &[Part] {
        &self.parts[..Self::MOST.min(self.count.into())]
    }
}

/// Operations on a vector of `N` lanes of `T`. `fma` rounds once in every set.
///
/// # Safety
/// For all loads and stores: the lanes touched lie inside live memory.
pub trait Lanes<T>: Copy {
    type V: Copy;
    /// Some of the lanes.
    type Mask: Copy;
    /// Some of the lanes, as every second element of memory.
    type Even: Copy;
    /// Lanes of a vector.
    const N: usize;
    /// Side of the block that [`Lanes::transpose`] moves.
    const BLOCK: usize;

    /// # Safety
    /// The CPU has the instruction set, and the caller is compiled for it.
    unsafe fn assume() -> Self;
    fn splat(self, v: T) -> Self::V;
    /// # Safety
    /// See the trait.
    unsafe fn load(self, p: *const T) -> Self::V;
    /// Loads the first `n` lanes (all, when `n` is more), zero in the others.
    /// # Safety
    /// See the trait; only the first `n` are touched.
    unsafe fn load_n(self, p: *const T, n: usize) -> Self::V;
    /// # Safety
    /// See the trait.
    unsafe fn store(self, p: *mut T, v: Self::V);
    /// Stores the first `n` lanes (all, when `n` is more).
    /// # Safety
    /// See the trait; only the first `n` are touched.
    unsafe fn store_n(self, p: *mut T, v: Self::V, n: usize);
    /// Lanes `from..to`; both at most `N`.
    fn mask(self, from: usize, to: usize) -> Self::Mask;
    /// `v`, which is zero in the lanes of `mask`, with these loaded from their places in a vector at `p`.
    /// # Safety
    /// See the trait; only the lanes of `mask` are touched.
    unsafe fn load_more(self, v: Self::V, p: *const T, mask: Self::Mask) -> Self::V;
    /// Lanes `from..to`; both at most `N`.
    fn even(self, from: usize, to: usize) -> Self::Even;
    /// Every second element: lane i from `p[2 * i]`, for the lanes of `mask`; zero in the others.
    /// # Safety
    /// See the trait; only these elements are touched.
    unsafe fn load_even(self, p: *const T, mask: Self::Even) -> Self::V;
    /// Whether [`Lanes::load_every`] is more than a load for each lane.
    const LOADS_EVERY: bool = false;
    /// Lane i from `p[i * step]`, for the lanes that `every` knows; zero in the others.
    /// # Safety
    /// See the trait; only memory between the first and the last of these elements is touched.
    #[inline(always)]
    unsafe fn load_every(self, p: *const T, every: &Every) -> Self::V
    where
        T: Copy + Default,
    {
        let mut all = [T::default(); 16];
        for i in every.lanes() {
            // SAFETY: the caller's promise; no vector is longer than the array.
            all[i] = unsafe { *p.add(i * usize::from(every.step)) };
        }
        // SAFETY: as above.
        unsafe { self.load(all.as_ptr()) }
    }
    /// Stores the lanes of `mask`, lane i to `p[2 * i]`.
    /// # Safety
    /// See the trait; only these elements are touched.
    unsafe fn store_even(self, p: *mut T, v: Self::V, mask: Self::Even);
    /// Stores the first `n` of lanes taken in turn from `even` and `odd` (all, when `n` is more).
    /// # Safety
    /// See the trait; only the first `n` are touched.
    #[inline(always)]
    unsafe fn store_pairs(self, p: *mut T, even: Self::V, odd: Self::V, n: usize)
    where
        T: Copy + Default,
    {
        let mut lanes = [[T::default(); 16]; 2];
        // SAFETY: no vector is longer than an array; the caller's promise.
        unsafe {
            self.store(lanes[0].as_mut_ptr(), even);
            self.store(lanes[1].as_mut_ptr(), odd);
            for i in 0..n.min(2 * Self::N) {
                *p.wrapping_add(i) = lanes[i % 2][i / 2];
            }
        }
    }
    /// Stores the lanes of three vectors, taken in turn.
    /// # Safety
    /// See the trait.
    #[inline(always)]
    unsafe fn store_triples(self, p: *mut T, v: [Self::V; 3])
    where
        T: Copy + Default,
    {
        let mut lanes = [[T::default(); 16]; 3];
        // SAFETY: no vector is longer than an array; the caller's promise.
        unsafe {
            for i in 0..3 {
                self.store(lanes[i].as_mut_ptr(), v[i]);
            }
            for i in 0..3 * Self::N {
                *p.wrapping_add(i) = lanes[i % 3][i / 3];
            }
        }
    }
    /// Elements `part` of what [`Lanes::store_triples`] stores, the first of which would lie at `p`.
    /// # Safety
    /// See the trait; only these elements are touched.
    #[inline(always)]
    unsafe fn store_triples_part(self, p: *mut T, v: [Self::V; 3], part: Range<usize>)
    where
        T: Copy + Default,
    {
        let mut lanes = [T::default(); 48];
        // SAFETY: three vectors are no longer than the array; the caller's promise.
        unsafe { self.store_triples(lanes.as_mut_ptr(), v) };
        for i in part.start..part.end.min(3 * Self::N) {
            // SAFETY: as above.
            unsafe { *p.wrapping_add(i) = lanes[i] };
        }
    }
    /// `a * b + c`
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// Zero where `v` is negative; a NaN and -0.0 stay.
    fn relu(self, v: Self::V) -> Self::V;
    /// Asks for the cache line at `p`, which need not be valid.
    #[inline(always)]
    fn prefetch(self, _p: *const T) {}
    /// The same, into the second-level cache.
    #[inline(always)]
    fn prefetch_far(self, _p: *const T) {}
    /// The same, of a line that is to be written.
    #[inline(always)]
    fn prefetch_write(self, _p: *const T) {}
    /// Reads `cols` (up to `BLOCK`) elements at `offset` from each of `rows` (up to `BLOCK` of them) and writes them as
    /// `cols` rows of `BLOCK` elements (zeros for missing rows), `ld` apart.
    /// # Safety
    /// See the trait. All `BLOCK` elements of each written row are touched.
    unsafe fn transpose(self, rows: &[*const T], offset: isize, cols: usize, dst: *mut T, ld: usize);
    /// Side of the block that [`Lanes::transpose_large`] moves.
    const LARGE: usize = Self::BLOCK;
    /// [`Lanes::transpose`] of blocks of another side.
    /// # Safety
    /// As there, for `LARGE`.
    #[inline(always)]
    unsafe fn transpose_large(self, rows: &[*const T], offset: isize, cols: usize, dst: *mut T, ld: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.transpose(rows, offset, cols, dst, ld) }
    }
}

/// One lane.
#[derive(Clone, Copy)]
pub struct Scalar(());

macro_rules! scalar_lanes {
    ($($t:ty),*) => {$(
        impl Lanes<$t> for Scalar {
            type V = $t;
            type Mask = bool;
            type Even = bool;
            const N: usize = 1;
            const BLOCK: usize = 1;
            #[inline(always)]
            fn mask(self, from: usize, to: usize) -> bool {
                from < to
            }
            #[inline(always)]
            unsafe fn load_more(self, v: $t, p: *const $t, mask: bool) -> $t {
                // SAFETY: the caller's promise.
                if mask { unsafe { *p } } else { v }
            }
            #[inline(always)]
            fn even(self, from: usize, to: usize) -> bool {
                from < to
            }
            #[inline(always)]
            unsafe fn load_even(self, p: *const $t, mask: bool) -> $t {
                // SAFETY: the caller's promise.
                if mask { unsafe { *p } } else { 0.0 }
            }
            #[inline(always)]
            unsafe fn store_even(self, p: *mut $t, v: $t, mask: bool) {
                if mask {
                    // SAFETY: the caller's promise.
                    unsafe { *p = v }
                }
            }
            #[inline(always)]
            unsafe fn assume() -> Self {
                Scalar(())
            }
            #[inline(always)]
            fn splat(self, v: $t) -> $t {
                v
            }
            #[inline(always)]
            unsafe fn load(self, p: *const $t) -> $t {
                // SAFETY: the caller's promise.
                unsafe { *p }
            }
            #[inline(always)]
            unsafe fn load_n(self, p: *const $t, n: usize) -> $t {
                // SAFETY: the caller's promise.
                if n == 0 { 0.0 } else { unsafe { *p } }
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $t, v: $t) {
                // SAFETY: the caller's promise.
                unsafe { *p = v }
            }
            #[inline(always)]
            unsafe fn store_n(self, p: *mut $t, v: $t, n: usize) {
                if n > 0 {
                    // SAFETY: the caller's promise.
                    unsafe { *p = v }
                }
            }
            #[inline(always)]
            fn fma(self, a: $t, b: $t, c: $t) -> $t {
                a.mul_add(b, c)
            }
            #[inline(always)]
            fn add(self, a: $t, b: $t) -> $t {
                a + b
            }
            #[inline(always)]
            fn mul(self, a: $t, b: $t) -> $t {
                a * b
            }
            #[inline(always)]
            fn relu(self, v: $t) -> $t {
                if v < 0.0 { 0.0 } else { v }
            }
            #[inline(always)]
            unsafe fn transpose(self, rows: &[*const $t], offset: isize, cols: usize, dst: *mut $t, _ld: usize) {
                if cols > 0 {
                    // SAFETY: the caller's promise.
                    unsafe { *dst = if rows.is_empty() { 0.0 } else { *rows[0].offset(offset) } }
                }
            }
        }
    )*};
}
scalar_lanes!(f32, f64);

/// Stores to every second element, one by one: masked stores cost more where the processor has them at all.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! store_even_one_by_one {
    ($t:ty) => {
        #[inline(always)]
        unsafe fn store_even(self, p: *mut $t, v: Self::V, mask: Self::Even) {
            let [from, to] = mask.into();
            let mut lanes = [0.0; 16];
            // SAFETY: no vector is longer than the array.
            unsafe { self.store(lanes.as_mut_ptr(), v) };
            for i in from..to {
                // SAFETY: the caller's promise.
                unsafe { *p.wrapping_add(2 * i) = lanes[i] };
            }
        }
    };
}

/// Every second element, one by one: for vectors without an instruction that takes two and sorts them.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! even_one_by_one {
    ($t:ty) => {
        type Even = [usize; 2];
        #[inline(always)]
        fn even(self, from: usize, to: usize) -> [usize; 2] {
            [from, to]
        }
        #[inline(always)]
        unsafe fn load_even(self, p: *const $t, [from, to]: [usize; 2]) -> Self::V {
            let mut lanes = [0.0; 16];
            for i in from..to {
                // SAFETY: the caller's promise.
                lanes[i] = unsafe { *p.wrapping_add(2 * i) };
            }
            // SAFETY: no vector is longer than the array.
            unsafe { self.load(lanes.as_ptr()) }
        }
        store_even_one_by_one!($t);
    };
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::transpose_words;
#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "aarch64")]
pub use arm::Neon;

#[cfg(target_arch = "aarch64")]
#[allow(unused_unsafe, reason = "some of the intrinsics are safe where NEON is always on")]
mod arm;
