//! Gated recurrent units (Cho et al., arXiv 1406.1078) as PyTorch has them: gates in the order reset, update, new.

use super::{LANES, PANEL, Packed, RnnElement, RnnShape, Steps, Wanted, get, put, rows_of};
use crate::elementwise::float::Float;
use crate::multiversion;
use std::ops::Range;

/// Outputs of all steps, and what the backward pass needs: reset, update, new and the state's part of new, `[t, n, 4h]`.
/// `gates` `[t, n, 3h]` holds the input's part with its bias, `weight` is `[3h, h]`, `bias` `[3h]` that of the state's
/// part, `h` `[n, h]` the first state.
pub fn gru_forward<T: RnnElement>(
    s: RnnShape,
    gates: &[T],
    h: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    [out, acts]: [&mut [T]; 2],
) {
    let size = s.hidden;
    s.check(&[
        (gates.len(), s.all(3 * size)),
        (acts.len(), s.all(4 * size)),
        (out.len(), s.all(size)),
        (h.len(), s.rows * size),
        (weight.len(), 3 * size * size),
        (bias.map_or(3 * size, |b| b.len()), 3 * size),
        (s.state, size),
    ]);
    if size == 0 {
        return;
    }
    let (out, acts) = (Steps::of(out, s.rows, size), Steps::of(acts, s.rows, 4 * size));
    let step = T::gru_step();
    let walk = |packed: &Packed<T>, rows: Range<usize>| {
        let mut mapped = vec![T::default(); rows.len() * 3 * size];
        for t in s.order() {
            // SAFETY: each thread has its own rows, and this step's are borrowed apart from those of the one before.
            let (y, act) = unsafe { (out.rows(t, &rows), acts.rows(t, &rows)) };
            // SAFETY: as above.
            let before: &[T] = match s.before(t) {
                Some(b) => unsafe { out.rows(b, &rows) },
                None => rows_of(h, s, size, 0, &rows),
            };
            match bias {
                Some(b) => mapped.chunks_exact_mut(3 * size).for_each(|row| row.copy_from_slice(b)),
                None => mapped.fill(T::default()),
            }
            let wanted = &mut Wanted::of(act, (3 * size).div_ceil(PANEL) * packed.tiles(rows.len()).count);
            packed.multiply_rows(before, &mut mapped, 3 * size, true, None, wanted);
            step(size, rows_of(gates, s, 3 * size, t, &rows), &mapped, before, [act, y]);
        }
    };
    Packed::with(weight, 3 * size, size, true, |packed| {
        s.for_rows(3 * size, |rows| walk(packed, rows))
    });
}

/// Activates the gates of a step, the input's part and the state's: writes what the derivative needs, and the outputs.
pub type StepFn<T> = fn(usize, &[T], &[T], &[T], [&mut [T]; 2]);

multiversion! {
    pub fn step<T: Float>(size: usize, gates: &[T], mapped: &[T], before: &[T], to: [&mut [T]; 2]) {
        let [acts, out] = to;
        let rows = gates.chunks_exact(3 * size).zip(mapped.chunks_exact(3 * size));
        let to = acts.chunks_exact_mut(4 * size).zip(out.chunks_exact_mut(size));
        for (((x, m), before), (act, out)) in rows.zip(before.chunks_exact(size)).zip(to) {
            let (xr, xz, xn) = (&x[..size], &x[size..2 * size], &x[2 * size..]);
            let (mr, mz, mn) = (&m[..size], &m[size..2 * size], &m[2 * size..]);
            let (r, rest) = act.split_at_mut(size);
            let (z, rest) = rest.split_at_mut(size);
            let (n, hn) = rest.split_at_mut(size);
            for at in (0..size).step_by(LANES) {
                let [mut a, mut b, mut c] = [get(xr, at), get(xz, at), get(xn, at)];
                let (mr, mz, mn, mut h) = (get(mr, at), get(mz, at), get(mn, at), get(before, at));
                for j in 0..LANES {
                    a[j] = (a[j] + mr[j]).sigmoid();
                    b[j] = (b[j] + mz[j]).sigmoid();
                    c[j] = a[j].mul_add(mn[j], c[j]).tanh();
                    h[j] = b[j].mul_add(h[j] - c[j], c[j]);
                }
                put(r, at, a);
                put(z, at, b);
                put(n, at, c);
                put(hn, at, mn);
                put(out, at, h);
            }
        }
    }
}

