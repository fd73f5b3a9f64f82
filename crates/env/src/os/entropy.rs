//! The operating system's random source.

use crate::{
    entropy::Entropy,
    error::{IoError, IoErrorKind, IoResult},
};

/// The operating system's random source.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, out: &mut [u8]) -> IoResult<()> {
        getrandom::fill(out).map_err(|error| match error.raw_os_error() {
            Some(number) => IoError::from_os(IoErrorKind::Other, number),
            None => IoErrorKind::Other.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        let (mut first, mut second) = ([0; 32], [0; 32]);

        OsEntropy.fill(&mut first).expect("the system has a random source");
        OsEntropy.fill(&mut second).expect("the system has a random source");

        assert_ne!(first, second);
    }
}
