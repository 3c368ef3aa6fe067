//! The files that the loader reads, and what is in them. This also checks files that the loader
//! would not read, or not completely: it follows every cluster chain to its end, and compares every
//! file that has a checksum.

use boot_path::disk::block_device::BlockDevice as _;
use boot_path::disk::fat::{Cache, FatError, File, NoFile, Volume as FatVolume};
use boot_path::entry::bootable;
use boot_path::entry::entries::{self, Entries, Item, LoaderConf, Room, Timeout, Warning};
use boot_path::entry::entry_file::{self, EntryFileCause, EntryFileError, KernelEntry};
use boot_path::entry::protocol::Protocol;
use boot_path::errors::catalogue;
use boot_path::files::file_bytes::FileBytes as _;
use boot_path::files::integrity::{Checksums, Manifest, Role, Sums};
use boot_path::position::FileOffset;
use boot_path::position::Lba;
use boot_path::ways_out::of_file::protocol_of_file;
use boot_path::ways_out::sums::{Both, of_kernel, of_slice};
use disk_layout::{MAX_TRANSFER_SECTORS, SECTOR_SIZE};

use super::disk::FileDisk;
use super::facts::{
    Checksum, ConfigurationLine, EntryInfo, FileInfo, Inspection, Partition, Places, Sectors,
    Volume,
};
use super::kernels::Booted;
use super::path::Choice;
use super::volume::{Reader, VolumeFile};
use super::{Failure, Problem, failure, say};
use crate::manifest::crc32c;
use crate::packed::{is_packed, unpacked, unpacked_length};

impl Inspection {
    /// Reads the partition, the volume in it, and its files. `choices` gets what can be booted.
    pub(super) fn read_partition(
        &mut self,
        disk: &mut FileDisk,
        manifest: Manifest<'_>,
        choices: &mut Vec<Choice>,
    ) -> Problem<()> {
        let mut buffer = vec![0; 3 * usize::from(MAX_TRANSFER_SECTORS) * SECTOR_SIZE];
        let found = bootable::find_partition(disk, &mut buffer, &mut bootable::has_entries)
            .map_err(|e| say(&e))?;
        let partition = found.partition;
        self.warnings
            .extend(found.note.map(|note| note.to_string()));
        self.warnings
            .extend(found.damage.map(|damage| damage.to_string()));
        self.partition = Some(Partition {
            place: Sectors::new(partition.first_lba, partition.sectors),
            number: partition.number,
            kind: partition.kind,
        });
        let end = partition.first_lba.saturating_add(partition.sectors);
        if end > Lba::new(disk.sector_count()) {
            let facts = format!("the partition ends at LBA {}", end.as_u64());
            self.add_problem(failure(&catalogue::DISK_RANGE, facts));
        }

        let mut cache = Cache::new(&mut buffer);
        let mut damage = None;
        let mut changed = |error: &FatError, _| damage = Some(say(error));
        let opened = FatVolume::open_any(disk, &mut cache, &partition, &mut changed);
        let fat = opened.map_err(|error| say(&error))?;
        if let Some(damage) = damage {
            // One good copy of two is not good enough.
            return Err(damage);
        }
        self.warnings
            .extend(fat.defect().map(|defect| defect.to_string()));
        let boot_sector = disk.sectors(partition.first_lba, 1).map_err(|e| say(&e))?;
        self.volume = Some(Volume::of(&boot_sector, partition.first_lba));
        let mut reader = Reader {
            disk,
            cache,
            fat,
            manifest,
        };
        self.read_entries(&mut reader, choices)
    }

    /// The entries, or `/boot/kernel.conf` if there are none, and what they name.
    fn read_entries(
        &mut self,
        reader: &mut Reader<'_, '_>,
        choices: &mut Vec<Choice>,
    ) -> Problem<()> {
        let (names, broken) = reader.list(entries::DIRECTORY);
        let mut names: Vec<_> = names
            .into_iter()
            .filter(|(name, _)| entries::is_entry(name))
            .map(|(name, file)| (format!("{}/{name}", entries::DIRECTORY), file))
            .collect();
        let conf = match names.is_empty() {
            true => Vec::new(),
            false => self.read_loader_conf(reader)?,
        };
        let conf = LoaderConf::parse(&conf).0;
        let mut rooms = Vec::new();
        for (path, file) in names.drain(..) {
            rooms.push(self.read_room(reader, path, file)?);
        }
        let mut found = Entries::default();
        for (path, room) in &mut rooms {
            self.add_entry(&mut found, conf.default_entry(), path, room);
        }
        self.warnings
            .extend(found.rest().map(|warning| warning.to_string()));
        if let Some(error) = &broken {
            if found.usable() == 0 {
                return Err(say(error));
            }
            let warning = Warning::unreadable(entries::DIRECTORY, error);
            self.warnings.push(warning.to_string());
        }
        if found.is_empty() {
            return self.read_configuration(reader, choices);
        }
        self.choose_entry(reader, &found, &conf, choices)
    }

