//! From files, folders, ZIP archives and DICOMDIRs to the tree of studies: headers only, in parallel.

mod directory;
mod header;
mod scan;
mod tree;

use std::collections::HashSet;
use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use dicom_dictionary_std::tags;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::data_set::tag_name;
use super::file::{DicomError, DicomFile};
use super::fragments::unfinished;
use crate::image_io::{self, with_stream};
use crate::study::{Problem, Source, StudyIndex};
use crate::task::{Cancelled, Task};
use directory::FileReference;
use header::Found;

/// What one file or archive member is.
enum Content {
    /// An instance.
    Found(Box<Found>),
    /// A DICOMDIR.
    Directory(Vec<FileReference>),
    /// Nothing this program reads.
    Foreign(String),
    /// A ZIP archive.
    Archive,
}

/// A member's name and what it is.
type Member = (String, Result<Content, Problem>);

/// What came of one file: contents with their sources, and problems.
#[derive(Default)]
struct Outcome {
    found: Vec<Found>,
    directory: Option<Vec<FileReference>>,
    problems: Vec<Problem>,
}

/// Files done and known, over all threads.
struct Count<'a> {
    task: &'a Task,
    done: AtomicU64,
    total: AtomicU64,
}

impl Count<'_> {
    fn step(&self) -> Result<(), Cancelled> {
        self.task.check()?;
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let total = self.total.load(Ordering::Relaxed);
        if done.is_multiple_of(8) || done >= total {
            self.task.progress("Reading headers", done, total);
        }
        Ok(())
    }
}

/// Finds the studies under `paths`: files, folders with all that is below them, ZIP archives, DICOMDIRs, PNG and JPEG.
///
/// Only headers are read. A file that cannot be used, or only in part, never stops the others: it is named in
/// [`StudyIndex::problems`] with the reason; oddities of files that can be used are in [`StudyIndex::remarks`]. A DICOMDIR is followed when it is given itself; met inside a folder it adds
/// nothing, because the folder's files are read anyway. Objects without an image (reports, structure sets) are listed with
/// `frames == 0`. A PNG or JPEG becomes a series of its own in a study made up for its folder.
/// The same file reached twice, and identical copies, are listed once. Different files that claim one SOP Instance UID are
/// all kept, each under a key of its own ([`Instance::key`](crate::study::Instance::key)).
///
/// # Errors
/// Only when cancelled.
pub fn index_paths(paths: &[PathBuf], task: &Task) -> Result<StudyIndex, Cancelled> {
    let mut problems = Vec::new();
    let mut seen = HashSet::new();
    let files = scan::files(paths, &mut seen, &mut problems, task)?;
    let count = Count { task, done: AtomicU64::new(0), total: AtomicU64::new(files.len() as u64) };
    let mut outcomes = read_all(&files, &count)?;
    // Directories that were given themselves lead to more files.
    let given: HashSet<&PathBuf> = paths.iter().collect();
    let mut referenced = Vec::new();
    for (path, outcome) in files.iter().zip(&mut outcomes) {
        if let Some(references) = outcome.directory.take()
            && given.contains(path)
        {
            referenced.extend(directory::resolve(path, &references, &mut seen, &mut problems));
        }
    }
    count.total.fetch_add(referenced.len() as u64, Ordering::Relaxed);
    outcomes.extend(read_all(&referenced, &count)?);
    let mut found = Vec::new();
    for outcome in outcomes {
        found.extend(outcome.found);
        problems.extend(outcome.problems);
    }
    task.check()?;
    Ok(tree::build(found, problems))
}

fn read_all(files: &[PathBuf], count: &Count<'_>) -> Result<Vec<Outcome>, Cancelled> {
    files
        .par_iter()
        .map(|path| {
            let outcome = read_file(path, count)?;
            count.step()?;
            Ok(outcome)
        })
        .collect()
}

fn read_file(path: &Path, count: &Count<'_>) -> Result<Outcome, Cancelled> {
    let source = Source::file(path);
    let mut outcome = Outcome::default();
    let body = |stream: &mut dyn Read, length| Ok(read_stream(stream, length, &source));
    let content = with_stream(&source, body)
        .unwrap_or_else(|error| Err(DicomError::Read { file: source.clone(), error }.to_problem()));
    match content {
        Ok(Content::Found(mut found)) => {
            outcome.problems.append(&mut found.problems);
            outcome.found.push(*found);
        }
        Ok(Content::Directory(references)) => outcome.directory = Some(references),
        Ok(Content::Foreign(cause)) => outcome.problems.push(Problem::error(source, None, cause)),
        Ok(Content::Archive) => read_archive(path, &mut outcome, count)?,
        Err(problem) => outcome.problems.push(problem),
    }
    Ok(outcome)
}

