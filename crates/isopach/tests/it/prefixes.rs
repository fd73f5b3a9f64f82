//! Prefix extractors of keyspaces: stored by name, changed while in use, missing.

use isopach::{
    DelimitedPrefix, ErrorKind, FixedPrefix, Keyspace, KeyspaceOptions, PrefixExtractor, VerifyDepth,
    VerifyOptions, env::MemFs,
};
use testkit::db::{SOON, entries, small};

/// Everything up to and with the tenant's end, which is a newline.
struct Tenant;

impl PrefixExtractor for Tenant {
    fn name(&self) -> &str {
        "app.tenant"
    }

    fn prefixes(&self, key: &[u8], each: &mut dyn FnMut(usize)) {
        key.iter().position(|&byte| byte == b'\n').map(|at| each(at + 1)).unwrap_or_default();
    }

    fn covers(&self, prefix: &[u8]) -> bool {
        prefix.iter().position(|&byte| byte == b'\n').is_some_and(|at| at + 1 == prefix.len())
    }
}

fn of_tenants() -> KeyspaceOptions {
    KeyspaceOptions::new().prefix_extractor(&Tenant)
}

/// Tables that a scan of a prefix passed over, which has no entries.
fn skips(keyspace: &Keyspace, prefix: &str) -> u64 {
    let before = keyspace.stats().tree.prefix_skips;
    assert!(!keyspace.contains_prefix(prefix).unwrap());
    assert_eq!(keyspace.prefix(prefix).rev().count(), 0);
    (keyspace.stats().tree.prefix_skips - before) / 2
}

#[test]
fn an_extractor_is_stored_by_name_and_its_tables_are_passed_over() {
    let files = MemFs::new();
    let db = small(files.clone()).prefix_extractor(Tenant).open().unwrap();
    let ks = db.keyspace_with("k", of_tenants()).unwrap();
    ks.insert("a\n1", "v").unwrap();
    ks.insert("c\n1", "v").unwrap();
    db.flush().unwrap();
    assert_eq!(skips(&ks, "b\n"), 1);
    let crashed = files.deep_clone();
    drop(ks);
    db.close().unwrap();

    for files in [files, crashed] {
        let db = small(files).prefix_extractor(Tenant).open().unwrap();
        let ks = db.keyspace("k").unwrap();
        assert_eq!(ks.options().prefix_extractor.as_deref(), Some("app.tenant"));
        assert_eq!(skips(&ks, "b\n"), 1);
        assert_eq!(db.verify(VerifyOptions::new().depth(VerifyDepth::Full)).unwrap().found.len(), 0);
    }
}

#[test]
fn an_extractor_is_changed_while_the_keyspace_is_in_use() {
    let db = small(MemFs::new()).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    ks.insert("a:1", "v").unwrap();
    ks.insert("c:1", "v").unwrap();
    db.flush().unwrap();
    assert_eq!(skips(&ks, "b:"), 0);

    ks.set_options(|options| *options = options.clone().prefix_extractor(&DelimitedPrefix::new(b':')))
        .unwrap();
    assert_eq!(skips(&ks, "b:"), 0, "tables that are there have no such filter");
    ks.compact_range(..).unwrap();
    db.wait_idle(SOON).unwrap();
    assert_eq!(skips(&ks, "b:"), 1);
    ks.set_options(|options| options.prefix_extractor = Some(FixedPrefix::new(1).name().into())).unwrap();
    assert_eq!(skips(&ks, "b:"), 0);

    let unknown = ks.set_options(|options| options.prefix_extractor = Some("nobody's".into())).unwrap_err();
    assert_eq!((unknown.kind(), unknown.keyspace()), (ErrorKind::MissingPrefixExtractor, Some("k")));
    assert_eq!(ks.options().prefix_extractor.as_deref(), Some("isopach.prefix.1"));
    ks.set_options(|options| options.prefix_extractor = None).unwrap();
    assert_eq!((skips(&ks, "b:"), ks.prefix("c:").count()), (0, 1));
}

#[test]
fn a_keyspace_whose_extractor_is_missing_is_listed_and_told_of() {
    let files = MemFs::new();
    let db = small(files.clone()).prefix_extractor(Tenant).open().unwrap();
    let ks = db.keyspace_with("tenants", of_tenants()).unwrap();
    db.keyspace("other").unwrap().insert("k", "v").unwrap();
    ks.insert("a\n1", "v").unwrap();
    db.flush().unwrap();
    drop(ks);
    db.close().unwrap();

    let db = small(files.clone()).open().unwrap();
    let error = db.keyspace("tenants").unwrap_err();
    assert_eq!((error.kind(), error.keyspace()), (ErrorKind::MissingPrefixExtractor, Some("tenants")));
    let message = error.to_string();
    assert!(message.contains("app.tenant") && message.contains("Builder::prefix_extractor"), "{message}");
    assert_eq!(db.keyspaces().len(), 2);
    assert!(db.keyspace("other").unwrap().contains("k").unwrap());
    let created = db.keyspace_with("more", of_tenants()).unwrap_err();
    assert_eq!((created.kind(), created.keyspace()), (ErrorKind::MissingPrefixExtractor, Some("more")));
    assert_eq!(db.keyspaces().len(), 2, "nothing was made");
    db.close().unwrap();
    assert_eq!(small(files.clone()).open().unwrap().keyspaces().len(), 2, "nor logged");

    let read = small(files.clone()).open_read_only().unwrap();
    assert_eq!(entries(&read.keyspace("tenants").unwrap()).len(), 1, "reading does without");
    drop(read);
    assert!(small(files).verify(VerifyOptions::new()).unwrap().found.is_empty());
}

#[test]
fn a_log_with_writes_of_a_keyspace_whose_extractor_is_missing_is_not_replayed_without_it() {
    let files = MemFs::new();
    let db = small(files.clone()).prefix_extractor(Tenant).open().unwrap();
    let ks = db.keyspace_with("tenants", of_tenants()).unwrap();
    ks.insert("a\n1", "v").unwrap();
    drop(ks);
    db.close().unwrap();

    let error = small(files.clone()).open().unwrap_err();
    assert_eq!((error.kind(), error.keyspace()), (ErrorKind::MissingPrefixExtractor, Some("tenants")));
    let read = small(files.clone()).open_read_only().unwrap();
    assert_eq!(entries(&read.keyspace("tenants").unwrap()).len(), 1);
    drop(read);

    let db = small(files).prefix_extractor(Tenant).open().unwrap();
    assert!(db.keyspace("tenants").unwrap().contains_prefix("a\n").unwrap());
}

#[test]
fn an_extractor_with_a_name_that_is_reserved_or_taken_keeps_the_database_from_opening() {
    struct Named(&'static str);

    impl PrefixExtractor for Named {
        fn name(&self) -> &str {
            self.0
        }

        fn prefixes(&self, _key: &[u8], _each: &mut dyn FnMut(usize)) {}

        fn covers(&self, _prefix: &[u8]) -> bool {
            false
        }
    }

    for name in ["isopach.prefix.8", "", "app.tenant"] {
        let files = MemFs::new();
        let opened = small(files.clone()).prefix_extractor(Tenant).prefix_extractor(Named(name)).open();
        assert_eq!(opened.unwrap_err().kind(), ErrorKind::InvalidArgument, "{name:?}");
        assert!(small(files).create_if_missing(false).open().is_err(), "nothing was made");
    }
}
