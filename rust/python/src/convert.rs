//! Python values to the arguments of records and back; foreign memory in and out.

use crate::call::Tensors;
use crate::error::{runtime, to_python, type_error};
use crate::tensor::{Tensor, first};
use crate::types::{PyDType, PyDevice, PyGenerator, device_from, dtype_object};
use firesteel::args::Ints;
use firesteel::buffer::Buffer;
use firesteel::device::{Device, cpu, gpu};
use firesteel::dtype::{DType, Scalar};
use firesteel::layout::{Dims, Layout};
use firesteel::ops::def::{Param, Ty};
use firesteel::ops::infer::default_dtype;
use firesteel::shared::Shared;
use firesteel::{Arg, Core};
use pyo3::exceptions::PyValueError;
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

// ---- nested lists -----------------------------------------------------------------------------------------------------

/// A new tensor from numbers, nested sequences of them, arrays or tensors (`torch.tensor`).
pub fn from_data(obj: &Bound<'_, PyAny>, dtype: Option<DType>) -> PyResult<Core> {
    if let Ok(t) = obj.cast::<Tensor>() {
        let core = t.get().core(obj.py());
        return cast_copy(&core, dtype.unwrap_or(core.dtype));
    }
    if let Some(s) = data_number(obj, dtype)? {
        let d = dtype.unwrap_or_else(|| number_dtype(obj, s));
        let out = Core::empty(Dims::EMPTY, d, Device::Cpu).map_err(to_python)?;
        check_fits(s, d)?;
        cpu::fill(&out, s);
        return Ok(out);
    }
    if let Some(array) = from_buffer(obj)? {
        return cast_copy(&array, dtype.unwrap_or(array.dtype));
    }
    let mut shape: SmallVec<[usize; 8]> = SmallVec::new();
    let mut values = Values {
        wanted: dtype,
        ..Values::default()
    };
    nested(obj, 0, &mut shape, &mut values)?;
    let dims = Dims::new(&shape).map_err(to_python)?;
    let d = dtype.or(values.dtype).unwrap_or_else(default_dtype);
    if d.is_float() {
        let list: Vec<f64> = values.list.iter().map(|s| s.to_f64()).collect();
        cast_copy(&cpu::from_slice(&list, dims).map_err(to_python)?, d)
    } else if values.too_big && dtype.is_none() {
        Err(too_big())
    } else {
        let mut list = Vec::with_capacity(values.list.len());
        for s in &values.list {
            check_fits(*s, d)?;
            list.push(match s {
                Scalar::Float(v) if d == DType::Bool => i64::from(*v != 0.0),
                s => s.to_i64(),
            });
        }
        cast_copy(&cpu::from_slice(&list, dims).map_err(to_python)?, d)
    }
}

fn too_big() -> PyErr {
    PyValueError::new_err("Overflow when unpacking long long: the int does not fit in 64 bits")
}

/// An int beyond int64, as what a tensor of this dtype would hold.
fn big_number(obj: &Bound<'_, PyAny>, wanted: Option<DType>) -> PyResult<Scalar> {
    match wanted {
        Some(DType::U64) => obj
            .extract::<u64>()
            .map(|v| Scalar::Int(v as i64))
            .map_err(|_| too_big()),
        Some(d) if !d.is_float() => Err(too_big()),
        _ => Ok(Scalar::Float(obj.extract::<f64>().map_err(|_| too_big())?)),
    }
}

fn is_big(obj: &Bound<'_, PyAny>) -> bool {
    obj.is_exact_instance_of::<PyInt>() && obj.extract::<i64>().is_err()
}

fn data_number(obj: &Bound<'_, PyAny>, dtype: Option<DType>) -> PyResult<Option<Scalar>> {
    if is_big(obj) {
        return big_number(obj, Some(dtype.unwrap_or(DType::I64))).map(Some);
    }
    number(obj)
}

fn number_dtype(obj: &Bound<'_, PyAny>, s: Scalar) -> DType {
    // A NumPy scalar keeps its own dtype.
    let named = |name: &str| DType::ALL.into_iter().find(|d| d.name() == name);
    let plain = obj.is_exact_instance_of::<PyFloat>() || obj.is_instance_of::<PyInt>();
    if !plain
        && let Ok(name) = obj
            .getattr("dtype")
            .and_then(|d| d.getattr("name"))
            .and_then(|n| n.extract::<String>())
        && let Some(d) = named(&name)
    {
        return d;
    }
    firesteel::dtype::of_scalar(s, default_dtype())
}

