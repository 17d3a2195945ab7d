//! Small images: products whose columns are images. A position of the result is the sum of one product for each tap that
//! sees the image there; what taps see of the padding costs nothing. On two by two positions 3x3 taps see the image four
//! times in nine, on a single one once.

use super::ConvShape;
use super::gather::Images;
use super::lines::LineTile;
use super::weight::Problem;
use super::window::WINDOW_ROWS;
use super::winograd::some;
use crate::gemm::{HasKernels, Kernels, even_part, panel_width, with_scratch, with_shared};
use crate::parallel;
use crate::simd::every::every;
use crate::simd::transpose::turn;
use std::ops::{Add, Range};

/// Most positions of the output and of the input: lines of more fill vectors as well.
const MOST: [usize; 2] = [49, 196];
/// The same of images with depth.
const MOST_DEEP: [usize; 2] = [125, 512];
/// The same of a single tap, and positions of both where it has no stride.
const MOST_OF_ONE: [usize; 2] = [16, 64];
const FEW: usize = 4;
/// Least channels in and out: steps and rows of a product.
const LEAST_CHANNELS: usize = 8;
/// Images of a vector.
const VECTOR: usize = 16;
/// Least images for the weights' gradient, whose products have as many steps.
const LEAST_IMAGES: usize = 4;
/// Bytes of the weights of a task, and of its sums for the weights' gradient.
const WEIGHTS: usize = 384 << 10;
const SUMS: usize = 256 << 10;
/// Rows of a task, at least.
const ROWS: usize = 16;
/// Products whose taps are picked one by one; of more all taps are turned together.
const FEW_TAPS: usize = 2;
/// Images in one chain of the weights' gradient, at most.
const CHAIN: usize = 256;
/// Elements that a task turns, at least.
const GRAIN: usize = 16_384;
/// Elements of an image that are turned together, and least positions of a channel.
const PIECE: usize = 512;
const TOGETHER: usize = 16;

/// The products of a pass.
pub(crate) struct Small {
    /// Positions of the result and of the source.
    pub(super) positions: [usize; 2],
    pub(super) taps: usize,
    /// Images, and the columns that their products take; as many if these are turned over.
    images: [usize; 2],
    /// Of each dim: result's position, tap and source's position where the tap sees the image from there; and how many there
    /// are of those.
    seen: [Vec<[usize; 3]>; 3],
    sizes: [[usize; 3]; 3],
}

/// Result's position, tap and source's position.
pub(super) type Product = [usize; 3];

#[derive(Clone, Copy)]
struct At<T>(*mut T);
// SAFETY: an address behind which tasks write disjoint parts.
unsafe impl<T: Sync> Sync for At<T> {}

#[derive(Clone, Copy)]
struct From<T>(*const T);
// SAFETY: an address that is read only.
unsafe impl<T: Sync> Sync for From<T> {}

impl Small {
    /// The forward pass of a shape that should be computed so, for images with these strides: the input's and the output's. If
    /// `back`, the gradient of the input will be.
    pub fn of(s: &ConvShape, input: [isize; 5], output: [isize; 5], back: bool) -> Option<Small> {
        if (1..VECTOR).contains(&s.n) {
            // Columns are channels: with few of them a product has little to do.
            let columns = if back { s.c_in } else { s.c_out } / s.groups();
            let few = (columns > WINDOW_ROWS)
                .then(|| Small::fitting(s, input, output, s.n))
                .flatten();
            // Beside the columns that other products take, which one image's forward pass multiplies with weights where they lie.
            // A product or two have no other taps to pass over.
            let (results, strides) = match back {
                true => (s.input, s.stride.iter().product()),
                false => (s.output, 1),
            };
            let all = results.iter().product::<usize>().next_multiple_of(VECTOR) * s.taps() / strides;
            let most = if s.n == 1 && !back { 6 } else { 9 };
            if let Some(few) = few.filter(|few| few.count() > FEW_TAPS && 10 * few.count() <= most * all) {
                return Some(few);
            }
        }
        let small = Small::fitting(s, input, output, s.n.next_multiple_of(VECTOR))?;
        // What taps do not see outweighs what is empty of vectors; on one position it always does.
        let [images, columns] = small.images;
        let all = images * small.positions[0] * small.taps;
        (small.positions[0] == 1 || 5 * columns * small.count() <= 9 * all).then_some(small)
    }

