//! Many channels of short runs: a block of them together, so that memory is read in longer pieces.

use super::runs::{Blend, Runs, scale};
use crate::reduce::real::Real;
use crate::simd::sweep::{Fold, SEGMENT, load, store};

/// Most channels of a block.
pub(in crate::norm) const BLOCK: usize = 16;

/// Channels of `count` runs each, of `len` contiguous elements (fewer than a segment has) in up to three views.
#[derive(Clone, Copy)]
pub(in crate::norm) struct Block<T> {
    pub x: *const T,
    pub g: *const T,
    pub y: *mut T,
    /// From run to run, and from channel to channel, of x, g and y.
    pub steps: [isize; 3],
    pub across: [isize; 3],
    /// Up to [`BLOCK`].
    pub channels: usize,
    pub count: usize,
    pub len: usize,
}

impl<T> Block<T> {
    /// Run `run` of channel `c`.
    #[inline(always)]
    fn at(&self, run: usize, c: usize) -> (*const T, *const T, *mut T) {
        let [x, g, y] = [0, 1, 2].map(|i| run as isize * self.steps[i] + c as isize * self.across[i]);
        (
            self.x.wrapping_offset(x),
            self.g.wrapping_offset(g),
            self.y.wrapping_offset(y),
        )
    }
}

/// What [`block_sums`] adds up: distances from the centers, or gradients.
pub(super) const SQUARES: bool = false;
pub(super) const DOTS: bool = true;

/// How many runs ahead memory is asked for: the processor does not see such a stride by itself, and one run takes less time
/// than memory to answer.
const LATER: usize = 3;

/// Lanes of sums, in memory.
type Kept<T> = [T; 64];

/// Per channel the sums of `x - center` and of its square, or of `g` and `g * (x - center)`: the bits of those of the
/// channels one by one.
///
/// # Safety
/// The runs lie in live memory; `centers` and `sums` have a number for each channel. So for all functions here; written
/// runs are the caller's.
#[inline(always)]
pub(super) unsafe fn block_sums<T: Real, L: Fold<T>, const U: usize, const KIND: bool>(
    l: L,
    r: &Block<T>,
    centers: &[T],
    sums: &mut [[f64; 2]],
) {
    let mut lanes: [[Kept<T>; 2]; BLOCK] = [[[T::ZERO; 64]; 2]; BLOCK];
    let mut tails = [[T::ZERO; 16]; BLOCK];
    let tail = r.len % L::N;
    for c in 0..r.channels {
        tails[c][..tail].fill(centers[c]);
        sums[c] = [0.0; 2];
    }
    let lines = r.len * size_of::<T>() / 64 + 1;
    let mut held = 0;
    for run in 0..r.count {
        held += r.len;
        let full = held >= SEGMENT || run + 1 == r.count;
        // Beyond the last run the first ones of the next channels.
        let over = if run + LATER < r.count { 0 } else { r.count as isize };
        let later = |d: usize| (LATER as isize - over) * r.steps[d] + over.signum() * r.channels as isize * r.across[d];
        let (later_x, later_g) = (later(0), later(1));
        for c in 0..r.channels {
            let (x, g, _) = r.at(run, c);
            for line in 0..lines {
                l.prefetch(x.wrapping_offset(later_x).wrapping_byte_add(64 * line));
                if KIND == DOTS {
                    l.prefetch(g.wrapping_offset(later_g).wrapping_byte_add(64 * line));
                }
            }
            let [first, second] = &mut lanes[c];
            let (first, second) = (first.as_mut_ptr(), second.as_mut_ptr());
            let center = l.splat(centers[c]);
            let (mut i, mut at) = (0, 0);
            // SAFETY: the caller's promise; `at` stays below U vectors, which are 256 bytes.
            unsafe {
                while i + L::N <= r.len {
                    let d = l.fma(center, l.splat(-T::ONE), l.load(x.add(i)));
                    let v = if KIND == DOTS { l.load(g.add(i)) } else { d };
                    l.store(first.add(at), l.add(l.load(first.add(at)), v));
                    l.store(second.add(at), l.fma(v, d, l.load(second.add(at))));
                    i += L::N;
                    at = (at + L::N) % (U * L::N);
                }
                if tail > 0 {
                    let center = l.load(tails[c].as_ptr());
                    let d = l.fma(center, l.splat(-T::ONE), l.load_n(x.add(i), tail));
                    let v = if KIND == DOTS { l.load_n(g.add(i), tail) } else { d };
                    l.store(first.add(at), l.add(l.load(first.add(at)), v));
                    l.store(second.add(at), l.fma(v, d, l.load(second.add(at))));
                }
                if full {
                    sums[c][0] += join::<T, L, U>(l, first);
                    sums[c][1] += join::<T, L, U>(l, second);
                }
            }
        }
        if full {
            held = 0;
        }
    }
}

