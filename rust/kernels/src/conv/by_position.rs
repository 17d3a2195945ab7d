//! The product turned over: its rows are positions, its columns the output channels. A position's patch is read where it
//! lies, one element for all channels of a vector, so nothing is packed but the weights; the sums are turned as they are
//! written. Packing costs most where few channels share its work, and where a stride takes patches apart.

use super::finish::Block;
use super::gather::{Images, Shared};
use super::geometry::{Gather, Source};
use super::lines::LineTile;
use super::weights::Weights;
use crate::gemm::{
    HasKernels, Kernels, Panels, SLACK, even_part, new_name, pack_b, panel_width, with_scratch, with_shared,
};
use crate::parallel;
use crate::simd::transpose::turn;

/// Bytes of sums of a task.
const SUMS: usize = 32 << 10;
/// Bytes of packed weights of which each thread has its own.
const OWN: usize = 4 << 20;

/// Least terms of a sum, and least positions of a line: what else there is to do outweighs less.
const LEAST: usize = 64;
const SHORT: usize = 4;

/// Whether a pass whose positions lie one after another is computed so: few channels out for the stride, that fill vectors.
pub(super) fn takes<T>(kernels: &Kernels<T>, geometry: &Gather, weights: &Weights<T>) -> bool {
    let (m, k) = (weights.rows, weights.channels * geometry.taps());
    let filled = 8 * m >= 7 * m.next_multiple_of(kernels.narrow);
    let few = m <= 16 + 24 * geometry.step[2];
    // Where lines lie apart a task would copy what is between them, for the few lines that it computes.
    let follow = geometry.offsets[..2].iter().all(|taps| distance(taps) == Some(1));
    let lies = follow && distance(&geometry.offsets[2]).is_some();
    k >= LEAST && geometry.grid[2] >= SHORT && filled && few && lies
}

/// Of taps equally far apart.
fn distance(taps: &[isize]) -> Option<isize> {
    match taps {
        [] => None,
        [_] => Some(1),
        [first, second, ..] => taps
            .windows(2)
            .all(|two| two[1] - two[0] == second - first)
            .then_some(second - first),
    }
}

