//! What each kind of change may lose, and what each rule of survival keeps.

use super::*;
use alloc::vec;

fn contents(fs: &CrashFs, name: &str) -> BTreeSet<Option<Vec<u8>>> {
    outcomes(fs, |image| content_of(image, name))
}

#[test]
fn a_file_is_durable_with_its_content_and_its_entry() {
    let fs = CrashFs::new();
    let file = make(&fs, "a", b"1");
    assert_eq!(contents(&fs, "a"), [None, Some(vec![]), Some(vec![0]), Some(b"1".into())].into());

    sync(&file);
    assert_eq!(contents(&fs, "a"), [None, Some(b"1".into())].into());

    fs.sync_dir("", SITE).expect("the root");
    assert_eq!(contents(&fs, "a"), [Some(b"1".into())].into());
}

#[test]
fn a_synced_entry_without_a_synced_content_is_a_file_that_may_be_empty() {
    let fs = CrashFs::new();
    make(&fs, "a", b"1");
    fs.sync_dir("", SITE).expect("the root");

    assert_eq!(contents(&fs, "a"), [Some(vec![]), Some(vec![0]), Some(b"1".into())].into());
}

#[test]
fn a_rename_leaves_the_old_or_the_new_and_never_neither() {
    let fs = CrashFs::new();
    make(&fs, "to", b"old");
    make(&fs, "from", b"new");
    fs.settle();

    fs.rename("from", "to").expect("exists");

    let seen = outcomes(&fs, |image| (content_of(image, "from"), content_of(image, "to")));
    let (old, new) = (Some(b"old".to_vec()), Some(b"new".to_vec()));
    assert_eq!(seen, [(new.clone(), old), (None, new)].into());
    fs.sync_dir("", SITE).expect("the root");
    assert_eq!(contents(&fs, "to"), [Some(b"new".into())].into());
}

#[test]
fn an_unsynced_file_renamed_over_a_durable_one_may_be_torn() {
    let fs = CrashFs::new();
    make(&fs, "current", b"old");
    fs.settle();

    make(&fs, "next", b"new");
    fs.rename("next", "current").expect("exists");

    let all = [&b"old"[..], b"", b"\0\0\0", b"new"].map(|bytes| Some(bytes.to_vec()));
    assert_eq!(contents(&fs, "current"), all.into());
}

#[test]
fn a_rename_between_directories_is_durable_with_both_of_them() {
    let fs = CrashFs::new();
    for dir in ["a", "b"] {
        fs.create_dir(dir).expect("new");
    }
    make(&fs, "a/x", b"1");
    fs.settle();
    let places = |image: &CrashFs| ["a/x", "b/x"].map(|name| image.exists(name).expect("valid"));

    fs.rename("a/x", "b/x").expect("exists");
    assert_eq!(outcomes(&fs, places), [[true, false], [true, true], [false, true], [false, false]].into());

    fs.sync_dir("b", SITE).expect("exists");
    assert_eq!(outcomes(&fs, places), [[true, true], [false, true]].into());
    fs.sync_dir("a", SITE).expect("exists");
    assert_eq!(outcomes(&fs, places), [[false, true]].into());
}

#[test]
fn what_was_removed_may_come_back_until_its_directory_is_synced() {
    let fs = CrashFs::new();
    make(&fs, "a", b"1");
    fs.settle();

    fs.remove_file("a").expect("exists");

    assert_eq!(contents(&fs, "a"), [None, Some(b"1".into())].into());
    fs.sync_dir("", SITE).expect("the root");
    assert_eq!(contents(&fs, "a"), [None].into());
}

#[test]
fn a_link_is_durable_with_its_directory_and_its_content_with_the_file() {
    let fs = CrashFs::new();
    let file = make(&fs, "a", b"1");
    fs.settle();
    fs.create_dir("copy").expect("new");
    fs.sync_dir("", SITE).expect("the root");

    fs.link("a", "copy/a").expect("free");
    file.write_at(0, b"2").expect("no limit");
    assert_eq!(contents(&fs, "copy/a"), [None, Some(b"1".into()), Some(b"2".into())].into());
    let both = outcomes(&fs, |image| (content_of(image, "a"), content_of(image, "copy/a")));
    assert!(both.iter().all(|(a, copy)| copy.is_none() || a == copy), "one file under both names");

    sync(&open(&fs, "copy/a"));
    assert_eq!(contents(&fs, "a"), [Some(b"2".into())].into(), "synced through the other name");
    fs.sync_dir("copy", SITE).expect("exists");
    fs.remove_file("a").expect("exists");
    fs.sync_dir("", SITE).expect("the root");
    assert_eq!(contents(&fs, "copy/a"), [Some(b"2".into())].into(), "its first name is not needed");
}

