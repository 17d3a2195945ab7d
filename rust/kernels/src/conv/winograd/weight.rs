//! Gradient of the weights: F(3x3, 4x4), the output's gradient being the filter. At each point the sum runs over tiles:
//! blocks of a size that the shape alone gives, each one chain, added in their order.

use super::super::weight::Problem;
use super::passes::OWN_THREADS;
use super::transform::{TapsArgs, strip};
use super::{Form, LEAST, POINTS, Place, Plan, Planes, Product, Stage, apart, fill, in_panel, whole};
use crate::conv::geometry::Gather;
use crate::gemm::{HasKernels, Kernels, even_part, new_name, with_scratch, with_shared};
use crate::parallel;
use std::ops::Range;

/// Tiles in one chain, at most; no more than the plain sum has per part.
const CHAIN: usize = 64;
/// Bytes of transformed tiles at once; the threads meet after each batch.
const BATCH: usize = 4 << 20;
/// Bytes of sums at a time; further outputs follow in another pass over the images.
const SUMS: usize = 16 << 20;
/// Outputs and channels whose sums one task keeps.
const ROWS: usize = 56;
const COLS: usize = 128;
/// Outputs of one task where each thread transforms the images for itself, and the bytes of sums up to which it does:
/// with more channels the products outweigh the transforms (512 channels on 7², 8 images: 2.2 ms together, 9 ms apart).
const OWN_ROWS: usize = 32;
const OWN_SUMS: usize = 4 << 20;

/// Whether [`gradient`] computes this; `parts` are those that the plain sum would have, which bound its error.
pub(in crate::conv) fn takes_gradient<T>(g: &Gather, p: &Problem<T>, parts: usize) -> bool {
    let Some(plan) = Plan::of(g).filter(|p| p.form == Form::Near) else {
        return false;
    };
    let count = p.count * plan.tiles().iter().product::<usize>();
    plan.takes::<T>(p.count, [p.channels, p.rows], p.x_strides, p.gy_strides) && count >= LEAST * parts
}

struct Pass<T: 'static> {
    kernels: &'static Kernels<T>,
    x: Planes<T>,
    gy: Planes<T>,
    all: [usize; 2],
    /// Blocks of tiles: their size, all tiles.
    chain: usize,
    tiles: usize,
}
// SAFETY: plain data; tasks write disjoint sums.
unsafe impl<T: Sync> Sync for Pass<T> {}

#[derive(Clone, Copy)]
struct At<T>(*mut T);
// SAFETY: an address behind which tasks write disjoint parts.
unsafe impl<T: Sync> Sync for At<T> {}

/// The gradient as a matrix [groups * rows, channels * 9], written to `out`.
///
/// # Safety
/// [`takes_gradient`] said yes; all addresses that the arguments describe are live; `kernels` fit the CPU; `out` has the
/// matrix' size.
pub(in crate::conv) unsafe fn gradient<T>(
    kernels: &'static Kernels<T>,
    g: &Gather,
    problem: &Problem<T>,
    parts: usize,
    out: &mut [T],
) where
    T: Copy + Default + HasKernels + Send + Sync,
{
    let all = [
        g.grid[1].div_ceil(Form::Near.side()),
        g.grid[2].div_ceil(Form::Near.side()),
    ];
    let tiles = problem.count * all[0] * all[1];
    let (rows, channels) = (problem.rows, problem.channels);
    let most = (SUMS / (POINTS * whole(kernels, channels) * size_of::<T>())).max(ROWS);
    // One chain alone leaves no sums to be kept.
    let some = if tiles <= CHAIN { rows } else { even_part(rows, most) };
    for (group, first) in (0..problem.groups).flat_map(|g| (0..rows).step_by(some).map(move |r| (g, r))) {
        let count = some.min(rows - first);
        let [xi, xc, _, xr, _] = problem.x_strides;
        let [yi, yc, _, yr, _] = problem.gy_strides;
        let pass = Pass {
            kernels,
            x: Planes {
                src: problem.x.wrapping_offset((group * channels) as isize * xc),
                strides: [xi, xc, xr],
                channels,
                size: [g.size[1], g.size[2]],
                start: [g.offsets[1][0], g.offsets[2][0]],
                form: Form::Near,
                filters: false,
            },
            gy: Planes {
                src: problem.gy.wrapping_offset((group * rows + first) as isize * yc),
                strides: [yi, yc, yr],
                channels: count,
                size: [g.grid[1], g.grid[2]],
                start: [0, 0],
                form: Form::Near,
                filters: true,
            },
            all,
            chain: even_part(tiles, CHAIN.min(tiles / parts)),
            tiles,
        };
        let from = (group * rows + first) * channels * 9;
        // SAFETY: the caller's promise.
        unsafe { pass.run(&mut out[from..][..count * channels * 9]) };
    }
}

