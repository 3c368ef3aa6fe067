//! The FAT reader against volumes made by mkfs.fat, mtools and `fatfs`, and by hand.

use boot_path::disk::fat::{Cache, Volume};

use crate::disks::*;

mod damage;
mod makers;
mod names;
mod reads;
mod small_files;
mod volumes;

const WINDOW: usize = 127 * 512;

/// The names of the files in a directory, and the bytes of all of them in one.
fn list(disk: &mut MemoryDisk, path: &str) -> Option<(Vec<String>, Vec<u8>)> {
    let mut memory = vec![0; 5 * 16 * 1024];
    let mut cache = Cache::new(&mut memory);
    let volume = Volume::open(disk, &mut cache, &whole(disk)).unwrap();
    let mut directory = volume.directory(disk, &mut cache, path).unwrap()?;
    let (mut names, mut bytes) = (Vec::new(), Vec::new());
    while let Some(listed) = directory.next(disk, &mut cache).unwrap() {
        let Ok(file) = listed.file else {
            continue;
        };
        names.push(listed.name.as_str().to_owned());
        bytes.extend(stream_file(disk, &mut cache, &volume, &file).unwrap());
    }
    Some((names, bytes))
}
