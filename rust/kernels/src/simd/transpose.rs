//! Transposing a band of memory by square blocks in registers.

use super::vec::Lanes;
use super::{Isa, isa};

/// Lines whose elements become neighbours: line `c` begins at `from + c % group · apart + c / group · step`.
#[derive(Clone, Copy)]
pub(crate) struct Band<T> {
    pub from: *const T,
    pub apart: isize,
    pub lines: usize,
    pub group: usize,
    /// Between the first lines of two groups.
    pub step: isize,
    /// Elements of a line that are taken.
    pub len: usize,
    pub to: *mut T,
    /// Between the places of neighbours of one line.
    pub row: isize,
}

impl<T> Band<T> {
    /// Where its lines from the `first` on begin.
    pub fn starts(&self, first: usize) -> Starts<T> {
        let group = self.group.max(1);
        let (groups, lines) = (first / group, first % group);
        Starts {
            line: (self.from)
                .wrapping_offset(self.step.wrapping_mul(groups as isize))
                .wrapping_offset(self.apart.wrapping_mul(lines as isize)),
            left: group - lines,
            group,
            apart: self.apart,
            // From the last line of a group.
            step: (self.step).wrapping_sub(self.apart.wrapping_mul(group as isize - 1)),
        }
    }
}

/// [`Band::starts`], one after another; a division for each would take longer than the line.
pub(crate) struct Starts<T> {
    line: *const T,
    left: usize,
    group: usize,
    apart: isize,
    step: isize,
}

impl<T> Starts<T> {
    #[inline(always)]
    pub fn next(&mut self) -> *const T {
        let line = self.line;
        self.left -= 1;
        if self.left == 0 {
            self.left = self.group;
            self.line = line.wrapping_offset(self.step);
        } else {
            self.line = line.wrapping_offset(self.apart);
        }
        line
    }
}

/// `to[i·row + c]` is the `i`-th element of line `c` for what fills whole blocks; returns how many lines were done.
///
/// # Safety
/// All those elements lie in live memory, and the two sides do not overlap; `row` is positive.
pub(crate) unsafe fn transpose<T: Copy>(band: &Band<T>) -> usize {
    // SAFETY: the caller's promise; elements are moved by size and never computed with, and the instruction set was found.
    unsafe {
        match (size_of::<T>(), isa()) {
            #[cfg(target_arch = "x86_64")]
            (4, Isa::Avx512 | Isa::Avx2) => x86::four(&cast(band)),
            #[cfg(target_arch = "x86_64")]
            (8, Isa::Avx512 | Isa::Avx2) => x86::eight(&cast(band)),
            #[cfg(target_arch = "x86_64")]
            (2, Isa::Avx512 | Isa::Avx2) => x86::two(&cast(band)),
            #[cfg(target_arch = "x86_64")]
            (1, Isa::Avx512 | Isa::Avx2) => x86::one(&cast(band)),
            #[cfg(target_arch = "aarch64")]
            (4, Isa::Avx2) => blocks::<f32, super::vec::Neon>(<super::vec::Neon as Lanes<f32>>::assume(), &cast(band)),
            #[cfg(target_arch = "aarch64")]
            (8, Isa::Avx2) => blocks::<f64, super::vec::Neon>(<super::vec::Neon as Lanes<f64>>::assume(), &cast(band)),
            _ => 0,
        }
    }
}

/// Lines that are turned together; those left over are turned one by one.
const TOGETHER: usize = 8;

/// `to[i * row + c] = from[c * apart + i]` for `c` in `0..lines` and `i` in `0..len`.
///
/// # Safety
/// All those elements lie in live memory; the two sides do not overlap.
pub(crate) unsafe fn turn<T: Copy>(from: *const T, apart: usize, lines: usize, len: usize, to: *mut T, row: usize) {
    let band = |first: usize| Band {
        from: from.wrapping_add(first * apart),
        apart: apart as isize,
        lines: lines - first,
        group: lines - first,
        step: 0,
        len,
        to: to.wrapping_add(first),
        row: row as isize,
    };
    // SAFETY: the caller's promise.
    let mut done = unsafe { transpose(&band(0)) };
    if done < lines && done >= TOGETHER {
        // SAFETY: as above; the last lines again, and with them those left over.
        done = lines - TOGETHER + unsafe { transpose(&band(lines - TOGETHER)) };
    }
    for (c, i) in (done..lines).flat_map(|c| (0..len).map(move |i| (c, i))) {
        // SAFETY: as above.
        unsafe { *to.wrapping_add(i * row + c) = *from.wrapping_add(c * apart + i) };
    }
}

fn cast<T, U>(band: &Band<T>) -> Band<U> {
    Band {
        from: band.from.cast(),
        apart: band.apart,
        lines: band.lines,
        group: band.group,
        step: band.step,
        len: band.len,
        to: band.to.cast(),
        row: band.row,
    }
}

