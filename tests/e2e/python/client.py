"""A Driftless client for grid chunks, written from docs/protocol.md and the .proto files alone; see README.md beside it.

    python client.py --ingest http://127.0.0.1:8080 --gateway http://127.0.0.1:8080 --token TOKEN
"""
import argparse, collections, json, pathlib, random, socket, struct, sys, tempfile, time
import blake3, zstandard
from grpc_tools import protoc
from websockets.sync.client import connect

proto, made = pathlib.Path(__file__).resolve().parents[3] / "schemas/proto", tempfile.TemporaryDirectory()
if protoc.main(["", f"-I{proto}", f"--python_out={made.name}", *map(str, proto.glob("driftless/v1/*.proto"))]):
    sys.exit(f"the .proto files in {proto} do not compile")
sys.path.insert(0, made.name)
from driftless.v1 import log_pb2 as log, model_pb2 as model, wire_pb2 as wire


class Client:
    def __init__(self, args, chunk):
        self.args, self.chunk, self.session, self.writer = args, chunk, b"", b""
        self.cells, self.version, self.tracked, self.verified = None, -1, None, collections.Counter()
        self.seq, self.resolved, self.open, self.sent = 0, 0, {}, collections.Counter()
        self.outcomes, self.receipts, self.entries, self.moved = {}, set(), collections.Counter(), time.monotonic()

    def connect(self):  # sections 3, 5: the first Welcome gives the session, the second Hello carries it
        self.ws, self.tracked = {}, None
        for service, base in (("ingest", self.args.ingest), ("gateway", self.args.gateway)):
            url, protocol = base.replace("http", "ws", 1) + "/v1/" + service, f"driftless.{service}.v1"
            self.ws[service] = connect(url, subprotocols=[protocol], max_size=8 << 20, compression=None)
            self.welcome = None
            grid = wire.ModelRevision(id="grid", revision=1)
            self.send(service, hello=wire.Hello(token=self.args.token, session=self.session, models=[grid]))
            self.until(lambda: self.welcome)
        have = self.cells and wire.Have(version=self.version, hash=blake3.blake3(self.cells).digest())
        self.send("gateway", track=wire.Track(chunk_id=self.chunk, have=have))
        self.until(lambda: self.tracked is not None and self.version >= self.tracked)

    def cut(self):  # no close frame, nothing: what was on its way may or may not arrive
        for ws in self.ws.values():
            ws.socket.shutdown(socket.SHUT_RDWR)

    def send(self, service, *requests, **body):
        frame = wire.ClientFrame(requests=requests or [wire.Request(**body)])
        self.ws[service].send(frame.SerializeToString())

    def submit(self, *commands):  # section 11: new numbers, all in one message, nobody waits
        first = self.seq + 1
        for command in commands:
            self.seq += 1
            self.open[self.seq] = command.SerializeToString()
        assert self.seq - min(self.open) < 63, "the window"
        self.transmit(first)
        return range(first, self.seq + 1)

    def transmit(self, first=0):  # what is undecided, from the oldest, with `after` computed anew
        requests, after, self.moved = [], self.resolved, time.monotonic()
        for seq, command in sorted(self.open.items()):
            if seq >= first:
                self.sent[seq] += 1
                submit = wire.Submit(chunk_id=self.chunk, seq=seq, after=after, command=command)
                requests.append(wire.Request(submit=submit))
            after = seq
        if requests:
            self.send("ingest", *requests)

    def conclude(self, seq, outcome, is_decision=True):  # the first conclusion stands
        self.open.pop(seq, None)
        self.outcomes.setdefault(seq, outcome)
        if is_decision:
            self.resolved, self.moved = max(self.resolved, seq), time.monotonic()

    def until(self, condition, seconds=20):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"version {self.version}, undecided {sorted(self.open)}, {self.outcomes}")
            if self.open and time.monotonic() > self.moved + 3:
                self.transmit()
            for service, ws in self.ws.items():
                try:
                    frame = wire.ServerFrame.FromString(ws.recv(timeout=0.005))
                except TimeoutError:
                    continue
                for event in frame.events:
                    if kind := event.WhichOneof("body"):
                        getattr(self, "on_" + kind, lambda *_: None)(service, getattr(event, kind))

    def compare(self, where, version, expected):  # section 9, R10: at the same version, the same hash
        if version == self.version:
            assert blake3.blake3(self.cells).digest() == expected, f"{where}: drift at version {version}"
            self.verified[where] += 1

    def on_welcome(self, _, m):
        self.welcome, self.session, self.writer = m, m.session, m.writer

    def on_ping(self, service, m):
        self.send(service, pong=wire.Pong(nonce=m.nonce))

    def on_refused(self, service, m):
        raise RuntimeError(f"{service} refused: {m.message}")

    def on_track_rejected(self, _, m):
        raise RuntimeError(f"not tracked: {m.message}")

    def on_tracked(self, _, m):
        self.tracked = m.version
        self.compare("Tracked", m.version, m.hash)
        for seq in sorted(self.open):
            if m.HasField("expired"):
                self.conclude(seq, "unknown", False)
            elif (distance := m.ledger.seq - seq) >= 0:
                known = "committed" if m.ledger.committed_bits >> distance & 1 else "discarded"
                self.conclude(seq, known if distance < 64 else "unknown")
        self.transmit()

    def on_chunk(self, _, m):
        content = zstandard.ZstdDecompressor(max_window_size=8 << 20).stream_reader(m.data).read((1 << 20) + 1)
        assert blake3.blake3(content).digest() == m.hash and content[:4] == b"DLG1", "a Chunk that is not its hash"
        self.verified["Chunk"] += 1
        if m.version > self.version:
            self.cells, self.version = bytearray(content), m.version

    def on_updates(self, _, data):
        m = log.Updates.FromString(data)
        assert m.first_version <= self.version + 1, "a gap: Track again"
        for version, entry in enumerate(m.entries, m.first_version):
            if version == self.version + 1:
                self.fold(model.GridCommand.FromString(entry.effect))
                self.version = version
                self.entries[entry.writer, entry.seq] += 1
            if entry.writer == self.writer:
                self.conclude(entry.seq, "committed")
        self.compare("Updates", m.first_version + len(m.entries) - 1, m.state_hash)

    def fold(self, command):  # model grid: 12 bytes of header, then a u16 for each cell, x fastest
        width, height, _ = struct.unpack_from("<3H", self.cells, 4)
        cells, f = list(zip(command.set.cells, command.set.values)), command.fill
        if command.HasField("fill"):
            ranges = [range(a, a + max(n, 1)) for a, n in ((f.x, f.width), (f.y, f.height), (f.z, f.depth))]
            cells = [(x + width * (y + height * z), f.value) for z in ranges[2] for y in ranges[1] for x in ranges[0]]
        for cell, value in cells:
            struct.pack_into("<H", self.cells, 12 + 2 * cell, value)

    def on_outcomes(self, _, m):
        for outcome in m.outcomes:
            if outcome.HasField("discarded"):
                reason = log.DiscardReason.Name(outcome.discarded.reason).removeprefix("DISCARD_REASON_")
                self.conclude(outcome.seq, f"discarded: {reason}")
            elif outcome.HasField("out_of_order") and outcome.seq in self.open and time.monotonic() > self.moved + 0.25:
                self.transmit()

    def on_beacons(self, _, m):
        for beacon in m.beacons:
            self.compare("Beacon", beacon.version, beacon.hash)

    def on_receipt(self, _, m):
        self.receipts.add(m.seq)

    def on_rejected(self, _, m):
        if m.retry == wire.RETRY_FINAL and self.sent[m.seq] == 1:  # a final no to its only transmission
            self.conclude(m.seq, "rejected: " + wire.RejectCode.Name(m.code).removeprefix("REJECT_CODE_"), False)
        time.sleep(m.retry_after_ms / 1000)
        self.transmit()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ingest", required=True, help="base URL of an ingest")
    parser.add_argument("--gateway", required=True, help="base URL of a gateway")
    parser.add_argument("--token", required=True, help="may write the chunk")
    parser.add_argument("--chunk", default=f"canvas/{random.randint(-999, 999)}/{random.randint(-999, 999)}")
    parser.add_argument("--json", action="store_true", help="end with a line of JSON")
    args, results = parser.parse_args(), []

    def check(what, is_true, seen=""):
        results.append(bool(is_true))
        print("ok    " if is_true else "FAILED", what, seen)

    def put(cell, value, guard=None):
        guards = [] if guard is None else [guard + 1]
        return model.GridCommand(set=model.SetCells(cells=[cell], values=[value], guards=guards))

    watcher, me = Client(args, args.chunk), Client(args, args.chunk)
    watcher.connect(), me.connect()
    start, size = me.version, struct.unpack_from("<3H", me.cells, 4)
    cell = lambda i: struct.unpack_from("<H", me.cells, 12 + 2 * i)[0]
    check("Hello to both services, Tracked, and a Chunk that is its hash", me.verified["Chunk"] == 1, f"{args.chunk} {size}")

    burst = me.submit(*(put(i, 1 + i) for i in range(50)))
    me.until(lambda: not me.open)
    check("50 commands in one message are committed, in order", all(me.outcomes[s] == "committed" for s in burst))
    check("versions are dense and the cells are painted", me.version == start + 50 and all(cell(i) == 1 + i for i in range(50)))

    me.submit(put(0, 77, guard=200), put(1, 88, guard=2))
    me.until(lambda: not me.open)
    check("a guard that does not hold is discarded", me.outcomes[51] == "discarded: CONFLICT" and cell(0) == 1, me.outcomes[51])
    check("a guard that holds is committed", me.outcomes[52] == "committed" and cell(1) == 88)

    me.submit(put(2, 3), put(3, 60000), put(4, 5), model.GridCommand(fill=model.FillBox(x=5, y=1, width=3, height=2, value=9)))
    me.until(lambda: not me.open)
    check("a value off the palette is rejected by ingest", me.outcomes[54] == "rejected: BAD_COMMAND", me.outcomes[54])
    check("what stood behind it was sent again and is committed", [me.outcomes[s] for s in (53, 55, 56)] == ["committed"] * 3)

    moments = {"after sending": lambda s: True, "after a receipt": lambda s: me.receipts & set(s), "after a commit": lambda s: s[0] in me.outcomes}
    for moment, is_reached in moments.items():
        before, session = me.version, me.session
        again = me.submit(*(put(i, 100 + i % 100) for i in range(40)))
        me.until(lambda: is_reached(again))
        left = len(me.open)
        me.cut()
        me.connect()
        me.until(lambda: not me.open)
        me.until(lambda: me.version >= before + 40)
        check(f"cut {moment}, {left} of 40 undecided: each has one outcome", all(me.outcomes[s] == "committed" for s in again))
        check("… and is committed once, in the same session", me.version == before + 40 and me.session == session)

    me.until(lambda: me.verified["Beacon"])
    watcher.until(lambda: watcher.version == me.version)
    committed = {(me.writer, s): 1 for s, outcome in me.outcomes.items() if outcome == "committed"}
    check("another client saw each commit exactly once", watcher.entries == committed and len(committed) == me.version - start)
    check("both replicas have the same bytes", watcher.cells == me.cells, blake3.blake3(me.cells).hexdigest())
    check("hashes were compared all along", all(me.verified[k] for k in ("Chunk", "Tracked", "Updates", "Beacon")), dict(me.verified))
    passed, failed = results.count(True), results.count(False)
    print(f"{passed} passed, {failed} failed")
    if args.json:
        print(json.dumps({"passed": passed, "failed": failed, "chunk": args.chunk, "version": me.version}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
