//! Finds requests among the bytes of a kernel.

use core::ops::Range;

use crate::kernel::image::KernelImage;
use crate::kernel::relocate::SegmentBytes;
use crate::memory::address::VirtAddr;
use crate::ways_out::limine::requests::ARGUMENTS;
use crate::ways_out::limine::{FEATURES, LimineError, Requests};

/// The first two words of every request.
const COMMON: [u64; 2] = [0xC7B1_DD30_DF4C_8B88, 0x0A82_E883_A194_F07B];
/// The first two words of the base revision tag; the third word is the revision.
const TAG: [u64; 2] = [0xF956_2B2D_5C95_A6C8, 0x6A7B_3849_4453_6BDC];
const START_MARKER: [u64; 4] = [
    0xF6B8_F4B3_9DE7_D1AE,
    0xFAB9_1A69_40FC_B9CF,
    0x785C_6ED0_15D3_E316,
    0x181E_920A_7852_B9D9,
];
const END_MARKER: [u64; 2] = [0xADC0_E053_1BB1_0D03, 0x9572_709F_3176_4C62];

/// Do bytes that are loaded to `address` contain a request, a base revision tag or a marker? Looks
/// at the first two words of each.
pub fn recognises(bytes: &[u8], address: VirtAddr) -> bool {
    let mut rest = words(bytes, address);
    while let Some([first, behind @ ..]) = rest.get(before_candidate(rest)..) {
        let second = behind.first().map_or(0, |&word| u64::from_le_bytes(word));
        let pair = [u64::from_le_bytes(*first), second];
        if BEGINNINGS.contains(&pair) {
            return true;
        }
        rest = behind;
    }
    false
}

/// The 8-byte aligned words among the bytes at an address.
fn words(bytes: &[u8], address: VirtAddr) -> &[[u8; 8]] {
    let skip = address.as_u64().wrapping_neg() % 8;
    bytes.get(skip as usize..).unwrap_or_default().as_chunks().0
}

/// The two words at the beginning of all that is looked for.
const BEGINNINGS: [[u64; 2]; 4] = [COMMON, TAG, END_MARKER, [START_MARKER[0], START_MARKER[1]]];

/// A bit for each value that six bits of these words have, from bit `from` on.
const fn values(from: u32) -> u64 {
    let (mut values, mut word) = (0, 0);
    while word < 2 * BEGINNINGS.len() {
        values |= 1 << (BEGINNINGS[word / 2][word % 2] >> from & 63);
        word += 1;
    }
    values
}

/// Six bits that need no shift, and six that have the fewest values.
const LOW: u64 = values(0);
const OTHERS: u64 = values(30);
/// Neither zeros nor ones, which files have the most of, are looked at twice.
const _: () = assert!(LOW & (1 | 1 << 63) == 0);

/// Which of the two words at a beginning is this?
#[inline(never)]
fn word_of_beginning(word: u64) -> Option<usize> {
    const FIRST: [u64; 4] = [COMMON[0], TAG[0], END_MARKER[0], START_MARKER[0]];
    const SECOND: [u64; 4] = [COMMON[1], TAG[1], END_MARKER[1], START_MARKER[1]];
    let is_one_of = |[a, b, c, d]: [u64; 4]| word == a || word == b || word == c || word == d;
    if is_one_of(FIRST) {
        return Some(0);
    }
    is_one_of(SECOND).then_some(1)
}

/// The number of words in front of the first one that begins a request, tag or marker by its first
/// word, and by its second one if that is there; all, if there is none.
///
/// Kernels have megabytes of words. Every other one is looked at, because it is the first or the
/// second of such a pair: three instructions for 16 bytes, and a second look at one in nine.
#[inline(always)] // two parts of the loader have it, and neither needs the other
fn before_candidate(words: &[[u8; 8]]) -> usize {
    let (rounds, rest) = words.as_chunks::<16>();
    for (number, round) in rounds.iter().enumerate() {
        macro_rules! look {
            ($($index:literal)*) => {
                $(
                    if let Some(index) = candidate(round[$index], 16 * number + $index) {
                        return index;
                    }
                )*
            };
        }
        look! { 0 2 4 6 8 10 12 14 }
    }
    let before = words.len() - rest.len();
    for (index, &word) in rest.iter().enumerate() {
        // Also the others: the second word of the last one may be behind these words.
        if let Some(index) = candidate(word, before + index) {
            return index;
        }
    }
    let last = words.len().wrapping_sub(1);
    match words
        .last()
        .map(|&word| word_of_beginning(u64::from_le_bytes(word)))
    {
        Some(Some(0)) => last,
        _ => words.len(),
    }
}

/// The index of the first word of a pair, if the word at an index is one of its two words.
#[inline(always)]
fn candidate(word: [u8; 8], index: usize) -> Option<usize> {
    let word = u64::from_le_bytes(word);
    let has = |values: u64, bits: u64| values >> (bits & 63) & 1 != 0;
    if has(LOW, word) && has(OTHERS, word >> 30) {
        index.checked_sub(word_of_beginning(word)?)
    } else {
        None
    }
}

