"""Settings come from one file and from the environment, and are refused unless every one of them has an effect.

The caller owns the tree: a frozen `msgspec.Struct` whose fields are sections, each a frozen Struct of plain values. A
field's range and its line of documentation stand in its annotation, `Annotated[int, Meta(ge=1, description="…")]`.
`server.port` is `port` under `[server]` in the file, and SURPLUS_SERVER_PORT in the environment, which wins.
"""

import difflib
import math
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, cast, runtime_checkable

import msgspec

from surplus.kit.errors import BadSetting

PREFIX = "SURPLUS_"
FOR_CLIENTS = frozenset({"SURPLUS_URL", "SURPLUS_KEY"})
"""Variables that say which server a command talks to; they are nobody's settings."""

Root = TypeVar("Root", bound=msgspec.Struct)
Tree = dict[str, dict[str, object]]
"""Values by section and field."""


class Setting(NamedTuple):
    """One line of the reference: `section.field`, what it may be, what it is when nobody says, and what it does."""

    name: str
    kind: str
    default: object
    doc: str


@runtime_checkable
class HasConflicts(Protocol):
    """A root whose fields can contradict each other, or leave each other without effect."""

    def conflicts(self) -> list[str]:
        """One sentence for each contradiction: which setting, why it has no effect, what to change."""
        ...


@dataclass(frozen=True, slots=True)
class _Field:
    section: str
    name: str
    annotation: Any
    setting: Setting

    @property
    def variable(self) -> str:
        return variable(self.setting.name)


class _Given(NamedTuple):
    value: object
    source: str


def environment() -> dict[str, str]:
    """A copy of this process's environment. Everything else takes it as an argument."""
    return dict(os.environ)  # noqa: TID251  the one place that reads the environment


def load(
    root_type: type[Root],
    *,
    file: Path | None,
    environment: Mapping[str, str],
    ignore: frozenset[str] = FOR_CLIENTS,
) -> tuple[Root, Mapping[str, str]]:
    """The settings, and for every `section.field` where it came from: `default`, the file's path, or a variable.

    `file` is TOML and must exist if given. `ignore` names SURPLUS_ variables that belong to someone else. Raises
    BadSetting with every problem found: unknown names (and the nearest known one), values that do not fit, and whatever
    the root's own `conflicts()` finds.
    """
    fields = _fields(root_type)
    problems: list[str] = []
    given: dict[str, _Given] = {}
    if file is not None:
        given.update(_from_file(file, fields, problems))
    given.update(_from_environment(environment, fields, ignore, problems))
    values: Tree = {}
    for field in fields:
        if field.setting.name in given:
            values.setdefault(field.section, {})[field.name] = _convert(field, given[field.setting.name], problems)
    _refuse(problems)
    settings = msgspec.convert(values, root_type)
    if isinstance(settings, HasConflicts):
        _refuse(settings.conflicts())
    names = [field.setting.name for field in fields]
    return settings, {name: given[name].source if name in given else "default" for name in names}


def describe(root_type: type[msgspec.Struct]) -> Iterator[Setting]:
    """Every setting of the tree in the order it is written, for the reference and for `--help`."""
    return (field.setting for field in _fields(root_type))


def variable(name: str) -> str:
    """The environment variable of `section.field`."""
    return PREFIX + name.replace(".", "_").upper()


def _fields(root_type: type[msgspec.Struct]) -> list[_Field]:
    found = [
        _Field(section.name, field.name, field.type, _setting(section.name, field))
        for section in msgspec.structs.fields(root_type)
        for field in msgspec.structs.fields(cast("type[msgspec.Struct]", section.type))
    ]
    assert len({field.variable for field in found}) == len(found), "two settings share an environment variable"
    return found


def _setting(section: str, field: msgspec.structs.FieldInfo) -> Setting:
    name = f"{section}.{field.name}"
    inspected = msgspec.inspect.type_info(field.type)
    assert isinstance(inspected, msgspec.inspect.Metadata), f"{name} has no description"
    schema = cast("dict[str, str]", inspected.extra_json_schema or {})  # pyright: ignore[reportUnknownMemberType]  bare dict there
    assert field.default is not msgspec.NODEFAULT, f"{name} has no default"
    return Setting(name, _kind(inspected.type), field.default, schema["description"])


def _kind(inspected: msgspec.inspect.Type) -> str:
    match inspected:
        case msgspec.inspect.IntType():
            return "a whole number" + _range(inspected.ge, inspected.le)
        case msgspec.inspect.FloatType():
            return "a number" + _range(inspected.ge, inspected.le)
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.StrType():
            return "text" if not inspected.min_length else "text that is not empty"
        case msgspec.inspect.LiteralType():
            return "one of " + ", ".join(map(str, inspected.values))
        case _:
            raise TypeError(f"a setting cannot be a {inspected}")


def _range(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if low is not None:
        return f" of at least {low}"
    return f" of at most {high}" if high is not None else ""


def _from_file(file: Path, fields: Sequence[_Field], problems: list[str]) -> Iterator[tuple[str, _Given]]:
    known = {field.setting.name for field in fields}
    sections = {field.section for field in fields}
    for section, body in _parse(file).items():
        if section not in sections:
            problems.append(f"{file} has an unknown section [{section}]{_nearest(section, sections)}")
        elif not isinstance(body, dict):
            problems.append(f"{file}: {section} is a section; write [{section}] on its own line, settings below it")
        else:
            for key, value in cast("dict[str, object]", body).items():
                name = f"{section}.{key}"
                if name in known:
                    yield name, _Given(value, str(file))
                else:
                    problems.append(f"{file} has an unknown setting {name}{_nearest(name, known)}")


def _parse(file: Path) -> dict[str, object]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadSetting(f"the settings file {file} cannot be read ({error.strerror}); check its path") from error
    except UnicodeDecodeError as error:
        raise BadSetting(f"the settings file {file} is not UTF-8 text; write it again as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise BadSetting(f"the settings file {file} is not TOML: {error}") from error


def _from_environment(
    environment: Mapping[str, str], fields: Sequence[_Field], ignore: frozenset[str], problems: list[str]
) -> Iterator[tuple[str, _Given]]:
    known = {field.variable: field.setting.name for field in fields}
    for name, value in environment.items():
        if name in known:
            yield known[name], _Given(value, name)
        elif name.startswith(PREFIX) and name not in ignore:
            problems.append(f"the environment has an unknown setting {name}{_nearest(name, known)}")


def _nearest(name: str, known: Mapping[str, str] | set[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0)
    return f"; the nearest known name is {close[0]}" if close else ""


def _convert(field: _Field, given: _Given, problems: list[str]) -> object:
    from_environment = given.source == field.variable
    try:
        converted = msgspec.convert(given.value, field.annotation, strict=not from_environment)
    except msgspec.ValidationError:
        converted = None
    if converted is None or (isinstance(converted, float) and not math.isfinite(converted)):
        place = given.source if from_environment else f"{field.setting.name} in {given.source}"
        problems.append(f"{place} must be {field.setting.kind}, but is {given.value!r}")
    return converted


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise BadSetting("\n".join(problems), detail={"problems": list(problems)})