impl<T: Copy + Default + HasKernels + Send + Sync> Pass<T> {
    /// Tiles of a batch.
    fn batch(&self) -> usize {
        let [high, wide] = [&self.gy, &self.x].map(|p| whole(self.kernels, p.channels));
        let bytes = POINTS * self.chain * (high + wide) * size_of::<T>();
        even_part(self.tiles.div_ceil(self.chain), (BATCH / bytes).max(1)) * self.chain
    }

    /// # Safety
    /// As for [`gradient`].
    unsafe fn run(&self, out: &mut [T]) {
        let threads = parallel::threads();
        let [high, wide] = [&self.gy, &self.x].map(|p| whole(self.kernels, p.channels));
        let own = (2..=OWN_THREADS).contains(&threads)
            && high >= threads * self.kernels.narrow
            && POINTS * high * wide * size_of::<T>() <= OWN_SUMS;
        // SAFETY: the caller's promise.
        unsafe {
            if own {
                self.by_rows(out, threads)
            } else {
                self.together(out, threads)
            }
        }
    }

    /// Each thread takes some of the outputs, and transforms the images for itself: reading what another core has just
    /// written takes longer.
    ///
    /// # Safety
    /// As for [`gradient`].
    unsafe fn by_rows(&self, out: &mut [T], threads: usize) {
        let kernels = self.kernels;
        let (rows, channels) = (self.gy.channels, self.x.channels);
        let (high, wide) = (whole(kernels, rows), whole(kernels, channels));
        let (batch, vectors) = (self.batch(), high / kernels.narrow);
        let parts = (high / OWN_ROWS).next_multiple_of(threads).clamp(threads, vectors);
        let some_rows = vectors.div_ceil(parts) * kernels.narrow;
        let parts = high.div_ceil(some_rows);
        let some_cols = COLS.next_multiple_of(kernels.nr).min(wide);
        let across = wide.div_ceil(some_cols);
        let (v_point, w_point, point) = (
            apart(batch * wide),
            apart(batch * some_rows),
            apart(some_rows * some_cols),
        );
        let gw = At(out.as_mut_ptr());
        with_shared(|shared| {
            let sums = At(shared.reserve::<T>(parts * across * POINTS * point));
            for first in (0..self.tiles).step_by(batch) {
                let some = first..self.tiles.min(first + batch);
                let name = new_name();
                parallel::for_range(parts, 1, |tasks| {
                    let (sums, gw) = (&sums, &gw);
                    with_scratch(|[space, part, w, v]| {
                        let space = space.reserve::<T>(strip(Form::Near, self.chain));
                        let part = part.reserve::<T>(some_rows * some_cols);
                        let w = w.reserve::<T>(POINTS * w_point);
                        // SAFETY: the buffers hold a batch; sums and gradients of some rows are one task's. So below.
                        let v = v.filled(POINTS * v_point, name, |v: *mut T| unsafe {
                            for at in (0..wide).step_by(kernels.narrow) {
                                self.images(some.clone(), at, wide, v, v_point, space);
                            }
                        });
                        for task in tasks {
                            let from = task * some_rows;
                            let here = some_rows.min(high - from);
                            for at in (0..here).step_by(kernels.narrow) {
                                unsafe { self.gradients(some.clone(), from + at, [at, here], w, w_point, space) };
                            }
                            for j in 0..across {
                                let area = [
                                    from..rows.min(from + some_rows),
                                    (j * some_cols)..wide.min((j + 1) * some_cols),
                                ];
                                let to = sums.0.wrapping_add((task * across + j) * POINTS * point);
                                for p in 0..POINTS {
                                    let w = w.wrapping_add(p * w_point).wrapping_sub(from);
                                    let operands = [v.wrapping_add(p * v_point), w];
                                    let to = to.wrapping_add(p * point);
                                    unsafe { self.add(some.clone(), operands, [here, wide], &area, to, part) };
                                }
                                if some.end == self.tiles {
                                    unsafe { self.taps(&area, to, point, gw.0) };
                                }
                            }
                        }
                    });
                });
            }
        });
    }

