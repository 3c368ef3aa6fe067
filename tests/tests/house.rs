//! The measures of the house: how long files, functions and unsafe blocks may be, how many files a
//! folder may have, and which module may import which.
//!
//! Each rule measures things and has a limit for them. [`TODAY`] lists what exceeds a limit today:
//! it may shrink but not grow, and a row that is no longer needed has to go.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use disk_builder::stages::workspace;
use house::modules::Crate;
use house::source::{Piece, Source, below};

mod house {
    pub mod modules;
    pub mod source;
}

/// A rule: what it measures, and the limit.
struct Rule {
    name: &'static str,
    limit: usize,
    measure: fn(&House) -> Vec<Measure>,
}

/// One measurement of a rule.
#[derive(Debug, PartialEq, Eq)]
struct Measure {
    /// The thing: a path, or another name under which [`TODAY`] lists it.
    of: String,
    /// The amount that was measured.
    count: usize,
    /// Where it is, for a person.
    place: String,
}

const FILE: &str = "lines of a file";
const FUNCTION: &str = "lines of a function, assembly aside";
const CUTS: &str = "lines `// ---` that cut a file";
const FOLDER: &str = "files of a folder";
const CIRCLES: &str = "modules in a circle of imports";
const ORDER: &str = "imports of a module that is declared later";
const ROOT: &str = "imports of the file at the crate's root";
const UNSAFE: &str = "unsafe blocks of the loader";
const UNSAFE_LINES: &str = "lines of an unsafe block";
const UNSAFE_FILES: &str = "files of the loader that allow unsafe code";
const FORBIDS: &str = "libraries without `forbid(unsafe_code)`";
const MACHINE: &str = "lines of the machine's half";

/// All rules.
#[rustfmt::skip]
const RULES: [Rule; 12] = [
    Rule { name: FILE, limit: 700, measure: file_lines },
    Rule { name: FUNCTION, limit: 60, measure: function_lines },
    Rule { name: CUTS, limit: 0, measure: cuts },
    Rule { name: FOLDER, limit: 16, measure: files_of_folders },
    Rule { name: CIRCLES, limit: 0, measure: circles },
    Rule { name: ORDER, limit: 0, measure: against_the_order },
    Rule { name: ROOT, limit: 0, measure: imports_of_the_root },
    Rule { name: UNSAFE, limit: 70, measure: unsafe_blocks },
    Rule { name: UNSAFE_LINES, limit: 10, measure: unsafe_lines },
    Rule { name: UNSAFE_FILES, limit: 20, measure: unsafe_files },
    Rule { name: FORBIDS, limit: 0, measure: missing_forbid },
    Rule { name: MACHINE, limit: 4000, measure: machine_lines },
];

/// What exceeds its limit today, and by how much: rule, thing, number.
#[rustfmt::skip]
const TODAY: &[(&str, &str, usize)] = &[];

/// The loader: what runs on the machine.
const LOADER: [&str; 2] = ["stage1", "stage2"];
/// The half of the boot path that only a machine has.
const MACHINE_HALF: &str = "stage2";
/// The half that is a library. Its modules are declared in the order in which they need each other.
const LIBRARY: &str = "boot-path";

/// The sources of the workspace, by crate.
struct House {
    crates: Vec<Crate>,
}

impl House {
    /// The members of the workspace.
    fn of(workspace: &Path) -> Self {
        let manifest = fs::read_to_string(workspace.join("Cargo.toml")).expect("Cargo.toml");
        let members = manifest.split_once("members = [").expect("members").1;
        let members = members.split_once(']').expect("an end").0;
        let members: Vec<_> = members.split('"').skip(1).step_by(2).collect();
        assert!(members.len() > 5, "{members:?}");
        let crates = members.iter().map(|member| {
            // The folder of a member may contain another member.
            let others = members.iter().filter(|other| *other != member);
            let mut sources = below(workspace, member);
            for other in others.filter(|other| other.starts_with(&format!("{member}/"))) {
                sources.retain(|source| !source.path.starts_with(&format!("{other}/")));
            }
            Crate::new(member, sources)
        });
        Self {
            crates: crates.collect(),
        }
    }

    fn sources(&self) -> impl Iterator<Item = &Source> {
        self.crates.iter().flat_map(|one| &one.sources)
    }

    fn named<'h>(&'h self, names: &'h [&str]) -> impl Iterator<Item = &'h Crate> {
        let crates = self.crates.iter();
        crates.filter(|one| names.contains(&one.name.as_str()))
    }

