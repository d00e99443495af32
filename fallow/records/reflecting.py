"""What a database tells of its tables, without one that it does not tell of ending the look. Imports its neighbours and SQLAlchemy."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from sqlalchemy import Inspector
from sqlalchemy.engine.reflection import ObjectKind, ObjectScope
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from fallow.records.doubts import Doubt

Told = TypeVar("Told")


def of_tables(
    inspector: Inspector, schema: str | None, ask: Callable[..., dict[Any, Told]]
) -> Iterator[tuple[str, Told | SQLAlchemyError]]:
    """Yield each table of a schema with what ``ask``, a ``get_multi_…`` of the inspector, tells of it, or with why it does not."""
    if inspector.dialect.name == "postgresql":  # all at once, from a catalogue that everybody may read
        for (_, name), told in ask(inspector, schema=schema, kind=ObjectKind.TABLE, scope=ObjectScope.DEFAULT).items():
            yield name, told
        return
    for name in inspector.get_table_names(schema):
        answer: Told | SQLAlchemyError
        try:
            (answer,) = ask(inspector, schema=schema, filter_names=[name], kind=ObjectKind.TABLE, scope=ObjectScope.DEFAULT).values()
        except SQLAlchemyError as error:
            answer = error
        except ValueError:
            continue  # gone since it was listed
        yield name, answer


def not_seen(what: str, error: SQLAlchemyError) -> Doubt:
    """Return the doubt about something that the database does not show.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: that very error, where the connection itself is lost.
    """
    if is_lost(error):
        raise error
    remedy = "let the account of the map read it, or see for yourself whether it holds phone numbers."
    return Doubt(f"{what} could not be looked at ({type(error).__name__}).", remedy)


def is_lost(error: SQLAlchemyError) -> bool:
    """Tell whether the connection is lost, so that going on makes no sense."""
    return isinstance(error, DBAPIError) and error.connection_invalidated
