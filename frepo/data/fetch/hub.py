"""What the Hugging Face Hub says of a data set: its newest commit, and the parquet files of a commit.

https://huggingface.co/docs/hub/api has the addresses. `HF_ENDPOINT` names another server with the same ones, `HF_TOKEN`
the token of a private or gated data set; both are those of the library huggingface_hub.
"""

import http.client
import json
import os
import re
import time
from typing import Any, cast
from urllib.parse import quote, urlsplit

from frepo.data.fetch import download
from frepo.data.fetch.download import Remote
from frepo.data.fetch.request import DownloadError, PassingError, RefusedError, ask, reason
from frepo.data.sources.hub import HubFile, HubIndex
from frepo.errors import FrepoError
from frepo.progress import note
from frepo.reading import is_inside
from frepo.signals import raise_if_stopping
from frepo.spec.dataset import COMMIT
from frepo.spec.names import HUB

HOME = "https://huggingface.co"
ENDPOINT = "HF_ENDPOINT"
TOKEN = "HF_TOKEN"  # noqa: S105 (the name of the variable)
NEWEST = "main"
CONVERTED = "refs/convert/parquet"
"""Branch that the Hub keeps of data sets that are not parquet themselves, with its conversion."""
NEXT_PAGE = re.compile(r'<([^>]*)>\s*;\s*rel="next"')
LARGEST_ANSWER = 2**26
"""Bytes of a page of the list of files, which has a thousand entries."""
LONGEST_SECONDS = 300.0
"""That a page may take."""
AT_ONCE = 2**16
MOST_PAGES = 1000
LONGEST_TEXT = 300


def newest_commit(name: str, branch: str = NEWEST) -> str:
    """Return the newest commit of a branch, or that of a tag, of the data set `name`, `hf://OWNER/NAME`.

    Raises:
        FrepoError: the Hub does not say.
        Interrupted: a signal came.
    """
    commit = _facts(name, branch).get("sha")
    if not isinstance(commit, str) or not re.fullmatch(COMMIT, commit):
        raise _unexpected(name)
    return commit


def index_of(name: str, revision: str) -> HubIndex:
    """Return what the Hub states of the data set `name` at a commit.

    Raises:
        FrepoError: the Hub does not say, or the commit has no parquet files; the message then names one that has.
        Interrupted: a signal came.
    """
    facts = _facts(name, revision)
    files = [file for entry in _entries(name, revision) if (file := _parquet_file(name, entry)) is not None]
    if not files:
        raise FrepoError(f"{name} has no parquet files at commit {revision}; {_converted(name)}")
    card = facts.get("cardData")
    licence = card.get("license") if isinstance(card, dict) else None
    return HubIndex(
        _text(", ".join(map(str, licence)) if isinstance(licence, list) else licence),
        _text(facts.get("citation")),
        tuple(files),
    )


def remotes(name: str, revision: str, files: list[HubFile]) -> tuple[Remote, ...]:
    """Return the addresses of files of the data set `name`."""
    base = f"{_endpoint()}/datasets/{name.removeprefix(HUB)}/resolve/{revision}"
    token = os.environ.get(TOKEN, "")
    return tuple(Remote(file.path, file.size, file.sha256, f"{base}/{quote(file.path)}", token) for file in files)


def _endpoint() -> str:
    return os.environ.get(ENDPOINT, "").rstrip("/") or HOME


def _facts(name: str, revision: str) -> dict[str, Any]:
    found = _answer(name, revision, f"revision/{quote(revision, safe='')}")[0]
    if not isinstance(found, dict):
        raise _unexpected(name)
    return cast("dict[str, Any]", found)


def _entries(name: str, revision: str) -> list[dict[str, Any]]:
    """Return what the Hub states of each file and folder; it does so in pages."""
    found: list[dict[str, Any]] = []
    query: str | None = "recursive=true"
    pages = 0
    while query is not None:
        pages += 1
        if pages > MOST_PAGES:
            raise FrepoError(f"{name}: {_endpoint()} lists files on more than {MOST_PAGES:,} pages; check {ENDPOINT}")
        page, query = _answer(name, revision, f"tree/{revision}", query)
        if not isinstance(page, list) or not all(isinstance(entry, dict) for entry in page):
            raise _unexpected(name)
        found += page
    return found


