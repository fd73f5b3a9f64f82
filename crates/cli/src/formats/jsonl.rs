//! `jsonl`: one object per line, `{"key": ..., "value": ...}`, each text or `{"hex": "..."}`; and `{"keyspace": ...}`
//! before the entries of a keyspace.
//!
//! What `dump` prints, and `scan --output jsonl`. Blank lines are skipped. Other fields are refused, since a misspelt
//! one would lose data; of a field given twice the last counts, as JSON readers have it.

use super::{MAX_KEY_BYTES, Next, ReadError, Record, Records, Writer, lines::Lines, malformed};
use crate::text;
use serde_json::{Map, Value, json};
use std::io::{self, BufRead, Write};

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
    fn next(&mut self, record: &mut Record) -> Result<Next, ReadError> {
        while let Some(line) = self.lines.next()? {
            if !line.is_blank() {
                return parse(line.content(), record).map_err(|reason| malformed(line.number, reason));
            }
        }
        Ok(Next::End)
    }

    fn read_bytes(&self) -> u64 {
        self.lines.read_bytes()
    }
}

/// Writes one object per line.
pub(super) struct JsonWriter<'a>(pub(super) &'a mut dyn Write);

impl Writer for JsonWriter<'_> {
    fn keyspace(&mut self, name: &str) -> io::Result<()> {
        writeln!(self.0, "{}", json!({ "keyspace": name }))
    }

    fn entry(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        write_entry(self.0, key, value)
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes the line of an entry.
pub(crate) fn write_entry(out: &mut dyn Write, key: &[u8], value: &[u8]) -> io::Result<()> {
    writeln!(out, "{}", json!({ "key": text::json(key), "value": text::json(value) }))
}

fn parse(line: &[u8], record: &mut Record) -> Result<Next, String> {
    if let Some((key, value)) = plain(line) {
        record.key.clear();
        record.key.extend_from_slice(key);
        record.value.clear();
        record.value.extend_from_slice(value);
    } else {
        match parse_json(line)? {
            Parsed::Record(parsed) => *record = parsed,
            Parsed::Keyspace(name) => return Ok(Next::Keyspace(name)),
        }
    }
    match record.key.len() {
        bytes if bytes > MAX_KEY_BYTES => {
            Err(format!("\"key\" has {bytes} bytes, more than {MAX_KEY_BYTES}"))
        }
        _ => Ok(Next::Record),
    }
}

/// What a line says.
#[derive(PartialEq, Eq, Debug)]
enum Parsed {
    Record(Record),
    Keyspace(String),
}

/// Key and value of a line in the form that nearly all lines of a long file have:
/// `{"key":"...","value":"..."}`, also with a space behind `:` and `,`, and without escapes. Such a line
/// means the same to [`parse_json`], which takes several times as long.
fn plain(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (key, rest) = plain_text(plain_name(line.strip_prefix(b"{")?, b"\"key\":")?)?;
    let rest = rest.strip_prefix(b",")?;
    let (value, rest) = plain_text(plain_name(rest.strip_prefix(b" ").unwrap_or(rest), b"\"value\":")?)?;
    (rest == b"}").then_some((key, value))
}

fn plain_name<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(name)?;
    rest.strip_prefix(b" ").unwrap_or(rest).strip_prefix(b"\"")
}

/// What comes before the next quote, and what behind it.
fn plain_text(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = line.iter().position(|&byte| byte == b'"' || byte == b'\\' || byte < b' ')?;
    let rest = line[end..].strip_prefix(b"\"")?;
    std::str::from_utf8(&line[..end]).ok().map(|text| (text.as_bytes(), rest))
}

fn parse_json(line: &[u8]) -> Result<Parsed, String> {
    let value = serde_json::from_slice(line).map_err(|error| json_reason(&error))?;
    let Value::Object(mut fields) = value else {
        return Err("not a JSON object".to_owned());
    };

    if fields.len() == 1
        && let Some(name) = fields.remove("keyspace")
    {
        return match name {
            Value::String(name) => Ok(Parsed::Keyspace(name)),
            _ => Err("\"keyspace\" is not text".to_owned()),
        };
    }
    let key = take(&mut fields, "key")?;
    let value = take(&mut fields, "value")?;
    if let Some(other) = fields.keys().next() {
        return Err(format!("unknown field {other:?}; there are \"key\" and \"value\""));
    }
    Ok(Parsed::Record(Record { key, value }))
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
    fn plain_lines_mean_what_json_means() {
        let plain_lines = [
            r#"{"key":"a","value":"b"}"#,
            r#"{"key": "a", "value": "b"}"#,
            r#"{"key":"","value":""}"#,
            r#"{"key":"ü","value":"a } , : b"}"#,
        ];
        for line in plain_lines {
            let (key, value) = plain(line.as_bytes()).expect(line);
            let record = Record { key: key.into(), value: value.into() };
            assert_eq!(parse_json(line.as_bytes()).unwrap(), Parsed::Record(record));
        }

        let others: [&[u8]; 9] = [
            br#"{"key":"a\n","value":"b"}"#,
            br#"{"key":"a","value":"\u0000"}"#,
            br#"{"key":"a","value":{"hex":"00"}}"#,
            br#"{"value":"b","key":"a"}"#,
            br#"{"key":"a","value":"b"} "#,
            b"{\"key\":\"a\",\"value\":\"\x01\"}",
            b"{\"key\":\"a\",\"value\":\"\xff\"}",
            br#"{"key":"a","value":"b","value":"c"}"#,
            br#"{"key":"a","value":"b"#,
        ];
        for line in others {
            assert_eq!(plain(line), None, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn memory_of_the_record_before_leaves_no_trace() {
        let input = r#"{"key":"longer","value":"first"}
{"key":"a","value":""}
{"key":"b\u0062","value":"x"}
{"key":"c","value":"y"}"#;
        let expected = [entry("longer", b"first"), entry("a", b""), entry("bb", b"x"), entry("c", b"y")];
        assert_eq!(read(input).unwrap(), expected);
    }

    #[test]
    fn keyspaces_are_named_before_their_entries() {
        let input = "{\"keyspace\":\"a b\"}\n{\"key\":\"k\",\"value\":\"\"}\n{\"keyspace\":\"c\"}\n";
        let expected = [entry("keyspace a b", b""), entry("k", b""), entry("keyspace c", b"")];
        assert_eq!(read(input).unwrap(), expected);
        assert_eq!(read("{\"keyspace\":1}").unwrap_err(), "1: \"keyspace\" is not text");
        assert_eq!(read("{\"keyspace\":\"a\",\"key\":\"k\"}").unwrap_err(), "1: no \"value\"");
    }

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        let mut writer = JsonWriter(&mut bytes);
        writer.keyspace("k\"").unwrap();
        writer.entry(b"a\"", b"").unwrap();
        writer.entry(b"", b"\xff\0\n").unwrap();
        writer.end().unwrap();

        assert_eq!(
            read(bytes).unwrap(),
            [entry("keyspace k\"", b""), entry("a\"", b""), entry("", b"\xff\0\n")]
        );
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
