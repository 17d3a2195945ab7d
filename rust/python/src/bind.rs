//! Arguments of a call bound to the parameters of a record.
//!
//! What was given is borrowed from the interpreter for the length of the call, and arguments are written where they stay:
//! counting objects and moving what was just written cost as much as a small kernel.

use crate::cell::GilCell;
use crate::convert::{Mismatch, argument, argument_object, exact_int, int, tensor_list, type_words};
use crate::error::type_error;
use crate::tensor::Tensor;
use firesteel::ops::{self, Default, Op, Param, Ty};
use firesteel::{Arg, Args};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyList, PyString, PyTuple};
use smallvec::{Array, SmallVec, smallvec};

/// Tensor arguments with the position of their parameter, in the order met.
pub type Tensors<'py> = SmallVec<[(u8, Bound<'py, Tensor>); 3]>;

/// Most parameters that a record may have.
pub const PARAMS: usize = 24;

/// What a call was given.
pub struct Given<'a, 'py> {
    pub this: Option<&'a Bound<'py, PyAny>>,
    pub positional: &'a [Bound<'py, PyAny>],
    /// Keyword names, and their values.
    pub names: Option<&'a Bound<'py, PyTuple>>,
    pub values: &'a [Bound<'py, PyAny>],
}

impl<'a, 'py> Given<'a, 'py> {
    /// What CPython passes under METH_FASTCALL | METH_KEYWORDS.
    ///
    /// # Safety
    /// `args` holds `nargs` objects and one for each of `names` (a tuple, or null), all alive for `'a`.
    #[inline(always)]
    pub unsafe fn of(
        py: Python<'py>,
        this: Option<&'a Bound<'py, PyAny>>,
        args: *const *mut ffi::PyObject,
        nargs: ffi::Py_ssize_t,
        names: &'a *mut ffi::PyObject,
    ) -> Given<'a, 'py> {
        // SAFETY: as promised to this function; a `Bound` is a pointer to an object.
        unsafe {
            let n = nargs as usize;
            let named = if names.is_null() {
                0
            } else {
                ffi::PyTuple_Size(*names) as usize
            };
            let all: &'a [Bound<'py, PyAny>] = match n + named {
                0 => &[],
                all => std::slice::from_raw_parts(args.cast(), all),
            };
            Given {
                this,
                positional: &all[..n],
                names: (named > 0).then(|| Bound::ref_from_ptr(py, names).cast_unchecked()),
                values: &all[n..],
            }
        }
    }

    fn name(&self, i: usize) -> PyResult<Borrowed<'a, 'py, PyString>> {
        match self.names {
            Some(n) => Ok(n.get_borrowed_item(i)?.cast::<PyString>()?),
            None => Err(type_error("a keyword has a name")),
        }
    }
}

/// What was given for each parameter.
pub struct Slots<'a, 'py> {
    at: [Option<&'a Bound<'py, PyAny>>; PARAMS],
    /// The parameter that takes all positional arguments (`x.view(2, 3)`).
    gathers: Option<usize>,
    pub out: Option<&'a Bound<'py, PyAny>>,
}

impl Slots<'_, '_> {
    #[inline(always)]
    pub fn new() -> Self {
        Slots {
            at: [None; PARAMS],
            gathers: None,
            out: None,
        }
    }
}

/// Why a signature does not take the arguments given; the words are made when nothing else fits either.
pub enum Refusal {
    TooMany,
    /// The keyword of this number names a parameter that has a value.
    Twice(usize),
    /// The keyword of this number names nothing.
    Unknown(usize),
    Missing,
    /// The argument for this parameter has another type.
    Type(usize),
    Error(PyErr),
}

impl From<PyErr> for Refusal {
    #[cold]
    fn from(e: PyErr) -> Refusal {
        Refusal::Error(e)
    }
}

/// Adds an item without building it elsewhere first: read back at once, the copy would wait for its own stores.
#[inline(always)]
pub fn add<A: Array>(list: &mut SmallVec<A>, make: impl FnOnce() -> A::Item) {
    let n = list.len();
    if n == list.capacity() {
        list.push(make());
        return;
    }
    // SAFETY: there is room for one more, and it is initialised before it counts.
    unsafe {
        list.as_mut_ptr().add(n).write(make());
        list.set_len(n + 1);
    }
}

