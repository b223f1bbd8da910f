//! Headers and sections: every variant that occurs or may occur, and what is refused, with the error's own words.

mod judge;

use btf::kind::Info;
use btf::{Btf, Builder, Endian, Error, Int, Kind, StrOffset, TypeId, ValidateOptions, validate};

/// A blob whose header says what the test wants; by default a good one with an INT and the strings `\0int\0`.
#[derive(Clone)]
struct Raw {
    endian: Endian,
    magic: u16,
    version: u8,
    flags: u8,
    header_len: u32,
    /// Offset and length of types, strings, layout; only as many are written as `header_len` has place for.
    sections: [(u32, u32); 3],
    /// Header bytes after the ones above.
    more_header: Vec<u8>,
    body: Vec<u8>,
}

const STRINGS: &[u8] = b"\0int\0";

impl Raw {
    fn new() -> Raw {
        Raw::with_types(Endian::NATIVE, &[1, Info::new(Kind::Int, 0, false).0, 4, 32])
    }

    fn with_types(endian: Endian, words: &[u32]) -> Raw {
        let types: Vec<u8> = words.iter().flat_map(|&word| endian.u32_bytes(word)).collect();
        let len = types.len() as u32;
        Raw {
            endian,
            magic: btf::MAGIC,
            version: 1,
            flags: 0,
            header_len: 24,
            sections: [(0, len), (len, STRINGS.len() as u32), (0, 0)],
            more_header: Vec::new(),
            body: [&types, STRINGS].concat(),
        }
    }

    /// With a header of 32 bytes, and a layout section for kinds 0 to 20 between types and strings; kind 20 has 8 bytes, and 4 for each element.
    fn with_layout(mut self) -> Raw {
        let mut layout = vec![0; 4];
        for kind in Kind::ALL {
            layout.extend([kind.payload().fixed, kind.payload().element, 0, 0]);
        }
        layout.extend([8, 4, 0, 0]);
        let (types, len) = (self.sections[0].1, layout.len() as u32);
        self.header_len = 32;
        self.sections = [(0, types), (types + len, STRINGS.len() as u32), (types, len)];
        self.body = [&self.body[..types as usize], &layout, STRINGS].concat();
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.endian.u16_bytes(self.magic).to_vec();
        bytes.extend([self.version, self.flags]);
        bytes.extend(self.endian.u32_bytes(self.header_len));
        let sections = if self.header_len >= 32 { 3 } else { 2 };
        for (offset, len) in &self.sections[..sections] {
            bytes.extend(self.endian.u32_bytes(*offset));
            bytes.extend(self.endian.u32_bytes(*len));
        }
        bytes.extend(&self.more_header);
        bytes.extend(&self.body);
        bytes
    }

    #[track_caller]
    fn refused(&self) -> String {
        Btf::parse(&self.bytes()).expect_err("accepted").to_string()
    }
}

/// What changes a good blob into the one that a test is about.
fn change(what: impl FnOnce(&mut Raw)) -> Raw {
    let mut raw = Raw::new();
    what(&mut raw);
    raw
}

fn valid(blob: &[u8]) -> btf::Result<()> {
    validate(&Btf::parse(blob)?, &ValidateOptions::default())
}

/// Check that the kernel and we agree on a blob.
#[track_caller]
fn agree(accepted: bool, raw: &Raw) {
    let blob = raw.bytes();
    assert_eq!(judge::kernel_accepts(&blob), accepted, "the kernel: {:?}", judge::kernel_says(&blob));
    assert_eq!(valid(&blob).is_ok(), accepted, "the validator: {:?}", valid(&blob));
}

/// Check the smallest good blob, in both byte orders.
#[test]
fn smallest() {
    agree(true, &Raw::new());
    for endian in [Endian::Little, Endian::Big] {
        let bytes = Raw::with_types(endian, &[1, Info::new(Kind::Int, 0, false).0, 4, 32]).bytes();
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!((btf.endian(), btf.type_count(), btf.string_end()), (endian, 2, 5));
        assert_eq!(btf.name(&btf.ty(TypeId(1)).unwrap()).unwrap(), "int");
        assert_eq!(valid(&bytes), Ok(()));
    }
}

