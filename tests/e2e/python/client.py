"""A Driftless client for grid chunks, written from docs/protocol.md and the .proto files alone. Run as a program it
edits a chunk of a real world, breaks its connections, and checks what it was promised (scenario.py):

    python client.py --ingest http://127.0.0.1:8080 --gateway http://127.0.0.1:8080 --token TOKEN
"""
import collections, contextlib, socket, struct, sys, time
import blake3, zstandard
from protocol import log, model, wire
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


class Client:
    def __init__(self, ingest, gateway, token, chunk):
        self.services, self.token, self.chunk = {"ingest": ingest, "gateway": gateway}, token, chunk
        self.session, self.writer, self.cells, self.version, self.tracked = b"", b"", None, -1, None
        self.seq, self.resolved, self.open, self.sent = 0, 0, {}, collections.Counter()
        self.outcomes, self.receipts, self.moved, self.polled = {}, set(), 0.0, ""
        self.commits, self.compared = collections.Counter(), collections.Counter()

    def connect(self):  # section 5: the first Welcome gives the session, the second Hello carries it
        self.sockets, self.tracked, self.closing = {}, None, contextlib.ExitStack()
        for service, base in self.services.items():
            url, protocol = f"{base.replace('http', 'ws', 1)}/v1/{service}", f"driftless.{service}.v1"
            ws = connect(url, subprotocols=[protocol], max_size=8 << 20, compression=None)
            self.sockets[service] = self.closing.enter_context(ws)
            models, self.welcome = [wire.ModelRevision(id="grid", revision=1)], None
            self.send(service, wire.Request(hello=wire.Hello(token=self.token, session=self.session, models=models)))
            self.until(lambda: self.welcome)
        self.transmit()  # on a new connection; what was decided already is not decided again
        have = self.cells and wire.Have(version=self.version, hash=blake3.blake3(self.cells).digest())
        self.send("gateway", wire.Request(track=wire.Track(chunk_id=self.chunk, have=have)))
        self.until(lambda: self.tracked is not None and self.version >= self.tracked)

    def cut(self):  # without a goodbye: what is on its way arrives or not
        [ws.socket.shutdown(socket.SHUT_RDWR) for ws in self.sockets.values()]
        self.closing.close()

    def send(self, service, *requests):
        with contextlib.suppress(ConnectionClosed):  # it is lost, and sent again on the next connection
            self.sockets[service].send(wire.ClientFrame(requests=requests).SerializeToString())

    def submit(self, *commands):  # section 11: the next numbers, all in one message; nobody waits for anything
        first = self.seq + 1
        for self.seq, command in enumerate(commands, first):
            self.open[self.seq] = command.SerializeToString()
        assert self.seq - min(self.open) < 63, "the window"
        self.transmit(first)
        return range(first, self.seq + 1)

    def transmit(self, first=0):  # what is undecided, from the oldest, `after` computed anew
        requests, after, self.moved = [], self.resolved, time.monotonic()
        for seq in sorted(seq for seq in self.open if seq > self.resolved):
            if seq >= first:
                submit = wire.Submit(chunk_id=self.chunk, seq=seq, after=after, command=self.open[seq])
                requests, self.sent[seq] = [*requests, wire.Request(submit=submit)], self.sent[seq] + 1
            after = seq
        if requests:
            self.send("ingest", *requests)

    def conclude(self, seq, outcome, is_decided=True):  # section 12: the first conclusion stands
        self.open.pop(seq, None)
        self.outcomes.setdefault(seq, outcome)
        if is_decided and seq > self.resolved:
            self.resolved, self.moved = seq, time.monotonic()

    def until(self, is_done, seconds=20):
        end = time.monotonic() + seconds
        while not is_done():  # asked after each message
            if time.monotonic() > end:
                raise TimeoutError(f"at version {self.version}, undecided {list(self.open)}, outcomes {self.outcomes}")
            if self.open and time.monotonic() > self.moved + 3:
                self.transmit()
            self.polled = "gateway" if len(self.sockets) > 1 and self.polled == "ingest" else "ingest"
            with contextlib.suppress(TimeoutError):
                frame = wire.ServerFrame.FromString(self.sockets[self.polled].recv(timeout=0.005))
                for event in frame.events:
                    if kind := event.WhichOneof("body"):  # an event that is not known is ignored
                        getattr(self, "on_" + kind, lambda *_: None)(getattr(event, kind), self.polled)

    def compare(self, where, version, expected):  # R10: at the same version, the same hash
        if version == self.version:
            assert blake3.blake3(self.cells).digest() == expected, f"{where}: drift at version {version}"
            self.compared[where] += 1

    def on_welcome(self, m, _):
        self.welcome, self.session, self.writer = m, m.session, m.writer

    def on_ping(self, m, service):
        self.send(service, wire.Request(pong=wire.Pong(nonce=m.nonce)))

    def on_refused(self, m, service):
        raise RuntimeError(f"{service} refused a request: {m.message}")

    def on_track_rejected(self, m, _):
        raise RuntimeError(f"{self.chunk} is not tracked: {m.message}")

    def on_tracked(self, m, _):
        self.tracked = m.version
        self.compare("Tracked", m.version, m.hash)
        for seq in sorted(self.open):
            distance = m.ledger.seq - seq
            if m.HasField("expired") or distance >= 64:
                self.conclude(seq, "unknown", is_decided=False)
            elif distance >= 0:
                self.conclude(seq, "committed" if m.ledger.committed_bits >> distance & 1 else "discarded")
        self.transmit()

    def on_chunk(self, m, _):
        content = zstandard.ZstdDecompressor(max_window_size=8 << 20).stream_reader(m.data).read((1 << 20) + 1)
        assert blake3.blake3(content).digest() == m.hash and content[:4] == b"DLG1", "a Chunk that is not its hash"
        if m.version > self.version:
            self.cells, self.version = bytearray(content), m.version
            self.compared["Chunk"] += 1

    def on_updates(self, data, _):
        m = log.Updates.FromString(data)
        assert m.first_version <= self.version + 1, "a gap"
        for version, entry in enumerate(m.entries, m.first_version):
            if version > self.version:
                self.fold(model.GridCommand.FromString(entry.effect))
                self.version = version
                self.commits[entry.writer, entry.seq] += 1
            if entry.writer == self.writer:
                self.conclude(entry.seq, "committed")
        self.compare("Updates", m.first_version + len(m.entries) - 1, m.state_hash)

    def fold(self, command):  # section 9: a header of 12 bytes, then a u16 for each cell, x fastest
        (width, height), fill = struct.unpack_from("<2H", self.cells, 4), command.fill
        changes = zip(command.set.cells, command.set.values)
        if command.HasField("fill"):
            xs, ys, zs = (range(a, a + max(n, 1)) for a, n in ((fill.x, fill.width), (fill.y, fill.height), (fill.z, fill.depth)))
            changes = ((x + width * (y + height * z), fill.value) for z in zs for y in ys for x in xs)
        for cell, value in changes:
            struct.pack_into("<H", self.cells, 12 + 2 * cell, value)

    def on_outcomes(self, m, _):
        for outcome in m.outcomes:
            if outcome.HasField("discarded"):
                self.conclude(outcome.seq, "discarded: " + log.DiscardReason.Name(outcome.discarded.reason)[15:])
            elif outcome.HasField("out_of_order") and outcome.seq in self.open and time.monotonic() > self.moved + 0.25:
                self.transmit()

    def on_beacons(self, m, _):
        [self.compare("Beacon", beacon.version, beacon.hash) for beacon in m.beacons]

    def on_receipt(self, m, _):  # no decision
        self.receipts.add(m.seq)

    def on_rejected(self, m, _):
        if m.retry == wire.RETRY_FINAL and self.sent[m.seq] == 1:  # a final no to the only transmission
            self.conclude(m.seq, "rejected: " + wire.RejectCode.Name(m.code)[12:], is_decided=False)
        time.sleep(m.retry_after_ms / 1000)
        self.transmit()


if __name__ == "__main__":
    import scenario
    sys.exit(scenario.main(Client, __doc__))
