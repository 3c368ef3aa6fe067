//! `/boot/kernel.conf` and the files of entries.

use boot_path::entry::entry_file::{
    EntryFileCause, EntryFileError, MAX_FILE, MAX_LINE, MAX_MODULES, Module, parse,
};
use boot_path::entry::protocol::{LinuxEntry, Protocol};
use boot_path::entry::target::Target;
use boot_path::entry::writable::{Unwritable, check_line, check_module, check_options};
use boot_path::errors::catalogue::Report;
use proptest::prelude::*;

fn command_line(text: &str) -> String {
    let entry = parse(text.as_bytes()).unwrap();
    let mut out = vec![0xFF; entry.command_line_length()];
    assert_eq!(entry.copy_command_line(&mut out), Some(out.len()));
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text, entry.options().collect::<Vec<_>>().join(" "));
    text
}

fn modules(text: &str) -> Vec<(&str, &str)> {
    let entry = parse(text.as_bytes()).unwrap();
    entry
        .modules()
        .map(|Module { path, string, .. }| (path, string))
        .collect()
}

#[track_caller]
fn assert_refused(bytes: &[u8], line: usize, cause: EntryFileCause) {
    assert_eq!(parse(bytes), Err(EntryFileError { line, cause }));
}

#[test]
fn a_file_with_everything() {
    let text = "# A comment\n\
        title  Demo  kernel\n\
        \n\
        options  exit   log=7\n\
        module /boot/modules/initrd  an initial  disk\n\
        \t # another\n\
        unknown /ignored\n\
        \toptions\tmore\t \n\
        module\t/b\n\
        optionsx no\n\
        options";
    for text in [
        text.to_string(),
        format!("{text}\n"),
        text.replace('\n', "\r\n"),
        format!("\u{FEFF}{text}\r"),
    ] {
        assert_eq!(command_line(&text), "exit   log=7 more");
        assert_eq!(
            modules(&text),
            [("/boot/modules/initrd", "an initial  disk"), ("/b", "")]
        );
    }
}

#[test]
fn the_protocol_is_one_that_there_is() {
    let protocol = |text: &str| parse(text.as_bytes()).unwrap().protocol();
    assert_eq!(protocol(""), None);
    for name in ["bootpath", "multiboot1", "linux", "linux16", "linux64"] {
        let found = protocol(&format!("protocol {name}\n")).unwrap();
        assert_eq!(found.name(), name);
    }
    assert_eq!(
        protocol("protocol linux\nprotocol\tlinux32 "),
        Some(Protocol::Linux(Some(LinuxEntry::Bits32)))
    );
    for text in ["\nprotocol Linux", "\nprotocol", "\nprotocol linux 16"] {
        assert_refused(text.as_bytes(), 2, EntryFileCause::UnknownProtocol);
    }
}

#[test]
fn another_boot_sector_is_named_by_drive_and_partition() {
    let chain = |text: &str| parse(text.as_bytes()).unwrap().chain();
    assert_eq!(chain("options x"), None);
    let (drive, partition) = (Some(0x81), 2);
    let target = Some(Target { drive, partition });
    assert_eq!(
        chain("chain partition=1\nchain\tdrive=81h  partition=2 "),
        target
    );
    assert_refused(b"chain", 1, EntryFileCause::Chain);
    assert_refused(b"\nchain hd0,2", 2, EntryFileCause::Chain);
}

#[test]
fn an_empty_file() {
    for text in ["", "\n\n", "\u{FEFF}", "#", "options\n options \n", "\r\n"] {
        assert_eq!(command_line(text), "");
        assert_eq!(modules(text), []);
    }
    assert_eq!(parse(b""), Ok(Default::default()));
}

#[test]
fn marks_of_other_systems() {
    for text in [
        "\u{FEFF}options a",
        "options a\r",
        "\u{FEFF}options a\r\n",
        " \toptions a",
    ] {
        assert_eq!(command_line(text), "a", "{text:?}");
    }
    for text in [
        "#options a",
        "# options a",
        " #options a",
        "options# a",
        "Options a",
    ] {
        assert_eq!(command_line(text), "", "{text:?}");
    }
}

