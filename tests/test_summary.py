"""The last line of a run: what ran, by folder."""

from types import SimpleNamespace

from support.counts import counts_by_folder


def report(nodeid):
    return SimpleNamespace(nodeid=nodeid)


def test_tests_are_counted_by_folder():
    stats = {
        "": [report("tests/e2e/test_a.py::test_1")],  # set-up and teardown that went well
        "passed": [
            report(f"tests/{name}::test_1") for name in ("crypto/test_b.py", "e2e/test_a.py")
        ]
        + [report("tests/e2e/deep/test_a.py::test_2"), report("tests/test_c.py::test_1")],
        "skipped": [report("tests/attacks/test_d.py::test_1")],
        "failed": [report("tests/attacks/test_d.py::test_2[a/b]")],
        "error": [report("tests/e2e/test_a.py::test_1")],
        "warnings": [report("tests/e2e/test_a.py::test_9")],
    }
    assert counts_by_folder(stats) == (
        "2 end-to-end (1 failed, 1 passed), 2 attacks (1 failed, 1 skipped), "
        "1 crypto (1 passed), 1 other (1 passed)"
    )
    assert counts_by_folder({}) == ""
