//! Backend descriptors: created, given attributes, finalised, asked, destroyed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::attributes::{
    ATTRIBUTE_TYPE, BAD_PARAM, Count, Kind, NOT_FINALIZED, NOT_INITIALIZED, NOT_SUPPORTED,
    NULL_POINTER, element_size, name, settable_as, type_,
};
use crate::convolution::Layout;
use crate::engines::{Engine, GLOBAL_COUNT, OVERCOUNT};
use crate::ffi::{In, Out};
use crate::state::State;

/// More than any client has: a count beyond is garbage, and not to be followed into memory.
const MOST_ELEMENTS: i64 = 1 << 20;

/// What an attribute holds.
#[derive(Clone)]
pub enum Value {
    /// Integers of any width, enumerators, truth values, pointers.
    Integers(Vec<i64>),
    Reals(Vec<f64>),
    /// Copies made when the attribute was set, as cuDNN makes them: what happens to the
    /// descriptors afterwards does not matter, not even that they are finalised.
    Descriptors(Vec<Arc<Descriptor>>),
}

/// A descriptor of any kind.
#[derive(Clone)]
pub struct Descriptor {
    pub kind: Kind,
    pub finalized: bool,
    pub attributes: BTreeMap<i32, Value>,
    /// Tells operation graphs apart, copies not from their originals; 0 before it is finalised.
    pub graph_number: u64,
}

impl Descriptor {
    pub fn new(kind: Kind) -> Self {
        Self { kind, finalized: false, attributes: BTreeMap::new(), graph_number: 0 }
    }

    /// One that the library hands out.
    pub fn finished<const N: usize>(kind: Kind, attributes: [(i32, Value); N]) -> Self {
        Self { finalized: true, attributes: attributes.into(), ..Self::new(kind) }
    }

    pub fn integers(&self, name: i32) -> Option<&[i64]> {
        match self.attributes.get(&name) {
            Some(Value::Integers(values)) => Some(values),
            _ => None,
        }
    }

    pub fn integer(&self, name: i32) -> Option<i64> {
        self.integers(name)?.first().copied()
    }

    pub fn real(&self, name: i32) -> Option<f64> {
        match self.attributes.get(&name) {
            Some(Value::Reals(values)) => values.first().copied(),
            _ => None,
        }
    }

    pub fn descriptors(&self, name: i32) -> &[Arc<Self>] {
        match self.attributes.get(&name) {
            Some(Value::Descriptors(values)) => values,
            _ => &[],
        }
    }

    pub fn descriptor(&self, name: i32) -> Option<&Arc<Self>> {
        self.descriptors(name).first()
    }
}

/// All live descriptors.
#[derive(Default)]
pub struct Store {
    pub descriptors: BTreeMap<u64, Descriptor>,
    pub handles: BTreeMap<u64, u64>,
    /// Tensor descriptors of the older interface; `None` before they are set.
    pub layouts: BTreeMap<u64, Option<Layout>>,
    /// How many graphs have been finalised.
    pub graphs: u64,
    /// How many plans of each graph have been refused, by its number.
    pub refused_plans: BTreeMap<u64, u64>,
    pub last_error: String,
}

impl State {
    pub fn create_descriptor(&mut self, number: i32) -> Result<u64, i32> {
        const KINDS: i32 = 51;
        // cuDNN knows these, but they are not for one convolution
        let others = if (0..KINDS).contains(&number) { NOT_SUPPORTED } else { 4003 };
        let kind = Kind::of_number(number).ok_or(others)?;
        let new = self.opaque();
        self.graph.descriptors.insert(new, Descriptor::new(kind));
        Ok(new)
    }

    pub fn destroy_descriptor(&mut self, pointer: u64) -> Result<(), i32> {
        match self.graph.descriptors.remove(&pointer) {
            Some(_) => Ok(()),
            None if pointer == 0 => Err(NULL_POINTER),
            None => Err(self.not_released(pointer, BAD_PARAM)),
        }
    }

