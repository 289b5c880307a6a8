"""What an hour of an instance costs: AWS's price list, kept for a day. Never an error of a plan.

Sources: the API references of the Price List (GetProducts, with the service code AmazonSageMaker)
and of EC2 (DescribeSpotPriceHistory).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sift_launcher.cloud.client import Clients
from sift_launcher.cloud.explain import explained
from sift_launcher.cloud.facts import Prices
from sift_launcher.cloud.question import Question
from sift_launcher.errors import CloudRefused, CloudUnreachable, PriceUnknown, SiftLaunchError
from sift_launcher.job_spec import JobSpec
from sift_launcher.local.records import write_json
from sift_launcher.paths import state_folder

_FRESH_SECONDS = 24 * 60 * 60
_MEND = "--price USD says what an hour of an instance costs"


@dataclass(frozen=True)
class Asked:
    """Prices that are known, or are on their way."""

    known: Callable[[], Prices | None]
    question: Question[Prices] | None = None

    def answer(self, patience_seconds: float) -> tuple[Prices | None, str]:
        """The prices, else None and the reason. Waits for them no longer than that."""
        if self.question is None:
            return self.known(), ""
        try:
            return self.question.answer(patience_seconds), ""
        except TimeoutError:
            problem = f"AWS's price list has not answered within {patience_seconds:g} s"
        except SiftLaunchError as error:
            problem = str(error)
        # An old price is better than none, and says how old it is; a new one may lack spot alone.
        found = self.known()
        return (found, "") if found else (None, f"{problem}: {_MEND}")


def ask_prices(spec: JobSpec, clients: Clients, now: float | None = None) -> Asked:
    """What `spec`'s instance costs: as the user says, else as it was lately, else asks AWS."""
    if spec.price_dollars is not None:
        said = Prices(spec.price_dollars, source="--price")
        return Asked(lambda: said)
    now = time.time() if now is None else now

    def known() -> Prices | None:
        kept = _kept(clients.region, spec.instance)
        return _prices(kept, spec.spot) if kept else None

    kept = _kept(clients.region, spec.instance)
    if kept is not None and _is_fresh(kept, now, spec.spot):
        return Asked(known)
    if clients.endpoint is not None:
        return Asked(known, Question(lambda: _of_stand_in(spec.instance, clients)))
    return Asked(known, Question(lambda: _fetch(spec.instance, spec.spot, clients, now)))


def selling_regions(instance: str, clients: Clients) -> list[str]:
    """The regions in which AWS's price list has `instance` for training, by name."""
    found = {
        product["product"]["attributes"].get("regionCode", "")
        for product in _products("AmazonSageMaker", {"instanceName": instance}, clients)
        if _is_training(product["product"]["attributes"], instance)
    }
    return sorted(found - {""})


def spot_share(instance: str, clients: Clients) -> float | None:
    """What EC2's spot market asks for the machine now, as a share of its on-demand price."""
    machine = instance.removeprefix("ml.")
    with explained("ec2:DescribeSpotPriceHistory", "asking the spot prices", clients.profile):
        history = clients("ec2").describe_spot_price_history(
            InstanceTypes=[machine],
            ProductDescriptions=["Linux/UNIX"],
            StartTime=datetime.now(timezone.utc),
        )["SpotPriceHistory"]
    filters = {
        "regionCode": clients.region,
        "instanceType": machine,
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
    }
    prices = [p for each in _products("AmazonEC2", filters, clients) for p in _on_demand(each)]
    spots = [float(each["SpotPrice"]) for each in history]
    if not prices or not spots:
        return None
    return sum(spots) / len(spots) / min(prices)


@dataclass(frozen=True)
class _Kept:
    """A price as it is kept in the state folder."""

    on_demand: float
    asked_at: float
    """Seconds since the epoch."""

    spot_share: float | None = None
    """What spot costs of the on-demand price; None: not asked, or not known."""

    spot_asked: bool = False


