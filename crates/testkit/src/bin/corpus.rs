//! Writes the sound inputs of every fuzz target into `<directory>/<target>/`, for libFuzzer to begin with.

use std::{env, error::Error, fs, path::Path};
use testkit::fuzz::TARGETS;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = env::args_os().nth(1).ok_or("usage: corpus DIRECTORY")?;
    for target in TARGETS {
        let directory = Path::new(&directory).join(target.name);
        fs::create_dir_all(&directory)?;
        for (number, input) in (target.seeds)().into_iter().enumerate() {
            fs::write(directory.join(format!("sound-{number:03}")), input)?;
        }
    }
    println!("inputs of {} targets", TARGETS.len());
    Ok(())
}
