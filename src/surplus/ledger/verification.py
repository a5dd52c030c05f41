"""Checks the books while they grow: the log page by page, then what is left of it and the projections on one snapshot.

Entries are never changed, so pages of the log may be read one transaction after the other. Nobody waits for a check,
and none holds a snapshot for longer than it takes to compare the balances.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final, Protocol, TypeVar

from surplus.kit.db import ReadSession
from surplus.ledger import store
from surplus.ledger.audit import Audit
from surplus.ledger.chain import Batch
from surplus.ledger.checkpoint import Checkpoint
from surplus.ledger.errors import LedgerBroken
from surplus.ledger.model import Verification

T = TypeVar("T")

PAGE: Final = store.PAGE


class Reader(Protocol):
    """`Database.read_now`, or one session that is open already."""

    def __call__(self, function: Callable[..., T], *args: Any) -> T:
        """Call `function(session, *args)`."""
        ...


Beside = Callable[[ReadSession], Iterable[str]]
"""Looks at what has to agree with the ledger; tells problems."""


class _Links:
    """The hash chain, fetched as it is needed; asked again at its end, it looks again."""

    def __init__(self, read: Reader, after: int) -> None:
        self.read = read
        self._after = after
        self._some: list[Batch] = []

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if not self._some:
            self._some = self.read(store.batch_page, self._after)[::-1]
        if not self._some:
            raise StopIteration
        batch = self._some.pop()
        self._after = max(self._after, batch.last_seq)
        return batch


class Verifier:
    """One check of the books, from the beginning of the log or from behind a checkpoint."""

    def __init__(
        self,
        read: Reader,
        *,
        start: Checkpoint | None = None,
        page: int = PAGE,
        pause: Callable[[], None] = lambda: None,
        beside: Iterable[Beside] = (),
    ) -> None:
        """`page` entries are read at a time, with a `pause` between; it may raise to give the check up."""
        self._read = read
        self._start = start
        self._audit = Audit(start)
        self._links = _Links(read, self._audit.state.seq)
        self._page = page
        self._pause = pause
        self._beside = tuple(beside)
        self._checkpoint: bytes | None = None

    def run(self, *, full_at: float = 0.0) -> tuple[Verification, bytes | None]:
        """What was found, and (only if all is well) a checkpoint to go on from; `full_at` is kept in that."""
        try:
            self._same_past()
            self._walk()
            self._read(self._finish, full_at)
        except LedgerBroken as error:  # a row that cannot even be read
            self._audit.note(error.message)
        found = self._audit.verdict()
        return found, self._checkpoint if found.ok else None

    def _same_past(self) -> None:
        if self._start is None or not self._start.state.seq:
            return
        seq = self._start.state.seq
        batch = self._read(store.batch_ending, seq)
        if batch is None or batch.hash != self._start.hash:
            before = f"seq {seq}: the log is not the one that was checked up to here before"
            self._audit.note(f"{before}: its past was rewritten, or another database was put in its place")

    def _walk(self) -> None:
        """The log up to about its end."""
        while page := self._read(store.log_page, self._audit.state.seq, self._page):
            self._audit.read(page, self._links)
            self._compare_ended(self._read)
            self._pause()
            if len(page) < self._page:
                return

    def _finish(self, session: ReadSession, full_at: float) -> None:
        """What has been written since, and everything that the log comes to, on one snapshot."""

        def read(function: Callable[..., T], *args: Any) -> T:
            return function(session, *args)

        self._links.read = read
        for page in store.log_pages(session, self._audit.state.seq):
            self._audit.read(page, self._links)
            self._compare_ended(read)
        self._audit.finish(self._links)
        self._audit.compare_held()
        self._checkpoint = self._audit.checkpoint(full_at)
        self._compare_projections(session, read)
        for look in self._beside:
            for problem in islice(look(session), PAGE):
                self._audit.note(problem)

    def _compare_ended(self, read: Reader) -> None:
        ended = self._audit.ended()
        self._audit.compare_holds(ended, read(store.holds, ended))

    def _compare_projections(self, session: ReadSession, read: Reader) -> None:
        rest = list(self._audit.state.holds)
        self._audit.compare_holds(rest, read(store.holds, rest))
        for accounts in store.account_pages(session, self._page):
            self._audit.compare_accounts(accounts)
            self._pause()
        self._audit.compare_rest()
        self._audit.compare_slices(store.all_slices(session), store.slice_scopes(session))
        # The unique index forbids keys that are used twice; only whoever reads it all looks behind it.
        twice = store.keys_used_twice(session) if self._start is None else []
        self._audit.compare_counts(store.hold_count(session), twice)
