//! Gradients of attention: the scores are made again, block by block, from the saved logarithms of the sums.

use super::block::{self, KEYS, Lanes, QUERIES, Weight};
use super::tile::{HasTiles, Product};
use super::{Attention, GRAIN, Head, Job, Matrix, Parts, turn_back, write_rows};
use crate::dtype::DType;
use crate::gemm::with_scratch;
use crate::parallel;
use crate::reduce::real::Real;
use crate::reduce::walk::{Share, Walk, line};
use crate::view::{AnyDst, AnySrc, Dst, Src};
use std::ops::Range;

/// Keys whose part of the queries' gradients is one chain.
const CHUNK: usize = 512;

/// Gradients of query, key and value from that of the output; `out` and `logsumexp` are what [`super::forward`] gave.
/// Outputs have the leading dims of the inputs, none of them broadcast.
pub fn backward(a: &Attention, grad: AnySrc, out: AnySrc, logsumexp: AnySrc, grads: [AnyDst; 3]) {
    match out.dtype() {
        DType::F32 => backward_of::<f32>(
            a,
            &grad.typed(),
            &out.typed(),
            &logsumexp.typed(),
            grads.map(|g| g.typed()),
        ),
        DType::F64 => backward_of::<f64>(
            a,
            &grad.typed(),
            &out.typed(),
            &logsumexp.typed(),
            grads.map(|g| g.typed()),
        ),
        other => panic!("attention of {}", other.name()),
    }
}

/// Where a matrix is written.
#[derive(Clone, Copy)]
struct Target<T> {
    at: *mut T,
    rs: isize,
    cs: isize,
}

impl<T> Target<T> {
    fn row(&self, i: usize) -> *mut T {
        self.at.wrapping_offset(i as isize * self.rs)
    }

    fn steps(&self) -> [isize; 2] {
        [self.rs, self.cs]
    }
}

/// What a chunk needs of all queries of a head.
struct Queries<'a, T> {
    /// Scaled and turned in blocks; and the gradient, likewise.
    turned: &'a mut [T],
    grad_turned: &'a mut [T],
    /// A block of the output, turned.
    out_turned: &'a mut [T],
    /// Row by row, where the rows do not lie in one piece: copies.
    rows: &'a mut [T],
    grad_rows: &'a mut [T],
    /// Per query: logarithm of the sum (inf where there is no query), product of output and gradient.
    logsumexp: &'a mut [T],
    dot: &'a mut [T],
}

/// Blocks of a chunk, and room for turning.
struct Blocks<'a, T> {
    scores: &'a mut [T],
    grads: &'a mut [T],
    mask: &'a mut [T],
    kept: &'a mut [T],
    key: &'a mut [T],
    value: &'a mut [T],
}

struct Sizes {
    queries: [usize; 7],
    blocks: [usize; 6],
    /// Of the queries' gradient, turned.
    grad: usize,
    room: usize,
}

impl Sizes {
    fn of<T: 'static>(job: &Job<T>) -> Sizes {
        let padded = job.l.next_multiple_of(QUERIES);
        let block = KEYS * QUERIES;
        let optional = |on: bool| if on { block } else { 0 };
        Sizes {
            queries: [
                padded * job.e,
                padded * job.e,
                padded * job.v,
                padded * job.v,
                QUERIES * job.v,
                padded,
                padded,
            ],
            blocks: [
                block,
                block,
                optional(job.mask.is_some()),
                optional(job.dropout.is_some()),
                KEYS * job.e,
                KEYS * job.v,
            ],
            grad: padded * job.e,
            room: QUERIES * job.e.next_multiple_of(8),
        }
    }

    fn total<T>(&self) -> usize {
        let room = Parts::<T>::room;
        let lists = self.queries.iter().chain(&self.blocks).map(|&n| room(n)).sum::<usize>();
        lists + 2 * room(self.grad) + room(self.room)
    }
}

