//! The gradient of the input where columns have a stride of two and few planes are wanted (depthwise ones, or an image's
//! three colours): even and odd columns are two sums in registers, stored interleaved, so that each line of the result is
//! written once. Planes are read where they lie; borders are masks.
//!
//! Each element is the same chain, channels and taps in order, as in [`super::gather`].

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

use super::finish::Block;
use super::gather::Images;
use super::geometry::Gather;
use super::plane::{Column, MOST_TAPS, inside};
use super::weights::Weights;
use crate::gemm::{HasKernels, Kernels};
use crate::parallel;
use crate::simd::vec::Lanes;

/// Most output planes of a group, and planes that are computed at once.
const ROWS: usize = 8;
const TOGETHER: usize = 3;
/// Multiply-adds worth handing to a thread.
const GRAIN: usize = 1 << 18;

/// The even and the odd columns of every `stride`-th line of the result.
pub(super) struct Pair<T> {
    /// One for the even columns, one for the odd.
    pub geometry: [Gather; 2],
    pub weights: [Weights<T>; 2],
}

/// Some lines of some planes that read the same channels.
pub(crate) struct PairArgs<'a, T> {
    pub planes: usize,
    pub src: *const T,
    pub channel_stride: isize,
    pub channels: usize,
    pub row_stride: isize,
    pub size: [usize; 2],
    /// Line t of the result reads line `t + lines[tap]`; pair t of its columns reads column `t + cols[phase][tap]`.
    pub lines: &'a [isize],
    pub cols: [&'a [isize]; 2],
    /// For each phase `[plane][channel][line][column]`, and how far the next plane's are.
    pub weights: [*const T; 2],
    pub weights_plane: [isize; 2],
    pub dst: *mut T,
    pub dst_plane: isize,
    /// From one of these lines to the next; columns are contiguous.
    pub dst_row: isize,
    pub from: usize,
    pub to: usize,
    pub width: usize,
}

/// # Safety
/// All planes and weights lie in live memory; there are at most [`MOST_TAPS`] columns of taps, and at most three planes.
#[inline(always)]
pub(crate) unsafe fn pair<T: Copy + Default, L: Lanes<T>>(l: L, g: &PairArgs<T>) {
    // SAFETY: the caller's promise.
    unsafe {
        match (g.planes, g.to - g.from, L::N) {
            (1, 8.., 16) => blocks::<T, L, 1, 8>(l, g),
            (1, 4.., _) => blocks::<T, L, 1, 4>(l, g),
            (1, ..) => blocks::<T, L, 1, 1>(l, g),
            (2, 4.., 16) => blocks::<T, L, 2, 4>(l, g),
            (2, 2.., _) => blocks::<T, L, 2, 2>(l, g),
            (2, ..) => blocks::<T, L, 2, 1>(l, g),
            (_, 4.., 16) => blocks::<T, L, 3, 4>(l, g),
            (_, 2.., _) => blocks::<T, L, 3, 2>(l, g),
            _ => blocks::<T, L, 3, 1>(l, g),
        }
    }
}

/// `M` planes, `R` lines at a time.
///
/// # Safety
/// As for [`pair`]; there are at least `R` lines.
#[inline(always)]
unsafe fn blocks<T: Copy + Default, L: Lanes<T>, const M: usize, const R: usize>(l: L, g: &PairArgs<T>) {
    let least = g.lines.iter().fold(0, |a, &b| a.min(b));
    let most = g.lines.iter().fold(0, |a, &b| a.max(b));
    let pairs = g.width.div_ceil(2);
    for at in (0..pairs).step_by(L::N) {
        // The last vector steps back rather than be part of one.
        let at = if pairs < L::N || g.width % 2 == 1 {
            at
        } else {
            at.min(pairs - L::N)
        };
        let mut cols = [[Column::<T, L>::new::<1>(l, 0, (0, 0)); MOST_TAPS]; 2];
        for phase in 0..2 {
            for (c, &tap) in cols[phase].iter_mut().zip(g.cols[phase]) {
                let offset = at as isize + tap;
                *c = Column::new::<1>(l, offset, inside(offset, 1, g.size[1], L::N));
            }
        }
        let mut row = g.from;
        while row < g.to {
            // The last lines are computed in a full block, some of them again.
            row = row.min(g.to - R);
            let all = row as isize + least >= 0 && (row + R - 1) as isize + most < g.size[0] as isize;
            // SAFETY: the caller's promise.
            unsafe {
                match all {
                    true => block::<T, L, M, R, true>(l, g, &cols, row, at),
                    false => block::<T, L, M, R, false>(l, g, &cols, row, at),
                }
            }
            row += R;
        }
    }
}

