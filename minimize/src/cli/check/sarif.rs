//! The report for code review: SARIF 2.1.0 (OASIS), one result for each reason and program, at the source line of the relocation.

use std::collections::BTreeMap;

use btf_minimize::check::Lack;
use serde_json::{Value, json};

use super::matrix::{Matrix, ObjectRows, Outcome};

/// Rules: identifier, and what it means.
const RULES: [(&str, &str); 8] = [
    ("relocation", "A CO-RE relocation has no answer on a kernel, and the program reaches it"),
    ("attach-target", "What the program is attached to is not in a kernel"),
    ("own-btf", "The program needs a kernel that carries BTF itself"),
    ("program-type", "A kernel does not know this type of program"),
    ("helper", "A kernel does not have a helper function"),
    ("kernel-function", "A kernel does not have a kernel function"),
    ("map-type", "A kernel does not know a type of map"),
    ("configuration", "A kernel's configuration lacks a value"),
];

fn rule(lack: &Lack) -> &'static str {
    match lack {
        Lack::Relocation(_) => "relocation",
        Lack::Target(_) => "attach-target",
        Lack::OwnBtf { .. } => "own-btf",
        Lack::ProgramType(_) => "program-type",
        Lack::Helper(_) => "helper",
        Lack::KernelFunction(_) => "kernel-function",
        Lack::MapType { .. } => "map-type",
        Lack::Config(_) => "configuration",
    }
}

pub(super) fn write(matrix: &Matrix<'_>) -> anyhow::Result<String> {
    let results: Vec<Value> = matrix.objects.iter().flat_map(|object| results(matrix, object)).collect();
    let rules: Vec<Value> =
        RULES.iter().map(|(id, text)| json!({"id": id, "shortDescription": {"text": text}})).collect();
    let driver = json!({
        "name": "btf-minimize",
        "version": env!("CARGO_PKG_VERSION"),
        "rules": rules,
    });
    let document = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    });
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

/// One reason for which a program fails, and where.
#[derive(Default)]
struct Finding<'m> {
    relocation: Option<usize>,
    /// On a kernel that is required.
    certain: bool,
    kernels: Vec<&'m str>,
}

fn results(matrix: &Matrix<'_>, object: &ObjectRows<'_>) -> Vec<Value> {
    // By program, rule and message.
    let mut found: BTreeMap<(&str, &str, String), Finding<'_>> = BTreeMap::new();
    for (kernel, name) in matrix.kernels.iter().enumerate() {
        for program in &object.programs {
            for problem in object.problems(program, kernel) {
                let relocation = match problem.lack {
                    Lack::Relocation(index) => Some(index),
                    _ => None,
                };
                let key = (program.name, rule(&problem.lack), object.tell(problem, kernel));
                let finding = found.entry(key).or_default();
                finding.relocation = relocation;
                finding.certain |=
                    Outcome::of(std::slice::from_ref(problem)) == Outcome::Fails && matrix.required[kernel];
                finding.kernels.push(&name.name);
            }
        }
    }
    let results = found.into_iter().map(|((program, rule, message), finding)| {
        let Finding { relocation, certain, kernels } = finding;
        let source = relocation.and_then(|index| object.relocations[index].source.as_deref());
        let location = match source.and_then(|source| source.rsplit_once(':')) {
            Some((file, line)) => json!({
                "artifactLocation": {"uri": uri(file)},
                "region": {"startLine": line.parse::<u32>().unwrap_or(1).max(1)},
            }),
            None => json!({"artifactLocation": {"uri": uri(&object.path.display().to_string())}}),
        };
        let count = kernels.len();
        let first = kernels.first().copied().unwrap_or_default();
        let others = if count > 1 { format!(" and {} others", count - 1) } else { String::new() };
        json!({
            "ruleId": rule,
            "level": if certain { "error" } else { "warning" },
            "message": {"text": format!("{program}: {message}; on {first}{others}")},
            "locations": [{"physicalLocation": location, "logicalLocations": [{"name": program, "kind": "function"}]}],
            "properties": {"kernels": kernels},
        })
    });
    results.collect()
}

/// A path as a URI: relative ones stay relative.
fn uri(path: &str) -> String {
    let mut out = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
