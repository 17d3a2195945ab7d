//! Checking indices, and turning runs of them into offsets.
//!
//! Indices are looked at many at a time ([`resolve`]), which checks them and leaves offsets that are safe to use whatever
//! they were; the loops that move elements then only load and store.

use super::IndexError;
use crate::multiversion;
use crate::parallel;
use crate::reduce::walk::Walk;
use crate::simd::Aligned;
use crate::simd::cache::first_is_small;
use crate::simd::prefetch_write;
use crate::view::Src;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// Indices of one thread's smallest share.
pub(super) const GRAIN: usize = 16 * 1024;
/// Indices that are turned into offsets together.
pub(super) const BLOCK: usize = 1024;
/// Shorter runs are moved one by one.
pub(super) const SHORT: usize = 40;

/// Turns checked indices into places of a dim.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    size: usize,
    wrap: bool,
}

impl Place {
    /// Indices into a dim of `size` places, of which there is at least one; negative ones may count from the end.
    pub fn new(size: usize, wrap: bool) -> Place {
        Place { size, wrap }
    }

    pub fn size(self) -> usize {
        self.size
    }

    /// The place of an index, if it has one.
    #[inline(always)]
    pub fn find(self, i: i64) -> Option<usize> {
        let at = if self.wrap && i < 0 {
            i.wrapping_add(self.size as i64)
        } else {
            i
        } as usize;
        (at < self.size).then_some(at)
    }

    /// The place of an index that was found good; the first place for one that was changed since.
    #[inline(always)]
    pub fn of(self, i: i64) -> usize {
        self.find(i).unwrap_or(0)
    }
}

/// Finds that all indices lie in `0..size` (`-size..size` where they wrap).
pub(crate) fn check(index: &Src<i64>, size: usize, wrap: bool, dim: usize) -> Result<Place, IndexError> {
    let low = if wrap { -(size as i64) } else { 0 };
    let walk = Walk::of(index.shape(), [index.strides()]).coalesce();
    let bad = AtomicBool::new(false);
    parallel::for_range(walk.count(), 4 * GRAIN, |range| {
        walk.runs(range, |_, [at], n, [step]| {
            // SAFETY: the walk stays inside the view.
            let (least, most) = unsafe { extremes(index.ptr().offset(at), n, step) };
            if least < low || most >= size as i64 {
                bad.store(true, Ordering::Relaxed);
            }
        });
    });
    if bad.into_inner() {
        return Err(culprit(index, size, wrap, dim));
    }
    Ok(Place { size, wrap })
}

/// The error for indices of which at least one was found bad. Should another thread have mended it meanwhile, the error
/// still stands.
#[cold]
pub(super) fn culprit(index: &Src<i64>, size: usize, wrap: bool, dim: usize) -> IndexError {
    let low = if wrap { -(size as i64) } else { 0 };
    let walk = Walk::of(index.shape(), [index.strides()]).coalesce();
    let mut first = None;
    walk.each(0..walk.count(), |_, [at]| {
        // SAFETY: the walk stays inside the view.
        let i = unsafe { *index.ptr().offset(at) };
        if i < low || i >= size as i64 {
            first = first.or(Some(i));
        }
    });
    IndexError {
        index: first.unwrap_or(size as i64),
        size,
        dim,
    }
}

/// The least and the largest of `n` indices, of which there is at least one.
///
/// # Safety
/// They are readable at `step`.
pub(super) unsafe fn extremes(index: *const i64, n: usize, step: isize) -> (i64, i64) {
    // SAFETY: the caller's promise; where the step is 0 one index stands for all.
    unsafe {
        match step {
            0 => (*index, *index),
            1 => extremes_of(std::slice::from_raw_parts(index, n)),
            _ => (0..n as isize).fold((i64::MAX, i64::MIN), |(low, high), i| {
                let i = *index.offset(i * step);
                (low.min(i), high.max(i))
            }),
        }
    }
}

multiversion! {
    fn extremes_of(index: &[i64]) -> (i64, i64) {
        let (mut low, mut high) = (i64::MAX, i64::MIN);
        for &i in index {
            low = if i < low { i } else { low };
            high = if i > high { i } else { high };
        }
        (low, high)
    }
}

