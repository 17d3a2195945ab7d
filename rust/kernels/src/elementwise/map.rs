//! From a function of elements to a block kernel, compiled once per instruction set.

use super::by_row::RowsKernel;
use super::walk::{Kernel, MAX_IN};
use crate::dtype::Bool;
use crate::multiversion;
use crate::simd::opaque;
use std::slice::{from_raw_parts, from_raw_parts_mut};

/// A function of one element.
pub(crate) trait Map1<A, R> {
    /// Some elements need [`Map1::slow`], found in a second pass so that the first one vectorizes.
    const PATCHED: bool = false;
    fn f(a: A) -> R;
    #[inline(always)]
    fn hard(_: A) -> bool {
        false
    }
    fn slow(a: A) -> R {
        Self::f(a)
    }
}

/// A function of two elements.
pub trait Map2<A, R> {
    /// As [`Map1::PATCHED`].
    const PATCHED: bool = false;
    fn f(a: A, b: A) -> R;
    #[inline(always)]
    fn hard(_: A, _: A) -> bool {
        false
    }
    fn slow(a: A, b: A) -> R {
        Self::f(a, b)
    }
}

/// A function of three elements.
pub(crate) trait Map3<A, R> {
    fn f(a: A, b: A, c: A) -> R;
}

/// A function of four elements.
pub(crate) trait Map4<A, R> {
    fn f(a: A, b: A, c: A, d: A) -> R;
}

/// Elements between two looks at what [`Map1::slow`] is for.
const PATCHED_BLOCK: usize = 1024;

multiversion! {
    fn each1<A: Copy, R: Copy, K: Map1<A, R>>(_kernel: std::marker::PhantomData<K>, a: &[A], out: &mut [R]) {
        // A second pass finds what the first one read in the first-level cache.
        let block = if K::PATCHED { PATCHED_BLOCK } else { a.len().max(1) };
        for (a, out) in a.chunks(block).zip(out.chunks_mut(block)) {
            for (o, a) in out.iter_mut().zip(a) {
                *o = K::f(*a);
            }
            // Counting vectorizes where an early exit would not.
            if K::PATCHED && a.iter().fold(0u32, |n, a| n | K::hard(*a) as u32) != 0 {
                for (o, a) in out.iter_mut().zip(a) {
                    if K::hard(*a) {
                        *o = K::slow(*a);
                    }
                }
            }
        }
    }
}

multiversion! {
    fn each2<A: Copy, R: Copy, K: Map2<A, R>>(
        _kernel: std::marker::PhantomData<K>, a: &[A], b: &[A], out: &mut [R]
    ) {
        if !K::PATCHED {
            for ((o, a), b) in out.iter_mut().zip(a).zip(b) {
                *o = K::f(*a, *b);
            }
            return;
        }
        let blocks = a.chunks(PATCHED_BLOCK).zip(b.chunks(PATCHED_BLOCK));
        for ((a, b), out) in blocks.zip(out.chunks_mut(PATCHED_BLOCK)) {
            // Asked in the same pass, because both want the quotient.
            let mut hard = 0u32;
            for ((o, a), b) in out.iter_mut().zip(a).zip(b) {
                *o = K::f(*a, *b);
                hard |= K::hard(*a, *b) as u32;
            }
            if hard != 0 {
                for ((o, a), b) in out.iter_mut().zip(a).zip(b) {
                    if K::hard(*a, *b) {
                        *o = K::slow(*a, *b);
                    }
                }
            }
        }
    }
}

multiversion! {
    fn each3<A: Copy, R: Copy, K: Map3<A, R>>(
        _kernel: std::marker::PhantomData<K>, a: &[A], b: &[A], c: &[A], out: &mut [R]
    ) {
        for (((o, a), b), c) in out.iter_mut().zip(a).zip(b).zip(c) {
            *o = K::f(*a, *b, *c);
        }
    }
}

multiversion! {
    fn each4<A: Copy, R: Copy, K: Map4<A, R>>(
        _kernel: std::marker::PhantomData<K>, a: &[A], b: &[A], c: &[A], d: &[A], out: &mut [R]
    ) {
        for ((((o, a), b), c), d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *o = K::f(*a, *b, *c, *d);
        }
    }
}

