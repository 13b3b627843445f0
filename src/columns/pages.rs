//! Pages of a column in a Parquet file: their headers, and their bytes, decompressed one at a time.
//!
//! The library's own reader needs a C toolchain for Zstandard, which other tools write by default, and
//! trusts a page's header. Here no page takes more memory than its header says, which is checked before.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;

use parquet::basic::{Compression, Encoding};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;

use super::guard::{PAGE_HEADER, wrong};
use super::thrift::Thrift;

const DATA_PAGE: i64 = 0;
const DICTIONARY_PAGE: i64 = 2;
const DATA_PAGE_V2: i64 = 3;

/// What is left of a column's pages in a row group.
pub(super) struct Pages {
    file: Arc<File>,
    at: u64,
    left: u64,
    codec: Compression,
}

/// What the header of a page says; fields of its kind are at their numbers in the format.
#[derive(Default)]
pub(super) struct Header {
    kind: i64,
    /// Where its bytes begin.
    begins: u64,
    /// Bytes in the file and in memory.
    compressed: usize,
    pub uncompressed: usize,
    crc: Option<i64>,
    data: [i64; 5],
    dictionary: [i64; 3],
    second: [i64; 8],
}

impl Header {
    pub(super) fn is_dictionary(&self) -> bool {
        self.kind == DICTIONARY_PAGE
    }

    /// Values of the data, or entries of a dictionary.
    pub(super) fn values(&self) -> Result<u32, ParquetError> {
        let values = match self.kind {
            DATA_PAGE => self.data[1],
            DATA_PAGE_V2 => self.second[1],
            DICTIONARY_PAGE => self.dictionary[1],
            _ => 0,
        };
        number(values)
    }

    /// How the values are stored.
    pub(super) fn encoding(&self) -> Result<Encoding, ParquetError> {
        encoding(match self.kind {
            DATA_PAGE => self.data[2],
            DATA_PAGE_V2 => self.second[4],
            _ => self.dictionary[2],
        })
    }
}

impl Pages {
    /// Those of a column in a file whose footer begins at `end`.
    pub(super) fn new(
        file: &Arc<File>,
        end: u64,
        chunk: &ColumnChunkMetaData,
    ) -> Result<Self, ParquetError> {
        let begins = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
        let place = u64::try_from(begins).ok().zip(u64::try_from(chunk.compressed_size()).ok());
        let inside = |(begins, length): &(u64, u64)| {
            begins.checked_add(*length).is_some_and(|chunk_end| chunk_end <= end)
        };
        let (at, left) =
            place.filter(inside).ok_or_else(|| wrong("it has no valid place in the file"))?;
        Ok(Self { file: Arc::clone(file), at, left, codec: chunk.compression() })
    }

