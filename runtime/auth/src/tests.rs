use super::*;
use driftless_schemas::time::UnixMs;
use serde_json::{Value, json};
use std::path::Path;

const NOW: UnixMs = UnixMs(1_800_000_000_000);
const NOW_S: i64 = NOW.0 / 1000;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn pair(path: &Path, kind: KeyKind) -> (Signer, Verifier) {
    let public = generate_key(path, kind).unwrap();
    (Signer::from_file(path).unwrap(), Verifier::new(Settings::with_key_file(public)).unwrap())
}

fn claims() -> Value {
    json!({"sub": "ann", "exp": NOW_S + 60, "driftless": {"read": ["canvas/"], "write": ["canvas/0/"]}})
}

fn with(change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> Value {
    let mut claims = claims();
    change(claims.as_object_mut().unwrap());
    claims
}

#[test]
fn a_token_of_either_kind_of_key_carries_user_and_access() {
    let folder = folder();
    for (name, kind) in [("secret", KeyKind::Secret), ("private.pem", KeyKind::Pair)] {
        let (signer, verifier) = pair(&folder.path().join(name), kind);
        let access = Access { read: vec!["canvas/".into()], write: vec![], roles: vec!["builder".into()] };
        let token = signer.issue("ann", &access, NOW, 60).unwrap();
        let claims = verifier.verify(&token, NOW).unwrap();
        assert!(claims.jti.as_ref().is_some_and(|jti| jti.len() >= 20), "each token has its own jti");
        let jti = claims.jti.clone();
        let key = claims.key;
        assert_eq!(claims, Claims { sub: "ann".into(), jti, expires_at: NOW_S + 60, access, key });
    }
}

/// `generate_key` does not overwrite a file, and only the owner may read the file of a secret or
/// private key.
#[test]
fn a_key_is_never_overwritten_and_is_the_owners_alone() {
    let folder = folder();
    let path = folder.path().join("key");
    generate_key(&path, KeyKind::Secret).unwrap();
    let error = generate_key(&path, KeyKind::Pair).unwrap_err().to_string();
    assert!(error.contains("never overwritten"), "{error}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn every_unusable_token_has_a_name() {
    let folder = folder();
    let (signer, verifier) = pair(&folder.path().join("secret"), KeyKind::Secret);
    let (forger, _) = pair(&folder.path().join("other"), KeyKind::Secret);
    let (stranger, _) = pair(&folder.path().join("private.pem"), KeyKind::Pair);
    let good = signer.sign(&claims()).unwrap();
    assert!(verifier.verify(&good, NOW).is_ok());

    let mut changed: Vec<&str> = good.split('.').collect();
    let other = signer.sign(&with(|c| drop(c.insert("sub".into(), json!("bob"))))).unwrap();
    changed[1] = other.split('.').nth(1).unwrap();

    let unsigned = {
        use base64::Engine as _;
        let part = |v: &Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(v.to_string());
        format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims()))
    };
    let critical = {
        use base64::Engine as _;
        let part = |v: &Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(v.to_string());
        format!("{}.{}.AAAA", part(&json!({"alg": "HS256", "crit": ["exp"]})), part(&claims()))
    };
    let set = |key: &'static str, value: Value| signer.sign(&with(|c| drop(c.insert(key.into(), value)))).unwrap();
    let without = |key: &'static str| signer.sign(&with(|c| drop(c.remove(key)))).unwrap();

    for (token, name) in [
        (String::new(), "token_malformed"),
        ("a.b".into(), "token_malformed"),
        ("a.b.c".into(), "token_malformed"),
        (format!("{good}.x"), "token_malformed"),
        (critical, "token_malformed"),
        ("x".repeat(driftless_schemas::limits::TOKEN_BYTES_MAX + 1), "token_too_long"),
        (unsigned, "token_algorithm"),
        (stranger.sign(&claims()).unwrap(), "token_algorithm"),
        (forger.sign(&claims()).unwrap(), "token_forged"),
        (changed.join("."), "token_forged"),
        (set("exp", json!(NOW_S)), "token_expired"),
        (set("exp", json!(-5)), "token_expired"),
        (set("nbf", json!(NOW_S + 31)), "token_not_yet_valid"),
        (without("exp"), "token_wrong_claim"),
        (set("exp", json!("tomorrow")), "token_wrong_claim"),
        (without("sub"), "token_wrong_claim"),
        (set("sub", json!("")), "token_wrong_claim"),
        (set("sub", json!(7)), "token_wrong_claim"),
        (set("sub", json!("x".repeat(257))), "token_wrong_claim"),
        (set("jti", json!(7)), "token_wrong_claim"),
        (set("jti", json!("x".repeat(257))), "token_wrong_claim"),
        (without("driftless"), "token_wrong_claim"),
        (set("driftless", json!({"read": [], "admin": true})), "token_wrong_claim"),
        (set("driftless", json!({"read": "canvas/"})), "token_wrong_claim"),
    ] {
        let error = verifier.verify(&token, NOW).unwrap_err();
        assert_eq!(error.name(), name, "{error}");
        assert!(token.len() < 10 || !error.to_string().contains(&token), "{error}");
    }
    assert!(verifier.verify(&set("nbf", json!(NOW_S + 30)), NOW).is_ok());
    assert!(verifier.verify(&set("exp", json!(NOW_S as f64 + 1.5)), NOW).is_ok());
}

