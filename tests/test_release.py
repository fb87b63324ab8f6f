"""A release is whole: its metadata pass, its files are all there, and what is installed runs."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import unweave

ROOT = Path(__file__).parent.parent
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
PYTHONS = ("3.11", "3.12", "3.13")

pytestmark = pytest.mark.slow


def run(*words, **options):
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def built(source, folder, *targets):
    run(sys.executable, "-m", "hatchling", "build", "-d", folder, *targets, cwd=source)
    return sorted(folder.iterdir(), key=lambda path: path.suffix)


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """Builds the source archive and the wheel, in this order."""
    return built(ROOT, tmp_path_factory.mktemp("dist"))


def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return sorted(archive.namelist())


def test_the_metadata_pass_and_the_version_is_the_package_s(release):
    run(sys.executable, "-m", "twine", "check", "--strict", *release)
    source, wheel = (path.name for path in release)
    assert source == f"unweave-{unweave.__version__}.tar.gz"
    assert wheel == f"unweave-{unweave.__version__}-py3-none-any.whl"


def test_the_wheel_holds_every_file_of_the_package(release):
    files = [path.relative_to(ROOT / "src") for path in (ROOT / "src").rglob("*") if path.is_file()]
    expected = {path.as_posix() for path in files if "__pycache__" not in path.parts}
    packed = {name for name in names(release[1]) if ".dist-info/" not in name}
    assert packed == expected
    assert "unweave/py.typed" in packed


def test_the_source_archive_builds_the_same_wheel(release, tmp_path):
    with tarfile.open(release[0]) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    (wheel,) = built(unpacked, tmp_path / "dist", "-t", "wheel")
    assert names(wheel) == names(release[1])


def interpreter(version):
    """Return a Python of a version, or skip where there is none that starts."""
    found = sys.executable if version == HERE else shutil.which(f"python{version}")
    if not found or subprocess.run([found, "--version"], capture_output=True).returncode:
        pytest.skip(f"no Python {version} here")
    return found


@pytest.mark.parametrize("version", PYTHONS)
def test_what_is_installed_runs(release, tmp_path, version):
    """The environment holds the wheel alone; packages come from this one, behind it."""
    place = tmp_path / "env"
    run(interpreter(version), "-m", "venv", "--without-pip", place)
    python, site = place / "bin" / "python", place / "lib" / f"python{version}" / "site-packages"
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--quiet", "--no-index", "--no-deps", release[1])
    (site / "behind.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    elsewhere = {
        "cwd": tmp_path,
        "env": {name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    }
    run(python, "-W", "error", "-m", "compileall", "-q", site / "unweave")
    script = "import unweave; print(unweave.__version__, dir(unweave))"
    said = run(python, "-c", script, **elsewhere)
    assert said.startswith(f"{unweave.__version__} ['Atom', ")
    if version == HERE:  # compiled packages, such as NumPy, fit no other version
        words = ("train", "digits-hfvae", "--epochs", "1", "--quick-evaluation", "--out", "run")
        run(place / "bin" / "unweave", *words, **elsewhere)
        assert "<svg" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
