//! Lines along a dim as sums of other lines, each with a few weights: interpolation, and its transpose.

use super::Real;
use crate::multiversion;
use crate::parallel;
use crate::reduce::walk::{Share, grain};

/// What each place of a dim is made of: for place `i` the sum of `weights[k]` times what is at `places[k]`, for the k of
/// `starts[i]..starts[i + 1]`, in that order.
pub struct Taps<T> {
    size: usize,
    starts: Vec<usize>,
    places: Vec<usize>,
    weights: Vec<T>,
}

impl<T: Real> Taps<T> {
    fn of_each(size: usize, rows: impl Iterator<Item = [(usize, T); 4]>, count: usize) -> Taps<T> {
        let mut taps = Taps {
            size,
            starts: vec![0],
            places: Vec::new(),
            weights: Vec::new(),
        };
        for row in rows {
            for &(place, weight) in &row[..count] {
                taps.places.push(place.min(size - 1));
                taps.weights.push(weight);
            }
            taps.starts.push(taps.places.len());
        }
        taps
    }

    /// Where, among `size` values, the centre of the `i`-th new one lies. With `align` the corners' centres stay.
    fn centre(i: usize, step: f64, align: bool) -> T {
        let i = T::c(i as f64);
        if align {
            i * T::c(step)
        } else {
            (i + T::c(0.5)) * T::c(step) - T::c(0.5)
        }
    }

    /// Between two neighbours; `size` is at least 1.
    pub fn linear(size: usize, new: usize, step: f64, align: bool) -> Taps<T> {
        let last = T::c((size - 1) as f64);
        let rows = (0..new).map(|i| {
            let at = Self::centre(i, step, align);
            let at = if at > T::ZERO { at } else { T::ZERO };
            let low = at.floor();
            let low = if low < last { low } else { last };
            let (place, share) = (low.to_i64() as usize, at - low);
            [(place, T::ONE - share), (place + 1, share), (0, T::ZERO), (0, T::ZERO)]
        });
        Self::of_each(size, rows, 2)
    }

    /// Cubic convolution over four neighbours (R. Keys, 1981) with a = -0.75; beyond the ends the outermost value.
    pub fn cubic(size: usize, new: usize, step: f64, align: bool) -> Taps<T> {
        let last = T::c((size - 1) as f64);
        let rows = (0..new).map(|i| {
            let at = Self::centre(i, step, align);
            let low = at.floor();
            let share = at - low;
            std::array::from_fn(|tap| {
                let tap = T::c(tap as f64 - 1.0);
                let place = low + tap;
                let place = if place > T::ZERO { place } else { T::ZERO };
                let place = if place < last { place } else { last };
                (place.to_i64() as usize, keys((share - tap).abs()))
            })
        });
        Self::of_each(size, rows, 4)
    }

    /// What each old place adds to: the derivative.
    pub fn transposed(&self) -> Taps<T> {
        let mut starts = vec![0; self.size + 1];
        for &p in &self.places {
            starts[p + 1] += 1;
        }
        for i in 0..self.size {
            starts[i + 1] += starts[i];
        }
        let mut next = starts.clone();
        let (mut places, mut weights) = (vec![0; self.places.len()], vec![T::ZERO; self.places.len()]);
        for i in 0..self.len() {
            for k in self.starts[i]..self.starts[i + 1] {
                let at = &mut next[self.places[k]];
                (places[*at], weights[*at]) = (i, self.weights[k]);
                *at += 1;
            }
        }
        Taps {
            size: self.len(),
            starts,
            places,
            weights,
        }
    }

    /// How many places it makes.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of taps, if it is the same for all places.
    fn each(&self) -> Option<usize> {
        let n = *self.starts.get(1)?;
        self.starts.windows(2).all(|w| w[1] - w[0] == n).then_some(n)
    }
}

fn keys<T: Real>(d: T) -> T {
    let a = T::c(-0.75);
    if d <= T::ONE {
        ((a + T::c(2.0)) * d - (a + T::c(3.0))) * d * d + T::ONE
    } else if d < T::c(2.0) {
        ((d - T::c(5.0)) * d + T::c(8.0)) * d * a - T::c(4.0) * a
    } else {
        T::ZERO
    }
}

