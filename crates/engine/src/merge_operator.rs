//! Merge operators: what operands do to a value. Found again by name.
//!
//! An operator is asked when a value is read, and when operands meet what they stand on in a flush or compaction. Which
//! operands may be combined is decided elsewhere (`compaction/fate.rs`); what comes out of them is the operator's word.

use crate::{
    error::{Error, ErrorKind, Result},
    named::{Named, NamedSet},
};
use alloc::{format, string::String, sync::Arc, vec::Vec};
use core::{fmt, ops::Bound};
use isopach_env::sync::catch;

/// Combines operands with a base value. Must be deterministic: it runs at reads and again at compaction.
///
/// A name stands for one behaviour for ever; what changes gets another name. Calls come from any thread, and must not
/// call the database. With `std` a panic is caught, and is an error like others.
pub trait MergeOperator: Send + Sync + 'static {
    /// 1 to 255 bytes; those that begin with `isopach.` are built in.
    fn name(&self) -> &str;

    /// Writes the value of `key` to `out`, which is empty. Operands come oldest first; there is at least one.
    ///
    /// `base` is `None` only where the key is known to have no value.
    ///
    /// # Errors
    ///
    /// Why they cannot be merged. The reader gets `MergeFailed` with this reason; compaction keeps the operands as
    /// they are.
    fn merge(
        &self,
        key: &[u8],
        base: Option<&[u8]>,
        operands: &[&[u8]],
        out: &mut Vec<u8>,
    ) -> Result<(), MergeError>;

    /// Declares that `merge(b, [x, y, z]) == merge(b, [fold([x, y]), z]) == merge(b, [x, fold([y, z])])` for
    /// every base and all operands. Only then is [`fold`](MergeOperator::fold) called.
    fn is_associative(&self) -> bool {
        false
    }

    /// Writes one operand that stands for all of `operands` (two or more, oldest first) to `out`, which is empty.
    ///
    /// # Errors
    ///
    /// The operands are kept as they are.
    fn fold(&self, _key: &[u8], _operands: &[&[u8]], _out: &mut Vec<u8>) -> Result<(), MergeError> {
        Err(MergeError::new("the operator says that it is associative, and folds nothing"))
    }
}

impl Named for dyn MergeOperator {
    const WHAT: &str = "merge operator";
    const REGISTERED_BY: &str = "`Builder::merge_operator`, `StoreOptions::merge_operators`";
    const MISSING: ErrorKind = ErrorKind::MissingMergeOperator;

    fn name(&self) -> &str {
        MergeOperator::name(self)
    }

    fn built_in(name: &str) -> Option<Arc<dyn MergeOperator>> {
        Some(match name {
            AddU64::NAME => Arc::new(AddU64),
            AddI64::NAME => Arc::new(AddI64),
            Max::NAME => Arc::new(Max),
            Min::NAME => Arc::new(Min),
            Or::NAME => Arc::new(Or),
            _ => Arc::new(Append::named(name)?),
        })
    }
}

/// Merge operators by name: those that are built in, and those that were added.
pub type MergeOperators = NamedSet<dyn MergeOperator>;

/// Why operands cannot be merged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MergeError(String);

impl MergeError {
    /// With a reason for people.
    pub fn new(reason: impl Into<String>) -> MergeError {
        MergeError(reason.into())
    }
}

impl fmt::Display for MergeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for MergeError {}

/// The value of a key: what `operands`, oldest first, make of `base`.
///
/// # Errors
///
/// `MergeFailed`, standing for this key.
pub(crate) fn merged(
    operator: &dyn MergeOperator,
    key: &[u8],
    base: Option<&[u8]>,
    operands: &[&[u8]],
) -> Result<Vec<u8>> {
    contain(operator, key, |out| operator.merge(key, base, operands, out))
}

/// One operand that stands for several, oldest first, under an operator that is associative.
///
/// # Errors
///
/// `MergeFailed`, standing for this key.
pub(crate) fn folded(operator: &dyn MergeOperator, key: &[u8], operands: &[&[u8]]) -> Result<Vec<u8>> {
    contain(operator, key, |out| operator.fold(key, operands, out))
}

/// Runs what may fail or panic.
fn contain(
    operator: &dyn MergeOperator,
    key: &[u8],
    run: impl FnOnce(&mut Vec<u8>) -> Result<(), MergeError>,
) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let why = match catch(|| run(&mut out)) {
        Ok(Ok(())) => return Ok(out),
        Ok(Err(error)) => error.0,
        Err(panicked) => format!("{panicked}"),
    };
    let message =
        format!("the merge operator {:?} failed on key \"{}\": {why}", operator.name(), key.escape_ascii());
    let here = || Bound::Included(Vec::from(key));
    Err(Error::new(ErrorKind::MergeFailed, message).over_keys((here(), here())))
}

