//! Maxima of windows of any size, with their places where wanted; the gradient adds to these, one by one.

use super::*;

/// The largest so far: the first of equals, NaN where there was one; and its place, less the lane's first column.
#[derive(Clone, Copy)]
pub(super) struct Best<V: Sixteen> {
    pub value: V::F,
    pub nan: V::W,
    pub at: V::I,
}

impl<V: Sixteen> Best<V> {
    /// The next tap. `P`: with its place; else NaN is only noted.
    #[inline(always)]
    pub fn take<const P: bool>(&mut self, v: V, x: V::F, place: i32) {
        if P {
            let replaces = v.either(v.greater(x, self.value), v.unordered(x, x));
            self.value = v.choose(replaces, x, self.value);
            self.at = v.choose_place(replaces, v.place(place), self.at);
        } else {
            self.value = v.max(x, self.value);
            self.nan = v.either(self.nan, v.unordered(x, x));
        }
    }

    /// Two taps.
    #[inline(always)]
    pub fn take_two<const P: bool>(&mut self, v: V, [x, y]: [V::F; 2], place: i32) {
        if P {
            self.take::<P>(v, x, place);
            self.take::<P>(v, y, place + 1);
        } else {
            self.value = v.max(y, v.max(x, self.value));
            self.nan = v.either(self.nan, v.unordered(x, y));
        }
    }
}

/// Maxima of vector `vector` of the outputs whose windows have the rows `wd` and `wh`.
///
/// # Safety
/// The plane lies in live memory.
#[inline(always)]
unsafe fn best<V: Sixteen, const S: usize, const K: usize, const P: bool>(
    v: V,
    a: &Wide,
    x: *const f32,
    wd: &Window,
    wh: &Window,
    vector: usize,
) -> Best<V> {
    let [_, height, width] = a.size;
    let kernel = if K == 0 { a.kernel } else { K };
    let fill = v.splat(f32::NEG_INFINITY);
    let mut best = Best {
        value: fill,
        nan: v.nowhere(),
        at: v.place(0),
    };
    if P {
        let first = ((wd.start * height + wh.start) * width) as i32;
        // SAFETY: `starts` has whole vectors.
        let starts = unsafe { v.load_places(a.starts.as_ptr().add(vector * N)) };
        best.at = v.move_places(starts, v.place(first));
    }
    let columns = a.columns.as_ptr().wrapping_add(vector * kernel);
    for d in 0..wd.len {
        for h in 0..wh.len {
            let (d, h) = (wd.start + d * wd.step, wh.start + h * wh.step);
            let row = x.wrapping_offset(a.strides.at(d, h, 0));
            let place = ((d * height + h) * width) as i32 - a.padding as i32;
            // SAFETY: `kernel` columns for each vector; masks keep loads inside the row.
            unsafe {
                if K == 2 || K == 3 {
                    let first = pair::<V, S>(v, row, &*columns, fill);
                    best.take_two::<P>(v, [even::<V, S>(v, first), v.odd(first[0], first[1])], place);
                    if K == 3 {
                        let last = pair::<V, S>(v, row, &*columns.add(2), fill);
                        best.take::<P>(v, even::<V, S>(v, last), place + 2);
                    }
                } else {
                    for k in 0..kernel {
                        let x = even::<V, S>(v, pair::<V, S>(v, row, &*columns.add(k), fill));
                        best.take::<P>(v, x, place + (k * a.dilation) as i32);
                    }
                }
            }
        }
    }
    if !P {
        best.value = v.choose(best.nan, v.splat(f32::NAN), best.value);
    }
    best
}

/// # Safety
/// As for the method of [`Wide`] that calls it.
#[inline(always)]
pub(super) unsafe fn plane<V: Sixteen, const S: usize, const K: usize, const P: bool>(
    v: V,
    a: &Wide,
    x: *const f32,
    y: *mut f32,
    places: *mut i64,
) {
    let outputs = a.windows[2].len();
    let mut left = a.windows[0].len() * a.windows[1].len() * outputs;
    let (mut y, mut places) = (y, places);
    for wd in &a.windows[0] {
        for wh in &a.windows[1] {
            a.ahead(x, wd, wh);
            for vector in 0..outputs.div_ceil(N) {
                let n = N.min(outputs - vector * N);
                // SAFETY: the caller's promise.
                unsafe {
                    let best = best::<V, S, K, P>(v, a, x, wd, wh, vector);
                    store(v, y, best.value, n, left);
                    if P {
                        let at = absolute::<V, S>(v, best.at, vector);
                        if left >= N {
                            v.store_long(places, at);
                        } else {
                            let mut all = [0; N];
                            v.store_long(all.as_mut_ptr(), at);
                            std::slice::from_raw_parts_mut(places, n).copy_from_slice(&all[..n]);
                        }
                        places = places.add(n);
                    }
                    y = y.add(n);
                }
                left -= n;
            }
        }
    }
}

/// # Safety
/// As for the method of [`Wide`] that calls it.
#[inline(always)]
pub(super) unsafe fn input<V: Sixteen, const S: usize, const K: usize>(
    v: V,
    a: &Wide,
    x: *const f32,
    g: *const f32,
    gx: *mut f32,
) {
    let outputs = a.windows[2].len();
    let vectors = outputs.div_ceil(N);
    let rows = a.windows[0].len() * a.windows[1].len();
    let size: usize = a.size.iter().product();
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts_mut(gx, size).fill(0.0) };
    // All places first: added up at once, the sums would wait for them.
    let mut places = vec![0i32; rows * vectors * N];
    let mut to = places.as_mut_ptr();
    for wd in &a.windows[0] {
        for wh in &a.windows[1] {
            a.ahead(x, wd, wh);
            for vector in 0..vectors {
                // SAFETY: the caller's promise; a vector's place for each.
                unsafe {
                    let best = best::<V, S, K, true>(v, a, x, wd, wh, vector);
                    v.store_places(to, absolute::<V, S>(v, best.at, vector));
                    to = to.add(N);
                }
            }
        }
    }
    for (row, places) in places.chunks_exact(vectors * N).enumerate() {
        for (j, &place) in places[..outputs].iter().enumerate() {
            // A window may have no element at all.
            if (place as usize) < size {
                // SAFETY: inside both planes.
                unsafe { *gx.add(place as usize) += *g.add(row * outputs + j) };
            }
        }
    }
}

/// Places in the plane, from those less the lanes' first columns.
#[inline(always)]
fn absolute<V: Sixteen, const S: usize>(v: V, at: V::I, vector: usize) -> V::I {
    const ONE: [i32; N] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    const TWO: [i32; N] = [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30];
    // SAFETY: sixteen places.
    let lanes = unsafe { v.load_places(if S == 1 { &ONE } else { &TWO }.as_ptr()) };
    v.move_places(at, v.move_places(lanes, v.place((S * vector * N) as i32)))
}
