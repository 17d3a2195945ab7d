//! Rows of a few bytes to a few hundred thousand, copied without a call for each.

use crate::simd::cache::first_is_small;
use crate::simd::{prefetch, prefetch_write};

/// Longer rows are left to the system's copy.
const LONG: usize = 4096;
/// … up to this length unless the result lies up to [`NEAR`] bytes further into its page than the source: there `rep
/// movsb`, which the system chooses, takes ten times as long on some processors (measured on AMD Zen 4).
const LONGER: usize = 256 << 10;
const NEAR: usize = 256;

/// Whether a row of [`LONG`] bytes or more is left to the system's copy.
#[inline(always)]
fn is_systems(from: *const u8, to: *mut u8, n: usize) -> bool {
    let ahead = to.addr().wrapping_sub(from.addr()) % 4096;
    n >= LONGER || ahead == 0 || ahead > NEAR
}

/// Copies what lies `at` bytes from both.
///
/// # Safety
/// `size_of::<W>()` bytes at both ends.
#[inline(always)]
unsafe fn word<W: Copy>(from: *const u8, to: *mut u8, at: usize) {
    // SAFETY: the contract of this function.
    unsafe {
        to.add(at)
            .cast::<W>()
            .write_unaligned(from.add(at).cast::<W>().read_unaligned())
    }
}

/// Copies `n` elements; the two sides are the same or do not overlap.
///
/// # Safety
/// `n` elements are readable and writable.
#[inline(always)]
pub(crate) unsafe fn copy_row<T: Copy>(from: *const T, to: *mut T, n: usize) {
    let (from, to, n) = (from.cast::<u8>(), to.cast::<u8>(), n * size_of::<T>());
    /// Two words that may overlap, together `n` bytes.
    ///
    /// # Safety
    /// `n` bytes at both ends, between one word and two.
    #[inline(always)]
    unsafe fn ends<W: Copy>(from: *const u8, to: *mut u8, n: usize) {
        let last = n - size_of::<W>();
        // SAFETY: the contract of this function. Both are read before either is written.
        unsafe {
            let (a, b) = (
                from.cast::<W>().read_unaligned(),
                from.add(last).cast::<W>().read_unaligned(),
            );
            to.cast::<W>().write_unaligned(a);
            to.add(last).cast::<W>().write_unaligned(b);
        }
    }
    // SAFETY: the caller's promise; every word lies inside the row.
    unsafe {
        match n {
            0 => {}
            LONG.. if is_systems(from, to, n) => std::ptr::copy(from, to, n),
            64.. => {
                for at in (0..n & !63).step_by(64) {
                    word::<[u64; 8]>(from, to, at);
                }
                if n & 63 != 0 {
                    word::<[u64; 8]>(from, to, n - 64);
                }
            }
            32.. => ends::<[u64; 4]>(from, to, n),
            16.. => ends::<[u64; 2]>(from, to, n),
            8.. => ends::<u64>(from, to, n),
            4.. => ends::<u32>(from, to, n),
            2.. => ends::<u16>(from, to, n),
            _ => word::<u8>(from, to, 0),
        }
    }
}

crate::multiversion! {
    /// Copies `rows` rows of `n` elements that lie at fixed distances (of the source, of the result). As [`copy_row`].
    pub(crate) fn copy_rows<T: Copy>(from: *const T, to: *mut T, rows: usize, n: usize, steps: [isize; 2]) {
        if first_is_small() {
            // SAFETY: the caller's walk lies inside both views for these rows.
            return unsafe { copy_rows_asking(from, to, rows, n, steps) };
        }
        // Of rows that lie apart the processor does not find the next one by itself.
        let lines = match steps[0] == n as isize {
            true => 0,
            false => (n * size_of::<T>()).div_ceil(64).min(AHEAD_LINES),
        };
        for r in 0..rows as isize {
            let next = from.wrapping_offset((r + AHEAD as isize) * steps[0]).cast::<u8>();
            for line in 0..lines {
                prefetch(next.wrapping_add(64 * line));
            }
            // SAFETY: as above.
            unsafe { copy_row(from.offset(r * steps[0]), to.offset(r * steps[1]), n) };
        }
    }
}

