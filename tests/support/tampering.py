"""What somebody may do to a stored log, and who notices: the rows of ``docs/tamper-matrix.md``.

One log of two runs and what was asked of them later, with its versions, in memory. Each row changes
a copy of it with the powers of one adversary, and asks readers of four kinds, and the releaser.

    python -m support.tampering FILE
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from strongroom.audit.events import types
from strongroom.audit.events.entries import RELEASER, from_entry, new_event, to_entry
from strongroom.audit.events.order import check_history
from strongroom.audit.log import errors as log_errors
from strongroom.audit.log.copy import LogCopy
from strongroom.audit.log.note import Checkpoint, LogKey, WitnessKey, cosign, sign_checkpoint
from strongroom.audit.log.tlog import covered, decode_bundle, encode_bundle, leaf_hash, subtree_root
from strongroom.audit.log.verify import Check, check_log, failure
from strongroom.errors import Exit, StrongroomError
from support import invented
from support.logs import LogMaker, MemoryStore

RUN, OTHER = invented.RUN, "other-run-91c2"
LATER = datetime(2026, 3, 14, 9, 40, tzinfo=UTC)
EXPORTS = 10


def of_run(data: types.EventData, *, at: datetime = LATER, run: str = RUN, **more: str) -> bytes:
    """The entry of an event; said by the releaser unless ``more`` says otherwise."""
    event = new_event(run, more.get("actor", "releaser"), data, at=at)  # type: ignore[arg-type]
    return to_entry(msgspec.structs.replace(event, caller=more.get("caller", RELEASER)))


def export(number: int = 0) -> bytes:
    data = types.AdapterExported(step=60, adapter=invented.digest("plain60"), form="adapter")
    return of_run(data, at=LATER + timedelta(seconds=number))


def step(number: int, at: datetime = LATER) -> bytes:
    data = types.TrainingStep(step=number, values={"loss": 0.5})
    return of_run(data, at=at, actor="enclave", caller="uid:1000")


class World:
    """The log before anybody touched it, and what its readers and its releaser have of it."""

    def __init__(self) -> None:
        self.maker = LogMaker()
        self.store = MemoryStore()
        self.memory = LogCopy()
        log = self.maker.sequencer(self.store, self.memory)
        self.starts: dict[str, int] = {}
        for run in (OTHER, RUN):
            self.starts[run] = self.memory.size
            entries = [to_entry(event) for event in invented.run_events(run)]
            for at in range(0, len(entries), 12):
                log.append(entries[at : at + 12])
        self.notes = {self.memory.size: self.note}
        """The checkpoint after the runs, and each one since."""
        for number in range(EXPORTS):
            log.append([export(number)])
            self.notes[self.memory.size] = self.note
        self.kept = self.notes[self.memory.size - EXPORTS]
        private = Ed25519PrivateKey.generate()
        self.witness = WitnessKey("witness.example/w1", private.public_key().public_bytes_raw())
        self.witnessed = cosign(self.note, self.witness, private.sign, 1_773_500_000, place="")

    @property
    def note(self) -> bytes:
        """The newest checkpoint."""
        return self.store.current()["checkpoint"]

    @property
    def entries(self) -> list[bytes]:
        """All entries."""
        return list(self.memory.entries())

    def seen(self) -> LogCopy:
        """A copy of what a reader has who read the whole log."""
        copy = LogCopy()
        assert failed(read(self.store, self.maker, copy)) == []
        return copy

    def remembered(self) -> LogCopy:
        """A copy of the releaser's memory."""
        copy = LogCopy()
        copy.add(self.entries, self.memory.edge, {})
        for name in ("secret", "published"):
            copy.set_fact(name, self.memory.fact(name) or b"")
        return copy


@functools.cache
def world() -> World:
    """The one log that all rows begin with."""
    return World()


class NotAllowed(Exception):
    """A row does what its adversary cannot."""


@dataclass(frozen=True)
class Adversary:
    """Who has got how far."""

    name: str
    deletes: bool = False
    """By a delete marker."""
    removes: bool = False
    """Versions, for good."""
    signs: bool = False


THIEF = Adversary("thief of a log lease")
ADMIN = Adversary("bucket administrator, versions locked", deletes=True)
OPEN = Adversary("bucket administrator, no lock", deletes=True, removes=True)
KEY = Adversary("holder of the log key, with a lease", signs=True)
ALL = Adversary("holder of the log key, no lock", deletes=True, removes=True, signs=True)


