from __future__ import annotations

import os
import pickle
import threading
import time
from pathlib import Path

import pytest

from strongroom.enclave import errors
from strongroom.enclave.evaluator.messages import MAX_SOURCE_BYTES
from strongroom.enclave.evaluator.process import EvaluatorProcess
from strongroom.trainer.rollouts.evaluators import Job, Score

CANARY = "canary-in-a-row"
TIMEOUT_S = 0.5


def job(content: str = CANARY, row: int = 17, **fields: object) -> Job:
    return Job(messages=[{"role": "assistant", "content": content}], row=row, **fields)


def source(body: str) -> bytes:
    """An evaluator whose ``evaluate`` is this body, from line 2 on."""
    lines = "\n".join("    " + line for line in body.splitlines())
    return f"def evaluate(messages, ground_truth, **row):\n{lines}\n".encode()


def in_an_enclave(text: bytes) -> str:
    """Code for ``inside``: this source's score where nothing but the enclave's own is loaded."""
    return f"""
    from strongroom.enclave.evaluator.process import EvaluatorProcess
    from strongroom.trainer.rollouts.evaluators import Job
    lockdown.lock_files_and_network()
    process = EvaluatorProcess.start()
    process.load({text!r})
    report([score.score for score in process.score([Job(messages=[])])])
    """


@pytest.fixture
def process():
    """A confined evaluator process, without anything loaded."""
    with EvaluatorProcess.start() as started:
        yield started


def failure(process: EvaluatorProcess, body: str, metrics: tuple[str, ...] = ()) -> Exception:
    """The error of scoring one job with this body; it must not carry the row."""
    process.load(source(body), metrics, timeout_s=30)
    with pytest.raises(errors.EvaluatorError) as caught:
        process.score([job()], timeout_s=20)
    assert CANARY not in str(caught.value)
    assert CANARY not in str(caught.value.document())
    return caught.value


def test_it_scores_each_job_in_order(process):
    process.load(source("return len(messages[-1]['content']) + row['extra'] + ground_truth"))
    jobs = [job("x" * n, ground_truth=0.5, extra={"extra": 100}) for n in range(5)]
    assert process.score(jobs) == [Score(score=100.5 + n) for n in range(5)]
    assert process.score([]) == []


@pytest.mark.parametrize(
    ("result", "score"),
    [("1", 1.0), ("0.25", 0.25), ("{'score': -3}", -3.0)],
)
def test_what_counts_as_a_score(process, result, score):
    process.load(source(f"return {result}"))
    assert process.score([job()]) == [Score(score=score)]


def test_a_numpy_scalar_counts(process):
    process.load(b"import numpy\n" + source("return numpy.float32(0.5)"))
    assert process.score([job()]) == [Score(score=0.5)]


def test_a_matrix_product_works_in_the_last_stage(inside):
    text = b"import numpy\n" + source("a = numpy.ones((300, 300))\nreturn float((a @ a)[0, 0])")
    assert inside(in_an_enclave(text), "A") == [300.0]


def test_many_small_objects_fit_when_no_memory_can_be_mapped_for_them(process):
    """Beyond what was kept ready, and given back each time."""
    process.load(source("return len([str(n) for n in range(1_500_000)])"))
    assert process.score([job()] * 3) == [Score(score=1.5e6)] * 3


@pytest.mark.parametrize(
    "body",
    [
        "import this",
        "from lib2to3 import pygram",
        "try:\n  import this\nexcept Exception as error:\n  raise ValueError from error",
        "open('/usr/lib/os-release').read()",
        "import os\nos.listdir('/usr/lib')",
        "import threading\nthreading.Thread(target=print).start()",
    ],
)
def test_what_must_be_done_at_the_top_of_the_file_is_told(process, body):
    caught = failure(process, body)
    assert type(caught) is errors.EvaluatorLate
    assert caught.line == 1 + len(body.splitlines())
    assert "at the top of the file" in caught.fix


def test_threads_of_the_process_that_forks_it_do_not_matter():
    """Their stacks are beyond what the C library keeps, and cannot be given back any more."""
    end = threading.Event()
    threads = [threading.Thread(target=end.wait) for _ in range(10)]
    for thread in threads:
        thread.start()
    try:
        with EvaluatorProcess.start() as process:
            caught = failure(process, "import threading\nthreading.Thread(target=print).start()")
    finally:
        end.set()
        for thread in threads:
            thread.join()
    assert type(caught) is errors.EvaluatorLate


