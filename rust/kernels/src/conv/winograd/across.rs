//! Few channels: tiles lie across the lanes of a vector. Where a group has only some channels, as an image has, sums over
//! them are short, and what surrounds the products decides: so nothing is turned, and a block's sums never leave the
//! first-level cache.
//!
//! The lines and columns of a phase (see [`super::phases`]) fall apart once more, by their remainder by three, the distance
//! of tiles. In such a plane a tile's element lies at the tile's own number plus a constant, if every line of tiles has one
//! more, of which nothing is written. Sums and transforms are those of [`super::passes`], term by term.

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

use super::super::ConvShape;
use super::super::gather::Images;
use super::super::ring::unrolled;
use super::forms::{Four, Results, Window};
use super::phases::Phases;
use super::transform::{FilterArgs, Math, row_of, starts};
use super::{Form, Forms};
use crate::gemm::{HasKernels, Kernels, new_name, with_scratch, with_shared};
use crate::parallel;
use crate::simd::vec::Lanes;
use std::ops::Range;

/// Most channels of a group; also the distance of a filter's neighbours.
pub(super) const MOST: usize = 16;
/// Least tiles of a line.
const LEAST: usize = 8;
/// Results of a tile's line; planes of a phase are as many squared.
const SIDE: usize = 3;
/// Phases of a channel.
const PHASES: usize = 4;
const POINTS: usize = Form::Four.points();
const TAPS: usize = Form::Four.taps() * Form::Four.taps();
/// Planes of a channel with all its phases.
const PLANES: usize = PHASES * SIDE * SIDE;
/// Most lanes of two vectors, and most outputs computed together.
const WIDE: usize = 32;
const OUTPUTS: usize = 8;
/// Elements between points that keep them out of one set of the cache.
const APART: usize = 16;
/// Elements of memory that [`AcrossArgs`] needs.
const SPACE: usize = POINTS * POINTS * (MOST * WIDE + APART) + (1 + SIDE) * POINTS * OUTPUTS * WIDE;

/// A line of an image to the columns of six planes.
pub(crate) struct ColumnsArgs<T> {
    /// The first element that exists, and which columns, counted from the padding's first, exist.
    pub src: *const T,
    pub known: Range<usize>,
    /// Tiles of a line, and one more.
    pub tiles: usize,
    /// Room for a block of tiles and a vector.
    pub line: *mut T,
    pub dst: *mut T,
    /// Elements from plane to plane.
    pub plane: usize,
}

/// Two vectors of tiles, from planes to results.
pub(crate) struct AcrossArgs<T> {
    pub planes: *const T,
    pub plane: usize,
    pub channels: usize,
    /// Tiles of a line, and one more; line and column of the first tile.
    pub tiles: usize,
    pub at: [usize; 2],
    /// `[block of outputs][point's column, line][output][channel]`, blocks of [`OUTPUTS`] and [`MOST`].
    pub filters: *const T,
    pub outputs: usize,
    /// Null, or one per output.
    pub bias: *const T,
    pub dst: *mut T,
    pub channel_stride: usize,
    pub row_stride: isize,
    pub grid: [usize; 2],
    pub space: *mut T,
}

impl Phases {
    /// Whether these phases are computed so.
    pub(crate) fn across(&self, s: &ConvShape) -> bool {
        let wide = self.plan.tiles()[1] >= LEAST;
        self.plan.form == Forms::both(Form::Four) && PHASES * s.c_in / s.groups() <= MOST && wide
    }

