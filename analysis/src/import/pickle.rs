//! A reader of Python pickles that cannot execute anything.
//!
//! Python's own reader calls any function that a pickle names. This one supports only the opcodes for
//! dictionaries, lists, tuples, numbers, texts and NumPy arrays of `float64`, and three function names,
//! which it treats as data ([`Callable`]). It refuses everything else and names it in the error.
//!
//! Objects live in one arena and refer to each other by index, so neither cycles nor deep nesting can
//! exhaust the stack. Memory stays proportional to the input: at most one object per byte.
//!
//! Format: Python's `pickletools` documents every opcode; NumPy's arrays are pickled by
//! `ndarray.__reduce_ex__` (protocol 5, in band).

use std::collections::HashMap;

use thiserror::Error;

/// A value; texts and containers are in the arena.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    None,
    Bool,
    Int(i64),
    Float,
    Object(usize),
}

#[derive(Debug)]
enum Object {
    Text(String),
    Bytes(Vec<u8>),
    Tuple(Vec<Value>),
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    Callable(Callable),
    Dtype { little_endian: bool },
    Array { bytes: usize, rows: usize, columns: usize },
}

/// The functions whose calls are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Callable {
    /// `numpy.dtype`, in `numpy.dtype('f8', False, True)`.
    Dtype,
    /// `numpy.core.numeric._frombuffer(bytes, dtype, shape, order)`.
    FromBuffer,
}

#[derive(Debug)]
pub(super) struct Pickle {
    objects: Vec<Object>,
    root: Value,
}

/// Why a pickle was refused.
#[derive(Debug, Error, PartialEq, Eq)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum PickleError {
    #[error("the pickle ends early, at byte {offset}")]
    Truncated { offset: usize },
    #[error("byte {offset}: refused: opcode 0x{code:02x} is not needed for arrays and numbers")]
    Opcode { offset: usize, code: u8 },
    #[error("byte {offset}: refused: the pickle asks for `{name}`; nothing was executed")]
    Global { offset: usize, name: String },
    #[error("byte {offset}: malformed pickle: {what}")]
    Malformed { offset: usize, what: &'static str },
}

/// The stack machine that runs a pickle's opcodes.
struct Machine<'a> {
    input: &'a [u8],
    position: usize,
    /// Where the current instruction starts, for messages.
    instruction: usize,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    objects: Vec<Object>,
}

impl Pickle {
    pub(super) fn parse(input: &[u8]) -> Result<Self, PickleError> {
        let mut machine = Machine {
            input,
            position: 0,
            instruction: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            objects: Vec::new(),
        };
        let root = machine.run()?;
        Ok(Self { objects: machine.objects, root })
    }

    /// The pickled object itself.
    pub(super) fn root(&self) -> Value {
        self.root
    }

    /// The value of a text key in a dictionary, the last one if there are several.
    pub(super) fn entry(&self, dict: Value, key: &str) -> Option<Value> {
        match self.object(dict)? {
            Object::Dict(entries) => {
                entries.iter().rev().find(|(k, _)| self.text(*k) == Some(key)).map(|(_, v)| *v)
            }
            _ => None,
        }
    }

    pub(super) fn list(&self, value: Value) -> Option<&[Value]> {
        match self.object(value)? {
            Object::List(elements) => Some(elements),
            _ => None,
        }
    }

