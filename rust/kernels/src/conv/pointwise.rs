//! Convolutions of one tap whose images are operands of products as they lie: one image at a time, or, for the gradient of
//! the weights, all positions of several images one after another.

use super::finish::Block;
use super::gather::{Images, Shared, scatter};
use super::geometry::{Address, Gather, Source};
use super::weight::Problem;
use super::weights::Weights;
use crate::gemm::{
    Gemm, HasKernels, Kernels, Number, Operands, PackArgs, Panels, Products, Runs, SPLIT_BLOCK, panel_width,
    with_shared,
};
use crate::parallel;
use std::ops::Range;

/// Fewer channels or rows than these have paths of their own.
const LEAST: usize = 16;

/// Positions of an image that make it worth packing the weights for each image anew.
const MANY: usize = 768;
/// Channels whose products write so much for what they read that they should not wait for blocks to be packed.
const FEW: usize = 64;

/// Positions of an image whose sums, for at most so many rows or channels, are dot products; for more of these where lines
/// that lie a multiple of so many bytes apart fall into one set of the cache.
const LONG: usize = 512;
const DOTTED: usize = 4;
const DOTTED_APART: (usize, usize) = (8, 4096);

/// Whether [`products`] is for this: a single image, whose products use each packed weight only once or twice, so that it
/// should not go to memory and back; images of one position, which are the columns of one product; images of so many
/// positions that it does not matter; or so few rows that there is nothing to gain by packing. `flat` when the positions lie
/// one after another in the output.
pub(super) fn takes<T>(
    geometry: &Gather,
    address: &Address,
    weights: &Weights<T>,
    images: &Images<T>,
    flat: bool,
) -> bool {
    let (rows, channels, positions) = (weights.rows, weights.channels, geometry.positions());
    let few_rows = flat && address.in_place() && rows < LEAST && channels >= LEAST && positions > 1;
    let as_it_lies =
        address.in_place() && (positions == 1 || flat && positions >= MANY && channels <= FEW && rows >= 2 * channels);
    geometry.taps() == 1
        && address.run() == positions
        && (few_rows || (images.count == 1 || as_it_lies) && many([rows, channels], positions))
}

/// Rows and channels enough; of one position, of which either may be few.
fn many([rows, channels]: [usize; 2], positions: usize) -> bool {
    match positions {
        1 => rows * channels >= LEAST * LEAST,
        _ => rows.min(channels) >= LEAST,
    }
}

/// As [`super::gather::gather`].
///
/// # Safety
/// As there; [`takes`].
pub(super) unsafe fn products<T: Copy + Default + HasKernels + Send + Sync>(
    kernels: &'static Kernels<T>,
    geometry: &Gather,
    address: &Address,
    weights: Weights<T>,
    images: Images<T>,
    bias: *const T,
    flat: bool,
) -> bool {
    let (threads, single) = (parallel::threads(), geometry.positions() == 1);
    let count = if single { 1 } else { images.count };
    let tasks = count * weights.groups;
    let by_images = count > 1 && tasks >= 2 * threads;
    let all = Shared(weights, images, std::ptr::null_mut(), bias);
    if by_images {
        parallel::for_range(tasks, 1, |tasks| {
            for task in tasks {
                // SAFETY: the caller's promise; so below.
                unsafe { product(kernels, geometry, address, &all, task, flat, true) };
            }
        });
    } else {
        for task in 0..tasks {
            unsafe { product(kernels, geometry, address, &all, task, flat, false) };
        }
    }
    by_images && flat
}

