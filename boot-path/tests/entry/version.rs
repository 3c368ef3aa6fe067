//! The order of versions: the examples of the specification, and the laws of an order.

use std::cmp::Ordering::{self, Equal, Greater, Less};

use boot_path::entry::version;
use proptest::prelude::*;

fn compare(a: &str, b: &str) -> Ordering {
    version::compare(a.as_bytes(), b.as_bytes())
}

fn check(a: &str, expected: Ordering, b: &str) {
    assert_eq!(compare(a, b), expected, "{a:?} and {b:?}");
    assert_eq!(compare(b, a), expected.reverse(), "{b:?} and {a:?}");
}

/// UAPI.10, "Examples".
#[test]
fn the_examples_of_the_specification() {
    for (a, expected, b) in [
        ("11", Equal, "11"),
        ("systemd-123", Equal, "systemd-123"),
        ("bar-123", Less, "foo-123"),
        ("123a", Greater, "123"),
        ("123.a", Greater, "123"),
        ("123.a", Less, "123.b"),
        ("123a", Greater, "123.a"),
        ("11α", Equal, "11β"),
        ("B", Less, "a"),
        ("", Less, "0"),
        ("0.", Greater, "0"),
        ("0.0", Greater, "0"),
        ("0", Greater, "~"),
        ("", Greater, "~"),
        ("1_", Equal, "1"),
        ("_1", Equal, "1"),
        ("1_", Less, "1.2"),
        ("1_2_3", Greater, "1.3.3"),
        ("1+", Equal, "1"),
        ("+1", Equal, "1"),
        ("1+", Less, "1.2"),
        ("1+2+3", Greater, "1.3.3"),
    ] {
        check(a, expected, b);
    }
    let ascending = [
        "122.1",
        "123~rc1-1",
        "123",
        "123-a",
        "123-a.1",
        "123-1",
        "123-1.1",
        "123^post1",
        "123.a-1",
        "123.1-1",
        "123a-1",
        "124-1",
    ];
    for (index, a) in ascending.iter().enumerate() {
        for (other, b) in ascending.iter().enumerate() {
            check(a, index.cmp(&other), b);
        }
    }
}

#[test]
fn numbers_have_any_length() {
    check("6.9", Less, "6.10");
    check("6.010", Equal, "6.10");
    check("6.00", Equal, "6.0");
    let long = "9".repeat(300);
    check(&long, Less, &format!("1{}", "0".repeat(300)));
    check(&format!("000{long}"), Equal, &long);
    check("a0", Greater, "a");
    check("a0b", Equal, "a00b");
    check("a.", Less, "a0");
}

/// Characters that matter to the order, and a few others.
fn version() -> impl Strategy<Value = String> {
    prop_oneof!["[0-2ab.~^_-]{0,8}", "[0-9]{1,25}", any::<String>()]
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
    fn both_sides_agree(a in version(), b in version()) {
        prop_assert_eq!(compare(&a, &a), Equal);
        prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
        // A common start changes nothing if it is a part of its own.
        let (pa, pb) = (format!("7-{a}"), format!("07_-{b}"));
        prop_assert_eq!(compare(&pa, &pb), compare(&a, &b));
        // And neither does one that is the same, byte by byte; but it may begin a number.
        for start in ["7-", "linux-6.1_", "~", "6.1", "b"] {
            let one = compare(&format!("{start}{a}"), &format!("{start}{b}"));
            let split = compare(&format!("_{start}{a}"), &format!("{start}{b}"));
            prop_assert_eq!(one, split);
        }
    }

    #[test]
    fn numbers_compare_as_numbers(a in any::<u64>(), b in any::<u64>(), zeros in 0..5usize) {
        let padded = format!("{}{b}", "0".repeat(zeros));
        prop_assert_eq!(compare(&a.to_string(), &padded), a.cmp(&b));
    }
}