/// Numbers that an integer dtype cannot hold raise, as in PyTorch.
fn check_fits(s: Scalar, d: DType) -> PyResult<()> {
    if d.is_float() || firesteel::dtype::fits(s, d) {
        return Ok(());
    }
    Err(runtime(format!(
        "value cannot be converted to type {} without overflow: {}",
        d.name(),
        match s {
            Scalar::Int(v) => v.to_string(),
            s => s.to_f64().to_string(),
        }
    )))
}

#[derive(Default)]
struct Values {
    list: Vec<Scalar>,
    /// The dtype asked for.
    wanted: Option<DType>,
    /// The dtypes of numbers, tensors and arrays inside, promoted.
    dtype: Option<DType>,
    /// An int beyond int64 was met, and is a float in the list.
    too_big: bool,
}

impl Values {
    fn met(&mut self, d: DType) {
        let wider = |old| firesteel::dtype::promote(old, d).unwrap_or(DType::I64);
        self.dtype = Some(self.dtype.map_or(d, wider));
    }
}

fn nested(obj: &Bound<'_, PyAny>, depth: usize, shape: &mut SmallVec<[usize; 8]>, out: &mut Values) -> PyResult<()> {
    if depth > firesteel_kernels::MAX_RANK {
        return Err(PyValueError::new_err(format!(
            "too many dimensions: tensors have at most {}",
            firesteel_kernels::MAX_RANK
        )));
    }
    let big = is_big(obj);
    let found = if big {
        out.too_big = true;
        Some(big_number(obj, out.wanted)?)
    } else {
        number(obj)?
    };
    if let Some(s) = found {
        if depth != shape.len() {
            return Err(ragged(shape, depth));
        }
        out.met(if big { DType::I64 } else { number_dtype(obj, s) });
        out.list.push(s);
        return Ok(());
    }
    let inner = match obj.cast::<Tensor>() {
        Ok(t) => Some(gpu::to_host(&t.get().core(obj.py())).map_err(to_python)?),
        Err(_) => from_buffer(obj)?,
    };
    // A tensor of one element stands for it, whatever its dims, as in PyTorch.
    let one = |c: &Core| c.numel() == 1 && depth > 0 && depth == shape.len() && obj.is_instance_of::<Tensor>();
    if let Some(core) = inner.as_ref().filter(|c| one(c)) {
        crate::tensor::on_cpu(core, "tensor")?;
        out.met(core.dtype);
        out.list.push(cpu::item(core));
        return Ok(());
    }
    if let Some(core) = inner {
        let fresh = out.list.is_empty() && shape.len() == depth;
        if fresh {
            shape.extend(core.shape().iter().copied());
        } else if shape[depth..] != core.shape()[..] {
            return Err(ragged(shape, depth));
        }
        out.met(core.dtype);
        if core.dtype.is_float() {
            out.list
                .extend(cpu::to_f64(&core).map_err(to_python)?.into_iter().map(Scalar::Float));
        } else {
            out.list
                .extend(cpu::to_i64(&core).map_err(to_python)?.into_iter().map(Scalar::Int));
        }
        return Ok(());
    }
    if obj.is_instance_of::<PyString>() {
        return Err(PyValueError::new_err("too many dimensions 'str'"));
    }
    // SAFETY: plain type query on a valid object.
    if unsafe { ffi::PySequence_Check(obj.as_ptr()) } == 0 {
        return Err(runtime(format!("Could not infer dtype of {}", obj.get_type().name()?)));
    }
    let n = obj.len()?;
    if shape.len() == depth {
        if !out.list.is_empty() {
            return Err(ragged(shape, depth));
        }
        shape.push(n);
    } else if shape[depth] != n {
        return Err(PyValueError::new_err(format!(
            "expected sequence of length {} at dim {depth} (got {n})",
            shape[depth]
        )));
    }
    for i in 0..n {
        nested(&obj.get_item(i)?, depth + 1, shape, out)?;
    }
    Ok(())
}

fn ragged(shape: &[usize], depth: usize) -> PyErr {
    PyValueError::new_err(format!(
        "the nested sequence is ragged: dims {shape:?} were expected, a number or another shape was found at depth {depth}"
    ))
}

fn cast_copy(c: &Core, d: DType) -> PyResult<Core> {
    if c.device() == Device::Gpu {
        // On its own device, as `clone`.
        let out = Core::empty(*c.shape(), d, Device::Gpu).map_err(to_python)?;
        gpu::copy(c, &out).map_err(to_python)?;
        return Ok(out);
    }
    let out = Core::empty(*c.shape(), d, Device::Cpu).map_err(to_python)?;
    if c.device() == Device::Cpu {
        cpu::copy(c, &out);
    }
    Ok(out)
}

