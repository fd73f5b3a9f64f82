//! Tells the program which compiler made it: instruction counts of two compilers are not compared.

use std::{env, process::Command};

fn main() {
    let rustc = env::var_os("RUSTC").expect("cargo names the compiler");
    let output = Command::new(rustc).arg("--version").output().expect("the compiler says its version");
    let version = String::from_utf8(output.stdout).expect("a version is text");
    println!("cargo::rustc-env=PARTS_RUSTC={}", version.trim());
    println!("cargo::rerun-if-changed=build.rs");
}