/// A clone shares blocks with its source and nothing else: not even what of the source is durable is durable
/// of it.
#[test]
fn a_clone_is_a_file_of_its_own_whose_content_is_durable_with_its_own_sync() {
    let fs = CrashFs::new();
    let file = make(&fs, "a", b"1");
    fs.settle();

    fs.reflink_to("a", &fs, "b").expect("free");
    file.write_at(0, b"2").expect("no limit");
    sync(&file);
    fs.sync_dir("", SITE).expect("the root");

    assert_eq!(content_of(&fs, "b"), Some(b"1".into()), "writes to one do not show in the other");
    let zero_or_empty_too = [Some(b"1".into()), Some(b"\0".into()), Some(Vec::new())];
    assert_eq!(contents(&fs, "b"), zero_or_empty_too.into(), "its name is durable, its content is not");
    sync(&open(&fs, "b"));
    assert_eq!(contents(&fs, "b"), [Some(b"1".into())].into());
    assert_eq!(contents(&fs, "a"), [Some(b"2".into())].into());
}

#[test]
fn a_link_in_an_image_is_one_file_still() {
    let fs = CrashFs::new();
    make(&fs, "a", b"1");
    fs.link("a", "b").expect("free");
    fs.settle();

    let image = fs.crash(7);
    open(&image, "a").write_at(0, b"2").expect("no limit");

    assert_eq!(content_of(&image, "b"), Some(b"2".into()));
    assert_eq!(content_of(&fs, "b"), Some(b"1".into()));
}

#[test]
fn what_lies_in_a_directory_that_is_lost_is_lost() {
    let fs = CrashFs::new();
    fs.create_dir("dir").expect("new");
    sync(&make(&fs, "dir/a", b"1"));
    fs.sync_dir("dir", SITE).expect("exists");

    let seen = outcomes(&fs, tree);

    let whole = Tree::from([("dir/".into(), vec![]), ("dir/a".into(), b"1".to_vec())]);
    assert_eq!(seen, [Tree::new(), whole].into());
}

#[test]
fn a_directory_made_again_has_nothing_of_the_one_before() {
    let fs = CrashFs::new();
    fs.create_dir("dir").expect("new");
    make(&fs, "dir/a", b"1");
    fs.settle();

    fs.remove_file("dir/a").expect("exists");
    fs.remove_dir("dir").expect("empty");
    fs.create_dir("dir").expect("free");
    fs.sync_dir("", SITE).expect("the root");

    assert_eq!(outcomes(&fs, tree), [Tree::from([("dir/".into(), vec![])])].into());
}

#[test]
fn sectors_are_lost_one_by_one_and_in_any_order() {
    let fs = CrashFs::new();
    let file = make(&fs, "a", &[1; 1024]);
    fs.settle();

    file.write_at(0, &[2; 1024]).expect("no limit");
    file.write_at(512, &[3; 512]).expect("no limit");

    let firsts = |image: &CrashFs| {
        let bytes = content_of(image, "a").expect("durable");
        (bytes[0], bytes[511], bytes[512], bytes[1023])
    };
    let all = [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)].map(|(a, b)| (a, a, b, b));
    assert_eq!(outcomes(&fs, firsts), all.into(), "the second sector may hold what either write left");
}

#[test]
fn a_cut_is_lost_or_kept_and_so_is_growth() {
    let fs = CrashFs::new();
    let file = make(&fs, "a", b"0123456789");
    fs.settle();

    file.set_len(4).expect("cuts");
    let cut = contents(&fs, "a");
    assert_eq!(cut, [&b"0123456789"[..], b"0123\0\0\0\0\0\0", b"0123"].map(|it| Some(it.to_vec())).into());

    sync(&file);
    file.allocate(600).expect("reserves");
    let sizes = outcomes(&fs, |image| content_of(image, "a").expect("durable").len());
    assert_eq!(sizes, [4, 512, 600].into(), "a reservation may come in parts");
    assert!(contents(&fs, "a").iter().flatten().all(|bytes| bytes[..4] == *b"0123"));
}