    fn fitting(s: &ConvShape, input: [isize; 5], output: [isize; 5], columns: usize) -> Option<Small> {
        let positions = [s.output, s.input].map(|d| d.iter().product::<usize>());
        let channels = [s.c_in, s.c_out].map(|c| c / s.groups());
        let few = match s.taps() {
            // One position alone is a product of matrices as it is.
            1 => positions[0] != positions[1] || (2..=FEW).contains(&positions[0]),
            _ => true,
        };
        let most = match (s.taps(), s.input[0]) {
            (1, _) => MOST_OF_ONE,
            (_, 1) => MOST,
            _ => MOST_DEEP,
        };
        let fits = few
            && positions.iter().zip(most).all(|(&n, most)| n <= most)
            && channels.iter().all(|&c| c >= LEAST_CHANNELS)
            && dense(input, s.c_in, s.input)
            && dense(output, s.c_out, s.output);
        if !fits {
            return None;
        }
        let seen = |d: usize| {
            let products = (0..s.output[d]).flat_map(|o| (0..s.kernel[d]).map(move |t| (o, t)));
            let seen = |(o, t): (usize, usize)| {
                let at = (o * s.stride[d] + t * s.dilation[d]).checked_sub(s.padding[d])?;
                (at < s.input[d]).then_some([o, t, at])
            };
            products.filter_map(seen).collect()
        };
        Some(Small {
            positions,
            taps: s.taps(),
            images: [s.n, columns],
            seen: [0, 1, 2].map(seen),
            sizes: [0, 1, 2].map(|d| [s.output[d], s.kernel[d], s.input[d]]),
        })
    }

    /// Number of products.
    pub(super) fn count(&self) -> usize {
        self.seen.iter().map(Vec::len).product()
    }

    /// The products, by result's position and then tap, or, if `by_tap`, the other way round.
    pub(super) fn products(&self, by_tap: bool) -> Vec<Product> {
        // Those of a dim with one position, or tap, and the next one.
        let key = by_tap as usize;
        let groups: [Vec<Vec<Product>>; 3] = std::array::from_fn(|d| {
            let mut groups = vec![Vec::new(); self.sizes[d][key]];
            self.seen[d].iter().for_each(|one| groups[one[key]].push(*one));
            groups
        });
        let inner = |all: Product, d: usize, one: &Product| std::array::from_fn(|i| all[i] * self.sizes[d][i] + one[i]);
        let mut products = Vec::with_capacity(self.count());
        for depth in &groups[0] {
            for (line, column) in groups[1]
                .iter()
                .flat_map(|line| groups[2].iter().map(move |column| (line, column)))
            {
                for (d, h) in depth.iter().flat_map(|d| line.iter().map(move |h| (d, h))) {
                    let place = inner(*d, 1, h);
                    products.extend(column.iter().map(|w| inner(place, 2, w)));
                }
            }
        }
        products
    }

    /// The same for the gradient of the weights, in which vectors are channels and images steps.
    pub fn of_gradient(s: &ConvShape, input: [isize; 5], output: [isize; 5]) -> Option<Small> {
        // One tap on one position is a product of matrices, whatever the stride passes over.
        let plain = s.taps() == 1 && s.output == [1; 3];
        Small::fitting(s, input, output, s.n).filter(|_| s.n >= LEAST_IMAGES && !plain)
    }

    /// Whether it takes less time than minimal filtering with so many products an image, which has its transforms besides.
    pub fn beats(&self, products: usize) -> bool {
        let [images, columns] = self.images;
        5 * columns * self.count() <= 7 * images * products
    }

    /// Whether images, which are steps of the products for the weights' gradient, are more than the positions that a tap sees,
    /// more or less.
    pub fn deep(&self) -> bool {
        self.images[0] * self.taps >= self.count()
    }

