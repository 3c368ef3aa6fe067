//! The table of machines.

use boot_path::errors::catalogue;

use super::{Extra, Rom, Row};
use crate::image::Defect;
use crate::machine::Disk;

/// Bochs' BIOSes.
const LATEST: &str = "BIOS-bochs-latest";
const LEGACY: &str = "BIOS-bochs-legacy";

/// All machines.
pub fn rows() -> Vec<Row> {
    let mut rows = disks();
    rows.extend(cds());
    rows.extend(chipsets());
    rows.extend(bioses());
    rows.extend(bochs());
    rows.extend(cpus());
    rows.extend(memory());
    rows.extend(processors());
    rows.extend(consoles());
    rows.extend(no_serial());
    rows
}

/// Machines that differ in how the disk is connected.
fn disks() -> Vec<Row> {
    use Disk::*;

    let ide = Row::qemu("pc-ide", Ide, "", "PIO reads").everyday();
    let ahci = Row::qemu("q35-ahci", Ahci, "", "DMA reads").everyday();
    let virtio = Row::qemu("virtio-blk", Virtio, "", "SeaBIOS's virtio-blk").everyday();
    let nvme = Row::qemu("nvme", Nvme, "", "SeaBIOS's NVMe").everyday();
    let usb = Row::qemu("usb-xhci", Usb, "", "a USB stick: what `dd` leads to").everyday();
    let floppy = Row::qemu("floppy", Floppy, "", "DL=0, no EDD, CHS only")
        .diskette()
        .everyday();
    let second = |name, number, shows| {
        let row = Row::qemu(name, Ide, "", shows).drive(0x81);
        row.with(Extra::BehindBootManager(number))
    };
    vec![
        ide.clone(),
        ide.direct("pc-ide-direct"),
        ahci.clone(),
        ahci.direct("q35-ahci-direct"),
        virtio.clone(),
        virtio.direct("virtio-blk-direct"),
        Row::qemu("virtio-scsi", VirtioScsi, "", "SeaBIOS's virtio-scsi").everyday(),
        Row::qemu("lsi53c895a", Lsi53c895a, "", "SeaBIOS's LSI SCSI").everyday(),
        Row::qemu("am53c974", Am53c974, "", "SeaBIOS's ESP SCSI"),
        Row::qemu("megasas", MegaSas, "", "SeaBIOS's MegaRAID"),
        Row::qemu("mptsas", MptSas, "", "SeaBIOS's MPT SAS"),
        Row::qemu("pvscsi", PvScsi, "", "SeaBIOS's PVSCSI"),
        nvme.clone(),
        nvme.direct("nvme-direct"),
        usb.clone(),
        usb.direct("usb-xhci-direct"),
        Row::qemu("usb-ehci", UsbEhci, "", "a USB stick at USB 2.0").everyday(),
        Row::qemu("usb-ohci", UsbOhci, "", "a USB stick at USB 1.1").may_retry(),
        Row::qemu(
            "usb-uhci",
            UsbUhci,
            "",
            "a USB stick at USB 1.1, on the chipset's own controller",
        )
        .may_retry()
        .everyday(),
        floppy.clone(),
        floppy.direct("floppy-direct"),
        second("second-disk", 0x81, "DL=81h, passed on by a boot manager").everyday(),
        second(
            "second-disk-lost",
            0,
            "the second disk, with the number of the first diskette in DL",
        ),
        Row::qemu(
            "slow-disk",
            Ide,
            "",
            "2 MB a second: no time limit that is too short",
        )
        .with(Extra::Drive("throttling.bps-read=2000000")),
    ]
}

