//! A kernel's ELF file: headers, groups, page ranges, relocations.

use boot_path::errors::text::copy;
use boot_path::kernel::image::{
    KernelImage, MAX_PROGRAM_HEADERS, PREFERRED_BASE, check_file, read,
};
use boot_path::kernel::relocate::relocate;
use boot_path::memory::address::VirtAddr;

use super::loaded::Loaded;
use crate::input::Input;
use crate::kernels;
use crate::targets::show;

/// The input: a file; or, when the first byte is odd, what to make one of.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let made;
    let file = if input.u8() & 1 == 0 {
        input.rest()
    } else {
        made = kernels::make(&mut input);
        &made
    };
    let checked = check_file(file);
    let list = |count| Ok(Vec::with_capacity(count));
    let read = read(file.len() as u64, list, |offset, out| {
        Ok(copy(
            file.get(offset.as_u64() as usize..).unwrap_or_default(),
            out,
        ))
    });
    let image = read.and_then(|(image, wishes)| image.check(&wishes).map(|()| image));
    let image = match image {
        Ok(image) => image,
        Err(error) => {
            show(&error);
            assert_eq!(checked.err(), Some(error));
            return;
        }
    };
    check(&image);

    let Some(mut loaded) = Loaded::new(&image, file) else {
        return;
    };
    let mut expected = loaded.memory.clone();
    let slide = image.choose_slide();
    let result = relocate(&image, &mut loaded, slide);
    kernels::agree(&result, kernels::relocate(&image, &mut expected, slide));
    if let Err(error) = &result {
        show(error);
    } else {
        assert!(loaded.memory == expected, "relocations differ");
    }
}

/// Checks what an image promises.
fn check(image: &KernelImage) {
    check_segments(image);
    check_groups(image);
    check_page_ranges(image);
}

/// Segments do not overlap, and are where they may be.
fn check_segments(image: &KernelImage) {
    let segments = image.segments();
    assert!((1..=MAX_PROGRAM_HEADERS).contains(&segments.len()));
    for pair in segments.windows(2) {
        assert!(pair[0].virtual_end() <= pair[1].virtual_start);
    }
    let slide = image.choose_slide();
    for segment in segments {
        assert!(segment.file_size <= segment.memory_size && segment.memory_size > 0);
        let first = segment.virtual_start.wrapping_add(slide);
        let last = first.checked_add(segment.memory_size - 1).expect("no wrap");
        assert!(first >= PREFERRED_BASE || !image.position_independent());
        let (first, last) = (first.as_u64(), last.as_u64());
        assert_eq!(first as i64 >> 47, last as i64 >> 47, "one half");
        assert!(matches!(first as i64 >> 47, 0 | -1), "canonical");
        assert!(first >= 4096, "page 0");
    }
    let entry = image.entry().wrapping_sub(image.virtual_start());
    assert!(entry < image.virtual_end() - image.virtual_start());
}

/// The groups hold all segments, in order, each within its group.
fn check_groups(image: &KernelImage) {
    let (segments, slide) = (image.segments(), image.choose_slide());
    let mut next = 0;
    let mut before: Option<VirtAddr> = None;
    for group in image.groups() {
        assert_eq!(group.first, next);
        assert!(group.end > group.first);
        next = group.end;
        assert_eq!((group.virtual_start.as_u64() | group.size) % 4096, 0);
        let end = group.virtual_start + group.size;
        for segment in &segments[group.first..group.end] {
            assert!(group.virtual_start <= segment.virtual_start && segment.virtual_end() <= end);
            assert_eq!(slide % segment.alignment, 0);
            assert!(group.alignment >= segment.alignment);
        }
        assert!(group.alignment.is_power_of_two() && group.alignment >= 4096);
        assert_eq!(group.offset, group.virtual_start.as_u64() % group.alignment);
        if let Some(before) = before {
            assert!(
                group.virtual_start - before >= 2 << 20,
                "too close for two groups"
            );
        }
        before = Some(end);
    }
    assert_eq!(next, segments.len());
}

/// The page ranges have no gap and no overlap with respect to the segments, and the right
/// permissions.
fn check_page_ranges(image: &KernelImage) {
    let slide = image.choose_slide();
    let edges = kernels::edges(image, slide);
    let mut covered = Vec::new();
    for range in image.page_ranges(slide) {
        let start = range.virtual_start.as_u64();
        assert_eq!((start | range.size) % 4096, 0);
        assert!(range.size > 0);
        let end = start + range.size;
        let inside = edges.iter().filter(|edge| (start..end).contains(edge));
        for &page in inside.chain([&start, &(end - 4096)]) {
            let expected = Some((range.writable, range.executable));
            assert_eq!(
                kernels::permissions(image, slide, page),
                expected,
                "{page:x}"
            );
        }
        covered.push((start, end));
    }
    assert!(covered.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    for &edge in &edges {
        let inside = covered
            .iter()
            .any(|&(start, end)| (start..end).contains(&edge));
        assert_eq!(
            inside,
            kernels::permissions(image, slide, edge).is_some(),
            "{edge:x}"
        );
    }
}
