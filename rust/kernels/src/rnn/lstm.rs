//! Long short-term memory (Hochreiter and Schmidhuber, 1997), gates in PyTorch's order: input, forget, cell, output.

use super::{LANES, PANEL, Packed, RnnElement, RnnShape, Steps, Wanted, get, put, rows_of};
use crate::elementwise::float::Float;
use crate::gemm::{Scratch, with_scratch};
use crate::multiversion;
use std::ops::Range;

/// What a layer's gates begin with, `[t, n, 4h]`: the input's part with both biases.
#[derive(Clone, Copy, Debug)]
pub enum Gates<'a, T> {
    /// As it is.
    Made(&'a [T]),
    /// `input` `[t, n, size]`, mapped by `weight` `[4h, size]`.
    Of {
        input: &'a [T],
        weight: &'a [T],
        bias: Option<&'a [T]>,
        size: usize,
    },
}

impl<T: RnnElement> Gates<'_, T> {
    fn check(&self, s: RnnShape) {
        let width = 4 * s.hidden;
        match *self {
            Gates::Made(gates) => s.check(&[(gates.len(), s.all(width))]),
            Gates::Of {
                input,
                weight,
                bias,
                size,
            } => s.check(&[
                (input.len(), s.all(size)),
                (weight.len(), width * size),
                (bias.map_or(width, |b| b.len()), width),
            ]),
        }
    }
}

/// Rows whose gates are begun at once: enough for tall tiles of the product, few enough to stay in the cache.
const BEGUN: usize = 64;

/// Outputs and cells of all steps, and the gates after their activation. `weight` is `[4h, state]`, `h` `[n, state]` and
/// `c` `[n, h]` the first state.
pub fn lstm_forward<T: RnnElement>(
    s: RnnShape,
    gates: Gates<T>,
    [h, c]: [&[T]; 2],
    weight: &[T],
    [out, cells, acts]: [&mut [T]; 3],
) {
    let (size, width) = (s.hidden, 4 * s.hidden);
    gates.check(s);
    s.check(&[
        (acts.len(), s.all(width)),
        (out.len(), s.all(size)),
        (cells.len(), s.all(size)),
        (h.len(), s.rows * s.state),
        (c.len(), s.rows * size),
        (weight.len(), width * s.state),
    ]);
    if size == 0 {
        return;
    }
    let [out, cells] = [out, cells].map(|x| Steps::of(x, s.rows, size));
    let acts = Steps::of(acts, s.rows, width);
    let step = T::lstm_step();
    // One line of the cache more than a power of two, so that rows do not push each other out.
    let ld = width.next_multiple_of(LANES) + LANES;
    let walk = |packed: &Packed<T>, of_input: Option<&Packed<T>>, rows: Range<usize>, scratch: &mut Scratch| {
        let m = rows.len();
        let at_once = if m == s.rows {
            (BEGUN / m.max(1)).min(s.steps).max(1)
        } else {
            1
        };
        let begun = at_once * m * ld;
        // SAFETY: as many numbers are reserved.
        let begun = unsafe { std::slice::from_raw_parts_mut(scratch.reserve::<T>(begun), begun) };
        let mut steps = 0..0;
        for t in s.order() {
            // SAFETY: each thread has its own rows, and this step's are borrowed apart from those of the one before.
            let (act, y, cell) = unsafe { (acts.rows(t, &rows), out.rows(t, &rows), cells.rows(t, &rows)) };
            // SAFETY: as above.
            let (before_h, before_c): (&[T], &[T]) = match s.before(t) {
                Some(b) => unsafe { (out.rows(b, &rows), cells.rows(b, &rows)) },
                None => (rows_of(h, s, s.state, 0, &rows), rows_of(c, s, size, 0, &rows)),
            };
            let begins = !steps.contains(&t);
            if begins {
                steps = match s.reverse {
                    true => (t + 1).saturating_sub(at_once)..t + 1,
                    false => t..s.steps.min(t + at_once),
                };
            }
            // Several steps only where a thread has all rows, which then follow each other.
            let first = steps.start * s.rows + rows.start;
            let all = &mut begun[..steps.len() * m * ld];
            let tiles = width.div_ceil(PANEL) * packed.tiles(m).count;
            match (gates, of_input) {
                (Gates::Of { input, bias, size, .. }, Some(map)) if size > 0 && at_once == 1 => {
                    let mut wanted = Wanted::of(act, 2 * tiles);
                    // Panel by panel, whose sums stay in the first-level cache.
                    for j in (0..width).step_by(PANEL) {
                        let x = &input[first * size..][..m * size];
                        map.multiply_panel(j, x, all, ld, false, bias, &mut wanted);
                        packed.multiply_panel(j, before_h, all, ld, true, None, &mut wanted);
                    }
                }
                _ => {
                    if begins {
                        begin(gates, of_input, first, width, (&mut *all, ld));
                    }
                    let x = &mut all[(t - steps.start) * m * ld..][..m * ld];
                    packed.multiply_rows(before_h, x, ld, true, None, &mut Wanted::of(act, tiles));
                }
            }
            let x = &all[(t - steps.start) * m * ld..][..m * ld];
            step(size, (x, ld), before_c, [act, cell, y]);
        }
    };
    Packed::with(weight, width, s.state, true, |packed| {
        let all = |map: Option<&Packed<T>>| {
            s.for_rows(width, |rows| {
                with_scratch(|[scratch, ..]| walk(packed, map, rows, scratch))
            });
        };
        match gates {
            Gates::Made(_) => all(None),
            Gates::Of { weight, size, .. } => Packed::with(weight, width, size, true, |map| all(Some(map))),
        }
    });
}

