//! Batch norm where channels lie side by side: `[n, c]`, and images whose channels are innermost.

use super::channel::{Coefficients, apply};
use super::sweep::{CHAIN, Columns, HasSweeps, far, variance};
use crate::parallel;
use crate::reduce::walk::{Share, grain};
use crate::simd::cache::first_is_small;
use crate::view::{Dst, Src};

/// Rows whose sums are made in one go, and columns; the former's borders are part of the order of additions.
const PART: usize = 512;
const STRIP: usize = 512;
/// Rows that are asked for ahead where the first-level cache is small: a whole chain's would not stay in it.
const SOON: usize = 8;
/// Fewer channels are not worth a row.
const FEWEST: usize = 16;

/// `[n, c, s]` as rows of c elements, in up to three views.
pub(super) struct Sides {
    rows: usize,
    channels: usize,
    steps: [isize; 3],
}

impl Sides {
    /// Where in all views a row's elements are contiguous and rows equally far apart.
    pub(super) fn of(shape: &[usize], strides: [&[isize]; 3]) -> Option<Self> {
        let [n, c, s] = [shape[0], shape[1], shape[2]];
        let steps = strides.map(|t| if s == 1 { t[0] } else { t[2] });
        let even = strides
            .iter()
            .all(|t| t[1] == 1 && (n == 1 || s == 1 || t[0] == s as isize * t[2]));
        (even && c >= FEWEST && n * s > 0).then_some(Self {
            rows: n * s,
            channels: c,
            steps,
        })
    }

    /// What the coefficients say.
    pub(super) fn apply<T: HasSweeps>(&self, x: &Src<T>, g: Option<&Src<T>>, y: &Dst<T>, k: &Coefficients<T>) {
        let shape = [self.rows, self.channels, 1];
        let strides = self.steps.map(|s| [s, 1, 1]);
        // SAFETY: the elements of the views, of which these are others.
        unsafe {
            let x = Src::new(x.ptr(), &shape, &strides[0]);
            let g = g.map(|g| Src::new(g.ptr(), &shape, &strides[1]));
            apply(&x, g.as_ref(), &Dst::new(y.ptr(), &shape, &strides[2]), k);
        }
    }

    /// Per column the two sums that `sweep` makes of rows `0..rows`: parts of [`PART`] rows, added in order.
    fn sums<T: HasSweeps>(
        &self,
        sweep: unsafe fn(&Columns<T>),
        x: &Src<T>,
        g: &Src<T>,
        center: &[T],
        rows: usize,
    ) -> Vec<[f64; 2]> {
        let (parts, strips) = (rows.div_ceil(PART), self.channels.div_ceil(STRIP));
        let mut sums = vec![0.0; parts * 2 * self.channels];
        let to = Share::new(sums.as_mut_ptr());
        let (from, grad, center) = (
            Share::new(x.ptr().cast_mut()),
            Share::new(g.ptr().cast_mut()),
            Share::new(center.as_ptr().cast_mut()),
        );
        let later = if first_is_small() { SOON } else { CHAIN };
        let work = PART.min(rows) * STRIP.min(self.channels);
        parallel::for_range(parts * strips, grain(2 * work), |range| {
            for job in range {
                let (part, first) = (job / strips, job % strips * STRIP);
                let at = |step: isize| (part * PART) as isize * step + first as isize;
                let list = |i: usize| to.get().wrapping_add((2 * part + i) * self.channels + first);
                // SAFETY: rows and columns of the views, and lists of this job's own.
                unsafe {
                    sweep(&Columns {
                        x: from.get().wrapping_offset(at(self.steps[0])),
                        g: grad.get().wrapping_offset(at(self.steps[1])),
                        steps: [self.steps[0], self.steps[1]],
                        rows: PART.min(rows - part * PART),
                        len: STRIP.min(self.channels - first),
                        later,
                        center: center.get().wrapping_add(first),
                        sums: [list(0), list(1)],
                    });
                }
            }
        });
        let mut all = vec![[0.0; 2]; self.channels];
        for part in sums.chunks_exact(2 * self.channels) {
            let (first, second) = part.split_at(self.channels);
            for (all, (first, second)) in all.iter_mut().zip(first.iter().zip(second)) {
                all[0] += first;
                all[1] += second;
            }
        }
        all
    }
}

/// Means and variances of the columns. One sweep over distances from the first rows' means; where these are far from the
/// means of all, another.
pub(super) fn moments<T: HasSweeps>(sides: &Sides, x: &Src<T>) -> Vec<[f64; 2]> {
    let sweep = T::sweeps().column_squares;
    let (few, count) = (CHAIN.min(sides.rows), sides.rows as f64);
    let zero = vec![T::ZERO; sides.channels];
    let begin = sides.sums(sweep, x, x, &zero, few);
    let mut center: Vec<T> = begin.iter().map(|s| T::from_f64(s[0] / few as f64)).collect();
    let of_all = |center: &[T]| {
        let sums = sides.sums(sweep, x, x, center, sides.rows);
        sums.into_iter().map(|s| s.map(|v| v / count)).collect::<Vec<_>>()
    };
    let mut sums = of_all(&center);
    if sums.iter().any(|s| far(*s)) {
        for (center, s) in center.iter_mut().zip(&sums) {
            *center = T::from_f64(center.to_f64() + s[0]);
        }
        sums = of_all(&center);
    }
    let both = |(c, [rest, squares]): (&T, [f64; 2])| [c.to_f64() + rest, variance(squares, rest)];
    center.iter().zip(sums).map(both).collect()
}

/// Per column the sums of `g` and of `g * (x - mean)`.
pub(super) fn dots<T: HasSweeps>(sides: &Sides, x: &Src<T>, g: &Src<T>, mean: &[T]) -> Vec<[f64; 2]> {
    sides.sums(T::sweeps().column_dots, x, g, mean, sides.rows)
}
