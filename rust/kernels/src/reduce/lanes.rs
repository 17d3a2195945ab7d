//! Sums of rows that lie in one piece, for kernels that make several passes over a row: virtual lanes and a
//! halving tree per block, as in the fold engine.

use super::real::Real;

const LANES: usize = 32;
const BLOCK: usize = 2048;

/// Sum of `f(a, b)` over two rows of one length.
#[inline(always)]
pub(crate) fn lane_sum<T: Real>(a: &[T], b: &[T], f: impl Fn(T, T) -> T) -> T {
    let b = &b[..a.len()];
    if a.len() < LANES {
        let mut sum = T::ZERO;
        for i in 0..a.len() {
            sum = sum + f(a[i], b[i]);
        }
        return sum;
    }
    let mut total = T::ZERO;
    for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
        let mut lanes = [T::ZERO; LANES];
        let (whole_a, whole_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
        let (rest_a, rest_b) = (whole_a.remainder(), whole_b.remainder());
        for (a, b) in whole_a.zip(whole_b) {
            for l in 0..LANES {
                lanes[l] = lanes[l] + f(a[l], b[l]);
            }
        }
        for (l, (&a, &b)) in rest_a.iter().zip(rest_b).enumerate() {
            lanes[l] = lanes[l] + f(a, b);
        }
        let mut width = LANES / 2;
        while width > 0 {
            for l in 0..width {
                lanes[l] = lanes[l] + lanes[l + width];
            }
            width /= 2;
        }
        total = total + lanes[0];
    }
    total
}
