//! Look of the window: design tokens from `assets/tokens.toml`, turned into egui's style and fonts.

use std::sync::{Arc, LazyLock};

use eframe::egui::{
    self, Color32, CornerRadius, FontData, FontDefinitions, FontFamily, FontId, Margin, Shadow, Stroke, TextStyle,
};
use lucide_icons::Icon;
use serde::{Deserialize, Deserializer};

/// Name of the font family that holds the icons.
const ICON_FAMILY: &str = "icons";

static TOKENS: LazyLock<Tokens> = LazyLock::new(|| {
    // The file is part of the binary and a test reads it, so this cannot fail in the field.
    toml::from_str(include_str!("../assets/tokens.toml")).expect("the built-in design tokens are valid")
});

/// Everything in `assets/tokens.toml`.
#[derive(Debug, Deserialize)]
pub struct Tokens {
    /// Distances between things.
    pub space: Space,
    /// Corner radii.
    pub radius: Radius,
    /// Type sizes, points.
    #[serde(rename = "type")]
    pub text: TextSizes,
    /// Sizes of fixed parts.
    pub size: Sizes,
    /// The dark palette.
    pub dark: Palette,
    /// The light palette.
    pub light: Palette,
    /// Colours on images, the same in both palettes.
    pub viewport: ViewportPalette,
}

/// Distances, points, on a grid of four.
#[derive(Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Space {
    pub xs: f32,
    pub s: f32,
    pub m: f32,
    pub l: f32,
    pub xl: f32,
    pub xxl: f32,
}

/// Corner radii, points.
#[derive(Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Radius {
    pub s: u8,
    pub m: u8,
    pub l: u8,
}

/// Type sizes, points.
#[derive(Debug, Deserialize)]
#[allow(missing_docs)]
pub struct TextSizes {
    pub small: f32,
    pub body: f32,
    pub title: f32,
    pub display: f32,
    pub hero: f32,
}

/// Sizes of fixed parts, points.
#[derive(Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Sizes {
    pub control: f32,
    pub icon: f32,
    pub top_bar: f32,
    pub status_bar: f32,
    pub lens_header: f32,
    pub lens_title: f32,
    pub thumbnail: f32,
    pub card: f32,
    pub browser: f32,
    pub findings: f32,
    pub hairline: f32,
}

/// Colours of one theme; `tokens.toml` says what each is for.
#[derive(Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Palette {
    #[serde(deserialize_with = "color")]
    pub window: Color32,
    #[serde(deserialize_with = "color")]
    pub panel: Color32,
    #[serde(deserialize_with = "color")]
    pub raised: Color32,
    #[serde(deserialize_with = "color")]
    pub hover: Color32,
    #[serde(deserialize_with = "color")]
    pub active: Color32,
    #[serde(deserialize_with = "color")]
    pub line: Color32,
    #[serde(deserialize_with = "color")]
    pub text: Color32,
    #[serde(deserialize_with = "color")]
    pub weak: Color32,
    #[serde(deserialize_with = "color")]
    pub faint: Color32,
    #[serde(deserialize_with = "color")]
    pub warm: Color32,
    #[serde(deserialize_with = "color")]
    pub cool: Color32,
    #[serde(deserialize_with = "color")]
    pub warm_fill: Color32,
    #[serde(deserialize_with = "color")]
    pub cool_fill: Color32,
    #[serde(deserialize_with = "color")]
    pub warning: Color32,
    #[serde(deserialize_with = "color")]
    pub danger: Color32,
    #[serde(deserialize_with = "color")]
    pub success: Color32,
    #[serde(deserialize_with = "color")]
    pub focus: Color32,
    #[serde(deserialize_with = "color")]
    pub primary: Color32,
    #[serde(deserialize_with = "color")]
    pub on_primary: Color32,
    #[serde(deserialize_with = "color")]
    pub shadow: Color32,
    #[serde(deserialize_with = "color")]
    pub scrim: Color32,
}

/// Colours drawn over images.
#[derive(Debug, Deserialize)]
#[allow(missing_docs)]
pub struct ViewportPalette {
    #[serde(deserialize_with = "color")]
    pub background: Color32,
    #[serde(deserialize_with = "color")]
    pub text: Color32,
    #[serde(deserialize_with = "color")]
    pub weak: Color32,
    #[serde(deserialize_with = "color")]
    pub line: Color32,
    #[serde(deserialize_with = "color")]
    pub warm: Color32,
    #[serde(deserialize_with = "color")]
    pub cool: Color32,
    #[serde(deserialize_with = "color")]
    pub warning: Color32,
    #[serde(deserialize_with = "color")]
    pub mark: Color32,
    #[serde(deserialize_with = "color")]
    pub halo: Color32,
    #[serde(deserialize_with = "color")]
    pub axial: Color32,
    #[serde(deserialize_with = "color")]
    pub coronal: Color32,
    #[serde(deserialize_with = "color")]
    pub sagittal: Color32,
    #[serde(deserialize_with = "color")]
    pub reference: Color32,
}