@pytest.mark.parametrize(
    "body",
    [
        "import datetime\ndatetime.datetime.strptime('2026', '%Y')",
        "'é'.encode('cp1252') + 'é'.encode('utf-16-le') + 'é'.encode('cp037')",
        "import warnings\nwarnings.warn('careful')",
        "import sys\nprint(1)\nsys.stdout.buffer.write(b'1')\nsys.stderr.flush()",
        "import traceback\ntraceback.format_stack()",
        "import logging\nlogging.getLogger('x').error('careful')",
        "assert '\\N{BULLET}' == '•'",
    ],
)
def test_what_loads_something_on_first_use_works_without_an_import(inside, body):
    head = b"import datetime, warnings, logging, traceback\n"
    assert inside(in_an_enclave(head + source(body + "\nreturn 1")), "A") == [1.0]


@pytest.mark.parametrize(("count", "fits"), [(20, True), (100, False)])
def test_threads_are_bounded(process, count, fits):
    text = (
        "import threading\nwait = threading.Event()\n"
        f"for _ in range({count}):\n  threading.Thread(target=wait.wait, daemon=True).start()\n"
    )
    if fits:
        process.load(text.encode() + source("return len(threading.enumerate())"))
        assert process.score([job()]) == [Score(score=count + 1.0)]
        return
    with pytest.raises(errors.EvaluatorThreads) as caught:
        process.load(text.encode())
    assert (caught.value.line, caught.value.expected) == (4, "64 at most")


def test_ground_truth_arrives_as_it_was(process):
    truth = {"a": [1, 2**70, None, "é"], "b": 0.1}
    process.load(source(f"return float(ground_truth == {truth!r})"))
    assert process.score([job(ground_truth=truth)]) == [Score(score=1.0)]


def test_declared_metrics_come_back_and_may_be_left_out(process):
    process.load(source("return {'score': 1, **row['give']}"), ["accuracy", "length"])
    jobs = [job(extra={"give": give}) for give in ({"accuracy": 0.5}, {"length": 3}, {})]
    assert [score.metrics for score in process.score(jobs)] == [
        {"accuracy": 0.5},
        {"length": 3.0},
        {},
    ]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("return float('nan')", errors.ScoreNotFinite),
        ("return float('inf')", errors.ScoreNotFinite),
        ("return 1e308", errors.ScoreNotFinite),
        ("return -10**300", errors.ScoreNotFinite),
        ("return {'score': 1, 'm': 1.1e9}", errors.ScoreNotFinite),
        ("return {'score': 1, 'm': -float('inf')}", errors.ScoreNotFinite),
        ("return 'canary'", errors.ScoreInvalid),
        ("return True", errors.ScoreInvalid),
        ("return {'score': 1, 'm': False}", errors.ScoreInvalid),
        ("import numpy\nreturn numpy.bool_(True)", errors.ScoreInvalid),
        ("return '0.5'", errors.ScoreInvalid),
        ("return None", errors.ScoreInvalid),
        ("return [1.0]", errors.ScoreInvalid),
        ("return {'m': 1}", errors.ScoreInvalid),
        ("return {'score': '1'}", errors.ScoreInvalid),
        ("return 10 ** 400", errors.ScoreInvalid),
        ("return 'x' * 10**8", errors.ScoreInvalid),
        ("return {'score': 1, 'other': 1}", errors.MetricUndeclared),
        ("return {'score': 1, messages[0]['content']: 1}", errors.MetricUndeclared),
        ("return {'score': 1, 17: 1}", errors.MetricUndeclared),
    ],
)
def test_what_does_not_count_as_a_score(process, body, error):
    caught = failure(process, body, ("m",))
    assert type(caught) is error
    assert (caught.row, caught.line) == (17, 1)
    assert caught.place == "evaluator.py:1, row 17"


@pytest.mark.parametrize(
    ("score", "fits"), [("0", True), ("1", True), ("-1e-9", False), ("1.0001", False)]
)
def test_a_score_outside_its_range_is_refused(process, score, fits):
    process.load(source(f"return {{'score': {score}, 'm': 99}}"), ["m"], score_range=(0.0, 1.0))
    if fits:
        assert process.score([job()]) == [Score(score=float(score), metrics={"m": 99.0})]
        return
    with pytest.raises(errors.ScoreOutOfRange) as caught:
        process.score([job(row=3)])
    assert (caught.value.row, caught.value.line, caught.value.expected) == (3, 1, "0 to 1")
    process.load(source(f"return {score}"))
    assert process.score([job()]) == [Score(score=float(score))]


