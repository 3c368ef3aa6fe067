//! Bad kernels: each has its error.

use boot_path::kernel::image::{KernelError, MAX_PROGRAM_HEADERS};
use boot_path::memory::address::VirtAddr;

use crate::elf_fixture::{ET_EXEC, Elf, PT_GNU_RELRO, PT_LOAD, ProgramHeader, R, W, X};

use super::{HIGH, MIB, accept, executable, pages, refuse, refuse_bytes, wish};

#[test]
fn not_an_elf() {
    for bytes in [&b""[..], b"\x7FEL", b"MZ", &[0; 4096]] {
        refuse_bytes(bytes, "10A", KernelError::NotElf);
    }
}

#[test]
fn file_header() {
    let change = |change: fn(&mut Elf)| {
        let mut elf = executable();
        change(&mut elf);
        elf
    };
    let elf = change(|elf| elf.class = 1);
    refuse(
        &elf,
        "10B",
        KernelError::Class {
            class: 1,
            encoding: 1,
        },
    );
    let elf = change(|elf| elf.encoding = 2);
    refuse(
        &elf,
        "10B",
        KernelError::Class {
            class: 2,
            encoding: 2,
        },
    );
    let elf = change(|elf| elf.machine = 183);
    refuse(&elf, "10C", KernelError::Machine { machine: 183 });
    for kind in [0, 1, 4] {
        refuse(
            &Elf {
                kind,
                ..executable()
            },
            "10D",
            KernelError::Type { kind },
        );
    }
    let elf = change(|elf| elf.version = 2);
    refuse(&elf, "10F", KernelError::Version { version: 2 });
    for size in [0, 32, 55, 57, 64] {
        let elf = Elf {
            program_header_size: size,
            ..executable()
        };
        refuse(&elf, "10F", KernelError::HeaderSize { size });
    }
    for count in [MAX_PROGRAM_HEADERS as u16 + 1, u16::MAX] {
        let elf = Elf {
            program_header_count: Some(count),
            ..executable()
        };
        refuse(&elf, "10F", KernelError::TooManyHeaders { count });
    }
    let elf = change(|elf| elf.program_header_count = Some(0));
    refuse(&elf, "10G", KernelError::NoLoad);
}

#[test]
fn truncated() {
    let file = executable().build();
    // The last segment's bytes, the table, the file header.
    for length in [file.len() - 1, 231, 64, 63, 4] {
        let needed = match length {
            0..64 => 64,
            64..232 => 232,
            _ => file.len() as u64,
        };
        let error = KernelError::Truncated {
            needed,
            present: length as u64,
        };
        refuse_bytes(&file[..length], "10E", error);
    }
    let present = file.len() as u64;
    let mut elf = executable();
    elf.program_headers[0].offset = Some(!0xFFF);
    refuse(
        &elf,
        "10E",
        KernelError::Truncated {
            needed: u64::MAX,
            present,
        },
    );
    // Without bytes in the file, the offset does not matter.
    elf.program_headers[1].offset = Some(!0xFFF);
    elf.program_headers[1].file_size = Some(0);
    elf.program_headers[0].offset = None;
    accept(&elf);
    let mut elf = executable().with(ProgramHeader::note(vec![1; 8]));
    let present = elf.build().len() as u64;
    elf.program_headers[3].offset = Some(present - 7);
    refuse(
        &elf,
        "10E",
        KernelError::Truncated {
            needed: present + 1,
            present,
        },
    );
}

#[test]
fn segments_without_bytes_or_with_too_many() {
    refuse(&Elf::new(ET_EXEC, HIGH), "10G", KernelError::NoLoad);
    let empty = Elf::new(ET_EXEC, HIGH).with(ProgramHeader::load(R | X, HIGH, vec![], 0));
    refuse(&empty, "10G", KernelError::NoLoad);

    let mut elf = executable();
    elf.program_headers[1].memory_size = 0x233;
    refuse(
        &elf,
        "10F",
        KernelError::Sizes {
            segment: 1,
            file_size: 0x234,
            memory_size: 0x233,
        },
    );
    elf.program_headers[1].memory_size = 0;
    refuse(
        &elf,
        "10F",
        KernelError::Sizes {
            segment: 1,
            file_size: 0x234,
            memory_size: 0,
        },
    );
}

#[test]
fn segments_that_overlap() {
    let mut elf = executable();
    elf.program_headers[0].memory_size = 0x2001;
    let error = KernelError::Overlap {
        first: 0,
        second: 1,
        address: HIGH + 0x2000,
    };
    refuse(&elf, "10H", error);
    let same = executable().with(ProgramHeader::load(R, HIGH + 0x2000, vec![], 1));
    refuse(
        &same,
        "10H",
        KernelError::Overlap {
            first: 1,
            second: 3,
            address: HIGH + 0x2000,
        },
    );
}

