//! What the machine can do at most, measured: for benchmarks, which print the share of it that a kernel reaches.

use crate::parallel;
use crate::simd::vec::Lanes;
#[cfg(target_arch = "aarch64")]
use crate::simd::vec::Neon;
use crate::simd::vec::Scalar;
#[cfg(target_arch = "x86_64")]
use crate::simd::vec::{Avx2, Avx512};
use crate::simd::{Isa, isa};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Chains that do not wait for each other, and the steps of each.
const CHAINS: usize = 12;
const STEPS: usize = 1 << 16;
/// Bytes that no cache holds.
const BYTES: usize = 256 << 20;

/// Floating point operations done: multiply-adds on whole vectors in registers.
#[inline(always)]
fn chains<L: Lanes<f32>>(l: L) -> usize {
    let (by, plus) = (l.splat(black_box(0.999)), l.splat(black_box(0.001)));
    let mut sums: [L::V; CHAINS] = std::array::from_fn(|i| l.splat(black_box(i as f32)));
    for _ in 0..STEPS {
        for sum in &mut sums {
            *sum = l.fma(*sum, by, plus);
        }
    }
    let mut lanes = [0f32; 16];
    for sum in sums {
        // SAFETY: no vector is longer than the array.
        unsafe { l.store(lanes.as_mut_ptr(), sum) };
        black_box(&lanes);
    }
    2 * CHAINS * STEPS * L::N
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512cd,avx2,fma")]
fn avx512() -> usize {
    // SAFETY: compiled for it.
    chains(unsafe { <Avx512 as Lanes<f32>>::assume() })
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2() -> usize {
    // SAFETY: compiled for it.
    chains(unsafe { <Avx2 as Lanes<f32>>::assume() })
}

fn least(mut run: impl FnMut() -> usize) -> f64 {
    let rate = |_| {
        let start = Instant::now();
        run() as f64 / start.elapsed().as_secs_f64()
    };
    (0..20).map(rate).fold(0.0, f64::max)
}

/// Operations per second of one thread in float32: the best of 20 rounds of independent fused multiply-adds.
pub fn flops() -> f64 {
    least(|| match isa() {
        // SAFETY: the CPU has the instruction set.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { avx512() },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2() },
        // SAFETY: NEON is part of AArch64.
        #[cfg(target_arch = "aarch64")]
        Isa::Avx512 | Isa::Avx2 => chains(unsafe { <Neon as Lanes<f32>>::assume() }),
        // SAFETY: one lane needs no instructions.
        _ => chains(unsafe { <Scalar as Lanes<f32>>::assume() }),
    })
}

crate::multiversion! {
    fn all(words: &[u64]) -> u64 {
        let mut sums = [0u64; 64];
        for block in words.chunks_exact(64) {
            for (sum, &v) in sums.iter_mut().zip(block) {
                *sum |= v;
            }
        }
        sums.iter().fold(0, |a, &b| a | b)
    }
}

/// Bytes per second that all threads together read from memory, front to back: the best of 20 rounds.
pub fn read_rate() -> f64 {
    let words = vec![1u64; BYTES / 8];
    least(|| {
        let found = AtomicU64::new(0);
        parallel::for_range(words.len(), 1 << 16, |range| {
            found.fetch_or(all(&words[range]), Ordering::Relaxed);
        });
        black_box(found.into_inner());
        BYTES
    })
}
