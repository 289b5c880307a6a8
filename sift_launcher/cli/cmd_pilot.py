"""`sift-launch pilot SCRIPT [-- SCRIPT ARGS]`: try shares in short runs, and recommend one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from sift_launcher.cli import cmd_train
from sift_launcher.cli.launch import launch_quietly
from sift_launcher.cli.pilot_options import SECTIONS, next_line
from sift_launcher.cli.project_settings import with_settings
from sift_launcher.cli.pulling import pull_with_report
from sift_launcher.cli.root import ScriptCommand
from sift_launcher.cli.show_pilot import say_begin, say_left_out, say_run, show
from sift_launcher.cli.to_spec import to_spec
from sift_launcher.cli.train_here import point_to_account
from sift_launcher.errors import JobInterrupted, OptionError, ResourceInUse, SiftLaunchError
from sift_launcher.instances import is_cloud, is_container
from sift_launcher.job_spec import JobSpec
from sift_launcher.local.job import LocalJob
from sift_launcher.local.standby import Standby
from sift_launcher.pilot.arms import Trial, check_base, parse_shares, trials
from sift_launcher.pilot.metric import Metric, asked_for
from sift_launcher.pilot.recommend import cannot_sift, recommend
from sift_launcher.pilot.report import Report
from sift_launcher.pilot.results import Measurement, Yardstick, is_control_already, results
from sift_launcher.pilot.run import Trials, measure
from sift_launcher.plan import Plan, check
from sift_launcher.surroundings import gather
from sift_launcher.validation import legal_name
from smart_sifting.sift_config.job_config import SiftConfig

HELP = """Run SCRIPT a few times on this machine, and recommend a share of the samples.

It runs on everything, on several shares by preference, and on as many samples without one, which
is what fewer epochs would do. Whether a job can be trained on less depends on the regime it is in,
and no rule of thumb knows that: this measures it. What follows -- reaches the script exactly as
typed.
"""

_LONGEST_STEM = 15  # what a made-up name leaves for the arms' own


@click.pass_context
def run(context: click.Context, /, script: str, surplus: tuple[str, ...], **typed: Any) -> None:
    """Runs what has not run yet, and shows what it came to, also when it ends early."""
    if surplus:
        raise click.UsageError(
            f"unexpected {surplus[0]!r}: what the script should get goes after --"
        )
    wanted = trials(parse_shares(typed["shares"]), typed["seeds"], control=typed["control"])
    _check_tolerance(typed["tolerance"])
    values = _launch_values(context, script, typed)
    metric = _metric(typed, values["metric"])
    pilot = _pilot(_spec(script, context.obj, values), wanted, typed["seed_argument"])
    _run(context, pilot, wanted, metric)


def _run(
    context: click.Context, pilot: Trials, wanted: Sequence[Trial], metric: Metric | None
) -> None:
    measurements: dict[Trial, Measurement] = {}
    say_begin(pilot.name, pilot.spec.script, len(wanted))
    try:
        for number, trial in enumerate(wanted, 1):
            if is_control_already(trial, measurements):
                say_left_out(number, len(wanted), trial)
                continue
            measurements[trial], metric = measure(trial, pilot.run(trial), metric)
            say_run(number, len(wanted), trial, measurements[trial], metric)
            if cannot_sift(results(measurements)):
                break
    except (JobInterrupted, KeyboardInterrupt) as interrupt:
        _report(context, pilot, measurements, metric, is_complete=False)
        raise JobInterrupted(
            f"pilot {pilot.name} was interrupted after {len(measurements)} of {len(wanted)} runs: "
            f"the same line with --name {pilot.name} goes on"
        ) from interrupt
    except SiftLaunchError:
        _report(context, pilot, measurements, metric, is_complete=False)
        raise
    _report(context, pilot, measurements, metric, is_complete=True)


def _report(
    context: click.Context,
    pilot: Trials,
    measurements: Mapping[Trial, Measurement],
    metric: Metric | None,
    *,
    is_complete: bool,
) -> None:
    """Shows and keeps what there is; nothing when not even one run was measured."""
    if metric is None or not measurements:
        return
    typed, spec = context.params, pilot.spec
    yardstick = Yardstick(
        lower_is_better=metric.lower_is_better or typed["lower_is_better"],
        tolerance=typed["tolerance"],
    )
    advice = command = None
    if is_complete:
        advice = recommend(results(measurements), yardstick, metric.name)
        command = next_line(context, spec.script, spec.arguments, advice.arm, pilot.base)
    report = Report(
        name=pilot.name,
        script=spec.script,
        arguments=spec.arguments,
        metric=metric,
        yardstick=yardstick,
        measurements=measurements,
        recommendation=advice,
        command=command,
    )
    folder = Path(pilot.surroundings.output) / pilot.name
    report.write(folder)
    show(report, folder, typed["as_json"])


def _check_tolerance(tolerance: float | None) -> None:
    if tolerance is not None and not tolerance >= 0:
        raise OptionError(
            f"--tolerance {tolerance:g} is no amount: 0 or more, in the metric's own unit"
        )


def _launch_values(context: click.Context, script: str, typed: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a launch by their names: typed, the project's, or their defaults."""
    launch = cmd_train.command
    defaults = launch.make_context("sift-launch", ["./a-script"]).params
    values = {name: typed.get(name, default) for name, default in defaults.items()}
    return with_settings(context, script, values, launch.params)


