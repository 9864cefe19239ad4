//! The session file: a reading survives a crash, a kill and a restart, with its undo.
//!
//! The file is a journal of JSON lines. The first line names the format and the reading; each later one is an edit, an
//! undo or a redo, and is on the disk (fsync) before the call returns. Opening replays them. A line that was torn by a
//! kill is cut off. Long journals are rewritten as one snapshot, under another name first, then renamed; what they said of who did what and
//! when goes into a file beside them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::history::{Act, Event, now};
use super::{Document, Edit, Session};
use crate::study::SeriesUid;

/// Why a session could not be kept or restored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("session file {path}: cannot {action}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no session file of this reading.
    #[error("session file {path}: {cause}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
}

/// One line of the journal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
enum Line {
    /// The first line: the state that the rest is applied to.
    Snapshot {
        version: u32,
        /// Lines of the file of history that tell what led to it.
        #[serde(default)]
        past: usize,
        document: Document,
    },
    /// As the other two: `at` is milliseconds since 1970, UTC.
    Apply {
        edit: Edit,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<u64>,
    },
    Undo {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<u64>,
    },
    Redo {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<u64>,
    },
}

/// Format of the journal. 2: shapes, painted regions and calibrations; 1, which has none of them, is read too.
const VERSION: u32 = 2;
const OLDEST: u32 = 1;
/// From this many lines on the journal is rewritten as a snapshot when it is opened.
const COMPACT_FROM: usize = 500;

/// A document on disk: every change is kept before it is shown as made.
#[derive(Debug)]
pub struct Store {
    document: Document,
    path: PathBuf,
    file: File,
    restored: bool,
    carried: bool,
    recovered: Option<String>,
}

impl Store {
    /// Opens the reading of `series` by the weights with hash `weights_sha256` in `folder`, which is made where it is
    /// missing; an empty reading where there is no file yet.
    ///
    /// # Errors
    /// Where the folder or the file cannot be read or written. A damaged file is never an error: it is set aside under another
    /// name and [`Store::recovered`] says so.
    pub fn open(folder: &Path, series: &SeriesUid, weights_sha256: &str) -> Result<Self, StoreError> {
        fs::create_dir_all(folder).map_err(|source| io_error(folder, "make the folder", source))?;
        let path = folder.join(file_name(series, weights_sha256));
        let fresh = || Document::new(Session::new(series.clone(), weights_sha256.to_owned()));
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(io_error(&path, "read", error)),
        };
        let mut recovered = None;
        let carried = if bytes.is_empty() { carried_over(folder, &path, series, weights_sha256) } else { None };
        let empty = || carried.as_ref().map_or_else(fresh, |carried| carried.document.clone());
        let replayed = replay(&bytes);
        let restored = replayed.is_ok() && !bytes.is_empty();
        let mut past = 0;
        let (document, whole) = match replayed {
            Ok(replay) if is_same_reading(&replay.document, series, weights_sha256) => {
                recovered.clone_from(&replay.damage);
                let whole = replay.whole && replay.lines < COMPACT_FROM;
                if !whole {
                    past = keep_history(&path, &replay)?;
                }
                (replay.document, whole)
            }
            other => {
                if !bytes.is_empty() {
                    let aside = path.with_extension("damaged");
                    fs::rename(&path, &aside).map_err(|source| io_error(&path, "set aside", source))?;
                    let cause = other.err().unwrap_or_else(|| "it holds another reading".to_owned());
                    recovered = Some(format!("{cause}; kept as {}", aside.display()));
                }
                (empty(), false)
            }
        };
        if !whole {
            write_snapshot(&path, past, &document)?;
        }
        let file = OpenOptions::new().append(true).open(&path).map_err(|source| io_error(&path, "open", source))?;
        let carried = carried.is_some_and(|carried| carried.by_others);
        Ok(Self { document, path, file, restored, carried, recovered })
    }

    /// The document.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The session as it stands.
    pub fn session(&self) -> &Session {
        self.document.session()
    }

    /// The file on disk.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a reading was found on disk.
    pub fn was_restored(&self) -> bool {
        self.restored
    }

    /// Whether what the reader drew and wrote was taken over from a reading of the series by other weights.
    pub fn was_carried_over(&self) -> bool {
        self.carried
    }

    /// What was wrong with the file that was found, for people; `None` where it was whole.
    pub fn recovered(&self) -> Option<&str> {
        self.recovered.as_deref()
    }

    /// Makes a change and keeps it. Returns whether anything changed.
    ///
    /// # Errors
    /// Where the line cannot be written; the change is made in memory all the same, so that the reader loses nothing now.
    pub fn apply(&mut self, edit: Edit) -> Result<bool, StoreError> {
        if !self.document.apply(edit.clone()) {
            return Ok(false);
        }
        self.append(&Line::Apply { edit, at: Some(now()) })?;
        Ok(true)
    }

    /// Takes the last change back. Returns whether there was one.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub fn undo(&mut self) -> Result<bool, StoreError> {
        if !self.document.undo() {
            return Ok(false);
        }
        self.append(&Line::Undo { at: Some(now()) })?;
        Ok(true)
    }

    /// Makes the last undone change again. Returns whether there was one.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub fn redo(&mut self) -> Result<bool, StoreError> {
        if !self.document.redo() {
            return Ok(false);
        }
        self.append(&Line::Redo { at: Some(now()) })?;
        Ok(true)
    }

    fn append(&mut self, line: &Line) -> Result<(), StoreError> {
        let bytes = encode(&self.path, line)?;
        self.file.write_all(&bytes).map_err(|source| io_error(&self.path, "write", source))?;
        self.file.sync_data().map_err(|source| io_error(&self.path, "write to disk", source))
    }
}

