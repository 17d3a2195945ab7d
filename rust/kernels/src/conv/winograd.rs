//! Three by three taps with stride one by minimal filtering, F(2x2, 3x3): each tile of two by two outputs takes 16
//! products per pair of channels instead of 36 (Winograd 1980; Lavin and Gray, arXiv:1509.09308). Larger tiles would save
//! more and lose digits; this one's error is about that of the plain sum.
//!
//! Tiles of all images in one row: blocks of them are transformed, multiplied as 16 matrix products, transformed back.
//! Each product's sum is one chain over the channels, so neither blocks nor vectors show in the bits.

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

use super::gather::{Images, Weights};
use super::geometry::Gather;
use super::plane::{Column, inside};
use crate::gemm::{
    Gemm, HasKernels, Kernels, PackArgs, SLACK, even_part, longest_k, panel, panel_width, with_scratch, with_shared,
};
use crate::parallel;
use crate::simd::vec::Lanes;

/// Products of matrices, one per element of a transformed tile.
const POINTS: usize = 16;
/// Least channels on either side, and least tiles, for which the transforms pay.
const LEAST_CHANNELS: usize = 16;
const LEAST_TILES: usize = 112;
/// Bytes of a block's transformed tiles, and panels that a block has at least.
const BLOCK_BYTES: usize = 1 << 20;
const LEAST_PANELS: usize = 3;

/// Some tiles next to each other in one image, all channels of a block: from the image to the packed panels.
pub(crate) struct InputArgs<T> {
    pub src: *const T,
    pub channel_stride: isize,
    pub channels: usize,
    pub row_stride: isize,
    pub size: [usize; 2],
    /// First line and column of the first tile's window.
    pub line: isize,
    pub col: isize,
    /// At most the lanes of a vector.
    pub tiles: usize,
    pub dst: *mut T,
    pub dst_channel: usize,
    pub dst_point: usize,
}

/// The same tiles of the result, for some output channels: from the products to the image.
pub(crate) struct OutputArgs<T> {
    pub src: *const T,
    pub src_row: usize,
    pub src_point: usize,
    pub rows: usize,
    pub tiles: usize,
    /// First output; lines (1 or 2) and columns that exist.
    pub dst: *mut T,
    pub dst_channel: isize,
    pub dst_row: isize,
    pub lines: usize,
    pub cols: usize,
    /// One per output channel, or null.
    pub bias: *const T,
}

/// `Bᵀ d B` of each tile.
///
/// # Safety
/// The windows' elements inside the image, and all points of the result, lie in live memory.
#[inline(always)]
pub(crate) unsafe fn input<T: Copy + Default, L: Lanes<T>>(l: L, minus: T, g: &InputArgs<T>) {
    let minus = l.splat(minus);
    let sub = |a, b| l.fma(b, minus, a);
    // One line (or column) of a transform.
    let turn = |d: [L::V; 4]| [sub(d[0], d[2]), l.add(d[1], d[2]), sub(d[2], d[1]), sub(d[1], d[3])];
    let cols: [Column<T, L>; 4] = std::array::from_fn(|c| {
        let offset = g.col + c as isize;
        let (from, to) = inside(offset, 2, g.size[1], L::N);
        Column::new(l, offset, (from, to.min(g.tiles).max(from)))
    });
    let (mut channel, mut dst) = (g.src, g.dst);
    for _ in 0..g.channels {
        let mut d = [[l.splat(T::default()); 4]; 4];
        for r in 0..4 {
            let line = g.line + r as isize;
            if line >= 0 && line < g.size[0] as isize {
                let from = channel.wrapping_offset(line * g.row_stride);
                for c in 0..4 {
                    // SAFETY: the caller's promise; masks leave out what lies outside.
                    d[r][c] = unsafe { cols[c].load::<2>(l, from, true) };
                }
            }
        }
        for r in 0..4 {
            d[r] = turn(d[r]);
        }
        for c in 0..4 {
            let column = turn([d[0][c], d[1][c], d[2][c], d[3][c]]);
            for r in 0..4 {
                // SAFETY: the caller's promise.
                unsafe { l.store_n(dst.wrapping_add((4 * r + c) * g.dst_point), column[r], g.tiles) };
            }
        }
        channel = channel.wrapping_offset(g.channel_stride);
        dst = dst.wrapping_add(g.dst_channel);
    }
}

