//! The contents of a file against a naive model, and against their limits (semantics 1.5, 6.1).

use owltmp::content::{Allocation, Content, Limits, MAX_FILE_SIZE, Whence};
use owltmp::types::Errno;
use proptest::prelude::*;

const PAGE: u64 = 4096;

#[derive(Clone, Debug)]
enum Step {
    Write(u64, usize, u8),
    Resize(u64),
    Punch(u64, u64),
    Allocate(u64, u64, bool),
    Copy(u64, u64, u64),
    Read(u64, usize),
}

fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![0..200u64, 4000..4200u64, 0..40_000u64]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (offset(), 0..9000usize, 1..=255u8).prop_map(|(at, len, byte)| Step::Write(at, len, byte)),
        2 => offset().prop_map(Step::Resize),
        1 => (offset(), 1..9000u64).prop_map(|(at, len)| Step::Punch(at, len)),
        1 => (offset(), 1..9000u64, any::<bool>()).prop_map(|(at, len, keep)| Step::Allocate(at, len, keep)),
        1 => (offset(), offset(), 1..9000u64).prop_map(|(from, to, len)| Step::Copy(from, to, len)),
        2 => (offset(), 0..9000usize).prop_map(|(at, len)| Step::Read(at, len)),
    ]
}

/// What the contents should be: bytes, and nothing about pages.
fn apply(model: &mut Vec<u8>, content: &mut Content, step: &Step) {
    match *step {
        Step::Write(at, len, byte) => {
            assert_eq!(content.write_at(at, &vec![byte; len]), Ok(len));
            write(model, at as usize, &vec![byte; len]);
        }
        Step::Resize(size) => {
            content.set_size(size).unwrap();
            model.resize(size as usize, 0);
        }
        Step::Punch(at, len) => {
            content.allocate(Allocation::PunchHole, at, len).unwrap();
            let end = model.len().min((at + len) as usize);
            let start = end.min(at as usize);
            model[start..end].fill(0);
        }
        Step::Allocate(at, len, keep) => {
            let what = if keep { Allocation::KeepSize } else { Allocation::Grow };
            content.allocate(what, at, len).unwrap();
            if !keep && model.len() < (at + len) as usize {
                model.resize((at + len) as usize, 0);
            }
        }
        Step::Copy(from, to, len) => {
            let len = len.min(from.abs_diff(to));
            let end = model.len().min((from + len) as usize);
            let bytes = model[end.min(from as usize)..end].to_vec();
            assert_eq!(content.copy_within(from, to, len), Ok(bytes.len() as u64));
            write(model, to as usize, &bytes);
        }
        Step::Read(at, len) => {
            let mut buf = vec![0xee; len];
            let count = content.read_at(at, &mut buf).unwrap();
            let end = model.len().min(at as usize + len);
            assert_eq!(buf[..count], model[end.min(at as usize)..end]);
        }
    }
}

fn write(model: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    if model.len() < at + bytes.len() {
        model.resize(at + bytes.len(), 0);
    }
    model[at..at + bytes.len()].copy_from_slice(bytes);
}

fn whole(content: &Content) -> Vec<u8> {
    let mut bytes = vec![0xee; content.size() as usize + 10];
    let count = content.read_at(0, &mut bytes).unwrap();
    bytes.truncate(count);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn contents_are_those_of_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let limits = Limits::new(None, None);
        let mut content = Content::empty(&limits);
        let mut model = Vec::new();
        for step in &steps {
            apply(&mut model, &mut content, step);
            prop_assert_eq!(content.size(), model.len() as u64);
            prop_assert_eq!(limits.usage().used_pages, content.blocks() / 8);
        }
        prop_assert_eq!(whole(&content), model);
        drop(content);
        prop_assert_eq!(limits.usage().used_pages, 0);
    }

    #[test]
    fn the_limit_is_never_passed_and_nothing_is_lost(steps in prop::collection::vec(step(), 1..60)) {
        const LIMIT: u64 = 6;
        let limits = Limits::new(Some(LIMIT * PAGE), None);
        let mut content = Content::empty(&limits);
        let mut model = Vec::new();
        for step in &steps {
            if let Step::Write(at, len, byte) = *step {
                match content.write_at(at, &vec![byte; len]) {
                    Ok(written) => write(&mut model, at as usize, &vec![byte; written]),
                    Err(errno) => prop_assert_eq!(errno, Errno::ENOSPC),
                }
            } else if let Step::Allocate(at, len, _) = *step {
                let before = (content.size(), content.blocks());
                if content.allocate(Allocation::Grow, at, len).is_err() {
                    prop_assert_eq!(content.size(), before.0);
                    prop_assert!(content.blocks() <= before.1);
                }
                model.resize(content.size() as usize, 0);
            } else if !matches!(step, Step::Copy(..)) {
                apply(&mut model, &mut content, step);
            }
            prop_assert!(limits.usage().used_pages <= LIMIT);
            prop_assert_eq!(limits.usage().used_pages, content.blocks() / 8);
        }
        prop_assert_eq!(whole(&content), model);
    }

    #[test]
    fn holes_and_data_are_where_they_are(steps in prop::collection::vec(step(), 1..30), from in offset()) {
        let limits = Limits::new(None, None);
        let mut content = Content::empty(&limits);
        let mut model = Vec::new();
        for step in &steps {
            apply(&mut model, &mut content, step);
        }
        match content.seek(from, Whence::Data) {
            Ok(data) => {
                prop_assert!(data >= from && data < content.size());
                prop_assert!(model[from as usize..data as usize].iter().all(|&byte| byte == 0));
            }
            Err(errno) => {
                prop_assert_eq!(errno, Errno::ENXIO);
                prop_assert!(model.iter().skip(from as usize).all(|&byte| byte == 0));
            }
        }
        match content.seek(from, Whence::Hole) {
            Ok(hole) => prop_assert!(hole >= from && hole <= content.size()),
            Err(_) => prop_assert!(from >= content.size()),
        }
    }
}