/// Check magic, version and flags.
#[test]
fn magic_version_flags() {
    for magic in [0xeb9e, 0x0000, 0x457f] {
        let raw = change(|raw| raw.magic = magic);
        assert_eq!(
            raw.refused(),
            format!("not BTF: magic is 0x{magic:04x}, not 0xeb9f in either byte order")
        );
        agree(false, &raw);
    }
    for version in [0, 2, 255] {
        let raw = change(|raw| raw.version = version);
        assert_eq!(
            raw.refused(),
            format!("BTF version {version} is newer than the version this reader knows (1)")
        );
        agree(false, &raw);
    }
    let raw = change(|raw| raw.flags = 4);
    assert_eq!(raw.refused(), "BTF header flags 0x04 are unknown");
    agree(false, &raw);
}

/// Check that every truncation of the header is refused with what is missing.
#[test]
fn truncated_header() {
    let bytes = Raw::new().bytes();
    for len in 0..24 {
        let error = Btf::parse(&bytes[..len]).unwrap_err();
        assert!(
            matches!(error, Error::Truncated { what: "header", offset: 0, needed: 24, have } if have == len as u64),
            "{error}"
        );
    }
}

/// Check header lengths: shorter than all known, longer with zeros, longer with something unknown, longer than the data.
#[test]
fn header_lengths() {
    for len in [0, 4, 20, 23] {
        let raw = change(|raw| raw.header_len = len);
        assert_eq!(
            raw.refused(),
            format!("BTF header section (offset 0, length {len}): must be at least 24 bytes")
        );
    }
    for more in [1, 3, 4, 6, 7] {
        agree(true, &change(|raw| (raw.header_len, raw.more_header) = (24 + more, vec![0; more as usize])));
    }
    for more in [0, 1, 4, 100] {
        let mut raw = change(|raw| (raw.header_len, raw.more_header) = (32 + more, vec![0; more as usize]));
        agree(true, &raw);
        if let Some(last) = raw.more_header.last_mut() {
            *last = 1;
            let (len, offset) = (32 + more, 31 + more);
            let reason = format!("and the unknown bytes from offset {offset} are not zero");
            assert_eq!(raw.refused(), format!("BTF header is {len} bytes long, 32 are known, {reason}"));
            agree(false, &raw);
        }
    }
    let raw = change(|raw| (raw.header_len, raw.more_header) = (28, vec![0, 0, 2, 0]));
    assert_eq!(
        raw.refused(),
        "BTF header is 28 bytes long, 24 are known, and the unknown bytes from offset 26 are not zero"
    );
    agree(false, &raw);
    let raw = change(|raw| raw.header_len = u32::MAX);
    assert_eq!(raw.refused(), "truncated BTF: header at offset 0 needs 4294967295 bytes, 53 are left");
    agree(false, &raw);
}

/// Check sections: misplaced, overlapping, with gaps, and what follows them.
#[test]
fn sections() {
    let case = |reason: &str, what: &dyn Fn(&mut Raw)| {
        let raw = change(|raw| what(raw));
        let error = raw.refused();
        assert!(error.ends_with(reason), "{error:?} does not end with {reason:?}");
        agree(false, &raw);
    };
    case("BTF type section (offset 26, length 16): not a multiple of 4", &|raw| raw.sections[0].0 = 2);
    case("BTF type section (offset 24, length 15): not a multiple of 4", &|raw| raw.sections[0].1 = 15);
    case("(offset 24, length 4000): reaches past the end of the data", &|raw| raw.sections[0].1 = 4000);
    case("(offset 40, length 4294967295): reaches past the end of the data", &|raw| {
        raw.sections[1].1 = u32::MAX;
    });
    case("(offset 4294967319, length 5): reaches past the end of the data", &|raw| {
        raw.sections[1].0 = u32::MAX;
    });
    case("(offset 36, length 5): overlaps the section before it", &|raw| {
        raw.sections[1].0 = 12;
        raw.body.truncate(17);
        raw.body[16] = 0;
        raw.sections[0].1 = 16;
    });
    case("(offset 44, length 5): leaves a gap after the section before it", &|raw| {
        raw.sections[1].0 = 20;
        raw.body.splice(16..16, [0; 4]);
    });
    case("(offset 28, length 16): leaves a gap after the section before it", &|raw| {
        raw.sections = [(4, 16), (20, 5), (0, 0)];
        raw.body.splice(0..0, [0; 4]);
    });
    case("BTF last section (offset 45, length 1): is followed by bytes that belong to no section", &|raw| {
        raw.body.push(0);
    });
}

