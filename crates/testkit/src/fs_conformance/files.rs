//! Rules of open files.

use super::{Rule, SITE, assert_fails, assert_works, content_of, make_file, open};
use isopach_env::{File, Fs, IoErrorKind, OpenMode, SyncMode};
use std::{sync::Arc, thread};

pub(super) const RULES: &[Rule] = &[
    ("read_at reads what is there, and nothing behind the end", reads_stop_at_the_end),
    ("read_exact_at is UnexpectedEnd where the file is too short", exact_reads_need_all_bytes),
    ("write_at replaces bytes and grows the file", writes_replace_and_grow),
    ("a gap that a write leaves reads as zeros", gaps_are_zeros),
    ("an empty write changes nothing, wherever it is", empty_writes_change_nothing),
    ("set_len cuts, and extends with zeros", set_len_cuts_and_extends),
    ("allocate makes the file at least as large, with zeros, and keeps its content", allocate_extends),
    ("what is stored through a map is written, and stays when the map goes", maps_write),
    ("a handle for reading changes nothing", reading_handles_change_nothing),
    ("a file can be synced, through any handle", files_are_synced),
    (
        "writes of several threads to different ranges do not disturb each other",
        threads_write_beside_each_other,
    ),
];

fn reads_stop_at_the_end(fs: &Arc<dyn Fs>) {
    let file = make_file(fs, "a", b"0123456789");
    let read = |offset, wanted_bytes| {
        let mut buf = vec![b'-'; wanted_bytes];
        let read_bytes = assert_works(file.read_at(offset, &mut buf), "read_at");
        assert!(buf[read_bytes..].iter().all(|&byte| byte == b'-'), "bytes behind the result are untouched");
        buf.truncate(read_bytes);
        buf
    };

    assert_eq!(read(0, 10), b"0123456789", "the whole file");
    assert_eq!(read(3, 4), b"3456", "a part");
    assert_eq!(read(8, 4), b"89", "over the end");
    assert_eq!(read(10, 4), b"", "at the end");
    assert_eq!(read(1 << 40, 4), b"", "far behind the end");
    assert_eq!(read(u64::MAX, 4), b"", "at the last offset there is");
    assert_eq!(read(3, 0), b"", "nothing asked for");
}

fn exact_reads_need_all_bytes(fs: &Arc<dyn Fs>) {
    let file = make_file(fs, "a", b"0123456789");
    let mut buf = [0; 4];

    assert_works(file.read_exact_at(6, &mut buf), "read_exact_at up to the end");
    assert_eq!(&buf, b"6789");
    assert_works(file.read_exact_at(10, &mut []), "read_exact_at of nothing at the end");
    assert_fails(file.read_exact_at(7, &mut buf), IoErrorKind::UnexpectedEnd, "one byte missing");
    assert_fails(file.read_exact_at(10, &mut buf), IoErrorKind::UnexpectedEnd, "at the end");
}

fn writes_replace_and_grow(fs: &Arc<dyn Fs>) {
    let file = make_file(fs, "a", b"0123456789");

    assert_works(file.write_at(2, b"ab"), "write_at inside");
    assert_eq!(content_of(&file), b"01ab456789");
    assert_works(file.write_at(8, b"cdef"), "write_at over the end");
    assert_eq!(content_of(&file), b"01ab4567cdef");
    assert_works(file.write_at(12, b"g"), "write_at at the end");
    assert_eq!(content_of(&open(fs, "a")), b"01ab4567cdefg");

    let large: Vec<u8> = (0..300_000_u32).map(|index| (index % 251) as u8).collect();
    assert_works(file.write_at(1, &large), "write_at of much");
    assert!(content_of(&file)[1..] == large, "a large write reads back");
}

fn gaps_are_zeros(fs: &Arc<dyn Fs>) {
    let file = make_file(fs, "a", b"ab");

    assert_works(file.write_at(10_000, b"cd"), "write_at behind the end");

    let content = content_of(&file);
    assert_eq!(content.len(), 10_002, "size after a write behind the end");
    assert_eq!((&content[..2], &content[10_000..]), (&b"ab"[..], &b"cd"[..]));
    assert!(content[2..10_000].iter().all(|&byte| byte == 0), "the gap reads as zeros");
}

fn empty_writes_change_nothing(fs: &Arc<dyn Fs>) {
    let file = make_file(fs, "a", b"ab");

    assert_works(file.write_at(1, b""), "empty write_at inside");
    assert_works(file.write_at(100, b""), "empty write_at behind the end");

    assert_eq!(content_of(&file), b"ab");
}

fn set_len_cuts_and_extends(fs: &Arc<dyn Fs>) {
    let file = make_file(fs, "a", b"0123456789");

    assert_works(file.set_len(4), "set_len to less");
    assert_eq!(content_of(&file), b"0123");
    assert_works(file.set_len(6), "set_len to more");
    assert_eq!(content_of(&file), b"0123\0\0", "what was cut does not come back");
    assert_works(file.set_len(6), "set_len to the same");
    assert_works(file.set_len(0), "set_len to nothing");
    assert_eq!(file.size_bytes(), Ok(0));
    assert_works(file.write_at(2, b"x"), "write_at after");
    assert_eq!(content_of(&open(fs, "a")), b"\0\0x", "what was cut does not come back");
}

