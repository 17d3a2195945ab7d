//! Convolutions whose groups have one channel on one side: planes are read where they lie, line by line for square windows
//! ([`super::inplace`], [`super::taps`]), else tap by tap ([`super::plane`]); some are copied with a border
//! ([`super::ring`]).

use super::border::{Border, Planes, SIDES};
use super::finish::Block;
use super::gather::Images;
use super::geometry::Gather;
use super::inplace::InPlaceArgs;
use super::plane::{CorrelateArgs, GRADIENTS, MOST_TAPS, PlaneArgs};
use super::ring::RingArgs;
use super::taps::TapSums;
use super::weight::Problem;
use super::weights::Weights;
use crate::gemm::{HasKernels, Kernels, even_part, join_rows, new_name, with_scratch};
use crate::parallel;
use std::ops::Add;

/// Multiply-adds worth handing to a thread.
const GRAIN: usize = 1 << 18;
/// Output planes per group up to which planes are read in place, for one input channel and for several.
const ROWS: usize = 8;
const ROWS_OF_MANY: usize = 2;
/// Gradients of weights: with as many output planes no sum is cut into parts; else into as many as this.
const ENOUGH: usize = 32;
const PARTS: usize = 16;
/// Bytes of sums that stay near.
const NEAR: usize = 12 << 10;

/// One plane deep, columns that follow each other, taps that the kernels take.
fn is_planar(g: &Gather, column_stride: isize) -> bool {
    g.grid[0] == 1
        && g.offsets[0] == [0]
        && g.step[2] <= 2
        && g.offsets[2].len() <= MOST_TAPS
        && (column_stride == 1 || g.size[2] == 1)
}

/// Whether [`planes`] computes this.
pub(super) fn takes<T>(g: &Gather, weights: &Weights<T>, images: &Images<T>, flat: bool) -> bool {
    let rows = if weights.channels == 1 { ROWS } else { ROWS_OF_MANY };
    // A single line has nothing to share; few_rows takes four stretches of it at a time.
    weights.rows <= rows && is_planar(g, images.src_strides[4]) && (g.grid[1] >= 4 || !flat)
}

struct Shared<T>(Weights<T>, Images<T>, *const T);
// SAFETY: plain data; tasks write disjoint lines.
unsafe impl<T: Sync> Sync for Shared<T> {}

