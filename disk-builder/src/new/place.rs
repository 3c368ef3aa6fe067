//! Where the folder goes: it is complete, or it is not there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use super::File;
use crate::host_file::Kind;
use crate::new_folders::NewFolders;
use crate::output::without_path;
use crate::signals;

/// A folder that does not exist, or is empty.
#[derive(Debug)]
pub struct Place<'p> {
    path: &'p Path,
    exists: bool,
}

impl<'p> Place<'p> {
    /// Checks that a new folder can be made there.
    pub fn new(path: &'p Path) -> Result<Self> {
        let name = path.display();
        let exists = match fs::metadata(path) {
            Ok(data) => {
                let kind = Kind::of(data.file_type());
                ensure!(
                    kind == Kind::Directory,
                    "{name} exists, and is {kind}: nothing was written"
                );
                let mut entries =
                    fs::read_dir(path).with_context(|| format!("cannot open {name}"))?;
                ensure!(
                    entries.next().is_none(),
                    "{name} exists, and is not empty: nothing was written"
                );
                true
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Ok(target) = fs::read_link(path) {
                    let target = target.display();
                    bail!("{name} is a symbolic link to {target}, which does not exist");
                }
                false
            }
            Err(error) => return Err(error).context(format!("cannot create {name}")),
        };
        Ok(Self { path, exists })
    }

    /// Writes the files, by their paths within the folder.
    pub fn fill(&self, files: &[File]) -> Result<()> {
        let cannot = || format!("cannot create {}", self.path.display());
        let parent = match self.exists {
            true => self.path,
            false => self.path.parent().unwrap_or(Path::new("")),
        };
        let parent = match parent.as_os_str().is_empty() {
            true => Path::new("."),
            false => parent,
        };
        // Declared first, so that they are removed last.
        let mut parents = NewFolders::make(parent).with_context(cannot)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".bootpath-");
        let (folder, _registered) = signals::temporary_directory_in(&builder, parent)
            .map_err(without_path)
            .with_context(cannot)?;
        for file in files {
            write(folder.path(), file).with_context(cannot)?;
        }
        match self.exists {
            true => move_all(folder.path(), self.path),
            false => fs::rename(folder.path(), self.path),
        }
        .with_context(cannot)?;
        parents.keep();
        Ok(())
    }
}

fn write(folder: &Path, file: &File) -> io::Result<()> {
    let path = folder.join(file.path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, file.text.as_bytes())
}

/// Moves everything from one folder to an empty one. If that fails, it is empty again.
fn move_all(from: &Path, to: &Path) -> io::Result<()> {
    let mut moved: Vec<PathBuf> = Vec::new();
    let mut move_them = || {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let target = to.join(entry.file_name());
            fs::rename(entry.path(), &target)?;
            moved.push(target);
        }
        Ok(())
    };
    let result = move_them();
    if result.is_err() {
        for path in moved {
            // The first error is the one to report.
            let _ = match path.is_dir() {
                true => fs::remove_dir_all(path),
                false => fs::remove_file(path),
            };
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string();
        let mut names: Vec<_> = entries.map(|entry| name(entry).unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_failure_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = |path| File {
            path,
            text: Cow::Borrowed("text"),
        };
        // The second file cannot be written: the first one is in the place of its folder.
        let files = [file("a"), file("a/b")];
        let path = directory.path().join("x/y/kernel");
        Place::new(&path).unwrap().fill(&files).unwrap_err();
        assert_eq!(names(directory.path()), [""; 0]);
        let place = directory.path().join("exists");
        fs::create_dir(&place).unwrap();
        Place::new(&place).unwrap().fill(&files).unwrap_err();
        assert_eq!(names(&place), [""; 0]);
        // Folders that others use meanwhile are theirs.
        let place = Place::new(&path).unwrap();
        fs::create_dir_all(path.join("theirs")).unwrap();
        place.fill(&files[..1]).unwrap_err();
        assert_eq!(names(&path), ["theirs"]);
        assert_eq!(names(path.parent().unwrap()), ["kernel"]);
    }

    #[test]
    fn a_move_that_fails_is_undone() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        for name in ["a", "b", "c"] {
            fs::create_dir_all(from.join(name).join("within")).unwrap();
        }
        fs::write(from.join("file"), "").unwrap();
        fs::create_dir_all(to.join("c/theirs")).unwrap();
        move_all(&from, &to).unwrap_err();
        assert_eq!(names(&to), ["c"]);
        assert_eq!(names(&to.join("c")), ["theirs"]);
    }
}
