"""``boto3`` clients that take nothing from the environment or from AWS's own files."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol, cast

import boto3
import botocore.session


class Client(Protocol):
    """A ``boto3`` client: one method for each operation of the service."""

    def __getattr__(self, operation: str) -> Callable[..., Any]: ...


def client(service: str, **settings: object) -> Client:
    """A client with ``settings`` only: no profile, no config file, no credentials from outside.

    Else a stray setting could send requests, and the tokens in them, elsewhere.
    """
    session = botocore.session.Session(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )
    return cast(Client, boto3.Session(botocore_session=session).client(service, **settings))
