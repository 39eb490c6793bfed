"""The messages of schemas/proto as Python modules, made at run time in a folder that goes away with the process."""
import atexit, pathlib, sys, tempfile
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROTO, DOCUMENT, CODE = ROOT / "schemas/proto", ROOT / "docs/protocol.md", ROOT / "schemas/src/close.rs"

made = tempfile.TemporaryDirectory()
atexit.register(made.cleanup)
if protoc.main(["", f"-I{PROTO}", f"--python_out={made.name}", *map(str, PROTO.glob("driftless/v1/*.proto"))]):
    sys.exit(f"the .proto files in {PROTO} do not compile")
sys.path.insert(0, made.name)
from driftless.v1 import log_pb2 as log, model_pb2 as model, wire_pb2 as wire
