//! Functions and the prototypes of the types of functions.

use std::ops::Range;

use btf::Kind;
use btf::dedup::{LocalId, Name, Unit, head};

use super::references::Finder;
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
    /// Whether it has an address.
    pub(crate) has_code: bool,
    pub(crate) params: Params,
}

/// Where a function's parameters are.
#[derive(Default, Clone, Debug)]
pub(crate) struct Params {
    /// Among those of finished functions.
    place: Range<usize>,
    variadic: bool,
    /// Among those of unfinished ones.
    open_from: usize,
}

#[derive(Clone, Copy, Debug)]
struct Param {
    name: Name,
    ty: u32,
    ellipsis: bool,
}

/// A function that BTF may have, once all units are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) name: Name,
    /// Its FUNC_PROTO.
    pub(crate) prototype: LocalId,
    /// The same without the names of parameters, by which prototypes are compared.
    pub(crate) signature: LocalId,
}

/// The functions of a unit.
#[derive(Default)]
pub(crate) struct Functions {
    all: Vec<Function>,
    /// Parameters of finished functions.
    params: Vec<Param>,
    /// Parameters of the functions and prototypes that are being read, innermost last.
    open: Vec<Param>,
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
        self.params.extend(self.open.drain(function.params.open_from..));
        function.params.place = from..self.params.len();
        function.params.variadic = self.params[from..].last().is_some_and(|param| param.ellipsis);
    }

    pub(crate) fn param(&mut self, name: Name, ty: u32) {
        self.open.push(Param { name, ty, ellipsis: false });
    }

    pub(crate) fn ellipsis(&mut self) {
        self.open.push(Param { name: Name::EMPTY, ty: 0, ellipsis: true });
    }

    pub(crate) fn params_len(&self) -> usize {
        self.open.len()
    }

    /// Writes the FUNC_PROTO of a `DW_TAG_subroutine_type`, whose references stay DIE offsets like those of all types for now.
    pub(crate) fn define_prototype(
        &mut self,
        unit: &mut Unit<'_>,
        id: LocalId,
        result: u32,
        from: usize,
    ) -> Result<(), UnitError> {
        let vlen = vlen(self.open.len() - from)?;
        self.payload.clear();
        self.payload.extend(self.open.drain(from..).flat_map(|param| [param.name.word(), param.ty]));
        unit.define(id, head(Name::EMPTY, Kind::FuncProto, vlen, false, result), &self.payload);
        Ok(())
    }

    /// Makes the prototypes of the functions that BTF may have: with code of their own, named, and with named parameters.
    pub(crate) fn resolve(&mut self, unit: &mut Unit<'_>, finder: &Finder<'_>) {
        let Functions { all, params, payload, candidates, .. } = self;
        let find = |offset: u32| {
            all.binary_search_by_key(&offset, |function| function.offset).ok().map(|at| &all[at])
        };
        for function in all.iter().filter(|function| !function.declaration && function.has_code) {
            let mut source = function;
            let mut name = function.name;
            for _ in 0..MAX_ORIGINS {
                match find(source.origin) {
                    Some(origin) if source.origin != 0 => source = origin,
                    _ => break,
                }
                if name == Name::EMPTY {
                    name = source.name;
                }
            }
            let list = &params[source.params.place.clone()];
            let named = |param: &Param| param.ellipsis || param.name != Name::EMPTY;
            let fixed = list.len() - usize::from(source.params.variadic);
            if name == Name::EMPTY
                || !list.iter().all(named)
                || list[..fixed].iter().any(|param| param.ellipsis || finder.find(param.ty).0 == 0)
                || vlen(list.len()).is_err()
            {
                continue;
            }
            let result = finder.find(source.result);
            let head = head(Name::EMPTY, Kind::FuncProto, list.len() as u32, false, result.0);
            payload.clear();
            payload.extend(list.iter().flat_map(|param| [param.name.word(), finder.find(param.ty).0]));
            let prototype = unit.push(head, payload);
            for word in payload.iter_mut().step_by(2) {
                *word = 0;
            }
            let signature = unit.push(head, payload);
            unit.hide(prototype);
            unit.hide(signature);
            candidates.push(Candidate { name, prototype, signature });
        }
    }
}
