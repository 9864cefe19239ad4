//! The layout of a report: a cursor that runs down a page and on to the next.

use super::page::{A4, Item, Page};
use crate::render::{Weight, text_width, wrap};

/// Left and right margin, points.
pub(super) const MARGIN: f32 = 42.0;
/// Width between the margins.
pub(super) const WIDTH: f32 = A4.0 - 2.0 * MARGIN;
const TOP: f32 = 66.0;
const BOTTOM: f32 = A4.1 - 52.0;

/// Near-black for text.
pub(super) const INK: [u8; 3] = [0x1B, 0x1F, 0x24];
/// Gray for what is secondary; contrast 5.9 on white.
pub(super) const GRAY: [u8; 3] = [0x5B, 0x64, 0x70];
/// Rules and frames.
pub(super) const RULE: [u8; 3] = [0xC9, 0xCE, 0xD4];
/// Ground of blocks.
pub(super) const SHADE: [u8; 3] = [0xF3, 0xF5, 0xF7];

/// Size of body text.
pub(super) const BODY: f32 = 9.0;
/// Size of captions and notes.
pub(super) const SMALL: f32 = 7.5;

/// Distance of baselines.
pub(super) fn line_height(size: f32) -> f32 {
    size * 1.38
}

/// How a table column is set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub title: &'static str,
    /// Share of the table's width.
    pub share: f32,
}

/// One cell of a table.
#[derive(Debug, Clone, Default)]
pub(super) struct Cell {
    pub text: String,
    pub bold: bool,
    pub gray: bool,
    /// Struck through: a rejected finding.
    pub struck: bool,
    /// A bar from 0 to 1 under the text.
    pub bar: Option<(f32, [u8; 3])>,
    /// A patch of colour before the text.
    pub swatch: Option<[u8; 3]>,
}

impl Cell {
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    pub fn bold(text: impl Into<String>) -> Self {
        Self { text: text.into(), bold: true, ..Self::default() }
    }
}

/// Pages being laid out.
pub(super) struct Flow {
    pages: Vec<Vec<Item>>,
    y: f32,
}

impl Flow {
    pub fn new() -> Self {
        Self { pages: vec![Vec::new()], y: TOP }
    }

    /// Height that is left on this page.
    pub fn left(&self) -> f32 {
        BOTTOM - self.y
    }

    /// Where the next thing goes.
    pub fn y(&self) -> f32 {
        self.y
    }

    /// Leaves space, which is dropped at the top of a page.
    pub fn space(&mut self, height: f32) {
        if self.y > TOP {
            self.y += height;
        }
    }

    /// Moves down past what was drawn.
    pub fn advance(&mut self, height: f32) {
        self.y += height;
    }

    /// Starts a new page unless `height` still fits on this one.
    pub fn need(&mut self, height: f32) {
        if self.y + height > BOTTOM && self.y > TOP {
            self.pages.push(Vec::new());
            self.y = TOP;
        }
    }

    pub fn push(&mut self, item: Item) {
        if let Some(page) = self.pages.last_mut() {
            page.push(item);
        }
    }

    pub fn text_at(
        &mut self,
        x: f32,
        baseline: f32,
        size: f32,
        weight: Weight,
        color: [u8; 3],
        text: impl Into<String>,
    ) {
        self.push(Item::Text { x, baseline, size, weight, color, text: text.into() });
    }

    /// A paragraph between `x` and `x + width`, line by line over as many pages as it takes.
    pub fn paragraph(&mut self, x: f32, width: f32, size: f32, color: [u8; 3], text: &str) {
        for line in wrap(text, size, width) {
            self.need(line_height(size));
            let baseline = self.y + size;
            self.text_at(x, baseline, size, Weight::Regular, color, line);
            self.y += line_height(size);
        }
    }

    /// A section's heading with a coloured chip that says which branch it belongs to; it stays with `follow` points of what
    /// comes after it.
    pub fn heading(&mut self, title: &str, chip: Option<(&str, [u8; 3])>, follow: f32) {
        self.space(12.0);
        self.need(24.0 + follow);
        let baseline = self.y + 12.0;
        self.text_at(MARGIN, baseline, 12.0, Weight::Bold, INK, title);
        if let Some((text, color)) = chip {
            self.chip(MARGIN + text_width(title, 12.0) + 9.0, baseline - 9.0, text, color);
        }
        self.push(Item::Line {
            from: (MARGIN, self.y + 18.0),
            to: (MARGIN + WIDTH, self.y + 18.0),
            width: 0.6,
            color: chip.map_or(RULE, |(_, color)| color),
        });
        self.y += 24.0;
    }

