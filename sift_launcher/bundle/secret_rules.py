"""What a secret looks like: in a text, as a file's name, as a variable's name and value. Pure.

The forms of tokens are those their makers publish, for tools like this one to know them by. What
documentation and examples put in a secret's place is told apart by `is_placeholder`.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Finding:
    """Something that looks like a secret: by which rule, and in which line, counted from 1."""

    rule: str
    what: str
    line: int | None = None


# The beginning of a token, what follows it, its rule and what it is.
_TOKENS = (
    ("AKIA", r"[A-Z2-7]{16}", "aws-access-key", "an AWS access key"),
    ("ASIA", r"[A-Z2-7]{16}", "aws-access-key", "an AWS access key"),
    ("ghp", r"_[A-Za-z0-9]{36}", "github-token", "a GitHub token"),
    ("gho", r"_[A-Za-z0-9]{36}", "github-token", "a GitHub token"),
    ("ghu", r"_[A-Za-z0-9]{36}", "github-token", "a GitHub token"),
    ("ghs", r"_[A-Za-z0-9]{36}", "github-token", "a GitHub token"),
    ("ghr", r"_[A-Za-z0-9]{36}", "github-token", "a GitHub token"),
    ("github", r"_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}", "github-token", "a GitHub token"),
    ("glpat", r"-[\w-]{20,}", "gitlab-token", "a GitLab token"),
    ("xox", r"[abeprs]-[A-Za-z0-9-]{16,}", "slack-token", "a Slack token"),
    ("hf_", r"[A-Za-z0-9]{34,}", "huggingface-token", "a Hugging Face token"),
    ("sk-ant", r"-[\w-]{80,}", "anthropic-key", "an Anthropic key"),
    ("sk-", r"[A-Za-z0-9]{48}|(?:proj|svcacct|admin)-[\w-]{40,}", "openai-key", "an OpenAI key"),
    ("AIza", r"[\w-]{35}", "google-key", "a Google key"),
    ("GOCSPX", r"-[\w-]{28}", "google-key", "a Google client secret"),
    ("sk_live", r"_[A-Za-z0-9]{20,}", "stripe-key", "a Stripe key"),
    ("rk_live", r"_[A-Za-z0-9]{20,}", "stripe-key", "a Stripe key"),
    ("wandb", r"_v1_[\w-]{40,}", "wandb-key", "a Weights & Biases key"),
    ("npm_", r"[A-Za-z0-9]{36}", "npm-token", "an npm token"),
    ("pypi", r"-AgE[\w-]{50,}", "pypi-token", "a PyPI token"),
    ("dapi", r"[0-9a-f]{32}(?:-\d)?", "databricks-token", "a Databricks token"),
)
_SHORTEST_TOKEN = 20
_START = 3
_STARTS = frozenset(start[:_START].encode() for start, *_ in _TOKENS)
_TOKEN = re.compile(
    "|".join(f"(?P<t{n}>{start}(?:{rest}))" for n, (start, rest, *_) in enumerate(_TOKENS))
)
# All that no token has in it becomes a space; splitting there is faster than any expression.
_WORD_CHARS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_ONLY_WORDS = bytes(char if char in _WORD_CHARS else 0x20 for char in range(256))

_PRIVATE_KEY = re.compile(
    # The base64 may stand in a JSON string, with its newlines written out.
    rb"-----BEGIN (?:[A-Z0-9]+ ){0,2}PRIVATE KEY(?: BLOCK)?-----"
    rb"(?:\s|\\[nr]|[\"'+,]|[\w-]+: [^\n]*\n)*[A-Za-z0-9+/=]{40}"
)

# Only a name that *ends* so is a secret's: `tokenizer` and `max_tokens` are none. Each expression
# begins with plain letters, which are found many times faster than any of several words.
_SECRET_NAMES = (
    rb"passw(?:or)?d",
    rb"passphrase",
    rb"secret",
    rb"token",
    rb"key",
    rb"credentials?",
)
_QUOTED = (
    rb"\\?[\"']?\]?[ \t]{0,9}(?::[ \t]?str[ \t]?)?(?:=>|:=|[:=])[ \t]{0,9}[rbuf]?"
    rb"(?P<quote>\\?[\"'])(?P<value>[^\s\"'\\]{8,200})(?P=quote)"
)
_BARE = rb"[ \t]{0,9}[:=][ \t]{0,9}(?P<value>[A-Za-z0-9+/_-]{16,200}={0,2})[ \t]*(?=\r?\n|$)"
_ASSIGNED = tuple(re.compile(name + _QUOTED) for name in _SECRET_NAMES)
_ASSIGNED_BARE = tuple(re.compile(name + _BARE) for name in _SECRET_NAMES)
_BEFORE_KEY = re.compile(
    rb"(?:api|access|auth|account|private|encryption|signing|secret)[_-]?$",
)
_HARMLESS_BEFORE = re.compile(
    rb"(?:pad|bos|eos|unk|cls|sep|mask|special|image|stop|start|end|next|continuation|added|public)"
    rb"[_-]?$"
    rb"|public[_-]?key$|::\w{0,40}$"
)
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_IN_URL = re.compile(rb"://[^\s:/@\"'<>]{1,80}:(?P<value>[^\s/@\"'<>:,]{8,120})@")

# Where an assignment needs no quotes.
_BARE_KINDS = frozenset(
    {".sh", ".bash", ".zsh", ".env", ".yaml", ".yml", ".ini", ".cfg", ".conf", ".properties", ""}
    | {".tfvars", ".envrc", ".credentials", ".txt", ".dockerfile"}
)

_KEY_STORES = (".p12", ".pfx", ".jks", ".keystore", ".kdbx", ".ppk")
_NAMES = {
    "id_rsa": "private-key",
    "id_dsa": "private-key",
    "id_ecdsa": "private-key",
    "id_ed25519": "private-key",
    ".netrc": "credentials-file",
    "_netrc": "credentials-file",
    ".git-credentials": "credentials-file",
    ".pgpass": "credentials-file",
    ".s3cfg": "credentials-file",
    ".boto": "credentials-file",
    ".vault-token": "credentials-file",
    "kaggle.json": "credentials-file",
}
_PATHS = (".aws/credentials", ".docker/config.json", ".kube/config", ".huggingface/token")
_LOGIN = re.compile(
    rb"(?m)^[ \t]*(?:password\s*[:=]|.*:_(?:authToken|password|auth)[ \t]*=)[ \t]*\S"
)
_LOGIN_FILES = frozenset({".pypirc", ".npmrc"})


def in_file_name(path: str) -> Finding | None:
    """What a file is by its name alone."""
    name = path.rpartition("/")[2]
    rule = _NAMES.get(name)
    if rule is None and name.endswith(_KEY_STORES):
        rule = "private-key"
    if rule is None and path.endswith(_PATHS):
        rule = "credentials-file"
    if rule is None:
        return None
    return Finding(rule, "a private key" if rule == "private-key" else "a file of credentials")


def in_login_file(path: str, text: bytes) -> Finding | None:
    """The first password in a package manager's settings; None in all other files."""
    match = _LOGIN.search(text) if path.rpartition("/")[2] in _LOGIN_FILES else None
    if match is None:
        return None
    return Finding("credentials-file", "a password", text.count(b"\n", 0, match.start()) + 1)


