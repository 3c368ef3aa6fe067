//! Several entries: names, order, choice, and what `loader.conf` says.

use std::cell::Cell;
use std::cmp::Ordering;

use boot_path::entry::entries::{
    Entries, Item, LoaderConf, MAX_CANDIDATES, MAX_ENTRIES, MAX_PATTERN, NoEntry, Timeout, Tries,
    is_entry, matches,
};
use boot_path::entry::entry_file::{self, EntryFileCause, EntryFileError, MAX_FILE};
use boot_path::errors::catalogue::Report;
use boot_path::machine::Consoles;
use proptest::prelude::*;

/// Paths and texts of entries.
type Files<'a> = &'a [(&'a str, &'a str)];

fn read<'a>(files: Files<'a>) -> (Entries<'a>, Vec<String>) {
    let mut entries = Entries::default();
    let mut warnings = Vec::new();
    for (path, text) in files {
        let warning = entries.add(path, text.as_bytes());
        warnings.extend(warning.map(|warning| warning.to_string()));
    }
    warnings.extend(entries.rest().map(|warning| warning.to_string()));
    (entries, warnings)
}

/// The names in the order of the entries, which does not depend on the order in which they come.
#[track_caller]
fn assert_order(expected: &[(&str, &str)]) {
    let names: Vec<_> = expected.iter().map(|(name, _)| *name).collect();
    let mut turned = expected.to_vec();
    for _ in 0..expected.len() {
        turned.rotate_left(1);
        for files in [turned.clone(), turned.iter().rev().copied().collect()] {
            let (entries, warnings) = read(&files);
            assert_eq!(warnings, [""; 0]);
            let found: Vec<_> = entries.items().iter().map(|item| item.path).collect();
            assert_eq!(found, names, "{files:?}");
        }
    }
}

#[test]
fn names_of_entries() {
    for name in [
        "a.conf",
        "A.CONF",
        "6a98-3.8.0-2.fc19.x86_64+3-1.conf",
        "ä.conf",
    ] {
        assert!(is_entry(name), "{name}");
    }
    for name in [
        "", ".conf", "._a.conf", "a.conf~", "conf", "a.con", "aconf", "äconf",
    ] {
        assert!(!is_entry(name), "{name}");
    }
}

#[test]
fn newest_first_within_a_sort_key() {
    assert_order(&[
        ("/x.conf", "linux /l\nsort-key a\nversion 9\nmachine-id 1"),
        ("/b.conf", "linux /l\nsort-key b"),
        (
            "/7.conf",
            "linux /l\nsort-key b\nmachine-id 1\nversion 6.10",
        ),
        ("/9.conf", "linux /l\nsort-key b\nmachine-id 1\nversion 6.9"),
        (
            "/8.conf",
            "linux /l\nsort-key b\nmachine-id 1\nversion 6.9~rc1",
        ),
        ("/6.conf", "linux /l\nsort-key b\nmachine-id 1"),
        (
            "/5.conf",
            "linux /l\nsort-key b\nmachine-id 1\nversion \nsort-key",
        ),
        ("/4.conf", "linux /l\nsort-key b\nmachine-id 2\nversion 7"),
        // Without a sort-key, only the name counts.
        ("/z-10.conf", "linux /l\nversion 1"),
        ("/z-9.conf", "linux /l\nversion 2\nmachine-id 0"),
        ("/Z-10.conf", "linux /l"),
    ]);
}

#[test]
fn bad_ones_come_last() {
    assert_order(&[
        ("/k+3-0.conf", "linux /l\nsort-key b"),
        ("/a.conf", "linux /l"),
        ("/a+2-1.conf", "linux /l"),
        ("/a+1.conf", "linux /l"),
        ("/a+1-1.conf", "linux /l"),
        ("/k+0-3.conf", "linux /l\nsort-key a"),
        ("/b+0.conf", "linux /l"),
        ("/b+0-2.conf", "linux /l"),
    ]);
}

