//! Checksums in files of ours: what is not as it was written is refused, and not taken for a result.
//!
//! JSON has, as its last member, the CRC-32 of all that is before it but spaces and line ends. A Parquet file
//! has that of all of its bytes, with zeros in the place of the checksum's own digits. Files from before there
//! were checksums have none, and neither have those that other programs wrote, whatever they took over.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};

use crc32fast::Hasher;
use serde::Serialize;

/// What stands in the place of the digits while a checksum is computed.
const ZEROS: [u8; 8] = *b"00000000";

/// The last key of a Parquet file's metadata.
pub(crate) const KEY: &str = "alpha_flops_crc32";
/// Who a Parquet file says has written it: not who copied its metadata.
pub(crate) const WRITER: &str = "alpha-flops";

/// A value as JSON with its checksum. It must be a structure with fields.
///
/// # Errors
/// Where there is no JSON of it.
pub fn sealed_json(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(value).map(|json| sealed(json, false))
}

/// The same in lines.
///
/// # Errors
/// Where there is no JSON of it.
pub fn sealed_json_in_lines(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec_pretty(value).map(|json| sealed(json, true))
}

fn sealed(mut json: Vec<u8>, in_lines: bool) -> Vec<u8> {
    let digits = digits(crc32fast::hash(&without_spaces(&json)));
    json.pop_if(|last| *last == b'}');
    json.truncate(json.trim_ascii_end().len());
    let digits = String::from_utf8_lossy(&digits);
    let member = match in_lines {
        true => format!(",\n  \"checksum\": \"{digits}\"\n}}"),
        false => format!(",\"checksum\":\"{digits}\"}}"),
    };
    json.extend(member.into_bytes());
    json
}

/// Checks JSON that may have a checksum as its last member.
///
/// # Errors
/// What is wrong: it is not what was written.
pub(crate) fn check_json(json: &[u8]) -> Result<(), String> {
    // from the end: what is damaged before it may be the end of a text, or the beginning
    let member = || {
        let json = json.trim_ascii_end().strip_suffix(b"}")?;
        let (json, said) = json.trim_ascii_end().strip_suffix(b"\"")?.split_last_chunk()?;
        let json = json.strip_suffix(b"\"")?.trim_ascii_end().strip_suffix(b":")?;
        let json = json.trim_ascii_end().strip_suffix(b"\"checksum\"")?;
        Some((json.trim_ascii_end().strip_suffix(b",")?, said))
    };
    match member() {
        Some((json, said)) => {
            compare(said, crc32fast::hash(&without_spaces(&[json, b"}"].concat())))
        }
        None => Ok(()),
    }
}

/// JSON without what is between its texts, numbers and signs.
fn without_spaces(json: &[u8]) -> Vec<u8> {
    let (mut in_text, mut is_escaped) = (false, false);
    let is_kept = |byte: &u8| {
        match (in_text, is_escaped, byte) {
            (true, true, _) => is_escaped = false,
            (true, false, b'\\') => is_escaped = true,
            (_, false, b'"') => in_text = !in_text,
            _ => {}
        }
        in_text || !byte.is_ascii_whitespace()
    };
    json.iter().copied().filter(is_kept).collect()
}

fn digits(crc: u32) -> [u8; 8] {
    let digit = |place| b"0123456789abcdef"[(crc >> (28 - 4 * place)) as usize & 15];
    std::array::from_fn(digit)
}

fn compare(said: &[u8; 8], crc: u32) -> Result<(), String> {
    let found = digits(crc);
    if *said == found {
        return Ok(());
    }
    let [said, found] = [said, &found].map(|digits| String::from_utf8_lossy(digits));
    Err(format!(
        "its checksum is {found}, expected {said}: it is damaged, or was changed after it was written; \
         restore it, or measure again"
    ))
}

/// The value of [`KEY`] before it is known.
pub(crate) fn unknown() -> String {
    String::from_utf8_lossy(&ZEROS).into_owned()
}

/// Writes a Parquet file through to `out`, up to its footer, which is held until the file ends and then
/// gets its checksum.
pub(crate) struct Sealing<'a> {
    out: &'a mut (dyn Write + Send),
    crc: Hasher,
    footer: Option<Vec<u8>>,
}

impl<'a> Sealing<'a> {
    pub(crate) fn new(out: &'a mut (dyn Write + Send)) -> Self {
        Self { out, crc: Hasher::new(), footer: None }
    }

    /// What is written from now on has the footer in it.
    pub(crate) fn begin_footer(&mut self) {
        self.footer = Some(Vec::new());
    }

