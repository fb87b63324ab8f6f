"""Errors end in one line, and text from outside commands nothing."""

import ast
import errno
from pathlib import Path

import pytest

import unweave
from unweave import terminal
from unweave.runs.files import read_json


@pytest.fixture
def ended(monkeypatch, capsys, tmp_path):
    """The exit status of a function's error, and the line that says so."""
    monkeypatch.setattr(terminal.sys, "argv", ["unweave", "score", "my codes.npy"])
    monkeypatch.setattr(terminal.tempfile, "tempdir", str(tmp_path))

    def run(work):
        try:
            work()
        except Exception as error:
            status = terminal.ended(error)
        return status, capsys.readouterr().err

    return run


def fail(error):
    raise error


def test_what_is_raised_on_purpose_is_its_own_message(ended, tmp_path):
    status, line = ended(lambda: read_json(tmp_path / "no.json"))
    assert (status, line.count("\n")) == (1, 1)
    assert line.startswith(f"Error: {tmp_path}/no.json is missing")


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (lambda: int("many"), "ValueError (invalid literal for int() with base 10: 'many')"),
        (lambda: {}["terms"], "KeyError ('terms')"),
        (lambda: fail(RuntimeError("[/] \x1b[31m\nmore")), "RuntimeError ([/] \\x1b[31m)"),
        (lambda: fail(ValueError()), "ValueError (without a message)"),
    ],
)
def test_what_nobody_foresaw_names_what_was_done_and_keeps_the_trace(ended, tmp_path, work, said):
    status, line = ended(work)
    assert (status, line.count("\n")) == (70, 1)
    assert line.startswith(f"Error: `unweave score 'my codes.npy'` met {said}, which is a fault")
    (trace,) = tmp_path.glob("unweave-*.txt")
    assert f"the full trace is in {trace};" in line
    assert "Traceback" in trace.read_text(encoding="utf-8")


def test_a_trace_that_cannot_be_written_is_no_second_error(ended, monkeypatch):
    monkeypatch.setattr(terminal.tempfile, "tempdir", "/no/such/folder")
    status, line = ended(lambda: int("many"))
    assert status == 70
    assert "the full trace could not be written (No such file or directory)" in line


def test_no_message_is_a_bare_errno(ended, tmp_path):
    status, line = ended(tmp_path.read_text)
    assert (status, line) == (1, f"Error: {tmp_path}: is a directory\n")
    status, line = ended(lambda: fail(OSError(errno.ENOSPC, "No space left on device")))
    said = "`unweave score 'my codes.npy'` could not go on: no space left on device"
    assert (status, line) == (1, f"Error: {said}\n")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 64.0 GiB"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    ],
)
def test_too_little_memory_is_said(ended, error):
    status, line = ended(lambda: fail(error))
    assert status == 1
    assert f"not enough memory for `unweave score 'my codes.npy'` ({error}" in line


def test_a_command_of_many_letters_is_cut(ended, monkeypatch):
    monkeypatch.setattr(terminal.sys, "argv", ["unweave", "9" * 5000])
    assert len(ended(lambda: [][0])[1]) < 500


def test_every_console_is_one_that_knows_no_markup():
    for path in Path(unweave.__file__).parent.rglob("*.py"):
        calls = [n for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call)]
        named = [ast.unparse(call.func) for call in calls]
        assert path.name == "terminal.py" or "Console" not in named, path