#[test]
fn segments_out_of_the_address_space() {
    let mut elf = executable();
    elf.program_headers[2].memory_size = 1 << 31;
    let (address, size) = (VirtAddr::new(HIGH + 0x3000), 1 << 31);
    refuse(
        &elf,
        "10I",
        KernelError::Wraps {
            segment: 2,
            address,
            size,
        },
    );
    // The last page stays free.
    let at = |address, size| {
        executable().with(ProgramHeader {
            kind: PT_LOAD,
            ..ProgramHeader::load(R, address, vec![], size)
        })
    };
    accept(&at(!0x1FFF, 0x1000));
    for (address, size) in [
        (!0x1FFF, 0x1001),
        (!0xFFF, 1),
        (u64::MAX, 1),
        ((1 << 47) - 0x1000, 0x1001),
        (1 << 47, 0x1000),
        (0x8000_0000_0000_0000, 1),
        (0xFFFF_7FFF_FFFF_F000, 0x2000),
        (0x1000, u64::MAX - 0xFFF),
    ] {
        refuse(
            &at(address, size),
            "10I",
            KernelError::Wraps {
                segment: 3,
                address: VirtAddr::new(address),
                size,
            },
        );
    }
    for address in [0, 1, 0xFFF] {
        refuse(
            &at(address, 1),
            "10L",
            KernelError::PageZero {
                segment: 3,
                address: VirtAddr::new(address),
            },
        );
    }
    accept(&at(0x1000, 1));
}

#[test]
fn relro_out_of_the_address_space() {
    let relro = |start, size| ProgramHeader::within_load(PT_GNU_RELRO, start, size);
    let (address, size) = (HIGH, u64::MAX);
    let elf = executable().with(relro(address, size));
    refuse(
        &elf,
        "10I",
        KernelError::Wraps {
            segment: 3,
            address: VirtAddr::new(address),
            size,
        },
    );
}

#[test]
fn entry_point() {
    for entry in [
        0,
        HIGH - 1,
        HIGH + 0x1800,
        HIGH + 0x2000,
        HIGH + 0x3000,
        u64::MAX,
    ] {
        refuse(
            &Elf {
                entry,
                ..executable()
            },
            "10J",
            KernelError::Entry { entry },
        );
    }
    accept(&Elf {
        entry: HIGH + 0x17FF,
        ..executable()
    });
}

#[test]
fn writable_code() {
    let allowed = |elf: &Elf| accept(&elf.clone().with(wish(3, 1)));
    let mut elf = executable();
    elf.program_headers[0].flags = R | W | X;
    refuse(
        &elf,
        "10K",
        KernelError::WritableCode {
            address: VirtAddr::new(HIGH),
            size: 0x2000,
        },
    );
    let (image, wishes) = allowed(&elf);
    assert!(wishes.allow_writable_code());
    assert_eq!(pages(&image, 0)[0], (HIGH, 0x2000, "rwx"));
    // Only the page that the two segments share.
    let mut elf = executable();
    elf.program_headers[2].virtual_address = HIGH + 0x1900;
    elf.program_headers.remove(1);
    refuse(
        &elf,
        "10K",
        KernelError::WritableCode {
            address: VirtAddr::new(HIGH + 0x1000),
            size: 0x1000,
        },
    );
    let expected = [
        (HIGH, 0x1000, "r-x"),
        (HIGH + 0x1000, 0x1000, "rwx"),
        (HIGH + 0x2000, 0x3000, "rw-"),
    ];
    assert_eq!(pages(&allowed(&elf).0, 0), expected);
}

#[test]
fn alignment() {
    for alignment in [3, 0x1800, 2048 * MIB, u64::MAX, 1 << 63] {
        let mut elf = executable();
        elf.program_headers[1].alignment = alignment;
        elf.program_headers[1].offset = Some(0x2000);
        let (virtual_address, offset) = (VirtAddr::new(HIGH + 0x2000), 0x2000);
        let error = KernelError::Alignment {
            segment: 1,
            alignment,
            virtual_address,
            offset,
        };
        refuse(&elf, "10P", error);
    }
    let mut elf = executable();
    elf.program_headers[1].offset = Some(0x1010);
    let (virtual_address, offset) = (VirtAddr::new(HIGH + 0x2000), 0x1010);
    let error = KernelError::Alignment {
        segment: 1,
        alignment: 4096,
        virtual_address,
        offset,
    };
    refuse(&elf, "10P", error);
    elf.program_headers[1].alignment = 16;
    accept(&elf);
}
