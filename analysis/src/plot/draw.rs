//! How figures are drawn: a figure as SVG, and an SVG as PNG.
//!
//! There is one drawing, the SVG; the PNG is that same drawing rasterised, with the fonts that are
//! compiled in, so neither depends on what the machine has installed.

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, register_font};
use resvg::{tiny_skia, usvg};

use super::PlotError;
use super::axis::Axis;
use super::figure::{Curve, Figure, Line, Panel};
use super::layout::{
    FAINT, FAMILY, GRID, LINE_HEIGHT, Layout, MARGIN, QUIET, ROW_GAP, SUBPIXELS, Symbol, TEXT,
    X_LABELS_HEIGHT, Y_LABELS_WIDTH, bold, font,
};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Okabe and Ito's palette, which the colour-blind can tell apart, darkest hues first.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(170, 85, 140),
    RGBColor(200, 140, 0),
    RGBColor(70, 160, 215),
    RGBColor(40, 40, 40),
];

/// Dash and gap of each estimate's lines, in pixels.
const DASHES: [(i32, i32); 4] = [(7, 4), (2, 3), (12, 6), (4, 8)];

/// The figure as an SVG document.
pub fn svg(figure: &Figure) -> Result<String, PlotError> {
    register_fonts()?;
    let layout = Layout::new(figure)?;
    let (width, height) = (layout.width, layout.height);
    let mut document = String::new();
    {
        let size = ((width * SUBPIXELS) as u32, (height * SUBPIXELS) as u32);
        let root = SVGBackend::with_string(&mut document, size).into_drawing_area();
        draw(figure, &layout, &root).map_err(|error| PlotError::Drawing(error.to_string()))?;
        root.present().map_err(|error| PlotError::Drawing(error.to_string()))?;
    }
    // the picture's own size: the view box alone keeps the finer coordinates
    let (fine, own) = (
        format!(r#"width="{}" height="{}""#, width * SUBPIXELS, height * SUBPIXELS),
        format!(r#"width="{width}" height="{height}""#),
    );
    Ok(document.replacen(&fine, &own, 1))
}

/// An SVG document of [`svg`] as a PNG with `scale` pixels to one of the document's.
///
/// # Errors
/// [`PlotError::Raster`] where the document is none or the picture would not fit in memory.
pub fn png(svg: &str, scale: f32) -> Result<Vec<u8>, PlotError> {
    static FONTS: LazyLock<Arc<usvg::fontdb::Database>> = LazyLock::new(|| {
        let mut fonts = usvg::fontdb::Database::new();
        fonts.load_font_data(dejavu::sans::regular().to_vec());
        fonts.load_font_data(dejavu::sans::bold().to_vec());
        Arc::new(fonts)
    });
    let options = usvg::Options { fontdb: Arc::clone(&FONTS), ..usvg::Options::default() };
    let raster = |reason: String| PlotError::Raster(reason);
    let tree = usvg::Tree::from_str(svg, &options).map_err(|error| raster(error.to_string()))?;
    let size = tree.size().to_int_size().scale_by(scale);
    let mut pixels = size
        .and_then(|size| tiny_skia::Pixmap::new(size.width(), size.height()))
        .ok_or_else(|| raster(format!("no picture of {:?} × {scale}", tree.size())))?;
    resvg::render(&tree, tiny_skia::Transform::from_scale(scale, scale), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| raster(error.to_string()))
}

/// Makes the compiled-in fonts known to the drawing library, which needs their metrics.
fn register_fonts() -> Result<(), PlotError> {
    static REGISTERED: LazyLock<bool> = LazyLock::new(|| {
        register_font(FAMILY, FontStyle::Normal, dejavu::sans::regular()).is_ok()
            && register_font(FAMILY, FontStyle::Bold, dejavu::sans::bold()).is_ok()
    });
    let failure = || PlotError::Drawing("the compiled-in font is unreadable".into());
    REGISTERED.then_some(()).ok_or_else(failure)
}

type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn draw<'a>(figure: &Figure, layout: &Layout, root: &Area<'a>) -> Drawn<'a> {
    root.fill(&WHITE)?;
    text(root, &figure.title, &bold(15.0), (MARGIN, MARGIN))?;
    for (row, line) in (0..).zip(&layout.subtitle) {
        let at = (MARGIN, MARGIN + 26 + row * LINE_HEIGHT);
        text(root, line, &font(12.0, QUIET), at)?;
    }
    for (index, (panel, heading)) in (0..).zip(figure.panels.iter().zip(&layout.headings)) {
        let (column, row) = (index % layout.columns, index / layout.columns);
        let down = row * (layout.panel.1 + ROW_GAP);
        let at = (MARGIN + column * layout.panel.0, layout.top + down);
        for (row, line) in (0..).zip(heading) {
            text(root, line, &bold(11.5), (at.0 + Y_LABELS_WIDTH, at.1 + row * LINE_HEIGHT))?;
        }
        let below = (at.0, at.1 + layout.heading_height);
        let size = (layout.panel.0, layout.panel.1 - layout.heading_height);
        draw_panel(&figure.x, panel, size, below, root)?;
    }
    draw_legend(layout, root)?;
    let below = layout.height - MARGIN - layout.caption.len() as i32 * (LINE_HEIGHT - 2);
    for (row, line) in (0..).zip(&layout.caption) {
        let at = (MARGIN, below + row * (LINE_HEIGHT - 2));
        text(root, line, &font(10.5, QUIET), at)?;
    }
    Ok(())
}

