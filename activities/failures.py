"""Domain errors as Temporal failures: the type is the error's stable code, the class of retry follows from the error."""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from temporalio.exceptions import ApplicationError

from fallow.domain.errors import FallowError


@contextmanager
def as_failures() -> Iterator[None]:
    """Turn a FallowError into an ApplicationError: retryable or not, without a stack that could carry values.

    Everything unexpected becomes a retryable failure of the type ``unexpected`` that says the exception's class and our line, not
    its message: messages of drivers and libraries may hold the values they were given.

    Raises:
        ApplicationError: for every exception inside the block.
    """
    try:
        yield
    except FallowError as error:
        raise ApplicationError(error.what, type=error.code, non_retryable=not error.retryable) from None
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not carry values into a history
        what = f"{type(error).__name__} at {_where(error)}"
        raise ApplicationError(what, type="unexpected") from None


def _where(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if f"{os.sep}site-packages{os.sep}" not in frame.filename] or frames
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
