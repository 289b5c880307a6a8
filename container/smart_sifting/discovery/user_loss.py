"""The user's own `Loss`, named on the command line as `module:Class`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from smart_sifting.errors import LossImplementationNotProvidedException
from smart_sifting.loss.abstract_sift_loss_module import Loss


def load_loss(name: str) -> Loss:
    """An object of the class that `name` says, `module:Class`.

    The running script itself is found under its own name without being run a second time.

    Raises:
        LossImplementationNotProvidedException: it does not import, is no `Loss`, or cannot be
            made without arguments.
    """
    module_name, _, class_name = name.partition(":")
    module = _module(module_name, name)
    found: Any = module
    for part in class_name.split("."):
        found = getattr(found, part, None)
        if found is None:
            raise LossImplementationNotProvidedException(
                f"--loss {name}: module {module_name} has no {class_name}; name a class of it"
            )
    if not (isinstance(found, type) and issubclass(found, Loss)):
        raise LossImplementationNotProvidedException(
            f"--loss {name}: {class_name} is not a Loss; derive it from "
            "smart_sifting.loss.abstract_sift_loss_module.Loss"
        )
    try:
        return found()
    except TypeError as refused:
        raise LossImplementationNotProvidedException(
            f"--loss {name}: {class_name}() failed: {refused}; it must work without arguments"
        ) from refused


def _module(module_name: str, name: str) -> ModuleType:
    main = sys.modules.get("__main__")
    if main is not None and Path(getattr(main, "__file__", None) or "").stem == module_name:
        return main
    try:
        return importlib.import_module(module_name)
    except ImportError as missing:
        raise LossImplementationNotProvidedException(
            f"--loss {name}: module {module_name} cannot be imported ({missing}); "
            "put it beside the script"
        ) from missing
