//! Planes side by side: sixteen are turned, so that a vector holds one place of each, and windows of any size and distance
//! are met in whole vectors, tap by tap, in the order of the other walks.

use super::max::Best;
use super::*;
use crate::parallel;
use crate::reduce::walk::Share;
use crate::scratch;
use crate::simd::transpose::turn;
use std::ops::Range;

/// Planes taken together.
const PLANES: usize = N;

/// Fewer are not turned in blocks.
const LEAST_PLANES: usize = 8;

/// Bytes of turned input that stay near.
const ROOM: usize = 64 << 10;

/// Bytes of turned input beyond which it does not pay.
const MOST: usize = 2 << 20;

/// Bytes of a turned gradient, which is made as a whole.
const WHOLE: usize = 256 << 10;

/// Rows of outputs, counted over depth and height, and the depths and heights that their windows lie in.
pub(super) struct Part {
    rows: Range<usize>,
    depths: Range<usize>,
    heights: Range<usize>,
}

/// What windows lie in, of which those of earlier outputs begin and end earlier: `all` and one more.
fn with_one_more(all: &Range<usize>, w: &Window) -> Range<usize> {
    if w.len == 0 {
        return all.clone();
    }
    let begin = if all.is_empty() { w.start } else { all.start };
    begin..all.end.max(w.start + (w.len - 1) * w.step + 1)
}

/// Pools of dense planes that are taken together, by parts.
pub(in crate::pool) struct Together<'a> {
    windows: &'a [Vec<Window>; 3],
    size: [usize; 3],
    parts: Vec<Part>,
    work: usize,
    entries: &'static Entries,
}

impl<'a> Together<'a> {
    /// Where this pays beside the walks along rows, which take sixteen outputs of a row, one or two columns apart: for windows
    /// farther apart, for those of adaptive pools, which have no shape, and for rows of at most `few` outputs. `whole`: for
    /// gradients, whose planes are one part. `work`: taps of a plane.
    pub fn new(
        windows: &'a [Vec<Window>; 3],
        shape: Option<&PoolShape>,
        few: usize,
        [planes, work]: [usize; 2],
        size: [usize; 3],
        whole: bool,
    ) -> Option<Self> {
        let entries = entries()?;
        let [depth, height, width] = size;
        let [ds, hs, ws] = windows;
        let pays = shape.is_none_or(|s| s.stride[2] > 2) || ws.len() <= few;
        let small = size.iter().product::<usize>() < i32::MAX as usize / 4;
        if !pays || !small || planes < LEAST_PLANES || ws.is_empty() {
            return None;
        }
        let bytes = |p: &Part| p.depths.len() * p.heights.len() * width * PLANES * size_of::<f32>();
        let all = Part {
            rows: 0..ds.len() * hs.len(),
            depths: 0..depth,
            heights: 0..height,
        };
        let mut parts = Vec::new();
        if whole || bytes(&all) <= ROOM {
            parts.push(all);
        } else {
            for (od, wd) in ds.iter().enumerate() {
                let row = od * hs.len();
                let mut part = Part {
                    rows: row..row,
                    depths: with_one_more(&(0..0), wd),
                    heights: 0..0,
                };
                for (oh, wh) in hs.iter().enumerate() {
                    let more = Part {
                        rows: part.rows.start..row + oh + 1,
                        depths: part.depths.clone(),
                        heights: with_one_more(&part.heights, wh),
                    };
                    if part.rows.is_empty() || bytes(&more) <= ROOM {
                        part = more;
                    } else {
                        let next = Part {
                            rows: row + oh..row + oh + 1,
                            depths: part.depths.clone(),
                            heights: with_one_more(&(0..0), wh),
                        };
                        parts.push(std::mem::replace(&mut part, next));
                    }
                }
                parts.push(part);
            }
        }
        let most = if whole { WHOLE } else { MOST };
        let fits = parts.iter().all(|p| bytes(p) <= most);
        fits.then_some(Self {
            windows,
            size,
            parts,
            work,
            entries,
        })
    }

    /// Calls `f` with the number of a plane and how many are taken from it on.
    fn each_group(&self, planes: usize, f: impl Fn(usize, usize) + Sync) {
        let groups = planes.div_ceil(PLANES);
        let least = (32_768 / (self.work * PLANES).max(1)).max(1);
        parallel::for_range(groups, least, |range| {
            for k in range {
                // Alike, so that none has fewer than half of the planes.
                let (from, to) = (k * planes / groups, (k + 1) * planes / groups);
                f(from, to - from);
            }
        });
    }

