//! Packing patches of an image straight into the panels of a matrix product, so that no matrix of patches exists.

use crate::simd::vec::Lanes;

/// A run of positions that lie one after another in the (prepared) image.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub offset: isize,
    pub len: usize,
}

/// Panel whose k rows are (channel, tap) pairs and whose columns are positions.
pub(crate) struct PatchArgs<'a, T> {
    /// First channel of the image.
    pub image: *const T,
    pub channel_stride: isize,
    /// Offset of each tap of the kernel window.
    pub taps: &'a [isize],
    /// Rows `first..first + k`, counted as `channel * taps + tap`.
    pub first: usize,
    pub k: usize,
    /// The panel's columns; at most `width` in all.
    pub runs: &'a [Run],
    pub width: usize,
    pub dst: *mut T,
}

/// # Safety
/// All positions lie in live memory; `dst` has `k * width` elements and the slack. What lies behind is overwritten.
#[inline(always)]
pub(crate) unsafe fn pack_patches<T: Copy, L: Lanes<T>>(l: L, g: &PatchArgs<T>) {
    // A phase of a strided gradient may have no taps; then k is 0.
    let taps = g.taps.len().max(1);
    let (mut channel, mut tap) = (g.first / taps, g.first % taps);
    let mut dst = g.dst;
    for _ in 0..g.k {
        let base = g
            .image
            .wrapping_offset(channel as isize * g.channel_stride + g.taps[tap]);
        let mut row = dst;
        for run in g.runs {
            let src = base.wrapping_offset(run.offset);
            let mut at = 0;
            while at < run.len {
                // SAFETY: the caller's promise. What the last vector writes too much is written again: by the next
                // run, by the next row, or it falls into the slack.
                unsafe { l.store(row.wrapping_add(at), l.load_n(src.wrapping_add(at), run.len - at)) };
                at += L::N;
            }
            row = row.wrapping_add(run.len);
        }
        dst = dst.wrapping_add(g.width);
        tap += 1;
        if tap == taps {
            (channel, tap) = (channel + 1, 0);
        }
    }
}

/// Panel whose k rows are positions and whose columns are (channel, tap) pairs.
pub(crate) struct TapArgs<'a, T> {
    /// For each column the address of position 0.
    pub columns: &'a [*const T],
    /// The panel's rows, in order.
    pub runs: &'a [Run],
    pub width: usize,
    pub dst: *mut T,
}

/// # Safety
/// All positions lie in live memory; `dst` has `width` elements for each position.
#[inline(always)]
pub(crate) unsafe fn pack_taps<T: Copy, L: Lanes<T>>(l: L, g: &TapArgs<T>) {
    let mut at = 0;
    while at < g.width {
        let columns = &g.columns[at.min(g.columns.len())..g.columns.len().min(at + L::BLOCK)];
        let mut dst = g.dst.wrapping_add(at);
        for run in g.runs {
            let mut p = 0;
            while p < run.len {
                let to = dst.wrapping_add(p * g.width);
                // SAFETY: the caller's promise; `width` is a multiple of `BLOCK`.
                unsafe { l.transpose(columns, run.offset + p as isize, run.len - p, to, g.width) };
                p += L::BLOCK;
            }
            dst = dst.wrapping_add(run.len * g.width);
        }
        at += L::BLOCK;
    }
}
