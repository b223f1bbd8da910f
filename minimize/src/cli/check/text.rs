//! The report for a terminal: what works where, and what stands in the way, each reason once.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use btf_minimize::check::Verdict;

use super::matrix::{Matrix, ObjectRows, Outcome};
use crate::cli::telling::plural;

/// Kernels named for one reason; the rest are counted.
const NAMED: usize = 5;

pub(super) fn write(matrix: &Matrix<'_>) -> String {
    let mut out = String::new();
    for object in &matrix.objects {
        write_object(&mut out, matrix, object);
    }
    let count = matrix.kernels.len();
    let good = (0..count)
        .filter(|&kernel| matrix.objects.iter().all(|object| object.outcome(kernel) < Outcome::Fails));
    let required = matrix.required.iter().filter(|required| **required).count();
    let of_required =
        if required == count { String::new() } else { format!(", {required} of them required") };
    let _ =
        writeln!(out, "all programs work on {} of {}{of_required}", good.count(), plural(count, "kernel"));
    out
}

fn write_object(out: &mut String, matrix: &Matrix<'_>, object: &ObjectRows<'_>) {
    let (relocations, programs) =
        (plural(object.relocations.len(), "relocation"), plural(object.programs.len(), "program"));
    let _ = writeln!(out, "{}: {relocations}, {programs}", object.path.display());
    for program in &object.programs {
        let mut reasons: BTreeMap<(Outcome, String), Vec<usize>> = BTreeMap::new();
        let mut works = 0;
        for kernel in 0..matrix.kernels.len() {
            let problems = object.problems(program, kernel);
            works += usize::from(Outcome::of(problems) < Outcome::Fails);
            for problem in problems {
                let outcome = if problem.certain { Outcome::Fails } else { Outcome::MayFail };
                let kernels = reasons.entry((outcome, object.tell(problem, kernel))).or_default();
                if kernels.last() != Some(&kernel) {
                    kernels.push(kernel);
                }
            }
        }
        let _ = writeln!(
            out,
            "  {} ({}): works on {works} of {}",
            program.name,
            program.section,
            matrix.kernels.len()
        );
        for ((outcome, reason), kernels) in reasons.iter().rev() {
            let word = if *outcome == Outcome::Fails { "fails" } else { "may fail" };
            let _ = writeln!(out, "    {word}: {reason}");
            let _ = writeln!(out, "      on {}", named(matrix, kernels));
        }
    }
    let guarded: Vec<_> = (0..object.relocations.len())
        .filter_map(|index| {
            let kernels: Vec<usize> = (0..matrix.kernels.len())
                .filter(|&kernel| object.reports[kernel].relocations[index] == Verdict::Guarded)
                .collect();
            (!kernels.is_empty()).then_some((index, kernels))
        })
        .collect();
    if !guarded.is_empty() {
        let _ = writeln!(out, "  not there, and not reached there, for a check stands before it:");
        for (index, kernels) in guarded {
            let told = &object.relocations[index];
            let function = told.function.as_deref().unwrap_or_default();
            let _ = writeln!(out, "    {} {} ({function} {})", told.kind, told.what, told.short_source());
            let _ = writeln!(out, "      on {}", named(matrix, &kernels));
        }
    }
}

/// Some kernels by name, the rest by number.
fn named(matrix: &Matrix<'_>, kernels: &[usize]) -> String {
    if kernels.len() == matrix.kernels.len() && kernels.len() > 1 {
        return format!("all {} kernels", kernels.len());
    }
    let names: Vec<&str> =
        kernels.iter().take(NAMED).map(|&kernel| matrix.kernels[kernel].name.as_str()).collect();
    let more = kernels.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", names.join(", "))
}