/// The classic attack: the forger signs with HMAC, using the public key file as the secret.
#[test]
fn a_public_key_is_never_an_hmac_secret() {
    let folder = folder();
    let path = folder.path().join("private.pem");
    let (_, verifier) = pair(&path, KeyKind::Pair);
    let public = std::fs::read(folder.path().join("private.pem.pub")).unwrap();
    let key = jsonwebtoken::EncodingKey::from_secret(&public);
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims(), &key).unwrap();
    assert_eq!(verifier.verify(&token, NOW).unwrap_err().name(), "token_algorithm");
}

#[test]
fn audience_and_issuer_are_required_if_they_are_set() {
    let folder = folder();
    let path = folder.path().join("secret");
    let (signer, _) = pair(&path, KeyKind::Secret);
    let settings = Settings {
        audience: Some("town".into()),
        issuer: Some("https://id.example".into()),
        ..Settings::with_key_file(&path)
    };
    let verifier = Verifier::new(settings).unwrap();
    let token = |aud: Value, iss: Value| {
        signer.sign(&with(|c| drop((c.insert("aud".into(), aud), c.insert("iss".into(), iss))))).unwrap()
    };
    let issuer = json!("https://id.example");
    assert!(verifier.verify(&token(json!("town"), issuer.clone()), NOW).is_ok());
    assert!(verifier.verify(&token(json!(["x", "town"]), issuer.clone()), NOW).is_ok());
    for (aud, iss) in [(json!("x"), issuer.clone()), (Value::Null, issuer), (json!("town"), json!("https://evil"))] {
        let error = verifier.verify(&token(aud, iss), NOW).unwrap_err();
        assert_eq!(error.name(), "token_wrong_claim", "{error}");
    }
}

#[test]
fn an_issued_token_names_its_audience() {
    let folder = folder();
    let path = folder.path().join("secret");
    let (signer, _) = pair(&path, KeyKind::Secret);
    let audience = audience_of("town");
    let settings = Settings { audience: Some(audience.clone()), ..Settings::with_key_file(&path) };
    let verifier = Verifier::new(settings).unwrap();
    let error = verifier.verify(&signer.issue("ann", &Access::default(), NOW, 60).unwrap(), NOW).unwrap_err();
    assert!(error.to_string().contains("driftless:town"), "{error}");
    let signer = signer.with_audience(Some(audience));
    assert!(verifier.verify(&signer.issue("ann", &Access::default(), NOW, 60).unwrap(), NOW).is_ok());
}

