//! Groups with one input channel and several output channels: products and sums over sheets ([`super::sheets`]), which serve
//! all output channels.

use super::finish::Block;
use super::flat::FlatSums;
use super::gather::Images;
use super::geometry::Gather;
use super::lines::LineTile;
use super::sheets::Sheets;
use super::weight::Problem;
use super::weights::Weights;
use crate::gemm::{HasKernels, Kernels, Panels, even_part, join_rows, new_name, pack_a, with_scratch};
use crate::parallel;
use std::ops::Add;

/// Multiply-adds worth handing to a thread.
const GRAIN: usize = 1 << 18;
/// Bytes of the result that are computed at a time.
const RESULT: usize = 384 << 10;
/// Gradients of weights: parts of the sum, least output channels of a group, bytes of sums at a time.
const PARTS: usize = 4;
const ROWS: usize = 4;
const SUMS: usize = 64 << 10;

/// The sheets for [`products`]; `None` for what there are none for. Positions lie one after another in the output.
pub(super) fn takes<T>(g: &Gather, weights: &Weights<T>) -> Option<Sheets> {
    let lines = &g.offsets[1];
    let even = lines
        .windows(2)
        .all(|w| w[1] > w[0] && w[1] - w[0] == lines[1] - lines[0]);
    let one = weights.channels == 1 && g.step[1] == 1 && even;
    one.then(|| Sheets::of::<T>(g)).flatten()
}

struct Shared<T>(Weights<T>, Images<T>, *const T);
// SAFETY: plain data; tasks write disjoint lines.
unsafe impl<T: Sync> Sync for Shared<T> {}

/// [`super::gather::gather`] for what [`takes`] accepts.
///
/// # Safety
/// As for `gather`.
pub(super) unsafe fn products<T: Copy + Default + HasKernels + Send + Sync>(
    kernels: &'static Kernels<T>,
    g: &Gather,
    sheets: &Sheets,
    weights: Weights<T>,
    images: Images<T>,
    bias: *const T,
) {
    let [_, height, width] = g.grid;
    let (m, k) = (weights.rows, g.taps());
    // A few large images are cut finer, so that each thread has a share.
    let shares = match parallel::threads() {
        1 => 1,
        threads => (2 * threads).div_ceil(images.count * weights.groups),
    };
    let most = (RESULT / size_of::<T>() / (m * width))
        .min(height.div_ceil(shares))
        .max(1);
    let lines = even_part(height, most.min(sheets.lines));
    let (blocks, name) = (height.div_ceil(lines), new_name());
    let cols = g.offsets[2].len();
    let apart = match g.offsets[1].as_slice() {
        [first, second, ..] => second - first,
        _ => 0,
    };
    let panels = Panels::of(m, kernels.line_tiles[1].len());
    let shared = Shared(weights, images, bias);
    let tasks = shared.1.count * shared.0.groups * blocks;
    parallel::for_range(tasks, GRAIN.div_ceil(m * k * lines * width), |range| {
        let Shared(weights, images, bias) = &shared;
        let [xi, xc, _, xr, xw] = images.src_strides;
        let [yi, yc, _, yr, _] = images.dst_strides;
        with_scratch(|[copy, packed, ..]| {
            let packed = packed.filled(weights.groups * m * k, name, |dst: *mut T| {
                for group in 0..weights.groups {
                    let w = weights.data.wrapping_offset(group as isize * weights.group_stride);
                    // SAFETY: the caller's promise; so below.
                    unsafe { pack_a(kernels, w, weights.row_stride, 1, m, k, dst.wrapping_add(group * m * k)) };
                }
            });
            let copy = copy.reserve::<T>(sheets.elements(g));
            for task in range {
                let (which, from) = (task / blocks, task % blocks * lines);
                let (image, group) = (which / weights.groups, which % weights.groups);
                let to = height.min(from + lines);
                let src = images.src.wrapping_offset(image as isize * xi + group as isize * xc);
                let row = group * m;
                let dst = images
                    .dst
                    .wrapping_offset(image as isize * yi + row as isize * yc + from as isize * yr);
                let positions = (to - from) * width;
                // SAFETY: the caller's promise; the buffer holds the sheets.
                unsafe { sheets.fill(kernels, g, src, [xr, xw], (from, to), copy) };
                for (i, rows) in panels.each() {
                    let tile = LineTile {
                        lines: k / cols,
                        k: cols,
                        a: packed.wrapping_add((row + i) * k),
                        a_cs: rows as isize,
                        a_line: (rows * cols) as isize,
                        b_rs: sheets.pitch as isize,
                        b_line: apart * width as isize,
                        c_rs: yc,
                        row_bias: match bias.is_null() {
                            true => *bias,
                            false => bias.wrapping_add(row + i),
                        },
                        ..LineTile::empty()
                    };
                    let dst = dst.wrapping_offset(i as isize * yc);
                    for j in (0..positions).step_by(kernels.nr) {
                        let n = kernels.nr.min(positions - j);
                        let some = LineTile {
                            b: copy.wrapping_add(j),
                            c: dst.wrapping_add(j),
                            n,
                            next: dst.wrapping_add(j + kernels.nr),
                            ..tile
                        };
                        // SAFETY: the tile lies in the result; vectors are read to the end of the sheets' slack.
                        unsafe { kernels.line_tiles[1][rows - 1][(n > kernels.narrow) as usize](&some) };
                    }
                }
                if let Some(f) = &images.finish {
                    let block = Block {
                        image,
                        channel: row,
                        channels: m,
                        from: from * width,
                        count: positions,
                    };
                    // SAFETY: the block is written.
                    unsafe { f.block(block) };
                }
            }
        });
    });
}

