//! Functions of f32 several vectors at a time ([`Pack`]): those that programs call most, in AVX-512; GELU in AVX2 by name.

use super::erf::{EXP2, FAR, HALF_LOG2_E, SHIFT, TAIL};
use super::exp::LIFT;
use super::pack::avx512::Eight;
pub(crate) use super::pack::avx512::{Four, One, Vectors};
use super::{MAGIC, Pack, TRIG_LIMIT};
use crate::elementwise::math64;
use crate::elementwise::rows::{prefetch, prefetch_write};
use crate::elementwise::unary::Unary;
use crate::elementwise::walk::{Kernel, MAX_IN};
use crate::simd::{Isa, isa};
use std::arch::x86_64::*;
use std::slice::{from_raw_parts, from_raw_parts_mut};

/// The kernel of a function that has one for this CPU.
pub(crate) fn kernel(op: Unary) -> Option<Kernel> {
    match isa() {
        Isa::Avx512 => in_avx512(op),
        Isa::Avx2 if op == Unary::Gelu => Some(gelu_avx2),
        _ => None,
    }
}

/// A function of each element.
trait Each {
    /// Beyond it in absolute value [`Each::slow`] is the function.
    const LIMIT: f32 = f32::INFINITY;
    fn f<P: Pack>(x: P) -> P;
    fn slow(x: f32) -> f32 {
        Self::f(x)
    }
}

/// As many vectors at a time as registers hold: four of long functions, eight of those with few numbers.
macro_rules! kernels {
    ($op:ident, $($name:ident => $f:ident, $vectors:ident $(, beyond $limit:ident $slow:path)?;)*) => {
        match $op {
            $(Unary::$name => {
                struct K;
                impl Each for K {
                    $(const LIMIT: f32 = $limit;
                    #[cold]
                    #[inline(never)]
                    fn slow(x: f32) -> f32 {
                        $slow(x as f64) as f32
                    })?
                    #[inline(always)]
                    fn f<P: Pack>(x: P) -> P {
                        super::$f(x)
                    }
                }
                Some(each::<K, $vectors>)
            })*
            _ => None,
        }
    };
}

fn in_avx512(op: Unary) -> Option<Kernel> {
    kernels! {
        op,
        Exp => exp, Eight;
        Exp2 => exp2, Eight;
        Expm1 => expm1, Four;
        Log => log, Four;
        Log2 => log2, Four;
        Log10 => log10, Four;
        Sin => sin, Four, beyond TRIG_LIMIT math64::huge::sin;
        Cos => cos, Four, beyond TRIG_LIMIT math64::huge::cos;
        Tan => tan, Four, beyond TRIG_LIMIT math64::huge::tan;
        Asin => asin, Four;
        Acos => acos, Four;
        Atan => atan, Four;
        Tanh => tanh, Four;
        Sigmoid => sigmoid, Four;
        Silu => silu, Four;
        Erf => erf, Four;
        Erfinv => erfinv, Four;
        Gelu => gelu, Four;
    }
}

/// Elements whose greatest is looked at together, where some arguments are beyond the function.
const BLOCK: usize = 4096;
/// So many elements ahead memory is asked for, to be read and to be written: the processor finds both by itself only as far
/// as the end of a page.
const AHEAD: usize = 1024;

