//! A process that draws is killed a hundred times, at any moment: what is on the disk is what was done, but for the stroke under way.
//!
//! The process is this test binary itself, running the window with pointer events; after each gesture it says what its session holds.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bifocal_core::annotation::{Document, ShapeKind, Store, read_sessions};
use eframe::egui::{self, Pos2, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;

use crate::app::App;
use crate::drawing::DrawTool;
use crate::images::FrameState;
use crate::keymap::Action;
use crate::view::Tool;

const KILLS: usize = 100;
const HOME: &str = "BIFOCAL_KILL_TEST_HOME";
const FROM: &str = "BIFOCAL_KILL_TEST_FROM";

/// Numbers that look random and are the same everywhere (splitmix64).
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn window(picture: PathBuf, settings: Option<PathBuf>) -> Harness<'static, App> {
    let mut harness =
        Harness::builder().with_size(egui::vec2(1200.0, 800.0)).with_max_steps(64).build_eframe(move |creation| {
            let mut app = App::new(&creation.egui_ctx, settings, Vec::new());
            // An answer that arrives between two gestures, sooner here and later there, would change what is under the pointer.
            app.state.settings.analyse_on_open = false;
            app.open(vec![picture]);
            app
        });
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        harness.step();
        let app = harness.state();
        let key = app.state.reading.as_ref().and_then(|reading| reading.key_at(0));
        if key.is_some_and(|key| matches!(app.images.frame(&key), FrameState::Ready(_))) {
            // Once to measure what is new, once to show it.
            harness.run_steps(2);
            return harness;
        }
        assert!(Instant::now() < end, "the picture did not open");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Gesture `number`: by pointer events, as a hand would, on the lens.
fn gesture(harness: &mut Harness<'_, App>, number: u64) {
    let tools = [
        Some(DrawTool::Shape(ShapeKind::Length)),
        Some(DrawTool::Brush),
        Some(DrawTool::Shape(ShapeKind::Ellipse)),
        Some(DrawTool::Eraser),
        None,
        Some(DrawTool::Shape(ShapeKind::Freehand)),
        Some(DrawTool::Brush),
    ];
    let random = mixed(number);
    let state = &mut harness.state_mut().state;
    // A new process has nothing in hand and nothing selected; neither has this one.
    state.drawing.selected = None;
    let Some(tool) = tools[(random % tools.len() as u64) as usize] else {
        harness.state_mut().perform(crate::command::Command::Do(Action::Undo));
        return;
    };
    state.tool = Tool::Draw(tool);
    let middle = harness.get_by_label("Local lens").rect().center();
    let at = |seed: u64| -> Pos2 {
        let (x, y) = (mixed(seed) % 300, mixed(seed ^ 0xABCD) % 300);
        middle + vec2(x as f32 - 150.0, y as f32 - 150.0)
    };
    let places: Vec<Pos2> = (0..5).map(|n| at(random.wrapping_add(n))).collect();
    harness.hover_at(places[0]);
    harness.step();
    harness.drag_at(places[0]);
    harness.step();
    for place in &places[1..] {
        harness.hover_at(*place);
        harness.step();
    }
    harness.drop_at(places[4]);
    harness.step();
}

fn document<'a>(harness: &'a Harness<'_, App>) -> &'a Document {
    harness.state().state.reading.as_ref().expect("a reading").document.document()
}

#[test]
#[ignore = "the process that is killed: the test below runs it"]
fn draws_until_it_is_killed() {
    let home = PathBuf::from(std::env::var_os(HOME).expect("run by the other test"));
    let from: u64 = std::env::var(FROM).expect("run by the other test").parse().expect("a number");
    let mut harness = window(home.join("picture.png"), Some(home.join("settings.json")));
    for number in from.. {
        gesture(&mut harness, number);
        // Said only after the gesture: by then it must be on the disk.
        println!("did {number} {}", digest(document(&harness)));
        std::io::stdout().flush().expect("the other test listens");
    }
}

/// What a session holds, as a number.
fn digest(document: &Document) -> u64 {
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(document.session()).expect("serialises").hash(&mut hasher);
    hasher.finish()
}

/// The file of the only session in `home`, opened as the window does.
fn on_disk(home: &Path) -> Document {
    let (sessions, _) = read_sessions(&home.join("sessions")).expect("reads");
    let [session] = sessions.as_slice() else { panic!("{} sessions in place of one", sessions.len()) };
    let store = Store::open(&home.join("sessions"), &session.series_uid, &session.weights_sha256).expect("opens");
    store.document().clone()
}

#[test]
fn a_hundred_kills_lose_at_most_the_stroke_under_way() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let picture = home.path().join("picture.png");
    let ramp = image::GrayImage::from_fn(256, 256, |x, y| image::Luma([((x ^ y) & 0xFF) as u8]));
    ramp.save(&picture).expect("a picture can be written");
    let mut done: u64 = 0;
    let (mut kept, mut torn) = (0, 0);
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "kill_tests::draws_until_it_is_killed", "--ignored", "--nocapture"])
            .env(HOME, home.path())
            .env(FROM, done.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("this test can run itself");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let report = |line: Result<String, std::io::Error>| -> Option<(u64, u64)> {
            let line = line.ok()?;
            let (number, digest) = line.rsplit_once("did ")?.1.split_once(' ')?;
            Some((number.parse().ok()?, digest.trim().parse().ok()?))
        };
        let first = lines.by_ref().find_map(report).expect("it draws");
        assert_eq!(first.0, done, "it goes on where the last one was killed");
        std::thread::sleep(Duration::from_micros(mixed(kill as u64) % 120_000));
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        // What it had said before it was killed.
        let (number, said) = lines.filter_map(report).last().unwrap_or(first);
        done = number + 1;
        let damaged = !std::fs::read_dir(home.path().join("sessions"))
            .expect("there are sessions")
            .all(|entry| entry.expect("readable").path().extension().is_some_and(|ending| ending == "jsonl"));
        torn += usize::from(damaged);
        let found = on_disk(home.path());
        if digest(&found) != said {
            // The gesture under way, whole: one step back, or forward where it was an undo, is what was said.
            kept += 1;
            let (mut back, mut forward) = (found.clone(), found.clone());
            let is_one_step = (back.undo() && digest(&back) == said) || (forward.redo() && digest(&forward) == said);
            assert!(is_one_step, "kill {kill} after gesture {number}: what is on the disk was never there");
        }
    }
    let found = on_disk(home.path());
    let session = found.session();
    println!(
        "{KILLS} kills, {done} gestures, {} shapes, {} painted regions; {kept} times the gesture under way was kept, {torn} other files",
        session.shapes.len(),
        session.masks.len()
    );
    assert!(done > KILLS as u64 && !session.shapes.is_empty() && !session.masks.is_empty());
}
