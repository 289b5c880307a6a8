"""A plan for SageMaker as a reader sees it."""

from __future__ import annotations

from dataclasses import replace

from cloud_here import BUCKET, CLOUD, IMAGE, ROLE, RUNTIME, SPEC, here

from sift_launcher.bundle import CodeBundle, CodeFile
from sift_launcher.cli.show_plan import in_short
from sift_launcher.cloud.facts import Upload
from sift_launcher.job_spec import Channel
from sift_launcher.plan import plan


def test_everything_that_is_worth_knowing_is_in_it():
    files = tuple(CodeFile(f"f{n}.py", n * 1000) for n in range(1, 8))
    uploaded = (CodeFile("a.csv", 2_000_000, "/d/a.csv"),)
    spec = replace(
        SPEC,
        count=2,
        spot=True,
        max_run_seconds=7200,
        max_wait_seconds=9000,
        volume_size_gb=100,
        network_isolation=True,
        subnets=("subnet-1", "subnet-2"),
        security_groups=("sg-1",),
        channels={"train": Channel("a.csv"), "test": Channel("s3://bkt/t", True, "FastFile")},
    )
    cloud = replace(
        CLOUD,
        runtime=RUNTIME,
        uploads=(Upload("train", "/d/a.csv", f"s3://{BUCKET}/sift-data/01/", uploaded),),
    )
    surroundings = replace(
        here(cloud), bundle=CodeBundle("/home/ada/digits", files, (".git/", "old/"))
    )
    planned = replace(plan(spec, surroundings), is_rehearsal=True)
    assert in_short(planned).splitlines() == [
        "job       digits (a rehearsal on this machine)",
        f"image     {IMAGE}",
        f"note      image {IMAGE} has no sifting runtime: it travels with the code",
        "hosts     2 x ml.g5.xlarge in us-east-1, 100 GB each, for 2 h at most, on spot instances, "
        "within 2.5 h with the waiting, in subnet-1, subnet-2, without any network",
        "code      7 files, 28.0 kB, from /home/ada/digits",
        "             7.0 kB  f7.py",
        "             6.0 kB  f6.py",
        "             5.0 kB  f5.py",
        "             4.0 kB  f4.py",
        "             3.0 kB  f3.py",
        "          and 2 smaller",
        "          and the sifting runtime: 1 file, 8 B",
        "left out  .git/, old/",
        f"data      train: s3://{BUCKET}/sift-data/01/ (1 file, 2.0 MB of /d/a.csv, uploaded once)",
        "          test: s3://bkt/t (a share for each host; FastFile)",
        f"          code: s3://{BUCKET}/digits/source/sourcedir.tar.gz",
        f"output    s3://{BUCKET}/digits/output/",
        f"kept      s3://{BUCKET}/digits/checkpoints (checkpoints)",
        f"role      {ROLE}",
        "cost      at most $5.63 = $1.408/h x 2 x 2 h (AWS Pricing API, 2026-03-09)",
        "          about $1.60 on spot instances, as an estimate",
        "          nothing in this rehearsal",
    ]


def test_a_price_that_is_not_known_is_said_with_the_reason_and_what_to_type():
    for problem, told in (
        ("", "--price USD says what an hour of an instance costs"),
        ("nobody answers: --price USD says it", "nobody answers: --price USD says it"),
    ):
        cloud = replace(CLOUD, prices=None, price_problem=problem)
        assert in_short(plan(SPEC, here(cloud))).splitlines()[-1] == (
            f"cost      what an instance costs is not known ({told})"
        )
