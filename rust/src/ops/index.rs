//! Indexing by tensors: of indices per dim, of truth values, of flat places.

use super::def::{Builder, Call, Metas, op};
use super::masks::{hits, nonzero_places};
use super::support::{one, out_of_range, packed, row};
use crate::args::Args;
use crate::core::Core;
use crate::device::{Device, cpu, gpu};
use crate::dtype::{DType, legacy_name};
use crate::ensure;
use crate::error::{Error, Result};
use crate::layout::{Dims, Layout, broadcast, expands_to};
use firesteel_kernels::Src;
use firesteel_kernels::elementwise;
use firesteel_kernels::index::{self, IndexError};
use smallvec::SmallVec;

/// What indexes one dim.
#[derive(Clone)]
enum Slot {
    All,
    /// int64 or int32 indices.
    At(Core),
    /// Column of a mask's nonzero places.
    Column(Core, usize),
}

/// How a tensor is indexed: a slot per dim, and the shape that the indices broadcast to.
struct Plan {
    slots: SmallVec<[Slot; 4]>,
    indices: Dims,
}

impl Plan {
    fn new(t: &Core, given: &[Option<Core>]) -> Result<Plan> {
        let mut slots: SmallVec<[Slot; 4]> = SmallVec::new();
        let mut shapes: SmallVec<[Dims; 4]> = SmallVec::new();
        for (i, index) in given.iter().enumerate() {
            match index {
                None => slots.push(Slot::All),
                Some(m) if matches!(m.dtype, DType::Bool | DType::U8) => {
                    let at = slots.len();
                    for (j, &n) in m.shape().iter().enumerate() {
                        if t.shape().get(at + j) != Some(&n) {
                            return Error::index(format!(
                                "The shape of the mask {} at index {j} does not match the shape of the indexed tensor {} at \
                                 index {}",
                                m.shape(),
                                t.shape(),
                                at + j
                            ));
                        }
                    }
                    if m.rank() == 0 {
                        return Error::index(format!(
                            "index {i} is a 0-dim mask: unsqueeze the tensor and the mask first"
                        ));
                    }
                    slots.extend((0..m.rank()).map(|j| Slot::Column(m.clone(), j)));
                    shapes.push(row(&[hits(m)?]));
                }
                Some(c) if matches!(c.dtype, DType::I64 | DType::I32) => {
                    slots.push(Slot::At(c.clone()));
                    shapes.push(*c.shape());
                }
                Some(_) => return Error::index("tensors used as indices must be long, int, byte or bool tensors"),
            }
        }
        if slots.len() > t.rank() {
            return Error::index(format!(
                "too many indices for tensor of dimension {} (got {})",
                t.rank(),
                slots.len()
            ));
        }
        let mut indices = Dims::EMPTY;
        for s in &shapes {
            match broadcast(&indices, s) {
                Ok(d) => indices = d,
                Err(_) => {
                    let all: Vec<String> = shapes.iter().map(Dims::to_string).collect();
                    return Error::index(format!(
                        "shape mismatch: indexing tensors could not be broadcast together with shapes {}",
                        all.join(", ")
                    ));
                }
            }
        }
        let nowhere = slots
            .iter()
            .zip(t.shape().iter())
            .any(|(s, &n)| n == 0 && !matches!(s, Slot::All));
        if nowhere && indices.numel() > 0 {
            return Error::index("index is out of bounds for dimension with size 0");
        }
        slots.resize(t.rank(), Slot::All);
        Ok(Plan { slots, indices })
    }

    /// Indexed dims, then the others.
    fn order(&self) -> (SmallVec<[usize; 8]>, usize) {
        let (at, rest): (SmallVec<[usize; 8]>, SmallVec<[usize; 8]>) =
            (0..self.slots.len()).partition(|&d| !matches!(self.slots[d], Slot::All));
        let k = at.len();
        (at.into_iter().chain(rest).collect(), k)
    }

    /// The one mask that indexes all dims, if that is all there is.
    fn whole_mask(&self) -> Option<&Core> {
        match self.slots.first() {
            Some(Slot::Column(mask, 0)) if mask.dtype == DType::Bool && mask.rank() == self.slots.len() => Some(mask),
            _ => None,
        }
    }

    /// Dims of the result before those of the indices: they stay where the indexed dims are if these are neighbours, and
    /// come first if not.
    fn lead(&self) -> usize {
        let (order, k) = self.order();
        let neighbours = k > 0 && order[k - 1] + 1 - order[0] == k;
        if neighbours { order[0] } else { 0 }
    }

