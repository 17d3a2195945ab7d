//! What the kernels ask of f32 and f64, so that each formula is written once.

use super::{math, math64};
use std::ops::{Add, Div, Mul, Neg, Rem, Sub};

pub trait Float:
    Copy
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Rem<Output = Self>
    + Neg<Output = Self>
    + Send
    + Sync
    + 'static
{
    /// A constant.
    fn c(v: f64) -> Self;
    fn mul_add(self, a: Self, b: Self) -> Self;
    fn abs(self) -> Self;
    fn copysign(self, s: Self) -> Self;
    fn sqrt(self) -> Self;
    fn floor(self) -> Self;
    fn ceil(self) -> Self;
    fn trunc(self) -> Self;
    fn round_even(self) -> Self;
    fn is_negative(self) -> bool;
    fn exp(self) -> Self;
    fn exp2(self) -> Self;
    fn expm1(self) -> Self;
    fn log(self) -> Self;
    fn log2(self) -> Self;
    fn log10(self) -> Self;
    fn log1p(self) -> Self;
    fn sin(self) -> Self;
    fn cos(self) -> Self;
    fn tan(self) -> Self;
    /// Arguments for which `sin`, `cos` and `tan` are not made: see `Map1::hard`.
    fn beyond_trig(self) -> bool;
    fn atan(self) -> Self;
    fn sinh(self) -> Self;
    fn cosh(self) -> Self;
    fn asin(self) -> Self;
    fn acos(self) -> Self;
    fn asinh(self) -> Self;
    fn acosh(self) -> Self;
    fn atanh(self) -> Self;
    fn tanh(self) -> Self;
    fn sigmoid(self) -> Self;
    /// x·sigmoid(x)
    fn silu(self) -> Self;
    /// log(1 + e^x)
    fn softplus(self) -> Self;
    fn erf(self) -> Self;
    fn erfc(self) -> Self;
    fn erfinv(self) -> Self;
    /// Arguments for which `erfinv` is not made.
    fn beyond_erfinv(self) -> bool;
    fn lgamma(self) -> Self;
    fn digamma(self) -> Self;
    fn atan2(self, x: Self) -> Self;
    fn log_add_exp(self, b: Self) -> Self;
    fn log_add_exp2(self, b: Self) -> Self;
    /// What remains of a division towards zero, for quotients of any size.
    fn fmod(self, b: Self) -> Self;
    fn pow(self, e: Self) -> Self;
    fn next_after(self, to: Self) -> Self;
    /// The standard normal distribution function.
    fn ndtr(self) -> Self;
    /// x Φ(x), rounded once.
    fn gelu(self) -> Self;
    /// Φ(x) + x φ(x), the derivative of `gelu`.
    fn gelu_slope(self) -> Self;
    /// GELU's tanh form.
    fn gelu_tanh(self) -> Self;
    /// The standard normal density.
    fn npdf(self) -> Self;
    /// sigmoid(2u) and its complement for the u of GELU's tanh form, free of cancellation.
    fn gelu_tanh_gate(self) -> (Self, Self);
    /// The number as a double. (A function that is handed on as a value is compiled without its caller's instructions, so
    /// that formulas of f64 are written out: `T::c(f(x.wide()))`.)
    fn wide(self) -> f64;

    const INF: Self;
    /// Numbers below it have integers among their neighbours, all of them: 2^24 or 2^53.
    const EXACT: Self;
    const ZERO: Self;
    const ONE: Self;
    fn nan(self) -> bool;
}

