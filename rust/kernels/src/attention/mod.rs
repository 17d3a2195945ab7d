//! Scaled dot-product attention without the matrix of scores (Dao et al., "FlashAttention", 2022), forward and backward.
//!
//! Scores are made in blocks of 128 keys by 32 queries that stay in the caches, with the queries side by side: a query's
//! maximum and sum have a lane of their own, and a block is at once the right factor of the product with the values.
//!
//! **Order.** A score is one chain over the head's dims, the scale multiplied into the query. A query's sum of
//! exponentials and its output are chains over the keys in their order, scaled to a new maximum every 128 keys. Gradients
//! of keys and values are chains over the queries. The query's is one chain over each 512 keys; these are added in order.
//! The forward pass of few queries has another (`few`).

mod backward;
pub(crate) mod block;
mod few;
pub(crate) mod tile;

pub use backward::backward;
pub use block::Dropout;

use crate::dtype::DType;
use crate::gemm::{GemmElement, Products, with_scratch};
use crate::parallel;
use crate::reduce::real::Real;
use crate::reduce::walk::{Share, Walk};
use crate::scratch::Plain;
use crate::simd::isa;
use crate::softmax::row::Soft;
use crate::view::{AnyDst, AnySrc, Dst, Src};
use block::{KEYS, QUERIES, Softmax, Weight};
use tile::{HasTiles, Product, Tiles, Turn};

/// Multiply-adds worth a thread.
const GRAIN: usize = 1 << 20;

/// What is computed. All views have the same leading dims (broadcast ones have stride 0) and the same dtype, f32 or f64.
#[derive(Clone, Copy)]
pub struct Attention<'a> {
    /// `[.., l, e]`
    pub query: AnySrc<'a>,
    /// `[.., s, e]`
    pub key: AnySrc<'a>,
    /// `[.., s, v]`
    pub value: AnySrc<'a>,
    /// `[.., l, s]`, added to the scores.
    pub mask: Option<AnySrc<'a>>,
    pub dropout: Option<Dropout>,
    /// Query i sees keys up to i only.
    pub causal: bool,
    pub scale: f64,
}

/// `out` `[.., l, v]`, and the logarithm of each query's sum of exponentials, `[.., l]` in row-major order (inf where a
/// query sees no key; its output is zero).
pub fn forward(a: &Attention, out: AnyDst, logsumexp: AnyDst) {
    match out.dtype() {
        DType::F32 => forward_of::<f32>(a, &out.typed(), &logsumexp.typed()),
        DType::F64 => forward_of::<f64>(a, &out.typed(), &logsumexp.typed()),
        other => panic!("attention of {}", other.name()),
    }
}

/// A matrix of one head.
#[derive(Clone, Copy)]
struct Matrix<T> {
    at: *const T,
    rs: isize,
    cs: isize,
}

impl<T> Matrix<T> {
    /// The last two dims of a view, from an offset on.
    fn of(v: &Src<T>, offset: isize) -> Self {
        let d = v.rank() - 2;
        Self {
            at: v.ptr().wrapping_offset(offset),
            rs: v.strides()[d],
            cs: v.strides()[d + 1],
        }
    }

    fn row(&self, i: usize) -> *const T {
        self.at.wrapping_offset(i as isize * self.rs)
    }

    /// The rows lie in one piece each.
    fn has_rows(&self) -> bool {
        self.cs == 1
    }
}

/// The inputs with their static type, and their sizes.
struct Job<'a, T: 'static> {
    query: Src<'a, T>,
    key: Src<'a, T>,
    value: Src<'a, T>,
    mask: Option<Src<'a, T>>,
    dropout: Option<Dropout>,
    causal: bool,
    scale: T,
    heads: usize,
    /// Queries, keys, size of a key, size of a value.
    l: usize,
    s: usize,
    e: usize,
    v: usize,
    products: &'static Products<T>,
    tiles: &'static Tiles<T>,
}

/// The matrices of one head.
struct Head<T> {
    index: usize,
    query: Matrix<T>,
    key: Matrix<T>,
    value: Matrix<T>,
    mask: Option<Matrix<T>>,
}

