//! Walks over several strided views at once, and small helpers shared by the kernels that reduce, scan, index and sort.

use crate::view::{Dst, MAX_RANK, Src};
use std::ops::Range;

/// The dims that `N` views walk in step, each with its own strides in elements.
#[derive(Clone, Copy)]
pub(crate) struct Walk<const N: usize> {
    rank: usize,
    shape: [usize; MAX_RANK],
    strides: [[isize; N]; MAX_RANK],
}

impl<const N: usize> Walk<N> {
    pub fn new() -> Self {
        Self {
            rank: 0,
            shape: [1; MAX_RANK],
            strides: [[0; N]; MAX_RANK],
        }
    }

    /// Every dim of `shape`, with one stride list per view.
    pub fn of(shape: &[usize], strides: [&[isize]; N]) -> Self {
        let mut walk = Self::new();
        for (d, &n) in shape.iter().enumerate() {
            walk.push(n, strides.map(|s| s[d]));
        }
        walk
    }

    /// As [`Walk::of`] without the dim `skip`.
    pub fn without(shape: &[usize], strides: [&[isize]; N], skip: usize) -> Self {
        let mut walk = Self::new();
        for (d, &n) in shape.iter().enumerate() {
            if d != skip {
                walk.push(n, strides.map(|s| s[d]));
            }
        }
        walk
    }

    /// Size and strides of the dim `axis`, and the walk over the lines along it; a view of rank 0 is a line of one element.
    pub fn along(shape: &[usize], strides: [&[isize]; N], axis: usize) -> (usize, [isize; N], Self) {
        if shape.is_empty() {
            return (1, [0; N], Self::new());
        }
        (
            shape[axis],
            strides.map(|s| s[axis]),
            Self::without(shape, strides, axis),
        )
    }

    /// Adds an innermost dim; one of size 1 changes nothing and is left out.
    pub fn push(&mut self, n: usize, strides: [isize; N]) {
        if n != 1 {
            self.shape[self.rank] = n;
            self.strides[self.rank] = strides;
            self.rank += 1;
        }
    }

    /// Removes the innermost dim; size 1 and strides 0 when there is none.
    pub fn pop(&mut self) -> (usize, [isize; N]) {
        if self.rank == 0 {
            return (1, [0; N]);
        }
        self.rank -= 1;
        (self.shape[self.rank], self.strides[self.rank])
    }

    /// The innermost dim, as [`Walk::pop`] would return it.
    pub fn last(&self) -> (usize, [isize; N]) {
        let mut copy = *self;
        copy.pop()
    }

    /// Largest stride of the first view outermost; broadcast dims (stride 0) count as largest. Stable.
    pub fn sort(&mut self) {
        let key = |s: [isize; N]| if s[0] == 0 { usize::MAX } else { s[0].unsigned_abs() };
        for i in 1..self.rank {
            let mut j = i;
            while j > 0 && key(self.strides[j]) > key(self.strides[j - 1]) {
                self.shape.swap(j, j - 1);
                self.strides.swap(j, j - 1);
                j -= 1;
            }
        }
    }

    /// Joins neighbours that all views step through as one dim.
    pub fn coalesce(mut self) -> Self {
        let mut out = 0;
        for d in 1..self.rank {
            let (n, inner) = (self.shape[d], self.strides[d]);
            let outer = self.strides[out];
            if (0..N).all(|k| outer[k] == inner[k] * n as isize) {
                self.shape[out] *= n;
                self.strides[out] = inner;
            } else {
                out += 1;
                self.shape[out] = n;
                self.strides[out] = inner;
            }
        }
        self.rank = self.rank.min(out + 1);
        self
    }

    pub fn rank(&self) -> usize {
        self.rank
    }

    #[inline(always)]
    pub fn count(&self) -> usize {
        self.shape[..self.rank].iter().product()
    }

    /// Offsets of the `i`-th position in row-major order.
    #[inline(always)]
    pub fn at(&self, mut i: usize) -> [isize; N] {
        let mut at = [0; N];
        for d in (0..self.rank).rev() {
            // The outermost dim takes what is left, without a division.
            let c = if d == 0 {
                i as isize
            } else {
                let n = self.shape[d].max(1);
                let c = (i % n) as isize;
                i /= n;
                c
            };
            for (a, s) in at.iter_mut().zip(self.strides[d]) {
                *a += c * s;
            }
        }
        at
    }

    /// Calls `f` with each position of `range` and its offsets, in row-major order.
    #[inline(always)]
    pub fn each(&self, range: Range<usize>, mut f: impl FnMut(usize, [isize; N])) {
        self.runs(range, |first, mut at, n, step| {
            for i in first..first + n {
                f(i, at);
                for (a, s) in at.iter_mut().zip(step) {
                    *a += s;
                }
            }
        });
    }