/// All readings in `folder`, the one that was changed last at the end, and what was wrong with files, for people. Nothing is changed; a folder
/// that is not there holds none.
///
/// # Errors
/// Where the folder or a file in it cannot be read.
pub fn read_sessions(folder: &Path) -> Result<(Vec<Session>, Vec<String>), StoreError> {
    let (mut sessions, mut problems) = (Vec::new(), Vec::new());
    for path in session_files(folder)? {
        let bytes = fs::read(&path).map_err(|source| io_error(&path, "read", source))?;
        match replay(&bytes) {
            Ok(replay) => {
                problems.extend(replay.damage.map(|damage| format!("{}: {damage}", path.display())));
                sessions.push(replay.document.session);
            }
            Err(cause) => problems.push(format!("{}: {cause}", path.display())),
        }
    }
    Ok((sessions, problems))
}

/// The reading of one series in `folder` that was changed last; none where there is none that can be read.
///
/// # Errors
/// Where the folder cannot be read.
pub fn read_session(folder: &Path, series: &SeriesUid) -> Result<Option<Session>, StoreError> {
    Ok(session_files(folder)?.iter().rev().find_map(|path| session_in(path, series)))
}

/// A step, and the series that it was done on.
pub type SeriesEvent = (SeriesUid, Event);

/// What was done to each reading in `folder`, in order, and what was wrong with files, for people.
///
/// # Errors
/// As [`read_sessions`].
pub fn read_history(folder: &Path) -> Result<(Vec<SeriesEvent>, Vec<String>), StoreError> {
    let (mut all, mut problems) = (Vec::new(), Vec::new());
    for path in session_files(folder)? {
        let bytes = fs::read(&path).map_err(|source| io_error(&path, "read", source))?;
        match replay(&bytes) {
            Ok(replay) => {
                let before = past_events(&path, replay.past)?;
                if before.len() < replay.past {
                    problems.push(format!("{}: its older history is lost", path.display()));
                }
                let series = replay.document.session.series_uid;
                all.extend(before.into_iter().chain(replay.events).map(|event| (series.clone(), event)));
            }
            Err(cause) => problems.push(format!("{}: {cause}", path.display())),
        }
    }
    Ok((all, problems))
}

