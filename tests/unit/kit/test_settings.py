from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta, Struct, field

from surplus.kit.errors import BadSetting
from surplus.kit.settings import describe, environment, load, variable
from surplus.settings import Settings


class Door(Struct, frozen=True):
    width_cm: Annotated[int, Meta(ge=1, le=300, description="How wide it opens.")] = 90
    colour: Annotated[Literal["red", "green"], Meta(description="What it looks like.")] = "green"
    locked: Annotated[bool, Meta(description="Whether it is shut.")] = False
    label: Annotated[str, Meta(min_length=1, description="What it says.")] = "push"


class Alarm(Struct, frozen=True):
    delay_s: Annotated[float, Meta(ge=0, description="Seconds until it rings.")] = 1.5
    volume: Annotated[float, Meta(description="How loud it is.")] = 1.0


class House(Struct, frozen=True):
    door: Door = field(default_factory=Door)
    front_alarm: Alarm = field(default_factory=Alarm)

    def conflicts(self) -> list[str]:
        if self.door.locked and self.door.width_cm > 200:
            return ["door.width_cm has no effect while door.locked is true; unlock it"]
        return []


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "house.toml"


def refusal(file: Path | None = None, variables: dict[str, str] | None = None) -> str:
    with pytest.raises(BadSetting) as caught:
        load(House, file=file, environment=variables or {})
    return caught.value.message


def test_nothing_given_is_the_defaults() -> None:
    house, sources = load(House, file=None, environment={"PATH": "/bin"})
    assert house == House()
    assert set(sources.values()) == {"default"}
    assert set(sources) == {setting.name for setting in describe(House)}


def test_the_file_and_the_environment_fill_their_fields_and_the_environment_wins(file: Path) -> None:
    file.write_text('[door]\nwidth_cm = 120\ncolour = "red"\nlocked = true\n[front_alarm]\ndelay_s = 3\n')
    variables = {"SURPLUS_DOOR_WIDTH_CM": "80", "SURPLUS_DOOR_LOCKED": "false", "SURPLUS_FRONT_ALARM_VOLUME": "0.25"}
    house, sources = load(House, file=file, environment=variables)
    assert house == House(Door(80, "red", False, "push"), Alarm(3.0, 0.25))
    assert sources == {
        "door.width_cm": "SURPLUS_DOOR_WIDTH_CM",
        "door.colour": str(file),
        "door.locked": "SURPLUS_DOOR_LOCKED",
        "door.label": "default",
        "front_alarm.delay_s": str(file),
        "front_alarm.volume": "SURPLUS_FRONT_ALARM_VOLUME",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[door]\nwidth = 1", ["door.width", "nearest known name is door.width_cm"]),
        ("[dor]\nwidth_cm = 1", ["[dor]", "nearest known name is door"]),
        ("door = 3", ["door is a section", "[door]"]),
        ("[door]\nwidth_cm = 0", ["door.width_cm", "a whole number from 1 to 300", "0"]),
        ("[door]\nwidth_cm = 301", ["door.width_cm", "a whole number from 1 to 300", "301"]),
        ('[door]\nwidth_cm = "90"', ["door.width_cm", "a whole number from 1 to 300", "'90'"]),
        ("[door]\nwidth_cm = true", ["door.width_cm", "a whole number from 1 to 300", "True"]),
        ("[door]\nwidth_cm = 90.5", ["door.width_cm", "a whole number from 1 to 300", "90.5"]),
        ("[door]\nlocked = 1", ["door.locked", "true or false"]),
        ('[door]\ncolour = "blue"', ["door.colour", "one of green, red", "'blue'"]),
        ('[door]\nlabel = ""', ["door.label", "text that is not empty"]),
        ("[door]\nlabel = [1]", ["door.label", "text that is not empty"]),
        ("[front_alarm]\ndelay_s = -1", ["front_alarm.delay_s", "a number of at least 0"]),
        ("[front_alarm]\nvolume = nan", ["front_alarm.volume", "a number"]),
        ("[front_alarm]\nvolume = inf", ["front_alarm.volume", "a number"]),
        ("[door\n", ["not TOML", "line 1"]),
    ],
)
def test_a_wrong_file_is_refused_by_its_name_and_the_setting_s(file: Path, text: str, expected: list[str]) -> None:
    file.write_text(text)
    message = refusal(file)
    for words in [str(file), *expected]:
        assert words in message


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SURPLUS_DOOR_WIDTH", "1", "nearest known name is SURPLUS_DOOR_WIDTH_CM"),
        ("SURPLUS_DOOR_WIDTH_CM", "wide", "a whole number from 1 to 300"),
        ("SURPLUS_DOOR_WIDTH_CM", "", "a whole number from 1 to 300"),
        ("SURPLUS_DOOR_WIDTH_CM", "301", "a whole number from 1 to 300"),
        ("SURPLUS_DOOR_LOCKED", "perhaps", "true or false"),
        ("SURPLUS_FRONT_ALARM_VOLUME", "inf", "a number"),
        ("SURPLUS_FRONT_ALARM_VOLUME", "nan", "a number"),
    ],
)
def test_a_wrong_variable_is_refused_by_its_name(name: str, value: str, expected: str) -> None:
    message = refusal(variables={name: value})
    assert name in message
    assert expected in message


