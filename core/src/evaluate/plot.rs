//! Plots as SVG, drawn in the page's colours.

use std::fmt::Write;

const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 46.0;

/// One axis.
pub(super) struct Axis {
    /// What it shows.
    pub label: String,
    /// Value at its start.
    pub from: f64,
    /// Value at its end.
    pub to: f64,
    /// Logarithmic.
    pub log: bool,
    /// Ticks with their texts.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From 0 to 1 with ticks every 0.2.
    pub(super) fn share(label: &str) -> Self {
        Self::linear(label, 0.0, 1.0, 0.2)
    }

    /// Evenly divided, ticks every `step`.
    pub(super) fn linear(label: &str, from: f64, to: f64, step: f64) -> Self {
        let count = ((to - from) / step).round().max(1.0) as usize;
        let decimals = if step < 0.1 { 2 } else { 1 };
        let ticks = (0..=count)
            .map(|index| from + (to - from) * index as f64 / count as f64)
            .map(|value| (value, format!("{value:.decimals$}")))
            .collect();
        Self { label: label.to_owned(), from, to, log: false, ticks }
    }

    /// Share of the axis, 0 to 1, at which the value lies.
    fn place(&self, value: f64) -> f64 {
        let share = if self.log {
            (value.max(1e-9) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        share.clamp(0.0, 1.0)
    }
}

/// A plot under construction.
pub(super) struct Plot {
    x: Axis,
    y: Axis,
    height: f64,
    svg: String,
}

impl Plot {
    /// Axes, grid and title.
    pub(super) fn new(title: &str, x: Axis, y: Axis) -> Self {
        Self::with_height(title, x, y, HEIGHT)
    }

    /// As [`Plot::new`], `height` pixels high.
    pub(super) fn with_height(title: &str, x: Axis, y: Axis, height: f64) -> Self {
        let mut plot = Self { x, y, height, svg: String::new() };
        let (right, bottom) = (WIDTH - RIGHT, height - BOTTOM);
        for (value, text) in &plot.x.ticks {
            let at = plot.column(*value);
            let _ = write!(
                plot.svg,
                "<line class=grid x1={at:.1} y1={TOP} x2={at:.1} y2={bottom:.1} /><text class=tick text-anchor=middle \
                 x={at:.1} y={:.1}>{}</text>",
                bottom + 15.0,
                escape(text)
            );
        }
        for (value, text) in &plot.y.ticks {
            let at = plot.row(*value);
            let _ = write!(
                plot.svg,
                "<line class=grid x1={LEFT} y1={at:.1} x2={right:.1} y2={at:.1} /><text class=tick text-anchor=end x={:.1} \
                 y={:.1}>{}</text>",
                LEFT - 7.0,
                at + 3.5,
                escape(text)
            );
        }
        let (middle, centre) = ((LEFT + right) / 2.0, (TOP + bottom) / 2.0);
        let _ = write!(
            plot.svg,
            "<text class=title x={LEFT} y=18>{}</text><text class=label text-anchor=middle x={middle:.1} y={:.1}>{}</text>\
             <text class=label text-anchor=middle transform=\"translate(13 {centre:.1}) rotate(-90)\">{}</text>",
            escape(title),
            height - 10.0,
            escape(&plot.x.label),
            escape(&plot.y.label)
        );
        plot
    }

    fn column(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn row(&self, value: f64) -> f64 {
        self.height - BOTTOM - self.y.place(value) * (self.height - TOP - BOTTOM)
    }

    fn points(&self, points: impl Iterator<Item = (f64, f64)>) -> String {
        points.fold(String::new(), |mut text, (x, y)| {
            let _ = write!(text, "{:.1},{:.1} ", self.column(x), self.row(y));
            text
        })
    }

    /// A line through the points.
    pub(super) fn line(&mut self, points: &[(f64, f64)], class: &str) {
        let points = self.points(points.iter().copied());
        let _ = write!(self.svg, "<polyline class={class} points=\"{points}\" />");
    }

    /// The area between low and high.
    pub(super) fn band(&mut self, band: &[(f64, f64, f64)]) {
        let outline =
            band.iter().map(|(x, low, _)| (*x, *low)).chain(band.iter().rev().map(|(x, _, high)| (*x, *high)));
        let points = self.points(outline);
        let _ = write!(self.svg, "<polygon class=band points=\"{points}\" />");
    }

    /// A dot with a text that shows under the pointer.
    pub(super) fn dot(&mut self, (x, y): (f64, f64), radius: f64, class: &str, hint: &str) {
        let _ = write!(
            self.svg,
            "<circle class={class} cx={:.1} cy={:.1} r={radius:.1}><title>{}</title></circle>",
            self.column(x),
            self.row(y),
            escape(hint)
        );
    }

    /// A filled rectangle between two corners.
    pub(super) fn rectangle(&mut self, (x0, y0): (f64, f64), (x1, y1): (f64, f64), class: &str) {
        let (left, right) = (self.column(x0.min(x1)), self.column(x0.max(x1)));
        let (top, bottom) = (self.row(y0.max(y1)), self.row(y0.min(y1)));
        let (width, height) = (right - left, bottom - top);
        let _ = write!(self.svg, "<rect class={class} x={left:.1} y={top:.1} width={width:.1} height={height:.1} />");
    }

    /// A text at the right end of the title's line.
    pub(super) fn note(&mut self, text: &str) {
        let _ =
            write!(self.svg, "<text class=note text-anchor=end x={:.1} y=18>{}</text>", WIDTH - RIGHT, escape(text));
    }

    /// The SVG element.
    pub(super) fn finish(self) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" role=img viewBox=\"0 0 {WIDTH} {}\">{}</svg>",
            self.height, self.svg
        )
    }
}

/// Text for HTML and SVG.
pub(super) fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_the_axis() {
        let share = Axis::share("x");
        assert_eq!((share.place(0.25), share.place(7.0), share.place(-1.0)), (0.25, 1.0, 0.0));
        let log = Axis { label: String::new(), from: 0.125, to: 8.0, log: true, ticks: Vec::new() };
        assert!((log.place(1.0) - 0.5).abs() < 1e-12);
        assert_eq!(log.place(0.0), 0.0);
    }

    #[test]
    fn hostile_names_stay_text() {
        let svg = Plot::new("<script>", Axis::share("a&b"), Axis::share("\"")).finish();
        assert!(!svg.contains("<script>") && svg.contains("&lt;script&gt;") && svg.contains("a&amp;b"));
    }
}
