"""``keys``: who may act, by API key; and the engine's own public key for platforms."""

from typing import TYPE_CHECKING, Annotated

import typer

from fallow.cli.showing import print_json, print_line, print_table
from fallow.cli.words import Json, KeyFile
from fallow.domain.errors import CommandRefused, InputRefused, NotKnown
from fallow.domain.people import Action, Role

if TYPE_CHECKING:
    from fallow.store.tables import PrincipalRow


def admit(
    name: Annotated[str, typer.Option("--name", help="Who it is for; shown in lists only.")],
    role: Annotated[Role, typer.Option("--role", help="What they may do.")],
    *,
    platform: Annotated[str | None, typer.Option("--platform", metavar="ID", help="For the role platform: which one.")] = None,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """Admit somebody and print their API key, the only time it is seen. The very first must be an administrator and needs no key."""
    from fallow.cli.acting import opened, who  # noqa: PLC0415 - heavy
    from fallow.operations import people  # noqa: PLC0415 - heavy

    if (role is Role.PLATFORM) != (platform is not None):
        what = "A platform's key, and no other, names its platform."
        raise InputRefused(what, remedy="give --platform ID together with --role platform.")
    with opened() as (settings, db, ring):
        person = None
        with db.read() as tx:
            founding = not people.everyone(tx)
        if founding and role is not Role.ADMINISTRATOR:
            what = "Nobody is admitted yet; the first must be an administrator."
            raise CommandRefused(what, remedy="fallow keys admit --name NAME --role administrator")
        if not founding:
            person = who(settings, db, ring, key_file)
            person.demand(Action.ADMIT)
        with db.begin() as tx:
            if founding and people.everyone(tx):
                what = "Somebody else was admitted as the first administrator just now."
                raise CommandRefused(what, remedy="ask them for a key.")
            key = people.admit(tx, ring, name, role, platform, by=person)
    if json:
        print_json({"name": name, "role": role, "platform_id": platform, "api_key": key})
    else:
        print_line(key)


def list_keys(*, key_file: KeyFile = None, json: Json = False) -> None:
    """List everybody who was admitted, revoked ones too; never a key."""
    from fallow.cli.acting import opened, who  # noqa: PLC0415 - heavy
    from fallow.operations import people  # noqa: PLC0415 - heavy

    with opened() as (settings, db, ring):
        who(settings, db, ring, key_file).demand(Action.ADMIT)
        with db.read() as tx:
            rows = [_row(each) for each in people.everyone(tx)]
    if json:
        print_json(rows)
    else:
        print_table(("id", "name", "role", "platform", "admitted", "revoked"), [tuple(each.values()) for each in rows])


def revoke(
    principal: Annotated[str, typer.Argument(metavar="ID", help="Whose key; `fallow keys list` names them.")],
    *,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """Revoke a key at once. The last administrator's can't be revoked."""
    from fallow.cli.acting import opened, who  # noqa: PLC0415 - heavy
    from fallow.operations import people  # noqa: PLC0415 - heavy

    with opened() as (settings, db, ring):
        who(settings, db, ring, key_file).demand(Action.ADMIT)
        with db.begin() as tx:
            left = {each.principal_id for each in people.everyone(tx) if each.role == Role.ADMINISTRATOR and each.revoked_at is None}
            if left == {principal}:
                what = "This is the last administrator."
                raise CommandRefused(what, remedy="admit another administrator first.")
            if not people.revoke(tx, principal):
                what = f"Nobody is admitted under the id {principal}."
                raise NotKnown(what, remedy="`fallow keys list` names everybody.")
    if json:
        print_json({"revoked": principal})
    else:
        print_line(f"{principal} is revoked")


def engine(*, json: Json = False) -> None:
    """Print the public key with which platforms verify the engine's requests; it is no secret."""
    from fallow.cli import logs  # noqa: PLC0415 - heavy
    from fallow.platforms.signing import SigningKey  # noqa: PLC0415 - heavy
    from fallow.settings import load  # noqa: PLC0415 - heavy
    from fallow.store.keys import Keys  # noqa: PLC0415 - heavy
    from fallow.store.signer import seed  # noqa: PLC0415 - heavy

    settings = load()
    logs.configure("warning")
    text = SigningKey(seed(Keys(settings.file("keys")), "request")).public.text
    if json:
        print_json({"public_key": text})
    else:
        print_line(text)


def _row(each: "PrincipalRow") -> dict[str, object]:
    return {
        "id": each.principal_id,
        "name": each.name,
        "role": each.role,
        "platform_id": each.platform_id,
        "admitted_at": each.created_at.isoformat(),
        "revoked_at": None if each.revoked_at is None else each.revoked_at.isoformat(),
    }
