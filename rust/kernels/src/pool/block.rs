//! Output positions of a row, sixteen at a time, read from rows of the input: what max and average pooling share.
//!
//! A block's elements are read as whole vectors, at stride 2 with every second one left out, beyond the row's end where the
//! memory goes on; the last blocks of it are read one by one. Lanes without a position hold anything.

/// Output positions taken together.
pub(super) const BLOCK: usize = 16;

/// Where the windows of one row of outputs lie in the input.
pub(super) struct Row<'a, T> {
    /// Input row of each (d, h) tap, from the first position's first element on, at rising addresses; and its offset in the
    /// plane.
    pub taps: &'a [(*const T, i32)],
    /// Taps along the row, and the distance between them.
    pub kernel: usize,
    pub dilation: usize,
    pub stride: usize,
    /// Up to this address memory may be read.
    pub end: usize,
}

impl<T> Row<'_, T> {
    /// Vectors of stride `S` from position `begin` on end before memory does.
    #[inline(always)]
    pub fn open<const S: usize>(&self, begin: usize) -> bool {
        let reach = begin * S + (self.kernel - 1) * self.dilation + BLOCK * S;
        let last = self.taps[self.taps.len() - 1].0;
        S > 0 && last.wrapping_add(reach) as usize <= self.end
    }
}

/// `x[0]`, `x[S]`, `x[2 S]`, …: S is 1 or 2.
///
/// # Safety
/// `BLOCK * S` elements lie at `x`.
#[inline(always)]
pub(super) unsafe fn every<T: Copy, const S: usize>(x: *const T) -> [T; BLOCK] {
    if S == 1 {
        // SAFETY: the caller's promise.
        return unsafe { x.cast::<[T; BLOCK]>().read_unaligned() };
    }
    // SAFETY: the caller's promise.
    let pairs = unsafe { x.cast::<[[T; 2]; BLOCK]>().read_unaligned() };
    std::array::from_fn(|i| pairs[i][0])
}

/// The first `n` of `x[0]`, `x[stride]`, …; the last one again in the other lanes.
///
/// # Safety
/// These elements lie at `x`; n > 0.
#[inline(always)]
pub(super) unsafe fn picked<T: Copy>(x: *const T, stride: usize, n: usize) -> [T; BLOCK] {
    // SAFETY: the caller's promise.
    std::array::from_fn(|j| unsafe { *x.add(j.min(n - 1) * stride) })
}

/// Writes a block's first `n` lanes to `to`, where there is `room`: all of them where they fit, to be overwritten by what
/// comes after.
///
/// # Safety
/// `room >= n` elements at `to` are this thread's, and those from `n` on are written later.
#[inline(always)]
pub(super) unsafe fn put<T: Copy>(block: &[T; BLOCK], n: usize, to: *mut T, room: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if room >= BLOCK {
            to.cast::<[T; BLOCK]>().write_unaligned(*block);
        } else {
            block[..n].as_ptr().copy_to_nonoverlapping(to, n);
        }
    }
}
