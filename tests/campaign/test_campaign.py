"""The campaigns at a reduced size: inputs fail in one clear line, and kills lose nothing."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts" / "campaign"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
def test_mutated_inputs_are_accepted_or_refused(tmp_path):
    words = [sys.executable, SCRIPTS / "inputs.py", "--count", "500", "--kept", tmp_path / "kept"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    (total,) = re.findall(r"^\| \*\*all\*\* \|(.*)", done.stdout, flags=re.MULTILINE)
    inputs, accepted, refused, *failures = (int(cell) for cell in total.strip(" |").split("|"))
    assert inputs == accepted + refused == 500
    assert min(accepted, refused) > 50
    assert not any(failures)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="it has no SIGHUP")
def test_killed_runs_end_as_if_nobody_had_killed_them():
    words = [sys.executable, SCRIPTS / "kills.py", "--count", "2", "--epochs", "2"]
    words += ["--seed", "4"]  # SIGKILL and SIGHUP, in the first half of the command
    done = subprocess.run(words, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout
    assert len(re.findall(r"^\d of 2: run, .*: True$", done.stdout, flags=re.MULTILINE)) == 2
