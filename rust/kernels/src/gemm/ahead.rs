//! Memory that later tiles will read, asked for while earlier ones multiply: packing then finds it in the second-level
//! cache, instead of waiting for it while no product is made.

/// Bytes of a cache line.
pub const LINE: usize = 64;
/// Lines asked for together, at least.
const TOGETHER: usize = 8;
/// Elements of a line of an operand that are read out of this many at most.
const APART: usize = 4;

/// A part of an operand: runs of whole cache lines, evenly apart.
#[derive(Clone, Copy)]
pub struct Runs {
    at: *const u8,
    step: isize,
    count: usize,
    lines: usize,
}

impl Runs {
    pub const NONE: Self = Self {
        at: std::ptr::null(),
        step: 0,
        count: 0,
        lines: 0,
    };

    /// Of a matrix: address, bytes of an element, sizes and strides (in elements) of both dims. None where neighbours lie
    /// far apart.
    pub fn of<T>(at: *const T, size: usize, sizes: [usize; 2], strides: [isize; 2]) -> Self {
        let ([m, n], [rs, cs]) = (sizes, strides);
        let ((count, step), (len, near)) = if rs.unsigned_abs() < cs.unsigned_abs() {
            ((n, cs), (m, rs))
        } else {
            ((m, rs), (n, cs))
        };
        if len == 0 || count == 0 || near < 0 || near > APART as isize {
            return Self::NONE;
        }
        let bytes = ((len - 1) * near as usize + 1) * size;
        let at = at.cast::<u8>();
        Self {
            at,
            step: step * size as isize,
            count,
            lines: (at.addr() % LINE + bytes).div_ceil(LINE),
        }
    }

    /// The shares of `tiles` tiles. (A tile asks for a line with each step of k; those too short ask for less.)
    pub fn shares(&self, tiles: usize) -> Shares {
        if self.count == 0 {
            return Shares {
                all: Self::NONE,
                lines: 0,
                runs: 0,
                piece: 0,
                first: 0,
            };
        }
        // Memory gives neighbouring lines together sooner than one by one. Neighbouring tiles take neighbouring runs.
        let lines = self.lines.div_ceil(tiles).max(TOGETHER).min(self.lines);
        let across = (tiles / self.lines.div_ceil(lines)).min(self.count);
        Shares {
            all: *self,
            lines,
            runs: self.count.div_ceil(across),
            piece: 0,
            first: 0,
        }
    }
}

/// How tiles share what is to be asked for: one after another asks for `lines` of each of `runs` runs, until all runs have been;
/// those after them for the next lines.
pub struct Shares {
    all: Runs,
    lines: usize,
    runs: usize,
    /// The next tile's first line and run.
    piece: usize,
    first: usize,
}

impl Shares {
    /// The share of the next tile.
    #[inline]
    pub fn next(&mut self) -> Ahead {
        let (piece, first) = (self.piece, self.first);
        if piece >= self.all.lines {
            return Ahead::NONE;
        }
        self.first += self.runs;
        if self.first >= self.all.count {
            (self.first, self.piece) = (0, piece + self.lines);
        }
        let start = self.all.at.wrapping_offset(first as isize * self.all.step);
        Ahead {
            at: start.wrapping_add(piece * LINE),
            step: self.all.step,
            lines: self.lines.min(self.all.lines - piece),
            runs: self.runs.min(self.all.count - first),
        }
    }
}

/// What one tile asks for: pieces of `runs`, `lines` cache lines each, `step` bytes apart.
#[derive(Clone, Copy)]
pub struct Ahead {
    pub at: *const u8,
    pub step: isize,
    pub lines: usize,
    pub runs: usize,
}

impl Ahead {
    pub const NONE: Self = Self {
        at: std::ptr::null(),
        step: 0,
        lines: 0,
        runs: 0,
    };
}
