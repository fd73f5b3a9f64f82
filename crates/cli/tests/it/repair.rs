//! Damaged databases and tables, repaired and salvaged from the command line.

use crate::support::{Scene, files};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A database of 400 keys in one table, and that table.
fn a_database(name: &str) -> (Scene, PathBuf) {
    let scene = Scene::new(name);
    let value = "some value that is longer than others, and goes on ".repeat(20);
    let lines: String = (0..400)
        .map(|i| format!("{}\n", json!({"key": format!("key{i:03}"), "value": format!("{i}{value}")})))
        .collect();
    scene.file("in", lines);
    scene.ok(["load", "db", "--keyspace", "k", "--format", "jsonl", "in"]);
    scene.ok(["flush", "db"]);
    let file = scene.objects(["sst", "ls", "db"])[0]["file"].as_str().map(|file| scene.path("db").join(file));
    (scene, file.expect("there is a table"))
}

fn remove_manifests(scene: &Scene) {
    for entry in fs::read_dir(scene.path("db")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("MANIFEST") {
            fs::remove_file(path).unwrap();
        }
    }
}

/// Changes a bit in the middle of the second data block.
fn damage_a_block(scene: &Scene, table: &Path) {
    let regions = scene.objects(["sst".as_ref(), "layout".as_ref(), table.as_os_str()]);
    let block = regions.iter().find(|region| region["block"] == 1).expect("there are several blocks");
    let (offset, bytes) = (block["offset"].as_u64().unwrap(), block["bytes"].as_u64().unwrap());
    let mut content = fs::read(table).unwrap();
    content[(offset + bytes / 2) as usize] ^= 1;
    fs::write(table, content).unwrap();
}

fn objects(printed: Vec<u8>) -> Vec<Value> {
    String::from_utf8(printed).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_database_without_its_manifest_names_the_command_that_brings_it_back() {
    let (scene, _) = a_database("repair-manifest");
    let before = scene.ok(["dump", "db"]);
    remove_manifests(&scene);

    assert!(scene.fails(3, ["get", "db", "k", "key001"]).contains("isopach repair"));
    let all = files(&scene.path("db"));
    let dry = &scene.objects(["repair", "db", "--dry-run"])[0];
    assert_eq!(files(&scene.path("db")), all, "a dry run writes nothing");
    let done = &scene.objects(["repair", "db"])[0];

    assert_eq!(dry["is_dry_run"], true);
    assert_eq!(done["schema"], "isopach.repair/1");
    assert_eq!((&done["has_losses"], &done["recovered"]), (&json!(false), &json!(1)), "{done}");
    assert_eq!(done["keyspaces"][0]["keyspace"], "k");
    assert_eq!(scene.ok(["dump", "db"]), before);
    scene.ok(["verify", "db", "--full"]);
    assert_eq!(scene.objects(["repair", "db"])[0]["is_unchanged"], true);
}

#[test]
fn what_a_damaged_table_loses_is_named_and_the_code_says_so() {
    let (scene, table) = a_database("repair-damage");
    damage_a_block(&scene, &table);

    let kept = scene.run(["repair", "db"]);
    let salvaged = scene.run(["repair", "db", "--salvage"]);

    assert_eq!((kept.status.code(), salvaged.status.code()), (Some(3), Some(3)), "{kept:?} {salvaged:?}");
    assert!(String::from_utf8_lossy(&kept.stderr).contains("--salvage"), "{kept:?}");
    let [sum, file] = &objects(salvaged.stdout)[..] else { panic!("one file is told of") };
    assert_eq!((&sum["salvaged"], &file["fate"]), (&json!(1), &json!("salvaged")), "{sum} {file}");
    let lost = file["lost_entries"].as_u64().unwrap();
    assert!(lost > 0 && file["lost"][0]["from"].as_str().unwrap().starts_with("key"), "{file}");
    assert_eq!(scene.objects(["scan", "db", "k"]).len() as u64, 400 - lost);
    scene.ok(["verify", "db"]);
    let aside = scene.path("db/lost").join(table.file_name().unwrap());
    assert!(aside.exists(), "the damaged file is kept");
}

#[test]
fn a_damaged_table_is_salvaged_into_a_new_file() {
    let (scene, table) = a_database("salvage");
    let table_name = table.to_str().unwrap();
    let whole = &scene.objects(["salvage", table_name, "whole"])[0];
    assert_eq!((&whole["kept_entries"], &whole["lost_entries"]), (&json!(400), &json!(0)), "{whole}");
    damage_a_block(&scene, &table);
    let damaged = fs::read(&table).unwrap();

    let output = scene.run(["salvage", table_name, "out"]);

    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let told = &objects(output.stdout)[0];
    assert_eq!((&told["schema"], &told["lost_blocks"]), (&json!("isopach.salvage/1"), &json!(1)));
    let (kept, lost) = (told["kept_entries"].as_u64().unwrap(), told["lost_entries"].as_u64().unwrap());
    assert!(lost > 0 && kept + lost == 400, "{told}");
    assert!(told["lost"][0]["from"].as_str().unwrap().starts_with("key"), "{told}");
    assert_eq!(scene.objects(["sst", "dump", "out"]).len() as u64, kept);
    scene.ok(["sst", "layout", "out"]);
    assert_eq!(fs::read(&table).unwrap(), damaged, "it is only read");
    let said = scene.fails(1, ["salvage", table_name, "out"]);
    assert!(said.contains("salvage"), "what is there is not overwritten: {said}");
    let said = scene.fails(6, ["salvage", "in", "other"]);
    assert!(said.contains("no table") || said.contains("header"), "{said}");
    assert!(!scene.path("other").exists());
}

#[test]
fn tables_of_an_encrypted_database_are_salvaged_with_its_keys() {
    let scene = Scene::new("salvage-encrypted");
    scene.file("keys", "1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n");
    scene.ok(["put", "db", "k", "who", "secret-value", "--key-file", "keys"]);
    scene.ok(["flush", "db", "--key-file", "keys"]);
    let table = fs::read_dir(scene.path("db/tables")).unwrap().next().unwrap().unwrap().path();
    let table = table.to_str().unwrap();

    scene.fails(8, ["salvage", table, "without"]);
    scene.ok(["salvage", table, "with", "--key-file", "keys"]);

    assert!(!scene.path("without").exists());
    let bytes = fs::read(scene.path("with")).unwrap();
    assert!(!bytes.windows(6).any(|bytes| bytes == b"secret"), "it is encrypted as well");
    let dumped = scene.ok(["sst", "dump", "with", "--key-file", "keys"]);
    assert!(String::from_utf8(dumped).unwrap().contains("secret-value"));
}