/// One image and group; or, of images of one position, a group of all. With `here` on this thread, and finished.
///
/// # Safety
/// As for [`products`].
unsafe fn product<T: Copy + Default + HasKernels + Send + Sync>(
    kernels: &'static Kernels<T>,
    geometry: &Gather,
    address: &Address,
    Shared(weights, images, _, bias): &Shared<T>,
    task: usize,
    flat: bool,
    here: bool,
) {
    let (m, positions, [sn, sc, sd, sh, sw]) = (weights.rows, geometry.positions(), images.src_strides);
    let (image, group) = (task / weights.groups, task % weights.groups);
    let row = (group * m) as isize;
    let dst = images
        .dst
        .wrapping_offset(image as isize * images.dst_strides[0] + row * images.dst_strides[1]);
    let source = Source {
        data: images
            .src
            .wrapping_offset(image as isize * sn + (group * weights.channels) as isize * sc),
        channels: weights.channels,
        strides: [sc, sd, sh, sw],
    };
    with_shared(|copy| {
        with_shared(|temp| {
            // SAFETY: the caller's promise.
            unsafe {
                let ready = geometry.image(kernels, address, source, address.all_lines(), copy);
                let mut g = Gemm {
                    m,
                    n: positions,
                    k: weights.channels,
                    a: weights
                        .data
                        .wrapping_offset(group as isize * weights.group_stride + weights.taps[0]),
                    a_rs: weights.row_stride,
                    a_cs: weights.channel_stride,
                    b: ready.data,
                    b_rs: ready.channel_stride,
                    b_cs: 1,
                    c: dst,
                    c_rs: images.dst_strides[1],
                    c_cs: 1,
                    row_bias: if bias.is_null() {
                        *bias
                    } else {
                        bias.wrapping_offset(row)
                    },
                    ..Gemm::empty()
                };
                if positions == 1 && images.count > 1 {
                    (g.n, g.b_cs, g.c_cs) = (images.count, sn, images.dst_strides[0]);
                }
                if !flat {
                    (g.c, g.c_rs) = (temp.reserve::<T>(m * positions), positions as isize);
                }
                match (here, positions, g.m.min(g.n)) {
                    (true, ..) => g.run_here(kernels),
                    // A matrix and a vector.
                    (_, 1, 1) => g.run_in_order(kernels),
                    _ => g.run(kernels),
                }
                if !flat {
                    let (strides, all) = (images.dst_strides, 0..positions);
                    scatter(
                        kernels,
                        g.c,
                        positions,
                        m,
                        all,
                        geometry.grid,
                        dst,
                        strides,
                        images.zeros,
                    );
                } else if let Some(f) = images.finish.filter(|_| here) {
                    f.block(Block {
                        image,
                        channel: group * m,
                        channels: m,
                        from: 0,
                        count: positions,
                    });
                }
            }
        })
    });
}

/// Whether [`gradient`] is for this; `flat` when the gradients' positions lie one after another.
pub(super) fn takes_gradient<T>(geometry: &Gather, address: &Address, p: &Problem<T>, flat: bool) -> bool {
    geometry.taps() == 1
        && flat
        && address.in_place()
        && address.run() == geometry.positions()
        && (many([p.rows, p.channels], geometry.positions()) || dotted(geometry, p))
}

/// Whether what [`gradient`] sums are dot products: few rows or channels, and long lines.
pub(super) fn dotted<T>(geometry: &Gather, p: &Problem<T>) -> bool {
    let (positions, few, (more, apart)) = (geometry.positions(), p.rows.min(p.channels), DOTTED_APART);
    positions >= LONG && (few <= DOTTED || few <= more && (positions * size_of::<T>()).is_multiple_of(apart))
}

/// The sums over positions `ks` of all images, counted one after another, as a matrix [rows, channels] of a group, in `c`.
///
/// # Safety
/// As for [`super::weight::gradient`]; [`takes_gradient`].
pub(super) unsafe fn gradient<T: Copy + HasKernels + Number>(
    kernels: &'static Kernels<T>,
    geometry: &Gather,
    p: &Problem<T>,
    group: usize,
    ks: Range<usize>,
    c: *mut T,
    here: bool,
) {
    let positions = geometry.positions();
    let [xn, xc, xd, xh, xw] = p.x_strides;
    let offset = |d: usize| geometry.offsets[d][0];
    let first = (group * p.channels) as isize * xc + offset(0) * xd + offset(1) * xh + offset(2) * xw;
    let stack = Stack {
        a: p.gy.wrapping_offset((group * p.rows) as isize * p.gy_strides[1]),
        a_rs: p.gy_strides[1],
        a_image: p.gy_strides[0],
        b: p.x.wrapping_offset(first),
        b_cs: xc,
        b_image: xn,
        positions,
        from: ks.start,
    };
    let g = Gemm {
        m: p.rows,
        n: p.channels,
        k: ks.len(),
        c,
        c_rs: p.channels as isize,
        c_cs: 1,
        ..Gemm::empty()
    };
    if dotted(geometry, p) {
        let mut g = g;
        for (image, at, count) in stack.images(0..ks.len()) {
            for from in (0..count).step_by(SPLIT_BLOCK) {
                let part = Gemm {
                    k: SPLIT_BLOCK.min(count - from),
                    a: stack.a.wrapping_offset(image * stack.a_image).wrapping_add(at + from),
                    a_rs: stack.a_rs,
                    a_cs: 1,
                    b: stack.b.wrapping_offset(image * stack.b_image).wrapping_add(at + from),
                    b_rs: 1,
                    b_cs: stack.b_cs,
                    ..g
                };
                // SAFETY: the caller's promise.
                unsafe { part.dots_here(kernels) };
                g.from_c = true;
            }
        }
        return;
    }
    // One image, or images of one position: as they lie.
    let (image, at) = ((ks.start / positions) as isize, ks.start % positions);
    let (a_cs, b_rs) = if positions == 1 {
        (stack.a_image, stack.b_image)
    } else {
        (1, 1)
    };
    let alone = (positions == 1 || at + ks.len() <= positions).then(|| Gemm {
        a: stack.a.wrapping_offset(image * stack.a_image).wrapping_add(at),
        a_rs: stack.a_rs,
        a_cs,
        b: stack.b.wrapping_offset(image * stack.b_image).wrapping_add(at),
        b_rs,
        b_cs: stack.b_cs,
        ..g
    });
    // SAFETY: the caller's promise.
    unsafe {
        match (alone, here) {
            (Some(g), true) => g.run_here(kernels),
            (Some(g), false) => g.run(kernels),
            (None, true) => g.run_here_with(&stack, kernels),
            (None, false) => g.run_with(&stack, kernels),
        }
    }
}