multiversion! {
    fn over1<T: Copy, K: Map1<T, T>>(_kernel: std::marker::PhantomData<K>, a: &mut [T]) {
        for a in a {
            *a = K::f(*a);
        }
    }
}

multiversion! {
    fn over2<T: Copy, K: Map2<T, T>>(_kernel: std::marker::PhantomData<K>, a: &mut [T], b: &[T]) {
        for (a, b) in a.iter_mut().zip(b) {
            *a = K::f(*a, *b);
        }
    }
}

/// A row of two inputs, whose length is at least `N`: parts, of which the last ends with the row. It is read before the one
/// that it overlaps is written, so that the result may be an input.
///
/// # Safety
/// `len` elements are readable (one where the input is one) and writable.
#[inline(always)]
unsafe fn parts<T: Copy, K: Map2<T, T>, const N: usize, const A: bool, const B: bool>(
    from: [*const T; 2],
    to: *mut T,
    len: usize,
) {
    // SAFETY: the contract of this function.
    unsafe {
        let (mut at, mut out) = (0, to.cast_const());
        while at + 2 * N <= len {
            let here = part::<T, K, N, A, B>(from, at);
            out.cast_mut().cast::<[T; N]>().write_unaligned(here);
            at += N;
            // Else the compiler makes it a loop over several parts at once, with gathers: twice as slow.
            out = opaque(out.wrapping_add(N));
        }
        let here = part::<T, K, N, A, B>(from, at);
        if at + N < len {
            let last = part::<T, K, N, A, B>(from, len - N);
            to.add(len - N).cast::<[T; N]>().write_unaligned(last);
        }
        to.add(at).cast::<[T; N]>().write_unaligned(here);
    }
}

/// `N` results from `at` on. An input that is one element for all of a row (`A` the first, `B` the second) is read as that.
///
/// # Safety
/// As for [`parts`].
#[inline(always)]
unsafe fn part<T: Copy, K: Map2<T, T>, const N: usize, const A: bool, const B: bool>(
    from: [*const T; 2],
    at: usize,
) -> [T; N] {
    // SAFETY: the contract of this function.
    unsafe {
        let mut out = match A {
            true => [*from[0]; N],
            false => from[0].add(at).cast::<[T; N]>().read_unaligned(),
        };
        let b = match B {
            true => [*from[1]; N],
            false => from[1].add(at).cast::<[T; N]>().read_unaligned(),
        };
        for (a, b) in out.iter_mut().zip(b) {
            *a = K::f(*a, b);
        }
        out
    }
}

macro_rules! rows2 {
    ($name:ident, $a:literal, $b:literal) => {
        multiversion! {
            fn $name<T: Copy, K: Map2<T, T>>(
                _kernel: std::marker::PhantomData<K>, from: [*const u8; 2], to: *mut u8, len: usize, rows: usize, steps: [isize; 3]
            ) {
                let (mut from, mut to) = (from, to);
                for _ in 0..rows {
                    let (here, out) = ([from[0].cast::<T>(), from[1].cast::<T>()], to.cast::<T>());
                    // SAFETY: the contract of the kernel.
                    unsafe {
                        match len {
                            0 => {}
                            1 => parts::<T, K, 1, $a, $b>(here, out, len),
                            2..4 => parts::<T, K, 2, $a, $b>(here, out, len),
                            4..8 => parts::<T, K, 4, $a, $b>(here, out, len),
                            8..16 => parts::<T, K, 8, $a, $b>(here, out, len),
                            _ => parts::<T, K, 16, $a, $b>(here, out, len),
                        }
                    }
                    from = [from[0].wrapping_offset(steps[0]), from[1].wrapping_offset(steps[1])];
                    to = to.wrapping_offset(steps[2]);
                }
            }
        }
    };
}
rows2!(both2, false, false);
rows2!(first2, true, false);
rows2!(second2, false, true);

multiversion! {
    fn over3<T: Copy, K: Map3<T, T>>(_kernel: std::marker::PhantomData<K>, a: &mut [T], b: &[T], c: &[T]) {
        for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
            *a = K::f(*a, *b, *c);
        }
    }
}

multiversion! {
    fn select<T: Copy>(c: &[Bool], a: &[T], b: &[T], out: &mut [T]) {
        for (((o, c), a), b) in out.iter_mut().zip(c).zip(a).zip(b) {
            // Both are read whatever the condition, so that the choice is no branch.
            let (a, b) = (*a, *b);
            *o = std::hint::select_unpredictable(c.get(), a, b);
        }
    }
}

