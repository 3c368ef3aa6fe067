//! The order of versions, by the Version Format Specification (UAPI.10, "Version Comparison").
//!
//! ```text
//! 122.1 < 123~rc1-1 < 123 < 123-a < 123-1 < 123-1.1 < 123^post1 < 123.a-1 < 123.1-1 < 123a-1 < 124-1
//! ```

use core::cmp::Ordering;

/// Compares two versions. Numbers in them may have any number of digits.
pub fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let (mut a, mut b) = behind_same(a, b);
    // Each turn consumes at least one byte of one of them.
    loop {
        a = behind(a, |byte| !is_significant(byte));
        b = behind(b, |byte| !is_significant(byte));
        match take_mark(&mut a, &mut b, b'~') {
            Some(Ordering::Equal) => continue,
            Some(order) => return order,
            None => {}
        }
        if a.is_empty() || b.is_empty() {
            return a.len().cmp(&b.len());
        }
        let marks = [b'-', b'^', b'.'];
        let mark = marks
            .into_iter()
            .find_map(|mark| take_mark(&mut a, &mut b, mark));
        match mark {
            Some(Ordering::Equal) => continue,
            Some(order) => return order,
            None => {}
        }
        let is_number = [a, b]
            .iter()
            .any(|rest| rest.first().is_some_and(u8::is_ascii_digit));
        let order = if is_number {
            let [one, other] = [&mut a, &mut b].map(|rest| {
                *rest = behind(rest, |byte| byte == b'0');
                take(rest, |byte| byte.is_ascii_digit())
            });
            one.len().cmp(&other.len()).then_with(|| one.cmp(other))
        } else {
            let [one, other] =
                [&mut a, &mut b].map(|rest| take(rest, |byte| byte.is_ascii_alphabetic()));
            one.cmp(other)
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Both without what they have in common at the start, up to the beginning of a number or of letters:
/// versions that are compared mostly differ at their ends.
fn behind_same<'a>(a: &'a [u8], b: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    let same = a
        .iter()
        .zip(b)
        .take_while(|(one, other)| one == other)
        .count();
    let common = a.get(..same).unwrap_or_default();
    let last = common
        .iter()
        .rposition(|byte| !byte.is_ascii_alphanumeric());
    let start = last.map_or(0, |last| last + 1);
    let behind = |bytes: &'a [u8]| bytes.get(start..).unwrap_or_default();
    (behind(a), behind(b))
}

fn is_significant(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'~' | b'^')
}

/// Takes a mark from both, if both begin with it. If only one begins with it, that one is less.
/// `None`: neither does.
fn take_mark(a: &mut &[u8], b: &mut &[u8], mark: u8) -> Option<Ordering> {
    match (a.split_first(), b.split_first()) {
        (Some((&first, behind_a)), Some((&other, behind_b))) if first == mark && other == mark => {
            (*a, *b) = (behind_a, behind_b);
            Some(Ordering::Equal)
        }
        (Some((&first, _)), _) if first == mark => Some(Ordering::Less),
        (_, Some((&first, _))) if first == mark => Some(Ordering::Greater),
        _ => None,
    }
}

/// Takes the leading bytes of a kind.
fn take<'a>(rest: &mut &'a [u8], is_wanted: fn(u8) -> bool) -> &'a [u8] {
    let length = rest.iter().take_while(|&&byte| is_wanted(byte)).count();
    let (start, behind) = rest.split_at_checked(length).unwrap_or((*rest, &[]));
    *rest = behind;
    start
}

/// The rest behind the leading bytes of a kind.
fn behind(mut rest: &[u8], is_wanted: fn(u8) -> bool) -> &[u8] {
    take(&mut rest, is_wanted);
    rest
}
