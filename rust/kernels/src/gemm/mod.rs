//! Matrix products: packed, cache-blocked and register-tiled, of f32, f64, i32 and i64, and of narrower ones.
//!
//! Which order the additions take is decided by [`Order`], from shape and contiguity alone:
//! * usually each element is one chain of fused multiply-adds in the order of k;
//! * a matrix-vector or dot product whose k is contiguous (or has no contiguous dim at all) uses 64 virtual lanes, in
//!   blocks of [`DOT_BLOCK`];
//! * where m·n is small and k is long, k is cut into blocks, whose sums are joined in a fixed tree; each of them is one chain
//!   or, for few rows or columns with k contiguous in both operands, uses 64 virtual lanes.

pub(crate) mod ahead;
mod bytes;
mod driver;
mod epilogue;
mod few;
mod int;
mod micro;
pub(crate) mod narrow;
mod pack;
mod packed;
#[cfg(target_arch = "x86_64")]
mod pairs;
pub(crate) mod tables;
mod thin;
mod vector;
mod widened;
#[cfg(target_arch = "x86_64")]
mod words;

pub(crate) use ahead::{Ahead, Runs};
pub use bytes::dot_narrow;
pub(crate) use driver::Gemm;
pub use epilogue::{Bias, Epilogue, Plus};
pub(crate) use micro::{Number, Products, Tile};
pub use narrow::{has_bf16, matmul_bf16, matmul_i8};
pub(crate) use pack::{PackArgs, SLACK, Scratch, new_name, pack_a, pack_b, panel_width, with_scratch, with_shared};
pub(crate) use packed::{Operands, Panels, even_part, longest_k};
pub(crate) use tables::{HasKernels, HasProducts, Kernels};
pub(crate) use vector::join_rows;
pub use widened::{matmul_widened, widens};

pub(crate) use self::epilogue::Summand;
use self::epilogue::pointer;
use crate::dtype::Element;
use crate::parallel;
use crate::simd::{Isa, isa};
use crate::view::{Dst, MAX_RANK, Src};

/// Element types that have a matrix product: f32, f64, i32, i64 (which wrap).
pub trait GemmElement: Element {
    #[doc(hidden)]
    fn product(isa: Isa, a: Src<Self>, b: Src<Self>, c: Dst<Self>, ep: Epilogue<Self>);
}

/// `c = a @ b` for `a` [.., m, k], `b` [.., k, n], `c` [.., m, n] of one rank (2 to 8) and equal batch dims (broadcast
/// ones have stride 0). Inputs may be strided in any way.
pub fn matmul<T: GemmElement>(a: Src<T>, b: Src<T>, c: Dst<T>, ep: Epilogue<T>) {
    T::product(isa(), a, b, c, ep);
}

/// `c = a @ b` for row-major matrices [m, k] and [k, n], on this thread: the bits of [`matmul`] without its preparations.
/// False, with nothing done, where another order of additions holds (one row or column, a long k).
pub fn small_product(a: &[f32], b: &[f32], [m, k, n]: [usize; 3], c: &mut [f32]) -> bool {
    assert!(a.len() == m * k && b.len() == k * n && c.len() == m * n);
    if m <= 1 || n <= 1 || k == 0 || k >= SPLIT_K {
        return false;
    }
    let g = Gemm {
        m,
        n,
        k,
        a: a.as_ptr(),
        a_rs: k as isize,
        a_cs: 1,
        b: b.as_ptr(),
        b_rs: n as isize,
        b_cs: 1,
        c: c.as_mut_ptr(),
        c_rs: n as isize,
        c_cs: 1,
        ..Gemm::empty()
    };
    // SAFETY: the slices hold what the sizes say (checked above), and `c` is borrowed alone.
    unsafe { g.run_here(f32::kernels(isa())) };
    true
}

impl GemmElement for f32 {
    fn product(isa: Isa, a: Src<f32>, b: Src<f32>, c: Dst<f32>, ep: Epilogue<f32>) {
        product(isa, a, b, c, ep);
    }
}
impl GemmElement for f64 {
    fn product(isa: Isa, a: Src<f64>, b: Src<f64>, c: Dst<f64>, ep: Epilogue<f64>) {
        product(isa, a, b, c, ep);
    }
}
/// Longest stretch of k in one dot product of 64 lanes.
const DOT_BLOCK: usize = 16384;
/// With at most this many elements of C, and at least this k, k is cut into blocks of at least `SPLIT_BLOCK`, at most
/// `SPLIT_MOST` of them.
const SPLIT_AREA: usize = 16384;
const SPLIT_K: usize = 4096;
pub(crate) const SPLIT_BLOCK: usize = 2048;
const SPLIT_MOST: usize = 64;
/// With at most so many rows or columns, or elements of C, and k contiguous in both operands, a block is dot products:
/// nothing is packed.
const DOTTED: usize = 2;
const DOTTED_AREA: usize = 128;

