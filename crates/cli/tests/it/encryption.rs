//! Encrypted databases: keys from a file or the environment, and what is said without them.

use crate::support::Scene;
use std::fs;

const KEYS: &str = "# The new one first.\n\
    2 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n\
    1 ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\n";

#[test]
fn a_database_is_encrypted_read_and_decrypted_with_a_key_file() {
    let scene = Scene::new("encrypted");
    let write = |name: &str, text: &str| fs::write(scene.path(name), text).unwrap();
    write("keys", KEYS);
    write("other", &KEYS.replace("0011", "1100"));
    write("clear", &format!("0\n{KEYS}"));

    scene.ok(["put", "db", "k", "who", "secret-value", "--key-file", "keys"]);
    scene.ok(["flush", "db", "--key-file", "keys"]);
    assert_eq!(scene.ok(["get", "db", "k", "who", "--key-file", "keys"]), b"secret-value\n");
    scene.ok(["verify", "db", "--full", "--key-file", "keys"]);
    let table = fs::read_dir(scene.path("db/tables")).unwrap().next().unwrap().unwrap().path();
    assert!(!fs::read(&table).unwrap().windows(6).any(|bytes| bytes == b"secret"));
    let table = table.to_str().unwrap();
    let dumped = scene.ok(["sst", "dump", table, "--key-file", "keys"]);
    assert!(String::from_utf8(dumped).unwrap().contains("secret-value"));

    for (args, why) in [
        (&["get", "db", "k", "who"][..], "no keys were given"),
        (&["get", "db", "k", "who", "--key-file", "other"], "another key"),
        (&["put", "db", "k", "a", "b"], "no keys were given"),
        (&["sst", "dump", table], "no keys were given"),
    ] {
        let said = scene.run(args.iter().copied());
        assert_eq!(said.status.code(), Some(8), "{said:?}");
        assert!(String::from_utf8_lossy(&said.stderr).contains(why), "{said:?}");
    }
    assert_eq!(scene.run(["ls", "db", "--key-file", "nowhere"]).status.code(), Some(1));

    scene.ok(["rekey", "db", "--key-file", "clear"]);
    assert_eq!(scene.ok(["get", "db", "k", "who"]), b"secret-value\n", "it is encrypted no more");
}

#[test]
fn rekey_leaves_nothing_under_the_earlier_key() {
    let scene = Scene::new("rekey");
    let old = KEYS.lines().last().unwrap();
    scene.file("old", old);
    scene.file("both", KEYS);
    scene.file("new", KEYS.lines().nth(1).unwrap());
    let keys = |file: &str| -> Vec<u64> {
        let info = &scene.objects(["info", "db", "--key-file", file])[0];
        info["keys"].as_array().unwrap().iter().map(|of_key| of_key["key"].as_u64().unwrap()).collect()
    };
    scene.ok(["put", "db", "k", "who", "secret-value", "--key-file", "old"]);
    scene.ok(["flush", "db", "--key-file", "old"]);
    scene.ok(["put", "db", "k", "what", "in-the-log", "--key-file", "old"]);
    assert_eq!(keys("old"), [1]);

    let said = scene.objects(["rekey", "db", "--key-file", "both"]);

    assert_eq!(said[0]["keys"], serde_json::json!([2]), "{said:?}");
    assert!(said[0]["bytes"].as_u64().unwrap() > 0, "{said:?}");
    assert_eq!(keys("new"), [2]);
    assert_eq!(scene.ok(["get", "db", "k", "who", "--key-file", "new"]), b"secret-value\n");
    assert_eq!(scene.ok(["get", "db", "k", "what", "--key-file", "new"]), b"in-the-log\n");
    scene.fails(8, ["get", "db", "k", "who", "--key-file", "old"]);
    let said = scene.ok(["rekey", "db", "--key-file", "new", "--output", "table"]);
    assert_eq!(
        String::from_utf8(said).unwrap(),
        "0 B written anew; under key 2\n",
        "there is nothing left to do"
    );
}
