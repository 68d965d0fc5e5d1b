//! The values options take: sizes as the kernel's memparse reads them, octal modes, counts. Pure, checked for
//! overflow.

use std::time::Duration;

use super::IoMode;
use crate::types::attr::PAGE_SIZE;
use crate::types::{Enforcement, Mandatory};

/// The largest size or count taken: what the kernel can show in statfs(2) and what an offset can reach.
const LARGEST: u64 = i64::MAX as u64;

/// The longest time taken, in seconds: a thousand years.
const LONGEST: u64 = 1000 * 366 * 24 * 60 * 60;

/// A number as memparse of the kernel reads it: decimal, octal after `0`, hexadecimal after `0x`, then nothing or one
/// of k, m, g, t, p, e in either case, each 1024 times the one before.
pub fn number(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()?.to_ascii_lowercase() {
        _ if text.starts_with("0x") || text.starts_with("0X") => hex_suffix(text),
        b'k' => (&text[..text.len() - 1], 10),
        b'm' => (&text[..text.len() - 1], 20),
        b'g' => (&text[..text.len() - 1], 30),
        b't' => (&text[..text.len() - 1], 40),
        b'p' => (&text[..text.len() - 1], 50),
        b'e' => (&text[..text.len() - 1], 60),
        _ => (text, 0),
    };
    let value = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => digits_of(&digits[2..], 16)?,
        [b'0', _, ..] => digits_of(&digits[1..], 8)?,
        _ => digits_of(digits, 10)?,
    };
    let value = value.checked_mul(1 << shift)?;
    (value <= LARGEST).then_some(value)
}

/// In a hexadecimal number `e` is a digit, so only the other letters are suffixes.
fn hex_suffix(text: &str) -> (&str, u32) {
    for (letters, shift) in [
        (['k', 'K'], 10),
        (['m', 'M'], 20),
        (['g', 'G'], 30),
        (['t', 'T'], 40),
        (['p', 'P'], 50),
    ] {
        if let Some(digits) = text.strip_suffix(letters) {
            return (digits, shift);
        }
    }
    (text, 0)
}

/// Digits and nothing else: `from_str_radix` would take a sign.
fn digits_of(text: &str, radix: u32) -> Option<u64> {
    if text.starts_with(['+', '-']) {
        return None;
    }
    u64::from_str_radix(text, radix).ok()
}

/// A size in bytes, rounded up to pages: a number, or a percentage of the machine's memory.
pub fn size(text: &str, ram_pages: u64) -> Option<u64> {
    let bytes = match text.strip_suffix('%') {
        Some(percent) => {
            let memory = u128::from(ram_pages) * u128::from(PAGE_SIZE);
            u64::try_from(memory.checked_mul(u128::from(number(percent)?))? / 100).ok()?
        }
        None => number(text)?,
    };
    pages_to_bytes(bytes.div_ceil(PAGE_SIZE))
}

/// A number of pages as bytes.
pub fn pages_to_bytes(pages: u64) -> Option<u64> {
    pages.checked_mul(PAGE_SIZE).filter(|bytes| *bytes <= LARGEST)
}

/// Permission bits in octal.
pub fn mode(text: &str) -> Option<u32> {
    let mode = u32::try_from(digits_of(text, 8)?).ok()?;
    (mode <= crate::types::attr::PERM_MASK).then_some(mode)
}

/// How a rule is enforced.
pub fn enforcement(text: &str) -> Option<Enforcement> {
    Some(match text {
        "off" => Enforcement::Off,
        "log" => Enforcement::Log,
        "on" => Enforcement::On,
        "strict" => Enforcement::Strict,
        _ => return None,
    })
}

/// A user or group id in decimal. The last one means "none" to the kernel and is refused.
pub fn id(text: &str) -> Option<u32> {
    let id = u32::try_from(digits_of(text, 10)?).ok()?;
    (id != u32::MAX).then_some(id)
}

/// What [`duration`] takes, for a message.
pub const WANT_DURATION: &str =
    "a time such as 10d, 12h or 1d12h (units s, m or min, h, d, w; without one, seconds), or 0 for never";

