//! Thrift's compact protocol, in which Parquet describes itself, walked without making anything of it.
//!
//! The library reads a field as what it should be, whatever type it is said to have, and skips fields
//! that it doesn't know by the types that they are said to have. On damaged bytes the first asks for any
//! amount of memory, and the second may take years. What [`structure`](Thrift::structure) has walked to
//! the end holds no longer lists than it has bytes, and every field has the type that it should have.

use std::io::Read;

use parquet::errors::ParquetError;

/// What a field should be. Lists are of one kind; structures name the fields that are known.
#[derive(Debug)]
pub(super) enum Kind {
    Bool,
    Byte,
    Short,
    Int,
    Long,
    Bytes,
    List(&'static Kind),
    Struct(Fields),
}

/// Known fields by their numbers.
pub(super) type Fields = &'static [(i16, Kind)];

impl Kind {
    /// Whether a field that is said to be of type `wire` can be of this kind.
    fn is(&self, wire: u8) -> bool {
        match self {
            Self::Bool => wire == TRUE || wire == FALSE,
            Self::Byte => wire == 3,
            Self::Short => wire == 4,
            Self::Int => wire == 5,
            Self::Long => wire == 6,
            Self::Bytes => wire == BYTES,
            Self::List(_) => wire == LIST,
            Self::Struct(_) => wire == STRUCT,
        }
    }
}

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTES: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// Structures in structures, at most; Parquet's own have fewer than ten.
const DEPTH: usize = 32;

/// Bytes being walked, and how many are left.
pub(super) struct Thrift<R> {
    from: R,
    left: u64,
}

/// Gets the numbers of the fields from the outermost structure on, 0 standing for an element of a list,
/// and the value of a whole number or of a truth value (0 or 1), or the length of a list.
type See<'a> = dyn FnMut(&[i16], i64) + 'a;

impl<R: Read> Thrift<R> {
    /// Walks at most `left` bytes of `from`.
    pub(super) fn new(from: R, left: u64) -> Self {
        Self { from, left }
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Walks a structure of `fields`.
    pub(super) fn structure(
        &mut self,
        fields: Fields,
        see: &mut See<'_>,
    ) -> Result<(), ParquetError> {
        self.fields(fields, &mut Vec::with_capacity(DEPTH), see)
    }

    fn fields(
        &mut self,
        fields: &[(i16, Kind)],
        path: &mut Vec<i16>,
        see: &mut See<'_>,
    ) -> Result<(), ParquetError> {
        let mut id = 0i16;
        loop {
            let head = self.byte()?;
            let wire = head & 15;
            if wire == 0 {
                return Ok(());
            }
            id = match head >> 4 {
                0 => zigzag(self.number()?) as i16,
                delta => {
                    id.checked_add(delta.into()).ok_or_else(|| malformed("a field's number"))?
                }
            };
            let known = fields.iter().find(|(number, _)| *number == id).map(|(_, kind)| kind);
            path.push(id);
            self.value(wire, known, path, see)?;
            path.pop();
        }
    }

    fn value(
        &mut self,
        wire: u8,
        kind: Option<&Kind>,
        path: &mut Vec<i16>,
        see: &mut See<'_>,
    ) -> Result<(), ParquetError> {
        if path.len() > DEPTH || kind.is_some_and(|kind| !kind.is(wire)) {
            return Err(malformed(&format!("field {path:?} of type {wire}")));
        }
        match wire {
            TRUE | FALSE => see(path, (wire == TRUE).into()),
            3 => drop(self.byte()?),
            4..=6 => see(path, zigzag(self.number()?)),
            7 => self.skip(8)?,
            BYTES => {
                let length = self.number()?;
                self.skip(length)?;
            }
            LIST => {
                let element = match kind {
                    Some(Kind::List(element)) => Some(*element),
                    _ => None,
                };
                self.list(element, path, see)?;
            }
            STRUCT => {
                let fields = match kind {
                    Some(Kind::Struct(fields)) => *fields,
                    _ => &[],
                };
                self.fields(fields, path, see)?;
            }
            // Parquet has no sets, maps and UUIDs
            _ => return Err(malformed(&format!("field {path:?} of type {wire}"))),
        }
        Ok(())
    }

    fn list(
        &mut self,
        element: Option<&Kind>,
        path: &mut Vec<i16>,
        see: &mut See<'_>,
    ) -> Result<(), ParquetError> {
        let head = self.byte()?;
        let (wire, count) = match (head & 15, u64::from(head >> 4)) {
            (wire, 15) => (wire, self.number()?),
            short => short,
        };
        // an element takes a byte at least; of truth values, the library skips none for each
        if count > self.left || count > 0 && (wire == TRUE || wire == FALSE) {
            return Err(malformed(&format!("a list of {count} in field {path:?}")));
        }
        see(path, count as i64);
        path.push(0);
        for _ in 0..count {
            self.value(wire, element, path, see)?;
        }
        path.pop();
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, ParquetError> {
        let mut byte = [0];
        self.left = self.left.checked_sub(1).ok_or_else(|| malformed("it is cut"))?;
        self.from.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    /// A number in groups of seven bits, the lowest first.
    fn number(&mut self) -> Result<u64, ParquetError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Ok(number);
            }
        }
        Err(malformed("a number of more than 64 bits"))
    }

    fn skip(&mut self, count: u64) -> Result<(), ParquetError> {
        self.left = self.left.checked_sub(count).ok_or_else(|| malformed("it is cut"))?;
        let skipped = std::io::copy(&mut self.from.by_ref().take(count), &mut std::io::sink())?;
        match skipped == count {
            true => Ok(()),
            false => Err(malformed("it is cut")),
        }
    }
}

/// A signed number from one without a sign.
fn zigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

fn malformed(what: &str) -> ParquetError {
    ParquetError::General(format!("malformed metadata: {what}"))
}