fn text<'a>(root: &Area<'a>, text: &str, style: &TextStyle<'_>, at: (i32, i32)) -> Drawn<'a> {
    root.draw_text(text, style, (at.0 * SUBPIXELS, at.1 * SUBPIXELS))
}

/// The rectangle that data are drawn in.
struct Frame<'f> {
    x: &'f Axis,
    y: &'f Axis,
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl Frame<'_> {
    /// Coordinates of a value, in subpixels.
    fn at(&self, x: f64, y: f64) -> (i32, i32) {
        let across = self.left + self.width * self.x.position(x);
        let down = self.top + self.height * (1.0 - self.y.position(y).clamp(0.0, 1.0));
        (across.round() as i32, down.round() as i32)
    }
}

fn draw_panel<'a>(
    x: &Axis,
    panel: &Panel,
    size: (i32, i32),
    at: (i32, i32),
    root: &Area<'a>,
) -> Drawn<'a> {
    let scaled = |(x, y): (i32, i32)| (x * SUBPIXELS, y * SUBPIXELS);
    let (width, height) = scaled(size);
    let area = root.clone().shrink(scaled(at), (width as u32, height as u32));
    let y = &panel.y;
    let mut chart = ChartBuilder::on(&area)
        .margin_right(14 * SUBPIXELS)
        .x_label_area_size(X_LABELS_HEIGHT * SUBPIXELS)
        .y_label_area_size(Y_LABELS_WIDTH * SUBPIXELS)
        .build_cartesian_2d(AxisCoordinate(x.clone()), AxisCoordinate(y.clone()))?;
    chart
        .configure_mesh()
        .bold_line_style(GRID.stroke_width(SUBPIXELS as u32))
        .light_line_style(FAINT.stroke_width(SUBPIXELS as u32))
        .axis_style(QUIET.stroke_width(SUBPIXELS as u32))
        .set_all_tick_mark_size(4 * SUBPIXELS)
        .label_style(font(11.0, TEXT))
        .axis_desc_style(font(12.0, TEXT))
        .x_desc(x.label.as_str())
        .y_desc(y.label.as_str())
        .draw()?;
    let (across, down) = chart.plotting_area().get_pixel_range();
    let frame = Frame {
        x,
        y,
        left: f64::from(across.start),
        top: f64::from(down.start),
        width: f64::from(across.end - across.start),
        height: f64::from(down.end - down.start),
    };
    draw_data(panel, &frame, root)
}

