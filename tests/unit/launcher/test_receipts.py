from __future__ import annotations

import os
from pathlib import Path

import pytest

from sift_launcher.errors import ResourceNotFound
from sift_launcher.local.collect import collect
from sift_launcher.local.records import JobRecord, JobRecords
from sift_launcher.local.status import created
from sift_launcher.local.tree import HostTree
from sift_launcher.receipts import job_receipt, rows
from smart_sifting.receipt import Receipt, Resumed, Samples, file_name


@pytest.fixture
def record(tmp_path: Path) -> JobRecord:
    """Of a job on two hosts that has just begun."""
    request = {
        "ResourceConfig": {"InstanceType": "local", "InstanceCount": 2},
        "OutputDataConfig": {"S3OutputPath": f"file://{tmp_path}/out"},
        "HyperParameters": {"sift_config": "{}"},
    }
    record, lock = JobRecords(tmp_path / "state").create("job", request, {}, created(1.0))
    os.close(lock)
    return record


@pytest.mark.parametrize("ranks", [(0, 1), (0, 0)], ids=["one world", "each on its own"])
def test_the_receipts_of_all_hosts_are_one_while_they_run_and_afterwards(
    record: JobRecord, tmp_path: Path, ranks: tuple[int, int]
):
    with pytest.raises(ResourceNotFound, match="job job has no receipt: it has not trained yet"):
        job_receipt(record)
    trees = {f"algo-{n}": HostTree(record.hosts / f"algo-{n}") for n in (1, 2)}
    for rank, tree in zip(ranks, trees.values(), strict=True):
        tree.model.mkdir(parents=True)
        receipt = Receipt(rank=rank, samples=Samples(seen=10, kept=5, dropped=5))
        receipt.write(tree.output_data / file_name(rank))
    live, folder = job_receipt(record)
    assert (live.samples.seen, folder) == (20, trees["algo-1"].output_data)

    results = tmp_path / "out" / "job" / "output"
    collect(trees, results)
    for tree in trees.values():
        (tree.output_data / "receipt.json").unlink(missing_ok=True)
        (tree.output_data / "receipt-1.json").unlink(missing_ok=True)
    kept, folder = job_receipt(record)
    assert (kept.samples.seen, folder) == (20, results)


def test_a_receipt_tells_of_every_restart():
    receipt = Receipt(resumed=[Resumed(30, lost_steps=5, lost_seconds=1.25), Resumed(60)])
    assert [told for name, told in rows(receipt) if name == "resumed"] == [
        "from a checkpoint at step 30; 5 steps (1.25 s) after it were done again",
        "from a checkpoint at step 60; 0 steps (0.00 s) after it were done again",
    ]