/// Check strings: none, not starting or ending as they must, not last, too many.
#[test]
fn strings() {
    let case = |reason: &str, strings: &[u8]| {
        let raw = change(|raw| {
            raw.body.splice(16.., strings.iter().copied());
            raw.sections[1].1 = strings.len() as u32;
        });
        let error = raw.refused();
        assert!(error.ends_with(reason), "{error:?} does not end with {reason:?}");
        agree(false, &raw);
    };
    case("is empty", b"");
    case("does not end with a zero byte", b"\0int");
    case("does not start with the empty string", b"int\0");

    let first = change(|raw| {
        raw.body = [b"\0int\0\0\0\0", &raw.body[..16]].concat();
        raw.sections = [(8, 16), (0, 8), (0, 0)];
    });
    assert_eq!(
        valid(&first.bytes()).unwrap_err().to_string(),
        "BTF string section (offset 24, length 8): is not the last section"
    );
    agree(false, &first);

    for (accepted, len) in [(true, 0x0100_0000), (false, 0x0100_0001)] {
        let blob = change(|raw| {
            raw.body.resize(16 + len, 0);
            raw.sections[1].1 = len as u32;
        });
        // The kernel takes 16 MiB from user space, strings alone may be as long, so that it cannot judge this.
        assert_eq!(valid(&blob.bytes()).is_ok(), accepted);
    }
}

/// Check offsets of strings: the start, the middle and the end of one, and past the last.
#[test]
fn string_offsets() {
    let bytes = Raw::new().bytes();
    let btf = Btf::parse(&bytes).unwrap();
    for (offset, text) in [(0, ""), (1, "int"), (3, "t"), (4, "")] {
        assert_eq!(btf.string(StrOffset(offset)).unwrap(), text);
    }
    for offset in [5, 6, u32::MAX] {
        assert_eq!(btf.string(StrOffset(offset)), Err(Error::NoSuchString { offset, len: 5 }));
    }
}

/// Check that a blob without types is read, but not valid.
#[test]
fn no_types() {
    let raw = Raw::with_types(Endian::NATIVE, &[]);
    assert_eq!(Btf::parse(&raw.bytes()).unwrap().type_count(), 1);
    assert_eq!(
        valid(&raw.bytes()).unwrap_err().to_string(),
        "BTF type section (offset 24, length 0): holds no type"
    );
    agree(false, &raw);
}

/// Check that a record that ends past the types is refused, with its place.
#[test]
fn truncated_types() {
    let int = [1, Info::new(Kind::Int, 0, false).0, 4, 32];
    for len in 1..4 {
        let raw = Raw::with_types(Endian::NATIVE, &[&int[..], &int[..len]].concat());
        let needed = if len < 2 { 12 } else { 16 };
        assert_eq!(
            raw.refused(),
            format!("truncated BTF: type at offset 40 needs {needed} bytes, {} are left", len * 4)
        );
        agree(false, &raw);
    }
    let raw = Raw::with_types(Endian::NATIVE, &[1, Info::new(Kind::Struct, 0xffff, false).0, 4, 0, 1, 0]);
    assert_eq!(raw.refused(), "truncated BTF: type at offset 24 needs 786432 bytes, 24 are left");
    let raw =
        Raw::with_types(Endian::NATIVE, &[1, Info::new(Kind::Enum64, 0x00ff_ffff, false).0, 4, 0, 1, 0]);
    assert_eq!(raw.refused(), "truncated BTF: type at offset 24 needs 201326592 bytes, 24 are left");
}