@dataclass
class Scene:
    """The log as one adversary finds it."""

    by: Adversary
    store: MemoryStore = field(default_factory=lambda: world().store.copied())

    def put(self, key: str, data: bytes) -> None:
        """Write an object, over whatever is there."""
        self.store.put(key, data)

    def delete(self, key: str) -> None:
        """Put a delete marker."""
        self._may(self.by.deletes)
        self.store.put(key, None)

    def remove(self, key: str, versions: int | None = None) -> None:
        """Remove the newest versions of an object, or all."""
        self._may(self.by.removes)
        self.store.forget(key, len(self.store.objects[key]) if versions is None else versions)

    def gone(self, key: str) -> None:
        """Make an object go as far as it goes."""
        if self.by.removes:
            self.remove(key)
        else:
            self.delete(key)

    def over(self, key: str, data: bytes) -> None:
        """Exchange an object's bytes, and leave no version where that can be."""
        if self.by.removes:
            self.remove(key)
        self.put(key, data)

    def sign(self, entries: Sequence[bytes]) -> None:
        """Make the log one of these entries, with every object in place."""
        self._may(self.by.signs)
        leaves = [leaf_hash(entry) for entry in entries]
        head = Checkpoint(world().maker.origin, len(entries), subtree_root(leaves))
        key = world().maker.key.public_key
        objects = covered(entries)
        objects["checkpoint"] = sign_checkpoint(head, key, world().maker.private_key.sign)
        if self.by.removes:
            for name in list(self.store.objects):
                self.remove(name)
        for name, data in objects.items():
            self.put(name, data)

    @staticmethod
    def _may(allowed: bool) -> None:
        if not allowed:
            raise NotAllowed


@dataclass(frozen=True)
class Row:
    """One thing that is done, by whom, and which kinds of reader can notice."""

    what: str
    by: Adversary
    do: Callable[[Scene], None]
    noticed_by: frozenset[str]
    told_by: str = ""
    """What would tell those who do not notice."""


FIRST, BEFORE, SINCE, WITNESS = "first", "before", "since", "witness"
READERS = {
    FIRST: "reads it for the first time",
    BEFORE: "has read it before",
    SINCE: "`--since` the end of the run",
    WITNESS: "`--since` what a `--witness` signed last",
}
EVERYBODY = frozenset(READERS)
WHO_SAW_THE_HEAD = frozenset({BEFORE, WITNESS})
WHO_SAW_ANY = frozenset({BEFORE, SINCE, WITNESS})
NOBODY: frozenset[str] = frozenset()
A_LATER = "a checkpoint from after it: a witness's, or one that was kept"
ANY_EARLIER = "any earlier checkpoint: a witness's, or one that was kept"
HARMLESS = "nothing is hidden: the log is what it was"


def last(level: str) -> str:
    """The name of the newest bundle or tile of a level."""
    names = [name for name in covered(world().entries) if name.startswith(f"tile/{level}/")]
    return names[-1]


def changed(entries: list[bytes]) -> list[bytes]:
    """Entries with another run in the last one but two."""
    found = list(entries)
    found[-3] = found[-3].replace(RUN.encode(), OTHER.encode())
    return found


def rewritten(scene: Scene, entries: list[bytes], *levels: str) -> None:
    """Put these entries where the log's own are, without a signature."""
    for name, data in covered(entries).items():
        if name.split("/")[1] in levels and data != scene.store.current().get(name):
            scene.over(name, data)


def bundle_of(scene: Scene, change: Callable[[list[bytes]], list[bytes]]) -> None:
    name = last("entries")
    entries = decode_bundle(scene.store.current()[name], name)
    scene.over(name, encode_bundle(change(entries)))


def back(count: int) -> Callable[[Scene], None]:
    """Roll the checkpoint back by so many appends."""

    def do(scene: Scene) -> None:
        size = len(world().entries) - count
        if scene.by.removes:
            scene.remove("checkpoint", count)
        else:
            scene.put("checkpoint", world().notes[size])

    return do