/// # Safety
/// `n` floats at both ends, which do not overlap; the CPU has AVX-512.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512cd,avx2,fma,bmi1,bmi2,lzcnt,f16c")]
unsafe fn each<K: Each, V: Vectors>(ins: &[*const u8; MAX_IN], out: *mut u8, n: usize) {
    let limited = K::LIMIT < f32::INFINITY;
    let block = if limited { BLOCK } else { n };
    let (from, to) = (ins[0].cast::<f32>(), out.cast::<f32>());
    let mut start = 0;
    while start < n {
        let end = n.min(start + block);
        let mut farthest = One::splat(0.0);
        let mut at = start;
        // SAFETY: every place lies before `end`, or the masks let through only what does.
        unsafe {
            while at + V::LEN <= end {
                let ahead = (at + AHEAD).min(n - V::LEN);
                for line in (0..V::LEN).step_by(16) {
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
                let x = One::load_n(from.add(at), end - at);
                if limited {
                    farthest = x.farthest(farthest);
                }
                K::f(x).store_n(to.add(at), end - at);
                at += 16;
            }
        }
        if limited && farthest.any_beyond(K::LIMIT) {
            for i in start..end {
                // SAFETY: as above.
                unsafe {
                    let x = *from.add(i);
                    if f32::abs(x) > K::LIMIT {
                        *to.add(i) = K::slow(x);
                    }
                }
            }
        }
        start = end;
    }
}

/// `$f` of both vectors, which keeps their chains side by side.
macro_rules! both {
    (|$i:ident| $f:expr) => {
        [
            {
                let $i = 0usize;
                $f
            },
            {
                let $i = 1usize;
                $f
            },
        ]
    };
}

/// [`super::gelu`] in AVX2, of eight elements each: the power of two is a number that is multiplied with, above the subnormal ones,
/// and its scale taken out again. The same operations in the same order give the same bits.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn two_halves(x: [__m256; 2]) -> [__m256; 2] {
    let set = |v: f32| _mm256_set1_ps(v);
    let (scale, magic) = (set(HALF_LOG2_E), set(MAGIC));
    let a = both!(|i| _mm256_min_ps(set(FAR), _mm256_andnot_ps(set(-0.0), x[i])));
    let w = both!(|i| _mm256_div_ps(a[i], _mm256_add_ps(a[i], set(SHIFT))));
    let square = both!(|i| _mm256_mul_ps(a[i], a[i]));
    let low = both!(|i| _mm256_fmsub_ps(a[i], a[i], square[i]));
    let t = both!(|i| _mm256_fmadd_ps(square[i], scale, magic));
    let n = both!(|i| _mm256_sub_ps(t[i], magic));
    let r = both!(|i| _mm256_fmadd_ps(low[i], scale, _mm256_fmsub_ps(square[i], scale, n[i])));
    let mut p = [set(EXP2[EXP2.len() - 1]); 2];
    for k in (0..EXP2.len() - 1).rev() {
        p = both!(|i| _mm256_fmadd_ps(p[i], r[i], set(EXP2[k])));
    }
    let p = both!(|i| _mm256_mul_ps(r[i], p[i]));
    let u = both!(|i| _mm256_fmsub_ps(w[i], set(2.0), set(1.0)));
    let mut q = [set(TAIL[TAIL.len() - 1]); 2];
    for k in (0..TAIL.len() - 1).rev() {
        q = both!(|i| _mm256_fmadd_ps(q[i], u[i], set(TAIL[k])));
    }
    let m = both!(|i| _mm256_mul_ps(q[i], w[i]));
    both!(|i| {
        let bits = _mm256_slli_epi32::<23>(_mm256_castps_si256(t[i]));
        let power = _mm256_castsi256_ps(_mm256_add_epi32(bits, _mm256_set1_epi32((127 + 64) << 23)));
        let tail = _mm256_mul_ps(_mm256_fmadd_ps(p[i], m[i], m[i]), power);
        let tail = _mm256_mul_ps(tail, set(1.0 / LIFT));
        let y = _mm256_sub_ps(_mm256_max_ps(set(-0.0), x[i]), tail);
        let infinite = _mm256_cmp_ps::<_CMP_EQ_OQ>(x[i], set(f32::NEG_INFINITY));
        // All bits set are a NaN.
        _mm256_or_ps(y, infinite)
    })
}

