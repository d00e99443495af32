"""A platform that people ask: the engine sends nothing, says so, and takes an attested document or a signed answer."""

from pathlib import Path

import pytest
from adapter_ground import ME, ground
from builders import headers_of
from memory_ports import signed_delivery

from fallow.domain.errors import RequestRejected
from fallow.domain.obligations import Status
from fallow.platforms.signing import SigningKey

KEY = SigningKey(bytes([9] * 32))


async def test_it_is_never_asked(tmp_path: Path) -> None:
    """Whoever tries is told what to do instead; senders can tell beforehand."""
    async with ground(tmp_path, {"id": ME, "adapter": "manual"}) as here:
        platform = here.world.installation.platforms[ME]

        assert getattr(platform, "by_hand", False)
        with pytest.raises(RequestRejected, match="by hand"):
            await platform.ask([])
        assert await platform.look([here.reference]) is None


async def test_without_a_key_nobody_speaks_for_it(tmp_path: Path) -> None:
    """A callback in its name is refused."""
    async with ground(tmp_path, {"id": ME, "adapter": "manual"}) as here:
        delivery = signed_delivery(KEY, {here.reference: "clear"}, here.world.clock.now())

        assert (await here.call_back(headers_of(delivery), delivery.body)).status_code == 401


async def test_with_a_key_it_may_answer_by_callback(tmp_path: Path) -> None:
    """Asked by letter, answered by software: the gate believes it as any other."""
    async with ground(tmp_path, {"id": ME, "adapter": "manual", "public_keys": [KEY.public.text]}) as here:
        delivery = signed_delivery(KEY, {here.reference: "clear"}, here.world.clock.now())

        replied = await here.call_back(headers_of(delivery), delivery.body)

        proof = here.proof()
        assert (replied.status_code, here.owed().status) == (200, Status.DISCHARGED)
        assert proof is not None
        assert proof.genuine
