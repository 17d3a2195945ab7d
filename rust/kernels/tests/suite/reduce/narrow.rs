//! Extrema of integers as they are stored.

use crate::testing::numbers;
use firesteel_kernels::dtype::Element;
use firesteel_kernels::parallel::set_threads;
use firesteel_kernels::reduce::narrow_extremum;
use firesteel_kernels::{AnyDst, AnySrc};

fn shapes<T: Element + Ord + std::fmt::Debug>() {
    let data: Vec<T> = numbers(300_000, 3)
        .iter()
        .map(|v| T::from_i64((v * 3e9) as i64))
        .collect();
    let sizes = [1, 2, 15, 16, 17, 63, 64, 65, 127, 1000, 5000];
    let mut taken = 0;
    for (m, n) in sizes
        .iter()
        .flat_map(|&m| sizes.map(|n| (m, n)))
        .filter(|(m, n)| m * n <= 150_000)
    {
        for strides in [
            [n as isize, 1],
            [1, m as isize],
            [2 * n as isize, 2],
            [n as isize + 3, 1],
        ] {
            if strides[0].max(1) as usize * m > 300_000
                || (m - 1) * strides[0] as usize + (n - 1) * strides[1] as usize >= 300_000
            {
                continue;
            }
            // SAFETY: inside the data, as was just asked.
            let src = unsafe { AnySrc::new(data.as_ptr().cast(), T::DTYPE, &[m, n], &strides) };
            for (axes, outputs) in [([true, true], [1, 1]), ([true, false], [1, n]), ([false, true], [m, 1])] {
                for max in [true, false] {
                    let mut got = vec![T::default(); outputs[0] * outputs[1]];
                    let steps = [outputs[1] as isize, 1];
                    // SAFETY: dense in its shape.
                    let dst = unsafe { AnyDst::new(got.as_mut_ptr().cast(), T::DTYPE, &outputs, &steps) };
                    if !narrow_extremum(max, src, &axes, dst) {
                        continue;
                    }
                    taken += 1;
                    let mut want = vec![None; got.len()];
                    for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                        let v = data[i * strides[0] as usize + j * strides[1] as usize];
                        let w: &mut Option<T> = &mut want[i % outputs[0] * outputs[1] + j % outputs[1]];
                        *w = Some(w.map_or(v, |w| if max { w.max(v) } else { w.min(v) }));
                    }
                    let want: Vec<T> = want.into_iter().flatten().collect();
                    assert_eq!(got, want, "{m}x{n} {strides:?} {axes:?} {max}");
                }
            }
        }
    }
    assert!(taken > 300, "{taken} taken");
}

#[test]
fn every_way_through_memory() {
    for threads in [1, 3] {
        set_threads(threads);
        shapes::<u8>();
        shapes::<i8>();
        shapes::<i16>();
        shapes::<i32>();
    }
}
