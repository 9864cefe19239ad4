//! Axial, coronal and sagittal plane of a volume, linked by a crosshair; a series that makes no volume is shown as its images.

use std::sync::Arc;

use bifocal_core::render::{self, Voi, VoiMapping};
use bifocal_core::study::PlaneGeometry;
use bifocal_core::volume::{Plane, Projection, Slab};
use eframe::egui::{
    self, Align, Align2, Color32, DragValue, PointerButton, Pos2, Rect, Response, RichText, Sense, Stroke, StrokeKind,
    Ui, UiBuilder, pos2, vec2,
};
use lucide_icons::Icon;

use super::plane_lines::{self, Grab};
use super::plane_maps::{self, PlaneMaps};
use super::plane_masks::{self, PlaneMasks};
use super::{Cx, fusion, layers, lens_maps, lenses, plane_shapes, text, viewport, widgets};
use crate::command::Command;
use crate::desk::{DeskCommand, VolumeState};
use crate::jobs::JobKind;
use crate::keymap::{self, Action};
use crate::planes::{PlaneEdit, Planes, THICKEST_MM, pixel_of};
use crate::reformat::{Laid, Over, Wanted};
use crate::state::Reading;
use crate::view::{Tool, ViewEdit, corner};

/// Draws the planes of the series that is read; returns whether an image was shown.
pub fn show(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading, rect: Rect) -> bool {
    let of_this = cx.state.desk.volume_of == reading.series().map(|series| series.reading_uid());
    match &cx.state.desk.volume {
        VolumeState::Ready(planes) if of_this => panes(ui, cx, reading, planes, rect),
        VolumeState::Failed(cause) if of_this => images_instead(ui, cx, reading, rect, cause),
        _ => {
            building(ui, cx, rect);
            false
        }
    }
}

fn building(ui: &mut Ui, cx: &Cx<'_>, rect: Rect) {
    let theme = &cx.theme;
    let progress = cx.jobs.iter().find(|job| job.kind == JobKind::Volume).and_then(|job| job.progress.as_ref());
    let mut child = ui.new_child(UiBuilder::new().max_rect(rect));
    child.vertical_centered(|ui| {
        ui.add_space(rect.height() * 0.4);
        ui.label(RichText::new("Building the volume").color(theme.viewport().text));
        ui.add_space(theme.space().s);
        let share = progress.and_then(|progress| progress.fraction()).unwrap_or(0.0);
        widgets::bar(ui, theme, share, theme.viewport().weak, vec2(240.0, 4.0));
        ui.add_space(theme.space().s);
        if ui.button("Cancel").clicked() {
            cx.send(Command::CancelJob(JobKind::Volume));
        }
    });
}

/// The lenses on a series without a volume, and a line that says why.
fn images_instead(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading, rect: Rect, cause: &str) -> bool {
    let theme = &cx.theme;
    let bar = Rect::from_min_size(rect.min, vec2(rect.width(), theme.size().lens_header));
    ui.painter().rect_filled(bar, 0.0, theme.palette.panel);
    let inner = bar.shrink2(vec2(theme.space().m, 0.0));
    let layout = egui::Layout::right_to_left(Align::Center);
    ui.new_child(UiBuilder::new().max_rect(inner).layout(layout)).scope(|ui| {
        if ui.button("Two lenses").clicked() {
            cx.act(Action::Lenses);
        }
        if cause.contains("cancelled") && ui.button("Build it").clicked() {
            cx.send(Command::Desk(DeskCommand::BuildAgain));
        }
        ui.with_layout(egui::Layout::left_to_right(Align::Center), |ui| {
            ui.label(theme.icon(Icon::TriangleAlert, theme.palette.warning).size(theme.tokens.text.body));
            let words = format!("No planes of this series: {cause}.");
            let label = RichText::new(&words).font(theme.small()).color(theme.palette.warning);
            ui.add(egui::Label::new(label).truncate()).on_hover_text(&words);
        });
    });
    let image = Rect::from_min_max(bar.left_bottom(), rect.max);
    lenses::show(ui, cx, reading, image)
}

