use super::*;

fn number(raw: u64) -> Seqno {
    Seqno::from_raw(raw).unwrap()
}

/// The ends of commits `(last number, time)`.
fn of(commits: &[(u64, u64)]) -> CommitEnds {
    let mut ends = CommitEnds::of_new();
    commits.iter().for_each(|&(last, time)| ends.note(number(last), UnixUs(time)));
    ends
}

fn upto(most: u64, ends: &CommitEnds) -> Vec<u64> {
    (0..=most).map(|at| ends.end_at(number(at)).unwrap().raw()).collect()
}

#[test]
fn a_number_in_a_batch_is_no_end() {
    let ends = of(&[(1, 10), (2, 10), (5, 10), (6, 10)]);

    assert_eq!(upto(8, &ends), [0, 1, 2, 2, 2, 5, 6, 6, 6]);
}

#[test]
fn a_time_between_two_commits_is_that_of_the_first() {
    let ends = of(&[(1, 5_000), (2, 5_100), (3, 9_000), (4, 20_000)]);
    let at = |time| ends.end_at_time(UnixUs(time)).map(Seqno::raw);

    assert_eq!(at(4_999), Some(0));
    assert_eq!(at(5_000), Some(1));
    assert_eq!(at(8_999), Some(2), "the last before a pause is known exactly");
    assert_eq!(at(9_000), Some(3));
    assert_eq!(at(19_999), Some(3));
    assert_eq!(at(20_000), Some(4));
    assert_eq!(at(u64::MAX), Some(4));
}

#[test]
fn before_what_is_known_there_is_no_answer() {
    let mut ends = CommitEnds::unknown();
    assert_eq!(ends.end_at_time(UnixUs(u64::MAX)), None);

    ends.note(number(7), UnixUs(5_000));
    ends.note(number(9), UnixUs(9_000));

    assert_eq!(ends.end_at(number(6)), None);
    assert_eq!(ends.end_at_time(UnixUs(4_999)), None);
    assert_eq!(ends.end_at(number(8)), Some(number(7)));
    assert_eq!(ends.end_at_time(UnixUs(5_000)), Some(number(7)));
}

/// Whatever was forgotten, an answer is an end, at or before what was asked, and what was asked last is exact.
#[test]
fn however_many_commits_there_were_what_is_kept_is_bounded_and_answers_are_ends() {
    let (mut ends, mut exact) = (CommitEnds::of_new(), vec![(0, 0)]);
    let (mut last, mut time, mut random) = (0, 1_000_000, 1_u64);
    for _ in 0..100_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        last += if random >> 63 == 0 { 1 } else { 1 + (random >> 40) % 9 };
        time += (random >> 32) % 5_000;
        ends.note(number(last), UnixUs(time));
        exact.push((last, time));
    }

    let is_bounded = |ends: &CommitEnds| ends.samples.len() <= MAX_SAMPLES && ends.gaps.len() <= MAX_GAPS;
    assert!(is_bounded(&ends));
    let mut long = ends.clone();
    let mut log = CommitEnds::unknown();
    (1..20_000).for_each(|more| log.note(number(last + 3 * more), UnixUs(time + 10_000 * more)));
    long.extend(&log);
    assert!(is_bounded(&long) && CommitEnds::decode(&long.encode()).is_ok(), "two that are full make one");
    assert!(ends.encode().len() <= 32 << 10, "{} bytes", ends.encode().len());
    let exactly = |at: u64| exact[exact.partition_point(|(end, _)| *end <= at) - 1].0;
    for at in (0..=last).step_by(7) {
        let found = ends.end_at(number(at)).unwrap().raw();
        assert!(found <= at && exactly(found) == found, "{found} for {at} is no end");
        assert!(at < last - 2_000 || found == exactly(at), "{at} is recent");
    }
    for at in (0..=time).step_by(100_003) {
        let found = ends.end_at_time(UnixUs(at)).unwrap().raw();
        let newest = exact[exact.partition_point(|(_, time)| *time <= at) - 1];
        assert!(found <= newest.0 && exactly(found) == found, "{found} for the time {at} is no end");
        let when = exact[exact.partition_point(|(end, _)| *end < found)].1;
        assert!(at - when <= (time - at) / 10 + 20_000, "{at} gets what was at {when} of {time}");
    }
}

