//! The keys in use: those of the table, but for what the reader has changed.

use std::collections::{BTreeMap, HashSet};

use eframe::egui::{self, Key, Modifiers};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ACTIONS, Action, Shortcut, entry};

/// The keys in use. Only what differs from the table is kept, and stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, Value>", into = "BTreeMap<String, Vec<String>>")]
pub struct Keys {
    changed: BTreeMap<Action, Vec<Shortcut>>,
    /// What of a file was left out: commands that there are not, keys that are none or another command's.
    pub left_out: Vec<String>,
}

impl Keys {
    /// Keys that ask for an action; the first one is shown in tooltips.
    pub fn of(&self, action: Action) -> &[Shortcut] {
        let usual = || entry(action).map_or(&[][..], |entry| entry.keys);
        self.changed.get(&action).map_or_else(usual, Vec::as_slice)
    }

    /// Whether the reader has given an action other keys.
    pub fn is_changed(&self, action: Action) -> bool {
        self.changed.contains_key(&action)
    }

    /// Whether the reader has changed any.
    pub fn any_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The first key of an action, for menus; empty where it has none.
    pub fn text(&self, action: Action) -> String {
        self.of(action).first().map(Shortcut::label).unwrap_or_default()
    }

    /// Label and first key, as tooltips show them: `Invert  (I)`.
    pub fn tooltip(&self, action: Action) -> String {
        self.with_text(&self.label(action), action)
    }

    /// Words and the first key of an action.
    pub fn with_text(&self, words: &str, action: Action) -> String {
        match self.text(action) {
            text if text.is_empty() => words.to_owned(),
            text => format!("{words}  ({text})"),
        }
    }

    /// What an action does, and the key of another one that means it at times: `Delete the selected shape (or Delete)`.
    pub fn label(&self, action: Action) -> String {
        let Some(entry) = entry(action) else { return String::new() };
        let also = action.also().map(|(other, when)| (self.text(other), when));
        match also.filter(|(text, _)| !text.is_empty()) {
            Some((text, when)) => format!("{} (or {text}{when})", entry.label),
            None => entry.label.to_owned(),
        }
    }

    /// The action that a key asks for.
    pub fn holder(&self, shortcut: Shortcut) -> Option<Action> {
        ACTIONS.iter().map(|entry| entry.action).find(|action| self.of(*action).contains(&shortcut))
    }

    /// Gives an action keys, and takes them from all others.
    pub fn give(&mut self, action: Action, keys: Vec<Shortcut>) {
        for other in ACTIONS.iter().map(|entry| entry.action).filter(|other| *other != action) {
            let rest: Vec<Shortcut> = self.of(other).iter().copied().filter(|key| !keys.contains(key)).collect();
            self.put(other, rest);
        }
        self.put(action, keys);
    }

    fn put(&mut self, action: Action, keys: Vec<Shortcut>) {
        if entry(action).is_some_and(|entry| *entry.keys == *keys) {
            self.changed.remove(&action);
        } else {
            self.changed.insert(action, keys);
        }
    }

    /// The actions asked for by keyboard in this frame, in order; their key events are taken out of the input.
    ///
    /// Nothing is taken while a text field has the keyboard, except chords with Ctrl that no text field uses. `was_typing` says whether
    /// one had it at the end of the last frame: Esc then only leaves the field. In front of a dialog (`in_dialog`) the keys that go from
    /// part to part are the dialog's.
    pub fn pressed(&self, ctx: &egui::Context, was_typing: bool, in_dialog: bool) -> Vec<Action> {
        if egui::Popup::is_any_open(ctx) {
            // An open menu has the keyboard: Esc closes it, arrows walk through it.
            return Vec::new();
        }
        let typing = ctx.text_edit_focused();
        let claimed = ctx.data(|data| data.get_temp::<egui::Id>(egui::Id::unique(CLAIM)));
        let focused = ctx.memory(|memory| memory.focused());
        let on_widget = in_dialog || focused.is_some_and(|focused| Some(focused) != claimed);
        ctx.input_mut(|input| {
            let mut actions = Vec::new();
            input.events.retain(|event| {
                let egui::Event::Key { key, pressed: true, modifiers, .. } = event else { return true };
                match Shortcut::of(*key, *modifiers).and_then(|shortcut| self.holder(shortcut)) {
                    Some(Action::Escape) if was_typing => true,
                    Some(_) if on_widget && belongs_to_widget(*key, *modifiers) => true,
                    Some(action) if !typing || allowed_while_typing(action) => {
                        actions.push(action);
                        false
                    }
                    _ => true,
                }
            });
            actions
        })
    }
}

