"""A copy of the store is the snapshot that was looked at, whatever is written meanwhile."""

from pathlib import Path

import pytest
from sqlalchemy import select

from surplus.kit.db import Database, ReadSession, metadata
from surplus.kit.db.copying import copy
from surplus.kit.revisions import bump, read


def test_what_is_committed_during_the_copy_is_not_in_it(tmp_path: Path) -> None:
    database = Database(tmp_path / "surplus.db")
    database.migrate(metadata.create_all)
    database.write_now(bump, "before")

    def look(session: ReadSession) -> dict[str, int]:
        database.write_now(bump, "meanwhile")
        return dict(read(session))

    seen = copy(database, tmp_path / "copy.db", look)
    assert seen == {"before": 1}
    assert dict(database.read_now(read)) == {"before": 1, "meanwhile": 1}
    database.close()
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
    copied = Database(tmp_path / "copy.db")
    assert dict(copied.read_now(read)) == {"before": 1}
    assert copied.read_now(lambda session: session.scalar(select(1))) == 1
    copied.close()
    assert sorted(file.name for file in tmp_path.glob("copy.db*")) == ["copy.db"]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    database = Database(tmp_path / "surplus.db")
    (tmp_path / "copy.db").write_text("mine")
    with pytest.raises(FileExistsError):
        copy(database, tmp_path / "copy.db", lambda session: None)
    assert (tmp_path / "copy.db").read_text() == "mine"
    database.close()
