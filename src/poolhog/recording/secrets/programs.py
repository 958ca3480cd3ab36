"""What is known of programs' arguments: which options take values, and what these look like.

Everything here is kept in a trace, so it is a list of what is harmless. What is missing from it is
masked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

Form = re.Pattern[str]

NUMBER = re.compile(r"[+-]?\d{1,12}(?:\.\d{1,6})?[kKmMgG]?(?:,\d{1,9})?|auto|logical")
LEVEL = re.compile(r"(?i)trace|debug|info|warn|warning|error|critical|fatal|\d{1,2}")
WORD = re.compile(r"[A-Za-z_][\w.-]{0,80}")
MODULE = re.compile(r"[A-Za-z_]\w{0,80}(?:\.\w{1,80}){0,10}")
"""A module that is run, by its name."""
WORDS = re.compile(r"[\w.-]{1,80}(?:,[\w.-]{1,80}){0,20}")
APPLICATION = re.compile(r"[A-Za-z_][\w.]{0,100}(?::[A-Za-z_][\w.]{0,80}(?:\(\))?)?")
HOST = re.compile(
    r"(?:[A-Za-z0-9_.-]{1,100}|\*|\[[0-9a-fA-F:]{2,39}\]|[0-9a-fA-F:]{2,39})?(?::\d{1,5})?"
    r"|unix:[\w./-]{1,200}|fd://\d{1,3}"
)
FOLDER = re.compile(r"(?:[A-Za-z]:(?=[/\\](?![/\\])))?[\w./\\~+ -]{1,300}")
FILE = re.compile(r"-|(?:[A-Za-z]:(?=[/\\](?![/\\])))?(?=[^.]*[./\\])[\w./\\~+ -]{1,300}")
TESTS = re.compile(r"[\w./\\~+-]{1,300}(?:::\w{1,200}){0,5}")
EXPRESSION = re.compile(r"[\w.() -]{1,200}")
"""What selects tests."""
PLUGIN = re.compile(r"(?:no:)?[A-Za-z_][\w.]{0,80}")
WARNING = re.compile(r"[\w.:-]{1,100}")
COMMAND = re.compile(r"[a-z][a-z_]{0,60}")
NODE = re.compile(r"[\w.-]{1,80}@?[\w.%-]{0,80}")
CODE = re.compile(r"(?!code)(?!)")
"""What is never kept, and what follows it belongs to a program that nothing is known of."""
NOTHING = re.compile(r"(?!)")


@dataclass(frozen=True)
class Program:
    """What is known of a program beside ``OPTIONS``.

    ``options`` are short ones that take a value, ``flags`` the letters of those that take none.
    ``first`` is the form of the first argument that is no option, ``every`` that of each.
    ``runs`` says whether a program follows.
    """

    options: Mapping[str, Form] = field(default_factory=dict)
    flags: str = "vq"
    first: Form = NOTHING
    every: Form = NOTHING
    runs: bool = False


OTHER = Program({"-w": NUMBER, "-j": NUMBER, "-n": NUMBER})
"""A program that nothing is known of."""

_PYTHON = Program(
    {"-m": MODULE, "-c": CODE, "-X": re.compile(r"[a-z_]{1,30}(?:=\d{1,3})?"), "-W": WARNING},
    flags="bBdEhiIOPqRsSuvVx",
    runs=True,
)
_SERVER = Program(
    {
        "-w": NUMBER,
        "-t": NUMBER,
        "-b": HOST,
        "-k": WORD,
        "-c": FILE,
        "-n": WORD,
        "-p": re.compile(rf"{NUMBER.pattern}|{FILE.pattern}"),
    },
    first=APPLICATION,
)
_WORKER_OPTIONS = {
    "-A": APPLICATION,
    "-c": NUMBER,
    "-l": LEVEL,
    "-n": NODE,
    "-p": NUMBER,
    "-P": WORD,
    "-Q": WORDS,
    "-t": NUMBER,
}
_CELERY = Program(_WORKER_OPTIONS, flags="BEvq")
_WORKER = Program(_WORKER_OPTIONS, first=APPLICATION)
_PYTEST = Program(
    {
        "-c": FILE,
        "-k": EXPRESSION,
        "-m": EXPRESSION,
        "-n": NUMBER,
        "-p": PLUGIN,
        "-r": re.compile(r"[a-zA-Z]{1,8}"),
        "-W": WARNING,
    },
    flags="vqxsl",
    every=TESTS,
)
_DJANGO = Program({"-v": NUMBER}, flags="", first=COMMAND)
_APPLICATION_RUNNER = Program(
    {"-A": APPLICATION, "-e": APPLICATION, "-h": HOST, "-p": NUMBER, "-c": FILE}
)
_RUNNER = Program({"-m": MODULE, "-o": FOLDER}, runs=True)

PROGRAMS: dict[str, Program] = {
    "python": _PYTHON,
    **dict.fromkeys(
        ["uvicorn", "gunicorn", "hypercorn", "granian", "daphne", "waitress", "waitress-serve"],
        _SERVER,
    ),
    "celery": _CELERY,
    **dict.fromkeys(["arq", "dramatiq", "rq", "saq", "taskiq"], _WORKER),
    **dict.fromkeys(["pytest", "py.test"], _PYTEST),
    **dict.fromkeys(["manage", "django", "django-admin"], _DJANGO),
    **dict.fromkeys(["fastapi", "flask", "litestar", "alembic"], _APPLICATION_RUNNER),
    **dict.fromkeys(
        [
            *("coverage", "cProfile", "ddtrace-run", "debugpy", "memray", "newrelic-admin"),
            *("opentelemetry-instrument", "pdb", "poolhog", "pyinstrument", "viztracer"),
            "watchfiles",
        ],
        _RUNNER,
    ),
}
"""Known programs by their name, which is that of a module as well."""

_BY_FORM: dict[Form, str] = {
    NUMBER: "autoscale backlog concurrency count durations graceful-timeout interval keep-alive "
    "keepalive limit limit-concurrency limit-max-requests max-memory-per-child max-requests "
    "max-requests-jitter max-tasks-per-child maxfail numprocesses pool-size port "
    "prefetch-multiplier processes rate retries spawn-rate threads timeout "
    "timeout-graceful-shutdown timeout-keep-alive users verbosity worker-connections workers",
    LEVEL: "log-level loglevel",
    HOST: "address bind host listen",
    WORD: "capture cov-report dist http import-mode interface lifespan loop pool settings tb "
    "worker-class ws",
    WORDS: "exclude-queues queue queues",
    NODE: "hostname",
    APPLICATION: "app entrypoint",
    FOLDER: "app-dir basetemp chdir cov reload-dir rootdir",
    FILE: "access-logfile ca-certs certfile config env-file error-logfile junitxml keyfile "
    "log-config log-file logfile pid pidfile pythonpath ssl-ca-certs ssl-certfile ssl-keyfile uds",
}
OPTIONS = {f"--{name}": form for form, names in _BY_FORM.items() for name in names.split()}
"""Long options whose values are harmless if they have the form."""

FLAGS = frozenset(
    f"--{name}"
    for name in (
        *("access-log", "beat", "debug", "factory", "force", "help", "lf", "ff", "insecure"),
        *("preload", "proxy-headers", "quiet", "reload", "server-header", "use-colors", "verbose"),
        *("version", "without-gossip", "without-heartbeat", "without-mingle"),
    )
)
"""Long options that take no value."""

COMMANDS = frozenset(
    [
        *("api", "beat", "check", "consume", "current", "dev", "downgrade", "erase", "events"),
        *("flower", "head", "heads", "history", "inspect", "lab", "migrate", "multi", "record"),
        *("report", "revision", "run", "runserver", "scheduler", "serve", "server", "shell"),
        *("start", "status", "stop", "test", "upgrade", "web", "worker", "workers"),
    ]
)
"""Words that name what a program is to do."""
