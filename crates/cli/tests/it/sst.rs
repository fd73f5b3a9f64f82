//! Tables looked at by themselves, sound and damaged.

use crate::support::{Scene, files};
use isopach::{Comparator, Compression, Db, KeyspaceOptions, PrefixExtractor, engine::table::FOOTER_BYTES};
use serde_json::{Value, json};
use std::{
    cmp::Ordering,
    fs,
    path::{Path, PathBuf},
};

/// A database, and its newest table: of 101 keys, one of them deleted, one not UTF-8.
fn a_table(name: &str) -> (Scene, PathBuf) {
    let scene = Scene::new(name);
    scene.ok(["put", "db", "k", "key007", "to be deleted"]);
    scene.ok(["flush", "db"]);
    let value = "some value that is longer than others, and goes on ".repeat(20);
    let lines: String =
        (0..100).map(|i| format!("{}\n", json!({"key": format!("key{i:03}"), "value": value}))).collect();
    scene.file("in", lines);
    scene.ok(["load", "db", "--keyspace", "k", "--format", "jsonl", "in"]);
    scene.ok(["put", "db", "k", "--hex", "ff00", "00ff"]);
    scene.ok(["rm", "db", "k", "key007"]);
    scene.ok(["flush", "db"]);
    let newest =
        scene.objects(["sst", "ls", "db"])[0]["file"].as_str().map(|file| scene.path("db").join(file));
    (scene, newest.expect("there is a table"))
}

/// Changes a bit in the middle of data block 1, and returns where the block begins.
fn damage_block_1(scene: &Scene, table: &Path) -> u64 {
    let regions = scene.objects(["sst".as_ref(), "layout".as_ref(), table.as_os_str()]);
    let block = regions.iter().find(|region| region["block"] == 1).expect("there are several blocks");
    let (offset, bytes) = (block["offset"].as_u64().unwrap(), block["bytes"].as_u64().unwrap());
    let mut content = fs::read(table).unwrap();
    content[(offset + bytes / 2) as usize] ^= 1;
    fs::write(table, content).unwrap();
    offset
}

fn sst<'a>(command: &'a str, table: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    [&["sst", command, table.to_str().unwrap()], more].concat()
}

#[test]
fn show_tells_what_a_table_holds() {
    let (scene, table) = a_table("sst-show");

    let shown = &scene.objects(sst("show", &table, &[]))[0];

    assert_eq!(shown["schema"], "isopach.sst.show/1");
    assert_eq!((&shown["keyspace"], &shown["entries"]), (&json!("k"), &json!(101)));
    assert_eq!((&shown["first_key"], &shown["last_key"]), (&json!("key000"), &json!({ "hex": "ff00" })));
    assert_eq!(shown["bytes"], fs::metadata(&table).unwrap().len());
    assert_eq!(shown["lineage"], json!([]));
    assert!(shown["options"]["compression"].is_string(), "{shown}");
    let listed = &scene.objects(["sst", "ls", "db"])[0];
    for field in ["uuid", "digest", "entries", "tombstones", "first_seqno", "last_seqno", "created_at_us"] {
        assert_eq!(shown[field], listed[field], "{field}");
    }
    let screen = String::from_utf8(scene.ok(sst("show", &table, &["--output", "table"]))).unwrap();
    assert!(screen.lines().count() < 25 && screen.contains("\nkeyspace     k (id 1)\n"), "{screen}");
}

#[test]
fn layout_takes_every_byte() {
    let (scene, table) = a_table("sst-layout");

    let mut regions = scene.objects(sst("layout", &table, &[]));
    let sum = regions.pop().unwrap();

    let mut end = 0;
    for region in &regions {
        assert_eq!(region["offset"], end, "{region}");
        end += region["bytes"].as_u64().unwrap();
    }
    assert_eq!(end, fs::metadata(&table).unwrap().len());
    assert_eq!((&sum["schema"], &sum["findings"]), (&json!("isopach.sst.layout.sum/1"), &json!([])));
    let entries: u64 = regions.iter().filter_map(|region| region["entries"].as_u64()).sum();
    assert_eq!(entries, 101);
    let kinds: Vec<_> = regions.iter().map(|region| region["region"].as_str().unwrap()).collect();
    assert_eq!((kinds[0], kinds[1], *kinds.last().unwrap()), ("header", "data", "footer"));
    let screen = String::from_utf8(scene.ok(sst("layout", &table, &["--output", "table"]))).unwrap();
    assert!(screen.ends_with(&format!("{} regions take all of {end} bytes\n", regions.len())), "{screen}");
}

