//! The gradient of the input of windows of three by three with a stride of two where each group has one channel on both
//! sides: the lines of the gradient are read once, in order, each together with the one before, and the result is written
//! line by line.
//!
//! Each element is the same chain, taps in order, as in [`super::pairs`].

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

use super::finish::Block;
use super::gather::Images;
use super::pairs::Pair;
use super::plane::{Column, inside};
use crate::gemm::{HasKernels, Kernels};
use crate::parallel;
use crate::simd::vec::Lanes;

/// Multiply-adds worth handing to a thread.
const GRAIN: usize = 1 << 17;

/// Some planes one after another.
pub(crate) struct DoubleArgs<T> {
    pub planes: usize,
    pub src: *const T,
    pub src_plane: isize,
    pub src_row: isize,
    pub size: [usize; 2],
    /// The first of the two lines, and of the two columns, that pair 0 reads.
    pub low: [isize; 2],
    /// For even and odd rows, of these for even and odd columns `[line][column]`; how far the next plane's are.
    pub weights: [[*const T; 2]; 2],
    pub weights_plane: [[isize; 2]; 2],
    pub dst: *mut T,
    pub dst_plane: isize,
    /// From one line to the next; columns are contiguous.
    pub dst_row: isize,
    pub grid: [usize; 2],
}

/// Even rows (`LE`), even columns (`CE`) have two taps and odd ones have one, or the other way round. One tap reads the
/// second of the two lines or columns if the even ones have two, else the first.
///
/// # Safety
/// All planes and weights lie in live memory.
#[inline(always)]
pub(crate) unsafe fn double<T: Copy + Default, L: Lanes<T>, const LE: bool, const CE: bool>(l: L, g: &DoubleArgs<T>) {
    let pairs = g.grid[1].div_ceil(2);
    for plane in 0..g.planes as isize {
        let mut by = [[[[l.splat(T::default()); 2]; 2]; 2]; 2];
        for (row, col) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let (lines, cols) = (taps::<LE>(row), taps::<CE>(col));
            let from = g.weights[row][col].wrapping_offset(plane * g.weights_plane[row][col]);
            for i in 0..lines.1 {
                for j in 0..cols.1 {
                    // SAFETY: the caller's promise; so below.
                    by[row][col][i][j] = l.splat(unsafe { *from.add(i * cols.1 + j) });
                }
            }
        }
        let some = Plane {
            g,
            by,
            src: g.src.wrapping_offset(plane * g.src_plane),
            dst: g.dst.wrapping_offset(plane * g.dst_plane),
        };
        let mut at = 0;
        while at < pairs {
            let two = pairs - at > L::N;
            let step = if two { 2 * L::N } else { L::N };
            // The last vectors step back rather than be part of one.
            let from = if pairs < step || g.grid[1] % 2 == 1 {
                at
            } else {
                at.min(pairs - step)
            };
            // SAFETY: the caller's promise.
            unsafe {
                match two {
                    true => some.columns::<L, LE, CE, 2>(l, from),
                    false => some.columns::<L, LE, CE, 1>(l, from),
                }
            }
            at += step;
        }
    }
}

/// First tap and number of taps of an even (0) or odd (1) row or column.
#[inline(always)]
const fn taps<const EVEN: bool>(phase: usize) -> (usize, usize) {
    match ((phase == 0) == EVEN, EVEN) {
        (true, _) => (0, 2),
        (false, true) => (1, 1),
        (false, false) => (0, 1),
    }
}

/// A plane, its weights in vectors.
struct Plane<'a, T, V> {
    g: &'a DoubleArgs<T>,
    by: [[[[V; 2]; 2]; 2]; 2],
    src: *const T,
    dst: *mut T,
}

