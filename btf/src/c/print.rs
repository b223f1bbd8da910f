//! Declarations: a type and a name as C writes them, inside out.

use std::fmt::Write as _;

use bstr::ByteSlice;

use super::layout::{Layouts, MAX_CHAIN, Plan, skip};
use super::names::{Names, Scalar, identifier};
use crate::error::{Error, Result};
use crate::kind::Kind;
use crate::read::Btf;
use crate::types::Type;
use crate::{StrOffset, TypeId};

/// The longest hole in bits that is written as unnamed bitfields, which BTF does not show: a page of 64 KiB. Others become an array.
const LONGEST: u64 = 64 << 13;

/// Prints the declarations of one blob.
pub(super) struct Printer<'b, 'a> {
    btf: &'b Btf<'a>,
    pub(super) names: Names,
    /// The typedefs printed so far: others cannot be used yet.
    known: Vec<bool>,
    layouts: Layouts<'b, 'a>,
    /// Bodies of unnamed types are left out: `struct {…}`.
    brief: bool,
    depth: u32,
    /// Members and parameters that may still be printed: unnamed types are printed wherever they are used, and could multiply without end.
    budget: u64,
}

impl<'b, 'a> Printer<'b, 'a> {
    pub(super) fn new(btf: &'b Btf<'a>, names: Names, pointer_size: u32) -> Self {
        let (layouts, known) = (Layouts::new(btf, pointer_size), vec![false; btf.type_count() as usize]);
        let budget = (btf.bytes().len() as u64 / 2).max(1 << 16);
        Self { btf, names, known, layouts, brief: false, depth: 0, budget }
    }

    /// A printer of single lines, which takes every typedef for known.
    pub(super) fn brief(btf: &'b Btf<'a>, names: Names, pointer_size: u32) -> Self {
        let mut printer = Self::new(btf, names, pointer_size);
        printer.known.fill(true);
        printer.brief = true;
        printer
    }

    /// A declaration in one line, without a semicolon. The name may be empty.
    pub(super) fn line(&mut self, id: TypeId, name: &str) -> Result<String> {
        let mut out = String::new();
        self.budget = 1 << 16;
        self.declarator(&mut out, id, name.to_owned(), 0)?;
        Ok(out)
    }

    /// `struct name;`
    pub(super) fn declare(&self, out: &mut String, id: TypeId) -> Result<()> {
        let ty = self.btf.ty(id)?;
        let _ = writeln!(out, "{} {};\n", keyword(&ty), self.names.of(id));
        Ok(())
    }

    /// A type's definition, with its semicolon.
    pub(super) fn define(&mut self, out: &mut String, id: TypeId) -> Result<()> {
        let ty = self.btf.ty(id)?;
        match ty.kind() {
            Kind::Typedef => {
                let name = self.names.of(id).to_owned();
                let target = ty.target().unwrap_or_default();
                out.push_str("typedef ");
                // gcc describes its own type as void.
                if target == TypeId::VOID && name.contains("va_list") {
                    let _ = write!(out, "__builtin_va_list {name}");
                } else {
                    self.declarator(out, target, name, 0)?;
                }
                self.known[id.0 as usize] = true;
            }
            Kind::Int | Kind::Float => {
                let Some(Scalar::Alias { name, of }) = self.names.scalar_of(id) else { return Ok(()) };
                let _ = match of {
                    Some(words) => write!(out, "typedef {words} {name}"),
                    None => {
                        let size = ty.size().unwrap_or(0);
                        write!(out, "typedef struct {{\n\tunsigned char bytes[{size}];\n}} {name}")
                    }
                };
            }
            _ => {
                let tag = self.names.of(id).to_owned();
                self.body(out, &ty, &tag, 0)?;
            }
        }
        out.push_str(";\n\n");
        Ok(())
    }

    /// A function's prototype.
    pub(super) fn prototype(&mut self, out: &mut String, func: &Type<'a>, name: &str) -> Result<()> {
        self.declarator(out, func.target().unwrap_or_default(), name.to_owned(), 0)
    }