/// A time as systemd.time(7) has the simple ones: numbers with a unit, which add up; without a unit, seconds.
pub fn duration(text: &str) -> Option<Duration> {
    let mut seconds = 0_u64;
    let mut rest = text;
    if text.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let unit = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, after) = rest.split_at(unit);
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let factor = match unit {
            "" | "s" | "sec" => 1,
            "m" | "min" => 60,
            "h" | "hr" => 60 * 60,
            "d" | "day" | "days" => 24 * 60 * 60,
            "w" | "week" | "weeks" => 7 * 24 * 60 * 60,
            _ => return None,
        };
        seconds = seconds.checked_add(digits_of(digits, 10)?.checked_mul(factor)?)?;
        rest = after;
    }
    (seconds <= LONGEST).then(|| Duration::from_secs(seconds))
}

/// How contents are got at.
pub fn io_mode(text: &str) -> Option<IoMode> {
    Some(match text {
        "auto" => IoMode::Auto,
        "passthrough" => IoMode::Passthrough,
        "cached" => IoMode::Cached,
        _ => return None,
    })
}

/// Whose reads and writes obey record locks.
pub fn mandatory(text: &str) -> Option<Mandatory> {
    Some(match text {
        "marked" => Mandatory::Marked,
        "full" => Mandatory::Full,
        "all" => Mandatory::All,
        "off" => Mandatory::Off,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_read_as_memparse_reads_them() {
        for (text, value) in [
            ("0", 0),
            ("12", 12),
            ("010", 8),
            ("0x10", 16),
            ("0x1e", 30),
            ("0x10k", 16 << 10),
            ("4k", 4096),
            ("4K", 4096),
            ("3m", 3 << 20),
            ("2G", 2 << 30),
            ("1t", 1 << 40),
            ("1P", 1 << 50),
            ("7e", 7 << 60),
        ] {
            assert_eq!(number(text), Some(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "",
            "k",
            "-1",
            "+1",
            "1kk",
            "1 k",
            "12q",
            "0x",
            "08",
            "1.5g",
            "8e",
            "99999999999999999999",
            "16e",
            "k1",
            "é",
            "0é",
            "0xé",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_whole_pages_and_percentages_are_of_memory() {
        assert_eq!(size("1", 100), Some(4096));
        assert_eq!(size("4097", 100), Some(8192));
        assert_eq!(size("50%", 101), Some(51 * 4096));
        assert_eq!(size("200%", 100), Some(200 * 4096));
        assert_eq!(size("0", 100), Some(0));
        assert_eq!(size("%", 100), None);
        assert_eq!(size("9223372036854775807%", u64::MAX), None);
        assert_eq!(size("9223372036854775807", 1), None);
    }

    #[test]
    fn durations_are_those_of_systemd() {
        for (text, seconds) in [
            ("0", 0),
            ("30", 30),
            ("30s", 30),
            ("5m", 300),
            ("5min", 300),
            ("12h", 43_200),
            ("10d", 864_000),
            ("2w", 1_209_600),
            ("1d12h", 129_600),
        ] {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "d",
            "-1d",
            "+1d",
            "1y",
            "10D",
            "1.5h",
            "1 d",
            "99999999999999999w",
            "9999w9999w9999w9999w9999w9999w",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn modes_and_ids() {
        assert_eq!(mode("1777"), Some(0o1777));
        assert_eq!(mode("0700"), Some(0o700));
        assert_eq!(mode("8"), None);
        assert_eq!(mode("17777"), None);
        assert_eq!(id("4294967294"), Some(u32::MAX - 1));
        assert_eq!(id("4294967295"), None);
        assert_eq!(id("-1"), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(text in any::<String>(), pages in any::<u64>()) {
            let _ = (number(&text), size(&text, pages), mode(&text), id(&text), duration(&text));
        }

        #[test]
        fn whole_pages_come_back(pages in 0..LARGEST / PAGE_SIZE) {
            prop_assert_eq!(size(&(pages * PAGE_SIZE).to_string(), 1), Some(pages * PAGE_SIZE));
        }

        #[test]
        fn a_suffix_is_a_factor(value in 0..1u64 << 20, index in 0..4usize) {
            let text = format!("{value}{}", ["k", "m", "g", "t"][index]);
            prop_assert_eq!(number(&text), Some(value << (10 * (index + 1))));
        }
    }
}
