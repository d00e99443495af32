"""What Temporal must know before the first worker works: namespace, search attributes, current deployment version. Idempotent."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeWorkerDeploymentRequest,
    RegisterNamespaceRequest,
    SetWorkerDeploymentCurrentVersionRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from fallow.domain.errors import SettingRefused
from fallow.settings import Settings
from workers.build import DEPLOYMENT, version
from workers.connection import connect
from workflows.recycling import ATTENTION, HELD

#: The least that leaves an auditor time to fetch a closed history; a carrier keeps them longer.
RETENTION = timedelta(days=30)
_VISIBLE_WITHIN = 60.0
_ASK_EVERY = 0.2
#: The namespace has not reached every part of a fresh server yet, or the server has had enough of being asked for the moment.
#: What asking again does not mend; everything else a server says that is still starting, or whose database is busy.
_FINAL = (
    RPCStatusCode.INVALID_ARGUMENT,
    RPCStatusCode.PERMISSION_DENIED,
    RPCStatusCode.UNAUTHENTICATED,
    RPCStatusCode.UNIMPLEMENTED,
)
_ATTRIBUTES = {HELD.name: IndexedValueType.INDEXED_VALUE_TYPE_BOOL, ATTENTION.name: IndexedValueType.INDEXED_VALUE_TYPE_BOOL}


async def prepare(settings: Settings) -> None:
    """Make namespace and search attributes, wait until they are visible, and make this code the current deployment version.

    Without a current version a versioned worker gets no task, and no error either.

    Raises:
        SettingRefused: Temporal can't be reached, does not show the changes in time, or already had the namespace and keeps
            closed workflows in it for less than :data:`RETENTION`.
    """
    client = await connect(settings)
    try:
        async with asyncio.timeout(_VISIBLE_WITHIN):
            await _until(client, _register)
            await _until(client, _namespace_visible)
            await _until(client, _demand_retention)
            await _until(client, _add_attributes)
            await _until(client, _attributes_visible)
            await _until(client, _make_current)
    except TimeoutError:
        what = f"Temporal at {settings.temporal_address} did not show the namespace {client.namespace} within {_VISIBLE_WITHIN:.0f} s."
        raise SettingRefused(what, remedy="look at the server's log, then run `fallow setup` again.") from None


async def current(client: Client) -> bool:
    """Tell whether this code is the deployment's current version."""
    request = DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=DEPLOYMENT)
    try:
        found = await client.workflow_service.describe_worker_deployment(request)
    except RPCError:
        return False
    return found.worker_deployment_info.routing_config.current_deployment_version.build_id == version().build_id


async def _register(client: Client) -> bool:
    seconds = int(RETENTION.total_seconds())
    request = RegisterNamespaceRequest(
        namespace=client.namespace, workflow_execution_retention_period=Duration(seconds=seconds), description="fallow"
    )
    try:
        await client.workflow_service.register_namespace(request)
    except RPCError as error:
        if error.status is not RPCStatusCode.ALREADY_EXISTS:
            raise
    return True


async def _until(client: Client, step: Callable[[Client], Awaitable[bool]]) -> None:
    """Repeat a step until it says that it is done."""
    while not await _taken(client, step):  # noqa: ASYNC110 - the condition is the server's
        await asyncio.sleep(_ASK_EVERY)


async def _taken(client: Client, step: Callable[[Client], Awaitable[bool]]) -> bool:
    try:
        return await step(client)
    except RPCError as error:
        if error.status in _FINAL:
            raise
        return False


async def _namespace_visible(client: Client) -> bool:
    await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    await client.operator_service.list_search_attributes(ListSearchAttributesRequest(namespace=client.namespace))
    return True


async def _demand_retention(client: Client) -> bool:
    found = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    kept = found.config.workflow_execution_retention_ttl.ToTimedelta()
    if kept < RETENTION:
        what = f"The namespace {client.namespace} keeps closed workflows for {kept}, less than {RETENTION.days} days."
        remedy = f"temporal operator namespace update --retention {RETENTION.days}d {client.namespace}"
        raise SettingRefused(what, remedy=remedy)
    return True


async def _add_attributes(client: Client) -> bool:
    request = AddSearchAttributesRequest(namespace=client.namespace, search_attributes=_ATTRIBUTES)
    try:
        await client.operator_service.add_search_attributes(request)
    except RPCError as error:
        if error.status is not RPCStatusCode.ALREADY_EXISTS:
            raise
    return True


async def _attributes_visible(client: Client) -> bool:
    found = await client.operator_service.list_search_attributes(ListSearchAttributesRequest(namespace=client.namespace))
    return _ATTRIBUTES.keys() <= found.custom_attributes.keys()


async def _make_current(client: Client) -> bool:
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=client.namespace,
        deployment_name=DEPLOYMENT,
        version=f"{DEPLOYMENT}.{version().build_id}",
        build_id=version().build_id,
        allow_no_pollers=True,
        ignore_missing_task_queues=True,
        identity=client.identity,
    )
    await client.workflow_service.set_worker_deployment_current_version(request)
    return True
