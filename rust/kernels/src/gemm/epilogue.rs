//! What happens to a product on its way into the result: a summand, a bias, a ReLU, each with the bits of the op of its own.

use crate::view::Src;

/// What happens to `a @ b` on its way into `c`, in this order: `accumulate`, `plus`, `bias`, `relu`.
#[derive(Clone, Copy)]
pub struct Epilogue<'a, T> {
    /// `c += a @ b` instead of `c = a @ b`: each element's chain of additions begins with what stands in `c`.
    pub accumulate: bool,
    /// `alpha * sum + beta * of`, each of the three operations rounded.
    pub plus: Option<Plus<'a, T>>,
    pub bias: Bias<'a, T>,
    /// Zero where the result is negative; a NaN and -0.0 stay.
    pub relu: bool,
}

/// A vector that is added to the sums.
#[derive(Clone, Copy)]
pub enum Bias<'a, T> {
    None,
    /// One number per column: a vector of length n (or 1), added to every row.
    Columns(Src<'a, T>),
    /// One number per row: a vector of length m (or 1), added to every column.
    Rows(Src<'a, T>),
}

/// A summand of the result's shape (strides may be 0) and the factors of both sides.
#[derive(Clone, Copy)]
pub struct Plus<'a, T> {
    pub alpha: T,
    pub beta: T,
    pub of: Src<'a, T>,
}

impl<T> Default for Epilogue<'_, T> {
    fn default() -> Self {
        Self {
            accumulate: false,
            plus: None,
            bias: Bias::None,
            relu: false,
        }
    }
}

/// [`Plus`] as the kernels read it: nothing when `of` is null.
#[derive(Clone, Copy)]
pub(crate) struct Summand<T> {
    pub alpha: T,
    pub beta: T,
    pub of: *const T,
    pub rs: isize,
    pub cs: isize,
}

impl<T: Copy> Summand<T> {
    /// No summand; `any` is not read.
    pub fn none(any: T) -> Self {
        Self {
            alpha: any,
            beta: any,
            of: std::ptr::null(),
            rs: 0,
            cs: 0,
        }
    }

    pub fn swapped(self) -> Self {
        Self {
            rs: self.cs,
            cs: self.rs,
            ..self
        }
    }

    /// From row `i` and column `j` on.
    pub fn part(self, i: usize, j: usize) -> Self {
        self.moved(i as isize * self.rs + j as isize * self.cs)
    }

    pub fn moved(self, offset: isize) -> Self {
        Self {
            of: if self.of.is_null() {
                self.of
            } else {
                self.of.wrapping_offset(offset)
            },
            ..self
        }
    }
}

impl<T: Copy> Plus<'_, T> {
    /// The first matrix of the stack.
    pub(crate) fn summand(&self) -> Summand<T> {
        let (strides, d) = (self.of.strides(), self.of.rank() - 2);
        Summand {
            alpha: self.alpha,
            beta: self.beta,
            of: self.of.ptr(),
            rs: strides[d],
            cs: strides[d + 1],
        }
    }
}

impl<T: Copy> Bias<'_, T> {
    /// The bias of the rows and that of the columns, as elements one after another.
    pub(crate) fn vectors(&self, m: usize, n: usize) -> (Option<Vec<T>>, Option<Vec<T>>) {
        match self {
            Bias::None => (None, None),
            Bias::Columns(v) => (None, Some(vector(v, n))),
            Bias::Rows(v) => (Some(vector(v, m)), None),
        }
    }
}

fn vector<T: Copy>(v: &Src<T>, n: usize) -> Vec<T> {
    let stride = match (v.shape().last(), v.strides().last()) {
        (Some(&len), Some(&stride)) if len != 1 => stride,
        _ => 0,
    };
    // SAFETY: the view spans `n` elements (or one, read again and again).
    (0..n as isize)
        .map(|j| unsafe { *v.ptr().wrapping_offset(j * stride) })
        .collect()
}

/// Where the elements begin, or null.
pub(crate) fn pointer<T>(v: &Option<Vec<T>>) -> *const T {
    v.as_ref().map_or(std::ptr::null(), |v| v.as_ptr())
}