def _parquet_file(name: str, entry: dict[str, Any]) -> HubFile | None:
    path, lfs = entry.get("path"), entry.get("lfs")
    if entry.get("type") != "file" or not isinstance(path, str) or not path.endswith(".parquet"):
        return None
    if not is_inside(path):
        raise FrepoError(f"{name}: the Hub states a file {path[:100]!a}, which is no plain path; use another commit")
    if not isinstance(lfs, dict) or not re.fullmatch("[0-9a-f]{64}", str(lfs.get("oid"))):
        raise FrepoError(f"{name}: the Hub states no SHA-256 of {path} to check it by; use another commit")
    size = lfs.get("size")
    if not isinstance(size, int) or size <= 0:
        raise _unexpected(name)
    return HubFile(path, size, lfs["oid"])


def _converted(name: str) -> str:
    """Return which commit has the Hub's conversion to parquet."""
    try:
        commit = newest_commit(name, CONVERTED)
    except FrepoError:
        return "nor has the Hub converted it; use a data set that has"
    return f'the Hub\'s conversion is another commit: set revision = "{commit}"'


def _answer(name: str, revision: str, what: str, query: str = "") -> tuple[Any, str | None]:
    """Return what the Hub answers, from JSON, and the query of its next page, if there is one."""
    url = f"{_endpoint()}/api/datasets/{name.removeprefix(HUB)}/{what}" + (f"?{query}" if query else "")
    pause = download.PAUSE_SECONDS
    for left in reversed(range(download.TRIES)):
        try:
            with ask(url, token=os.environ.get(TOKEN, "")) as answer:
                content, link = _whole(answer), answer.headers.get("Link", "")
            following = NEXT_PAGE.search(link)
            return json.loads(content), urlsplit(following[1]).query if following else None
        except RefusedError as error:
            raise _refused(name, revision, error) from None
        except (PassingError, OSError, http.client.HTTPException) as error:
            problem = str(error) if isinstance(error, PassingError) else reason(error)
            if not left:
                raise DownloadError(f"{url}: {problem}; {_without_network()}") from None
            note(f"{name}: {problem}; trying again")
            download.wait(pause)
            pause *= 2
        except DownloadError as error:
            raise DownloadError(f"{error}; {_without_network()}") from None
        except (ValueError, RecursionError):
            raise _unexpected(name) from None
    raise AssertionError


def _whole(answer: Any) -> bytes:
    """Return an answer, of which a server may send a byte now and then.

    Raises:
        PassingError: it takes too long, or has no end.
        Interrupted: a signal came.
    """
    parts, left, until = list[bytes](), LARGEST_ANSWER, time.monotonic() + LONGEST_SECONDS
    while part := answer.read1(AT_ONCE):
        raise_if_stopping()
        parts.append(part)
        left -= len(part)
        if left < 0 or time.monotonic() > until:
            raise PassingError("an answer without end")
    if answer.length:  # bytes that were promised
        raise PassingError("the connection ended before the answer did")
    return b"".join(parts)


def _refused(name: str, revision: str, error: RefusedError) -> FrepoError:
    page = f"{_endpoint()}/datasets/{name.removeprefix(HUB)}"
    if error.code not in (401, 403, 404):
        return error
    if os.environ.get(TOKEN):
        seen = f"or the account of {TOKEN} may not see it (accept its terms on {page})"
    else:
        seen = f"or it is private or gated (accept its terms on {page} and set {TOKEN} to a token of your account)"
    return FrepoError(
        f"the Hub does not show {name} at {revision} ({error.code}): there is no such data set or commit, {seen}"
    )


def _without_network() -> str:
    return f"{ENDPOINT} names another server; files at hand are read by name = 'parquet' with path = 'FOLDER'"


def _unexpected(name: str) -> FrepoError:
    return FrepoError(f"{name}: {_endpoint()} does not answer as the Hub does; check {ENDPOINT}")


def _text(value: object) -> str:
    """Return a stranger's text on one line, without characters that control a terminal."""
    words = " ".join(value.split()) if isinstance(value, str) else ""
    plain = "".join(character for character in words if character.isprintable())
    return plain if len(plain) <= LONGEST_TEXT else f"{plain[: LONGEST_TEXT - 3]}..."
