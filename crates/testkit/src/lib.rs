//! Oracle, conformance tests and generators for the tests of Isopach.
