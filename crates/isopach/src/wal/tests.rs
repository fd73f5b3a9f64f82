//! Behaviour of the log.