#[test]
fn torn_sectors_hold_both_and_lost_ones_behind_the_end_hold_anything() {
    let fs = CrashFs::new();
    let file = make(&fs, "a", &[1; 512]);
    fs.settle();
    file.write_at(0, &[2; 1024]).expect("no limit");
    let survival = Survival::Pieces { keep_percent: 50, damage: Damage::TornAndStale };

    let images: Vec<_> =
        (0..300).map(|seed| content_of(&fs.crash_with(survival, seed), "a").expect("durable")).collect();

    let is_torn = |bytes: &Vec<u8>| bytes[0] == 2 && bytes[511] == 1;
    let is_stale = |bytes: &Vec<u8>| bytes[512..].iter().any(|&byte| byte != 0 && byte != 2);
    assert!(images.iter().any(is_torn) && images.iter().any(is_stale));
    assert!(
        images.iter().all(|bytes| bytes[..512].is_sorted_by(|a, b| a >= b)),
        "first bytes are the new ones"
    );
}

#[test]
fn rules_keep_what_they_say() {
    let fs = CrashFs::new();
    let file = make(&fs, "a", &[1; 1024]);
    fs.settle();
    file.write_at(0, &[2; 1024]).expect("no limit");
    make(&fs, "b", b"new");
    let now = tree(&fs);
    let durable = Tree::from([("a".into(), vec![1; 1024])]);
    let all = |survival| (0..100).map(|seed| tree(&fs.crash_with(survival, seed))).collect::<BTreeSet<_>>();

    assert_eq!(all(Survival::Nothing), [durable.clone()].into());
    assert_eq!(all(Survival::Everything), [now].into());
    let whole = all(Survival::Whole);
    assert!(whole.iter().all(|tree| tree["a"] == [1; 1024] || tree["a"] == [2; 1024]), "never half a file");
    assert_eq!(whole.len(), 6, "each file and the directory by itself");
    assert!(all(Survival::Any).is_superset(&whole));
}

#[test]
fn the_order_of_two_steps_is_reversed_by_keeping_the_later_one() {
    let fs = CrashFs::new();
    let (first, second) = (make(&fs, "first", b"0"), make(&fs, "second", b"0"));
    fs.settle();
    first.write_at(0, b"1").expect("no limit");
    let later = fs.steps();
    second.write_at(0, b"1").expect("no limit");

    let image = fs.crash_with(Survival::From(later), 0);

    assert_eq!(content_of(&image, "first"), Some(b"0".into()));
    assert_eq!(content_of(&image, "second"), Some(b"1".into()));
}

#[test]
fn what_a_muted_sync_left_behind_is_told_apart() {
    let fs = CrashFs::new();
    let (first, second) = (make(&fs, "first", b"0"), make(&fs, "second", b"0"));
    fs.settle();
    fs.mute(SyncSite("muted"));
    first.write_at(0, b"1").expect("no limit");
    first.sync(SyncMode::Durable, SyncSite("muted")).expect("says so");
    second.write_at(0, b"1").expect("no limit");

    let image = fs.crash_keeping(|piece| !piece.is_muted);

    assert_eq!(content_of(&image, "first"), Some(b"0".into()), "the later one is there without the earlier");
    assert_eq!(content_of(&image, "second"), Some(b"1".into()));
    assert_eq!(fs.sites(), ["muted"]);
    fs.unmute(SyncSite("muted"));
    first.sync(SyncMode::Durable, SyncSite("muted")).expect("in memory");
    assert_eq!(contents(&fs, "first"), [Some(b"1".into())].into());
}

#[test]
fn pieces_are_named_with_their_steps() {
    let fs = CrashFs::new();
    make(&fs, "a", &[1; 700]);
    let mut pieces = Vec::new();

    let image = fs.crash_keeping(|piece| {
        pieces.push((piece.step, String::from(piece.name), piece.kind));
        piece.kind != PieceKind::Sector(1)
    });

    let expected = [
        (0, PieceKind::Entry),
        (1, PieceKind::Sector(0)),
        (1, PieceKind::Sector(1)),
        (1, PieceKind::Size(700)),
    ];
    assert_eq!(pieces, expected.map(|(step, kind)| (step, String::from("a"), kind)));
    assert_eq!(content_of(&image, "a").map(|bytes| (bytes[511], bytes[512], bytes.len())), Some((1, 0, 700)));
}

