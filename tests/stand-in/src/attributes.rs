//! Which attributes a descriptor has, and how cuDNN refuses what is no such attribute.

/// The `cudnnBackendDescriptorType_t` that one forward convolution needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Convolution = 1,
    Engine = 2,
    EngineConfig = 3,
    EngineHeuristics = 4,
    Plan = 5,
    KnobChoice = 7,
    KnobInfo = 8,
    Operation = 10,
    Graph = 15,
    VariantPack = 16,
    Tensor = 17,
    DeviceProperties = 38,
}

impl Kind {
    pub fn of_number(number: i32) -> Option<Self> {
        use Kind::*;
        [
            Convolution,
            Engine,
            EngineConfig,
            EngineHeuristics,
            Plan,
            KnobChoice,
            KnobInfo,
            Operation,
            Graph,
            VariantPack,
            Tensor,
            DeviceProperties,
        ]
        .into_iter()
        .find(|kind| *kind as i32 == number)
    }
}

/// `cudnnBackendAttributeName_t`
pub mod name {
    pub const CONVOLUTION_COMP_TYPE: i32 = 100;
    /// Set as a convolution mode, but asked for as a data type.
    pub const CONVOLUTION_MODE: i32 = 101;
    pub const CONVOLUTION_DILATIONS: i32 = 102;
    pub const CONVOLUTION_STRIDES: i32 = 103;
    pub const CONVOLUTION_POST_PADDINGS: i32 = 104;
    pub const CONVOLUTION_PRE_PADDINGS: i32 = 105;
    pub const CONVOLUTION_SPATIAL_DIMS: i32 = 106;
    pub const HEURISTICS_MODE: i32 = 200;
    pub const HEURISTICS_GRAPH: i32 = 201;
    pub const HEURISTICS_RESULTS: i32 = 202;
    pub const HEURISTICS_SM_COUNT: i32 = 203;
    pub const HEURISTICS_DEVICEPROP: i32 = 204;
    pub const CONFIG_ENGINE: i32 = 300;
    pub const CONFIG_INTERMEDIATES: i32 = 301;
    pub const CONFIG_KNOB_CHOICES: i32 = 302;
    pub const CONFIG_WORKSPACE: i32 = 303;
    pub const PLAN_HANDLE: i32 = 400;
    pub const PLAN_CONFIG: i32 = 401;
    pub const PLAN_WORKSPACE: i32 = 402;
    pub const PLAN_COMPUTED_INTERMEDIATES: i32 = 403;
    pub const PLAN_JSON: i32 = 405;
    pub const PLAN_DEVICEPROP: i32 = 407;
    pub const KNOB_CHOICE_TYPE: i32 = 600;
    pub const KNOB_CHOICE_VALUE: i32 = 601;
    pub const OPERATION_ALPHA: i32 = 700;
    pub const OPERATION_BETA: i32 = 701;
    pub const OPERATION_CONVOLUTION: i32 = 702;
    pub const OPERATION_W: i32 = 703;
    pub const OPERATION_X: i32 = 704;
    pub const OPERATION_Y: i32 = 705;
    pub const GRAPH_HANDLE: i32 = 800;
    pub const GRAPH_OPERATIONS: i32 = 801;
    pub const GRAPH_ENGINE_COUNT: i32 = 802;
    pub const GRAPH_IS_DYNAMIC: i32 = 803;
    pub const TENSOR_ALIGNMENT: i32 = 900;
    pub const TENSOR_DATA_TYPE: i32 = 901;
    pub const TENSOR_DIMENSIONS: i32 = 902;
    pub const TENSOR_STRIDES: i32 = 903;
    pub const TENSOR_VECTOR_COUNT: i32 = 904;
    pub const TENSOR_VECTORIZED_DIMENSION: i32 = 905;
    pub const TENSOR_UNIQUE_ID: i32 = 906;
    pub const TENSOR_IS_VIRTUAL: i32 = 907;
    pub const TENSOR_IS_BY_VALUE: i32 = 908;
    pub const TENSOR_REORDERING: i32 = 909;
    pub const PACK_UNIQUE_IDS: i32 = 1000;
    pub const PACK_POINTERS: i32 = 1001;
    pub const PACK_INTERMEDIATES: i32 = 1002;
    pub const PACK_WORKSPACE: i32 = 1003;
    pub const KNOB_INFO_TYPE: i32 = 1200;
    pub const KNOB_INFO_MAXIMUM: i32 = 1201;
    pub const KNOB_INFO_MINIMUM: i32 = 1202;
    pub const KNOB_INFO_STRIDE: i32 = 1203;
    pub const ENGINE_GRAPH: i32 = 1300;
    pub const ENGINE_INDEX: i32 = 1301;
    pub const ENGINE_KNOB_INFO: i32 = 1302;
    pub const ENGINE_NUMERICAL_NOTE: i32 = 1303;
    pub const ENGINE_BEHAVIOR_NOTE: i32 = 1305;
    pub const ENGINE_SM_COUNT: i32 = 1306;
    pub const ENGINE_DEVICEPROP: i32 = 1307;
    pub const DEVICEPROP_ID: i32 = 2700;
    pub const DEVICEPROP_HANDLE: i32 = 2701;
    pub const DEVICEPROP_JSON: i32 = 2702;
}

