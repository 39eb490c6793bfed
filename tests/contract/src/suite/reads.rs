//! Claims about readers.

use crate::Subject;
use crate::harness::{
    DEADLINE, number, numbered, offsets, read, read_error, read_only_a_marker, record, soon, topic, unique, write,
};
use bytes::Bytes;
use driftless_log::{Log, ReadError, Reader};
use driftless_schemas::{Offset, Partition};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

fn reader(log: &dyn Log) -> Box<dyn Reader> {
    log.reader().expect("a reader can be made")
}

pub async fn reading_starts_at_any_offset_and_waits_at_the_end(subject: &dyn Subject) {
    let log = subject.log();
    let topic = topic(subject, 1).await;
    let mut readers = Vec::new();
    write(&*log, numbered(&topic, 0, 0..50)).await;
    for from in [0, 17, 49, 50] {
        let mut reader = reader(&*log);
        reader.assign(&topic, Partition(0), Offset(from));
        let records = read(&mut *reader, 50 - from as usize).await;
        let numbers: Vec<u64> = records.iter().map(|(_, record)| number(record)).collect();
        assert_eq!(numbers, (from as u64..50).collect::<Vec<_>>());
        assert!(records.iter().all(|(_, record)| record.offset.0 as u64 == number(record)));
        readers.push(reader);
    }
    // Each reader waits at the end of the log, so the next record is all that each gets.
    write(&*log, numbered(&topic, 0, 50..51)).await;
    for reader in &mut readers {
        let numbers: Vec<u64> = read(&mut **reader, 1).await.iter().map(|(_, record)| number(record)).collect();
        assert_eq!(numbers, [50]);
    }
    // A reader without partitions must get no record that was appended before a partition was
    // assigned to it.
    let mut idle = reader(&*log);
    idle.assign(&topic, Partition(0), Offset(51));
    read_only_a_marker(&*log, &mut *idle, &topic, 0).await;
}

pub async fn an_append_wakes_a_waiting_reader(subject: &dyn Subject) {
    let log = subject.log();
    let topic = topic(subject, 4).await;
    let mut reader = reader(&*log);
    for partition in 0..4 {
        reader.assign(&topic, Partition(partition), Offset(0));
    }
    for n in 0..40 {
        let waiting = tokio::spawn(async move {
            let records = read(&mut *reader, 1).await;
            (reader, records)
        });
        write(&*log, vec![record(&topic, n % 4, 0, n.to_string())]).await;
        let (back, records) = soon("the reader wakes", waiting).await.expect("reading does not panic");
        reader = back;
        assert_eq!((records[0].0, number(&records[0].1)), (Partition(n % 4), n as u64));
    }
}

