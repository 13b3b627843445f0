//! Files as damage, other programs and people leave them: changes of a file's bytes that know its format.

use std::ops::Range;

use alpha_flops::random::random_bits;
use serde_json::Value;

/// How a file is changed, beside byte by byte.
#[derive(Clone, Copy, Debug)]
pub enum Format {
    Json,
    /// Lines of cells with this between them.
    Cells(u8),
    Parquet,
    Bytes,
}

/// Files grow no larger by changes.
const LARGEST: usize = 1 << 20;

/// Numbers in bytes at which readers begin to fail: lengths, counts and offsets.
const NUMBERS: [u64; 12] = [
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0xFFFF,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    1 << 33,
    i64::MAX as u64,
    u64::MAX,
];

/// The same as JSON and cells have them.
const WRITTEN: [&str; 15] = [
    "0",
    "-1",
    "1",
    "-0.0",
    "0.5",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "-1e308",
    "5e-324",
    "1e999",
];

/// What else a cell may hold.
const TEXTS: [&str; 9] = [
    "",
    "255",
    "NaN",
    "inf",
    "null",
    "h=1_w=1_in=1_out=1_k=1",
    "../../x",
    "2026-01-31T12:00:00Z",
    "h=4294967295_w=4294967295_in=1_out=1_k=1",
];

/// What else may stand in JSON.
const VALUES: [&str; 7] =
    ["null", "true", "\"\"", "\"../../x\"", "\"\\u001b[31m\\u0000\"", "[]", "{}"];

/// Random numbers of one case.
pub struct Random {
    seed: u64,
    index: u64,
}

impl Random {
    pub fn new(seed: u64, case: u64) -> Self {
        Self { seed: random_bits(seed, case), index: 0 }
    }

    fn bits(&mut self) -> u64 {
        self.index += 1;
        random_bits(self.seed, self.index)
    }

    /// Below `count`, or 0.
    pub fn below(&mut self, count: usize) -> usize {
        (self.bits() % count.max(1) as u64) as usize
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// A few of `length` places that follow each other, mostly less than sixty.
    fn chunk(&mut self, length: usize) -> Range<usize> {
        let begins = self.below(length);
        let most = if self.below(8) == 0 { length } else { 60 };
        let chunk_length = 1 + self.below(most);
        begins..(begins + chunk_length).min(length)
    }
}

/// A file changed at one place or a few; `other` is one that pieces may come from.
pub fn changed(format: Format, file: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let changes = random.one(&[1, 1, 1, 2, 3, 8]);
    let mut bytes = file.to_vec();
    for _ in 0..changes {
        let knows_format = random.below(4) > 0;
        bytes = match format {
            Format::Json if knows_format => json(&bytes, random).unwrap_or(bytes),
            Format::Cells(between) if knows_format => cells(&bytes, between, random),
            Format::Parquet if knows_format => parquet(bytes, other, random),
            _ => {
                let all = 0..bytes.len();
                raw(bytes, all, other, random)
            }
        };
        bytes.truncate(LARGEST);
    }
    bytes
}

/// Changes bytes within `range`.
fn raw(mut bytes: Vec<u8>, range: Range<usize>, other: &[u8], random: &mut Random) -> Vec<u8> {
    let place = (range.start + random.below(range.len())).min(bytes.len());
    let chunk = random.chunk(range.len());
    let chunk =
        (range.start + chunk.start).min(bytes.len())..(range.start + chunk.end).min(bytes.len());
    let number = random.one(&NUMBERS);
    match random.below(10) {
        0 | 1 => {
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1 << random.below(8);
            }
        }
        2 => {
            if let Some(byte) = bytes.get_mut(place) {
                *byte = number as u8;
            }
        }
        3 => {
            let width = random.one(&[2, 4, 8]).min(bytes.len() - place);
            bytes[place..place + width].copy_from_slice(&number.to_le_bytes()[..width]);
        }
        4 => {
            let end = (place + random.below(3)).min(bytes.len());
            bytes.splice(place..end, groups_of_seven(number));
        }
        5 => bytes.truncate(place),
        6 => drop(bytes.drain(chunk)),
        7 => {
            let copies = random.one(&[1, 1, 2, 1000]).min(1 + LARGEST / chunk.len().max(1));
            let copied = bytes[chunk].repeat(copies);
            bytes.splice(place..place, copied);
        }
        8 => {
            let moved: Vec<u8> = bytes.drain(chunk).collect();
            let place = place.min(bytes.len());
            bytes.splice(place..place, moved);
        }
        _ => {
            let piece = &other[random.chunk(other.len())];
            let end = (place + random.below(piece.len() + 1)).min(bytes.len());
            bytes.splice(place..end, piece.iter().copied());
        }
    }
    bytes
}