fn color<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Color32, D::Error> {
    let text = String::deserialize(deserializer)?;
    Color32::from_hex(&text).map_err(|_| serde::de::Error::custom(format!("`{text}` is no colour (#rrggbb)")))
}

/// The tokens with the palette in use: what panels draw with.
#[derive(Debug, Clone, Copy)]
pub struct Theme {
    /// All tokens.
    pub tokens: &'static Tokens,
    /// Colours of the theme in use.
    pub palette: &'static Palette,
    /// Whether that is the dark one.
    pub dark: bool,
}

impl Theme {
    /// The theme of that brightness.
    pub fn new(dark: bool) -> Self {
        let tokens: &'static Tokens = &TOKENS;
        Self { tokens, palette: if dark { &tokens.dark } else { &tokens.light }, dark }
    }

    /// Distances.
    pub fn space(&self) -> &'static Space {
        &self.tokens.space
    }

    /// Sizes of fixed parts.
    pub fn size(&self) -> &'static Sizes {
        &self.tokens.size
    }

    /// Colours on images.
    pub fn viewport(&self) -> &'static ViewportPalette {
        &self.tokens.viewport
    }

    /// Hairline in the colour of borders.
    pub fn line(&self) -> Stroke {
        Stroke::new(self.tokens.size.hairline, self.palette.line)
    }

    /// Small text: captions, tables, corner texts.
    pub fn small(&self) -> FontId {
        FontId::proportional(self.tokens.text.small)
    }

    /// Running text.
    pub fn body(&self) -> FontId {
        FontId::proportional(self.tokens.text.body)
    }

    /// Numbers that must not jump while they change.
    pub fn mono(&self) -> FontId {
        FontId::monospace(self.tokens.text.small)
    }

    /// An icon at `size` points.
    pub fn icon_font(&self, size: f32) -> FontId {
        FontId::new(size, FontFamily::Name(ICON_FAMILY.into()))
    }

    /// An icon as text, in the size of icons and the given colour.
    pub fn icon(&self, icon: Icon, color: Color32) -> egui::RichText {
        egui::RichText::new(char::from(icon).to_string()).font(self.icon_font(self.tokens.size.icon)).color(color)
    }

    /// Frame of a side panel.
    pub fn panel_frame(&self) -> egui::Frame {
        egui::Frame::new().fill(self.palette.panel).inner_margin(Margin::same(self.tokens.space.m as i8))
    }

    /// Frame of a card.
    pub fn card_frame(&self) -> egui::Frame {
        egui::Frame::new()
            .fill(self.palette.raised)
            .stroke(self.line())
            .corner_radius(CornerRadius::same(self.tokens.radius.m))
            .inner_margin(Margin::same(self.tokens.space.m as i8))
    }
}

/// Installs fonts and both styles. Call once, before the first frame.
pub fn install(ctx: &egui::Context) {
    ctx.set_fonts(fonts());
    for (theme, dark) in [(egui::Theme::Dark, true), (egui::Theme::Light, false)] {
        ctx.style_mut_of(theme, |style| apply(style, &Theme::new(dark)));
    }
}

fn fonts() -> FontDefinitions {
    let mut fonts = FontDefinitions::default();
    let name = "lucide".to_owned();
    fonts.font_data.insert(name.clone(), Arc::new(FontData::from_static(lucide_icons::LUCIDE_FONT_BYTES)));
    fonts.families.insert(FontFamily::Name(ICON_FAMILY.into()), vec![name]);
    fonts
}

