//! A fold as its drivers know it: sizes, and functions over bytes. So the drivers exist once, and of each fold only what
//! touches elements.

use super::{Fold, Run, columns, runs};
use crate::dtype::{DType, Element};

/// Lines of `n` elements, folded each on its own into a result.
#[derive(Clone, Copy)]
pub(super) struct Lines {
    pub x: *const u8,
    pub y: *const u8,
    pub dst: *mut u8,
    /// Null where the fold has none.
    pub aux: *const u8,
    pub n: usize,
    /// From an element to the next; other than 1: one after another, of fewer than `FEW` too.
    pub inner: [isize; 2],
    pub count: usize,
    /// From a line to the next, in elements, for each of the four.
    pub step: [isize; 4],
}

/// Rows whose columns are folded.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub x: *const u8,
    pub y: *const u8,
    /// Values given for the columns, one after another; so are the accumulators.
    pub aux: *const u8,
    pub acc: *mut u8,
    pub n: usize,
    /// Of the rows, in elements.
    pub offsets: &'a [[isize; 2]],
}

/// The functions of one fold. Accumulators take at most eight bytes.
#[derive(Clone, Copy)]
pub(super) struct Steps {
    pub element: DType,
    pub acc: usize,
    pub out: usize,
    pub aux: usize,
    f: *const u8,
    begin: unsafe fn(*const u8, *mut u8, usize),
    lines: unsafe fn(*const u8, &Lines),
    runs: unsafe fn(*const u8, *const u8, *mut u8, [*const u8; 2], usize, usize, [isize; 2]),
    pieces: unsafe fn(*const u8, *const u8, [*const u8; 2], &mut [u64]),
    join_lanes: unsafe fn(*const u8, *mut u8) -> u64,
    rows: unsafe fn(*const u8, &Rows),
    join: unsafe fn(*const u8, *mut u8, *const u8, usize),
    store: unsafe fn(*const u8, *const u8, usize, *mut u8, isize, *const u8, isize),
}

// SAFETY: a fold is shared by threads, and is only read.
unsafe impl Sync for Steps {}

impl Steps {
    /// The fold outlives what is made of it.
    pub fn of<F: Fold>(f: &F) -> Steps {
        const { assert!(size_of::<F::Acc>() <= 8 && align_of::<F::Acc>() <= 8) };
        Steps {
            element: F::In::DTYPE,
            acc: size_of::<F::Acc>(),
            out: size_of::<F::Out>(),
            aux: size_of::<F::Aux>(),
            f: (&raw const *f).cast(),
            begin: begin::<F>,
            lines: lines::<F>,
            runs: each_run::<F>,
            pieces: pieces::<F>,
            join_lanes: join_lanes::<F>,
            rows: rows::<F>,
            join: join::<F>,
            store: store::<F>,
        }
    }

    /// Fills `n` accumulators.
    ///
    /// # Safety
    /// There is room for them.
    pub unsafe fn begin(&self, acc: *mut u8, n: usize) {
        // SAFETY: the contract of this function; `f` is the fold.
        unsafe { (self.begin)(self.f, acc, n) }
    }

    /// # Safety
    /// What `Lines` names is there.
    pub unsafe fn lines(&self, lines: &Lines) {
        // SAFETY: as above.
        unsafe { (self.lines)(self.f, lines) }
    }

    /// Folds `runs` runs of `n` neighbours, `gap` elements apart, into `LANES` accumulators. `aux` may be null.
    ///
    /// # Safety
    /// They are there.
    pub unsafe fn runs(
        &self,
        aux: *const u8,
        lanes: *mut u8,
        xy: [*const u8; 2],
        n: usize,
        runs: usize,
        gap: [isize; 2],
    ) {
        // SAFETY: as above.
        unsafe { (self.runs)(self.f, aux, lanes, xy, n, runs, gap) }
    }

    /// Folds as many pieces of [`runs::RUN`] neighbours as there are accumulators, each into its own. `aux` may be null.
    ///
    /// # Safety
    /// They are there.
    pub unsafe fn pieces(&self, aux: *const u8, xy: [*const u8; 2], parts: &mut [u64]) {
        // SAFETY: as above.
        unsafe { (self.pieces)(self.f, aux, xy, parts) }
    }

    /// # Safety
    /// `LANES` accumulators.
    pub unsafe fn join_lanes(&self, lanes: *mut u8) -> u64 {
        // SAFETY: as above.
        unsafe { (self.join_lanes)(self.f, lanes) }
    }

    /// # Safety
    /// What `Rows` names is there.
    pub unsafe fn rows(&self, rows: &Rows) {
        // SAFETY: as above.
        unsafe { (self.rows)(self.f, rows) }
    }

    /// Joins each of the `n` accumulators at `a` with its counterpart at `b`.
    ///
    /// # Safety
    /// As many at both.
    pub unsafe fn join(&self, a: *mut u8, b: *const u8, n: usize) {
        // SAFETY: as above.
        unsafe { (self.join)(self.f, a, b, n) }
    }

