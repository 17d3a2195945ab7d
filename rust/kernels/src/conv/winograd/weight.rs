//! Gradient of the weights: F(3x3, 4x4) and the like, the output's gradient being the filter; of five taps and more several
//! times. At each point the sum runs over tiles: blocks of a size that the shape alone gives, each one chain, added in their
//! order. Points that share a value of the filter (stride two) share the sum.

use super::super::weight::Problem;
use super::passes::OWN_THREADS;
use super::transform::{TapsArgs, strip};
use super::{Form, Forms, LEAST, Place, Plan, Planes, Product, Then, apart, fill, in_panel, whole};
use crate::conv::geometry::Gather;
use crate::gemm::{HasKernels, Kernels, even_part, new_name, with_scratch, with_shared};
use crate::parallel;
use std::ops::Range;

/// Tiles in one chain, at most; no more than the plain sum has per part.
const CHAIN: usize = 64;
/// Bytes of transformed tiles at once; the threads meet after each batch.
const BATCH: usize = 4 << 20;
/// The same for so many bytes of sums or more, and for so few or less.
const MANY_SUMS: usize = 4 << 20;
const LARGE_BATCH: usize = 16 << 20;
const FEW_SUMS: usize = 320 << 10;
const NEAR_BATCH: usize = 512 << 10;
/// Bytes of sums at a time; further outputs follow in another pass over the images.
const SUMS: usize = 16 << 20;
/// Outputs and channels whose sums one task keeps.
const ROWS: usize = 56;
const COLS: usize = 128;
/// Channels of one task where each thread transforms the other operand for itself, and the bytes of sums up to which it does:
/// with more channels the products outweigh the transforms (512 channels on 7², 8 images: 2.2 ms together, 9 ms apart).
const OWN_CHANNELS: usize = 32;
const OWN_SUMS: usize = 4 << 20;

/// Least channels in and out of a gradient with stride two.
const HALVING_CHANNELS: usize = 64;

/// Whether [`gradient`] computes this: products of an image, for a pair of channels. `parts` are those that the plain sum would
/// have, which bound its error.
pub(in crate::conv) fn takes_gradient<T>(g: &Gather, p: &Problem<T>, parts: usize) -> Option<usize> {
    let plan = Plan::of(g)?;
    // A tap that sees nothing but padding is to be zero exactly.
    let sees = |d: usize| {
        let (low, most) = (plan.start[d], plan.start[d] + plan.taps[d] as isize - 1);
        low + plan.last(d) >= 0 && most < plan.size[d] as isize
    };
    if !sees(0) || !sees(1) || plan.form.0[0] == Form::Halving && !halves(&plan, p) {
        return None;
    }
    let plan = Plan {
        form: shorter(plan.form),
        ..plan
    };
    let count = p.count * plan.tiles().iter().product::<usize>();
    let takes = plan.takes::<T>(p.count, [p.channels, p.rows], p.x_strides, p.gy_strides) && count >= LEAST * parts;
    takes.then(|| plan.products())
}

/// Whether the gradient with stride two pays, whose transforms of the output's gradients are as large as those of the images:
/// with many channels, and little that hangs over the edges (32 to 64 channels, 32² to 16²: 0.9 of the plain sum's rate).
fn halves<T>(plan: &Plan, p: &Problem<T>) -> bool {
    let tiles = plan.tiles().iter().product::<usize>() * plan.form.points();
    let products = plan.grid.iter().chain(&plan.taps).product::<usize>();
    p.channels.min(p.rows) >= HALVING_CHANNELS && 8 * tiles <= 5 * products
}

/// The operands.
const LEFT: usize = 0;
const RIGHT: usize = 1;

struct Pass<T: 'static> {
    kernels: &'static Kernels<T>,
    /// Operands: the output's gradients and the images, or, where a vector of channels would be mostly empty, the other
    /// way round; between the gradients of neighbouring ones' filters.
    a: Planes<T>,
    b: Planes<T>,
    steps: [usize; 2],
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

