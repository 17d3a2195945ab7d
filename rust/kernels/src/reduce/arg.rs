//! Where the extrema are, and whether two tensors are equal.

use super::Reduce;
use super::extremum::extrema;
use super::folds::{Flag, Ordered, beats, flags, flags_mut};
use super::reduce;
use super::walk::{Share, Walk, grain, view_mut};
use crate::dtype::DType;
use crate::multiversion;
use crate::parallel;
use crate::simd::Aligned;
use crate::view::{AnyDst, AnySrc, Dst, Src};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// Index (and value) of the largest or smallest element along `axis`; the first one wins, a NaN before all. The results
/// have size 1 along `axis`, which must not be empty.
pub fn arg_reduce(max: bool, src: AnySrc, axis: usize, values: Option<AnyDst>, indices: AnyDst) {
    let indices = indices.typed::<i64>();
    match src.dtype() {
        DType::F32 => typed::<f32>(max, &src.typed(), axis, values.map(|v| v.typed()), &indices),
        DType::F64 => typed::<f64>(max, &src.typed(), axis, values.map(|v| v.typed()), &indices),
        DType::I64 => typed::<i64>(max, &src.typed(), axis, values.map(|v| v.typed()), &indices),
        DType::Bool => typed::<Flag>(max, &flags(&src), axis, values.map(|v| flags_mut(&v)), &indices),
        other => panic!("argmax of {}", other.name()),
    }
}

fn typed<T: Ordered>(max: bool, src: &Src<T>, axis: usize, values: Option<Dst<T>>, indices: &Dst<i64>) {
    if max {
        along::<T, true>(src, axis, values, indices);
    } else {
        along::<T, false>(src, axis, values, indices);
    }
}

fn along<T: Ordered, const MAX: bool>(src: &Src<T>, axis: usize, values: Option<Dst<T>>, indices: &Dst<i64>) {
    let vs = values.map_or([0; 8], |v| {
        let mut s = [0; 8];
        s[..v.rank()].copy_from_slice(v.strides());
        s
    });
    let strides = [src.strides(), indices.strides(), &vs[..src.rank()]];
    let (n, [step, ..], mut lines) = Walk::along(src.shape(), strides, axis);
    let count = lines.count();
    if n == 0 || count == 0 {
        return;
    }
    let out = Out {
        src: src.ptr(),
        n,
        step,
        indices: indices.ptr(),
        values: values.map(|v| v.ptr()),
    };
    if step == 1 && n >= 16 {
        // Two passes: the value (vectors, threads), then its first place.
        let mut best = vec![T::default(); count];
        let mut axes = [false; 8];
        axes[axis] = true;
        let shape = super::keepdim(src.shape(), &axes[..src.rank()]);
        let to = view_mut(&mut best, &shape);
        // SAFETY: the same memory; truth values are bytes.
        let (from, to) = unsafe {
            (
                AnySrc::new(src.ptr().cast(), T::BITS, src.shape(), src.strides()),
                AnyDst::new(to.ptr().cast(), T::BITS, &shape, to.strides()),
            )
        };
        let (low, high) = if MAX { (None, Some(to)) } else { (Some(to), None) };
        let taken = extrema(from, &axes[..src.rank()], low, high);
        debug_assert!(taken);
        let lines = lines.coalesce();
        parallel::for_range(count, grain(n), |range| find(&out, &lines, range, &best));
        return;
    }
    lines.sort();
    let lines = lines.coalesce();
    let mut outer = lines;
    let (width, at) = outer.pop();
    if at[0] == 1 && width > 1 {
        let strips = width.div_ceil(STRIP);
        parallel::for_range(outer.count() * strips, grain(n * width.min(STRIP)), |range| {
            strip::<T, MAX>(&out, &outer, width, at, range)
        });
    } else {
        parallel::for_range(count, grain(n), |range| line::<T, MAX>(&out, &lines, range));
    }
}

const STRIP: usize = 64;

struct Out<T> {
    src: *const T,
    n: usize,
    step: isize,
    indices: *mut i64,
    values: Option<*mut T>,
}

// SAFETY: threads read the input and write different outputs.
unsafe impl<T: Sync> Sync for Out<T> {}

impl<T: Copy> Out<T> {
    #[inline(always)]
    fn store(&self, at: [isize; 3], index: usize, value: T) {
        // SAFETY: `at` comes from the walk over the outputs.
        unsafe {
            *self.indices.offset(at[1]) = index as i64;
            if let Some(v) = self.values {
                *v.offset(at[2]) = value;
            }
        }
    }
}

multiversion! {
    fn find<T: Ordered>(out: &Out<T>, lines: &Walk<3>, range: Range<usize>, best: &[T]) {
        for i in range {
            let at = lines.at(i);
            // SAFETY: a line of n contiguous elements.
            let row = unsafe { std::slice::from_raw_parts(out.src.offset(at[0]), out.n) };
            let b = best[i];
            #[allow(clippy::eq_op)]
            let same = |x: T| (x == b) | ((x != x) & (b != b));
            let mut k = 0;
            for chunk in row.chunks_exact(16) {
                let mut hit = false;
                for &x in chunk {
                    hit |= same(x);
                }
                if hit {
                    break;
                }
                k += 16;
            }
            while k + 1 < out.n && !same(row[k]) {
                k += 1;
            }
            out.store(at, k, row[k]);
        }
    }
}

