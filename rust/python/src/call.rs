//! One binding for all ops: arguments are bound by the record's parameters, and the record says the rest.

use crate::cell::GilCell;
use crate::convert::{self, Mismatch, argument, argument_object, type_words};
use crate::error::{guarded, runtime, to_python, type_error};
use crate::graph;
use crate::mode::mode;
use crate::record;
use crate::rows::row;
use crate::tensor::Tensor;
use firesteel::dispatch;
use firesteel::ops::{self, Default, Kind, Op, Param, Ty};
use firesteel::{Arg, Args, Core};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};
use smallvec::{SmallVec, smallvec};
use std::collections::HashMap;
use std::ffi::CString;

/// Tensor arguments with the position of their parameter, in the order met.
pub type Tensors<'py> = SmallVec<[(u8, Bound<'py, Tensor>); 3]>;
pub type Outs<'py> = SmallVec<[Bound<'py, Tensor>; 1]>;

/// Elements above which the GIL is released while kernels run.
const RELEASE: usize = 32 * 1024;

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
    if mode().recording {
        graph::active::note(py, op, tensors)?;
    }
    let mut cores = dispatch::Outputs::new();
    if work(args) > RELEASE {
        // Without the GIL another thread may replace a tensor's core: the call owns what it uses.
        let args = args.clone();
        py.detach(|| dispatch::call_into(op, &args, &mut cores))
            .map_err(to_python)?;
    } else {
        dispatch::call_into(op, args, &mut cores).map_err(to_python)?;
    }
    finish(py, op, args, tensors, cores, outs)
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
    let now = mode();
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
    if mode().recording {
        graph::active::note(py, op, tensors)?;
    }
    record::check_inference_write(&tensors[0].1)?;
    // Recording makes Python objects before the kernel runs: the call then owns its cores.
    let owned;
    let (args, pending) = if mode().grad && record::may_track(py, tensors) {
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

/// A parameter's default as an argument.
pub fn default_argument(p: &Param) -> Arg {
    match &p.default {
        Default::Required | Default::None => Arg::None,
        Default::Bool(v) => match p.ty {
            Ty::Scalar | Ty::Operand => Arg::Scalar(firesteel::Scalar::Bool(*v)),
            _ => Arg::Bool(*v),
        },
        Default::Int(v) => match p.ty {
            Ty::Float => Arg::Float(*v as f64),
            Ty::Scalar | Ty::Operand => Arg::Scalar(firesteel::Scalar::Int(*v)),
            Ty::Ints { fixed } => Arg::Ints(smallvec![*v; fixed.max(1) as usize]),
            _ => Arg::Int(*v),
        },
        Default::Float(v) => match p.ty {
            Ty::Scalar | Ty::Operand => Arg::Scalar(firesteel::Scalar::Float(*v)),
            _ => Arg::Float(*v),
        },
        Default::Str(s) => Arg::Str((*s).into()),
        Default::EmptyList => match p.ty {
            Ty::Floats => Arg::Floats(SmallVec::new()),
            _ => Arg::Ints(SmallVec::new()),
        },
    }
}

// ---- names ------------------------------------------------------------------------------------------------------------

/// Interned parameter names, by op and position: keyword names are compared as pointers first.
static NAMES: GilCell<Vec<Vec<Py<PyString>>>> = GilCell::new(Vec::new());

fn intern_names(py: Python<'_>) {
    let names: Vec<Vec<Py<PyString>>> = ops::table()
        .iter()
        .map(|o| o.params.iter().map(|p| PyString::intern(py, p.name).unbind()).collect())
        .collect();
    NAMES.with_mut(py, |n| *n = names);
}

/// Index of the parameter called `name`, by pointer or by text.
#[inline]
pub fn parameter_index(py: Python<'_>, op: &'static Op, name: &Bound<'_, PyString>) -> Option<usize> {
    NAMES.with(py, |n| {
        n[op.index as usize].iter().position(|p| p.as_ptr() == name.as_ptr())
    })
}

/// NumPy's and PyTorch's other names of parameters.
fn alias(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "axis" => &["dim", "dims"],
        "axes" => &["dims", "dim"],
        "keepdims" => &["keepdim"],
        "x" | "a" | "x1" | "self" => &["input"],
        "x2" => &["other"],
        _ => return None,
    })
}

