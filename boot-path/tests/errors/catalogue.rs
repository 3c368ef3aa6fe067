//! The rules that the catalogue of errors keeps. (Tables of the machine tests have how each error
//! is provoked, and check the manual's page: `tests/src/recipes`, `tests/tests/docs`.)

use boot_path::errors::catalogue::{ALL, DISK_GPT, DISK_NO_PARTITION, FAT_FOREIGN, Row};

/// Columns of the screen: an error and its sentence fit into one row.
const COLUMNS: usize = 80;

#[test]
fn codes_are_sorted_and_have_no_gap() {
    let mut last = (0, b'Z');
    for Row { entry, .. } in ALL {
        let step = entry.step();
        assert!((1..=12).contains(&step), "{}", entry.code);
        let letter = entry.code.strip_prefix(&step.to_string());
        let Some([letter]) = letter.map(str::as_bytes) else {
            panic!("{}: a code is a number and one letter", entry.code);
        };
        let letter = *letter;
        let expected = if step == last.0 {
            (step, last.1 + 1)
        } else {
            assert!(step > last.0, "{}: steps ascend", entry.code);
            (step, b'A')
        };
        // The ways out have ranges of letters of their own in step 10, and come one by one.
        let of_a_way_out = step == 10 && letter > b'P' && (step, letter) > last;
        assert!(of_a_way_out || (step, letter) == expected, "{}", entry.code);
        last = (step, letter);
    }
}

#[test]
fn sentences_can_be_followed_by_facts_and_advice_stands_alone() {
    for Row { entry, causes, .. } in ALL {
        let (code, sentence, advice) = (entry.code, entry.sentence, entry.advice);
        assert!(
            !sentence.is_empty() && !sentence.ends_with(['.', ':', ' ']),
            "{code}"
        );
        for text in [advice, causes] {
            assert!(
                text.ends_with('.') && !text.contains('\n'),
                "{code}: {text}"
            );
        }
        assert!(advice.len() <= 2 * COLUMNS, "{code}: more than two rows");
    }
}

/// Words for what can destroy files, and words that a text with one of them must have as well,
/// which say what is lost, or that it only looks. If there are none, the word must not occur at
/// all.
const DANGEROUS: &[(&str, &[&str])] = &[
    (
        "format",
        &["before you format it", "erases all that it holds"],
    ),
    (
        "the image",
        &["erases the disk", "copy your files off it first"],
    ),
    ("erase", &["erases"]),
    ("repair", &["copy your files off it before you repair it"]),
    ("fsck", &["fsck.fat -n"]),
    ("chkdsk", &["chkdsk without /f"]),
    ("overwrit", &[]),
    ("delete", &[]),
    ("remove", &[]),
    ("wipe", &[]),
    ("write it", &[]),
    ("dd if", &[]),
    ("mkfs", &[]),
    ("mformat", &[]),
    ("fdisk", &[]),
    ("parted", &[]),
    ("gdisk", &[]),
    ("partition table", &[]),
];

/// The words in a piece of advice that may cost somebody's files.
fn dangers(advice: &str) -> Vec<&'static str> {
    let advice = advice.to_lowercase();
    let occurs = |text: &str| advice.matches(text).count();
    let bad = |(word, safe): &&(&'static str, &[&str])| {
        // A tool must be the harmless one wherever the text names it.
        let tool = matches!(*word, "fsck" | "chkdsk");
        occurs(word) > 0
            && (safe.is_empty()
                || safe
                    .iter()
                    .any(|safe| occurs(safe) < if tool { occurs(word) } else { 1 }))
    };
    DANGEROUS
        .iter()
        .filter(bad)
        .map(|(word, _)| *word)
        .collect()
}

#[test]
fn no_advice_costs_files() {
    // The advice of earlier versions, and advice that nobody should give.
    for (advice, word) in [
        (
            "Write the image again; try another port or stick.",
            "the image",
        ),
        (
            "Write the image again, or mark a FAT partition as active.",
            "the image",
        ),
        ("Format it as FAT12, FAT16 or FAT32.", "format"),
        ("Run fsck.fat (or chkdsk) on the boot partition.", "fsck"),
        ("Run chkdsk /f.", "chkdsk"),
        ("fsck.fat -n looks; fsck.fat -a repairs.", "fsck"),
        ("Copy it with dd if=a of=b.", "dd if"),
    ] {
        assert!(dangers(advice).contains(&word), "{advice}");
    }
    for Row { entry, .. } in ALL {
        assert_eq!(
            dangers(entry.advice),
            [""; 0],
            "{}: {}",
            entry.code,
            entry.advice
        );
    }
}

/// A volume that was recognised has to stay as it is: no dangerous word may be near it.
#[test]
fn what_was_recognised_is_left_alone() {
    for entry in [&DISK_GPT, &FAT_FOREIGN, &DISK_NO_PARTITION] {
        let advice = entry.advice.to_lowercase();
        for (word, _) in DANGEROUS {
            assert!(!advice.contains(word), "{}: {word}", entry.code);
        }
        assert!(
            advice.contains("leave it as it is") || advice.contains("stays as it is"),
            "{}: {advice}",
            entry.code
        );
    }
}

/// The 16-bit steps print the whole message from a buffer of fixed size, which the compiler checks.
/// This test checks that the message is one row of the screen, for every step.
#[test]
fn an_error_fits_into_a_row() {
    for Row { entry, .. } in ALL {
        let row = format!("error {}: {}", entry.code, entry.sentence);
        assert!(row.len() <= COLUMNS, "{} columns: {row}", row.len());
    }
}
