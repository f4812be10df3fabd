//! `cargo xtask services`: real servers for tests, by hand.

use clap::{Args, Subcommand};
use std::process::ExitCode;
use tramline_services::{Error, Install, Member, Name, State, all, kinds, named};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// Install and start servers, or start them again on the same data and ports; prints their URLs
    Up {
        #[command(flatten)]
        chosen: Chosen,
    },
    /// Stop servers, all of them if none is named; their data stay
    Down {
        /// Kill them and remove their data too
        #[arg(long)]
        wipe: bool,
        /// `rabbitmq`, `rabbitmq@faults` …
        #[arg(value_name = "NAME")]
        names: Vec<Name>,
    },
    /// Kill servers with SIGKILL, as a crash would
    Kill {
        #[command(flatten)]
        chosen: Chosen,
    },
    /// Tell of servers, all of them if none is named, whether they run and where
    Status {
        /// `rabbitmq`, `rabbitmq@faults` …
        #[arg(value_name = "NAME")]
        names: Vec<Name>,
    },
}

#[derive(Args)]
struct Chosen {
    /// A kind of server, as `rabbitmq`; with `@` and a word a further one with data of its own, as
    /// `rabbitmq@faults`; to be killed also one member of a cluster, as `rabbitmq-cluster/2`
    #[arg(value_name = "NAME", required = true)]
    names: Vec<Name>,
}

/// Does to each server what was asked, and ends at the first that it cannot be done to.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    act(&arguments.act).map(|()| ExitCode::SUCCESS).map_err(|error| error.to_string())
}

fn act(act: &Act) -> Result<(), Error> {
    match act {
        Act::Up { chosen } => whole(&chosen.names)?.iter().try_for_each(up),
        Act::Down { wipe, names } => {
            known(whole(names)?)?.iter().try_for_each(|name| down(name, *wipe))
        }
        Act::Kill { chosen } => known(&chosen.names)?.iter().try_for_each(kill),
        Act::Status { names } => status(known(whole(names)?)?),
    }
}

fn up(name: &Name) -> Result<(), Error> {
    let service = named(name)?;
    service.up(Install::Allowed)?;
    println!("{}", service.urls());
    Ok(())
}

fn down(name: &Name, wipe: bool) -> Result<(), Error> {
    let service = named(name)?;
    if wipe { service.wipe() } else { service.down() }
}

fn kill(name: &Name) -> Result<(), Error> {
    if !named(name)?.kill(name.member)? {
        println!("{name} did not run");
    }
    Ok(())
}

fn status(names: Vec<Name>) -> Result<(), Error> {
    if names.is_empty() {
        let kinds: Vec<_> = kinds().collect();
        println!("none is set up; `cargo xtask services up` knows {}", kinds.join(", "));
    }
    for name in names {
        named(&name)?.status().iter().for_each(|member| println!("{}", line(member)));
    }
    Ok(())
}

fn line(member: &Member) -> String {
    let Member { name, state, url } = member;
    let url = if *state == State::Stopped { "" } else { url };
    format!("{name:<24}  {state:<20}  {url}").trim_end().to_owned()
}

/// The names, if none is of a single member: members are started and stopped together.
fn whole(names: &[Name]) -> Result<&[Name], Error> {
    match names.iter().find(|name| name.member.is_some()) {
        None => Ok(names),
        Some(name) => Err(Error::Failed(format!(
            "only `kill` works on a single member; name {} instead of {name}",
            name.service()
        ))),
    }
}

/// The named servers if all have been set up, or all that have been if none is named.
fn known(names: &[Name]) -> Result<Vec<Name>, Error> {
    if names.is_empty() {
        return all();
    }
    for name in names {
        if !name.is_set_up()? {
            let service = name.service();
            let message = format!("{service} is not set up; `cargo xtask services up {service}`");
            return Err(Error::Failed(message));
        }
    }
    Ok(names.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_member_can_only_be_killed() {
        let names: Vec<Name> =
            vec!["rabbitmq".parse().unwrap(), "rabbitmq-cluster/2".parse().unwrap()];
        let message = whole(&names).unwrap_err().to_string();
        assert!(
            message.contains("name rabbitmq-cluster instead of rabbitmq-cluster/2"),
            "{message}"
        );
        assert_eq!(whole(&names[..1]).unwrap(), &names[..1]);
    }

    #[test]
    fn a_stopped_server_is_told_without_a_url() {
        let member = |state| Member { name: "rabbitmq".into(), state, url: "amqp://there".into() };
        assert_eq!(line(&member(State::Stopped)), "rabbitmq                  stopped");
        let up = line(&member(State::Up(Some(42))));
        assert_eq!(up, "rabbitmq                  up, pid 42            amqp://there");
    }
}
