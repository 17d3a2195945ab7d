//! One input channel: copies of its plane as wide as the result, one for each column of taps ("sheets"), so that what a tap
//! reads for all positions lies in one row, and no patches are packed.

use super::geometry::Gather;
use super::patches::{Again, LineArgs};
use crate::gemm::Kernels;

/// Bytes of the sheets that are made at a time; most columns of taps.
const NEAR: usize = 192 << 10;
const COLS: usize = 16;

/// How the sheets lie.
pub(super) struct Sheets {
    /// Lines of the result that they serve: all, or a multiple of 16.
    pub lines: usize,
    /// Elements from one sheet to the next.
    pub pitch: usize,
    /// Lines with an equal remainder by the step lie one below the other: as many.
    part: usize,
    low: isize,
    span: usize,
    /// For each tap, last dim fastest: where what it reads for position 0 lies.
    pub offsets: Vec<isize>,
}

impl Sheets {
    /// `None` where they would be too large, or are not worth it.
    pub fn of<T>(g: &Gather) -> Option<Self> {
        let [_, lines, cols] = &g.offsets;
        let [_, height, width] = g.grid;
        let low = lines.iter().copied().min()?;
        let span = (lines.iter().copied().max()? - low).cast_unsigned();
        if g.grid[0] != 1 || g.offsets[0] != [0] || cols.is_empty() || cols.len() > COLS || g.taps() == 1 {
            return None;
        }
        let step = g.step[1];
        let part = |lines: usize| ((lines - 1) * step + span + 1).div_ceil(step);
        let size = |lines: usize| (step * part(lines) * width).next_multiple_of(16) + 16;
        let fits = |lines: usize| cols.len() * size(lines) * size_of::<T>() <= NEAR;
        let lines = match fits(height) {
            true => height,
            false => (1..=height / 16)
                .rev()
                .map(|n| 16 * n)
                .find(|&n| fits(n) && n > 2 * span)?,
        };
        let (part, pitch) = (part(lines), size(lines));
        let mut offsets = Vec::with_capacity(g.taps());
        for &line in &g.offsets[1] {
            let line = (line - low).cast_unsigned();
            let line = (line % step * part + line / step) * width;
            offsets.extend((0..cols.len()).map(|c| (c * pitch + line) as isize));
        }
        Some(Self {
            lines,
            pitch,
            part,
            low,
            span,
            offsets,
        })
    }

    /// Elements of all sheets; a vector or two are read behind them.
    pub fn elements(&self, g: &Gather) -> usize {
        g.offsets[2].len() * self.pitch + 64
    }

    /// Makes the sheets for lines `from..to` of the result from the plane at `src` with strides `[row, column]`.
    ///
    /// # Safety
    /// The plane is of `g.size`; `copy` has [`Sheets::elements`] and the slack; `kernels` fit the CPU.
    pub unsafe fn fill<T: Copy + Default>(
        &self,
        kernels: &Kernels<T>,
        g: &Gather,
        src: *const T,
        [row, col]: [isize; 2],
        (from, to): (usize, usize),
        copy: *mut T,
    ) {
        let (step, size) = (g.step[1] as isize, g.size[1] as isize);
        let first = from as isize * step + self.low;
        let all = (to - from - 1) * g.step[1] + self.span + 1;
        let (by_col, width) = (g.step[2], g.grid[2]);
        for (c, &tap) in g.offsets[2].iter().enumerate() {
            // Columns of the result whose source lies inside.
            let start = ((-tap).max(0).cast_unsigned()).div_ceil(by_col).min(width);
            let end = (g.size[2] as isize - tap).max(0).cast_unsigned().div_ceil(by_col);
            let known = start..end.clamp(start, width);
            for phase in 0..g.step[1].min(all) {
                let lines = (all - phase).div_ceil(g.step[1]);
                let first = first + phase as isize;
                let above = ((-first).max(0).cast_unsigned()).div_ceil(g.step[1]).min(lines);
                let below = (size - first)
                    .max(0)
                    .cast_unsigned()
                    .div_ceil(g.step[1])
                    .clamp(above, lines);
                for (some, known) in [(0..above, 0..0), (above..below, known.clone()), (below..lines, 0..0)] {
                    if some.is_empty() {
                        continue;
                    }
                    let args = LineArgs {
                        src: src.wrapping_offset((first + some.start as isize * step) * row + tap * col),
                        stride: col * by_col as isize,
                        lines: some.len(),
                        line_stride: step * row,
                        known,
                        phases: 1,
                        phase: width,
                        apart: width,
                        dst: copy.wrapping_add(c * self.pitch + (phase * self.part + some.start) * width),
                        dst_line: width,
                        again: [Again::ONCE; 2],
                    };
                    // SAFETY: the caller's promise; only columns and lines inside are read.
                    unsafe { (kernels.copy_lines)(&args) };
                }
            }
        }
    }
}
