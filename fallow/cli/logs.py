"""Logs: one JSON object a line on standard error, everything through one gate that lets no phone number pass.

Our own events and those of libraries (Temporal's SDK, SQLAlchemy, …) go the same way. Of an unexpected exception the class
and the places are logged, never its text: it could quote a row.
"""

import logging
import re
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

import structlog

REDACTED = "<redacted>"
#: Keys whose values are never logged, whatever they are.
DENIED = frozenset(
    {
        *("number", "numbers", "msisdn", "e164", "phone", "caller", "holder", "name", "body", "payload", "content", "headers"),
        *("api_key", "key", "secret", "password", "token", "authorization", "signature", "url_with_password", "lookup", "sealed"),
    }
)
_OPAQUE = r"\b(?:n_|h_|pr_|b_|p|ref_|msg_)[a-z2-7]{26}\b"
_UUID = r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"
_INSTANT = (
    r"\b20[0-9]{2}-[01][0-9]-[0-3][0-9](?:[T ][0-2][0-9]:[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,6})?)?(?:Z|[+-][0-2][0-9]:[0-5][0-9])?)?\b"
)
_RUN = r"\d(?:[ .()\-]{0,2}\d){6,}"
# What has one of our own forms is kept; of the rest every run of seven digits goes, however it is spaced.
_SEARCHED = re.compile(f"(?P<kept>{_OPAQUE}|{_UUID}|{_INSTANT})|{_RUN}")
_BUILD = re.compile(r"[0-9a-f]{16}\Z")


def configure(level: str) -> None:
    """Send everything of ``level`` and above to standard error as JSON lines."""
    shared: list[structlog.types.Processor] = [structlog.stdlib.add_log_level]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            places_of_exception,
            gate,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.JSONRenderer(default=_never),
        ],
    )
    outlet = logging.StreamHandler(sys.stderr)
    outlet.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [outlet]
    root.setLevel(level.upper())
    for talkative in ("alembic", "httpx", "httpcore"):  # every look at the schema, every request: nothing to act on
        logging.getLogger(talkative).setLevel(max(root.level, logging.WARNING))
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def gate(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take out denied keys and every run of seven digits that is not one of our own forms."""
    return _clean_all(event)


def places_of_exception(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace exception information by the class and the places, innermost last."""
    found = event.pop("exc_info", None)
    error = found[1] if isinstance(found, tuple) else sys.exc_info()[1] if found is True else found
    if isinstance(error, BaseException):
        frames = traceback.extract_tb(error.__traceback__)
        event["error"] = type(error).__name__
        event["places"] = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames][-8:]
    event.pop("stack_info", None)
    return event


def clean(text: str) -> str:
    """Return ``text`` without runs of seven digits."""
    return _SEARCHED.sub(lambda found: found[0] if found["kept"] else REDACTED, text)


def _clean_all(values: Mapping[Any, Any]) -> dict[str, Any]:
    return {clean(str(key)): REDACTED if str(key).lower() in DENIED else _clean(str(key), value) for key, value in values.items()}


def _clean(key: str, value: object) -> object:
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 1_000_000):  # noqa: PLR2004 - 6 digits
        return value
    if isinstance(value, Mapping):
        return _clean_all(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(key, each) for each in value]
    text = str(value)
    return text if key == "build" and _BUILD.match(text) else clean(text)


def _never(value: object) -> str:
    return type(value).__name__  # everything was made plain by the gate; this is for what a library adds behind it
