//! The Limine protocol: requests are found in the places that the protocol allows, and the
//! responses are right.

use boot_path::kernel::image::KernelImage;
use boot_path::kernel::relocate::LoadedKernel;
use boot_path::ways_out::limine::{self, FEATURES, Feature, LimineError, Requests, scan};
use proptest::prelude::*;

use crate::elf_fixture::{ET_EXEC, Elf, ProgramHeader, R, W, X, words};

mod memory;
mod requests;
mod responses;
mod state;
mod tables;

const BASE: u64 = 0xFFFF_FFFF_8000_0000;
const CODE: u64 = BASE;
const DATA: u64 = BASE + 0x1000;
const COMMON: [u64; 2] = [0xC7B1_DD30_DF4C_8B88, 0x0A82_E883_A194_F07B];
const TAG: [u64; 2] = [0xF956_2B2D_5C95_A6C8, 0x6A7B_3849_4453_6BDC];
const START: [u64; 4] = [
    0xF6B8_F4B3_9DE7_D1AE,
    0xFAB9_1A69_40FC_B9CF,
    0x785C_6ED0_15D3_E316,
    0x181E_920A_7852_B9D9,
];
const END: [u64; 2] = [0xADC0_E053_1BB1_0D03, 0x9572_709F_3176_4C62];
/// Where the direct map begins, as a number.
const HHDM: u64 = limine::HHDM.as_u64();
const PAGE: u64 = 4096;
const GIB4: u64 = 4 << 30;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// The words of a request.
fn request(feature: Feature, revision: u64, arguments: &[u64]) -> Vec<u64> {
    let (_, name) = FEATURES[feature as usize];
    let mut words = vec![COMMON[0], COMMON[1], name[0], name[1], revision, 0];
    words.extend(arguments);
    words
}

fn tag(revision: u64) -> Vec<u64> {
    vec![TAG[0], TAG[1], revision]
}

/// A kernel in memory.
struct Loaded {
    image: KernelImage,
    segments: Vec<Vec<u8>>,
}

impl Loaded {
    fn new(elf: &Elf) -> Self {
        let file = elf.build();
        let count = elf.program_headers.len();
        let image =
            KernelImage::parse(&file, &file[64..64 + 56 * count], file.len() as u64).unwrap();
        let segments = image.segments().iter().map(|s| {
            let mut memory =
                file[s.file_offset.as_u64() as usize..][..s.file_size as usize].to_vec();
            memory.resize(s.memory_size as usize, 0);
            memory
        });
        Self {
            segments: segments.collect(),
            image,
        }
    }

    fn scan(&self) -> Result<Option<Requests>, LimineError> {
        scan(&self.image, self)
    }

    fn requests(&self) -> Requests {
        self.scan().unwrap().expect("a Limine kernel")
    }

    fn word(&self, address: u64) -> u64 {
        let segments = self.image.segments().iter().enumerate();
        let mut segments = segments.map(|(index, s)| (index, s.virtual_start.as_u64()));
        let (index, start) = segments.rfind(|(_, start)| *start <= address).unwrap();
        let offset = (address - start) as usize;
        u64::from_le_bytes(self.segments[index][offset..offset + 8].try_into().unwrap())
    }
}

impl LoadedKernel for Loaded {
    fn bytes(&self, segment: usize) -> &[u8] {
        &self.segments[segment][..self.image.segments()[segment].file_size as usize]
    }
    fn memory(&mut self, segment: usize) -> Option<&mut [u8]> {
        Some(&mut self.segments[segment])
    }
}

/// A kernel whose data begins with these words.
fn elf(data: &[u64]) -> Elf {
    let data = words(data.iter().copied());
    let length = data.len() as u64;
    Elf::new(ET_EXEC, CODE + 16)
        .with(ProgramHeader::load(R | X, CODE, vec![0xF4; 0x100], 0x100))
        .with(ProgramHeader::load(R | W, DATA, data, length + 0x100))
}

fn kernel(data: &[u64]) -> Loaded {
    Loaded::new(&elf(data))
}
