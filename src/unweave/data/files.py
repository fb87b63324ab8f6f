"""Files of published data: their places, their checks and their downloads."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ELSEWHERE = (
    "or name a directory that has it: UNWEAVE_DATA=DIR in the environment, `unweave data "
    "--set-dir DIR`, or --data-dir DIR (root=DIR in Python)"
)


def directory(root: str | Path | None = None) -> Path:
    """Return the directory where data lie, and create nothing.

    It is `root`, else the environment's UNWEAVE_DATA, else the directory that `set_directory`
    saved, else the user's cache.

    >>> directory("here").name
    'here'
    """
    import pooch

    chosen = root
    if chosen is None:
        chosen = os.environ.get("UNWEAVE_DATA") or _saved() or pooch.os_cache("unweave")
    return Path(chosen).expanduser().absolute()


def set_directory(path: str | Path) -> Path:
    """Remember `path` as the directory where data lie, for this user, in all later processes.

    The setting is a small JSON file in the user's configuration folder (UNWEAVE_CONFIG names
    another folder). UNWEAVE_DATA and `root` arguments still win over it.

    Args:
        path: The directory; it need not exist.

    Returns:
        Its absolute path.

    Raises:
        ValueError: If it is a file.
    """
    chosen = Path(path).expanduser().absolute()
    if chosen.exists() and not chosen.is_dir():
        raise ValueError(f"{chosen} is a file; expected a directory to keep data in")
    setting = _setting()
    setting.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=setting.parent, prefix=".saving-") as folder:
        written = Path(folder, setting.name)
        written.write_text(json.dumps({"directory": str(chosen)}) + "\n", encoding="utf-8")
        written.replace(setting)
    return chosen


def fetch(
    folder: str,
    file: str,
    sha256: str,
    urls: Sequence[str],
    root: str | Path | None = None,
    *,
    size: int | None = None,
    also: Sequence[str] = (),
) -> Path:
    """Find a published file and verify its checksum, or download it.

    A file that is there is never changed or removed, whatever it holds. A download appears under
    its name only when it is whole and right.

    Args:
        folder: The folder in the data directory.
        file: The file's name, there and at each of the mirrors.
        sha256: The checksum, 64 hexadecimal digits.
        urls: Mirrors: addresses of folders that hold the file, in the order to try them.
        root: The data directory, if not the usual one (see `directory`).
        size: The size in bytes, to tell a truncated file from another one.
        also: Other folders where the file may lie; one with another checksum is passed over.

    Returns:
        The file's path.

    Raises:
        ValueError: If the file is there but is not the published one.
        FileNotFoundError: If it is not there and no mirror serves it.
        OSError: If it is to be downloaded and the directory can't be written.
    """
    import pooch

    place = directory(root) / folder / file
    if os.path.lexists(place):
        return _verified(place, sha256, size)
    failures = []
    for other in also:
        copy = directory(root) / other / file
        if copy.is_file():
            if pooch.file_hash(str(copy)) == sha256:
                return copy
            failures.append(f"  {copy}: not the published file (wrong sha256)")

    def refused(why: str | None) -> str:
        start = f"{place.name} is to be downloaded, but {place.parent} can't be written ({why})."
        return f"{start}\nMake it writable, put the file there,\n{ELSEWHERE}."

    with beside(place, ".download-", refused) as scratch:
        for url in urls:
            why = _download(url + file, sha256, place, scratch)
            if why is None:
                return place
            failures.append(f"  {url}: {why}")
    raise FileNotFoundError(
        f"{file} is not in the data directory and could not be downloaded.\n"
        f"Put it at\n  {place}\n  {_facts(sha256, size)}\n{ELSEWHERE}.\nTried:\n"
        + "\n".join(failures)
    )


def placed(
    folder: str, file: str, root: str | Path | None = None, *, page: str, facts: str = ""
) -> Path:
    """Find a published file or folder that users put there by hand, for lack of a mirror.

    Args:
        folder: The folder in the data directory.
        file: The name of the file, or folder, there.
        root: The data directory, if not the usual one (see `directory`).
        page: The page where its publishers offer it.
        facts: Facts to know it by, such as its checksum.

    Returns:
        Its path.

    Raises:
        FileNotFoundError: If it is not there; the error says where to get it and where to put it.
    """
    place = directory(root) / folder / file
    if place.exists():
        return place
    known = f"  {facts}\n" if facts else ""
    raise FileNotFoundError(
        f"{file} is not in the data directory, and is not downloaded from here.\n"
        f"Get it from\n  {page}\nand put it at\n  {place}\n{known}{ELSEWHERE}."
    )


def _verified(path: Path, sha256: str, size: int | None) -> Path:
    import pooch

    found = pooch.file_hash(str(path))
    if found == sha256:
        return path
    actual = path.stat().st_size
    guess = ""
    if size is not None and actual < size:
        guess = "It looks truncated, by an interrupted copy perhaps. "
    raise ValueError(
        f"{path} is not the published file:\n"
        f"  given     {_facts(found, actual)}\n  expected  {_facts(sha256, size)}\n"
        f"{guess}Remove it, and it will be downloaded again; or put the right file there."
    )


def _facts(sha256: str, size: int | None) -> str:
    return f"sha256 {sha256}" + (f", {size:,} bytes" if size is not None else "")


def _download(url: str, sha256: str, place: Path, scratch: Path) -> str | None:
    """Download to `scratch`, then move to `place`; return None, or the reason of a failure."""
    import pooch

    downloader = pooch.HTTPDownloader(
        chunk_size=2**16,
        headers={"Accept-Encoding": "identity"},  # compressed files are not to be unpacked
        timeout=(10, 30),  # seconds to connect, and to read
    )
    try:
        with _quiet():
            got = pooch.retrieve(url, sha256, fname=place.name, path=scratch, downloader=downloader)
    except (OSError, ValueError) as error:
        return _reason(error)
    os.chmod(got, 0o644)  # temporary files are private, data may be shared
    os.replace(got, place)
    return None


def _reason(error: OSError | ValueError) -> str:
    """Word a mirror's failure: "HTTP 404", "ConnectionError", "served another file"."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP {response.status_code}"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "served another file (wrong sha256)"


@contextmanager
def beside(place: Path, prefix: str, refused: Callable[[str | None], str]) -> Iterator[Path]:
    """Provide a scratch folder next to `place`, so that moving a file there is one atomic step.

    Raises:
        OSError: If there can't be one; `refused` makes its message of the reason.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=place.parent, prefix=prefix)
    except OSError as error:
        raise OSError(refused(error.strerror)) from error
    with scratch as folder:
        yield Path(folder)


@contextmanager
def _quiet() -> Iterator[None]:
    import pooch

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        yield
    finally:
        logger.setLevel(level)


def _setting() -> Path:
    import platformdirs

    folder = os.environ.get("UNWEAVE_CONFIG") or platformdirs.user_config_path("unweave")
    return Path(folder).expanduser() / "data.json"


def _saved() -> str | None:
    setting = _setting()
    if not setting.exists():
        return None
    try:
        return str(json.loads(setting.read_text(encoding="utf-8"))["directory"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{setting} can\'t be read; expected {{"directory": PATH}}: '
            "save it again with `unweave data --set-dir PATH`, or remove it"
        ) from error