    /// A type with the name that is declared to have it; the name may be empty.
    fn declarator(&mut self, out: &mut String, mut id: TypeId, name: String, indent: usize) -> Result<()> {
        let mut inner = name;
        let mut qualifiers: Vec<String> = Vec::new();
        for _ in 0..MAX_CHAIN {
            if id == TypeId::VOID {
                return finish(out, &qualifiers, "void", &inner);
            }
            let ty = self.btf.ty(id)?;
            let next = ty.target().unwrap_or_default();
            match ty.kind() {
                Kind::Const | Kind::Volatile | Kind::Restrict => {
                    // Arrays of constants are constant twice, and C says it once.
                    let word = ty.kind().as_str().to_ascii_lowercase();
                    if !qualifiers.contains(&word) {
                        qualifiers.push(word);
                    }
                }
                Kind::TypeTag => qualifiers.extend(self.type_tag(&ty)?),
                Kind::Ptr => {
                    inner = if qualifiers.is_empty() {
                        format!("*{inner}")
                    } else {
                        format!("* {} {inner}", qualifiers.join(" "))
                    };
                    qualifiers.clear();
                }
                Kind::Array => {
                    let array = ty.array().ok_or_else(|| unexpected(&ty))?;
                    inner = format!("{}[{}]", bracketed(inner), array.len);
                    id = array.element;
                    continue;
                }
                Kind::FuncProto => {
                    inner = bracketed(inner);
                    qualifiers.clear();
                    self.params(&mut inner, &ty, indent)?;
                }
                Kind::Typedef if self.known[id.0 as usize] => {
                    return finish(out, &qualifiers, self.names.of(id), &inner);
                }
                // Two typedefs that need each other, each from another unit: one is printed through to what it means.
                Kind::Typedef if inner.starts_with('*') => {
                    let base = self.tag_behind(next)?.unwrap_or_else(|| "void".to_owned());
                    return finish(out, &qualifiers, &base, &inner);
                }
                Kind::Typedef => {}
                _ => {
                    let base = self.base(&ty, indent)?;
                    return finish(out, &qualifiers, &base, &inner);
                }
            }
            id = next;
        }
        let ty = self.btf.ty(id)?;
        Err(invalid(&ty, format!("more than {MAX_CHAIN} types stand between a name and what it is")))
    }

    /// A type that is no pointer, array, function or typedef: by its name, or with its body where it has none.
    fn base(&mut self, ty: &Type<'a>, indent: usize) -> Result<String> {
        match ty.kind() {
            Kind::Int | Kind::Float => Ok(match self.names.scalar_of(ty.id()) {
                Some(Scalar::Plain(words)) => words.clone(),
                Some(Scalar::Alias { name, .. }) => name.clone(),
                None => return Err(unexpected(ty)),
            }),
            Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Fwd => {
                let tag = self.names.of(ty.id());
                if !tag.is_empty() {
                    return Ok(format!("{} {tag}", keyword(ty)));
                }
                if self.brief {
                    return Ok(format!("{} {{…}}", keyword(ty)));
                }
                let mut body = String::new();
                self.body(&mut body, ty, "", indent)?;
                Ok(body)
            }
            _ => Err(unexpected(ty)),
        }
    }

    /// The struct, union or enum with a name that a typedef leads to, if it leads to one.
    fn tag_behind(&self, mut id: TypeId) -> Result<Option<String>> {
        for _ in 0..MAX_CHAIN {
            if id == TypeId::VOID {
                break;
            }
            let ty = self.btf.ty(id)?;
            match ty.kind() {
                Kind::Typedef | Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag => {
                    id = ty.target().unwrap_or_default();
                }
                Kind::Struct | Kind::Union | Kind::Fwd if ty.name_offset().0 != 0 => {
                    return Ok(Some(format!("{} {}", keyword(&ty), self.names.of(id))));
                }
                _ => break,
            }
        }
        Ok(None)
    }

    fn type_tag(&self, ty: &Type<'a>) -> Result<Option<String>> {
        let value = self.btf.name(ty)?;
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_:-.".contains(byte);
        let printable = !ty.kind_flag() && value.iter().all(plain);
        Ok(printable.then(|| format!("__attribute__((btf_type_tag(\"{}\")))", value.to_str_lossy())))
    }

