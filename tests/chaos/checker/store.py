"""R7: the name of a snapshot object is the BLAKE3 hash of its content: `snapshots/<hh>/<64 hex>`.
Objects are compressed with zstd.

The checker reads the store as a folder. This is the store's folder of `driftless dev`
(`<data>/store`), or the bucket's folder if the store is versitygw with its posix backend. The
checker writes nothing there.
"""

import pathlib
import re

import blake3
import zstandard

CONTENT_BYTES_MAX = 1 << 20
# A put that was killed leaves a file `<name>#<number>` in a local object store. Such a file is no
# object.
STAGED = re.compile(r"#\d+$")


class Missing(Exception):
    """The object is not there."""


class Damaged(Exception):
    """The object is there, but its content does not fit its name."""


class Store:
    """The folder of an object store. `copies` are folders of copies that other replayers used; each
    has the name of its replayer."""

    def __init__(self, folder, copies=()):
        self.folder = pathlib.Path(folder)
        self._copies = {pathlib.Path(copy).name: Store(copy) for copy in copies}

    def of(self, owner):
        """The store into which the replayer of this name puts its objects."""
        return self._copies.get(owner, self)

    def world(self):
        return self.folder / "world.json"

    def load(self, ref):
        """Loads and verifies the canonical encoding that a ref names. Raises `Missing` or
        `Damaged`."""
        if ref.WhichOneof("location") == "pack":
            data = self._read(ref.pack.key)[ref.pack.offset : ref.pack.offset + ref.pack.len]
        else:
            data = self._read(name_of(ref.hash))
        encoding = _decompress(data)
        found = blake3.blake3(encoding).digest()
        if found != ref.hash:
            raise Damaged(f"the content of {ref.hash.hex()} has the hash {found.hex()}")
        return encoding

    def check_names(self, report):
        """Every object below `snapshots/` is named by its content, whether or not a ref names it."""
        folder = self.folder / "snapshots"
        for path in sorted(folder.rglob("*")):
            if not path.is_file() or STAGED.search(path.name):
                continue
            report.counts["objects_checked"] += 1
            report.progress(f"{report.counts['objects_checked']:,} objects")
            try:
                found = blake3.blake3(_decompress(path.read_bytes())).hexdigest()
            except Damaged as e:
                found = str(e)
            if path.relative_to(self.folder).as_posix() != f"snapshots/{found[:2]}/{found}":
                report.violate("R7", "an object whose name is not the hash of its content", where=str(path), found=found)

    def _read(self, key):
        try:
            return (self.folder / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as e:
            raise Missing(f"{key} is not in {self.folder}") from e


def name_of(content_hash):
    name = content_hash.hex()
    return f"snapshots/{name[:2]}/{name}"


def _decompress(data):
    # Decompresses as a stream, because the frame need not name its size, and a named size is not
    # trusted.
    try:
        reader = zstandard.ZstdDecompressor(max_window_size=8 << 20).stream_reader(data, read_across_frames=True)
        encoding = reader.read(CONTENT_BYTES_MAX + 1)
    except zstandard.ZstdError as e:
        raise Damaged(f"not zstd: {e}") from e
    if len(encoding) > CONTENT_BYTES_MAX:
        raise Damaged("a content of more than 1 MiB")
    return encoding
