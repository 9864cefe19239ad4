//! The bytes of a [`Source`]: a file on disk, or a member of a ZIP archive. Nothing is ever unpacked to disk.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;

use zip::ZipArchive;

use crate::study::Source;

/// Members that an archive may have.
pub const MAX_MEMBERS: usize = 500_000;

/// Opens a ZIP archive.
///
/// # Errors
/// When it is no archive, is damaged, or has more than [`MAX_MEMBERS`] members.
pub fn archive(path: &Path) -> io::Result<ZipArchive<BufReader<File>>> {
    let archive = ZipArchive::new(BufReader::new(regular(path)?.0)).map_err(io::Error::other)?;
    if archive.len() > MAX_MEMBERS {
        return Err(io::Error::other(format!("an archive of more than {MAX_MEMBERS} members")));
    }
    Ok(archive)
}

/// Hands `body` the bytes of `source` as a stream, and their length as the file system or the archive tells it.
///
/// # Errors
/// When the file cannot be opened, is no regular file (a pipe would block), or the archive has no such member; or what `body`
/// returns, where it returns an error.
pub fn with_stream<T, E: From<io::Error>>(
    source: &Source,
    body: impl FnOnce(&mut dyn Read, u64) -> Result<T, E>,
) -> Result<T, E> {
    match &source.member {
        None => {
            let (mut file, length) = regular(&source.file)?;
            body(&mut file, length)
        }
        Some(name) => {
            let mut archive = archive(&source.file)?;
            let mut entry = archive.by_name(name).map_err(io::Error::other)?;
            let length = entry.size();
            body(&mut entry, length)
        }
    }
}

fn regular(path: &Path) -> io::Result<(File, u64)> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok((File::open(path)?, metadata.len()))
}
