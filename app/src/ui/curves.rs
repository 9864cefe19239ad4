//! Loss curves: training and validation against steps.

use bifocal_core::train::{Curves, ticks};
use eframe::egui::{self, Align2, CornerRadius, Pos2, Rect, RichText, Sense, Shape, Stroke, Ui, pos2, vec2};

use super::{Cx, widgets};

/// Height of a plot, points.
const HEIGHT: f32 = 168.0;

/// Draws a plot for each kind of loss that there is.
pub fn show(ui: &mut Ui, cx: &Cx<'_>, curves: &Curves) {
    let theme = &cx.theme;
    for (name, lines) in curves.plots() {
        ui.horizontal(|ui| {
            widgets::caption(ui, theme, format!("{name}: loss"));
            for (word, color) in [("training", theme.palette.faint), ("validation", theme.palette.text)] {
                ui.label(RichText::new(format!("— {word}")).font(theme.small()).color(color));
            }
        });
        plot(ui, cx, name, lines);
        ui.add_space(theme.space().s);
    }
}

fn plot(ui: &mut Ui, cx: &Cx<'_>, name: &str, lines: &[Vec<(usize, f32)>; 2]) {
    let theme = &cx.theme;
    let (palette, space) = (theme.palette, theme.space());
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), HEIGHT), Sense::hover());
    let response = {
        let label = words(name, lines);
        response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Image, true, &label));
        response
    };
    if !ui.is_rect_visible(rect) {
        return;
    }
    let painter = ui.painter().with_clip_rect(rect);
    painter.rect_filled(rect, CornerRadius::same(theme.tokens.radius.s), palette.window);
    let inside = Rect::from_min_max(rect.min + vec2(44.0, space.s), rect.max - vec2(space.m, 22.0));
    let all = || lines.iter().flatten().filter(|(_, loss)| loss.is_finite());
    let most = all().map(|(step, _)| *step).max().unwrap_or(1).max(1);
    let highest = all().map(|(_, loss)| *loss).fold(0.0f32, f32::max).max(1e-3);
    let (across, up) = (ticks(0.0, most as f64), ticks(0.0, f64::from(highest)));
    let (right, top) = (across.last().copied().unwrap_or(1.0), up.last().copied().unwrap_or(1.0));
    let place = |step: f64, loss: f64| {
        let x = inside.left() + (step / right) as f32 * inside.width();
        pos2(x, inside.bottom() - (loss / top) as f32 * inside.height())
    };
    let decimals = if top < 0.5 { 2 } else { 1 };
    for value in up {
        let at = place(0.0, value);
        painter.hline(inside.x_range(), at.y, theme.line());
        let text = format!("{value:.decimals$}");
        painter.text(at - vec2(space.xs, 0.0), Align2::RIGHT_CENTER, text, theme.small(), palette.weak);
    }
    for value in across {
        let at = pos2(place(value, 0.0).x, inside.bottom() + space.xs);
        painter.text(at, Align2::CENTER_TOP, format!("{value:.0}"), theme.small(), palette.weak);
    }
    for (line, (color, width)) in lines.iter().zip([(palette.faint, 1.0), (palette.text, 2.0)]) {
        let points: Vec<Pos2> = line
            .iter()
            .filter(|(_, loss)| loss.is_finite())
            .map(|(step, loss)| place(*step as f64, f64::from(*loss)))
            .collect();
        for point in &points {
            painter.circle_filled(*point, 1.0 + width, color);
        }
        painter.add(Shape::line(points, Stroke::new(width, color)));
    }
    if let Some(pointer) = response.hover_pos() {
        let step = (f64::from((pointer.x - inside.left()) / inside.width()) * right).max(0.0);
        let nearest = |line: &[(usize, f32)]| {
            line.iter().copied().min_by(|a, b| (a.0 as f64 - step).abs().total_cmp(&(b.0 as f64 - step).abs()))
        };
        let texts: Vec<String> = [("training", &lines[0]), ("validation", &lines[1])]
            .into_iter()
            .filter_map(|(word, line)| nearest(line).map(|(step, loss)| format!("{word}: {loss:.3} at step {step}")))
            .collect();
        painter.vline(pointer.x, inside.y_range(), theme.line());
        response.on_hover_text_at_pointer(texts.join("\n"));
    }
}

/// The plot for those who cannot see it.
fn words(name: &str, lines: &[Vec<(usize, f32)>; 2]) -> String {
    let of = |word: &str, line: &[(usize, f32)]| {
        line.last().map(|(step, loss)| format!(", {word} {loss:.3} at step {step}")).unwrap_or_default()
    };
    format!("Loss of {name}{}{}", of("training", &lines[0]), of("validation", &lines[1]))
}
