//! Boot entries: which one is booted, with what, and which ones are left out.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use boot_path::errors::text::is_harmful;
use disk_builder::image::{Entry, Extra, Module, Recipe};
use disk_builder::run::{EXIT_OKAY, Ending};
use disk_builder::stages;
use disk_layout::SECTOR_SIZE;
use machine_tests::fats::{Fat, Fats};
use machine_tests::image::{Image, small_kernel, test_program};
use machine_tests::linux::{check_kernel, put};
use machine_tests::machine::Machine;

const ENTRIES: &str = "/loader/entries";

/// Boots a demo kernel that says `exit`; these lines are in the transcript, in this order.
fn boots(image: &Image, expected: &[&str]) -> Result<()> {
    let mut running = Machine::new(&image.path()).start()?;
    let transcript = running.wait_for("OKAY")?;
    let ending = running.wait()?;
    ensure!(
        ending == Ending::Guest(EXIT_OKAY),
        "{ending:?}\n{transcript}"
    );
    ensure!(!transcript.contains("FAILED"), "{transcript}");
    in_order(&transcript, expected)
}

/// The machine ends in an error; these lines are in the transcript, in this order.
fn fails(image: &Image, expected: &[&str]) -> Result<()> {
    let mut running = Machine::new(&image.path()).start()?;
    let transcript = running.wait_for("press a key to reboot")?;
    in_order(&transcript, expected)
}

fn in_order(transcript: &str, expected: &[&str]) -> Result<()> {
    let mut lines = transcript.lines();
    for wanted in expected {
        let found = lines.any(|line| line.trim_end() == *wanted);
        ensure!(found, "no line {wanted:?} in its place in\n{transcript}");
    }
    Ok(())
}

/// An image with these entries, all of the same kernel; `change` may change each.
fn image(names: &[&str], change: impl Fn(&mut Entry)) -> Result<Image> {
    let kernel = small_kernel()?;
    Image::build(kernel.path(), |recipe, _| {
        recipe.entries = names
            .iter()
            .map(|name| {
                let mut entry = Entry::new(*name, kernel.path());
                entry.command_line = format!("exit {name}");
                change(&mut entry);
                entry
            })
            .collect();
    })
}

/// The path of the kernel in the image.
fn kernel_path(image: &Image) -> Result<String> {
    let files = image.inspect()?.files;
    let mut paths = files.into_iter().map(|file| file.path);
    let kernel = paths.find(|path| path.starts_with("/boot/kernels/"));
    kernel.context("no kernel")
}

#[test]
fn the_default_is_booted() -> Result<()> {
    let image = image(&["a-6.9", "a-6.10", "z"], |entry| {
        entry.sort_key = Some(entry.name[..1].into());
        entry.title = Some("# 1".into());
    })?;
    let kernel = format!(" 9 entry    {}, 0 modules", kernel_path(&image)?);
    for (conf, expected, command_line) in [
        // As it was built: nobody asked for a default.
        (None, "a-6.10.conf, one of 3", "command line: exit a-6.10"),
        (
            Some("default a-*\ntimeout 0\nconsole-mode max\n"),
            "a-6.10.conf, one of 3",
            "command line: exit a-6.10",
        ),
        (
            Some("default [x-z]\r\n"),
            "z.conf, one of 3",
            "command line: exit z",
        ),
        (
            Some(""),
            "a-6.10.conf, one of 3",
            "command line: exit a-6.10",
        ),
    ] {
        if let Some(conf) = conf {
            image.put("/loader/loader.conf", conf.as_bytes())?;
        }
        let expected = format!(" 9 entries  {expected}");
        boots(&image, &[&expected, &kernel, command_line]).with_context(|| format!("{conf:?}"))?;
    }

    image.put("/loader/loader.conf", b"default #1\ntimeout ever\n")?;
    boots(
        &image,
        &[
            " 9 entries  /loader/loader.conf: line 2: not a timeout",
            " 9 entries  /loader/loader.conf: no entry is named #1",
            " 9 entries  a-6.10.conf, one of 3",
            "command line: exit a-6.10",
        ],
    )?;
    image.mtools("mdel", ["::/loader/loader.conf"])?;
    boots(
        &image,
        &[
            " 9 entries  a-6.10.conf, one of 3",
            "command line: exit a-6.10",
        ],
    )
}