def in_text(path: str, text: bytes) -> list[Finding]:
    """What in the content of the file at `path` looks like a secret, by line, one of each."""
    found: dict[int, Finding] = {}
    # Of several rules for one line the first names it best.
    for rule, what, at in (*_tokens(text), *_private_keys(text), *_assigned(path, text)):
        line = text.count(b"\n", 0, at) + 1
        found.setdefault(line, Finding(rule, what, line))
    return [found[line] for line in sorted(found)]


def token(text: str) -> Finding | None:
    """Whose token `text` is, if it has the form of one."""
    match = _TOKEN.fullmatch(text)
    if match is None:
        return None
    start, _, rule, what = _TOKENS[int((match.lastgroup or "t0")[1:])]
    return None if is_placeholder(text[len(start) :].lstrip("_-")) else Finding(rule, what)


_FAKE = re.compile(
    r"example|sample|dummy|fake|test|mock|change|your|replace|insert|placeholder|redact|todo"
    r"|password|passwd|secret|token|none|null|undefined|hidden|foobar|lorem|qwert|correct"
    r"|x{4}|0{5}|1234567|abcdef|(.)\1{5}|\.{3}|\*{3}",
    re.IGNORECASE,
)
_TEMPLATE = re.compile(r"[<>{}\[\]()$%|]|^[@!&~.]|^/|://|^arn:|^s3:|^ref[+:]|^env[.:]|^op:")
_WORDS = re.compile(r"(?:[A-Za-z]+|\d{1,4})(?:[._:/ -](?:[A-Za-z]+|\d{1,4}))*")
_LEAST_BITS = 2.9


def is_placeholder(value: str) -> bool:
    """Whether this stands where a secret would be: an example, a template, words, a pattern."""
    return bool(
        _FAKE.search(value)
        or _TEMPLATE.search(value)
        or _WORDS.fullmatch(value)
        or entropy(value) < _LEAST_BITS
    )


