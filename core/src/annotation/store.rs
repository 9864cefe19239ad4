//! The session file: a reading survives a crash, a kill and a restart, with its undo.
//!
//! The file is a journal of JSON lines. The first line names the format and the reading; each later one is an edit, an
//! undo or a redo, and is on the disk (fsync) before the call returns. Opening replays them. A line that was torn by a
//! kill is cut off. Long journals are rewritten as one snapshot, under another name first, then renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Edit, Session};
use crate::study::SeriesUid;

/// A session with its undo and redo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    session: Session,
    /// Edits that take the last changes back, the latest last.
    undo: Vec<Edit>,
    /// Edits that make undone changes again, the latest last.
    redo: Vec<Edit>,
}

/// So many steps can be undone.
const MOST_UNDO: usize = 1000;

impl Document {
    /// A document without history.
    pub fn new(session: Session) -> Self {
        Self { session, undo: Vec::new(), redo: Vec::new() }
    }

    /// The session as it stands.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Makes a change that can be undone; what was undone before can no longer be redone. Returns whether anything changed.
    pub fn apply(&mut self, edit: Edit) -> bool {
        let inverse = self.session.apply(edit.clone());
        if edit.was_nothing(&inverse) {
            // It set what was there already: no step of its own.
            return false;
        }
        self.redo.clear();
        self.undo.push(inverse);
        if self.undo.len() > MOST_UNDO {
            self.undo.remove(0);
        }
        true
    }

    /// Takes the last change back; false where there is none.
    pub fn undo(&mut self) -> bool {
        let Some(edit) = self.undo.pop() else { return false };
        self.redo.push(self.session.apply(edit));
        true
    }

    /// Makes the last undone change again; false where there is none.
    pub fn redo(&mut self) -> bool {
        let Some(edit) = self.redo.pop() else { return false };
        self.undo.push(self.session.apply(edit));
        true
    }

    /// Whether [`Document::undo`] would do anything.
    pub fn can_undo(&self) -> bool {
        !self.undo.is_empty()
    }