#[inline(always)]
pub fn push(args: &mut Args, make: impl FnOnce() -> Arg) {
    add(&mut args.items, make)
}

/// A boxed value that is made where it stays; `make` must not panic (its fields are moves and copies).
#[inline(always)]
pub fn boxed<T>(make: impl FnOnce() -> T) -> Box<T> {
    let mut place = Box::<T>::new_uninit();
    place.write(make());
    // SAFETY: written above.
    unsafe { place.assume_init() }
}

/// Binds what was given to a record's parameters.
pub fn bind<'a, 'py>(
    py: Python<'py>,
    op: &'static Op,
    given: &Given<'a, 'py>,
    slots: &mut Slots<'a, 'py>,
    args: &mut Args,
    tensors: &mut Tensors<'py>,
) -> Result<(), Refusal> {
    let mut next = 0;
    if given.this.is_some() {
        slots.at[0] = given.this;
        next = 1;
    }
    let places = op.places;
    let mut rest = given.positional;
    // `x.view(2, 3)` for `x.view((2, 3))`: the one positional parameter left takes them all.
    if places == next + 1
        && !rest.is_empty()
        && matches!(op.params[next].ty, Ty::Ints { .. })
        && (rest.len() > 1 || is_intlike(&rest[0]))
    {
        slots.gathers = Some(next);
        rest = &[];
    }
    if rest.len() > places - next {
        return Err(Refusal::TooMany);
    }
    for o in rest {
        slots.at[next] = Some(o);
        next += 1;
    }
    for (k, value) in given.values.iter().enumerate() {
        let key = given.name(k)?;
        let key = &*key;
        match keyword_index(py, op, key)? {
            Some(i) if slots.at[i].is_none() && slots.gathers != Some(i) => slots.at[i] = Some(value),
            Some(_) => return Err(Refusal::Twice(k)),
            None if op.out && key.to_cow().is_ok_and(|k| k == "out") => {
                if !value.is_none() {
                    slots.out = Some(value);
                }
            }
            None => return Err(Refusal::Unknown(k)),
        }
    }
    for (i, p) in op.params.iter().enumerate() {
        let Some(o) = slots.at[i] else {
            if slots.gathers == Some(i) {
                ints_into(given.positional.iter(), args).map_err(|m| mismatch(m, i))?;
            } else if p.default == Default::Required {
                return Err(Refusal::Missing);
            } else {
                push(args, || default_argument(p));
            }
            continue;
        };
        take(o, p, i, args, tensors).map_err(|m| mismatch(m, i))?;
    }
    // Lent last: converting numbers may run a program's `__index__`, which may replace a tensor's core.
    for (i, t) in tensors.iter() {
        // SAFETY: `args` is made for lent cores; `tensors` holds the owners, and no Python runs before the kernel.
        let lend = || unsafe { t.get().lend(py) };
        match &mut args.items[*i as usize] {
            place @ Arg::None => *place = Arg::Tensor(lend()),
            Arg::Tensors(list) => list.push(lend()),
            _ => {}
        }
    }
    Ok(())
}

fn mismatch(m: Mismatch, i: usize) -> Refusal {
    match m {
        Mismatch::Type => Refusal::Type(i),
        Mismatch::Error(e) => Refusal::Error(e),
    }
}

/// Adds one argument; a tensor's place is filled later.
#[inline]
fn take<'py>(
    o: &Bound<'py, PyAny>,
    p: &Param,
    i: usize,
    args: &mut Args,
    tensors: &mut Tensors<'py>,
) -> Result<(), Mismatch> {
    match p.ty {
        Ty::Tensor | Ty::Operand => {
            if let Ok(t) = o.cast::<Tensor>() {
                tensors.push((i as u8, t.clone()));
                push(args, || Arg::None);
                return Ok(());
            }
        }
        Ty::Tensors if !o.is_none() => {
            // As many places as tensors: the list is filled when they are lent.
            let n = tensor_list(o, i, tensors)?;
            push(args, || Arg::Tensors(Vec::with_capacity(n)));
            return Ok(());
        }
        Ty::Int => {
            if let Some(v) = exact_int(o) {
                push(args, || Arg::Int(v));
                return Ok(());
            }
        }
        Ty::Ints { fixed } => {
            if fixed == 1
                && let Some(v) = exact_int(o)
            {
                push(args, || Arg::Ints(SmallVec::new()));
                if let Some(Arg::Ints(list)) = args.items.last_mut() {
                    list.push(v);
                }
                return Ok(());
            }
            if fixed == 0
                && let Ok(t) = o.cast_exact::<PyTuple>()
            {
                return ints_into(t.iter_borrowed(), args);
            }
        }
        Ty::Bool => {
            if let Ok(b) = o.cast_exact::<PyBool>() {
                let v = b.is_true();
                push(args, || Arg::Bool(v));
                return Ok(());
            }
        }
        _ => {}
    }
    let value = argument(o, p, i, tensors)?;
    push(args, || value);
    Ok(())
}