#[test]
fn a_token_of_one_world_is_refused_by_services_of_other_worlds_and_of_worlds_without_an_id() {
    let folder = folder();
    let (signer, keys) = pair(&folder.path().join("secret"), KeyKind::Secret);
    let (town, village) = (WorldId([7; 16]), WorldId([8; 16]));
    let issue = |signer: &Signer| signer.issue("ann", &Access::default(), NOW, 60).unwrap();
    let (of_town, of_any) = (issue(&signer.clone().for_world(Some(town))), issue(&signer));
    for world in [None, Some(town), Some(village)] {
        assert!(keys.for_world(world).verify(&of_any, NOW).is_ok(), "the claim is optional");
    }
    assert!(keys.for_world(Some(town)).verify(&of_town, NOW).is_ok());
    for (world, hint) in [(Some(village), village.to_string()), (None, "driftless init --update".into())] {
        let error = keys.for_world(world).verify(&of_town, NOW).unwrap_err();
        assert_eq!(error.name(), "token_other_world");
        assert!(error.to_string().contains(&town.to_string()) && error.to_string().contains(&hint), "{error}");
    }
    // A restriction that cannot be read must not count as none.
    for unreadable in [json!("town"), json!(""), json!(null), json!(7), json!([town]), json!("07")] {
        let token = signer.sign(&with(|c| c["driftless"]["world"] = unreadable)).unwrap();
        let error = keys.for_world(Some(town)).verify(&token, NOW).unwrap_err();
        assert_eq!(error.name(), "token_wrong_claim", "{error}");
    }
}

#[test]
fn a_token_that_lives_longer_than_the_maximum_is_refused_with_both_numbers() {
    let folder = folder();
    let path = folder.path().join("secret");
    let (signer, unlimited) = pair(&path, KeyKind::Secret);
    let limited = Verifier::new(Settings { lifetime_max_s: 3600, ..Settings::with_key_file(&path) }).unwrap();
    let token = |iat: Value, exp: Value| {
        signer.sign(&with(|c| drop((c.insert("iat".into(), iat), c.insert("exp".into(), exp)))))
    };
    for (iat, exp, lifetime_s) in [
        (json!(NOW_S), NOW_S + 3600, None),
        (json!(NOW_S), NOW_S + 3601, Some(3601)),
        (json!(NOW_S - 3000), NOW_S + 601, Some(3601)),
        // Without `iat`, the time that is left counts.
        (Value::Null, NOW_S + 3600, None),
        (Value::Null, NOW_S + 3601, Some(3601)),
        // An issuer's clock may be ahead, but `iat` cannot give a token any lifetime.
        (json!(NOW_S + 30), NOW_S + 3630, None),
        (json!(NOW_S + 90_000), NOW_S + 90_060, Some(90_030)),
        (json!(i64::MIN), NOW_S + 60, Some(i64::MAX)),
    ] {
        let token = token(iat.clone(), json!(exp)).unwrap();
        assert!(unlimited.verify(&token, NOW).is_ok(), "no limit is the default: {iat}");
        match (limited.verify(&token, NOW), lifetime_s) {
            (Ok(_), None) => {}
            (Err(error), Some(lifetime_s)) => {
                assert_eq!(error, TokenError::LivesTooLong { lifetime_s, max_s: 3600 });
                let text = error.to_string();
                assert!(text.contains(&format!("{lifetime_s} s")) && text.contains("3600 s"), "{text}");
            }
            (verified, expected) => panic!("iat {iat}, exp {exp}: {verified:?}, not {expected:?}"),
        }
    }
    let endless = token(json!(NOW_S), Value::Null).unwrap();
    assert_eq!(limited.verify(&endless, NOW).unwrap_err().name(), "token_wrong_claim");
}

