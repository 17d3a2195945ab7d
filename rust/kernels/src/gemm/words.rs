//! Packing of narrow numbers: elements that follow each other in k become one word of 32 bits, in panels of such words.
//!
//! Only for processors with the instructions that multiply them ([`crate::simd::dot`]), which all have AVX-512.

use super::ahead::Runs;
use super::batch_offset;
use super::micro::Products;
use super::pack::panel_width;
use super::packed::{Operands, Panels};
use crate::dtype::bf16;
use crate::parallel;
use crate::simd::vec::transpose_words;
use crate::view::Src;
use std::arch::x86_64::*;
use std::ops::Range;
use std::sync::atomic::{AtomicI32, Ordering};

/// An element of which several make a word.
pub(super) trait Part: Copy + Sync {
    /// That many.
    const PARTS: usize;
    /// The word of an element alone, shifted to its place.
    fn at(self, place: usize) -> u32;
    /// Words of up to 64 neighbours in each of the first `exist` of `rows`; zeros in place of the others, and behind
    /// `count`.
    ///
    /// # Safety
    /// `count` elements lie in live memory; the CPU has AVX-512 (BW, VL).
    unsafe fn join(rows: [*const Self; 4], exist: usize, count: usize) -> [__m512i; 4];
}

/// The first `n` bits.
#[inline(always)]
fn first(n: usize) -> u64 {
    if n >= 64 { u64::MAX } else { (1 << n) - 1 }
}

impl Part for bf16 {
    const PARTS: usize = 2;
    #[inline(always)]
    fn at(self, place: usize) -> u32 {
        (self.to_bits() as u32) << (16 * place)
    }
    #[inline(always)]
    unsafe fn join(rows: [*const Self; 4], exist: usize, count: usize) -> [__m512i; 4] {
        // SAFETY: the caller's promise.
        unsafe {
            let mut words = [_mm512_setzero_si512(); 4];
            for half in 0..count.div_ceil(32).min(2) {
                let row = |i: usize| {
                    let mask = if i < exist { first(count - 32 * half) } else { 0 };
                    _mm512_maskz_loadu_epi16(mask as u32, rows[i].wrapping_add(32 * half).cast())
                };
                // Of each 128 bits the first four words, and the last four; then these in turn.
                let (low, high) = (
                    _mm512_unpacklo_epi16(row(0), row(1)),
                    _mm512_unpackhi_epi16(row(0), row(1)),
                );
                let order = |i: i64| _mm512_setr_epi64(i, i + 1, i + 8, i + 9, i + 2, i + 3, i + 10, i + 11);
                words[2 * half] = _mm512_permutex2var_epi64(low, order(0), high);
                words[2 * half + 1] = _mm512_permutex2var_epi64(low, order(4), high);
            }
            words
        }
    }
}

impl Part for i8 {
    const PARTS: usize = 4;
    #[inline(always)]
    fn at(self, place: usize) -> u32 {
        (self as u8 as u32) << (8 * place)
    }
    #[inline(always)]
    unsafe fn join(rows: [*const Self; 4], exist: usize, count: usize) -> [__m512i; 4] {
        // SAFETY: the caller's promise.
        unsafe {
            let row = |i: usize| {
                let mask = if i < exist { first(count) } else { 0 };
                _mm512_maskz_loadu_epi8(mask, rows[i])
            };
            let (a, b, c, d) = (row(0), row(1), row(2), row(3));
            // Pairs of rows, then pairs of pairs: of each 16 columns the words 0..4, 4..8, 8..12, 12..16.
            let (ab, cd) = (_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d));
            let (w0, w4) = (_mm512_unpacklo_epi16(ab, cd), _mm512_unpackhi_epi16(ab, cd));
            let (ab, cd) = (_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d));
            let (w8, w12) = (_mm512_unpacklo_epi16(ab, cd), _mm512_unpackhi_epi16(ab, cd));
            // Columns 0..16 and 32..48, and the others.
            const EVEN: i32 = 0x88;
            const ODD: i32 = 0xDD;
            let even = [
                _mm512_shuffle_i64x2::<EVEN>(w0, w4),
                _mm512_shuffle_i64x2::<EVEN>(w8, w12),
            ];
            let odd = [
                _mm512_shuffle_i64x2::<ODD>(w0, w4),
                _mm512_shuffle_i64x2::<ODD>(w8, w12),
            ];
            [
                _mm512_shuffle_i64x2::<EVEN>(even[0], even[1]),
                _mm512_shuffle_i64x2::<EVEN>(odd[0], odd[1]),
                _mm512_shuffle_i64x2::<ODD>(even[0], even[1]),
                _mm512_shuffle_i64x2::<ODD>(odd[0], odd[1]),
            ]
        }
    }
}