#[test]
fn boot_counters() {
    let tries = |path| Item::new(path, b"linux /l").unwrap().unwrap().tries();
    let some = |left, done| Some(Tries { left, done });
    assert_eq!(tries("/e/a+3.conf"), some(3, 0));
    assert_eq!(tries("/e/a+3-1.conf"), some(3, 1));
    assert_eq!(tries("/e/a+00-03.CONF"), some(0, 3));
    assert_eq!(tries("/e/a+1+2-3.conf"), some(2, 3));
    assert_eq!(
        tries("/e/a+99999999999-4294967296.conf"),
        some(u32::MAX, u32::MAX)
    );
    for path in [
        "/e/a.conf",
        "/e/a+.conf",
        "/e/a+x.conf",
        "/e/a+3-.conf",
        "/e/a+-3.conf",
        "/e/a+3-1-1.conf",
        "/e/a+3.1.conf",
        "/e/a+3 .conf",
        "/e+3/a.conf",
    ] {
        assert_eq!(tries(path), None, "{path}");
    }
}

fn chosen(files: Files<'_>, pattern: Option<&str>) -> Result<(String, bool), NoEntry> {
    let (entries, _) = read(files);
    let choice = entries.choose(pattern)?;
    Ok((choice.item.name().to_owned(), choice.unmatched.is_none()))
}

#[test]
fn the_default() {
    let files = [
        ("/loader/entries/arch-1.conf", "linux /l"),
        ("/loader/entries/arch-2+0-3.conf", "linux /l"),
        ("/loader/entries/arch-10+3.conf", "linux /l"),
        ("/loader/entries/zeta.conf", "linux /l"),
    ];
    for (pattern, expected) in [
        (None, "zeta.conf"),
        (Some("zeta.conf"), "zeta.conf"),
        (Some("arch*"), "arch-10+3.conf"),
        (Some("ARCH-1"), "arch-1.conf"),
        (Some("arch-1.conf"), "arch-1.conf"),
        (Some("arch-10.conf"), "arch-10+3.conf"),
        (Some("arch-?.conf"), "arch-1.conf"),
        (Some("arch-[2-9]*"), "arch-2+0-3.conf"),
        (Some("*.conf"), "zeta.conf"),
    ] {
        assert_eq!(
            chosen(&files, pattern),
            Ok((expected.to_owned(), true)),
            "{pattern:?}"
        );
    }
    let longest = format!("[{}]rch-1", "a".repeat(MAX_PATTERN - 7));
    assert_eq!(longest.len(), MAX_PATTERN);
    let found = chosen(&files, Some(&longest));
    assert_eq!(found, Ok(("arch-1.conf".to_owned(), true)));
    let longer = longest.replace("[", "[a");
    for pattern in ["arch", "@saved", "arch-3*", "", "zeta.con", &longer] {
        let first = Ok(("zeta.conf".to_owned(), false));
        assert_eq!(chosen(&files, Some(pattern)), first, "{pattern:?}");
    }
}

#[test]
fn what_cannot_be_booted_is_named() {
    let files = [
        ("/loader/entries/a.conf", "title a\nmodule\n"),
        ("/loader/entries/b.conf", "title b\n"),
        ("/loader/entries/c.conf", "linux /l\narchitecture aa64\n"),
        ("/loader/entries/d.conf", "linux /l\n"),
    ];
    let (entries, warnings) = read(&files);
    assert_eq!(
        warnings,
        [
            "/loader/entries/a.conf is left out: line 2: module without a path",
            "/loader/entries/b.conf is left out: it names nothing to boot",
        ]
    );
    assert_eq!(entries.items().len(), 1);
    assert!(!entries.is_empty());

    let (entries, _) = read(&files[..3]);
    assert!(!entries.is_empty());
    let error = entries.choose(None).unwrap_err();
    assert_eq!((error.skipped, error.hidden), (2, 1));
    assert!(
        Report(&error)
            .to_string()
            .ends_with(": no boot entry can be used: 2 left out, 1 for other machines")
    );
    assert!(read(&[]).0.is_empty());
}

