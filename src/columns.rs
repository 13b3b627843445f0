//! Tables in Parquet files. A column is declared once, as a name and a place in the struct that a row is:
//! the schema, writing and reading follow from that.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use parquet::basic::{Compression, GzipLevel, Type as PhysicalType};
use parquet::column::reader::{ColumnReader, get_column_reader};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnDescriptor, TypePtr};

mod guard;
mod pages;
mod thrift;
mod values;

use pages::Pages;

use crate::checksum::{self, Sealing};
pub use values::{Number, Refused, Value, Values};

/// Where a file goes.
pub type Output<'a> = &'a mut (dyn io::Write + Send);

type GroupWriter<'a, 'b> = SerializedRowGroupWriter<'a, Sealing<'b>>;

/// Rows decoded at a time: the buffers of all columns stay in the processor's cache.
pub const BATCH: usize = 8192;

/// A table whose rows are values of `R`.
pub struct Table<R> {
    /// What the file's schema calls it.
    pub name: &'static str,
    /// How the schema marks texts: `UTF8` (of the format's first version) or `STRING`.
    pub text: &'static str,
    /// How its files are packed.
    pub packing: Packing,
    /// Its columns, in order.
    pub columns: Vec<Column<R>>,
}

/// How values are packed in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Quick to write and to read: repeated values once, Snappy.
    Quick,
    /// Small, for files that are kept and passed on: gzip, which finds more in texts that resemble each other than
    /// in the numbers of repeated ones.
    Small,
}

impl Packing {
    fn properties(self, metadata: Vec<KeyValue>) -> WriterProperties {
        let properties = WriterProperties::builder()
            .set_key_value_metadata(Some(metadata))
            .set_created_by(checksum::WRITER.to_owned());
        match self {
            Self::Quick => properties.set_compression(Compression::SNAPPY),
            Self::Small => properties
                .set_compression(Compression::GZIP(GzipLevel::default()))
                .set_dictionary_enabled(false),
        }
        .build()
    }
}

/// A column of rows `R`.
pub struct Column<R> {
    /// Its name.
    pub name: &'static str,
    optional: bool,
    physical: PhysicalType,
    write: Box<WriteColumn<R>>,
    read: Box<ReadColumn<R>>,
}

type WriteColumn<R> = dyn Fn(&mut GroupWriter<'_, '_>, &mut [R]) -> Result<(), ParquetError>;
type ReadColumn<R> = dyn Fn(&mut Cells<'_>, &mut [R]) -> Result<(), Unread<Refused>>;

/// What ended the reading: the file, or a row by its number in the file, from 0.
#[derive(Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Unread<E> {
    File(ParquetError),
    Row(usize, E),
}

impl<E> Unread<E> {
    fn after(self, rows: usize) -> Self {
        match self {
            Self::Row(row, reason) => Self::Row(rows.saturating_add(row), reason),
            file => file,
        }
    }
}

impl<E> From<ParquetError> for Unread<E> {
    fn from(error: ParquetError) -> Self {
        Self::File(error)
    }
}

impl<R: 'static> Column<R> {
    /// The column `name` of the values in `place` of each row.
    pub fn new<V: Value>(
        name: &'static str,
        place: impl Fn(&mut R) -> &mut V + Copy + 'static,
    ) -> Self {
        Self {
            name,
            optional: V::OPTIONAL,
            physical: V::Stored::get_physical_type(),
            write: Box::new(move |group, rows| {
                let cells: Vec<_> = rows.iter_mut().map(|row| place(row).stored()).collect();
                // an absent value is a definition level of 0
                let levels: Vec<i16> = cells.iter().map(|cell| cell.is_some().into()).collect();
                let values: Vec<_> = cells.into_iter().flatten().collect();
                let levels = V::OPTIONAL.then_some(levels.as_slice());
                let mut column = group.next_column()?.ok_or_else(|| {
                    ParquetError::General("the schema has too few columns".to_owned())
                })?;
                column.typed::<V::Stored>().write_batch(&values, levels, None)?;
                column.close()
            }),
            read: Box::new(move |cells, rows| cells.read(rows, place)),
        }
    }
}

impl<R> Table<R> {
    /// The schema of its files.
    pub fn schema(&self) -> Result<TypePtr, ParquetError> {
        let field = |column: &Column<R>| {
            let repetition = if column.optional { "optional" } else { "required" };
            let text = match column.physical {
                PhysicalType::BYTE_ARRAY => format!(" ({})", self.text),
                _ => String::new(),
            };
            format!("{repetition} {} {}{text};", column.physical, column.name)
        };
        let fields: String = self.columns.iter().map(field).collect();
        Ok(Arc::new(parse_message_type(&format!("message {} {{{fields}}}", self.name))?))
    }

    /// Writes row groups, with `metadata` and a [`checksum`].
    pub fn write(
        &self,
        out: Output<'_>,
        metadata: Vec<KeyValue>,
        groups: impl IntoIterator<Item = Vec<R>>,
    ) -> Result<(), ParquetError> {
        let checksum = KeyValue::new(checksum::KEY.to_owned(), checksum::unknown());
        let metadata = metadata.into_iter().chain([checksum]).collect();
        let out = Sealing::new(out);
        let properties = self.packing.properties(metadata);
        let mut file = SerializedFileWriter::new(out, self.schema()?, Arc::new(properties))?;
        for mut rows in groups {
            let mut group = file.next_row_group()?;
            for column in &self.columns {
                (column.write)(&mut group, &mut rows)?;
            }
            group.close()?;
        }
        file.inner_mut().begin_footer();
        Ok(file.into_inner()?.end()?)
    }
}