/// Runs `act`, and returns the log that it wrote.
fn logged(act: impl FnOnce()) -> String {
    let folder = folder();
    let path = folder.path().join("log");
    let file = std::sync::Arc::new(std::fs::File::create(&path).unwrap());
    let log = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false).with_writer(file);
    tracing::subscriber::with_default(log.finish(), act);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn a_refused_token_is_logged_with_who_where_and_why_and_without_the_token() {
    let folder = folder();
    let path = folder.path().join("secret");
    let (signer, _) = pair(&path, KeyKind::Secret);
    let (forger, _) = pair(&folder.path().join("other"), KeyKind::Secret);
    let peer = Some("192.0.2.7".parse().unwrap());
    let evil = "ann\n2030-01-01 ERROR all is lost \u{1b}[31m";
    let forged = forger.sign(&with(|c| drop(c.insert("sub".into(), json!(evil))))).unwrap();
    let expired = signer.sign(&with(|c| drop(c.insert("exp".into(), json!(NOW_S))))).unwrap();
    let unknown_key = signer.sign(&with(|c| c["driftless"]["a\nb"] = json!(1))).unwrap();
    for (token, wanted) in [
        (&forged, &["sub_unverified=\"ann\\n2030", "token_forged"][..]),
        (&expired, &[" sub=\"ann\"", "token_expired", "expired at"]),
        (&unknown_key, &[" sub=\"ann\"", "token_wrong_claim"]),
        (&"a.b.c".to_owned(), &["token_malformed"]),
        (&"x".repeat(driftless_schemas::limits::TOKEN_BYTES_MAX + 1), &["token_too_long"]),
    ] {
        let verifier = Verifier::new(Settings::with_key_file(&path)).unwrap();
        let log = logged(|| drop(verifier.at(peer).verify(token, NOW).unwrap_err()));
        assert_eq!(log.lines().count(), 1, "one line, whatever the client sends: {log}");
        for word in wanted.iter().chain(&["refused a token", "192.0.2.7"]) {
            assert!(log.contains(word), "nothing of {word} in: {log}");
        }
        assert!(!log.contains('\u{1b}'), "{log}");
        for part in token.split('.').filter(|part| part.len() >= 10) {
            for i in 0..=part.len() - 10 {
                assert!(!log.contains(&part[i..i + 10]), "a part of the token is in: {log}");
            }
        }
    }
}

#[test]
fn refused_tokens_are_logged_at_a_bounded_rate() {
    let folder = folder();
    let (_, verifier) = pair(&folder.path().join("secret"), KeyKind::Secret);
    let log = logged(|| (0..10_000).for_each(|_| drop(verifier.clone().at(None).verify("a.b.c", NOW).unwrap_err())));
    // On a busy machine the loop may take some seconds.
    assert!((1..100).contains(&log.lines().count()), "{} lines", log.lines().count());
}

#[test]
fn a_jwks_has_many_keys_of_several_kinds() {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::{Algorithm, EncodingKey, Header};

    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = ec.public_key().as_ref();
    let rsa = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let modulus = rsa.public_key().modulus().big_endian_without_leading_zero();
    let exponent = rsa.public_key().exponent().big_endian_without_leading_zero();
    let jwks = json!({"keys": [
        {"kty": "EC", "crv": "P-256", "kid": "e", "alg": "ES256",
         "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..])},
        {"kty": "RSA", "kid": "r", "use": "sig", "n": URL_SAFE_NO_PAD.encode(modulus), "e": URL_SAFE_NO_PAD.encode(exponent)},
        {"kty": "RSA", "kid": "for encryption", "use": "enc", "n": "AQAB", "e": "AQAB"},
        {"kty": "of the future"},
    ]});
    let folder = folder();
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, jwks.to_string()).unwrap();
    let verifier = Verifier::new(Settings::with_key_file(&path)).unwrap();

    let ec_key = EncodingKey::from_ec_der(ec.to_pkcs8v1().unwrap().as_ref());
    let rsa_der = aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&rsa).unwrap();
    let rsa_pem = super::keys::pem("PRIVATE KEY", rsa_der.as_ref());
    let rsa_key = EncodingKey::from_rsa_pem(rsa_pem.as_bytes()).unwrap();
    let sign = |algorithm, kid: Option<&str>, key: &EncodingKey| {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
        jsonwebtoken::encode(&header, &claims(), key).unwrap()
    };
    for (algorithm, kid, key) in [
        (Algorithm::ES256, Some("e"), &ec_key),
        (Algorithm::ES256, None, &ec_key),
        (Algorithm::RS256, Some("r"), &rsa_key),
    ] {
        let result = verifier.verify(&sign(algorithm, kid, key), NOW);
        assert!(result.is_ok(), "{algorithm:?} {kid:?}: {result:?}");
    }
    let error = verifier.verify(&sign(Algorithm::RS256, Some("x"), &rsa_key), NOW).unwrap_err();
    assert_eq!(error, TokenError::UnknownKey { kid: "x".into() });
    let error = verifier.verify(&sign(Algorithm::RS512, Some("r"), &rsa_key), NOW).unwrap_err();
    assert!(error.to_string().contains("accepts ES256, RS256"), "{error}");

    // The same keys as PEM files. Each counts as the same key: sessions stay open when their key
    // moves to another file.
    let public_pem = |der: &[u8]| super::keys::pem("PUBLIC KEY", der);
    let ec_public =
        aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(ec.public_key()).unwrap();
    let rsa_public =
        aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(rsa.public_key()).unwrap();
    for (name, pem, token) in [
        ("ec.pem", public_pem(ec_public.as_ref()), sign(Algorithm::ES256, None, &ec_key)),
        ("rsa.pem", public_pem(rsa_public.as_ref()), sign(Algorithm::RS256, Some("any"), &rsa_key)),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        let verifier = Verifier::new(Settings::with_key_file(&path)).unwrap();
        let claims = verifier.verify(&token, NOW).unwrap_or_else(|e| panic!("{name}: {e}"));
        std::fs::write(&path, jwks.to_string()).unwrap();
        reload(&verifier);
        assert_eq!(verifier.check_again(&claims), Ok(()), "{name}");
    }
}

