//! Whether an object works on a kernel, told before it is shipped.
//!
//! A [`Checker`] is an object, read once: its relocations, its programs, what they call and what they are attached to. On each kernel, relocations are resolved and put
//! into the instructions, and every program is walked as the verifier walks it (`reach`): a relocation that the kernel has no answer for does harm only where
//! its instruction can be reached. Beside relocations, a program needs its helpers, kernel functions, map types and attach points; kernels say in their
//! BTF which they have.

mod attach;
mod code;
mod helpers;
mod reach;
mod requirements;

use std::fmt;

use hashbrown::HashMap;

pub use attach::{Attach, Target};
pub use requirements::Config;

use crate::error::Result;
use crate::kernel::Kernel;
use crate::object::Object;
use crate::reason::Reason;
use crate::resolve::{Resolution, resolve};
use code::{Code, Function, Place};
use helpers::helper_name;
use reach::{Patch, Patches, walk};
use requirements::{Offered, Requirements};

/// An object, ready to be checked against any number of kernels.
#[derive(Debug)]
pub struct Checker<'a> {
    object: Object<'a>,
    code: Code<'a>,
    /// Where each relocation's instruction is; `None` where the object has no such code.
    places: Vec<Option<Place>>,
    programs: Vec<Program<'a>>,
    /// The relocations that no program may reach, in order.
    orphans: Vec<usize>,
    requirements: Requirements,
}

/// A program of an object.
#[derive(Debug)]
pub struct Program<'a> {
    /// Its function.
    pub name: &'a str,
    /// Its ELF section.
    pub section: &'a str,
    /// What the section's name means.
    pub attach: Attach,
    /// The relocations in what it may reach, by index in [`Object::relocations`], in order.
    pub relocations: Vec<usize>,
    function: Function<'a>,
}

/// What is known of a kernel beside its BTF.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'f> {
    /// Whether it carries BTF itself.
    pub own_btf: Option<bool>,
    /// Its configuration.
    pub config: Option<&'f Config>,
}

/// What becomes of an object on a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// For each relocation of the object.
    pub relocations: Vec<Verdict>,
    /// For each of the checker's programs, what stands in its way; empty where nothing does.
    pub programs: Vec<Vec<Problem>>,
}

/// What becomes of a relocation on a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The kernel has what is asked for.
    Holds {
        /// What the instruction gets.
        value: u64,
    },
    /// The question was whether the kernel has it, and the answer is no.
    Absent,
    /// The kernel does not have it, and no program reaches the instruction there: a check stands before it.
    Guarded,
    /// The kernel does not have it, and a program that reaches the instruction is refused.
    Poisons,
    /// No answer can be given. Loaders refuse the whole object, unless the program is not to be loaded.
    Fails(Reason),
}

/// Something that a program needs and a kernel lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What.
    pub lack: Lack,
    /// Whether the program cannot be loaded or attached; else it may.
    pub certain: bool,
}

/// What a kernel lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// What a relocation asks for, by its index.
    Relocation(usize),
    /// What the program is attached to.
    Target(Target),
    /// BTF of its own, which this kind of program takes its target from.
    OwnBtf {
        /// `fentry/vfs_read`, `kernel function bpf_…`.
        what: String,
    },
    /// A type of program (`BPF_PROG_TYPE_…`), or a way to attach it.
    ProgramType(String),
    /// A helper function.
    Helper(String),
    /// A kernel function.
    KernelFunction(String),
    /// A type of map (`BPF_MAP_TYPE_…`).
    MapType {
        /// The map.
        map: String,
        /// Its type's number.
        number: u32,
    },
    /// A value of the kernel's configuration.
    Config(String),
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lack::Relocation(index) => write!(f, "relocation {index}"),
            Lack::Target(target) => write!(f, "no {target}"),
            Lack::OwnBtf { what } => write!(f, "{what} needs a kernel with BTF of its own"),
            Lack::ProgramType(name) => write!(f, "no {name}"),
            Lack::Helper(name) => write!(f, "no helper {name}"),
            Lack::KernelFunction(name) => write!(f, "no kernel function {name}"),
            Lack::MapType { map, number } => match requirements::map_type_name(*number) {
                Some(name) => write!(f, "no maps of type {name} ({map})"),
                None => write!(f, "no maps of type {number} ({map})"),
            },
            Lack::Config(name) => write!(f, "{name} is not in the kernel's configuration"),
        }
    }
}

