"""A price list for rehearsals, so that a rehearsed plan shows what the cloud would ask for.

The figures are AWS's public on-demand prices of training instances in us-east-1, in US dollars an
hour, as https://aws.amazon.com/sagemaker/pricing/ listed them in 2024. They illustrate: AWS's own
Pricing API has those of today.
"""

from __future__ import annotations

import json
from typing import Any

from sift_launcher.rehearsal.account import REGION
from sift_launcher.rehearsal.protocol import Refused

DATE = "2024-12-01"
DOLLARS_PER_HOUR = {
    "ml.t3.medium": 0.05,
    "ml.t3.large": 0.1,
    "ml.t3.xlarge": 0.2,
    "ml.t3.2xlarge": 0.399,
    "ml.m5.large": 0.115,
    "ml.m5.xlarge": 0.23,
    "ml.m5.2xlarge": 0.461,
    "ml.m5.4xlarge": 0.922,
    "ml.m5.12xlarge": 2.765,
    "ml.m5.24xlarge": 5.53,
    "ml.c5.xlarge": 0.204,
    "ml.c5.2xlarge": 0.408,
    "ml.c5.4xlarge": 0.816,
    "ml.c5.9xlarge": 1.836,
    "ml.c5.18xlarge": 3.672,
    "ml.g4dn.xlarge": 0.7364,
    "ml.g4dn.2xlarge": 0.94,
    "ml.g4dn.4xlarge": 1.505,
    "ml.g4dn.8xlarge": 2.72,
    "ml.g4dn.12xlarge": 4.89,
    "ml.g4dn.16xlarge": 5.44,
    "ml.g5.xlarge": 1.408,
    "ml.g5.2xlarge": 1.515,
    "ml.g5.4xlarge": 2.03,
    "ml.g5.8xlarge": 3.06,
    "ml.g5.12xlarge": 7.09,
    "ml.g5.16xlarge": 5.12,
    "ml.g5.24xlarge": 10.18,
    "ml.g5.48xlarge": 20.36,
    "ml.p3.2xlarge": 3.825,
    "ml.p3.8xlarge": 14.688,
    "ml.p3.16xlarge": 28.152,
    "ml.p3dn.24xlarge": 35.894,
}


def get_products(request: dict[str, Any]) -> dict[str, Any]:
    """GetProducts of the Price List API, for training instances of SageMaker."""
    wished = {each["Field"]: each["Value"] for each in request.get("Filters", ())}
    if request.get("ServiceCode") is None:
        raise Refused("InvalidParameterException", "ServiceCode is missing")
    products = [_product(instance) for instance in DOLLARS_PER_HOUR]
    found = [
        json.dumps(product)
        for product in products
        if request["ServiceCode"] == product["serviceCode"]
        and all(product["product"]["attributes"].get(key) == wished[key] for key in wished)
    ]
    return {"FormatVersion": "aws_v1", "PriceList": found}


def _product(instance: str) -> dict[str, Any]:
    sku = instance.replace(".", "").upper()
    dimension = {
        "unit": "Hrs",
        "description": f"{instance} for training, as listed on {DATE}",
        "pricePerUnit": {"USD": f"{DOLLARS_PER_HOUR[instance]:.10f}"},
    }
    return {
        "serviceCode": "AmazonSageMaker",
        "publicationDate": f"{DATE}T00:00:00Z",
        "product": {
            "sku": sku,
            "productFamily": "ML Instance",
            "attributes": {
                "servicecode": "AmazonSageMaker",
                "instanceName": instance,
                "component": "Training",
                "usagetype": f"USE1-Train:{instance}",
                "regionCode": REGION,
                "location": "US East (N. Virginia)",
            },
        },
        "terms": {"OnDemand": {f"{sku}.1": {"priceDimensions": {f"{sku}.1.1": dimension}}}},
    }
