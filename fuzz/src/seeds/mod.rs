//! Where fuzzing begins: inputs made by hand, good ones and bad ones, for each target.

mod disks;
mod kernels;
mod machine;
mod texts;
mod whole_path;

/// An input.
#[derive(Clone, Debug)]
pub struct Seed {
    /// The target that it is for.
    pub target: &'static str,
    /// What is in it. Inputs whose name begins with `good` are accepted.
    pub name: String,
    /// The input.
    pub bytes: Vec<u8>,
}

/// All of them.
pub fn all() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let mut add = |target, name: &str, bytes: Vec<u8>| {
        let name = name.to_owned();
        seeds.push(Seed {
            target,
            name,
            bytes,
        });
    };
    disks::mbr(&mut add);
    disks::fat(&mut add);
    for (name, file) in kernels::kernels() {
        add("elf", name, [vec![0], file].concat());
    }
    kernels::elf_note(&mut add);
    machine::memory_map(&mut add);
    texts::command_line(&mut add);
    texts::entries(&mut add);
    kernels::multiboot(&mut add);
    kernels::linux(&mut add);
    disks::chain(&mut add);
    kernels::limine(&mut add);
    machine::vbe(&mut add);
    machine::multiboot_information(&mut add);
    texts::gzip(&mut add);
    whole_path::boot_path(&mut add);
    for target in [
        "fat",
        "elf",
        "elf_note",
        "memory_map",
        "multiboot1",
        "multiboot2",
        "limine",
        "vbe",
        "boot_path",
    ] {
        // Noise, for the targets that make something of any bytes.
        for seed in 0..6 {
            let mut bytes = noise(seed, 100 + 40 * seed as usize);
            match target {
                "boot_path" => bytes[0] &= 0x31,
                _ => bytes[0] |= 1,
            }
            add(target, &format!("noise-{seed}"), bytes);
        }
    }
    machine::stage2_header(&mut add);
    seeds
}

type Add<'a> = dyn FnMut(&'static str, &str, Vec<u8>) + 'a;

fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9) ^ 0x5555_5555;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as u8
    };
    (0..length).map(|_| next()).collect()
}
