//! Configuration, and compressed files.

use super::Add;

/// `abcabc`, as `gzip -n` packs it, and the same bytes in a block that is not compressed. Both lack
/// the first three bytes of the file.
pub(super) fn gzip(add: &mut Add<'_>) {
    let header = [0, 0, 0, 0, 0, 2, 3];
    let trailer = [0x4C, 0x99, 0x6E, 0x72, 6, 0, 0, 0];
    let packed = [0x4B, 0x4C, 0x4A, 0x4E, 0x4C, 0x4A, 6, 0];
    let stored = [&[1, 6, 0, 0xF9, 0xFF][..], b"abcabc"].concat();
    let file = |flags: u8, fields: &[u8], data: &[u8], trailer: &[u8]| {
        [&[flags], &header[1..], fields, data, trailer].concat()
    };
    add("gzip", "good", file(0, &[], &packed, &trailer));
    add("gzip", "good-stored", file(0, &[], &stored, &trailer));
    let fields = b"\x02\0xxname\0comment\0\0\0";
    let one = file(0, &[], &packed, &trailer);
    let again = [&[0x1F, 0x8B, 8][..], &one].concat();
    add("gzip", "good-members", [&one[..], &again, &again].concat());
    let zeros = [0; 40];
    let padded = [&one[..], &zeros, &again, &zeros[..3]].concat();
    add("gzip", "good-padded", padded);
    add("gzip", "words-behind", [&one[..], b"\0\0words"].concat());
    add("gzip", "good-fields", file(0x1E, fields, &packed, &trailer));
    add("gzip", "reserved-flag", file(0x80, &[], &packed, &trailer));
    add(
        "gzip",
        "name-without-end",
        file(8, b"name", &[1; 4], &trailer),
    );
    add("gzip", "bad-block", file(0, &[], &[7, 0], &trailer));
    add("gzip", "cut", file(0, &[], &packed[..4], &trailer));
    add(
        "gzip",
        "twice",
        file(0, &[], &[packed, packed].concat(), &trailer),
    );
    let wrong = |at: usize| {
        let mut trailer = trailer;
        trailer[at] ^= 1;
        file(0, &[], &packed, &trailer)
    };
    add("gzip", "checksum", wrong(0));
    add("gzip", "length", wrong(4));
    // Codes of variable length: 1240 bytes of one sentence, then numbers.
    let dynamic = [
        0, 0, 0, 0, 0, 2, 3, 0xED, 0xCE, 0xAB, 0x11, 3, 0x31, 0xC, 0x84, 0x61, 0xFE, 0x57, 0x71, 5,
    ];
    add("gzip", "dynamic-cut", [&dynamic[..], &trailer].concat());
}

pub(super) fn command_line(add: &mut Add<'_>) {
    let mut put = |name, text: &str| add("command_line", name, text.as_bytes().to_vec());
    put(
        "good",
        "# a comment\ntitle Mine\noptions one two\r\n\toptions \tthree \nmodule /a.bin\nmodule\t/b  text of b\n",
    );
    put("packed", "module /a.gz\npacked-module\t/b.gz  text of b\n");
    put("mark", "\u{FEFF}options x");
    put("no-path", "options\nmodule \t\r\n");
    put("nul", "options a\0b\n");
    put("returns", "options a\r\r\n\r\noptions b\r");
    put("modules", &"module m\n".repeat(33));
    put("long-line", &format!("options {}", "x".repeat(4090)));
    add("command_line", "not-utf-8", b"options \xFF\n".to_vec());
}

pub(super) fn entries(add: &mut Add<'_>) {
    let mut put = |name, conf: &str, files: &[(&str, &str)]| {
        let files = files.iter();
        let files: String = files
            .map(|(name, text)| format!("\u{1C}{name}\n{text}"))
            .collect();
        add("entries", name, format!("{conf}{files}").into_bytes());
    };
    put(
        "good",
        "timeout 5\ndefault b*\n",
        &[
            ("a.conf", "title A\nlinux /a\nsort-key k\nversion 6.10\n"),
            (
                "b+3-1.conf",
                "kernel /b\nsort-key k\nversion 6.9\nmachine-id 0f\n",
            ),
            ("c+0-3.conf", "chain drive=81h\n"),
            ("B.CONF", "linux /b\narchitecture aa64\n"),
        ],
    );
    put(
        "left-out",
        "timeout never\ndefault ?[a-c]\\d\n",
        &[
            ("a.conf", "title A\nmodule\n"),
            ("b.conf", "title B\n"),
            ("c.conf", "linux /a\nchain partition=1\n"),
            ("d.conf", "linux /a\nprotocol none\n"),
            (".e.conf", "linux /a\n"),
        ],
    );
    let name = |n: usize| format!("1.{n}~rc{n}.conf");
    let names: Vec<_> = (0..66).map(name).collect();
    let many: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), "linux l"))
        .collect();
    put("many", "default @saved", &many);
}
