"""The messages of schemas/proto as Python classes. They are made at run time, in a folder that is
removed when the process ends.

Protobuf skips unknown fields, which a reader of the topics must not do. A reader that skips what a
newer version wrote sees another history than all other readers (protocol.md, section 15). So
`decode_known` refuses a message that has unknown fields.
"""

import atexit
import pathlib
import sys
import tempfile

from google.protobuf.message import DecodeError
from grpc_tools import protoc

PROTO = pathlib.Path(__file__).resolve().parents[3] / "schemas/proto"

_made = tempfile.TemporaryDirectory(prefix="driftless-messages-")
atexit.register(_made.cleanup)
if protoc.main(["", f"-I{PROTO}", f"--python_out={_made.name}", *map(str, sorted(PROTO.glob("driftless/v1/*.proto")))]):
    sys.exit(f"the .proto files in {PROTO} do not compile")
sys.path.insert(0, _made.name)
from driftless.v1 import log_pb2 as log, model_pb2 as model, store_pb2 as store  # noqa: F401

REASONS = {number: name.removeprefix("DISCARD_REASON_") for name, number in log.DiscardReason.items() if number}


class Unreadable(Exception):
    """The error for bytes that are not the expected message."""


def decode(kind, value):
    """Decodes a message and skips its unknown fields. Only for messages that any client may have
    written, such as records of `commands`."""
    try:
        return kind.FromString(value)
    except DecodeError as e:
        raise Unreadable(f"not a {kind.DESCRIPTOR.name}: {e}") from e


def decode_known(kind, value):
    """Decodes a message, and raises `Unreadable` if it has unknown fields. Our writers encode every
    message in one way. So if a message gets shorter without its unknown fields, it had some."""
    message = decode(kind, value)
    message.DiscardUnknownFields()
    if message.ByteSize() != len(value):
        raise Unreadable(f"this {kind.DESCRIPTOR.name} has fields or a body that this checker does not know: update it")
    return message