    pub fn descriptor(&mut self, pointer: u64) -> Result<&mut Descriptor, i32> {
        if pointer == 0 {
            return Err(NULL_POINTER);
        }
        if !self.graph.descriptors.contains_key(&pointer) {
            return Err(self.not_live(pointer, BAD_PARAM));
        }
        self.graph.descriptors.get_mut(&pointer).ok_or(BAD_PARAM)
    }

    pub fn set_attribute(
        &mut self,
        pointer: u64,
        name: i32,
        type_: i32,
        count: i64,
        elements: &In<u8>,
    ) -> Result<(), i32> {
        let descriptor = self.descriptor(pointer)?;
        if descriptor.finalized {
            return Err(BAD_PARAM);
        }
        let settable = settable_as(descriptor.kind, name, type_)?;
        let fits = match settable.count {
            Count::One => count == 1,
            Count::Single if count > 1 => return Err(NOT_SUPPORTED),
            Count::Single => count == 1,
            Count::Some => (1..=MOST_ELEMENTS).contains(&count),
            Count::Any => (0..=MOST_ELEMENTS).contains(&count),
        };
        if !fits {
            return Err(BAD_PARAM);
        }
        let bytes = elements.read(count as usize * element_size(type_)).ok_or(BAD_PARAM)?;
        let value = match type_ {
            type_::DESCRIPTOR => self.snapshots(pointer, name, settable.holds, &bytes)?,
            type_::HANDLE => self.handle_value(name, &bytes)?,
            _ => Some(decode(type_, &bytes)),
        };
        let Some(value) = value else { return Ok(()) };
        self.descriptor(pointer)?.attributes.insert(name, value);
        Ok(())
    }

    /// Copies of the descriptors to be put into `name` of `holder`; `None` if nothing is put there.
    fn snapshots(
        &mut self,
        holder: u64,
        name: i32,
        holds: Option<Kind>,
        bytes: &[u8],
    ) -> Result<Option<Value>, i32> {
        let mut values = Vec::new();
        if name == name::GRAPH_OPERATIONS {
            values.extend_from_slice(self.descriptor(holder)?.descriptors(name));
        }
        for pointer in integers(8, bytes) {
            match (pointer, holds) {
                // an operation takes a null without a word, but cannot be finalised with it
                (0, Some(Kind::Tensor | Kind::Convolution)) => return Ok(None),
                (0, Some(Kind::Operation)) => return Err(NULL_POINTER),
                (0, _) => return Err(BAD_PARAM),
                _ => {}
            }
            let held = self.descriptor(pointer as u64)?;
            if Some(held.kind) != holds {
                return Err(BAD_PARAM);
            }
            match held.kind {
                Kind::Operation if !held.finalized => return Err(NOT_FINALIZED),
                Kind::KnobChoice if !held.finalized => return Err(NOT_INITIALIZED),
                _ => values.push(Arc::new(held.clone())),
            }
        }
        let knob_types: Vec<_> =
            values.iter().filter_map(|value| value.integer(name::KNOB_CHOICE_TYPE)).collect();
        if (1..knob_types.len()).any(|i| knob_types[..i].contains(&knob_types[i])) {
            return Err(BAD_PARAM);
        }
        Ok(Some(Value::Descriptors(values)))
    }

    fn handle_value(&mut self, name: i32, bytes: &[u8]) -> Result<Option<Value>, i32> {
        match integers(8, bytes)[..] {
            // a plan can do without: its graph knows the handle, or the device's properties
            [0] if name == name::PLAN_HANDLE => Ok(None),
            [0] => Err(NULL_POINTER),
            [handle] if self.graph.handles.contains_key(&(handle as u64)) => {
                Ok(Some(Value::Integers(vec![handle])))
            }
            [handle] => Err(self.not_live(handle as u64, BAD_PARAM)),
            _ => Err(BAD_PARAM),
        }
    }

