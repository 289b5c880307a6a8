"""What looks like a secret does not travel, and what only resembles one does.

The secrets here are made up, and put together at run time so that no scanner takes them for real.
"""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path

import pytest

from sift_launcher.bundle import check_no_secrets, list_bundle
from sift_launcher.errors import SecretFound

MIXED = "x7Qm2LpZ9vTr4KdW8nYbE1sHc6UfJ3gAo5RiVNtBw3Xe9PzMk2Dq8Lj5Gh1Cy7Fa4Sv6Ou"
UPPER = "Q7ZMT3XKWPL5DRN2"
HEX = "9f3b7c1e5a08d264b91c7e30f5a8d2461c9e7b35"
AWS_KEY = "AKIA" + UPPER
AWS_SECRET = MIXED[:20] + "/" + MIXED[21:39] + "+"
GITHUB = "ghp" + "_" + MIXED[:36]
HUGGING_FACE = "hf" + "_" + MIXED[:34]
BODY = "\n".join(MIXED[:64] for _ in range(12))
BEGIN = "-----BEGIN {}PRIVATE KEY-----"


def key(kind: str = "RSA ") -> str:
    return f"{BEGIN.format(kind)}\n{BODY}\n-----END {kind}PRIVATE KEY-----\n"


def found_in(root: Path, path: str, text: str | bytes, allow: tuple[str, ...] = ()) -> str | None:
    """The rule by which the file is refused."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(text.encode() if isinstance(text, str) else text)
    (root / "train.py").write_text("print(1)\n")
    try:
        list_bundle(root, "train.py", allow=allow)
    except SecretFound as error:
        assert path in str(error)
        return str(error).split("(rule ")[1].split(")")[0]
    return None


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (f"KEY_ID = '{AWS_KEY}'", "aws-access-key"),
        (f"ASIA{UPPER}", "aws-access-key"),
        (f"aws_secret_access_key = '{AWS_SECRET}'", "assigned-secret"),
        (f'"secretAccessKey": "{AWS_SECRET}"', "assigned-secret"),
        (f"git clone https://{GITHUB}@github.com/a/b", "github-token"),
        ("token: gho" + "_" + MIXED[:36], "github-token"),
        ("github" + "_pat_" + MIXED[:22] + "_" + MIXED[:59], "github-token"),
        ("glpat" + "-" + MIXED[:20], "gitlab-token"),
        ("xoxb" + "-918273645546-" + MIXED[:24], "slack-token"),
        (f"login('{HUGGING_FACE}')", "huggingface-token"),
        ("sk" + "-" + MIXED[:48], "openai-key"),
        ("sk" + "-proj-" + MIXED[:60], "openai-key"),
        ("sk" + "-ant-api03-" + MIXED + MIXED[:20], "anthropic-key"),
        ("wandb" + "_v1_" + MIXED[:44], "wandb-key"),
        (f'WANDB_API_KEY = "{HEX}"', "assigned-secret"),
        ("AIza" + MIXED[:35], "google-key"),
        ("GOCSPX" + "-" + MIXED[:28], "google-key"),
        ("stripe.api_key = 'sk" + "_live_" + MIXED[:24] + "'", "stripe-key"),
        ("//registry/:_authToken=npm" + "_" + MIXED[:36], "npm-token"),
        ("pypi" + "-AgE" + MIXED[:60], "pypi-token"),
        ("dapi" + HEX[:32], "databricks-token"),
        (key(), "private-key"),
        (key(""), "private-key"),
        (key("OPENSSH "), "private-key"),
        (key("ENCRYPTED "), "private-key"),
        (json.dumps({"type": "service_account", "private_key": key("")}), "private-key"),
        ("password = 'h4rd2Gue55!x'", "assigned-secret"),
        ('PASSWORD="h4rd2Gue55!x"', "assigned-secret"),
        ("db.connect(user='me', passwd='h4rd2Gue55!x')", "assigned-secret"),
        ("password: str = 'h4rd2Gue55!x'", "assigned-secret"),
        ("os.environ['API_KEY'] = 'h4rd2Gue55xyz'", "assigned-secret"),
        ("{'client_secret': 'h4rd2Gue55xyz'}", "assigned-secret"),
        ("apiKey => 'h4rd2Gue55xyz'", "assigned-secret"),
        ('{"source": ["token = \\"h4rd2Gue55xyz\\"\\n"]}', "assigned-secret"),
        ("postgres://me:h4rd2Gue55@db.internal:5432/x", "password-in-url"),
    ],
)
def test_a_secret_in_a_file_is_refused(tmp_path: Path, line: str, rule: str):
    assert found_in(tmp_path, "code/settings.py", f"import os\n{line}\n") == rule


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("run.sh", f"export WANDB_API_KEY={HEX}"),
        ("conf.yaml", f"  api_key: {MIXED[:24]}"),
        ("conf.ini", f"password={MIXED[:20]}"),
        ("credentials", f"aws_secret_access_key = {AWS_SECRET}"),
        ("Dockerfile", f"ENV HF_TOKEN={MIXED[:34]}"),
    ],
)
def test_a_secret_without_quotes_is_refused_where_none_are_needed(
    tmp_path: Path, name: str, line: str
):
    assert found_in(tmp_path, name, f"# settings\r\n{line}\r\n") == "assigned-secret"
    assert found_in(tmp_path / "python", "code.py", f"{line}\n") is None


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("id_rsa", "private-key"),
        ("keys/id_ed25519", "private-key"),
        ("store.p12", "private-key"),
        ("cert.pfx", "private-key"),
        (".netrc", "credentials-file"),
        ("home/.aws/credentials", "credentials-file"),
        (".docker/config.json", "credentials-file"),
        (".git-credentials", "credentials-file"),
        ("kaggle.json", "credentials-file"),
        (".kaggle/kaggle.json", "credentials-file"),
    ],
)
def test_a_file_that_is_one_by_its_name_is_refused(tmp_path: Path, name: str, rule: str):
    assert found_in(tmp_path, name, "anything") == rule


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        (".pypirc", "[pypi]\nusername = me\npassword = xyz\n", "credentials-file"),
        (".pypirc", "[pypi]\nusername = me\n", None),
        (".npmrc", "//registry.npmjs.org/:_authToken=abc\n", "credentials-file"),
        (".npmrc", "save-exact=true\n", None),
        ("server.pem", key(), "private-key"),
        ("server.pem", f"-----BEGIN CERTIFICATE-----\n{BODY}\n-----END CERTIFICATE-----\n", None),
        ("id_rsa.pub", f"ssh-rsa {BODY[:64]} me@here\n", None),
        ("public.pem", f"-----BEGIN PUBLIC KEY-----\n{BODY}\n", None),
    ],
)
def test_some_files_are_secret_only_with_one_in_them(
    tmp_path: Path, name: str, text: str, rule: str | None
):
    assert found_in(tmp_path, name, text) == rule


@pytest.mark.parametrize(
    "line",
    [
        # AWS's own, in all of its documentation.
        "AKIAIOSFODNN7EXAMPLE",
        "aws_secret_access_key = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'",
        "aws_access_key_id = 'AKIAXXXXXXXXXXXXXXXX'",
        # What stands where a secret goes.
        "password = 'changeme123'",
        "password = 'your-password-1'",
        "api_key = '<your api key 1>'",
        "api_key = 'sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'",
        "token = 'xxxxxxxx1234'",
        "token = '${TOKEN_2}'",
        "token = '{{ secrets.TOKEN1 }}'",
        "token = '%(token1)s'",
        "token = f'{token1}'",
        "secret = '************1'",
        "secret = 'a1b1a1b1a1b1a1b1'",
        "secret = 'REDACTED-2024-01'",
        "password = 'password123'",
        "password = 'test1234test'",
        "password = 'dummy-9a8b7c6d'",
        "api_key = 'abcdef1234567890'",
        "ghp_" + "0" * 36,
        "hf_" + "x" * 34,
        "-----BEGIN RSA PRIVATE KEY-----\n...\n-----END RSA PRIVATE KEY-----",
        "if text.startswith('-----BEGIN PRIVATE KEY-----'):",
        # Words, names, places and references.
        "password = getpass.getpass()",
        "password = os.environ['DB_PASSWORD_1']",
        "token = 'HF_TOKEN_2'",
        "secret = 'prod/database/login'",
        "password = 'correct horse battery staple'",
        "secret_key = 'arn:aws:secretsmanager:us-east-1:123456789012:secret:x-Ab12Cd'",
        "api_key = 's3://bucket/keys/k1.txt'",
        "token = '/run/secrets/token1'",
        "access_key = 'my-access-key-2024'",
        "postgres://user:password@localhost/db",
        "https://user:$PASSWORD1@host/",
        "http://example.com:8080/a@b",
        # Names that only sound like one.
        "tokenizer = 'bert-base-uncased-v1a2b3'",
        "max_tokens = '2048abcd91ZZ'",
        "pad_token = '<pad1>'",
        "eos_token = 'e0s7Zq9Xk2'",
        "sort_key = 'c0lumn7Zq9Xk2'",
        "public_key = 'h4rd2Gue55xyz'",
        "password_hash = 'h4rd2Gue55xyz'",
        "token_dropout = 'h4rd2Gue55xyz'",
        "request_token = '5236cffc-ee13-4a32-bb5b-388d9da09d96'",
        "next_token = 'h4rd2Gue55xyz'",
        "'AWS::ApiGateway::ApiKey': '83c788859d3c6ab6'",
        "key = 'h4rd2Gue55xyz'",
        "sha256 = '" + HEX + "'",
    ],
)
def test_what_is_none_travels(tmp_path: Path, line: str):
    assert found_in(tmp_path, "code/settings.py", f"import os\n{line}\n") is None


def test_pictures_in_notebooks_minified_scripts_and_lock_files_travel(tmp_path: Path):
    noise = random.Random(0).randbytes(400_000)
    picture = base64.b64encode(noise).decode()
    notebook = {"cells": [{"outputs": [{"data": {"image/png": picture}}], "source": ["x = 1\n"]}]}
    assert found_in(tmp_path, "plot.ipynb", json.dumps(notebook)) is None
    assert found_in(tmp_path, "app.min.js", f"a={{apiKey:'{MIXED[:20]}'}}") is None
    assert found_in(tmp_path, "poetry.lock", f"token = '{MIXED[:20]}'") is None
    assert found_in(tmp_path, "package-lock.json", f'{{"token": "{MIXED[:20]}"}}') is None
    assert found_in(tmp_path, "requirements.txt", f"x==1 --hash=sha256:{HEX}") is None
    assert found_in(tmp_path, "weights.bin", f"\0password = '{MIXED[:20]}'".encode()) is None


def test_a_notebook_with_a_token_in_a_cell_is_refused(tmp_path: Path):
    cells = [{"source": ["import os\n", f'os.environ["HF_TOKEN"] = "{MIXED[:34]}"\n']}]
    assert found_in(tmp_path, "a.ipynb", json.dumps({"cells": cells}, indent=1)) == (
        "assigned-secret"
    )


def test_what_stays_behind_may_hold_secrets(tmp_path: Path):
    (tmp_path / "secret").mkdir()
    (tmp_path / ".siftignore").write_text("secret/\n")
    assert found_in(tmp_path, "secret/.netrc", "x") is None
    assert found_in(tmp_path, ".env", f"API_KEY={MIXED}") is None


def test_the_text_names_file_line_rule_and_mend_and_never_the_secret(tmp_path: Path):
    (tmp_path / "train.py").write_text(f"import os\n\nlogin('{HUGGING_FACE}')\n")
    (tmp_path / "b.py").write_text(f"password = '{MIXED[:16]}'\n")
    (tmp_path / "id_rsa").write_text("x")
    with pytest.raises(SecretFound) as caught:
        list_bundle(tmp_path, "train.py")
    assert str(caught.value) == (
        "b.py, line 1, holds what looks like a password, key or token written out (rule "
        "assigned-secret), which would travel with the job: take it out, name the file in "
        ".siftignore, or let it travel with --allow assigned-secret or --allow b.py; there are "
        "also id_rsa (private-key), train.py:3 (huggingface-token)"
    )
    assert caught.value.exit_code == 2


def test_of_many_files_each_secret_is_named_once(tmp_path: Path):
    for number in range(6):
        (tmp_path / f"{number}.py").write_text("x = 1\n" * 20_000)
    (tmp_path / "0.py").write_text(f"\n\nlogin('{HUGGING_FACE}')\n" + "x = 1\n" * 20_000)
    with pytest.raises(SecretFound) as caught:
        list_bundle(tmp_path, "0.py")
    assert str(caught.value).startswith("0.py, line 3, holds what looks like a Hugging Face token")
    assert str(caught.value).endswith("or --allow 0.py")


@pytest.mark.parametrize(
    ("allow", "rule"),
    [
        (("github-token",), None),
        (("a/code.py",), None),
        (("a/*.py",), None),
        (("a",), None),
        (("a/",), None),
        (("code.py",), "github-token"),
        (("gitlab-token",), "github-token"),
        (("b/code.py",), "github-token"),
    ],
)
def test_a_rule_or_a_file_can_be_allowed(tmp_path: Path, allow: tuple[str, ...], rule: str | None):
    assert found_in(tmp_path, "a/code.py", f"x = '{GITHUB}'", allow) == rule


def refused(name: str, value: object, *allow: str) -> list[str]:
    """For a hyperparameter and for a variable: the rule by which it is refused."""
    rules = []
    for pair in (({name: value}, {}), ({}, {name: str(value)})):
        try:
            check_no_secrets(*pair, allow)
        except SecretFound as error:
            assert f" {name} looks like " in str(error)
            assert str(value) not in str(error)
            rules.append(str(error).split("(rule ")[1].split(")")[0])
    return rules


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HF_TOKEN", MIXED[:30]),
        ("WANDB_API_KEY", HEX),
        ("AWS_SECRET_ACCESS_KEY", AWS_SECRET),
        ("AWS_SESSION_TOKEN", MIXED),
        ("AWS_ACCESS_KEY_ID", "AB12CD34EF56GH78"),
        ("db_password", "sesame street"),
        ("DB_PASSWORD_PROD", MIXED[:12]),
        ("passwd", "letmein!"),
        ("clientSecret", MIXED[:16]),
        ("api-key", MIXED[:16]),
        ("APIKEY", MIXED[:16]),
    ],
)
def test_a_parameter_is_refused_for_its_name(name: str, value: str):
    assert refused(name, value) == ["secret-name", "secret-name"]


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (GITHUB, "github-token"),
        (HUGGING_FACE, "huggingface-token"),
        (AWS_KEY, "aws-access-key"),
        (f"https://me:{MIXED[:12]}@host/x", "password-in-url"),
        (f'{{"password": "{MIXED[:12]}"}}', "assigned-secret"),
        (key(), "private-key"),
        (f"--lr 0.1 --api-key {MIXED[:20]} --epochs 3", "secret-name"),
        (f"--password={MIXED[:12]}", "secret-name"),
    ],
)
def test_a_parameter_is_refused_for_its_value(value: str, rule: str):
    assert refused("note", value) == [rule, rule]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tokenizer", "bert-base-uncased"),
        ("tokenizer_name", "org/model-7b-v2"),
        ("max_tokens", 2048),
        ("max_tokens", "2048"),
        ("token_dropout", 0.1),
        ("secret_sauce", False),
        ("secret_sauce", "false"),
        ("secret_sauce", "ketchup"),
        ("pad_token", "<pad>"),
        ("mask_token", "[MASK]"),
        ("eos_token", "</s>"),
        ("password", ""),
        ("password", None),
        ("password", "$DB_PASSWORD"),
        ("password", "none"),
        ("password", "changeme"),
        ("PASSWORD_FILE", "/run/secrets/db"),
        ("DB_SECRET", "arn:aws:secretsmanager:us-east-1:123456789012:secret:db-Ab12Cd"),
        ("HF_TOKEN", "<token>"),
        ("sort_key", MIXED[:20]),
        ("monkey", MIXED[:20]),
        ("AWS_REGION", "us-east-1"),
        ("AWS_DEFAULT_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("lr", 1e-3),
        ("model", "gpt2-124M"),
        ("sha", HEX),
        ("sift_arguments", "--max-tokens 100 --tokenizer gpt2-a1b2 --token-file /run/x1 -p 3"),
    ],
)
def test_a_harmless_parameter_travels(name: str, value: object):
    assert refused(name, value) == []


def test_a_parameter_can_be_allowed_by_name_or_rule():
    assert refused("db_password", MIXED, "db_password") == []
    assert refused("db_password", MIXED, "secret-name") == []
    assert refused("db_password", MIXED, "password") == ["secret-name", "secret-name"]


def test_the_text_says_where_a_secret_belongs():
    with pytest.raises(SecretFound) as caught:
        check_no_secrets({}, {"HF_TOKEN": MIXED[:30]})
    assert str(caught.value) == (
        "environment variable HF_TOKEN looks like a secret, by its name (rule secret-name), and "
        "whoever may describe the job can read it: let the script fetch it from AWS Secrets "
        "Manager, or let it travel with --allow secret-name or --allow HF_TOKEN"
    )
