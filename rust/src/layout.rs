//! Shapes and strides: where a tensor's elements lie in its buffer.

use crate::error::{Error, Result};
use firesteel_kernels::MAX_RANK;
use std::fmt;

/// A shape: up to [`MAX_RANK`] sizes, inline.
#[derive(Clone, Copy, Eq)]
pub struct Dims {
    // A whole word: a byte would be copied together with its padding, in pieces that stall the next read.
    len: usize,
    at: [usize; MAX_RANK],
}

impl Dims {
    pub const EMPTY: Dims = Dims {
        len: 0,
        at: [0; MAX_RANK],
    };

    /// Fails when there are more than [`MAX_RANK`] dims.
    pub fn new(sizes: &[usize]) -> Result<Dims> {
        let mut at = [0; MAX_RANK];
        if sizes.len() > MAX_RANK {
            return Error::runtime(format!("tensors have at most {MAX_RANK} dims, got {}", sizes.len()));
        }
        at[..sizes.len()].copy_from_slice(sizes);
        Ok(Dims { len: sizes.len(), at })
    }

    /// Checks sizes given by a program: none negative, no overflow of the element count.
    pub fn from_ints(sizes: &[i64]) -> Result<Dims> {
        let mut at = [0; MAX_RANK];
        if sizes.len() > MAX_RANK {
            return Error::runtime(format!("tensors have at most {MAX_RANK} dims, got {}", sizes.len()));
        }
        for (to, &n) in at.iter_mut().zip(sizes) {
            if n < 0 {
                return Error::runtime(format!(
                    "Trying to create tensor with negative dimension {n}: {sizes:?}"
                ));
            }
            *to = n as usize;
        }
        let dims = Dims { len: sizes.len(), at };
        dims.check()?;
        Ok(dims)
    }

    /// The element count fits in memory addresses, whatever the dtype.
    pub fn check(&self) -> Result<()> {
        let n = self
            .iter()
            .filter(|&&n| n != 0)
            .try_fold(1usize, |a, &n| a.checked_mul(n));
        match n {
            Some(n) if n <= (isize::MAX as usize) / 8 => Ok(()),
            _ => Error::runtime(format!("Storage size calculation overflowed with sizes={self:?}")),
        }
    }

    pub fn push(&mut self, n: usize) -> Result<()> {
        if self.len == MAX_RANK {
            return Error::runtime(format!("tensors have at most {MAX_RANK} dims"));
        }
        self.at[self.len] = n;
        self.len += 1;
        Ok(())
    }

    pub fn numel(&self) -> usize {
        self.iter().product()
    }

    pub fn ints(&self) -> Vec<i64> {
        self.iter().map(|&n| n as i64).collect()
    }
}

impl PartialEq for Dims {
    #[inline(always)]
    fn eq(&self, other: &Dims) -> bool {
        self.len == other.len && (0..self.len).all(|i| self.at[i] == other.at[i])
    }
}

impl std::ops::Deref for Dims {
    type Target = [usize];
    #[inline(always)]
    fn deref(&self) -> &[usize] {
        &self.at[..self.len]
    }
}

impl std::ops::DerefMut for Dims {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [usize] {
        &mut self.at[..self.len]
    }
}

impl fmt::Debug for Dims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &**self)
    }
}

impl fmt::Display for Dims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &**self)
    }
}

/// Shape, strides (in elements) and offset of a tensor in its buffer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    pub shape: Dims,
    pub(crate) strides: [isize; MAX_RANK],
    pub offset: usize,
}

impl Layout {
    /// Of a 0-d tensor.
    pub const SCALAR: Layout = Layout {
        shape: Dims::EMPTY,
        strides: [0; MAX_RANK],
        offset: 0,
    };

    /// Makes a scalar's layout a row-major one, in its place.
    #[inline(always)]
    pub fn become_packed(&mut self, sizes: &[usize]) {
        debug_assert!(sizes.len() <= MAX_RANK);
        let n = sizes.len().min(MAX_RANK);
        self.shape.len = n;
        let mut step = 1;
        for i in (0..n).rev() {
            self.shape.at[i] = sizes[i];
            self.strides[i] = step;
            step *= sizes[i].max(1) as isize;
        }
    }

    /// Row-major layout from offset 0.
    #[inline]
    pub fn contiguous(shape: Dims) -> Layout {
        let mut l = Layout::SCALAR;
        l.become_packed(&shape);
        l
    }

    pub fn strided(shape: Dims, strides: &[isize], offset: usize) -> Layout {
        let mut s = [0; MAX_RANK];
        s[..shape.len()].copy_from_slice(&strides[..shape.len()]);
        Layout {
            shape,
            strides: s,
            offset,
        }
    }

    /// Dense layout with dims in the order of `like`'s strides (what PyTorch's `preserve_format` gives).
    pub fn dense_like(shape: Dims, like: &Layout) -> Layout {
        let n = shape.len();
        if n != like.rank() || like.is_contiguous() || !like.is_dense() {
            return Layout::contiguous(shape);
        }
        Layout { shape, ..*like }.packed_alike()
    }