/// [`super::gather::gather`] for what [`takes`] accepts; `flat`: positions lie one after another in the output.
///
/// # Safety
/// As for `gather`.
pub(super) unsafe fn planes<T: Copy + Default + HasKernels + Send + Sync>(
    kernels: &'static Kernels<T>,
    g: &Gather,
    weights: Weights<T>,
    images: Images<T>,
    bias: *const T,
    flat: bool,
) -> bool {
    let dense = weights.channels == 1 && (images.dst_strides[4] == 1 || g.grid[2] == 1);
    // Weights of seven by seven taps do not fit the registers: over wide planes two vectors of a copy share them.
    if dense
        && let Some(side) = square(g)
        && (side < 2 || g.grid[2] <= kernels.narrow)
    {
        // SAFETY: the caller's promise.
        return unsafe { in_place(kernels, g, side, weights, images, bias, flat) };
    }
    if dense && let Some(border) = Border::of(kernels, g, images.src_strides[4]) {
        // SAFETY: the caller's promise.
        return unsafe { bordered(kernels, g, &border, weights, images, bias, flat) };
    }
    let [_, height, width] = g.grid;
    let taps = g.offsets[1].len() * g.offsets[2].len();
    let line = (weights.channels * taps * width).max(1);
    let lines = GRAIN.div_ceil(line).next_multiple_of(8).min(height);
    let (blocks, all) = (height.div_ceil(lines), weights.groups * weights.rows);
    // Whole planes of one channel and one vector each are computed some at a time.
    let single = blocks == 1 && width <= kernels.narrow && weights.channels == 1 && weights.rows == 1;
    let batch = if single {
        even_part(all, (GRAIN / 4).div_ceil(line * height))
    } else {
        1
    };
    let batches = all.div_ceil(batch);
    let tasks = images.count * batches * blocks;
    let shared = Shared(weights, images, bias);
    let grain = (GRAIN / (line * lines * batch)).max(1);
    parallel::for_range(tasks, grain, |tasks| {
        let Shared(weights, images, bias) = &shared;
        let [xi, xc, _, xr, _] = images.src_strides;
        let [yi, yc, _, yr, yw] = images.dst_strides;
        for task in tasks {
            let (image, out, from) = (
                task / (batches * blocks),
                task / blocks % batches * batch,
                task % blocks * lines,
            );
            let (group, row) = (out / weights.rows, out % weights.rows);
            let planes = batch.min(all - out);
            let (image, out) = (image as isize, out as isize);
            let args = PlaneArgs {
                planes,
                weights_plane: weights.group_stride as usize,
                dst_plane: yc,
                src: images
                    .src
                    .wrapping_offset(image * xi + (group * weights.channels) as isize * xc),
                channel_stride: xc,
                channels: weights.channels,
                row_stride: xr,
                size: [g.size[1], g.size[2]],
                lines: &g.offsets[1],
                cols: &g.offsets[2],
                step: [g.step[1], g.step[2]],
                weights: weights
                    .data
                    .wrapping_offset(group as isize * weights.group_stride + row as isize * weights.row_stride),
                bias: if bias.is_null() {
                    *bias
                } else {
                    bias.wrapping_offset(out)
                },
                dst: images.dst.wrapping_offset(image * yi + out * yc),
                dst_row: yr,
                dst_col: if width == 1 { 1 } else { yw },
                from,
                to: height.min(from + lines),
                width,
            };
            // SAFETY: the caller's promise.
            unsafe {
                (kernels.planes[g.step[2] - 1])(&args);
                if let Some(f) = images.finish.filter(|_| flat) {
                    f.block(Block {
                        image: image as usize,
                        channel: out as usize,
                        channels: planes,
                        from: from * width,
                        count: (args.to - from) * width,
                    });
                }
            }
        }
    });
    flat
}

/// [`planes`] of one channel each and windows that are [`square`], read where they lie.
///
/// # Safety
/// As for `gather`.
unsafe fn in_place<T: Copy + Default + HasKernels + Send + Sync>(
    kernels: &'static Kernels<T>,
    g: &Gather,
    side: usize,
    weights: Weights<T>,
    images: Images<T>,
    bias: *const T,
    flat: bool,
) -> bool {
    let [_, height, width] = g.grid;
    let line = (g.taps() * width).max(1);
    let blocks = (line * height).div_ceil(GRAIN);
    let lines = height.div_ceil(blocks);
    let (blocks, all) = (height.div_ceil(lines), weights.groups * weights.rows);
    let shared = Shared(weights, images, bias);
    let tasks = shared.1.count * all * blocks;
    parallel::for_range(tasks, GRAIN.div_ceil(line * lines), |range| {
        let Shared(weights, images, bias) = &shared;
        let [xi, xc, _, xr, _] = images.src_strides;
        let [yi, yc, _, yr, _] = images.dst_strides;
        // Neighbouring planes follow each other in all operands if each has one of the result.
        let together = weights.rows == 1 && blocks == 1;
        let mut next = range.start;
        while next < range.end {
            let (image, out, from) = (next / (all * blocks), next / blocks % all, next % blocks * lines);
            let most = if together { range.end - next } else { 1 };
            // A norm or the like finds the result in the cache.
            let most = if images.finish.is_some() { most.min(4) } else { most };
            let planes = most.min(all - out);
            next += planes;
            let (group, row) = (out / weights.rows, out % weights.rows);
            let rows = lines.min(height - from);
            let args = InPlaceArgs {
                planes,
                src: images.src.wrapping_offset(image as isize * xi + group as isize * xc),
                src_plane: xc,
                src_row: xr,
                size: [g.size[1], g.size[2]],
                low: (from * g.step[1]) as isize + g.offsets[1][0],
                cols: &g.offsets[2],
                weights: weights
                    .data
                    .wrapping_offset(group as isize * weights.group_stride + row as isize * weights.row_stride),
                weights_plane: weights.group_stride as usize,
                bias: match bias.is_null() {
                    true => *bias,
                    false => bias.wrapping_add(out),
                },
                dst: images
                    .dst
                    .wrapping_offset(image as isize * yi + out as isize * yc + from as isize * yr),
                dst_plane: yc,
                dst_row: yr,
                rows,
                width,
            };
            // SAFETY: the caller's promise; each task has its own lines.
            unsafe {
                (kernels.in_place[side][g.step[2] - 1])(&args);
                if let Some(f) = images.finish.filter(|_| flat) {
                    f.block(Block {
                        image,
                        channel: out,
                        channels: planes,
                        from: from * width,
                        count: rows * width,
                    });
                }
            }
        }
    });
    flat
}

