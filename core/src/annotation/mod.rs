//! What a reader adds to an analysis: reviews, comments, key images, impression, as one undoable document that is saved
//! with every edit.

mod session;
mod store;

pub use session::{Decision, Edit, Review, Session};
pub use store::{Document, Store, StoreError};
