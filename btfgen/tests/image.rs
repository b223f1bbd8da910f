//! BTF inside bootable kernels: every dress, every compression, byte for byte; and what is none.

mod bootable;

use bootable::{BTF, COMPRESSIONS, VMLINUX, build_id, bzimage, compress, note, pipe, raw, zboot};
use btfgen::image::{Embedded, ImageError, find};
use proptest::prelude::*;

/// Checks that an image gives the BTF and the build-id.
fn check(image: &[u8], way: &str) {
    let Embedded { btf, build_id: id, way: found } =
        find(image).unwrap_or_else(|error| panic!("{way}: {error}"));
    assert!(btf == *BTF, "{way}");
    assert_eq!(id.map(|id| id.to_string()), Some(build_id()), "{way}");
    assert_eq!(found, way);
}

/// Check x86's bzImage with every compression that the kernel's build knows.
#[test]
fn bzimages() {
    let names = ["gzip", "xz", "zstd", "lz4 (legacy)", "lzma", "bzip2"];
    for ((program, arguments), name) in COMPRESSIONS.into_iter().zip(names) {
        let image = bzimage(&compress(program, arguments, &VMLINUX));
        check(&image, &format!("bzImage, {name}, ELF, section .BTF"));
    }
}

/// Check lz4's own format too, and legacy lz4 of exactly as many bytes as its blocks have.
#[test]
fn lz4() {
    check(&bzimage(&compress("lz4", &["-9", "-"], &VMLINUX)), "bzImage, lz4, ELF, section .BTF");
    for len in [8 << 20, 16 << 20, (16 << 20) + 1] {
        let mut vmlinux = VMLINUX.clone();
        vmlinux.resize(len, 0);
        check(&bzimage(&compress("lz4", &["-l", "-"], &vmlinux)), "bzImage, lz4 (legacy), ELF, section .BTF");
    }
}

/// Check that lzo is named as what is not supported.
#[test]
fn lzo() {
    let image = bzimage(&compress("lzop", &["-9", "-c"], &VMLINUX));
    let error = find(&image).unwrap_err();
    assert_eq!(error, ImageError::Compression { offset: 3772, codec: "lzo" });
    assert!(error.to_string().contains("compressed with lzo, which is not supported"), "{error}");
}

/// Check raw images: as they are, compressed whole, and in an EFI program.
#[test]
fn raw_images() {
    let image = raw(&BTF);
    check(&image, "raw, scan");
    check(&pipe("gzip", &["-n"], &image), "gzip, raw, scan");
    check(&pipe("zstd", &["-q"], &image), "zstd, raw, scan");
    check(&zboot("gzip", &compress("gzip", &["-n"], &image)), "EFI zboot, gzip, raw, scan");
    check(&zboot("zstd22", &compress("zstd", &["-q"], &image)), "EFI zboot, zstd, raw, scan");
    check(&zboot("lzma", &compress("lzma", &[], &image)), "EFI zboot, lzma, raw, scan");
    check(&zboot("xzkern", &compress("xz", &["--check=crc32"], &image)), "EFI zboot, xz, raw, scan");
}

/// Check a bare ELF file, and one that is compressed.
#[test]
fn elf() {
    check(&VMLINUX, "ELF, section .BTF");
    check(&pipe("gzip", &[], &VMLINUX), "gzip, ELF, section .BTF");
    check(&pipe("xz", &[], &VMLINUX), "xz, ELF, section .BTF");
}

/// Check payloads that nothing points to, as s390x and 32-bit arm have them.
#[test]
fn payloads_by_their_magic_number() {
    let names = ["gzip", "xz", "zstd", "lz4 (legacy)", "lzma", "bzip2"];
    for ((program, arguments), name) in COMPRESSIONS.into_iter().zip(names) {
        let packed = compress(program, arguments, &raw(&BTF));
        // Chance makes magic numbers: those must not stand in the way.
        let chance = b"\x1f\x8b\x08\0....\x28\xb5\x2f\xfd....\xfd7zXZ\0....BZh91AY&SY....\x02\x21\x4c\x18";
        let image = [&[7; 5001][..], chance, &[7; 3], &packed, &[7; 100]].concat();
        check(&image, &format!("raw, {name}, raw, scan"));
    }
}

/// Check that a build-id is only told where there is exactly one outside of vDSOs.
#[test]
fn ambiguous_build_id() {
    let mut image = raw(&BTF);
    image.resize(image.len().next_multiple_of(4), 0);
    image.extend(note(&[9; 20]));
    let found = find(&image).unwrap();
    assert!(found.btf == *BTF);
    assert_eq!(found.build_id, None);
}

