//! The engines that the stand-in offers: one for each thing that a client must tell apart.

use crate::convolution::{Convolution, Precision};

/// How many engines an operation graph is said to have, most of which support nothing.
pub const GLOBAL_COUNT: i64 = 8;

/// How many configurations more a heuristic counts than it then gives: cuDNN does so too.
pub const OVERCOUNT: i64 = 2;

/// One parameter of an engine; `value` is what heuristics choose.
pub struct Knob {
    pub kind: i64,
    pub value: i64,
    pub maximum: i64,
}

/// What a client can ask about an engine, and what it computes.
pub struct Engine {
    pub index: i64,
    pub numerical_notes: &'static [i64],
    pub behavior_notes: &'static [i64],
    pub knobs: &'static [Knob],
    pub precision: Precision,
    pub fixed_workspace: i64,
    pub workspace_for_output: bool,
}

/// `CUDNN_NUMERICAL_NOTE_TENSOR_CORE`
const TENSOR_CORE: i64 = 0;
/// `CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS`
const DOWN_CONVERT_INPUTS: i64 = 1;
/// No header has it: clients must survive what a later cuDNN says.
const UNKNOWN_NOTE: i64 = 1000;
/// `CUDNN_BEHAVIOR_NOTE_SUPPORTS_CUDA_GRAPH_NATIVE_API`
const CUDA_GRAPHS: i64 = 3;

const TILE_SIZE: i64 = 2;
const SPLIT_K_SLICES: i64 = 17;
const KERNEL_CONFIGURATION: i64 = 24;

/// In the order in which heuristics prefer them.
pub const ENGINES: [Engine; 4] = [
    Engine {
        index: 3,
        numerical_notes: &[TENSOR_CORE, DOWN_CONVERT_INPUTS],
        behavior_notes: &[],
        knobs: &[Knob { kind: TILE_SIZE, value: 1, maximum: 4 }],
        precision: Precision::BrainFloat,
        fixed_workspace: 64 << 10,
        workspace_for_output: false,
    },
    Engine {
        index: 1,
        numerical_notes: &[TENSOR_CORE],
        behavior_notes: &[CUDA_GRAPHS],
        knobs: &[
            Knob { kind: TILE_SIZE, value: 3, maximum: 15 },
            Knob { kind: SPLIT_K_SLICES, value: 2, maximum: 8 },
        ],
        precision: Precision::TensorFloat,
        fixed_workspace: 32 << 20,
        workspace_for_output: true,
    },
    Engine {
        index: 2,
        numerical_notes: &[TENSOR_CORE],
        behavior_notes: &[],
        knobs: &[Knob { kind: TILE_SIZE, value: 0, maximum: 15 }],
        precision: Precision::TensorFloat,
        fixed_workspace: 1 << 20,
        workspace_for_output: false,
    },
    Engine {
        index: 0,
        numerical_notes: &[UNKNOWN_NOTE],
        behavior_notes: &[],
        knobs: &[Knob { kind: KERNEL_CONFIGURATION, value: 5, maximum: 9 }],
        precision: Precision::Float,
        fixed_workspace: 0,
        workspace_for_output: false,
    },
];

impl Engine {
    pub fn of_index(index: i64) -> Option<&'static Self> {
        ENGINES.iter().find(|engine| engine.index == index)
    }

    /// Those that heuristics of `mode` give; what has no mode is asked like mode A.
    pub fn of_mode(mode: i64) -> &'static [Self] {
        const FALLBACK: i64 = 2;
        if mode == FALLBACK { &ENGINES[ENGINES.len() - 1..] } else { &ENGINES }
    }

    /// In bytes.
    pub fn workspace(&self, convolution: &Convolution) -> i64 {
        let output = convolution.output.span().unwrap_or(0) * size_of::<f32>();
        self.fixed_workspace + if self.workspace_for_output { output as i64 } else { 0 }
    }
}
