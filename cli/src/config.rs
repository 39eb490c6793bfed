//! The settings of all services in one file, `--config driftless.toml`: sections `[kafka]`,
//! `[auth]`, `[ingest]`, `[replayer]`, `[gateway]` and `[http]`. Every key has a default; flags
//! override the file.

use anyhow::{Context, Result};
use driftless_auth as auth;
use driftless_log::kafka::KafkaSettings;
use driftless_web::settings::Http;
use driftless_web::tls;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The contents of the config file. Each field is a section.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Section `[kafka]`: how to reach the log.
    pub kafka: KafkaSettings,
    /// Section `[auth]`: how ingest and gateway verify tokens. Without it, `--key-file` must name
    /// the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<auth::Settings>,
    /// Section `[http]`: the HTTP server of gateway and replayer. Ingest has its own in
    /// `[ingest.http]`.
    pub http: Http,
    /// Section `[ingest]`: the settings of ingest.
    pub ingest: driftless_ingest::Settings,
    /// Section `[replayer]`: the settings of the replayer.
    pub replayer: driftless_replayer::Settings,
    /// Section `[gateway]`: the settings of the gateway.
    pub gateway: driftless_gateway::Settings,
}

/// The flag that names the config file.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ConfigFile {
    /// A file with settings; --print-config of a service shows all settings.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The flag that limits the memory of a process.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct MemoryArgs {
    /// Anonymous memory that the process may take: bytes, or a number with KiB, MiB or GiB
    /// [default: 80 % of the container's limit, or a part of the machine's memory].
    #[arg(long, value_name = "SIZE", env = "DRIFTLESS_MEMORY_MAX", value_parser = size)]
    memory_max: Option<usize>,
}

impl MemoryArgs {
    /// Sets `memory_max` if the flag is given. The flag overrides the config file.
    pub fn apply(self, memory_max: &mut usize) {
        *memory_max = self.memory_max.unwrap_or(*memory_max);
    }

    /// The value of the flag, bytes.
    pub fn bytes(self) -> Option<usize> {
        self.memory_max
    }
}

/// Reads a size such as `268435456` or `256MiB`.
fn size(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim_end();
    let unit: usize = match text[digits.len()..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        other => return Err(format!("{other:?} is no unit of a size: write bytes, or a number with KiB, MiB or GiB")),
    };
    let number: usize = digits.parse().map_err(|_| format!("{digits:?} is no whole number: write a size as 256MiB"))?;
    number.checked_mul(unit).filter(|bytes| *bytes > 0).ok_or_else(|| format!("{text} is no size that a machine has"))
}

/// The flags of a service that can print its settings: `--config` and `--print-config`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    file: ConfigFile,
    /// Print the settings in force as a config file, and end.
    #[arg(long)]
    print_config: bool,
}

impl ConfigFile {
    /// Reads the named file; without a name it returns the defaults.
    pub fn read(&self) -> Result<Config> {
        let Some(path) = &self.config else { return Ok(Config::default()) };
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not a valid config file", path.display()))
    }
}

impl ConfigArgs {
    /// Reads the named file; without a name it returns the defaults.
    pub fn read(&self) -> Result<Config> {
        self.file.read()
    }

    /// Prints the settings if the user gave `--print-config`. Returns true if it printed them; the
    /// program then ends.
    pub fn print(&self, config: &Config) -> Result<bool> {
        if self.print_config {
            println!("{}", toml::to_string_pretty(config)?);
        }
        Ok(self.print_config)
    }
}

/// The flags for TLS of a service.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct TlsArgs {
    /// Use TLS with this certificate chain, PEM. The file may change while the service runs.
    #[arg(long, value_name = "FILE", env = "DRIFTLESS_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM.
    #[arg(long, value_name = "FILE", env = "DRIFTLESS_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Allow plain text on an address that other machines can reach: behind a proxy that terminates
    /// TLS, in a trusted network.
    #[arg(long, env = "DRIFTLESS_INSECURE")]
    insecure: bool,
}

impl TlsArgs {
    /// Sets TLS and `insecure` in `http` if the flags ask for it. The flags override the config
    /// file.
    pub fn apply(&self, http: &mut Http) {
        if let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) {
            http.tls = Some(tls::Settings { cert: cert.clone(), key: key.clone() });
        }
        http.insecure |= self.insecure;
    }
}

/// The flags that say which tokens are valid: the key, the deny list and the audience.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct KeyArgs {
    /// The key that verifies tokens: a secret (HS256), a PEM public key, or a JWKS. `driftless
    /// token --new-key` makes one.
    #[arg(long, value_name = "FILE", env = "DRIFTLESS_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// Users and tokens to refuse although their signature is good: lines `sub <name>` and `jti
    /// <id>`. Key file and deny file may change while the service runs.
    #[arg(long, value_name = "FILE", env = "DRIFTLESS_DENY_FILE")]
    deny_file: Option<PathBuf>,
    /// Accept only tokens whose `aud` names this audience [default: `aud` is not checked].
    /// `driftless init` suggests one.
    #[arg(long, value_name = "NAME", env = "DRIFTLESS_AUDIENCE")]
    audience: Option<String>,
}

impl KeyArgs {
    /// Makes the verifier from the flags and the config's `[auth]`; a flag overrides its key there.
    /// Fails if neither names a key file.
    pub fn verifier(&self, config: &Config) -> Result<auth::Verifier> {
        let mut settings = match (&self.key_file, &config.auth) {
            (Some(path), Some(auth)) => auth::Settings { key_file: path.clone(), ..auth.clone() },
            (Some(path), None) => auth::Settings::with_key_file(path),
            (None, Some(auth)) => auth.clone(),
            (None, None) => anyhow::bail!(
                "no key to verify tokens: give --key-file (make one with `driftless token --new-key driftless.key`), \
                 or `key_file` in [auth] of the config file"
            ),
        };
        if self.deny_file.is_some() {
            settings.deny_file.clone_from(&self.deny_file);
        }
        if self.audience.is_some() {
            settings.audience.clone_from(&self.audience);
        }
        Ok(auth::Verifier::new(settings)?)
    }
}

/// Returns the `file://` URL of a path. A relative path counts from the working directory.
pub(crate) fn file_url(path: &Path) -> Result<String> {
    let path = std::path::absolute(path).with_context(|| format!("cannot make {} absolute", path.display()))?;
    Ok(format!("file://{}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, bytes) in
            [("268435456", 256 << 20), ("256MiB", 256 << 20), ("2 GiB", 2 << 30), ("64k", 64 << 10), (" 5 B ", 5)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "0", "1.5GiB", "12 parsecs", "99999999999999999999", "18446744073709551615GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert!(size("12 apples").unwrap_err().starts_with("\"apples\" is no unit"));
    }
}