def test_the_row_of_a_failure_is_told(process):
    process.load(source("return 1 / row['n']"))
    with pytest.raises(errors.EvaluatorRaised) as caught:
        process.score([job(row=10 + n, extra={"n": n}) for n in (1, 2, 0, 3)])
    assert (caught.value.row, caught.value.line, caught.value.actual) == (
        10,
        2,
        "ZeroDivisionError",
    )
    assert pickle.loads(pickle.dumps(caught.value)).row == 10


def test_after_a_failure_of_a_row_it_scores_on(process):
    failure(process, "return 1 / row.get('n', 0)")
    assert process.score([job(extra={"n": 2})]) == [Score(score=0.5)]


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("raise ValueError(messages)", "ValueError"),
        ("raise KeyError(messages[0]['content'])", "KeyError"),
        ("import json\njson.loads(messages[0]['content'])", "ValueError"),
        ("class Mine(LookupError): pass\nraise Mine(messages)", "LookupError"),
        ("raise type(messages[0]['content'], (ValueError,), {})", "ValueError"),
        ("import sys\nsys.exit(messages[0]['content'])", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("return evaluate(messages, ground_truth)", "RecursionError"),
        ("bytearray(10 ** 11)", "MemoryError"),
    ],
)
def test_an_exception_leaves_as_a_builtin_name_and_a_line(process, body, name):
    caught = failure(process, body)
    assert type(caught) is errors.EvaluatorRaised
    assert caught.actual == name
    assert caught.line == 1 + len(body.splitlines())


@pytest.mark.parametrize(
    "body",
    [
        "import os\nos.fork()",
        "import subprocess\nsubprocess.run(['true'])",
        "import os\nos.execv('/bin/true', ['true'])",
        "import socket\nsocket.socket()",
        "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:1/')",
        "open('/tmp/canary', 'w')",
        "open('/dev/shm/canary', 'w')",
        "import os\nos.kill(os.getppid(), 9)",
        "import os\nos.memfd_create('x')",
        "import os\nos.utime('/usr/lib', (1, 1))",
        "import ctypes\nctypes.CDLL(None).syscall(9999)",
    ],
)
def test_what_is_forbidden_fails_as_forbidden(process, body):
    caught = failure(process, body)
    if isinstance(caught, errors.EvaluatorRaised):  # urllib hides the cause in its own class
        assert caught.actual == "OSError"
        assert "urllib" in body
    else:
        assert type(caught) is errors.EvaluatorForbidden


@pytest.mark.parametrize("path", ["/etc/passwd", "/proc/self/mem"])
def test_a_file_that_is_no_library_is_forbidden_while_loading(process, path):
    with pytest.raises(errors.EvaluatorForbidden) as caught:
        process.load(f"text = 1\nopen({path!r})\n".encode())
    assert caught.value.line == 2


def test_a_shell_does_not_run(process, tmp_path):
    target = tmp_path / "made"
    process.load(source(f"import os\nreturn os.system('touch {target}')"))
    assert process.score([job()]) != [Score(score=0.0)]
    assert not target.exists()
    with EvaluatorProcess.start(locked=False) as control:
        control.load(source(f"import os\nreturn os.system('touch {target}')"))
        assert control.score([job()]) == [Score(score=0.0)]
    assert target.exists()


@pytest.mark.parametrize(
    "body",
    [
        "while True: pass",
        "while True:\n  try:\n    while True: pass\n  except BaseException: pass",
        "import time\ntime.sleep(100)",
        "import signal\nsignal.pause()",
        "import threading\nthreading.Lock().acquire()\nthreading.Event().wait()",
        "import os\nos.closerange(3, 100)\nwhile True: pass",
    ],
)
def test_a_hang_is_ended(process, body):
    mask = b"import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n"
    process.load(mask + source(body))
    with pytest.raises(errors.EvaluatorTimedOut) as caught:
        process.score([job()], timeout_s=TIMEOUT_S)
    assert caught.value.row == 17
    with pytest.raises(errors.EvaluatorExited):
        process.score([job()])


def test_a_hang_at_import_is_ended(process):
    with pytest.raises(errors.EvaluatorTimedOut):
        process.load(b"while True: pass", timeout_s=TIMEOUT_S)


