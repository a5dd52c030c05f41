"""The reference says what the code says, and says all of it."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from surplus.gateway import errors as gateway_errors
from surplus.kit.errors import SurplusError
from surplus.kit.settings import describe, variable
from surplus.settings import Settings
from tools.reference import commands, errors, metrics, routes
from tools.reference.pages import pages
from tools.reference.server import built

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
REPAIR = "`make docs` writes it again"


@pytest.fixture(scope="module")
def made() -> Mapping[str, str]:
    return pages()


def test_the_pages_that_are_kept_are_those_that_the_code_makes(made: Mapping[str, str]) -> None:
    assert {file.name for file in FOLDER.iterdir()} == set(made)
    for name, text in made.items():
        assert (FOLDER / name).read_text() == text, f"docs/reference/{name} is old; {REPAIR}"


def test_making_them_again_makes_the_same(made: Mapping[str, str]) -> None:
    assert pages() == made


def test_every_setting_is_described_with_its_variable() -> None:
    text = (FOLDER / "settings.md").read_text()
    described = list(describe(Settings))
    assert len(described) >= 20
    for setting in described:
        assert f"| `{setting.name}` | `{variable(setting.name)}` |" in text
        assert setting.doc in text


def test_every_command_is_described_with_its_options() -> None:
    sections = (FOLDER / "cli.md").read_text().split("\n## ")
    every = dict(commands.every())
    assert {"surplus serve", "surplus key create", "surplus ledger verify"} <= every.keys()
    for path, command in every.items():
        section = next(text for text in sections if text.startswith(f"`{path}`\n"))
        for parameter in command.params:
            assert parameter.opts[0] in section or parameter.metavar in section, (path, parameter.opts)


def test_every_error_is_described_and_so_is_every_one_that_a_caller_of_models_can_meet() -> None:
    text = (FOLDER / "errors.md").read_text()
    for error in errors.every():
        where = f"{error.__module__.removeprefix('surplus.')}.{error.__name__}"
        assert f"| `{error.code}` | {error.status} |" in text
        assert f"`{where}`" in text
    own = {found for found in vars(gateway_errors).values() if _is_own(found)}
    assert own
    assert own <= {type(error) for error in errors.SURFACE}


def _is_own(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, SurplusError) and found.__module__ == gateway_errors.__name__


async def test_every_metric_is_described() -> None:
    text = (FOLDER / "metrics.md").read_text()
    async with built() as server:
        found = await metrics.families(server)
    assert len(found) >= 12
    for metric in found:
        assert f"| `{metrics.scraped_name(metric)}` | {metric.type} |" in text


async def test_every_route_is_described() -> None:
    text = (FOLDER / "api.md").read_text()
    async with built() as server:
        found = await routes.every(server)
    assert len(found) >= 30
    for route in found:
        assert f"| `{route.method} {route.path}` | {route.summary}." in text
