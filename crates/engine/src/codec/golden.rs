//! Examples of the formats as text: `testdata/golden/*.hex`, which `docs/format.md` quotes.
//!
//! Bytes are hexadecimal; `#` begins a comment that ends with its line.

use alloc::{string::String, vec::Vec};
use core::fmt::Write;

/// Says whether `bytes` are those of the example.
///
/// # Panics
///
/// If they are not; the message holds them as the example would.
pub(crate) fn assert_golden(name: &str, example: &str, bytes: &[u8]) {
    if parse(example) != bytes {
        let mut lines = String::new();
        for line in bytes.chunks(16) {
            line.iter().for_each(|byte| write!(lines, "{byte:02x} ").expect("strings grow"));
            lines.push('\n');
        }
        panic!(
            "testdata/golden/{name}.hex and the code differ. If the format changed, change its description \
                and its version too. The bytes are now\n{lines}"
        );
    }
}

/// The bytes of an example.
pub(crate) fn parse(example: &str) -> Vec<u8> {
    example
        .lines()
        .flat_map(|line| line.split('#').next().unwrap_or("").split_whitespace())
        .map(|byte| u8::from_str_radix(byte, 16).expect("two hexadecimal digits a byte"))
        .collect()
}
