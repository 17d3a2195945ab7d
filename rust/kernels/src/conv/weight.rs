//! Gradient of the weights: gradients of the output times patches, summed over positions and images.
//!
//! The sum is cut into parts by shape alone; each part is one chain in the order of images and positions, and the parts
//! are joined in a fixed tree.

use super::ConvShape;
use super::depthwise;
use super::geometry::{Gather, Source};
use super::one_channel;
use super::patches::TapArgs;
use super::pointwise;
use super::rectangles::Rectangles;
use super::small::Small;
use super::turned::{Share, Turn};
use super::window::{ShiftArgs, Stretch};
use super::winograd;
use crate::gemm::{
    Gemm, HasKernels, Kernels, SPLIT_BLOCK, Scratch, even_part, join_rows, longest_k, pack_a, panel_width,
    with_scratch, with_shared,
};
use crate::parallel;
use std::ops::Add;

/// Most parts, positions of an image in a unit of work, and elements of all parts together.
const PARTS: usize = 16;
const UNIT: usize = 8192;
const ELEMENTS: usize = 1 << 21;
/// Positions of all images from which one tap's sums are cut in two: their products are short, so that writing the sums of
/// each part would take as long.
const SHORT: usize = 2048;

/// Sizes and places: `x` and `gy` with strides [n, c, d, h, w].
pub(crate) struct Problem<T> {
    pub count: usize,
    pub groups: usize,
    pub rows: usize,
    pub channels: usize,
    pub x: *const T,
    pub x_strides: [isize; 5],
    pub gy: *const T,
    pub gy_strides: [isize; 5],
}

/// Least channels for short sums over few images, each of which is added to those before.
const MANY: usize = 16;

struct Shared<T>(Problem<T>, *mut T);
// SAFETY: plain data; tasks write disjoint parts.
unsafe impl<T: Sync> Sync for Shared<T> {}

/// The gradient as a matrix [groups * rows, channels * taps], written to `out`.
///
/// # Safety
/// All addresses that the arguments describe are live; `kernels` fit the CPU; `out` has the matrix' size.
pub(super) unsafe fn gradient<T>(
    kernels: &'static Kernels<T>,
    s: &ConvShape,
    geometry: &Gather,
    problem: Problem<T>,
    out: &mut [T],
) where
    T: Copy + Default + HasKernels + Send + Sync + Add<Output = T>,
{
    // SAFETY: the caller's promise.
    with_shared(|scratch| unsafe { gradient_with(kernels, s, geometry, problem, out, scratch) });
}

