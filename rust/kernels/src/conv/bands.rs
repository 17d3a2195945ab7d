//! Positions in bands, from each of which the same taps see the image: every block of bands is a product of its own without
//! padding. From the edges of an image that is not much larger than the window most taps see nothing: of 3x3 taps that lie 12
//! apart on 33² elements, 43 in a hundred.

use super::gather::{Images, Shared};
use super::geometry::Gather;
use super::lines::LineTile;
use super::patches::{PatchArgs, Run};
use super::small::panels;
use super::weights::Weights;
use crate::gemm::{HasKernels, Kernels, Panels, SLACK, even_part, longest_k, new_name, with_scratch, with_shared};
use crate::parallel;
use std::ops::Range;

/// Least channels in and out: steps and rows of a product.
const LEAST_CHANNELS: usize = 16;
/// Most pairs of positions and taps that see the image, with what is empty of vectors, in a hundred of all.
pub(super) const MOST_SEEN: usize = 85;
/// Channels out of which positions may be rows.
const ROWS: usize = 40;
/// Positions of a vector, by which the work of blocks is counted.
const VECTOR: usize = 16;
/// Most columns of a piece, and bytes of the sums of a task under large weights, and of weights that stay near.
const BLOCK: usize = 256;
const SUMS: usize = 1 << 20;
const WEIGHTS: usize = 512 << 10;
/// Bytes of packed weights of which each thread has its own.
const OWN: usize = 4 << 20;

/// Positions of dim `d` from which each tap sees the image.
pub(super) fn seen(g: &Gather, d: usize) -> Vec<Range<usize>> {
    let first = |i: isize| (i.max(0) as usize).div_ceil(g.step[d]).min(g.grid[d]);
    g.offsets[d]
        .iter()
        .map(|&offset| {
            let from = first(-offset);
            from..first(g.size[d] as isize - offset).max(from)
        })
        .collect()
}

/// Of a tap, its place in each dim.
pub(super) fn places(g: &Gather, tap: usize) -> [usize; 3] {
    let [_, down, across] = g.offsets.each_ref().map(Vec::len);
    [tap / (down * across), tap / across % down, tap % across]
}

/// Pairs of a position and a tap that sees the image from there.
pub(super) fn pairs_seen(g: &Gather) -> usize {
    let of_dim = |d| seen(g, d).iter().map(ExactSizeIterator::len).sum::<usize>();
    (0..3).map(of_dim).product()
}

/// Neighbouring positions of a dim, and the taps that see the image from there.
struct Band {
    positions: Range<usize>,
    taps: Vec<usize>,
}

fn bands(g: &Gather, d: usize) -> Vec<Band> {
    let seen = seen(g, d);
    let mut edges = vec![0, g.grid[d]];
    for r in seen.iter().filter(|r| !r.is_empty()) {
        edges.extend([r.start, r.end]);
    }
    edges.sort_unstable();
    edges.dedup();
    edges
        .windows(2)
        .map(|edges| Band {
            positions: edges[0]..edges[1],
            taps: (0..seen.len()).filter(|&t| seen[t].contains(&edges[0])).collect(),
        })
        .collect()
}

/// Positions from which the same taps see the image, as many in each dim as `size` says.
struct Block {
    size: [usize; 3],
    /// The taps, counted over all.
    taps: Vec<usize>,
    /// Where they read at the first position, and where its result goes.
    offsets: Vec<isize>,
    to: isize,
}

impl Block {
    fn positions(&self) -> usize {
        self.size.iter().product()
    }
}

/// Columns of a block, which go through its positions image by image, and where their sums lie, row by row.
struct Piece {
    group: usize,
    block: usize,
    columns: Range<usize>,
    sums: usize,
}

impl Piece {
    fn width<T>(&self, kernels: &Kernels<T>) -> usize {
        self.columns.len().next_multiple_of(kernels.nr)
    }
}

/// Stretches of columns: where they are read, and where results of a channel go and how many they are.
#[derive(Default)]
struct Room {
    runs: Vec<Run>,
    to: Vec<(isize, usize)>,
}

/// A pass in blocks, those of the most taps first.
pub(crate) struct Bands {
    blocks: Vec<Block>,
    /// Source's and result's strides of image, depth, line and column, between neighbouring positions.
    strides: [[isize; 4]; 2],
}

