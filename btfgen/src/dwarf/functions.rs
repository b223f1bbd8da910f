//! Functions and the prototypes of the types of functions.

use std::ops::Range;

use btf::Kind;
use btf::dedup::{LocalId, Name, Unit, head};
use btf::kind::Info;

use super::calling::{Convention, Parameter};
use super::locations::Place;
use super::members::size_of;
use super::packed::is_packed;
use super::references::Finder;
use super::signatures::signature;
use super::unit::vlen;
use super::unit_error::UnitError;

/// A function's DIE.
#[derive(Default, Clone, Debug)]
pub(crate) struct Function {
    /// DIE offset.
    pub(crate) offset: u32,
    pub(crate) name: Name,
    /// DIE offset of the type that it returns.
    pub(crate) result: u32,
    /// DIE offset of the function that it is an instance or the definition of.
    pub(crate) origin: u32,
    pub(crate) declaration: bool,
    pub(crate) code: Code,
    pub(crate) params: Params,
}

/// What a function's DIE says of its code.
#[derive(Default, Clone, Copy, Debug)]
pub(crate) struct Code {
    /// The address at which it starts.
    pub(crate) address: Option<u64>,
    /// Where its list of ranges is, in the section of such lists.
    pub(crate) ranges: Option<u64>,
    /// Whether other DIEs are its instances (`DW_AT_inline`).
    pub(crate) is_abstract: bool,
    /// Whether it is not called as the platform's conventions have it (`DW_CC_nocall`).
    pub(crate) no_call: bool,
    /// Whether clang compiled it, which says so of functions that it calls in another way.
    pub(crate) clang: bool,
}

/// Where a function's parameters are.
#[derive(Default, Clone, Debug)]
pub(crate) struct Params {
    /// Among those of finished functions.
    place: Range<usize>,
    variadic: bool,
    /// Whether some follow the ellipsis: gcc puts there once more what it replaced by constants.
    torn: bool,
    /// Among those of unfinished ones.
    open_from: usize,
}

/// A parameter's DIE.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Param {
    /// DIE offset.
    pub(crate) offset: u32,
    pub(crate) name: Name,
    /// DIE offset of its type.
    pub(crate) ty: u32,
    /// DIE offset of the parameter that it is an instance of.
    pub(crate) origin: u32,
    pub(crate) has_location: bool,
    pub(crate) place: Place,
    pub(crate) ellipsis: bool,
}

/// A function that BTF may have, once all units are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    /// Its place among the unit's functions.
    pub(crate) function: usize,
    pub(crate) name: Name,
    /// Its FUNC_PROTO.
    pub(crate) prototype: LocalId,
    /// Number of its parameters.
    pub(crate) params: usize,
    /// By which prototypes of several units are compared.
    pub(crate) signature: u64,
    /// The address at which its code starts.
    pub(crate) address: Option<u64>,
    pub(crate) doubts: Doubts,
}

/// What speaks against believing a function's prototype.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Doubts {
    /// A parameter is in another register than its position says, or stands in another position.
    pub(crate) moved: bool,
    /// A packed struct is passed on the stack, where it may lie in ways that a prototype does not tell.
    pub(crate) packed: bool,
    /// A parameter is not passed.
    pub(crate) optimized: bool,
    /// The compiler says that it is called in a way of its own.
    pub(crate) no_call: bool,
}

/// The functions of a unit.
#[derive(Default)]
pub(crate) struct Functions {
    all: Vec<Function>,
    /// Parameters of finished functions.
    params: Vec<Param>,
    /// Parameters of the functions that are being read, innermost last.
    open: Vec<Param>,
    /// Names and types of the parameters of the prototypes that are being read, innermost last.
    open_prototypes: Vec<[u32; 2]>,
    payload: Vec<u32>,
    pub(crate) candidates: Vec<Candidate>,
}

/// How far a function's origin is followed: an instance, its abstract form, its declaration.
const MAX_ORIGINS: usize = 4;

impl Functions {
    pub(crate) fn clear(&mut self) {
        self.all.clear();
        self.params.clear();
        self.open.clear();
        self.open_prototypes.clear();
        self.candidates.clear();
    }

