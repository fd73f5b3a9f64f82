//! The operating system's files, clock, random source and threads. The only module that needs `std` beside
//! the locks, and the one place that turns names into paths.

mod calls;
mod clock;
mod entropy;
mod errors;
mod file;
mod fs;
#[cfg(all(target_os = "linux", not(miri)))]
#[allow(unsafe_code)]
mod map;
mod threads;

pub use clock::SystemClock;
pub use entropy::OsEntropy;
pub use fs::OsFs;
pub use threads::ThreadSpawn;