/// Writes the input's part of the gates from row `first` of all steps on, to rows as far apart as said.
fn begin<T: RnnElement>(
    gates: Gates<T>,
    map: Option<&Packed<T>>,
    first: usize,
    width: usize,
    (to, ld): (&mut [T], usize),
) {
    match (gates, map) {
        (Gates::Made(gates), _) => {
            let from = gates[first * width..].chunks_exact(width);
            to.chunks_exact_mut(ld)
                .zip(from)
                .for_each(|(to, from)| to[..width].copy_from_slice(from));
        }
        (Gates::Of { input, bias, size, .. }, Some(map)) if size > 0 => {
            let rows = to.len() / ld;
            let nothing = &mut Wanted::of::<T>(&[], 1);
            map.multiply_rows(&input[first * size..][..rows * size], to, ld, false, bias, nothing);
        }
        (Gates::Of { bias, .. }, _) => to.chunks_exact_mut(ld).for_each(|to| match bias {
            Some(bias) => to[..width].copy_from_slice(bias),
            None => to.fill(T::default()),
        }),
    }
}

/// Activates the gates of a step, whose rows are as far apart as said: writes them, the cells and the outputs.
pub type StepFn<T> = fn(usize, (&[T], usize), &[T], [&mut [T]; 3]);
/// Of the hidden size, activations, cells after and before, and the outputs' gradient; makes the cell's and the gates'.
pub type BackFn<T> = fn(usize, &[T], &[&[T]; 2], &[T], [&mut [T]; 2]);

multiversion! {
    pub fn step<T: Float>(size: usize, gates: (&[T], usize), before: &[T], to: [&mut [T]; 3]) {
        let [acts, cell, out] = to;
        let rows = gates.0.chunks_exact(gates.1).zip(before.chunks_exact(size));
        let to = acts.chunks_exact_mut(4 * size).zip(cell.chunks_exact_mut(size).zip(out.chunks_exact_mut(size)));
        for ((gates, before), (act, (cell, out))) in rows.zip(to) {
            let (i, f) = (&gates[..size], &gates[size..2 * size]);
            let (g, o) = (&gates[2 * size..3 * size], &gates[3 * size..4 * size]);
            let (to_i, rest) = act.split_at_mut(size);
            let (to_f, rest) = rest.split_at_mut(size);
            let (to_g, to_o) = rest.split_at_mut(size);
            for at in (0..size).step_by(LANES) {
                let [mut a, mut b, mut x, mut y] = [get(i, at), get(f, at), get(g, at), get(o, at)];
                let (mut c, mut h) = (get(before, at), [T::ZERO; LANES]);
                for j in 0..LANES {
                    a[j] = a[j].sigmoid();
                    b[j] = b[j].sigmoid();
                    x[j] = x[j].tanh();
                    y[j] = y[j].sigmoid();
                    c[j] = b[j].mul_add(c[j], a[j] * x[j]);
                    h[j] = y[j] * c[j].tanh();
                }
                put(to_i, at, a);
                put(to_f, at, b);
                put(to_g, at, x);
                put(to_o, at, y);
                put(cell, at, c);
                put(out, at, h);
            }
        }
    }
}

