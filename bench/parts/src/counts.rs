//! Instruction counts: each case in a process of its own under Valgrind's Callgrind, which executes every
//! instruction in a simulator and counts those between entry and return of one function.
//!
//! They are the same on every run: background threads are not counted, seeds are fixed, files are in memory,
//! and the environment is empty. What they depend on beside our code: compiler, C library (its allocator and
//! memory functions) and the vector units that the simulator offers. The [`baseline`](crate::baseline) names
//! these; counts made with others are not compared.

use crate::{
    baseline::{self, Baseline, Counted, Verdict},
    chosen,
    meter::{Meter, Purpose},
};
use std::{
    env, fs,
    process::{Command, ExitCode},
    sync::Mutex,
    thread,
};

/// First argument of the process that is counted; the second is the name of its case.
pub const ONE: &str = "count-one";

/// Printed by that process, before the number of items.
const ITEMS: &str = "items: ";

/// By `counts check`: counts differ from the baseline.
const DIFFER: u8 = 1;
/// By `counts check`: the baseline was made with another compiler, C library or processor.
const NOT_COMPARABLE: u8 = 3;

/// `counts [check|renew] [NAME..]`.
///
/// # Errors
///
/// Unknown cases; no Valgrind; a case that fails; a baseline that cannot be read or written.
pub fn run(arguments: &[&str]) -> Result<ExitCode, String> {
    let (verb, names) = match arguments {
        [verb @ ("check" | "renew"), names @ ..] => (*verb, names),
        names => ("show", names),
    };
    if verb == "renew" && !names.is_empty() {
        return Err("`counts renew` renews all cases: a baseline is of one moment".into());
    }
    let cases = chosen(names, |case| case.is_counted)?;
    let toolchain = toolchain()?;
    let counted = count_all(&cases.iter().map(|case| case.name).collect::<Vec<_>>())?;

    if verb == "renew" {
        let old = Baseline::read().ok();
        print!("{}", baseline::table(&counted, old.as_ref()).0);
        Baseline { toolchain, counts: counted }.write()?;
        println!("written to {}", baseline::PATH);
        return Ok(ExitCode::SUCCESS);
    }
    let old = Baseline::read()?;
    let (table, verdict) = baseline::table(&counted, Some(&old));
    print!("{table}");
    if old.toolchain != toolchain {
        eprintln!(
            "\nNOT COMPARABLE. The baseline was made with\n    {}\nand these counts with\n    {toolchain}\n\
             If the project has moved to the latter, renew the baseline in a commit of its own, on code that \
             is otherwise as it was:\n    {}",
            old.toolchain,
            baseline::RENEW
        );
        return Ok(ExitCode::from(if verb == "check" { NOT_COMPARABLE } else { 0 }));
    }
    match verdict {
        Verdict::Same => println!("all within {} % of the baseline", baseline::TOLERANCE_PERCENT),
        Verdict::Differs => eprintln!(
            "\nThe marked counts are more than {} % away from the baseline. If that is meant, be it more or less, \
             renew the baseline in the commit that changes them, and state both numbers in its message:\n    {}",
            baseline::TOLERANCE_PERCENT,
            baseline::RENEW
        ),
    }
    Ok(ExitCode::from(if verb == "check" && verdict == Verdict::Differs { DIFFER } else { 0 }))
}

/// Runs one case in this process, to be counted from outside.
///
/// # Errors
///
/// No case has this name.
pub fn run_one(name: &str) -> Result<(), String> {
    let cases = chosen(&[], |case| case.is_counted)?;
    let case = cases.into_iter().find(|case| case.name == name);
    let case = case.ok_or_else(|| format!("no counted case is named {name:?}"))?;
    let mut meter = Meter::new(Purpose::Counts);
    (case.run)(&mut meter);
    println!("{ITEMS}{}", meter.items);
    Ok(())
}

/// Counts cases, as many at a time as there are processors: that changes no count.
fn count_all(names: &[&'static str]) -> Result<Vec<Counted>, String> {
    let waiting = Mutex::new(names.iter());
    let done = Mutex::new(Vec::new());
    let take = || waiting.lock().expect("nothing panics under it").next().copied();
    let work = || {
        while let Some(name) = take() {
            let counted = count(name);
            done.lock().expect("nothing panics under it").push((name, counted));
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let done = done.into_inner().expect("no worker panicked");
    let of = |name: &&'static str| {
        let (_, counted) = done.iter().find(|(other, _)| other == name).expect("every case was taken");
        counted.clone().map(|instructions| Counted { name: (*name).into(), instructions })
    };
    names.iter().map(of).collect()
}

/// Instructions an item of one case.
fn count(name: &str) -> Result<f64, String> {
    let program = env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*meter*counted*"])
        .args(["--callgrind-out-file=/dev/null", "--"])
        .arg(program)
        .args([ONE, name])
        // Lengths of variables move the stack, and some change what libraries do.
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default());
    let output = command.output().map_err(|error| {
        format!("cannot run valgrind: {error}. Install it, as with `apt-get install valgrind`")
    })?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let number = |text: &str, label: &str| -> Option<u64> {
        let line = text.lines().find(|line| line.contains(label))?;
        line.rsplit(' ').next()?.parse().ok()
    };
    match (number(&out, ITEMS), number(&err, "Collected : ")) {
        (Some(items), Some(instructions)) if output.status.success() && instructions > 0 => {
            Ok(instructions as f64 / items as f64)
        }
        _ => Err(format!("case {name} cannot be counted ({}):\n{out}{err}", output.status)),
    }
}

/// What counts depend on beside our code.
fn toolchain() -> Result<String, String> {
    let libc = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let libc = libc.map_err(|error| format!("cannot ask getconf for the C library: {error}"))?;
    let libc = String::from_utf8_lossy(&libc.stdout).trim().to_owned();
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has_avx2 =
        cpu.lines().any(|line| line.starts_with("flags") && line.split(' ').any(|it| it == "avx2"));
    let vectors = if has_avx2 { "with AVX2" } else { "without AVX2" };
    Ok(format!("{}; {libc}; {} {vectors}", env!("PARTS_RUSTC"), env::consts::ARCH))
}
