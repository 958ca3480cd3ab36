"""Runs verbs of poolhog, each in a process of its own that starts with everything imported.

    python benchmarks/answer_server.py

Each line of standard input is a JSON object with ``words``, the verb and its arguments, ``folder``,
where its output goes and where it runs, and ``seconds``, after which it is killed. The line that is
printed for it has its exit code, its CPU seconds and its peak resident memory. What the verb prints
is in ``stdout`` and ``stderr`` of the folder. The poolhog is the one that the interpreter finds.
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import os
import pkgutil
import signal
import sys
from contextlib import redirect_stderr, suppress
from pathlib import Path
from typing import Any

PACKAGES = ("trace", "analysis", "render", "cli")


def import_everything() -> None:
    """Import what any verb may need, so that a fork has it; but not the lab and its libraries."""
    for package in PACKAGES:
        root = importlib.import_module(f"poolhog.{package}")
        for module in pkgutil.walk_packages(root.__path__, f"{root.__name__}."):
            if not module.name.startswith("poolhog.cli.lab"):
                with suppress(ImportError):
                    importlib.import_module(module.name)
    from poolhog.cli import main

    # What the command line imports itself is known once a verb has looked at its arguments.
    with suppress(SystemExit), redirect_stderr(io.StringIO()):
        main(["dump", str(Path(os.devnull, "nothing"))])


def be_verb(words: list[str], folder: str, seconds: int) -> None:
    """Run the verb in this process, which ends with it."""
    code = 1
    try:
        signal.alarm(seconds)
        os.chdir(folder)
        for descriptor, name in ((0, os.devnull), (1, "stdout"), (2, "stderr")):
            opened = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            os.dup2(opened, descriptor)
            os.close(opened)
        from poolhog.cli import main

        main(words)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def answer(asked: dict[str, Any]) -> dict[str, float]:
    """Run a verb in a process of its own, and say how that ended."""
    child = os.fork()
    if not child:
        be_verb(asked["words"], asked["folder"], asked["seconds"])
    _, status, usage = os.wait4(child, 0)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
    }


def main() -> None:
    """Answer until standard input ends."""
    import_everything()
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
