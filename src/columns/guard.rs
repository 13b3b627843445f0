//! What is checked of a Parquet file before the library decodes it, so that a damaged or made-up file is
//! an error: no panic, no endless loop, and no more memory than the file's length justifies.

use std::any::Any;
use std::cell::Cell;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Once};

use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

use super::pages::Pages;
use super::thrift::Kind::{Bool, Byte, Bytes, Int, List, Long, Short, Struct};
use super::thrift::{Fields, Kind, Thrift};

/// Most rows of a file: so many, and [`ROWS_PER_BYTE`] for each of its bytes. Rows that repeat can take
/// next to no bytes, but no table of this program has such: a row is another configuration, or launch.
const ROWS: u64 = 1 << 16;
const ROWS_PER_BYTE: u64 = 64;
/// Most memory that pages of a row group take while they are decoded, one of each column at a time.
const PAGES_BYTES: u64 = 256 << 20;
/// What a dictionary's entry takes in memory besides its bytes.
const ENTRY_BYTES: u64 = 48;
/// Most groups of columns, the table itself among them: the library descends into each.
const GROUPS: usize = 64;
/// Length of the footer's length and of the mark that a file ends with.
const TAIL: u64 = 8;

const TEXTS: Kind = List(&Bytes);
const NUMBERS: Kind = List(&Long);
const STATISTICS: Kind = Struct(&[
    (1, Bytes),
    (2, Bytes),
    (3, Long),
    (4, Long),
    (5, Bytes),
    (6, Bytes),
    (7, Bool),
    (8, Bool),
]);
const UNIT: Kind = Struct(&[(1, Struct(&[])), (2, Struct(&[])), (3, Struct(&[]))]);
const TIME: Kind = Struct(&[(1, Bool), (2, UNIT)]);
const LOGICAL_TYPE: Kind = Struct(&[
    (5, Struct(&[(1, Int), (2, Int)])),
    (7, TIME),
    (8, TIME),
    (10, Struct(&[(1, Byte), (2, Bool)])),
    (16, Struct(&[(1, Byte)])),
    (17, Struct(&[(1, Bytes)])),
    (18, Struct(&[(1, Bytes), (2, Int)])),
]);
const COLUMN: Kind = Struct(&[
    (1, Int),
    (2, Int),
    (3, Int),
    (4, Bytes),
    (5, Int),
    (6, Int),
    (7, Int),
    (8, Int),
    (9, Int),
    (10, LOGICAL_TYPE),
]);
const KEY_VALUE: Kind = Struct(&[(1, Bytes), (2, Bytes)]);
const CHUNK_METADATA: Kind = Struct(&[
    (1, Int),
    (2, List(&Int)),
    (3, TEXTS),
    (4, Int),
    (5, Long),
    (6, Long),
    (7, Long),
    (8, List(&KEY_VALUE)),
    (9, Long),
    (10, Long),
    (11, Long),
    (12, STATISTICS),
    (13, List(&Struct(&[(1, Int), (2, Int), (3, Int)]))),
    (14, Long),
    (15, Int),
    (16, Struct(&[(1, Long), (2, NUMBERS), (3, NUMBERS)])),
    (17, Struct(&[(1, Struct(&[])), (2, List(&Int))])),
]);
const CHUNK: Kind = Struct(&[
    (1, Bytes),
    (2, Long),
    (3, CHUNK_METADATA),
    (4, Long),
    (5, Int),
    (6, Long),
    (7, Int),
    (8, Struct(&[(1, Struct(&[])), (2, Struct(&[(1, TEXTS), (2, Bytes)]))])),
    (9, Bytes),
]);
const ROW_GROUP: Kind = Struct(&[
    (1, List(&CHUNK)),
    (2, Long),
    (3, Long),
    (4, List(&Struct(&[(1, Int), (2, Bool), (3, Bool)]))),
    (5, Long),
    (6, Long),
    (7, Short),
]);
const FOOTER: Fields = &[
    (1, Int),
    (2, List(&COLUMN)),
    (3, Long),
    (4, List(&ROW_GROUP)),
    (5, List(&KEY_VALUE)),
    (6, Bytes),
    (7, List(&Struct(&[(1, Struct(&[])), (2, Struct(&[]))]))),
    (9, Bytes),
];
pub(super) const PAGE_HEADER: Fields = &[
    (1, Int),
    (2, Int),
    (3, Int),
    (4, Int),
    (5, Struct(&[(1, Int), (2, Int), (3, Int), (4, Int), (5, STATISTICS)])),
    (6, Struct(&[])),
    (7, Struct(&[(1, Int), (2, Int), (3, Bool)])),
    (
        8,
        Struct(&[
            (1, Int),
            (2, Int),
            (3, Int),
            (4, Int),
            (5, Int),
            (6, Int),
            (7, Bool),
            (8, STATISTICS),
        ]),
    ),
];

