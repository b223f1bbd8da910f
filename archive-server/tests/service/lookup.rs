//! `/v1/lookup`: the right kernel, or no kernel.

use reqwest::StatusCode;
use serde_json::Value;

use crate::harness::{ALL, BIONIC, BOOKWORM, BULLSEYE_ARM, Server, VENDOR, XENIAL, records, stable};

async fn found(server: &Server, query: &str) -> (String, String) {
    let answer = server.json(&format!("/v1/lookup?{query}"), StatusCode::OK).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&answer["kernel"]["key"]), text(&answer["match"]))
}

/// Check the whole answer.
#[tokio::test]
async fn answer() {
    let server = Server::start(ALL).await;
    let path = format!("/v1/lookup?build_id={}", BOOKWORM.1.unwrap());
    insta::assert_json_snapshot!(stable(server.json(&path, StatusCode::OK).await));
}

/// Check that a build-id is exact, whatever else the host says about itself.
#[tokio::test]
async fn by_build_id() {
    let server = Server::start(ALL).await;
    let id = BIONIC.1.unwrap();
    let exact = (BIONIC.0.to_owned(), "build-id".to_owned());
    assert_eq!(found(&server, &format!("build_id={}", id.to_uppercase())).await, exact);
    let container =
        format!("build_id={id}&release=4.15.0-1-generic&arch=x86_64&os_id=alpine&os_version=3.20");
    assert_eq!(found(&server, &container).await, exact);
}

/// Check that a whole key in any spelling is found, and says that only the name matched.
#[tokio::test]
async fn by_key() {
    let server = Server::start(ALL).await;
    let query = "release=5.10.0-1-arm64&arch=aarch64&os_id=debian&os_version=bullseye";
    assert_eq!(found(&server, query).await, (BULLSEYE_ARM.0.to_owned(), "key".to_owned()));
    let query = "release=4.15.0-1-generic&arch=amd64&os_id=%22Ubuntu%22&os_version=%2216.04%22";
    assert_eq!(found(&server, query).await, (XENIAL.0.to_owned(), "key".to_owned()));
}

/// Check that a release alone is enough only if one kernel has it.
#[tokio::test]
async fn by_release() {
    let server = Server::start(ALL).await;
    let only = (BULLSEYE_ARM.0.to_owned(), "release".to_owned());
    assert_eq!(found(&server, "release=5.10.0-1-arm64").await, only);
    let many =
        server.json("/v1/lookup?release=4.15.0-1-generic&arch=x86_64", StatusCode::MULTIPLE_CHOICES).await;
    let keys: Vec<String> =
        records(&many["candidates"]).iter().map(|kernel| kernel.key.to_string()).collect();
    assert_eq!(keys, [XENIAL.0, BIONIC.0]);
}

/// Check that a build-id that the archive does not know is never answered with a kernel that has another one: its BTF
/// would load and read garbage.
#[tokio::test]
async fn wrong_build_id() {
    let server = Server::start(ALL).await;
    let other = "ffff0123456789abcdef0123456789abcdef0123";
    let same_name = format!("build_id={other}&release=6.1.0-1-686-pae&arch=i686&os_id=debian&os_version=12");
    let problem = server.problem(&format!("/v1/lookup?{same_name}"), StatusCode::NOT_FOUND).await;
    assert_eq!(problem["nearest"][0]["key"], BOOKWORM.0);
    assert_eq!(problem["nearest"][0]["digest"], Value::Null, "nobody shall take it by mistake");
    // A kernel whose build-id nobody recorded may be the one.
    let unrecorded =
        format!("build_id={other}&release=4.4.0-nobuildid&arch=x86_64&os_id=vendor&os_version=1");
    assert_eq!(found(&server, &unrecorded).await, (VENDOR.0.to_owned(), "key".to_owned()));
}

/// Check that an unknown kernel is 404 with the nearest, and a question without a subject 400.
#[tokio::test]
async fn not_found_and_refused() {
    let server = Server::start(ALL).await;
    let problem = server.problem("/v1/lookup?release=6.1.0-2-686-pae&arch=i386", StatusCode::NOT_FOUND).await;
    assert_eq!(problem["nearest"][0]["key"], BOOKWORM.0);
    let long = format!("/v1/lookup?release={}", "a".repeat(1000));
    for path in [
        "/v1/lookup",
        "/v1/lookup?arch=i386",
        "/v1/lookup?build_id=abc",
        "/v1/lookup?uname=6.1",
        long.as_str(),
    ] {
        server.problem(path, StatusCode::BAD_REQUEST).await;
    }
}
