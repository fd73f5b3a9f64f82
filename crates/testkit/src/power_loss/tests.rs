//! What a power loss may leave, piece by piece.

use super::*;

const SITE: SyncSite = SyncSite("test");

fn read(fs: &dyn Fs, name: &str) -> Option<Vec<u8>> {
    let file = fs.open(name, OpenMode::Read).ok()?;
    let mut bytes = vec![0; file.size_bytes().unwrap() as usize];
    file.read_exact_at(0, &mut bytes).unwrap();
    Some(bytes)
}

/// Every outcome over many images, each once.
fn outcomes(fs: &PowerLossFs, name: &str) -> BTreeSet<Option<Vec<u8>>> {
    (0..200).map(|seed| read(&fs.image(&mut Rng::new(seed)), name)).collect()
}

fn write(fs: &PowerLossFs, name: &str, content: &[u8]) -> Arc<dyn File> {
    let file = fs.create(name, &CreateOptions::new(WriteOrigin::Metadata)).unwrap();
    file.write_at(0, content).unwrap();
    file
}

#[test]
fn a_file_is_durable_with_its_content_and_its_entry() {
    let fs = PowerLossFs::new();
    let file = write(&fs, "a", b"1");
    assert_eq!(outcomes(&fs, "a"), [None, Some(vec![]), Some(vec![0]), Some(b"1".into())].into());

    file.sync(SyncMode::Durable, SITE).unwrap();
    assert_eq!(outcomes(&fs, "a"), [None, Some(b"1".into())].into());

    fs.sync_dir("", SITE).unwrap();
    assert_eq!(outcomes(&fs, "a"), [Some(b"1".into())].into());
}

#[test]
fn a_rename_leaves_the_old_or_the_new() {
    let fs = PowerLossFs::new();
    write(&fs, "to", b"old");
    write(&fs, "from", b"new");
    fs.settle();

    fs.rename("from", "to").unwrap();

    assert_eq!(outcomes(&fs, "to"), [Some(b"old".into()), Some(b"new".into())].into());
    assert_eq!(read(&fs, "to"), Some(b"new".into()));
}

#[test]
fn what_was_removed_may_come_back() {
    let fs = PowerLossFs::new();
    write(&fs, "a", b"1");
    fs.settle();

    fs.remove_file("a").unwrap();

    assert_eq!(outcomes(&fs, "a"), [None, Some(b"1".into())].into());
    fs.sync_dir("", SITE).unwrap();
    assert_eq!(outcomes(&fs, "a"), [None].into());
}

#[test]
fn sectors_are_lost_one_by_one() {
    let fs = PowerLossFs::new();
    let file = write(&fs, "a", &[1; 1024]);
    fs.settle();

    file.write_at(0, &[2; 1024]).unwrap();

    let firsts = |bytes: Option<Vec<u8>>| bytes.map(|bytes| (bytes[0], bytes[511], bytes[512])).unwrap();
    let seen: BTreeSet<_> = outcomes(&fs, "a").into_iter().map(firsts).collect();
    assert_eq!(seen, [(1, 1, 1), (1, 1, 2), (2, 2, 1), (2, 2, 2)].into());
}
