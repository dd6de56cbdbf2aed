"""Files from public addresses: fetched once, verified by checksum, whole or not there at all."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from http.client import responses
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from trainless.errors import TableError
from trainless.tables.files import shown

__all__ = ["cache_folder", "fetch"]

_SECONDS = 30.0  # without a byte from the server
_CHUNK = 2**16
_ELSE = "or fetch it by hand and give it with --from or --data"


def cache_folder() -> Path:
    """Find the folder for downloaded files: TRAINLESS_CACHE, else the platform's folder for caches.

    The folder need not exist.

    Raises:
        TableError: TRAINLESS_CACHE begins with the home folder of a user that there is not.

    Example:
        >>> os.environ["TRAINLESS_CACHE"] = "caches/trainless"
        >>> cache_folder().as_posix()
        'caches/trainless'
        >>> del os.environ["TRAINLESS_CACHE"]
    """
    chosen = os.environ.get("TRAINLESS_CACHE")
    if not chosen:
        return user_cache_path("trainless")
    try:
        return Path(chosen).expanduser()
    except RuntimeError as error:
        raise TableError(
            f"TRAINLESS_CACHE is '{shown(chosen)}', and there is no such home folder: write the path in full."
        ) from error


def fetch(
    url: str, sha256: str, size: int, destination: Path, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Download one file, unless it is there already with the right checksum.

    The file gets its name only when it is complete and verified; until then it lies beside it under a temporary one,
    which is removed whatever happens. Nothing that the server answers changes where the file is written.

    Args:
        url: ``https://host/path``; the environment variable TRAINLESS_MIRROR takes the place of ``https://host``.
        sha256: the checksum of the file, in hexadecimal digits.
        size: length of the file in bytes; a longer answer is not read further.
        destination: the name that the file gets; its folder is made.
        progress: called with the bytes done and ``size``, after each piece.

    Returns:
        ``destination``.

    Raises:
        TableError: the file cannot be had or written; the message tells why and what to do, and the same call may be
            tried again.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     there = Path(folder) / "toy.csv"
        ...     _ = there.write_bytes(b"a,1")
        ...     checksum = hashlib.sha256(b"a,1").hexdigest()
        ...     fetch("https://tables.invalid/toy.csv", checksum, 3, there) == there  # nothing is requested
        True
    """
    import pooch  # type: ignore[import-untyped]

    def download(address: str, output: str, _: Any) -> None:
        _download(address, Path(output), sha256.lower(), size, progress)

    address = _address(url)
    try:
        with _silenced(pooch.get_logger()):
            pooch.retrieve(address, f"sha256:{sha256}", destination.name, destination.parent, downloader=download)
    except OSError as error:
        raise TableError(
            f"'{destination}' cannot be written ({error.strerror or type(error).__name__}): make room or change the "
            "rights, or name another folder in TRAINLESS_CACHE."
        ) from error
    return destination


def _address(url: str) -> str:
    mirror = os.environ.get("TRAINLESS_MIRROR")
    if not mirror:
        return url
    if not re.match(r"https?://[^/]", mirror):
        raise TableError(
            f"TRAINLESS_MIRROR is '{_shown(mirror)}', expected an address that begins with http:// or https://: "
            "correct or unset it."
        )
    return f"{mirror.rstrip('/')}/{url.split('/', 3)[3]}"


def _shown(address: str) -> str:
    """Hide the name and password that the address of a mirror may hold."""
    return re.sub(r"//[^/]*@", "//", address)


@contextmanager
def _silenced(logger: logging.Logger) -> Iterator[None]:
    """Keep a logger from printing for a while; a filter of one's own, since threads may do so at once."""

    def silent(_: logging.LogRecord) -> bool:
        return False

    logger.addFilter(silent)
    try:
        yield
    finally:
        logger.removeFilter(silent)


def _download(address: str, output: Path, sha256: str, size: int, progress: Callable[[int, int], None] | None) -> None:
    """Write what an address gives to a file and verify it."""
    shown = _shown(address)
    digest, done = hashlib.sha256(), 0
    output.unlink()  # the temporary file of Pooch is its owner's alone, but a cache may be shared
    with output.open("xb") as file, closing(_chunks(address)) as chunks:
        for chunk in chunks:
            done += len(chunk)
            if done > size:
                raise TableError(f"{shown} gave more than the expected {size} bytes: try again later, {_ELSE}.")
            file.write(chunk)
            digest.update(chunk)
            if progress is not None:
                progress(done, size)
    if done < size:
        raise TableError(f"{shown} gave {done} of {size} bytes: run the same again, {_ELSE}.")
    if (found := digest.hexdigest()) != sha256:
        raise TableError(
            f"{shown} gave a file with the SHA-256 {found}, expected {sha256}: run the same again, {_ELSE}."
        )


def _chunks(address: str) -> Generator[bytes, None, None]:
    """Give the body of the answer piece by piece, as it is sent."""
    import requests
    import urllib3

    # A body that the server or the library decompresses is not the file that the checksum is of.
    headers = {"Accept-Encoding": "identity", "User-Agent": "trainless"}
    try:
        with requests.get(address, stream=True, timeout=_SECONDS, headers=headers) as response:
            if response.status_code != 200:
                # Not the server's own words: they may hold what no terminal should get.
                answer = f"{response.status_code} ({responses.get(response.status_code, 'no known status')})"
                raise TableError(f"{_shown(address)} answered {answer}: try again later, {_ELSE}.")
            yield from response.raw.stream(_CHUNK, decode_content=False)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise TableError(
            f"{_shown(address)} {_trouble(error)}: check the network, name a mirror in TRAINLESS_MIRROR, {_ELSE}."
        ) from error


def _trouble(error: Exception) -> str:
    import requests
    import urllib3

    # The first that fits: some are kinds of those below them.
    troubles: tuple[tuple[type[Exception], str], ...] = (
        (requests.Timeout, f"did not answer for {_SECONDS:g} seconds"),
        (urllib3.exceptions.TimeoutError, f"did not answer for {_SECONDS:g} seconds"),
        (requests.exceptions.SSLError, "gives no secure connection, or a certificate that is not trusted"),
        (requests.exceptions.ProxyError, "cannot be reached through the proxy"),
        (requests.TooManyRedirects, "redirects without end"),
        (requests.ConnectionError, "cannot be reached"),
        (urllib3.exceptions.ProtocolError, "broke off before the end"),
    )
    return next(
        (text for kind, text in troubles if isinstance(error, kind)), f"cannot be fetched ({type(error).__name__})"
    )
