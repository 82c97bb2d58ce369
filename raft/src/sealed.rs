//! Lines of small text files that say their own checksum, so that a flipped digit is refused instead of believed.
//!
//! A line without one is taken as it is: that is how such files were written before. Damage cannot make a line with a checksum look like
//! one without, because what follows the text then is part of the text, and is no number and no name.

const MARK: &str = " crc=";

/// The text as a line with its checksum.
pub(crate) fn line(text: &str) -> String {
    format!("{text}{MARK}{:08x}\n", crc32fast::hash(text.as_bytes()))
}

/// The text of a line, which has lost its end.
pub(crate) fn open(line: &str) -> Result<&str, String> {
    let Some((text, said)) = line.rsplit_once(MARK) else { return Ok(line) };
    let is = format!("{:08x}", crc32fast::hash(text.as_bytes()));
    if is == said { Ok(text) } else { Err(format!("wrong checksum: {line:?} has {is}")) }
}
