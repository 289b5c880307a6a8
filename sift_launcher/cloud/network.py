"""The key and the network that a job is given, as far as AWS tells of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sift_launcher.cloud.client import Clients
from sift_launcher.cloud.explain import explained
from sift_launcher.errors import ValidationError


def check_key(key: str, clients: Clients) -> None:
    """Raises ValidationError unless `key` is there and can encrypt."""
    with explained(f"kms:DescribeKey on {key}", f"looking up --kms-key {key}", clients.profile):
        found = clients("kms").describe_key(KeyId=key)["KeyMetadata"]
    if found["KeyState"] != "Enabled":
        raise ValidationError(
            f"--kms-key {key} is {found['KeyState']}: aws kms enable-key --key-id {key}, or "
            "name another"
        )


def check_network(network: Mapping[str, Sequence[str]], clients: Clients) -> None:
    """Raises ValidationError unless all subnets and security groups are there, in one VPC."""
    subnets, groups = list(network["Subnets"]), list(network["SecurityGroupIds"])
    ec2 = clients("ec2")
    what = f"looking up --subnet {', '.join(subnets)}"
    with explained("ec2:DescribeSubnets", what, clients.profile):
        found = ec2.describe_subnets(SubnetIds=subnets)["Subnets"]
    what = f"looking up --security-group {', '.join(groups)}"
    with explained("ec2:DescribeSecurityGroups", what, clients.profile):
        found_groups = ec2.describe_security_groups(GroupIds=groups)["SecurityGroups"]
    vpcs = sorted({each["VpcId"] for each in (*found, *found_groups)})
    if len(vpcs) > 1:
        raise ValidationError(
            f"--subnet and --security-group lie in several VPCs, {' and '.join(vpcs)}: name "
            "those of one"
        )
