"""The connection to Temporal: address and namespace from the settings, the rest (TLS, API key) from Temporal's own configuration."""

from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.runtime import Runtime
from temporalio.service import RPCError

from fallow.domain.errors import SettingRefused
from fallow.settings import Settings
from workers.plugin import plugin


async def connect(settings: Settings, *, runtime: Runtime | None = None) -> Client:
    """Return a client for the installation's namespace.

    Args:
        settings: where Temporal is.
        runtime: where the SDK's core logs and serves its metrics; None: its default.

    Raises:
        SettingRefused: Temporal can't be reached.
    """
    config = ClientConfig.load_client_connect_config()
    config["target_host"] = settings.temporal_address
    config["namespace"] = settings.temporal_namespace
    try:
        return await Client.connect(**config, plugins=[plugin()], runtime=runtime)
    except (RPCError, RuntimeError) as error:
        what = f"Temporal at {settings.temporal_address} can't be reached ({type(error).__name__})."
        raise SettingRefused(what, remedy="start it, or correct FALLOW_TEMPORAL_ADDRESS.") from None