impl Bands {
    /// The pass, if it should be computed so: images, channels in and out, strides in and out.
    pub fn of(g: &Gather, count: usize, channels: [usize; 2], src: [isize; 5], dst: [isize; 5]) -> Option<Bands> {
        let all = count * g.positions() * g.taps();
        let many = channels.iter().all(|&c| c >= LEAST_CHANNELS);
        if g.taps() < 2 || !many || src[4] != 1 || g.step[2] != 1 || 100 * count * pairs_seen(g) > MOST_SEEN * all {
            return None;
        }
        let bands = [0, 1, 2].map(|d| bands(g, d));
        // What taps do not see has to outweigh what is empty of vectors.
        let mut work = 0;
        for_each(&bands, |bands| {
            let positions: usize = bands.iter().map(|band| band.positions.len()).product();
            let taps: usize = bands.iter().map(|band| band.taps.len()).product();
            work += (count * positions).next_multiple_of(VECTOR) * taps;
        });
        // Beside the columns that other products take; where few channels come out, positions are rows.
        let all = match channels[1] {
            0..=ROWS => all,
            _ => count * g.positions().next_multiple_of(VECTOR) * g.taps(),
        };
        if 100 * work > MOST_SEEN * all {
            return None;
        }
        let mut blocks = Vec::new();
        for_each(&bands, |all| {
            let first: [usize; 3] = std::array::from_fn(|d| all[d].positions.start);
            let seen = |tap: &[usize; 3]| (0..3).all(|d| all[d].taps.contains(&tap[d]));
            let (taps, offsets) = (0..g.taps())
                .map(|tap| (tap, places(g, tap)))
                .filter(|(_, places)| seen(places))
                .map(|(tap, places)| {
                    let at = |d: usize| (first[d] * g.step[d]) as isize + g.offsets[d][places[d]];
                    (tap, (0..3).map(|d| at(d) * src[2 + d]).sum::<isize>())
                })
                .unzip();
            blocks.push(Block {
                size: all.map(|band| band.positions.len()),
                taps,
                offsets,
                to: (0..3).map(|d| first[d] as isize * dst[2 + d]).sum(),
            });
        });
        blocks.sort_by_key(|block| std::cmp::Reverse(block.taps.len()));
        let step = |d: usize| src[2 + d] * g.step[d] as isize;
        let strides = [[src[0], step(0), step(1), step(2)], [dst[0], dst[2], dst[3], dst[4]]];
        Some(Bands { blocks, strides })
    }

    /// The stretches of these columns of a block.
    fn stretches(&self, block: &Block, columns: Range<usize>, room: &mut Room) {
        let Room { runs, to } = room;
        runs.clear();
        to.clear();
        let [depth, high, wide] = block.size;
        let mut column = columns.start;
        while column < columns.end {
            let (line, at) = (column / wide, column % wide);
            let len = (wide - at).min(columns.end - column);
            let place = [line / (high * depth), line / high % depth, line % high, at];
            let [src, dst] = self
                .strides
                .map(|strides| (0..4).map(|i| place[i] as isize * strides[i]).sum::<isize>());
            runs.push(Run { offset: src, len });
            to.push((block.to + dst, len));
            column += len;
        }
    }

    /// What tasks compute: a piece, or, of large weights, several that go through them together; so many tasks that every
    /// thread has some.
    fn tasks<T>(&self, kernels: &Kernels<T>, [groups, m]: [usize; 2], count: usize, large: bool) -> Vec<Vec<Piece>> {
        let threads = parallel::threads();
        let work = |block: &Block, columns: usize| columns * block.taps.len().max(1);
        let all: usize = self.blocks.iter().map(|b| work(b, count * b.positions())).sum();
        let share = match threads {
            1 => usize::MAX,
            _ => (groups * all).div_ceil(4 * threads),
        };
        let room = if large { SUMS / (m * size_of::<T>()) } else { 0 };
        let mut tasks = Vec::new();
        for group in 0..groups {
            let mut task: Vec<Piece> = Vec::new();
            let (mut columns_held, mut work_held) = (0, 0);
            for (index, block) in self.blocks.iter().enumerate() {
                let columns = count * block.positions();
                let near = BLOCK.min(share / block.taps.len().max(1)) / kernels.nr;
                let most = even_part(columns.div_ceil(kernels.nr), near.max(1)) * kernels.nr;
                for from in (0..columns).step_by(most) {
                    let columns = from..columns.min(from + most);
                    let (room_taken, more) = (columns.len().next_multiple_of(kernels.nr), work(block, columns.len()));
                    if !task.is_empty() && (columns_held + room_taken > room || work_held + more > share) {
                        tasks.push(std::mem::take(&mut task));
                        (columns_held, work_held) = (0, 0);
                    }
                    task.push(Piece {
                        group,
                        block: index,
                        columns,
                        sums: m * columns_held,
                    });
                    columns_held += room_taken;
                    work_held += more;
                }
            }
            tasks.push(task);
        }
        tasks
    }

