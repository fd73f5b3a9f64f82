//! A disk that can lose power: an image of a file system on another one that can clone files.
//!
//! A clone of the image while it is in use holds what the file system has given to its device, all of it and
//! nothing later: what a cut at that moment leaves. The other way to cut is to have the file system go down
//! without writing its journal. Both need root.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// Size of the file system that holds the images; its file is sparse.
const HOST_BYTES: u64 = 6 << 30;
/// Size of the disk.
const DISK_BYTES: u64 = 1 << 30;

/// A file system that is tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Ext4,
    Xfs,
}

impl Kind {
    pub(crate) const ALL: [Kind; 2] = [Kind::Ext4, Kind::Xfs];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Ext4 => "ext4",
            Kind::Xfs => "xfs",
        }
    }
}

/// How the power goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cut {
    /// The image is cloned while it is in use.
    Clone,
    /// The file system goes down without writing its journal. An fsync that returns meanwhile may be lost all
    /// the same; what returned before may not.
    Shutdown,
}

/// Why something cannot be tried here.
pub(crate) type Refusal = String;

/// A place for images on XFS, which clones files. Removed at the end.
pub(crate) struct Host {
    dir: PathBuf,
}

impl Host {
    /// Makes one in the new directory `dir`.
    pub(crate) fn make(dir: PathBuf) -> Result<Host, Refusal> {
        let host = Host { dir };
        let (image, mount) = (host.dir.join("host.img"), host.dir.join("host"));
        make_sparse(&image, HOST_BYTES).map_err(|error| format!("{}: {error}", image.display()))?;
        run("mkfs.xfs", ["-q".as_ref(), "-m".as_ref(), "reflink=1".as_ref(), image.as_os_str()])?;
        mount_image(&image, &mount)?;
        Ok(host)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        unmount(&self.dir.join("host"));
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A disk that is mounted, in a place of the host.
pub(crate) struct Disk<'a> {
    host: &'a Host,
    kind: Kind,
}

impl Disk<'_> {
    /// A new file system.
    pub(crate) fn make(host: &Host, kind: Kind) -> Result<Disk<'_>, Refusal> {
        let disk = Disk { host, kind };
        let image = disk.image();
        make_sparse(&image, DISK_BYTES).map_err(|error| format!("{}: {error}", image.display()))?;
        let program = format!("mkfs.{}", kind.name());
        run(&program, ["-q".as_ref(), image.as_os_str()])?;
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.host.dir.join(self.kind.name())
    }

    /// The power goes now. What is written from now on is lost, whoever still writes.
    pub(crate) fn cut(&self, how: Cut) -> Result<(), Refusal> {
        match how {
            Cut::Clone => {
                let (image, survivor) = (self.image(), self.survivor());
                let args = ["--reflink=always".as_ref(), image.as_os_str(), survivor.as_os_str()];
                run("cp", args)
            }
            Cut::Shutdown => {
                let path = self.path().into_os_string();
                run("xfs_io", ["-x".as_ref(), "-c".as_ref(), "shutdown".as_ref(), path.as_os_str()])
            }
        }
    }

    /// The power comes back: mounts what the cut left, as the kernel recovers it. Nobody may use the disk.
    pub(crate) fn restart(&self, how: Cut) -> Result<(), Refusal> {
        unmount(&self.path());
        if how == Cut::Clone {
            let brought = fs::rename(self.survivor(), self.image());
            brought.map_err(|error| format!("{}: {error}", self.image().display()))?;
        }
        self.mount()
    }

    fn mount(&self) -> Result<(), Refusal> {
        mount_image(&self.image(), &self.path())
    }

    fn image(&self) -> PathBuf {
        self.host.dir.join("host").join(format!("{}.img", self.kind.name()))
    }

    fn survivor(&self) -> PathBuf {
        self.image().with_extension("cut")
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        unmount(&self.path());
        let _ = fs::remove_file(self.image());
    }
}

fn make_sparse(image: &Path, bytes: u64) -> io::Result<()> {
    fs::File::create(image)?.set_len(bytes)
}

fn mount_image(image: &Path, mount: &Path) -> Result<(), Refusal> {
    fs::create_dir_all(mount).map_err(|error| format!("{}: {error}", mount.display()))?;
    run("mount", ["-o".as_ref(), "loop".as_ref(), image.as_os_str(), mount.as_os_str()])
}

/// Unmounts what may be mounted.
fn unmount(mount: &Path) {
    let _ = run("umount", [mount]);
}

/// Runs a program of the system.
fn run<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> Result<(), Refusal> {
    let output = Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program}: {}: {}", output.status, said.trim().replace('\n', "; ")))
}