def test_every_problem_is_told_at_once(file: Path) -> None:
    file.write_text("[door]\nwidth_cm = 0\nhandle = 1\n[roof]\n")
    with pytest.raises(BadSetting) as caught:
        load(House, file=file, environment={"SURPLUS_DOOR_LOCKED": "x", "SURPLUS_ROOF": "1"})
    problems = caught.value.message.split("\n")
    assert len(problems) == 5
    assert caught.value.detail["problems"] == problems


def test_a_value_in_the_file_is_not_checked_where_the_environment_overrides_it(file: Path) -> None:
    file.write_text("[door]\nwidth_cm = 0\n")
    house, _ = load(House, file=file, environment={"SURPLUS_DOOR_WIDTH_CM": "7"})
    assert house.door.width_cm == 7


def test_settings_without_effect_are_refused(file: Path) -> None:
    file.write_text("[door]\nlocked = true\n")
    assert "no effect" in refusal(file, {"SURPLUS_DOOR_WIDTH_CM": "201"})
    load(House, file=file, environment={"SURPLUS_DOOR_WIDTH_CM": "200"})


def test_variables_of_others_are_ignored_and_no_more() -> None:
    load(House, file=None, environment={"SURPLUS_URL": "http://127.0.0.1", "SURPLUS_KEY": "sk-x", "OTHER_DOOR": "1"})
    load(House, file=None, environment={"SURPLUS_DATA": "d"}, ignore=frozenset({"SURPLUS_DATA"}))
    assert "SURPLUS_DATA" in refusal(variables={"SURPLUS_DATA": "d"})


def test_a_file_that_cannot_be_read_is_refused(file: Path, tmp_path: Path) -> None:
    assert "cannot be read" in refusal(file)
    assert "cannot be read" in refusal(tmp_path)
    file.write_bytes(b'[door]\nlabel = "\xff"\n')
    assert "not UTF-8" in refusal(file)


def test_describe_is_the_tree_in_its_order() -> None:
    assert list(describe(House))[:3] == [
        ("door.width_cm", "a whole number from 1 to 300", 90, "How wide it opens."),
        ("door.colour", "one of green, red", "green", "What it looks like."),
        ("door.locked", "true or false", False, "Whether it is shut."),
    ]


def leaves(struct: Struct) -> Iterator[tuple[str, object]]:
    for section in msgspec.structs.fields(struct):
        part = getattr(struct, section.name)
        for leaf in msgspec.structs.fields(part):
            yield f"{section.name}.{leaf.name}", getattr(part, leaf.name)


def test_the_reference_matches_the_product_s_tree() -> None:
    settings, _ = load(Settings, file=None, environment={})
    assert {setting.name: setting.default for setting in describe(Settings)} == dict(leaves(settings))
    assert all(setting.doc.endswith(".") for setting in describe(Settings))


def test_what_the_reference_names_can_be_set(file: Path) -> None:
    for setting in describe(Settings):
        section, name = setting.name.split(".")
        file.write_text(f"[{section}]\n{name} = {msgspec.json.encode(setting.default).decode()}\n")
        _, sources = load(Settings, file=file, environment={})
        assert sources[setting.name] == str(file)
        text = str(setting.default)
        _, sources = load(Settings, file=None, environment={variable(setting.name): text})
        assert sources[setting.name] == variable(setting.name)


@pytest.mark.parametrize(
    ("variables", "word"),
    [
        ({"SURPLUS_TRACING_ENDPOINT": "http://127.0.0.1:4318"}, "tracing.sample_ratio"),
        ({"SURPLUS_TRACING_SAMPLE_RATIO": "0.5"}, "tracing.endpoint"),
        ({"SURPLUS_GATEWAY_IDLE_TIMEOUT_S": "700"}, "gateway.request_timeout_s"),
        ({"SURPLUS_GATEWAY_REQUEST_TIMEOUT_S": "50", "SURPLUS_GATEWAY_KEEPALIVE_S": "51"}, "gateway.keepalive_s"),
        ({"SURPLUS_GATEWAY_RETRY_PAUSE_S": "3"}, "gateway.retry_pause_max_s"),
    ],
)
def test_contradictions_of_the_product_s_settings_are_refused(variables: dict[str, str], word: str) -> None:
    with pytest.raises(BadSetting, match=word):
        load(Settings, file=None, environment=variables)


def test_a_default_that_another_setting_overtakes_is_no_contradiction() -> None:
    settings, _ = load(Settings, file=None, environment={"SURPLUS_GATEWAY_REQUEST_TIMEOUT_S": "20"})
    assert settings.gateway.idle_timeout_s == 60.0
    both = {"SURPLUS_TRACING_ENDPOINT": "http://127.0.0.1:4318", "SURPLUS_TRACING_SAMPLE_RATIO": "0.5"}
    assert load(Settings, file=None, environment=both)[0].tracing.sample_ratio == 0.5


def test_environment_is_this_process_s_and_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURPLUS_SERVER_PORT", "1")
    copy = environment()
    assert copy["SURPLUS_SERVER_PORT"] == "1"
    copy.clear()
    assert environment()["SURPLUS_SERVER_PORT"] == "1"


def test_two_settings_may_not_share_a_variable() -> None:
    class Short(Struct, frozen=True):
        b_c: Annotated[int, Meta(description="One.")] = 1

    class Long(Struct, frozen=True):
        c: Annotated[int, Meta(description="Another.")] = 1

    class Root(Struct, frozen=True):
        a: Short = field(default_factory=Short)
        a_b: Long = field(default_factory=Long)

    with pytest.raises(AssertionError, match="share an environment variable"):
        load(Root, file=None, environment={})
