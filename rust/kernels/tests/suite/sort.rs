//! Sorting and what rests on it, against the standard library's order.

use firesteel_kernels::dtype::{Bool, Element};
use firesteel_kernels::internals::dense;
use firesteel_kernels::sort::*;
use firesteel_kernels::{AnyDst, AnySrc};

fn any<'a, T: Element>(v: &'a [T], shape: &[usize]) -> AnySrc<'a> {
    assert!(v.len() >= shape.iter().product());
    // SAFETY: the slice holds the shape's elements.
    unsafe { AnySrc::new(v.as_ptr().cast(), T::DTYPE, shape, &dense(shape)[..shape.len()]) }
}

fn any_mut<'a, T: Element>(v: &'a mut [T], shape: &[usize]) -> AnyDst<'a> {
    assert!(v.len() >= shape.iter().product());
    // SAFETY: as above.
    unsafe { AnyDst::new(v.as_mut_ptr().cast(), T::DTYPE, shape, &dense(shape)[..shape.len()]) }
}

fn numbers(n: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * 7919 + 13) % 61) as f64 * 0.37 - 9.0).collect()
}

fn check<T: Element + PartialOrd>(x: &[T], descending: bool) {
    let n = x.len();
    let mut want: Vec<usize> = (0..n).collect();
    want.sort_by(|&a, &b| {
        let order = x[a].partial_cmp(&x[b]).unwrap();
        if descending { order.reverse() } else { order }
    });
    let (mut v, mut i) = (vec![T::default(); n], vec![0i64; n]);
    sort(
        any(x, &[n]),
        0,
        descending,
        true,
        any_mut(&mut v, &[n]),
        any_mut(&mut i, &[n]),
    );
    for k in 0..n {
        assert!(
            i[k] as usize == want[k] && v[k] == x[want[k]],
            "{} of {n}",
            T::DTYPE.name()
        );
    }
}

#[test]
fn sorts() {
    for n in [1, 2, 30, 511, 512, 3000] {
        let x = numbers(n);
        for descending in [false, true] {
            check(&x, descending);
            check(&x.iter().map(|&v| v as f32).collect::<Vec<_>>(), descending);
            check(
                &x.iter().map(|&v| v as i64 * 1_000_000_007).collect::<Vec<_>>(),
                descending,
            );
        }
    }
    let nan = f32::NAN;
    let x = [nan, 1.0, -0.0, 0.0, nan, 2.0, f32::NEG_INFINITY];
    let (mut v, mut i) = ([0f32; 7], [0i64; 7]);
    sort(
        any(&x, &[7]),
        0,
        false,
        false,
        any_mut(&mut v, &[7]),
        any_mut(&mut i, &[7]),
    );
    assert_eq!(i, [6, 2, 3, 1, 5, 0, 4]);
    assert!(v[1].is_sign_negative() && v[5].is_nan());
    sort(
        any(&x, &[7]),
        0,
        true,
        false,
        any_mut(&mut v, &[7]),
        any_mut(&mut i, &[7]),
    );
    assert_eq!(i, [0, 4, 5, 1, 2, 3, 6]);
    let bits = [1u8, 0, 1, 0].map(Bool);
    let (mut v, mut i) = ([Bool(0); 4], [0i64; 4]);
    sort(
        any(&bits, &[4]),
        0,
        true,
        false,
        any_mut(&mut v, &[4]),
        any_mut(&mut i, &[4]),
    );
    assert_eq!((v, i), ([1u8, 1, 0, 0].map(Bool), [0, 2, 1, 3]));
    // Along a dim that is not innermost, and rank 0.
    let x = [3i64, 1, 2, 5, 0, 4];
    let (mut v, mut i) = ([0i64; 6], [0i64; 6]);
    sort(
        any(&x, &[3, 2]),
        0,
        false,
        false,
        any_mut(&mut v, &[3, 2]),
        any_mut(&mut i, &[3, 2]),
    );
    assert_eq!((v, i), ([0, 1, 2, 4, 3, 5], [2, 0, 1, 2, 0, 1]));
    sort(
        any(&x[..1], &[]),
        0,
        false,
        false,
        any_mut(&mut v[..1], &[]),
        any_mut(&mut i[..1], &[]),
    );
    assert_eq!((v[0], i[0]), (3, 0));
}

