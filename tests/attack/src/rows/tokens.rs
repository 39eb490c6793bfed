//! Tokens that must give no access.

use super::Scene;
use crate::target::{AUDIENCE, Target};
use crate::wire::ANSWER_WITHIN;
use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use driftless_auth::{Access, KeyKind, Signer, generate_key};
use driftless_e2e_tests::people::now_ms;
use driftless_e2e_tests::raw::{Raw, hello};
use driftless_schemas::close;
use driftless_schemas::proto::{Ping, RefusalCode, Renew, event, request};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// The deadline for new keys and denials to be in force. The services look at the files every two
/// seconds.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);

/// Asserts that no service accepts the token on any route.
async fn opens_nothing(target: &Target, what: &str, token: &str) -> Result<()> {
    let http = target.http();
    for path in ["/v1/chunks/canvas/0/0", "/v1/chunks/canvas/0/0/events", "/v1/events?chunks=canvas/0/0"] {
        let status = http.get(path, Some(token)).await?;
        ensure!(status == 401, "{what}: GET {path} answered {status}");
    }
    for path in ["/v1/sessions", "/v1/chunks/canvas/0/0/commands"] {
        let (status, body) = http.post(path, Some(token), b"{}".to_vec()).await?;
        ensure!(status == 401, "{what}: POST {path} answered {status} {body}");
    }
    for (url, service) in target.sockets() {
        let mut raw = Raw::connect(&url, service).await;
        raw.send(hello(token, &[])).await;
        let closed =
            timeout(ANSWER_WITHIN, raw.closed()).await.with_context(|| format!("{what}: {service} does not close"))?;
        ensure!(closed == Some(close::TOKEN), "{what}: {service} answered a Hello with {closed:?}");
    }
    Ok(())
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// Replaces one of the token's three parts and keeps the signature of the original.
fn changed(token: &str, part: usize, to: &str) -> String {
    let mut parts: Vec<&str> = token.split('.').collect();
    parts[part] = to;
    parts.join(".")
}

pub async fn forged(scene: Scene) -> Result<String> {
    let target = &*scene.target;
    let good = target.token_with(&json!({}))?;
    // First shows that `opens_nothing` can fail: it must fail for a valid token.
    ensure!(opens_nothing(target, "a good token", &good).await.is_err(), "a good token opens nothing either");
    let path = target.folder().join("forger.key");
    generate_key(&path, KeyKind::Secret)?;
    let access = Access { read: vec!["canvas/".into()], write: vec!["canvas/".into()], roles: Vec::new() };
    let forger = Signer::from_file(&path)?.with_audience(Some(AUDIENCE.to_owned()));
    let other_key = forger.issue("mallory", &access, driftless_schemas::time::UnixMs(now_ms()), 600)?;
    let root = target.token_with(&json!({"sub": "root"}))?;
    let payload = root.split('.').nth(1).context("a payload")?.to_owned();
    for (what, token) in [
        ("another key's signature", other_key),
        ("another payload under a good signature", changed(&good, 1, &payload)),
        ("no signature", changed(&good, 2, "")),
        ("a signature of zeros", changed(&good, 2, &URL_SAFE_NO_PAD.encode([0; 32]))),
        ("half a signature", changed(&good, 2, &good.rsplit('.').next().context("a signature")?[..20])),
        ("no token", "a.b.c".to_owned()),
    ] {
        opens_nothing(target, what, &token).await?;
    }
    Ok("6 tokens × 7 ways in: 4502 or 401".into())
}

pub async fn algorithm(scene: Scene) -> Result<String> {
    let target = &*scene.target;
    let good = target.token_with(&json!({}))?;
    let algorithms = ["none", "None", "NONE", "nOnE", "", "HS384", "HS512", "RS256", "ES256", "EdDSA", "PS256"];
    for alg in algorithms {
        let header = part(&json!({"alg": alg, "typ": "JWT"}));
        opens_nothing(target, &format!("alg {alg:?}"), &changed(&good, 0, &header)).await?;
        opens_nothing(target, &format!("alg {alg:?}, unsigned"), &changed(&changed(&good, 0, &header), 2, "")).await?;
    }
    // This header carries a key of its own, and names places where others are.
    let key = json!({"kty": "oct", "k": "AAAA"});
    let header = part(&json!({"alg": "HS256", "jwk": key, "jku": "http://127.0.0.1/", "kid": "../../dev/null"}));
    opens_nothing(target, "a key of its own", &changed(&good, 0, &header)).await?;
    Ok(format!("{} algorithms and a key of its own: 4502 or 401", algorithms.len()))
}

pub async fn time(scene: Scene) -> Result<String> {
    let (target, now_s) = (&*scene.target, now_ms() / 1000);
    for (what, claims) in [
        ("expired a second ago", json!({"exp": now_s - 1})),
        ("expired in 1969", json!({"exp": -5})),
        ("not valid yet", json!({"nbf": now_s + 300})),
        ("no end", json!({"exp": null})),
        ("an end in ten years", json!({"exp": now_s + 315_360_000})),
        ("an end in ten years, issued then", json!({"iat": now_s + 315_359_000, "exp": now_s + 315_360_000})),
        ("an end that is no number", json!({"exp": "never"})),
        ("no user", json!({"sub": ""})),
    ] {
        opens_nothing(target, what, &target.token_with(&claims)?).await?;
    }
    Ok("8 tokens × 7 ways in: 4502 or 401".into())
}

pub async fn elsewhere(scene: Scene) -> Result<String> {
    let target = &*scene.target;
    let of_world = |world: Value| json!({"driftless": {"read": ["canvas/"], "write": ["canvas/"], "world": world}});
    for (what, claims) in [
        ("no audience", json!({"aud": null})),
        ("another audience", json!({"aud": "driftless:elsewhere"})),
        ("other audiences", json!({"aud": ["driftless:elsewhere", "driftless:", "driftless"]})),
        ("another world", of_world(json!("07070707070707070707070707070707"))),
        ("a world's name in place of its id", of_world(json!("dev"))),
        ("no world where one is named", of_world(json!(null))),
        ("two worlds", of_world(json!(["07070707070707070707070707070707"]))),
    ] {
        opens_nothing(target, what, &target.token_with(&claims)?).await?;
    }
    Ok("7 tokens × 7 ways in: 4502 or 401".into())
}

pub async fn replayed(scene: Scene) -> Result<String> {
    let target = &*scene.target;
    let stolen = target.token_with(&json!({"sub": "ann", "jti": "stolen laptop"}))?;
    let other = target.token_with(&json!({"sub": "ann", "jti": "phone"}))?;
    let url = target.socket("gateway");
    let (mut owner, _) = Raw::welcomed(&url, "gateway", &stolen, &[]).await;
    let (mut thief, _) = Raw::welcomed(&url, "gateway", &stolen, &[]).await;
    let (mut ingest, _) = Raw::welcomed(&target.socket("ingest"), "ingest", &stolen, &[]).await;
    replace(&target.deny_file, b"# a stolen laptop\njti stolen laptop\n")?;
    let begun = Instant::now();
    for raw in [&mut owner, &mut thief, &mut ingest] {
        let closed = timeout(TAKEN_WITHIN, raw.closed()).await.context("a denied socket stays open")?;
        ensure!(closed == Some(close::TOKEN), "a denied socket was closed with {closed:?}");
    }
    let took = begun.elapsed();
    opens_nothing(target, "a denied token", &stolen).await?;
    let status = target.http().get("/v1/chunks/canvas/0/0", Some(&other)).await?;
    ensure!(status == 200, "another token of the same user is answered with {status}");
    Ok(format!(
        "another connection is let in, as documented; {:.1} s after its denial all were closed",
        took.as_secs_f64()
    ))
}

/// Replaces a file atomically, so that a reader finds either the old content or the new one.
fn replace(file: &Path, content: &[u8]) -> Result<()> {
    let new = file.with_extension("new");
    std::fs::write(&new, content)?;
    Ok(std::fs::rename(&new, file)?)
}

pub async fn leaked(scene: Scene) -> Result<String> {
    let target = &*scene.target;
    let secret = std::fs::read(&target.key_file)?;
    let path = target.folder().join("leaked.key");
    generate_key(&path, KeyKind::Secret)?;
    let key =
        |secret: &[u8]| json!({"kty": "oct", "alg": "HS256", "k": URL_SAFE_NO_PAD.encode(secret.trim_ascii_end())});
    let both = json!({"keys": [key(&secret), key(&std::fs::read(&path)?)]});
    replace(&target.key_file, both.to_string().as_bytes())?;
    // A holder of the key can sign a token for any user, audience and time.
    let access = Access { read: vec!["canvas/".into()], write: vec!["canvas/".into()], roles: Vec::new() };
    let signer = Signer::from_file(&path)?.with_audience(Some(AUDIENCE.to_owned()));
    let forged = signer.issue("ann", &access, driftless_schemas::time::UnixMs(now_ms()), 2_592_000)?;
    let is_taken = async {
        while target.http().get("/v1/chunks/canvas/0/0", Some(&forged)).await? != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(())
    };
    timeout(TAKEN_WITHIN, is_taken).await.context("the second key is not taken")??;
    let mut sockets = Vec::new();
    for (url, service) in target.sockets() {
        sockets.push(Raw::welcomed(&url, service, &forged, &[]).await.0);
    }
    let (mut other, _) =
        Raw::welcomed(&target.socket("gateway"), "gateway", &target.token_with(&json!({}))?, &[]).await;

    replace(&target.key_file, &secret)?;
    let begun = Instant::now();
    for raw in &mut sockets {
        let closed = timeout(TAKEN_WITHIN, raw.closed()).await.context("a socket of a key that is gone stays open")?;
        ensure!(closed == Some(close::TOKEN), "a socket of a key that is gone was closed with {closed:?}");
    }
    let took = begun.elapsed();
    opens_nothing(target, "a token of a key that is gone", &forged).await?;
    other.send(request::Body::Ping(Ping { nonce: 7 })).await;
    let answer = timeout(ANSWER_WITHIN, other.next()).await.context("no answer")?;
    ensure!(matches!(answer, Ok(event::Body::Pong(_))), "a socket of the key that stays got {answer:?}");
    Ok(format!("{:.1} s after the key was taken out its sockets were closed, and no others", took.as_secs_f64()))
}

pub async fn renewed(scene: Scene) -> Result<String> {
    let target = &*scene.target;
    let (mine, theirs) = (target.tokens.for_all("mallory"), target.tokens.for_all("ann"));
    for (url, service) in target.sockets() {
        let (mut raw, _) = Raw::welcomed(&url, service, &mine, &[]).await;
        for (body, code) in [
            (request::Body::Renew(Renew { token: theirs.clone() }), RefusalCode::Token),
            (request::Body::Renew(Renew { token: "a.b.c".into() }), RefusalCode::Token),
            (hello(&theirs, &[]), RefusalCode::HelloRepeated),
        ] {
            raw.send(body).await;
            let answer = timeout(ANSWER_WITHIN, raw.next()).await.context("no answer")?;
            let refused = matches!(&answer, Ok(event::Body::Refused(refused)) if refused.code() == code);
            ensure!(refused, "{service} answered {answer:?}");
        }
    }
    Ok("refused; the socket stays its user's".into())
}