/// Check that BTF of something else is not taken, and that two kernels' BTF are told.
#[test]
fn which_btf() {
    // A module's or a BPF object's: valid, without task_struct.
    let renamed: Vec<u8> = {
        let mut bytes = BTF.clone();
        let at = bytes.windows(11).position(|name| name == b"task_struct").unwrap();
        bytes[at..at + 11].copy_from_slice(b"some_struct");
        bytes
    };
    let image = raw(&renamed);
    assert!(find(&image).unwrap_err().is_without_btf());
    check(&[raw(&BTF), image].concat(), "raw, scan");
    let another: Vec<u8> = {
        let mut bytes = BTF.clone();
        let at = bytes.windows(10).position(|name| name == b"start_time").unwrap();
        bytes[at] = b'S';
        bytes
    };
    let mut both = raw(&BTF);
    both.resize(both.len().next_multiple_of(4096), 0);
    both.extend(another);
    assert_eq!(find(&both).unwrap_err(), ImageError::Ambiguous(2));
}

/// Check that kernels without BTF are told from damaged ones.
#[test]
fn without_btf() {
    let stripped = bzimage(&compress("xz", &["--check=crc32"], &raw(b"")));
    for image in [&b""[..], b"MZ", &[0; 4096], &raw(b""), &stripped] {
        let error = find(image).unwrap_err();
        assert!(error.is_without_btf(), "{error}");
    }
    let good = bzimage(&compress("gzip", &["-n"], &VMLINUX));
    let error = find(&good[..good.len() / 2]).unwrap_err();
    assert!(error.to_string().contains("end behind the image's"), "{error}");
    let mut broken = good.clone();
    // In the payload, which 999 bytes follow.
    let inside = broken.len() - 1500;
    broken[inside..inside + 50].fill(0x55);
    let error = find(&broken).unwrap_err();
    assert!(matches!(error, ImageError::Damaged { .. }), "{error}");
    assert!(error.to_string().starts_with("the compressed payload at byte "), "{error}");
}

/// Check that a payload that expands without end, and payloads within payloads, end in an error.
#[test]
fn bombs() {
    let zeros = vec![0; 300 << 20];
    for (program, arguments) in
        [("zstd", &["-q", "-1"][..]), ("gzip", &["-1", "-n"]), ("lz4", &["-l", "-1", "-"])]
    {
        let error = find(&bzimage(&compress(program, arguments, &zeros))).unwrap_err();
        assert!(error.to_string().contains("it unpacks to more than 256 MiB"), "{error}");
        // Where nothing says that it is a payload it is passed over.
        let error = find(&[&[7; 64][..], &pipe(program, arguments, &zeros)].concat()).unwrap_err();
        assert!(error.is_without_btf(), "{error}");
    }
    let mut nested = VMLINUX.clone();
    for _ in 0..20 {
        nested = pipe("gzip", &["-1"], &nested);
    }
    assert!(find(&nested).is_err());
    // Candidates everywhere.
    assert!(find(&[&[7; 4][..], &b"\x1f\x8b\x08\0".repeat(1 << 20)].concat()).unwrap_err().is_without_btf());
    let header = [&[0x9f, 0xeb, 1, 0][..], &24_u32.to_le_bytes(), &[0; 4], &4_u32.to_le_bytes()].concat();
    let claims = [&header[..], &4_u32.to_le_bytes(), &(1_u32 << 20).to_le_bytes()].concat();
    assert!(find(&claims.repeat(100_000)).unwrap_err().is_without_btf());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Check that damage anywhere gives the right BTF, or none, and never a panic.
    #[test]
    fn damaged(position: prop::sample::Index, change in 1..=255_u8, which in 0..3_usize) {
        static IMAGES: std::sync::LazyLock<[Vec<u8>; 3]> = std::sync::LazyLock::new(|| {
            [bzimage(&compress("xz", &["--check=crc32"], &VMLINUX)), raw(&BTF), zboot("gzip", &compress("gzip", &[], &raw(&BTF)))]
        });
        let mut image = IMAGES[which].clone();
        let at = position.index(image.len());
        image[at] ^= change;
        if let Ok(found) = find(&image) {
            prop_assert!(btf::Btf::parse(&found.btf).is_ok());
        }
        let _ = find(&IMAGES[which][..at]);
    }
}