    /// The same of two accumulators by value.
    pub fn joined(&self, mut a: u64, b: u64) -> u64 {
        // SAFETY: an accumulator is in the first bytes of either.
        unsafe { self.join((&raw mut a).cast(), (&raw const b).cast(), 1) };
        a
    }

    /// Stores `n` results, `step` elements apart, of accumulators that lie one after another.
    ///
    /// # Safety
    /// They are there, and so are the values given (null: there are none).
    pub unsafe fn store(
        &self,
        acc: *const u8,
        n: usize,
        (dst, step): (*mut u8, isize),
        (aux, aux_step): (*const u8, isize),
    ) {
        // SAFETY: as above.
        unsafe { (self.store)(self.f, acc, n, dst, step, aux, aux_step) }
    }

    pub fn zero(&self) -> u64 {
        let mut acc = 0u64;
        // SAFETY: room for one.
        unsafe { self.begin((&raw mut acc).cast(), 1) };
        acc
    }
}

/// # Safety
/// `f` is an `F`; see `Steps`. So below.
unsafe fn begin<F: Fold>(f: *const u8, acc: *mut u8, n: usize) {
    // SAFETY: the contract of this function.
    unsafe { std::slice::from_raw_parts_mut(acc.cast(), n).fill((*f.cast::<F>()).zero()) }
}

/// # Safety
/// As above.
unsafe fn lines<F: Fold>(f: *const u8, lines: &Lines) {
    // SAFETY: as above.
    runs::fold_lines(unsafe { &*f.cast::<F>() }, lines)
}

/// # Safety
/// As above.
unsafe fn each_run<F: Fold>(
    f: *const u8,
    aux: *const u8,
    lanes: *mut u8,
    [x, y]: [*const u8; 2],
    n: usize,
    runs: usize,
    gap: [isize; 2],
) {
    let from = Run {
        x: x.cast(),
        y: y.cast(),
    };
    // SAFETY: as above.
    unsafe { runs::fold_runs(&*f.cast::<F>(), given::<F>(aux), &mut *lanes.cast(), from, n, runs, gap) }
}

/// # Safety
/// As above.
unsafe fn pieces<F: Fold>(f: *const u8, aux: *const u8, [x, y]: [*const u8; 2], parts: &mut [u64]) {
    let from = Run {
        x: x.cast(),
        y: y.cast(),
    };
    // SAFETY: as above.
    unsafe { runs::fold_pieces(&*f.cast::<F>(), given::<F>(aux), from, parts) }
}

/// # Safety
/// As above.
unsafe fn join_lanes<F: Fold>(f: *const u8, lanes: *mut u8) -> u64 {
    let mut slot = 0u64;
    // SAFETY: as above; an accumulator fits the slot.
    unsafe { *(&raw mut slot).cast() = runs::join_lanes(&*f.cast::<F>(), &mut *lanes.cast()) };
    slot
}

/// # Safety
/// As above.
unsafe fn rows<F: Fold>(f: *const u8, rows: &Rows) {
    let from = Run {
        x: rows.x.cast(),
        y: rows.y.cast(),
    };
    // SAFETY: as above.
    unsafe {
        let aux = std::slice::from_raw_parts(rows.aux.cast(), rows.n);
        let acc = std::slice::from_raw_parts_mut(rows.acc.cast(), rows.n);
        columns::fold_block(&*f.cast::<F>(), aux, acc, from, rows.offsets)
    }
}

/// # Safety
/// As above.
unsafe fn join<F: Fold>(f: *const u8, a: *mut u8, b: *const u8, n: usize) {
    let (a, b) = (a.cast::<F::Acc>(), b.cast::<F::Acc>());
    for i in 0..n {
        // SAFETY: as above.
        unsafe { *a.add(i) = (*f.cast::<F>()).join(*a.add(i), *b.add(i)) };
    }
}

/// # Safety
/// As above.
unsafe fn store<F: Fold>(
    f: *const u8,
    acc: *const u8,
    n: usize,
    dst: *mut u8,
    step: isize,
    aux: *const u8,
    aux_step: isize,
) {
    let (acc, dst) = (acc.cast::<F::Acc>(), dst.cast::<F::Out>());
    for i in 0..n {
        let at = i as isize;
        // SAFETY: as above.
        unsafe {
            let aux = if aux.is_null() {
                aux
            } else {
                aux.offset(at * aux_step * size_of::<F::Aux>() as isize)
            };
            *dst.offset(at * step) = (*f.cast::<F>()).out(given::<F>(aux), *acc.add(i));
        }
    }
}

/// The value given for a result.
///
/// # Safety
/// It is one, or null.
#[inline(always)]
pub(super) unsafe fn given<F: Fold>(aux: *const u8) -> F::Aux {
    if aux.is_null() {
        F::Aux::default()
    } else {
        // SAFETY: the contract of this function.
        unsafe { *aux.cast() }
    }
}