/// Operands of which there is no operator: the tree has none.
pub(crate) fn no_operator(key: &[u8]) -> Error {
    let message =
        format!("key \"{}\" has merge operands, and its tree has no merge operator", key.escape_ascii());
    let here = || Bound::Included(Vec::from(key));
    Error::new(ErrorKind::MissingMergeOperator, message).over_keys((here(), here()))
}

/// Sum of little-endian `u64`, wrapping. Absent counts as 0. Named `isopach.add_u64`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddU64;

/// Sum of little-endian `i64`, wrapping. Absent counts as 0. Named `isopach.add_i64`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddI64;

/// The greatest of the byte strings. Named `isopach.max`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Max;

/// The least of the byte strings. Named `isopach.min`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Min;

/// Bitwise or, the shorter one padded with zeros behind its end. Named `isopach.or`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Or;

/// All byte strings in order, with a separator between two. Named `isopach.append`, or `isopach.append.44` if the
/// separator is that byte.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Append {
    separator: Option<u8>,
    name: String,
}

impl AddU64 {
    const NAME: &str = "isopach.add_u64";
}

impl AddI64 {
    const NAME: &str = "isopach.add_i64";
}

impl Max {
    const NAME: &str = "isopach.max";
}

impl Min {
    const NAME: &str = "isopach.min";
}

impl Or {
    const NAME: &str = "isopach.or";
}

impl Append {
    const NAME: &str = "isopach.append";

    /// Without a separator.
    pub fn new() -> Append {
        Append { separator: None, name: Self::NAME.into() }
    }

    /// With a byte between two strings.
    pub fn with_separator(separator: u8) -> Append {
        Append { separator: Some(separator), name: format!("{}.{separator}", Self::NAME) }
    }

    /// The separator is in the name, spelled in one way only.
    fn named(name: &str) -> Option<Append> {
        let append = match name.strip_prefix(Self::NAME)? {
            "" => Append::new(),
            rest => Append::with_separator(rest.strip_prefix('.')?.parse().ok()?),
        };
        (append.name == name).then_some(append)
    }
}

impl Default for Append {
    fn default() -> Append {
        Append::new()
    }
}

/// Eight bytes of an operand or a base.
fn eight(bytes: &[u8]) -> Result<[u8; 8], MergeError> {
    bytes.try_into().map_err(|_| MergeError::new(format!("a number has 8 bytes, not {}", bytes.len())))
}

/// Sums of both signs wrap in the same way.
fn add(base: Option<&[u8]>, operands: &[&[u8]], out: &mut Vec<u8>) -> Result<(), MergeError> {
    let mut sum = 0_u64;
    for number in base.iter().chain(operands) {
        sum = sum.wrapping_add(u64::from_le_bytes(eight(number)?));
    }
    out.extend_from_slice(&sum.to_le_bytes());
    Ok(())
}

/// Base and operands, oldest first.
fn strings<'a>(base: Option<&'a [u8]>, operands: &'a [&'a [u8]]) -> impl Iterator<Item = &'a [u8]> {
    base.into_iter().chain(operands.iter().copied())
}

macro_rules! associative {
    ($($type:ty, $this:ident => $name:expr, ($base:ident, $operands:ident, $out:ident) $merge:expr;)*) => {$(
        impl MergeOperator for $type {
            fn name(&self) -> &str {
                let $this = self;
                $name
            }

            fn merge(
                &self,
                _key: &[u8],
                $base: Option<&[u8]>,
                $operands: &[&[u8]],
                $out: &mut Vec<u8>,
            ) -> Result<(), MergeError> {
                let $this = self;
                $merge
            }

            fn is_associative(&self) -> bool {
                true
            }

            fn fold(&self, key: &[u8], operands: &[&[u8]], out: &mut Vec<u8>) -> Result<(), MergeError> {
                self.merge(key, None, operands, out)
            }
        }
    )*};
}

