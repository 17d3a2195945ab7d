//! Calls of ops with bound arguments: run, recorded, packed for Python; the operators among them.

use crate::bind::{Given, Slots, objects, push};
pub use crate::bind::{Tensors, default_argument, parameter_index};
use crate::cell::GilCell;
use crate::convert;
use crate::error::{guarded, runtime, to_python, type_error};
use crate::foreign;
use crate::graph;
use crate::mode::{Mode, mode};
use crate::record;
use crate::rows::row;
use crate::tensor::Tensor;
use firesteel::dispatch;
use firesteel::ops::{self, Kind, Op};
use firesteel::{Arg, Args, Core, Device};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use smallvec::{SmallVec, smallvec};
use std::ffi::CString;

pub type Outs<'py> = SmallVec<[Bound<'py, Tensor>; 1]>;

/// Elements above which the GIL is released while kernels run.
pub const RELEASE: usize = 32 * 1024;

/// Runs an op and records it.
pub fn apply<'py>(py: Python<'py>, op: &'static Op, args: &Args, tensors: &Tensors<'py>) -> PyResult<Outs<'py>> {
    let mut outs = Outs::new();
    apply_into(py, op, args, tensors, &mut outs)?;
    Ok(outs)
}

/// As [`apply`]; the results are added to `outs`, which saves small calls moving them.
pub fn apply_into<'py>(
    py: Python<'py>,
    op: &'static Op,
    args: &Args,
    tensors: &Tensors<'py>,
    outs: &mut Outs<'py>,
) -> PyResult<()> {
    // Read once: each look at a thread's own variable is a call.
    let now = mode();
    if now.recording {
        graph::active::note(py, op, tensors)?;
    }
    let mut cores = dispatch::Outputs::new();
    if !op.is_view() && work(args) > RELEASE {
        // Without the GIL another thread may replace a tensor's core: the call owns what it uses.
        let args = args.clone();
        py.detach(|| dispatch::call_into(op, &args, &mut cores))
            .map_err(to_python)?;
    } else {
        dispatch::call_into(op, args, &mut cores).map_err(to_python)?;
    }
    finish(py, op, args, tensors, cores, outs, now)
}

/// Elements that the op's tensors have, as a measure of how long it runs.
#[inline]
fn work(args: &Args) -> usize {
    let mut n = 0;
    args.for_each_tensor(|c| n += c.numel());
    n
}

#[inline]
fn finish<'py>(
    py: Python<'py>,
    op: &'static Op,
    args: &Args,
    tensors: &Tensors<'py>,
    cores: dispatch::Outputs,
    outs: &mut Outs<'py>,
    now: Mode,
) -> PyResult<()> {
    // Lent cores are not looked at once Python objects are made: a collection may run finalizers.
    let views = match (&op.kind, args.items.first()) {
        (Kind::View { .. }, _) => true,
        (Kind::MaybeView { .. }, Some(Arg::Tensor(c))) => {
            firesteel::shared::Shared::ptr_eq(&c.buffer, &cores[0].buffer)
        }
        _ => false,
    };
    for c in cores {
        outs.push(Bound::new(py, Tensor::new(c))?);
    }
    if views {
        // A view is what its base is, in either mode.
        let inference = tensors[0].1.get().with(py, |s| s.is_inference);
        outs.iter()
            .for_each(|o| o.get().state_mut(py, |s| s.is_inference = inference));
        record::track_views(py, op, args, &tensors[0].1, outs);
    }
    if now.grad && !now.inference {
        let mut wanted = false;
        for (_, t) in tensors {
            wanted |= record::wants_grad(t)?;
        }
        if wanted {
            record::record(py, op, args, tensors, outs)?;
        }
    }
    Ok(())
}

