//! Claims about topics.

use crate::Subject;
use crate::harness::{spec, topic, unique};
use driftless_log::Error;
use driftless_schemas::{Offset, Partition};

pub async fn a_topic_can_be_created_twice(subject: &dyn Subject) {
    let log = subject.log();
    let name = topic(subject, 5).await;
    log.create_topic(&spec(&name, 5)).await.expect("the same topic again");
    assert_eq!(log.partitions(&name).await.expect("the topic can be looked up"), Some(5));
    for partition in 0..5 {
        let watermarks = log.watermarks(&name, Partition(partition)).await.expect("the topic has watermarks");
        assert_eq!(watermarks, (Offset(0), Offset(0)), "watermarks of the empty partition {partition}");
    }
}

pub async fn another_partition_count_is_refused(subject: &dyn Subject) {
    let log = subject.log();
    let name = topic(subject, 3).await;
    match log.create_topic(&spec(&name, 4)).await {
        Err(Error::PartitionCount { topic, found: 3, wanted: 4 }) => assert_eq!(*topic, *name),
        other => panic!("creating the topic with another partition count gave {other:?}"),
    }
    assert_eq!(log.partitions(&name).await.expect("the topic can be looked up"), Some(3));
}

pub async fn a_missing_topic_is_none_and_has_no_watermarks(subject: &dyn Subject) {
    let log = subject.log();
    let name = unique("missing");
    assert_eq!(log.partitions(&name).await.expect("a missing topic can be looked up"), None);
    let missing = log.watermarks(&name, Partition(0)).await;
    assert!(matches!(&missing, Err(Error::NoSuchTopic { topic }) if *topic == name), "{missing:?}");
    // A look-up must not create the topic.
    assert_eq!(log.partitions(&name).await.expect("a missing topic can be looked up"), None);

    let there = topic(subject, 2).await;
    let beyond = log.watermarks(&there, Partition(2)).await;
    assert!(matches!(beyond, Err(Error::NoSuchTopic { .. })), "{beyond:?}");
}
