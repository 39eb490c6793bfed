//! `driftless dev` with a certificate. The SDK and the command line must use TLS for everything.

use driftless_client::{Client, Settings};
use driftless_e2e_tests::edits::chunk;
use driftless_e2e_tests::process::{Env, Running, arguments, run};
use driftless_e2e_tests::scenarios::photo;
use driftless_e2e_tests::wait::soon;
use driftless_testbed::RunDir;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_photo_is_painted_over_tls_and_nobody_connects_who_does_not_trust_the_certificate() {
    let folder = RunDir::new("tls").unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    std::fs::write(path("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let data = path("data");
    let flags = ["dev", "--http", "127.0.0.1:0", "--json", "--data", &data];
    let tls = ["--tls-cert", &path("cert.pem"), "--tls-key", &path("key.pem")];
    let mut dev = Running::start(
        "driftless dev",
        &arguments(&[&flags[..], &tls].concat()),
        &Env::new(),
        &folder.path().join("dev.log"),
    );
    let ready = dev.line("being ready", |line| (line["ready"] == true).then(|| line.clone())).await;
    let text = |key: &str| ready[key].as_str().expect("a text").to_owned();
    assert!(text("http").starts_with("https://") && text("ingest_ws").starts_with("wss://"), "{ready}");

    let mut settings = Settings::new(text("ingest_ws"), text("gateway_ws"), text("token"));
    settings.root_certificates = made.cert.pem().into_bytes();
    let client = soon("a client", Client::connect(settings)).await.expect("it may connect");
    let canvas = client.track(&chunk("canvas/0/0"));
    soon("a chunk", canvas.ready()).await.expect("it is served");
    drop((canvas, client));

    let (http, token, photo) = (text("http"), text("token"), photo());
    let paint = arguments(&["paint", &photo, "--http", &http, "--token", &token, "--at", "-2,-2", "--json"]);
    let trusting = vec![("SSL_CERT_FILE".to_owned(), path("cert.pem"))];
    let painted = run(&paint, &trusting).await;
    assert!(painted.status.success() && painted.output.contains("\"differing_cells\":0"), "{painted:?}");
    let refused = run(&paint, &Env::new()).await;
    assert!(!refused.status.success(), "{refused:?}");
    dev.stop().await;
}
