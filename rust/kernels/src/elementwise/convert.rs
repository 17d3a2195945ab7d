//! Conversions between stored and computed types: contiguous rows at vector speed, any strides otherwise.
//!
//! Every dtype converts to and from the four compute types; other pairs go through one of them ([`hub`]), which loses
//! nothing and rounds once, f64 to half apart: PyTorch goes through f32 there, and so do we.

use crate::dtype::{Bool, DType, Element, bf16, f16};
use crate::simd::Aligned;
use crate::simd::every::every;
#[cfg(target_arch = "x86_64")]
use crate::simd::isa;
use crate::simd::transpose::{Band, transpose};
use crate::{multiversion, with_element};

/// A stored element, as each compute type.
pub(crate) trait Stored: Element {
    fn f32(self) -> f32;
    fn f64(self) -> f64;
    fn i64(self) -> i64;
    fn bool(self) -> Bool;
    fn of_f32(v: f32) -> Self;
    fn of_f64(v: f64) -> Self;
    fn of_i64(v: i64) -> Self;
    fn of_bool(v: Bool) -> Self;
}

/// A type that kernels are compiled for.
pub(crate) trait Compute: Stored {
    fn get<S: Stored>(v: S) -> Self;
    fn put<D: Stored>(self) -> D;
}

macro_rules! compute {
    ($($t:ty, $get:ident, $put:ident);*) => {$(
        impl Compute for $t {
            #[inline(always)]
            fn get<S: Stored>(v: S) -> Self { v.$get() }
            #[inline(always)]
            fn put<D: Stored>(self) -> D { D::$put(self) }
        }
    )*};
}
compute!(f32, f32, of_f32; f64, f64, of_f64; i64, i64, of_i64; Bool, bool, of_bool);

/// Elements that kernels take as they are, by their width: only loaded from and stored to the same.
macro_rules! as_stored {
    ($($t:ty)*) => {$(
        impl Compute for $t {
            #[inline(always)]
            fn get<S: Stored>(v: S) -> Self { v.i64() as $t }
            #[inline(always)]
            fn put<D: Stored>(self) -> D { D::of_i64(self as i64) }
        }
    )*};
}
as_stored!(u8 u16 u32);

/// What integers are converted to in one step.
impl Compute for bf16 {
    #[inline(always)]
    fn get<S: Stored>(v: S) -> Self {
        Self::of_f32(v.f32())
    }
    #[inline(always)]
    fn put<D: Stored>(self) -> D {
        D::of_f32(Stored::f32(self))
    }
}

macro_rules! stored_int {
    ($($t:ty)*) => {$(
        impl Stored for $t {
            #[inline(always)]
            fn f32(self) -> f32 { self as f32 }
            #[inline(always)]
            fn f64(self) -> f64 { self as f64 }
            #[inline(always)]
            fn i64(self) -> i64 { self as i64 }
            #[inline(always)]
            fn bool(self) -> Bool { Bool::from(self != 0) }
            #[inline(always)]
            fn of_f32(v: f32) -> Self { Self::of_f64(v as f64) }
            #[inline(always)]
            fn of_f64(v: f64) -> Self {
                // u64 has numbers of its own beyond i64.
                if <$t>::MAX as u64 == u64::MAX { Self::from_f64(v) } else { whole(v) as $t }
            }
            #[inline(always)]
            fn of_i64(v: i64) -> Self { v as $t }
            #[inline(always)]
            fn of_bool(v: Bool) -> Self { v.get() as $t }
        }
    )*};
}
stored_int!(u8 u16 u32 u64 i8 i16 i32 i64);

/// `v as i64`, which has no vector form: what fits is converted as it is, and the rest chosen.
#[inline(always)]
pub fn whole(v: f64) -> i64 {
    const END: f64 = 9_223_372_036_854_775_808.0;
    let fits = (-END..END).contains(&v);
    // SAFETY: a number of the type's range.
    let inside = unsafe { (if fits { v } else { 0.0 }).to_int_unchecked::<i64>() };
    let beyond = if v >= END { i64::MAX } else { i64::MIN };
    let beyond = if v.is_nan() { 0 } else { beyond };
    if fits { inside } else { beyond }
}