    fn plane(&self) -> usize {
        self.size.iter().product()
    }

    fn outputs(&self) -> usize {
        self.windows.iter().map(Vec::len).product()
    }

    /// Numbers of the turned input of any part, and of its results.
    fn room(&self) -> [usize; 2] {
        let most = |f: &dyn Fn(&Part) -> usize| self.parts.iter().map(f).max().unwrap_or(0) * PLANES;
        [
            most(&|p| p.depths.len() * p.heights.len()) * self.size[2],
            most(&|p| p.rows.len()) * self.windows[2].len(),
        ]
    }

    /// Turns a part's input: place `i` of its box and plane `c` come to `to[i · PLANES + c]`.
    ///
    /// # Safety
    /// `planes` dense planes lie at `from`, and room for the part at `to`.
    unsafe fn turn(&self, part: &Part, from: *const f32, planes: usize, to: *mut f32) {
        let [_, height, width] = self.size;
        let lines = part.heights.len() * width;
        let (runs, len) = if part.heights.len() == height {
            (1, part.depths.len() * lines)
        } else {
            (part.depths.len(), lines)
        };
        for run in 0..runs {
            let from = from.wrapping_add(((part.depths.start + run) * height + part.heights.start) * width);
            // SAFETY: the caller's promise.
            unsafe {
                turn(
                    from,
                    self.plane(),
                    planes,
                    len,
                    to.wrapping_add(run * len * PLANES),
                    PLANES,
                )
            };
        }
    }

    /// Maxima of `planes` planes; places go to `places` unless it is null.
    ///
    /// # Safety
    /// So many dense planes lie in live memory at `x`, and nobody else touches the dense results.
    pub unsafe fn max(&self, planes: usize, x: Share<f32>, y: Share<f32>, places: Share<i64>) {
        let ([turned, results], wanted) = (self.room(), !places.get().is_null());
        self.each_group(planes, |first, planes| {
            scratch::with::<f32, _>(turned, |near| {
                scratch::with::<f32, _>(results, |best| {
                    scratch::with::<i64, _>(if wanted { results } else { 0 }, |at| {
                        for part in &self.parts {
                            let (count, to) = self.results(part, first);
                            let at_or_null = if wanted { at.as_mut_ptr() } else { std::ptr::null_mut() };
                            // SAFETY: the caller's promise, and there is room for any part; the CPU has the instructions.
                            unsafe {
                                self.turn(part, x.at(first * self.plane()), planes, near.as_mut_ptr());
                                (self.entries.max_part)(self, part, near.as_ptr(), best.as_mut_ptr(), at_or_null);
                                turn(best.as_ptr(), PLANES, count, planes, y.at(to), self.outputs());
                                if wanted {
                                    turn(at.as_ptr(), PLANES, count, planes, places.at(to), self.outputs());
                                }
                            }
                        }
                    })
                })
            })
        });
    }

    /// Means of `planes` planes.
    ///
    /// # Safety
    /// As for [`Together::max`].
    pub unsafe fn mean(&self, planes: usize, x: Share<f32>, inverses: &Inverses, y: Share<f32>) {
        let [turned, results] = self.room();
        self.each_group(planes, |first, planes| {
            scratch::with::<f32, _>(turned, |near| {
                scratch::with::<f32, _>(results, |means| {
                    for part in &self.parts {
                        let (count, to) = self.results(part, first);
                        // SAFETY: as above.
                        unsafe {
                            self.turn(part, x.at(first * self.plane()), planes, near.as_mut_ptr());
                            (self.entries.mean_part)(self, part, near.as_ptr(), inverses, means.as_mut_ptr());
                            turn(means.as_ptr(), PLANES, count, planes, y.at(to), self.outputs());
                        }
                    }
                })
            })
        });
    }

    /// Gradient of [`Together::max`] from its input.
    ///
    /// # Safety
    /// As for [`Together::max`]; the planes are taken as a whole.
    pub unsafe fn max_input(&self, planes: usize, x: Share<f32>, g: Share<f32>, gx: Share<f32>) {
        let give = |first: usize, planes: usize, g: *const f32, sums: *mut f32| {
            scratch::with::<f32, _>(self.room()[0], |near| {
                // SAFETY: as above.
                unsafe {
                    self.turn(&self.parts[0], x.at(first * self.plane()), planes, near.as_mut_ptr());
                    (self.entries.give_part)(self, &self.parts[0], near.as_ptr(), g, sums)
                }
            })
        };
        // SAFETY: as above.
        unsafe { self.gradient(planes, g, gx, give) }
    }

