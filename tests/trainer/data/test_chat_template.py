"""Chat templates: as transformers writes them, but for the clock and for those that do not end."""

# ruff: noqa: E501 - a template is read on one line

from __future__ import annotations

import contextlib
from typing import Any

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.utils.chat_template_utils import render_jinja_template

from strongroom.trainer.data import chat_template
from strongroom.trainer.data.chat_template import TemplateEndless, render_chat
from support.tiny_model import CHAT_TEMPLATE

CHAT: list[dict[str, Any]] = [
    {"role": "system", "content": "Count."},
    {"role": "user", "content": "Wie groß ist <b>?"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"function": {"name": "f", "arguments": {"ä": [1, None]}}}],
    },
    {"role": "tool", "content": "3"},
]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}

TEMPLATES = {
    "tiny": CHAT_TEMPLATE,
    "loop words": "{% for m in messages %}{{ loop.index }}/{{ loop.length }} {{ loop.last }} {{ loop.revindex }}\n{% endfor %}",
    "controls": "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.role }}{% if m.role == 'assistant' %}{% break %}{% endif %}{% endfor %}",
    "namespace": "{% set ns = namespace(n=0) %}{% for m in messages|reverse %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
    "tojson": "{{ tools|tojson(indent=2) }}{{ messages[2].tool_calls[0].function.arguments|tojson }}",
    "generation": "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
    "blocks": "  {% if tools %}\n  tools\n  {% endif %}\n{{ bos_token }}{{ eos_token }}",
    "macro": "{% macro say(m) %}[{{ m.role }}: {{ m.content }}]{% endmacro %}{% for m in messages %}{{ say(m) }}{% endfor %}",
    "keys": "{% for key, value in messages[0].items() %}{{ key }}={{ value }};{% endfor %}{{ dict(a=1)['a'] }}",
    "text": "{{ 'a' * 3 + '%02d' % 7 }}{{ messages[1].content.split(' ')[0] }}{% for c in 'abc' %}{{ c }}{% endfor %}",
    "nothing": "{% for m in nobody %}x{% else %}none{% endfor %}{{ add_generation_prompt }}",
    "kwargs": "{{ documents is none }}{{ messages[0].get('name', '-') }}{{ range(3)|list }}",
}


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("tools", [None, TOOLS])
def test_a_template_writes_what_it_writes_elsewhere(name: str, tools: Any) -> None:
    theirs, _ = render_jinja_template(
        [CHAT], tools=tools, chat_template=TEMPLATES[name], add_generation_prompt=True, **SPECIAL
    )
    assert render_chat(TEMPLATES[name], CHAT, tools, SPECIAL) == theirs[0]


LLAMA = (
    "{% if strftime_now is defined %}{% set date = strftime_now('%d %b %Y') %}"
    "{% else %}{% set date = '26 Jul 2024' %}{% endif %}Today: {{ date }}"
)


def test_a_prompt_does_not_depend_on_the_day() -> None:
    """Llama's template says what to write where there is no clock; elsewhere it asks the clock."""
    assert render_chat(LLAMA, CHAT, None, SPECIAL) == "Today: 26 Jul 2024"
    theirs, _ = render_jinja_template([CHAT], chat_template=LLAMA)
    assert theirs[0] != "Today: 26 Jul 2024"
    with pytest.raises(jinja2.UndefinedError, match="strftime_now"):
        render_chat("{{ strftime_now('%Y') }}", CHAT, None, SPECIAL)


ENDLESS = {
    "loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "macros": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "slow filters": "{% for i in range(99999) %}{{ range(99999)|sum }}{% endfor %}",
    "a large text": "{{ 'a' * 10000000000 }}",
    "a large list": "{{ [1] * 10000000000 }}",
    "a large number": "{{ (9 ** 999) ** 999999 }}",
    "a wide field": "{{ '%9999999999d' % 1 }}",
    "a growing number": "{% set ns = namespace(n=3) %}{% for i in range(99) %}{% set ns.n = ns.n * ns.n %}{% endfor %}",
    "a growing list": "{% set ns = namespace(n=[1]) %}{% for i in range(99) %}{% set ns.n = ns.n + ns.n %}{% endfor %}",
    "a wide indent": "{{ messages|tojson(indent=9999999999) }}",
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_template_that_does_not_end_is_ended(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template, "MAX_SECONDS", 2.0)
    with pytest.raises(TemplateEndless):
        render_chat(ENDLESS[name], CHAT, None, SPECIAL)


def test_each_text_is_counted_anew() -> None:
    source = "{% for i in range(90000) %}{% endfor %}."
    for _ in range(4):
        assert render_chat(source, CHAT, None, SPECIAL) == "."


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{% include 'x' %}",
        "{{ lipsum(1000000) }}",
        "{{ messages.append(1) }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ namespace(__class__=1) }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{% for",
        "x" * (1 << 20) + "x",
    ],
)
def test_what_no_template_needs_is_refused(source: str) -> None:
    with pytest.raises((jinja2.TemplateError, RecursionError, TypeError)):
        render_chat(source, CHAT, None, SPECIAL)


PIECES = st.sampled_from(
    [
        "{{ messages|length }}",
        "{% for m in messages %}",
        "{% endfor %}",
        "{{ m.role }}",
        "{% if m %}",
        "{% endif %}",
        "{{ range(99999)|list|length }}",
        "{{ loop.index * 99999 }}",
        "{% macro f(n) %}",
        "{% endmacro %}",
        "{{ f(3) }}",
        "x",
        "{%",
        "}}",
        "{{ [messages] * 9 }}",
    ]
)


@settings(max_examples=100, deadline=None)
@given(st.lists(PIECES, max_size=12).map("".join))
def test_any_template_ends_in_a_text_or_an_error(source: str) -> None:
    with contextlib.suppress(jinja2.TemplateError, TypeError):
        assert len(render_chat(source, CHAT, None, SPECIAL)) < 1 << 24
