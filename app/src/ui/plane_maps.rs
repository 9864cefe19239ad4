//! The network's maps of an analysed volume on planes through it: lesion probability, outlines of lesions and organs, numbers of findings.
//!
//! They are cut out of the volumes of probabilities at the network's own resolution, by the same way as any series that is laid over.

use std::sync::Arc;

use bifocal_core::analysis::{MapKind, ProbabilityVolume, VolumeAnalysis};
use bifocal_core::annotation::Decision;
use bifocal_core::render::{Colormap, HeatStyle};
use bifocal_core::volume::{Vector, Volume, dot, minus};
use eframe::egui::{Align, Button, Layout, Painter, Rect, Ui, containers::menu, vec2};
use lucide_icons::Icon;

use super::layers::{self, ColorBar, SHARES};
use super::planes::PlaneMap;
use super::{Cx, lens_controls, lens_maps, names, status_bar, widgets};
use crate::reformat::{Laid, Over};
use crate::state::{Lens, Reading};

/// What planes show of an analysed volume.
pub struct PlaneMaps<'a> {
    analysis: &'a Arc<VolumeAnalysis>,
    lesion: &'a ProbabilityVolume,
    style: HeatStyle,
    organs: bool,
}

/// The answer for the volume of the series that is read, where there is one.
pub fn analysed<'a>(cx: &'a Cx<'_>, reading: &Reading) -> Option<&'a Arc<VolumeAnalysis>> {
    cx.state.network.volume_of(&reading.series()?.uid)
}

/// The maps that are shown; `None` before the analysis, and where overlays are hidden.
pub fn shown<'a>(cx: &'a Cx<'_>, reading: &Reading) -> Option<PlaneMaps<'a>> {
    let settings = &reading.overlays;
    let analysis = analysed(cx, reading).filter(|_| reading.view.overlays)?;
    let lesion = analysis.lesions.get(settings.heat_map).or(analysis.lesions.first())?;
    let style = lens_maps::heat_style(settings, lesion.threshold, MapKind::LesionHead);
    Some(PlaneMaps { analysis, lesion, style, organs: settings.organ_contours })
}

impl PlaneMaps<'_> {
    /// The volumes that are cut, in the order that [`PlaneMaps::paint`] takes them in.
    pub fn over(&self) -> impl Iterator<Item = Over> {
        let over = |volume: &Arc<Volume>, outline| Over { volume: Arc::clone(volume), outline };
        let organs = self.analysis.organs.iter().filter(|_| self.organs);
        std::iter::once(over(&self.lesion.values, false)).chain(organs.map(move |organ| over(&organ.values, true)))
    }

    /// Draws what was cut out of them.
    pub fn paint(&self, painter: &Painter, cx: &Cx<'_>, reading: &Reading, map: &PlaneMap, laid: &[Laid]) {
        let Some((lesion, organs)) = laid.split_first() else { return };
        layers::laid(painter, cx, map, lesion, &self.style);
        for (organ, laid) in self.analysis.organs.iter().zip(organs) {
            lens_maps::paint_organ(painter, cx, &organ.organ, map.contours(cx, laid, 0.5));
        }
        if reading.overlays.finding_contours {
            for line in map.contours(cx, lesion, self.lesion.threshold) {
                lens_maps::closed(painter, cx, line, 1.5, cx.theme.viewport().warm);
            }
            self.paint_numbers(painter, cx, reading, map);
        }
    }

    /// Numbers of the findings whose largest extent reaches the plane, at their peaks.
    fn paint_numbers(&self, painter: &Painter, cx: &Cx<'_>, reading: &Reading, map: &PlaneMap) {
        let Some(analysis) = reading.analysis_in_view() else { return };
        let (colors, plane) = (cx.theme.viewport(), map.plane());
        let of_class = analysis.findings.iter().filter(|finding| finding.label == self.lesion.label);
        for finding in of_class.filter(|finding| cx.state.is_listed(analysis, finding)) {
            let Some(extent) = &finding.extent else { continue };
            let away = dot(minus(extent.peak_mm, plane.origin), plane.orientation.normal()).abs();
            if away <= 0.5 * f64::from(extent.longest_mm) {
                let rejected = cx.state.review_of(analysis, finding).decision == Decision::Rejected;
                let color = if rejected { colors.weak } else { colors.warm };
                let space = cx.theme.space();
                let at = map.screen(extent.peak_mm) + vec2(space.l, -space.l);
                let selected = reading.selected == Some(finding.id);
                lens_maps::number(painter, cx, at, finding.id.0, color, selected, rejected);
            }
        }
    }

    /// Draws what the colours mean, and how far they may be trusted.
    pub fn paint_bar(&self, painter: &Painter, cx: &Cx<'_>, pane: Rect) {
        let mark = Some((self.lesion.threshold, "finding", cx.theme.viewport().warm));
        let title = "lesion probability\nresearch use only";
        ColorBar { style: &self.style, title, ticks: &SHARES, mark, place: 0 }.paint(painter, cx, pane);
    }

    /// The probability at a patient position: `p 0.83`; empty beyond the volume.
    pub fn value_at(&self, point: Vector) -> String {
        self.lesion.values.nearest_value(point).map(|p| format!("p {p:.2}")).unwrap_or_default()
    }
}