def _metric(typed: Mapping[str, Any], of_project: Mapping[str, str]) -> Metric | None:
    """The metric that was asked for, else the project's if it has one alone."""
    lower_is_better = typed["lower_is_better"]
    if typed["expression"] is not None:
        return asked_for(typed["expression"], lower_is_better=lower_is_better)
    if len(of_project) == 1:
        [(name, expression)] = of_project.items()
        return asked_for(expression, lower_is_better=lower_is_better, name=name)
    return None


def _spec(script: str, arguments: tuple[str, ...], values: Mapping[str, Any]) -> JobSpec:
    """What all runs have in common. The project's own share and checkpoints are no part of it."""
    own = {"keep": None, "beta": None, "no_sift": False, "checkpoint": None}
    spec = to_spec(script, arguments, {**values, **own})
    if is_cloud(spec.instance):
        raise OptionError(
            f"--instance {spec.instance}: a pilot runs on this machine, in process, local or "
            "local_gpu; what it recommends goes for a job in SageMaker too"
        )
    check(spec)
    return spec


def _pilot(spec: JobSpec, wanted: Sequence[Trial], seed_argument: str | None) -> Trials:
    base = spec.sift_config or SiftConfig()
    check_base(base)
    point_to_account(spec)
    here = gather(spec, pull_with_report)
    stem = legal_name(Path(here.program).stem)[:_LONGEST_STEM].rstrip("-") or "pilot"
    name = spec.name or f"{stem}-{here.now:%Y%m%d-%H%M%S}-{here.name_seed}"
    pilot = Trials(name, spec, base, here, seed_argument, _launch)
    for trial in wanted:
        pilot.plan(trial)  # what is wrong with the last of them is said before the first
    if LocalJob(name).exists():
        raise ResourceInUse(f"a job is named {name!r}: choose another --name for the pilot")
    return pilot


def _launch(planned: Plan) -> None:
    instance = planned.request["ResourceConfig"]["InstanceType"]
    with Standby(["docker"] if is_container(instance) else []) as standby:
        launch_quietly(planned, standby)


command = ScriptCommand(
    "pilot",
    SECTIONS,
    callback=run,
    params=[
        click.Argument(["script"], type=click.Path()),
        click.Argument(["surplus"], nargs=-1, metavar="[-- SCRIPT ARGS]"),
    ],
    help=HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