/// An axis in the form the drawing library takes.
struct AxisCoordinate(Axis);

impl Ranged for AxisCoordinate {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (start, end): (i32, i32)) -> i32 {
        (f64::from(start) + f64::from(end - start) * self.0.position(*value)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            self.0.minor.clone()
        } else {
            self.0.ticks.iter().map(|tick| tick.value).collect()
        }
    }

    fn range(&self) -> Range<f64> {
        self.0.min..self.0.max
    }
}

impl ValueFormatter<f64> for AxisCoordinate {
    fn format_ext(&self, value: &f64) -> String {
        let tick = self.0.ticks.iter().find(|tick| tick.value == *value);
        tick.map_or_else(String::new, |tick| tick.label.clone())
    }
}

fn draw_data<'a>(panel: &Panel, frame: &Frame<'_>, root: &Area<'a>) -> Drawn<'a> {
    if let Some(value) = panel.reference {
        let ends = [frame.at(frame.x.min, value), frame.at(frame.x.max, value)];
        root.draw(&PathElement::new(ends, QUIET.stroke_width(pixel(1.5))))?;
    }
    // spreads below all points, estimates above: neither may hide a median
    for line in &panel.lines {
        draw_spread(line, frame, root)?;
    }
    for line in &panel.lines {
        for point in &line.points {
            let at = frame.at(point.x, point.y);
            if line.dense {
                root.draw(&Circle::new(at, pixel(1.4), colour(line.series).mix(0.6).filled()))?;
            } else {
                draw_marker(root, line.series, at, 3.6)?;
            }
        }
    }
    for curve in &panel.curves {
        draw_curve(curve, frame, root)?;
    }
    for (x, y) in &panel.rings {
        draw_ring(frame.at(*x, *y), root)?;
    }
    for (series, x) in &panel.switches {
        // a row a line, so that those of one do not cover another's
        let bottom = frame.top + frame.height - *series as f64 * f64::from(pixel(ROW));
        let across = frame.at(*x, frame.y.min).0;
        draw_switch((across, bottom.round() as i32), colour(*series), root)?;
    }
    Ok(())
}

/// Height of a row of ticks, the space above it included.
const ROW: f64 = 7.0;

/// A tick upwards from a place.
fn draw_switch<'a>((x, y): (i32, i32), colour: RGBColor, root: &Area<'a>) -> Drawn<'a> {
    let top = y - pixel(ROW - 2.0) as i32;
    root.draw(&PathElement::new([(x, y), (x, top)], colour.stroke_width(pixel(1.0))))
}

fn draw_ring<'a>(at: (i32, i32), root: &Area<'a>) -> Drawn<'a> {
    root.draw(&Circle::new(at, pixel(6.5), TEXT.stroke_width(pixel(1.3))))
}

/// Quartiles: a whisker a point or, of dense lines, a band made of one step a point, so that
/// nothing is interpolated between measurements.
fn draw_spread<'a>(line: &Line, frame: &Frame<'_>, root: &Area<'a>) -> Drawn<'a> {
    let colour = colour(line.series);
    for (index, point) in line.points.iter().enumerate() {
        let Some((low, high)) = point.quartiles else { continue };
        if line.dense {
            let half_way_to = |neighbour: Option<usize>| {
                let neighbour = neighbour.and_then(|i| line.points.get(i)).unwrap_or(point);
                (point.x + neighbour.x) / 2.0
            };
            let corners = [
                frame.at(half_way_to(index.checked_sub(1)), high),
                frame.at(half_way_to(index.checked_add(1)), low),
            ];
            root.draw(&Rectangle::new(corners, colour.mix(0.25).filled()))?;
        } else {
            let (top, bottom) = (frame.at(point.x, high), frame.at(point.x, low));
            let cap = pixel(3.0) as i32;
            for ends in [
                [top, bottom],
                [(top.0 - cap, top.1), (top.0 + cap, top.1)],
                [(bottom.0 - cap, bottom.1), (bottom.0 + cap, bottom.1)],
            ] {
                root.draw(&PathElement::new(ends, colour.stroke_width(pixel(1.2))))?;
            }
        }
    }
    Ok(())
}

