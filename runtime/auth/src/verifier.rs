//! Verifies tokens: signature, times, audience, issuer, claims, world, and the deny list.

use super::deny::DenyList;
use super::keys::{Key, KeyRing, parse_keys, read_keys};
use super::refusals::{RefusalLog, readable};
use super::{Error, Settings, TokenError};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use driftless_runtime::files::Reloader;
use driftless_schemas::access::{Access, Claims, KeyNumber};
use driftless_schemas::time::UnixMs;
use driftless_schemas::{WorldId, limits};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Verifies tokens against the keys of one key file. Clones are cheap and share the reloaded keys
/// ([`Verifier::reloaders`]).
#[derive(Clone)]
pub struct Verifier {
    inner: Arc<Inner>,
    /// The id of the served world; `None` if the world has no id, or none is known.
    world: Option<WorldId>,
}

struct Inner {
    trust: watch::Sender<Trust>,
    settings: Settings,
    refusals: RefusalLog,
}

/// The current keys and deny list. A reload replaces one of them as a whole, so a check in progress
/// uses either the old or the new content, and never a mixture.
#[derive(Clone)]
pub struct Trust {
    keys: Arc<KeyRing>,
    denied: Arc<DenyList>,
}

impl Verifier {
    /// Reads the key file, and the deny file if one is set.
    ///
    /// # Errors
    /// [`Error`] names the file and what it should hold.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let keys = KeyRing::default().renewed(read_keys(&settings.key_file)?);
        let denied = settings.deny_file.as_deref().map(DenyList::read).transpose()?.unwrap_or_default();
        let trust = watch::Sender::new(Trust { keys: Arc::new(keys), denied: Arc::new(denied) });
        let inner = Inner { trust, settings, refusals: RefusalLog::default() };
        Ok(Self { inner: Arc::new(inner), world: None })
    }

    /// Returns a verifier with the same keys for a service of the world with this id. A token whose
    /// claim `driftless.world` names an id is valid for a service of that world only. A service
    /// whose world has no id refuses each such token, because it cannot compare.
    #[must_use]
    pub fn for_world(&self, world: Option<WorldId>) -> Self {
        Self { inner: Arc::clone(&self.inner), world }
    }

    /// Returns the reloaders of the key file and the deny file. The process passes them once to
    /// [`driftless_runtime::files::keep_reloading`].
    #[must_use]
    pub fn reloaders(&self) -> Vec<Reloader> {
        let Settings { key_file, deny_file, .. } = &self.inner.settings;
        let (inner, path) = (Arc::clone(&self.inner), key_file.clone());
        let keys = Reloader::new("keys", [key_file.clone()], limits::KEY_FILE_BYTES_MAX, move |files| {
            let bytes = files.first().map(Vec::as_slice).unwrap_or_default();
            let keys = parse_keys(&path, bytes).map_err(|e| e.problem)?;
            let has = format!("{} keys", keys.len());
            inner.trust.send_modify(|trust| trust.keys = Arc::new(trust.keys.renewed(keys)));
            Ok(has)
        });
        let inner = Arc::clone(&self.inner);
        let denied = deny_file.clone().map(|path| {
            Reloader::new("deny", [path], limits::DENY_FILE_BYTES_MAX, move |files| {
                let bytes = files.first().map(Vec::as_slice).unwrap_or_default();
                let list = DenyList::parse(bytes).map_err(|e| e.to_string())?;
                let has = format!("{} users and {} tokens denied", list.users(), list.tokens());
                inner.trust.send_modify(|trust| trust.denied = Arc::new(list));
                Ok(has)
            })
        });
        std::iter::once(keys).chain(denied).collect()
    }

    /// The interval at which the files are polled.
    #[must_use]
    pub fn reload_interval(&self) -> Duration {
        Duration::from_millis(u64::from(self.inner.settings.reload_ms.max(1)))
    }

    /// Subscribes to changes of the keys and the deny list. A connection that stays open must check
    /// its token again after each change ([`Verifier::check_again`]).
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Trust> {
        self.inner.trust.subscribe()
    }

    /// Checks again a token that was verified before: it must not be on the deny list, and its key
    /// must still be in the key file. This function does not check the expiry.
    ///
    /// # Errors
    /// [`TokenError::Denied`], [`TokenError::KeyRemoved`].
    pub fn check_again(&self, claims: &Claims) -> Result<(), TokenError> {
        let trust = self.inner.trust.borrow();
        trust.denied.check(claims)?;
        if trust.keys.has(claims.key) { Ok(()) } else { Err(TokenError::KeyRemoved) }
    }

    /// The log of refused tokens, which all clones share.
    pub(super) fn refusals(&self) -> &RefusalLog {
        &self.inner.refusals
    }

    /// Verifies a token and returns its claims. This function logs nothing: services verify tokens
    /// with [`Verifier::at`], which logs refusals.
    ///
    /// # Errors
    /// [`TokenError`] names the first problem, in this order: length, form, algorithm, key,
    /// signature, times, audience and issuer, other claims, world, deny list.
    pub fn verify(&self, token: &str, now: UnixMs) -> Result<Claims, TokenError> {
        if token.len() > limits::TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong { bytes: token.len(), max: limits::TOKEN_BYTES_MAX });
        }
        let header = TokenHeader::read(token)?;
        let Trust { keys, denied } = self.inner.trust.borrow().clone();
        let (claims, key) = signed_claims(&keys, token, &header)?;
        self.check_times(&claims, now)?;
        self.check_lifetime(&claims, now)?;
        self.check_origin(&claims)?;
        let (claims, world) = read_claims(&claims, key)?;
        self.check_world(world)?;
        denied.check(&claims)?;
        Ok(claims)
    }

    fn check_times(&self, claims: &Map<String, Value>, now: UnixMs) -> Result<(), TokenError> {
        let now_s = now.0.div_euclid(1000);
        let expired_at =
            seconds(claims, "exp")?.ok_or_else(|| wrong("exp", "it is missing; every token must expire"))?;
        if expired_at <= now_s {
            return Err(TokenError::Expired { expired_at, ago_s: now_s.saturating_sub(expired_at) });
        }
        match seconds(claims, "nbf")? {
            Some(valid_from)
                if valid_from > now_s.saturating_add(i64::from(self.inner.settings.not_before_leeway_s)) =>
            {
                Err(TokenError::NotYetValid { valid_from, in_s: valid_from.saturating_sub(now_s) })
            }
            _ => Ok(()),
        }
    }

    /// Refuses a token that is valid for longer than the settings allow.
    ///
    /// The lifetime runs from `iat` to `exp`. `iat` counts as at most `not_before_leeway_s` in the
    /// future, because an issuer could otherwise give a token any lifetime. A token without `iat`
    /// is judged by the time that is left, which is what bounds the use of a stolen token.
    fn check_lifetime(&self, claims: &Map<String, Value>, now: UnixMs) -> Result<(), TokenError> {
        let Settings { lifetime_max_s, not_before_leeway_s, .. } = self.inner.settings;
        if lifetime_max_s == 0 {
            return Ok(());
        }
        let now_s = now.0.div_euclid(1000);
        let newest = now_s.saturating_add(i64::from(not_before_leeway_s));
        let begins = seconds(claims, "iat")?.map_or(now_s, |issued_at| issued_at.min(newest));
        let lifetime_s = seconds(claims, "exp")?.unwrap_or(i64::MAX).saturating_sub(begins);
        match lifetime_s > i64::from(lifetime_max_s) {
            true => Err(TokenError::LivesTooLong { lifetime_s, max_s: lifetime_max_s }),
            false => Ok(()),
        }
    }

    fn check_world(&self, wanted: Option<WorldId>) -> Result<(), TokenError> {
        match (wanted, self.world) {
            (None, _) => Ok(()),
            (Some(wanted), Some(served)) if wanted == served => Ok(()),
            (Some(wanted), Some(served)) => Err(TokenError::OtherWorld { wanted, served }),
            (Some(wanted), None) => Err(TokenError::WorldWithoutId { wanted }),
        }
    }

    fn check_origin(&self, claims: &Map<String, Value>) -> Result<(), TokenError> {
        let named = |claim: &str, wanted: &str| match claims.get(claim) {
            Some(Value::String(one)) => one == wanted,
            Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == Some(wanted)),
            _ => false,
        };
        if let Some(audience) = self.inner.settings.audience.as_deref().filter(|wanted| !named("aud", wanted)) {
            return Err(wrong("aud", format!("it must name {audience:?}, the audience of this service")));
        }
        if let Some(issuer) = &self.inner.settings.issuer
            && claims.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return Err(wrong("iss", format!("it must be {issuer:?}")));
        }
        Ok(())
    }
}

