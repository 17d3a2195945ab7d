//! Smallest and largest elements, both in one pass and in any order, since all give the same: elements are compared as
//! integers in the numbers' order (-0 below 0, NaN beyond the infinities). There is one kernel for each width, over lines and
//! over rows; the drivers know only bytes.

use super::walk::{Share, Walk, grain};
use crate::dtype::DType;
use crate::multiversion;
use crate::parallel::for_range;
use crate::simd::every::every;
use crate::view::{AnyDst, AnySrc};
use std::marker::PhantomData;
use std::slice::from_raw_parts;

/// Elements of a piece of a line: a thread's smallest share.
const PIECE: usize = 16 * 1024;
/// Elements of a line, or of a row, that are brought side by side at a time; columns of a strip.
const STRIP: usize = 2048;
/// Columns up to which rows that lie one after another are taken several as one.
const NARROW: usize = 64;
/// Lines at a time, and rows.
const SOME: usize = 64;

/// Integers of which floats' bits are made: those in the order of the numbers.
trait Key: Copy + PartialOrd + Send + Sync + 'static {
    const LEAST: Self;
    const GREATEST: Self;
    /// A number's bits as an integer in its place, and back.
    fn turned(self) -> Self;
    fn of(v: i64) -> Self;
}

macro_rules! key {
    ($($t:ty)*) => {$(
        impl Key for $t {
            const LEAST: Self = <$t>::MIN;
            const GREATEST: Self = <$t>::MAX;
            #[inline(always)]
            fn turned(self) -> Self { self ^ ((self >> (<$t>::BITS - 1)) & <$t>::MAX) }
            #[inline(always)]
            fn of(v: i64) -> Self { v as $t }
        }
    )*};
}
key!(u8 i8 i16 i32 i64);

#[inline(always)]
fn key<T: Key, const FLOAT: bool>(x: T) -> T {
    if FLOAT { x.turned() } else { x }
}

#[inline(always)]
fn less<T: Key>(a: T, b: T) -> T {
    if b < a { b } else { a }
}

#[inline(always)]
fn more<T: Key>(a: T, b: T) -> T {
    if b > a { b } else { a }
}

/// The ends of one line. Fewer than `N` elements are left at its end: the last `N` are looked at again.
#[inline(always)]
fn ends<T: Key, const FLOAT: bool, const N: usize>(x: &[T]) -> [T; 2] {
    let Some(last) = x.last_chunk::<N>() else {
        let mut both = [T::GREATEST, T::LEAST];
        for &x in x {
            let k = key::<T, FLOAT>(x);
            both = [less(both[0], k), more(both[1], k)];
        }
        return both;
    };
    let (mut low, mut high) = ([T::GREATEST; N], [T::LEAST; N]);
    for x in x.as_chunks::<N>().0 {
        for i in 0..N {
            let k = key::<T, FLOAT>(x[i]);
            low[i] = less(low[i], k);
            high[i] = more(high[i], k);
        }
    }
    for i in 0..N {
        let k = key::<T, FLOAT>(last[i]);
        low[i] = less(low[i], k);
        high[i] = more(high[i], k);
    }
    // Arrays by value, or the compiler takes their elements apart.
    [
        low.into_iter().fold(T::GREATEST, less),
        high.into_iter().fold(T::LEAST, more),
    ]
}

multiversion! {
    /// The ends of `out.len()` lines of `n` elements, `step` apart; the widths are such that the compiler makes vectors of.
    fn each_line<T: Key, L: Form>(_form: PhantomData<L>, from: *const T, n: usize, step: isize, out: &mut [[T; 2]]) {
        for (i, out) in out.iter_mut().enumerate() {
            // SAFETY: the caller of `lines` has as many lines of as many elements.
            let x = unsafe { from_raw_parts(from.offset(i as isize * step), n) };
            *out = match (L::FLOAT, L::WIDE) {
                (true, _) => ends::<T, true, 32>(x),
                (false, false) => ends::<T, false, 32>(x),
                (false, true) => ends::<T, false, 64>(x),
            };
        }
    }
}

