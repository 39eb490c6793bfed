"""Checks a world from the outside: reads its raw topics, its object store and the clients' conclusions, and shares no code with
the services. It decides what R1 to R10 say about them, folds every chunk itself, and ends with 0 only if nothing is wrong."""

import argparse
import json
import pathlib
import sys
import traceback

from confluent_kafka import KafkaException

from fencing import Position
from foreign import Foreign
from log import DumpLog, KafkaLog, write_dump
from outcomes import Outcomes, check_finals
from partition import Partition
from report import CannotCheck, Report
from store import Store
from world import World

EXAMPLES = """
examples:
  # a world on Kafka with its object store (a folder, or the bucket's folder below versitygw)
  python check.py --brokers 127.0.0.1:9092 --store .driftless/store

  # after a run that has come to rest, with what clients concluded and what replicas hold
  python check.py --brokers 127.0.0.1:9092 --store /s3/bucket --outcomes a.jsonl b.jsonl --finals finals.jsonl --complete --json

  # a dump for a bug report, then the same checks without Kafka
  python check.py --brokers 127.0.0.1:9092 --world world.json --write-dump dump
  python check.py --dump dump --world world.json

  # where retention has removed the start of updates: positions as GET /v1/partitions gives them
  python check.py --brokers 127.0.0.1:9092 --store /s3/bucket --positions positions.json

exit code: 0 no violation, 1 violations, 2 it could not be checked. With --json the last line of the output is one JSON object.
"""


def arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    log = parser.add_mutually_exclusive_group(required=True)
    log.add_argument("--brokers", metavar="LIST", help="Kafka's bootstrap servers")
    log.add_argument("--dump", metavar="FOLDER", help="read a dump that --write-dump made instead of Kafka")
    parser.add_argument("--store", metavar="FOLDER", help="the object store's folder; without it snapshots are not checked (R7)")
    parser.add_argument("--world", metavar="FILE", help="the world spec; default: world.json in the store")
    parser.add_argument(
        "--outcomes", metavar="FILE", nargs="+", default=[], action="extend", help="JSON lines of clients' outcomes"
    )
    parser.add_argument("--finals", metavar="FILE", nargs="+", default=[], action="extend", help="JSON lines of hashes at rest")
    parser.add_argument("--forged", metavar="FILE", help="JSON lines of the records that another program appended")
    parser.add_argument("--members", metavar="NAME", nargs="+", default=[], help="the names of the world's replayers")
    parser.add_argument("--copies", metavar="FOLDER", nargs="+", default=[], help="copies of the store that replayers of the name of their folder used")
    parser.add_argument("--lost", metavar="FOLDER", help="a dump of the topics from before `updates` was made anew: a lost history")
    parser.add_argument("--complete", action="store_true", help="the run has come to rest: every command must have been answered")
    parser.add_argument(
        "--collected", action="store_true", help="snapshots were garbage collected: only a chunk's five newest must be there"
    )
    parser.add_argument(
        "--start",
        metavar="P:OFFSET:EPOCH:N",
        nargs="+",
        default=[],
        action="extend",
        help="where to start in partition P of updates",
    )
    parser.add_argument("--positions", metavar="FILE", help="the same for many partitions, as GET /v1/partitions gives it")
    parser.add_argument("--write-dump", metavar="FOLDER", help="copy the topics into a folder, and check nothing")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON that has all counts and violations")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    options = parser.parse_args(argv)
    if not options.store and not options.world:
        parser.error("name the world: --store FOLDER, or --world FILE")
    return options


def positions(options):
    """Returns the positions at which reading `updates` begins, by partition (R4)."""
    found = {}
    for text in options.start:
        partition, *triple = map(int, text.split(":"))
        found[partition] = Position(*triple)
    if options.positions:
        for p in json.loads(pathlib.Path(options.positions).read_text())["positions"]:
            found[p["partition"]] = Position(p["offset"], p["epoch"], p["n"])
    return found