/// Returns the claims, and the number of the key that signed them.
fn signed_claims(
    keys: &KeyRing,
    token: &str,
    header: &TokenHeader,
) -> Result<(Map<String, Value>, KeyNumber), TokenError> {
    let mut tried = false;
    for (number, key) in candidates(keys, header)? {
        tried = true;
        match jsonwebtoken::decode::<Map<String, Value>>(token, &key.decoding, &signature_only(key.algorithm)) {
            Ok(data) => return Ok((data.claims, number)),
            Err(e) => match e.kind() {
                // The next key may match, so the loop goes on.
                ErrorKind::InvalidSignature => {}
                _ => return Err(TokenError::Malformed(e.to_string())),
            },
        }
    }
    debug_assert!(tried, "candidates() gives at least one key");
    Err(TokenError::Forged)
}

/// Returns the keys that may have signed the token. Each has the token's algorithm, and also its
/// `kid` if both the token and the key have one.
fn candidates<'k>(keys: &'k KeyRing, header: &TokenHeader) -> Result<Vec<(KeyNumber, &'k Key)>, TokenError> {
    let by_algorithm: Vec<_> = keys.iter().filter(|(_, key)| name_of(key.algorithm) == header.alg).collect();
    if by_algorithm.is_empty() {
        let mut allowed: Vec<_> = keys.iter().map(|(_, key)| name_of(key.algorithm)).collect();
        allowed.sort_unstable();
        allowed.dedup();
        return Err(TokenError::AlgorithmNotAllowed { alg: readable(&header.alg), allowed: allowed.join(", ") });
    }
    let Some(kid) = &header.kid else { return Ok(by_algorithm) };
    let by_name: Vec<_> =
        by_algorithm.into_iter().filter(|(_, key)| key.kid.as_ref().is_none_or(|own| own == kid)).collect();
    if by_name.is_empty() {
        return Err(TokenError::UnknownKey { kid: readable(kid) });
    }
    Ok(by_name)
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let algorithms: Vec<_> = self.inner.trust.borrow().keys.iter().map(|(_, key)| key.algorithm).collect();
        write!(f, "Verifier({algorithms:?} from {})", self.inner.settings.key_file.display())
    }
}

