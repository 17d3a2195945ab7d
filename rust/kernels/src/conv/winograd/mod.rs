//! Minimal filtering (Winograd 1980; Lavin and Gray, arXiv:1509.09308): two to five taps a dim with stride one, in both dims
//! or in one, forward and in both gradients (of three by three taps a tile of four by four positions takes 36 products per
//! pair of channels instead of 144); and three by three with stride two, 81 instead of 144
//! ([`forms`]). More taps are several passes that are added. Four to eight taps with stride two become two to four with
//! stride one ([`phases`]), forward and for the weights' gradient: of 7x7 taps 48 products per position instead of 147. Taps
//! that lie apart are those of smaller images ([`dilated`]).
//!
//! Every pass is some products of matrices, one per point at which the transforms know a tile's polynomial: of tiles by
//! channels and channels by outputs, or, for the weights' gradient, of outputs by tiles and tiles by channels. Tiles,
//! filters and sums hold their channels side by side, so the products read them as they lie.
//!
//! Only float32, and only where the error stays within a few times the plain sum's (the tests' `errors.rs` holds it to that):
//! the sum over channels, or over tiles, must have at least [`LEAST`] terms.

mod across;
mod dilated;
mod forms;
mod passes;
mod phases;
mod transform;
mod weight;

pub(crate) use dilated::Dilated;
pub(super) use passes::{Filters, convolve};
pub(super) use phases::some;
pub(crate) use phases::{Phases, set_some};
/// The transforms, as the kernels' tables name them.
pub(crate) mod steps {
    pub(crate) use super::across::{AcrossArgs, ColumnsArgs};
    pub(crate) use super::transform::{FilterArgs, OutputArgs, Steps, TapsArgs, WindowArgs};
    pub(crate) use super::transform::{across, columns, filter, output, taps, window};
}
use weight::sums;
pub(super) use weight::{gradient, takes_gradient};

use super::ConvShape;
use super::geometry::Gather;
use super::lines::LineTile;
use crate::gemm::{Kernels, Scratch, panel_width};
use crate::simd::cache::first_is_small;
use forms::{Form, Forms};
use std::ops::Range;
use transform::WindowArgs;

/// Most taps of a line: more are rare.
const MOST_TAPS: usize = 16;
/// Least terms of a sum at a point: below, the transforms err more than the plain sum's roundings.
const LEAST: usize = 16;

/// How a pass is computed: the form, the planes that it reads and where in them the first window begins, the planes that it
/// writes. More taps down or across than the form has are several passes, whose results are added.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    form: Forms,
    taps: [usize; 2],
    size: [usize; 2],
    start: [isize; 2],
    grid: [usize; 2],
}

impl Plan {
    /// The pass that `g` describes, if it has a form.
    pub fn of(g: &Gather) -> Option<Plan> {
        let follow = |taps: &[isize]| taps.windows(2).all(|two| two[1] == two[0] + 1);
        if g.grid[0] != 1 || g.offsets[0] != [0] || !follow(&g.offsets[1]) || !follow(&g.offsets[2]) {
            return None;
        }
        let form = match (g.step, g.offsets[1].len(), g.offsets[2].len()) {
            ([_, 1, 1], n @ 2..=MOST_TAPS, m) if n == m => Forms::both(Form::of(n)),
            ([_, 1, 1], n @ 3..=MOST_TAPS, 1) => Forms([Form::of(n), Form::One]),
            ([_, 1, 1], 1, n @ 3..=MOST_TAPS) => Forms([Form::One, Form::of(n)]),
            ([_, 2, 2], 3, 3) => Forms::both(Form::Halving),
            _ => return None,
        };
        // A position that sees nothing but padding is to be zero exactly.
        let sees = |d: usize| {
            let last = (g.grid[d].saturating_sub(1) * g.step[d]) as isize + g.offsets[d][0];
            g.grid[d] > 0 && g.offsets[d][0] + g.offsets[d].len() as isize > 0 && last < g.size[d] as isize
        };
        if !sees(1) || !sees(2) {
            return None;
        }
        Some(Plan {
            form,
            taps: [g.offsets[1].len(), g.offsets[2].len()],
            size: [g.size[1], g.size[2]],
            start: [g.offsets[1][0], g.offsets[2][0]],
            grid: [g.grid[1], g.grid[2]],
        })
    }

    /// The gradient of the input with a stride of two, if it has a form.
    pub fn doubling(s: &ConvShape) -> Option<Plan> {
        let flat = s.kernel[0] == 1 && s.stride[0] == 1 && s.padding[0] == 0 && s.input[0] == 1;
        let odd = s.padding[1] % 2 == 1 && s.padding[2] % 2 == 1;
        if !flat || !odd || s.stride[1..] != [2, 2] || s.dilation[1..] != [1, 1] {
            return None;
        }
        let (form, back) = match s.kernel[1..] {
            [3, 3] => (Form::Doubling, 1),
            [4, 4] => (Form::Doubling4, 3),
            _ => return None,
        };
        Some(Plan {
            form: Forms::both(form),
            taps: [form.taps(); 2],
            size: [s.output[1], s.output[2]],
            start: [1, 2].map(|d| (s.padding[d] as isize - back) / 2),
            grid: [s.input[1], s.input[2]],
        })
    }