/// A number as Thrift and Protocol Buffers write it.
fn groups_of_seven(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 127 {
        bytes.push(number as u8 | 128);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// Changes the footer, its length, or a page.
fn parquet(bytes: Vec<u8>, other: &[u8], random: &mut Random) -> Vec<u8> {
    let Some(tail) = bytes.len().checked_sub(8) else { return bytes };
    let length =
        bytes[tail..tail + 4].iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    let begins = tail.saturating_sub(length);
    match random.below(8) {
        0..5 => {
            let mut footer = raw(bytes[begins..tail].to_vec(), 0..tail - begins, other, random);
            // mostly one whose length is right
            let length = match random.below(8) {
                0 => random.one(&NUMBERS) as u32,
                _ => footer.len() as u32,
            };
            footer.extend(length.to_le_bytes());
            [&bytes[..begins], &footer, b"PAR1"].concat()
        }
        _ => raw(bytes, 0..begins, other, random),
    }
}

/// Changes lines or the cells in them.
fn cells(bytes: &[u8], between: u8, random: &mut Random) -> Vec<u8> {
    let mut lines: Vec<Vec<Vec<u8>>> = bytes
        .split(|byte| *byte == b'\n')
        .map(|line| line.split(|byte| *byte == between).map(<[u8]>::to_vec).collect())
        .collect();
    let [line, other] = [random.below(lines.len()), random.below(lines.len())];
    let [cell, other_cell] = [random.below(lines[line].len()), random.below(lines[other].len())];
    match random.below(8) {
        0..3 => lines[line][cell] = random.one(&[&WRITTEN[..], &TEXTS].concat()).into(),
        3 => {
            let taken = lines[other][other_cell].clone();
            lines[line][cell] = taken;
        }
        4 => lines.swap(line, other),
        5 => drop(lines.remove(line)),
        6 => {
            let copies = random.one(&[1, 1, 50]);
            let copied = lines[line].clone();
            lines.splice(other..other, vec![copied; copies]);
        }
        // a column of all lines
        _ => lines
            .iter_mut()
            .filter(|line| cell < line.len())
            .for_each(|line| drop(line.remove(cell))),
    }
    let lines: Vec<Vec<u8>> = lines.into_iter().map(|line| line.join(&between)).collect();
    lines.join(&b'\n')
}

/// Changes a value within JSON; `None` where it is none (any more).
fn json(bytes: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    /// Stands for what is no JSON value of the library's.
    const PLACE: &str = "@here@";
    let mut whole: Value = serde_json::from_slice(bytes).ok()?;
    let mut values = 0;
    visit(&mut whole, &mut |_| {
        values += 1;
        false
    });
    let [chosen, other] = [random.below(values), random.below(values)];
    let mut taken = Value::Null;
    at(&mut whole, other, &mut |value| taken = value.clone());
    let kind = random.below(8);
    at(&mut whole, chosen, &mut |value| match (kind, value) {
        (0, Value::Array(items)) => {
            let index = random.below(items.len());
            if let Some(item) = items.get(index).cloned() {
                // copies of all of a large file would be a gigabyte here
                let most = if bytes.len() < 1 << 16 { 100 } else { 1 };
                items.extend(vec![item; random.one(&[1, 1, most])]);
            }
        }
        (1, Value::Array(items)) if !items.is_empty() => {
            drop(items.remove(random.below(items.len())));
        }
        (0 | 1, Value::Object(fields)) => {
            let name = fields.keys().nth(random.below(fields.len())).cloned();
            let removed = name.and_then(|name| fields.remove_entry(&name));
            if let Some((name, field)) = removed.filter(|_| kind == 0) {
                fields.insert(format!("{name}_"), field);
            }
        }
        (2, Value::Number(number)) => {
            let changed = number.as_f64().unwrap_or_default() * random.one(&[-1.0, 0.5, 2.0, 1e9]);
            *number = serde_json::Number::from_f64(changed).unwrap_or_else(|| 0.into());
        }
        (2 | 3, value) => *value = std::mem::take(&mut taken),
        (4, value) => {
            let text =
                random.one(&[&WRITTEN[..], &TEXTS].concat()).repeat(random.one(&[1, 1, 1000]));
            *value = Value::String(text);
        }
        (5, value) => *value = Value::Array(vec![std::mem::take(value)]),
        (_, value) => *value = Value::String(PLACE.to_owned()),
    });
    let text = whole.to_string();
    Some(text.replace(&format!("{PLACE:?}"), random.one(&[&WRITTEN[..], &VALUES].concat())).into())
}

/// Calls `take` with the value number `place`.
fn at(value: &mut Value, place: usize, take: &mut dyn FnMut(&mut Value)) {
    let mut before = 0;
    visit(value, &mut |value| {
        let is_it = before == place;
        before += 1;
        if is_it {
            take(value);
        }
        is_it
    });
}

/// Calls `take` with every value until it returns true.
fn visit(value: &mut Value, take: &mut dyn FnMut(&mut Value) -> bool) -> bool {
    take(value)
        || match value {
            Value::Array(items) => items.iter_mut().any(|item| visit(item, take)),
            Value::Object(fields) => fields.values_mut().any(|field| visit(field, take)),
            _ => false,
        }
}