/// `Aᵀ m A` of each tile, plus the bias.
///
/// # Safety
/// As for [`input`].
#[inline(always)]
pub(crate) unsafe fn output<T: Copy + Default, L: Lanes<T>>(l: L, minus: T, g: &OutputArgs<T>) {
    let minus = l.splat(minus);
    let sub = |a, b| l.fma(b, minus, a);
    let turn = |m: [L::V; 4]| [l.add(l.add(m[0], m[1]), m[2]), sub(sub(m[1], m[2]), m[3])];
    // Columns 0 and 1 of each tile.
    let masks = [l.even(0, g.cols.div_ceil(2)), l.even(0, g.cols / 2)];
    let (mut src, mut dst) = (g.src, g.dst);
    for row in 0..g.rows {
        let mut half = [[l.splat(T::default()); 4]; 2];
        for c in 0..4 {
            // SAFETY: the caller's promise.
            let column =
                std::array::from_fn(|r| unsafe { l.load_n(src.wrapping_add((4 * r + c) * g.src_point), g.tiles) });
            [half[0][c], half[1][c]] = turn(column);
        }
        for line in 0..g.lines {
            let pair = turn(half[line]);
            for c in 0..2 {
                let to = dst.wrapping_offset(line as isize * g.dst_row).wrapping_add(c);
                // SAFETY: the caller's promise; the masks leave out columns that do not exist.
                unsafe {
                    let v = if g.bias.is_null() {
                        pair[c]
                    } else {
                        l.add(pair[c], l.splat(*g.bias.add(row)))
                    };
                    l.store_even(to, v, masks[c]);
                }
            }
        }
        src = src.wrapping_add(g.src_row);
        dst = dst.wrapping_offset(g.dst_channel);
    }
}

/// Whether [`convolve`] computes this.
pub(super) fn takes<T>(g: &Gather, weights: &Weights<T>, images: &Images<T>) -> bool {
    let follow = |taps: &[isize]| taps.len() == 3 && taps[1] == taps[0] + 1 && taps[2] == taps[1] + 1;
    g.grid[0] == 1
        && g.offsets[0] == [0]
        && g.step == [1; 3]
        && g.grid[1] > 1
        && g.grid[2] > 1
        && follow(&g.offsets[1])
        && follow(&g.offsets[2])
        && images.src_strides[4] == 1
        && images.dst_strides[4] == 1
        && weights.rows.min(weights.channels) >= LEAST_CHANNELS
        && images.count * g.grid[1].div_ceil(2) * g.grid[2].div_ceil(2) >= LEAST_TILES
}

struct Shared<T>(Weights<T>, Images<T>, *mut T, *const T);
// SAFETY: plain data; tasks write disjoint rows or tiles.
unsafe impl<T: Sync> Sync for Shared<T> {}

/// [`super::gather::gather`] for what [`takes`] accepts.
///
/// # Safety
/// As for `gather`.
pub(super) unsafe fn convolve<T: Copy + Default + HasKernels + Send + Sync>(
    kernels: &'static Kernels<T>,
    g: &Gather,
    weights: Weights<T>,
    images: Images<T>,
    bias: *const T,
) {
    let (rows, channels, groups) = (weights.rows, weights.channels, weights.groups);
    let (high, wide) = (g.grid[1].div_ceil(2), g.grid[2].div_ceil(2));
    let tiles = images.count * high * wide;
    let kc = even_part(channels, longest_k::<T>());
    let most = (BLOCK_BYTES / (POINTS * (rows + channels) * size_of::<T>() * kernels.nr)).max(LEAST_PANELS);
    let block = even_part(tiles.div_ceil(kernels.nr), most) * kernels.nr;
    let blocks = tiles.div_ceil(block);
    with_shared(|packed| {
        let packed = packed.reserve::<T>(groups * POINTS * rows * channels);
        let shared = Shared(weights, images, packed, bias);
        // SAFETY: the caller's promise.
        unsafe { transform_weights(kernels, &shared, kc) };
        parallel::for_range(groups * blocks, 1, |tasks| {
            with_scratch(|[panels, products, ..]| {
                for task in tasks {
                    let (group, first) = (task / blocks, task % blocks * block);
                    let count = block.min(tiles - first);
                    let v = panels.reserve::<T>(POINTS * channels * block);
                    let m = products.reserve::<T>(POINTS * rows * block);
                    let work = Work {
                        group,
                        first,
                        count,
                        block,
                        kc,
                        v,
                        m,
                    };
                    // SAFETY: the caller's promise.
                    unsafe {
                        work.each_run(kernels, g, |run| work.input(kernels, g, &shared, run));
                        work.multiply(kernels, &shared);
                        work.each_run(kernels, g, |run| work.output(kernels, g, &shared, run));
                    }
                }
            });
        });
    });
}

