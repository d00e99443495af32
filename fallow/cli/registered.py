"""``platform list``, ``show`` and ``proposals``: the registry as it stands, and what waits for a second person; never a secret."""

from typing import Annotated, Any

import typer

from fallow.cli.showing import print_facts, print_json, print_line, print_table
from fallow.cli.words import Json, KeyFile

_Platform = Annotated[str, typer.Argument(metavar="PLATFORM", help="Which platform or hub, as `fallow platform list` names it.")]
#: Of the registration, in this order; secrets show as "set".
_SHOWN = (
    *("adapter", "via", "category", "url", "status_url", "folder", "contact", "language", "contract", "legal_basis", "answer_within"),
    *("number_form", "number_key", "shared_secret", "ca_file", "client_certificate_file", "remind_after", "reminders", "timeout"),
)
#: Of how it is asked.
_ASKED = (
    *("paused_at", "paused_by", "rate_per_second", "batch", "lanes", "set_by_operator", "open", "due_now", "refused", "reminded"),
    *(
        "past_deadline",
        "oldest_open_at",
        "unconfirmed",
        "answers_last_hour",
        "failures",
        "breaker",
        "paused_until",
        "trouble",
        "trouble_at",
    ),
)


def list_platforms(*, key_file: KeyFile = None, json: Json = False) -> None:
    """List platforms and hubs: in use, paused or decommissioned, where they are asked, and which proposal waits."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations import platform_status  # noqa: PLC0415 - heavy

    with acting(key_file) as (here, person):
        found = platform_status.list_platforms(here, person)
    if json:
        print_json(found)
        return
    rows = [
        (each["platform_id"], each["state"], *(each["table"].get(key, "-") for key in ("category", "url", "contact")), *_ends(each))
        for each in found
    ]
    print_table(("platform", "state", "category", "url", "contact", "revision", "proposal"), rows)


def show(platform: _Platform, *, key_file: KeyFile = None, json: Json = False) -> None:
    """Show all that is known of PLATFORM: registration, fingerprints of its keys, how it is asked, events, open proposals."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations import platform_status  # noqa: PLC0415 - heavy

    with acting(key_file) as (here, person):
        found = platform_status.show_platform(here, person, platform)
    if json:
        print_json(found)
        return
    print_facts({"platform": found["platform_id"], "state": found["state"], **_registration(found["registration"])})
    if found["target"] is not None:
        print_line("how it is asked")
        print_facts({name: found["target"][name] for name in _ASKED})
    if found["proposals"]:
        _print_proposals(found["proposals"])
    print_line("events")
    print_table(("at", "event", ""), [(each["at"], each["kind"], _words(each["body"])) for each in found["events"]])


def proposals(*, key_file: KeyFile = None, json: Json = False) -> None:
    """List what was proposed about platforms and waits for a ping or a second person, with the keys that would come and go."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations import platform_status  # noqa: PLC0415 - heavy

    with acting(key_file) as (here, person):
        found = platform_status.open_platform_proposals(here, person)
    if json:
        print_json(found)
    else:
        _print_proposals(found)


def _print_proposals(found: list[dict[str, Any]]) -> None:
    rows = [
        (
            each["proposal_id"],
            each["platform_id"],
            each["changes"],
            each["proposed_by"],
            "expired" if each["expired"] else each["expires_at"],
            each["pinged_at"] or each["trouble"],
        )
        for each in found
    ]
    print_table(("proposal", "platform", "changes", "proposed by", "decide by", "pinged"), rows)
    for each in found:
        for word, fingerprints in each["keys"].items():
            for fingerprint in fingerprints:
                print_line(f"{each['proposal_id']}: key {word} (sha-256) {fingerprint}")
        if each["url"]["before"] != each["url"]["after"]:
            print_line(f"{each['proposal_id']}: url {each['url']['before'] or '-'} becomes {each['url']['after'] or '-'}")


def _registration(revision: dict[str, Any] | None) -> dict[str, Any]:
    if revision is None:
        return {}
    table = revision["table"]
    said = {name: table[name] for name in _SHOWN if table.get(name) not in (None, "")}
    decided = {name: revision[name] for name in ("revision", "active_from", "proposed_by", "approved_by")}
    return {"keys (sha-256)": revision["fingerprints"], **said, **decided}


def _ends(each: dict[str, Any]) -> tuple[Any, Any]:
    return each["revision"], each["proposal"]


def _words(values: dict[str, Any]) -> str:
    return " ".join(f"{name}={_word(value)}" for name, value in values.items() if value not in (None, [], ""))


def _word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