/// The image that is a CD as well: as a CD, and as any other disk.
fn cds() -> Vec<Row> {
    use Disk::*;

    let cd = |name, disk, shows| Row::qemu(name, disk, "", shows).cd();
    let ide = cd("cd-ide", CdIde, "a CD: El Torito, PIO reads of 2048 bytes").everyday();
    let bochs = |name, bios, shows| Row::bochs(name, bios, "corei7_haswell_4770", shows).cd();
    vec![
        ide.clone(),
        ide.direct("cd-ide-direct"),
        cd("cd-ahci", CdAhci, "a CD: DMA reads").everyday(),
        cd("cd-virtio-scsi", CdVirtioScsi, "a SCSI CD"),
        cd("cd-lsi53c895a", CdLsi53c895a, "a SCSI CD"),
        cd("cd-am53c974", CdAm53c974, "a SCSI CD"),
        cd("cd-pvscsi", CdPvScsi, "a SCSI CD"),
        // A q35 has its first, empty CD drive on AHCI.
        cd(
            "cd-usb-xhci",
            CdUsb,
            "a USB CD drive, which is not the first",
        )
        .drive(0xE1),
        cd("cd-usb-ehci", CdUsbEhci, "a USB CD drive at USB 2.0").drive(0xE1),
        bochs("cd-bochs-latest", LATEST, "a CD, entered at 07C0:0000").everyday(),
        bochs("cd-bochs-legacy", LEGACY, "a CD, with a BIOS for the 386")
            .no_acpi()
            .no_smbios(),
        Row::qemu(
            "cd-emulates-disk",
            CdIde,
            "",
            "a CD that emulates a hard disk, which is read by CHS",
        )
        .emulated()
        .everyday(),
        Row::bochs(
            "cd-emulates-disk-bochs",
            LATEST,
            "corei7_haswell_4770",
            "the same with another BIOS",
        )
        .emulated(),
        Row::qemu("hybrid-ide", Ide, "", "the CD's image as a disk").hybrid(),
        Row::qemu("hybrid-ahci", Ahci, "", "the CD's image as a disk")
            .hybrid()
            .everyday(),
        Row::qemu("hybrid-usb", Usb, "", "the CD's image as a USB stick").hybrid(),
        Row::qemu("hybrid-floppy", Floppy, "", "the CD's image as a diskette")
            .hybrid()
            .diskette(),
        Row::bochs(
            "hybrid-bochs",
            LATEST,
            "corei7_haswell_4770",
            "the CD's image as a disk",
        )
        .hybrid(),
    ]
}

/// Chipsets and firmware.
fn chipsets() -> Vec<Row> {
    [without_pci(), with_pci()].concat()
}

/// PCs without PCI.
fn without_pci() -> Vec<Row> {
    use Disk::{Ide, VirtioMmio};

    const ISA: &str = "-M isapc -cpu qemu64,-apic -m 64M";
    let isa = |name, bios, shows| {
        Row::qemu(name, Ide, ISA, shows)
            .with(Extra::Bios(bios))
            .usable(63)
            .no_screen()
            .no_acpi()
            .no_smbios()
            .everyday()
    };
    let isa_latest = isa(
        "isapc-bochs-latest",
        "BIOS-bochs-latest",
        "no PCI; A20 really off, IF=0 and CR0=60000010h at entry",
    );
    let microvm = Row::qemu(
        "microvm",
        VirtioMmio,
        "-M microvm,rtc=on,pit=on,pic=on",
        "no PCI, no VGA, no keyboard controller",
    )
    .with(Extra::Bios("bios-microvm.bin"))
    .no_screen()
    .everyday();
    vec![
        microvm.clone(),
        microvm.direct("microvm-direct"),
        isa_latest.clone(),
        isa_latest.direct("isapc-bochs-direct"),
        isa(
            "isapc-bochs-legacy",
            "BIOS-bochs-legacy",
            "the same with a BIOS for the 386",
        ),
        Row::qemu(
            "isapc-seabios",
            Ide,
            "-M isapc -cpu qemu64 -m 64M",
            "no PCI",
        )
        .usable(63)
        .no_acpi(),
    ]
}

