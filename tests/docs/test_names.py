"""The guides name nothing that does not exist: no metric, setting, command or option that was renamed since."""

import re
import tomllib
from pathlib import Path

import pytest

from surplus.kit.settings import describe, load, variable
from surplus.ledger.service import OVERRUN_TOPIC
from surplus.settings import Settings
from tests.docs.blocks import blocks
from tests.docs.test_links import ROOT
from tools.reference import commands

MADE = ROOT / "docs" / "reference"
GUIDES = [ROOT / "README.md", *sorted(file for file in (ROOT / "docs").rglob("*.md") if file.parent != MADE)]
METRIC = re.compile(r"\b(?:surplus|gen_ai)_[a-z_]+_[a-z]+\b")
COMMAND = re.compile(r"(?:^|`|\$\()surplus ((?:[a-z-]+ ?){1,2})([^`\n]*)", re.MULTILINE)
OPTION = re.compile(r"(?<!\S)--[a-z-]+")
SETTINGS = {setting.name: setting for setting in describe(Settings)}
SECTIONS = {name.partition(".")[0] for name in SETTINGS}
TOPICS = {OVERRUN_TOPIC}
"""What is told to whoever listens; the name begins like a section of the settings."""
HISTOGRAM = re.compile(r"_\{bucket,sum,count\}")


def shown(guide: Path) -> str:
    """The text of a guide without what commands answered, a command on one line."""
    text = guide.read_text()
    for block in blocks(guide):
        if block.language == "text":
            text = text.replace(block.text, "")
    return text.replace("\\\n", " ")


@pytest.fixture(params=GUIDES, ids=lambda guide: str(guide.relative_to(ROOT)))
def guide(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_its_metrics_exist(guide: Path) -> None:
    reference = HISTOGRAM.sub("_bucket", (MADE / "metrics.md").read_text())
    known = set(METRIC.findall(reference))
    named = set(METRIC.findall(HISTOGRAM.sub("_bucket", shown(guide))))
    assert named <= known, named - known


def test_its_settings_exist(guide: Path) -> None:
    text = shown(guide)
    names = re.findall(r"`([a-z]+\.(?!py`)[a-z_]+)`", text)  # store.py is a file, store.url a setting
    dotted = {name for name in names if name.partition(".")[0] in SECTIONS}
    assert dotted - TOPICS <= SETTINGS.keys(), dotted - SETTINGS.keys()
    variables = set(re.findall(r"\bSURPLUS_[A-Z]+_[A-Z_]+\b", text))
    assert variables <= {variable(name) for name in SETTINGS}


def test_its_settings_files_are_accepted(guide: Path, tmp_path: Path) -> None:
    file = tmp_path / "surplus.toml"
    for block in blocks(guide):
        if block.language == "toml" and set(tomllib.loads(block.text)) <= SECTIONS:
            file.write_text(block.text)
            settings, sources = load(Settings, file=file, environment={})
            assert settings != Settings()
            assert str(file) in sources.values()


def test_its_commands_and_their_options_exist(guide: Path) -> None:
    known = {path.removeprefix("surplus "): options(command) for path, command in commands.every()}
    for words, rest in COMMAND.findall(shown(guide)):
        name = next((name for name in (words.strip(), words.split()[0]) if name in known), None)
        assert name is not None or any(path.startswith(words.strip()) for path in known), f"no command {words!r}"
        if name is not None:
            assert set(OPTION.findall(rest)) <= {*known[name], "--help"}, (name, rest)


def options(command: object) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts}


def test_there_is_much_to_look_at() -> None:
    texts = "\n".join(shown(guide) for guide in GUIDES)
    assert len(METRIC.findall(texts)) >= 8
    assert len(COMMAND.findall(texts)) >= 60
    assert len(re.findall(r"`(?:server|gateway)\.[a-z_]+`", texts)) >= 5
