//! Asking a gateway over HTTP, with errors that say what to do.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use driftless_schemas::{ChunkId, Hash, Version};
use reqwest::{Client, Response, StatusCode};

/// Where a deployment is reached, and with which token.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Target {
    /// Where ingest and gateway are reached.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub http: String,
    /// Where the gateway is reached, if elsewhere.
    #[arg(long, value_name = "URL")]
    pub gateway_http: Option<String>,
    /// The token; `driftless dev` prints one.
    #[arg(long, env = "DRIFTLESS_TOKEN", hide_env_values = true)]
    pub token: String,
}

/// A chunk as the gateway gives it.
pub(crate) struct Fetched {
    pub version: Version,
    pub hash: Hash,
    /// The canonical encoding; its hash was compared.
    pub encoding: Bytes,
}

impl Target {
    /// The gateway's base URL, without a slash at the end.
    pub fn gateway(&self) -> &str {
        self.gateway_http.as_deref().unwrap_or(&self.http).trim_end_matches('/')
    }

    /// The websocket of ingest.
    pub fn ingest_ws(&self) -> Result<String> {
        Ok(format!("{}/v1/ingest", to_ws(self.http.trim_end_matches('/'))?))
    }

    /// The websocket of the gateway.
    pub fn gateway_ws(&self) -> Result<String> {
        Ok(format!("{}/v1/gateway", to_ws(self.gateway())?))
    }

    /// Asks the gateway; anything but success is an error with the server's own words.
    pub async fn get(&self, client: &Client, path: &str, accept: &str) -> Result<Response> {
        let url = format!("{}{path}", self.gateway());
        let request = client.get(&url).bearer_auth(&self.token).header("accept", accept);
        let response = request.send().await.with_context(|| {
            format!("{url} does not answer: is Driftless running there? Choose another with --http")
        })?;
        if response.status() != StatusCode::OK {
            let status = response.status();
            let text = response.text().await.unwrap_or_default();
            let detail = serde_json::from_str::<serde_json::Value>(&text)
                .ok()
                .and_then(|problem| problem["detail"].as_str().map(str::to_owned));
            bail!("{url}: {status}: {}", detail.unwrap_or(text));
        }
        Ok(response)
    }

    /// Fetches a chunk's canonical encoding, and compares its hash.
    pub async fn chunk(&self, client: &Client, chunk: &ChunkId) -> Result<Fetched> {
        let response = self.get(client, &format!("/v1/chunks/{chunk}"), "application/octet-stream").await?;
        let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let version = header("driftless-version").and_then(|v| v.parse().ok()).context("no version in the answer")?;
        let etag = header("etag").unwrap_or_default();
        let hash: Hash = etag.trim_matches('"').parse().map_err(anyhow::Error::msg).context("no hash in the answer")?;
        let encoding = response.bytes().await?;
        let found = Hash::of(&encoding);
        if found != hash {
            bail!("{chunk}: the gateway says that its hash is {hash}, but what came has {found}");
        }
        Ok(Fetched { version: Version(version), hash, encoding })
    }
}

fn to_ws(url: &str) -> Result<String> {
    match url.split_once("://") {
        Some(("http", rest)) => Ok(format!("ws://{rest}")),
        Some(("https", _)) => bail!("{url}: this client has no TLS yet; use http:// behind the proxy that ends it"),
        _ => bail!("{url} is not a URL: it starts with http://"),
    }
}
