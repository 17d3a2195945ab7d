//! Numbers at equal distances.

use super::convert::{Rect, storer};
use super::walk::GRAIN;
use crate::dtype::DType;
use crate::multiversion;
use crate::parallel::for_range;
use crate::reduce::walk::Share;
use crate::simd::cache::stream;
use crate::simd::prefetch_write;
use crate::view::AnyDst;

/// What the elements of a vector are.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Ramp {
    /// `start + i·step`, wrapping.
    Ints {
        start: i64,
        step: i64,
    },
    Floats {
        start: f64,
        step: f64,
    },
    /// From `start` to `end`, each half counted from its own end, so that the last element is exactly `end`.
    Between {
        start: f64,
        end: f64,
    },
}

const BLOCK: usize = 512;

/// Writes a ramp to a view of rank 1; what is not an integer is cut off where it does not fit the dtype.
pub fn ramp(dst: AnyDst, of: Ramp) {
    let (n, step) = (dst.shape()[0], dst.strides()[0]);
    let (kind, size) = match of {
        Ramp::Ints { .. } => (DType::I64, dst.dtype().size() as isize),
        _ => (DType::F64, dst.dtype().size() as isize),
    };
    let (store, to) = (storer(kind, dst.dtype()), Share::new(dst.ptr()));
    if let (Ramp::Ints { start, step: by }, DType::I64, 1) = (of, dst.dtype(), step) {
        return for_range(n, GRAIN, |range| {
            let first = start.wrapping_add((range.start as i64).wrapping_mul(by));
            // SAFETY: elements of the view side by side, which threads share by parts.
            let to = unsafe { std::slice::from_raw_parts_mut(to.get().cast::<i64>().add(range.start), range.len()) };
            count_far(first, by, to);
        });
    }
    for_range(n, GRAIN, |range| {
        let (mut ints, mut floats) = ([0i64; BLOCK], [0f64; BLOCK]);
        for first in range.clone().step_by(BLOCK) {
            let len = BLOCK.min(range.end - first);
            let from = match of {
                Ramp::Ints { start, step } => {
                    count(
                        start.wrapping_add((first as i64).wrapping_mul(step)),
                        step,
                        &mut ints[..len],
                    );
                    ints.as_ptr().cast::<u8>()
                }
                Ramp::Floats { start, step } => {
                    along(start, step, first, &mut floats[..len]);
                    floats.as_ptr().cast()
                }
                Ramp::Between { start, end } => {
                    let step = if n > 1 { (end - start) / (n - 1) as f64 } else { 0.0 };
                    let half = if n == 1 { 1 } else { n.div_ceil(2) };
                    let (front, back) = floats[..len].split_at_mut(half.saturating_sub(first).min(len));
                    along(start, step, first, front);
                    back_from(end, step, n - 1 - first.max(half).min(n - 1), back);
                    floats.as_ptr().cast()
                }
            };
            let rect = Rect {
                rows: 1,
                row_stride: 0,
                cols: len,
                col_stride: step,
            };
            // SAFETY: `len` elements of the block and of the view, which threads share by parts.
            unsafe { store(from, to.get().offset(first as isize * step * size), rect) };
        }
    });
}

/// The rows' and then the columns' numbers of the places of a matrix that lie up to the diagonal `offset`, or from it on, row
/// by row; as many of them as `to` holds.
pub fn triangle([rows, columns]: [i64; 2], offset: i64, upper: bool, to: &mut [i64]) {
    let n = to.len() / 2;
    let (mut of_rows, mut of_columns) = to.split_at_mut(n);
    // The first row with a place.
    let first = if upper { 0 } else { offset.saturating_neg().max(0) };
    for row in first..rows {
        let diagonal = row.saturating_add(offset);
        let places = if upper {
            diagonal.clamp(0, columns)..columns
        } else {
            0..diagonal.saturating_add(1).clamp(0, columns)
        };
        let len = ((places.end - places.start) as usize).min(of_rows.len());
        if len == 0 {
            return;
        }
        let (here, rest) = of_rows.split_at_mut(len);
        here.fill(row);
        of_rows = rest;
        let (here, rest) = of_columns.split_at_mut(len);
        count(places.start, 1, here);
        of_columns = rest;
    }
}

multiversion! {
    fn count(start: i64, step: i64, to: &mut [i64]) {
        for (i, to) in to.iter_mut().enumerate() {
            *to = start.wrapping_add((i as i64).wrapping_mul(step));
        }
    }
}

/// So many bytes ahead lines are asked for that will be written: the processor finds them by itself only as far as the end
/// of a page.
const AHEAD: usize = 4096;

multiversion! {
    /// As [`count`], for rows that memory bounds.
    fn count_far(start: i64, step: i64, to: &mut [i64]) {
        let (end, by) = (to.as_ptr_range().end.cast::<u8>(), stream(AHEAD));
        let mut first = start;
        for to in to.chunks_mut(64) {
            let ahead = to.as_ptr().cast::<u8>().wrapping_add(by);
            if ahead < end {
                for line in 0..8 {
                    prefetch_write(ahead.wrapping_add(64 * line));
                }
            }
            for (i, to) in to.iter_mut().enumerate() {
                *to = first.wrapping_add((i as i64).wrapping_mul(step));
            }
            first = first.wrapping_add(step.wrapping_mul(64));
        }
    }
}

multiversion! {
    fn along(start: f64, step: f64, first: usize, to: &mut [f64]) {
        for (i, to) in to.iter_mut().enumerate() {
            *to = start + (first + i) as f64 * step;
        }
    }
}

multiversion! {
    /// `left` steps before the end, and ever fewer.
    fn back_from(end: f64, step: f64, left: usize, to: &mut [f64]) {
        for (i, to) in to.iter_mut().enumerate() {
            *to = end - step * (left as f64 - i as f64);
        }
    }
}