/// What `kernel-install` adds to a disk that `disk-builder` made is booted from then on; and so is
/// the disk when its `loader.conf` is deleted or damaged, with a line about it.
#[test]
fn nothing_pins_the_default() -> Result<()> {
    let image_by = |default: Option<&str>| {
        let kernel = small_kernel()?;
        Image::build(kernel.path(), |recipe, _| {
            recipe.default = default.map(str::to_owned);
            recipe.entries = ["6.1", "6.2"]
                .map(|name| Entry {
                    command_line: format!("exit {name}"),
                    ..Entry::new(name, kernel.path())
                })
                .into();
        })
    };
    let image = image_by(None)?;
    boots(&image, &[" 9 entries  6.2.conf, one of 2"])?;
    let text = format!("linux {}\noptions exit new\n", kernel_path(&image)?);
    image.put(&format!("{ENTRIES}/6.10.conf"), text.as_bytes())?;
    let new = [" 9 entries  6.10.conf, one of 3", "command line: exit new"];
    boots(&image, &new)?;

    let image = image_by(Some("6.1"))?;
    boots(&image, &[" 9 entries  6.1.conf, one of 2"])?;
    let damaged = image.copy()?;
    let place = image.first_sector("/loader/loader.conf")? * SECTOR_SIZE as u64;
    damaged.write(place, b"D")?;
    let transcript = transcript(&damaged)?;
    let line = " 9 entries  /loader/loader.conf is left out, 9E: a configuration file is damaged: ";
    ensure!(transcript.contains(line), "{transcript}");
    in_order(&transcript, &[" 9 entries  6.2.conf, one of 2"])?;
    image.mtools("mdel", ["::/loader/loader.conf"])?;
    boots(
        &image,
        &[
            " 9 entries  /loader/loader.conf is gone",
            " 9 entries  6.2.conf, one of 2",
        ],
    )
}

/// The transcript of a boot that ends well.
fn transcript(image: &Image) -> Result<String> {
    let mut running = Machine::new(&image.path()).start()?;
    let transcript = running.wait_for("OKAY")?;
    ensure!(!transcript.contains("FAILED"), "{transcript}");
    Ok(transcript)
}

/// Serial terminal and screen show whatever stands in the files, and do not obey it: in the
/// loader's lines, and in an error's facts.
#[test]
fn what_files_say_is_shown_and_not_obeyed() -> Result<()> {
    // Sets the title, clears the screen (C1, as UTF-8), turns the text around, overwrites the line.
    // At the end, a letter that the screen cannot show.
    const EVIL: &str = "\x1B]0;o\x07\u{9B}2J\u{202E}t\rA\u{E9}";
    const SHOWN: &str = r"\x1B]0;o\x07\u{009B}2J\u{202E}t\x0DA";

    let image = image(&["one"], |_| {})?;
    let conf = format!("default {EVIL}\n");
    image.put("/loader/loader.conf", conf.as_bytes())?;
    let entry = format!("title {EVIL}\nkernel /{EVIL}\noptions {EVIL}\n");
    image.put(&format!("{ENTRIES}/one.conf"), entry.as_bytes())?;
    let mut running = Machine::new(&image.path()).start()?;
    let offer = "press a key to reboot";
    let serial = running.wait_for(offer)?;
    let lines = running.wait_for_line(&[offer])?;
    ensure!(
        !serial.replace("\r\n", "").contains(is_harmful),
        "{serial:?}"
    );
    let warning = format!(" 9 entries  /loader/loader.conf: no entry is named {SHOWN}");
    let error = format!("error 9A: there is no kernel in the boot partition: /{SHOWN}");
    for line in [&warning, &error] {
        let on_serial = format!("{line}\u{E9}\r\n");
        ensure!(serial.contains(&on_serial), "no {line}\n{serial:?}");
        // Longer than a row.
        let screen = lines.concat();
        ensure!(screen.contains(&format!("{line}?")), "no {line}\n{screen}");
    }
    Ok(())
}

