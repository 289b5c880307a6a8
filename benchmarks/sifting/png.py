"""Reads the pixels of a PNG file: 8 bits, RGB, not interlaced (W3C, PNG, third edition)."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PLAIN_RGB = (8, 2, 0, 0, 0)


def read_rgb(content: bytes) -> Pixels:
    """The pixels, (height, width, 3). Raises ``ValueError`` for another kind of file."""
    if content[:8] != _SIGNATURE:
        raise ValueError("not a PNG file")
    header = b""
    packed = []
    at = 8
    while at < len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        body = content[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            header = body
        elif kind == b"IDAT":
            packed.append(body)
        at += 12 + length
    width, height, *rest = struct.unpack(">IIBBBBB", header)
    if tuple(rest) != _PLAIN_RGB:
        raise ValueError(f"a PNG file of depth, colour, ... {rest}, not {list(_PLAIN_RGB)}")
    lines = np.frombuffer(zlib.decompress(b"".join(packed)), np.uint8)
    return _unfiltered(lines.reshape(height, 1 + 3 * width)).reshape(height, width, 3)


def _unfiltered(lines: Pixels) -> Pixels:
    """The rows of bytes behind lines that each begin with the number of their filter."""
    kinds = lines[:, 0]
    rows: Pixels = lines[:, 1:].copy()
    left = kinds == 1  # all of them at once: each byte adds to the one of the pixel to its left
    pixels = rows[left].reshape(int(left.sum()), -1, 3)
    rows[left] = pixels.cumsum(axis=1, dtype=np.uint8).reshape(len(pixels), -1)
    for number in np.flatnonzero(kinds > 1):
        above = rows[number - 1] if number else np.zeros_like(rows[0])
        rows[number] = _add_back(int(kinds[number]), rows[number], above)
    return rows


def _add_back(kind: int, row: Pixels, above: Pixels) -> Pixels:
    if kind == 2:
        return row + above
    out = [0, 0, 0, *row.tolist()]
    up = [0, 0, 0, *above.tolist()]
    for at in range(3, len(out)):
        a, b, c = out[at - 3], up[at], up[at - 3]
        guess = (a + b) // 2 if kind == 3 else _paeth(a, b, c)
        out[at] = (out[at] + guess) % 256
    return np.array(out[3:], np.uint8)


def _paeth(a: int, b: int, c: int) -> int:
    """Whichever of left, above and above left is nearest to a + b - c."""
    straight = a + b - c
    return min((a, b, c), key=lambda each: abs(straight - each))
