//! Random numbers: counter-based, so that an element's value depends on seed, offset and its row-major position only.
//!
//! Each function fills a view and uses [`Philox::counters`]`(n)` counters (see [`Philox`]), however the view lies in memory
//! and however many threads share the work.

mod philox;
#[cfg(test)]
mod tests;

pub use philox::Philox;

use crate::dtype::{DType, Scalar};
use crate::elementwise::walk::{BLOCK, GRAIN, Plan, Scratch, scratch};
use crate::elementwise::{Operand, convert, copy, fill, math};
use crate::multiversion;
use crate::parallel::for_range;
use crate::view::{AnyDst, AnySrc};

/// Elements worth a second thread: a draw costs more than memory.
const DRAWS: usize = GRAIN / 4;

/// Calls `f(position, length, block)` for row-major blocks of `out` and stores what it left in the block as `ty`.
fn produce(out: &AnyDst, ty: DType, f: impl Fn(usize, usize, &mut Scratch) + Sync) {
    let n = out.numel();
    if n == 0 {
        return;
    }
    let lane = Lane {
        plan: Plan::row_major(out, &[]),
        operand: 0,
        base: out.ptr(),
        dtype: out.dtype(),
    };
    for_range(n, DRAWS, |range| {
        let mut block = scratch();
        for pos in range.clone().step_by(BLOCK) {
            let len = BLOCK.min(range.end - pos);
            f(pos, len, &mut block);
            lane.store(pos, len, ty, &block);
        }
    });
}

/// One operand of a row-major walk.
struct Lane {
    plan: Plan,
    operand: usize,
    base: *mut u8,
    dtype: DType,
}

// SAFETY: the pointer is a view's, views are `Sync`, and threads work on disjoint elements.
unsafe impl Sync for Lane {}

impl Lane {
    fn store(&self, pos: usize, len: usize, ty: DType, block: &Scratch) {
        let store = convert::storer(ty, self.dtype);
        let (from, width) = (block.as_ptr().cast::<u8>(), self.dtype.size() as isize);
        self.plan
            .rectangles(self.operand, self.plan.index(pos), len, |offset, rect, at| {
                // SAFETY: the rectangle lies inside the view, its elements inside the block.
                unsafe { store(from.add(at * ty.size()), self.base.offset(offset * width), rect) }
            });
    }

    fn load(&self, pos: usize, len: usize, ty: DType, block: &mut Scratch) {
        let load = convert::loader(self.dtype, ty);
        let (to, width) = (block.as_mut_ptr().cast::<u8>(), self.dtype.size() as isize);
        self.plan
            .rectangles(self.operand, self.plan.index(pos), len, |offset, rect, at| {
                // SAFETY: as above.
                unsafe {
                    load(
                        self.base.offset(offset * width).cast_const(),
                        rect,
                        to.add(at * ty.size()),
                    )
                }
            });
    }
}

/// The first `len` elements of a block.
///
/// # Safety
/// `T` is plain data of at most eight bytes; what is read before it is written must have been written as `T`.
unsafe fn elements<T>(block: &mut Scratch, len: usize) -> &mut [T] {
    // SAFETY: a block holds `BLOCK` aligned elements of at most eight bytes; the rest is the contract.
    unsafe { std::slice::from_raw_parts_mut(block.as_mut_ptr().cast(), len.min(BLOCK)) }
}

/// Words for the elements from `pos` (a multiple of 4) on.
fn draw(philox: Philox, pos: usize, len: usize, stream: u32, words: &mut [u32; BLOCK]) {
    philox.words(pos as u64 / 4, stream, &mut words[..len.next_multiple_of(4)]);
}

/// 64-bit draws, the second stream's word above the first's.
fn draw_wide(philox: Philox, pos: usize, len: usize, wide: &mut [u64; BLOCK]) {
    let (mut low, mut high) = ([0; BLOCK], [0; BLOCK]);
    draw(philox, pos, len, 0, &mut low);
    draw(philox, pos, len, 1, &mut high);
    for ((w, l), h) in wide.iter_mut().zip(&low).zip(&high).take(len.next_multiple_of(4)) {
        *w = (*h as u64) << 32 | *l as u64;
    }
}

