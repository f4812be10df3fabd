//! File systems that a file of the bus must not be on.

use std::fs;
use std::path::{Path, PathBuf};
use tramline_core::{Error, ErrorKind, Result};

/// What is mounted where, as this process sees it. Linux alone has it; elsewhere nothing is known.
const MOUNTS: &str = "/proc/self/mountinfo";

/// Shared between machines, or between a virtual machine and its host, by the names that the
/// kernel gives them.
///
/// By name and not by the number of `statfs`, which is one and the same for everything that is
/// made with FUSE: sshfs and a local encrypted folder. What is not known here is allowed.
const REFUSED: &[&str] = &[
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "ncpfs",
    "afs",
    "coda",
    "ceph",
    "lustre",
    "beegfs",
    "orangefs",
    "9p",
    "vboxsf",
    "vmhgfs",
    "prl_fs",
    "fuse.sshfs",
    "fuse.glusterfs",
    "fuse.ceph-fuse",
    "fuse.vmhgfs-fuse",
    "fuse.rclone",
    "fuse.s3fs",
    "fuse.gcsfuse",
    "fuse.blobfuse2",
    "fuse.juicefs",
    "fuse.curlftpfs",
];

/// Refuses a file that is on a network file system, before it is opened or made.
pub(crate) fn check(path: &Path) -> Result<()> {
    // Without the table nothing is known, and what is not known is allowed.
    let mounts = fs::read(MOUNTS).unwrap_or_default();
    match kind(&String::from_utf8_lossy(&mounts), path).filter(|kind| REFUSED.contains(kind)) {
        None => Ok(()),
        Some(kind) => {
            let doing = format!("open {}", path.display());
            Err(Error::new(ErrorKind::Misconfigured, doing).because(format!(
                "it is on a network file system ({kind}), where processes do not share the memory \
                 that SQLite's write-ahead log needs, and messages would be lost; put it on a local \
                 disk (for a file that one machine alone has there, see \
                 SqliteOptions::on_any_file_system)"
            )))
        }
    }
}

/// The kind of the file system that `path` is on, which is canonical.
fn kind<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let places = mounts.lines().filter_map(mount);
    let around = places.filter(|(point, _)| path.starts_with(point));
    // The last one of those at the same place hides the others.
    around.max_by_key(|(point, _)| point.components().count()).map(|(_, kind)| kind)
}

/// Where a line of the table mounts something, and what: `36 35 98:0 / /mnt rw shared:1 - ext4 …`.
fn mount(line: &str) -> Option<(PathBuf, &str)> {
    let (place, file_system) = line.split_once(" - ")?;
    Some((unescaped(place.split(' ').nth(4)?), file_system.split(' ').next()?))
}

/// Undoes the kernel's `\040` for a space and the like.
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let code = behind.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| byte == b'\\') {
            Some(code) => {
                bytes.push(code);
                rest = &behind[3..];
            }
            None => {
                bytes.push(byte);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
22 27 0:21 / /proc rw,relatime - proc proc rw
30 27 0:27 / /srv rw,relatime shared:5 master:1 - nfs4 host:/export rw,vers=4.2
31 30 8:1 / /srv/disk rw - xfs /dev/sda1 rw
32 27 0:29 / /home/ada/my\\040share rw - fuse.sshfs ada@host: rw
33 27 0:30 / /data rw - nfs host:/data rw
34 27 0:31 / /data rw - tmpfs none rw
";

    fn of(path: &str) -> Option<&'static str> {
        kind(MOUNTS, Path::new(path))
    }

    #[test]
    fn the_innermost_mount_around_a_file_says_what_it_is_on() {
        assert_eq!(of("/var/orders.db"), Some("ext4"));
        assert_eq!(of("/srv/orders.db"), Some("nfs4"));
        assert_eq!(of("/srv/disk/orders.db"), Some("xfs"));
        assert_eq!(of("/srv2/orders.db"), Some("ext4"));
    }

    #[test]
    fn a_mount_that_hides_another_one_counts() {
        assert_eq!(of("/data/orders.db"), Some("tmpfs"));
    }

    #[test]
    fn a_mount_point_with_a_space_in_it_is_found() {
        assert_eq!(of("/home/ada/my share/orders.db"), Some("fuse.sshfs"));
        assert_eq!(unescaped("/a\\134b\\0").as_os_str(), "/a\\b\\0");
    }

    #[test]
    fn file_systems_of_one_machine_are_not_refused_and_those_of_several_are() {
        for local in ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "f2fs", "virtiofs", "fuse"]
        {
            assert!(!REFUSED.contains(&local), "{local}");
        }
        for shared in ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs"] {
            assert!(REFUSED.contains(&shared), "{shared}");
        }
    }

    #[test]
    fn nothing_is_known_without_a_table() {
        assert_eq!(kind("", Path::new("/orders.db")), None);
        assert_eq!(kind("27 1 254:0\nnonsense - ", Path::new("/orders.db")), None);
    }
}
