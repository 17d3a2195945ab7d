//! The one way from an op's record and arguments to its outputs.

use crate::core::Core;
use crate::device::{Device, cpu, gpu};
use crate::dtype::{DType, can_cast, legacy_name};
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::ops::def::{Call, Kernel, Kind, Op, View};
use crate::{Arg, Args};
use smallvec::SmallVec;
use std::cell::Cell;

pub type Outputs = SmallVec<[Core; 1]>;

/// Where an op's results go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    New,
    InPlace,
    Out,
}

/// Who is told what runs on this thread: the graph's recorder.
pub struct Watch {
    pub ran: fn(&'static Op, Form, &Args, &[Core]) -> Result<()>,
    pub copied: fn(&Core, &Core) -> Result<()>,
}

thread_local! {
    static WATCH: Cell<Option<&'static Watch>> = const { Cell::new(None) };
}

/// Tells `to` from now on what runs on this thread; returns who was told before.
pub fn watch(to: Option<&'static Watch>) -> Option<&'static Watch> {
    WATCH.with(|w| w.replace(to))
}

#[inline(always)]
fn tell(op: &'static Op, form: Form, args: &Args, outs: &[Core]) -> Result<()> {
    match WATCH.with(Cell::get) {
        None => Ok(()),
        Some(w) => (w.ran)(op, form, args, outs),
    }
}

/// The device of the arguments: one for all of them (0-d CPU tensors go along with any).
fn device_of(args: &Args) -> Result<Device> {
    let mut found = None;
    let mut clash = None;
    args.for_each_tensor(|c| {
        let d = c.device();
        match found {
            None => found = Some((d, c.rank())),
            Some((f, _)) if f == d => {}
            Some((f, rank)) => {
                if f == Device::Cpu && rank == 0 {
                    found = Some((d, c.rank()));
                } else if !(d == Device::Cpu && c.rank() == 0) {
                    clash = Some((f, d));
                }
            }
        }
    });
    if let Some((a, b)) = clash {
        return Error::runtime(format!(
            "Expected all tensors to be on the same device, but found at least two devices, {} and {}!",
            a.name(),
            b.name()
        ));
    }
    Ok(found.map_or(Device::Cpu, |(d, _)| d))
}

/// What carries an op out on a device; nothing on `meta`.
#[inline(always)]
fn kernel_for(op: &'static Op, device: Device, cpu: Kernel) -> Result<Option<Kernel>> {
    match device {
        Device::Cpu => Ok(Some(cpu)),
        Device::Meta => Ok(None),
        Device::Gpu => match op.gpu {
            None => no_kernel(op),
            found => Ok(found),
        },
    }
}

#[cold]
fn no_kernel<T>(op: &'static Op) -> Result<T> {
    Error::unsupported(format!("'{}' is not implemented on device 'gpu'", op.name))
}

/// The device of an op's results.
fn device_for(op: &'static Op, args: &Args) -> Result<Device> {
    match op.device.and_then(|i| args.device(i)) {
        Some(d) => Ok(d),
        None if op.across_devices => Ok(args.tensor(0).device()),
        None => device_of(args),
    }
}

/// Copies elements on one device, converting dtypes; the shapes are equal.
fn copy(from: &Core, to: &Core) -> Result<()> {
    match to.device() {
        Device::Cpu => cpu::copy(from, to),
        Device::Gpu => gpu::copy(from, to)?,
        Device::Meta => {}
    }
    Ok(())
}

/// Runs an op into new memory.
pub fn call(op: &'static Op, args: &Args) -> Result<Outputs> {
    let mut outs = Outputs::new();
    call_into(op, args, &mut outs)?;
    Ok(outs)
}

/// Runs an op into new memory; the outputs are added to `outs`.
#[inline]
pub fn call_into(op: &'static Op, args: &Args, outs: &mut Outputs) -> Result<()> {
    run(op, args, outs).map_err(|e| e.within(op.name))?;
    tell(op, Form::New, args, outs)
}

fn run(op: &'static Op, args: &Args, outs: &mut Outputs) -> Result<()> {
    match &op.kind {
        Kind::Compute { infer, cpu } => {
            if let Some(rule) = op.quick
                && let Some(first) = in_step(args)
                && let Some((dtype, compute)) = rule(args)
            {
                let kernel = kernel_for(op, first.device(), *cpu)?;
                outs.push(Core::empty_like(first, dtype)?);
                return kernel.map_or(Ok(()), |run| {
                    run(&Call {
                        args,
                        outs,
                        compute,
                        fresh: true,
                    })
                });
            }
            if let Some(out) = op.whole.and_then(|whole| whole(args)) {
                outs.push(out);
                return Ok(());
            }
            let metas = infer(args)?;
            let device = device_for(op, args)?;
            let kernel = kernel_for(op, device, *cpu)?;
            for m in &metas {
                outs.push(match &m.layout {
                    Some(l) => Core::empty_with(**l, m.dtype, device)?,
                    None => Core::empty(m.shape, m.dtype, device)?,
                });
            }
            if let Some(run) = kernel {
                let compute = metas.first().map_or(DType::F32, |m| m.compute);
                run(&Call {
                    args,
                    outs,
                    compute,
                    fresh: true,
                })?;
            }
            bump_mutated(op, args);
        }
        Kind::View { rule } => {
            let base = args.tensor(0);
            match rule {
                View::One(rule) => outs.push(base.seen_as(|l| rule(args, l))?),
                View::Many(rule) => outs.extend(rule(args)?.into_iter().map(|l| base.with_layout(l))),
            }
        }
        Kind::MaybeView { layout, infer, cpu } => {
            let base = args.tensor(0);
            if let Some(l) = layout(args)? {
                outs.push(base.with_layout(l));
                return Ok(());
            }
            let m = &infer(args)?[0];
            let kernel = kernel_for(op, base.device(), *cpu)?;
            outs.push(Core::empty(m.shape, m.dtype, base.device())?);
            if let Some(run) = kernel {
                let compute = m.compute;
                run(&Call {
                    args,
                    outs,
                    compute,
                    fresh: true,
                })?;
            }
        }
        Kind::DataShape { run } => {
            if WATCH.with(Cell::get).is_some() {
                return Error::recording(
                    "the size of the result depends on values, which a compiled function must not read; compute it outside",
                );
            }
            match device_of(args)? {
                Device::Cpu => {}
                Device::Gpu => return no_kernel(op),
                Device::Meta => {
                    return Error::unsupported("the size of the result depends on values, which meta tensors lack");
                }
            }
            outs.extend(run(args)?);
        }
        Kind::Composite => return Error::runtime("the op is made of others, which the binding calls"),
    }
    Ok(())
}

/// The first tensor, when all have its shape and device and are row-major: nothing is broadcast, no strides are chosen.
#[inline(always)]
fn in_step(args: &Args) -> Option<&Core> {
    let mut first: Option<&Core> = None;
    for a in &args.items {
        if let Arg::Tensor(c) = a {
            if !c.layout.is_contiguous() || first.is_some_and(|f| f.shape() != c.shape() || f.device() != c.device()) {
                return None;
            }
            first = first.or(Some(c));
        }
    }
    first
}

fn bump_mutated(op: &'static Op, args: &Args) {
    let written = op.written(|i| args.bool(i));
    if written != 0 {
        for (i, a) in args.items.iter().enumerate() {
            match a {
                Arg::Tensor(c) if written & (1 << i) != 0 => c.version().bump(op.index),
                Arg::Tensors(list) if written & (1 << i) != 0 => {
                    list.iter().for_each(|c| c.version().bump(op.index));
                }
                _ => {}
            }
        }
    }
}

/// Runs an op with its first output written to the first argument.
pub fn call_inplace(op: &'static Op, args: &Args) -> Result<()> {
    let target = args.tensor(0);
    let outs = std::slice::from_ref(target);
    let result = match quick_inplace(op, args, target) {
        Some((cpu, compute)) => cpu(&Call {
            args,
            outs,
            compute,
            fresh: false,
        })
        .map(|()| target.version().bump(op.index)),
        None => into(op, args, outs, true),
    };
    result.map_err(|e| e.within(op.inplace_name))?;
    tell(op, Form::InPlace, args, outs)
}

/// The kernel and dtype for an elementwise op in place whose tensors are all row-major and of one shape and dtype.
#[inline]
fn quick_inplace(op: &'static Op, args: &Args, target: &Core) -> Option<(Kernel, DType)> {
    let Kind::Compute { cpu, .. } = op.kind else {
        return None;
    };
    let (dtype, compute) = op.quick.filter(|_| in_step(args).is_some())?(args)?;
    let apart = |a: &Arg| match a {
        Arg::Tensor(c) => c.same_elements(target) || !c.overlaps(target),
        _ => true,
    };
    let fits = target.dtype == dtype && target.buffer.is_writable() && target.device() == Device::Cpu;
    (fits && args.items.iter().all(apart)).then_some((cpu, compute))
}

/// Runs an op into given outputs, whose shapes and dtypes must fit (the binding resizes empty ones before).
pub fn call_out(op: &'static Op, args: &Args, outs: &[Core]) -> Result<()> {
    into(op, args, outs, false).map_err(|e| e.within(op.name))?;
    tell(op, Form::Out, args, outs)
}

/// Shapes and dtypes of the outputs, without running.
pub fn infer(op: &'static Op, args: &Args) -> Result<crate::ops::def::Metas> {
    match &op.kind {
        Kind::Compute { infer, .. } => infer(args).map_err(|e| e.within(op.name)),
        _ => Error::unsupported(format!("{} has no shape rule of its own", op.key)),
    }
}

fn into(op: &'static Op, args: &Args, outs: &[Core], inplace: bool) -> Result<()> {
    let Kind::Compute { infer, cpu } = &op.kind else {
        return Error::runtime("does not write into given memory");
    };
    let metas = infer(args)?;
    for (o, m) in outs.iter().zip(&metas) {
        if *o.shape() != m.shape {
            return if inplace {
                Error::runtime(format!(
                    "output with shape {} doesn't match the broadcast shape {}",
                    o.shape(),
                    m.shape
                ))
            } else {
                Error::runtime(format!("out has shape {}, the result {}", o.shape(), m.shape))
            };
        }
        if o.dtype != m.dtype && !can_cast(m.dtype, o.dtype) {
            return Error::runtime(format!(
                "result type {} can't be cast to the desired output type {}",
                legacy_name(m.dtype),
                legacy_name(o.dtype)
            ));
        }
        o.check_writable()?;
    }
    let device = device_for(op, args)?;
    if outs.iter().any(|o| o.device() != device) {
        return Error::runtime(format!(
            "Expected out tensor to be on device '{}', like the arguments, but it is on '{}'",
            device.name(),
            outs.iter()
                .find(|o| o.device() != device)
                .map_or("", |o| o.device().name())
        ));
    }
    let Some(kernel) = kernel_for(op, device, *cpu)? else {
        return Ok(());
    };
    let compute = metas.first().map_or(DType::F32, |m| m.compute);
    // An input that shares memory with an output is read from a copy, unless it is the output itself, element by element.
    let mut safe: Option<Args> = None;
    for (i, a) in args.items.iter().enumerate() {
        let clashes = |c: &Core| {
            let in_step = op.elementwise || op.updates_self && i == 0;
            outs.iter().any(|o| c.overlaps(o) && !(in_step && c.same_elements(o)))
        };
        let fresh = match a {
            Arg::Tensor(c) if clashes(c) => {
                if inplace && i > 0 && op.elementwise && partial(c, &outs[0]) {
                    return Error::runtime(
                        "unsupported operation: some elements of the input tensor and the written-to tensor refer to a \
                         single memory location. Please clone() the tensor before performing the operation.",
                    );
                }
                Arg::Tensor(spare(c)?)
            }
            Arg::Tensors(list) if list.iter().any(clashes) => {
                Arg::Tensors(list.iter().map(spare).collect::<Result<_>>()?)
            }
            Arg::OptTensors(list) if list.iter().flatten().any(clashes) => Arg::OptTensors(
                list.iter()
                    .map(|c| c.as_ref().map(spare).transpose())
                    .collect::<Result<_>>()?,
            ),
            _ => continue,
        };
        safe.get_or_insert_with(|| args.clone()).items[i] = fresh;
    }
    let plain = |(o, m): (&Core, &crate::ops::def::Meta)| o.dtype == m.dtype && o.layout.is_contiguous();
    let direct = op.elementwise || op.updates_self && inplace || outs.iter().zip(&metas).all(plain);
    let args = safe.as_ref().unwrap_or(args);
    if direct {
        kernel(&Call {
            args,
            outs,
            compute,
            fresh: false,
        })?;
    } else {
        let temps: Outputs = metas
            .iter()
            .map(|m| Core::empty(m.shape, m.dtype, device))
            .collect::<Result<_>>()?;
        kernel(&Call {
            args,
            outs: &temps,
            compute,
            fresh: true,
        })?;
        for (t, o) in temps.iter().zip(outs) {
            copy(t, o)?;
        }
    }
    outs.iter().for_each(|o| o.version().bump(op.index));
    Ok(())
}

/// The address ranges meet but the elements are not the same ones: PyTorch refuses these in place.
fn partial(a: &Core, b: &Core) -> bool {
    a.layout.is_dense() && b.layout.is_dense() && a.layout.offset != b.layout.offset
}

/// A dense copy in new memory.
pub fn fresh_copy(c: &Core) -> Result<Core> {
    copy_as(c, Layout::dense_like(*c.shape(), &c.layout))
}

/// A copy in new memory with this dense layout.
pub fn copy_as(c: &Core, layout: Layout) -> Result<Core> {
    let out = copied(c, layout)?;
    if let Some(w) = WATCH.with(Cell::get) {
        (w.copied)(c, &out)?;
    }
    Ok(out)
}

fn copied(c: &Core, layout: Layout) -> Result<Core> {
    let out = Core::empty_with(layout, c.dtype, c.device())?;
    copy(c, &out)?;
    Ok(out)
}

/// A copy for the time of one call.
fn spare(c: &Core) -> Result<Core> {
    copied(c, Layout::dense_like(*c.shape(), &c.layout))
}

/// Arguments from a few values, for calls inside Rust.
pub fn args<const N: usize>(items: [Arg; N]) -> Args {
    let mut args = Args::default();
    args.items.extend(items);
    args
}
