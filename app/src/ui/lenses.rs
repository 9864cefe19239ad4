//! The two lenses: the same image twice, one linked view, each with its own evidence laid over it.

use eframe::egui::{self, Align, Layout, Rect, RichText, Ui, UiBuilder, pos2, vec2};

use super::{Cx, viewport, widgets};
use crate::state::{Lens, LensLayout, Reading};

/// Draws the lenses into `rect`; returns whether an image was shown.
pub fn show(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading, rect: Rect) -> bool {
    match reading.layout {
        LensLayout::Only(lens) => pane(ui, cx, reading, lens, rect),
        LensLayout::Both => {
            let gap = cx.theme.size().hairline;
            let middle = rect.center().x.round();
            let left = Rect::from_min_max(rect.min, pos2(middle - gap, rect.bottom()));
            let right = Rect::from_min_max(pos2(middle, rect.top()), rect.max);
            let first = pane(ui, cx, reading, Lens::Local, left);
            let second = pane(ui, cx, reading, Lens::Global, right);
            first || second
        }
    }
}

fn pane(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading, lens: Lens, rect: Rect) -> bool {
    let height = cx.theme.size().lens_header;
    let header = Rect::from_min_size(rect.min, vec2(rect.width(), height));
    let image = Rect::from_min_max(pos2(rect.left(), header.bottom()), rect.max);
    lens_header(ui, cx, lens, header);
    let shown = viewport::show(ui, cx, reading, lens, image, &mut |_painter, _map, _frame| {});
    shown.map.is_some()
}

fn lens_header(ui: &mut Ui, cx: &Cx<'_>, lens: Lens, rect: Rect) {
    let theme = &cx.theme;
    ui.painter().rect_filled(rect, 0.0, theme.palette.panel);
    ui.painter().hline(rect.x_range(), rect.bottom(), theme.line());
    let inner = rect.shrink2(vec2(theme.space().m, 0.0));
    let mut child = ui.new_child(UiBuilder::new().max_rect(inner).layout(Layout::left_to_right(Align::Center)));
    child.set_clip_rect(rect.intersect(ui.clip_rect()));
    let color = widgets::lens_color(theme, lens);
    child.spacing_mut().item_spacing.x = theme.space().s;
    child.label(theme.icon(widgets::lens_icon(lens), color));
    let (title, what) = match lens {
        Lens::Local => ("Local", "lesion heat map"),
        Lens::Global => ("Global", "organ attention"),
    };
    child.label(RichText::new(title).color(color));
    child
        .label(RichText::new(what).font(egui::FontId::proportional(theme.tokens.text.small)).color(theme.palette.weak));
}
