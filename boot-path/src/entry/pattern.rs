//! Patterns that select an entry by its name.

/// The most bytes of a pattern. Names have at most 255 bytes, and each may have to be compared with
/// the whole pattern.
pub const MAX_PATTERN: usize = 512;

/// Does a pattern, as in glob(7), match all of a name that is given in two parts? `*`, `?`, and
/// sets and ranges in brackets are special; `\` makes the next character literal. As in
/// systemd-boot, there are no negated sets and no classes, and the case of ASCII letters is
/// ignored. Names are ASCII.
pub fn matches(pattern: &str, name: &str, suffix: &str) -> bool {
    let (name, suffix) = (name.as_bytes(), suffix.as_bytes());
    let byte_at = |index: usize| {
        let behind = index.wrapping_sub(name.len());
        name.get(index).or(suffix.get(behind)).copied()
    };
    let mut pattern = pattern.as_bytes();
    let mut at = 0;
    // The pattern behind the last star, and how much of the name precedes its match.
    let mut star: Option<(&[u8], usize)> = None;
    loop {
        if let [b'*', behind @ ..] = pattern {
            pattern = behind;
            star = Some((behind, at));
            continue;
        }
        match byte_at(at) {
            None if pattern.is_empty() => return true,
            // The rest of the pattern needs more characters than are left, whatever a star takes.
            None => return false,
            Some(byte) => {
                if let Some(behind) = match_one(pattern, byte) {
                    pattern = behind;
                    at += 1;
                    continue;
                }
            }
        }
        // The last star takes one more. Earlier stars need not: this one can take the same
        // characters.
        let Some((behind, taken)) = &mut star else {
            return false;
        };
        *taken += 1;
        (pattern, at) = (*behind, *taken);
    }
}

/// Matches the first element of a pattern, which is not a star; returns the rest.
fn match_one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    let byte = byte.to_ascii_lowercase();
    let (&first, mut rest) = pattern.split_first()?;
    let is_match = match first {
        b'?' => true,
        b'[' => {
            let mut is_match = false;
            // A bracket in the first place does not end the set.
            let mut low = take_literal(&mut rest)?;
            loop {
                let mut high = low;
                if let [b'-', end, ..] = rest
                    && *end != b']'
                {
                    take_literal(&mut rest)?;
                    high = take_literal(&mut rest)?;
                }
                is_match |= low <= byte && byte <= high;
                if let [b']', behind @ ..] = rest {
                    rest = behind;
                    break is_match;
                }
                low = take_literal(&mut rest)?;
            }
        }
        _ => {
            rest = pattern;
            take_literal(&mut rest)? == byte
        }
    };
    is_match.then_some(rest)
}

/// Takes one character, or the one behind a `\`.
fn take_literal(rest: &mut &[u8]) -> Option<u8> {
    let (mut literal, mut behind) = rest.split_first()?;
    if *literal == b'\\' {
        (literal, behind) = behind.split_first()?;
    }
    *rest = behind;
    Some(literal.to_ascii_lowercase())
}