macro_rules! basics {
    ($t:ident) => {
        const INF: $t = $t::INFINITY;
        const EXACT: $t = (1u64 << $t::MANTISSA_DIGITS) as $t;
        const ZERO: $t = 0.0;
        const ONE: $t = 1.0;
        #[inline(always)]
        fn c(v: f64) -> $t {
            v as $t
        }
        #[inline(always)]
        fn mul_add(self, a: $t, b: $t) -> $t {
            $t::mul_add(self, a, b)
        }
        #[inline(always)]
        fn abs(self) -> $t {
            $t::abs(self)
        }
        #[inline(always)]
        fn copysign(self, s: $t) -> $t {
            $t::copysign(self, s)
        }
        #[inline(always)]
        fn sqrt(self) -> $t {
            $t::sqrt(self)
        }
        #[inline(always)]
        fn floor(self) -> $t {
            $t::floor(self)
        }
        #[inline(always)]
        fn ceil(self) -> $t {
            $t::ceil(self)
        }
        #[inline(always)]
        fn trunc(self) -> $t {
            $t::trunc(self)
        }
        #[inline(always)]
        fn round_even(self) -> $t {
            $t::round_ties_even(self)
        }
        #[inline(always)]
        fn is_negative(self) -> bool {
            self.is_sign_negative()
        }
        #[inline(always)]
        fn nan(self) -> bool {
            self.is_nan()
        }
        #[inline(always)]
        fn wide(self) -> f64 {
            self as f64
        }
        #[inline(always)]
        fn next_after(self, to: $t) -> $t {
            if self.is_nan() || to.is_nan() {
                return self + to;
            }
            if self == to {
                return to;
            }
            if self == 0.0 {
                return $t::from_bits(1).copysign(to);
            }
            // Away from zero is up in the bits, towards it is down.
            let up = (self < to) == (self > 0.0);
            $t::from_bits(if up {
                self.to_bits() + 1
            } else {
                self.to_bits() - 1
            })
        }
    };
}

