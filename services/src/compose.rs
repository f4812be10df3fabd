//! A server in a container: one project of Docker Compose for each, by the workspace's `compose.yaml`.

use crate::folder::workspace;
use crate::process::{bounded, output};
use crate::starting::{LOOK_EVERY, READY_LIMIT};
use crate::{Error, Result};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

const DOCKER: &str = "docker";

/// How long Docker may take for what needs no image.
const LIMIT: Duration = Duration::from_secs(60);

/// How long it may take to pull an image too.
const PULL_LIMIT: Duration = Duration::from_secs(600);

/// One server's containers and volumes.
pub(crate) struct Project {
    docker: PathBuf,
    /// The project's name: what tells it from other servers of the same kind.
    name: String,
    /// The service in `compose.yaml`.
    service: &'static str,
    /// Which ports of this machine lead to it: variables of `compose.yaml`.
    ports: Vec<(&'static str, u16)>,
}

/// Whether there is Docker Compose and an engine that answers it.
pub(crate) fn answers() -> bool {
    let tried = |arguments: &[&str]| {
        let mut command = bounded(DOCKER, Duration::from_secs(10));
        command.args(arguments);
        output(command).is_ok()
    };
    tried(&["compose", "version"]) && tried(&["info"])
}

impl Project {
    /// The project for the server `name`, as `compose.yaml` knows it by `service`.
    pub(crate) fn new(name: &str, service: &'static str, ports: &[(&'static str, u16)]) -> Self {
        Self { docker: DOCKER.into(), name: project(name), service, ports: ports.to_vec() }
    }

    /// Starts it, on the data of before if there are any.
    pub(crate) fn up(&self) -> Result<()> {
        self.run(PULL_LIMIT, &["up", "--detach", self.service]).map(drop)
    }

    /// Waits until what is started serves clients.
    pub(crate) fn wait(&self, is_ready: impl Fn() -> bool) -> Result<()> {
        let deadline = Instant::now() + READY_LIMIT;
        while !is_ready() {
            if Instant::now() >= deadline {
                let (service, seconds, log) = (self.service, READY_LIMIT.as_secs(), self.log());
                return Err(Error::failed(format!(
                    "the container of {service} was not ready within {seconds} s\n{log}"
                )));
            }
            sleep(LOOK_EVERY);
        }
        Ok(())
    }

    pub(crate) fn stop(&self) -> Result<()> {
        self.run(LIMIT, &["stop", "--timeout", "20", self.service]).map(drop)
    }

    /// True if it ran.
    pub(crate) fn kill(&self) -> Result<bool> {
        let runs = self.runs()?;
        if runs {
            self.run(LIMIT, &["kill", self.service])?;
        }
        Ok(runs)
    }

    /// Removes it with its data.
    pub(crate) fn remove(&self) -> Result<()> {
        self.run(LIMIT, &["down", "--volumes", "--timeout", "0"]).map(drop)
    }

    pub(crate) fn runs(&self) -> Result<bool> {
        let running = ["ps", "--quiet", "--status", "running", self.service];
        self.run(LIMIT, &running).map(|containers| !containers.trim().is_empty())
    }

    /// The end of what the server has logged.
    fn log(&self) -> String {
        let log = self.run(LIMIT, &["logs", "--tail", "20", self.service]);
        log.unwrap_or_else(|error| error.to_string())
    }

    fn run(&self, limit: Duration, arguments: &[&str]) -> Result<String> {
        let file = workspace()?.join("compose.yaml");
        let mut command = bounded(&self.docker, limit);
        command.args(["compose", "--project-name", &self.name, "--file"]).arg(file);
        command.args(arguments);
        for (variable, port) in &self.ports {
            command.env(variable, port.to_string());
        }
        output(command).map_err(|error| Error::failed(format!("Docker Compose: {error}")))
    }
}

/// Compose takes small letters, digits, `-` and `_`.
fn project(name: &str) -> String {
    format!("tramline-{}", name.replace('@', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, read_to_string, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn docker_is_told_the_project_the_file_and_the_ports() {
        let folder = tempfile::tempdir().unwrap();
        let docker = folder.path().join("docker");
        let script = "#!/bin/sh\nexec >> \"$0.told\"\necho \"$PORT $*\"\n";
        write(&docker, script).unwrap();
        set_permissions(&docker, Permissions::from_mode(0o755)).unwrap();
        let ports = [("PORT", 20_000)];
        let project = Project { docker, ..Project::new("rabbitmq@a", "rabbitmq", &ports) };
        project.up().unwrap();
        project.stop().unwrap();
        assert!(!project.runs().unwrap(), "it has printed no container");
        project.remove().unwrap();
        let told = read_to_string(folder.path().join("docker.told")).unwrap();
        let acts: Vec<&str> =
            told.lines().map(|line| line.split(".yaml ").nth(1).unwrap()).collect();
        let expected = [
            "up --detach rabbitmq",
            "stop --timeout 20 rabbitmq",
            "ps --quiet --status running rabbitmq",
            "down --volumes --timeout 0",
        ];
        assert_eq!(acts, expected);
        let project = "20000 compose --project-name tramline-rabbitmq_a --file ";
        assert!(told.lines().all(|line| line.starts_with(project)), "{told}");
    }

    #[test]
    fn each_instance_is_a_project_of_its_own() {
        assert_eq!(project("rabbitmq"), "tramline-rabbitmq");
        assert_eq!(project("rabbitmq@faults"), "tramline-rabbitmq_faults");
    }
}
