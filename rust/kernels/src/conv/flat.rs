//! Gradient of the weights for one input channel and several output channels: each vector of the image serves several of
//! these, positions of whole planes are one row ([`super::sheets`]).

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

use super::taps::join;
use crate::simd::vec::Lanes;
use std::ops::{Add, Range};

/// Bytes of a plane's positions that all taps take before they go on.
const CHUNK: usize = 3 << 10;

/// Some planes of gradients that belong to one plane of the image: for each the sums of its products with what each tap
/// reads.
pub(crate) struct FlatSums<'a, T> {
    pub sheets: *const T,
    /// Where what a tap reads for position 0 lies.
    pub offsets: &'a [isize],
    pub planes: usize,
    pub gy: *const T,
    pub gy_plane: isize,
    pub positions: usize,
    /// `[plane][tap][lane]`; lanes fill 64 bytes.
    pub sums: *mut T,
    /// The sums begin with these positions, and end with them: then they are joined, `[plane][tap]`, unless this is null.
    pub first: bool,
    pub out: *mut T,
}

/// Position p is added in lane p mod lanes, in order; the lanes are joined in halves.
///
/// # Safety
/// All planes, sums and results lie in live memory.
#[inline(always)]
pub(crate) unsafe fn flat_sums<T, L: Lanes<T>>(l: L, g: &FlatSums<T>)
where
    T: Copy + Default + Add<Output = T>,
{
    let taps = g.offsets.len();
    let nine = taps.div_ceil(9) * 9 <= taps.div_ceil(5) * 5;
    // As many sums as there are registers for.
    // SAFETY: the caller's promise; so below.
    unsafe {
        match (nine, L::N * size_of::<T>() == 64) {
            (true, true) => all::<T, L, 3, 9>(l, g),
            (true, false) => all::<T, L, 1, 9>(l, g),
            (false, true) => all::<T, L, 4, 5>(l, g),
            (false, false) => all::<T, L, 2, 5>(l, g),
        }
        if !g.out.is_null() {
            join::<T>(g.sums, g.planes * taps, g.out);
        }
    }
}

/// `M` planes and `G` taps at a time.
///
/// # Safety
/// As for [`flat_sums`].
#[inline(always)]
unsafe fn all<T: Copy + Default, L: Lanes<T>, const M: usize, const G: usize>(l: L, g: &FlatSums<T>) {
    let (lanes, mut plane) = (64 / size_of::<T>(), 0);
    while plane < g.planes {
        let many = g.planes - plane >= M;
        let step = if many { M } else { 1 };
        for v in 0..lanes / L::N {
            for from in (0..g.positions).step_by(CHUNK / size_of::<T>()) {
                let chunk = from + v * L::N..g.positions.min(from + CHUNK / size_of::<T>());
                for first in (0..g.offsets.len()).step_by(G) {
                    // SAFETY: the caller's promise.
                    unsafe {
                        match many {
                            true => some::<T, L, M, G>(l, g, plane, first, chunk.clone()),
                            false => some::<T, L, 1, G>(l, g, plane, first, chunk.clone()),
                        }
                    }
                }
            }
        }
        plane += step;
    }
}

/// The planes from `plane` on, the taps from `first` on, every so many-th vector of the positions in `chunk`.
///
/// # Safety
/// As for [`flat_sums`].
#[inline(always)]
unsafe fn some<T: Copy + Default, L: Lanes<T>, const M: usize, const G: usize>(
    l: L,
    g: &FlatSums<T>,
    plane: usize,
    first: usize,
    chunk: Range<usize>,
) {
    let (lanes, taps) = (64 / size_of::<T>(), g.offsets.len());
    let count = G.min(taps - first);
    let begins = g.first && chunk.start < lanes;
    let place = |m: usize, t: usize| {
        let at = ((plane + m) * taps + first + t) * lanes;
        g.sums.wrapping_add(at + chunk.start % lanes)
    };
    let mut acc = [[l.splat(T::default()); G]; M];
    if !begins {
        for m in 0..M {
            for t in 0..G {
                if t < count {
                    // SAFETY: the caller's promise; so below.
                    acc[m][t] = unsafe { l.load(place(m, t)) };
                }
            }
        }
    }
    // Taps that are missing repeat the last one; their sums are not stored.
    let x: [*const T; G] = std::array::from_fn(|t| g.sheets.wrapping_offset(g.offsets[first + t.min(count - 1)]));
    let y: [*const T; M] = std::array::from_fn(|m| g.gy.wrapping_offset((plane + m) as isize * g.gy_plane));
    // What comes next: these planes' next positions, or the planes behind them.
    let ahead = match g.positions > CHUNK / size_of::<T>() {
        true => (CHUNK / size_of::<T>()) as isize,
        false => M as isize * g.gy_plane,
    };
    let mut p = chunk.start;
    while p + L::N <= chunk.end {
        if first == 0 {
            for m in 0..M {
                l.prefetch(y[m].wrapping_offset(ahead).wrapping_add(p));
            }
        }
        // SAFETY: as above.
        unsafe {
            let y: [L::V; M] = std::array::from_fn(|m| l.load(y[m].wrapping_add(p)));
            for t in 0..G {
                let x = l.load(x[t].wrapping_add(p));
                for m in 0..M {
                    acc[m][t] = l.fma(y[m], x, acc[m][t]);
                }
            }
        }
        p += lanes;
    }
    if p < chunk.end {
        let left = chunk.end - p;
        // SAFETY: as above; nothing is read behind the last position.
        unsafe {
            let y: [L::V; M] = std::array::from_fn(|m| l.load_n(y[m].wrapping_add(p), left));
            for t in 0..G {
                let x = l.load_n(x[t].wrapping_add(p), left);
                for m in 0..M {
                    acc[m][t] = l.fma(y[m], x, acc[m][t]);
                }
            }
        }
    }
    for m in 0..M {
        for t in 0..G {
            if t < count {
                // SAFETY: as above.
                unsafe { l.store(place(m, t), acc[m][t]) };
            }
        }
    }
}