def test_time_is_per_row(process):
    process.load(source("import time\ntime.sleep(1)\nreturn 1"))
    assert len(process.score([job()] * 5, timeout_s=4)) == 5


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("import os\nos._exit(0)", errors.EvaluatorExited),
        ("import ctypes\nctypes.string_at(8)", errors.EvaluatorCrashed),
        ("import os\nos.abort()", errors.EvaluatorCrashed),
        ("import os\nos.close(3)\nreturn 1", errors.EvaluatorForbidden),
    ],
)
def test_an_end_is_told_by_what_ended_it(process, body, error):
    assert type(failure(process, body)) is error


FORGED = """
import os
body = {body}
os.write(3, len(body).to_bytes(4, "little") + body)
return 1
"""


@pytest.mark.parametrize(
    "body",
    [
        "messages[0]['content'].encode()",
        'b\'{"type":"row","score":"canary","values":[]}\'',
        'b\'{"type":"row","score":1,"values":[1]}\'',
        'b\'{"type":"row","score":1,"values":[],"note":"canary"}\'',
        'b\'{"type":"row","score":1e999,"values":[]}\'',
        'b\'{"type":"failed","kind":"canary"}\'',
        'b\'{"type":"failed","kind":"raised","exception":"canary-in-a-row"}\'',
        'b\'{"type":"failed","kind":"raised","exception":"ValueError","line":123456}\'',
        'b\'{"type":"ready","probes":{"a":"b"}}\'',
        "b'[' * 60000",
        "bytes(70000)",
    ],
)
def test_a_forged_frame_carries_nothing_out(process, body):
    caught = failure(process, FORGED.format(body=body))
    assert type(caught) is errors.EvaluatorProtocol
    assert caught.row == 17


def test_a_forged_score_outside_the_range_ends_it(process):
    body = 'b\'{"type":"row","score":2,"values":[]}\''
    process.load(source(FORGED.format(body=body)), score_range=(0.0, 1.0))
    with pytest.raises(errors.EvaluatorProtocol):
        process.score([job()])


def test_a_forged_line_ends_it(process):
    body = b'{"type":"loaded","line":99}'
    text = f"import os\nos.write(3, {(len(body).to_bytes(4, 'little') + body)!r})"
    with pytest.raises(errors.EvaluatorProtocol):
        process.load(text.encode())


ASYNC = """
import asyncio
running = most = 0
async def evaluate(messages, ground_truth, **row):
    global running, most
    running += 1
    most = max(most, running)
    await asyncio.sleep(row["wait"])
    running -= 1
    if row["wait"] < 0:
        raise ValueError(messages)
    return {"score": row["n"], "most": most}
"""


@pytest.mark.parametrize(("concurrency", "most"), [(1, 1), (4, 4), (64, 12)])
def test_asynchronous_calls_run_at_once_and_answer_in_order(process, concurrency, most):
    process.load(ASYNC.encode(), ["most"], concurrency=concurrency)
    waits = [0.05, 0.0, 0.03, 0.01] * 3
    jobs = [job(extra={"n": n, "wait": wait}) for n, wait in enumerate(waits)]
    scores = process.score(jobs)
    assert [score.score for score in scores] == list(range(12))
    assert max(score.metrics["most"] for score in scores) == most


@pytest.mark.parametrize("concurrency", [1, 4])
def test_the_first_failure_in_order_is_told_and_scoring_goes_on(process, concurrency):
    process.load(ASYNC.encode(), ["most"], concurrency=concurrency)
    jobs = [job(row=n, extra={"n": n, "wait": wait}) for n, wait in enumerate((0.02, 0, -1, -1))]
    with pytest.raises(errors.EvaluatorRaised) as caught:
        process.score(jobs)
    assert (caught.value.row, caught.value.line, caught.value.actual) == (2, 11, "ValueError")
    assert [score.score for score in process.score(jobs[:2])] == [0.0, 1.0]


def test_a_function_that_never_waits_is_called_in_turn(process):
    """Whatever the concurrency: else the first answer would come after the last call."""
    process.load(source("import time\ntime.sleep(1)\nreturn 1"), concurrency=64)
    assert len(process.score([job()] * 5, timeout_s=4)) == 5


def test_an_asynchronous_group_judge(process):
    process.load(
        b"import asyncio\n"
        b"async def evaluate_group(completions, ground_truth, **row):\n"
        b"    await asyncio.sleep(0.01)\n"
        b"    return [len(completions)] * len(completions)\n",
        concurrency=8,
    )
    jobs = [job(group=group) for group in (0, 0, 0, 1, 2, 2)]
    assert [score.score for score in process.score(jobs)] == [3, 3, 3, 1, 2, 2]
    assert process.by_group