def before_the_run(scene: Scene) -> None:
    size = world().starts[RUN]
    (note,) = (
        data
        for _, data in scene.store.objects["checkpoint"]
        if data is not None and data.split(b"\n")[1] == str(size).encode()
    )
    scene.over("checkpoint", note)


def hidden_behind_copies(scene: Scene) -> None:
    olds = [data for _, data in scene.store.objects["checkpoint"]][:-1]
    for _ in range(20):
        for old in olds:
            scene.put("checkpoint", old or b"")


def put_right(scene: Scene) -> None:
    back(1)(scene)
    world().maker.sequencer(scene.store, world().remembered())


def next_event(scene: Scene) -> None:
    for name, data in covered([*world().entries, export(99)]).items():
        scene.store.create(name, data)
    scene.put(f"next/{len(world().entries)}", b"claimed")


def without_the_run(scene: Scene) -> None:
    scene.sign([entry for entry in world().entries if from_entry(entry).run != RUN])


def of_another_key(scene: Scene) -> None:
    forger = LogMaker()
    entries = world().entries[:-1]
    leaves = [leaf_hash(entry) for entry in entries]
    head = Checkpoint(forger.origin, len(entries), subtree_root(leaves))
    note = sign_checkpoint(head, forger.key.public_key, forger.private_key.sign)
    for name, data in (covered(entries) | {"checkpoint": note}).items():
        scene.put(name, data)


def of_another_log(scene: Scene) -> None:
    key, origin = world().maker.private_key, "acme-audit/other"
    public = LogKey(origin, world().maker.key.public_key).public_key
    scene.put("checkpoint", sign_checkpoint(Checkpoint(origin, 1, bytes(32)), public, key.sign))


def two_sizes(scene: Scene) -> None:
    head = Checkpoint(world().maker.origin, len(world().entries) + 5, bytes(32))
    scene.put(
        "checkpoint",
        sign_checkpoint(head, world().maker.key.public_key, world().maker.private_key.sign),
    )


def everything_gone(scene: Scene) -> None:
    for name in list(scene.store.objects):
        scene.gone(name)


def written_over(scene: Scene) -> None:
    name = last("0")
    good = scene.store.current()[name]
    scene.put(name, b"planted")
    scene.put(name, good)


def added(*entries: bytes) -> Callable[[Scene], None]:
    return lambda scene: scene.sign([*world().entries, *entries])