/// `cudnnBackendAttributeType_t`
pub mod type_ {
    pub const HANDLE: i32 = 0;
    pub const DATA_TYPE: i32 = 1;
    pub const BOOLEAN: i32 = 2;
    pub const INT64: i32 = 3;
    pub const FLOAT: i32 = 4;
    pub const DOUBLE: i32 = 5;
    pub const POINTER: i32 = 6;
    pub const CONVOLUTION_MODE: i32 = 7;
    pub const HEURISTICS_MODE: i32 = 8;
    pub const KNOB_TYPE: i32 = 9;
    pub const NUMERICAL_NOTE: i32 = 11;
    pub const DESCRIPTOR: i32 = 15;
    pub const BEHAVIOR_NOTE: i32 = 19;
    pub const REORDERING: i32 = 20;
    pub const INT32: i32 = 23;
    pub const CHAR: i32 = 24;
}

pub const BAD_PARAM: i32 = 2000;
pub const NULL_POINTER: i32 = 2002;
pub const NOT_FINALIZED: i32 = 2004;
pub const ATTRIBUTE_TYPE: i32 = 2010;
pub const NOT_INITIALIZED: i32 = 1001;
pub const NOT_SUPPORTED: i32 = 3000;

/// How many elements an attribute takes.
#[derive(Clone, Copy, PartialEq)]
pub enum Count {
    One,
    /// One; others are not supported instead of bad.
    Single,
    /// One or more.
    Some,
    /// None, too.
    Any,
}

/// What may be set. All else is refused with `BAD_PARAM`, unless [`never_set`] knows better.
#[derive(Clone, Copy)]
pub struct Settable {
    kind: Kind,
    name: i32,
    pub type_: i32,
    pub count: Count,
    /// The status for another type.
    pub wrong_type: i32,
    /// The kind of descriptor that is expected.
    pub holds: Option<Kind>,
}

const fn settable(kind: Kind, name: i32, type_: i32, count: Count) -> Settable {
    Settable { kind, name, type_, count, wrong_type: ATTRIBUTE_TYPE, holds: None }
}

const fn descriptor(kind: Kind, name: i32, holds: Kind, count: Count, wrong: i32) -> Settable {
    Settable { kind, name, type_: type_::DESCRIPTOR, count, wrong_type: wrong, holds: Some(holds) }
}

const fn refusing(mut settable: Settable, wrong_type: i32) -> Settable {
    settable.wrong_type = wrong_type;
    settable
}

use Count::{Any, One, Single, Some as Many};
use Kind::*;

