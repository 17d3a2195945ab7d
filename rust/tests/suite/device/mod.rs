mod gpu;
mod wgpu;
