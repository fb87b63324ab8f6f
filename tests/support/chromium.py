"""Debian's chromium for tests of pages, installed where it is missing and that is allowed."""

import os
import shutil
import subprocess

import pytest


def executable():
    """The browser's path; where there is none, CI fails and others skip."""
    found = shutil.which("chromium")
    if found is None and os.environ.get("CI") == "true":
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(["apt-get", "update"], **quiet)
        subprocess.run(["apt-get", "install", "-y", "chromium"], **quiet)
        return shutil.which("chromium")
    if found is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    return found