impl<'a, T: Real + HasTiles> Job<'a, T> {
    fn of(a: &Attention<'a>) -> Self {
        let (query, key, value): (Src<T>, Src<T>, Src<T>) = (a.query.typed(), a.key.typed(), a.value.typed());
        let d = query.rank() - 2;
        Self {
            query,
            key,
            value,
            mask: a.mask.map(|m| m.typed()),
            dropout: a.dropout,
            causal: a.causal,
            scale: T::from_f64(a.scale),
            heads: query.shape()[..d].iter().product(),
            l: query.shape()[d],
            s: key.shape()[d],
            e: query.shape()[d + 1],
            v: value.shape()[d + 1],
            products: T::products(isa()),
            tiles: T::tiles(isa()),
        }
    }

    /// Walks over the heads of the inputs and of `N` views besides.
    fn walk(&self) -> Walk<4> {
        let mask = self.mask.as_ref().unwrap_or(&self.query);
        let views = [&self.query, &self.key, &self.value, mask];
        Walk::of(&self.query.shape()[..self.query.rank() - 2], views.map(|v| v.strides()))
    }

    fn head(&self, index: usize, [q, k, v, m]: [isize; 4]) -> Head<T> {
        Head {
            index,
            query: Matrix::of(&self.query, q),
            key: Matrix::of(&self.key, k),
            value: Matrix::of(&self.value, v),
            mask: self.mask.as_ref().map(|mask| Matrix::of(mask, m)),
        }
    }

    /// Keys that the queries from `q` on (`n` of them) may see.
    fn seen(&self, q: usize, n: usize) -> usize {
        if self.causal { self.s.min(q + n) } else { self.s }
    }

    /// How far the keys from `k` on lie ahead of the queries from `q` on, where some of the `n` are to be hidden.
    fn ahead(&self, q: usize, k: usize, n: usize) -> Option<isize> {
        (self.causal && k + n > q + 1).then_some(k as isize - q as isize)
    }

    /// Rows `q..` (at most a block of them) of `from`, turned: `cols` rows of [`QUERIES`].
    ///
    /// # Safety
    /// The rows lie in the matrix; `to` holds `cols` rows.
    unsafe fn turn_rows(&self, from: &Matrix<T>, q: usize, n: usize, cols: usize, to: *mut T) {
        let turn = Turn {
            src: from.row(q),
            rows: n,
            cols,
            rs: from.rs,
            cs: from.cs,
            dst: to,
            ld: QUERIES,
            width: QUERIES,
        };
        // SAFETY: the caller's promise.
        unsafe { (self.tiles.turn)(&turn) };
    }

    /// The block of the mask for `nq` queries and `nk` keys, keys by queries; of no mask, nothing.
    ///
    /// # Safety
    /// `to` holds a block; queries and keys are there.
    unsafe fn mask_block<'b>(&self, head: &Head<T>, q: [usize; 2], k: [usize; 2], to: &'b mut [T]) -> &'b [T] {
        let Some(mask) = &head.mask else { return &[] };
        let from = Matrix {
            at: mask.at.wrapping_offset(k[0] as isize * mask.cs),
            ..*mask
        };
        // SAFETY: the caller's promise.
        unsafe { self.turn_rows(&from, q[0], q[1], k[1], to.as_mut_ptr()) };
        &to[..k[1] * QUERIES]
    }

    /// The factors of dropout for a block, keys by queries; without dropout, nothing.
    fn kept_block<'b>(&self, head: &Head<T>, q: [usize; 2], k: [usize; 2], to: &'b mut [T]) -> &'b [T] {
        let Some(dropout) = &self.dropout else { return &[] };
        for j in 0..q[1] {
            let row = head.index * self.l + q[0] + j;
            dropout.factors(row, self.s, k[0], k[1], &mut to[j..], QUERIES);
        }
        &to[..k[1] * QUERIES]
    }
}

