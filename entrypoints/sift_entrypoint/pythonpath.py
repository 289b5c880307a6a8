"""The folders a job's Python processes need on ``PYTHONPATH`` for sifting to switch itself on."""

from __future__ import annotations

import os
import sys


def folders(sifting: bool, ranks: bool) -> list[str]:
    """Those folders, for a job that is ``sifting``, or that starts several ``ranks`` on this host.

    None where the ``.pth`` file is installed in this interpreter, except that ranks always need
    ``site/`` to keep their lines whole.
    """
    package = os.path.dirname(os.path.abspath(__file__))
    site_folder = os.path.join(package, "site")
    if _pth_is_active():
        return [site_folder] if ranks else []
    if not sifting and not ranks:
        return []
    return [site_folder, os.path.dirname(package), *_folder_of("smart_sifting")]


def _pth_is_active() -> bool:
    import site  # imported already, unless Python runs with -S, when no .pth file counts

    places = [*site.getsitepackages(), site.getusersitepackages()]
    return any(os.path.isfile(os.path.join(each, "sift_entrypoint.pth")) for each in places)


def _folder_of(package: str) -> list[str]:
    for entry in sys.path:
        if os.path.isfile(os.path.join(entry, package, "__init__.py")):
            return [os.path.abspath(entry)]
    return []