fn read_archive(path: &Path, outcome: &mut Outcome, count: &Count<'_>) -> Result<(), Cancelled> {
    let source = |member: Option<String>| Source { file: path.to_path_buf(), member };
    let problem = |member: Option<String>, cause: String| Problem::error(source(member), None, cause);
    let members = match image_io::archive(path) {
        Ok(archive) => archive.len(),
        Err(error) => {
            outcome.problems.push(problem(None, format!("cannot be read as a ZIP archive: {error}")));
            return Ok(());
        }
    };
    count.total.fetch_add(members as u64, Ordering::Relaxed);
    let indices: Vec<usize> = (0..members).collect();
    let chunk = members.div_ceil(4 * rayon::current_num_threads()).max(16);
    let results: Vec<Result<Vec<Member>, Cancelled>> = indices
        .par_chunks(chunk)
        .map(|chunk| {
            let mut results = Vec::new();
            // Each thread has its own view of the archive, because reading moves its file position.
            let Ok(mut archive) = image_io::archive(path) else { return Ok(results) };
            for index in chunk {
                count.step()?;
                let mut entry = match archive.by_index(*index) {
                    Ok(entry) => entry,
                    Err(error) => {
                        let cause = format!("cannot be unpacked: {error}");
                        results.push((String::new(), Err(problem(Some(format!("member {index}")), cause))));
                        continue;
                    }
                };
                if entry.is_dir() {
                    continue;
                }
                let name = entry.name().map(std::borrow::Cow::into_owned).unwrap_or_default();
                if entry.enclosed_name().is_none() || name.is_empty() {
                    let cause = "its name leads out of the archive: refused".to_owned();
                    results.push((name.clone(), Err(problem(Some(name), cause))));
                    continue;
                }
                if scan::is_litter(Path::new(&name)) {
                    continue;
                }
                let source = Source { file: path.to_path_buf(), member: Some(name.clone()) };
                let length = entry.size();
                results.push((name, read_stream(&mut entry, length, &source)));
            }
            Ok(results)
        })
        .collect();
    let (mut foreign, mut first_foreign, mut used) = (0_usize, None, false);
    for result in results {
        for (name, content) in result? {
            match content {
                Ok(Content::Found(mut found)) => {
                    used = true;
                    outcome.problems.append(&mut found.problems);
                    outcome.found.push(*found);
                }
                Ok(Content::Directory(_)) => {}
                Ok(Content::Archive) => {
                    outcome.problems.push(problem(Some(name), "an archive within an archive is not opened".into()));
                }
                Ok(Content::Foreign(_)) => {
                    foreign += 1;
                    first_foreign.get_or_insert(name);
                }
                Err(problem) => outcome.problems.push(problem),
            }
        }
    }
    if let Some(first) = first_foreign {
        outcome.problems.push(if used {
            let cause = format!("{foreign} of its {members} members are no DICOM, PNG or JPEG files (first: {first})");
            Problem::remark(source(None), None, cause).of_kind("members that are no DICOM, PNG or JPEG files")
        } else {
            problem(None, format!("an archive without any DICOM, PNG or JPEG file ({foreign} members)"))
                .of_kind("an archive without any DICOM, PNG or JPEG file")
        });
    } else if members == 0 {
        outcome.problems.push(problem(None, "an empty archive".into()));
    }
    Ok(())
}

/// Reads the header of one file or member.
fn read_stream(stream: &mut dyn Read, length: u64, source: &Source) -> Result<Content, Problem> {
    // A fault in a decoder must cost one file, not the folder.
    catch_unwind(AssertUnwindSafe(|| read_header(stream, length, source))).unwrap_or_else(|_| {
        Err(DicomError::content(source, "the reader failed on it: please report this file").to_problem())
    })
}

fn read_header(stream: &mut dyn Read, length: u64, source: &Source) -> Result<Content, Problem> {
    let mut head = Vec::new();
    let read_problem = |error| DicomError::Read { file: source.clone(), error }.to_problem();
    stream.take(16).read_to_end(&mut head).map_err(read_problem)?;
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return Ok(Content::Archive);
    }
    let picture = image_io::is_picture(&head);
    let mut stream = Cursor::new(head).chain(stream);
    if picture {
        return match image_io::read_info(&mut stream, source) {
            Ok(size) => Ok(Content::Found(Box::new(header::from_picture(source, size)))),
            Err(error) => Err(Problem::error(source.clone(), None, error.cause())),
        };
    }
    match DicomFile::load(&mut stream, length, source, true) {
        Ok(file) => Ok(match directory::references(&file) {
            Some(references) => Content::Directory(references),
            None => {
                let mut found = header::from_file(&file);
                found.problems.extend(cut_off(&file, length));
                Content::Found(Box::new(found))
            }
        }),
        Err(DicomError::NotDicom { cause, .. }) => Ok(Content::Foreign(format!("not a DICOM file: {cause}"))),
        Err(error) => Err(error.to_problem()),
    }
}

/// Whether compressed pixel data are cut off, which headers alone do not show; only for files of their own, since what lies
/// in an archive cannot be stepped through.
fn cut_off(file: &DicomFile, length: u64) -> Option<Problem> {
    let start = file.fragments_start().filter(|_| file.source.member.is_none())?;
    let mut disk = std::fs::File::open(&file.source.file).ok()?;
    let (cause, loss) = unfinished(&mut disk, start, length).ok()??;
    let tag = Some(tag_name(tags::PIXEL_DATA));
    let source = file.source.clone();
    Some(if loss { Problem::error(source, tag, cause) } else { Problem::remark(source, tag, cause) })
}

/// A UID under `2.25` (PS3.5 B.2) that is the same for the same text.
fn made_up_uid(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let number = digest.iter().take(16).fold(0_u128, |number, byte| (number << 8) | u128::from(*byte));
    format!("2.25.{number}")
}
