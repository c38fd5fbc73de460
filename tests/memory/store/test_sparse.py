"""BM25 weights: stems, stopwords, length."""

from oldfriend.memory.store.sparse import document, question


def weights(text: str) -> dict[int, float]:
    return dict(zip(*document(text), strict=True))


def test_a_question_and_a_text_share_stems() -> None:
    asked = question("When did she run?")[0]
    assert set(asked) <= weights("She was running and runs still").keys()


def test_words_of_a_question_count_once_and_stopwords_do_not() -> None:
    ids, values = question("the dog, the dog and the cat")
    assert len(ids) == 2 and list(values) == [1.0, 1.0]
    assert question("what is it of?") == ([], [])


def test_a_word_counts_less_in_a_longer_text_and_more_when_repeated() -> None:
    (dog,) = question("dog")[0]
    short, long = weights("a dog"), weights("a dog " + "with many other words to read " * 5)
    assert long[dog] < short[dog] < weights("a dog, my dog")[dog]


def test_nothing_is_nothing() -> None:
    assert document("") == ([], [])
