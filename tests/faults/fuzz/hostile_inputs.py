"""Inputs that strangers may send: sound ones with bytes changed, and documents with hostile values in their places."""

import copy
import json
import struct
import zlib

from hypothesis import strategies as st

LENGTHS = (0, 1, 2**7 - 1, 2**8 - 1, 2**15 - 1, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1)
PATHS = (
    *("..", "../x", "../../../../../../etc/passwd", "/etc/passwd", "/dev/zero", "/dev/stdin", "a/../../x", "./x", "."),
    *(
        "a//b",
        "~/x",
        "C:\\x",
        "a\\..\\x",
        "x\0y",
        "\ud800",
        "\x1b]0;x\a",
        "gs://a/b",
        "http://127.0.0.1:9/x",
        "%2e%2e/x",
    ),
)
TEXTS = (
    *("", " ", "a" * 100_000, "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", "%s%n"),
    *("'; DROP TABLE runs; --", "nan", "1e999", "os.system", "hostile_module.Feature", "antigravity.Feature", "\u202e"),
)
NUMBERS = (*(-1, 0, 1, 2**31, 2**32, 2**63, 2**64, -(2**63), 10**30), *(0.5, 1e308, float("inf"), float("nan")))
VALUES = (None, True, False, *NUMBERS, *TEXTS, *PATHS, [], {}, [[]], [None], {"": ""})
DEEP = "@deep@"
"""Stands for a value that is nested without end."""


@st.composite
def damaged(draw, sound):
    """Draw sound bytes after some changes: flipped, cut off, cut out, repeated, inserted, lengths blown up."""
    content = bytearray(sound)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        end = min(len(content), place + draw(st.sampled_from((1, 2, 4, 8, 16, 64, 1024))))
        match draw(st.sampled_from(("flip", "cut off", "cut out", "repeat", "insert", "length", "length"))):
            case "flip":
                content[place:end] = bytes(byte ^ draw(st.integers(1, 255)) for byte in content[place : place + 1])
            case "cut off":
                del content[place:]
            case "cut out":
                del content[place:end]
            case "repeat":
                content[place:place] = content[place:end] * draw(st.sampled_from((1, 2, 50)))
            case "insert":
                content[place:place] = draw(st.binary(max_size=16))
            case "length":
                kind = draw(st.sampled_from(("<B", "<H", "<I", "<Q", ">H", ">I", ">Q")))
                size = struct.calcsize(kind)
                number = draw(st.sampled_from(LENGTHS)) % 2 ** (8 * size)
                content[place : place + size] = struct.pack(kind, number)
    return bytes(content)


def places_in(document, above=()):
    """Return the paths of all values in a document of JSON."""
    found = [above] if above else []
    if isinstance(document, dict):
        found += [place for key, value in document.items() for place in places_in(value, (*above, key))]
    if isinstance(document, list):
        found += [place for index, value in enumerate(document) for place in places_in(value, (*above, index))]
    return found


@st.composite
def altered(draw, document):
    """Draw a document of JSON with some of its values replaced, left out, repeated or under another name."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        places = places_in(document)
        if not places:
            break
        *above, last = draw(st.sampled_from(places))
        node = document
        for key in above:
            node = node[key]
        match draw(st.sampled_from(("replace",) * 6 + ("leave out", "repeat", "rename", "deep"))):
            case "replace":
                node[last] = copy.deepcopy(draw(st.sampled_from(VALUES)))
            case "leave out":
                del node[last]
            case "repeat":
                if isinstance(node, list):
                    node *= draw(st.sampled_from((2, 100)))
            case "rename":
                if isinstance(node, dict):
                    node[draw(st.sampled_from((*PATHS, *TEXTS)))] = node.pop(last)
            case "deep":
                node[last] = DEEP
    return document


def as_json(document):
    """Return a document as bytes."""
    return json.dumps(document).replace(json.dumps(DEEP), "[" * 50_000 + "]" * 50_000).encode()


def json_of(document):
    """Draw the bytes of an altered document, or damaged ones."""
    return st.one_of(altered(document).map(as_json), damaged(json.dumps(document).encode()))


def png_of(chunks):
    """Return the PNG of chunks (type, data), their checksums right."""
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_bomb(width, height):
    """Return a small PNG of many grey pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    row, rows = bytes(width + 1), []
    for _ in range(height):
        rows.append(packer.compress(row))
    return png_of([(b"IHDR", header), (b"IDAT", b"".join([*rows, packer.flush()])), (b"IEND", b"")])