/// 53 bits as a float in [0, 1).
fn unit(wide: u64) -> f64 {
    (wide >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
}

/// Uniform in [lo, hi).
pub fn uniform(dst: AnyDst, philox: Philox, lo: f64, hi: f64) {
    if dst.dtype() == DType::F64 {
        let last = hi.next_down().max(lo);
        return produce(&dst, DType::F64, |pos, len, block| {
            let mut wide = [0; BLOCK];
            draw_wide(philox, pos, len, &mut wide);
            // SAFETY: written only.
            let out = unsafe { elements::<f64>(block, len) };
            for (o, w) in out.iter_mut().zip(&wide) {
                *o = unit(*w).mul_add(hi - lo, lo).min(last);
            }
        });
    }
    // As many bits as the dtype keeps, so that rounding does not reach the upper end.
    let bits = match dst.dtype() {
        DType::F16 => 11,
        DType::BF16 => 8,
        _ => 24,
    };
    let (lo, hi) = (lo as f32, hi as f32);
    produce(&dst, DType::F32, |pos, len, block| {
        let mut words = [0; BLOCK];
        draw(philox, pos, len, 0, &mut words);
        // SAFETY: written only.
        uniform_block(&words, bits, lo, hi, unsafe { elements(block, len) });
    });
}

multiversion! {
    fn uniform_block(words: &[u32; BLOCK], bits: u32, lo: f32, hi: f32, out: &mut [f32]) {
        let unit = 1.0 / (1u32 << bits) as f32;
        let below = hi.next_down();
        let last = if below > lo { below } else { lo };
        let range = hi - lo;
        for (o, w) in out.iter_mut().zip(words) {
            let v = ((w >> (32 - bits)) as f32 * unit).mul_add(range, lo);
            *o = if v > last { last } else { v };
        }
    }
}

/// Normal, by the Box-Muller transform of neighbouring draws.
pub fn normal(dst: AnyDst, philox: Philox, mean: f64, std: f64) {
    if dst.dtype() == DType::F64 {
        return wide_normals(&dst, philox, |z| z.mul_add(std, mean));
    }
    let (mean, std) = (mean as f32, std as f32);
    produce(&dst, DType::F32, |pos, len, block| {
        let mut words = [0; BLOCK];
        draw(philox, pos, len, 0, &mut words);
        // SAFETY: written only; rounded up to whole pairs, which a block has room for.
        normal_block(&words, mean, std, unsafe { elements(block, len.next_multiple_of(2)) });
    });
}

multiversion! {
    fn normal_block(words: &[u32; BLOCK], mean: f32, std: f32, out: &mut [f32]) {
        let mut angles = [0f32; BLOCK / 2];
        let mut radii = [0f32; BLOCK / 2];
        for i in 0..BLOCK / 2 {
            // In (0, 1], so that the logarithm is finite.
            let u = (words[2 * i] as f32 + 1.0) * (1.0 / 4_294_967_296.0);
            radii[i] = (-2.0 * math::log(u)).sqrt() * std;
            angles[i] = (words[2 * i + 1] >> 8) as f32 * (std::f32::consts::TAU / 16_777_216.0);
        }
        for ((pair, r), a) in out.chunks_exact_mut(2).zip(&radii).zip(&angles) {
            let (s, c) = math::sin_cos(*a);
            pair[0] = r.mul_add(c, mean);
            pair[1] = r.mul_add(s, mean);
        }
    }
}

/// Standard normals in double precision, mapped by `f`.
fn wide_normals(dst: &AnyDst, philox: Philox, f: impl Fn(f64) -> f64 + Sync) {
    produce(dst, DType::F64, |pos, len, block| {
        let mut wide = [0; BLOCK];
        draw_wide(philox, pos, len, &mut wide);
        // SAFETY: written only; rounded up to whole pairs, which a block has room for.
        let out = unsafe { elements::<f64>(block, len.next_multiple_of(2)) };
        for (pair, w) in out.chunks_exact_mut(2).zip(wide.chunks_exact(2)) {
            let r = (-2.0 * (1.0 - unit(w[0])).ln()).sqrt();
            let (s, c) = (std::f64::consts::TAU * unit(w[1])).sin_cos();
            pair[0] = f(r * c);
            pair[1] = f(r * s);
        }
    });
}

/// exp of a normal.
pub fn log_normal(dst: AnyDst, philox: Philox, mean: f64, std: f64) {
    wide_normals(&dst, philox, |z| z.mul_add(std, mean).exp());
}

/// A function of a uniform number in (0, 1), in double precision.
fn by_inversion(dst: &AnyDst, philox: Philox, f: impl Fn(f64) -> f64 + Sync) {
    produce(dst, DType::F64, |pos, len, block| {
        let mut wide = [0; BLOCK];
        draw_wide(philox, pos, len, &mut wide);
        // SAFETY: written only.
        let out = unsafe { elements::<f64>(block, len) };
        for (o, w) in out.iter_mut().zip(&wide) {
            *o = f(unit(*w) + 0.5 / 9_007_199_254_740_992.0);
        }
    });
}

/// Exponential with rate `lambd`.
pub fn exponential(dst: AnyDst, philox: Philox, lambd: f64) {
    by_inversion(&dst, philox, |u| -u.ln() / lambd);
}

/// Number of trials up to the first success.
pub fn geometric(dst: AnyDst, philox: Philox, p: f64) {
    let scale = (-p).ln_1p();
    by_inversion(&dst, philox, |u| (u.ln() / scale).ceil().max(1.0));
}

pub fn cauchy(dst: AnyDst, philox: Philox, median: f64, sigma: f64) {
    by_inversion(&dst, philox, |u| {
        (std::f64::consts::PI * (u - 0.5)).tan().mul_add(sigma, median)
    });
}

/// 1 with probability `p`, else 0.
pub fn bernoulli(dst: AnyDst, philox: Philox, p: Operand) {
    let n = dst.numel();
    if n == 0 {
        return;
    }
    let probability = match p {
        Operand::View(v) => Some(v),
        Operand::Scalar(_) => None,
    };
    let lane = |operand, base, dtype| Lane {
        plan: Plan::row_major(&dst, &[probability.as_ref()]),
        operand,
        base,
        dtype,
    };
    let to = lane(0, dst.ptr(), dst.dtype());
    let from = probability.map(|v| lane(1, v.ptr().cast_mut(), v.dtype()));
    for_range(n, DRAWS, |range| {
        let (mut given, mut result, mut words) = (scratch(), scratch(), [0; BLOCK]);
        // SAFETY: written only.
        unsafe { elements::<f64>(&mut given, BLOCK) }.fill(match p {
            Operand::Scalar(s) => s.to_f64(),
            Operand::View(_) => 0.0,
        });
        for pos in range.clone().step_by(BLOCK) {
            let len = BLOCK.min(range.end - pos);
            draw(philox, pos, len, 0, &mut words);
            if let Some(from) = &from {
                from.load(pos, len, DType::F64, &mut given);
            }
            // SAFETY: `given` was filled or loaded as f64; `result` is written only.
            let (given, out) = unsafe { (elements::<f64>(&mut given, len), elements::<i64>(&mut result, len)) };
            for ((o, w), p) in out.iter_mut().zip(&words).zip(given) {
                *o = (*w as f64 * (1.0 / 4_294_967_296.0) < *p) as i64;
            }
            to.store(pos, len, DType::I64, &result);
        }
    });
}

/// Below this many values one word per draw is even enough (to 1 in 2^12).
const NARROW: u64 = 1 << 20;

/// Integers in lo..hi, by the high part of a product (Lemire); `hi > lo`.
pub fn randint(dst: AnyDst, philox: Philox, lo: i64, hi: i64) {
    let range = hi.wrapping_sub(lo) as u64;
    produce(&dst, DType::I64, |pos, len, block| {
        // SAFETY: written only.
        let out = unsafe { elements::<i64>(block, len) };
        if range <= NARROW {
            let mut words = [0; BLOCK];
            draw(philox, pos, len, 0, &mut words);
            for (o, w) in out.iter_mut().zip(&words) {
                *o = lo.wrapping_add(((*w as u64 * range) >> 32) as i64);
            }
        } else {
            let mut wide = [0; BLOCK];
            draw_wide(philox, pos, len, &mut wide);
            for (o, w) in out.iter_mut().zip(&wide) {
                *o = lo.wrapping_add(scaled(*w, range) as i64);
            }
        }
    });
}

/// A 64-bit draw brought into 0..range.
fn scaled(wide: u64, range: u64) -> u64 {
    ((wide as u128 * range as u128) >> 64) as u64
}

/// A permutation of 0..n: Fisher and Yates's shuffle, one 64-bit draw per element.
pub fn randperm(n: usize, philox: Philox) -> Vec<i64> {
    let mut order: Vec<i64> = (0..n as i64).collect();
    let mut wide = [0; BLOCK];
    for i in 0..n {
        if i % BLOCK == 0 {
            draw_wide(philox, i, BLOCK.min(n - i), &mut wide);
        }
        let j = i + scaled(wide[i % BLOCK], (n - i) as u64) as usize;
        order.swap(i, j);
    }
    order
}

/// `out = src·keep/(1 - p)` and `mask = keep`, where each element is kept with probability 1 - p.
pub fn dropout(src: AnySrc, philox: Philox, p: f64, out: AnyDst, mask: AnyDst) {
    let n = out.numel();
    if n == 0 {
        return;
    }
    if p >= 1.0 || p.is_nan() {
        fill(mask, Scalar::Bool(false));
        copy(src, out);
        let nothing = Operand::Scalar(Scalar::Float(0.0));
        let compute = out.dtype().compute();
        return crate::elementwise::binary(
            crate::elementwise::Binary::Mul,
            compute,
            Operand::View(out.as_src()),
            nothing,
            out,
        );
    }
    let ty = if out.dtype() == DType::F64 {
        DType::F64
    } else {
        DType::F32
    };
    let kept = 1.0 - p;
    // A word below it is kept: word / 2^32 < 1 - p.
    let limit = (kept * 4_294_967_296.0).ceil() as u64;
    let mask_src = mask.as_src();
    let lane = |operand, base, dtype| Lane {
        plan: Plan::row_major(&out, &[Some(&src), Some(&mask_src)]),
        operand,
        base,
        dtype,
    };
    let to = lane(0, out.ptr(), out.dtype());
    let from = lane(1, src.ptr().cast_mut(), src.dtype());
    let flags = lane(2, mask.ptr(), mask.dtype());
    for_range(n, DRAWS, |range| {
        let (mut x, mut keep, mut words) = (scratch(), scratch(), [0; BLOCK]);
        for pos in range.clone().step_by(BLOCK) {
            let len = BLOCK.min(range.end - pos);
            draw(philox, pos, len, 0, &mut words);
            from.load(pos, len, ty, &mut x);
            // SAFETY: `x` was just loaded as `ty`; `keep` is written only.
            unsafe {
                if ty == DType::F64 {
                    drop_block(
                        &words,
                        limit,
                        1.0 / kept,
                        elements::<f64>(&mut x, len),
                        elements(&mut keep, len),
                    );
                } else {
                    let scale = (1.0 / kept) as f32;
                    drop_block(
                        &words,
                        limit,
                        scale,
                        elements::<f32>(&mut x, len),
                        elements(&mut keep, len),
                    );
                }
            }
            to.store(pos, len, ty, &x);
            flags.store(pos, len, DType::Bool, &keep);
        }
    });
}

/// What [`drop_block`] needs of a float.
trait Scale: Copy + Default + std::ops::Mul<Output = Self> {}
impl Scale for f32 {}
impl Scale for f64 {}

multiversion! {
    fn drop_block<T: Scale>(words: &[u32; BLOCK], limit: u64, scale: T, x: &mut [T], keep: &mut [u8]) {
        for ((x, k), w) in x.iter_mut().zip(keep).zip(words) {
            let kept = (*w as u64) < limit;
            *k = kept as u8;
            *x = *x * if kept { scale } else { T::default() };
        }
    }
}
