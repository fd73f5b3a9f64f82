//! `dump`: whole keyspaces in a form that `load` reads.

use crate::{
    args::{DumpArgs, Form},
    database,
    exit::{self, Doing, Failure},
    formats::{self, DumpFormat},
    output::Console,
};
use isopach::Slice;

/// Prints one keyspace, or all with their names. Damage ends it: what is dumped without an error is whole.
pub(super) fn dump(args: &DumpArgs, form: Option<Form>, console: &mut Console<'_>) -> Result<(), Failure> {
    let format = match form {
        None | Some(Form::Jsonl) => DumpFormat::Jsonl,
        Some(Form::Raw) => DumpFormat::Raw,
        Some(Form::Table) => {
            return Err(Failure::new(
                exit::USAGE,
                "dump",
                "a dump is jsonl or raw; `isopach scan` has tables",
            ));
        }
    };
    let db = database::read(&args.db)?;
    // All of them first: what cannot be opened fails before anything is printed.
    let keyspaces: Vec<_> = match &args.keyspace {
        Some(name) => vec![database::keyspace_to_read(&db, name)?],
        None => {
            let names = db.keyspaces().into_iter().map(|(name, _)| name);
            names.map(|name| database::keyspace_to_read(&db, &name)).collect::<Result<_, _>>()?
        }
    };

    let mut to = formats::writer(format, console.out())?;
    for keyspace in &keyspaces {
        if args.keyspace.is_none() {
            to.keyspace(keyspace.name())?;
        }
        for entry in keyspace.iter() {
            let (key, value): (Slice, Slice) = entry.doing("dump")?;
            to.entry(&key, &value)?;
        }
    }
    Ok(to.end()?)
}
