//! What must still hold for a recording to be run again: modules and optimizers as they were.

use super::tree::same_value;
use crate::tensor::Tensor;
use firesteel::device::cpu;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

/// The dicts of a module whose entries decide what its call does.
const TABLES: [&str; 7] = [
    "_parameters",
    "_buffers",
    "_modules",
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
];

/// A module that was called: its flag, and the very objects in its tables.
pub struct Module {
    pub object: Py<PyAny>,
    attributes: Py<PyDict>,
    tables: Vec<(Py<PyString>, Vec<(Py<PyAny>, Py<PyAny>)>)>,
    /// The rest: the flag `training`, and what its class keeps there (rates, switches, masks).
    others: Vec<(Py<PyAny>, Py<PyAny>)>,
}

impl Module {
    pub fn new(object: &Bound<'_, PyAny>) -> PyResult<Module> {
        let py = object.py();
        let attributes = object.getattr("__dict__")?.cast_into::<PyDict>()?;
        let mut tables = Vec::new();
        for name in TABLES {
            if let Some(table) = attributes.get_item(name)?
                && let Ok(table) = table.cast::<PyDict>()
            {
                let entries = table.iter().map(|(k, v)| (k.unbind(), v.unbind())).collect();
                tables.push((PyString::intern(py, name).unbind(), entries));
            }
        }
        let others = attributes
            .iter()
            .filter(|(k, _)| !k.extract::<&str>().is_ok_and(|k| TABLES.contains(&k)))
            .map(|(k, v)| (k.unbind(), v.unbind()))
            .collect();
        Ok(Module {
            object: object.clone().unbind(),
            attributes: attributes.unbind(),
            tables,
            others,
        })
    }

    pub fn holds(&self, py: Python<'_>) -> PyResult<bool> {
        let attributes = self.attributes.bind(py);
        if attributes.len() != self.others.len() + self.tables.len() {
            return Ok(false);
        }
        for (key, value) in &self.others {
            let value = value.bind(py);
            match attributes.get_item(key)? {
                Some(v) if v.is(value) || is_plain(&v) && same_value(&v, value)? => {}
                _ => return Ok(false),
            }
        }
        for (name, entries) in &self.tables {
            let Some(table) = attributes.get_item(name)? else {
                return Ok(false);
            };
            let Ok(table) = table.cast::<PyDict>() else {
                return Ok(false);
            };
            if table.len() != entries.len() {
                return Ok(false);
            }
            for (key, value) in entries {
                if !table.get_item(key)?.is_some_and(|v| v.is(value)) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Whether a tensor is a parameter or buffer of the module.
    pub fn owns(&self, py: Python<'_>, t: &Py<Tensor>) -> bool {
        let own = self.tables.iter().take(2).flat_map(|(_, entries)| entries);
        own.into_iter().any(|(_, v)| v.bind(py).is(t.bind(py)))
    }
}

/// A value that may be made anew without being another one. Of anything else, the very object must be there.
fn is_plain(v: &Bound<'_, PyAny>) -> bool {
    v.is_instance_of::<PyFloat>() || v.is_instance_of::<PyInt>() || v.is_instance_of::<PyString>()
}

/// A number among a group's options, read anew before each run.
pub struct Number {
    /// The fused op's name of it.
    pub name: String,
    option: Py<PyString>,
    part: Option<usize>,
    /// Zero switches parts of an optimizer off.
    zero: bool,
}

/// A parameter group whose step was recorded.
pub struct Group {
    pub optimizer: Py<PyAny>,
    index: usize,
    /// How many groups the optimizer has.
    count: usize,
    params: Vec<Py<PyAny>>,
    options: Vec<(Py<PyAny>, Py<PyAny>)>,
    pub numbers: Vec<Number>,
}

/// A number, or a tensor of one element; not a bool.
fn number(v: &Bound<'_, PyAny>) -> Option<f64> {
    let py = v.py();
    if v.is_instance_of::<PyBool>() {
        return None;
    }
    if v.is_instance_of::<PyFloat>() || v.is_instance_of::<PyInt>() {
        return v.extract().ok();
    }
    let core = v.cast::<Tensor>().ok()?.get().core(py);
    (core.numel() == 1 && core.device() == firesteel::Device::Cpu).then(|| cpu::item(&core).to_f64())
}

/// A group of an optimizer as a dict; None when there are fewer.
pub fn group_of<'py>(optimizer: &Bound<'py, PyAny>, index: usize) -> PyResult<Option<Bound<'py, PyDict>>> {
    let groups = optimizer.getattr("param_groups")?;
    let groups = groups.cast::<PyList>()?;
    match groups.get_item(index) {
        Ok(g) => Ok(Some(g.cast_into::<PyDict>()?)),
        Err(_) => Ok(None),
    }
}

impl Group {
    pub fn new(optimizer: &Bound<'_, PyAny>, index: usize, group: &Bound<'_, PyDict>) -> PyResult<Group> {
        let py = optimizer.py();
        let mut made = Group {
            optimizer: optimizer.clone().unbind(),
            index,
            count: optimizer.getattr("param_groups")?.len()?,
            params: Vec::new(),
            options: Vec::new(),
            numbers: Vec::new(),
        };
        for (key, value) in group.iter() {
            let name = key.extract::<String>()?;
            let option = PyString::intern(py, &name).unbind();
            if name == "params" {
                made.params = value.cast::<PyList>()?.iter().map(Bound::unbind).collect();
            } else if let Some(v) = number(&value) {
                made.numbers.push(Number {
                    name,
                    option,
                    part: None,
                    zero: v == 0.0,
                });
            } else if name == "betas" {
                for (i, part) in value.cast::<PyTuple>()?.iter().enumerate() {
                    made.numbers.push(Number {
                        name: format!("beta{}", i + 1),
                        option: option.clone_ref(py),
                        part: Some(i),
                        zero: number(&part) == Some(0.0),
                    });
                }
            } else {
                made.options.push((key.unbind(), value.unbind()));
            }
        }
        Ok(made)
    }

    pub fn params(&self) -> &[Py<PyAny>] {
        &self.params
    }

    /// Adds the numbers to `block`; false when the group is not what was recorded.
    pub fn fill(&self, py: Python<'_>, block: &mut Vec<f64>) -> PyResult<bool> {
        let optimizer = self.optimizer.bind(py);
        if optimizer.getattr("param_groups")?.len()? != self.count {
            return Ok(false);
        }
        let Some(group) = group_of(optimizer, self.index)? else {
            return Ok(false);
        };
        let Some(params) = group.get_item("params")? else {
            return Ok(false);
        };
        let params = params.cast::<PyList>()?;
        if params.len() != self.params.len() || !params.iter().zip(&self.params).all(|(a, b)| a.is(b)) {
            return Ok(false);
        }
        for (key, value) in &self.options {
            match group.get_item(key)? {
                Some(v) if same_value(&v, value.bind(py))? => {}
                _ => return Ok(false),
            }
        }
        for n in &self.numbers {
            let Some(value) = group.get_item(&n.option)? else {
                return Ok(false);
            };
            let value = match n.part {
                Some(i) => value.get_item(i)?,
                None => value,
            };
            match number(&value) {
                Some(v) if (v == 0.0) == n.zero => block.push(v),
                _ => return Ok(false),
            }
        }
        Ok(true)
    }
}
