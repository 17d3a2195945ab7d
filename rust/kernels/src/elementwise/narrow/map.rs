//! Block kernels of elements as they are stored: integers by [`twoversion!`], bfloat16 widened and rounded on the way.

use super::super::convert::narrow_bf16;
use super::super::map::{Map1, Map2, Map3, Map4};
use super::super::walk::{Kernel, MAX_IN};
use crate::dtype::Bool;
use crate::multiversion;
use crate::simd::twoversion;
use std::marker::PhantomData;
use std::slice::{from_raw_parts, from_raw_parts_mut};

twoversion! {
    fn each1<A: Copy, R: Copy, K: Map1<A, R>>(_kernel: PhantomData<K>, a: &[A], out: &mut [R]) {
        for (o, a) in out.iter_mut().zip(a) {
            *o = K::f(*a);
        }
    }
}

twoversion! {
    fn each2<A: Copy, R: Copy, K: Map2<A, R>>(_kernel: PhantomData<K>, a: &[A], b: &[A], out: &mut [R]) {
        for ((o, a), b) in out.iter_mut().zip(a).zip(b) {
            *o = K::f(*a, *b);
        }
    }
}

twoversion! {
    fn each3<A: Copy, R: Copy, K: Map3<A, R>>(_kernel: PhantomData<K>, a: &[A], b: &[A], c: &[A], out: &mut [R]) {
        for (((o, a), b), c) in out.iter_mut().zip(a).zip(b).zip(c) {
            *o = K::f(*a, *b, *c);
        }
    }
}

twoversion! {
    fn each4<A: Copy, R: Copy, K: Map4<A, R>>(
        _kernel: PhantomData<K>, a: &[A], b: &[A], c: &[A], d: &[A], out: &mut [R]
    ) {
        for ((((o, a), b), c), d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *o = K::f(*a, *b, *c, *d);
        }
    }
}

twoversion! {
    fn onto<T: Copy, K: Map2<T, T>>(_kernel: PhantomData<K>, a: &mut [T], b: &[T]) {
        for (a, b) in a.iter_mut().zip(b) {
            *a = K::f(*a, *b);
        }
    }
}

twoversion! {
    fn select<T: Copy>(c: &[Bool], a: &[T], b: &[T], out: &mut [T]) {
        for (((o, c), a), b) in out.iter_mut().zip(c).zip(a).zip(b) {
            let (a, b) = (*a, *b);
            *o = std::hint::select_unpredictable(c.get(), a, b);
        }
    }
}

/// What a function of floats gives, as it is stored beside bfloat16.
pub(in super::super) trait Kept: Copy {
    type As: Copy;
    fn keep(self) -> Self::As;
}

impl Kept for f32 {
    type As = u16;
    #[inline(always)]
    fn keep(self) -> u16 {
        narrow_bf16(self)
    }
}

impl Kept for Bool {
    type As = Bool;
    #[inline(always)]
    fn keep(self) -> Bool {
        self
    }
}

/// An operand of a function of floats: a bfloat16's bits, or a float.
pub(in super::super) trait Read: Copy {
    fn read(self) -> f32;
}

impl Read for u16 {
    #[inline(always)]
    fn read(self) -> f32 {
        f32::from_bits((self as u32) << 16)
    }
}

impl Read for f32 {
    #[inline(always)]
    fn read(self) -> f32 {
        self
    }
}

multiversion! {
    fn half1<R: Kept, K: Map1<f32, R>>(_kernel: PhantomData<K>, a: &[u16], out: &mut [R::As]) {
        for (o, a) in out.iter_mut().zip(a) {
            *o = K::f(a.read()).keep();
        }
    }
}

multiversion! {
    fn half2<B: Read, R: Kept, K: Map2<f32, R>>(_kernel: PhantomData<K>, a: &[u16], b: &[B], out: &mut [R::As]) {
        for ((o, a), b) in out.iter_mut().zip(a).zip(b) {
            *o = K::f(a.read(), b.read()).keep();
        }
    }
}

multiversion! {
    fn half3<B: Read, K: Map3<f32, f32>>(_kernel: PhantomData<K>, a: &[u16], b: &[B], c: &[f32], out: &mut [u16]) {
        for (((o, a), b), c) in out.iter_mut().zip(a).zip(b).zip(c) {
            *o = K::f(a.read(), b.read(), *c).keep();
        }
    }
}

