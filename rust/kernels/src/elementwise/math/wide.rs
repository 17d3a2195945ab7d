//! Functions several vectors at a time ([`Pack`]): those that programs call most, in AVX-512; in AVX2 those with tables.

use super::Pack;
pub(crate) use super::pack::avx512::{Held, HeldInPart, Vectors, single};
use super::pack::avx512::{OneVector, double};
use super::pair::Pair;
use crate::dtype::DType;
use crate::elementwise::binary::Binary;
use crate::elementwise::float::Float;
use crate::elementwise::unary::Unary;
use crate::elementwise::walk::{Kernel, MAX_IN};
use crate::elementwise::{math, math64};
use crate::simd::cache::stream;
use crate::simd::{Isa, isa, prefetch, prefetch_write};
use std::slice::{from_raw_parts, from_raw_parts_mut};

/// A function that leaves part of the work out of vectors without numbers below a limit.
trait EachPart {
    const LIMIT: f64;
    fn f<P: Pack<f64>>(x: P, some_below: bool) -> P;
}

macro_rules! parts {
    ($op:ident, $e:ident, $kinds:ident; $($name:ident => $f:ident, below $limit:literal;)*) => {
        match $op {
            $(Unary::$name => {
                struct K;
                impl EachPart for K {
                    const LIMIT: f64 = $limit;
                    #[inline(always)]
                    fn f<P: Pack<f64>>(x: P, some_below: bool) -> P {
                        math64::$f(x, some_below)
                    }
                }
                Some(each_part::<$e, K>)
            })*
            _ => $kinds($op),
        }
    };
}

/// The kernel of a function that has one for this CPU.
pub fn kernel(op: Unary, compute: DType) -> Option<Kernel> {
    match (isa(), compute) {
        (Isa::Avx512, DType::F32) => parts! {
            op, f32, singles;
            Lgamma => lgamma_f32, below 0.5;
            Digamma => digamma, below 0.0;
        },
        (Isa::Avx512, DType::F64) => parts! {
            op, f64, doubles;
            Lgamma => lgamma, below 0.5;
            Digamma => digamma, below 0.0;
        },
        (Isa::Avx2, DType::F32) => pairs(op),
        _ => None,
    }
}

/// The kernel of a function of two operands that has one for this CPU.
pub fn kernel2(op: Binary, compute: DType) -> Option<Kernel> {
    match (isa(), compute) {
        (Isa::Avx512, DType::F32) => singles2(op),
        (Isa::Avx512, DType::F64) => doubles2(op),
        (Isa::Avx2, DType::F32) if op == Binary::GeluBackward => Some(gelu_backward_avx2),
        _ => None,
    }
}

/// A function of each element: of numbers that have the type `E` in memory, computed in `T`.
trait Each<E, T> {
    /// Beyond it in absolute value [`Each::slow`] is the function.
    const LIMIT: f64 = f64::INFINITY;
    fn f<P: Pack<T>>(x: P) -> P;
    fn slow(x: E) -> E;
}

/// As many vectors at a time as registers hold: four of long functions, eight of those with few numbers.
macro_rules! kernels {
    ($op:ident, $e:ident, $t:ident, $functions:ident, $kind:ident;
     $($name:ident => $f:ident, $vectors:ident $(, beyond $slow:path)?;)*) => {
        match $op {
            $(Unary::$name => {
                struct K;
                impl Each<$e, $t> for K {
                    kernels! { @limit $e, $functions $(, $slow)? }
                    #[inline(always)]
                    fn f<P: Pack<$t>>(x: P) -> P {
                        $functions::$f(x)
                    }
                }
                Some(each::<$e, $t, K, $kind::$vectors>)
            })*
            _ => None,
        }
    };
    (@limit $e:ident, $functions:ident, $slow:path) => {
        const LIMIT: f64 = $functions::TRIG_LIMIT as f64;
        #[cold]
        #[inline(never)]
        fn slow(x: $e) -> $e {
            $slow(x as f64) as $e
        }
    };
    (@limit $e:ident, $functions:ident) => {
        // Nothing lies beyond.
        fn slow(x: $e) -> $e {
            x
        }
    };
}