const SETTABLE: [Settable; 48] = [
    settable(Tensor, name::TENSOR_ALIGNMENT, type_::INT64, One),
    settable(Tensor, name::TENSOR_DATA_TYPE, type_::DATA_TYPE, One),
    settable(Tensor, name::TENSOR_DIMENSIONS, type_::INT64, Many),
    settable(Tensor, name::TENSOR_STRIDES, type_::INT64, Many),
    settable(Tensor, name::TENSOR_VECTOR_COUNT, type_::INT64, One),
    settable(Tensor, name::TENSOR_VECTORIZED_DIMENSION, type_::INT64, One),
    settable(Tensor, name::TENSOR_UNIQUE_ID, type_::INT64, One),
    settable(Tensor, name::TENSOR_IS_VIRTUAL, type_::BOOLEAN, One),
    settable(Tensor, name::TENSOR_IS_BY_VALUE, type_::BOOLEAN, One),
    settable(Tensor, name::TENSOR_REORDERING, type_::REORDERING, One),
    settable(Convolution, name::CONVOLUTION_COMP_TYPE, type_::DATA_TYPE, One),
    settable(Convolution, name::CONVOLUTION_MODE, type_::CONVOLUTION_MODE, One),
    refusing(settable(Convolution, name::CONVOLUTION_SPATIAL_DIMS, type_::INT64, One), BAD_PARAM),
    settable(Convolution, name::CONVOLUTION_DILATIONS, type_::INT64, Many),
    settable(Convolution, name::CONVOLUTION_STRIDES, type_::INT64, Many),
    settable(Convolution, name::CONVOLUTION_PRE_PADDINGS, type_::INT64, Many),
    settable(Convolution, name::CONVOLUTION_POST_PADDINGS, type_::INT64, Many),
    refusing(settable(Operation, name::OPERATION_ALPHA, type_::FLOAT, One), BAD_PARAM),
    refusing(settable(Operation, name::OPERATION_ALPHA, type_::DOUBLE, One), BAD_PARAM),
    refusing(settable(Operation, name::OPERATION_BETA, type_::FLOAT, One), BAD_PARAM),
    refusing(settable(Operation, name::OPERATION_BETA, type_::DOUBLE, One), BAD_PARAM),
    descriptor(Operation, name::OPERATION_CONVOLUTION, Convolution, Many, BAD_PARAM),
    descriptor(Operation, name::OPERATION_W, Tensor, Many, BAD_PARAM),
    descriptor(Operation, name::OPERATION_X, Tensor, Many, BAD_PARAM),
    descriptor(Operation, name::OPERATION_Y, Tensor, Many, BAD_PARAM),
    refusing(settable(Graph, name::GRAPH_HANDLE, type_::HANDLE, One), NOT_INITIALIZED),
    descriptor(Graph, name::GRAPH_OPERATIONS, Operation, Any, ATTRIBUTE_TYPE),
    settable(Graph, name::GRAPH_IS_DYNAMIC, type_::BOOLEAN, One),
    descriptor(EngineHeuristics, name::HEURISTICS_GRAPH, Graph, One, ATTRIBUTE_TYPE),
    settable(EngineHeuristics, name::HEURISTICS_MODE, type_::HEURISTICS_MODE, One),
    settable(EngineHeuristics, name::HEURISTICS_SM_COUNT, type_::INT32, One),
    descriptor(
        EngineHeuristics,
        name::HEURISTICS_DEVICEPROP,
        DeviceProperties,
        One,
        ATTRIBUTE_TYPE,
    ),
    descriptor(Engine, name::ENGINE_GRAPH, Graph, Single, ATTRIBUTE_TYPE),
    refusing(settable(Engine, name::ENGINE_INDEX, type_::INT64, One), BAD_PARAM),
    descriptor(Engine, name::ENGINE_DEVICEPROP, DeviceProperties, One, ATTRIBUTE_TYPE),
    descriptor(EngineConfig, name::CONFIG_ENGINE, Engine, Single, ATTRIBUTE_TYPE),
    descriptor(EngineConfig, name::CONFIG_KNOB_CHOICES, KnobChoice, Any, BAD_PARAM),
    settable(KnobChoice, name::KNOB_CHOICE_TYPE, type_::KNOB_TYPE, One),
    settable(KnobChoice, name::KNOB_CHOICE_VALUE, type_::INT64, One),
    refusing(settable(Plan, name::PLAN_HANDLE, type_::HANDLE, One), NOT_INITIALIZED),
    descriptor(Plan, name::PLAN_CONFIG, EngineConfig, Single, ATTRIBUTE_TYPE),
    descriptor(Plan, name::PLAN_DEVICEPROP, DeviceProperties, Single, ATTRIBUTE_TYPE),
    refusing(settable(VariantPack, name::PACK_UNIQUE_IDS, type_::INT64, Many), NOT_SUPPORTED),
    refusing(settable(VariantPack, name::PACK_POINTERS, type_::POINTER, Many), NOT_SUPPORTED),
    refusing(settable(VariantPack, name::PACK_WORKSPACE, type_::POINTER, One), NOT_SUPPORTED),
    settable(DeviceProperties, name::DEVICEPROP_ID, type_::INT32, One),
    settable(DeviceProperties, name::DEVICEPROP_HANDLE, type_::HANDLE, One),
    settable(DeviceProperties, name::DEVICEPROP_JSON, type_::CHAR, Any),
];

/// How the attribute `name` of a `kind` is set with elements of a type, or the status of refusal.
pub fn settable_as(kind: Kind, name: i32, type_: i32) -> Result<Settable, i32> {
    let mut rows = SETTABLE.iter().filter(|row| row.kind == kind && row.name == name);
    let Some(first) = rows.next() else { return Err(never_set(kind, name)) };
    let all = std::iter::once(first).chain(rows);
    all.into_iter().find(|row| row.type_ == type_).copied().ok_or(first.wrong_type)
}

fn never_set(kind: Kind, name: i32) -> i32 {
    match (kind, name) {
        (Engine, name::ENGINE_NUMERICAL_NOTE | name::ENGINE_KNOB_INFO)
        | (Engine, name::ENGINE_BEHAVIOR_NOTE)
        | (KnobInfo, name::KNOB_INFO_TYPE..=name::KNOB_INFO_STRIDE)
        | (EngineConfig, name::CONFIG_WORKSPACE)
        | (Plan, name::PLAN_WORKSPACE)
        | (VariantPack, name::PACK_INTERMEDIATES) => NOT_SUPPORTED,
        _ => BAD_PARAM,
    }
}

/// Bytes of one element.
pub fn element_size(type_: i32) -> usize {
    match type_ {
        type_::BOOLEAN | type_::CHAR => 1,
        type_::HANDLE | type_::INT64 | type_::DOUBLE | type_::POINTER | type_::DESCRIPTOR => 8,
        _ => 4,
    }
}