/// `console` says where the loader's lines go; an error goes everywhere.
#[test]
fn the_loader_prints_where_it_is_told() -> Result<()> {
    const LINE: &str = " 9 entries  one.conf, one of 1";

    let image = image(&["one"], |_| {})?;
    let entry = format!("kernel {}\nmodule /none\n", kernel_path(&image)?);
    image.put(&format!("{ENTRIES}/one.conf"), entry.as_bytes())?;
    for (console, on_serial, on_screen) in [
        ("both", true, true),
        ("serial", true, false),
        ("screen", false, true),
        ("none", false, false),
    ] {
        let conf = format!("console {console}\n");
        image.put("/loader/loader.conf", conf.as_bytes())?;
        let mut running = Machine::new(&image.path()).start()?;
        let offer = "press a key to reboot";
        let serial = running.wait_for(offer)?;
        let screen = running.wait_for_line(&[offer])?.join("\n");
        for (text, wanted) in [(serial, on_serial), (screen, on_screen)] {
            ensure!(text.contains(LINE) == wanted, "{console}:\n{text}");
            ensure!(text.contains(" 8 files    FAT"), "{console}:\n{text}");
            ensure!(text.contains("error 9B: "), "{console}:\n{text}");
        }
    }
    Ok(())
}

#[test]
fn without_loader_conf_the_first_one_is_booted() -> Result<()> {
    let kernel = small_kernel()?;
    let image = Image::build(kernel.path(), |recipe, _| {
        recipe.command_line = "exit".into()
    })?;
    for number in 1..3 {
        let text = format!("kernel boot/kernel.elf\noptions exit {number}\n");
        image.put(&format!("{ENTRIES}/{number}.conf"), text.as_bytes())?;
    }
    boots(
        &image,
        &[" 9 entries  2.conf, one of 2", "command line: exit 2"],
    )
}

/// A wrong bit in an entry, a chain of clusters that leads nowhere, a directory of an entry's name:
/// each is named, and the others boot.
#[test]
fn an_entry_that_cannot_be_read_is_left_out() -> Result<()> {
    let image = image(&["a", "b", "c"], |_| {})?;
    let place = image.first_sector("/loader/entries/b.conf")? * SECTOR_SIZE as u64;
    let byte = image.read(place, 1)?[0];
    image.write(place, &[byte ^ 1])?;
    image.mtools("mmd", ["::/loader/entries/d.conf"])?;
    // Of a file in one cluster, the FAT is not needed.
    image.lengthen("/loader/entries/c.conf")?;
    let fats = Fats::of(&image)?;
    let [cluster, ..] = fats.chain("/loader/entries/c.conf")?[..] else {
        bail!("an empty entry");
    };
    fats.link(&[Fat::First, Fat::Second], cluster, 0)?;
    let transcript = transcript(&image)?;
    let crc =
        " 9 entries  /loader/entries/b.conf is left out, 9E: a configuration file is damaged: ";
    ensure!(transcript.contains(crc), "{transcript}");
    let link = format!(
        " 9 entries  /loader/entries/c.conf is left out, \
         8B: the FAT file system is damaged: cluster {cluster} leads to 0x0"
    );
    in_order(
        &transcript,
        &[
            &link,
            " 9 entries  /loader/entries/d.conf is left out: it is a directory",
            " 9 entries  a.conf, one of 1",
            "command line: exit a",
        ],
    )
}

/// The newest entry's initial RAM disk was being copied when the power failed; the one before it
/// has no kernel; the files of the one before that are damaged. The next one boots.
#[test]
fn the_next_entry_is_booted() -> Result<()> {
    let image = image(&["0-good"], |_| {})?;
    let kernel = kernel_path(&image)?;
    let put =
        |name: &str, text: &str| image.put(&format!("{ENTRIES}/{name}.conf"), text.as_bytes());
    image.put("/linux", &check_kernel(&[])?)?;
    image.put("/initrd", b"")?;
    image.put("/cut", &vec![b'x'; 100_000])?;
    put("4-interrupted", "linux /linux\ninitrd /initrd\n")?;
    put("3-gone", "linux /vmlinuz\n")?;
    put("2-initrd", &format!("linux {kernel}\ninitrd /initrd-2\n"))?;
    put("1-cut", &format!("linux {kernel}\nmodule /cut\n"))?;
    let fats = Fats::of(&image)?;
    let chain = fats.chain("/cut")?;
    fats.link(&[Fat::First, Fat::Second], chain[1], 0)?;
    let cut = format!(
        " 9 entries  1-cut.conf is not booted, 8B: the FAT file system is damaged: \
         cluster {} leads to 0x0 (/cut)",
        chain[1]
    );
    let all = [
        " 9 entries  4-interrupted.conf, one of 5",
        " 9 entries  4-interrupted.conf is not booted, 10V: the Linux kernel cannot be booted \
         like this: an initial RAM disk of 0 bytes (/initrd)",
        " 9 entries  3-gone.conf is not booted, \
         9A: there is no kernel in the boot partition: /vmlinuz",
        " 9 entries  2-initrd.conf is not booted, 9B: a module is missing: /initrd-2",
        &cut,
    ];
    boots(&image, &[&all[..], &["command line: exit 0-good"]].concat())?;

    // Where none boots, the first error is shown.
    image.mtools("mdel", ["::/loader/entries/0-good.conf"])?;
    let error = "error 10V: the Linux kernel cannot be booted like this: \
                 an initial RAM disk of 0 bytes; none of 4 entries boots";
    let mut expected = all;
    expected[0] = " 9 entries  4-interrupted.conf, one of 4";
    fails(&image, &[&expected[..], &[error]].concat())
}

