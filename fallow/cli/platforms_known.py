"""What ``fallow doctor`` knows of platforms: the registry where there is one, else the file that will be imported; how the two differ."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fallow.bootstrap import open_database, open_registry
from fallow.cli.findings import Colour, Finding
from fallow.domain.errors import FallowError
from fallow.operations.registry_founding import demand_importable, demand_keys_apart, differences
from fallow.platforms.platform_map import PlatformEntry, load_registrations
from fallow.settings import Settings

_REMEDY = "the registry stands; propose what the file says, or write into the file what is registered."


@dataclass(frozen=True)
class Known:
    """Platforms and hubs.

    Attributes:
        entries: those in use, by id.
        decommissioned: those that are asked no more.
        findings: what was found on the way.
    """

    entries: Mapping[str, PlatformEntry]
    decommissioned: Collection[str]
    findings: Sequence[Finding]


def known(settings: Settings) -> Known:
    """Look, and change nothing.

    Raises:
        MapRefused: a file that is there can't be used as the start of a process would, or nothing is registered and there is none.
    """
    path = settings.file("platforms")
    registered = _registered(settings)
    if registered is not None:
        return registered
    read = load_registrations(path)
    demand_keys_apart(path, read)
    entries = {platform_id: entry for platform_id, (entry, _) in read.items()}
    return Known(entries, (), [Finding(Colour.GREEN, "platforms", f"{len(entries)} in {path}, to be imported at the first start")])


def _registered(settings: Settings) -> Known | None:
    try:
        settings.demand_installed()
        db = open_database(settings)
    except FallowError:
        return None  # found by the database's own check
    try:
        registry = open_registry(settings, db)
    except FallowError:
        db.close()
        return None  # found by the keys' own check
    try:
        present, path = registry.present, settings.file("platforms")
        read = load_registrations(path) if path.exists() else None
        if read is not None:
            demand_importable(path, registry, read, ())
        if not present.entries and not present.decommissioned:
            return None
        with db.read() as tx:
            found = {} if read is None else differences(tx, registry, read)
    finally:
        db.close()
    findings = [Finding(Colour.GREEN, "platforms", f"{len(present.entries)} registered")]
    for platform_id, keys in found.items():
        what = f"{path} and the registration of {platform_id} differ: {', '.join(keys)}."
        findings.append(Finding(Colour.YELLOW, "platforms", what, _REMEDY))
    return Known(present.entries, present.decommissioned, findings)
