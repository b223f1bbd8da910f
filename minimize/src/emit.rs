//! Writing what is kept of a kernel's types as a blob of its own.

use btf::kind::TYPE_HEADER_LEN;
use btf::{Builder, Kind, Ref, TypeId, visit_refs};

use crate::error::Result;
use crate::keep::{Keep, Parts};
use crate::kernel::Kernel;
use crate::types::MAX_WRITTEN_NAME;

const HEADER_WORDS: usize = TYPE_HEADER_LEN / 4;
const VLEN: u32 = 0x00ff_ffff;

/// Writes the types kept in ascending order of their ids, in the kernel's byte order; tells which type of the kernel each one is.
pub(crate) fn emit(kernel: &Kernel<'_>, keep: &Keep) -> Result<(Vec<u8>, Vec<TypeId>)> {
    let btf = kernel.btf();
    let types = keep.sorted();
    let ids: Vec<_> = types.iter().map(|&(id, _)| id).collect();
    let renumbered = |id: u32| {
        // What is not kept (behind a pointer) becomes void.
        ids.binary_search(&keep.reference(kernel, TypeId(id))).map_or(0, |at| at as u32 + 1)
    };
    let mut builder = Builder::new();
    let mut record = Vec::new();
    for &(id, parts) in &types {
        let ty = btf.ty(id)?;
        record.clear();
        record.extend(ty.words());
        strip(ty.kind(), parts, &mut record);
        if keep.is_hidden(id) {
            record[0] = 0;
        }
        let mut failure = None;
        visit_refs(&mut record, |what, word| match what {
            Ref::Type if *word == 0 => {}
            Ref::Type => *word = renumbered(*word),
            Ref::String => match btf.string_within(btf::StrOffset(*word), MAX_WRITTEN_NAME) {
                Ok(string) => *word = builder.string(string).0,
                Err(error) => failure = Some(error),
            },
        });
        if let Some(error) = failure {
            return Err(error.into());
        }
        builder.add_record(&record);
    }
    Ok((builder.finish(btf.endian())?, ids))
}

/// Takes out of a record what is not kept.
fn strip(kind: Kind, parts: &Parts, record: &mut Vec<u32>) {
    let element = match kind {
        Kind::Struct | Kind::Union | Kind::Enum64 => 3,
        Kind::Enum => 2,
        Kind::Datasec => {
            record.truncate(HEADER_WORDS);
            record[1] &= !VLEN;
            return;
        }
        Kind::FuncProto => {
            // Nobody asks for the names of parameters.
            record[HEADER_WORDS..].iter_mut().step_by(2).for_each(|name| *name = 0);
            return;
        }
        _ => return,
    };
    let mut end = HEADER_WORDS;
    for index in parts.elements.iter() {
        let start = HEADER_WORDS + index as usize * element;
        record.copy_within(start..start + element, end);
        end += element;
    }
    record.truncate(end);
    record[1] = record[1] & !VLEN | parts.elements.len() as u32;
}
