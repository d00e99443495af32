"""The gate of the logs: no phone number passes, however it is spelled; our own identifiers do."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from fallow.cli import logs


@pytest.fixture
def outlet() -> Iterator[io.StringIO]:
    """Logs as the program sets them up, into a text; everything as it was before afterwards."""
    root, text = logging.getLogger(), io.StringIO()
    handlers, level = list(root.handlers), root.level
    logs.configure("info")
    root.handlers[0].setStream(text)  # type: ignore[attr-defined]
    yield text
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(outlet: io.StringIO) -> list[dict[str, Any]]:
    """Return what was logged."""
    return [json.loads(line) for line in outlet.getvalue().splitlines()]


@pytest.mark.parametrize(
    "text",
    [
        *("+8613800000001", "8613800000001", "013800000001", "+86 138 0000 0001", "138-0000-0001", "(0)138.0000.0001", "%2B8613800000001"),
        *("tel:+8613800000001", "x8613800000001y", "\uff18\uff16\uff11\uff13\uff18\uff10\uff10\uff10\uff10\uff10\uff10\uff11", "1234567"),
    ],
)
def test_no_number_passes(text: str, outlet: io.StringIO) -> None:
    """Neither as the event, nor as a value, nor deep inside one, nor in what a library logs."""
    structlog.get_logger().info(f"about {text}", where=text, deep={"list": [text]}, **{text: 1})
    logging.getLogger("library").warning("about %s", text)

    assert len(lines(outlet)) == 2
    assert text not in json.dumps(lines(outlet), ensure_ascii=False)
    assert "<redacted>" in outlet.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        *(
            "n_a2345672345672345672345672/1",
            "recycling/n_a2345672345672345672345672/1",
            "2026-11-23T20:49:14.123456Z",
            "2026-11-23 20:49:14+08:00",
        ),
        *("01993427-1234-7123-8123-123456789012", "123456 rows", "port 18470", "server 1.32.0"),
    ],
)
def test_our_own_forms_pass(text: str) -> None:
    """Opaque ids, instants, Temporal's run ids and small figures are what logs are read for."""
    assert logs.clean(text) == text


def test_values_of_denied_keys_never_pass(outlet: io.StringIO) -> None:
    """A secret needs no digits to be one; the same key deep inside is found too."""
    structlog.get_logger().info("e", api_key="flw_secret", deep={"Authorization": "Bearer secret"})

    assert "secret" not in outlet.getvalue()


def test_an_exception_is_its_class_and_its_places(outlet: io.StringIO) -> None:
    """Its text could quote a row; where it happened could not."""
    try:
        int("the row of Ms Secret")
    except ValueError:
        structlog.get_logger().exception("failed")
        logging.getLogger("library").exception("failed")

    assert "Secret" not in outlet.getvalue()
    assert [each["error"] for each in lines(outlet)] == ["ValueError", "ValueError"]
    assert all(each["places"][-1].startswith("test_cli_logs.py:") for each in lines(outlet))


def test_a_build_id_is_no_number(outlet: io.StringIO) -> None:
    """Sixteen hex digits under the key `build` are kept; under another key a run of digits is not."""
    structlog.get_logger().info("e", build="1234567812345678", other="1234567812345678")

    assert (lines(outlet)[0]["build"], lines(outlet)[0]["other"]) == ("1234567812345678", "<redacted>")


def test_the_level_holds_for_ours_and_for_libraries(outlet: io.StringIO) -> None:
    """Below the level nothing is written, and what talks at every request is quieter by one."""
    structlog.get_logger().debug("ours")
    logging.getLogger("library").debug("theirs")
    logging.getLogger("httpx").info("HTTP Request")
    structlog.get_logger().info("kept")

    assert [each["event"] for each in lines(outlet)] == ["kept"]
