//! Data goes in and comes out.

use crate::support::{PACKAGES, Scene, files};
use isopach::{KeyspaceOptions, TableFileWriter};
use serde_json::json;
use std::process::Stdio;

#[test]
fn package_list_is_loaded_with_the_last_of_a_name() {
    let scene = Scene::new("load");
    scene.file("packages", PACKAGES);

    let loaded = scene.objects([
        "load",
        "db",
        "--keyspace",
        "packages",
        "--format",
        "deb822",
        "--batch",
        "2",
        "packages",
    ]);

    assert_eq!(loaded[0]["schema"], "isopach.load/1");
    assert_eq!((&loaded[0]["records"], &loaded[0]["distinct_keys"]), (&json!(4), &json!(3)));
    assert_eq!(loaded[0]["batches"], 2);
    assert_eq!(scene.ok(["get", "db", "packages", "zlib1g"]), b"package: zlib1g\nVersion: 1.3\n");
    assert_eq!(scene.ok(["get", "db", "packages", "base"]), b"Package: base\nMaintainer: Andr\xe9\n");
    assert_eq!(
        scene.objects(["count", "db", "packages"]),
        [json!({ "schema": "isopach.count/1", "keyspace": "packages", "count": 3, "approximate": false })]
    );
    assert_eq!(scene.objects(["count", "db", "packages", "--prefix", "ba"])[0]["count"], 1);
    let approximate = &scene.objects(["count", "db", "packages", "--approximate"])[0];
    let counted = (&approximate["count"], &approximate["approximate"]);
    assert_eq!(counted, (&json!(4), &json!(true)), "a name that was written twice counts twice");
}

#[test]
fn package_list_may_come_from_standard_input() {
    let scene = Scene::new("stdin");

    let output = scene.run_with(["load", "db", "--keyspace", "p", "--format", "deb822", "-"], PACKAGES);

    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(scene.objects(["count", "db", "p"])[0]["count"], 3);
}

#[test]
fn scans_keep_to_their_bounds_and_direction() {
    let scene = Scene::new("scan");
    let lines: String =
        ["a", "b1", "b2", "b3", "c"].map(|key| format!("{}\n", json!({"key": key, "value": key}))).concat();
    scene.file("in", lines);
    scene.ok(["load", "db", "--keyspace", "k", "--format", "jsonl", "in"]);
    let keys = |args: &[&str]| {
        let args = ["scan", "db", "k", "--keys", "--output", "table"].iter().chain(args);
        String::from_utf8(scene.ok(args)).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };

    assert_eq!(keys(&[]), "a b1 b2 b3 c");
    assert_eq!(keys(&["--rev"]), "c b3 b2 b1 a");
    assert_eq!(keys(&["--prefix", "b"]), "b1 b2 b3");
    assert_eq!(keys(&["--prefix", "b", "--rev", "--limit", "2"]), "b3 b2");
    assert_eq!(keys(&["--from", "b2"]), "b2 b3 c");
    assert_eq!(keys(&["--from", "b1", "--to", "b3"]), "b1 b2");
    assert_eq!(keys(&["--prefix", "b", "--from", "c"]), "");
    assert_eq!(keys(&["--hex", "--prefix", "62", "--limit", "1"]), "b1");
    assert_eq!(keys(&["--limit", "0"]), "");
}

#[test]
fn scanned_jsonl_loads_as_the_same_data() {
    let scene = Scene::with_packages("round-trip");
    scene.ok(["put", "db", "packages", "--hex", "00ff", "0x0a"]);
    scene.ok(["put", "db", "packages", "", ""]);

    let dumped = scene.ok(["scan", "db", "packages"]);
    let output =
        scene.run_with(["load", "copy", "--keyspace", "packages", "--format", "jsonl", "-"], &dumped);

    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(scene.ok(["scan", "copy", "packages"]), dumped);
    assert_eq!(scene.objects(["count", "copy", "packages"])[0]["count"], 5);
}

#[test]
fn values_are_put_and_removed_byte_for_byte() {
    let scene = Scene::new("put");
    let value = b"\x00line\n\xff";

    let output = scene.run_with(["put", "db", "k", "key", "-"], value);

    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(scene.ok(["get", "db", "k", "key"]), [&value[..], b"\n"].concat());
    assert_eq!(
        scene.objects(["get", "db", "k", "key", "--output", "jsonl"]),
        [json!({ "key": "key", "value": { "hex": "006c696e650aff" } })]
    );
    scene.ok(["rm", "db", "k", "key"]);
    scene.fails(4, ["get", "db", "k", "key"]);
    scene.fails(4, ["rm", "db", "k", "key"]);
}

