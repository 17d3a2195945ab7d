//! Largest and smallest of narrow integers and halves, in any order since all give the same: pieces of memory are folded onto each
//! other by the elementwise kernels, so that no fold is compiled for these types.

use super::walk::{Share, Walk, grain};
use crate::elementwise::narrow::extremum_over;
use crate::elementwise::walk::{Kernel, MAX_IN};
use crate::parallel::for_range;
use crate::view::{AnyDst, AnySrc};

/// Bytes that are folded onto at a time: few enough to stay in the first-level cache.
const PIECE: usize = 4096;
/// Elements that a run (or a row of columns) must have for a call of a kernel.
const FEW: usize = 16;

type Piece = [u64; PIECE / 8];

/// A fold of elements of `size` bytes onto the first of two lots of them.
#[derive(Clone, Copy)]
struct Onto {
    kernel: Kernel,
    size: usize,
}

impl Onto {
    /// # Safety
    /// `n` elements at both ends, apart from each other.
    #[inline]
    unsafe fn fold(self, to: *mut u8, from: *const u8, n: usize) {
        let mut ins = [std::ptr::null(); MAX_IN];
        (ins[0], ins[1]) = (to.cast_const(), from);
        // SAFETY: the contract of this function.
        unsafe { (self.kernel)(&ins, to, n) }
    }

    /// Folds `n` elements onto the first of them.
    ///
    /// # Safety
    /// There are as many.
    unsafe fn halve(self, at: *mut u8, mut n: usize) {
        while n > 1 {
            let half = n / 2;
            // SAFETY: the last half, behind the first.
            unsafe { self.fold(at, at.add((n - half) * self.size), half) };
            n -= half;
        }
    }
}

/// As `reduce` by `Max` or `Min`, where the elements are narrow (`dst` of the same dtype) that lie in rows of some
/// length along a reduced or a kept dim; otherwise nothing is done. The reduced dims must not be empty.
pub fn narrow_extremum(max: bool, src: AnySrc, axes: &[bool], dst: AnyDst) -> bool {
    let Some(kernel) = extremum_over(max, src.dtype()) else {
        return false;
    };
    assert!(dst.dtype() == src.dtype(), "the result has the elements' type");
    let onto = Onto {
        kernel,
        size: src.dtype().size(),
    };
    let (mut kept, mut reduced) = (Walk::<2>::new(), Walk::<2>::new());
    for (d, &n) in src.shape().iter().enumerate() {
        let from = src.strides()[d];
        if axes[d] {
            reduced.push(n, [from, 0]);
        } else {
            kept.push(n, [from, dst.strides()[d]]);
        }
    }
    if reduced.count() == 0 || kept.count() == 0 {
        return false;
    }
    kept.sort();
    reduced.sort();
    let (mut kept, mut reduced) = (kept.coalesce(), reduced.coalesce());
    let ends = (src.ptr(), Share::new(dst.ptr()));
    let (width, [step, to_step]) = kept.last();
    if step == 1 && width >= FEW {
        kept.pop();
        columns(onto, ends, &kept, &reduced, width, to_step);
        return true;
    }
    let (len, [step, _]) = reduced.last();
    if step == 1 && len >= FEW {
        reduced.pop();
        runs(onto, ends, &kept, &reduced, len);
        return true;
    }
    false
}

/// Where the elements are, and where the results go.
type Ends = (*const u8, Share<u8>);

/// Elements read by all threads.
struct Shared(*const u8);
// SAFETY: nothing writes to them meanwhile.
unsafe impl Sync for Shared {}

impl Shared {
    /// # Safety
    /// `offset` (in elements of `size` bytes) lies inside the view.
    unsafe fn at(&self, offset: isize, size: usize) -> *const u8 {
        // SAFETY: the caller's promise.
        unsafe { self.0.offset(offset * size as isize) }
    }
}

