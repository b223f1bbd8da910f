//! What a match looked at in the kernel's BTF, and what must therefore be kept for it to come out the same.
//!
//! Matching is written once and is generic over [`Trace`]: with `()` it only answers, with a [`Log`] it also notes each fact of the kernel's
//! types that the answer rests on. A fact of a failed attempt (a member that does not match, before one that does) is forgotten again, because
//! leaving it out cannot turn the failure into a success, with a few exceptions that the self-check finds; the log then keeps failures too.

use btf::TypeId;

/// A fact about a type of the kernel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Event {
    /// There is this type, with its name, and through typedefs, qualifiers and array elements what it is.
    Type(TypeId),
    /// A struct or union has this member.
    Member(TypeId, u32),
    /// A struct or union has a member after this one.
    NotLast(TypeId, u32),
    /// A struct, union or enum has at least so many members or enumerators.
    AtLeast(TypeId, u32),
    /// An enum has this enumerator.
    Enumerator(TypeId, u32),
    /// A pointer points to what it points to, rather than to void.
    Pointee(TypeId),
    /// The size of pointers.
    PointerSize,
}

/// Takes notes, or does not.
pub(crate) trait Trace {
    /// Notes a fact.
    fn note(&mut self, event: Event);
    /// A place to go back to.
    fn mark(&self) -> usize;
    /// Forgets what was noted since `mark`: it had no influence on the answer.
    fn discard(&mut self, mark: usize);
    /// Forgets what was noted since `mark`: it belongs to an attempt that failed.
    fn fail(&mut self, mark: usize);
    /// Forgets repetitions since `mark`.
    fn compact(&mut self, mark: usize);
}

impl Trace for () {
    fn note(&mut self, _: Event) {}
    fn mark(&self) -> usize {
        0
    }
    fn discard(&mut self, _: usize) {}
    fn fail(&mut self, _: usize) {}
    fn compact(&mut self, _: usize) {}
}

/// The facts noted.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) events: Vec<Event>,
    /// Whether failed attempts are noted as well.
    pub(crate) failures: bool,
}

impl Trace for Log {
    fn note(&mut self, event: Event) {
        self.events.push(event);
    }
    fn mark(&self) -> usize {
        self.events.len()
    }
    fn discard(&mut self, mark: usize) {
        self.events.truncate(mark);
    }
    fn fail(&mut self, mark: usize) {
        if !self.failures {
            self.events.truncate(mark);
        }
    }
    fn compact(&mut self, mark: usize) {
        let mut since = self.events.split_off(mark);
        since.sort_unstable();
        since.dedup();
        self.events.append(&mut since);
    }
}