/// `dst[o, i, :]` is the sum of lines of `src[o, :, :]` that `taps` names. Both are dense, `[outer, size, inner]`.
pub fn lines<T: Real>(src: &[T], taps: &Taps<T>, inner: usize, dst: &mut [T]) {
    let (n, size) = (taps.len(), taps.size);
    if dst.is_empty() || inner == 0 {
        return;
    }
    let outer = dst.len() / (n * inner);
    assert!(dst.len() == outer * n * inner && src.len() == outer * size * inner);
    assert!(taps.places.iter().all(|&p| p < size));
    let to = Share::new(dst.as_mut_ptr());
    if inner == 1 {
        let each = taps.each();
        return parallel::for_range(outer, grain(n.max(size)), |range| {
            for o in range {
                let from = &src[o * size..][..size];
                // SAFETY: the lengths were compared; threads write disjoint lines.
                let to = unsafe { std::slice::from_raw_parts_mut(to.at(o * n), n) };
                match each {
                    Some(2) => across_two(from, taps, to),
                    Some(4) => across_four(from, taps, to),
                    _ => across(from, taps, to),
                }
            }
        });
    }
    parallel::for_range(outer * n, grain(inner), |range| {
        let mut unit = range.start;
        while unit < range.end {
            let (o, first) = (unit / n, unit % n);
            let places = first..n.min(first + range.end - unit);
            let count = places.len();
            // SAFETY: as above.
            let to = unsafe { std::slice::from_raw_parts_mut(to.at(unit * inner), count * inner) };
            some(&src[o * size * inner..][..size * inner], taps, places, inner, to);
            unit += count;
        }
    });
}

multiversion! {
    /// The lines of some places.
    fn some<T: Real>(from: &[T], taps: &Taps<T>, places: std::ops::Range<usize>, inner: usize, to: &mut [T]) {
        for (i, to) in places.zip(to.chunks_exact_mut(inner)) {
            let k = taps.starts[i]..taps.starts[i + 1];
            let (lines, weights) = (&taps.places[k.clone()], &taps.weights[k]);
            match (lines, weights) {
                (&[a, b, ref lines @ ..], &[u, v, ref weights @ ..]) => {
                    two([line(from, a, inner), line(from, b, inner)], [u, v], to);
                    for (&a, &weight) in lines.iter().zip(weights) {
                        more(line(from, a, inner), weight, to);
                    }
                }
                (&[a], &[weight]) => one(line(from, a, inner), weight, to),
                _ => to.fill(T::ZERO),
            }
        }
    }
}

#[inline(always)]
fn line<T>(from: &[T], place: usize, inner: usize) -> &[T] {
    &from[place * inner..][..inner]
}

#[inline(always)]
fn one<T: Real>(a: &[T], weight: T, to: &mut [T]) {
    for (to, a) in to.iter_mut().zip(a) {
        *to = *a * weight;
    }
}

#[inline(always)]
fn two<T: Real>(rows: [&[T]; 2], weights: [T; 2], to: &mut [T]) {
    for ((to, a), b) in to.iter_mut().zip(rows[0]).zip(rows[1]) {
        *to = b.mul_add(weights[1], *a * weights[0]);
    }
}

#[inline(always)]
fn more<T: Real>(a: &[T], weight: T, to: &mut [T]) {
    for (to, a) in to.iter_mut().zip(a) {
        *to = a.mul_add(weight, *to);
    }
}

multiversion! {
    /// A line along the dim itself.
    fn across<T: Real>(from: &[T], taps: &Taps<T>, to: &mut [T]) {
        for (to, k) in to.iter_mut().zip(taps.starts.windows(2)) {
            let (places, weights) = (&taps.places[k[0]..k[1]], &taps.weights[k[0]..k[1]]);
            let mut sum = T::ZERO;
            for (k, (&p, &w)) in places.iter().zip(weights).enumerate() {
                sum = if k == 0 { from[p] * w } else { from[p].mul_add(w, sum) };
            }
            *to = sum;
        }
    }
}

/// As [`across`], with `K` taps for each place.
#[inline(always)]
fn even<T: Real, const K: usize>(from: &[T], taps: &Taps<T>, to: &mut [T]) {
    let (places, _) = taps.places.as_chunks::<K>();
    let (weights, _) = taps.weights.as_chunks::<K>();
    for ((to, places), weights) in to.iter_mut().zip(places).zip(weights) {
        let mut sum = from[places[0]] * weights[0];
        for k in 1..K {
            sum = from[places[k]].mul_add(weights[k], sum);
        }
        *to = sum;
    }
}

multiversion! {
    fn across_two<T: Real>(from: &[T], taps: &Taps<T>, to: &mut [T]) {
        even::<T, 2>(from, taps, to)
    }
}

multiversion! {
    fn across_four<T: Real>(from: &[T], taps: &Taps<T>, to: &mut [T]) {
        even::<T, 4>(from, taps, to)
    }
}
