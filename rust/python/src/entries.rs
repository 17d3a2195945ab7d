//! The public names of the op table: the C function behind each, its records, and the table as plain data.

use crate::bind::{Given, Refusal, Slots, Tensors, bind, intern_names, refused};
use crate::call::{Form, run};
use crate::cell::GilCell;
use crate::error::{guarded, runtime, type_error};
use crate::rows::row;
use crate::tensor::Tensor;
use firesteel::Args;
use firesteel::ops::{self, Default, Kind, Op, Ty};
use pyo3::ffi;
use pyo3::impl_::trampoline::{MethodDef, fastcall_cfunction_with_keywords};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};
use std::collections::HashMap;
use std::ffi::CString;

/// A public name: its records and how it is called.
struct Entry {
    name: &'static str,
    form: Form,
    method: bool,
    overloads: Vec<&'static Op>,
}

static ENTRIES: GilCell<&'static [Entry]> = GilCell::new(&[]);

fn call_entry<'a, 'py>(py: Python<'py>, entry: &'static Entry, given: &Given<'a, 'py>) -> PyResult<Py<PyAny>> {
    let mut slots = Slots::new();
    let mut args = Args::lent();
    let mut tensors = Tensors::new();
    for &op in &entry.overloads {
        match bind(py, op, given, &mut slots, &mut args, &mut tensors) {
            Ok(()) => return run(py, op, entry.form, given, &slots, &args, &tensors),
            Err(Refusal::Error(e)) => return Err(e),
            Err(why) if entry.overloads.len() == 1 => return Err(refused(op, given, &slots, entry.name, why)),
            Err(_) => {}
        }
        // A signature that did not fit leaves nothing lent.
        slots = Slots::new();
        args.items.clear();
        tensors.clear();
    }
    Err(no_overload(entry, given))
}

#[cold]
fn no_overload(entry: &Entry, given: &Given<'_, '_>) -> PyErr {
    let kind = |o: &Bound<'_, PyAny>| o.get_type().name().map(|n| n.to_string()).unwrap_or_default();
    let mut got: Vec<String> = given.positional.iter().map(kind).collect();
    if let Some(names) = given.names {
        got.extend(names.iter().zip(given.values).map(|(k, v)| format!("{k}={}", kind(v))));
    }
    let forms: Vec<String> = entry
        .overloads
        .iter()
        .map(|o| format!("\n * {}{}", entry.name, o.text_signature()))
        .collect();
    type_error(format!(
        "{}() received an invalid combination of arguments - got ({}), but expected one of:{}",
        entry.name,
        got.join(", "),
        forms.concat()
    ))
}

// ---- the C functions --------------------------------------------------------------------------------------------------

/// Most public names (function, method and in-place forms counted one by one) that the table can hold.
const SLOTS: usize = 1536;

/// The one C function of all ops, instantiated for each public name. PyO3's trampoline says that the interpreter is
/// held, which costs less than asking for it.
struct Slot<const SLOT: usize>;

impl<const SLOT: usize> MethodDef<fastcall_cfunction_with_keywords::Func> for Slot<SLOT> {
    const METH: fastcall_cfunction_with_keywords::Func = enter::<SLOT>;
}

/// # Safety
/// Called by CPython under METH_FASTCALL | METH_KEYWORDS with the GIL held.
unsafe fn enter<const SLOT: usize>(
    py: Python<'_>,
    this: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    nargs: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> PyResult<*mut ffi::PyObject> {
    // SAFETY: as promised to this function.
    unsafe { entered(py, SLOT, this, args, nargs, names) }
}

/// # Safety
/// As for [`enter`].
unsafe fn entered(
    py: Python<'_>,
    slot: usize,
    this: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    nargs: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> PyResult<*mut ffi::PyObject> {
    // Entries are written once, before any call.
    let entry: &'static Entry = &ENTRIES.with(py, |e| *e)[slot];
    guarded(entry.name, || {
        // SAFETY: CPython's calling convention.
        let given = unsafe {
            let this = entry.method.then(|| Bound::ref_from_ptr(py, &this));
            Given::of(py, this, args, nargs, &names)
        };
        Ok(call_entry(py, entry, &given)?.into_ptr())
    })
}

type CFunction = ffi::PyCFunctionFastWithKeywords;

macro_rules! instances {
    ($($hundred:literal)*) => {
        [$(
            instances!(@ten $hundred 0), instances!(@ten $hundred 8), instances!(@ten $hundred 16), instances!(@ten $hundred 24),
            instances!(@ten $hundred 32), instances!(@ten $hundred 40), instances!(@ten $hundred 48), instances!(@ten $hundred 56)
        ),*]
    };
    (@ten $h:literal $t:literal) => {
        [fastcall_cfunction_with_keywords::<Slot<{ $h * 64 + $t }>>, fastcall_cfunction_with_keywords::<Slot<{ $h * 64 + $t + 1 }>>, fastcall_cfunction_with_keywords::<Slot<{ $h * 64 + $t + 2 }>>, fastcall_cfunction_with_keywords::<Slot<{ $h * 64 + $t + 3 }>>,
         fastcall_cfunction_with_keywords::<Slot<{ $h * 64 + $t + 4 }>>, fastcall_cfunction_with_keywords::<Slot<{ $h * 64 + $t + 5 }>>, fastcall_cfunction_with_keywords::<Slot<{ $h * 64 + $t + 6 }>>, fastcall_cfunction_with_keywords::<Slot<{ $h * 64 + $t + 7 }>>]
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
    let entries: &'static [Entry] = Vec::leak(entries);
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
        let apart = row(py, op).is_some_and(|r| r.composite.is_some());
        let gpu = match op.kind {
            Kind::View { .. } => Some("view"),
            _ if op.gpu.is_some() => Some("shader"),
            _ if apart => Some("composite"),
            _ => None,
        };
        d.set_item("gpu", gpu)?;
        list.append(d)?;
    }
    Ok(list)
}