fn draw_curve<'a>(curve: &Curve, frame: &Frame<'_>, root: &Area<'a>) -> Drawn<'a> {
    // darker than the points it runs over
    let RGBColor(r, g, b) = colour(curve.series);
    let darker = |c: u8| (u16::from(c) * 7 / 10) as u8;
    let style = RGBColor(darker(r), darker(g), darker(b)).stroke_width(pixel(1.6));
    for part in visible_parts(curve, frame) {
        root.draw(&dashed(part, curve.estimate, style))?;
    }
    Ok(())
}

/// A dashed path in the pattern of an estimate.
fn dashed(
    points: Vec<(i32, i32)>,
    estimate: usize,
    style: ShapeStyle,
) -> DashedPathElement<std::vec::IntoIter<(i32, i32)>, i32> {
    let (dash, gap) = DASHES[estimate % DASHES.len()];
    DashedPathElement::new(points, dash * SUBPIXELS, gap * SUBPIXELS, style)
}

/// The parts of a curve inside the frame, cut where it crosses the frame's top or bottom.
fn visible_parts(curve: &Curve, frame: &Frame<'_>) -> Vec<Vec<(i32, i32)>> {
    let position = |&(x, y): &(f64, f64)| (frame.x.position(x), frame.y.position(y));
    let to_subpixels = |(x, y): (f64, f64)| {
        let (across, down) = (frame.left + frame.width * x, frame.top + frame.height * (1.0 - y));
        (across.round() as i32, down.round() as i32)
    };
    if let [(x, y)] = curve.points[..] {
        // a line of one point would be invisible
        let (across, down) = frame.at(x, y);
        let is_visible = (0.0..=1.0).contains(&frame.y.position(y));
        let half = 9 * SUBPIXELS;
        let dash = vec![(across - half, down), (across + half, down)];
        return if is_visible { vec![dash] } else { Vec::new() };
    }
    let mut parts: Vec<Vec<(i32, i32)>> = Vec::new();
    let mut joins = false;
    for pair in curve.points.windows(2) {
        let (from, to) = (position(&pair[0]), position(&pair[1]));
        let Some((start, end)) = clipped(from, to) else {
            joins = false;
            continue;
        };
        match parts.last_mut().filter(|_| joins && start == from) {
            Some(part) => part.push(to_subpixels(end)),
            None => parts.push(vec![to_subpixels(start), to_subpixels(end)]),
        }
        joins = end == to;
    }
    parts
}

type Position = (f64, f64);

/// The part of a segment with its second coordinate in 0..=1.
fn clipped(from: Position, to: Position) -> Option<(Position, Position)> {
    let along = |t: f64| (from.0 + t * (to.0 - from.0), from.1 + t * (to.1 - from.1));
    let crossing = |y: f64| (y - from.1) / (to.1 - from.1);
    let end = |(this, other): (f64, f64), point: Position| match this {
        y if y < 0.0 => (other > 0.0).then(|| along(crossing(0.0))),
        y if y > 1.0 => (other < 1.0).then(|| along(crossing(1.0))),
        y if y.is_finite() => Some(point),
        _ => None,
    };
    Some((end((from.1, to.1), from)?, end((to.1, from.1), to)?))
}