fn line<T: Ordered, const MAX: bool>(out: &Out<T>, lines: &Walk<3>, range: Range<usize>) {
    lines.each(range, |_, at| {
        // SAFETY: n elements along the axis.
        let get = |k: usize| unsafe { *out.src.offset(at[0] + k as isize * out.step) };
        let (mut best, mut index) = (get(0), 0);
        for k in 1..out.n {
            let x = get(k);
            if beats::<T, MAX>(x, best) {
                (best, index) = (x, k);
            }
        }
        out.store(at, index, best);
    });
}

/// Side-by-side lines, one per column of a strip.
fn strip<T: Ordered, const MAX: bool>(out: &Out<T>, outer: &Walk<3>, width: usize, at: [isize; 3], jobs: Range<usize>) {
    if MAX {
        strip_max(out, outer, width, at, jobs)
    } else {
        strip_min(out, outer, width, at, jobs)
    }
}

multiversion! {
    fn strip_max<T: Ordered>(out: &Out<T>, outer: &Walk<3>, width: usize, at: [isize; 3], jobs: Range<usize>) {
        strip_body::<T, true>(out, outer, width, at, jobs)
    }
}

multiversion! {
    fn strip_min<T: Ordered>(out: &Out<T>, outer: &Walk<3>, width: usize, at: [isize; 3], jobs: Range<usize>) {
        strip_body::<T, false>(out, outer, width, at, jobs)
    }
}

#[inline(always)]
fn strip_body<T: Ordered, const MAX: bool>(
    out: &Out<T>,
    outer: &Walk<3>,
    width: usize,
    step: [isize; 3],
    jobs: Range<usize>,
) {
    let strips = width.div_ceil(STRIP);
    for j in jobs {
        let mut at = outer.at(j / strips);
        let first = j % strips * STRIP;
        for k in 0..3 {
            at[k] += step[k] * first as isize;
        }
        let w = STRIP.min(width - first);
        let mut best = Aligned([T::default(); STRIP]);
        let mut index = Aligned([0i64; STRIP]);
        for k in 0..out.n {
            // SAFETY: w contiguous elements of row k.
            let row = unsafe { std::slice::from_raw_parts(out.src.offset(at[0] + k as isize * out.step), w) };
            if k == 0 {
                best[..w].copy_from_slice(row);
                continue;
            }
            for i in 0..w {
                let better = beats::<T, MAX>(row[i], best[i]);
                best[i] = if better { row[i] } else { best[i] };
                index[i] = if better { k as i64 } else { index[i] };
            }
        }
        for i in 0..w {
            let o = i as isize;
            out.store(
                [at[0], at[1] + o * step[1], at[2] + o * step[2]],
                index[i] as usize,
                best[i],
            );
        }
    }
}

/// Have `a` and `b`, of one dtype, the same shape and values? NaN equals nothing.
pub fn equal(a: AnySrc, b: AnySrc) -> bool {
    if a.shape() != b.shape() {
        return false;
    }
    match a.dtype() {
        DType::F32 => equal_typed::<f32>(&a.typed(), &b.typed()),
        DType::F64 => equal_typed::<f64>(&a.typed(), &b.typed()),
        DType::I64 => equal_typed::<i64>(&a.typed(), &b.typed()),
        DType::Bool => equal_typed::<Flag>(&flags(&a), &flags(&b)),
        other => panic!("equal of {}", other.name()),
    }
}

fn equal_typed<T: Ordered>(a: &Src<T>, b: &Src<T>) -> bool {
    let mut walk = Walk::of(a.shape(), [a.strides(), b.strides()]).coalesce();
    let (n, step) = walk.pop();
    let count = walk.count();
    let differs = AtomicBool::new(false);
    let (a, b) = (Share::new(a.ptr().cast_mut()), Share::new(b.ptr().cast_mut()));
    if count == 1 {
        let blocks = n.div_ceil(BLOCK);
        parallel::for_range(blocks, grain(BLOCK), |range| {
            for k in range {
                let first = k * BLOCK;
                let at = step.map(|s| s * first as isize);
                if !differs.load(Ordering::Relaxed) && run_differs(a, b, at, step, BLOCK.min(n - first)) {
                    differs.store(true, Ordering::Relaxed);
                }
            }
        });
    } else {
        parallel::for_range(count, grain(n), |range| {
            walk.each(range, |_, at| {
                if !differs.load(Ordering::Relaxed) && run_differs(a, b, at, step, n) {
                    differs.store(true, Ordering::Relaxed);
                }
            });
        });
    }
    !differs.into_inner()
}

const BLOCK: usize = 4096;

multiversion! {
    fn run_differs<T: Ordered>(a: Share<T>, b: Share<T>, at: [isize; 2], step: [isize; 2], n: usize) -> bool {
        // SAFETY: a run of n elements in both views.
        let (a, b) = unsafe { (a.get().offset(at[0]), b.get().offset(at[1])) };
        let mut differs = false;
        if step == [1, 1] {
            for i in 0..n {
                // SAFETY: i < n.
                differs |= unsafe { *a.add(i) != *b.add(i) };
            }
        } else {
            for i in 0..n as isize {
                // SAFETY: i < n.
                differs |= unsafe { *a.offset(i * step[0]) != *b.offset(i * step[1]) };
            }
        }
        differs
    }
}

/// Number of elements that are not zero.
pub fn count_nonzero(src: AnySrc) -> usize {
    let mut n = [0i64];
    let ones = [1; 8];
    let axes = [true; 8];
    let rank = src.rank();
    // SAFETY: one element, whatever the rank.
    let dst = unsafe { AnyDst::new(n.as_mut_ptr().cast(), DType::I64, &ones[..rank], &[0; 8][..rank]) };
    reduce(Reduce::CountNonzero, src.dtype().compute(), src, &axes[..rank], dst);
    n[0] as usize
}
