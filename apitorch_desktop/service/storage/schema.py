"""The tables, for SQLite and PostgreSQL, and the migrations of older databases.

A row in `blobs` represents a stored file; records refer to it by the hash of its content.
"""

from enum import IntEnum

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

VERSION = 9
"""Incremented with each change of the tables; `MIGRATIONS[n]` turns version n into n + 1."""

metadata = MetaData()
_Number = BigInteger().with_variant(Integer, "sqlite")  # SQLite generates row numbers only in an INTEGER column


def _number(name: str = "seq") -> Column[int]:
    return Column(name, _Number, primary_key=True, autoincrement=True)


def _of_set() -> Column[int]:
    return Column("training_set_id", _Number, ForeignKey("training_sets.id", ondelete="CASCADE"), nullable=False)


def _text(name: str, *, unique: bool | None = None, index: bool | None = None) -> Column[str]:
    return Column(name, Text, nullable=False, unique=unique, index=index)


meta = Table("meta", metadata, Column("name", Text, primary_key=True), Column("value", LargeBinary, nullable=False))

owners = Table(
    "owners",
    metadata,
    _number("id"),
    _text("name", unique=True),
    _text("created_at"),
    sqlite_autoincrement=True,
)

keys = Table(
    "keys",
    metadata,
    _number("id"),
    Column("owner_id", _Number, ForeignKey("owners.id"), nullable=False),
    Column("hash", LargeBinary, nullable=False, unique=True),
    _text("hint"),
    _text("note"),
    _text("created_at"),
    sqlite_autoincrement=True,
)

training_sets = Table(
    "training_sets",
    metadata,
    _number("id"),
    Column("owner_id", _Number, ForeignKey("owners.id"), nullable=False),
    _text("name"),
    _text("slug"),
    _text("description"),
    _text("standard"),
    Column("revision", _Number, nullable=False),
    Column("current_version", _Number),
    Column("encoder", Text, nullable=False, server_default=""),  # "" is the built-in one
    _text("created_at"),
    UniqueConstraint("owner_id", "slug"),
    sqlite_autoincrement=True,  # ids are never reused, so that caches by id stay valid
)

labels = Table(
    "labels",
    metadata,
    _number(),
    _text("id", unique=True),
    _of_set(),
    _text("name"),
    UniqueConstraint("training_set_id", "name"),
    sqlite_autoincrement=True,
)