fn keyword_index(py: Python<'_>, op: &'static Op, name: &Bound<'_, PyString>) -> PyResult<Option<usize>> {
    if let Some(i) = parameter_index(py, op, name) {
        return Ok(Some(i));
    }
    let text = name.to_cow()?;
    if let Some(i) = op.param(&text) {
        return Ok(Some(i));
    }
    Ok(alias(&text).and_then(|names| names.iter().find_map(|n| op.param(n))))
}

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

// ---- binding ----------------------------------------------------------------------------------------------------------

/// Why a signature does not take the arguments given.
enum Refusal {
    /// Message; another overload may fit.
    Shape(String),
    Error(PyErr),
}

struct Bindings<'py> {
    args: Args,
    tensors: Tensors<'py>,
    objects: SmallVec<[Option<Bound<'py, PyAny>>; 8]>,
    out: Option<Bound<'py, PyAny>>,
}

struct Given<'a, 'py> {
    this: Option<&'a Bound<'py, PyAny>>,
    positional: &'a [Bound<'py, PyAny>],
    keywords: &'a [(Bound<'py, PyString>, Bound<'py, PyAny>)],
}

fn bind<'py>(
    py: Python<'py>,
    op: &'static Op,
    given: &Given<'_, 'py>,
    name: &str,
    composite: bool,
    bindings: &mut Bindings<'py>,
) -> Result<(), Refusal> {
    let Bindings {
        args,
        tensors,
        objects,
        out,
    } = bindings;
    // An earlier signature that did not fit left nothing lent.
    args.items.clear();
    tensors.clear();
    objects.clear();
    objects.resize(op.params.len(), None);
    *out = None;
    let mut next = 0;
    if let Some(this) = given.this {
        objects[0] = Some(this.clone());
        next = 1;
    }
    let places = op.params.iter().filter(|p| !p.keyword_only).count();
    let mut rest = given.positional;
    // `x.view(2, 3)` for `x.view((2, 3))`: the one positional parameter left takes them all.
    if next < places
        && places - next == 1
        && matches!(op.params[next].ty, Ty::Ints { .. })
        && (rest.len() > 1 || rest.len() == 1 && is_intlike(&rest[0]))
    {
        let list = PyTuple::new(py, rest).map_err(Refusal::Error)?;
        objects[next] = Some(list.into_any());
        rest = &[];
    }
    if rest.len() > places - next {
        return Err(Refusal::Shape(format!(
            "{name}() takes {} positional argument{} but {} were given",
            places,
            if places == 1 { "" } else { "s" },
            rest.len() + next
        )));
    }
    for o in rest {
        objects[next] = Some(o.clone());
        next += 1;
    }
    for (key, value) in given.keywords {
        match keyword_index(py, op, key).map_err(Refusal::Error)? {
            Some(i) if objects[i].is_none() => objects[i] = Some(value.clone()),
            Some(_) => {
                return Err(Refusal::Shape(format!(
                    "{name}() got multiple values for argument '{key}'"
                )));
            }
            None if op.out && key.to_cow().is_ok_and(|k| k == "out") => {
                if !value.is_none() {
                    *out = Some(value.clone());
                }
            }
            None => {
                return Err(Refusal::Shape(format!(
                    "{name}() got an unexpected keyword argument '{key}'"
                )));
            }
        }
    }
    for (i, p) in op.params.iter().enumerate() {
        match &objects[i] {
            None if p.default == Default::Required => {
                let missing: Vec<_> = op
                    .params
                    .iter()
                    .enumerate()
                    .filter(|(j, p)| objects[*j].is_none() && p.default == Default::Required)
                    .map(|(_, p)| format!("\"{}\"", p.name))
                    .collect();
                return Err(Refusal::Shape(format!(
                    "{name}() missing {} required positional argument{}: {}",
                    missing.len(),
                    if missing.len() == 1 { "" } else { "s" },
                    missing.join(", ")
                )));
            }
            None => push(args, || default_argument(p)),
            Some(o) if matches!(p.ty, Ty::Tensor | Ty::Operand) && o.cast::<Tensor>().is_ok() => {
                tensors.push((
                    i as u8,
                    o.cast::<Tensor>().map_err(|e| Refusal::Error(e.into()))?.clone(),
                ));
                push(args, || Arg::None);
            }
            Some(o) => match argument(o, p, i, tensors) {
                Ok(a) => push(args, || a),
                Err(Mismatch::Error(e)) => return Err(Refusal::Error(e)),
                Err(Mismatch::Type) => {
                    return Err(Refusal::Shape(format!(
                        "{name}(): argument '{}' (position {}) must be {}, not {}",
                        p.name,
                        i + 1 - given.this.is_some() as usize,
                        type_words(p.ty),
                        o.get_type().name().map(|n| n.to_string()).unwrap_or_default()
                    )));
                }
            },
        }
    }
    // Lent last: converting numbers may run a program's `__index__`, which may replace a tensor's core.
    for (i, t) in tensors.iter() {
        if matches!(op.params[*i as usize].ty, Ty::Tensor | Ty::Operand) {
            // SAFETY: `args` is made for lent cores; `tensors` holds the owners, and no Python runs before the kernel.
            args.items[*i as usize] = Arg::Tensor(unsafe { t.get().lend(py) });
        }
    }
    if composite {
        for (i, p) in op.params.iter().enumerate() {
            if objects[i].is_none() {
                objects[i] = Some(
                    argument_object(py, &default_argument(p))
                        .map_err(Refusal::Error)?
                        .into_bound(py),
                );
            }
        }
    }
    Ok(())
}