    /// The files in `src` of the crates with these names.
    fn source_folders<'h>(&'h self, names: &'h [&str]) -> impl Iterator<Item = &'h Source> {
        self.named(names).flat_map(Crate::source_folder)
    }
}

fn measure(of: &str, count: usize, place: &str) -> Measure {
    Measure {
        of: of.into(),
        count,
        place: place.into(),
    }
}

fn file_lines(house: &House) -> Vec<Measure> {
    let measure =
        |source: &Source| measure(&source.path, source.text.lines().count(), &source.path);
    house.sources().map(measure).collect()
}

/// One measure for each piece. Pieces of the same name in one file count as one thing, whose
/// measure is that of the longest.
fn pieces<'h>(
    sources: impl Iterator<Item = &'h Source>,
    pieces: fn(&Source) -> Vec<Piece>,
) -> Vec<Measure> {
    let mut longest = BTreeMap::new();
    for source in sources {
        for piece in pieces(source) {
            let of = format!("{} {}", source.path, piece.name);
            let place = format!("{}:{} {}", source.path, piece.line, piece.name);
            let of = of.trim_end();
            let most = longest.entry(of.to_owned()).or_insert(measure(of, 0, ""));
            if piece.lines > most.count {
                *most = measure(of, piece.lines, place.trim_end());
            }
        }
    }
    longest.into_values().collect()
}

fn function_lines(house: &House) -> Vec<Measure> {
    pieces(house.sources(), Source::functions)
}

fn cuts(house: &House) -> Vec<Measure> {
    let cuts = |source: &Source| {
        let mut lines = (1..).zip(source.text.lines());
        let is_cut = |line: &&str| line.trim_start().starts_with("// ---");
        let first = lines.find(|(_, line)| is_cut(line))?.0;
        let count = source.text.lines().filter(is_cut).count();
        Some(measure(
            &source.path,
            count,
            &format!("{}:{first}", source.path),
        ))
    };
    house.sources().filter_map(cuts).collect()
}

/// Only folders within `src`: a crate's other folders have one file for each program or test.
fn files_of_folders(house: &House) -> Vec<Measure> {
    let mut folders = BTreeMap::<_, usize>::new();
    for source in house.crates.iter().flat_map(Crate::source_folder) {
        let folder = source.path.rsplit_once('/').expect("a folder").0;
        *folders.entry(folder).or_default() += 1;
    }
    let folders = folders.into_iter();
    folders
        .map(|(path, count)| measure(path, count, path))
        .collect()
}

/// In the boot path, circles of modules directly in `src`, files or folders; elsewhere, circles of
/// such folders.
fn circles(house: &House) -> Vec<Measure> {
    let circles = house.crates.iter().map(|one| {
        let strict = [LIBRARY, MACHINE_HALF].contains(&one.name.as_str());
        let (modules, imports) = one.circles(strict);
        measure(
            &one.name,
            modules.len(),
            &format!("{}: {}", one.name, imports.join("; ")),
        )
    });
    circles.collect()
}

fn against_the_order(house: &House) -> Vec<Measure> {
    let mut found = BTreeMap::<_, Vec<_>>::new();
    for import in house.named(&[LIBRARY]).flat_map(Crate::against_the_order) {
        let key = format!("{} -> {}", import.from, import.to);
        found.entry(key).or_default().push(import.place);
    }
    let found = found.into_iter();
    found
        .map(|(key, places)| measure(&key, places.len(), &format!("{key}: {}", places.join(", "))))
        .collect()
}

fn imports_of_the_root(house: &House) -> Vec<Measure> {
    let mut found = BTreeMap::<_, Vec<_>>::new();
    for one in &house.crates {
        // The root of a library that is not the boot path may be imported.
        if one.is_program() || one.name == LIBRARY {
            for import in one.imports_of_the_root() {
                found.entry(import.from).or_default().push(import.place);
            }
        }
    }
    let found = found.into_iter();
    found
        .map(|(key, places)| measure(&key, places.len(), &places.join(", ")))
        .collect()
}

fn unsafe_blocks(house: &House) -> Vec<Measure> {
    let count = |source: &Source| source.text.matches("unsafe {").count();
    let (mut all, mut places) = (0, Vec::new());
    for source in house
        .source_folders(&LOADER)
        .filter(|source| count(source) > 0)
    {
        all += count(source);
        places.push(format!("{} {}", source.path, count(source)));
    }
    vec![measure("stage1 and stage2", all, &places.join(", "))]
}