/// One operand: lines (rows of A, columns of B) of elements along k.
#[derive(Clone, Copy)]
pub(super) struct Side<S> {
    start: *const S,
    line_stride: isize,
    k_stride: isize,
}

// SAFETY: plain data; memory that several threads read.
unsafe impl<S: Sync> Sync for Side<S> {}

impl<S> Side<S> {
    /// A stack's matrix, with its rows as lines.
    pub fn new(v: &Src<S>, shape: &[usize], index: usize) -> Self {
        let (strides, d) = (v.strides(), shape.len());
        Self {
            start: v.ptr().wrapping_offset(batch_offset(shape, strides, index)),
            line_stride: strides[d],
            k_stride: strides[d + 1],
        }
    }

    /// With its columns as lines.
    pub fn turned(self) -> Self {
        Self {
            line_stride: self.k_stride,
            k_stride: self.line_stride,
            ..self
        }
    }
}

impl<S: Part> Side<S> {
    /// Where some lines' words lie, of `known` elements.
    fn runs(&self, lines: Range<usize>, ks: Range<usize>, known: usize) -> Runs {
        let (from, to) = (ks.start * S::PARTS, known.min(ks.end * S::PARTS));
        let first = lines.start as isize * self.line_stride + from as isize * self.k_stride;
        let sizes = [lines.len(), to.saturating_sub(from)];
        let at = self.start.wrapping_offset(first);
        Runs::of(at, size_of::<S>(), sizes, [self.line_stride, self.k_stride])
    }
}

impl<S: Part> Side<S> {
    /// The elements of word `q` of the line at `at`, and how many of them there are of `known`.
    #[inline(always)]
    fn parts(&self, at: *const S, q: usize, known: usize) -> ([*const S; 4], usize) {
        let first = at.wrapping_offset((q * S::PARTS) as isize * self.k_stride);
        let parts = std::array::from_fn(|part| first.wrapping_offset(part as isize * self.k_stride));
        (parts, known.saturating_sub(q * S::PARTS).min(S::PARTS))
    }
}

/// Two operands of `k` elements along k, packed as words.
pub(super) struct Words<S> {
    a: Side<S>,
    b: Side<S>,
    k: usize,
    /// Turned over in A.
    flip: u32,
}

impl<S> Words<S> {
    pub fn new(a: Side<S>, b: Side<S>, k: usize) -> Self {
        Self { a, b, k, flip: 0 }
    }

    /// For bytes: 128 added to all of A.
    pub fn unsigned(self) -> Self {
        Self {
            flip: 0x8080_8080,
            ..self
        }
    }
}

/// Lines whose sums are made together, and elements of them that 16 bits hold the sum of.
const TOGETHER: usize = 256;
const EXACT: usize = 256;

/// Rows that are asked for in advance.
const AHEAD: isize = 16;

/// For each of `count` lines of `k` bytes, -128 times their sum: takes off again what [`Words::unsigned`] adds.
///
/// # Safety
/// The lines lie in live memory; the CPU has AVX-512 (F, BW, VL, VNNI).
pub(super) unsafe fn offsets(side: &Side<i8>, count: usize, k: usize) -> Vec<AtomicI32> {
    let offsets: Vec<AtomicI32> = (0..count).map(|_| AtomicI32::new(0)).collect();
    let grain = ((1 << 18) / k.max(1)).next_multiple_of(TOGETHER);
    parallel::for_range(count, grain, |lines| {
        for from in lines.clone().step_by(TOGETHER) {
            let mut sums = [0; TOGETHER];
            let some = from..lines.end.min(from + TOGETHER);
            // SAFETY: the caller's promise.
            unsafe { add_lines(side, some.clone(), k, &mut sums) };
            for (to, sum) in offsets[some].iter().zip(sums) {
                to.store(sum.wrapping_mul(-128), Ordering::Relaxed);
            }
        }
    });
    offsets
}

