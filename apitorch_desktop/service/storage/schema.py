"""The tables, for SQLite and PostgreSQL, and the migrations of older databases.

A row in `blobs` represents a stored file; records refer to it by the hash of its content.
"""

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
)

VERSION = 5
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
    sqlite_autoincrement=True,
)

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
}
"""The statements that turn a version into the next; `{binary}` is the database's type of bytes."""


def migrate(connection: Connection, found: int) -> None:
    """Create the tables (`found` 0) or migrate those of version `found`, in the caller's transaction."""
    if found == 0:
        metadata.create_all(connection)
    else:
        binary = "BYTEA" if connection.dialect.name == "postgresql" else "BLOB"
        for version in range(found, VERSION):
            for statement in MIGRATIONS[version]:
                connection.exec_driver_sql(statement.format(binary=binary))