    /// The next page's header.
    pub(super) fn next_header(&mut self) -> Result<Option<Header>, ParquetError> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut file = BufReader::with_capacity(1 << 10, &*self.file);
        file.seek(SeekFrom::Start(self.at))?;
        let mut thrift = Thrift::new(file, self.left);
        let mut header = Header::default();
        let (mut compressed, mut uncompressed) = (0, 0);
        // data of the second version are compressed unless it is said that they are not
        header.second[7] = 1;
        thrift.structure(PAGE_HEADER, &mut |path, value| match *path {
            [1] => header.kind = value,
            [2] => uncompressed = value,
            [3] => compressed = value,
            [4] => header.crc = Some(value),
            [5, field @ 1..=4] => header.data[field as usize] = value,
            [7, field @ 1..=2] => header.dictionary[field as usize] = value,
            [8, field @ 1..=7] => header.second[field as usize] = value,
            _ => {}
        })?;
        let sizes = u64::try_from(compressed).ok().zip(usize::try_from(uncompressed).ok());
        let sizes =
            sizes.and_then(|(size, memory)| Some((thrift.left().checked_sub(size)?, memory)));
        let (after, in_memory) = sizes.ok_or_else(|| wrong("a page does not fit into it"))?;
        header.begins = self.at + (self.left - thrift.left());
        header.compressed = (thrift.left() - after) as usize;
        header.uncompressed = in_memory;
        (self.at, self.left) = (self.at + (self.left - after), after);
        Ok(Some(header))
    }

    fn page(&self, header: &Header) -> Result<Page, ParquetError> {
        let mut file = &*self.file;
        file.seek(SeekFrom::Start(header.begins))?;
        let mut bytes = vec![0; header.compressed];
        file.read_exact(&mut bytes)?;
        if header.crc.is_some_and(|crc| crc as u32 != crc32fast::hash(&bytes)) {
            return Err(wrong("a page is not what its checksum says"));
        }
        let (num_values, encoding) = (header.values()?, header.encoding()?);
        let whole = |bytes: &[u8]| decompressed(self.codec, bytes, header.uncompressed);
        if header.is_dictionary() {
            let buf = whole(&bytes)?.into();
            return Ok(Page::DictionaryPage { buf, num_values, encoding, is_sorted: false });
        }
        if header.kind == DATA_PAGE {
            return Ok(Page::DataPage {
                buf: whole(&bytes)?.into(),
                num_values,
                encoding,
                def_level_encoding: self::encoding(header.data[3])?,
                rep_level_encoding: self::encoding(header.data[4])?,
                statistics: None,
            });
        }
        let [_, _, nulls, rows, _, definition, repetition, compressed] = header.second;
        let (definition, repetition) = (number(definition)?, number(repetition)?);
        let levels = definition as usize + repetition as usize;
        let values = header.uncompressed.checked_sub(levels).zip(bytes.get(levels..));
        let (size, values) = values.ok_or_else(|| wrong("a page is shorter than its levels"))?;
        // where all values are absent, there is nothing to decompress
        if compressed == 1 && size > 0 {
            let values = decompressed(self.codec, values, size)?;
            bytes.splice(levels.., values);
        }
        Ok(Page::DataPageV2 {
            buf: bytes.into(),
            num_values,
            encoding,
            num_nulls: number(nulls)?,
            num_rows: number(rows)?,
            def_levels_byte_len: definition,
            rep_levels_byte_len: repetition,
            is_compressed: false,
            statistics: None,
        })
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>, ParquetError> {
        while let Some(header) = self.next_header()? {
            // others, of indices, are passed over
            if [DATA_PAGE, DICTIONARY_PAGE, DATA_PAGE_V2].contains(&header.kind) {
                return self.page(&header).map(Some);
            }
        }
        Ok(None)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>, ParquetError> {
        Err(wrong("only columns of single values are read"))
    }

    fn skip_next_page(&mut self) -> Result<(), ParquetError> {
        self.next_header().map(drop)
    }
}

impl Iterator for Pages {
    type Item = Result<Page, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

fn number(value: i64) -> Result<u32, ParquetError> {
    u32::try_from(value).map_err(|_| wrong("a page has less than no values"))
}

/// An encoding by its number in the format.
fn encoding(number: i64) -> Result<Encoding, ParquetError> {
    Ok(match number {
        0 => Encoding::PLAIN,
        2 => Encoding::PLAIN_DICTIONARY,
        3 => Encoding::RLE,
        #[expect(deprecated, reason = "the levels of old files")]
        4 => Encoding::BIT_PACKED,
        5 => Encoding::DELTA_BINARY_PACKED,
        8 => Encoding::RLE_DICTIONARY,
        9 => Encoding::BYTE_STREAM_SPLIT,
        // of texts: few bytes stand for a great many, or for a great many texts
        other => {
            let name = match other {
                6 => "DELTA_LENGTH_BYTE_ARRAY",
                7 => "DELTA_BYTE_ARRAY",
                _ => &format!("number {other}"),
            };
            return Err(wrong(&format!(
                "its encoding {name} is not read: write the file with PLAIN or dictionaries"
            )));
        }
    })
}

/// The `size` bytes that were compressed to `bytes`.
fn decompressed(codec: Compression, bytes: &[u8], size: usize) -> Result<Vec<u8>, ParquetError> {
    let mut whole = vec![0; size];
    let outcome = match codec {
        Compression::UNCOMPRESSED => read(bytes, &mut whole),
        Compression::SNAPPY => snap::raw::Decoder::new()
            .decompress(bytes, &mut whole)
            .map_err(|error| error.to_string()),
        Compression::LZ4_RAW => {
            lz4_flex::block::decompress_into(bytes, &mut whole).map_err(|error| error.to_string())
        }
        Compression::GZIP(_) => read(flate2::read::MultiGzDecoder::new(bytes), &mut whole),
        Compression::BROTLI(_) => {
            read(brotli_decompressor::Decompressor::new(bytes, 1 << 12), &mut whole)
        }
        Compression::ZSTD(_) => ruzstd::decoding::StreamingDecoder::new(bytes)
            .map_err(|error| error.to_string())
            .and_then(|stream| read(stream, &mut whole)),
        Compression::LZO | Compression::LZ4 => {
            let name = format!("{codec:?}");
            return Err(wrong(&format!(
                "its compression {name} is not read: write the file with snappy, zstd, gzip, brotli or \
                 lz4_raw"
            )));
        }
    };
    match outcome {
        Ok(length) if length == size => Ok(whole),
        Ok(length) => Err(wrong(&format!("a page has {length} bytes, expected {size}"))),
        Err(error) => Err(wrong(&format!("a page cannot be decompressed: {error}"))),
    }
}

/// Reads into `whole`, and returns how many bytes there were, or one more than it can hold.
fn read(mut stream: impl Read, whole: &mut [u8]) -> Result<usize, String> {
    let mut length = 0;
    while length <= whole.len() {
        let is_full = length == whole.len();
        let rest = if is_full { &mut [0] } else { &mut whole[length..] };
        match stream.read(rest).map_err(|error| error.to_string())? {
            0 => break,
            more => length += more,
        }
    }
    Ok(length)
}