fn unsafe_lines(house: &House) -> Vec<Measure> {
    pieces(house.source_folders(&LOADER), Source::unsafe_blocks)
}

fn unsafe_files(house: &House) -> Vec<Measure> {
    let allow = |source: &&Source| source.has_lint("allow", "unsafe_code");
    let files: Vec<_> = house
        .source_folders(&LOADER)
        .filter(allow)
        .map(|source| source.path.as_str())
        .collect();
    vec![measure("stage1 and stage2", files.len(), &files.join(", "))]
}

fn missing_forbid(house: &House) -> Vec<Measure> {
    let root = format!("{LIBRARY}/src/lib.rs");
    let forbids = house
        .sources()
        .any(|source| source.path == root && source.has_lint("forbid", "unsafe_code"));
    vec![measure(LIBRARY, usize::from(!forbids), &root)]
}

fn machine_lines(house: &House) -> Vec<Measure> {
    let lines = |source: &Source| source.text.lines().count();
    let count = house.source_folders(&[MACHINE_HALF]).map(lines).sum();
    vec![measure(MACHINE_HALF, count, "stage2/src")]
}

/// The faults that a rule finds.
fn faults(rule: &Rule, measures: &[Measure], today: &[(&str, &str, usize)]) -> Vec<String> {
    let Rule { name, limit, .. } = rule;
    let mut rows: BTreeMap<_, _> = today
        .iter()
        .filter(|row| row.0 == *name)
        .map(|row| (row.1, row.2))
        .collect();
    let mut faults = Vec::new();
    for Measure { of, count, place } in measures.iter().filter(|one| one.count > *limit) {
        match rows.remove(of.as_str()) {
            None => faults.push(format!("{name}: {count}, at most {limit}: {place}")),
            Some(most) if *count > most => faults.push(format!(
                "{name}: {count}; it had {most}, and must not grow: {place}"
            )),
            Some(_) => {}
        }
    }
    for (of, _) in rows {
        faults.push(format!(
            "{name}: {of} keeps the limit now: take its row out of TODAY"
        ));
    }
    faults
}