#[test]
fn damage_is_shown_with_its_place_and_the_rest_as_it_is() {
    let (scene, table) = a_table("sst-damage");
    let offset = damage_block_1(&scene, &table);

    let output = scene.run(sst("layout", &table, &[]));
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let damaged: Vec<_> = lines.iter().filter(|line| line.get("damage").is_some()).collect();
    assert!(damaged.len() == 1 && damaged[0]["offset"] == offset, "{damaged:?}");
    assert_eq!(lines.last().unwrap()["findings"][0]["offset"], offset);

    let output = scene.run(sst("dump", &table, &[]));
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(!printed.contains("\"block\":1,") && printed.contains("\"block\":2,"), "the others are there");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains(&format!(" at byte {offset}: ")) && said.contains("1 damaged block was left out"),
        "{said}"
    );
    scene.ok(sst("show", &table, &[]));
}

#[test]
fn dump_prints_versions_by_range_and_by_block() {
    let (scene, table) = a_table("sst-dump");
    let all = scene.objects(sst("dump", &table, &[]));

    let keys = |entries: &[Value]| entries.iter().map(|entry| entry["key"].clone()).collect::<Vec<_>>();
    assert_eq!(all.len(), 101);
    let last = json!({"block": all[100]["block"], "key": {"hex": "ff00"}, "seqno": all[100]["seqno"], "kind": "put",
        "value": {"hex": "00ff"}});
    assert_eq!(all[100], last);
    let removed = &scene.objects(sst("dump", &table, &["--from", "key007", "--to", "key008"]));
    assert_eq!((removed.len(), &removed[0]["kind"]), (1, &json!("delete")), "{removed:?}");
    assert!(removed[0].get("value").is_none(), "{removed:?}");
    let from_hex = scene.objects(sst("dump", &table, &["--hex", "--from", "ff"]));
    assert_eq!(from_hex, all[100..]);
    let by_block = scene.objects(sst("dump", &table, &["--block", "1"]));
    let expected: Vec<_> = all.iter().filter(|entry| entry["block"] == 1).cloned().collect();
    assert_eq!(keys(&by_block), keys(&expected));
    assert!(scene.fails(4, sst("dump", &table, &["--block", "1000"])).contains("the table has"));
    scene.fails(2, sst("dump", &table, &["--from", "b", "--to", "a"]));
    let text =
        String::from_utf8(scene.ok(sst("dump", &table, &["--hex", "--from", "ff", "--output", "table"])))
            .unwrap();
    assert!(text.starts_with("0xff00\t") && text.ends_with("\tput\t0x00ff\n"), "{text}");
}

#[test]
fn filter_answers_for_keys_of_the_table_and_others() {
    let (scene, table) = a_table("sst-filter");

    let answers = scene.objects(sst("filter", &table, &["key000", "key007", "absent", "never", "nowhere"]));

    assert_eq!(
        (&answers[0]["schema"], &answers[0]["filter"]["keys"]),
        (&json!("isopach.sst.filter/1"), &json!(101))
    );
    let there =
        |at: usize| (answers[at]["denied"].as_bool().unwrap(), answers[at]["there"].as_bool().unwrap());
    assert_eq!([there(1), there(2)], [(false, true); 2], "a key that is deleted is there too");
    assert!((3..6).all(|at| !there(at).1) && (3..6).any(|at| there(at).0), "{answers:?}");
}

/// A database whose keyspaces have prefix extractors, one of which the program does not know; the table of the
/// other.
fn with_prefixes(name: &str) -> (Scene, PathBuf) {
    struct Unknown;

    impl PrefixExtractor for Unknown {
        fn name(&self) -> &str {
            "app.unknown"
        }

        fn prefixes(&self, _key: &[u8], each: &mut dyn FnMut(usize)) {
            each(1);
        }

        fn covers(&self, prefix: &[u8]) -> bool {
            prefix.len() == 1
        }
    }

    let scene = Scene::new(name);
    let db = Db::builder(scene.path("db")).prefix_extractor(Unknown).open().unwrap();
    let options = |name: &str| {
        let mut options = KeyspaceOptions::new();
        options.prefix_extractor = Some(name.to_owned());
        options
    };
    for (name, extractor) in [("k", "isopach.delimited.58"), ("unknown", "app.unknown")] {
        let keyspace = db.keyspace_with(name, options(extractor)).unwrap();
        for key in ["user:7:mail", "user:7:name", "user:8:name"] {
            keyspace.insert(key, "v").unwrap();
        }
    }
    db.flush().unwrap();
    drop(db);
    let file = scene.objects(["sst", "ls", "db"])[0]["file"].as_str().map(|file| scene.path("db").join(file));
    (scene, file.expect("there is a table"))
}