def looks_random(value: str) -> bool:
    """Whether the value is one that people do not make up: letters and digits mixed."""
    has_both = re.search(r"[A-Za-z]", value) and re.search(r"\d", value)
    return bool(has_both) and not is_placeholder(value)


def entropy(value: str) -> float:
    """Bits a character, by how often each of them is in the value."""
    if not value:
        return 0.0
    shares = [count / len(value) for count in Counter(value).values()]
    return -sum(share * math.log2(share) for share in shares)


_Found: TypeAlias = "tuple[str, str, int]"  # the rule, what it is, and where


def _tokens(text: bytes) -> Iterator[_Found]:
    words = text.translate(_ONLY_WORDS).split()
    for word in [w for w in words if len(w) >= _SHORTEST_TOKEN and w[:_START] in _STARTS]:
        found = token(word.decode())
        if found is not None:
            yield found.rule, found.what, text.find(word)


def _private_keys(text: bytes) -> Iterator[_Found]:
    if b"PRIVATE KEY" in text:
        for match in _PRIVATE_KEY.finditer(text):
            yield "private-key", "a private key", match.start()


def _assigned(path: str, text: bytes) -> Iterator[_Found]:
    for match in _IN_URL.finditer(text):
        if not is_placeholder(match["value"].decode("utf-8", "replace")):
            yield "password-in-url", "a password in an address", match.start()
    name = path.rpartition("/")[2]
    is_bare = os.path.splitext(name)[1].lower() in _BARE_KINDS  # noqa: PTH122 - of many files
    lower = text.lower()  # searched without regard to case, and read as it stands
    for expression in (*_ASSIGNED, *_ASSIGNED_BARE) if is_bare else _ASSIGNED:
        for match in expression.finditer(lower):
            if _is_secret_at(lower, match.start()):
                begin, end = match.span("value")
                value = text[begin:end].decode("utf-8", "replace")
                # A token that is an id tells one request from another.
                is_id = match[0].startswith(b"token") and _ID.fullmatch(value)
                if looks_random(value) and not is_id:
                    what = "a password, key or token written out"
                    yield "assigned-secret", what, match.start()


def _is_secret_at(lower: bytes, at: int) -> bool:
    """Whether the name that ends with what was found at `at` is a secret's."""
    before = lower[max(0, at - 40) : at]
    if lower.startswith(b"key", at) and not _BEFORE_KEY.search(before):
        return False
    return not _HARMLESS_BEFORE.search(before)


_TRIVIAL = re.compile(r"(?i)true|false|yes|no|on|off|none|null|[+-]?[\d.,_]+(?:e[+-]?\d+)?|")
_NAME_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_OPTION = re.compile(r"--?([A-Za-z][\w-]*)[ =](\S+)")
_KEY_WORDS = frozenset({"api", "access", "secret", "auth", "account", "private", "encryption"})


def of_variable(name: str, value: str) -> Finding | None:
    """What a hyperparameter or an environment variable is, by its value or by its name."""
    if found := in_text("", value.encode("utf-8", "replace")):
        return Finding(found[0].rule, found[0].what)
    # A value may be a command line: `--api-key ...` counts as a variable of that name.
    pairs = [(name, value), *(match.group(1, 2) for match in _OPTION.finditer(value))]
    if any(_is_secret_pair(*pair) for pair in pairs):
        return Finding("secret-name", "a secret, by its name")
    return None


def _is_secret_pair(name: str, value: str) -> bool:
    if _TRIVIAL.fullmatch(value) or not value.strip():
        return False
    words = [word.lower() for word in _NAME_WORDS.findall(name)]
    return _is_secret_name(words) and _is_secret_value(words, value)


def _is_secret_name(words: list[str]) -> bool:
    if words[:1] == ["aws"] and words[-1:] == ["id"]:
        return "key" in words
    ends = words[-1:] in (["token"], ["password"], ["passwd"], ["pwd"], ["passphrase"], ["secret"])
    is_key = words[-1:] in (["key"], ["apikey"]) and (
        words[-1] == "apikey" or not _KEY_WORDS.isdisjoint(words[:-1])
    )
    return ends or is_key or not {"password", "secret", "credentials"}.isdisjoint(words)


def _is_secret_value(words: list[str], value: str) -> bool:
    if words[:1] == ["aws"] or words[-1] in ("password", "passwd", "pwd", "passphrase"):
        # People make these up, so they may be words.
        return len(value) >= 6 and not _TEMPLATE.search(value) and not _FAKE.search(value)
    return len(value) >= 8 and looks_random(value)