fn apply(style: &mut egui::Style, theme: &Theme) {
    let Tokens { space, radius, text, size, .. } = theme.tokens;
    let palette = theme.palette;
    style.text_styles = [
        (TextStyle::Small, FontId::proportional(text.small)),
        (TextStyle::Body, FontId::proportional(text.body)),
        (TextStyle::Button, FontId::proportional(text.body)),
        (TextStyle::Heading, FontId::proportional(text.title)),
        (TextStyle::Monospace, FontId::monospace(text.small)),
    ]
    .into();
    // Nothing moves unless the reader did something: no fades, no sliding panels.
    style.animation_time = 0.0;
    style.scroll_animation = egui::style::ScrollAnimation::none();
    style.interaction.tooltip_delay = 0.4;
    style.interaction.selectable_labels = false;

    let spacing = &mut style.spacing;
    spacing.item_spacing = egui::vec2(space.s, space.xs);
    spacing.button_padding = egui::vec2(space.s, space.xs);
    spacing.interact_size = egui::vec2(size.control, size.control);
    spacing.icon_spacing = space.xs;
    spacing.indent = space.l;
    spacing.menu_margin = Margin::same(space.xs as i8);
    spacing.window_margin = Margin::same(space.l as i8);
    spacing.slider_rail_height = space.xs;
    spacing.scroll = egui::style::ScrollStyle::floating();

    let visuals = &mut style.visuals;
    visuals.dark_mode = theme.dark;
    visuals.override_text_color = None;
    visuals.weak_text_color = Some(palette.weak);
    visuals.panel_fill = palette.panel;
    visuals.window_fill = palette.raised;
    visuals.window_stroke = theme.line();
    visuals.window_corner_radius = CornerRadius::same(radius.l);
    visuals.menu_corner_radius = CornerRadius::same(radius.m);
    visuals.extreme_bg_color = palette.window;
    visuals.text_edit_bg_color = Some(palette.window);
    visuals.faint_bg_color = palette.raised;
    visuals.code_bg_color = palette.raised;
    visuals.hyperlink_color = palette.focus;
    visuals.warn_fg_color = palette.warning;
    visuals.error_fg_color = palette.danger;
    visuals.selection.bg_fill = palette.active;
    visuals.selection.stroke = Stroke::new(size.hairline, palette.text);
    visuals.slider_trailing_fill = true;
    visuals.handle_shape = egui::style::HandleShape::Rect { aspect_ratio: 0.4 };
    let shadow = Shadow { offset: [0, 4], blur: 16, spread: 0, color: palette.shadow };
    visuals.window_shadow = shadow;
    visuals.popup_shadow = shadow;

    let widget = |fill: Color32, text: Color32, border: Color32| egui::style::WidgetVisuals {
        bg_fill: fill,
        weak_bg_fill: fill,
        bg_stroke: Stroke::new(size.hairline, border),
        corner_radius: CornerRadius::same(radius.s),
        fg_stroke: Stroke::new(size.hairline, text),
        expansion: 0.0,
    };
    let widgets = &mut visuals.widgets;
    widgets.noninteractive = widget(palette.panel, palette.text, palette.line);
    widgets.inactive = widget(palette.raised, palette.text, palette.line);
    widgets.hovered = widget(palette.hover, palette.text, palette.line);
    widgets.active = widget(palette.active, palette.text, palette.focus);
    widgets.open = widget(palette.active, palette.text, palette.line);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance, WCAG 2.1.
    fn luminance(color: Color32) -> f32 {
        let linear = |v: u8| {
            let v = f32::from(v) / 255.0;
            if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(color.r()) + 0.7152 * linear(color.g()) + 0.0722 * linear(color.b())
    }

    fn contrast(a: Color32, b: Color32) -> f32 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn contrast_of_black_and_white_is_21() {
        assert!((contrast(Color32::BLACK, Color32::WHITE) - 21.0).abs() < 0.01);
    }

    #[test]
    fn text_meets_wcag_aa_on_every_surface() {
        for dark in [true, false] {
            let p = Theme::new(dark).palette;
            let surfaces = [("window", p.window), ("panel", p.panel), ("raised", p.raised), ("hover", p.hover)];
            let texts = [
                ("text", p.text),
                ("weak", p.weak),
                ("faint", p.faint),
                ("warm", p.warm),
                ("cool", p.cool),
                ("warning", p.warning),
                ("danger", p.danger),
                ("success", p.success),
                ("focus", p.focus),
            ];
            let mut pairs = vec![
                ("on_primary", p.on_primary, "primary", p.primary),
                ("text", p.text, "active", p.active),
                ("weak", p.weak, "active", p.active),
                ("warm", p.warm, "warm_fill", p.warm_fill),
                ("cool", p.cool, "cool_fill", p.cool_fill),
            ];
            for (surface_name, surface) in surfaces {
                pairs.extend(texts.iter().map(|(name, text)| (*name, *text, surface_name, surface)));
            }
            for (text_name, text, surface_name, surface) in pairs {
                let ratio = contrast(text, surface);
                assert!(ratio >= 4.5, "{text_name} on {surface_name}, dark {dark}: {ratio:.2}");
            }
        }
        let v = Theme::new(true).viewport();
        let over_white = (255.0 * (1.0 - crate::ui::widgets::PLATE_OPACITY)).round() as u8;
        let plate = Color32::from_gray(over_white);
        for text in [v.text, v.weak, v.warm, v.cool, v.warning, v.mark, v.axial, v.coronal, v.sagittal] {
            assert!(contrast(text, plate) >= 4.5, "{text:?} on a plate over white: {:.2}", contrast(text, plate));
        }
        for text in [v.text, v.weak, v.warm, v.cool, v.warning, v.mark, v.axial, v.coronal, v.sagittal] {
            assert!(contrast(text, v.background) >= 4.5);
        }
    }

    #[test]
    fn viewports_are_pure_black() {
        assert_eq!(Theme::new(true).viewport().background, Color32::BLACK);
    }

    #[test]
    fn spacing_is_on_the_grid_of_four() {
        let s = Theme::new(true).space();
        for value in [s.xs, s.s, s.m, s.l, s.xl, s.xxl] {
            assert_eq!(value % 4.0, 0.0);
        }
    }
}