/// A vector of pairs; for `ALL` all lines lie inside.
///
/// # Safety
/// As for [`pair`].
#[inline(always)]
unsafe fn block<T: Copy + Default, L: Lanes<T>, const M: usize, const R: usize, const ALL: bool>(
    l: L,
    g: &PairArgs<T>,
    cols: &[[Column<T, L>; MOST_TAPS]; 2],
    row: usize,
    at: usize,
) {
    let mut sums = [[[l.splat(T::default()); R]; M]; 2];
    let (mut channel, mut weights) = (g.src, g.weights);
    for _ in 0..g.channels {
        for &tap in g.lines {
            let mut lines = [channel; R];
            let mut known = [true; R];
            for r in 0..R {
                let line = (row + r) as isize + tap;
                known[r] = ALL || (line >= 0 && line < g.size[0] as isize);
                lines[r] = channel.wrapping_offset(line * g.row_stride);
            }
            for phase in 0..2 {
                for c in &cols[phase][..g.cols[phase].len()] {
                    // SAFETY: the caller's promise.
                    unsafe {
                        let mut by = [l.splat(T::default()); M];
                        for m in 0..M {
                            by[m] = l.splat(*weights[phase].wrapping_offset(m as isize * g.weights_plane[phase]));
                        }
                        for r in 0..R {
                            let x = c.load::<1>(l, lines[r], known[r]);
                            for m in 0..M {
                                sums[phase][m][r] = l.fma(by[m], x, sums[phase][m][r]);
                            }
                        }
                    }
                    weights[phase] = weights[phase].wrapping_add(1);
                }
            }
        }
        channel = channel.wrapping_offset(g.channel_stride);
    }
    for m in 0..M {
        let to = g
            .dst
            .wrapping_offset(m as isize * g.dst_plane + row as isize * g.dst_row)
            .wrapping_add(2 * at);
        for r in 0..R {
            let to = to.wrapping_offset(r as isize * g.dst_row);
            // SAFETY: the caller's promise.
            unsafe { l.store_pairs(to, sums[0][m][r], sums[1][m][r], g.width - 2 * at) };
        }
    }
}

/// Whether [`pairs`] computes a gradient with this many planes per group, written with these strides.
pub(super) fn takes(g: &Gather, rows: usize, src: [isize; 5], dst: [isize; 5]) -> bool {
    g.grid[0] == 1
        && g.offsets[0] == [0]
        && g.offsets[2].len() <= MOST_TAPS
        && rows <= ROWS
        && (src[4] == 1 || g.size[2] == 1)
        && dst[4] == 1
}

struct Shared<'a, T>(&'a [Pair<T>], Images<T>);
// SAFETY: plain data; tasks write disjoint lines.
unsafe impl<T: Sync> Sync for Shared<'_, T> {}

/// The gradient of the input: line r of the result belongs to pair `r % pairs.len()`. `width` is the result's.
///
/// # Safety
/// [`takes`] said yes to all; all addresses that the arguments describe are live; `kernels` fit the CPU.
pub(super) unsafe fn pairs<T: Copy + Default + HasKernels + Send + Sync>(
    kernels: &'static Kernels<T>,
    pairs: &[Pair<T>],
    images: Images<T>,
    [height, width]: [usize; 2],
) {
    let phases = pairs.len();
    let first = &pairs[0].weights[0];
    let (groups, rows, channels) = (first.groups, first.rows, first.channels);
    let taps: usize = pairs.iter().flat_map(|p| &p.geometry).map(Gather::taps).sum();
    // Multiply-adds for as many lines as there are phases.
    let work = (channels * taps * width.div_ceil(2) * rows.min(TOGETHER)).max(1);
    let all = height.div_ceil(phases);
    let lines = GRAIN.div_ceil(work).next_multiple_of(8).min(all);
    let (blocks, parts) = (all.div_ceil(lines), rows.div_ceil(TOGETHER));
    let shared = Shared(pairs, images);
    let tasks = shared.1.count * groups * parts * blocks;
    parallel::for_range(tasks, (GRAIN / (work * lines)).max(1), |tasks| {
        let Shared(pairs, images) = &shared;
        let [xi, xc, _, xr, _] = images.src_strides;
        let [yi, yc, _, yr, _] = images.dst_strides;
        for task in tasks {
            let (which, from) = (task / blocks, task % blocks * lines);
            let (group, part) = (which / parts % groups, which % parts);
            let image = which / parts / groups;
            // Parts of nearly equal size.
            let (row, end) = (rows * part / parts, rows * (part + 1) / parts);
            let plane = group * rows + row;
            let dst = images.dst.wrapping_offset(image as isize * yi + plane as isize * yc);
            for (phase, p) in pairs.iter().enumerate() {
                let [even, odd] = &p.geometry;
                let to = even.grid[1].min(from + lines);
                if from >= to {
                    continue;
                }
                let args = PairArgs {
                    planes: end - row,
                    src: images
                        .src
                        .wrapping_offset(image as isize * xi + (group * channels) as isize * xc),
                    channel_stride: xc,
                    channels,
                    row_stride: xr,
                    size: [even.size[1], even.size[2]],
                    lines: &even.offsets[1],
                    cols: [&even.offsets[2], &odd.offsets[2]],
                    weights: [0, 1].map(|i| {
                        let w = &p.weights[i];
                        w.data
                            .wrapping_offset(group as isize * w.group_stride + row as isize * w.row_stride)
                    }),
                    weights_plane: [p.weights[0].row_stride, p.weights[1].row_stride],
                    dst: dst.wrapping_offset(phase as isize * yr),
                    dst_plane: yc,
                    dst_row: phases as isize * yr,
                    from,
                    to,
                    width,
                };
                // SAFETY: the caller's promise; each line of each plane is one task's.
                unsafe { (kernels.pairs)(&args) };
            }
            if let Some(f) = &images.finish {
                let (from, to) = (from * phases, height.min((from + lines) * phases));
                let block = Block {
                    image,
                    channel: plane,
                    channels: end - row,
                    from: from * width,
                    count: (to - from) * width,
                };
                // SAFETY: the block's lines of all phases are written.
                unsafe { f.block(block) };
            }
        }
    });
}
