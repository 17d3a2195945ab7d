//! The folds: one small record per reduction.

use super::fold::Fold;
use super::real::Real;
use crate::dtype::{Bool, DType, Element};
use crate::view::{AnyDst, AnySrc, Dst, Src};
use std::marker::PhantomData;

macro_rules! unit {
    ($($name:ident),*) => {$(
        #[derive(Clone, Copy)]
        pub(crate) struct $name<T>(PhantomData<T>);
        impl<T> $name<T> {
            pub fn new() -> Self { Self(PhantomData) }
        }
    )*};
}
unit!(NanSum, SumInt, ProdInt, Prod, Dot);

/// Sum of floats, divided by `div` at the end.
#[derive(Clone, Copy)]
pub(crate) struct Sum<T> {
    pub div: T,
}

impl<T: Real> Fold for Sum<T> {
    type In = T;
    type Aux = ();
    type Acc = T;
    type Out = T;
    #[inline(always)]
    fn zero(&self) -> T {
        T::ZERO
    }
    #[inline(always)]
    fn step(&self, _: (), acc: T, x: T, _: T) -> T {
        acc + x
    }
    #[inline(always)]
    fn join(&self, a: T, b: T) -> T {
        a + b
    }
    #[inline(always)]
    fn out(&self, _: (), acc: T) -> T {
        acc / self.div
    }
}

macro_rules! float_fold {
    ($(#[$meta:meta])* $name:ident, $zero:ident, $op:tt, |$x:ident| $element:expr) => {
        impl<T: Real> Fold for $name<T> {
            type In = T;
            type Aux = ();
            type Acc = T;
            type Out = T;
            #[inline(always)]
            fn zero(&self) -> T {
                T::$zero
            }
            #[inline(always)]
            $(#[$meta])*
            fn step(&self, _: (), acc: T, $x: T, _: T) -> T {
                acc $op $element
            }
            #[inline(always)]
            fn join(&self, a: T, b: T) -> T {
                a $op b
            }
            #[inline(always)]
            fn out(&self, _: (), acc: T) -> T {
                acc
            }
        }
    };
}
float_fold!(Prod, ONE, *, |x| x);
// Of the elements that are numbers.
float_fold!(#[allow(clippy::eq_op, reason = "asks for NaN")] NanSum, ZERO, +, |x| if x == x { x } else { T::ZERO });

macro_rules! int_fold {
    ($name:ident, $zero:expr, $op:ident) => {
        impl<T: Element> Fold for $name<T> {
            type In = T;
            type Aux = ();
            type Acc = i64;
            type Out = i64;
            #[inline(always)]
            fn zero(&self) -> i64 {
                $zero
            }
            #[inline(always)]
            fn step(&self, _: (), acc: i64, x: T, _: T) -> i64 {
                acc.$op(x.to_i64())
            }
            #[inline(always)]
            fn join(&self, a: i64, b: i64) -> i64 {
                a.$op(b)
            }
            #[inline(always)]
            fn out(&self, _: (), acc: i64) -> i64 {
                acc
            }
        }
    };
}
int_fold!(SumInt, 0, wrapping_add);
int_fold!(ProdInt, 1, wrapping_mul);

/// Number of truth values that are true.
#[derive(Clone, Copy)]
pub(crate) struct Count;

impl Fold for Count {
    type In = Bool;
    type Aux = ();
    type Acc = i64;
    type Out = i64;
    #[inline(always)]
    fn zero(&self) -> i64 {
        0
    }
    #[inline(always)]
    fn step(&self, _: (), acc: i64, x: Bool, _: Bool) -> i64 {
        acc + x.get() as i64
    }
    #[inline(always)]
    fn join(&self, a: i64, b: i64) -> i64 {
        a + b
    }
    #[inline(always)]
    fn out(&self, _: (), acc: i64) -> i64 {
        acc
    }
}

/// `ANY`: some truth value is true; otherwise: all are.
#[derive(Clone, Copy)]
pub(crate) struct AnyAll<const ANY: bool>;

impl<const ANY: bool> Fold for AnyAll<ANY> {
    type In = Bool;
    type Aux = ();
    type Acc = u8;
    type Out = Bool;
    #[inline(always)]
    fn zero(&self) -> u8 {
        !ANY as u8
    }
    #[inline(always)]
    fn step(&self, _: (), acc: u8, x: Bool, _: Bool) -> u8 {
        self.join(acc, x.get() as u8)
    }
    #[inline(always)]
    fn join(&self, a: u8, b: u8) -> u8 {
        if ANY { a | b } else { a & b }
    }
    #[inline(always)]
    fn out(&self, _: (), acc: u8) -> Bool {
        Bool(acc)
    }
}

/// A byte read as a truth value, so that any two non-zero bytes are equal.
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
pub(crate) struct Flag(u8);

impl PartialEq for Flag {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        (self.0 != 0) == (other.0 != 0)
    }
}

impl PartialOrd for Flag {
    #[inline(always)]
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        (self.0 != 0).partial_cmp(&(other.0 != 0))
    }
}

/// A view of `bool` as flags.
pub(crate) fn flags<'a>(src: &AnySrc<'a>) -> Src<'a, Flag> {
    let src = src.typed::<Bool>();
    // SAFETY: the same memory; a flag is any byte.
    unsafe { Src::new(src.ptr().cast(), src.shape(), src.strides()) }
}