    fn params(&mut self, inner: &mut String, proto: &Type<'a>, indent: usize) -> Result<()> {
        self.deeper(proto)?;
        inner.push('(');
        let count = proto.params().len();
        for (index, param) in proto.params().enumerate() {
            if index > 0 {
                inner.push_str(", ");
            }
            if param.ty == TypeId::VOID && param.name == StrOffset(0) && index + 1 == count && index > 0 {
                inner.push_str("...");
                continue;
            }
            let name = identifier(self.btf, param.name)?.into_owned();
            self.declarator(inner, param.ty, name, indent)?;
        }
        inner.push_str(if count == 0 { "void)" } else { ")" });
        self.depth -= 1;
        Ok(())
    }

    fn deeper(&mut self, ty: &Type<'a>) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_CHAIN {
            return Err(invalid(ty, format!("types contain each other more than {MAX_CHAIN} deep")));
        }
        self.spend(ty, (ty.members().len() + ty.params().len() + ty.enumerators().len()) as u64)
    }

    /// Counts lines of C.
    fn spend(&mut self, ty: &Type<'a>, lines: u64) -> Result<()> {
        self.budget = self.budget.checked_sub(lines + 1).ok_or_else(|| {
            invalid(
                ty,
                "unnamed types are used so often within each other that their C has no end".to_owned(),
            )
        })?;
        Ok(())
    }

    /// A struct, union or enum with what is in it.
    fn body(&mut self, out: &mut String, ty: &Type<'a>, tag: &str, indent: usize) -> Result<()> {
        out.push_str(keyword(ty));
        if !tag.is_empty() {
            let _ = write!(out, " {tag}");
        }
        out.push_str(" {\n");
        self.deeper(ty)?;
        if ty.kind().is_any_enum() {
            self.depth -= 1;
            return self.enumerators(out, ty, tag, indent);
        }
        let plan = self.layouts.plan(ty)?;
        if plan.opaque {
            // It is there, as large as it is, and nobody reads a member at the wrong place.
            line(out, indent + 1, &format!("unsigned char ___bytes[{}];", ty.size().unwrap_or(0)));
        } else {
            self.members(out, ty, &plan, indent + 1)?;
        }
        line(out, indent, "}");
        out.pop();
        if plan.packed {
            out.push_str(" __attribute__((packed))");
        }
        if let Some(align) = plan.aligned {
            let _ = write!(out, " __attribute__((aligned({align})))");
        }
        self.depth -= 1;
        Ok(())
    }

    fn members(&mut self, out: &mut String, ty: &Type<'a>, plan: &Plan, indent: usize) -> Result<()> {
        let holes = plan.before.iter().chain([&plan.after]);
        self.spend(ty, holes.map(|hole| hole.min(&LONGEST).div_ceil(plan.widest.into())).sum())?;
        for (index, (member, hole)) in ty.members().zip(&plan.before).enumerate() {
            let (at, width) = self.layouts.place(&member)?;
            padding(out, at - hole, *hole, plan.widest, indent);
            line(out, indent, "");
            out.pop();
            let unnamed = member.name.0 == 0 && width == 0;
            match skip(self.btf, member.ty)?.filter(|ty| unnamed && ty.kind().is_composite()) {
                // What -fms-extensions allow: a struct with a name as an unnamed member. Everywhere else it needs its body.
                Some(inner) if inner.name_offset().0 != 0 => self.body(out, &inner, "", indent)?,
                Some(_) => self.declarator(out, member.ty, String::new(), indent)?,
                // C has unnamed bitfields, but no unnamed numbers.
                None if unnamed => {
                    self.declarator(out, member.ty, format!("___unnamed_{index}"), indent)?;
                }
                None => {
                    let name = identifier(self.btf, member.name)?.into_owned();
                    self.declarator(out, member.ty, name, indent)?;
                }
            }
            if width != 0 {
                let _ = write!(out, ": {width}");
            }
            out.push_str(";\n");
        }
        let end = u64::from(ty.size().unwrap_or(0)) * 8;
        padding(out, end - plan.after, plan.after, plan.widest, indent);
        Ok(())
    }

    fn enumerators(&mut self, out: &mut String, ty: &Type<'a>, tag: &str, indent: usize) -> Result<()> {
        let (signed, wide) = (ty.kind_flag(), ty.kind() == Kind::Enum64);
        let mut fits_int = true;
        for enumerator in ty.enumerators() {
            let name = identifier(self.btf, enumerator.name)?;
            let name = self.names.ordinary(&name);
            let value = enumerator.value;
            let unsigned = value as u64;
            fits_int &= if signed {
                i32::try_from(value).is_ok() || u32::try_from(value).is_ok()
            } else {
                u32::try_from(unsigned).is_ok()
            };
            let value = match (signed, wide) {
                (true, true) if value == i64::MIN => format!("{}LL - 1", value + 1),
                (true, true) => format!("{value}LL"),
                (false, true) => format!("{unsigned}ULL"),
                (true, false) => value.to_string(),
                (false, false) if unsigned > i32::MAX as u64 => format!("{unsigned}U"),
                (false, false) => unsigned.to_string(),
            };
            line(out, indent + 1, &format!("{name} = {value},"));
        }
        if ty.enumerators().len() == 0 {
            // Only declared where BTF was made; C wants to know its size all the same.
            let name = self.names.ordinary(&format!("{tag}___unknown"));
            line(out, indent + 1, &format!("{name},"));
        }
        line(out, indent, "}");
        out.pop();
        out.push_str(match (ty.size(), fits_int) {
            (Some(1), _) => " __attribute__((mode(byte)))",
            (Some(2), _) => " __attribute__((mode(HI)))",
            (Some(8), true) => " __attribute__((mode(DI)))",
            _ => "",
        });
        Ok(())
    }
}

