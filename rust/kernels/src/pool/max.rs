//! Max pooling: values, places where they are wanted, and the gradient, which goes back to those places or finds them
//! again in the input.

use super::block::{BLOCK, Row, put};
use super::channels::{each_place, maxima, side_by_side};
use super::row::{self, Places, Unwanted, Wanted};
use super::wide::{Together, Wide};
use super::{PoolShape, Strides, Window, adaptive_windows, each_plane, zero_plane};
use crate::dtype::DType;
use crate::dtype::Element;
use crate::multiversion;
use crate::reduce::walk::Share;
use crate::view::{Dst, Src};
use std::marker::PhantomData;
use std::ops::{Add, Range};

/// Element types that can be compared: f32, f64, i64.
pub trait MaxElement: Element + PartialOrd {
    /// Smaller than or equal to everything: what the padding holds.
    const LEAST: Self;
    /// `self` takes the place of `best`: it is larger, or not a number.
    #[inline(always)]
    fn replaces(self, best: Self) -> bool {
        #[allow(clippy::eq_op, reason = "only NaN differs from itself")]
        let nan = self != self;
        (self > best) | nan
    }
}
impl MaxElement for f32 {
    const LEAST: f32 = f32::NEG_INFINITY;
}
impl MaxElement for f64 {
    const LEAST: f64 = f64::NEG_INFINITY;
}
impl MaxElement for i64 {
    const LEAST: i64 = i64::MIN;
}

/// The windows over a plane of the input.
struct Plane<'a, T> {
    windows: &'a [Vec<Window>; 3],
    /// Where rows are dense: the windows' sizes, and the columns of outputs whose windows are whole.
    s: Option<&'a PoolShape>,
    strip: Range<usize>,
    strides: Strides,
    size: [usize; 3],
    /// The address at which the tensor ends, if it is one piece of memory.
    end: Option<usize>,
    element: PhantomData<T>,
}

impl<'a, T: MaxElement> Plane<'a, T> {
    fn new(windows: &'a [Vec<Window>; 3], s: Option<&'a PoolShape>, x: &Src<T>) -> Self {
        let strides = Strides::new(x.strides());
        let size = [x.shape()[2], x.shape()[3], x.shape()[4]];
        let small = size.iter().product::<usize>() < i32::MAX as usize;
        let s = s.filter(|_| strides.0[4] == 1 && small);
        Self {
            windows,
            s,
            strip: s.map_or(0..0, |s| row::whole(&windows[2], s)),
            strides,
            size,
            end: x.is_contiguous().then(|| x.ptr().wrapping_add(x.numel()) as usize),
            element: PhantomData,
        }
    }

    /// The rows (d, h) of a window.
    #[inline(always)]
    fn rows(wd: &Window, wh: &Window) -> impl Iterator<Item = (usize, usize)> {
        let (wd, wh) = (*wd, *wh);
        let depths = (0..wd.len).map(move |i| wd.start + i * wd.step);
        depths.flat_map(move |d| (0..wh.len).map(move |i| (d, wh.start + i * wh.step)))
    }