/// # Safety
/// As for [`transpose`].
#[inline(always)]
unsafe fn blocks<T: Copy, L: Lanes<T>>(l: L, band: &Band<T>) -> usize {
    let (mut rows, mut starts) = ([band.from; 16], band.starts(0));
    let done = band.lines / L::BLOCK * L::BLOCK;
    // Of one group, all lines' beginnings at once: from one to the next they would be late.
    let one = band.group >= band.lines;
    for c in (0..done).step_by(L::BLOCK) {
        for (i, row) in rows[..L::BLOCK].iter_mut().enumerate() {
            *row = if one {
                band.from.wrapping_offset((c + i) as isize * band.apart)
            } else {
                starts.next()
            };
        }
        for i in (0..band.len).step_by(L::BLOCK) {
            // SAFETY: the caller's promise; a row of a block has `BLOCK` elements, of lines that are there.
            unsafe {
                let to = band.to.offset(i as isize * band.row).add(c);
                l.transpose(&rows[..L::BLOCK], i as isize, band.len - i, to, band.row as usize);
            }
        }
    }
    done
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::*;
    use crate::simd::vec::Avx2;
    use std::arch::x86_64::*;

    /// # Safety
    /// As for [`transpose`]; the CPU has AVX2.
    #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,f16c")]
    pub(super) unsafe fn four(band: &Band<f32>) -> usize {
        // SAFETY: the caller's promise.
        unsafe { blocks(<Avx2 as Lanes<f32>>::assume(), band) }
    }

    /// # Safety
    /// As for [`transpose`]; the CPU has AVX2.
    #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,f16c")]
    pub(super) unsafe fn eight(band: &Band<f64>) -> usize {
        // SAFETY: the caller's promise.
        unsafe { blocks(<Avx2 as Lanes<f64>>::assume(), band) }
    }

    /// Blocks of 8 x 8 words of 16 bits; what is left of the lines one by one.
    ///
    /// # Safety
    /// As for [`transpose`]; the CPU has AVX2.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn two(band: &Band<u16>) -> usize {
        const N: usize = 8;
        let (done, whole) = (band.lines / N * N, band.len / N * N);
        let (mut lines, mut starts) = ([band.from; N], band.starts(0));
        for c in (0..done).step_by(N) {
            for line in &mut lines {
                *line = starts.next();
            }
            // SAFETY: the caller's promise.
            unsafe {
                for i in (0..whole).step_by(N) {
                    let at = |k: usize| _mm_loadu_si128(lines[k].add(i).cast());
                    let mut r = [at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)];
                    // Each round doubles the run of one line's neighbours: line k meets line k + 4.
                    for _ in 0..3 {
                        let h = [0, 1, 2, 3]
                            .map(|k| (_mm_unpacklo_epi16(r[k], r[k + 4]), _mm_unpackhi_epi16(r[k], r[k + 4])));
                        r = [h[0].0, h[0].1, h[1].0, h[1].1, h[2].0, h[2].1, h[3].0, h[3].1];
                    }
                    for (k, r) in r.into_iter().enumerate() {
                        _mm_storeu_si128(band.to.offset((i + k) as isize * band.row).add(c).cast(), r);
                    }
                }
                singles(band, &lines, c, whole);
            }
        }
        done
    }

    /// Blocks of 16 x 16 bytes; what is left of the lines one by one.
    ///
    /// # Safety
    /// As for [`transpose`]; the CPU has AVX2.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn one(band: &Band<u8>) -> usize {
        const N: usize = 16;
        let (done, whole) = (band.lines / N * N, band.len / N * N);
        let (mut lines, mut starts) = ([band.from; N], band.starts(0));
        for c in (0..done).step_by(N) {
            for line in &mut lines {
                *line = starts.next();
            }
            // SAFETY: the caller's promise.
            unsafe {
                for i in (0..whole).step_by(N) {
                    let mut r = [_mm_setzero_si128(); N];
                    for (r, line) in r.iter_mut().zip(lines) {
                        *r = _mm_loadu_si128(line.add(i).cast());
                    }
                    for _ in 0..4 {
                        let mut next = r;
                        for k in 0..N / 2 {
                            next[2 * k] = _mm_unpacklo_epi8(r[k], r[k + N / 2]);
                            next[2 * k + 1] = _mm_unpackhi_epi8(r[k], r[k + N / 2]);
                        }
                        r = next;
                    }
                    for (k, r) in r.into_iter().enumerate() {
                        _mm_storeu_si128(band.to.offset((i + k) as isize * band.row).add(c).cast(), r);
                    }
                }
                singles(band, &lines, c, whole);
            }
        }
        done
    }

    /// The elements from `first` on of the lines from the `c`-th on.
    ///
    /// # Safety
    /// As for [`transpose`].
    unsafe fn singles<T: Copy>(band: &Band<T>, lines: &[*const T], c: usize, first: usize) {
        for (c, line) in (c..).zip(lines) {
            for i in first..band.len {
                // SAFETY: the caller's promise.
                unsafe { *band.to.offset(i as isize * band.row).add(c) = *line.add(i) };
            }
        }
    }
}