/// Polls all files once.
fn reload(verifier: &Verifier) {
    verifier.reloaders().iter_mut().for_each(|file| drop(file.reload()));
}

#[test]
fn the_error_for_an_unusable_key_file_names_the_expected_content() {
    let folder = folder();
    let path = folder.path().join("private.pem");
    generate_key(&path, KeyKind::Pair).unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    for (path, expected) in [
        (folder.path().join("missing"), "cannot be read"),
        (path, "private key"),
        (write("short", "too short a secret\n"), "18 bytes"),
        (write("certificate", "-----BEGIN CERTIFICATE-----\n"), "openssl"),
        (
            write("garbage", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
            "not an RSA, P-256 or Ed25519",
        ),
        (write("empty.json", r#"{"keys": []}"#), "no key in it"),
        (write("jwk.json", r#"{"kty": "RSA"}"#), "not a JWKS"),
    ] {
        let error = Verifier::new(Settings::with_key_file(path)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// Returns a JWKS with one secret, and a token signed with that secret.
fn rotated(kid: &str) -> (String, String) {
    use base64::Engine as _;
    let secret = format!("{kid}: a secret that is long enough for HS256");
    let k = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&secret);
    let jwks = json!({"keys": [{"kty": "oct", "kid": kid, "alg": "HS256", "k": k}]}).to_string();
    let header = jsonwebtoken::Header { kid: Some(kid.into()), ..Default::default() };
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    (jwks, jsonwebtoken::encode(&header, &claims(), &key).unwrap())
}

/// Waits for a condition that another task brings about.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "not within 20 s: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn keys_are_rotated_without_a_restart() {
    let folder = folder();
    let path = folder.path().join("jwks.json");
    let ((one, by_one), (two, by_two)) = (rotated("one"), rotated("two"));
    std::fs::write(&path, &one).unwrap();
    let verifier = Verifier::new(Settings { reload_ms: 2, ..Settings::with_key_file(&path) }).unwrap();
    let shutdown = driftless_runtime::shutdown::ShutdownSource::new();
    let follow =
        driftless_runtime::files::keep_reloading(verifier.reloaders(), verifier.reload_interval(), shutdown.handle());
    let following = tokio::spawn(follow);
    let takes = |token: &str| verifier.verify(token, NOW).is_ok();
    assert!(takes(&by_one) && !takes(&by_two));
    std::fs::write(&path, &two).unwrap();
    until("the new key is taken", || takes(&by_two)).await;
    assert_eq!(verifier.verify(&by_one, NOW), Err(TokenError::UnknownKey { kid: "one".into() }));
    shutdown.end().await;
    following.await.unwrap();
}

#[test]
fn removing_a_key_ends_its_tokens_and_no_others() {
    let folder = folder();
    let path = folder.path().join("jwks.json");
    let ((one, by_one), (two, by_two)) = (rotated("one"), rotated("two"));
    let keys = |jwks: &str| serde_json::from_str::<Value>(jwks).unwrap()["keys"].as_array().unwrap().clone();
    let set = |keys: &[Value]| std::fs::write(&path, json!({ "keys": keys }).to_string()).unwrap();
    set(&[keys(&one), keys(&two)].concat());
    let verifier = Verifier::new(Settings::with_key_file(&path)).unwrap();
    let changes = verifier.changes();
    let [by_one, by_two] = [by_one, by_two].map(|token| verifier.verify(&token, NOW).unwrap());
    // The second key moves to the front, and the first key gets another `kid`. Both are still the
    // same keys.
    let mut renamed = keys(&one);
    renamed[0]["kid"] = json!("three");
    set(&[keys(&two), renamed.clone()].concat());
    reload(&verifier);
    assert!(changes.has_changed().unwrap(), "long-lived connections are notified");
    assert_eq!((verifier.check_again(&by_one), verifier.check_again(&by_two)), (Ok(()), Ok(())));
    set(&renamed);
    reload(&verifier);
    assert_eq!((verifier.check_again(&by_one), verifier.check_again(&by_two)), (Ok(()), Err(TokenError::KeyRemoved)));
    // The second key is replaced by a new key, so a token that it signed is no longer accepted.
    set(&[renamed, keys(&rotated("four").0)].concat());
    reload(&verifier);
    assert_eq!(verifier.check_again(&by_two), Err(TokenError::KeyRemoved));
}

#[test]
fn a_broken_file_is_named_and_keeps_the_old_keys_and_denials() {
    use driftless_runtime::files::Reload;
    let folder = folder();
    let (path, deny) = (folder.path().join("jwks.json"), folder.path().join("deny"));
    let (one, by_one) = rotated("one");
    std::fs::write(&path, &one).unwrap();
    std::fs::write(&deny, "sub mallory\n").unwrap();
    let settings = Settings { deny_file: Some(deny.clone()), ..Settings::with_key_file(&path) };
    let verifier = Verifier::new(settings).unwrap();
    let mut files = verifier.reloaders();
    assert_eq!(
        files.iter_mut().map(driftless_runtime::files::Reloader::reload).collect::<Vec<_>>(),
        [Reload::Applied, Reload::Applied]
    );
    std::fs::write(&path, "{\"keys\": []}").unwrap();
    std::fs::write(&deny, "sub mallory\nann\n").unwrap();
    for (file, hint) in files.iter_mut().zip(["no key in it", "line 2"]) {
        let Reload::Refused(problem) = file.reload() else { panic!("taken") };
        assert!(problem.contains(hint), "{problem}");
        assert_eq!(file.reload(), Reload::Unchanged, "said once");
    }
    assert!(verifier.verify(&by_one, NOW).is_ok(), "the old key, and ann is not denied");
    let key = Default::default();
    let mallory = Claims { sub: "mallory".into(), jti: None, expires_at: 0, access: Access::default(), key };
    assert_eq!(verifier.check_again(&mallory).unwrap_err().name(), "token_denied");
    // If the deny list cannot be read at startup, the verifier does not start.
    let settings = Settings { deny_file: Some(deny), ..Settings::with_key_file(folder.path().join("jwks.json")) };
    std::fs::write(&path, &one).unwrap();
    let error = Verifier::new(settings).unwrap_err().to_string();
    assert!(error.contains("deny file") && error.contains("line 2"), "{error}");
}

#[test]
fn a_denied_token_is_refused_by_its_user_or_by_its_jti() {
    let folder = folder();
    let (key, deny) = (folder.path().join("key"), folder.path().join("deny"));
    let (signer, _) = pair(&key, KeyKind::Secret);
    std::fs::write(&deny, "").unwrap();
    let verifier = Verifier::new(Settings { deny_file: Some(deny.clone()), ..Settings::with_key_file(&key) }).unwrap();
    let denied = |text: &str| {
        std::fs::write(&deny, text).unwrap();
        reload(&verifier);
    };
    let token = |jti: &str| signer.sign(&with(|c| drop(c.insert("jti".into(), json!(jti))))).unwrap();
    let changes = verifier.changes();
    denied("jti one\n");
    assert!(changes.has_changed().unwrap(), "long-lived connections are notified");
    let error = verifier.verify(&token("one"), NOW).unwrap_err();
    assert!(error.name() == "token_denied" && error.to_string().contains("jti"), "{error}");
    assert!(verifier.verify(&token("two"), NOW).is_ok());
    denied("sub ann\n");
    assert_eq!(verifier.verify(&token("two"), NOW).unwrap_err().name(), "token_denied");
    denied("# nobody\n");
    assert!(verifier.verify(&token("one"), NOW).is_ok());
}