/// The gradient as a matrix [groups * rows, channels * taps], written to `out`.
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
    let Some(plan) = Plan::of(g) else { return };
    let form = shorter(plan.form);
    let taps = form.0.map(Form::taps);
    if plan.taps == taps {
        // SAFETY: the caller's promise.
        return unsafe { sums(kernels, &plan, problem, parts, out) };
    }
    // Some taps at a time; the last ones, perhaps, for the second time.
    let first = |d: usize| {
        (0..plan.taps[d])
            .step_by(taps[d])
            .map(move |i| i.min(plan.taps[d] - taps[d]))
    };
    let ([down, across], [high, wide]) = (plan.taps, taps);
    let mut some = vec![T::default(); out.len() / (down * across) * high * wide];
    for (i, j) in first(0).flat_map(|i| first(1).map(move |j| (i, j))) {
        let part = Plan {
            form,
            taps,
            start: [plan.start[0] + i as isize, plan.start[1] + j as isize],
            ..plan
        };
        // SAFETY: as above, of fewer taps.
        unsafe { sums(kernels, &part, problem, parts, &mut some) };
        let filters = some.chunks_exact(high * wide).zip(out.chunks_exact_mut(down * across));
        for (from, to) in filters {
            for (line, from) in from.chunks_exact(wide).enumerate() {
                to[(i + line) * across + j..][..wide].copy_from_slice(from);
            }
        }
    }
}

/// Five taps are three and three, of which the second's first is the first's last: F(5, 2) would err twice as much, for as
/// many products.
fn shorter(forms: Forms) -> Forms {
    Forms(forms.0.map(|form| match form {
        Form::Five => Form::Near,
        form => form,
    }))
}

/// [`gradient`] for a plan whose form has all taps.
///
/// # Safety
/// As for [`gradient`], of the plan's taps.
pub(super) unsafe fn sums<T>(
    kernels: &'static Kernels<T>,
    plan: &Plan,
    problem: &Problem<T>,
    parts: usize,
    out: &mut [T],
) where
    T: Copy + Default + HasKernels + Send + Sync,
{
    let (all, taps, form) = (plan.tiles(), plan.form.taps(), plan.form);
    let tiles = problem.count * all[0] * all[1];
    let (rows, channels) = (problem.rows, problem.channels);
    let few = channels < kernels.nr.min(rows);
    let (high, wide) = if few { (channels, rows) } else { (rows, channels) };
    let most = (SUMS / (form.values() * whole(kernels, wide) * size_of::<T>())).max(ROWS);
    // One chain alone leaves no sums to be kept.
    let some = if tiles <= CHAIN { high } else { even_part(high, most) };
    for (group, first) in (0..problem.groups).flat_map(|g| (0..high).step_by(some).map(move |r| (g, r))) {
        let count = some.min(high - first);
        let [xi, xc, _, xr, _] = problem.x_strides;
        let [yi, yc, _, yr, _] = problem.gy_strides;
        let x = Planes {
            src: problem.x.wrapping_offset((group * channels) as isize * xc),
            strides: [xi, xc, xr],
            channels,
            // What no window sees would be multiplied by zeros: not a number if it is infinite.
            size: [0, 1].map(|d| plan.size[d].min((plan.start[d] + plan.last(d)) as usize + plan.taps[d])),
            start: plan.start,
            form,
            filters: false,
        };
        let gy = Planes {
            src: problem.gy.wrapping_offset((group * rows) as isize * yc),
            strides: [yi, yc, yr],
            channels: rows,
            size: plan.grid,
            start: [0, 0],
            form,
            filters: true,
        };
        let (a, b) = if few { (x, gy) } else { (gy, x) };
        let pass = Pass {
            kernels,
            a: Planes {
                src: a.src.wrapping_offset(first as isize * a.strides[1]),
                channels: count,
                ..a
            },
            b,
            steps: if few { [1, channels] } else { [channels, 1] }.map(|n| n * taps),
            all,
            chain: even_part(tiles, CHAIN.min(tiles / parts)),
            tiles,
        };
        let filters = &mut out[group * rows * channels * taps..][..rows * channels * taps];
        // SAFETY: the caller's promise.
        unsafe { pass.run(&mut filters[first * pass.steps[0]..]) };
    }
}

impl<T: Copy + Default + HasKernels + Send + Sync> Pass<T> {
    /// Points of a tile.
    fn points(&self) -> usize {
        self.a.form.points()
    }

    /// Sums of a filter: points that share a value of the filter are added.
    fn values(&self) -> usize {
        self.a.form.values()
    }