/// Base and declarator, with the base's qualifiers.
fn finish(out: &mut String, qualifiers: &[String], base: &str, inner: &str) -> Result<()> {
    // `restrict` is for pointers only; attributes stand behind what they are on.
    let (tags, words): (Vec<_>, Vec<_>) = qualifiers.iter().partition(|word| word.starts_with("__"));
    for word in words.iter().filter(|word| **word != "restrict") {
        let _ = write!(out, "{word} ");
    }
    out.push_str(base);
    for tag in tags {
        let _ = write!(out, " {tag}");
    }
    if !inner.is_empty() {
        let _ = write!(out, " {inner}");
    }
    Ok(())
}

/// What is an array or a function is written behind the name; a pointer to it needs brackets.
fn bracketed(inner: String) -> String {
    if inner.starts_with('*') { format!("({inner})") } else { inner }
}

/// Unnamed bitfields for `bits` bits from bit `at` on, none of which C would move.
fn padding(out: &mut String, mut at: u64, mut bits: u64, widest: u32, indent: usize) {
    const UNITS: [(u64, &str); 4] = [(8, "char"), (16, "short"), (32, "int"), (64, "long long")];
    let widest = u64::from(widest);
    if bits > LONGEST {
        let unaligned = at.next_multiple_of(8) - at;
        let bytes = (bits - unaligned) / 8;
        padding(out, at, unaligned, 8, indent);
        line(out, indent, &format!("unsigned char ___hole_{}[{bytes}];", at.div_ceil(8)));
        (at, bits) = (at + unaligned + bytes * 8, bits - unaligned - bytes * 8);
    }
    while bits > 0 {
        let chunk = bits.min(widest - at % widest);
        let fits = |unit: &&(u64, &str)| at % unit.0 + chunk <= unit.0;
        let word = UNITS.iter().find(fits).map_or("long long", |unit| unit.1);
        line(out, indent, &format!("{word}: {chunk};"));
        at += chunk;
        bits -= chunk;
    }
}

fn line(out: &mut String, indent: usize, text: &str) {
    out.extend(std::iter::repeat_n('\t', indent));
    out.push_str(text);
    out.push('\n');
}

/// The word before a tag.
fn keyword(ty: &Type<'_>) -> &'static str {
    match ty.kind() {
        Kind::Union => "union",
        Kind::Fwd if ty.kind_flag() => "union",
        Kind::Enum | Kind::Enum64 => "enum",
        _ => "struct",
    }
}

fn invalid(ty: &Type<'_>, reason: String) -> Error {
    Error::Invalid { id: ty.id(), kind: ty.kind(), offset: ty.offset(), reason }
}

fn unexpected(ty: &Type<'_>) -> Error {
    invalid(ty, "it is used where a type is needed".to_owned())
}