    /// Calls `f` with the runs along the innermost dim that make up `range`, in row-major order: the first position, its
    /// offsets, the length, and the offsets' steps.
    #[inline(always)]
    pub fn runs(&self, range: Range<usize>, mut f: impl FnMut(usize, [isize; N], usize, [isize; N])) {
        if range.is_empty() {
            return;
        }
        if self.rank <= 1 {
            let step = if self.rank == 0 { [0; N] } else { self.strides[0] };
            return f(range.start, step.map(|s| s * range.start as isize), range.len(), step);
        }
        let mut coord = [0usize; MAX_RANK];
        let mut rest = range.start;
        for d in (0..self.rank).rev() {
            coord[d] = rest % self.shape[d];
            rest /= self.shape[d];
        }
        let mut at = self.at(range.start);
        let last = self.rank - 1;
        let step = self.strides[last];
        let mut i = range.start;
        loop {
            let run = (self.shape[last] - coord[last]).min(range.end - i);
            f(i, at, run, step);
            i += run;
            if i == range.end {
                return;
            }
            // The innermost dim ran over its end: carry into the outer ones.
            for (a, s) in at.iter_mut().zip(step) {
                *a -= s * coord[last] as isize;
            }
            coord[last] = 0;
            for d in (0..last).rev() {
                coord[d] += 1;
                for (a, s) in at.iter_mut().zip(self.strides[d]) {
                    *a += s;
                }
                if coord[d] < self.shape[d] {
                    break;
                }
                for (a, s) in at.iter_mut().zip(self.strides[d]) {
                    *a -= s * self.shape[d] as isize;
                }
                coord[d] = 0;
            }
        }
    }
}

/// A pointer that threads may share; each writes its own part.
pub(crate) struct Share<T>(*mut T);

impl<T> Clone for Share<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Share<T> {}

// SAFETY: the kernels that share it write disjoint parts.
unsafe impl<T: Send> Send for Share<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Share<T> {}

impl<T> Share<T> {
    pub fn new(ptr: *mut T) -> Self {
        Self(ptr)
    }

    #[inline(always)]
    pub fn get(&self) -> *mut T {
        self.0
    }

    /// # Safety
    /// `at` lies inside the allocation.
    #[inline(always)]
    pub unsafe fn at(&self, at: usize) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(at) }
    }
}

/// The elements of a view in row-major order.
pub fn collect<T: Copy>(src: &Src<T>) -> Vec<T> {
    let mut all = Vec::with_capacity(src.numel());
    let walk = Walk::of(src.shape(), [src.strides()]).coalesce();
    // SAFETY: the walk stays inside the view.
    walk.each(0..walk.count(), |_, [at]| all.push(unsafe { *src.ptr().offset(at) }));
    all
}

/// Strides of a contiguous array of `shape`.
pub fn dense(shape: &[usize]) -> [isize; MAX_RANK] {
    let mut strides = [0; MAX_RANK];
    let mut step = 1isize;
    for d in (0..shape.len()).rev() {
        strides[d] = step;
        step *= shape[d].max(1) as isize;
    }
    strides
}

/// A contiguous view of `data`, which holds the elements of `shape`.
pub fn view_of<'a, T>(data: &'a [T], shape: &[usize]) -> Src<'a, T> {
    assert!(data.len() >= shape.iter().product());
    // SAFETY: the slice is long enough and borrowed for as long as the view.
    unsafe { Src::new(data.as_ptr(), shape, &dense(shape)[..shape.len()]) }
}

/// A contiguous view of `data` to write to.
pub fn view_mut<'a, T>(data: &'a mut [T], shape: &[usize]) -> Dst<'a, T> {
    assert!(data.len() >= shape.iter().product());
    // SAFETY: as in `view_of`; the borrow is exclusive.
    unsafe { Dst::new(data.as_mut_ptr(), shape, &dense(shape)[..shape.len()]) }
}

/// Units of a job that make one thread's smallest share, when each unit touches `work` elements.
pub(crate) fn grain(work: usize) -> usize {
    (32768 / work.max(1)).max(1)
}

/// The view itself, or a copy of it in `keep` when it starts where an output does: rows are then read and written as
/// slices, which must not overlap.
pub(crate) fn apart<'a, T: Copy>(src: Src<'a, T>, out: *const T, keep: &'a mut Vec<T>) -> Src<'a, T> {
    if src.ptr() == out && src.numel() > 0 {
        *keep = collect(&src);
        view_of(keep, src.shape())
    } else {
        src
    }
}

/// A line of `n` elements as a slice: where it lies if it is contiguous, else copied to `keep`.
///
/// # Safety
/// `at` addresses `n` elements at `step`, which nothing writes while the slice lives.
#[inline(always)]
pub(crate) unsafe fn line<T: Copy>(at: *const T, n: usize, step: isize, keep: &mut Vec<T>) -> &[T] {
    if step == 1 || n == 1 {
        // SAFETY: the caller's promise.
        return unsafe { std::slice::from_raw_parts(at, n) };
    }
    keep.clear();
    // SAFETY: as above.
    keep.extend((0..n as isize).map(|i| unsafe { *at.offset(i * step) }));
    keep
}