multiversion! {
    /// Puts rows, at `offsets` from `from`, into the ends of their columns.
    fn each_row<T: Key, L: Form>(
        _form: PhantomData<L>,
        from: *const T,
        offsets: &[isize],
        low: &mut [T],
        high: &mut [T],
    ) {
        let n = low.len();
        let high = &mut high[..n];
        // SAFETY: the caller of `rows` has rows of as many elements.
        let row = |o: isize| unsafe { from_raw_parts(from.offset(o), n) };
        let fours = offsets.chunks_exact(4);
        let rest = fours.remainder();
        for o in fours {
            let [a, b, c, d] = [row(o[0]), row(o[1]), row(o[2]), row(o[3])];
            for i in 0..n {
                let [a, b, c, d] = match L::FLOAT {
                    true => [a[i].turned(), b[i].turned(), c[i].turned(), d[i].turned()],
                    false => [a[i], b[i], c[i], d[i]],
                };
                low[i] = less(low[i], less(less(a, b), less(c, d)));
                high[i] = more(high[i], more(more(a, b), more(c, d)));
            }
        }
        for &o in rest {
            let a = row(o);
            for i in 0..n {
                let k = if L::FLOAT { a[i].turned() } else { a[i] };
                low[i] = less(low[i], k);
                high[i] = more(high[i], k);
            }
        }
    }
}

/// What the bits are, and whether lines are taken 64 elements at a time instead of 32.
trait Form: 'static {
    const FLOAT: bool;
    const WIDE: bool;
}
struct Floats;
struct Ints;
struct Bytes;
macro_rules! form {
    ($($t:ty, $float:literal, $wide:literal);*) => {$(
        impl Form for $t {
            const FLOAT: bool = $float;
            const WIDE: bool = $wide;
        }
    )*};
}
form!(Floats, true, false; Ints, false, false; Bytes, false, true);

/// Where two results go, and the steps from one to the next, in elements; null: nowhere.
#[derive(Clone, Copy)]
struct Ends {
    at: [*mut u8; 2],
    step: [isize; 2],
}

/// The kernels of one dtype. Ends of lines are pairs, one after another; those of columns two rows `STRIP` elements apart.
#[derive(Clone, Copy)]
struct Kind {
    size: usize,
    lines: unsafe fn(*const u8, usize, isize, *mut u8, usize),
    rows: unsafe fn(*const u8, &[isize], *mut u8, usize),
    bring: unsafe fn(*const u8, isize, *mut u8, usize),
    begin: unsafe fn(*mut u8, usize),
    /// Puts ends into others: the two rows of `n` in the first into those of the second.
    join: unsafe fn(*const u8, [usize; 2], *mut u8, [usize; 2], usize),
    finish: unsafe fn(*const u8, [usize; 2], Ends, usize, [i64; 2]),
    /// The key of infinity, and NaN's bits.
    special: [i64; 2],
}

impl Kind {
    fn of(d: DType) -> Option<Kind> {
        Some(match d {
            DType::U8 => Kind::with::<u8, Bytes>([0; 2]),
            DType::I8 => Kind::with::<i8, Bytes>([0; 2]),
            DType::I16 => Kind::with::<i16, Ints>([0; 2]),
            DType::I32 => Kind::with::<i32, Ints>([0; 2]),
            DType::I64 => Kind::with::<i64, Ints>([0; 2]),
            DType::BF16 => Kind::with::<i16, Floats>([0x7f80, 0x7fc0]),
            DType::F16 => Kind::with::<i16, Floats>([0x7c00, 0x7e00]),
            DType::F32 => Kind::with::<i32, Floats>([0x7f80_0000, 0x7fc0_0000]),
            DType::F64 => Kind::with::<i64, Floats>([0x7ff0 << 48, 0x7ff8 << 48]),
            _ => return None,
        })
    }

    fn with<T: Key, L: Form>(special: [i64; 2]) -> Kind {
        Kind {
            size: size_of::<T>(),
            lines: lines::<T, L>,
            rows: rows::<T, L>,
            bring: bring::<T>,
            begin: begin::<T>,
            join: join::<T>,
            finish: finish::<T, L>,
            special,
        }
    }
}

