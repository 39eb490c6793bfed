"""The steps of client.py, and the checks on the way."""
import argparse, json, random, struct
import blake3
from protocol import model

# Ways to send 40 commands and to cut both sockets meanwhile.


def lost(me, commands):
    me.cut()
    return me.submit(*commands)


def on_the_way(me, commands):
    seqs = me.submit(*commands)
    me.cut()
    return seqs


def receipted(me, commands):
    seqs = me.submit(*commands)
    me.until(lambda: me.receipts.intersection(seqs))
    me.cut()
    return seqs


def half_committed(me, commands):
    first = me.submit(*commands[:20])
    me.until(lambda: me.outcomes.get(first[0]))
    second = me.submit(*commands[20:])
    me.cut()
    return [*first, *second]


def main(Client, about):
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ingest", required=True, help="base URL of an ingest")
    parser.add_argument("--gateway", required=True, help="base URL of a gateway")
    parser.add_argument("--token", required=True, help="must give write access to the chunk")
    parser.add_argument("--chunk", help="a chunk of a grid of at least 64 cells and 256 values that nobody else edits")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    args = parser.parse_args()
    chunk = args.chunk or f"canvas/{random.randint(-999, 999)}/{random.randint(-999, 999)}"
    me, watcher = (Client(args.ingest, args.gateway, args.token, chunk) for _ in range(2))
    results = []

    def check(what, is_true, seen=""):
        results.append(bool(is_true))
        print("ok    " if is_true else "FAILED", what, f"({seen})" if seen != "" else "", flush=True)

    try:
        play(me, watcher, check)
    except Exception as error:
        check("to the end", False, f"{type(error).__name__}: {error}")
    passed, failed = results.count(True), results.count(False)
    print(f"{passed} passed, {failed} failed")
    if args.json:
        print(json.dumps({"passed": passed, "failed": failed, "chunk": chunk, "version": me.version}))
    return 1 if failed else 0


def put(cell, value, guard=None):
    guards = [] if guard is None else [guard + 1]
    return model.GridCommand(set=model.SetCells(cells=[cell], values=[value], guards=guards))


def play(me, watcher, check):
    def cell(i):
        return struct.unpack_from("<H", me.cells, 12 + 2 * i)[0]

    def edit(*commands):
        seqs = me.submit(*commands)
        me.until(lambda: not me.open)
        return [me.outcomes[seq] for seq in seqs]

    watcher.connect()
    me.connect()
    start = me.version
    families = ", ".join(family.name for family in me.welcome.families)
    check("Hello to both services", me.session != watcher.session and families, f"world {me.welcome.world}: {families}")
    check("Tracked, and a Chunk that is its hash", me.compared["Chunk"] == 1, f"{me.chunk} at version {start}")

    outcomes = edit(*(put(i, 1 + i) for i in range(50)))
    check("50 commands in one message: all committed", outcomes == ["committed"] * 50)
    check("versions without a gap, cells painted", me.version == start + 50 and [cell(i) for i in range(50)] == [*range(1, 51)])

    outcomes = edit(put(0, 77, guard=200), put(1, 88, guard=2))
    check("a guard that does not hold: discarded", outcomes[0] == "discarded: CONFLICT" and cell(0) == 1, outcomes[0])
    check("a guard that holds: committed", outcomes[1] == "committed" and cell(1) == 88)

    box = model.GridCommand(fill=model.FillBox(x=5, y=0, width=3, value=9))
    outcomes = edit(put(2, 3), put(3, 65535), put(4, 5), box)
    check("a value off the palette: rejected", outcomes[1] == "rejected: BAD_COMMAND", outcomes[1])
    check("what was sent with it: committed", outcomes[:1] + outcomes[2:] == ["committed"] * 3 and cell(7) == 9)

    for cut in (lost, on_the_way, receipted, half_committed):
        before, session = me.version, me.session
        seqs = cut(me, [put(i, 100 + i) for i in range(40)])
        undecided, what = len(me.open), cut.__name__.replace("_", " ")
        me.connect()
        me.until(lambda: not me.open and me.version >= before + 40)
        sent = sum(me.sent[seq] for seq in seqs)
        check(f"both sockets cut, {what}: every command has its outcome", [me.outcomes[seq] for seq in seqs] == ["committed"] * 40,
              f"{undecided} were undecided; {sent} transmissions")
        check("… committed once each, in the same session", me.version == before + 40 and me.session == session and sent >= 40 + undecided)

    me.until(lambda: me.compared["Beacon"])
    watcher.until(lambda: watcher.version >= me.version)
    committed = {(me.writer, seq): 1 for seq, outcome in me.outcomes.items() if outcome == "committed"}
    check("another client saw each commit exactly once", watcher.commits == committed, f"{len(committed)} commits")
    check("both replicas hold the same bytes", watcher.cells == me.cells, f"{me.version}: {blake3.blake3(me.cells).hexdigest()}")
    kinds = ("Chunk", "Tracked", "Updates", "Beacon")
    check("their hashes were compared all along", all(me.compared[kind] for kind in kinds), dict(me.compared))
