"""Imports point down: the layers of the architecture, kept true by walking every import statement."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import budbreak

PACKAGE = Path(budbreak.__file__).parent
ROOT = "budbreak"

LAYERS = [
    (1, "errors checks values foreign processes _version"),
    (2, "files masks measuring"),
    (3, "graph"),
    (4, "evidence lowrank"),
    (5, "criteria schedules allocations activations diagnostics networks data"),
    (6, "live compaction"),
    (7, "iteration search training testing"),
    (8, "recipes executors results"),
    (9, "studies"),
    (10, "reporting exporting integrations contrib"),
    (11, "cli __main__"),
]
TABLE = {module: layer for layer, modules in LAYERS for module in modules.split()}
ROOMS = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
SIBLINGS_APART = {5}
"""In these layers rooms do not know each other; in the others they may, as long as no circle arises."""


def module_of(path, package=PACKAGE):
    """The dotted name inside the package of a file; "" for its ``__init__``."""
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources():
    return {module_of(path): path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}


def names_at_the_door(source):
    """What the ``__all__`` of a room's ``__init__`` exports."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return set(ast.literal_eval(node.value))
    return set()


def imports_of(module, source, *, is_package=False):
    """The budbreak modules that a module imports anywhere, in functions and under TYPE_CHECKING too; "" = the root."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".") if module else []
                parents = parents[: len(parents) - (node.level - (1 if is_package else 0))]
                base = ".".join([ROOT, *parents, *([base] if base else [])])
            # "from budbreak import errors" is an import of the module, "from budbreak import prune" of the root
            # "from budbreak.graph import undisturbed" is the function at the door, not the module behind it
            shown = DOORS.get(base[len(ROOT) + 1 :], set())
            full = {f"{base}.{alias.name}" for alias in node.names if alias.name not in shown}
            found |= {name if name[len(ROOT) + 1 :] in FILES else base for name in full}
            found |= {base for alias in node.names if alias.name in shown}
    return {name[len(ROOT) + 1 :] for name in found if name == ROOT or name.startswith(f"{ROOT}.")}


def unplaced(imported):
    """Why nothing may import this, or None."""
    return None if imported.split(".")[0] in {"", *TABLE} else f"{imported} is in no layer"


def complaint(importer, imported):
    """Why this import is not allowed, or None."""
    one, other = importer.split(".")[0], imported.split(".")[0]
    if one == other or one == "":
        return "testing is for tests: the library does not import it" if (one, other) == ("", "testing") else None
    if other == "":
        return None if one == "cli" else "import from the room that defines it, not from the package root"
    if other == "testing":
        return "testing is for tests: the library does not import it"
    if "." in imported and other in ROOMS:
        return f"{imported} lies behind the door of {other}: import from budbreak.{other}, whose __init__ exports it"
    if TABLE[other] > TABLE[one]:
        return f"layer {TABLE[one]} ({one}) may not import layer {TABLE[other]} ({other}): imports point down"
    if TABLE[other] == TABLE[one] and TABLE[one] in SIBLINGS_APART:
        return f"{one} and {other} are rooms of layer {TABLE[one]}: they never import each other"
    return None


FILES = sources()
DOORS = {module: names_at_the_door(source) for module, source in FILES.items() if module}
PACKAGES = {module_of(path) for path in PACKAGE.rglob("__init__.py")}


def test_each_module_has_a_layer():
    found = {name.split(".")[0] for name in FILES} - {""}
    assert not found - set(TABLE), f"in no layer: give them one in LAYERS of {Path(__file__).name}"


def test_imports_point_down():
    """In all modules at once: more than five hundred tests would take longer to begin than to look."""
    wrong = [
        f"{module}: {why}"
        for module, source in FILES.items()
        for imported in imports_of(module, source, is_package=module in PACKAGES)
        if (why := unplaced(imported) or complaint(module, imported)) is not None
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("errors", "masks"),
        ("masks.selection", "criteria"),
        ("criteria.magnitude", "schedules"),
        ("diagnostics", "live"),
        ("live.holding", "iteration"),
        ("iteration.plan", "studies"),
        ("training", "cli"),
        ("testing.toys", "studies"),
        ("studies", "testing"),
        ("studies.run", "iteration.loop"),
        ("criteria.magnitude", "masks.scores"),
        ("", "testing"),
        ("iteration", ""),
    ],
)
def test_the_rule_refuses(importer, imported):
    assert complaint(importer, imported)


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("masks.mask", "files"),
        ("masks.mask", "masks.prunable"),
        ("criteria.random", "criteria.magnitude"),
        ("live.pruning", "live.holding"),
        ("studies.run", "iteration"),
        ("testing", "evidence"),
        ("cli.run", ""),
        ("", "iteration"),
        ("studies", "values"),
    ],
)
def test_the_rule_allows(importer, imported):
    assert complaint(importer, imported) is None


@pytest.mark.parametrize(
    ("source", "is_package", "expected"),
    [
        ("import budbreak.masks", False, {"masks"}),
        ("import budbreak", False, {""}),
        ("from budbreak import masks", False, {"masks"}),
        ("from budbreak import no_module", False, {""}),
        ("from budbreak.evidence import weights, UnitCounts", False, {"evidence.weights", "evidence"}),
        ("from budbreak.evidence.weights import Weights", False, {"evidence.weights"}),
        ("def f():\n    from budbreak.cli import main", False, {"cli"}),
        ("if TYPE_CHECKING:\n    import budbreak.studies as r", False, {"studies"}),
        ("from .magnitude import Magnitude", False, {"criteria.magnitude"}),
        ("from . import magnitude", True, {"criteria.taylor"}),
        ("from .. import masks", False, {"masks"}),
        ("from ..masks import Mask", False, {"masks"}),
        ("import torch, budbreaker", False, set()),
    ],
)
def test_imports_are_found_wherever_they_stand(source, is_package, expected):
    assert imports_of("criteria.taylor", source, is_package=is_package) == expected


def test_no_circle_of_modules():
    graph = {
        module: {i for i in imports_of(module, FILES[module], is_package=module in PACKAGES) if i in FILES and i != ""}
        for module in FILES
        if module
    }
    done, path = set(), []

    def visit(module):
        assert module not in path, f"a circle of imports: {' -> '.join([*path[path.index(module) :], module])}"
        if module not in done:
            path.append(module)
            for imported in sorted(graph[module]):
                visit(imported)
            done.add(path.pop())

    for module in graph:
        visit(module)


FOREIGN = """
import sys
import torch, numpy
before = {name.split(".")[0] for name in sys.modules}
import budbreak
after = {name.split(".")[0] for name in sys.modules}
print(*sorted(after - before - set(sys.stdlib_module_names)))
"""


def test_importing_budbreak_brings_nothing_else():
    """Only torch, numpy and what these import themselves: all else waits until it is used."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FOREIGN], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["budbreak"]


def test_the_table_of_contributing_names_every_module():
    text = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    missing = [path.stem for path in PACKAGE.iterdir() if not path.name.startswith("_") and path.suffix in ("", ".py")]
    missing = [name for name in missing if f"`{name}`" not in text and f"`{name}/`" not in text]
    assert missing == []
