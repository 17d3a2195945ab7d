//! Forward pass and gradient of the input. Blocks of tiles or blocks of filters are the outer loop, whichever has less to
//! keep; what belongs to a block stays in the second-level cache from its transform to the transform back. Each sum is
//! one chain over the channels, so neither choice nor blocks show in the bits.

use super::super::gather::Images;
use super::transform::{FilterArgs, OutputArgs, strip};
use super::{Place, Plan, Planes, Product, Then, apart, fill, in_panel, parts, whole};
use crate::gemm::{HasKernels, Kernels, even_part, new_name, with_scratch, with_shared};
use crate::parallel;
use std::ops::Range;

/// Bytes of a group's transformed filters up to which all are kept; of a block's tiles and sums; of all tiles at once.
const FILTERS: usize = 2 << 20;
const BLOCK: usize = 200_000;
const TILES: usize = 6 << 20;
/// So many threads each transform for themselves what they share (filters up to so many bytes, or tiles): reading what
/// another core has just written takes longer (128 channels on 28², two cores that share no cache: 436 µs, one thread 360).
pub(super) const OWN_THREADS: usize = 4;
const OWN: usize = 4 << 20;
/// Channels, and outputs, of a block of filters; outputs of a block of tiles.
const DEEP: usize = 128;
const WIDE: usize = 32;
const NEAR: usize = 64;
/// Least tiles of a block, and most where filters are the outer loop.
const LEAST_TILES: usize = 28;
const MOST_TILES: usize = 256;

/// Filters next to each other: `rows` outputs by `channels` per group, their taps one after another.
pub(in crate::conv) struct Filters<T> {
    pub data: *const T,
    pub groups: usize,
    pub rows: usize,
    pub channels: usize,
    pub group_stride: isize,
    pub row_stride: isize,
    pub channel_stride: isize,
    /// Taps in reverse order.
    pub reversed: bool,
}

impl<T> Filters<T> {
    /// Those of contiguous weights: `rows` outputs by `channels` of a pass. The gradient of the input takes both the other
    /// way round, and with stride one the taps in reverse.
    pub fn new(plan: &Plan, data: *const T, [groups, rows, channels]: [usize; 3], gradient: bool) -> Self {
        let taps = plan.taps.iter().product::<usize>();
        let (mut row_stride, mut channel_stride) = ((taps * channels) as isize, taps as isize);
        if gradient {
            (row_stride, channel_stride) = (taps as isize, (taps * rows) as isize);
        }
        Self {
            data,
            groups,
            rows,
            channels,
            group_stride: (taps * rows * channels) as isize,
            row_stride,
            channel_stride,
            reversed: gradient && plan.form.plain(),
        }
    }
}

impl<T: Copy + Default + HasKernels + Send + Sync> Filters<T> {
    /// Those of all passes that are added, as if they were channels: `[group][output][pass][channel][tap]`, where taps that do
    /// not exist are zero; in `all`, which has that size.
    ///
    /// # Safety
    /// As for [`convolve`].
    unsafe fn of_passes(&self, plan: &Plan, all: *mut T) {
        struct Shared<'a, T>(&'a Filters<T>, *mut T);
        // SAFETY: tasks write disjoint rows.
        unsafe impl<T: Sync> Sync for Shared<'_, T> {}
        let ([down, across], [high, wide]) = (plan.passes(), plan.form.0.map(|f| f.taps()));
        let ([lines, columns], row) = (plan.taps, down * across * self.channels * high * wide);
        let shared = Shared(self, all);
        let copy = |task: usize| {
            let Shared(f, to) = &shared;
            let (group, output) = ((task / f.rows) as isize, (task % f.rows) as isize);
            let from = f.data.wrapping_offset(group * f.group_stride + output * f.row_stride);
            let mut to = to.wrapping_add(task * row);
            for (pass, channel) in (0..down * across).flat_map(|p| (0..f.channels).map(move |c| (p, c))) {
                let from = from.wrapping_offset(channel as isize * f.channel_stride);
                let (first, left) = (pass / across * high, pass % across * wide);
                for i in first..first + high {
                    let known = if i < lines { wide.min(columns - left) } else { 0 };
                    let (from, step) = match f.reversed {
                        true => (
                            from.wrapping_add((lines * columns).wrapping_sub(i * columns + left + 1)),
                            -1,
                        ),
                        false => (from.wrapping_add(i * columns + left), 1),
                    };
                    // SAFETY: the caller's promise.
                    unsafe {
                        match wide {
                            3 => line::<T, 3>(from, step, known, to),
                            4 => line::<T, 4>(from, step, known, to),
                            _ => line::<T, 1>(from, step, known, to),
                        }
                    }
                    to = to.wrapping_add(wide);
                }
            }
        };
        parallel::for_range(self.groups * self.rows, (16_384 / row).max(1), |tasks| {
            tasks.for_each(copy)
        });
    }
}