/// semantics 1.5: what does not fit is cut off where the limit is, and the next byte is refused.
#[test]
fn a_write_past_the_limit_is_short_and_then_refused() {
    let limits = Limits::new(Some(2 * PAGE), None);
    let mut content = Content::empty(&limits);
    assert_eq!(content.write_at(100, &[1; 3 * 4096]), Ok(2 * 4096 - 100));
    assert_eq!(content.size(), 2 * PAGE);
    assert_eq!(content.write_at(2 * PAGE, &[1]), Err(Errno::ENOSPC));
    assert_eq!(
        content.write_at(5000, &[2; 100]),
        Ok(100),
        "pages that exist can be written"
    );
    assert_eq!(content.size(), 2 * PAGE);
    content.set_size(PAGE).unwrap();
    assert_eq!(
        content.write_at(2 * PAGE, &[1]),
        Ok(1),
        "space that was given back is there again"
    );
}

/// semantics 1.5: space that fallocate promised is there, also when everything else is full.
#[test]
fn allocated_space_can_be_written_when_all_is_full() {
    let limits = Limits::new(Some(8 * PAGE), None);
    let mut content = Content::empty(&limits);
    content.allocate(Allocation::Grow, 0, 8 * PAGE).unwrap();
    assert_eq!(limits.usage().used_pages, 8);
    assert_eq!(content.write_at(0, &[7; 8 * 4096]), Ok(8 * 4096));
    content.allocate(Allocation::Grow, PAGE, 7 * PAGE).unwrap();
    let mut other = Content::empty(&limits);
    assert_eq!(other.write_at(0, &[1]), Err(Errno::ENOSPC));
    assert_eq!(other.allocate(Allocation::KeepSize, 0, 1), Err(Errno::ENOSPC));
}

/// semantics 1.5: "nothing half-written": a refused allocation gives back what it had taken.
#[test]
fn a_refused_allocation_changes_nothing() {
    let limits = Limits::new(Some(4 * PAGE), None);
    let mut content = Content::empty(&limits);
    content.write_at(PAGE, &[1; 4096]).unwrap();
    let blocks = content.blocks();
    assert_eq!(content.allocate(Allocation::Grow, 0, 5 * PAGE), Err(Errno::ENOSPC));
    let mut other = Content::empty(&limits);
    other.write_at(0, &[1]).unwrap();
    assert_eq!(content.allocate(Allocation::Grow, 0, 4 * PAGE), Err(Errno::ENOSPC));
    assert_eq!((content.size(), content.blocks()), (2 * PAGE, blocks));
    assert_eq!(limits.usage().used_pages, 2);
}

/// semantics 1.5: what fallocate promised behind the end of a file outlives writes and allocations that find no room.
#[test]
fn a_shortage_elsewhere_leaves_what_was_allocated() {
    let limits = Limits::new(Some(8 * PAGE), None);
    let mut content = Content::empty(&limits);
    content.write_at(0, b"x").unwrap();
    content.allocate(Allocation::KeepSize, 4 * PAGE, 2 * PAGE).unwrap();
    assert_eq!(content.write_at(PAGE, &[7; 8 * 4096]), Ok(7 * 4096));
    assert_eq!((content.size(), limits.usage().used_pages), (8 * PAGE, 8));
    content.set_size(PAGE).unwrap();
    content.allocate(Allocation::KeepSize, 4 * PAGE, 2 * PAGE).unwrap();
    let mut other = Content::empty(&limits);
    assert_eq!(other.write_at(0, &[1; 8 * 4096]), Ok(5 * 4096));
    assert_eq!(content.write_at(PAGE, &[7; 4096]), Err(Errno::ENOSPC));
    assert_eq!(content.allocate(Allocation::Grow, 0, 8 * PAGE), Err(Errno::ENOSPC));
    assert_eq!((content.size(), limits.usage().used_pages), (PAGE, 8));
    assert_eq!(content.write_at(4 * PAGE, &[7; 2 * 4096]), Ok(2 * 4096));
}

