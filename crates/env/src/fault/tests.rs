//! Every fault over files that can lose power, and the text of rules.

use super::*;
use crate::{
    crash::{CrashFs, Survival},
    error::{IoError, IoErrorKind},
    ledger::WriteOrigin,
    mem::MemFs,
};
use alloc::{string::ToString, vec};

const SITE: SyncSite = SyncSite("test");
const LOG: CreateOptions = CreateOptions::new(WriteOrigin::Log);

fn fs() -> FaultFs {
    FaultFs::new(Arc::new(MemFs::new()))
}

fn make(fs: &FaultFs, name: &str, content: &[u8]) -> Arc<dyn File> {
    let file = fs.create(name, &LOG).expect("a new name");
    file.write_at(0, content).expect("no rule");
    file
}

fn content_of(fs: &dyn Fs, name: &str) -> Vec<u8> {
    let file = fs.open(name, OpenMode::Read).expect("exists");
    let mut bytes = vec![0; file.size_bytes().expect("no rule") as usize];
    file.read_exact_at(0, &mut bytes).expect("no rule");
    bytes
}

fn sync(file: &Arc<dyn File>) -> IoResult<()> {
    file.sync(SyncMode::Durable, SITE)
}

/// Every call once, in the order of [`Call::ALL`], and how it ended.
fn every_call(fs: &FaultFs, round: usize) -> Vec<IoResult<()>> {
    let (dir, name) = (alloc::format!("dir{round}"), alloc::format!("file{round}"));
    let file = fs.inner.open("file", OpenMode::ReadWrite).expect("below the rules");
    let file = fs.handle("file", file);
    vec![
        fs.open("file", OpenMode::Read).map(drop),
        fs.create(&name, &LOG).map(drop),
        fs.create_dir(&dir),
        fs.list("").map(drop),
        fs.remove_file(&name),
        fs.remove_dir(&dir),
        fs.rename("file", "file"),
        fs.link("file", &alloc::format!("link{round}")),
        fs.sync_dir("", SITE),
        fs.lock("file", LockMode::Shared).map(drop),
        file.read_at(0, &mut [0]).map(drop),
        file.write_at(0, b"x"),
        sync(&file),
        file.size_bytes().map(drop),
        file.set_len(1),
        file.allocate(1),
        file.map(1).map(drop),
    ]
}

#[test]
fn every_call_fails_with_every_error_and_no_other_does() {
    for errno in Errno::ALL {
        for (index, call) in Call::ALL.into_iter().enumerate() {
            let fs = fs();
            make(&fs, "file", b"x");
            assert!(every_call(&fs, 0).iter().all(Result::is_ok), "without a rule");

            fs.arm(Rule::new(Fault::Fail(errno)).on(call));
            // What a refused call would have made is missed by the one that takes it away.
            let follows = match call {
                Call::Create => Some(Call::RemoveFile),
                Call::CreateDir => Some(Call::RemoveDir),
                _ => None,
            };
            for (other, result) in every_call(&fs, 1).into_iter().enumerate() {
                if other == index {
                    assert_eq!(result, Err(errno.error()), "{call:?}");
                } else if follows != Some(Call::ALL[other]) {
                    assert_eq!(result, Ok(()), "{:?} beside {call:?}", Call::ALL[other]);
                }
            }

            let fired = fs.fired();
            assert_eq!(fired.iter().map(|it| it.call).collect::<Vec<_>>(), [call]);
        }
    }
}

#[test]
fn every_call_fails_late_with_its_effect() {
    for (index, call) in Call::ALL.into_iter().enumerate() {
        let fs = fs();
        make(&fs, "file", b"x");
        fs.arm(Rule::new(Fault::FailLate(Errno::Io)).on(call));

        // Were it not carried out, the calls that take away what it made would fail too.
        for (other, result) in every_call(&fs, 1).into_iter().enumerate() {
            let expected = if other == index { Err(Errno::Io.error()) } else { Ok(()) };
            assert_eq!(result, expected, "{:?} beside {call:?}", Call::ALL[other]);
        }
    }
    let fs = fs();
    let file = make(&fs, "a", b"1");
    fs.arm(Rule::new(Fault::FailLate(Errno::Io)).on(Call::Write).on(Call::Rename));
    assert!(file.write_at(0, b"2").is_err() && fs.rename("a", "b").is_err());
    assert_eq!(content_of(&fs, "b"), b"2");
}

