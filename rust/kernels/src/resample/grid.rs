//! Values of an image at places that a grid names, between -1 and 1 from edge to edge.
//!
//! Places become corners (offsets into a plane) with weights, a block of them at a time, and each channel then reads the
//! same corners. Conventions at the edges are PyTorch's: corners outside add nothing, NaN counts as outside.

use super::Real;
use crate::multiversion;
use crate::parallel;
use crate::reduce::walk::{Share, grain};

/// What lies outside the image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outside {
    Zeros,
    /// The outermost values.
    Border,
    /// The image, mirrored again and again.
    Reflection,
}

/// How an image is sampled; `sizes` are depth (1 for images of two dims), height and width, at least 1 each and together
/// below 2^31.
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    /// 2 or 3.
    pub dims: usize,
    pub sizes: [usize; 3],
    /// The nearest value, rather than between the neighbours.
    pub nearest: bool,
    pub outside: Outside,
    /// -1 and 1 are the centres of the outermost values, rather than their edges.
    pub align: bool,
}

/// Points that are worked on together.
const BLOCK: usize = 128;
/// The offset of a corner outside the image.
const NOWHERE: u32 = u32::MAX;

/// Two neighbouring places along a dim for each point of a block: both lie inside it (where it has two), so that a
/// point at the edge has one place of no weight.
struct Axis<T> {
    first: [u32; BLOCK],
    /// All bits where the place is one of the point's neighbours, else 0.
    valid: [[u32; BLOCK]; 2],
    weight: [[T; BLOCK]; 2],
    /// Of the weight over the place.
    rise: [[T; BLOCK]; 2],
    /// Of the place over the grid's number.
    slope: [T; BLOCK],
}

/// Corners of a block of points.
struct Corners<T> {
    count: usize,
    /// By the grid's numbers: x, y, z.
    axes: [Axis<T>; 3],
    at: [[u32; BLOCK]; 8],
    /// 0 outside.
    weight: [[T; BLOCK]; 8],
    /// The offsets of pairs of corners that follow one another in a row, always inside the plane.
    pairs: [[u32; BLOCK]; 4],
}

impl<T: Real> Corners<T> {
    fn new() -> Corners<T> {
        let axis = || Axis {
            first: [0; BLOCK],
            valid: [[0; BLOCK]; 2],
            weight: [[T::ZERO; BLOCK]; 2],
            rise: [[T::ZERO; BLOCK]; 2],
            slope: [T::ZERO; BLOCK],
        };
        Corners {
            count: 0,
            axes: [axis(), axis(), axis()],
            at: [[NOWHERE; BLOCK]; 8],
            weight: [[T::ZERO; BLOCK]; 8],
            pairs: [[0; BLOCK]; 4],
        }
    }
}

impl Sampling {
    fn plane(&self) -> usize {
        self.sizes.iter().product()
    }

    fn corners(&self) -> usize {
        if self.nearest { 1 } else { 1 << self.dims }
    }

    /// The size along the grid's k-th number: width, height, depth.
    fn size(&self, k: usize) -> usize {
        self.sizes[2 - k]
    }
}

/// The place that a number names, and its slope.
#[inline(always)]
fn named<T: Real>(number: T, size: T, align: bool) -> (T, T) {
    let half = T::c(0.5);
    if align {
        ((number + T::ONE) * half * (size - T::ONE), half * (size - T::ONE))
    } else {
        (((number + T::ONE) * size - T::ONE) * half, half * size)
    }
}

/// A place outside moved to the edge, where it has no slope; NaN to 0.
#[inline(always)]
fn held<T: Real>((place, slope): (T, T), size: T) -> (T, T) {
    let last = size - T::ONE;
    let within = place > T::ZERO && place < last;
    let place = if place > T::ZERO { place } else { T::ZERO };
    let place = if place < last { place } else { last };
    (place, if within { slope } else { T::ZERO })
}

/// A place outside mirrored at the edges until it is inside.
#[inline(always)]
fn mirrored<T: Real>((place, slope): (T, T), size: T, align: bool) -> (T, T) {
    let half = T::c(0.5);
    let (low, span) = if align { (T::ZERO, size - T::ONE) } else { (-half, size) };
    let turned = (place - low).abs();
    let slope = if place < low { -slope } else { slope };
    let flips = (turned / span).floor();
    let rest = turned - flips * span;
    let even = (flips * half).floor() * T::c(2.0) == flips;
    let inside = if even {
        (rest + low, slope)
    } else {
        (span - rest + low, -slope)
    };
    // With one value there is but one place, whatever the number.
    if span == T::ZERO { (T::ZERO, T::ZERO) } else { inside }
}

