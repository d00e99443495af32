"""``fallow doctor``'s checks: each looks at one part, changes nothing, and says what to do where something is wrong."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from importlib import metadata

from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError

from fallow.bootstrap import open_database, open_records
from fallow.cli import logs
from fallow.cli.findings import Colour, Finding, fitting, red
from fallow.cli.platforms_known import Known, known
from fallow.domain.errors import FallowError
from fallow.domain.policy import Policy
from fallow.intake.policy_file import load_policy
from fallow.operations.diagnosis import Diagnosis, diagnose
from fallow.operations.key_epochs import EpochStanding, standing
from fallow.operations.registration_rules import demand_apart
from fallow.platforms.platform_map import asked
from fallow.records.records_map import RecordsMap
from fallow.settings import Settings, load
from fallow.store.keys import Keys
from fallow.store.looks import QUERY
from fallow.store.wrapping import WrappingKeys
from workers.build import version
from workers.connection import connect
from workers.namespace import current
from workflows.recycling import ATTENTION, HELD

_OURS = ("workflows", "activities", "workers", "fallow")
_CONNECT_WITHIN = 15.0


def examine() -> list[Finding]:
    """Run every check that can be run; one that fails does not stop the next."""
    try:
        settings = load()
    except FallowError as error:
        return [red("settings", error)]
    logs.configure("debug" if settings.log_level == "debug" else "error")
    logging.getLogger("temporalio").setLevel(logging.CRITICAL)  # what it would warn of is what is being found out
    findings = [Finding(Colour.GREEN, "settings", f"state folder {settings.folder}"), *_names()]
    for subject, check in _checks(settings):
        try:
            findings.extend(check())
        except Exception as error:  # noqa: BLE001 - a check that breaks is a finding, not the end of the examination
            findings.append(red(subject, error))
    return [*findings, Finding(Colour.YELLOW, "anchor", "not anchored: nothing outside the operator's control keeps checkpoints yet.")]


def _checks(settings: Settings) -> list[tuple[str, Callable[[], Iterable[Finding]]]]:
    return [
        ("keys", lambda: _keys(settings)),
        ("database", lambda: _database(settings)),
        ("policy and maps", lambda: _maps(settings)),
        ("temporal", lambda: asyncio.run(_temporal(settings))),
    ]


def _names() -> Iterator[Finding]:
    """Tell whether another distribution claims one of our import names."""
    claims = metadata.packages_distributions()
    for name in _OURS:
        others = sorted({each for each in claims.get(name, []) if each != "fallow"})
        if others:
            what = f"the installed {', '.join(others)} also provides `{name}`; one hides the other."
            yield Finding(Colour.RED, "packages", what, "install fallow into an environment of its own, from requirements.lock.")
            return
    yield Finding(Colour.GREEN, "packages", "nothing else claims our import names")


def _keys(settings: Settings) -> Iterator[Finding]:
    Keys(settings.file("keys"))
    yield Finding(Colour.GREEN, "keys", f"complete in {settings.file('keys')}, readable by their owner only")


def _database(settings: Settings) -> Iterator[Finding]:
    settings.demand_installed()
    db = open_database(settings)
    try:
        found, epoch = diagnose(db), standing(db, WrappingKeys(settings.wrapping))
        kind = "SQLite" if db.sqlite else "PostgreSQL"
    finally:
        db.close()
    yield Finding(Colour.GREEN, "database", f"{kind}, schema is this code's")
    yield from _contents(found)
    if epoch is not None:
        yield from _epoch(epoch, timedelta(hours=settings.key_epoch_hours))


def _epoch(found: EpochStanding, epoch_for: timedelta) -> Iterator[Finding]:
    """Judge the wrapping key of holder keys: present, young, and able to open what there is."""
    if not found.key_is_there:
        what = f"the present wrapping key of holder keys, epoch {found.epoch}, is missing: nothing can be enrolled or wiped."
        yield Finding(Colour.RED, "wrapping key", what, "mount or restore the keys' folder; if it is gone: `fallow keys rotate --lost`.")
    elif found.age > 2 * epoch_for or found.age < timedelta(0):
        what = f"epoch {found.epoch} began at {found.began_at:%Y-%m-%d %H:%M}Z and should have ended: workers rotate it, if one runs."
        yield Finding(Colour.YELLOW, "wrapping key", what, "start a worker and look into its log, or run `fallow keys rotate`.")
    else:
        yield Finding(Colour.GREEN, "wrapping key", f"epoch {found.epoch}, since {found.began_at:%Y-%m-%d %H:%M}Z")
    if found.unreadable:
        what = f"{found.unreadable} holder keys can't be opened: damaged, or their wrapping key is gone, as after restoring a backup."
        yield Finding(
            Colour.YELLOW, "wrapping key", what, "restore the keys' folder if you can; else former holders are told apart by time."
        )


def _contents(found: Diagnosis) -> Iterator[Finding]:
    if found.demo:
        yield Finding(Colour.YELLOW, "database", "a demo database: demo cycles can be sold in it.", "use another for real numbers.")
    if not found.administrators:
        yield Finding(Colour.YELLOW, "people", "no administrator is admitted.", "fallow keys admit --name NAME --role administrator")
    if found.attention:
        what = f"{found.attention} cycles wait for a person."
        yield Finding(Colour.YELLOW, "cycles", what, "fallow numbers list --attention")
    if found.unheeded:
        what = f"{found.unheeded} cycles were told to go on again and again and did not: their workflows' tasks may be failing."
        yield Finding(Colour.YELLOW, "cycles", what, "look into the workers' logs, and at the failing tasks in Temporal.")
    for target_id, until, trouble in found.paused:
        whom = f"the status query of {target_id.removesuffix(QUERY)}" if target_id.endswith(QUERY) else target_id
        what = f"{whom} is sent nothing until {until:%Y-%m-%d %H:%M:%S}Z: {logs.clean(trouble)}"
        yield Finding(Colour.YELLOW, "targets", what, "see `fallow targets`; it is tried again by itself.")


def _maps(settings: Settings) -> Iterator[Finding]:
    records = open_records(settings)
    try:
        found = known(settings)
        yield from found.findings
        yield from _owing(settings, {*records.systems, *found.entries, *found.decommissioned})
        yield from _policy(_load(settings, records, found))
        demand_apart(records.systems, found.entries)
        yield from fitting(records)
    finally:
        records.close()


def _owing(settings: Settings, mapped: set[str]) -> Iterator[Finding]:
    """Name targets that cycles still wait for and that nobody can ask: nothing else would say so."""
    try:
        settings.demand_installed()
        db = open_database(settings)
    except FallowError:
        return  # found by the database's own check
    try:
        lost = [each for each in diagnose(db).owing if each not in mapped]
    finally:
        db.close()
    for target_id in lost:
        what = f"{target_id} still has obligations open and is neither in the records map nor registered: its numbers are stuck."
        remedy = f"put {target_id} back into records.toml, or register it with its keys, and restart the workers."
        yield Finding(Colour.RED, "targets", what, remedy)


def _load(settings: Settings, records: RecordsMap, found: Known) -> Policy:
    return load_policy(
        settings.file("policy"),
        record_systems=records.collections,
        line_register=records.line_register_id,
        platforms={platform_id: entry.category for platform_id, entry in asked(found.entries).items()},
        decommissioned=found.decommissioned,
    )


def _policy(policy: Policy) -> Iterator[Finding]:
    yield Finding(Colour.GREEN, "policy", f"{policy.policy_id} version {policy.version}, {len(policy.rules)} rules")
    if any(rule.demo for rule in policy.rules):
        yield Finding(Colour.YELLOW, "policy", "has a demo rule: its cycles carry DEMO for ever.", "use another policy for real numbers.")
    if policy.not_asked:
        yield Finding(Colour.YELLOW, "policy", f"asks no platform of the categories {', '.join(policy.not_asked)}; each tag says so.")


async def _temporal(settings: Settings) -> list[Finding]:
    async with asyncio.timeout(_CONNECT_WITHIN):
        client = await connect(settings)
        where = f"namespace {settings.temporal_namespace} at {settings.temporal_address}"
        try:
            request = ListSearchAttributesRequest(namespace=client.namespace)
            attributes = set((await client.operator_service.list_search_attributes(request)).custom_attributes)
        except RPCError as error:
            return [Finding(Colour.RED, "temporal", f"{where} can't be used ({error.status.name}).", "fallow setup")]
        missing = sorted({HELD.name, ATTENTION.name} - attributes)
        if missing:
            return [Finding(Colour.RED, "temporal", f"{where} lacks the search attributes {', '.join(missing)}.", "fallow setup")]
        return [Finding(Colour.GREEN, "temporal", where), await _deployment(client)]


async def _deployment(client: Client) -> Finding:
    build = version().build_id
    if await current(client):
        return Finding(Colour.GREEN, "deployment", f"this code ({build}) is the current version")
    return Finding(Colour.RED, "deployment", f"this code ({build}) is not the current version: its workers get no task.", "fallow setup")
