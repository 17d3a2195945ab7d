//! Forward pass and gradient of the input: weights times patches, the patches packed panel by panel.

use super::bands::Bands;
use super::by_position;
use super::depthwise;
use super::finish::{Block, Finishing};
use super::geometry::{Address, Gather, Source};
use super::lines::LineTile;
use super::one_channel;
use super::one_image;
use super::patches::PatchArgs;
use super::pointwise;
use super::weights::Weights;
use super::window::{STRETCHES, Stretch, WINDOW_ROWS, WINDOW_TOGETHER, WindowArgs, stretches};
use crate::gemm::{
    Gemm, HasKernels, Kernels, Panels, SLACK, even_part, longest_k, new_name, panel_width, with_scratch, with_shared,
};
use crate::parallel;
use crate::simd::cache::first_is_small;
use std::ops::Range;

/// Positions that one task computes before it goes on in k: a block of C that stays near.
const BLOCK: usize = 256;
/// Bytes of an image's copy that stay near.
const COPY: usize = 384 << 10;
/// Longest k at once where patches are packed from memory and a panel would take most of the first-level cache.
const DEEP: usize = 128;
/// Bytes of packed weights of which each thread has its own.
const OWN: usize = 4 << 20;
/// Multiply-adds worth handing to a thread.
const GRAIN: usize = 1 << 19;

/// Images in and out: pointers and strides [n, c, d, h, w]. The output's are those of the grid of positions.
pub(super) struct Images<T> {
    pub count: usize,
    pub src: *const T,
    pub src_strides: [isize; 5],
    pub dst: *mut T,
    pub dst_strides: [isize; 5],
    /// Where only every second line and column has taps: the sizes of the whole result, whose other elements are to be
    /// zero. It is one plane deep, and its lines lie one behind the other.
    pub zeros: Option<[usize; 3]>,
    /// What becomes of a block of the result once it is computed.
    pub finish: Option<Finishing<T>>,
}

/// Weights, images, a buffer and the bias, for all threads.
pub(super) struct Shared<T>(pub Weights<T>, pub Images<T>, pub *mut T, pub *const T);
// SAFETY: plain data; tasks write disjoint positions.
unsafe impl<T: Sync> Sync for Shared<T> {}