/// A run of elements at one side of a move.
#[derive(Clone, Copy)]
pub(super) struct Run<P> {
    pub at: P,
    pub step: isize,
}

impl<T> Run<*const T> {
    /// The run from its `j`-th element on.
    ///
    /// # Safety
    /// There is such an element.
    #[inline(always)]
    pub unsafe fn skip(self, j: usize) -> Self {
        // SAFETY: the caller's promise.
        let at = unsafe { self.at.offset(j as isize * self.step) };
        Run { at, ..self }
    }
}

impl<T> Run<*mut T> {
    /// As for a run that is read.
    ///
    /// # Safety
    /// There is such an element.
    #[inline(always)]
    pub unsafe fn skip(self, j: usize) -> Self {
        // SAFETY: the caller's promise.
        let at = unsafe { self.at.offset(j as isize * self.step) };
        Run { at, ..self }
    }
}

/// Room for the offsets of one block, and for indices that do not lie side by side.
pub(super) struct Offsets {
    to: Aligned<[isize; BLOCK]>,
    gathered: Aligned<[i64; BLOCK]>,
}

impl Offsets {
    pub fn new() -> Self {
        Offsets {
            to: Aligned([0; BLOCK]),
            gathered: Aligned([0; BLOCK]),
        }
    }

    /// `j·step + place(index[j])·along` for up to [`BLOCK`] indices, added to what is there where `more`; and whether
    /// all of them have a place (the first one stands for it if not).
    ///
    /// # Safety
    /// `n` indices are readable.
    #[inline(always)]
    pub unsafe fn find(
        &mut self,
        index: Run<*const i64>,
        n: usize,
        place: Place,
        along: isize,
        step: isize,
        more: bool,
    ) -> bool {
        let n = n.min(BLOCK);
        let index = if index.step == 1 {
            // SAFETY: the caller's promise.
            unsafe { std::slice::from_raw_parts(index.at, n) }
        } else {
            for (j, to) in self.gathered[..n].iter_mut().enumerate() {
                // SAFETY: as above.
                *to = unsafe { *index.at.offset(j as isize * index.step) };
            }
            &self.gathered[..n]
        };
        resolve(index, place, along, step, more, &mut self.to[..n])
    }

    #[inline(always)]
    pub fn of(&self, n: usize) -> &[isize] {
        &self.to[..n]
    }

    /// All offsets at 0, or at those of a walk.
    pub fn clear(&mut self, n: usize) {
        self.to[..n].fill(0);
    }

    /// As [`Offsets::find`] for a part of the block that begins at `first`, added to what is there.
    ///
    /// # Safety
    /// `n` indices are readable.
    pub unsafe fn add(&mut self, first: usize, index: Run<*const i64>, n: usize, place: Place, along: isize) -> bool {
        if index.step == 1 {
            // SAFETY: the caller's promise.
            let index = unsafe { std::slice::from_raw_parts(index.at, n) };
            return resolve(index, place, along, 0, true, &mut self.to[first..][..n]);
        }
        let mut good = true;
        for (j, to) in self.to[first..][..n].iter_mut().enumerate() {
            // SAFETY: as above.
            let at = place.find(unsafe { *index.at.offset(j as isize * index.step) });
            good &= at.is_some();
            *to += at.unwrap_or(0) as isize * along;
        }
        good
    }
}

/// One offset, with what was there.
#[inline(always)]
fn offset(i: i64, place: Place, shift: i64) -> (isize, bool) {
    let at = i.wrapping_add(if i < 0 { shift } else { 0 });
    let good = (at as u64) < place.size as u64;
    (if good { at as isize } else { 0 }, good)
}

multiversion! {
    fn resolve(index: &[i64], place: Place, along: isize, step: isize, more: bool, to: &mut [isize]) -> bool {
        let shift = if place.wrap { place.size as i64 } else { 0 };
        let mut bad = 0i64;
        if more {
            for (to, &i) in to.iter_mut().zip(index) {
                let (at, good) = offset(i, place, shift);
                *to += at.wrapping_mul(along);
                bad |= !good as i64;
            }
        } else if along == 1 && step == 0 {
            for (to, &i) in to.iter_mut().zip(index) {
                let (at, good) = offset(i, place, shift);
                *to = at;
                bad |= !good as i64;
            }
        } else {
            for (j, (to, &i)) in to.iter_mut().zip(index).enumerate() {
                let (at, good) = offset(i, place, shift);
                *to = at.wrapping_mul(along) + j as isize * step;
                bad |= !good as i64;
            }
        }
        bad == 0
    }
}

