#!/usr/bin/env bash
# iPXE's kernel file (Debian's 1.0.0) looks like a bzImage of boot protocol 2.07, has code32_start 0, and keeps its own
# version as text where protocol 2.10 has pref_address and init_size, within the length that the header gives for itself.
# It can only be started by its 16-bit setup code. The crate linux-loader 0.14.0 loads it without an error: to guest address
# 0, over the interrupt vectors, and hands on the text as the preferred address. With a lowest address of 1 MiB it refuses.
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
needs cargo "cargo 1."
debian ipxe 1.0.0+git-20190125.36a4c85-5.1

program <<'EOT'
linux-loader = { version = "=0.14.0", features = ["bzimage"] }
vm-memory = { version = "0.18", features = ["backend-mmap"] }
EOT
cat >src/main.rs <<'EOT'
use std::fs::File;

use linux_loader::loader::KernelLoader as _;
use linux_loader::loader::bzimage::BzImage;
use vm_memory::{Address as _, GuestAddress, GuestMemoryMmap};

fn main() {
    let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 64 << 20)]).unwrap();
    for lowest in [None, Some(GuestAddress(1 << 20))] {
        let mut kernel = File::open("debian/boot/ipxe.lkrn").unwrap();
        match BzImage::load(&memory, None, &mut kernel, lowest) {
            Ok(loaded) => {
                let header = loaded.setup_header.unwrap();
                let (version, preferred) = (header.version, header.pref_address);
                let text = String::from_utf8_lossy(&preferred.to_le_bytes()).into_owned();
                println!("protocol {version:x}h, at {:#x}, pref_address {text:?}", loaded.kernel_load.raw_value());
            }
            Err(error) => println!("{error:?}"),
        }
    }
}
EOT
cargo run --quiet >seen.txt
expect "without a lowest address" 'protocol 207h, at 0x0, pref_address "25.36a4c"' "$(sed -n 1p seen.txt)"
expect "with one" "InvalidKernelStartAddress" "$(sed -n 2p seen.txt)"
