//! Sizes around the vectors' widths, odd strides: gather, scatter, top-k, transposes against one element at a time.

use super::*;
use crate::elementwise;
use crate::parallel::set_threads;
use crate::reduce::walk::{dense, view_of};
use crate::sort::{sort, topk};

const SIZES: [usize; 12] = [0, 1, 7, 8, 15, 16, 17, 63, 64, 65, 127, 1000];

fn noise(n: usize, seed: u64) -> Vec<u32> {
    let mut state = seed | 1;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 20) as u32
        })
        .collect()
}

fn src<'a, T: crate::dtype::Element>(v: &'a [T], shape: &[usize], strides: &[isize]) -> AnySrc<'a> {
    // SAFETY: the strides were made for the slice.
    unsafe { AnySrc::new(v.as_ptr().cast(), T::DTYPE, shape, strides) }
}

fn dst<'a, T: crate::dtype::Element>(v: &'a mut [T], shape: &[usize], strides: &[isize]) -> AnyDst<'a> {
    // SAFETY: as above.
    unsafe { AnyDst::new(v.as_mut_ptr().cast(), T::DTYPE, shape, strides) }
}

#[test]
fn gather_and_scatter_of_all_sizes() {
    for threads in [1, 3] {
        set_threads(threads);
        for n in SIZES {
            for (rows, step) in [(1, 1), (5, 1), (3, 3)] {
                let x: Vec<f32> = noise(rows * n * step, 3).iter().map(|v| *v as f32).collect();
                let index: Vec<i64> = noise(rows * n, 5).iter().map(|v| *v as i64 % n.max(1) as i64).collect();
                let strides = [(n * step) as isize, step as isize];
                let mut out = vec![0f32; rows * n];
                gather(
                    src(&x, &[rows, n], &strides),
                    1,
                    view_of(&index, &[rows, n]),
                    dst(&mut out, &[rows, n], &[n as isize, 1]),
                )
                .unwrap();
                let want: Vec<f32> = (0..rows * n)
                    .map(|i| x[i / n * n * step + index[i] as usize * step])
                    .collect();
                assert_eq!(out, want, "gather {rows} x {n} by {step}");

                let (mut to, mut want) = (x.clone(), x.clone());
                let source = src(&out, &[rows, n], &[n as isize, 1]);
                scatter_reduce(
                    dst(&mut to, &[rows, n], &strides),
                    1,
                    view_of(&index, &[rows, n]),
                    source,
                    ScatterReduce::Sum,
                    true,
                )
                .unwrap();
                for i in 0..rows * n {
                    want[i / n * n * step + index[i] as usize * step] += out[i];
                }
                assert_eq!(to, want, "scatter_add {rows} x {n} by {step}");

                if n > 0 {
                    let mut bad = index.clone();
                    *bad.last_mut().unwrap() = n as i64;
                    let before = to.clone();
                    let found = scatter(
                        dst(&mut to, &[rows, n], &strides),
                        1,
                        view_of(&bad, &[rows, n]),
                        Source::View(source),
                    );
                    assert_eq!(
                        found,
                        Err(IndexError {
                            index: n as i64,
                            size: n,
                            dim: 1
                        })
                    );
                    assert_eq!(to, before, "a bad index changes nothing");
                }
            }
        }
    }
}

#[test]
fn transposes_of_all_sizes() {
    for rows in SIZES {
        for cols in [0, 1, 7, 8, 16, 17, 65] {
            let x = noise(rows * cols, 9);
            let floats: Vec<f32> = x.iter().map(|v| f32::from_bits(*v)).collect();
            let wide: Vec<i64> = x.iter().map(|v| *v as i64).collect();
            let (mut four, mut eight) = (vec![0f32; rows * cols], vec![0i64; rows * cols]);
            let turned = [1, cols as isize];
            let plain = dense(&[cols, rows]);
            elementwise::copy(
                src(&floats, &[cols, rows], &turned),
                dst(&mut four, &[cols, rows], &plain[..2]),
            );
            elementwise::copy(
                src(&wide, &[cols, rows], &turned),
                dst(&mut eight, &[cols, rows], &plain[..2]),
            );
            for (i, (a, b)) in four.iter().zip(&eight).enumerate() {
                let from = i % rows * cols + i / rows;
                assert_eq!((a.to_bits(), *b), (x[from], wide[from]), "{rows} x {cols}, element {i}");
            }
        }
    }
}

#[test]
fn the_first_of_the_sorted() {
    for n in [1, 17, 127, 600, 1000, 5000] {
        for range in [3u32, 1000, u32::MAX] {
            let x: Vec<f32> = noise(n, 21).iter().map(|v| (v % range) as f32).collect();
            let wide: Vec<i64> = x.iter().map(|v| *v as i64 - 40).collect();
            for largest in [true, false] {
                let (mut all, mut order) = (vec![0f32; n], vec![0i64; n]);
                sort(
                    src(&x, &[n], &[1]),
                    0,
                    largest,
                    true,
                    dst(&mut all, &[n], &[1]),
                    dst(&mut order, &[n], &[1]),
                );
                for k in [1, 5, 31].into_iter().filter(|k| *k <= n) {
                    let (mut top, mut at) = (vec![0f32; k], vec![0i64; k]);
                    topk(
                        src(&x, &[n], &[1]),
                        k,
                        0,
                        largest,
                        true,
                        dst(&mut top, &[k], &[1]),
                        dst(&mut at, &[k], &[1]),
                    );
                    assert_eq!(
                        (&top[..], &at[..]),
                        (&all[..k], &order[..k]),
                        "top {k} of {n} below {range}"
                    );
                }
                let (mut ints, mut places) = (vec![0i64; n], vec![0i64; n]);
                sort(
                    src(&wide, &[n], &[1]),
                    0,
                    largest,
                    true,
                    dst(&mut ints, &[n], &[1]),
                    dst(&mut places, &[n], &[1]),
                );
                assert_eq!(places, order, "integers sort as floats do: {n} below {range}");
            }
        }
    }
}