macro_rules! stored_float {
    ($($t:ty, |$v:ident| $f32:expr, $f64:expr; $of32:expr, $of64:expr);* $(;)?) => {$(
        impl Stored for $t {
            #[inline(always)]
            fn f32(self) -> f32 { let $v = self; $f32 }
            #[inline(always)]
            fn f64(self) -> f64 { let $v = self; $f64 }
            #[inline(always)]
            fn i64(self) -> i64 { whole(self.f64()) }
            #[inline(always)]
            fn bool(self) -> Bool { Bool::from(self.f32() != 0.0 || self.f64() != 0.0) }
            #[inline(always)]
            fn of_f32($v: f32) -> Self { $of32 }
            #[inline(always)]
            fn of_f64($v: f64) -> Self { $of64 }
            #[inline(always)]
            fn of_i64(v: i64) -> Self { let $v = v as $t; $v }
            #[inline(always)]
            fn of_bool(v: Bool) -> Self { v.get() as u8 as $t }
        }
    )*};
}
stored_float!(
    f32, |v| v, v as f64; v, v as f32;
    f64, |v| v as f32, v; v as f64, v;
);

macro_rules! stored_half {
    ($($t:ty, $widen:ident, $narrow:ident);*) => {$(
        impl Stored for $t {
            #[inline(always)]
            fn f32(self) -> f32 { $widen(self.to_bits()) }
            #[inline(always)]
            fn f64(self) -> f64 { self.f32() as f64 }
            #[inline(always)]
            fn i64(self) -> i64 { self.f32() as i64 }
            #[inline(always)]
            fn bool(self) -> Bool { Bool::from(self.to_bits() & 0x7fff != 0) }
            #[inline(always)]
            fn of_f32(v: f32) -> Self { <$t>::from_bits($narrow(v)) }
            #[inline(always)]
            fn of_f64(v: f64) -> Self { Self::of_f32(v as f32) }
            #[inline(always)]
            fn of_i64(v: i64) -> Self { Self::of_f32(v as f32) }
            #[inline(always)]
            fn of_bool(v: Bool) -> Self { Self::of_f32(v.get() as u8 as f32) }
        }
    )*};
}
stored_half!(f16, widen_f16, narrow_f16; bf16, widen_bf16, narrow_bf16);

impl Stored for Bool {
    #[inline(always)]
    fn f32(self) -> f32 {
        self.get() as u8 as f32
    }
    #[inline(always)]
    fn f64(self) -> f64 {
        self.get() as u8 as f64
    }
    #[inline(always)]
    fn i64(self) -> i64 {
        self.get() as i64
    }
    #[inline(always)]
    fn bool(self) -> Bool {
        Bool::from(self.get())
    }
    #[inline(always)]
    fn of_f32(v: f32) -> Self {
        Bool::from(v != 0.0)
    }
    #[inline(always)]
    fn of_f64(v: f64) -> Self {
        Bool::from(v != 0.0)
    }
    #[inline(always)]
    fn of_i64(v: i64) -> Self {
        Bool::from(v != 0)
    }
    #[inline(always)]
    fn of_bool(v: Bool) -> Self {
        v.bool()
    }
}

/// Without branches, so that it vectorizes; a subnormal half is rebuilt by a float subtraction.
#[inline(always)]
pub fn widen_f16(h: u16) -> f32 {
    let sign = (h as u32 & 0x8000) << 16;
    let body = (h as u32 & 0x7fff) << 13;
    let normal = body + (112 << 23);
    let special = body + (224 << 23);
    let tiny = (f32::from_bits(body + (113 << 23)) - f32::from_bits(113 << 23)).to_bits();
    let exponent = body & (31 << 23);
    let bits = if exponent == 31 << 23 { special } else { normal };
    f32::from_bits(sign | if exponent == 0 { tiny } else { bits })
}

/// Rounds to nearest even. Without branches; the adder rounds the subnormal results.
#[inline(always)]
pub fn narrow_f16(v: f32) -> u16 {
    let bits = v.to_bits();
    let sign = (bits >> 16) & 0x8000;
    let body = bits & 0x7fff_ffff;
    let normal = (body.wrapping_sub(112 << 23).wrapping_add(0xfff + ((body >> 13) & 1))) >> 13;
    let tiny = (f32::from_bits(body) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits());
    let finite = if body < 113 << 23 { tiny } else { normal };
    let special = if body > 0x7f80_0000 { 0x7e00 } else { 0x7c00 };
    (sign | if body >= 0x4780_0000 { special } else { finite }) as u16
}

#[inline(always)]
fn widen_bf16(h: u16) -> f32 {
    f32::from_bits((h as u32) << 16)
}

/// Rounds to nearest even.
#[inline(always)]
pub fn narrow_bf16(v: f32) -> u16 {
    let bits = v.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    let nan = bits & 0x7fff_ffff > 0x7f80_0000;
    (if nan { 0x7fc0 } else { rounded }) as u16
}

multiversion! {
    fn load_row<S: Stored, C: Compute>(src: &[S], dst: &mut [C]) {
        for (d, s) in dst.iter_mut().zip(src) {
            *d = C::get(*s);
        }
    }
}

