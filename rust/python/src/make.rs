//! `zeros(2, 3)`, `tensor([1., 2.])` and their kin, for the usual arguments; a Python function takes all others.
//!
//! A function made here has the name, signature and docstring of that Python function, and PyTorch's full behaviour with
//! it: what is not recognised at a glance is handed over.

use crate::bind::{Given, Tensors, push};
use crate::call::{self, Common, Outs};
use crate::convert::exact_int;
use crate::error::{guarded, runtime, type_error};
use crate::tensor::Tensor;
use crate::types::{PyDType, PyDevice};
use firesteel::device::{Device, cpu};
use firesteel::dtype::{DType, Scalar};
use firesteel::layout::Dims;
use firesteel::ops::infer::default_dtype;
use firesteel::{Arg, Args};
use pyo3::ffi;
use pyo3::impl_::trampoline::{MethodDef, fastcall_cfunction_with_keywords};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use smallvec::SmallVec;
use std::ffi::CString;

const ZEROS: usize = 0;
const ONES: usize = 1;
const EMPTY: usize = 2;
const RAND: usize = 3;
const RANDN: usize = 4;
const FULL: usize = 5;
const TENSOR: usize = 6;

/// Elements that are read one by one.
const FEW: usize = 256;

static FULL_OP: Common = Common::new("_full");
static EMPTY_OP: Common = Common::new("_empty");
static RAND_OP: Common = Common::new("_rand");
static RANDN_OP: Common = Common::new("_randn");

/// The keywords that are understood here.
#[derive(Default)]
struct Options {
    dtype: Option<DType>,
    requires_grad: bool,
}

/// `None` for keywords and values that Python is to read.
fn options(py: Python<'_>, given: &Given<'_, '_>) -> Option<Options> {
    let mut found = Options::default();
    let Some(names) = given.names else { return Some(found) };
    for (name, value) in names.iter_borrowed().zip(given.values) {
        if name.is(intern!(py, "dtype")) {
            if !value.is_none() {
                found.dtype = Some(value.cast_exact::<PyDType>().ok()?.get().dtype);
            }
        } else if name.is(intern!(py, "requires_grad")) {
            found.requires_grad = value.cast_exact::<PyBool>().ok()?.is_true();
        } else if !(name.is(intern!(py, "device")) && is_default(value)) {
            return None;
        }
    }
    Some(found)
}

/// The CPU, by its object or its name, or no device at all.
fn is_default(device: &Bound<'_, PyAny>) -> bool {
    if let Ok(d) = device.cast_exact::<PyDevice>() {
        return d.get().resolve().is_ok_and(|d| d == Device::Cpu);
    }
    device.is_none()
        || device
            .cast_exact::<PyString>()
            .is_ok_and(|s| s.to_str().is_ok_and(|s| s == "cpu"))
}

/// A shape given as ints or as one tuple or list of ints; `None` for anything else.
fn shape<'py>(given: &[Bound<'py, PyAny>], args: &mut Args) -> Option<()> {
    push(args, || Arg::Ints(SmallVec::new()));
    let Some(Arg::Ints(list)) = args.items.last_mut() else {
        return None;
    };
    if let [one] = given {
        if let Ok(t) = one.cast::<PyTuple>() {
            for i in t.iter_borrowed() {
                list.push(exact_int(&i)?);
            }
            return Some(());
        }
        if let Ok(l) = one.cast_exact::<PyList>() {
            for i in l.iter() {
                list.push(exact_int(&i)?);
            }
            return Some(());
        }
    }
    for i in given {
        list.push(exact_int(i)?);
    }
    (!given.is_empty()).then_some(())
}

/// A plain number.
fn number(o: &Bound<'_, PyAny>) -> Option<Scalar> {
    if let Ok(f) = o.cast_exact::<PyFloat>() {
        return Some(Scalar::Float(f.value()));
    }
    if let Ok(b) = o.cast_exact::<PyBool>() {
        return Some(Scalar::Bool(b.is_true()));
    }
    exact_int(o).map(Scalar::Int)
}

fn filled<'py>(py: Python<'py>, kind: usize, given: &Given<'_, 'py>) -> PyResult<Option<Bound<'py, Tensor>>> {
    let Some(options) = options(py, given) else {
        return Ok(None);
    };
    let mut args = Args::default();
    let (sizes, rest) = match (kind, given.positional) {
        (FULL, [size, value]) => (std::slice::from_ref(size), number(value)),
        (FULL, _) => return Ok(None),
        (_, sizes) => (sizes, None),
    };
    if shape(sizes, &mut args).is_none() {
        return Ok(None);
    }
    let op = match kind {
        EMPTY => EMPTY_OP.get(),
        RAND | RANDN => {
            push(&mut args, || Arg::None); // generator
            if kind == RAND { RAND_OP.get() } else { RANDN_OP.get() }
        }
        _ => {
            let value = match kind {
                ZEROS => Some(Scalar::Float(0.0)),
                ONES => Some(Scalar::Float(1.0)),
                _ => rest,
            };
            let Some(value) = value else { return Ok(None) };
            push(&mut args, || Arg::Scalar(value));
            FULL_OP.get()
        }
    };
    push(&mut args, || options.dtype.map_or(Arg::None, Arg::Dtype));
    push(&mut args, || Arg::None); // device
    let mut outs = Outs::new();
    call::apply_into(py, op, &args, &Tensors::new(), &mut outs)?;
    let made = outs.pop().ok_or_else(|| runtime("one new tensor"))?;
    if options.requires_grad {
        Tensor::want_grad(&made, true)?;
    }
    Ok(Some(made))
}

