"""Model files taken apart and put together again, as somebody with bad intentions might."""

import hashlib
import json
from typing import Any

import numpy as np
import safetensors.numpy

#: What the header of a file with a checksum begins with, and how long the checksum is.
BEFORE = b'{"__metadata__":{"xpnet":"{\\"sha256\\": \\"'
DIGITS = 64


def sign(content: bytes) -> bytes:
    """Return a file's content with the right checksum, if there is a place for one."""
    place = 8 + len(BEFORE)
    if content[8:place] != BEFORE:
        return content
    blank = content[:place] + b"0" * DIGITS + content[place + DIGITS :]
    return blank[:place] + hashlib.sha256(blank).hexdigest().encode() + blank[place + DIGITS :]


def unpack(content: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Return a file's header without its metadata, the document in these, and the data."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    document = json.loads(header.pop("__metadata__")["xpnet"])
    return header, document, content[start:]


def pack(header: Any, document: Any, data: bytes) -> bytes:
    """Put a file together, with the right checksum if its document has a place for one.

    A header or document that is no dict, and a document that is text, stand in it as they are.
    """
    text = document if isinstance(document, str) else json.dumps(document)
    if isinstance(header, dict):
        # Like safetensors: nothing between, and the metadata first.
        header = {"__metadata__": {"xpnet": text}, **header}
    head = json.dumps(header, separators=(",", ":"), ensure_ascii=False)
    raw = head.encode("utf-8", "surrogatepass")
    raw += b" " * (-len(raw) % 8)
    return sign(len(raw).to_bytes(8, "little") + raw + data)


def rewrite(path: Any, arrays: dict[str, np.ndarray], description: Any) -> None:
    """Write a file with a description as it is, or as JSON and with a checksum if it is no text."""
    if isinstance(description, str):
        safetensors.numpy.save_file(arrays, path, {"xpnet": description})
        return
    text = json.dumps({"sha256": "0" * DIGITS} | description)
    safetensors.numpy.save_file(arrays, path, {"xpnet": text})
    path.write_bytes(sign(path.read_bytes()))