// ---- foreign memory ---------------------------------------------------------------------------------------------------

/// A Python object that owns memory; released under the GIL.
struct Export(ffi::Py_buffer);

// SAFETY: the buffer view is only released, and that under the GIL.
unsafe impl Send for Export {}
// SAFETY: as above.
unsafe impl Sync for Export {}

impl Drop for Export {
    fn drop(&mut self) {
        // SAFETY: filled by PyObject_GetBuffer and released once. After the interpreter's end nothing is left to release.
        Python::try_attach(|_| unsafe { ffi::PyBuffer_Release(&mut self.0) });
    }
}

fn dtype_of_format(format: &[u8], itemsize: usize) -> Option<DType> {
    let code = match format {
        [c] => *c,
        [b'@' | b'=', c] => *c,
        [b'<', c] if cfg!(target_endian = "little") => *c,
        _ => return None,
    };
    Some(match (code, itemsize) {
        (b'?', 1) => DType::Bool,
        (b'B', 1) => DType::U8,
        (b'b', 1) => DType::I8,
        (b'H', 2) => DType::U16,
        (b'h', 2) => DType::I16,
        (b'I' | b'L', 4) => DType::U32,
        (b'i' | b'l', 4) => DType::I32,
        (b'L' | b'Q', 8) => DType::U64,
        (b'l' | b'q', 8) => DType::I64,
        (b'e', 2) => DType::F16,
        (b'f', 4) => DType::F32,
        (b'd', 8) => DType::F64,
        _ => return None,
    })
}

/// The memory behind an object with the buffer protocol, shared; `None` when it has none.
pub fn from_buffer(obj: &Bound<'_, PyAny>) -> PyResult<Option<Core>> {
    // SAFETY: plain query on a valid object.
    if unsafe { ffi::PyObject_CheckBuffer(obj.as_ptr()) } == 0 || obj.is_instance_of::<pyo3::types::PyBytes>() {
        return Ok(None);
    }
    // SAFETY: zeroed is a valid initial state; the call fills it or fails.
    let mut view: ffi::Py_buffer = unsafe { std::mem::zeroed() };
    const FORMAT: i32 = ffi::PyBUF_STRIDES | ffi::PyBUF_FORMAT;
    // SAFETY: as above; a writable view is asked for first.
    let mut rc = unsafe { ffi::PyObject_GetBuffer(obj.as_ptr(), &mut view, FORMAT | ffi::PyBUF_WRITABLE) };
    let mut writable = true;
    if rc != 0 {
        PyErr::take(obj.py());
        writable = false;
        // SAFETY: as above.
        rc = unsafe { ffi::PyObject_GetBuffer(obj.as_ptr(), &mut view, FORMAT) };
    }
    if rc != 0 {
        return Err(PyErr::fetch(obj.py()));
    }
    let export = Export(view);
    let v = &export.0;
    let n = v.ndim as usize;
    let format = if v.format.is_null() {
        b"B".as_slice()
    } else {
        // SAFETY: a NUL-terminated string that lives as long as the view.
        unsafe { std::ffi::CStr::from_ptr(v.format) }.to_bytes()
    };
    let Some(dtype) = dtype_of_format(format, v.itemsize as usize) else {
        return Err(type_error(format!(
            "can't convert an array of type {:?} (item size {}). The only supported types are: float64, float32, float16, int64, \
             int32, int16, int8, uint64, uint32, uint16, uint8, and bool.",
            String::from_utf8_lossy(format),
            v.itemsize
        )));
    };
    let (mut sizes, mut strides) = (Vec::new(), Vec::new());
    for i in 0..n {
        // SAFETY: PyBUF_STRIDES fills `ndim` entries of both.
        let (size, stride) = unsafe { (*v.shape.add(i), *v.strides.add(i)) };
        if stride < 0 && size > 1 {
            return Err(PyValueError::new_err(
                "At least one stride in the given numpy array is negative, and tensors with negative strides are not \
                 currently supported. (You can probably work around this by making a copy of your array with array.copy().)",
            ));
        }
        if stride % v.itemsize != 0 && size > 1 {
            return Err(PyValueError::new_err(
                "given numpy array strides not a multiple of the element byte size. Copy the numpy array to reallocate the memory.",
            ));
        }
        sizes.push(size as usize);
        strides.push((stride / v.itemsize).max(0));
    }
    let shape = Dims::new(&sizes).map_err(to_python)?;
    let layout = Layout::strided(shape, &strides, 0);
    let bytes = layout.end() * dtype.size();
    let ptr = v.buf.cast::<u8>();
    if !(ptr as usize).is_multiple_of(dtype.size()) {
        return Err(PyValueError::new_err(
            "the array's memory is not aligned to its element size",
        ));
    }
    // SAFETY: the exporter keeps `bytes` bytes at `ptr` alive until the view is released with `export`.
    let buffer = unsafe { Buffer::foreign(ptr, bytes, writable, Box::new(export)) };
    Ok(Some(Core::over(buffer, layout, dtype).map_err(to_python)?))
}

