import operator
import re
from pathlib import Path
from random import Random

import pytest

from tools.demo_model.corpus import __main__ as command
from tools.demo_model.corpus import arithmetic, conversations, fleet, small_talk, stories, words
from tools.demo_model.corpus.conversations import Role


def test_the_same_seed_makes_the_same_conversations():
    first = list(conversations.generate(300, seed=7))
    assert first == list(conversations.generate(300, seed=7))
    assert first != list(conversations.generate(300, seed=8))


def test_a_smaller_corpus_is_the_start_of_a_larger_one():
    assert list(conversations.generate(50, seed=7)) == list(conversations.generate(300, seed=7))[:50]


def test_no_conversations_at_all_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        conversations.generate(0, seed=7)


def test_user_and_assistant_take_turns_after_an_optional_system_prompt():
    for conversation in conversations.generate(500, seed=1):
        roles = [message.role for message in conversation]
        turns = roles[1:] if roles[0] is Role.SYSTEM else roles
        assert turns == [Role.USER, Role.ASSISTANT] * (len(turns) // 2)
        assert turns
        assert all(message.content.strip() == message.content != "" for message in conversation)


def test_every_sum_in_an_answer_is_right():
    rng, rules = Random(2), {"plus": operator.add, "minus": operator.sub, "times": operator.mul}
    rules |= {"+": operator.add, "and": operator.add, "-": operator.sub, "x": operator.mul}
    seen = set()
    for _ in range(3000):
        answer = arithmetic.draw(rng).answer
        if match := re.fullmatch(r"(?:The sum of )?(\d+) (\S+) (\d+) (?:is|=) (\d+)\.", answer):
            left, word, right, result = match.groups()
            assert rules[word](int(left), int(right)) == int(result) >= 0, answer
            seen.add(word)
        else:
            numbers = [int(number) for number in answer.rstrip(".").split(", ")]
            assert numbers == list(range(numbers[0], numbers[0] + arithmetic.COUNT_LENGTH))
    assert seen == set(rules)


def test_a_sum_is_answered_with_the_numbers_that_were_asked():
    rng = Random(3)
    for _ in range(1000):
        exchange = arithmetic.draw(rng)
        asked = re.findall(r"\d+", exchange.question)
        answered = re.findall(r"\d+", exchange.answer)
        assert set(asked) <= set(answered)


def test_differences_are_as_frequent_as_sums():
    rng = Random(4)
    answers = [arithmetic.draw(rng).answer for _ in range(4000)]
    differences = sum("minus" in answer or " - " in answer for answer in answers)
    sums = sum("plus" in answer or " + " in answer or "sum" in answer for answer in answers)
    assert differences == pytest.approx(sums, rel=0.15)


def test_no_more_accelerators_are_free_than_there_are():
    rng, checked = Random(5), 0
    for _ in range(3000):
        answer = fleet.draw(rng).answer
        for pattern in (r"has (?P<all>\d+) accelerators, and (?P<free>\d+) of", r"(?P<free>\d+) of its (?P<all>\d+)"):
            if match := re.search(pattern, answer):
                assert int(match["free"]) <= int(match["all"]), answer
                checked += 1
    assert checked > 100


def test_a_story_has_in_it_what_was_asked_for():
    rng = Random(6)
    for _ in range(1000):
        exchange = stories.draw(rng)
        wanted = re.sub(r"(Tell me|Write) a (short )?story|about|set in|\b(an?|and)\b|\.", "", exchange.question)
        assert all(word in exchange.answer for word in wanted.split()), exchange


def test_a_word_is_explained_by_its_own_definition():
    rng = Random(7)
    for _ in range(200):
        exchange = words.draw(rng)
        assert any(word in exchange.question for word, text in words.DEFINITIONS.items() if text == exchange.answer)


def test_the_wide_world_is_refused():
    rng = Random(8)
    assert {small_talk.draw_unknown(rng).answer for _ in range(100)} == set(small_talk.REFUSALS)


def test_what_is_written_is_read_back(tmp_path: Path):
    corpus = list(conversations.generate(20, seed=7))
    conversations.write(corpus, tmp_path / "corpus.jsonl")
    assert conversations.read(tmp_path / "corpus.jsonl") == corpus


@pytest.mark.parametrize("damage", ["{", "[1]", '[{"role": "judge", "content": ""}]', '[{"role": "user"}]'])
def test_a_damaged_line_is_named(tmp_path: Path, damage: str):
    (tmp_path / "corpus.jsonl").write_text(f'[{{"role": "user", "content": "hi"}}]\n{damage}\n')
    with pytest.raises(ValueError, match="line 2 is not a JSON list of messages"):
        conversations.read(tmp_path / "corpus.jsonl")


def test_an_empty_corpus_is_refused(tmp_path: Path):
    (tmp_path / "corpus.jsonl").touch()
    with pytest.raises(ValueError, match="holds no conversations"):
        conversations.read(tmp_path / "corpus.jsonl")


def test_the_command_writes_the_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "new" / "corpus.jsonl"
    command.main(["--out", str(path), "--conversations", "30", "--seed", "7"])
    assert conversations.read(path) == list(conversations.generate(30, seed=7))
    assert "30 conversations" in capsys.readouterr().out


def test_the_command_refuses_an_impossible_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        command.main(["--out", str(tmp_path / "corpus.jsonl"), "--conversations", "-1"])
    assert "cannot generate -1 conversations" in capsys.readouterr().err