#[test]
fn bad_entries_are_left_out() -> Result<()> {
    let image = image(&["good"], |_| {})?;
    let put = |name: &str, text: &[u8]| image.put(&format!("{ENTRIES}/{name}"), text);
    put("z-module.conf", b"title x\nmodule\n")?;
    put("z-nothing.conf", b"title x\n")?;
    put("z-utf8.conf", b"linux /l\n\n# \xFF\n")?;
    put("z-long.conf", &[b'#'; 16385])?;
    put("z-other.conf", b"linux /l\narchitecture aa64\n")?;
    put("z-note.txt", b"linux /l\n")?;
    image.put("/loader/loader.conf", b"\0")?;
    boots(
        &image,
        &[
            " 9 entries  /loader/loader.conf: line 1: a NUL byte",
            " 9 entries  /loader/entries/z-module.conf is left out: line 2: module without a path",
            " 9 entries  /loader/entries/z-nothing.conf is left out: it names nothing to boot",
            " 9 entries  /loader/entries/z-utf8.conf is left out: line 3: not UTF-8",
            " 9 entries  /loader/entries/z-long.conf is left out: more than 16384 bytes",
            " 9 entries  good.conf, one of 1",
            "command line: exit good",
        ],
    )?;

    image.mtools("mdel", ["::/loader/entries/good.conf"])?;
    fails(
        &image,
        &[
            " 9 entries  /loader/entries/z-module.conf is left out: line 2: module without a path",
            "error 9F: no boot entry can be used: 4 left out, 1 for other machines",
        ],
    )
}

/// Of three thousand entries the newest one boots, although it is the last one of the directory.
/// One line tells of the others that are left out.
#[test]
fn the_newest_of_three_thousand_is_booted() -> Result<()> {
    let image = image(&["0000-first"], |_| {})?;
    let directory = tempfile::tempdir()?;
    let kernel = kernel_path(&image)?;
    let mut paths = Vec::new();
    for number in 1..3000 {
        let path = directory.path().join(format!("{number:04}.conf"));
        let text = match number % 100 {
            0 => "module\n".to_owned(),
            _ => format!("kernel {kernel}\noptions exit {number}\n"),
        };
        fs::write(&path, &text)?;
        paths.push(path.into_os_string());
    }
    let target = format!("::{ENTRIES}");
    image.mtools("mcopy", paths.into_iter().chain([target.into()]))?;
    let transcript = transcript(&image)?;
    in_order(
        &transcript,
        &[
            " 9 entries  /loader/entries/0800.conf is left out: line 1: module without a path",
            " 9 entries  /loader/entries: 21 more are left out",
            " 9 entries  2999.conf, one of 2971",
            "command line: exit 2999",
        ],
    )?;
    ensure!(
        transcript.matches(" 9 entries").count() == 10,
        "{transcript}"
    );
    // So is an old one that is asked for.
    image.put("/loader/loader.conf", b"default 0000*\n")?;
    boots(&image, &["command line: exit 0000-first"])
}

#[test]
fn a_missing_kernel_is_named() -> Result<()> {
    let image = image(&["good"], |_| {})?;
    let kernel = kernel_path(&image)?;
    image.mtools("mdel", [format!("::{kernel}")])?;
    let error = format!("error 9A: there is no kernel in the boot partition: {kernel}");
    fails(&image, &[" 9 entries  good.conf, one of 1", &error])
}

