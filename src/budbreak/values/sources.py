"""The code that a definition depends on: the file that defines it, and those of the user's own that it imports."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import resolve_name
from pathlib import Path

from budbreak.errors import InvalidValue
from budbreak.foreign import is_users_own

_NOTED = "budbreak_source"  # on the spec of a module, which each loading makes anew
_OURS = __name__.partition(".")[0]


@dataclass(frozen=True)
class Source:
    """The text of a module.

    Args:
        digest: SHA-256 of the text, 64 hexadecimal digits; line ends make no difference.
        imports: the modules that it names in import statements, wherever these stand, and the packages around them.
    """

    digest: str
    imports: tuple[str, ...]


def sources_of(module: str) -> Mapping[str, Source]:
    """The source of a module, and of all modules of the user's own that it imports, and these, and so on, by name.

    Each as it was when it was first looked at after it was loaded: what is edited later is not the code that runs.
    Files of installed packages are not followed. Nothing is imported for it.

    Args:
        module: imported already.

    Raises:
        OSError: if a file cannot be read, or the module has none.
    """
    if not _file_of(module):
        raise FileNotFoundError(module)
    sources = {module: _noted(module, Path(_file_of(module)))}
    rest = [*_packages_around(module), *sources[module].imports] if _is_users_own(module) else []
    while rest:
        name = rest.pop(0)
        if name not in sources and _is_users_own(name):
            sources[name] = _noted(name, Path(_file_of(name)))
            rest += sources[name].imports
    return sources


def check_unchanged(module: str) -> None:
    """Refuse code that is older than its file: what it computes would be taken for the results of the file.

    Raises:
        InvalidValue: with the file.
    """
    sources = sources_of(module) if _file_of(module) else {}  # a built-in module has no file
    for name, source in sources.items():
        file = Path(_file_of(name))
        if _read(name, file).digest != source.digest:
            rule = "the code that runs is that of the file"
            fix = "start Python anew, or importlib.reload the module and those that import it"
            raise InvalidValue(f"{file} was edited after it was imported", rule, fix)


def _is_users_own(name: str) -> bool:
    """Whether it is a module in a Python file that is neither ours, nor Python's, nor of an installed package."""
    top = name.partition(".")[0]
    if top == _OURS or top in sys.stdlib_module_names:
        return False
    file = _file_of(name)
    return file.endswith(".py") and is_users_own(file)


def _file_of(name: str) -> str:
    """The file of a module, loaded or not; empty where there is none."""
    loaded = sys.modules.get(name)
    spec = _find(name) if loaded is None else None
    file = getattr(loaded, "__file__", None) if spec is None else spec.origin
    return file or ""


def _find(name: str) -> ModuleSpec | None:
    """What an import would find, without one."""
    parent = name.rpartition(".")[0]
    if not parent:
        return PathFinder.find_spec(name)
    loaded = sys.modules.get(parent)
    places = getattr(loaded, "__path__", None) if loaded is not None else _places(_find(parent))
    return None if places is None else PathFinder.find_spec(name, list(places))


def _places(spec: ModuleSpec | None) -> list[str] | None:
    return None if spec is None else spec.submodule_search_locations


def _noted(name: str, file: Path) -> Source:
    spec = getattr(sys.modules.get(name), "__spec__", None)
    noted = getattr(spec, _NOTED, None)
    if noted is None:
        noted = _read(name, file)
        if spec is not None:
            setattr(spec, _NOTED, noted)
    return noted


def _read(name: str, file: Path) -> Source:
    text = file.read_bytes().replace(b"\r\n", b"\n")
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    imports = _imported(text, package) if file.suffix == ".py" else ()
    return Source(hashlib.sha256(text).hexdigest(), tuple(dict.fromkeys(imports)))


def _imported(text: bytes, package: str) -> Iterator[str]:
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError):  # no import of it succeeds, either
        nodes = []
    for node in nodes:
        for name in _named(node, package):
            yield from (*_packages_around(name), name)


def _named(node: ast.AST, package: str) -> list[str]:
    """The modules that a statement may import: in ``from a import b``, b may be one, too."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    try:
        base = resolve_name("." * node.level + (node.module or ""), package)
    except ImportError:  # beyond the topmost package: this import fails
        return []
    return [base, *(f"{base}.{alias.name}" for alias in node.names)]


def _packages_around(name: str) -> list[str]:
    """The packages whose ``__init__`` is run before a module, outermost first."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]