#[test]
fn every_durability_is_kept_over_an_orderly_end() {
    let scene = Scene::new("durability");
    for durability in ["volatile", "buffered", "sync"] {
        scene.ok(["put", "db", "k", durability, "v", "--durability", durability]);
    }
    assert_eq!(scene.objects(["count", "db", "k"])[0]["count"], 3);
}

#[test]
fn levels_fill_by_flush_and_compact() {
    let scene = Scene::with_packages("levels");
    let entries = |scene: &Scene| -> u64 {
        let shapes = scene.objects(["levels", "db"]);
        assert_eq!(shapes[0]["schema"], "isopach.levels/1");
        shapes[0]["levels"].as_array().unwrap().iter().map(|level| level["entries"].as_u64().unwrap()).sum()
    };
    assert_eq!(entries(&scene), 0, "everything is in the log");

    assert_eq!(scene.objects(["flush", "db"])[0]["schema"], "isopach.flush/1");
    assert!(entries(&scene) >= 3);

    let compacted = scene.objects(["compact", "db", "--keyspace", "packages"]);
    assert_eq!(compacted[0]["after"]["tables"], 1);
    assert_eq!(entries(&scene), 3);
    let table = String::from_utf8(scene.ok(["levels", "db", "--output", "table"])).unwrap();
    assert!(table.starts_with("KEYSPACE"), "{table}");
    assert_eq!(scene.objects(["count", "db", "packages"])[0]["count"], 3);
}

#[test]
fn a_range_of_keys_is_removed_with_one_write() {
    let scene = Scene::new("rm-range");
    for key in ["a1", "a2", "b1", "b2", "c1"] {
        scene.ok(["put", "db", "k", key, "v"]);
    }
    let keys = || -> Vec<String> {
        let entries = scene.objects(["scan", "db", "k"]);
        entries.iter().map(|entry| entry["key"].as_str().unwrap().to_owned()).collect()
    };

    scene.ok(["rm-range", "db", "k", "--prefix", "a"]);
    assert_eq!(keys(), ["b1", "b2", "c1"]);
    scene.ok(["rm-range", "db", "k", "--from", "b2", "--to", "c1"]);
    assert_eq!(keys(), ["b1", "c1"]);
    scene.fails(2, ["rm-range", "db", "k"]);
    scene.fails(2, ["rm-range", "db", "k", "--from", "b", "--to", "a"]);
    scene.fails(4, ["rm-range", "db", "nothing", "--prefix", "a"]);
    assert_eq!(keys(), ["b1", "c1"]);
}

#[test]
fn a_keyspace_that_is_cleared_is_there_and_empty() {
    let scene = Scene::with_packages("clear");
    scene.ok(["put", "db", "other", "k", "v"]);
    scene.ok(["flush", "db"]);

    let cleared = scene.objects(["clear", "db", "packages"]);

    assert_eq!(
        (&cleared[0]["schema"], &cleared[0]["keyspace"]),
        (&"isopach.clear/1".into(), &"packages".into())
    );
    assert_eq!(scene.objects(["count", "db", "packages"])[0]["count"], 0);
    assert_eq!(scene.objects(["count", "db", "other"])[0]["count"], 1);
    let tables = &scene.objects(["info", "db"])[0]["keyspaces"];
    assert_eq!(tables[0]["tables"], 0, "{tables}");
    scene.fails(4, ["clear", "db", "nothing"]);
}

#[test]
fn ls_and_info_describe_the_database() {
    let scene = Scene::with_packages("describe");
    scene.ok(["put", "db", "other", "k", "v"]);

    let keyspaces = scene.objects(["ls", "db"]);
    let info = &scene.objects(["info", "db"])[0];

    let names: Vec<_> = keyspaces.iter().map(|keyspace| keyspace["keyspace"].as_str().unwrap()).collect();
    assert_eq!(names, ["packages", "other"], "in the order of creation");
    assert!(keyspaces[0]["options"]["compression"].is_string(), "{keyspaces:?}");
    assert_eq!(info["schema"], "isopach.info/1");
    assert_eq!(info["uuid"].as_str().unwrap().len(), 32);
    assert!(info["format"].is_u64(), "{info}");
    assert!(info["seqno"].as_u64().unwrap() >= 5);
    assert_eq!(info["recovery"]["discarded"], json!(null));
    assert_eq!(info["keyspaces"].as_array().unwrap().len(), 2);
    let screen = String::from_utf8(scene.ok(["info", "db", "--output", "table"])).unwrap();
    assert!(screen.lines().count() < 25, "{screen}");
}

