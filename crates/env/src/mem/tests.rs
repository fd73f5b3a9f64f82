//! What [`MemFs`] adds to the contract: capacity, copies, the ledger. The contract itself is tested by
//! `testkit::fs_conformance`.

use super::*;
use std::thread;

const LOG: CreateOptions = CreateOptions::new(WriteOrigin::Log);

fn content_of(fs: &MemFs, name: &str) -> Vec<u8> {
    let file = fs.open(name, OpenMode::Read).expect("exists");
    let mut content = alloc::vec![0; usize::try_from(file.size_bytes().expect("known")).expect("small")];
    file.read_exact_at(0, &mut content).expect("as long as it says");
    content
}

fn kind_of<T>(result: IoResult<T>) -> Option<IoErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn growing_past_the_capacity_fails_and_changes_nothing() {
    let fs = MemFs::new();
    fs.set_capacity(Some(10));
    let file = fs.create("a", &LOG).expect("new");
    file.write_at(0, b"01234567").expect("fits");

    assert_eq!(kind_of(file.write_at(7, b"xxxx")), Some(IoErrorKind::OutOfSpace));
    assert_eq!(kind_of(file.set_len(11)), Some(IoErrorKind::OutOfSpace));
    assert_eq!(kind_of(file.allocate(11)), Some(IoErrorKind::OutOfSpace));

    assert_eq!(content_of(&fs, "a"), b"01234567");
    assert_eq!(fs.space_left(), Ok(Some(2)));
    assert_eq!(file.write_at(8, b"89"), Ok(()));
}

#[test]
fn a_full_place_still_overwrites_and_cuts() {
    let fs = MemFs::new();
    let file = fs.create("a", &LOG).expect("new");
    file.write_at(0, b"01234567").expect("no limit");
    fs.set_capacity(Some(4));

    assert_eq!(file.write_at(0, b"abcdefgh"), Ok(()));
    assert_eq!(fs.space_left(), Ok(Some(0)));
    assert_eq!(file.set_len(1), Ok(()));

    assert_eq!(fs.space_left(), Ok(Some(3)));
    fs.set_capacity(None);
    assert_eq!(fs.space_left(), Ok(None));
}

#[test]
fn reserved_space_is_there_when_the_rest_is_used_up() {
    let fs = MemFs::new();
    fs.set_capacity(Some(10));
    let (reserved, other) = (fs.create("a", &LOG).expect("new"), fs.create("b", &LOG).expect("new"));

    reserved.allocate(6).expect("fits");
    other.write_at(0, b"0123").expect("the rest");

    assert_eq!(kind_of(other.write_at(4, b"x")), Some(IoErrorKind::OutOfSpace));
    assert_eq!(reserved.write_at(0, b"012345"), Ok(()));
}

#[test]
fn space_comes_back_with_the_last_name_and_handle() {
    let fs = MemFs::new();
    fs.set_capacity(Some(10));
    let file = fs.create("a", &LOG).expect("new");
    file.write_at(0, b"0123456789").expect("fits");

    fs.remove_file("a").expect("exists");
    assert_eq!(fs.space_left(), Ok(Some(0)), "a handle is open");
    drop(file);

    assert_eq!(fs.space_left(), Ok(Some(10)));
}

#[test]
fn space_of_a_replaced_file_comes_back() {
    let fs = MemFs::new();
    fs.set_capacity(Some(10));
    fs.create("old", &LOG).expect("new").write_at(0, b"0123").expect("fits");
    fs.create("new", &LOG).expect("new").write_at(0, b"01").expect("fits");

    fs.rename("new", "old").expect("replaces");

    assert_eq!(fs.space_left(), Ok(Some(8)));
}

#[test]
fn sizes_no_memory_can_hold_are_out_of_space() {
    let fs = MemFs::new();
    let file = fs.create("a", &LOG).expect("new");

    assert_eq!(kind_of(file.write_at(u64::MAX, b"01")), Some(IoErrorKind::OutOfSpace));
    assert_eq!(kind_of(file.write_at(u64::MAX - 2, b"01")), Some(IoErrorKind::OutOfSpace));
    assert_eq!(kind_of(file.set_len(u64::MAX)), Some(IoErrorKind::OutOfSpace));
    assert_eq!(file.write_at(u64::MAX, b""), Ok(()));

    assert_eq!(file.read_at(u64::MAX, &mut [0]), Ok(0));
    assert_eq!(file.size_bytes(), Ok(0));
}

