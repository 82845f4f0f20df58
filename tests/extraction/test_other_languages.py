"""Replies in other languages: a right function is found in every wrapping, and nothing collides with the tests."""

import re
import textwrap
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmeval.extraction.candidate import candidate
from swarmeval.extraction.languages import LANGUAGES
from swarmeval.records import Candidate, Form, Outcome
from tests.support.translations import TRANSLATIONS, Translation
from tests.support.wrappings import fence

EVERY = sorted(TRANSLATIONS)


def reply_of(language: str, text: str) -> Candidate:
    return candidate(text, "reply", TRANSLATIONS[language].task(language))


def squeezed(text: str) -> str:
    return "".join(text.split())


def expected(one: Translation) -> str:
    """The program before the tests, which close the function in some languages."""
    function = one.above + one.function
    return function.rstrip().removesuffix("}") if one.tests.lstrip().startswith("}") else function


def assert_right(language: str, text: str) -> None:
    found = reply_of(language, text)
    assert found.outcome is None
    assert squeezed(found.code) == squeezed(expected(TRANSLATIONS[language])), (found.note, found.code)


def whole(one: Translation) -> str:
    return one.above + one.function + one.closing


def with_usage(one: Translation) -> str:
    """The usage inside the type around the function, if there is one."""
    return one.above + one.function + "\n" + one.usage + one.closing


def test_every_language_has_a_task() -> None:
    assert TRANSLATIONS.keys() == LANGUAGES.keys()


@pytest.mark.parametrize("language", EVERY)
def test_a_right_function_is_found_in_every_wrapping(language: str) -> None:
    one = TRANSLATIONS[language]
    for code in (whole(one), with_usage(one)):
        block = fence(code, one.tag)
        for text in (
            block,
            f"Sure! Here's it:\n\n{block}\n\nIt's simple; it doesn't loop twice: `total(x)`.",
            f"First:\n{fence('total(1){', 'text')}\nThen:\n{block}\nRun it:\n{fence('node a.js')}",
            f"<think>\n{fence('nothing(', one.tag)}\n</think>\n{block}",
            fence(code, ""),
            textwrap.indent(block, "   "),
        ):
            assert_right(language, text)


@pytest.mark.parametrize("language", EVERY)
def test_the_function_alone_gets_what_the_prompt_has_above_it(language: str) -> None:
    one = TRANSLATIONS[language]
    assert_right(language, fence(one.function, one.tag))
    found = reply_of(language, f"Here's the function.\n\n{whole(one)}\n")
    assert squeezed(expected(one)).endswith(squeezed(found.code.removeprefix(one.above)[-60:]))
    assert found.note == "whole reply"


@pytest.mark.parametrize("language", EVERY)
def test_a_continuation_ends_where_the_function_does(language: str) -> None:
    one = TRANSLATIONS[language]
    for text in (
        one.body,
        one.body + one.closing + "\n" + one.usage,
        one.body + "\nThat's it (as asked):\n\n- a\n- b\n",
    ):
        assert_right(language, text)
    assert_right(language, fence(one.body, one.tag))


@pytest.mark.parametrize("language", EVERY)
def test_a_body_that_a_stop_cut_is_closed_by_the_tests_or_stays(language: str) -> None:
    one = TRANSLATIONS[language]
    cut = one.body.rstrip().removesuffix("}").removesuffix("end").rstrip()
    found = reply_of(language, cut)
    assert squeezed(found.code) == squeezed(one.above + one.prompt + cut)
    assert found.note == "continuation"


@pytest.mark.parametrize("language", EVERY)
def test_a_fenced_body_without_its_end_is_closed(language: str) -> None:
    one = TRANSLATIONS[language]
    cut = one.body.rstrip().removesuffix("}").removesuffix("end").rstrip()
    assert_right(language, fence(cut, one.tag))


@pytest.mark.parametrize("language", EVERY)
def test_helpers_stay_where_they_are_needed(language: str) -> None:
    one = TRANSLATIONS[language]
    name = re.split(r"\W+", one.helper.replace("private static long ", "").replace("function ", ""))
    helper = next(word for word in name if word in ("twice", "double", "Pair"))
    function = one.function.replace("sum", f"sum /* {helper} */") if language == "typescript" else one.function
    for text in (
        fence(one.above + one.helper + "\n" + function + one.closing, one.tag),
        fence(one.above + function + "\n" + one.helper + "\n" + one.usage + one.closing, one.tag),
    ):
        assert helper in reply_of(language, text).code


