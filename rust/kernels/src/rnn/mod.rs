//! LSTM and GRU layers: all steps of one direction in one call, forward and backward.
//!
//! The rows of a batch do not meet before the gradients of the weights, so threads share them out and walk through all
//! steps alone. The recurrent weight is packed once per call; a step's product adds to the gates in memory that each
//! thread keeps in its caches, and the activations follow at once. So an LSTM also makes its input's part, where it is
//! given the input: the gates of all steps would have to leave the caches and come back.
//!
//! **Order.** A gate is its input's part and one chain over the state; a state's gradient is one chain over the gates (in
//! a GRU from the part that bypasses the gates on). All arrays here are contiguous; `T` is f32 or f64.

pub(crate) mod gru;
pub(crate) mod lstm;
#[cfg(target_arch = "x86_64")]
mod wide;

pub use gru::{gru_backward, gru_forward};
pub use lstm::{Gates, lstm_backward, lstm_forward};

use crate::attention::tile::{HasTiles, Product, Turn};
use crate::elementwise::float::Float;
use crate::gemm::{Panels, Products, with_shared};
use crate::parallel;
use crate::reduce::walk::Share;
#[cfg(target_arch = "x86_64")]
use crate::simd::Isa;
use crate::simd::isa;
use crate::simd::prefetch_write;
use std::ops::Range;

/// The types that have layers.
#[allow(private_bounds, reason = "f32 and f64")]
pub trait RnnElement: Float + HasTiles + Default {
    /// The activations of an LSTM's step, for this CPU.
    fn lstm_step() -> lstm::StepFn<Self> {
        lstm::step
    }
    /// The gradients of an LSTM's step, for this CPU.
    fn lstm_step_back() -> lstm::BackFn<Self> {
        lstm::step_back
    }
    /// The activations of a GRU's step, for this CPU.
    fn gru_step() -> gru::StepFn<Self> {
        gru::step
    }
}
impl RnnElement for f32 {
    #[cfg(target_arch = "x86_64")]
    fn lstm_step() -> lstm::StepFn<f32> {
        match isa() {
            Isa::Avx512 => wide::lstm_step,
            _ => lstm::step,
        }
    }
    #[cfg(target_arch = "x86_64")]
    fn lstm_step_back() -> lstm::BackFn<f32> {
        match isa() {
            Isa::Avx512 => wide::lstm_step_back,
            _ => lstm::step_back,
        }
    }
    #[cfg(target_arch = "x86_64")]
    fn gru_step() -> gru::StepFn<f32> {
        match isa() {
            Isa::Avx512 => wide::gru_step,
            _ => gru::step,
        }
    }
}
impl RnnElement for f64 {}

/// Of one call.
#[derive(Clone, Copy, Debug)]
pub struct RnnShape {
    pub steps: usize,
    pub rows: usize,
    pub hidden: usize,
    /// Size of the state that the gates see: `hidden`, unless there is one step only.
    pub state: usize,
    /// From the last step to the first.
    pub reverse: bool,
}

impl RnnShape {
    /// Steps in the order in which they are computed.
    fn order(self) -> impl DoubleEndedIterator<Item = usize> {
        (0..self.steps).map(move |i| if self.reverse { self.steps - 1 - i } else { i })
    }

    /// The step computed before `t`.
    fn before(self, t: usize) -> Option<usize> {
        if self.reverse {
            (t + 1 < self.steps).then_some(t + 1)
        } else {
            t.checked_sub(1)
        }
    }

    fn check(self, lens: &[(usize, usize)]) {
        assert!(self.steps <= 1 || self.state == self.hidden);
        for &(have, want) in lens {
            assert_eq!(have, want, "an array of a recurrent layer");
        }
    }

    /// Elements of an array with `width` numbers per row and step.
    fn all(self, width: usize) -> usize {
        self.steps * self.rows * width
    }

    /// Calls `f` with ranges of rows, as many as there are threads.
    fn for_rows(self, gates: usize, f: impl Fn(Range<usize>) + Sync) {
        let work = self.steps * self.rows * gates * self.state;
        let share = if work < (1 << 20) {
            self.rows
        } else {
            self.rows.div_ceil(parallel::threads()).next_multiple_of(8)
        };
        parallel::for_range(self.rows, share, f);
    }
}

/// Columns of a packed panel.
const PANEL: usize = 32;

/// The right factor of a step's product, in panels of [`PANEL`] columns.
struct Packed<'a, T: 'static> {
    panels: &'a [T],
    k: usize,
    n: usize,
    products: &'static Products<T>,
}

