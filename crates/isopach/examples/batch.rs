//! An index that is never out of step with its data: both change in one batch, also when the program dies
//! between two writes.

use isopach::{Db, ErrorKind, Keyspace, Result};
use std::error::Error;

/// People by number, and numbers by name. Names are unique.
struct People {
    db: Db,
    people: Keyspace,
    by_name: Keyspace,
}

impl People {
    fn open(db: &Db) -> Result<People> {
        Ok(People { people: db.keyspace("people")?, by_name: db.keyspace("by_name")?, db: db.clone() })
    }

    /// Gives a person a name, and takes the old one away.
    fn name(&self, id: u64, name: &str) -> Result<()> {
        let mut batch = self.db.batch();
        if let Some(old) = self.people.get(id.to_be_bytes())? {
            batch.remove(&self.by_name, old);
        }
        batch.insert(&self.people, id.to_be_bytes(), name);
        batch.insert(&self.by_name, name, id.to_be_bytes());
        self.db.write(batch)?;
        Ok(())
    }

    fn find(&self, name: &str) -> Result<Option<u64>> {
        let id = self.by_name.get(name)?;
        Ok(id.map(|id| u64::from_be_bytes(id[..].try_into().expect("numbers are eight bytes long"))))
    }
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("isopach-batch-{}", std::process::id()));
    let db = Db::open(&dir)?;
    let people = People::open(&db)?;

    people.name(1, "Ada Byron")?;
    people.name(2, "Grace Hopper")?;
    people.name(1, "Ada Lovelace")?;
    assert_eq!(people.find("Ada Lovelace")?, Some(1));
    assert_eq!(people.find("Ada Byron")?, None, "the index followed");

    // A batch that cannot be written changes nothing, not even by the writes that could.
    let mut batch = db.batch();
    batch.insert(&people.people, 3_u64.to_be_bytes(), "Nobody");
    batch.insert(&people.by_name, "x".repeat(70_000), 3_u64.to_be_bytes());
    assert_eq!(db.write(batch).unwrap_err().kind(), ErrorKind::KeyTooLarge);
    assert_eq!(people.people.count(..)?, 2);

    // What was written is there after closing and opening again.
    drop(people);
    db.close()?;
    let db = Db::open(&dir)?;
    let people = People::open(&db)?;
    for entry in people.by_name.iter() {
        let (name, id) = entry?;
        println!("{name:?} is number {}", u64::from_be_bytes(id[..].try_into()?));
    }
    assert_eq!(people.find("Grace Hopper")?, Some(2));
    db.close()?;
    Ok(std::fs::remove_dir_all(dir)?)
}
