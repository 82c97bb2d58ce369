//! Ids a client makes.

/// A fresh UUIDv7: the id of a trigger whose caller gave none, and of every mutating request. Its time is its age, by
/// which a server knows a repeat that comes too late.
pub fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}
