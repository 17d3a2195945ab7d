//! Three by three taps with stride one by minimal filtering (Winograd 1980; Lavin and Gray, arXiv:1509.09308): each tile of
//! four by four positions takes 36 products per pair of channels instead of 144, in the forward pass and in both gradients.
//!
//! Every pass is 36 products of matrices, one per point at which the transforms know a tile's polynomial: of tiles by
//! channels and channels by outputs, or, for the weights' gradient, of outputs by tiles and tiles by channels. Tiles,
//! filters and sums hold their channels side by side, so the products read them as they lie.
//!
//! Only float32, and only where the error stays within a few times the plain sum's (`tests.rs` holds it to that): the sum
//! over channels, or over tiles, must have at least [`LEAST`] terms.

mod passes;
#[cfg(test)]
mod tests;
mod transform;
mod weight;

pub(super) use passes::{Filters, convolve};
pub(crate) use transform::{Stage, stage};
pub(super) use weight::{gradient, takes_gradient};

use super::geometry::Gather;
use crate::gemm::{Gemm, HasKernels, Kernels, Scratch, panel_width};
use std::ops::Range;
use transform::{SIDE, WindowArgs};

/// Products of matrices, one per element of a transformed tile.
const POINTS: usize = 36;
/// Least terms of a sum at a point: below, the transforms err more than the plain sum's roundings.
const LEAST: usize = 16;

/// Whether a pass over `count` images is computed here: channels in and out, strides in and out.
pub(super) fn takes<T>(
    g: &Gather,
    count: usize,
    [channels, rows]: [usize; 2],
    src: [isize; 5],
    dst: [isize; 5],
) -> bool {
    let follow = |taps: &[isize]| taps.len() == 3 && taps[1] == taps[0] + 1 && taps[2] == taps[1] + 1;
    // Wider numbers would lose digits that are asked for.
    size_of::<T>() == 4
        && g.grid[0] == 1
        && g.offsets[0] == [0]
        && g.step == [1; 3]
        && follow(&g.offsets[1])
        && follow(&g.offsets[2])
        && src[4] == 1
        && dst[4] == 1
        && dst[1] >= 0
        && rows.min(channels) >= LEAST
        && worth(g, count)
}

/// Products saved outweigh the transforms: at least two fifths of them, whatever hangs over the edges, and more than the
/// filters' transform costs, which is as much as some 220 products per filter.
fn worth(g: &Gather, count: usize) -> bool {
    let [high, wide] = tiles(g);
    let (tiles, positions) = (high * wide, g.grid[1] * g.grid[2]);
    20 * tiles <= 3 * positions && 9 * count * positions >= 220 + POINTS * count * tiles
}

/// Tiles of an image, down and across.
fn tiles(g: &Gather) -> [usize; 2] {
    [g.grid[1].div_ceil(SIDE), g.grid[2].div_ceil(SIDE)]
}

/// Tiles side by side in one image: a rectangle of whole lines, or a piece of one line.
struct Part {
    /// The first one's number among the tiles asked for.
    at: usize,
    image: isize,
    row: usize,
    col: usize,
    rows: usize,
    cols: usize,
}

/// Cuts a run of tiles, counted over all images, into such parts.
fn parts([high, wide]: [usize; 2], tiles: Range<usize>) -> impl Iterator<Item = Part> {
    let mut next = tiles.start;
    std::iter::from_fn(move || {
        let left = tiles.end - next;
        if left == 0 {
            return None;
        }
        let (row, col) = (next / wide % high, next % wide);
        let (rows, cols) = if col == 0 && left >= wide {
            ((left / wide).min(high - row), wide)
        } else {
            (1, left.min(wide - col))
        };
        let part = Part {
            at: next - tiles.start,
            image: (next / (wide * high)) as isize,
            row,
            col,
            rows,
            cols,
        };
        next += rows * cols;
        Some(part)
    })
}