associative! {
    AddU64, _this => Self::NAME, (base, operands, out) add(base, operands, out);
    AddI64, _this => Self::NAME, (base, operands, out) add(base, operands, out);
    Max, _this => Self::NAME, (base, operands, out) {
        out.extend_from_slice(strings(base, operands).max().unwrap_or_default());
        Ok(())
    };
    Min, _this => Self::NAME, (base, operands, out) {
        out.extend_from_slice(strings(base, operands).min().unwrap_or_default());
        Ok(())
    };
    Or, _this => Self::NAME, (base, operands, out) {
        for string in strings(base, operands) {
            out.resize(out.len().max(string.len()), 0);
            out.iter_mut().zip(string).for_each(|(sum, byte)| *sum |= byte);
        }
        Ok(())
    };
    Append, this => &this.name, (base, operands, out) {
        for (at, string) in strings(base, operands).enumerate() {
            out.extend(this.separator.filter(|_| at > 0));
            out.extend_from_slice(string);
        }
        Ok(())
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn find(name: &str) -> Arc<dyn MergeOperator> {
        MergeOperators::new().find(name).unwrap()
    }

    #[test]
    fn built_in_operators_are_found_by_name_and_do_what_they_say() {
        /// Name, base, operands, what they come to.
        type Case<'a> = (&'a str, Option<&'a [u8]>, &'a [&'a [u8]], &'a [u8]);
        let cases: [Case<'_>; 9] = [
            ("isopach.add_u64", None, &[&[2, 0, 0, 0, 0, 0, 0, 0]], &[2, 0, 0, 0, 0, 0, 0, 0]),
            ("isopach.add_u64", Some(&[0xff; 8]), &[&[2, 0, 0, 0, 0, 0, 0, 0]], &[1, 0, 0, 0, 0, 0, 0, 0]),
            ("isopach.add_i64", Some(&[5, 0, 0, 0, 0, 0, 0, 0]), &[&[0xff; 8]], &[4, 0, 0, 0, 0, 0, 0, 0]),
            ("isopach.max", Some(b"b"), &[b"c", b"a"], b"c"),
            ("isopach.min", Some(b"b"), &[b"c", b"a"], b"a"),
            ("isopach.or", Some(&[1]), &[&[2, 4]], &[3, 4]),
            ("isopach.append", Some(b"a"), &[b"", b"b"], b"ab"),
            ("isopach.append.44", Some(b"a"), &[b"", b"b"], b"a,,b"),
            ("isopach.append.44", None, &[b"b"], b"b"),
        ];
        for (name, base, operands, expected) in cases {
            let operator = find(name);
            assert_eq!(operator.name(), name);
            assert_eq!(merged(&*operator, b"k", base, operands).unwrap(), expected, "{name}");
        }
        for name in ["isopach.append.044", "isopach.append.", "isopach.append.256", "isopach.mul"] {
            let missing = MergeOperators::new().find(name).map(drop).unwrap_err();
            assert_eq!(missing.kind(), ErrorKind::MissingMergeOperator, "{name}");
        }
    }

    #[test]
    fn built_in_operators_fold_to_what_they_would_have_made() {
        let numbers: [&[u8]; 4] = [&[1; 8], &[0xff; 8], &[7; 8], &[0x80; 8]];
        let names = ["add_u64", "add_i64", "max", "min", "or", "append", "append.44"]
            .map(|name| format!("isopach.{name}"));
        for operator in names.iter().map(|name| find(name)) {
            let whole = merged(&*operator, b"k", Some(&[3; 8]), &numbers).unwrap();
            for (from, to) in [(0, 2), (1, 3), (1, 4), (0, 4)] {
                let fold = folded(&*operator, b"k", &numbers[from..to]).unwrap();
                let operands = [&numbers[..from], &[&fold[..]], &numbers[to..]].concat();
                let found = merged(&*operator, b"k", Some(&[3; 8]), &operands).unwrap();
                assert_eq!(found, whole, "{} {from}..{to}", operator.name());
            }
        }
    }

    #[test]
    fn a_refusal_names_operator_and_key() {
        let error = merged(&AddU64, b"counter\n", None, &[b"seven"]).unwrap_err();

        assert_eq!(error.kind(), ErrorKind::MergeFailed);
        assert!(
            error.to_string().contains("isopach.add_u64") && error.to_string().contains("counter\\n"),
            "{error}"
        );
        assert_eq!(error.keys().unwrap().0, Bound::Included(b"counter\n".into()));
    }

    #[test]
    fn a_panic_is_a_refusal() {
        struct Panics;
        impl MergeOperator for Panics {
            fn name(&self) -> &str {
                "panics"
            }

            fn merge(
                &self,
                _key: &[u8],
                _base: Option<&[u8]>,
                _operands: &[&[u8]],
                _out: &mut Vec<u8>,
            ) -> Result<(), MergeError> {
                panic!("an operator of a test")
            }
        }

        let error = merged(&Panics, b"k", None, &[b"x"]).unwrap_err();

        assert_eq!(error.kind(), ErrorKind::MergeFailed);
        assert!(error.to_string().contains("panicked"), "{error}");
    }
}
