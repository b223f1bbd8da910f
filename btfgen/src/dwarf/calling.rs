//! Whether a function's parameters are where its callers, and a tracer that knows only its prototype, expect them.
//!
//! Compilers change functions that are called from one file only: they drop parameters and pass others in other registers. The rules here are
//! those of pahole 1.32, so that the same functions are left out; `docs/decisions/0005-function-rules.md` tells where they are not.

use super::locations::Place;

/// How a machine passes parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Convention {
    /// Number of parameters that registers hold; 0 where it is not known.
    count: usize,
    /// Their numbers in DWARF, in order; empty where they are not known.
    registers: &'static [u8],
    /// Whether something larger than a register takes two of them.
    pairs: bool,
    /// Size of a register in bytes.
    address_size: u8,
    /// What nothing is aligned beyond by itself, in bytes.
    pub(crate) max_alignment: u64,
}

impl Convention {
    /// The convention of an ELF machine (`e_machine`).
    pub(crate) fn of(machine: u16, address_size: u8) -> Convention {
        const EM_386: u16 = 3;
        const EM_MIPS: u16 = 8;
        const EM_PPC: u16 = 20;
        const EM_PPC64: u16 = 21;
        const EM_S390: u16 = 22;
        const EM_ARM: u16 = 40;
        const EM_X86_64: u16 = 62;
        const EM_AARCH64: u16 = 183;
        const EM_RISCV: u16 = 243;
        let (count, registers): (usize, &'static [u8]) = match machine {
            EM_S390 => (5, &[2, 3, 4, 5, 6]),
            EM_X86_64 => (6, &[5, 4, 1, 2, 8, 9]),
            EM_ARM | EM_AARCH64 => (8, &[0, 1, 2, 3, 4, 5, 6, 7]),
            EM_MIPS | EM_PPC | EM_PPC64 | EM_RISCV => (8, &[]),
            _ => (0, &[]),
        };
        let max_alignment = if machine == EM_386 { 4 } else { 16 };
        Convention { count, registers, pairs: machine != EM_S390, address_size, max_alignment }
    }

    /// Number of parameters that registers hold; 0 where it is not known.
    pub(crate) fn register_count(&self) -> usize {
        self.count
    }

    /// Whether the places of parameters are looked at.
    pub(crate) fn needs_places(&self) -> bool {
        self.count > 0
    }

    /// Number of registers that a parameter takes.
    fn slots(&self, size: u64) -> usize {
        if !self.pairs || size <= self.address_size.into() {
            return 1;
        }
        usize::try_from(size.div_ceil(self.address_size.max(1).into())).unwrap_or(usize::MAX)
    }

    fn is_in_memory(&self, size: u64) -> bool {
        size > u64::from(self.address_size) * if self.pairs { 2 } else { 1 }
    }

    fn register(&self, parameter: &Parameter) -> Option<u8> {
        let several = self.pairs && parameter.size > self.address_size.into();
        if several { parameter.place.first } else { parameter.place.whole }
    }

    /// Judges a function. `checked` says that the compiler may have changed how it is called: always of gcc, which does not tell.
    pub(crate) fn judge(
        &self,
        parameters: impl Iterator<Item = Parameter>,
        clang: bool,
        changed: bool,
    ) -> Judgement {
        let mut judgement = Judgement::default();
        let mut next = 0_usize;
        for parameter in parameters {
            let slots = self.slots(parameter.size);
            let in_memory = self.is_in_memory(parameter.size);
            let known = self.register(&parameter);
            judgement.has_struct |= parameter.is_struct;
            if clang && !changed {
                judgement.optimized |= !parameter.has_location;
                if in_memory || next >= self.count {
                    continue;
                }
                let window = self.registers.get(next..).unwrap_or_default();
                let window = &window[..window.len().min(slots)];
                judgement.unexpected |=
                    known.is_some_and(|known| !window.is_empty() && !window.contains(&known));
                next = next.saturating_add(slots);
                continue;
            }
            let available = next < self.count;
            if parameter.has_location {
                if !available {
                    continue;
                }
                match (known, self.registers.get(next)) {
                    (None, _) => judgement.optimized = true,
                    (Some(known), Some(&expected)) => judgement.unexpected |= known != expected,
                    (Some(_), None) => {}
                }
            } else {
                judgement.optimized = true;
            }
            next = next.saturating_add(if in_memory { 1 } else { slots });
        }
        // A struct may be spread over registers in ways that are not followed here.
        judgement.unexpected &= !judgement.has_struct;
        judgement
    }
}