    /// Tiles of an image, down and across.
    fn tiles(&self) -> [usize; 2] {
        let side = self.form.side();
        [0, 1].map(|d| self.grid[d].div_ceil(side[d]))
    }

    /// From where a dim's first result's window begins to where the last one's does.
    fn last(&self, d: usize) -> isize {
        let step = if self.form.0[d] == Form::Halving { 2 } else { 1 };
        (step * self.grid[d].saturating_sub(1)) as isize
    }

    /// Passes that are added, down and across.
    fn passes(&self) -> [usize; 2] {
        [0, 1].map(|d| self.taps[d].div_ceil(self.form.0[d].taps()))
    }

    /// Whether channels fall into whole vectors where several passes are added.
    pub fn fills(&self, channels: usize) -> bool {
        self.passes() == [1, 1] || channels.is_multiple_of(LEAST)
    }

    /// Whether a pass over `count` images should be computed so: channels in and out, strides in and out.
    pub fn takes<T>(&self, count: usize, [channels, rows]: [usize; 2], src: [isize; 5], dst: [isize; 5]) -> bool {
        // Wider numbers would lose digits that are asked for.
        size_of::<T>() == 4
            && src[4] == 1
            && dst[4] == 1
            && dst[1] >= 0
            && rows.min(channels) >= LEAST
            && self.worth(count)
    }

    /// Products of an image, for a pair of channels.
    pub fn products(&self) -> usize {
        let count = |all: [usize; 2]| all.iter().product::<usize>();
        count(self.tiles()) * count(self.passes()) * self.form.points()
    }

    /// Products saved outweigh the transforms: at least two fifths of them, whatever hangs over the edges, and more than the
    /// filters' transform costs, which is as much as some 220 products per filter with stride one.
    fn worth(&self, count: usize) -> bool {
        let passes: usize = self.passes().iter().product();
        let tiles = self.products();
        let products = self.grid.iter().chain(&self.taps).product::<usize>();
        let doubling = matches!(self.form.0[0], Form::Doubling | Form::Doubling4);
        let products = if doubling { products / 4 } else { products };
        let [most, of] = match self.form {
            form if !form.plain() => [4, 5],
            // Of one line or column the transforms are lighter.
            Forms([Form::One, _] | [_, Form::One]) if passes == 1 => [2, 3],
            Forms([Form::One, _] | [_, Form::One]) => [5, 8],
            _ => [3, 5],
        };
        // What falls apart is copied before.
        let copied = if passes > 1 {
            40 * self.taps.iter().product::<usize>()
        } else {
            0
        };
        of * tiles <= most * products
            && count * products.saturating_sub(tiles) >= 6 * passes * self.form.values() + copied
    }
}

/// Tiles side by side in one image: a rectangle of whole lines, or a piece of one line.
struct Part {
    /// The first one's number among the tiles asked for.
    at: usize,
    image: isize,
    row: usize,
    col: usize,
    rows: usize,
    cols: usize,
}

/// Cuts a run of tiles, counted over all images, into such parts.
fn parts([high, wide]: [usize; 2], tiles: Range<usize>) -> impl Iterator<Item = Part> {
    let mut next = tiles.start;
    std::iter::from_fn(move || {
        let left = tiles.end - next;
        if left == 0 {
            return None;
        }
        let (row, col) = (next / wide % high, next % wide);
        let (rows, cols) = if col == 0 && left >= wide {
            ((left / wide).min(high - row), wide)
        } else {
            (1, left.min(wide - col))
        };
        let part = Part {
            at: next - tiles.start,
            image: (next / (wide * high)) as isize,
            row,
            col,
            rows,
            cols,
        };
        next += rows * cols;
        Some(part)
    })
}

/// Some channels of all images: the first element, and strides of image, channel and line.
#[derive(Clone, Copy)]
struct Planes<T> {
    src: *const T,
    strides: [isize; 3],
    channels: usize,
    size: [usize; 2],
    /// Line and column at which the first tile begins.
    start: [isize; 2],
    form: Forms,
    /// Tiles of results that are themselves the filters, else windows.
    filters: bool,
}

/// Where transformed tiles, or their sums, lie.
#[derive(Clone, Copy)]
struct Place<T> {
    dst: *mut T,
    tile: usize,
    point: usize,
}

