//! Aliases: other names for kernels, given by whoever runs the archive.

use btf_archive::Key;
use btf_archive::store::{Error, Lookup, LookupQuery};

use crate::{Site, archive, btf, draft, keys};

both!(aliases_found);

/// Check that a kernel is found by its alias, by key and in lookups, until that is taken away or a kernel has the name itself; and that
/// an alias of nothing, or of a kernel's own name, is refused.
async fn aliases_found(site: Site) {
    const KERNEL: &str = "debian/11/x86_64/5.10.0-35-amd64";
    let archive = archive(&site, &[KERNEL]).await;
    let catalog = archive.catalog();
    let [kernel, alias, other]: [Key; 3] =
        [KERNEL, "vendor/7/x86_64/5.10.0-35-amd64-v7", "vendor/7/x86_64/5.10.0-36"]
            .map(|key| key.parse().unwrap());
    assert!(matches!(catalog.add_alias(&alias, &other).await, Err(Error::Query { what: "key", .. })));
    assert!(matches!(catalog.add_alias(&kernel, &kernel).await, Err(Error::Query { what: "alias", .. })));
    catalog.add_alias(&alias, &kernel).await.unwrap();
    assert_eq!(catalog.aliases().await.unwrap(), [(alias.clone(), kernel.clone())]);

    let by_name =
        |key: Key| async move { catalog.by_name(&key).await.unwrap().map(|kernel| kernel.key.to_string()) };
    assert_eq!(by_name(alias.clone()).await.as_deref(), Some(KERNEL));
    assert_eq!(by_name(kernel).await.as_deref(), Some(KERNEL));
    assert_eq!(by_name(other).await, None);
    let query = |release: &str, version: &str| LookupQuery {
        build_id: None,
        release: Some(release.to_owned()),
        arch: Some("amd64".to_owned()),
        os_id: Some("vendor".to_owned()),
        os_version: Some(version.to_owned()),
    };
    let host = query(alias.release(), "7");
    let Lookup::ByName(found) = catalog.lookup(&host).await.unwrap() else { panic!() };
    assert_eq!(keys(&[found]), [KERNEL]);
    // Another build-id rules the kernel out, by whatever name.
    let rebuilt = LookupQuery { build_id: Some(crate::build_id(99)), ..host.clone() };
    assert!(matches!(catalog.lookup(&rebuilt).await.unwrap(), Lookup::NotFound { .. }));
    assert!(matches!(catalog.lookup(&query(alias.release(), "8")).await.unwrap(), Lookup::NotFound { .. }));

    archive.add(draft(&alias.to_string()), btf(2)).await.unwrap();
    assert_eq!(by_name(alias.clone()).await, Some(alias.to_string()));
    assert!(catalog.remove_alias(&alias).await.unwrap() && !catalog.remove_alias(&alias).await.unwrap());
}
