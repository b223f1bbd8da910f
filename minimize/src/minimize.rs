//! Minimising: the smallest part of a kernel's BTF on which every relocation of the objects resolves as on the whole.
//!
//! For each type that an object asks about there are candidates in the kernel, and for each (relocation, candidate) an outcome. Loaders resolve the
//! relocations of those programs that they load, in order, and each one narrows the candidates for the next. So that any subset of programs
//! resolves alike, the outcome of every relocation is kept for every candidate kept, and a candidate is left out only where another one stands in
//! for it (see [`choose`]).
//!
//! First, only what matches are based on is kept. Then everything is resolved against the result. What is left out can in rare cases turn
//! a failed match into a success (a pointer whose target was left out matches `void *`); there, what the failure is based on is kept as well, until
//! nothing differs any more.

use btf::TypeId;

use crate::emit::emit;
use crate::error::{Error, Result};
use crate::keep::Keep;
use crate::kernel::Kernel;
use crate::object::{Object, Root};
use crate::reason::Reason;
use crate::relocation::RelocationKind;
use crate::resolve::{Outcome, Outcomes, allowance, evaluate};
use crate::spec::Spec;
use crate::trace::Log;

/// Most candidates of one type that are compared with each other; any more are simply kept.
const MAX_COMPARED: usize = 16;

/// The minimised BTF of a kernel for some objects.
#[derive(Clone, Debug)]
pub struct Minimized {
    /// The blob, in the kernel's byte order: self-contained, the types in ascending order of their ids in the kernel.
    pub btf: Vec<u8>,
    /// Which type of the kernel each type is, from id 1 on.
    pub types: Vec<TypeId>,
    /// The relocations that cannot be resolved, on the whole BTF as little as on the minimised one.
    pub problems: Vec<Problem>,
}

/// A relocation that cannot be resolved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Index of the object.
    pub object: usize,
    /// Index of the relocation in [`Object::relocations`].
    pub relocation: usize,
    /// Why not.
    pub reason: Reason,
}

/// Keeps of a kernel's BTF what the relocations of these objects need. The same input gives the same bytes.
///
/// # Errors
/// When the kernel's BTF turns out to be damaged; [`Error::SelfCheck`] if the result were wrong. Relocations that cannot be resolved are not errors but told in
/// [`Minimized::problems`].
pub fn minimize(kernel: &Kernel<'_>, objects: &[Object<'_>]) -> Result<Minimized> {
    // Typedefs count in a single respect: loaders give up on a size behind more than 31 of them.
    minimize_as(kernel, objects, true).or_else(|error| match error {
        Error::SelfCheck { .. } => minimize_as(kernel, objects, false),
        error => Err(error),
    })
}

fn minimize_as(kernel: &Kernel<'_>, objects: &[Object<'_>], shorten: bool) -> Result<Minimized> {
    let mut keep = Keep::new(shorten);
    let mut choices = Vec::new();
    let mut problems = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        let mut steps = allowance(object);
        let mut problem = |relocation, reason| problems.push(Problem { object: index, relocation, reason });
        for relocation in 0..object.relocations().len() {
            if let Err(reason) = object.spec(relocation) {
                problem(relocation, reason.clone());
            }
        }
        for root in &object.roots {
            let mut log = Log::default();
            let outcomes = Outcomes::of(kernel, object, root, &mut log, &mut steps);
            outcomes.replay(object, root, |relocation, resolution| {
                if let Err(reason) = resolution {
                    problem(relocation, reason);
                }
            });
            outcomes.check_kernel()?;
            let kept = choose(&outcomes);
            for (candidate, _) in kept.iter().enumerate().filter(|&(_, &kept)| kept) {
                keep.add(kernel, &log.events[outcomes.notes(candidate)])?;
            }
            choices.push(Choice { index, object, root, outcomes, kept });
        }
    }
    problems.sort_by_key(|problem| (problem.object, problem.relocation));
    let (btf, types) = settle(kernel, &mut keep, &choices)?;
    Ok(Minimized { btf, types, problems })
}

/// A root of an object, and the candidates that must be kept for it.
struct Choice<'m, 'a> {
    index: usize,
    object: &'m Object<'a>,
    root: &'m Root<'a>,
    outcomes: Outcomes,
    /// By candidate.
    kept: Vec<bool>,
}

/// A relocation that would resolve otherwise on the minimised BTF.
struct Difference<'m, 'a> {
    choice: &'m Choice<'m, 'a>,
    spec: u32,
    candidate: TypeId,
    full: Outcome,
    minimized: Outcome,
}

/// Writes the blob, resolves everything against it, and keeps more until nothing differs.
fn settle(
    kernel: &Kernel<'_>,
    keep: &mut Keep,
    choices: &[Choice<'_, '_>],
) -> Result<(Vec<u8>, Vec<TypeId>)> {
    loop {
        keep.complete(kernel)?;
        let (blob, ids) = emit(kernel, keep)?;
        let small = Kernel::open(&blob)?;
        let pointer_differs = keep.needs_pointer_size() && small.pointer_size() != kernel.pointer_size();
        let differences = differences(&small, &ids, choices);
        let strays = strays(&small, &ids, choices);
        if differences.is_empty() && strays.is_empty() && !pointer_differs {
            return Ok((blob, ids));
        }
        let before = keep.weight();
        strays.iter().for_each(|&stray| keep.hide(stray));
        if pointer_differs {
            keep.add_long(kernel)?;
        }
        for difference in &differences {
            let mut log = Log { failures: true, ..Log::default() };
            let Difference { choice, spec, candidate, .. } = *difference;
            evaluate(kernel, choice.object, spec, candidate, &mut log, &mut allowance(choice.object));
            keep.add(kernel, &log.events)?;
        }
        if keep.weight() == before {
            let size = kernel.pointer_size();
            return Err(differences.first().map_or(Error::PointerSize { size }, Difference::error));
        }
    }
}