/// For every image, group and position: `dst[row] = sum over k of weights[row][k] * patch[k]`, plus `bias[row]`. Returns
/// whether the result is finished too: else [`Finishing::all`] is left to the caller.
///
/// # Safety
/// All addresses that the arguments describe are live; `bias` is null or has one element per group and row; `kernels`
/// fit the CPU.
pub(super) unsafe fn gather<T: Copy + Default + HasKernels + Send + Sync>(
    kernels: &'static Kernels<T>,
    geometry: &Gather,
    weights: Weights<T>,
    images: Images<T>,
    bias: *const T,
) -> bool {
    let (m, positions) = (weights.rows, geometry.positions());
    let k = weights.channels * geometry.taps();
    if positions == 0 || images.count == 0 || m == 0 || weights.groups == 0 {
        return false;
    }
    let [_, sc, sd, sh, sw] = images.src_strides;
    let address = geometry.address([sc, sd, sh, sw]);
    let [_, _, od, oh, ow] = images.dst_strides;
    let grid = geometry.grid.map(|n| n as isize);
    let flat =
        (grid[2] == 1 || ow == 1) && (grid[1] == 1 || oh == grid[2]) && (grid[0] == 1 || od == grid[1] * grid[2]);
    if pointwise::takes(geometry, &address, &weights, &images, flat) {
        // SAFETY: the caller's promise.
        return unsafe { pointwise::products(kernels, geometry, &address, weights, images, bias, flat) };
    }
    let [src, dst] = [images.src_strides, images.dst_strides];
    let bands = Bands::of(geometry, images.count, [weights.channels, m], src, dst);
    if let Some(bands) = bands.filter(|_| images.zeros.is_none()) {
        // SAFETY: the caller's promise.
        unsafe { bands.products(kernels, weights, images, bias) };
        return false;
    }
    let planes = depthwise::takes(geometry, &weights, &images, flat);
    let few = flat && m <= WINDOW_ROWS;
    let sheets = one_channel::takes(geometry, &weights).filter(|_| flat);
    let by_position = flat && by_position::takes(kernels, geometry, &weights);
    if planes || few || sheets.is_some() || by_position {
        // These read weights row by row.
        // SAFETY: the caller's promise; so below.
        let copy = (!weights.is_dense()).then(|| unsafe { weights.copied() });
        let weights = match &copy {
            Some(copy) => Weights::dense(copy.as_ptr(), [weights.groups, m, weights.channels, geometry.taps()]),
            None => weights,
        };
        // SAFETY: as above.
        return unsafe {
            match sheets.filter(|_| !planes && !few) {
                _ if planes => depthwise::planes(kernels, geometry, weights, images, bias, flat),
                Some(sheets) => {
                    one_channel::products(kernels, geometry, &sheets, weights, images, bias);
                    true
                }
                None if few => {
                    few_rows(kernels, geometry, &address, weights, images, bias);
                    true
                }
                None => {
                    by_position::products(kernels, geometry, weights, images, bias);
                    true
                }
            }
        };
    }
    if flat && one_image::takes(&weights, &images) {
        // SAFETY: as above.
        unsafe { one_image::product(kernels, geometry, &address, weights, images, bias) };
        return false;
    }
    let (panels, threads) = (positions.div_ceil(kernels.nr), parallel::threads());
    // A single small image is cut finer, so that each thread has a share.
    let shares = if threads > 1 {
        (2 * threads).div_ceil(images.count * weights.groups)
    } else {
        1
    };
    let most = (BLOCK / kernels.nr).min(panels.div_ceil(shares)).max(1);
    // An image whose copy is large is copied as it is needed.
    let part = address.part(weights.channels, COPY / size_of::<T>(), kernels.nr, shares);
    let block = part.unwrap_or(even_part(panels, most) * kernels.nr);
    let blocks = positions.div_ceil(block);
    // What memory gives in time occupies the buffers through which the first-level cache is filled.
    let near = address.in_place() && address.taps.len() == 1 && first_is_small();
    let kc = even_part(k, if near { DEEP } else { longest_k::<T>() });
    let stretches = k.div_ceil(kc);
    // Where a stretch of k of a group is packed; packing may write a little behind it.
    let place = |g: usize, p: usize| (g * k + p) * m + (g * stretches + p / kc) * SLACK;
    let pack = |weights: &Weights<T>, some: Range<usize>, packed: *mut T| {
        for (g, p) in some.map(|i| (i / stretches, i % stretches * kc)) {
            let (ks, dst) = (p..k.min(p + kc), packed.wrapping_add(place(g, p)));
            // SAFETY: the caller's promise.
            unsafe { weights.pack(kernels, g, ks, dst) };
        }
    };
    let size = place(weights.groups, 0);
    // Each thread packs weights for itself: no sooner would one have packed them for all, and to read what another core has
    // just written takes longer. Large ones are packed once, for the sake of memory.
    let own = (weights.groups * m * k * size_of::<T>() <= OWN).then(new_name);
    with_shared(|packed| {
        let packed = match own {
            Some(_) => std::ptr::null_mut(),
            None => packed.reserve::<T>(size),
        };
        let shared = Shared(weights, images, packed, bias);
        let all = shared.0.groups * stretches;
        if own.is_none() {
            parallel::for_range(all, 1, |some| {
                let Shared(weights, _, packed, _) = &shared;
                pack(weights, some, *packed);
            });
        }
        let grain = (GRAIN / (m * k * block).max(1)).max(1);
        let tasks = shared.1.count * shared.0.groups * blocks;
        let coming = match k > 0 {
            true => address.coming::<T>(geometry, shared.0.channels, [sc, sd, sh, sw]),
            false => None,
        };
        // Tiles of a block and a part of k, and of an image.
        let tall = m.div_ceil(kernels.line_tiles[1].len());
        let tiles_in_all = blocks * k.div_ceil(kc.max(1)) * block.div_ceil(kernels.nr) * tall;
        parallel::for_range(tasks, grain, |tasks| {
            let Shared(weights, images, packed, bias) = &shared;
            let end = tasks.end;
            with_scratch(|[copy, panel, temp, weights_packed]| {
                let packed = match own {
                    Some(name) => weights_packed.filled(size, name, |dst| pack(weights, 0..all, dst)),
                    None => *packed,
                };
                let panel = panel.reserve::<T>(kc * kernels.nr);
                let temp = temp.reserve::<T>(if flat { 0 } else { m * block });
                let mut runs = Vec::new();
                let mut now = None;
                for task in tasks {
                    let (which, from) = (task / blocks, task % blocks * block);
                    let (image, group) = (which / weights.groups, which % weights.groups);
                    // SAFETY: the caller's promise.
                    unsafe {
                        let to = positions.min(from + block);
                        let copied = if part.is_some() { task } else { which };
                        if now.as_ref().is_none_or(|(w, _)| *w != copied) {
                            let c = (group * weights.channels) as isize;
                            let at = image as isize * images.src_strides[0] + c * sc;
                            let data = images.src.wrapping_offset(at);
                            let source = Source {
                                data,
                                channels: weights.channels,
                                strides: [sc, sd, sh, sw],
                            };
                            let lines = match part {
                                Some(_) => address.lines(from, to),
                                None => address.all_lines(),
                            };
                            now = Some((copied, geometry.image(kernels, &address, source, lines, copy)));
                        }
                        let Some((_, ready)) = &now else { continue };
                        let here = images
                            .src
                            .wrapping_offset(image as isize * images.src_strides[0])
                            .wrapping_offset((group * weights.channels) as isize * sc);
                        // Where an image that is read in place begins.
                        let low = ready.data.addr().wrapping_sub(here.addr());
                        let row = (group * m) as isize;
                        let dst = images
                            .dst
                            .wrapping_offset(image as isize * images.dst_strides[0] + row * images.dst_strides[1]);
                        let (c, c_rs) = if flat {
                            (dst.wrapping_add(from), images.dst_strides[1])
                        } else {
                            (temp, block as isize)
                        };
                        let (soon, of) = ((which + 1) / weights.groups, (which + 1) % weights.groups);
                        let soon = images
                            .src
                            .wrapping_offset(soon as isize * images.src_strides[0])
                            .wrapping_offset((of * weights.channels) as isize * sc);
                        let coming = coming.filter(|_| (which + 1) * blocks < end);
                        let mut done = task % blocks * (tiles_in_all / blocks);
                        let mut p = 0;
                        loop {
                            let depth = kc.min(k - p);
                            let last = p + depth >= k;
                            let a = packed.wrapping_add(place(group, p));
                            for j in (from..to).step_by(kernels.nr) {
                                let n = kernels.nr.min(to - j);
                                runs.clear();
                                address.runs(j, j + n, &mut runs);
                                (kernels.pack_patches)(&PatchArgs {
                                    image: ready.data,
                                    channel_stride: ready.channel_stride,
                                    taps: &address.taps,
                                    first: p,
                                    k: depth,
                                    runs: &runs,
                                    width: panel_width(kernels, n),
                                    dst: panel,
                                });
                                // What the next panel is packed from, unless it was copied a moment ago.
                                let in_place = address.in_place() && address.taps.len() == 1;
                                let panel_next = match j + n {
                                    j if j < to => Some((j, p, ready.data)),
                                    _ if !last => Some((from, p + depth, ready.data)),
                                    j if j < positions => Some((j, 0, ready.data)),
                                    _ => (task + 1 < end).then(|| (0, 0, soon.wrapping_byte_add(low))),
                                };
                                let panel_next = panel_next.filter(|_| in_place).map(|(j, p, data)| {
                                    data.wrapping_offset(p as isize * ready.channel_stride + address.offset(j))
                                });
                                // A tile fetches one of the two cache lines of a panel's row (the panel before has had a
                                // part of a third), of half of the rows if there are tiles enough.
                                let skip = panel_next.is_some_and(|at| !at.addr().is_multiple_of(64)) as usize;
                                let halves = if panel_next.is_some() && tall >= 4 { 2 } else { 1 };
                                let ahead = |index: usize| {
                                    if let Some(at) = panel_next.filter(|_| index < halves * 2) {
                                        // A line of each row, or of half of them.
                                        let (line, half) = ((index % 2 + skip) * 64 / size_of::<T>(), index / 2);
                                        let rows = (half * (depth / 2)) as isize * ready.channel_stride;
                                        return Some((
                                            at.wrapping_offset(rows).wrapping_add(line),
                                            ready.channel_stride,
                                        ));
                                    }
                                    let (begin, step) = coming?.at(done + index, tiles_in_all, kc)?;
                                    Some((soon.wrapping_offset(begin), step))
                                };
                                let add_bias = last && !bias.is_null();
                                let product = Gemm {
                                    m,
                                    n,
                                    k: depth,
                                    c: c.wrapping_add(j - from),
                                    c_rs,
                                    c_cs: 1,
                                    from_c: p > 0,
                                    row_bias: if add_bias {
                                        bias.wrapping_offset(row)
                                    } else {
                                        std::ptr::null()
                                    },
                                    ..Gemm::empty()
                                };
                                let (thin, width) = (product.thin(kernels, n), panel_width(kernels, n));
                                let tiles = LineTile {
                                    k: depth,
                                    a,
                                    b: panel,
                                    b_rs: width as isize,
                                    c: product.c,
                                    c_rs,
                                    n: n - thin,
                                    from_c: product.from_c,
                                    row_bias: product.row_bias,
                                    ahead_half: halves == 2,
                                    ..LineTile::empty()
                                };
                                if n > thin {
                                    packed_rows(kernels, m, tiles, ahead);
                                }
                                if thin > 0 {
                                    product.run_thin(kernels, a, thin, (panel.wrapping_add(n - thin), width));
                                }
                                done += tall;
                            }
                            p += depth;
                            if last {
                                break;
                            }
                        }
                        if !flat {
                            scatter(
                                kernels,
                                temp,
                                block,
                                m,
                                from..to,
                                geometry.grid,
                                dst,
                                images.dst_strides,
                                images.zeros,
                            );
                        } else if let Some(f) = &images.finish {
                            f.block(Block {
                                image,
                                channel: group * m,
                                channels: m,
                                from,
                                count: to - from,
                            });
                        }
                    }
                }
            });
        });
    });
    flat
}

