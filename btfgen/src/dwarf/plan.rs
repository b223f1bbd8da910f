//! What to do with the bytes of a DIE, worked out once for each abbreviation.
//!
//! Most attributes of most DIEs do not matter for types. A [`Plan`] lists, for one abbreviation, the attributes that do, with their forms, and
//! what lies between them as lengths to pass over.

use gimli::{DwAt, DwForm, DwTag, Encoding, Format};
use hashbrown::HashMap;

use super::cursor::{Cursor, Truncated};
use super::form;
use super::layout::Layout;
use super::unit_error::UnitError;

/// What a DIE means for the conversion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    BaseType,
    /// Pointers, references, pointers to members: all become PTR.
    Pointer,
    Const,
    Volatile,
    Restrict,
    /// `_Atomic`: BTF has no word for it, and the type it qualifies has the same layout.
    Atomic,
    Typedef,
    Struct,
    Union,
    Enumeration,
    Enumerator,
    Array,
    Subrange,
    SubroutineType,
    Parameter,
    UnspecifiedParameters,
    Member,
    Subprogram,
    Variable,
    /// A tag: clang's stand below what they are on, gcc's are referred to.
    Annotation,
    /// `DW_TAG_unspecified_type`: void.
    Unspecified,
    /// `DW_TAG_imported_unit`: another unit's DIEs belong to this one too.
    Import,
    /// Of this DIE only the children matter.
    Transparent,
    /// Nothing in this DIE or below it matters.
    Opaque,
    /// A unit's root.
    Unit,
    /// There is no such abbreviation.
    Missing,
}

impl Role {
    fn of(tag: DwTag) -> Role {
        match tag {
            gimli::DW_TAG_base_type => Role::BaseType,
            gimli::DW_TAG_pointer_type
            | gimli::DW_TAG_reference_type
            | gimli::DW_TAG_rvalue_reference_type
            | gimli::DW_TAG_ptr_to_member_type => Role::Pointer,
            gimli::DW_TAG_const_type => Role::Const,
            gimli::DW_TAG_volatile_type => Role::Volatile,
            gimli::DW_TAG_restrict_type => Role::Restrict,
            gimli::DW_TAG_atomic_type => Role::Atomic,
            gimli::DW_TAG_typedef | gimli::DW_TAG_template_alias => Role::Typedef,
            gimli::DW_TAG_structure_type | gimli::DW_TAG_class_type | gimli::DW_TAG_interface_type => {
                Role::Struct
            }
            gimli::DW_TAG_union_type => Role::Union,
            gimli::DW_TAG_enumeration_type => Role::Enumeration,
            gimli::DW_TAG_enumerator => Role::Enumerator,
            gimli::DW_TAG_array_type => Role::Array,
            gimli::DW_TAG_subrange_type => Role::Subrange,
            gimli::DW_TAG_subroutine_type => Role::SubroutineType,
            gimli::DW_TAG_formal_parameter => Role::Parameter,
            gimli::DW_TAG_unspecified_parameters => Role::UnspecifiedParameters,
            gimli::DW_TAG_member => Role::Member,
            gimli::DW_TAG_subprogram => Role::Subprogram,
            gimli::DW_TAG_variable => Role::Variable,
            gimli::DW_TAG_unspecified_type | gimli::DW_TAG_string_type => Role::Unspecified,
            gimli::DW_TAG_compile_unit
            | gimli::DW_TAG_partial_unit
            | gimli::DW_TAG_type_unit
            | gimli::DW_TAG_skeleton_unit => Role::Unit,
            gimli::DW_TAG_imported_unit => Role::Import,
            gimli::DW_TAG_namespace | gimli::DW_TAG_module => Role::Opaque,
            DW_TAG_LLVM_ANNOTATION | DW_TAG_GNU_ANNOTATION => Role::Annotation,
            _ => Role::Transparent,
        }
    }
}