/// The order in which the products of one element of C are added.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Order {
    Serial,
    /// 64 virtual lanes; C has one column, or (`true`) one row.
    Lanes(bool),
    /// Blocks of this many k; if `true` each in 64 virtual lanes.
    Split(usize, bool),
}

impl Order {
    fn of<T>(g: &Gemm<T>) -> Order {
        let lanes = |k_stride: isize, other: isize| g.k <= 1 || k_stride == 1 || other != 1;
        if g.n == 1 && (g.m == 1 || lanes(g.a_cs, g.a_rs)) {
            Order::Lanes(false)
        } else if g.m == 1 && lanes(g.b_rs, g.b_cs) {
            Order::Lanes(true)
        } else if g.k >= SPLIT_K && g.m * g.n <= SPLIT_AREA {
            let block = g.k.div_ceil(SPLIT_MOST).next_multiple_of(64).max(SPLIT_BLOCK);
            let few = g.m.min(g.n) <= DOTTED || g.m * g.n <= DOTTED_AREA;
            Order::Split(block, few && g.a_cs == 1 && g.b_rs == 1)
        } else {
            Order::Serial
        }
    }
}

impl<T: Number> Gemm<T> {
    /// [`Gemm::run`], with the additions in the order of [`matmul`].
    ///
    /// # Safety
    /// As there.
    pub(crate) unsafe fn run_in_order(self, kernels: &'static Products<T>) {
        // SAFETY: the caller's promise.
        unsafe {
            match Order::of(&self) {
                Order::Lanes(row) => {
                    let turned = if row { self.swapped() } else { self };
                    vector::lanes(kernels, 1, turned, |_| turned)
                }
                Order::Split(block, dotted) => vector::split(kernels, self, block, dotted),
                Order::Serial => self.run(kernels),
            }
        }
    }
}

/// Offset of batch element `index` in elements.
fn batch_offset(shape: &[usize], strides: &[isize], mut index: usize) -> isize {
    let mut offset = 0;
    for (&n, &s) in shape.iter().zip(strides).rev() {
        offset += (index % n) as isize * s;
        index /= n;
    }
    offset
}

/// The one stride of all dims taken together, if there is one.
pub(crate) fn merged_stride(shape: &[usize], strides: &[isize]) -> Option<isize> {
    let mut merged: Option<(isize, isize)> = None;
    for (&n, &s) in shape.iter().zip(strides).rev().filter(|d| *d.0 != 1) {
        merged = match merged {
            None => Some((s, s * n as isize)),
            Some((first, next)) if s == next => Some((first, next * n as isize)),
            Some(_) => return None,
        };
    }
    Some(merged.map_or(0, |m| m.0))
}

fn product<T>(isa: Isa, a: Src<T>, b: Src<T>, c: Dst<T>, ep: Epilogue<T>)
where
    T: HasProducts,
{
    let rank = c.rank();
    assert!((2..=MAX_RANK).contains(&rank) && a.rank() == rank && b.rank() == rank);
    if c.numel() == 0 {
        return;
    }
    let d = rank - 2;
    let (m, n, k) = (c.shape()[d], c.shape()[d + 1], a.shape()[d + 1]);
    if k == 0 {
        return empty_product(c, ep);
    }
    let shape = &c.shape()[..d];
    let batch: usize = shape.iter().product();
    let (row_bias, col_bias) = ep.bias.vectors(m, n);
    let first = Gemm {
        m,
        n,
        k,
        a: a.ptr(),
        a_rs: a.strides()[d],
        a_cs: a.strides()[d + 1],
        b: b.ptr(),
        b_rs: b.strides()[d],
        b_cs: b.strides()[d + 1],
        c: c.ptr(),
        c_rs: c.strides()[d],
        c_cs: c.strides()[d + 1],
        from_c: ep.accumulate,
        plus: ep.plus.map_or(Summand::none(T::default()), |p| p.summand()),
        row_bias: pointer(&row_bias),
        col_bias: pointer(&col_bias),
        relu: ep.relu,
    };
    let strides = [a.strides(), b.strides(), c.strides()];
    let at = |index: usize| {
        let mut g = first.moved(strides.map(|s| batch_offset(shape, s, index)));
        if let Some(p) = &ep.plus {
            g.plus = g.plus.moved(batch_offset(shape, p.of.strides(), index));
        }
        g
    };
    let kernels = T::products(isa);
    match Order::of(&first) {
        // SAFETY: views promise that what their shapes span is live; `kernels` fit the CPU.
        Order::Lanes(row) => unsafe {
            let turned = |i| if row { at(i).swapped() } else { at(i) };
            vector::lanes(kernels, batch, turned(0), turned)
        },
        // SAFETY: as above.
        Order::Split(block, dotted) => (0..batch).for_each(|i| unsafe { vector::split(kernels, at(i), block, dotted) }),
        // SAFETY: as above.
        Order::Serial => unsafe {
            serial(
                kernels,
                [&a.shape()[..d + 1], shape],
                strides,
                ep.plus.is_none() && row_bias.is_none(),
                first,
                at,
            )
        },
    }
}

