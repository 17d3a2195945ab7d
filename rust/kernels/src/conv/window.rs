//! Convolutions with few output channels per group (depthwise ones above all): the window is read where it lies, since
//! packed patches would be used too seldom to pay.

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

use crate::simd::vec::Lanes;

/// A stretch of positions: where they begin in the image and in the output.
#[derive(Clone, Copy, Default)]
pub(crate) struct Stretch {
    pub src: isize,
    pub dst: isize,
    pub len: usize,
}

/// Most output channels computed in this way.
pub(crate) const WINDOW_ROWS: usize = 8;
/// Most output channels, and most stretches, of one call.
pub(crate) const WINDOW_TOGETHER: usize = 6;
pub(crate) const STRETCHES: usize = 8;

/// Stretches that one call with so many output channels computes: as many sums as hide how long one takes, and no more than
/// there are registers for.
pub(crate) const fn stretches(channels: usize) -> usize {
    match channels {
        1 => STRETCHES,
        2 | 3 => 4,
        _ => 2,
    }
}

/// Some output channels at some stretches: sums over channels and taps in order, from zero, then the bias.
pub(crate) struct WindowArgs<'a, T> {
    pub image: *const T,
    pub channel_stride: isize,
    pub channels: usize,
    pub taps: &'a [isize],
    /// Weights of the first output channel, and the distance to the next.
    pub weights: *const T,
    pub row_stride: isize,
    pub dst: *mut T,
    pub dst_stride: isize,
    /// As many as the kernel takes, of at most a vector; unused ones have length 0.
    pub stretches: [Stretch; STRETCHES],
    /// One per output channel, or null.
    pub bias: *const T,
}

/// `M` output channels, `S` stretches.
///
/// # Safety
/// All positions and weights lie in live memory.
#[inline(always)]
pub(crate) unsafe fn window<T, L: Lanes<T>, const M: usize, const S: usize>(l: L, g: &WindowArgs<T>)
where
    T: Copy + Default,
{
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[l.splat(T::default()); S]; M];
        let (mut channel, mut weights) = (g.image, g.weights);
        for _ in 0..g.channels {
            for &tap in g.taps {
                let mut x = [l.splat(T::default()); S];
                for s in 0..S {
                    x[s] = l.load_n(channel.wrapping_offset(tap + g.stretches[s].src), g.stretches[s].len);
                }
                for m in 0..M {
                    let w = l.splat(*weights.wrapping_offset(m as isize * g.row_stride));
                    for s in 0..S {
                        sums[m][s] = l.fma(w, x[s], sums[m][s]);
                    }
                }
                weights = weights.wrapping_add(1);
            }
            channel = channel.wrapping_offset(g.channel_stride);
        }
        for m in 0..M {
            for s in 0..S {
                let to = g.dst.wrapping_offset(m as isize * g.dst_stride + g.stretches[s].dst);
                let mut sum = sums[m][s];
                if !g.bias.is_null() {
                    sum = l.add(sum, l.splat(*g.bias.wrapping_add(m)));
                }
                l.store_n(to, sum, g.stretches[s].len);
            }
        }
    }
}

/// Dot products of one gradient plane with the image, shifted by each tap.
pub(crate) struct ShiftArgs<'a, T> {
    pub image: *const T,
    pub gradient: *const T,
    /// Positions: `src` in the image, `dst` in the gradient.
    pub stretches: &'a [Stretch],
    pub taps: &'a [isize],
    /// One sum per tap, added to what is there.
    pub sums: *mut T,
}

/// Virtual lanes of a shifted dot product; every stretch is taken in pieces of this length, the last filled with zeros.
const LANES: usize = 16;

/// # Safety
/// All positions lie in live memory.
#[inline(always)]
pub(crate) unsafe fn shifts<T, L: Lanes<T>>(l: L, g: &ShiftArgs<T>)
where
    T: Copy + Default + std::ops::Add<Output = T>,
{
    let vectors = LANES / L::N;
    for (first, taps) in g.taps.chunks(4).enumerate() {
        let mut offsets = [0; 4];
        offsets[..taps.len()].copy_from_slice(taps);
        let mut acc = [[l.splat(T::default()); LANES]; 4];
        for s in g.stretches {
            let mut at = 0;
            while at < s.len {
                for v in 0..vectors {
                    let p = at + v * L::N;
                    let left = s.len.saturating_sub(p);
                    // SAFETY: the caller's promise; unused taps repeat position 0.
                    unsafe {
                        let y = l.load_n(g.gradient.wrapping_offset(s.dst + p as isize), left);
                        for t in 0..4 {
                            let x = l.load_n(g.image.wrapping_offset(offsets[t] + s.src + p as isize), left);
                            acc[t][v] = l.fma(y, x, acc[t][v]);
                        }
                    }
                }
                at += LANES;
            }
        }
        for t in 0..taps.len() {
            let mut lanes = [T::default(); LANES];
            for v in 0..vectors {
                // SAFETY: `lanes` has room for all vectors.
                unsafe { l.store(lanes.as_mut_ptr().add(v * L::N), acc[t][v]) };
            }
            let mut half = LANES / 2;
            while half > 0 {
                for i in 0..half {
                    lanes[i] = lanes[i] + lanes[i + half];
                }
                half /= 2;
            }
            // SAFETY: one sum per tap.
            unsafe {
                let sum = g.sums.add(4 * first + t);
                *sum = *sum + lanes[0];
            }
        }
    }
}
