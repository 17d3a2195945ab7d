//! A step's activations of f32 in AVX-512, four vectors side by side.

use crate::elementwise::math::wide::single::{Four, One};
use crate::elementwise::math::wide::{Held, HeldInPart, Vectors};
use crate::elementwise::math::{sigmoid, tanh};

/// Vectors of which the first `n` numbers may exist.
trait Some: Vectors<f32> {
    /// # Safety
    /// `n` numbers can be read, or all of a vector that has fewer.
    unsafe fn get(from: *const f32, n: usize) -> Self;
    /// # Safety
    /// As above, to be written.
    unsafe fn put(self, to: *mut f32, n: usize);
}

/// Only where all numbers exist.
impl Some for Four {
    #[inline(always)]
    unsafe fn get(from: *const f32, _n: usize) -> Four {
        // SAFETY: the caller's promise.
        unsafe { Four::load(from) }
    }
    #[inline(always)]
    unsafe fn put(self, to: *mut f32, _n: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.store(to) }
    }
}

impl Some for One {
    #[inline(always)]
    unsafe fn get(from: *const f32, n: usize) -> One {
        // SAFETY: the caller's promise.
        unsafe { One::load_n(from, n) }
    }
    #[inline(always)]
    unsafe fn put(self, to: *mut f32, n: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.store_n(to, n) }
    }
}

/// `$f::<P>(…, at, left)` for all of a row, in AVX-512.
macro_rules! along {
    ($size:expr, $f:ident $args:tt) => {{
        let mut at = 0;
        while at + Four::LEN <= $size {
            along!(@ Four, at, $size - at, $f $args);
            at += Four::LEN;
        }
        while at < $size {
            along!(@ One, at, $size - at, $f $args);
            at += One::LEN;
        }
    }};
    (@ $p:ident, $at:expr, $left:expr, $f:ident ($($arg:expr),*)) => { $f::<$p>($($arg),*, $at, $left) };
}

/// # Safety
/// `left` numbers from `at` on in each of the four gates, and wherever else; the CPU has AVX-512.
#[inline(always)]
unsafe fn lstm<P: Some>(
    size: usize,
    gates: *const f32,
    before: *const f32,
    acts: *mut f32,
    cell: *mut f32,
    out: *mut f32,
    at: usize,
    left: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let enter = sigmoid(P::get(gates.add(at), left));
        enter.put(acts.add(at), left);
        let new = tanh(P::get(gates.add(2 * size + at), left));
        new.put(acts.add(2 * size + at), left);
        let forget = sigmoid(P::get(gates.add(size + at), left));
        forget.put(acts.add(size + at), left);
        let c = forget.mul_add(P::get(before.add(at), left), enter * new);
        c.put(cell.add(at), left);
        let shown = sigmoid(P::get(gates.add(3 * size + at), left));
        shown.put(acts.add(3 * size + at), left);
        (shown * tanh(c)).put(out.add(at), left);
    }
}

/// # Safety
/// As [`lstm`], of three gates.
#[inline(always)]
unsafe fn gru<P: Some>(
    size: usize,
    gates: *const f32,
    mapped: *const f32,
    before: *const f32,
    acts: *mut f32,
    out: *mut f32,
    at: usize,
    left: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let reset = sigmoid(P::get(gates.add(at), left) + P::get(mapped.add(at), left));
        reset.put(acts.add(at), left);
        let state = P::get(mapped.add(2 * size + at), left);
        state.put(acts.add(3 * size + at), left);
        let new = tanh(reset.mul_add(state, P::get(gates.add(2 * size + at), left)));
        new.put(acts.add(2 * size + at), left);
        let update = sigmoid(P::get(gates.add(size + at), left) + P::get(mapped.add(size + at), left));
        update.put(acts.add(size + at), left);
        update
            .mul_add(P::get(before.add(at), left) - new, new)
            .put(out.add(at), left);
    }
}

