//! Sizes around the vectors' widths, odd strides: gather, scatter, top-k, transposes against one element at a time.

use firesteel_kernels::dtype::{Bool, Element, Scalar};
use firesteel_kernels::elementwise;
use firesteel_kernels::index::*;
use firesteel_kernels::internals::{dense, view_of};
use firesteel_kernels::parallel::set_threads;
use firesteel_kernels::sort::{sort, topk};
use firesteel_kernels::{AnyDst, AnySrc};

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

fn src<'a, T: Element>(v: &'a [T], shape: &[usize], strides: &[isize]) -> AnySrc<'a> {
    // SAFETY: the strides were made for the slice.
    unsafe { AnySrc::new(v.as_ptr().cast(), T::DTYPE, shape, strides) }
}

fn dst<'a, T: Element>(v: &'a mut [T], shape: &[usize], strides: &[isize]) -> AnyDst<'a> {
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
                    threads == 1,
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
                    threads == 3,
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
                        false,
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

/// One element at a time, in row-major order.
fn every(shape: &[usize], mut f: impl FnMut(&[usize])) {
    let mut at = vec![0; shape.len()];
    for _ in 0..shape.iter().product() {
        f(&at);
        for d in (0..shape.len()).rev() {
            at[d] += 1;
            if at[d] < shape[d] {
                break;
            }
            at[d] = 0;
        }
    }
}

#[test]
fn along_any_dim_with_any_strides() {
    for threads in [1, 3] {
        set_threads(threads);
        for shape in [[3usize, 5, 600], [2, 40, 13], [1, 3, 2], [7, 1, 1]] {
            for axis in 0..3 {
                for turned in [false, true] {
                    let n: usize = shape.iter().product();
                    let size = shape[axis] + 2;
                    let mut wide = shape;
                    wide[axis] = size;
                    let mut strides = dense(&wide);
                    if turned {
                        // The first dim innermost.
                        strides[..3].copy_from_slice(&[1, (wide[0] * wide[2]) as isize, wide[0] as isize]);
                    }
                    let strides = &strides[..3];
                    let x: Vec<i64> = noise(wide.iter().product(), 7).iter().map(|v| *v as i64).collect();
                    let index: Vec<i64> = noise(n, 11).iter().map(|v| *v as i64 % size as i64).collect();
                    let own = dense(&shape);
                    let own = &own[..3];
                    let place = |at: &[usize], i: i64| {
                        (0..3)
                            .map(|d| if d == axis { i } else { at[d] as i64 } * strides[d] as i64)
                            .sum::<i64>() as usize
                    };
                    let mut out = vec![0i64; n];
                    let (at, to) = (view_of(&index, &shape), dst(&mut out, &shape, own));
                    gather(src(&x, &wide, strides), axis, at, to, true).unwrap();
                    let (mut added, mut last) = (x.clone(), x.clone());
                    let (mut sums, mut put) = (x.clone(), x.clone());
                    let mut mean = x.clone();
                    let mut counts = vec![1i64; x.len()];
                    let mut i = 0;
                    every(&shape, |position| {
                        let p = place(position, index[i]);
                        assert_eq!(out[i], x[p], "gather {shape:?} {axis} {turned}");
                        added[p] = added[p].wrapping_add(out[i]);
                        last[p] = i as i64;
                        counts[p] += 1;
                        i += 1;
                    });
                    let numbers: Vec<i64> = (0..n as i64).collect();
                    let source = src(&out, &shape, own);
                    scatter_reduce(
                        dst(&mut sums, &wide, strides),
                        axis,
                        at,
                        source,
                        ScatterReduce::Sum,
                        true,
                        turned,
                    )
                    .unwrap();
                    assert_eq!(sums, added, "scatter_add {shape:?} {axis} {turned}");
                    let order = Source::View(src(&numbers, &shape, own));
                    scatter(dst(&mut put, &wide, strides), axis, at, order, turned).unwrap();
                    assert_eq!(put, last, "scatter {shape:?} {axis} {turned}");
                    scatter_reduce(
                        dst(&mut mean, &wide, strides),
                        axis,
                        at,
                        source,
                        ScatterReduce::Mean,
                        true,
                        turned,
                    )
                    .unwrap();
                    for (i, m) in mean.iter().enumerate() {
                        assert_eq!(*m, added[i].div_euclid(counts[i]), "mean {shape:?} {axis} {turned}");
                    }
                    if n > 0 {
                        let mut bad = index.clone();
                        bad[n / 2] = -1;
                        let to = dst(&mut out, &shape, own);
                        let e = gather(src(&x, &wide, strides), axis, view_of(&bad, &shape), to, true).unwrap_err();
                        assert_eq!((e.index, e.size), (-1, size));
                        let mut half = x.clone();
                        let to = dst(&mut half, &wide, strides);
                        let e = scatter(to, axis, view_of(&bad, &shape), order, true).unwrap_err();
                        assert_eq!((e.index, e.size), (-1, size));
                    }
                }
            }
        }
    }
}

