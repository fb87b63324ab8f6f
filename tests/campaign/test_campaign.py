"""The campaign of mutated inputs, at a reduced size: nothing fails but in one clear line."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "campaign" / "inputs.py"
ALLOWED = 0
"""Failures of any kind."""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
def test_mutated_inputs_are_accepted_or_refused(tmp_path):
    words = [sys.executable, SCRIPT, "--count", "500", "--kept", tmp_path / "kept"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    (total,) = re.findall(r"^\| \*\*all\*\* \|(.*)", done.stdout, flags=re.MULTILINE)
    inputs, accepted, refused, *failures = (int(cell) for cell in total.strip(" |").split("|"))
    assert inputs == accepted + refused == 500
    assert min(accepted, refused) > 50
    assert not any(failures)
