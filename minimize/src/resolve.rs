//! Resolving: the candidates of each relocation, which of them match, and what becomes of the instruction.
//!
//! Source: `bpf_core_calc_relo_insn` of libbpf. Candidates are kept per type of the object, and a relocation that only some of them match narrows them for
//! the relocations after it, as in libbpf.

use std::fmt;

use btf::TypeId;

use crate::error::Error;
use crate::fields::{self, Field, LoadClass};
use crate::flavour::essential_name;
use crate::kernel::Kernel;
use crate::object::{Object, Root};
use crate::reason::Reason;
use crate::relocation::RelocationKind;
use crate::spec::Spec;
use crate::trace::{Event, Trace};
use crate::types::Types;

/// Comparisons that every object may take, and how many more for each of its relocations. A comparison takes a few nanoseconds.
const STEPS: u64 = 1 << 22;
const STEPS_PER_SPEC: u64 = 1 << 16;
/// Most comparisons for one relocation and one candidate. A large struct with everything in it takes a tenth of it.
const STEPS_AT_ONCE: u64 = 1 << 22;
/// What looking at one candidate for one relocation costs at least, so that the allowance bounds memory too.
const STEPS_PER_OUTCOME: u64 = 64;
/// Notes about one candidate are looked through for repetitions when there are more than this.
const MANY_NOTES: usize = 1 << 16;

/// What becomes of a relocation on a kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolution {
    /// The instruction gets this value.
    Value {
        /// An offset, size, id, enumerator, or 1 and 0 for yes and no. Negative enumerators are sign-extended.
        value: u64,
        /// For the offset of a load or store: how its size changes.
        access: Option<Access>,
    },
    /// The kernel lacks what is asked for: the instruction is replaced by one that the verifier refuses if it can be reached.
    Poisoned,
}

/// The load or store of a field, whose size the loader adjusts to the kernel's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// Size of the field in the kernel in bytes.
    pub size: u32,
    /// Whether an instruction compiled for the object's size may be changed to that size. If not, a load or store is poisoned.
    pub adjustable: bool,
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resolution::Value { value, access: Some(Access { adjustable: false, .. }) } => {
                write!(f, "{value} (a load or store is poisoned: other size)")
            }
            Resolution::Value { value, .. } => write!(f, "{value}"),
            Resolution::Poisoned => f.write_str("poisoned"),
        }
    }
}

/// Resolves every relocation of an object, in order, as a loader does that loads all its programs.
///
/// # Errors
/// For each relocation its own: see [`Reason`].
pub fn resolve(kernel: &Kernel<'_>, object: &Object<'_>) -> Vec<Result<Resolution, Reason>> {
    let mut steps = allowance(object);
    let mut resolutions: Vec<_> = (0..object.relocations().len())
        .map(|relocation| match object.spec(relocation) {
            Ok(spec) => Ok(Resolution::Value { value: spec.root.0.into(), access: None }), // that of a local type id
            Err(reason) => Err(reason.clone()),
        })
        .collect();
    for root in &object.roots {
        let outcomes = Outcomes::of(kernel, object, root, &mut (), &mut steps);
        outcomes.replay(object, root, |relocation, resolution| resolutions[relocation] = resolution);
    }
    resolutions
}

/// How many comparisons an object may take.
pub(crate) fn allowance(object: &Object<'_>) -> u64 {
    STEPS + STEPS_PER_SPEC * object.specs.len() as u64
}

/// What one candidate is to one relocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    NoMatch,
    Match(Match),
    Fail(Box<Reason>),
}

/// What a candidate that matches gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Match {
    /// From the start of the candidate; candidates must agree on it.
    bit_offset: u32,
    pub(crate) value: u64,
    access: Option<Access>,
}

impl Match {
    pub(crate) fn with_value(self, value: u64) -> Match {
        Match { value, ..self }
    }
}

impl Outcome {
    /// Whether the types were too complex to compare: then this says nothing.
    pub(crate) fn is_given_up(&self) -> bool {
        matches!(self, Outcome::Fail(reason) if **reason == Reason::TooComplex)
    }

    /// Whether a loader could not tell one from the other. A failure is a failure.
    pub(crate) fn is_like(&self, other: &Outcome) -> bool {
        match (self, other) {
            (Outcome::Fail(_), Outcome::Fail(_)) => true,
            _ => self == other,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::NoMatch => f.write_str("no match"),
            Outcome::Match(found) => write!(f, "{} at bit {}", found.value, found.bit_offset),
            Outcome::Fail(reason) => write!(f, "{reason}"),
        }
    }
}

/// What each candidate of a root is to each of the root's relocations.
pub(crate) struct Outcomes {
    pub(crate) candidates: Vec<TypeId>,
    /// By candidate, then by position in `Root::specs`.
    outcomes: Vec<Outcome>,
    specs: usize,
    /// Where each candidate's notes start in the trace, and where the last one's end.
    notes: Vec<usize>,
    /// Whether there were too many to look at: then there are no candidates here.
    too_many: bool,
}

