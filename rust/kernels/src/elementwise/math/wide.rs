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
pub(crate) fn kernel(op: Unary, compute: DType) -> Option<Kernel> {
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
pub(crate) fn kernel2(op: Binary, compute: DType) -> Option<Kernel> {
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
    let mut start = 0;
    while start < n {
        let end = n.min(start + block);
        let mut farthest = V::One::splat(T::ZERO);
        let mut at = start;
        // SAFETY: every place lies before `end`, or the masks let through only what does.
        unsafe {
            while at + V::LEN <= end {
                let ahead = (at + AHEAD / size_of::<E>()).min(n - V::LEN);
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
    let mut at = 0;
    // SAFETY: every place lies before `n`, or the masks let through only what does.
    unsafe {
        while at + V::LEN <= n {
            let ahead = (at + AHEAD / size_of::<E>()).min(n - V::LEN);
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

#[cfg(test)]
mod tests {
    use super::super::*;
    use super::*;

    /// The functions one number at a time, where they are made at all.
    const SINGLES: [(Unary, fn(f32) -> f32); 27] = [
        (Unary::Lgamma, |x| math64::lgamma_f32(x as f64, true) as f32),
        (Unary::Digamma, |x| math64::digamma(x as f64, true) as f32),
        (Unary::Exp, exp),
        (Unary::Exp2, exp2),
        (Unary::Expm1, expm1),
        (Unary::Log, log),
        (Unary::Log2, log2),
        (Unary::Log10, log10),
        (Unary::Log1p, log1p),
        (Unary::Sin, |x| limited(x, sin, math64::huge::sin)),
        (Unary::Cos, |x| limited(x, cos, math64::huge::cos)),
        (Unary::Tan, |x| limited(x, tan, math64::huge::tan)),
        (Unary::Asin, asin),
        (Unary::Acos, acos),
        (Unary::Atan, atan),
        (Unary::Sinh, sinh),
        (Unary::Cosh, cosh),
        (Unary::Tanh, tanh),
        (Unary::Tanhshrink, tanhshrink),
        (Unary::Atanh, atanh),
        (Unary::LogSigmoid, log_sigmoid),
        (Unary::Sigmoid, sigmoid),
        (Unary::Silu, silu),
        (Unary::Erf, erf),
        (Unary::Erfc, erfc),
        (Unary::Erfinv, erfinv),
        (Unary::Gelu, gelu),
    ];
    const DOUBLES: [(Unary, fn(f64) -> f64); 20] = [
        (Unary::Lgamma, |x| math64::lgamma(x, true)),
        (Unary::Digamma, |x| math64::digamma(x, true)),
        (Unary::Atan, math64::atan),
        (Unary::Erfinv, math64::erfinv),
        (Unary::Exp, math64::exp),
        (Unary::Exp2, math64::exp2),
        (Unary::Expm1, math64::expm1),
        (Unary::Log, math64::log),
        (Unary::Log2, math64::log2),
        (Unary::Log10, math64::log10),
        (Unary::Log1p, math64::log1p),
        (Unary::Sin, |x| limited_d(x, math64::sin, math64::huge::sin)),
        (Unary::Cos, |x| limited_d(x, math64::cos, math64::huge::cos)),
        (Unary::Tan, |x| limited_d(x, math64::tan, math64::huge::tan)),
        (Unary::Tanh, math64::tanh),
        (Unary::Sigmoid, math64::sigmoid),
        (Unary::Silu, math64::silu),
        (Unary::Erf, math64::erf),
        (Unary::Erfc, math64::erfc),
        (Unary::Gelu, math64::gelu),
    ];

    fn limited(x: f32, near: fn(f32) -> f32, beyond: fn(f64) -> f64) -> f32 {
        if x.abs() > TRIG_LIMIT {
            beyond(x as f64) as f32
        } else {
            near(x)
        }
    }

    fn limited_d(x: f64, near: fn(f64) -> f64, beyond: fn(f64) -> f64) -> f64 {
        if x.abs() > math64::TRIG_LIMIT {
            beyond(x)
        } else {
            near(x)
        }
    }

    /// All functions of a type on the edges, on numbers of every exponent and on `near` ones.
    fn compare<T: Float + PartialEq + std::fmt::LowerExp>(
        all: &[(Unary, fn(T) -> T)],
        kernel: fn(Unary) -> Option<Kernel>,
        bits: fn(T) -> u64,
        edges: &[T],
        spread: &[T],
    ) {
        let near: Vec<T> = (0..20_000).map(|i| T::c((i as f64 - 1e4) * 0.00137)).collect();
        for &(op, f) in all {
            let compare = |xs: &[T]| {
                // One element more, which stays.
                let mut got = vec![T::c(77.0); xs.len() + 1];
                let Some(kernel) = kernel(op) else {
                    assert!(isa() != Isa::Avx512, "{op:?}");
                    return;
                };
                // SAFETY: the set was found; room for all elements.
                unsafe { kernel(&[xs.as_ptr().cast(); MAX_IN], got.as_mut_ptr().cast(), xs.len()) };
                assert!(got.pop() == Some(T::c(77.0)), "{op:?}, {}", xs.len());
                for (x, y) in xs.iter().zip(got) {
                    let want = f(*x);
                    let same = bits(y) == bits(want) || y.nan() && want.nan();
                    assert!(same, "{op:?}({x:e}) = {y:e}, {want:e} alone");
                }
            };
            for n in [0, 1, 7, 8, 15, 16, 17, 63, 64, 65, 127, 128, 129, 1000, 4096, 5000] {
                let xs: Vec<T> = edges.iter().cycle().skip(n % 5).take(n).copied().collect();
                compare(&xs);
                compare(&near[7000..7000 + n]);
            }
            compare(spread);
            compare(&near);
        }
    }

    const SINGLES2: [(Binary, fn(f32, f32) -> f32); 10] = [
        (Binary::Pow, |x, y| pow_d(x as f64, y as f64) as f32),
        (Binary::Atan2, |y, x| atan2_d(y as f64, x as f64) as f32),
        (Binary::Logaddexp, |a, b| log_add_exp_d(a as f64, b as f64) as f32),
        (Binary::Logaddexp2, |a, b| log_add_exp2_d(a as f64, b as f64) as f32),
        (Binary::Xlogy, xlogy),
        (Binary::SigmoidBackward, |g, y| g * (1.0 - y) * y),
        (Binary::TanhBackward, |g, y| g * (-y).mul_add(y, 1.0)),
        (Binary::GeluBackward, |g, x| g * gelu_slope(x)),
        (Binary::SiluBackward, |g, x| g * silu_slope(x)),
        (Binary::LogSigmoidBackward, |g, x| g * sigmoid(-x)),
    ];

    const DOUBLES2: [(Binary, fn(f64, f64) -> f64); 4] = [
        (Binary::Pow, math64::pow),
        (Binary::Atan2, math64::atan2),
        (Binary::Logaddexp, math64::log_add_exp),
        (Binary::Logaddexp2, math64::log_add_exp2),
    ];

    /// All functions of two operands of a type, on pairs of edges and on numbers of every exponent.
    fn compare2<T: Float + PartialEq + std::fmt::LowerExp>(
        all: &[(Binary, fn(T, T) -> T)],
        kernel: fn(Binary) -> Option<Kernel>,
        bits: fn(T) -> u64,
        edges: &[T],
        spread: &[T],
    ) {
        let pairs = edges.iter().flat_map(|a| edges.iter().map(|b| (*a, *b)));
        let pairs = pairs.chain(spread.iter().copied().zip(spread.iter().rev().copied()));
        let (mut a, mut b): (Vec<T>, Vec<T>) = pairs.unzip();
        // Whole numbers, and numbers near 1, to moderate powers.
        for i in 0..4000 {
            a.push(T::c((i % 61) as f64 * if i % 2 == 0 { 0.5 } else { -0.03125 }));
            b.push(T::c((i % 37) as f64 - 17.0 + if i % 3 == 0 { 0.25 } else { 0.0 }));
        }
        for &(op, f) in all {
            let Some(kernel) = kernel(op) else {
                assert!(isa() != Isa::Avx512, "{op:?}");
                continue;
            };
            for n in [0, 1, 7, 8, 15, 16, 17, 63, 64, 65, 127, 1000, a.len()] {
                let mut got = vec![T::c(77.0); n + 1];
                let ins = [
                    a.as_ptr().cast(),
                    b.as_ptr().cast(),
                    a.as_ptr().cast(),
                    a.as_ptr().cast(),
                ];
                // SAFETY: the set was found; room for all elements.
                unsafe { kernel(&ins, got.as_mut_ptr().cast(), n) };
                assert!(got.pop() == Some(T::c(77.0)), "{op:?}, {n}");
                for ((x, y), z) in a.iter().zip(&b).zip(got) {
                    let want = f(*x, *y);
                    let same = bits(z) == bits(want) || z.nan() && want.nan();
                    assert!(same, "{op:?}({x:e}, {y:e}) = {z:e}, {want:e} alone");
                }
            }
        }
    }

    #[test]
    fn vectors_give_the_bits_of_numbers() {
        let edges = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            f32::MAX,
            f32::MIN,
            1e-45,
            -1e-45,
            1.1e-38,
            f32::from_bits(0x3f35_04f2),
            f32::from_bits(0x3f35_04f3),
            f32::from_bits(0x3fb5_04f3),
            f32::from_bits(0x3fb5_04f4),
            0.95,
            0.65,
            0.5,
            2e5,
            2.1e5,
            -2.1e5,
            88.7,
            -87.4,
            -103.9,
            -104.1,
            14.5,
            -14.6,
            4.665_185,
            -4.665_185,
            4.665_186,
            4.67,
            -4.67,
            3.149,
            3.149_001,
            3.15,
            3.151,
        ];
        // Numbers of every exponent and sign.
        let spread: Vec<f32> = (0..600_011u32).map(|i| f32::from_bits(i.wrapping_mul(7159))).collect();
        compare(
            &SINGLES,
            |op| kernel(op, DType::F32),
            |y| y.to_bits() as u64,
            &edges,
            &spread,
        );
        compare2(
            &SINGLES2,
            |op| kernel2(op, DType::F32),
            |y| y.to_bits() as u64,
            &edges,
            &spread,
        );
        let edges = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            f64::MAX,
            f64::MIN,
            5e-324,
            -5e-324,
            2.3e-308,
            f64::from_bits(0x3fe6_a09e_667f_3bcc),
            f64::from_bits(0x3fe6_a09e_667f_3bcd),
            f64::from_bits(0x3ff6_a09e_667f_3bcd),
            f64::from_bits(0x3ff6_a09e_667f_3bce),
            1e9,
            1.1e9,
            -1.1e9,
            1e300,
            -0.999_999_999_999_999_9,
            -1.000_000_000_000_000_2,
            709.8,
            -708.4,
            -745.1,
            -745.2,
            -780.1,
            27.3,
            -28.1,
            -38.5,
            39.1,
        ];
        let spread: Vec<f64> = (0..600_011u64)
            .map(|i| f64::from_bits(i.wrapping_mul(30_744_573_456_182_586)))
            .collect();
        compare(&DOUBLES, |op| kernel(op, DType::F64), f64::to_bits, &edges, &spread);
        compare2(&DOUBLES2, |op| kernel2(op, DType::F64), f64::to_bits, &edges, &spread);
    }
}
