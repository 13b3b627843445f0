//! What a descriptor must hold to be finalised, and what it then offers.

use std::sync::Arc;

use crate::attributes::{
    BAD_PARAM, Kind, NOT_FINALIZED, NOT_INITIALIZED, NOT_SUPPORTED, NULL_POINTER, name,
};
use crate::convolution::{Convolution, Layout};
use crate::engines::Engine;
use crate::graph::{Descriptor, Value};
use crate::state::State;

impl State {
    pub fn finalize_descriptor(&mut self, pointer: u64) -> Result<(), i32> {
        let descriptor = self.descriptor(pointer)?;
        if descriptor.finalized {
            return Err(BAD_PARAM);
        }
        let mut descriptor = descriptor.clone();
        match descriptor.kind {
            Kind::Tensor => tensor(&descriptor)?,
            Kind::Convolution => convolution(&descriptor)?,
            Kind::Operation => operation(&descriptor)?,
            Kind::Graph => {
                graph(&descriptor)?;
                self.graph.graphs += 1;
                descriptor.graph_number = self.graph.graphs;
            }
            Kind::EngineHeuristics => self.heuristics(&mut descriptor)?,
            Kind::Engine => engine(&descriptor)?,
            Kind::EngineConfig => self.config(&mut descriptor)?,
            Kind::Plan => self.plan(&mut descriptor)?,
            Kind::VariantPack => variant_pack(&descriptor)?,
            Kind::DeviceProperties => self.device_properties(&descriptor)?,
            Kind::KnobChoice => {}
            Kind::KnobInfo => return Err(BAD_PARAM),
        }
        descriptor.finalized = true;
        *self.descriptor(pointer)? = descriptor;
        Ok(())
    }

    fn heuristics(&self, heuristics: &mut Descriptor) -> Result<(), i32> {
        let graph = heuristics.descriptor(name::HEURISTICS_GRAPH).ok_or(BAD_PARAM)?.clone();
        if !graph.finalized {
            return Err(NOT_FINALIZED);
        }
        if heuristics.integer(name::HEURISTICS_SM_COUNT).is_some_and(|count| count < 0) {
            return Err(BAD_PARAM);
        }
        let convolution = convolution_of(&graph)?;
        let mode = heuristics.integer(name::HEURISTICS_MODE).unwrap_or(0);
        let properties = heuristics.attributes.get(&name::HEURISTICS_DEVICEPROP);
        let results = Engine::of_mode(mode).iter().map(|engine| {
            let graph = Value::Descriptors(vec![graph.clone()]);
            let mut descriptor = Descriptor::finished(
                Kind::Engine,
                [(name::ENGINE_GRAPH, graph), (name::ENGINE_INDEX, one(engine.index))],
            );
            if let Some(properties) = properties {
                descriptor.attributes.insert(name::ENGINE_DEVICEPROP, properties.clone());
            }
            let knobs = engine.knobs.iter().map(|knob| {
                Arc::new(Descriptor::finished(
                    Kind::KnobChoice,
                    [
                        (name::KNOB_CHOICE_TYPE, one(knob.kind)),
                        (name::KNOB_CHOICE_VALUE, one(knob.value)),
                    ],
                ))
            });
            Arc::new(Descriptor::finished(
                Kind::EngineConfig,
                [
                    (name::CONFIG_ENGINE, Value::Descriptors(vec![Arc::new(descriptor)])),
                    (name::CONFIG_KNOB_CHOICES, Value::Descriptors(knobs.collect())),
                    (name::CONFIG_WORKSPACE, one(self.workspace(engine, &convolution))),
                ],
            ))
        });
        let results = Value::Descriptors(results.collect());
        heuristics.attributes.insert(name::HEURISTICS_RESULTS, results);
        Ok(())
    }

