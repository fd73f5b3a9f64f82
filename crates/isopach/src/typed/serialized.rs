//! Values of whatever serde serialises (feature `serde`), in the format of postcard.

use super::value::{AsValue, Value};
use crate::error::{Error, Result};
use isopach_engine::types::Slice;
use serde::{Serialize, de::DeserializeOwned};

/// A value that is stored in the format of [postcard](https://postcard.jamesmunns.com), which is compact and
/// stable.
///
/// The format does not describe itself: fields are known by their order, so a type whose fields change can no
/// longer read what was stored before. Variants of an enum may be added behind the others.
///
/// `insert` takes `&Postcard(user)`, and `&Postcard(&user)` if the user is kept.
///
/// Decoding takes no room for more elements of a sequence than bytes are left, unless the type's own
/// `Deserialize` does. Elements without bytes (`Vec<()>`) may be many in a few bytes: keep them out of values
/// that others write.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Postcard<T>(pub T);

impl<T: Serialize> AsValue<Postcard<T>> for Postcard<T> {
    fn encode_value(&self, out: &mut Vec<u8>) -> Result<()> {
        encode(&self.0, out)
    }
}

impl<T: Serialize> AsValue<Postcard<T>> for Postcard<&T> {
    fn encode_value(&self, out: &mut Vec<u8>) -> Result<()> {
        encode(self.0, out)
    }
}

impl<T: Serialize + DeserializeOwned> Value for Postcard<T> {
    fn decode_value(bytes: Slice) -> Result<Postcard<T>> {
        match postcard::take_from_bytes(&bytes).map_err(Error::malformed)? {
            (value, []) => Ok(Postcard(value)),
            (_, more) => Err(Error::malformed(format_args!("{} bytes follow the value", more.len()))),
        }
    }
}

fn encode(value: &impl Serialize, out: &mut Vec<u8>) -> Result<()> {
    let bytes = std::mem::take(out);
    *out = postcard::to_extend(value, bytes).map_err(Error::unencodable)?;
    Ok(())
}
