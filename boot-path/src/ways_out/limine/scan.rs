//! Finds requests among the bytes of a kernel.

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
/// at the first two words of each, so pieces of a segment have to overlap by [`OVERLAP`] bytes.
pub fn recognises(bytes: &[u8], address: VirtAddr) -> bool {
    let mut rest = words(bytes, address);
    while let Some([first, behind @ ..]) = rest.get(before_candidate(rest)..) {
        let second = behind.first().map_or(0, |&word| u64::from_le_bytes(word));
        let pair = [u64::from_le_bytes(*first), second];
        if [COMMON, TAG, END_MARKER, [START_MARKER[0], START_MARKER[1]]].contains(&pair) {
            return true;
        }
        rest = behind;
    }
    false
}

/// Two aligned words that begin in front of the last [`OVERLAP`] bytes of a piece lie within it.
pub const OVERLAP: u64 = 15;

/// The 8-byte aligned words among the bytes at an address.
fn words(bytes: &[u8], address: VirtAddr) -> &[[u8; 8]] {
    let skip = address.as_u64().wrapping_neg() % 8;
    bytes.get(skip as usize..).unwrap_or_default().as_chunks().0
}

/// The bits that are equal in the first words of requests, tag and markers, and their values.
const COMMON_BITS: u64 =
    !((COMMON[0] ^ TAG[0]) | (COMMON[0] ^ START_MARKER[0]) | (COMMON[0] ^ END_MARKER[0]));
const COMMON_VALUES: u64 = COMMON[0] & COMMON_BITS;

/// The number of words in front of the first one that may begin a request, tag or marker; all, if
/// there is none. Kernels have megabytes of words, so the loop makes one comparison for each, and
/// has the registers to itself.
#[inline(never)]
fn before_candidate(words: &[[u8; 8]]) -> usize {
    let candidate = |word: &[u8; 8]| u64::from_le_bytes(*word) & COMMON_BITS == COMMON_VALUES;
    words.iter().position(candidate).unwrap_or(words.len())
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
    let recognised = scan_into(&mut found, image, memory)?;
    Ok(recognised.then_some(found))
}

/// As [`scan`], but fills `found`, which has no requests yet. Returns whether the kernel has a
/// request, a tag or a marker.
///
/// # Errors
/// 10X.
pub fn scan_into(
    found: &mut Requests,
    image: &KernelImage,
    mut memory: impl SegmentBytes,
) -> Result<bool, LimineError> {
    let mut scan = Scan {
        found,
        recognised: false,
        error: None,
        end_marker: None,
    };
    'all: for (index, segment) in image.segments().iter().enumerate() {
        let mut next = segment.virtual_start.align_up(8);
        loop {
            let words = memory.window(index, next - segment.virtual_start);
            let words = words.as_chunks().0;
            if words.is_empty() {
                break;
            }
            let skipped = before_candidate(words);
            if skipped > 0 {
                // The window from the candidate on contains all words to look at.
                next += 8 * skipped as u64;
                continue;
            }
            if !scan.look_at(next, words) {
                break 'all;
            }
            next += 8;
        }
    }
    match scan.error {
        Some(error) => Err(error),
        None => Ok(scan.recognised),
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
