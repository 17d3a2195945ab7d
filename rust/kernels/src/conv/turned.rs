//! Gradient of the weights with channels side by side: one operand is turned round, so that the numbers of a position lie
//! in one row, and serves all taps and all rows of the other; no patches are packed.
//!
//! Each sum is the same chain, positions and images in order, as in [`super::weight`].

use super::geometry::{Address, Gather, Source};
use super::lines::{LineFn, LineTile};
use super::patches::{Again, LineArgs, Run, TapArgs};
use super::weight::Problem;
use crate::gemm::{HasKernels, Kernels, Panels, Scratch, even_part, pack_a, panel_width};
use crate::parallel;
use crate::simd::transpose::turn;
use std::ops::Range;

/// Bytes of turned numbers that stay near, and positions of a block: a panel of the other operand stays nearer.
const TURNED: usize = 320 << 10;
const POSITIONS: usize = 512;
/// The same where the turned numbers are to stay in the first-level cache.
const FEW_POSITIONS: usize = 128;
/// Most channels that are turned at once, for several taps.
const CHANNELS: usize = 128;

/// Which operand is turned.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Turn {
    /// The image: columns are channels, rows are output channels.
    Image,
    /// The gradient, for one tap: columns are output channels, rows are channels.
    Gradient,
    /// The gradient, for few channels: rows are the taps of a line of the window, channel by channel.
    Taps,
}

impl Turn {
    /// What suits a problem; `None` if nothing does. The choice changes no sum.
    pub fn of<T>(kernels: &Kernels<T>, g: &Gather, address: &Address, p: &Problem<T>) -> Option<Turn> {
        let (wide, one) = (kernels.narrow, g.taps() == 1);
        let unit = p.x_strides[4] == 1 || g.size[2] == 1;
        let cols = &g.offsets[2];
        let even = cols.windows(2).all(|w| w[1] - w[0] == cols[1] - cols[0]);
        if one && p.channels > p.rows && p.rows >= wide && address.run() == g.positions() {
            Some(Turn::Gradient)
        } else if p.channels >= wide && p.rows >= 4 && (one || unit) {
            Some(Turn::Image)
        } else if p.channels > 1 && p.rows >= wide && cols.len() >= 4 && even && g.grid[2] >= 8 && unit {
            Some(Turn::Taps)
        } else {
            None
        }
    }

    /// Whether [`Share::by_lines`] takes all positions of an image at once, whatever its columns.
    pub fn in_one_block<T>(self, g: &Gather) -> bool {
        let extent = |d: usize| {
            let (low, high) = (g.offsets[d].iter().min(), g.offsets[d].iter().max());
            (g.grid[d] - 1) * g.step[d] + high.zip(low).map_or(0, |(high, low)| (high - low) as usize) + 1
        };
        let columns = extent(1) * extent(2) * g.offsets[0].len();
        let fits = g.positions() <= POSITIONS && columns <= TURNED / size_of::<T>() / CHANNELS;
        self == Turn::Image && g.taps() > 1 && g.grid[0] == 1 && fits
    }

    /// Columns of the product, and rows that may be shared out.
    pub fn size<T>(self, p: &Problem<T>) -> [usize; 2] {
        match self {
            Turn::Image => [p.channels, p.rows],
            _ => [p.rows, p.channels],
        }
    }

    /// Brings the sums of a group, `[row][tap][channel]` or `[channel][tap][row]`, into the order `[row][channel][tap]`.
    pub fn settle<T: Copy + Send + Sync>(self, [rows, channels, taps]: [usize; 3], sums: &[T], out: &mut [T]) {
        struct Shared<T>(*const T, *mut T);
        // SAFETY: plain data; tasks write disjoint elements.
        unsafe impl<T: Sync> Sync for Shared<T> {}
        let n = channels * taps;
        assert!(sums.len() == rows * n && out.len() == rows * n);
        let shared = Shared(sums.as_ptr(), out.as_mut_ptr());
        parallel::for_range(rows, (32_768 / n.max(1)).next_multiple_of(16), |range| {
            let Shared(from, to) = &shared;
            // SAFETY: the slices have the sizes that the bands describe, as was asserted.
            unsafe {
                if self != Turn::Image {
                    let to = to.wrapping_add(range.start * n);
                    turn(from.wrapping_add(range.start), rows, n, range.len(), to, n);
                } else {
                    for row in range {
                        turn(
                            from.wrapping_add(row * n),
                            channels,
                            taps,
                            channels,
                            to.wrapping_add(row * n),
                            taps,
                        );
                    }
                }
            }
        });
    }
}

