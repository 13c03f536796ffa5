"""Loading a native client on a thread that outlives all others.

An allocator that such a client brings along (mimalloc, of pyreqwest) takes the thread which
loads it for the first one of the process. When that thread ends, its heap goes with it, and
the next thread that asks the client for memory crashes the interpreter.
"""

from __future__ import annotations

import sys
import threading
from concurrent.futures import Future
from importlib import import_module


def load_for_good(name: str) -> None:
    """Import a module on the main thread, else on one made for it that never ends.

    Raises ImportError as the import does.
    """
    if name in sys.modules or threading.current_thread() is threading.main_thread():
        import_module(name)
        return
    loaded: Future[None] = Future()
    threading.Thread(
        target=_load_and_stay, args=(name, loaded), name="hydra-loader", daemon=True
    ).start()
    loaded.result()


def _load_and_stay(name: str, loaded: Future[None]) -> None:
    try:
        import_module(name)
    except Exception as error:  # raised again where it was asked for
        loaded.set_exception(error)
        return
    loaded.set_result(None)
    threading.Event().wait()