/// A Parquet file whose metadata is sound.
pub struct ParquetFile {
    metadata: ParquetMetaData,
    file: Arc<File>,
    /// Where its footer begins: everything else is before it.
    end: u64,
}

impl ParquetFile {
    /// Opens a file. Before the library gets it, it is checked that it is what was written, if it has a
    /// checksum, and that no more is said to be in it than can be; pages are checked when they are [read].
    pub fn open(file: File) -> Result<Self, ParquetError> {
        checksum::check_parquet(&file)?.map_err(ParquetError::General)?;
        Self::open_again(file)
    }

    /// Opens a file whose checksum was checked before.
    pub fn open_again(file: File) -> Result<Self, ParquetError> {
        let end = guard::footer(&file)?;
        let metadata = guard::caught(|| ParquetMetaDataReader::new().parse_and_finish(&file))?;
        guard::rows(&metadata, file.metadata()?.len())?;
        Ok(Self { metadata, file: Arc::new(file), end })
    }

    /// What the file says of itself.
    pub fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }

    /// Number of row groups.
    pub fn groups(&self) -> usize {
        self.metadata.num_row_groups()
    }
}

/// Reads `columns` of some row groups into rows, a batch at a time. `take` gets each batch, and counts
/// rows from its first; the next batch is read into the rows that it leaves. `refuse` says what is
/// wrong with a cell of a column.
pub fn read<R: Default + 'static, E>(
    file: &ParquetFile,
    groups: Range<usize>,
    columns: &[Column<R>],
    refuse: impl Fn(&'static str, Refused) -> E,
    mut take: impl FnMut(&mut Vec<R>) -> Result<(), Unread<E>>,
) -> Result<(), Unread<E>> {
    let rows_of = |group| file.metadata().row_group(group).num_rows() as usize;
    let mut before = (0..groups.start).map(rows_of).fold(0, usize::saturating_add);
    let mut rows = Vec::new();
    for group in groups {
        let mut left = rows_of(group);
        let group = file.metadata().row_group(group);
        guard::row_group(&file.file, file.end, group)?;
        let cells = columns.iter().map(|column| Cells::new(file, group, column.name));
        let mut cells = cells.collect::<Result<Vec<_>, _>>()?;
        while left > 0 {
            let count = left.min(BATCH);
            rows.resize_with(count, R::default);
            let mut wrong: Option<(usize, E)> = None;
            for (column, cells) in columns.iter().zip(&mut cells) {
                match (column.read)(cells, &mut rows) {
                    Err(Unread::File(error)) => return Err(Unread::File(error)),
                    Err(Unread::Row(row, refused))
                        if wrong.as_ref().is_none_or(|(first, _)| row < *first) =>
                    {
                        wrong = Some((row, refuse(column.name, refused)));
                    }
                    _ => {}
                }
            }
            match wrong {
                Some((row, reason)) => Err(Unread::Row(row, reason)),
                None => take(&mut rows),
            }
            .map_err(|unread| unread.after(before))?;
            left -= count;
            before = before.saturating_add(count);
        }
    }
    Ok(())
}

/// What is left to read of a column in a row group.
struct Cells<'a> {
    /// `None` where there is no column of the name with one value in each row.
    source: Option<(ColumnReader, &'a ColumnDescriptor)>,
    /// For each row of a batch, whether it has a value; empty where all must have one.
    levels: Vec<i16>,
}

impl<'a> Cells<'a> {
    fn new(
        file: &ParquetFile,
        group: &'a RowGroupMetaData,
        name: &'static str,
    ) -> Result<Self, ParquetError> {
        let single =
            |leaf: &ColumnDescriptor| leaf.path().parts() == [name] && leaf.max_rep_level() == 0;
        let chunk = group.columns().iter().find(|chunk| single(chunk.column_descr()));
        let source = match chunk {
            Some(chunk) => {
                let pages = Box::new(Pages::new(&file.file, file.end, chunk)?);
                let leaf = chunk.column_descr_ptr();
                Some((guard::caught(|| Ok(get_column_reader(leaf, pages)))?, chunk.column_descr()))
            }
            None => None,
        };
        Ok(Self { source, levels: Vec::new() })
    }

    /// Sets `place` of each of the next rows to its cell, up to the first that is refused.
    fn read<R, V: Value>(
        &mut self,
        rows: &mut [R],
        place: impl Fn(&mut R) -> &mut V,
    ) -> Result<(), Unread<Refused>> {
        let Some((reader, leaf)) = &mut self.source else {
            return Err(values::refused("no column of single values", V::EXPECTED));
        };
        let (leaf, levels) = (*leaf, &mut self.levels);
        let values = guard::caught(|| Values::decode(reader, leaf, rows.len(), levels))?;
        let most = leaf.max_def_level();
        let is_present = |row: usize| most == 0 || levels[row] == most;
        let mut rows = rows.iter_mut().enumerate();
        match V::cells(values) {
            Ok(cells) => {
                let mut cells = cells.into_iter();
                rows.try_for_each(|(index, row)| {
                    let cell = if is_present(index) { cells.next() } else { None };
                    place(row).set(cell).map_err(|unread| unread.after(index))
                })
            }
            // of another type, all must be absent
            Err(values) => rows.try_for_each(|(index, row)| {
                let set = match is_present(index) {
                    true => Err(values::refused(values.first(), V::EXPECTED)),
                    false => place(row).set(None),
                };
                set.map_err(|unread| unread.after(index))
            }),
        }
    }
}
