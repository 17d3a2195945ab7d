//! The exponential that weights are made by.

use firesteel_kernels::internals::attention::weight;

#[test]
fn the_exponential_of_what_is_not_positive() {
    let mut worst = 0.0f64;
    for i in 0..=1_000_000 {
        let x = -(i as f32) * 8.76e-5;
        let want = (x as f64).exp();
        let nearest = want as f32;
        let unit = (nearest.next_up() - nearest) as f64;
        worst = worst.max(((weight(x) as f64) - want).abs() / unit);
    }
    // The bound that all elementary functions are held to, in units of the last place.
    assert!(worst <= 2.0, "{worst}");
    assert_eq!((weight(0.0f32), weight(-0.0f32), weight(-1e-30f32)), (1.0, 1.0, 1.0));
    assert_eq!(
        (weight(f32::NEG_INFINITY), weight(-88.0f32), weight(-1e30f32)),
        (0.0, 0.0, 0.0)
    );
    assert!(weight(f32::NAN).is_nan() && weight(f32::INFINITY).is_nan());
}