/// The neighbours of every `stride`-th number of `grid`, found by `place`.
#[inline(always)]
fn neighbours<T: Real>(
    grid: &[T],
    stride: usize,
    size: usize,
    nearest: bool,
    axis: &mut Axis<T>,
    place: impl Fn(T, T) -> (T, T),
) {
    let (n, last) = (T::c(size as f64), T::c((size - 1) as f64));
    let (size, most) = (size as i32, size.saturating_sub(2) as i32);
    let mut numbers = [T::ZERO; BLOCK];
    for (to, number) in numbers.iter_mut().zip(grid.iter().step_by(stride)) {
        *to = *number;
    }
    let mut low = [0i32; BLOCK];
    let mut share = [T::ZERO; BLOCK];
    for p in 0..BLOCK {
        let (at, slope) = place(numbers[p], n);
        let floor = if nearest { at.round_even() } else { at.floor() };
        // What is far outside is no integer of 32 bits.
        let near = floor >= -T::ONE && floor <= last;
        low[p] = (if near { floor } else { T::c(-9.0) }).to_i32();
        share[p] = if nearest { T::ZERO } else { at - floor };
        axis.slope[p] = slope;
    }
    for (first, low) in axis.first.iter_mut().zip(&low) {
        *first = (*low).clamp(0, most) as u32;
    }
    for e in 0..2 {
        let (valids, weights, rises) = (&mut axis.valid[e], &mut axis.weight[e], &mut axis.rise[e]);
        for p in 0..BLOCK {
            let column = axis.first[p] as i32 + e as i32;
            let lower = column == low[p];
            let valid = (lower | (column == low[p] + 1)) & (column < size);
            let (weight, rise) = if lower {
                (T::ONE - share[p], -T::ONE)
            } else {
                (share[p], T::ONE)
            };
            valids[p] = if valid { u32::MAX } else { 0 };
            // NaN where the place is no number.
            weights[p] = if valid { weight } else { share[p] * T::ZERO };
            rises[p] = if valid { rise } else { T::ZERO };
        }
    }
}

/// The corners of the points whose numbers are given, `D` for each.
#[inline(always)]
fn corners<T: Real, const D: usize>(how: &Sampling, grid: &[T], c: &mut Corners<T>) {
    for k in 0..D {
        let (axis, grid, size) = (&mut c.axes[k], &grid[k.min(grid.len())..], how.size(k));
        let (nearest, align) = (how.nearest, how.align);
        match how.outside {
            Outside::Zeros => neighbours(grid, D, size, nearest, axis, |g, n| named(g, n, align)),
            Outside::Border => neighbours(grid, D, size, nearest, axis, |g, n| held(named(g, n, align), n)),
            Outside::Reflection => neighbours(grid, D, size, nearest, axis, |g, n| {
                held(mirrored(named(g, n, align), n, align), n)
            }),
        }
    }
    let n = grid.len() / D;
    let (height, width) = (how.sizes[1] as u32, how.sizes[2] as u32);
    for corner in 0..1 << D {
        let [x, y, z] = [corner & 1, corner >> 1 & 1, corner >> 2];
        let [ax, ay, az] = &c.axes;
        for p in 0..BLOCK {
            let (mut valid, mut weight) = (ax.valid[x][p] & ay.valid[y][p], ax.weight[x][p] * ay.weight[y][p]);
            // A dim of one place has no second one: its row is the first, and of no weight.
            let mut row = ay.first[p] + if height > 1 { y as u32 } else { 0 };
            if D == 3 {
                valid &= az.valid[z][p];
                weight = weight * az.weight[z][p];
                row += height * (az.first[p] + if how.sizes[0] > 1 { z as u32 } else { 0 });
            }
            let at = row * width + ax.first[p];
            if x == 0 {
                c.pairs[corner / 2][p] = at;
            }
            c.at[corner][p] = (at + x as u32) | !valid;
            c.weight[corner][p] = weight;
        }
    }
    c.count = n;
    if how.nearest {
        nearest(1 << D, c);
    }
}

/// Of the corners the one with weight, of which there is at most one, in front.
fn nearest<T: Real>(count: usize, c: &mut Corners<T>) {
    for p in 0..c.count {
        let found = (0..count).find(|&k| c.at[k][p] != NOWHERE && c.weight[k][p] != T::ZERO);
        let (at, weight) = found.map_or((NOWHERE, T::ZERO), |k| (c.at[k][p], c.weight[k][p]));
        (c.at[0][p], c.weight[0][p]) = (at, weight);
    }
}