fn is_intlike(o: &Bound<'_, PyAny>) -> bool {
    o.is_instance_of::<pyo3::types::PyInt>()
        || (!o.is_instance_of::<PyTuple>()
            && !o.is_instance_of::<PyList>()
            && o.hasattr("__index__").unwrap_or(false)
            && o.cast::<Tensor>()
                .is_ok_and(|t| t.get().with(o.py(), |s| s.core.rank() == 0)))
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Plain,
    InPlace,
}

/// A public name: its records and how it is called.
struct Entry {
    name: &'static str,
    form: Form,
    method: bool,
    overloads: Vec<&'static Op>,
}

static ENTRIES: GilCell<Vec<Entry>> = GilCell::new(Vec::new());

fn call_entry<'py>(py: Python<'py>, index: usize, given: &Given<'_, 'py>) -> PyResult<Py<PyAny>> {
    // Entries are written once, before any call.
    let entry: &'static Entry = ENTRIES.with(py, |e| {
        let p: *const Entry = &e[index];
        // SAFETY: the table is filled at import and never changed afterwards.
        unsafe { &*p }
    });
    if entry.method && given.this.is_none() {
        return Err(type_error(format!("{}() needs a tensor", entry.name)));
    }
    let mut refusals: SmallVec<[String; 2]> = SmallVec::new();
    let mut bindings = Bindings {
        args: Args::lent(),
        tensors: Tensors::new(),
        objects: SmallVec::new(),
        out: None,
    };
    for &op in &entry.overloads {
        let composite = matches!(op.kind, Kind::Composite);
        match bind(py, op, given, entry.name, composite, &mut bindings) {
            Ok(()) => return guarded(entry.name, || run(py, op, entry.form, &bindings)),
            Err(Refusal::Error(e)) => return Err(e),
            Err(Refusal::Shape(text)) => refusals.push(text),
        }
    }
    Err(type_error(match &refusals[..] {
        [one] => one.clone(),
        _ => {
            let got: Vec<String> =
                given
                    .positional
                    .iter()
                    .map(|o| o.get_type().name().map(|n| n.to_string()).unwrap_or_default())
                    .chain(given.keywords.iter().map(|(k, v)| {
                        format!("{k}={}", v.get_type().name().map(|n| n.to_string()).unwrap_or_default())
                    }))
                    .collect();
            let forms: Vec<String> = entry
                .overloads
                .iter()
                .map(|o| format!("\n * {}{}", entry.name, o.text_signature()))
                .collect();
            format!(
                "{}() received an invalid combination of arguments - got ({}), but expected one of:{}",
                entry.name,
                got.join(", "),
                forms.concat()
            )
        }
    }))
}