/// Checks the footer's structure and returns where it begins.
pub(super) fn footer(mut file: &File) -> Result<u64, ParquetError> {
    let end = file.metadata()?.len();
    let tail_at =
        end.checked_sub(TAIL).ok_or_else(|| wrong("it is too short for a Parquet file"))?;
    file.seek(SeekFrom::Start(tail_at))?;
    let mut tail = [0; TAIL as usize];
    file.read_exact(&mut tail)?;
    let [a, b, c, d, mark @ ..] = tail;
    if mark != *b"PAR1" {
        return Err(wrong("it does not end as a Parquet file"));
    }
    let length = u64::from(u32::from_le_bytes([a, b, c, d]));
    let begins = tail_at.checked_sub(length).ok_or_else(|| wrong("its footer is cut"))?;
    file.seek(SeekFrom::Start(begins))?;
    let (mut columns, mut children, mut groups, mut row_groups) = (0, 0i64, 0, 0);
    Thrift::new(BufReader::new(file), length).structure(FOOTER, &mut |path, value| match path {
        [2] => columns = value,
        [2, 0, 5] => {
            children = children.saturating_add(value.max(0));
            groups += usize::from(value > 0);
        }
        [4] => row_groups = value,
        _ => {}
    })?;
    // each child is a column or group of its own, and each chunk of a column has a byte at least
    if children >= columns.max(1) || groups > GROUPS {
        return Err(wrong("its schema is not one of a table"));
    }
    if columns.saturating_mul(row_groups) > length as i64 {
        return Err(wrong("its footer is too short for its row groups"));
    }
    Ok(begins)
}

/// Checks that so many rows can be in a file of `length` bytes.
pub(super) fn rows(metadata: &ParquetMetaData, length: u64) -> Result<(), ParquetError> {
    let most = length.saturating_mul(ROWS_PER_BYTE).saturating_add(ROWS);
    let rows = metadata.row_groups().iter().try_fold(0u64, |sum, group| {
        u64::try_from(group.num_rows()).ok().and_then(|rows| sum.checked_add(rows))
    });
    match rows {
        Some(rows) if i64::try_from(rows) != Ok(metadata.file_metadata().num_rows()) => {
            let said = metadata.file_metadata().num_rows();
            Err(wrong(&format!("its row groups have {rows} rows, expected {said}")))
        }
        Some(rows) if rows <= most => Ok(()),
        _ => Err(wrong(&format!(
            "its row groups claim more than {most} rows, too many for {length} bytes"
        ))),
    }
}

/// Checks the headers of all pages of a row group, in a file whose footer begins at `end`.
pub(super) fn row_group(
    file: &Arc<File>,
    end: u64,
    group: &RowGroupMetaData,
) -> Result<(), ParquetError> {
    let mut memory = 0u64;
    for (index, chunk) in group.columns().iter().enumerate() {
        // of repeated values nothing is read
        if chunk.column_descr().max_rep_level() > 0 {
            continue;
        }
        let in_column = |error| match error {
            ParquetError::General(what) => wrong(&format!("column {index}: {what}")),
            other => other,
        };
        let (rows, bytes) = Pages::new(file, end, chunk).and_then(sizes).map_err(in_column)?;
        if i64::try_from(rows) != Ok(group.num_rows()) {
            let expected = group.num_rows();
            return Err(wrong(&format!("column {index} has {rows} rows, expected {expected}")));
        }
        memory = memory.saturating_add(bytes);
    }
    match memory <= PAGES_BYTES {
        true => Ok(()),
        false => Err(wrong(&format!(
            "its pages take {memory} bytes of memory at a time, allowed are {PAGES_BYTES}"
        ))),
    }
}

/// The rows of a column in a row group, and the memory that its dictionary and its largest page take.
fn sizes(mut pages: Pages) -> Result<(u64, u64), ParquetError> {
    let (mut rows, mut dictionary, mut largest) = (0u64, 0u64, 0u64);
    while let Some(page) = pages.next_header()? {
        let (values, bytes) = (u64::from(page.values()?), page.uncompressed as u64);
        page.encoding()?;
        if page.is_dictionary() {
            if values > bytes {
                return Err(wrong(&format!("a dictionary of {values} entries in {bytes} bytes")));
            }
            dictionary += bytes + ENTRY_BYTES * values;
        } else {
            largest = largest.max(bytes);
            rows = rows.saturating_add(values);
        }
    }
    Ok((rows, dictionary.saturating_add(largest)))
}

thread_local! {
    /// Whether a panic of this thread is caught and becomes an error.
    static CATCHES: Cell<bool> = const { Cell::new(false) };
}

/// Calls the library. Where it panics, which it does on some damaged files, the panic becomes an error
/// and is not printed; panics of other threads are printed as ever.
pub(super) fn caught<T>(call: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !CATCHES.get() {
                others(info);
            }
        }));
    });
    let before = CATCHES.replace(true);
    // what the call was decoding is dropped with the file's reader
    let outcome = panic::catch_unwind(AssertUnwindSafe(call));
    CATCHES.set(before);
    outcome.unwrap_or_else(|panic| {
        Err(wrong(&format!("the Parquet library failed: {}", message(&*panic))))
    })
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