#[test]
fn looking_writes_nothing() {
    let scene = Scene::with_packages("read-only");
    let before = files(&scene.path("db"));

    scene.ok(["get", "db", "packages", "base"]);
    scene.ok(["scan", "db", "packages"]);
    scene.ok(["count", "db", "packages"]);
    for command in ["ls", "info", "levels", "verify", "dump"] {
        scene.ok([command, "db"]);
    }
    scene.ok(["verify", "db", "--full"]);

    assert_eq!(files(&scene.path("db")), before);
}

#[test]
fn verify_counts_what_it_checked() {
    let scene = Scene::with_packages("verify");
    scene.ok(["flush", "db"]);

    let report = &scene.objects(["verify", "db"])[0];

    assert_eq!(report["schema"], "isopach.verify/1");
    assert_eq!(report["findings"], json!([]));
    assert!(report["files"].as_u64().unwrap() > 0);
    assert!(report["bytes"].is_u64());
    scene.ok(["verify", "db", "--quick"]);
}

#[test]
fn full_verify_lists_what_nothing_names_and_that_is_no_damage() {
    let scene = Scene::with_packages("verify-full");
    scene.ok(["flush", "db"]);
    assert_eq!(scene.objects(["verify", "db", "--full"])[0]["unnamed"], json!([]));
    scene.file("db/tables/000099.table", b"");
    scene.file("db/note", b"");

    let report = &scene.objects(["verify", "db", "--full"])[0];

    let unnamed: Vec<_> =
        report["unnamed"].as_array().unwrap().iter().map(|it| it["file"].as_str().unwrap()).collect();
    assert_eq!(unnamed, ["note", "tables/000099.table"]);
    assert_eq!(report["findings"], json!([]));
    let screen = String::from_utf8(scene.ok(["verify", "db", "--full", "--output", "table"])).unwrap();
    assert!(screen.contains("; no damage\nUNNAMED ") && screen.contains("left alone\n"), "{screen}");
    assert_eq!(scene.objects(["verify", "db"])[0]["unnamed"], json!([]), "only a full check looks for them");
}