/// What is known of a parameter of a function with code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameter {
    /// Size in bytes, 0 if unknown.
    pub(crate) size: u64,
    /// Whether it is a struct by value.
    pub(crate) is_struct: bool,
    /// Whether it is somewhere at all.
    pub(crate) has_location: bool,
    pub(crate) place: Place,
}

/// What became of a function's parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// One is in another register than its position says.
    pub(crate) unexpected: bool,
    /// One is not passed, or not in a register of its own.
    pub(crate) optimized: bool,
    has_struct: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const X86_64: u16 = 62;
    const S390: u16 = 22;
    const PPC64: u16 = 21;

    fn parameter(size: u64, register: u8) -> Parameter {
        let place = Place { whole: Some(register), first: Some(register) };
        Parameter { size, is_struct: false, has_location: true, place }
    }

    fn nowhere(size: u64) -> Parameter {
        Parameter { size, is_struct: false, has_location: false, place: Place::default() }
    }

    fn on_stack(size: u64) -> Parameter {
        Parameter { has_location: true, ..nowhere(size) }
    }

    /// Whether parameters of a function are judged (in unexpected registers, optimised away).
    fn judge(machine: u16, clang: bool, changed: bool, parameters: &[Parameter]) -> (bool, bool) {
        let judgement = Convention::of(machine, 8).judge(parameters.iter().copied(), clang, changed);
        (judgement.unexpected, judgement.optimized)
    }

    /// Check gcc's parameters one by one: each takes the next register, one of two words takes two, and one that is nowhere takes its own.
    #[test]
    fn gcc_parameters() {
        let judge = |parameters: &[Parameter]| judge(X86_64, false, false, parameters);
        assert_eq!(judge(&[parameter(4, 5), parameter(8, 4), parameter(1, 1)]), (false, false));
        assert_eq!(judge(&[parameter(4, 4)]), (true, false), "the second register");
        assert_eq!(judge(&[parameter(16, 5), parameter(8, 1)]), (false, false), "two words");
        assert_eq!(judge(&[nowhere(8), parameter(8, 4)]), (false, true));
        assert_eq!(judge(&[nowhere(8), parameter(8, 5)]), (true, true), "gone, and the next has moved");
        assert_eq!(judge(&[on_stack(8)]), (false, true));
        let six = [5, 4, 1, 2, 8, 9].map(|register| parameter(8, register));
        assert_eq!(
            judge(&[&six[..], &[on_stack(8)]].concat()),
            (false, false),
            "the seventh is on the stack"
        );
        let by_value = Parameter { is_struct: true, ..parameter(8, 4) };
        assert_eq!(judge(&[by_value]), (false, false), "nobody knows how a struct is spread");
    }

    /// Check that clang is believed unless it says that it changed the function.
    #[test]
    fn clang_parameters() {
        let moved = [on_stack(8), parameter(8, 5)];
        assert_eq!(judge(X86_64, true, false, &[on_stack(8), parameter(8, 4)]), (false, false));
        assert_eq!(judge(X86_64, true, false, &moved), (true, false));
        assert_eq!(judge(X86_64, true, true, &[on_stack(8), parameter(8, 4)]), (false, true));
        assert_eq!(judge(X86_64, true, false, &[parameter(16, 4), parameter(8, 1)]), (false, false));
    }

    /// Check machines of which less is known, or which pass things in another way.
    #[test]
    fn machines() {
        assert_eq!(
            judge(S390, false, false, &[parameter(16, 2), parameter(8, 3)]),
            (false, false),
            "by address"
        );
        // Numbers of registers are not known: nothing is wrong.
        for clang in [false, true] {
            assert_eq!(judge(PPC64, clang, false, &[parameter(8, 30)]), (false, false));
            assert_eq!(judge(0, clang, false, &[on_stack(8)]), (false, false));
        }
    }
}