/// # Safety
/// `a` holds `n` elements of type `A`, `out` has room for `n` of `R`, and they do not overlap.
unsafe fn block1<A: Copy, R: Copy, K: Map1<A, R>>(ins: &[*const u8; MAX_IN], out: *mut u8, n: usize) {
    // SAFETY: the contract of this function.
    unsafe {
        each1::<A, R, K>(
            std::marker::PhantomData,
            from_raw_parts(ins[0].cast(), n),
            from_raw_parts_mut(out.cast(), n),
        )
    }
}

/// # Safety
/// As for [`block1`], with two inputs.
unsafe fn block2<A: Copy, R: Copy, K: Map2<A, R>>(ins: &[*const u8; MAX_IN], out: *mut u8, n: usize) {
    // SAFETY: the contract of this function.
    unsafe {
        each2::<A, R, K>(
            std::marker::PhantomData,
            from_raw_parts(ins[0].cast(), n),
            from_raw_parts(ins[1].cast(), n),
            from_raw_parts_mut(out.cast(), n),
        )
    }
}

/// # Safety
/// As for [`block1`], with three inputs.
unsafe fn block3<A: Copy, R: Copy, K: Map3<A, R>>(ins: &[*const u8; MAX_IN], out: *mut u8, n: usize) {
    // SAFETY: the contract of this function.
    unsafe {
        each3::<A, R, K>(
            std::marker::PhantomData,
            from_raw_parts(ins[0].cast(), n),
            from_raw_parts(ins[1].cast(), n),
            from_raw_parts(ins[2].cast(), n),
            from_raw_parts_mut(out.cast(), n),
        )
    }
}

/// # Safety
/// As for [`block1`], with four inputs.
unsafe fn block4<A: Copy, R: Copy, K: Map4<A, R>>(ins: &[*const u8; MAX_IN], out: *mut u8, n: usize) {
    // SAFETY: the contract of this function.
    unsafe {
        each4::<A, R, K>(
            std::marker::PhantomData,
            from_raw_parts(ins[0].cast(), n),
            from_raw_parts(ins[1].cast(), n),
            from_raw_parts(ins[2].cast(), n),
            from_raw_parts(ins[3].cast(), n),
            from_raw_parts_mut(out.cast(), n),
        )
    }
}

/// # Safety
/// `out` holds `n` elements of type `T`, which are the first input too.
unsafe fn block_over1<T: Copy, K: Map1<T, T>>(_ins: &[*const u8; MAX_IN], out: *mut u8, n: usize) {
    // SAFETY: the contract of this function.
    unsafe { over1::<T, K>(std::marker::PhantomData, from_raw_parts_mut(out.cast(), n)) }
}

/// # Safety
/// As for [`block_over1`]; the second input holds `n` elements elsewhere.
unsafe fn block_over2<T: Copy, K: Map2<T, T>>(ins: &[*const u8; MAX_IN], out: *mut u8, n: usize) {
    // SAFETY: the contract of this function.
    unsafe {
        over2::<T, K>(
            std::marker::PhantomData,
            from_raw_parts_mut(out.cast(), n),
            from_raw_parts(ins[1].cast(), n),
        )
    }
}

macro_rules! rows_kernel {
    ($kernel:ident, $block:ident, $rows:ident) => {
        /// # Safety
        /// `rows` rows of `len` elements of type `T` that lie so many bytes apart, or one element for each, and room for as many
        /// results; an input may be the result, element by element, and overlaps it nowhere else.
        unsafe fn $block<T: Copy, K: Map2<T, T>>(
            ins: [*const u8; 2],
            out: *mut u8,
            len: usize,
            rows: usize,
            steps: [isize; 3],
        ) {
            $rows::<T, K>(std::marker::PhantomData, ins, out, len, rows, steps)
        }

        #[allow(
            clippy::extra_unused_type_parameters,
            reason = "`table!` names the result of every kernel"
        )]
        pub(crate) fn $kernel<T: Copy, R, K: Map2<T, T>>() -> RowsKernel {
            $block::<T, K>
        }
    };
}
rows_kernel!(rows_both2, block_both2, both2);
rows_kernel!(rows_first2, block_first2, first2);
rows_kernel!(rows_second2, block_second2, second2);

