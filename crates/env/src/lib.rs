//! Files, clock, threads and randomness.
