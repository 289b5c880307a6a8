"""The image of a job on this machine, looked into before the job is started."""

from __future__ import annotations

from sift_launcher.engine import check_gpu, connect_here, traits
from sift_launcher.images import ImageFacts, inspect_image
from sift_launcher.instances import LOCAL_GPU
from sift_launcher.runtime import runtime_digest


def image_facts(name: str, instance: str) -> ImageFacts:
    """What is in the image. Raises EngineUnavailable, ImageUnfit or DeviceUnavailable."""
    client = connect_here()
    try:
        engine = traits(client)
        if instance == LOCAL_GPU:
            check_gpu(engine)
        return inspect_image(client, name, engine)
    finally:
        client.close()


def carries_runtime(image: ImageFacts, *, is_sifted: bool) -> bool:
    """Whether the runtime has to travel with the code of a job in `image`."""
    if image.kind == "ours":
        return image.runtime != runtime_digest()
    # An image's own `train` does without it, unless there is something for it to do.
    return image.kind == "plain" or is_sifted