    /// A small label on a coloured ground; returns its width.
    pub fn chip(&mut self, x: f32, y: f32, text: &str, color: [u8; 3]) -> f32 {
        let width = text_width(text, 6.5) + 8.0;
        self.push(Item::Rect { x, y, width, height: 10.5, radius: 3.0, color });
        self.text_at(x + 4.0, y + 7.6, 6.5, Weight::Bold, INK, text);
        width
    }

    /// A text block on a tinted ground with a coloured edge, over several pages where it is long.
    pub fn note(&mut self, edge: [u8; 3], title: &str, text: &str) {
        let lines = wrap(text, BODY, WIDTH - 24.0);
        let mut rest = lines.as_slice();
        let mut title = Some(title);
        while !rest.is_empty() {
            let head = if title.is_some() { line_height(BODY) } else { 0.0 };
            self.need(head + 3.0 * line_height(BODY) + 12.0);
            let fit = (((BOTTOM - self.y - head - 12.0) / line_height(BODY)) as usize).clamp(1, rest.len());
            let (now, later) = rest.split_at(fit);
            let height = head + now.len() as f32 * line_height(BODY) + 10.0;
            self.push(Item::Rect { x: MARGIN, y: self.y, width: WIDTH, height, radius: 2.0, color: SHADE });
            self.push(Item::Rect { x: MARGIN, y: self.y, width: 3.0, height, radius: 0.0, color: edge });
            let mut baseline = self.y + 5.0 + BODY;
            if let Some(title) = title.take() {
                self.text_at(MARGIN + 12.0, baseline, BODY, Weight::Bold, INK, title);
                baseline += line_height(BODY);
            }
            for line in now {
                self.text_at(MARGIN + 12.0, baseline, BODY, Weight::Regular, INK, line.clone());
                baseline += line_height(BODY);
            }
            self.y += height + 6.0;
            rest = later;
        }
    }

    /// Names and values in two columns on a tinted ground; a value too long for its column takes a row of its own.
    pub fn facts(&mut self, facts: &[(&str, String)]) {
        const LABEL: f32 = 82.0;
        let half = WIDTH / 2.0;
        let room = |wide: bool| if wide { WIDTH } else { half } - LABEL - 22.0;
        let is_long = |value: &str| wrap(value, BODY, room(false)).len() > 2;
        let mut rows: Vec<Vec<&(&str, String)>> = Vec::new();
        for fact in facts {
            match rows.last_mut() {
                Some(row) if row.len() == 1 && !is_long(&row[0].1) && !is_long(&fact.1) => row.push(fact),
                _ => rows.push(vec![fact]),
            }
        }
        for row in rows {
            let wide = row.len() == 1 && is_long(&row[0].1);
            let values: Vec<Vec<String>> = row.iter().map(|(_, value)| wrap(value, BODY, room(wide))).collect();
            // A value of absurd length is cut to what a page holds.
            let lines = values.iter().map(Vec::len).max().unwrap_or(1).min(40);
            let height = lines as f32 * line_height(BODY) + 4.0;
            self.need(height);
            let ground = height + 0.5;
            self.push(Item::Rect { x: MARGIN, y: self.y, width: WIDTH, height: ground, radius: 0.0, color: SHADE });
            for (i, (value, (name, _))) in values.iter().zip(&row).enumerate() {
                let x = MARGIN + 10.0 + i as f32 * half;
                let baseline = self.y + 2.0 + BODY;
                self.text_at(x, baseline, SMALL, Weight::Regular, GRAY, *name);
                for (n, line) in value.iter().take(lines).enumerate() {
                    let baseline = baseline + n as f32 * line_height(BODY);
                    self.text_at(x + LABEL, baseline, BODY, Weight::Regular, INK, line.clone());
                }
            }
            self.y += height;
        }
    }

