"""``boto3`` clients that take nothing from the environment or from AWS's own files."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol, cast

import boto3
import botocore.session
from botocore.config import Config
from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES


class Client(Protocol):
    """A ``boto3`` client: one method for each operation of the service."""

    def __getattr__(self, operation: str) -> Callable[..., Any]: ...


def client(service: str, config: Config, **settings: object) -> Client:
    """A client with ``settings`` only: no profile, no config file, no proxy, no authority, no
    credentials from outside.

    Else a stray setting could send requests, and the tokens in them, elsewhere.
    """
    alone = {
        name: (None, None, default, convert)
        for name, (_, _, default, convert) in BOTOCORE_DEFAUT_SESSION_VARIABLES.items()
    }
    for name in ("config_file", "credentials_file"):
        alone[name] = (None, None, os.devnull, None)
    session = botocore.session.Session(session_vars=alone)
    config = config.merge(Config(proxies={}, ignore_configured_endpoint_urls=True))
    made = boto3.Session(botocore_session=session).client(service, config=config, **settings)
    return cast(Client, made)
