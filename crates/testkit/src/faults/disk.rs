//! A disk that loses its power: what was not written to it is gone. A file system in a file, behind a loop device that goes
//! past the page cache; the file system is told to stop at once, as it stands.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::folder::Folder;

/// The ioctl EXT4_IOC_SHUTDOWN, with the flag that leaves even the journal as it is.
const STOP: &str = "import fcntl, os, struct, sys; fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";
/// The stream of turns wants a GiB to be free; the file itself takes what is written.
const SIZE_MIB: u64 = 4096;

/// A disk of its own, mounted in a folder.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    device: String,
    mount: Folder,
}

impl Disk {
    /// A new one, whose file is `image`.
    ///
    /// # Errors
    /// Why this machine does not let us have one: it takes root, a free loop device and `mkfs.ext4`.
    pub fn new(image: PathBuf) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("a disk of one's own takes root".into());
        }
        let file = fs::File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(SIZE_MIB << 20).map_err(|error| error.to_string())?;
        run("mkfs.ext4", &["-q", "-F", &text(&image)])?;
        let mut disk = Self { image, device: String::new(), mount: Folder::new("disk") };
        disk.attach()?;
        Ok(disk)
    }

    /// A new folder on it.
    pub fn folder(&self, name: &str) -> Folder {
        Folder::within(self.mount.path(), name)
    }

    /// Takes its power: from now on nothing is written, and whoever tries gets an error.
    pub fn cut(&self) {
        run("python3", &["-c", STOP, &text(self.mount.path())]).expect("the file system stops");
    }

    /// Gives it back. Whoever had files open must have ended.
    pub fn restore(&mut self) {
        self.detach();
        self.attach().expect("the disk is there again");
    }

    fn attach(&mut self) -> Result<(), String> {
        let device = run("losetup", &["--direct-io=on", "-f", "--show", &text(&self.image)])?;
        self.device = device.trim().to_owned();
        run("mount", &[&self.device, &text(self.mount.path())]).map(drop)
    }

    fn detach(&self) {
        // Lazily: a process that is just ending may still be in there.
        let _ = run("umount", &["-l", &text(self.mount.path())]);
        let _ = run("losetup", &["-d", &self.device]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.detach();
        let _ = fs::remove_file(&self.image);
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output =
        Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
