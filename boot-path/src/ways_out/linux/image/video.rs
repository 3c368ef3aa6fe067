//! The video mode that a command line asks for.

/// `vid_mode`: leave the screen as it is.
pub const VIDEO_NORMAL: u16 = 0xFFFF;
/// 80 × 50 characters.
const VIDEO_EXTENDED: u16 = 0xFFFE;
/// Whatever mode is set.
const VIDEO_CURRENT: u16 = 0x0F04;

/// The value for `vid_mode`: that of the last `vga=` of a command line, which is given in parts
/// (boot.rst, "Special Command Line Options"). Nobody may be there to answer `vga=ask`: it is
/// ignored, as is what is no mode.
pub fn video_mode<'a>(parts: impl Iterator<Item = &'a str>) -> u16 {
    let words = parts.flat_map(|part| part.split([' ', '\t']));
    let modes = words.filter_map(|word| mode(word.strip_prefix("vga=")?));
    modes.last().unwrap_or(VIDEO_NORMAL)
}

fn mode(name: &str) -> Option<u16> {
    match name {
        "normal" => Some(VIDEO_NORMAL),
        "ext" | "extended" => Some(VIDEO_EXTENDED),
        "current" => Some(VIDEO_CURRENT),
        number => from_c(number),
    }
}

/// A number as C writes it: decimal, octal behind a 0, hexadecimal behind 0x.
fn from_c(number: &str) -> Option<u16> {
    let after = |prefix| number.strip_prefix(prefix).filter(|rest| !rest.is_empty());
    let (digits, radix) = match (after("0x").or(after("0X")), after("0")) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) => (digits, 8),
        (None, None) => (number, 10),
    };
    // It would take a sign.
    let first = digits.bytes().next()?;
    u16::from_str_radix(digits, radix)
        .ok()
        .filter(|_| first != b'+')
}
