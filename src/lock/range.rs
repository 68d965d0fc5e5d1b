//! A range of bytes: half-open, never empty, never beyond the last offset a file can have.

/// The bytes from `start` to before `end`: `start < end <= END`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Range {
    start: u64,
    end: u64,
}

impl Range {
    /// One past the last offset (OFFSET_MAX): where a range ends that goes to the end of any file.
    pub const END: u64 = 1 << 63;

    /// Every byte a file can have.
    pub const ALL: Range = Range {
        start: 0,
        end: Range::END,
    };

    /// `None` where it would be empty or go beyond [`Range::END`].
    pub fn new(start: u64, end: u64) -> Option<Range> {
        (start < end && end <= Range::END).then_some(Range { start, end })
    }

    /// From the offsets of the first and the last byte (`struct fuse_file_lock`). A last byte at OFFSET_MAX or beyond means to
    /// the end. `None` where the last comes before the first, or the first is no offset.
    pub fn of_wire(first: u64, last: u64) -> Option<Range> {
        Range::new(first, last.min(Range::END - 1) + 1)
    }

    /// What a read or write of `len` bytes at `offset` touches, as far as there are offsets. `None` where that is nothing.
    pub fn of_transfer(offset: u64, len: u64) -> Option<Range> {
        Range::new(offset, offset.saturating_add(len).min(Range::END))
    }

    /// The offset of the first byte.
    pub fn start(self) -> u64 {
        self.start
    }

    /// The offset after the last byte.
    pub fn end(self) -> u64 {
        self.end
    }

    /// The offset of the first byte, for the wire.
    pub fn first(self) -> u64 {
        self.start
    }

    /// The offset of the last byte, for the wire: OFFSET_MAX where it goes to the end.
    pub fn last(self) -> u64 {
        self.end - 1
    }

    /// The bytes that both have.
    pub fn common(self, other: Range) -> Option<Range> {
        Range::new(self.start.max(other.start), self.end.min(other.end))
    }

    /// Whether they have a byte in common.
    pub fn overlaps(self, other: Range) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Whether they overlap or lie side by side.
    pub fn touches(self, other: Range) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    /// Whether it has every byte of the other.
    pub fn contains(self, other: Range) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// What is left of it without the other: below it, above it.
    ///
    /// ```text
    /// self   [---------------)
    /// other      [-----)
    ///        [--)       [----)
    /// ```
    pub fn minus(self, other: Range) -> [Option<Range>; 2] {
        [
            Range::new(self.start, self.end.min(other.start)),
            Range::new(self.start.max(other.end), self.end),
        ]
    }

    /// The smallest range with all bytes of both.
    pub fn hull(self, other: Range) -> Range {
        Range {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }
}

impl std::fmt::Debug for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.end {
            Range::END => write!(f, "[{}, END)", self.start),
            end => write!(f, "[{}, {end})", self.start),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> Range {
        Range::new(start, end).unwrap()
    }

    #[test]
    fn the_wire_names_the_last_byte() {
        let last = Range::END - 1;
        assert_eq!(Range::of_wire(0, 0), Range::new(0, 1));
        assert_eq!(Range::of_wire(5, last), Range::new(5, Range::END));
        assert_eq!(Range::of_wire(5, u64::MAX), Range::new(5, Range::END));
        assert_eq!(Range::of_wire(last, last), Range::new(last, Range::END));
        assert_eq!(Range::of_wire(0, last), Some(Range::ALL));
        assert_eq!(Range::of_wire(5, 4), None);
        assert_eq!(Range::of_wire(Range::END, u64::MAX), None);
        assert_eq!((range(3, 9).first(), range(3, 9).last()), (3, 8));
        assert_eq!(Range::ALL.last(), last);
    }

    #[test]
    fn transfers_end_where_offsets_end() {
        assert_eq!(Range::of_transfer(7, 0), None);
        assert_eq!(Range::of_transfer(7, 3), Range::new(7, 10));
        assert_eq!(Range::of_transfer(7, u64::MAX), Range::new(7, Range::END));
        assert_eq!(Range::of_transfer(Range::END, 1), None);
        assert_eq!(Range::of_transfer(u64::MAX, u64::MAX), None);
    }

    #[test]
    fn small_ranges_behave_as_sets_of_bytes() {
        let all: Vec<Range> = (0..5).flat_map(|i| (i + 1..6).map(move |j| range(i, j))).collect();
        let has = |range: Range, byte: u64| range.start <= byte && byte < range.end;
        for (&one, &two) in all.iter().flat_map(|one| all.iter().map(move |two| (one, two))) {
            let both = |byte: &u64| has(one, *byte) && has(two, *byte);
            assert_eq!(one.overlaps(two), (0..6).any(|byte| both(&byte)));
            assert_eq!(
                one.contains(two),
                (0..6).filter(|byte| has(two, *byte)).all(|byte| has(one, byte))
            );
            assert_eq!(
                one.touches(two),
                one.overlaps(two) || one.end == two.start || two.end == one.start
            );
            let left = one.minus(two);
            for byte in 0..6 {
                let found = left.iter().flatten().filter(|it| has(**it, byte)).count();
                assert_eq!(found, usize::from(has(one, byte) && !has(two, byte)));
                assert!(!has(one, byte) && !has(two, byte) || has(one.hull(two), byte));
            }
        }
    }
}
