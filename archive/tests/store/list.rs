//! Listing, filtering, paging.

use btf_archive::store::{Archive, Error, Filter};

use crate::{Site, archive, build_id, keys};

both!(list_pages, list_cursor, list_filters);

/// In the order in which they must be listed.
const KEYS: &[&str] = &[
    "centos/7/x86_64/3.10.0-1160.el7.x86_64",
    "debian/9/x86_64/4.9.0-19-amd64",
    "debian/10/x86_64/4.19.0-9-amd64",
    "debian/10/x86_64/4.19.0-27-amd64",
    "debian/11/i386/5.10.0-35-686-pae",
    "debian/11/x86_64/5.10.0-35-amd64",
    "ubuntu/18.04/arm64/4.15.0-1030-aws",
    "ubuntu/18.04/x86_64/4.15.0-1030-aws",
];

async fn listed(archive: &Archive, filter: Filter) -> Vec<String> {
    let page = archive.catalog().list(&filter, None, 100).await.unwrap();
    assert_eq!(page.next, None);
    keys(&page.kernels)
}

/// Check that pages follow one another in version order, without a gap or a repetition, whatever their size.
async fn list_pages(root: Site) {
    let mut shuffled = KEYS.to_vec();
    shuffled.reverse();
    shuffled.swap(1, 5);
    let archive = archive(&root, &shuffled).await;
    for limit in [0, 1, 3, 7, 8, 9, usize::MAX] {
        let mut found = Vec::new();
        let mut cursor = None;
        loop {
            let page = archive.catalog().list(&Filter::default(), cursor.as_deref(), limit).await.unwrap();
            assert!(page.kernels.len() <= limit.max(1));
            found.extend(keys(&page.kernels));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(found, KEYS, "limit {limit}");
    }
}

/// Check that a cursor holds its place when the kernel it names was never there, and that nonsense is refused.
async fn list_cursor(root: Site) {
    let archive = archive(&root, KEYS).await;
    let cursor = "debian/10/x86_64/4.19.0-10-amd64";
    let page = archive.catalog().list(&Filter::default(), Some(cursor), 1).await.unwrap();
    assert_eq!(keys(&page.kernels), [KEYS[3]]);
    for cursor in ["", "nonsense", "a/../b/c"] {
        let refused = archive.catalog().list(&Filter::default(), Some(cursor), 1).await;
        assert!(matches!(refused, Err(Error::Query { what: "cursor", .. })), "{cursor}");
    }
}

/// Check each filter, in spellings other than the canonical one, and all of them together.
async fn list_filters(root: Site) {
    let archive = archive(&root, KEYS).await;
    let text = |text: &str| Some(text.to_owned());
    for (filter, expected) in [
        (Filter { distro: text("Debian"), ..Filter::default() }, &KEYS[1..6]),
        (Filter { version: text("bullseye"), ..Filter::default() }, &KEYS[4..6]),
        (Filter { distro: text("centos"), version: text("7.9"), ..Filter::default() }, &KEYS[..1]),
        (Filter { arch: text("aarch64"), ..Filter::default() }, &KEYS[6..7]),
        (Filter { release: text("4.15.0-1030-aws"), ..Filter::default() }, &KEYS[6..]),
        (Filter { build_id: Some(build_id(2)), ..Filter::default() }, &KEYS[1..2]),
        (Filter { q: text("AMD64 debian/10"), ..Filter::default() }, &KEYS[2..4]),
        (Filter { q: text("100%"), ..Filter::default() }, &[]),
        (Filter { q: text("' OR 1=1 --"), ..Filter::default() }, &[]),
        (
            Filter {
                distro: text("ubuntu"),
                version: text("bionic"),
                arch: text("amd64"),
                release: text("4.15.0-1030-aws"),
                build_id: Some(build_id(8)),
                q: text("aws"),
            },
            &KEYS[7..],
        ),
        (Filter { distro: text("fedora"), ..Filter::default() }, &[]),
    ] {
        assert_eq!(listed(&archive, filter.clone()).await, expected, "{filter:?}");
    }
}