    fn config(&self, config: &mut Descriptor) -> Result<(), i32> {
        let held = config.descriptor(name::CONFIG_ENGINE).filter(|engine| engine.finalized);
        let held = held.ok_or(BAD_PARAM)?;
        let graph = held.descriptor(name::ENGINE_GRAPH).ok_or(BAD_PARAM)?;
        let has_device = held.descriptor(name::ENGINE_DEVICEPROP).is_some()
            || graph.integer(name::GRAPH_HANDLE).is_some();
        let index = held.integer(name::ENGINE_INDEX).ok_or(BAD_PARAM)?;
        let engine = Engine::of_index(index).filter(|_| has_device).ok_or(NOT_SUPPORTED)?;
        for choice in config.descriptors(name::CONFIG_KNOB_CHOICES) {
            let kind = choice.integer(name::KNOB_CHOICE_TYPE).unwrap_or(0);
            let value = choice.integer(name::KNOB_CHOICE_VALUE).unwrap_or(0);
            let knob = engine.knobs.iter().find(|knob| knob.kind == kind);
            if !knob.is_some_and(|knob| (0..=knob.maximum).contains(&value)) {
                return Err(NOT_SUPPORTED);
            }
        }
        let workspace = self.workspace(engine, &convolution_of(graph)?);
        config.attributes.insert(name::CONFIG_WORKSPACE, one(workspace));
        Ok(())
    }

    fn plan(&mut self, plan: &mut Descriptor) -> Result<(), i32> {
        let config = plan.descriptor(name::PLAN_CONFIG).ok_or(BAD_PARAM)?;
        if !config.finalized {
            return Err(NOT_FINALIZED);
        }
        let graph = config
            .descriptor(name::CONFIG_ENGINE)
            .and_then(|engine| engine.descriptor(name::ENGINE_GRAPH))
            .ok_or(BAD_PARAM)?;
        let refused = self.graph.refused_plans.entry(graph.graph_number).or_default();
        if *refused < self.faults.refuse_plans {
            *refused += 1;
            return Err(NOT_SUPPORTED);
        }
        let workspace = config.integer(name::CONFIG_WORKSPACE).unwrap_or(0);
        plan.attributes.insert(name::PLAN_WORKSPACE, one(workspace));
        Ok(())
    }

    /// Looks at JSON no closer than to tell it from what is none.
    fn device_properties(&self, properties: &Descriptor) -> Result<(), i32> {
        let Some(text) = properties.integers(name::DEVICEPROP_JSON) else {
            let by_number = properties.integer(name::DEVICEPROP_ID) == Some(0);
            let known = by_number && self.has_context().is_ok();
            let by_handle = properties.integer(name::DEVICEPROP_HANDLE).is_some();
            return if known || by_handle { Ok(()) } else { Err(NOT_INITIALIZED) };
        };
        let text: Vec<u8> = text.iter().map(|byte| *byte as u8).filter(|byte| *byte != 0).collect();
        let text = String::from_utf8(text).map_err(|_| BAD_PARAM)?;
        let text = text.trim();
        require(text.starts_with('{') && text.ends_with('}') && text.contains("\"deviceVer\""))
    }

    fn workspace(&self, engine: &Engine, convolution: &Convolution) -> i64 {
        self.faults.workspace.unwrap_or_else(|| engine.workspace(convolution))
    }
}

fn one(value: i64) -> Value {
    Value::Integers(vec![value])
}

fn require(condition: bool) -> Result<(), i32> {
    condition.then_some(()).ok_or(BAD_PARAM)
}

fn tensor(tensor: &Descriptor) -> Result<(), i32> {
    let sizes = tensor.integers(name::TENSOR_DIMENSIONS).ok_or(BAD_PARAM)?;
    let strides = tensor.integers(name::TENSOR_STRIDES).ok_or(BAD_PARAM)?;
    require(sizes.len() == strides.len())?;
    require(sizes.iter().chain(strides).all(|value| *value >= 0))?;
    let alignment = tensor.integer(name::TENSOR_ALIGNMENT).ok_or(BAD_PARAM)?;
    require(alignment > 0 && alignment % size_of_type(tensor) == 0)
}

