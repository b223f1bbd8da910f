//! libbpf as the judge: it must make the same instructions of an object with the minimised BTF as with the whole one, and those that this crate
//! says it makes.

mod judge;
mod world;

use std::fs;
use std::path::Path;

use btf::Endian;
use btf_minimize::{Access, Kernel, Object, Reason, Resolution, minimize, resolve};
use judge::{KERNEL, Libbpf, SAMPLES, compile, kernel_btf, succeed};
use object::{Object as _, ObjectSection as _};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use world::choices::{self, Choices};
use world::rules::{Relo, Rules};

/// Check that libbpf relocates our sample programs alike with the whole and with the minimised BTF, all at once and each alone.
#[test]
fn samples_relocate_alike() {
    let folder = tempfile::tempdir().unwrap();
    let data = kernel_btf();
    let kernel = Kernel::open(&data).unwrap();
    let libbpf = Libbpf::new();
    let mut objects = SAMPLES.map(|sample| (sample, compile(sample, "bpfel", folder.path()))).to_vec();
    // Compilers before clang 16 cannot ask for type_matches.
    let matching = folder.path().join("matching.o");
    fs::write(&matching, ask_for_matches(fs::read(&objects[2].1).unwrap())).unwrap();
    objects.push(("matching", matching));
    // Several objects linked into one, as libbpf's static linker does.
    let linked = folder.path().join("linked.o");
    succeed("bpftool", &[&"gen", &"object", &linked, &objects[0].1, &objects[1].1]);
    objects.push(("linked", linked));
    for (sample, path) in objects {
        let file = fs::read(&path).unwrap();
        let small = folder.path().join(format!("{sample}.btf"));
        fs::write(&small, minimize(&kernel, &[Object::parse(&file).unwrap()]).unwrap().btf).unwrap();
        let whole = Path::new(KERNEL);
        for alone in [false, true] {
            let answers = libbpf.relocate(&[(alone, whole, &path), (alone, &small, &path)]);
            assert!(answers[0].values().all(|answer| answer.state == "resolved"), "{sample}: {answers:?}");
            let without_ids = |at: usize| {
                let programs = answers[at].iter();
                programs.filter(|(name, _)| *name != "ids").collect::<Vec<_>>()
            };
            assert_eq!(without_ids(0), without_ids(1), "{sample}");
        }
    }
}

/// Turns every type_exists of an object into type_matches.
fn ask_for_matches(mut file: Vec<u8>) -> Vec<u8> {
    let (start, len) = {
        let elf = object::File::parse(&*file).unwrap();
        elf.section_by_name(".BTF.ext").unwrap().file_range().unwrap()
    };
    let ext = &mut file[start as usize..(start + len) as usize];
    let word = |ext: &[u8], at: usize| Endian::Little.u32_at(ext, at).unwrap() as usize;
    let mut at = word(ext, 4) + word(ext, 24);
    let end = at + word(ext, 28);
    let record = word(ext, at);
    at += 4;
    while at < end {
        let count = word(ext, at + 4);
        at += 8;
        for _ in 0..count {
            if word(ext, at + 12) == 8 {
                ext[at + 12] = 12;
            }
            at += record;
        }
    }
    file
}

/// Check that libbpf, on random types, makes of each relocation what this crate says, and the same with the minimised BTF, whether programs are loaded
/// alone or together.
#[test]
fn random_relocations() {
    let folder = tempfile::tempdir().unwrap();
    let libbpf = Libbpf::new();
    let mut runner = TestRunner::deterministic();
    let numbers = prop::collection::vec(any::<u32>(), 100..400);
    let mut cases = Vec::new();
    for at in 0..300 {
        let numbers = numbers.new_tree(&mut runner).unwrap().current();
        cases.push(random_case(&numbers, &folder.path().join(at.to_string())));
    }
    let jobs: Vec<_> = cases
        .iter()
        .flat_map(|case| {
            [true, false].map(|alone| [&case.whole, &case.small].map(|btf| (alone, &**btf, &*case.object)))
        })
        .flatten()
        .collect();
    let answers = libbpf.relocate(&jobs);
    let (mut resolved, mut refused) = (0, 0);
    for (case, answers) in cases.iter().zip(answers.chunks(4)) {
        for (at, relo) in case.relos.iter().enumerate() {
            let what = || format!("relocation {relo:?} of {}", case.object.display());
            let [whole, small, whole_together, small_together] =
                [0, 1, 2, 3].map(|of| &answers[of][&format!("p{at}")]);
            match &case.expected[at] {
                None => refused += 1,
                Some(_) => resolved += 1,
            }
            let expected = case.expected[at].as_deref();
            let told = (whole.state == "resolved").then(|| &whole.instructions[..16]);
            assert_eq!(told, expected, "libbpf and this crate differ: {}, {}", what(), whole.state);
            if relo.kind != 7 {
                assert_eq!(whole, small, "alone: {}", what());
                assert_eq!(whole_together, small_together, "all together: {}", what());
            }
        }
    }
    assert!(resolved > 2000 && refused > 50, "{resolved} relocations resolved, {refused} refused");
}