#[test]
fn the_weaker_model_keeps_names_and_whole_synced_files() {
    let fs = CrashFs::new();
    sync(&make(&fs, "synced", b"1"));
    make(&fs, "never", b"1");
    sync(&make(&fs, "old", b"old"));
    sync(&make(&fs, "new", b"new"));
    fs.rename("new", "old").expect("exists");
    sync(&make(&fs, "replaced", b"old"));
    make(&fs, "unsynced", b"new");
    fs.rename("unsynced", "replaced").expect("exists");
    sync(&make(&fs, "removed", b"1"));
    fs.remove_file("removed").expect("exists");
    open(&fs, "synced").write_at(0, b"2 and more").expect("no limit");
    fs.link("synced", "linked").expect("free");

    let image = fs.crash_with(Survival::SyncedFiles, 0);

    let expected = [("linked", &b"1"[..]), ("old", b"new"), ("synced", b"1")];
    assert_eq!(tree(&image), expected.map(|(name, content)| (name.into(), content.to_vec())).into());
}

#[test]
fn an_image_is_durable_and_apart_from_its_source() {
    let fs = CrashFs::new();
    let file = make(&fs, "a", b"1");
    fs.settle();
    let _lock = fs.lock("a", crate::fs::LockMode::Exclusive).expect("free");

    let image = fs.crash_with(Survival::Everything, 0);
    file.write_at(0, b"2").expect("no limit");

    assert_eq!(contents(&image, "a"), [Some(b"1".into())].into());
    assert!(image.lock("a", crate::fs::LockMode::Exclusive).is_ok(), "a lock dies with its process");
    assert_eq!(image.steps(), 0);
}

#[test]
fn a_kill_keeps_everything_and_makes_nothing_durable() {
    let fs = CrashFs::new();
    make(&fs, "a", b"1");
    let open = make(&fs, "gone", b"1");
    fs.remove_file("gone").expect("exists");

    let next = fs.kill();
    open.write_at(0, b"2").expect("the old process goes on here only");

    assert_eq!(tree(&next), Tree::from([("a".into(), b"1".to_vec())]));
    assert_eq!(contents(&next, "a"), [None, Some(vec![]), Some(vec![0]), Some(b"1".into())].into());
}

#[test]
fn one_seed_makes_one_image() {
    let fs = CrashFs::new();
    for name in ["a", "b", "c"] {
        make(&fs, name, &[1; 2000]);
    }

    for seed in 0..50 {
        assert_eq!(tree(&fs.crash(seed)), tree(&fs.crash(seed)));
    }
    assert_ne!(tree(&fs.crash(1)), tree(&fs.crash(2)));
}

#[test]
fn a_file_that_is_gone_for_good_is_forgotten_when_its_last_handle_is_closed() {
    let fs = CrashFs::new();
    let file = make(&fs, "a", &[1; 5000]);
    fs.remove_file("a").expect("exists");
    fs.sync_dir("", SITE).expect("the root");

    assert_eq!(file.size_bytes(), Ok(5000));
    drop(file);
    fs.sync_dir("", SITE).expect("the root");

    assert_eq!(fs.live().state.nodes.len(), 1, "only the root is left");
}

#[test]
fn content_is_that_of_a_plain_vector_now_and_at_the_last_sync() {
    for seed in 0..20 {
        let random = crate::SeededEntropy::new(seed);
        // Small steps and such that span many sectors and chunks of them.
        let below = |end: u64| random.next_word() % (end >> (8 * (random.next_word() % 2))).max(1);
        let fs = CrashFs::new();
        let file = make(&fs, "a", b"");
        let (mut now, mut durable) = (Vec::new(), Vec::new());
        fs.settle();
        for _ in 0..200 {
            match random.next_word() % 8 {
                0 => {
                    sync(&file);
                    durable = now.clone();
                }
                1 => {
                    let size = below(200_000);
                    file.set_len(size).expect("no limit");
                    now.resize(size as usize, 0);
                }
                2 => {
                    let size = below(200_000);
                    file.allocate(size).expect("no limit");
                    now.resize(now.len().max(size as usize), 0);
                }
                _ => {
                    let (offset, data) =
                        (below(150_000) as usize, vec![seed as u8 + 1; below(50_000) as usize]);
                    file.write_at(offset as u64, &data).expect("no limit");
                    if !data.is_empty() {
                        now.resize(now.len().max(offset + data.len()), 0);
                        now[offset..offset + data.len()].copy_from_slice(&data);
                    }
                }
            }
            assert!(content_of(&fs, "a").as_ref() == Some(&now), "seed {seed}");
            assert!(content_of(&fs.crash_with(Survival::Nothing, 0), "a").as_ref() == Some(&durable));
            assert!(content_of(&fs.crash_with(Survival::Everything, 0), "a").as_ref() == Some(&now));
        }
    }
}