fn panes(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading, planes: &Planes, rect: Rect) -> bool {
    let theme = &cx.theme;
    let header = Rect::from_min_size(rect.min, vec2(rect.width(), theme.size().lens_header));
    controls(ui, cx, planes, header);
    let mut below = Rect::from_min_max(header.left_bottom(), rect.max);
    if let Some(analysis) = plane_maps::analysed(cx, reading) {
        below.max.y -= theme.size().lens_header;
        let strip = Rect::from_min_max(below.left_bottom(), rect.max);
        plane_maps::strip(ui, cx, reading, analysis, strip);
    }
    let masks = plane_masks::shown(cx, reading, planes);
    if planes.maximised {
        pane(ui, cx, reading, planes, &masks, planes.active, below);
        return true;
    }
    let gap = theme.size().hairline;
    ui.painter().rect_filled(below, 0.0, theme.palette.line);
    for (index, rect) in divide(below, gap).into_iter().enumerate() {
        pane(ui, cx, reading, planes, &masks, index, rect);
    }
    true
}

/// One large and two small panes, beside or below one another as the room is.
fn divide(rect: Rect, gap: f32) -> [Rect; 3] {
    if rect.width() > rect.height() {
        let split = (rect.left() + rect.width() * 0.58).round();
        let middle = rect.center().y.round();
        [
            Rect::from_min_max(rect.min, pos2(split, rect.bottom())),
            Rect::from_min_max(pos2(split + gap, rect.top()), pos2(rect.right(), middle)),
            Rect::from_min_max(pos2(split + gap, middle + gap), rect.max),
        ]
    } else {
        let split = (rect.top() + rect.height() * 0.58).round();
        let middle = rect.center().x.round();
        [
            Rect::from_min_max(rect.min, pos2(rect.right(), split)),
            Rect::from_min_max(pos2(rect.left(), split + gap), pos2(middle, rect.bottom())),
            Rect::from_min_max(pos2(middle + gap, split + gap), rect.max),
        ]
    }
}

/// Thickness, projection, lines, and what a reader must know of the volume.
fn controls(ui: &mut Ui, cx: &Cx<'_>, planes: &Planes, rect: Rect) {
    let theme = &cx.theme;
    let space = theme.space();
    ui.painter().rect_filled(rect, 0.0, theme.palette.panel);
    ui.painter().hline(rect.x_range(), rect.bottom(), theme.line());
    let inner = rect.shrink2(vec2(space.m, 0.0));
    let layout = egui::Layout::left_to_right(Align::Center);
    let mut child = ui.new_child(UiBuilder::new().max_rect(inner).layout(layout));
    child.set_clip_rect(rect.intersect(ui.clip_rect()));
    let ui = &mut child;
    ui.spacing_mut().item_spacing.x = space.s;
    let send = |edit| cx.send(Command::Desk(DeskCommand::Planes(edit)));
    widgets::caption(ui, theme, "Slab");
    let mut thickness = planes.slab.thickness_mm;
    let field = DragValue::new(&mut thickness).range(0.0..=THICKEST_MM).speed(0.25).suffix(" mm").max_decimals(1);
    let response = ui.add(field).accessible_name("Thickness of the slab").on_hover_text("Thickness  (, and .)");
    if response.changed() {
        send(PlaneEdit::Slab(Slab { thickness_mm: thickness, ..planes.slab }));
    }
    for projection in Projection::ALL {
        let chosen = planes.slab.thickness_mm > 0.0 && planes.slab.projection == projection;
        let tip = match projection {
            Projection::Mip => "Maximum intensity projection: vessels, bone, nodules",
            Projection::MinIp => "Minimum intensity projection: airways, emphysema",
            Projection::Mean => "Mean: less noise",
        };
        let button = egui::Button::selectable(chosen, RichText::new(projection.name()).font(theme.small()));
        let named = format!("Projection {}", projection.name());
        if widgets::named(ui.add(button), &named).on_hover_text(tip).clicked() {
            // Choosing a projection of a plane without thickness gives it one that shows something.
            let thickness_mm = if planes.slab.thickness_mm > 0.0 { planes.slab.thickness_mm } else { 10.0 };
            send(PlaneEdit::Slab(Slab { thickness_mm, projection }));
        }
    }
    ui.with_layout(egui::Layout::right_to_left(Align::Center), |ui| {
        ui.spacing_mut().item_spacing.x = space.s;
        let tip = cx.tooltip(Action::Crosshair);
        if widgets::icon_button(ui, theme, Icon::Crosshair, &tip, planes.lines).clicked() {
            send(PlaneEdit::ToggleLines);
        }
        ui.add_enabled_ui(planes.is_oblique(), |ui| {
            let label = "Straight planes  (Esc resets the view too)";
            if widgets::icon_button(ui, theme, Icon::RotateCcw, label, false).clicked() {
                send(PlaneEdit::Reset);
            }
        });
        let notes = planes.volume.notes.join("  ·  ");
        if !notes.is_empty() {
            widgets::caption(ui, theme, &notes).on_hover_text(&notes);
        }
    });
}