blobs = Table(
    "blobs",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("bytes", _Number, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    _text("extension"),
    sqlite_with_rowid=False,
)

images = Table(
    "images",
    metadata,
    _number(),
    _text("id", unique=True),
    _of_set(),
    Column("label_seq", _Number, ForeignKey("labels.seq", ondelete="CASCADE"), nullable=False),
    Column("sha256", Text, ForeignKey("blobs.sha256"), nullable=False),
    # Copied from the immutable blob, so that a listing of 100,000 images reads one table in order
    _text("extension"),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("bytes", _Number, nullable=False),
    _text("original_filename"),
    _text("created_at"),
    _text("split"),
    UniqueConstraint("sha256", "label_seq"),  # in this order the index also finds the references to a blob
    Index("images_of_set", "training_set_id", "seq"),
    Index("images_of_label", "label_seq", "seq"),
    # of the few that have one, so that those which are not learned are counted without a look at all images
    Index(
        "images_with_split",
        "label_seq",
        "split",
        sqlite_where=text("split <> ''"),
        postgresql_where=text("split <> ''"),
    ),
    sqlite_autoincrement=True,
)

image_changes = Table(
    "image_changes",
    metadata,
    Column("image_id", Text, primary_key=True),
    _of_set(),
    Column("revision", _Number, nullable=False),
    Index("image_changes_of_set", "training_set_id", "revision"),
    sqlite_with_rowid=False,
)
"""Images that were moved, split or deleted, each with the revision of its training set that has its last change.

Kept by triggers (`_log_changes`), trimmed by the daily sweep; new images are found by their row numbers.
"""

deleted_images = Table(
    "deleted_images",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner_id", _Number, ForeignKey("owners.id"), nullable=False),
    _text("sha256", index=True),
    _text("label"),
    _text("original_filename"),
    _text("split"),
    _text("created_at"),
    _text("deleted_at", index=True),
    sqlite_with_rowid=False,
)
"""Images that were deleted within a day, which their owner may restore. In SQLite they keep their blob until then."""

embeddings = Table(
    "embeddings",
    metadata,
    Column("sha256", Text, ForeignKey("blobs.sha256", ondelete="CASCADE"), primary_key=True),
    Column("encoder", Text, primary_key=True),
    Column("unsafe", Float),
    Column("vector", LargeBinary, nullable=False),
)

versions = Table(
    "versions",
    metadata,
    Column("training_set_id", _Number, ForeignKey("training_sets.id", ondelete="CASCADE"), primary_key=True),
    Column("version", _Number, primary_key=True, autoincrement=False),
    Column("revision", _Number, nullable=False),
    _text("encoder"),
    _text("trained_at"),
    Column("images", _Number, nullable=False),
    Column("labels", _Number, nullable=False),
    _text("metrics"),
    Column("head", LargeBinary, nullable=False),
    Column("difference", Text),
    Column("waiting", Integer),
    Column("answers", LargeBinary),
)

classifications = Table(
    "classifications",
    metadata,
    _number(),
    _text("id", unique=True),
    Column("owner_id", _Number, ForeignKey("owners.id"), nullable=False),
    _text("call_id"),
    _text("classifier"),
    _text("label"),
    Column("confidence", Float),
    Column("training_set_id", _Number),  # no foreign key: a classification outlives its classifier
    Column("version", _Number),
    Column("sha256", Text, ForeignKey("blobs.sha256"), nullable=False, index=True),
    _text("original_filename"),
    _text("created_at", index=True),
    sqlite_autoincrement=True,
)

feedback = Table(
    "feedback",
    metadata,
    _number(),
    _text("id", unique=True),
    Column("owner_id", _Number, ForeignKey("owners.id"), nullable=False, index=True),
    _text("kind"),
    _text("created_at"),
    _text("message"),
    _text("classification_id"),
    _text("classifier"),
    _text("predicted"),
    Column("confidence", Float),
    Column("version", _Number),
    Column("training_set_id", _Number),
    _text("label"),
    _text("image_id"),
    sqlite_autoincrement=True,
)

quarantine = Table("quarantine", metadata, Column("sha256", Text, primary_key=True), _text("since"))
"""Stored files without a row in `blobs`, since when they are known to have none."""

damaged = Table("damaged", metadata, Column("sha256", Text, primary_key=True), _text("since"))
"""Stored files whose content no longer has the hash of their name."""

released = Table(
    "released",
    metadata,
    Column("sha256", Text, primary_key=True),
    _text("since"),
    Column("state", Integer, nullable=False),
)
"""In PostgreSQL: blobs that may have lost their last reference, with the state of their removal a day later.

What stores the same image again locks the row, so that it either keeps the blob or learns that it has to be stored anew.
"""


class Removal(IntEnum):
    """States of a row in `released`: due after a day, bytes being removed, bytes removed."""

    DUE = 0
    UNDER_WAY = 1
    DONE = 2


leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    _text("holder"),
    Column("expires", Float, nullable=False),
)
"""In PostgreSQL: work that one process at a time does, until a moment in seconds since the epoch by the database's clock."""