/// An attribute that matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Attr {
    Name,
    Type,
    ByteSize,
    BitSize,
    BitOffset,
    DataBitOffset,
    MemberLocation,
    Encoding,
    Declaration,
    External,
    ConstValue,
    UpperBound,
    Count,
    /// `DW_AT_decl_line`, by which unnamed types are told apart.
    Line,
    /// `DW_AT_abstract_origin` or `DW_AT_specification`.
    Origin,
    Location,
    /// `DW_AT_const_value` of a tag.
    Text,
    /// `DW_AT_GNU_annotation`: the tags of gcc.
    Annotation,
    LowPc,
    Ranges,
    Inline,
    CallingConvention,
    Artificial,
    Signature,
    /// `DW_AT_import`: the unit.
    Import,
    Language,
    Producer,
    StrOffsetsBase,
    AddrBase,
    LocListsBase,
    RngListsBase,
    DwoName,
}

// What gimli has no names for.
const DW_TAG_LLVM_ANNOTATION: DwTag = DwTag(0x6000);
const DW_TAG_GNU_ANNOTATION: DwTag = DwTag(0x6001);
const DW_AT_GNU_ANNOTATION: DwAt = DwAt(0x2139);

impl Attr {
    fn of(name: DwAt, role: Role) -> Option<Attr> {
        Some(match name {
            gimli::DW_AT_name => Attr::Name,
            gimli::DW_AT_type => Attr::Type,
            gimli::DW_AT_byte_size => Attr::ByteSize,
            gimli::DW_AT_bit_size => Attr::BitSize,
            gimli::DW_AT_bit_offset => Attr::BitOffset,
            gimli::DW_AT_data_bit_offset => Attr::DataBitOffset,
            gimli::DW_AT_data_member_location => Attr::MemberLocation,
            gimli::DW_AT_encoding => Attr::Encoding,
            gimli::DW_AT_declaration => Attr::Declaration,
            gimli::DW_AT_external => Attr::External,
            gimli::DW_AT_const_value if role == Role::Annotation => Attr::Text,
            gimli::DW_AT_const_value => Attr::ConstValue,
            gimli::DW_AT_upper_bound => Attr::UpperBound,
            gimli::DW_AT_count => Attr::Count,
            gimli::DW_AT_decl_line => Attr::Line,
            gimli::DW_AT_abstract_origin | gimli::DW_AT_specification => Attr::Origin,
            gimli::DW_AT_location => Attr::Location,
            gimli::DW_AT_low_pc => Attr::LowPc,
            gimli::DW_AT_ranges => Attr::Ranges,
            gimli::DW_AT_inline => Attr::Inline,
            gimli::DW_AT_calling_convention => Attr::CallingConvention,
            gimli::DW_AT_artificial => Attr::Artificial,
            DW_AT_GNU_ANNOTATION => Attr::Annotation,
            gimli::DW_AT_signature => Attr::Signature,
            gimli::DW_AT_import => Attr::Import,
            gimli::DW_AT_language => Attr::Language,
            gimli::DW_AT_producer => Attr::Producer,
            gimli::DW_AT_str_offsets_base => Attr::StrOffsetsBase,
            gimli::DW_AT_addr_base => Attr::AddrBase,
            gimli::DW_AT_loclists_base => Attr::LocListsBase,
            gimli::DW_AT_rnglists_base => Attr::RngListsBase,
            gimli::DW_AT_dwo_name | gimli::DW_AT_GNU_dwo_name => Attr::DwoName,
            _ => return None,
        })
    }
}

impl Role {
    /// Whether such a DIE matters in a block in a function's body.
    #[inline]
    pub(crate) fn matters_in_body(self) -> bool {
        !matches!(self, Role::Transparent | Role::Variable | Role::Parameter | Role::UnspecifiedParameters)
    }

    /// Whether its children are nothing but tags.
    fn is_tagged_below(self) -> bool {
        matches!(self, Role::Pointer | Role::Typedef | Role::Member | Role::Parameter)
    }

