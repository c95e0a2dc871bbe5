//! Sizes, times and rates, as people write and read them.

use std::time::Duration;

/// Reads a time: `10`, `1.5` or `2s` in seconds, `200ms`, `3m`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    const DAY: f64 = 24.0 * 60.0 * 60.0;
    let (number, unit) = split(text);
    let factor = match unit {
        "" | "s" => Some(1.0),
        "ms" => Some(0.001),
        "m" => Some(60.0),
        _ => None,
    };
    let seconds = number.parse::<f64>().ok().zip(factor).map(|(n, f)| n * f);
    let seconds = seconds.filter(|seconds| (0.0..=DAY).contains(seconds));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "write seconds, such as 10, 0.5 or 2s, or 200ms, or 3m".to_owned())
}

/// Reads a time that is longer than zero.
pub(crate) fn some_time(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("it must be longer than zero".to_owned()),
        time => Ok(time),
    }
}

/// Reads a number of bytes: `64`, `16k` or `16KiB`, `1M`.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    const MOST: usize = 1 << 30;
    let (number, unit) = split(text);
    let factor = match &unit.to_ascii_lowercase()[..] {
        "" | "b" => Some(1),
        "k" | "kib" => Some(1 << 10),
        "m" | "mib" => Some(1 << 20),
        "g" | "gib" => Some(1 << 30),
        _ => None,
    };
    let bytes = number.parse::<usize>().ok().zip(factor);
    let bytes = bytes.and_then(|(number, factor)| number.checked_mul(factor));
    bytes
        .filter(|bytes| *bytes <= MOST)
        .ok_or_else(|| "write bytes, such as 64, 16KiB or 1MiB, at most 1GiB".to_owned())
}

/// Splits a number from its unit.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    (number, unit.trim())
}

/// Writes a number of bytes with a fitting unit.
pub(crate) fn bytes(bytes: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{} {}", short(value), UNITS[unit])
}

/// Writes a number of bytes in millions, without the unit.
pub(crate) fn megabytes(bytes: f64) -> String {
    short(bytes / 1e6)
}

/// Writes a time in milliseconds with a fitting number of digits, without the unit.
pub(crate) fn millis(ms: f64) -> String {
    match ms {
        ms if ms < 10.0 => format!("{ms:.2}"),
        ms if ms < 100.0 => format!("{ms:.1}"),
        ms => format!("{ms:.0}"),
    }
}

/// Writes a number with up to three digits that count.
pub(crate) fn short(value: f64) -> String {
    match value {
        value if value.fract() == 0.0 || value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// Writes a whole number with a thin gap between groups of three digits.
pub(crate) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// Writes a share in percent.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0 %".to_owned();
    }
    let percent = part as f64 * 100.0 / whole as f64;
    let digits = usize::from(percent.fract() != 0.0);
    format!("{percent:.digits$} %")
}

/// Returns a percentile of sorted values, by the nearest rank; `None` when there are none.
pub(crate) fn percentile(sorted: &[f64], percent: f64) -> Option<f64> {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

/// Returns what a word has at its end for so many.
pub(crate) fn plural(count: impl Into<u64>) -> &'static str {
    if count.into() == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, ms) in [
            ("10", 10_000),
            ("0.5", 500),
            ("2s", 2000),
            ("200ms", 200),
            ("3 m", 180_000),
            ("0", 0),
        ] {
            assert_eq!(time(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "-1", "1h", "1e9", "NaN", "90000"] {
            assert!(time(text).is_err(), "{text}");
        }
        assert!(some_time("0ms").is_err());
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("0", 0),
            ("64", 64),
            ("1k", 1024),
            ("16KiB", 16 << 10),
            ("2 M", 2 << 20),
            ("1G", 1 << 30),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "k", "-1", "1.5k", "2G", "1 kB", "99999999999999999999"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(bytes(0.0), "0 B");
        assert_eq!(bytes(1536.0), "1.50 KiB");
        assert_eq!(bytes(64.0 * 1024.0), "64 KiB");
        assert_eq!(bytes(123_456_789.0), "118 MiB");
        assert_eq!(millis(0.123), "0.12");
        assert_eq!(millis(12.34), "12.3");
        assert_eq!(millis(1234.5), "1234");
        assert_eq!(grouped(1_234_567.0), "1 234 567");
        assert_eq!(grouped(999.0), "999");
        assert_eq!(percent(1, 8), "12.5 %");
        assert_eq!(percent(0, 0), "0 %");
        assert_eq!(percent(5, 5), "100 %");
    }

    #[test]
    fn megabytes_are_millions() {
        for (bytes, words) in [(0.0, "0"), (2_508_288.0, "2.51"), (64e6, "64")] {
            assert_eq!(megabytes(bytes), words);
        }
    }

    #[test]
    fn percentiles_go_by_rank() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&values, 0.0), Some(1.0));
        assert_eq!(percentile(&values, 50.0), Some(50.0));
        assert_eq!(percentile(&values, 99.0), Some(99.0));
        assert_eq!(percentile(&values, 100.0), Some(100.0));
        assert_eq!(percentile(&[7.0], 50.0), Some(7.0));
        assert_eq!(percentile(&[], 50.0), None);
    }
}