#[test]
fn a_prefix_filter_is_shown_and_asked() {
    let (scene, table) = with_prefixes("sst-prefixes");

    let shown = &scene.objects(sst("show", &table, &[]))[0];
    assert_eq!(
        (&shown["extractor"], &shown["prefix_filter"]["keys"]),
        (&json!("isopach.delimited.58"), &json!(3))
    );
    assert_eq!(shown["options"]["prefix_extractor"], "isopach.delimited.58");
    let regions = scene.objects(sst("layout", &table, &[]));
    let region = regions.iter().find(|region| region["region"] == "prefix-filter").expect("it is a region");
    assert_eq!(region["bytes"], shown["prefix_filter_bytes"]);
    let asked = ["user:", "user:7:", "user:9:", "user:7:mail"];
    let answers = scene.objects(sst("filter", &table, &asked));
    assert_eq!(answers[0]["prefix_filter"]["extractor"], "isopach.delimited.58");
    let denied: Vec<&Value> = answers[1..].iter().map(|answer| &answer["prefix_denied"]).collect();
    assert_eq!(denied, [&json!(false), &json!(false), &json!(true), &json!(null)]);
    for (command, more, expected) in [
        ("show", &[][..], "prefixes     bloom, "),
        ("show", &[], "prefixes by  isopach.delimited.58\n"),
        ("filter", &asked, "prefixes by isopach.delimited.58: bloom, "),
        ("layout", &[], "prefix-filter"),
    ] {
        let more = [more, &["--output", "table"]].concat();
        let screen = String::from_utf8(scene.ok(sst(command, &table, &more))).unwrap();
        assert!(screen.contains(expected), "{screen}");
    }
}

#[test]
fn commands_that_write_nothing_do_without_an_extractor_that_they_do_not_know() {
    let (scene, _) = with_prefixes("sst-unknown-extractor");

    assert_eq!(scene.objects(["scan", "db", "unknown", "--prefix", "user:7:"]).len(), 2);
    scene.ok(["verify", "db", "--full"]);
    let said = scene.fails(6, ["put", "db", "unknown", "key", "value"]);
    assert!(said.contains("app.unknown") && said.contains("commands that write nothing"), "{said}");
    scene.ok(["put", "db", "k", "key", "value"]);
}

#[test]
fn tables_of_a_database_are_listed_and_nothing_is_written() {
    let (scene, table) = a_table("sst-ls");
    scene.ok(["put", "db", "k", "another", "1"]);
    scene.ok(["put", "db", "other", "key", "1"]);
    scene.ok(["flush", "db"]);
    let before = files(&scene.path("db"));

    let listed = scene.objects(["sst", "ls", "db"]);
    for command in ["show", "layout", "dump", "filter"] {
        scene.ok(sst(command, &table, &[]));
    }

    assert_eq!(listed.len(), 4, "{listed:#?}");
    assert!(listed.iter().all(|table| scene.path("db").join(table["file"].as_str().unwrap()).exists()));
    let of =
        |at: usize| (listed[at]["keyspace"].as_str().unwrap(), listed[at]["first_key"].as_str().unwrap());
    assert_eq!(
        [of(0), of(1), of(3)],
        [("k", "another"), ("k", "key000"), ("other", "key")],
        "the newest first"
    );
    assert_eq!(files(&scene.path("db")), before);
}

/// No lock is taken: a table never changes.
#[test]
fn tables_are_read_beside_a_running_process() {
    let (scene, table) = a_table("sst-beside");
    let writer = scene.writer();

    scene.fails(5, ["sst", "ls", "db"]);
    scene.ok(sst("layout", &table, &[]));

    writer.kill();
}

#[test]
fn files_that_are_no_tables_are_refused() {
    let scene = Scene::with_packages("sst-foreign");

    assert!(scene.fails(4, ["sst", "show", "nowhere"]).contains("there is no such file"));
    assert!(scene.fails(4, ["sst", "show", "nowhere/at-all"]).contains("nowhere/at-all"));
    assert!(scene.fails(6, ["sst", "layout", "packages"]).contains("does not begin as a file of Isopach"));
    assert!(scene.fails(6, ["sst", "dump", "db/IDENTITY"]).contains("another file of a database"));
    let (scene, table) = a_table("sst-cut");
    let content = fs::read(&table).unwrap();
    fs::write(&table, &content[..content.len() - 1]).unwrap();
    let said = scene.fails(3, sst("show", &table, &[]));
    assert!(said.contains(&format!(" at byte {}: ", content.len() - 1 - FOOTER_BYTES)), "{said}");
}

