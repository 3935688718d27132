"""Several errors as one: taken apart, rebuilt from documents, and with the gravest exit code."""

from __future__ import annotations

import pickle

import pytest

from strongroom.errors import ErrorDocument, ErrorList, Exit
from strongroom.errors.defect import CodeUnknown
from strongroom.errors.listing import documents_of, errors_of, exit_code
from strongroom.errors.registry import all_codes, from_documents
from strongroom.pipeline.planning.errors import FactMissing, PlanNotAdmitted, RunUnknown
from strongroom.policies.errors import DenialList

MISSING = FactMissing(place="s3://b/x", expected="a manifest", actual="no object")
UNKNOWN = RunUnknown(place="r1")
CHANGED = PlanNotAdmitted(place="s3://b/plan.json")


def test_a_list_in_a_list_keeps_each_errors_place_and_exit_code():
    nested = ErrorList([UNKNOWN, ErrorList([MISSING, ErrorList([CHANGED])])])
    assert errors_of(nested) == (UNKNOWN, MISSING, CHANGED)
    assert exit_code(nested) == Exit.INTEGRITY
    assert [each.place for each in documents_of(nested)] == ["r1", "s3://b/x", CHANGED.place]


def test_a_list_of_denials_is_taken_apart_too():
    denied = DenialList([UNKNOWN, ErrorList([MISSING])])
    assert errors_of(ErrorList([denied, CHANGED])) == (UNKNOWN, MISSING, CHANGED)
    assert errors_of(pickle.loads(pickle.dumps(denied)))[1].place == "s3://b/x"


@pytest.mark.parametrize("error", [MISSING, ErrorList([UNKNOWN, MISSING])])
def test_documents_lead_back_to_the_same_errors(error):
    found = from_documents(documents_of(error))
    assert type(found) is type(error)
    assert str(found) == str(error)


@pytest.mark.parametrize("code", ["SR-MANY", "SR-POLICY-000", "SR-NEXT-001", ""])
def test_a_code_that_is_no_single_error_here_is_named(code):
    found = from_documents([ErrorDocument(code=code, place="r1", title="not foreseen")])
    assert isinstance(found, CodeUnknown)
    assert found.place == "r1"
    assert found.actual == f"{code} not foreseen".strip()


def test_every_code_is_known_without_importing_what_raises_it():
    assert {"SR-TRAIN-001", "SR-BUCKET-001", "SR-POLICY-001"} <= set(all_codes())
