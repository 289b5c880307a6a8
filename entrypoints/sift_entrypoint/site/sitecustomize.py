"""On ``PYTHONPATH`` where the ``.pth`` file is not installed: the same guard, then the next one.

Python imports one ``sitecustomize``, the first on the path. This one runs the one that it hides.
"""

import os
import sys


def _sift() -> None:
    in_job = {"SM_HP_SIFT_CONFIG", "JOB_LOG_STREAMS"} & set(os.environ)
    if in_job or "--sift_" in " ".join(sys.argv):
        import sift_entrypoint.activate  # noqa: F401


def _next() -> None:
    from importlib.machinery import PathFinder

    # Two copies of this runtime, an image's own and one that travels along, must not call each
    # other for ever.
    done: set[str] = sys.__dict__.setdefault("_sift_sites", set())
    done.add(os.path.dirname(os.path.abspath(__file__)))
    rest = [entry for entry in sys.path if os.path.abspath(entry) not in done]
    spec = PathFinder.find_spec("sitecustomize", rest)
    if spec is None or spec.loader is None:
        return
    from importlib.util import module_from_spec

    module = module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


_sift()
_next()
