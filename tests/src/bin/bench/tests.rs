//! What the benchmark makes of numbers and words.

use std::cell::Cell;
use std::fs;

use disk_builder::stages;

use crate::measure::{has_words, in_turns};
use crate::page::{LOADED, Loaded, STARTED, Started, digits, with_rows};
use crate::steps;

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(String::from).collect()
}

#[test]
fn a_number_and_its_unit_are_one_word() {
    let row = "own        sse4.2 listed   64 KiB";
    assert!(has_words(row, &[]));
    assert!(has_words(row, &words("64kib own")));
    assert!(has_words(row, &words("64KiB SSE4.2")));
    assert!(!has_words(row, &words("own 4MiB")));
    assert!(!has_words(row, &words("64")));
    assert!(!has_words(row, &words("unlisted")));
}

/// Each turn is everybody's, and of an odd number of times the middle one is the median.
#[test]
fn contestants_take_turns() {
    let turn = Cell::new(0.0);
    let times = in_turns(3, &[100.0, 200.0], |most| {
        turn.set(turn.get() + 1.0);
        Ok(most - turn.get())
    });
    let times = times.expect("no error");
    let summary = times.iter().map(|times| (times.least(), times.median()));
    let summary: Vec<(f64, f64)> = summary.collect();
    assert_eq!(summary, [(95.0, 97.0), (194.0, 196.0)]);
    assert_eq!(times[0].to_string().trim_end(), "    97.0 (95.0–99.0)");
}

#[test]
fn the_page_has_both_tables() {
    let page = fs::read_to_string(stages::workspace().join("docs/peers.md"));
    let page = page.expect("a page").replace("\r\n", "\n");
    let loaded = Loaded {
        name: "GRUB 2.06-13".into(),
        entry: 32,
        calls: 600,
        times: vec![9.996, 99.96, 0.5],
    };
    let own = Loaded {
        name: "own".into(),
        entry: 16,
        calls: 1,
        times: vec![1.0, 2.0, 4.0],
    };
    let started = Started {
        name: "  without checksums".into(),
        ms: 43.52,
        more: -2.31,
    };
    let row = loaded.row(&own);
    let new = with_rows(&page, LOADED, &row).expect("a table");
    let new = with_rows(&new, STARTED, &started.row(false)).expect("a table");

    let is_new = |line: &&str| !page.contains(*line);
    let rows: Vec<&str> = new.lines().filter(is_new).collect();
    assert_eq!(
        rows,
        [
            "| GRUB 2.06 | 32-bit | 600 | 10.0 | 10.0 | 100 | 50.0 | 0.50 | 0.12 |",
            "| without checksums | 43.5 | −2.3 |"
        ]
    );
    // Nothing but rows has gone.
    let gone = page.lines().filter(|line| !new.contains(line));
    let gone: Vec<&str> = gone.collect();
    assert!(
        gone.len() >= 2 && gone.iter().all(|line| line.starts_with("| ")),
        "{gone:?}"
    );
    assert!(with_rows(&page, "## No such heading", &row).is_err());
}

#[test]
fn three_digits_count() {
    let cases = [
        (0.926, "0.93"),
        (9.99, "9.99"),
        (9.996, "10.0"),
        (99.94, "99.9"),
        (99.96, "100"),
        (1024.4, "1024"),
    ];
    for (number, text) in cases {
        assert_eq!(digits(number), text);
    }
}

#[test]
fn a_step_ends_where_the_next_one_begins() {
    let said = |steps: u64| -> String {
        // Ticks, reads and a checksum; then each step takes as many ticks as its number.
        let began = (0..steps).map(|step| step * (step + 1) / 2);
        [78, 9, 7]
            .into_iter()
            .chain(began)
            .map(|number| format!("{number:016X}\n"))
            .collect()
    };
    let steps = steps::parse(&said(12), 78).expect("twelve steps");
    assert_eq!(steps, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    assert!(steps::parse(&said(11), 78).is_err());
    assert!(steps::parse(&said(13), 91).is_err());
}