    pub(super) fn text(&self, value: Value) -> Option<&str> {
        match self.object(value)? {
            Object::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The rows of a two-dimensional array with `N` columns.
    pub(super) fn array<const N: usize>(&self, value: Value) -> Option<Vec<[f64; N]>> {
        let Object::Array { bytes, columns, rows } = self.object(value)? else { return None };
        let Object::Bytes(bytes) = self.objects.get(*bytes)? else { return None };
        if *columns != N {
            return None;
        }
        let (numbers, _) = bytes.as_chunks::<8>();
        let numbers: Vec<f64> = numbers.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        let (chunks, _) = numbers.as_chunks::<N>();
        chunks.get(..*rows).map(<[_]>::to_vec)
    }

    fn object(&self, value: Value) -> Option<&Object> {
        match value {
            Value::Object(index) => self.objects.get(index),
            _ => None,
        }
    }
}

impl Machine<'_> {
    fn run(&mut self) -> Result<Value, PickleError> {
        loop {
            self.instruction = self.position;
            let code = self.byte()?;
            match code {
                b'.' => return self.pop(),
                0x80 => self.protocol()?,
                0x95 => drop(self.take(8)?), // FRAME: a hint for buffering
                b'(' => self.marks.push(self.stack.len()),
                b'N' => self.stack.push(Value::None),
                0x88 | 0x89 => self.stack.push(Value::Bool),
                b'K' | b'M' | b'J' | b'G' => self.number(code)?,
                0x8c | b'X' | 0x96 => self.sized(code)?,
                b'}' => self.create(Object::Dict(Vec::new())),
                b']' => self.create(Object::List(Vec::new())),
                b')' | 0x85 | 0x86 | 0x87 | b't' => self.tuple(code)?,
                b'a' | b'e' => self.append(code)?,
                b's' | b'u' => self.set_items(code)?,
                0x94 | b'h' | b'j' => self.memo(code)?,
                b'c' | 0x93 => self.global(code)?,
                b'R' => self.call()?,
                b'b' => self.build()?,
                _ => return Err(PickleError::Opcode { offset: self.instruction, code }),
            }
        }
    }

    fn protocol(&mut self) -> Result<(), PickleError> {
        match self.byte()? {
            2..=5 => Ok(()),
            _ => Err(self.malformed("protocols 2 to 5 are known")),
        }
    }

    fn number(&mut self, code: u8) -> Result<(), PickleError> {
        let value = match code {
            b'K' => Value::Int(self.byte()?.into()),
            b'M' => Value::Int(u16::from_le_bytes(self.bytes()?).into()),
            b'J' => Value::Int(i32::from_le_bytes(self.bytes()?).into()),
            _ => {
                // positions of captions: of no interest
                self.take(8)?;
                Value::Float
            }
        };
        self.stack.push(value);
        Ok(())
    }

    /// SHORT_BINUNICODE, BINUNICODE and BYTEARRAY8: a length, then as many bytes.
    fn sized(&mut self, code: u8) -> Result<(), PickleError> {
        let length = match code {
            0x8c => self.byte()?.into(),
            b'X' => u32::from_le_bytes(self.bytes()?).into(),
            _ => u64::from_le_bytes(self.bytes()?),
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let bytes = self.take(length)?.to_vec();
        let object = match code {
            0x96 => Object::Bytes(bytes),
            _ => match String::from_utf8(bytes) {
                Ok(text) => Object::Text(text),
                Err(_) => return Err(self.malformed("a text is not UTF-8")),
            },
        };
        self.create(object);
        Ok(())
    }

    fn tuple(&mut self, code: u8) -> Result<(), PickleError> {
        let elements = match code {
            b')' => Vec::new(),
            b't' => self.pop_to_mark()?,
            _ => {
                // TUPLE1, TUPLE2 and TUPLE3 are 0x85, 0x86 and 0x87
                let mut elements = Vec::new();
                for _ in 0x85..=code {
                    elements.push(self.pop()?);
                }
                elements.reverse();
                elements
            }
        };
        self.create(Object::Tuple(elements));
        Ok(())
    }

    fn append(&mut self, code: u8) -> Result<(), PickleError> {
        let new = if code == b'a' { vec![self.pop()?] } else { self.pop_to_mark()? };
        match self.top_object() {
            Some(Object::List(elements)) => elements.extend(new),
            _ => return Err(self.malformed("elements are appended to what is no list")),
        }
        Ok(())
    }

    fn set_items(&mut self, code: u8) -> Result<(), PickleError> {
        let flat = match code {
            b's' => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            _ => self.pop_to_mark()?,
        };
        let (pairs, rest) = flat.as_chunks::<2>();
        match self.top_object() {
            Some(Object::Dict(entries)) if rest.is_empty() => {
                entries.extend(pairs.iter().map(|[key, value]| (*key, *value)));
                Ok(())
            }
            _ => Err(self.malformed("entries are set in what is no dictionary")),
        }
    }

    /// MEMOIZE remembers the top of the stack under the next number, BINGET and LONG_BINGET push
    /// what was remembered.
    fn memo(&mut self, code: u8) -> Result<(), PickleError> {
        let index = match code {
            0x94 => {
                let top = self.pop()?;
                self.stack.push(top);
                let next = u32::try_from(self.memo.len()).unwrap_or(u32::MAX);
                self.memo.insert(next, top);
                return Ok(());
            }
            b'h' => self.byte()?.into(),
            _ => u32::from_le_bytes(self.bytes()?),
        };
        match self.memo.get(&index) {
            Some(value) => self.stack.push(*value),
            None => return Err(self.malformed("an object is used before it was remembered")),
        }
        Ok(())
    }

    /// GLOBAL and STACK_GLOBAL name a function or class: this is how malicious pickles run code.
    fn global(&mut self, code: u8) -> Result<(), PickleError> {
        let (module, name) = if code == b'c' {
            (self.line()?, self.line()?)
        } else {
            let name = self.pop_text()?;
            (self.pop_text()?, name)
        };
        let callable = match (module.as_str(), name.as_str()) {
            ("numpy", "dtype") => Callable::Dtype,
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Callable::FromBuffer,
            _ => {
                let name = format!("{module}.{name}").escape_debug().to_string();
                return Err(PickleError::Global { offset: self.instruction, name });
            }
        };
        self.create(Object::Callable(callable));
        Ok(())
    }

    /// REDUCE: the result that a call of one of the known functions would have.
    fn call(&mut self) -> Result<(), PickleError> {
        let arguments = match self.pop()? {
            Value::Object(index) => match self.objects.get(index) {
                Some(Object::Tuple(elements)) => elements.clone(),
                _ => return Err(self.malformed("arguments are no tuple")),
            },
            _ => return Err(self.malformed("arguments are no tuple")),
        };
        let callee = self.pop()?;
        let object = match (self.get(callee), arguments.as_slice()) {
            (Some(Object::Callable(Callable::Dtype)), [name, ..]) => match self.get(*name) {
                Some(Object::Text(name)) if name == "f8" => Object::Dtype { little_endian: false },
                _ => return Err(self.malformed("an array of another type than float64")),
            },
            (Some(Object::Callable(Callable::FromBuffer)), [bytes, dtype, shape, order]) => {
                self.array(*bytes, *dtype, *shape, *order)?
            }
            _ => return Err(self.malformed("a call of what is no known function")),
        };
        self.create(object);
        Ok(())
    }

    fn array(
        &self,
        bytes: Value,
        dtype: Value,
        shape: Value,
        order: Value,
    ) -> Result<Object, PickleError> {
        let (Value::Object(index), Some(Object::Bytes(content))) = (bytes, self.get(bytes)) else {
            return Err(self.malformed("an array without bytes"));
        };
        if !matches!(self.get(dtype), Some(Object::Dtype { little_endian: true })) {
            return Err(self.malformed("an array of another type than little-endian float64"));
        }
        if !matches!(self.get(order), Some(Object::Text(order)) if order == "C") {
            return Err(self.malformed("an array in another order than C"));
        }
        let dimensions = match self.get(shape) {
            Some(Object::Tuple(dimensions)) => dimensions.as_slice(),
            _ => &[],
        };
        let [Value::Int(rows), Value::Int(columns)] = *dimensions else {
            return Err(self.malformed("an array that has not two dimensions"));
        };
        let dimensions = usize::try_from(rows).ok().zip(usize::try_from(columns).ok());
        let size = |(rows, columns): (usize, usize)| rows.checked_mul(columns)?.checked_mul(8);
        match dimensions {
            Some((rows, columns)) if size((rows, columns)) == Some(content.len()) => {
                Ok(Object::Array { bytes: index, rows, columns })
            }
            _ => Err(self.malformed("an array whose bytes do not fill its shape")),
        }
    }

    /// BUILD: the state `(3, '<', …)` of a dtype says its byte order.
    fn build(&mut self) -> Result<(), PickleError> {
        let state = self.pop()?;
        let order = match self.get(state) {
            Some(Object::Tuple(elements)) => elements.get(1).copied(),
            _ => None,
        };
        let is_little = match order.and_then(|order| self.get(order)) {
            Some(Object::Text(order)) => order == "<",
            _ => return Err(self.malformed("a state of what is no array type")),
        };
        match self.top_object() {
            Some(Object::Dtype { little_endian }) => *little_endian = is_little,
            _ => return Err(self.malformed("a state of what is no array type")),
        }
        Ok(())
    }

    fn create(&mut self, object: Object) {
        self.stack.push(Value::Object(self.objects.len()));
        self.objects.push(object);
    }

    fn get(&self, value: Value) -> Option<&Object> {
        match value {
            Value::Object(index) => self.objects.get(index),
            _ => None,
        }
    }

    fn top_object(&mut self) -> Option<&mut Object> {
        match self.stack.last() {
            Some(Value::Object(index)) => self.objects.get_mut(*index),
            _ => None,
        }
    }

    /// Pops the top of the stack; an error if only values below the last mark are left.
    fn pop(&mut self) -> Result<Value, PickleError> {
        if self.stack.len() <= self.marks.last().copied().unwrap_or(0) {
            return Err(self.malformed("the stack is empty"));
        }
        self.stack.pop().ok_or_else(|| self.malformed("the stack is empty"))
    }

    fn pop_text(&mut self) -> Result<String, PickleError> {
        let value = self.pop()?;
        match self.get(value) {
            Some(Object::Text(text)) => Ok(text.clone()),
            _ => Err(self.malformed("a name that is no text")),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>, PickleError> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => Err(self.malformed("there is no mark")),
        }
    }

    fn line(&mut self) -> Result<String, PickleError> {
        let rest = self.input.get(self.position..).unwrap_or_default();
        match rest.iter().position(|byte| *byte == b'\n') {
            Some(length) => {
                let line = String::from_utf8_lossy(self.take(length)?).into_owned();
                self.position += 1;
                Ok(line)
            }
            None => Err(PickleError::Truncated { offset: self.input.len() }),
        }
    }

    fn byte(&mut self) -> Result<u8, PickleError> {
        self.bytes::<1>().map(|[byte]| byte)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let truncated = PickleError::Truncated { offset: self.input.len() };
        let taken = self.take(N)?;
        taken.first_chunk().copied().ok_or(truncated)
    }

    fn take(&mut self, length: usize) -> Result<&[u8], PickleError> {
        let end = self.position.checked_add(length);
        match end.and_then(|end| self.input.get(self.position..end)) {
            Some(bytes) => {
                self.position += length;
                Ok(bytes)
            }
            None => Err(PickleError::Truncated { offset: self.input.len() }),
        }
    }

    fn malformed(&self, what: &'static str) -> PickleError {
        PickleError::Malformed { offset: self.instruction, what }
    }
}

#[cfg(test)]
mod tests;
