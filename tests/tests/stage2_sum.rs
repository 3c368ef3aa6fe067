//! What stage1's sum over stage2 finds, tried on the real stage2: all exchanges of sectors,
//! whatever else disks and BIOSes do to sectors, and every single wrong bit.

use anyhow::{Context as _, Result, ensure};
use boot_path::files::sum::of_rounds;
use disk_builder::Road;
use disk_layout::stage2::{SUM, SUMMED, covered, stage1_sum};
use disk_layout::{SECTOR_SIZE, Stage2Header};
use machine_tests::image::Image;
use zerocopy::FromBytes as _;
use zerocopy::little_endian::U64;

type Sector = [u32; SECTOR_SIZE / 4];

/// stage2 as doublewords, and the sum of all sectors behind each place: it begins with the last one.
/// Only what lies between two places has to be summed up again, because different sums behind
/// the rest always end differently: [`every_single_bit`] shows that.
struct Summed {
    bytes: Vec<u8>,
    sectors: Vec<Sector>,
    behind: Vec<u32>,
}

/// Sectors that are summed up.
const COUNT: usize = SUMMED / SECTOR_SIZE;

impl Summed {
    fn new(image: &Image) -> Result<Self> {
        let place = image.inspect()?.stage2.context("no stage2")?.place;
        let length = place.sectors as usize * SECTOR_SIZE;
        let bytes = image.read(place.lba * SECTOR_SIZE as u64, length)?;
        let words: Vec<u32> = bytes
            .as_chunks()
            .0
            .iter()
            .map(|bytes| u32::from_le_bytes(*bytes))
            .collect();
        let (sectors, _) = words.as_chunks();
        let mut behind = vec![0; COUNT + 1];
        for number in (0..COUNT).rev() {
            behind[number] = sum(behind[number + 1], &sectors[number]);
        }
        ensure!(behind[0] == SUM && stage1_sum(&bytes) == SUM);
        Ok(Self {
            sectors: sectors.to_vec(),
            behind,
            bytes,
        })
    }

    /// Whether the sum differs if `sectors` replace as many from number `first` on.
    fn notices<'a>(&self, first: usize, sectors: impl IntoIterator<Item = &'a Sector>) -> bool {
        let sectors: Vec<_> = sectors.into_iter().collect();
        let behind = self.behind[first + sectors.len()];
        let found = sectors.into_iter().rev().fold(behind, sum);
        found != self.behind[first]
    }
}

/// The sum as stage1 computes it, written independently.
fn sum(before: u32, sector: &Sector) -> u32 {
    sector
        .iter()
        .rev()
        .fold(before, |sum, word| sum.rotate_left(1).wrapping_add(*word))
}

/// Images whose stage2 differs: in its header, and therefore in every sum behind it.
fn images() -> Result<Vec<Image>> {
    Ok(vec![
        Image::demo()?,
        Image::demo_cd()?,
        Image::for_every_drive(Road::Direct, true)?,
    ])
}

#[test]
fn every_exchange_of_sectors() -> Result<()> {
    for image in images()? {
        let stage2 = Summed::new(&image)?;
        let sectors = &stage2.sectors;
        let mut missed = Vec::new();
        let mut tried = 0;
        for one in 0..COUNT {
            for other in one + 1..COUNT {
                let between = &sectors[one + 1..other];
                let order = [&sectors[other]].into_iter().chain(between);
                tried += 1;
                if sectors[one] != sectors[other]
                    && !stage2.notices(one, order.chain([&sectors[one]]))
                {
                    missed.push((one, other));
                }
            }
        }
        ensure!(tried == 2016 && missed.is_empty(), "{missed:?}");
    }
    Ok(())
}

