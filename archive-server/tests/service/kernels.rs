//! `/v1/kernels`: lists, filters and pages.

use btf_archive::store::{FailureClass, FailureReport, Subject};
use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{ALL, BOOKWORM, BULLSEYE, Server, make_archive, records, stable};

/// Check what is told about one kernel.
#[tokio::test]
async fn one() {
    let server = Server::start(&[BULLSEYE]).await;
    let record = server.json("/v1/kernels/debian/bullseye/i686/5.10.0-1-686-pae", StatusCode::OK).await;
    insta::assert_json_snapshot!(stable(record));
}

/// Check that each filter, in any spelling, finds what it should, in the order in which people read versions.
#[tokio::test]
async fn filters() {
    let server = Server::start(ALL).await;
    let keys = async |query: &str| -> Vec<String> {
        let list = server.json(&format!("/v1/kernels?{query}"), StatusCode::OK).await;
        assert_eq!(list["next"], Value::Null);
        records(&list["kernels"]).iter().map(|kernel| kernel.key.to_string()).collect()
    };
    let all = keys("").await;
    assert_eq!(all.len(), ALL.len());
    let ubuntu = ["ubuntu/16.04/x86_64/4.15.0-1-generic", "ubuntu/18.04/x86_64/4.15.0-1-generic"];
    assert_eq!(keys("distro=Ubuntu").await, ubuntu);
    assert_eq!(keys("release=4.15.0-1-generic").await, ubuntu);
    assert_eq!(keys("distro=ubuntu&version=bionic").await, ubuntu[1..]);
    assert_eq!(keys("arch=aarch64").await, ["debian/11/arm64/5.10.0-1-arm64"]);
    assert_eq!(keys(&format!("build_id={}", BOOKWORM.1.unwrap())).await, [BOOKWORM.0]);
    assert_eq!(keys("q=686+debian").await, [BULLSEYE.0, BOOKWORM.0]);
    assert_eq!(keys("q=%25").await, [""; 0], "no wildcards");
    assert_eq!(keys("distro=&q=").await, all, "empty is not given");
}

/// Check that pages together are the whole list, none twice.
#[tokio::test]
async fn pages() {
    let server = Server::start(ALL).await;
    let whole = server.json("/v1/kernels", StatusCode::OK).await;
    let mut found = Vec::new();
    let mut path = "/v1/kernels?limit=2".to_owned();
    loop {
        let page = server.json(&path, StatusCode::OK).await;
        let kernels = page["kernels"].as_array().unwrap();
        assert!(!kernels.is_empty() && kernels.len() <= 2);
        found.extend(kernels.iter().cloned());
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/kernels?limit=2&cursor={next}");
    }
    assert_eq!(&found, whole["kernels"].as_array().unwrap());
}

/// Check that what makes no sense is refused, and names the parameter.
#[tokio::test]
async fn refused() {
    let server = Server::start(&[]).await;
    for (query, word) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("build_id=xyz", "build-id"),
        ("cursor=nonsense", "cursor"),
        ("distor=debian", "distor"),
        ("distro=a&distro=b", "distro"),
    ] {
        let problem = server.problem(&format!("/v1/kernels?{query}"), StatusCode::BAD_REQUEST).await;
        assert!(problem["detail"].as_str().unwrap().contains(word), "{query}: {problem}");
    }
}

/// Check that an unknown kernel is answered with the nearest ones, and with the reason if its BTF could not be made.
#[tokio::test]
async fn unknown() {
    let directory = TempDir::new().unwrap();
    let archive = make_archive(&directory.path().join("archive"), ALL).await;
    let failed = Subject::Key("debian/11/i386/5.10.0-2-686-pae".parse().unwrap());
    let report = FailureReport::new(failed, FailureClass::Lasting, "no debug package in the index");
    archive.catalog().record_failure(&report).await.unwrap();
    drop(archive);
    let server = Server::start_over(directory, &[]);
    for prefix in ["/v1/kernels/", "/v1/btf/"] {
        let problem =
            server.problem(&format!("{prefix}debian/11/i386/5.10.0-2-686-pae"), StatusCode::NOT_FOUND).await;
        assert_eq!(problem["nearest"][0]["key"], BULLSEYE.0);
        insta::allow_duplicates! {
            insta::assert_json_snapshot!(stable(without_instance(problem)));
        }
    }
    let elsewhere = server.problem("/v1/btf/debian/12/i386/5.10.0-1-686-pae", StatusCode::NOT_FOUND).await;
    assert_eq!(elsewhere["nearest"][0]["key"], BULLSEYE.0, "another Debian has this release");
    assert_eq!(elsewhere["failure"], Value::Null);
}

fn without_instance(mut problem: Value) -> Value {
    problem.as_object_mut().unwrap().remove("instance");
    problem
}
