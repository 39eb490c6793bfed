//! Claims about producers.

use crate::harness::{Acks, DEADLINE, bounded, number, numbered, read, record, soon, topic, unique};
use crate::{FullLog, Subject};
use driftless_log::{AppendError, Delivery, Producer, QueueLimits};
use driftless_schemas::{Offset, Partition};
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};

pub async fn offsets_are_dense_from_zero_and_acks_come_in_order(subject: &dyn Subject) {
    let topic = topic(subject, 3).await;
    for delivery in [bounded(), Delivery::Gapless] {
        let (producer, acks) = Acks::producer(&*subject.log(), delivery);
        let base = if delivery == Delivery::Gapless { 100 } else { 0 };
        // Each batch mixes records for all three partitions.
        for round in 0..10 {
            let batch = (0..30).map(|n| record(&topic, n % 3, (round * 30 + n) as u64, "x")).collect();
            assert!(producer.append(batch).is_empty(), "the queue has room for 300 records");
        }
        let mut next = HashMap::from([(0, base), (1, base), (2, base)]);
        for (token, result) in acks.take(300).await {
            let partition = token % 3;
            let expected = next.get_mut(&partition).expect("there are three partitions");
            // The tokens of one partition rise by 3 in the order of the appends.
            assert_eq!(token, (*expected - base) as u64 * 3 + partition, "acks of a partition come in order");
            assert_eq!(result.expect("the record is acknowledged"), Some(Offset(*expected)), "offsets are dense");
            *expected += 1;
        }
        assert!(producer.flush(DEADLINE).await);
        assert_eq!(producer.in_flight(), 0);
    }
}

pub async fn watermarks_follow_the_appends(subject: &dyn Subject) {
    let log = subject.log();
    let topic = topic(subject, 2).await;
    let (producer, acks) = Acks::producer(&*log, bounded());
    for n in 1..=5 {
        assert!(producer.append(vec![record(&topic, 1, n, "x")]).is_empty());
        acks.take(1).await;
        let watermarks = log.watermarks(&topic, Partition(1)).await.expect("the topic has watermarks");
        assert_eq!(watermarks, (Offset(0), Offset(n as i64)), "an acknowledged record is in the log");
    }
    let untouched = log.watermarks(&topic, Partition(0)).await.expect("the topic has watermarks");
    assert_eq!(untouched, (Offset(0), Offset(0)), "nothing was appended to the other partition");
}

pub async fn a_record_too_large_is_refused_alone(subject: &dyn FullLog) {
    let log = subject.log();
    let topic = topic(subject, 1).await;
    let (producer, acks) = Acks::producer(&*log, bounded());
    let fits = log_bytes_that_fit();
    let batch = vec![
        record(&topic, 0, 0, "small"),
        record(&topic, 0, 1, vec![b'x'; subject.too_large_bytes()]),
        record(&topic, 0, 2, vec![b'y'; fits]),
    ];
    assert!(producer.append(batch).is_empty());
    let acks = acks.take(3).await;
    let tokens: Vec<u64> = acks.iter().map(|(token, _)| *token).collect();
    assert_eq!(tokens, [0, 1, 2], "a refusal is acknowledged in the order of the appends");
    assert!(matches!(acks[0].1, Ok(Some(Offset(0)))), "{acks:?}");
    assert!(matches!(&acks[1].1, Err(AppendError::Refused(_))), "{acks:?}");
    assert!(matches!(acks[2].1, Ok(Some(Offset(1)))), "{acks:?}");
    let mut reader = log.reader().expect("a reader can be made");
    reader.assign(&topic, Partition(0), Offset(0));
    let records = read(&mut *reader, 2).await;
    assert_eq!((records[0].1.value.len(), records[1].1.value.len()), (5, fits));
}

/// A record size in bytes that is slightly below the `record_bytes_max` of the topics in these
/// tests.
fn log_bytes_that_fit() -> usize {
    255 << 10
}

pub async fn an_unknown_topic_or_partition_is_refused(subject: &dyn Subject) {
    let log = subject.log();
    let there = topic(subject, 2).await;
    let missing: Arc<str> = unique("missing").into();
    let (producer, acks) = Acks::producer(&*log, bounded());
    for (n, append) in
        [record(&there, 2, 0, "x"), record(&missing, 0, 1, "x"), record(&there, -1, 2, "x")].into_iter().enumerate()
    {
        assert!(producer.append(vec![append]).is_empty());
        let ack = acks.take(1).await.remove(0);
        assert_eq!(ack.0, n as u64);
        assert!(matches!(ack.1, Err(AppendError::Refused(_))), "{ack:?}");
    }
    assert!(producer.append(vec![record(&there, 1, 9, "x")]).is_empty());
    assert!(matches!(acks.take(1).await[0], (9, Ok(Some(Offset(0))))), "the producer still works");
}

/// A gate inside a sink. The sink blocks until the test opens the gate. Until then no record is
/// acknowledged, so all records stay in flight.
#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let closed = self.is_open.lock().unwrap();
        drop(self.opened.wait_while(closed, |is_open| !*is_open).unwrap());
    }
}