#[test]
fn order_statistics() {
    let x = [4f32, 1.0, 3.0, 3.0, f32::NAN, 2.0];
    let (mut v, mut i) = ([0f32; 3], [0i64; 3]);
    topk(
        any(&x, &[6]),
        3,
        0,
        true,
        true,
        any_mut(&mut v, &[3]),
        any_mut(&mut i, &[3]),
    );
    assert_eq!(i, [4, 0, 2]);
    topk(
        any(&x, &[6]),
        3,
        0,
        false,
        true,
        any_mut(&mut v, &[3]),
        any_mut(&mut i, &[3]),
    );
    assert_eq!((i, v), ([1, 5, 2], [1.0, 2.0, 3.0]));
    topk(
        any(&x, &[6]),
        0,
        0,
        false,
        true,
        any_mut(&mut v[..0], &[0]),
        any_mut(&mut i[..0], &[0]),
    );
    let (mut v, mut i) = ([0f32; 1], [0i64; 1]);
    kthvalue(any(&x, &[6]), 4, 0, any_mut(&mut v, &[1]), any_mut(&mut i, &[1]));
    assert_eq!((v[0], i[0]), (3.0, 3));
    median(any(&x, &[6]), 0, false, any_mut(&mut v, &[1]), any_mut(&mut i, &[1]));
    assert!(v[0].is_nan() && i[0] == 4);
    median(any(&x, &[6]), 0, true, any_mut(&mut v, &[1]), any_mut(&mut i, &[1]));
    assert_eq!((v[0], i[0]), (3.0, 2));
    median(
        any(&x[..4], &[4]),
        0,
        false,
        any_mut(&mut v, &[1]),
        any_mut(&mut i, &[1]),
    );
    assert_eq!((v[0], i[0]), (3.0, 2));
    let x = [3i64, 1, 2, 2, 3, 3, 2];
    let mut m = [0i64; 1];
    mode(any(&x, &[7]), 0, any_mut(&mut m, &[1]), any_mut(&mut i, &[1]));
    assert_eq!((m[0], i[0]), (2, 6));
    mode(any(&x[..3], &[3]), 0, any_mut(&mut m, &[1]), any_mut(&mut i, &[1]));
    assert_eq!((m[0], i[0]), (1, 1));
}

#[test]
fn unique_values() {
    let nan = f32::NAN;
    let x = [nan, 1.0, nan, 0.0, -0.0, 1.0];
    let mut inverse = [9; 6];
    let u = unique_sorted(any(&x, &[2, 3]), Some(&mut inverse));
    assert_eq!((&u.first[..], &u.counts[..]), (&[3, 1, 0, 2][..], &[2, 2, 1, 1][..]));
    assert_eq!(inverse, [2, 1, 3, 0, 0, 1]);
    let u = unique_consecutive(any(&x, &[6]), Some(&mut inverse));
    assert_eq!((u.first, u.counts), (vec![0, 1, 2, 3, 5], vec![1, 1, 1, 2, 1]));
    assert_eq!(inverse, [0, 1, 2, 3, 3, 4]);
    assert_eq!(unique_sorted(any::<i64>(&[], &[0]), None), Unique::default());
}

#[test]
fn unique_values_of_all_spans() {
    let mut state = 88172645463325252u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for n in [1usize, 100, 3000] {
        for span in [1u64, 2, 1000, 1 << 15, 1 << 20, 1 << 40, u64::MAX] {
            let x: Vec<i64> = (0..n).map(|_| (next() % span) as i64).collect();
            let mut want: Vec<i64> = x.clone();
            want.sort();
            want.dedup();
            let mut inverse = vec![0; n];
            let u = unique_sorted(any(&x, &[n]), Some(&mut inverse));
            assert_eq!(u, unique_sorted(any(&x, &[n]), None));
            let values: Vec<i64> = u.first.iter().map(|i| x[*i as usize]).collect();
            assert_eq!(values, want, "{n} {span}");
            for (i, v) in x.iter().enumerate() {
                let group = inverse[i] as usize;
                assert!(want[group] == *v && u.first[group] <= i as i64);
            }
            assert!(
                u.first
                    .iter()
                    .zip(&u.counts)
                    .all(|(f, c)| { x.iter().filter(|v| **v == x[*f as usize]).count() as i64 == *c })
            );
            // The same numbers as floats, which are sorted by whole keys.
            let floats: Vec<f64> = x.iter().map(|v| *v as f64).collect();
            if span <= 1 << 40 {
                assert_eq!(unique_sorted(any(&floats, &[n]), None), u, "{n} {span}");
            }
        }
    }
}