/// The sums of some rows and columns of one group, over positions `from..to` of one image; added to `sums` if `started`.
pub(super) struct Share<'a, T> {
    pub turn: Turn,
    pub geometry: &'a Gather,
    pub address: &'a Address,
    pub problem: &'a Problem<T>,
    pub image: usize,
    pub group: usize,
    pub from: usize,
    pub to: usize,
    /// The first output channel's gradients, position by position, and how far the next channel's are.
    pub gy: *const T,
    pub gy_rs: isize,
    pub cols: Range<usize>,
    pub rows: Range<usize>,
    pub started: bool,
    /// The group's first sum.
    pub sums: *mut T,
    /// These are the whole sums, of one block, and wanted in the order `[row][channel][tap]`.
    pub settled: bool,
}

/// Positions of one block that form whole lines or a part of one: how many there are before them, the line and column of
/// the first.
struct Segment {
    skip: usize,
    line: usize,
    col: usize,
    lines: usize,
    len: usize,
}

/// Some lines of the grid of one depth, and the lines of the image that their windows touch.
struct Block {
    depth: usize,
    /// First position, and positions in all.
    from: usize,
    len: usize,
    /// Lines of the image for each tap in depth, and columns: the first index, and how many.
    first: isize,
    lines: usize,
    low: isize,
    cols: usize,
}