    /// `/boot/kernel.conf`, and what it names.
    fn read_configuration(
        &mut self,
        reader: &mut Reader<'_, '_>,
        choices: &mut Vec<Choice>,
    ) -> Problem<()> {
        let text = self
            .read_file(reader, entry_file::PATH_ENTRY)?
            .unwrap_or_default();
        let entry = entry_file::parse(&text).map_err(|error| {
            self.note_line(entry_file::PATH_ENTRY, &text, error);
            say(&error)
        })?;
        let choice = choices.push_mut(Choice {
            is_default: true,
            ..Choice::of(&entry)
        });
        if !text.is_empty() {
            self.command_line = Some(command_line(&entry));
        }
        self.booted = self.read_entry(reader, &entry, &mut choice.missing)?;
        Ok(())
    }

    /// Notes the line of a configuration file that an error is about.
    fn note_line(&mut self, file: &str, bytes: &[u8], error: EntryFileError) {
        let Some(index) = error.line.checked_sub(1) else {
            return;
        };
        let text = String::from_utf8_lossy(bytes);
        let Some(line) = text.lines().nth(index) else {
            return;
        };
        let names: Vec<_> = Protocol::names().collect();
        let names = format!("protocols are {}", names.join(", "));
        let is_protocol = error.cause == EntryFileCause::UnknownProtocol;
        self.lines.push(ConfigurationLine {
            file: file.to_owned(),
            line: error.line,
            text: line.to_owned(),
            hint: is_protocol.then_some(names),
        });
    }

    /// The bytes of `loader.conf`, as far as the loader goes by them.
    fn read_loader_conf(&mut self, reader: &mut Reader<'_, '_>) -> Problem<Vec<u8>> {
        let path = entries::PATH_LOADER;
        let bytes = match reader.find(path)? {
            Some(file) => self.read_text(reader, path, &file)?,
            None => {
                if reader.manifest.entry(path, Sums::Whole).is_some() {
                    let warning = Warning::loader_conf_is_gone();
                    self.warnings.push(warning.to_string());
                }
                return Ok(Vec::new());
            }
        };
        match bytes {
            Ok(bytes) => {
                if let Some(error) = LoaderConf::parse(&bytes).1 {
                    self.note_line(path, &bytes, error);
                    let warning = Warning::in_loader_conf(&error);
                    self.warnings.push(warning.to_string());
                }
                Ok(bytes)
            }
            Err(error) => {
                let warning = Warning::unreadable(path, &error);
                self.warnings.push(warning.to_string());
                Ok(Vec::new())
            }
        }
    }

    /// The path and the bytes of a file that is an entry, or should be; or why it is none.
    fn read_room(
        &mut self,
        reader: &mut Reader<'_, '_>,
        path: String,
        file: Result<File, NoFile>,
    ) -> Problem<(String, Result<Vec<u8>, String>)> {
        let error = match file {
            Ok(file) => match self.read_text(reader, &path, &file)? {
                Ok(bytes) => return Ok((path.clone(), Ok([path.into_bytes(), bytes].concat()))),
                Err(error) => Warning::unreadable(&path, &error).to_string(),
            },
            Err(NoFile::Directory) => Warning::directory(&path).to_string(),
            Err(NoFile::Damaged(error)) => Warning::unreadable(&path, &error).to_string(),
        };
        Ok((path, Err(error)))
    }

