//! The report as one page without anything from elsewhere: kernels across, programs and relocations down.

use std::collections::HashMap;
use std::fmt::Write as _;

use btf_minimize::check::Verdict;

use super::matrix::{Matrix, ObjectRows, Outcome, verdict_name};
use crate::cli::kernels::KernelName;

const STYLE: &str = "
:root { color-scheme: light dark; --good: #2e7d4f; --fine: #8fae98; --guard: #b58a1b; --bad: #c0392b; --line: #8884; --back: Canvas; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem; color: CanvasText; background: Canvas; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; overflow-wrap: anywhere; }
.scroll { overflow: auto; max-height: 85vh; border: 1px solid var(--line); }
table { border-collapse: collapse; font-size: 13px; }
th, td { border: 1px solid var(--line); padding: 2px 6px; text-align: left; white-space: nowrap; }
thead th { position: sticky; top: 0; background: var(--back); vertical-align: bottom; z-index: 2; }
tbody th { position: sticky; left: 0; background: var(--back); font-weight: normal; z-index: 1; max-width: 34rem; overflow: hidden; text-overflow: ellipsis; }
thead th.k { writing-mode: vertical-rl; transform: rotate(180deg); font-weight: normal; padding: 6px 2px; }
td { text-align: center; color: #fff; font-variant-numeric: tabular-nums; }
.holds, .works { background: var(--good); } .absent { background: var(--fine); color: #111; } .guarded, .may-fail { background: var(--guard); }
.poisons, .fails { background: var(--bad); font-weight: bold; } .new { border-left: 3px solid CanvasText; }
td.since { color: CanvasText; text-align: left; vertical-align: top; } td.since ul { margin: 2px 0; padding-left: 1.1em; } summary { cursor: pointer; }
.key { display: flex; flex-wrap: wrap; gap: 6px 8px; } .key span { padding: 1px 7px; color: #fff; border-radius: 3px; } .key .absent { color: #111; }
small { opacity: .75; }
@media (max-width: 700px) {
  body { margin: .75rem; }
  tbody th { max-width: 42vw; white-space: normal; overflow-wrap: anywhere; } td.since ul { max-width: 60vw; overflow-x: auto; }
}
";

pub(super) fn write(matrix: &Matrix<'_>) -> String {
    let mut out = String::from("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    let count = matrix.kernels.len();
    let good = (0..count)
        .filter(|&kernel| matrix.objects.iter().all(|object| object.outcome(kernel) < Outcome::Fails))
        .count();
    let _ =
        write!(out, "<title>{good} of {count} kernels: BPF compatibility</title>\n<style>{STYLE}</style>\n");
    let _ = write!(out, "<h1>All programs work on {good} of {count} kernels</h1>\n<p class=\"key\">");
    for (class, text) in [
        ("holds", "holds"),
        ("absent", "asked for, not there"),
        ("guarded", "not there, a check stands before it; may fail"),
        ("poisons", "not there, and the program fails"),
    ] {
        let _ = write!(out, "<span class=\"{class}\">{text}</span>");
    }
    out.push_str("</p>\n<p><small>A thick line on the left of a cell: something changed from the kernel before, of the same distribution and architecture. Point at a cell for more.</small></p>\n");
    for object in &matrix.objects {
        write_object(&mut out, matrix, object);
    }
    out.push_str("</html>\n");
    out
}

fn write_object(out: &mut String, matrix: &Matrix<'_>, object: &ObjectRows<'_>) {
    let _ = writeln!(
        out,
        "<h2>{}</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">Program, relocation<th scope=\"col\">Changed since",
        escape(&object.path.display().to_string())
    );
    for (kernel, required) in matrix.kernels.iter().zip(&matrix.required) {
        let mark = if *required { "" } else { " (not required)" };
        let _ = write!(out, "<th scope=\"col\" class=\"k\">{}{mark}", escape(&kernel.name));
    }
    out.push_str("</thead>\n<tbody>\n");
    let before = predecessors(matrix);
    for program in &object.programs {
        let (name, section) = (escape(program.name), escape(program.section));
        let _ = write!(out, "<tr><th scope=\"row\"><b>{name}</b> <small>{section}</small>");
        let outcomes: Vec<_> =
            (0..matrix.kernels.len()).map(|kernel| Outcome::of(object.problems(program, kernel))).collect();
        write_changes(out, matrix, &before, &outcomes, |outcome| outcome.as_str().replace('-', " "));
        for kernel in 0..matrix.kernels.len() {
            let problems = object.problems(program, kernel);
            let outcome = Outcome::of(problems);
            let told: Vec<String> = problems.iter().map(|problem| object.tell(problem, kernel)).collect();
            let title =
                escape(&format!("{}: {}\n{}", program.name, matrix.kernels[kernel].name, told.join("\n")));
            let sign = match outcome {
                Outcome::Works => "✓",
                Outcome::MayFail => "?",
                Outcome::Fails => "✗",
            };
            let new =
                if before[kernel].is_some_and(|before| outcomes[before] != outcome) { " new" } else { "" };
            let _ = write!(out, "<td class=\"{}{new}\" title=\"{title}\">{sign}", outcome.as_str());
        }
        out.push('\n');
    }
    for (index, told) in object.relocations.iter().enumerate() {
        let (what, kind) = (escape(&told.what), escape(&told.kind));
        let place =
            escape(&format!("{} {}", told.function.as_deref().unwrap_or_default(), told.short_source()));
        let _ = write!(out, "<tr><th scope=\"row\" title=\"{place}\">{what} <small>{kind} {place}</small>");
        let verdicts: Vec<&Verdict> =
            object.reports.iter().map(|report| &report.relocations[index]).collect();
        write_changes(out, matrix, &before, &verdicts, |verdict| match verdict {
            Verdict::Holds { value } => value.to_string(),
            verdict => verdict_name(verdict).to_owned(),
        });
        for (kernel, &verdict) in verdicts.iter().enumerate() {
            let new =
                if before[kernel].is_some_and(|before| verdicts[before] != verdict) { " new" } else { "" };
            let (sign, more) = match verdict {
                Verdict::Holds { value } => (value.to_string(), String::new()),
                Verdict::Absent => ("–".to_owned(), String::new()),
                Verdict::Guarded => ("!".to_owned(), String::new()),
                Verdict::Poisons => ("✗".to_owned(), String::new()),
                Verdict::Fails(reason) => ("✗".to_owned(), format!(": {reason}")),
            };
            let title = escape(&format!(
                "{}: {}{more}\n{}",
                told.what,
                verdict_name(verdict),
                matrix.kernels[kernel].name
            ));
            let _ = write!(out, "<td class=\"{}{new}\" title=\"{title}\">{sign}", verdict_name(verdict));
        }
        out.push('\n');
    }
    out.push_str("</tbody></table></div>\n");
}

/// For each kernel the one before it, of the same distribution and architecture.
fn predecessors(matrix: &Matrix<'_>) -> Vec<Option<usize>> {
    let mut last = HashMap::new();
    let group =
        |kernel: &KernelName| kernel.key().map(|key| (key.distro().to_owned(), key.arch().to_owned()));
    matrix.kernels.iter().enumerate().map(|(index, kernel)| last.insert(group(kernel), index)).collect()
}

/// The cell that says since which kernels something is otherwise than before.
fn write_changes<T: PartialEq>(
    out: &mut String,
    matrix: &Matrix<'_>,
    before: &[Option<usize>],
    values: &[T],
    tell: impl Fn(&T) -> String,
) {
    let changes: Vec<String> = (0..values.len())
        .filter_map(|kernel| Some((kernel, before[kernel]?)))
        .filter(|&(kernel, before)| values[kernel] != values[before])
        .map(|(kernel, before)| {
            let (was, is) = (tell(&values[before]), tell(&values[kernel]));
            escape(&format!("{}: {was} → {is}", matrix.kernels[kernel].name))
        })
        .collect();
    out.push_str("<td class=\"since\">");
    match &changes[..] {
        [] => {}
        [change] => out.push_str(change),
        changes => {
            let _ = write!(out, "<details><summary>{} changes</summary><ul>", changes.len());
            changes.iter().for_each(|change| {
                let _ = write!(out, "<li>{change}");
            });
            out.push_str("</ul></details>");
        }
    }
}

/// Text as HTML has it, in elements and in attributes: names in BTF are whatever somebody put there.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
