//! `put`, `get`, `rm`: one key.

use crate::{
    args::{HexArgs, KeyArgs, PutArgs, RemoveArgs},
    database::{self, Missing},
    exit::{self, Doing, Failure},
    output::{Console, Output},
    text,
};
use serde_json::json;
use std::io::{self, Read};

/// Longest value of a database, in bytes.
const MAX_VALUE_BYTES: u64 = u32::MAX as u64;

/// Puts a value; makes database and keyspace if they are missing.
pub(super) fn put(args: &PutArgs) -> Result<(), Failure> {
    // Arguments and input first: a wrong one must not leave an empty database behind.
    let key = argument("KEY", &args.key.key, args.key.hex)?;
    let value = match &*args.value {
        "-" => read_value(io::stdin().lock(), MAX_VALUE_BYTES)?,
        value => argument("VALUE", value, args.key.hex)?,
    };

    let db = database::write(&args.key.db, Missing::Create)?;
    let keyspace = database::keyspace_to_write(&db, &args.key.keyspace, Missing::Create)?;
    keyspace.insert_with(key, value, database::write_options(args.durability.durability)).doing("put")?;
    database::close(db)
}

/// Prints the bytes of a value and a line end; as an object only if asked.
pub(super) fn get(args: &KeyArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let key = argument("KEY", &args.key, args.hex)?;

    let db = database::read(&args.db)?;
    let keyspace = database::keyspace_to_read(&db, &args.keyspace)?;
    let value = keyspace.get(&key).doing("get")?.ok_or_else(|| no_such_key("get", &key))?;

    if console.asked() == Some(Output::Jsonl) {
        let object = json!({ "key": text::json(&key), "value": text::json(&value) });
        writeln!(console.out(), "{object}")?;
    } else {
        console.out().write_all(&value)?;
        console.out().write_all(b"\n")?;
    }
    Ok(())
}

/// Removes a key that is there.
pub(super) fn remove(args: &RemoveArgs) -> Result<(), Failure> {
    let key = argument("KEY", &args.key.key, args.key.hex)?;

    let db = database::write(&args.key.db, Missing::Refuse)?;
    let keyspace = database::keyspace_to_write(&db, &args.key.keyspace, Missing::Refuse)?;
    // No other process writes meanwhile: the database is locked.
    if !keyspace.contains(&key).doing("rm")? {
        return Err(no_such_key("rm", &key));
    }
    keyspace.remove_with(&key, database::write_options(args.durability.durability)).doing("rm")?;
    database::close(db)
}

/// The bytes of an argument, or wrong usage.
pub(super) fn argument(name: &str, text: &str, hex: HexArgs) -> Result<Vec<u8>, Failure> {
    hex.bytes(text).map_err(|why| Failure::new(exit::USAGE, name, why))
}

fn no_such_key(what: &str, key: &[u8]) -> Failure {
    Failure::new(exit::NOT_FOUND, what, format!("no such key: {}", text::plain(key)))
}

fn read_value(input: impl Read, max_bytes: u64) -> Result<Vec<u8>, Failure> {
    const WHAT: &str = "read the value";
    let mut value = Vec::new();
    input.take(max_bytes + 1).read_to_end(&mut value).map_err(|error| Failure::io(WHAT, &error))?;
    if value.len() as u64 > max_bytes {
        return Err(Failure::new(exit::FAILURE, WHAT, format!("longer than {max_bytes} bytes")));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_byte_for_byte_up_to_the_limit() {
        assert_eq!(read_value(&b"\x00\n"[..], 2).unwrap(), b"\x00\n");
        assert!(read_value(&b"abc"[..], 2).is_err());
    }
}
