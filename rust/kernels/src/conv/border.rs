//! Copies of planes with a border of zeros, small enough for the first-level cache: what reads them meets neither edges nor
//! strides of columns, and needs no masks.

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

use super::geometry::Gather;
use crate::gemm::{Kernels, even_part};
use crate::simd::vec::Lanes;

/// Sides of the windows that kernels are made for.
pub(crate) const SIDES: [usize; 3] = [3, 5, 7];
/// Bytes of a copy that stay near, of copies made at a time; lines of the result that are worth one, and most elements.
const NEAR: usize = 20 << 10;
const TOGETHER: usize = 12 << 10;
const ROWS: usize = 16;
const MOST: usize = 1 << 16;

/// How the lines of a plane lie in its copy. Neighbouring lines share the zeros between them.
pub(super) struct Border {
    /// Which of [`SIDES`] the window has, and its taps' offsets in a line of the copy.
    pub side: usize,
    pub cols: [isize; 7],
    /// Elements from a line to the next; with a column stride of two, even and odd columns lie `half` apart.
    pub pitch: usize,
    half: usize,
    /// Distance of neighbouring taps in lines, and the first one's offset.
    pub apart: usize,
    low: isize,
    /// Two lines of the result side by side in a vector.
    pub twins: bool,
    /// Lines of the result that one copy serves.
    pub rows: usize,
    /// Zeros in front of the first line.
    front: usize,
}

impl Border {
    /// `None` for windows that there is no kernel for.
    pub fn of<T>(kernels: &Kernels<T>, g: &Gather, column_stride: isize) -> Option<Self> {
        let [_, lines, cols] = &g.offsets;
        let side = SIDES.iter().position(|&k| k == lines.len() && k == cols.len())?;
        let apart = lines[1] - lines[0];
        let even = apart > 0 && lines.windows(2).all(|w| w[1] - w[0] == apart);
        let flat = g.grid[0] == 1 && g.offsets[0] == [0] && (column_stride == 1 || g.size[2] == 1);
        let [_, by_line, by_col] = g.step;
        if !even || !flat || by_line > 2 || by_col > 2 || (by_line == 2 && apart > 1) {
            return None;
        }
        let step = by_col as isize;
        let line = 64 / size_of::<T>();
        let own = g.size[2].div_ceil(by_col).max(1);
        let least = cols.iter().map(|c| c.div_euclid(step)).min()?;
        let most = cols.iter().map(|c| c.div_euclid(step)).max()?;
        // Of seven lines most lie outside so small a plane, and a vector holds one short line: masks cost less.
        if side == 2 && own <= kernels.narrow / 2 {
            return None;
        }
        let gap = (-least).max(g.grid[2] as isize + most - own as isize).max(0) as usize;
        let twins = g.step == [g.step[0], 1, 1] && apart == 1 && own + gap <= kernels.narrow / 2;
        let half = match twins {
            true => kernels.narrow / 2,
            false => (own + gap).next_multiple_of(line),
        };
        let pitch = half * by_col;
        let span = (lines.len() - 1) * apart as usize + 1;
        let fit = (NEAR / size_of::<T>() / pitch).saturating_sub(span) / by_line + 1;
        let (height, most) = (g.grid[1], fit.max(ROWS));
        let rows = height.div_ceil(height.div_ceil(most));
        let mut at = [0; 7];
        for (at, c) in at.iter_mut().zip(cols) {
            *at = c.rem_euclid(step) * half as isize + c.div_euclid(step);
        }
        let border = Self {
            side,
            cols: at,
            pitch,
            half,
            apart: apart as usize,
            low: lines[0],
            twins,
            rows,
            front: (-least).max(0).cast_unsigned().next_multiple_of(line),
        };
        (border.elements(g, 1) <= MOST).then_some(border)
    }

    /// Lines that `rows` lines of the result read.
    fn lines(&self, g: &Gather, rows: usize) -> usize {
        (rows - 1) * g.step[1] + (g.offsets[1].len() - 1) * self.apart + 1
    }

    /// From one plane's copy to the next.
    pub fn plane(&self, g: &Gather) -> usize {
        // The zeros behind a plane are those in front of the next.
        (self.lines(g, self.rows) * self.pitch + self.front).next_multiple_of(self.pitch.min(16))
    }

    /// Elements of the copies of so many planes. Kernels read a few lines further, where anything may be.
    pub fn elements(&self, g: &Gather, planes: usize) -> usize {
        self.front + planes * self.plane(g) + 3 * self.pitch + 192
    }

    /// How many planes of `all` to copy at a time: what was just written is not to be read at once.
    pub fn batch<T>(&self, g: &Gather, all: usize) -> usize {
        match self.rows < g.grid[1] {
            true => 1,
            false => even_part(all, (TOGETHER / size_of::<T>() / self.plane(g)).max(1)),
        }
    }