def _fetch(instance: str, is_spot: bool, clients: Clients, now: float) -> Prices:
    share = Question(lambda: spot_share(instance, clients)) if is_spot else None
    kept = _Kept(_training_price(instance, clients)[0], now)
    _keep(clients.region, instance, kept)
    if share is not None:
        kept = replace(kept, spot_asked=True)
        with suppress(SiftLaunchError):  # nobody promises it: a plan goes without
            kept = replace(kept, spot_share=share.answer())
        _keep(clients.region, instance, kept)
    return _prices(kept, is_spot)


def _of_stand_in(instance: str, clients: Clients) -> Prices:
    """What a stand-in for AWS says, such as a rehearsal; no spot market comes with it."""
    try:
        price, date = _training_price(instance, clients)
    except (CloudRefused, CloudUnreachable) as error:
        raise PriceUnknown("a stand-in for AWS has no price list") from error
    return Prices(price, source=f"a stand-in's price list, {date or 'undated'}")


def _training_price(instance: str, clients: Clients) -> tuple[float, str]:
    """The price, and the day on which it was published."""
    filters = {"regionCode": clients.region, "instanceName": instance}
    for product in _products("AmazonSageMaker", filters, clients):
        attributes = product["product"]["attributes"]
        if _is_training(attributes, instance):
            for price in _on_demand(product):
                return price, str(product.get("publicationDate", ""))[:10]
    raise PriceUnknown(f"AWS's price list has no {instance} for training in {clients.region}")


def _is_training(attributes: Mapping[str, str], instance: str) -> bool:
    # Warm pools, plans and studios have products of the same instance: this is the job's own.
    usage = f"-{attributes.get('usagetype', '')}"  # USE1-Train:ml.g5.xlarge
    return usage.endswith(f"-Train:{instance}") or attributes.get("component") == "Training"


def _products(
    service: str, filters: Mapping[str, str], clients: Clients
) -> Iterator[dict[str, Any]]:
    wished = [{"Type": "TERM_MATCH", "Field": k, "Value": v} for k, v in filters.items()]
    with explained("pricing:GetProducts", "asking the price list", clients.profile):
        pages = clients("pricing").get_paginator("get_products")
        for page in pages.paginate(ServiceCode=service, Filters=wished, FormatVersion="aws_v1"):
            for text in page["PriceList"]:
                yield json.loads(text)


def _on_demand(product: Mapping[str, Any]) -> Iterator[float]:
    for term in product["terms"].get("OnDemand", {}).values():
        for dimension in term["priceDimensions"].values():
            # Two partitions have another currency.
            price = float(dimension["pricePerUnit"].get("USD", 0))
            if price > 0:
                yield price


def _prices(kept: _Kept, is_spot: bool) -> Prices:
    day = datetime.fromtimestamp(kept.asked_at, timezone.utc)
    spot = None
    if is_spot and kept.spot_share is not None:
        spot = round(kept.on_demand * kept.spot_share, 4)
    return Prices(kept.on_demand, spot, f"AWS's price list, {day:%Y-%m-%d}")


def _is_fresh(kept: _Kept, now: float, is_spot: bool) -> bool:
    return 0 <= now - kept.asked_at < _FRESH_SECONDS and (kept.spot_asked or not is_spot)


def _kept(region: str, instance: str) -> _Kept | None:
    with suppress(OSError, ValueError, TypeError):  # not there, or of another release
        return _Kept(**json.loads(_place(region, instance).read_text("utf-8")))
    return None


def _keep(region: str, instance: str, kept: _Kept) -> None:
    place = _place(region, instance)
    with suppress(OSError):  # the next plan asks again
        place.parent.mkdir(parents=True, exist_ok=True)
        write_json(place, asdict(kept))


def _place(region: str, instance: str) -> Path:
    return state_folder() / "prices" / f"{region}-{instance}.json"