pub async fn keys_values_headers_and_timestamps_come_back(subject: &dyn Subject) {
    let log = subject.log();
    let topic = topic(subject, 1).await;
    let now_ms = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let before_ms = now_ms();
    let all_bytes: Bytes = (0..=255u8).collect::<Vec<_>>().into();
    let mut full = record(&topic, 0, 0, all_bytes.clone());
    full.key = all_bytes.clone();
    full.headers = vec![
        ("traceparent".to_owned(), Bytes::from_static(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
        ("raw".to_owned(), all_bytes.clone()),
        ("twice".to_owned(), Bytes::from_static(b"1")),
        ("twice".to_owned(), Bytes::from_static(b"2")),
        ("empty".to_owned(), Bytes::new()),
    ];
    let mut empty = record(&topic, 0, 1, Bytes::new());
    empty.key = Bytes::new();
    write(&*log, vec![full.clone(), empty]).await;
    let after_ms = now_ms();

    let mut reader = reader(&*log);
    reader.assign(&topic, Partition(0), Offset(0));
    let records = read(&mut *reader, 2).await;
    assert_eq!(records[0].1.key, full.key);
    assert_eq!(records[0].1.value, full.value);
    assert_eq!(records[0].1.headers, full.headers);
    assert_eq!(records[1].1.key, Bytes::new());
    assert_eq!(records[1].1.value, Bytes::new());
    assert!(records[1].1.headers.is_empty());
    for (_, record) in records {
        let when = record.timestamp.0;
        assert!((before_ms..=after_ms).contains(&when), "{before_ms} <= {when} <= {after_ms}");
    }
}

pub async fn one_reader_reads_many_partitions(subject: &dyn Subject) {
    let log = subject.log();
    let (one, two) = (topic(subject, 20).await, topic(subject, 20).await);
    let mut reader = reader(&*log);
    for partition in 0..20 {
        reader.assign(&one, Partition(partition), Offset(0));
        reader.assign(&two, Partition(partition), Offset(0));
    }
    let both = [&one, &two];
    let records = (0..4_000).map(|n| record(both[n % 2], (n / 2 % 20) as i32, n as u64, n.to_string())).collect();
    write(&*log, records).await;
    let mut next: HashMap<(Arc<str>, Partition), i64> = HashMap::new();
    let mut seen = 0;
    while seen < 4_000 {
        for batch in soon("more records", reader.next()).await.expect("reading succeeds") {
            let next = next.entry((Arc::clone(&batch.topic), batch.partition)).or_default();
            for record in &batch.records {
                assert_eq!(record.offset.0, *next, "each partition comes without a gap and in order");
                *next += 1;
                let n = number(record) as usize;
                assert_eq!((&batch.topic, batch.partition.0), (both[n % 2], (n / 2 % 20) as i32));
                seen += 1;
            }
        }
    }
    assert_eq!(next.len(), 40);
    assert!(next.values().all(|next| *next == 100));
}

pub async fn two_readers_do_not_disturb_each_other(subject: &dyn Subject) {
    let log = subject.log();
    let topic = topic(subject, 1).await;
    let (mut one, mut two) = (reader(&*log), reader(&*log));
    one.assign(&topic, Partition(0), Offset(0));
    two.assign(&topic, Partition(0), Offset(0));
    write(&*log, numbered(&topic, 0, 0..100)).await;
    assert_eq!(read(&mut *one, 100).await.len(), 100);
    drop(one);
    write(&*log, numbered(&topic, 0, 100..150)).await;
    let numbers: Vec<u64> = read(&mut *two, 150).await.iter().map(|(_, record)| number(record)).collect();
    assert_eq!(numbers, (0..150).collect::<Vec<_>>());
}

pub async fn a_backlog_comes_in_order_and_in_bounded_batches(subject: &dyn Subject) {
    const COUNT: u64 = 12_000;
    let log = subject.log();
    let topic = topic(subject, 2).await;
    let text = "x".repeat(2_000);
    let big = |n: u64| record(&topic, (n % 2) as i32, n, format!("{n:08}{text}"));
    write(&*log, (0..COUNT).map(big).collect()).await;
    let mut reader = reader(&*log);
    reader.assign(&topic, Partition(0), Offset(0));
    reader.assign(&topic, Partition(1), Offset(0));
    let mut next = [0, 0];
    while next.iter().sum::<i64>() < COUNT as i64 {
        let batches = soon("more records", reader.next()).await.expect("reading succeeds");
        let bytes: usize = batches.iter().flat_map(|batch| &batch.records).map(|record| record.value.len()).sum();
        assert!(bytes <= 16 << 20, "{bytes} bytes in one turn");
        for batch in batches {
            let next = &mut next[batch.partition.0 as usize];
            let expected: Vec<i64> = (*next..*next + batch.records.len() as i64).collect();
            assert_eq!(offsets(&batch), expected);
            *next += batch.records.len() as i64;
        }
    }
    assert_eq!(next, [COUNT as i64 / 2; 2]);
}

pub async fn a_paused_partition_is_silent_until_resumed(subject: &dyn Subject) {
    let log = subject.log();
    let topic = topic(subject, 2).await;
    let mut reader = reader(&*log);
    reader.assign(&topic, Partition(0), Offset(0));
    reader.assign(&topic, Partition(1), Offset(0));
    write(&*log, numbered(&topic, 0, 0..3)).await;
    read(&mut *reader, 3).await;
    reader.pause(&topic, Partition(0));
    write(&*log, numbered(&topic, 0, 3..6)).await;
    // Markers in the other partition arrive alone, although older records wait in the paused one.
    for _ in 0..5 {
        read_only_a_marker(&*log, &mut *reader, &topic, 1).await;
    }
    reader.resume(&topic, Partition(0));
    let numbers: Vec<u64> = read(&mut *reader, 3).await.iter().map(|(_, record)| number(record)).collect();
    assert_eq!(numbers, [3, 4, 5], "the partition continues where it stopped");
    write(&*log, numbered(&topic, 0, 6..8)).await;
    assert_eq!(read(&mut *reader, 2).await.len(), 2);
}

pub async fn no_record_comes_after_unassign(subject: &dyn Subject) {
    let log = subject.log();
    let topic = topic(subject, 2).await;
    write(&*log, numbered(&topic, 0, 0..2_000)).await;
    let mut reader = reader(&*log);
    reader.assign(&topic, Partition(0), Offset(0));
    // More records are in flight to the reader when the partition is unassigned.
    soon("the first records", reader.next()).await.expect("reading succeeds");
    reader.unassign(&topic, Partition(0));
    write(&*log, numbered(&topic, 0, 2_000..2_001)).await;
    reader.assign(&topic, Partition(1), Offset(0));
    for _ in 0..5 {
        read_only_a_marker(&*log, &mut *reader, &topic, 1).await;
    }
}

pub async fn assigning_again_starts_at_the_new_offset(subject: &dyn Subject) {
    let log = subject.log();
    let topic = topic(subject, 1).await;
    write(&*log, numbered(&topic, 0, 0..3_000)).await;
    let mut reader = reader(&*log);
    // The assigned offsets go back and forth, with and without `unassign` in between, while records
    // of the earlier assignment are in flight.
    for (turn, from) in [0, 2_500, 10, 2_999, 1_500, 0].into_iter().enumerate() {
        if turn % 2 == 1 {
            reader.unassign(&topic, Partition(0));
        }
        reader.assign(&topic, Partition(0), Offset(from));
        if turn % 3 == 2 {
            // Several assignments without a call of `next` in between.
            reader.assign(&topic, Partition(0), Offset(2_000));
            reader.assign(&topic, Partition(0), Offset(from));
        }
        let batches = soon("records", reader.next()).await.expect("reading succeeds");
        let first = &batches[0].records[0];
        assert_eq!(first.offset, Offset(from), "turn {turn}: the first record is the wanted one");
        let expected: Vec<i64> = (from..from + batches[0].records.len() as i64).collect();
        assert_eq!(offsets(&batches[0]), expected);
    }
    reader.assign(&topic, Partition(0), Offset(2_990));
    let numbers: Vec<u64> = read(&mut *reader, 10).await.iter().map(|(_, record)| number(record)).collect();
    assert_eq!(numbers, (2_990..3_000).collect::<Vec<_>>());
    read_only_a_marker(&*log, &mut *reader, &topic, 0).await;
}

pub async fn an_offset_beyond_the_end_is_out_of_range(subject: &dyn Subject) {
    let log = subject.log();
    let topic = topic(subject, 2).await;
    write(&*log, numbered(&topic, 0, 0..5)).await;
    let mut reader = reader(&*log);
    reader.assign(&topic, Partition(0), Offset(9));
    expect_out_of_range(read_error(&mut *reader).await, &topic, 9, 0, 5);
    // The error unassigns the partition, so none of its records arrives before the marker in the
    // other partition.
    write(&*log, numbered(&topic, 0, 5..15)).await;
    reader.assign(&topic, Partition(1), Offset(0));
    read_only_a_marker(&*log, &mut *reader, &topic, 1).await;
    reader.assign(&topic, Partition(0), Offset(9));
    assert_eq!(read(&mut *reader, 6).await.len(), 6);
}

pub async fn an_offset_below_the_start_is_out_of_range(subject: &dyn Subject) {
    let log = subject.log();
    let topic = topic(subject, 1).await;
    write(&*log, numbered(&topic, 0, 0..20)).await;
    subject.truncate_before(&topic, Partition(0), Offset(8)).await;
    let watermarks = log.watermarks(&topic, Partition(0)).await.expect("the topic has watermarks");
    assert_eq!(watermarks, (Offset(8), Offset(20)));
    let mut reader = reader(&*log);
    reader.assign(&topic, Partition(0), Offset(3));
    expect_out_of_range(read_error(&mut *reader).await, &topic, 3, 8, 20);
    reader.assign(&topic, Partition(0), Offset(8));
    let numbers: Vec<u64> = read(&mut *reader, 12).await.iter().map(|(_, record)| number(record)).collect();
    assert_eq!(numbers, (8..20).collect::<Vec<_>>());
    // Truncation below the current start does not bring deleted records back.
    subject.truncate_before(&topic, Partition(0), Offset(5)).await;
    let watermarks = log.watermarks(&topic, Partition(0)).await.expect("the topic has watermarks");
    assert_eq!(watermarks, (Offset(8), Offset(20)));
    // Offsets continue even after all records are deleted.
    subject.truncate_before(&topic, Partition(0), Offset(20)).await;
    let watermarks = log.watermarks(&topic, Partition(0)).await.expect("the topic has watermarks");
    assert_eq!(watermarks, (Offset(20), Offset(20)));
    write(&*log, numbered(&topic, 0, 20..22)).await;
    assert_eq!(read(&mut *reader, 2).await[0].1.offset, Offset(20));
}

fn expect_out_of_range(error: ReadError, expected: &Arc<str>, want: i64, from: i64, to: i64) {
    match error {
        ReadError::OutOfRange { topic, partition: Partition(0), wanted, low, high } => {
            assert_eq!((&topic, wanted, low, high), (expected, Offset(want), Offset(from), Offset(to)));
        }
        other => panic!("an out-of-range error was expected, this came: {other:?}"),
    }
}

pub async fn one_bad_partition_does_not_stop_the_others(subject: &dyn Subject) {
    let log = subject.log();
    let topic = topic(subject, 3).await;
    let mut reader = reader(&*log);
    reader.assign(&topic, Partition(0), Offset(0));
    reader.assign(&topic, Partition(1), Offset(77));
    reader.assign(&topic, Partition(2), Offset(0));
    let error = read_error(&mut *reader).await;
    assert!(matches!(error, ReadError::OutOfRange { partition: Partition(1), .. }), "{error:?}");
    for partition in [0, 1, 2] {
        write(&*log, numbered(&topic, partition, 0..10)).await;
    }
    let records = read(&mut *reader, 20).await;
    assert!(records.iter().all(|(partition, _)| *partition != Partition(1)));
}

pub async fn a_missing_partition_is_an_error_of_its_own(subject: &dyn Subject) {
    let log = subject.log();
    let there = topic(subject, 1).await;
    let missing = unique("missing");
    let mut reader = reader(&*log);
    reader.assign(&there, Partition(0), Offset(0));
    reader.assign(&missing, Partition(0), Offset(0));
    reader.assign(&there, Partition(1), Offset(0));
    let mut broken = Vec::new();
    while broken.len() < 2 {
        match read_error(&mut *reader).await {
            ReadError::Broken { topic, partition, .. } => broken.push((topic.to_string(), partition)),
            other => panic!("a broken partition was expected, this came: {other:?}"),
        }
    }
    broken.sort();
    let mut expected = [(there.to_string(), Partition(1)), (missing, Partition(0))];
    expected.sort();
    assert_eq!(broken, expected);
    write(&*log, numbered(&there, 0, 0..1)).await;
    assert_eq!(read(&mut *reader, 1).await.len(), 1);
}

pub async fn dropping_a_call_of_next_loses_no_record(subject: &dyn Subject) {
    let log = subject.log();
    let topic = topic(subject, 2).await;
    // The test writes more records than the log keeps in memory, so that reads from disk are
    // interrupted too.
    let text = "x".repeat(2_000);
    let big = |n: u64| record(&topic, (n % 2) as i32, n, format!("{n:08}{text}"));
    write(&*log, (0..8_000).map(big).collect()).await;
    let mut reader = reader(&*log);
    reader.assign(&topic, Partition(0), Offset(0));
    reader.assign(&topic, Partition(1), Offset(0));
    let mut next = [0, 0];
    let reading = async {
        while next != [4_000, 4_000] {
            let batches = tokio::select! {
                biased;
                () = tokio::task::yield_now() => continue,
                batches = reader.next() => batches.expect("reading succeeds"),
            };
            for batch in batches {
                for record in batch.records {
                    let next = &mut next[batch.partition.0 as usize];
                    assert_eq!(record.offset.0, *next);
                    *next += 1;
                }
            }
        }
    };
    tokio::time::timeout(DEADLINE, reading).await.expect("all records come before the deadline");
    read_only_a_marker(&*log, &mut *reader, &topic, 0).await;
    read_only_a_marker(&*log, &mut *reader, &topic, 1).await;
}