    /// Gradient of [`Together::mean`].
    ///
    /// # Safety
    /// As for [`Together::max_input`].
    pub unsafe fn mean_input(&self, planes: usize, g: Share<f32>, inverses: &Inverses, gx: Share<f32>) {
        let spread = |_: usize, _: usize, g: *const f32, sums: *mut f32| {
            // SAFETY: as above.
            unsafe { (self.entries.spread_part)(self, &self.parts[0], g, inverses, sums) }
        };
        // SAFETY: as above.
        unsafe { self.gradient(planes, g, gx, spread) }
    }

    /// Calls `f` for planes from a first one on with their turned gradients and zeros, of which it makes sums, which go to `gx`.
    ///
    /// # Safety
    /// As for [`Together::max_input`].
    unsafe fn gradient(
        &self,
        planes: usize,
        g: Share<f32>,
        gx: Share<f32>,
        f: impl Fn(usize, usize, *const f32, *mut f32) + Sync,
    ) {
        let [turned, results] = self.room();
        let (size, outputs) = (self.plane(), self.outputs());
        self.each_group(planes, |first, planes| {
            scratch::with::<f32, _>(turned, |sums| {
                scratch::with::<f32, _>(results, |turned_g| {
                    sums.fill(0.0);
                    // SAFETY: the caller's promise; room for the one part.
                    unsafe {
                        let from = g.at(first * outputs);
                        turn(from, outputs, planes, outputs, turned_g.as_mut_ptr(), PLANES);
                        f(first, planes, turned_g.as_ptr(), sums.as_mut_ptr());
                        turn(sums.as_ptr(), PLANES, size, planes, gx.at(first * size), size);
                    }
                })
            })
        });
    }

    /// How many results of a plane a part has, and where those of a plane begin.
    fn results(&self, part: &Part, plane: usize) -> (usize, usize) {
        let width = self.windows[2].len();
        (
            part.rows.len() * width,
            plane * self.outputs() + part.rows.start * width,
        )
    }

    /// The windows of the depth and the height of a row of outputs.
    #[inline(always)]
    fn of_row(&self, row: usize) -> [&'a Window; 2] {
        let heights = self.windows[1].len();
        [&self.windows[0][row / heights], &self.windows[1][row % heights]]
    }
}

/// Runs `$body` for each tap of a window: where it lies in a part's turned box, and its number in the plane.
macro_rules! each_tap {
    ($t:ident, $part:ident, [$wd:ident, $wh:ident, $ww:ident], |$at:ident, $number:ident| $body:block) => {
        let [_, height, width] = $t.size;
        for d in (0..$wd.len).map(|i| $wd.start + i * $wd.step) {
            for h in (0..$wh.len).map(|i| $wh.start + i * $wh.step) {
                let line = (d - $part.depths.start) * $part.heights.len() + (h - $part.heights.start);
                for w in (0..$ww.len).map(|i| $ww.start + i * $ww.step) {
                    let $at = (line * width + w) * PLANES;
                    let $number = ((d * height + h) * width + w) as i32;
                    $body
                }
            }
        }
    };
}

/// Maxima of a part, and their places unless `at` is null.
///
/// # Safety
/// The turned box lies at `near`, and room for the results at `best` and `at`.
#[inline(always)]
pub(super) unsafe fn max<V: Sixteen>(v: V, t: &Together, part: &Part, near: *const f32, best: *mut f32, at: *mut i64) {
    // SAFETY: the caller's promise.
    unsafe {
        if at.is_null() {
            maxima::<V, false>(v, t, part, near, best, at)
        } else {
            maxima::<V, true>(v, t, part, near, best, at)
        }
    }
}

/// # Safety
/// As for [`max`]; `P` says whether places are wanted.
#[inline(always)]
unsafe fn maxima<V: Sixteen, const P: bool>(
    v: V,
    t: &Together,
    part: &Part,
    near: *const f32,
    best: *mut f32,
    at: *mut i64,
) {
    let mut to = 0;
    for row in part.rows.clone() {
        let [wd, wh] = t.of_row(row);
        for ww in &t.windows[2] {
            let first = (wd.start * t.size[1] + wh.start) * t.size[2] + ww.start;
            let mut top = Best {
                value: v.splat(f32::NEG_INFINITY),
                nan: v.nowhere(),
                at: v.place(first as i32),
            };
            each_tap!(t, part, [wd, wh, ww], |from, number| {
                // SAFETY: a place of the box, which the window lies in.
                top.take::<P>(v, unsafe { v.load(near.add(from)) }, number);
            });
            // SAFETY: there is room for each output of the part.
            unsafe {
                if P {
                    v.store_long(at.add(to), top.at);
                } else {
                    top.value = v.choose(top.nan, v.splat(f32::NAN), top.value);
                }
                v.store(best.add(to), top.value);
            }
            to += PLANES;
        }
    }
}