/// Runs an op with its result written to its first tensor, and records it.
pub fn apply_inplace<'py>(py: Python<'py>, op: &'static Op, args: &Args, tensors: &Tensors<'py>) -> PyResult<()> {
    let now = mode();
    if now.recording {
        graph::active::note(py, op, tensors)?;
    }
    record::check_inference_write(&tensors[0].1)?;
    // Recording makes Python objects before the kernel runs: the call then owns its cores.
    let owned;
    let (args, pending) = if now.grad && record::may_track(py, tensors) {
        owned = args.clone();
        (&owned, record::before_inplace(py, op, &owned, tensors)?)
    } else {
        (args, None)
    };
    if work(args) > RELEASE {
        let args = args.clone();
        py.detach(|| dispatch::call_inplace(op, &args)).map_err(to_python)?;
    } else {
        dispatch::call_inplace(op, args).map_err(to_python)?;
    }
    match pending {
        Some(p) => record::after_inplace(py, op, &tensors[0].1, p),
        None => Ok(()),
    }
}

/// `target.key_(source)` for an op of two tensors.
pub fn inplace<'py>(
    py: Python<'py>,
    key: &str,
    target: &Bound<'py, Tensor>,
    source: &Bound<'py, Tensor>,
) -> PyResult<()> {
    let op = ops::get(key).ok_or_else(|| runtime(format!("no op {key}")))?;
    let mut args = Args::default();
    args.items.push(Arg::Tensor(target.get().core(py)));
    args.items.push(Arg::Tensor(source.get().core(py)));
    args.items.extend(op.params.iter().skip(2).map(default_argument));
    let tensors: Tensors<'py> = smallvec![(0, target.clone()), (1, source.clone())];
    apply_inplace(py, op, &args, &tensors)
}

pub fn inplace_zero<'py>(py: Python<'py>, target: &Bound<'py, Tensor>) -> PyResult<()> {
    let op = ops::get("zero").ok_or_else(|| runtime("no op zero"))?;
    let mut args = Args::default();
    args.items.push(Arg::Tensor(target.get().core(py)));
    apply_inplace(py, op, &args, &smallvec![(0, target.clone())])
}

// ---- attributes -------------------------------------------------------------------------------------------------------

/// References to an object, the caller's own among them.
pub fn references(obj: &Bound<'_, PyAny>) -> isize {
    // SAFETY: a valid object and the GIL.
    unsafe { ffi::Py_REFCNT(obj.as_ptr()) }
}

/// `object.__setattr__`, or `object.__delattr__` without a value.
pub fn generic_setattr(
    obj: &Bound<'_, PyAny>,
    name: &Bound<'_, PyString>,
    value: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let value = value.map_or(std::ptr::null_mut(), |v| v.as_ptr());
    // SAFETY: valid objects, or null for deletion; -1 comes with an error set.
    match unsafe { ffi::PyObject_GenericSetAttr(obj.as_ptr(), name.as_ptr(), value) } {
        0 => Ok(()),
        _ => Err(PyErr::fetch(obj.py())),
    }
}

pub fn generic_getattr<'py>(obj: &Bound<'py, PyAny>, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: valid objects; the result is a new reference or null with an error set.
    unsafe { Bound::from_owned_ptr_or_err(obj.py(), ffi::PyObject_GenericGetAttr(obj.as_ptr(), name.as_ptr())) }
}

// ---- one call ---------------------------------------------------------------------------------------------------------

#[derive(Clone, Copy, PartialEq)]
pub enum Form {
    Plain,
    InPlace,
}

/// Runs an op for arguments that were bound.
pub fn run<'py>(
    py: Python<'py>,
    op: &'static Op,
    form: Form,
    given: &Given<'_, 'py>,
    slots: &Slots<'_, 'py>,
    args: &Args,
    tensors: &Tensors<'py>,
) -> PyResult<Py<PyAny>> {
    if matches!(op.kind, Kind::Composite) {
        let f = row(py, op).and_then(|r| r.composite.as_ref());
        let f = f.ok_or_else(|| runtime(format!("{} has no composite registered", op.key)))?;
        return Ok(f.bind(py).call1(objects(py, op, given, slots)?)?.unbind());
    }
    if let Some(f) = taken_apart(py, op, args, tensors) {
        let made = f.bind(py).call1(objects(py, op, given, slots)?)?;
        return deliver_apart(py, op, form, slots, tensors, made);
    }
    if form == Form::InPlace {
        let Some((_, target)) = tensors.first().filter(|(p, _)| *p == 0).cloned() else {
            return Err(type_error(format!("{} needs a tensor to write to", op.inplace_name)));
        };
        apply_inplace(py, op, args, tensors)?;
        return Ok(target.into_any().unbind());
    }
    if let Some(out) = slots.out {
        return run_out(py, op, args, tensors, out);
    }
    let mut outs = Outs::new();
    apply_into(py, op, args, tensors, &mut outs)?;
    if outs.len() == 1 && !op.list {
        return outs
            .pop()
            .map(|t| t.into_any().unbind())
            .ok_or_else(|| runtime("an op with one result"));
    }
    package(py, op, outs)
}

