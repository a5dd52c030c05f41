"""The form of the code base: what a newcomer can rely on in every package, whoever wrote it."""

import ast
import re
from pathlib import Path

import pytest

from tests.tidy.source import ROOT, SRC, Function, Module, modules, packages

FILE_LINES = 400
FUNCTION_LINES = 70
README_LINES = 120
MIGRATION = "migrations/versions/"
VAGUE = re.compile(r"(^|_)(utils?|helpers?|common|misc|shared|stuff)(_|$)")
SQL = {"select", "insert", "update", "delete", "text"}
DIALECTS = re.compile("sqlite|postgres", re.IGNORECASE)
TELL_OPERATORS = ("settings.py", "cli/commands/server.py")  # what they may set
UNDONE = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
FILE_NAME = re.compile(r"`([a-z_]+(?:/[a-z_]+)*\.py)`")

BY_NAME_WHEN_CALLED = {
    "bootstrap/__init__.py",  # the commands that look at a server from inside
    "bootstrap/parts.py",  # parts that some servers, or some of their processes, never need
    "cli/local.py",  # serve, demo, doctor and care of the books: the others start without the server
    "cli/session.py",  # the HTTP client is half of what a command would take to start
}


def test_there_is_a_code_base() -> None:
    assert len(modules()) > 150
    assert {"billing", "gateway", "kit", "ledger", "serving"} <= {package.name for package in packages()}


def test_files_are_short() -> None:
    long = {module.name: lines for module in modules() if (lines := module.text.count("\n")) > FILE_LINES}
    assert not long


def test_functions_are_short() -> None:
    long = [
        f"{module.at(function)} {function.name} has {lines} lines"
        for module in modules()
        if not module.within(MIGRATION)
        for function in module.functions()
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES
    ]
    assert not long


@pytest.mark.parametrize("package", packages(), ids=lambda package: package.name)
def test_a_package_with_use_cases_says_what_it_owns_in_a_page(package: Path) -> None:
    if (package / "service.py").exists():
        readme = package / "README.md"
        assert readme.exists(), f"{package.name} has no README.md"
        text = readme.read_text()
        assert len(text.splitlines()) <= README_LINES
        for word in ("owns", "does not own", "invariants"):
            assert word in text.lower(), f"the README of {package.name} does not say what it {word}"


def test_the_architecture_names_every_package() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    missing = [package.name for package in packages() if not re.search(rf"\b{package.name}\b", text)]
    assert not missing


@pytest.mark.parametrize("readme", sorted(SRC.rglob("README.md")), ids=lambda readme: readme.parent.name)
def test_a_readme_names_files_that_exist(readme: Path) -> None:
    for name in FILE_NAME.findall(readme.read_text()):
        below = readme.parent / name
        assert below.exists() or (SRC / name).exists() or list(readme.parent.rglob(name)), f"there is no {name}"


def test_modules_are_named_for_what_they_do() -> None:
    names = {part for module in modules() for part in Path(module.name).with_suffix("").parts}
    assert not [name for name in names if VAGUE.search(name)]


def test_only_the_store_of_the_kit_ends_transactions() -> None:
    ended = [
        module.at(call)
        for module in modules()
        if not module.within("kit/db/")
        for call in module.nodes(ast.Call)
        if isinstance(call.func, ast.Attribute) and call.func.attr in {"commit", "rollback"}
    ]
    assert not ended


def test_sql_is_in_stores() -> None:
    written = [
        f"{module.at(found)} imports {', '.join(sorted(names))}"
        for module in modules()
        if not module.within("kit/", "migrations/") and module.path.name != "store.py"
        for found in module.nodes(ast.ImportFrom)
        if (found.module or "").startswith("sqlalchemy") and (names := {alias.name for alias in found.names} & SQL)
    ]
    assert not written


def test_nobody_reaches_for_sqlalchemy_as_a_whole() -> None:
    """The test above sees names; `import sqlalchemy as sa` would hide them."""
    whole = [
        module.at(found)
        for module in modules()
        if not module.within("migrations/")
        for found in module.nodes(ast.Import)
        if any(alias.name.split(".")[0] == "sqlalchemy" for alias in found.names)
    ]
    assert not whole


def test_only_the_store_of_the_kit_knows_the_database() -> None:
    known = [
        f"{module.at(text)} {text.value!r}"
        for module in modules()
        if not module.within("kit/db/", "migrations/", *TELL_OPERATORS)
        for text in module.texts()
        if DIALECTS.search(str(text.value))
    ]
    assert not known


def test_imports_stand_at_the_top() -> None:
    within = [
        module.at(node)
        for module in modules()
        for function in module.functions()
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert not within


def test_modules_are_loaded_by_name_only_where_that_has_a_reason() -> None:
    loading = {module.name for module in modules() for function in module.functions() if _loads_a_module(function)}
    assert loading == BY_NAME_WHEN_CALLED


def _loads_a_module(function: Function) -> bool:
    calls = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
    names = {func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "") for func in calls}
    return bool(names & {"import_module", "__import__"})


def test_what_is_public_is_documented() -> None:
    silent = [
        f"{module.at(node)} {node.name}"
        for module in modules()
        if not module.within(MIGRATION)
        for node in module.tree.body
        if isinstance(node, Function | ast.ClassDef)
        if not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    assert not silent


def test_every_module_says_what_it_is_for() -> None:
    assert not [module.name for module in modules() if not ast.get_docstring(module.tree)]


def test_nothing_is_left_undone() -> None:
    files = [*SRC.rglob("*.py"), *SRC.rglob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    undone = [file.relative_to(ROOT).as_posix() for file in files if UNDONE.search(file.read_text())]
    assert not undone


def test_the_checks_see_what_they_look_for() -> None:
    text = 'def f():\n    """sqlite"""\n    import x\n    return session.commit(), "sqlite"\n'
    module = Module(SRC / "probe" / "utils.py", text, ast.parse(text))
    assert [text.value for text in module.texts()] == ["sqlite"]
    assert VAGUE.search("utils")
    assert VAGUE.search("db_helpers")
    assert not VAGUE.search("commonality")
    assert module.within("probe/")
    assert not module.within("prob")
    assert [node.lineno for node in module.nodes(ast.Import)] == [3]
