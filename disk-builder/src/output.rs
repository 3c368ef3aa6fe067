//! Files that are written: nobody loses what they still want.
//!
//! - An input, by whatever name, is never written over.
//! - An existing file is replaced without `--force` only if it is empty, or its content is of the
//!   same kind. `--force` replaces any other file, too, but nothing that is not a file.
//! - The new file is made beside the old one and takes its name when it is complete. Until then, the
//!   old one is as it was.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use boot_path::files::file_bytes::FileBytes;
use boot_path::position::FileOffset;
use disk_layout::multiboot::{LOAD_ADDRESS, MAX_CODE};
use disk_layout::{Mbr, mbr, stage2 as stage2_image};
use object::LittleEndian;
use object::elf::{ELFCLASS32, FileHeader32, PT_LOAD};
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use tempfile::NamedTempFile;
use zerocopy::FromBytes as _;

use crate::host_file::{self, HostFile, Kind};
use crate::signals::{self, Registered};

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A disk image.
    Image,
    /// `bootpath.elf`.
    MultibootProgram,
    /// An ELF file of one of the loader's programs.
    Program,
    /// `bootpath.h`.
    Header,
}

/// What an image has at 03h of its first sector, the field for the name of the system that formatted it. All
/// versions have written it.
pub(crate) const OEM_NAME: [u8; 8] = *b"BOOTPATH";

impl Content {
    fn name(self) -> &'static str {
        match self {
            Self::Image => "a Bootpath image",
            Self::MultibootProgram => "the loader as a Multiboot program",
            Self::Program => "a program of the loader",
            Self::Header => "Bootpath's header for C",
        }
    }

    /// Whether a file is of this kind, by what is in it.
    fn is_in(self, file: &mut impl FileBytes) -> bool {
        match self {
            Self::Image => is_image(file),
            Self::MultibootProgram => is_multiboot_program(file),
            // Others write such files, too.
            Self::Program => false,
            Self::Header => is_header(file),
        }
    }
}

/// Whether a file is an image that some version of this program has written: by the name in its first
/// sector, and the sector's signature.
pub fn is_image(file: &mut impl FileBytes) -> bool {
    let head = file.window(FileOffset::ZERO);
    Mbr::read_from_prefix(head).is_ok_and(|(sector, _)| {
        sector.code[mbr::BPB_AREA].starts_with(&OEM_NAME)
            && sector.signature.get() == mbr::BOOT_SIGNATURE
    })
}

/// Whether a file is the loader as a program: an ELF file for i386 with one segment, at the
/// loader's address, with stage2 in it.
fn is_multiboot_program(file: &mut impl FileBytes) -> bool {
    let head = file.window(FileOffset::ZERO);
    let header = FileHeader32::<LittleEndian>::parse(head).ok();
    let segments = header
        .filter(|header| header.e_ident.class == ELFCLASS32)
        .and_then(|header| header.program_headers(LittleEndian, head).ok());
    let Some([segment]) = segments else {
        return false;
    };
    if segment.p_type(LittleEndian) != PT_LOAD || segment.p_paddr(LittleEndian) != LOAD_ADDRESS {
        return false;
    }
    let offset = segment.p_offset(LittleEndian).into();
    let mut start = [0; MAX_CODE + stage2_image::MAGIC.len()];
    let length = file.read_at(offset, &mut start);
    let mut places = start[..length].windows(stage2_image::MAGIC.len());
    places.any(|bytes| bytes == stage2_image::MAGIC)
}

/// Whether a file is `bootpath.h` of some version: by the comment that all of them begin with.
fn is_header(file: &mut impl FileBytes) -> bool {
    let head = file.window(FileOffset::ZERO);
    head.starts_with(b"/*\n * What a kernel finds when Bootpath hands the machine over.")
}

/// A place to write to.
pub struct Output {
    /// The path that the user gave.
    named: PathBuf,
    /// The path with symbolic links resolved.
    target: PathBuf,
    content: Content,
    force: bool,
    inputs: Vec<PathBuf>,
    /// The file that exists already.
    old: Option<Metadata>,
}

impl Output {
    /// Checks that something can be written there, and that nothing is lost by it. `inputs` are the files
    /// that it is made from.
    ///
    /// # Errors
    /// What is in the way.
    pub fn new(path: &Path, content: Content, force: bool, inputs: Vec<PathBuf>) -> Result<Self> {
        let mut output = Self {
            named: path.to_owned(),
            target: path.to_owned(),
            content,
            force,
            inputs,
            old: None,
        };
        output.check()?;
        Ok(output)
    }

