//! The weights' gradient where taps see only a part of the positions: for each tap a product over the rectangle of positions
//! from which it sees the image. Gradients and images are packed once for all taps.

use super::bands::{MOST_SEEN, pairs_seen, places, seen};
use super::geometry::Gather;
use super::lines::LineTile;
use super::weight::Problem;
use super::winograd::some;
use crate::gemm::{
    HasKernels, Kernels, Panels, SLACK, even_part, merged_stride, pack_a, pack_b, panel_width, with_scratch,
    with_shared,
};
use crate::parallel;
use crate::simd::transpose::turn;
use std::ops::Range;

/// Least channels in and out: rows and columns of a product.
const LEAST_CHANNELS: usize = 16;
/// Positions of one chain, more or less: of so many all rows and a panel of columns stay near.
const CHAIN: usize = 512;
/// Elements that a task packs, at least, and of a cache line.
const GRAIN: usize = 16_384;
const LINE: usize = 16;
/// Rows of a task, in tiles.
const TILES: usize = 4;
/// Bytes of a packed image, at most.
const MOST: usize = 64 << 20;

/// A part of a tap's rectangle: so many lines and columns from these positions on, of the gradients and of the image.
struct Piece {
    tap: usize,
    lines: usize,
    columns: usize,
    gradient: usize,
    source: usize,
}

/// The products, by the chains of positions that they go through.
pub(crate) struct Rectangles {
    chains: Vec<Vec<Piece>>,
}

#[derive(Clone, Copy)]
struct At<T>(*mut T);
// SAFETY: an address behind which tasks write disjoint parts.
unsafe impl<T: Sync> Sync for At<T> {}

/// Gradients and images.
struct Sources<T>(*const T, *const T);
// SAFETY: addresses that are read only.
unsafe impl<T: Sync> Sync for Sources<T> {}

impl Rectangles {
    /// The weights' gradient, if it should be computed so.
    pub fn of<T>(g: &Gather, p: &Problem<T>) -> Option<Rectangles> {
        let dense = |strides: [isize; 5], size: [usize; 3]| merged_stride(&size, &strides[2..]) == Some(1);
        if p.rows.min(p.channels) < LEAST_CHANNELS || !dense(p.x_strides, g.size) || !dense(p.gy_strides, g.grid) {
            return None;
        }
        let image = p.groups * (p.rows * g.positions() + p.channels * g.size.iter().product::<usize>());
        if image * size_of::<T>() > MOST {
            return None;
        }
        (100 * pairs_seen(g) <= MOST_SEEN * g.positions() * g.taps()).then(|| Rectangles { chains: chains(g) })
    }

    /// The gradient as a matrix [groups * rows, channels * taps], written to `out`.
    ///
    /// # Safety
    /// [`Rectangles::of`] said yes; all addresses that the arguments describe are live; `kernels` fit the CPU; `out` has the
    /// matrix' size.
    pub(super) unsafe fn gradient<T>(
        &self,
        kernels: &'static Kernels<T>,
        g: &Gather,
        problem: &Problem<T>,
        out: &mut [T],
    ) where
        T: Copy + Default + HasKernels + Send + Sync,
    {
        let sources: usize = g.size.iter().product();
        let image = problem.groups * (problem.rows * g.positions() + problem.channels * sources) * size_of::<T>();
        // In 16 MiB.
        let held = even_part(problem.count, (4 * some() / image).max(1));
        for first in (0..problem.count).step_by(held) {
            let these = first..problem.count.min(first + held);
            // SAFETY: the caller's promise.
            unsafe { self.gradient_of(kernels, g, problem, these, out) };
        }
    }