impl Float for f32 {
    basics!(f32);
    #[inline(always)]
    fn exp(self) -> f32 {
        math::exp(self)
    }
    #[inline(always)]
    fn exp2(self) -> f32 {
        math::exp2(self)
    }
    #[inline(always)]
    fn expm1(self) -> f32 {
        math::expm1(self)
    }
    #[inline(always)]
    fn log(self) -> f32 {
        math::log(self)
    }
    #[inline(always)]
    fn log2(self) -> f32 {
        math::log2(self)
    }
    #[inline(always)]
    fn log10(self) -> f32 {
        math::log10(self)
    }
    #[inline(always)]
    fn log1p(self) -> f32 {
        math::log1p(self)
    }
    #[inline(always)]
    fn sin(self) -> f32 {
        math::sin(self)
    }
    #[inline(always)]
    fn cos(self) -> f32 {
        math::cos(self)
    }
    #[inline(always)]
    fn tan(self) -> f32 {
        math::tan(self)
    }
    #[inline(always)]
    fn beyond_trig(self) -> bool {
        self.abs() > math::TRIG_LIMIT
    }
    #[inline(always)]
    fn atan(self) -> f32 {
        math::atan(self)
    }
    #[inline(always)]
    fn sinh(self) -> f32 {
        math::sinh(self)
    }
    #[inline(always)]
    fn cosh(self) -> f32 {
        math::cosh(self)
    }
    #[inline(always)]
    fn asin(self) -> f32 {
        math::asin(self)
    }
    #[inline(always)]
    fn acos(self) -> f32 {
        math::acos(self)
    }
    #[inline(always)]
    fn asinh(self) -> f32 {
        math::asinh(self)
    }
    #[inline(always)]
    fn acosh(self) -> f32 {
        math::acosh(self)
    }
    #[inline(always)]
    fn atanh(self) -> f32 {
        math::atanh(self)
    }
    #[inline(always)]
    fn tanh(self) -> f32 {
        math::tanh(self)
    }
    #[inline(always)]
    fn sigmoid(self) -> f32 {
        math::sigmoid(self)
    }
    #[inline(always)]
    fn silu(self) -> f32 {
        math::silu(self)
    }
    #[inline(always)]
    fn softplus(self) -> f32 {
        math::softplus(self)
    }
    #[inline(always)]
    fn erf(self) -> f32 {
        math::erf(self)
    }
    #[inline(always)]
    fn erfc(self) -> f32 {
        math::erfc(self)
    }
    #[inline(always)]
    fn erfinv(self) -> f32 {
        math::erfinv(self)
    }
    #[inline(always)]
    fn beyond_erfinv(self) -> bool {
        false
    }
    #[inline(always)]
    fn lgamma(self) -> f32 {
        math64::lgamma(self as f64, true) as f32
    }
    #[inline(always)]
    fn digamma(self) -> f32 {
        math64::digamma(self as f64, true) as f32
    }
    #[inline(always)]
    fn atan2(self, x: f32) -> f32 {
        math::atan2_d(self as f64, x as f64) as f32
    }
    #[inline(always)]
    fn log_add_exp(self, b: f32) -> f32 {
        math::log_add_exp_d(self as f64, b as f64) as f32
    }
    #[inline(always)]
    fn log_add_exp2(self, b: f32) -> f32 {
        math::log_add_exp2_d(self as f64, b as f64) as f32
    }
    #[inline(always)]
    fn fmod(self, b: f32) -> f32 {
        let (x, y) = (self as f64, b as f64);
        let q = (x / y).trunc();
        // What the quotient in doubles leaves is exact too.
        if q.abs() < f64::EXACT && y.abs() < f64::INF {
            let r = (-q).mul_add(y, x);
            let high = r != 0.0 && (r < 0.0) != (x < 0.0);
            return (if high { r + y.abs().copysign(x) } else { r }).copysign(x) as f32;
        }
        self % b
    }
    #[inline(always)]
    fn pow(self, e: f32) -> f32 {
        math::pow_d(self as f64, e as f64) as f32
    }
    #[inline(always)]
    fn ndtr(self) -> f32 {
        (0.5 * math::erfc_d(self as f64 * -std::f64::consts::FRAC_1_SQRT_2)) as f32
    }
    #[inline(always)]
    fn gelu(self) -> f32 {
        math::gelu(self)
    }
    #[inline(always)]
    fn gelu_slope(self) -> f32 {
        math::gelu_slope(self)
    }
    #[inline(always)]
    fn gelu_tanh(self) -> f32 {
        let d = self as f64;
        (d / (1.0 + math::exp_d(-2.0 * gelu_tanh_inner(d)))) as f32
    }
    #[inline(always)]
    fn npdf(self) -> f32 {
        let d = self as f64;
        (math::exp_d(-0.5 * d * d) * FRAC_1_SQRT_2PI) as f32
    }
    #[inline(always)]
    fn gelu_tanh_gate(self) -> (f32, f32) {
        // Where the power is infinite, its product with the gate is not a number.
        let u = -2.0 * gelu_tanh_inner(self as f64);
        let e = math::exp_d(if u > 700.0 { 700.0 } else { u });
        let gate = 1.0 / (1.0 + e);
        (gate as f32, (e * gate) as f32)
    }
}

pub(super) const FRAC_1_SQRT_2PI: f64 = 0.398_942_280_401_432_7;

/// √(2/π) (x + 0.044715 x³)
#[inline(always)]
fn gelu_tanh_inner(x: f64) -> f64 {
    2.0 * FRAC_1_SQRT_2PI * x * (0.044715 * x).mul_add(x, 1.0)
}

