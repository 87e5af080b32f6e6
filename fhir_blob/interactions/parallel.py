"""Several calls at once, for those that wait for S3: few helpers a process, so that no transaction takes them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock, Semaphore, Thread
from typing import Generic, TypeVar

T = TypeVar("T")

# Beside the thread that asks. Each may hold a connection to the database and one to S3.
HELPERS = 7
_free = Semaphore(HELPERS)


def each(work: Callable[[T], None], given: Sequence[T]) -> None:
    """`work` on each of those given, begun in their order, as many at once as there are helpers free.

    Where one fails no other is begun; once those under way have ended the failure of the first in order is raised.
    """
    calls = _Calls(work, given)
    with _helpers(len(given) - 1) as count:
        threads = [Thread(target=calls.run, name="helper", daemon=True) for _ in range(count)]
        for thread in threads:
            thread.start()
        try:
            calls.run()
        finally:
            calls.stop()
            for thread in threads:
                thread.join()
    calls.tell()


class _Calls(Generic[T]):
    def __init__(self, work: Callable[[T], None], given: Sequence[T]) -> None:
        self._work = work
        self._left = iter(enumerate(given))
        self._turn = Lock()
        self._failures: dict[int, BaseException] = {}
        self._stopped = False

    def run(self) -> None:
        while (call := self._next()) is not None:
            number, given = call
            try:
                self._work(given)
            except BaseException as error:  # noqa: BLE001 - it is raised in the thread that asked
                self._failures[number] = error
                self.stop()

    def stop(self) -> None:
        self._stopped = True

    def tell(self) -> None:
        if self._failures:
            raise self._failures[min(self._failures)]

    def _next(self) -> tuple[int, T] | None:
        with self._turn:
            return None if self._stopped else next(self._left, None)


@contextmanager
def _helpers(wanted: int) -> Iterator[int]:
    """How many helpers are free, of those wanted, and taken until the end."""
    taken = 0
    try:
        while taken < wanted and _free.acquire(blocking=False):
            taken += 1
        yield taken
    finally:
        for _ in range(taken):
            _free.release()
