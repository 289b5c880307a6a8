"""What an instance costs, where that is known from, and that a plan never waits for it."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from aws_stand_in import StandInAws
from botocore.stub import ANY
from cli_runner import wait_until
from stubbed import StubbedClients, answer_always

from sift_launcher.cloud.client import Clients
from sift_launcher.cloud.facts import Prices
from sift_launcher.cloud.prices import ask_prices, selling_regions
from sift_launcher.job_spec import JobSpec

SPEC = JobSpec("train.py", instance="ml.g5.xlarge")
SPOT = JobSpec("train.py", instance="ml.g5.xlarge", spot=True)
NOON = 1_795_262_400.0  # 2026-11-21 12:00 UTC
DAY = 24 * 60 * 60
PRICE = Prices(1.408, None, "AWS's price list, 2026-11-21")
MEND = "--price USD says what an hour of an instance costs"


@pytest.fixture(autouse=True)
def here(aws: StandInAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("SIFT_LAUNCHER_HOME", str(tmp_path))
    return tmp_path / "prices"


def product(dollars: str, **attributes: str) -> str:
    dimension = {"unit": "Hrs", "pricePerUnit": {"USD": dollars}}
    terms = {"OnDemand": {"A.B": {"priceDimensions": {"A.B.C": dimension}}}}
    return json.dumps({"product": {"attributes": attributes}, "terms": terms})


TRAINING = product("1.4080000000", usagetype="EUW1-Train:ml.g5.xlarge", regionCode="eu-west-1")
HOSTING = product("1.9000000000", usagetype="EUW1-Host:ml.g5.xlarge", regionCode="eu-west-1")
FREE = product("0.0000000000", usagetype="EUW1-Train:ml.g5.xlarge", regionCode="eu-west-1")


def stub_list(clients: StubbedClients, *products: str, service: str = "AmazonSageMaker") -> None:
    asked = {"ServiceCode": service, "Filters": ANY, "FormatVersion": "aws_v1"}
    clients.stub("pricing").add_response("get_products", {"PriceList": list(products)}, asked)


def prices(spec: JobSpec, clients: Clients, now: float = NOON) -> tuple[Prices | None, str]:
    return ask_prices(spec, clients, now).answer(120)


def test_the_price_of_a_training_hour_is_found_among_the_others():
    clients = StubbedClients()
    stub_list(clients, HOSTING, FREE, TRAINING)
    assert prices(SPEC, clients) == (PRICE, "")


def test_the_list_is_asked_for_the_instance_in_the_region():
    clients = StubbedClients()
    asked = {
        "ServiceCode": "AmazonSageMaker",
        "FormatVersion": "aws_v1",
        "Filters": [
            {"Type": "TERM_MATCH", "Field": "regionCode", "Value": "eu-west-1"},
            {"Type": "TERM_MATCH", "Field": "instanceName", "Value": "ml.g5.xlarge"},
        ],
    }
    clients.stub("pricing").add_response("get_products", {"PriceList": [TRAINING]}, asked)
    assert prices(SPEC, clients) == (PRICE, "")


def test_a_family_with_a_hyphen_is_found():
    clients = StubbedClients()
    name = "ml.p6-b200.48xlarge"
    stub_list(clients, product("113.9", usagetype=f"USE1-Train:{name}"))
    found, _ = prices(JobSpec("train.py", instance=name), clients)
    assert found is not None
    assert found.on_demand == 113.9


def test_a_price_holds_for_a_day_and_is_then_asked_again():
    clients = StubbedClients()
    stub_list(clients, TRAINING)
    prices(SPEC, clients)
    asked = ask_prices(SPEC, clients, NOON + DAY - 1)
    assert asked.question is None
    assert asked.answer(0) == (PRICE, "")
    stub_list(clients, product("1.5", usagetype="EUW1-Train:ml.g5.xlarge"))
    later, _ = prices(SPEC, clients, NOON + DAY)
    assert later == Prices(1.5, None, "AWS's price list, 2026-11-22")


def test_each_region_and_instance_has_a_price_of_its_own():
    clients = StubbedClients()
    stub_list(clients, TRAINING)
    prices(SPEC, clients)
    elsewhere = StubbedClients("eu-west-3")
    stub_list(elsewhere, product("2", usagetype="EUW3-Train:ml.g5.xlarge"))
    found, _ = prices(SPEC, elsewhere)
    assert found is not None
    assert found.on_demand == 2.0


def test_an_old_price_is_better_than_none():
    clients = StubbedClients()
    stub_list(clients, TRAINING)
    prices(SPEC, clients)
    clients.stub("pricing").add_client_error("get_products", "AccessDeniedException", "no", 400)
    assert prices(SPEC, clients, NOON + 9 * DAY) == (PRICE, "")


def test_what_the_user_says_counts_and_nobody_is_asked():
    spec = JobSpec("train.py", instance="ml.g5.xlarge", spot=True, price_dollars=2.25)
    asked = ask_prices(spec, StubbedClients())
    assert asked.question is None
    assert asked.answer(0) == (Prices(2.25, None, "--price"), "")


def test_no_product_of_the_region_is_told_as_such():
    clients = StubbedClients()
    stub_list(clients, HOSTING)
    assert prices(SPEC, clients) == (
        None,
        f"AWS's price list has no ml.g5.xlarge for training in eu-west-1: {MEND}",
    )


def test_a_list_that_may_not_be_asked_names_the_permission():
    clients = StubbedClients()
    clients.stub("pricing").add_client_error("get_products", "AccessDeniedException", "no", 400)
    found, problem = prices(SPEC, clients)
    assert found is None
    assert "lacks the permission pricing:GetProducts" in problem
    assert problem.endswith(MEND)


def test_an_answer_that_does_not_come_is_not_waited_for():
    never = threading.Event()
    clients = StubbedClients()
    clients("pricing").meta.events.register_first(
        "before-call.pricing.GetProducts", lambda **_: never.wait(120)
    )
    answer = ask_prices(SPEC, clients, NOON).answer(0.1)
    never.set()
    assert answer == (None, f"AWS's price list has not answered within 0.1 s: {MEND}")


def test_a_stand_in_that_has_no_price_list_says_so(aws, here, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.endpoint)
    problem = f"a stand-in for AWS has no price list: {MEND}"
    assert prices(SPEC, Clients("eu-west-1")) == (None, problem)


def test_what_aws_said_counts_for_a_stand_in_too(aws, monkeypatch):
    clients = StubbedClients()
    stub_list(clients, TRAINING)
    prices(SPEC, clients)
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.endpoint)
    assert prices(SPEC, Clients("eu-west-1"), NOON + 9 * DAY) == (PRICE, "")


def test_the_prices_of_a_stand_in_are_told_as_its_own_and_not_kept(here):
    clients = StubbedClients()
    clients.endpoint = "http://127.0.0.1:1"
    dated = json.loads(TRAINING) | {"publicationDate": "2024-12-01T00:00:00Z"}
    stub_list(clients, json.dumps(dated))
    stub_list(clients, TRAINING)
    source = "a stand-in's price list, {}"
    assert prices(SPOT, clients) == (Prices(1.408, None, source.format("2024-12-01")), "")
    assert prices(SPOT, clients) == (Prices(1.408, None, source.format("undated")), "")
    assert not here.exists()


def test_the_list_is_asked_once_and_not_again_and_again(aws, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.endpoint)
    clients = Clients("eu-west-1")
    sent = []
    clients("pricing").meta.events.register("before-send", lambda **_: sent.append(1))
    prices(SPEC, clients)  # which moto answers with an error
    assert sent == [1]


def test_a_broken_price_on_disk_is_asked_again(here):
    here.mkdir()
    (here / "eu-west-1-ml.g5.xlarge.json").write_text("{")
    clients = StubbedClients()
    stub_list(clients, TRAINING)
    assert prices(SPEC, clients) == (PRICE, "")


def test_a_state_folder_that_cannot_be_written_costs_nothing_but_time(here):
    here.write_text("a file")
    clients = StubbedClients()
    stub_list(clients, TRAINING)
    assert prices(SPEC, clients) == (PRICE, "")


# ---- spot


def history(*dollars: str) -> dict[str, Any]:
    return {"SpotPriceHistory": [{"SpotPrice": each} for each in dollars]}


def spot_clients(*spots: str) -> StubbedClients:
    """EC2's spot market asks `spots` for a machine of 1.00 an hour."""
    clients = StubbedClients()
    answer_always(clients("ec2"), "DescribeSpotPriceHistory", history(*spots))

    def of_service(params: dict[str, Any], **_: Any) -> tuple[Any, dict[str, Any]]:
        is_ec2 = b"AmazonEC2" in params["body"]
        listed = [product("1.00", instanceType="g5.xlarge")] if is_ec2 else [TRAINING]
        response = type("Response", (), {"status_code": 200})()
        return response, {"PriceList": listed, "ResponseMetadata": {}}

    clients("pricing").meta.events.register_first("before-call.pricing.GetProducts", of_service)
    return clients


