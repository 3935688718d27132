"""What a base model's template makes of a row."""

import pytest

from strongroom.trainer.data.chat import FaultCode, RecordFault
from strongroom.trainer.data.rows import decode_row
from strongroom.trainer.rollouts.prompts import encode_prompt, render
from support import tiny_model as tiny

WITH_TOOLS = (
    "{% for tool in tools or [] %}<s>tool {{ tool.function.name }}</s>{% endfor %}"
    "{% for message in messages %}<s>{{ message.role }} {{ message.content }}"
    "{% for call in message.tool_calls or [] %}"
    "{{ call.function.name }}({{ call.function.arguments | tojson }})"
    "{% endfor %}</s>{% endfor %}{% if add_generation_prompt %}<s>assistant {% endif %}"
)
TOOLS = b'"tools": [{"type": "function", "function": {"name": "add", "parameters": {}}}]'
ASKED = b'{"role": "user", "content": "1+2?"}'
CALLED = (
    b'{"role": "assistant", "tool_calls": '
    b'[{"id": "a", "function": {"name": "add", "arguments": "{\\"x\\": [1, 2]}"}}]}'
)
ANSWERED = b'{"role": "tool", "tool_call_id": "a", "content": "3"}'


def row(*messages, more=b'"id": 1'):
    return decode_row(b'{"messages": [%s], %s}' % (b", ".join(messages), more))


@pytest.fixture
def policy():
    return tiny.tiny_policy()


def test_the_template_gets_tools_and_calls(policy):
    policy.base.tokenizer.chat_template = WITH_TOOLS
    asked = row(ASKED, CALLED, ANSWERED, more=TOOLS)
    text = render(policy, asked.messages, asked.tools)
    assert text == (
        '<s>tool add</s><s>user 1+2?</s><s>assistant add({"x": [1, 2]})</s>'
        "<s>tool 3</s><s>assistant "
    )
    assert policy.base.tokenizer.decode(encode_prompt(policy, asked)) == text


@pytest.mark.parametrize("asked", [row(ASKED, more=TOOLS), row(ASKED, CALLED, ANSWERED)])
def test_a_template_that_leaves_tools_out_is_a_fault(policy, asked):
    with pytest.raises(RecordFault, match=FaultCode.TEMPLATE_WITHOUT_TOOLS):
        encode_prompt(policy, asked)
