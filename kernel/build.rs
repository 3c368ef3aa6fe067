//! Tells cargo what else the kernel is made of.

fn main() {
    // The demo looks at the registers before `_start` does: see src/entry.rs.
    println!("cargo::rustc-link-arg-bin=kernel=--entry=record_registers");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../targets/kernel.ld");
}