/// Check that a kind newer than this library is an error that says so, and is skipped where a layout section tells its length.
#[test]
fn unknown_kinds() {
    let info = |kind: u32, vlen: u32| kind << 24 | vlen;
    let words =
        [&[1, info(20, 2), 0, 7, 7, 7, 7][..], &[1, Info::new(Kind::Int, 0, false).0, 4, 32]].concat();
    for endian in [Endian::Little, Endian::Big] {
        let raw = Raw::with_types(endian, &words);
        let unknown =
            "type [1] at offset 24 has kind 20, which is newer than the kinds this reader knows (1 to 19)";
        assert_eq!(raw.refused(), unknown);
        let bytes = raw.with_layout().bytes();
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(btf.type_count(), 3);
        assert_eq!(btf.ty(TypeId(1)).unwrap_err().to_string(), unknown.replace("24 has", "32 has"));
        assert_eq!(btf.ty(TypeId(2)).unwrap().kind(), Kind::Int);
        assert!(validate(&btf, &ValidateOptions::default()).is_err());
    }
    let raw = Raw::with_types(Endian::NATIVE, &[1, info(21, 0), 0]).with_layout();
    assert_eq!(
        raw.refused(),
        "type [1] at offset 32 has kind 21, which is newer than the kinds this reader knows (1 to 19)"
    );
    let raw = Raw::with_types(Endian::NATIVE, &[1, info(0, 0), 0]).with_layout();
    assert_eq!(
        raw.refused(),
        "type [1] at offset 32 has kind 0, which is newer than the kinds this reader knows (1 to 19)"
    );
    let raw = Raw::with_types(Endian::NATIVE, &[1, info(20, 2), 0, 7, 7, 7]).with_layout();
    assert_eq!(raw.refused(), "truncated BTF: type at offset 32 needs 28 bytes, 24 are left");
}

/// Check that a layout section may be anywhere, lets strings come first, and lifts the limit on elements.
#[test]
fn layout() {
    let raw = Raw::new().with_layout();
    assert_eq!(valid(&raw.bytes()), Ok(()));
    assert!(Btf::parse(&raw.bytes()).unwrap().has_layout());
    let mut strings_first = raw.clone();
    strings_first.body = [b"\0int\0\0\0\0", &raw.body[..16 + 84]].concat();
    strings_first.sections = [(8, 16), (0, 8), (24, 84)];
    assert_eq!(valid(&strings_first.bytes()), Ok(()));
    let mut overlapping = raw.clone();
    overlapping.sections[2] = (12, 88);
    assert!(
        overlapping
            .refused()
            .ends_with("BTF layout section (offset 44, length 88): overlaps the section before it")
    );
    let mut odd = raw;
    odd.sections[2].1 = 83;
    assert!(odd.refused().ends_with("length 83): not a multiple of 4"));

    let mut words = vec![0, Info::new(Kind::Enum, 0x1_0000, false).0, 4];
    words.extend((0..0x1_0000).flat_map(|value| [1, value]));
    let wide = Raw::with_types(Endian::NATIVE, &words);
    agree(false, &wide);
    assert_eq!(valid(&wide.clone().with_layout().bytes()), Ok(()));
    let mut options = ValidateOptions::default();
    options.max_vlen = 0x00ff_ffff;
    let bytes = wide.bytes();
    assert_eq!(validate(&Btf::parse(&bytes).unwrap(), &options), Ok(()));
}

/// Check blobs with more types than ids that may be referred to.
#[test]
fn many_types() {
    let ptr = Info::new(Kind::Ptr, 0, false).0;
    let mut words: Vec<u32> = (0..0x0010_0010).flat_map(|_| [0, ptr, 0]).collect();
    for (accepted, target) in [(true, 0x000f_ffff), (false, 0x0010_0000)] {
        words.truncate(0x0010_0010 * 3);
        words.extend([0, ptr, target]);
        agree(accepted, &Raw::with_types(Endian::NATIVE, &words));
        words.truncate(0x0010_0010 * 3);
        words.extend([0, Info::new(Kind::FuncProto, 1, false).0, 0, 0, target]);
        agree(true, &Raw::with_types(Endian::NATIVE, &words));
    }
}

