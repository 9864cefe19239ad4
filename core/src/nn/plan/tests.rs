//! Steps against the layers that they stand for.
