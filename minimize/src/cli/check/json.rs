//! The report for machines. The form is described in the book, `reference/btf-minimize.md`, and only grows.

use btf_minimize::check::Verdict;
use serde::Serialize;

use super::matrix::{Matrix, ObjectRows, Outcome, verdict_name};
use crate::cli::telling::Told;

#[derive(Serialize)]
struct Document<'m> {
    format: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<u64>,
    works: bool,
    kernels: Vec<KernelEntry<'m>>,
    objects: Vec<ObjectEntry<'m>>,
}

#[derive(Serialize)]
struct KernelEntry<'m> {
    kernel: &'m str,
    #[serde(skip_serializing_if = "Option::is_none")]
    build_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    /// Whether the kernel carries BTF itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    own_btf: Option<bool>,
    required: bool,
    works: bool,
}

#[derive(Serialize)]
struct ObjectEntry<'m> {
    object: String,
    relocations: Vec<RelocationEntry<'m>>,
    programs: Vec<ProgramEntry<'m>>,
}

#[derive(Serialize)]
struct RelocationEntry<'m> {
    #[serde(flatten)]
    told: &'m Told,
    /// Along the kernels, in their order.
    runs: Vec<Run<'m>>,
}

#[derive(Serialize)]
struct Run<'m> {
    from: &'m str,
    to: &'m str,
    kernels: usize,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Serialize)]
struct ProgramEntry<'m> {
    program: &'m str,
    section: &'m str,
    /// Indices into the object's relocations.
    relocations: &'m [usize],
    /// By kernel, in the order of `kernels`.
    on: Vec<ProgramOn>,
}

#[derive(Serialize)]
struct ProgramOn {
    outcome: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<ProblemEntry>,
}

#[derive(Serialize)]
struct ProblemEntry {
    certain: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    relocation: Option<usize>,
    problem: String,
}

pub(super) fn write(matrix: &Matrix<'_>) -> anyhow::Result<String> {
    let works = |kernel: usize| matrix.objects.iter().all(|object| object.outcome(kernel) < Outcome::Fails);
    let kernels = matrix.kernels.iter().enumerate().map(|(index, kernel)| KernelEntry {
        kernel: &kernel.name,
        build_id: kernel.record.as_ref().and_then(|record| record.build_id).map(|id| id.to_string()),
        digest: kernel.record.as_ref().map(|record| record.digest.to_string()),
        own_btf: kernel.own_btf(),
        required: matrix.required[index],
        works: works(index),
    });
    let document = Document {
        format: 1,
        snapshot: matrix.snapshot,
        works: matrix.works_where_required(),
        kernels: kernels.collect(),
        objects: matrix.objects.iter().map(|object| entry(matrix, object)).collect(),
    };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn entry<'m>(matrix: &'m Matrix<'_>, object: &'m ObjectRows<'_>) -> ObjectEntry<'m> {
    let relocations = object.relocations.iter().enumerate().map(|(index, told)| {
        let runs = object.runs(index).into_iter().map(|(first, last, verdict)| Run {
            from: &matrix.kernels[first].name,
            to: &matrix.kernels[last].name,
            kernels: last - first + 1,
            verdict: verdict_name(verdict),
            value: match verdict {
                Verdict::Holds { value } => Some(*value),
                Verdict::Absent => Some(0),
                _ => None,
            },
            reason: match verdict {
                Verdict::Fails(reason) => Some(reason.to_string()),
                _ => None,
            },
        });
        RelocationEntry { told, runs: runs.collect() }
    });
    let programs = object.programs.iter().map(|program| {
        let on = (0..matrix.kernels.len()).map(|kernel| {
            let problems = object.problems(program, kernel);
            let entries = problems.iter().map(|problem| ProblemEntry {
                certain: problem.certain,
                relocation: match problem.lack {
                    btf_minimize::check::Lack::Relocation(index) => Some(index),
                    _ => None,
                },
                problem: object.tell(problem, kernel),
            });
            ProgramOn { outcome: Outcome::of(problems).as_str(), problems: entries.collect() }
        });
        ProgramEntry {
            program: program.name,
            section: program.section,
            relocations: program.relocations,
            on: on.collect(),
        }
    });
    ObjectEntry {
        object: object.path.display().to_string(),
        relocations: relocations.collect(),
        programs: programs.collect(),
    }
}