#[test]
fn what_to_boot() {
    let entry = parse(b"linux vm linuz\nprotocol linux\n").unwrap();
    assert_eq!(entry.kernel(), Some("vm linuz"));
    assert_eq!(entry.protocol(), Some(Protocol::Linux(None)));
    assert_eq!(entry.chain(), None);
    // A file for two loaders: this loader's own key counts, wherever it is.
    for text in ["kernel /k\nlinux /l\n", "linux /l\nkernel /k\n"] {
        assert_eq!(parse(text.as_bytes()).unwrap().kernel(), Some("/k"));
    }
    let entry = parse(b"chain drive=81h").unwrap();
    assert!(entry.chain().is_some() && entry.kernel().is_none());
    let entry = parse(b"title a\nversion 1\nmachine-id 0f\nsort-key k\ntitle b\ntitle\n").unwrap();
    assert_eq!(entry.title(), Some("b"), "what was written last");
    assert_eq!(entry.version(), Some("1"));
    assert_eq!(entry.machine_id(), Some("0f"));
    assert_eq!(entry.sort_key(), Some("k"));
    let empty = parse(b"").unwrap();
    assert_eq!((empty.kernel(), empty.protocol()), (None, None));
}

/// As kernel-install of systemd writes it.
const INSTALLED: &str = "# Boot Loader Specification type#1 entry\n\
    title      Debian GNU/Linux 13 (trixie)\n\
    version    6.12.43+deb13-amd64\n\
    machine-id 6a9857a393724b7a981ebb5b8495b9ea\n\
    sort-key   debian\n\
    options    root=UUID=6d3376e4-fc93-4509-95ec-a21d68011da2 ro quiet systemd.machine_id=6a9857a393724b7a981ebb5b8495b9ea\n\
    linux      /6a9857a393724b7a981ebb5b8495b9ea/6.12.43+deb13-amd64/linux\n\
    initrd     /6a9857a393724b7a981ebb5b8495b9ea/6.12.43+deb13-amd64/initrd.img-6.12.43+deb13-amd64\n";

#[test]
fn a_file_of_kernel_install() {
    let entry = parse(INSTALLED.as_bytes()).unwrap();
    assert_eq!(
        entry.kernel(),
        Some("/6a9857a393724b7a981ebb5b8495b9ea/6.12.43+deb13-amd64/linux")
    );
    assert_eq!(
        modules(INSTALLED),
        [(
            "/6a9857a393724b7a981ebb5b8495b9ea/6.12.43+deb13-amd64/initrd.img-6.12.43+deb13-amd64",
            ""
        )]
    );
    assert!(command_line(INSTALLED).starts_with("root=UUID=6d3376e4-"));
    assert_eq!(entry.sort_key(), Some("debian"));
    assert!(!entry.is_for_others());
}

#[test]
fn modules_and_initrds_keep_their_order() {
    let text = "initrd /one file\nmodule /two a string\ninitrd three\nmodule /four\n";
    assert_eq!(
        modules(text),
        [
            ("/one file", ""),
            ("/two", "a string"),
            ("three", ""),
            ("/four", "")
        ]
    );
}

