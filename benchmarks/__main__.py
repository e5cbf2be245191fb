"""``python -m benchmarks [NAME...]``: measure against the peers, print and store the ratios."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import ALL, Benchmark, Settings, document, find, read_all, run, text_of, with_goals
from budbreak.errors import MissingData, UnknownName
from budbreak.files import write_text

_RESULTS, _PAGE = Path("benchmarks/results"), Path("docs/benchmarks.md")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, store; run from the root of the repository.

    Returns:
        The exit code, 0; 2 for a wrong command line, or where a peer is not installed.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        chosen = find(options.names)
    except UnknownName as error:
        parser.error(str(error))
    if options.list:
        width = max(len(benchmark.name) for benchmark in chosen)
        print("\n".join(f"{benchmark.name:<{width}}  {benchmark.about}" for benchmark in chosen))
        return 0
    if options.names or options.write_docs is None:
        try:
            _measure(chosen, options)
        except MissingData as error:
            parser.error(str(error))
    if options.write_docs is not None:
        _write_page(options.out, options.write_docs)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__, allow_abbrev=False)
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks (default: all); see --list")
    parser.add_argument("--list", action="store_true", help="say what there is, and measure nothing")
    parser.add_argument("--quick", action="store_true", help="smaller and fewer samples: a look")
    parser.add_argument("--smoke", action="store_true", help="tiny: whether everything runs; ratios mean nothing")
    parser.add_argument("--wall", action="store_true", help="elapsed time instead of CPU time")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: 1; more only with --wall)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(default: cpu; cuda means --wall)")
    parser.add_argument("--out", type=Path, default=_RESULTS, help=f"folder for the results (default: {_RESULTS})")
    parser.add_argument(
        "--write-docs", type=Path, nargs="?", const=_PAGE, metavar="FILE",
        help=f"write the page from the stored results, and measure only what is named (default: {_PAGE})",
    )  # fmt: skip
    return parser


def _measure(chosen: Sequence[Benchmark], options: argparse.Namespace) -> None:
    settings = _settings(options)
    for benchmark in chosen:
        stored = run(benchmark, settings)
        print(text_of(stored))
        print(f"  stored: {stored.write(options.out)}\n", flush=True)


def _settings(options: argparse.Namespace) -> Settings:
    size = "smoke" if options.smoke else "quick" if options.quick else "full"
    mode = "wall" if options.wall or options.device == "cuda" or options.threads > 1 else "cpu"
    return Settings(size, mode, options.threads, options.device)


def _write_page(folder: Path, page: Path) -> None:
    results = read_all(folder, [benchmark.name for benchmark in ALL])
    write_text(page, document(results))
    print(f"written: {page}")
    readme = page.parent.parent / "README.md"
    if readme.is_file():
        write_text(readme, with_goals(readme.read_text(encoding="utf-8"), results))


if __name__ == "__main__":
    sys.exit(main())
