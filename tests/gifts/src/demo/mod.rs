//! The story.

mod cast;
mod ending;
mod midnight;
mod story;
mod timeline;

pub use story::Story;
