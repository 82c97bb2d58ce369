//! The bar code and the QR code of a voucher, as drawings.

use barcoders::sym::code128::Code128;
use qrcode::{Color, EcLevel, QrCode};

/// Blank modules that scanners want around a QR code (ISO/IEC 18004) and at the ends of a Code 128 (ISO/IEC 15417).
const QUIET_QR: usize = 4;
const QUIET_BARS: usize = 10;

/// Both drawings of one number.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Symbols {
    pub bars: Drawing,
    pub qr: Drawing,
}

/// A path of dark modules, one unit each, for an SVG of this size. Nothing in `path` comes from outside.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Drawing {
    pub width: usize,
    pub height: usize,
    pub path: String,
}

impl Symbols {
    /// Fails when one of them cannot hold the number; with what is checked before, none does.
    pub(crate) fn of(number: &str, digits_only: bool) -> Result<Self, String> {
        Ok(Self { bars: bars(number, digits_only)?, qr: qr(number)? })
    }
}

fn bars(number: &str, digits_only: bool) -> Result<Drawing, String> {
    let code = Code128::new(character_sets(number, digits_only)).map_err(|error| error.to_string())?;
    let modules: Vec<bool> = code.encode().into_iter().map(|module| module == 1).collect();
    let height = 1;
    Ok(Drawing { width: modules.len() + 2 * QUIET_BARS, height, path: runs(&modules, QUIET_BARS, 0) })
}

/// Set C (Ć) has two digits in a symbol; set B (Ɓ) everything else, and a last digit without a partner.
fn character_sets(number: &str, digits_only: bool) -> String {
    if !digits_only {
        return format!("\u{181}{number}");
    }
    let (pairs, last) = number.split_at(number.len() & !1);
    if last.is_empty() { format!("\u{106}{pairs}") } else { format!("\u{106}{pairs}\u{181}{last}") }
}

/// Level M: a seventh of it may be scratched or reflect.
fn qr(number: &str) -> Result<Drawing, String> {
    let code = QrCode::with_error_correction_level(number, EcLevel::M).map_err(|error| error.to_string())?;
    let width = code.width();
    let dark: Vec<bool> = code.to_colors().into_iter().map(|color| color == Color::Dark).collect();
    let rows = dark.chunks(width).enumerate();
    let path = rows.map(|(row, modules)| runs(modules, QUIET_QR, row + QUIET_QR)).collect();
    Ok(Drawing { width: width + 2 * QUIET_QR, height: width + 2 * QUIET_QR, path })
}

/// A rectangle per run of dark modules in a row.
fn runs(modules: &[bool], x: usize, y: usize) -> String {
    let mut path = String::new();
    let mut at = 0;
    for run in modules.chunk_by(|left, right| left == right) {
        if run[0] {
            path.push_str(&format!("M{} {y}h{n}v1h-{n}z", x + at, n = run.len()));
        }
        at += run.len();
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Widths of bars and spaces, out of the drawing.
    fn widths(drawing: &Drawing) -> String {
        let mut end = QUIET_BARS;
        let mut widths = String::new();
        for bar in drawing.path.split('M').skip(1) {
            let (x, rest) = bar.split_once(' ').unwrap();
            let x: usize = x.parse().unwrap();
            let width: usize = rest[2..rest.find('v').unwrap()].parse().unwrap();
            if x > end {
                widths.push_str(&(x - end).to_string());
            }
            widths.push_str(&width.to_string());
            end = x + width;
        }
        widths
    }

    /// Patterns of the symbols by value, of ISO/IEC 15417, table 1, put together by hand.
    #[test]
    fn code_128_is_that_of_the_published_table() {
        // Start C 105, 12, 34, checksum (105 + 12 + 2·34) mod 103 = 82, stop.
        let expected = ["211232", "112232", "131123", "121241", "2331112"].concat();
        assert_eq!(widths(&bars("1234", true).unwrap()), expected);
        // Start C 105, 12, Code B 100, "3" 19, checksum (105 + 12 + 2·100 + 3·19) mod 103 = 65, stop.
        let expected = ["211232", "112232", "114131", "221132", "121124", "2331112"].concat();
        assert_eq!(widths(&bars("123", true).unwrap()), expected);
        // Start B 104, "P" 48, "J" 42, checksum (104 + 48 + 2·42) mod 103 = 30, stop.
        let expected = ["211214", "313121", "112133", "212123", "2331112"].concat();
        assert_eq!(widths(&bars("PJ", false).unwrap()), expected);
    }

    #[test]
    fn digits_take_half_the_width() {
        let number = "1234567890123456";
        let (narrow, wide) = (bars(number, true).unwrap().width, bars(number, false).unwrap().width);
        // 11 modules a symbol; start, checksum and a stop of 13 around; quiet zones.
        assert_eq!((narrow, wide), (11 * 10 + 13 + 20, 11 * 18 + 13 + 20));
    }

    #[test]
    fn a_qr_code_has_its_three_corners_and_its_quiet_zone() {
        let drawing = qr("1234567890123456").unwrap();
        assert_eq!((drawing.width, drawing.height), (21 + 8, 21 + 8));
        for corner in ["M4 4h7v1h-7z", "M18 4h7v1h-7z", "M4 24h7v1h-7z"] {
            assert!(drawing.path.contains(corner), "{corner} in {}", drawing.path);
        }
    }
}