pub async fn records_that_do_not_fit_come_back_in_order(subject: &dyn FullLog) {
    let log = subject.log_with_queue(QueueLimits { records_max: 100, bytes_max: 1 << 20 });
    let topic = topic(subject, 1).await;
    let (gate, acks) = (Arc::new(Gate::default()), Arc::new(Acks::default()));
    let (closed, inner) = (Arc::clone(&gate), acks.sink());
    let sink = Arc::new(move |batch| {
        closed.pass();
        inner(batch);
    });
    let producer = log.producer(bounded(), sink).expect("a producer can be made");

    let rest = producer.append(numbered(&topic, 0, 0..160));
    let tokens: Vec<u64> = rest.iter().map(|append| append.token).collect();
    assert_eq!(tokens, (100..160).collect::<Vec<_>>(), "records that do not fit come back in order");
    assert_eq!(producer.in_flight(), 100);
    let rest = producer.append(rest);
    assert_eq!(rest.len(), 60, "a full queue takes no record");
    gate.open();
    assert!(producer.flush(DEADLINE).await);
    assert_eq!(producer.in_flight(), 0);
    assert!(producer.append(rest).is_empty(), "the drained queue takes all records");
    let tokens: Vec<u64> = acks.take(160).await.into_iter().map(|(token, _)| token).collect();
    assert_eq!(tokens, (0..160).collect::<Vec<_>>());

    // The queue also has a limit in bytes, but an empty queue takes one record of any size.
    let large = |token| record(&topic, 0, token, vec![b'x'; 200 << 10]);
    let rest = producer.append((0..8).map(large).collect());
    assert_eq!(rest.len(), 3, "five records of 200 KiB fit into 1 MiB");
    assert!(producer.flush(DEADLINE).await);
    acks.take(5).await;
    let small = subject.log_with_queue(QueueLimits { records_max: 100, bytes_max: 1_000 });
    let (producer, acks) = Acks::producer(&*small, bounded());
    assert_eq!(producer.append((0..2).map(large).collect()).len(), 1);
    assert!(matches!(acks.take(1).await[0], (0, Ok(Some(_)))));
}

pub async fn two_producers_interleave_without_loss(subject: &dyn Subject) {
    let log = subject.log();
    let topic = topic(subject, 1).await;
    let (one, one_acks) = Acks::producer(&*log, bounded());
    let (two, two_acks) = Acks::producer(&*log, bounded());
    let feed = |producer: &Arc<dyn Producer>, base: u64| {
        let producer = Arc::clone(producer);
        let topic = Arc::clone(&topic);
        std::thread::spawn(move || {
            for n in (base..base + 1_000).step_by(10) {
                assert!(producer.append(numbered(&topic, 0, n..n + 10)).is_empty());
            }
        })
    };
    let (a, b) = (feed(&one, 0), feed(&two, 1_000_000));
    let mut by_token = HashMap::new();
    for acks in [one_acks, two_acks] {
        let mut newest = None;
        for (token, result) in acks.take(1_000).await {
            let offset = result.expect("the record is acknowledged").expect("the offset is known");
            assert!(newest < Some(offset), "{offset} after {newest:?}: a producer's records keep their order");
            newest = Some(offset);
            by_token.insert(token, offset);
        }
    }
    a.join().unwrap();
    b.join().unwrap();
    let mut reader = log.reader().expect("a reader can be made");
    reader.assign(&topic, Partition(0), Offset(0));
    for (_, record) in read(&mut *reader, 2_000).await {
        let acked = by_token.remove(&number(&record));
        assert_eq!(acked, Some(record.offset), "each record stands once, at the offset of its acknowledgement");
    }
    assert!(by_token.is_empty(), "acknowledged, and not in the log: {by_token:?}");
}

pub async fn an_abandoned_producer_acknowledges_every_record_and_takes_no_more(subject: &dyn Subject) {
    let log = subject.log();
    let topic = topic(subject, 1).await;
    for delivery in [bounded(), Delivery::Gapless] {
        let (producer, acks) = Acks::producer(&*log, delivery);
        assert!(producer.append(numbered(&topic, 0, 0..500)).is_empty());
        producer.abandon();
        assert!(producer.append(numbered(&topic, 0, 500..510)).is_empty());
        let acks = acks.take(510).await;
        for (token, result) in &acks[..500] {
            let is_known_or_unknown = matches!(result, Ok(_) | Err(AppendError::Unknown(_)));
            assert!(is_known_or_unknown, "record {token}: {result:?}");
        }
        let tokens: Vec<u64> = acks.iter().map(|(token, _)| *token).collect();
        assert_eq!(tokens, (0..510).collect::<Vec<_>>(), "each record is acknowledged once and in order");
        for (token, result) in &acks[500..] {
            assert!(matches!(result, Err(AppendError::Unknown(_))), "record {token}: {result:?}");
        }
        assert!(producer.flush(DEADLINE).await);
        assert_eq!(producer.in_flight(), 0);
    }
}

pub async fn a_gapless_producer_ends_with_its_first_failure(subject: &dyn FullLog) {
    let log = subject.log();
    let topic = topic(subject, 2).await;
    let (producer, acks) = Acks::producer(&*log, Delivery::Gapless);
    let mut batch = numbered(&topic, 0, 0..20);
    batch[10].value = vec![b'x'; subject.too_large_bytes()].into();
    assert!(producer.append(batch).is_empty());
    assert!(producer.append(numbered(&topic, 1, 20..25)).is_empty());
    let mut acks = acks.take(25).await;
    acks.sort_by_key(|(token, _)| *token);
    for (token, result) in acks {
        match token {
            0..10 => assert!(matches!(result, Ok(Some(Offset(n))) if n == token as i64), "{token}: {result:?}"),
            10 => assert!(matches!(result, Err(AppendError::Refused(_))), "{token}: {result:?}"),
            _ => assert!(matches!(result, Err(AppendError::Unknown(_))), "{token}: {result:?}"),
        }
    }
    // A new producer continues after the last record that landed without a gap.
    let (next, acks) = Acks::producer(&*log, Delivery::Gapless);
    assert!(next.append(numbered(&topic, 0, 0..1)).is_empty());
    let (_, result) = soon("an ack", acks.take(1)).await.remove(0);
    assert!(matches!(result, Ok(Some(Offset(10)))), "records behind the failure are not in the log: {result:?}");
}