fn pane(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading, planes: &Planes, masks: &PlaneMasks, index: usize, rect: Rect) {
    let theme = &cx.theme;
    let id = ui.scope_id().with(("plane", index));
    let response = ui.interact(rect, id, Sense::click_and_drag());
    let title = planes.panes[index].title();
    let kind = planes.panes[index].kind.name();
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Image, true, format!("Plane {kind}")));
    if response.has_focus() {
        let filter = egui::EventFilter { horizontal_arrows: true, vertical_arrows: true, ..Default::default() };
        ui.memory_mut(|memory| memory.set_focus_lock_filter(id, filter));
        keymap::claim_keys(ui.ctx(), id);
    }
    let painter = ui.painter_at(rect);
    painter.rect_filled(rect, 0.0, theme.viewport().background);
    let nominal = planes.nominal(index);
    let map = PlaneMap { placement: planes.placement(index, &nominal, rect.size()), nominal, pane: rect };
    let voi = planes.sample.voi(&reading.view.window, reading.view.inverted);
    let (fused, maps) = (fusion::shown_over(cx, reading), plane_maps::shown(cx, reading));
    let wanted = Wanted {
        volume: Arc::clone(&planes.volume),
        orientation: nominal.orientation,
        through: planes.crosshair,
        // Where the plane lies along the voxels its pixels are voxels.
        anchor: planes.volume.grid.patient_from_voxel([0.0; 3]),
        slab: planes.slab,
        over: fused
            .iter()
            .map(|(volume, _)| Over { volume: Arc::clone(volume), outline: false })
            .chain(maps.iter().flat_map(PlaneMaps::over))
            .chain(masks.over())
            .collect(),
    };
    let cut = cx.reformatter.cut(index, &wanted, &voi);
    if let Some(cut) = &cut {
        layers::texture(&painter, cut.texture.id(), map.corners(&cut.plane, (cut.plane.rows, cut.plane.columns)));
        let clip = Rect::from_points(&map.corners(&cut.plane, (cut.plane.rows, cut.plane.columns)));
        let painter = painter.with_clip_rect(clip.intersect(rect));
        let (over, rest) = cut.over.split_at(usize::from(fused.is_some()));
        let (of_maps, of_masks) = masks.split(rest);
        for (laid, (_, style)) in over.iter().zip(fused) {
            layers::laid(&painter, cx, &map, laid, style);
        }
        if let Some(maps) = &maps {
            maps.paint(&painter, cx, reading, &map, of_maps);
        }
        masks.paint(&painter, cx, &map, of_masks);
        if reading.view.overlays {
            plane_shapes::paint(&painter, cx, reading, planes, &map);
        }
    }
    let grab = take_input(ui, cx, planes, index, &map, &voi, &response);
    if planes.lines {
        plane_lines::paint(&painter, cx, planes, index, &map, grab, response.contains_pointer());
    }
    if rect.width() > 180.0 && rect.height() > 160.0 {
        if let Some(maps) = &maps {
            maps.paint_bar(&painter, cx, rect);
        }
        fusion::paint_bar(&painter, cx, reading, rect, usize::from(maps.is_some()));
        texts(&painter, cx, reading, planes, index, &map, &voi, &title, pointed(cx, reading, planes, &map, &response));
    }
    let color = plane_lines::color(cx, index);
    if response.has_focus() {
        let stroke = Stroke::new(2.0 * theme.size().hairline, theme.palette.focus);
        painter.rect_stroke(rect, 0.0, stroke, StrokeKind::Inside);
    } else if planes.active == index {
        let stroke = Stroke::new(theme.size().hairline, color.gamma_multiply(0.8));
        painter.rect_stroke(rect, 0.0, stroke, StrokeKind::Inside);
    }
}

