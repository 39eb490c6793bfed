"""Checks docs/protocol.md against the .proto files: the bytes of its example, its hashes, and the codes in its tables.

    python check_example.py
"""
import re, struct, sys
import blake3
from protocol import CODE, DOCUMENT, log, model, wire

text, results = DOCUMENT.read_text(), []


def check(what, is_true, seen=""):
    results.append(bool(is_true))
    print("ok    " if is_true else "FAILED", what, "" if is_true else seen)


def example(name):
    block = re.search(rf"^```hex {name}\n(.*?)^```", text, re.M | re.S).group(1)
    return bytes.fromhex("".join(line.split("#")[0] for line in block.splitlines()))


def named(pattern):
    return bytes.fromhex(re.search(pattern, " ".join(text.split())).group(1).replace(" ", ""))


models = [wire.ModelRevision(id="grid", revision=1), wire.ModelRevision(id="map", revision=1)]
hello = wire.ClientFrame(requests=[wire.Request(hello=wire.Hello(token="a.b.c", models=models))])
check("Hello", example("hello") == hello.SerializeToString(), hello.SerializeToString().hex(" "))

command = model.GridCommand(set=model.SetCells(cells=[0, 129], values=[7, 200])).SerializeToString()
submit = wire.ClientFrame(requests=[wire.Request(submit=wire.Submit(chunk_id="canvas/0/0", seq=1, command=command))])
check("Submit", example("submit") == submit.SerializeToString(), submit.SerializeToString().hex(" "))

session = named(r"gives the session `([0-9a-f]{32})`")
writer = session[:6] + blake3.blake3(session + b"ann").digest()[:10]
check("the writer id", named(r"the writer id is `([0-9a-f]{32})`") == writer, writer.hex())
cells = bytearray(b"DLG1" + struct.pack("<4H", 128, 128, 1, 0) + bytes(2 * 128 * 128))
check("the empty grid", named(r"32,780 bytes with the hash `([0-9a-f]{64})`") == blake3.blake3(cells).digest())
for cell, value in ((0, 7), (129, 200)):
    struct.pack_into("<H", cells, 12 + 2 * cell, value)
entry = log.Entry(writer=writer, seq=1, effect=command)
updates = log.Updates(chunk_id="canvas/0/0", first_version=1, entries=[entry], state_hash=blake3.blake3(cells).digest())
frame = wire.ServerFrame(events=[wire.Event(updates=updates.SerializeToString())]).SerializeToString()
check("Updates", example("updates") == frame, frame.hex(" "))
check("frames may be concatenated", len(wire.ClientFrame.FromString(example("hello") + example("submit")).requests) == 2)

check("the empty map", named(r"empty map has the hash `([0-9a-f]{64})`") == blake3.blake3(b"DLM1" + bytes(4)).digest())
door = named(r"`door` = `open` is `([0-9a-f ]+)`")
check("a map", door == b"DLM1" + struct.pack("<IH4sI4s", 1, 4, b"door", 4, b"open"), door.hex(" "))
check("its hash", named(r"6f70656e` with the hash `([0-9a-f]{64})`") == blake3.blake3(door).digest())

for enum in (wire.RefusalCode, wire.RejectCode, wire.TrackRejectCode, wire.Retry):
    prefix = enum.Name(0).removesuffix("UNSPECIFIED")
    for name, number in list(enum.items())[1:]:
        short = name if enum is wire.Retry else name.removeprefix(prefix)
        check(f"{name} stands there as {number}", f"`{short}` ({number})" in text)
for name in list(log.DiscardReason.keys())[1:]:
    check(f"{name} is told", f"`{name.removeprefix('DISCARD_REASON_')}`" in text)
for name, code in re.findall(r"pub const (\w+): u16 = (\d+);", CODE.read_text()):
    check(f"close code {code} ({name}) is told", f"\n| {code} |" in text)

passed, failed = results.count(True), results.count(False)
print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed else 0)