struct Case {
    whole: Box<Path>,
    small: Box<Path>,
    object: Box<Path>,
    relos: Vec<Relo>,
    /// The first instruction of each program after relocation, in hexadecimal; `None` if libbpf refuses it.
    expected: Vec<Option<String>>,
}

fn random_case(numbers: &[u32], base: &Path) -> Case {
    let mut choices = Choices::new(numbers);
    let kernel = choices::kernel(&mut choices);
    let object = choices::object(&mut choices, &kernel);
    let mut relos = vec![choices::relocation(&mut choices, &object)];
    while choices.go_on() && relos.len() < 10 {
        relos.push(choices::relocation(&mut choices, &object));
    }
    let file = world::elf::object(&object, &relos, Endian::Little);
    let data = kernel.encode(Endian::Little);
    let minimized = minimize(&Kernel::open(&data).unwrap(), &[Object::parse(&file).unwrap()]).unwrap();
    let rules = Rules { local: &object, target: &object, target_pointer: 8, endian: Endian::Little };
    let expected = relos.iter().map(|relo| {
        // One program loaded alone has one relocation.
        let alone = world::elf::object(&object, std::slice::from_ref(relo), Endian::Little);
        let answers = resolve(&Kernel::open(&data).unwrap(), &Object::parse(&alone).unwrap());
        patched(relo, rules.local_value(relo), &answers[0])
    });
    let expected = expected.collect();
    let write = |extension, data: &[u8]| {
        let path = base.with_extension(extension);
        fs::write(&path, data).unwrap();
        path.into_boxed_path()
    };
    Case {
        whole: write("whole.btf", &data),
        small: write("small.btf", &minimized.btf),
        object: write("o", &file),
        relos,
        expected,
    }
}

/// The instruction after relocation; `None` if libbpf refuses to patch it.
fn patched(
    relo: &Relo,
    local: Option<(u64, u32, char)>,
    answer: &Result<Resolution, Reason>,
) -> Option<String> {
    let poison = || Some(format!("85000000{}", hex(195_896_080)));
    let (value, access) = match answer {
        Err(_) => return None,
        Ok(Resolution::Poisoned) => return poison(),
        Ok(Resolution::Value { value, access }) => (*value, access),
    };
    let (own, size, _) = local?;
    if !relo.load || relo.kind != 0 {
        // The compiler's value does not fit every instruction, and then libbpf refuses.
        let checked = !matches!(relo.kind, 6 | 7);
        let fits = i64::from(own as i32) as u64 == own;
        return if checked && !fits { None } else { Some(format!("b7000000{}", hex(value as u32))) };
    }
    let access = access.unwrap_or(Access { size, adjustable: true });
    let code = |size| match size {
        1 => Some("71"),
        2 => Some("69"),
        4 => Some("61"),
        8 => Some("79"),
        _ => None,
    };
    if value > i16::MAX as u64 {
        return None;
    }
    if !access.adjustable {
        return poison();
    }
    let code =
        if access.size == size { code(size).unwrap_or("61") } else { code(size).and(code(access.size))? };
    Some(format!("{code}10{:02x}{:02x}00000000", value as u8, value as u16 >> 8))
}

fn hex(word: u32) -> String {
    word.to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}
