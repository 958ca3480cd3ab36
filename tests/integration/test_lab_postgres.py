"""The embedded PostgreSQL leaves nothing behind, and in another one the lab keeps to its schema."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil
import pytest

from poolhog.errors import DatabaseError
from poolhog.lab import postgres


def schemas(database: postgres.LabDatabase) -> set[str]:
    return {row[0] for row in database.query("SELECT nspname FROM pg_namespace")}


def data_directory(database: postgres.LabDatabase) -> Path:
    return Path(parse_qs(urlsplit(database.url).query)["host"][0])


def test_the_embedded_server_leaves_nothing_behind(tmp_path: Path) -> None:
    with postgres.database(None, tmp_path) as database:
        directory = data_directory(database)
        server = psutil.Process(int((directory / "postmaster.pid").read_text().split()[0]))
        processes = [server, *server.children(recursive=True)]
        assert len(processes) > 1
    assert not directory.exists()
    assert not psutil.wait_procs(processes, timeout=5)[1]


def test_the_embedded_server_is_large_enough_and_watches(database: postgres.LabDatabase) -> None:
    def setting(name: str) -> str:
        return str(database.query(f"SHOW {name}")[0][0])

    assert database.server_version.startswith("18.")
    assert int(setting("max_connections")) >= 200
    assert setting("track_io_timing") == setting("track_activities") == "on"
    assert setting("listen_addresses") == ""


def test_a_server_that_does_not_start_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_MAX_CONNECTIONS", 10**9)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(postgres, "_LONGEST_PARENT", len(str(tmp_path)))
    with (
        pytest.raises(DatabaseError, match="max_connections") as told,
        postgres.database(None, tmp_path),
    ):
        pass
    assert "\n" not in str(told.value)
    assert "--database-url" in str(told.value)
    assert not list(tmp_path.glob("poolhog-*"))


def test_notes_are_made_anew(database: postgres.LabDatabase, tmp_path: Path) -> None:
    with postgres.database(database.url, tmp_path) as own:
        for count in (3, 2):
            own.create_notes(count)
            assert own.note(count) == postgres.StoredNote(count, f"note {count}", None)
            assert own.note(count + 1) is None


def test_another_server_is_left_as_it_was(database: postgres.LabDatabase, tmp_path: Path) -> None:
    before = schemas(database)
    with postgres.database(database.url, tmp_path) as own:
        own.create_notes(3)
        assert schemas(database) - before == {own.schema}
        assert own.schema.startswith("poolhog_lab_")
        assert own.schema != database.schema
    assert schemas(database) == before
    assert database.note(100) is not None


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_the_schema_is_dropped_after_an_error(
    database: postgres.LabDatabase, tmp_path: Path, error: type[BaseException]
) -> None:
    before = schemas(database)
    with pytest.raises(error), postgres.database(database.url, tmp_path):
        raise error
    assert schemas(database) == before


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("", "is not a URL"),
        ("secret", "is not a URL"),
        ("postgresql://secret@localhost:port/notes", "is not a URL"),
        ("mysql://root:secret@localhost/notes", "begins with mysql://"),
        ("postgresql+asyncpg://u:secret@localhost/notes", "begins with postgresql+asyncpg://"),
        ("postgresql://u:secret@localhost", "names no database"),
        ("postgresql://u:secret@localhost:99999/notes", "has the port 99999"),
        ("postgresql://u:secret@localhost/notes?sslmode=require", "has the option 'sslmode'"),
        ("postgresql://u:secret@127.0.0.1:1/notes", "cannot be reached"),
        ("postgresql://u:secret@/notes?host=/nowhere", "cannot be reached"),
    ],
)
def test_a_wrong_url_is_told_in_one_line(url: str, found: str, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError) as told, postgres.database(url, tmp_path):
        pass
    assert found in str(told.value)
    assert "secret" not in str(told.value)
    assert "\n" not in str(told.value)


def test_an_error_of_the_server_is_told_in_one_line(database: postgres.LabDatabase) -> None:
    with pytest.raises(DatabaseError, match='relation "nothing" does not exist') as told:
        database.query("SELECT *\nFROM nothing")
    assert "\n" not in str(told.value)


def test_statistics_count_transactions(database: postgres.LabDatabase) -> None:
    before = database.statistics()
    for _ in range(10):
        database.query("SELECT 1")
    after = database.statistics()
    assert after["xact_commit"] - before["xact_commit"] >= 20
    assert after["session_time"] > before["session_time"]
    assert after["idle_in_transaction_time"] >= before["idle_in_transaction_time"]