/// All rows of one panel of B; `first` is the tile of the first rows, whose A was packed by `pack_a`. What `ahead`
/// names for a panel of rows, an address and how far it goes with each step, is fetched meanwhile.
///
/// # Safety
/// As for the tiles.
unsafe fn packed_rows<T: Copy>(
    kernels: &Kernels<T>,
    m: usize,
    first: LineTile<T>,
    ahead: impl Fn(usize) -> Option<(*const T, isize)>,
) {
    let tiles = kernels.line_tiles[1];
    let (panels, depth) = (Panels::of(m, tiles.len()), first.lines * first.k);
    for (index, (i, rows)) in panels.each().enumerate() {
        let at = i as isize * first.c_rs;
        let (ahead, ahead_step) = ahead(index).unwrap_or((std::ptr::null(), 0));
        let tile = LineTile {
            a: first.a.wrapping_add(i * depth),
            a_cs: rows as isize,
            a_line: (rows * first.k) as isize,
            c: first.c.wrapping_offset(at),
            row_bias: match first.row_bias.is_null() {
                true => first.row_bias,
                false => first.row_bias.wrapping_add(i),
            },
            // Behind the last rows come the first ones of the next panel.
            next: match index + 1 < panels.count {
                true => first.c.wrapping_offset(at + rows as isize * first.c_rs),
                false => first.c.wrapping_add(kernels.nr),
            },
            ahead,
            ahead_step,
            ..first
        };
        // SAFETY: the caller's promise.
        unsafe { tiles[rows - 1][(first.n > kernels.narrow) as usize](&tile) };
    }
}