#[test]
fn there_is_room_for_so_many() {
    let paths: Vec<_> = (0..MAX_ENTRIES + 2)
        .map(|n| format!("/e/{n}.conf"))
        .collect();
    let files: Vec<_> = paths
        .iter()
        .map(|path| (path.as_str(), "linux /l"))
        .collect();
    let (entries, warnings) = read(&files);
    assert_eq!(entries.items().len(), MAX_ENTRIES);
    assert_eq!(entries.items()[0].path, "/e/63.conf");
    assert_eq!(entries.items()[MAX_ENTRIES - 1].path, "/e/0.conf");
    assert_eq!(
        warnings,
        ["/e/64.conf is left out: more than 64 entries; so are 1 more"]
    );
    let (_, warnings) = read(&files[..MAX_ENTRIES + 1]);
    assert_eq!(warnings, ["/e/64.conf is left out: more than 64 entries"]);
    assert_eq!(read(&files[..MAX_ENTRIES]).1, [""; 0]);
}

/// Of three thousand good and bad entries, few are read, and few lines are printed.
#[test]
fn many_files() {
    let path = |n: usize| format!("/e/{n}.conf");
    let paths: Vec<_> = (0..3000).map(path).collect();
    let named = |n: usize| format!("{} is left out: line 1: module without a path", path(n));

    let bad: Vec<_> = paths.iter().map(|path| (path.as_str(), "module")).collect();
    let (entries, mut warnings) = read(&bad);
    let rest = warnings.pop().unwrap();
    assert_eq!(warnings, (0..8).map(named).collect::<Vec<_>>());
    assert_eq!(rest, format!("{}; so are 2991 more", named(8)));
    assert_eq!(entries.choose(None).unwrap_err().skipped, 3000);

    // One good entry among them.
    let mut some = bad.clone();
    some[MAX_CANDIDATES - 1].1 = "linux /l";
    some[MAX_CANDIDATES].1 = "linux /l";
    let (entries, _) = read(&some);
    let found: Vec<_> = entries.items().iter().map(|item| item.path).collect();
    assert_eq!(found, [paths[MAX_CANDIDATES - 1].as_str()]);

    // Entries for other loaders are not worth a line, but they count towards the limit all the
    // same.
    let others: Vec<_> = paths.iter().map(|path| (path.as_str(), "efi /x")).collect();
    let (entries, warnings) = read(&others);
    let expected = "/e/256.conf is left out: more than 256 files; so are 2743 more";
    assert_eq!(warnings, [expected]);
    assert_eq!(entries.choose(None).unwrap_err().hidden, 256);

    // A file that cannot become an entry any more need not be read.
    let mut entries = Entries::new();
    for (read, path) in paths.iter().enumerate() {
        if let Some(error) = entries.full() {
            assert_eq!((read, error.cause), (64, EntryFileCause::TooManyEntries));
            break;
        }
        assert!(entries.add(path, b"linux /l").is_none());
    }
}

/// In whatever order they come, each entry is compared with few of the others.
#[test]
fn few_comparisons() {
    let paths: Vec<_> = (0..MAX_ENTRIES)
        .map(|n| format!("/e/{n:02}.conf"))
        .collect();
    for order in [
        (0..MAX_ENTRIES).collect::<Vec<_>>(),
        (0..MAX_ENTRIES).rev().collect(),
        (0..MAX_ENTRIES).map(|n| n * 37 % MAX_ENTRIES).collect(),
    ] {
        let mut entries = Entries::new();
        let mut comparisons = 0;
        for index in order {
            let mut compare = |one: &Item<'_>, other: &Item<'_>| {
                comparisons += 1;
                one.compare(other)
            };
            let warning = entries.add_by(&paths[index], b"linux /l", &mut compare);
            assert_eq!(warning, None);
        }
        assert!(comparisons <= MAX_ENTRIES * 7, "{comparisons}");
        let found = entries.items().iter().map(|item| item.path);
        assert!(found.eq(paths.iter().rev().map(String::as_str)));
    }
}

