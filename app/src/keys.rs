//! Changing keys: the next key that is pressed becomes a command's, and is taken from another one only where the reader says so.

use crate::app::App;
use crate::keymap::{self, Action, Shortcut};
use crate::state::Tone;

/// The map of keys, where it is open.
#[derive(Debug, Default)]
pub struct KeyEditor {
    /// Only what contains all these words is shown.
    pub search: String,
    /// What is asked.
    pub step: Step,
    /// Why the last key that was pressed cannot be had.
    pub refused: Option<String>,
}

/// What the map of keys waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    #[default]
    Idle,
    /// A key for a command, in this place among its keys.
    Key(Action, usize),
    /// Whether a command gets keys that others have.
    TakeOver(Action, Vec<Shortcut>),
    /// Whether all commands get their first keys again.
    ResetAll,
}

/// What is asked of the map of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyCommand {
    /// Searches it.
    Search(String),
    /// Asks for a key for a command, in this place among its keys.
    Ask(Action, usize),
    /// A key was pressed.
    Pressed(Shortcut),
    /// The command loses the key that is asked for.
    NoKey,
    /// Yes to what is asked.
    Confirm,
    /// No to what is asked.
    Leave,
    /// Gives a command its first keys again.
    Reset(Action),
    /// Asks whether all get them.
    ResetAll,
}

impl KeyEditor {
    /// Whether the next key that is pressed is one to be given.
    pub fn is_asking(&self) -> bool {
        matches!(self.step, Step::Key(..))
    }
}

impl App {
    /// Carries out what is asked of the map of keys.
    pub(crate) fn keys(&mut self, command: KeyCommand) {
        let Some(editor) = &mut self.state.keys else { return };
        let keys = &mut self.state.settings.keys;
        editor.refused = None;
        match (command, editor.step.clone()) {
            (KeyCommand::Search(text), _) => editor.search = text,
            (KeyCommand::Ask(action, place), _) => editor.step = Step::Key(action, place),
            (KeyCommand::Pressed(shortcut), Step::Key(action, place)) => {
                if keys.of(Action::Escape).contains(&shortcut) {
                    editor.step = Step::Idle;
                } else if let Some(what) = shortcut.taken_by() {
                    editor.refused = Some(format!("{shortcut} {what}: press another key."));
                } else {
                    let mut wanted: Vec<Shortcut> = keys.of(action).to_vec();
                    match wanted.get_mut(place) {
                        Some(old) => *old = shortcut,
                        None => wanted.push(shortcut),
                    }
                    self.want_keys(action, wanted);
                }
            }
            (KeyCommand::NoKey, Step::Key(action, place)) => {
                let mut rest = keys.of(action).to_vec();
                if place < rest.len() {
                    rest.remove(place);
                }
                self.want_keys(action, rest);
            }
            (KeyCommand::Reset(action), _) => {
                let usual = keymap::entry(action).map_or(&[][..], |entry| entry.keys);
                self.want_keys(action, usual.to_vec());
            }
            (KeyCommand::ResetAll, _) => self.ask(Step::ResetAll),
            (KeyCommand::Confirm, Step::TakeOver(action, wanted)) => {
                keys.give(action, wanted);
                editor.step = Step::Idle;
            }
            (KeyCommand::Confirm, Step::ResetAll) => {
                *keys = keymap::Keys::default();
                editor.step = Step::Idle;
            }
            (KeyCommand::Leave, _) => editor.step = Step::Idle,
            (KeyCommand::Pressed(_) | KeyCommand::NoKey | KeyCommand::Confirm, _) => {}
        }
    }

    /// Gives a command keys at once where nobody else has them; else asks.
    fn want_keys(&mut self, action: Action, mut wanted: Vec<Shortcut>) {
        let mut seen = std::collections::HashSet::new();
        wanted.retain(|key| seen.insert(*key));
        let keys = &mut self.state.settings.keys;
        if wanted.iter().any(|key| keys.holder(*key).is_some_and(|holder| holder != action)) {
            self.ask(Step::TakeOver(action, wanted));
        } else {
            keys.give(action, wanted);
            self.ask(Step::Idle);
        }
    }

    fn ask(&mut self, step: Step) {
        let Some(editor) = &mut self.state.keys else { return };
        if step != Step::Idle {
            // So that the answers can take the keyboard.
            self.ctx.memory_mut(|memory| {
                if let Some(focused) = memory.focused() {
                    memory.surrender_focus(focused);
                }
            });
        }
        editor.step = step;
    }

    /// Says what of the remembered keys was not understood.
    pub(crate) fn tell_of_keys(&mut self) {
        let left_out = std::mem::take(&mut self.state.settings.keys.left_out);
        if !left_out.is_empty() {
            let text = format!("Some changed keys could not be used and were left out: {}.", left_out.join(", "));
            self.toast(Tone::Warning, text);
        }
    }
}
