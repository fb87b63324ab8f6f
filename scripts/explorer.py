"""Measure the explorer on a run: from slider to picture, frames of the map, many pages at once.

    python scripts/explorer.py RUN

It needs chromium. Times are wall times on whatever else the machine does; the load is printed too.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import websockets
from playwright.sync_api import Page, sync_playwright
from websockets.typing import Origin

from unweave.again import sessions
from unweave.explorer.server import Explorer, in_background

DRAGS = 200
CLIENTS, RATE, SECONDS = 100, 10, 10
POINTS = 100_000

DRAG = """
async (drags) => {
  const slider = document.querySelector("#panels .unit input");
  const shown = () => document.body.dataset.shown;
  const times = [];
  for (let k = 0; k < drags; k++) {
    const before = shown();
    const began = performance.now();
    slider.value = Number(slider.min) + (slider.max - slider.min) * ((k * 37) % 100) / 100;
    slider.dispatchEvent(new Event("input"));
    while (shown() === before) await new Promise(requestAnimationFrame);
    times.push(performance.now() - began);
  }
  return times;
}
"""

FRAMES = """
async ([module, points]) => {
  const { PointMap } = await import(module);
  const map = new PointMap(document.querySelector("#map"), { hover() {}, pick() {}, lasso() {} });
  const random = () => Float32Array.from({ length: points }, Math.random);
  map.colours = new Uint32Array(points).fill(0xff8844aa);
  map.place(random(), random());
  const times = [];
  const began = performance.now();
  while (performance.now() - began < 3000) {
    const before = performance.now();
    map.view.x = map.view.x.map((end) => end * 1.001);
    map.draw();
    times.push(performance.now() - before);
    await new Promise(requestAnimationFrame);
  }
  return times;
}
"""


def main(run: Path) -> None:
    """Print what is measured."""
    (session,) = sessions([run])
    address, end = in_background(Explorer(session))
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    with sync_playwright() as play:
        path = shutil.which("chromium")
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        _in_browser(browser.new_page(), address)
        browser.close()
    asyncio.run(_many(address.split("/")[2], session.codes[0].tolist()))
    end()
    largest = max(session.sites, key=lambda site: len(site.units))
    _ended(run, largest.name)


def _in_browser(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_selector("body[data-ready]", timeout=120_000)
    page.wait_for_timeout(1000)
    _print("slider to picture, ms", page.evaluate(DRAG, DRAGS))
    times = page.evaluate(FRAMES, ["/page/map.js", POINTS])
    _print(f"frame of {POINTS:,} points, ms", times)
    print(f"  {len(times) / 3:.0f} frames a second")


async def _many(host: str, codes: list[float]) -> None:
    """Let many clients ask at a fixed rate, each of which moves one slider."""
    before = _memory()
    answered = await asyncio.gather(*[_client(host, codes, k) for k in range(CLIENTS)])
    waits = [wait for waits in answered for wait in waits]
    asked = CLIENTS * RATE * SECONDS
    print(f"{CLIENTS} clients at {RATE} a second: {len(waits):,} of {asked:,} questions answered")
    _print("  wait, ms", waits)
    print(f"  memory grew by {_memory() - before:.0f} MB")


async def _client(host: str, codes: list[float], number: int) -> list[float]:
    waits: list[float] = []
    asked: dict[int, float] = {}

    async def listen(socket: Any) -> None:
        async for reply in socket:
            number = int.from_bytes(reply[:4], "little")
            wait = 1000 * (time.perf_counter() - asked[number])
            waits.append(wait)

    async with websockets.connect(f"ws://{host}/ask", origin=Origin(f"http://{host}")) as socket:
        listening = asyncio.create_task(listen(socket))
        await asyncio.sleep(number / CLIENTS / RATE)
        began = time.perf_counter()
        for k in range(RATE * SECONDS):
            asked[k] = time.perf_counter()
            question = {"ask": "decode", "id": k, "codes": [codes], "channel": str(k)}
            await socket.send(json.dumps(question))
            await asyncio.sleep(max(0.0, began + (k + 1) / RATE - time.perf_counter()))
        for _ in range(100):
            if len(waits) < len(asked):
                await asyncio.sleep(0.1)
        listening.cancel()
    return waits


def _ended(run: Path, site: str) -> None:
    """Print how long the command takes to end while it makes a t-SNE."""
    command = [sys.executable, "-m", "unweave", "explore", str(run), "--no-browser", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[1]
        threading.Thread(target=_ask, args=(f"{address}plane/{site}/tsne",)).start()
        time.sleep(1)
        began = time.perf_counter()
        process.send_signal(signal.SIGINT)
        process.wait()
        print(f"Ctrl-C while a t-SNE is made: ended after {time.perf_counter() - began:.2f} s")


def _ask(address: str) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        urllib.request.urlopen(address).read()


def _memory() -> float:
    """Return the resident memory of this process in MB."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def _print(what: str, times: list[float]) -> None:
    median, late = np.quantile(times, [0.5, 0.99])
    print(f"{what}: median {median:.1f}, 99 % {late:.1f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
