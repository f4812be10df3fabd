//! The floors of the workspace: an arrow from crate to crate may only point down.

use serde_json::Value;

const FLOORS: [&[&str]; 5] = [
    &["tramline-core"],
    &[
        "tramline-memory",
        "tramline-sqlite",
        "tramline-postgres",
        "tramline-postgres",
        "tramline-rabbitmq",
        "tramline-kafka",
        "tramline-servicebus",
        CONFORMANCE,
    ],
    &["tramline"],
    &["tramline-ops"],
    &["orders", "tramline-benches", "tramline-cli", "tramline-crash"],
];

/// The suite that every driver is tested with, so that drivers may need it for their tests.
const CONFORMANCE: &str = "tramline-conformance";

/// Stands beside the floors: it links no crate on them and none links it.
const BESIDE: &str = "xtask";

/// Stands there too, for everybody's tests, and as a part of what tests and measures with brokers.
const SERVICES: &str = "tramline-services";
const TESTING: [&str; 3] = [BESIDE, "tramline-benches", "tramline-crash"];

#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) dependencies: Vec<Dependency>,
}

#[derive(Debug)]
pub(crate) struct Dependency {
    name: String,
    for_tests_only: bool,
}

/// Reads the packages from the output of `cargo metadata`.
pub(crate) fn packages(metadata: &[u8]) -> Vec<Package> {
    let metadata: Value = serde_json::from_slice(metadata).expect("cargo's metadata are JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let dependency = |value: &Value| Dependency {
        name: text(&value["name"]),
        for_tests_only: value["kind"] == "dev",
    };
    let package = |value: &Value| Package {
        name: text(&value["name"]),
        dependencies: list(&value["dependencies"]).iter().map(dependency).collect(),
    };
    list(&metadata["packages"]).iter().map(package).collect()
}

/// Every crate without a floor and every arrow that does not point down.
pub(crate) fn offenders(packages: &[Package]) -> Vec<String> {
    let homeless = packages
        .iter()
        .filter(|package| ![BESIDE, SERVICES].contains(&package.name.as_str()))
        .filter(|package| floor(&package.name).is_none())
        .map(|package| format!("{} is on no floor; give it one in this test", package.name));
    let arrows = packages.iter().flat_map(|package| {
        let inside = |name: &str| packages.iter().any(|package| package.name == name);
        let used = package.dependencies.iter().filter(move |used| inside(&used.name));
        used.filter_map(|used| upward(&package.name, used))
    });
    homeless.chain(arrows).collect()
}

/// Why one crate may not depend on another of the workspace, if it may not.
fn upward(from: &str, to: &Dependency) -> Option<String> {
    if to.name == SERVICES && (to.for_tests_only || TESTING.contains(&from)) {
        return None;
    }
    for beside in [BESIDE, SERVICES] {
        if from == beside || to.name == beside {
            return Some(format!("{from} -> {} ({beside} stands beside the floors)", to.name));
        }
    }
    if to.for_tests_only && to.name == CONFORMANCE {
        return None;
    }
    // A crate without a floor is an offender of its own.
    let (above, below) = (floor(from)?, floor(&to.name)?);
    (above <= below).then(|| format!("{from} -> {} (floor {above} to floor {below})", to.name))
}

fn floor(name: &str) -> Option<usize> {
    FLOORS.iter().position(|crates| crates.contains(&name))
}

mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[(&str, bool)]) -> Package {
        let dependency = |&(name, for_tests_only): &(&str, bool)| Dependency {
            name: String::from(name),
            for_tests_only,
        };
        let dependencies = dependencies.iter().map(dependency).collect();
        Package { name: name.to_owned(), dependencies }
    }

    fn found(name: &str, dependencies: &[(&str, bool)]) -> Vec<String> {
        let mut packages: Vec<Package> =
            FLOORS.concat().iter().map(|name| package(name, &[])).collect();
        packages.extend([BESIDE, SERVICES].map(|name| package(name, &[])));
        packages.retain(|package| package.name != name);
        packages.push(package(name, dependencies));
        offenders(&packages)
    }

    #[test]
    fn arrows_down_and_arrows_out_of_the_workspace_are_fine() {
        assert_eq!(found("tramline", &[("tramline-sqlite", false), ("serde", false)]), [""; 0]);
        assert_eq!(found("orders", &[("tramline", false), ("tramline-core", true)]), [""; 0]);
    }

    #[test]
    fn arrows_up_and_along_a_floor_are_all_listed() {
        let wrong = found(
            "tramline-memory",
            &[("tramline", true), ("tramline-core", false), ("tramline-sqlite", false)],
        );
        let expected = [
            "tramline-memory -> tramline (floor 1 to floor 2)",
            "tramline-memory -> tramline-sqlite (floor 1 to floor 1)",
        ];
        assert_eq!(wrong, expected);
    }

    #[test]
    fn the_conformance_suite_may_be_needed_by_tests_alone() {
        assert_eq!(found("tramline-sqlite", &[(CONFORMANCE, true)]), [""; 0]);
        let wrong = found("tramline-sqlite", &[(CONFORMANCE, false)]);
        assert_eq!(wrong, ["tramline-sqlite -> tramline-conformance (floor 1 to floor 1)"]);
    }

    #[test]
    fn a_crate_on_no_floor_is_named() {
        let wrong = found("tramline-nats", &[("tramline-core", false)]);
        assert_eq!(wrong, ["tramline-nats is on no floor; give it one in this test"]);
    }

    #[test]
    fn no_arrow_leads_from_or_to_what_stands_beside() {
        assert_eq!(found(BESIDE, &[("tramline-core", true)]).len(), 1);
        assert_eq!(found("orders", &[(BESIDE, false)]).len(), 1);
    }

    #[test]
    fn the_servers_are_for_tests_and_for_what_tests_and_use_nothing_themselves() {
        assert_eq!(found("tramline-rabbitmq", &[(SERVICES, true)]), [""; 0]);
        for testing in TESTING {
            assert_eq!(found(testing, &[(SERVICES, false)]), [""; 0]);
        }
        let wrong = found("tramline", &[(SERVICES, false)]);
        let why = "(tramline-services stands beside the floors)";
        assert_eq!(wrong, [format!("tramline -> tramline-services {why}")]);
        let wrong = found(SERVICES, &[("tramline-core", true)]);
        assert_eq!(wrong, [format!("tramline-services -> tramline-core {why}")]);
    }

    #[test]
    fn cargo_metadata_are_read_with_the_kind_of_each_dependency() {
        let metadata = br#"{"packages": [{"name": "tramline", "dependencies": [
            {"name": "tramline-core", "kind": null}, {"name": "tempfile", "kind": "dev"}]}]}"#;
        let packages = packages(metadata);
        assert_eq!(packages[0].name, "tramline");
        let kinds: Vec<(&str, bool)> = packages[0]
            .dependencies
            .iter()
            .map(|used| (used.name.as_str(), used.for_tests_only))
            .collect();
        assert_eq!(kinds, [("tramline-core", false), ("tempfile", true)]);
    }
}
