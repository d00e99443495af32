"""``keys rotate``: a new wrapping key for holder keys, and the end of the old ones."""

from dataclasses import asdict
from typing import Annotated

import typer

from fallow.cli.showing import print_json, print_line
from fallow.cli.words import Json, KeyFile
from fallow.domain.people import Action


def rotate(
    *,
    lost: Annotated[bool, typer.Option("--lost", help="Give up the present wrapping key, whose file is gone.")] = False,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """Wrap every holder key anew and destroy the old wrapping keys: older backups open no holder any more. Workers do it by themselves."""
    from fallow.cli.acting import opened, who  # noqa: PLC0415 - heavy
    from fallow.operations import key_epochs  # noqa: PLC0415 - heavy
    from fallow.store.wrapping import WrappingKeys  # noqa: PLC0415 - heavy

    with opened() as (settings, db, ring):
        who(settings, db, ring, key_file).demand(Action.ADMIT)
        done = key_epochs.rotate(db, WrappingKeys(settings.wrapping), lost=lost)
    if json:
        print_json(asdict(done))
        return
    print_line(f"epoch {done.epoch} began; {done.rewrapped} holder keys wrapped anew")
    print_line(f"destroyed: {', '.join(done.destroyed) or 'nothing'}")
    if done.unreadable:
        print_line(f"{done.unreadable} holder keys can't be opened any more: those former holders are told apart by time only")
    if not done.log_emptied:
        print_line("the write-ahead log is in use and was not emptied; the next rotation tries again")