    /// [`Phases::convolve`], for filters that have their phases.
    ///
    /// # Safety
    /// As there; [`Phases::across`] said yes.
    pub(super) unsafe fn convolve_across<T>(
        &self,
        kernels: &'static Kernels<T>,
        s: &ConvShape,
        filters: &[T],
        images: Images<T>,
        bias: *const T,
    ) where
        T: Copy + Default + HasKernels + Send + Sync,
    {
        struct Shared<T>(*mut T, *const T, Images<T>);
        // SAFETY: addresses behind which tasks write disjoint elements.
        unsafe impl<T: Sync> Sync for Shared<T> {}
        let (groups, outputs) = (s.groups(), s.c_out / s.groups());
        let channels = PHASES * s.c_in / groups;
        let [high, wide] = self.plan.tiles().map(|n| n + 1);
        // A vector beyond the last tile reads no further than this.
        let count = ((high - 1) * wide).next_multiple_of(WIDE);
        let plane = (count + wide + 1).next_multiple_of(16);
        let image = s.c_in * PLANES * plane;
        let some = (super::phases::some() / (image * size_of::<T>())).clamp(1, s.n.max(1));
        let lines = 2 * SIDE * high;
        let pair = 2 * kernels.narrow;
        let units = ((high - 1) * wide).div_ceil(pair);
        let (size, name) = (POINTS * POINTS * outputs.next_multiple_of(OUTPUTS) * MOST, new_name());
        with_shared(|planes| {
            let shared = Shared(planes.reserve::<T>(some * image), bias, images);
            for first in (0..s.n).step_by(some) {
                let count = some.min(s.n - first);
                // Threads make what they will read.
                parallel::for_range(count * lines, (8192 / (s.c_in * wide)).max(1), |tasks| {
                    with_scratch(|[line, ..]| {
                        let line = line.reserve::<T>(2 * SIDE * WIDE);
                        for task in tasks {
                            let (of, at) = (task / lines, task % lines);
                            let shared = &shared;
                            let dst = shared.0.wrapping_add(of * image);
                            // SAFETY: the buffer holds so many images' planes; a line of each is written by one task.
                            unsafe { columns(kernels, s, &shared.2, [first + of, at], wide, line, dst, plane) };
                        }
                    });
                });
                parallel::for_range(count * groups * units, 1, |tasks| {
                    with_scratch(|[space, u, points, _]| {
                        let space = space.reserve::<T>(SPACE);
                        let u = u.filled(groups * size, name, |u: *mut T| {
                            let points = points.reserve::<T>(size);
                            for group in 0..groups {
                                let from = &filters[group * outputs * channels * TAPS..];
                                let u = u.wrapping_add(group * size);
                                // SAFETY: the buffers hold a group's filters, and those of all.
                                unsafe { transform(kernels, from, [outputs, channels], points, u) };
                            }
                        });
                        let Shared(planes, bias, images) = &shared;
                        for task in tasks {
                            let (of, group, unit) = (task / units / groups, task / units % groups, task % units);
                            let (tile, output) = (unit * pair, group * outputs);
                            let of_group = of * image + group * (channels / PHASES) * PLANES * plane;
                            let [to_image, channel, _, row_stride, _] = images.dst_strides;
                            let to = (first + of) as isize * to_image + output as isize * channel;
                            let args = AcrossArgs {
                                planes: planes.wrapping_add(of_group + tile),
                                plane,
                                channels,
                                tiles: wide,
                                at: [tile / wide, tile % wide],
                                filters: u.wrapping_add(group * size),
                                outputs,
                                bias: if bias.is_null() {
                                    *bias
                                } else {
                                    bias.wrapping_add(output)
                                },
                                dst: images.dst.wrapping_offset(to),
                                channel_stride: channel as usize,
                                row_stride,
                                grid: self.plan.grid,
                                space,
                            };
                            // SAFETY: the caller's promise; each tile of each output is written by one task.
                            unsafe { (kernels.winograd.across)(&args) };
                        }
                    });
                });
            }
        });
    }
}

/// A line of an image, counted from the padding's first, in all channels: plane `[channel][line's phase][line's
/// remainder][column's remainder][column's phase]`.
///
/// # Safety
/// The image lies in live memory; `line` has room for a line of `wide` tiles, `dst` for the image's planes.
#[allow(clippy::too_many_arguments, reason = "one caller")]
unsafe fn columns<T: Copy + Default + HasKernels>(
    kernels: &Kernels<T>,
    s: &ConvShape,
    images: &Images<T>,
    [image, at]: [usize; 2],
    wide: usize,
    line: *mut T,
    dst: *mut T,
    plane: usize,
) {
    let [to_image, to_channel, _, to_line, _] = images.src_strides;
    let last = 2 * SIDE * wide;
    let exists = (s.padding[1]..s.padding[1] + s.input[1]).contains(&at);
    let known = if exists {
        s.padding[2].min(last)..(s.padding[2] + s.input[2]).min(last)
    } else {
        0..0
    };
    let (tile, rest) = (at / (2 * SIDE), at % (2 * SIDE));
    for c in 0..s.c_in {
        let first = image as isize * to_image + c as isize * to_channel;
        let row = at as isize - s.padding[1] as isize;
        let args = ColumnsArgs {
            src: images.src.wrapping_offset(first + row * to_line),
            known: known.clone(),
            tiles: wide,
            line,
            dst: dst.wrapping_add(((c * 2 + rest % 2) * SIDE + rest / 2) * 2 * SIDE * plane + tile * wide),
            plane,
        };
        // SAFETY: the caller's promise.
        unsafe { (kernels.winograd.columns)(&args) };
    }
}

