//! Random numbers: counter-based, so that an element's value depends on seed, offset and its row-major position only.
//!
//! Each function fills a view and uses [`Philox::counters`]`(n)` counters (see [`Philox`]), however the view lies in memory
//! and however many threads share the work.

pub(crate) mod philox;

pub use philox::Philox;

use crate::dtype::{DType, Scalar};
use crate::elementwise::plan::Plan;
use crate::elementwise::walk::{BLOCK, GRAIN, Scratch, scratch};
use crate::elementwise::{Operand, convert, copy, fill};
use crate::multiversion;
use crate::parallel::for_range;
use crate::simd::{Aligned, prefetch};
use crate::view::{AnyDst, AnySrc};

/// Elements worth a second thread: a draw costs more than memory.
const DRAWS: usize = GRAIN / 4;

/// Calls `f(position, length, block)` for row-major blocks of `out` and stores what it left in the block as `ty`. A block
/// has room for `length` rounded up to a multiple of 4 elements.
fn produce(out: &AnyDst, ty: DType, f: impl Fn(usize, usize, *mut u8) + Sync) {
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
    let dense = out.dtype() == ty && out.is_contiguous();
    for_range(n, DRAWS, |range| {
        // The lane as a whole, not its pointer: that may be shared.
        let lane = &lane;
        let mut block = scratch();
        for pos in range.clone().step_by(BLOCK) {
            let len = BLOCK.min(range.end - pos);
            if dense && len == BLOCK {
                // SAFETY: a whole block lies inside the output.
                f(pos, len, unsafe { lane.base.add(pos * ty.size()) });
            } else {
                f(pos, len, block.as_mut_ptr().cast());
                lane.store(pos, len, ty, &block);
            }
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

/// The first `len` elements of what [`produce`] hands out.
///
/// # Safety
/// There is room for so many of the plain type `T`, which are only written; nothing else uses them.
unsafe fn room<'a, T>(at: *mut u8, len: usize) -> &'a mut [T] {
    // SAFETY: the contract of this function.
    unsafe { std::slice::from_raw_parts_mut(at.cast(), len.min(BLOCK)) }
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
            let mut wide = Aligned([0; BLOCK]);
            draw_wide(philox, pos, len, &mut wide);
            // SAFETY: written only.
            let out = unsafe { room::<f64>(block, len) };
            for (o, w) in out.iter_mut().zip(wide.iter()) {
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
        let mut words = Aligned([0; BLOCK]);
        draw(philox, pos, len, 0, &mut words);
        // SAFETY: written only.
        uniform_block(&words, bits, lo, hi, unsafe { room(block, len) });
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
        return wide_normals(&dst, philox, mean, std);
    }
    let (mean, std) = (mean as f32, std as f32);
    produce(&dst, DType::F32, |pos, len, block| {
        let mut words = Aligned([0; BLOCK]);
        draw(philox, pos, len, 0, &mut words);
        // SAFETY: written only; rounded up to whole pairs, which a block has room for.
        normal_block(&words, mean, std, unsafe { room(block, len.next_multiple_of(2)) });
    });
}

/// ln u for normal positive u: the polynomial of Cephes' logf (Moshier, 1992), m in [sqrt(1/2), sqrt 2).
#[inline(always)]
pub(crate) fn log(u: f32) -> f32 {
    let bits = u.to_bits().wrapping_sub(0x3f35_04f3);
    let e = (bits as i32 >> 23) as f32;
    let f = f32::from_bits((bits & 0x007f_ffff).wrapping_add(0x3f35_04f3)) - 1.0;
    let z = f * f;
    let p = 7.037_683_6e-2f32;
    let p = p.mul_add(f, -1.151_461e-1);
    let p = p.mul_add(f, 1.167_699_9e-1);
    let p = p.mul_add(f, -1.242_014_1e-1);
    let p = p.mul_add(f, 1.424_932_3e-1);
    let p = p.mul_add(f, -1.666_805_7e-1);
    let p = p.mul_add(f, 2.000_071_5e-1);
    let p = p.mul_add(f, -2.5e-1);
    let p = p.mul_add(f, 3.333_333e-1);
    let tail = e.mul_add(-2.121_944_4e-4, (p * f).mul_add(z, -0.5 * z));
    e.mul_add(0.693_359_4, f + tail)
}

/// (sin a, cos a) of the angle that 2^-32 of a turn, `turn` times, makes. The nearest quarter is taken off in integers, so
/// nothing is lost; what is left goes through the polynomials of Cephes' sinf and cosf.
#[inline(always)]
pub(crate) fn sin_cos(turn: u32) -> (f32, f32) {
    let quarter = turn.wrapping_add(1 << 29) >> 30;
    let rest = turn.wrapping_sub(quarter << 30) as i32;
    let a = rest as f32 * (std::f32::consts::FRAC_PI_2 / 1_073_741_824.0);
    let z = a * a;
    let s = (-1.951_529_6e-4f32)
        .mul_add(z, 8.332_161e-3)
        .mul_add(z, -1.666_665_5e-1);
    let s = (s * z).mul_add(a, a);
    let c = 2.443_315_7e-5f32.mul_add(z, -1.388_731_6e-3).mul_add(z, 4.166_664_6e-2);
    let c = (c * z).mul_add(z, z.mul_add(-0.5, 1.0));
    let (a, b) = if quarter & 1 == 0 { (s, c) } else { (c, s) };
    let sign_s = (quarter & 2) << 30;
    let sign_c = (quarter.wrapping_add(1) & 2) << 30;
    (
        f32::from_bits(a.to_bits() ^ sign_s),
        f32::from_bits(b.to_bits() ^ sign_c),
    )
}

multiversion! {
    fn normal_block(words: &[u32; BLOCK], mean: f32, std: f32, out: &mut [f32]) {
        let (given, _) = words.as_chunks::<NORMALS>();
        for (words, out) in given.iter().zip(out.chunks_mut(NORMALS)) {
            let made = normals(words, mean, std);
            match <&mut [f32; NORMALS]>::try_from(&mut *out) {
                Ok(out) => *out = made,
                Err(_) => out.copy_from_slice(&made[..out.len()]),
            }
        }
    }
}

/// Normals that are made at once, in pairs.
const NORMALS: usize = 32;

#[inline(always)]
fn normals(words: &[u32; NORMALS], mean: f32, std: f32) -> [f32; NORMALS] {
    let mut made = [0f32; NORMALS];
    for i in 0..NORMALS / 2 {
        // In (0, 1], so that the logarithm is finite.
        let u = (words[2 * i] as f32 + 1.0) * (1.0 / 4_294_967_296.0);
        let radius = (-2.0 * log(u)).sqrt() * std;
        let (s, c) = sin_cos(words[2 * i + 1]);
        made[2 * i] = radius.mul_add(c, mean);
        made[2 * i + 1] = radius.mul_add(s, mean);
    }
    made
}

/// Normals in double precision.
fn wide_normals(dst: &AnyDst, philox: Philox, mean: f64, std: f64) {
    produce(dst, DType::F64, |pos, len, block| {
        let mut wide = Aligned([0; BLOCK]);
        draw_wide(philox, pos, len, &mut wide);
        // SAFETY: written only; rounded up to whole pairs, which a block has room for.
        let out = unsafe { room::<f64>(block, len.next_multiple_of(2)) };
        for (pair, w) in out.chunks_exact_mut(2).zip(wide.chunks_exact(2)) {
            let r = (-2.0 * (1.0 - unit(w[0])).ln()).sqrt();
            let (s, c) = (std::f64::consts::TAU * unit(w[1])).sin_cos();
            pair[0] = (r * c).mul_add(std, mean);
            pair[1] = (r * s).mul_add(std, mean);
        }
    });
}

/// Exponential with rate `lambd`, by inversion in double precision.
pub fn exponential(dst: AnyDst, philox: Philox, lambd: f64) {
    produce(&dst, DType::F64, |pos, len, block| {
        let mut wide = Aligned([0; BLOCK]);
        draw_wide(philox, pos, len, &mut wide);
        // SAFETY: written only.
        let out = unsafe { room::<f64>(block, len) };
        for (o, w) in out.iter_mut().zip(wide.iter()) {
            // In (0, 1), so that the logarithm is finite.
            let u = unit(*w) + 0.5 / 9_007_199_254_740_992.0;
            *o = -u.ln() / lambd;
        }
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
        let (mut given, mut result, mut words) = (scratch(), scratch(), Aligned([0; BLOCK]));
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
            for ((o, w), p) in out.iter_mut().zip(words.iter()).zip(given) {
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
        let out = unsafe { room::<i64>(block, len) };
        if range <= NARROW {
            let mut words = Aligned([0; BLOCK]);
            draw(philox, pos, len, 0, &mut words);
            for (o, w) in out.iter_mut().zip(words.iter()) {
                *o = lo.wrapping_add(((*w as u64 * range) >> 32) as i64);
            }
        } else {
            let mut wide = Aligned([0; BLOCK]);
            draw_wide(philox, pos, len, &mut wide);
            for (o, w) in out.iter_mut().zip(wide.iter()) {
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
pub fn randperm(order: &mut [i64], philox: Philox) {
    let n = order.len();
    if u32::try_from(n).is_err() {
        for (i, o) in order.iter_mut().enumerate() {
            *o = i as i64;
        }
        return shuffle(order, philox);
    }
    // Half as wide, more of it stays in the cache.
    crate::scratch::with::<u32, _>(n, |narrow| {
        for (i, o) in narrow.iter_mut().enumerate() {
            *o = i as u32;
        }
        shuffle(narrow, philox);
        for (o, v) in order.iter_mut().zip(narrow) {
            *o = *v as i64;
        }
    });
}

fn shuffle<T: Copy>(order: &mut [T], philox: Philox) {
    let n = order.len();
    let (mut wide, mut other) = ([0; BLOCK], [0; BLOCK]);
    for first in (0..n).step_by(BLOCK) {
        let len = BLOCK.min(n - first);
        draw_wide(philox, first, len, &mut wide);
        for (k, (to, w)) in other.iter_mut().zip(&wide[..len]).enumerate() {
            let i = first + k;
            *to = i + scaled(*w, (n - i) as u64) as usize;
            prefetch(order.as_ptr().wrapping_add(*to));
        }
        for (k, j) in other[..len].iter().enumerate() {
            order.swap(first + k, *j);
        }
    }
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
        let (mut x, mut keep, mut words) = (scratch(), scratch(), Aligned([0; BLOCK]));
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
