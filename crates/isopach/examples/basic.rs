//! Open a database, write, read, scan. The program of the README.

use isopach::{Db, Durability, WriteOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join(format!("isopach-basic-{}", std::process::id()));
    let db = Db::open(&dir)?; // Made if it is missing.
    let users = db.keyspace("users")?;
    let by_name = db.keyspace("by_name")?;

    let mut batch = db.batch(); // Both entries or none, whatever happens.
    batch.insert(&users, "u1", "Ada").insert(&by_name, "Ada", "u1");
    db.write_with(batch, WriteOptions::new().durability(Durability::Sync))?;

    let before = db.snapshot();
    users.insert("u2", "Grace")?;
    assert_eq!(users.get("u2")?.unwrap(), b"Grace");
    assert_eq!(users.at(&before).get("u2")?, None);
    for entry in users.prefix("u").rev() {
        let (key, name) = entry?;
        println!("{key:?} is {name:?}");
    }
    db.close()?;
    Ok(std::fs::remove_dir_all(dir)?)
}