/// Rows of `width` neighbours that are all kept.
fn columns(onto: Onto, (from, to): Ends, kept: &Walk<2>, reduced: &Walk<2>, width: usize, to_step: isize) {
    let (from, size) = (Shared(from), onto.size);
    let strip = PIECE / size;
    let strips = width.div_ceil(strip);
    let rows = reduced.count();
    for_range(kept.count() * strips, grain(rows * width.min(strip)), |jobs| {
        let mut acc: Piece = [0; PIECE / 8];
        let acc = acc.as_mut_ptr().cast::<u8>();
        for job in jobs {
            let [s, d] = kept.at(job / strips);
            let first = job % strips * strip;
            let n = strip.min(width - first);
            // SAFETY: the walks stay inside the views, the strip inside the row; threads have strips of their own.
            unsafe {
                reduced.each(0..rows, |row, [r, _]| {
                    let row_at = from.at(s + r + first as isize, size);
                    if row == 0 {
                        std::ptr::copy_nonoverlapping(row_at, acc, n * size);
                    } else {
                        onto.fold(acc, row_at, n);
                    }
                });
                let to = to.get().offset((d + first as isize * to_step) * size as isize);
                for i in 0..n {
                    let place = to.offset(i as isize * to_step * size as isize);
                    std::ptr::copy_nonoverlapping(acc.add(i * size), place, size);
                }
            }
        }
    });
}

/// Runs of `len` neighbours, for each result `reduced.count()` of them.
fn runs(onto: Onto, (from, to): Ends, kept: &Walk<2>, reduced: &Walk<2>, len: usize) {
    let (from, size) = (Shared(from), onto.size);
    let (outputs, runs) = (kept.count(), reduced.count());
    let piece = PIECE / size;
    let pieces = len.div_ceil(piece);
    // Few results of many elements: threads take parts of each, of several pieces: the last steps cost as much as some.
    let work = runs * pieces;
    let parts = if outputs < 16 {
        (work / 16).min(64 / outputs).max(1)
    } else {
        1
    };
    let mut found = vec![0u64; if parts > 1 { outputs * parts } else { 0 }];
    let between = Share::new(found.as_mut_ptr());
    for_range(outputs * parts, grain(runs * len / parts), |jobs| {
        let mut acc: Piece = [0; PIECE / 8];
        let acc = acc.as_mut_ptr().cast::<u8>();
        for job in jobs {
            let [s, d] = kept.at(job / parts);
            let part = job % parts;
            let mut held = 0;
            for unit in part * work / parts..(part + 1) * work / parts {
                let [r, _] = reduced.at(unit / pieces);
                let first = unit % pieces * piece;
                let n = piece.min(len - first);
                // SAFETY: the walks stay inside the views, the piece inside the run and `acc`; threads have parts of their own.
                unsafe {
                    let at = from.at(s + r + first as isize, size);
                    if n > held {
                        // More than were there: those beyond are the first of their places.
                        std::ptr::copy_nonoverlapping(at.add(held * size), acc.add(held * size), (n - held) * size);
                    }
                    onto.fold(acc, at, n.min(held));
                    held = held.max(n);
                }
            }
            // SAFETY: `held` elements of `acc`; each job's place is its own.
            unsafe {
                onto.halve(acc, held);
                let place = if parts > 1 {
                    between.at(job).cast::<u8>()
                } else {
                    to.get().offset(d * size as isize)
                };
                std::ptr::copy_nonoverlapping(acc, place, size);
            }
        }
    });
    for o in 0..if parts > 1 { outputs } else { 0 } {
        let lot = &mut found[o * parts..][..parts];
        // SAFETY: the parts' results lie eight bytes apart; the output's place is the walk's.
        unsafe {
            let best = lot.as_mut_ptr();
            for other in 1..parts {
                onto.fold(best.cast(), best.add(other).cast_const().cast(), 1);
            }
            let [_, d] = kept.at(o);
            std::ptr::copy_nonoverlapping(best.cast_const().cast(), to.get().offset(d * size as isize), size);
        }
    }
}
