//! What was found, as all forms of the report need it: kernels across, relocations and programs down.

use std::path::Path;

use btf_minimize::check::{Checker, Lack, Problem, Report, Verdict};

use crate::cli::kernels::KernelName;
use crate::cli::telling::Told;

/// Everything that was found.
pub(super) struct Matrix<'m> {
    pub(super) kernels: &'m [KernelName],
    pub(super) snapshot: Option<u64>,
    /// For each kernel, whether every program must work on it.
    pub(super) required: Vec<bool>,
    pub(super) objects: Vec<ObjectRows<'m>>,
}

/// One object's part.
pub(super) struct ObjectRows<'m> {
    pub(super) path: &'m Path,
    pub(super) relocations: Vec<Told>,
    pub(super) programs: Vec<ProgramRow<'m>>,
    /// By kernel.
    pub(super) reports: Vec<&'m Report>,
}

/// One program.
pub(super) struct ProgramRow<'m> {
    pub(super) name: &'m str,
    pub(super) section: &'m str,
    /// Its relocations, by index.
    pub(super) relocations: &'m [usize],
    /// Its index in the reports.
    index: usize,
}

/// What becomes of a program on a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Works,
    MayFail,
    Fails,
}

impl Outcome {
    pub(super) fn of(problems: &[Problem]) -> Outcome {
        let worst =
            problems.iter().map(|problem| if problem.certain { Outcome::Fails } else { Outcome::MayFail });
        worst.max().unwrap_or(Outcome::Works)
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Outcome::Works => "works",
            Outcome::MayFail => "may-fail",
            Outcome::Fails => "fails",
        }
    }
}

impl<'m> ObjectRows<'m> {
    pub(super) fn new(
        path: &'m Path,
        checker: &'m Checker<'_>,
        reports: Vec<&'m Report>,
        wanted: &[String],
    ) -> Self {
        let object = checker.object();
        let relocations = object.relocations().iter().map(|relocation| Told::new(object, relocation, None));
        let programs = checker.programs().iter().enumerate().map(|(index, program)| ProgramRow {
            name: program.name,
            section: program.section,
            relocations: &program.relocations,
            index,
        });
        let chosen = |program: &ProgramRow<'_>| {
            wanted.is_empty() || wanted.iter().any(|name| name == program.name || name == program.section)
        };
        ObjectRows {
            path,
            relocations: relocations.collect(),
            programs: programs.filter(chosen).collect(),
            reports,
        }
    }

    /// What stands in a program's way on a kernel.
    pub(super) fn problems(&self, program: &ProgramRow<'_>, kernel: usize) -> &'m [Problem] {
        &self.reports[kernel].programs[program.index]
    }

    /// What becomes of the object on a kernel: the worst of its programs.
    pub(super) fn outcome(&self, kernel: usize) -> Outcome {
        let outcomes = self.programs.iter().map(|program| Outcome::of(self.problems(program, kernel)));
        outcomes.max().unwrap_or(Outcome::Works)
    }

    /// A problem in words.
    pub(super) fn tell(&self, problem: &Problem, kernel: usize) -> String {
        match &problem.lack {
            Lack::Relocation(index) => {
                let told = &self.relocations[*index];
                let what = match &self.reports[kernel].relocations[*index] {
                    Verdict::Fails(reason) => reason.to_string(),
                    _ => "not in this kernel".to_owned(),
                };
                let source = match told.short_source() {
                    "" => String::new(),
                    source => format!(" ({source})"),
                };
                format!("{} {}{source}: {what}", told.kind, told.what)
            }
            lack => lack.to_string(),
        }
    }

    /// Verdicts on a relocation along the kernels, as runs of equal ones: first and last kernel of each.
    pub(super) fn runs(&self, relocation: usize) -> Vec<(usize, usize, &'m Verdict)> {
        let mut runs: Vec<(usize, usize, &Verdict)> = Vec::new();
        for (kernel, report) in self.reports.iter().enumerate() {
            let verdict = &report.relocations[relocation];
            match runs.last_mut() {
                Some((_, last, same)) if *same == verdict => *last = kernel,
                _ => runs.push((kernel, kernel, verdict)),
            }
        }
        runs
    }
}

/// A verdict's name.
pub(super) fn verdict_name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Holds { .. } => "holds",
        Verdict::Absent => "absent",
        Verdict::Guarded => "guarded",
        Verdict::Poisons => "poisons",
        Verdict::Fails(_) => "fails",
    }
}

impl Matrix<'_> {
    /// Whether every program works on every kernel that is required.
    pub(super) fn works_where_required(&self) -> bool {
        (0..self.kernels.len())
            .filter(|&kernel| self.required[kernel])
            .all(|kernel| self.objects.iter().all(|object| object.outcome(kernel) < Outcome::Fails))
    }
}