fn singles(op: Unary) -> Option<Kernel> {
    kernels! {
        op, f32, f32, math, single;
        Exp => exp, Eight;
        Exp2 => exp2, Eight;
        Expm1 => expm1, Four;
        Log => log, Four;
        Log2 => log2, Four;
        Log10 => log10, Four;
        Log1p => log1p, Four;
        Sin => sin, Four, beyond math64::huge::sin;
        Cos => cos, Four, beyond math64::huge::cos;
        Tan => tan, Four, beyond math64::huge::tan;
        Asin => asin, Four;
        Acos => acos, Four;
        Atan => atan, Four;
        Sinh => sinh, Four;
        Cosh => cosh, Four;
        Tanh => tanh, Four;
        Tanhshrink => tanhshrink, Four;
        Atanh => atanh, Four;
        LogSigmoid => log_sigmoid, Four;
        Sigmoid => sigmoid, Four;
        Silu => silu, Four;
        Erf => erf, Four;
        Erfc => erfc, Four;
        Erfinv => erfinv, Four;
        Gelu => gelu, Four;
    }
}

fn doubles(op: Unary) -> Option<Kernel> {
    kernels! {
        op, f64, f64, math64, double;
        Exp => exp, Eight;
        Exp2 => exp2, Eight;
        Expm1 => expm1, Four;
        Log => log, Four;
        Log2 => log2, Four;
        Log10 => log10, Four;
        Log1p => log1p, Four;
        Sin => sin, Four, beyond math64::huge::sin;
        Cos => cos, Four, beyond math64::huge::cos;
        Tan => tan, Four, beyond math64::huge::tan;
        Atan => atan, Four;
        Tanh => tanh, Four;
        Sigmoid => sigmoid, Four;
        Silu => silu, Four;
        Erf => erf, Four;
        Erfc => erfc, Four;
        Erfinv => erfinv, Four;
        Gelu => gelu, Four;
    }
}

fn pairs(op: Unary) -> Option<Kernel> {
    macro_rules! pairs {
        ($($name:ident => $f:ident;)*) => {
            match op {
                $(Unary::$name => {
                    struct K;
                    impl Each<f32, f32> for K {
                        #[inline(always)]
                        fn f<P: Pack>(x: P) -> P {
                            math::$f(x)
                        }
                        // Nothing lies beyond.
                        fn slow(x: f32) -> f32 {
                            x
                        }
                    }
                    Some(each_pair::<K>)
                })*
                _ => None,
            }
        };
    }
    pairs! {
        Tanh => tanh;
        Tanhshrink => tanhshrink;
        Erf => erf;
        Erfc => erfc;
        Gelu => gelu;
        Log => log;
        Log2 => log2;
    }
}

/// A function of two elements, as [`Each`].
trait Each2<T> {
    fn f<P: Pack<T>>(a: P, b: P) -> P;
}

macro_rules! kernels2 {
    ($op:ident, $e:ident; $($name:ident => |$a:ident, $b:ident| $f:expr, $t:ident $kind:ident $vectors:ident;)*) => {
        match $op {
            $(Binary::$name => {
                struct K;
                impl Each2<$t> for K {
                    #[inline(always)]
                    fn f<P: Pack<$t>>($a: P, $b: P) -> P {
                        $f
                    }
                }
                Some(each2::<$e, $t, K, $kind::$vectors>)
            })*
            _ => None,
        }
    };
}