/// The pass.
///
/// # Safety
/// As for [`super::gather::gather`]; [`takes`]; the weights are dense.
pub(super) unsafe fn products<T: Copy + Default + HasKernels + Send + Sync>(
    kernels: &'static Kernels<T>,
    geometry: &Gather,
    weights: Weights<T>,
    images: Images<T>,
    bias: *const T,
) {
    let Some(distance) = distance(&geometry.offsets[2]) else {
        return;
    };
    let [_, sc, sd, sh, sw] = images.src_strides;
    // All elements that are read, as if they were positions of one tap.
    let extent = std::array::from_fn(|d| {
        let taps = &geometry.offsets[d];
        (geometry.grid[d] - 1) * geometry.step[d] + (taps[taps.len() - 1] - taps[0]) as usize + 1
    });
    let first = std::array::from_fn(|d| vec![geometry.offsets[d][0]]);
    let area = Gather::new(extent, [1; 3], geometry.size, first);
    let address = area.address([sc, sd, sh, sw]);
    let [by_depth, by_line] = address.lines_apart();
    let (m, k) = (weights.rows, weights.channels * geometry.taps());
    let taps = geometry.offsets[2].len();
    let [depth, high, wide] = geometry.grid;
    // Lines of results of a task; of a copy it has its own part, or all if that is more than one plane deep.
    let lines = depth * high;
    let near = SUMS / (wide * m * size_of::<T>()).max(1);
    let share = (lines * images.count * weights.groups / (2 * parallel::threads())).max(2);
    let some = match extent[0] {
        1 => even_part(lines, near.min(share).max(1)),
        _ => even_part(lines, share),
    };
    let blocks = lines.div_ceil(some);
    let panels = Panels::of(wide, kernels.line_tiles[0].len());
    let size = m.next_multiple_of(kernels.nr) * k + SLACK;
    let pack = |weights: &Weights<T>, group: usize, to: *mut T| {
        let from = weights.data.wrapping_offset(group as isize * weights.group_stride);
        // SAFETY: the caller's promise.
        unsafe {
            pack_b(
                kernels,
                from,
                1,
                weights.row_stride,
                k,
                m,
                to.wrapping_add(group * size),
            )
        };
    };
    let own = (weights.groups * size * size_of::<T>() <= OWN).then(new_name);
    with_shared(|packed| {
        let packed = match own {
            Some(_) => std::ptr::null_mut(),
            None => packed.reserve::<T>(weights.groups * size),
        };
        let shared = Shared(weights, images, packed, bias);
        if own.is_none() {
            parallel::for_range(shared.0.groups, 1, |groups| {
                let Shared(weights, _, packed, _) = &shared;
                groups.for_each(|group| pack(weights, group, *packed));
            });
        }
        let tasks = shared.1.count * shared.0.groups * blocks;
        parallel::for_range(tasks, 1, |tasks| {
            let Shared(weights, images, packed, bias) = &shared;
            let (groups, channels) = (weights.groups, weights.channels);
            with_scratch(|[copy, sums, weights_packed, _]| {
                let packed = match own {
                    Some(name) => weights_packed.filled(groups * size, name, |dst| {
                        (0..groups).for_each(|group| pack(weights, group, dst));
                    }),
                    None => *packed,
                };
                let sums = sums.reserve::<T>(some * wide * m);
                let mut starts = Vec::new();
                for task in tasks {
                    let (which, begin) = (task / blocks, task % blocks * some);
                    let (image, group) = (which / groups, which % groups);
                    let end = lines.min(begin + some);
                    let source = Source {
                        data: images
                            .src
                            .wrapping_offset(image as isize * images.src_strides[0])
                            .wrapping_offset((group * channels) as isize * sc),
                        channels,
                        strides: [sc, sd, sh, sw],
                    };
                    let reach = extent[1] - (high - 1) * geometry.step[1];
                    let needed = match extent[0] {
                        1 => begin * geometry.step[1]..(end - 1) * geometry.step[1] + reach,
                        _ => address.all_lines(),
                    };
                    // SAFETY: the caller's promise.
                    let ready = unsafe { area.image(kernels, &address, source, needed, copy) };
                    // Where the taps of a line begin, channel by channel.
                    starts.clear();
                    for c in 0..channels as isize {
                        for &d in &geometry.offsets[0] {
                            for &h in &geometry.offsets[1] {
                                let (d, h) = (d - geometry.offsets[0][0], h - geometry.offsets[1][0]);
                                starts.push(c * ready.channel_stride + d * by_depth + h * by_line);
                            }
                        }
                    }
                    let at = |line: usize| {
                        let (d, h) = (line / high * geometry.step[0], line % high * geometry.step[1]);
                        ready.data.wrapping_offset(d as isize * by_depth + h as isize * by_line)
                    };
                    for j in (0..m).step_by(kernels.nr) {
                        let cols = kernels.nr.min(m - j);
                        let width = panel_width(kernels, cols) as isize;
                        for line in begin..end {
                            for (i, rows) in panels.each() {
                                let tile = LineTile {
                                    lines: starts.len(),
                                    k: taps,
                                    a: at(line).wrapping_add(i * geometry.step[2]),
                                    a_rs: geometry.step[2] as isize,
                                    a_cs: distance,
                                    a_starts: starts.as_ptr(),
                                    b: packed.wrapping_add(group * size + j * k),
                                    b_rs: width,
                                    b_line: taps as isize * width,
                                    c: sums.wrapping_add(((line - begin) * wide + i) * m + j),
                                    c_rs: m as isize,
                                    n: cols,
                                    col_bias: match bias.is_null() {
                                        true => *bias,
                                        false => bias.wrapping_add(group * m + j),
                                    },
                                    ..LineTile::empty()
                                };
                                // SAFETY: as above; starts lie before and behind what the area has.
                                unsafe {
                                    kernels.line_tiles[0][rows - 1][(cols > kernels.narrow) as usize](&tile);
                                }
                            }
                        }
                    }
                    let (from, count) = (begin * wide, (end - begin) * wide);
                    let row = images.dst_strides[1];
                    let to = images
                        .dst
                        .wrapping_offset(image as isize * images.dst_strides[0] + (group * m) as isize * row)
                        .wrapping_add(from);
                    // SAFETY: as above; the task's own positions.
                    unsafe {
                        turn(sums, m, count, m, to, row as usize);
                        if let Some(f) = &images.finish {
                            f.block(Block {
                                image,
                                channel: group * m,
                                channels: m,
                                from,
                                count,
                            });
                        }
                    }
                }
            });
        });
    });
}