/// Session files in `folder`, the one that was changed last at the end.
fn session_files(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error(folder, "read", error)),
    };
    let is_session =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".session.jsonl"));
    let mut files: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).filter(is_session).collect();
    let changed = |path: &PathBuf| fs::metadata(path).and_then(|data| data.modified()).ok();
    files.sort_by_cached_key(|path| (changed(path), path.clone()));
    Ok(files)
}

/// The session in a file, where it is one of that series.
fn session_in(path: &Path, series: &SeriesUid) -> Option<Session> {
    // The first line begins with the series, so that a glance is enough to tell others.
    let wanted = format!("\"series_uid\":{},", serde_json::to_string(&series.0).ok()?);
    if !begins_with(path, &wanted) {
        return None;
    }
    let replay = fs::read(path).ok().and_then(|bytes| replay(&bytes).ok())?;
    (replay.document.session.series_uid == *series).then_some(replay.document.session)
}

/// What is taken over from another reading.
struct Carried {
    document: Document,
    /// Whether that was by other weights, and not by none: what was imported is.
    by_others: bool,
}

/// What the reader drew and wrote on the series while other weights were in use, as a document of its own: shapes, paint,
/// calibrations, key images and impression do not depend on the network, its findings' reviews do. The latest such file counts.
fn carried_over(folder: &Path, own: &Path, series: &SeriesUid, weights_sha256: &str) -> Option<Carried> {
    let files = session_files(folder).ok()?;
    let session = files.iter().rev().filter(|path| *path != own).find_map(|path| session_in(path, series))?;
    let fresh = Session::new(series.clone(), weights_sha256.to_owned());
    let by_others = !session.weights_sha256.is_empty();
    let session = Session { weights_sha256: fresh.weights_sha256.clone(), reviews: fresh.reviews.clone(), ..session };
    (session != fresh).then(|| Carried { document: Document::new(session), by_others })
}

/// `x.history.jsonl` beside `x.session.jsonl`.
fn history_file(session: &Path) -> PathBuf {
    session.with_extension("").with_extension("history.jsonl")
}

/// The first `past` events of the file of history; fewer where it is damaged.
fn past_events(session: &Path, past: usize) -> Result<Vec<Event>, StoreError> {
    if past == 0 {
        return Ok(Vec::new());
    }
    let path = history_file(session);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error(&path, "read", error)),
    };
    Ok(text.lines().take(past).map_while(|line| serde_json::from_str(line).ok()).collect())
}

/// Adds what a journal tells to its file of history before it is rewritten; returns how many events are there. Events beyond those that a
/// snapshot counts are of a rewriting that a kill cut short: they are written again.
fn keep_history(session: &Path, replay: &Replay) -> Result<usize, StoreError> {
    if replay.past == 0 && replay.events.is_empty() {
        return Ok(0);
    }
    let mut events = past_events(session, replay.past)?;
    events.extend(replay.events.iter().cloned());
    let path = history_file(session);
    let mut bytes = Vec::new();
    for event in &events {
        bytes.extend(encode(&path, event)?);
    }
    write_beside(&path, &bytes)?;
    Ok(events.len())
}

fn begins_with(path: &Path, wanted: &str) -> bool {
    use std::io::Read;
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(512).read_to_end(&mut head));
    read.is_ok() && String::from_utf8_lossy(&head).contains(wanted)
}

/// Name of the session file: hashed, since UIDs in file names can be traced to people.
fn file_name(series: &SeriesUid, weights_sha256: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(series.0.as_bytes());
    hash.update([0]);
    hash.update(weights_sha256.as_bytes());
    let hex: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{hex}.session.jsonl")
}

fn io_error(path: &Path, action: &'static str, source: io::Error) -> StoreError {
    StoreError::Io { path: path.to_path_buf(), action, source }
}

