"""The states of a chunk in a lost history, from which a new history may begin.

If `updates` is lost, the next owner begins with the newest stored state of each chunk. `commands` is read from its
beginning again, so commands whose decisions are lost are decided anew. The new history must begin with a state that the
lost history had, and the checker knows these: each ref that the lost log announced, and the state at its end. The owner
may have stored the latter without a notice in the log. A chunk that was never stored begins anew at version 0.
"""

from ledger import Ledger
from messages import store as stored_messages
from store import Damaged, Missing


class History:
    """A chunk at the end of a lost history. `version` is its last version."""

    def __init__(self, chunk, store):
        self.version, self._chunk, self._store = chunk.version, chunk, store

    def at(self, version):
        """Returns (ref, content) of the newest stored state with this version, or None if there was none."""
        chunk, model = self._chunk, self._chunk.place.model
        if version == self.version:
            return self._ref(version, model.hash(chunk.content), chunk.through, chunk.ledger), chunk.content
        if version == 0:
            return self._ref(0, model.hash(model.initial()), -1, Ledger()), model.initial()
        for ref in reversed(chunk.announced):
            if ref.version == version and self._store is not None:
                try:
                    return ref, model.decode(self._store.load(ref))
                except (Missing, Damaged):
                    continue
        return None

    @staticmethod
    def _ref(version, content_hash, through, ledger):
        stored = ledger.to_ref(stored_messages.Ledger)
        return stored_messages.Ref(version=version, hash=content_hash, through_offset=through, ledger=stored)