/// `cols` rows of [`QUERIES`] turned back into `n` rows of the output.
///
/// # Safety
/// `block` holds `cols` rows, `room` `QUERIES` times `cols` rounded up to 8; `to` addresses `n` rows of `cols` elements.
unsafe fn turn_back<T: Real>(
    tiles: &Tiles<T>,
    block: *const T,
    [n, cols]: [usize; 2],
    room: *mut T,
    to: *mut T,
    [rs, cs]: [isize; 2],
) {
    // Whole blocks go where they belong at once.
    let there = cs == 1 && cols.is_multiple_of(8) && rs >= cols as isize;
    let width = cols.next_multiple_of(8);
    let (dst, ld) = if there { (to, rs as usize) } else { (room, width) };
    let turn = Turn {
        src: block,
        rows: cols,
        cols: n,
        rs: QUERIES as isize,
        cs: 1,
        dst,
        ld,
        width,
    };
    // SAFETY: the caller's promise.
    unsafe {
        (tiles.turn)(&turn);
        if !there {
            write_rows(room, [n, cols, ld], T::ONE, to, [rs, cs]);
        }
    }
}

/// Writes `n` rows of `cols` elements, `ld` apart, times `by`.
///
/// # Safety
/// `from` holds the rows, `to` addresses as many.
unsafe fn write_rows<T: Real>(from: *const T, [n, cols, ld]: [usize; 3], by: T, to: *mut T, [rs, cs]: [isize; 2]) {
    for i in 0..n {
        // SAFETY: the caller's promise.
        unsafe {
            let (from, to) = (from.add(i * ld), to.offset(i as isize * rs));
            if cs == 1 {
                for j in 0..cols {
                    *to.add(j) = *from.add(j) * by;
                }
            } else {
                for j in 0..cols {
                    *to.offset(j as isize * cs) = *from.add(j) * by;
                }
            }
        }
    }
}

/// Consecutive parts of one piece of scratch memory.
struct Parts<T>(*mut T);

impl<T> Parts<T> {
    /// Room for `n` elements, rounded up to whole cache lines.
    fn room(n: usize) -> usize {
        n.next_multiple_of(16)
    }

    /// # Safety
    /// The memory has that many elements left, initialised, and is not otherwise used while the slice lives.
    unsafe fn take<'a>(&mut self, n: usize) -> &'a mut [T] {
        let at = self.0;
        self.0 = at.wrapping_add(Self::room(n));
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(at, n) }
    }
}

fn forward_of<T: Weight + HasTiles + Soft + GemmElement + Plain>(a: &Attention, out: &Dst<T>, logsumexp: &Dst<T>) {
    let job = Job::<T>::of(a);
    if few::suits(&job) {
        return few::forward(&job, out, logsumexp);
    }
    let d = out.rank() - 2;
    let inputs = job.walk();
    let outputs = Walk::of(&out.shape()[..d], [out.strides()]);
    let (to, lse) = (Share::new(out.ptr()), Share::new(logsumexp.ptr()));
    let [rs, cs] = [out.strides()[d], out.strides()[d + 1]];
    let blocks = job.l.div_ceil(QUERIES);
    let work = QUERIES.saturating_mul(job.s).saturating_mul(job.e + job.v).max(1);
    let sizes = [
        job.e * QUERIES,
        job.v * QUERIES,
        KEYS * QUERIES,
        KEYS * QUERIES,
        QUERIES * job.v.next_multiple_of(8),
    ];
    parallel::for_range(job.heads * blocks, (GRAIN / work).max(1), |range| {
        with_scratch(|buffers| {
            let all = buffers[0].reserve::<T>(sizes.iter().map(|&n| Parts::<T>::room(n)).sum());
            for unit in range {
                let (index, q) = (unit / blocks, unit % blocks * QUERIES);
                let (head, n) = (job.head(index, inputs.at(index)), QUERIES.min(job.l - q));
                let mut parts = Parts(all);
                // SAFETY: the parts are those that were reserved.
                let [turned, values, scores, other, room] = sizes.map(|n| unsafe { parts.take(n) });
                let mut state = Softmax::new();
                // SAFETY: views promise that what their shapes span is live; units write different rows.
                unsafe {
                    queries(&job, &head, [q, n], turned, scores, other, values, &mut state);
                    let at = to.get().offset(outputs.at(index)[0] + q as isize * rs);
                    turn_back(job.tiles, values.as_ptr(), [n, job.v], room.as_mut_ptr(), at, [rs, cs]);
                    for j in 0..n {
                        *lse.at(index * job.l + q + j) = state.sum[j];
                    }
                }
            }
        });
    });
}

