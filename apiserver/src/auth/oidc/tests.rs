use std::{collections::HashMap, convert::Infallible, net::SocketAddr, path::Path};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures::future::pending;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use machinery::{
    pki::{Authority, IssueRequest},
    tasks::Tasks,
    tls::{self, ClientCertificates, TlsSource},
};
use parking_lot::Mutex;
use ring::{
    rand::SystemRandom,
    rsa,
    signature::{RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding},
};
use serde_json::json;
use tokio::{net::TcpListener, time::Instant};
use tokio_rustls::TlsAcceptor;

use machinery::token_keys::SigningKey;

use super::*;
use crate::harness::{Server, client, send};

/// An issuer of the test's own, on a port of the loopback.
struct Provider {
    url: String,
    ca: String,
    tasks: Tasks,
    /// What it answers by path; what it does not know it never answers.
    answers: Arc<Mutex<HashMap<String, Value>>>,
    asked: Arc<Mutex<Vec<String>>>,
    dir: tempfile::TempDir,
}

fn key_file(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../machinery/tests/keys").join(name)
}

impl Provider {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("issuer").unwrap();
        let request = IssueRequest::server("issuer", &["localhost"], &[]);
        let (cert, key) = (dir.path().join("crt"), dir.path().join("key"));
        authority.issue(&request).unwrap().save(&cert, &key).unwrap();
        let source = TlsSource::Files { cert, key };
        let config = tls::server_config(&source, ClientCertificates::Ignored, &["http/1.1"]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let url = format!("https://localhost:{}", address.port());
        let (answers, asked) = (Arc::default(), Arc::default());
        let provider =
            Self { url, ca: authority.cert_pem().to_owned(), tasks: Tasks::new(), answers, asked, dir };
        let (answers, asked) = (provider.answers.clone(), provider.asked.clone());
        let (acceptor, tasks) = (TlsAcceptor::from(config), provider.tasks.clone());
        provider.tasks.spawn_loop("issuer", async move {
            loop {
                let (stream, _) = listener.accept().await?;
                let (acceptor, answers, asked) = (acceptor.clone(), answers.clone(), asked.clone());
                tasks.spawn_scoped("connection", async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| answer(answers.clone(), asked.clone(), request));
                    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        provider
    }

    /// Has it say where its keys are, and which.
    fn publish(&self, keys: &[&SigningKey]) {
        let keys: Vec<_> = keys.iter().map(|key| key.public().json()).collect();
        let mut answers = self.answers.lock();
        let said = json!({"issuer": self.url, "jwks_uri": format!("{}/keys", self.url)});
        answers.insert("/.well-known/openid-configuration".into(), said);
        answers.insert("/keys".into(), json!({"keys": keys}));
    }

    /// The flags that name it.
    fn rules(&self) -> JwtAuthenticator {
        let claimed = |claim: &str, prefix: &str| Claimed {
            claim: claim.into(),
            prefix: Some(prefix.into()),
            ..Claimed::default()
        };
        JwtAuthenticator {
            issuer: IssuerConfig {
                url: self.url.clone(),
                audiences: vec!["skiff".into()],
                certificate_authority: self.ca.clone(),
                ..IssuerConfig::default()
            },
            claim_mappings: ClaimMappings {
                username: claimed("sub", "oidc:"),
                groups: claimed("groups", "oidc:"),
                ..ClaimMappings::default()
            },
            ..JwtAuthenticator::default()
        }
    }

    /// Claims of a good token.
    fn claims(&self) -> Value {
        let now = machinery::clock::now().as_second();
        json!({"iss": self.url, "sub": "jane", "aud": "skiff", "exp": now + 600, "groups": ["dev", "ops"]})
    }

    async fn stop(self) {
        self.tasks.stop_and_join(Duration::from_secs(5)).await.unwrap();
        self.dir.close().unwrap();
    }
}

async fn answer(
    answers: Arc<Mutex<HashMap<String, Value>>>,
    asked: Arc<Mutex<Vec<String>>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    asked.lock().push(request.uri().path().to_owned());
    let known = answers.lock().get(request.uri().path()).cloned();
    let Some(known) = known else { return pending().await };
    Ok(Response::new(Full::new(Bytes::from(known.to_string()))))
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn token_with(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", encoded(header), encoded(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn token(key: &SigningKey, claims: &Value) -> String {
    let header = json!({"alg": key.public().algorithm(), "kid": key.public().id()});
    token_with(&header, claims, |message| key.sign(message).unwrap())
}

fn changed(claims: &Value, field: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[field] = value;
    claims
}

async fn review(issuers: &Issuers, token: &str, now: Timestamp) -> Result<User, Refused> {
    issuers.review(&Jwt::read(token).ok_or(Refused::Unknown)?, now).await
}

/// Asks until the keys are known.
async fn initialized(issuers: &Issuers, token: &str) -> User {
    loop {
        match review(issuers, token, machinery::clock::now()).await {
            Ok(user) => return user,
            Err(why) => assert!(why.to_string().contains("not initialized"), "{why}"),
        }
        sleep(Duration::from_millis(10)).await;
    }
}

fn issuers(rules: JwtAuthenticator, algorithms: &[&str]) -> Issuers {
    let algorithms = algorithms.iter().map(|name| (*name).to_owned()).collect();
    Issuers::new(Authentication { jwt: vec![rules], algorithms, ..Authentication::default() }, &[]).unwrap()
}

#[tokio::test]
async fn only_good_tokens_of_the_issuer_stand_for_somebody() {
    machinery::tls::use_ring();
    let provider = Provider::start().await;
    let (es256, rsa, stranger) = ("p256.pkcs8.pem", "rsa.pkcs8.pem", "p384.pkcs8.pem");
    let [es256, rsa, stranger] =
        [es256, rsa, stranger].map(|name| SigningKey::load(&key_file(name)).unwrap());
    provider.publish(&[&es256, &rsa]);
    let issuers = issuers(provider.rules(), &["ES256", "RS256", "RS512", "PS256"]);
    let claims = provider.claims();
    let now = machinery::clock::now();
    let good = token(&es256, &claims);
    let early = review(&issuers, &good, now).await.unwrap_err().to_string();
    assert_eq!(early, "[invalid bearer token, oidc: authenticator not initialized]");

    let judging = async {
        let user = initialized(&issuers, &good).await;
        assert_eq!(
            (user.name.as_str(), user.groups.join(",")),
            ("oidc:jane", "oidc:dev,oidc:ops,system:authenticated".into())
        );
        // The second time it is remembered, and ends all the same.
        for (seconds, ends) in [(0, false), (599, false), (605, true)] {
            let at = Timestamp::from_second(now.as_second() + seconds).unwrap();
            let told = review(&issuers, &good, at).await.map_err(|why| why.to_string());
            assert_eq!(told.is_err_and(|why| why.contains("oidc: token is expired")), ends, "{seconds}");
        }
        let pair = rsa::KeyPair::from_pkcs8(
            &x509_parser::pem::Pem::iter_from_buffer(&std::fs::read(key_file("rsa.pkcs8.pem")).unwrap())
                .next()
                .unwrap()
                .unwrap()
                .contents,
        )
        .unwrap();
        let rsa_signed = |name: &str, how: &'static dyn RsaEncoding| {
            token_with(&json!({"alg": name, "kid": rsa.public().id()}), &claims, |message| {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(how, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            })
        };
        let nameless = token_with(&json!({"alg": "ES256"}), &claims, |message| es256.sign(message).unwrap());
        for good in [
            token(&rsa, &claims),
            rsa_signed("RS512", &RSA_PKCS1_SHA512),
            rsa_signed("PS256", &RSA_PSS_SHA256),
            nameless,
        ] {
            assert_eq!(review(&issuers, &good, now).await.unwrap().name, "oidc:jane");
        }
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let other_claims = changed(&claims, "sub", json!("root"));
        let altered = format!("{}.{}.{signature}", signed.split('.').next().unwrap(), encoded(&other_claims));
        let kid = es256.public().id();
        // The public key, which everybody knows, as if it were a shared secret.
        let hmac = |secret: &[u8]| {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
            token_with(&json!({"alg": "HS256", "kid": rsa.public().id()}), &claims, |message| {
                ring::hmac::sign(&key, message).as_ref().to_vec()
            })
        };
        let public = std::fs::read(key_file("rsa.pub.pem")).unwrap();
        let second = |seconds: i64| json!(now.as_second() + seconds);
        let unsupported = "oidc: id token signed with unsupported algorithm, expected [\"ES256\" \"RS256\" \"RS512\" \"PS256\"] got";
        let unsigned = "oidc: verify token: failed to verify signature: failed to verify id token signature";
        for (what, bad, why) in [
            (
                "expired",
                token(&es256, &changed(&claims, "exp", second(-1))),
                "oidc: verify token: oidc: token is expired (Token Expiry: ",
            ),
            (
                "without an end",
                token(&es256, &changed(&claims, "exp", Value::Null)),
                "oidc: token is expired",
            ),
            (
                "not yet valid",
                token(&es256, &changed(&claims, "nbf", second(120))),
                "before the nbf (not before) time",
            ),
            ("of nobody", token(&es256, &changed(&claims, "iss", json!("https://other"))), ""),
            (
                "for others",
                token(&es256, &changed(&claims, "aud", json!(["vault", "other"]))),
                "oidc: expected audience \"skiff\" got [\"vault\" \"other\"]",
            ),
            (
                "for nobody",
                token(&es256, &changed(&claims, "aud", Value::Null)),
                "oidc: expected audience \"skiff\" got []",
            ),
            ("altered", altered, unsigned),
            ("unsigned", token_with(&json!({"alg": "none"}), &claims, |_| Vec::new()), unsupported),
            (
                "unsigned by a key",
                token_with(&json!({"alg": "ES256", "kid": kid}), &claims, |_| Vec::new()),
                unsigned,
            ),
            ("by a secret", hmac(&public), unsupported),
            (
                "by a secret's bytes",
                hmac(&x509_parser::pem::Pem::iter_from_buffer(&public).next().unwrap().unwrap().contents),
                unsupported,
            ),
            ("in another way", rsa_signed("RS384", &RSA_PKCS1_SHA512), unsupported),
            ("in the way of another", rsa_signed("ES256", &RSA_PKCS1_SHA512), unsigned),
            (
                "by a stranger",
                token_with(&json!({"alg": "ES256", "kid": kid}), &claims, |message| {
                    stranger.sign(message).unwrap()
                }),
                unsigned,
            ),
            (
                "with demands",
                token_with(&json!({"alg": "ES256", "kid": kid, "crit": ["b64"]}), &claims, |message| {
                    es256.sign(message).unwrap()
                }),
                "",
            ),
            (
                "nameless user",
                token(&es256, &changed(&claims, "sub", json!(1))),
                "oidc: parse username claims \"sub\": json: cannot unmarshal number into Go value of type string",
            ),
            (
                "groups of numbers",
                token(&es256, &changed(&claims, "groups", json!([1]))),
                "oidc: parse groups claim \"groups\": json: cannot unmarshal array into Go value of type string",
            ),
        ] {
            let told = review(&issuers, &bad, now).await.unwrap_err().to_string();
            let refused = if why.is_empty() { told == "invalid bearer token" } else { told.contains(why) };
            assert!(refused, "{what}: {told}");
        }
        let soon = token(&es256, &changed(&claims, "nbf", second(50)));
        assert!(review(&issuers, &soon, now).await.is_ok(), "clocks may differ a little");
        let one = token(&es256, &changed(&claims, "groups", json!("dev")));
        assert_eq!(review(&issuers, &one, now).await.unwrap().groups[0], "oidc:dev");
    };
    tokio::select! {
        _endless = issuers.follow() => unreachable!("nothing ends it"),
        () = judging => {}
    }
    provider.stop().await;
}

#[tokio::test]
async fn keys_are_asked_for_again_when_a_token_names_another_and_not_too_often() {
    machinery::tls::use_ring();
    let provider = Provider::start().await;
    let [old, new] =
        ["p256.pkcs8.pem", "p384.pkcs8.pem"].map(|name| SigningKey::load(&key_file(name)).unwrap());
    provider.publish(&[&old]);
    let (issuers, claims) = (issuers(provider.rules(), &[]), provider.claims());
    let now = machinery::clock::now();
    let judging = async {
        initialized(&issuers, &token(&old, &claims)).await;
        provider.publish(&[&new]);
        let began = Instant::now();
        assert_eq!(review(&issuers, &token(&new, &claims), now).await.unwrap().name, "oidc:jane");
        let before = token(&old, &claims);
        assert!(review(&issuers, &before, now).await.is_err(), "it is withdrawn");
        // Many who name keys that are not there make it no more.
        let guess =
            |n: usize| token_with(&json!({"alg": "ES256", "kid": n.to_string()}), &claims, |_| vec![0; 64]);
        let guesses: Vec<_> = (0..200).map(guess).collect();
        let told = join_all(guesses.iter().map(|guess| review(&issuers, guess, now))).await;
        assert!(told.iter().all(Result::is_err));
        let most = 3 + began.elapsed().as_secs() / PAUSE.as_secs();
        let asked = provider.asked.lock().iter().filter(|path| *path == "/keys").count();
        assert!(asked as u64 <= most, "asked {asked} times in {:?}", began.elapsed());
    };
    tokio::select! {
        _endless = issuers.follow() => unreachable!("nothing ends it"),
        () = judging => {}
    }
    provider.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_hangs_stops_nobody_else() {
    let (silent, good) = (Provider::start().await, Provider::start().await);
    let key = SigningKey::load(&key_file("p256.pkcs8.pem")).unwrap();
    good.publish(&[&key]);
    let jwt = vec![silent.rules(), good.rules()];
    let server = Server::start_with(|config| {
        config.authentication = Authentication { jwt, ..Authentication::default() };
        config.authorization = vec![crate::args::Mode::Rbac];
    })
    .await;
    let who = async |token: &str| {
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let media = [("content-type", "application/json")];
        send(&client(server.port, Some(token)), "POST", path, &media, b"{}".to_vec()).await
    };
    let claims = changed(&good.claims(), "jti", json!("7"));
    let (hers, of_silent) = (token(&key, &claims), token(&key, &silent.claims()));
    let mut told = who(&hers).await;
    while told.code == 401 {
        sleep(Duration::from_millis(10)).await;
        told = who(&hers).await;
    }
    assert_eq!(told.code, 201, "{}", told.body);
    let user = &told.body["status"]["userInfo"];
    let extra = json!({"authentication.kubernetes.io/credential-id": ["JTI=7"]});
    assert_eq!((&user["username"], &user["extra"]), (&json!("oidc:jane"), &extra));
    let began = Instant::now();
    assert_eq!(who(&of_silent).await.code, 401);
    assert_eq!(who("secret").await.body["status"]["userInfo"]["username"], "tester");
    assert!(began.elapsed() < PATIENCE / 2, "nobody waits for it");
    // One whose keys are known, too: nothing can be learned of another key, and all else goes on.
    good.answers.lock().remove("/keys");
    let other = SigningKey::load(&key_file("p384.pkcs8.pem")).unwrap();
    let unknown = token(&other, &claims);
    let waiting = who(&unknown);
    let others = async {
        while !good.asked.lock().iter().skip(2).any(|path| path == "/keys") {
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(who(&hers).await.code, 201);
    };
    let (told, ()) = tokio::join!(waiting, others);
    assert_eq!(told.code, 401);
    let began = Instant::now();
    assert_eq!(who(&unknown).await.code, 401);
    assert!(began.elapsed() < PATIENCE / 2, "that it does not answer is known");
    assert_eq!(who(&hers).await.code, 201);
    let review = json!({"spec": {"token": hers}});
    let told = server.send("POST", "/apis/authentication.k8s.io/v1/tokenreviews", &review).await;
    assert_eq!(told.body["status"]["audiences"], json!(["https://kubernetes.default.svc.cluster.local"]));
    let elsewhere = json!({"spec": {"token": hers, "audiences": ["vault"]}});
    let told = server.send("POST", "/apis/authentication.k8s.io/v1/tokenreviews", &elsewhere).await;
    assert_eq!(told.body["status"], json!({"user": {}, "error": "invalid bearer token"}));
    server.stop().await;
    silent.stop().await;
    good.stop().await;
}

/// A mapping as the file has it.
fn mapping(jwt: Value) -> Result<Mapping, String> {
    let file = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": [jwt]});
    let source = Authentication { file: Some("f".into()), ..Authentication::default() };
    let read = source.read(Some(file.to_string().as_bytes()), &["https://ours".to_owned()]);
    read.map(|(mut issuers, _)| issuers.remove(0).mapping).map_err(|why| why.to_string())
}

fn with_mappings(mappings: Value) -> Value {
    json!({"issuer": {"url": "https://issuer", "audiences": ["a"]}, "claimMappings": mappings})
}

#[test]
fn claims_make_a_user_as_the_file_says() {
    let email = json!({"username": {"claim": "email", "prefix": ""}});
    let by_email = mapping(with_mappings(email)).unwrap();
    for (claims, told) in [
        (json!({"email": "j@x"}), Ok("j@x")),
        (json!({"email": "j@x", "email_verified": true}), Ok("j@x")),
        (json!({"email": "j@x", "email_verified": false}), Err("oidc: email not verified")),
        (
            json!({"email": "j@x", "email_verified": "true"}),
            Err(
                "oidc: parse 'email_verified' claim: json: cannot unmarshal string into Go value of type bool",
            ),
        ),
        (json!({"sub": "j"}), Err("oidc: parse username claims \"email\": claim not present")),
        (json!({"email": ""}), Err("oidc: empty username via CEL expression is not allowed")),
    ] {
        let found = by_email.user(&claims).map(|user| user.name).map_err(String::from);
        assert_eq!(found.as_deref().map_err(String::as_str), told, "{claims}");
    }
    let mut rich = with_mappings(json!({
        "username": {"expression": "claims.email.split('@')[0] + (claims.email_verified ? '' : '?')"},
        "groups": {"expression": "claims.roles.split(',') + ['']"},
        "uid": {"claim": "sub"},
        "extra": [
            {"key": "example.org/tenant", "valueExpression": "claims.tenants.map(t, t.name)"},
            {"key": "example.org/none", "valueExpression": "has(claims.none) ? claims.none : ''"},
        ],
    }));
    rich["claimValidationRules"] = json!([
        {"claim": "hd", "requiredValue": "example.org"},
        {"expression": "claims.exp - claims.nbf <= 86400", "message": "lives too long"},
    ]);
    rich["userValidationRules"] =
        json!([{"expression": "!user.username.startsWith('system:')", "message": "reserved"}]);
    let rich = mapping(rich).unwrap();
    let claims = json!({
        "sub": "42", "email": "jane@example.org", "email_verified": true, "roles": "dev,ops", "hd": "example.org",
        "tenants": [{"name": "a"}, {"name": "b"}], "nbf": 0, "exp": 86400, "jti": "x",
    });
    let user = rich.user(&claims).unwrap();
    assert_eq!((user.name.as_str(), user.uid.as_str()), ("jane", "42"));
    assert_eq!(user.groups, ["dev", "ops", "system:authenticated"]);
    let extra =
        json!({"authentication.kubernetes.io/credential-id": ["JTI=x"], "example.org/tenant": ["a", "b"]});
    assert_eq!(json!(user.extra), extra);
    for (field, value, why) in [
        (
            "hd",
            json!("evil.org"),
            "oidc: required claim hd value does not match. Got = evil.org, want = example.org",
        ),
        (
            "exp",
            json!(86401),
            "oidc: error evaluating claim validation expression: validation expression 'claims.exp - claims.nbf <= 86400' failed: lives too long",
        ),
        (
            "email",
            json!("system:masters@example.org"),
            "oidc: error evaluating user info validation rule: validation expression '!user.username.startsWith('system:')' failed: reserved",
        ),
        ("roles", json!(7), "oidc: error evaluating group claim expression: no such overload"),
        (
            "tenants",
            json!([{"name": 1}]),
            "oidc: error evaluating extra claim expression: example.org/tenant: expression must return a string or a list of strings",
        ),
    ] {
        let told = rich.user(&changed(&claims, field, value)).unwrap_err();
        assert!(told.starts_with(why), "{told}");
    }
}

#[test]
fn what_makes_no_sense_is_said_in_upstreams_words() {
    let name = json!({"username": {"claim": "sub", "prefix": ""}});
    let good = || with_mappings(name.clone());
    assert!(mapping(good()).is_ok());
    let with = |path: &[&str], value: Value| {
        let mut jwt = good();
        let at = path.iter().fold(&mut jwt, |at, step| &mut at[*step]);
        *at = value;
        jwt
    };
    let mappings = "invalid authentication configuration: jwt[0].claimMappings";
    let issuer = "invalid authentication configuration: jwt[0].issuer";
    for (jwt, why) in [
        (with(&["issuer", "url"], json!("http://issuer")), format!("{issuer}.url: Invalid value: \"http://issuer\": URL scheme must be https")),
        (with(&["issuer", "url"], json!("https://u:p@issuer")), format!("{issuer}.url: Invalid value: \"https://u:p@issuer\": URL must not contain a username or password")),
        (with(&["issuer", "url"], json!("https://issuer?a=b")), format!("{issuer}.url: Invalid value: \"https://issuer?a=b\": URL must not contain a query")),
        (with(&["issuer", "url"], json!("https://issuer/#x")), format!("{issuer}.url: Invalid value: \"https://issuer/#x\": URL must not contain a fragment")),
        (with(&["issuer", "url"], json!("https://ours")), format!("{issuer}.url: Invalid value: \"https://ours\": URL must not overlap with disallowed issuers: [\"https://ours\"]")),
        (with(&["issuer", "url"], json!("")), format!("{issuer}.url: Required value")),
        (with(&["issuer", "discoveryURL"], json!("https://issuer/")), format!("{issuer}.discoveryURL: Invalid value: \"https://issuer/\": discoveryURL must be different from URL")),
        (with(&["issuer", "audiences"], json!([])), format!("{issuer}.audiences: Required value: at least one jwt[0].issuer.audiences is required")),
        (with(&["issuer", "audiences"], json!(["a", "b"])), format!("{issuer}.audienceMatchPolicy: Invalid value: \"\": audienceMatchPolicy must be MatchAny for multiple audiences")),
        (with(&["issuer", "certificateAuthority"], json!("-----BEGIN CERTIFICATE-----\nAAAA\n")), format!("{issuer}.certificateAuthority: Invalid value: \"<omitted>\": ")),
        (with(&["issuer", "certificateAuthority"], json!("none")), format!("{issuer}.certificateAuthority: Invalid value: \"<omitted>\": data does not contain any valid RSA or ECDSA certificates")),
        (with(&["claimMappings", "username"], json!({})), format!("{mappings}.username: Required value: claim or expression is required")),
        (with(&["claimMappings", "username"], json!({"claim": "sub"})), format!("{mappings}.username.prefix: Required value: prefix is required when claim is set. It can be set to an empty string to disable prefixing")),
        (with(&["claimMappings", "username"], json!({"claim": "sub", "expression": "claims.sub", "prefix": ""})), format!("{mappings}.username: Invalid value: \"\": claim and expression can't both be set")),
        (with(&["claimMappings", "username"], json!({"expression": "claims.sub +"})), format!("{mappings}.username.expression: Invalid value: \"claims.sub +\": compilation failed: ")),
        (with(&["claimMappings", "username"], json!({"expression": "claims.email"})), format!("{mappings}.username.expression: Invalid value: \"claims.email\": claims.email_verified must be used in ")),
        (with(&["claimMappings", "extra"], json!([{"key": "a.kubernetes.io/x", "valueExpression": "'x'"}])), format!("{mappings}.extra[0].key: Invalid value: \"a.kubernetes.io/x\": k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use")),
        (with(&["claimMappings", "extra"], json!([{"key": "x", "valueExpression": "'x'"}])), format!("{mappings}.extra[0].key: Invalid value: \"x\": must be a domain-prefixed path")),
        (with(&["claimValidationRules"], json!([{"expression": "claims.sub"}])), "invalid authentication configuration: jwt[0].claimValidationRules[0].expression: Invalid value: \"claims.sub\": must evaluate to bool".into()),
        (with(&["userValidationRules"], json!([{"expression": "user.name == ''"}])), "invalid authentication configuration: jwt[0].userValidationRules[0].expression: Invalid value: \"user.name == ''\": compilation failed: ".into()),
        (with(&["surprise"], json!(1)), "failed to load authentication configuration from file \"f\": unknown field `surprise`".into()),
    ] {
        let told = mapping(jwt.clone()).err().unwrap_or_default();
        assert!(told.starts_with(&why), "{jwt}:\n{told}\n{why}");
    }
}

#[test]
fn a_file_that_changes_is_taken_up_and_one_that_is_wrong_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.yaml");
    let jwt = |url: &str| {
        format!(
            "- issuer: {{url: {url}, audiences: [a]}}\n  claimMappings: {{username: {{claim: sub, prefix: ''}}}}\n"
        )
    };
    let write = |rest: &str| {
        let head = "apiVersion: apiserver.config.k8s.io/v1beta1\nkind: AuthenticationConfiguration\n";
        std::fs::write(&file, format!("{head}{rest}")).unwrap();
    };
    write(&format!("jwt:\n{}", jwt("https://one")));
    let source = Authentication { file: Some(file.clone()), ..Authentication::default() };
    let issuers = Issuers::new(source.clone(), &[]).unwrap();
    let first = issuers.current.get().issuers[0].clone();
    assert!(issuers.admit_anonymous("/api"));
    write(&format!(
        "jwt:\n{}{}anonymous: {{enabled: true, conditions: [{{path: /livez}}]}}\n",
        jwt("https://two"),
        jwt("https://one")
    ));
    let second = issuers.current.get_in(1);
    assert!(issuers.admit_anonymous("/livez") && !issuers.admit_anonymous("/api"));
    assert!(Arc::ptr_eq(&first, &second.issuers[1]), "its keys stay known");
    for (wrong, at) in [
        "jwt: 7\n",
        "jwt:\n- issuer: {}\n",
        "kind: Other\n",
        "anonymous: {enabled: false, conditions: [{path: /x}]}\n",
    ]
    .into_iter()
    .zip(2..)
    {
        write(wrong);
        assert!(Arc::ptr_eq(&second, &issuers.current.get_in(at)), "{wrong}");
    }
    write("anonymous: {enabled: false}\n");
    issuers.current.get_in(0);
    assert!(!issuers.admit_anonymous("/livez"));
    std::fs::write(&file, "").unwrap();
    let empty = Issuers::new(source.clone(), &[]).err().unwrap().to_string();
    assert!(empty.ends_with("config.yaml\": empty config data"), "{empty}");
    write("anonymous: {enabled: false}\n");
    let both = Authentication { anonymous: Some(true), ..source };
    assert!(matches!(Issuers::new(both, &[]), Err(ConfigError::Anonymous)));
    let other = Authentication { algorithms: vec!["HS256".into()], ..Authentication::default() };
    assert!(matches!(Issuers::new(other, &[]), Err(ConfigError::Algorithm(_))));
}
