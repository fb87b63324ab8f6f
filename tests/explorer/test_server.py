"""The server answers its own page, and nobody else."""

import contextlib
import http.client
import json
import signal
import struct
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from support.explorer import session as small
from websockets.sync.client import connect

from unweave.explorer.gate import Gate
from unweave.explorer.server import Explorer

OWN = {"origin": "http://localhost:8700", "host": "localhost:8700"}


@pytest.fixture(scope="module")
def explorer(tmp_path_factory):
    return Explorer(small(tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="module")
def client(explorer):
    with TestClient(Gate(explorer.app(), "127.0.0.1"), "http://localhost:8700") as client:
        yield client


def asked(client, question):
    with client.websocket_connect("/ask", headers=OWN) as socket:
        socket.send_json(question)
        return socket.receive()


def test_arrays_are_the_sessions(client, explorer):
    session = explorer.session
    codes = np.frombuffer(client.get("/codes").content, "<f4").reshape(session.codes.shape)
    np.testing.assert_array_equal(codes, session.codes)
    labels = np.frombuffer(client.get("/labels").content, "<f4")
    np.testing.assert_array_equal(labels, session.data.factors[:, 0])
    assert client.get("/item/3").content == session.item(3)
    assert client.get("/item/200").status_code == 404
    assert client.get("/plane/z/pca").status_code == 200
    assert client.get("/plane/w/pca").status_code == 404
    assert client.get("/codes/other").status_code == 404


def test_decoded_codes_are_pictures(client, explorer):
    codes = explorer.session.codes[:2]
    reply = asked(client, {"ask": "decode", "id": 7, "codes": codes.tolist()})["bytes"]
    assert struct.unpack("<I", reply[:4]) == (7,)
    expected = explorer.session.pictures(explorer.session.decode(codes))
    assert reply[4:] == expected


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ({"ask": "decode", "id": 1, "codes": [[0.0]]}, "1 to 64 rows of 4 codes"),
        ({"ask": "decode", "id": 1, "codes": [[0, 0, 0, 1e99]]}, "finite"),
        ({"ask": "decode", "id": 1, "codes": [[0, 0, 0, 0]], "run": 1}, "no run 1; there are 1"),
        ({"ask": "decode", "id": 1, "codes": "all"}, "Expected `array`"),
        ({"ask": "select", "id": 1, "items": []}, "some items"),
        ({"ask": "select", "id": 1, "items": list(range(-5, 500))}, "not of all"),
        ({"ask": "name", "id": 1, "unit": "w", "name": "x"}, "no unit"),
        ({"ask": "run", "id": 1}, "Invalid value 'run'"),
        ({"ask": "select", "id": 1, "items": [2**70]}, "`int` <= 2147483647"),
        ({"ask": "select", "id": -1, "items": [0]}, "`int` >= 0"),
        ({"ask": "select", "id": 2**32, "items": [0]}, "`int` <= 4294967295"),
    ],
)
def test_wrong_questions_are_told_so(client, question, said):
    assert said in asked(client, question)["text"]


def send(socket, message):
    return (socket.send_bytes if isinstance(message, bytes) else socket.send_text)(message)


DEEP = '{"x": ' + 100_000 * "["


@pytest.mark.parametrize(
    "message", ["", "{", "pictures", '{"ask": "decode", "id": 1', DEEP, b"", b"\xff", b"\x00{}"]
)
def test_what_is_no_json_is_told_so_and_the_page_may_ask_on(client, message):
    with client.websocket_connect("/ask", headers=OWN) as socket:
        send(socket, message)
        assert socket.receive_json()["id"] is None
        socket.send_json({"ask": "run", "id": 1})
        assert "Invalid value 'run'" in socket.receive_json()["error"]


def test_an_unforeseen_error_is_an_answer_that_names_the_trace(client, explorer, monkeypatch):
    monkeypatch.setattr(explorer.session, "selected", lambda inside: [][0])
    text = asked(client, {"ask": "select", "id": 1, "items": [0]})["text"]
    assert "IndexError" in text
    assert "the full trace is in" in text


def test_damaged_names_are_an_answer_in_one_line(client, explorer):
    place = explorer.session.folder / "names.json"
    place.write_text("[")
    answer = client.get("/run.json")
    assert answer.status_code == 500
    assert "names.json is damaged" in answer.text
    place.unlink()
    assert client.get("/run.json").status_code == 200


