//! `btfgen kernels --list-distros`: the definitions, as they were understood.

use std::fmt::Write as _;
use std::process::ExitCode;

use btfgen::distro::{Distros, PinnedKeys, Repository};
use serde::Serialize;

use super::repository::print;

/// One distribution in the output.
#[derive(Serialize)]
struct Row<'d> {
    id: &'d str,
    name: &'d str,
    /// Whether it is built in.
    shipped: bool,
    architectures: Vec<&'d str>,
    /// Packages on which the definition was tried.
    examples: usize,
    versions: Vec<Version<'d>>,
}

#[derive(Serialize)]
struct Version<'d> {
    version: &'d str,
    repositories: Vec<Repo<'d>>,
}

#[derive(Serialize)]
struct Repo<'d> {
    name: &'d str,
    kind: &'static str,
    addresses: &'d [String],
    /// Who vouches for its index.
    index: &'static str,
    /// Who vouches for its packages.
    packages: &'static str,
}

pub(super) fn list(distros: &Distros, json: bool) -> anyhow::Result<ExitCode> {
    let rows: Vec<Row<'_>> = distros
        .all()
        .iter()
        .map(|distro| Row {
            id: &distro.id,
            name: &distro.name,
            shipped: distro.shipped,
            architectures: distro.architectures.iter().map(|(own, _)| own.as_str()).collect(),
            examples: distro.examples(),
            versions: distro
                .releases
                .iter()
                .map(|release| Version {
                    version: &release.version,
                    repositories: release.repositories.iter().map(repo).collect(),
                })
                .collect(),
        })
        .collect();
    if json {
        print(&(serde_json::to_string_pretty(&serde_json::json!({ "distros": rows }))? + "\n"))?;
    } else {
        print(&text(&rows))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn repo(repository: &Repository) -> Repo<'_> {
    let keys = |keys: &Option<PinnedKeys>| match keys {
        None => "unsigned",
        Some(keys) if keys.installed().is_some() => "signed",
        Some(_) => "signed, but the keys are not on this machine",
    };
    Repo {
        name: &repository.name,
        kind: repository.kind.as_str(),
        addresses: &repository.addresses,
        index: keys(&repository.index_keys),
        packages: keys(&repository.package_keys),
    }
}

/// A line for each distribution; with repositories for those that are the user's own.
fn text(rows: &[Row<'_>]) -> String {
    let mut out = String::new();
    for row in rows {
        let versions: Vec<&str> = row.versions.iter().map(|version| version.version).collect();
        let _ = writeln!(out, "{:20} {} ({})", row.id, row.name, row.architectures.join(", "));
        let _ = writeln!(out, "{:20} {}", "", versions.join(", "));
        for version in row.versions.iter().filter(|_| !row.shipped) {
            for Repo { name, kind, addresses, index, packages } in &version.repositories {
                let _ = writeln!(
                    out,
                    "{:20}   {}: {name}: {kind}, index {index}, packages {packages}",
                    "", version.version
                );
                for address in *addresses {
                    let _ = writeln!(out, "{:20}     {address}", "");
                }
            }
        }
    }
    out
}