/// Matrices [m, k] and [k, n] whose k goes through the positions of one image after another.
struct Stack<T> {
    a: *const T,
    a_rs: isize,
    a_image: isize,
    b: *const T,
    b_cs: isize,
    b_image: isize,
    positions: usize,
    /// The first of k.
    from: usize,
}
// SAFETY: plain data, which is only read.
unsafe impl<T: Sync> Sync for Stack<T> {}

impl<T> Stack<T> {
    /// The images in `ks`: which, its first position, and how many.
    fn images(&self, ks: Range<usize>) -> impl Iterator<Item = (isize, usize, usize)> {
        let (mut next, end, positions) = (self.from + ks.start, self.from + ks.end, self.positions);
        std::iter::from_fn(move || {
            let (image, at) = (next / positions, next % positions);
            let some = (positions - at).min(end - next);
            next += some;
            (some > 0).then_some((image as isize, at, some))
        })
    }
}

impl<T: Number> Operands<T> for Stack<T> {
    unsafe fn pack_a(&self, kernels: &Products<T>, rows: Range<usize>, ks: Range<usize>, dst: *mut T) {
        for (i, lines) in Panels::of(rows.len(), kernels.tiles.len()).each() {
            let mut dst = dst.wrapping_add(i * ks.len());
            let line = self.a.wrapping_offset((rows.start + i) as isize * self.a_rs);
            for (image, at, k) in self.images(ks.clone()) {
                let args = PackArgs {
                    src: line.wrapping_offset(image * self.a_image).wrapping_add(at),
                    line_stride: self.a_rs,
                    k_stride: 1,
                    lines,
                    width: lines,
                    k,
                    dst,
                };
                // SAFETY: the caller's promise; what is written behind a piece is written again.
                unsafe { (kernels.pack)(&args) };
                dst = dst.wrapping_add(k * lines);
            }
        }
    }

    unsafe fn pack_b(&self, kernels: &Products<T>, cols: Range<usize>, ks: Range<usize>, dst: *mut T) {
        for j in (0..cols.len()).step_by(kernels.nr) {
            let lines = kernels.nr.min(cols.len() - j);
            let width = panel_width(kernels, lines);
            let mut dst = dst.wrapping_add(j * ks.len());
            let line = self.b.wrapping_offset((cols.start + j) as isize * self.b_cs);
            for (image, at, k) in self.images(ks.clone()) {
                let args = PackArgs {
                    src: line.wrapping_offset(image * self.b_image).wrapping_add(at),
                    line_stride: self.b_cs,
                    k_stride: 1,
                    lines,
                    width,
                    k,
                    dst,
                };
                // SAFETY: as above.
                unsafe { (kernels.pack)(&args) };
                dst = dst.wrapping_add(k * width);
            }
        }
    }

    fn rows_stay(&self, _: &Products<T>) -> bool {
        false
    }

    fn runs_a(&self, rows: Range<usize>, ks: Range<usize>) -> Runs {
        self.images(ks).next().map_or(Runs::NONE, |(image, at, k)| {
            let first = rows.start as isize * self.a_rs + image * self.a_image;
            Runs::of(
                self.a.wrapping_offset(first).wrapping_add(at),
                size_of::<T>(),
                [rows.len(), k],
                [self.a_rs, 1],
            )
        })
    }

    fn runs_b(&self, cols: Range<usize>, ks: Range<usize>) -> Runs {
        self.images(ks).next().map_or(Runs::NONE, |(image, at, k)| {
            let first = cols.start as isize * self.b_cs + image * self.b_image;
            Runs::of(
                self.b.wrapping_offset(first).wrapping_add(at),
                size_of::<T>(),
                [k, cols.len()],
                [1, self.b_cs],
            )
        })
    }
}
