"""Where records are kept, by address: SQLite, another database, or the proxy of one; and what fails, in one line."""

from __future__ import annotations

import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import optuna
from optuna.storages import BaseStorage, GrpcStorageProxy, RDBStorage
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

CONNECT_SECONDS = 5
GRPC = "grpc://"
FORMS = ("postgresql://USER@HOST/NAME", "mysql://USER@HOST/NAME", "grpc://HOST:PORT", "sqlite:///FILE")
"""The forms of an address; the driver of a database may be named behind its kind: postgresql+psycopg://."""
DRIVERS = {"postgresql": "psycopg[binary]", "mysql": "mysqlclient"}
"""What is installed for a kind of database whose driver is not named."""


def check_address(address: str) -> None:
    """Raise ValueError, which names the nearest form, for what is no address of a storage.

    >>> check_address("grpc://box:13000")
    """
    kind, between, rest = address.partition("://")
    whole = bool(between and rest and re.fullmatch(r"(postgresql|mysql|sqlite)(\+\w+)?|grpc", kind))
    if whole and (kind != "grpc" or re.fullmatch(r"[^/:]+:\d+", rest)):
        return
    near = next((form for form in FORMS if kind[:4] and form.startswith(kind[:4])), None)
    hint = f"; did you mean {near}?" if near else "."
    raise ValueError(f"storage '{shown(address)}'{hint} Allowed: {', '.join(FORMS)}.")


def shown(address: str) -> str:
    """Return an address without its password.

    >>> shown("postgresql://me:secret@box/whet")
    'postgresql://me:***@box/whet'
    """
    try:
        return make_url(address).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return re.sub(r":[^:@/]*@", ":***@", address)


def storage_at(address: str) -> BaseStorage:
    """Open a storage; the errors are those that `failing` words."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    if address.startswith(GRPC):
        parts = urlsplit(address)
        with unwarned():
            proxy = GrpcStorageProxy(host=parts.hostname or "", port=parts.port or 0)
        proxy.wait_server_ready(CONNECT_SECONDS)
        return proxy
    local = address.startswith("sqlite")
    return RDBStorage(address, engine_kwargs={} if local else {"connect_args": {"connect_timeout": CONNECT_SECONDS}})


@contextmanager
def unwarned() -> Iterator[None]:
    """Say nothing of what Optuna calls experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


@contextmanager
def failing(address: str, verb: str, error: Callable[[str], Exception]) -> Iterator[None]:
    """Raise `error`, of one line, for a storage that cannot be opened, read or written."""
    try:
        yield
    except Exception as found:
        if not _of_storage(found):
            raise
        said = (str(found).strip() or type(found).__name__).splitlines()[0].rstrip(".")
        hint = "Move the file away, or give another --out, to begin a new one."
        if not address.startswith("sqlite"):
            hint = "Is the address right, and its server there?"
            kind, _, named = address.partition("://")[0].partition("+")
            if _lacks_driver(found):
                hint = f"The database needs its driver: pip install '{named or DRIVERS.get(kind, kind)}'."
        raise error(f"study '{shown(address)}' cannot be {verb}: {said}. {hint}") from found


def _lacks_driver(error: BaseException | None) -> bool:
    """Say whether an error is, or comes from, a module that is not installed."""
    return error is not None and (isinstance(error, ImportError) or _lacks_driver(error.__cause__ or error.__context__))


def _of_storage(error: Any) -> bool:
    expected = (SQLAlchemyError, RuntimeError, json.JSONDecodeError, KeyError, ConnectionError, ImportError)
    return isinstance(error, expected) or type(error).__module__.startswith("grpc")