    /// Number of functions.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Forgets all but the first functions.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.all.truncate(len);
    }

    pub(crate) fn begin(&mut self, function: Function) -> usize {
        let open_from = self.open.len();
        self.all.push(Function { params: Params { open_from, ..Params::default() }, ..function });
        self.all.len() - 1
    }

    pub(crate) fn end(&mut self, index: usize) {
        let function = &mut self.all[index];
        let from = self.params.len();
        for param in self.open.drain(function.params.open_from..) {
            if param.ellipsis {
                function.params.variadic = true;
                continue;
            }
            function.params.torn |= function.params.variadic;
            self.params.push(param);
        }
        function.params.place = from..self.params.len();
    }

    pub(crate) fn param(&mut self, param: Param) {
        self.open.push(param);
    }

    pub(crate) fn ellipsis(&mut self) {
        self.open.push(Param { ellipsis: true, ..Param::default() });
    }

    /// Takes in a parameter of a prototype; an ellipsis has neither name nor type.
    pub(crate) fn prototype_param(&mut self, name: Name, ty: u32) {
        self.open_prototypes.push([name.word(), ty]);
    }

    /// Number of parameters of prototypes that are being read.
    pub(crate) fn prototype_params(&self) -> usize {
        self.open_prototypes.len()
    }

    /// Position of the parameter that was read last among those of a function that is being read.
    pub(crate) fn last_position(&self, index: usize) -> usize {
        (self.open.len() - self.all[index].params.open_from).saturating_sub(1)
    }

    /// Writes the FUNC_PROTO of a `DW_TAG_subroutine_type`, whose references stay DIE offsets like those of all types for now.
    pub(crate) fn define_prototype(
        &mut self,
        unit: &mut Unit<'_>,
        id: LocalId,
        result: u32,
        from: usize,
    ) -> Result<(), UnitError> {
        let params = &self.open_prototypes[from..];
        let head = head(Name::EMPTY, Kind::FuncProto, vlen(params.len())?, false, result);
        unit.define(id, head, params.as_flattened());
        self.open_prototypes.truncate(from);
        Ok(())
    }

    /// The function at a DIE offset.
    fn find(&self, offset: u32) -> Option<usize> {
        if offset == 0 {
            return None;
        }
        self.all.binary_search_by_key(&offset, |function| function.offset).ok()
    }

    /// The functions that the one at `index` is an instance or definition of, itself first.
    pub(crate) fn with_origins(&self, index: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(index), |&at| self.find(self.all[at].origin)).take(MAX_ORIGINS)
    }

    /// Makes the prototypes of the functions that BTF may have: those that the symbol table knows, with named parameters.
    pub(crate) fn resolve(
        &mut self,
        unit: &mut Unit<'_>,
        finder: &Finder<'_>,
        convention: &Convention,
        address_size: u8,
        is_known: impl Fn(Name) -> bool,
    ) {
        let mut known = Vec::new();
        for index in 0..self.all.len() {
            let Function { mut name, mut result, origin, .. } = self.all[index];
            if origin != 0 {
                for origin in self.with_origins(index) {
                    let origin = &self.all[origin];
                    name = if name == Name::EMPTY { origin.name } else { name };
                    result = if result == 0 { origin.result } else { result };
                }
                let function = &mut self.all[index];
                (function.name, function.result) = (name, result);
            }
            if name != Name::EMPTY && is_known(name) {
                known.push((index, self.inherit(index)));
            }
        }
        // Instances have told their origins by now where the parameters are.
        for (index, reordered) in known {
            if !self.all[index].declaration {
                self.candidate(unit, finder, convention, address_size, index, reordered);
            }
        }
    }

    /// Gives a function's parameters the names and types of those that they are instances of, and these the places of theirs. Answers
    /// whether they stand in another order.
    fn inherit(&mut self, index: usize) -> bool {
        let mut reordered = false;
        for (position, at) in self.all[index].params.place.clone().enumerate() {
            let Param { origin, ty, place, has_location, .. } = self.params[at];
            if ty != 0 || origin == 0 {
                continue;
            }
            let Some(origin) = self.find_param(origin) else { continue };
            let start = origin.1;
            let original = &mut self.params[origin.0];
            original.has_location |= has_location;
            original.place.whole = place.whole.or(original.place.whole);
            original.place.first = place.first.or(original.place.first);
            let Param { name, ty, .. } = *original;
            reordered |= origin.0 - start != position;
            self.params[at].name = name;
            self.params[at].ty = ty;
        }
        reordered
    }

    /// The parameter at a DIE offset, and the first one of its function.
    fn find_param(&self, offset: u32) -> Option<(usize, usize)> {
        // The nearest function before it, unless that is one in whose body another is declared.
        let after = self.all.partition_point(|function| function.offset < offset);
        self.all[..after].iter().rev().take(MAX_NESTED).find_map(|function| {
            let Range { start, end } = function.params.place;
            let found = self.params.get(start..end)?.binary_search_by_key(&offset, |param| param.offset);
            found.ok().map(|at| (start + at, start))
        })
    }

    fn candidate(
        &mut self,
        unit: &mut Unit<'_>,
        finder: &Finder<'_>,
        convention: &Convention,
        address_size: u8,
        index: usize,
        reordered: bool,
    ) {
        let no_call = self.is_no_call(index);
        let Functions { all, params, payload, candidates, .. } = self;
        let function = &all[index];
        let list = &params[function.params.place.clone()];
        let fits = |param: &Param| param.name != Name::EMPTY && finder.find(param.ty).0 != 0;
        if !list.iter().all(fits) || vlen(list.len() + 1).is_err() {
            return;
        }
        payload.clear();
        payload.extend(list.iter().flat_map(|param| [param.name.word(), finder.find(param.ty).0]));
        if function.params.variadic {
            payload.extend([0, 0]);
        }
        let types = || payload.iter().skip(1).step_by(2).map(|&word| LocalId(word));
        let parameters = list.iter().zip(types()).map(|(param, ty)| Parameter {
            size: size_of(unit, ty, address_size).unwrap_or(0),
            is_struct: by_value(unit, ty).is_some(),
            has_location: param.has_location,
            place: param.place,
        });
        let judgement = convention.judge(parameters, function.code.clang, no_call);
        let packed = types()
            .take(list.len())
            .skip(convention.register_count())
            .filter_map(|ty| by_value(unit, ty))
            .any(|ty| is_packed(unit, ty, address_size, convention.max_alignment));
        let doubts = Doubts {
            moved: reordered || function.params.torn || judgement.unexpected,
            packed,
            optimized: judgement.optimized,
            no_call,
        };
        let result = finder.find(function.result);
        let signature = signature(unit, result, types());
        let head = head(Name::EMPTY, Kind::FuncProto, payload.len() as u32 / 2, false, result.0);
        let prototype = unit.push(head, payload);
        unit.hide(prototype);
        candidates.push(Candidate {
            function: index,
            name: function.name,
            prototype,
            params: list.len(),
            signature,
            address: function.code.address,
            doubts,
        });
    }

    /// Whether clang says that it calls the function in a way of its own. An abstract form stands for the source, whose prototype is right.
    fn is_no_call(&self, index: usize) -> bool {
        let Function { code, origin, .. } = self.all[index];
        let said = self.find(origin).map_or(code.no_call, |origin| self.all[origin].code.no_call);
        code.clang && !code.is_abstract && said
    }
}

/// How many functions may be declared in another's body, among its parameters, before those are not found. No compiler does it.
const MAX_NESTED: usize = 4;

/// How many typedefs and qualifiers are looked through.
const MAX_DEPTH: usize = 64;

/// The struct that a type is, typedefs and `const` looked through.
fn by_value(unit: &Unit<'_>, id: LocalId) -> Option<LocalId> {
    let mut id = id;
    for _ in 0..MAX_DEPTH {
        let &[_, info, third, ..] = unit.record(id) else { return None };
        match Kind::from_number(Info(info).kind_number())? {
            Kind::Struct => return Some(id),
            Kind::Typedef | Kind::Const => id = LocalId(third),
            _ => return None,
        }
    }
    None
}