/// PCs that lack something, or differ in something.
fn with_pci() -> Vec<Row> {
    use Disk::{Ahci, Ide};

    vec![
        Row::qemu(
            "pc-1.4",
            Ide,
            "-M pc-i440fx-1.4",
            "the tables of an older QEMU",
        ),
        Row::qemu(
            "no-acpi",
            Ahci,
            "-M q35,acpi=off",
            "the BIOS's own ACPI tables",
        ),
        Row::qemu(
            "no-hpet",
            Ahci,
            "-M q35,hpet=off",
            "no high-precision timer",
        ),
        Row::qemu(
            "no-smm",
            Ahci,
            "-M q35,smm=off",
            "no system-management mode",
        ),
        Row::qemu("no-pit", Ahci, "-M q35,pit=off", "no interval timer"),
        Row::qemu(
            "no-keyboard",
            Ahci,
            "-M q35,i8042=off",
            "no keyboard controller: its ports read FFh",
        )
        .no_keyboard()
        .everyday(),
        Row::qemu(
            "smbios-3",
            Ahci,
            "-M q35,smbios-entry-point-type=64",
            "SMBIOS 3 instead of 2.1",
        ),
        Row::qemu(
            "iommu",
            Ahci,
            "-M q35,kernel-irqchip=split -device intel-iommu",
            "an IOMMU",
        ),
        Row::qemu(
            "icount",
            Ahci,
            "-icount shift=0,sleep=off",
            "one instruction a nanosecond, and no more",
        ),
    ]
}

/// BIOSes with a fault, and a disk that a BIOS reads in other sectors than stage1 expects.
fn bioses() -> Vec<Row> {
    let rom = |name, rom, shows| Row::qemu(name, Disk::Ide, "", shows).with(Extra::Rom(rom));
    let defect = |name, defect, shows| rom(name, Rom::Defect(defect), shows);
    vec![
        rom(
            "bios-384k",
            Rom::LowMemory(384),
            "384 KiB below 640 KiB, the rest is the BIOS's or PXE's",
        )
        .everyday(),
        defect(
            "bios-stack",
            Defect::HungryStack,
            "INT 13h takes 4 KiB of the caller's stack",
        ),
        defect(
            "bios-count",
            Defect::ClearsCount,
            "INT 13h says that it has read nothing, and has",
        )
        .own_reads(),
        defect(
            "bios-sector",
            Defect::LargeSectors,
            "INT 13h says 4096 bytes a sector, and reads 512",
        ),
        defect(
            "bios-holes",
            Defect::ManyHoles,
            "a memory map with 140 holes",
        )
        .usable(254)
        .everyday(),
        Row::bochs(
            "bochs-4kn",
            LATEST,
            "corei7_haswell_4770",
            "a disk with sectors of 4096 bytes",
        )
        .sectors_of_4_kib()
        .refused_by_stage1(&catalogue::STAGE2_SUM, 0)
        .everyday(),
    ]
}

/// Bochs: another CPU, chipset and BIOS.
fn bochs() -> Vec<Row> {
    [bochs_bioses(), bochs_cpus()].concat()
}

fn bochs_bioses() -> Vec<Row> {
    let latest = Row::bochs(
        "bochs-latest",
        LATEST,
        "corei7_haswell_4770",
        "a CPU and a BIOS that are not QEMU's",
    )
    .everyday();
    let legacy = Row::bochs(
        "bochs-legacy",
        LEGACY,
        "corei7_haswell_4770",
        "a BIOS for the 386",
    )
    .no_acpi()
    .no_smbios()
    .everyday();
    vec![
        latest.clone(),
        latest.direct("bochs-latest-direct"),
        legacy.clone(),
        legacy.direct("bochs-legacy-direct"),
        Row::bochs(
            "bochs-floppy",
            LATEST,
            "corei7_haswell_4770",
            "DL=0, no EDD, CHS only",
        )
        .diskette(),
    ]
}

