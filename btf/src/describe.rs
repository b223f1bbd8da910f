//! A type in words, for people who read reports and errors; not C, and not meant to be read back.

use bstr::ByteSlice;

use crate::compare::is_named;
use crate::error::Result;
use crate::kind::Kind;
use crate::read::Btf;
use crate::types::{Enumerator, Member, Param, SectionVar, Type};
use crate::{StrOffset, TypeId};

/// How deep a description follows unnamed types before it writes `…`.
const MAX_DEPTH: usize = 12;
/// How many bytes a line of a description may have before it ends in `…`.
const MAX_LINE: usize = 600;
/// A type in words, one line for the type and one for each member, enumerator, parameter or variable. Unnamed types are written where they are
/// used (deep nesting and long lines are cut with `…`). Offsets of members are in bits (`@offset:width`).
///
/// # Errors
/// What reading a type or string of the blob may answer.
pub fn describe(btf: &Btf<'_>, id: TypeId) -> Result<Vec<String>> {
    let ty = btf.ty(id)?;
    let line = |write: &dyn Fn(&mut Line<'_>) -> Result<()>| {
        let mut line = Line { btf, text: String::new(), depth: 0 };
        write(&mut line)?;
        Ok(line.text)
    };
    let mut lines = vec![line(&|line| {
        line.push(&format!("{} {}: ", keyword(&ty), line.string(ty.name_offset())?));
        line.head(&ty)
    })?];
    for element in elements(&ty) {
        lines.push(line(&|line| line.element(&element))?);
    }
    Ok(lines)
}

/// How the kind is written before a name.
fn keyword(ty: &Type<'_>) -> String {
    match ty.kind() {
        Kind::Fwd if ty.kind_flag() => "fwd union".to_owned(),
        Kind::Fwd => "fwd struct".to_owned(),
        kind => kind.as_str().to_ascii_lowercase(),
    }
}

/// What the elements of a type are.
enum Element {
    Member(Member),
    Enumerator(Enumerator),
    Param(Param),
    Var(SectionVar),
}

fn elements(ty: &Type<'_>) -> impl Iterator<Item = Element> {
    let members = ty.members().map(Element::Member).chain(ty.enumerators().map(Element::Enumerator));
    members.chain(ty.params().map(Element::Param)).chain(ty.section_vars().map(Element::Var))
}

/// One line of a description; it stops growing at [`MAX_LINE`].
struct Line<'a> {
    btf: &'a Btf<'a>,
    text: String,
    depth: usize,
}

impl Line<'_> {
    /// The start of a string, as much as a line may hold.
    fn string(&self, offset: StrOffset) -> Result<String> {
        let tail = self.btf.string_tail(offset)?;
        let tail = &tail[..tail.len().min(MAX_LINE)];
        Ok(tail[..tail.find_byte(0).unwrap_or(tail.len())].to_str_lossy().into_owned())
    }

    fn push(&mut self, text: &str) {
        if self.text.len() <= MAX_LINE {
            self.text.push_str(text);
            if self.text.len() > MAX_LINE {
                self.text.push('…');
            }
        }
    }

    /// What a type's line says besides kind, name and elements.
    fn head(&mut self, ty: &Type<'_>) -> Result<()> {
        let mut parts = Vec::new();
        parts.extend(ty.size().map(|size| format!("{size} bytes")));
        if let Some(int) = ty.int() {
            parts.push(format!("{} bits at {}, encoding {}", int.bits, int.bit_offset, int.encoding));
        }
        if ty.kind().is_any_enum() {
            parts.push(if ty.kind_flag() { "signed" } else { "unsigned" }.to_owned());
        } else if ty.kind_flag() && matches!(ty.kind(), Kind::DeclTag | Kind::TypeTag) {
            parts.push("attribute".to_owned());
        }
        parts.extend(ty.linkage().map(|linkage| format!("linkage {linkage}")));
        parts.extend(ty.component_index().map(|index| format!("component {index}")));
        if ty.kind().payload().element != 0 {
            parts.push(format!("{} elements", ty.vlen()));
        }
        self.push(&parts.join(", "));
        if let Some(target) = ty.target() {
            self.push(if parts.is_empty() { "" } else { ": " });
            self.reference(target)?;
        }
        Ok(())
    }

    fn element(&mut self, element: &Element) -> Result<()> {
        match element {
            Element::Member(member) => {
                let width =
                    if member.bit_width != 0 { format!(":{}", member.bit_width) } else { String::new() };
                self.push(&format!("{} @{}{width} ", self.string(member.name)?, member.bit_offset));
                self.reference(member.ty)
            }
            Element::Enumerator(enumerator) => {
                self.push(&format!("{} = {}", self.string(enumerator.name)?, enumerator.value));
                Ok(())
            }
            Element::Param(param) => {
                self.push(&format!("{} ", self.string(param.name)?));
                self.reference(param.ty)
            }
            Element::Var(var) => {
                self.push(&format!("@{} {} bytes ", var.offset, var.size));
                self.reference(var.ty)
            }
        }
    }

    fn reference(&mut self, id: TypeId) -> Result<()> {
        if id == TypeId::VOID {
            self.push("void");
            return Ok(());
        }
        let ty = self.btf.ty(id)?;
        if is_named(&ty) {
            self.push(&format!(
                "{} {}",
                keyword(&ty).trim_start_matches("fwd "),
                self.string(ty.name_offset())?
            ));
            return Ok(());
        }
        if self.depth == MAX_DEPTH || self.text.len() > MAX_LINE {
            self.push("…");
            return Ok(());
        }
        self.depth += 1;
        match ty.kind() {
            Kind::Ptr => self.push("*"),
            Kind::TypeTag => self.push(&format!("type_tag({:?}) ", self.string(ty.name_offset())?)),
            _ => self.push(&keyword(&ty)),
        }
        if let Some(array) = ty.array() {
            self.push(&format!(" [{} by ", array.len));
            self.reference(array.index)?;
            self.push("] of ");
            self.reference(array.element)?;
        } else if ty.kind() == Kind::Ptr || ty.kind().is_modifier() {
            self.push(if matches!(ty.kind(), Kind::Ptr | Kind::TypeTag) { "" } else { " " });
            self.reference(ty.target().unwrap_or_default())?;
        } else {
            self.push(" (");
            self.head(&ty)?;
            for element in elements(&ty) {
                self.push("; ");
                if self.text.len() > MAX_LINE {
                    break;
                }
                self.element(&element)?;
            }
            self.push(")");
        }
        self.depth -= 1;
        Ok(())
    }
}
