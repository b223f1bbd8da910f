//! Tokens: good for what they say, as long as they say; and what was done is kept.

use std::time::Duration;

use btf_archive::Digest;
use btf_archive::store::{Error, Permission, Scope};

use crate::Site;

both!(tokens_permit, tokens_end, tokens_refused, audit_pages);

/// Check that a token allows what its scopes say, that only its digest is kept, and that nothing like it is taken for it.
async fn tokens_permit(root: Site) {
    let archive = root.create().await;
    let catalog = archive.catalog();
    let (upload, known) = catalog.make_token("the build farm", &[Scope::Upload], None).await.unwrap();
    let (admin, _) =
        catalog.make_token("me", &[Scope::Admin, Scope::Upload, Scope::Admin], None).await.unwrap();
    assert_eq!(
        (known.label.as_str(), &known.scopes[..], known.expires),
        ("the build farm", &[Scope::Upload][..], None)
    );
    assert!(upload.starts_with(&format!("btfa_{}_", known.id)) && upload.len() == 5 + 8 + 1 + 64, "{upload}");
    assert_ne!(upload, admin);
    let granted = |permission| matches!(permission, Permission::Granted(_));
    assert_eq!(catalog.permits(&upload, Scope::Upload).await.unwrap(), Permission::Granted(known.clone()));
    assert_eq!(catalog.permits(&upload, Scope::Admin).await.unwrap(), Permission::OutOfScope(known));
    for scope in [Scope::Upload, Scope::Admin] {
        assert!(granted(catalog.permits(&admin, scope).await.unwrap()));
    }
    let mut other = upload.clone().into_bytes();
    *other.last_mut().unwrap() ^= 1;
    let other = String::from_utf8(other).unwrap();
    let digest = Digest::of(upload.as_bytes()).to_string();
    for wrong in
        ["", "btfa_", "btfa__", &upload[..20], &upload.to_uppercase(), &other, &format!("{upload} "), &digest]
    {
        assert_eq!(catalog.permits(wrong, Scope::Upload).await.unwrap(), Permission::Unknown, "{wrong}");
    }
    assert_eq!(
        catalog.tokens().await.unwrap()[1].scopes.len() + catalog.tokens().await.unwrap()[0].scopes.len(),
        3
    );
}

/// Check that a token ends at its time, and at once when it is revoked.
async fn tokens_end(root: Site) {
    let archive = root.create().await;
    let catalog = archive.catalog();
    let (short, _) = catalog.make_token("short", &[Scope::Upload], Some(Duration::ZERO)).await.unwrap();
    assert!(matches!(catalog.permits(&short, Scope::Upload).await.unwrap(), Permission::Expired(_)));
    let (long, known) =
        catalog.make_token("long", &[Scope::Upload], Some(Duration::from_secs(3600))).await.unwrap();
    assert_eq!(known.expires, Some(known.created + 3600));
    assert!(matches!(catalog.permits(&long, Scope::Upload).await.unwrap(), Permission::Granted(_)));
    assert!(catalog.revoke_token(&known.id).await.unwrap());
    let Permission::Revoked(revoked) = catalog.permits(&long, Scope::Upload).await.unwrap() else { panic!() };
    assert!(catalog.revoke_token(&known.id).await.unwrap());
    assert_eq!(catalog.token(&known.id).await.unwrap().unwrap(), revoked);
    assert!(!catalog.revoke_token("none").await.unwrap());
}

/// Check that a token without a scope or a label is not made.
async fn tokens_refused(root: Site) {
    let archive = root.create().await;
    for (label, scopes) in [("x", &[][..]), (" ", &[Scope::Upload][..])] {
        let refused = archive.catalog().make_token(label, scopes, None).await;
        assert!(matches!(refused, Err(Error::Query { .. })));
    }
    assert_eq!(archive.catalog().tokens().await.unwrap(), []);
    assert!("root".parse::<Scope>().is_err());
}

/// Check that what was done is told again, the latest first, page by page.
async fn audit_pages(root: Site) {
    let archive = root.create().await;
    let catalog = archive.catalog();
    for number in 0..5 {
        catalog.audit("token 0a", "kernel-replaced", &format!("k{number}"), "?").await.unwrap();
    }
    let first = catalog.audit_log(None, 3).await.unwrap();
    let second = catalog.audit_log(Some(first[2].id), 3).await.unwrap();
    let subjects: Vec<_> = first.iter().chain(&second).map(|entry| entry.subject.as_str()).collect();
    assert_eq!(subjects, ["k4", "k3", "k2", "k1", "k0"]);
    let entry = &second[1];
    let words = (entry.actor.as_str(), entry.action.as_str(), entry.detail.as_str());
    assert_eq!(words, ("token 0a", "kernel-replaced", "?"));
    assert!(entry.at > 0);
}