#[test]
fn modules_and_initrds_come_in_their_order() -> Result<()> {
    let kernel = small_kernel()?;
    let image = Image::build(kernel.path(), |recipe: &mut Recipe, directory: &Path| {
        let file = |name: &str, length: usize| {
            let file = directory.join(name);
            // If this fails, the builder reports that the file is missing.
            let _ = fs::write(&file, vec![b'x'; length]);
            file
        };
        let module = |file, string: &str| {
            let string = string.into();
            Extra::Module(Module { file, string })
        };
        let (one, two) = (file("one", 1111), file("two", 2222));
        recipe.entries = vec![Entry {
            command_line: "exit".into(),
            modules: vec![
                Extra::Initrd(two.clone()),
                module(one.clone(), "with # a text"),
                Extra::Initrd(one),
                module(two, "again"),
            ],
            ..Entry::new("only", kernel.path())
        }];
    })?;
    let mut running = Machine::new(&image.path()).start()?;
    let transcript = running.wait_for("OKAY")?;
    let modules: Vec<_> = transcript
        .lines()
        .filter(|line| line.starts_with("module /boot/modules/"))
        .map(|line| {
            let (path, rest) = line.split_once(" at ").unwrap_or((line, ""));
            let (_, rest) = rest.split_once(", ").unwrap_or((rest, ""));
            format!("{path}: {}", rest.trim_end())
        })
        .collect();
    ensure!(
        modules
            == [
                "module /boot/modules/two: 2222 bytes: ",
                "module /boot/modules/one: 1111 bytes: with # a text",
                "module /boot/modules/one: 1111 bytes: ",
                "module /boot/modules/two: 2222 bytes: again",
            ]
            .map(str::trim_end),
        "{modules:?}\n{transcript}"
    );
    running.wait().map(drop)
}

/// Directories of machine ID and version, long names, and not a byte that this loader's builder
/// wrote.
#[test]
fn what_kernel_install_wrote() -> Result<()> {
    const ID: &str = "6a9857a393724b7a981ebb5b8495b9ea";
    const VERSION: &str = "6.12.43+deb13-amd64";

    let kernel = small_kernel()?;
    let image = Image::build(kernel.path(), |_, _| {})?;
    let put = |name: &str, bytes: &[u8]| image.put(&format!("/{ID}/{VERSION}/{name}"), bytes);
    put("linux", &fs::read(kernel.path())?)?;
    put(&format!("initrd.img-{VERSION}"), b"an initrd")?;
    // One path has a leading slash, one does not.
    let entry = format!(
        "# Boot Loader Specification type#1 entry\n\
         title      Debian GNU/Linux 13 (trixie)\n\
         version    {VERSION}\n\
         machine-id {ID}\n\
         sort-key   debian\n\
         options    exit root=UUID=6d3376e4-fc93-4509-95ec-a21d68011da2 quiet\n\
         linux      /{ID}/{VERSION}/linux\n\
         initrd     {ID}/{VERSION}/initrd.img-{VERSION}\n"
    );
    for (conf, text) in [
        (format!("default {ID}-*\n"), entry.clone()),
        (
            format!("timeout 3\r\ndefault {ID}-{VERSION}.conf\r\n"),
            entry.replace('\n', "\r\n"),
        ),
    ] {
        image.put(
            &format!("{ENTRIES}/{ID}-{VERSION}+3-0.conf"),
            text.as_bytes(),
        )?;
        image.put("/loader/loader.conf", conf.as_bytes())?;
        boots(
            &image,
            &[
                &format!(" 9 entries  {ID}-{VERSION}+3-0.conf, one of 1"),
                &format!(" 9 entry    /{ID}/{VERSION}/linux, 1 modules"),
                "command line: exit root=UUID=6d3376e4-fc93-4509-95ec-a21d68011da2 quiet",
            ],
        )?;
    }
    Ok(())
}

/// As grub on Fedora and systemd-boot read it: variables that nobody has set, quotation marks,
/// backslashes, and keys without a value.
#[test]
fn forms_of_other_loaders() -> Result<()> {
    let image = image(&["one"], |_| {})?;
    let kernel = kernel_path(&image)?;
    let backslashes = kernel.replace('/', "\\");
    for (text, modules) in [
        (
            format!("linux {kernel}\ninitrd {kernel} $tuned_initrd\n"),
            1,
        ),
        (
            format!("linux \"{kernel}\"\ninitrd \"{kernel}\" {kernel}\n"),
            2,
        ),
        (format!("linux {backslashes}\ninitrd {backslashes}\n"), 1),
        (format!("linux {kernel}\ninitrd\n"), 0),
    ] {
        let text = format!("{text}options exit log=7 $tuned_params\r\n");
        image.put(&format!("{ENTRIES}/one.conf"), text.as_bytes())?;
        let mut running = Machine::new(&image.path()).start()?;
        let transcript = running.wait_for("OKAY")?;
        let count = format!(", {modules} modules\r\n");
        ensure!(transcript.contains(&count), "{text}\n{transcript}");
        in_order(&transcript, &["command line: exit log=7"]).context(text)?;
    }
    Ok(())
}

