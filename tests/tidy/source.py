"""The source of the product, parsed once."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "surplus"

Function = ast.FunctionDef | ast.AsyncFunctionDef
T = TypeVar("T", bound=ast.AST)


@dataclass(frozen=True)
class Module:
    """One file: its path below src/surplus, its text and its tree."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """`gateway/path.py`"""
        return self.path.relative_to(SRC).as_posix()

    def within(self, *folders: str) -> bool:
        """Whether it is one of these files (`bootstrap.py`), or in one of these folders (`kit/`)."""
        return any(self.name == each or (each.endswith("/") and self.name.startswith(each)) for each in folders)

    def nodes(self, kind: type[T]) -> Iterator[T]:
        """Every node of a kind."""
        return (node for node in ast.walk(self.tree) if isinstance(node, kind))

    def functions(self) -> Iterator[Function]:
        """Every function and method."""
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))

    def texts(self) -> Iterator[ast.Constant]:
        """Every string that is not documentation."""
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        bodies = [node.body for node in ast.walk(self.tree) if isinstance(node, documented)]
        loose = {id(each.value) for body in bodies for each in body if isinstance(each, ast.Expr)}
        return (node for node in self.nodes(ast.Constant) if isinstance(node.value, str) and id(node) not in loose)

    def at(self, node: ast.AST) -> str:
        """Where a node is, for people."""
        return f"{self.name}:{getattr(node, 'lineno', 1)}"


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the product."""
    files = sorted(SRC.rglob("*.py"))
    return tuple(Module(file, text := file.read_text(), ast.parse(text)) for file in files)


@cache
def packages() -> tuple[Path, ...]:
    """The packages directly below src/surplus."""
    return tuple(sorted(file.parent for file in SRC.glob("*/__init__.py")))