impl From<BTreeMap<String, Value>> for Keys {
    fn from(stored: BTreeMap<String, Value>) -> Self {
        let mut keys = Self::default();
        // Esc leads out of everything, the editor of keys included.
        let mut taken: HashSet<Shortcut> = keys.of(Action::Escape).iter().copied().collect();
        for (name, value) in stored {
            let action = ACTIONS.iter().map(|entry| entry.action).find(|action| action.name() == name);
            let texts = serde_json::from_value::<Vec<String>>(value).ok();
            let wanted: Option<Vec<Shortcut>> =
                texts.and_then(|texts| texts.iter().map(|text| Shortcut::parse(text)).collect());
            match (action, wanted) {
                (Some(action), Some(wanted)) if action != Action::Escape => {
                    let free: Vec<Shortcut> = wanted.iter().copied().filter(|key| taken.insert(*key)).collect();
                    if free.len() < wanted.len() {
                        keys.left_out.push(name);
                    }
                    keys.put(action, free);
                }
                _ => keys.left_out.push(name),
            }
        }
        // What a command has by the table gives way to what another one has by the reader's wish.
        for (action, usual) in ACTIONS.iter().map(|entry| (entry.action, entry.keys)) {
            if action != Action::Escape && !keys.is_changed(action) {
                keys.put(action, usual.iter().copied().filter(|key| taken.insert(*key)).collect());
            }
        }
        keys
    }
}

impl From<Keys> for BTreeMap<String, Vec<String>> {
    fn from(keys: Keys) -> Self {
        let written = |keys: Vec<Shortcut>| keys.iter().map(Shortcut::label).collect();
        keys.changed.into_iter().map(|(action, keys)| (action.name(), written(keys))).collect()
    }
}

const CLAIM: &str = "widget whose arrow keys belong to the key map";

/// Says that the widget `id`, while it has the focus, leaves all keys to the key map: it is a viewport.
pub fn claim_keys(ctx: &egui::Context, id: egui::Id) {
    ctx.data_mut(|data| data.insert_temp(egui::Id::unique(CLAIM), id));
}

/// Takes the keyboard from a viewport that has claimed it, so that the other one can be the one that keys act on.
pub fn release_keys(ctx: &egui::Context) {
    if let Some(id) = ctx.data(|data| data.get_temp::<egui::Id>(egui::Id::unique(CLAIM))) {
        ctx.memory_mut(|memory| memory.surrender_focus(id));
    }
}

/// The next key that is pressed, whatever it asks for; nothing else hears of it.
pub fn next_press(ctx: &egui::Context) -> Option<Shortcut> {
    ctx.input_mut(|input| {
        let mut pressed = None;
        input.events.retain(|event| {
            let seen = match event {
                egui::Event::Key { key, pressed: true, modifiers, .. } => Shortcut::of(*key, *modifiers),
                egui::Event::Copy => Shortcut::of(Key::C, Modifiers::COMMAND),
                egui::Event::Cut => Shortcut::of(Key::X, Modifiers::COMMAND),
                egui::Event::Paste(_) => Shortcut::of(Key::V, Modifiers::COMMAND),
                egui::Event::Text(_) => None,
                _ => return true,
            };
            pressed = pressed.or(seen);
            false
        });
        pressed
    })
}

/// Takes the press of a digit that `wanted` asks for out of the input, unless something is typed.
pub fn digit_pressed(ctx: &egui::Context, wanted: impl Fn(u8) -> bool) -> Option<u8> {
    const DIGITS: [Key; 10] =
        [Key::Num0, Key::Num1, Key::Num2, Key::Num3, Key::Num4, Key::Num5, Key::Num6, Key::Num7, Key::Num8, Key::Num9];
    if ctx.text_edit_focused() || egui::Popup::is_any_open(ctx) {
        return None;
    }
    let digit = |event: &egui::Event| match event {
        egui::Event::Key { key, pressed: true, modifiers, .. } if modifiers.is_none() => {
            (0..).zip(DIGITS).find(|(digit, of)| of == key && wanted(*digit)).map(|(digit, _)| digit)
        }
        _ => None,
    };
    ctx.input_mut(|input| {
        let place = input.events.iter().position(|event| digit(event).is_some())?;
        digit(&input.events.remove(place))
    })
}

