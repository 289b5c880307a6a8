"""What of the source travels with an estimator's job."""

from __future__ import annotations

from pathlib import Path

import pytest

from sift_launcher.errors import CodeBundleError, ScriptError, SecretFound
from sift_launcher.estimator.code import code_bundle


def paths(*arguments: object, **keywords: object) -> list[str]:
    return [
        file.path for file in code_bundle(*arguments, **{"carries_runtime": False} | keywords).files
    ]


def test_a_source_folder_travels_as_the_command_packs_it(machine):
    Path("src/.gitignore").write_text("*.log\n")
    Path("src/run.log").write_text("")
    Path("src/.git").mkdir()
    Path("src/.git/config").write_text("")
    Path("src/model.py").write_text("")
    assert paths("train.py", "src") == [".gitignore", "model.py", "train.py"]


def test_without_a_source_folder_the_script_travels_alone(machine):
    Path("src/model.py").write_text("")
    assert paths("src/train.py", None) == ["train.py"]


def test_dependencies_lie_beside_the_code(machine):
    Path("lib/inner").mkdir(parents=True)
    Path("lib/inner/a.py").write_text("")
    Path("lib/inner/a.pyc").write_text("")
    Path("one.py").write_text("")
    bundle = code_bundle("train.py", "src", ["lib", "one.py"], carries_runtime=False)
    assert {file.path: file.source for file in bundle.files} == {
        "lib/inner/a.py": str(machine / "lib/inner/a.py"),
        "one.py": str(machine / "one.py"),
        "train.py": None,
    }


def test_the_runtime_travels_below_a_folder_of_its_own(machine):
    carried = paths("train.py", "src", carries_runtime=True)
    assert ".sift/sift_entrypoint/train.py" in carried
    assert ".sift/smart_sifting/__init__.py" in carried
    assert "train.py" in carried


@pytest.mark.parametrize(
    ("arguments", "kind", "told"),
    [
        (("other.py", "src"), ScriptError, "no such script: other.py in source_dir src"),
        (("other.py", None), ScriptError, r"no such script: other.py \(entry_point"),
        (("train.py", "nowhere"), CodeBundleError, "source_dir nowhere is no folder"),
        (("train.py", "src", ["gone"]), CodeBundleError, "dependency gone does not exist"),
    ],
)
def test_what_is_not_there_is_named(arguments, kind, told, machine):
    with pytest.raises(kind, match=told):
        paths(*arguments)


def test_a_secret_does_not_travel_unless_it_is_allowed(machine):
    Path("src/id_rsa").write_text("MIIE\n")
    with pytest.raises(SecretFound, match="id_rsa looks like"):
        paths("train.py", "src")
    assert paths("train.py", "src", allow=["id_rsa"]) == ["id_rsa", "train.py"]
