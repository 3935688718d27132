"""Every error of the package is complete, distinct, and survives a process border."""

import pickle
import re

import pytest

import strongroom.crypto.errors as errors_module
from strongroom.crypto.errors import CryptoError, IntegrityError
from strongroom.errors import Exit
from strongroom.errors.registry import all_codes, from_documents

CLASSES = [
    cls
    for cls in vars(errors_module).values()
    if isinstance(cls, type) and issubclass(cls, CryptoError) and cls.code
]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.code)
def test_each_error_is_a_document(cls):
    assert re.fullmatch(r"SR-CRYPTO-0\d\d", cls.code)
    assert cls.title
    assert not cls.title[0].isupper()
    assert cls.remedy[0].isupper()
    assert not cls.remedy.endswith(".")
    if issubclass(cls, IntegrityError):
        assert cls.exit_code == Exit.INTEGRITY
    error = cls(place="shard-00003.sealed segment 7", expected="this", actual="that")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert str(from_documents([error.document()])) == str(error)


def test_codes_are_distinct():
    assert len({cls.code for cls in CLASSES}) == len(CLASSES) >= 25
    assert {cls.code for cls in CLASSES} <= set(all_codes())