    /// The gradient of the input, whose positions become the result's.
    pub fn reversed(mut self) -> Small {
        self.positions.reverse();
        self.sizes.iter_mut().for_each(|sizes| sizes.reverse());
        for seen in &mut self.seen {
            seen.iter_mut().for_each(|product| product.reverse());
            // By position, then tap.
            seen.sort_unstable();
        }
        self
    }

    /// The pass, for dense weights [group, output channel, input channel, tap] and `rows` results from `channels` of the
    /// source per group; those are the input's channels if `back`.
    ///
    /// # Safety
    /// [`Small::of`] said yes; all addresses that the arguments describe are live; `bias` is null or has one element per
    /// group and row; `kernels` fit the CPU.
    pub(super) unsafe fn convolve<T>(
        &self,
        kernels: &'static Kernels<T>,
        weights: *const T,
        [groups, rows, channels]: [usize; 3],
        back: bool,
        images: Images<T>,
        bias: *const T,
    ) where
        T: Copy + Default + HasKernels + Send + Sync + Add<Output = T>,
    {
        let sizes = [groups, rows, channels];
        if self.images[1] < VECTOR {
            // SAFETY: the caller's promise.
            return unsafe { self.convolve_few(kernels, weights, sizes, back, images, bias) };
        }
        let image = groups * channels * self.positions[1] * size_of::<T>();
        for some in some_images(images.count, image) {
            let first = some.start as isize;
            let images = Images {
                count: some.len(),
                src: images.src.wrapping_offset(first * images.src_strides[0]),
                dst: images.dst.wrapping_offset(first * images.dst_strides[0]),
                zeros: None,
                finish: None,
                ..images
            };
            // SAFETY: the caller's promise, for some of the images.
            unsafe { self.convolve_some(kernels, weights, sizes, back, images, bias) };
        }
    }