fn run<'py>(py: Python<'py>, op: &'static Op, form: Form, b: &Bindings<'py>) -> PyResult<Py<PyAny>> {
    if matches!(op.kind, Kind::Composite) {
        let f = row(py, op).and_then(|r| r.composite.as_ref());
        let f = f.ok_or_else(|| runtime(format!("{} has no composite registered", op.key)))?;
        let objects: SmallVec<[&Bound<'py, PyAny>; 8]> = b.objects.iter().flatten().collect();
        let args = PyTuple::new(py, objects)?;
        return Ok(f.bind(py).call1(args)?.unbind());
    }
    if form == Form::InPlace {
        let Some((_, target)) = b.tensors.first().filter(|(p, _)| *p == 0).cloned() else {
            return Err(type_error(format!("{} needs a tensor to write to", op.inplace_name)));
        };
        apply_inplace(py, op, &b.args, &b.tensors)?;
        return Ok(target.into_any().unbind());
    }
    if let Some(out) = &b.out {
        return run_out(py, op, &b.args, &b.tensors, out);
    }
    let mut outs = Outs::new();
    apply_into(py, op, &b.args, &b.tensors, &mut outs)?;
    if outs.len() == 1 && !op.list {
        return outs
            .pop()
            .map(|t| t.into_any().unbind())
            .ok_or_else(|| runtime("an op with one result"));
    }
    package(py, op, outs)
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
        self.0.get_or_init(|| ops::get(self.1).expect("operators have records"))
    }
}

