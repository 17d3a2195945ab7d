//! What becomes of a convolution's result while a block of it is still in the cache: the scale and shift of a norm, a
//! summand, a ReLU, a ReLU's gradient; each with the bits of the op of its own.

use crate::multiversion;
use crate::norm::Affine;
use crate::parallel;
use crate::reduce::real::Real;
use crate::view::{Dst, Src};

/// Elements worth handing to a thread.
const GRAIN: usize = 32 * 1024;

/// What is done to the result `[n, c, d, h, w]`, in this order.
#[derive(Clone, Copy)]
pub struct Finish<'a, T> {
    /// A function of each channel, as batch norm outside training has it.
    pub norm: Option<&'a [Affine<T>]>,
    /// Added; row-major, of the result's shape.
    pub plus: Option<Src<'a, T>>,
    /// Zero where the result is negative; a NaN and -0.0 stay.
    pub relu: bool,
    /// Zero where this is zero or negative: the gradient of a ReLU whose result this was. As `plus`.
    pub mask: Option<Src<'a, T>>,
}

impl<T> Finish<'_, T> {
    /// Nothing at all.
    pub const NONE: Self = Self {
        norm: None,
        plus: None,
        relu: false,
        mask: None,
    };

    fn is_none(&self) -> bool {
        self.norm.is_none() && self.plus.is_none() && self.mask.is_none() && !self.relu
    }

    /// For integers, whose convolutions nothing is fused with.
    pub(super) fn refuse(&self) {
        assert!(self.is_none(), "convolutions of integers are not finished");
    }
}

/// A rectangle of a row-major result: all of `count` positions from `from` in some channels of an image.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub image: usize,
    pub channel: usize,
    pub channels: usize,
    pub from: usize,
    pub count: usize,
}

/// [`Finish`] as the drivers carry it along.
pub(super) struct Finishing<T> {
    run: unsafe fn(&Finishing<T>, Block),
    y: *mut T,
    channels: usize,
    positions: usize,
    norm: *const Affine<T>,
    /// Null for none.
    plus: *const T,
    mask: *const T,
    relu: bool,
}

impl<T> Clone for Finishing<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Finishing<T> {}
// SAFETY: plain data; tasks finish disjoint blocks.
unsafe impl<T: Sync> Sync for Finishing<T> {}

impl<T: Real> Finishing<T> {
    /// `None` when there is nothing to do. `y`: row-major.
    pub fn new(f: &Finish<T>, y: &Dst<T>) -> Option<Self> {
        if f.is_none() {
            return None;
        }
        let channels = y.shape()[1];
        assert!(y.is_contiguous() && f.norm.is_none_or(|n| n.len() == channels));
        let same = |s: &Option<Src<T>>| {
            s.as_ref().map_or(std::ptr::null(), |s| {
                assert!(s.is_contiguous() && s.numel() == y.numel());
                s.ptr()
            })
        };
        Some(Self {
            run: finish,
            y: y.ptr(),
            channels,
            positions: y.shape()[2..].iter().product(),
            norm: f.norm.map_or(std::ptr::null(), |n| n.as_ptr()),
            plus: same(&f.plus),
            mask: same(&f.mask),
            relu: f.relu,
        })
    }

    /// The whole result of `images` images, where no driver did so block by block.
    ///
    /// # Safety
    /// As for [`Finishing::block`], for all blocks.
    pub unsafe fn all(&self, images: usize) {
        parallel::for_range(
            images * self.channels,
            (GRAIN / self.positions.max(1)).max(1),
            |planes| {
                for p in planes {
                    let block = Block {
                        image: p / self.channels,
                        channel: p % self.channels,
                        channels: 1,
                        from: 0,
                        count: self.positions,
                    };
                    // SAFETY: the caller's promise; planes are disjoint.
                    unsafe { self.block(block) };
                }
            },
        );
    }
}

impl<T> Finishing<T> {
    /// Finishes one block.
    ///
    /// # Safety
    /// The block lies inside the result, which is computed there and not finished yet; nobody else uses it now.
    #[inline]
    pub unsafe fn block(&self, block: Block) {
        // SAFETY: the caller's promise.
        unsafe { (self.run)(self, block) }
    }
}

/// # Safety
/// As for [`Finishing::block`].
unsafe fn finish<T: Real>(f: &Finishing<T>, b: Block) {
    let start = (b.image * f.channels + b.channel) * f.positions + b.from;
    lines(f, b, start);
}

multiversion! {
    fn lines<T: Real>(f: &Finishing<T>, b: Block, start: usize) {
        for c in 0..b.channels {
            let at = start + c * f.positions;
            let part = |p: *const T| {
                // SAFETY: `finish`'s caller vouches for the block; the others have the result's size.
                (!p.is_null()).then(|| unsafe { std::slice::from_raw_parts(p.add(at), b.count) })
            };
            // SAFETY: as above.
            let y = unsafe { std::slice::from_raw_parts_mut(f.y.add(at), b.count) };
            if !f.norm.is_null() {
                // SAFETY: one per channel.
                let k = unsafe { *f.norm.add(b.channel + c) };
                y.iter_mut().for_each(|v| *v = k.of(*v));
            }
            if let Some(plus) = part(f.plus) {
                y.iter_mut().zip(plus).for_each(|(v, &p)| *v = *v + p);
            }
            if f.relu {
                y.iter_mut().for_each(|v| *v = if *v < T::ZERO { T::ZERO } else { *v });
            }
            if let Some(mask) = part(f.mask) {
                y.iter_mut().zip(mask).for_each(|(v, &m)| *v = if m <= T::ZERO { T::ZERO } else { *v });
            }
        }
    }
}
