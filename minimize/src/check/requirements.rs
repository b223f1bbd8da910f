//! What an object needs of a kernel beside relocations, and what a kernel's BTF says that it has.
//!
//! Kernels describe themselves: their enums `bpf_func_id`, `bpf_map_type`, `bpf_prog_type` and `bpf_attach_type` list what they know, their functions are
//! FUNCs, their tracepoints typedefs. So no table of versions is needed, and backports count.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use btf::{Btf, Kind, Type, TypeId};
use object::{Object as _, ObjectSymbol as _};

use super::code::{Code, Link};
use super::reach::{Patch, Patches, Reached};
use super::{Attach, Facts, Lack, Problem, Program, Target, helper_name};
use crate::error::Result;
use crate::kernel::Kernel;
use crate::object::{Object, open_elf};
use crate::types::Types;

const MAP_TYPES: &[&str] = &[
    "UNSPEC",
    "HASH",
    "ARRAY",
    "PROG_ARRAY",
    "PERF_EVENT_ARRAY",
    "PERCPU_HASH",
    "PERCPU_ARRAY",
    "STACK_TRACE",
    "CGROUP_ARRAY",
    "LRU_HASH",
    "LRU_PERCPU_HASH",
    "LPM_TRIE",
    "ARRAY_OF_MAPS",
    "HASH_OF_MAPS",
    "DEVMAP",
    "SOCKMAP",
    "CPUMAP",
    "XSKMAP",
    "SOCKHASH",
    "CGROUP_STORAGE",
    "REUSEPORT_SOCKARRAY",
    "PERCPU_CGROUP_STORAGE",
    "QUEUE",
    "STACK",
    "SK_STORAGE",
    "DEVMAP_HASH",
    "STRUCT_OPS",
    "RINGBUF",
    "INODE_STORAGE",
    "TASK_STORAGE",
    "BLOOM_FILTER",
    "USER_RINGBUF",
    "CGRP_STORAGE",
    "ARENA",
    "INSN_ARRAY",
];

/// `BPF_MAP_TYPE_RINGBUF` for 27.
pub(super) fn map_type_name(number: u32) -> Option<String> {
    MAP_TYPES.get(number as usize).map(|name| format!("BPF_MAP_TYPE_{name}"))
}

/// A kernel's configuration: which values it sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    set: HashSet<Box<str>>,
}

impl Config {
    /// Reads the text of `/boot/config-R` or `/proc/config.gz`, unpacked: lines `CONFIG_NAME=value`; everything else is a comment.
    pub fn parse(text: &str) -> Config {
        let names = text.lines().filter_map(|line| line.trim().split_once('='));
        Config {
            set: names
                .map(|(name, _)| name)
                .filter(|name| name.starts_with("CONFIG_"))
                .map(Into::into)
                .collect(),
        }
    }

    /// Whether it sets a value.
    pub fn sets(&self, name: &str) -> bool {
        self.set.contains(name)
    }
}

/// What an object needs as a whole.
#[derive(Debug, Default)]
pub(super) struct Requirements {
    /// Maps and the numbers of their types.
    maps: Vec<(String, u32)>,
    /// Configuration values that the object cannot do without.
    config: Vec<String>,
    /// Kernel structs that struct_ops maps implement.
    struct_ops: BTreeSet<String>,
    /// Names of functions to look for in the kernel.
    functions: BTreeSet<Arc<str>>,
    /// Those of them that are called.
    called: BTreeSet<Arc<str>>,
}

impl Requirements {
    pub(super) fn of(data: &[u8], object: &Object<'_>, code: &Code<'_>) -> Result<Requirements> {
        let mut requirements = Requirements::default();
        for section in &code.sections {
            for (&at, link) in &section.links {
                let Link::Extern { name, .. } = link else { continue };
                requirements.functions.insert(name.clone());
                if section.instructions.get(at as usize).is_some_and(|one| one.is_call()) {
                    requirements.called.insert(name.clone());
                }
            }
        }
        let Some(types) = object.types() else { return Ok(requirements) };
        let btf = types.btf;
        let file = open_elf(data)?;
        let weak: HashSet<&str> = file
            .symbols()
            .filter(|symbol| symbol.is_weak() && symbol.is_undefined())
            .filter_map(|symbol| symbol.name().ok())
            .collect();
        for ty in btf.types() {
            let ty = ty?;
            if ty.kind() != Kind::Datasec {
                continue;
            }
            let section = btf.name(&ty)?;
            for var in ty.section_vars() {
                let var = btf.ty(var.ty)?;
                let name = btf.name(&var)?.to_string();
                if section == ".maps" {
                    requirements.maps.extend(map_type(types, &var).map(|number| (name, number)));
                } else if section == ".kconfig"
                    && name.starts_with("CONFIG_")
                    && !weak.contains(name.as_str())
                {
                    requirements.config.push(name);
                } else if section == ".struct_ops" || section == ".struct_ops.link" {
                    requirements.struct_ops.extend(struct_name(types, &var));
                }
            }
        }
        Ok(requirements)
    }

