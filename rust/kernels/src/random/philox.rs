//! Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).

// Lanes are indexed side by side, which is what vectorizes.
#![allow(clippy::needless_range_loop)]

use crate::multiversion;

/// Where in the random stream an op begins.
///
/// A counter gives four 32-bit words, so an op on n elements uses `counters(n)` of them, whatever its dtype: element i
/// has word i mod 4 of counter `offset + i / 4`. Where 32 bits are too few, the same word of a second stream (the counter's
/// third word set to 1) supplies 32 more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Philox {
    pub seed: u64,
    pub offset: u64,
}

impl Philox {
    /// Counters that an op on `n` elements uses.
    pub fn counters(n: usize) -> u64 {
        n.div_ceil(4) as u64
    }

    /// The generator after an op on `n` elements.
    pub fn after(self, n: usize) -> Philox {
        Philox {
            offset: self.offset.wrapping_add(Philox::counters(n)),
            ..self
        }
    }

    /// Words `4·first ..` of a stream; the length is a multiple of 4.
    pub(crate) fn words(self, first: u64, stream: u32, out: &mut [u32]) {
        fill(self.seed, self.offset.wrapping_add(first), stream, out);
    }
}

/// Counters computed side by side: four vectors of eight, so that one's latency hides behind the others' work.
pub const LANES: usize = 32;

const LOW: u64 = 0xffff_ffff;

/// Ten rounds for `LANES` counters. A word sits in the low half of 64 bits, where a product takes it from without a
/// shuffle; what lies above it is left there.
#[inline(always)]
pub fn lanes(mut c: [[u64; LANES]; 4], key: [u32; 2]) -> [[u64; LANES]; 4] {
    let mut key = key.map(u64::from);
    for _ in 0..10 {
        for i in 0..LANES {
            let p = 0xD251_1F53 * (c[0][i] & LOW);
            let q = 0xCD9E_8D57 * (c[2][i] & LOW);
            c[0][i] = (q >> 32) ^ c[1][i] ^ key[0];
            c[1][i] = q;
            c[2][i] = (p >> 32) ^ c[3][i] ^ key[1];
            c[3][i] = p;
        }
        key = [(key[0] + 0x9E37_79B9) & LOW, (key[1] + 0xBB67_AE85) & LOW];
    }
    c
}

multiversion! {
    fn fill(seed: u64, first: u64, stream: u32, out: &mut [u32]) {
        let key = [seed as u32, (seed >> 32) as u32];
        for (chunk, group) in out.chunks_mut(4 * LANES).enumerate() {
            let base = first.wrapping_add((chunk * LANES) as u64);
            let mut c = [[0u64; LANES]; 4];
            for i in 0..LANES {
                let at = base.wrapping_add(i as u64);
                c[0][i] = at;
                c[1][i] = at >> 32;
                c[2][i] = stream as u64;
            }
            let r = lanes(c, key);
            // Two words side by side, then the pairs of a counter.
            let mut pairs = [0u64; 2 * LANES];
            for i in 0..LANES {
                pairs[2 * i] = (r[0][i] & LOW) | r[1][i] << 32;
                pairs[2 * i + 1] = (r[2][i] & LOW) | r[3][i] << 32;
            }
            let (whole, _) = group.as_chunks_mut::<2>();
            for (to, pair) in whole.iter_mut().zip(&pairs) {
                *to = [*pair as u32, (*pair >> 32) as u32];
            }
        }
    }
}
