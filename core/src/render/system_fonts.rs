//! Glyphs that the built-in fonts lack (Chinese, Japanese, Korean, Arabic, Thai, ...), from the platform's fonts.
//!
//! A font is read when a character is first missing and kept until the program ends; a character that no font has is
//! remembered too. Without such a font the character is shown as a question mark.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, OnceLock};

use super::text::Face;

/// At most this many fonts are kept in memory.
const MOST_FONTS: usize = 6;
/// Larger files are left alone.
const MOST_BYTES: u64 = 40 << 20;

type Cache = HashMap<char, Option<(&'static Face, u32)>>;

static CACHE: LazyLock<Mutex<Cache>> = LazyLock::new(Mutex::default);
static LOADED: LazyLock<Mutex<Vec<&'static Face>>> = LazyLock::new(Mutex::default);

/// The glyph of a character in one of the platform's fonts.
pub(super) fn glyph(character: char) -> Option<(&'static Face, u32)> {
    let mut cache = CACHE.lock().ok()?;
    *cache.entry(character).or_insert_with(|| find(character))
}

fn find(character: char) -> Option<(&'static Face, u32)> {
    // Private and unassigned planes: no search through all fonts for what cannot be there.
    if character > '\u{3FFFF}' || ('\u{E000}'..='\u{F8FF}').contains(&character) {
        return None;
    }
    let mut loaded = LOADED.lock().ok()?;
    if let Some(found) = loaded.iter().find_map(|face| face.glyph(character).map(|id| (*face, id))) {
        return Some(found);
    }
    if loaded.len() >= MOST_FONTS {
        return None;
    }
    for path in font_files() {
        if std::fs::metadata(path).is_ok_and(|m| m.len() > MOST_BYTES) {
            continue;
        }
        let Ok(bytes) = std::fs::read(path) else { continue };
        if !covers(&bytes, character) {
            continue;
        }
        // Kept for the whole run, as glyphs refer to it; at most MOST_FONTS of them.
        let bytes: &'static [u8] = Box::leak(bytes.into_boxed_slice());
        if let Some(face) = Face::new(bytes, 0)
            && let Some(id) = face.glyph(character)
        {
            let face: &'static Face = Box::leak(Box::new(face));
            loaded.push(face);
            return Some((face, id));
        }
    }
    None
}

fn covers(bytes: &[u8], character: char) -> bool {
    use skrifa::prelude::{FontRef, MetadataProvider};
    FontRef::from_index(bytes, 0).is_ok_and(|font| font.charmap().map(character).is_some_and(|id| id.to_u32() != 0))
}

/// Font files of the platform's folders, those known for broad coverage first.
fn font_files() -> &'static [PathBuf] {
    static FILES: OnceLock<Vec<PathBuf>> = OnceLock::new();
    FILES.get_or_init(|| {
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        let windows = std::env::var_os("WINDIR").map(PathBuf::from).unwrap_or_else(|| PathBuf::from("C:\\Windows"));
        let folders = [
            PathBuf::from("/usr/share/fonts"),
            PathBuf::from("/usr/local/share/fonts"),
            home.join(".local/share/fonts"),
            home.join(".fonts"),
            PathBuf::from("/System/Library/Fonts"),
            PathBuf::from("/Library/Fonts"),
            windows.join("Fonts"),
        ];
        let mut files = Vec::new();
        for folder in folders {
            collect(&folder, 0, &mut files);
        }
        files.sort_by_key(|path| (rank(path), path.clone()));
        files
    })
}

/// Plain sans-serif faces before others, so that a name is not set in an ornamental font.
fn rank(path: &Path) -> u8 {
    let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let plain = [
        "notosanscjk-regular",
        "notosans-regular",
        "dejavusans.ttf",
        "hiragino",
        "pingfang",
        "applesd",
        "msgothic",
        "msyh",
        "malgun",
        "segoeui.ttf",
        "arial unicode",
        "wqy",
        "droidsansfallback",
    ];
    if plain.iter().any(|known| name.contains(known)) {
        0
    } else if name.contains("sans") && name.contains("regular") {
        1
    } else if name.contains("regular") {
        2
    } else {
        3
    }
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    if depth > 5 || files.len() > 4000 {
        return;
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(&path, depth + 1, files);
        } else if path
            .extension()
            .is_some_and(|e| ["ttf", "otf", "ttc"].iter().any(|known| e.eq_ignore_ascii_case(known)))
        {
            files.push(path);
        }
    }
}