/// # Safety
/// `n` floats at both ends, which do not overlap; the CPU has AVX2.
#[target_feature(enable = "avx2,fma")]
unsafe fn gelu_avx2(ins: &[*const u8; MAX_IN], out: *mut u8, n: usize) {
    // SAFETY: the contract of this function.
    let (from, to) = unsafe {
        (
            from_raw_parts(ins[0].cast::<f32>(), n),
            from_raw_parts_mut(out.cast::<f32>(), n),
        )
    };
    let ((from, last), (to, last_to)) = (from.as_chunks::<16>(), to.as_chunks_mut::<16>());
    for (from, to) in from.iter().zip(to) {
        // SAFETY: both halves of sixteen elements.
        unsafe {
            let y = two_halves(both!(|i| _mm256_loadu_ps(from.as_ptr().add(8 * i))));
            both!(|i| _mm256_storeu_ps(to.as_mut_ptr().add(8 * i), y[i]));
        }
    }
    for (to, x) in last_to.iter_mut().zip(last) {
        *to = super::gelu(*x);
    }
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use super::*;
    use crate::simd::available;

    /// The functions one number at a time, where they are made at all.
    const FUNCTIONS: [(Unary, fn(f32) -> f32); 18] = [
        (Unary::Exp, exp),
        (Unary::Exp2, exp2),
        (Unary::Expm1, expm1),
        (Unary::Log, log),
        (Unary::Log2, log2),
        (Unary::Log10, log10),
        (Unary::Sin, |x| limited(x, sin, math64::huge::sin)),
        (Unary::Cos, |x| limited(x, cos, math64::huge::cos)),
        (Unary::Tan, |x| limited(x, tan, math64::huge::tan)),
        (Unary::Asin, asin),
        (Unary::Acos, acos),
        (Unary::Atan, atan),
        (Unary::Tanh, tanh),
        (Unary::Sigmoid, sigmoid),
        (Unary::Silu, silu),
        (Unary::Erf, erf),
        (Unary::Erfinv, erfinv),
        (Unary::Gelu, gelu),
    ];

    fn limited(x: f32, near: fn(f32) -> f32, beyond: fn(f64) -> f64) -> f32 {
        if x.abs() > TRIG_LIMIT {
            beyond(x as f64) as f32
        } else {
            near(x)
        }
    }

    /// The bits, with one pattern for all NaNs.
    fn bits(y: f32) -> u32 {
        if y.is_nan() { u32::MAX } else { y.to_bits() }
    }

    fn compare(op: Unary, f: fn(f32) -> f32, xs: &[f32]) {
        // One element more, which stays.
        let mut got = vec![77f32; xs.len() + 1];
        let kernel = in_avx512(op).unwrap();
        // SAFETY: the set was found; room for all elements.
        unsafe { kernel(&[xs.as_ptr().cast(); MAX_IN], got.as_mut_ptr().cast(), xs.len()) };
        assert_eq!(got.pop(), Some(77.0), "{op:?}, {}", xs.len());
        for (x, y) in xs.iter().zip(got) {
            assert_eq!(bits(y), bits(f(*x)), "{op:?}({x:e}) = {y:e}, {:e} alone", f(*x));
        }
    }

    #[test]
    fn vectors_give_the_bits_of_numbers() {
        if !available().contains(&Isa::Avx512) {
            return;
        }
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
        ];
        // Numbers of every exponent and sign.
        let spread: Vec<f32> = (0..600_011u32).map(|i| f32::from_bits(i.wrapping_mul(7159))).collect();
        let near: Vec<f32> = (0..20_000).map(|i| (i as f32 - 1e4) * 0.00137).collect();
        for (op, f) in FUNCTIONS {
            for n in [0, 1, 7, 8, 15, 16, 17, 63, 64, 65, 127, 128, 129, 1000, 4096, 5000] {
                let xs: Vec<f32> = edges.iter().cycle().skip(n % 5).take(n).copied().collect();
                compare(op, f, &xs);
                compare(op, f, &near[7000..7000 + n]);
            }
            compare(op, f, &spread);
            compare(op, f, &near);
        }
    }
}
