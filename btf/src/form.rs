//! BTF for readers that do not know all of its kinds.
//!
//! A kernel's BTF may hold kinds that are newer than the program that reads it: libbpf before 1.0 refuses a blob with one ENUM64. A [`Form`] says
//! which kinds a reader knows, and rewrites what it does not know into what it does, as pahole's `--skip_encoding_*` options and libbpf's
//! `bpf_object__sanitize_btf` do:
//!
//! | unknown | becomes |
//! |---|---|
//! | ENUM64 | ENUM of the same size; values keep their low 32 bits |
//! | the sign flag of ENUM | is cleared |
//! | FLOAT | INT of the same name and size, unsigned, as pahole writes without `--btf_gen_floats` |
//! | DECL_TAG | goes |
//! | TYPE_TAG | goes; what refers to it refers to what it is on |
//! | linkage of FUNC | is 0 |
//!
//! Sizes and offsets never change, so CO-RE relocations of fields resolve as before.

use crate::build::Builder;
use crate::error::{Error, Result};
use crate::kind::{Info, Kind, MAX_VLEN};
use crate::read::Btf;
use crate::refs::{Ref, visit_refs};
use crate::types::Type;
use crate::{StrOffset, TypeId};

/// What a reader of BTF knows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Form {
    /// ENUM64, and ENUM with a sign (the kind flag).
    pub enum64: bool,
    /// FLOAT.
    pub float: bool,
    /// DECL_TAG.
    pub decl_tag: bool,
    /// TYPE_TAG.
    pub type_tag: bool,
    /// DECL_TAG and TYPE_TAG with the kind flag, which stand for any attribute.
    pub attributes: bool,
    /// FUNC with a linkage other than static.
    pub func_linkage: bool,
}

/// A type that is not written.
const GONE: u32 = u32::MAX;
/// A type tag whose target is being looked for.
const OPEN: u32 = u32::MAX - 1;

impl Form {
    /// Everything that this library knows.
    pub const FULL: Form = Form {
        enum64: true,
        float: true,
        decl_tag: true,
        type_tag: true,
        attributes: true,
        func_linkage: true,
    };

    /// What a kernel of this version accepts, from 5.2 (which brought variables and sections) on.
    pub const fn for_kernel(major: u32, minor: u32) -> Form {
        Form {
            func_linkage: at_least(major, minor, 5, 6),
            float: at_least(major, minor, 5, 13),
            decl_tag: at_least(major, minor, 5, 16),
            type_tag: at_least(major, minor, 5, 17),
            enum64: at_least(major, minor, 6, 0),
            attributes: at_least(major, minor, 6, 15),
        }
    }

    /// What libbpf of this version reads, from 0.1 on.
    pub const fn for_libbpf(major: u32, minor: u32) -> Form {
        Form {
            func_linkage: true,
            float: at_least(major, minor, 0, 4),
            decl_tag: at_least(major, minor, 0, 6),
            type_tag: at_least(major, minor, 0, 6),
            enum64: at_least(major, minor, 1, 0),
            attributes: true,
        }
    }

    /// Rewrites self-contained BTF. The result keeps the order of types and has no string that it does not use; where no type went, ids are
    /// the same. Rewriting twice changes nothing more.
    ///
    /// Split BTF must be split again on the rewritten base ([`crate::BaseIndex::split`] of the rewritten [`crate::flatten`]), since ids change.
    ///
    /// # Errors
    /// [`Error::NotSelfContained`] for split BTF; [`Error::TooLarge`] for a type with more elements than readers before Linux 7.1 can know;
    /// [`Error::Invalid`] for type tags that contain themselves, references to a tag that goes, and a FLOAT of over 16 bytes; and what reading
    /// types or strings may answer.
    pub fn apply(&self, btf: &Btf<'_>) -> Result<Builder> {
        if btf.base().is_some() {
            return Err(Error::NotSelfContained { what: "rewriting for another reader" });
        }
        let ids = self.number(btf)?;
        let mut builder = Builder::new();
        let mut record = Vec::new();
        for ty in btf.types() {
            let ty = ty?;
            if self.omits(&ty) {
                continue;
            }
            self.rewrite(&ty, &mut record)?;
            let mut failed = Ok(());
            visit_refs(&mut record, |what, word| match what {
                Ref::Type => match ids.get(*word as usize) {
                    Some(&id) if id != GONE => *word = id,
                    Some(_) => failed = Err(invalid(&ty, "refers to a DECL_TAG")),
                    None => failed = Err(Error::NoSuchType { id: TypeId(*word), count: btf.type_count() }),
                },
                Ref::String => match btf.copied_string(StrOffset(*word)) {
                    Ok(text) => *word = builder.string(text).0,
                    Err(error) => failed = Err(error),
                },
            });
            failed?;
            builder.add_record(&record);
        }
        Ok(builder)
    }

