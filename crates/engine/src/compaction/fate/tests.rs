//! `fate` against the oracle, and its rules one by one.

use super::*;
use crate::compaction::oracle::{Case, Random, Version, run_shown, seeds, seqno, value_at, views};
use alloc::{vec, vec::Vec};

const CASES: u64 = 60_000;

#[test]
fn generated_histories_read_the_same_after_a_job() {
    for seed in seeds(CASES) {
        let mut random = Random(seed);
        let case = Case::generate(&mut random);
        run_shown(seed, || check(&case));
    }
}

#[test]
fn all_histories_of_up_to_four_versions_read_the_same_after_a_job() {
    let mut cases = 0_u64;
    for len in 0..=4_u64 {
        for deletes in 0..1_u64 << len {
            let history: Vec<Version> = (1..=len)
                .rev()
                .map(|seqno| (seqno, (deletes >> (seqno - 1) & 1 == 0).then_some(seqno)))
                .collect();
            // Each version lies above the job, in it, or below; by INV-VER-2 the three are parts in this
            // order.
            for above in 0..=history.len() {
                for below in above..=history.len() {
                    for visible in 0..=len + 1 {
                        for live in 0..1_u64 << (visible + 1) {
                            let live = (0..=visible).filter(|view| live >> view & 1 == 1).collect();
                            let parts = [&history[..above], &history[above..below], &history[below..]];
                            check(&Case { keys: vec![parts.map(<[Version]>::to_vec)], live, visible });
                            cases += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(cases > 10_000, "{cases}");
}

#[test]
fn a_job_at_the_bottom_without_snapshots_leaves_one_put_for_each_living_key() {
    for seed in seeds(10_000) {
        let mut random = Random(seed);
        let mut case = Case::generate(&mut random);
        case.live.clear();
        for [above, job, below] in &mut case.keys {
            let whole: Vec<Version> = above.drain(..).chain(job.drain(..)).chain(below.drain(..)).collect();
            case.visible = case.visible.max(whole.first().map_or(0, |newest| newest.0));
            *job = whole;
        }

        run_shown(seed, || {
            for parts in &case.keys {
                let kept = run_job(&case, parts);
                let living = value_at(&[&parts[1]], case.visible).is_some();
                assert_eq!(kept.len(), usize::from(living), "{parts:?} -> {kept:?}");
                assert!(kept.iter().all(|version| version.1.is_some()), "a tombstone is left: {kept:?}");
            }
        });
    }
}

#[test]
fn each_view_holds_what_it_sees_and_no_more() {
    let history = [(9, Some(9)), (7, Some(7)), (5, None), (3, Some(3)), (1, Some(1))];
    for (live, expected) in [
        (vec![], vec![0]), // What all see needs no number.
        (vec![8], vec![9, 0]),
        (vec![6], vec![9]), // It sees the delete, which hides nothing once the rest is gone.
        (vec![4], vec![9, 0]),
        (vec![2, 7], vec![9, 7, 0]),
        (vec![2, 6], vec![9, 5, 0]), // Now it hides version 1.
    ] {
        let case = Case { keys: vec![[vec![], history.to_vec(), vec![]]], live: live.clone(), visible: 9 };

        let kept = run_job(&case, &case.keys[0]);

        assert_eq!(kept.iter().map(|version| version.0).collect::<Vec<_>>(), expected, "live views {live:?}");
    }
}

#[test]
fn nothing_above_visible_is_dropped() {
    let views = views(&[], 5);

    for kind in [ValueKind::Put, ValueKind::Delete, ValueKind::DeleteWeak] {
        assert_eq!(above(facts(8, kind), newer(9), &views), Fate::Keep);
        assert_eq!(above(facts(8, kind), None, &views), Fate::Keep);
    }
    assert_eq!(above(facts(5, ValueKind::Put), newer(6), &views), Fate::KeepTimeless, "visible sees it");
    assert_eq!(above(facts(5, ValueKind::DeleteWeak), newer(6), &views), Fate::DropRest);
    assert_eq!(above(facts(4, ValueKind::Put), newer(5), &views), Fate::Drop);
}

#[test]
fn a_put_is_timeless_if_every_view_sees_it_and_nothing_older_is_left() {
    let put = |at, may_hide_older| VersionFacts { may_hide_older, ..facts(at, ValueKind::Put) };
    let all_see_5 = views(&[5, 8], 9);

    assert_eq!(above(put(5, false), None, &all_see_5), Fate::KeepTimeless);
    assert_eq!(above(put(5, false), newer(6), &all_see_5), Fate::KeepTimeless);
    assert_eq!(above(put(6, false), None, &all_see_5), Fate::Keep, "the view at 5 must not see it");
    assert_eq!(above(put(5, true), None, &all_see_5), Fate::Keep, "what is older would be newer than 0");
    assert_eq!(above(put(0, false), None, &all_see_5), Fate::Keep, "it is already");
    assert_eq!(above(put(4, false), newer(5), &all_see_5), Fate::Drop);
    let under_range = VersionFacts { is_under_range: true, ..put(5, false) };
    assert_eq!(above(under_range, None, &all_see_5), Fate::Keep, "the tombstone would be newer than 0");
    for kind in [ValueKind::Merge, ValueKind::Cells] {
        assert_eq!(above(facts(5, kind), None, &all_see_5), Fate::Keep, "{kind:?}");
    }
    assert_eq!(above(facts(5, ValueKind::BlobPointer), None, &all_see_5), Fate::KeepTimeless);
}

#[test]
fn what_an_operand_builds_on_is_kept() {
    let views = views(&[], 100);
    let operand = Some(Newer { seqno: seqno(50), kind: ValueKind::Merge });

    for kind in
        [ValueKind::Put, ValueKind::PutUntil, ValueKind::Delete, ValueKind::DeleteWeak, ValueKind::Merge]
    {
        let version = VersionFacts { may_hide_older: true, ..facts(40, kind) };
        assert_eq!(above(version, operand, &views), Fate::Keep, "{kind:?}");
    }
    assert_eq!(above(facts(30, ValueKind::Put), newer(40), &views), Fate::Drop, "behind the base");
}

#[test]
fn a_weak_delete_goes_with_the_put_below_that_no_view_sees() {
    let weak = VersionFacts { may_hide_older: true, ..facts(40, ValueKind::DeleteWeak) };
    let below = |kind| Below::Version { seqno: seqno(30), kind, expires_at: None };
    let fate_over = |below, newer, live| fate(weak, newer, below, &views(live, 100));

    assert_eq!(fate_over(below(ValueKind::Put), None, &[]), Fate::DropWithPut);
    for kind in [ValueKind::PutUntil, ValueKind::BlobPointer, ValueKind::BlobPointerUntil] {
        assert_eq!(fate_over(below(kind), None, &[]), Fate::DropWithPut, "{kind:?}");
    }
    assert_eq!(fate_over(below(ValueKind::Put), None, &[29, 40]), Fate::DropWithPut, "neither sees the put");
    assert_eq!(fate_over(below(ValueKind::Put), None, &[30]), Fate::Keep, "30 sees the put");
    assert_eq!(fate_over(below(ValueKind::Put), None, &[39]), Fate::Keep, "39 sees the put");
    let operand = Some(Newer { seqno: seqno(50), kind: ValueKind::Merge });
    assert_eq!(fate_over(below(ValueKind::Put), operand, &[]), Fate::Keep, "the operand stands on it");
    for kind in [ValueKind::Delete, ValueKind::DeleteWeak, ValueKind::Merge, ValueKind::Cells] {
        assert_eq!(fate_over(below(kind), None, &[]), Fate::Keep, "{kind:?}");
    }
    assert_eq!(fate_over(Below::Elsewhere, None, &[]), Fate::Keep);
    let strong = VersionFacts { kind: ValueKind::Delete, ..weak };
    assert_eq!(fate(strong, None, below(ValueKind::Put), &views(&[], 100)), Fate::Keep, "the put goes next");
}

#[test]
fn what_has_expired_becomes_a_delete_while_it_hides_something() {
    let at = |time| Views::new(&[], View::new(seqno(100), UnixUs(time)));
    let put = |may_hide_older| VersionFacts {
        may_hide_older,
        expires_at: Some(UnixUs(7)),
        ..facts(40, ValueKind::PutUntil)
    };

    assert_eq!(above(put(true), None, &at(6)), Fate::Keep, "it has not expired");
    assert_eq!(above(put(true), None, &at(7)), Fate::KeepAsDelete);
    assert_eq!(above(put(false), None, &at(7)), Fate::DropRest);
    let old_view = Views::new(&[View::new(seqno(50), UnixUs(6))], View::new(seqno(100), UnixUs(7)));
    assert_eq!(above(put(true), None, &old_view), Fate::Keep, "a view was taken before");
    let delete = VersionFacts { may_hide_older: true, ..facts(40, ValueKind::Delete) };
    assert_eq!(above(delete, None, &at(7)), Fate::Keep, "a tombstone is one");
}

#[test]
fn other_kinds_are_kept_even_in_a_shadow() {
    let views = views(&[], 100);

    assert_eq!(above(facts(40, ValueKind::Cells), newer(50), &views), Fate::Keep);
    assert_eq!(above(facts(40, ValueKind::BlobPointer), newer(50), &views), Fate::Drop);
}

#[test]
fn views_that_keep_all_keep_all() {
    let views = Views::keep_all();

    assert!(views.has_view_in(seqno(1), seqno(2)));
    assert_eq!(above(facts(4, ValueKind::Put), newer(5), &views), Fate::Keep);
    assert_eq!(above(facts(4, ValueKind::Delete), None, &views), Fate::Keep);
}

#[test]
fn views_are_found_at_the_ends_of_ranges() {
    let views = views(&[7, 3, 3], 9);

    assert_eq!((views.oldest(), views.visible()), (seqno(3), seqno(9)));
    assert_eq!(views.live(), [seqno(3), seqno(7)]);
    for (from, to, expected) in [
        (3, 4, true),
        (4, 7, false),
        (4, 8, true),
        (8, 9, false),
        (9, 10, true),
        (20, 21, true),
        (0, 3, false),
    ] {
        assert_eq!(views.has_view_in(seqno(from), seqno(to)), expected, "{from}..{to}");
    }
}

fn check(case: &Case) {
    for parts in &case.keys {
        case.check_key(parts, &run_job(case, parts));
    }
}

fn run_job(case: &Case, parts: &[Vec<Version>; 3]) -> Vec<Version> {
    let views = case.views();
    let mut newer = None;
    let mut kept = Vec::new();
    for &version in &parts[1] {
        let kind = if version.1.is_some() { ValueKind::Put } else { ValueKind::Delete };
        let may_hide_older = !parts[2].is_empty();
        let fate = above(VersionFacts { may_hide_older, ..facts(version.0, kind) }, newer, &views);
        match fate {
            Fate::Keep => {
                newer = Some(Newer { seqno: seqno(version.0), kind });
                kept.push(version);
            }
            Fate::KeepTimeless => {
                kept.push((0, version.1));
                break;
            }
            Fate::Drop => {}
            Fate::DropRest => break,
            other => panic!("{other:?} is no fate of puts and deletes"),
        }
    }
    kept
}

fn facts(at: u64, kind: ValueKind) -> VersionFacts {
    VersionFacts {
        seqno: seqno(at),
        kind,
        expires_at: None,
        may_hide_older: false,
        hidden_by: None,
        is_under_range: false,
    }
}

/// The fate of a version above what is not known.
fn above(version: VersionFacts, newer: Option<Newer>, views: &Views) -> Fate {
    fate(version, newer, Below::Elsewhere, views)
}

fn newer(at: u64) -> Option<Newer> {
    Some(Newer { seqno: seqno(at), kind: ValueKind::Put })
}