    /// The pass; nothing is finished.
    ///
    /// # Safety
    /// As for [`super::gather::gather`]; [`Bands::of`] said yes.
    pub(super) unsafe fn products<T>(
        &self,
        kernels: &'static Kernels<T>,
        weights: Weights<T>,
        images: Images<T>,
        bias: *const T,
    ) where
        T: Copy + Default + HasKernels + Send + Sync,
    {
        let (m, channels, taps) = (weights.rows, weights.channels, weights.taps.len());
        let longest = longest_k::<T>();
        // Half as long a sum if that keeps the weights near.
        let near = match WEIGHTS / (m * size_of::<T>()) {
            some if some >= longest / 2 => longest.min(some),
            _ => longest,
        };
        let some = even_part(channels, (near / taps).max(1));
        let parts = channels.div_ceil(some);
        // Where some channels of a group are packed; packing may write a little behind them.
        let place =
            |group: usize, part: usize| (group * channels + part * some) * taps * m + (group * parts + part) * SLACK;
        let size = place(weights.groups, 0);
        let pack = |weights: &Weights<T>, parts_of_all: Range<usize>, packed: *mut T| {
            for (group, part) in parts_of_all.map(|i| (i / parts, i % parts)) {
                let ks = part * some * taps..channels.min((part + 1) * some) * taps;
                // SAFETY: the caller's promise.
                unsafe { weights.pack(kernels, group, ks, packed.wrapping_add(place(group, part))) };
            }
        };
        let own = (size * size_of::<T>() <= OWN).then(new_name);
        let tasks = self.tasks(kernels, [weights.groups, m], images.count, own.is_none());
        with_shared(|packed| {
            let packed = match own {
                Some(_) => std::ptr::null_mut(),
                None => packed.reserve::<T>(size),
            };
            let shared = Shared(weights, images, packed, bias);
            let all = shared.0.groups * parts;
            if own.is_none() {
                parallel::for_range(all, 1, |some| {
                    let Shared(weights, _, packed, _) = &shared;
                    pack(weights, some, *packed);
                });
            }
            parallel::for_range(tasks.len(), 1, |these| {
                let Shared(weights, images, packed, bias) = &shared;
                with_scratch(|[panel, sums, weights_packed, ..]| {
                    let packed = match own {
                        Some(name) => weights_packed.filled(size, name, |dst| pack(weights, 0..all, dst)),
                        None => *packed,
                    };
                    let panel = panel.reserve::<T>(some * taps * kernels.nr);
                    let mut room = Room::default();
                    for task in &tasks[these] {
                        let held = task.last().map_or(0, |piece| piece.sums + m * piece.width(kernels));
                        let sums = sums.reserve::<T>(held);
                        for (part, piece) in (0..parts).flat_map(|part| task.iter().map(move |piece| (part, piece))) {
                            let first = piece.group * channels + part * some;
                            let depth = some.min(channels - part * some);
                            let product = LineTile {
                                k: depth,
                                a: packed.wrapping_add(place(piece.group, part)),
                                b: panel,
                                c: sums.wrapping_add(piece.sums),
                                from_c: part > 0,
                                row_bias: match part + 1 == parts && !bias.is_null() {
                                    true => bias.wrapping_add(piece.group * m),
                                    false => std::ptr::null(),
                                },
                                ..LineTile::empty()
                            };
                            let image = images.src.wrapping_offset(first as isize * images.src_strides[1]);
                            // SAFETY: the caller's promise: all that taps see is there; so below.
                            unsafe {
                                self.piece(kernels, piece, [m, taps], (image, images), panel, product, &mut room)
                            };
                        }
                        for piece in task {
                            // SAFETY: as above; each position of a channel is one task's.
                            unsafe { self.write(kernels, piece, m, sums, images, &mut room) };
                        }
                    }
                });
            });
        });
    }

