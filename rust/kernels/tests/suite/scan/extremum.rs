//! Running extrema of single lines against one element at a time.

use firesteel_kernels::dtype::Element;
use firesteel_kernels::scan::scan_extremum;
use firesteel_kernels::{AnyDst, AnySrc};

/// Elements whose bits tell them apart, and which may be NaN.
trait Bits: Element + PartialOrd {
    fn bits(self) -> u64;
}
impl Bits for i64 {
    fn bits(self) -> u64 {
        self as u64
    }
}
impl Bits for f32 {
    fn bits(self) -> u64 {
        self.to_bits() as u64
    }
}
impl Bits for f64 {
    fn bits(self) -> u64 {
        self.to_bits()
    }
}

fn one_by_one<T: Bits>(max: bool, xs: &[T]) -> (Vec<u64>, Vec<i64>) {
    let mut at = 0;
    let places = (0..xs.len()).map(|i| {
        let (x, best) = (xs[i], xs[at]);
        let is_nan = |v: T| v.partial_cmp(&v).is_none();
        if is_nan(x) || !is_nan(best) && if max { x >= best } else { x <= best } {
            at = i;
        }
        at as i64
    });
    let places: Vec<i64> = places.collect();
    (places.iter().map(|p| xs[*p as usize].bits()).collect(), places)
}

fn check<T: Bits>(xs: &[T], name: &str) {
    for n in [1, 15, 16, 17, 31, 33, 64, 255, 256, 257, xs.len()] {
        for max in [true, false] {
            let (mut values, mut places) = (vec![T::default(); n], vec![0i64; n]);
            // SAFETY: all have `n` elements.
            unsafe {
                let src = AnySrc::new(xs.as_ptr().cast(), T::DTYPE, &[n], &[1]);
                let dst = AnyDst::new(values.as_mut_ptr().cast(), T::DTYPE, &[n], &[1]);
                let index = AnyDst::new(places.as_mut_ptr().cast(), i64::DTYPE, &[n], &[1]);
                scan_extremum(max, src, 0, dst, index);
            }
            let bits: Vec<u64> = values.iter().map(|v| v.bits()).collect();
            assert_eq!((bits, places), one_by_one(max, &xs[..n]), "{name} {n} {max}");
        }
    }
}

#[test]
fn lines_are_as_one_by_one() {
    let mut state = 7u32;
    let mut small = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 20) as i64 % 50
    };
    let ints: Vec<i64> = (0..1000).map(|_| small()).collect();
    // With a trend, so that every piece has better ones; with zeros of both signs; with NaNs further on.
    for trend in [0, 1, -1] {
        let with: Vec<i64> = ints.iter().enumerate().map(|(i, v)| v + trend * i as i64).collect();
        check(&with, "i64");
        let mut floats: Vec<f32> = with.iter().map(|v| *v as f32 - 25.0).collect();
        for i in (0..floats.len()).step_by(7) {
            floats[i] = if i % 2 == 0 { 0.0 } else { -0.0 };
        }
        check(&floats, "f32");
        floats[700] = f32::NAN;
        floats[900] = f32::NAN;
        check(&floats, "f32 with NaN");
        check(&floats.iter().map(|v| *v as f64).collect::<Vec<_>>(), "f64");
    }
}