    /// [`Small::convolve`] for images that are held at once.
    ///
    /// # Safety
    /// As for that.
    unsafe fn convolve_some<T>(
        &self,
        kernels: &'static Kernels<T>,
        weights: *const T,
        [groups, rows, channels]: [usize; 3],
        back: bool,
        images: Images<T>,
        bias: *const T,
    ) where
        T: Copy + Default + HasKernels + Send + Sync + Add<Output = T>,
    {
        let ([to, from], taps, threads) = (self.positions, self.taps, parallel::threads());
        let all = groups * channels * from;
        let [image, result] = [images.src_strides[0], images.dst_strides[0]].map(|s| s as usize);
        // Taps that are read.
        let (few, products) = (self.count().clamp(1, taps), self.products(false));
        let near = (WEIGHTS / (channels * few * size_of::<T>())).max(ROWS);
        let some = even_part(rows, near.min((rows * groups).div_ceil(2 * threads)).max(1));
        let blocks = rows.div_ceil(some);
        let panels = panels(kernels, images.count);
        let held = panels.last().map_or(0, |&[first, _, width]| first + width);
        let size = [groups * channels, from];
        let apart = apart(size, taps);
        let [by_channel, by_position] = apart;
        with_shared(|shared| {
            let x = At(shared.reserve::<T>(all * held));
            // SAFETY: the caller's promise; so many are reserved.
            unsafe { turn_images((images.src, image), size, apart, &panels, x.0) };
            let (weights, bias, dst) = (From(weights), From(bias), At(images.dst));
            parallel::for_range(groups * blocks, 1, |tasks| {
                let (x, weights, bias, dst) = (&x, &weights, &bias, &dst);
                with_scratch(|[packed, sums, ..]| {
                    let packed = packed.reserve::<T>(taps * some * channels);
                    let sums = sums.reserve::<T>(some * (to + 1) * kernels.nr);
                    for task in tasks {
                        let (group, row) = (task / blocks, task % blocks * some);
                        let count = some.min(rows - row);
                        let tap = count * channels;
                        let weights = weights.0.wrapping_add(group * rows * channels * taps);
                        // SAFETY: the caller's promise; the buffers hold a task's weights and sums. So below.
                        unsafe {
                            if back {
                                for c in 0..channels {
                                    let from = weights.wrapping_add((c * rows + row) * taps);
                                    self.by_tap(&products, from, count, packed.wrapping_add(c * count), tap);
                                }
                            } else {
                                self.by_tap(&products, weights.wrapping_add(row * channels * taps), tap, packed, tap);
                            }
                        }
                        for &[first, lanes, width] in &panels {
                            let source = x.0.wrapping_add(first * all + group * channels * by_channel * width);
                            let line = row_of_sums::<T>(to, width);
                            // SAFETY: as above.
                            let sums = unsafe { std::slice::from_raw_parts_mut(sums, count * line) };
                            let mut done = 0;
                            for &[p, t, q] in &products {
                                self.nothing(sums, [done, p], line, width);
                                let tile = LineTile {
                                    k: channels,
                                    a: packed.wrapping_add(t * tap),
                                    a_rs: if back { 1 } else { channels as isize },
                                    a_cs: if back { count as isize } else { 1 },
                                    b: source.wrapping_add(q * by_position * width),
                                    b_rs: (by_channel * width) as isize,
                                    c: sums.as_mut_ptr().wrapping_add(p * width),
                                    c_rs: line as isize,
                                    n: lanes,
                                    adds: done > p,
                                    ..LineTile::empty()
                                };
                                // SAFETY: as above.
                                unsafe { tile.column(kernels, count) };
                                done = p + 1;
                            }
                            self.nothing(sums, [done, to], line, width);
                            let channel = group * rows + row;
                            if !bias.0.is_null() {
                                for (r, sums) in sums.chunks_exact_mut(line).enumerate() {
                                    // SAFETY: as above.
                                    let bias = unsafe { *bias.0.add(channel + r) };
                                    sums.iter_mut().for_each(|sum| *sum = *sum + bias);
                                }
                            }
                            let to = dst.0.wrapping_add(first * result + channel * to);
                            // All rows as one where nothing lies between them.
                            let (rows, together) = match line == self.positions[0] * width {
                                true => (1, count * self.positions[0]),
                                false => (count, self.positions[0]),
                            };
                            for row in 0..rows {
                                let (sums, to) = (sums[row * line..].as_ptr(), to.wrapping_add(row * together));
                                // SAFETY: as above; the rows of a block are one task's.
                                unsafe { turn(sums, width, together, lanes, to, result) };
                            }
                        }
                    }
                });
            });
        });
    }

    /// Zeros for the positions that no tap sees.
    fn nothing<T: Copy + Default>(&self, sums: &mut [T], [from, to]: [usize; 2], line: usize, width: usize) {
        if from < to {
            for sums in sums.chunks_exact_mut(line) {
                sums[from * width..to * width].fill(T::default());
            }
        }
    }