fn draw_legend<'a>(layout: &Layout, root: &Area<'a>) -> Drawn<'a> {
    let left = MARGIN + layout.columns * layout.panel.0 + 10;
    let mut y = layout.top + 12;
    let mut previous_is_series = true;
    for entry in &layout.legend {
        let is_key = !matches!(entry.symbol, Symbol::Series(_) | Symbol::None);
        if is_key && previous_is_series {
            y += LINE_HEIGHT / 2;
            previous_is_series = false;
        }
        draw_symbol(&entry.symbol, (left, y), root)?;
        let style = font(11.5, TEXT).pos(Pos::new(HPos::Left, VPos::Center));
        text(root, &entry.text, &style, (left + 34, y))?;
        y += LINE_HEIGHT;
    }
    Ok(())
}

fn draw_symbol<'a>(symbol: &Symbol, (left, y): (i32, i32), root: &Area<'a>) -> Drawn<'a> {
    let (start, middle, end) = (left * SUBPIXELS, (left + 13) * SUBPIXELS, (left + 27) * SUBPIXELS);
    let y = y * SUBPIXELS;
    let tall = 6 * SUBPIXELS;
    match *symbol {
        Symbol::Series(series) => draw_marker(root, series, (middle, y), 4.2),
        Symbol::Point => root.draw(&Circle::new((middle, y), pixel(3.4), QUIET.filled())),
        Symbol::Spread { dense: true } => {
            let corners = [(start, y - tall), (end, y + tall)];
            root.draw(&Rectangle::new(corners, QUIET.mix(0.25).filled()))
        }
        Symbol::Spread { dense: false } => {
            let cap = 3 * SUBPIXELS;
            let (top, bottom) = (y - tall, y + tall);
            let style = QUIET.stroke_width(pixel(1.2));
            root.draw(&PathElement::new([(middle, top), (middle, bottom)], style))?;
            root.draw(&PathElement::new([(middle - cap, top), (middle + cap, top)], style))?;
            root.draw(&PathElement::new([(middle - cap, bottom), (middle + cap, bottom)], style))
        }
        Symbol::Estimate(estimate) => {
            let style = QUIET.stroke_width(pixel(1.6));
            root.draw(&dashed(vec![(start, y), (end, y)], estimate, style))
        }
        Symbol::Ring => draw_ring((middle, y), root),
        Symbol::Switch => draw_switch((middle, y + pixel(2.5) as i32), QUIET, root),
        Symbol::None => Ok(()),
    }
}

/// A filled shape of its own for each series, with a white rim so that neighbours stay apart.
fn draw_marker<'a>(root: &Area<'a>, series: usize, at: (i32, i32), radius: f64) -> Drawn<'a> {
    let style = colour(series);
    let corners: &[(f64, f64)] = match series % 5 {
        0 => {
            root.draw(&Circle::new(at, pixel(radius + 0.8), WHITE.filled()))?;
            return root.draw(&Circle::new(at, pixel(radius), style.filled()));
        }
        1 => &[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        2 => &[(0.0, -1.25), (1.15, 0.85), (-1.15, 0.85)],
        3 => &[(0.0, -1.3), (1.2, 0.0), (0.0, 1.3), (-1.2, 0.0)],
        _ => &[(0.0, 1.25), (1.15, -0.85), (-1.15, -0.85)],
    };
    let polygon = |radius: f64| {
        let radius = radius * f64::from(SUBPIXELS);
        let corner = |(x, y): &(f64, f64)| {
            (at.0 + (x * radius).round() as i32, at.1 + (y * radius).round() as i32)
        };
        corners.iter().map(corner).collect::<Vec<_>>()
    };
    root.draw(&Polygon::new(polygon(radius + 0.9), WHITE.filled()))?;
    root.draw(&Polygon::new(polygon(radius), style.filled()))
}

fn colour(series: usize) -> RGBColor {
    COLOURS[series % COLOURS.len()]
}

/// A length in subpixels.
fn pixel(length: f64) -> u32 {
    (length * f64::from(SUBPIXELS)).round() as u32
}