/// Adds an argument without building it elsewhere first: read back at once, the copy would wait for its own stores.
#[inline(always)]
fn push(args: &mut Args, make: impl FnOnce() -> Arg) {
    let n = args.items.len();
    if n == args.items.capacity() {
        args.items.push(make());
        return;
    }
    // SAFETY: there is room for one more, and it is initialised before it counts.
    unsafe {
        args.items.as_mut_ptr().add(n).write(make());
        args.items.set_len(n + 1);
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
                && let Ok(Some(core)) = convert::from_buffer(other)
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

// ---- the C functions --------------------------------------------------------------------------------------------------

/// Most public names (function, method and in-place forms counted one by one) that the table can hold.
const SLOTS: usize = 1536;

/// The one C function of all ops, instantiated for each public name.
///
/// # Safety
/// Called by CPython under METH_FASTCALL | METH_KEYWORDS with the GIL held.
unsafe extern "C" fn call<const SLOT: usize>(
    this: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    nargs: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as promised to this function.
    unsafe { enter(SLOT, this, args, nargs, names) }
}

/// # Safety
/// As for [`call`].
unsafe fn enter(
    slot: usize,
    this: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    nargs: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the GIL is held; PyO3 learns of it here.
    unsafe {
        Python::attach_unchecked(|py| {
            let result = guarded("call", || {
                let is_method = ENTRIES.with(py, |e| e[slot].method);
                let this = if is_method {
                    Some(Bound::from_borrowed_ptr(py, this))
                } else {
                    None
                };
                let n = nargs as usize;
                // Pushed one by one: a collected list would be moved while it is still being written.
                let mut positional: SmallVec<[Bound<'_, PyAny>; 6]> = SmallVec::new();
                for i in 0..n {
                    positional.push(Bound::from_borrowed_ptr(py, *args.add(i)));
                }
                let mut keywords: SmallVec<[(Bound<'_, PyString>, Bound<'_, PyAny>); 4]> = SmallVec::new();
                if !names.is_null() {
                    let names = Bound::from_borrowed_ptr(py, names).cast_into::<PyTuple>()?;
                    for (i, name) in names.iter().enumerate() {
                        keywords.push((
                            name.cast_into::<PyString>()?,
                            Bound::from_borrowed_ptr(py, *args.add(n + i)),
                        ));
                    }
                }
                call_entry(
                    py,
                    slot,
                    &Given {
                        this: this.as_ref(),
                        positional: &positional,
                        keywords: &keywords,
                    },
                )
            });
            match result {
                Ok(v) => v.into_ptr(),
                Err(e) => {
                    e.restore(py);
                    std::ptr::null_mut()
                }
            }
        })
    }
}

type CFunction = unsafe extern "C" fn(
    *mut ffi::PyObject,
    *const *mut ffi::PyObject,
    ffi::Py_ssize_t,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

macro_rules! instances {
    ($($hundred:literal)*) => {
        [$(
            instances!(@ten $hundred 0), instances!(@ten $hundred 8), instances!(@ten $hundred 16), instances!(@ten $hundred 24),
            instances!(@ten $hundred 32), instances!(@ten $hundred 40), instances!(@ten $hundred 48), instances!(@ten $hundred 56)
        ),*]
    };
    (@ten $h:literal $t:literal) => {
        [call::<{ $h * 64 + $t }>, call::<{ $h * 64 + $t + 1 }>, call::<{ $h * 64 + $t + 2 }>, call::<{ $h * 64 + $t + 3 }>,
         call::<{ $h * 64 + $t + 4 }>, call::<{ $h * 64 + $t + 5 }>, call::<{ $h * 64 + $t + 6 }>, call::<{ $h * 64 + $t + 7 }>]
    };
}

static FUNCTIONS: [[CFunction; 8]; SLOTS / 8] =
    instances!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23);

fn method_def(slot: usize, name: &'static str, doc: &str) -> *mut ffi::PyMethodDef {
    let text = |s: &str| CString::new(s.replace('\0', "")).unwrap_or_default().into_raw();
    Box::leak(Box::new(ffi::PyMethodDef {
        ml_name: text(name),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunctionFastWithKeywords: FUNCTIONS[slot / 8][slot % 8],
        },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: text(doc),
    }))
}

/// Makes every function, and every method of the class, from the op table.
pub fn install(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    intern_names(py);
    let class = py.get_type::<Tensor>();
    let mut order: Vec<&'static str> = Vec::new();
    let mut groups: HashMap<&'static str, Vec<&'static Op>> = HashMap::new();
    for op in ops::table() {
        let list = groups.entry(op.name).or_insert_with(|| {
            order.push(op.name);
            Vec::new()
        });
        list.push(op);
    }
    let mut entries: Vec<Entry> = Vec::new();
    let mut made: Vec<(usize, *mut ffi::PyMethodDef)> = Vec::new();
    for name in order {
        let group = &groups[name];
        for (form, method) in [
            (Form::Plain, false),
            (Form::Plain, true),
            (Form::InPlace, false),
            (Form::InPlace, true),
        ] {
            let overloads: Vec<&'static Op> = group
                .iter()
                .copied()
                .filter(|o| match (form, method) {
                    (Form::Plain, false) => !o.method_only,
                    (Form::Plain, true) => !o.function_only,
                    (Form::InPlace, true) => o.inplace && (!o.function_only || o.method_only),
                    (Form::InPlace, false) => o.inplace && !o.method_only,
                })
                .filter(|o| !method || matches!(o.params.first().map(|p| p.ty), Some(Ty::Tensor)))
                .collect();
            let Some(first) = overloads.first().copied() else {
                continue;
            };
            let public = if form == Form::InPlace {
                first.inplace_name
            } else {
                name
            };
            let signature = first.text_signature();
            let signature = if method {
                signature.replacen("(input", "($self", 1)
            } else {
                signature
            };
            let doc = if form == Form::InPlace {
                format!("In-place version of `{name}`: {}", first.doc)
            } else {
                first.doc.to_string()
            };
            let doc = format!("{public}{signature}\n--\n\n{doc}");
            let slot = entries.len();
            if slot >= SLOTS {
                return Err(runtime("more public names than call slots: raise SLOTS in call.rs"));
            }
            made.push((slot, method_def(slot, public, &doc)));
            entries.push(Entry {
                name: public,
                form,
                method,
                overloads,
            });
        }
    }
    let plan: Vec<(&'static str, bool)> = entries.iter().map(|e| (e.name, e.method)).collect();
    ENTRIES.with_mut(py, |e| *e = entries);
    let module_name = PyString::new(py, "firesteel");
    for ((slot, def), (public, method)) in made.into_iter().zip(plan) {
        debug_assert!(slot < SLOTS);
        if method {
            // SAFETY: the definition lives for ever, the class is a heap type.
            let descr = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyDescr_NewMethod(class.as_type_ptr(), def)) }?;
            class.setattr(public, descr)?;
        } else {
            // SAFETY: the definition lives for ever; `self` of a module function is not used.
            let f = unsafe {
                Bound::from_owned_ptr_or_err(
                    py,
                    ffi::PyCFunction_NewEx(def, std::ptr::null_mut(), module_name.as_ptr()),
                )
            }?;
            module.setattr(public, f)?;
        }
    }
    Ok(())
}

/// The op table as plain data: for stubs, documentation and tests.
#[pyfunction]
pub fn _op_table(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    let list = PyList::empty(py);
    for op in ops::table() {
        let d = PyDict::new(py);
        d.set_item("name", op.name)?;
        d.set_item("key", op.key)?;
        d.set_item("doc", op.doc)?;
        let params = PyList::empty(py);
        for p in &op.params {
            let q = PyDict::new(py);
            q.set_item("name", p.name)?;
            let fixed = if let Ty::Ints { fixed } = p.ty { fixed } else { 0 };
            let ty = match p.ty {
                Ty::Ints { .. } => "Ints".to_string(),
                t => format!("{t:?}"),
            };
            q.set_item("type", ty)?;
            q.set_item("fixed", fixed)?;
            q.set_item("optional", p.optional)?;
            q.set_item(
                "default",
                if p.default == Default::Required {
                    None
                } else {
                    Some(p.default.python())
                },
            )?;
            q.set_item("keyword_only", p.keyword_only)?;
            params.append(q)?;
        }
        d.set_item("params", params)?;
        d.set_item("outputs", op.outputs.clone())?;
        d.set_item("visible", op.visible)?;
        d.set_item("list", op.list)?;
        let kind = match op.kind {
            Kind::Compute { .. } => "compute",
            Kind::View { .. } => "view",
            Kind::MaybeView { .. } => "maybe_view",
            Kind::DataShape { .. } => "data_shape",
            Kind::Composite => "composite",
        };
        d.set_item("kind", kind)?;
        d.set_item("inplace", op.inplace)?;
        d.set_item("out", op.out)?;
        d.set_item("method", !op.function_only)?;
        d.set_item("function", !op.method_only)?;
        d.set_item("elementwise", op.elementwise)?;
        d.set_item("random", op.random)?;
        d.set_item("mutates", op.mutates)?;
        d.set_item("nondiff_outputs", op.nondiff_outputs)?;
        list.append(d)?;
    }
    Ok(list)
}
