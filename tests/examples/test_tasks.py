"""Every example: its evaluator on good and bad answers, its rows, its run file."""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from strongroom.crypto.digests import sha256
from strongroom.examples import generated
from strongroom.examples.addresses import prepare as addresses
from strongroom.examples.base_model import base_model
from strongroom.examples.catalogue import NAMES, find
from strongroom.examples.errors import ExampleUnknown, GeneratorMissing
from strongroom.examples.packages import CACHE
from strongroom.examples.payees import prepare as payees
from strongroom.examples.rows import Prompt, Question, encoded, split, split_by_answer, write
from strongroom.examples.surnames import prepare as surnames
from strongroom.pipeline.runfile.load import load
from strongroom.trainer.data.rows import decode_row

STACK = {
    "model_digest": "sha256:" + "0" * 64,
    "broker_role": "arn:aws:iam::000000000000:role/strongroom",
    "audit_role": "arn:aws:iam::000000000000:role/strongroom-audit",
    "s3_endpoint": "http://127.0.0.1:8333",
    "vault_addr": "http://127.0.0.1:8200",
    "broker_credentials": "/state/broker.json",
    "oidc_role": "strongroom",
    "releaser_socket": "/state/releaser.sock",
    "policy_bundle": "/",
}
QUESTIONS = {
    "addresses": "Address: 31 Willow Hill Saint Louis MO 63124",
    "surnames": "anna m. lopez, jr.",
}
ANSWERS = {
    "addresses": [
        ('{"city": "Saint Louis"}', 1.0),
        (' {"city":"SAINT LOUIS "}\n', 1.0),
        ('{"city": "Willow Hill"}', 0.4),
        ('{"city": "Paris"}', 0.2),
        ('{"city": ""}', 0.2),
        ('{"city": "Saint Louis", "state": "MO"}', 0.1),
        ('{"city": ["Saint Louis"]}', 0.1),
        ('{"city": {"city": "Saint Louis"}}', 0.1),
        ("[" * 100_000, 0.0),
        ("Saint Louis", 0.0),
        ("", 0.0),
    ],
    "payees": [
        ("person", 1.0),
        (" person\n", 1.0),
        ("company", 0.2),
        ("Person", 0.0),
        ("person company", 0.0),
        ("", 0.0),
    ],
    "surnames": [
        ("lopez", 1.0),
        (" lopez\n", 1.0),
        ("anna", 0.2),
        ("lope", 0.0),
        ("anna lopez", 0.0),
        ("lopez,", 0.0),
        ("", 0.0),
    ],
    "products": [("408", 1.0), (" 408\n", 1.0), ("407", 0.0), ("12 * 34 = 408", 0.0), ("", 0.0)],
}
DIGESTS = {
    "feedback": "sha256:42841b9c65d862adc0c6b68347963ded3de8c5b4f349c2307180f4d495df5177",
    "addresses": "sha256:f38e2af41302bb254480dc09513bd2dbffccffd696fc69eaa01c8e2a934f5ab9",
    "payees": "sha256:a4574f193427b1380d4d145ae4d766eec5bea713646ee9983ce24aa32b9447cf",
    "surnames": "sha256:67f50d803e57f3f1242ecde4e0029785eabe5f38659cebe9f2a890851b8272e7",
    "products": "sha256:105b553efbdb20a3212495516b89dc02f930c410b184d1e253e25412df3742e1",
}
TRUTH = {
    "addresses": "Saint Louis",
    "payees": "person",
    "surnames": "lopez",
    "products": "408",
}


def evaluator(name: str) -> SimpleNamespace:
    """The evaluator's file as it is sealed: alone, without its package."""
    return SimpleNamespace(**runpy.run_path(str(find(name).run_file.parent / "evaluator.py")))


@pytest.mark.parametrize("name", ANSWERS)
def test_scores(name: str) -> None:
    evaluate = evaluator(name).evaluate
    for answer, score in ANSWERS[name]:
        messages = [
            {"role": "user", "content": QUESTIONS.get(name, "…")},
            {"role": "assistant", "content": answer},
        ]
        found = evaluate(messages, TRUTH[name], id="one")
        expected = {"score": pytest.approx(score), "accuracy": float(score == 1.0)}
        assert found == expected, answer[:80]


def questions(rows: list[dict[str, Any]]) -> set[str]:
    return {" ".join(row["messages"][-1]["content"].casefold().split()) for row in rows}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base_model(CACHE))


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_always_the_same_and_fit_and_none_is_in_both_sets(
    name: str, tokenizer: Any
) -> None:
    rows = find(name).rows(CACHE)
    assert sha256((encoded(rows.train) + encoded(rows.held_out)).encode()) == DIGESTS[name]
    assert len(rows.train) >= 300
    assert len(rows.held_out) >= 100
    assert len(questions(rows.train + rows.held_out)) == len(rows.train) + len(rows.held_out)
    assert len({row["id"] for row in rows.train + rows.held_out}) == len(rows.train) + len(
        rows.held_out
    )
    config = load(find(name).run_file, stack=STACK).spec.spec.training
    right = evaluator(name).evaluate
    for row in rows.train + rows.held_out:
        decoded = decode_row(json.dumps(row).encode())
        prompt = tokenizer.apply_chat_template(decoded.chat(), add_generation_prompt=True)
        assert len(prompt["input_ids"]) <= min(256, config.max_prompt_tokens)
        shown = row["messages"][2]["content"]  # the form of an answer, as the prompt shows it
        answer = shown.replace(row_answer(name, shown), row["ground_truth"])
        tokens = tokenizer(answer)["input_ids"]
        assert len(tokens) + 1 <= config.sampling.max_tokens, answer
        chat = [*decoded.chat(), {"role": "assistant", "content": answer}]
        assert right(chat, row["ground_truth"], id=row["id"])["accuracy"] == 1.0


