//! Where the elements of a convolution lie: positions, taps, and the image they index.
//!
//! All three passes gather: element (position o, tap t) of a dim reads source index `o * step + offset[t]`. When all such
//! indices lie inside the image and rows are contiguous it is read in place; else it is copied once with its border of
//! zeros (and with every `step`-th column side by side), so that packing meets neither borders nor strides. Of a dim with
//! one tap only the indices that are read are copied.

use super::patches::{Again, LineArgs, Run};
use crate::gemm::{Kernels, Scratch};
use std::ops::Range;

/// One gathering: a grid of positions, and for each dim the taps' offsets.
pub(crate) struct Gather {
    pub grid: [usize; 3],
    pub step: [usize; 3],
    pub size: [usize; 3],
    pub offsets: [Vec<isize>; 3],
}

/// An image of some channels, ready for packing.
pub(crate) struct Image<T> {
    pub data: *const T,
    pub channel_stride: isize,
}

/// The source: strides of channel and space.
#[derive(Clone, Copy)]
pub(crate) struct Source<T> {
    pub data: *const T,
    pub channels: usize,
    pub strides: [isize; 4],
}

/// Addresses relative to an [`Image`].
pub(crate) struct Address {
    in_place: bool,
    /// First source index, how far apart they are, and number of them, in each dim.
    low: [isize; 3],
    jump: [usize; 3],
    extent: [usize; 3],
    /// Distance of neighbouring positions in each dim, counted in indices that were copied.
    step: [usize; 3],
    /// Columns of one phase of the copy's rows.
    phase: usize,
    /// Offsets of all taps, last dim fastest.
    pub taps: Vec<isize>,
    /// Offset between neighbouring positions of depth and height, and positions in one contiguous run.
    position: [isize; 2],
    run: usize,
    height: usize,
    /// Positions in a line of the grid, and lines in a plane.
    width: usize,
    lines: usize,
}

/// The memory that a copy of the next image reads, as stretches equally far apart; it is fetched, one cache line of each of
/// as many stretches as a tile has steps, while products of this image are computed.
#[derive(Clone, Copy)]
pub(crate) struct Coming {
    step: usize,
    count: usize,
    /// Elements of a stretch and of a cache line.
    len: usize,
    line: usize,
}

impl Coming {
    /// Where tile `index` of `total` tiles of `k` steps begins, and how far it goes with each step; the tiles that fetch
    /// nothing lie evenly between the others.
    pub fn at(&self, index: usize, total: usize, k: usize) -> Option<(isize, isize)> {
        let pieces = self.len.div_ceil(self.line) + (self.len > self.line) as usize;
        let slots = pieces * self.count.div_ceil(k.max(1));
        let slot = index * slots / total.max(1);
        let (stretch, piece) = (slot / pieces * k, slot % pieces);
        let begin = stretch * self.step + (piece * self.line).min(self.len - 1);
        ((index + 1) * slots / total.max(1) > slot).then_some((begin as isize, self.step as isize))
    }
}

impl Gather {
    pub fn new(grid: [usize; 3], step: [usize; 3], size: [usize; 3], offsets: [Vec<isize>; 3]) -> Self {
        let step = std::array::from_fn(|d| if grid[d] == 1 { 1 } else { step[d] });
        Self {
            grid,
            step,
            size,
            offsets,
        }
    }

    pub fn positions(&self) -> usize {
        self.grid.iter().product()
    }

    pub fn taps(&self) -> usize {
        self.offsets.iter().map(Vec::len).product()
    }

