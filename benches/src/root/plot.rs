//! A plot of growth: both axes logarithmic, plain SVG.

use super::BlockFigures;
use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 200.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
/// One for each size of state, then again.
const COLOURS: [&str; 4] = ["#1b6ca8", "#2e8b57", "#c77700", "#b03060"];

/// An axis from one power of ten to another.
struct Axis {
    from: i32,
    to: i32,
    /// Where it begins and ends in the picture.
    ends: (f64, f64),
}

impl Axis {
    fn over(values: impl Iterator<Item = f64> + Clone, ends: (f64, f64)) -> Self {
        let from = values.clone().fold(f64::INFINITY, f64::min).log10().floor() as i32;
        let to = values.fold(f64::MIN_POSITIVE, f64::max).log10().ceil() as i32;
        Self { from, to: to.max(from + 1), ends }
    }

    fn place(&self, value: f64) -> f64 {
        let share = (value.log10() - f64::from(self.from)) / f64::from(self.to - self.from);
        self.ends.0 + share * (self.ends.1 - self.ends.0)
    }
}

/// Time by keys written, a line for each size of state: solid the seal on two threads, dashed the incremental root on
/// `alloy-trie`, dotted the bare hashing on two threads.
#[must_use]
pub fn plot(points: &[BlockFigures], title: &str) -> String {
    let times = points.iter().flat_map(|point| point.lines().map(|(_, ms)| ms));
    let x = Axis::over(points.iter().map(|point| point.keys as f64), (LEFT, WIDTH - RIGHT));
    let y = Axis::over(times, (HEIGHT - BOTTOM, TOP));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    text(&mut svg, LEFT, 20.0, "start", title);
    text(
        &mut svg,
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 12.0,
        "middle",
        "accounts and slots written by a block",
    );
    text(&mut svg, 8.0, TOP - 8.0, "start", "ms");
    for power in x.from..=x.to {
        let at = x.place(10_f64.powi(power));
        line(&mut svg, (at, TOP), (at, HEIGHT - BOTTOM), "#dddddd", "none");
        text(&mut svg, at, HEIGHT - BOTTOM + 16.0, "middle", &format!("{}", 10_f64.powi(power)));
    }
    for power in y.from..=y.to {
        let at = y.place(10_f64.powi(power));
        line(&mut svg, (LEFT, at), (WIDTH - RIGHT, at), "#dddddd", "none");
        text(&mut svg, LEFT - 6.0, at + 4.0, "end", &format!("{}", 10_f64.powi(power)));
    }
    let mut legend = TOP + 10.0;
    let rows = points.chunk_by(|one, other| one.state == other.state);
    for (row, colour) in rows.zip(COLOURS.into_iter().cycle()) {
        for (number, (name, dashes)) in BlockFigures::LINES.into_iter().enumerate() {
            let places = row.iter().map(|point| {
                let (_, ms) = point.lines()[number];
                format!("{:.1},{:.1}", x.place(point.keys as f64), y.place(ms))
            });
            let places: Vec<String> = places.collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\" \
                 stroke-dasharray=\"{dashes}\"/>",
                places.join(" ")
            );
            let from = WIDTH - RIGHT + 14.0;
            line(&mut svg, (from, legend - 4.0), (from + 26.0, legend - 4.0), colour, dashes);
            text(
                &mut svg,
                from + 32.0,
                legend,
                "start",
                &format!("{name}, {}", short(row[0].state.leaves())),
            );
            legend += 18.0;
        }
        legend += 8.0;
    }
    svg.push_str("</svg>\n");
    svg
}

impl BlockFigures {
    /// What is drawn, and how the line is dashed.
    const LINES: [(&str, &str); 3] = [("seal", "none"), ("bare hashing", "2 3"), ("alloy-trie", "7 4")];

    fn lines(&self) -> [(&str, f64); 3] {
        let [seal, bare, incremental] = Self::LINES.map(|(name, _)| name);
        [
            (seal, self.seal_2.median_ms),
            (bare, self.bare_2.median_ms),
            // Nothing is drawn of who took no part.
            (incremental, self.incremental_1.map_or(f64::NAN, |times| times.median_ms)),
        ]
    }
}

fn short(leaves: usize) -> String {
    match leaves {
        1_000_000.. => format!("{} M leaves", leaves / 1_000_000),
        1_000.. => format!("{} k leaves", leaves / 1_000),
        _ => format!("{leaves} leaves"),
    }
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str, dashes: &str) {
    let (x1, y1, x2, y2) = (from.0, from.1, to.0, to.1);
    let _ = writeln!(
        svg,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\" \
         stroke-dasharray=\"{dashes}\"/>"
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, content: &str) {
    let content = content.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{content}</text>");
}