def test_prints_go_nowhere(process, capfd):
    process.load(source("import sys\nprint(messages)\nprint(messages, file=sys.stderr)\nreturn 1"))
    process.score([job()])
    assert capfd.readouterr() == ("", "")


def test_it_holds_one_socket_and_three_null_devices(process):
    text = b"""
import os
def fails(f, n):
    try: f(n)
    except OSError: return True
held = [n for n in range(5000) if not fails(os.fstat, n)]
null = os.stat('/dev/null').st_rdev
good = held == [0, 1, 2, 3] and all(os.fstat(n).st_rdev == null for n in (0, 1, 2))
"""
    leaked = os.open("/dev/null", os.O_RDONLY)
    with EvaluatorProcess.start() as late:
        late.load(text + source("return float(good)"))
        assert late.score([job()]) == [Score(score=1.0)]
    os.close(leaked)


def test_it_cannot_reach_the_enclave(process, tmp_path):
    """Not its memory, not its state in /proc, not with a signal."""
    text = (
        f"""
import os, signal
blocked = 0
for action in (
    lambda: open('/proc/{os.getpid()}/status'),
    lambda: open('/proc/{os.getpid()}/mem'),
    lambda: os.kill({os.getpid()}, 0),
    lambda: os.pidfd_open({os.getpid()}),
):
    try:
        action()
    except PermissionError:
        blocked += 1
""".encode()
        + source("return blocked")
    )
    process.load(text)
    assert process.score([job()]) == [Score(score=4.0)]
    with EvaluatorProcess.start(locked=False) as control:
        control.load(text)
        assert control.score([job()]) == [Score(score=0.0)]


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [(b"x = (\n", 1, 5), (b"x = 1\ny = = 2\n", 2, 5), (b"\0", None, None), (b"\xff", None, None)],
)
def test_a_syntax_error_names_line_and_column(process, text, line, column):
    with pytest.raises(errors.EvaluatorSyntax) as caught:
        process.load(text)
    if line:
        assert (caught.value.line, caught.value.column) == (line, column)
        assert caught.value.place == f"evaluator.py:{line}:{column}"


@pytest.mark.parametrize("text", [b"", b"evaluate = 3", b"def score(): pass"])
def test_a_source_without_evaluate_is_told(process, text):
    with pytest.raises(errors.EvaluateMissing):
        process.load(text)


def test_a_source_that_raises_at_import_is_told(process):
    with pytest.raises(errors.EvaluatorRaised) as caught:
        process.load(b"import math\nmath.sqrt(-1)\n")
    assert (caught.value.line, caught.value.actual) == (2, "ValueError")


def test_a_source_above_the_limit_is_refused(process):
    with pytest.raises(errors.EvaluatorTooLarge):
        process.load(b"#" * (MAX_SOURCE_BYTES + 1))


def test_dataclasses_work_in_an_evaluator(process):
    head = b"from dataclasses import dataclass\n@dataclass\nclass Point:\n    x: float\n"
    process.load(head + source("return Point(2.5).x"))
    assert process.score([job()]) == [Score(score=2.5)]


def test_closing_ends_the_process():
    process = EvaluatorProcess.start()
    pid = process._pid
    process.close()
    process.close()
    assert not Path(f"/proc/{pid}").exists()


def test_it_dies_with_the_enclave(inside):
    import json

    _, text = inside.raw(
        """
        from strongroom.enclave.evaluator.process import EvaluatorProcess
        lock()
        report(EvaluatorProcess.start()._pid)
        """,
        "A",
    )
    while Path(f"/proc/{json.loads(text)}").exists():
        time.sleep(0.01)


def test_all_of_it_works_in_a_locked_enclave(inside_as):
    seen = inside_as(
        """
        from strongroom.enclave.errors import EvaluatorError
        from strongroom.enclave.evaluator.process import EvaluatorProcess
        from strongroom.trainer.rollouts.evaluators import Job
        lockdown.lock_files_and_network()
        process = EvaluatorProcess.start()
        lockdown.lock_system_calls()
        loop = b"while not ground_truth: pass"
        process.load(b"def evaluate(_, ground_truth):\\n  " + loop + b"\\n  return 1")
        scores = [score.score for score in process.score([Job(messages=[], ground_truth=1)] * 3)]
        try:
            process.score([Job(messages=[])], timeout_s=0.3)
        except EvaluatorError as error:
            report([scores, error.code])
        """
    )
    assert seen == [[1.0, 1.0, 1.0], "SR-EVAL-004"]