fn singles2(op: Binary) -> Option<Kernel> {
    kernels2! {
        op, f32;
        Pow => |x, y| math::pow_d(x, y), f64 double Four;
        Atan2 => |y, x| math::atan2_d(y, x), f64 double Four;
        Logaddexp => |a, b| math::log_add_exp_d(a, b), f64 double Four;
        Logaddexp2 => |a, b| math::log_add_exp2_d(a, b), f64 double Four;
        Xlogy => |a, b| math::xlogy(a, b), f32 single Four;
        SigmoidBackward => |g, y| g * (P::splat(1.0) - y) * y, f32 single Four;
        TanhBackward => |g, y| g * (-y).mul_add(y, P::splat(1.0)), f32 single Four;
        GeluBackward => |g, x| g * math::gelu_slope(x), f32 single Four;
        SiluBackward => |g, x| g * math::silu_slope(x), f32 single Four;
        LogSigmoidBackward => |g, x| g * math::sigmoid(-x), f32 single Four;
    }
}

fn doubles2(op: Binary) -> Option<Kernel> {
    kernels2! {
        op, f64;
        Pow => |x, y| math64::pow(x, y), f64 double Four;
        Atan2 => |y, x| math64::atan2(y, x), f64 double Four;
        Logaddexp => |a, b| math64::log_add_exp(a, b), f64 double Four;
        Logaddexp2 => |a, b| math64::log_add_exp2(a, b), f64 double Four;
    }
}

/// Bytes whose greatest number is looked at together, where some arguments are beyond the function.
const BLOCK: usize = 16 << 10;
/// So many bytes ahead memory is asked for, to be read and to be written: the processor finds both by itself only as far
/// as the end of a page.
const AHEAD: usize = 4096;

/// # Safety
/// `n` numbers at both ends, which do not overlap; the CPU has AVX-512.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512cd,avx2,fma,bmi1,bmi2,lzcnt,f16c")]
unsafe fn each<E: Float, T: Float, K: Each<E, T>, V: Vectors<T> + Held<E>>(
    ins: &[*const u8; MAX_IN],
    out: *mut u8,
    n: usize,
) where
    V::One: HeldInPart<E>,
{
    let limited = K::LIMIT < f64::INFINITY;
    let block = if limited { BLOCK / size_of::<E>() } else { n };
    let (from, to) = (ins[0].cast::<E>(), out.cast::<E>());
    let (mut start, by) = (0, stream(AHEAD) / size_of::<E>());
    while start < n {
        let end = n.min(start + block);
        let mut farthest = V::One::splat(T::ZERO);
        let mut at = start;
        // SAFETY: every place lies before `end`, or the masks let through only what does.
        unsafe {
            while at + V::LEN <= end {
                let ahead = (at + by).min(n - V::LEN);
                for line in (0..V::LEN).step_by(64 / size_of::<E>()) {
                    prefetch(from.add(ahead + line));
                    prefetch_write(to.add(ahead + line));
                }
                let x = V::load(from.add(at));
                if limited {
                    farthest = x.farthest(farthest);
                }
                K::f(x).store(to.add(at));
                at += V::LEN;
            }
            while at < end {
                let x = V::One::load_n(from.add(at), end - at);
                if limited {
                    farthest = x.farthest(farthest);
                }
                K::f(x).store_n(to.add(at), end - at);
                at += V::One::LEN;
            }
        }
        if limited && farthest.any_beyond(T::c(K::LIMIT)) {
            for i in start..end {
                // SAFETY: as above.
                unsafe {
                    let x = *from.add(i);
                    if x.abs() > E::c(K::LIMIT) {
                        *to.add(i) = K::slow(x);
                    }
                }
            }
        }
        start = end;
    }
}