multiversion! {
    pub(super) fn fill_row<T: Copy>(v: T, dst: &mut [T]) {
        dst.fill(v);
    }
}

multiversion! {
    fn store_row<C: Compute, D: Stored>(src: &[C], dst: &mut [D]) {
        for (d, s) in dst.iter_mut().zip(src) {
            *d = s.put();
        }
    }
}

/// Whether two types are one, known when it is compiled.
#[inline(always)]
fn is<A: 'static, B: 'static>() -> bool {
    std::any::TypeId::of::<A>() == std::any::TypeId::of::<B>()
}

/// Halves by the instructions for them, which give the bits of [`narrow_f16`] and [`widen_f16`] (other NaNs apart).
#[cfg(target_arch = "x86_64")]
pub mod halves {
    use crate::simd::Isa;
    use std::arch::x86_64::*;

    /// Whether a row was converted, by the instructions of `isa`.
    ///
    /// # Safety
    /// `n` elements at both ends, which do not overlap; the CPU has the set. So below.
    pub unsafe fn narrow(isa: Isa, from: *const f32, to: *mut u16, n: usize) -> bool {
        // SAFETY: the caller's promise.
        unsafe {
            match isa {
                Isa::Avx512 => narrow_sixteen(from, to, n),
                Isa::Avx2 => narrow_eight(from, to, n),
                _ => return false,
            }
        }
        true
    }

    /// Whether a row was converted.
    ///
    /// # Safety
    /// As for [`narrow`].
    pub unsafe fn widen(isa: Isa, from: *const u16, to: *mut f32, n: usize) -> bool {
        // SAFETY: as above.
        unsafe {
            match isa {
                Isa::Avx512 => widen_sixteen(from, to, n),
                Isa::Avx2 => widen_eight(from, to, n),
                _ => return false,
            }
        }
        true
    }

    /// # Safety
    /// As for [`narrow`].
    #[target_feature(enable = "avx,f16c")]
    unsafe fn narrow_eight(from: *const f32, to: *mut u16, n: usize) {
        for at in (0..n).step_by(8) {
            let left = (n - at).min(8);
            // SAFETY: the last elements by way of eight of our own.
            unsafe {
                let mut last = ([0f32; 8], [0u16; 8]);
                let (mut p, mut q) = (from.add(at), to.add(at));
                if left < 8 {
                    p.copy_to_nonoverlapping(last.0.as_mut_ptr(), left);
                    (p, q) = (last.0.as_ptr(), last.1.as_mut_ptr());
                }
                let y = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm256_loadu_ps(p));
                _mm_storeu_si128(q.cast(), y);
                if left < 8 {
                    q.copy_to_nonoverlapping(to.add(at), left);
                }
            }
        }
    }

    /// # Safety
    /// As for [`narrow`].
    #[target_feature(enable = "avx,f16c")]
    unsafe fn widen_eight(from: *const u16, to: *mut f32, n: usize) {
        for at in (0..n).step_by(8) {
            let left = (n - at).min(8);
            // SAFETY: as above.
            unsafe {
                let mut last = ([0u16; 8], [0f32; 8]);
                let (mut p, mut q) = (from.add(at), to.add(at));
                if left < 8 {
                    p.copy_to_nonoverlapping(last.0.as_mut_ptr(), left);
                    (p, q) = (last.0.as_ptr(), last.1.as_mut_ptr());
                }
                _mm256_storeu_ps(q, _mm256_cvtph_ps(_mm_loadu_si128(p.cast())));
                if left < 8 {
                    q.copy_to_nonoverlapping(to.add(at), left);
                }
            }
        }
    }

    /// # Safety
    /// As for [`narrow`].
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn narrow_sixteen(from: *const f32, to: *mut u16, n: usize) {
        let whole = n / 16 * 16;
        for at in (0..whole).step_by(16) {
            // SAFETY: sixteen elements from each place on. Without a mask: what is stored under one cannot be loaded again
            // before it is in the cache, and these rows are read at once.
            unsafe {
                let y =
                    _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(_mm512_loadu_ps(from.add(at)));
                _mm256_storeu_si256(to.add(at).cast(), y);
            }
        }
        if whole < n {
            let (at, here) = (whole, ((1u32 << (n - whole)) - 1) as u16);
            // SAFETY: the masks let through only what is there.
            unsafe {
                let x = _mm512_maskz_loadu_ps(here, from.wrapping_add(at));
                let y = _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x);
                _mm256_mask_storeu_epi16(to.wrapping_add(at).cast(), here, y);
            }
        }
    }

    /// # Safety
    /// As for [`narrow`].
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn widen_sixteen(from: *const u16, to: *mut f32, n: usize) {
        let whole = n / 16 * 16;
        for at in (0..whole).step_by(16) {
            // SAFETY: as in `narrow_sixteen`.
            unsafe { _mm512_storeu_ps(to.add(at), _mm512_cvtph_ps(_mm256_loadu_si256(from.add(at).cast()))) };
        }
        if whole < n {
            let (at, here) = (whole, ((1u32 << (n - whole)) - 1) as u16);
            // SAFETY: the masks let through only what is there.
            unsafe {
                let x = _mm256_maskz_loadu_epi16(here, from.wrapping_add(at).cast());
                _mm512_mask_storeu_ps(to.wrapping_add(at), here, _mm512_cvtph_ps(x));
            }
        }
    }
}