/// `to[j] = from[j·from.step + place(index[j])·along]` for `n` positions, and whether all indices have a place.
///
/// # Safety
/// The positions lie inside their views, `from` at each place.
#[inline(always)]
pub(super) unsafe fn gather_run<T: Copy>(
    offsets: &mut Offsets,
    from: Run<*const T>,
    along: isize,
    index: Run<*const i64>,
    place: Place,
    to: Run<*mut T>,
    n: usize,
) -> bool {
    let mut good = true;
    // SAFETY: the caller's promise; offsets lead to places of the dim.
    unsafe {
        if n < SHORT {
            if (to.step, along, index.step, from.step) == (1, 1, 1, 0) {
                // The usual rows, without a product for each of four steps.
                for j in 0..n {
                    let found = place.find(*index.at.add(j));
                    good &= found.is_some();
                    *to.at.add(j) = *from.at.add(found.unwrap_or(0));
                }
                return good;
            }
            for j in 0..n as isize {
                let found = place.find(*index.at.offset(j * index.step));
                good &= found.is_some();
                *to.at.offset(j * to.step) = *from.at.offset(j * from.step + found.unwrap_or(0) as isize * along);
            }
            return good;
        }
        for first in (0..n).step_by(BLOCK) {
            let part = BLOCK.min(n - first);
            good &= offsets.find(index.skip(first), part, place, along, from.step, false);
            pick(from.skip(first).at, offsets.of(part), to.skip(first));
        }
    }
    good
}

/// `to[j·to.step + place(index[j])·along] = join(what is there, from[j])` for a few positions, in order, and whether all
/// indices have a place.
///
/// # Safety
/// The positions lie inside their views, `to` at each place.
#[inline(always)]
pub(super) unsafe fn deal_short<T: Copy>(
    to: Run<*mut T>,
    along: isize,
    index: Run<*const i64>,
    place: Place,
    from: Run<*const T>,
    n: usize,
    join: &impl Fn(T, T) -> T,
) -> bool {
    let mut good = true;
    if (to.step, along, index.step, from.step) == (0, 1, 1, 1) {
        // The usual rows, without a product for each of four steps.
        for j in 0..n {
            // SAFETY: as below.
            unsafe {
                let found = place.find(*index.at.add(j));
                good &= found.is_some();
                let to = to.at.add(found.unwrap_or(0));
                *to = join(*to, *from.at.add(j));
            }
        }
        return good;
    }
    for j in 0..n as isize {
        // SAFETY: the caller's promise; a place lies inside the dim.
        unsafe {
            let found = place.find(*index.at.offset(j * index.step));
            good &= found.is_some();
            let to = to.at.offset(j * to.step + found.unwrap_or(0) as isize * along);
            *to = join(*to, *from.at.offset(j * from.step));
        }
    }
    good
}

/// `to[j] = from[at[j]]`.
///
/// # Safety
/// All of them lie in live memory.
#[inline(always)]
pub(super) unsafe fn pick<T: Copy>(from: *const T, at: &[isize], to: Run<*mut T>) {
    // SAFETY: the caller's promise.
    unsafe {
        if to.step == 1 {
            let (blocks, rest) = at.as_chunks::<8>();
            let mut out = to.at;
            for at in blocks {
                let values = at.map(|at| *from.offset(at));
                for (j, v) in values.into_iter().enumerate() {
                    *out.add(j) = v;
                }
                out = out.add(8);
            }
            for (j, &at) in rest.iter().enumerate() {
                *out.add(j) = *from.offset(at);
            }
        } else {
            for (j, &at) in at.iter().enumerate() {
                *to.at.offset(j as isize * to.step) = *from.offset(at);
            }
        }
    }
}