/// Below the planes: which map, its threshold and opacity, and that it is research.
pub fn strip(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading, analysis: &VolumeAnalysis, rect: Rect) {
    let theme = &cx.theme;
    let ui = &mut widgets::strip(ui, theme, rect);
    if rect.width() > 760.0 {
        widgets::caption(ui, theme, status_bar::RESEARCH_USE);
    }
    ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
        ui.label(theme.icon(widgets::lens_icon(Lens::Local), theme.palette.warm));
        choice(ui, cx, reading, analysis);
        let lesion = analysis.lesions.get(reading.overlays.heat_map).or(analysis.lesions.first());
        let threshold = lesion.map_or(0.5, |lesion| lesion.threshold);
        lens_controls::sliders(ui, cx, reading, Lens::Local, threshold, false);
    });
}

/// The menu of classes, colours and outlines.
fn choice(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading, analysis: &VolumeAnalysis) {
    let theme = &cx.theme;
    let settings = &reading.overlays;
    let chevron = theme.icon(Icon::ChevronDown, theme.palette.weak).size(theme.tokens.text.body);
    let button = Button::new((theme.icon(Icon::Layers, theme.palette.weak).size(theme.tokens.text.body), chevron));
    let send = |change: &dyn Fn(&mut crate::state::OverlaySettings)| lens_controls::send(cx, reading, change);
    let (response, _) = menu::MenuButton::from_button(button).ui(ui, |ui| {
        ui.set_min_width(220.0);
        for (index, class) in analysis.lesions.iter().enumerate() {
            let name = names::lesion(cx.state, &class.label);
            if ui.add(Button::selectable(index == settings.heat_map, name)).clicked() {
                send(&|settings| settings.heat_map = index);
                ui.close();
            }
        }
        ui.separator();
        for map in [Colormap::Ember, Colormap::Orchid, Colormap::Gray] {
            if lens_controls::colormap_item(ui, cx, map, map == settings.heat_colormap).clicked() {
                send(&|settings| settings.heat_colormap = map);
                ui.close();
            }
        }
        ui.separator();
        let (mut findings, mut organs) = (settings.finding_contours, settings.organ_contours);
        if ui.checkbox(&mut findings, "Contours of findings").changed() {
            send(&|settings| settings.finding_contours = findings);
        }
        if ui.checkbox(&mut organs, "Contours of organs").changed() {
            send(&|settings| settings.organ_contours = organs);
        }
        if ui.button("Threshold of the model").clicked() {
            send(&|settings| settings.heat_threshold = None);
            ui.close();
        }
    });
    widgets::named(response, "Lesion map on the planes").on_hover_text("Lesion map: class, colours, contours");
}
