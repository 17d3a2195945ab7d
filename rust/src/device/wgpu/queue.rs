//! Work: dispatches gathered in one open pass, submitted when values are wanted or enough has come together.
//!
//! A dispatch's numbers lie in a slot of one uniform buffer. `write_buffer` takes effect before everything in the same
//! submission, so a slot is never written twice in one: slots are handed out in turn, written once when the pass is
//! submitted, and begin anew afterwards.

use super::pool::Memory;
use super::{Gpu, lock, ready};
use crate::error::{Error, ErrorKind, Result};
use ::wgpu::{
    BindGroupDescriptor, BindGroupEntry, BindGroupLayout, BindGroupLayoutDescriptor, BindGroupLayoutEntry,
    BindingResource, BindingType, Buffer, BufferBinding, BufferBindingType, BufferDescriptor, BufferUsages,
    CommandEncoder, ComputePass, ComputePipeline, ComputePipelineDescriptor, Device, ErrorFilter, MapMode,
    PipelineCompilationOptions, PipelineLayout, PipelineLayoutDescriptor, PollType, ShaderModuleDescriptor,
    ShaderSource, ShaderStages, SubmissionIndex,
};
use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU64;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

/// Dispatches in one submission at most.
const BATCH: usize = 64;
/// Bytes that one submission's dispatches bind at most (the last may go beyond).
const BYTES: u64 = 1 << 29;
/// Submissions in flight before the next one waits for the oldest.
const IN_FLIGHT: usize = 3;
/// Words of a dispatch's numbers.
pub const PARAMS: usize = 128;
const SLOT: u64 = PARAMS as u64 * 4;
/// Words of the buffer where shaders tell of bad indices: the op's number plus one, the index.
const FAULT: u64 = 2;

/// A buffer that a dispatch reads, or reads and writes. No two of one job may be the same buffer.
pub struct Binding<'a> {
    pub memory: &'a Memory,
    pub write: bool,
}

/// One dispatch.
pub struct Job<'a> {
    /// For errors.
    pub op: &'static str,
    /// Names the pipeline: equal keys have equal sources.
    pub key: &'a str,
    pub source: &'a dyn Fn() -> String,
    pub bindings: &'a [Binding<'a>],
    pub params: &'a [u32],
    pub groups: [u32; 3],
    /// The shader tells of bad indices: its last binding is the buffer for that.
    pub faults: bool,
}

struct Pipeline {
    pipeline: ComputePipeline,
    layout: BindGroupLayout,
}

pub(super) struct State {
    encoder: Option<CommandEncoder>,
    /// Of the encoder; dropped before it is finished.
    pass: Option<ComputePass<'static>>,
    /// Numbers of the dispatches in the open pass.
    numbers: Vec<u8>,
    ops: Vec<&'static str>,
    bytes: u64,
    /// Of the open submission; counted from 1.
    serial: u64,
    in_flight: VecDeque<SubmissionIndex>,
    uniforms: Buffer,
    faults: Buffer,
    may_fault: bool,
    staging: Option<Buffer>,
    pipelines: HashMap<String, Arc<Pipeline>>,
    layouts: HashMap<(usize, u32), (BindGroupLayout, PipelineLayout)>,
}