pub(super) fn wrong(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use parquet::data_type::Int64Type;
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::super::{Column, ParquetFile, Unread, read};
    use super::*;

    /// What is wrong with a file of these bytes, opened and read as one column of whole numbers.
    fn error_of(bytes: &[u8]) -> String {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let columns = [Column::<i32>::new("x", |row| row)];
        let read = ParquetFile::open(file)
            .map_err(Unread::File)
            .and_then(|file| read(&file, 0..file.groups(), &columns, |name, _| name, |_| Ok(())));
        format!("{:?}", read.unwrap_err())
    }

    /// A file of nothing but this footer.
    fn of_footer(footer: &[u8]) -> Vec<u8> {
        let length = (footer.len() as u32).to_le_bytes();
        [b"PAR1".as_slice(), footer, &length, b"PAR1"].concat()
    }

    /// The number in groups of seven bits.
    fn groups_of_seven(mut number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while number > 127 {
            bytes.push(number as u8 | 128);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    }

    #[test]
    fn lists_longer_than_their_bytes_are_refused_whether_their_field_is_known_or_not() {
        let billions = groups_of_seven(i32::MAX as u64);
        for (field, element) in [(0xF9, 1), (0xF9, 2), (0xF9, 12), (0x29, 12), (0x49, 12)] {
            let footer = [&[field, 0xF0 | element], billions.as_slice(), &[0]].concat();
            let error = error_of(&of_footer(&footer));
            assert!(error.contains("a list of 2147483647"), "{error}");
        }
        // a truth value is no structure of a schema's columns
        let error = error_of(&of_footer(&[0x21, 0]));
        assert!(error.contains("field [2] of type 1"), "{error}");
        let deep = [[0xFC].repeat(10_000), vec![0; 10_001]].concat();
        assert!(error_of(&of_footer(&deep)).contains("of type 12"));
        assert!(error_of(b"PAR1").contains("too short"));
        assert!(error_of(&[b"PAR1".as_slice(), &[255; 4], b"PAR1"].concat()).contains("cut"));
    }

    #[test]
    fn a_schema_of_more_groups_than_a_table_has_is_refused() {
        // each has one child, which is the next: name `a`, one child
        let element = [0x48, 1, b'a', 0x15, 2, 0];
        let schema = |count: u64| {
            let elements = element.repeat(count as usize);
            of_footer(&[&[0x29, 0xFC], groups_of_seven(count).as_slice(), &elements, &[0]].concat())
        };
        assert!(error_of(&schema(100_000)).contains("not one of a table"));
    }

    /// A file with one column of zeros.
    fn zeros(rows: usize) -> Vec<u8> {
        let schema = Arc::new(parse_message_type("message m { required int64 x; }").unwrap());
        let properties = Arc::new(WriterProperties::builder().build());
        let mut bytes = Vec::new();
        let mut file = SerializedFileWriter::new(&mut bytes, schema, properties).unwrap();
        let mut group = file.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&vec![0; rows], None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        file.close().unwrap();
        bytes
    }

    #[test]
    fn more_rows_than_a_file_of_its_length_can_have_are_refused() {
        let bytes = zeros(2_000_000);
        let error = error_of(&bytes);
        assert!(error.contains("rows, too many for"), "{} bytes: {error}", bytes.len());
    }

    #[test]
    fn whatever_byte_of_a_file_is_changed_it_is_an_error_or_as_many_rows() {
        let bytes = zeros(3);
        for position in 0..bytes.len() {
            for flip in [1, 0x40, 0x80, 0x55, 0xFF] {
                let mut damaged = bytes.clone();
                damaged[position] ^= flip;
                let mut file = tempfile::tempfile().unwrap();
                file.write_all(&damaged).unwrap();
                let columns = [Column::<i32>::new("x", |row| row)];
                let mut rows = 0;
                let read = ParquetFile::open(file).map_err(Unread::File).and_then(|file| {
                    let refuse = |name, _| name;
                    read(&file, 0..file.groups(), &columns, refuse, |batch| {
                        rows += batch.len();
                        Ok(())
                    })
                });
                assert!(read.is_err() || rows == 3, "byte {position} ^ {flip}: {rows} rows");
            }
        }
    }

    #[test]
    fn a_panic_of_the_library_is_an_error_with_its_message() {
        let text = caught(|| -> Result<(), _> { panic!("index {}", 5) }).unwrap_err().to_string();
        assert!(text.ends_with("the Parquet library failed: index 5"), "{text}");
        assert_eq!(caught(|| Ok(3)).unwrap(), 3);
        assert!(!CATCHES.get());
    }
}