jobs = Table(
    "jobs",
    metadata,
    Column("training_set_id", _Number, ForeignKey("training_sets.id", ondelete="CASCADE"), primary_key=True),
    Column("changes", _Number, nullable=False),
    Column("due", Float, nullable=False),
    Column("holder", Text),
    Column("expires", Float, nullable=False, server_default="0"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("missing", Integer, nullable=False, server_default="0"),
    Column("failure", Text, nullable=False, server_default=""),
)
"""In PostgreSQL: training sets to be embedded and trained, each by the process that holds it until `expires`.

`changes` grows with each change, so that a holder sees those that came meanwhile; `attempts` are since the last change.
Times are as in `leases`.
"""

previews = Table(
    "previews",
    metadata,
    Column("training_set_id", _Number, ForeignKey("training_sets.id", ondelete="CASCADE"), primary_key=True),
    Column("version", _Number, nullable=False),
    Column("revision", _Number, nullable=False),
    _text("encoder"),
    _text("trained_at"),
    _text("metrics"),
    Column("head", LargeBinary, nullable=False),
)
"""In PostgreSQL: the provisional head of a training set, which all processes answer with until a version is stored."""

CHANNEL = "apitorch"
"""Channel of PostgreSQL's notifications: `set ID`, `keys`, `damaged`."""

_TRIGGERS = """
CREATE OR REPLACE FUNCTION apitorch_schedule(number BIGINT) RETURNS void LANGUAGE sql AS $$
    INSERT INTO jobs (training_set_id, changes, due)
    VALUES (number, 1, EXTRACT(EPOCH FROM clock_timestamp()))
    ON CONFLICT (training_set_id) DO UPDATE
    SET changes = jobs.changes + 1, due = LEAST(jobs.due, EXCLUDED.due), attempts = 0, failure = '';
    SELECT pg_notify('apitorch', 'set ' || number);
$$;
CREATE OR REPLACE FUNCTION apitorch_set_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.revision <> OLD.revision OR NEW.encoder <> OLD.encoder) THEN
        PERFORM apitorch_schedule(NEW.id);
    ELSE
        PERFORM pg_notify('apitorch', 'set ' || COALESCE(NEW.id, OLD.id));
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION apitorch_head_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('apitorch', 'set ' || COALESCE(NEW.training_set_id, OLD.training_set_id));
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION apitorch_table_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('apitorch', TG_TABLE_NAME);
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER set_changed AFTER UPDATE OR DELETE ON training_sets
    FOR EACH ROW EXECUTE FUNCTION apitorch_set_changed();
CREATE OR REPLACE TRIGGER head_changed AFTER UPDATE OF head ON versions
    FOR EACH ROW EXECUTE FUNCTION apitorch_head_changed();
CREATE OR REPLACE TRIGGER preview_changed AFTER INSERT OR UPDATE OR DELETE ON previews
    FOR EACH ROW EXECUTE FUNCTION apitorch_head_changed();
CREATE OR REPLACE TRIGGER keys_changed AFTER INSERT OR UPDATE OR DELETE ON keys
    FOR EACH STATEMENT EXECUTE FUNCTION apitorch_table_changed();
CREATE OR REPLACE TRIGGER damaged_changed AFTER INSERT OR UPDATE OR DELETE ON damaged
    FOR EACH STATEMENT EXECUTE FUNCTION apitorch_table_changed();
INSERT INTO jobs (training_set_id, changes, due)
    SELECT id, 1, EXTRACT(EPOCH FROM clock_timestamp()) FROM training_sets ON CONFLICT DO NOTHING;
"""
"""What notifies the other processes, and schedules training, in the transaction of the change itself."""

_LOG_CHANGE = """
    INSERT INTO image_changes (image_id, training_set_id, revision)
    SELECT {row}.id, {row}.training_set_id, revision + 1 FROM training_sets WHERE id = {row}.training_set_id
    ON CONFLICT (image_id) DO UPDATE SET training_set_id = EXCLUDED.training_set_id, revision = EXCLUDED.revision;
"""
"""The writer increments the revision at the end of the transaction, so that the change belongs to the next one."""

_CHANGES = {"image_changed": ("UPDATE OF label_seq, split", "NEW"), "image_deleted": ("DELETE", "OLD")}
"""The triggers of the log of changes: what they follow, and the row they log."""

MIGRATIONS: dict[int, tuple[str, ...]] = {
    1: tuple(
        f"CREATE TABLE {name} (sha256 TEXT NOT NULL PRIMARY KEY, since TEXT NOT NULL)"
        for name in ("quarantine", "damaged")
    ),
    2: ("ALTER TABLE images ADD COLUMN split TEXT NOT NULL DEFAULT ''",),
    3: (
        "ALTER TABLE versions ADD COLUMN difference TEXT",
        "ALTER TABLE versions ADD COLUMN waiting INTEGER",
        "ALTER TABLE versions ADD COLUMN answers {binary}",
    ),
    4: ("ALTER TABLE training_sets ADD COLUMN encoder TEXT NOT NULL DEFAULT ''",),
    5: (),  # tables alone
    6: ("CREATE INDEX images_with_split ON images (label_seq, split) WHERE split <> ''",),
    7: (),
    8: (),
}
"""The statements that turn a version into the next; `{binary}` is the database's type of bytes."""


def too_new(found: int) -> str:
    """Return the sentence for a database of a later version."""
    return (
        f"The database was made by a newer version of this program (its tables are of version {found}, this program knows "
        f"{VERSION})."
    )


def migrate(connection: Connection, found: int) -> None:
    """Create the tables (`found` 0) or migrate those of version `found`, in the caller's transaction."""
    postgres = connection.dialect.name == "postgresql"
    if found:
        binary = "BYTEA" if postgres else "BLOB"
        for version in range(found, VERSION):
            for statement in MIGRATIONS[version]:
                connection.exec_driver_sql(statement.format(binary=binary))
    metadata.create_all(connection)
    if postgres:
        connection.exec_driver_sql(_TRIGGERS)
    _log_changes(connection, postgres=postgres)


def _log_changes(connection: Connection, *, postgres: bool) -> None:
    """Create the triggers that log changes of images."""
    for name, (event, row) in _CHANGES.items():
        statement = _LOG_CHANGE.format(row=row)
        if postgres:
            connection.exec_driver_sql(
                f"CREATE OR REPLACE FUNCTION apitorch_{name}() RETURNS trigger LANGUAGE plpgsql AS $$"
                f" BEGIN {statement} RETURN NULL; END $$;"
                f" CREATE OR REPLACE TRIGGER {name} AFTER {event} ON images FOR EACH ROW EXECUTE FUNCTION apitorch_{name}();"
            )
        else:
            connection.exec_driver_sql(
                f"CREATE TRIGGER IF NOT EXISTS {name} AFTER {event} ON images BEGIN {statement} END"
            )