/// A rectangle of a strided operand: `rows` runs of `cols` elements; strides in elements.
#[derive(Clone, Copy)]
pub struct Rect {
    pub rows: usize,
    pub row_stride: isize,
    pub cols: usize,
    pub col_stride: isize,
}

/// Copies a rectangle into a dense block, converting it.
pub type Load = unsafe fn(src: *const u8, rect: Rect, dst: *mut u8);
/// Copies a dense block into a rectangle, converting it.
pub type Store = unsafe fn(src: *const u8, dst: *mut u8, rect: Rect);

/// Shorter rows are not worth the choice of an instruction set.
const SHORT: usize = 8;

/// # Safety
/// Every element of the rectangle is readable as `S`, and `dst` has room for all of them.
unsafe fn load<S: Stored, C: Compute>(src: *const u8, rect: Rect, dst: *mut u8) {
    let (src, dst) = (src.cast::<S>(), dst.cast::<C>());
    if rect.row_stride == 1 && rect.rows >= SHORT && rect.col_stride.unsigned_abs() > 1 {
        // Column by column: the source is dense that way.
        let mut done = 0;
        if is::<S, C>() {
            let band = Band {
                from: src,
                apart: rect.col_stride,
                lines: rect.cols,
                group: rect.cols,
                step: 0,
                len: rect.rows,
                to: dst.cast::<S>(),
                row: rect.cols as isize,
            };
            // SAFETY: the contract; what is stored is what is computed with.
            done = unsafe { transpose(&band) };
        }
        for c in done..rect.cols {
            for r in 0..rect.rows {
                // SAFETY: inside the rectangle and the block, by the contract.
                unsafe {
                    *dst.add(r * rect.cols + c) = C::get(*src.offset(c as isize * rect.col_stride).add(r));
                }
            }
        }
        return;
    }
    for r in 0..rect.rows {
        // SAFETY: inside the rectangle and the block, by the contract; the block is scratch, so it overlaps nothing.
        unsafe {
            let row = src.offset(r as isize * rect.row_stride);
            let out = dst.add(r * rect.cols);
            if rect.col_stride == 1 && rect.cols >= SHORT {
                #[cfg(target_arch = "x86_64")]
                if is::<S, f16>() && is::<C, f32>() && halves::widen(isa(), row.cast(), out.cast(), rect.cols) {
                    continue;
                }
                load_row(
                    std::slice::from_raw_parts(row, rect.cols),
                    std::slice::from_raw_parts_mut(out, rect.cols),
                );
            } else if rect.col_stride == 0 {
                let v = C::get(*row);
                if (SHORT..=4 * SHORT).contains(&rect.cols) {
                    // Blocks, of which the last ends with the row.
                    for at in 0..rect.cols / SHORT {
                        out.add(at * SHORT).cast::<[C; SHORT]>().write_unaligned([v; SHORT]);
                    }
                    out.add(rect.cols - SHORT)
                        .cast::<[C; SHORT]>()
                        .write_unaligned([v; SHORT]);
                } else if rect.cols < SHORT {
                    std::slice::from_raw_parts_mut(out, rect.cols).fill(v);
                } else {
                    fill_row(v, std::slice::from_raw_parts_mut(out, rect.cols));
                }
            } else if rect.cols >= SHORT && is::<S, C>() {
                every(row, rect.col_stride, out.cast(), rect.cols);
            } else if rect.cols >= SHORT && (2..=4).contains(&rect.col_stride) {
                near(row, rect.col_stride, out, rect.cols);
            } else {
                for c in 0..rect.cols {
                    *out.add(c) = C::get(*row.offset(c as isize * rect.col_stride));
                }
            }
        }
    }
}