#[test]
fn a_cut_write_leaves_its_first_bytes() {
    for bytes in 0..=6 {
        let fs = fs();
        let file = make(&fs, "a", b"......");
        fs.arm(Rule::new(Fault::Cut(bytes, Errno::Quota)));

        let result = file.write_at(1, b"1234");

        assert_eq!(result, Err(IoError::from_os(IoErrorKind::OutOfSpace, 122)));
        let written = bytes.min(4);
        let mut expected = b"......".to_vec();
        expected[1..1 + written].copy_from_slice(&b"1234"[..written]);
        assert_eq!(content_of(&fs, "a"), expected);
    }
}

#[test]
fn reads_are_flipped_and_misdirected_and_the_file_is_as_it_was() {
    let fs = fs();
    let file = make(&fs, "a", b"0123456789");
    let read = |offset| {
        let mut buf = [0; 4];
        let read_bytes = file.read_at(offset, &mut buf).expect("reads");
        buf[..read_bytes].to_vec()
    };

    fs.arm(Rule::new(Fault::Flip(8)).at(0..4).times(1));
    assert_eq!(read(4), b"4567", "other bytes");
    assert_eq!(read(2), b"2245", "the lowest bit of the second byte");
    fs.arm(Rule::new(Fault::Elsewhere(6)).times(1));
    assert_eq!(read(0), b"6789");

    assert_eq!(content_of(&fs, "a"), b"0123456789");
    fs.arm(Rule::new(Fault::Flip(8 * 5)));
    assert_eq!(read(8), b"89".map(|byte| byte ^ u8::from(byte == b'9')), "around the end of what was read");
}

#[test]
fn delays_move_the_clock_and_other_rules_go_on() {
    let clock = TestClock::new();
    let fs = FaultFs::with_clock(Arc::new(MemFs::new()), Arc::new(clock.clone()));
    let file = make(&fs, "a", b"1");
    fs.arm(Rule::new(Fault::Delay { us: 300 }).on(Call::Sync));
    fs.arm(Rule::new(Fault::Delay { us: 40 }).named("a"));
    fs.arm(Rule::new(Fault::Fail(Errno::Io)).on(Call::Sync));

    assert_eq!(sync(&file), Err(Errno::Io.error()));

    assert_eq!(clock.monotonic(), Duration::from_micros(340));
    assert_eq!(fs.fired().len(), 3);
}

#[test]
fn after_a_failed_sync_later_ones_lie_and_nothing_is_durable() {
    let below = CrashFs::new();
    let fs = FaultFs::new(Arc::new(below.clone()));
    let (file, other) = (make(&fs, "a", b"old"), make(&fs, "b", b"old"));
    below.settle();
    fs.arm(Rule::new(Fault::FailThenLie).on(Call::Sync).named("a").times(1));
    file.write_at(0, b"new").expect("no rule");
    other.write_at(0, b"new").expect("no rule");

    assert_eq!(sync(&file), Err(Errno::Io.error()));
    fs.rename("a", "c").expect("exists");
    assert_eq!((sync(&file), sync(&other)), (Ok(()), Ok(())), "and follow the file to its new name");
    fs.sync_dir("", SITE).expect("no rule");

    assert_eq!(content_of(&fs, "c"), b"new", "reads see it still");
    let image = below.crash_with(Survival::Nothing, 0);
    assert_eq!(content_of(&image, "c"), b"old");
    assert_eq!(content_of(&image, "b"), b"new");
    assert_eq!(fs.fired().len(), 1);
    fs.disarm();
    sync(&file).expect("no rule");
    assert_eq!(content_of(&below.crash_with(Survival::Nothing, 0), "c"), b"new");
}

#[test]
fn directories_lie_too() {
    let below = CrashFs::new();
    let fs = FaultFs::new(Arc::new(below.clone()));
    fs.arm(Rule::new(Fault::FailThenLie).on(Call::SyncDir).times(1));
    make(&fs, "a", b"1");

    assert_eq!(fs.sync_dir("", SITE), Err(Errno::Io.error()));
    assert_eq!(fs.sync_dir("", SITE), Ok(()));
    assert_eq!(below.crash_with(Survival::Nothing, 0).exists("a"), Ok(false));

    fs.disarm();
    fs.arm(Rule::new(Fault::Lie));
    assert_eq!(fs.sync_dir("", SITE), Ok(()));
    assert_eq!(below.crash_with(Survival::Nothing, 0).exists("a"), Ok(false));
}