impl State {
    pub fn new(device: &Device) -> Result<State> {
        let buffer = |size, usage| {
            device.create_buffer(&BufferDescriptor {
                label: None,
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        Ok(State {
            encoder: None,
            pass: None,
            numbers: Vec::with_capacity(BATCH * SLOT as usize),
            ops: Vec::with_capacity(BATCH),
            bytes: 0,
            serial: 1,
            in_flight: VecDeque::new(),
            uniforms: buffer(BATCH as u64 * SLOT, BufferUsages::UNIFORM | BufferUsages::COPY_DST),
            faults: buffer(
                FAULT * 4,
                BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
            ),
            may_fault: false,
            staging: None,
            pipelines: HashMap::new(),
            layouts: HashMap::new(),
        })
    }

    /// The layouts of `count` storage buffers of which `writes` (a bit mask) are written.
    fn layout(&mut self, device: &Device, count: usize, writes: u32) -> &(BindGroupLayout, PipelineLayout) {
        self.layouts.entry((count, writes)).or_insert_with(|| {
            let entry = |binding: usize, ty| BindGroupLayoutEntry {
                binding: binding as u32,
                visibility: ShaderStages::COMPUTE,
                ty: BindingType::Buffer {
                    ty,
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                count: None,
            };
            let mut entries = vec![entry(0, BufferBindingType::Uniform)];
            for i in 0..count {
                let read_only = writes & (1 << i) == 0;
                entries.push(entry(i + 1, BufferBindingType::Storage { read_only }));
            }
            let group = device.create_bind_group_layout(&BindGroupLayoutDescriptor {
                label: None,
                entries: &entries,
            });
            let pipeline = device.create_pipeline_layout(&PipelineLayoutDescriptor {
                label: None,
                bind_group_layouts: &[Some(&group)],
                immediate_size: 0,
            });
            (group, pipeline)
        })
    }
}

impl Gpu {
    /// Queues one dispatch.
    pub fn run(&self, job: &Job) -> Result<()> {
        self.check()?;
        let mut state = self.state();
        if state.ops.len() >= BATCH || state.bytes > BYTES {
            self.submit(&mut state)?;
        }
        let pipeline = self.pipeline(&mut state, job)?;
        let at = state.numbers.len() as u64;
        debug_assert!(job.params.len() <= PARAMS);
        for i in 0..PARAMS {
            let word = job.params.get(i).copied().unwrap_or(0);
            state.numbers.extend_from_slice(&word.to_le_bytes());
        }
        let mut entries = vec![BindGroupEntry {
            binding: 0,
            resource: BindingResource::Buffer(BufferBinding {
                buffer: &state.uniforms,
                offset: at,
                size: NonZeroU64::new(SLOT),
            }),
        }];
        let buffers = job.bindings.iter().map(|b| b.memory.buffer());
        for (i, buffer) in buffers.chain(job.faults.then_some(&state.faults)).enumerate() {
            entries.push(BindGroupEntry {
                binding: i as u32 + 1,
                resource: buffer.as_entire_binding(),
            });
        }
        let group = self.device.create_bind_group(&BindGroupDescriptor {
            label: None,
            layout: &pipeline.layout,
            entries: &entries,
        });
        if state.pass.is_none() {
            let encoder = state
                .encoder
                .get_or_insert_with(|| self.device.create_command_encoder(&Default::default()));
            state.pass = Some(encoder.begin_compute_pass(&Default::default()).forget_lifetime());
        }
        if let Some(pass) = &mut state.pass {
            pass.set_pipeline(&pipeline.pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.dispatch_workgroups(job.groups[0], job.groups[1], job.groups[2]);
        }
        state.ops.push(job.op);
        state.may_fault |= job.faults;
        let serial = state.serial;
        for b in job.bindings {
            b.memory.used(serial);
            state.bytes += b.memory.bytes();
        }
        if self.sync {
            self.wait(&mut state)?;
            self.report(&mut state)?;
        }
        Ok(())
    }

    fn pipeline(&self, state: &mut State, job: &Job) -> Result<Arc<Pipeline>> {
        if let Some(found) = state.pipelines.get(job.key) {
            return Ok(found.clone());
        }
        let mut writes = 0;
        for (i, b) in job.bindings.iter().enumerate() {
            writes |= (b.write as u32) << i;
        }
        let count = job.bindings.len();
        if job.faults {
            writes |= 1 << count;
        }
        let (group, layout) = state.layout(&self.device, count + job.faults as usize, writes).clone();
        let source = (job.source)();
        let scope = self.device.push_error_scope(ErrorFilter::Validation);
        let module = self.device.create_shader_module(ShaderModuleDescriptor {
            label: Some(job.op),
            source: ShaderSource::Wgsl(source.as_str().into()),
        });
        let pipeline = self.device.create_compute_pipeline(&ComputePipelineDescriptor {
            label: Some(job.op),
            layout: Some(&layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: PipelineCompilationOptions {
                constants: &[],
                // Shaders here write workgroup memory before they read it.
                zero_initialize_workgroup_memory: false,
            },
            cache: None,
        });
        if let Some(e) = ready(scope.pop()).flatten() {
            return Error::runtime(format!(
                "internal error: the gpu refused the shader of {}: {e}\n{source}",
                job.op
            ));
        }
        let made = Arc::new(Pipeline {
            pipeline,
            layout: group,
        });
        state.pipelines.insert(job.key.to_owned(), made.clone());
        Ok(made)
    }

    /// Hands the open pass to the gpu.
    fn submit(&self, state: &mut State) -> Result<()> {
        state.pass = None;
        let Some(encoder) = state.encoder.take() else {
            return Ok(());
        };
        if !state.numbers.is_empty() {
            self.queue.write_buffer(&state.uniforms, 0, &state.numbers);
        }
        let index = self.queue.submit([encoder.finish()]);
        state.numbers.clear();
        state.bytes = 0;
        state.serial += 1;
        let ops = std::mem::take(&mut state.ops);
        state.in_flight.push_back(index);
        if state.in_flight.len() > IN_FLIGHT
            && let Some(oldest) = state.in_flight.pop_front()
        {
            self.poll(Some(oldest))?;
        }
        self.check().map_err(|e| name_ops(e, &ops))
    }

    fn poll(&self, index: Option<SubmissionIndex>) -> Result<()> {
        let until = PollType::Wait {
            submission_index: index,
            timeout: None,
        };
        match self.device.poll(until) {
            Ok(_) => Ok(()),
            Err(e) => {
                self.check()?;
                Error::runtime(format!("the gpu device did not finish its work: {e}"))
            }
        }
    }

    fn wait(&self, state: &mut State) -> Result<()> {
        let ops = state.ops.clone();
        self.submit(state)?;
        state.in_flight.clear();
        self.poll(None)?;
        self.check().map_err(|e| name_ops(e, &ops))
    }

    /// Waits until all that was queued is done.
    pub fn finish(&self) -> Result<()> {
        self.check()?;
        let mut state = self.state();
        self.wait(&mut state)?;
        self.report(&mut state)
    }

    /// The error of a shader that met a bad index, if one did since the last call.
    fn report(&self, state: &mut State) -> Result<()> {
        if !state.may_fault {
            return Ok(());
        }
        let faults = state.faults.clone();
        let words = self.read(state, &faults, 0, FAULT as usize)?;
        state.may_fault = false;
        if words[0] == 0 {
            return Ok(());
        }
        self.queue.write_buffer(&state.faults, 0, &[0; FAULT as usize * 4]);
        Err(Error::new(
            ErrorKind::Index,
            format!(
                "index {} is out of range (the gpu looks at indices while it works, so this op may lie behind; \
                 FIRESTEEL_GPU_SYNC=1 raises where it happens)",
                words[1] as i32
            ),
        ))
    }

    /// Copies words to the host, after the work queued before.
    fn read(&self, state: &mut State, from: &Buffer, start: usize, words: usize) -> Result<Vec<u32>> {
        let bytes = words as u64 * 4;
        let staging = match state.staging.take().filter(|s| s.size() >= bytes) {
            Some(s) => s,
            None => self.device.create_buffer(&BufferDescriptor {
                label: None,
                size: bytes.next_power_of_two().max(1024),
                usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
                mapped_at_creation: false,
            }),
        };
        state.pass = None;
        state
            .encoder
            .get_or_insert_with(|| self.device.create_command_encoder(&Default::default()))
            .copy_buffer_to_buffer(from, start as u64 * 4, &staging, 0, bytes);
        self.submit(state)?;
        let told = Arc::new(Mutex::new(None));
        let tell = told.clone();
        staging.map_async(MapMode::Read, 0..bytes, move |r| *lock(&tell) = Some(r));
        state.in_flight.clear();
        self.poll(None)?;
        self.check()?;
        if !matches!(lock(&told).take(), Some(Ok(()))) {
            return Error::runtime("the gpu device did not give its values");
        }
        let values = match staging.get_mapped_range(0..bytes) {
            Ok(view) => view
                .chunks_exact(4)
                .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
            Err(e) => return Error::runtime(format!("the gpu device did not give its values: {e}")),
        };
        staging.unmap();
        if staging.size() <= 1 << 24 {
            state.staging = Some(staging);
        }
        Ok(values)
    }

    /// Words `start .. start + words`, after all work queued before.
    pub fn download(&self, memory: &Memory, start: usize, words: usize) -> Result<Vec<u32>> {
        self.check()?;
        let mut state = self.state();
        let values = match words {
            0 => vec![],
            _ => self.read(&mut state, memory.buffer(), start, words)?,
        };
        self.report(&mut state)?;
        Ok(values)
    }

    /// Overwrites memory from its beginning; what is queued already still sees the old values.
    pub fn upload(&self, memory: &Memory, words: &[u32]) -> Result<()> {
        self.check()?;
        let mut state = self.state();
        if memory.last.load(Ordering::Relaxed) == state.serial {
            self.submit(&mut state)?;
        }
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        if !bytes.is_empty() {
            self.queue.write_buffer(memory.buffer(), 0, &bytes);
        }
        self.check()
    }
}

/// An error with the ops of the submission that it came with.
fn name_ops(mut e: Error, ops: &[&'static str]) -> Error {
    let mut names: Vec<&str> = ops.to_vec();
    names.dedup();
    if !names.is_empty() {
        e.message = format!(
            "{} (in a submission of: {}; FIRESTEEL_GPU_SYNC=1 tells which)",
            e.message,
            names.join(", ")
        );
    }
    e
}
