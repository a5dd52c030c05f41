"""Use-cases of deployments. Each change raises the revision of "serving", which tells the pool to look again."""

from collections.abc import Sequence
from dataclasses import replace

from surplus.kit import revisions
from surplus.kit.db import ReadSession, WriteSession
from surplus.kit.ids import Ids
from surplus.serving import spec as specs
from surplus.serving import store
from surplus.serving.errors import DeploymentExists, UnknownDeployment
from surplus.serving.model import Deployment
from surplus.serving.spec import DeploymentSpec

TOPIC = "serving"
LOCK = "2 serving"
"""Held by whoever changes a deployment."""


def create_deployment(session: WriteSession, ids: Ids, spec: DeploymentSpec, *, now: float) -> Deployment:
    """Make a deployment; the pool starts it.

    Raises BadDeployment for a spec that breaks a rule, DeploymentExists where its id is taken. Whether a path, a URL or
    a key is any good shows when the engine starts.
    """
    session.exclusive(LOCK)
    deployment = specs.deployment(spec, make_id=lambda: ids.new("dep"), now=now)
    if store.find(session, deployment.id) is not None:
        raise DeploymentExists(f"there is a deployment {deployment.id!r} already; choose another id, or leave it out")
    store.add(session, deployment)
    revisions.bump(session, TOPIC)
    return deployment


def list_deployments(session: ReadSession) -> Sequence[Deployment]:
    """All deployments, by model, then in the order in which they are preferred; draining ones too."""
    return store.every(session)


def get_deployment(session: ReadSession, deployment_id: str) -> Deployment:
    """One deployment. Raises UnknownDeployment."""
    found = store.find(session, deployment_id)
    if found is None:
        raise UnknownDeployment(f"there is no deployment {deployment_id!r}; `surplus deployment list` shows them all")
    return found


def drain_deployment(session: WriteSession, deployment_id: str) -> Deployment:
    """No new requests for it, and its end when the present ones have ended. Twice is once. Raises UnknownDeployment."""
    session.exclusive(LOCK)
    deployment = get_deployment(session, deployment_id)
    if not deployment.draining:
        store.set_draining(session, deployment_id)
        revisions.bump(session, TOPIC)
    return replace(deployment, draining=True)


def delete_deployment(session: WriteSession, deployment_id: str) -> None:
    """Forget it. Where it still runs, the pool drains it first. Raises UnknownDeployment."""
    session.exclusive(LOCK)
    get_deployment(session, deployment_id)
    store.remove(session, deployment_id)
    revisions.bump(session, TOPIC)