fn backward_of<T: Weight + HasTiles>(
    a: &Attention,
    grad: &Src<T>,
    out: &Src<T>,
    logsumexp: &Src<T>,
    [gq, gk, gv]: [Dst<T>; 3],
) {
    let job = Job::<T>::of(a);
    let d = out.rank() - 2;
    let inputs = job.walk();
    let others = Walk::of(
        &out.shape()[..d],
        [grad.strides(), out.strides(), gq.strides(), gk.strides(), gv.strides()],
    );
    let to = [&gq, &gk, &gv].map(|g| Share::new(g.ptr()));
    let steps = [&gq, &gk, &gv].map(|g| [g.strides()[d], g.strides()[d + 1]]);
    let sizes = Sizes::of(&job);
    let chunks = job.s.div_ceil(CHUNK).max(1);
    // Few heads and many keys: threads share a head, and its queries' gradients are joined afterwards in the same order.
    let split = chunks > 1 && job.heads < 2 * parallel::threads();
    let mut partial = vec![T::ZERO; if split { job.heads * chunks * sizes.grad } else { 0 }];
    let partials = Share::new(partial.as_mut_ptr());
    let work = job.l.saturating_mul(job.s.min(if split { CHUNK } else { usize::MAX }));
    let work = work.saturating_mul(3 * job.e + 2 * job.v).max(1);
    let units = if split { job.heads * chunks } else { job.heads };
    parallel::for_range(units, (GRAIN / work).max(1), |range| {
        with_scratch(|buffers| {
            let all = buffers[0].reserve::<T>(sizes.total::<T>());
            let mut keep = Vec::new();
            for unit in range {
                let (index, mine) = if split {
                    (unit / chunks, unit % chunks..unit % chunks + 1)
                } else {
                    (unit, 0..chunks)
                };
                let head = job.head(index, inputs.at(index));
                let [g, o, tq, tk, tv] = others.at(index);
                let target = |i: usize, offset: isize| Target {
                    at: to[i].get().wrapping_offset(offset),
                    rs: steps[i][0],
                    cs: steps[i][1],
                };
                let mut parts = Parts(all);
                // SAFETY: the parts are those that were reserved.
                let [rows, turned, grad_rows, grad_turned, out_turned, lse, dot] =
                    sizes.queries.map(|n| unsafe { parts.take(n) });
                // SAFETY: as above.
                let [scores, grads, mask, kept, key, value] = sizes.blocks.map(|n| unsafe { parts.take(n) });
                // SAFETY: as above.
                let [sum, part, room] = [sizes.grad, sizes.grad, sizes.room].map(|n| unsafe { parts.take(n) });
                let mut queries = Queries {
                    rows,
                    turned,
                    grad_rows,
                    grad_turned,
                    out_turned,
                    logsumexp: lse,
                    dot,
                };
                let mut blocks = Blocks {
                    scores,
                    grads,
                    mask,
                    kept,
                    key,
                    value,
                };
                // SAFETY: views promise that what their shapes span is live; units write different parts.
                unsafe {
                    let (grad, out) = (Matrix::of(grad, g), Matrix::of(out, o));
                    let lse = std::slice::from_raw_parts(logsumexp.ptr().add(index * job.l), job.l);
                    prepare(&job, &head, [&grad, &out], lse, &mut queries, &mut keep);
                    for c in mine {
                        let to = [target(1, tk), target(2, tv)];
                        if split {
                            let at = partials.at(unit * sizes.grad);
                            let part = std::slice::from_raw_parts_mut(at, sizes.grad);
                            chunk(&job, &head, &grad, c, &queries, &mut blocks, to, part);
                        } else if c == 0 {
                            chunk(&job, &head, &grad, c, &queries, &mut blocks, to, sum);
                        } else {
                            chunk(&job, &head, &grad, c, &queries, &mut blocks, to, part);
                            join(&job, c, sum, part);
                        }
                    }
                    if !split {
                        write_queries(&job, sum, room, target(0, tq));
                    }
                }
            }
        });
    });
    if split {
        parallel::for_range(job.heads, 1, |range| {
            let mut room = vec![T::ZERO; sizes.room];
            for index in range {
                // SAFETY: each head's partial results, and its part of the output.
                unsafe {
                    let at = |c: usize| partials.at((index * chunks + c) * sizes.grad);
                    let sum = std::slice::from_raw_parts_mut(at(0), sizes.grad);
                    for c in 1..chunks {
                        join(&job, c, sum, std::slice::from_raw_parts(at(c), sizes.grad));
                    }
                    let target = Target {
                        at: to[0].get().offset(others.at(index)[2]),
                        rs: steps[0][0],
                        cs: steps[0][1],
                    };
                    write_queries(&job, sum, &mut room, target);
                }
            }
        });
    }
}