/// From the pixels of a plane to the screen and back.
pub struct PlaneMap {
    placement: render::Placement,
    nominal: Plane,
    pane: Rect,
}

impl PlaneMap {
    /// Where a patient position is drawn, seen along the normal.
    pub fn screen(&self, point: bifocal_core::volume::Vector) -> Pos2 {
        let (row, column) = pixel_of(&self.nominal, point);
        let (x, y) = self.placement.screen_from_image(row, column);
        self.pane.min + vec2(x as f32, y as f32)
    }

    /// The patient position under a point of the screen.
    pub fn patient(&self, at: Pos2) -> bifocal_core::volume::Vector {
        let from_corner = at - self.pane.min;
        let (row, column) = self.placement.image_from_screen(f64::from(from_corner.x), f64::from(from_corner.y));
        self.nominal.patient_from_pixel(row, column)
    }

    /// Where the corners of an area of (rows, columns) pixels of a plane that lies in this one are drawn, from its top left on clockwise.
    pub fn corners(&self, plane: &Plane, (rows, columns): (usize, usize)) -> [Pos2; 4] {
        let (bottom, right) = (rows as f64 - 0.5, columns as f64 - 0.5);
        let corners = [(-0.5, -0.5), (-0.5, right), (bottom, right), (bottom, -0.5)];
        corners.map(|(row, column)| self.screen(plane.patient_from_pixel(row, column)))
    }

    /// Where the contours of what is laid over the plane are drawn, at a level of its values.
    pub fn contours(&self, cx: &Cx<'_>, laid: &Laid, level: f32) -> Vec<Vec<Pos2>> {
        let place = |(row, column): &(f32, f32)| {
            self.screen(laid.plane.patient_from_pixel(f64::from(*row), f64::from(*column)))
        };
        let contours = cx.overlays.contours(&laid.values, level);
        contours.iter().map(|contour| lens_maps::thinned(contour.iter().map(place))).collect()
    }

    /// Points for one mm.
    pub fn points_per_mm(&self) -> f64 {
        self.placement.scale()
    }

    /// The pane.
    pub fn pane(&self) -> Rect {
        self.pane
    }

    /// The plane that is looked at.
    pub fn plane(&self) -> &Plane {
        &self.nominal
    }
}

/// Mouse and wheel; returns what is held.
fn take_input(
    ui: &Ui,
    cx: &Cx<'_>,
    planes: &Planes,
    index: usize,
    map: &PlaneMap,
    voi: &Voi,
    response: &Response,
) -> Option<Grab> {
    let send = |edit| cx.send(Command::Desk(DeskCommand::Planes(edit)));
    if response.double_clicked() {
        send(PlaneEdit::ToggleMaximise(index));
    } else if response.clicked() || response.drag_started() || response.gained_focus() {
        if planes.active != index {
            send(PlaneEdit::Activate(index));
        }
        if response.clicked_by(PointerButton::Primary)
            && let Some(at) = response.interact_pointer_pos()
            && planes.lines
        {
            send(PlaneEdit::Crosshair(map.patient(at)));
        }
    }
    let size = map.pane.size();
    let hover = response.hover_pos();
    // Shift and moving: the crosshair goes along.
    let shift = ui.input(|input| input.modifiers.shift && input.pointer.delta() != egui::Vec2::ZERO);
    if let Some(at) = hover.filter(|_| shift && response.hovered() && !response.dragged()) {
        send(PlaneEdit::Crosshair(map.patient(at)));
    }
    let grab_id = response.id.with("grab");
    let over = hover.filter(|_| planes.lines).and_then(|at| plane_lines::grab_at(planes, index, map, at));
    if response.drag_started_by(PointerButton::Primary) {
        let origin = ui.input(|input| input.pointer.press_origin());
        let grab = origin.filter(|_| planes.lines).and_then(|at| plane_lines::grab_at(planes, index, map, at));
        ui.data_mut(|data| data.insert_temp(grab_id, grab));
    }
    let held = if response.dragged() { ui.data(|data| data.get_temp::<Option<Grab>>(grab_id)).flatten() } else { None };
    if response.dragged() {
        let delta = response.drag_delta();
        let pointer = response.interact_pointer_pos();
        if response.dragged_by(PointerButton::Primary)
            && let (Some(grab), Some(to)) = (held, pointer)
        {
            if delta != egui::Vec2::ZERO {
                plane_lines::drag(cx, planes, index, map, grab, to - delta, to);
            }
        } else {
            let tool = if response.dragged_by(PointerButton::Middle) {
                Tool::Pan
            } else if response.dragged_by(PointerButton::Secondary) {
                Tool::Zoom
            } else {
                cx.state.tool
            };
            drag_tool(ui, cx, planes, index, tool, voi, response);
        }
    }
    if response.hovered() {
        let at = hover.unwrap_or(response.rect.center()) - response.rect.min;
        let zoom = ui.input(|input| input.zoom_delta());
        let turned = viewport::wheel(ui);
        if zoom != 1.0 {
            send(PlaneEdit::Zoom { pane: index, factor: zoom, at, size });
        } else if turned != 0.0 {
            viewport::steps(ui, response.id.with("wheel"), -turned, |steps| {
                send(PlaneEdit::Scroll { pane: index, steps });
            });
        }
        if let Some(icon) = held.or(over).map(Grab::cursor) {
            ui.ctx().set_cursor_icon(icon);
        } else if !response.dragged() {
            ui.ctx().set_cursor_icon(egui::CursorIcon::Crosshair);
        }
    }
    response.context_menu(|ui| menu(ui, cx));
    held.or(over)
}