/// Bytes of an element. Only those of floats matter: nothing else is computed with.
fn size_of_type(tensor: &Descriptor) -> i64 {
    match tensor.integer(name::TENSOR_DATA_TYPE).unwrap_or(0) {
        0 | 4 => 4,
        1 | 10 => 8,
        2 | 9 => 2,
        _ => 1,
    }
}

fn convolution(convolution: &Descriptor) -> Result<(), i32> {
    let axes = convolution.integer(name::CONVOLUTION_SPATIAL_DIMS).ok_or(BAD_PARAM)?;
    require(axes >= 1)?;
    for (name, at_least, needed) in [
        (name::CONVOLUTION_STRIDES, 1, true),
        (name::CONVOLUTION_DILATIONS, 1, true),
        (name::CONVOLUTION_PRE_PADDINGS, 0, false),
        (name::CONVOLUTION_POST_PADDINGS, 0, false),
    ] {
        match convolution.integers(name) {
            None => require(!needed)?,
            Some(values) => {
                require(values.len() as i64 == axes && values.iter().all(|v| *v >= at_least))?;
            }
        }
    }
    Ok(())
}

fn operation(operation: &Descriptor) -> Result<(), i32> {
    let part = |name| operation.descriptor(name).filter(|part| part.finalized).ok_or(BAD_PARAM);
    let sizes = |tensor: &Arc<Descriptor>| {
        tensor.integers(name::TENSOR_DIMENSIONS).unwrap_or_default().to_vec()
    };
    let convolution = part(name::OPERATION_CONVOLUTION)?;
    let tensors = [part(name::OPERATION_X)?, part(name::OPERATION_W)?, part(name::OPERATION_Y)?];
    let [input, weights, output] = tensors.map(sizes);
    let axes = convolution.integer(name::CONVOLUTION_SPATIAL_DIMS).unwrap_or(0) as usize;
    require([&input, &weights, &output].iter().all(|sizes| sizes.len() == axes + 2))?;
    require(input[0] == output[0] && weights[0] == output[1])?;
    // fewer input channels in the weights than in the input: a grouped convolution
    require(weights[1] > 0 && input[1] % weights[1] == 0 && input[1] > 0)?;
    require(weights[0] % (input[1] / weights[1]) == 0)?;
    let values = |name, default: i64| {
        convolution.integers(name).map_or_else(|| vec![default; axes], <[i64]>::to_vec)
    };
    let before = values(name::CONVOLUTION_PRE_PADDINGS, 0);
    let after = values(name::CONVOLUTION_POST_PADDINGS, 0);
    let strides = values(name::CONVOLUTION_STRIDES, 1);
    let dilations = values(name::CONVOLUTION_DILATIONS, 1);
    for axis in 0..axes {
        let size = i128::from(input[axis + 2]) + i128::from(before[axis]) + i128::from(after[axis]);
        let reach = i128::from(weights[axis + 2] - 1) * i128::from(dilations[axis]) + 1;
        require(size >= reach)?;
        let expected = (size - reach) / i128::from(strides[axis]) + 1;
        require(i128::from(output[axis + 2]) == expected)?;
    }
    require(!tensors.into_iter().any(|tensor| overlaps_itself(tensor)))
}

/// Two elements of the tensor share a place.
fn overlaps_itself(tensor: &Descriptor) -> bool {
    let sizes = tensor.integers(name::TENSOR_DIMENSIONS).unwrap_or_default();
    let strides = tensor.integers(name::TENSOR_STRIDES).unwrap_or_default();
    let mut axes: Vec<_> =
        strides.iter().zip(sizes).map(|(stride, size)| (i128::from(*stride), *size)).collect();
    axes.retain(|(_, size)| *size > 1);
    axes.sort_unstable();
    let mut reach = 0;
    axes.iter().any(|(stride, size)| {
        let overlaps = *stride <= reach;
        reach += stride * i128::from(size - 1);
        overlaps
    })
}