impl Outcomes {
    pub(crate) fn of<T: Trace>(
        kernel: &Kernel<'_>,
        object: &Object<'_>,
        root: &Root<'_>,
        trace: &mut T,
        steps: &mut u64,
    ) -> Outcomes {
        let candidates: Vec<_> = kernel.candidates(root.name, root.kind).collect();
        let specs = root.specs.len();
        let pairs = candidates.len().saturating_mul(specs);
        let cost = (pairs as u64).saturating_mul(STEPS_PER_OUTCOME);
        let Some(left) = steps.checked_sub(cost) else {
            return Outcomes {
                candidates: Vec::new(),
                outcomes: Vec::new(),
                specs,
                notes: Vec::new(),
                too_many: true,
            };
        };
        *steps = left;
        let mut outcomes = Vec::with_capacity(pairs);
        let mut notes = vec![trace.mark()];
        for &candidate in &candidates {
            let start = trace.mark();
            let mut many = MANY_NOTES;
            for &spec in &root.specs {
                let mark = trace.mark();
                let outcome = evaluate(kernel, object, spec, candidate, trace, steps);
                match &outcome {
                    Outcome::NoMatch => trace.fail(mark),
                    outcome if outcome.is_given_up() => trace.discard(mark),
                    _ => {}
                }
                outcomes.push(outcome);
                if trace.mark() - start > many {
                    trace.compact(start);
                    many = MANY_NOTES + 2 * (trace.mark() - start);
                }
            }
            notes.push(trace.mark());
        }
        Outcomes { candidates, outcomes, specs, notes, too_many: false }
    }

    /// Where the trace has the notes about a candidate.
    pub(crate) fn notes(&self, candidate: usize) -> std::ops::Range<usize> {
        self.notes[candidate]..self.notes[candidate + 1]
    }

    /// Fails if a relocation met damage in the kernel's BTF.
    pub(crate) fn check_kernel(&self) -> Result<(), Error> {
        let damage = self.outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Fail(reason) => Error::of_kernel(reason),
            _ => None,
        });
        damage.map_or(Ok(()), Err)
    }

    /// One candidate's row.
    pub(crate) fn row(&self, candidate: usize) -> &[Outcome] {
        &self.outcomes[candidate * self.specs..][..self.specs]
    }

    /// The rows, one per candidate.
    pub(crate) fn rows(&self) -> impl ExactSizeIterator<Item = &[Outcome]> {
        (0..self.candidates.len()).map(|candidate| self.row(candidate))
    }

    /// Resolves the relocations in their order, narrowing the candidates on the way.
    pub(crate) fn replay(
        &self,
        object: &Object<'_>,
        root: &Root<'_>,
        mut tell: impl FnMut(usize, Result<Resolution, Reason>),
    ) {
        let mut left: Vec<usize> = (0..self.candidates.len()).collect();
        for &(relocation, position) in &root.sequence {
            let outcome = |candidate: usize| &self.row(candidate)[position as usize];
            let resolution = match object.spec(relocation as usize) {
                Ok(spec) if !self.too_many => self.agree(&left, outcome, spec.kind),
                _ => Err(Reason::TooComplex),
            };
            if resolution.is_ok() && left.iter().any(|&candidate| *outcome(candidate) != Outcome::NoMatch) {
                left.retain(|&candidate| *outcome(candidate) != Outcome::NoMatch);
            }
            tell(relocation as usize, resolution);
        }
    }

    fn agree<'o>(
        &self,
        left: &[usize],
        outcome: impl Fn(usize) -> &'o Outcome,
        kind: RelocationKind,
    ) -> Result<Resolution, Reason> {
        let mut first: Option<(usize, Match)> = None;
        for &candidate in left {
            let found = match outcome(candidate) {
                Outcome::NoMatch => continue,
                Outcome::Fail(reason) => return Err(Reason::clone(reason)),
                Outcome::Match(found) => found,
            };
            let Some((earlier, given)) = first else {
                first = Some((candidate, *found));
                continue;
            };
            if (found.bit_offset, found.value) != (given.bit_offset, given.value) {
                return Err(Reason::Ambiguous {
                    first: self.candidates[earlier],
                    second: self.candidates[candidate],
                    first_value: Outcome::Match(given).to_string(),
                    second_value: Outcome::Match(*found).to_string(),
                });
            }
        }
        Ok(match first {
            Some((_, found)) => Resolution::Value { value: found.value, access: found.access },
            None if kind.answers_absence() => Resolution::Value { value: 0, access: None },
            None => Resolution::Poisoned,
        })
    }
}

