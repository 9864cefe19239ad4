//! What a reader adds to an analysis: reviews, comments, key images, impression, shapes, painted regions and calibrations, as one
//! undoable document that is saved with every edit.

mod document;
mod history;
mod measured;
mod outline;
mod session;
mod shape;
mod store;
mod taxonomy;

pub use document::Document;
pub use history::{Act, Change, Event, What, now};
pub use measured::{Measure, Measured, Values, readable_value};
pub use outline::Outline;
pub use session::{Decision, Edit, MaskKey, Review, Session};
pub use shape::{Certainty, Origin, Points, Shape, ShapeId, ShapeKind, drawn, with_point_moved};
pub use store::{SeriesEvent, Store, StoreError, read_history, read_session, read_sessions};
pub use taxonomy::{Label, Taxonomy, TaxonomyError};
