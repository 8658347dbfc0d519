//! The chart: loss against steps beside loss against seconds, as SVG.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::report::Baseline;
use crate::train::{Curve, Point};

const SIZE: (u32, u32) = (1120, 500);
const INK: RGBColor = RGBColor(51, 51, 51);
const QUIET: RGBColor = RGBColor(140, 140, 140);
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(150, 120, 0),
];

type Drawn = Result<(), Box<dyn std::error::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws the curves into the file `path`.
pub(crate) fn draw(path: &Path, curves: &[Curve], baseline: Baseline) -> Drawn {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let root = root.titled(
        "King James text: validation loss, nats per character",
        ("sans-serif", 20).into_font().color(&INK),
    )?;
    let (left, right) = root.split_horizontally(SIZE.0 / 2);
    panel(&left, curves, baseline, "steps", |point| point.step as f64)?;
    panel(&right, curves, baseline, "seconds of training", |point| {
        point.seconds
    })?;
    root.present()?;
    Ok(())
}

fn panel(
    area: &Area,
    curves: &[Curve],
    baseline: Baseline,
    axis: &str,
    x: impl Fn(&Point) -> f64,
) -> Drawn {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let end = points().map(&x).fold(0.0, f64::max);
    let low = points()
        .map(|point| point.loss)
        .fold(baseline.bigram, f64::min);
    // Everything starts far above; the differences are below the bigram's line.
    let high = baseline.bigram + (0.35 * (baseline.bigram - low)).max(0.4);
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..end.max(1.0), (low - 0.05)..high)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(QUIET.mix(0.25))
        .axis_style(QUIET)
        .x_desc(axis)
        .x_label_formatter(&|value| format!("{value:.0}"))
        .y_label_formatter(&|value| format!("{value:.2}"))
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .draw()?;
    let flat = [(0.0, baseline.bigram), (end, baseline.bigram)];
    chart
        .draw_series(DashedLineSeries::new(flat, 5, 4, QUIET.stroke_width(1)))?
        .label(format!("bigram counts {:.3}", baseline.bigram))
        .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], QUIET));
    for (curve, colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        let line = curve.points.iter().filter(|point| point.loss <= high);
        chart
            .draw_series(LineSeries::new(
                line.map(|point| (x(point), point.loss)),
                colour.stroke_width(2),
            ))?
            .label(format!("{} {:.3}", curve.name, curve.last().loss))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(QUIET.mix(0.4))
        .label_font(("sans-serif", 13).into_font().color(&INK))
        .draw()?;
    Ok(())
}