/// A few floats or ints, in a flat list or tuple.
fn from_list<'py>(py: Python<'py>, given: &Given<'_, 'py>) -> PyResult<Option<Bound<'py, Tensor>>> {
    let (Some(options), [data]) = (options(py, given), given.positional) else {
        return Ok(None);
    };
    if options.dtype.is_some() || default_dtype() != DType::F32 {
        return Ok(None);
    }
    if let Ok(list) = data.cast_exact::<PyList>() {
        return from_items(py, &options, list.len(), || list.iter());
    }
    match data.cast_exact::<PyTuple>() {
        Ok(t) => from_items(py, &options, t.len(), || t.iter()),
        Err(_) => Ok(None),
    }
}

fn from_items<'py, I: Iterator<Item = Bound<'py, PyAny>>>(
    py: Python<'py>,
    options: &Options,
    n: usize,
    items: impl Fn() -> I,
) -> PyResult<Option<Bound<'py, Tensor>>> {
    if n == 0 || n > FEW {
        return Ok(None);
    }
    let mut same = true;
    let floats = |out: &mut [f32]| {
        for (to, o) in out.iter_mut().zip(items()) {
            match o.cast_exact::<PyFloat>() {
                Ok(f) => *to = f.value() as f32,
                Err(_) => same = false,
            }
        }
    };
    let first = items().next();
    let core = if first.is_some_and(|o| o.is_exact_instance_of::<PyFloat>()) {
        cpu::made(&[n], floats).filter(|_| same)
    } else {
        let ints: Option<SmallVec<[i64; 16]>> = items()
            .map(|o| {
                if o.is_exact_instance_of::<PyInt>() {
                    exact_int(&o)
                } else {
                    None
                }
            })
            .collect();
        ints.filter(|_| !options.requires_grad)
            .and_then(|v| cpu::from_slice(&v, Dims::new(&[n]).ok()?).ok())
    };
    let Some(core) = core else { return Ok(None) };
    let made = Bound::new(py, Tensor::new(core))?;
    if options.requires_grad {
        Tensor::want_grad(&made, true)?;
    }
    Ok(Some(made))
}

// ---- the C functions --------------------------------------------------------------------------------------------------

struct Slot<const KIND: usize>;

impl<const KIND: usize> MethodDef<fastcall_cfunction_with_keywords::Func> for Slot<KIND> {
    const METH: fastcall_cfunction_with_keywords::Func = enter::<KIND>;
}

/// # Safety
/// Called by CPython under METH_FASTCALL | METH_KEYWORDS with the GIL held; `this` is the Python function behind.
unsafe fn enter<const KIND: usize>(
    py: Python<'_>,
    this: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    nargs: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> PyResult<*mut ffi::PyObject> {
    // SAFETY: as promised to this function.
    let (given, behind) = unsafe { (Given::of(py, None, args, nargs, &names), Bound::ref_from_ptr(py, &this)) };
    let quick = guarded("new tensor", || match KIND {
        TENSOR => from_list(py, &given),
        kind => filled(py, kind, &given),
    })?;
    if let Some(made) = quick {
        return Ok(made.into_ptr());
    }
    let keywords = PyDict::new(py);
    if let Some(names) = given.names {
        for (name, value) in names.iter_borrowed().zip(given.values) {
            keywords.set_item(name, value)?;
        }
    }
    Ok(behind
        .call(PyTuple::new(py, given.positional)?, Some(&keywords))?
        .into_ptr())
}

/// A native function for the usual arguments of a Python function, which it calls for all others.
#[pyfunction]
pub fn _native<'py>(behind: &Bound<'py, PyAny>, signature: &str) -> PyResult<Bound<'py, PyAny>> {
    use fastcall_cfunction_with_keywords as f;
    let py = behind.py();
    let name: String = behind.getattr("__name__")?.extract()?;
    let function: ffi::PyCFunctionFastWithKeywords = match name.as_str() {
        "zeros" => f::<Slot<ZEROS>>,
        "ones" => f::<Slot<ONES>>,
        "empty" => f::<Slot<EMPTY>>,
        "rand" => f::<Slot<RAND>>,
        "randn" => f::<Slot<RANDN>>,
        "full" => f::<Slot<FULL>>,
        "tensor" => f::<Slot<TENSOR>>,
        _ => return Err(type_error(format!("there is no native {name}"))),
    };
    let doc: String = behind.getattr("__doc__")?.extract()?;
    let module = behind.getattr("__module__")?;
    let text = |s: String| CString::new(s).unwrap_or_default().into_raw();
    let def = Box::leak(Box::new(ffi::PyMethodDef {
        ml_doc: text(format!("{name}{signature}\n--\n\n{doc}")),
        ml_name: text(name),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunctionFastWithKeywords: function,
        },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
    }));
    // SAFETY: the definition lives for ever; both objects are kept by the function.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyCFunction_NewEx(def, behind.as_ptr(), module.as_ptr())) }
}
