"""What strangers send is bounded in what it costs and in what its length tells."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from fallow.api.answers import is_quick
from fallow.domain.errors import SignatureRefused
from fallow.platforms import drop_folder
from fallow.platforms.signing import LONG_BODY, SigningKey, new_delivery_id, receive, sign
from fallow.platforms.strict import could_be_a_number

KEY, NOW = SigningKey.generate(), datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("length", "accepted"), [(LONG_BODY, True), (LONG_BODY + 1, False)])
def test_of_a_long_body_two_signatures_are_tried(length: int, *, accepted: bool) -> None:
    """Each costs a pass over the body for every key, and anybody can send eight."""
    body = b"x" * length
    headers = sign(KEY, new_delivery_id(), NOW, body)
    strangers = [sign(SigningKey.generate(), headers["webhook-id"], NOW, body)["webhook-signature"] for _ in range(2)]
    second = {**headers, "webhook-signature": f"{strangers[0]} {headers['webhook-signature']}"}
    third = {**headers, "webhook-signature": " ".join([*strangers, headers["webhook-signature"]])}

    assert receive(second, body, [KEY.public], NOW).body == body
    if accepted:
        assert receive(third, body, [KEY.public], NOW).body == body
    else:
        with pytest.raises(SignatureRefused):
            receive(third, body, [KEY.public], NOW)


def test_a_folder_in_a_files_place_costs_no_descriptor(tmp_path: Path) -> None:
    """Whoever writes into the folder could else use up all that a process may have open."""
    (tmp_path / "a.csv").mkdir()
    with drop_folder.opened(tmp_path) as folder:
        drop_folder.read(folder, "a.csv", 100)
        before = len(list(Path("/dev/fd").iterdir()))
        assert [drop_folder.read(folder, "a.csv", 100) for _ in range(5)] == [None] * 5
        assert len(list(Path("/dev/fd").iterdir())) == before


def test_junk_hides_no_file(tmp_path: Path) -> None:
    """Names that are left alone do not count against those that are looked at in one visit."""
    for place in range(drop_folder.MOST_NAMES + 200):
        (tmp_path / f"junk{place}.txt").touch()
    for place in range(5):
        (tmp_path / f"answer{place}.csv").touch()
    with drop_folder.opened(tmp_path) as folder:
        assert len(drop_folder.names(folder)) == 5


@pytest.mark.parametrize(
    ("text", "could"),
    [
        ("tel.447700900123", True),
        ("abcdef123456", False),
        ("12345678-1234-4234-8234-123456789abc", False),
        ("12345678-1234-0234-8234-447700900123", True),
        ("12345678-1234-4234-8234-123456789abc1234567", True),
    ],
)
def test_a_uuid_is_no_number_and_every_other_run_of_seven_digits_could_be(text: str, *, could: bool) -> None:
    """What most software makes ids with stays allowed."""
    assert could_be_a_number(text) is could


@pytest.mark.parametrize(
    ("signatures", "length", "quick"), [(1, 4096, True), (2, 4096, True), (3, 10, False), (8, 10, False), (1, 4097, False)]
)
def test_what_takes_long_to_refuse_stops_nobody_else(signatures: int, length: int, *, quick: bool) -> None:
    """Each signature is tried with every key, so a small body with eight of them is verified in a thread, not where all are served."""
    header = " ".join(["v1a,QUJD"] * signatures)

    assert is_quick({"webhook-signature": header}, bytes(length)) is quick
