//! `jsonl`: one object per line, `{"key": ..., "value": ...}`, each text or `{"hex": "..."}`.
//!
//! What `scan --output jsonl` prints. Blank lines are skipped. Other fields are refused, since a misspelt
//! one would lose data; of a field given twice the last counts, as JSON readers have it.

use super::{MAX_KEY_BYTES, ReadError, Record, Records, lines::Lines, malformed};
use crate::text;
use serde_json::{Map, Value};
use std::io::BufRead;

/// Reads one object per line.
pub(super) struct JsonLines<R> {
    lines: Lines<R>,
}

impl<R: BufRead> JsonLines<R> {
    pub(super) fn new(lines: Lines<R>) -> JsonLines<R> {
        JsonLines { lines }
    }
}

impl<R: BufRead> Records for JsonLines<R> {
    fn next(&mut self) -> Result<Option<Record>, ReadError> {
        while let Some(line) = self.lines.next()? {
            if !line.is_blank() {
                let record = parse(line.content()).map_err(|reason| malformed(line.number, reason))?;
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    fn read_bytes(&self) -> u64 {
        self.lines.read_bytes()
    }
}

fn parse(line: &[u8]) -> Result<Record, String> {
    let value = serde_json::from_slice(line).map_err(|error| json_reason(&error))?;
    let Value::Object(mut fields) = value else {
        return Err("not a JSON object".to_owned());
    };

    let key = take(&mut fields, "key")?;
    let value = take(&mut fields, "value")?;
    if let Some(other) = fields.keys().next() {
        return Err(format!("unknown field {other:?}; there are \"key\" and \"value\""));
    }
    if key.len() > MAX_KEY_BYTES {
        return Err(format!("\"key\" has {} bytes, more than {MAX_KEY_BYTES}", key.len()));
    }
    Ok(Record { key, value })
}

fn take(fields: &mut Map<String, Value>, name: &str) -> Result<Vec<u8>, String> {
    let value = fields.remove(name).ok_or_else(|| format!("no {name:?}"))?;
    text::from_json(value).map_err(|why| format!("{name:?} {why}"))
}

/// The message without serde's own line number, which is always 1 here.
fn json_reason(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let reason = message.rsplit_once(" at line ").map_or(&*message, |(reason, _)| reason);
    format!("column {}: {reason}", error.column())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::read_all;

    fn read(input: impl AsRef<[u8]>) -> Result<Vec<(String, Vec<u8>)>, String> {
        read_all(JsonLines::new(Lines::new(input.as_ref(), 1 << 20)))
    }

    fn entry(key: &str, value: &[u8]) -> (String, Vec<u8>) {
        (key.to_owned(), value.to_vec())
    }

    #[test]
    fn text_and_hex_are_read() {
        let input = r#"{"key": "a", "value": "ü"}
{"value": {"hex": "00fF"}, "key": {"hex": "62"}}"#;
        assert_eq!(read(input).unwrap(), [entry("a", "ü".as_bytes()), entry("b", b"\x00\xff")]);
    }

    #[test]
    fn blank_lines_and_crlf_are_skipped() {
        let input = "\r\n{\"key\":\"a\",\"value\":\"1\"}\r\n \t\n\n{\"key\":\"b\",\"value\":\"2\"}\n\n";
        assert_eq!(read(input).unwrap(), [entry("a", b"1"), entry("b", b"2")]);
        assert_eq!(read("").unwrap(), []);
    }

    #[test]
    fn escaped_nul_and_empty_bytes_are_values() {
        let input = r#"{"key":"","value":"\u0000"}"#;
        assert_eq!(read(input).unwrap(), [entry("", b"\0")]);
    }

    #[test]
    fn malformed_lines_are_named() {
        let table: [(&[u8], &str); 14] = [
            (b"nonsense", "column 2: expected ident"),
            (b"{\"key\":\"a\"", "column 10: EOF while parsing an object"),
            (b"[1]", "not a JSON object"),
            (b"{\"value\":\"v\"}", "no \"key\""),
            (b"{\"key\":\"k\"}", "no \"value\""),
            (b"{\"key\":\"k\",\"value\":1}", "\"value\" is neither text nor {\"hex\": \"...\"}"),
            (b"{\"key\":null,\"value\":\"\"}", "\"key\" is neither text nor {\"hex\": \"...\"}"),
            (b"{\"key\":{\"hex\":\"0\"},\"value\":\"\"}", "\"key\" has bad hex: an odd number of hex digits"),
            (
                b"{\"key\":\"k\",\"value\":\"\",\"vlaue\":1}",
                "unknown field \"vlaue\"; there are \"key\" and \"value\"",
            ),
            (b"{\"key\":\"k\",\"value\":\"\"} {}", "column 24: trailing characters"),
            (b"{\"key\":\"k\",\"value\":\"a\0b\"}", "column 22: control character (\\u0000-\\u001F) found"),
            (b"{\"key\":\"k\",\"value\":\"\xff\"}", "column 21: invalid unicode code point"),
            (b"{\"key\":\"\\ud800\",\"value\":\"\"}", "column 15: unexpected end of hex escape"),
            (b"\0", "column 1: expected value"),
        ];
        for (line, reason) in table {
            let input = [b"\n{\"key\":\"ok\",\"value\":\"\"}\n".as_slice(), line, b"\n"].concat();
            let error = read(&input).unwrap_err();
            assert!(error.starts_with(&format!("3: {reason}")), "{error:?} is not {reason:?}");
        }
    }

    #[test]
    fn longest_key_passes_and_one_more_byte_does_not() {
        let line = |bytes| format!("{{\"key\":\"{}\",\"value\":\"\"}}", "k".repeat(bytes));
        assert!(read(line(MAX_KEY_BYTES)).is_ok());
        assert_eq!(read(line(MAX_KEY_BYTES + 1)).unwrap_err(), "1: \"key\" has 65536 bytes, more than 65535");
    }
}
