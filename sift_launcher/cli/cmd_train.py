"""`sift-launch [OPTIONS] SCRIPT [-- SCRIPT ARGS]`: launch a training job."""

from __future__ import annotations

from pathlib import Path

import click

from sift_launcher import __version__
from sift_launcher.cli.options import (
    channels,
    environment,
    hyperparameters,
    machine_share,
    sift_config,
)
from sift_launcher.cli.root import Root, complete_first_word, meant_subcommand
from sift_launcher.errors import ScriptError
from sift_launcher.job_spec import DEFAULT_MAX_RUN_SECONDS, DEFAULT_OUTPUT, JobSpec

HELP = """Train SCRIPT as a managed job, on only the samples that teach it something.

The script is a Python (.py) or shell (.sh) training script that needs to know nothing of this
command. It runs in a copy of its folder, finds its data in SM_CHANNEL_<NAME> and leaves its model
in SM_MODEL_DIR, here as in SageMaker. What follows -- reaches it exactly as typed.

A script that has the name of a command below is reached with its path, as in ./jobs.
"""


@click.command(
    cls=Root,
    help=HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.argument("script", shell_complete=complete_first_word)
@click.argument("surplus", nargs=-1, metavar="[-- SCRIPT ARGS]")
@click.option(
    "--instance",
    default="process",
    show_default=True,
    help="Where it runs: process, a process on this machine; local, a Docker container on it; "
    "local_gpu, one with its GPUs.",
)
@click.option(
    "--image",
    help="The containers' image; stock is AWS's own.  [default: the one of sift-launch build]",
)
@click.option(
    "--count",
    type=int,
    default=1,
    show_default=True,
    metavar="N",
    help="How many hosts, a container each, on a network of their own.",
)
@click.option(
    "--distribution",
    metavar="torchrun|none",
    help="torchrun starts the script as ranks over all hosts, none as it is on each.  "
    "[default: torchrun for more than one host]",
)
@click.option("--shm-size", metavar="SIZE", help="A container's /dev/shm, such as 2g.")
@click.option("--memory", metavar="SIZE", help="The most memory a container may use, such as 8g.")
@click.option("--cpus", type=float, metavar="N", help="A container's processors, such as 1.5.")
@click.option("--platform", metavar="OS/ARCH", help="The image's, to emulate, as linux/arm64.")
@click.option(
    "--python",
    metavar="PATH",
    help="The interpreter of a process.  [default: the one of this command]",
)
@click.option(
    "--source-dir",
    type=click.Path(path_type=Path),
    help="The folder that travels with the job.  [default: the script's]",
)
@click.option(
    "-p",
    "--hyperparameter",
    "hyperparameter",
    multiple=True,
    metavar="KEY=VALUE",
    help="Reaches the script as --KEY VALUE. Numbers, true, false and null are sent as such, "
    'all else as text; "5" in quotes is text too.',
)
@click.option(
    "--data",
    multiple=True,
    metavar="CHANNEL=PATH",
    help="A folder or file; the script finds it in SM_CHANNEL_<CHANNEL>.",
)
@click.option("--keep", type=float, help="The share of samples to train on.  [default: 0.5]")
@click.option("--beta", type=float, help="The same in AWS's terms: 1/keep - 1.")
@click.option("--sift-delay", type=int, metavar="STEPS", help="Steps with all data before sifting.")
@click.option(
    "--sift-config",
    "sift_config_text",
    metavar="FILE|JSON",
    help="All settings of sifting; the options above override it.",
)
@click.option("--loss", metavar="MODULE:CLASS", help="Your own per-sample Loss.")
@click.option("--no-sift", is_flag=True, help="A plain job: no sample is dropped.")
@click.option("--env", multiple=True, metavar="KEY=VALUE", help="A variable of the job.")
@click.option("--name", help="The job's name.  [default: the script's name and the time]")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=DEFAULT_OUTPUT,
    show_default=True,
    help="Where NAME/output/model.tar.gz goes.",
)
@click.option(
    "--max-run",
    type=int,
    default=DEFAULT_MAX_RUN_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="The job is stopped after this time.",
)
@click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Stay until the job has ended."
)
@click.option("--dry-run", is_flag=True, help="Print the plan; start and write nothing.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the plan, or the ended job, as JSON; the log goes to stderr.",
)
@click.version_option(__version__, message="sift-launch %(version)s")
@click.pass_obj
def command(
    arguments: tuple[str, ...],
    script: str,
    surplus: tuple[str, ...],
    instance: str,
    image: str | None,
    count: int,
    distribution: str | None,
    shm_size: str | None,
    memory: str | None,
    cpus: float | None,
    platform: str | None,
    python: str | None,
    source_dir: Path | None,
    hyperparameter: tuple[str, ...],
    data: tuple[str, ...],
    keep: float | None,
    beta: float | None,
    sift_delay: int | None,
    sift_config_text: str | None,
    loss: str | None,
    no_sift: bool,
    env: tuple[str, ...],
    name: str | None,
    output: Path,
    max_run: int,
    wait: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Makes the specification of what was typed, plans it, and prints or runs the plan."""
    from sift_launcher.cli.pulling import pull_with_report
    from sift_launcher.plan import check, plan
    from sift_launcher.surroundings import gather

    if surplus:
        raise click.UsageError(
            f"unexpected {surplus[0]!r}: what the script should get goes after --"
        )
    if (meant := meant_subcommand(script)) is not None:
        raise ScriptError(f"no such script: {script} (did you mean sift-launch {meant}?)")
    spec = JobSpec(
        script=script,
        arguments=arguments,
        instance=instance,
        count=count,
        image=image,
        share=machine_share(shm_size, memory, cpus, platform),
        distribution=distribution,
        source_dir=source_dir,
        hyperparameters=hyperparameters(hyperparameter),
        channels=channels(data),
        sift_config=sift_config(keep, beta, sift_delay, sift_config_text, loss, no_sift),
        environment=environment(env),
        name=name,
        output=output,
        max_run_seconds=max_run,
        python=python,
    )
    check(spec)
    if dry_run:
        from sift_launcher.cli.show_plan import show_plan

        show_plan(plan(spec, gather(spec)), as_json)
        return
    from sift_launcher.cli.launch import launch
    from sift_launcher.instances import is_container
    from sift_launcher.local.standby import Standby

    with Standby(["docker"] if is_container(spec.instance) else []) as standby:
        planned = plan(spec, gather(spec, pull_with_report))
        launch(planned, standby, wait=wait, as_json=as_json)
