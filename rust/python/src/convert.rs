//! Python values to the arguments of records and back.

use crate::call::Tensors;
use crate::error::runtime;
use crate::tensor::{Tensor, first};
use crate::types::{PyDType, PyDevice, PyGenerator, device_from, dtype_object};
use firesteel::Arg;
use firesteel::args::Ints;
use firesteel::device::Device;
use firesteel::dtype::{DType, Scalar};
use firesteel::ops::def::{Param, Ty};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyList, PySlice, PyString, PyTuple};
use smallvec::SmallVec;

/// What kept an argument from binding: a wrong type (another overload may fit) or an error to raise.
pub enum Mismatch {
    Type,
    Error(PyErr),
}

impl From<PyErr> for Mismatch {
    fn from(e: PyErr) -> Mismatch {
        Mismatch::Error(e)
    }
}

/// A Python number (or NumPy scalar) as a number; `None` for anything else.
pub fn number(obj: &Bound<'_, PyAny>) -> PyResult<Option<Scalar>> {
    if obj.is_exact_instance_of::<PyFloat>() {
        return Ok(Some(Scalar::Float(obj.extract()?)));
    }
    if obj.is_instance_of::<PyBool>() {
        return Ok(Some(Scalar::Bool(obj.is_truthy()?)));
    }
    if obj.is_instance_of::<PyInt>() {
        return match obj.extract::<i64>() {
            Ok(v) => Ok(Some(Scalar::Int(v))),
            Err(_) => Err(runtime("Overflow when unpacking long: the int does not fit in 64 bits")),
        };
    }
    if obj.is_instance_of::<PyFloat>() {
        return Ok(Some(Scalar::Float(obj.extract()?)));
    }
    // NumPy scalars: 0-d, and they say what they are.
    if let Ok(kind) = obj
        .getattr("dtype")
        .and_then(|d| d.getattr("kind"))
        .and_then(|k| k.extract::<String>())
        && obj
            .getattr("ndim")
            .and_then(|n| n.extract::<usize>())
            .is_ok_and(|n| n == 0)
        && obj.cast::<Tensor>().is_err()
    {
        return Ok(match kind.as_str() {
            "f" => Some(Scalar::Float(obj.call_method0("__float__")?.extract()?)),
            "i" | "u" => Some(Scalar::Int(obj.call_method0("__int__")?.extract()?)),
            "b" => Some(Scalar::Bool(obj.is_truthy()?)),
            _ => None,
        });
    }
    Ok(None)
}

/// A plain int of 64 bits.
#[inline(always)]
pub fn exact_int(obj: &Bound<'_, PyAny>) -> Option<i64> {
    if !obj.is_exact_instance_of::<PyInt>() {
        return None;
    }
    let mut over = 0;
    // SAFETY: a valid int; what does not fit is told by `over`, without an error set.
    let v = unsafe { ffi::PyLong_AsLongLongAndOverflow(obj.as_ptr(), &mut over) };
    (over == 0).then_some(v)
}

/// Start, stop and positive step of a slice, missing ones filled in; `None` where one of them is wrong.
pub fn slice_parts(s: &Bound<'_, PySlice>) -> Option<(isize, isize, isize)> {
    let (mut start, mut stop, mut step) = (0, 0, 0);
    // SAFETY: a valid slice and places to write to; -1 comes with an error set.
    if unsafe { ffi::PySlice_Unpack(s.as_ptr(), &mut start, &mut stop, &mut step) } < 0 {
        PyErr::take(s.py());
        return None;
    }
    (step > 0).then_some((start, stop, step))
}

/// An int, or what can stand for one (`__index__`, a 0-d integer tensor); not a float.
pub fn int(obj: &Bound<'_, PyAny>) -> Result<i64, Mismatch> {
    if obj.is_instance_of::<PyInt>() {
        return obj
            .extract::<i64>()
            .map_err(|_| Mismatch::Error(runtime("Overflow when unpacking long: the int does not fit in 64 bits")));
    }
    if obj.is_instance_of::<PyFloat>() || obj.is_instance_of::<PyString>() {
        return Err(Mismatch::Type);
    }
    if let Ok(t) = obj.cast::<Tensor>() {
        let core = t.get().core(obj.py());
        if core.numel() == 1 && !core.dtype.is_float() && core.device() != Device::Meta {
            return Ok(first(obj.py(), &core)?.to_i64());
        }
        return Err(Mismatch::Type);
    }
    // SAFETY: a valid object; the result is owned or null with an error set.
    let index = unsafe { Bound::from_owned_ptr_or_err(obj.py(), ffi::PyNumber_Index(obj.as_ptr())) };
    match index {
        Ok(i) => Ok(i.extract()?),
        Err(_) => Err(Mismatch::Type),
    }
}