/// What GRUB's and systemd-boot's files have: see the chapter's table of facts.
#[test]
fn forms_of_other_loaders() {
    for (lines, paths) in [
        ("initrd /a $tuned_initrd", &["/a"][..]),
        (
            "initrd $early_initrd /a /b\ninitrd\t/c",
            &["/a", "/b", "/c"],
        ),
        ("initrd /ucode.img\t \\b.img", &["/ucode.img", "\\b.img"]),
        (r#"initrd "/a b" "/c" ${x}"#, &["/a b", "/c"]),
        ("initrd /a b /c", &["/a b", "/c"]),
        ("initrd", &[]),
        ("initrd $x", &[]),
        ("initrd \"\"", &[]),
        ("initrd \"/a", &["\"/a"]),
        ("initrd /$x", &["/$x"]),
    ] {
        let found: Vec<_> = modules(lines).into_iter().map(|(path, _)| path).collect();
        assert_eq!(found, paths, "{lines}");
    }
    for (value, expected) in [
        ("root=x $tuned_params", "root=x"),
        ("$kernelopts a  b ${c}  d", "a  b d"),
        ("a=$b $5 $ ${} ${x $a-b", "a=$b $5 $ ${} ${x $a-b"),
        (r#""quiet ro""#, "quiet ro"),
        (r#""a=b c" d="e""#, r#""a=b c" d="e""#),
        (r#"d="e f""#, r#"d="e f""#),
        ("$a $b", ""),
        ("\"", "\""),
    ] {
        assert_eq!(command_line(&format!("options {value}\r\n")), expected);
    }
    let entry = parse(b"title \"A b\"\nlinux \"/a b\"\nlinux\n").unwrap();
    assert_eq!(entry.title(), Some("A b"));
    assert_eq!(entry.kernel(), Some("/a b"));
    assert_eq!(parse(b"linux \t\r\n").unwrap().kernel(), None);
    let entry = parse(b"title A\ntitle \"\"\nlinux /a\nlinux \t\"\"\r").unwrap();
    assert_eq!(entry.title(), Some("A"), "nothing in quotation marks");
    assert_eq!(entry.kernel(), Some("/a"), "nothing in quotation marks");
    assert_refused(b"kernel \"\"", 1, EntryFileCause::NoPath("kernel"));
    let entry = parse(b"protocol \"linux16\"\nkernel \"/a b\"").unwrap();
    assert_eq!(entry.protocol().map(Protocol::name), Some("linux16"));
    assert_eq!(entry.kernel(), Some("/a b"));
    let entry = parse(b"chain \"drive=81h partition=2\"").unwrap();
    assert_eq!(entry.chain().map(|target| target.partition), Some(2));
    let most = format!("initrd{}", " /a".repeat(MAX_MODULES));
    assert_eq!(modules(&most).len(), MAX_MODULES);
    let more = format!("#\n{most} /b");
    assert_refused(more.as_bytes(), 2, EntryFileCause::TooManyModules);
    for text in ["\"a\"", "a $b", "$b"] {
        assert_eq!(check_options(text), Err(Unwritable::Removed));
    }
    assert_eq!(check_line("title", "\"a\""), Err(Unwritable::Removed));
}

#[test]
fn entries_for_others() {
    for (line, is_for_others) in [
        ("architecture x64", false),
        ("architecture X64", false),
        ("architecture", false),
        ("architecture IA32", true),
        ("architecture aa64", true),
        ("efi /x.efi", true),
        ("uki /x.efi", true),
        ("uki-url http://example.org/x", true),
        ("efi", false),
        ("profile 1", false),
    ] {
        let text = format!("linux /l\n{line}\n");
        let entry = parse(text.as_bytes()).unwrap();
        assert_eq!(entry.is_for_others(), is_for_others, "{line}");
    }
}

#[test]
fn a_command_line_needs_its_room() {
    let entry = parse(b"options ab\noptions cd\noptions ef").unwrap();
    assert_eq!(entry.command_line_length(), 8);
    for length in 0..8 {
        assert_eq!(entry.copy_command_line(&mut vec![0; length]), None);
    }
    let mut out = [b'.'; 10];
    assert_eq!(entry.copy_command_line(&mut out), Some(8));
    assert_eq!(&out, b"ab cd ef..");
}

#[test]
fn limits() {
    let longest = format!("options {}", "x".repeat(MAX_LINE - 8));
    assert_eq!(
        command_line(&format!("\n{longest}\r\n")).len(),
        MAX_LINE - 8
    );
    assert_refused(
        format!("\n{longest}x\n").as_bytes(),
        2,
        EntryFileCause::LineTooLong,
    );
    assert_refused(&[b'#'; MAX_LINE + 1], 1, EntryFileCause::LineTooLong);

    let full = "#\n".repeat(MAX_FILE / 2);
    assert!(parse(full.as_bytes()).is_ok());
    assert_refused(
        format!("{full}#").as_bytes(),
        0,
        EntryFileCause::FileTooLong,
    );

    let most = "module /m\n".repeat(MAX_MODULES);
    assert_eq!(modules(&most).len(), MAX_MODULES);
    let more = format!("{most}module /m");
    assert_refused(
        more.as_bytes(),
        MAX_MODULES + 1,
        EntryFileCause::TooManyModules,
    );
}

/// What the loader would unpack may be meant for the kernel as it is.
#[test]
fn modules_that_stay_packed() {
    let text = "module /a.gz\npacked-module\t/b.gz  text of  b \ninitrd /c.gz /d.gz\nmodule /e";
    let entry = parse(text.as_bytes()).unwrap();
    let packed = |path, string| (path, string, true);
    let plain = |path| (path, "", false);
    let modules: Vec<_> = entry
        .modules()
        .map(|module| (module.path, module.string, module.packed))
        .collect();
    let expected = [
        plain("/a.gz"),
        packed("/b.gz", "text of  b"),
        plain("/c.gz"),
        plain("/d.gz"),
        plain("/e"),
    ];
    assert_eq!(modules, expected);

    let most = "packed-module /m\n".repeat(MAX_MODULES);
    assert_eq!(modules_of(&most), MAX_MODULES);
    let more = format!("{most}packed-module /m");
    let cause = EntryFileCause::TooManyModules;
    assert_refused(more.as_bytes(), MAX_MODULES + 1, cause);
}

fn modules_of(text: &str) -> usize {
    parse(text.as_bytes()).unwrap().modules().count()
}

#[test]
fn refused_lines() {
    for key in ["module", "packed-module", "kernel"] {
        for text in [format!("title x\n{key}\n"), format!("\n{key} \t\r\n")] {
            assert_refused(text.as_bytes(), 2, EntryFileCause::NoPath(key));
        }
    }
    for name in ["", " linux2", " Linux"] {
        let text = format!("kernel /k\nprotocol{name}\n");
        assert_refused(text.as_bytes(), 2, EntryFileCause::UnknownProtocol);
    }
    for text in ["chain drive=81h\nlinux /l", "kernel /l\nchain partition=2"] {
        assert_refused(text.as_bytes(), 2, EntryFileCause::KernelAndChain);
    }
    assert_refused(b"\n\noptions a\0b\n", 3, EntryFileCause::Nul);
    assert_refused(b"\n# \xFF\n", 2, EntryFileCause::NotUtf8);
    assert_refused(b"\xFF\xFE\n", 1, EntryFileCause::NotUtf8);
    let error = parse(b"#\nmodule").unwrap_err();
    assert_eq!(
        Report(&error).to_string(),
        "error 9C: /boot/kernel.conf cannot be read: line 2: module without a path"
    );
}

#[test]
fn what_cannot_be_written() {
    for text in ["a\nb", "a\rb", "a\0", "\n"] {
        assert_eq!(check_options(text), Err(Unwritable::Control));
        assert_eq!(check_module("/m", text), Err(Unwritable::Control));
        assert_eq!(check_module(text, ""), Err(Unwritable::Control));
    }
    for text in [" a", "a ", "\ta", "a\t", " "] {
        assert_eq!(check_options(text), Err(Unwritable::Blank));
        assert_eq!(check_module("/m", text), Err(Unwritable::Blank));
        assert_eq!(check_module(text, ""), Err(Unwritable::Blank));
    }
    assert_eq!(check_line("title", ""), Err(Unwritable::Empty));
    assert_eq!(check_line("title", "a  b"), Ok(()));
    assert_eq!(check_line("title", "a\nb"), Err(Unwritable::Control));
    assert_eq!(check_line("title", " a"), Err(Unwritable::Blank));
    assert_eq!(
        check_line("title", &"x".repeat(MAX_LINE - 5)),
        Err(Unwritable::TooLong)
    );
    assert_eq!(check_module("/a b", ""), Err(Unwritable::Blank));
    assert_eq!(check_module("", "x"), Err(Unwritable::Empty));
    assert_eq!(check_options(&"x".repeat(MAX_LINE - 8)), Ok(()));
    assert_eq!(
        check_options(&"x".repeat(MAX_LINE - 7)),
        Err(Unwritable::TooLong)
    );
    assert_eq!(check_module("/m", &"x".repeat(MAX_LINE - 10)), Ok(()));
    assert_eq!(
        check_module("/m", &"x".repeat(MAX_LINE - 9)),
        Err(Unwritable::TooLong)
    );
}

/// Texts that are full of what matters here.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,40}",
        "[a #\t\n\r\0\u{FEFF}\u{85}\u{2028}]{0,8}",
        any::<String>()
    ]
}

proptest! {
    #[test]
    fn what_can_be_written_is_read(options in text(), path in text(), string in text()) {
        if check_options(&options).is_ok() {
            prop_assert_eq!(command_line(&format!("options {options}\n")), options);
        }
        if check_module(&path, &string).is_ok() {
            let line = format!("#\nmodule {path} {string}\n");
            prop_assert_eq!(modules(&line), [(path.as_str(), string.as_str())]);
        }
    }

    #[test]
    fn garbage_is_survived(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        lines in proptest::collection::vec((0..9usize, text()), 0..10),
    ) {
        let keys = [
            "options", "module", "title", "", "initrd", "kernel", "chain drive=80h", "protocol linux",
            "packed-module",
        ];
        let lines: String =
            lines.into_iter().map(|(key, text)| format!("{} {text}\n", keys[key])).collect();
        for bytes in [&bytes, lines.as_bytes()] {
            if let Ok(entry) = parse(bytes) {
                let length = entry.command_line_length();
                let mut out = vec![0; length];
                prop_assert_eq!(entry.copy_command_line(&mut out), Some(length));
                prop_assert!(entry.modules().count() <= MAX_MODULES);
                prop_assert!(entry.modules().all(|module| !module.path.is_empty()));
                prop_assert!(entry.kernel().is_none() || entry.chain().is_none());
                prop_assert!(entry.kernel().is_none_or(|path| !path.is_empty()));
                let _ = (entry.protocol(), entry.is_for_others());
            }
        }
    }
}
