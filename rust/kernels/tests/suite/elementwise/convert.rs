//! Halves and whole numbers against the half crate and `as`.

use firesteel_kernels::dtype::{DType, bf16, f16};
use firesteel_kernels::internals::convert::{Rect, loader, narrow_bf16, narrow_f16, storer, whole, widen_f16};
#[cfg(target_arch = "x86_64")]
use firesteel_kernels::internals::{available, convert::halves};

#[test]
fn whole_numbers_saturate() {
    let end = i64::MAX as f64;
    for v in [
        0.0,
        -0.9,
        1.9,
        2f64.powi(62),
        end,
        -end,
        end.next_down(),
        (-end).next_down(),
        f64::MAX,
        f64::NEG_INFINITY,
        f64::NAN,
    ] {
        assert_eq!(whole(v), v as i64, "{v}");
    }
}

/// Every half and many floats by the instructions of each set, in rows that end inside a vector.
#[cfg(target_arch = "x86_64")]
#[test]
fn halves_by_their_instructions() {
    let all: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
    let floats: Vec<f32> = (0..200_003u32)
        .map(|i| f32::from_bits(i.wrapping_mul(21_473)))
        .collect();
    for isa in available() {
        for cols in [1, 5, 8, 16, 21, 4096, 4097] {
            for some in all.chunks(cols) {
                let mut got = vec![-1f32; some.len() + 1];
                // SAFETY: as many elements at both ends.
                if !unsafe { halves::widen(isa, some.as_ptr().cast(), got.as_mut_ptr(), some.len()) } {
                    continue;
                }
                assert_eq!(got.pop(), Some(-1.0));
                for (half, got) in some.iter().zip(got) {
                    let want = half.to_f32();
                    let same = want.to_bits() == got.to_bits() || want.is_nan() && got.is_nan();
                    assert!(same, "{isa:?} {cols}: {half:?} as {got}");
                }
            }
            for some in floats.chunks(cols) {
                let mut got = vec![f16::ONE; some.len() + 1];
                // SAFETY: as above.
                if !unsafe { halves::narrow(isa, some.as_ptr(), got.as_mut_ptr().cast(), some.len()) } {
                    continue;
                }
                assert_eq!(got.pop(), Some(f16::ONE));
                for (v, got) in some.iter().zip(got) {
                    let want = f16::from_f32(*v);
                    let same = want.to_bits() == got.to_bits() || want.is_nan() && got.is_nan();
                    assert!(same, "{isa:?} {cols}: {v:e} as {got}");
                }
            }
        }
    }
}

/// Rows of every half and of many floats, by whatever this CPU has for them.
#[test]
fn rows_of_halves() {
    let all: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
    let floats: Vec<f32> = (0..200_003u32)
        .map(|i| f32::from_bits(i.wrapping_mul(21_473)))
        .collect();
    let (mut wide, mut narrow) = (vec![0f32; all.len()], vec![f16::ZERO; floats.len()]);
    let row = |cols| Rect {
        rows: 1,
        row_stride: 0,
        cols,
        col_stride: 1,
    };
    // SAFETY: as many elements at both ends.
    unsafe {
        loader(DType::F16, DType::F32)(all.as_ptr().cast(), row(all.len()), wide.as_mut_ptr().cast());
        storer(DType::F32, DType::F16)(floats.as_ptr().cast(), narrow.as_mut_ptr().cast(), row(floats.len()));
    }
    for (h, w) in all.iter().zip(&wide) {
        let want = h.to_f32();
        assert!(
            w.to_bits() == want.to_bits() || w.is_nan() && want.is_nan(),
            "{h:?} {w}"
        );
    }
    for (v, h) in floats.iter().zip(&narrow) {
        let want = f16::from_f32(*v);
        assert!(h.to_bits() == want.to_bits() || h.is_nan() && v.is_nan(), "{v:e} {h}");
    }
}

#[test]
fn halves_agree_with_the_half_crate() {
    for h in 0..=u16::MAX {
        let want = f16::from_bits(h).to_f32();
        let got = widen_f16(h);
        assert!(
            got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan()),
            "{h:#x}"
        );
    }
    let mut bits = 0u32;
    for _ in 0..3_000_000 {
        bits = bits.wrapping_add(1_431_655_765 / 1009);
        let v = f32::from_bits(bits);
        if !v.is_nan() {
            assert_eq!(narrow_f16(v), f16::from_f32(v).to_bits(), "{v:e}");
            assert_eq!(narrow_bf16(v), bf16::from_f32(v).to_bits(), "{v:e}");
        }
    }
    // Ties, the overflow border and the smallest subnormals.
    for v in [
        65519.996f32,
        65520.0,
        65504.0,
        5.96e-8,
        2.98e-8,
        2.9802322e-8,
        2.9802326e-8,
        1.0 + 1.0 / 2048.0,
        0.0,
    ] {
        assert_eq!(narrow_f16(v), f16::from_f32(v).to_bits(), "{v:e}");
        assert_eq!(narrow_f16(-v), f16::from_f32(-v).to_bits(), "-{v:e}");
    }
    assert!(f16::from_bits(narrow_f16(f32::NAN)).is_nan() && bf16::from_bits(narrow_bf16(f32::NAN)).is_nan());
}