multiversion! {
    fn half4<B: Read, K: Map4<f32, f32>>(
        _kernel: PhantomData<K>, a: &[u16], b: &[B], c: &[B], d: &[f32], out: &mut [u16]
    ) {
        for ((((o, a), b), c), d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *o = K::f(a.read(), b.read(), c.read(), *d).keep();
        }
    }
}

/// A block kernel out of a function of slices; the types are those of the operands in their order, then the result's.
macro_rules! block {
    ($(#[$meta:meta])* $vis:vis fn $name:ident<$($g:ident: $b:path),*> = $f:path: [$($i:literal $t:ty),*] => $r:ty) => {
        $(#[$meta])*
        #[allow(clippy::extra_unused_type_parameters, reason = "`table!` names the types of every kernel")]
        $vis fn $name<$($g: $b),*>() -> Kernel {
            /// # Safety
            /// The operands hold `n` elements of these types, the result has room for `n`, and they do not overlap.
            unsafe fn block<$($g: $b),*>(ins: &[*const u8; MAX_IN], out: *mut u8, n: usize) {
                // SAFETY: the contract of this function.
                unsafe {
                    $f(
                        PhantomData::<K>,
                        $(from_raw_parts(ins[$i].cast::<$t>(), n),)*
                        from_raw_parts_mut(out.cast::<$r>(), n),
                    )
                }
            }
            block::<$($g),*>
        }
    };
}

block!(pub(super) fn light1<A: Copy, R: Copy, K: Map1<A, R>> = each1: [0 A] => R);
block!(pub(super) fn light2<A: Copy, R: Copy, K: Map2<A, R>> = each2: [0 A, 1 A] => R);
block!(pub(super) fn light3<A: Copy, R: Copy, K: Map3<A, R>> = each3: [0 A, 1 A, 2 A] => R);
block!(pub(super) fn light4<A: Copy, R: Copy, K: Map4<A, R>> = each4: [0 A, 1 A, 2 A, 3 A] => R);
// Of bfloat16, with floats for the operands that mostly are numbers. `A` is what the function reads.
block!(pub(super) fn of_half<A: Copy, R: Kept, K: Map1<f32, R>> = half1: [0 u16] => R::As);
block!(pub(super) fn of_halves<A: Copy, R: Kept, K: Map2<f32, R>> = half2: [0 u16, 1 u16] => R::As);
block!(pub(super) fn of_half_float<A: Copy, R: Kept, K: Map2<f32, R>> = half2: [0 u16, 1 f32] => R::As);
block!(pub(super) fn of_half_floats<A: Copy, R: Copy, K: Map3<f32, f32>> = half3: [0 u16, 1 f32, 2 f32] => u16);
block!(pub(super) fn of_halves_float<A: Copy, R: Copy, K: Map3<f32, f32>> = half3: [0 u16, 1 u16, 2 f32] => u16);
block!(pub(super) fn of_three_float<A: Copy, R: Copy, K: Map4<f32, f32>> = half4: [0 u16, 1 u16, 2 u16, 3 f32] => u16);
block!(pub(super) fn of_half_three<A: Copy, R: Copy, K: Map4<f32, f32>> = half4: [0 u16, 1 f32, 2 f32, 3 f32] => u16);

/// The form of [`light2`] whose output is its first input.
#[allow(
    clippy::extra_unused_type_parameters,
    reason = "`table!` names the result of every kernel"
)]
pub(super) fn light_over2<T: Copy, R, K: Map2<T, T>>() -> Kernel {
    /// # Safety
    /// `out` holds `n` elements, which are the first input too; the second input holds `n` elsewhere.
    unsafe fn block<T: Copy, K: Map2<T, T>>(ins: &[*const u8; MAX_IN], out: *mut u8, n: usize) {
        // SAFETY: the contract of this function.
        unsafe {
            onto::<T, K>(
                PhantomData,
                from_raw_parts_mut(out.cast(), n),
                from_raw_parts(ins[1].cast(), n),
            )
        }
    }
    block::<T, K>
}

/// Elements of one or the other by a truth value, of any type of this width.
pub(super) fn chosen<T: Copy>() -> Kernel {
    /// # Safety
    /// As for the other kernels; the first of three inputs holds truth values.
    unsafe fn block<T: Copy>(ins: &[*const u8; MAX_IN], out: *mut u8, n: usize) {
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
    block::<T>
}
