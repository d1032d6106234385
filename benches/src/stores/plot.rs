//! The store's curves: small diagrams beside one another over the size of the state, plain SVG.

use super::CurvePoint;
use std::fmt::Write;

const CELL: (f64, f64) = (360.0, 250.0);
const COLUMNS: usize = 2;
/// Left, right, top and bottom of a diagram, within its cell.
const MARGINS: [f64; 4] = [60.0, 20.0, 50.0, 40.0];
const COLOURS: [&str; 3] = ["#1b6ca8", "#c77700", "#2e8b57"];

/// A diagram: its name, its lines, each with its name and what it is at a point.
type Diagram = (&'static str, &'static [(&'static str, fn(&CurvePoint) -> f64)]);

const DIAGRAMS: [Diagram; 4] = [
    (
        "bytes a leaf",
        &[("pages", |point| point.page_bytes_per_leaf), ("disk", |point| point.disk_bytes_per_leaf)],
    ),
    (
        "block until durable, ms",
        &[
            ("all", |point| point.append.median_ms),
            ("the sync", |point| point.sync.median_ms),
            ("beyond it", |point| point.beyond_sync.median_ms),
        ],
    ),
    ("checkpoint of 50 blocks, ms", &[("checkpoint", |point| point.checkpoint_ms)]),
    (
        "after a crash, ms",
        &[("opening", |point| point.open_ms), ("folding the journal", |point| point.fold_ms)],
    ),
];

/// Draws the points; the axis of leaves is logarithmic, the others begin at zero.
#[must_use]
pub fn plot_curves(points: &[CurvePoint], title: &str) -> String {
    let rows = DIAGRAMS.len().div_ceil(COLUMNS);
    let (width, height) = (CELL.0 * COLUMNS as f64, CELL.1 * rows as f64 + 30.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    text(&mut svg, 10.0, 18.0, "start", title);
    for (number, diagram) in DIAGRAMS.iter().enumerate() {
        let (column, row) = (number % COLUMNS, number / COLUMNS);
        draw(&mut svg, diagram, points, (column as f64 * CELL.0, 30.0 + row as f64 * CELL.1));
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw(svg: &mut String, (name, lines): &Diagram, points: &[CurvePoint], corner: (f64, f64)) {
    let [left, right, top, bottom] = MARGINS;
    let (x0, x1) = (corner.0 + left, corner.0 + CELL.0 - right);
    let (y0, y1) = (corner.1 + CELL.1 - bottom, corner.1 + top);
    let leaves = |point: &CurvePoint| (point.state.leaves() as f64).log10();
    let least = points.iter().map(leaves).fold(f64::INFINITY, f64::min);
    let span = (points.iter().map(leaves).fold(least, f64::max) - least).max(1e-9);
    let values = points.iter().flat_map(|point| lines.iter().map(move |(_, value)| value(point)));
    let most = values.fold(f64::MIN_POSITIVE, f64::max) * 1.1;
    let x = |point: &CurvePoint| x0 + (leaves(point) - least) / span * (x1 - x0);
    let y = |value: f64| y0 + value / most * (y1 - y0);
    text(svg, corner.0 + left, corner.1 + 16.0, "start", name);
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let at = y(share * most);
        line(svg, (x0, at), (x1, at), "#dddddd");
        let label = share * most;
        let digits = if most < 10.0 { 2 } else { 0 };
        text(svg, x0 - 5.0, at + 4.0, "end", &format!("{label:.digits$}"));
    }
    for point in points {
        line(svg, (x(point), y0), (x(point), y1), "#eeeeee");
        text(svg, x(point), y0 + 14.0, "middle", &size(point.state.leaves()));
    }
    text(svg, f64::midpoint(x0, x1), y0 + 28.0, "middle", "leaves");
    let mut legend = x0;
    for ((name, value), colour) in lines.iter().zip(COLOURS) {
        let places: Vec<String> =
            points.iter().map(|point| format!("{:.1},{:.1}", x(point), y(value(point)))).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>",
            places.join(" ")
        );
        line(svg, (legend, corner.1 + 30.0), (legend + 16.0, corner.1 + 30.0), colour);
        text(svg, legend + 20.0, corner.1 + 34.0, "start", name);
        legend += 40.0 + 6.5 * name.len() as f64;
    }
}

fn size(leaves: usize) -> String {
    match leaves {
        1_000_000.. => format!("{} M", leaves / 1_000_000),
        1_000.. => format!("{} k", leaves / 1_000),
        _ => leaves.to_string(),
    }
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    let (x1, y1, x2, y2) = (from.0, from.1, to.0, to.1);
    let _ = writeln!(
        svg,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\"/>"
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, content: &str) {
    let content = content.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{content}</text>");
}