#[test]
fn sorted_values_keep_their_signs_and_nans() {
    let n = 1000;
    let x: Vec<f32> = (0..n)
        .map(|i| match i % 5 {
            0 => -0.0,
            1 => 0.0,
            2 => f32::from_bits(0x7fc0_0001 + i as u32),
            3 => -(i as f32),
            _ => f32::INFINITY,
        })
        .collect();
    for descending in [false, true] {
        let (mut values, mut places) = (vec![0f32; n], vec![0i64; n]);
        sort(
            any(&x, &[n]),
            0,
            descending,
            true,
            any_mut(&mut values, &[n]),
            any_mut(&mut places, &[n]),
        );
        assert!(
            values
                .iter()
                .zip(&places)
                .all(|(v, i)| v.to_bits() == x[*i as usize].to_bits())
        );
        let plain: Vec<f32> = (0..n).map(|i| ((i * 7919) % 1000) as f32 - 500.5).collect();
        sort(
            any(&plain, &[n]),
            0,
            descending,
            true,
            any_mut(&mut values, &[n]),
            any_mut(&mut places, &[n]),
        );
        assert!(
            values
                .iter()
                .zip(&places)
                .all(|(v, i)| v.to_bits() == plain[*i as usize].to_bits())
        );
    }
}

/// Lines beside each other, which a network sorts when they are short, give what each of them gives alone.
fn check_lines<T: Element + PartialEq + std::fmt::Debug>(of: impl Fn(usize) -> T) {
    for n in [1, 2, 3, 7, 8, 15, 16, 17, 33, 63, 64, 65] {
        for count in [3, 4, 5, 16, 17, 40] {
            let x: Vec<T> = (0..n * count).map(&of).collect();
            let k = n.div_ceil(2);
            for down in [false, true] {
                // Lines that lie in rows, and in columns.
                for axis in [1, 0] {
                    let lay = |n: usize| if axis == 1 { [count, n] } else { [n, count] };
                    let at = |line: usize, i: usize| if axis == 1 { line * n + i } else { i * count + line };
                    let new = |n: usize| (vec![T::default(); n * count], vec![0i64; n * count]);
                    let [(mut v, mut i), (mut tv, mut ti), (mut kv, mut ki)] = [new(n), new(k), new(1)];
                    let (all, top, one) = (lay(n), lay(k), lay(1));
                    sort(
                        any(&x, &all),
                        axis,
                        down,
                        true,
                        any_mut(&mut v, &all),
                        any_mut(&mut i, &all),
                    );
                    topk(
                        any(&x, &all),
                        k,
                        axis,
                        down,
                        true,
                        any_mut(&mut tv, &top),
                        any_mut(&mut ti, &top),
                    );
                    kthvalue(any(&x, &all), k, axis, any_mut(&mut kv, &one), any_mut(&mut ki, &one));
                    for line in 0..count {
                        let alone: Vec<T> = (0..n).map(|i| x[at(line, i)]).collect();
                        let (mut av, mut ai) = (vec![T::default(); n], vec![0i64; n]);
                        sort(
                            any(&alone, &[n]),
                            0,
                            down,
                            true,
                            any_mut(&mut av, &[n]),
                            any_mut(&mut ai, &[n]),
                        );
                        // Bits, as text: NaN differs from itself, -0 does not from 0.
                        let same = |a: T, b: T| format!("{a:?}") == format!("{b:?}");
                        for j in 0..n {
                            let p = at(line, j);
                            assert!(
                                same(v[p], av[j]) && i[p] == ai[j],
                                "{n} {count} {down} {axis} {line} {j}"
                            );
                        }
                        for j in 0..k {
                            let p = if axis == 1 { line * k + j } else { j * count + line };
                            assert!(
                                same(tv[p], av[j]) && ti[p] == ai[j],
                                "{n} {count} {down} {axis} {line} {j}"
                            );
                        }
                        if !down {
                            assert!(
                                same(kv[line], av[k - 1]) && ki[line] == ai[k - 1],
                                "{n} {count} {axis} {line}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn short_lines() {
    let some = |i: usize| ((i * 7919 + 13) % 61) as f64 * 0.37 - 9.0;
    let odd = |i: usize| match i * 31 % 23 {
        0 => f64::NAN,
        1 | 2 => -0.0,
        3 | 4 => 0.0,
        5 => f64::NEG_INFINITY,
        6 => f64::INFINITY,
        _ => some(i),
    };
    check_lines(some);
    check_lines(odd);
    check_lines(|i| some(i) as f32);
    check_lines(|i| odd(i) as f32);
    check_lines(|i| (some(i) as i64) << 40 | 3);
    check_lines(|i| Bool((i % 3 == 0) as u8));
}
