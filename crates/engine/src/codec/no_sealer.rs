//! What stands in for encryption where it is not compiled in: nothing is sealed, and what is cannot be read.

use super::{
    Corruption, FileHeader,
    keys::{Seal, SealRecorder, Secret},
};
use crate::{
    error::{Error, ErrorKind, Result},
    types::Uuid,
};
use core::{
    convert::Infallible,
    sync::atomic::{Ordering, compiler_fence},
};

/// There is none.
pub struct Sealer(Infallible);

impl Sealer {
    pub(super) fn new(
        _secret: &Secret,
        _header: &FileHeader,
        _seal: &Seal,
        _recorder: Option<SealRecorder>,
    ) -> Result<Sealer> {
        Err(absent())
    }

    pub(super) fn check_of(_secret: &Secret, _database: Uuid) -> Result<[u8; Seal::CHECK_BYTES]> {
        Err(absent())
    }

    pub(super) fn seal(&self, _bytes: &mut [u8], _offset: u64, _context: &[u8]) -> [u8; super::TAG_BYTES] {
        match self.0 {}
    }

    pub(super) fn open(
        &self,
        _bytes: &mut [u8],
        _tag: &[u8; super::TAG_BYTES],
        _offset: u64,
        _context: &[u8],
    ) -> Result<(), Corruption> {
        match self.0 {}
    }
}

fn absent() -> Error {
    Error::new(ErrorKind::UnsupportedFeature, "encryption is not compiled in: enable feature `encryption`")
}

pub(super) fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    compiler_fence(Ordering::SeqCst);
}
