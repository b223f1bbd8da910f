//! The view and the builder on the running kernel's own BTF.

use btf::{Btf, Builder, Endian, TypeId};

fn kernel_btf() -> Vec<u8> {
    std::fs::read("/sys/kernel/btf/vmlinux")
        .expect("the tests need a kernel with BTF: /sys/kernel/btf/vmlinux cannot be read")
}

/// Copies every type of a blob into a builder, keeping ids.
fn rebuild(data: &[u8], endian: Endian) -> Vec<u8> {
    let btf = Btf::parse(data).unwrap();
    let mut builder = Builder::new();
    for ty in btf.types() {
        builder.add_copy(&btf, &ty.unwrap(), |id| id).unwrap();
    }
    builder.finish(endian).unwrap()
}

/// Check that a kernel's BTF, taken apart and written again in either byte order, still says the same of every type.
#[test]
fn rebuild_both_byte_orders() {
    let original = kernel_btf();
    let big = rebuild(&original, Endian::Big);
    let little = rebuild(&big, Endian::Little);
    let (a, b, c) = (Btf::parse(&original).unwrap(), Btf::parse(&big).unwrap(), Btf::parse(&little).unwrap());
    assert_eq!(b.endian(), Endian::Big);
    assert_eq!(a.type_count(), b.type_count());
    assert!(a.type_count() > 10_000);
    for id in (1..a.type_count()).map(TypeId) {
        let (x, y) = (a.ty(id).unwrap(), b.ty(id).unwrap());
        assert_eq!((x.kind(), x.vlen(), x.kind_flag()), (y.kind(), y.vlen(), y.kind_flag()));
        assert_eq!(a.name(&x).unwrap(), b.name(&y).unwrap());
        assert!(x.members().zip(y.members()).all(|(m, n)| {
            (m.ty, m.bit_offset, m.bit_width) == (n.ty, n.bit_offset, n.bit_width)
                && a.string(m.name).unwrap() == b.string(n.name).unwrap()
        }));
        assert!(x.enumerators().map(|e| e.value).eq(y.enumerators().map(|e| e.value)));
        assert_eq!(x.array(), y.array());
    }
    // Strings are laid out in the order of their first use both times, so the way back gives the first rebuild's bytes.
    assert_eq!(rebuild(&original, Endian::Little), little);
    assert_eq!(c.type_count(), a.type_count());
}

/// Check that every truncation of a real blob is refused and never panics.
#[test]
fn truncated_kernel_btf() {
    let original = kernel_btf();
    for len in (0..original.len()).step_by(original.len() / 500) {
        assert!(Btf::parse(&original[..len]).is_err(), "{len} bytes were accepted");
    }
}
