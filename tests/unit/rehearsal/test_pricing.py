from __future__ import annotations

import json
from typing import Any

from sift_launcher.rehearsal.pricing import get_products


def products(service: str = "AmazonSageMaker", **fields: str) -> list[dict[str, Any]]:
    filters = [{"Type": "TERM_MATCH", "Field": k, "Value": v} for k, v in fields.items()]
    answer = get_products({"ServiceCode": service, "Filters": filters})
    return [json.loads(each) for each in answer["PriceList"]]


def test_an_instance_has_one_training_price_an_hour():
    (product,) = products(instanceName="ml.g5.xlarge", regionCode="us-east-1")
    assert product["product"]["attributes"]["component"] == "Training"
    (term,) = product["terms"]["OnDemand"].values()
    (dimension,) = term["priceDimensions"].values()
    assert dimension["unit"] == "Hrs"
    assert float(dimension["pricePerUnit"]["USD"]) == 1.408


def test_what_is_not_in_the_list_has_no_price():
    assert products(instanceName="ml.p5.48xlarge") == []
    assert products(instanceName="ml.g5.xlarge", regionCode="eu-west-1") == []
    assert products("AmazonEC2", instanceName="ml.g5.xlarge") == []