/// `G g Gᵀ` of all filters, packed as left operands: `[group][k block][point]`.
///
/// # Safety
/// As for [`convolve`].
unsafe fn transform_weights<T: Copy + Default + HasKernels + Send + Sync>(
    kernels: &'static Kernels<T>,
    shared: &Shared<T>,
    kc: usize,
) {
    let (rows, channels) = (shared.0.rows, shared.0.channels);
    let panels = rows.div_ceil(kernels.tiles.len());
    parallel::for_range(
        shared.0.groups * panels,
        (16_384 / (channels * kernels.tiles.len())).max(1),
        |tasks| {
            let Shared(weights, _, packed, _) = shared;
            // Some channels at a time: the points' panels lie far apart, often at a distance that fits one set of the cache.
            let tall = kernels.tiles.len();
            let mut staged = vec![T::default(); POINTS * tall * SOME];
            let mut packed_some = vec![T::default(); tall * SOME + SLACK];
            for task in tasks {
                let (group, index) = (task / panels, task % panels);
                let (row, height) = panel(rows, panels, index);
                let at = group as isize * weights.group_stride + row as isize * weights.row_stride;
                let filters = weights.data.wrapping_offset(at);
                for p in (0..channels).step_by(kc) {
                    let depth = kc.min(channels - p);
                    let panels = packed.wrapping_add((group * channels + p) * POINTS * rows + row * depth);
                    for from in (0..depth).step_by(SOME) {
                        let count = SOME.min(depth - from);
                        for i in 0..height {
                            let taps = filters.wrapping_offset(i as isize * weights.row_stride);
                            let mut some = [[T::default(); SOME]; 9];
                            for c in 0..count {
                                for t in 0..9 {
                                    // SAFETY: the caller's promise.
                                    some[t][c] = unsafe { *taps.wrapping_add(9 * (p + from + c) + t) };
                                }
                            }
                            for (point, v) in filter(some).iter().enumerate() {
                                staged[(point * tall + i) * SOME..][..SOME].copy_from_slice(v);
                            }
                        }
                        for point in 0..POINTS {
                            let args = PackArgs {
                                src: staged[point * tall * SOME..].as_ptr(),
                                line_stride: SOME as isize,
                                k_stride: 1,
                                lines: height,
                                width: height,
                                k: count,
                                dst: packed_some.as_mut_ptr(),
                            };
                            let to = panels.wrapping_add(point * depth * rows + from * height);
                            // SAFETY: `packed` holds all panels, and this one is this task's; the packing's excess stays
                            // in its own buffer.
                            unsafe {
                                (kernels.pack)(&args);
                                std::ptr::copy_nonoverlapping(packed_some.as_ptr(), to, count * height);
                            }
                        }
                    }
                }
            }
        },
    );
}

/// Filters transformed at once.
const SOME: usize = 16;

/// Some filters' transforms.
fn filter<T: Copy + Default + HasKernels>(g: [[T; SOME]; 9]) -> [[T; SOME]; POINTS] {
    let turn = |a: [T; SOME], b: [T; SOME], c: [T; SOME]| {
        let mut out = [a, a, a, c];
        for i in 0..SOME {
            let ends = a[i] + c[i];
            out[1][i] = T::HALF * (ends + b[i]);
            out[2][i] = T::HALF * (ends - b[i]);
        }
        out
    };
    // Columns first, then lines.
    let columns: [[[T; SOME]; 4]; 3] = std::array::from_fn(|j| turn(g[j], g[3 + j], g[6 + j]));
    let mut all = [[T::default(); SOME]; POINTS];
    for i in 0..4 {
        let line = turn(columns[0][i], columns[1][i], columns[2][i]);
        all[4 * i..][..4].copy_from_slice(&line);
    }
    all
}

/// Tiles `first..first + count` of one group.
struct Work<T> {
    group: usize,
    first: usize,
    count: usize,
    block: usize,
    kc: usize,
    v: *mut T,
    m: *mut T,
}

/// Tiles next to each other: the first's number in the block, its image and place there, how many.
struct Run {
    at: usize,
    image: isize,
    line: usize,
    col: usize,
    tiles: usize,
}