/// Adds a list of ints.
fn ints_into<'py, O: std::ops::Deref<Target = Bound<'py, PyAny>>>(
    items: impl Iterator<Item = O>,
    args: &mut Args,
) -> Result<(), Mismatch> {
    push(args, || Arg::Ints(SmallVec::new()));
    let Some(Arg::Ints(list)) = args.items.last_mut() else {
        return Err(Mismatch::Type);
    };
    for o in items {
        list.push(match exact_int(&o) {
            Some(v) => v,
            None => int(&o)?,
        });
    }
    Ok(())
}

fn is_intlike(o: &Bound<'_, PyAny>) -> bool {
    o.is_instance_of::<PyInt>()
        || (!o.is_instance_of::<PyTuple>()
            && !o.is_instance_of::<PyList>()
            && o.hasattr("__index__").unwrap_or(false)
            && o.cast::<Tensor>()
                .is_ok_and(|t| t.get().with(o.py(), |s| s.core.rank() == 0)))
}

/// What a composite is called with: everything given, and the defaults of the rest.
pub fn objects<'py>(
    py: Python<'py>,
    op: &'static Op,
    given: &Given<'_, 'py>,
    slots: &Slots<'_, 'py>,
) -> PyResult<Bound<'py, PyTuple>> {
    let mut all: SmallVec<[Bound<'py, PyAny>; 8]> = SmallVec::new();
    for (i, p) in op.params.iter().enumerate() {
        all.push(match slots.at[i] {
            Some(o) => o.clone(),
            None if slots.gathers == Some(i) => PyTuple::new(py, given.positional)?.into_any(),
            None => argument_object(py, &default_argument(p))?.into_bound(py),
        });
    }
    PyTuple::new(py, all)
}

/// The words for a refusal.
#[cold]
pub fn refused(op: &'static Op, given: &Given<'_, '_>, slots: &Slots<'_, '_>, name: &str, why: Refusal) -> PyErr {
    let plural = |n: usize| if n == 1 { "" } else { "s" };
    let shown = |k: usize| given.name(k).map(|n| n.to_string()).unwrap_or_default();
    type_error(match why {
        Refusal::Error(e) => return e,
        Refusal::TooMany => format!(
            "{name}() takes {} positional argument{} but {} were given",
            op.places,
            plural(op.places),
            given.positional.len() + given.this.is_some() as usize
        ),
        Refusal::Twice(k) => format!("{name}() got multiple values for argument '{}'", shown(k)),
        Refusal::Unknown(k) => format!("{name}() got an unexpected keyword argument '{}'", shown(k)),
        Refusal::Missing => {
            let missing: Vec<_> = op
                .params
                .iter()
                .enumerate()
                .filter(|(j, p)| slots.at[*j].is_none() && slots.gathers != Some(*j) && p.default == Default::Required)
                .map(|(_, p)| format!("\"{}\"", p.name))
                .collect();
            format!(
                "{name}() missing {} required positional argument{}: {}",
                missing.len(),
                plural(missing.len()),
                missing.join(", ")
            )
        }
        Refusal::Type(i) => {
            // A list made of the positional arguments is what `x.view(2, "a")` gave.
            let kind = match slots.at[i] {
                Some(o) => o.get_type().name().map(|n| n.to_string()).unwrap_or_default(),
                None => "tuple".into(),
            };
            format!(
                "{name}(): argument '{}' (position {}) must be {}, not {kind}",
                op.params[i].name,
                i + 1 - given.this.is_some() as usize,
                type_words(op.params[i].ty),
            )
        }
    })
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

pub fn intern_names(py: Python<'_>) {
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