    fn shape(&self, t: &Dims) -> Result<Dims> {
        let lead = self.lead();
        let (order, k) = self.order();
        let mut out = Dims::EMPTY;
        order[k..k + lead].iter().try_for_each(|&d| out.push(t[d]))?;
        if k > 0 {
            self.indices.iter().try_for_each(|&n| out.push(n))?;
        }
        order[k + lead..].iter().try_for_each(|&d| out.push(t[d]))?;
        out.check()?;
        Ok(out)
    }

    /// A layout of the result's shape with the indices' dims in front.
    fn indices_first(&self, l: &Layout) -> Layout {
        let (lead, s) = (self.lead(), self.indices.len());
        let order: SmallVec<[usize; 8]> = (lead..lead + s).chain(0..lead).chain(lead + s..l.rank()).collect();
        l.permute(&order)
    }

    /// Calls a kernel with the indexed dims of `t` in front and the indices as int64 of one shape. A bad index is told by
    /// the dim that a program knows.
    fn with_indices(
        &self,
        t: &Layout,
        run: impl FnOnce(&Layout, &[Src<i64>]) -> std::result::Result<(), IndexError>,
    ) -> Result<()> {
        let (order, k) = self.order();
        let mut cores: SmallVec<[Core; 4]> = SmallVec::new();
        let mut places: Option<Core> = None;
        for &d in &order[..k] {
            let c = match &self.slots[d] {
                Slot::All => continue,
                Slot::At(c) => cpu::cast(c, DType::I64)?,
                Slot::Column(mask, j) => {
                    if *j == 0 {
                        places = Some(nonzero_places(mask)?);
                    }
                    match &places {
                        Some(p) => p.with_layout(p.layout.select(1, *j)),
                        None => continue,
                    }
                }
            };
            ensure!(
                expands_to(c.shape(), &self.indices),
                "a mask was changed while it was used as an index"
            );
            cores.push(c);
        }
        let wide: SmallVec<[Src<i64>; 4]> = cores
            .iter()
            .map(|c| cpu::src_as(c, &c.layout.broadcast_to(&self.indices)).typed())
            .collect();
        run(&t.permute(&order), &wide).map_err(|e| out_of_range(IndexError { dim: order[e.dim], ..e }))
    }
}

fn index_infer(a: &Args) -> Result<Metas> {
    let t = a.tensor(0);
    one(Plan::new(t, a.opt_tensors(1))?.shape(t.shape())?, t.dtype)
}

fn index_run(c: &Call) -> Result<()> {
    let (t, out) = (c.args.tensor(0), &c.outs[0]);
    let plan = Plan::new(t, c.args.opt_tensors(1))?;
    if plan.order().1 == 0 {
        cpu::copy(t, out);
        return Ok(());
    }
    ensure!(
        plan.shape(t.shape())? == *out.shape(),
        "a mask was changed while it was used as an index"
    );
    if let Some(mask) = plan.whole_mask() {
        let n = index::masked_select(cpu::src(t), cpu::typed(mask), cpu::dst(out));
        ensure!(n == out.numel(), "a mask was changed while it was used as an index");
        return Ok(());
    }
    let to = cpu::dst_as(out, &plan.indices_first(&out.layout));
    plan.with_indices(&t.layout, |from, indices| {
        index::index_get(cpu::src_as(t, from), indices, to, c.fresh)
    })
}

// ---- on the gpu -------------------------------------------------------------------------------------------------------

impl Plan {
    /// The indexed dims and their indices, which must be numbers: how many a mask names would have to be read back.
    fn numbers(&self, order: &[usize]) -> Result<Vec<Core>> {
        let mut found = Vec::new();
        for &d in order {
            match &self.slots[d] {
                Slot::At(c) => found.push(gpu::brought(c)?),
                _ => return Error::unsupported("by a mask is not implemented on device 'gpu'"),
            }
        }
        Ok(found)
    }

    /// For each element of the indices its place in the first dims of `shape` taken as one; negative ones count from the
    /// end, and what is out of range is told and has no place.
    fn linear(&self, numbers: &[Core], shape: &Dims) -> Result<Core> {
        const NAMES: [&str; 3] = ["p", "q", "r"];
        let run = Core::empty(self.indices, DType::I32, Device::Gpu)?;
        let mut program = gpu::Each::new("index_put")
            .tensor("to", &run, run.layout, true)?
            .faults();
        let mut text = String::from("var place = 0;\nvar fine = true;\n");
        for (k, c) in numbers.iter().enumerate() {
            let name = NAMES[k];
            program = program
                .tensor(name, c, c.layout.broadcast_to(&self.indices), false)?
                .bits(shape[k] as u32);
            text.push_str(&format!(
                "{{\nlet v = load_{name}(o_{name});\nlet n = i32(u{k});\nlet j = select(v, v + n, v < 0);\nif (j < 0 || j >= n) {{ fine = \
                 false; fault(v); }}\nplace = place * n + j;\n}}\n"
            ));
        }
        text.push_str("store_to(o_to, select(-2147483647 - 1, place, fine));");
        program.run(&text)?;
        Ok(run)
    }
}

