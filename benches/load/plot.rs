//! The plot of the table: one panel a question, both axes logarithmic, so that what grows in proportion is a straight line.

use std::fmt::Write;

/// The points of one panel.
pub struct Curve {
    /// What stands on the horizontal axis.
    pub name: String,
    /// How much of that, and events a second.
    pub points: Vec<(f64, f64)>,
}

const PANEL: (f64, f64) = (260.0, 200.0);
const MARGIN: (f64, f64) = (52.0, 34.0);
/// Events a second at the lower and the upper edge.
const RANGE: (f64, f64) = (1e4, 1e7);

/// The panels beside each other.
pub fn svg(curves: &[Curve]) -> String {
    let (width, height) = (PANEL.0 * curves.len() as f64, PANEL.1);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"sans-serif\" \
         font-size=\"10\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (at, curve) in curves.iter().enumerate() {
        panel(&mut out, curve, PANEL.0 * at as f64);
    }
    out.push_str("</svg>\n");
    out
}

fn panel(out: &mut String, curve: &Curve, left: f64) {
    let (x0, x1) = (left + MARGIN.0, left + PANEL.0 - 14.0);
    let (y0, y1) = (PANEL.1 - MARGIN.1, 18.0);
    let first = curve.points.first().map_or(1.0, |point| point.0).log10();
    let last = curve.points.last().map_or(10.0, |point| point.0).log10().max(first + 1.0);
    let x = |value: f64| x0 + (value.log10() - first) / (last - first) * (x1 - x0);
    let (low, high) = (RANGE.0.log10(), RANGE.1.log10());
    let y = |value: f64| y0 - (value.max(RANGE.0).min(RANGE.1).log10() - low) / (high - low) * (y0 - y1);
    let mut rate = RANGE.0;
    while rate <= RANGE.1 {
        let (at, label) = (y(rate), short(rate));
        let _ = writeln!(
            out,
            "<line x1=\"{x0:.1}\" y1=\"{at:.1}\" x2=\"{x1:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            x0 - 5.0,
            at + 3.0
        );
        rate *= 10.0;
    }
    let path: Vec<String> =
        curve.points.iter().map(|(value, rate)| format!("{:.1},{:.1}", x(*value), y(*rate))).collect();
    let _ = writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#1f6feb\" stroke-width=\"2\"/>",
        path.join(" ")
    );
    for (value, rate) in &curve.points {
        let _ = writeln!(
            out,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"#1f6feb\"/>\
             <text x=\"{0:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            x(*value),
            y(*rate),
            y0 + 13.0,
            short(*value)
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
         <text x=\"{:.1}\" y=\"11\">events/s</text>",
        (x0 + x1) / 2.0,
        PANEL.1 - 6.0,
        curve.name,
        left + 6.0
    );
}

fn short(value: f64) -> String {
    match value {
        1e6.. => format!("{:.0}M", value / 1e6),
        1e3..1e6 => format!("{:.0}k", value / 1e3),
        _ => format!("{value:.0}"),
    }
}