/// The sum of U vectors of lanes in a halving tree; they are zero after it.
///
/// # Safety
/// The lanes lie there.
#[inline(always)]
unsafe fn join<T: Real, L: Fold<T>, const U: usize>(l: L, lanes: *mut T) -> f64 {
    let mut held = [l.splat(T::ZERO); U];
    for u in 0..U {
        // SAFETY: the caller's promise.
        unsafe {
            held[u] = l.load(lanes.add(u * L::N));
            l.store(lanes.add(u * L::N), l.splat(T::ZERO));
        }
    }
    let mut width = U / 2;
    while width > 0 {
        for i in 0..width {
            held[i] = l.add(held[i], held[i + width]);
        }
        width /= 2;
    }
    l.fold(held[0]).to_f64()
}

/// `y = x * slope + shift`, or (`KIND` = [`DOTS`]) what [`Blend`] says.
///
/// # Safety
/// As for `block_sums`.
#[inline(always)]
pub(super) unsafe fn block_values<T: Real, L: Fold<T>, const U: usize, const KIND: bool>(
    l: L,
    r: &Block<T>,
    k: &[Blend<T>],
) {
    let close = r.across == [r.len as isize; 3];
    // From the end, which was read last.
    let lines = r.len * size_of::<T>() / 64 + 1;
    for run in (0..r.count).rev() {
        for c in 0..r.channels {
            let (x, g, y) = r.at(run, c);
            for line in 0..lines {
                let to = y.wrapping_offset(-(LATER as isize) * r.steps[2]);
                l.prefetch_write(to.wrapping_byte_add(64 * line));
            }
            let k = k[c];
            let [gain, slope, center, shift] = [k.gain, k.slope, k.center, k.shift].map(|v| l.splat(v));
            // What is stored beyond the run is the next channel's, and written again.
            let room = if close { (r.channels - c) * r.len } else { r.len };
            let mut i = 0;
            // SAFETY: the caller's promise.
            unsafe {
                while i < r.len {
                    let n = room - i;
                    let whole = n >= L::N;
                    let from = load(l, x.add(i), n, whole);
                    let v = if KIND == DOTS {
                        let d = l.fma(center, l.splat(-T::ONE), from);
                        l.fma(gain, load(l, g.add(i), n, whole), l.fma(slope, d, shift))
                    } else {
                        l.fma(from, slope, shift)
                    };
                    store(l, y.add(i), v, n, whole);
                    i += L::N;
                }
            }
        }
    }
}

/// Rows of `len` elements that follow each other in x and y, each by its own factor and summand.
pub(in crate::norm) struct Rows<T> {
    pub x: *const T,
    pub y: *mut T,
    pub rows: usize,
    pub len: usize,
    /// Lists of `channels` numbers; the first row has number `first`.
    pub a: *const T,
    pub b: *const T,
    pub channels: usize,
    pub first: usize,
    /// Whether y is stored past the caches; whoever says so calls `fence`.
    pub past: bool,
}

/// `y = x * a + b`, one fused multiply-add per element.
///
/// # Safety
/// As for `block_sums`.
#[inline(always)]
pub(super) unsafe fn scale_rows<T: Real, L: Fold<T>, const U: usize>(l: L, r: &Rows<T>) {
    let end = r.rows * r.len;
    let mut c = r.first;
    for row in 0..r.rows {
        // SAFETY: the caller's promise.
        unsafe {
            if r.past {
                let (x, y) = (r.x.add(row * r.len), r.y.add(row * r.len));
                let run = Runs {
                    x,
                    g: x,
                    y,
                    steps: [0; 3],
                    count: 1,
                    len: r.len,
                    past: true,
                };
                scale::<T, L, U>(l, &run, *r.a.add(c), *r.b.add(c));
                c = if c + 1 == r.channels { 0 } else { c + 1 };
                continue;
            }
            let (a, b) = (l.splat(*r.a.add(c)), l.splat(*r.b.add(c)));
            let (mut i, to) = (row * r.len, row * r.len + r.len);
            while i + U * L::N <= to {
                for u in 0..U {
                    let at = i + u * L::N;
                    l.store(r.y.add(at), l.fma(l.load(r.x.add(at)), a, b));
                }
                i += U * L::N;
            }
            // What is stored beyond the row is the next one's, and written again.
            while i < to && i + L::N <= end {
                l.store(r.y.add(i), l.fma(l.load(r.x.add(i)), a, b));
                i += L::N;
            }
            if i < to {
                l.store_n(r.y.add(i), l.fma(l.load_n(r.x.add(i), to - i), a, b), to - i);
            }
        }
        c += 1;
        if c == r.channels {
            c = 0;
        }
    }
}