/// Records of one kind, written through the library: the program itself makes no keyspace with a dictionary.
fn a_table_with_a_dictionary(scene: &Scene) -> (PathBuf, PathBuf) {
    let options = KeyspaceOptions::new()
        .compression(Compression::Zstd { level: 3 })
        .block_bytes(4 << 10)
        .dictionary_bytes(4 << 10);
    let db = Db::open(scene.path("db")).unwrap();
    let keyspace = db.keyspace_with("k", options).unwrap();
    for _ in 0..2 {
        for number in 0..20_000_u64 {
            let hash = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let record = json!({"identifier": hash >> 20, "description": "a record of some kind", "count": hash >> 54});
            keyspace.insert(format!("{number:08}"), record.to_string()).unwrap();
        }
        db.flush().unwrap();
    }
    keyspace.compact_range(..).unwrap();
    drop(keyspace);
    db.close().unwrap();
    let only = |directory: &str| {
        let mut found = files(&scene.path("db").join(directory)).into_iter().map(|(path, _)| path);
        (found.next().expect("there is one"), found.next()).0
    };
    (only("tables"), only("dictionaries"))
}

#[test]
fn a_table_with_a_dictionary_is_read_with_the_one_beside_it_or_says_which_it_needs() {
    if !(Compression::Zstd { level: 3 }).is_available() {
        return;
    }
    let scene = Scene::new("sst-dictionary");
    let (table, dictionary) = a_table_with_a_dictionary(&scene);
    let file = dictionary.file_name().unwrap().to_str().unwrap();

    let shown = &scene.objects(sst("show", &table, &[]))[0];
    assert_eq!(shown["dictionary"]["file"], file);
    assert_eq!(shown["dictionary"]["bytes"], fs::metadata(&dictionary).unwrap().len());
    assert_eq!(shown["options"]["dictionary_bytes"], "4096");
    let screen = String::from_utf8(scene.ok(sst("show", &table, &["--output", "table"]))).unwrap();
    assert!(screen.contains(file), "{screen}");
    assert_eq!(scene.objects(sst("dump", &table, &[])).len(), 20_000);
    let regions = scene.objects(sst("layout", &table, &[]));
    assert!(regions.iter().any(|region| region["codec"] == "zstddictionary"), "{:?}", regions[1]);

    fs::rename(&dictionary, scene.path("elsewhere")).unwrap();
    let said = scene.fails(3, sst("dump", &table, &[]));
    assert!(said.contains(file) && said.contains("missing"), "{said}");
    let shown = String::from_utf8(scene.run(sst("layout", &table, &[])).stdout).unwrap();
    assert!(shown.contains(file) && shown.contains("missing"), "{shown}");
    scene.ok(sst("show", &table, &[]));
    let said = scene.fails(3, ["get", "db", "k", "00000001"]);
    assert!(said.contains(file) && said.contains("put the file back"), "{said}");
    scene.fails(3, ["verify", "db"]);
    fs::rename(scene.path("elsewhere"), &dictionary).unwrap();
    scene.ok(["verify", "db", "--full"]);
}

/// The order of bytes under a name that this program does not know.
struct Mine;

impl Comparator for Mine {
    fn name(&self) -> &str {
        "app.mine"
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        b.cmp(a)
    }
}

#[test]
fn of_a_table_in_an_order_that_is_not_known_it_is_said_what_is_not() {
    let scene = Scene::new("sst-order");
    let db = Db::builder(scene.path("db")).comparator(Mine).open().unwrap();
    let keyspace = db.keyspace_with("k", KeyspaceOptions::new().comparator(&Mine)).unwrap();
    for key in ["a", "b", "c"] {
        keyspace.insert(key, "v").unwrap();
    }
    db.flush().unwrap();
    drop(keyspace);
    db.close().unwrap();
    let (table, _) = files(&scene.path("db").join("tables")).into_iter().next().expect("there is one");

    let shown = &scene.objects(sst("show", &table, &[]))[0];
    assert_eq!((&shown["comparator"], &shown["comparator_known"]), (&json!("app.mine"), &json!(false)));
    assert_eq!((&shown["first_key"], &shown["last_key"]), (&json!("c"), &json!("a")));
    let layout = String::from_utf8(scene.ok(sst("layout", &table, &["--output", "table"]))).unwrap();
    assert!(layout.contains("the order of keys is not known here"), "{layout}");
    let dumped = scene.objects(sst("dump", &table, &[]));
    assert_eq!(
        dumped.iter().map(|entry| entry["key"].as_str().unwrap()).collect::<Vec<_>>(),
        ["c", "b", "a"]
    );
    let said = scene.fails(6, sst("dump", &table, &["--from", "b"]));
    assert!(said.contains("an order that is not known"), "{said}");
    let asked = scene.objects(sst("filter", &table, &["b", "x"]));
    let of = |key: &str| asked.iter().find(|it| it["key"] == key).expect("it was asked for").clone();
    assert_eq!((&of("b")["denied"], &of("b")["there"]), (&json!(false), &json!(true)));
    assert_eq!(of("x")["there"], json!(false));
    let said = scene.fails(6, ["get", "db", "k", "a"]);
    assert!(said.contains("app.mine"), "{said}");
    assert_eq!(scene.objects(["ls", "db"]).len(), 1, "it is listed");
}
