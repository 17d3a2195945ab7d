//! Ramps of integers.

use firesteel_kernels::elementwise::{Ramp, ramp};
use firesteel_kernels::{AnyDst, DType};

#[test]
fn integers_written_in_place() {
    for n in [0usize, 1, 7, 8, 15, 16, 17, 63, 64, 65, 127, 1000, 100_003] {
        for (start, step) in [(0, 1), (-5, 3), (i64::MAX - 2, -7), (9, 0)] {
            let (mut got, mut narrow) = (vec![77i64; n + 1], vec![77i32; n]);
            let of = Ramp::Ints { start, step };
            // SAFETY: the vectors' own memory.
            unsafe {
                ramp(AnyDst::new(got.as_mut_ptr().cast(), DType::I64, &[n], &[1]), of);
                ramp(AnyDst::new(narrow.as_mut_ptr().cast(), DType::I32, &[n], &[1]), of);
            }
            assert_eq!(got.pop(), Some(77));
            for (i, (got, narrow)) in got.iter().zip(narrow).enumerate() {
                let want = start.wrapping_add((i as i64).wrapping_mul(step));
                assert_eq!((*got, narrow), (want, want as i32), "{n}, {start}, {step}, {i}");
            }
        }
    }
}