    pub fn get_attribute(
        &mut self,
        pointer: u64,
        name: i32,
        type_: i32,
        requested: i64,
        [count, elements]: [Out<u8>; 2],
    ) -> Result<(), i32> {
        let (count, has_elements) = (count.cast::<i64>(), !elements.is_null());
        let descriptor = self.descriptor(pointer).map_err(|_| BAD_PARAM)?;
        if count.is_null() && !has_elements {
            return Err(BAD_PARAM);
        }
        if !descriptor.finalized {
            return Err(NOT_INITIALIZED);
        }
        let answer = answer(descriptor, name)?;
        if type_ != answer.type_ {
            return Err(ATTRIBUTE_TYPE);
        }
        let got = match &answer.value {
            Value::Descriptors(values) => {
                let values = values.clone();
                self.hand_out(&answer, &values, name, requested, &elements)?
            }
            value => give(&answer, value, requested, &elements)?,
        };
        // a null count is fine: cuDNN leaves it alone
        let _ = count.put(got, BAD_PARAM);
        Ok(())
    }

    /// Fills the descriptors that the client has created; returns how many there are.
    fn hand_out(
        &mut self,
        answer: &Answer,
        values: &[Arc<Descriptor>],
        name: i32,
        requested: i64,
        elements: &Out<u8>,
    ) -> Result<i64, i32> {
        let total = answer.total.unwrap_or(values.len() as i64);
        let single = matches!(
            name,
            name::OPERATION_CONVOLUTION
                ..=name::OPERATION_Y
                    | name::CONFIG_ENGINE
                    | name::PLAN_CONFIG
                    | name::ENGINE_GRAPH
                    | name::ENGINE_DEVICEPROP
        );
        if requested < 0 {
            return Err(BAD_PARAM);
        }
        if elements.is_null() {
            // of knob choices, even their number is only told with the choices
            return Ok(if name == name::CONFIG_KNOB_CHOICES { 0 } else { total });
        }
        if single && requested != 1 {
            return Err(NOT_SUPPORTED);
        }
        let wanted = (requested as usize).min(values.len());
        let mut filled = 0;
        for (pointer, value) in elements.cast::<u64>().read(wanted).into_iter().zip(values) {
            let unusable = match self.graph.descriptors.get_mut(&pointer) {
                Some(place) if place.kind == value.kind => {
                    // results of heuristics are only put into descriptors that hold nothing yet
                    let full = place.finalized && name == name::HEURISTICS_RESULTS;
                    if !full {
                        *place = (**value).clone();
                    }
                    full
                }
                _ => true,
            };
            match unusable {
                true if name == name::HEURISTICS_RESULTS => break,
                true => return Err(BAD_PARAM),
                false => filled += 1,
            }
        }
        Ok(filled)
    }
}

/// An attribute as `cudnnBackendGetAttribute` has it.
struct Answer {
    type_: i32,
    value: Value,
    shape: Shape,
    /// How many there are said to be, where that is not how many there are.
    total: Option<i64>,
}

/// How the number of elements that is asked for is taken.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    /// Must be 1.
    Scalar,
    /// At most so many are given.
    List,
    /// … but where none are asked for, all are counted.
    Notes,
    /// Room for fewer than all is insufficient.
    Text,
}