/// Adds up each of some lines.
///
/// # Safety
/// As for [`offsets`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn add_lines(side: &Side<i8>, lines: Range<usize>, k: usize, sums: &mut [i32; TOGETHER]) {
    let line = |i: usize| side.start.wrapping_offset(i as isize * side.line_stride);
    if side.line_stride == 1 {
        const VECTORS: usize = TOGETHER / 32;
        let masks: [u32; VECTORS] = std::array::from_fn(|v| first(lines.len().saturating_sub(32 * v).min(32)) as u32);
        for from in (0..k).step_by(EXACT) {
            let mut part = [_mm512_setzero_si512(); VECTORS];
            for p in from..k.min(from + EXACT) {
                let row = line(lines.start).wrapping_offset(p as isize * side.k_stride);
                // Rows that lie far apart are not fetched ahead by the processor.
                for at in (0..lines.len()).step_by(64) {
                    let later = row.wrapping_offset(AHEAD * side.k_stride).wrapping_add(at);
                    _mm_prefetch::<_MM_HINT_T0>(later);
                }
                for (v, part) in part.iter_mut().enumerate() {
                    // SAFETY: the caller's promise.
                    let bytes = unsafe { _mm256_maskz_loadu_epi8(masks[v], row.wrapping_add(32 * v)) };
                    *part = _mm512_add_epi16(*part, _mm512_cvtepi8_epi16(bytes));
                }
            }
            for (sums, part) in sums.chunks_exact_mut(32).zip(part) {
                let mut lanes = [0i16; 32];
                // SAFETY: the array is as long as a vector.
                unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), part) };
                sums.iter_mut()
                    .zip(lanes)
                    .for_each(|(sum, v)| *sum = sum.wrapping_add(v as i32));
            }
        }
    } else {
        for (sum, i) in sums.iter_mut().zip(lines) {
            *sum = if side.k_stride == 1 {
                let mut part = _mm512_setzero_si512();
                for p in (0..k).step_by(64) {
                    // SAFETY: as above.
                    let bytes = unsafe { _mm512_maskz_loadu_epi8(first(k - p), line(i).wrapping_add(p)) };
                    part = _mm512_dpbusd_epi32(part, _mm512_set1_epi8(1), bytes);
                }
                _mm512_reduce_add_epi32(part)
            } else {
                let at = |p: usize| line(i).wrapping_offset(p as isize * side.k_stride);
                // SAFETY: as above.
                (0..k).fold(0, |sum: i32, p| sum.wrapping_add(unsafe { *at(p) } as i32))
            };
        }
    }
}

impl<S: Part, T> Operands<T> for Words<S> {
    unsafe fn pack_a(&self, kernels: &Products<T>, rows: Range<usize>, ks: Range<usize>, dst: *mut T) {
        for (i, height) in Panels::of(rows.len(), kernels.tiles.len()).each() {
            let dst = dst.wrapping_add(i * ks.len()).cast();
            // SAFETY: the caller's promise. A panel is packed before the one behind it.
            unsafe {
                pack(
                    &self.a,
                    [rows.start + i, height, height],
                    [&ks, &(0..self.k)],
                    self.flip,
                    dst,
                )
            };
        }
    }

    unsafe fn pack_b(&self, kernels: &Products<T>, cols: Range<usize>, ks: Range<usize>, dst: *mut T) {
        if self.b.line_stride == 1 && kernels.nr == 2 * kernels.narrow {
            // SAFETY: the caller's promise.
            return unsafe { pack_rows(&self.b, [&cols, &ks], self.k, dst.cast()) };
        }
        for j in (0..cols.len()).step_by(kernels.nr) {
            let lines = kernels.nr.min(cols.len() - j);
            let width = panel_width(kernels, lines);
            let dst = dst.wrapping_add(j * ks.len()).cast();
            // SAFETY: the caller's promise.
            unsafe { pack(&self.b, [cols.start + j, lines, width], [&ks, &(0..self.k)], 0, dst) };
        }
    }

    fn rows_stay(&self, _kernels: &Products<T>) -> bool {
        false
    }