/// The composite to call instead: of an op that the device of its tensors has no kernel for.
#[inline]
fn taken_apart<'py>(
    py: Python<'py>,
    op: &'static Op,
    args: &Args,
    tensors: &Tensors<'py>,
) -> Option<&'static Py<PyAny>> {
    if op.runs_on(Device::Gpu) {
        return None;
    }
    let on_gpu = |t: &Bound<'py, Tensor>| t.get().with(py, |s| s.core.device() == Device::Gpu);
    if !tensors.iter().any(|(_, t)| on_gpu(t)) {
        return None;
    }
    // What writes its arguments (running statistics) does more than its composite.
    let written = op.written(|i| args.bool(i));
    let writes = |i: usize| written & (1 << i) != 0 && !matches!(args[i], Arg::None);
    let row = row(py, op)?;
    row.composite.as_ref().filter(|_| !(0..op.params.len()).any(writes))
}

/// What a composite made, where the call wants it; its parts were recorded instead of the op.
#[cold]
fn deliver_apart<'py>(
    py: Python<'py>,
    op: &'static Op,
    form: Form,
    slots: &Slots<'_, 'py>,
    tensors: &Tensors<'py>,
    made: Bound<'py, PyAny>,
) -> PyResult<Py<PyAny>> {
    let target = match (slots.out, tensors.first()) {
        (Some(o), _) => o.cast::<Tensor>()?.clone(),
        (None, _) if form == Form::Plain => return Ok(made.unbind()),
        (None, Some((_, t))) => t.clone(),
        _ => return Err(runtime(format!("{} needs a tensor to write to", op.inplace_name))),
    };
    inplace(py, "copy", &target, made.cast::<Tensor>()?)?;
    Ok(target.into_any().unbind())
}

/// Results in the form that a program gets: a tensor, a tuple, a named tuple.
pub fn package<'py>(py: Python<'py>, op: &'static Op, mut outs: Outs<'py>) -> PyResult<Py<PyAny>> {
    if op.list {
        return Ok(PyTuple::new(py, outs)?.into_any().unbind());
    }
    if outs.is_empty() {
        return Ok(py.None());
    }
    if outs.len() == 1 || op.visible == 1 {
        return Ok(outs.remove(0).into_any().unbind());
    }
    named_tuple(py, op, outs)
}

static RETURN_TYPES: GilCell<Vec<(u32, Py<PyAny>)>> = GilCell::new(Vec::new());