/// # Safety
/// As for [`block_over2`], with a third input.
unsafe fn block_over3<T: Copy, K: Map3<T, T>>(ins: &[*const u8; MAX_IN], out: *mut u8, n: usize) {
    // SAFETY: the contract of this function.
    unsafe {
        over3::<T, K>(
            std::marker::PhantomData,
            from_raw_parts_mut(out.cast(), n),
            from_raw_parts(ins[1].cast(), n),
            from_raw_parts(ins[2].cast(), n),
        )
    }
}

/// # Safety
/// As for [`block1`]; the first of three inputs holds truth values.
unsafe fn block_select<T: Copy>(ins: &[*const u8; MAX_IN], out: *mut u8, n: usize) {
    // SAFETY: the contract of this function.
    unsafe {
        select::<T>(
            from_raw_parts(ins[0].cast(), n),
            from_raw_parts(ins[1].cast(), n),
            from_raw_parts(ins[2].cast(), n),
            from_raw_parts_mut(out.cast(), n),
        )
    }
}

pub(crate) fn kernel_select<T: Copy>() -> Kernel {
    block_select::<T>
}

pub(crate) fn kernel1<A: Copy, R: Copy, K: Map1<A, R>>() -> Kernel {
    block1::<A, R, K>
}

pub(crate) fn kernel2<A: Copy, R: Copy, K: Map2<A, R>>() -> Kernel {
    block2::<A, R, K>
}

pub(crate) fn kernel3<A: Copy, R: Copy, K: Map3<A, R>>() -> Kernel {
    block3::<A, R, K>
}

pub(crate) fn kernel4<A: Copy, R: Copy, K: Map4<A, R>>() -> Kernel {
    block4::<A, R, K>
}

/// Kernels whose first input is where the result goes: for what is bound by memory, a kernel of its own.
#[allow(
    clippy::extra_unused_type_parameters,
    reason = "`table!` names the result of every kernel"
)]
pub(crate) fn kernel_over1<T: Copy, R, K: Map1<T, T>>() -> Kernel {
    block_over1::<T, K>
}

#[allow(
    clippy::extra_unused_type_parameters,
    reason = "`table!` names the result of every kernel"
)]
pub(crate) fn kernel_over2<T: Copy, R, K: Map2<T, T>>() -> Kernel {
    block_over2::<T, K>
}

#[allow(
    clippy::extra_unused_type_parameters,
    reason = "`table!` names the result of every kernel"
)]
pub(crate) fn kernel_over3<T: Copy, R, K: Map3<T, T>>() -> Kernel {
    block_over3::<T, K>
}

/// A function that picks a kernel by op: `Op => |x| expression`, for one element type or for all types with a trait.
macro_rules! table {
    (fn $name:ident<$g:ident: $bound:path>($op:ident) $a:ty => $r:ty, $kernel:ident $map:ident
        { $($v:ident => |$($x:ident),*| $e:expr;)* }) => {
        table! { fn $name<$g: $bound>($op) $a => $r, $kernel $map as Kernel { $($v => |$($x),*| $e;)* } }
    };
    (fn $name:ident<$g:ident: $bound:path>($op:ident) $a:ty => $r:ty, $kernel:ident $map:ident as $form:ty
        { $($v:ident => |$($x:ident),*| $e:expr;)* }) => {
        pub(super) fn $name<$g: $bound>(op: $op) -> Option<$form> {
            Some(match op {
                $($op::$v => {
                    struct K;
                    impl<$g: $bound> $map<$a, $r> for K {
                        #[inline(always)]
                        fn f($($x: $a),*) -> $r { $e }
                    }
                    $kernel::<$a, $r, K>()
                })*
                #[allow(unreachable_patterns)]
                _ => return None,
            })
        }
    };
    (fn $name:ident($op:ident) $a:ty => $r:ty, $kernel:ident $map:ident
        { $($v:ident => |$($x:ident),*| $e:expr;)* }) => {
        pub(super) fn $name(op: $op) -> Option<Kernel> {
            Some(match op {
                $($op::$v => {
                    struct K;
                    impl $map<$a, $r> for K {
                        #[inline(always)]
                        fn f($($x: $a),*) -> $r { $e }
                    }
                    $kernel::<$a, $r, K>()
                })*
                _ => return None,
            })
        }
    };
}
pub(crate) use table;