/// Keeps a tensor's memory alive for NumPy and tells it where it lies (`__array_interface__`).
#[pyclass(frozen, module = "firesteel._C")]
pub struct Memory {
    core: Core,
}

impl Memory {
    pub fn new(core: Core) -> Memory {
        Memory { core }
    }
}

#[pymethods]
impl Memory {
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, pyo3::types::PyDict>> {
        let c = &self.core;
        let size = c.dtype.size();
        let kind = match c.dtype {
            DType::Bool => 'b',
            d if d.is_float() => 'f',
            d if d.is_signed() => 'i',
            _ => 'u',
        };
        let order = match (size, cfg!(target_endian = "little")) {
            (1, _) => '|',
            (_, true) => '<',
            _ => '>',
        };
        let d = pyo3::types::PyDict::new(py);
        d.set_item("version", 3)?;
        d.set_item("typestr", format!("{order}{kind}{size}"))?;
        d.set_item("shape", PyTuple::new(py, c.shape().iter())?)?;
        d.set_item(
            "strides",
            PyTuple::new(py, c.layout.strides().iter().map(|s| s * size as isize))?,
        )?;
        let address = c.buffer.ptr() as usize + c.layout.offset * size;
        d.set_item("data", (address, !c.buffer.is_writable()))?;
        Ok(d)
    }
}

/// All bytes of a tensor's buffer, for `memoryview`: what files are read into and written from.
#[pyclass(frozen, module = "firesteel._C")]
pub struct Bytes {
    buffer: Shared<Buffer>,
}

impl Bytes {
    /// The buffer must have memory that the CPU can reach.
    pub fn new(buffer: Shared<Buffer>) -> Bytes {
        Bytes { buffer }
    }
}

#[pymethods]
impl Bytes {
    /// # Safety
    /// Called by the interpreter with a view to fill.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: std::ffi::c_int) -> PyResult<()> {
        let b = &slf.get().buffer;
        let read_only = (!b.is_writable()).into();
        // SAFETY: the buffer has `bytes` bytes at `ptr` and lives as long as `slf`, which the view holds.
        let rc = unsafe {
            ffi::PyBuffer_FillInfo(
                view,
                slf.as_ptr(),
                b.ptr().cast(),
                b.bytes() as ffi::Py_ssize_t,
                read_only,
                flags,
            )
        };
        if rc == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}

/// Elements as nested Python lists.
pub fn to_list(py: Python<'_>, c: &Core) -> PyResult<Py<PyAny>> {
    fn level(py: Python<'_>, shape: &[usize], next: &mut dyn FnMut() -> Py<PyAny>) -> PyResult<Py<PyAny>> {
        match shape.split_first() {
            None => Ok(next()),
            Some((&n, rest)) => {
                let mut items = Vec::with_capacity(n);
                for _ in 0..n {
                    items.push(level(py, rest, next)?);
                }
                Ok(PyList::new(py, items)?.into_any().unbind())
            }
        }
    }
    let mut at = 0;
    if c.dtype.is_float() {
        let values = cpu::to_f64(c).map_err(to_python)?;
        level(py, c.shape(), &mut || {
            at += 1;
            PyFloat::new(py, values[at - 1]).into_any().unbind()
        })
    } else {
        let values = cpu::to_i64(c).map_err(to_python)?;
        let (is_bool, is_u64) = (c.dtype == DType::Bool, c.dtype == DType::U64);
        level(py, c.shape(), &mut || {
            at += 1;
            let v = values[at - 1];
            if is_bool {
                PyBool::new(py, v != 0).to_owned().into_any().unbind()
            } else if is_u64 {
                PyInt::new(py, v as u64).into_any().unbind()
            } else {
                PyInt::new(py, v).into_any().unbind()
            }
        })
    }
}
