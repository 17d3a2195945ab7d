//! A shader of statements for each element of several tensors that are walked together: what is more than one expression.

use super::map::Walk;
use super::shader::{EACH, Word, header, linked};
use super::{Buffers, GROUP, groups, run, size32, word};
use crate::core::Core;
use crate::device::wgpu::{self, Job};
use crate::error::Result;
use crate::layout::Layout;

/// Where the numbers of a program begin.
const NUMBERS: usize = 64;

/// Tensors, numbers and what is done with each element.
///
/// The program sees `i`, the element's number; for the tensor called `t` its place `o_t`, and the word at any place by
/// `load_t(place)` and `store_t(place, value)`; numbers as `n0`, `n1`, … (f32) and `u0`, `u1`, … (u32).
pub struct Each<'a> {
    op: &'static str,
    buffers: Buffers<'a>,
    tensors: Vec<(&'static str, usize, Word, bool)>,
    layouts: Vec<Layout>,
    numbers: Vec<u32>,
    faults: bool,
}

impl<'a> Each<'a> {
    pub fn new(op: &'static str) -> Each<'a> {
        Each {
            op,
            buffers: Buffers::default(),
            tensors: vec![],
            layouts: vec![],
            numbers: vec![],
            faults: false,
        }
    }

    /// A tensor, walked by a layout over its memory; all layouts have one shape.
    pub fn tensor(mut self, name: &'static str, c: &'a Core, layout: Layout, write: bool) -> Result<Each<'a>> {
        let at = self.buffers.add(c, write)?;
        self.tensors.push((name, at, word(c.dtype)?, write));
        self.layouts.push(layout);
        Ok(self)
    }

    pub fn number(mut self, v: f64) -> Each<'a> {
        self.numbers.push((v as f32).to_bits());
        self
    }

    pub fn bits(mut self, v: u32) -> Each<'a> {
        self.numbers.push(v);
        self
    }

    /// The program may call `fault(index)`.
    pub fn faults(mut self) -> Each<'a> {
        self.faults = true;
        self
    }

    /// Runs the program for each element.
    pub fn run(self, program: &str) -> Result<()> {
        let n = self.layouts[0].numel();
        if n == 0 {
            return Ok(());
        }
        assert!(self.layouts.len() <= 5, "a program of too many tensors");
        let gpu = wgpu::get()?;
        let walk = Walk::new(&self.layouts)?;
        let mut params = [0u32; 127];
        params[0] = size32(n)?;
        params[1] = walk.rank as u32;
        walk.write(&mut params, 8);
        params[NUMBERS..NUMBERS + self.numbers.len()].copy_from_slice(&self.numbers);
        let mut key = format!(
            "each {} {}",
            self.buffers.pattern(),
            if walk.rank == 0 { "dense" } else { "strided" }
        );
        for (name, at, w, write) in &self.tensors {
            key.push_str(&format!(" {name}{at}{}{write}", w.letter()));
        }
        key.push_str(program);
        let source = || {
            let mut body = header(&self.buffers, self.faults);
            for (name, at, w, write) in &self.tensors {
                let t = w.name();
                let value = w.load(&format!("m{at}[place]"), *w);
                body.push_str(&format!("fn load_{name}(place: u32) -> {t} {{ return {value}; }}\n"));
                if *write {
                    let value = w.store("v");
                    body.push_str(&format!(
                        "fn store_{name}(place: u32, v: {t}) {{ m{at}[place] = {value}; }}\n"
                    ));
                }
            }
            body.push_str(EACH);
            body.push_str(&walk.text(8, self.layouts.len(), "i"));
            for (k, (name, ..)) in self.tensors.iter().enumerate() {
                body.push_str(&format!("let o_{name} = o{k};\n"));
            }
            for k in 0..self.numbers.len() {
                let at = NUMBERS + k;
                body.push_str(&format!("let n{k} = number({at}u);\nlet u{k} = word({at}u);\n"));
            }
            body.push_str(program);
            body.push_str("\n}\n");
            linked(body)
        };
        run(&Job {
            op: self.op,
            key: &key,
            source: &source,
            bindings: &self.buffers.list,
            params: &params,
            groups: groups(gpu, n, GROUP)?,
            faults: self.faults,
        })
    }
}