    /// The row of windows that the strip's outputs have, if there is one; `taps` is its memory.
    #[inline(always)]
    fn row<'t>(
        &self,
        src: *const T,
        wd: &Window,
        wh: &Window,
        taps: &'t mut Vec<(*const T, i32)>,
    ) -> Option<Row<'t, T>> {
        let s = self.s?;
        if self.strip.is_empty() || wd.len * wh.len == 0 {
            return None;
        }
        let start = self.windows[2][self.strip.start].start;
        taps.clear();
        taps.extend(Self::rows(wd, wh).map(|(d, h)| {
            let place = (d * self.size[1] + h) * self.size[2] + start;
            (src.wrapping_offset(self.strides.at(d, h, start)), place as i32)
        }));
        let [_, _, width] = self.size;
        let (d, h) = (wd.start + (wd.len - 1) * wd.step, wh.start + (wh.len - 1) * wh.step);
        let own = src.wrapping_offset(self.strides.at(d, h, width));
        Some(Row {
            taps,
            kernel: s.kernel[2],
            dilation: s.dilation[2],
            stride: s.stride[2],
            end: self.end.unwrap_or(own as usize),
        })
    }

    /// Maximum and place of one window.
    #[inline(always)]
    fn one(&self, src: *const T, wd: &Window, wh: &Window, ww: &Window) -> (T, usize) {
        let [_, height, width] = self.size;
        let mut best = T::LEAST;
        let mut place = (wd.start * height + wh.start) * width + ww.start;
        for (d, h) in Self::rows(wd, wh) {
            let row = src.wrapping_offset(self.strides.at(d, h, 0));
            for w in (0..ww.len).map(|i| ww.start + i * ww.step) {
                // SAFETY: windows hold indices inside the input.
                let v = unsafe { *row.wrapping_offset(w as isize * self.strides.0[4]) };
                if v.replaces(best) {
                    (best, place) = (v, (d * height + h) * width + w);
                }
            }
        }
        (best, place)
    }

    /// The planes as vectors see them, where they do.
    fn wide(&self) -> Option<Wide<'a>> {
        let s = self.s.filter(|_| T::DTYPE == DType::F32)?;
        Wide::new(self.windows, s, self.strides, self.size)
    }

    /// The planes side by side, where that pays: for rows of few outputs, which do not fill vectors; more of them where the
    /// walk along rows is `slow`, or a plane has but one.
    fn together(&self, shape: &[usize], slow: bool, whole: bool) -> Option<Together<'a>> {
        if T::DTYPE != DType::F32 {
            return None;
        }
        let one = self.windows[0].len() * self.windows[1].len() == 1;
        let few = if slow || one { 8 } else { 4 };
        let planes = shape[0] * shape[1];
        Together::new(self.windows, self.s, few, [planes, self.work()], self.size, whole)
    }

    /// Columns outside the strip, or all of them where there is none.
    #[inline(always)]
    fn others(&self, strip: bool) -> impl Iterator<Item = (usize, &Window)> {
        let windows = &self.windows[2];
        let skip = if strip { self.strip.clone() } else { 0..0 };
        let column = move |ow: usize| (ow, &windows[ow]);
        (0..skip.start).chain(skip.end..windows.len()).map(column)
    }

    fn work(&self) -> usize {
        let most = |w: &Vec<Window>| w.iter().map(|w| w.len).max().unwrap_or(0) * w.len();
        self.windows.iter().map(most).product()
    }
}

/// A plane of outputs.
struct Out<T> {
    plane: *mut T,
    strides: Strides,
    size: [usize; 3],
    dense: bool,
}

impl<T: Copy> Out<T> {
    fn new(view: &Dst<T>, plane: usize) -> Self {
        let strides = Strides::new(view.strides());
        let size = [view.shape()[2], view.shape()[3], view.shape()[4]];
        let dense = strides.dense(size);
        let plane = view.ptr().wrapping_offset(strides.plane(plane, view.shape()[1]));
        Self {
            plane,
            strides,
            size,
            dense,
        }
    }

    /// # Safety
    /// The block's positions are in the plane, which is this thread's.
    #[inline(always)]
    unsafe fn put(&self, block: &[T; BLOCK], n: usize, d: usize, h: usize, w: usize) {
        let to = self.plane.wrapping_offset(self.strides.at(d, h, w));
        let [depth, height, width] = self.size;
        let room = if self.dense {
            depth * height * width - ((d * height + h) * width + w)
        } else {
            n
        };
        // SAFETY: the caller's promise; in a dense plane later positions are written later.
        unsafe {
            if self.strides.0[4] == 1 || width == 1 {
                put(block, n, to, room);
            } else {
                (0..n).for_each(|j| *to.offset(j as isize * self.strides.0[4]) = block[j]);
            }
        }
    }