/// Lines that count how often they are taken.
fn counted<'a>(text: &'a str, taken: &'a Cell<usize>) -> impl Iterator<Item = &'a str> {
    text.lines().inspect(|_| taken.set(taken.get() + 1))
}

#[test]
fn a_line_is_taken_once() {
    let blank = "\n".repeat(MAX_FILE - 20);
    for text in [
        format!("{blank}linux /l\nversion 1\n"),
        format!("linux /l\nsort-key a\n{blank}"),
    ] {
        let taken = Cell::new(0);
        let entry = entry_file::read_lines(&text, counted(&text, &taken)).unwrap();
        assert_eq!(taken.get(), text.lines().count());
        // Later questions read no more lines.
        assert_eq!((entry.kernel(), entry.title()), (Some("/l"), None));
        assert!(!entry.is_for_others());
        let item = Item::new("/a.conf", text.as_bytes()).unwrap().unwrap();
        assert_eq!((item.compare(&item), item.text), (Ordering::Equal, entry));
        assert_eq!(taken.get(), text.lines().count());
    }
    let text = format!("{blank}timeout 1\ndefault a");
    let taken = Cell::new(0);
    let (conf, error) = LoaderConf::read_lines(counted(&text, &taken));
    assert_eq!((conf.default_entry(), error), (Some("a"), None));
    assert_eq!(conf.timeout(), Some(Timeout::Seconds(1)));
    assert_eq!((conf.console(), taken.get()), (None, text.lines().count()));
}

#[test]
fn loader_conf() {
    let parse = |text: &'static str| LoaderConf::parse(text.as_bytes());
    let (conf, error) = parse("# x\ntimeout 5\ndefault  arch-*\nconsole-mode max\neditor no\n");
    assert_eq!(error, None);
    assert_eq!(conf.default_entry(), Some("arch-*"));
    assert_eq!(conf.timeout(), Some(Timeout::Seconds(5)));
    assert_eq!(parse(""), (LoaderConf::default(), None));
    for (text, expected) in [
        ("timeout menu-force", Timeout::Forever),
        ("timeout menu-hidden", Timeout::Seconds(0)),
        ("timeout menu-disabled\r\n", Timeout::Seconds(0)),
        ("timeout 1\ntimeout 99999999999", Timeout::Seconds(u32::MAX)),
    ] {
        assert_eq!(parse(text).0.timeout(), Some(expected), "{text}");
    }
    let at = |serial, screen| Some(Consoles { serial, screen });
    for (text, expected) in [
        ("default a", None),
        ("console serial", at(true, false)),
        ("console screen\r\n", at(false, true)),
        ("console  none ", at(false, false)),
        ("console none\nconsole both", at(true, true)),
    ] {
        assert_eq!(parse(text).1, None, "{text}");
        assert_eq!(parse(text).0.console(), expected, "{text}");
    }
    for text in [
        "timeout 1\nconsole\n",
        "\nconsole Serial\n",
        "\nconsole serial screen",
    ] {
        let (conf, error) = parse(text);
        let cause = EntryFileCause::Console;
        assert_eq!(error, Some(EntryFileError { line: 2, cause }), "{text}");
        assert_eq!(conf.console(), None);
    }
    // The rest of the file counts.
    for text in [
        "default a\ntimeout soon\n",
        "default a\ntimeout\n",
        "default a\ntimeout -1",
    ] {
        let (conf, error) = parse(text);
        let cause = EntryFileCause::Timeout;
        assert_eq!(error, Some(EntryFileError { line: 2, cause }), "{text}");
        assert_eq!((conf.default_entry(), conf.timeout()), (Some("a"), None));
    }
    let (conf, error) = parse("default a\n\0");
    let cause = EntryFileCause::Nul;
    assert_eq!(error, Some(EntryFileError { line: 2, cause }));
    assert_eq!(conf, LoaderConf::default());
}