    /// Transforms the images of a batch, a vector of channels from `at` on.
    ///
    /// # Safety
    /// `v` holds the batch, `space` a strip.
    unsafe fn images(&self, some: Range<usize>, at: usize, wide: usize, v: *mut T, v_point: usize, space: *mut T) {
        for from in some.clone().step_by(self.chain) {
            let tiles = from..some.end.min(from + self.chain);
            let (place, width) = in_panel(self.kernels, at, tiles.len(), wide);
            let to = Place {
                dst: v.wrapping_add((from - some.start) * wide + place),
                tile: width,
                point: v_point,
            };
            // SAFETY: the caller's promise.
            unsafe { fill(self.kernels, &self.x, at, self.all, tiles, &to, space) };
        }
    }

    /// Transforms the output's gradients of a batch, a vector of outputs from `first` on, to column `at` of `high`.
    ///
    /// # Safety
    /// `w` holds the batch, `space` a strip.
    unsafe fn gradients(
        &self,
        some: Range<usize>,
        first: usize,
        [at, high]: [usize; 2],
        w: *mut T,
        w_point: usize,
        space: *mut T,
    ) {
        for from in some.clone().step_by(self.chain) {
            let tiles = from..some.end.min(from + self.chain);
            let to = Place {
                dst: w.wrapping_add((from - some.start) * high + at),
                tile: high,
                point: w_point,
            };
            // SAFETY: the caller's promise.
            unsafe { fill(self.kernels, &self.gy, first, self.all, tiles, &to, space) };
        }
    }