/// # Safety
/// `count` lines of `n` elements, `step` apart, and room for as many pairs.
unsafe fn lines<T: Key, L: Form>(from: *const u8, n: usize, step: isize, out: *mut u8, count: usize) {
    // SAFETY: the contract of this function.
    unsafe {
        each_line::<T, L>(
            PhantomData,
            from.cast(),
            n,
            step,
            std::slice::from_raw_parts_mut(out.cast(), count),
        )
    }
}

/// # Safety
/// A row of `n` elements at each offset, and two rows at `ends`, `STRIP` apart.
unsafe fn rows<T: Key, L: Form>(from: *const u8, offsets: &[isize], ends: *mut u8, n: usize) {
    // SAFETY: the contract of this function.
    unsafe {
        let low = std::slice::from_raw_parts_mut(ends.cast::<T>(), n);
        let high = std::slice::from_raw_parts_mut(ends.cast::<T>().add(STRIP), n);
        each_row::<T, L>(PhantomData, from.cast(), offsets, low, high);
    }
}

/// # Safety
/// As for `every`.
unsafe fn bring<T: Key>(from: *const u8, step: isize, to: *mut u8, n: usize) {
    // SAFETY: the contract of this function.
    unsafe { every::<T>(from.cast(), step, to.cast(), n) }
}

/// # Safety
/// Room for two rows of `n`, `STRIP` apart.
unsafe fn begin<T: Key>(ends: *mut u8, n: usize) {
    // SAFETY: the contract of this function.
    unsafe {
        std::slice::from_raw_parts_mut(ends.cast(), n).fill(T::GREATEST);
        std::slice::from_raw_parts_mut(ends.cast::<T>().add(STRIP), n).fill(T::LEAST);
    }
}

/// # Safety
/// `n` ends at both; from one to the next, and from an end to its other, it is as many elements as is said.
unsafe fn join<T: Key>(
    from: *const u8,
    [step, other]: [usize; 2],
    to: *mut u8,
    [to_step, to_other]: [usize; 2],
    n: usize,
) {
    let (from, to) = (from.cast::<T>(), to.cast::<T>());
    for i in 0..n {
        // SAFETY: the contract of this function.
        unsafe {
            let (low, high) = (to.add(i * to_step), to.add(i * to_step + to_other));
            *low = less(*low, *from.add(i * step));
            *high = more(*high, *from.add(i * step + other));
        }
    }
}

/// The element that is an end: NaN where one of both lies beyond an infinity.
#[inline(always)]
fn element<T: Key, L: Form>(ends: [T; 2], side: usize, [infinity, nan]: [i64; 2]) -> T {
    if !L::FLOAT {
        return ends[side];
    }
    let none = (ends[0] < T::of(!infinity)) | (ends[1] > T::of(infinity));
    if none { T::of(nan) } else { ends[side].turned() }
}

multiversion! {
    fn each_end<T: Key, L: Form>(_form: PhantomData<L>, ends: [&[T]; 2], side: usize, out: &mut [T], special: [i64; 2]) {
        let (low, high) = (&ends[0][..out.len()], &ends[1][..out.len()]);
        for (i, out) in out.iter_mut().enumerate() {
            *out = element::<T, L>([low[i], high[i]], side, special);
        }
    }
}

/// Ends as elements.
///
/// # Safety
/// `n` ends as in [`join`], and as many places.
unsafe fn finish<T: Key, L: Form>(
    from: *const u8,
    [step, other]: [usize; 2],
    mut to: Ends,
    n: usize,
    special: [i64; 2],
) {
    let from = from.cast::<T>();
    if step == 1 {
        for side in 0..2 {
            if to.step[side] != 1 || to.at[side].is_null() {
                continue;
            }
            // SAFETY: as below.
            unsafe {
                let ends = [from_raw_parts(from, n), from_raw_parts(from.add(other), n)];
                each_end::<T, L>(
                    PhantomData,
                    ends,
                    side,
                    std::slice::from_raw_parts_mut(to.at[side].cast(), n),
                    special,
                );
            }
            to.at[side] = std::ptr::null_mut();
        }
        if to.at == [std::ptr::null_mut(); 2] {
            return;
        }
    }
    for i in 0..n {
        // SAFETY: the contract of this function.
        let ends = unsafe { [*from.add(i * step), *from.add(i * step + other)] };
        for side in (0..2).filter(|&side| !to.at[side].is_null()) {
            // SAFETY: as above.
            unsafe {
                *to.at[side].cast::<T>().offset(i as isize * to.step[side]) = element::<T, L>(ends, side, special)
            };
        }
    }
}