    pub(super) fn has_config(&self) -> bool {
        !self.config.is_empty()
    }

    /// What the kernel lacks for every program of the object.
    pub(super) fn problems(&self, kernel: &Kernel<'_>, facts: &Facts<'_>) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(types) = enumeration(kernel, "bpf_map_type") {
            let known = |number: u32| {
                types
                    .enumerators()
                    .any(|one| one.value == i64::from(number) && !is_end(kernel.btf(), one.name))
            };
            for (map, number) in self.maps.iter().filter(|(_, number)| !known(*number)) {
                problems.push(Problem {
                    lack: Lack::MapType { map: map.clone(), number: *number },
                    certain: true,
                });
            }
        }
        if let Some(config) = facts.config {
            let missing = self.config.iter().filter(|name| !config.sets(name));
            problems.extend(missing.map(|name| Problem { lack: Lack::Config(name.clone()), certain: true }));
        }
        for name in &self.struct_ops {
            let wanted = format!("bpf_struct_ops_{name}");
            if kernel.candidates(wanted.as_bytes(), Kind::Struct).next().is_none() {
                problems
                    .push(Problem { lack: Lack::ProgramType(format!("struct_ops {name}")), certain: true });
            }
        }
        problems
    }
}

/// `__MAX_BPF_MAP_TYPE` and its like, which have the number of the next one.
fn is_end(btf: &Btf<'_>, name: btf::StrOffset) -> bool {
    btf.string(name).is_ok_and(|name| name.starts_with(b"__"))
}

fn enumeration<'k>(kernel: &Kernel<'k>, name: &str) -> Option<Type<'k>> {
    let id = kernel.candidates(name.as_bytes(), Kind::Enum).next()?;
    kernel.btf().ty(id).ok().filter(|ty| ty.enumerators().len() > 0)
}

/// The number in the member `type` of a map's definition: `__uint(type, N)` declares a pointer to an array of N.
fn map_type(types: Types<'_, '_>, var: &Type<'_>) -> Option<u32> {
    let behind = |id: Option<TypeId>| types.skip(id?).ok()?.ty;
    let definition = behind(var.target())?;
    let member =
        definition.members().find(|member| types.string(member.name).is_ok_and(|name| name == "type"))?;
    let pointer = behind(Some(member.ty)).filter(|ty| ty.kind() == Kind::Ptr)?;
    Some(behind(pointer.target())?.array()?.len)
}

fn struct_name(types: Types<'_, '_>, var: &Type<'_>) -> Option<String> {
    let ty = types.skip(var.target()?).ok()?.ty?;
    let name = types.string(ty.name_offset()).ok()?;
    let name = btf::BStr::new(crate::flavour::essential_name(name));
    (ty.kind() == Kind::Struct && !name.is_empty()).then(|| name.to_string())
}

/// Where a system call's function may be, by architecture.
const SYSCALL_PREFIXES: [&str; 10] = [
    "__x64_sys_",
    "__ia32_sys_",
    "__arm64_sys_",
    "__s390x_sys_",
    "__s390_sys_",
    "__riscv_sys_",
    "__powerpc_sys_",
    "__se_sys_",
    "__do_sys_",
    "sys_",
];

/// What a kernel has, of what is asked for.
pub(super) struct Offered<'k, 'a> {
    kernel: &'k Kernel<'a>,
    /// The functions found, of those looked for.
    functions: HashSet<String>,
    /// Whether the BTF has functions at all.
    has_functions: bool,
}