/// # Safety
/// `n` numbers in both operands and room for as many, which do not overlap; the CPU has AVX-512.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512cd,avx2,fma,bmi1,bmi2,lzcnt,f16c")]
unsafe fn each2<E: Float, T: Float, K: Each2<T>, V: Vectors<T> + Held<E>>(
    ins: &[*const u8; MAX_IN],
    out: *mut u8,
    n: usize,
) where
    V::One: HeldInPart<E>,
{
    let (a, b, to) = (ins[0].cast::<E>(), ins[1].cast::<E>(), out.cast::<E>());
    let (mut at, by) = (0, stream(AHEAD) / size_of::<E>());
    // SAFETY: every place lies before `n`, or the masks let through only what does.
    unsafe {
        while at + V::LEN <= n {
            let ahead = (at + by).min(n - V::LEN);
            for line in (0..V::LEN).step_by(64 / size_of::<E>()) {
                prefetch(a.add(ahead + line));
                prefetch(b.add(ahead + line));
                prefetch_write(to.add(ahead + line));
            }
            K::f(V::load(a.add(at)), V::load(b.add(at))).store(to.add(at));
            at += V::LEN;
        }
        while at < n {
            let (x, y) = (V::One::load_n(a.add(at), n - at), V::One::load_n(b.add(at), n - at));
            K::f(x, y).store_n(to.add(at), n - at);
            at += V::One::LEN;
        }
    }
}

/// # Safety
/// `n` numbers at both ends, which do not overlap; the CPU has AVX-512.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512cd,avx2,fma,bmi1,bmi2,lzcnt,f16c")]
unsafe fn each_part<E: Float, K: EachPart>(ins: &[*const u8; MAX_IN], out: *mut u8, n: usize)
where
    double::Four: Held<E>,
    double::One: HeldInPart<E>,
{
    const LEN: usize = <double::Four as Vectors<f64>>::LEN;
    let (from, to) = (ins[0].cast::<E>(), out.cast::<E>());
    let mut at = 0;
    // SAFETY: every place lies before `n`, or the masks let through only what does.
    unsafe {
        while at + LEN <= n {
            let x = double::Four::load(from.add(at));
            let y = if x.any_below(K::LIMIT) {
                K::f(x, true)
            } else {
                K::f(x, false)
            };
            y.store(to.add(at));
            at += LEN;
        }
        while at < n {
            let x = double::One::load_n(from.add(at), n - at);
            K::f(x, true).store_n(to.add(at), n - at);
            at += <double::One as Vectors<f64>>::LEN;
        }
    }
}

/// # Safety
/// `n` floats at both ends, which do not overlap; the CPU has AVX2.
#[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,f16c")]
unsafe fn each_pair<K: Each<f32, f32>>(ins: &[*const u8; MAX_IN], out: *mut u8, n: usize) {
    // SAFETY: the contract of this function.
    let (from, to) = unsafe {
        (
            from_raw_parts(ins[0].cast::<f32>(), n),
            from_raw_parts_mut(out.cast::<f32>(), n),
        )
    };
    let ((from, last), (to, last_to)) = (from.as_chunks::<{ Pair::LEN }>(), to.as_chunks_mut::<{ Pair::LEN }>());
    for (from, to) in from.iter().zip(to) {
        K::f(Pair::load(from)).store(to);
    }
    let mut rest = [0.0; Pair::LEN];
    rest[..last.len()].copy_from_slice(last);
    let x = Pair::load(&rest);
    K::f(x).store(&mut rest);
    last_to.copy_from_slice(&rest[..last.len()]);
}

/// # Safety
/// `n` floats in both operands and room for as many, which do not overlap; the CPU has AVX2.
#[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,f16c")]
unsafe fn gelu_backward_avx2(ins: &[*const u8; MAX_IN], out: *mut u8, n: usize) {
    // SAFETY: the contract of this function.
    let (grads, from, to) = unsafe {
        (
            from_raw_parts(ins[0].cast::<f32>(), n),
            from_raw_parts(ins[1].cast::<f32>(), n),
            from_raw_parts_mut(out.cast::<f32>(), n),
        )
    };
    let ((grads, last_grads), (from, last)) = (grads.as_chunks(), from.as_chunks());
    let (to, last_to) = to.as_chunks_mut::<{ Pair::LEN }>();
    for (to, (g, x)) in to.iter_mut().zip(grads.iter().zip(from)) {
        (Pair::load(g) * math::gelu_slope(Pair::load(x))).store(to);
    }
    for (to, (g, x)) in last_to.iter_mut().zip(last_grads.iter().zip(last)) {
        *to = g * math::gelu_slope(*x);
    }
}