#[test]
fn the_house_keeps_its_measures() {
    let house = House::of(workspace());
    let mut found = Vec::new();
    for rule in &RULES {
        found.extend(faults(rule, &(rule.measure)(&house), TODAY));
    }
    let known: BTreeSet<_> = RULES.iter().map(|rule| rule.name).collect();
    let unknown = TODAY.iter().filter(|row| !known.contains(row.0));
    found.extend(unknown.map(|row| format!("TODAY: no rule is called {:?}", row.0)));
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// A rule that finds nothing to measure would always be kept.
#[test]
fn the_rules_see_this_tree() {
    let house = House::of(workspace());
    for name in LOADER.iter().chain([&MACHINE_HALF, &LIBRARY]) {
        assert_eq!(house.named(&[name]).count(), 1, "{name}");
    }
    for (rule, least) in [
        (FILE, 300),
        (FUNCTION, 40),
        (FOLDER, 10),
        (UNSAFE, 20),
        (UNSAFE_LINES, 3),
        (UNSAFE_FILES, 5),
        (MACHINE, 1000),
    ] {
        let rule = RULES.iter().find(|it| it.name == rule).expect("a rule");
        let most = (rule.measure)(&house).iter().map(|it| it.count).max();
        assert!(most >= Some(least), "{}: {most:?}", rule.name);
    }
}

/// What exceeds a rule's limit in a workspace of these files.
fn found(rule: &str, files: &[(&str, &str)]) -> Vec<(String, usize)> {
    let mut crates = BTreeMap::<_, Vec<_>>::new();
    for (path, text) in files {
        let name = path.split('/').next().expect("a crate");
        crates
            .entry(name)
            .or_default()
            .push(Source::new(path, text));
    }
    let crates = crates.into_iter();
    let house = House {
        crates: crates
            .map(|(name, sources)| Crate::new(name, sources))
            .collect(),
    };
    let rule = RULES.iter().find(|one| one.name == rule).expect("a rule");
    let measures = (rule.measure)(&house).into_iter();
    let beyond = measures.filter(|one| one.count > rule.limit);
    beyond.map(|one| (one.of, one.count)).collect()
}

fn one(of: &str, count: usize) -> Vec<(String, usize)> {
    vec![(of.into(), count)]
}

#[test]
fn files_and_folders_are_measured() {
    let lines = |count| "//\n".repeat(count);
    let (right, long) = (lines(700), lines(701));
    let files = [("x/src/a.rs", &*right), ("x/tests/b.rs", &*long)];
    assert_eq!(found(FILE, &files), one("x/tests/b.rs", 701));

    let cut = "fn f() {}\n// --- Two ---\n    // ---\n// -- no\n//! // --- no\n";
    let files = [
        ("x/src/a.rs", cut),
        ("x/src/b.rs", "let text = \"// ---\";"),
    ];
    assert_eq!(found(CUTS, &files), one("x/src/a.rs", 2));

    let names: Vec<_> = (0..17).map(|n| format!("x/src/a/f{n}.rs")).collect();
    let files: Vec<_> = names.iter().map(|name| (&**name, "")).collect();
    assert_eq!(found(FOLDER, &files), one("x/src/a", 17));
    assert_eq!(found(FOLDER, &files[1..]), []);

    let (half, more) = (lines(2000), lines(2001));
    let files = [
        ("stage2/src/a.rs", &*half),
        ("stage2/src/b/c.rs", &*more),
        ("stage2/tests/d.rs", "//"),
    ];
    assert_eq!(found(MACHINE, &files), one("stage2", 4001));
}

#[test]
fn functions_are_measured_wherever_they_are() {
    // A function of so many lines, including its first and its last one.
    let function = |lines: usize| format!("fn f()\n{{{}}}\n", "\n".repeat(lines - 2));
    for (text, count) in [
        (function(60), None),
        (function(61), Some(61)),
        (format!("impl X {{ pub const {} }}", function(61)), Some(61)),
        (
            format!("proptest! {{ #[test]\n{} }}", function(61)),
            Some(61),
        ),
        (
            format!("trait X {{ fn f();\nfn g();\n{} }}", "\n".repeat(99)),
            None,
        ),
        (
            format!("const X: fn(u8) = g;\nmod y {{ {} }}", "\n".repeat(99)),
            None,
        ),
        (format!("/* {} */", function(61)), None),
        (format!("const TEXT: &str = r\"{}\";", function(61)), None),
        (
            format!("fn f() {{ asm!(\n{}); }}", "\"nop\",\n".repeat(99)),
            None,
        ),
        (
            format!("fn f() {{\nasm!(\n\"nop\"\n);\n{}}}", "\n".repeat(58)),
            Some(61),
        ),
    ] {
        let expected = count.map_or(vec![], |count| one("x/src/a.rs f", count));
        assert_eq!(
            found(FUNCTION, &[("x/src/a.rs", &*text)]),
            expected,
            "{text}"
        );
    }
}

#[test]
fn unsafe_code_is_measured() {
    let block = |lines: usize| format!("fn f() {{ unsafe {{{}}} }}\n", "\n".repeat(lines - 1));
    let (right, long) = (block(10), block(11));
    let asm = "fn f() { unsafe {\nasm!(\n\n\n\n\n\n\n\n\n\n\n); } }";
    let files = [
        ("stage2/src/a.rs", &*right),
        ("stage2/src/b.rs", asm),
        ("x/src/c.rs", &*long),
    ];
    assert_eq!(found(UNSAFE_LINES, &files), []);
    let files = [("stage1/src/a.rs", &*long)];
    assert_eq!(found(UNSAFE_LINES, &files), one("stage1/src/a.rs", 11));

    let many = block(1).repeat(36);
    let files = [
        ("stage1/src/a.rs", &*many),
        ("stage2/src/b.rs", &*many),
        ("x/src/c.rs", &*many),
    ];
    assert_eq!(found(UNSAFE, &files), one("stage1 and stage2", 72));
    assert_eq!(found(UNSAFE, &files[1..]), []);

    let names: Vec<_> = (0..21).map(|n| format!("stage2/src/f{n}.rs")).collect();
    let allow = "#![allow(dead_code, unsafe_code)]";
    let mut files: Vec<_> = names.iter().map(|name| (&**name, allow)).collect();
    assert_eq!(found(UNSAFE_FILES, &files), one("stage1 and stage2", 21));
    files[0].1 = "#![deny(unsafe_code)] // allow(unsafe_code)";
    assert_eq!(found(UNSAFE_FILES, &files), []);

    let library = |text| [("boot-path/src/lib.rs", text)];
    assert_eq!(found(FORBIDS, &library("#![forbid(unsafe_code)]")), []);
    assert_eq!(
        found(FORBIDS, &library("//! `forbid(unsafe_code)`")),
        one("boot-path", 1)
    );
}

#[test]
fn circles_of_imports_are_found() {
    let names = |text| {
        [
            ("x/src/a/mod.rs", "use crate::b::B;"),
            ("x/src/b/c.rs", text),
        ]
    };
    for circle in [
        "use crate::a;",
        "use crate::{\n    b::{C, D},\n    a::{self, A},\n};",
        "fn f() -> crate::a::A { todo!() }",
        "use super::super::a::A;",
        "mod tests { use super::super::super::a::A; }",
        "make! { $crate::a::A }",
        "macro_rules! make { () => { $crate::a::A } }",
    ] {
        assert_eq!(found(CIRCLES, &names(circle)), one("x", 2), "{circle}");
    }
    for none in [
        "// use crate::a;",
        "/// [`A`](crate::a::A)\nstruct C;",
        "const TEXT: &str = \"crate::a\";",
        "use crate::b::d; pub(crate) fn a() {}",
        "use super::a; use self::super::b::a; use other::a;",
    ] {
        assert_eq!(found(CIRCLES, &names(none)), [], "{none}");
    }
    // A circle of three counts only its own modules. Files that are modules count in the boot path
    // alone.
    let three = |name: &str| {
        let file =
            |file: &str, to: &str| (format!("{name}/src/{file}.rs"), format!("use crate::{to};"));
        let files = [
            file("a", "b"),
            file("b", "c"),
            file("c", "a"),
            file("d", "a"),
            file("a/x", "e"),
            file("e", "f"),
        ];
        let files: Vec<_> = files
            .iter()
            .map(|(path, text)| (&**path, &**text))
            .collect();
        found(CIRCLES, &files)
    };
    assert_eq!(three("stage2"), one("stage2", 3));
    assert_eq!(three("x"), []);
}

#[test]
fn imports_of_the_root_and_against_the_order_are_found() {
    let root = "pub mod a;\npub mod b;\npub mod c;\n";
    let library = |text| {
        [
            ("boot-path/src/lib.rs", root),
            ("boot-path/src/b.rs", text),
            ("boot-path/src/c.rs", ""),
            ("boot-path/src/a.rs", ""),
        ]
    };
    assert_eq!(
        found(ORDER, &library("use crate::c::{C, D}; use super::c;")),
        one("b -> c", 3)
    );
    assert_eq!(
        found(ORDER, &library("use crate::a::A; use crate::b::B;")),
        []
    );

    let program = |text| {
        [
            ("x/src/main.rs", "mod a;\nfn main() {}"),
            ("x/src/a.rs", text),
        ]
    };
    assert_eq!(
        found(ROOT, &program("sym!(crate::main);")),
        one("x/src/a.rs", 1)
    );
    assert_eq!(
        found(ROOT, &program("use super::{a, Main};")),
        one("x/src/a.rs", 1)
    );
    let exported = "#[doc(hidden)]\n#[macro_export]\nmacro_rules! say { () => {} }\nuse crate::say; crate::say!();";
    assert_eq!(found(ROOT, &program(exported)), []);
    assert_eq!(
        found(
            ROOT,
            &program("macro_rules! say { () => {} }\nuse crate::say;")
        ),
        one("x/src/a.rs", 1)
    );
}

#[test]
fn what_goes_beyond_a_limit_today_may_only_shrink() {
    let rule = Rule {
        name: FILE,
        limit: 10,
        measure: file_lines,
    };
    let faults = |count, today: &[(&str, &str, usize)]| {
        faults(&rule, &[measure("a", count, "here")], today).len()
    };
    assert_eq!(faults(10, &[]), 0);
    assert_eq!(faults(11, &[]), 1);
    assert_eq!(faults(11, &[(FILE, "b", 12)]), 2, "it is another one");
    assert_eq!(faults(12, &[(FILE, "a", 12)]), 0);
    assert_eq!(faults(13, &[(FILE, "a", 12)]), 1, "it has grown");
    assert_eq!(faults(10, &[(FILE, "a", 12)]), 1, "the row has to go");
    assert_eq!(
        faults(11, &[(FUNCTION, "a", 12)]),
        1,
        "it is of another rule"
    );
}
