"""A client, and a server that answers what the test says."""

from collections.abc import Iterator

import pytest

from surplus.client import Client
from tests.unit.client.answering import Answering, answering


@pytest.fixture
def server() -> Iterator[Answering]:
    with answering() as state:
        yield state


@pytest.fixture
def client(server: Answering) -> Iterator[Client]:
    with Client(server.url + "/", " sk-a-b\n", timeout_s=20) as one:
        yield one
