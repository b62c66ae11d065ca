"""What can go wrong in the store, in words that name no driver."""

from __future__ import annotations


class StoreError(Exception):
    """Root of the store's errors."""


class StoreUnavailableError(StoreError):
    """The database does not answer, or not in time; the operation may be tried again."""


class DuplicateError(StoreError):
    """A record with this id (or another unique value) exists already."""


class ConflictError(StoreError):
    """Somebody else kept changing the record at the same time; gave up after a bounded number of attempts."""


class SchemaError(StoreError):
    """The database belongs to a newer release, or an index cannot be built."""
