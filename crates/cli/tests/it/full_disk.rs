//! A file system that is really full: a small one in memory, in a mount namespace of the test's own. Where
//! the system refuses one to this user, the test says so and ends.

use crate::support::Scene;
use std::process::Command;

/// Fills the disk, looks what works, frees space, and looks again. `$0` is the program, `$1` an empty
/// directory.
const SCRIPT: &str = r#"
set -u
mount -t tmpfs -o size=28m none "$1" || exit 99
cd "$1"
head -c 20000000 /dev/zero > ballast
"$0" put db k first kept >&2 || exit 10
said=$("$0" load db --keyspace k --format jsonl ../records 2>&1 > /dev/null)
echo "load $?"
echo "$said" >&2
"$0" get db k first; echo "get $?"
"$0" verify db > /dev/null; echo "verify $?"
"$0" flush db > /dev/null; echo "flush $?"
rm ballast
"$0" put db k second kept > /dev/null; echo "put $?"
"$0" get db k second; echo "get $?"
"$0" compact db > /dev/null; echo "compact $?"
"$0" verify db > /dev/null; echo "verify $?"
"#;

#[test]
fn a_full_disk_is_7_reads_go_on_and_space_brings_writes_back() {
    let scene = Scene::new("full-disk");
    let disk = scene.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let value = "x".repeat(900);
    let record = |n: u32| format!("{{\"key\": \"{n:08}\", \"value\": \"{value}\"}}\n");
    scene.file("records", (0..20_000).map(record).collect::<String>());
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT, env!("CARGO_BIN_EXE_isopach")]);

    let output = match unshare.arg(&disk).output() {
        Ok(output) if output.status.code() != Some(99) && output.status.code() != Some(1) => output,
        refused => {
            eprintln!("SKIPPED: no file system may be mounted here: {refused:?}");
            return;
        }
    };

    let (out, said) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..4], ["load 7", "kept", "get 0", "verify 0"], "{out}\n{said}");
    assert!(said.contains("no space left (os error 28)") && said.contains("hint: free some space"), "{said}");
    assert!(["flush 0", "flush 7"].contains(&lines[4]), "{out}\n{said}");
    assert_eq!(lines[5..], ["put 0", "kept", "get 0", "compact 0", "verify 0"], "{out}\n{said}");
}