multiversion! {
    fn fill<T: Real>(how: &Sampling, grid: &[T], c: &mut Corners<T>) {
        match how.dims {
            2 => corners::<T, 2>(how, grid, c),
            _ => corners::<T, 3>(how, grid, c),
        }
    }
}

/// What lies at pairs of corners. Compiled for no instruction set: gathers are slower than loads.
fn pick<T: Real>(plane: &[T], at: &[u32], to: &mut [[T; 2]; BLOCK]) {
    for (to, at) in to.iter_mut().zip(at) {
        // SAFETY: `corners` gave an offset of which the next one is inside the plane too, whose width is at least 2.
        *to = unsafe { plane.as_ptr().add(*at as usize).cast::<[T; 2]>().read_unaligned() };
    }
}

/// The sum over `K` corners of a block's points, `found` in pairs.
#[inline(always)]
fn weigh<T: Real, const K: usize>(found: &[[[T; 2]; BLOCK]; 4], c: &Corners<T>, to: &mut [T]) {
    for (p, to) in to.iter_mut().enumerate() {
        let mut sum = T::ZERO;
        for k in 0..K {
            let value = found[k / 2][p][k % 2];
            // Not even NaN comes from outside.
            let value = if c.at[k][p] == NOWHERE { T::ZERO } else { value };
            sum = value.mul_add(c.weight[k][p], sum);
        }
        *to = sum;
    }
}

multiversion! {
    fn weigh_all<T: Real>(corners: usize, found: &[[[T; 2]; BLOCK]; 4], c: &Corners<T>, to: &mut [T]) {
        match corners {
            4 => weigh::<T, 4>(found, c, to),
            _ => weigh::<T, 8>(found, c, to),
        }
    }
}

/// A block of one channel.
fn read<T: Real>(how: &Sampling, plane: &[T], c: &Corners<T>, found: &mut [[[T; 2]; BLOCK]; 4], to: &mut [T]) {
    let corners = how.corners();
    if corners > 1 && how.sizes[2] > 1 {
        for (at, found) in c.pairs.iter().zip(found.iter_mut()).take(corners / 2) {
            pick(plane, &at[..to.len()], found);
        }
        return weigh_all(corners, found, c, to);
    }
    for (p, to) in to.iter_mut().enumerate() {
        let mut sum = T::ZERO;
        for k in 0..corners {
            let value = plane.get(c.at[k][p] as usize).copied().unwrap_or(T::ZERO);
            sum = value.mul_add(c.weight[k][p], sum);
        }
        *to = sum;
    }
}

/// `out[n, c, p]` is the image `input[n, c]` at `grid[n, p]`; all are dense.
pub fn grid_sample<T: Real>(how: &Sampling, batch: usize, input: &[T], grid: &[T], out: &mut [T]) {
    let Some((channels, points)) = how.check(batch, input.len(), grid.len()) else {
        return;
    };
    assert!(out.len() == batch * channels * points);
    let (plane, blocks, to) = (how.plane(), points.div_ceil(BLOCK), Share::new(out.as_mut_ptr()));
    parallel::for_range(batch * blocks, grain(BLOCK * how.corners() * channels), |range| {
        let (mut c, mut found) = (Corners::new(), [[[T::ZERO; 2]; BLOCK]; 4]);
        for unit in range {
            let (n, first) = (unit / blocks, unit % blocks * BLOCK);
            let count = BLOCK.min(points - first);
            fill(
                how,
                &grid[(n * points + first) * how.dims..][..count * how.dims],
                &mut c,
            );
            for channel in n * channels..(n + 1) * channels {
                // SAFETY: inside the output, and no other unit's.
                let to = unsafe { std::slice::from_raw_parts_mut(to.at(channel * points + first), count) };
                read(how, &input[channel * plane..][..plane], &c, &mut found, to);
            }
        }
    });
}

impl Sampling {
    /// The numbers of channels and points, or nothing where there is nothing to do.
    fn check(&self, batch: usize, input: usize, grid: usize) -> Option<(usize, usize)> {
        assert!((2..=3).contains(&self.dims) && self.plane() > 0 && self.plane() < 1 << 31);
        assert!(self.dims == 3 || self.sizes[0] == 1);
        if batch == 0 {
            return None;
        }
        let (channels, points) = (input / batch / self.plane(), grid / batch / self.dims);
        assert!(input == batch * channels * self.plane() && grid == batch * points * self.dims);
        (channels * points > 0).then_some((channels, points))
    }
}

