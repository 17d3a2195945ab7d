//! Lines that are scanned on their own.
//!
//! Eight elements at a time: their running sums by doubling distances (1, 2, 4), to which the sum of all before is added
//! (Hillis and Steele, "Data parallel algorithms", 1986). What one element waits for is then an eighth of a chain. Sums
//! begin anew every [`CHUNK`] elements, and the sums of the chunks are added in order, so that several threads can share a
//! line.

use super::{Fold, Job};
use crate::multiversion;
use crate::parallel;
use crate::reduce::walk::{Share, Walk, grain};
use crate::simd::Aligned;

/// How a single line is scanned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// One element after the other.
    InOrder,
    /// Groups of 8, one chain over their totals.
    Groups,
    /// As `Groups`, with a chain for each chunk.
    Chunks,
    /// Sums of exponentials, scaled to the maximum so far.
    Exponentials,
}

/// Elements after which a chain begins anew. A multiple of all blocks.
const CHUNK: usize = 4096;
/// Elements that are scanned at once where a line does not lie dense.
const BLOCK: usize = 512;
/// Lines that are longer are shared by threads if there are few of them.
const SHARED: usize = 16 * CHUNK;

pub(super) fn all<F: Fold>(job: &Job<F::T>, lines: &Walk<3>) {
    let threads = parallel::threads();
    if F::LINE == Way::Chunks && threads > 1 && lines.count() < 2 * threads && job.n >= SHARED {
        return lines.each(0..lines.count(), |_, [s, d, _]| shared::<F>(job, [s, d]));
    }
    let work = if F::LINE == Way::Exponentials { 64 } else { 4 };
    parallel::for_range(lines.count(), grain(work * job.n), |range| {
        #[cfg(target_arch = "x86_64")]
        if F::SAME != Same::None
            && job.step[..2] == [1, 1]
            && job.n <= SHORT
            && job.n % GROUP == 0
            && crate::simd::isa() == crate::simd::Isa::Avx512
        {
            return lines.runs(range, |_, at, count, apart| {
                // SAFETY: the instruction set was found; `count` lines of the walk, so far apart.
                unsafe { short::<F>(job, at, count, apart) }
            });
        }
        lines.each(range, |_, [s, d, _]| {
            line::<F>(job, [s, d]);
        });
    });
}

/// Lines of whole groups for which choosing the way to scan them takes as long as the scan.
#[cfg(target_arch = "x86_64")]
const SHORT: usize = 128;

/// What [`line`] makes of `count` dense lines of at most [`SHORT`] elements.
///
/// # Safety
/// They lie `apart` inside the views; the CPU has AVX-512.
#[cfg(target_arch = "x86_64")]
unsafe fn short<F: Fold>(job: &Job<F::T>, at: [isize; 3], count: usize, apart: [isize; 3]) {
    // SAFETY: `SAME` says what the types are; the rest is the caller's promise.
    unsafe {
        let (from, to) = (job.src.offset(at[0]), job.dst.offset(at[1]));
        let (a, b, size) = (from.cast::<u8>(), to.cast::<u8>(), [job.n, count]);
        let (apart, start) = ([apart[0], apart[1]], F::START);
        match F::SAME {
            Same::SumF32 => x86::sums_f32(a.cast(), b.cast(), size, apart, pun(start)),
            Same::ProductF32 => x86::products_f32(a.cast(), b.cast(), size, apart, pun(start)),
            Same::SumF64 => x86::sums_f64(a.cast(), b.cast(), size, apart, pun(start)),
            Same::SumI64 => x86::sums_i64(a.cast(), b.cast(), size, apart, pun(start)),
            Same::None => {}
        }
    }
}

fn line<F: Fold>(job: &Job<F::T>, at: [isize; 2]) {
    match F::LINE {
        Way::InOrder => {
            let mut acc = F::START;
            for k in 0..job.n as isize {
                // SAFETY: element k of a line of the walk.
                unsafe {
                    acc = F::step(acc, *job.src.offset(at[0] + k * job.step[0]));
                    *job.dst.offset(at[1] + k * job.step[1]) = F::out(acc);
                }
            }
        }
        Way::Groups => {
            part::<F>(job, at, 0, job.n, F::START, F::START, true);
        }
        Way::Chunks => {
            let mut before = F::START;
            for first in (0..job.n).step_by(CHUNK) {
                let n = CHUNK.min(job.n - first);
                before = F::join(before, part::<F>(job, at, first, n, before, F::START, true));
            }
        }
        Way::Exponentials => super::exponentials::line(job, at),
    }
}