def check(options, report):
    """Checks the whole world, one partition after another, and adds counts and violations to
    `report`."""
    store = Store(options.store, options.copies) if options.store else None
    world = World.from_file(options.world or store.world())
    log = KafkaLog(options.brokers) if options.brokers else DumpLog(options.dump)
    commands, updates, dead_letter = (world.topic(what) for what in ("commands", "updates", "dead-letter"))
    if options.write_dump:
        return write_dump(log, (commands, updates, dead_letter), options.write_dump, report)
    for topic in (commands, updates):
        if (count := log.partitions(topic)) != world.partitions:
            report.violate(
                "R1", "another number of partitions than the world's", topic=topic, expected=world.partitions, found=count
            )
            if count < world.partitions:
                raise CannotCheck(f"{topic} has {count} partitions, the world {world.partitions}")
    outcomes = Outcomes(options.outcomes, world, report) if options.outcomes else None
    if options.forged and not outcomes:
        raise CannotCheck("--forged needs --outcomes: only they name the authors of edits")
    foreign = Foreign(options.forged, options.members, outcomes.authors, report) if options.forged else None
    starts, ends, dead = positions(options), {}, []
    if starts and outcomes:
        raise CannotCheck("--outcomes needs the whole log: no --start and no --positions with it")
    lost = DumpLog(options.lost) if options.lost else None
    for number in range(world.partitions):
        bases = None
        if lost:
            before = Partition(world, number, report, store, outcomes, Position(), options.complete, options.collected)
            before.foreign = foreign
            whole = lambda topic: lost.read(topic, number, *lost.bounds(topic, number))
            before.take_updates(whole(updates), lost.bounds(commands, number)[1])
            before.take_commands(whole(commands), 0)
            dead += ((number, *letter) for letter in before.dead)
            bases = before.bases()
        start = starts.get(number, Position())
        low, high = log.bounds(updates, number)
        if start.offset < low:
            problem = f"{updates} partition {number} starts at offset {low}"
            raise CannotCheck(
                f"{problem}: a position without its epoch and n cannot be judged (R4); name one with --start or --positions"
            )
        partition = Partition(world, number, report, store, outcomes, start, options.complete, options.collected)
        partition.foreign, partition.lost = foreign, bases
        partition.take_updates(log.read(updates, number, start.offset, high), log.bounds(commands, number)[1])
        # After `updates`, so that every command that has a mark is seen.
        low, high = log.bounds(commands, number)
        partition.take_commands(log.read(commands, number, low, high), low)
        ends |= partition.ends()
        if lost:
            partition.count_destroyed(before)
        dead += ((number, *letter) for letter in partition.dead)
    if options.complete:
        check_dead_letters(log, dead_letter, commands, dead, report)
    if foreign:
        foreign.finish()
    if store:
        store.check_names(report)
    if outcomes:
        outcomes.finish()
    check_finals(options.finals, world, ends, range(world.partitions) if lost else starts, report)
    return None


def check_dead_letters(log, topic, commands, dead, report):
    """R9: each record that could not be decoded or placed must have a copy in `dead-letter`, byte
    for byte."""
    copied = set()
    for number in range(log.partitions(topic)) if dead else ():
        copied.update(record.value for record in log.read(topic, number, *log.bounds(topic, number)))
    for partition, offset, value, why in dead:
        if value not in copied:
            report.violate("R9", f"not copied to {topic}: {why}", topic=commands, partition=partition, offset=offset)


def main(argv=None):
    options = arguments(argv)
    report = Report(options.quiet)
    try:
        check(options, report)
    except (CannotCheck, OSError, KafkaException) as e:
        print(f"check.py: {e}", file=sys.stderr)
        return 2
    except Exception:
        # Python's exit code would be 1, which means that there are violations.
        traceback.print_exc()
        return 2
    if not options.write_dump:
        print(report.summary())
    if options.json:
        print(json.dumps(report.to_json()))
    return 1 if report.violation_count else 0


if __name__ == "__main__":
    sys.exit(main())