fn named_tuple<'py>(py: Python<'py>, op: &'static Op, outs: Outs<'py>) -> PyResult<Py<PyAny>> {
    let found = RETURN_TYPES.with(py, |t| {
        t.iter().find(|(i, _)| *i == op.index).map(|(_, t)| t.clone_ref(py))
    });
    let class = match found {
        Some(t) => t,
        None => {
            let text = |s: &str| CString::new(s).map(CString::into_raw).unwrap_or(std::ptr::null_mut());
            let mut fields: Vec<ffi::PyStructSequence_Field> = op
                .outputs
                .iter()
                .map(|o| ffi::PyStructSequence_Field {
                    name: text(o),
                    doc: std::ptr::null(),
                })
                .collect();
            fields.push(ffi::PyStructSequence_Field {
                name: std::ptr::null(),
                doc: std::ptr::null(),
            });
            let n = op.outputs.len() as i32;
            let desc = Box::leak(Box::new(ffi::PyStructSequence_Desc {
                name: text(&format!("firesteel.return_types.{}", op.name)),
                doc: text(""),
                fields: Box::leak(fields.into_boxed_slice()).as_mut_ptr(),
                n_in_sequence: n,
            }));
            // SAFETY: the description lives for ever; the result is a new reference or null with an error set.
            let made =
                unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyStructSequence_NewType(desc).cast()) }?.unbind();
            let shown = py.import("firesteel.ops.results")?.getattr("shown")?;
            made.bind(py).setattr("__repr__", shown)?;
            let keep = made.clone_ref(py);
            RETURN_TYPES.with_mut(py, |t| t.push((op.index, keep)));
            made
        }
    };
    // SAFETY: a struct sequence type from above; every field is set to an owned reference.
    unsafe {
        let tuple = Bound::from_owned_ptr_or_err(py, ffi::PyStructSequence_New(class.as_ptr().cast()))?;
        for (i, o) in outs.into_iter().enumerate() {
            ffi::PyStructSequence_SetItem(tuple.as_ptr(), i as ffi::Py_ssize_t, o.into_any().into_ptr());
        }
        Ok(tuple.unbind())
    }
}

fn run_out<'py>(
    py: Python<'py>,
    op: &'static Op,
    args: &Args,
    tensors: &Tensors<'py>,
    out: &Bound<'py, PyAny>,
) -> PyResult<Py<PyAny>> {
    let args = &args.clone(); // a warning below may run Python
    let targets: Vec<Bound<'py, Tensor>> = match out.cast::<Tensor>() {
        Ok(t) => vec![t.clone()],
        Err(_) => out
            .try_iter()
            .map_err(|_| {
                type_error(format!(
                    "{}(): argument 'out' must be Tensor, not {}",
                    op.name,
                    out.get_type()
                ))
            })?
            .map(|o| Ok(o?.cast::<Tensor>()?.clone()))
            .collect::<PyResult<_>>()?,
    };
    if targets.len() != op.outputs.len() {
        return Err(type_error(format!(
            "{}() has {} outputs, out= has {}",
            op.name,
            op.outputs.len(),
            targets.len()
        )));
    }
    for t in &targets {
        record::check_inference_write(t)?;
    }
    if mode().grad {
        for t in tensors.iter().map(|(_, t)| t).chain(&targets) {
            if record::wants_grad(t)? {
                return Err(runtime(format!(
                    "{}(): functions with out=... arguments don't support automatic differentiation, but one of the arguments \
                     requires grad.",
                    op.name
                )));
            }
        }
    }
    let metas = dispatch::infer(op, args).map_err(to_python)?;
    for (t, m) in targets.iter().zip(&metas) {
        let core = t.get().core(py);
        if *core.shape() != m.shape {
            if core.numel() != 0 {
                let text = format!(
                    "An output with one or more elements was resized since it had shape {}, which does not match the required \
                     output shape {}. This behavior is deprecated, and in a future PyTorch release outputs will not be resized \
                     unless they have zero elements.",
                    core.shape(),
                    m.shape
                );
                let text = CString::new(text).unwrap_or_default();
                PyErr::warn(py, py.get_type::<pyo3::exceptions::PyUserWarning>().as_any(), &text, 1)?;
            }
            let fresh = Core::empty(m.shape, core.dtype, core.device()).map_err(to_python)?;
            if mode().recording {
                firesteel::graph::record::blank(&fresh).map_err(to_python)?;
            }
            t.get().set_core(py, fresh);
        }
    }
    if mode().recording {
        graph::active::note(py, op, tensors)?;
        for t in &targets {
            graph::active::note_tensor(t)?;
        }
    }
    let cores: Vec<Core> = targets.iter().map(|t| t.get().core(py)).collect();
    dispatch::call_out(op, args, &cores).map_err(to_python)?;
    if targets.len() == 1 {
        return Ok(out.clone().unbind());
    }
    named_tuple(py, op, targets.into_iter().collect())
}