#[test]
fn power_goes_off_after_so_many_syncs() {
    let below = CrashFs::new();
    let fs = FaultFs::new(Arc::new(below.clone()));
    fs.arm(Rule::new(Fault::PowerOff).on(Call::Sync).on(Call::SyncDir).skip(1));
    let file = make(&fs, "a", b"1");

    sync(&file).expect("the first");
    fs.sync_dir("", SITE).expect("the second and last");

    let io = Err(Errno::Io.error());
    assert_eq!(file.write_at(0, b"2"), io);
    assert_eq!(sync(&file), io);
    assert_eq!(file.size_bytes().map(drop), io);
    assert_eq!(fs.list("").map(drop), io);
    assert_eq!(content_of(&below.crash(1), "a"), b"1", "both syncs were carried out");
    assert_eq!(fs.fired().len(), 1);
}

#[test]
fn rules_count_the_calls_they_match() {
    let fs = fs();
    let (a, b) = (make(&fs, "a", b""), make(&fs, "b", b""));
    fs.arm(Rule::new(Fault::Fail(Errno::Io)).on(Call::Write).named("a").at(10..20).skip(1).times(2));

    let writes = [(&a, 5), (&a, 8), (&b, 12), (&a, 20), (&a, 19), (&a, 12), (&a, 12)];
    let failed: Vec<bool> = writes.iter().map(|(file, at)| file.write_at(*at, b"123").is_err()).collect();

    assert_eq!(failed, [false, false, false, false, true, true, false]);
    let offsets: Vec<_> = fs.fired().into_iter().map(|fired| fired.offsets).collect();
    assert_eq!(offsets, [Some(19..22), Some(12..15)]);
    assert_eq!(fs.fired()[0].to_string(), "call 8: write \"a\" 19..22: fail:EIO");
}

#[test]
fn of_two_rules_the_first_decides_and_the_second_does_not_count_its_calls() {
    let fs = fs();
    fs.arm(Rule::new(Fault::Fail(Errno::NoSpace)).on(Call::List).times(1));
    fs.arm(Rule::new(Fault::Fail(Errno::Io)).on(Call::List).times(1));

    let ends = [(); 3].map(|()| fs.list("").map(drop));

    assert_eq!(ends, [Err(Errno::NoSpace.error()), Err(Errno::Io.error()), Ok(())]);
}

#[test]
fn chances_are_repeated_by_their_seed_and_come_as_often_as_they_say() {
    let run = |seed| {
        let fs = fs();
        fs.arm(Rule::new(Fault::Fail(Errno::Io)).on(Call::List).chance(20, seed));
        (0..1000).map(|_| fs.list("").is_err()).collect::<Vec<_>>()
    };

    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
    let failed = run(7).into_iter().filter(|&failed| failed).count();
    assert!((150..250).contains(&failed), "{failed} of 1000");
}

#[test]
fn names_are_patterns_and_follow_renames() {
    let fs = fs();
    fs.create_dir("wal").expect("new");
    let file = make(&fs, "temporary", b"");
    fs.arm(Rule::new(Fault::Fail(Errno::Io)).on(Call::Write).named("w*/*.wal"));
    assert!(file.write_at(0, b"1").is_ok());

    fs.rename("temporary", "wal/1.wal").expect("exists");

    assert!(file.write_at(0, b"1").is_err());
    let rule = |name| Rule::new(Fault::Fail(Errno::Io)).named(name);
    for (pattern, name, expected) in [
        ("*", "", true),
        ("a*", "a", true),
        ("a*a", "a", false),
        ("*a*", "bab", true),
        ("a*b*c", "abbc", true),
        ("a*b*c", "acb", false),
        ("*.wal", "wal/1.wal", true),
        ("wal", "wal/1", false),
        ("", "a", false),
    ] {
        assert_eq!(rule(pattern).matches(Call::Open, name, None), expected, "{pattern:?} and {name:?}");
    }
}