/// Gradients of the gates `[t, n, 4h]` (before their activation) and of the first state, from those of the outputs and of
/// the last cell (either may be missing).
pub fn lstm_backward<T: RnnElement>(
    s: RnnShape,
    [grad_out, grad_cell]: [Option<&[T]>; 2],
    c: &[T],
    weight: &[T],
    [cells, acts]: [&[T]; 2],
    [grad_gates, grad_h, grad_c]: [&mut [T]; 3],
) {
    let size = s.hidden;
    s.check(&[
        (grad_gates.len(), s.all(4 * size)),
        (acts.len(), s.all(4 * size)),
        (cells.len(), s.all(size)),
        (grad_out.map_or(s.all(size), |g| g.len()), s.all(size)),
        (grad_cell.map_or(c.len(), |g| g.len()), s.rows * size),
        (c.len(), s.rows * size),
        (grad_c.len(), s.rows * size),
        (grad_h.len(), s.rows * s.state),
        (weight.len(), 4 * size * s.state),
    ]);
    if size == 0 {
        return grad_h.fill(T::default());
    }
    let step_back = T::lstm_step_back();
    let grad_gates = Steps::of(grad_gates, s.rows, 4 * size);
    let (to_h, to_c) = (Steps::of(grad_h, s.rows, s.state), Steps::of(grad_c, s.rows, size));
    let walk = |packed: &Packed<T>, rows: Range<usize>| {
        // SAFETY: each thread has its own rows.
        let (dh, dc) = unsafe { (to_h.rows(0, &rows), to_c.rows(0, &rows)) };
        dh.fill(T::default());
        match grad_cell {
            Some(g) => dc.copy_from_slice(rows_of(g, s, size, 0, &rows)),
            None => dc.fill(T::default()),
        }
        // The state's gradient of the step at hand: nothing comes back from beyond the last one.
        let mut from = vec![T::default(); rows.len() * size];
        for t in s.order().rev() {
            if let Some(g) = grad_out {
                from.iter_mut()
                    .zip(rows_of(g, s, size, t, &rows))
                    .for_each(|(a, &b)| *a = *a + b);
            }
            // SAFETY: as above.
            let gates = unsafe { grad_gates.rows(t, &rows) };
            let before = s
                .before(t)
                .map_or(rows_of(c, s, size, 0, &rows), |b| rows_of(cells, s, size, b, &rows));
            let (cell, act) = (rows_of(cells, s, size, t, &rows), rows_of(acts, s, 4 * size, t, &rows));
            step_back(size, act, &[cell, before], &from, [&mut *dc, &mut *gates]);
            packed.multiply(gates, dh, false);
            if s.state == size {
                from.copy_from_slice(dh);
            }
        }
    };
    Packed::with(weight, 4 * size, s.state, false, |packed| {
        s.for_rows(4 * size, |rows| walk(packed, rows))
    });
}

multiversion! {
    /// Gradients of one step: `dc` becomes that of the cell before.
    pub fn step_back<T: Float>(size: usize, acts: &[T], cells: &[&[T]; 2], dh: &[T], to: [&mut [T]; 2]) {
        let ([cell, before], [dc, gates]) = (*cells, to);
        let rows = acts.chunks_exact(4 * size).zip(gates.chunks_exact_mut(4 * size)).enumerate();
        for (r, (act, to)) in rows {
            let part = r * size..(r + 1) * size;
            let (cell, before, dh, dc) = (&cell[part.clone()], &before[part.clone()], &dh[part.clone()], &mut dc[part]);
            let (i, f, g, o) = (&act[..size], &act[size..2 * size], &act[2 * size..3 * size], &act[3 * size..]);
            let (to_i, rest) = to.split_at_mut(size);
            let (to_f, rest) = rest.split_at_mut(size);
            let (to_g, to_o) = rest.split_at_mut(size);
            for at in (0..size).step_by(LANES) {
                let [i, f, g, o] = [get(i, at), get(f, at), get(g, at), get(o, at)];
                let (c, before, dh, mut d) = (get(cell, at), get(before, at), get(dh, at), get(dc, at));
                let [mut a, mut b, mut x, mut y] = [[T::ZERO; LANES]; 4];
                for j in 0..LANES {
                    let t = c[j].tanh();
                    d[j] = (dh[j] * o[j]).mul_add(T::ONE - t * t, d[j]);
                    a[j] = d[j] * g[j] * i[j] * (T::ONE - i[j]);
                    b[j] = d[j] * before[j] * f[j] * (T::ONE - f[j]);
                    x[j] = d[j] * i[j] * (T::ONE - g[j] * g[j]);
                    y[j] = dh[j] * t * o[j] * (T::ONE - o[j]);
                    d[j] = d[j] * f[j];
                }
                put(to_i, at, a);
                put(to_f, at, b);
                put(to_g, at, x);
                put(to_o, at, y);
                put(dc, at, d);
            }
        }
    }
}