/// Check split BTF: ids and strings go on where the base ends, and may refer to it.
#[test]
fn split() {
    for endian in [Endian::Little, Endian::Big] {
        let base_bytes = Raw::with_types(endian, &[1, Info::new(Kind::Int, 0, false).0, 4, 32]).bytes();
        let base = Btf::parse(&base_bytes).unwrap();
        let mut builder = Builder::split(&base);
        assert_eq!(builder.next_id(), TypeId(2));
        let name = builder.string(b"own");
        assert_eq!(name, StrOffset(5));
        builder.add_record(&[name.0, Info::new(Kind::Typedef, 0, false).0, 1]);
        builder.add_record(&[1, Info::new(Kind::Typedef, 0, false).0, 2]);
        let bytes = builder.finish(endian).unwrap();
        let split = Btf::parse_split(&bytes, &base).unwrap();
        assert_eq!((split.first_id(), split.type_count(), split.types().len()), (TypeId(2), 4, 2));
        assert_eq!(split.base().unwrap().type_count(), 2);
        let names: Vec<_> =
            (1..4).map(|id| split.name(&split.ty(TypeId(id)).unwrap()).unwrap().to_string()).collect();
        assert_eq!(names, ["int", "own", "int"]);
        assert_eq!(split.string(StrOffset(0)).unwrap(), "");
        assert_eq!(split.string(StrOffset(9)), Err(Error::NoSuchString { offset: 9, len: 9 }));
        assert_eq!(split.ty(TypeId(4)).unwrap_err(), Error::NoSuchType { id: TypeId(4), count: 4 });
        assert_eq!(split.ty(TypeId(0)).unwrap_err(), Error::NoSuchType { id: TypeId(0), count: 2 });
        assert_eq!(validate(&split, &ValidateOptions::default()), Ok(()));
        assert!(Btf::parse(&bytes).is_err(), "split BTF is not a blob of its own");
    }
    let (little, big) =
        (Raw::with_types(Endian::Little, &[]).bytes(), Raw::with_types(Endian::Big, &[]).bytes());
    let base = Btf::parse(&little).unwrap();
    assert_eq!(Btf::parse_split(&big, &base).unwrap_err(), Error::BaseEndian);
}

/// Check that split BTF may have no strings or types of its own.
#[test]
fn empty_split() {
    let base_bytes = Raw::new().bytes();
    let base = Btf::parse(&base_bytes).unwrap();
    let bytes = Builder::split(&base).finish(Endian::NATIVE).unwrap();
    assert_eq!(bytes.len(), 24);
    let split = Btf::parse_split(&bytes, &base).unwrap();
    assert_eq!((split.type_count(), split.string_end()), (2, 5));
    assert_eq!(validate(&split, &ValidateOptions::default()), Ok(()));
}

/// Check that the size of a pointer is that of `long`, in any spelling, own or the base's.
#[test]
fn pointer_size() {
    let with = |name: &str, size: u32| {
        let mut builder = Builder::new();
        builder.int(name.as_bytes(), size, Int { encoding: 0, bit_offset: 0, bits: 32 });
        builder.finish(Endian::NATIVE).unwrap()
    };
    let size = |name: &str, size: u32| Btf::parse(&with(name, size)).unwrap().pointer_size();
    for name in ["long", "long int", "unsigned long", "long unsigned int", "int long unsigned"] {
        assert_eq!((size(name, 4), size(name, 8), size(name, 16)), (Some(4), Some(8), None));
    }
    for name in ["int", "long long", "long long int", "Long", ""] {
        assert_eq!(size(name, 8), None);
    }
    let base_bytes = with("unsigned long", 4);
    let base = Btf::parse(&base_bytes).unwrap();
    let bytes = Builder::split(&base).finish(Endian::NATIVE).unwrap();
    assert_eq!(Btf::parse_split(&bytes, &base).unwrap().pointer_size(), Some(4));
}