/// semantics 6.1: no offset, size or count overflows.
#[test]
fn offsets_at_the_edge() {
    let limits = Limits::new(None, None);
    let mut content = Content::empty(&limits);
    assert_eq!(content.write_at(MAX_FILE_SIZE, &[1]), Err(Errno::EFBIG));
    assert_eq!(content.write_at(u64::MAX, &[1]), Err(Errno::EFBIG));
    assert_eq!(content.write_at(MAX_FILE_SIZE - 1, &[1]), Ok(1));
    assert_eq!(content.size(), MAX_FILE_SIZE);
    let mut buf = [9; 4];
    assert_eq!(content.read_at(MAX_FILE_SIZE - 1, &mut buf), Ok(1));
    assert_eq!(content.read_at(u64::MAX, &mut buf), Ok(0));
    assert_eq!(buf[0], 1);
    assert_eq!(content.set_size(MAX_FILE_SIZE + 1), Err(Errno::EFBIG));
    assert_eq!(content.allocate(Allocation::Grow, MAX_FILE_SIZE, 1), Err(Errno::EFBIG));
    assert_eq!(
        content.allocate(Allocation::PunchHole, u64::MAX, u64::MAX),
        Err(Errno::EFBIG)
    );
    assert_eq!(content.copy_within(0, u64::MAX, 1), Err(Errno::EFBIG));
    content.set_size(0).unwrap();
    assert_eq!(limits.usage().used_pages, 0);
}

/// A small file has no descriptor, so many of them cannot use up the daemon's.
#[test]
fn small_files_cost_no_descriptor() {
    let limits = Limits::new(None, None);
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    let mut all: Vec<Content> = (0..1000).map(|_| Content::empty(&limits)).collect();
    for content in &mut all {
        content.write_at(0, &[5; 4096]).unwrap();
        content.set_size(1 << 40).unwrap();
    }
    assert!(descriptors() < before + 100, "other tests may open some meanwhile");
}

#[test]
fn a_refused_write_leaves_the_end_where_it_is() {
    let limits = Limits::new(Some(2 * PAGE), None);
    let mut content = Content::empty(&limits);
    assert_eq!(content.write_at(0, &[1; 5000]), Ok(5000));
    assert_eq!(content.write_at(100_000, b"x"), Err(Errno::ENOSPC));
    assert_eq!(content.size(), 5000);
    assert_eq!(content.seek(0, Whence::Hole), Ok(5000));
    assert_eq!(limits.usage().used_pages, 2);
}

/// Does all of it, as somebody in the background would.
fn at_length(content: &mut Content, what: Allocation, at: u64, len: u64) -> Result<u32, Errno> {
    let Some(mut long) = content.allocate_at_length(what, at, len)? else {
        content.allocate(what, at, len)?;
        return Ok(0);
    };
    for pieces in 1.. {
        if content.allocate_some(&mut long)? {
            return Ok(pieces);
        }
    }
    unreachable!()
}

/// semantics 1.5: what is allocated piece by piece is all there at the end, its room was taken at the beginning, and what is
/// given up keeps only what it has got.
#[test]
fn long_allocations_are_done_in_pieces() {
    const MIB: u64 = 1 << 20;
    let limits = Limits::new(Some(200 * MIB), None);
    let used = || limits.usage().used_pages * PAGE;
    let mut content = Content::empty(&limits);
    content.write_at(5, b"hello").unwrap();
    assert_eq!(at_length(&mut content, Allocation::Grow, 0, MIB), Ok(0), "not long");
    assert_eq!(at_length(&mut content, Allocation::Grow, 100, 70 * MIB), Ok(3));
    assert_eq!((content.size(), used()), (70 * MIB + 100, 70 * MIB + PAGE));
    assert_eq!(at_length(&mut content, Allocation::KeepSize, 0, 80 * MIB), Ok(3));
    assert_eq!((content.size(), used()), (70 * MIB + 100, 80 * MIB));
    assert_eq!(
        at_length(&mut content, Allocation::Grow, 0, 201 * MIB),
        Err(Errno::ENOSPC)
    );
    assert_eq!((content.size(), used()), (70 * MIB + 100, 80 * MIB));
    assert_eq!(at_length(&mut content, Allocation::PunchHole, PAGE, 79 * MIB), Ok(3));
    assert_eq!((content.size(), used()), (70 * MIB + 100, MIB));
    assert_eq!(whole(&content)[..12], *b"\0\0\0\0\0hello\0\0");

    // A hole is one piece, however long.
    content.set_size(MAX_FILE_SIZE).unwrap();
    let pieces = at_length(&mut content, Allocation::PunchHole, 0, MAX_FILE_SIZE).unwrap();
    assert!(pieces < 5 && used() == 0, "{pieces}");
    content.set_size(70 * MIB + 100).unwrap();

    let mut long = content
        .allocate_at_length(Allocation::Grow, 0, 90 * MIB)
        .unwrap()
        .unwrap();
    assert!(!content.allocate_some(&mut long).unwrap());
    assert!(used() >= 90 * MIB, "the room for the rest is taken");
    assert_eq!(
        content.write_at(95 * MIB, &[1; 4096]),
        Ok(4096),
        "others go on in between"
    );
    drop(long);
    assert!(used() < 40 * MIB && content.size() == 95 * MIB + PAGE);
    content.set_size(0).unwrap();
    assert_eq!(used(), 0);
}
