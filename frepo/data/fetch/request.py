"""One request over HTTP, and what its failure means."""

import http.client
import socket
import urllib.error
import urllib.request
from typing import Any

from frepo.errors import FrepoError

TIMEOUT_SECONDS = 30.0
"""Of a connection, and of a read that brings nothing."""
WORTH_A_RETRY = (408, 416, 425, 429)
"""Client errors that pass by themselves, as all server errors may; after 416 all of the file is asked for."""


class DownloadError(FrepoError):
    """A source does not give the file."""


class RefusedError(DownloadError):
    """A source answers that it does not give the file."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
        """Status of HTTP."""


class PassingError(Exception):
    """A failure that another try may not have."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        """Status of HTTP, where there was an answer."""


def ask(url: str, start: int = 0, token: str = "") -> Any:
    """Return the answer of `http.client` to a request for a file, or for its bytes from `start` on.

    Proxies are those of the environment. The token goes to the host of `url` alone, to none that this leads to.

    Raises:
        DownloadError: the source does not give it.
        PassingError: another try may succeed.
    """
    headers = {"User-Agent": "frepo", **({"Range": f"bytes={start}-"} if start else {})}
    try:
        asked = urllib.request.Request(url, headers=headers)  # noqa: S310 (constants, or the user's own mirror)
        if token:
            asked.add_unredirected_header("Authorization", f"Bearer {token}")
        return urllib.request.urlopen(asked, timeout=TIMEOUT_SECONDS)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        if error.code < 500 and error.code not in WORTH_A_RETRY:
            raise RefusedError(f"{url}: {error.code} {error.reason}", error.code) from None
        raise PassingError(f"{error.code} {error.reason}", error.code) from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, socket.gaierror):  # without a network, waiting does not help
            raise DownloadError(f"{url}: {error.reason.strerror}") from None
        raise PassingError(str(error.reason)) from None
    except (OSError, http.client.HTTPException) as error:
        raise PassingError(reason(error)) from None
    except ValueError as error:
        raise DownloadError(f"{url} is no address ({error})") from None


def reason(error: Exception) -> str:
    """Return in words why a connection failed."""
    return "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