// ---- operators --------------------------------------------------------------------------------------------------------

/// An op found once.
pub struct Common(std::sync::OnceLock<&'static Op>, &'static str);

impl Common {
    pub const fn new(key: &'static str) -> Common {
        Common(std::sync::OnceLock::new(), key)
    }
    #[inline(always)]
    pub fn get(&self) -> &'static Op {
        // Keys are literals of this crate, so this can fail in development only.
        self.0.get_or_init(|| ops::get(self.1).expect("operators have records"))
    }
}

/// Fills in the operands of a slot; false when the other one is not ours to handle.
#[inline]
fn operands<'py>(
    this: &Bound<'py, Tensor>,
    other: &Bound<'py, PyAny>,
    reflected: bool,
    args: &mut Args,
    tensors: &mut Tensors<'py>,
) -> PyResult<bool> {
    let py = this.py();
    let theirs = other.cast::<Tensor>().ok();
    let number = match theirs {
        Some(_) => None,
        None => match convert::number(other)? {
            Some(s) => Some(s),
            None => return Ok(false),
        },
    };
    for place in 0..2u8 {
        if (place == 0) != reflected {
            // SAFETY: `args` was made by `Args::lent`; `tensors` holds the owner, and kernels run no Python.
            push(args, || Arg::Tensor(unsafe { this.get().lend(py) }));
            tensors.push((place, this.clone()));
        } else if let Some(t) = theirs {
            // SAFETY: as above.
            push(args, || Arg::Tensor(unsafe { t.get().lend(py) }));
            tensors.push((place, t.clone()));
        } else if let Some(s) = number {
            push(args, || Arg::Scalar(s));
        }
    }
    // Defaults of further parameters are left out: records that operators use take them as given.
    Ok(true)
}

/// `this OP other`; `reflected`: `other OP this`.
#[inline]
pub fn operator<'py>(
    common: &Common,
    this: &Bound<'py, Tensor>,
    other: &Bound<'py, PyAny>,
    reflected: bool,
) -> PyResult<Py<PyAny>> {
    let py = this.py();
    let op = common.get();
    guarded(op.name, || {
        let mut args = Args::lent();
        let mut tensors = Tensors::new();
        if !operands(this, other, reflected, &mut args, &mut tensors)? {
            if matches!(op.name, "eq" | "ne")
                && let Ok(Some(core)) = foreign::from_buffer(other)
            {
                // Without an answer of ours Python would compare identities.
                let array = Bound::new(py, Tensor::new(core))?;
                return operator(common, this, array.as_any(), reflected);
            }
            return Ok(py.NotImplemented());
        }
        let mut outs = Outs::new();
        apply_into(py, op, &args, &tensors, &mut outs)?;
        outs.pop()
            .map(|t| t.into_any().unbind())
            .ok_or_else(|| runtime("an operator has one result"))
    })
}

/// `this OP= other`.
pub fn operator_inplace<'py>(op: &Common, this: &Bound<'py, Tensor>, other: &Bound<'py, PyAny>) -> PyResult<()> {
    let op = op.get();
    guarded(op.inplace_name, || {
        let mut args = Args::lent();
        let mut tensors = Tensors::new();
        if !operands(this, other, false, &mut args, &mut tensors)? {
            return Err(type_error(format!(
                "unsupported operand type(s) for {}: 'Tensor' and '{}'",
                op.inplace_name,
                other.get_type().name()?
            )));
        }
        apply_inplace(this.py(), op, &args, &tensors)
    })
}

/// An op of one tensor.
pub fn unary<'py>(op: &Common, this: &Bound<'py, Tensor>) -> PyResult<Bound<'py, Tensor>> {
    let py = this.py();
    let op = op.get();
    guarded(op.name, || {
        let mut args = Args::lent();
        // SAFETY: `this` outlives the call, and kernels run no Python.
        args.items.push(Arg::Tensor(unsafe { this.get().lend(py) }));
        args.items.extend(op.params.iter().skip(1).map(default_argument));
        Ok(apply(py, op, &args, &smallvec![(0, this.clone())])?.remove(0))
    })
}