    /// Whether an attribute matters on a DIE of this role.
    fn wants(self, attr: Attr) -> bool {
        use Attr::*;
        match self {
            Role::BaseType => matches!(attr, Name | ByteSize | Encoding),
            Role::Pointer => matches!(attr, Type | Annotation),
            Role::Const | Role::Volatile | Role::Restrict | Role::Atomic => {
                matches!(attr, Type)
            }
            Role::Typedef => matches!(attr, Name | Type | Annotation),
            Role::Struct | Role::Union => {
                matches!(attr, Name | ByteSize | Declaration | Signature | Annotation | Line)
            }
            Role::Enumeration => matches!(attr, Name | ByteSize | Type | Signature | Line),
            Role::Enumerator => matches!(attr, Name | ConstValue),
            Role::Array => matches!(attr, Type),
            Role::Subrange => matches!(attr, UpperBound | Count),
            Role::SubroutineType => matches!(attr, Type),
            Role::Parameter => matches!(attr, Name | Type | Origin | Location | Annotation),
            Role::Member => matches!(
                attr,
                Name | Type
                    | ByteSize
                    | BitSize
                    | BitOffset
                    | DataBitOffset
                    | MemberLocation
                    | External
                    | Declaration
                    | Annotation
            ),
            Role::Subprogram => matches!(
                attr,
                Name | Type | Declaration | Origin | LowPc | Ranges | Inline | CallingConvention | Annotation
            ),
            Role::Variable => matches!(
                attr,
                Name | Type | Declaration | External | Origin | Location | Artificial | Annotation
            ),
            Role::Import => matches!(attr, Import),
            Role::Annotation => matches!(attr, Name | Text | Annotation),
            Role::Unit => matches!(
                attr,
                Language
                    | Producer
                    | LowPc
                    | StrOffsetsBase
                    | AddrBase
                    | LocListsBase
                    | RngListsBase
                    | DwoName
            ),
            Role::UnspecifiedParameters
            | Role::Unspecified
            | Role::Transparent
            | Role::Opaque
            | Role::Missing => false,
        }
    }
}

/// One step through a DIE's bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// Read an attribute that matters. The number is the value of `DW_FORM_implicit_const`.
    Read(Attr, DwForm, i64),
    /// Pass over this many bytes.
    Skip(u32),
    /// Pass over a value whose form has no fixed length.
    SkipForm(DwForm),
}

/// How to read the DIEs of one abbreviation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) role: Role,
    pub(crate) has_children: bool,
    /// How to read it at once, if everything in it that matters has a fixed place.
    pub(crate) layout: Option<Layout>,
    /// Length in bytes of what follows the code; [`VARIABLE`] if it is not always the same.
    len: u32,
    /// Where the steps start in [`Plans`], and how many there are.
    first: u32,
    steps: u32,
}

const VARIABLE: u32 = u32::MAX;

impl Plan {
    const MISSING: Plan =
        Plan { role: Role::Missing, has_children: false, layout: None, len: 0, first: 0, steps: 0 };
}

/// The plans of one abbreviation table (DWARF 5, section 7.5.3).
#[derive(Default, Debug)]
pub(crate) struct Plans {
    /// By code, with [`Role::Missing`] in gaps. Compilers number abbreviations from 1 without any.
    plans: Vec<Plan>,
    /// Those with larger codes.
    others: HashMap<u64, Plan, foldhash::fast::RandomState>,
    /// Those of this and earlier tables by their bytes: compilers write the same few hundred abbreviations over and over.
    known: HashMap<Box<[u8]>, Plan, foldhash::fast::RandomState>,
    /// Of all known plans.
    steps: Vec<Step>,
    /// The encoding that they are for.
    encoding: Option<Encoding>,
    attributes: Vec<Attribute>,
}

/// An attribute of an abbreviation.
#[derive(Clone, Copy, Debug)]
struct Attribute {
    name: DwAt,
    form: DwForm,
    /// The value of `DW_FORM_implicit_const`.
    implicit: i64,
}

/// Codes from here on are not kept in the list.
const LIST_LEN: u64 = 1024;

/// More attributes than any DIE has, for each may be there only once and some two hundred exist. It bounds the work for one DIE.
const MAX_ATTRIBUTES: usize = 256;

/// How many steps are kept from table to table. Kernels have a few thousand.
const MAX_KNOWN_STEPS: usize = 1 << 16;

