//! Frame, window and overlays to pixels: pure functions shared by the screen, the report, the command line and tests.
//!
//! [`gray_image`] turns a frame into gray by a [`Voi`]; [`heat_layer`] turns a map of values into a transparent layer by
//! a [`Colormap`]; [`Placement`] says where both lie on the screen; [`paint`] draws lines and areas.

mod color;
mod colormap;
mod image;
mod overlay;
pub mod paint;
mod sample;
mod slice;
mod system_fonts;
mod text;
mod view;
mod voi;

pub use color::{COOL, Oklab, WARM, cie_lightness, luminance, oklab_from_srgb, organ_color, srgb_from_oklab};
pub use colormap::{Colormap, UnknownColormap};
pub use image::Rgba;
pub use overlay::{HeatStyle, blend_heat, color_bar, draw_contours, heat_layer};
pub use sample::{place_contour, place_image, place_values};
pub use slice::{
    CornerTexts, date, draw_corner_texts, draw_edge_letters, draw_label, draw_ruler, native_size, render_slice,
    text_size,
};
pub use text::{Face, Glyph, Weight, draw_text, faces, glyphs, text_width, wrap};
pub use view::{Placement, ViewTransform, ZOOM_RANGE, edge_letters, pixel_size, pixel_size_mm, ruler_mm};
pub use voi::{Preset, Voi, VoiMapping, automatic_window, gray_image};
