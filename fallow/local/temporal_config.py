"""The configuration written for a local Temporal server.

Imports the standard library and what the probe found out.
"""

from collections.abc import Sequence
from typing import Any

from fallow.local.processes import LOOPBACK
from fallow.local.temporal_probe import TIME_SKIPPING_KEYS, TemporalBinary

# SQLite has one writer, so more shards bring nothing (measured: 28 workflows/s with 1, 25 with 4).
# Fixed when the database is made: it can't be changed for an existing directory.
HISTORY_SHARDS = 1

_SERVICES = ("frontend", "history", "matching", "worker")


def dynamic_values(binary: TemporalBinary) -> dict[str, object]:
    """Return the dynamic settings a local server runs with, key to value."""
    values: dict[str, object] = {
        # The default of 10 a second is met by one test that waits for visibility.
        "frontend.namespaceRPS.visibility": 1_000,
        "frontend.namespaceRPS": 10_000,
        "frontend.rps": 10_000,
        # New search attributes are usable at once instead of within a minute.
        "system.forceSearchAttributesCacheRefreshOnRead": True,
    }
    if binary.has_time_skipping:
        values |= dict.fromkeys(TIME_SKIPPING_KEYS, True)
    return values


def server_config(ports: Sequence[int], database: str, dynamic_path: str) -> dict[str, Any]:
    """Return the static configuration of a single server with all four services on SQLite.

    Args:
        ports: eight free ports; the first is the one clients use.
        database: file of the main store, relative to the server's working directory.
        dynamic_path: file with the dynamic settings, likewise.
    """
    disabled = {"history": {"state": "disabled"}, "visibility": {"state": "disabled"}}
    address = f"{LOOPBACK}:{ports[0]}"
    return {
        "log": {"stdout": True, "level": "info"},
        "persistence": {
            "defaultStore": "main",
            "visibilityStore": "visibility",
            "numHistoryShards": HISTORY_SHARDS,
            # Two files, because SQLite lets only one connection at a time write to each.
            "datastores": {"main": _sqlite(database), "visibility": _sqlite(f"visibility-{database}")},
        },
        "global": {"membership": {"maxJoinDuration": "30s", "broadcastAddress": LOOPBACK}, "pprof": {"port": 0}},
        "services": {
            name: {"rpc": {"grpcPort": grpc, "membershipPort": membership, "bindOnIP": LOOPBACK}}
            for name, grpc, membership in zip(_SERVICES, ports[:4], ports[4:8], strict=True)
        },
        "clusterMetadata": {
            "enableGlobalNamespace": False,
            "failoverVersionIncrement": 10,
            "masterClusterName": "active",
            "currentClusterName": "active",
            "clusterInformation": {"active": {"enabled": True, "initialFailoverVersion": 1, "rpcName": "frontend", "rpcAddress": address}},
        },
        "dcRedirectionPolicy": {"policy": "noop"},
        "archival": disabled,
        "namespaceDefaults": {"archival": disabled},
        "dynamicConfigClient": {"filepath": dynamic_path, "pollInterval": "60s"},
    }


def _sqlite(database: str) -> dict[str, Any]:
    attributes = {
        "cache": "private",
        "setup": "true",
        "journal_mode": "wal",
        "synchronous": "2",
        "busy_timeout": "10000",
    }
    store = {"pluginName": "sqlite", "databaseName": database, "connectAddr": "localhost", "connectProtocol": "tcp"}
    return {"sql": {**store, "connectAttributes": attributes, "maxConns": 1, "maxIdleConns": 1}}