fn bochs_cpus() -> Vec<Row> {
    vec![
        Row::bochs(
            "bochs-prescott",
            LATEST,
            "p4_prescott_celeron_336",
            "Intel, 2005",
        ),
        Row::bochs(
            "bochs-clawhammer",
            LATEST,
            "athlon64_clawhammer",
            "AMD, 2003: the first with long mode",
        )
        .everyday(),
        Row::bochs("bochs-penryn", LATEST, "core2_penryn_t9600", "Intel, 2008"),
        Row::bochs(
            "bochs-skylake",
            LATEST,
            "corei7_skylake_x",
            "Intel, 2017; AVX-512",
        ),
        Row::bochs("bochs-ryzen", LATEST, "ryzen", "AMD, 2017"),
        Row::bochs(
            "bochs-tigerlake",
            LATEST,
            "tigerlake",
            "Intel, 2020; 1 GiB pages",
        )
        .memory(2048)
        .gib_pages(),
        Row::bochs(
            "bochs-2m",
            LATEST,
            "corei7_haswell_4770",
            "2 MiB are enough",
        )
        .memory(2),
        Row::bochs(
            "bochs-1m",
            LATEST,
            "corei7_haswell_4770",
            "1 MiB is not enough",
        )
        .memory(1)
        .too_little(0, 636),
        Row::bochs("bochs-pentium", LATEST, "pentium", "no long mode")
            .refused(&catalogue::CPU_NO_LONG_MODE),
        Row::bochs(
            "bochs-yonah",
            LATEST,
            "core_duo_t2400_yonah",
            "PAE, SSE2 and NX, but no long mode",
        )
        .refused(&catalogue::CPU_NO_LONG_MODE),
    ]
}

/// CPUs in QEMU, with and without long mode.
fn cpus() -> Vec<Row> {
    let cpu = |name, arguments, shows| Row::qemu(name, Disk::Ahci, arguments, shows);
    let none =
        |name, arguments, shows| cpu(name, arguments, shows).refused(&catalogue::CPU_NO_LONG_MODE);
    let lacking = none("cpu-no-lm", "-cpu qemu64,-lm", "all but long mode").everyday();
    vec![
        cpu("cpu-no-nx", "-cpu qemu64,-nx", "no NX")
            .no_nx()
            .everyday(),
        cpu("cpu-no-tsc", "-cpu qemu64,-tsc", "no time-stamp counter").no_time(),
        cpu("cpu-kvm64", "-cpu kvm64", "a plain CPU").everyday(),
        cpu("cpu-opteron", "-cpu Opteron_G1", "AMD, 2003"),
        cpu("cpu-conroe", "-cpu Conroe", "Intel, 2006"),
        cpu("cpu-phenom", "-cpu phenom", "AMD, 2007").everyday(),
        cpu("cpu-penryn", "-cpu Penryn", "Intel, 2007"),
        cpu("cpu-nehalem", "-cpu Nehalem", "Intel, 2008"),
        cpu("cpu-sandybridge", "-cpu SandyBridge", "Intel, 2011"),
        cpu("cpu-haswell", "-cpu Haswell", "Intel, 2013"),
        cpu("cpu-epyc", "-cpu EPYC", "AMD, 2017"),
        cpu("cpu-denverton", "-cpu Denverton", "Intel, an Atom of 2017"),
        cpu("cpu-icelake", "-cpu Icelake-Server", "Intel, 2019"),
        cpu("cpu-max", "-cpu max", "LA57, SMEP, SMAP and all else").everyday(),
        cpu(
            "cpu-no-1gib",
            "-cpu max,-pdpe1gb -m 6144M",
            "no 1 GiB pages",
        )
        .usable(6143)
        .everyday(),
        none("cpu-486", "-cpu 486", "no long mode, no time-stamp counter").everyday(),
        none("cpu-pentium", "-cpu pentium", "no long mode"),
        none("cpu-pentium3", "-cpu pentium3", "no long mode"),
        none("cpu-qemu32", "-cpu qemu32", "no long mode"),
        none("cpu-n270", "-cpu n270", "no long mode: an Atom of 2008"),
        lacking.clone(),
        lacking.direct("cpu-no-lm-direct"),
    ]
}