/// The output of a block of queries, turned.
///
/// # Safety
/// The head's matrices are live.
#[allow(clippy::too_many_arguments, reason = "scratch memory, taken apart by the caller")]
unsafe fn queries<T: Weight + HasTiles>(
    job: &Job<T>,
    head: &Head<T>,
    q: [usize; 2],
    turned: &mut [T],
    scores: &mut [T],
    other: &mut [T],
    values: &mut [T],
    state: &mut Softmax<T>,
) {
    let seen = job.seen(q[0], q[1]);
    if seen == 0 {
        values.fill(T::ZERO);
    }
    // SAFETY: the caller's promise; blocks and rows fit the scratch memory.
    unsafe {
        job.turn_rows(&head.query, q[0], q[1], job.e, turned.as_mut_ptr());
        block::scale(turned, job.scale);
        for k in (0..seen).step_by(KEYS) {
            let n = KEYS.min(seen - k);
            let scores = &mut scores[..n * QUERIES];
            Product {
                m: n,
                n: QUERIES,
                k: job.e,
                a: head.key.row(k),
                a_rs: head.key.rs,
                a_cs: head.key.cs,
                b: turned.as_ptr(),
                b_rs: QUERIES as isize,
                c: scores.as_mut_ptr(),
                c_rs: QUERIES as isize,
                from_c: false,
                col_bias: std::ptr::null(),
            }
            .run(job.products);
            let mask = job.mask_block(head, q, [k, n], other);
            let factor = block::step(scores, mask, job.ahead(q[0], k, n), state);
            if k > 0 {
                (job.tiles.scale_columns)(values.as_mut_ptr(), job.v, QUERIES, factor.as_ptr());
            }
            if job.dropout.is_some() {
                block::multiply(scores, job.kept_block(head, q, [k, n], other));
            }
            Product {
                m: job.v,
                n: QUERIES,
                k: n,
                a: head.value.row(k),
                a_rs: head.value.cs,
                a_cs: head.value.rs,
                b: scores.as_ptr(),
                b_rs: QUERIES as isize,
                c: values.as_mut_ptr(),
                c_rs: QUERIES as isize,
                from_c: k > 0,
                col_bias: std::ptr::null(),
            }
            .run(job.products);
        }
        let by = block::finish(state);
        (job.tiles.scale_columns)(values.as_mut_ptr(), job.v, QUERIES, by.as_ptr());
    }
}

/// The factors of dropout as the kernels draw them, for `[rows, keys]` weights.
pub fn dropout_factors(dropout: &Dropout, out: AnyDst) {
    match out.dtype() {
        DType::F32 => factors_of::<f32>(dropout, &out.typed()),
        DType::F64 => factors_of::<f64>(dropout, &out.typed()),
        other => panic!("dropout of {}", other.name()),
    }
}

fn factors_of<T: Real>(dropout: &Dropout, out: &Dst<T>) {
    let (rows, keys) = (out.shape()[0], out.shape()[1]);
    let [rs, cs] = [out.strides()[0], out.strides()[1]];
    let to = Share::new(out.ptr());
    parallel::for_range(rows, (GRAIN / 16 / keys.max(1)).max(1), |range| {
        let mut block = [T::ZERO; KEYS];
        for row in range {
            for k in (0..keys).step_by(KEYS) {
                let n = KEYS.min(keys - k);
                dropout.factors(row, keys, k, n, &mut block, 1);
                for (j, &x) in block[..n].iter().enumerate() {
                    // SAFETY: an element of the view, in a row of this thread.
                    unsafe { *to.get().offset(row as isize * rs + (k + j) as isize * cs) = x };
                }
            }
        }
    });
}