    /// The shape without gaps, dims in the order of their strides.
    pub fn packed_alike(&self) -> Layout {
        let mut order: Vec<usize> = (0..self.rank()).collect();
        order.sort_by_key(|&d| std::cmp::Reverse(self.strides[d]));
        let mut out = Layout::contiguous(self.shape);
        let mut step = 1isize;
        for &d in order.iter().rev() {
            out.strides[d] = step;
            step *= self.shape[d].max(1) as isize;
        }
        out
    }

    #[inline(always)]
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    #[inline(always)]
    pub fn strides(&self) -> &[isize] {
        &self.strides[..self.shape.len()]
    }

    pub fn numel(&self) -> usize {
        self.shape.numel()
    }

    pub fn is_contiguous(&self) -> bool {
        let mut expect = 1isize;
        for i in (0..self.rank()).rev() {
            match self.shape[i] {
                0 => return true,
                1 => {}
                n => {
                    if self.strides[i] != expect {
                        return false;
                    }
                    expect *= n as isize;
                }
            }
        }
        self.shape.iter().all(|&n| n != 0) || self.rank() == 0 || self.numel() == 0
    }

    /// Elements that follow each other along the last dim do so in memory, and no element stands for several.
    pub fn has_rows(&self) -> bool {
        let wide = || (0..self.rank()).filter(|&i| self.shape[i] > 1);
        self.numel() == 0
            || (wide().all(|i| self.strides[i] != 0) && wide().next_back().is_none_or(|i| self.strides[i] == 1))
    }

    /// Every element has an address of its own and together they fill one block (any order of dims).
    pub fn is_dense(&self) -> bool {
        if self.is_contiguous() {
            return true;
        }
        let mut dims: Vec<(isize, usize)> = (0..self.rank())
            .filter(|&i| self.shape[i] != 1)
            .map(|i| (self.strides[i], self.shape[i]))
            .collect();
        dims.sort_unstable();
        let mut expect = 1isize;
        dims.iter().all(|&(s, n)| {
            let ok = s == expect;
            expect *= n as isize;
            ok
        })
    }

    /// Two indices may address the same element (broadcast dims and the like); may say so for some that do not overlap.
    pub fn self_overlaps(&self) -> bool {
        if self.is_contiguous() || self.numel() <= 1 {
            return false;
        }
        let mut dims: Vec<(isize, usize)> = (0..self.rank())
            .filter(|&i| self.shape[i] > 1)
            .map(|i| (self.strides[i], self.shape[i]))
            .collect();
        dims.sort_unstable();
        let mut reach = 0isize;
        for (s, n) in dims {
            if s <= reach {
                return true;
            }
            reach += s * (n as isize - 1);
        }
        false
    }

    /// One past the last element's index in the buffer; equals the offset for an empty tensor.
    pub fn end(&self) -> usize {
        if self.numel() == 0 {
            return self.offset;
        }
        let reach: isize = (0..self.rank())
            .map(|i| (self.shape[i] as isize - 1) * self.strides[i])
            .sum();
        (self.offset as isize + reach + 1) as usize
    }

    /// Broadcast to `shape` with strides of 0; the caller has checked that it fits.
    pub fn broadcast_to(&self, shape: &Dims) -> Layout {
        let pad = shape.len() - self.rank();
        let mut strides = [0; MAX_RANK];
        for i in 0..self.rank() {
            if self.shape[i] != 1 || shape[i + pad] == 1 {
                strides[i + pad] = self.strides[i];
            }
        }
        Layout {
            shape: *shape,
            strides,
            offset: self.offset,
        }
    }

    /// The strides under which the same elements have another shape, if there are any (as `Tensor.view`).
    pub fn view(&self, shape: &Dims) -> Option<Layout> {
        if self.is_contiguous() {
            return Some(Layout {
                offset: self.offset,
                ..Layout::contiguous(*shape)
            });
        }
        if self.numel() == 0 {
            return Some(Layout {
                offset: self.offset,
                ..Layout::contiguous(*shape)
            });
        }
        let mut strides = [0isize; MAX_RANK];
        let mut to = shape.len();
        let mut i = self.rank();
        while i > 0 {
            // A run of dims of self that are contiguous with each other.
            i -= 1;
            let base = self.strides[i];
            let mut size = self.shape[i];
            while i > 0 && (self.shape[i - 1] == 1 || self.strides[i - 1] == base * size as isize || size == 1) {
                if size == 1 && self.shape[i - 1] != 1 {
                    break;
                }
                i -= 1;
                size *= self.shape[i];
            }
            // Dims of the new shape that it is cut into.
            let mut step = base;
            let mut left = size;
            while to > 0 && (left > 1 || shape[to - 1] == 1) {
                let n = shape[to - 1];
                if n == 0 || !left.is_multiple_of(n) {
                    return None;
                }
                to -= 1;
                strides[to] = step;
                step *= n as isize;
                left /= n;
            }
            if left != 1 {
                return None;
            }
        }
        while to > 0 && shape[to - 1] == 1 {
            to -= 1;
            strides[to] = 1;
        }
        (to == 0).then_some(Layout {
            shape: *shape,
            strides,
            offset: self.offset,
        })
    }

