"""A job's receipt, found wherever the job has got to, for the status line and the table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sift_launcher.errors import ResourceNotFound
from sift_launcher.local.collect import folder_of
from sift_launcher.local.records import JobRecord
from sift_launcher.local.tree import HostTree, hosts_of
from sift_launcher.paths import local_path
from smart_sifting.errors import ReceiptException
from smart_sifting.receipt import Receipt, Resumed, merge, read_all, summary_line
from smart_sifting.sift_config.job_config import VISITS_AUTO

_PREFIX = "sift: receipt: "


@dataclass(frozen=True)
class Glimpse:
    """What the status line shows of a receipt that is being written."""

    step: int
    kept_share: float | None
    """Share of the samples kept so far; None when the job does not sift."""

    tier: str


def glimpse(path: Path) -> Glimpse:
    """The head of the receipt at `path`. Raises OSError, ValueError or KeyError without one."""
    receipt = json.loads(path.read_text("utf-8"))
    samples = receipt["samples"]
    sifted = receipt["tier"] not in ("pass-through", "waiting") and samples["seen"] > 0
    share = samples["kept"] / samples["seen"] if sifted else None
    return Glimpse(int(receipt["steps"]), share, str(receipt["tier"]))


def live_receipt(record: JobRecord) -> Path:
    """Where the first rank of a running job writes its receipt."""
    return _trees(record)[0].output_data / "receipt.json"


def results_folder(record: JobRecord) -> Path:
    """Where the collected outputs of the job lie, or will."""
    output = local_path(record.request()["OutputDataConfig"]["S3OutputPath"])
    return (output or record.folder) / record.name / "output"


def job_receipt(record: JobRecord) -> tuple[Receipt, Path]:
    """The receipt of all ranks on all hosts, and the folder of the first host's.

    Raises ResourceNotFound when there is none (yet) or it cannot be read.
    """
    results = results_folder(record)
    collected = [folder_of(host, results) for host in hosts_of(record.request())]
    for folders in ([tree.output_data for tree in _trees(record)], collected):
        try:
            ranks = [rank for folder in folders for rank in read_all(folder)]
        except ReceiptException as error:
            raise ResourceNotFound(str(error)) from error
        if ranks:
            return merge(ranks), folders[0]
    plain = "sift_config" not in record.request().get("HyperParameters", {})
    why = (
        "it was not sifted (--no-sift)"
        if plain
        else "it has not trained yet, or nothing in it uses torch"
    )
    raise ResourceNotFound(f"job {record.name} has no receipt: {why}")


def one_line(receipt: Receipt) -> str:
    """The receipt's summary, without the log's prefix."""
    return summary_line(receipt).removeprefix(_PREFIX)


def picture(receipt: Receipt, folder: Path) -> Path | None:
    """The receipt's picture in `folder`, drawn when the job did not come to it.

    None when the folder can no longer be written: the table says all of it too.
    """
    path = folder / "receipt.svg"
    if path.exists():
        return path
    from smart_sifting.picture import draw_svg

    try:
        path.write_text(draw_svg(receipt), "utf-8")
    except OSError:
        return None
    return path


def rows(receipt: Receipt) -> list[tuple[str, str]]:
    """The receipt as a table of names and values, units in the names."""
    samples, seconds = receipt.samples, receipt.seconds
    return [
        ("tier", f"{receipt.tier}: {receipt.reason}" if receipt.reason else receipt.tier),
        ("keep fraction asked for", f"{receipt.keep:g} ({receipt.acceptance})"),
        ("samples seen", f"{samples.seen}"),
        ("samples kept", f"{samples.kept}{_share(samples.kept, samples.seen)}"),
        ("samples dropped", f"{samples.dropped}"),
        *_if(samples.left_over, "samples left over at the end"),
        *_if(samples.non_finite, "samples with a NaN or infinite loss, kept"),
        ("batches seen, given", f"{receipt.batches.seen}, {receipt.batches.given}"),
        ("steps", f"{receipt.steps}"),
        ("epochs", f"{receipt.epochs}"),
        *_visits(receipt),
        *(("resumed", _resumed(each)) for each in receipt.resumed),
        ("seconds in scoring", f"{seconds.scoring:.2f}"),
        ("seconds in training", f"{seconds.training:.2f}"),
        ("seconds in data", f"{seconds.data:.2f}"),
        ("seconds in discovery", f"{seconds.discovery:.2f}"),
        ("seconds in all", f"{seconds.total:.2f}"),
        *_unsifted(receipt),
        *(("note", note) for note in receipt.notes),
    ]


def class_rows(receipt: Receipt) -> list[tuple[str, str, str, str]]:
    """Label, samples seen, samples kept and kept share of every class."""
    return [
        (
            str(each.label),
            str(each.seen),
            str(each.kept),
            f"{each.kept / each.seen:.1%}" if each.seen else "",
        )
        for each in receipt.classes
    ]


def _trees(record: JobRecord) -> Sequence[HostTree]:
    return [HostTree(record.hosts / host) for host in hosts_of(record.request())]


def _share(part: int, whole: int) -> str:
    return f" ({part / whole:.1%})" if whole else ""


def _if(count: int, name: str) -> list[tuple[str, str]]:
    return [(name, str(count))] if count else []


def _visits(receipt: Receipt) -> list[tuple[str, str]]:
    """How often a sample was trained on, and what is to be expected where that is seldom."""
    samples = receipt.samples
    if not samples.dropped or not receipt.epochs:
        return []
    visits = receipt.epochs * samples.kept / samples.seen
    advice = (
        f" (few: what is dropped before visit {VISITS_AUTO} usually costs accuracy; "
        "--keep auto drops nothing before)"
        if visits < VISITS_AUTO
        else ""
    )
    return [("visits of a sample", f"{visits:.1f}{advice}")]


def _resumed(restart: Resumed) -> str:
    again = f"{restart.lost_steps} steps ({restart.lost_seconds:.2f} s)"
    return f"from a checkpoint at step {restart.step}; {again} after it were done again"


def _unsifted(receipt: Receipt) -> list[tuple[str, str]]:
    unsifted, saved = receipt.unsifted, receipt.saved
    if unsifted.measured_steps == 0:
        return [("seconds unsifted", "not measured, so no saving is claimed")]
    measured = (
        f"{unsifted.seconds:.2f} (measured: {unsifted.measured_steps} full steps, "
        f"{unsifted.step_seconds * 1000:.2f} ms each and {unsifted.data_seconds * 1000:.2f} ms "
        "for the data)"
    )
    verdict = (
        f"{saved.seconds:.2f} ({saved.share:.1%})"
        if saved.seconds >= 0
        else f"none: sifting cost {-saved.seconds:.2f} more than it saved ({-saved.share:.1%})"
    )
    money = [("dollars saved", f"{saved.dollars:.2f}")] if saved.dollars is not None else []
    return [("seconds unsifted", measured), ("seconds saved", verdict), *money]