    /// # Safety
    /// As for `put`.
    #[inline(always)]
    unsafe fn set(&self, v: T, d: usize, h: usize, w: usize) {
        // SAFETY: the caller's promise.
        unsafe { *self.plane.wrapping_offset(self.strides.at(d, h, w)) = v };
    }
}

multiversion! {
    fn max_plane<T: MaxElement, P: Places>(
        p: &Plane<T>, src: *const T, y: &Out<T>, _wanted: P, places: Option<&Out<i64>>,
    ) {
        let mut taps = Vec::new();
        for (od, wd) in p.windows[0].iter().enumerate() {
            for (oh, wh) in p.windows[1].iter().enumerate() {
                let row = p.row(src, wd, wh, &mut taps);
                if let Some(row) = &row {
                    let stride = row.stride as i64;
                    // SAFETY: whole windows lie in the input; the strip lies in this thread's plane, and what a block
                    // writes beyond it is written again.
                    unsafe {
                        row::max_blocks::<T, P>(row, p.strip.len(), |begin, n, best, at| {
                            let w = p.strip.start + begin;
                            y.put(&best, n, od, oh, w);
                            if P::WANTED && let Some(places) = places {
                                let place = |j: usize| at[j] as i64 + (begin + j) as i64 * stride;
                                places.put(&std::array::from_fn(place), n, od, oh, w);
                            }
                        });
                    }
                }
                for (ow, ww) in p.others(row.is_some()) {
                    let (best, place) = p.one(src, wd, wh, ww);
                    // SAFETY: inside the output; planes are disjoint.
                    unsafe {
                        y.set(best, od, oh, ow);
                        if P::WANTED && let Some(places) = places {
                            places.set(place as i64, od, oh, ow);
                        }
                    }
                }
            }
        }
    }
}

fn forward<T: MaxElement>(p: &Plane<T>, x: Src<T>, y: Dst<T>, indices: Option<Dst<i64>>) {
    let channels = y.shape()[1];
    let dense = x.is_contiguous() && y.is_contiguous() && indices.is_none_or(|i| i.is_contiguous());
    let slow = indices.is_some() || p.s.is_some_and(|s| s.stride[2] == 1);
    if dense && let Some(together) = p.together(y.shape(), slow, false) {
        let places = Share::new(indices.map_or(std::ptr::null_mut(), |i| i.ptr()));
        // SAFETY: f32, as `together` found; dense planes.
        return unsafe {
            together.max(
                y.shape()[0] * channels,
                Share::new(x.ptr().cast_mut().cast()),
                Share::new(y.ptr().cast()),
                places,
            )
        };
    }
    if let Some(wide) = p.wide()
        && y.is_contiguous()
        && indices.is_none_or(|i| i.is_contiguous())
    {
        let size = y.shape()[2..].iter().product::<usize>();
        return each_plane(y.shape(), p.work(), |plane| {
            let src = x.ptr().wrapping_offset(p.strides.plane(plane, channels));
            let places = indices.map_or(std::ptr::null_mut(), |i| i.ptr().wrapping_add(plane * size));
            // SAFETY: f32, as `wide` found; planes are disjoint.
            unsafe { wide.max(src.cast(), y.ptr().add(plane * size).cast(), places) };
        });
    }
    if indices.is_none() && side_by_side(&x, &y) {
        return each_place(p.windows, x, y, |_, place, to| maxima(place, to, channels));
    }
    each_plane(y.shape(), p.work(), |plane| {
        let src = x.ptr().wrapping_offset(p.strides.plane(plane, channels));
        let out = Out::new(&y, plane);
        match &indices {
            Some(i) => max_plane(p, src, &out, Wanted, Some(&Out::new(i, plane))),
            None => max_plane(p, src, &out, Unwanted, None),
        }
    });
}

/// Largest element of each window and, where `indices` are wanted, its flat index in the input plane (d, h, w). The first
/// of equals wins; NaN wins over numbers; the padding counts as minus infinity.
pub fn max_pool<T: MaxElement>(s: &PoolShape, x: Src<T>, y: Dst<T>, indices: Option<Dst<i64>>) {
    let windows = s.all_windows(x.shape(), y.shape());
    forward(&Plane::new(&windows, Some(s), &x), x, y, indices);
}