impl<T: Copy + Default + HasKernels> Share<'_, T> {
    /// # Safety
    /// As for [`super::weight::gradient`].
    pub unsafe fn run(&self, kernels: &'static Kernels<T>, scratch: [&mut Scratch; 3]) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.turn {
                Turn::Taps => self.by_taps(kernels, scratch),
                _ if self.geometry.taps() == 1 => self.by_positions(kernels, scratch),
                _ => self.by_lines(kernels, scratch),
            }
        }
    }

    fn source(&self) -> Source<T> {
        let p = self.problem;
        let [n, sc, sd, sh, sw] = p.x_strides;
        Source {
            data: p
                .x
                .wrapping_offset(self.image as isize * n + (self.group * p.channels) as isize * sc),
            channels: p.channels,
            strides: [sc, sd, sh, sw],
        }
    }

    /// One tap: positions follow each other in both operands.
    ///
    /// # Safety
    /// As for `run`.
    unsafe fn by_positions(&self, kernels: &'static Kernels<T>, [copy, turned, packed]: [&mut Scratch; 3]) {
        let address = self.address;
        // SAFETY: the caller's promise.
        let ready = unsafe {
            self.geometry
                .image(kernels, address, self.source(), address.all_lines(), copy)
        };
        let (image, grad) = ((ready.data, ready.channel_stride), (self.gy, self.gy_rs));
        let ((b, b_rs), (a, a_rs)) = match self.turn {
            Turn::Image => (image, grad),
            _ => (grad, image),
        };
        let (m, n) = (self.rows.len(), self.cols.len());
        let a = a.wrapping_offset(self.rows.start as isize * a_rs);
        let width = n.next_multiple_of(panel_width(kernels, n));
        let block = even_part(
            self.to - self.from,
            (TURNED / size_of::<T>() / width).clamp(64, POSITIONS),
        );
        let turned = turned.reserve::<T>(block * width);
        let columns: Vec<*const T> = self
            .cols
            .clone()
            .map(|j| b.wrapping_offset(j as isize * b_rs))
            .collect();
        // Rows of the other operand are read where they lie, unless they all fall into few sets of the cache.
        let stays = !(a_rs.unsigned_abs() * size_of::<T>()).is_multiple_of(2048);
        let packed = packed.reserve::<T>(if stays { 0 } else { m * block });
        let c_rs = self.turn.size(self.problem)[0];
        let mut runs = Vec::new();
        let p = self.problem;
        // What the next image is copied from, fetched by all columns of tiles but the first.
        let coming = match self.to == self.geometry.positions() && self.image + 1 < p.count {
            true => address.coming::<T>(self.geometry, p.channels, self.source().strides),
            false => None,
        };
        let soon = self.source().data.wrapping_offset(p.x_strides[0]);
        let wide = n.div_ceil(kernels.nr).saturating_sub(1);
        let mut done = 0;
        for from in (self.from..self.to).step_by(block) {
            let depth = block.min(self.to - from);
            runs.clear();
            if self.turn == Turn::Image {
                address.runs(from, from + depth, &mut runs);
            } else {
                let offset = from as isize;
                runs.push(Run { offset, len: depth });
            }
            // SAFETY: the caller's promise.
            unsafe {
                (kernels.pack_taps)(&TapArgs {
                    columns: &columns,
                    runs: &runs,
                    width,
                    dst: turned,
                });
                let mut tile = LineTile {
                    k: depth,
                    a: a.wrapping_add(from),
                    a_rs,
                    b: turned,
                    b_rs: width as isize,
                    c: self.sums.wrapping_add(self.rows.start * c_rs + self.cols.start),
                    c_rs: c_rs as isize,
                    from_c: self.started || from > self.from,
                    ..LineTile::empty()
                };
                if !stays {
                    pack_a(kernels, tile.a, a_rs, 1, m, depth, packed);
                }
                let tiles = kernels.line_tiles[!stays as usize];
                let panels = Panels::of(m, tiles.len());
                let in_all = (self.to - self.from).div_ceil(block) * panels.count * wide;
                // The next rows are fetched by the first column, where they are nearly one piece of memory.
                let line = (64 / size_of::<T>()) as isize;
                let near = stays && (0..=2 * depth as isize).contains(&a_rs);
                for (index, (i, rows)) in panels.each().enumerate() {
                    tile.a = match stays {
                        true => a.wrapping_offset(from as isize + i as isize * a_rs),
                        false => packed.wrapping_add(i * depth),
                    };
                    tile.a_cs = if stays { 1 } else { rows as isize };
                    for j in (0..n).step_by(kernels.nr) {
                        let rows_ahead = (near && index + 1 < panels.count)
                            .then(|| (tile.a.wrapping_offset(rows as isize * a_rs), line));
                        let image_ahead = || {
                            let (begin, step) = coming?.at(done, in_all, block)?;
                            Some((soon.wrapping_offset(begin), step))
                        };
                        let ahead = if j == 0 { rows_ahead } else { image_ahead() };
                        done += (j > 0) as usize;
                        let (ahead, ahead_step) = ahead.unwrap_or((std::ptr::null(), 0));
                        let some = LineTile {
                            b: tile.b.wrapping_add(j),
                            c: tile.c.wrapping_add(j),
                            ahead,
                            ahead_step,
                            ..tile
                        };
                        columns_of(kernels, tiles[rows - 1], &some, i, kernels.nr.min(n - j));
                    }
                }
            }
        }
    }

    /// The blocks of at most so many positions (or one line) whose lines of the image have at most so many columns in
    /// all (or as few as can be).
    fn blocks(&self, most: usize, most_cols: usize) -> impl Iterator<Item = Block> {
        let g = self.geometry;
        let bounds = |d: usize| {
            let low = g.offsets[d].iter().copied().min().unwrap_or(0);
            (low, (g.offsets[d].iter().copied().max().unwrap_or(0) - low) as usize)
        };
        let ((low_h, span_h), (low_w, span_w)) = (bounds(1), bounds(2));
        let (width, cols) = (g.grid[2], (g.grid[2] - 1) * g.step[2] + span_w + 1);
        let fit = (most_cols / (cols * g.offsets[0].len())).saturating_sub(span_h + 1) / g.step[1] + 1;
        let height = even_part(g.grid[1], (most / width).min(fit).max(1));
        let (step, grid, to) = (g.step[1], g.grid[1], self.to);
        let mut next = self.from;
        std::iter::from_fn(move || {
            if next >= to {
                return None;
            }
            let from = next;
            let (depth, line) = (from / width / grid, from / width % grid);
            let end = (depth * grid + grid.min(line / height * height + height)) * width;
            next = end.min(to);
            let lines = (next - from + from % width).div_ceil(width);
            Some(Block {
                depth,
                from,
                len: next - from,
                first: (line * step) as isize + low_h,
                lines: (lines - 1) * step + span_h + 1,
                low: low_w,
                cols,
            })
        })
    }

    /// A block's positions: the rest of a line, whole lines, the beginning of a line.
    fn segments(&self, b: &Block) -> impl Iterator<Item = Segment> {
        let width = self.geometry.grid[2];
        let (mut skip, start, len) = (0, b.from % width, b.len);
        std::iter::from_fn(move || {
            let (line, col, left) = ((start + skip) / width, (start + skip) % width, len - skip);
            let (lines, k) = match left {
                0 => return None,
                _ if col > 0 || left < width => (1, left.min(width - col)),
                _ => (left / width, width),
            };
            let segment = Segment {
                skip,
                line,
                col,
                lines,
                len: k,
            };
            skip += lines * k;
            Some(segment)
        })
    }

    /// Address of the line of the image that a tap in depth and a line of a block name: `None` outside.
    fn line(&self, b: &Block, tap: isize, line: usize) -> Option<*const T> {
        let (g, source) = (self.geometry, self.source());
        let (d, h) = ((b.depth * g.step[0]) as isize + tap, b.first + line as isize);
        let inside = d >= 0 && h >= 0 && (d as usize) < g.size[0] && (h as usize) < g.size[1];
        let [_, sd, sh, _] = source.strides;
        // Columns follow each other, or there is but one: its stride does not matter.
        inside.then(|| source.data.wrapping_offset(d * sd + h * sh + b.low))
    }

    /// Lines of a block that lie inside the image.
    fn inside(&self, b: &Block, tap: isize) -> Range<usize> {
        let (g, d) = (self.geometry, (b.depth * self.geometry.step[0]) as isize + tap);
        let lines = b.lines as isize;
        let from = (-b.first).clamp(0, lines);
        let to = (g.size[1] as isize - b.first).clamp(from, lines);
        match (0..g.size[0] as isize).contains(&d) {
            true => from as usize..to as usize,
            false => 0..0,
        }
    }

    /// Columns of a block's lines that lie inside the image.
    fn known(&self, b: &Block) -> Range<usize> {
        let from = (-b.low).clamp(0, b.cols as isize) as usize;
        from..(self.geometry.size[2] as isize - b.low).clamp(from as isize, b.cols as isize) as usize
    }

    /// Several taps, many channels: the image's lines are turned.
    ///
    /// # Safety
    /// As for `run`.
    unsafe fn by_lines(&self, kernels: &'static Kernels<T>, [near, turned, packed]: [&mut Scratch; 3]) {
        let (g, p) = (self.geometry, self.problem);
        let (m, sc, taps) = (self.rows.len(), p.x_strides[1], g.taps());
        let c_rs = taps * p.channels;
        let mut columns = Vec::new();
        for first in self.cols.clone().step_by(CHANNELS) {
            let n = CHANNELS.min(self.cols.end - first);
            let width = n.next_multiple_of(panel_width(kernels, n));
            for b in self.blocks(POSITIONS, TURNED / size_of::<T>() / width) {
                let line = b.cols * width;
                let plane = b.lines * line;
                let turned = turned.reserve::<T>(g.offsets[0].len() * plane);
                let packed = packed.reserve::<T>(m * b.len);
                let known = self.known(&b);
                // SAFETY: the caller's promise.
                unsafe {
                    for (at, i) in (0..g.offsets[0].len()).flat_map(|t| (0..b.lines).map(move |l| (t, l))) {
                        let dst = turned.wrapping_add(at * plane + i * line);
                        let Some(src) = self.line(&b, g.offsets[0][at], i) else {
                            dst.write_bytes(0, line);
                            continue;
                        };
                        dst.write_bytes(0, known.start * width);
                        dst.wrapping_add(known.end * width)
                            .write_bytes(0, (b.cols - known.end) * width);
                        columns.clear();
                        columns.extend((first..first + n).map(|c| src.wrapping_offset(c as isize * sc)));
                        let run = Run {
                            offset: known.start as isize,
                            len: known.len(),
                        };
                        (kernels.pack_taps)(&TapArgs {
                            columns: &columns,
                            runs: &[run],
                            width,
                            dst: dst.wrapping_add(known.start * width),
                        });
                    }
                    let gy = self.gy.wrapping_offset(self.rows.start as isize * self.gy_rs);
                    pack_a(kernels, gy.wrapping_add(b.from), self.gy_rs, 1, m, b.len, packed);
                    let tiles = kernels.line_tiles[1];
                    let panels = Panels::of(m, tiles.len());
                    let near = near.reserve::<T>(if self.settled { tiles.len() * taps * n } else { 0 });
                    for (index, s) in (0..panels.count).flat_map(|i| self.segments(&b).map(move |s| (i, s))) {
                        let (i, rows) = panels.at(index);
                        let (c, tap_rs, c_rs) = match self.settled {
                            true => (near, n, taps * n),
                            false => (
                                self.sums.wrapping_add((self.rows.start + i) * c_rs + first),
                                p.channels,
                                c_rs,
                            ),
                        };
                        for tap in 0..taps {
                            let (w, rest) = (tap % g.offsets[2].len(), tap / g.offsets[2].len());
                            let (h, d) = (rest % g.offsets[1].len(), rest / g.offsets[1].len());
                            let row = (s.line * g.step[1]) as isize + g.offsets[1][h] - self.low(1);
                            let col = (s.col * g.step[2]) as isize + g.offsets[2][w] - b.low;
                            let at = (d * plane) as isize + (row * b.cols as isize + col) * width as isize;
                            let tile = LineTile {
                                lines: s.lines,
                                k: s.len,
                                a: packed.wrapping_add(i * b.len + s.skip * rows),
                                a_cs: rows as isize,
                                a_line: (s.len * rows) as isize,
                                b: turned.wrapping_offset(at),
                                b_rs: (g.step[2] * width) as isize,
                                b_line: (g.step[1] * line) as isize,
                                c: c.wrapping_add(tap * tap_rs),
                                c_rs: c_rs as isize,
                                from_c: self.started || b.from > self.from || s.skip > 0,
                                ..LineTile::empty()
                            };
                            columns_of(kernels, tiles[rows - 1], &tile, 0, n);
                        }
                        if self.settled {
                            // While these sums are still in the cache.
                            let row = taps * p.channels;
                            let to = self.sums.wrapping_add((self.rows.start + i) * row + first * taps);
                            for r in 0..rows {
                                turn(near.wrapping_add(r * c_rs), n, taps, n, to.wrapping_add(r * row), taps);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Least offset of a dim's taps.
    fn low(&self, d: usize) -> isize {
        self.geometry.offsets[d].iter().copied().min().unwrap_or(0)
    }

    /// Few channels: the gradient is turned, the image's lines are read as they lie.
    ///
    /// # Safety
    /// As for `run`.
    unsafe fn by_taps(&self, kernels: &'static Kernels<T>, [copy, turned, _]: [&mut Scratch; 3]) {
        let (g, p) = (self.geometry, self.problem);
        let (n, [kd, kh, kw]) = (self.cols.len(), [0, 1, 2].map(|d| g.offsets[d].len()));
        let width = n.next_multiple_of(panel_width(kernels, n));
        let columns: Vec<*const T> = self
            .cols
            .clone()
            .map(|j| self.gy.wrapping_offset(j as isize * self.gy_rs))
            .collect();
        let tiles = kernels.line_tiles[0];
        let panels = Panels::of(kw, tiles.len());
        for b in self.blocks(FEW_POSITIONS, usize::MAX) {
            let plane = b.lines * b.cols;
            let copy = copy.reserve::<T>(self.rows.len() * kd * plane);
            let turned = turned.reserve::<T>(b.len * width);
            let known = self.known(&b);
            // SAFETY: the caller's promise.
            unsafe {
                let mut dst = copy;
                for (c, tap) in self
                    .rows
                    .clone()
                    .flat_map(|c| g.offsets[0].iter().map(move |&t| (c, t)))
                {
                    // Lines outside first: vectors that are copied end in zeros, which may reach into them.
                    let inside = self.inside(&b, tap);
                    dst.write_bytes(0, inside.start * b.cols);
                    dst.wrapping_add(inside.end * b.cols)
                        .write_bytes(0, (b.lines - inside.end) * b.cols);
                    if let Some(src) = self.line(&b, tap, inside.start) {
                        (kernels.copy_lines)(&LineArgs {
                            src: src.wrapping_offset(c as isize * p.x_strides[1]),
                            stride: 1,
                            lines: inside.len(),
                            line_stride: p.x_strides[3],
                            known: known.clone(),
                            phases: 1,
                            phase: b.cols,
                            apart: b.cols,
                            dst: dst.wrapping_add(inside.start * b.cols),
                            dst_line: b.cols,
                            again: [Again::ONCE; 2],
                        });
                    }
                    dst = dst.wrapping_add(plane);
                }
                let run = Run {
                    offset: b.from as isize,
                    len: b.len,
                };
                (kernels.pack_taps)(&TapArgs {
                    columns: &columns,
                    runs: &[run],
                    width,
                    dst: turned,
                });
                for s in self.segments(&b) {
                    for (c, at) in (0..self.rows.len()).flat_map(|c| (0..kd * kh).map(move |at| (c, at))) {
                        let (d, h) = (at / kh, at % kh);
                        let row = (s.line * g.step[1]) as isize + g.offsets[1][h] - self.low(1);
                        let line = copy.wrapping_offset(((c * kd + d) * plane) as isize + row * b.cols as isize);
                        for (i, rows) in panels.each() {
                            let col = (s.col * g.step[2]) as isize + g.offsets[2][i] - b.low;
                            let first = ((self.rows.start + c) * kd * kh + at) * kw;
                            let tile = LineTile {
                                lines: s.lines,
                                k: s.len,
                                a: line.wrapping_offset(col),
                                a_rs: g.offsets[2][1] - g.offsets[2][0],
                                a_cs: g.step[2] as isize,
                                a_line: (g.step[1] * b.cols) as isize,
                                b: turned.wrapping_add(s.skip * width),
                                b_rs: width as isize,
                                b_line: (s.len * width) as isize,
                                c: self.sums.wrapping_add(first * p.rows + self.cols.start),
                                c_rs: p.rows as isize,
                                from_c: self.started || b.from > self.from || s.skip > 0,
                                ..LineTile::empty()
                            };
                            columns_of(kernels, tiles[rows - 1], &tile, i, n);
                        }
                    }
                }
            }
        }
    }
}

/// One panel of rows, the first of which is row `i` of C, against `n` columns.
///
/// # Safety
/// As for the tiles.
unsafe fn columns_of<T>(kernels: &Kernels<T>, tiles: [LineFn<T>; 2], tile: &LineTile<T>, i: usize, n: usize) {
    for j in (0..n).step_by(kernels.nr) {
        let n = kernels.nr.min(n - j);
        let tile = LineTile {
            b: tile.b.wrapping_add(j),
            c: tile.c.wrapping_offset(i as isize * tile.c_rs + j as isize),
            n,
            ..*tile
        };
        // SAFETY: the caller's promise.
        unsafe { tiles[(n > kernels.narrow) as usize](&tile) };
    }
}