/// All that a thread needs.
struct Plan {
    kind: Kind,
    from: *const u8,
    low: *mut u8,
    high: *mut u8,
    /// Offsets into the elements and the two results.
    kept: Walk<3>,
    reduced: Walk<3>,
}

// SAFETY: threads read the elements and write results of their own.
unsafe impl Sync for Plan {}

impl Plan {
    /// # Safety
    /// An offset of the walks.
    unsafe fn at(&self, offset: isize) -> *const u8 {
        // SAFETY: the caller's promise.
        unsafe { self.from.offset(offset * self.kind.size as isize) }
    }

    fn results(&self, [_, low, high]: [isize; 3], [_, low_step, high_step]: [isize; 3]) -> Ends {
        let place = |p: *mut u8, at: isize| match p.is_null() {
            true => p,
            false => p.wrapping_offset(at * self.kind.size as isize),
        };
        Ends {
            at: [place(self.low, low), place(self.high, high)],
            step: [low_step, high_step],
        }
    }
}

/// The smallest and the largest elements over the dims that `axes` names, whichever are asked for, into views of the elements'
/// dtype with size 1 there; NaN where one of the elements is. Not of truth values, nor of unsigned integers of two bytes and
/// more: these are left alone. Of no elements: integers' extremes, NaN.
pub fn extrema(src: AnySrc, axes: &[bool], low: Option<AnyDst>, high: Option<AnyDst>) -> bool {
    let Some(kind) = Kind::of(src.dtype()) else {
        return false;
    };
    for dst in low.iter().chain(&high) {
        assert!(dst.dtype().size() == kind.size, "the result has the elements' type");
    }
    let (mut kept, mut reduced) = (Walk::<3>::new(), Walk::<3>::new());
    for (d, &n) in src.shape().iter().enumerate() {
        let step = src.strides()[d];
        if !axes[d] {
            let place = |dst: &Option<AnyDst>| dst.as_ref().map_or(0, |dst| dst.strides()[d]);
            kept.push(n, [step, place(&low), place(&high)]);
        } else if step != 0 || n == 0 {
            // The same element again changes nothing.
            reduced.push(n, [step, 0, 0]);
        }
    }
    if kept.count() == 0 {
        return true;
    }
    kept.sort();
    reduced.sort();
    let ptr = |dst: &Option<AnyDst>| dst.as_ref().map_or(std::ptr::null_mut(), |dst| dst.ptr());
    let mut plan = Plan {
        kind,
        from: src.ptr(),
        low: ptr(&low),
        high: ptr(&high),
        kept: kept.coalesce(),
        reduced: reduced.coalesce(),
    };
    let ((width, [near, ..]), (len, [step, ..])) = (plan.kept.last(), plan.reduced.last());
    let step = if len == 1 { 1 } else { step };
    if width > 1 && near != 0 && near.abs() < step.abs() && plan.reduced.count() > 1 {
        columns(&mut plan);
    } else {
        runs(&mut plan, len, step);
    }
    true
}

/// Parts of a result's work for threads to take, where there are few results.
fn parts(results: usize, units: usize, work: usize) -> usize {
    if results < 16 && work > 2 * grain(1) {
        units.min(64 / results).max(1)
    } else {
        1
    }
}

/// Room for ends of `n` columns, at both ends of `STRIP`, or for pairs.
fn room(n: usize) -> Vec<u64> {
    vec![0; n]
}