/// A sector is replaced by another one, from anywhere in stage2, or by zeros. A sector is lost; or
/// one is there twice, with all that follow one place further.
#[test]
fn sectors_that_are_lost_repeated_or_of_somewhere_else() -> Result<()> {
    for image in images()? {
        let stage2 = Summed::new(&image)?;
        let sectors = &stage2.sectors;
        ensure!(sectors.len() > COUNT, "all of stage2 is summed up");
        for number in 0..COUNT {
            for other in sectors.iter().chain([&[0; SECTOR_SIZE / 4]]) {
                ensure!(
                    *other == sectors[number] || stage2.notices(number, [other]),
                    "another sector instead of {number}"
                );
            }
            let lost = &sectors[number + 1..=COUNT];
            ensure!(stage2.notices(number, lost), "{number} is lost");
            let twice = [&sectors[number]]
                .into_iter()
                .chain(&sectors[number..COUNT - 1]);
            // Behind the end of the last sector, there is nothing that it could move.
            ensure!(
                number == COUNT - 1 || stage2.notices(number, twice),
                "{number} is there twice"
            );
        }
        // A BIOS reads less than it reports. The rest is what was in RAM.
        for fill in [0, u32::MAX, 0xA5A5_A5A5] {
            for read in 0..COUNT {
                let rest = vec![[fill; SECTOR_SIZE / 4]; COUNT - read];
                ensure!(stage2.notices(read, &rest), "only {read} sectors");
            }
        }
    }
    Ok(())
}

/// Each of the 262,144 bits. A step of the sum can be undone, so it is enough to look at the sum
/// behind the changed doubleword. A few bits are summed up to the end.
#[test]
fn every_single_bit() -> Result<()> {
    const SAMPLE: usize = 2003;

    let stage2 = Summed::new(&Image::demo()?)?;
    let mut words: Vec<u32> = stage2.sectors[..COUNT].concat();
    words.reverse();
    // The sum after each doubleword, from the first that is summed up on, and from the last one.
    let mut behind = Vec::new();
    let mut found = 0_u32;
    for word in &words {
        found = found.rotate_left(1).wrapping_add(*word);
        behind.push(found);
    }
    let mut needed = SUM;
    for (number, word) in words.iter().enumerate().rev() {
        ensure!(
            needed == behind[number],
            "the step at {number} cannot be undone"
        );
        needed = needed.wrapping_sub(*word).rotate_right(1);
    }
    ensure!(needed == 0);
    let mut bytes = stage2.bytes.clone();
    let mut tried = 0;
    for (number, word) in words.iter().enumerate() {
        for bit in 0..u32::BITS {
            let before = number.checked_sub(1).map_or(0, |before| behind[before]);
            let wrong = before.rotate_left(1).wrapping_add(word ^ 1 << bit);
            ensure!(wrong != behind[number], "bit {bit} of doubleword {number}");
            tried += 1;
            if tried % SAMPLE == 0 {
                let place = SUMMED - 4 * (number + 1) + bit as usize / 8;
                bytes[place] ^= 1 << (bit % 8);
                ensure!(
                    stage1_sum(&bytes) != SUM,
                    "bit {bit} of doubleword {number}"
                );
                bytes[place] ^= 1 << (bit % 8);
            }
        }
    }
    ensure!(tried == SUMMED * 8);
    Ok(())
}

/// stage2's own check covers what lies behind, and is itself in what stage1 sums up.
#[test]
fn sectors_behind_those_that_are_summed_up() -> Result<()> {
    let image = Image::demo()?;
    let stage2 = Summed::new(&image)?;
    let header = Stage2Header::read_from_prefix(&stage2.bytes);
    let (header, _) = header.ok().context("it has a header")?;
    let is_good = |bytes: &[u8]| {
        covered(bytes).is_some_and(|covered| of_rounds(covered) == header.check.map(U64::get))
    };
    ensure!(is_good(&stage2.bytes));
    let last = stage2.sectors.len() - 1;
    for number in COUNT..last {
        // A neighbour, and a sector that is far away.
        for other in [number + 1, COUNT + (number * 7) % (last - COUNT)] {
            if stage2.sectors[number] == stage2.sectors[other] {
                continue;
            }
            let mut bytes = stage2.bytes.clone();
            let (sectors, _) = bytes.as_chunks_mut::<SECTOR_SIZE>();
            sectors.swap(number, other);
            ensure!(!is_good(&bytes), "{number} and {other}");
        }
    }
    Ok(())
}