#[test]
fn slices_along_any_dim() {
    for threads in [1, 2] {
        set_threads(threads);
        // The last one has slices that threads share.
        for shape in [[4usize, 9, 33], [3, 5, 1], [2, 1, 70], [40, 30, 100]] {
            for axis in 0..3 {
                let x: Vec<f32> = noise(shape.iter().product(), 3)
                    .iter()
                    .map(|v| (v % 1000) as f32)
                    .collect();
                let index: Vec<i64> = noise(17, 5).iter().map(|v| *v as i64 % shape[axis] as i64).collect();
                let mut picked = shape;
                picked[axis] = 17;
                let (all, own) = (dense(&shape), dense(&picked));
                let (all, own) = (&all[..3], &own[..3]);
                let n: usize = picked.iter().product();
                let mut out = vec![0f32; n];
                let at = view_of(&index, &[17]);
                let wrapped: Vec<i64> = index.iter().map(|i| i - shape[axis] as i64).collect();
                let back = view_of(&wrapped, &[17]);
                index_select(src(&x, &shape, all), axis, back, dst(&mut out, &picked, own), true).unwrap();
                let (mut added, mut copied, mut filled) = (x.clone(), x.clone(), x.clone());
                let (mut sums, mut copies, mut fills) = (x.clone(), x.clone(), x.clone());
                let mut i = 0;
                every(&picked, |position| {
                    let p: usize = (0..3)
                        .map(|d| if d == axis { index[position[d]] as usize } else { position[d] } * all[d] as usize)
                        .sum();
                    assert_eq!(out[i], x[p], "select {shape:?} {axis}");
                    added[p] += 2.0 * (i as f32);
                    copied[p] = i as f32;
                    filled[p] = 5.0;
                    i += 1;
                });
                let numbers: Vec<f32> = (0..n).map(|i| i as f32).collect();
                let given = src(&numbers, &picked, own);
                index_add(dst(&mut sums, &shape, all), axis, at, given, Scalar::Int(2)).unwrap();
                index_copy(dst(&mut copies, &shape, all), axis, at, given).unwrap();
                index_fill(dst(&mut fills, &shape, all), axis, back, Scalar::Int(5)).unwrap();
                assert_eq!(sums, added, "add {shape:?} {axis}");
                assert_eq!(copies, copied, "copy {shape:?} {axis}");
                assert_eq!(fills, filled, "fill {shape:?} {axis}");
                // The same by an index of one dim, whose dim stands first in both views.
                let to_front = |s: &[isize]| [s[axis], s[(axis + 1) % 3], s[(axis + 2) % 3]];
                let sizes = [shape[axis], shape[(axis + 1) % 3], shape[(axis + 2) % 3]];
                let mut by_index = vec![0f32; n];
                let to = dst(&mut by_index, &[17, sizes[1], sizes[2]], &to_front(own));
                index_get(src(&x, &sizes, &to_front(all)), &[back], to, true).unwrap();
                assert_eq!(by_index, out, "index {shape:?} {axis}");
            }
        }
    }
}