/// Makes jsonwebtoken check only form, algorithm and signature. This module checks times and claims
/// itself, because jsonwebtoken would read the system's clock (R11).
fn signature_only(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    validation
}

struct TokenHeader {
    alg: String,
    kid: Option<String>,
}

impl TokenHeader {
    /// Parses the header of a token. jsonwebtoken's own parser is not enough, because it reports an
    /// unknown algorithm as bad JSON, and ignores `crit`.
    fn read(token: &str) -> Result<Self, TokenError> {
        let malformed = |problem: &str| TokenError::Malformed(problem.to_owned());
        let mut parts = token.split('.');
        let (Some(header), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(malformed("it must have three parts separated by dots"));
        };
        let json = URL_SAFE_NO_PAD.decode(header).map_err(|_| malformed("its header is not base64url"))?;
        let header: Map<String, Value> =
            serde_json::from_slice(&json).map_err(|_| malformed("its header is not a JSON object"))?;
        if header.contains_key("crit") {
            return Err(malformed("its header has critical extensions (crit), and this service supports none"));
        }
        let text = |key: &str| header.get(key).and_then(Value::as_str).map(str::to_owned);
        Ok(Self { alg: text("alg").ok_or_else(|| malformed("its header names no alg"))?, kid: text("kid") })
    }
}