fn is_same_reading(document: &Document, series: &SeriesUid, weights_sha256: &str) -> bool {
    document.session.series_uid == *series && document.session.weights_sha256 == weights_sha256
}

fn encode(path: &Path, line: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let content = |error: serde_json::Error| StoreError::Content { path: path.to_path_buf(), cause: error.to_string() };
    let mut bytes = serde_json::to_vec(line).map_err(content)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// What a journal says.
struct Replay {
    document: Document,
    lines: usize,
    /// Whether every line was read; otherwise the file must be rewritten before anything is appended.
    whole: bool,
    /// What was lost, for people.
    damage: Option<String>,
    /// Events of the file of history that led to the first line.
    past: usize,
    /// What the other lines did.
    events: Vec<Event>,
}

/// Replays a journal up to the first line that cannot be read.
fn replay(bytes: &[u8]) -> Result<Replay, String> {
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let first = lines.next().ok_or("it is empty")?;
    let (version, past, mut document) = match serde_json::from_slice(first) {
        Ok(Line::Snapshot { version: version @ OLDEST..=VERSION, past, document }) => (version, past, document),
        Ok(Line::Snapshot { version, .. }) => {
            return Err(format!("it was written by another version (format {version})"));
        }
        Ok(_) => return Err("its first line is not a snapshot".to_owned()),
        Err(error) => return Err(format!("its first line cannot be read ({error})")),
    };
    let mut replayed = 1;
    let mut events = Vec::new();
    for line in lines {
        // A line without its end was torn, even where what is there happens to read.
        let read = if line.ends_with(b"\n") { serde_json::from_slice(line).ok() } else { None };
        match read {
            Some(Line::Apply { edit, at }) => {
                if document.apply(edit.clone()) {
                    events.extend(document.undo.last().map(|inverse| Event::of(at, Act::Done, &edit, inverse)));
                }
            }
            Some(Line::Undo { at }) => {
                let edit = document.undo.last().cloned();
                if document.undo() {
                    let both = edit.zip(document.redo.last());
                    events.extend(both.map(|(edit, inverse)| Event::of(at, Act::Undone, &edit, inverse)));
                }
            }
            Some(Line::Redo { at }) => {
                let edit = document.redo.last().cloned();
                if document.redo() {
                    let both = edit.zip(document.undo.last());
                    events.extend(both.map(|(edit, inverse)| Event::of(at, Act::Redone, &edit, inverse)));
                }
            }
            Some(Line::Snapshot { .. }) | None => {
                let damage = format!("the session file is damaged after line {replayed}; later edits are lost");
                return Ok(Replay { document, lines: replayed, whole: false, damage: Some(damage), past, events });
            }
        }
        replayed += 1;
    }
    // The first line has no end where the file was torn right there, yet it reads: rewrite it.
    // So does an older format: its programs would not know the lines that are appended here.
    let whole = first.ends_with(b"\n") && version == VERSION;
    Ok(Replay { document, lines: replayed, whole, damage: None, past, events })
}

/// Writes the document as the only line.
fn write_snapshot(path: &Path, past: usize, document: &Document) -> Result<(), StoreError> {
    write_beside(path, &encode(path, &Line::Snapshot { version: VERSION, past, document: document.clone() })?)
}

/// Under another name first, so that a kill leaves either the old file or the new one.
fn write_beside(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let next = path.with_extension("next");
    let write = || {
        let mut file = File::create(&next)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&next, path)
    };
    write().map_err(|source| io_error(path, "write", source))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Decision, MaskKey, Review, Shape, ShapeId, ShapeKind, What};
    use super::*;
    use crate::analysis::FindingId;
    use crate::measure::{Runs, Spacing};
    use crate::study::{DisplayAttributes, InstanceKey};

    fn series() -> SeriesUid {
        SeriesUid("1.2.840.1".to_owned())
    }

    fn document() -> Document {
        Document::new(Session::new(series(), "abc".to_owned()))
    }

    fn impression(text: &str) -> Edit {
        Edit::SetImpression { text: text.to_owned() }
    }

    prop_compose! {
        fn review()(decision in 0..3, comment in ".{0,6}") -> Review {
            Review { decision: [Decision::Open, Decision::Accepted, Decision::Rejected][decision as usize], comment }
        }
    }

    prop_compose! {
        fn shape()(
            kind in 0..ShapeKind::ALL.len(),
            points in proptest::collection::vec((-9.0..5000.0_f64, -9.0..5000.0_f64), 1..6),
            text in "\\PC{0,6}",
            hidden in any::<bool>(),
        ) -> Shape {
            let key = InstanceKey("1.2.0".to_owned());
            let shape = Shape::new(ShapeKind::ALL[kind], key, 0, &points, &DisplayAttributes::default());
            Shape { text, hidden, ..shape }
        }
    }

    fn edit() -> impl Strategy<Value = Edit> {
        let several = proptest::collection::vec(one_edit(), 0..4).prop_map(|edits| Edit::All { edits });
        prop_oneof![6 => one_edit(), 1 => several]
    }

    fn one_edit() -> impl Strategy<Value = Edit> {
        let instance = || (0..3).prop_map(|i| InstanceKey(format!("1.2.{i}")));
        let runs = || proptest::collection::vec((0_u32..200, 0_u32..30), 0..5).prop_map(Runs::new);
        let mask = (instance(), 0..2_usize, 0..2).prop_map(|(instance, frame, label)| MaskKey {
            instance,
            frame,
            label: format!("label{label}"),
        });
        prop_oneof![
            (1..5_u64, proptest::option::of(shape()))
                .prop_map(|(id, shape)| Edit::SetShape { id: ShapeId(id), shape: shape.map(Box::new) }),
            (mask, runs(), runs()).prop_map(|(mask, add, remove)| Edit::Paint { mask, add, remove }),
            (instance(), proptest::option::of(1..900_u32)).prop_map(|(instance, mm)| Edit::Calibrate {
                instance,
                spacing: mm.map(|mm| Spacing { row_mm: f64::from(mm) / 1e3, column_mm: f64::from(mm) / 1e2 })
            }),
            (instance(), 0..2_usize, 1..4_u32, review()).prop_map(|(instance, frame, id, review)| Edit::SetReview {
                instance,
                frame,
                finding: FindingId(id),
                review
            }),
            (instance(), 0..2_usize, any::<bool>()).prop_map(|(instance, frame, key)| Edit::SetKeyImage {
                instance,
                frame,
                key
            }),
            "\\PC{0,8}".prop_map(|text| Edit::SetImpression { text }),
        ]
    }

    #[derive(Debug, Clone)]
    enum Step {
        Apply(Edit),
        Undo,
        Redo,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![3 => edit().prop_map(Step::Apply), 1 => Just(Step::Undo), 1 => Just(Step::Redo)];
        proptest::collection::vec(step, 0..40)
    }

    proptest! {
        #[test]
        fn an_edit_and_its_inverse_are_nothing(before in proptest::collection::vec(edit(), 0..10), one in edit()) {
            let mut session = Session::new(series(), "abc".to_owned());
            for edit in before {
                session.apply(edit);
            }
            let start = session.clone();
            let inverse = session.apply(one.clone());
            let changed = session.clone();
            let again = session.apply(inverse);
            prop_assert_eq!(&session, &start);
            session.apply(again);
            prop_assert_eq!(session, changed);
        }

        #[test]
        fn undoing_everything_leads_back(edits in proptest::collection::vec(edit(), 0..30)) {
            let mut document = document();
            for edit in edits {
                document.apply(edit);
            }
            let end = document.session().clone();
            while document.undo() {}
            prop_assert_eq!(document.session(), &Session::new(series(), "abc".to_owned()));
            while document.redo() {}
            prop_assert_eq!(document.session(), &end);
        }

        /// Whatever was done, and wherever a kill cuts the file: what is replayed is a state that was there.
        #[test]
        fn replay_equals_the_state(steps in steps(), cut in 0.0..1.0) {
            let mut document = document();
            let mut journal = encode(Path::new("x"), &Line::Snapshot { version: VERSION, past: 0, document: document.clone() }).expect("encodes");
            let first = journal.len();
            let mut states = vec![document.clone()];
            for step in steps {
                let line = match step {
                    Step::Apply(edit) => document.apply(edit.clone()).then_some(Line::Apply { edit, at: None }),
                    Step::Undo => document.undo().then_some(Line::Undo { at: None }),
                    Step::Redo => document.redo().then_some(Line::Redo { at: None }),
                };
                if let Some(line) = line {
                    journal.extend(encode(Path::new("x"), &line).expect("encodes"));
                    states.push(document.clone());
                }
            }
            let whole = replay(&journal).expect("a whole journal replays");
            prop_assert_eq!(&whole.document, &document);
            prop_assert!(whole.whole && whole.damage.is_none());
            let kept = first + ((journal.len() - first) as f64 * cut) as usize;
            let torn = replay(&journal[..kept]).expect("the first line is whole");
            prop_assert_eq!(&torn.document, &states[torn.lines - 1]);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = replay(&bytes);
        }
    }

    #[test]
    fn undo_survives_a_restart() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut store = Store::open(folder.path(), &series(), "abc").expect("opens");
        assert!(!store.was_restored());
        store.apply(impression("first")).expect("kept");
        store.apply(impression("second")).expect("kept");
        assert!(!store.apply(impression("second")).expect("nothing to keep"), "the same again is no step");
        store.undo().expect("kept");
        drop(store);
        let mut store = Store::open(folder.path(), &series(), "abc").expect("opens again");
        assert!(store.was_restored() && store.recovered().is_none());
        assert_eq!(store.session().impression, "first");
        assert!(store.redo().expect("kept"));
        assert_eq!(store.session().impression, "second");
        assert!(store.undo().expect("kept") && store.undo().expect("kept") && !store.undo().expect("nothing left"));
        assert_eq!(store.session().impression, "");
    }

    #[test]
    fn a_file_of_the_first_format_opens_and_becomes_one_of_the_second() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(file_name(&series(), "abc"));
        // As version 1 wrote it: no shapes, masks and calibrations.
        let old = concat!(
            r#"{"line":"snapshot","version":1,"document":{"session":{"series_uid":"1.2.840.1","weights_sha256":"abc","#,
            r#""reviews":[{"instance":"1.2.0","frame":0,"finding":1,"decision":"accepted","comment":"c"}],"#,
            r#""key_images":[["1.2.0",0]],"impression":""},"undo":[],"redo":[]}}"#,
            "\n",
            r#"{"line":"apply","edit":{"edit":"set_impression","text":"kept"}}"#,
            "\n"
        );
        fs::write(&path, old).expect("writes");
        let mut store = Store::open(folder.path(), &series(), "abc").expect("opens");
        assert!(store.was_restored() && store.recovered().is_none());
        assert_eq!((store.session().impression.as_str(), store.session().reviews.len()), ("kept", 1));
        let key = InstanceKey("1.2.0".to_owned());
        let line = Shape::new(ShapeKind::Length, key, 0, &[(1.0, 2.0), (3.1, 4.2)], &DisplayAttributes::default());
        let id = store.session().free_shape_id();
        store.apply(Edit::SetShape { id, shape: Some(Box::new(line.clone())) }).expect("kept");
        drop(store);
        assert!(fs::read_to_string(&path).expect("reads").starts_with(r#"{"line":"snapshot","version":2"#));
        let store = Store::open(folder.path(), &series(), "abc").expect("opens");
        assert_eq!(store.session().shapes.get(&id), Some(&line));
    }

    #[test]
    fn a_stroke_over_what_is_painted_already_is_no_step() {
        let mask = MaskKey { instance: InstanceKey("1.2.0".to_owned()), frame: 0, label: "nodule".to_owned() };
        let paint = |add: &[(u32, u32)], remove: &[(u32, u32)]| Edit::Paint {
            mask: mask.clone(),
            add: Runs::new(add.to_vec()),
            remove: Runs::new(remove.to_vec()),
        };
        let mut document = document();
        assert!(document.apply(paint(&[(10, 20)], &[])));
        assert!(!document.apply(paint(&[(12, 5)], &[])));
        assert!(!document.apply(paint(&[], &[(50, 5)])));
        assert!(document.apply(paint(&[(25, 10)], &[(0, 12)])));
        assert_eq!(document.session().masks.get(&mask).map(Runs::as_slice), Some(&[(12, 23)][..]));
        assert!(document.undo());
        assert_eq!(document.session().masks.get(&mask).map(Runs::as_slice), Some(&[(10, 20)][..]));
        assert!(document.undo() && document.session().masks.is_empty());
    }

    #[test]
    fn a_torn_line_costs_only_itself() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut store = Store::open(folder.path(), &series(), "abc").expect("opens");
        store.apply(impression("kept")).expect("kept");
        store.apply(impression("torn")).expect("kept");
        let path = store.path().to_path_buf();
        drop(store);
        let bytes = fs::read(&path).expect("reads");
        fs::write(&path, &bytes[..bytes.len() - 3]).expect("writes");
        let mut store = Store::open(folder.path(), &series(), "abc").expect("opens");
        assert_eq!(store.session().impression, "kept");
        assert!(store.recovered().is_some());
        store.apply(impression("after")).expect("kept");
        drop(store);
        let store = Store::open(folder.path(), &series(), "abc").expect("opens");
        assert_eq!((store.session().impression.as_str(), store.recovered()), ("after", None));
    }

    #[test]
    fn a_damaged_file_is_set_aside() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(file_name(&series(), "abc"));
        fs::write(&path, "not a journal").expect("writes");
        let mut store = Store::open(folder.path(), &series(), "abc").expect("opens");
        assert!(!store.was_restored());
        assert!(store.recovered().is_some_and(|text| text.contains("damaged")));
        store.apply(impression("new")).expect("kept");
        assert_eq!(fs::read_to_string(path.with_extension("damaged")).expect("kept aside"), "not a journal");
    }

    #[test]
    fn readings_do_not_mix() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut one = Store::open(folder.path(), &series(), "abc").expect("opens");
        one.apply(impression("for abc")).expect("kept");
        let review = Review { decision: Decision::Accepted, comment: String::new() };
        let instance = InstanceKey("1.2.0".to_owned());
        one.apply(Edit::SetReview { instance, frame: 0, finding: FindingId(1), review }).expect("kept");
        let mut other = Store::open(folder.path(), &series(), "def").expect("opens");
        assert!(other.was_carried_over() && !other.document().can_undo());
        assert_eq!(other.session().impression, "for abc", "the reader's own work does not hang on the weights");
        assert!(other.session().reviews.is_empty(), "reviews of other findings do");
        other.apply(impression("for def")).expect("kept");
        assert_eq!(Store::open(folder.path(), &series(), "abc").expect("opens").session().impression, "for abc");
        let imported = SeriesUid("1.2.840.2".to_owned());
        Store::open(folder.path(), &imported, "").expect("opens").apply(impression("by none")).expect("kept");
        let opened = Store::open(folder.path(), &imported, "abc").expect("opens");
        assert!(!opened.was_carried_over() && opened.session().impression == "by none", "there were no other weights");
        let stranger = Store::open(folder.path(), &SeriesUid("1.2.840.12".to_owned()), "def").expect("opens");
        assert!(!stranger.was_carried_over() && stranger.session().impression.is_empty());
        assert!(!one.path().display().to_string().contains("840"), "no UID in the file name");
    }

    #[test]
    fn a_long_journal_becomes_a_snapshot() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(file_name(&series(), "abc"));
        let mut journal =
            encode(&path, &Line::Snapshot { version: VERSION, past: 0, document: document() }).expect("encodes");
        for i in 0..COMPACT_FROM {
            journal.extend(
                encode(&path, &Line::Apply { edit: impression(&i.to_string()), at: Some(i as u64) }).expect("encodes"),
            );
        }
        fs::write(&path, journal).expect("writes");
        let mut store = Store::open(folder.path(), &series(), "abc").expect("opens");
        assert_eq!(fs::read_to_string(&path).expect("reads").lines().count(), 1);
        store.undo().expect("kept");
        assert_eq!(store.session().impression, (COMPACT_FROM - 2).to_string());
        // Who did what and when outlives the lines that said so.
        let told = || read_history(folder.path()).expect("reads");
        let (events, problems) = told();
        assert_eq!((events.len(), problems.len()), (COMPACT_FROM + 1, 0));
        assert_eq!((events[7].0.clone(), events[7].1.at, events[7].1.act), (series(), Some(7), Act::Done));
        assert_eq!(events[COMPACT_FROM].1.act, Act::Undone);
        assert!(events[COMPACT_FROM].1.at.is_some_and(|at| at > 1_700_000_000_000), "milliseconds since 1970");
        // A kill between the two files: what the history has too much is not told twice.
        let history = history_file(&path);
        let text = fs::read_to_string(&history).expect("reads");
        fs::write(&history, format!("{text}{text}")).expect("writes");
        assert_eq!(told().0, events);
        fs::remove_file(&history).expect("removed");
        let (events, problems) = told();
        assert_eq!((events.len(), problems.len()), (1, 1), "{problems:?}");
    }

    #[test]
    fn history_says_what_became_of_each_thing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut store = Store::open(folder.path(), &series(), "abc").expect("opens");
        let key = InstanceKey("1.2.0".to_owned());
        let line =
            Shape::new(ShapeKind::Length, key.clone(), 3, &[(1.0, 2.0), (3.1, 4.2)], &DisplayAttributes::default());
        let set = |shape: Option<Shape>| Edit::SetShape { id: ShapeId(1), shape: shape.map(Box::new) };
        let mask = MaskKey { instance: key.clone(), frame: 2, label: "nodule".to_owned() };
        store.apply(set(Some(line.clone()))).expect("kept");
        store.apply(set(Some(Shape { label: Some("mass".into()), ..line.clone() }))).expect("kept");
        store.apply(set(None)).expect("kept");
        let paint = Edit::Paint { mask, add: Runs::new(vec![(3, 9)]), remove: Runs::default() };
        let none = Edit::SetKeyImage { instance: key, frame: 0, key: false };
        store.apply(Edit::All { edits: vec![paint, none] }).expect("kept");
        store.undo().expect("kept");
        let (events, _) = read_history(folder.path()).expect("reads");
        let told: Vec<_> = events.iter().map(|(_, event)| (event.act, &event.changes[0].what)).collect();
        let expected = [
            (Act::Done, &What::Drawn(ShapeKind::Length)),
            (Act::Done, &What::Relabelled(ShapeKind::Length, None)),
            (Act::Done, &What::Deleted(ShapeKind::Length)),
            (Act::Done, &What::Painted { added: 9, removed: 0 }),
            (Act::Undone, &What::Painted { added: 0, removed: 9 }),
        ];
        assert_eq!(told, expected);
        assert!(events.iter().all(|(_, event)| event.changes.len() == 1), "what changed nothing is not told");
        let deleted = &events[2].1.changes[0];
        assert_eq!((deleted.frame, deleted.shape, deleted.label.as_deref()), (3, Some(ShapeId(1)), Some("mass")));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("file");
        fs::write(&file, "").expect("writes");
        let error = Store::open(&file, &series(), "abc").expect_err("a file is no folder");
        assert!(error.to_string().contains("file"), "{error}");
    }
}