/// `N` taps, of which the first `known` exist.
///
/// # Safety
/// These can be read, and `N` written.
#[inline(always)]
unsafe fn line<T: Copy + Default, const N: usize>(from: *const T, step: isize, known: usize, to: *mut T) {
    for j in 0..N {
        let tap = from.wrapping_offset(step * j as isize);
        // SAFETY: the caller's promise.
        unsafe { *to.wrapping_add(j) = if j < known { *tap } else { T::default() } };
    }
}

struct Pass<T: 'static> {
    kernels: &'static Kernels<T>,
    plan: Plan,
    filters: Filters<T>,
    images: Images<T>,
    bias: *const T,
    /// Tiles of an image.
    all: [usize; 2],
    /// Channels at once.
    depth: usize,
}
// SAFETY: plain data; tasks write disjoint tiles of disjoint outputs.
unsafe impl<T: Sync> Sync for Pass<T> {}

/// An address that tasks share; they write disjoint parts behind it.
#[derive(Clone, Copy)]
struct At<T>(*mut T);
// SAFETY: see above.
unsafe impl<T: Sync> Sync for At<T> {}

/// For every image, group and position: `dst[row] = sum over k of filters[row][k] * patch[k]`, plus `bias[row]`.
///
/// # Safety
/// [`Plan::takes`] said yes; all addresses that the arguments describe are live; `bias` is null or has one element per
/// group and row; `kernels` fit the CPU.
pub(in crate::conv) unsafe fn convolve<T>(
    kernels: &'static Kernels<T>,
    plan: Plan,
    filters: Filters<T>,
    images: Images<T>,
    bias: *const T,
) where
    T: Copy + Default + HasKernels + Send + Sync,
{
    let passes = plan.passes().iter().product::<usize>();
    if passes == 1 {
        // SAFETY: the caller's promise.
        return unsafe { convolve_once(kernels, plan, filters, images, bias) };
    }
    let (channels, taps) = (passes * filters.channels, plan.form.taps());
    with_shared(|all| {
        let all = all.reserve::<T>(filters.groups * filters.rows * channels * taps);
        // SAFETY: the caller's promise, and the buffer holds all filters.
        unsafe {
            filters.of_passes(&plan, all);
            let filters = Filters {
                data: all,
                channels,
                group_stride: (filters.rows * channels * taps) as isize,
                row_stride: (channels * taps) as isize,
                channel_stride: taps as isize,
                reversed: false,
                ..filters
            };
            convolve_once(kernels, plan, filters, images, bias);
        }
    });
}

/// [`convolve`] with the filters of all passes.
///
/// # Safety
/// As there.
unsafe fn convolve_once<T>(
    kernels: &'static Kernels<T>,
    plan: Plan,
    filters: Filters<T>,
    images: Images<T>,
    bias: *const T,
) where
    T: Copy + Default + HasKernels + Send + Sync,
{
    let depth = even_part(filters.channels, DEEP).next_multiple_of(kernels.narrow);
    let pass = Pass {
        kernels,
        plan,
        filters,
        images,
        bias,
        all: plan.tiles(),
        depth,
    };
    let bytes = pass.values() * pass.filters.rows * pass.filters.channels * size_of::<T>();
    let few = bytes <= FILTERS && pass.filters.groups * bytes <= 16 * FILTERS;
    // SAFETY: the caller's promise.
    unsafe {
        if few {
            pass.tiles_outside();
        } else {
            pass.filters_outside();
        }
    }
}