#[test]
fn kernel_conf_has_the_same_keys() -> Result<()> {
    let image = image(&["gone"], |_| {})?;
    let kernel = kernel_path(&image)?;
    // Without any entries, it is as if there were no such directory.
    image.mtools("mdel", ["::/loader/entries/gone.conf"])?;
    let conf =
        format!("title t\nkernel {kernel}\nprotocol bootpath\noptions exit\ninitrd {kernel}\n");
    image.put("/boot/kernel.conf", conf.as_bytes())?;
    let line = format!(" 9 entry    {kernel}, 1 modules");
    boots(&image, &[&line, "command line: exit"])?;

    image.put("/boot/kernel.conf", b"options exit\nprotocol bootpat\n")?;
    let error = "error 9C: /boot/kernel.conf cannot be read: line 2: no such protocol";
    fails(&image, &[error])
}

/// The command line of a user: each option belongs to its entry, whichever entry is booted.
#[test]
fn entries_of_the_command_line() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let image = directory.path().join("disk.img");
    let kernel = small_kernel()?;
    let bzimage = put(directory.path(), "bzimage", &check_kernel(&[])?)?;
    let initrd = put(directory.path(), "initrd", b"an initrd")?;
    let module = put(directory.path(), "module", b"a module")?;
    let [kernel, bzimage, initrd, module, output] =
        [kernel.path(), &bzimage, &initrd, &module, &image].map(|path| path.display().to_string());
    let status = Command::new("cargo")
        .current_dir(stages::workspace())
        .args(["run", "--quiet", "--package", "disk-builder", "--", "build"])
        .args(["--output", &output, "--default", "linux32"])
        .args(["--entry", "own", "--kernel", &kernel, "--cmdline", "exit 1"])
        .args(["--module", &format!("{module}=its text")])
        .args(["--entry", "other", "--chain", "drive=81h"])
        .args(["--entry", "linux32", "--linux", &bzimage])
        .args(["--initrd", &initrd, "--cmdline", "entry=32 b"])
        .args(["--protocol", "linux32"])
        .args(["--entry", "linux64", "--linux", &bzimage])
        .args(["--cmdline", "entry=64"])
        .stdout(std::process::Stdio::null())
        .status()?;
    ensure!(status.success(), "{status}");

    boot_each(&Image::of(directory))
}

/// Boots each of the entries by changing the default one.
fn boot_each(image: &Image) -> Result<()> {
    let second = Image::raw(test_program("boot-check")?.flat(), &[])?;
    let drive = format!(
        "id=second,if=none,format=raw,snapshot=on,file={}",
        second.path().display()
    );
    for (default, expected) in [
        (
            None,
            &[
                " 9 entries  linux32.conf, one of 4",
                " 9 entry    /boot/kernels/bzimage, 1 modules",
                "command line: entry=32 b",
            ][..],
        ),
        (Some("linux64"), &["command line: entry=64", "OKAY"]),
        (
            Some("own"),
            &[" 9 entries  own.conf, one of 4", "command line: exit 1"],
        ),
        (Some("other"), &[" 9 entries  other.conf, one of 4", "OKAY"]),
    ] {
        if let Some(default) = default {
            let conf = format!("default {default}\n");
            image.put("/loader/loader.conf", conf.as_bytes())?;
        }
        let machine = Machine::new(&image.path()).arguments([
            "-drive",
            &drive,
            "-device",
            "ide-hd,drive=second,bus=ide.1",
        ]);
        let transcript = machine.start()?.wait_for("OKAY")?;
        ensure!(!transcript.contains("FAILED"), "{transcript}");
        in_order(&transcript, expected).with_context(|| format!("{default:?}"))?;
        if default == Some("own") {
            let text = ", 8 bytes: its text\r\n";
            ensure!(transcript.contains(text), "{transcript}");
        }
    }
    Ok(())
}
