//! Running a graph: the recorded ops through dispatch, one after another, as eager execution would.

use super::ir::{Action, Graph, Id, Number, Operand, Source};
use crate::args::{Arg, Args};
use crate::core::Core;
use crate::device::{Device, cpu};
use crate::dispatch::{self, Form, Outputs};
use crate::error::{Error, Result};
use crate::layout::Layout;
use smallvec::SmallVec;

impl Graph {
    /// Carries out all steps and returns the results.
    ///
    /// `slots`: a tensor for each slot, of the layout (but for the offset), dtype and device that was recorded.
    /// `numbers`: the options of optimizers that steps name by their place.
    pub fn run(&self, slots: &[Core], numbers: &[f64]) -> Result<Vec<Core>> {
        let mut values: Vec<Option<Core>> = Vec::with_capacity(self.values.len());
        for v in &self.values {
            values.push(match &v.source {
                Source::Slot(i) => Some(slots[*i].clone()),
                Source::Constant { core, written: false } => Some(core.clone()),
                Source::Constant { core, written: true } => Some(dispatch::fresh_copy(core)?),
                Source::Blank => Some(Core::empty_with(v.layout, v.dtype, v.device)?),
                Source::Made => None,
            });
        }
        let mut outs = Outputs::new();
        for step in &self.steps {
            self.carry_out(&step.action, &mut values, numbers, &mut outs)
                .map_err(|e| located(e, &step.place))?;
            for &v in &step.last {
                values[v as usize] = None;
            }
        }
        Ok(self.results.iter().map(|&v| at(&values, v).clone()).collect())
    }

    fn carry_out(
        &self,
        action: &Action,
        values: &mut [Option<Core>],
        numbers: &[f64],
        outs: &mut Outputs,
    ) -> Result<()> {
        match action {
            Action::Call {
                op,
                form,
                args: operands,
                outs: ids,
            } => {
                let mut args = Args::default();
                for o in operands {
                    args.items.push(argument(o, values, numbers)?);
                }
                match form {
                    Form::New => {
                        outs.clear();
                        dispatch::call_into(op, &args, outs)?;
                        for (&id, core) in ids.iter().zip(outs.drain(..)) {
                            values[id as usize] = Some(core);
                        }
                    }
                    Form::InPlace => dispatch::call_inplace(op, &args)?,
                    Form::Out => {
                        let targets: SmallVec<[Core; 2]> = ids.iter().map(|&v| at(values, v).clone()).collect();
                        dispatch::call_out(op, &args, &targets)?;
                    }
                }
            }
            Action::Copy { from, out } => {
                let layout = self.values[*out as usize].layout;
                values[*out as usize] = Some(dispatch::copy_as(at(values, *from), layout)?);
            }
            Action::Relayout { from, out, offset } => {
                let from = at(values, *from);
                let v = &self.values[*out as usize];
                let layout = Layout {
                    offset: from.layout.offset.wrapping_add_signed(*offset),
                    ..v.layout
                };
                let made = Core::over(from.buffer.clone(), layout, v.dtype)?;
                values[*out as usize] = Some(made);
            }
        }
        Ok(())
    }
}

fn at(values: &[Option<Core>], v: Id) -> &Core {
    values[v as usize].as_ref().expect("a value is made before it is used")
}

fn argument(o: &Operand, values: &[Option<Core>], numbers: &[f64]) -> Result<Arg> {
    Ok(match o {
        Operand::Value(v) => Arg::Tensor(at(values, *v).clone()),
        Operand::Values(list) => Arg::Tensors(list.iter().map(|&v| at(values, v).clone()).collect()),
        Operand::OptValues(list) => Arg::OptTensors(list.iter().map(|v| v.map(|v| at(values, v).clone())).collect()),
        Operand::Constant(a) => a.clone(),
        Operand::Number(Number::Option(i, _)) => Arg::Float(numbers[*i]),
        Operand::Number(Number::Next(list)) => {
            Arg::Floats(list.iter().map(|&v| next(at(values, v))).collect::<Result<_>>()?)
        }
    })
}

/// One more than the only element of a step count.
pub fn next(counter: &Core) -> Result<f64> {
    if counter.device() != Device::Cpu || counter.numel() != 1 {
        return Error::runtime(format!(
            "an optimizer counts its steps in CPU tensors of one element, got shape {} on {}",
            counter.shape(),
            counter.device().name()
        ));
    }
    Ok(cpu::item(counter).to_f64() + 1.0)
}

/// The error with the line of the program that was recorded there.
#[cold]
fn located(mut e: Error, place: &Option<(String, u32)>) -> Error {
    if let Some((file, line)) = place {
        e.message = format!("{} (in the compiled function, {file}:{line})", e.message);
    }
    e
}