    fn runs_a(&self, rows: Range<usize>, ks: Range<usize>) -> Runs {
        self.a.runs(rows, ks, self.k)
    }

    fn runs_b(&self, cols: Range<usize>, ks: Range<usize>) -> Runs {
        self.b.runs(cols, ks, self.k)
    }
}

/// Packs `lines` lines from `first` on, in a panel `width` words wide, the words `ks` of them; `known` counts elements.
/// What lies behind the panel (less than a vector) is overwritten.
///
/// # Safety
/// The elements lie in live memory, and `dst` holds the panel; the CPU has AVX-512 (F, BW, VL).
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn pack<S: Part>(
    side: &Side<S>,
    [first, lines, width]: [usize; 3],
    [ks, known]: [&Range<usize>; 2],
    flip: u32,
    dst: *mut u32,
) {
    let start = side.start.wrapping_offset(first as isize * side.line_stride);
    let turned = _mm512_set1_epi32(flip as i32);
    for at in (0..width).step_by(16) {
        let left = lines.saturating_sub(at).min(16);
        let line = |i: usize| start.wrapping_offset((at + i) as isize * side.line_stride);
        // SAFETY: the caller's promise.
        unsafe {
            if side.k_stride == 1 {
                for q in ks.clone().step_by(16) {
                    let (words, elements) = ((ks.end - q).min(16), known.end - q * S::PARTS);
                    let bytes = elements * size_of::<S>();
                    let mask = if bytes >= 64 { u64::MAX } else { (1 << bytes) - 1 };
                    let mut block = [_mm512_setzero_si512(); 16];
                    for (i, row) in block.iter_mut().enumerate() {
                        if i < left {
                            *row = _mm512_maskz_loadu_epi8(mask, line(i).wrapping_add(q * S::PARTS).cast());
                        }
                    }
                    let block = transpose_words(block);
                    let to = dst.wrapping_add((q - ks.start) * width + at);
                    for (i, row) in block.iter().enumerate() {
                        if i < words {
                            _mm512_storeu_si512(to.wrapping_add(i * width).cast(), _mm512_xor_si512(*row, turned));
                        }
                    }
                }
            } else if side.line_stride == 1 {
                for q in ks.clone() {
                    let (rows, exist) = side.parts(line(0), q, known.end);
                    let words = S::join(rows, exist, left)[0];
                    let to = dst.wrapping_add((q - ks.start) * width + at);
                    _mm512_storeu_si512(to.cast(), _mm512_xor_si512(words, turned));
                }
            } else {
                for q in ks.clone() {
                    let to = dst.wrapping_add((q - ks.start) * width + at);
                    for i in 0..(width - at).min(16) {
                        let mut word = flip;
                        for part in (0..S::PARTS).filter(|part| i < left && q * S::PARTS + part < known.end) {
                            let p = (q * S::PARTS + part) as isize;
                            word ^= (*line(i).wrapping_offset(p * side.k_stride)).at(part);
                        }
                        *to.add(i) = word;
                    }
                }
            }
        }
    }
}

/// Packs the columns `cols` of words `ks` of B, whose rows are contiguous: all panels row by row, so that memory is read
/// along the rows. Panels are 32 words wide, or 16 where these suffice; `known` counts elements.
///
/// # Safety
/// As for [`pack`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn pack_rows<S: Part>(side: &Side<S>, [cols, ks]: [&Range<usize>; 2], known: usize, dst: *mut u32) {
    let start = side.start.wrapping_add(cols.start);
    for q in ks.clone() {
        let (rows, exist) = side.parts(start, q, known);
        for j in (0..cols.len()).step_by(64) {
            let left = cols.len() - j;
            // SAFETY: the caller's promise.
            unsafe {
                let words = S::join(rows.map(|row| row.wrapping_add(j)), exist, left);
                for (panel, pair) in words.chunks_exact(2).enumerate().take(left.div_ceil(32)) {
                    let (from, width) = (j + 32 * panel, if left - 32 * panel > 16 { 32 } else { 16 });
                    let to = dst.wrapping_add(from * ks.len() + (q - ks.start) * width);
                    _mm512_storeu_si512(to.cast(), pair[0]);
                    if width == 32 {
                        _mm512_storeu_si512(to.wrapping_add(16).cast(), pair[1]);
                    }
                }
            }
        }
    }
}
