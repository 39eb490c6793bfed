//! The command-line tools beside the services: `watch`, `paint`, `token`.

use driftless_e2e_tests::process::{Env, arguments, program, run};
use driftless_e2e_tests::stack::{Dev, Stack as _};
use driftless_e2e_tests::wait::soon;
use driftless_testbed::RunDir;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

/// This test does what `driftless watch … | head -1` does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_nobody_reads_any_more_ends_quietly() {
    let dev = Dev::embedded().await;
    let entrance = dev.entrance();
    let token = entrance.tokens.for_all("watcher");
    let mut watch = tokio::process::Command::new(program());
    watch.args(["watch", "canvas/0/0", "--http", &entrance.gateway_http(), "--token", &token]);
    watch.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut watch = watch.spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let first = soon("a line", lines.next_line()).await.unwrap().unwrap();
    assert!(first.starts_with("canvas/0/0 is at version 0"), "{first}");
    drop(lines);
    // The closed pipe must end `watch` even if nothing happens to the chunk and so nothing is
    // written.
    let status = soon("the end", watch.wait()).await.unwrap();
    let mut said = String::new();
    watch.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
    assert!(status.success() && said.is_empty(), "{status}: {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_token_is_asked_for_with_where_to_get_one() {
    let photo = driftless_e2e_tests::scenarios::photo();
    for list in [&["watch", "canvas/0/0"][..], &["paint", &photo]] {
        let ended = run(&arguments(list), &Env::new()).await;
        assert!(!ended.status.success(), "{list:?}: {ended:?}");
        for word in ["no token", "--token", "DRIFTLESS_TOKEN", "driftless dev", "driftless token"] {
            assert!(ended.error.contains(word), "{list:?}: nothing of {word} in: {}", ended.error);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_is_made_whatever_the_variable_says() {
    let folder = RunDir::new("new-key").unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let env: Env = vec![("DRIFTLESS_KEY_FILE".into(), path("new.key"))];
    let made = run(&arguments(&["token", "--new-key", &path("new.key")]), &env).await;
    assert!(made.status.success(), "{made:?}");
    // The variable also names the key with which `token` signs.
    let signed = run(&arguments(&["token", "--sub", "ann", "--write", "canvas/"]), &env).await;
    assert!(signed.status.success() && signed.output.matches('.').count() == 2, "{signed:?}");
    // A command line with two keys must be refused.
    let both = run(&arguments(&["token", "--new-key", &path("a"), "--key-file", &path("new.key")]), &Env::new()).await;
    assert!(!both.status.success() && both.error.contains("--key-file"), "{both:?}");
}