/// As [`flags`], to write to.
pub(crate) fn flags_mut<'a>(dst: &AnyDst<'a>) -> Dst<'a, Flag> {
    let dst = dst.typed::<Bool>();
    // SAFETY: as above; flags are copied from `bool`s or made as 0 and 1.
    unsafe { Dst::new(dst.ptr().cast(), dst.shape(), dst.strides()) }
}

/// Values with an order in which NaN stands apart.
pub(crate) trait Ordered: Copy + PartialOrd + Default + Send + Sync + 'static {
    /// As what [`extrema`](super::extrema) is to see the values.
    const BITS: DType;
}
macro_rules! ordered {
    ($($t:ty, $bits:ident);*) => {$(
        impl Ordered for $t {
            const BITS: DType = DType::$bits;
        }
    )*};
}
ordered!(f32, F32; f64, F64; i64, I64; Flag, U8);

/// Does `x` take the place of `best`? NaN does, and keeps it.
#[inline(always)]
#[allow(clippy::eq_op)]
pub(crate) fn beats<T: PartialOrd + Copy, const MAX: bool>(x: T, best: T) -> bool {
    let better = if MAX { x > best } else { x < best };
    better | ((x != x) & (best == best))
}

/// The better of two values; NaN is better than all, and which NaN does not matter.
#[inline(always)]
#[allow(clippy::eq_op)]
fn best<T: PartialOrd + Copy, const MAX: bool>(a: T, b: T) -> T {
    let better = if MAX { b > a } else { b < a };
    if better | (b != b) { b } else { a }
}

pub(crate) const COUNT: u8 = 0;
pub(crate) const ABS: u8 = 1;
pub(crate) const SQUARE: u8 = 2;
pub(crate) const LARGEST: u8 = 3;
pub(crate) const SMALLEST: u8 = 4;
pub(crate) const POWER: u8 = 5;

/// A p-norm, `KIND` being the special values of p.
#[derive(Clone, Copy)]
pub(crate) struct Norm<T, const KIND: u8> {
    p: f64,
    t: PhantomData<T>,
}

impl<T, const KIND: u8> Norm<T, KIND> {
    pub fn of(p: f64) -> Self {
        Self { p, t: PhantomData }
    }
}

/// base^p of a base that is not negative.
#[inline(always)]
fn power<T: Real>(base: T, p: f64) -> T {
    T::from_f64((p * base.to_f64().ln()).exp())
}

impl<T: Real, const KIND: u8> Fold for Norm<T, KIND> {
    type In = T;
    type Aux = ();
    type Acc = T;
    type Out = T;
    #[inline(always)]
    fn zero(&self) -> T {
        if KIND == SMALLEST { T::INF } else { T::ZERO }
    }
    #[inline(always)]
    fn step(&self, _: (), acc: T, x: T, _: T) -> T {
        match KIND {
            COUNT => acc + if x != T::ZERO { T::ONE } else { T::ZERO },
            SQUARE => x.fma(x, acc),
            POWER => acc + power(x.magnitude(), self.p),
            _ => self.join(acc, x.magnitude()),
        }
    }
    #[inline(always)]
    fn join(&self, a: T, b: T) -> T {
        match KIND {
            LARGEST => best::<T, true>(a, b),
            SMALLEST => best::<T, false>(a, b),
            _ => a + b,
        }
    }
    #[inline(always)]
    fn out(&self, _: (), acc: T) -> T {
        match KIND {
            SQUARE => acc.root(),
            POWER => power(acc, 1.0 / self.p),
            _ => acc,
        }
    }
}

/// Sum of squared distances from `aux`, over `div`.
#[derive(Clone, Copy)]
pub(crate) struct Squares<T> {
    pub div: T,
    pub root: bool,
}

impl<T: Real> Fold for Squares<T> {
    type In = T;
    type Aux = T;
    type Acc = T;
    type Out = T;
    #[inline(always)]
    fn zero(&self) -> T {
        T::ZERO
    }
    #[inline(always)]
    fn step(&self, mean: T, acc: T, x: T, _: T) -> T {
        let d = x - mean;
        d.fma(d, acc)
    }
    #[inline(always)]
    fn join(&self, a: T, b: T) -> T {
        a + b
    }
    #[inline(always)]
    fn out(&self, _: T, acc: T) -> T {
        let v = acc / self.div;
        if self.root { v.root() } else { v }
    }
}

/// Sum of x * (y - aux).
impl<T: Real> Fold for Dot<T> {
    type In = T;
    type Aux = T;
    type Acc = T;
    type Out = T;
    #[inline(always)]
    fn zero(&self) -> T {
        T::ZERO
    }
    #[inline(always)]
    fn step(&self, mean: T, acc: T, x: T, y: T) -> T {
        x.fma(y - mean, acc)
    }
    #[inline(always)]
    fn join(&self, a: T, b: T) -> T {
        a + b
    }
    #[inline(always)]
    fn out(&self, _: T, acc: T) -> T {
        acc
    }
}
