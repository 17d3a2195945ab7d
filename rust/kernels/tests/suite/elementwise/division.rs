//! Divisions that leave an integer.

use super::apply2;
use firesteel_kernels::dtype::Element;
use firesteel_kernels::elementwise::Binary;
use firesteel_kernels::internals::division::*;

/// The kernel, where vectors take what they can, and the slow way of every pair.
fn compare<T: Element + std::fmt::Debug, K: Map2<T, T>>(op: Binary, a: &[T], b: &[T], bits: fn(T) -> u64) {
    for n in [0, 1, 7, 8, 15, 16, 17, 63, 64, 65, 127, 1000, a.len()] {
        let n = n.min(a.len());
        let got: Vec<T> = apply2(op, &a[..n], &b[..n]);
        for i in 0..n {
            let want = K::slow(a[i], b[i]);
            assert_eq!(
                bits(got[i]),
                bits(want),
                "{:?} by {:?}: {:?}, not {want:?}",
                a[i],
                b[i],
                got[i]
            );
        }
    }
}

/// Pairs of edges, of numbers of every exponent, and of multiples and their neighbours.
fn pairs<T: Float>(edges: &[T], any: fn(u64) -> T, next: fn(T, bool) -> T) -> (Vec<T>, Vec<T>) {
    let (mut a, mut b) = (vec![], vec![]);
    for x in edges {
        for y in edges {
            a.push(*x);
            b.push(*y);
        }
    }
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state ^ state >> 29
    };
    for _ in 0..100_000 {
        a.push(any(random()));
        b.push(any(random()));
        let (x, n) = (any(random()), T::c((random() >> (40 + random() % 24)) as f64));
        let multiple = x * n;
        a.push(match random() % 3 {
            0 => multiple,
            1 => next(multiple, true),
            _ => next(multiple, false),
        });
        b.push(if random() % 2 == 0 { x } else { -x });
    }
    (a, b)
}

#[test]
fn floats_as_the_c_library() {
    let edges = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        3.0,
        -3.0,
        0.1,
        1e-44,
        -1e-44,
        f32::MAX,
        f32::MIN,
        1e30,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        16_777_215.0,
        16_777_216.0,
        2_097_152.0,
        2_097_151.0,
        f32::MIN_POSITIVE,
    ];
    let (a, b) = pairs(
        &edges,
        |x| f32::from_bits(x as u32),
        |x, up| x.next_after(if up { f32::INFINITY } else { f32::NEG_INFINITY }),
    );
    let bits = |x: f32| if x.is_nan() { 1 } else { x.to_bits() as u64 };
    compare::<f32, Fmod>(Binary::Fmod, &a, &b, bits);
    compare::<f32, Remainder>(Binary::Remainder, &a, &b, bits);
    compare::<f32, FloorDivide>(Binary::FloorDivide, &a, &b, bits);
    for (x, y) in a.iter().zip(&b) {
        assert_eq!(bits(x.fmod(*y)), bits(x % y), "{x:e} % {y:e}");
    }
    let edges = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        3.0,
        -3.0,
        0.1,
        5e-324,
        -5e-324,
        f64::MAX,
        f64::MIN,
        1e30,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        9_007_199_254_740_991.0,
        9_007_199_254_740_992.0,
        1_125_899_906_842_624.0,
        f64::MIN_POSITIVE,
    ];
    let (a, b) = pairs(&edges, f64::from_bits, |x, up| {
        x.next_after(if up { f64::INFINITY } else { f64::NEG_INFINITY })
    });
    let bits = |x: f64| if x.is_nan() { 1 } else { x.to_bits() };
    compare::<f64, Fmod>(Binary::Fmod, &a, &b, bits);
    compare::<f64, Remainder>(Binary::Remainder, &a, &b, bits);
    compare::<f64, FloorDivide>(Binary::FloorDivide, &a, &b, bits);
}

#[test]
fn integers_as_the_processor() {
    let half = 1i64 << 51;
    let edges = [
        0,
        1,
        -1,
        2,
        -2,
        3,
        -3,
        7,
        -7,
        10,
        half,
        half - 1,
        -half,
        -half - 1,
        i64::MAX,
        i64::MIN,
        1 << 31,
        -1 << 31,
        (1 << 51) - 3,
    ];
    let (mut a, mut b) = (vec![], vec![]);
    for x in edges {
        for y in edges {
            a.push(x);
            b.push(y);
        }
    }
    let mut state = 1u64;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state ^ state >> 29) as i64
    };
    for _ in 0..100_000 {
        let (by, to) = (random() as u64 % 64, random() as u64 % 64);
        let (x, y) = (random() >> by, random() >> to);
        a.push(x);
        b.push(y);
        a.push((x >> 1).wrapping_mul(y >> 32).wrapping_add(random() % 2));
        b.push(y >> 32);
    }
    compare::<i64, IntFloorDivide>(Binary::FloorDivide, &a, &b, |x| x as u64);
    compare::<i64, IntRemainder>(Binary::Remainder, &a, &b, |x| x as u64);
    compare::<i64, IntFmod>(Binary::Fmod, &a, &b, |x| x as u64);
    compare::<i64, IntTruncDivide>(Binary::TruncDivide, &a, &b, |x| x as u64);
}