    /// Filters, one behind the other, tap by tap: that of filter `i` to `to[tap * apart + i]`.
    ///
    /// # Safety
    /// All of these are live memory; the two sides do not overlap.
    unsafe fn by_tap<T: Copy>(&self, products: &[Product], from: *const T, filters: usize, to: *mut T, apart: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            if products.len() > FEW_TAPS {
                return turn(from, self.taps, filters, self.taps, to, apart);
            }
            for &[_, tap, _] in products {
                every(
                    from.wrapping_add(tap),
                    self.taps as isize,
                    to.wrapping_add(tap * apart),
                    filters,
                );
            }
        }
    }

    /// The gradient of the weights as a matrix [groups * rows, channels * taps], written to `out`.
    ///
    /// # Safety
    /// [`Small::of_gradient`] said yes; all addresses that the arguments describe are live; `kernels` fit the CPU; `out` has
    /// the matrix' size.
    pub(super) unsafe fn gradient<T>(&self, kernels: &'static Kernels<T>, problem: &Problem<T>, out: &mut [T])
    where
        T: Copy + Default + HasKernels + Send + Sync,
    {
        let [to, from] = self.positions;
        let image = problem.groups * (problem.rows * to + problem.channels * from) * size_of::<T>();
        for some in some_images(problem.count, image) {
            // SAFETY: the caller's promise.
            unsafe { self.gradient_of(kernels, problem, some, out) };
        }
    }

    /// [`Small::gradient`] of images that are held at once; all but the first ones' is added to `out`.
    ///
    /// # Safety
    /// As for that.
    unsafe fn gradient_of<T>(
        &self,
        kernels: &'static Kernels<T>,
        problem: &Problem<T>,
        some_images: Range<usize>,
        out: &mut [T],
    ) where
        T: Copy + Default + HasKernels + Send + Sync,
    {
        let ([to, from], taps, threads) = (self.positions, self.taps, parallel::threads());
        let products = self.products(false);
        let (groups, rows, channels) = (problem.groups, problem.rows, problem.channels);
        let (begin, images) = (some_images.start, some_images.len());
        let [x_image, y_image] = [problem.x_strides[0], problem.gy_strides[0]].map(|s| s as usize);
        // Not a power of two, which would put all lines into one set of the cache.
        let [line, x_line] = [images, channels].map(|n| n.next_multiple_of(16) + 16);
        let all = groups * rows * to;
        let near = (SUMS / (channels * taps * size_of::<T>())).max(ROWS);
        let some = even_part(rows, near.min((rows * groups).div_ceil(2 * threads)).max(1));
        let blocks = rows.div_ceil(some);
        with_shared(|shared| {
            let gy = At(shared.reserve::<T>(all * line + groups * from * images * x_line));
            let x = At(gy.0.wrapping_add(all * line));
            let gy_src = From(problem.gy.wrapping_add(begin * y_image));
            let x_src = From(problem.x.wrapping_add(begin * x_image));
            let pieces = all.div_ceil(PIECE);
            parallel::for_range(pieces, GRAIN.div_ceil(PIECE * images), |tasks| {
                let (gy, gy_src) = (&gy, &gy_src);
                for first in tasks.map(|task| task * PIECE) {
                    let len = PIECE.min(all - first);
                    // SAFETY: the caller's promise; each piece is one task's.
                    unsafe {
                        turn(
                            gy_src.0.wrapping_add(first),
                            y_image,
                            images,
                            len,
                            gy.0.wrapping_add(first * line),
                            line,
                        )
                    };
                }
            });
            parallel::for_range(images * groups, GRAIN.div_ceil(channels * from), |tasks| {
                let (x, x_src) = (&x, &x_src);
                for (image, group) in tasks.map(|task| (task / groups, task % groups)) {
                    let src = x_src.0.wrapping_add(image * x_image + group * channels * from);
                    let to = x.0.wrapping_add((group * from * images + image) * x_line);
                    // SAFETY: the caller's promise; each image's channels are one task's.
                    unsafe { turn(src, from, channels, from, to, images * x_line) };
                }
            });
            let out = At(out.as_mut_ptr());
            parallel::for_range(groups * blocks, 1, |tasks| {
                let (gy, x, out) = (&gy, &x, &out);
                with_scratch(|[sums, ..]| {
                    let sums = sums.reserve::<T>(taps * some * channels);
                    for task in tasks {
                        let (group, row) = (task / blocks, task % blocks * some);
                        let count = some.min(rows - row);
                        let tap = count * channels;
                        let to_out = out.0.wrapping_add((group * rows + row) * channels * taps);
                        // SAFETY: the buffer holds the sums of a task; the rows of a block are one task's.
                        unsafe {
                            match begin {
                                0 => std::slice::from_raw_parts_mut(sums, taps * tap).fill(T::default()),
                                _ => turn(to_out, taps, tap, taps, sums, tap),
                            }
                        }
                        for &[p, t, q] in &products {
                            for first in (0..images).step_by(CHAIN) {
                                for col in (0..channels).step_by(kernels.nr) {
                                    let tile = LineTile {
                                        k: CHAIN.min(images - first),
                                        a: gy.0.wrapping_add(((group * rows + row) * to + p) * line + first),
                                        a_rs: (to * line) as isize,
                                        a_cs: 1,
                                        b: x.0.wrapping_add(((group * from + q) * images + first) * x_line + col),
                                        b_rs: x_line as isize,
                                        c: sums.wrapping_add(t * tap + col),
                                        c_rs: channels as isize,
                                        n: kernels.nr.min(channels - col),
                                        adds: true,
                                        ..LineTile::empty()
                                    };
                                    // SAFETY: the caller's promise; the buffers hold all that is read.
                                    unsafe { tile.column(kernels, count) };
                                }
                            }
                        }
                        // SAFETY: as above.
                        unsafe { turn(sums, tap, taps, tap, to_out, taps) };
                    }
                });
            });
        });
    }
}