fn drag_tool(ui: &Ui, cx: &Cx<'_>, planes: &Planes, index: usize, tool: Tool, voi: &Voi, response: &Response) {
    let send = |edit| cx.send(Command::Desk(DeskCommand::Planes(edit)));
    let (delta, size) = (response.drag_delta(), response.rect.size());
    match tool {
        Tool::Pan if delta != egui::Vec2::ZERO => send(PlaneEdit::Pan { pane: index, delta, size }),
        Tool::Zoom if delta.y != 0.0 => {
            let origin = ui.input(|input| input.pointer.press_origin()).unwrap_or(response.rect.center());
            let at = origin - response.rect.min;
            send(PlaneEdit::Zoom { pane: index, factor: (-delta.y * 0.01).exp(), at, size });
        }
        Tool::Window if delta != egui::Vec2::ZERO => {
            let window = planes.sample.window_of(voi);
            let dragged = viewport::dragged_window(&window, &planes.sample.auto_window, delta);
            cx.send(Command::View(ViewEdit::Window(dragged)));
        }
        Tool::Scroll => viewport::steps(ui, response.id.with("scrolled"), delta.y / 8.0, |steps| {
            send(PlaneEdit::Scroll { pane: index, steps });
        }),
        _ => {}
    }
}

fn menu(ui: &mut Ui, cx: &Cx<'_>) {
    ui.set_min_width(200.0);
    ui.menu_button("Window preset", |ui| super::top_bar::window_items(ui, cx));
    ui.separator();
    for action in [Action::Invert, Action::Crosshair, Action::Maximise, Action::SlabThicker, Action::SlabThinner] {
        widgets::action_menu_item(ui, cx, action);
    }
    ui.separator();
    for action in [Action::Lenses, Action::Escape] {
        widgets::action_menu_item(ui, cx, action);
    }
}

/// Place and values under the pointer: of the volume, and of what is laid over it.
fn pointed(
    cx: &Cx<'_>,
    reading: &Reading,
    planes: &Planes,
    map: &PlaneMap,
    response: &Response,
) -> Option<[String; 2]> {
    let point = map.patient(response.hover_pos()?);
    let value = planes.volume.nearest_value(point)?;
    let letters =
        |v: f64, positive: char, negative: char| format!("{}{:.1}", if v < 0.0 { negative } else { positive }, v.abs());
    let [x, y, z] = point;
    let place = format!("{}  {}  {}", letters(x, 'L', 'R'), letters(y, 'P', 'A'), letters(z, 'H', 'F'));
    let value = format!("{} {}", text::value(value), planes.volume.display.units).trim_end().to_owned();
    let probability = plane_maps::shown(cx, reading).map(|maps| maps.value_at(point)).unwrap_or_default();
    Some([place, text::join([value, fusion::value_at(cx, reading, point), probability])])
}