fn allocate_extends(fs: &Arc<dyn Fs>) {
    let file = make_file(fs, "a", b"ab");
    if file.allocate(1).is_err_and(|error| error.kind() == IoErrorKind::Unsupported) {
        assert_eq!(content_of(&file), b"ab", "an unsupported call changes nothing");
        return;
    }

    assert_works(file.allocate(0), "allocate nothing");
    assert_works(file.allocate(1), "allocate less than there is");
    assert_eq!(content_of(&file), b"ab", "allocate never cuts");
    assert_works(file.allocate(5_000), "allocate more");
    let content = content_of(&file);
    assert_eq!(content.len(), 5_000, "size after allocate");
    assert_eq!(&content[..2], b"ab");
    assert!(content[2..].iter().all(|&byte| byte == 0), "new bytes read as zeros");
    assert_works(file.write_at(4_999, b"yz"), "write_at over the reserved end");
    assert_eq!(file.size_bytes(), Ok(5_001));
}

fn maps_write(fs: &Arc<dyn Fs>) {
    let file = make_file(fs, "a", b"before");
    if file
        .allocate(9_000)
        .and_then(|()| file.map(9_000))
        .is_err_and(|error| error.kind() == IoErrorKind::Unsupported)
    {
        return;
    }

    let map = assert_works(file.map(9_000), "map what is reserved");
    map.populate(0..u64::MAX);
    map.populate(7..9);
    map.store(8, b"store");
    map.store(8_984, &[7; 16]);
    let mut expected = vec![0; 9_000];
    expected[..6].copy_from_slice(b"before");
    expected[8..13].copy_from_slice(b"store");
    expected[8_984..].copy_from_slice(&[7; 16]);
    assert_eq!(content_of(&open(fs, "a")), expected, "readers see what is stored");
    assert_works(file.write_at(8, b"write"), "write_at beside a map");
    drop(map);

    expected[8..13].copy_from_slice(b"write");
    assert_eq!(content_of(&file), expected, "nothing goes with the map");
    assert_fails(file.map(9_001), IoErrorKind::UnexpectedEnd, "map behind the end");
    assert_fails(open(fs, "a").map(8), IoErrorKind::PermissionDenied, "map of a handle for reading");
}

fn reading_handles_change_nothing(fs: &Arc<dyn Fs>) {
    make_file(fs, "a", b"content");
    let reader = open(fs, "a");
    let denied = IoErrorKind::PermissionDenied;

    assert_fails(reader.write_at(0, b"x"), denied, "write_at through a handle for reading");
    assert_fails(reader.set_len(1), denied, "set_len through a handle for reading");
    match reader.allocate(100) {
        Err(error) if error.kind() == IoErrorKind::Unsupported => {}
        result => assert_fails(result, denied, "allocate through a handle for reading"),
    }

    assert_eq!(content_of(&reader), b"content");
    let writer = assert_works(fs.open("a", OpenMode::ReadWrite), "open for writing");
    assert_works(writer.write_at(0, b"C"), "write_at through a handle for writing");
    assert_eq!(content_of(&reader), b"Content", "one handle sees what another wrote");
}

fn files_are_synced(fs: &Arc<dyn Fs>) {
    let writer = make_file(fs, "a", b"content");

    for file in [writer, open(fs, "a")] {
        assert_works(file.sync(SyncMode::Durable, SITE), "sync");
        assert_works(file.sync(SyncMode::Full, SITE), "full sync");
    }
}

fn threads_write_beside_each_other(fs: &Arc<dyn Fs>) {
    const THREADS: u64 = 4;
    const STRIPES: u64 = 64;
    const STRIPE_BYTES: usize = 100;
    let file: &dyn File = &*make_file(fs, "a", b"");

    // Stripe by stripe in turns, so that threads grow the file past each other's unwritten stripes.
    thread::scope(|scope| {
        for mine in 0..THREADS {
            scope.spawn(move || {
                for stripe in (mine..STRIPES).step_by(THREADS as usize) {
                    let data = [stripe as u8 + 1; STRIPE_BYTES];
                    assert_works(file.write_at(stripe * STRIPE_BYTES as u64, &data), "write_at");
                    let mut back = [0; STRIPE_BYTES];
                    assert_works(
                        file.read_exact_at(stripe * STRIPE_BYTES as u64, &mut back),
                        "read_exact_at",
                    );
                    assert_eq!(back, data, "a thread reads what it wrote");
                }
            });
        }
    });

    let content = content_of(&open(fs, "a"));
    assert_eq!(content.len(), STRIPES as usize * STRIPE_BYTES);
    for (stripe, bytes) in content.chunks(STRIPE_BYTES).enumerate() {
        assert!(bytes.iter().all(|&byte| byte == stripe as u8 + 1), "stripe {stripe} is as it was written");
    }
}