/// The images in even parts that are held at once, of so many bytes each: whole vectors of them, in up to 16 MiB.
fn some_images(images: usize, bytes: usize) -> impl Iterator<Item = Range<usize>> {
    let most = (4 * some() / bytes / VECTOR).max(1) * VECTOR;
    let some = even_part(images, most).next_multiple_of(VECTOR);
    (0..images)
        .step_by(some)
        .map(move |first| first..images.min(first + some))
}

/// Sums of a row: of whole half pages all rows would fall into one set of the first-level cache.
fn row_of_sums<T>(positions: usize, width: usize) -> usize {
    let clash = positions >= TOGETHER && (positions * width * size_of::<T>()).is_multiple_of(2048);
    (positions + clash as usize) * width
}

/// How far neighbouring channels and positions of turned images lie apart, in panels' rows, if they are read so many times.
pub(super) fn apart([channels, from]: [usize; 2], times: usize) -> [usize; 2] {
    match from < TOGETHER || times == 1 {
        true => [from, 1],
        false => [1, channels],
    }
}

/// Turns images, which lie `image` apart, into panels: an element of all images of a panel side by side, and zeros behind
/// them. Elements lie as [`apart`] says: channels that a product goes through side by side, unless they are turned sooner as
/// they are.
///
/// # Safety
/// All those are live memory; `to` has room for the panels' widths.
pub(super) unsafe fn turn_images<T>(
    (src, image): (*const T, usize),
    size: [usize; 2],
    [by_channel, by_position]: [usize; 2],
    panels: &[[usize; 3]],
    to: *mut T,
) where
    T: Copy + Default + Sync,
{
    let [channels, from] = size;
    let (src, to, all) = (From(src), At(to), channels * from);
    // Elements that are turned as one line.
    let piece = if by_position == 1 { PIECE } else { from };
    let pieces = all.div_ceil(piece);
    parallel::for_range(panels.len() * pieces, GRAIN.div_ceil(piece * VECTOR), |tasks| {
        let (src, to) = (&src, &to);
        for task in tasks {
            let [first, count, width] = panels[task / pieces];
            let elements = task % pieces * piece..all.min((task % pieces + 1) * piece);
            let place = match by_position {
                1 => elements.start,
                _ => elements.start / from * by_channel,
            };
            let from = src.0.wrapping_add(first * image + elements.start);
            let (to, row) = (to.0.wrapping_add(first * all + place * width), by_position * width);
            // SAFETY: the caller's promise; each piece of a panel is one task's.
            unsafe {
                turn(from, image, count, elements.len(), to, row);
                for i in 0..if count < width { elements.len() } else { 0 } {
                    (count..width).for_each(|lane| *to.add(i * row + lane) = T::default());
                }
            }
        }
    });
}

/// Columns side by side in vectors: the first one, how many, and the width of the panel.
pub(super) fn panels<T>(kernels: &Kernels<T>, columns: usize) -> Vec<[usize; 3]> {
    let mut panels = Vec::new();
    let mut first = 0;
    while first < columns {
        let left = columns - first;
        let width = panel_width(kernels, left);
        panels.push([first, width.min(left), width]);
        first += width;
    }
    panels
}

/// Whether channels and positions of an image lie one behind the other, the image anywhere.
fn dense(strides: [isize; 5], channels: usize, size: [usize; 3]) -> bool {
    let mut next = 1;
    let inner = [channels, size[0], size[1], size[2]];
    strides[0] >= 0
        && (0..4).rev().all(|d| {
            let lies = inner[d] == 1 || strides[d + 1] == next;
            next *= inner[d] as isize;
            lies
        })
}