/// Lines along the innermost reduced dim, for each result as many as there are positions of the others.
fn runs(plan: &mut Plan, len: usize, step: isize) {
    let kind = plan.kind;
    let size = kind.size;
    plan.reduced.pop();
    // Long lines in pieces that overlap by less than there are of them.
    let piece = if step == 1 { PIECE } else { STRIP };
    let mut n = len;
    if len > piece {
        let pieces = len.div_ceil(piece);
        let apart = len / pieces;
        n = len - apart * (pieces - 1);
        plan.reduced.push(pieces, [apart as isize * step, 0, 0]);
    }
    let plan = &*plan;
    let (outputs, units) = (plan.kept.count(), plan.reduced.count());
    // A part is several lines: joining costs as much as a short one.
    let parts = parts(outputs, units.div_ceil(4), units * n * outputs);
    if parts == 1 && units == 1 && step == 1 && outputs > 1 {
        for_range(outputs, grain(n), |range| {
            let mut pairs = [0u64; 2 * SOME];
            let pairs = pairs.as_mut_ptr().cast::<u8>();
            plan.kept.runs(range, |_, at, count, step| {
                for first in (0..count).step_by(SOME) {
                    let some = SOME.min(count - first);
                    let at: [isize; 3] = std::array::from_fn(|k| at[k] + first as isize * step[k]);
                    // SAFETY: lines of the walk, and the places of their results.
                    unsafe {
                        (kind.lines)(plan.at(at[0]), n, step[0], pairs, some);
                        (kind.finish)(pairs, [2, 1], plan.results(at, step), some, kind.special);
                    }
                }
            });
        });
        return;
    }
    let mut found = room(if parts > 1 { 2 * outputs * parts } else { 0 });
    let between = Share::new(found.as_mut_ptr());
    for_range(outputs * parts, grain(n * units.div_ceil(parts)), |jobs| {
        let mut pairs = [0u64; 2 * SOME];
        let pairs = pairs.as_mut_ptr().cast::<u8>();
        let mut near = room(if step == 1 { 0 } else { (n * size).div_ceil(8) });
        let near = near.as_mut_ptr().cast::<u8>();
        for job in jobs {
            let at = plan.kept.at(job / parts);
            let part = job % parts;
            let mut both = [0u64; 2];
            let ends = both.as_mut_ptr().cast::<u8>();
            // SAFETY: the ends of nothing, and room for a pair.
            unsafe { (kind.lines)(plan.from, 0, 0, ends, 1) };
            plan.reduced.runs(
                part * units / parts..(part + 1) * units / parts,
                |_, run, count, apart| {
                    for first in (0..count).step_by(SOME) {
                        let some = SOME.min(count - first);
                        let start = at[0] + run[0] + first as isize * apart[0];
                        // SAFETY: lines of the walks.
                        unsafe {
                            if step == 1 {
                                (kind.lines)(plan.at(start), n, apart[0], pairs, some);
                                (kind.join)(pairs, [2, 1], ends, [0, 1], some);
                                continue;
                            }
                            for i in 0..some {
                                (kind.bring)(plan.at(start + i as isize * apart[0]), step, near, n);
                                (kind.lines)(near, n, 0, pairs, 1);
                                (kind.join)(pairs, [2, 1], ends, [0, 1], 1);
                            }
                        }
                    }
                },
            );
            // SAFETY: a job's place is its own.
            unsafe {
                if parts > 1 {
                    std::ptr::copy_nonoverlapping(ends, between.at(2 * job).cast(), 2 * size);
                } else {
                    (kind.finish)(ends, [2, 1], plan.results(at, [0; 3]), 1, kind.special);
                }
            }
        }
    });
    for o in 0..if parts > 1 { outputs } else { 0 } {
        let lot = found[2 * o * parts..].as_mut_ptr().cast::<u8>();
        // SAFETY: pairs sixteen bytes apart.
        unsafe {
            (kind.join)(lot, [16 / size, 1], lot, [0, 1], parts);
            (kind.finish)(lot, [2, 1], plan.results(plan.kept.at(o), [0; 3]), 1, kind.special);
        }
    }
}