    /// A table; its head is repeated on every page, and rows longer than a page are continued.
    pub fn table(&mut self, columns: &[Column], rows: &[Vec<Cell>], edge: [u8; 3]) {
        const PAD: f32 = 5.0;
        let starts: Vec<f32> = columns
            .iter()
            .scan(MARGIN, |x, column| {
                let start = *x;
                *x += column.share * WIDTH;
                Some(start)
            })
            .collect();
        let indent = |cell: &Cell| if cell.swatch.is_some() { 11.0 } else { 0.0 };
        self.need(2.0 * line_height(BODY) + 22.0);
        self.table_head(columns, &starts, edge);
        for row in rows {
            let mut lines: Vec<Vec<String>> = row
                .iter()
                .zip(columns)
                .map(|(cell, column)| wrap(&cell.text, BODY, (column.share * WIDTH - PAD - indent(cell)).max(12.0)))
                .collect();
            let mut first = true;
            loop {
                let longest = lines.iter().map(Vec::len).max().unwrap_or(1);
                let bar = if row.iter().any(|cell| cell.bar.is_some()) && first { 4.0 } else { 0.0 };
                let room = ((BOTTOM - self.y - 7.0 - bar) / line_height(BODY)).floor().max(0.0) as usize;
                if room < longest.min(4) && self.y > TOP + 30.0 {
                    self.pages.push(Vec::new());
                    self.y = TOP;
                    self.table_head(columns, &starts, edge);
                    continue;
                }
                let now = longest.min(room.max(1));
                for ((cell, column), (start, cell_lines)) in row.iter().zip(columns).zip(starts.iter().zip(&mut lines))
                {
                    let take = now.min(cell_lines.len());
                    let x = start + indent(cell);
                    for (n, line) in cell_lines.drain(..take).enumerate() {
                        let baseline = self.y + 3.0 + BODY + n as f32 * line_height(BODY);
                        self.cell_line(cell, x, baseline, &line);
                    }
                    if first {
                        self.cell_marks(cell, *start, take, column.share * WIDTH - PAD);
                    }
                }
                self.y += now as f32 * line_height(BODY) + 6.0 + bar;
                first = false;
                if lines.iter().all(Vec::is_empty) {
                    break;
                }
            }
            self.push(Item::Line { from: (MARGIN, self.y), to: (MARGIN + WIDTH, self.y), width: 0.4, color: RULE });
        }
        self.y += 4.0;
    }

    fn table_head(&mut self, columns: &[Column], starts: &[f32], edge: [u8; 3]) {
        for (column, start) in columns.iter().zip(starts) {
            self.text_at(*start, self.y + SMALL + 1.0, SMALL, Weight::Regular, GRAY, column.title);
        }
        self.y += line_height(SMALL) + 3.0;
        self.push(Item::Line { from: (MARGIN, self.y), to: (MARGIN + WIDTH, self.y), width: 0.9, color: edge });
    }

    fn cell_line(&mut self, cell: &Cell, x: f32, baseline: f32, line: &str) {
        let color = if cell.gray || cell.struck { GRAY } else { INK };
        let weight = if cell.bold { Weight::Bold } else { Weight::Regular };
        self.text_at(x, baseline, BODY, weight, color, line);
        if cell.struck && !line.is_empty() {
            let y = baseline - 0.28 * BODY;
            self.push(Item::Line { from: (x, y), to: (x + text_width(line, BODY), y), width: 0.7, color: GRAY });
        }
    }

    fn cell_marks(&mut self, cell: &Cell, x: f32, lines: usize, width: f32) {
        if let Some(color) = cell.swatch {
            self.push(Item::Rect { x, y: self.y + 5.0, width: 7.0, height: 7.0, radius: 1.5, color });
        }
        if let Some((value, color)) = cell.bar {
            let y = self.y + lines as f32 * line_height(BODY) + 4.0;
            let full = width - 8.0;
            self.push(Item::Rect { x, y, width: full, height: 2.6, radius: 1.3, color: RULE });
            let filled = full * value.clamp(0.0, 1.0);
            if filled > 0.1 {
                self.push(Item::Rect { x, y, width: filled, height: 2.6, radius: 1.3, color });
            }
        }
    }

    /// Ends the layout: `furniture` draws what stands on every page, given its number from 1 and how many there are.
    pub fn finish(self, furniture: impl Fn(usize, usize, &mut Vec<Item>)) -> Vec<Page> {
        let count = self.pages.len();
        let finish = |(index, mut items): (usize, Vec<Item>)| {
            furniture(index + 1, count, &mut items);
            Page { width: A4.0, height: A4.1, items }
        };
        self.pages.into_iter().enumerate().map(finish).collect()
    }
}
