//! `build` and `inspect` decide as the loader does: what it would refuse is refused with its code and
//! sentence, and what it boots is built.

#[path = "../../tests/src/elf_fixture.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod elf_fixture;
mod support;

use std::fs;
use std::process::{Command, Output};

use elf_fixture::{ET_DYN, ET_EXEC, Elf, PT_DYNAMIC, ProgramHeader, R, W, X, note, rela, words};
use support::{KERNEL_VMA, Workshop, noise, refusal_of_program};

const COMMON: [u64; 2] = [0xC7B1_DD30_DF4C_8B88, 0x0A82_E883_A194_F07B];
const TAG: [u64; 2] = [0xF956_2B2D_5C95_A6C8, 0x6A7B_3849_4453_6BDC];
const STACK_SIZE: [u64; 2] = [0x224E_F046_0A8E_8926, 0xE1CB_0FC2_5F46_EA3D];
const PAGING_MODE: [u64; 2] = [0x95C1_A0ED_AB09_44CB, 0xA4E5_CB38_42F7_488A];
const ENTRY_POINT: [u64; 2] = [0x13D8_6C03_5A1C_D3E1, 0x2B0C_AA89_D8F3_026A];
const MODULES: [u64; 2] = [0x3E7E_2797_02BE_32AF, 0xCA1C_4F3B_D128_0CEE];

const NOT_HERE: &str = "10Z: the kernel asks for what a Limine kernel cannot get here: ";
const TOO_LITTLE: &str = "6B: there is too little memory: ";
const NOT_FREE: &str = "10U: the memory that the kernel wants is not free: ";
const GZIP: &str = "8C: a compressed file cannot be unpacked: ";

fn run(workshop: &Workshop, arguments: &[String]) -> (Option<i32>, Output) {
    let output = Command::new(env!("CARGO_BIN_EXE_disk-builder"))
        .current_dir(workshop.path("."))
        .args(arguments)
        .output()
        .unwrap();
    (output.status.code(), output)
}

const INSPECT: [&str; 2] = ["inspect", "disk.img"];

const BUILD: [&str; 7] = [
    "build",
    "--stages=.",
    "--kernel=kernel.elf",
    "--output=disk.img",
    "--cmdline=words",
    "--size=40",
    "--no-checksums",
];

/// A kernel, and what goes with it.
struct Case {
    name: &'static str,
    kernel: Vec<u8>,
    /// The protocol that the entry names, if any.
    protocol: Option<&'static str>,
    /// A module named `module`.
    module: Option<Vec<u8>>,
    /// What the loader says, or how that begins: up to facts of the machine.
    says: String,
}

impl Case {
    fn new(name: &'static str, kernel: Vec<u8>, says: impl Into<String>) -> Self {
        Self {
            name,
            kernel,
            protocol: None,
            module: None,
            says: says.into(),
        }
    }

    fn by(self, protocol: &'static str) -> Self {
        let protocol = Some(protocol);
        Self { protocol, ..self }
    }

    fn with_module(self, module: Vec<u8>) -> Self {
        let module = Some(module);
        Self { module, ..self }
    }

    /// The arguments that build an image of it.
    fn prepare(&self, workshop: &Workshop) -> Vec<String> {
        workshop.file("kernel.elf", &self.kernel);
        let mut arguments: Vec<String> = BUILD.map(String::from).into();
        if let Some(protocol) = self.protocol {
            arguments.push(format!("--protocol={protocol}"));
        }
        if let Some(module) = &self.module {
            workshop.file("module", module);
            arguments.push("--module=module".into());
        }
        arguments
    }
}