/// [`planes`] of one channel each, copied with their border.
///
/// # Safety
/// As for `gather`.
unsafe fn bordered<T: Copy + Default + HasKernels + Send + Sync>(
    kernels: &'static Kernels<T>,
    g: &Gather,
    border: &Border,
    weights: Weights<T>,
    images: Images<T>,
    bias: *const T,
    flat: bool,
) -> bool {
    let [_, height, width] = g.grid;
    let (blocks, name) = (height.div_ceil(border.rows), new_name());
    let batch = border.batch::<T>(g, weights.groups);
    let batches = weights.groups.div_ceil(batch);
    let work = batch * weights.rows * g.taps() * width * border.rows;
    let shared = Shared(weights, images, bias);
    let tasks = shared.1.count * batches * blocks;
    parallel::for_range(tasks, (GRAIN / work.max(1)).max(1), |tasks| {
        let Shared(weights, images, bias) = &shared;
        let [xi, xc, _, xr, _] = images.src_strides;
        let [yi, yc, _, yr, _] = images.dst_strides;
        let of = |bias: *const T, row: usize| match bias.is_null() {
            true => bias,
            false => bias.wrapping_add(row),
        };
        with_scratch(|[copy, twins, ..]| {
            let size = border.elements(g, batch);
            // SAFETY: as many are reserved.
            let zeros = |to| unsafe { std::slice::from_raw_parts_mut(to, size) }.fill(T::default());
            let copy = copy.filled(size, name, zeros);
            let twins = twins.reserve::<T>(border.rows.next_multiple_of(2) * kernels.narrow / 2);
            for task in tasks {
                let (image, rest) = ((task / (batches * blocks)) as isize, task % (batches * blocks));
                let (group, from) = (rest / blocks * batch, rest % blocks * border.rows);
                let (count, to) = (batch.min(weights.groups - group), height.min(from + border.rows));
                let planes = Planes {
                    count,
                    first: images.src.wrapping_offset(image * xi + group as isize * xc),
                    apart: xc,
                    row: xr,
                };
                // SAFETY: the caller's promise.
                let src = unsafe { border.fill(kernels, g, &planes, (from, to), copy) };
                // Neighbouring planes follow each other in all operands if each has one of the result.
                let together = if weights.rows == 1 { count } else { 1 };
                for index in 0..count * weights.rows / together {
                    let (plane, row) = (index / weights.rows, index % weights.rows);
                    let out = (group + plane) * weights.rows + row;
                    let from_weights =
                        (group + plane) as isize * weights.group_stride + row as isize * weights.row_stride;
                    let dst = images
                        .dst
                        .wrapping_offset(image * yi + out as isize * yc + from as isize * yr);
                    let src = src.wrapping_add(plane * border.plane(g));
                    for first in 0..border.apart.min(to - from) {
                        let args = RingArgs {
                            planes: together,
                            src_plane: border.plane(g),
                            weights_plane: weights.group_stride as usize,
                            dst_plane: yc,
                            src: src.wrapping_add(first * border.pitch),
                            line: border.pitch * border.apart,
                            cols: &border.cols,
                            weights: weights.data.wrapping_offset(from_weights),
                            bias: of(*bias, out),
                            dst: dst.wrapping_offset(first as isize * yr),
                            dst_row: border.apart as isize * yr,
                            rows: (to - from - first).div_ceil(border.apart),
                            width,
                            twins: if border.twins { twins } else { std::ptr::null_mut() },
                        };
                        // SAFETY: the caller's promise.
                        unsafe { (kernels.rings[border.side][g.step[1] - 1])(&args) };
                    }
                    if let Some(f) = images.finish.filter(|_| flat) {
                        let block = Block {
                            image: image as usize,
                            channel: out,
                            channels: together,
                            from: from * width,
                            count: (to - from) * width,
                        };
                        // SAFETY: the block is written.
                        unsafe { f.block(block) };
                    }
                }
            }
        });
    });
    flat
}

