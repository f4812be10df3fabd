//! Where the workspace is, and how cargo is called in it.

use serde_json::Value;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

pub(crate) struct Workspace {
    root: PathBuf,
    cargo: PathBuf,
    /// What the programs that cargo runs are told beside their environment.
    told: Vec<(String, String)>,
}

/// Where tests learn what they must not pass over: servers with commas between them, or with `all`
/// nothing that they are there to show.
const REQUIRE: &str = "TRAMLINE_REQUIRE";

/// A program that cargo has built.
#[derive(Debug, PartialEq)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

impl Workspace {
    /// The workspace this xtask was started in, as cargo tells it.
    pub(crate) fn here() -> Result<Self, String> {
        let told = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .ok_or_else(|| format!("{name} is not set; start it as `cargo xtask`"))
        };
        let package = told("CARGO_MANIFEST_DIR")?;
        let root = package
            .parent()
            .ok_or_else(|| format!("failed to find the workspace above {}", package.display()))?;
        Ok(Self { root: root.to_owned(), cargo: told("CARGO")?, told: Vec::new() })
    }

    /// Tests that cannot show here what they are there for now fail, if they need one of these.
    pub(crate) fn require(&mut self, names: &[String]) {
        if !names.is_empty() {
            self.tell(REQUIRE, &names.join(","));
        }
    }

    /// Tells a variable to all that cargo runs from now on.
    pub(crate) fn tell(&mut self, variable: &str, value: &str) {
        self.told.push((variable.to_owned(), value.to_owned()));
    }

    /// What programs are told beside their environment, for those that cargo does not start.
    pub(crate) fn told(&self) -> impl Iterator<Item = (&str, &str)> {
        self.told.iter().map(|(variable, value)| (variable.as_str(), value.as_str()))
    }

    /// Whether programs know `variable`, from here or from the user.
    pub(crate) fn is_told(&self, variable: &str) -> bool {
        let by_user = || std::env::var_os(variable).is_some_and(|value| !value.is_empty());
        self.told().any(|(told, _)| told == variable) || by_user()
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A cargo command that will run at the workspace's root, in the terminal's foreground, so
    /// that Ctrl-C ends it too.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(&self.cargo);
        command.current_dir(&self.root).envs(self.told.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The same in the workspace of the fuzz targets, whose crates are compiled as `cargo fuzz` does.
    pub(crate) fn fuzz_cargo(&self) -> Command {
        let mut command = self.cargo();
        command.current_dir(self.root.join("fuzz")).env("RUSTFLAGS", "--cfg fuzzing");
        command
    }

    /// Becomes what `line` says to cargo, in the folder the user stands in, where relative paths
    /// mean what they meant to the user. Whoever ends this process has ended that one.
    pub(crate) fn hand_over(&self, line: Vec<OsString>, what: &str) -> Result<ExitCode, String> {
        let mut command = self.cargo();
        let error = command.current_dir(".").args(line).exec();
        Err(format!("failed to start cargo for {what}: {error}"))
    }

    /// Builds what the arguments select and returns every program among it.
    pub(crate) fn build(&self, arguments: &[&str]) -> Result<Vec<Program>, String> {
        let line = format!("cargo build {}", arguments.join(" "));
        let built = self
            .cargo()
            .args(["build", "--quiet", "--message-format=json-render-diagnostics"])
            .args(arguments)
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("failed to start `{line}`: {error}"))?;
        if !built.status.success() {
            return Err(format!("`{line}` failed; its errors are above"));
        }
        Ok(String::from_utf8_lossy(&built.stdout).lines().filter_map(program).collect())
    }
}

/// Runs `command` in the terminal's foreground and ends with its exit code.
pub(crate) fn exit_code(command: &mut Command, what: &str) -> Result<ExitCode, String> {
    let status =
        command.status().map_err(|error| format!("failed to start cargo for {what}: {error}"))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// The program that one line of cargo's JSON messages announces, if it announces one.
fn program(line: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(line).ok()?;
    let path = message.get("executable")?.as_str()?;
    let name = message.pointer("/target/name")?.as_str()?;
    Some(Program { name: name.to_owned(), path: path.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_told_what_they_must_not_pass_over() {
        let told = |names: &[&str]| {
            let mut workspace = Workspace::here().unwrap();
            workspace.require(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
            let command = workspace.cargo();
            let mut envs = command.get_envs();
            let value = envs.find_map(|(name, value)| (name == REQUIRE).then_some(value))?;
            value.map(|value| value.to_string_lossy().into_owned())
        };
        assert_eq!(told(&[]), None);
        assert_eq!(told(&["all"]), Some("all".to_owned()));
        assert_eq!(told(&["kafka", "rabbitmq"]), Some("kafka,rabbitmq".to_owned()));
    }

    #[test]
    fn a_message_about_an_executable_announces_a_program() {
        let line = r#"{"reason":"compiler-artifact","target":{"name":"orders","kind":["bin"]},
            "executable":"somewhere/release/orders"}"#;
        let path = PathBuf::from("somewhere/release/orders");
        assert_eq!(program(line), Some(Program { name: "orders".to_owned(), path }));
    }

    #[test]
    fn a_message_about_a_library_announces_no_program() {
        let line = r#"{"reason":"compiler-artifact","target":{"name":"core"},"executable":null}"#;
        assert_eq!(program(line), None);
        assert_eq!(program(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(program("no JSON at all"), None);
    }
}
