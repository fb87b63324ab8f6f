"""The signals that ask a command to end."""

from __future__ import annotations

import signal


def heard() -> list[int]:
    """Return Ctrl-C's signal, a scheduler's, and a closing terminal's.

    One that is ignored stays so, as `nohup` wants it; Ctrl-C is heard in any case.
    """
    names = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return [n for n in numbers if n == signal.SIGINT or signal.getsignal(n) != signal.SIG_IGN]
