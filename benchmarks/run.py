"""Run the benchmarks that are named; without a name, startup, loader and overhead."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a file, by its path

NAMES = ("startup", "loader", "overhead", "memory", "scoring", "container", "launch")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", default=["startup", "loader", "overhead"]
    )
    names = parser.parse_args().names
    if unknown := set(names) - set(NAMES):
        parser.error(f"no benchmark {sorted(unknown)[0]}: there are {', '.join(NAMES)}")
    failed = False
    for name in names:
        load = round(os.getloadavg()[0], 1)
        result = import_module(f"benchmarks.{name}").measure()
        result.load_before = load
        path = result.write()
        for figure in result.figures:
            verdict = {None: "", True: "  (holds)", False: "  (FAILS)"}[figure.holds]
            ratio = "" if figure.ratio is None else f", ratio {figure.ratio:.3f}"
            claim = f", {figure.claim}" if figure.claim else ""
            print(
                f"{figure.what}: {figure.value:.4g} {figure.unit}, {figure.peer}: "
                f"{figure.peer_value:.4g}{ratio}{claim}{verdict}"
            )
            failed |= figure.holds is False
        print(f"-> {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