    /// Whether [`Document::redo`] would do anything.
    pub fn can_redo(&self) -> bool {
        !self.redo.is_empty()
    }
}

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
        document: Document,
    },
    Apply {
        edit: Edit,
    },
    Undo,
    Redo,
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
        let empty = || carried.clone().unwrap_or_else(fresh);
        let replayed = replay(&bytes);
        let restored = replayed.is_ok() && !bytes.is_empty();
        let (document, lines, whole) = match replayed {
            Ok(replay) if is_same_reading(&replay.document, series, weights_sha256) => {
                recovered = replay.damage;
                (replay.document, replay.lines, replay.whole)
            }
            other => {
                if !bytes.is_empty() {
                    let aside = path.with_extension("damaged");
                    fs::rename(&path, &aside).map_err(|source| io_error(&path, "set aside", source))?;
                    let cause = other.err().unwrap_or_else(|| "it holds another reading".to_owned());
                    recovered = Some(format!("{cause}; kept as {}", aside.display()));
                }
                (empty(), 0, false)
            }
        };
        if !whole || lines >= COMPACT_FROM {
            write_snapshot(&path, &document)?;
        }
        let file = OpenOptions::new().append(true).open(&path).map_err(|source| io_error(&path, "open", source))?;
        Ok(Self { document, path, file, restored, carried: carried.is_some(), recovered })
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
        self.append(&Line::Apply { edit })?;
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
        self.append(&Line::Undo)?;
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
        self.append(&Line::Redo)?;
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
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), Vec::new())),
        Err(error) => return Err(io_error(folder, "read", error)),
    };
    let is_session =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".session.jsonl"));
    let mut files: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).filter(is_session).collect();
    let changed = |path: &PathBuf| fs::metadata(path).and_then(|data| data.modified()).ok();
    files.sort_by_cached_key(|path| (changed(path), path.clone()));
    let (mut sessions, mut problems) = (Vec::new(), Vec::new());
    for path in files {
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

/// What the reader drew and wrote on the series while other weights were in use, as a document of its own: shapes, paint,
/// calibrations, key images and impression do not depend on the network, its findings' reviews do. The latest such file counts.
fn carried_over(folder: &Path, own: &Path, series: &SeriesUid, weights_sha256: &str) -> Option<Document> {
    // The first line begins with the series, so that a glance at each file is enough.
    let wanted = format!("\"series_uid\":{},", serde_json::to_string(&series.0).ok()?);
    let mut latest: Option<(std::time::SystemTime, Session)> = None;
    for entry in fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        let is_session = path.to_str().is_some_and(|name| name.ends_with(".session.jsonl"));
        if !is_session || path == own || !begins_with(&path, &wanted) {
            continue;
        }
        let Some(changed) = entry.metadata().ok().and_then(|metadata| metadata.modified().ok()) else { continue };
        if latest.as_ref().is_some_and(|(before, _)| *before >= changed) {
            continue;
        }
        if let Some(replay) = fs::read(&path).ok().and_then(|bytes| replay(&bytes).ok())
            && replay.document.session.series_uid == *series
        {
            latest = Some((changed, replay.document.session));
        }
    }
    let (_, session) = latest?;
    let fresh = Session::new(series.clone(), weights_sha256.to_owned());
    let session = Session { weights_sha256: fresh.weights_sha256.clone(), reviews: fresh.reviews.clone(), ..session };
    (session != fresh).then(|| Document::new(session))
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

fn encode(path: &Path, line: &Line) -> Result<Vec<u8>, StoreError> {
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
}

/// Replays a journal up to the first line that cannot be read.
fn replay(bytes: &[u8]) -> Result<Replay, String> {
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let first = lines.next().ok_or("it is empty")?;
    let (version, mut document) = match serde_json::from_slice(first) {
        Ok(Line::Snapshot { version: version @ OLDEST..=VERSION, document }) => (version, document),
        Ok(Line::Snapshot { version, .. }) => {
            return Err(format!("it was written by another version (format {version})"));
        }
        Ok(_) => return Err("its first line is not a snapshot".to_owned()),
        Err(error) => return Err(format!("its first line cannot be read ({error})")),
    };
    let mut replayed = 1;
    for line in lines {
        // A line without its end was torn, even where what is there happens to read.
        let read = if line.ends_with(b"\n") { serde_json::from_slice(line).ok() } else { None };
        match read {
            Some(Line::Apply { edit }) => {
                document.apply(edit);
            }
            Some(Line::Undo) => {
                document.undo();
            }
            Some(Line::Redo) => {
                document.redo();
            }
            Some(Line::Snapshot { .. }) | None => {
                let damage = format!("the session file is damaged after line {replayed}; later edits are lost");
                return Ok(Replay { document, lines: replayed, whole: false, damage: Some(damage) });
            }
        }
        replayed += 1;
    }
    // The first line has no end where the file was torn right there, yet it reads: rewrite it.
    // So does an older format: its programs would not know the lines that are appended here.
    let whole = first.ends_with(b"\n") && version == VERSION;
    Ok(Replay { document, lines: replayed, whole, damage: None })
}

/// Writes the document as the only line, so that a kill leaves either the old file or the new one.
fn write_snapshot(path: &Path, document: &Document) -> Result<(), StoreError> {
    let bytes = encode(path, &Line::Snapshot { version: VERSION, document: document.clone() })?;
    let next = path.with_extension("next");
    let write = || {
        let mut file = File::create(&next)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&next, path)
    };
    write().map_err(|source| io_error(path, "write", source))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Decision, MaskKey, Review, Shape, ShapeId, ShapeKind};
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
            let mut journal = encode(Path::new("x"), &Line::Snapshot { version: VERSION, document: document.clone() }).expect("encodes");
            let first = journal.len();
            let mut states = vec![document.clone()];
            for step in steps {
                let line = match step {
                    Step::Apply(edit) => document.apply(edit.clone()).then_some(Line::Apply { edit }),
                    Step::Undo => document.undo().then_some(Line::Undo),
                    Step::Redo => document.redo().then_some(Line::Redo),
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
        let stranger = Store::open(folder.path(), &SeriesUid("1.2.840.12".to_owned()), "def").expect("opens");
        assert!(!stranger.was_carried_over() && stranger.session().impression.is_empty());
        assert!(!one.path().display().to_string().contains("840"), "no UID in the file name");
    }

    #[test]
    fn a_long_journal_becomes_a_snapshot() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(file_name(&series(), "abc"));
        let mut journal = encode(&path, &Line::Snapshot { version: VERSION, document: document() }).expect("encodes");
        for i in 0..COMPACT_FROM {
            journal.extend(encode(&path, &Line::Apply { edit: impression(&i.to_string()) }).expect("encodes"));
        }
        fs::write(&path, journal).expect("writes");
        let mut store = Store::open(folder.path(), &series(), "abc").expect("opens");
        assert_eq!(fs::read_to_string(&path).expect("reads").lines().count(), 1);
        store.undo().expect("kept");
        assert_eq!(store.session().impression, (COMPACT_FROM - 2).to_string());
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