/// Bytes of rows that are asked for ahead, where each line asks for one ([`copy_rows_asking`]); at least a row.
const AHEAD_BYTES: usize = 1024;

/// [`copy_rows`] where the first-level cache is a small one: each line that is copied asks for the same one of a row that
/// comes soon, on both sides. Many at once wait for each other, and rows a page apart push each other out.
///
/// # Safety
/// As for [`copy_row`], for all rows.
#[inline(always)]
unsafe fn copy_rows_asking<T: Copy>(from: *const T, to: *mut T, rows: usize, n: usize, steps: [isize; 2]) {
    let bytes = n * size_of::<T>();
    let ahead = (AHEAD_BYTES / bytes.max(1)).max(1) as isize;
    let whole = if (64..LONG).contains(&bytes) { bytes & !63 } else { 0 };
    for r in 0..rows as isize {
        // SAFETY: the caller's promise; what is asked for may lie anywhere. Words end inside the row.
        unsafe {
            let (row, out) = (from.offset(r * steps[0]), to.offset(r * steps[1]));
            let next = row.wrapping_offset(ahead * steps[0]).cast::<u8>();
            let next_out = out.wrapping_offset(ahead * steps[1]).cast::<u8>();
            for at in (0..whole).step_by(64) {
                prefetch(next.wrapping_add(at));
                prefetch_write(next_out.wrapping_add(at));
                word::<[u64; 8]>(row.cast(), out.cast(), at);
            }
            if whole == 0 {
                prefetch(next);
                prefetch_write(next_out);
                copy_row(row, out, n);
            } else if whole < bytes {
                prefetch(next.wrapping_add(whole));
                prefetch_write(next_out.wrapping_add(whole));
                word::<[u64; 8]>(row.cast(), out.cast(), bytes - 64);
            }
        }
    }
}

/// Lines that are asked for of a row that comes soon: of longer ones the processor finds the rest itself.
const AHEAD_LINES: usize = 16;
/// How many rows ahead.
const AHEAD: usize = 6;

crate::multiversion! {
    /// Copies the rows of `n` elements that begin at `offsets` to rows `step` apart. As [`copy_row`]. `asks`: for the lines of
    /// the result, too.
    pub(crate) fn copy_rows_at<T: Copy>(from: *const T, offsets: &[isize], to: *mut T, step: isize, n: usize, asks: bool) {
        // SAFETY: the caller's offsets lead to rows of the view.
        unsafe {
            if asks {
                rows_at::<T, true>(from, offsets, to, step, n);
            } else {
                rows_at::<T, false>(from, offsets, to, step, n);
            }
        }
    }
}

/// [`copy_rows_at`]
///
/// # Safety
/// As for [`copy_row`], for all rows.
#[inline(always)]
unsafe fn rows_at<T: Copy, const ASKS: bool>(from: *const T, offsets: &[isize], to: *mut T, step: isize, n: usize) {
    let lines = (n * size_of::<T>()).div_ceil(64).min(AHEAD_LINES);
    for (r, &at) in offsets.iter().enumerate() {
        if let Some(&next) = offsets.get(r + AHEAD) {
            let next = from.wrapping_offset(next).cast::<u8>();
            for line in 0..lines {
                prefetch(next.wrapping_add(64 * line));
            }
            if ASKS {
                let next = to.wrapping_offset((r + AHEAD) as isize * step).cast::<u8>();
                for line in 0..lines {
                    prefetch_write(next.wrapping_add(64 * line));
                }
            }
        }
        // SAFETY: the caller's promise.
        unsafe { copy_row(from.offset(at), to.offset(r as isize * step), n) };
    }
}