impl<T> Place<T> {
    /// Room for tiles of `row` elements at each point, the tiles of a point next to each other.
    fn reserve(scratch: &mut Scratch, form: Forms, tiles: usize, row: usize) -> Self {
        let point = apart(tiles * row);
        Self {
            dst: scratch.reserve::<T>(form.points() * point),
            tile: row,
            point,
        }
    }

    /// The same, filled by `fill` unless it holds `name` already.
    fn filled(
        scratch: &mut Scratch,
        form: Forms,
        [tiles, row]: [usize; 2],
        name: u64,
        fill: impl FnOnce(Self),
    ) -> Self {
        let (tile, point) = (row, apart(tiles * row));
        let dst = scratch.filled(form.points() * point, name, |dst| fill(Self { dst, tile, point }));
        Self { dst, tile, point }
    }
}

// SAFETY: an address behind which tasks write disjoint parts.
unsafe impl<T: Sync> Sync for Place<T> {}

/// What is transformed after some tiles of a vector of channels.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// The next vector's; after the last one, the tiles below.
    Channels,
    /// The tiles below.
    Tiles,
}

/// Transforms some tiles of one vector of channels, from channel `first` on, and asks for what comes `then`.
///
/// # Safety
/// The planes and all points lie in live memory; `strip` has room for the tiles; `kernels` fit the CPU.
unsafe fn fill<T>(
    kernels: &Kernels<T>,
    planes: &Planes<T>,
    first: usize,
    all: [usize; 2],
    tiles: Range<usize>,
    to: &Place<T>,
    strip: *mut T,
    then: Then,
) {
    let [image, channel, row_stride] = planes.strides;
    let step = planes.form.0.map(|f| f.window()[1]);
    for part in parts(all, tiles) {
        let below = (step[0] * part.rows) as isize * row_stride;
        // With a larger first-level cache the transforms are slower for it.
        let ahead = match then {
            _ if !first_is_small() => 0,
            Then::Channels if first + kernels.narrow < planes.channels => kernels.narrow as isize * channel,
            Then::Channels => below - first as isize * channel,
            Then::Tiles => below,
        };
        let args = WindowArgs {
            src: planes
                .src
                .wrapping_offset(part.image * image + first as isize * channel),
            channel_stride: channel,
            channels: planes.channels.saturating_sub(first).min(kernels.narrow),
            row_stride,
            size: planes.size,
            line: (step[0] * part.row) as isize + planes.start[0],
            col: (step[1] * part.col) as isize + planes.start[1],
            rows: part.rows,
            cols: part.cols,
            form: planes.form,
            filters: planes.filters,
            ahead,
            dst: to.dst.wrapping_add(part.at * to.tile),
            dst_tile: to.tile,
            dst_point: to.point,
            strip,
        };
        // SAFETY: the caller's promise.
        unsafe { (kernels.winograd.window)(&args) };
    }
}

/// Elements of the panels that hold `n` channels.
fn whole<T>(kernels: &Kernels<T>, n: usize) -> usize {
    let rest = n % kernels.nr;
    n - rest + if rest == 0 { 0 } else { panel_width(kernels, rest) }
}

/// Elements between points: not a power of two, which would put all points into one set of the cache.
fn apart(n: usize) -> usize {
    n.next_multiple_of(16) + 16
}

/// Place of column `at` in a right operand of `k` rows and `n` columns that lies in panels, and the width of its panel.
fn in_panel<T>(kernels: &Kernels<T>, at: usize, k: usize, n: usize) -> (usize, usize) {
    let first = at / kernels.nr * kernels.nr;
    (first * k + at - first, panel_width(kernels, kernels.nr.min(n - first)))
}

/// `c = (from_c ? c : 0) + a @ b`, for `a` with strides, one of which is 1, and `b` in panels.
struct Product<T> {
    a: *const T,
    a_strides: [isize; 2],
    b: *const T,
    c: *mut T,
    c_row: usize,
    from_c: bool,
    /// The product is computed apart, then added to C.
    adds: bool,
}

impl<T: Copy> Product<T> {
    /// # Safety
    /// The operands lie in live memory; `kernels` fit the CPU.
    unsafe fn run(self, kernels: &Kernels<T>, [m, n, k]: [usize; 3]) {
        let [a_rs, a_cs] = self.a_strides;
        for j in (0..n).step_by(kernels.nr) {
            let cols = kernels.nr.min(n - j);
            let tile = LineTile {
                k,
                a: self.a,
                a_rs,
                a_cs,
                b: self.b.wrapping_add(j * k),
                b_rs: panel_width(kernels, cols) as isize,
                c: self.c.wrapping_add(j),
                c_rs: self.c_row as isize,
                n: cols,
                from_c: self.from_c,
                adds: self.adds,
                ..LineTile::empty()
            };
            // SAFETY: the caller's promise.
            unsafe { tile.column(kernels, m) };
        }
    }
}