/// [`max_pool`] with windows that share the input out evenly over the output.
pub fn adaptive_max_pool<T: MaxElement>(x: Src<T>, y: Dst<T>, indices: Dst<i64>) {
    if y.numel() > 0 {
        let windows = adaptive_windows(x.shape(), y.shape());
        forward(&Plane::new(&windows, None, &x), x, y, Some(indices));
    }
}

/// Gradient of [`max_pool`] from its input: the maxima are looked for again, which reads no indices and needs none to be
/// kept.
pub fn max_pool_input<T: MaxElement + Add<Output = T>>(s: &PoolShape, gy: Src<T>, x: Src<T>, gx: Dst<T>) {
    if gx.numel() == 0 {
        return;
    }
    let windows = s.all_windows(x.shape(), gy.shape());
    let p = Plane::new(&windows, Some(s), &x);
    let (channels, gs) = (x.shape()[1], Strides::new(gy.strides()));
    let two = s.kernel == [1, 2, 2] && s.stride == [1, 2, 2] && s.padding == [0; 3] && s.dilation == [1; 3];
    let inside = (3..5).all(|d| 2 * gy.shape()[d] <= x.shape()[d]);
    let dense = x.is_contiguous() && gy.is_contiguous() && gx.is_contiguous();
    let size = p.size.iter().product::<usize>();
    if dense && let Some(together) = p.together(x.shape(), false, true) {
        // SAFETY: f32, as `together` found; dense planes.
        return unsafe {
            together.max_input(
                x.shape()[0] * channels,
                Share::new(x.ptr().cast_mut().cast()),
                Share::new(gy.ptr().cast_mut().cast()),
                Share::new(gx.ptr().cast()),
            )
        };
    }
    if let Some(wide) = p.wide()
        && gy.is_contiguous()
        && gx.is_contiguous()
    {
        return each_plane(x.shape(), size + p.work(), |plane| {
            let src = x.ptr().wrapping_offset(p.strides.plane(plane, channels)).cast();
            let outputs = gy.shape()[2..].iter().product::<usize>();
            // SAFETY: f32, as `wide` found; planes are disjoint.
            unsafe {
                let (g, to) = (gy.ptr().add(plane * outputs), gx.ptr().add(plane * size));
                wide.max_input(src, g.cast(), to.cast());
            }
        });
    }
    each_plane(x.shape(), size + p.work(), |plane| {
        let src = x.ptr().wrapping_offset(p.strides.plane(plane, channels));
        let g = gy.ptr().wrapping_offset(gs.plane(plane, channels));
        let to = Out::new(&gx, plane);
        if two && inside && dense {
            let g_end = gy.ptr().wrapping_add(gy.numel());
            two_input_plane(&p, src, g, g_end, to.plane);
        } else {
            // SAFETY: this thread's plane.
            unsafe { zero_plane(to.plane, to.strides, p.size) };
            max_input_plane(&p, src, g, gs, &to);
        }
    });
}