/// Some channels of all images: the first element, and strides of image, channel and line.
#[derive(Clone, Copy)]
struct Planes<T> {
    src: *const T,
    strides: [isize; 3],
    channels: usize,
    size: [usize; 2],
    /// Line and column at which the first tile begins.
    start: [isize; 2],
    /// Tiles of 4x4 that are themselves the filters, else windows of 6x6.
    filters: bool,
}

/// Where transformed tiles, or their sums, lie.
#[derive(Clone, Copy)]
struct Place<T> {
    dst: *mut T,
    tile: usize,
    point: usize,
}

impl<T> Place<T> {
    /// Room for tiles of `row` elements at each point, the tiles of a point next to each other.
    fn reserve(scratch: &mut Scratch, tiles: usize, row: usize) -> Self {
        let point = apart(tiles * row);
        Self {
            dst: scratch.reserve::<T>(POINTS * point),
            tile: row,
            point,
        }
    }
}

// SAFETY: an address behind which tasks write disjoint parts.
unsafe impl<T: Sync> Sync for Place<T> {}

/// Transforms some tiles of one vector of channels, from channel `first` on.
///
/// # Safety
/// The planes and all points lie in live memory; `strip` has room for the tiles; `kernels` fit the CPU.
unsafe fn fill<T>(
    kernels: &Kernels<T>,
    planes: &Planes<T>,
    first: usize,
    all: [usize; 2],
    tiles: Range<usize>,
    to: &Place<T>,
    strip: *mut T,
) {
    let [image, channel, row_stride] = planes.strides;
    for part in parts(all, tiles) {
        let args = WindowArgs {
            src: planes
                .src
                .wrapping_offset(part.image * image + first as isize * channel),
            channel_stride: channel,
            channels: planes.channels.saturating_sub(first).min(kernels.narrow),
            row_stride,
            size: planes.size,
            line: (SIDE * part.row) as isize + planes.start[0],
            col: (SIDE * part.col) as isize + planes.start[1],
            rows: part.rows,
            cols: part.cols,
            filters: planes.filters,
            dst: to.dst.wrapping_add(part.at * to.tile),
            dst_tile: to.tile,
            dst_point: to.point,
            strip,
        };
        // SAFETY: the caller's promise.
        unsafe { (kernels.winograd)(&Stage::Window(args)) };
    }
}

/// Elements of the panels that hold `n` channels.
fn whole<T>(kernels: &Kernels<T>, n: usize) -> usize {
    let rest = n % kernels.nr;
    n - rest + if rest == 0 { 0 } else { panel_width(kernels, rest) }
}

/// Elements between points: not a power of two, which would put all points into one set of the cache.
fn apart(n: usize) -> usize {
    n.next_multiple_of(16) + 16
}

/// Place of column `at` in a right operand of `k` rows and `n` columns that lies in panels, and the width of its panel.
fn in_panel<T>(kernels: &Kernels<T>, at: usize, k: usize, n: usize) -> (usize, usize) {
    let first = at / kernels.nr * kernels.nr;
    (first * k + at - first, panel_width(kernels, kernels.nr.min(n - first)))
}

/// `c = (from_c ? c : 0) + a @ b`, for `a` with strides and `b` in panels.
struct Product<T> {
    a: *const T,
    a_strides: [isize; 2],
    b: *const T,
    c: *mut T,
    c_row: usize,
    from_c: bool,
}

impl<T: Copy + Default + HasKernels + Send + Sync> Product<T> {
    /// # Safety
    /// The operands lie in live memory; `kernels` fit the CPU.
    unsafe fn run(self, kernels: &'static Kernels<T>, [m, n, k]: [usize; 3]) {
        let product = Gemm {
            m,
            n,
            k,
            a: self.a,
            a_rs: self.a_strides[0],
            a_cs: self.a_strides[1],
            c: self.c,
            c_rs: self.c_row as isize,
            c_cs: 1,
            from_c: self.from_c,
            ..Gemm::empty()
        };
        // SAFETY: the caller's promise.
        unsafe { product.run_tiles(kernels, std::ptr::null(), self.b, std::ptr::null_mut()) };
    }
}
