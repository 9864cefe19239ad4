//! Opens the window, or says why there is none.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use eframe::egui;

use crate::app::App;
use crate::settings::{Settings, automatic_threads};
use crate::work::Work;

/// What is said where no window can be opened.
const WITHOUT_DISPLAY: &str = "without a display, use: bifocal analyze PATH --out DIR";

/// Opens the window on a project, on `paths`, or on the sample study where there is neither, and returns when it is closed.
pub fn run(mut paths: Vec<PathBuf>, work: Option<Work>) -> ExitCode {
    if !has_display() {
        eprintln!("bifocal: no display (neither WAYLAND_DISPLAY nor DISPLAY is set); {WITHOUT_DISPLAY}");
        return ExitCode::FAILURE;
    }
    if paths.is_empty() && work.is_none() {
        paths = crate::io::sample_paths();
    }
    let settings_path = Settings::path();
    let settings = settings_path.as_deref().map(Settings::load).unwrap_or_default();
    let threads = if settings.threads == 0 { automatic_threads() } else { settings.threads };
    if let Err(error) = bifocal_core::task::limit_threads(threads) {
        tracing::warn!("computing with all cores: {error}");
    }
    let place = settings.window;
    let mut viewport = egui::ViewportBuilder::default()
        .with_title("Bifocal")
        .with_app_id("bifocal")
        .with_icon(icon())
        .with_inner_size(place.size)
        .with_min_inner_size([720.0, 480.0])
        .with_maximized(place.maximized)
        .with_drag_and_drop(true);
    if let Some(position) = place.position {
        viewport = viewport.with_position(position);
    }
    let options = eframe::NativeOptions { viewport, persist_window: false, ..Default::default() };
    let result = eframe::run_native(
        "bifocal",
        options,
        Box::new(move |creation| {
            let mut app = App::new(&creation.egui_ctx, settings_path, paths);
            if let Some(work) = work {
                app.take_up(work);
            }
            Ok(Box::new(app))
        }),
    );
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The error itself names source files of the window library: of use in a log, not to a reader.
            tracing::info!("{error}");
            eprintln!(
                "bifocal: no window could be opened: the display does not answer, or has no OpenGL; {WITHOUT_DISPLAY}"
            );
            ExitCode::FAILURE
        }
    }
}

/// Opens a window of a size (width and height, points) on `paths`, without settings and sessions, drives it as a reader would, and prints what
/// was measured; with `analyses` the series is analysed, too.
pub fn drive(paths: Vec<PathBuf>, size: [f32; 2], analyses: bool) -> ExitCode {
    let started = Instant::now();
    if !has_display() {
        eprintln!("bifocal: no display (neither WAYLAND_DISPLAY nor DISPLAY is set): a window is what is measured");
        return ExitCode::FAILURE;
    }
    if let Err(error) = bifocal_core::task::limit_threads(automatic_threads()) {
        tracing::warn!("computing with all cores: {error}");
    }
    let viewport = egui::ViewportBuilder::default().with_title("Bifocal").with_inner_size(size);
    // Frames come as fast as they are drawn, not as the screen shows them.
    let mut options = eframe::NativeOptions { viewport, persist_window: false, ..Default::default() };
    options.glow_options.vsync = false;
    let result = eframe::run_native(
        "bifocal",
        options,
        Box::new(move |creation| {
            let mut app = App::new(&creation.egui_ctx, None, paths);
            app.drive(started, analyses);
            Ok(Box::new(app))
        }),
    );
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bifocal: no window could be opened: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The mark as the window's icon: a warm and a cool ring that overlap.
fn icon() -> egui::IconData {
    const SIDE: u32 = 128;
    let theme = crate::theme::Theme::new(true);
    let (radius, width) = (34.0, 11.0);
    let rings = [(85.0, theme.palette.cool), (43.0, theme.palette.warm)];
    let mut rgba = Vec::with_capacity((SIDE * SIDE * 4) as usize);
    for y in 0..SIDE {
        for x in 0..SIDE {
            let mut pixel = [0.0_f32; 4];
            for (center, color) in rings {
                let distance = (x as f32 + 0.5 - center).hypot(y as f32 + 0.5 - SIDE as f32 / 2.0);
                let cover = (width / 2.0 + 0.5 - (distance - radius).abs()).clamp(0.0, 1.0);
                let over = [color.r(), color.g(), color.b(), 255].map(f32::from);
                if cover > 0.0 {
                    let alpha = pixel[3] / 255.0 * (1.0 - cover) + cover;
                    for channel in 0..3 {
                        let below = pixel[channel] * pixel[3] / 255.0 * (1.0 - cover);
                        pixel[channel] = (over[channel] * cover + below) / alpha;
                    }
                    pixel[3] = alpha * 255.0;
                }
            }
            rgba.extend(pixel.map(|v| v.round() as u8));
        }
    }
    egui::IconData { rgba, width: SIDE, height: SIDE }
}

fn has_display() -> bool {
    if !cfg!(target_os = "linux") {
        return true;
    }
    ["WAYLAND_DISPLAY", "WAYLAND_SOCKET", "DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_icon_has_two_rings_on_clear_ground() {
        let icon = icon();
        let pixel = |x: usize, y: usize| &icon.rgba[(y * 128 + x) * 4..][..4];
        assert_eq!(pixel(0, 0)[3], 0);
        assert_eq!(pixel(9, 64)[3], 255);
        assert_eq!(pixel(119, 64)[3], 255);
        assert!(pixel(9, 64)[0] > pixel(119, 64)[0], "the left ring is the warm one");
    }
}