impl<T: Copy + Default + HasKernels + Send + Sync> Pass<T> {
    /// Points of a tile, and values of a filter: as many as differ.
    fn points(&self) -> usize {
        self.plan.form.points()
    }

    fn values(&self) -> usize {
        self.plan.form.values()
    }

    fn tiles(&self) -> usize {
        self.images.count * self.all[0] * self.all[1]
    }

    /// Elements of a row of transformed tiles.
    fn row(&self) -> usize {
        let row = whole(self.kernels, self.filters.channels);
        // Rows at a distance of 4096 bytes fall into one set of the cache.
        row + if (row * size_of::<T>()).is_multiple_of(1024) {
            16
        } else {
            0
        }
    }

    /// All filters transformed first, then block after block of tiles.
    ///
    /// # Safety
    /// As for [`convolve`].
    unsafe fn tiles_outside(&self) {
        let (kernels, groups) = (self.kernels, self.filters.groups);
        let (rows, channels) = (whole(kernels, self.filters.rows), self.filters.channels);
        let row = self.row();
        let wide = even_part(rows, NEAR.next_multiple_of(kernels.nr)).next_multiple_of(kernels.nr);
        let most = (BLOCK / (self.points() * (row + wide) * size_of::<T>())).max(LEAST_TILES);
        let threads = parallel::threads();
        let most = most.min(self.tiles().div_ceil(threads).max(LEAST_TILES / 2));
        let mut blocks = self.tiles().div_ceil(most);
        if groups * blocks < 8 * threads {
            // So few that each thread should have as many as the others.
            blocks = blocks.next_multiple_of(threads);
        }
        let block = self.tiles().div_ceil(blocks);
        let blocks = self.tiles().div_ceil(block);
        let vectors = rows / kernels.narrow;
        let parts = channels.div_ceil(self.depth);
        // Of one group: parts of channels, in each all points.
        let (point, group_size) = (
            apart(rows * self.depth),
            parts * self.values() * apart(rows * self.depth),
        );
        let transform = |u: *mut T, tasks: Range<usize>| {
            for (group, vector) in tasks.map(|t| (t / vectors, t % vectors * kernels.narrow)) {
                for part in 0..parts {
                    let at = u.wrapping_add(group * group_size + part * self.values() * point);
                    // SAFETY: the buffer holds all filters; each vector of them is one task's.
                    unsafe { self.filter(group, vector, 0..rows, part, at, point) };
                }
            }
        };
        let size = groups * group_size;
        let own = (threads <= OWN_THREADS && size * size_of::<T>() <= OWN).then(new_name);
        with_shared(|shared| {
            let u = At(match own {
                Some(_) => std::ptr::null_mut(),
                None => shared.reserve::<T>(size),
            });
            if own.is_none() {
                let grain = (8192 / (channels * kernels.narrow)).max(1);
                let u = &u;
                parallel::for_range(groups * vectors, grain, |tasks| transform(u.0, tasks));
            }
            parallel::for_range(groups * blocks, 1, |tasks| {
                let u = &u;
                with_scratch(|[v, m, space, filters]| {
                    let u = match own {
                        Some(name) => filters.filled(size, name, |u| transform(u, 0..groups * vectors)),
                        None => u.0,
                    };
                    let v = Place::reserve(v, self.plan.form, block, row);
                    let m = Place::reserve(m, self.plan.form, block, wide);
                    let space = space.reserve::<T>(strip(self.plan.form, block));
                    for task in tasks {
                        let (group, first) = (task / blocks, task % blocks * block);
                        let some = first..self.tiles().min(first + block);
                        // SAFETY: the buffers hold a block.
                        unsafe {
                            for from in (0..channels).step_by(kernels.narrow) {
                                self.windows(group, from, some.clone(), v, space);
                            }
                            for from in (0..rows).step_by(wide) {
                                let outputs = from..rows.min(from + wide);
                                for part in 0..parts {
                                    // Panels of earlier outputs lie before.
                                    let before = part * self.values() * point + from * self.channels(part);
                                    let u = u.wrapping_add(group * group_size + before);
                                    self.multiply(part, some.len(), outputs.len(), (u, point), v, m);
                                }
                                self.outputs(group, outputs, some.clone(), m, space);
                            }
                        }
                    }
                });
            });
        });
    }