    /// Adds a file to the entries, or says why it is left out.
    fn add_entry<'r>(
        &mut self,
        found: &mut Entries<'r>,
        pattern: Option<&str>,
        path: &'r str,
        room: &'r mut Result<Vec<u8>, String>,
    ) {
        let warning = match room {
            Ok(bytes) => {
                let text = bytes.len() - path.len();
                let room = Room {
                    bytes,
                    path: path.len(),
                    text,
                };
                let added = found.add(room, pattern);
                match added.error {
                    None => return,
                    Some(error) => {
                        let bytes = added.free.unwrap_or_default();
                        self.note_line(path, bytes.get(path.len()..).unwrap_or_default(), error);
                        Warning::skipped(path, &error).to_string()
                    }
                }
            }
            Err(warning) => warning.clone(),
        };
        if found.skip() {
            self.warnings.push(warning);
        }
    }

    /// Reads what all entries name, and chooses the one that is booted.
    fn choose_entry(
        &mut self,
        reader: &mut Reader<'_, '_>,
        found: &Entries<'_>,
        conf: &LoaderConf<'_>,
        choices: &mut Vec<Choice>,
    ) -> Problem<()> {
        self.timeout = conf.timeout().map(|timeout| match timeout {
            Timeout::Seconds(seconds) => seconds,
            Timeout::Forever => u32::MAX,
        });
        let choice = found.choose(conf.default_entry()).map_err(|e| say(&e))?;
        if let Some(pattern) = choice.unmatched {
            self.warnings.push(Warning::no_default(pattern).to_string());
        }
        choices.extend(found.items().map(|item| Choice {
            entry: Some(item.name().to_owned()),
            is_default: item.path() == choice.item.path(),
            ..Choice::of(&item.text)
        }));
        for (item, choice) in found.items().zip(choices) {
            let is_default = choice.is_default;
            let text = &item.text;
            self.entries.push(entry_info(&item, is_default));
            let booted = self.read_entry(reader, text, &mut choice.missing)?;
            if is_default {
                self.command_line = Some(command_line(text));
                self.booted = booted;
            }
        }
        Ok(())
    }

    /// The bytes of a text file; `None`: it does not exist, and need not.
    fn read_file(&mut self, reader: &mut Reader<'_, '_>, path: &str) -> Problem<Option<Vec<u8>>> {
        match reader.find(path)? {
            Some(file) => match self.read_text(reader, path, &file)? {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) => Err(say(&error)),
            },
            None if reader.manifest.entry(path, Sums::Whole).is_some() => {
                Err(failure(&catalogue::ENTRY_MISSING, path))
            }
            None => Ok(None),
        }
    }

    /// The bytes of a text file, unless the loader cannot read it.
    fn read_text(
        &mut self,
        reader: &mut Reader<'_, '_>,
        path: &str,
        file: &File,
    ) -> Problem<Result<Vec<u8>, Failure>> {
        let places = reader.places(file, 0, file.size);
        let read = places.and_then(|places| Ok((places, reader.bytes(file, MOST_OF_TEXT)?)));
        let (places, bytes) = match read {
            Ok(read) => read,
            Err(error) => return Ok(Err(Failure::of(&error))),
        };
        let manifest = reader.manifest;
        let (headers, sums) = (Checksums::default(), of_slice(&bytes, crc32c));
        let of = (Role::Text, Sums::Whole);
        self.add_file(manifest, of, path, file, (places, None), || {
            Ok(Some((headers, sums)))
        })?;
        let own = manifest.own(Role::Text, Sums::Whole, path, file);
        let damage = match own {
            Ok(expected) => expected.and_then(|expected| expected.all(headers, sums).err()),
            Err(damage) => Some(damage),
        };
        Ok(match damage {
            Some(damage) => Err(Failure::of(&damage)),
            None => Ok(bytes),
        })
    }

    /// The kernel and the modules of an entry, as far as they are there. `missing` gets the modules
    /// that are not.
    fn read_entry(
        &mut self,
        reader: &mut Reader<'_, '_>,
        entry: &KernelEntry<'_>,
        missing: &mut Vec<String>,
    ) -> Problem<Booted> {
        let mut booted = Booted::default();
        if entry.chain().is_some() {
            return Ok(booted);
        }
        // Linux unpacks its RAM disks itself, and Limine hands over modules as they are.
        let mut unpacks_modules = false;
        let path = entry.kernel_path();
        if let Some(file) = reader.find(path)? {
            let protocol = self.read_kernel(reader, entry, (path, &file), &mut booted)?;
            unpacks_modules = protocol
                .is_some_and(|protocol| !matches!(protocol, Protocol::Limine | Protocol::Linux(_)));
        }
        for module in entry.modules() {
            match reader.find(module.path)? {
                Some(file) => {
                    let unpacks = unpacks_modules && !module.packed;
                    self.read_module(reader, (module.path, &file), unpacks)?;
                }
                None => missing.push(module.path.to_owned()),
            }
        }
        Ok(booted)
    }

    /// Reads a kernel; returns its protocol, unless it cannot be unpacked.
    fn read_kernel(
        &mut self,
        reader: &mut Reader<'_, '_>,
        entry: &KernelEntry<'_>,
        (path, file): (&str, &File),
        booted: &mut Booted,
    ) -> Problem<Option<Protocol>> {
        let places = reader.places(file, 0, file.size).map_err(|e| say(&e))?;
        let manifest = reader.manifest;
        let mut bytes = reader.open(file);
        let (protocol, unpacked) = look_at_kernel(&mut bytes, entry, booted)?;
        let sums = match protocol {
            Some(protocol) if unpacked.is_none() => protocol.sums(),
            _ => Sums::Whole,
        };
        let of = (Role::Kernel, sums);
        self.add_file(manifest, of, path, file, (places, unpacked), || {
            let checksums = of_kernel(&mut bytes, sums, crc32c).ok();
            bytes.check()?;
            Ok(checksums)
        })?;
        if let (Some(kernel), None) = (&mut booted.kernel, unpacked) {
            for segment in &mut kernel.segments {
                let (offset, size) = (segment.file_offset, segment.file_size);
                let places = reader.places(file, offset, size).map_err(|e| say(&e))?;
                segment.extents = places.extents;
                segment.pieces = places.pieces;
                segment.sectors = places.sectors;
            }
        }
        Ok(protocol)
    }

    /// Reads a module, which the loader may unpack.
    fn read_module(
        &mut self,
        reader: &mut Reader<'_, '_>,
        (path, file): (&str, &File),
        unpacks: bool,
    ) -> Problem<()> {
        let places = reader.places(file, 0, file.size).map_err(|e| say(&e))?;
        let manifest = reader.manifest;
        let mut bytes = reader.open(file);
        let mut length = None;
        if unpacks && is_packed(&mut bytes) {
            length = Some(unpacked_length(&mut bytes).unwrap_or(0));
            bytes.check()?;
        }
        let of = (Role::Module, Sums::Whole);
        self.add_file(manifest, of, path, file, (places, length), || {
            let mut sums = Both::new(crc32c);
            bytes.pieces(FileOffset::ZERO, u64::MAX, |piece| sums.add(piece));
            bytes.check()?;
            Ok(Some((Checksums::default(), sums.end())))
        })
    }

    /// Notes a file, which several entries may name. If it is the one in the manifest, its
    /// checksums are compared: that of its bytes and, for a kernel, that of its headers. A kernel
    /// that cannot be booted has none.
    fn add_file(
        &mut self,
        manifest: Manifest<'_>,
        (role, sums): (Role, Sums),
        path: &str,
        file: &File,
        (places, unpacked): (Places, Option<u64>),
        checksums: impl FnOnce() -> Problem<Option<(Checksums, Checksums)>>,
    ) -> Problem<()> {
        if self.file(path).is_some() {
            return Ok(());
        }
        let compared = match manifest.own(role, sums, path, file) {
            Ok(Some(expected)) => match checksums()? {
                Some((headers, bytes)) => {
                    expected.all(headers, bytes).map(|()| Some(Checksum::Good))
                }
                // Its headers say what is wrong with it.
                None => Ok(Some(Checksum::Wrong)),
            },
            Ok(None) => Ok(manifest.entry(path, sums).map(|_| Checksum::Replaced)),
            Err(damage) => Err(damage),
        };
        let checksum = compared.unwrap_or_else(|damage| {
            self.add_problem(say(&damage));
            Some(Checksum::Wrong)
        });
        self.files.push(FileInfo {
            path: path.to_owned(),
            size: file.size,
            extents: places.extents,
            pieces: places.pieces,
            unpacked,
            checksum,
        });
        Ok(())
    }
}

