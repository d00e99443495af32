"""Claims of obligations and looks that are given back, on PostgreSQL: beside others that move the same rows."""

import pytest
from builders import World
from builders_cycles import all_at
from sqlalchemy import text

from fallow.domain.lifecycle import State
from fallow.store import looks, obligations


@pytest.mark.parametrize("which", ["unwanted", "lost", "looks"])
def test_claims_are_given_back_without_waiting_for_a_row(postgres_world: World, which: str) -> None:
    """Their cycles are not locked, so that to wait for a row that is being moved, with others in hand, would be a deadlock."""
    world, db = postgres_world, postgres_world.installation.db
    ids = all_at(world, 3, State.UNBINDING)
    with db.begin() as tx:
        for cycle_id in ids:
            looks.want(tx, cycle_id, ["alpha-pay"], tx.now)
        tx.session.execute(text("UPDATE obligations SET claimed = true, due_at = NULL"))
        tx.session.execute(text("UPDATE looks SET claimed = true"))
    table, give_back = {
        "unwanted": ("obligations", lambda tx: obligations.unclaim(tx, "alpha-pay", ids)),
        "lost": ("obligations", lambda tx: obligations.give_back_claims(tx, "alpha-pay")),
        "looks": ("looks", lambda tx: looks.give_back_claims(tx, "alpha-pay")),
    }[which]
    with db.engine.connect() as moving, db.begin() as tx:
        moving.execute(text(f"SELECT 1 FROM {table} WHERE cycle_id = :id FOR UPDATE"), {"id": ids[1]})
        tx.session.execute(text("SET LOCAL lock_timeout = '1s'"))
        give_back(tx)

    with db.read() as tx:
        still = tx.session.execute(text(f"SELECT cycle_id FROM {table} WHERE claimed AND target_id = 'alpha-pay'")).scalars().all()
    assert still == [ids[1]]
