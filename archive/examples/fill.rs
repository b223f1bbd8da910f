//! Fills an archive with generated kernels, and measures what that and looking things up takes.
//!
//! ```sh
//! cargo run --release -p btf-archive --features store --example fill -- DIR KERNELS [--catalog URL|FILE] [--types N] [--leave]
//! ```
//!
//! The kernels have the names of six series of distributions and small BTF of N types (default 200), most of which they share with the
//! kernel before; every seventh has a configuration, every eleventh the BTF of its neighbour. DIR may be a bucket's URL. The figures
//! come as one JSON object on stdout. DIR is removed at the end, unless --leave is given or it is a URL.

use std::time::{Duration, Instant};

use btf::{Builder, Endian, Int, Kind, Member};
use btf_archive::store::{Archive, Beside, Filter, KernelDraft, LookupQuery, Pace};
use btf_archive::{BuildId, Key, Provenance, Source, Trust};
use serde_json::{Value, json};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// How many of the kernels are looked up.
const LOOKUPS: usize = 1000;
/// How many kernels are added between two snapshots.
const BETWEEN: usize = 1000;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (mut plain, mut catalog, mut types, mut leave) = (Vec::new(), None, 200, false);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--catalog" => catalog = arguments.next(),
            "--types" => types = arguments.next().ok_or("--types needs a number")?.parse()?,
            "--leave" => leave = true,
            _ => plain.push(argument),
        }
    }
    let [place, kernels] = &plain[..] else {
        return Err("usage: fill DIR KERNELS [--catalog URL|FILE]".into());
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let figures = runtime.block_on(measure(place, kernels.parse()?, catalog.as_deref(), types))?;
    println!("{figures}");
    if !leave && !place.contains("://") {
        std::fs::remove_dir_all(place)?;
    }
    Ok(())
}