#[test]
fn masks_of_all_sizes() {
    for threads in [1, 2] {
        set_threads(threads);
        for n in SIZES.into_iter().chain([200_000]) {
            for share in [0u32, 1, 50, 100] {
                let mask: Vec<Bool> = noise(n, 13)
                    .iter()
                    .map(|v| Bool(if v % 100 < share { 1 + (v % 3) as u8 } else { 0 }))
                    .collect();
                let places: Vec<i64> = (0..n as i64).filter(|i| mask[*i as usize].get()).collect();
                let count = places.len();
                let mut rows = vec![0; count];
                assert_eq!(nonzero(src(&mask, &[n], &[1]), &mut rows), count);
                assert_eq!(rows, places, "nonzero {n} {share}");
                masked(&mask, &places, |i| i as i64 * 3);
                masked(&mask, &places, |i| i as f32);
                masked(&mask, &places, |i| Bool(i as u8 % 2));
            }
        }
    }
}

fn masked<T: Element + std::fmt::Debug>(mask: &[Bool], places: &[i64], value: impl Fn(usize) -> T) {
    let (n, count) = (mask.len(), places.len());
    let x: Vec<T> = (0..n).map(&value).collect();
    let mut out = vec![T::default(); count];
    let found = masked_select(src(&x, &[n], &[1]), view_of(mask, &[n]), dst(&mut out, &[count], &[1]));
    assert_eq!(found, count);
    assert!(
        places.iter().zip(&out).all(|(p, o)| *o == x[*p as usize]),
        "select {n} {count}"
    );
    let mut to = vec![value(77); n];
    let given: Vec<T> = (0..count).map(|i| value(i + 5)).collect();
    assert!(masked_scatter(
        dst(&mut to, &[n], &[1]),
        view_of(mask, &[n]),
        src(&given, &[count], &[1])
    ));
    for (i, p) in places.iter().enumerate() {
        assert!(to[*p as usize] == given[i]);
    }
    assert!(
        to.iter().zip(mask).all(|(t, m)| m.get() || *t == value(77)),
        "scatter {n} {count}"
    );
}

#[test]
fn places_that_threads_share() {
    // Enough of both that threads take parts of the result; and a few that lead into one line of it.
    let n = 150_001;
    for size in [100_003usize, 65_536, 16] {
        let index: Vec<i64> = noise(n, 17).iter().map(|v| *v as i64 % size as i64).collect();
        let back: Vec<i64> = index.iter().map(|i| i - size as i64).collect();
        let values: Vec<f32> = noise(n, 19).iter().map(|v| (v % 1000) as f32).collect();
        let (mut last, mut sums) = (vec![0f32; size], vec![0f32; size]);
        for (i, v) in index.iter().zip(&values) {
            last[*i as usize] = *v;
            sums[*i as usize] += *v;
        }
        for threads in [1, 2, 3, 7] {
            let _turn = crate::testing::with_threads(threads);
            // The result's elements side by side, and three apart.
            for step in [1, 3] {
                let given = src(&values, &[n], &[1]);
                let spread = |v: &[f32]| -> Vec<f32> {
                    let mut all = vec![0f32; size * step];
                    all.iter_mut().step_by(step).zip(v).for_each(|(to, v)| *to = *v);
                    all
                };
                for (add, want) in [(false, &last), (true, &sums)] {
                    let mut to = vec![0f32; size * step];
                    let view = dst(&mut to, &[size], &[step as isize]);
                    index_put(view, &[view_of(&back, &[n])], given, add).unwrap();
                    assert!(to == spread(want), "put {size} {threads} {step} {add}");
                    let mut to = vec![0f32; size * step];
                    let (view, at) = (dst(&mut to, &[size], &[step as isize]), view_of(&index, &[n]));
                    if add {
                        scatter_reduce(view, 0, at, given, ScatterReduce::Sum, true, threads == 2).unwrap();
                    } else {
                        scatter(view, 0, at, Source::View(given), threads == 2).unwrap();
                    }
                    assert!(to == spread(want), "scatter {size} {threads} {step} {add}");
                }
            }
        }
    }
}