impl Plans {
    /// Reads the table at `offset` of `.debug_abbrev`, in place of the one read before.
    pub(crate) fn read(&mut self, bytes: &[u8], offset: usize, encoding: Encoding) -> Result<(), UnitError> {
        self.plans.clear();
        self.others.clear();
        if self.encoding != Some(encoding) || self.steps.len() > MAX_KNOWN_STEPS {
            self.known.clear();
            self.steps.clear();
            self.encoding = Some(encoding);
        }
        let damaged = |at: usize, what: &str| UnitError::Table(offset, format!("{what} at offset 0x{at:x}"));
        // The byte order does not matter: tables are made of bytes and LEB128 numbers.
        let mut cursor = Cursor::<false>::new(bytes, offset);
        loop {
            let at = cursor.position();
            let truncated = |_| damaged(at, "it ends inside the abbreviation");
            let code = cursor.uleb().map_err(truncated)?;
            if code == 0 {
                return Ok(());
            }
            let start = cursor.position();
            skip_declaration(&mut cursor).map_err(truncated)?;
            let declaration = &bytes[start..cursor.position()];
            let plan = match self.known.get(declaration) {
                Some(plan) => *plan,
                None => {
                    let plan = self.make(declaration, encoding).map_err(|error| match error {
                        Unreadable::Truncated => truncated(Truncated),
                        Unreadable::TooLong => UnitError::TooLarge("a DIE with more than 256 attributes"),
                        Unreadable::Unknown => {
                            damaged(at, "an attribute of no known name or form in the abbreviation")
                        }
                    })?;
                    self.known.insert(declaration.into(), plan);
                    plan
                }
            };
            let twice = if code < LIST_LEN {
                let slot = code as usize;
                if self.plans.len() <= slot {
                    self.plans.resize(slot + 1, Plan::MISSING);
                }
                std::mem::replace(&mut self.plans[slot], plan).role != Role::Missing
            } else {
                self.others.insert(code, plan).is_some()
            };
            if twice {
                return Err(damaged(at, "a second abbreviation of the same code"));
            }
        }
    }

    /// The plan for an abbreviation that is declared by these bytes: all but its code.
    fn make(&mut self, declaration: &[u8], encoding: Encoding) -> Result<Plan, Unreadable> {
        let mut cursor = Cursor::<false>::new(declaration, 0);
        let tag = cursor.uleb()?;
        let has_children = cursor.u8()? != 0;
        self.attributes.clear();
        loop {
            let (name, form) = (cursor.uleb()?, cursor.uleb()?);
            if name == 0 && form == 0 {
                break;
            }
            let (Ok(name), Ok(form)) = (u16::try_from(name), u16::try_from(form)) else {
                return Err(Unreadable::Unknown);
            };
            let (name, form) = (DwAt(name), DwForm(form));
            let implicit = if form == gimli::DW_FORM_implicit_const { cursor.sleb()? } else { 0 };
            self.attributes.push(Attribute { name, form, implicit });
            if self.attributes.len() > MAX_ATTRIBUTES {
                return Err(Unreadable::TooLong);
            }
        }
        Ok(self.plan(u16::try_from(tag).map_or(DwTag(0), DwTag), has_children, encoding))
    }

    /// The plan for an abbreviation code.
    #[inline]
    pub(crate) fn get(&self, code: u64) -> Result<&Plan, UnitError> {
        match self.plans.get(code as usize) {
            Some(plan) if plan.role != Role::Missing => Ok(plan),
            _ => self.others.get(&code).ok_or(UnitError::Abbreviation(code)),
        }
    }

    /// How to read a DIE that has no [`Layout`].
    #[inline]
    pub(crate) fn steps(&self, plan: &Plan) -> &[Step] {
        &self.steps[plan.first as usize..][..plan.steps as usize]
    }

    /// Passes over a DIE of which nothing matters where it stands.
    #[inline]
    pub(crate) fn skip<const BIG: bool>(
        &self,
        plan: &Plan,
        cursor: &mut Cursor<'_, BIG>,
        encoding: Encoding,
    ) -> Result<(), UnitError> {
        if plan.len != VARIABLE {
            return Ok(cursor.skip(plan.len as usize)?);
        }
        for &step in self.steps(plan) {
            match step {
                Step::Skip(len) => cursor.skip(len as usize)?,
                Step::SkipForm(form) | Step::Read(_, form, _) => form::skip(cursor, form, encoding)?,
            }
        }
        Ok(())
    }