/// The attribute `name` of a finalised descriptor.
fn answer(descriptor: &Descriptor, name: i32) -> Result<Answer, i32> {
    use Shape::{List, Notes, Scalar, Text};
    let engine =
        || descriptor.integer(name::ENGINE_INDEX).and_then(Engine::of_index).ok_or(NOT_SUPPORTED);
    let stored = |type_, shape, default: i64| {
        let value = descriptor.attributes.get(&name).cloned();
        let value = value.unwrap_or(Value::Integers(vec![default]));
        Ok(Answer { type_, value, shape, total: None })
    };
    let given = |type_, shape, values: &[i64]| {
        Ok(Answer { type_, value: Value::Integers(values.to_vec()), shape, total: None })
    };
    let held = |values: Vec<Arc<Descriptor>>, total| {
        let value = Value::Descriptors(values);
        Ok(Answer { type_: type_::DESCRIPTOR, value, shape: List, total: Some(total) })
    };
    match (descriptor.kind, name) {
        (Kind::Tensor, name::TENSOR_ALIGNMENT) => Err(NOT_SUPPORTED),
        (Kind::Tensor, name::TENSOR_DATA_TYPE) => stored(type_::DATA_TYPE, Scalar, 0),
        (Kind::Tensor, name::TENSOR_DIMENSIONS | name::TENSOR_STRIDES) => {
            stored(type_::INT64, List, 0)
        }
        (Kind::Tensor, name::TENSOR_VECTOR_COUNT) => stored(type_::INT64, Scalar, 1),
        (Kind::Tensor, name::TENSOR_VECTORIZED_DIMENSION) => stored(type_::INT64, Scalar, -1),
        (Kind::Tensor, name::TENSOR_UNIQUE_ID) => stored(type_::INT64, Scalar, 0),
        (Kind::Tensor, name::TENSOR_IS_VIRTUAL | name::TENSOR_IS_BY_VALUE) => {
            stored(type_::BOOLEAN, Scalar, 0)
        }
        (Kind::Convolution, name::CONVOLUTION_COMP_TYPE | name::CONVOLUTION_MODE) => {
            stored(type_::DATA_TYPE, Scalar, 0)
        }
        (Kind::Convolution, name::CONVOLUTION_SPATIAL_DIMS) => stored(type_::INT64, Scalar, 0),
        (Kind::Convolution, name::CONVOLUTION_DILATIONS..=name::CONVOLUTION_PRE_PADDINGS) => {
            stored(type_::INT64, List, 0)
        }
        (Kind::Operation, name::OPERATION_ALPHA) => stored(type_::FLOAT, Scalar, 1),
        (Kind::Graph, name::GRAPH_ENGINE_COUNT) => given(type_::INT64, Scalar, &[GLOBAL_COUNT]),
        (Kind::Graph, name::GRAPH_HANDLE | name::GRAPH_OPERATIONS) => Err(NOT_SUPPORTED),
        (Kind::EngineHeuristics, name::HEURISTICS_MODE) => {
            stored(type_::HEURISTICS_MODE, Scalar, 0)
        }
        (Kind::EngineHeuristics, name::HEURISTICS_RESULTS) => {
            let results = descriptor.descriptors(name).to_vec();
            let total = results.len() as i64 + OVERCOUNT;
            held(results, total)
        }
        (Kind::Operation, name::OPERATION_CONVOLUTION..=name::OPERATION_Y)
        | (Kind::EngineConfig, name::CONFIG_ENGINE | name::CONFIG_KNOB_CHOICES)
        | (Kind::Engine, name::ENGINE_GRAPH | name::ENGINE_DEVICEPROP)
        | (Kind::Plan, name::PLAN_CONFIG) => {
            let values = descriptor.descriptors(name).to_vec();
            let total = values.len() as i64;
            held(values, total)
        }
        (Kind::EngineConfig, name::CONFIG_INTERMEDIATES) => Err(NOT_SUPPORTED),
        (Kind::EngineConfig, name::CONFIG_WORKSPACE) => stored(type_::INT64, Scalar, 0),
        (Kind::Engine, name::ENGINE_INDEX) => stored(type_::INT64, Scalar, 0),
        (Kind::Engine, name::ENGINE_NUMERICAL_NOTE) => {
            given(type_::NUMERICAL_NOTE, Notes, engine()?.numerical_notes)
        }
        (Kind::Engine, name::ENGINE_BEHAVIOR_NOTE) => {
            given(type_::BEHAVIOR_NOTE, Notes, engine()?.behavior_notes)
        }
        (Kind::Engine, name::ENGINE_KNOB_INFO) => {
            let infos: Vec<_> = engine()?.knobs.iter().map(knob_info).collect();
            let total = infos.len() as i64;
            held(infos, total)
        }
        (Kind::Engine, name::ENGINE_SM_COUNT) => stored(type_::INT32, Scalar, 0),
        (Kind::KnobChoice, name::KNOB_CHOICE_TYPE) => stored(type_::KNOB_TYPE, Scalar, 0),
        (Kind::KnobChoice, name::KNOB_CHOICE_VALUE) => stored(type_::INT64, Scalar, 0),
        (Kind::KnobInfo, name::KNOB_INFO_TYPE) => stored(type_::KNOB_TYPE, Scalar, 0),
        (Kind::KnobInfo, name::KNOB_INFO_MAXIMUM..=name::KNOB_INFO_STRIDE) => {
            stored(type_::INT64, Scalar, 0)
        }
        (Kind::Plan, name::PLAN_WORKSPACE) => stored(type_::INT64, Scalar, 0),
        (Kind::Plan, name::PLAN_HANDLE) => stored(type_::HANDLE, Scalar, 0),
        (Kind::Plan, name::PLAN_COMPUTED_INTERMEDIATES) => Err(NOT_SUPPORTED),
        (Kind::Plan, name::PLAN_JSON) => {
            let json = b"{\"stand_in\": \"not a GPU\"}".map(i64::from);
            given(type_::CHAR, Text, &json)
        }
        (Kind::VariantPack, name::PACK_UNIQUE_IDS | name::PACK_POINTERS) => Err(NOT_SUPPORTED),
        (Kind::VariantPack, name::PACK_WORKSPACE) => stored(type_::POINTER, Scalar, 0),
        (Kind::DeviceProperties, name::DEVICEPROP_JSON) => stored(type_::CHAR, Text, 0),
        _ => Err(BAD_PARAM),
    }
}