/// The gradients of the image and of the grid, each where it is wanted. All are dense; they need not be cleared.
pub fn grid_sample_backward<T: Real>(
    how: &Sampling,
    batch: usize,
    grad: &[T],
    input: &[T],
    grid: &[T],
    to_input: &mut [T],
    to_grid: &mut [T],
) {
    to_input.fill(T::ZERO);
    to_grid.fill(T::ZERO);
    let Some((channels, points)) = how.check(batch, input.len(), grid.len()) else {
        return;
    };
    assert!(grad.len() == batch * channels * points);
    assert!(to_input.len() == input.len() || to_input.is_empty());
    assert!(to_grid.len() == grid.len() || to_grid.is_empty());
    let (plane, blocks) = (how.plane(), points.div_ceil(BLOCK));
    let numbers = |n: usize, first: usize| {
        let count = BLOCK.min(points - first);
        &grid[(n * points + first) * how.dims..][..count * how.dims]
    };
    if !to_input.is_empty() {
        // A thread adds whole planes, their points in order.
        let to = Share::new(to_input.as_mut_ptr());
        parallel::for_range(batch * channels, grain(points * how.corners()), |range| {
            let mut c = Corners::new();
            let mut start = range.start;
            while start < range.end {
                let n = start / channels;
                let end = range.end.min((n + 1) * channels);
                for first in (0..points).step_by(BLOCK) {
                    fill(how, numbers(n, first), &mut c);
                    for channel in start..end {
                        // SAFETY: a plane of the gradient that no other thread has.
                        let to = unsafe { std::slice::from_raw_parts_mut(to.at(channel * plane), plane) };
                        add_all(how.corners(), &grad[channel * points + first..][..c.count], &c, to);
                    }
                }
                start = end;
            }
        });
    }
    if !to_grid.is_empty() && !how.nearest {
        let to = Share::new(to_grid.as_mut_ptr());
        parallel::for_range(batch * blocks, grain(BLOCK * how.corners() * channels), |range| {
            let mut c = Corners::new();
            for unit in range {
                let (n, first) = (unit / blocks, unit % blocks * BLOCK);
                fill(how, numbers(n, first), &mut c);
                let mut sums = [[T::ZERO; BLOCK]; 3];
                for channel in n * channels..(n + 1) * channels {
                    let grad = &grad[channel * points + first..][..c.count];
                    slopes(how.dims, grad, &input[channel * plane..][..plane], &c, &mut sums);
                }
                let count = c.count * how.dims;
                // SAFETY: inside the gradient, and no other unit's.
                let to = unsafe { std::slice::from_raw_parts_mut(to.at((n * points + first) * how.dims), count) };
                for (i, to) in to.iter_mut().enumerate() {
                    let (p, k) = (i / how.dims, i % how.dims);
                    *to = sums[k][p] * c.axes[k].slope[p];
                }
            }
        });
    }
}

multiversion! {
    /// Adds a block's gradients to the corners that they came from.
    fn add_all<T: Real>(corners: usize, grad: &[T], c: &Corners<T>, to: &mut [T]) {
        for (p, g) in grad.iter().enumerate() {
            for k in 0..corners {
                if let Some(to) = to.get_mut(c.at[k][p] as usize) {
                    *to = g.mul_add(c.weight[k][p], *to);
                }
            }
        }
    }
}

multiversion! {
    /// Adds to `sums` what a block's gradients of one channel say about the places.
    fn slopes<T: Real>(dims: usize, grad: &[T], plane: &[T], c: &Corners<T>, sums: &mut [[T; BLOCK]; 3]) {
        for (p, g) in grad.iter().enumerate() {
            let mut along = [T::ZERO; 3];
            for corner in 0..1usize << dims {
                let Some(value) = plane.get(c.at[corner][p] as usize) else { continue };
                for (k, along) in along.iter_mut().enumerate().take(dims) {
                    let mut rise = *value * c.axes[k].rise[corner >> k & 1][p];
                    for other in (0..dims).filter(|&other| other != k) {
                        rise = rise * c.axes[other].weight[corner >> other & 1][p];
                    }
                    *along = *along + rise;
                }
            }
            for k in 0..dims {
                sums[k][p] = g.mul_add(along[k], sums[k][p]);
            }
        }
    }
}