/// The sheets for [`gradient`]; `None` for what there are none for.
pub(super) fn takes_gradient<T>(g: &Gather, p: &Problem<T>) -> Option<Sheets> {
    let [_, _, _, row, col] = p.gy_strides;
    let [_, height, width] = g.grid;
    let flat = (width == 1 || col == 1) && (height == 1 || row == width as isize);
    let one = p.channels == 1 && p.rows >= ROWS && flat && g.step[1] <= 2;
    one.then(|| Sheets::of::<T>(g)).flatten()
}

struct Parts<T>(Problem<T>, *mut T);
// SAFETY: plain data; tasks write disjoint sums.
unsafe impl<T: Sync> Sync for Parts<T> {}

/// [`super::weight::gradient`] for what [`takes_gradient`] accepts.
///
/// # Safety
/// As for `gradient`.
pub(super) unsafe fn gradient<T>(
    kernels: &'static Kernels<T>,
    g: &Gather,
    sheets: &Sheets,
    p: Problem<T>,
    out: &mut [T],
) where
    T: Copy + Default + HasKernels + Send + Sync + Add<Output = T>,
{
    let [_, height, width] = g.grid;
    let (m, taps) = (p.rows, g.taps());
    let (area, parts) = (p.groups * m * taps, PARTS.min(p.count));
    // Output channels are shared out where their sums would be too many, or the parts too few; that changes no sum.
    let want = match parallel::threads() {
        1 => 1,
        threads => (2 * threads).div_ceil(parts * p.groups),
    };
    let some = (m * taps * 64).div_ceil(SUMS).max(want).min(m.div_ceil(ROWS));
    let most = m.div_ceil(some);
    let blocks = height.div_ceil(sheets.lines);
    let mut joined = vec![T::default(); if parts > 1 { parts * area } else { 0 }];
    let target = if parts > 1 {
        joined.as_mut_ptr()
    } else {
        out.as_mut_ptr()
    };
    let work = (most * taps * height * width).saturating_mul(p.count.div_ceil(parts));
    let shared = Parts(p, target);
    parallel::for_range(parts * shared.0.groups * some, GRAIN.div_ceil(work.max(1)), |range| {
        let Parts(p, target) = &shared;
        let [xi, xc, _, xr, xw] = p.x_strides;
        let [yi, yc, _, yr, _] = p.gy_strides;
        with_scratch(|[copy, sums, ..]| {
            let copy = copy.reserve::<T>(sheets.elements(g));
            let sums = sums.reserve::<T>(most * taps * 64 / size_of::<T>());
            for task in range {
                let (part, group, share) = (task / some / p.groups, task / some % p.groups, task % some);
                let (row, end) = (m * share / some, m * (share + 1) / some);
                let (first, last) = (p.count * part / parts, p.count * (part + 1) / parts);
                let channel = group * m + row;
                for (image, block) in (first..last).flat_map(|image| (0..blocks).map(move |b| (image, b))) {
                    let from = block * sheets.lines;
                    let to = height.min(from + sheets.lines);
                    let x = p.x.wrapping_offset(image as isize * xi + group as isize * xc);
                    let gy = p.gy.wrapping_offset(image as isize * yi + channel as isize * yc);
                    let ends = image + 1 == last && to == height;
                    let args = FlatSums {
                        sheets: copy,
                        offsets: &sheets.offsets,
                        planes: end - row,
                        gy: gy.wrapping_offset(from as isize * yr),
                        gy_plane: yc,
                        positions: (to - from) * width,
                        sums,
                        first: image == first && block == 0,
                        out: match ends {
                            true => target.wrapping_add(part * area + channel * taps),
                            false => std::ptr::null_mut(),
                        },
                    };
                    // SAFETY: the caller's promise; each task has its own sums.
                    unsafe {
                        sheets.fill(kernels, g, x, [xr, xw], (from, to), copy);
                        (kernels.flat_sums)(&args);
                    }
                }
            }
        });
    });
    if parts > 1 {
        join_rows(&mut joined, area);
        out.copy_from_slice(&joined[..area]);
    }
}