#[test]
fn what_is_noted_comes_back() {
    let ends = of(&[(1, 10), (5, 2_000), (300, 900_000), (301, 900_001), (400, 900_002)]);

    assert_eq!(CommitEnds::decode(&ends.encode()).unwrap(), ends);
}

/// Times come from clocks and from logs: any that can be said can be noted. One of more than 63 bits was written
/// and could not be read: the database did not open any more.
#[test]
fn what_is_noted_of_any_time_comes_back() {
    let ends = of(&[(1, 10), (2, (1 << 63) + 20), (3, u64::MAX)]);

    assert_eq!(CommitEnds::decode(&ends.encode()).unwrap(), ends);
}

#[test]
fn hostile_notes_are_refused() {
    let good = of(&[(1, 10), (5, 2_000), (300, 900_000)]).encode();
    for end in 1..good.len() {
        let _ = CommitEnds::decode(&good[..end]); // No panic.
    }
    let with = |tag: u8, bytes: &[u8]| {
        let mut fields = TlvWriter::new();
        fields.u64(LAST, 9).bytes(tag, bytes);
        CommitEnds::decode(&fields.finish())
    };

    assert!(with(SAMPLES, &[1, 1, 0, 1]).is_err(), "out of order");
    assert!(with(SAMPLES, &[10, 1]).is_err(), "behind the last commit");
    assert!(with(GAPS, &[8, 2]).is_err(), "behind the last commit");
    assert!(with(GAPS, &[1]).is_err(), "half a gap");
    assert!(with(GAPS, &[0xFF; 20]).is_err(), "endless number");
    let of_65_bits = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2, 1];
    assert!(with(GAPS, &of_65_bits).is_err(), "more than 64 bits");
    assert!(with(GAPS, &vec![0; 2 * MAX_GAPS + 2]).is_err(), "too many");
    let mut twice = TlvWriter::new();
    twice.u64(LAST, 9).bytes(GAPS, &[1, 3]).bytes(GAPS, &[1, 3]);
    assert!(CommitEnds::decode(&twice.finish()).is_err(), "a list that is there twice");
    assert!(with(SAMPLES, &[9, 1]).is_ok());
}

/// What a note and the log have in common is noted once.
#[test]
fn the_log_goes_on_where_the_note_ends() {
    let commits = [(1, 2_000), (4, 4_000), (5, 6_000), (8, 8_000), (9, 10_000), (12, 12_000)];
    let whole = of(&commits);
    for noted in 0..=commits.len() {
        for from in 0..=noted {
            let mut log = CommitEnds::unknown();
            commits[from..].iter().for_each(|&(last, time)| log.note(number(last), UnixUs(time)));
            let mut ends = of(&commits[..noted]);

            ends.extend(&log);

            assert_eq!(upto(12, &ends), upto(12, &whole), "{noted} noted, log from {from}");
            for at in 0..14_000 {
                let (found, exact) = (ends.end_at_time(UnixUs(at)), whole.end_at_time(UnixUs(at)));
                assert_eq!(found, exact, "at {at}: {noted} noted, log from {from}");
            }
        }
    }
}

#[test]
fn what_a_crash_took_is_forgotten() {
    let mut ends = of(&[(1, 2_000), (4, 4_000), (8, 6_000)]);

    ends.cut_behind(number(4));
    ends.note(number(101), UnixUs(9_000)); // Numbers go on behind those that were reserved.

    assert_eq!(ends.end_at(number(4)), Some(number(4)));
    assert_eq!(ends.end_at(number(8)), Some(number(4)));
    assert_eq!(ends.end_at(number(101)), Some(number(101)));
    assert_eq!(ends.end_at_time(UnixUs(8_000)), Some(number(4)));
}
