//! Many channels of short runs: a block of them together, so that memory is read in longer pieces.

use super::runs::{Blend, Runs, scale};
use crate::reduce::real::Real;
use crate::simd::Aligned;
use crate::simd::cache::{first_is_small, stream};
use crate::simd::sweep::{AHEAD, Fold, SEGMENT, ahead, load, store};

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
/// Of runs to be written, where the first-level cache is small.
const SOON: usize = 2;

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
    // What the lanes of a run's last vector are moved by.
    let mut tails = Aligned([[T::ZERO; 16]; BLOCK]);
    let tail = r.len % L::N;
    for c in 0..r.channels {
        tails[c][..tail].fill(-centers[c]);
        sums[c] = [0.0; 2];
    }
    let (mut held, mut run) = (0, 0);
    while run < r.count {
        // Two runs, so that lanes are loaded and stored half as often; not over the end of a segment, nor where a run has more
        // elements than there are lanes, which take one run's first.
        let two = r.len <= U * L::N && run + 2 <= r.count && held + r.len < SEGMENT;
        let count = if two { 2 } else { 1 };
        held += count * r.len;
        let full = held >= SEGMENT || run + count == r.count;
        // SAFETY: the caller's promise.
        unsafe {
            for c in 0..r.channels {
                let (center, tail) = (-centers[c], tails[c].as_ptr());
                if two {
                    add_runs::<T, L, U, KIND, 2>(l, r, run, c, center, tail, &mut lanes[c]);
                } else {
                    add_runs::<T, L, U, KIND, 1>(l, r, run, c, center, tail, &mut lanes[c]);
                }
                if full {
                    for (sum, lanes) in sums[c].iter_mut().zip(&mut lanes[c]) {
                        *sum += join::<T, L, U>(l, lanes.as_mut_ptr());
                    }
                }
            }
        }
        if full {
            held = 0;
        }
        run += count;
    }
}

/// Adds what K runs of channel `c` give to its lanes, run after run, and asks for later ones; `away` is the negated center,
/// the same in `tail` for a run's last vector.
///
/// # Safety
/// As for `block_sums`.
#[inline(always)]
unsafe fn add_runs<T: Real, L: Fold<T>, const U: usize, const KIND: bool, const K: usize>(
    l: L,
    r: &Block<T>,
    run: usize,
    c: usize,
    away: T,
    tail: *const T,
    [first, second]: &mut [Kept<T>; 2],
) {
    let (mut x, mut g) = ([r.x; K], [r.g; K]);
    let lines = r.len * size_of::<T>() / 64 + 1;
    for k in 0..K {
        (x[k], g[k], _) = r.at(run + k, c);
        // Beyond the last run the first ones of the next channels.
        let over = if run + k + LATER < r.count { 0 } else { r.count as isize };
        let later = |d: usize| (LATER as isize - over) * r.steps[d] + over.signum() * r.channels as isize * r.across[d];
        let later = [later(0), later(1)];
        for line in 0..lines {
            l.prefetch(x[k].wrapping_offset(later[0]).wrapping_byte_add(64 * line));
            if KIND == DOTS {
                l.prefetch(g[k].wrapping_offset(later[1]).wrapping_byte_add(64 * line));
            }
        }
    }
    let all = l.splat(away);
    let mut group = 0;
    while group < r.len {
        for u in 0..U {
            let i = group + u * L::N;
            if i >= r.len {
                break;
            }
            let (n, whole) = (r.len - i, r.len - i >= L::N);
            // SAFETY: the caller's promise; U vectors are 256 bytes.
            unsafe {
                let away = if whole { all } else { l.load(tail) };
                let (to_first, to_second) = (first.as_mut_ptr().add(u * L::N), second.as_mut_ptr().add(u * L::N));
                let (mut one, mut two) = (l.load(to_first), l.load(to_second));
                for k in 0..K {
                    let d = l.add(load(l, x[k].add(i), n, whole), away);
                    let v = if KIND == DOTS {
                        load(l, g[k].add(i), n, whole)
                    } else {
                        d
                    };
                    one = l.add(one, v);
                    two = l.fma(v, d, two);
                }
                l.store(to_first, one);
                l.store(to_second, two);
            }
        }
        group += U * L::N;
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
    let later = if first_is_small() { SOON } else { LATER } as isize;
    // From the end, which was read last.
    let lines = r.len * size_of::<T>() / 64 + 1;
    for run in (0..r.count).rev() {
        for c in 0..r.channels {
            let (x, g, y) = r.at(run, c);
            for line in 0..lines {
                let to = y.wrapping_offset(-later * r.steps[2]);
                l.prefetch_write(to.wrapping_byte_add(64 * line));
            }
            let k = k[c];
            let [gain, slope, away, shift] = [k.gain, k.slope, -k.center, k.shift].map(|v| l.splat(v));
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
                        let d = l.add(from, away);
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
    let (mut c, by) = (r.first, stream(AHEAD));
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
                ahead(l, r.x, 0, by, end, i, U);
                for u in 0..U {
                    let at = i + u * L::N;
                    l.prefetch_write(r.y.wrapping_add(at + by));
                    l.store(r.y.add(at), l.fma(l.load(r.x.add(at)), a, b));
                }
                i += U * L::N;
            }
            // What is stored beyond the row is the next one's, and written again.
            while i < to && i + L::N <= end {
                ahead(l, r.x, 0, by, end, i, 1);
                l.prefetch_write(r.y.wrapping_add(i + by));
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
