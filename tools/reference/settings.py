"""The page of settings, from the annotations of `surplus.settings`."""

import json
from itertools import groupby

from surplus.kit.settings import Setting, describe, variable
from surplus.settings import Settings
from tools.reference.markdown import code, document, table

_INTRO = """
A server reads `surplus.toml` in its data directory, or the file that `--config` names. An environment variable wins
over the file, and `--host` and `--port` of `surplus serve` win over both. Everything has a default: no file is needed.

A server does not start with a setting that it does not know, that does not fit its range, or that would have no effect
beside the others; it names every problem at once, and the nearest name that it knows. `surplus doctor --data DIR` says
the same without starting anything.
"""


def page() -> str:
    """docs/reference/settings.md"""
    sections = groupby(describe(Settings), key=lambda setting: setting.name.partition(".")[0])
    parts = [part for name, found in sections for part in (f"## [{name}]", _table(list(found)))]
    return document("Settings", _INTRO, *parts)


def _table(found: list[Setting]) -> str:
    head = ("setting", "environment variable", "may be", "default", "what it does")
    return table(head, [_row(setting) for setting in found])


def _row(setting: Setting) -> tuple[str, ...]:
    default = code(json.dumps(setting.default))
    return code(setting.name), code(variable(setting.name)), setting.kind, default, setting.doc