/// Whether [`correlations`] computes this gradient of the weights.
pub(super) fn correlates<T>(g: &Gather, p: &Problem<T>) -> bool {
    // Short lines leave most lanes empty, which a tile does not unless it has few rows.
    p.channels == 1
        && is_planar(g, p.x_strides[4])
        && (p.gy_strides[4] == 1 || g.grid[2] == 1)
        && (g.grid[2] >= 7 || p.rows <= 2)
}

struct Parts<T>(Problem<T>, *mut T);
// SAFETY: plain data; tasks write disjoint sums.
unsafe impl<T: Sync> Sync for Parts<T> {}

/// Which of [`SIDES`] a window has whose lines follow each other, with one step for rows and columns.
fn square(g: &Gather) -> Option<usize> {
    let [_, lines, cols] = &g.offsets;
    let dense = lines.windows(2).all(|w| w[1] - w[0] == 1);
    // A grid of one line or column has step one whatever the other's is.
    let equal = g.step[1] == g.step[2];
    SIDES
        .iter()
        .position(|&k| dense && equal && k == lines.len() && k == cols.len())
}

/// [`correlations`] for windows that are [`square`].
///
/// # Safety
/// As for `gradient`.
unsafe fn sums<T>(kernels: &'static Kernels<T>, g: &Gather, side: usize, p: Problem<T>, out: &mut [T])
where
    T: Copy + Default + HasKernels + Send + Sync + Add<Output = T>,
{
    let (all, taps) = (p.groups * p.rows, g.taps());
    let parts = if all >= ENOUGH { 1 } else { PARTS.min(p.count) };
    let area = all * taps;
    let mut joined = vec![T::default(); if parts > 1 { parts * area } else { 0 }];
    let target = if parts > 1 {
        joined.as_mut_ptr()
    } else {
        out.as_mut_ptr()
    };
    let work = (taps * g.positions()).saturating_mul(p.count.div_ceil(parts)).max(1);
    // Channels whose sums stay near are taken together, image by image: planes are read in the order in which they lie.
    let some = NEAR / (64 * taps);
    let shared = Parts(p, target);
    parallel::for_range(parts * all, GRAIN.div_ceil(work), |range| {
        let Parts(p, target) = &shared;
        with_scratch(|[near, ..]| {
            let near = near.reserve::<T>(some * taps * 64 / size_of::<T>());
            let mut next = range.start;
            while next < range.end {
                let (part, channel) = (next / all, next % all);
                // Pairs of planes are evenly apart where each channel has one.
                let many = if p.rows == 1 { some } else { 1 };
                let planes = many.min(range.end - next).min(all - channel);
                next += planes;
                let (from, to) = (p.count * part / parts, p.count * (part + 1) / parts);
                for image in from..to {
                    let args = TapSums {
                        planes,
                        x: p.x.wrapping_offset(
                            image as isize * p.x_strides[0] + (channel / p.rows) as isize * p.x_strides[1],
                        ),
                        x_plane: p.x_strides[1],
                        x_row: p.x_strides[3],
                        x_size: [g.size[1], g.size[2]],
                        gy: p
                            .gy
                            .wrapping_offset(image as isize * p.gy_strides[0] + channel as isize * p.gy_strides[1]),
                        gy_plane: p.gy_strides[1],
                        gy_row: p.gy_strides[3],
                        grid: [g.grid[1], g.grid[2]],
                        low: g.offsets[1][0],
                        cols: &g.offsets[2],
                        sums: near,
                        first: image == from,
                        out: match image + 1 == to {
                            true => target.wrapping_add(part * area + channel * taps),
                            false => std::ptr::null_mut(),
                        },
                    };
                    // SAFETY: the caller's promise; each range has its own sums.
                    unsafe { (kernels.tap_sums[side][g.step[2] - 1])(&args) };
                }
            }
        });
    });
    if parts > 1 {
        join_rows(&mut joined, area);
        out.copy_from_slice(&joined[..area]);
    }
}

/// [`super::weight::gradient`] for what [`correlates`] accepts.
///
/// # Safety
/// As for `gradient`.
pub(super) unsafe fn correlations<T>(kernels: &'static Kernels<T>, g: &Gather, p: Problem<T>, out: &mut [T])
where
    T: Copy + Default + HasKernels + Send + Sync + Add<Output = T>,
{
    if let Some(side) = square(g) {
        // SAFETY: the caller's promise.
        return unsafe { sums(kernels, g, side, p, out) };
    }
    let taps = g.offsets[1].len() * g.offsets[2].len();
    // Three by three taps of three planes would not leave registers for what serves three taps at once.
    let most = GRADIENTS[(kernels.narrow * size_of::<T>() < 64 || taps <= 9) as usize];
    let some = p.rows.div_ceil(most);
    let parts = if p.groups * p.rows >= ENOUGH {
        1
    } else {
        PARTS.min(p.count)
    };
    let area = p.groups * p.rows * taps;
    let mut sums = vec![T::default(); if parts > 1 { parts * area } else { 0 }];
    let target = if parts > 1 { sums.as_mut_ptr() } else { out.as_mut_ptr() };
    let work = (most * taps * g.positions()).saturating_mul(p.count.div_ceil(parts));
    let shared = Parts(p, target);
    parallel::for_range(parts * shared.0.groups * some, (GRAIN / work.max(1)).max(1), |tasks| {
        let Parts(p, sums) = &shared;
        for task in tasks {
            let (part, group, row) = (
                task / (p.groups * some),
                task / some % p.groups,
                p.rows * (task % some) / some,
            );
            let count = p.rows * (task % some + 1) / some - row;
            let (from, to) = (p.count * part / parts, p.count * (part + 1) / parts);
            let (image, channel) = (from as isize, (group * p.rows + row) as isize);
            let args = CorrelateArgs {
                images: to - from,
                x: p.x
                    .wrapping_offset(image * p.x_strides[0] + group as isize * p.x_strides[1]),
                x_image: p.x_strides[0],
                x_row: p.x_strides[3],
                x_size: [g.size[1], g.size[2]],
                gy: p
                    .gy
                    .wrapping_offset(image * p.gy_strides[0] + channel * p.gy_strides[1]),
                gy_image: p.gy_strides[0],
                gy_channel: p.gy_strides[1],
                gy_row: p.gy_strides[3],
                grid: [g.grid[1], g.grid[2]],
                step: [g.step[1], g.step[2]],
                lines: &g.offsets[1],
                cols: &g.offsets[2],
                sums: sums.wrapping_add(part * area + channel as usize * taps),
                sums_row: taps,
            };
            // SAFETY: the caller's promise; each task has its own sums.
            unsafe { (kernels.correlate[count - 1][g.step[2] - 1])(&args) };
        }
    });
    if parts > 1 {
        join_rows(&mut sums, area);
        out.copy_from_slice(&sums[..area]);
    }
}