async fn measure(place: &str, kernels: usize, catalog: Option<&str>, types: u32) -> Result<Value> {
    let archive = Archive::create_with(place, catalog).await?;
    let (mut adding, mut publishing) = (Vec::with_capacity(kernels), Vec::new());
    for number in 0..kernels {
        let (draft, raw, beside) = kernel(number, types)?;
        adding.push(timed(archive.add_with(draft, raw, beside)).await?);
        if (number + 1) % BETWEEN == 0 || number + 1 == kernels {
            publishing.push(ms(timed(archive.publish()).await?));
        }
    }
    // One more, as every day.
    let (draft, raw, beside) = kernel(kernels, types)?;
    archive.add_with(draft, raw, beside).await?;
    let daily = timed(archive.publish()).await?;

    let catalog = archive.catalog();
    let (mut by_key, mut by_build_id, mut lookup, mut not_found) = (vec![], vec![], vec![], vec![]);
    for at in 0..LOOKUPS {
        let (KernelDraft { key, build_id, .. }, ..) = kernel(at * kernels / LOOKUPS, types)?;
        by_key.push(timed(catalog.by_key(&key)).await?);
        by_build_id.push(timed(catalog.by_build_id(&build_id.ok_or("no build-id")?)).await?);
        let mut query = LookupQuery {
            release: Some(key.release().to_owned()),
            os_id: Some(key.distro().to_owned()),
            os_version: Some(key.version().to_owned()),
            arch: Some(key.arch().to_owned()),
            build_id: None,
        };
        lookup.push(timed(catalog.lookup(&query)).await?);
        query.release = Some(format!("{}-x", key.release()));
        not_found.push(timed(catalog.lookup(&query)).await?);
    }
    let (mut pages, mut cursor) = (Vec::new(), None);
    loop {
        let begun = Instant::now();
        let page = catalog.list(&Filter::default(), cursor.as_deref(), 100).await?;
        pages.push(begun.elapsed());
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let begun = Instant::now();
    let damage = archive.scrub(Pace { rate: None, parallel: 2 }, |_| ()).await?;
    let scrub = begun.elapsed();
    if !damage.is_empty() {
        return Err(format!("{damage:?}").into());
    }
    archive.close().await;
    let read_only = timed(Archive::open_read_only(place)).await?;
    Ok(json!({
        "kernels": kernels, "add_ms": quantiles(&mut adding), "publish_ms": publishing,
        "publish_one_more_ms": ms(daily), "by_key_ms": quantiles(&mut by_key),
        "by_build_id_ms": quantiles(&mut by_build_id), "lookup_ms": quantiles(&mut lookup),
        "lookup_not_found_ms": quantiles(&mut not_found), "page_of_100_ms": quantiles(&mut pages),
        "scrub_ms": ms(scrub), "open_read_only_ms": ms(read_only), "peak_memory_kib": peak_memory(),
    }))
}

/// How long something takes that must succeed.
async fn timed<T, E>(work: impl Future<Output = Result<T, E>>) -> Result<Duration, E> {
    let begun = Instant::now();
    work.await.map(|_| begun.elapsed())
}

/// The kernel of this number: what is said of it, its BTF, and what it has beside that.
fn kernel(number: usize, types: u32) -> Result<(KernelDraft, Vec<u8>, Beside)> {
    const SERIES: [(&str, &str, &str, &str); 6] = [
        ("debian", "11", "5.10.0", "amd64"),
        ("debian", "12", "6.1.0", "cloud-amd64"),
        ("ubuntu", "18.04", "4.15.0", "generic"),
        ("ubuntu", "20.04", "5.4.0", "aws"),
        ("rhel", "8", "4.18.0", "el8"),
        ("amzn", "2", "4.14.0", "amzn2"),
    ];
    const ARCHES: [&str; 2] = ["x86_64", "arm64"];
    let (distro, version, base, flavour) = SERIES[number % SERIES.len()];
    let arch = ARCHES[number / SERIES.len() % ARCHES.len()];
    let release = format!("{base}-{}-{flavour}", number / SERIES.len() / ARCHES.len());
    let mut id = [0; 20];
    id[12..].copy_from_slice(&(number as u64).to_be_bytes());
    let package = format!("linux-image-{release}-dbg");
    let provenance = Provenance {
        package_version: Some(format!("{base}.{number}")),
        url: Some(format!("https://mirror.example/pool/main/l/linux/{package}_{number}_{arch}.deb")),
        package: Some(package),
        sha256: None,
        trust: Trust::SignedIndex,
        source: Source::Dwarf,
        generator: "btfgen 0.1.0".to_owned(),
    };
    let key: Key = format!("{distro}/{version}/{arch}/{release}").parse()?;
    let draft = KernelDraft { key, build_id: Some(BuildId::new(&id)?), provenance, digest: None };
    let config =
        number.is_multiple_of(7).then(|| format!("CONFIG_NR={}\nCONFIG_BPF=y\n", number % 70).into());
    let twin = if number % 11 == 10 { number - 1 } else { number };
    Ok((draft, btf_of(u32::try_from(twin)?, types)?, Beside { config, modules: None }))
}

/// BTF of structs, of which each kernel has changed one or two since the one before.
fn btf_of(number: u32, types: u32) -> Result<Vec<u8>> {
    let mut builder = Builder::new();
    let int = builder.int(b"int", 4, Int { encoding: 1, bit_offset: 0, bits: 32 });
    for at in 0..types {
        let changed = number.saturating_sub(at) / types.max(1);
        let members: Vec<_> = (0..4 + (at + changed) % 5)
            .map(|member| {
                let name = builder.string(format!("field_{at}_{member}_{}", changed % 3).as_bytes());
                Member { name, ty: int, bit_offset: 32 * member, bit_width: 0 }
            })
            .collect();
        let name = format!("struct_{at}");
        builder.composite(Kind::Struct, name.as_bytes(), 4 * u32::try_from(members.len())?, &members)?;
    }
    builder.reference(Kind::Typedef, format!("kernel_{number}").as_bytes(), int);
    Ok(builder.finish(Endian::Little)?)
}

/// A time in milliseconds, to the microsecond.
fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// The median, the 99th of a hundred, and the largest, in milliseconds.
fn quantiles(times: &mut [Duration]) -> Value {
    times.sort_unstable();
    let at = |share: usize| {
        let place = (times.len() * share / 100).min(times.len().saturating_sub(1));
        times.get(place).map(|time| ms(*time))
    };
    json!({ "median": at(50), "p99": at(99), "max": at(100) })
}

/// The most memory that this process ever had, from `/proc/self/status`.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}