/// The first block of queries that sees the keys from `k` on.
fn first_block<T: 'static>(job: &Job<T>, k: usize) -> usize {
    let blocks = job.l.div_ceil(QUERIES);
    if job.causal { (k / QUERIES).min(blocks) } else { 0 }
}

/// Adds a later chunk's part of the queries' gradients; queries that do not see it have none.
fn join<T: Real + HasTiles>(job: &Job<T>, chunk: usize, sum: &mut [T], part: &[T]) {
    let from = first_block(job, chunk * CHUNK) * job.e * QUERIES;
    block::sum_up(&mut sum[from..], &part[from..]);
}

/// Fills what all chunks of a head use.
///
/// # Safety
/// The matrices are live.
unsafe fn prepare<T: Real + HasTiles>(
    job: &Job<T>,
    head: &Head<T>,
    [grad, out]: [&Matrix<T>; 2],
    logsumexp: &[T],
    to: &mut Queries<T>,
    keep: &mut Vec<T>,
) {
    let (e, v) = (job.e, job.v);
    // SAFETY: the caller's promise; the scratch memory has a block of rows for each block of queries.
    unsafe {
        for q in (0..job.l).step_by(QUERIES) {
            let n = QUERIES.min(job.l - q);
            let turned = &mut to.turned[q * e..(q + QUERIES) * e];
            job.turn_rows(&head.query, q, n, e, turned.as_mut_ptr());
            block::scale(turned, job.scale);
            let grad_turned = &mut to.grad_turned[q * v..(q + QUERIES) * v];
            job.turn_rows(grad, q, n, v, grad_turned.as_mut_ptr());
            job.turn_rows(out, q, n, v, to.out_turned.as_mut_ptr());
            block::dots(grad_turned, to.out_turned, &mut to.dot[q..q + QUERIES]);
            for i in q..q + n {
                if !head.query.has_rows() {
                    let row = line(head.query.row(i), e, head.query.cs, keep);
                    to.rows[i * e..(i + 1) * e].copy_from_slice(row);
                }
                if !grad.has_rows() {
                    let row = line(grad.row(i), v, grad.cs, keep);
                    to.grad_rows[i * v..(i + 1) * v].copy_from_slice(row);
                }
            }
        }
    }
    to.logsumexp[..job.l].copy_from_slice(logsumexp);
    to.logsumexp[job.l..].fill(T::INF);
}