    pub fn permute(&self, order: &[usize]) -> Layout {
        let mut out = *self;
        for (i, &d) in order.iter().enumerate() {
            out.shape[i] = self.shape[d];
            out.strides[i] = self.strides[d];
        }
        out
    }

    /// Exchanges two dims, in place.
    pub fn swap(&mut self, a: usize, b: usize) {
        self.shape.swap(a, b);
        self.strides.swap(a, b);
    }

    pub fn transpose(&self, a: usize, b: usize) -> Layout {
        let mut out = *self;
        out.swap(a, b);
        out
    }

    /// Takes a dim out, in place.
    pub fn drop_dim(&mut self, dim: usize) {
        let n = self.rank();
        for i in dim + 1..n {
            self.shape.at[i - 1] = self.shape.at[i];
            self.strides[i - 1] = self.strides[i];
        }
        self.strides[n - 1] = 0;
        self.shape.len = n - 1;
    }

    pub fn remove(&self, dim: usize) -> Layout {
        let mut l = *self;
        l.drop_dim(dim);
        l
    }

    /// Puts a dim in, in place.
    pub fn insert(&mut self, dim: usize, size: usize, stride: isize) -> Result<()> {
        let n = self.rank();
        self.shape.push(size)?;
        for i in (dim..n).rev() {
            self.shape.at[i + 1] = self.shape.at[i];
            self.strides[i + 1] = self.strides[i];
        }
        self.shape.at[dim] = size;
        self.strides[dim] = stride;
        Ok(())
    }

    pub fn select(&self, dim: usize, index: usize) -> Layout {
        let mut out = self.remove(dim);
        out.offset = (self.offset as isize + index as isize * self.strides[dim]) as usize;
        out
    }

    /// Leaves one index of a dim, which goes, in place.
    pub fn pick(&mut self, dim: usize, index: usize) {
        self.offset = (self.offset as isize + index as isize * self.strides[dim]) as usize;
        self.drop_dim(dim);
    }

    /// Leaves a range of a dim, in place: `start` and `len` are inside the dim; `step` is positive.
    pub fn cut(&mut self, dim: usize, start: usize, len: usize, step: usize) {
        let stride = self.strides[dim];
        self.shape[dim] = len;
        self.strides[dim] = stride * step as isize;
        if len > 0 {
            self.offset = (self.offset as isize + start as isize * stride) as usize;
        }
    }

    pub fn slice(&self, dim: usize, start: usize, len: usize, step: usize) -> Layout {
        let mut out = *self;
        out.cut(dim, start, len, step);
        out
    }

    /// Dims in another order of steps, for a copy of `self` whose dims `dims` run backwards.
    pub fn flipped(&self, dims: &[bool]) -> Layout {
        let mut out = *self;
        for (i, &flip) in dims.iter().enumerate().take(self.rank()) {
            if flip && self.shape[i] > 0 {
                out.offset = (out.offset as isize + (self.shape[i] as isize - 1) * self.strides[i]) as usize;
                out.strides[i] = -self.strides[i];
            }
        }
        out
    }
}

/// The dim that `dim` names in a tensor of `rank` dims, negative ones counted from the end.
pub fn wrap_dim(dim: i64, rank: usize) -> Result<usize> {
    let n = rank.max(1) as i64;
    if dim < -n || dim >= n {
        return Error::index(format!(
            "Dimension out of range (expected to be in range of [{}, {}], but got {dim})",
            -n,
            n - 1
        ));
    }
    Ok(if dim < 0 { dim + n } else { dim } as usize)
}

/// The shape that operands broadcast to.
pub fn broadcast(a: &Dims, b: &Dims) -> Result<Dims> {
    if a == b {
        return Ok(*a);
    }
    let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    let mut out = *long;
    let pad = long.len() - short.len();
    for (i, &n) in short.iter().enumerate() {
        let m = out[i + pad];
        if m != n {
            if m == 1 {
                out[i + pad] = n;
            } else if n != 1 {
                let (x, y) = if a.len() >= b.len() { (m, n) } else { (n, m) };
                return Error::runtime(format!(
                    "The size of tensor a ({x}) must match the size of tensor b ({y}) at non-singleton dimension {} \
                     (shapes {a} and {b})",
                    i + pad
                ));
            }
        }
    }
    Ok(out)
}

/// Whether `from` broadcasts to exactly `to`.
pub fn expands_to(from: &Dims, to: &Dims) -> bool {
    from.len() <= to.len() && from.iter().rev().zip(to.iter().rev()).all(|(&a, &b)| a == b || a == 1)
}