impl<T: RnnElement> Packed<'_, T> {
    /// Calls `f` with `weight` `[gates, state]`, transposed for the forward pass or as it is for the backward one.
    fn with<R>(weight: &[T], gates: usize, state: usize, transposed: bool, f: impl FnOnce(&Packed<T>) -> R) -> R {
        let tiles = T::tiles(isa());
        let (k, n) = if transposed { (state, gates) } else { (gates, state) };
        with_shared(|scratch| {
            let count = n.next_multiple_of(PANEL) * k;
            // SAFETY: as many numbers are reserved.
            let panels = unsafe { std::slice::from_raw_parts_mut(scratch.reserve::<T>(count), count) };
            for j in (0..n).step_by(PANEL) {
                let width = PANEL.min(n - j);
                let to = &mut panels[j * k..(j + PANEL) * k];
                if transposed {
                    let turn = Turn {
                        src: weight[j * state..].as_ptr(),
                        rows: width,
                        cols: k,
                        rs: state as isize,
                        cs: 1,
                        dst: to.as_mut_ptr(),
                        ld: PANEL,
                        width: PANEL,
                    };
                    // SAFETY: rows `j..` of the weight, and a panel with a row for each of its columns.
                    unsafe { (tiles.turn)(&turn) };
                } else {
                    for (row, to) in weight.chunks_exact(state).zip(to.chunks_exact_mut(PANEL)) {
                        to[..width].copy_from_slice(&row[j..j + width]);
                        to[width..].fill(T::default());
                    }
                }
            }
            let products = T::products(isa());
            f(&Packed { panels, k, n, products })
        })
    }

    /// `c (+)= a @ this` for as many rows as `a` has.
    fn multiply(&self, a: &[T], c: &mut [T], add: bool) {
        self.multiply_rows(a, c, self.n, add, None, &mut Wanted::of::<T>(&[], 1));
    }

    /// The same with rows of C `ld` apart, and a number added to each of its columns after the sum.
    fn multiply_rows(&self, a: &[T], c: &mut [T], ld: usize, add: bool, bias: Option<&[T]>, wanted: &mut Wanted) {
        for j in (0..self.n).step_by(PANEL) {
            self.multiply_panel(j, a, c, ld, add, bias, wanted);
        }
    }

    /// The columns of the panel that begins with column `j`.
    fn multiply_panel(
        &self,
        j: usize,
        a: &[T],
        c: &mut [T],
        ld: usize,
        add: bool,
        bias: Option<&[T]>,
        wanted: &mut Wanted,
    ) {
        if self.k == 0 {
            return;
        }
        let m = a.len() / self.k;
        assert!(a.len() == m * self.k && c.len() == m * ld && j < self.n && self.n <= ld);
        assert!(bias.is_none_or(|b| b.len() == self.n));
        for (i, rows) in self.tiles(m).each() {
            wanted.ask();
            let product = Product {
                m: rows,
                n: PANEL.min(self.n - j),
                k: self.k,
                a: a[i * self.k..].as_ptr(),
                a_rs: self.k as isize,
                a_cs: 1,
                b: self.panels[j * self.k..].as_ptr(),
                b_rs: PANEL as isize,
                c: c.as_mut_ptr().wrapping_add(i * ld + j),
                c_rs: ld as isize,
                from_c: add,
                col_bias: bias.map_or(std::ptr::null(), |b| b[j..].as_ptr()),
            };
            // SAFETY: the slices are as long as asserted; panels have all their columns.
            unsafe { product.run(self.products) };
        }
    }

    /// The tiles of a panel for `m` rows.
    fn tiles(&self, m: usize) -> Panels {
        Panels::of(m, self.products.tall.len())
    }
}

/// Memory that will be written after a product, asked for a few lines with each tile: as many as can be under way.
struct Wanted {
    at: *const u8,
    lines: usize,
    at_once: usize,
}

impl Wanted {
    /// `all`, with a share for each of so many tiles.
    fn of<T>(all: &[T], tiles: usize) -> Self {
        let lines = size_of_val(all).div_ceil(64);
        Self {
            at: all.as_ptr().cast(),
            lines,
            at_once: lines.div_ceil(tiles.max(1)),
        }
    }

    fn ask(&mut self) {
        let now = self.at_once.min(self.lines);
        for _ in 0..now {
            prefetch_write(self.at);
            self.at = self.at.wrapping_add(64);
        }
        self.lines -= now;
    }
}

/// An array of a layer that threads write: rows of `width` numbers, `rows` of them per step.
struct Steps<T> {
    at: Share<T>,
    rows: usize,
    width: usize,
}

impl<T> Steps<T> {
    fn of(all: &mut [T], rows: usize, width: usize) -> Self {
        Self {
            at: Share::new(all.as_mut_ptr()),
            rows,
            width,
        }
    }

    /// Rows of a step.
    ///
    /// # Safety
    /// They lie in the array, and nothing else uses them while the slice lives.
    #[allow(clippy::mut_from_ref, reason = "threads write different rows")]
    unsafe fn rows(&self, t: usize, rows: &Range<usize>) -> &mut [T] {
        // SAFETY: the caller's promise.
        unsafe {
            let at = self.at.at((t * self.rows + rows.start) * self.width);
            std::slice::from_raw_parts_mut(at, rows.len() * self.width)
        }
    }
}

/// Rows of a step of an array that is only read.
fn rows_of<'a, T>(all: &'a [T], shape: RnnShape, width: usize, t: usize, rows: &Range<usize>) -> &'a [T] {
    &all[(t * shape.rows + rows.start) * width..][..rows.len() * width]
}

/// Numbers taken at once in the steps: arrays of this length become registers, where slices would need proof that none
/// of a dozen overlap.
const LANES: usize = 16;

/// Up to [`LANES`] numbers from `at` on; zeros where there are none.
#[inline(always)]
fn get<T: Float>(x: &[T], at: usize) -> [T; LANES] {
    let mut lanes = [T::ZERO; LANES];
    match x[at..].first_chunk::<LANES>() {
        Some(whole) => lanes = *whole,
        None => lanes.iter_mut().zip(&x[at..]).for_each(|(to, &v)| *to = v),
    }
    lanes
}

#[inline(always)]
fn put<T: Float>(x: &mut [T], at: usize, lanes: [T; LANES]) {
    match x[at..].first_chunk_mut::<LANES>() {
        Some(whole) => *whole = lanes,
        None => x[at..].iter_mut().zip(lanes).for_each(|(to, v)| *to = v),
    }
}
