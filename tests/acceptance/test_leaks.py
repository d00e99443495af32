"""The search for numbers: every form in every kind of place is found, and nothing is found where there is nothing."""

import base64
import gzip
import hashlib
import json
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from fallow.local import crowd
from fallow.local.leaks import PlaceUnreadable, read_numbers, search

EXAMPLES = Path(__file__).parents[2] / "examples"
#: One with eleven national digits, one with ten, one with nine behind a trunk 0.
NUMBERS = ("+8613800000001", "+12025550100", "+46701740605")
NATIONAL = {"+8613800000001": "13800000001", "+12025550100": "2025550100", "+46701740605": "701740605"}
GROUPED = {"+8613800000001": "138 0000 0001", "+12025550100": "(202) 555-0100", "+46701740605": "70-174 06 05"}


def hashed(name: str, text: str) -> bytes:
    """Return an unkeyed hash of a text."""
    return hashlib.new(name, text.encode(), usedforsecurity=False).digest()


FORMS: dict[str, Callable[[str], bytes]] = {
    "E.164": lambda number: number.encode(),
    "digits": lambda number: number[1:].encode(),
    "00": lambda number: b"00" + number[1:].encode(),
    "national": lambda number: NATIONAL[number].encode(),
    "national with trunk 0": lambda number: b"0" + NATIONAL[number].encode(),
    "grouped": lambda number: GROUPED[number].encode(),
    "grouped E.164": lambda number: f"{number[: -len(NATIONAL[number])]} {GROUPED[number]}".encode(),
    "dashes": lambda number: "-".join(NATIONAL[number]).encode(),
    "hard spaces": lambda number: GROUPED[number].replace(" ", "\N{NO-BREAK SPACE}").encode(),
    "URL-encoded": lambda number: quote(number, safe="").encode(),
    "URL-encoded, grouped": lambda number: quote(f"tel:{GROUPED[number]}", safe="").encode(),
    "in a query": lambda number: f"?n={quote(number, safe='')}&x=1".encode(),
    "JSON, plus escaped": lambda number: rf'"\u002b{number[1:]}"'.encode(),
    "behind an escaped line end": lambda number: rf'"seen\n{NATIONAL[number]}\n"'.encode(),
    "UTF-16, low byte first": lambda number: number.encode("utf-16-le"),
    "UTF-16, high byte first": lambda number: number.encode("utf-16-be"),
    "hexadecimal": lambda number: number.encode().hex().encode(),
    "hexadecimal, capitals": lambda number: number.encode().hex().upper().encode(),
    **{
        f"base64, {shift} in front": lambda number, shift=shift: base64.b64encode(b'"{n:'[:shift] + number.encode() + b'"}')
        for shift in range(4)
    },
    "base64 of the digits": lambda number: base64.b64encode(number[1:].encode()),
    "base64 of the national number": lambda number: base64.urlsafe_b64encode(NATIONAL[number].encode()),
    **{
        f"{name} of {what}, {how}": lambda number, name=name, part=part, write=write: write(hashed(name, part(number)))
        for name in ("md5", "sha1", "sha256")
        for what, part in {"E.164": str, "the digits": lambda n: n[1:], "the national number": NATIONAL.__getitem__}.items()
        for how, write in {
            "raw": bytes,
            "hexadecimal": lambda raw: raw.hex().encode(),
            "capitals": lambda raw: raw.hex().upper().encode(),
            "shortened": lambda raw: raw.hex()[:16].encode(),
            "base64": base64.b64encode,
            "base64 for URLs": base64.urlsafe_b64encode,
            "base32": lambda raw: base64.b32encode(raw).lower(),
        }.items()
    },
}


def as_text(secret: bytes) -> str:
    """Return bytes as the text that they are."""
    return secret.decode("utf-8", errors="replace")


def in_log(folder: Path, secret: bytes) -> None:
    """Plant it in a log."""
    (folder / "worker.log").write_bytes(b'{"at": "2026-11-23T21:04:01Z", "event": "asked ' + secret + b' again"}\n' * 2)


def in_late_log(folder: Path, secret: bytes) -> None:
    """Plant it across the border of two windows of a long log."""
    (folder / "long.log").write_bytes(b"x" * (8 * 1024 * 1024 - 7) + b" " + secret + b" " + b"y" * 4096)


