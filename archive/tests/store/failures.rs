//! Failures: counted, told apart, listed by pages, tried again in time, forgotten once mended.

use std::time::Duration;

use btf_archive::store::{Error, FailureClass, FailureReport, Retry, Subject};

use crate::{Site, btf, draft};

both!(failures_counted, failures_pauses, failures_pages, failures_all);

const KEY: &str = "debian/11/i386/5.10.0-35-686-pae";

fn kernel(number: u32) -> Subject {
    Subject::Key(format!("debian/11/i386/5.10.0-{number}-686-pae").parse().unwrap())
}

/// Check that failures are counted and forgotten once mended, and that the last report is what is told.
async fn failures_counted(root: Site) {
    let archive = root.create().await;
    let catalog = archive.catalog();
    let kernel = Subject::Key(KEY.parse().unwrap());
    let package = Subject::Package("linux-image-dbg 1.0 i386".to_owned());
    let lasting =
        |subject: &Subject, reason| FailureReport::new(subject.clone(), FailureClass::Lasting, reason);
    let last = FailureReport {
        package: Some("linux-image-dbg".to_owned()),
        package_version: Some("1.0".to_owned()),
        generator: Some("btfgen 0.1.0".to_owned()),
        ..FailureReport::new(kernel.clone(), FailureClass::Refused, "bad\0DWARF")
    };
    for report in [lasting(&kernel, "no vmlinux"), last.clone(), lasting(&package, "hash mismatch")] {
        catalog.record_failure(&report).await.unwrap();
    }
    let failure = catalog.failure(&kernel).await.unwrap().unwrap();
    assert_eq!((failure.attempts, failure.class, failure.retry_at), (2, FailureClass::Refused, None));
    assert!(failure.reason.starts_with("bad") && failure.reason.ends_with("DWARF"), "{}", failure.reason);
    assert_eq!((failure.package, failure.package_version), (last.package, last.package_version));
    assert_eq!(failure.generator, last.generator);
    assert!(failure.first > 0 && failure.first <= failure.last);
    assert_eq!(catalog.failures(None, 10).await.unwrap().failures.len(), 2);

    archive.add(draft(KEY), btf(1)).await.unwrap();
    assert_eq!(catalog.failure(&kernel).await.unwrap(), None);
    catalog.clear_failure(&package).await.unwrap();
    assert_eq!(catalog.failures(None, 10).await.unwrap().failures, []);
}

/// Check that pauses grow with each failure up to a day, and that a pause asked for is the one that is made.
async fn failures_pauses(root: Site) {
    let archive = root.create().await;
    let catalog = archive.catalog();
    let mut report = FailureReport::new(kernel(1), FailureClass::Passing, "timeout");
    let mut pauses = Vec::new();
    for _ in 0..10 {
        catalog.record_failure(&report).await.unwrap();
        let failure = catalog.failure(&kernel(1)).await.unwrap().unwrap();
        pauses.push(failure.retry_at.unwrap() - failure.last);
    }
    assert_eq!(pauses, [600, 1200, 2400, 4800, 9600, 19_200, 38_400, 76_800, 86_400, 86_400]);
    report.retry = Retry::After(Duration::from_secs(77));
    catalog.record_failure(&report).await.unwrap();
    let failure = catalog.failure(&kernel(1)).await.unwrap().unwrap();
    assert_eq!(failure.retry_at, Some(failure.last + 77));
}

/// Check that pages follow one another without a gap, and that nonsense is no cursor.
async fn failures_pages(root: Site) {
    let archive = root.create().await;
    let catalog = archive.catalog();
    let mut subjects: Vec<_> = (10..17).map(kernel).collect();
    subjects.push(Subject::Package("a 1".to_owned()));
    for subject in subjects.iter().rev() {
        let report = FailureReport::new(subject.clone(), FailureClass::Lasting, "no");
        catalog.record_failure(&report).await.unwrap();
    }
    for limit in [0, 1, 3, 8, usize::MAX] {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page = catalog.failures(cursor.as_deref(), limit).await.unwrap();
            assert!(page.failures.len() <= limit.max(1));
            found.extend(page.failures.into_iter().map(|failure| failure.subject));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(found, subjects, "limit {limit}");
    }
    assert!(matches!(catalog.failures(Some("nonsense"), 1).await, Err(Error::Query { what: "cursor", .. })));
}

/// Check that all of them can be let go, or let be tried again.
async fn failures_all(root: Site) {
    let archive = root.create().await;
    let catalog = archive.catalog();
    for number in 1..4 {
        catalog
            .record_failure(&FailureReport::new(kernel(number), FailureClass::Lasting, "no"))
            .await
            .unwrap();
    }
    assert_eq!(catalog.retry_failures().await.unwrap(), 3);
    for failure in catalog.failures(None, 10).await.unwrap().failures {
        assert!(failure.retry_at.unwrap() <= failure.last + 5, "{failure:?}");
    }
    assert_eq!(catalog.clear_failures().await.unwrap(), 3);
    assert_eq!(catalog.failures(None, 10).await.unwrap().failures, []);
}
