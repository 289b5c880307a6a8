"""Measure sifting beside its peers: python -m benchmarks.sifting [WORKLOAD ...], or claims.

Each workload's results go into benchmarks/results/sifting. A job that was measured before is not
run again, so what was interrupted goes on. `claims` prints what the results say, with commands.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.sifting import data, report
from benchmarks.sifting.arms import DEFAULT, Arm, arm
from benchmarks.sifting.page import claims
from benchmarks.sifting.results import RESULTS, read_all
from benchmarks.sifting.runner import Found, Job, recalled, run_all
from benchmarks.sifting.workloads import WORKLOADS

MOST_SEEDS = 10
"""Seeds below this one are looked for among what was measured before."""


def main(words: list[str] | None = None) -> int:
    args = parse(words)
    if args.names == ["claims"]:
        print("\n".join(claims(read_all(args.results))))
        return 0
    own = {name: folder for name, _, folder in (each.partition("=") for each in args.data)}
    complete = True
    for name in args.names:
        try:
            complete &= measure(name, args, own.get(WORKLOADS[name].data))
        except data.DataMissing as missing:
            print(f"{name}: {missing}", file=sys.stderr)
            complete = False
    return 0 if complete else 1


def parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sifting",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = ", ".join(WORKLOADS)
    parser.add_argument("names", nargs="*", metavar="WORKLOAD", help=f"of {known}; or claims")
    parser.add_argument("--size", choices=("cpu", "full"), default="cpu", help="full: for a GPU")
    parser.add_argument("--arms", help="such as full,memory-0.5; default: all of the size")
    parser.add_argument("--seeds", default="0,1,2", help="such as 0,1,2,3,4 (default: 0,1,2)")
    parser.add_argument("--jobs", type=int, help="at once (default: a core each; full: 1)")
    parser.add_argument("--fresh", action="store_true", help="measure again what was measured")
    parser.add_argument(
        "--data", action="append", default=[], metavar="SET=FOLDER", help="your own copy of a set"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    args = parser.parse_args(words)
    args.names = args.names or list(WORKLOADS)
    args.jobs = args.jobs or ((os.cpu_count() or 1) if args.size == "cpu" else 1)
    try:
        args.arms = [arm(each) for each in args.arms.split(",")] if args.arms else usual(args.size)
        args.seeds = [int(each) for each in args.seeds.split(",")]
    except ValueError as wrong:
        parser.error(str(wrong))
    if args.names != ["claims"] and (unknown := set(args.names) - WORKLOADS.keys()):
        parser.error(f"no workload {sorted(unknown)[0]}: there are {known}")
    pairs = [each.partition("=") for each in args.data]
    if strange := ["".join(each) for each in pairs if each[0] not in data.DATA_SETS or not each[2]]:
        parser.error(f"--data {strange[0]}: write SET=FOLDER, SET of {', '.join(data.DATA_SETS)}")
    return args


def measure(name: str, args: argparse.Namespace, own: str | None) -> bool:
    """Runs one workload and writes its results; whether every arm was had."""
    workload = WORKLOADS[name]
    folder = Path(own).resolve() if own else data.folder_of(workload.data)
    load = round(os.getloadavg()[0], 1)

    def jobs(arms: Iterable[Arm], seeds: Iterable[int]) -> list[Job]:
        return [Job(workload, args.size, each, seed, folder) for seed in seeds for each in arms]

    asked = jobs(args.arms, args.seeds)
    print(f"{name}: {len(asked)} jobs, {args.jobs} at once", flush=True)
    runs: dict[str, list[Found]] = {}
    missing: dict[str, str] = {}
    kept = data.cache() / "benchmarks" / "sifting-runs"
    for job, found in run_all(asked, kept, args.jobs, args.fresh):
        if isinstance(found, str):
            missing[job.arm.name] = found
        else:
            runs.setdefault(job.arm.name, []).append(found)
    # What was measured before by the same code belongs in the table, asked for or not.
    taken = {job.key() for job in asked}
    others = jobs(usual(args.size), range(MOST_SEEDS))
    for job, found in recalled([each for each in others if each.key() not in taken], kept):
        runs.setdefault(job.arm.name, []).append(found)
    if runs:
        genuine = data.is_genuine(folder, workload.data)
        command = command_of(name, args.size, runs)
        result = report.result_of(name, args.size, runs, missing, command, load, genuine)
        print(f"-> {report.write(result, args.results)}")
    return not missing


def usual(size: str) -> list[Arm]:
    """The arms of a size when nobody names others."""
    return [arm(each) for each in DEFAULT[size]]


def command_of(name: str, size: str, runs: Mapping[str, Sequence[Found]]) -> str:
    """What to type to measure just this."""
    words = [name]
    if set(runs) != set(DEFAULT[size]):
        words += ["--arms", ",".join(runs)]
    seeds = sorted({run["seed"] for found in runs.values() for run in found})
    if seeds != [0, 1, 2]:
        words += ["--seeds", ",".join(map(str, seeds))]
    target = "bench-sifting" if size == "cpu" else "bench-sifting-full"
    return f"make {target} ARGS={shlex.quote(' '.join(words))}"


if __name__ == "__main__":
    sys.exit(main())