/// Filters of a group to their points, then to blocks that are read from the first element to the last.
///
/// # Safety
/// Both `points` and `u` have room for all points of as many outputs as are computed.
unsafe fn transform<T: Copy + Default + HasKernels>(
    kernels: &Kernels<T>,
    filters: &[T],
    [outputs, channels]: [usize; 2],
    points: *mut T,
    u: *mut T,
) {
    let point = outputs.next_multiple_of(OUTPUTS) * MOST;
    for from in (0..channels).step_by(kernels.narrow) {
        let args = FilterArgs {
            form: Forms::both(Form::Four),
            src: filters[from * TAPS..].as_ptr(),
            lane_stride: TAPS as isize,
            lanes: (channels - from).min(kernels.narrow),
            channel_stride: (channels * TAPS) as isize,
            channels: outputs,
            reversed: false,
            dst: points.wrapping_add(from),
            dst_channel: MOST,
            dst_point: point,
        };
        // SAFETY: the caller's promise.
        unsafe { (kernels.winograd.filter)(&args) };
    }
    let mut u = u;
    for from in (0..point).step_by(OUTPUTS * MOST) {
        for at in 0..POINTS * POINTS {
            let at = at % POINTS * POINTS + at / POINTS;
            // SAFETY: the caller's promise.
            unsafe { std::ptr::copy_nonoverlapping(points.add(at * point + from), u, OUTPUTS * MOST) };
            u = u.wrapping_add(OUTPUTS * MOST);
        }
    }
}

impl<T: Copy + Default + From<f32>, L: Lanes<T>> Math<T, L> {
    /// # Safety
    /// What the arguments describe lies in live memory.
    #[inline(always)]
    pub(super) unsafe fn columns(self, g: &ColumnsArgs<T>) {
        let l = self.l;
        for tile in (0..g.tiles).step_by(L::BLOCK) {
            // Step back rather than write beyond the line.
            let tile = tile.min(g.tiles - L::BLOCK);
            let some = 2 * SIDE * tile..2 * SIDE * (tile + L::BLOCK);
            let inside = some.start.max(g.known.start)..some.end.min(g.known.end);
            let mut first = g.src.wrapping_add(some.start).wrapping_sub(g.known.start);
            // SAFETY: the caller's promise; the line has room for a block and a vector.
            unsafe {
                if inside != some {
                    for p in (0..some.len()).step_by(L::N) {
                        l.store(g.line.wrapping_add(p), self.zero);
                    }
                    let to = g.line.wrapping_add(inside.start.saturating_sub(some.start));
                    let from = g.src.wrapping_add(inside.start - g.known.start);
                    for p in (0..inside.len()).step_by(L::N) {
                        let left = inside.len() - p;
                        l.store_n(to.wrapping_add(p), l.load_n(from.wrapping_add(p), left), left);
                    }
                    first = g.line;
                }
                let rows = starts(first, (2 * SIDE) as isize);
                for p in (0..2 * SIDE).step_by(L::BLOCK) {
                    let dst = g.dst.wrapping_add(p * g.plane + tile);
                    l.transpose(&rows[..L::BLOCK], p as isize, 2 * SIDE - p, dst, g.plane);
                }
            }
        }
    }

    /// As many outputs at a time as have room in the registers.
    ///
    /// # Safety
    /// As for `columns`.
    #[inline(always)]
    pub(super) unsafe fn across(self, g: &AcrossArgs<T>) {
        // SAFETY: the caller's promise.
        unsafe {
            // Sixteen registers of eight lanes; the others have thirty-two.
            if L::N == 8 {
                self.blocks::<4>(g)
            } else {
                self.blocks::<OUTPUTS>(g)
            }
        }
    }

    /// # Safety
    /// As for `columns`.
    #[inline(always)]
    unsafe fn blocks<const O: usize>(self, g: &AcrossArgs<T>) {
        let wide = 2 * L::N;
        let point = g.channels * wide + APART;
        let sums = g.space.wrapping_add(POINTS * POINTS * point);
        let halves = sums.wrapping_add(POINTS * O * wide);
        let places = [0, L::N].map(|v| {
            let at = g.at[1] + v;
            [g.at[0] + at / g.tiles, at % g.tiles]
        });
        // SAFETY: the caller's promise; so below.
        unsafe {
            self.windows_across(g, point);
            for from in (0..g.outputs).step_by(O) {
                let block = POINTS * POINTS * OUTPUTS * MOST;
                let filters = g.filters.wrapping_add(from / OUTPUTS * block + from % OUTPUTS * MOST);
                for c in 0..POINTS {
                    for r in 0..POINTS {
                        let at = POINTS * c + r;
                        self.products::<O>(
                            g.channels,
                            filters.wrapping_add(at * OUTPUTS * MOST),
                            g.space.wrapping_add(at * point),
                            sums.wrapping_add(r * O * wide),
                        );
                    }
                    for v in (0..O * wide).step_by(L::N) {
                        let some = Four::results(self, self.get::<POINTS>(sums.wrapping_add(v), O * wide));
                        self.put(halves.wrapping_add(c * SIDE * O * wide + v), O * wide, some);
                    }
                }
                for v in 0..2 {
                    let halves = halves.wrapping_add(v * L::N);
                    self.finish::<O>(g, from, halves, places[v]);
                }
            }
        }
    }