/// [`gather`] for few output channels per group and positions that lie one after another in the output.
///
/// # Safety
/// As for `gather`.
unsafe fn few_rows<T: Copy + Default + HasKernels + Send + Sync>(
    kernels: &'static Kernels<T>,
    geometry: &Gather,
    address: &Address,
    weights: Weights<T>,
    images: Images<T>,
    bias: *const T,
) {
    let (m, positions) = (weights.rows, geometry.positions());
    let block = positions.min((4 * BLOCK).div_ceil(address.run()) * address.run());
    let blocks = positions.div_ceil(block);
    let wide = kernels.narrow;
    let rows_at_once = even_part(m, WINDOW_TOGETHER);
    let work = m * weights.channels * geometry.taps() * block;
    let shared = Shared(weights, images, std::ptr::null_mut(), bias);
    parallel::for_range(
        shared.1.count * shared.0.groups * blocks,
        (GRAIN / 4 / work.max(1)).max(1),
        |tasks| {
            let Shared(weights, images, _, bias) = &shared;
            let [_, sc, sd, sh, sw] = images.src_strides;
            with_scratch(|[copy, ..]| {
                let (mut runs, mut pieces) = (Vec::new(), Vec::new());
                let mut now = None;
                for task in tasks {
                    let (which, from) = (task / blocks, task % blocks * block);
                    let (image, group) = ((which / weights.groups) as isize, (which % weights.groups) as isize);
                    // SAFETY: the caller's promise.
                    unsafe {
                        if now.as_ref().is_none_or(|(w, _)| *w != which) {
                            let at = image * images.src_strides[0] + group * weights.channels as isize * sc;
                            let data = images.src.wrapping_offset(at);
                            let source = Source {
                                data,
                                channels: weights.channels,
                                strides: [sc, sd, sh, sw],
                            };
                            now = Some((
                                which,
                                geometry.image(kernels, address, source, address.all_lines(), copy),
                            ));
                        }
                        let Some((_, ready)) = &now else { continue };
                        runs.clear();
                        address.runs(from, positions.min(from + block), &mut runs);
                        pieces.clear();
                        let mut dst = from as isize;
                        for run in &runs {
                            for at in (0..run.len).step_by(wide) {
                                let len = wide.min(run.len - at);
                                let at = at as isize;
                                pieces.push(Stretch {
                                    src: run.offset + at,
                                    dst: dst + at,
                                    len,
                                });
                            }
                            dst += run.len as isize;
                        }
                        for row in (0..m).step_by(rows_at_once) {
                            let rows = rows_at_once.min(m - row);
                            let at = group * m as isize + row as isize;
                            for some in pieces.chunks(stretches(rows)) {
                                let mut args = WindowArgs {
                                    image: ready.data,
                                    channel_stride: ready.channel_stride,
                                    channels: weights.channels,
                                    taps: &address.taps,
                                    weights: weights.data.wrapping_offset(
                                        group * weights.group_stride + row as isize * weights.row_stride,
                                    ),
                                    row_stride: weights.row_stride,
                                    dst: images
                                        .dst
                                        .wrapping_offset(image * images.dst_strides[0] + at * images.dst_strides[1]),
                                    dst_stride: images.dst_strides[1],
                                    stretches: [Stretch::default(); STRETCHES],
                                    bias: if bias.is_null() {
                                        *bias
                                    } else {
                                        bias.wrapping_offset(at)
                                    },
                                };
                                args.stretches[..some.len()].copy_from_slice(some);
                                (kernels.windows[rows - 1])(&args);
                            }
                        }
                        if let Some(f) = &images.finish {
                            f.block(Block {
                                image: image as usize,
                                channel: group as usize * m,
                                channels: m,
                                from,
                                count: positions.min(from + block) - from,
                            });
                        }
                    }
                }
            });
        },
    );
}