    /// Tiles of a batch. Each batch goes through all sums: where these are large, batches are; where they leave room in the
    /// second-level cache, a single thread's batches stay there.
    fn batch(&self) -> usize {
        let [high, wide] = self.sizes();
        let bytes = self.points() * self.chain * (high + wide) * size_of::<T>();
        let most = match self.values() * high * wide * size_of::<T>() {
            sums if sums >= MANY_SUMS => LARGE_BATCH,
            sums if sums <= FEW_SUMS && parallel::threads() == 1 => NEAR_BATCH,
            _ => BATCH,
        };
        even_part(self.tiles.div_ceil(self.chain), (most / bytes).max(1)) * self.chain
    }

    /// # Safety
    /// As for [`gradient`].
    unsafe fn run(&self, out: &mut [T]) {
        let threads = parallel::threads();
        let sizes = self.sizes();
        let own =
            (2..=OWN_THREADS).contains(&threads) && self.values() * sizes[0] * sizes[1] * size_of::<T>() <= OWN_SUMS;
        let large = |side: &usize| sizes[*side] >= threads * self.kernels.narrow;
        // SAFETY: the caller's promise.
        unsafe {
            match [LEFT, RIGHT].into_iter().find(large).filter(|_| own) {
                Some(side) => self.apart(out, threads, side),
                None => self.together(out, threads),
            }
        }
    }

    /// Channels of the operands, whole vectors.
    fn sizes(&self) -> [usize; 2] {
        [&self.a, &self.b].map(|p| whole(self.kernels, p.channels))
    }

    /// Each thread takes some channels of the operand on one side, and transforms the other operand for itself: reading
    /// what another core has just written takes longer.
    ///
    /// # Safety
    /// As for [`gradient`].
    unsafe fn apart(&self, out: &mut [T], threads: usize, side: usize) {
        let (kernels, all_points, values) = (self.kernels, self.points(), self.values());
        let (rows, sizes) = (self.a.channels, self.sizes());
        let batch = self.batch();
        let vectors = sizes[side] / kernels.narrow;
        let parts = (sizes[side] / OWN_CHANNELS)
            .next_multiple_of(threads)
            .clamp(threads, vectors);
        let some = vectors.div_ceil(parts) * kernels.narrow;
        let parts = sizes[side].div_ceil(some);
        let (some_rows, some_cols) = match side {
            LEFT => (some, COLS.next_multiple_of(kernels.nr).min(sizes[RIGHT])),
            _ => (sizes[LEFT], some),
        };
        let across = if side == LEFT {
            sizes[RIGHT].div_ceil(some_cols)
        } else {
            1
        };
        let mut held = sizes;
        held[side] = some;
        let points = held.map(|n| apart(batch * n));
        let point = apart(some_rows * some_cols);
        let gw = At(out.as_mut_ptr());
        with_shared(|shared| {
            let sums = At(shared.reserve::<T>(parts * across * values * point));
            for first in (0..self.tiles).step_by(batch) {
                let tiles = first..self.tiles.min(first + batch);
                let name = new_name();
                parallel::for_range(parts, 1, |tasks| {
                    let (sums, gw) = (&sums, &gw);
                    with_scratch(|[space, mine, all, _]| {
                        let space = space.reserve::<T>(strip(self.b.form, self.chain));
                        let mine = mine.reserve::<T>(all_points * points[side]);
                        let other = 1 - side;
                        // SAFETY: the buffers hold a batch; sums and gradients of some channels are one task's. So below.
                        let all = all.filled(all_points * points[other], name, |all: *mut T| unsafe {
                            for at in (0..sizes[other]).step_by(kernels.narrow) {
                                self.operand(other, tiles.clone(), at, [at, sizes[other]], all, points[other], space);
                            }
                        });
                        for task in tasks {
                            let from = task * some;
                            let mut here = sizes;
                            here[side] = some.min(sizes[side] - from);
                            for at in (0..here[side]).step_by(kernels.narrow) {
                                let channel = from + at;
                                // SAFETY: the buffer holds this task's channels.
                                unsafe {
                                    self.operand(
                                        side,
                                        tiles.clone(),
                                        channel,
                                        [at, here[side]],
                                        mine,
                                        points[side],
                                        space,
                                    )
                                };
                            }
                            let operands = if side == LEFT { [mine, all] } else { [all, mine] };
                            for j in 0..across {
                                // Where the area lies in the operands, and in the result.
                                let (start, area) = match side {
                                    LEFT => (
                                        [0, j * some_cols],
                                        [
                                            from..rows.min(from + some),
                                            j * some_cols..sizes[RIGHT].min((j + 1) * some_cols),
                                        ],
                                    ),
                                    _ => ([0, 0], [0..rows, from..from + here[RIGHT]]),
                                };
                                let to = sums.0.wrapping_add((task * across + j) * values * point);
                                for value in 0..values {
                                    let to = to.wrapping_add(value * point);
                                    let size = [area[0].len(), area[1].len()];
                                    // SAFETY: both operands hold these tiles; the sums of an area are one task's.
                                    unsafe { self.add(value, tiles.clone(), operands, points, here, start, size, to) };
                                }
                                if tiles.end == self.tiles {
                                    // SAFETY: as above; the area's gradients, too, are one task's.
                                    unsafe { self.taps(&area, to, point, gw.0) };
                                }
                            }
                        }
                    });
                });
            }
        });
    }