    /// [`Rectangles::gradient`] of images that are held at once; all but the first ones' is added to `out`.
    ///
    /// # Safety
    /// As for that.
    unsafe fn gradient_of<T>(
        &self,
        kernels: &'static Kernels<T>,
        g: &Gather,
        problem: &Problem<T>,
        images: Range<usize>,
        out: &mut [T],
    ) where
        T: Copy + Default + HasKernels + Send + Sync,
    {
        let (groups, rows, channels) = (problem.groups, problem.rows, problem.channels);
        let (positions, sources) = (g.positions(), g.size.iter().product::<usize>());
        let taps = g.taps();
        let tiles = Panels::of(rows, kernels.line_tiles[1].len());
        let panels = channels.div_ceil(kernels.nr);
        // Where the packed gradients of an image and group lie, and behind them its source; what packs a panel may write a
        // little behind it.
        let tile_at = |tile: usize| tiles.at(tile).0 * positions + tile * SLACK;
        let gradients = (rows * positions + tiles.count * SLACK).next_multiple_of(LINE);
        let panel = kernels.nr * sources + SLACK;
        let each = gradients + panels * panel;
        with_shared(|packed| {
            let packed = At(packed.reserve::<T>(images.len() * groups * each));
            let from = Sources(problem.gy, problem.x);
            let strides = [problem.gy_strides, problem.x_strides];
            let pieces = tiles.count + panels;
            let grain = GRAIN.div_ceil(kernels.nr * positions);
            parallel::for_range(images.len() * groups * pieces, grain, |tasks| {
                let (packed, Sources(gy, x)) = (&packed, &from);
                for task in tasks {
                    let (which, piece) = (task / pieces, task % pieces);
                    let (image, group) = ((images.start + which / groups) as isize, which % groups);
                    let to = packed.0.wrapping_add(which * each);
                    // SAFETY: the caller's promise; each task packs a part of its own.
                    unsafe {
                        if piece < tiles.count {
                            let ([n, c, ..], (row, high)) = (strides[0], tiles.at(piece));
                            let gy = gy.wrapping_offset(image * n + (group * rows + row) as isize * c);
                            pack_a(kernels, gy, c, 1, high, positions, to.wrapping_add(tile_at(piece)));
                        } else {
                            let ([n, c, ..], column) = (strides[1], (piece - tiles.count) * kernels.nr);
                            let x = x.wrapping_offset(image * n + (group * channels + column) as isize * c);
                            let to = to.wrapping_add(gradients + (piece - tiles.count) * panel);
                            pack_b(kernels, x, 1, c, sources, kernels.nr.min(channels - column), to);
                        }
                    }
                }
            });
            // Few products are shared out finer, tap by tap.
            let threads = parallel::threads();
            let near = (tiles.count * panels * groups).div_ceil(4 * threads);
            let some = even_part(tiles.count, TILES.min(near).max(1));
            let blocks = tiles.count.div_ceil(some);
            let products = groups * panels * blocks;
            let together = if products < 4 * threads { 1 } else { taps };
            let out = At(out.as_mut_ptr());
            parallel::for_range(products * taps.div_ceil(together), 1, |tasks| {
                let (packed, out) = (&packed, &out);
                with_scratch(|[sums, ..]| {
                    for (product, first) in tasks.map(|task| (task % products, task / products * together)) {
                        let (group, part, block) =
                            (product / blocks / panels, product / blocks % panels, product % blocks);
                        let these = first..taps.min(first + together);
                        let (tile, column) = (block * some, part * kernels.nr);
                        let (last, last_high) = tiles.at(tiles.count.min(tile + some) - 1);
                        let (row, count) = (tiles.at(tile).0, kernels.nr.min(channels - column));
                        let high = last + last_high - row;
                        let area = high * count;
                        let sums = sums.reserve::<T>(these.len() * area);
                        let lines = (0..high).map(|r| {
                            let to = ((group * rows + row + r) * channels + column) * taps + first;
                            (sums.wrapping_add(r * count), out.0.wrapping_add(to))
                        });
                        // SAFETY: the buffer holds the sums of a task, and these places are its own; so below.
                        unsafe {
                            match images.start {
                                0 => std::slice::from_raw_parts_mut(sums, these.len() * area).fill(T::default()),
                                _ => lines
                                    .clone()
                                    .for_each(|(sums, out)| turn(out, taps, count, these.len(), sums, area)),
                            }
                        }
                        let kernel = |high: usize| kernels.line_tiles[1][high - 1][(count > kernels.narrow) as usize];
                        let x_row = panel_width(kernels, count);
                        for (image, chain) in (0..images.len()).flat_map(|i| self.chains.iter().map(move |c| (i, c))) {
                            let gy = packed.0.wrapping_add((image * groups + group) * each);
                            let x = gy.wrapping_add(gradients + part * panel);
                            for tile in tile..tiles.count.min(tile + some) {
                                let (first_row, high) = tiles.at(tile);
                                let gy = gy.wrapping_add(tile_at(tile));
                                for piece in chain.iter().filter(|piece| these.contains(&piece.tap)) {
                                    let tile = LineTile {
                                        lines: piece.lines,
                                        k: piece.columns,
                                        a: gy.wrapping_add(piece.gradient * high),
                                        a_cs: high as isize,
                                        a_line: (g.grid[2] * high) as isize,
                                        b: x.wrapping_add(piece.source * x_row),
                                        b_rs: (g.step[2] * x_row) as isize,
                                        b_line: (g.step[1] * g.size[2] * x_row) as isize,
                                        c: sums.wrapping_add((piece.tap - first) * area + (first_row - row) * count),
                                        c_rs: count as isize,
                                        n: count,
                                        adds: true,
                                        ..LineTile::empty()
                                    };
                                    // SAFETY: the packed images hold all positions of the piece.
                                    unsafe { kernel(high)(&tile) };
                                }
                            }
                        }
                        // SAFETY: as above.
                        lines.for_each(|(sums, out)| unsafe { turn(sums, area, these.len(), count, out, taps) });
                    }
                });
            });
        });
    }
}

/// The pieces of each chain.
fn chains(g: &Gather) -> Vec<Vec<Piece>> {
    let [depth, high, wide] = g.grid;
    let columns = even_part(wide, CHAIN);
    let lines = even_part(high, (CHAIN / columns).max(1));
    let seen = [0, 1, 2].map(|d| seen(g, d));
    let mut chains = Vec::new();
    for d in 0..depth {
        for line in (0..high).step_by(lines) {
            for column in (0..wide).step_by(columns) {
                let chain = [
                    d..d + 1,
                    line..high.min(line + lines),
                    column..wide.min(column + columns),
                ];
                let piece = |tap: usize| {
                    let taps = places(g, tap);
                    let some = [0, 1, 2].map(|d| {
                        let (chain, seen) = (&chain[d], &seen[d][taps[d]]);
                        chain.start.max(seen.start)..chain.end.min(seen.end)
                    });
                    let source = |d: usize| (some[d].start * g.step[d]).wrapping_add_signed(g.offsets[d][taps[d]]);
                    some.iter().all(|some| !some.is_empty()).then(|| Piece {
                        tap,
                        lines: some[1].len(),
                        columns: some[2].len(),
                        gradient: index(g.grid, [0, 1, 2].map(|d| some[d].start)),
                        source: index(g.size, [0, 1, 2].map(source)),
                    })
                };
                chains.push((0..g.taps()).filter_map(piece).collect());
            }
        }
    }
    chains
}

/// Of a position in a grid of this size.
fn index(size: [usize; 3], at: [usize; 3]) -> usize {
    (at[0] * size[1] + at[1]) * size[2] + at[2]
}
