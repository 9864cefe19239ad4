//! A whole viewport without a window: the image in its place, corner texts, orientation letters, ruler.

use super::paint;
use super::text::{draw_outlined, text_width};
use super::{
    Colormap, Placement, Rgba, ViewTransform, Voi, edge_letters, gray_image, pixel_size, pixel_size_mm, place_image,
    ruler_mm,
};
use crate::study::{Frame, Series, SpacingKind, Study};

/// Text in the corners of a viewport, one entry a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct CornerTexts {
    pub top_left: Vec<String>,
    pub top_right: Vec<String>,
    pub bottom_left: Vec<String>,
    pub bottom_right: Vec<String>,
}

impl CornerTexts {
    /// What a reader expects: patient and study, series, slice and position, window and zoom. Empty values are left out.
    pub fn new(study: &Study, series: &Series, position: usize, frame: &Frame, voi: &Voi, zoom: f64) -> Self {
        let lines = |lines: Vec<String>| lines.into_iter().filter(|line| !line.trim().is_empty()).collect();
        let mut slice = vec![format!("Image {} / {}", position + 1, series.frame_count())];
        if let Some(geometry) = &frame.display.geometry
            && series.frame_count() > 1
        {
            slice.push(format!("Position {:.1} mm", geometry.distance_along_normal()));
        }
        if let Some(thickness) = frame.display.slice_thickness_mm {
            slice.push(format!("Thickness {thickness:.1} mm"));
        }
        let mut view = vec![voi.describe(), format!("Zoom {:.0} %", zoom * 100.0)];
        if let Some(method) = &frame.display.lossy {
            view.insert(0, if method.is_empty() { "Lossy".to_owned() } else { format!("Lossy ({method})") });
        }
        // The words before the colon are enough in a corner.
        let short = |warning: &String| warning.split(':').next().unwrap_or_default().to_owned();
        view.splice(0..0, frame.display.warnings.iter().map(short));
        let number = series.number.map(|number| format!("Series {number}")).unwrap_or_default();
        Self {
            top_left: lines(vec![
                study.patient.name.clone(),
                study.patient.id.clone(),
                [date(&study.patient.birth_date), study.patient.sex.clone()].join(" ").trim().to_owned(),
                date(&study.date),
                study.description.clone(),
            ]),
            top_right: lines(vec![
                [series.modality.clone(), number].join("  ").trim().to_owned(),
                series.description.clone(),
                [series.body_part.clone(), series.view_position.clone(), series.laterality.clone()]
                    .join(" ")
                    .trim()
                    .to_owned(),
                series.institution.clone(),
            ]),
            bottom_left: slice,
            bottom_right: view,
        }
    }
}

/// A DICOM date as `2026-11-24`; other text as it is.
pub fn date(dicom: &str) -> String {
    let dicom = dicom.trim();
    match (dicom.get(0..4), dicom.get(4..6), dicom.get(6..8)) {
        (Some(year), Some(month), Some(day)) if dicom.len() == 8 && dicom.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{year}-{month}-{day}")
        }
        _ => dicom.to_owned(),
    }
}

/// The frame in a viewport of `width` by `height` pixels, letterboxed in black. With a colormap gray is shown in its colours.
pub fn render_slice(
    frame: &Frame,
    voi: &Voi,
    view: &ViewTransform,
    colormap: Option<Colormap>,
    (width, height): (usize, usize),
) -> (Rgba, Placement) {
    let mut image = gray_image(frame, voi);
    if let Some(map) = colormap {
        for pixel in &mut image.pixels {
            let [r, g, b] = map.table()[usize::from(pixel[0])];
            *pixel = [r, g, b, pixel[3]];
        }
    }
    let placement = Placement::of_frame(view, frame.shape(), &frame.display, (width as f64, height as f64));
    let same_size = *view == ViewTransform::default() && (image.width, image.height) == (width, height);
    let square = {
        let (row, column) = pixel_size(&frame.display);
        (row / column - 1.0).abs() < 1e-9
    };
    if same_size && square {
        return (image, placement);
    }
    (place_image(&image, &placement, width, height), placement)
}

/// Size of a frame with square pixels: the finer axis keeps its pixels.
pub fn native_size(frame: &Frame) -> (usize, usize) {
    let (rows, columns) = frame.shape();
    let (row, column) = pixel_size(&frame.display);
    let finest = row.min(column);
    let along = |count: usize, size: f64| {
        let length = count as f64 * size / finest;
        if length.is_finite() { length.round().clamp(1.0, 65_535.0) as usize } else { count }
    };
    (along(columns, column), along(rows, row))
}

/// White with a dark rim: readable on every image.
pub fn draw_label(image: &mut Rgba, at: (f32, f32), size: f32, text: &str) {
    draw_outlined(image, at, size, 0.24, [0, 0, 0, 190], text);
    draw_outlined(image, at, size, 0.03, [245, 245, 245, 255], text);
}

