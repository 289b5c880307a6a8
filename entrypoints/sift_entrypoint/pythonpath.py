"""The folders a job's Python processes need on ``PYTHONPATH`` for ours to run in them."""

from __future__ import annotations

import os
import sys


def folders() -> list[str]:
    """Those folders: none where the ``.pth`` file is installed in this interpreter."""
    import site  # imported already, unless Python runs with -S, when no .pth file counts

    installed = [*site.getsitepackages(), site.getusersitepackages()]
    if any(os.path.isfile(os.path.join(each, "sift_entrypoint.pth")) for each in installed):
        return []
    package = os.path.dirname(os.path.abspath(__file__))
    wanted = [os.path.join(package, "site"), os.path.dirname(package), *_folder_of("smart_sifting")]
    # Every package there would come before the standard library; and it is found without us.
    return [folder for folder in wanted if folder not in installed]


def _folder_of(package: str) -> list[str]:
    for entry in sys.path:
        if os.path.isfile(os.path.join(entry, package, "__init__.py")):
            return [os.path.abspath(entry)]
    return []