impl<T: Copy + Default, V: Copy> Plane<'_, T, V> {
    /// What `W` vectors of pairs of columns read of a line, which may lie outside.
    ///
    /// # Safety
    /// As for [`double`].
    #[inline(always)]
    unsafe fn line<L: Lanes<T, V = V>, const W: usize>(
        &self,
        l: L,
        cols: &[[Column<T, L>; 2]; W],
        line: isize,
    ) -> [[V; 2]; W] {
        let g = self.g;
        let mut x = [[l.splat(T::default()); 2]; W];
        if line >= 0 && line < g.size[0] as isize {
            let from = self.src.wrapping_offset(line * g.src_row);
            for w in 0..W {
                for c in 0..2 {
                    // SAFETY: the caller's promise.
                    x[w][c] = unsafe { cols[w][c].load::<1>(l, from, true) };
                }
            }
        }
        x
    }

    /// `W` vectors of pairs of columns, from pair `at` on.
    ///
    /// # Safety
    /// As for [`double`].
    #[inline(always)]
    unsafe fn columns<L: Lanes<T, V = V>, const LE: bool, const CE: bool, const W: usize>(&self, l: L, at: usize) {
        let g = self.g;
        let zero = l.splat(T::default());
        let mut cols = [[Column::<T, L>::new::<1>(l, 0, (0, 0)); 2]; W];
        for w in 0..W {
            for c in 0..2 {
                let offset = (at + w * L::N + c) as isize + g.low[1];
                cols[w][c] = Column::new::<1>(l, offset, inside(offset, 1, g.size[1], L::N));
            }
        }
        // SAFETY: the caller's promise; so below.
        let mut x = [unsafe { self.line(l, &cols, g.low[0]) }; 2];
        for t in 0..g.grid[0].div_ceil(2) {
            x = [x[1], unsafe { self.line(l, &cols, t as isize + g.low[0] + 1) }];
            if at == 0 {
                // The next plane's line.
                let next = self.src.wrapping_offset(g.src_plane + t as isize * g.src_row);
                for c in (0..g.size[1]).step_by(64 / size_of::<T>()) {
                    l.prefetch(next.wrapping_add(c));
                }
            }
            for row in 0..2 {
                if 2 * t + row >= g.grid[0] {
                    continue;
                }
                let (lines, to) = (
                    taps::<LE>(row),
                    self.dst.wrapping_offset((2 * t + row) as isize * g.dst_row),
                );
                for w in 0..W {
                    let mut sums = [zero; 2];
                    for col in 0..2 {
                        let cols = taps::<CE>(col);
                        for i in 0..lines.1 {
                            for j in 0..cols.1 {
                                let x = x[lines.0 + i][w][cols.0 + j];
                                sums[col] = l.fma(self.by[row][col][i][j], x, sums[col]);
                            }
                        }
                    }
                    let first = 2 * (at + w * L::N);
                    // A vector may lie wholly behind the line.
                    let left = g.grid[1].saturating_sub(first);
                    if W == 1 || left > 0 {
                        // SAFETY: the caller's promise; no more than is left of the line.
                        unsafe { l.store_pairs(to.wrapping_add(first), sums[0], sums[1], left) };
                    }
                }
            }
        }
    }
}

/// The first of two neighbours, and whether the even phase has them, if the other phase has the tap that goes with them.
fn neighbours(even: &[isize], odd: &[isize]) -> Option<(isize, bool)> {
    match (even, odd) {
        (&[a, b], &[c]) if b == a + 1 && c == b => Some((a, true)),
        (&[c], &[a, b]) if b == a + 1 && c == a => Some((a, false)),
        _ => None,
    }
}

/// What [`doubles`] needs to know of pairs of phases.
pub(super) struct Doubled {
    low: [isize; 2],
    even: [bool; 2],
}

impl Doubled {
    /// `None` for what there is no kernel for.
    pub fn of<T>(pairs: &[Pair<T>]) -> Option<Self> {
        let [first, second] = pairs else { return None };
        let w = &first.weights[0];
        let [even, odd] = &first.geometry;
        let (lines, cols) = (
            neighbours(&even.offsets[1], &second.geometry[0].offsets[1])?,
            neighbours(&even.offsets[2], &odd.offsets[2])?,
        );
        (w.rows == 1 && w.channels == 1).then_some(Self {
            low: [lines.0, cols.0],
            even: [lines.1, cols.1],
        })
    }
}

struct Shared<'a, T>(&'a [Pair<T>], Images<T>);
// SAFETY: plain data; tasks write disjoint planes.
unsafe impl<T: Sync> Sync for Shared<'_, T> {}

/// [`super::pairs::pairs`] for what [`Doubled`] describes.
///
/// # Safety
/// As for `pairs`.
pub(super) unsafe fn doubles<T: Copy + Default + HasKernels + Send + Sync>(
    kernels: &'static Kernels<T>,
    doubled: &Doubled,
    pairs: &[Pair<T>],
    images: Images<T>,
    grid: [usize; 2],
) {
    let groups = pairs[0].weights[0].groups;
    let size = &pairs[0].geometry[0].size;
    let work = 9 * grid[0].div_ceil(2) * grid[1].div_ceil(2);
    let tasks = images.count * groups;
    let shared = Shared(pairs, images);
    parallel::for_range(tasks, GRAIN.div_ceil(work.max(1)), |range| {
        let Shared(pairs, images) = &shared;
        let [xi, xc, _, xr, _] = images.src_strides;
        let [yi, yc, _, yr, _] = images.dst_strides;
        let mut next = range.start;
        while next < range.end {
            let (image, plane) = (next / groups, next % groups);
            let most = if images.finish.is_some() { 1 } else { groups };
            let planes = most.min(range.end - next).min(groups - plane);
            next += planes;
            let (i, p) = (image as isize, plane as isize);
            let weights = [0, 1].map(|row| [0, 1].map(|col| &pairs[row].weights[col]));
            let args = DoubleArgs {
                planes,
                src: images.src.wrapping_offset(i * xi + p * xc),
                src_plane: xc,
                src_row: xr,
                size: [size[1], size[2]],
                low: doubled.low,
                weights: weights.map(|w| w.map(|w| w.data.wrapping_offset(p * w.group_stride))),
                weights_plane: weights.map(|w| w.map(|w| w.group_stride)),
                dst: images.dst.wrapping_offset(i * yi + p * yc),
                dst_plane: yc,
                dst_row: yr,
                grid,
            };
            let [line, col] = doubled.even.map(usize::from);
            // SAFETY: the caller's promise; each plane is one task's.
            unsafe {
                (kernels.doubles[line][col])(&args);
                if let Some(f) = &images.finish {
                    f.block(Block {
                        image,
                        channel: plane,
                        channels: planes,
                        from: 0,
                        count: grid[0] * grid[1],
                    });
                }
            }
        }
    });
}
