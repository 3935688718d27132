"""Reports of progress pass the gate, whatever is counted in whatever steps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from strongroom.enclave.channel import capacity
from strongroom.enclave.channel.gate import Gate
from strongroom.enclave.channel.outgoing_words import DETAILS
from strongroom.enclave.channel.progress import Progress


def limits(records: int) -> capacity.Limits:
    return capacity.Limits(
        steps=1,
        checkpoints=1,
        evaluations=0,
        shards=1,
        records=records,
        fetches=1,
        step_metrics=(),
        evaluation_metrics=(),
        output_bytes=1,
        memory_bytes=1,
    )


@given(
    total=st.integers(1, 5000),
    batch=st.integers(1, 60),
    runs=st.integers(1, 300),
)
def test_no_choice_of_numbers_is_refused(total: int, batch: int, runs: int) -> None:
    """``runs`` activities of one kind share what the gate allows."""
    gate = Gate(limits(total), DETAILS)
    for _ in range(min(runs, 3)):
        progress = Progress("evaluate", total, capacity.PROGRESS_LIMIT // runs)
        for done in [*range(batch, total, batch), total]:
            for report in progress.after(done):
                gate.admit(report)


@given(total=st.integers(1, 5000), batch=st.integers(1, 60), limit=st.integers(1, 200))
def test_the_end_is_reported_and_reports_are_spread(total: int, batch: int, limit: int) -> None:
    progress = Progress("trial", total, limit)
    told = [
        report.done
        for done in [*range(batch, total, batch), total]
        for report in progress.after(done)
    ]
    assert told[-1] == total
    assert len(told) <= limit
    gaps = [later - earlier for earlier, later in zip([0, *told], told, strict=False)]
    assert max(gaps) < 2 * total / limit + 2 * batch


def test_nothing_is_reported_twice() -> None:
    progress = Progress("trial", 10)
    assert [list(progress.after(5)) for _ in range(2)][1] == []