/// `to[at[j]] = join(to[at[j]], from[j])`, in order. `ahead`: each line is asked for before it is its turn.
///
/// # Safety
/// All of them lie in live memory.
#[inline(always)]
pub(super) unsafe fn deal_out<T: Copy>(
    to: *mut T,
    at: &[isize],
    from: Run<*const T>,
    ahead: bool,
    join: &impl Fn(T, T) -> T,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if ahead {
            for &at in &at[..AHEAD.min(at.len())] {
                prefetch_write(to.wrapping_offset(at));
            }
            for (j, &place) in at.iter().enumerate() {
                prefetch_write(to.wrapping_offset(*at.get(j + AHEAD).unwrap_or(&place)));
                let to = to.offset(place);
                *to = join(*to, *from.at.offset(j as isize * from.step));
            }
        } else if from.step == 1 {
            for (j, &at) in at.iter().enumerate() {
                let to = to.offset(at);
                *to = join(*to, *from.at.add(j));
            }
        } else {
            for (j, &at) in at.iter().enumerate() {
                let to = to.offset(at);
                *to = join(*to, *from.at.offset(j as isize * from.step));
            }
        }
    }
}

/// How many places ahead a line is asked for: stores leave the processor in order, so that without it few lines are on
/// their way at a time.
const AHEAD: usize = 32;
/// Bytes of a result from which on that pays.
const FAR: usize = 256 * 1024;

/// The memory of a result to which single elements are dealt out. Where it is large, threads share it, and not the index:
/// each looks at all of the index and deals out what leads to its part, in order.
#[derive(Clone, Copy)]
pub(super) struct Span {
    first: isize,
    elements: usize,
    far: bool,
    ahead: bool,
}

impl Span {
    /// Of a view with elements of `size` bytes, which are only `written`, or else read first: then several lines are on
    /// their way as it is.
    pub fn new(shape: &[usize], strides: &[isize], size: usize, written: bool) -> Span {
        let (mut first, mut last) = (0, 0);
        for (&n, &step) in shape.iter().zip(strides) {
            let reach = n.saturating_sub(1) as isize * step;
            first += reach.min(0);
            last += reach.max(0);
        }
        let elements = (last - first) as usize + 1;
        let far = elements * size >= FAR && first_is_small();
        Span {
            first,
            elements,
            far,
            ahead: far && written,
        }
    }

    /// How many parts are worth it for so many elements.
    pub fn parts(&self, n: usize) -> usize {
        if self.far && n >= 4 * GRAIN {
            parallel::threads()
        } else {
            1
        }
    }

    /// Some of `parts` parts.
    pub fn part(&self, which: Range<usize>, parts: usize) -> Part {
        let border = |i: usize| self.first + (self.elements as u128 * i as u128 / parts as u128) as isize;
        Part {
            offsets: border(which.start)..border(which.end),
            whole: which.len() == parts,
            ahead: self.ahead,
        }
    }
}

/// What one thread writes of a result.
pub(super) struct Part {
    offsets: Range<isize>,
    whole: bool,
    ahead: bool,
}

impl Part {
    /// As [`deal_out`] to the element at `start`, for the places that lie in this part of the result.
    ///
    /// # Safety
    /// As there; nobody else writes to this part.
    #[inline(always)]
    pub unsafe fn deal_out<T: Copy>(
        &self,
        to: *mut T,
        start: isize,
        at: &[isize],
        from: Run<*const T>,
        join: &impl Fn(T, T) -> T,
    ) {
        // SAFETY: the caller's promise; as many places and values are kept as were written.
        unsafe {
            if self.whole {
                return deal_out(to, at, from, self.ahead, join);
            }
            let mut places = [const { MaybeUninit::<isize>::uninit() }; BLOCK];
            let mut values = [const { MaybeUninit::<T>::uninit() }; BLOCK];
            let (low, count) = (
                self.offsets.start - start,
                (self.offsets.end - self.offsets.start) as usize,
            );
            let mut n = 0;
            for (j, &at) in at[..at.len().min(BLOCK)].iter().enumerate() {
                // Written in any case, and overwritten where it is another's: a branch would be guessed wrong half the time.
                places.get_unchecked_mut(n).write(at);
                let value = *from.at.offset(j as isize * from.step);
                values.get_unchecked_mut(n).write(value);
                n += ((at.wrapping_sub(low) as usize) < count) as usize;
            }
            let places = std::slice::from_raw_parts(places.as_ptr().cast::<isize>(), n);
            let from = Run {
                at: values.as_ptr().cast::<T>(),
                step: 1,
            };
            deal_out(to, places, from, self.ahead, join);
        }
    }
}