multiversion! {
    fn max_input_plane<T: Adding>(p: &Plane<T>, src: *const T, g: *const T, gs: Strides, to: &Out<T>) {
        let mut taps = Vec::new();
        let [_, height, width] = p.size;
        let give = |place: usize, g: T| {
            // A window may have no element at all.
            if place >= p.size.iter().product() {
                return;
            }
            // SAFETY: inside the plane, which is this thread's.
            unsafe {
            let to = if to.dense {
                to.plane.add(place)
            } else {
                let at = to.strides.at(place / (height * width), place / width % height, place % width);
                to.plane.wrapping_offset(at)
            };
            *to = *to + g;
            }
        };
        for (od, wd) in p.windows[0].iter().enumerate() {
            for (oh, wh) in p.windows[1].iter().enumerate() {
                // SAFETY: a position of the gradient.
                let g_of = |ow: usize| unsafe { *g.wrapping_offset(gs.at(od, oh, ow)) };
                let row = p.row(src, wd, wh, &mut taps);
                let (before, after) = match row {
                    Some(_) => (0..p.strip.start, p.strip.end..p.windows[2].len()),
                    None => (0..p.windows[2].len(), 0..0),
                };
                // From left to right, so that each element's shares come in the order of the outputs.
                for ow in before {
                    give(p.one(src, wd, wh, &p.windows[2][ow]).1, g_of(ow));
                }
                if let Some(row) = &row {
                    // SAFETY: whole windows lie in the input.
                    unsafe {
                        row::max_blocks::<T, Wanted>(row, p.strip.len(), |begin, n, _, at| {
                            for (j, &at) in at.iter().enumerate().take(n) {
                                let place = at as usize + (begin + j) * row.stride;
                                give(place, g_of(p.strip.start + begin + j));
                            }
                        });
                    }
                }
                for ow in after {
                    give(p.one(src, wd, wh, &p.windows[2][ow]).1, g_of(ow));
                }
            }
        }
    }
}

/// What a gradient is added up in.
trait Adding: MaxElement + Add<Output = Self> {}
impl<T: MaxElement + Add<Output = T>> Adding for T {}

multiversion! {
    /// The common case, two by two and side by side, all planes dense: each element is written once, with a gradient added to
    /// zero.
    fn two_input_plane<T: Adding>(p: &Plane<T>, src: *const T, g: *const T, g_end: *const T, to: *mut T) {
        let [depth, height, width] = p.size;
        let (rows, cols) = (p.windows[1].len(), p.windows[2].len());
        let end = to.wrapping_add(depth * height * width);
        for d in 0..depth {
            for h in 0..rows {
                let at = (d * height + 2 * h) * width;
                let g = g.wrapping_add((d * rows + h) * cols);
                let mut begin = 0;
                while begin < cols {
                    // The last block is moved back where there is room: some positions are done again.
                    let first = begin.min(cols.saturating_sub(BLOCK));
                    let from = src.wrapping_add(at + 2 * first);
                    let into = to.wrapping_add(at + 2 * first);
                    let reach = width + 2 * BLOCK;
                    let open = p.end.is_some_and(|e| from.wrapping_add(reach) as usize <= e)
                        && into.wrapping_add(reach) <= end
                        && g.wrapping_add(first + BLOCK) <= g_end;
                    // SAFETY: inside the planes, as `open` says of whole blocks; what those write beyond a row is
                    // written again.
                    unsafe {
                        if open {
                            two_block(from, g.add(first), into, width);
                        } else {
                            for j in 0..BLOCK.min(cols - first) {
                                two_one(from.add(2 * j), *g.add(first + j) + T::default(), into.add(2 * j), width);
                            }
                        }
                    }
                    begin += BLOCK;
                }
                // SAFETY: the columns that no window has.
                unsafe {
                    for row in [at, at + width] {
                        std::slice::from_raw_parts_mut(to.add(row + 2 * cols), width - 2 * cols).fill(T::default());
                    }
                }
            }
            // SAFETY: the rows that no window has.
            unsafe {
                let rest = (height - 2 * rows) * width;
                std::slice::from_raw_parts_mut(to.add((d * height + 2 * rows) * width), rest).fill(T::default());
            }
        }
    }
}