@pytest.mark.parametrize("language", EVERY)
def test_a_helper_in_another_block_comes_along(language: str) -> None:
    one = TRANSLATIONS[language]
    helper = "Pair" if language == "typescript" else "double" if language == "javascript" else "twice"
    mark = {"bash": "twice 1 >/dev/null", "typescript": "let p: Pair;"}.get(language, f"{helper}(1)")
    mark += ";" * (language in ("javascript", "cpp", "java", "rust", "php", "perl"))
    function = one.prompt + f"    {mark}\n" + one.body
    text = f"The helper:\n{fence(one.helper, one.tag)}\nThe function:\n{fence(function, one.tag)}"
    code = reply_of(language, text).code
    assert squeezed(one.helper) in squeezed(code)
    assert code.count("total(") == one.prompt.count("total(")


@pytest.mark.parametrize("language", EVERY)
def test_a_completion_is_cut_at_the_stops_of_its_task(language: str) -> None:
    one = TRANSLATIONS[language]
    task = one.task(language)
    assert candidate(one.body, "completion", task).code == task.prompt + one.body
    stops = ("\nSTOP", "\nEND")
    found = candidate(one.body + "\nEND\nSTOP", "completion", replace(task, stops=stops))
    assert found == Candidate(task.prompt + one.body, note="as given")
    assert candidate(whole(one), "solution", task).code == whole(one)


@pytest.mark.parametrize("language", EVERY)
def test_a_reply_without_code_is_empty(language: str) -> None:
    for text in ("I cannot help with that.", "Sorry, I can't", " \n", "As an AI (a model), I won't."):
        found = reply_of(language, text)
        assert (found.code, found.outcome) == ("", Outcome.EMPTY)


@pytest.mark.parametrize("language", EVERY)
def test_the_last_complete_definition_wins(language: str) -> None:
    one = TRANSLATIONS[language]
    wrong = one.prompt + (
        "  0\nend\n" if language == "ruby" else "    return 0\nend\n" if language == "lua" else "    0\n}\n"
    )
    first = fence(wrong, one.tag)
    assert_right(language, f"{first}\nBetter:\n{fence(whole(one), one.tag)}")
    cut = fence(one.above + one.prompt + "    x", one.tag).removesuffix("```")
    assert_right(language, f"{fence(whole(one), one.tag)}\nOr:\n{cut}")


@pytest.mark.parametrize("language", EVERY)
@given(prose=st.text(alphabet=st.characters(blacklist_characters="`~<[", blacklist_categories=["Cs"]), max_size=60))
@settings(max_examples=15, deadline=None)
def test_chatter_around_a_fence_changes_nothing(language: str, prose: str) -> None:
    one = TRANSLATIONS[language]
    assert_right(language, f"Well.\n{prose}\n{fence(whole(one), one.tag)}\n{prose}")


@pytest.mark.slow
@pytest.mark.parametrize("language", EVERY)
@given(data=st.data(), fenced=st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_text_gives_a_program_or_an_outcome(language: str, data: st.DataObject, fenced: bool) -> None:
    one = TRANSLATIONS[language]
    pieces = [
        one.prompt,
        one.body,
        one.helper,
        one.usage,
        one.above,
        "}",
        "{",
        "end\n",
        "'",
        '"',
        "`",
        "/*",
        "```\n",
        "\\",
        "#",
    ]
    text = "".join(data.draw(st.lists(st.one_of(st.sampled_from(pieces), st.text(max_size=20)), max_size=12)))
    forms: tuple[Form, ...] = ("reply", "completion", "solution")
    for form in forms:
        found = candidate(fence(text, one.tag) if fenced else text, form, one.task(language))
        assert found == candidate(fence(text, one.tag) if fenced else text, form, one.task(language))
        assert (found.outcome is Outcome.EMPTY) == (not found.code)