/// Keys that a focused button or slider needs for itself.
fn belongs_to_widget(key: Key, modifiers: Modifiers) -> bool {
    let moves = [Key::Tab, Key::ArrowUp, Key::ArrowDown, Key::ArrowLeft, Key::ArrowRight, Key::Space, Key::Enter];
    modifiers.is_none() && moves.contains(&key)
}

fn allowed_while_typing(action: Action) -> bool {
    matches!(action, Action::OpenFolder | Action::OpenFiles | Action::FullScreen | Action::Analyse | Action::FindStudy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shortcut(text: &str) -> Shortcut {
        Shortcut::parse(text).expect("a key")
    }

    #[test]
    fn shift_tells_two_actions_apart() {
        let keys = Keys::default();
        for (text, action) in [
            ("Down", Action::NextImage),
            ("Shift+Down", Action::NextTenImages),
            ("?", Action::ShowKeys),
            ("Ctrl+Z", Action::Undo),
            ("Z", Action::ToolZoom),
        ] {
            assert_eq!(keys.holder(shortcut(text)), Some(action), "{text}");
        }
    }

    #[test]
    fn tooltips_carry_the_key_in_use() {
        let mut keys = Keys::default();
        assert_eq!(keys.tooltip(Action::Invert), "Invert  (I)");
        assert_eq!(keys.tooltip(Action::OpenSample), "Sample study");
        assert_eq!(keys.tooltip(Action::ToggleBrowser), "Study list  ([)");
        keys.give(Action::Invert, vec![shortcut("Alt+N")]);
        assert_eq!(keys.tooltip(Action::Invert), "Invert  (Alt+N)");
        // What a key means at times follows the key.
        assert_eq!(keys.label(Action::AcceptFinding), "Accept the finding (or A while it is selected)");
        keys.give(Action::ToolAngle, vec![shortcut("Alt+A")]);
        assert_eq!(keys.label(Action::AcceptFinding), "Accept the finding (or Alt+A while it is selected)");
        keys.give(Action::ToolAngle, Vec::new());
        assert_eq!(keys.label(Action::AcceptFinding), "Accept the finding");
    }

    #[test]
    fn a_key_is_given_taken_over_and_given_back() {
        let mut keys = Keys::default();
        keys.give(Action::Invert, vec![shortcut("R")]);
        assert_eq!(keys.holder(shortcut("R")), Some(Action::Invert));
        assert_eq!(keys.holder(shortcut("I")), None);
        assert!(keys.of(Action::Rotate).is_empty() && keys.is_changed(Action::Rotate));
        keys.give(Action::Invert, vec![shortcut("I")]);
        keys.give(Action::Rotate, vec![shortcut("R")]);
        assert_eq!(keys, Keys::default(), "what is as in the table is no change");
    }

    #[test]
    fn only_changes_are_stored_and_a_broken_file_is_read_as_far_as_it_goes() {
        let mut keys = Keys::default();
        keys.give(Action::Preset(7), vec![shortcut("Ctrl+Shift+PgDn"), shortcut("+")]);
        let text = serde_json::to_string(&keys).expect("serialises");
        let expected = r#"{"BrushLarger":["="],"Preset(7)":["Ctrl+Shift+PgDn","+"]}"#;
        assert_eq!(text.replace("Cmd", "Ctrl"), expected);
        assert_eq!(serde_json::from_str::<Keys>(&text).expect("reads"), keys);

        let broken = r#"{"Dance": ["D"], "Invert": 5, "Cine": ["Shift+Nothing"], "Escape": ["Q"], "Report": ["Esc"],
            "Home": ["R"], "ToolPan": ["R"], "KeyImage": ["Ctrl+K"]}"#;
        let keys: Keys = serde_json::from_str(broken).expect("reads");
        assert_eq!(keys.left_out, ["Cine", "Dance", "Escape", "Invert", "Report", "ToolPan"]);
        assert_eq!(keys.holder(shortcut("Ctrl+K")), Some(Action::KeyImage));
        assert_eq!(keys.holder(shortcut("R")), Some(Action::Home), "the table's gives way, the second wish too");
        assert_eq!(keys.holder(shortcut("Esc")), Some(Action::Escape));
        assert_eq!(keys.holder(shortcut("I")), Some(Action::Invert));
        for entry in ACTIONS {
            for key in keys.of(entry.action) {
                assert_eq!(keys.holder(*key), Some(entry.action), "{key} asks for one thing");
            }
        }
    }
}
