//! Requests to a gateway over HTTP, with errors that say what to do.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use driftless_client::Settings;
use driftless_schemas::{ChunkId, Hash, Version};
use reqwest::{Client, Response, StatusCode};

/// The addresses of a deployment, and a token for it.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Target {
    /// URL of ingest and gateway.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    http: String,
    /// URL of the gateway, if it differs.
    #[arg(long, value_name = "URL")]
    gateway_http: Option<String>,
    #[command(flatten)]
    token: TokenArgs,
}

/// The address of a gateway, and a token for it.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct GatewayTarget {
    /// URL of a gateway.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    http: String,
    #[command(flatten)]
    token: TokenArgs,
}

/// The user's token.
#[derive(clap::Args, Clone, Debug)]
struct TokenArgs {
    /// The token; `driftless dev` prints one.
    #[arg(long, env = "DRIFTLESS_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

impl TokenArgs {
    fn get(&self) -> Result<&str> {
        let given = self.token.as_deref().filter(|token| !token.is_empty());
        given.context(
            "no token: give --token or DRIFTLESS_TOKEN; `driftless dev` prints one, and `driftless token` makes one",
        )
    }
}

impl Target {
    /// A client of the gateway.
    pub fn gateway(&self) -> Result<Gateway> {
        let url = self.gateway_http.as_deref().unwrap_or(&self.http);
        Ok(Gateway { url: base(url), flag: "--gateway-http", token: self.token.get()?.to_owned() })
    }

    /// The SDK's settings: both websockets and the token.
    pub fn settings(&self) -> Result<Settings> {
        let gateway = self.gateway()?;
        let (ingest_ws, gateway_ws) = (to_ws(&base(&self.http))?, to_ws(&gateway.url)?);
        Ok(Settings::new(format!("{ingest_ws}/v1/ingest"), format!("{gateway_ws}/v1/gateway"), gateway.token))
    }
}

impl GatewayTarget {
    /// A client of the gateway.
    pub fn gateway(&self) -> Result<Gateway> {
        Ok(Gateway { url: base(&self.http), flag: "--http", token: self.token.get()?.to_owned() })
    }
}

/// The URL without a slash at the end.
fn base(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
}

/// A client of a gateway's HTTP API.
#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    url: String,
    /// The command-line flag that chooses another gateway, for error messages.
    flag: &'static str,
    token: String,
}

/// A chunk as the gateway serves it.
pub(crate) struct Fetched {
    pub version: Version,
    pub hash: Hash,
    /// The canonical encoding of the chunk; [`Gateway::chunk`] has checked that it has this hash.
    pub encoding: Bytes,
}

impl Gateway {
    /// Sends a GET request. Any status but 200 is an error with the server's own words.
    pub async fn get(&self, client: &Client, path: &str, accept: &str) -> Result<Response> {
        let (url, flag) = (format!("{}{path}", self.url), self.flag);
        let request = client.get(&url).bearer_auth(&self.token).header("accept", accept);
        let response = request.send().await.with_context(|| {
            format!("{url} does not answer: is Driftless running there? Choose another with {flag}")
        })?;
        if response.status() != StatusCode::OK {
            let status = response.status();
            let text = response.text().await.unwrap_or_default();
            let problem: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            // A gateway serves every path that this program requests. A 404 for an unknown path
            // therefore comes from another server.
            let is_gateway = status != StatusCode::NOT_FOUND
                || problem["type"].as_str().is_some_and(|kind| kind != "urn:driftless:problem:not_found");
            if !is_gateway {
                bail!(
                    "{url}: {status}: the server there is no gateway, perhaps an ingest. Give a gateway's address with \
                     {flag}"
                );
            }
            bail!("{url}: {status}: {}", problem["detail"].as_str().unwrap_or(&text));
        }
        Ok(response)
    }

    /// Fetches a chunk's canonical encoding. Fails if its hash is not the one that the gateway
    /// names.
    pub async fn chunk(&self, client: &Client, chunk: &ChunkId) -> Result<Fetched> {
        let response = self.get(client, &format!("/v1/chunks/{chunk}"), "application/octet-stream").await?;
        let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let version = header("driftless-version").and_then(|v| v.parse().ok()).context("the answer has no version")?;
        let etag = header("etag").unwrap_or_default();
        let hash: Hash =
            etag.trim_matches('"').parse().map_err(anyhow::Error::msg).context("the answer has no hash")?;
        let encoding = response.bytes().await?;
        let found = Hash::of(&encoding);
        if found != hash {
            bail!("{chunk}: the gateway says that the hash is {hash}, but the content has {found}");
        }
        Ok(Fetched { version: Version(version), hash, encoding })
    }
}

fn to_ws(url: &str) -> Result<String> {
    match url.split_once("://") {
        Some(("http", rest)) => Ok(format!("ws://{rest}")),
        Some(("https", rest)) => Ok(format!("wss://{rest}")),
        _ => bail!("{url} is not a URL: it starts with http:// or https://"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// A server that answers one request.
    async fn answering(status: &'static str, body: &'static str) -> Gateway {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = socket.read(&mut request).await.unwrap();
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            socket.write_all(answer.as_bytes()).await.unwrap();
        });
        Gateway { url, flag: "--gateway-http", token: "t".into() }
    }

    #[tokio::test]
    async fn a_server_that_is_no_gateway_is_told_from_a_gateway_that_refuses() {
        let ask = async |gateway: Gateway| {
            let answer = gateway.get(&Client::new(), "/v1/world", "*/*").await;
            answer.expect_err("an error").to_string()
        };
        let nothing = r#"{"type":"urn:driftless:problem:not_found","detail":"there is nothing at this path"}"#;
        for body in [nothing, "<html>not here</html>"] {
            let error = ask(answering("404 Not Found", body).await).await;
            assert!(error.contains("is no gateway") && error.contains("--gateway-http"), "{error}");
        }
        let unknown = r#"{"type":"urn:driftless:problem:unknown_family","detail":"no family is called x"}"#;
        let error = ask(answering("404 Not Found", unknown).await).await;
        assert!(error.ends_with("no family is called x"), "{error}");
    }
}