/// Elements that lie apart, converted side by side.
///
/// # Safety
/// `n` elements at both ends, which do not overlap.
unsafe fn near<S: Stored, C: Compute>(from: *const S, step: isize, to: *mut C, n: usize) {
    const PIECE: usize = 128;
    let mut held = Aligned([std::mem::MaybeUninit::<S>::uninit(); PIECE]);
    for at in (0..n).step_by(PIECE) {
        let len = PIECE.min(n - at);
        // SAFETY: the caller's promise; as many as are read were just written.
        unsafe {
            every(
                from.offset(at as isize * step),
                step,
                held.as_mut_ptr().cast::<S>(),
                len,
            );
            load_row(
                std::slice::from_raw_parts(held.as_ptr().cast::<S>(), len),
                std::slice::from_raw_parts_mut(to.add(at), len),
            );
        }
    }
}

/// # Safety
/// Every element of the rectangle is writable as `D`, and `src` holds as many elements.
unsafe fn store<C: Compute, D: Stored>(src: *const u8, dst: *mut u8, rect: Rect) {
    let (src, dst) = (src.cast::<C>(), dst.cast::<D>());
    for r in 0..rect.rows {
        // SAFETY: inside the rectangle and the block, by the contract; the block is scratch, so it overlaps nothing.
        unsafe {
            let row = dst.offset(r as isize * rect.row_stride);
            let from = src.add(r * rect.cols);
            if rect.col_stride == 1 && rect.cols >= SHORT {
                #[cfg(target_arch = "x86_64")]
                if is::<C, f32>() && is::<D, f16>() && halves::narrow(isa(), from.cast(), row.cast(), rect.cols) {
                    continue;
                }
                store_row(
                    std::slice::from_raw_parts(from, rect.cols),
                    std::slice::from_raw_parts_mut(row, rect.cols),
                );
            } else {
                for c in 0..rect.cols {
                    *row.offset(c as isize * rect.col_stride) = (*from.add(c)).put();
                }
            }
        }
    }
}

/// The loader from `stored` to the compute type `computed`, or to `stored` itself.
pub fn loader(stored: DType, computed: DType) -> Load {
    if stored == computed && stored != stored.compute() {
        return match stored.size() {
            1 => load::<u8, u8>,
            2 => load::<u16, u16>,
            4 => load::<u32, u32>,
            _ => load::<i64, i64>,
        };
    }
    debug_assert!(computed == computed.compute());
    with_element!(stored, S => match computed {
        DType::F32 => load::<S, f32>,
        DType::F64 => load::<S, f64>,
        DType::Bool => load::<S, Bool>,
        _ => load::<S, i64>,
    })
}

/// Converts integers below eight bytes, and truth values, to each other and to bfloat16 in one step, where there is one.
pub(super) fn direct(from: DType, to: DType) -> Option<Load> {
    use DType::{BF16, Bool as Truth, I8, I16, I32, U8, U16, U32};
    Some(match (from, to) {
        (I16 | U16, U8 | I8) => load::<u16, u8>,
        (I32 | U32, U8 | I8) => load::<u32, u8>,
        (U8, U16 | I16) => load::<u8, u16>,
        (I8, U16 | I16) => load::<i8, u16>,
        (I32 | U32, U16 | I16) => load::<u32, u16>,
        (Truth, U32 | I32) => load::<Bool, u32>,
        (U8, U32 | I32) => load::<u8, u32>,
        (I8, U32 | I32) => load::<i8, u32>,
        (I16, U32 | I32) => load::<i16, u32>,
        (U8, BF16) => load::<u8, bf16>,
        (I8, BF16) => load::<i8, bf16>,
        (I16, BF16) => load::<i16, bf16>,
        (I32, BF16) => load::<i32, bf16>,
        _ => return None,
    })
}

/// The writer from the compute type `computed` to `stored`, or from `stored` itself.
pub fn storer(computed: DType, stored: DType) -> Store {
    if stored == computed && stored != stored.compute() {
        return match stored.size() {
            1 => store::<u8, u8>,
            2 => store::<u16, u16>,
            4 => store::<u32, u32>,
            _ => store::<i64, i64>,
        };
    }
    debug_assert!(computed == computed.compute());
    with_element!(stored, D => match computed {
        DType::F32 => store::<f32, D>,
        DType::F64 => store::<f64, D>,
        DType::Bool => store::<Bool, D>,
        _ => store::<i64, D>,
    })
}

/// The compute type through which `from` converts to `to`.
pub(crate) fn hub(from: DType, to: DType) -> DType {
    // Truth is decided by the source's own type; a float result is rounded once, from the integer (u64 too).
    if to.is_float() && !from.is_float() {
        to.compute()
    } else {
        from.compute()
    }
}