def in_metrics(folder: Path, secret: bytes) -> None:
    """Plant it in a label of Prometheus' text."""
    (folder / "metrics.txt").write_bytes(b'# TYPE asked counter\nasked_total{target="' + secret + b'"} 1.0 1795467841123\n')


def in_export(folder: Path, secret: bytes) -> None:
    """Plant it in an export."""
    (folder / "numbers.csv").write_bytes(b"line,cell\n1," + secret + b",RESELLABLE\n")


def in_history(folder: Path, secret: bytes) -> None:
    """Plant it in a payload of an exported history, which is base64 of JSON."""
    payload = base64.b64encode(json.dumps({"number": as_text(secret)}).encode()).decode()
    (folder / "history.json").write_text(json.dumps({"events": [{"input": {"payloads": [{"data": payload}]}}]}))


def in_archive(folder: Path, secret: bytes) -> None:
    """Plant it in a rotated log."""
    (folder / "worker.log.1.gz").write_bytes(gzip.compress(b"started\n" * 999 + secret + b"\nended\n"))


def in_text_cell(folder: Path, secret: bytes) -> None:
    """Plant it in a text so long that a database spreads it over several pages."""
    with closing(sqlite3.connect(folder / "texts.db")) as connection, connection:
        connection.execute("CREATE TABLE t (a TEXT, b TEXT)")
        connection.execute("INSERT INTO t VALUES ('1', ?)", ("z" * 4070 + " " + as_text(secret) + " " + "z" * 9000,))


def in_blob(folder: Path, secret: bytes) -> None:
    """Plant it in a blob, as Temporal's database keeps histories."""
    with closing(sqlite3.connect(folder / "blobs.db")) as connection, connection:
        connection.execute("CREATE TABLE history_node (data BLOB, data_encoding TEXT)")
        connection.execute(
            "INSERT INTO history_node VALUES (?, 'Proto3')", (b'\n\x16\n\x08encoding\x12\njson/plain\x12\x1e"' + secret + b'"',)
        )


#: What is planted where not everything can be: raw bytes are no text, and a long log takes its time.
LIMITED = {
    in_late_log: {"E.164", "grouped", "base64, 1 in front", "sha256 of E.164, raw"},
    in_text_cell: {form for form in FORMS if not form.endswith("raw")},
}
PLACES = (in_log, in_late_log, in_metrics, in_export, in_archive, in_text_cell, in_blob)


@pytest.mark.parametrize("plant", PLACES)
@pytest.mark.parametrize("number", NUMBERS)
def test_finds_every_form_in_every_place(tmp_path: Path, plant: Callable[[Path, bytes], None], number: str) -> None:
    """Whatever form a number is planted in, wherever, the search finds it, and finds that number only."""
    sought = [(form, write(number)) for form, write in FORMS.items() if plant not in LIMITED or form in LIMITED[plant]]
    for place, (_, secret) in enumerate(sought):
        (tmp_path / str(place)).mkdir()
        plant(tmp_path / str(place), secret)

    found = {(leak.path.parent.name, leak.index) for leak in search([tmp_path], NUMBERS)}

    assert found == {(str(place), NUMBERS.index(number)) for place in range(len(sought))}


@pytest.mark.parametrize("number", NUMBERS)
def test_finds_every_plain_form_inside_a_payload(tmp_path: Path, number: str) -> None:
    """A history's payload is base64: a number spelled in one piece shows through it."""
    for form in ("E.164", "digits", "00", "national", "national with trunk 0"):
        in_history(tmp_path, FORMS[form](number))

        assert {leak.index for leak in search([tmp_path], NUMBERS)} == {NUMBERS.index(number)}, form


TEXTS = ("Sample Person 2", "SUB-CM-0001")


@pytest.mark.parametrize("plant", PLACES)
@pytest.mark.parametrize("text", TEXTS)
def test_finds_what_betrays_a_person(tmp_path: Path, plant: Callable[[Path, bytes], None], text: str) -> None:
    """A name or a subscription's id is found in every place, plain and encoded, and told apart from numbers and from other texts."""
    ways = [text.encode(), text.encode().hex().encode(), *(base64.b64encode(b'"{n:'[:shift] + text.encode() + b'"}') for shift in range(4))]
    for place, secret in enumerate(ways):
        (tmp_path / str(place)).mkdir()
        plant(tmp_path / str(place), secret)

    found = {(leak.path.parent.name, leak.index) for leak in search([tmp_path], NUMBERS, texts=TEXTS)}

    assert found == {(str(place), len(NUMBERS) + TEXTS.index(text)) for place in range(len(ways))}
    assert search([tmp_path], NUMBERS) == []