/// Whether an object has items by number.
pub fn is_sequence(obj: &Bound<'_, PyAny>) -> bool {
    // SAFETY: plain type query on a valid object.
    unsafe { ffi::PySequence_Check(obj.as_ptr()) != 0 }
}

fn sequence_items<'py>(obj: &Bound<'py, PyAny>) -> Option<SmallVec<[Bound<'py, PyAny>; 8]>> {
    if let Ok(t) = obj.cast::<PyTuple>() {
        return Some(t.iter().collect());
    }
    if let Ok(l) = obj.cast::<PyList>() {
        return Some(l.iter().collect());
    }
    None
}

/// Adds the tensors of a tuple or a list, and says how many they are.
pub fn tensor_list<'py>(
    obj: &Bound<'py, PyAny>,
    position: usize,
    tensors: &mut Tensors<'py>,
) -> Result<usize, Mismatch> {
    let mut n = 0;
    let mut one = |o: &Bound<'py, PyAny>| -> Result<(), Mismatch> {
        let t = o.cast::<Tensor>().map_err(|_| Mismatch::Type)?;
        tensors.push((position as u8, t.clone()));
        n += 1;
        Ok(())
    };
    if let Ok(t) = obj.cast::<PyTuple>() {
        t.iter_borrowed().try_for_each(|i| one(&i))?;
    } else {
        obj.cast::<PyList>()
            .map_err(|_| Mismatch::Type)?
            .iter()
            .try_for_each(|i| one(&i))?;
    }
    Ok(n)
}

pub fn ints(obj: &Bound<'_, PyAny>) -> Result<Ints, Mismatch> {
    let Some(items) = sequence_items(obj) else {
        return Err(Mismatch::Type);
    };
    items.iter().map(int).collect()
}

/// Converts one argument for a parameter that is not a single tensor; tensors of lists are added to `tensors`.
pub fn argument<'py>(
    obj: &Bound<'py, PyAny>,
    p: &Param,
    position: usize,
    tensors: &mut Tensors<'py>,
) -> Result<Arg, Mismatch> {
    let py = obj.py();
    if obj.is_none() {
        return if p.optional || p.default == firesteel::ops::Default::None {
            Ok(Arg::None)
        } else {
            Err(Mismatch::Type)
        };
    }
    let mut tensor = |t: &Bound<'py, Tensor>| {
        tensors.push((position as u8, t.clone()));
        t.get().core(py)
    };
    Ok(match p.ty {
        Ty::Tensor | Ty::Tensors => return Err(Mismatch::Type),
        Ty::Operand => Arg::Scalar(number(obj)?.ok_or(Mismatch::Type)?),
        Ty::OptTensors => {
            let items = sequence_items(obj).ok_or(Mismatch::Type)?;
            let mut list = Vec::with_capacity(items.len());
            for i in &items {
                list.push(if i.is_none() {
                    None
                } else {
                    Some(tensor(i.cast::<Tensor>().map_err(|_| Mismatch::Type)?))
                });
            }
            Arg::OptTensors(list)
        }
        Ty::Scalar => match obj.cast::<Tensor>() {
            Ok(t) => {
                let core = t.get().core(py);
                if core.rank() != 0 || t.get().requires_grad_now(py) || core.device() == Device::Meta {
                    return Err(Mismatch::Type);
                }
                Arg::Scalar(first(py, &core)?)
            }
            Err(_) => Arg::Scalar(number(obj)?.ok_or(Mismatch::Type)?),
        },
        Ty::Int => {
            if obj.is_instance_of::<PyBool>() {
                return Err(Mismatch::Type);
            }
            Arg::Int(int(obj)?)
        }
        Ty::Ints { fixed } => {
            if fixed > 0
                && let Ok(v) = int(obj)
            {
                Arg::Ints(smallvec::smallvec![v; if fixed == 1 { 1 } else { fixed as usize }])
            } else {
                let list = ints(obj)?;
                if fixed > 1 && list.len() == 1 {
                    Arg::Ints(smallvec::smallvec![list[0]; fixed as usize])
                } else {
                    Arg::Ints(list)
                }
            }
        }
        Ty::Float => match number(obj)? {
            Some(s) => Arg::Float(s.to_f64()),
            None => match obj.cast::<Tensor>() {
                Ok(t) if t.get().core(py).numel() == 1 => Arg::Float(first(py, &t.get().core(py))?.to_f64()),
                _ => return Err(Mismatch::Type),
            },
        },
        Ty::Floats => {
            let items = sequence_items(obj).ok_or(Mismatch::Type)?;
            let mut list = SmallVec::new();
            for i in &items {
                list.push(number(i)?.ok_or(Mismatch::Type)?.to_f64());
            }
            Arg::Floats(list)
        }
        Ty::Bool => {
            if let Ok(b) = obj.cast::<PyBool>() {
                Arg::Bool(b.is_true())
            } else if let Ok(Some(Scalar::Bool(b))) = number(obj) {
                Arg::Bool(b)
            } else {
                return Err(Mismatch::Type);
            }
        }
        Ty::Str => match obj.cast::<PyString>() {
            Ok(s) => Arg::Str(s.to_cow()?.into()),
            Err(_) => return Err(Mismatch::Type),
        },
        Ty::Dtype => match obj.cast::<PyDType>() {
            Ok(d) => Arg::Dtype(d.get().dtype),
            Err(_) => match dtype_of_builtin(obj) {
                Some(d) => Arg::Dtype(d),
                None => return Err(Mismatch::Type),
            },
        },
        Ty::Device => Arg::Device(device_from(obj)?),
        Ty::Generator => match obj.cast::<PyGenerator>() {
            Ok(g) => Arg::Generator(g.get().inner.clone()),
            Err(_) => return Err(Mismatch::Type),
        },
    })
}