/// Gradients of the input's part `[t, n, 3h]`, of the state's part (the same but for new), and of the first state.
pub fn gru_backward<T: RnnElement>(
    s: RnnShape,
    grad_out: &[T],
    h: &[T],
    weight: &[T],
    [out, acts]: [&[T]; 2],
    [grad_gates, grad_mapped, grad_h]: [&mut [T]; 3],
) {
    let size = s.hidden;
    s.check(&[
        (grad_gates.len(), s.all(3 * size)),
        (grad_mapped.len(), s.all(3 * size)),
        (acts.len(), s.all(4 * size)),
        (out.len(), s.all(size)),
        (grad_out.len(), s.all(size)),
        (h.len(), s.rows * size),
        (grad_h.len(), s.rows * size),
        (weight.len(), 3 * size * size),
        (s.state, size),
    ]);
    if size == 0 {
        return;
    }
    let [gates, mapped] = [grad_gates, grad_mapped].map(|x| Steps::of(x, s.rows, 3 * size));
    let to_h = Steps::of(grad_h, s.rows, size);
    let walk = |packed: &Packed<T>, rows: Range<usize>| {
        // SAFETY: each thread has its own rows.
        let dh = unsafe { to_h.rows(0, &rows) };
        dh.fill(T::default());
        for t in s.order().rev() {
            dh.iter_mut()
                .zip(rows_of(grad_out, s, size, t, &rows))
                .for_each(|(a, &b)| *a = *a + b);
            // SAFETY: as above.
            let (to_x, to_m) = unsafe { (gates.rows(t, &rows), mapped.rows(t, &rows)) };
            let before = s
                .before(t)
                .map_or(rows_of(h, s, size, 0, &rows), |b| rows_of(out, s, size, b, &rows));
            step_back(size, rows_of(acts, s, 4 * size, t, &rows), before, dh, to_x, to_m);
            packed.multiply(to_m, dh, true);
        }
    };
    Packed::with(weight, 3 * size, size, false, |packed| {
        s.for_rows(3 * size, |rows| walk(packed, rows))
    });
}

multiversion! {
    /// Gradients of one step: `dh` becomes the part that reaches the state before past the gates.
    fn step_back<T: Float>(size: usize, acts: &[T], before: &[T], dh: &mut [T], to_x: &mut [T], to_m: &mut [T]) {
        let rows = acts.chunks_exact(4 * size).zip(before.chunks_exact(size)).zip(dh.chunks_exact_mut(size));
        let to = to_x.chunks_exact_mut(3 * size).zip(to_m.chunks_exact_mut(3 * size));
        for (((act, before), dh), (to_x, to_m)) in rows.zip(to) {
            let (r, z, n, hn) = (&act[..size], &act[size..2 * size], &act[2 * size..3 * size], &act[3 * size..]);
            let (xr, rest) = to_x.split_at_mut(size);
            let (xz, xn) = rest.split_at_mut(size);
            let (mr, rest) = to_m.split_at_mut(size);
            let (mz, mn) = rest.split_at_mut(size);
            for at in (0..size).step_by(LANES) {
                let [r, z, n, hn] = [get(r, at), get(z, at), get(n, at), get(hn, at)];
                let (before, mut d) = (get(before, at), get(dh, at));
                let [mut dr, mut dz, mut dn, mut dm] = [[T::ZERO; LANES]; 4];
                for j in 0..LANES {
                    dn[j] = d[j] * (T::ONE - z[j]) * (T::ONE - n[j] * n[j]);
                    dz[j] = d[j] * (before[j] - n[j]) * z[j] * (T::ONE - z[j]);
                    dr[j] = dn[j] * hn[j] * r[j] * (T::ONE - r[j]);
                    dm[j] = dn[j] * r[j];
                    d[j] = d[j] * z[j];
                }
                put(xr, at, dr);
                put(mr, at, dr);
                put(xz, at, dz);
                put(mz, at, dz);
                put(xn, at, dn);
                put(mn, at, dm);
                put(dh, at, d);
            }
        }
    }
}