    /// All threads transform a batch, then multiply it.
    ///
    /// # Safety
    /// As for [`gradient`].
    unsafe fn together(&self, out: &mut [T], threads: usize) {
        let kernels = self.kernels;
        let (rows, channels) = (self.gy.channels, self.x.channels);
        let (high, wide) = (whole(kernels, rows), whole(kernels, channels));
        let batch = self.batch();
        // Sums in rectangles; where these are few, the points are shared out as well.
        let (some_rows, some_cols) = (even_part(rows, ROWS), COLS.next_multiple_of(kernels.nr).min(wide));
        let (down, across) = (rows.div_ceil(some_rows), wide.div_ceil(some_cols));
        let few = down * across < 4 * threads && threads > 1;
        let last_batch = batch >= self.tiles;
        // One batch and rectangles enough: each task goes on to the taps, and nobody else needs its sums.
        let own = last_batch && !few;
        let point = apart(some_rows * some_cols);
        let gw = At(out.as_mut_ptr());
        let (v_point, w_point) = (apart(batch * wide), apart(batch * high));
        let sums = down * across * POINTS * point;
        with_shared(|shared| {
            let v = At(shared.reserve::<T>(POINTS * (v_point + w_point) + if own { 0 } else { sums }));
            let w = At(v.0.wrapping_add(POINTS * v_point));
            let sums = At(w.0.wrapping_add(POINTS * w_point));
            for first in (0..self.tiles).step_by(batch) {
                let some = first..self.tiles.min(first + batch);
                let vectors = [wide / kernels.narrow, high / kernels.narrow];
                let blocks = some.len().div_ceil(self.chain);
                parallel::for_range(blocks * (vectors[0] + vectors[1]), (512 / self.chain).max(1), |tasks| {
                    let (v, w) = (&v, &w);
                    with_scratch(|[space, ..]| {
                        let space = space.reserve::<T>(strip(Form::Near, self.chain));
                        for task in tasks {
                            let (vector, block) = (task / blocks, task % blocks);
                            let from = first + block * self.chain;
                            let tiles = from..some.end.min(from + self.chain);
                            let before = block * self.chain;
                            // SAFETY: the buffers hold a batch; each block of a vector is one task's.
                            unsafe {
                                if vector < vectors[0] {
                                    let at = vector * kernels.narrow;
                                    self.images(tiles, at, wide, v.0.wrapping_add(before * wide), v_point, space);
                                } else {
                                    let at = (vector - vectors[0]) * kernels.narrow;
                                    let to = w.0.wrapping_add(before * high);
                                    self.gradients(tiles, at, [at, high], to, w_point, space);
                                }
                            }
                        }
                    });
                });
                let shares = if few { POINTS / 3 } else { 1 };
                parallel::for_range(down * across * shares, 1, |tasks| {
                    let (v, w, sums, gw) = (&v, &w, &sums, &gw);
                    with_scratch(|[kept, part, ..]| {
                        let part = part.reserve::<T>(some_rows * some_cols);
                        let kept = kept.reserve::<T>(if own { POINTS * point } else { 0 });
                        for task in tasks {
                            let (which, share) = (task / shares, task % shares);
                            let (i, j) = (which / across * some_rows, which % across * some_cols);
                            let area = [i..rows.min(i + some_rows), j..wide.min(j + some_cols)];
                            let mine = if own {
                                kept
                            } else {
                                sums.0.wrapping_add(which * POINTS * point)
                            };
                            let points = share * POINTS / shares..(share + 1) * POINTS / shares;
                            // SAFETY: the buffers hold a batch; each rectangle's point is one task's.
                            unsafe {
                                for p in points {
                                    let to = mine.wrapping_add(p * point);
                                    let operands = [v.0.wrapping_add(p * v_point), w.0.wrapping_add(p * w_point)];
                                    self.add(some.clone(), operands, [high, wide], &area, to, part);
                                }
                                if own {
                                    self.taps(&area, mine, point, gw.0);
                                }
                            }
                        }
                    });
                });
            }
            if own {
                return;
            }
            parallel::for_range(down * across, (4096 / (some_rows * some_cols)).max(1), |tasks| {
                let (sums, gw) = (&sums, &gw);
                for which in tasks {
                    let (i, j) = (which / across * some_rows, which % across * some_cols);
                    let area = [i..rows.min(i + some_rows), j..wide.min(j + some_cols)];
                    // SAFETY: all sums are there; each rectangle is one task's.
                    unsafe { self.taps(&area, sums.0.wrapping_add(which * POINTS * point), point, gw.0) };
                }
            });
        });
    }

    /// Adds a batch's products at one point to the sums of an area.
    ///
    /// # Safety
    /// The operands hold the batch, `to` and `part` the area.
    unsafe fn add(
        &self,
        some: Range<usize>,
        [v, w]: [*mut T; 2],
        [high, wide]: [usize; 2],
        [rows, cols]: &[Range<usize>; 2],
        to: *mut T,
        part: *mut T,
    ) {
        for at in (0..some.len()).step_by(self.chain) {
            let count = self.chain.min(some.len() - at);
            let first = some.start + at == 0;
            let c = if first { to } else { part };
            let product = Product {
                a: w.wrapping_add(at * high + rows.start),
                a_strides: [1, high as isize],
                b: v.wrapping_add(at * wide + cols.start * count),
                c,
                c_row: cols.len(),
                from_c: false,
            };
            // SAFETY: the caller's promise.
            unsafe {
                product.run(self.kernels, [rows.len(), cols.len(), count]);
                if !first {
                    (self.kernels.winograd)(&Stage::Add(to, part, rows.len() * cols.len()));
                }
            }
        }
    }

    /// The gradients of an area's filters.
    ///
    /// # Safety
    /// `sums` holds the area at all points, `gw` all gradients.
    unsafe fn taps(&self, [rows, cols]: &[Range<usize>; 2], sums: *mut T, point: usize, gw: *mut T) {
        let channels = self.x.channels;
        for (i, row) in rows.clone().enumerate() {
            let args = TapsArgs {
                src: sums.wrapping_add(i * cols.len()),
                src_point: point,
                channels: cols.end.min(channels) - cols.start,
                dst: gw.wrapping_add((row * channels + cols.start) * 9),
            };
            // SAFETY: the caller's promise.
            unsafe { (self.kernels.winograd)(&Stage::Taps(args)) };
        }
    }
}