/// # Safety
/// As [`lstm`].
#[inline(always)]
unsafe fn lstm_back<P: Some>(
    size: usize,
    acts: *const f32,
    cell: *const f32,
    before: *const f32,
    grad: *const f32,
    grad_cell: *mut f32,
    gates: *mut f32,
    at: usize,
    left: usize,
) {
    let one = P::splat(1.0);
    // SAFETY: the caller's promise.
    unsafe {
        let (i, f) = (P::get(acts.add(at), left), P::get(acts.add(size + at), left));
        let (g, o) = (
            P::get(acts.add(2 * size + at), left),
            P::get(acts.add(3 * size + at), left),
        );
        let (t, dh) = (tanh(P::get(cell.add(at), left)), P::get(grad.add(at), left));
        let d = (dh * o).mul_add(one - t * t, P::get(grad_cell.add(at), left));
        (d * g * i * (one - i)).put(gates.add(at), left);
        (d * P::get(before.add(at), left) * f * (one - f)).put(gates.add(size + at), left);
        (d * i * (one - g * g)).put(gates.add(2 * size + at), left);
        (dh * t * o * (one - o)).put(gates.add(3 * size + at), left);
        (d * f).put(grad_cell.add(at), left);
    }
}

/// See [`super::lstm::step_back`].
pub(super) fn lstm_step_back(size: usize, acts: &[f32], cells: &[&[f32]; 2], grad: &[f32], to: [&mut [f32]; 2]) {
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512cd,avx2,fma,bmi1,bmi2,lzcnt,f16c")]
    fn step(size: usize, acts: &[f32], [cell, before]: [&[f32]; 2], grad: &[f32], [grad_cell, gates]: [&mut [f32]; 2]) {
        let rows = acts
            .chunks_exact(4 * size)
            .zip(cell.chunks_exact(size).zip(before.chunks_exact(size)));
        let grads = grad.chunks_exact(size).zip(grad_cell.chunks_exact_mut(size));
        for (((acts, (cell, before)), (grad, grad_cell)), gates) in
            rows.zip(grads).zip(gates.chunks_exact_mut(4 * size))
        {
            let (acts, cell, before) = (acts.as_ptr(), cell.as_ptr(), before.as_ptr());
            let (grad, grad_cell, gates) = (grad.as_ptr(), grad_cell.as_mut_ptr(), gates.as_mut_ptr());
            // SAFETY: all rows have `size` numbers, or four times as many.
            unsafe { along!(size, lstm_back(size, acts, cell, before, grad, grad_cell, gates)) }
        }
    }
    // SAFETY: chosen where the CPU has the instruction set.
    unsafe { step(size, acts, *cells, grad, to) }
}

/// See [`super::lstm::step`].
pub(super) fn lstm_step(size: usize, (gates, ld): (&[f32], usize), before: &[f32], to: [&mut [f32]; 3]) {
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512cd,avx2,fma,bmi1,bmi2,lzcnt,f16c")]
    fn step(size: usize, gates: &[f32], ld: usize, before: &[f32], [acts, cell, out]: [&mut [f32]; 3]) {
        let rows = gates.chunks_exact(ld).zip(before.chunks_exact(size));
        let to = acts
            .chunks_exact_mut(4 * size)
            .zip(cell.chunks_exact_mut(size).zip(out.chunks_exact_mut(size)));
        for ((gates, before), (acts, (cell, out))) in rows.zip(to) {
            let (gates, before) = (gates[..4 * size].as_ptr(), before.as_ptr());
            let (acts, cell, out) = (acts.as_mut_ptr(), cell.as_mut_ptr(), out.as_mut_ptr());
            // SAFETY: all rows have `size` numbers, or four times as many.
            unsafe { along!(size, lstm(size, gates, before, acts, cell, out)) }
        }
    }
    // SAFETY: chosen where the CPU has the instruction set.
    unsafe { step(size, gates, ld, before, to) }
}

/// See [`super::gru::step`].
pub(super) fn gru_step(size: usize, gates: &[f32], mapped: &[f32], before: &[f32], to: [&mut [f32]; 2]) {
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512cd,avx2,fma,bmi1,bmi2,lzcnt,f16c")]
    fn step(size: usize, gates: &[f32], mapped: &[f32], before: &[f32], [acts, out]: [&mut [f32]; 2]) {
        let rows = gates.chunks_exact(3 * size).zip(mapped.chunks_exact(3 * size));
        let to = acts.chunks_exact_mut(4 * size).zip(out.chunks_exact_mut(size));
        for (((gates, mapped), before), (acts, out)) in rows.zip(before.chunks_exact(size)).zip(to) {
            let (gates, mapped, before) = (gates.as_ptr(), mapped.as_ptr(), before.as_ptr());
            let (acts, out) = (acts.as_mut_ptr(), out.as_mut_ptr());
            // SAFETY: all rows have `size` numbers, or three or four times as many.
            unsafe { along!(size, gru(size, gates, mapped, before, acts, out)) }
        }
    }
    // SAFETY: chosen where the CPU has the instruction set.
    unsafe { step(size, gates, mapped, before, to) }
}