    /// Addresses in a source with these strides (of channel and space). There must be positions.
    pub fn address(&self, strides: [isize; 4]) -> Address {
        let least = |d: usize| self.offsets[d].iter().copied().min().unwrap_or(0);
        let most = |d: usize| self.offsets[d].iter().copied().max().unwrap_or(0);
        let low: [isize; 3] = std::array::from_fn(least);
        let mut extent: [usize; 3] =
            std::array::from_fn(|d| (self.grid[d] - 1) * self.step[d] + (most(d) - low[d]) as usize + 1);
        let inside = (0..3).all(|d| low[d] >= 0 && low[d] as usize + extent[d] <= self.size[d]);
        let in_place = inside && (strides[3] == 1 || extent[2] == 1) && self.step[2] == 1;
        let (mut jump, mut step) = ([1; 3], self.step);
        for d in (0..3).filter(|&d| !in_place && most(d) == low[d]) {
            (jump[d], step[d], extent[d]) = (self.step[d], 1, self.grid[d]);
        }
        let phase = extent[2].div_ceil(step[2]);
        let row = (phase * step[2]) as isize;
        let [sd, sh] = if in_place {
            [strides[1], strides[2]]
        } else {
            [extent[1] as isize * row, row]
        };
        let mut taps = Vec::with_capacity(self.taps());
        for &d in &self.offsets[0] {
            for &h in &self.offsets[1] {
                for &w in &self.offsets[2] {
                    let w = (w - low[2]) as usize;
                    let w = w % step[2] * phase + w / step[2];
                    taps.push((d - low[0]) * sd + (h - low[1]) * sh + w as isize);
                }
            }
        }
        let position = [step[0] as isize * sd, step[1] as isize * sh];
        let mut run = self.grid[2];
        let mut height = self.grid[1];
        if position[1] == run as isize || height == 1 {
            run *= height;
            height = 1;
            if position[0] == run as isize || self.grid[0] == 1 {
                run *= self.grid[0];
            }
        }
        Address {
            in_place,
            low,
            jump,
            extent,
            step,
            phase,
            taps,
            position,
            run,
            height,
            width: self.grid[2],
            lines: self.grid[1],
        }
    }

    /// The image that `address` speaks of: the source itself, or a copy of those of its lines in `scratch` (all, unless it
    /// is one plane deep).
    ///
    /// # Safety
    /// The source's channels and `size` lie in live memory; `kernels` fit the CPU. The result lives as long as both.
    pub unsafe fn image<T: Copy + Default>(
        &self,
        kernels: &Kernels<T>,
        a: &Address,
        source: Source<T>,
        lines: Range<usize>,
        scratch: &mut Scratch,
    ) -> Image<T> {
        let [sc, sd, sh, sw] = source.strides;
        if a.in_place {
            let data = source
                .data
                .wrapping_offset(a.low[0] * sd + a.low[1] * sh + a.low[2] * sw);
            return Image {
                data,
                channel_stride: sc,
            };
        }
        let row = a.phase * a.step[2];
        let lines = if a.extent[0] == 1 { lines } else { 0..a.extent[1] };
        let plane = a.extent[0] * lines.len() * row;
        let copy = scratch.reserve::<T>(source.channels * plane);
        // Copied index i of dim d is source index `low + i * jump`; those in this range lie inside.
        let known: [Range<usize>; 3] = std::array::from_fn(|d| {
            let from = ((-a.low[d]).max(0) as usize).div_ceil(a.jump[d]).min(a.extent[d]);
            let left = (self.size[d] as isize - a.low[d]).max(0) as usize;
            from..left.div_ceil(a.jump[d]).clamp(from, a.extent[d])
        });
        let inside = known[1].start.clamp(lines.start, lines.end)..known[1].end.clamp(lines.start, lines.end);
        // What lies outside comes first: vectors that are copied end in zeros, which may reach into it.
        let depth = lines.len() * row;
        if inside.len() < lines.len() || known[0].len() < a.extent[0] {
            for (c, d) in (0..source.channels).flat_map(|c| (0..a.extent[0]).map(move |d| (c, d))) {
                let dst = copy.wrapping_add(c * plane + d * depth);
                let inside = if known[0].contains(&d) {
                    inside.clone()
                } else {
                    lines.start..lines.start
                };
                let (above, below) = (inside.start - lines.start, inside.end.max(inside.start) - lines.start);
                // SAFETY: lines of the copy; zero bytes are zeros of every type.
                unsafe {
                    dst.write_bytes(0, above * row);
                    dst.wrapping_add(below * row)
                        .write_bytes(0, (lines.len() - below) * row);
                }
            }
        }
        let at = |d: usize, i: usize| a.low[d] + (i * a.jump[d]) as isize;
        let first = at(0, known[0].start) * sd + at(1, inside.start) * sh + a.low[2] * sw;
        let planes = Again {
            times: known[0].len(),
            src: a.jump[0] as isize * sd,
            dst: depth,
        };
        let channels = Again {
            times: source.channels,
            src: sc,
            dst: plane,
        };
        let args = LineArgs {
            src: source.data.wrapping_offset(first),
            stride: sw * a.jump[2] as isize,
            lines: inside.len(),
            line_stride: a.jump[1] as isize * sh,
            known: known[2].clone(),
            phases: a.step[2],
            phase: a.phase,
            apart: a.phase,
            dst: copy.wrapping_add(known[0].start * depth + (inside.start - lines.start) * row),
            dst_line: row,
            again: [channels, planes],
        };
        // SAFETY: `copy` holds all lines; only indices inside are read.
        unsafe { (kernels.copy_lines)(&args) };
        Image {
            data: copy.wrapping_sub(lines.start * row),
            channel_stride: plane as isize,
        }
    }
}

