//! What to do with the bytes of a DIE, worked out once for each abbreviation.
//!
//! Most attributes of most DIEs do not matter for types. A [`Plan`] lists, for one abbreviation, the attributes that do, with their forms, and
//! what lies between them as lengths to pass over.

use gimli::{AttributeSpecification, DwAt, DwForm, DwTag, Encoding, Format};
use hashbrown::HashMap;

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
    /// Of this DIE only the children matter.
    Transparent,
    /// Nothing in this DIE or below it matters.
    Opaque,
    /// A unit's root.
    Unit,
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
            gimli::DW_AT_abstract_origin | gimli::DW_AT_specification => Attr::Origin,
            gimli::DW_AT_location => Attr::Location,
            gimli::DW_AT_low_pc => Attr::LowPc,
            gimli::DW_AT_ranges => Attr::Ranges,
            gimli::DW_AT_inline => Attr::Inline,
            gimli::DW_AT_calling_convention => Attr::CallingConvention,
            gimli::DW_AT_artificial => Attr::Artificial,
            DW_AT_GNU_ANNOTATION => Attr::Annotation,
            gimli::DW_AT_signature => Attr::Signature,
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
                matches!(attr, Name | ByteSize | Declaration | Signature | Annotation)
            }
            Role::Enumeration => matches!(attr, Name | ByteSize | Type | Signature),
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
            Role::UnspecifiedParameters | Role::Unspecified | Role::Transparent | Role::Opaque => false,
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
    /// Where the steps that read what matters start in [`Plans`], how many there are, and how many follow them that pass over all.
    first: u32,
    len: u32,
    skip_len: u32,
}

/// The plans of one unit's abbreviation table, made as they are needed.
#[derive(Default)]
pub(crate) struct Plans {
    /// By code. Compilers number abbreviations from 1 without gaps.
    plans: Vec<Option<Plan>>,
    /// Those with larger codes.
    others: HashMap<u64, Plan, foldhash::fast::RandomState>,
    steps: Vec<Step>,
}

/// Codes from here on are not kept in the list.
const LIST_LEN: usize = 1024;

/// More attributes than any DIE has, for each may be there only once and some two hundred exist. It bounds the work for one DIE.
const MAX_ATTRIBUTES: usize = 256;

impl Plans {
    /// Forgets the plans and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.plans.clear();
        self.others.clear();
        self.steps.clear();
    }

    /// The plan for an abbreviation code.
    #[inline]
    pub(crate) fn get(
        &mut self,
        code: u64,
        table: &gimli::Abbreviations,
        encoding: Encoding,
    ) -> Result<Plan, UnitError> {
        match self.plans.get(code as usize) {
            Some(Some(plan)) => Ok(*plan),
            _ => self.make(code, table, encoding),
        }
    }

    #[cold]
    fn make(
        &mut self,
        code: u64,
        table: &gimli::Abbreviations,
        encoding: Encoding,
    ) -> Result<Plan, UnitError> {
        if let Some(plan) = self.others.get(&code) {
            return Ok(*plan);
        }
        let abbreviation = table.get(code).ok_or(UnitError::Abbreviation(code))?;
        if abbreviation.attributes().len() > MAX_ATTRIBUTES {
            return Err(UnitError::TooLarge("a DIE with more than 256 attributes"));
        }
        let plan = self.plan(abbreviation, encoding);
        match usize::try_from(code).ok().filter(|&slot| slot < LIST_LEN) {
            Some(slot) => {
                if self.plans.len() <= slot {
                    self.plans.resize(slot + 1, None);
                }
                self.plans[slot] = Some(plan);
            }
            None => {
                self.others.insert(code, plan);
            }
        }
        Ok(plan)
    }

    /// How to read a DIE.
    #[inline]
    pub(crate) fn steps(&self, plan: Plan) -> &[Step] {
        &self.steps[plan.first as usize..][..plan.len as usize]
    }

    /// How to pass over a DIE of which nothing matters where it stands.
    #[inline]
    pub(crate) fn skip_steps(&self, plan: Plan) -> &[Step] {
        &self.steps[(plan.first + plan.len) as usize..][..plan.skip_len as usize]
    }

    fn plan(&mut self, abbreviation: &gimli::Abbreviation, encoding: Encoding) -> Plan {
        let role = Role::of(abbreviation.tag());
        let first = self.steps.len();
        let specs = abbreviation.attributes();
        self.add_steps(specs, encoding, |name| Attr::of(name, role).filter(|&attr| role.wants(attr)));
        let len = self.steps.len() - first;
        self.add_steps(specs, encoding, |_| None);
        Plan {
            role,
            has_children: abbreviation.has_children(),
            first: first as u32,
            len: len as u32,
            skip_len: (self.steps.len() - first - len) as u32,
        }
    }

    fn add_steps(
        &mut self,
        specs: &[AttributeSpecification],
        encoding: Encoding,
        wanted: impl Fn(DwAt) -> Option<Attr>,
    ) {
        let first = self.steps.len();
        for spec in specs {
            let step = match (wanted(spec.name()), fixed_len(spec, encoding)) {
                (Some(attr), _) => Step::Read(attr, spec.form(), spec.implicit_const_value().unwrap_or(0)),
                (None, Some(0)) => continue,
                (None, Some(len)) => {
                    if let Some(Step::Skip(before)) = self.steps[first..].last_mut() {
                        *before += len;
                        continue;
                    }
                    Step::Skip(len)
                }
                (None, None) => Step::SkipForm(spec.form()),
            };
            self.steps.push(step);
        }
    }
}

/// Length in bytes of the values of a form, where all have the same.
fn fixed_len(spec: &AttributeSpecification, encoding: Encoding) -> Option<u32> {
    let offset = match encoding.format {
        Format::Dwarf32 => 4,
        Format::Dwarf64 => 8,
    };
    Some(match spec.form() {
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
