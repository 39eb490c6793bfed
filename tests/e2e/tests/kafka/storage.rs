//! Checks the objects in the bucket.

use driftless_e2e_tests::process::arguments;
use driftless_e2e_tests::python::{folder, run_script};
use driftless_e2e_tests::scenarios::paint_photo;
use driftless_e2e_tests::stack::{Apart, Stack};
use driftless_e2e_tests::wait::{eventually, soon};
use futures_util::TryStreamExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};

/// Separate services paint the photo. `b3sum`, which knows nothing of Driftless, confirms that
/// every snapshot is named by the hash of its content.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r7_a_painted_photo_differs_in_no_cell_and_its_snapshots_are_named_by_blake3() {
    if super::is_left_out() {
        return;
    }
    let mut stack = Apart::with("[replayer.core]\nsnapshot_every = 32\nsnapshot_min_interval_ms = 200\n").await;
    let entrance = stack.entrance();
    paint_photo(&entrance.ingest_http(), &entrance.gateway_http(), &entrance.tokens.for_all("painter")).await;
    let history = stack.history().await;
    assert_eq!(history.chunks(), 16);

    let (bucket, prefix) = stack.deployment().store.strip_prefix("s3://").unwrap().split_once('/').unwrap();
    let mut s3 = AmazonS3Builder::new().with_bucket_name(bucket);
    for (name, value) in &stack.deployment().env {
        if let Ok(key) = name.to_ascii_lowercase().parse() {
            s3 = s3.with_config(key, value);
        }
    }
    let s3 = s3.build().unwrap();
    let prefix = Path::from(prefix).join("snapshots");
    let objects = eventually("16 snapshots", || async {
        let objects: Vec<_> = s3.list(Some(&prefix)).try_collect().await.map_err(|e| e.to_string())?;
        if objects.len() >= 16 { Ok(objects) } else { Err(format!("{} objects", objects.len())) }
    })
    .await;
    let here = driftless_testbed::RunDir::new("bucket").unwrap();
    for object in &objects {
        let bytes = soon("an object", async { s3.get(&object.location).await?.bytes().await }).await.unwrap();
        let parts: Vec<_> = object.location.parts().collect();
        let [.., pair, name] = &parts[..] else { panic!("{}", object.location) };
        let pair = here.path().join(pair.as_ref());
        std::fs::create_dir_all(&pair).unwrap();
        std::fs::write(pair.join(name.as_ref()), bytes).unwrap();
    }
    let flags = arguments(&[&here.path().display().to_string()]);
    let said = run_script(&folder().join("fixtures/names_are_hashes.py"), &flags).await;
    assert!(said.starts_with(&format!("{} objects, 0 with a wrong name", objects.len())), "{said}");
}
