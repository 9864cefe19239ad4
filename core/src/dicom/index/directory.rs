//! DICOMDIR: the files that it references (PS3.3 F, PS3.10 8).

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use dicom_dictionary_std::tags;

use crate::dicom::data_set::tag_name;
use crate::dicom::file::DicomFile;
use crate::dicom::sop_class::MEDIA_DIRECTORY;
use crate::dicom::text::one_line;
use crate::study::{Problem, Source};

/// Missing files that are named one by one.
const MAX_NAMED: usize = 20;

/// Referenced File ID (0004,1500): the parts of a path relative to the DICOMDIR.
pub(super) type FileReference = Vec<String>;

/// The references of a DICOMDIR; `None` for other files.
///
/// All records of the Directory Record Sequence are taken one after the other. The offsets that link them into a tree
/// are not needed for that, so that neither wrong nor circular ones do harm.
pub(super) fn references(file: &DicomFile) -> Option<Vec<FileReference>> {
    let set = file.data_set();
    let class = set.string(tags::MEDIA_STORAGE_SOP_CLASS_UID).or_else(|| set.string(tags::SOP_CLASS_UID));
    if class.as_deref() != Some(MEDIA_DIRECTORY) && !set.has(tags::DIRECTORY_RECORD_SEQUENCE) {
        return None;
    }
    let records = set.items(tags::DIRECTORY_RECORD_SEQUENCE);
    // An inactive record has the flag 0000H (PS3.3 F.3.2.2).
    let active = records.filter(|record| record.int(tags::RECORD_IN_USE_FLAG) != Some(0));
    Some(active.map(|record| record.strings(tags::REFERENCED_FILE_ID)).filter(|parts| !parts.is_empty()).collect())
}

/// The referenced files that exist and were not seen before.
pub(super) fn resolve(
    directory: &Path,
    references: &[FileReference],
    seen: &mut HashSet<PathBuf>,
    problems: &mut Vec<Problem>,
) -> Vec<PathBuf> {
    let folder = directory.parent().unwrap_or(Path::new(""));
    let mut files = Vec::new();
    let mut missing = 0;
    let tag = Some(tag_name(tags::REFERENCED_FILE_ID));
    let problem = |cause: String| Problem::error(Source::file(directory), tag.clone(), cause);
    for parts in references {
        let shown = one_line(&parts.join("/"));
        let plain = |part: &String| {
            !matches!(part.as_str(), "" | "." | "..") && !part.contains(['/', '\\', ':']) && !part.contains('\0')
        };
        if !parts.iter().all(plain) {
            let kind = "a reference that leads out of the folder: refused";
            problems.push(problem(format!("{shown} leads out of the folder: refused")).of_kind(kind));
            continue;
        }
        let found = parts.iter().try_fold(folder.to_path_buf(), |path, part| child(&path, part));
        match found.filter(|path| path.is_file()) {
            Some(path) => {
                if fs::canonicalize(&path).is_ok_and(|canonical| seen.insert(canonical)) {
                    files.push(path);
                }
            }
            None => {
                missing += 1;
                if missing <= MAX_NAMED {
                    let kind = "referenced but absent";
                    problems.push(problem(format!("{shown} is referenced but absent")).of_kind(kind));
                }
            }
        }
    }
    if missing > MAX_NAMED {
        problems.push(problem(format!("{missing} referenced files are absent in all")));
    }
    if references.is_empty() {
        problems.push(problem("the directory references no files".into()));
    }
    files
}

/// An entry of a folder by name, whatever its case: discs are often copied to lower-case names.
fn child(folder: &Path, name: &str) -> Option<PathBuf> {
    let exact = folder.join(name);
    if exact.exists() {
        return Some(exact);
    }
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut entries = fs::read_dir(folder).ok()?.flatten();
    entries.find(|entry| entry.file_name().to_string_lossy().eq_ignore_ascii_case(name)).map(|entry| entry.path())
}
