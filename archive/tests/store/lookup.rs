//! Lookup: exact, by name, ambiguous, not found.

use btf_archive::store::{Archive, Error, KernelDraft, Lookup, LookupQuery};

use crate::{Site, archive, btf, build_id, draft, keys};

both!(
    lookup_by_build_id,
    lookup_one_kernel_two_names,
    lookup_wrong_build_id,
    lookup_by_name,
    lookup_in_a_container,
    lookup_other_arch,
    lookup_sles_counter,
    lookup_nearest,
    lookup_refuses
);

const AWS_18: &str = "ubuntu/18.04/x86_64/5.4.0-1030-aws";
const AWS_20: &str = "ubuntu/20.04/x86_64/5.4.0-1030-aws";
const DEBIAN: &str = "debian/11/x86_64/5.10.0-35-amd64";
const DEBIAN_34: &str = "debian/11/x86_64/5.10.0-34-amd64";
const SLES: &str = "sles/12.5/x86_64/4.12.14-122.103-default";
const SLES_PACKAGE: &str = "sles/15.3/x86_64/5.3.18-150300.59.93.1-default";

/// Their build-ids are 1, 2, 3, …
const KEYS: &[&str] = &[AWS_18, AWS_20, DEBIAN, DEBIAN_34, SLES, SLES_PACKAGE];

/// A query by release, architecture, distribution and version; empty text is not given.
fn query([release, arch, os_id, os_version]: [&str; 4]) -> LookupQuery {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    LookupQuery {
        build_id: None,
        release: given(release),
        arch: given(arch),
        os_id: given(os_id),
        os_version: given(os_version),
    }
}

/// The answer as one line.
async fn answer(archive: &Archive, query: &LookupQuery) -> String {
    match archive.catalog().lookup(query).await.unwrap() {
        Lookup::Exact(kernel) => format!("exact {}", kernel.key),
        Lookup::ByName(kernel) => format!("by name {}", kernel.key),
        Lookup::Ambiguous(candidates) => format!("ambiguous {}", keys(&candidates).join(" ")),
        Lookup::NotFound { nearest } => format!("not found {}", keys(&nearest).join(" ")),
    }
}

/// Check that a known build-id is the answer, whatever else the query says.
async fn lookup_by_build_id(root: Site) {
    let archive = archive(&root, KEYS).await;
    let alone = LookupQuery { build_id: Some(build_id(2)), ..LookupQuery::default() };
    assert_eq!(answer(&archive, &alone).await, format!("exact {AWS_20}"));
    let misled =
        LookupQuery { build_id: Some(build_id(2)), ..query(["5.10.0-35-amd64", "arm64", "alpine", "3"]) };
    assert_eq!(answer(&archive, &misled).await, format!("exact {AWS_20}"));
}

/// Check that one kernel known by two names is found, by the name that the host uses.
async fn lookup_one_kernel_two_names(root: Site) {
    let archive = archive(&root, KEYS).await;
    let security = "debian/12/x86_64/5.10.0-35-amd64";
    let same = KernelDraft { build_id: Some(build_id(3)), ..draft(security) };
    archive.add(same, btf(3)).await.unwrap();
    let host =
        LookupQuery { build_id: Some(build_id(3)), ..query(["5.10.0-35-amd64", "", "debian", "bookworm"]) };
    assert_eq!(answer(&archive, &host).await, format!("exact {security}"));
    // The same BTF under every name that fits: no need to ask which.
    let by_release = query(["5.10.0-35-amd64", "", "", ""]);
    assert_eq!(answer(&archive, &by_release).await, format!("by name {DEBIAN}"));
}

/// Check that a build-id the archive does not know rules out kernels with another one, though their name fits.
async fn lookup_wrong_build_id(root: Site) {
    let archive = archive(&root, KEYS).await;
    let rebuilt =
        LookupQuery { build_id: Some(build_id(99)), ..query(["5.10.0-35-amd64", "x86_64", "debian", "11"]) };
    let found = answer(&archive, &rebuilt).await;
    assert!(found.starts_with(&format!("not found {DEBIAN} {DEBIAN_34}")), "{found}");
    // A kernel whose build-id is not known may be the one.
    let unsigned = "debian/11/x86_64/5.10.0-36-amd64";
    archive.add(draft(unsigned), btf(36)).await.unwrap();
    let host =
        LookupQuery { build_id: Some(build_id(99)), ..query(["5.10.0-36-amd64", "x86_64", "debian", "11"]) };
    assert_eq!(answer(&archive, &host).await, format!("by name {unsigned}"));
    let alone = LookupQuery { build_id: Some(build_id(99)), ..LookupQuery::default() };
    assert_eq!(answer(&archive, &alone).await, "not found ");
}

