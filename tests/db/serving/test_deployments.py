"""Deployments in the store."""

import pytest

from surplus.kit import revisions
from surplus.kit.db import Database, WriteSession
from surplus.kit.ids import CountedIds
from surplus.serving import service
from surplus.serving.errors import BadDeployment, DeploymentExists, UnknownDeployment
from surplus.serving.model import Deployment
from surplus.serving.spec import DeploymentSpec

NOW = 1_800_000_000.0
URL = "http://gpu-07:8000/v1"


def create(database: Database, ids: CountedIds, **fields: object) -> Deployment:
    spec = DeploymentSpec(**{"model": "m", "engine": "vllm", "url": URL, "context": 8192, **fields})  # type: ignore[arg-type]
    return database.write_now(service.create_deployment, ids, spec, now=NOW)


def revision(database: Database) -> int:
    return database.read_now(revisions.read).get(service.TOPIC, 0)


def test_what_is_written_is_read_again(database: Database) -> None:
    ids = CountedIds()
    remote = create(database, ids, key_file="/run/key", priority=2, embeddings=True, slots=9)
    local = create(database, ids, engine="llamacpp", url=None, path="/m.gguf", replicas=3, id="local")
    assert database.read_now(service.get_deployment, remote.id) == remote
    assert database.read_now(service.list_deployments) == [local, remote]


def test_an_id_is_given_once(database: Database) -> None:
    create(database, CountedIds(), id="main")
    with pytest.raises(DeploymentExists, match="main"):
        create(database, CountedIds(), id="main", model="other")
    assert [each.model for each in database.read_now(service.list_deployments)] == ["m"]


def test_a_refused_deployment_changes_nothing(database: Database) -> None:
    with pytest.raises(BadDeployment):
        create(database, CountedIds(), context=0)
    assert (list(database.read_now(service.list_deployments)), revision(database)) == ([], 0)


def test_the_list_is_by_model_then_preference(database: Database) -> None:
    ids = CountedIds()
    for model, priority, name in (("b", 0, "b0"), ("a", 1, "a1"), ("a", 0, "a0")):
        create(database, ids, model=model, priority=priority, id=name)
    assert [each.id for each in database.read_now(service.list_deployments)] == ["a0", "a1", "b0"]


def test_draining_is_remembered_and_twice_is_once(database: Database) -> None:
    made = create(database, CountedIds())
    before = revision(database)
    assert database.write_now(service.drain_deployment, made.id).draining
    assert database.write_now(service.drain_deployment, made.id).draining
    assert database.read_now(service.get_deployment, made.id).draining
    assert revision(database) == before + 1


def test_a_deleted_deployment_is_gone(database: Database) -> None:
    made = create(database, CountedIds())
    database.write_now(service.delete_deployment, made.id)
    assert list(database.read_now(service.list_deployments)) == []
    assert revision(database) == 2


def test_an_unknown_id_is_named(database: Database) -> None:
    def drain(session: WriteSession) -> None:
        service.drain_deployment(session, "dep_9")

    def delete(session: WriteSession) -> None:
        service.delete_deployment(session, "dep_9")

    for use in (drain, delete):
        with pytest.raises(UnknownDeployment, match="dep_9"):
            database.write_now(use)
    with pytest.raises(UnknownDeployment, match="dep_9"):
        database.read_now(service.get_deployment, "dep_9")
    assert revision(database) == 0