impl<'a> Checker<'a> {
    /// Reads an ELF file for BPF, of either byte order.
    ///
    /// # Errors
    /// As [`Object::parse`], and when there is more code than any loader takes.
    pub fn parse(data: &'a [u8]) -> Result<Checker<'a>> {
        let object = Object::parse(data)?;
        let code = Code::parse(data)?;
        let place = |relocation: &crate::Relocation<'_>| {
            let section = code.section_named(relocation.section)?;
            Some(Place { section, instruction: relocation.instruction() })
        };
        let places: Vec<_> = object.relocations().iter().map(place).collect();
        let unknown: Patches = places.iter().filter_map(|place| Some(((*place)?, Patch::Unknown))).collect();
        let programs: Vec<Program<'_>> = code
            .programs()
            .map(|function| {
                let reached = walk(&code, &unknown, function);
                let mine = |place: &Option<Place>| place.is_some_and(|place| reached.places.contains(&place));
                let section = code.section(function.start).name;
                Program {
                    name: function.name,
                    section,
                    attach: Attach::of_section(section),
                    relocations: (0..places.len()).filter(|&index| mine(&places[index])).collect(),
                    function: function.clone(),
                }
            })
            .collect();
        let mut orphans = vec![true; places.len()];
        programs.iter().flat_map(|program| &program.relocations).for_each(|&index| orphans[index] = false);
        let orphans = (0..places.len()).filter(|&index| orphans[index]).collect();
        let requirements = Requirements::of(data, &object, &code)?;
        Ok(Checker { object, code, places, programs, orphans, requirements })
    }

    /// The object.
    pub fn object(&self) -> &Object<'a> {
        &self.object
    }

    /// The programs that a loader would load, in the order of the file.
    pub fn programs(&self) -> &[Program<'a>] {
        &self.programs
    }

    /// Whether what becomes of the object depends on a kernel's configuration ([`Facts::config`]).
    pub fn asks_for_config(&self) -> bool {
        self.requirements.has_config()
    }

    /// Holds the object against a kernel.
    pub fn check(&self, kernel: &Kernel<'_>, facts: &Facts<'_>) -> Report {
        let resolutions = resolve(kernel, &self.object);
        let offered =
            Offered::of(kernel, &self.requirements, self.programs.iter().map(|program| &program.attach));
        let mut patches: Patches = HashMap::default();
        for (place, resolution) in self.places.iter().zip(&resolutions) {
            if let Some(place) = place {
                patches.insert(*place, patch(resolution));
            }
        }
        offered.patch(&self.code, &self.requirements, &mut patches);

        let mut reached_poison = vec![false; resolutions.len()];
        let by_place: HashMap<Place, usize, foldhash::fast::FixedState> =
            self.places.iter().enumerate().filter_map(|(index, place)| Some(((*place)?, index))).collect();
        let broken: Vec<usize> =
            (0..resolutions.len()).filter(|&index| resolutions[index].is_err()).collect();
        let mut programs = Vec::with_capacity(self.programs.len());
        for program in &self.programs {
            let reached = walk(&self.code, &patches, &program.function);
            // A loader that is told to load nothing else meets only its own; what is nobody's it always meets.
            let mine = |&&index: &&usize| {
                self.orphans.binary_search(&index).is_ok()
                    || program.relocations.binary_search(&index).is_ok()
            };
            let mut problems: Vec<Problem> = broken
                .iter()
                .filter(mine)
                .map(|&index| Problem { lack: Lack::Relocation(index), certain: true })
                .collect();
            for place in &reached.poisoned {
                if let Some(&index) = by_place.get(place) {
                    reached_poison[index] = true;
                    if resolutions[index].is_err() {
                        continue;
                    }
                    problems.push(Problem { lack: Lack::Relocation(index), certain: true });
                }
            }
            offered.problems(program, &reached, &self.code, facts, &mut problems);
            problems.extend(self.requirements.problems(kernel, facts));
            programs.push(problems);
        }
        let verdict = |(index, resolution): (usize, Result<Resolution, Reason>)| match resolution {
            Err(reason) => Verdict::Fails(reason),
            Ok(resolution) => match patch(&Ok(resolution)) {
                Patch::Poison if reached_poison[index] => Verdict::Poisons,
                Patch::Poison => Verdict::Guarded,
                Patch::Value(0) if self.asks_whether(index) => Verdict::Absent,
                Patch::Value(value) => Verdict::Holds { value },
                Patch::Unknown => Verdict::Guarded,
            },
        };
        Report { relocations: resolutions.into_iter().enumerate().map(verdict).collect(), programs }
    }

    fn asks_whether(&self, relocation: usize) -> bool {
        self.object.relocations()[relocation].kind().is_some_and(crate::RelocationKind::answers_absence)
    }
}

/// What a loader makes of the instruction.
fn patch(resolution: &Result<Resolution, Reason>) -> Patch {
    match resolution {
        Ok(Resolution::Value { access: Some(access), .. }) if !access.adjustable => Patch::Poison,
        Ok(Resolution::Value { value, .. }) => Patch::Value(*value),
        Ok(Resolution::Poisoned) | Err(_) => Patch::Poison,
    }
}