/// Check that a whole key is found by name, in any spelling, and that less than a key is enough for one candidate only.
async fn lookup_by_name(root: Site) {
    let archive = archive(&root, KEYS).await;
    for (host, expected) in [
        (["5.4.0-1030-aws", "x86_64", "ubuntu", "18.04"], format!("by name {AWS_18}")),
        (["5.4.0-1030-aws", "amd64", "\"Ubuntu\"", "focal"], format!("by name {AWS_20}")),
        (["5.4.0-1030-aws", "", "ubuntu", "20.04"], format!("by name {AWS_20}")),
        (["5.10.0-35-amd64", "", "", ""], format!("by name {DEBIAN}")),
        (["5.10.0-35-amd64", "", "debian", ""], format!("by name {DEBIAN}")),
        (["5.10.0-35-amd64", "", "", "bullseye"], format!("by name {DEBIAN}")),
        (["5.4.0-1030-aws", "", "", ""], format!("ambiguous {AWS_18} {AWS_20}")),
        (["5.4.0-1030-aws", "x86_64", "ubuntu", ""], format!("ambiguous {AWS_18} {AWS_20}")),
    ] {
        assert_eq!(answer(&archive, &query(host)).await, expected, "{host:?}");
    }
}

/// Check that a host whose os-release contradicts the only candidates gets them as candidates, not as an answer.
async fn lookup_in_a_container(root: Site) {
    let archive = archive(&root, KEYS).await;
    for (host, expected) in [
        (["5.10.0-35-amd64", "x86_64", "alpine", "3.20"], format!("ambiguous {DEBIAN}")),
        (["5.10.0-35-amd64", "x86_64", "debian", "12"], format!("ambiguous {DEBIAN}")),
        (["5.4.0-1030-aws", "x86_64", "ubuntu", "22.04"], format!("ambiguous {AWS_18} {AWS_20}")),
    ] {
        assert_eq!(answer(&archive, &query(host)).await, expected, "{host:?}");
    }
}

/// Check that another architecture's kernel of the same release is no candidate.
async fn lookup_other_arch(root: Site) {
    let archive = archive(&root, KEYS).await;
    let found = answer(&archive, &query(["5.4.0-1030-aws", "aarch64", "ubuntu", "18.04"])).await;
    assert!(found.starts_with("not found "), "{found}");
}

/// Check that SUSE's rebuild counter is seen through in both directions, and that two rebuilds are two kernels.
async fn lookup_sles_counter(root: Site) {
    let archive = archive(&root, KEYS).await;
    for (host, expected) in [
        (["4.12.14-122.103-default", "x86_64", "sles", "12.5"], format!("by name {SLES}")),
        (["4.12.14-122.103.1-default", "x86_64", "sles", "12-SP5"], format!("by name {SLES}")),
        (["5.3.18-150300.59.93-default", "x86_64", "sles", "15.3"], format!("by name {SLES_PACKAGE}")),
        (["5.3.18-150300.59.93-default", "", "", ""], format!("by name {SLES_PACKAGE}")),
    ] {
        assert_eq!(answer(&archive, &query(host)).await, expected, "{host:?}");
    }
    for other in ["5.3.18-150300.59.93-azure", "5.3.18-150300.59.9-default"] {
        let found = answer(&archive, &query([other, "x86_64", "sles", "15.3"])).await;
        assert!(found.starts_with(&format!("not found {SLES_PACKAGE}")), "{found}");
    }
    let rebuilt = "sles/15.3/x86_64/5.3.18-150300.59.93.2-default";
    archive.add(draft(rebuilt), btf(77)).await.unwrap();
    let found = answer(&archive, &query(["5.3.18-150300.59.93-default", "x86_64", "sles", "15.3"])).await;
    assert_eq!(found, format!("ambiguous {SLES_PACKAGE} {rebuilt}"));
}

/// Check that an unknown release is answered with the nearest: same architecture, distribution, then version.
async fn lookup_nearest(root: Site) {
    let archive = archive(&root, KEYS).await;
    let found = answer(&archive, &query(["5.10.0-33-amd64", "x86_64", "debian", "11"])).await;
    assert!(found.starts_with(&format!("not found {DEBIAN_34} {DEBIAN} ")), "{found}");
    assert_eq!(found.split(' ').count(), 2 + 5, "{found}");
    let empty = root.another();
    let empty = empty.create().await;
    assert_eq!(answer(&empty, &query(["5.10.0", "", "", ""])).await, "not found ");
}

/// Check that a query which says nothing, or too much, is refused, and that hostile text finds nothing.
async fn lookup_refuses(root: Site) {
    let archive = archive(&root, KEYS).await;
    let long = "5".repeat(129);
    for bad in [
        ["", "x86_64", "debian", "11"],
        [&long, "", "", ""],
        ["5.10", &long, "", ""],
        ["5.10", "", &long, ""],
    ] {
        let refused = archive.catalog().lookup(&query(bad)).await;
        assert!(matches!(refused, Err(Error::Query { .. })), "{bad:?}");
    }
    let hostile = answer(&archive, &query(["' OR '1'='1", "\0", "../..", "%"])).await;
    assert!(hostile.starts_with("not found "), "{hostile}");
}