/// A line whose chunks threads share: first the chunks' sums, then everything.
fn shared<F: Fold>(job: &Job<F::T>, at: [isize; 2]) {
    let chunks = job.n.div_ceil(CHUNK);
    let mut before = vec![F::Acc::default(); chunks];
    let sums = Share::new(before.as_mut_ptr());
    let each = |k: usize| (k * CHUNK, CHUNK.min(job.n - k * CHUNK));
    parallel::for_range(chunks - 1, grain(4 * CHUNK), |range| {
        for k in range {
            let (first, n) = each(k);
            // SAFETY: one place for each chunk.
            unsafe { *sums.at(k) = part::<F>(job, at, first, n, F::START, F::START, false) };
        }
    });
    let mut sum = F::START;
    for b in &mut before {
        (*b, sum) = (sum, F::join(sum, *b));
    }
    let before = &before[..];
    parallel::for_range(chunks, grain(4 * CHUNK), |range| {
        for k in range {
            let (first, n) = each(k);
            part::<F>(job, at, first, n, before[k], F::START, true);
        }
    });
}

/// Scans `n` elements from `first` on, of which `before` and `acc` lie in front; returns the chain after them.
fn part<F: Fold>(
    job: &Job<F::T>,
    at: [isize; 2],
    first: usize,
    n: usize,
    before: F::Acc,
    mut acc: F::Acc,
    store: bool,
) -> F::Acc {
    let first = first as isize;
    // SAFETY: elements of a line of the walk.
    unsafe {
        let from = job.src.offset(at[0] + first * job.step[0]);
        let to = job.dst.offset(at[1] + first * job.step[1]);
        if n == 1 || job.step[..2] == [1, 1] || job.step[0] == 1 && !store {
            return run(F::default(), from, to, n, before, acc, store);
        }
        let mut block = Aligned([F::T::default(); BLOCK]);
        let mut done = 0;
        while done < n {
            let len = BLOCK.min(n - done);
            for (i, b) in block[..len].iter_mut().enumerate() {
                *b = *from.offset((done + i) as isize * job.step[0]);
            }
            let inside = block.as_mut_ptr();
            acc = run(F::default(), inside.cast_const(), inside, len, before, acc, store);
            if store {
                for (i, b) in block[..len].iter().enumerate() {
                    *to.offset((done + i) as isize * job.step[1]) = *b;
                }
            }
            done += len;
        }
    }
    acc
}

const GROUP: usize = 8;

/// `n` dense elements, with the CPU's widest vectors for the types that there are such for.
///
/// # Safety
/// `n` elements at both ends, the same ones or others.
pub(super) unsafe fn run<F: Fold>(
    op: F,
    from: *const F::T,
    to: *mut F::T,
    n: usize,
    before: F::Acc,
    acc: F::Acc,
    store: bool,
) -> F::Acc {
    #[cfg(target_arch = "x86_64")]
    if n >= GROUP && crate::simd::isa() == crate::simd::Isa::Avx512 {
        // SAFETY: the instruction set was found; `SAME` says what the types are. The rest is the caller's promise.
        unsafe {
            let (a, b) = (from.cast::<u8>(), to.cast::<u8>());
            let whole = n / GROUP * GROUP;
            let acc = match F::SAME {
                Same::SumF32 => x86::sum_f32(a.cast(), b.cast(), whole, pun(before), pun(acc), store).map(pun),
                Same::ProductF32 => x86::product_f32(a.cast(), b.cast(), whole, pun(before), pun(acc), store).map(pun),
                Same::SumF64 => x86::sum_f64(a.cast(), b.cast(), whole, pun(before), pun(acc), store).map(pun),
                Same::SumI64 => x86::sum_i64(a.cast(), b.cast(), whole, pun(before), pun(acc), store).map(pun),
                Same::None => None,
            };
            if let Some(acc) = acc {
                if whole == n {
                    return acc;
                }
                return groups(op, from.add(whole), to.add(whole), n - whole, before, acc, store);
            }
        }
    }
    groups(op, from, to, n, before, acc, store)
}

/// What a fold is, for which there are vectors.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "there are vectors for x86 only")
)]
pub(super) enum Same {
    None,
    SumF32,
    ProductF32,
    SumF64,
    SumI64,
}

/// The same eight bytes as another type.
#[cfg(target_arch = "x86_64")]
fn pun<A: Copy, B: Copy>(a: A) -> B {
    assert!(size_of::<A>() == 8 && size_of::<B>() == 8);
    // SAFETY: plain numbers of eight bytes.
    unsafe { std::mem::transmute_copy(&a) }
}

/// The running values of one group.
#[inline(always)]
fn doubled<F: Fold>(mut v: [F::Acc; GROUP]) -> [F::Acc; GROUP] {
    for distance in [1, 2, 4] {
        let old = v;
        for i in distance..GROUP {
            v[i] = F::join(old[i - distance], old[i]);
        }
    }
    v
}