def rows() -> list[Row]:
    """Every row, in the order of the table."""
    found: list[Row] = []

    def add(
        what: str,
        adversaries: Sequence[Adversary],
        do: Callable[[Scene], None],
        noticed_by: frozenset[str] = EVERYBODY,
        told_by: str = "",
    ) -> None:
        found.extend(Row(what, by, do, noticed_by, told_by) for by in adversaries)

    first, *_, final = world().entries
    every = (THIEF, ADMIN, OPEN)
    add("edit an entry", every, lambda s: bundle_of(s, changed))
    add(
        "edit an entry and its hash alike",
        every,
        lambda s: rewritten(s, changed(world().entries), "entries", "0"),
    )
    add("reorder entries", every, lambda s: bundle_of(s, lambda found: found[::-1]))
    add("cut the newest bundle short", every, lambda s: bundle_of(s, lambda found: found[:-1]))
    add("delete a bundle", (ADMIN, OPEN), lambda s: s.gone(last("entries")))
    add("delete a hash tile", (ADMIN, OPEN), lambda s: s.gone(last("0")))
    add("delete the checkpoint", (ADMIN, OPEN), lambda s: s.gone("checkpoint"))
    add("delete everything", (ADMIN, OPEN), everything_gone)
    for count, what in (
        (1, "roll back by 1"),
        (EXPORTS - 1, f"roll back by {EXPORTS - 1}"),
        (EXPORTS, f"roll back by {EXPORTS}: all after the run"),
    ):
        add(what, (THIEF, ADMIN), back(count))
        add(what, (OPEN,), back(count), WHO_SAW_THE_HEAD, A_LATER)
    add("roll back to before the run", (THIEF, ADMIN), before_the_run)
    add("roll back to before the run", (OPEN,), before_the_run, WHO_SAW_ANY, ANY_EARLIER)
    add("roll back, behind hundreds of old checkpoints", (THIEF,), hidden_behind_copies)
    add("roll back; the releaser put it right", (THIEF,), put_right, NOBODY, HARMLESS)
    add("cut out a run", (KEY,), without_the_run)
    add("cut out a run", (ALL,), without_the_run, WHO_SAW_ANY, ANY_EARLIER)
    add("plant the next event", (THIEF,), next_event, NOBODY, HARMLESS)
    add("plant junk as the checkpoint", (THIEF,), lambda s: s.put("checkpoint", b"junk"))
    add("plant junk beside the log", (THIEF,), lambda s: s.put("x", b"junk"), NOBODY, HARMLESS)
    add(
        "plant objects of the log's earlier form",
        (THIEF,),
        lambda s: s.put("batches/8", encode_bundle([final])),
        NOBODY,
        HARMLESS,
    )
    add("write over a tile and put it right", (THIEF,), written_over, NOBODY, HARMLESS)
    add(
        "delete what the log has left behind",
        (ADMIN, OPEN),
        lambda s: s.gone("tile/0/000.p/12"),
        NOBODY,
        HARMLESS,
    )
    add("sign with another key", every, of_another_key)
    add("put another log's checkpoint there", (KEY,), of_another_log)
    add("sign a size that there are no entries for", (KEY, ALL), two_sizes)
    add("fork: another entry, same size", (KEY,), lambda s: s.sign(changed(world().entries)))
    add(
        "fork: another entry, same size",
        (ALL,),
        lambda s: s.sign(changed(world().entries)),
        WHO_SAW_THE_HEAD,
        A_LATER,
    )
    add("fork: other entries, longer", (KEY,), lambda s: s.sign(longer()))
    add("fork: other entries, longer", (ALL,), lambda s: s.sign(longer()), WHO_SAW_ANY, ANY_EARLIER)
    add("sign an event twice", (KEY, ALL), added(final))
    add("sign an event of 1971", (KEY, ALL), added(dated(1971)))
    add("sign an event of 2099", (KEY, ALL), added(dated(2099)))
    add("sign a step after the run completed", (KEY, ALL), added(step(61)))
    add("sign a step of a run without keys", (KEY, ALL), added(unknown_run()))
    add("sign an export that a caller tells of", (KEY, ALL), added(said_by_a_caller()))
    add("sign what is no event", (KEY, ALL), added(first.replace(b'"unmapped"', b'"unmappeD"')))
    add(
        "sign an event that can have been",
        (KEY, ALL),
        added(export(EXPORTS + 1)),
        NOBODY,
        "the releaser, which knows nothing of it; keep its key in a key service",
    )
    return found


def longer() -> list[bytes]:
    """Another history from the run's end on."""
    entries = world().entries[: -EXPORTS - 1]
    return [*entries, *(export(20 + number) for number in range(EXPORTS + 5))]


def dated(year: int) -> bytes:
    """An export of another time."""
    data = types.AdapterExported(step=60, adapter=invented.digest("plain60"), form="adapter")
    return of_run(data, at=datetime(year, 1, 1, tzinfo=UTC))


def unknown_run() -> bytes:
    data = types.TrainingStep(step=1, values={"loss": 0.5})
    return of_run(data, run="nobody-1", actor="enclave", caller="uid:1000")


def said_by_a_caller() -> bytes:
    data = types.AdapterExported(step=60, adapter=invented.digest("plain60"), form="adapter")
    return of_run(data, caller="uid:1000")


def read(
    store: MemoryStore,
    maker: LogMaker,
    copy: LogCopy | None = None,
    **more: object,
) -> list[Check]:
    """The rows of ``strongroom verify`` that are about the log."""
    checks, view = check_log(store, maker.vkey, maker.origin, copy, **more)  # type: ignore[arg-type]
    if view is not None:
        checks += [failure(f"entry {place}", error) for place, error in _history(view.entries)]
    return checks


@functools.lru_cache(maxsize=4)
def _history(entries: tuple[bytes, ...]) -> list[tuple[int, StrongroomError]]:
    return list(check_history(entries))


def failed(checks: Sequence[Check]) -> list[Check]:
    return [check for check in checks if not check.ok]


@dataclass(frozen=True)
class Verdict:
    """What one reader is told: the command's exit code, and the codes or notes that it prints."""

    exit_code: int
    said: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join([f"**{self.exit_code}**" if self.exit_code else "0", ", ".join(self.said)])