    /// Adds to a piece's sums what some channels, from `image` on, give; `product` has the packed weights of all taps.
    ///
    /// # Safety
    /// As for the tiles; `panel` has room for so many channels of all taps.
    #[allow(clippy::too_many_arguments, reason = "a product, what it reads, and where")]
    unsafe fn piece<T: Copy>(
        &self,
        kernels: &Kernels<T>,
        piece: &Piece,
        [m, taps]: [usize; 2],
        (image, images): (*const T, &Images<T>),
        panel: *mut T,
        product: LineTile<T>,
        room: &mut Room,
    ) {
        let block = &self.blocks[piece.block];
        let seen = block.taps.len();
        for [first, count, width] in panels(kernels, piece.columns.len()) {
            let from = piece.columns.start + first;
            self.stretches(block, from..from + count, room);
            // SAFETY: the caller's promise.
            unsafe {
                (kernels.pack_patches)(&PatchArgs {
                    image,
                    channel_stride: images.src_strides[1],
                    taps: &block.offsets,
                    first: 0,
                    k: product.k * seen,
                    runs: &room.runs,
                    width,
                    dst: panel,
                })
            };
            let tile = LineTile {
                lines: seen,
                b_rs: (seen * width) as isize,
                b_line: width as isize,
                c: product.c.wrapping_add(first),
                c_rs: piece.width(kernels) as isize,
                n: count,
                ..product
            };
            // SAFETY: as above.
            unsafe { rows(kernels, m, taps, &block.taps, tile) };
        }
    }

    /// Writes a piece's sums to their places.
    ///
    /// # Safety
    /// They are all there.
    unsafe fn write<T: Copy>(
        &self,
        kernels: &Kernels<T>,
        piece: &Piece,
        m: usize,
        sums: *const T,
        images: &Images<T>,
        room: &mut Room,
    ) {
        self.stretches(&self.blocks[piece.block], piece.columns.clone(), room);
        for row in 0..m {
            let channel = (piece.group * m + row) as isize;
            let dst = images.dst.wrapping_offset(channel * images.dst_strides[1]);
            let mut from = sums.wrapping_add(piece.sums + row * piece.width(kernels));
            for &(to, len) in &room.to {
                // SAFETY: the caller's promise.
                unsafe { write(from, len, dst.wrapping_offset(to), images.dst_strides[4]) };
                from = from.wrapping_add(len);
            }
        }
    }
}

/// Calls `f` with the bands of each block.
fn for_each<'a>(bands: &'a [Vec<Band>; 3], mut f: impl FnMut([&'a Band; 3])) {
    for d in &bands[0] {
        for h in &bands[1] {
            bands[2].iter().for_each(|w| f([d, h, w]));
        }
    }
}

/// All rows of a panel of B, whose lines are the taps `seen` of `taps`; `first` has the packed weights of all.
///
/// # Safety
/// As for the tiles.
unsafe fn rows<T: Copy>(kernels: &Kernels<T>, m: usize, taps: usize, seen: &[usize], first: LineTile<T>) {
    let tiles = kernels.line_tiles[1];
    let mut starts = Vec::with_capacity(seen.len());
    for (i, rows) in Panels::of(m, tiles.len()).each() {
        starts.clear();
        starts.extend(seen.iter().map(|tap| (tap * rows) as isize));
        let tile = LineTile {
            a: first.a.wrapping_add(i * first.k * taps),
            a_cs: (taps * rows) as isize,
            a_starts: starts.as_ptr(),
            c: first.c.wrapping_offset(i as isize * first.c_rs),
            row_bias: match first.row_bias.is_null() {
                true => first.row_bias,
                false => first.row_bias.wrapping_add(i),
            },
            ..first
        };
        // SAFETY: the caller's promise.
        unsafe { tiles[rows - 1][(first.n > kernels.narrow) as usize](&tile) };
    }
}

/// Elements of a short stretch that are copied at once.
const AT_ONCE: usize = 4;

/// Copies `len` elements to places `step` apart.
///
/// # Safety
/// They are there on both sides, which do not overlap.
#[inline(always)]
unsafe fn write<T: Copy>(from: *const T, len: usize, to: *mut T, step: isize) {
    // SAFETY: the caller's promise. The last of a stretch overlap those before.
    unsafe {
        if step != 1 {
            (0..len).for_each(|i| *to.wrapping_offset(i as isize * step) = *from.add(i));
        } else if len < AT_ONCE {
            (0..len).for_each(|i| *to.add(i) = *from.add(i));
        } else {
            for i in (0..len).step_by(AT_ONCE) {
                let i = i.min(len - AT_ONCE);
                to.add(i)
                    .cast::<[T; AT_ONCE]>()
                    .write_unaligned(from.add(i).cast::<[T; AT_ONCE]>().read_unaligned());
            }
        }
    }
}
