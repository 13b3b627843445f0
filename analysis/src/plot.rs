//! Figures: measurements with their spread, estimates as dashed lines, and residuals.
//!
//! [`paper`], [`region`], [`compare`], [`across`], [`history`] and [`variance`] compute what is shown, [`figure`] is
//! the picture as plain data, [`draw`] makes SVG and PNG of it.

#![allow(missing_docs, reason = "fields whose names say what they are have no docs")]

use std::path::Path;

use alpha_flops::file_error::FileError;
use alpha_flops::files::{create_folder, write_atomically};
use rayon::prelude::*;
use thiserror::Error;

pub mod across;
pub mod axis;
mod caption;
pub mod compare;
pub mod draw;
pub mod figure;
pub mod history;
mod layout;
pub mod paper;
pub mod region;
pub mod variance;

use figure::Figure;

#[derive(Debug, Error)]
pub enum PlotError {
    #[error("could not draw the figure: {0}")]
    Drawing(String),
    #[error("could not rasterise the figure: {0}")]
    Raster(String),
    #[error(transparent)]
    File(#[from] FileError),
}

/// Pixels of the PNG for one of the drawing, so that it is sharp on paper and dense screens.
const PNG_SCALE: f32 = 2.0;

/// Writes `NAME.svg` and `NAME.png` of each figure into a directory, which is created; each file
/// wholly or not at all.
pub fn write(figures: &[Figure], directory: &Path) -> Result<(), PlotError> {
    create_folder(directory)?;
    figures.par_iter().try_for_each(|figure| {
        let svg = draw::svg(figure)?;
        let png = draw::png(&svg, PNG_SCALE)?;
        for (extension, content) in [("svg", svg.as_bytes()), ("png", &png)] {
            let path = directory.join(format!("{}.{extension}", figure.name));
            write_atomically(&path, |file| file.write_all(content))?;
        }
        Ok(())
    })
}
