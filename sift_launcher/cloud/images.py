"""The image of a job in SageMaker: in which registry it lies, and what it is.

Sources: the API reference of ECR (BatchGetImage, GetDownloadUrlForLayer) and the OCI's image
specification, after which manifests and their configuration are read.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from sift_launcher.cloud.client import Clients
from sift_launcher.cloud.explain import explained
from sift_launcher.cloud.instance_types import architecture, has_gpu, has_own_accelerator
from sift_launcher.errors import CloudUnreachable, ImageUnfit
from sift_launcher.images import ImageFacts, facts_of
from sift_launcher.instances import STOCK
from sift_launcher.stock import is_stock_account, stock_image

_ECR = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?"
    r"/(?P<name>[a-z0-9][a-z0-9._/-]*)(?::(?P<tag>[A-Za-z0-9_.-]+))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_KINDS = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
)
_PATIENCE_SECONDS = 20


def image_facts(wished: str | None, instance: str, clients: Clients) -> ImageFacts:
    """What the image `wished` is, None or `stock` for AWS's own. AWS's own are known; of others
    ECR is asked.

    Raises ImageUnfit, with what to type, when SageMaker could not run it on `instance`.
    """
    name = STOCK if wished is None else wished
    if name == STOCK:
        name = _stock(instance, clients.region)
    place = ecr_image(name, clients.region)
    if is_stock_account(place.account):
        return _fit(ImageFacts(name, "", "amd64", None, "toolkit"), instance)
    return _fit(_look_up(name, place, instance, clients), instance)


@dataclass(frozen=True)
class EcrImage:
    """Where an image lies in ECR."""

    account: str
    region: str
    name: str
    """The repository's."""

    tag: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        return f"repository {self.name} of {self.account}"


def ecr_image(name: str, region: str) -> EcrImage:
    """Where the image `name` lies. Raises ImageUnfit unless it is where SageMaker pulls from: ECR
    of `region`."""
    found = _ECR.fullmatch(name)
    if found is None:
        raise ImageUnfit(
            f"SageMaker pulls images from ECR alone, and {name} is not there: sift-launch build "
            f"--tag ACCOUNT.dkr.ecr.{region}.amazonaws.com/NAME:TAG --push puts one there, and "
            "--image stock is AWS's own"
        )
    if found["region"] != region:
        raise ImageUnfit(
            f"image {name} lies in {found['region']}, and the job runs in {region}: push it to "
            f"ECR of {region}, or run the job with --region {found['region']}"
        )
    return EcrImage(**found.groupdict())


def check_is_there(name: str, clients: Clients) -> None:
    """Raises ImageUnfit unless ECR holds the image."""
    _manifest(name, ecr_image(name, clients.region), clients)


def _stock(instance: str, region: str) -> str:
    if has_own_accelerator(instance):
        raise ImageUnfit(
            f"{instance} computes on AWS's own chips, which AWS's PyTorch images for processors "
            "and GPUs do not know: name one of its Neuron images with --image"
        )
    return stock_image({"AWS_REGION": region}, "gpu" if has_gpu(instance) else "cpu")


def _fit(facts: ImageFacts, instance: str) -> ImageFacts:
    if facts.architecture != architecture(instance):
        raise _of_another(facts.name, facts.architecture, instance)
    return facts


def _of_another(name: str, architectures: str, instance: str) -> ImageUnfit:
    return ImageUnfit(
        f"image {name} is for {architectures}, and {instance} runs {architecture(instance)}: build "
        "one for it, or choose another --instance"
    )


def _look_up(name: str, place: EcrImage, instance: str, clients: Clients) -> ImageFacts:
    digest, manifest = _manifest(name, place, clients)
    if "manifests" in manifest:  # several architectures under one name
        digest = _of_architecture(name, manifest["manifests"], instance)
        digest, manifest = _manifest(name, place, clients, digest)
    config = _config(name, place, manifest["config"]["digest"], clients)
    attributes = {
        "Id": digest,
        "Architecture": config.get("architecture", "amd64"),
        "Config": config.get("config") or {},
    }
    return facts_of(name, attributes)


def _manifest(
    name: str, place: EcrImage, clients: Clients, digest: str | None = None
) -> tuple[str, dict[str, Any]]:
    digest = digest or place.digest
    wished = {"imageDigest": digest} if digest else {"imageTag": place.tag or "latest"}
    with explained(f"ecr:BatchGetImage on {place}", f"looking up {name}", clients.profile):
        answer = clients("ecr").batch_get_image(
            registryId=place.account,
            repositoryName=place.name,
            imageIds=[wished],
            acceptedMediaTypes=list(_KINDS),
        )
    if not answer["images"]:
        told = next((each.get("failureReason", "") for each in answer.get("failures", [])), "")
        raise ImageUnfit(
            f"there is no image {name} ({told or 'ECR does not have it'}): aws ecr list-images "
            f"--repository-name {place.name} shows those there are"
        )
    image = answer["images"][0]
    return str(image["imageId"].get("imageDigest", "")), json.loads(image["imageManifest"])


def _of_architecture(name: str, manifests: list[dict[str, Any]], instance: str) -> str:
    there = {
        each["platform"]["architecture"]: str(each["digest"])
        for each in manifests
        if each.get("platform", {}).get("os") == "linux"
    }
    wished = architecture(instance)
    if wished not in there:
        raise _of_another(name, " and ".join(sorted(there)) or "no Linux", instance)
    return there[wished]


def _config(name: str, place: EcrImage, digest: str, clients: Clients) -> dict[str, Any]:
    with explained(
        f"ecr:GetDownloadUrlForLayer on {place}",
        f"reading the labels of {name}",
        clients.profile,
    ):
        url = clients("ecr").get_download_url_for_layer(
            registryId=place.account, repositoryName=place.name, layerDigest=digest
        )["downloadUrl"]
    try:
        with urlopen(url, timeout=_PATIENCE_SECONDS) as answer:
            config: dict[str, Any] = json.load(answer)
    except (URLError, TimeoutError) as error:
        raise CloudUnreachable(f"the labels of image {name} cannot be read: {error}") from error
    return config