    /// Copies what lines `from..to` of the result read to `copy`, which was zero but for copies of such planes, and begins
    /// with a cache line, as lines then do. Returns where the first plane's first line begins. There are several planes only where they are copied as a whole.
    ///
    /// # Safety
    /// The planes are of `g.size`; `copy` has [`Border::elements`]; `kernels` fit the CPU.
    pub unsafe fn fill<T: Copy + Default>(
        &self,
        kernels: &Kernels<T>,
        g: &Gather,
        planes: &Planes<T>,
        (from, to): (usize, usize),
        copy: *mut T,
    ) -> *const T {
        let first = (from * g.step[1]) as isize + self.low;
        let lines = self.lines(g, to - from);
        let start = copy.wrapping_add(self.front);
        debug_assert!(planes.count == 1 || self.rows == g.grid[1]);
        let above = ((-first).max(0) as usize).min(lines);
        let inside = ((g.size[1] as isize - first).max(0) as usize).clamp(above, lines);
        // A part of a plane finds another part's lines here.
        if self.rows < g.grid[1] {
            for line in (0..above).chain(inside..lines) {
                // SAFETY: a line of the copy.
                unsafe { std::slice::from_raw_parts_mut(start.add(line * self.pitch), self.pitch) }.fill(T::default());
            }
        }
        let args = CopyArgs {
            planes: planes.count,
            src_plane: planes.apart,
            dst_plane: self.plane(g),
            src: planes.first.wrapping_offset((first + above as isize) * planes.row),
            row: planes.row,
            rows: inside - above,
            width: g.size[2],
            dst: start.wrapping_add(above * self.pitch),
            pitch: self.pitch,
            half: self.half,
            ahead: match self.rows < g.grid[1] {
                true => (self.rows * g.step[1]) as isize * planes.row,
                false => planes.count as isize * planes.apart,
            },
        };
        // SAFETY: the caller's promise; a line of the copy holds what vectors write behind a line of the plane.
        unsafe { (kernels.border_copies[g.step[2] - 1])(&args) };
        start
    }
}

/// Planes to be copied: the first, how far the next one is, and the next line.
pub(super) struct Planes<T> {
    pub count: usize,
    pub first: *const T,
    pub apart: isize,
    pub row: isize,
}

/// Lines to be copied one below the other; columns in two halves where their stride is two.
pub(crate) struct CopyArgs<T> {
    planes: usize,
    src_plane: isize,
    dst_plane: usize,
    src: *const T,
    row: isize,
    rows: usize,
    width: usize,
    dst: *mut T,
    pitch: usize,
    half: usize,
    /// How far what will be copied next is; it is fetched meanwhile.
    ahead: isize,
}

/// # Safety
/// The lines lie in live memory, those of the copy with what fills their last vector.
#[inline(always)]
pub(crate) unsafe fn border_copy<T: Copy + Default, L: Lanes<T>, const S: usize>(l: L, g: &CopyArgs<T>) {
    let (whole, left) = (g.width / L::N, g.width % L::N);
    let last = l.mask(0, left);
    // Pairs of columns: whole vectors of them, and the even and odd columns of the last vector.
    let (pairs, rest) = (g.width / (2 * L::N), g.width % (2 * L::N));
    let (all, ends) = (l.even(0, L::N), [l.even(0, rest.div_ceil(2)), l.even(0, rest / 2)]);
    for plane in 0..g.planes {
        let (mut src, mut dst) = (
            g.src.wrapping_offset(plane as isize * g.src_plane),
            g.dst.wrapping_add(plane * g.dst_plane),
        );
        for _ in 0..g.rows {
            let next = src.wrapping_offset(g.ahead);
            for at in (0..g.width).step_by(64 / size_of::<T>()) {
                l.prefetch(next.wrapping_add(at));
            }
            // SAFETY: the caller's promise; so below.
            unsafe {
                if S == 1 {
                    for v in 0..whole {
                        l.store(dst.add(v * L::N), l.load(src.add(v * L::N)));
                    }
                    if left > 0 {
                        let zero = l.splat(T::default());
                        let from = src.wrapping_add(whole * L::N);
                        l.store(dst.add(whole * L::N), l.load_more(zero, from, last));
                    }
                } else {
                    for v in 0..pairs {
                        for odd in 0..2 {
                            let x = l.load_even(src.wrapping_add(2 * v * L::N + odd), all);
                            l.store(dst.add(odd * g.half + v * L::N), x);
                        }
                    }
                    if rest > 0 {
                        for odd in 0..2 {
                            let x = l.load_even(src.wrapping_add(2 * pairs * L::N + odd), ends[odd]);
                            l.store(dst.add(odd * g.half + pairs * L::N), x);
                        }
                    }
                }
            }
            src = src.wrapping_offset(g.row);
            dst = dst.wrapping_add(g.pitch);
        }
    }
}
