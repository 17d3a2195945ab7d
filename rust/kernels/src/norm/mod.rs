//! Normalisation layers, forward and backward: over rows (layer norm, RMS norm) and over channels (batch norm, group
//! norm). `f32` and `f64`.
//!
//! Statistics come from one pass over distances from a number near the mean, which the first elements tell; where it turns out
//! not to be near, from a second. Outputs do not overlap inputs.

mod batch;
mod channel;
mod group;
mod row;
mod sides;
mod sweep;

pub use batch::{Affine, batch_norm_affine, batch_norm_backward, batch_norm_eval, batch_norm_train, running_stats};
pub use group::{group_norm_backward, group_norm_forward};
pub use row::{layer_norm_backward, layer_norm_forward, rms_norm_backward, rms_norm_forward};

macro_rules! by_float {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            crate::dtype::DType::F32 => {
                type $t = f32;
                $body
            }
            crate::dtype::DType::F64 => {
                type $t = f64;
                $body
            }
            other => panic!("a norm of {}", other.name()),
        }
    };
}
use by_float;