    /// All tiles transformed first (or as many as stay near), then block after block of filters.
    ///
    /// # Safety
    /// As for [`convolve`].
    unsafe fn filters_outside(&self) {
        let (kernels, groups) = (self.kernels, self.filters.groups);
        let (rows, channels) = (whole(kernels, self.filters.rows), self.filters.channels);
        let row = self.row();
        let most = (TILES / (self.points() * row * size_of::<T>())).clamp(LEAST_TILES, MOST_TILES);
        let block = even_part(self.tiles(), most);
        let wide = WIDE.next_multiple_of(kernels.nr);
        let (vectors, strips) = (channels.div_ceil(kernels.narrow), rows.div_ceil(wide));
        let windows = |group, tiles: Range<usize>, v: Place<T>, space: *mut T, which: Range<usize>| {
            for from in which.map(|t| t * kernels.narrow) {
                // SAFETY: the buffer holds all channels, and each vector of them is one task's.
                unsafe { self.windows(group, from, tiles.clone(), v, space) };
            }
        };
        let own = parallel::threads() <= OWN_THREADS;
        with_shared(|shared| {
            let v = (!own).then(|| Place::reserve(shared, self.plan.form, block, row));
            for (group, first) in (0..groups).flat_map(|g| (0..self.tiles()).step_by(block).map(move |t| (g, t))) {
                let some = first..self.tiles().min(first + block);
                if let Some(v) = &v {
                    parallel::for_range(vectors, (512 / some.len()).max(1), |tasks| {
                        with_scratch(|[_, _, space, _]| {
                            let space = space.reserve::<T>(strip(self.plan.form, block));
                            windows(group, some.clone(), *v, space, tasks);
                        });
                    });
                }
                let name = new_name();
                parallel::for_range(strips, 1, |tasks| {
                    let v = &v;
                    with_scratch(|[u, m, space, tiles]| {
                        let point = apart(wide * self.depth);
                        let u = u.reserve::<T>(self.values() * point);
                        let m = Place::reserve(m, self.plan.form, block, wide);
                        let space = space.reserve::<T>(strip(self.plan.form, block));
                        let v = v.unwrap_or_else(|| {
                            Place::filled(tiles, self.plan.form, [block, row], name, |v| {
                                windows(group, some.clone(), v, space, 0..vectors)
                            })
                        });
                        for from in tasks.map(|t| t * wide) {
                            let outputs = from..rows.min(from + wide);
                            // SAFETY: the buffers hold a block of filters and its sums.
                            unsafe {
                                for part in 0..channels.div_ceil(self.depth) {
                                    for vector in outputs.clone().step_by(kernels.narrow) {
                                        self.filter(group, vector, outputs.clone(), part, u, point);
                                    }
                                    self.multiply(part, some.len(), outputs.len(), (u, point), v, m);
                                }
                                self.outputs(group, outputs, some.clone(), m, space);
                            }
                        }
                    });
                });
            }
        });
    }

    /// Channels of a part.
    fn channels(&self, part: usize) -> usize {
        self.depth.min(self.filters.channels - part * self.depth)
    }

    /// Filters of a vector of outputs and a part of the channels, into the panels for `outputs`.
    ///
    /// # Safety
    /// `u` holds the points of all `outputs`.
    unsafe fn filter(&self, group: usize, vector: usize, outputs: Range<usize>, part: usize, u: *mut T, point: usize) {
        let (f, kernels) = (&self.filters, self.kernels);
        let channels = self.channels(part);
        let (at, width) = in_panel(kernels, vector - outputs.start, channels, outputs.len());
        let from = group as isize * f.group_stride
            + vector as isize * f.row_stride
            + (part * self.depth) as isize * f.channel_stride;
        let args = FilterArgs {
            form: self.plan.form,
            src: f.data.wrapping_offset(from),
            lane_stride: f.row_stride,
            lanes: f.rows.saturating_sub(vector).min(kernels.narrow),
            channel_stride: f.channel_stride,
            channels,
            reversed: f.reversed,
            dst: u.wrapping_add(at),
            dst_channel: width,
            dst_point: point,
        };
        // SAFETY: the caller's promise.
        unsafe { (kernels.winograd.filter)(&args) };
    }

