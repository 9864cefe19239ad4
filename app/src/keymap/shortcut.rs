//! A key with its modifiers: how it is pressed, written and read.

use std::fmt;

use eframe::egui::{Key, Modifiers};

/// A key with its modifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shortcut {
    /// Modifiers that must be held, and no others.
    pub modifiers: Modifiers,
    /// The key.
    pub key: Key,
}

impl Shortcut {
    /// What a press asks for; `None` where it is that of a modifier alone.
    pub fn of(key: Key, held: Modifiers) -> Option<Self> {
        let alone = ["Shift", "Control", "Alt", "Super"].iter().any(|name| key.name().starts_with(name));
        // The Control key of a Mac is no modifier of ours.
        if alone || (held.ctrl && !held.command) {
            return None;
        }
        // Where a sign needs Shift on some layouts and not on others, the sign counts.
        let shift = held.shift
            && !matches!(
                key,
                Key::Questionmark
                    | Key::Exclamationmark
                    | Key::Plus
                    | Key::Colon
                    | Key::Pipe
                    | Key::OpenCurlyBracket
                    | Key::CloseCurlyBracket
            );
        let modifiers = Modifiers { command: held.command, alt: held.alt, shift, ..Modifiers::NONE };
        Some(Self { modifiers, key })
    }

    /// Reads what [`Shortcut::label`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim();
        let mut take = |name: &str| rest.strip_prefix(name).inspect(|tail| rest = tail).is_some();
        let command = take("Ctrl+") || take("Cmd+");
        let (alt, shift) = (take("Alt+"), take("Shift+"));
        let key = match rest {
            "PgUp" => Key::PageUp,
            "PgDn" => Key::PageDown,
            name => Key::from_name(name)?,
        };
        Self::of(key, Modifiers { command, alt, shift, ..Modifiers::NONE })
    }

    /// How people write it: `Ctrl+Z`, `Shift+Up`.
    pub fn label(&self) -> String {
        self.to_string()
    }

    /// Whether a press asks for it.
    pub fn matches(&self, key: Key, held: Modifiers) -> bool {
        Self::of(key, held) == Some(*self)
    }

    /// Who needs the keys for itself, where the key map never sees them.
    pub fn taken_by(&self) -> Option<&'static str> {
        let Modifiers { command: true, alt: false, .. } = self.modifiers else { return None };
        match self.key {
            Key::C | Key::X | Key::V | Key::A if !self.modifiers.shift => Some("copies and pastes text"),
            Key::Plus | Key::Minus | Key::Equals | Key::Num0 => Some("scales the window"),
            _ => None,
        }
    }
}

impl fmt::Display for Shortcut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.modifiers.command {
            f.write_str(if cfg!(target_os = "macos") { "Cmd+" } else { "Ctrl+" })?;
        }
        if self.modifiers.alt {
            f.write_str("Alt+")?;
        }
        if self.modifiers.shift {
            f.write_str("Shift+")?;
        }
        f.write_str(match self.key {
            Key::ArrowUp => "Up",
            Key::ArrowDown => "Down",
            Key::ArrowLeft => "Left",
            Key::ArrowRight => "Right",
            Key::PageUp => "PgUp",
            Key::PageDown => "PgDn",
            Key::Escape => "Esc",
            Key::Minus => "-",
            key => key.symbol_or_name(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for key in Key::ALL {
            for (command, alt, shift) in [(false, false, false), (true, false, true), (false, true, false)] {
                let held = Modifiers { command, alt, shift, ..Modifiers::NONE };
                if let Some(shortcut) = Shortcut::of(*key, held) {
                    assert_eq!(Shortcut::parse(&shortcut.label()), Some(shortcut), "{shortcut}");
                }
            }
        }
        assert_eq!(Shortcut::parse("Shift+Nothing"), None);
        assert_eq!(Shortcut::parse("Ctrl+"), None);
    }

    #[test]
    fn a_sign_counts_however_it_is_typed_and_a_modifier_alone_is_no_key() {
        let question = Shortcut { modifiers: Modifiers::NONE, key: Key::Questionmark };
        assert!(question.matches(Key::Questionmark, Modifiers::SHIFT));
        assert!(question.matches(Key::Questionmark, Modifiers::NONE));
        assert_eq!(Shortcut::of(Key::ShiftLeft, Modifiers::SHIFT), None);
        let pressed = Modifiers { ctrl: true, command: true, ..Modifiers::NONE };
        assert_eq!(Shortcut::of(Key::Z, pressed).map(|s| s.label()), Some("Ctrl+Z".replace("Ctrl", control())));
    }

    fn control() -> &'static str {
        if cfg!(target_os = "macos") { "Cmd" } else { "Ctrl" }
    }
}
