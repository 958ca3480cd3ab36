"""What may stand in a trace of a process's arguments."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from poolhog.recording.secrets.arguments import kept_arguments
from poolhog.recording.secrets.programs import FLAGS, OPTIONS


@pytest.mark.parametrize(
    "command",
    [
        "uvicorn app:app --workers 2",
        "python -m uvicorn app:app --host 0.0.0.0 --port 8000 --workers 4",
        "python -um uvicorn app.main:create_app --factory --reload --log-level info",
        "python3.12 -X dev -W error -P -m uvicorn app:app --loop uvloop --http h11 --lifespan on",
        "/venv/bin/python /venv/bin/uvicorn app:app --app-dir src --reload --reload-dir src/app",
        "/venv/lib/python3.11/site-packages/uvicorn/__main__.py app.main:app --port=8000",
        "uvicorn app:app --ssl-keyfile /etc/x.pem --uds /run/app.sock --proxy-headers",
        "gunicorn -w 4 -k uvicorn.workers.UvicornWorker -b 0.0.0.0:8000 app.main:app",
        "gunicorn -w4 -kgthread -b127.0.0.1:8000 --threads 8 --timeout 120 --preload app:app",
        "gunicorn -c gunicorn.conf.py --bind unix:/run/app.sock --max-requests 100000 app:app()",
        "/usr/lib/python3/dist-packages/gunicorn/app/wsgiapp.py --chdir src app:app",
        "hypercorn --bind [::]:8000 --worker-class uvloop app:app",
        "daphne -b 0.0.0.0 -p 8001 project.asgi:application",
        "celery -A project worker -l info -c 4 -P prefork -Q high,low -n worker1@%h -E",
        "celery -A project.celery:app worker --loglevel=INFO --concurrency=4 --pool=gevent",
        "celery -A project worker -B --hostname=worker1@%h",
        "taskiq worker app.tasks:broker --workers 2",
        "dramatiq app.tasks --processes 2 --threads 8",
        "fastapi run app/main.py --port 8000 --workers 4",
        "fastapi dev",
        "flask --app app:create_app run -h 0.0.0.0 -p 5000 --debug",
        "litestar --app app:app run --host 127.0.0.1 --port 8000 --reload",
        "python manage.py runserver 0.0.0.0:8000 --noreload",
        "manage.py import_orders --settings=project.settings -v 2",
        "/app/manage.py migrate --verbosity 2",
        "alembic -c alembic.ini upgrade head",
        "python -m pytest -xvs -q -n 4 tests/unit tests/test_a.py::TestA::test_b --maxfail=1",
        "pytest tests/test_tokens.py --color=yes -k 'login and not slow' -p no:cacheprovider",
        "/venv/bin/pytest -ra -m slow -nauto --tb=short --cov src -W error::UserWarning",
        "poolhog run -o traces -- python -m uvicorn app:app --port 8000",
        "coverage run -m pytest tests",
        "script.py --verbose --rate 2.5 -w 4 8000 127.0.0.1:8000 http://localhost:8000/",
        "script.py 5 -3 --offset -3 --dry-run --retries 3",
        "-c",
        "",
    ],
)
def test_what_an_operator_wants_to_see_survives(command: str) -> None:
    assert kept_arguments(shlex.split(command)) == shlex.split(command)


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        ("app.py --db-password=hunter2", "app.py --db-password=***"),
        ("app.py --db-password hunter2 --queue a", "app.py --db-password *** --queue a"),
        ("app.py --password -hunter2 --port 1", "app.py --password *** --port 1"),
        ("app.py --password --hunter2", "app.py --password ***"),
        ("app.py --password -- hunter2", "app.py --password *** ***"),
        ("app.py --pin 1234 --otp=123456", "app.py --pin *** --otp=***"),
        ("app.py --no-password --queue a", "app.py --no-password --queue a"),
        ("app.py --token= --port 1", "app.py --token= --port 1"),
        ("app.py --pw=hunter2 --key=hunter2", "app.py --pw=*** --key=***"),
        ("app.py --name hunter2 --user=ada", "app.py --name *** --user=***"),
        ("app.py -phunter2 -p hunter2 -p1234 -p 1234", "app.py -p*** -p *** -p*** -p ***"),
        ("app.py -vphunter2", "app.py ***"),
        ("app.py -x -hunter2 --y -hunter2", "app.py -x *** --y ***"),
        ("app.py -k hunter2 -A hunter2 -b hunter2", "app.py -k *** -A *** -b ***"),
        ("app.py -Dpassword=hunter2 -hunter2", "app.py -D*** -h***"),
        ("app.py --set=db.password=hunter2", "app.py --set=***"),
        ("app.py --set db.password=hunter2", "app.py --set ***"),
        ("app.py -e PASSWORD=hunter2", "app.py -e ***"),
        ("app.py --define:password=hunter2", "app.py ***"),
        ("app.py --host=hunter2!", "app.py --host=***"),
        ('app.py --config=\'{"a": "hunter2"}\'', "app.py --config=***"),
        ("app.py --workers hunter2 --bind a:hunter2", "app.py --workers *** --bind ***"),
        ("app.py PASSWORD=hunter2 workers=4 a.b=c", "app.py PASSWORD=*** workers=4 a.b=***"),
        ("app.py PIN=1234 'host=h password=hunter2'", "app.py PIN=*** host=***"),
        ("app.py aHVudGVyMg== hunter2=", "app.py *** ***"),
        ("app.py --dsn 'host=h password=hunter2'", "app.py --dsn ***"),
        ("app.py postgresql://ada:hunter2@db/x", "app.py postgresql://***"),
        ("app.py postgresql+asyncpg://ada:hun/ter2@db", "app.py postgresql+asyncpg://***"),
        ("app.py --url=postgresql://db/x?password=a", "app.py --url=postgresql://***"),
        ("app.py --url redis://:hunter2@db", "app.py --url redis://***"),
        ("app.py --sentry-dsn https://hunter2@x/1", "app.py --sentry-dsn ***"),
        ("app.py https://hunter2@sentry.example/1", "app.py https://***"),
        ("app.py http://localhost:8000/hunter2", "app.py http://***"),
        ("app.py hunter2://x ada:hunter2 hunter2", "app.py *** *** ***"),
        ("app.py -H 'Authorization: Bearer hunter2'", "app.py -H ***"),
        ("app.py --header='Authorization: Bearer hunter2'", "app.py --header=***"),
        ('app.py \'{"password": "hunter2"}\' @hunter2', "app.py *** ***"),
        ("python -c 'print(\"hunter2\")' hunter2", "python -c *** ***"),
        ("python -c --host hunter2", "python -c *** ***"),
        ("python -Bc 'hunter2' --port 1", "python -Bc *** --port 1"),
        ("python -chunter2 x", "python -c*** ***"),
        ("poolhog run -- python -c hunter2 x", "poolhog run -- python -c *** ***"),
        ("python hunter2 ada", "python *** ***"),
        ("python app.py hunter2", "python app.py ***"),
        (
            "python https://hunter2/uvicorn https://ada:hunter2@x/bin/y",
            "python https://*** https://***",
        ),
        ("python a:hunter2@x/bin/y", "python ***"),
        ("python -m app hunter2", "python -m app ***"),
        ("python -X hunter2 app.py", "python -X *** app.py"),
        ("uvicorn app:app hunter2:x", "uvicorn app:app ***"),
        ("uvicorn 'app:create(\"hunter2\")'", "uvicorn ***"),
        ("gunicorn -e KEY=hunter2 app:app", "gunicorn -e *** app:app"),
        ("celery -A app -b redis://:hunter2@db worker", "celery -A app -b redis://*** worker"),
        ("celery -A app hunter2", "celery -A app ***"),
        ("pytest 'tests/test_a.py::test_b[hunter2]'", "pytest 'tests/test_a.py::test_b[***]'"),
        ("pytest -o key=hunter2 --basetemp=a://hunter2", "pytest -o *** --basetemp=***"),
        ("manage.py changepassword hunter2", "manage.py changepassword ***"),
        ("manage.py runserver hunter", "manage.py runserver ***"),
        ("app.py python hunter2.x celery uvicorn hunter2", "app.py *** *** *** *** ***"),
    ],
)
def test_values_that_may_be_secrets_are_masked(command: str, kept: str) -> None:
    assert kept_arguments(shlex.split(command)) == shlex.split(kept)


def test_arguments_that_are_no_text_are_taken() -> None:
    assert kept_arguments(["app.py", 5, None]) == ["app.py", "5", "None"]  # type: ignore[list-item]


NAMES = st.from_regex(r"[a-z]{1,8}(-[a-z]{1,8}){0,2}", fullmatch=True).filter(
    lambda name: f"--{name}" not in OPTIONS and f"--{name}" not in FLAGS
)
SECRET_NAMES = st.sampled_from(
    ["password", "db-password", "pw", "token", "api-key", "secret-id", "dsn", "auth", "db_pass"]
)
LISTED = st.sampled_from(sorted(OPTIONS))
PROGRAMS = st.sampled_from(
    [
        *("app.py", "/venv/bin/python app.py", "python -m uvicorn app:app", "gunicorn app:app"),
        *("celery -A app worker", "manage.py runserver", "pytest", "poolhog run -- app.py"),
        *("fastapi run app.py", "python -m app", "alembic upgrade", "-c", "-m", "script"),
    ]
)
HARMLESS = st.sampled_from(
    ["--workers 4", "--host 0.0.0.0", "-v", "--reload", "--", "--flag", "-x", "8000", "--queue a"]
)
SECRETS = st.text("abcXYZ019_-+/.:@=!,;{}()'\" %&é", min_size=0, max_size=12).map(
    lambda text: f"S3{text}cr3t!"
)


@st.composite
def secret_words(draw: st.DrawFn, secret: str) -> list[str]:
    """Arguments in which the secret stands, in one of the forms that programs have for it."""
    name = draw(NAMES)
    secret_name = draw(SECRET_NAMES)
    letter = draw(st.sampled_from("aAbcdDeHkKmnopPsStuUxX"))
    forms = [
        [f"--{name}={secret}"],
        [f"--{name}", secret],
        [f"--{secret_name}", secret],
        [f"--{secret_name}={secret}"],
        [f"--{secret_name}", f"-{secret}"],
        [f"--{secret_name}", f"--{secret}"],
        [f"--{name}", f"-{secret}"],
        [f"--{name}=key={secret}"],
        [f"--{name}", f"db.password={secret}"],
        [f"{draw(LISTED)}={secret}"],
        [draw(LISTED), secret],
        [f"-{letter}", secret],
        [f"-{letter}{secret}"],
        [f"-{letter}={secret}"],
        [f"-{letter}", f"{name}={secret}"],
        [secret],
        [f"{name}={secret}"],
        [f"{secret_name.upper()}={secret}"],
        [f"host=db password={secret}"],
        ["--conninfo", f"host=db password='{secret}'"],
        [f"postgresql://ada:{secret}@db/x"],
        [f"postgresql+asyncpg://{secret}:x@db/x"],
        [f"postgresql://db/{secret}"],
        [f"--url=https://db/?password={secret}"],
        [f"--{name}", f"https://{secret}@sentry.example/1"],
        [f"http://localhost:8000/{secret}"],
        ["-H", f"Authorization: Bearer {secret}"],
        [f"--header=Authorization: Basic {secret}"],
        [f'{{"password": "{secret}"}}'],
        ["python", "-c", f"connect('{secret}')"],
        ["-c", f"connect('{secret}')"],
        [f"tests/test_a.py::test_b[{secret}]"],
        [f"app:create_app('{secret}')"],
    ]
    return draw(st.sampled_from(forms))


@given(data=st.data(), program=PROGRAMS, secret=SECRETS)
def test_a_secret_never_survives_wherever_it_stands(
    data: st.DataObject, program: str, secret: str
) -> None:
    before, after = (
        [word for words in data.draw(st.lists(HARMLESS, max_size=2)) for word in words.split()]
        for _ in range(2)
    )
    words = data.draw(secret_words(secret))
    kept = kept_arguments([*program.split(), *before, *words, *after])
    assert secret not in "\0".join(kept)


@given(
    name=SECRET_NAMES,
    secret=st.text(min_size=2, max_size=30),
    separator=st.sampled_from(["=", None]),
    program=PROGRAMS,
)
def test_an_option_with_a_secret_name_shows_no_value_at_all(
    name: str, secret: str, separator: str | None, program: str
) -> None:
    assume(secret not in OPTIONS and secret not in FLAGS and not secret.startswith("--"))
    words = [f"--{name}={secret}"] if separator else [f"--{name}", secret]
    kept = kept_arguments([*program.split(), *words])
    assert kept[-1] in (f"--{name}=***", "***")