impl Difference<'_, '_> {
    fn error(&self) -> Error {
        let Choice { object, root, .. } = self.choice;
        let of_spec = |&&(_, position): &&(u32, u32)| root.specs[position as usize] == self.spec;
        let relocation = root.sequence.iter().find(of_spec).map(|&(relocation, _)| relocation as usize);
        let relocation = relocation.map(|relocation| object.describe(&object.relocations()[relocation]));
        Error::SelfCheck {
            object: self.choice.index,
            relocation: relocation.unwrap_or_default(),
            full: self.full.to_string(),
            minimized: self.minimized.to_string(),
        }
    }
}

/// What differs between the kernel and its minimised BTF, whose types are `ids` of the kernel.
fn differences<'m, 'a>(
    small: &Kernel<'_>,
    ids: &[TypeId],
    choices: &'m [Choice<'m, 'a>],
) -> Vec<Difference<'m, 'a>> {
    let mut differences = Vec::new();
    for choice in choices {
        let Choice { object, root, outcomes, kept, .. } = choice;
        let mut steps = u64::MAX; // there is less to compare than there was on the whole BTF
        let original = |id: TypeId| ids[id.0 as usize - 1];
        let found: Vec<_> = small.candidates(root.name, root.kind).collect();
        for (at, &candidate) in outcomes.candidates.iter().enumerate() {
            let present = found.binary_search_by_key(&candidate, |&id| original(id)).ok().map(|at| found[at]);
            for (&spec, full) in root.specs.iter().zip(outcomes.row(at)) {
                if full.is_given_up() {
                    continue;
                }
                let minimized = match present {
                    Some(id) => {
                        let outcome = evaluate(small, object, spec, id, &mut (), &mut steps);
                        renumber(outcome, &object.specs[spec as usize], original)
                    }
                    None => Outcome::NoMatch,
                };
                // A candidate that another one stands in for may still be there, for other reasons, and then match or not.
                let allowed = minimized.is_like(full) || (!kept[at] && minimized == Outcome::NoMatch);
                if !allowed {
                    differences.push(Difference { choice, spec, candidate, full: full.clone(), minimized });
                }
            }
        }
    }
    differences
}

/// Types that a loader would take for candidates in the minimised BTF though it would not in the kernel: those of modules, where the kernel has some of the same
/// name, and they match.
fn strays(small: &Kernel<'_>, ids: &[TypeId], choices: &[Choice<'_, '_>]) -> Vec<TypeId> {
    let mut strays = Vec::new();
    for Choice { object, root, outcomes, .. } in choices {
        for id in small.candidates(root.name, root.kind) {
            let original = ids[id.0 as usize - 1];
            let matches = |&spec: &u32| {
                evaluate(small, object, spec, id, &mut (), &mut { u64::MAX }) != Outcome::NoMatch
            };
            if outcomes.candidates.binary_search(&original).is_err() && root.specs.iter().any(matches) {
                strays.push(original);
            }
        }
    }
    strays
}

/// The outcome with the id that the type had in the kernel, where that is the question.
fn renumber(
    outcome: Outcome,
    spec: &Result<Spec<'_>, Reason>,
    original: impl Fn(TypeId) -> TypeId,
) -> Outcome {
    match (outcome, spec) {
        (Outcome::Match(found), Ok(spec)) if spec.kind == RelocationKind::TypeIdTarget => {
            Outcome::Match(found.with_value(original(TypeId(found.value as u32)).0.into()))
        }
        (outcome, _) => outcome,
    }
}

/// Which candidates must be kept.
///
/// A candidate that matches nothing is left out: no loader would notice. So is one for which an earlier candidate *stands in*, which gives the
/// same wherever the first one gives anything: as long as a loader still considers the one it considers the other too, and hears the
/// same from it before. A later candidate may stand in for an earlier one where all that match always agree, so that it does not matter
/// which comes first.
fn choose(outcomes: &Outcomes) -> Vec<bool> {
    let matches_nothing = |row: &[Outcome]| row.iter().all(|outcome| *outcome == Outcome::NoMatch);
    let stands_in = |row: &[Outcome], other: &[Outcome]| {
        row.iter().zip(other).all(|(mine, theirs)| *theirs == Outcome::NoMatch || mine.is_like(theirs))
    };
    let mut kept = vec![false; outcomes.candidates.len()];
    let mut compared: Vec<usize> = Vec::new();
    for (at, row) in outcomes.rows().enumerate() {
        if matches_nothing(row) || compared.iter().any(|&earlier| stands_in(outcomes.row(earlier), row)) {
            continue;
        }
        kept[at] = true;
        if compared.len() < MAX_COMPARED {
            compared.push(at);
        }
    }
    if compared.len() > 1 && compared.len() < MAX_COMPARED && agree(outcomes, &compared) {
        for (position, &earlier) in compared.iter().enumerate() {
            let later = &compared[position + 1..];
            kept[earlier] = !later.iter().any(|&later| stands_in(outcomes.row(later), outcomes.row(earlier)));
        }
    }
    kept
}

/// Whether these candidates always agree, wherever more than one matches.
fn agree(outcomes: &Outcomes, candidates: &[usize]) -> bool {
    (0..outcomes.row(candidates[0]).len()).all(|position| {
        let given = candidates.iter().map(|&candidate| &outcomes.row(candidate)[position]);
        let mut given = given.filter(|outcome| **outcome != Outcome::NoMatch);
        given.next().is_none_or(|first| given.all(|outcome| outcome.is_like(first)))
    })
}