    /// Whether a type goes.
    fn omits(&self, ty: &Type<'_>) -> bool {
        let known = match ty.kind() {
            Kind::DeclTag => self.decl_tag,
            Kind::TypeTag => self.type_tag,
            _ => return false,
        };
        !known || (ty.kind_flag() && !self.attributes)
    }

    /// The new ids of all types: of a type tag that goes, its target's.
    fn number(&self, btf: &Btf<'_>) -> Result<Vec<u32>> {
        let mut ids = vec![0];
        let mut tags = Vec::new();
        let mut next = 1;
        for ty in btf.types() {
            let ty = ty?;
            if !self.omits(&ty) {
                ids.push(next);
                next += 1;
            } else {
                ids.push(GONE);
                if ty.kind() == Kind::TypeTag {
                    tags.push(ty.id());
                }
            }
        }
        let mut chain = Vec::new();
        for tag in tags {
            let mut at = tag;
            let id = loop {
                match ids.get_mut(at.0 as usize) {
                    None => return Err(Error::NoSuchType { id: at, count: btf.type_count() }),
                    Some(&mut OPEN) => return Err(invalid(&btf.ty(at)?, "contains itself")),
                    Some(id) if *id == GONE => {
                        let ty = btf.ty(at)?;
                        let Some(target) = ty.target().filter(|_| ty.kind() == Kind::TypeTag) else {
                            break GONE;
                        };
                        *id = OPEN;
                        chain.push(at);
                        at = target;
                    }
                    Some(&mut id) => break id,
                }
            };
            for at in chain.drain(..) {
                ids[at.0 as usize] = id;
            }
        }
        Ok(ids)
    }

    /// A type's record as the reader knows it.
    fn rewrite(&self, ty: &Type<'_>, record: &mut Vec<u32>) -> Result<()> {
        let (vlen, size) = (ty.vlen(), ty.size_or_type());
        let mut head = |kind: Kind, vlen: u32| {
            record.clear();
            record.extend([ty.name_offset().0, Info::new(kind, vlen, false).0, size]);
        };
        match ty.kind() {
            Kind::Enum | Kind::Enum64 if !self.enum64 => {
                head(Kind::Enum, vlen);
                record.extend(ty.enumerators().flat_map(|one| [one.name.0, one.value as u32]));
            }
            Kind::Float if !self.float => {
                if size > 16 {
                    return Err(invalid(ty, "is larger than any INT"));
                }
                head(Kind::Int, 0);
                record.push(size * 8);
            }
            Kind::Func if !self.func_linkage => head(Kind::Func, 0),
            _ => {
                record.clear();
                record.extend(ty.words());
            }
        }
        if vlen > MAX_VLEN {
            let (value, limit) = (vlen.into(), MAX_VLEN.into());
            return Err(Error::TooLarge { what: "elements of a type", value, limit });
        }
        Ok(())
    }
}

fn invalid(ty: &Type<'_>, reason: &str) -> Error {
    Error::Invalid { id: ty.id(), kind: ty.kind(), offset: ty.offset(), reason: reason.to_owned() }
}

const fn at_least(major: u32, minor: u32, wanted_major: u32, wanted_minor: u32) -> bool {
    major > wanted_major || (major == wanted_major && minor >= wanted_minor)
}