#[allow(clippy::too_many_arguments)]
fn texts(
    painter: &egui::Painter,
    cx: &Cx<'_>,
    reading: &Reading,
    planes: &Planes,
    index: usize,
    map: &PlaneMap,
    voi: &Voi,
    title: &str,
    pointed: Option<[String; 2]>,
) {
    let theme = &cx.theme;
    let colors = theme.viewport();
    let pane = map.pane;
    let step = theme.tokens.text.small + theme.space().xs;
    let block = |right: bool, bottom: bool, lines: Vec<(String, Color32)>| {
        let lines: Vec<_> = lines.into_iter().filter(|(line, _)| !line.is_empty()).collect();
        let mut at = corner(pane, right, bottom, theme.space().m);
        if bottom {
            at.y -= step * lines.len().saturating_sub(1) as f32;
        }
        let side = |end: bool| if end { Align::Max } else { Align::Min };
        for (line, color) in lines {
            let align = Align2([side(right), side(bottom)]);
            widgets::plated_text(painter, theme, at, align, line, theme.small(), color);
            at.y += step;
        }
    };
    let narrow = pane.width() < 340.0;
    let mut top_left = vec![(title.to_owned(), plane_lines::color(cx, index))];
    if index == 0 || planes.maximised {
        top_left.push((text::patient_name(&reading.study.patient), colors.text));
        if !narrow {
            top_left.push((text::study_detail(&reading.study), colors.weak));
        }
    }
    block(false, false, top_left);
    if (index == 0 || planes.maximised)
        && !narrow
        && let Some(series) = reading.series()
    {
        let number = series.number.map(|number| format!("series {number}")).unwrap_or_default();
        let detail = text::join([series.modality.clone(), number]);
        block(true, false, vec![(text::series_title(series), colors.text), (detail, colors.weak)]);
    }
    let height = bifocal_core::volume::dot(planes.crosshair, map.nominal.orientation.normal());
    let slab = match planes.slab {
        Slab { thickness_mm, projection } if thickness_mm > 0.0 => {
            format!("{} {}", projection.name(), text::length(thickness_mm))
        }
        _ => String::new(),
    };
    let mut left_bottom = match pointed {
        // Beside the window there is room for one of the two.
        Some(lines) if narrow => lines.map(|line| (line, colors.text)).into(),
        Some(lines) => vec![(lines.join("   "), colors.text)],
        None => Vec::new(),
    };
    left_bottom.extend([(slab, colors.text), (format!("at {height:.1} mm"), colors.weak)]);
    block(false, true, left_bottom);
    let name = match &voi.mapping {
        VoiMapping::Window(window) if !narrow => window.name.clone(),
        _ => String::new(),
    };
    // 100 % is one voxel of the finest direction for one pixel of the screen.
    let percent = map.placement.points_per_column() * f64::from(painter.ctx().pixels_per_point()) * 100.0;
    block(
        true,
        true,
        vec![(name, colors.weak), (voi.describe(), colors.text), (format!("zoom {percent:.0} %"), colors.weak)],
    );
    let orientation = &map.nominal.orientation;
    let letters = |v: [f64; 3]| PlaneGeometry::direction_letters(v);
    let edges = [
        letters(orientation.column.map(|x| -x)),
        letters(orientation.row),
        letters(orientation.column),
        letters(orientation.row.map(|x| -x)),
    ];
    viewport::paint_letters(painter, cx, edges, pane);
    if planes.sample.frame().display.spacing.is_some() {
        // Cut out of a volume: measured in the patient.
        viewport::paint_ruler(painter, cx, None, map.points_per_mm(), pane);
    }
    warnings(painter, cx, planes, pane);
}

fn warnings(painter: &egui::Painter, cx: &Cx<'_>, planes: &Planes, pane: Rect) {
    let theme = &cx.theme;
    for (index, warning) in planes.volume.display.warnings.iter().enumerate() {
        let at = pane.center_bottom() - vec2(0.0, 0.14 * pane.height() + index as f32 * theme.space().l);
        let color = theme.viewport().warning;
        widgets::plated_text(painter, theme, at, Align2::CENTER_BOTTOM, warning, theme.small(), color);
    }
}