/// Means of a part: sums of each line's taps, then of the lines.
///
/// # Safety
/// As for [`max`].
#[inline(always)]
pub(super) unsafe fn mean<V: Sixteen>(
    v: V,
    t: &Together,
    part: &Part,
    near: *const f32,
    inverses: &Inverses,
    means: *mut f32,
) {
    let (mut to, width) = (0, t.size[2]);
    for row in part.rows.clone() {
        let [wd, wh] = t.of_row(row);
        for (ww, &inverse) in t.windows[2].iter().zip(inverses.of(row)) {
            let mut sum = v.zeros();
            for d in wd.start..wd.start + wd.len {
                for h in wh.start..wh.start + wh.len {
                    let line = (d - part.depths.start) * part.heights.len() + (h - part.heights.start);
                    let mut all = v.zeros();
                    for w in ww.start..ww.start + ww.len {
                        // SAFETY: a place of the box, which the window lies in.
                        all = v.added(all, unsafe { v.load(near.add((line * width + w) * PLANES)) });
                    }
                    sum = v.joined(sum, all);
                }
            }
            // SAFETY: sixteen factors; there is room for each output of the part.
            unsafe { v.store(means.add(to), v.scaled(sum, [inverse; N].as_ptr())) };
            to += PLANES;
        }
    }
}

/// Adds each output's gradient at `g` to the largest element of its window.
///
/// # Safety
/// As for [`max`]; `sums` is the box of the gradient.
#[inline(always)]
pub(super) unsafe fn give<V: Sixteen>(
    v: V,
    t: &Together,
    part: &Part,
    near: *const f32,
    g: *const f32,
    sums: *mut f32,
) {
    let mut of = 0;
    for row in part.rows.clone() {
        let [wd, wh] = t.of_row(row);
        for ww in &t.windows[2] {
            // Taps are counted in floats, which can be compared.
            let (mut top, mut at, mut tap) = (v.splat(f32::NEG_INFINITY), v.splat(0.0), 0.0);
            each_tap!(t, part, [wd, wh, ww], |from, _number| {
                // SAFETY: a place of the box, which the window lies in.
                let x = unsafe { v.load(near.add(from)) };
                let replaces = v.either(v.greater(x, top), v.unordered(x, x));
                top = v.choose(replaces, x, top);
                at = v.choose(replaces, v.splat(tap), at);
                tap += 1.0;
            });
            // SAFETY: each output's gradient is there.
            let share = unsafe { v.load(g.add(of)) };
            let mut tap = 0.0;
            each_tap!(t, part, [wd, wh, ww], |from, _number| {
                let to = sums.wrapping_add(from);
                let here = v.only(v.equal(at, v.splat(tap)), share);
                // SAFETY: as above. A zero changes no sum: none is a negative one.
                unsafe { v.store(to, v.add(v.load(to), here)) };
                tap += 1.0;
            });
            of += PLANES;
        }
    }
}

/// Adds each output's share to the elements of its window.
///
/// # Safety
/// As for [`give`].
#[inline(always)]
pub(super) unsafe fn spread<V: Sixteen>(
    v: V,
    t: &Together,
    part: &Part,
    g: *const f32,
    inverses: &Inverses,
    sums: *mut f32,
) {
    let mut of = 0;
    for row in part.rows.clone() {
        let [wd, wh] = t.of_row(row);
        for (ww, &inverse) in t.windows[2].iter().zip(inverses.of(row)) {
            // SAFETY: each output's gradient is there; sixteen factors.
            let share = unsafe { v.scaled(v.added(v.zeros(), v.load(g.add(of))), [inverse; N].as_ptr()) };
            each_tap!(t, part, [wd, wh, ww], |from, _number| {
                let to = sums.wrapping_add(from);
                // SAFETY: a place of the box, which the window lies in.
                unsafe { v.store(to, v.add(v.load(to), share)) };
            });
            of += PLANES;
        }
    }
}
