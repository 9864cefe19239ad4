//! What a reader adds to an analysis: reviews, comments, key images, impression, as one undoable document.

mod session;

pub use session::{Decision, Edit, Review, Session};