/// The protocol of a kernel, unless it cannot be unpacked; and, if it is compressed, its length
/// when unpacked, or 0 if it cannot be unpacked.
fn look_at_kernel(
    bytes: &mut VolumeFile<'_, '_>,
    entry: &KernelEntry<'_>,
    booted: &mut Booted,
) -> Problem<(Option<Protocol>, Option<u64>)> {
    let packed = is_packed(bytes);
    let file = unpacked(&mut *bytes).map_err(|error| format!("{error:#}"))?;
    let Ok(mut file) = file else {
        bytes.check()?;
        return Ok((None, Some(0)));
    };
    let protocol = entry.protocol();
    let protocol = protocol.unwrap_or_else(|| protocol_of_file(&mut file));
    booted.read(protocol, &mut file);
    file.check().map_err(|error| format!("{error:#}"))?;
    let unpacked = packed.then(|| file.size());
    bytes.check()?;
    Ok((Some(protocol), unpacked))
}

/// An entry, to be shown.
fn entry_info(item: &Item<'_>, is_default: bool) -> EntryInfo {
    let text = &item.text;
    let modules = text.modules();
    EntryInfo {
        name: item.name().to_owned(),
        is_default,
        title: text.title().map(str::to_owned),
        kernel: text.kernel().map(str::to_owned),
        protocol: text.protocol().map(Protocol::name),
        chain: text.chain().map(|target| target.to_string()),
        command_line: command_line(text),
        modules: modules.map(|module| module.path.to_owned()).collect(),
    }
}

impl Choice {
    fn of(entry: &KernelEntry<'_>) -> Self {
        let kernel = entry.kernel_path();
        Self {
            kernel: Some(kernel.to_owned()),
            chain: entry.chain(),
            ..Self::default()
        }
    }
}

/// How much of a text file is read: one byte more than by the loader, which shows that it is too
/// long.
const MOST_OF_TEXT: u64 = entry_file::MAX_FILE as u64 + 1;

fn command_line(entry: &KernelEntry<'_>) -> String {
    entry.options().collect::<Vec<_>>().join(" ")
}