#[test]
fn patterns() {
    for (pattern, name) in [
        ("", ""),
        ("*", ""),
        ("**", "abc"),
        ("a*c", "abbbc"),
        ("a*c*", "abcbd"),
        ("*b*b*", "abab"),
        ("A?c", "aBC"),
        ("[a-c]x", "Bx"),
        ("[A-C]x", "bx"),
        ("[]x]", "]"),
        ("[a-]", "-"),
        ("[-a]", "-"),
        ("[a\\]b]", "]"),
        ("\\*", "*"),
        ("\\A", "a"),
        ("a]", "a]"),
        ("*.conf", "x.conf"),
    ] {
        assert!(matches(pattern, name, ""), "{pattern} {name}");
        for at in 0..=name.len() {
            assert!(
                matches(pattern, &name[..at], &name[at..]),
                "{pattern} {name}"
            );
        }
    }
    for (pattern, name) in [
        ("", "a"),
        ("a", ""),
        ("?", ""),
        ("a*c", "abb"),
        ("[", "["),
        ("[a", "a"),
        ("[]", "]"),
        ("[a-", "a"),
        ("[c-a]", "b"),
        ("[!a]", "b"),
        ("\\", "\\"),
        ("\\*", "a"),
        ("[ab]", "ab"),
    ] {
        assert!(!matches(pattern, name, ""), "{pattern} {name}");
    }
    // No combination of stars takes long.
    let pattern = "*a".repeat(100);
    assert!(!matches(&pattern, &"ab".repeat(99), ""));
}

/// The same by recursion.
fn naive(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], _) => name.is_empty(),
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|taken| naive(rest, &name[taken..])),
        ([b'?', rest @ ..], [_, behind @ ..]) => naive(rest, behind),
        ([one, rest @ ..], [other, behind @ ..]) => {
            one.eq_ignore_ascii_case(other) && naive(rest, behind)
        }
        _ => false,
    }
}

fn entry() -> impl Strategy<Value = (String, String)> {
    let line = prop_oneof![
        "(sort-key|version|machine-id) [ab0-2.~-]{0,3}",
        "(linux|kernel|initrd|module|chain|title|protocol|efi|architecture) ?[a-z/]{0,4}",
        any::<String>()
    ];
    let name = "[a-b0-2+.-]{1,6}(\\+[0-2](-[0-2])?)?\\.conf";
    let lines = proptest::collection::vec(line, 0..6);
    (name, lines).prop_map(|(name, lines)| (name, format!("linux l\n{}", lines.join("\n"))))
}

/// A failure shows its smallest input; nothing is kept in a file.
fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn patterns_match_as_by_recursion(pattern in "[ab*?]{0,8}", name in "[abAB]{0,8}") {
        prop_assert_eq!(matches(&pattern, &name, ""), naive(pattern.as_bytes(), name.as_bytes()));
    }

    #[test]
    fn any_pattern_is_survived(pattern in any::<String>(), name in any::<String>()) {
        let _ = matches(&pattern, &name, ".conf");
    }

    #[test]
    fn any_files_are_survived(
        files in proptest::collection::vec(entry(), 0..12),
        pattern in proptest::option::of("[ab*?0-2.]{0,5}"),
    ) {
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let (entries, warnings) = read(&files);
        prop_assert!(entries.items().len() + warnings.len() <= files.len());
        for item in entries.items() {
            prop_assert!(item.text.kernel().is_some() != item.text.chain().is_some());
            prop_assert_eq!(item.compare(item), Ordering::Equal);
        }
        for pair in entries.items().windows(2) {
            prop_assert_eq!(pair[0].compare(&pair[1]), pair[1].compare(&pair[0]).reverse());
            prop_assert!(pair[0].is_bad() <= pair[1].is_bad());
        }
        let choice = entries.choose(pattern.as_deref());
        prop_assert_eq!(choice.is_err(), entries.items().is_empty());
    }
}