/// Each is refused with this code and this sentence, by `build` and in an image that was built all
/// the same.
fn refused(cases: Vec<Case>) {
    let workshop = Workshop::new();
    let mut failures = Vec::new();
    for case in cases {
        let mut arguments = case.prepare(&workshop);
        let error = format!("error {}", case.says);
        let is_it = |line: &str| line.starts_with(&error);
        let (status, output) = run(&workshop, &arguments);
        let said = match status {
            Some(1) => refusal_of_program(output, &[case.name]),
            status => format!("status {status:?}"),
        };
        if !said
            .find("error ")
            .is_some_and(|place| is_it(&said[place..]))
        {
            failures.push(format!("{}: build: {said}", case.name));
        }
        arguments.push("--unchecked".into());
        let (status, _) = run(&workshop, &arguments);
        assert_eq!(status, Some(0), "{}", case.name);
        let (status, output) = run(&workshop, &INSPECT.map(String::from));
        let said = String::from_utf8(output.stdout).unwrap();
        if status != Some(1) || !said.lines().any(is_it) {
            let last = said.lines().last().unwrap_or_default();
            failures.push(format!("{}: inspect: {last}", case.name));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// Each is built, and `inspect` has nothing to say against it.
fn built(cases: Vec<Case>) {
    let workshop = Workshop::new();
    for case in cases {
        let arguments = case.prepare(&workshop);
        let (status, output) = run(&workshop, &arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(status, Some(0), "{}: {said}", case.name);
        is_good(&workshop, case.name);
    }
}

fn is_good(workshop: &Workshop, name: &str) {
    let (status, output) = run(workshop, &INSPECT.map(String::from));
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(status, Some(0), "{name}: {said}");
}

/// Where the requests of a kernel are.
const REQUESTS: u64 = KERNEL_VMA + 0x1_0000;

/// A request by its name.
fn request(name: [u64; 2], revision: u64, arguments: &[u64]) -> Vec<u64> {
    let mut request = [&COMMON[..], &name, &[revision, 0]].concat();
    request.extend(arguments);
    request
}

/// A kernel for the Limine protocol with this request, and more bytes right behind it: they are at
/// [`behind`].
fn limine(request: &[u64], more: &[u8]) -> Vec<u8> {
    limine_elf(request, more).build()
}

fn limine_elf(request: &[u64], more: &[u8]) -> Elf {
    let mut data = words([&TAG[..], &[3], request].concat());
    data.extend(more);
    let size = data.len() as u64;
    Elf::new(ET_EXEC, KERNEL_VMA)
        .with(ProgramHeader::load(
            R | X,
            KERNEL_VMA,
            vec![0xF4, 0xEB, 0xFD],
            3,
        ))
        .with(ProgramHeader::load(R | W, REQUESTS, data, size))
}

/// Where the bytes behind a request with so many arguments are.
fn behind(arguments: u64) -> u64 {
    REQUESTS + 8 * (3 + 6 + arguments)
}

/// The flags of such a module.
const REQUIRED: u64 = 1 << 0;
const COMPRESSED: u64 = 1 << 1;

/// A kernel that brings one module by itself, with this path and these flags.
fn with_internal_module(path: &[u8], flags: u64) -> Vec<u8> {
    let list = behind(2);
    let module = list + 8;
    let text = module + 24;
    let mut more = words([module, text, text + path.len() as u64, flags]);
    more.extend(path);
    more.push(0);
    limine(&request(MODULES, 1, &[1, list]), &more)
}

#[test]
fn modules_that_a_limine_kernel_cannot_get() {
    refused(vec![
        Case::new(
            "a directory instead of a module",
            with_internal_module(b"/", REQUIRED),
            "9B: a module is missing: /",
        ),
        Case::new(
            "a path from the root",
            with_internal_module(b"/modules/module", REQUIRED),
            "9B: a module is missing: /modules/module",
        )
        .with_module(b"it is in /boot".into()),
        Case::new(
            "a compressed module that is not compressed",
            with_internal_module(b"modules/module", COMPRESSED),
            format!("{GZIP}its header"),
        )
        .with_module(b"plain".into()),
        Case::new(
            "a compressed module with something behind it",
            with_internal_module(b"modules/module", COMPRESSED),
            format!("{GZIP}no gzip data at byte "),
        )
        .with_module([gzip(b"short", 5), b"x".to_vec()].concat()),
    ]);
}

#[test]
fn limine_requests() {
    let entry = request(ENTRY_POINT, 0, &[REQUESTS]);
    refused(vec![
        Case::new(
            "paging modes that exclude each other",
            limine(&request(PAGING_MODE, 1, &[0, 0, 1]), &[]),
            format!("{NOT_HERE}paging modes 1 to 0"),
        ),
        Case::new(
            "an entry point in data",
            limine(&entry, &[]),
            format!("{NOT_HERE}entry point 0x{REQUESTS:x}"),
        ),
        Case::new(
            "too many internal modules",
            limine(&request(MODULES, 1, &[33, behind(2)]), &[]),
            format!("{NOT_HERE}33 internal modules, at most 32"),
        ),
        Case::new(
            "a list of modules that is nowhere",
            limine(&request(MODULES, 1, &[1, KERNEL_VMA + 0x10_0000]), &[]),
            format!("{NOT_HERE}internal module 0, from 0"),
        ),
        Case::new(
            "a path that is no text",
            with_internal_module(b"modules/\xFF", 0),
            format!("{NOT_HERE}internal module 0, from 0"),
        ),
        Case::new(
            "a path with a hash",
            with_internal_module(b"none#12", REQUIRED),
            format!("{NOT_HERE}internal module 0, from 0"),
        ),
        Case::new(
            "a required module that is not there",
            with_internal_module(b".././none/../boot/none", REQUIRED),
            "9B: a module is missing: /boot/none",
        ),
        Case::new(
            "a stack larger than all memory",
            limine(&request(STACK_SIZE, 0, &[u64::MAX]), &[]),
            format!("{TOO_LITTLE}17592186044416 MiB needed in one piece, "),
        ),
    ]);
}

/// A Limine kernel that is relocated, by an entry of this type, and asks for the stack's size this often.
fn relocated(kind: u32, requests: usize) -> Vec<u8> {
    const DYNAMIC: u64 = 0x1000;
    const TABLE: u64 = 0x1100;
    const DATA: u64 = 0x2000;
    // Tags of the dynamic section.
    const RELA: u64 = 7;
    const RELA_SIZE: u64 = 8;
    const RELA_ENTRY: u64 = 9;

    let table = rela(kind, DATA, 0);
    let size = table.len() as u64;
    let mut tables = words([RELA, TABLE, RELA_SIZE, size, RELA_ENTRY, size, 0, 0]);
    let dynamic = ProgramHeader::within_load(PT_DYNAMIC, DYNAMIC, tables.len() as u64);
    tables.resize((TABLE - DYNAMIC) as usize, 0);
    tables.extend(table);
    let size = tables.len() as u64;
    let stack = request(STACK_SIZE, 0, &[0x1_0000]);
    let data = words([&[0][..], &TAG, &[3], &stack.repeat(requests)].concat());
    let data_size = data.len() as u64;
    Elf::new(ET_DYN, 0)
        .with(ProgramHeader::load(R | X, 0, vec![0xF4, 0xEB, 0xFD], 3))
        .with(ProgramHeader::load(R, DYNAMIC, tables, size))
        .with(ProgramHeader::load(R | W, DATA, data, data_size))
        .with(dynamic)
        .build()
}

/// A kernel with two faults is refused for the one that the loader finds first.
#[test]
fn of_two_errors_the_first_one_counts() {
    const IRELATIVE: u32 = 37;
    const RELOCATION: &str = "10M: the kernel needs a relocation that the loader does not do: ";

    refused(vec![
        Case::new(
            "a relocation and two requests",
            relocated(IRELATIVE, 2),
            format!("{RELOCATION}type 37 at 0x2000"),
        ),
        Case::new(
            "a relocation and writable code",
            writable_and_relocated(IRELATIVE),
            format!("{RELOCATION}type 37 at 0x2000"),
        ),
    ]);
}

/// A kernel without a note whose code is writable.
fn writable_and_relocated(kind: u32) -> Vec<u8> {
    const FIRST_FLAGS: usize = 64 + 4;

    let mut file = relocated(kind, 0);
    let tag = file.windows(16).position(|bytes| bytes == words(TAG));
    file[tag.unwrap()..][..16].fill(0);
    file[FIRST_FLAGS] |= W as u8;
    file
}

/// A kernel for the loader's own protocol that wants all physical memory there.
fn with_map(base: u64, address: u64) -> Vec<u8> {
    let wish = note(
        "Bootpath",
        handoff::NOTE_PHYSICAL_MAP_BASE,
        &base.to_le_bytes(),
        4,
    );
    Elf::new(ET_EXEC, address)
        .with(ProgramHeader::load(
            R | X,
            address,
            vec![0xF4, 0xEB, 0xFD],
            3,
        ))
        .with(ProgramHeader::note(wish))
        .build()
}

/// A kernel for the loader's own protocol with so much memory behind its code.
fn with_bss(size: u64) -> Vec<u8> {
    let code = vec![0xF4, 0xEB, 0xFD];
    Elf::new(ET_EXEC, 0x4000_0000)
        .with(ProgramHeader::load(R | W | X, 0x4000_0000, code, size))
        .with(ProgramHeader::note(note(
            "Bootpath",
            handoff::NOTE_FLAGS,
            &handoff::FLAG_ALLOW_WRITABLE_CODE.to_le_bytes(),
            4,
        )))
        .build()
}

#[test]
fn memory_of_an_own_kernel() {
    const MAP: u64 = KERNEL_VMA - (4 << 30);

    refused(vec![
        Case::new(
            "all memory where the kernel is",
            // All 4 GiB that there may be have room from there on.
            with_map(MAP, MAP + 0x20_0000),
            "11A: two things would be mapped at the same address: virtual address 0xfffffffe80200000",
        ),
        Case::new(
            "more memory than there can be",
            with_bss(8 << 30),
            format!("{TOO_LITTLE}8192 MiB needed in one piece, "),
        ),
    ]);
}

/// A kernel for Multiboot 2 with these words of tags, loaded to a physical address.
fn multiboot2(tags: &[u32], address: u64) -> Vec<u8> {
    const MAGIC: u32 = 0xE852_50D6;

    let length = 16 + 4 * (tags.len() as u32 + 2);
    let header = [
        &[MAGIC, 0, length, 0_u32.wrapping_sub(MAGIC + length)][..],
        tags,
        &[0, 8],
    ];
    let code: Vec<u8> = header
        .concat()
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .chain([0xF4, 0xEB, 0xFD])
        .collect();
    let size = code.len() as u64;
    Elf::new(ET_EXEC, address)
        .with(ProgramHeader::load(R | X, address, code, size))
        .build()
}

#[test]
fn memory_of_a_multiboot_kernel() {
    refused(vec![
        Case::new(
            "where the BIOS has its data",
            multiboot2(&[], 0x4F8),
            format!("{NOT_FREE}segment 0, 0x4f8 to 0x513: 0x0 to 0x500 is reserved"),
        ),
        Case::new(
            "nowhere below 4 KiB",
            // Relocatable: from 0 to 1000h.
            multiboot2(&[10, 24, 0, 0x1000, 0x1000, 0], 0x10_0000),
            format!("{NOT_FREE}0x33 bytes between 0x0 and 0x1000, free in one piece: 0x0"),
        ),
    ]);
}

/// A bzImage with some bytes of its header changed.
fn linux(changes: &[(usize, &[u8])]) -> Vec<u8> {
    let mut file = noise(4 * 512);
    file[0x1F1..0x290].fill(0);
    for (offset, bytes) in [
        (0x1F1, &[1][..]),                  // setup_sects
        (0x1F4, &[64, 0, 0, 0]),            // syssize
        (0x1FE, &[0x55, 0xAA, 0xEB, 0x7A]), // boot_flag, jump
        (0x202, b"HdrS\x0F\x02"),
        (0x211, &[1]),                            // loadflags
        (0x22C, &[0xFF, 0xFF, 0xFF, 0x7F]),       // initrd_addr_max
        (0x230, &[0, 0, 0x20, 0, 1, 0x15, 1, 0]), // kernel_alignment, relocatable, 64-bit entry
        (0x238, &[0xFF, 7]),                      // cmdline_size
        (0x258, &[0, 0, 0, 1]),                   // pref_address
        (0x260, &[0, 0, 0x10, 0]),                // init_size
    ]
    .into_iter()
    .chain(changes.iter().copied())
    {
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    file
}

#[test]
fn memory_of_a_linux_kernel() {
    const INITRD_ADDR_MAX: usize = 0x22C;
    const RELOCATABLE_KERNEL: usize = 0x234;
    const PREF_ADDRESS: usize = 0x258;
    const INIT_SIZE: usize = 0x260;

    refused(vec![
        Case::new(
            "below 1 MiB",
            linux(&[(RELOCATABLE_KERNEL, &[0]), (PREF_ADDRESS, &[0, 0, 1, 0])]),
            format!("{NOT_FREE}10000h to 110000h"),
        ),
        Case::new(
            "more than 4 GiB behind its start",
            linux(&[(INIT_SIZE, &[0xFF; 4])]),
            format!("{TOO_LITTLE}4096 MiB needed in one piece, "),
        ),
        Case::new(
            "an initrd below 1 MiB",
            linux(&[(INITRD_ADDR_MAX, &[0xFF, 0xFF, 0x0F, 0])]),
            format!("{TOO_LITTLE}1 KiB needed in one piece, "),
        )
        .with_module(b"an archive".into()),
    ]);
}

/// A file that looks like two kinds of kernel is refused as the kind that the loader takes it for.
#[test]
fn linux_comes_before_limine() {
    let mut kernel = limine_elf(&request(STACK_SIZE, 0, &[0x1_0000]), &[]).build();
    kernel[0x1FE..0x200].copy_from_slice(&[0x55, 0xAA]);
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    refused(vec![Case::new(
        "an ELF file that says that it is Linux",
        kernel,
        "10V: the Linux kernel cannot be booted like this: 00h 00h at 200h is no jump behind the header",
    )]);
}

/// A file compressed by gzip that claims this length.
fn gzip(bytes: &[u8], length: u32) -> Vec<u8> {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write as _;

    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    let mut file = encoder.finish().unwrap();
    let end = file.len();
    file[end - 4..].copy_from_slice(&length.to_le_bytes());
    file
}

#[test]
fn a_length_that_no_memory_has() {
    let halting = with_bss(3);
    let says = format!("{GZIP}no room for 4294967295 bytes");
    refused(vec![
        Case::new("of a kernel", gzip(&halting, u32::MAX), &*says),
        Case::new("of a module", halting, says).with_module(gzip(b"short", u32::MAX)),
    ]);
}

#[test]
fn streams_of_several_members() {
    let halting = with_bss(3);
    let length = halting.len() as u32;
    let module = [gzip(b"short", 5), vec![0; 700], gzip(b"words", 5)].concat();
    let padded = [gzip(&halting, length), vec![0; 70_000]].concat();
    built(vec![
        Case::new("of a kernel", padded, "").with_module(module.clone()),
    ]);
    let says = format!("{GZIP}no gzip data at byte {}", module.len());
    let module = [module, b"more".to_vec()].concat();
    refused(vec![
        Case::new("of a module", halting, says).with_module(module),
    ]);
}

#[test]
fn modules_that_a_limine_kernel_brings() {
    let path = |path: &[u8]| {
        let name = "by another path";
        Case::new(name, with_internal_module(path, REQUIRED), "").with_module(b"words".into())
    };
    built(vec![
        path(b"./modules/module"),
        path(b"../boot/modules/module"),
        path(b"/boot/modules/module"),
        path(b"..\\..\\boot\\modules\\.\\module"),
        Case::new(
            "compressed",
            with_internal_module(b"modules/module", REQUIRED | COMPRESSED),
            "",
        )
        .with_module(gzip(b"short", 5)),
        Case::new(
            "compressed and not there",
            with_internal_module(b"none", COMPRESSED),
            "",
        ),
        Case::new("not required", with_internal_module(b"modules/none", 0), ""),
        Case::new(
            "required",
            with_internal_module(b"modules/module", REQUIRED),
            "",
        )
        .with_module(b"it is there".into()),
    ]);
}

/// A kernel with room for less than all memory boots on a machine that has no more than that.
#[test]
fn all_memory_of_a_small_machine() {
    let kernel = with_map(KERNEL_VMA, 0x4000_0000);
    built(vec![Case::new("room for 2 GiB", kernel, "")]);
}

/// A kernel with the note of the loader's own handoff is a Limine kernel, if its entry says so.
#[test]
fn an_own_kernel_by_the_limine_protocol() {
    let wish = note(
        "Bootpath",
        handoff::NOTE_STACK_SIZE,
        &0x1_0000_u64.to_le_bytes(),
        4,
    );
    let kernel = limine_elf(&request(STACK_SIZE, 0, &[0x1_0000]), &[]);
    let kernel = kernel.with(ProgramHeader::note(wish)).build();
    built(vec![Case::new("both", kernel, "").by("limine")]);
}

/// A Limine kernel that asks for no modules boots without those of its entry.
#[test]
fn modules_that_nobody_asks_for() {
    let workshop = Workshop::new();
    let kernel = limine(&request(STACK_SIZE, 0, &[0x1_0000]), &[]);
    let case = Case::new("no request", kernel, "").with_module(b"a module".into());
    let (status, _) = run(&workshop, &case.prepare(&workshop));
    assert_eq!(status, Some(0));
    let mut image = fs::read(workshop.path("disk.img")).unwrap();
    let start = disk_layout::PARTITION_LBA as usize * disk_layout::SECTOR_SIZE;
    let partition = std::io::Cursor::new(&mut image[start..]);
    let volume = fatfs::FileSystem::new(partition, fatfs::FsOptions::new()).unwrap();
    volume.root_dir().remove("boot/modules/module").unwrap();
    volume.unmount().unwrap();
    workshop.file("disk.img", &image);
    is_good(&workshop, case.name);
}