    /// Writes the footer.
    pub(crate) fn end(self) -> io::Result<()> {
        let Self { out, mut crc, footer } = self;
        let mut footer = footer.unwrap_or_default();
        crc.update(&footer);
        let place =
            place_of_digits(&footer).ok_or_else(|| io::Error::other("no checksum in it"))?;
        footer[place..place + ZEROS.len()].copy_from_slice(&digits(crc.finalize()));
        out.write_all(&footer)
    }
}

impl Write for Sealing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.footer {
            Some(footer) => footer.extend_from_slice(bytes),
            None => {
                self.out.write_all(bytes)?;
                self.crc.update(bytes);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Where the digits stand in a footer: behind the key, and before the end of the key's structure and the
/// writer's name. Each text has its field's number and type, and its length, before it.
fn place_of_digits(footer: &[u8]) -> Option<usize> {
    const TEXT: u8 = 0x18;
    const END: u8 = 0;
    let before = [KEY.as_bytes(), &[TEXT, ZEROS.len() as u8]].concat();
    let behind = [&[END, TEXT, WRITER.len() as u8], WRITER.as_bytes()].concat();
    let length = before.len() + ZEROS.len() + behind.len();
    let is_it = |part: &[u8]| part.starts_with(&before) && part.ends_with(&behind);
    footer.windows(length).rposition(is_it).map(|at| at + before.len())
}

/// Checks a Parquet file, if it is one of ours with a checksum.
///
/// # Errors
/// The file cannot be read, or what is wrong: it is not what was written.
pub(crate) fn check_parquet(file: &File) -> io::Result<Result<(), String>> {
    /// Behind the digits are only the writer's name and a few bytes for each column.
    const MOST_BEHIND: u64 = 1 << 14;
    let end_begins = file.metadata()?.len().saturating_sub(MOST_BEHIND);
    let mut file = BufReader::with_capacity(1 << 16, file);
    file.seek(SeekFrom::Start(end_begins))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    let Some(place) = place_of_digits(&end) else { return Ok(Ok(())) };
    let mut said = ZEROS;
    said.swap_with_slice(&mut end[place..place + ZEROS.len()]);
    file.rewind()?;
    let mut crc = Hasher::new();
    let mut before = file.take(end_begins);
    while let bytes @ [_, ..] = before.fill_buf()? {
        crc.update(bytes);
        let read = bytes.len();
        before.consume(read);
    }
    crc.update(&end);
    Ok(compare(&said, crc.finalize()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Serialize)]
    struct Example {
        text: &'static str,
        numbers: [f64; 2],
    }

    const EXAMPLE: Example = Example { text: "a \" b\\\\", numbers: [1.0, 2.5e-9] };

    #[test]
    fn json_reads_back_and_no_flipped_bit_in_it_goes_unnoticed_and_changes_a_value() {
        type Fields = BTreeMap<String, serde_json::Value>;
        let read = |bytes: &[u8]| serde_json::from_slice::<Fields>(bytes);
        let expected = read(&serde_json::to_vec(&EXAMPLE).unwrap()).unwrap();
        for sealed in [sealed_json(&EXAMPLE), sealed_json_in_lines(&EXAMPLE)].map(Result::unwrap) {
            check_json(&sealed).unwrap();
            assert_eq!(
                read(&sealed).unwrap().remove("checksum").map(|sum| sum.is_string()),
                Some(true)
            );
            let mut noticed = 0;
            for bit in 0..sealed.len() * 8 {
                let mut flipped = sealed.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                match check_json(&flipped) {
                    Err(_) => noticed += 1,
                    Ok(()) => {
                        let fields = read(&flipped).unwrap_or_else(|_| expected.clone());
                        let is_kept = |(name, value)| fields.get(name) == Some(value);
                        assert!(expected.iter().all(is_kept), "bit {bit}");
                    }
                }
            }
            // those of the checksum's own name, quotes and braces are not
            assert!(noticed >= 8 * (sealed.len() - 25), "{noticed}");
        }
    }

    #[test]
    fn json_that_was_laid_out_otherwise_is_the_same_and_what_has_no_checksum_is_not_checked() {
        let compact = sealed_json(&EXAMPLE).unwrap();
        let lines = sealed_json_in_lines(&EXAMPLE).unwrap();
        assert_eq!(without_spaces(&lines), compact);
        check_json(&[lines.as_slice(), b"\n"].concat()).unwrap();
        for none in ["", "{", "[]", "{\"checksum\":\"12\"}", "{\"a\":1,\"checksum\":12345678}"] {
            check_json(none.as_bytes()).unwrap();
        }
        let error = check_json(br#"{"a":1,"checksum":"00000000"}"#).unwrap_err();
        assert!(error.contains("expected 00000000"), "{error}");
    }
}