fn knob_info(knob: &crate::engines::Knob) -> Arc<Descriptor> {
    let one = |value| Value::Integers(vec![value]);
    Arc::new(Descriptor::finished(
        Kind::KnobInfo,
        [
            (name::KNOB_INFO_TYPE, one(knob.kind)),
            (name::KNOB_INFO_MAXIMUM, one(knob.maximum)),
            (name::KNOB_INFO_MINIMUM, one(0)),
            (name::KNOB_INFO_STRIDE, one(1)),
        ],
    ))
}

/// Writes what fits of `value`; returns how many elements there are or were written.
fn give(answer: &Answer, value: &Value, requested: i64, elements: &Out<u8>) -> Result<i64, i32> {
    let bytes = encode(answer.type_, value);
    let size = element_size(answer.type_);
    let total = (bytes.len() / size) as i64;
    if requested < 0 {
        return Err(BAD_PARAM);
    }
    if elements.is_null() {
        return Ok(total);
    }
    let given = match answer.shape {
        Shape::Scalar if requested != 1 => return Err(BAD_PARAM),
        Shape::Text if (1..total).contains(&requested) => return Err(2006),
        // cuDNN writes them all, wherever that is: a client must not ask so
        Shape::Notes | Shape::Text if requested == 0 => return Ok(total),
        _ => requested.min(total),
    };
    elements.put_all(&bytes[..given as usize * size]);
    Ok(given)
}

fn decode(type_: i32, bytes: &[u8]) -> Value {
    match type_ {
        type_::FLOAT => Value::Reals(
            bytes.chunks_exact(4).map(|b| f64::from(f32::from_bits(word(b) as u32))).collect(),
        ),
        type_::DOUBLE => {
            Value::Reals(bytes.chunks_exact(8).map(|b| f64::from_bits(word(b))).collect())
        }
        _ => Value::Integers(integers(element_size(type_), bytes)),
    }
}

fn encode(type_: i32, value: &Value) -> Vec<u8> {
    let size = element_size(type_);
    match value {
        Value::Integers(values) => {
            values.iter().flat_map(|value| value.to_le_bytes()[..size].to_vec()).collect()
        }
        Value::Reals(values) => {
            values.iter().flat_map(|value| (*value as f32).to_le_bytes()).collect()
        }
        Value::Descriptors(_) => Vec::new(),
    }
}

/// Signed integers of `size` bytes; little-endian, as every machine that cuDNN runs on.
fn integers(size: usize, bytes: &[u8]) -> Vec<i64> {
    let shift = 64 - 8 * size as u32;
    bytes.chunks_exact(size).map(|bytes| (word(bytes) << shift) as i64 >> shift).collect()
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}
