//! The program as its users run it: the built binary, real files, exit codes.

mod crashes;
mod data;
mod dump;
mod encryption;
mod exit_codes;
mod full_disk;
mod parity;
mod repair;
mod sst;
mod support;
