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

/// The flags that name the key and the deny list for tokens.
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
        Ok(auth::Verifier::new(settings)?)
    }
}

/// Returns the `file://` URL of a path. A relative path counts from the working directory.
pub(crate) fn file_url(path: &Path) -> Result<String> {
    let path = std::path::absolute(path).with_context(|| format!("cannot make {} absolute", path.display()))?;
    Ok(format!("file://{}", path.display()))
}