/// Finds the requests of a kernel; `None`: the kernel has no request, tag or marker.
///
/// If there are markers, only requests between the last start marker and the first end marker
/// count.
///
/// # Errors
/// 10X.
pub fn scan(
    image: &KernelImage,
    memory: impl SegmentBytes,
) -> Result<Option<Requests>, LimineError> {
    let mut found = Requests::default();
    let recognised = scan_into(&mut found, image, memory, &(0..u64::MAX))?;
    Ok(recognised.then_some(found))
}

/// As [`scan`], but fills `found`, which has no requests yet, and looks only at what begins between
/// two offsets in the file. Returns whether the kernel has a request, a tag or a marker there.
///
/// # Errors
/// 10X.
pub fn scan_into(
    found: &mut Requests,
    image: &KernelImage,
    memory: impl SegmentBytes,
    within: &Range<u64>,
) -> Result<bool, LimineError> {
    let mut scan = Scan {
        found,
        recognised: false,
        error: None,
        end_marker: None,
    };
    search(image, memory, within, |_, address, words| {
        scan.look_at(address, words)
    });
    match scan.error {
        Some(error) => Err(error),
        None => Ok(scan.recognised),
    }
}

/// Between which offsets in the file all requests, tags and markers begin; 0 and 0: there are none.
pub fn place(image: &KernelImage, memory: impl SegmentBytes) -> Range<u64> {
    let (mut first, mut end) = (u64::MAX, 0);
    search(image, memory, &(0..u64::MAX), |offset, _, words| {
        let mut pair = words.iter().map(|&word| u64::from_le_bytes(word));
        let pair = [pair.next().unwrap_or(0), pair.next().unwrap_or(0)];
        if BEGINNINGS.contains(&pair) {
            (first, end) = (first.min(offset), end.max(offset + 1));
        }
        true
    });
    first.min(end)..end
}

/// Calls `look` wherever a request, tag or marker may begin between two offsets in the file: with
/// the offset, the address, and the words from there on. It returns false to end the search.
fn search(
    image: &KernelImage,
    mut memory: impl SegmentBytes,
    within: &Range<u64>,
    mut look: impl FnMut(u64, VirtAddr, &[[u8; 8]]) -> bool,
) {
    for (index, segment) in image.segments().iter().enumerate() {
        let start = segment.file_offset.as_u64();
        let skipped = within.start.saturating_sub(start);
        let mut next = segment.virtual_start.saturating_add(skipped).align_up(8);
        loop {
            let offset = next - segment.virtual_start;
            let left = within.end.saturating_sub(start + offset);
            if left == 0 || offset >= segment.file_size {
                break;
            }
            let words = memory.window(index, offset).as_chunks().0;
            if words.is_empty() {
                break;
            }
            let beginnings = words.get(..left.div_ceil(8) as usize).unwrap_or(words);
            let skipped = before_candidate(beginnings);
            if skipped > 0 {
                // The window from the candidate on contains all words to look at.
                next += 8 * skipped as u64;
            } else if look(start + offset, next, words) {
                next += 8;
            } else {
                return;
            }
        }
    }
}

/// The result of the search so far.
struct Scan<'r> {
    found: &'r mut Requests,
    /// Was there a request, a tag or a marker?
    recognised: bool,
    /// The first error.
    error: Option<LimineError>,
    /// Address of the first end marker.
    end_marker: Option<VirtAddr>,
}

impl Scan<'_> {
    /// Looks at the words from an address on, where a request, tag or marker may begin. Returns
    /// false to end the search.
    fn look_at(&mut self, address: VirtAddr, words: &[[u8; 8]]) -> bool {
        let word = |index: usize| words.get(index).map(|&word| u64::from_le_bytes(word));
        let [first, second] = [word(0).unwrap_or(0), word(1).unwrap_or(0)];
        if [first, second, word(2).unwrap_or(0), word(3).unwrap_or(0)] == START_MARKER {
            self.recognised = true;
            if let Some(end) = self.end_marker {
                let start = address;
                self.error = Some(LimineError::Markers { start, end });
                return false;
            }
            (*self.found, self.error) = (Requests::default(), None);
            return true;
        }
        if [first, second] == END_MARKER {
            self.recognised = true;
            self.end_marker.get_or_insert(address);
            return true;
        }
        let found = &mut *self.found;
        let place = match [first, second] {
            TAG => Some(&mut found.tag),
            COMMON => {
                let name = [word(2), word(3)];
                let mut features = FEATURES.iter();
                let feature = features.position(|(_, words)| name == words.map(Some));
                // Unknown requests are of later versions of the protocol, and stay without a
                // response.
                feature.and_then(|feature| found.addresses.get_mut(feature))
            }
            _ => return true,
        };
        self.recognised = true;
        let (Some(place), None) = (place, self.end_marker) else {
            return true;
        };
        let length = if first == TAG[0] { 3 } else { ARGUMENTS / 8 };
        if *place != VirtAddr::default() {
            let first = *place;
            self.error = self.error.or(Some(LimineError::Duplicate {
                first,
                second: address,
            }));
        } else if (words.len() as u64) < length {
            self.error = self.error.or(Some(LimineError::Cut { address }));
        }
        *place = address;
        if first == TAG[0] {
            found.revision = word(2).unwrap_or(0);
        }
        true
    }
}
