//! Which nodes a backward pass goes through that is for certain tensors only, and where it picks their gradients up.

use crate::node::{Edge, Node};
use crate::record::edge_of;
use crate::tensor::Tensor;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PySet, PyTuple};
use smallvec::SmallVec;
use std::collections::HashSet;

type Paths<'py> = (Bound<'py, PyDict>, Bound<'py, PyDict>, Bound<'py, PySet>);

/// For `roots` (pairs of an output and its gradient) and `inputs`: by a node's key the (output index, input's place) to keep,
/// by a leaf's id the places, and the keys of the nodes that lead to any of these. A key is the negated sequence number.
#[pyfunction]
pub fn _paths<'py>(roots: &Bound<'py, PyList>, inputs: &Bound<'py, PyTuple>) -> PyResult<Paths<'py>> {
    let py = roots.py();
    let (edges, leaves, needed) = (PyDict::new(py), PyDict::new(py), PySet::empty(py)?);
    let mut nodes: SmallVec<[u64; 8]> = SmallVec::new();
    let mut tensors: SmallVec<[usize; 8]> = SmallVec::new();
    for (place, input) in inputs.iter().enumerate() {
        match edge_of(input.cast::<Tensor>()?)? {
            Edge::Node(n, i) => {
                nodes.push(n.get().seq);
                append(&edges, -(n.get().seq as i64), (i, place))?;
            }
            Edge::Leaf(t) => {
                tensors.push(t.as_ptr() as usize);
                append(&leaves, t.as_ptr() as usize, place)?;
            }
            Edge::None => {}
        }
    }
    nodes.sort_unstable();
    tensors.sort_unstable();
    // The roots' nodes and all behind them.
    let mut found: Vec<Py<Node>> = Vec::new();
    let mut seen = HashSet::new();
    for root in roots.iter() {
        let root = root.cast::<PyTuple>()?.get_item(0)?;
        if let Edge::Node(n, _) = edge_of(root.cast::<Tensor>()?)?
            && seen.insert(n.get().seq)
        {
            found.push(n);
        }
    }
    let mut at = 0;
    while at < found.len() {
        let targets: SmallVec<[Py<Node>; 4]> = found[at].get().state(py, |s| {
            let targets = s.inputs.iter().filter_map(|i| match &i.edge {
                Edge::Node(n, _) if seen.insert(n.get().seq) => Some(n.clone_ref(py)),
                _ => None,
            });
            targets.collect()
        });
        found.extend(targets);
        at += 1;
    }
    // Inputs of a node come from nodes with smaller numbers: by rising number, each one's targets are decided before it.
    found.sort_unstable_by_key(|n| n.get().seq);
    seen.clear();
    for node in found {
        let leads = node.get().state(py, |s| {
            s.inputs.iter().any(|i| match &i.edge {
                Edge::Node(n, _) => nodes.binary_search(&n.get().seq).is_ok() || seen.contains(&n.get().seq),
                Edge::Leaf(t) => tensors.binary_search(&(t.as_ptr() as usize)).is_ok(),
                Edge::None => false,
            })
        });
        if leads {
            seen.insert(node.get().seq);
            needed.add(-(node.get().seq as i64))?;
        }
    }
    Ok((edges, leaves, needed))
}

/// Adds `item` to the list at `key`.
fn append<'py>(
    table: &Bound<'py, PyDict>,
    key: impl IntoPyObject<'py> + Copy,
    item: impl IntoPyObject<'py>,
) -> PyResult<()> {
    match table.get_item(key)? {
        Some(list) => list.cast::<PyList>()?.append(item),
        None => table.set_item(key, PyList::new(table.py(), [item])?),
    }
}
