"""Reads the raw topics, from Kafka or from a dump. A dump is a folder of files and needs no Kafka.

A dump has one file per partition, `<topic>-<partition>.jsonl`, with one line per record: `{"topic":
…, "partition": …, "offset": …, "key": base64 or null, "value": base64 or null}`.
"""

import base64
import json
import pathlib
import time
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition

from report import CannotCheck

WAIT_S = 30


class Record(NamedTuple):
    """A record of one partition."""

    offset: int
    key: bytes
    value: bytes


class KafkaLog:
    """Reads the topics of a Kafka cluster, one partition at a time. It does not join a group, so it
    commits no offsets and rebalances no group."""

    def __init__(self, brokers):
        settings = {"bootstrap.servers": brokers, "group.id": "driftless-checker", "enable.auto.commit": False}
        # At the end of a log, a fetch waits for more records, and the fetch of the next partition
        # would wait behind it. So the waits are short.
        settings |= {"fetch.wait.max.ms": 10, "fetch.queue.backoff.ms": 10}
        settings |= {"enable.partition.eof": True, "auto.offset.reset": "error", "fetch.max.bytes": 64 << 20}
        self._consumer = Consumer(settings | {"max.partition.fetch.bytes": 8 << 20, "queued.max.messages.kbytes": 131_072})

    def partitions(self, topic):
        """The number of partitions; 0 if there is no such topic."""
        found = self._consumer.list_topics(topic, timeout=WAIT_S).topics.get(topic)
        return 0 if found is None or found.error else len(found.partitions)

    def bounds(self, topic, partition):
        """Returns the first offset that retention has not deleted, and the offset after the last
        record."""
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                return self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=WAIT_S, cached=False)
            except KafkaException:
                # The leader of a partition moves when a broker returns.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def read(self, topic, partition, start, end):
        """Yields the records from offset `start` up to, and without, offset `end`."""
        if start >= end:
            return
        self._consumer.assign([TopicPartition(topic, partition, start)])
        position, heard = start, time.monotonic()
        while True:
            # `consume` waits for the requested number of records, or for its whole timeout.
            messages = self._consumer.consume(num_messages=min(end - position, 5000), timeout=0.2)
            if messages:
                heard = time.monotonic()
            elif time.monotonic() - heard > WAIT_S:
                raise CannotCheck(f"{topic} partition {partition}: nothing came for {WAIT_S} s, but the log goes to {end}")
            for message in messages:
                if message.error() is not None:
                    if message.error().name() == "_PARTITION_EOF":
                        return
                    raise CannotCheck(f"{topic} partition {partition}: {message.error()}")
                if message.offset() >= end:
                    return
                position = message.offset() + 1
                yield Record(message.offset(), message.key() or b"", message.value() or b"")
            if position >= end:
                return


class DumpLog:
    """A folder that `write_dump` made."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        if not self.folder.is_dir():
            raise CannotCheck(f"{folder} is no folder")

    def partitions(self, topic):
        return len(list(self.folder.glob(f"{topic}-*.jsonl")))

    def bounds(self, topic, partition):
        first = last = None
        with self._file(topic, partition).open("rb") as lines:
            for last in lines:
                first = first or last
        return (json.loads(first)["offset"], json.loads(last)["offset"] + 1) if first else (0, 0)

    def read(self, topic, partition, start, end):
        unpack = lambda text: base64.b64decode(text) if text else b""
        with self._file(topic, partition).open("rb") as lines:
            for line in lines:
                record = json.loads(line)
                if (record["topic"], record["partition"]) != (topic, partition):
                    raise CannotCheck(f"{self._file(topic, partition)} holds a record of {record['topic']}-{record['partition']}")
                if start <= record["offset"] < end:
                    yield Record(record["offset"], unpack(record["key"]), unpack(record["value"]))

    def _file(self, topic, partition):
        path = self.folder / f"{topic}-{partition}.jsonl"
        if not path.is_file():
            raise CannotCheck(f"{path} is missing: a dump has a file for every partition, also for an empty one")
        return path


def write_dump(log, topics, folder, report):
    """Copies topics into a folder from which `DumpLog` reads them."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    pack = lambda data: base64.b64encode(data).decode()
    for topic in topics:
        for partition in range(log.partitions(topic)):
            low, high = log.bounds(topic, partition)
            with (folder / f"{topic}-{partition}.jsonl").open("w") as lines:
                for offset, key, value in log.read(topic, partition, low, high):
                    record = {"topic": topic, "partition": partition, "offset": offset, "key": pack(key), "value": pack(value)}
                    lines.write(json.dumps(record) + "\n")
                    report.progress(f"dump of {topic} partition {partition}: offset {offset:,} of {high:,}")