impl<'k, 'a> Offered<'k, 'a> {
    pub(super) fn of<'p>(
        kernel: &'k Kernel<'a>,
        requirements: &Requirements,
        attached: impl Iterator<Item = &'p Attach>,
    ) -> Self {
        let mut wanted: HashSet<String> = requirements.functions.iter().map(ToString::to_string).collect();
        for attach in attached {
            match &attach.target {
                Some(Target::Symbol(name) | Target::Function(name)) => {
                    wanted.insert(name.clone());
                }
                Some(Target::Syscall(name)) => {
                    wanted.extend(SYSCALL_PREFIXES.iter().map(|prefix| format!("{prefix}{name}")));
                }
                Some(Target::Lsm(name)) => {
                    wanted.insert(format!("bpf_lsm_{name}"));
                }
                Some(Target::Iterator(name)) => {
                    wanted.insert(format!("bpf_iter_{name}"));
                }
                Some(Target::Tracepoint { .. }) | None => {}
            }
        }
        let btf = kernel.btf();
        let (mut functions, mut has_functions) = (HashSet::new(), false);
        if !wanted.is_empty() {
            for ty in btf.types().flatten().filter(|ty| ty.kind() == Kind::Func) {
                has_functions = true;
                let name = btf.name(&ty).ok().and_then(|name| std::str::from_utf8(name).ok());
                if let Some(found) = name.and_then(|name| wanted.get(name)) {
                    functions.insert(found.clone());
                }
            }
        }
        Offered { kernel, functions, has_functions }
    }

    /// Adds what becomes of references to kernel functions that are not there: their address is 0, calling them is poison.
    pub(super) fn patch(&self, code: &Code<'_>, requirements: &Requirements, patches: &mut Patches) {
        for (index, section) in code.sections.iter().enumerate() {
            for (&instruction, link) in &section.links {
                let Link::Extern { name, weak: true } = link else { continue };
                if self.functions.contains(&**name) {
                    continue;
                }
                let place = super::code::Place { section: index as u32, instruction };
                let is_call = section.instructions.get(instruction as usize).is_some_and(|one| one.is_call());
                // The address of something else that is weak may be a variable's, which is not looked for.
                let is_function = requirements.called.contains(name);
                if is_call {
                    patches.insert(place, Patch::Poison);
                } else if is_function {
                    patches.insert(place, Patch::Value(0));
                }
            }
        }
    }

    /// What stands in a program's way, beside relocations.
    pub(super) fn problems(
        &self,
        program: &Program<'_>,
        reached: &Reached,
        code: &Code<'_>,
        facts: &Facts<'_>,
        problems: &mut Vec<Problem>,
    ) {
        let attach = &program.attach;
        let mut add = |lack, certain| problems.push(Problem { lack, certain });
        let lacks_btf = facts.own_btf == Some(false);
        if lacks_btf && attach.needs_kernel_btf {
            add(Lack::OwnBtf { what: program.section.to_owned() }, true);
        }
        if !attach.program_type.is_empty()
            && self.knows("bpf_prog_type", &format!("BPF_PROG_TYPE_{}", attach.program_type)) == Some(false)
        {
            add(Lack::ProgramType(format!("BPF_PROG_TYPE_{}", attach.program_type)), true);
        }
        if let Some(name) = attach.attach_type
            && self.knows("bpf_attach_type", name) == Some(false)
        {
            add(Lack::ProgramType(name.to_owned()), true);
        }
        if let Some(target) = &attach.target
            && let Some(certain) = self.lacks(target)
        {
            add(Lack::Target(target.clone()), certain);
        }
        let (mut helpers, mut functions) = (BTreeSet::new(), BTreeSet::new());
        for place in &reached.places {
            let section = code.section(*place);
            let Some(instruction) = section.instructions.get(place.instruction as usize) else { continue };
            if !instruction.is_call() {
                continue;
            }
            match section.links.get(&place.instruction) {
                Some(Link::Extern { name, .. }) => {
                    functions.insert(name.to_string());
                }
                None if instruction.src == 0 => {
                    helpers.insert(instruction.imm);
                }
                _ => {}
            }
        }
        for number in helpers {
            if self.has_number("bpf_func_id", i64::from(number)) == Some(false) {
                add(Lack::Helper(helper_name(number).unwrap_or_else(|| number.to_string())), true);
            }
        }
        for name in functions {
            if lacks_btf {
                add(Lack::OwnBtf { what: format!("kernel function {name}") }, true);
            }
            if self.has_functions && !self.functions.contains(name.as_str()) {
                add(Lack::KernelFunction(name), true);
            }
        }
    }

    /// Whether an enum of the kernel has an enumerator of this name; `None` where it does not have the enum.
    fn knows(&self, list: &str, name: &str) -> Option<bool> {
        let ty = enumeration(self.kernel, list)?;
        let btf = self.kernel.btf();
        Some(ty.enumerators().any(|one| btf.string(one.name).is_ok_and(|known| known == name)))
    }

    fn has_number(&self, list: &str, number: i64) -> Option<bool> {
        let ty = enumeration(self.kernel, list)?;
        Some(ty.enumerators().any(|one| one.value == number && !is_end(self.kernel.btf(), one.name)))
    }

    /// Whether a target is missing, and if so, whether that is certain.
    fn lacks(&self, target: &Target) -> Option<bool> {
        let function = |name: &str| self.functions.contains(name);
        match target {
            // Static functions may be there without being in BTF.
            Target::Symbol(name) => (self.has_functions && !function(name)).then_some(false),
            Target::Function(name) => (self.has_functions && !function(name)).then_some(true),
            Target::Syscall(name) => {
                let found = SYSCALL_PREFIXES.iter().any(|prefix| function(&format!("{prefix}{name}")));
                (self.has_functions && !found).then_some(false)
            }
            Target::Lsm(name) => {
                (self.has_functions && !function(&format!("bpf_lsm_{name}"))).then_some(true)
            }
            Target::Iterator(name) => {
                (self.has_functions && !function(&format!("bpf_iter_{name}"))).then_some(true)
            }
            Target::Tracepoint { name, .. } => {
                let typedef = |name: &str| {
                    self.kernel
                        .candidates(format!("btf_trace_{name}").as_bytes(), Kind::Typedef)
                        .next()
                        .is_some()
                };
                let class = format!("trace_event_raw_{name}");
                let known =
                    typedef(name) || self.kernel.candidates(class.as_bytes(), Kind::Struct).next().is_some();
                // Before Linux 5.5 there are no such typedefs, and a module may bring the tracepoint.
                (!known).then_some(false)
            }
        }
    }
}