#[test]
fn reader_that_leaves_early_is_no_error() {
    let scene = Scene::new("pipe");
    let value = "v".repeat(1000);
    let lines: String =
        (0..2000).map(|i| format!("{}\n", json!({"key": format!("{i:05}"), "value": value}))).collect();
    scene.file("in", lines);
    scene.ok(["load", "db", "--keyspace", "k", "--format", "jsonl", "in"]);

    let mut scan = std::process::Command::new(env!("CARGO_BIN_EXE_isopach"))
        .current_dir(scene.path(""))
        .args(["scan", "db", "k"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(scan.stdout.take());
    let output = scan.wait_with_output().unwrap();

    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
}

#[test]
fn a_checkpoint_is_a_database() {
    let scene = Scene::new("checkpoint");
    scene.file("packages", PACKAGES);
    scene.ok(["load", "db", "--keyspace", "p", "--format", "deb822", "packages"]);
    scene.ok(["flush", "db"]);
    scene.ok(["put", "db", "p", "newer", "1"]);

    let made = scene.objects(["checkpoint", "db", "./copy"]);

    assert_eq!(made[0]["schema"], "isopach.checkpoint/1");
    assert_eq!(made[0]["tables"], 1);
    scene.ok(["rm", "db", "p", "newer"]);
    assert_eq!(scene.ok(["get", "copy", "p", "newer"]), b"1\n");
    assert_eq!(scene.objects(["count", "copy", "p"])[0]["count"], 4);
    scene.ok(["verify", "copy"]);
    scene.ok(["checkpoint", "db", "other"]);
    assert_eq!(scene.objects(["count", "other", "p"])[0]["count"], 3, "a bare name is a path as well");
    let again = scene.run(["checkpoint", "db", "copy"]);
    assert_ne!(again.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists"), "{again:?}");
    assert_eq!(scene.ok(["get", "copy", "p", "newer"]), b"1\n", "what was there is left alone");
}

#[test]
fn a_bulk_load_takes_records_in_any_order_at_once_or_not_at_all() {
    let scene = Scene::new("bulk");
    let line = |key: &str, value: &str| format!("{{\"key\":\"{key}\",\"value\":\"{value}\"}}\n");
    let of = |name: &str| format!("{{\"keyspace\":\"{name}\"}}\n");
    let input =
        of("a") + &line("z", "1") + &line("b", "2") + &of("b") + &line("k", "3") + &of("a") + &line("z", "4");
    scene.file("in", &input);
    scene.file("cut", of("a") + &line("c", "5") + "nonsense\n");

    let loaded = scene.objects(["load", "db", "--bulk", "--format", "jsonl", "in"]);
    let expected = (&json!(4), &json!(1));
    assert_eq!((&loaded[0]["records"], &loaded[0]["batches"]), expected);
    assert_eq!(scene.ok(["get", "db", "a", "z"]), b"4\n");
    assert_eq!(scene.ok(["get", "db", "b", "k"]), b"3\n");
    assert_eq!(scene.objects(["count", "db", "a"])[0]["count"], 2);

    let said = scene.fails(1, ["load", "db", "--bulk", "--format", "jsonl", "cut"]);
    assert!(said.contains("line 3") && said.contains("0 records before it applied"), "{said}");
    assert_eq!(scene.objects(["count", "db", "a"])[0]["count"], 2);
    scene.ok(["verify", "db"]);
    scene.fails(2, ["load", "db", "--bulk", "--batch", "3", "--format", "jsonl", "in"]);
}

#[test]
fn table_files_are_loaded_at_once_or_not_at_all_and_looked_at_like_any_table() {
    let scene = Scene::new("tables");
    let write = |name: &str, keys: &[&str]| {
        let mut file = TableFileWriter::create(scene.path(name), &KeyspaceOptions::new()).unwrap();
        keys.iter().for_each(|key| file.insert(key, format!("value of {key}")).unwrap());
        file.finish().unwrap();
    };
    write("a.table", &["a", "b"]);
    write("c.table", &["c", "d", "e"]);
    write("overlaps", &["b", "x"]);
    let mut bytes = std::fs::read(scene.path("a.table")).unwrap();
    bytes[100] ^= 1;
    scene.file("damaged", bytes);
    scene.file("text", "no table, but longer than the header of one: some text that goes on and on and on");
    let load = |files: &[&'static str]| [&["load", "db", "--keyspace", "k", "--tables"], files].concat();

    let said = scene.fails(1, load(&["a.table", "missing"]));
    assert!(said.contains("missing") && !scene.path("db").exists(), "{said}");
    for (code, file, why) in [
        (3, "damaged", "hint: nothing was loaded; `isopach sst layout FILE`"),
        (1, "overlaps", "may not overlap"),
        (6, "text", "no table"),
    ] {
        let said = scene.fails(code, load(&["c.table", "a.table", file]));
        assert!(said.contains(file) && said.contains(why), "{said}");
        assert_eq!(scene.objects(["count", "db", "k"])[0]["count"], 0);
    }
    let loaded = &scene.objects(load(&["c.table", "a.table"]))[0];
    assert_eq!((&loaded["records"], &loaded["files"]), (&json!(5), &json!(2)));
    assert_eq!(scene.ok(["get", "db", "k", "d"]), b"value of d\n");
    scene.ok(["verify", "db"]);
    scene.fails(2, ["load", "db", "--tables", "a.table"]);
    scene.fails(2, ["load", "db", "--keyspace", "k", "--format", "jsonl", "--tables", "a.table"]);
    scene.fails(2, ["load", "db", "--keyspace", "k", "a.table"]);

    let shown = &scene.objects(["sst", "show", "c.table"])[0];
    assert_eq!(
        (&shown["entries"], &shown["database"], &shown["keyspace"]),
        (&json!(3), &json!(null), &json!(null))
    );
    let screen = String::from_utf8(scene.ok(["sst", "show", "c.table", "--output", "table"])).unwrap();
    assert!(screen.contains("\ndatabase     none: to be loaded into any\n"), "{screen}");
    let sum = scene.objects(["sst", "layout", "c.table"]).pop().unwrap();
    assert_eq!(sum["findings"], json!([]));
    let keys: Vec<_> = scene.objects(["sst", "dump", "c.table"]).iter().map(|it| it["key"].clone()).collect();
    assert_eq!(keys, ["c", "d", "e"]);
    assert_eq!(scene.run(["sst", "layout", "damaged"]).status.code(), Some(3));
}