/// A layout over the indices' dims and then those of `rest`, with the strides of one of the two.
fn over(indices: &Dims, rest: &Layout, strides: Option<&Layout>, offset: usize) -> Result<Layout> {
    let mut shape = *indices;
    rest.shape.iter().try_for_each(|&n| shape.push(n))?;
    let mut all = [0isize; firesteel_kernels::MAX_RANK];
    let n = indices.len();
    match strides {
        Some(l) => all[..n].copy_from_slice(l.strides()),
        None => all[n..n + rest.rank()].copy_from_slice(rest.strides()),
    }
    Ok(Layout::strided(shape, &all[..shape.len()], offset))
}

/// A layout without its first dims.
fn without(l: &Layout, count: usize) -> Layout {
    (0..count).fold(*l, |l, _| l.remove(0))
}

fn index_on_gpu(c: &Call) -> Result<()> {
    let (t, out) = (c.args.tensor(0), &c.outs[0]);
    let plan = Plan::new(t, c.args.opt_tensors(1))?;
    let (order, k) = plan.order();
    if k == 0 {
        return gpu::copy(t, out);
    }
    if k > 3 {
        return Error::unsupported("by more than three tensors is not implemented on device 'gpu'");
    }
    let numbers = plan.numbers(&order[..k])?;
    let from = t.layout.permute(&order);
    let rest = without(&from, k);
    let mut sources = Vec::new();
    for (d, i) in numbers.iter().enumerate() {
        let wide = i.layout.broadcast_to(&plan.indices);
        sources.push(gpu::Source {
            indices: i,
            layout: over(&plan.indices, &rest, Some(&wide), i.layout.offset)?,
            stride: from.strides()[d] as usize,
            size: from.shape[d],
        });
    }
    let to = out.with_layout(plan.indices_first(&out.layout));
    let from = over(&plan.indices, &rest, None, t.layout.offset)?;
    gpu::take("index", t, from, &sources, true, &to)
}

/// Values put into, or added to, the lines of one dim.
fn put_on_gpu(c: &Call) -> Result<()> {
    let (t, values, add, out) = (c.args.tensor(0), c.args.tensor(2), c.args.bool(3), &c.outs[0]);
    let plan = Plan::new(t, c.args.opt_tensors(1))?;
    let (order, k) = plan.order();
    if k == 0 || k > 3 {
        return Error::unsupported(format!("of {k} dims is not implemented on device 'gpu'"));
    }
    if add {
        gpu::floats_only([t, values])?;
    }
    let shape = plan.shape(t.shape())?;
    let from = fitted(t, values, &shape)?;
    let numbers = plan.numbers(&order[..k])?;
    if !t.same_elements(out) {
        gpu::copy(t, out)?;
    }
    // The indices as one run into one dim, the values with that run in front.
    let wide = values.with_layout(from.broadcast_to(&shape));
    let first = gpu::contiguous(&wide.with_layout(plan.indices_first(&wide.layout)))?;
    let turned = out.layout.permute(&order);
    let run = plan.linear(&numbers, &turned.shape)?;
    let mut joint = row(&[turned.shape[..k].iter().product()]);
    turned.shape[k..].iter().try_for_each(|&n| joint.push(n))?;
    let (to, back) = match turned.view(&joint) {
        Some(l) => (out.with_layout(l), false),
        None => {
            let made = gpu::contiguous(&out.with_layout(turned))?;
            let flat = packed(joint, made.layout.offset);
            (made.with_layout(flat), true)
        }
    };
    let still = Layout::strided(
        joint,
        &[0; firesteel_kernels::MAX_RANK][..joint.len()],
        run.layout.offset,
    );
    let rest = without(&first.layout, plan.indices.len());
    let lines = over(&row(&[joint[0]]), &rest, None, first.layout.offset)?;
    let values = Ok((&first, lines, rest.shape.numel()));
    let adding = add.then_some(1.0);
    gpu::put_lines(
        "index_put",
        &to,
        to.layout,
        0,
        plan.indices.numel(),
        (&run, still, 1),
        values,
        adding,
        None,
        false,
    )?;
    if back {
        gpu::copy(
            &to.with_layout(packed(turned.shape, to.layout.offset)),
            &out.with_layout(turned),
        )?;
    }
    Ok(())
}

