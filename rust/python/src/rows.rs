//! The table of derivatives: Python functions by op, registered once at import.

use crate::cell::GilCell;
use crate::error::type_error;
use firesteel::ops::{self, Op};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use smallvec::SmallVec;

/// What a node keeps of its op's inputs and outputs.
pub struct Save {
    pub is_output: bool,
    /// Parameter or output.
    pub index: u8,
    /// Kept only when one of these parameters wants a gradient (bit mask); 0: always.
    pub needed_by: u32,
}

/// The derivative of one op.
pub struct Row {
    pub saves: SmallVec<[Save; 3]>,
    /// By parameter: function (node, grad) → gradient.
    pub each: Vec<Option<Py<PyAny>>>,
    /// Function (node, grad) → tuple of gradients, one per tensor parameter.
    pub all: Option<Py<PyAny>>,
    /// The op from simpler ops, over the same arguments.
    pub composite: Option<Py<PyAny>>,
    /// The result has no gradient.
    pub nondiff: bool,
}

static ROWS: GilCell<Vec<Option<&'static Row>>> = GilCell::new(Vec::new());

/// The row of an op, if one was registered.
#[inline]
pub fn row(py: Python<'_>, op: &'static Op) -> Option<&'static Row> {
    ROWS.with(py, |r| r.get(op.index as usize).copied().flatten())
}

/// Registers derivatives: `{key: {"saves": "input>other result", "input": f, …, "all": f, "composite": f, "nondiff": True}}`.
#[pyfunction]
pub fn register(py: Python<'_>, rows: &Bound<'_, PyDict>) -> PyResult<()> {
    for (key, value) in rows.iter() {
        let key = key.cast::<PyString>()?.to_cow()?.into_owned();
        let op = ops::get(&key).ok_or_else(|| type_error(format!("no op '{key}' to register a derivative for")))?;
        let made: &'static Row = Box::leak(Box::new(parse(op, value.cast::<PyDict>()?)?));
        ROWS.with_mut(py, |r| {
            if r.len() < ops::table().len() {
                r.resize_with(ops::table().len(), || None);
            }
            r[op.index as usize] = Some(made);
        });
    }
    Ok(())
}

fn parse(op: &'static Op, dict: &Bound<'_, PyDict>) -> PyResult<Row> {
    let mut row = Row {
        saves: SmallVec::new(),
        each: op.params.iter().map(|_| None).collect(),
        all: None,
        composite: None,
        nondiff: false,
    };
    for (k, v) in dict.iter() {
        let k = k.cast::<PyString>()?.to_cow()?.into_owned();
        match k.as_str() {
            "saves" => {
                for part in v.cast::<PyString>()?.to_cow()?.split_whitespace() {
                    row.saves.push(save(op, part)?);
                }
            }
            "all" => row.all = Some(v.unbind()),
            "composite" => row.composite = Some(v.unbind()),
            "nondiff" => row.nondiff = v.is_truthy()?,
            name => {
                let p = op
                    .param(name)
                    .ok_or_else(|| type_error(format!("{} has no parameter '{name}'", op.key)))?;
                row.each[p] = Some(v.unbind());
            }
        }
    }
    Ok(row)
}

fn save(op: &'static Op, text: &str) -> PyResult<Save> {
    let (name, users) = text.split_once('>').unwrap_or((text, ""));
    let mut needed_by = 0;
    for u in users.split(',').filter(|u| !u.is_empty()) {
        let p = op
            .param(u)
            .ok_or_else(|| type_error(format!("{} has no parameter '{u}'", op.key)))?;
        needed_by |= 1 << p;
    }
    if let Some(p) = op.param(name) {
        return Ok(Save {
            is_output: false,
            index: p as u8,
            needed_by,
        });
    }
    match op.outputs.iter().position(|o| *o == name) {
        Some(i) => Ok(Save {
            is_output: true,
            index: i as u8,
            needed_by,
        }),
        None => Err(type_error(format!(
            "{} has neither a parameter nor an output '{name}'",
            op.key
        ))),
    }
}

/// Keys of the ops that have a row, and those that have none.
#[pyfunction]
pub fn _row_keys(py: Python<'_>) -> (Vec<&'static str>, Vec<&'static str>) {
    ops::table().iter().partition_map(
        |o| row(py, o).is_some() || matches!(o.kind, ops::Kind::Composite),
        |o| o.key,
    )
}

trait PartitionMap: Iterator + Sized {
    fn partition_map<B>(self, first: impl Fn(&Self::Item) -> bool, f: impl Fn(Self::Item) -> B) -> (Vec<B>, Vec<B>) {
        let (mut yes, mut no) = (Vec::new(), Vec::new());
        for item in self {
            let to = if first(&item) { &mut yes } else { &mut no };
            to.push(f(item));
        }
        (yes, no)
    }
}

impl<I: Iterator> PartitionMap for I {}