/// `float`, `int` and `bool` stand for dtypes.
pub fn dtype_of_builtin(obj: &Bound<'_, PyAny>) -> Option<DType> {
    let py = obj.py();
    if obj.is(py.get_type::<PyFloat>()) {
        Some(DType::F64)
    } else if obj.is(py.get_type::<PyInt>()) {
        Some(DType::I64)
    } else if obj.is(py.get_type::<PyBool>()) {
        Some(DType::Bool)
    } else {
        None
    }
}

/// The type's name for PyTorch's messages.
pub fn type_words(ty: Ty) -> &'static str {
    match ty {
        Ty::Tensor => "Tensor",
        Ty::Operand => "Tensor or Number",
        Ty::Tensors | Ty::OptTensors => "tuple of Tensors",
        Ty::Scalar => "Number",
        Ty::Int => "int",
        Ty::Ints { .. } => "tuple of ints",
        Ty::Float => "float",
        Ty::Floats => "tuple of floats",
        Ty::Bool => "bool",
        Ty::Str => "str",
        Ty::Dtype => "torch.dtype",
        Ty::Device => "torch.device",
        Ty::Generator => "torch.Generator",
    }
}

pub fn scalar_object(py: Python<'_>, s: Scalar) -> Py<PyAny> {
    match s {
        Scalar::Bool(v) => PyBool::new(py, v).to_owned().into_any().unbind(),
        Scalar::Int(v) => PyInt::new(py, v).into_any().unbind(),
        Scalar::Float(v) => PyFloat::new(py, v).into_any().unbind(),
    }
}

/// A non-tensor argument as a Python object.
pub fn argument_object(py: Python<'_>, a: &Arg) -> PyResult<Py<PyAny>> {
    Ok(match a {
        Arg::None | Arg::Tensor(_) | Arg::Tensors(_) | Arg::OptTensors(_) => py.None(),
        Arg::Scalar(s) => scalar_object(py, *s),
        Arg::Int(v) => PyInt::new(py, *v).into_any().unbind(),
        Arg::Ints(v) => PyTuple::new(py, v.iter())?.into_any().unbind(),
        Arg::Float(v) => PyFloat::new(py, *v).into_any().unbind(),
        Arg::Floats(v) => PyTuple::new(py, v.iter())?.into_any().unbind(),
        Arg::Bool(v) => PyBool::new(py, *v).to_owned().into_any().unbind(),
        Arg::Str(v) => PyString::new(py, v).into_any().unbind(),
        Arg::Dtype(d) => dtype_object(py, *d).into_any(),
        Arg::Device(d) => Py::new(py, PyDevice::of(*d))?.into_any(),
        Arg::Generator(g) => Py::new(py, PyGenerator { inner: g.clone() })?.into_any(),
    })
}
