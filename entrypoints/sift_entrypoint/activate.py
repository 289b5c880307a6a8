"""What we do in every Python process of a job: imported by ``.pth`` or ``site/``.

Importing this module does it, once: lines go to the job's log whole, ``sift_config`` and
``sift_arguments`` leave ``sys.argv``, and where the job has a ``sift_config``,
``smart_sifting.discovery.install()`` runs the moment torch has been imported. Nothing here raises
into the program it runs in.
"""

from __future__ import annotations

import os
import sys

from .lines import buffer_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_CONFIG = "--sift_config"
_ARGUMENTS = "--sift_arguments"
_CONFIG_VARIABLE = "SM_HP_SIFT_CONFIG"
_ARGUMENTS_VARIABLE = "SM_HP_SIFT_ARGUMENTS"
_CHECKPOINT_VARIABLE = "SM_CHECKPOINT_DIR"
# These start ranks and train nothing: they must not report on a training of their own.
_LAUNCHERS = frozenset({"torchrun", "accelerate", "deepspeed"})
_LAUNCHER_MODULES = frozenset({"torch.distributed.run", "torch.distributed.launch"})


def _activate() -> None:
    config, raw = _take_from(sys.argv)
    if config is not None:
        os.environ.setdefault(_CONFIG_VARIABLE, config)
    raw = os.environ.get(_ARGUMENTS_VARIABLE, raw) if raw is not None else None
    if raw:
        sys.argv += _strings(raw)
    buffer_lines()
    if os.environ.get(_CONFIG_VARIABLE) and _CHECKPOINT_VARIABLE not in os.environ:
        _name_checkpoint_folder()
    if os.environ.get(_CONFIG_VARIABLE) and not _is_launcher():
        _after_import("torch", _install)


def _take_from(argv: list[str]) -> tuple[str | None, str | None]:
    """Take both options with their values out of ``argv``, in place; the values.

    Without the job's variable only a JSON object counts as a ``sift_config``: a program outside
    any job may have an option of that name.
    """
    in_job = _CONFIG_VARIABLE in os.environ
    taken: dict[str, str] = {}
    kept = []
    index = 0
    while index < len(argv):
        option, equals, value = argv[index].partition("=")
        width = 1
        if not equals and index + 1 < len(argv):
            value, width = argv[index + 1], 2
        ours = option == _ARGUMENTS or (option == _CONFIG and (in_job or value.startswith("{")))
        if ours:
            taken[option] = value
            index += width
        else:
            kept.append(argv[index])
            index += 1
    if taken:
        argv[:] = kept
    return taken.get(_CONFIG), taken.get(_ARGUMENTS)


def _strings(raw: str) -> list[str]:
    import json  # few processes get arguments this way

    values = json.loads(raw)
    if isinstance(values, str):
        values = json.loads(values)
    return [str(value) for value in values]


def _name_checkpoint_folder() -> None:
    """As our own ``train`` does, for the scripts of images that have another."""
    base = os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")
    if not os.path.isdir(os.path.join(base, "input", "config")):
        return  # no job's process: somebody has set SM_HP_SIFT_CONFIG by hand
    from .contract import Tree, checkpoint_folder

    os.environ[_CHECKPOINT_VARIABLE] = checkpoint_folder(Tree(base))


def _is_launcher() -> bool:
    if sys.argv and os.path.basename(sys.argv[0]) in _LAUNCHERS:
        return True
    typed = sys.orig_argv
    return any(
        typed[i] == "-m" and typed[i + 1] in _LAUNCHER_MODULES for i in range(len(typed) - 1)
    )


def _after_import(name: str, then: Callable[[], None]) -> None:
    if name in sys.modules:
        then()
    else:
        sys.meta_path.insert(0, _Watch(name, then))


class _Watch:
    """A finder that finds nothing itself, and calls ``then`` once module ``name`` has run."""

    def __init__(self, name: str, then: Callable[[], None]) -> None:
        self._name = name
        self._then = then

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self._name:
            return None
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(name, path, target) if find else None
            if spec is not None:
                self._watch(spec)
                return spec
        return None

    def _watch(self, spec: ModuleSpec) -> None:
        loader = spec.loader
        run = getattr(loader, "exec_module", None)
        if loader is None or run is None:
            return

        def run_then_tell(module: ModuleType) -> None:
            run(module)
            del loader.exec_module
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            self._then()

        # On the instance, not a wrapper around it: whoever asks the module for its loader
        # (inspect, importlib.resources) gets the one it would have had.
        try:
            loader.exec_module = run_then_tell  # type: ignore[method-assign]
        except AttributeError as error:
            _off(error)


def _install() -> None:
    try:
        from smart_sifting import discovery

        discovery.install()
    except Exception as error:  # noqa: BLE001 - the user's program goes on without sifting
        _off(error)


def _off(error: Exception) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"sift: off: {' '.join(str(error).split()) or type(error).__name__}\n")


try:
    _activate()
except Exception as problem:  # noqa: BLE001 - the user's program goes on without sifting
    _off(problem)