def test_refuses_a_text_that_could_not_be_found(tmp_path: Path) -> None:
    """A search that could overlook what it was asked for says so."""
    with pytest.raises(ValueError, match="fewer than 11 bytes"):
        search([tmp_path], NUMBERS, texts=["short"])


def test_finds_a_number_in_a_cell_of_digits_only(tmp_path: Path) -> None:
    """A number kept as an integer, or beside another number without anything between them, is found."""
    with closing(sqlite3.connect(tmp_path / "cells.db")) as connection, connection:
        connection.execute("CREATE TABLE t (a INTEGER, b TEXT, c TEXT)")
        connection.execute("INSERT INTO t VALUES (8613800000001, '8613900000000', '12025550100')")

    found = {(leak.place, leak.index) for leak in search([tmp_path], NUMBERS)}

    assert {("table t, column a, row 1", 0), ("table t, column c, row 1", 1)} <= found


def test_finds_a_number_in_a_file_s_name(tmp_path: Path) -> None:
    """A file can leak by what it is called."""
    (tmp_path / f"export-{NUMBERS[0][1:]}.json").write_text("{}")

    assert [leak.place for leak in search([tmp_path], NUMBERS)] == ["its name"]


def test_finds_nothing_where_there_is_nothing(tmp_path: Path) -> None:
    """Ids, digests, timestamps, random bytes and other people's numbers are no hits, for all numbers of the sample."""
    chance = random.Random(7)  # noqa: S311 - noise, not a secret
    noise = chance.randbytes(2_000_000)
    (tmp_path / "noise.bin").write_bytes(noise)
    (tmp_path / "noise.hex").write_text(noise.hex())
    (tmp_path / "noise.b64").write_bytes(base64.b64encode(noise))
    stamps = (f"2026-11-23T21:{at % 60:02d}:01.{at:06d}Z n_{chance.randbytes(16).hex()} took {at}.{at:09d} s\n" for at in range(20_000))
    (tmp_path / "worker.log").write_text("".join(stamps))
    (tmp_path / "others.csv").write_text("".join(f"+8613900{at:06d},139 00{at:02d} {at:04d}\n" for at in range(5_000)))
    numbers = list(read_numbers(EXAMPLES / crowd.NUMBERS))

    assert len(numbers) > 200
    assert search([tmp_path], numbers) == []


def test_leaves_out_what_may_hold_numbers(tmp_path: Path) -> None:
    """The carrier's own files are skipped, and nothing else with them."""
    for name in ("carrier", "carrier-not"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rows.csv").write_text(NUMBERS[0])

    assert {leak.path.parent.name for leak in search([tmp_path], NUMBERS, skip=[tmp_path / "carrier"])} == {"carrier-not"}


def test_is_never_silent_about_what_it_could_not_read(tmp_path: Path) -> None:
    """A damaged archive is no clean one."""
    (tmp_path / "log.gz").write_bytes(gzip.compress(b"a" * 9_000)[:-12])

    with pytest.raises(PlaceUnreadable, match=r"log\.gz"):
        search([tmp_path], NUMBERS)


def test_prints_where_but_never_which(tmp_path: Path) -> None:
    """The command's own output may be shown to anybody: form, place and line of the file, no digits of a number."""
    (tmp_path / "numbers.csv").write_text("number,country\n" + "".join(f"{number},XX\n" for number in NUMBERS))
    (tmp_path / "worker.log").write_text(f"asked {GROUPED[NUMBERS[1]]}\n")
    command = [sys.executable, "-m", "fallow.local.leaks", "--numbers", str(tmp_path / "numbers.csv"), str(tmp_path)]

    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=EXAMPLES.parent)

    assert ran.returncode == 1
    assert "worker.log: byte 7: national, grouped of the number on line 3" in ran.stdout
    assert "555" not in ran.stdout