#[test]
fn a_clone_is_the_same_place_and_a_deep_clone_another() {
    let fs = MemFs::new();
    fs.create_dir("dir").expect("new");
    let file = fs.create("dir/a", &LOG).expect("new");
    file.write_at(0, b"before").expect("no limit");

    let copy = fs.deep_clone();
    file.write_at(0, b"after!").expect("no limit");
    fs.clone().create("dir/b", &LOG).expect("new");
    copy.create("c", &LOG).expect("new");

    assert_eq!(content_of(&copy, "dir/a"), b"before");
    assert_eq!(fs.exists("dir/b"), Ok(true));
    assert_eq!(copy.exists("dir/b"), Ok(false));
    assert_eq!(fs.exists("c"), Ok(false));
}

#[test]
fn a_deep_clone_has_the_capacity_and_no_locks() {
    let fs = MemFs::new();
    fs.set_capacity(Some(10));
    fs.create("a", &LOG).expect("new").write_at(0, b"0123").expect("fits");
    let _lock = fs.lock("LOCK", LockMode::Exclusive).expect("free");

    let copy = fs.deep_clone();
    fs.remove_file("a").expect("exists");

    assert_eq!(copy.space_left(), Ok(Some(6)));
    assert!(copy.lock("LOCK", LockMode::Exclusive).is_ok());
    assert_eq!(copy.ledger().map(|ledger| ledger.bytes(WriteOrigin::Log)), Some(0));
}

#[test]
fn a_deep_clone_is_of_one_instant() {
    let fs = MemFs::new();
    // Names are copied in order. The large file makes the copy slow between the two that are compared.
    let (first, second) = (fs.create("1", &LOG).expect("new"), fs.create("3", &LOG).expect("new"));
    fs.create("2", &LOG).expect("new").set_len(1 << 20).expect("no limit");
    let word_of = |fs: &MemFs, name| {
        let mut bytes = [0; 8];
        fs.open(name, OpenMode::Read).expect("exists").read_at(0, &mut bytes).expect("in memory");
        u64::from_le_bytes(bytes)
    };

    thread::scope(|scope| {
        let copier = scope.spawn(|| {
            while word_of(&fs, "3") == 0 {
                thread::yield_now();
            }
            for _ in 0..20 {
                let copy = fs.deep_clone();
                let (first, second) = (word_of(&copy, "1"), word_of(&copy, "3"));
                assert!(
                    first == second || first == second + 1,
                    "round {second} was copied beside round {first}, which came before"
                );
            }
        });
        let mut round = 0_u64;
        while !copier.is_finished() {
            round += 1;
            first.write_at(0, &round.to_le_bytes()).expect("no limit");
            second.write_at(0, &round.to_le_bytes()).expect("no limit");
        }
    });
}

#[test]
fn written_bytes_are_counted_by_what_the_file_was_created_for() {
    let fs = MemFs::new();
    let table = fs.create("a", &CreateOptions::new(WriteOrigin::FlushTable)).expect("new");

    table.write_at(0, b"0123").expect("no limit");
    table.allocate(100).expect("no limit");
    fs.open("a", OpenMode::ReadWrite).expect("exists").write_at(0, b"01").expect("no limit");

    let ledger = fs.ledger().expect("counts");
    assert_eq!(ledger.bytes(WriteOrigin::FlushTable), 4);
    assert_eq!(ledger.bytes(WriteOrigin::Metadata), 2);
}

#[test]
fn a_lock_follows_its_file_and_ends_with_its_holder() {
    let fs = MemFs::new();
    let held = fs.lock("LOCK", LockMode::Exclusive).expect("free");
    fs.rename("LOCK", "MOVED").expect("exists");

    assert_eq!(kind_of(fs.lock("MOVED", LockMode::Shared)), Some(IoErrorKind::WouldBlock));
    drop(held);

    assert!(fs.lock("MOVED", LockMode::Shared).is_ok());
}

#[test]
fn a_deep_clone_keeps_a_file_one_under_both_its_names_and_counts_it_once() {
    let fs = MemFs::new();
    fs.set_capacity(Some(10));
    fs.create("a", &LOG).expect("new").write_at(0, b"0123").expect("fits");
    fs.link("a", "b").expect("free");

    let copy = fs.deep_clone();
    copy.open("a", OpenMode::ReadWrite).expect("exists").write_at(0, b"xy").expect("fits");

    assert_eq!(content_of(&copy, "b"), b"xy23");
    assert_eq!(content_of(&fs, "b"), b"0123");
    assert_eq!(copy.space_left(), Ok(Some(6)));
}
