//! Copies of database directories: shared blocks where the file system can, else bytes; holes stay holes.

use crate::Result;
use rustix::{
    fs::{SeekFrom, copy_file_range, seek},
    io::Errno,
};
use std::{
    fs::{self, File},
    path::Path,
};

/// Copies everything below `from` into the new directory `to`.
pub fn copy_dir(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).map_err(|error| format!("{}: {error}", from.display()))? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        let copied = if kind.is_dir() {
            copy_dir(&from, &to)
        } else if kind.is_file() {
            copy_file(&from, &to)
        } else {
            Err("neither a file nor a directory".into())
        };
        copied.map_err(|error| format!("copying {}: {error}", from.display()))?;
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> Result<()> {
    let (from, to) = (File::open(from)?, File::create_new(to)?);
    let file_bytes = from.metadata()?.len();
    to.set_len(file_bytes)?;
    let mut at = 0;
    while at < file_bytes {
        let mut data_at = match seek(&from, SeekFrom::Data(at)) {
            Ok(data_at) => data_at,
            Err(Errno::NXIO) => break, // Nothing but a hole is left.
            Err(error) => return Err(error.into()),
        };
        let hole_at = seek(&from, SeekFrom::Hole(data_at))?;
        let mut to_at = data_at;
        while data_at < hole_at {
            let left_bytes = usize::try_from(hole_at - data_at)?;
            // It moves both offsets on.
            if copy_file_range(&from, Some(&mut data_at), &to, Some(&mut to_at), left_bytes)? == 0 {
                return Err("the file became shorter".into());
            }
        }
        at = hole_at;
    }
    Ok(())
}

/// Removes a directory that need not exist.
pub fn remove_dir(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("removing {}: {error}", dir.display()).into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::disk_bytes;
    use std::os::unix::fs::FileExt;

    #[test]
    fn copy_has_the_same_bytes_and_holes() {
        let dir = std::env::temp_dir().join(format!("isopach-bench-copy-{}", std::process::id()));
        let (from, to) = (dir.join("from"), dir.join("to"));
        fs::create_dir_all(from.join("below/empty")).unwrap();
        fs::write(from.join("below/small"), b"some bytes").unwrap();
        let sparse = File::create(from.join("sparse")).unwrap();
        sparse.write_all_at(&[7; 10_000], 1 << 30).unwrap();
        sparse.set_len(1 << 32).unwrap();

        copy_dir(&from, &to).unwrap();

        let copied = File::open(to.join("sparse")).unwrap();
        let mut bytes = [0; 10_001];
        copied.read_exact_at(&mut bytes, (1 << 30) - 1).unwrap();
        let used_bytes = disk_bytes(&to);
        assert_eq!(fs::read(to.join("below/small")).unwrap(), b"some bytes");
        assert!(to.join("below/empty").is_dir());
        assert_eq!(copied.metadata().unwrap().len(), 1 << 32);
        assert_eq!((bytes[0], &bytes[1..]), (0, &[7; 10_000][..]));
        remove_dir(&dir).unwrap();
        assert!(used_bytes < 1 << 20, "{used_bytes} bytes on disk");
    }
}