/// Draws orientation letters in the middle of the edges.
pub fn draw_edge_letters(image: &mut Rgba, frame: &Frame, view: &ViewTransform, size: f32) {
    let Some([top, right, bottom, left]) = edge_letters(&frame.display, view) else { return };
    let (width, height) = (image.width as f32, image.height as f32);
    let margin = size * 0.5;
    let middle = |text: &str| (width - text_width(text, size)) / 2.0;
    let center = height / 2.0 + size * 0.35;
    draw_label(image, (middle(&top), margin + size * 0.8), size, &top);
    draw_label(image, (middle(&bottom), height - margin), size, &bottom);
    draw_label(image, (margin, center), size, &left);
    draw_label(image, (width - margin - text_width(&right, size), center), size, &right);
}

/// Draws a ruler of a round length along the lower edge; nothing where the spacing is unknown.
pub fn draw_ruler(image: &mut Rgba, frame: &Frame, placement: &Placement, size: f32) {
    let (Some(spacing), Some(_)) = (frame.display.spacing, pixel_size_mm(&frame.display)) else { return };
    let (width, height) = (image.width as f32, image.height as f32);
    let Some((mm, length)) = ruler_mm(placement.scale(), f64::from(width) * 0.3) else { return };
    let length = length as f32;
    let (x, y) = ((width - length) / 2.0, height - size * 2.0);
    let tick = size * 0.35;
    let line = (size / 10.0).max(1.0);
    let parts =
        [[(x, y), (x + length, y)], [(x, y - tick), (x, y + tick)], [(x + length, y - tick), (x + length, y + tick)]];
    for part in &parts {
        paint::stroke(image, part, false, line + 2.0, [0, 0, 0, 130]);
    }
    for part in &parts {
        paint::stroke(image, part, false, line, [235, 235, 235, 255]);
    }
    let mut text = if mm >= 10.0 { format!("{:.0} cm", mm / 10.0) } else { format!("{mm} mm") };
    if spacing.kind == SpacingKind::Detector {
        text.push_str(" on the detector");
    }
    let at = ((width - text_width(&text, size)) / 2.0, y - tick - size * 0.3);
    draw_label(image, at, size, &text);
}

/// Draws corner texts.
pub fn draw_corner_texts(image: &mut Rgba, texts: &CornerTexts, size: f32) {
    let (width, height) = (image.width as f32, image.height as f32);
    let (margin, line) = (size * 0.5, size * 1.25);
    for (lines, right, bottom) in [
        (&texts.top_left, false, false),
        (&texts.top_right, true, false),
        (&texts.bottom_left, false, true),
        (&texts.bottom_right, true, true),
    ] {
        for (index, text) in lines.iter().enumerate() {
            let x = if right { width - margin - text_width(text, size) } else { margin };
            let y = if bottom {
                height - margin - (lines.len() - 1 - index) as f32 * line
            } else {
                margin + size * 0.8 + index as f32 * line
            };
            draw_label(image, (x, y), size, text);
        }
    }
}

/// Text size that suits an image, pixels.
pub fn text_size(width: usize, height: usize) -> f32 {
    (width.min(height) as f32 / 45.0).clamp(9.0, 40.0)
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::study::{DisplayAttributes, GrayPixels, PixelSpacing, Pixels};

    fn frame(rows: usize, columns: usize, row_mm: f64, column_mm: f64) -> Frame {
        let spacing = PixelSpacing { row_mm, column_mm, kind: SpacingKind::Patient };
        Frame {
            pixels: Pixels::Gray(GrayPixels::U8(Array2::from_elem((rows, columns), 128))),
            display: DisplayAttributes { spacing: Some(spacing), ..DisplayAttributes::default() },
        }
    }

    #[test]
    fn native_size_keeps_the_finer_axis() {
        assert_eq!(native_size(&frame(100, 200, 1.0, 0.5)), (200, 200));
        assert_eq!(native_size(&frame(100, 200, 0.7, 0.7)), (200, 100));
        assert_eq!(native_size(&frame(10, 10, 0.0, 0.5)), (10, 10), "spacing that makes no sense is not used");
    }

    #[test]
    fn square_pixels_at_native_size_are_the_stored_pixels() {
        let frame = frame(30, 40, 0.7, 0.7);
        let voi = Voi::of_frame(&frame);
        let (image, _) = render_slice(&frame, &voi, &ViewTransform::default(), None, native_size(&frame));
        assert_eq!(image, gray_image(&frame, &voi));
    }

    #[test]
    fn furniture_is_drawn_and_fits_small_images() {
        for size in [8, 300] {
            let frame = frame(size, size, 0.5, 0.5);
            let voi = Voi::of_frame(&frame);
            let (mut image, placement) = render_slice(&frame, &voi, &ViewTransform::default(), None, (size, size));
            let before = image.clone();
            draw_ruler(&mut image, &frame, &placement, 12.0);
            draw_edge_letters(&mut image, &frame, &ViewTransform::default(), 12.0);
            let texts = CornerTexts { top_right: vec!["CT  Series 3".into()], ..CornerTexts::default() };
            draw_corner_texts(&mut image, &texts, 12.0);
            assert_ne!(image, before);
        }
    }

    #[test]
    fn dates_are_readable() {
        assert_eq!(date("20261124"), "2026-11-24");
        assert_eq!(date("2026"), "2026");
        assert_eq!(date("２０２６1124"), "２０２６1124");
        assert_eq!(date(""), "");
    }
}