/// Matches one relocation with one candidate.
pub(crate) fn evaluate<T: Trace>(
    kernel: &Kernel<'_>,
    object: &Object<'_>,
    spec: u32,
    candidate: TypeId,
    trace: &mut T,
    steps: &mut u64,
) -> Outcome {
    let (Some(local), Ok(spec)) = (object.types(), &object.specs[spec as usize]) else {
        return Outcome::NoMatch; // such a spec belongs to no root
    };
    let mut left = STEPS_AT_ONCE.min(*steps);
    *steps -= left;
    let mut matcher = Matcher { local, target: kernel.types(), trace, steps: &mut left };
    let outcome = match matcher.matching(spec, candidate) {
        Ok(Some(found)) => Outcome::Match(found),
        Ok(None) => Outcome::NoMatch,
        Err(reason) => Outcome::Fail(Box::new(reason)),
    };
    *steps += left;
    outcome
}

/// The object's types on one side, the kernel's on the other.
pub(crate) struct Matcher<'m, 'l, 'k, T> {
    pub(crate) local: Types<'m, 'l>,
    pub(crate) target: Types<'m, 'k>,
    pub(crate) trace: &'m mut T,
    steps: &'m mut u64,
}

impl<'l, T: Trace> Matcher<'_, 'l, '_, T> {
    /// Counts a comparison.
    pub(crate) fn step(&mut self) -> Result<(), Reason> {
        *self.steps = self.steps.checked_sub(1).ok_or(Reason::TooComplex)?;
        Ok(())
    }

    fn matching(&mut self, spec: &Spec<'l>, candidate: TypeId) -> Result<Option<Match>, Reason> {
        self.step()?;
        let plain = |value| Some(Match { bit_offset: 0, value, access: None });
        match spec.kind {
            RelocationKind::EnumvalExists | RelocationKind::EnumvalValue => {
                let value = self.find_enumerator(spec, candidate)?;
                let exists = spec.kind == RelocationKind::EnumvalExists;
                Ok(value.and_then(|value| plain(if exists { 1 } else { value })))
            }
            RelocationKind::TypeMatches => {
                let matches = self.types_match(spec.root, candidate)?;
                Ok(if matches { plain(1) } else { None })
            }
            kind if kind.is_type() => {
                if !self.types_compatible(spec.root, candidate)? {
                    return Ok(None);
                }
                Ok(plain(match kind {
                    RelocationKind::TypeIdTarget => candidate.0.into(),
                    RelocationKind::TypeSize => {
                        let size = self.target.size(candidate)?;
                        if size.of_pointer {
                            self.trace.note(Event::PointerSize);
                        }
                        size.bytes.into()
                    }
                    _ => 1,
                }))
            }
            _ => self.matching_field(spec, candidate),
        }
    }

    fn matching_field(&mut self, spec: &Spec<'l>, candidate: TypeId) -> Result<Option<Match>, Reason> {
        let Some(landing) = self.find_field(spec, candidate)? else { return Ok(None) };
        let bit_offset = landing.bit_offset;
        let Some(local) = spec.local else {
            return Ok(Some(Match { bit_offset, value: 1, access: None }));
        };
        let field = fields::measure(self.target, spec.kind, landing, spec.endian)?;
        let access =
            spec.with_access.then(|| Access { size: field.load, adjustable: adjustable(&local, &field) });
        if field.of_pointer && (access.is_some() || spec.kind != RelocationKind::FieldByteOffset) {
            self.trace.note(Event::PointerSize);
        }
        Ok(Some(Match { bit_offset, value: field.value, access }))
    }

    /// The value of the first enumerator with the essential name of the object's.
    fn find_enumerator(&mut self, spec: &Spec<'l>, candidate: TypeId) -> Result<Option<u64>, Reason> {
        self.trace.note(Event::Type(candidate));
        let place = self.target.skip(candidate)?;
        let (Some(ty), Some(wanted)) = (place.any_enum(), spec.accessors.first().and_then(|step| step.name))
        else {
            return Ok(None);
        };
        for (index, enumerator) in ty.enumerators().enumerate() {
            self.step()?;
            if essential_name(self.target.string(enumerator.name)?) == essential_name(wanted) {
                self.trace.note(Event::Enumerator(ty.id(), index as u32));
                // Whatever its sign, an enum's 32-bit value is extended as a signed one.
                let narrow = ty.kind() == btf::Kind::Enum;
                let value = if narrow { i64::from(enumerator.value as i32) } else { enumerator.value };
                return Ok(Some(value as u64));
            }
        }
        Ok(None)
    }
}

/// Whether a load of the object's size may become one of the kernel's: pointers and unsigned integers are extended with zeros either way.
fn adjustable(local: &Field, target: &Field) -> bool {
    local.load == target.load
        || matches!(
            (local.class, target.class),
            (LoadClass::Pointer, LoadClass::Pointer) | (LoadClass::Unsigned, LoadClass::Unsigned)
        )
}
