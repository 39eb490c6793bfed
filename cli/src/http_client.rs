//! Requests to a gateway over HTTP, with errors that say what to do.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use driftless_client::Settings;
use driftless_runtime::files::read_bounded;
use driftless_schemas::{ChunkId, Hash, Version, limits};
use reqwest::{Client, Response, StatusCode};
use std::path::{Path, PathBuf};

/// The largest token file: a token, and white space around it.
const TOKEN_FILE_BYTES_MAX: usize = 2 * limits::TOKEN_BYTES_MAX;

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
#[derive(clap::Args, Clone)]
struct TokenArgs {
    /// A file with the token. `driftless dev` prints a token, and `driftless token` makes one.
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    /// The token [env: DRIFTLESS_TOKEN]. Programs of other users may see a command line; the
    /// variable and --token-file keep the token off it.
    // Without clap's `env`: a set variable would count as a conflict with --token-file.
    #[arg(long)]
    token: Option<String>,
}

impl TokenArgs {
    fn get(&self) -> Result<String> {
        self.get_or(std::env::var("DRIFTLESS_TOKEN").ok())
    }

    /// Returns the token of the flags, or else of the variable, without white space around it.
    fn get_or(&self, variable: Option<String>) -> Result<String> {
        if let Some(path) = &self.token_file {
            return read_token(path);
        }
        let given = self.token.clone().or(variable).map(|token| token.trim().to_owned());
        given.filter(|token| !token.is_empty()).context(
            "no token: give --token-file FILE or --token, or set DRIFTLESS_TOKEN; `driftless dev` prints one, and \
             `driftless token` makes one",
        )
    }
}

impl std::fmt::Debug for TokenArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The token is a secret.
        write!(f, "TokenArgs(file {:?})", self.token_file)
    }
}

/// Reads a file that holds one token. No error repeats the content.
fn read_token(path: &Path) -> Result<String> {
    let file = path.display();
    let bytes = read_bounded(path, TOKEN_FILE_BYTES_MAX)
        .map_err(|problem| anyhow::anyhow!("the token file {file} {problem}; make a token with `driftless token`"))?;
    let text = String::from_utf8(bytes).ok().with_context(|| format!("the token file {file} is not a text file"))?;
    let mut words = text.split_whitespace();
    let token = words.next().with_context(|| format!("the token file {file} is empty; it must hold one token"))?;
    if words.next().is_some() {
        bail!("the token file {file} has more than one word; it must hold one token and nothing else");
    }
    Ok(token.to_owned())
}

impl Target {
    /// A client of the gateway.
    pub fn gateway(&self) -> Result<Gateway> {
        let url = self.gateway_http.as_deref().unwrap_or(&self.http);
        Ok(Gateway { url: base(url), flag: "--gateway-http", token: self.token.get()? })
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
        Ok(Gateway { url: base(&self.http), flag: "--http", token: self.token.get()? })
    }
}

/// The URL without a slash at the end.
fn base(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
}

/// A client of a gateway's HTTP API.
#[derive(Clone)]
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

    #[test]
    fn a_token_comes_from_a_file_a_flag_or_the_environment() {
        let folder = driftless_testbed::RunDir::new("token-file").unwrap();
        let file = |text: &[u8]| {
            let path = folder.path().join(format!("{}.token", text.len()));
            std::fs::write(&path, text).unwrap();
            TokenArgs { token_file: Some(path), token: None }
        };
        let flag = |token: Option<&str>| TokenArgs { token_file: None, token: token.map(str::to_owned) };
        let variable = || Some("of.the.variable\n".to_owned());
        assert_eq!(file(b" a.b.c\r\n").get_or(variable()).unwrap(), "a.b.c");
        assert_eq!(flag(Some("a.b.c")).get_or(variable()).unwrap(), "a.b.c");
        assert_eq!(flag(None).get_or(variable()).unwrap(), "of.the.variable");
        let missing = TokenArgs { token_file: Some(folder.path().join("missing")), token: None };
        let large = vec![b'x'; TOKEN_FILE_BYTES_MAX + 1];
        for (args, words) in [
            (flag(None), &["no token", "--token-file", "--token", "DRIFTLESS_TOKEN"][..]),
            (flag(Some(" ")), &["no token"]),
            (missing, &["missing", "driftless token"]),
            (file(b" \n"), &["2.token", "empty"]),
            (file(b"a.b.c secret.d.e"), &["16.token", "more than one"]),
            (file(b"\xff"), &["1.token", "not a text"]),
            (file(&large), &[".token", "bytes"]),
        ] {
            let error = args.get_or(None).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)) && !error.contains("secret"), "{error}");
        }
    }

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