/// Sizes and content of memory.
fn memory() -> Vec<Row> {
    let memory =
        |name, arguments, mib, shows| Row::qemu(name, Disk::Ahci, arguments, shows).usable(mib);
    let small =
        |name, arguments, mib, shows| Row::qemu(name, Disk::Ide, arguments, shows).usable(mib);
    vec![
        // On a q35, SeaBIOS itself has too little memory for its AHCI driver.
        small(
            "memory-1m",
            "-m 1M",
            0,
            "no memory above 1 MiB: says how much is needed",
        )
        .too_little(0, 639)
        .everyday(),
        small("memory-1408k", "-m 1408K", 0, "not enough for the kernel").too_little(256, 895),
        small(
            "memory-1792k",
            "-m 1792K",
            1,
            "the least for the demo kernel",
        )
        .everyday(),
        small("memory-2m", "-m 2M", 1, "2 MiB are enough"),
        memory("memory-4m", "-m 4M", 3, "little memory"),
        memory(
            "memory-16m",
            "-m 16M -cpu max",
            15,
            "where ISA's address space ends",
        )
        .everyday(),
        memory("memory-64m", "-m 64M -cpu max", 63, "an ordinary size"),
        memory(
            "memory-3584m",
            "-m 3584M -cpu max",
            3583,
            "more than 2 GiB; 1 GiB pages",
        )
        .gib_pages(),
        memory(
            "memory-6144m",
            "-m 6144M -cpu max",
            6143,
            "memory above 4 GiB; 1 GiB pages",
        )
        .gib_pages()
        .everyday(),
        memory(
            "memory-dirty",
            "",
            255,
            "memory full of A5h: tables and bss are cleared",
        )
        .with(Extra::DirtyMemory)
        .everyday(),
    ]
}

/// Several CPUs.
fn processors() -> Vec<Row> {
    let memory =
        |name, arguments, mib, shows| Row::qemu(name, Disk::Ahci, arguments, shows).usable(mib);
    vec![
        memory("smp-2", "-smp 2", 255, "2 CPUs"),
        memory("smp-3", "-smp 3", 255, "3 CPUs"),
        memory("smp-4", "-smp 4 -m 3584M", 3583, "4 CPUs, much memory").everyday(),
    ]
}

/// Screens.
fn consoles() -> Vec<Row> {
    let video = |name, arguments, shows| Row::qemu(name, Disk::Ahci, arguments, shows);
    vec![
        video("vga-none", "-vga none", "no screen")
            .no_screen()
            .everyday(),
        video("vga-cirrus", "-vga cirrus", "Cirrus' VGA BIOS").everyday(),
        video("vga-qxl", "-vga qxl", "QXL's VGA BIOS"),
        video("vga-virtio", "-vga virtio", "virtio's VGA BIOS"),
        video("vga-vmware", "-vga vmware", "VMware's VGA BIOS"),
        video("vga-ati", "-vga none -device ati-vga", "ATI's VGA BIOS"),
        video(
            "vga-secondary",
            "-vga none -device secondary-vga",
            "a display that is no VGA",
        )
        .no_screen(),
        video(
            "vga-bochs",
            "-vga none -device bochs-display",
            "a framebuffer without VGA",
        )
        .teletype()
        .everyday(),
        video(
            "vga-ramfb",
            "-vga none -device ramfb",
            "a framebuffer in RAM",
        )
        .usable(251)
        .teletype(),
    ]
}

/// PCs without a serial line.
fn no_serial() -> Vec<Row> {
    let video = |name, arguments, shows| Row::qemu(name, Disk::Ahci, arguments, shows);
    vec![
        video("no-serial", "", "the screen alone: its end")
            .no_serial()
            .everyday(),
        Row::qemu(
            "no-serial-1m",
            Disk::Ide,
            "-m 1M",
            "the screen alone: an error",
        )
        .usable(0)
        .too_little(0, 639)
        .no_serial()
        .everyday(),
        video(
            "no-serial-no-lm",
            "-cpu qemu64,-lm",
            "the screen alone: an error in real mode",
        )
        .refused(&catalogue::CPU_NO_LONG_MODE)
        .no_serial(),
        video(
            "no-console",
            "-vga none",
            "neither screen nor serial line: the exit status",
        )
        .no_serial()
        .no_screen()
        .everyday(),
    ]
}