fn graph(graph: &Descriptor) -> Result<(), i32> {
    match graph.descriptors(name::GRAPH_OPERATIONS) {
        [] => Err(BAD_PARAM),
        [_] => Ok(()),
        // cuDNN fuses operations, but not one with itself
        _ => Err(BAD_PARAM),
    }
}

fn engine(engine: &Descriptor) -> Result<(), i32> {
    let graph = engine.descriptor(name::ENGINE_GRAPH).ok_or(NULL_POINTER)?;
    if !graph.finalized {
        return Err(NOT_FINALIZED);
    }
    let index = engine.integer(name::ENGINE_INDEX).ok_or(NOT_SUPPORTED)?;
    Engine::of_index(index).map(drop).ok_or(NOT_SUPPORTED)
}

fn variant_pack(pack: &Descriptor) -> Result<(), i32> {
    let len = |name| pack.integers(name).map_or(0, <[i64]>::len);
    require(len(name::PACK_UNIQUE_IDS) == len(name::PACK_POINTERS))
}

/// What the one operation of a graph computes; not supported are all but unscaled 2-D
/// convolutions of floats in memory.
pub fn convolution_of(graph: &Descriptor) -> Result<Convolution, i32> {
    let operation = graph.descriptor(name::GRAPH_OPERATIONS).ok_or(BAD_PARAM)?;
    let scale = |name| operation.real(name);
    let unscaled = scale(name::OPERATION_ALPHA).unwrap_or(1.0) == 1.0
        && scale(name::OPERATION_BETA).unwrap_or(0.0) == 0.0;
    let convolution = operation.descriptor(name::OPERATION_CONVOLUTION).ok_or(BAD_PARAM)?;
    let layout = |name| {
        let tensor = operation.descriptor(name).ok_or(BAD_PARAM)?;
        let flag = |name| tensor.integer(name).unwrap_or(0) != 0;
        let plain = tensor.integer(name::TENSOR_DATA_TYPE).unwrap_or(0) == 0
            && !flag(name::TENSOR_IS_VIRTUAL)
            && !flag(name::TENSOR_IS_BY_VALUE)
            && !flag(name::TENSOR_REORDERING);
        let numbers = |name| four(tensor.integers(name)).filter(|_| plain).ok_or(NOT_SUPPORTED);
        let layout = Layout {
            sizes: numbers(name::TENSOR_DIMENSIONS)?,
            strides: numbers(name::TENSOR_STRIDES)?,
        };
        layout.span().map(|_| layout).ok_or(NOT_SUPPORTED)
    };
    let pair = |name, default: usize| match convolution.integers(name) {
        None => Ok([default; 2]),
        Some([rows, columns]) => Ok([*rows as usize, *columns as usize]),
        Some(_) => Err(NOT_SUPPORTED),
    };
    let computes_floats = convolution.integer(name::CONVOLUTION_COMP_TYPE).unwrap_or(0) == 0;
    if !unscaled || !computes_floats {
        return Err(NOT_SUPPORTED);
    }
    Ok(Convolution {
        input: layout(name::OPERATION_X)?,
        weights: layout(name::OPERATION_W)?,
        output: layout(name::OPERATION_Y)?,
        padding_before: pair(name::CONVOLUTION_PRE_PADDINGS, 0)?,
        strides: pair(name::CONVOLUTION_STRIDES, 1)?,
        dilations: pair(name::CONVOLUTION_DILATIONS, 1)?,
        mirrored: convolution.integer(name::CONVOLUTION_MODE).unwrap_or(0) == 0,
        precision: crate::convolution::Precision::Float,
        lacks_last_tap: false,
    })
}

fn four(values: Option<&[i64]>) -> Option<[usize; 4]> {
    let values: [i64; 4] = values?.try_into().ok()?;
    Some(values.map(|value| value as usize))
}