multiversion! {
    /// `n` dense elements; as [`part`].
    pub(super) fn groups<F: Fold>(
        _op: F, from: *const F::T, to: *mut F::T, n: usize, before: F::Acc, acc: F::Acc, store: bool,
    ) -> F::Acc {
        let mut acc = acc;
        let whole = n / GROUP * GROUP;
        // SAFETY: the caller's promise: `n` elements at both ends, the same ones or others.
        unsafe {
            if store {
                for first in (0..whole).step_by(GROUP) {
                    let given = from.add(first).cast::<[F::T; GROUP]>().read();
                    let v = doubled::<F>(given.map(F::lift));
                    let base = F::join(before, acc);
                    to.add(first).cast::<[F::T; GROUP]>().write(v.map(|v| F::out(F::join(base, v))));
                    acc = F::join(acc, v[GROUP - 1]);
                }
            } else {
                for first in (0..whole).step_by(GROUP) {
                    let given = from.add(first).cast::<[F::T; GROUP]>().read();
                    acc = F::join(acc, doubled::<F>(given.map(F::lift))[GROUP - 1]);
                }
            }
            if whole < n {
                let mut rest = [F::START; GROUP];
                for i in whole..n {
                    rest[i - whole] = F::lift(*from.add(i));
                }
                let v = doubled::<F>(rest);
                let base = F::join(before, acc);
                for i in whole..n {
                    if store {
                        *to.add(i) = F::out(F::join(base, v[i - whole]));
                    }
                }
                acc = F::join(acc, v[GROUP - 1]);
            }
        }
        acc
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::GROUP;
    use std::arch::x86_64::*;

    macro_rules! wide {
        ($name:ident, $many:ident, $t:ty, $acc:ty, $vector:ty, $load:expr, $store:expr, $start:expr, $splat:ident, $join:ident, $up:ident, $last:ident, $first:ident) => {
            /// As `groups`, for a multiple of 8 elements.
            ///
            /// # Safety
            /// As there; the CPU has AVX-512.
            #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
            #[inline]
            pub(super) unsafe fn $name(
                from: *const $t,
                to: *mut $t,
                n: usize,
                before: $acc,
                acc: $acc,
                store: bool,
            ) -> Option<$acc> {
                // Hidden from the compiler, which would shift zeros in by slower instructions.
                let start = $splat(std::hint::black_box($start));
                let (before, mut acc) = ($splat(before), $splat(acc));
                let last = _mm512_set1_epi64(GROUP as i64 - 1);
                for first in (0..n).step_by(GROUP) {
                    // SAFETY: a group of elements at both ends.
                    unsafe {
                        let v: $vector = $load(from.add(first));
                        let v = $join($up::<7>(v, start), v);
                        let v = $join($up::<6>(v, start), v);
                        let v = $join($up::<4>(v, start), v);
                        if store {
                            $store(to.add(first), $join($join(before, acc), v));
                        }
                        acc = $join(acc, $last(last, v));
                    }
                }
                Some($first(acc))
            }

            /// Lines of `n` elements, a multiple of 8.
            ///
            /// # Safety
            /// As there, for all of them.
            #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
            pub(super) unsafe fn $many(
                from: *const $t,
                to: *mut $t,
                [n, count]: [usize; 2],
                apart: [isize; 2],
                start: $acc,
            ) {
                for k in 0..count as isize {
                    // SAFETY: the caller's promise.
                    unsafe {
                        $name(
                            from.offset(k * apart[0]),
                            to.offset(k * apart[1]),
                            n,
                            start,
                            start,
                            true,
                        )
                    };
                }
            }
        };
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn up_pd<const BY: i32>(v: __m512d, below: __m512d) -> __m512d {
        _mm512_castsi512_pd(_mm512_alignr_epi64::<BY>(
            _mm512_castpd_si512(v),
            _mm512_castpd_si512(below),
        ))
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn first_i64(v: __m512i) -> i64 {
        _mm_cvtsi128_si64(_mm512_castsi512_si128(v))
    }

    wide!(
        sum_f32,
        sums_f32,
        f32,
        f64,
        __m512d,
        |p| _mm512_cvtps_pd(_mm256_loadu_ps(p)),
        |p, v| _mm256_storeu_ps(p, _mm512_cvtpd_ps(v)),
        0.0,
        _mm512_set1_pd,
        _mm512_add_pd,
        up_pd,
        _mm512_permutexvar_pd,
        _mm512_cvtsd_f64
    );
    wide!(
        product_f32,
        products_f32,
        f32,
        f64,
        __m512d,
        |p| _mm512_cvtps_pd(_mm256_loadu_ps(p)),
        |p, v| _mm256_storeu_ps(p, _mm512_cvtpd_ps(v)),
        1.0,
        _mm512_set1_pd,
        _mm512_mul_pd,
        up_pd,
        _mm512_permutexvar_pd,
        _mm512_cvtsd_f64
    );
    wide!(
        sum_f64,
        sums_f64,
        f64,
        f64,
        __m512d,
        |p| _mm512_loadu_pd(p),
        |p, v| _mm512_storeu_pd(p, v),
        0.0,
        _mm512_set1_pd,
        _mm512_add_pd,
        up_pd,
        _mm512_permutexvar_pd,
        _mm512_cvtsd_f64
    );
    wide!(
        sum_i64,
        sums_i64,
        i64,
        i64,
        __m512i,
        |p: *const i64| _mm512_loadu_si512(p.cast()),
        |p: *mut i64, v| _mm512_storeu_si512(p.cast(), v),
        0,
        _mm512_set1_epi64,
        _mm512_add_epi64,
        _mm512_alignr_epi64,
        _mm512_permutexvar_epi64,
        first_i64
    );
}