/// Returns the claims about the bearer, and the world that the token is restricted to, if any.
fn read_claims(claims: &Map<String, Value>, key: KeyNumber) -> Result<(Claims, Option<WorldId>), TokenError> {
    let sub = match claims.get("sub") {
        Some(Value::String(sub)) if sub.is_empty() => Err(wrong("sub", "it is empty; it must be the user's name")),
        Some(Value::String(sub)) if sub.len() > limits::AUTHOR_BYTES_MAX => {
            Err(wrong("sub", format!("it has {} bytes; the limit is {}", sub.len(), limits::AUTHOR_BYTES_MAX)))
        }
        Some(Value::String(sub)) => Ok(sub.clone()),
        Some(_) => Err(wrong("sub", "it is not a string; it must be the user's name")),
        None => Err(wrong("sub", "it is missing; it must be the user's name")),
    }?;
    let example = r#"an example is {"read": ["canvas/"], "write": ["canvas/0/"]}"#;
    let Some(mut access) = claims.get("driftless").cloned() else {
        return Err(wrong("driftless", format!("it is missing, so the token grants no access; {example}")));
    };
    let world = access.as_object_mut().and_then(|access| access.remove("world")).map(|world| world_id(&world));
    let access = serde_json::from_value::<Access>(access)
        .map_err(|e| wrong("driftless", format!("{}; {example}", readable(&e.to_string()))))?;
    let expires_at = seconds(claims, "exp")?.unwrap_or_default();
    Ok((Claims { sub, jti: token_id(claims)?, expires_at, access, key }, world.transpose()?))
}

/// Reads the claim `driftless.world`. A value that is no id is refused, `null` too: a restriction
/// that cannot be read must not be dropped.
fn world_id(claim: &Value) -> Result<WorldId, TokenError> {
    let id = claim.as_str().and_then(|text| text.parse().ok());
    id.ok_or_else(|| {
        let problem = "it must be the id of a world, 32 hexadecimal digits; `driftless init` prints it";
        wrong("driftless.world", problem)
    })
}

/// Returns the token's `jti`. A `jti` that is too long or not a string is refused, because no entry
/// of a deny list could match it.
fn token_id(claims: &Map<String, Value>) -> Result<Option<String>, TokenError> {
    match claims.get("jti") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) if id.len() > limits::TOKEN_ID_BYTES_MAX => {
            Err(wrong("jti", format!("it has {} bytes; the limit is {}", id.len(), limits::TOKEN_ID_BYTES_MAX)))
        }
        Some(Value::String(id)) => Ok(Some(id.clone())),
        Some(_) => Err(wrong("jti", "it is not a string")),
    }
}

/// Reads a time claim (a NumericDate of RFC 7519): seconds since 1970, rounded down. `None` if the
/// claim is absent.
fn seconds(claims: &Map<String, Value>, claim: &'static str) -> Result<Option<i64>, TokenError> {
    match claims.get(claim) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => Ok(number.as_i64().or_else(|| number.as_f64().map(|s| s.floor() as i64))),
        Some(_) => Err(wrong(claim, "it must be a number of seconds since 1970")),
    }
}

fn wrong(claim: &'static str, problem: impl Into<String>) -> TokenError {
    TokenError::WrongClaim { claim, problem: problem.into() }
}

fn name_of(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::HS256 => "HS256",
        Algorithm::RS256 => "RS256",
        Algorithm::ES256 => "ES256",
        Algorithm::EdDSA => "EdDSA",
        // keys.rs produces no other algorithm.
        _ => "unsupported",
    }
}
