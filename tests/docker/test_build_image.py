"""The image that `sift-launch build` makes: what is in it, and that it is made again as it was."""

from __future__ import annotations

import json
import shutil

import pytest
from small_wheels import build_small, small_wheelhouse, write_wheel

from sift_launcher.errors import BuildFailed
from sift_launcher.image.spec import ImageSpec
from sift_launcher.runtime import runtime_digest, runtime_files

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def small_wheels(tmp_path_factory, wheelhouse):
    return small_wheelhouse(tmp_path_factory.mktemp("build") / "wheels", wheelhouse)


@pytest.fixture
def tag(engine, request):
    """A name of the test's own; what has it at the end is removed."""
    name = f"sift-test-build:{abs(hash(request.node.name)):x}"
    yield name
    for image in engine.images.list("sift-test-build"):
        for made in image.tags:
            if made.startswith(name):
                engine.images.remove(made, force=True)


def run(engine, image, *command, **more):
    options = {"remove": True, "network_mode": "none", "stderr": True} | more
    return engine.containers.run(image, list(command), **options).decode()


def test_an_image_trains_as_root_and_as_any_user(engine, image):
    program = (
        "import os, torch; from torch import nn; model = nn.Linear(4, 2)\n"
        "optimizer = torch.optim.AdamW(model.parameters())\n"
        "data = torch.utils.data.TensorDataset(torch.randn(8, 4), torch.randint(0, 2, (8,)))\n"
        "for x, y in torch.utils.data.DataLoader(data, 4, num_workers=1):\n"
        "    nn.functional.cross_entropy(model(x), y).backward(); optimizer.step()\n"
        "open('/opt/ml/model/model', 'w').write('m')\n"
        "print(torch.__version__.split('+')[0], os.getuid())"
    )
    assert run(engine, image, "python3", "-c", program) == "2.13.0 0\n"
    assert run(engine, image, "python3", "-c", program, user="4321:4321") == "2.13.0 4321\n"


def test_an_image_is_slim_and_holds_no_keys_and_no_compiler(engine, image):
    assert engine.images.get(image).attrs["Size"] <= 900_000_000
    listed = run(
        engine,
        image,
        *("python3", "-c"),
        "import shutil, pathlib\n"
        "print([each for each in ('gcc', 'cc', 'g++', 'sshd', 'ssh') if shutil.which(each)])\n"
        "found = pathlib.Path('/').glob('[!ps]*/**/*')\n"
        "print([str(each) for each in found if each.name in ('id_rsa', 'ssh_host_rsa_key')])\n"
        "site = pathlib.Path('/opt/venv/lib/python3.11/site-packages')\n"
        "torch = site / 'torch'\n"
        "sources = list(torch.rglob('*.py'))\n"
        "compiled = list(torch.rglob('*.pyc'))\n"
        "print(len(compiled) >= 0.99 * len(sources) > 1000)\n",
    )
    assert listed.splitlines() == ["[]", "[]", "True"]