    /// Transforms an operand's tiles of a batch, a vector of channels from `channel` on, to place `at` among `size`: the
    /// right one's lie in panels.
    ///
    /// # Safety
    /// `to` holds the batch, `space` a strip.
    #[allow(clippy::too_many_arguments, reason = "one call of one kernel")]
    unsafe fn operand(
        &self,
        side: usize,
        some: Range<usize>,
        channel: usize,
        [at, size]: [usize; 2],
        to: *mut T,
        point: usize,
        space: *mut T,
    ) {
        // A batch of one block goes through the channels.
        let then = match self.batch() <= self.chain {
            true => Then::Channels,
            false => Then::Tiles,
        };
        for from in some.clone().step_by(self.chain) {
            let tiles = from..some.end.min(from + self.chain);
            let (place, tile) = match side {
                LEFT => (at, size),
                _ => in_panel(self.kernels, at, tiles.len(), size),
            };
            let dst = to.wrapping_add((from - some.start) * size + place);
            let planes = [&self.a, &self.b][side];
            // SAFETY: the caller's promise.
            unsafe {
                fill(
                    self.kernels,
                    planes,
                    channel,
                    self.all,
                    tiles,
                    &Place { dst, tile, point },
                    space,
                    then,
                )
            };
        }
    }

    /// All threads transform a batch, then multiply it.
    ///
    /// # Safety
    /// As for [`gradient`].
    unsafe fn together(&self, out: &mut [T], threads: usize) {
        let (kernels, all_points, values) = (self.kernels, self.points(), self.values());
        let (rows, [high, wide]) = (self.a.channels, self.sizes());
        let batch = self.batch();
        // Sums in rectangles; where these are few, the filter's values are shared out as well.
        let (some_rows, some_cols) = (even_part(rows, ROWS), COLS.next_multiple_of(kernels.nr).min(wide));
        let (down, across) = (rows.div_ceil(some_rows), wide.div_ceil(some_cols));
        let few = down * across < 4 * threads && threads > 1;
        let last_batch = batch >= self.tiles;
        // One batch and rectangles enough: each task goes on to the taps, and nobody else needs its sums.
        let own = last_batch && !few;
        let point = apart(some_rows * some_cols);
        let gw = At(out.as_mut_ptr());
        let (v_point, w_point) = (apart(batch * wide), apart(batch * high));
        let sums = down * across * values * point;
        with_shared(|shared| {
            let v = At(shared.reserve::<T>(all_points * (v_point + w_point) + if own { 0 } else { sums }));
            let w = At(v.0.wrapping_add(all_points * v_point));
            let sums = At(w.0.wrapping_add(all_points * w_point));
            for first in (0..self.tiles).step_by(batch) {
                let some = first..self.tiles.min(first + batch);
                let vectors = [wide / kernels.narrow, high / kernels.narrow];
                let blocks = some.len().div_ceil(self.chain);
                parallel::for_range(blocks * (vectors[0] + vectors[1]), (512 / self.chain).max(1), |tasks| {
                    let (v, w) = (&v, &w);
                    with_scratch(|[space, ..]| {
                        let space = space.reserve::<T>(strip(self.b.form, self.chain));
                        for task in tasks {
                            let (vector, block) = (task / blocks, task % blocks);
                            let from = first + block * self.chain;
                            let tiles = from..some.end.min(from + self.chain);
                            let before = block * self.chain;
                            // SAFETY: the buffers hold a batch; each block of a vector is one task's.
                            unsafe {
                                if vector < vectors[0] {
                                    let at = vector * kernels.narrow;
                                    let to = v.0.wrapping_add(before * wide);
                                    self.operand(RIGHT, tiles, at, [at, wide], to, v_point, space);
                                } else {
                                    let at = (vector - vectors[0]) * kernels.narrow;
                                    let to = w.0.wrapping_add(before * high);
                                    self.operand(LEFT, tiles, at, [at, high], to, w_point, space);
                                }
                            }
                        }
                    });
                });
                let shares = if few { values / 3 } else { 1 };
                parallel::for_range(down * across * shares, 1, |tasks| {
                    let (v, w, sums, gw) = (&v, &w, &sums, &gw);
                    with_scratch(|[kept, ..]| {
                        let kept = kept.reserve::<T>(if own { values * point } else { 0 });
                        for task in tasks {
                            // The last value of a form with several points to it is the most work.
                            let (which, share) = (task / shares, shares - 1 - task % shares);
                            let (i, j) = (which / across * some_rows, which % across * some_cols);
                            let area = [i..rows.min(i + some_rows), j..wide.min(j + some_cols)];
                            let mine = if own {
                                kept
                            } else {
                                sums.0.wrapping_add(which * values * point)
                            };
                            let here = share * values / shares..(share + 1) * values / shares;
                            // SAFETY: the buffers hold a batch; each rectangle's sums at a value are one task's.
                            unsafe {
                                for value in here {
                                    let to = mine.wrapping_add(value * point);
                                    let (size, points) = ([area[0].len(), area[1].len()], [w_point, v_point]);
                                    self.add(value, some.clone(), [w.0, v.0], points, [high, wide], [i, j], size, to);
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
                    unsafe { self.taps(&area, sums.0.wrapping_add(which * values * point), point, gw.0) };
                }
            });
        });
    }

    /// Adds a batch's products at the points of a value to the sums of an area, which begins at `start` in operands of `held`
    /// channels.
    ///
    /// # Safety
    /// The operands hold the batch, `to` the area.
    #[allow(clippy::too_many_arguments, reason = "two operands, a result, and an area of them")]
    unsafe fn add(
        &self,
        value: usize,
        some: Range<usize>,
        [a, b]: [*mut T; 2],
        points: [usize; 2],
        held: [usize; 2],
        start: [usize; 2],
        [rows, cols]: [usize; 2],
        to: *mut T,
    ) {
        let mut adds = some.start > 0;
        for at in (0..some.len()).step_by(self.chain) {
            let count = self.chain.min(some.len() - at);
            for p in self.a.form.at(value) {
                let product = Product {
                    a: a.wrapping_add(p * points[LEFT] + at * held[LEFT] + start[LEFT]),
                    a_strides: [1, held[LEFT] as isize],
                    b: b.wrapping_add(p * points[RIGHT] + at * held[RIGHT] + start[RIGHT] * count),
                    c: to,
                    c_row: cols,
                    from_c: false,
                    adds,
                };
                // SAFETY: the caller's promise.
                unsafe { product.run(self.kernels, [rows, cols, count]) };
                adds = true;
            }
        }
    }

    /// The gradients of an area's filters.
    ///
    /// # Safety
    /// `sums` holds the area at all points, `gw` all gradients.
    unsafe fn taps(&self, [rows, cols]: &[Range<usize>; 2], sums: *mut T, point: usize, gw: *mut T) {
        for (i, row) in rows.clone().enumerate() {
            let args = TapsArgs {
                form: self.a.form,
                src: sums.wrapping_add(i * cols.len()),
                src_point: point,
                channels: self.b.channels.min(cols.end).saturating_sub(cols.start),
                dst: gw.wrapping_add(row * self.steps[0] + cols.start * self.steps[1]),
                dst_channel: self.steps[1],
            };
            // SAFETY: the caller's promise.
            unsafe { (self.kernels.winograd.taps)(&args) };
        }
    }
}