    fn check(&mut self) -> Result<()> {
        let name = self.named.display();
        self.old = None;
        match fs::metadata(&self.named) {
            Ok(data) => {
                let kind = Kind::of(data.file_type());
                ensure!(kind == Kind::File, "{name} is {kind}, not a file");
                let target = self.named.canonicalize();
                self.target = target.with_context(|| format!("cannot open {name}"))?;
                self.check_inputs()?;
                self.check_old()?;
                self.old = Some(data);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.check_new(),
            Err(error) => Err(error).context(format!("cannot write {name}")),
        }
    }

    /// Checks that the existing file is not an input under any name.
    fn check_inputs(&self) -> Result<()> {
        let name = self.named.display();
        let is_it = |input: &&PathBuf| is_same_file(input, &self.target);
        match self.inputs.iter().find(is_it) {
            None => Ok(()),
            Some(input) if *input == self.named => {
                bail!("{name} is an input: it cannot be the output as well")
            }
            Some(input) => {
                let input = input.display();
                bail!("{name} is the same file as the input {input}: it cannot be the output")
            }
        }
    }

    /// Checks that the existing file may be replaced.
    fn check_old(&self) -> Result<()> {
        if self.force {
            return Ok(());
        }
        let name = self.named.display();
        let mut options = OpenOptions::new();
        let writable = options.write(true).open(&self.target);
        writable.with_context(|| format!("cannot write {name}"))?;
        let mut file = HostFile::new(host_file::open(&self.target)?)?;
        let ours = file.size() == 0 || self.content.is_in(&mut file);
        file.check()
            .with_context(|| format!("cannot read {name}"))?;
        let what = self.content.name();
        ensure!(ours, "{name} exists and is not {what}: --force replaces it");
        Ok(())
    }

    /// Checks that a file can be created there.
    fn check_new(&self) -> Result<()> {
        let name = self.named.display();
        if let Ok(target) = fs::read_link(&self.named) {
            let target = target.display();
            bail!("{name} is a symbolic link to {target}, which does not exist");
        }
        let text = self.named.as_os_str().as_encoded_bytes();
        let directory = self.directory();
        let is_name = !text.ends_with(b"/") && self.named.file_name().is_some();
        ensure!(is_name, "{name:?} is not the name of a file");
        ensure!(
            fs::metadata(directory).is_ok_and(|data| data.is_dir()),
            "cannot write {name}: there is no directory {}",
            directory.display()
        );
        Ok(())
    }

    fn directory(&self) -> &Path {
        let parent = self.target.parent();
        let named = parent.filter(|parent| !parent.as_os_str().is_empty());
        named.unwrap_or(Path::new("."))
    }

    /// Writes it: `write` fills a new file, and its result is returned once that file has its name.
    ///
    /// # Errors
    /// Those of `write`, and those of the file system, in which case the old file is as it was.
    pub fn write<T>(mut self, write: impl FnOnce(&File) -> Result<T>) -> Result<T> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".bootpath-");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let made = signals::temporary_file(&builder, self.directory());
        let (temporary, registered) = made
            .map_err(without_path)
            .with_context(|| format!("cannot write {}", self.named.display()))?;
        let result = write(temporary.as_file())?;
        // That took a while: somebody may have put something else there.
        self.check()?;
        self.put(temporary, &registered)
            .with_context(|| format!("cannot write {}", self.named.display()))?;
        Ok(result)
    }

    /// Writes it, from memory.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_bytes(self, bytes: &[u8]) -> Result<()> {
        let cannot = format!("cannot write {}", self.named.display());
        self.write(|mut file| file.write_all(bytes).context(cannot))
    }

    /// Gives the new file the old one's name, owner and permissions.
    fn put(&self, temporary: NamedTempFile, _: &Registered) -> Result<()> {
        let file = temporary.as_file();
        if let Some(old) = &self.old {
            #[cfg(unix)]
            {
                use std::os::unix::fs::{MetadataExt as _, fchown};
                let new = file.metadata()?;
                if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
                    // Only root can give files away; others keep what they have made.
                    let _ = fchown(file, Some(old.uid()), Some(old.gid()));
                }
            }
            file.set_permissions(old.permissions())?;
            if old.len() > 0 {
                // The name must not lead to the new file before that is on the disk: a machine that
                // loses power would have neither.
                file.sync_data()?;
            }
        }
        temporary
            .persist(&self.target)
            .map_err(|error| error.error)?;
        Ok(())
    }
}

/// Whether two names lead to one file, through links of both kinds.
fn is_same_file(one: &Path, other: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let identity = |path: &Path| fs::metadata(path).map(|data| (data.dev(), data.ino())).ok();
        identity(one).is_some_and(|one| identity(other) == Some(one))
    }
    #[cfg(not(unix))]
    {
        let place = |path: &Path| path.canonicalize().ok();
        place(one).is_some_and(|one| place(other) == Some(one))
    }
}

/// An error of the crate `tempfile`, without the temporary name, which means nothing to the user.
pub fn without_path(error: io::Error) -> anyhow::Error {
    let text = error.to_string();
    match text.split_once(" at path ") {
        Some((cause, _)) => anyhow!("{cause}"),
        None => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_there_meanwhile_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.img");
        let input = directory.path().join("input");
        fs::write(&input, "input").unwrap();
        let attempt = |force, meanwhile: &dyn Fn()| {
            let inputs = vec![input.clone()];
            let output = Output::new(&path, Content::Image, force, inputs)?;
            output.write(|mut file| {
                file.write_all(b"new")?;
                meanwhile();
                Ok(())
            })
        };
        let text = |path: &Path| fs::read_to_string(path).unwrap();

        let error = attempt(false, &|| fs::write(&path, "a text").unwrap()).unwrap_err();
        assert!(error.to_string().contains("--force replaces it"), "{error}");
        assert_eq!(text(&path), "a text");

        fs::remove_file(&path).unwrap();
        let error = attempt(true, &|| fs::hard_link(&input, &path).unwrap()).unwrap_err();
        assert!(
            error.to_string().contains("cannot be the output"),
            "{error}"
        );
        assert_eq!(text(&input), "input");

        fs::remove_file(&path).unwrap();
        attempt(false, &|| {}).unwrap();
        assert_eq!(text(&path), "new");
        let names = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(names, 2);
    }
}