impl Float for f64 {
    basics!(f64);
    #[inline(always)]
    fn exp(self) -> f64 {
        math64::exp(self)
    }
    #[inline(always)]
    fn exp2(self) -> f64 {
        math64::exp2(self)
    }
    #[inline(always)]
    fn expm1(self) -> f64 {
        math64::expm1(self)
    }
    #[inline(always)]
    fn log(self) -> f64 {
        math64::log(self)
    }
    #[inline(always)]
    fn log2(self) -> f64 {
        math64::log2(self)
    }
    #[inline(always)]
    fn log10(self) -> f64 {
        math64::log10(self)
    }
    #[inline(always)]
    fn log1p(self) -> f64 {
        math64::log1p(self)
    }
    #[inline(always)]
    fn sin(self) -> f64 {
        math64::sin(self)
    }
    #[inline(always)]
    fn cos(self) -> f64 {
        math64::cos(self)
    }
    #[inline(always)]
    fn tan(self) -> f64 {
        math64::tan(self)
    }
    #[inline(always)]
    fn beyond_trig(self) -> bool {
        self.abs() > math64::TRIG_LIMIT
    }
    #[inline(always)]
    fn atan(self) -> f64 {
        math64::atan(self)
    }
    #[inline(always)]
    fn sinh(self) -> f64 {
        math64::sinh(self)
    }
    #[inline(always)]
    fn cosh(self) -> f64 {
        math64::cosh(self)
    }
    #[inline(always)]
    fn asin(self) -> f64 {
        math64::asin(self)
    }
    #[inline(always)]
    fn acos(self) -> f64 {
        math64::acos(self)
    }
    #[inline(always)]
    fn asinh(self) -> f64 {
        math64::asinh(self)
    }
    #[inline(always)]
    fn acosh(self) -> f64 {
        math64::acosh(self)
    }
    #[inline(always)]
    fn atanh(self) -> f64 {
        math64::atanh(self)
    }
    #[inline(always)]
    fn tanh(self) -> f64 {
        math64::tanh(self)
    }
    #[inline(always)]
    fn sigmoid(self) -> f64 {
        math64::sigmoid(self)
    }
    #[inline(always)]
    fn silu(self) -> f64 {
        math64::silu(self)
    }
    #[inline(always)]
    fn softplus(self) -> f64 {
        let most = if self > 0.0 { self } else { 0.0 };
        most + math64::log1p(math64::exp(-self.abs()))
    }
    #[inline(always)]
    fn erf(self) -> f64 {
        math64::erf(self)
    }
    #[inline(always)]
    fn erfc(self) -> f64 {
        math64::erfc(self)
    }
    #[inline(always)]
    fn erfinv(self) -> f64 {
        math64::erfinv_near(self)
    }
    #[inline(always)]
    fn beyond_erfinv(self) -> bool {
        self.abs() > math64::ERFINV_NEAR
    }
    #[inline(always)]
    fn lgamma(self) -> f64 {
        math64::lgamma(self, true)
    }
    #[inline(always)]
    fn digamma(self) -> f64 {
        math64::digamma(self, true)
    }
    #[inline(always)]
    fn atan2(self, x: f64) -> f64 {
        math64::atan2(self, x)
    }
    #[inline(always)]
    fn log_add_exp(self, b: f64) -> f64 {
        math64::log_add_exp(self, b)
    }
    #[inline(always)]
    fn log_add_exp2(self, b: f64) -> f64 {
        math64::log_add_exp2(self, b)
    }
    #[inline(always)]
    fn fmod(self, b: f64) -> f64 {
        self % b
    }
    #[inline(always)]
    fn pow(self, e: f64) -> f64 {
        math64::pow(self, e)
    }
    #[inline(always)]
    fn ndtr(self) -> f64 {
        math64::ndtr(self)
    }
    #[inline(always)]
    fn gelu(self) -> f64 {
        math64::gelu(self)
    }
    #[inline(always)]
    fn gelu_slope(self) -> f64 {
        math64::gelu_slope(self)
    }
    #[inline(always)]
    fn gelu_tanh(self) -> f64 {
        self * math64::sigmoid(2.0 * gelu_tanh_inner(self))
    }
    #[inline(always)]
    fn npdf(self) -> f64 {
        math64::exp(-0.5 * self * self) * FRAC_1_SQRT_2PI
    }
    #[inline(always)]
    fn gelu_tanh_gate(self) -> (f64, f64) {
        let u = 2.0 * gelu_tanh_inner(self);
        (math64::sigmoid(u), math64::sigmoid(-u))
    }
}