fn put_infer(a: &Args) -> Result<Metas> {
    one(*a.tensor(0).shape(), a.tensor(0).dtype)
}

/// The layout of the values to be put, without leading dims of one; refused where they do not fit the places.
fn fitted(t: &Core, values: &Core, shape: &Dims) -> Result<Layout> {
    ensure!(
        t.dtype == values.dtype,
        "Index put requires the source and destination dtypes match, got {} for the destination and {} for the source.",
        legacy_name(t.dtype),
        legacy_name(values.dtype)
    );
    let mut from = values.layout;
    while from.rank() > shape.len() && from.shape[0] == 1 {
        from = from.remove(0);
    }
    ensure!(
        expands_to(&from.shape, shape),
        "shape mismatch: value tensor of shape {} cannot be broadcast to indexing result of shape {shape}",
        values.shape()
    );
    Ok(from)
}

fn put_run(c: &Call) -> Result<()> {
    let (t, values, add) = (c.args.tensor(0), c.args.tensor(2), c.args.bool(3));
    let plan = Plan::new(t, c.args.opt_tensors(1))?;
    let shape = plan.shape(t.shape())?;
    let from = fitted(t, values, &shape)?;
    // Only adding needs a dtype that there are kernels for.
    let work = if add { t.dtype.compute() } else { t.dtype };
    let out = super::scatter::begin(c, work)?;
    let values = cpu::cast(&values.with_layout(from), work)?;
    let wide = plan.indices_first(&values.layout.broadcast_to(&shape));
    if plan.order().1 == 0 {
        let (to, from) = (out.dst(), cpu::src_as(&values, &values.layout.broadcast_to(&shape)));
        if add {
            let (a, b) = (
                elementwise::Operand::View(to.as_src()),
                elementwise::Operand::View(from),
            );
            let kind = if work == DType::Bool {
                elementwise::Binary::LogicalOr
            } else {
                elementwise::Binary::Add
            };
            elementwise::binary(kind, work, a, b, to);
        } else {
            elementwise::copy(from, to);
        }
    } else if let (Some(mask), false, true) = (plan.whole_mask(), add, values.numel() == shape.numel()) {
        let enough = index::masked_scatter(cpu::dst(&out.core), cpu::typed(mask), cpu::src(&values));
        ensure!(enough, "a mask was changed while it was used as an index");
    } else {
        plan.with_indices(&out.core.layout, |to, indices| {
            index::index_put(cpu::dst_as(&out.core, to), indices, cpu::src_as(&values, &wide), add)
        })?;
    }
    out.store();
    Ok(())
}

fn take_infer(a: &Args) -> Result<Metas> {
    let (t, i) = (a.tensor(0), a.tensor(1));
    ensure!(
        i.dtype == DType::I64,
        "take(): Expected a long tensor for index, but got {}",
        legacy_name(i.dtype)
    );
    if t.numel() == 0 && i.numel() > 0 {
        return Error::index("take(): tried to take from an empty tensor");
    }
    one(*i.shape(), t.dtype)
}

fn take_run(c: &Call) -> Result<()> {
    let (t, i) = (c.args.tensor(0), c.args.tensor(1));
    let flat = cpu::contiguous(t, t.dtype)?;
    let all = packed(row(&[t.numel()]), flat.layout.offset);
    index::index_get(
        cpu::src_as(&flat, &all),
        &[cpu::typed(i)],
        cpu::dst(&c.outs[0]),
        c.fresh,
    )
    .map_err(|e| {
        let text = format!(
            "out of range: tried to access index {} on a tensor of {} elements.",
            e.index, e.size
        );
        Error::new(crate::error::ErrorKind::Index, text)
    })
}

pub fn ops() -> Vec<Builder> {
    vec![
        op("index(input, indices: Tensor?[])", "The elements at the given indices, one tensor per dim (None: all of it), broadcast together; bool and uint8 tensors pick where they are true. An index out of range raises IndexError.")
            .compute(index_infer, index_run)
            .gpu(index_on_gpu),
        op("index_put(input, indices: Tensor?[], values, accumulate: bool = False)", "The input with the values put at the given indices (see `index`), or added there. An index out of range raises IndexError and writes nothing.")
            .compute(put_infer, put_run)
            .gpu(put_on_gpu)
            .updates_self(),
        op("take(input, index)", "The elements at places of the flattened input; negative ones count from the end. A place out of range raises IndexError.")
            .compute(take_infer, take_run),
    ]
}