/// Gradients of a chunk's keys and values, and its part of the queries' (turned) in `part`.
///
/// # Safety
/// The matrices and targets are live.
#[allow(clippy::too_many_arguments, reason = "a head's matrices, scratch memory and targets")]
unsafe fn chunk<T: Weight + HasTiles>(
    job: &Job<T>,
    head: &Head<T>,
    grad: &Matrix<T>,
    chunk: usize,
    queries: &Queries<T>,
    blocks: &mut Blocks<T>,
    [to_key, to_value]: [Target<T>; 2],
    part: &mut [T],
) {
    let (e, v) = (job.e, job.v);
    let (start, end) = (chunk * CHUNK, job.s.min((chunk + 1) * CHUNK));
    if start >= end {
        part.fill(T::ZERO);
    }
    for k in (start..end).step_by(KEYS) {
        let most = KEYS.min(end - k);
        let first = first_block(job, k);
        // Rows of the values' gradient, which need no scale, are made where they belong.
        let there = to_value.cs == 1;
        let (value, value_rs) = match there {
            true => (to_value.row(k), to_value.rs),
            false => (blocks.value.as_mut_ptr(), v as isize),
        };
        // Keys that only later queries see start from nothing.
        let zero = |keys: &mut [T], rows: Range<usize>| {
            keys[rows.start * e..rows.end * e].fill(T::ZERO);
            for i in rows {
                // SAFETY: the target, or the scratch memory, has these rows.
                unsafe { std::ptr::write_bytes(value.wrapping_offset(i as isize * value_rs), 0, v) };
            }
        };
        if first * QUERIES >= job.l {
            zero(blocks.key, 0..most);
        }
        for b in first..job.l.div_ceil(QUERIES) {
            let q = b * QUERIES;
            let nq = QUERIES.min(job.l - q);
            let n = most.min(job.seen(q, nq) - k);
            if b == first {
                zero(blocks.key, n..most);
            }
            let base = Product {
                m: n,
                n: QUERIES,
                k: e,
                a: head.key.row(k),
                a_rs: head.key.rs,
                a_cs: head.key.cs,
                b: queries.turned[q * e..].as_ptr(),
                b_rs: QUERIES as isize,
                c: blocks.scores.as_mut_ptr(),
                c_rs: QUERIES as isize,
                from_c: false,
                col_bias: std::ptr::null(),
            };
            let block = ..n * QUERIES;
            let rows_of = |m: &Matrix<T>, copy: &[T], width: usize| match m.has_rows() {
                true => (m.row(q), m.rs),
                false => (copy[q * width..].as_ptr(), width as isize),
            };
            // SAFETY: the caller's promise; blocks and rows lie in the scratch memory.
            unsafe {
                base.run(job.products);
                Product {
                    k: v,
                    a: head.value.row(k),
                    a_rs: head.value.rs,
                    a_cs: head.value.cs,
                    b: queries.grad_turned[q * v..].as_ptr(),
                    c: blocks.grads.as_mut_ptr(),
                    ..base
                }
                .run(job.products);
                let mask = job.mask_block(head, [q, nq], [k, n], blocks.mask);
                let kept = job.kept_block(head, [q, nq], [k, n], blocks.kept);
                let (lse, dot) = (lanes(&queries.logsumexp[q..]), lanes(&queries.dot[q..]));
                let (scores, grads) = (&mut blocks.scores[block], &mut blocks.grads[block]);
                block::backward(scores, grads, mask, kept, job.ahead(q, k, n), lse, dot);
                // Keys beyond those that earlier queries saw were set to zero above.
                let down = |from: *const T, (rows, rs): (*const T, isize), width: usize, to: (*mut T, isize)| Product {
                    m: n,
                    n: width,
                    k: nq,
                    a: from,
                    a_rs: QUERIES as isize,
                    a_cs: 1,
                    b: rows,
                    b_rs: rs,
                    c: to.0,
                    c_rs: to.1,
                    from_c: b > first,
                    col_bias: std::ptr::null(),
                };
                let (value, key) = ((value, value_rs), (blocks.key.as_mut_ptr(), e as isize));
                down(scores.as_ptr(), rows_of(grad, queries.grad_rows, v), v, value).run(job.products);
                down(grads.as_ptr(), rows_of(&head.query, queries.rows, e), e, key).run(job.products);
                Product {
                    m: e,
                    k: n,
                    a: head.key.row(k),
                    a_rs: head.key.cs,
                    a_cs: head.key.rs,
                    b: grads.as_ptr(),
                    c: part[q * e..].as_mut_ptr(),
                    from_c: k > start,
                    col_bias: std::ptr::null(),
                    ..base
                }
                .run(job.products);
            }
        }
        // SAFETY: the targets have these rows. The queries' rows had no scale.
        unsafe {
            write_rows(
                blocks.key.as_ptr(),
                [most, e, e],
                job.scale,
                to_key.row(k),
                to_key.steps(),
            );
            if !there {
                write_rows(
                    blocks.value.as_ptr(),
                    [most, v, v],
                    T::ONE,
                    to_value.row(k),
                    to_value.steps(),
                );
            }
        }
    }
}

fn lanes<T>(of: &[T]) -> &Lanes<T> {
    of.first_chunk().expect("a whole block")
}

/// Writes the queries' gradient, whose scale is still missing.
///
/// # Safety
/// The target has `l` rows of `e`.
unsafe fn write_queries<T: Real + HasTiles>(job: &Job<T>, turned: &mut [T], room: &mut [T], to: Target<T>) {
    block::scale(turned, job.scale);
    for q in (0..job.l).step_by(QUERIES) {
        let n = QUERIES.min(job.l - q);
        // SAFETY: the caller's promise.
        unsafe {
            let block = turned[q * job.e..].as_ptr();
            turn_back(job.tiles, block, [n, job.e], room.as_mut_ptr(), to.row(q), to.steps());
        }
    }
}
