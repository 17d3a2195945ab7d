//! Exponentials and logarithms that reductions take.

use firesteel_kernels::internals::math;
use firesteel_kernels::internals::real::{exp_f64, ln_f64};

#[test]
fn exponential_and_logarithm() {
    for i in -1_050..900 {
        let x = i as f32 * 0.0997;
        let want = (x as f64).exp();
        let unit = (want * 1.2e-7).max(1.5e-45);
        assert!(
            ((math::exp(x) as f64) - want).abs() <= unit || want > f32::MAX as f64,
            "exp({x})"
        );
        let x = x as f64 * 7.0;
        let want = x.exp();
        assert!((exp_f64(x) - want).abs() <= want * 4.5e-16 + 1e-323, "exp64({x})");
        let y = (i as f64 * 0.31).exp();
        assert!((ln_f64(y) - y.ln()).abs() <= y.ln().abs() * 4e-16 + 1e-30, "ln({y})");
    }
    for (x, want) in [(f32::INFINITY, f32::INFINITY), (f32::NEG_INFINITY, 0.0), (0.0, 1.0)] {
        assert_eq!(math::exp(x), want);
        assert_eq!(exp_f64(x as f64), want as f64);
    }
    assert!(math::exp(f32::NAN).is_nan() && exp_f64(f64::NAN).is_nan() && ln_f64(-1.0).is_nan());
    assert_eq!(
        (ln_f64(0.0), ln_f64(1.0), ln_f64(f64::INFINITY)),
        (f64::NEG_INFINITY, 0.0, f64::INFINITY)
    );
    assert!((ln_f64(5e-324) - -744.4400719213812).abs() < 1e-10);
}