#[test]
fn the_text_of_rules_reads_back_as_the_rules() {
    let io = Errno::Io;
    let mut rules: Vec<Rule> = Errno::ALL.map(|errno| Rule::new(Fault::Fail(errno))).into();
    for fault in [
        Fault::FailLate(io),
        Fault::Cut(7, io),
        Fault::Flip(9),
        Fault::Elsewhere(4096),
        Fault::Delay { us: 15 },
        Fault::Lie,
        Fault::FailThenLie,
        Fault::PowerOff,
    ] {
        rules.push(Rule::new(fault).skip(3).times(4));
        for call in Call::ALL.into_iter().filter(|&call| fault.suits(call)) {
            rules.push(Rule::new(fault).on(call).named("a b/%*").at(5..u64::MAX).chance(99, u64::MAX));
        }
    }
    rules.push(Rule::new(Fault::Lie).on(Call::Sync).on(Call::SyncDir).named(""));
    let rules = Rules(rules);

    let text = rules.to_string();

    assert_eq!(text.parse(), Ok(rules), "{text}");
    assert_eq!("\n# nothing\n\n".parse(), Ok(Rules::default()));
    // A seed without a chance decides nothing, and was dropped from the text.
    let seeded: Rules = "seed=7 fault=lie".parse().expect("a rule");
    assert_eq!(seeded.to_string().parse(), Ok(seeded));
}

#[test]
fn a_run_is_replayed_by_the_text_of_its_rules() {
    let run = |rules: Rules| {
        let fs = fs();
        fs.arm_all(rules);
        for round in 0..50 {
            let _ = fs.create(&alloc::format!("{round}"), &LOG).map(|file| file.write_at(0, b"0123"));
        }
        (fs.rules().to_string(), fs.fired())
    };
    let rules = Rules(vec![
        Rule::new(Fault::Fail(Errno::ManyFiles)).on(Call::Create).chance(30, 5),
        Rule::new(Fault::Cut(1, Errno::NoSpace)).named("*1").chance(50, 6),
    ]);

    let (text, fired) = run(rules);

    assert!(fired.len() > 10);
    assert_eq!(run(text.parse().expect("its own text")), (text, fired));
}

#[test]
fn a_wrong_rule_is_told_with_its_line_and_what_is_expected() {
    let cases = [
        (
            "fault=fail:EWHAT",
            "line 1: `EWHAT` stands where one of EIO, ENOSPC, EDQUOT, EMFILE, EROFS is expected",
        ),
        ("\nskip=x fault=lie", "line 2: `x` stands where a number is expected"),
        ("call=write", "line 1: `call=write` stands where fault=<fault> is expected"),
        ("call=write fault=lie", "line 1: the fault `lie` means nothing for `write`"),
        ("chance=101 fault=lie", "line 1: `101` stands where 0 to 100 is expected"),
        ("at=5 fault=lie", "line 1: `5` stands where <first byte>..<end> is expected"),
        ("lie", "line 1: `lie` stands where <key>=<value> is expected"),
        ("name=%zz; fault=lie", "line 1: `zz;` stands where <code point>; is expected"),
    ];
    for (text, expected) in cases {
        assert_eq!(text.parse::<Rules>().expect_err(text).to_string(), expected);
    }
    for text in ["call=read,what fault=lie", "fault=flip", "fault=cut:1", "what=1 fault=lie"] {
        assert!(text.parse::<Rules>().is_err(), "{text}");
    }
}

#[test]
#[should_panic(expected = "means nothing for read")]
fn a_rule_that_could_never_fire_is_refused() {
    let _ = Rule::new(Fault::Lie).on(Call::Read);
}

/// A new name of a file is a name in the place that it lies in, whatever place the file was reached through.
#[test]
fn a_link_is_of_the_place_that_it_is_made_in() {
    let files = CrashFs::new();
    let (source, target) = (FaultFs::new(Arc::new(files.clone())), FaultFs::new(Arc::new(files.clone())));
    make(&source, "a", b"content");
    target.arm(Rule::new(Fault::FailThenLie).on(Call::Sync).named("b"));
    let lied_about = make(&target, "b", b"");
    assert!(sync(&lied_about).is_err());
    drop(lied_about);
    target.remove_file("b").expect("no rule");

    source.link_to("a", &target, "b").expect("no rule");
    target.sync_dir("", SITE).expect("no rule");
    let is_off = {
        target.arm(Rule::new(Fault::PowerOff).on(Call::List).times(1));
        target.list("").expect("the last call");
        source.link_to("a", &target, "c")
    };

    assert_eq!(is_off, Err(Errno::Io.error()));
    assert!(!files.exists("c").expect("in memory"));
    assert!(source.link("a", "c").is_ok(), "the source has power");
    assert!(!target.state().lying.contains("b"), "the file that a sync lied about is another");
}
