//! Tokens without an end: in Secrets, made for accounts, and taken by the API server while they lie there.

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use lab::Lab;

const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../machinery/tests/keys/p256.sec1.pem");

fn secret(name: &str, account: &str) -> Value {
    let annotations = json!({"kubernetes.io/service-account.name": account});
    json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {"name": name, "annotations": annotations}})
}

/// A laboratory with an account `robot` and a Secret `robots` that holds its token.
async fn laboratory() -> (Lab, String) {
    let lab = Lab::bare_with(&["--service-account-signing-key-file", KEY]).await;
    lab.controllers(&["--service-account-private-key-file", KEY]).await;
    lab.create(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}})).await;
    lab.create(secret("robots", "robot")).await;
    let token = token(&lab, "").await;
    (lab, token)
}

/// The token in the Secret, once it has one that is not `before`.
async fn token(lab: &Lab, before: &str) -> String {
    let token = async || {
        let found = lab.api::<Secret>().get("robots").await.unwrap().data.unwrap_or_default();
        let token = found.get("token").map(|token| String::from_utf8(token.0.clone()).unwrap());
        token.filter(|token| token != before).ok_or_else(|| format!("{:?}", found.keys()))
    };
    lab.until(token).await
}

/// Whom a token names; or why nobody.
async fn named(lab: &Lab, token: &str) -> Result<String, String> {
    let review = TokenReview {
        spec: TokenReviewSpec { token: token.to_owned(), audiences: None },
        ..TokenReview::default()
    };
    let reviews = Api::<TokenReview>::all(lab.client.clone());
    let status = reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap();
    match status.authenticated {
        Some(true) => Ok(status.user.unwrap().username.unwrap()),
        _ => Err(status.error.unwrap()),
    }
}

async fn change(lab: &Lab, patch: Value) {
    let patch = Patch::Merge(patch);
    lab.api::<Secret>().patch("robots", &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_holds_a_token_of_its_account() {
    let (lab, token) = laboratory().await;
    let held = lab.api::<Secret>().get("robots").await.unwrap();
    let data = held.data.unwrap();
    assert_eq!(data["namespace"].0, b"default");
    assert!(data["ca.crt"].0.starts_with(b"-----BEGIN CERTIFICATE-----"));
    let account = lab.api::<ServiceAccount>().get("robot").await.unwrap();
    let annotations = held.metadata.annotations.unwrap();
    assert_eq!(Some(&annotations["kubernetes.io/service-account.uid"]), account.metadata.uid.as_ref());
    assert_eq!(named(&lab, &token).await.as_deref(), Ok("system:serviceaccount:default:robot"));

    let since = |date: Option<&str>| json!({"metadata": {"labels": {"kubernetes.io/legacy-token-invalid-since": date}}});
    change(&lab, since(Some("2026-01-01"))).await;
    let why = named(&lab, &token).await.unwrap_err();
    assert!(
        why.contains(
            "the token in secret default/robots for service account default/robot has been marked invalid"
        ),
        "{why}"
    );
    change(&lab, since(None)).await;
    assert!(named(&lab, &token).await.is_ok());

    // Who takes it out gets another one, and the old one is good no more.
    change(&lab, json!({"data": {"token": null}})).await;
    let next = self::token(&lab, &token).await;
    assert!(named(&lab, &next).await.is_ok());
    let why = named(&lab, &token).await.unwrap_err();
    assert_eq!(why, "[invalid bearer token, Token does not match server's copy]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_goes_with_its_account() {
    let (lab, token) = laboratory().await;
    let gone = async |name: &'static str| {
        let gone = async || match lab.api::<Secret>().get_opt(name).await.unwrap() {
            None => Ok(()),
            Some(left) => Err(format!("{:?}", left.metadata)),
        };
        lab.until(gone).await;
    };
    lab.api::<ServiceAccount>().delete("robot", &DeleteParams::default()).await.unwrap();
    gone("robots").await;
    let why = named(&lab, &token).await.unwrap_err();
    assert_eq!(why, "[invalid bearer token, Token has been invalidated]");
    lab.create(secret("nobodys", "nobody")).await;
    gone("nobodys").await;
}
