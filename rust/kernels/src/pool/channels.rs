//! Pooling of views whose channels lie side by side: all channels of a place at once, in the order in which a plane's windows
//! are gone through.

use super::avg::quotient;
use super::max::MaxElement;
use super::{Strides, Window};
use crate::dtype::Element;
use crate::multiversion;
use crate::parallel;
use crate::view::{Dst, Src};

/// A window over all channels: its elements in each spatial dim, and how far apart they lie.
pub(super) struct Place<T> {
    from: *const T,
    lens: [usize; 3],
    steps: [isize; 3],
}

/// Whether channels lie side by side in both views, and there are several.
pub(super) fn side_by_side<T: Element>(x: &Src<T>, y: &Dst<T>) -> bool {
    y.shape()[1] > 1 && x.strides()[1] == 1 && y.strides()[1] == 1 && x.numel() > 0
}

/// Calls `f` with each place's windows, their elements, and where the results of the channels belong.
pub(super) fn each_place<T: Element>(
    windows: &[Vec<Window>; 3],
    x: Src<T>,
    y: Dst<T>,
    f: impl Fn([&Window; 3], &Place<T>, *mut T) + Sync,
) {
    let (xs, ys) = (Strides::new(x.strides()), Strides::new(y.strides()));
    let (channels, [depth, height]) = (y.shape()[1], [y.shape()[2], y.shape()[3]]);
    let most = |w: &Vec<Window>| w.iter().map(|w| w.len).max().unwrap_or(0);
    let taps: usize = windows.iter().map(most).product();
    let row = (taps * windows[2].len() * channels).max(1);
    parallel::for_range(y.shape()[0] * depth * height, (32_768 / row).max(1), |range| {
        for row in range {
            let (n, od, oh) = (row / (depth * height), row / height % depth, row % height);
            let (wd, wh) = (&windows[0][od], &windows[1][oh]);
            let src = x.ptr().wrapping_offset(n as isize * xs.0[0]);
            let dst = y.ptr().wrapping_offset(n as isize * ys.0[0]);
            for (ow, ww) in windows[2].iter().enumerate() {
                let all = [wd, wh, ww];
                let place = Place {
                    from: src.wrapping_offset(xs.at(wd.start, wh.start, ww.start)),
                    lens: all.map(|w| w.len),
                    steps: [0, 1, 2].map(|d| xs.0[2 + d] * all[d].step as isize),
                };
                f(all, &place, dst.wrapping_offset(ys.at(od, oh, ow)));
            }
        }
    });
}

/// Channels that are summed or compared together.
const MANY: usize = 16;
const SOME: usize = 4;

macro_rules! by_channels {
    ($name:ident, $some:ident, $bound:path, ($($count:ident)?)) => {
        multiversion! {
            /// Of all channels of a place, which the caller's view has; as many results are writable.
            pub(super) fn $name<T: $bound>(place: &Place<T>, $($count: f64,)? to: *mut T, channels: usize) {
                let mut c = 0;
                // SAFETY: the caller's window lies inside the input, and has so many channels; so does the output.
                unsafe {
                    while c + MANY <= channels {
                        $some::<T, MANY>(place, $($count,)? to, c);
                        c += MANY;
                    }
                    while c + SOME <= channels {
                        $some::<T, SOME>(place, $($count,)? to, c);
                        c += SOME;
                    }
                    while c < channels {
                        $some::<T, 1>(place, $($count,)? to, c);
                        c += 1;
                    }
                }
            }
        }
    };
}
by_channels!(means, some_means, Element, (count));
by_channels!(maxima, some_maxima, MaxElement, ());

impl<T: Copy> Place<T> {
    /// `N` channels from the `c`-th on of one element.
    ///
    /// # Safety
    /// The window lies in live memory, and has these channels and this element.
    #[inline(always)]
    unsafe fn at<const N: usize>(&self, d: usize, h: usize, w: usize, c: usize) -> [T; N] {
        let [sd, sh, sw] = self.steps;
        let at = d as isize * sd + h as isize * sh + w as isize * sw;
        // SAFETY: the contract of this function.
        unsafe { self.from.offset(at).add(c).cast::<[T; N]>().read() }
    }
}

/// Sums in f64, of each line's elements and then of the lines, by the count.
///
/// # Safety
/// As for [`Place::at`], and the results are writable.
#[inline(always)]
unsafe fn some_means<T: Element, const N: usize>(place: &Place<T>, count: f64, to: *mut T, c: usize) {
    let [depth, height, width] = place.lens;
    let mut sum = [0.0; N];
    for d in 0..depth {
        for h in 0..height {
            let mut line = [0.0; N];
            for w in 0..width {
                // SAFETY: the caller's promise.
                let taps = unsafe { place.at::<N>(d, h, w, c) };
                for (line, tap) in line.iter_mut().zip(taps) {
                    *line += tap.to_f64();
                }
            }
            for (sum, line) in sum.iter_mut().zip(line) {
                *sum += line;
            }
        }
    }
    let mut means = [T::default(); N];
    // A window may have no element at all.
    if depth * height * width > 0 {
        for (mean, sum) in means.iter_mut().zip(sum) {
            *mean = quotient(sum, count);
        }
    }
    // SAFETY: as above.
    unsafe { to.add(c).cast::<[T; N]>().write(means) };
}

/// The largest elements; NaN wins over numbers.
///
/// # Safety
/// As for [`some_means`].
#[inline(always)]
unsafe fn some_maxima<T: MaxElement, const N: usize>(place: &Place<T>, to: *mut T, c: usize) {
    let [depth, height, width] = place.lens;
    let mut best = [T::LEAST; N];
    for d in 0..depth {
        for h in 0..height {
            for w in 0..width {
                // SAFETY: the caller's promise.
                let taps = unsafe { place.at::<N>(d, h, w, c) };
                for (best, tap) in best.iter_mut().zip(taps) {
                    *best = if tap.replaces(*best) { tap } else { *best };
                }
            }
        }
    }
    // SAFETY: as above.
    unsafe { to.add(c).cast::<[T; N]>().write(best) };
}