@pytest.mark.parametrize("number", ["200", "-1", "1.0", "x", "9" * 5000])
def test_items_that_there_are_not(client, number):
    answer = client.get(f"/item/{number}")
    assert (answer.status_code, answer.text) == (404, "items are 0 to 199\n")


def test_a_question_may_come_as_bytes(client):
    with client.websocket_connect("/ask", headers=OWN) as socket:
        socket.send_bytes(b'{"ask": "select", "id": 3, "items": [0, 1]}')
        assert socket.receive_json()["items"] == 2


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=9,
)
QUESTIONS = st.fixed_dictionaries(
    {"ask": st.sampled_from(["decode", "select", "name"]), "id": st.integers(0, 2**32 - 1)},
    optional={
        "codes": st.lists(st.lists(st.floats() | st.integers(), max_size=5), max_size=66),
        "items": st.lists(st.integers(), max_size=20),
        "channel": ANYTHING,
        "run": st.integers(-2, 2),
        "unit": st.sampled_from(["y", "z[0]", "w"]),
        "name": st.text(max_size=90),
        "note": st.text(max_size=9),
    },
)


@settings(max_examples=150, deadline=None)
@given(st.text() | st.binary() | ANYTHING.map(json.dumps) | QUESTIONS.map(json.dumps))
def test_every_message_is_answered_and_the_page_may_ask_on(client, message):
    """Whatever it is; NaN and infinity, which JSON lacks, are among the codes."""
    with client.websocket_connect("/ask", headers=OWN) as socket:
        send(socket, message)
        assert socket.receive()["type"] == "websocket.send"
        socket.send_json({"ask": "run", "id": 1})
        assert "Invalid value 'run'" in socket.receive_json()["error"]


SERVES = """
import asyncio, sys, time
sys.path.insert(0, sys.argv[1])
from support.explorer import session
from unweave.explorer import server

class Busy(server.Explorer):
    async def run(self, request):
        print("measuring", flush=True)
        return await self._slowly(time.sleep, 600)

server.serve(Busy(session(sys.argv[2])), "127.0.0.1", 0, lambda address: print(address, flush=True))
"""


@pytest.mark.slow
def test_ctrl_c_waits_for_nothing(tmp_path):
    """A page is open, and a measurement is being made, which would take ten minutes."""
    tests = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", SERVES, tests, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        address = process.stdout.readline().decode().strip()
        asking = threading.Thread(target=asked_for, args=(f"{address}run.json",))
        host = address.split("/")[2]
        with connect(f"ws://{host}/ask", origin=f"http://{host}"):
            asking.start()
            assert process.stdout.readline() == b"measuring\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        assert process.stderr.read() == b""
    asking.join()


def asked_for(address):
    with contextlib.suppress(OSError, http.client.HTTPException):
        urllib.request.urlopen(address).read()


def test_nothing_but_the_page_is_served(client):
    assert "unweave explorer" in client.get("/").text
    assert client.get("/page/app.js").headers["content-type"].startswith("text/javascript")
    for path in ("/page/../session.py", "/page/%2e%2e%2fsession.py", "/config.json", "/page/no.js"):
        assert client.get(path).status_code == 404
    headers = client.get("/").headers
    assert "default-src 'self'" in headers["content-security-policy"]


def test_other_names_of_this_machine_are_refused(client):
    """DNS rebinding: a page of another site that points its own name here."""
    assert client.get("/codes", headers={"host": "evil.example"}).status_code == 403
    assert client.get("/codes", headers={"host": "[::1"}).status_code == 403
    assert client.get("/codes", headers={"host": "127.0.0.1:8700"}).status_code == 200


@pytest.mark.parametrize("origin", [None, "http://evil.example", "null"])
def test_other_pages_may_not_ask(client, origin):
    headers = {"host": "localhost:8700"} | ({"origin": origin} if origin else {})
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/ask", headers=headers):
        pass


def test_elsewhere_a_token_is_needed(explorer):
    app = Gate(explorer.app(), "0.0.0.0", token="word")
    with TestClient(app, "http://10.0.0.5:8700") as client:
        assert client.get("/").status_code == 403
        assert client.get("/?token=wrong").status_code == 403
        assert client.get("/?token=word").status_code == 200
        assert client.get("/codes").status_code == 200  # by the cookie
