//! A broker in a container, for machines without the package.

use super::config::Ports;
use super::management::Management;
use super::node::PACKAGE;
use crate::compose::Project;
use crate::{Error, Result, State};
use std::thread::sleep;
use std::time::{Duration, Instant};

const READY_LIMIT: Duration = Duration::from_secs(180);

pub(crate) fn project(name: &str, ports: Ports) -> Project {
    let variables = [
        ("TRAMLINE_RABBITMQ_PORT", ports.amqp),
        ("TRAMLINE_RABBITMQ_MANAGEMENT_PORT", ports.management()),
    ];
    Project::new(name, "rabbitmq", &variables)
}

/// Starts the container and waits until the broker in it serves clients. One that cannot be started,
/// as when its image cannot be pulled, is absent.
pub(crate) fn up(project: &Project, ports: Ports) -> Result<()> {
    project.up().map_err(|error| PACKAGE.unobtainable(&error))?;
    let deadline = Instant::now() + READY_LIMIT;
    while !is_ready(ports) {
        if Instant::now() >= deadline {
            let (seconds, log) = (READY_LIMIT.as_secs(), project.log());
            return Err(Error::failed(format!(
                "the container of RabbitMQ was not ready within {seconds} s\n{log}"
            )));
        }
        sleep(Duration::from_millis(100));
    }
    Ok(())
}

pub(crate) fn state(project: &Project, ports: Ports) -> State {
    match project.runs() {
        Ok(true) if is_ready(ports) => State::Up(None),
        Ok(true) => State::NotReady(None),
        Ok(false) | Err(_) => State::Stopped,
    }
}

fn is_ready(ports: Ports) -> bool {
    // Inside it is the usual port.
    let path = "/api/health/checks/port-listener/5672";
    Management::on_loopback(ports).ask("GET", path, "").is_ok_and(|answer| answer.status == 200)
}
