"""All SQL of serving."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import delete, select, update

from surplus.kit.db import ReadSession, WriteSession
from surplus.kit.db.session import AnyRow
from surplus.serving.model import Deployment, EngineKind
from surplus.serving.tables import deployments


def add(session: WriteSession, deployment: Deployment) -> None:
    """Write a new deployment; its id must be free."""
    session.insert(deployments, [asdict(deployment)])


def find(session: ReadSession, deployment_id: str) -> Deployment | None:
    """The deployment with this id, or None."""
    row = session.first(select(deployments).where(deployments.c.id == deployment_id))
    return None if row is None else _deployment(row)


def every(session: ReadSession) -> Sequence[Deployment]:
    """All deployments, by model, then in the order in which they are preferred."""
    order = (deployments.c.model, deployments.c.priority, deployments.c.created_at, deployments.c.id)
    return [_deployment(row) for row in session.all(select(deployments).order_by(*order))]


def set_draining(session: WriteSession, deployment_id: str) -> None:
    """Mark it as draining."""
    session.execute(update(deployments).where(deployments.c.id == deployment_id).values(draining=True))


def remove(session: WriteSession, deployment_id: str) -> None:
    """Delete it."""
    session.execute(delete(deployments).where(deployments.c.id == deployment_id))


def _deployment(row: AnyRow) -> Deployment:
    fields: dict[str, Any] = dict(zip(deployments.c.keys(), row, strict=True))
    fields["engine"] = EngineKind(fields["engine"])
    return Deployment(**fields)