/// [`gradient`] with memory for the parts' sums.
///
/// # Safety
/// As for `gradient`.
unsafe fn gradient_with<T>(
    kernels: &'static Kernels<T>,
    s: &ConvShape,
    geometry: &Gather,
    problem: Problem<T>,
    out: &mut [T],
    scratch: &mut Scratch,
) where
    T: Copy + Default + HasKernels + Send + Sync + Add<Output = T>,
{
    let (m, taps, positions) = (problem.rows, geometry.taps(), geometry.positions());
    let n = problem.channels * taps;
    let (groups, area) = (problem.groups, problem.groups * m * n);
    if area == 0 || positions == 0 || problem.count == 0 {
        return out.fill(T::default());
    }
    if let Some(sheets) = one_channel::takes_gradient(geometry, &problem) {
        // SAFETY: the caller's promise.
        return unsafe { one_channel::gradient(kernels, geometry, &sheets, problem, out) };
    }
    if depthwise::correlates(geometry, &problem) {
        // SAFETY: the caller's promise.
        return unsafe { depthwise::correlations(kernels, geometry, problem, out) };
    }
    let [_, sc, sd, sh, sw] = problem.x_strides;
    let address = geometry.address([sc, sd, sh, sw]);
    let [_, gc, gd, gh, gw] = problem.gy_strides;
    let grid = geometry.grid.map(|n| n as isize);
    let flat =
        (grid[2] == 1 || gw == 1) && (grid[1] == 1 || gh == grid[2]) && (grid[0] == 1 || gd == grid[1] * grid[2]);
    let in_place = pointwise::takes_gradient(geometry, &address, &problem, flat);
    let dotted = in_place && pointwise::dotted(geometry, &problem);
    let unit = even_part(positions, if dotted { SPLIT_BLOCK } else { UNIT });
    let per_image = positions.div_ceil(unit);
    let units = problem.count * per_image;
    let parts = units.min(PARTS).min((ELEMENTS / area).max(1));
    let parts = match taps {
        1 => parts.min((problem.count * positions).div_ceil(SHORT)),
        _ => parts,
    };
    let small = Small::of_gradient(s, problem.x_strides, problem.gy_strides);
    let beats = |products| small.as_ref().is_some_and(|small| small.beats(products));
    if winograd::takes_gradient(geometry, &problem, parts).is_some_and(|products| !beats(products)) {
        // SAFETY: the caller's promise.
        return unsafe { winograd::gradient(kernels, geometry, &problem, parts, out) };
    }
    let rectangles = Rectangles::of(geometry, &problem);
    let many = problem.rows.min(problem.channels) >= MANY;
    if let Some(small) = small.filter(|small| small.deep() || (many && rectangles.is_none())) {
        // SAFETY: the caller's promise.
        return unsafe { small.gradient(kernels, &problem, out) };
    }
    if let Some(rectangles) = rectangles {
        // SAFETY: the caller's promise.
        return unsafe { rectangles.gradient(kernels, geometry, &problem, out) };
    }

    if in_place {
        let count = if parts > 1 { parts * area } else { 0 };
        // SAFETY: as many numbers are reserved; what they are does not matter.
        let sums = unsafe { std::slice::from_raw_parts_mut(scratch.reserve::<T>(count), count) };
        let target = if parts > 1 { sums.as_mut_ptr() } else { out.as_mut_ptr() };
        let shared = Shared(problem, target);
        // The position, counted over all images, with which a unit begins.
        let begin = |unit_index: usize| unit_index / per_image * positions + unit_index % per_image * unit;
        let tasks = parts * groups;
        let product = |task: usize, here: bool| {
            let (part, group) = (task / groups, task % groups);
            let Shared(problem, sums) = &shared;
            let c = sums.wrapping_add(part * area + group * m * n);
            let ks = begin(units * part / parts)..begin(units * (part + 1) / parts);
            // SAFETY: the caller's promise; each task has its own sums.
            unsafe { pointwise::gradient(kernels, geometry, problem, group, ks, c, here) };
        };
        if tasks < 2 * parallel::threads() && !dotted {
            (0..tasks).for_each(|task| product(task, false));
        } else {
            parallel::for_range(tasks, 1, |some| some.for_each(|task| product(task, true)));
        }
        if parts > 1 {
            join_rows(sums, area);
            out.copy_from_slice(&sums[..area]);
        }
        return;
    }
    // One input channel and few output channels: a tile would be nearly empty, so the sums run along the positions.
    let shifted = problem.channels == 1 && m <= 2;
    let turn = match shifted {
        true => None,
        false => Turn::of(kernels, geometry, &address, &problem),
    };
    // Sums that lie as they will be in the end are made there.
    let settled = units == 1 && turn.is_some_and(|t| t.in_one_block::<T>(geometry));
    let elsewhere = parts > 1 || turn.is_some_and(|t| !settled && (taps > 1 || t != Turn::Image));
    let count = if elsewhere { parts * area } else { 0 };
    // SAFETY: as many numbers are reserved; what they are does not matter.
    let sums = unsafe { std::slice::from_raw_parts_mut(scratch.reserve::<T>(count), count) };
    let target = if elsewhere { sums.as_mut_ptr() } else { out.as_mut_ptr() };
    // Columns are shared out only when there are too few parts; that changes no sum.
    let threads = parallel::threads();
    let [cols, rows] = turn.map_or([n, 1], |t| t.size(&problem));
    let panels = cols.div_ceil(kernels.nr);
    let want = if shifted || parts * groups >= 2 * threads {
        1
    } else {
        2 * threads
    };
    let piece = panels.div_ceil(panels.min(want)) * kernels.nr;
    let pieces = cols.div_ceil(piece);
    // Rows too, where there are few columns.
    let tall = rows.div_ceil((want / pieces).clamp(1, rows.div_ceil(kernels.tiles.len())));
    let talls = rows.div_ceil(tall);
    let pieces = pieces * talls;
    let shared = Shared(problem, target);
    let work = (area / groups / pieces)
        .saturating_mul(positions * shared.0.count / parts)
        .max(1);
    let kc = even_part(unit, longest_k::<T>());
    parallel::for_range(parts * groups * pieces, ((1 << 19) / work).max(1), |tasks| {
        let Shared(problem, sums) = &shared;
        with_scratch(|[copy, panel_scratch, a_scratch, gy_copy]| {
            let (mut runs, mut columns, mut stretches) = (Vec::new(), Vec::new(), Vec::new());
            for task in tasks {
                let (part, group) = (task / (groups * pieces), task / pieces % groups);
                let (first, row) = (task % pieces / talls * piece, task % pieces % talls * tall);
                let last = cols.min(first + piece);
                let c = sums.wrapping_add(part * area + group * m * n);
                let mut started = false;
                for unit_index in units * part / parts..units * (part + 1) / parts {
                    let (image, from) = (unit_index / per_image, unit_index % per_image * unit);
                    let to = positions.min(from + unit);
                    let channel = (group * problem.channels) as isize;
                    let x = problem
                        .x
                        .wrapping_offset(image as isize * problem.x_strides[0] + channel * sc);
                    let source = Source {
                        data: x,
                        channels: problem.channels,
                        strides: [sc, sd, sh, sw],
                    };
                    let out = (group * m) as isize;
                    let gy = problem
                        .gy
                        .wrapping_offset(image as isize * problem.gy_strides[0] + out * gc);
                    // SAFETY: the caller's promise; each task has its own columns of its own part.
                    unsafe {
                        let (gy, gy_rs) = if flat {
                            (gy, gc)
                        } else {
                            let dst = gy_copy.reserve::<T>(m * positions);
                            let [depths, lines, cols] = geometry.grid;
                            for i in 0..m * depths * lines {
                                let (line, c) = ((i % (depths * lines)) as isize, (i / (depths * lines)) as isize);
                                let row = gy.wrapping_offset(c * gc + line / grid[1] * gd + line % grid[1] * gh);
                                for w in 0..cols {
                                    *dst.add(i * cols + w) = *row.wrapping_offset(w as isize * gw);
                                }
                            }
                            (dst.cast_const(), positions as isize)
                        };
                        if let Some(turn) = turn {
                            let share = Share {
                                turn,
                                geometry,
                                address: &address,
                                problem,
                                image,
                                group,
                                from,
                                to,
                                gy,
                                gy_rs,
                                cols: first..last,
                                rows: row..rows.min(row + tall),
                                started,
                                sums: c,
                                settled,
                            };
                            share.run(kernels, [copy, panel_scratch, a_scratch]);
                            started = true;
                            continue;
                        }
                        let panel = panel_scratch.reserve::<T>(kc * kernels.nr);
                        let a = a_scratch.reserve::<T>(m * kc);
                        let ready = geometry.image(kernels, &address, source, address.all_lines(), copy);
                        if shifted {
                            runs.clear();
                            address.runs(from, to, &mut runs);
                            let mut dst = from as isize;
                            stretches.clear();
                            stretches.extend(runs.iter().map(|run| {
                                dst += run.len as isize;
                                Stretch {
                                    src: run.offset,
                                    dst: dst - run.len as isize,
                                    len: run.len,
                                }
                            }));
                            for i in 0..m {
                                let sums = c.wrapping_add(i * n);
                                if !started {
                                    (0..n).for_each(|j| *sums.add(j) = T::default());
                                }
                                (kernels.shifts)(&ShiftArgs {
                                    image: ready.data,
                                    gradient: gy.wrapping_offset(i as isize * gy_rs),
                                    stretches: &stretches,
                                    taps: &address.taps,
                                    sums,
                                });
                            }
                            started = true;
                            continue;
                        }
                        for p in (from..to).step_by(kc) {
                            let depth = kc.min(to - p);
                            pack_a(kernels, gy.wrapping_add(p), gy_rs, 1, m, depth, a);
                            runs.clear();
                            address.runs(p, p + depth, &mut runs);
                            for j in (first..last).step_by(kernels.nr) {
                                let width = kernels.nr.min(last - j);
                                columns.clear();
                                columns.extend((j..j + width).map(|column| {
                                    let offset = (column / taps) as isize * ready.channel_stride;
                                    ready.data.wrapping_offset(offset + address.taps[column % taps])
                                }));
                                (kernels.pack_taps)(&TapArgs {
                                    columns: &columns,
                                    runs: &runs,
                                    width: panel_width(kernels, width),
                                    dst: panel,
                                });
                                let tile = Gemm {
                                    m,
                                    n: width,
                                    k: depth,
                                    c: c.wrapping_add(j),
                                    c_rs: n as isize,
                                    c_cs: 1,
                                    from_c: started,
                                    ..Gemm::empty()
                                };
                                tile.run_tiles(kernels, a, panel, std::ptr::null_mut());
                            }
                            started = true;
                        }
                    }
                }
            }
        });
    });
    if parts > 1 {
        join_rows(sums, area);
    }
    match turn {
        Some(turn) if elsewhere => {
            let size = [m, shared.0.channels, taps];
            let groups = sums[..area].chunks(m * n).zip(out.chunks_mut(m * n));
            groups.for_each(|(sums, out)| turn.settle(size, sums, out));
        }
        _ if elsewhere => out.copy_from_slice(&sums[..area]),
        _ => {}
    }
}
