//! A session that can be undone, in memory.

use serde::{Deserialize, Serialize};

use super::{Edit, Session};

/// A session with its undo and redo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    pub(super) session: Session,
    /// Edits that take the last changes back, the latest last.
    pub(super) undo: Vec<Edit>,
    /// Edits that make undone changes again, the latest last.
    pub(super) redo: Vec<Edit>,
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
