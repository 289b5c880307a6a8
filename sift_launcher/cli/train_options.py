"""The options of `sift-launch SCRIPT`, in the sections that its help shows."""

from __future__ import annotations

from typing import Any

import click

from sift_launcher import __version__
from sift_launcher.cli.share import Share
from sift_launcher.job_spec import DEFAULT_MAX_RUN_SECONDS


def option(*names: str, **settings: Any) -> click.Option:
    return click.Option(names, **settings)


def flag(*names: str, **settings: Any) -> click.Option:
    return click.Option(names, is_flag=True, **settings)


def _print_version(context: click.Context, option: click.Parameter, wished: bool) -> None:
    if wished and not context.resilient_parsing:
        click.echo(f"sift-launch {__version__}")
        context.exit()


SECTIONS: dict[str, tuple[click.Option, ...]] = {
    "Where it runs": (
        option(
            "--instance",
            default="process",
            show_default=True,
            metavar="WHERE",
            help="process, a process on this machine; local, a Docker container on it; local_gpu, "
            "one with its GPUs; ml.TYPE.SIZE, an instance of SageMaker.",
        ),
        option("--count", type=int, default=1, show_default=True, metavar="N", help="Hosts."),
        option(
            "--distribution",
            metavar="torchrun|none",
            help="torchrun starts the script as ranks over all hosts, none as it is on each.  "
            "[default: torchrun for more than one host]",
        ),
        option(
            "--image",
            help="The hosts' image; stock is AWS's own.  [default: the one of sift-launch build; "
            "in SageMaker stock]",
        ),
        option(
            "--python",
            metavar="PATH",
            help="The interpreter of a process.  [default: the one of this command]",
        ),
        option("--shm-size", metavar="SIZE", help="A container's /dev/shm, such as 2g."),
        option("--memory", metavar="SIZE", help="A container's memory at most, such as 8g."),
        option("--cpus", type=float, metavar="N", help="A container's processors, such as 1.5."),
        option("--platform", metavar="OS/ARCH", help="The image's, to emulate, as linux/arm64."),
    ),
    "What goes in and comes out": (
        option(
            "--source-dir",
            metavar="DIR",
            help="The folder that travels with the job.  [default: the script's]",
        ),
        option(
            "-p",
            "--hyperparameter",
            multiple=True,
            metavar="KEY=VALUE",
            help="Reaches the script as --KEY VALUE. Numbers, true, false and null are sent as "
            'such, all else as text; "5" in quotes is text too.',
        ),
        option(
            "--data",
            multiple=True,
            metavar="CHANNEL=PLACE",
            help="A path, or s3://BUCKET/PREFIX; the script finds it in SM_CHANNEL_<CHANNEL>.",
        ),
        option(
            "--shard",
            multiple=True,
            metavar="CHANNEL",
            help="Each host gets its share of that channel's files, not all of them.",
        ),
        option(
            "--input-mode",
            metavar="File|FastFile",
            help="FastFile reads the data while it trains.  [default: File]",
        ),
        option("--env", multiple=True, metavar="KEY=VALUE", help="A variable of the job."),
        option(
            "--allow",
            multiple=True,
            metavar="FILE|RULE",
            help="Let travel what looks like a secret and is none.",
        ),
        option("--name", help="The job's name.  [default: the script's name and the time]"),
        option(
            "--output",
            metavar="PLACE",
            help="Where NAME/output/model.tar.gz goes.  [default: sift-output; in SageMaker the "
            "account's default bucket]",
        ),
        option(
            "--checkpoint",
            metavar="PLACE",
            help="Where checkpoints are kept, and found.  [default: one of the job's own]",
        ),
        option(
            "--max-run",
            type=int,
            default=DEFAULT_MAX_RUN_SECONDS,
            show_default=True,
            metavar="SECONDS",
            help="The job is stopped after this time.",
        ),
        option(
            "--metric",
            multiple=True,
            metavar="NAME=REGEX",
            help="A number to follow, as the expression finds it in the log.",
        ),
        option("--tag", multiple=True, metavar="KEY=VALUE", help="A tag of the job."),
    ),
    "Sifting": (
        option(
            "--keep",
            type=Share(),
            help="The share of samples to train on; auto: as the job learns.  [default: 0.5]",
        ),
        option("--beta", type=float, help="The same in AWS's terms: 1/keep - 1."),
        option(
            "--sift-delay", type=int, metavar="STEPS", help="Steps with all data before sifting."
        ),
        option(
            "--sift-config",
            metavar="FILE|JSON",
            help="All settings of sifting; the options above override it.",
        ),
        option("--loss", metavar="MODULE:CLASS", help="Your own per-sample Loss."),
        flag("--no-sift", help="A plain job: no sample is dropped."),
    ),
    "In SageMaker (--instance ml.*)": (
        option("--role", metavar="ARN|NAME", help="The role that the job runs under."),
        option("--region", help="The AWS region.  [default: the environment's]"),
        option("--profile", help="The AWS profile.  [default: the environment's]"),
        flag("--spot/--no-spot", help="On spot instances; interrupted, the job resumes."),
        option(
            "--max-wait",
            type=int,
            metavar="SECONDS",
            help="The most it takes with its waiting for them.  [default: a day more than it runs]",
        ),
        option("--volume-size", type=int, metavar="GB", help="Each host's disk.  [default: 30]"),
        option("--kms-key", metavar="KEY", help="What encrypts the code and the outputs."),
        option("--subnet", multiple=True, metavar="ID", help="A subnet of your own network."),
        option("--security-group", multiple=True, metavar="ID", help="A security group of it."),
        flag("--network-isolation/--no-network-isolation", help="Hosts without any network."),
        option(
            "--keep-alive",
            type=int,
            metavar="SECONDS",
            help="Keep the instances for a next job, and pay for them.",
        ),
        option("--retries", type=int, metavar="N", help="Attempts after errors of SageMaker's."),
        option(
            "--budget", type=float, metavar="USD", help="Refuse a job that can cost more than this."
        ),
        option(
            "--price",
            type=float,
            metavar="USD",
            help="An instance's, for an hour, where AWS's is not to be had.",
        ),
        flag("--yes", "-y", help="Launch without asking."),
    ),
    "Rehearsal of SageMaker on this machine": (
        flag("--rehearse", help="Play all of it here: nothing is paid, the job really runs."),
        option(
            "--rehearse-interrupt",
            multiple=True,
            metavar="AT",
            help="Take its spot instances away, at 50% of the epochs or after 30s.",
        ),
        option(
            "--rehearse-on",
            default="process",
            show_default=True,
            metavar="process|local",
            help="What plays an instance.",
        ),
    ),
    "This command": (
        option(
            "--with",
            "profile_of_settings",
            metavar="NAME",
            help="The profile of sift.toml to use (sift-launch init writes one).",
        ),
        flag("--wait/--no-wait", default=True, show_default=True, help="Stay until it has ended."),
        flag("--dry-run", help="Print the plan; start and write nothing."),
        flag(
            "--json",
            "as_json",
            help="Print the plan, or the ended job, as JSON; the log goes to stderr.",
        ),
        flag(
            "--version",
            is_eager=True,
            expose_value=False,
            callback=_print_version,
            help="Show the version and exit.",
        ),
    ),
}