/// Writes a block of C to its strided place.
///
/// # Safety
/// The positions lie inside the output.
#[allow(clippy::too_many_arguments, reason = "a block, and where it goes")]
pub(super) unsafe fn scatter<T: Copy + Default>(
    kernels: &Kernels<T>,
    temp: *const T,
    width: usize,
    m: usize,
    positions: Range<usize>,
    grid: [usize; 3],
    dst: *mut T,
    [_, oc, od, oh, ow]: [isize; 5],
    zeros: Option<[usize; 3]>,
) {
    // Channel by channel: each one's lines are nearly one piece of memory.
    for i in 0..m {
        let dst = dst.wrapping_offset(i as isize * oc);
        let mut p = positions.start;
        while p < positions.end {
            let (line, w) = (p / grid[2], p % grid[2]);
            let len = (grid[2] - w).min(positions.end - p);
            let to = (line / grid[1]) as isize * od + (line % grid[1]) as isize * oh + w as isize * ow;
            let to = dst.wrapping_offset(to);
            let from = temp.wrapping_add(i * width + p - positions.start);
            p += len;
            if let Some([_, lines, columns]) = zeros {
                let line = line % grid[1];
                // SAFETY: the caller's promise; so below. Lines of the result lie one behind the other.
                unsafe {
                    spread_zeros(from, len, to, columns - 2 * w);
                    if w == 0 && 2 * line + 1 < lines {
                        to.wrapping_add(columns).write_bytes(0, columns);
                    }
                }
                continue;
            }
            if ow == 2 {
                // SAFETY: as above.
                unsafe { (kernels.spread_line)(from, len, to) };
                continue;
            }
            for j in 0..len {
                // SAFETY: as above.
                unsafe { *to.wrapping_offset(j as isize * ow) = *from.add(j) };
            }
        }
    }
}

/// Writes `len` elements two apart, each followed by a zero, to a line of `room`.
///
/// # Safety
/// Both sides lie in live memory.
unsafe fn spread_zeros<T: Copy + Default>(from: *const T, len: usize, to: *mut T, room: usize) {
    let pairs = len.min(room / 2);
    for j in 0..pairs {
        // SAFETY: the caller's promise; so below.
        unsafe {
            *to.add(2 * j) = *from.add(j);
            *to.add(2 * j + 1) = T::default();
        }
    }
    if pairs < len {
        // SAFETY: an odd line ends without a zero.
        unsafe { *to.add(2 * pairs) = *from.add(pairs) };
    }
}
