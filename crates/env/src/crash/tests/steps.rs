//! Steps: told, refused, recorded and taken again.

use super::*;
use alloc::string::ToString;
use std::sync::Mutex;

#[test]
fn a_step_is_told_before_it_is_taken_with_names_of_now() {
    let fs = CrashFs::new();
    let told = Arc::new(Mutex::new(Vec::new()));
    let (heard, files) = (Arc::clone(&told), fs.clone());
    fs.watch(move |number, step| {
        let seen = tree(&files.kill()).len();
        heard.lock().expect("no panic").push((number, step.to_string(), seen));
        Ok(())
    });

    fs.create_dir("d").expect("new");
    let file = make(&fs, "d/a", b"123");
    fs.rename("d/a", "d/b").expect("exists");
    fs.link("d/b", "c").expect("free");
    file.set_len(9).expect("extends");
    file.allocate(9).expect("nothing to do");
    sync(&file);
    fs.sync_dir("d", SITE).expect("exists");
    fs.remove_file("c").expect("exists");
    fs.remove_file("d/b").expect("exists");
    fs.remove_dir("d").expect("empty");
    assert!(fs.remove_dir("d").is_err(), "a call that fails is no step");
    fs.unwatch();
    fs.create_dir("e").expect("new");

    let expected = [
        ("create_dir d", 0),
        ("create d/a", 1),
        ("write d/a 0..3", 2),
        ("rename d/a d/b", 2),
        ("link d/b c", 2),
        ("set_len d/b 9", 3),
        ("sync d/b (test)", 3),
        ("sync_dir \"d\" (test)", 3),
        ("remove_file c", 3),
        ("remove_file d/b", 2),
        ("remove_dir d", 1),
    ];
    let expected: Vec<_> =
        (0..).zip(expected).map(|(number, (step, seen))| (number, step.to_string(), seen)).collect();
    assert_eq!(*told.lock().expect("no panic"), expected);
    assert_eq!(fs.steps(), 12);
}

#[test]
fn a_refused_step_is_not_taken() {
    let fs = CrashFs::new();
    let file = make(&fs, "a", b"1");
    fs.watch(|_, step| match step {
        Step::Write("a", 0, b"2") => Err(IoErrorKind::OutOfSpace.into()),
        _ => Ok(()),
    });

    assert_eq!(file.write_at(0, b"2"), Err(IoErrorKind::OutOfSpace.into()));
    assert_eq!(file.write_at(0, b"3"), Ok(()));

    assert_eq!(content_of(&fs, "a"), Some(b"3".into()));
}

#[test]
fn a_history_has_every_moment() {
    let fs = CrashFs::new();
    let file = make(&fs, "a", &[1; 600]);
    fs.record();
    let mut moments = Vec::new();
    let mut note = |fs: &CrashFs| moments.push((tree(fs), tree(&fs.crash(5))));
    note(&fs);
    file.write_at(100, &[2; 600]).expect("no limit");
    note(&fs);
    fs.remove_file("a").expect("exists");
    note(&fs);
    file.write_at(0, &[3; 600]).expect("no limit");
    note(&fs);
    fs.mute(SITE);
    fs.sync_dir("", SITE).expect("the root");
    note(&fs);
    fs.unmute(SITE);
    fs.sync_dir("", SITE).expect("the root");
    note(&fs);

    let history = fs.history();

    let replayed: Vec<_> =
        history.moments().map(|moment| (tree(&moment.files), tree(&moment.files.crash(5)))).collect();
    assert_eq!(replayed, moments);
    assert_eq!(history.len(), 5);
    let steps: Vec<_> = history.steps().map(|(number, step)| (number, step.to_string())).collect();
    assert_eq!(steps[0], (2, "write a 100..700".to_string()));
    assert_eq!(steps[4], (6, "sync_dir \"\" (test)".to_string()));
    assert_eq!(tree(&history.after(2)), moments[2].0);
}

#[test]
fn threads_take_steps_beside_images() {
    let fs = CrashFs::new();
    fs.record();
    std::thread::scope(|scope| {
        for name in ["a", "b"] {
            let fs = &fs;
            scope.spawn(move || {
                let file = make(fs, name, b"");
                for round in 0..200_u64 {
                    file.write_at(round * 8, &round.to_le_bytes()).expect("no limit");
                    if round % 10 == 9 {
                        sync(&file);
                        fs.sync_dir("", SITE).expect("the root");
                    }
                }
            });
        }
        for seed in 0..50 {
            let image = fs.crash(seed);
            assert_eq!(tree(&image.crash(1)), tree(&image), "everything in an image is durable");
        }
    });

    let history = fs.history();
    assert_eq!(history.len() as u64, fs.steps());
    assert_eq!(tree(&history.after(history.len())), tree(&fs));
}

#[test]
fn an_empty_write_and_a_rename_onto_itself_are_no_steps() {
    let fs = CrashFs::new();
    let file = make(&fs, "a", b"1");
    fs.link("a", "b").expect("free");
    let steps = fs.steps();

    file.write_at(u64::MAX, b"").expect("nothing to write");
    fs.rename("a", "a").expect("exists");
    fs.rename("a", "b").expect("the same file");

    assert_eq!(fs.steps(), steps);
    assert_eq!(tree(&fs).len(), 2);
}

#[test]
fn sizes_that_no_system_has_are_out_of_space() {
    let fs = CrashFs::new();
    let file = make(&fs, "a", b"1");

    for result in [file.write_at(u64::MAX, b"12"), file.set_len(u64::MAX), file.allocate(1 << 63)] {
        assert_eq!(result, Err(IoErrorKind::OutOfSpace.into()));
    }
    assert_eq!(file.set_len(i64::MAX as u64), Ok(()), "without a byte of memory");
}
