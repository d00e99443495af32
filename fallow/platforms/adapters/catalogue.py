"""Every adapter by its name in a registration: how it is made, and the form of the answers that come by callback."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from fallow.domain.errors import MapRefused
from fallow.domain.ports import Clock, Platform
from fallow.platforms.adapters import shared_signals
from fallow.platforms.adapters.file_drop import FileDropPlatform
from fallow.platforms.adapters.hub import HubMember
from fallow.platforms.adapters.manual import ManualPlatform
from fallow.platforms.adapters.rsa_notify import RsaNotifyPlatform
from fallow.platforms.adapters.shared_signals import SharedSignalsPlatform
from fallow.platforms.forms import AnswerForm, FileForm, WebhookForm
from fallow.platforms.http_platform import HttpPlatform
from fallow.platforms.platform_map import HUB, PlatformEntry
from fallow.platforms.rsa_form import RsaNotifyForm
from fallow.platforms.set_form import SetForm
from fallow.platforms.signing import SigningKey
from fallow.platforms.transport import Transport


@dataclass(frozen=True, slots=True)
class Way:
    """What every adapter is given.

    Attributes:
        transport: the way out.
        signing_key: the engine's key for requests.
        clock: dates signatures and judges theirs.
    """

    transport: Transport
    signing_key: SigningKey
    clock: Clock


class Adapter(NamedTuple):
    """One adapter.

    Attributes:
        make: makes it for one platform. Takes the platform's entry, the entry whose endpoint and keys serve it (its hub's, or its own)
            and what every adapter is given.
        form: of the answers that come by callback.
        form_of: the form for one platform, where it demands more than the form alone can know.
        looks: whether its platforms offer a status query where a status URL is registered.
    """

    make: Callable[[PlatformEntry, PlatformEntry, Way], Platform]
    form: AnswerForm
    form_of: Callable[[PlatformEntry], AnswerForm] | None = None
    looks: bool = False


def _generic(entry: PlatformEntry, served_by: PlatformEntry, way: Way) -> Platform:
    del served_by
    return HttpPlatform(entry, way.transport, way.signing_key, way.clock)


def _hub(entry: PlatformEntry, served_by: PlatformEntry, way: Way) -> Platform:
    return HubMember(entry, served_by, way.transport, way.signing_key, way.clock)


def _rsa_notify(entry: PlatformEntry, served_by: PlatformEntry, way: Way) -> Platform:
    del served_by
    return RsaNotifyPlatform(entry, way.transport, way.signing_key, way.clock)


def _shared_signals(entry: PlatformEntry, served_by: PlatformEntry, way: Way) -> Platform:
    del served_by
    return SharedSignalsPlatform(entry, way.transport, way.signing_key, way.clock)


def _file_drop(entry: PlatformEntry, served_by: PlatformEntry, way: Way) -> Platform:
    del served_by
    return FileDropPlatform(entry, way.signing_key, way.clock)


def _manual(entry: PlatformEntry, served_by: PlatformEntry, way: Way) -> Platform:
    del served_by, way
    return ManualPlatform(entry)


#: Every adapter there is.
ADAPTERS: dict[str, Adapter] = {
    "generic": Adapter(_generic, WebhookForm(), looks=True),
    HUB: Adapter(_hub, WebhookForm(), looks=True),
    "shared-signals": Adapter(_shared_signals, SetForm(), shared_signals.form_of),
    "rsa-notify": Adapter(_rsa_notify, RsaNotifyForm(), looks=True),
    "file-drop": Adapter(_file_drop, FileForm()),
    "manual": Adapter(_manual, WebhookForm()),
}


def adapter_of(entry: PlatformEntry) -> Adapter:
    """Return the adapter that an entry names.

    Raises:
        MapRefused: there is none of that name.
    """
    found = ADAPTERS.get(entry.adapter)
    if found is None:
        what = f"The platform {entry.platform_id} names the adapter {entry.adapter}, which there is not."
        raise MapRefused(what, remedy=f"name one of {', '.join(sorted(ADAPTERS))}.")
    return found


def form_of(entry: PlatformEntry) -> AnswerForm:
    """Return the form of what comes in from those that an entry serves: a platform itself, or a hub.

    Raises:
        MapRefused: there is no adapter of the entry's.
    """
    adapter = adapter_of(entry)
    return adapter.form if adapter.form_of is None else adapter.form_of(entry)


def make_platform(entry: PlatformEntry, entries: Mapping[str, PlatformEntry], way: Way) -> Platform:
    """Return the platform behind an entry; one that names a hub is reached over the hub's endpoint, by the hub's adapter.

    Raises:
        MapRefused: the adapter or the hub is not there.
    """
    served_by = entry
    if entry.via:
        hub = entries.get(entry.via)
        if hub is None or hub.adapter != HUB:
            what = f"The platform {entry.platform_id} names the hub {entry.via}, which is not registered."
            raise MapRefused(what, remedy="register the hub first, or leave `via` out.")
        served_by = hub
    return adapter_of(served_by).make(entry, served_by, way)


def offers_look(entry: PlatformEntry, entries: Mapping[str, PlatformEntry]) -> bool:
    """Tell by its registration alone whether a platform offers a status query; True where that can't be told: its hub is not there.

    Nothing is made for it, so that one platform that can't be reached from this process has no say about others.
    """
    served_by = entries.get(entry.via) if entry.via else entry
    adapter = None if served_by is None else ADAPTERS.get(served_by.adapter)
    return served_by is None or adapter is None or (adapter.looks and served_by.status_url is not None)
