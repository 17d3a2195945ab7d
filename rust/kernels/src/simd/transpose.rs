//! Transposing a band of memory by square blocks in registers.

use super::vec::Lanes;
use super::{Isa, isa};

/// Lines whose elements become neighbours: line `c` begins at `from + c·apart`.
#[derive(Clone, Copy)]
pub(crate) struct Band<T> {
    pub from: *const T,
    pub apart: isize,
    pub lines: usize,
    /// Elements of a line that are taken.
    pub len: usize,
    pub to: *mut T,
    /// Between the places of neighbours of one line.
    pub row: isize,
}

/// `to[i·row + c] = from[c·apart + i]` for what fills whole blocks; returns how many lines were done.
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
            #[cfg(target_arch = "aarch64")]
            (4, Isa::Avx2) => blocks::<f32, super::vec::Neon>(<super::vec::Neon as Lanes<f32>>::assume(), &cast(band)),
            #[cfg(target_arch = "aarch64")]
            (8, Isa::Avx2) => blocks::<f64, super::vec::Neon>(<super::vec::Neon as Lanes<f64>>::assume(), &cast(band)),
            _ => 0,
        }
    }
}

fn cast<T, U>(band: &Band<T>) -> Band<U> {
    Band {
        from: band.from.cast(),
        apart: band.apart,
        lines: band.lines,
        len: band.len,
        to: band.to.cast(),
        row: band.row,
    }
}

/// # Safety
/// As for [`transpose`].
#[inline(always)]
unsafe fn blocks<T: Copy, L: Lanes<T>>(l: L, band: &Band<T>) -> usize {
    let mut rows = [band.from; 16];
    let done = band.lines / L::BLOCK * L::BLOCK;
    for c in (0..done).step_by(L::BLOCK) {
        for (i, row) in rows[..L::BLOCK].iter_mut().enumerate() {
            *row = band.from.wrapping_offset((c + i) as isize * band.apart);
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
}
