//! The C header is what cbindgen makes of the Rust source.

use std::path::Path;
use std::{env, fs};

#[test]
fn header_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml");
    let mut header = Vec::new();
    cbindgen::Builder::new()
        .with_config(config)
        .with_src(root.join("src/lib.rs"))
        .generate()
        .expect("src/lib.rs")
        .write(&mut header);
    // Links to the documentation mean nothing in C. Constants of types that are not for C leave
    // empty lines at the end.
    let mut header = String::from_utf8(header)
        .expect("UTF-8")
        .replace("[`", "`")
        .replace("`]", "`");
    while header.contains("\n\n\n") {
        header = header.replace("\n\n\n", "\n\n");
    }

    let path = root.join("include/bootpath.h");
    if env::var_os("BLESS").is_some() {
        fs::write(&path, &header).expect("include/bootpath.h");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let difference = committed
        .lines()
        .zip(header.lines())
        .position(|(old, new)| old != new);
    assert!(
        committed == header,
        "include/bootpath.h is not what src/lib.rs says (first different line: {}).\n\
         To write it anew: BLESS=1 cargo test -p bootpath-handoff --test header",
        difference.map_or(
            committed.lines().count().min(header.lines().count()),
            |line| line
        ) + 1,
    );
}