def row_answer(name: str, shown: str) -> str:
    """The part of a shown answer that changes from row to row."""
    return shown.split('"')[3] if shown.startswith("{") else shown


@pytest.mark.parametrize("name", NAMES)
def test_the_run_file_is_valid_and_names_what_is_there(name: str) -> None:
    loaded = load(find(name).run_file, stack=STACK)
    spec = loaded.spec.spec
    assert spec.data.train == f"s3://acme-data/datasets/{name}/train/"
    assert spec.data.held_out == f"s3://acme-data/datasets/{name}/held-out/"
    assert Path(spec.evaluator.source).is_file()
    assert spec.evaluator.metrics == ("accuracy",)


def test_the_examples_show_different_methods() -> None:
    methods = [load(find(n).run_file, stack=STACK).spec.spec.training.method.type for n in NAMES]
    assert {"grpo", "dr_grpo", "dapo", "rloo"} <= set(methods)


@pytest.mark.parametrize("name", ["addresses", "surnames"])
def test_no_held_out_answer_is_trained_on(name: str) -> None:
    train, held_out = (
        [row["ground_truth"].casefold() for row in part] for part in find(name).rows(CACHE)
    )
    assert not set(train) & set(held_out)
    assert len(set(held_out)) == len(held_out)


@pytest.mark.parametrize(("close", "meant"), [("adresses", "addresses"), ("payee", "payees")])
def test_an_unknown_example_is_told_what_there_is(close: str, meant: str) -> None:
    with pytest.raises(ExampleUnknown, match=f"Did you mean {meant}") as caught:
        find(close)
    assert caught.value.expected == ", ".join(NAMES)
    with pytest.raises(ExampleUnknown) as caught:
        find("nothing-like-it")
    assert "Did you mean" not in str(caught.value)


def test_a_generator_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "reasoning_gym", None)
    with pytest.raises(GeneratorMissing, match=generated.PACKAGE):
        find("products").rows(CACHE)


def test_addresses_are_read_as_they_were_written() -> None:
    xml = b"""<AddressCollection>
  <AddressString><AddressNumber>9</AddressNumber> <StreetName>Oak</StreetName> St,
    <PlaceName>Santa</PlaceName> <PlaceName>Fe,</PlaceName> <StateName>NM</StateName>
  </AddressString>
  <AddressString><PlaceName>New</PlaceName> <StreetName>Oak Street 9</StreetName>
    <PlaceName>York</PlaceName></AddressString>
  <AddressString><StreetName>Main Street without a city</StreetName></AddressString>
  <AddressString><PlaceName>Short</PlaceName></AddressString>
</AddressCollection>"""
    [question] = addresses.read("some.xml", xml)
    assert question == Question("some-0", "9 Oak St, Santa Fe, NM", "Santa Fe")


def test_a_split_by_answer_keeps_answers_apart() -> None:
    many = [Question(f"{city}-{n}", f"{n} in {city}", city) for city in "abcDE" for n in range(5)]
    rows = split_by_answer(Prompt(system="", turns=()), many, of_each=3, held_out=2)
    train, held_out = ({row["ground_truth"] for row in part} for part in rows)
    assert (len(rows.train), len(train), len(rows.held_out), len(held_out)) == (9, 3, 2, 2)
    assert not train & held_out


def test_names_whose_last_word_is_the_surname_are_left_out() -> None:
    xml = b"""<Names>
  <Name><GivenName>Anna</GivenName> <Surname>Lopez</Surname></Name>
  <Name><Surname>LOPEZ,</Surname> <GivenName>ANNA</GivenName></Name>
  <Name><Surname>Lopez</Surname> <Surname>Diaz,</Surname> <GivenName>Anna</GivenName></Name>
</Names>"""
    assert surnames.read(xml) == [Question("person-1", "lopez, anna", "lopez")]


def test_the_case_of_a_name_does_not_tell_what_it_is() -> None:
    xml = b"<Names><Name><A>ANNA</A> <B>Lopez</B></Name><Name><A>anna</A></Name></Names>"
    assert payees.read("person", xml) == [Question("person-0", "anna lopez", "person")]


def test_a_split_takes_as_many_of_each_kind_and_is_written_for_the_sealer(tmp_path: Path) -> None:
    kinds = [[Question(f"{kind}{n}", f"{kind} {n}", kind) for n in range(40)] for kind in "ab"]
    prompt = Prompt(system="s", turns=(("q", "a"),), before="Q: ")
    rows = split(prompt, kinds, train=40, held_out=20)
    assert split(prompt, kinds, train=40, held_out=20) == rows
    assert (len(rows.train), len(rows.held_out)) == (40, 20)
    assert sum(row["ground_truth"] == "a" for row in rows.train + rows.held_out) == 30
    assert [message["content"] for message in rows.train[0]["messages"][:3]] == ["s", "Q: q", "a"]
    write(rows, tmp_path / "new")
    lines = (tmp_path / "new" / "held_out.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == rows.held_out


def test_the_command_refuses_an_unknown_example_before_it_starts_anything(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from strongroom.pipeline.cli.main import app

    state = tmp_path / "state"
    done = CliRunner().invoke(
        app, ["quickstart", "--example", "adresses", "--state", str(state), "--json"]
    )
    [error] = json.loads(done.stdout.splitlines()[-1])["errors"]
    assert (done.exit_code, error["code"]) == (2, "SR-INPUT-006")
    assert not state.exists()
