//! R1: compares our partitioner with the Java client's, whose classes are among the jars of the
//! test broker.

use driftless_schemas::partitioner::{murmur2, partition_for};
use driftless_testbed::kafka;
use std::io::Write;
use std::process::Stdio;

const PROGRAM: &str = r#"
import java.nio.charset.StandardCharsets;
import java.util.Scanner;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.utils.Utils;

public class Murmur {
    public static void main(String[] args) {
        Scanner lines = new Scanner(System.in, StandardCharsets.UTF_8);
        while (lines.hasNextLine()) {
            byte[] key = lines.nextLine().getBytes(StandardCharsets.UTF_8);
            System.out.println(Utils.murmur2(key) + " " + BuiltInPartitioner.partitionForKey(key, 12));
        }
    }
}
"#;

#[test]
fn r1_the_java_client_puts_every_key_into_the_same_partition() {
    if std::env::var_os("DRIFTLESS_TEST_QUICK").is_some() {
        return eprintln!("skipped: DRIFTLESS_TEST_QUICK is set, and this needs Kafka's jars");
    }
    let dist = kafka::install().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("Murmur.java");
    std::fs::write(&source, PROGRAM).unwrap();
    let keys: Vec<String> = (-500..500)
        .flat_map(|i: i32| {
            [
                format!("canvas/{i}/{}", i.wrapping_mul(7919)),
                format!("k{}", i.unsigned_abs()),
                "ü/…".repeat(i.unsigned_abs() as usize % 9),
            ]
        })
        .collect();
    let mut java = dist.java().arg(&source).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = java.stdin.take().unwrap();
    let text = keys.join("\n") + "\n";
    let writing = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = java.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    assert!(output.status.success());
    let answers = String::from_utf8(output.stdout).unwrap();
    assert_eq!(answers.lines().count(), keys.len());
    for (key, answer) in keys.iter().zip(answers.lines()) {
        let ours = format!("{} {}", murmur2(key.as_bytes()).cast_signed(), partition_for(key.as_bytes(), 12));
        assert_eq!(ours, answer, "{key:?}");
    }
}