impl Address {
    /// What the copy of an image with these strides reads, if it is one piece of memory of flat channels.
    pub fn coming<T>(&self, g: &Gather, channels: usize, [sc, _, sh, sw]: [isize; 4]) -> Option<Coming> {
        let [depth, height, width] = g.size;
        let dense = sw == 1 && sh == width as isize && sc == (height * width) as isize;
        if self.in_place || depth != 1 || !dense || sc == 0 {
            return None;
        }
        let line = (64 / size_of::<T>()).max(1);
        let jump = self.jump[1];
        // Lines that no tap reads are left out, where the others are equally far apart.
        let (step, len) = match jump > 1 && height.is_multiple_of(jump) {
            true => (jump * width, width),
            false => (line, line),
        };
        let count = (channels * height * width).div_ceil(step);
        Some(Coming { step, count, len, line })
    }

    /// Lines of a copy that positions `from..to` of the first plane need, and that all positions do.
    pub fn lines(&self, from: usize, to: usize) -> Range<usize> {
        let of = |p: usize| p / self.width * self.step[1];
        let span = self.extent[1] - (self.lines - 1) * self.step[1];
        of(from)..of(to - 1) + span
    }

    pub fn all_lines(&self) -> Range<usize> {
        0..self.extent[1]
    }

    /// How many positions to compute at a time so that a copy of what they need, of so many channels, has at most so many
    /// elements, in panels of so many, and no more than a share of all; `None` if that would mean copying much twice, or if there is nothing to gain.
    pub fn part(&self, channels: usize, elements: usize, panel: usize, shares: usize) -> Option<usize> {
        let line = channels * self.phase * self.step[2];
        let span = self.extent[1] - (self.lines - 1) * self.step[1];
        if self.in_place || self.extent[0] > 1 || self.extent[1] * line <= elements {
            return None;
        }
        let lines = (elements / line).saturating_sub(span) / self.step[1] + 1;
        let again = span.saturating_sub(self.step[1]);
        // As few panels as possible in all.
        let panels = |lines: usize| {
            let (some, rest) = (lines * self.width, self.lines % lines * self.width);
            self.lines / lines * some.div_ceil(panel) + rest.div_ceil(panel)
        };
        let lines = lines.min(self.lines.div_ceil(shares).next_multiple_of(2));
        (lines * self.step[1] >= 4 * again)
            .then(|| (lines / 2 + 1..=lines).rev().min_by_key(|&l| panels(l)))
            .flatten()
            .map(|lines| lines * self.width)
    }

    /// The image is the source itself.
    pub fn in_place(&self) -> bool {
        self.in_place
    }

    /// Offset of position `p`.
    pub fn offset(&self, p: usize) -> isize {
        let (line, at) = (p / self.run, p % self.run);
        (line / self.height) as isize * self.position[0]
            + (line % self.height) as isize * self.position[1]
            + at as isize
    }

    /// Between positions that are neighbours in depth, and in height.
    pub fn lines_apart(&self) -> [isize; 2] {
        self.position
    }

    /// Positions in one contiguous run.
    pub fn run(&self) -> usize {
        self.run
    }

    /// Appends the runs of positions `from..to`.
    pub fn runs(&self, from: usize, to: usize, runs: &mut Vec<Run>) {
        let mut p = from;
        while p < to {
            let len = (self.run - p % self.run).min(to - p);
            runs.push(Run {
                offset: self.offset(p),
                len,
            });
            p += len;
        }
    }
}
