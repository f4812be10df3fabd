//! The user a server runs as: its own, because some refuse to be root.

use crate::{Error, Result};
use std::os::unix::fs::lchown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// A user of this machine that only root can become.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Account {
    user: u32,
    group: u32,
}

impl Account {
    /// The user `name` if we are root; `None` for everybody else, who starts servers as himself.
    pub(crate) fn of_root(name: &str) -> Result<Option<Self>> {
        if !is_root() {
            return Ok(None);
        }
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let missing = || Error::failed(format!("failed to find the user {name}; is it installed?"));
        parse(&users, name).map(Some).ok_or_else(missing)
    }

    /// Lets the command run as this user, without the groups of root.
    pub(crate) fn runs(self, command: &mut Command) {
        command.uid(self.user).gid(self.group);
    }

    /// Gives the user all that lies in `folder`, and the folder. What is only linked there stays whose
    /// it is.
    pub(crate) fn owns(self, folder: &Path) -> std::io::Result<()> {
        lchown(folder, Some(self.user), Some(self.group))?;
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                self.owns(&entry.path())?;
            } else {
                lchown(entry.path(), Some(self.user), Some(self.group))?;
            }
        }
        Ok(())
    }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Finds a user in the text of `/etc/passwd`: `name:password:user:group:…`.
fn parse(users: &str, name: &str) -> Option<Account> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_named = fields.next() == Some(name);
        let (user, group) = (fields.nth(1)?, fields.next()?);
        is_named.then_some(Account { user: user.parse().ok()?, group: group.parse().ok()? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_the_whole_name() {
        let users = "root:x:0:0::/:/bin/sh\nrabbit:x:7:8::/:/x\nrabbitmq:x:103:106:RabbitMQ:/:/x\n";
        assert_eq!(parse(users, "rabbitmq"), Some(Account { user: 103, group: 106 }));
        assert_eq!(parse(users, "postgres"), None);
    }
}
