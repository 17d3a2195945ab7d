//! Weights on their way into a product: where they lie, copies of them, and panels packed straight from there.

use crate::gemm::{Kernels, Panels, pack_a};
use crate::parallel;
use crate::simd::transpose::turn;
use std::ops::Range;

/// Elements worth handing to a thread.
const GRAIN: usize = 32 * 1024;
/// Channels that are copied side by side, where the rows are nearer to each other.
const SIDE: usize = 16;

/// Weights as one matrix [rows, channels * taps] per group. Tap t of a channel of a row lies at
/// `group * group_stride + row * row_stride + channel * channel_stride + taps[t]`.
pub(super) struct Weights<T> {
    pub data: *const T,
    pub groups: usize,
    pub rows: usize,
    pub channels: usize,
    pub group_stride: isize,
    pub row_stride: isize,
    pub channel_stride: isize,
    pub taps: Vec<isize>,
}

struct Shared<'a, T>(&'a Weights<T>, *mut T);
// SAFETY: plain data; tasks write disjoint elements.
unsafe impl<T: Sync> Sync for Shared<'_, T> {}

impl<T: Copy> Weights<T> {
    /// The matrices of a contiguous array.
    pub fn dense(data: *const T, [groups, rows, channels, taps]: [usize; 4]) -> Self {
        Self {
            data,
            groups,
            rows,
            channels,
            group_stride: (rows * channels * taps) as isize,
            row_stride: (channels * taps) as isize,
            channel_stride: taps as isize,
            taps: (0..taps as isize).collect(),
        }
    }

    /// Each row is one stretch of memory, channel by channel.
    pub fn is_dense(&self) -> bool {
        let taps = self.taps.len() as isize;
        (self.channels == 1 || self.channel_stride == taps) && self.taps.iter().copied().eq(0..taps)
    }

    fn size(&self) -> usize {
        self.groups * self.rows * self.channels * self.taps.len()
    }
}

impl<T: Copy + Default + Send + Sync> Weights<T> {
    /// All weights, as they lie in a contiguous array.
    ///
    /// # Safety
    /// The addresses that the fields describe are live.
    pub unsafe fn copied(&self) -> Vec<T> {
        let mut copy = vec![T::default(); self.size()];
        let shared = Shared(self, copy.as_mut_ptr());
        let (rows, channels, taps) = (self.rows, self.channels, self.taps.len());
        let blocks = channels.div_ceil(SIDE);
        let grain = (GRAIN / (rows * SIDE * taps).max(1)).max(1);
        parallel::for_range(self.groups * blocks, grain, |some| {
            let Shared(w, to) = &shared;
            for (group, block) in some.map(|i| (i / blocks, i % blocks)) {
                let these = block * SIDE..channels.min((block + 1) * SIDE);
                let from = w.data.wrapping_offset(group as isize * w.group_stride);
                let to = to.wrapping_add(group * rows * channels * taps);
                if let (&[tap], 1, 0..) = (&w.taps[..], w.row_stride, w.channel_stride) {
                    let (apart, first) = (w.channel_stride.unsigned_abs(), these.start);
                    let from = from.wrapping_add(first * apart).wrapping_offset(tap);
                    // SAFETY: the caller's promise; so below.
                    unsafe { turn(from, apart, these.len(), rows, to.wrapping_add(first), channels) };
                    continue;
                }
                // Both sides are touched in stretches.
                for (row, channel) in (0..rows).flat_map(|row| these.clone().map(move |c| (row, c))) {
                    let from = from.wrapping_offset(row as isize * w.row_stride + channel as isize * w.channel_stride);
                    let to = to.wrapping_add((row * channels + channel) * taps);
                    for (j, &tap) in w.taps.iter().enumerate() {
                        // SAFETY: as above.
                        unsafe { *to.add(j) = *from.wrapping_offset(tap) };
                    }
                }
            }
        });
        copy
    }

    /// Packs steps `ks` of the matrix' k of a group, as [`pack_a`] does.
    ///
    /// # Safety
    /// As for [`Weights::copied`]; `dst` holds `rows * ks.len()` elements and the slack.
    pub unsafe fn pack(&self, kernels: &Kernels<T>, group: usize, ks: Range<usize>, dst: *mut T) {
        let (taps, m, depth) = (self.taps.len(), self.rows, ks.len());
        let data = self.data.wrapping_offset(group as isize * self.group_stride);
        // SAFETY: the caller's promise; so below.
        unsafe {
            if self.is_dense() {
                return pack_a(kernels, data.wrapping_add(ks.start), self.row_stride, 1, m, depth, dst);
            }
            if let &[tap] = &self.taps[..] {
                let first = data.wrapping_offset(tap + ks.start as isize * self.channel_stride);
                return pack_a(kernels, first, self.row_stride, self.channel_stride, m, depth, dst);
            }
        }
        // Channel by channel: all rows of one, tap after tap, into each panel.
        let panels = Panels::of(m, kernels.tiles.len());
        let mut p = ks.start;
        while p < ks.end {
            let (channel, tap) = (p / taps, p % taps);
            let some = (taps - tap).min(ks.end - p);
            let from = data.wrapping_offset(channel as isize * self.channel_stride);
            for (i, rows) in panels.each() {
                let mut to = dst.wrapping_add(i * depth + (p - ks.start) * rows);
                for &tap in &self.taps[tap..tap + some] {
                    let from = from.wrapping_offset(i as isize * self.row_stride + tap);
                    for r in 0..rows {
                        // SAFETY: as above.
                        unsafe { *to.add(r) = *from.wrapping_offset(r as isize * self.row_stride) };
                    }
                    to = to.wrapping_add(rows);
                }
            }
            p += some;
        }
    }
}