    /// Results of `O` outputs and one vector of tiles, the first of which lies at `place`.
    ///
    /// # Safety
    /// As for `columns`.
    #[inline(always)]
    unsafe fn finish<const O: usize>(self, g: &AcrossArgs<T>, from: usize, halves: *const T, place: [usize; 2]) {
        let (l, wide, outputs) = (self.l, 2 * L::N, O.min(g.outputs - from));
        let (mut at, [mut row, mut col]) = (0, place);
        // The rest of this line, and what follows on the next ones.
        while at < L::N && SIDE * row < g.grid[0] {
            let count = (g.tiles - col).min(L::N - at);
            let width = (SIDE * count).min(g.grid[1].saturating_sub(SIDE * col));
            let first = g.dst.wrapping_add(from * g.channel_stride + SIDE * col);
            let high = SIDE.min(g.grid[0] - SIDE * row);
            for (o, i) in (0..outputs).flat_map(|o| (0..high).map(move |i| (o, i))) {
                let to = first.wrapping_add(o * g.channel_stride);
                let to = to.wrapping_offset((SIDE * row + i) as isize * g.row_stride);
                // SAFETY: the caller's promise; only results of this line are stored.
                unsafe {
                    let results = self.result::<O>(g, from + o, halves.wrapping_add((i * O + o) * wide));
                    if width == SIDE * L::N {
                        l.store_triples(to, results);
                    } else {
                        let part = SIDE * at..SIDE * at + width;
                        l.store_triples_part(to.wrapping_sub(SIDE * at), results, part);
                    }
                };
            }
            (at, row, col) = (at + count, row + 1, 0);
        }
    }

    /// A line of one output's results.
    ///
    /// # Safety
    /// As for `columns`.
    #[inline(always)]
    unsafe fn result<const O: usize>(self, g: &AcrossArgs<T>, output: usize, halves: *const T) -> [L::V; SIDE] {
        // SAFETY: the caller's promise.
        let mut results = Four::results(self, unsafe { self.get::<POINTS>(halves, SIDE * O * 2 * L::N) });
        if !g.bias.is_null() {
            // SAFETY: as above.
            let bias = self.l.splat(unsafe { *g.bias.wrapping_add(output) });
            for c in 0..SIDE {
                results[c] = self.add(results[c], bias);
            }
        }
        results
    }

    /// Tiles of all channels to their points, `[point][channel][tile]`.
    ///
    /// # Safety
    /// As for `columns`.
    #[inline(always)]
    unsafe fn windows_across(self, g: &AcrossArgs<T>, point: usize) {
        for (k, v) in (0..g.channels).flat_map(|k| [(k, 0), (k, L::N)]) {
            let src = g.planes.wrapping_add((k / 2 * 2 * SIDE * SIDE + k % 2) * g.plane + v);
            let mut columns = [[self.zero; POINTS]; POINTS];
            for c in 0..POINTS {
                let mut line = [self.zero; POINTS];
                for r in 0..POINTS {
                    let plane = (r % SIDE * 2 * SIDE + c % SIDE * 2) * g.plane;
                    // SAFETY: the caller's promise.
                    line[r] = unsafe { self.l.load(src.wrapping_add(plane + r / SIDE * g.tiles + c / SIDE)) };
                }
                columns[c] = Four::window(self, line);
            }
            let to = g.space.wrapping_add(2 * L::N * k + v);
            for r in 0..POINTS {
                let row = Four::window(self, row_of(&columns, r));
                // SAFETY: as above.
                unsafe { self.put(to.wrapping_add(r * point), POINTS * point, row) };
            }
        }
    }

    /// Sums over the channels at one point: of `O` outputs and two vectors of tiles.
    ///
    /// # Safety
    /// As for `columns`.
    #[inline(always)]
    unsafe fn products<const O: usize>(self, channels: usize, filters: *const T, tiles: *const T, sums: *mut T) {
        let l = self.l;
        let mut acc = [[self.zero; 2]; O];
        for first in (0..channels).step_by(PHASES) {
            // All phases of a channel: a loop that is not unrolled counts more than it computes.
            unrolled!(k < PHASES, {
                let from = tiles.wrapping_add(2 * L::N * (first + k));
                // SAFETY: the caller's promise; so below.
                let x = unsafe { [l.load(from), l.load(from.wrapping_add(L::N))] };
                for o in 0..O {
                    // SAFETY: as above.
                    let w = l.splat(unsafe { *filters.wrapping_add(o * MOST + first + k) });
                    acc[o][0] = l.fma(x[0], w, acc[o][0]);
                    acc[o][1] = l.fma(x[1], w, acc[o][1]);
                }
            });
        }
        for o in 0..O {
            // SAFETY: as above.
            unsafe { self.put(sums.wrapping_add(2 * L::N * o), L::N, acc[o]) };
        }
    }
}