    /// Windows of a vector of channels.
    ///
    /// # Safety
    /// `v` holds all channels of the tiles, `space` their strip.
    unsafe fn windows(&self, group: usize, from: usize, some: Range<usize>, v: Place<T>, space: *mut T) {
        let [image, channel, _, line, _] = self.images.src_strides;
        // Each of the passes that are added sees the images from another place.
        let [down, across] = self.plan.passes();
        let channels = self.filters.channels / (down * across);
        let first = (group * channels) as isize * channel;
        let (pass, at) = (from / channels, from % channels);
        let [high, wide] = self.plan.form.0.map(|f| f.taps());
        let planes = Planes {
            src: self.images.src.wrapping_offset(first),
            strides: [image, channel, line],
            channels,
            size: self.plan.size,
            start: [
                self.plan.start[0] + (pass / across * high) as isize,
                self.plan.start[1] + (pass % across * wide) as isize,
            ],
            form: self.plan.form,
            filters: false,
        };
        let to = Place {
            dst: v.dst.wrapping_add(from),
            ..v
        };
        // SAFETY: the caller's promise.
        unsafe { fill(self.kernels, &planes, at, self.all, some, &to, space, Then::Channels) };
    }

    /// Tiles times filters at all points, for a part of the channels.
    ///
    /// # Safety
    /// The operands, each with its distance between points, hold the tiles and outputs.
    unsafe fn multiply(
        &self,
        part: usize,
        tiles: usize,
        outputs: usize,
        (u, u_point): (*mut T, usize),
        v: Place<T>,
        m: Place<T>,
    ) {
        let form = self.plan.form;
        for value in 0..form.values() {
            for point in form.at(value) {
                let product = Product {
                    a: v.dst.wrapping_add(part * self.depth + point * v.point),
                    a_strides: [v.tile as isize, 1],
                    b: u.wrapping_add(value * u_point),
                    c: m.dst.wrapping_add(point * m.point),
                    c_row: m.tile,
                    from_c: part > 0,
                    adds: false,
                };
                // SAFETY: the caller's promise.
                unsafe { product.run(self.kernels, [tiles, outputs, self.channels(part)]) };
            }
        }
    }

    /// Sums to results.
    ///
    /// # Safety
    /// `m` holds the sums of these outputs, `space` a strip of them.
    unsafe fn outputs(&self, group: usize, outputs: Range<usize>, some: Range<usize>, m: Place<T>, space: *mut T) {
        let [image, channel, _, line, _] = self.images.dst_strides;
        let (kernels, rows) = (self.kernels, self.filters.rows);
        let (grid, side) = (self.plan.grid, self.plan.form.side());
        for part in parts(self.all, some) {
            for vector in (outputs.start..outputs.end.min(rows)).step_by(kernels.narrow) {
                let first = group * rows + vector;
                let (top, left) = (side[0] * part.row, side[1] * part.col);
                let at = part.image * image + first as isize * channel + top as isize * line + left as isize;
                let args = OutputArgs {
                    form: self.plan.form,
                    src: m.dst.wrapping_add(part.at * m.tile + vector - outputs.start),
                    src_tile: m.tile,
                    src_point: m.point,
                    rows: part.rows,
                    cols: part.cols,
                    dst: self.images.dst.wrapping_offset(at),
                    channel_stride: channel as usize,
                    channels: (rows - vector).min(kernels.narrow),
                    row_stride: line,
                    lines: (side[0] * part.rows).min(grid[0] - top),
                    width: (side[1] * part.cols).min(grid[1] - left),
                    bias: if self.bias.is_null() {
                        self.bias
                    } else {
                        self.bias.wrapping_add(first)
                    },
                    strip: space,
                };
                // SAFETY: the caller's promise; each tile of each output is written by one task.
                unsafe { (kernels.winograd.output)(&args) };
            }
        }
    }
}