/// Rows of neighbours that are all kept.
fn columns(plan: &mut Plan) {
    let kind = plan.kind;
    let size = kind.size;
    let (width, step) = plan.kept.pop();
    let w = width as isize;
    // Narrow rows that lie one after another, several as one: they are joined at the end, with those left over.
    let (mut pack, mut rest) = (1, 0);
    if step[0] == 1 && width <= NARROW && plan.reduced.rank() == 1 && plan.reduced.last().1[0] == w {
        let (rows, _) = plan.reduced.pop();
        pack = (2 * NARROW / width).min(rows);
        rest = rows % pack;
        plan.reduced.push(rows / pack, [w * pack as isize, 0, 0]);
    }
    let plan = &*plan;
    let row = width * pack;
    let strips = row.div_ceil(STRIP);
    let rows = plan.reduced.count();
    let results = plan.kept.count() * strips;
    let parts = parts(results, rows.div_ceil(2 * SOME), rows * row * plan.kept.count());
    // Two rows of `STRIP` elements for each.
    let each = 2 * STRIP * size / 8;
    let mut found = room(if parts > 1 { results * parts * each } else { 0 });
    let between = Share::new(found.as_mut_ptr());
    let place = |result: usize| {
        let mut at = plan.kept.at(result / strips);
        let first = result % strips * STRIP;
        for (a, s) in at.iter_mut().zip(step) {
            *a += s * first as isize;
        }
        (at, STRIP.min(row - first))
    };
    let done = |result: usize, ends: *mut u8| {
        let (at, n) = place(result);
        // SAFETY: the ends of the strip's columns and the places of their results.
        unsafe {
            for side in 1..pack {
                (kind.join)(ends.add(side * width * size), [1, STRIP], ends, [1, STRIP], width);
            }
            (kind.finish)(ends, [1, STRIP], plan.results(at, step), n.min(width), kind.special);
        }
    };
    for_range(results * parts, grain(rows.div_ceil(parts) * row.min(STRIP)), |jobs| {
        let mut own = room(if parts > 1 { 0 } else { each });
        let mut near = room(if step[0] == 1 {
            0
        } else {
            (4 * row.min(STRIP) * size).div_ceil(8)
        });
        let near = near.as_mut_ptr().cast::<u8>();
        for job in jobs {
            let (at, n) = place(job / parts);
            // SAFETY: `parts > 1` has room for each job.
            let ends = match parts {
                1 => own.as_mut_ptr().cast::<u8>(),
                _ => unsafe { between.at(job * each).cast::<u8>() },
            };
            let part = job % parts;
            let mut offsets = [0isize; SOME];
            let mut held = 0;
            let fold = |offsets: &[isize]| {
                // SAFETY: rows of the walks; four of them fit `near`.
                unsafe {
                    if step[0] == 1 {
                        return (kind.rows)(plan.at(at[0]), offsets, ends, n);
                    }
                    for some in offsets.chunks(4) {
                        for (i, &o) in some.iter().enumerate() {
                            (kind.bring)(plan.at(at[0] + o), step[0], near.add(i * n * size), n);
                        }
                        let places: [isize; 4] = std::array::from_fn(|i| (i * n) as isize);
                        (kind.rows)(near, &places[..some.len()], ends, n);
                    }
                }
            };
            // SAFETY: room for two rows.
            unsafe { (kind.begin)(ends, n) };
            plan.reduced
                .each(part * rows / parts..(part + 1) * rows / parts, |_, [o, ..]| {
                    offsets[held] = o;
                    held += 1;
                    if held == SOME {
                        fold(&offsets);
                        held = 0;
                    }
                });
            fold(&offsets[..held]);
            if part == 0 && rest > 0 {
                // SAFETY: the rows after the last that were taken together.
                unsafe { (kind.rows)(plan.at(at[0]), &[(rows * row) as isize], ends, rest * width) };
            }
            if parts == 1 {
                done(job, ends);
            }
        }
    });
    for result in 0..if parts > 1 { results } else { 0 } {
        let lot = found[result * parts * each..].as_mut_ptr().cast::<u8>();
        for part in 1..parts {
            // SAFETY: the lots of a result lie one after another.
            unsafe { (kind.join)(lot.add(part * each * 8), [1, STRIP], lot, [1, STRIP], row.min(STRIP)) };
        }
        done(result, lot);
    }
}