def test_an_image_says_what_it_is(engine, image):
    config = engine.images.get(image).attrs["Config"]
    assert config["Entrypoint"] == ["/opt/venv/bin/python3", "-m", "sift_entrypoint"]
    assert config["Cmd"] == ["train"]
    assert config["Labels"]["sift-launcher.runtime"] == runtime_digest()
    assert config["Labels"]["framework"] == "pytorch"
    variables = dict(each.split("=", 1) for each in config["Env"])
    assert variables["PATH"].startswith("/opt/venv/bin:")
    assert variables["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert not {"TORCH", "DEVICE", "COMPILER"} & set(variables)


def test_the_same_inputs_give_the_same_layers(engine, base_image, small_wheels, tag):
    def layers(name):
        spec = ImageSpec(base=base_image, wheelhouse=small_wheels, tag=name)
        build_small(engine, spec, use_cache=False)
        return engine.images.get(name).attrs["RootFS"]["Layers"]

    one, other = layers(f"{tag}-one"), layers(f"{tag}-other")
    assert one == other
    assert len(one) == len(engine.images.get(base_image).attrs["RootFS"]["Layers"]) + 2


def test_what_is_asked_for_besides_is_in_it_and_torch_stays(
    engine, base_image, small_wheels, tag, tmp_path
):
    wheels = tmp_path / "wheels"
    shutil.copytree(small_wheels, wheels)
    write_wheel(wheels, "wanted", "1.5", ["torch"])
    write_wheel(wheels, "greedy", "1.0", ["torch>=3"])
    write_wheel(wheels, "torch", "3.0.0")
    requirements = tmp_path / "requirements.txt"
    spec = ImageSpec(
        base=base_image,
        wheelhouse=wheels,
        tag=tag,
        requirements=requirements_of(requirements, "wanted>=1"),
        labels={"team": "vision"},
    )
    built = build_small(engine, spec)
    image = engine.images.get(tag)
    assert (built.id, built.size) == (image.id, image.attrs["Size"])
    assert image.labels["team"] == "vision"
    question = "from importlib.metadata import version as v; print(v('wanted'), v('torch'))"
    assert run(engine, tag, "python3", "-c", question) == "1.5 2.13.0+cpu\n"
    assert "wanted.cpython-311.pyc" in run(
        engine, tag, "ls", "/opt/venv/lib/python3.11/site-packages/__pycache__"
    )
    requirements_of(requirements, "greedy")
    with pytest.raises(BuildFailed) as caught:
        build_small(engine, spec)
    assert "greedy 1.0 depends on torch>=3" in str(caught.value)
    assert "The user requested (constraint) torch==2.13.0" in str(caught.value)


def requirements_of(path, text):
    path.write_text(text + "\n")
    return path


def test_a_toolkits_image_gets_the_runtime_and_keeps_all_that_it_has(
    cli, engine, image, tag, tmp_path
):
    """A stand-in for AWS's images: torch in the Python on the PATH, and a `train` of its own."""
    entrypoint = ["bash", "-m", "start_with_right_hostname.sh"]
    base = f"{tag}-base"
    (tmp_path / "Dockerfile").write_text(
        f"FROM {image}\n"
        "USER 0\n"
        "RUN rm -rf /opt/venv/lib/python3.11/site-packages/s[im][fa]*\n"
        "ENV SAGEMAKER_TRAINING_MODULE=sagemaker_pytorch_container.training:main A=b\n"
        'LABEL dlc_major_version="1" sift-launcher.runtime="" team=aws\n'
        "USER 4321\n"
        "WORKDIR /srv\n"
        f"ENTRYPOINT {json.dumps(entrypoint)}\n"
    )
    engine.images.build(path=str(tmp_path), tag=base, rm=True, forcerm=True)
    built = cli("build", "--base", base, "--tag", tag)
    assert built.returncode == 0, built.stderr
    before, after = (engine.images.get(name).attrs for name in (base, tag))
    labels = {**before["Config"].pop("Labels"), "sift-launcher.runtime": runtime_digest()}
    assert after["Config"].pop("Labels") == labels
    for volatile in ("Image", "Hostname"):
        before["Config"].pop(volatile, None)
        after["Config"].pop(volatile, None)
    assert after["Config"] == before["Config"]
    layers = before["RootFS"]["Layers"]
    assert after["RootFS"]["Layers"][:-1] == layers
    site = "/opt/venv/lib/python3.11/site-packages"
    script = (
        f"cd {site} && find s[im][fa]* -type f -not -name '*.pyc' && ls -ld --time-style=+ /opt"
    )
    listed = run(engine, tag, script, entrypoint=["bash", "-c"]).splitlines()
    assert sorted(listed[:-1]) == sorted(runtime_files())
    assert listed[-1].startswith("drwxr-xr-x")


def test_a_plain_image_with_torch_becomes_one_that_trains(cli, engine, base_image, tag, tmp_path):
    base = f"{tag}-base"
    info = "/usr/local/lib/python3.11/dist-packages/torch-2.9.1.dist-info"
    (tmp_path / "Dockerfile").write_text(
        f"FROM {base_image}\n"
        f"RUN mkdir -p {info} && printf 'Name: torch\\nVersion: 2.9.1\\n' >{info}/METADATA\n"
    )
    engine.images.build(path=str(tmp_path), tag=base, rm=True, forcerm=True)
    refused = cli("build", "--base", base, "--tag", tag, "--torch", "2.13.0")
    assert refused.returncode == 2
    assert "has torch 2.9.1, and only the sifting runtime is added" in refused.stderr
    built = cli("build", "--base", base, "--tag", tag)
    assert built.returncode == 0, built.stderr
    image = engine.images.get(tag)
    assert image.attrs["Config"]["Entrypoint"] == ["python3", "-m", "sift_entrypoint"]
    assert image.attrs["Config"]["Cmd"] == ["train"]
    assert run(engine, tag, "sh", "-c", "cd /opt/ml && ls") == (
        "checkpoints\ncode\ninput\nmodel\noutput\n"
    )


def test_inspect_says_what_is_in_an_image_and_what_takes_the_space(cli, engine, image):
    shown = cli("image", "inspect", image)
    assert shown.returncode == 0, shown.stderr
    assert f"{runtime_digest()}, as this command's" in shown.stdout
    told = json.loads(cli("image", "inspect", image, "--json").stdout)
    assert told["kind"] == "ours"
    assert told["torch"].startswith("2.13.0")
    assert told["is_runtime_current"] is True
    assert told["uid"] == 0
    assert told["entrypoint"] == ["/opt/venv/bin/python3", "-m", "sift_entrypoint"]
    assert told["packages"][0]["name"] == "torch"
    assert told["packages"][0]["size"] == told["torch_size"]
    assert 0.5 < told["torch_size"] / told["size"] < 0.9
    layers = sum(each["size"] for each in told["layers"])
    assert layers == told["size"] == engine.images.get(image).attrs["Size"]
    assert sum(each["size"] for each in told["packages"]) < told["size"]


def test_inspect_of_what_is_not_there_says_how_to_make_it(cli, engine):
    missing = cli("image", "inspect", "sift-training:none")
    assert missing.returncode == 2
    assert missing.stderr.startswith("image sift-training:none is not on this machine")
    assert cli("image", "inspect", "No Name").returncode == 2