    fn plan(&mut self, tag: DwTag, has_children: bool, encoding: Encoding) -> Plan {
        let Plans { steps, attributes, .. } = self;
        let role = Role::of(tag);
        let first = steps.len();
        // What may have tags below it is read attribute by attribute.
        let mut layout = Layout::begin(role, encoding).filter(|_| !(has_children && role.is_tagged_below()));
        let mut len = 0;
        // Whether the last step may pass over more.
        let mut passing = false;
        for attribute in attributes.iter() {
            let wanted = Attr::of(attribute.name, role).filter(|&attr| role.wants(attr));
            let attribute_len = fixed_len(attribute.form, encoding);
            len = match attribute_len {
                Some(more) if len != VARIABLE => len + more,
                _ => VARIABLE,
            };
            if let Some(known) = &mut layout
                && known.add(wanted, attribute.form, attribute.implicit, attribute_len).is_none()
            {
                layout = None;
            }
            if let Some(attr) = wanted {
                steps.push(Step::Read(attr, attribute.form, attribute.implicit));
                passing = false;
                continue;
            }
            match (attribute_len, steps.last_mut()) {
                (Some(0), _) => {}
                (Some(more), Some(Step::Skip(before))) if passing => *before += more,
                (Some(more), _) => {
                    steps.push(Step::Skip(more));
                    passing = true;
                }
                (None, _) => {
                    steps.push(Step::SkipForm(attribute.form));
                    passing = false;
                }
            }
        }
        let (first, steps) = (first as u32, (steps.len() - first) as u32);
        Plan { role, has_children, layout, len, first, steps }
    }
}

/// Why an abbreviation cannot be read.
enum Unreadable {
    Truncated,
    TooLong,
    Unknown,
}

impl From<Truncated> for Unreadable {
    fn from(_: Truncated) -> Self {
        Unreadable::Truncated
    }
}

/// Passes over an abbreviation after its code.
#[inline]
fn skip_declaration(cursor: &mut Cursor<'_, false>) -> Result<(), Truncated> {
    cursor.skip_leb()?;
    cursor.u8()?;
    loop {
        let (name, form) = (cursor.uleb()?, cursor.uleb()?);
        if name == 0 && form == 0 {
            return Ok(());
        }
        if form == u64::from(gimli::DW_FORM_implicit_const.0) {
            cursor.skip_leb()?;
        }
    }
}

/// Length in bytes of the values of a form, where all have the same.
fn fixed_len(form: DwForm, encoding: Encoding) -> Option<u32> {
    let offset = match encoding.format {
        Format::Dwarf32 => 4,
        Format::Dwarf64 => 8,
    };
    Some(match form {
        gimli::DW_FORM_implicit_const | gimli::DW_FORM_flag_present => 0,
        gimli::DW_FORM_data1
        | gimli::DW_FORM_flag
        | gimli::DW_FORM_ref1
        | gimli::DW_FORM_strx1
        | gimli::DW_FORM_addrx1 => 1,
        gimli::DW_FORM_data2 | gimli::DW_FORM_ref2 | gimli::DW_FORM_strx2 | gimli::DW_FORM_addrx2 => 2,
        gimli::DW_FORM_strx3 | gimli::DW_FORM_addrx3 => 3,
        gimli::DW_FORM_data4
        | gimli::DW_FORM_ref4
        | gimli::DW_FORM_ref_sup4
        | gimli::DW_FORM_strx4
        | gimli::DW_FORM_addrx4 => 4,
        gimli::DW_FORM_data8 | gimli::DW_FORM_ref8 | gimli::DW_FORM_ref_sig8 | gimli::DW_FORM_ref_sup8 => 8,
        gimli::DW_FORM_data16 => 16,
        gimli::DW_FORM_addr => u32::from(encoding.address_size),
        gimli::DW_FORM_ref_addr if encoding.version == 2 => u32::from(encoding.address_size),
        gimli::DW_FORM_strp
        | gimli::DW_FORM_line_strp
        | gimli::DW_FORM_strp_sup
        | gimli::DW_FORM_sec_offset
        | gimli::DW_FORM_ref_addr
        | gimli::DW_FORM_GNU_ref_alt
        | gimli::DW_FORM_GNU_strp_alt => offset,
        _ => return None,
    })
}