/// The sum over no k: zero (or what is there already), and the epilogue.
fn empty_product<T: Number>(c: Dst<T>, ep: Epilogue<T>) {
    let d = c.rank() - 2;
    let (m, n) = (c.shape()[d], c.shape()[d + 1]);
    let (row_bias, col_bias) = ep.bias.vectors(m, n);
    for i in 0..c.numel() {
        let offset = |strides: &[isize]| batch_offset(c.shape(), strides, i);
        // SAFETY: the index lies inside the shape that the view promises; `accumulate` promises that C is initialised.
        unsafe {
            let at = c.ptr().offset(offset(c.strides()));
            let mut v = if ep.accumulate { *at } else { T::default() };
            if let Some(p) = &ep.plus {
                v = p.alpha * v + p.beta * *p.of.ptr().offset(offset(p.of.strides()));
            }
            if let Some(bias) = &col_bias {
                v = v + bias[i % n];
            }
            if let Some(bias) = &row_bias {
                v = v + bias[i / n % m];
            }
            at.write(if ep.relu && v < T::default() { T::default() } else { v });
        }
    }
}

/// All batch elements, each element of C as one chain; `plain` when the epilogue knows no rows.
///
/// # Safety
/// What the problems describe lies in live memory; `kernels` fit the CPU.
unsafe fn serial<T: Number>(
    kernels: &'static Products<T>,
    [rows, shape]: [&[usize]; 2],
    [a, b, c]: [&[isize]; 3],
    plain: bool,
    first: Gemm<T>,
    at: impl Fn(usize) -> Gemm<T> + Sync,
) {
    let batch: usize = shape.iter().product();
    let shared_b = shape.iter().zip(b).all(|(&n, &s)| n == 1 || s == 0);
    if batch > 1 && shared_b && plain {
        // One B for all: the batch is more rows of A.
        if let (Some(a_rs), Some(c_rs)) = (
            merged_stride(rows, &a[..rows.len()]),
            merged_stride(rows, &c[..rows.len()]),
        ) {
            // SAFETY: the caller's promise; the merged dims address the same elements.
            return unsafe {
                Gemm {
                    m: batch * first.m,
                    a_rs,
                    c_rs,
                    ..first
                }
                .run(kernels)
            };
        }
    }
    let work = (first.m * first.n).saturating_mul(first.k).max(1);
    if batch >= 4 * parallel::threads() || work < (1 << 21) {
        let merged = [a, b, c].map(|s| merged_stride(shape, &s[..shape.len()]));
        if let (true, [Some(a), Some(b), Some(c)]) = (plain && first.stacks(kernels), merged) {
            return parallel::for_range(batch, (1 << 20) / work, |range| {
                // SAFETY: as below; the strides of the stack are as merged.
                unsafe { first.run_stack(kernels, range, [a, b, c]) };
            });
        }
        parallel::for_range(batch, (1 << 20) / work, |range| {
            // SAFETY: the caller's promise; outputs of different batch elements are disjoint.
            range.for_each(|i| unsafe { at(i).run_here(kernels) });
        });
    } else {
        // SAFETY: as above.
        (0..batch).for_each(|i| unsafe { at(i).run(kernels) });
    }
}
