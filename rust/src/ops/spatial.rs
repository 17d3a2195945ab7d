//! Images of one to three spatial dims, as the kernels of convolution and pooling see them: always five dims.

use super::def::{Meta, Metas};
use crate::core::Core;
use crate::device::Device;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::layout::{Dims, Layout};
use smallvec::smallvec;

/// Largest stride, padding, dilation or window: beyond it sizes could overflow.
const LARGEST: i64 = i32::MAX as i64;

/// `[n, c, d, h, w]` from `[n, c, spatial..]` or `[c, spatial..]` with `n` spatial dims; missing dims have size 1.
pub fn five(l: &Layout, n: usize) -> Layout {
    let (mut sizes, mut strides) = ([1usize; 5], [0isize; 5]);
    let batched = l.rank() == n + 2;
    let front = batched as usize + 1;
    for i in 0..l.rank() {
        let to = if i < front {
            i + !batched as usize
        } else {
            5 - l.rank() + i
        };
        sizes[to] = l.shape[i];
        strides[to] = l.strides()[i];
    }
    let shape = Dims::new(&sizes).expect("five dims");
    Layout::strided(shape, &strides, l.offset)
}

/// A batch of images with `n` spatial dims whose channels lie side by side, and that is not row-major as well.
pub fn channels_last(l: &Layout, n: usize) -> bool {
    let mut step = 1;
    l.rank() == n + 2
        && !l.is_contiguous()
        && [1].into_iter().chain((2..n + 2).rev()).chain([0]).all(|d| {
            let follows = l.shape[d] == 1 || l.strides()[d] == step;
            step *= l.shape[d] as isize;
            follows
        })
}

/// One result, whose channels lie as those of `t`, with its `n` spatial dims.
pub fn laid_like(t: &Core, shape: Dims, dtype: DType, n: usize) -> Result<Metas> {
    let mut meta = Meta::new(shape, dtype);
    if (2..=3).contains(&n) && t.device() == Device::Cpu && channels_last(&t.layout, n) {
        meta.layout = Some(Box::new(Layout::dense_like(shape, &t.layout)));
    }
    Ok(smallvec![meta])
}

/// The spatial sizes of a shape with `n` of them, missing ones 1.
pub fn sizes(shape: &[usize], n: usize) -> [usize; 3] {
    let mut out = [1; 3];
    out[3 - n..].copy_from_slice(&shape[shape.len() - n..]);
    out
}

/// One number for all `n` dims, or `n` of them; missing dims get `fill`. `what` names the parameter in the error.
pub fn per_dim(values: &[i64], n: usize, fill: usize, what: impl FnOnce() -> String) -> Result<[usize; 3]> {
    if values.len() != n && values.len() != 1 {
        return Error::runtime(what());
    }
    let mut out = [fill; 3];
    for (i, o) in out[3 - n..].iter_mut().enumerate() {
        let v = values[i % values.len()];
        if !(0..=LARGEST).contains(&v) {
            return Error::runtime(format!("a size of {v} is out of range"));
        }
        *o = v as usize;
    }
    Ok(out)
}

/// The visible part of three numbers for messages: `3 x 3`.
pub fn times(values: [usize; 3], n: usize) -> String {
    values[3 - n..]
        .iter()
        .map(usize::to_string)
        .collect::<Vec<_>>()
        .join(" x ")
}
