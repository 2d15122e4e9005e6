"""Chat templates of strangers: rendered within limits of lines, memory and length."""

from __future__ import annotations

import resource
import sys
import time

import pytest

from scratchlab.data.tokenizers.chat_templates import render
from scratchlab.errors import UserError

LOOPS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
DOUBLES = (
    "{% set n = namespace(x='aaaaaaaaaaaaaaaa') %}"
    "{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}"
)
MACROS = (
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}"
)


@pytest.mark.parametrize(
    "template",
    [
        LOOPS,
        DOUBLES,
        MACROS,
        "{{ 'a' * 10000000000 }}",
        "{{ 'a'.ljust(10000000000) }}",
        "{{ 'ab' | center(10000000000) }}",
        "{{ '%0999999999999d' | format(1) }}",
        "{{ ('a' * 100000) | replace('a', 'a' * 100000) }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    ],
)
def test_a_template_that_loops_or_grows_is_refused_soon(template: str) -> None:
    limits, started = resource.getrlimit(resource.RLIMIT_AS), time.perf_counter()
    with pytest.raises(UserError, match="chat template"):
        render(template)
    assert time.perf_counter() - started < 30
    assert resource.getrlimit(resource.RLIMIT_AS) == limits and sys.gettrace() is None


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{% if", "cannot be used"),
        ("{{ messages.x.y }}", "cannot be used"),
        ("{{ ''.__class__.__mro__ }}", "cannot be used"),
        ("{{ raise_exception('no system message') }}", "refuses the conversation: no system"),
        ("{{ 1 / 0 }}", "cannot be used"),
    ],
)
def test_a_template_that_fails_is_one_line(template: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        render(template, messages=[])


def test_a_long_conversation_is_rendered() -> None:
    template = (
        "{% for m in messages %}{{ '<|' ~ m['role'] ~ '|>' ~ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    messages = [{"role": "user", "content": f"hello {i}"} for i in range(1000)]
    text = render(template, messages=messages, add_generation_prompt=True)
    assert text.startswith("<|user|>hello 0\n<|user|>hello 1\n") and text.endswith("<|assistant|>")
