//! Bytes as people and scripts see them, and back.
//!
//! Two forms, and neither loses anything. On a terminal: text if the bytes are UTF-8 without control
//! characters that does not look like hex, else `0x` and hex digits. In JSON: a string if the bytes are UTF-8
//! without control characters other than tab and line ends, which JSON escapes; else `{"hex": "..."}`.

use serde_json::{Value, json};
use std::borrow::Cow;

/// The form for a terminal.
pub(crate) fn plain(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.starts_with("0x") && !text.contains(char::is_control) => Cow::Borrowed(text),
        _ => Cow::Owned(format!("0x{}", hex(bytes))),
    }
}

/// As [`plain`], cut behind `max_chars` characters, which an ellipsis tells.
pub(crate) fn brief(bytes: &[u8], max_chars: usize) -> String {
    let text = plain(bytes);
    match text.char_indices().nth(max_chars) {
        None => text.into_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// The form for JSON; [`from_json`] is its inverse.
pub(crate) fn json(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(|c| !c.is_control() || matches!(c, '\t' | '\n' | '\r')) => text.into(),
        _ => json!({ "hex": hex(bytes) }),
    }
}

/// Bytes from a JSON string or `{"hex": "..."}`.
///
/// # Errors
///
/// What is wrong with the value, as the end of a sentence that begins with its name.
pub(crate) fn from_json(value: Value) -> Result<Vec<u8>, String> {
    const FORMS: &str = "is neither text nor {\"hex\": \"...\"}";
    match value {
        Value::String(text) => Ok(text.into_bytes()),
        Value::Object(fields) if fields.len() == 1 => match fields.get("hex") {
            Some(Value::String(digits)) => from_hex(digits).map_err(|why| format!("has bad hex: {why}")),
            _ => Err(FORMS.to_owned()),
        },
        _ => Err(FORMS.to_owned()),
    }
}

/// Lower-case hex digits, two per byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Bytes from hex digits of either case. A leading `0x` is accepted, so that output can be pasted back.
///
/// # Errors
///
/// What is wrong with the digits.
pub(crate) fn from_hex(text: &str) -> Result<Vec<u8>, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if let Some(odd) = digits.chars().find(|c| !c.is_ascii_hexdigit()) {
        return Err(format!("{odd:?} is not a hex digit"));
    }
    if !digits.len().is_multiple_of(2) {
        return Err("an odd number of hex digits".to_owned());
    }
    let pairs = digits.as_bytes().chunks_exact(2);
    Ok(pairs.map(|pair| nibble(pair[0]) << 4 | nibble(pair[1])).collect())
}

/// A number of bytes for people: `512 B`, `1.5 KiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A time in microseconds since 1970: `2026-11-29T06:08:08.000000Z`.
pub(crate) fn utc(unix_us: u64) -> String {
    let (seconds, us) = (unix_us / 1_000_000, unix_us % 1_000_000);
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    // Of the proleptic Gregorian calendar, whose years have a pattern of 400.
    const DAYS_OF_400_YEARS: u64 = 146_097;
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970 + 400 * (days / DAYS_OF_400_YEARS);
    days %= DAYS_OF_400_YEARS;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{us:06}Z", days + 1)
}

/// A number for people: `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 key`, `2 keys`.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => unreachable!("from_hex has checked every digit"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_shows_text_or_hex() {
        assert_eq!(plain(b"caf\xc3\xa9 au lait"), "café au lait");
        assert_eq!(plain(b""), "");
        assert_eq!(plain(b"a\nb"), "0x610a62");
        assert_eq!(plain(b"\xff"), "0xff");
        assert_eq!(plain("\u{9b}31m".as_bytes()), "0xc29b33316d", "C1 controls steer terminals too");
        assert_eq!(plain(b"0x41"), "0x30783431", "text that looks like hex is shown as hex");
    }

    #[test]
    fn plain_hex_pastes_back() {
        let bytes = b"\x00\xffA";
        assert_eq!(from_hex(&plain(bytes)).unwrap(), bytes);
    }

    #[test]
    fn json_keeps_every_byte() {
        let samples: [&[u8]; 7] = [b"", b"text", b"two\nlines\r\n", b"\x00", b"\xff\xfe", b"0x41", b"\x7f"];
        for bytes in samples {
            assert_eq!(from_json(json(bytes)).unwrap(), bytes);
        }
    }

    #[test]
    fn json_is_text_where_json_can_escape_it() {
        assert_eq!(json(b"a\nb").to_string(), r#""a\nb""#);
        assert_eq!(json(b"a\x1b[m").to_string(), r#"{"hex":"611b5b6d"}"#);
    }

    #[test]
    fn from_json_rejects_other_forms() {
        for value in
            [json!(1), json!(null), json!([]), json!({}), json!({"hex": 1}), json!({"hex": "", "x": 1})]
        {
            assert_eq!(from_json(value).unwrap_err(), "is neither text nor {\"hex\": \"...\"}");
        }
        assert_eq!(from_json(json!({"hex": "0g"})).unwrap_err(), "has bad hex: 'g' is not a hex digit");
    }

    #[test]
    fn from_hex_rejects_odd_and_foreign_digits() {
        assert_eq!(from_hex("0A0b").unwrap(), [10, 11]);
        assert!(from_hex("").unwrap().is_empty());
        assert!(from_hex("abc").unwrap_err().contains("odd number"));
        assert!(from_hex("é1").unwrap_err().contains("'é'"));
        assert!(from_hex("0x0x").unwrap_err().contains("'x'"));
    }

    #[test]
    fn sizes_round_to_the_next_unit() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(1024 * 1024 - 1), "1.0 MiB");
        assert_eq!(size(u64::MAX), "16384.0 PiB");
    }

    #[test]
    fn long_keys_are_cut_between_characters() {
        assert_eq!(brief("äöü".as_bytes(), 3), "äöü");
        assert_eq!(brief("äöü".as_bytes(), 2), "äö…");
        assert_eq!(brief(b"\x00\x01\x02", 4), "0x00…");
    }

    #[test]
    fn times_are_dates_of_the_calendar() {
        let day = |days: u64| utc(days * 86_400_000_000)[..10].to_owned();
        assert_eq!(utc(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(utc(1_700_000_000_123_456), "2023-11-14T22:13:20.123456Z");
        assert_eq!([day(59), day(789), day(790)], ["1970-03-01", "1972-02-29", "1972-03-01"]);
        assert_eq!([day(11_016), day(47_540), day(47_541)], ["2000-02-29", "2100-02-28", "2100-03-01"]);
        assert_eq!(day(146_097), "2370-01-01");
        assert!(utc(u64::MAX).starts_with("586"));
    }

    #[test]
    fn digits_are_grouped_by_three() {
        let table = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")];
        for (number, text) in table {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn counts_have_the_right_number() {
        assert_eq!(counted(1, "key", "keys"), "1 key");
        assert_eq!(counted(0, "key", "keys"), "0 keys");
    }
}
