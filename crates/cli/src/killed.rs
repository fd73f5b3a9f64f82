//! A child process that is killed without warning.

use std::{io, process::Child};

/// A process that does not outlive this value.
pub(crate) struct Killed(pub(crate) Child);

impl Killed {
    /// Ends it without warning, and waits until it is gone.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.0.kill()?;
        self.0.wait().map(drop)
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // Only on the way out of an error, or a second time, which does nothing.
        let _ = self.kill();
    }
}
