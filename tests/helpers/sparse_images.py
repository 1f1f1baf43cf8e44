"""Stored files in the place of images that nothing decodes: a million of them take some minutes, and a block each."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path


def store_sparse(folder: Path, count: int, size: int = 100_000) -> Iterator[str]:
    """Write files of `size` bytes into a service's data folder as it keeps images; yield the sha256 of each.

    Rows without files would not do: the service takes such images for damaged, and looks each of them up in a listing.
    """
    zeros = hashlib.sha256(bytes(size - 8))
    for number in range(count):
        end = number.to_bytes(8, "big")
        content = zeros.copy()
        content.update(end)
        sha256 = content.hexdigest()
        file = os.open(folder / "images" / sha256[0] / sha256, os.O_WRONLY | os.O_CREAT, 0o600)
        os.pwrite(file, end, size - len(end))
        os.close(file)
        yield sha256