def test_spot_is_estimated_from_what_ec2s_market_asks_of_its_on_demand_price():
    found, problem = prices(SPOT, spot_clients("0.35", "0.45"))
    assert (found, problem) == (Prices(1.408, 0.5632, "AWS's price list, 2026-11-21"), "")


def test_without_a_spot_market_there_is_no_estimate():
    assert prices(SPOT, spot_clients()) == (PRICE, "")


def test_a_market_that_answers_late_costs_the_estimate_alone():
    never = threading.Event()
    clients = spot_clients("0.4")
    clients("ec2").meta.events.register_first(
        "before-parameter-build.ec2.DescribeSpotPriceHistory",
        lambda **_: never.wait(240) and None,
    )
    asked = ask_prices(SPOT, clients, NOON)
    wait_until(lambda: asked.known() is not None, 120)
    answer = asked.answer(0)
    never.set()
    assert answer == (PRICE, "")


def test_a_market_that_may_not_be_asked_costs_the_estimate_alone():
    clients = spot_clients("0.4")
    denied = {"Error": {"Code": "UnauthorizedOperation", "Message": "no"}}
    refused = StubbedClients()
    refused._made["pricing"] = clients("pricing")
    answer_always(refused("ec2"), "DescribeSpotPriceHistory", denied, 403)
    assert prices(SPOT, refused) == (PRICE, "")


def test_a_price_that_was_asked_without_spot_is_asked_again_for_it():
    clients = spot_clients("0.25")
    assert prices(SPEC, clients) == (PRICE, "")
    found, _ = prices(SPOT, clients)
    assert found is not None
    assert found.spot_estimate == 0.352
    assert prices(SPEC, clients) == (PRICE, "")  # of an on-demand job, nobody asks about spot


def test_the_regions_that_sell_an_instance():
    clients = StubbedClients()
    elsewhere = product("1", component="Training", usagetype="x", regionCode="us-east-1")
    hosting = product("1", usagetype="APN1-Host:ml.g5.xlarge", regionCode="ap-northeast-1")
    stub_list(clients, TRAINING, elsewhere, hosting)
    assert selling_regions("ml.g5.xlarge", clients) == ["eu-west-1", "us-east-1"]