def verdict(checks: Sequence[Check]) -> Verdict:
    """As the command has it: 5 when a check fails, and else 0, with notes."""
    wrong = failed(checks)
    if wrong:
        return Verdict(Exit.INTEGRITY, _once(check.detail.partition(":")[0] for check in wrong))
    return Verdict(Exit.OK, _once(check.name for check in checks if check.noted))


def _once(words) -> tuple[str, ...]:  # type: ignore[no-untyped-def]
    return tuple(sorted(set(words)))


@dataclass(frozen=True)
class Outcome:
    """One row, tried: what each reader is told, and what the releaser makes of it."""

    row: Row
    verdicts: dict[str, Verdict]
    releaser: str


def tried(row: Row) -> Outcome:
    """Do what a row says to a copy of the log, and ask everybody."""
    scene = Scene(row.by)
    row.do(scene)
    here = world()
    verdicts = {
        FIRST: verdict(read(scene.store, here.maker)),
        BEFORE: verdict(read(scene.store, here.maker, here.seen())),
        SINCE: verdict(read(scene.store, here.maker, since={"kept": here.kept})),
        WITNESS: verdict(
            read(
                scene.store, here.maker, since={"signed": here.witnessed}, witnesses=[here.witness]
            )
        ),
    }
    return Outcome(row, verdicts, releaser_of(scene))


def releaser_of(scene: Scene) -> str:
    """What the releaser does when it starts next and has something to say."""
    try:
        log = world().maker.sequencer(scene.store, world().remembered())
        log.append([export(50)])
    except StrongroomError as error:
        return f"stops: {error.code}"
    return "goes on" if not failed(read(scene.store, world().maker)) else "goes on, and it stays"


def _titles() -> dict[str, str]:
    from strongroom.audit.events import errors as event_errors

    kinds = [each for module in (log_errors, event_errors) for each in vars(module).values()]
    return {
        kind.code: kind.title
        for kind in kinds
        if isinstance(kind, type) and issubclass(kind, StrongroomError) and kind.code
    }


HEAD = """\
# Who notices what is done to the log

Made by `make tamper-matrix`, which does all of this to a log in memory and asks; a test holds this
page to what it finds. The log tells of two runs and of ten exports after them. In each row four
readers say what `strongroom verify` says of the log: one who reads it for the first time, one who
has read all of it before, one who kept the checkpoint of the run's end, and one who got the last
checkpoint from a witness that signed it. The number is the command's exit code: **5** for a log
that is not what it was, 0 for one that is. A code names the error (below); after a 0 stands what
the command notes. The releaser starts next and has something to enter: it goes on, having put right
what was changed, or it stops before it signs.

What `verify` finds in the run's own folder comes on top, and is not shown here.

"""


def page(outcomes: Sequence[Outcome]) -> str:
    """The table in Markdown."""
    lines = [
        "| what is done | by whom | " + " | ".join(READERS.values()) + " | releaser | else |",
        "|" + "---|" * (len(READERS) + 4),
    ]
    codes: set[str] = set()
    for each in outcomes:
        cells = [str(each.verdicts[reader]).strip() for reader in READERS]
        lines.append(
            f"| {each.row.what} | {each.row.by.name} | "
            + " | ".join([*cells, each.releaser, each.row.told_by])
            + " |"
        )
        for verdict_of in each.verdicts.values():
            codes.update(verdict_of.said)
        codes.add(each.releaser.removeprefix("stops: "))
    noticed = sum(FIRST in each.row.noticed_by for each in outcomes)
    others = sum(bool(each.row.noticed_by) for each in outcomes) - noticed
    lines += [
        "",
        f"{len(outcomes)} rows: a first reader notices {noticed}; {others} more are noticed with a "
        "checkpoint from before. The last column says of the others why nothing is hidden, or what "
        "would tell.",
        "",
        "| code | means |",
        "|---|---|",
    ]
    titles = _titles()
    lines += [f"| {code} | {titles[code]} |" for code in sorted(codes & titles.keys())]
    return HEAD + "\n".join(lines) + "\n"


def main(arguments: list[str]) -> None:
    """Print the page, and write it into a file where one is named."""
    text = page([tried(row) for row in rows()])
    sys.stdout.write(text)
    for name in arguments:
        Path(name).write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
