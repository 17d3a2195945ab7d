//! Copies of rows.

use firesteel_kernels::internals::rows::{copy_rows, copy_rows_at};

#[test]
fn rows_of_all_sizes() {
    for n in [0usize, 1, 7, 8, 15, 16, 17, 63, 64, 65, 127, 1000, 4095, 4096, 5000] {
        for (rows, read, written) in [(1, 0, 0), (9, 0, 3), (9, 5, 0), (40, 64, 1)] {
            let steps = [n + read, n + written];
            let from: Vec<u8> = (0..rows * steps[0]).map(|i| (i * 31 % 251) as u8).collect();
            let mut to = vec![255u8; rows * steps[1] + 1];
            let places: Vec<isize> = (0..rows).map(|r| ((rows - 1 - r) * steps[0]) as isize).collect();
            let mut turned = vec![255u8; to.len()];
            let (at, step) = (from.as_ptr(), steps[1] as isize);
            // SAFETY: the vectors hold the rows.
            unsafe {
                copy_rows(at, to.as_mut_ptr(), rows, n, steps.map(|s| s as isize));
                copy_rows_at(at, &places, turned.as_mut_ptr(), step, n, written == 1);
            }
            for (i, (a, b)) in to.iter().zip(&turned).enumerate() {
                let (row, at) = (i / steps[1].max(1), i % steps[1].max(1));
                let inside = row < rows && at < n;
                let of = |row: usize| if inside { from[row * steps[0] + at] } else { 255 };
                let want = if inside {
                    (of(row), of(rows - 1 - row))
                } else {
                    (255, 255)
                };
                assert_eq!((*a, *b), want, "{rows} rows of {n}, {steps:?}, at {i}");
            }
        }
    }
}
