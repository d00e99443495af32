"""PostgreSQL connections that give up a silent server. Imports psycopg and SQLAlchemy.

The server's own limits don't help where its answer gets lost: a proxy or a firewall that keeps the connection open and passes
nothing on. The client library would wait for ever.
"""

from datetime import timedelta
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.rows import TupleRow
from sqlalchemy import Engine, event

Value = TypeVar("Value")

#: How much longer than the server's own limit: its answer says more than silence.
_GRACE = timedelta(seconds=2)


def connect_bounded(engine: Engine, timeout_for: timedelta) -> None:
    """Make each connection of an engine fail, and close, where the server is silent for longer than it may work on a statement."""
    silence = (timeout_for + _GRACE).total_seconds()

    class Bounded(psycopg.Connection[TupleRow]):
        def wait(self, gen: PQGen[Value], interval: float = 0.1, timeout: float | None = None) -> Value:
            try:
                return super().wait(gen, interval, silence if timeout is None else timeout)
            except psycopg.errors._WaitTimeout:  # noqa: SLF001 - its base class is every operational error
                self.pgconn.finish()  # what state it is in is not known: nobody must go on with it
                said = psycopg.OperationalError("the server is silent")
            raise said

    def connect(_dialect: object, _record: object, arguments: tuple[Any, ...], named: dict[str, Any]) -> Bounded:
        return Bounded.connect(*arguments, **named)

    event.listen(engine, "do_connect", connect)