/// # Safety
/// Whole blocks of pairs lie at `from` and `into` and in the rows after them, `width` apart, and a block at `g`.
#[inline(always)]
unsafe fn two_block<T: Adding>(from: *const T, g: *const T, into: *mut T, width: usize) {
    type Pairs<T> = [[T; 2]; BLOCK];
    // SAFETY: the caller's promise.
    let (rows, g): ([Pairs<T>; 2], [T; BLOCK]) = unsafe {
        (
            [
                from.cast::<Pairs<T>>().read_unaligned(),
                from.add(width).cast::<Pairs<T>>().read_unaligned(),
            ],
            g.cast::<[T; BLOCK]>().read_unaligned(),
        )
    };
    let g = g.map(|g| g + T::default());
    let mut best = [T::LEAST; BLOCK];
    let mut at = [0i32; BLOCK];
    for place in 0..4 {
        for j in 0..BLOCK {
            let v = rows[place / 2][j][place % 2];
            let replaces = v.replaces(best[j]);
            best[j] = if replaces { v } else { best[j] };
            at[j] = if replaces { place as i32 } else { at[j] };
        }
    }
    for row in 0..2 {
        let share = |j: usize, place: i32| if at[j] == place { g[j] } else { T::default() };
        let pairs: Pairs<T> = std::array::from_fn(|j| [share(j, 2 * row), share(j, 2 * row + 1)]);
        // SAFETY: the caller's promise.
        unsafe { into.add(row as usize * width).cast::<Pairs<T>>().write_unaligned(pairs) };
    }
}

/// One position of [`two_block`].
///
/// # Safety
/// Two elements lie at `from` and `into` and in the rows after them, `width` apart.
#[inline(always)]
unsafe fn two_one<T: MaxElement>(from: *const T, g: T, into: *mut T, width: usize) {
    let (mut best, mut at) = (T::LEAST, 0);
    let places = [0, 1, width, width + 1];
    // SAFETY: the caller's promise.
    unsafe {
        for (i, &place) in places.iter().enumerate() {
            let v = *from.add(place);
            if v.replaces(best) {
                (best, at) = (v, i);
            }
            *into.add(place) = T::default();
        }
        *into.add(places[at]) = g;
    }
}

/// Gradient of max pooling, adaptive or not: each output's gradient goes to the place its maximum came from. Indices
/// outside the plane are ignored.
pub fn max_pool_backward<T: MaxElement + Add<Output = T>>(gy: Src<T>, indices: Src<i64>, gx: Dst<T>) {
    if gx.numel() == 0 {
        return;
    }
    let (gs, is, xs) = (
        Strides::new(gy.strides()),
        Strides::new(indices.strides()),
        Strides::new(gx.strides()),
    );
    let (channels, [depth, height, width]) = (gx.shape()[1], [gx.shape()[2], gx.shape()[3], gx.shape()[4]]);
    let [od, oh, ow] = [gy.shape()[2], gy.shape()[3], gy.shape()[4]];
    let size = depth * height * width;
    let flat = xs.dense([depth, height, width]) && [gs.0[4], is.0[4]] == [1; 2] && ow > 0;
    each_plane(gx.shape(), size + 2 * od * oh * ow, |plane| {
        let dst = gx.ptr().wrapping_offset(xs.plane(plane, channels));
        let src = gy.ptr().wrapping_offset(gs.plane(plane, channels));
        let places = indices.ptr().wrapping_offset(is.plane(plane, channels));
        // SAFETY: inside the views; planes are disjoint.
        unsafe {
            zero_plane(dst, xs, [depth, height, width]);
            for (d, h) in (0..od * oh).map(|i| (i / oh, i % oh)) {
                let (places, src) = (
                    places.wrapping_offset(is.at(d, h, 0)),
                    src.wrapping_offset(gs.at(d, h, 0)),
                );
                if flat {
                    let dst = std::slice::from_raw_parts_mut(dst, size);
                    let (places, src) = (
                        std::slice::from_raw_parts(places, ow),
                        std::slice::from_raw_parts(src, ow),
                    );
                    for (place, g) in places.iter().zip(src) {
                        if let Some(to) = dst.get_mut(*place as usize) {
                            *to = *to + *g;
                        }
                    }
                    continue;
                }
                for w in 0..ow as isize {
                    let place = *places.wrapping_offset(w * is.0[4]) as usize;
                    if place < size {
                        let (d, h, x) = (place / (height * width), place / width % height, place % width);
                        let to = dst.wrapping_offset(xs.at(d, h, x));
                        *to = *to + *src.wrapping_offset(w * gs.0[4]);
                    }
                }
            }
        }
    });
}
