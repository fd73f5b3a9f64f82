//! Reading little-endian fields out of bytes that may be wrong.

use core::fmt;

/// Which rule of the format stored bytes break. The owner of the file adds its name and the offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Corruption(pub &'static str);

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Takes fields off the front of bytes; every length is checked against what is left.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the front of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { left: bytes }
    }

    /// Bytes not taken yet.
    pub const fn remaining(&self) -> usize {
        self.left.len()
    }

    /// Whether everything was taken.
    pub const fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    ///
    /// Fewer are left. So of every method here.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Corruption> {
        let (taken, left) =
            self.left.split_at_checked(len).ok_or(Corruption("a field ends behind its record"))?;
        self.left = left;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Corruption> {
        Ok(self.bytes(N)?.try_into().expect("as many bytes as asked"))
    }

    /// A byte.
    pub fn u8(&mut self) -> Result<u8, Corruption> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, Corruption> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, Corruption> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, Corruption> {
        self.array().map(u64::from_le_bytes)
    }

    /// A length of four bytes, and as many bytes.
    pub fn bytes_u32(&mut self) -> Result<&'a [u8], Corruption> {
        let len = self.u32()?;
        self.bytes(usize::try_from(len).map_err(|_| Corruption("a length exceeds the address space"))?)
    }

    /// Bytes that are text.
    pub fn text_u32(&mut self) -> Result<&'a str, Corruption> {
        core::str::from_utf8(self.bytes_u32()?).map_err(|_| Corruption("a name is not UTF-8"))
    }

    /// Says that nothing may follow.
    pub fn finish(self) -> Result<(), Corruption> {
        if self.left.is_empty() { Ok(()) } else { Err(Corruption("bytes follow the last field")) }
    }
}
