"""What the store refuses or cannot do, as the person reads it.

StoreError
├── NotFound            404: not there, or another owner's
├── Conflict            409: in the way of something that is there
├── Invalid             400: a name, label or id that cannot be
├── StorageFull         507: no room left; nothing of the change was kept
│   └── StorageReadOnly 507: the data folder has become read-only
├── StorageFault        500: an I/O error, or a file that is gone or damaged
├── Closed              the store was closed
└── CannotOpen          at the start only: read-only, damaged, made by a newer version
    └── InUse           another process has this data folder
"""

from apitorch_desktop.utils.errors import UserError


class StoreError(UserError):
    """`str()` is for the person: what is wrong and, where that helps, what to do."""


class RecordNotFound(StoreError):  # noqa: N818 - named for what happened
    """It is not there, or it is another owner's."""


class RecordConflict(StoreError):  # noqa: N818
    """Something is there already that this would run into."""


class Invalid(StoreError):  # noqa: N818
    """A name, a label or an id that cannot be."""


class DiskFull(StoreError):  # noqa: N818
    """No room left. Nothing of the change was kept; it works again as soon as there is room."""


class StorageReadOnly(DiskFull):
    """The data folder can no longer be written to."""


class StorageFault(StoreError):  # noqa: N818
    """The storage failed, or a stored image is gone or damaged."""


class Closed(StoreError):  # noqa: N818
    """The store was closed."""


class CannotOpen(StoreError):  # noqa: N818
    """The data folder or the database cannot be used."""


class InUse(CannotOpen):
    """Another process has this data folder."""
