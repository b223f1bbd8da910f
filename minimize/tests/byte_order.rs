//! Big-endian objects and kernels: the same answers and the same types kept as for little-endian ones.

mod judge;
mod world;

use std::fs;

use btf::{Btf, Builder, Endian};
use btf_minimize::{Error, Kernel, Object, RelocationKind, Resolution, minimize, resolve};
use judge::{SAMPLES, compile, kernel_btf};
use world::World;

/// The machine's kernel as a big-endian one would have its BTF.
fn swapped(data: &[u8]) -> Vec<u8> {
    let btf = Btf::parse(data).unwrap();
    let mut builder = Builder::new();
    for ty in btf.types() {
        builder.add_copy(&btf, &ty.unwrap(), |id| id).unwrap();
    }
    builder.finish(Endian::Big).unwrap()
}

/// Check that the sample programs, compiled for either byte order, resolve alike on a kernel of that byte order but for the shifts of bitfields, and that the
/// same types are kept.
#[test]
fn both_byte_orders_alike() {
    let folder = tempfile::tempdir().unwrap();
    let little = kernel_btf();
    let big = swapped(&little);
    let (little, big) = (Kernel::open(&little).unwrap(), Kernel::open(&big).unwrap());
    for sample in SAMPLES {
        let [one, other] =
            ["bpfel", "bpfeb"].map(|target| fs::read(compile(sample, target, folder.path())).unwrap());
        let [one, other] = [&one, &other].map(|file| Object::parse(file).unwrap());
        let answers = |kernel: &Kernel<'_>, object: &Object<'_>| {
            let mut answers: Vec<_> = resolve(kernel, object)
                .into_iter()
                .zip(object.relocations())
                .map(|(answer, relocation)| {
                    let shift = relocation.kind() == Some(RelocationKind::FieldLshiftU64);
                    let value = match answer.unwrap() {
                        Resolution::Value { value, .. } if !shift && relocation.kind_number != 6 => {
                            Some(value)
                        }
                        Resolution::Value { .. } => None,
                        Resolution::Poisoned => Some(u64::MAX),
                    };
                    (relocation.kind_number, object.describe(relocation), value)
                })
                .collect();
            answers.sort();
            answers.dedup();
            answers
        };
        assert_eq!(answers(&little, &one), answers(&big, &other), "{sample}");
        let [one, other] = [minimize(&little, &[one]).unwrap(), minimize(&big, &[other]).unwrap()];
        assert_eq!(one.types, other.types, "{sample}");
        let [one, other] = [&one.btf, &other.btf].map(|blob| Btf::parse(blob).unwrap());
        assert_eq!((one.endian(), other.endian()), (Endian::Little, Endian::Big));
        assert_eq!(World::decode(&one), World::decode(&other), "{sample}");
    }
}

/// Check that an object whose `.BTF` and `.BTF.ext` differ in byte order is refused.
#[test]
fn mixed_byte_orders() {
    let types = World { types: vec![world::Ty { name: String::new(), shape: world::Shape::Void }] };
    let relo = world::rules::Relo { root: 0, access: vec![0], kind: 6, load: false };
    let mut file = world::elf::object(&types, &[relo], Endian::Little);
    let magic = file.windows(4).rposition(|window| window == [0x9f, 0xeb, 1, 0]).unwrap();
    file[magic..magic + 2].reverse();
    assert!(matches!(Object::parse(&file), Err(Error::Ext { .. })));
}