impl<T: Copy + Default + HasKernels + Send + Sync> Work<T> {
    /// Calls `f` for runs that lie in one line of an image, one panel and one vector.
    ///
    /// # Safety
    /// What `f` asks for.
    unsafe fn each_run(&self, kernels: &Kernels<T>, g: &Gather, f: impl Fn(Run)) {
        let (high, wide) = (g.grid[1].div_ceil(2), g.grid[2].div_ceil(2));
        let mut at = 0;
        while at < self.count {
            let tile = self.first + at;
            let col = tile % wide;
            let tiles = (wide - col)
                .min(self.count - at)
                .min(kernels.nr - at % kernels.nr)
                .min(kernels.narrow);
            f(Run {
                at,
                image: (tile / (high * wide)) as isize,
                line: tile / wide % high,
                col,
                tiles,
            });
            at += tiles;
        }
    }

    /// # Safety
    /// As for [`convolve`].
    unsafe fn input(&self, kernels: &Kernels<T>, g: &Gather, shared: &Shared<T>, run: Run) {
        let (weights, images) = (&shared.0, &shared.1);
        let [xi, xc, _, xr, _] = images.src_strides;
        let panel = run.at / kernels.nr * kernels.nr;
        let width = panel_width(kernels, kernels.nr.min(self.count - panel));
        for p in (0..weights.channels).step_by(self.kc) {
            let depth = self.kc.min(weights.channels - p);
            let channel = (self.group * weights.channels + p) as isize;
            let dst = POINTS * p * self.block + panel * depth + run.at % kernels.nr;
            let args = InputArgs {
                src: images.src.wrapping_offset(run.image * xi + channel * xc),
                channel_stride: xc,
                channels: depth,
                row_stride: xr,
                size: [g.size[1], g.size[2]],
                line: 2 * run.line as isize + g.offsets[1][0],
                col: 2 * run.col as isize + g.offsets[2][0],
                tiles: run.tiles,
                dst: self.v.wrapping_add(dst),
                dst_channel: width,
                dst_point: depth * self.block,
            };
            // SAFETY: the caller's promise.
            unsafe { (kernels.winograd_input)(&args) };
        }
    }

    /// # Safety
    /// As for [`convolve`].
    unsafe fn multiply(&self, kernels: &'static Kernels<T>, shared: &Shared<T>) {
        let (rows, channels) = (shared.0.rows, shared.0.channels);
        for p in (0..channels).step_by(self.kc) {
            let depth = self.kc.min(channels - p);
            for point in 0..POINTS {
                let a = shared
                    .2
                    .wrapping_add(((self.group * channels + p) * POINTS + point * depth) * rows);
                let b = self.v.wrapping_add((POINTS * p + point * depth) * self.block);
                let product = Gemm {
                    m: rows,
                    n: self.count,
                    k: depth,
                    c: self.m.wrapping_add(point * rows * self.block),
                    c_rs: self.block as isize,
                    c_cs: 1,
                    from_c: p > 0,
                    ..Gemm::empty()
                };
                // SAFETY: both operands lie packed in buffers of this size.
                unsafe { product.run_tiles(kernels, a, b, std::ptr::null_mut()) };
            }
        }
    }

    /// # Safety
    /// As for [`convolve`].
    unsafe fn output(&self, kernels: &Kernels<T>, g: &Gather, shared: &Shared<T>, run: Run) {
        let (weights, images) = (&shared.0, &shared.1);
        let [yi, yc, _, yr, _] = images.dst_strides;
        let channel = self.group * weights.rows;
        let (line, col) = (2 * run.line, 2 * run.col);
        let at = run.image * yi + channel as isize * yc + line as isize * yr + col as isize;
        let args = OutputArgs {
            src: self.m.wrapping_add(run.at),
            src_row: self.block,
            src_point: weights.rows * self.block,
            rows: weights.rows,
            tiles: run.tiles,
            dst: images.dst.wrapping_offset(at),
            dst_channel: yc,
            dst_row: yr,
            lines: 2.min(g.grid[1] - line),
            cols: (2 * run.tiles).min(g.grid[2] - col),
            bias: if shared.3.is_null() {
                shared.3
            } else {
                shared.3.wrapping_add(channel)
            },
        };
        // SAFETY: the caller's promise; each tile is written by one task.
        unsafe { (kernels.winograd_output)(&args) };
    }
}
